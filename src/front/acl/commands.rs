//! `ACL`: users and rights at run time.

use std::rc::Rc;

use bytes::Bytes;

use super::log::LogEntry;
use super::selector::{Denied, Selector, category_bit};
use super::{Acl, UserRef};
use crate::front::dispatch::has_arity;
use crate::front::error_text::{ECHO_BYTES_MAX, ErrorText};
use crate::front::spec::{CommandSpec, Handler, category, flag};
use crate::front::table::Catalog;
use crate::front::{Call, Closing, Front, Lookup, Program, Reply};
use crate::ids::hex;
use crate::resp::{Word, canonical_integer};

/// The most bits of `ACL GENPASS`.
const GENPASS_BITS_MAX: i64 = 4096;

/// `ACL`.
pub fn acl_commands<P: Program>() -> [CommandSpec<P>; 1] {
    let users = "O(N). Where N is the number of configured users.";
    let acl = CommandSpec::new("acl", -2, |_, _, _| {})
        .doc(
            "6.0.0",
            "server",
            "Depends on subcommand.",
            "A container for Access List Control commands ",
        )
        .subcommands(vec![
            open("cat", -2, cat).doc(
                "6.0.0",
                "server",
                "O(1) since the categories and commands are a fixed set.",
                "List the ACL categories or the commands inside a category",
            ),
            admin("deluser", -3, deluser).doc(
                "6.0.0",
                "server",
                "O(1) amortized time considering the typical user.",
                "Remove the specified ACL users and the associated rules",
            ),
            admin("dryrun", -4, dryrun).doc(
                "7.0.0",
                "server",
                "O(1).",
                "Returns whether the user can execute the given command without executing the \
                 command.",
            ),
            open("genpass", -2, genpass).doc(
                "6.0.0",
                "server",
                "O(1)",
                "Generate a pseudorandom secure password to use for ACL users",
            ),
            admin("getuser", 3, getuser).doc(
                "6.0.0",
                "server",
                "O(N). Where N is the number of password, command and pattern rules that the user \
                 has.",
                "Get the rules for a specific ACL user",
            ),
            CommandSpec::new("help", 2, help)
                .flags(flag::LOADING | flag::STALE)
                .doc(
                    "6.0.0",
                    "server",
                    "O(1)",
                    "Show helpful text about the different subcommands",
                ),
            admin("list", 2, list).doc(
                "6.0.0",
                "server",
                users,
                "List the current ACL rules in ACL config file format",
            ),
            admin("load", 2, load).doc(
                "6.0.0",
                "server",
                users,
                "Reload the ACLs from the configured ACL file",
            ),
            admin("log", -2, log).doc(
                "6.0.0",
                "server",
                "O(N) with N being the number of entries shown.",
                "List latest events denied because of ACLs in place",
            ),
            admin("save", 2, save).doc(
                "6.0.0",
                "server",
                users,
                "Save the current ACL rules in the configured ACL file",
            ),
            admin("setuser", -3, setuser).doc(
                "6.0.0",
                "server",
                "O(N). Where N is the number of rules provided.",
                "Modify or create the rules for a specific ACL user",
            ),
            admin("users", 2, usernames).doc(
                "6.0.0",
                "server",
                users,
                "List the username of all the configured ACL rules",
            ),
            open("whoami", 2, whoami).doc(
                "6.0.0",
                "server",
                "O(1)",
                "Return the name of the user associated to the current connection",
            ),
        ]);
    [acl]
}

fn open<P: Program>(name: &'static str, arity: i32, handler: Handler<P>) -> CommandSpec<P> {
    CommandSpec::new(name, arity, handler).flags(flag::NOSCRIPT | flag::LOADING | flag::STALE)
}

fn admin<P: Program>(name: &'static str, arity: i32, handler: Handler<P>) -> CommandSpec<P> {
    CommandSpec::new(name, arity, handler)
        .flags(flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE)
}

/// A subcommand with more words than it takes; its arity is only a minimum.
fn too_many(call: &Call<'_>, reply: &mut Reply) {
    reply.error(ErrorText::wrong_subcommand(&call.words[1], "ACL"));
}

fn cat<P: Program>(program: &mut P, call: &Call<'_>, reply: &mut Reply) {
    match &call.words[2..] {
        [] => {
            reply.counts_whole();
            reply.array(category::NAMES.len());
            for (_, name) in category::NAMES {
                reply.bulk(name);
            }
        }
        [name] => {
            let bit = std::str::from_utf8(name).ok().and_then(category_bit);
            let Some(bit) = bit else {
                let text = ErrorText::from("ERR Unknown category '");
                return reply.error(text.beginning(name, ECHO_BYTES_MAX).text("'"));
            };
            let catalog = program.front().table.catalog();
            let members: Vec<_> = catalog
                .known()
                .filter(|(_, entry)| entry.info.categories & bit != 0)
                .collect();
            reply.counts_whole();
            reply.array(members.len());
            for (_, entry) in members {
                reply.bulk(&*entry.full_name);
            }
        }
        _ => too_many(call, reply),
    }
}

fn whoami<P: Program>(program: &mut P, call: &Call<'_>, reply: &mut Reply) {
    let client = program.front().clients.current(call.client);
    reply.bulk(&**client.user.borrow().name());
}

fn usernames<P: Program>(program: &mut P, _: &Call<'_>, reply: &mut Reply) {
    let acl = &program.front().acl;
    reply.array(acl.users().count());
    for user in acl.users() {
        reply.bulk(&**user.borrow().name());
    }
}

fn list<P: Program>(program: &mut P, _: &Call<'_>, reply: &mut Reply) {
    let lines = program.front().acl.user_lines();
    reply.array(lines.len());
    for line in lines {
        reply.bulk(line);
    }
}

fn getuser<P: Program>(program: &mut P, call: &Call<'_>, reply: &mut Reply) {
    let front = program.front();
    let Some(user) = front.acl.user(&call.words[2]) else {
        return reply.null();
    };
    let (user, catalog) = (user.borrow(), front.table.catalog());
    reply.counts_whole();
    reply.map(6);
    reply.bulk("flags");
    let flags = user.flag_names();
    reply.set(flags.len());
    for name in flags {
        reply.bulk(name);
    }
    reply.bulk("passwords");
    reply.array(user.passwords().len());
    for hash in user.passwords() {
        reply.bulk(hash);
    }
    let (root, others) = user.selectors().split_at(1);
    for selector in root {
        describe_selector(reply, selector, catalog);
    }
    reply.bulk("selectors");
    reply.array(others.len());
    for selector in others {
        reply.map(3);
        describe_selector(reply, selector, catalog);
    }
}

fn describe_selector(reply: &mut Reply, selector: &Selector, catalog: &Catalog) {
    reply.bulk("commands");
    reply.bulk(selector.describe_commands(catalog));
    reply.bulk("keys");
    reply.bulk(selector.describe_keys());
    reply.bulk("channels");
    reply.bulk(selector.describe_channels());
}

fn setuser<P: Program>(program: &mut P, call: &Call<'_>, reply: &mut Reply) {
    let front = program.front();
    match front.acl.set_user(&call.words[2], &call.words[3..]) {
        Ok(()) => {
            if let Some(user) = front.acl.user(&call.words[2]).map(Rc::clone) {
                front.close_unsubscribed_rights(&user);
            }
            reply.ok();
        }
        Err(error) => reply.error(error.text()),
    }
}

fn deluser<P: Program>(program: &mut P, call: &Call<'_>, reply: &mut Reply) {
    let names = &call.words[2..];
    if names.iter().any(|name| *name == "default") {
        return reply.error("ERR The 'default' user cannot be removed");
    }
    let front = program.front();
    let removed = names
        .iter()
        .filter(|name| front.acl.remove_user(name))
        .count();
    front.close_clients_of(call, |acl, user| !acl.is_current(user));
    reply.count(removed);
}

fn genpass<P: Program>(_: &mut P, call: &Call<'_>, reply: &mut Reply) {
    let bits = match &call.words[2..] {
        [] => 256,
        [word] => match canonical_integer(word) {
            Some(bits @ 1..=GENPASS_BITS_MAX) => bits,
            Some(_) => {
                return reply.error(
                    "ERR ACL GENPASS argument must be the number of bits for the output password, a \
                     positive number up to 4096",
                );
            }
            None => return reply.error("ERR value is not an integer or out of range"),
        },
        _ => return too_many(call, reply),
    };
    let digits = usize::try_from(bits).unwrap_or(0).div_ceil(4);
    let mut bytes = vec![0; digits.div_ceil(2)];
    rand::Rng::fill_bytes(&mut rand::rng(), &mut bytes);
    reply.bulk(&hex(&bytes)[..digits]);
}

fn dryrun<P: Program>(program: &mut P, call: &Call<'_>, reply: &mut Reply) {
    let (name, words): (&Word<'_>, &[Word<'_>]) = (&call.words[2], &call.words[3..]);
    let front = program.front();
    let Some(user) = front.acl.user(name) else {
        let text = ErrorText::from("ERR User '");
        return reply.error(text.word(name).text("' not found"));
    };
    let Lookup::Found(command) = front.table.lookup(words) else {
        let text = ErrorText::from("ERR Command '");
        return reply.error(text.word(&words[0]).text("' not found"));
    };
    let entry = front.table.catalog().entry(command);
    if !has_arity(entry.info.arity, words.len()) {
        return reply.error(crate::front::arity_error(&entry.full_name));
    }
    match front.acl.check(user, command, words) {
        Ok(()) => reply.ok(),
        Err(denied) => {
            let lacks = |to, what: &[u8], kind| {
                ErrorText::from("This user has no permissions to ")
                    .text(to)
                    .word(what)
                    .text(kind)
            };
            reply.bulk(match denied {
                Denied::Command => lacks("run the '", entry.full_name.as_bytes(), "' command"),
                Denied::Key(at) => lacks("access the '", &words[at], "' key"),
                Denied::Channel(at) => lacks("access the '", &words[at], "' channel"),
            });
        }
    }
}

fn log<P: Program>(program: &mut P, call: &Call<'_>, reply: &mut Reply) {
    let log = &mut program.front().acl.log;
    let count = match &call.words[2..] {
        [] => 10,
        [word] if word.eq_ignore_ascii_case(b"RESET") => {
            log.clear();
            return reply.ok();
        }
        [word] => match canonical_integer(word) {
            Some(count) => usize::try_from(count).unwrap_or(0),
            None => return reply.error("ERR value is not an integer or out of range"),
        },
        _ => return too_many(call, reply),
    };
    let shown: Vec<&LogEntry> = log.entries().take(count).collect();
    reply.array(shown.len());
    for entry in shown {
        reply.map(7);
        reply.bulk("count");
        reply.integer(i64::try_from(entry.count).unwrap_or(i64::MAX));
        reply.bulk("reason");
        reply.bulk(entry.reason.as_str());
        reply.bulk("context");
        reply.bulk(entry.context);
        reply.bulk("object");
        reply.bulk(&entry.object);
        reply.bulk("username");
        reply.bulk(&entry.username);
        reply.bulk("age-seconds");
        reply.double(call.now.mono.since(entry.at).as_secs_f64());
        reply.bulk("client-info");
        reply.bulk(&entry.client);
    }
}

fn load<P: Program>(program: &mut P, call: &Call<'_>, reply: &mut Reply) {
    let front = program.front();
    match front.acl.load_file() {
        Ok(()) => {
            // Every other user was made anew, whatever the file says of it now.
            let default = front.acl.default_user();
            front.close_clients_of(call, |_, user| !Rc::ptr_eq(user, &default));
            front.close_unsubscribed_rights(&default);
            reply.ok();
        }
        Err(error) => reply.error(error.text()),
    }
}

fn save<P: Program>(program: &mut P, _: &Call<'_>, reply: &mut Reply) {
    match program.front().acl.save_file() {
        Ok(()) => reply.ok(),
        Err(error) => {
            tracing::warn!(%error, "the ACL file cannot be written");
            reply.error(error.text());
        }
    }
}

impl<P: Program> Front<P> {
    /// Ends the connections of some users; the caller's own after its reply.
    fn close_clients_of(&mut self, call: &Call<'_>, are_meant: impl Fn(&Acl, &UserRef) -> bool) {
        let acl = &self.acl;
        for client in self.clients.iter_mut() {
            if are_meant(acl, &client.user) {
                client.close(if client.id == call.client {
                    Closing::AfterReplies
                } else {
                    Closing::Now
                });
            }
        }
    }

    /// Ends the connections of a user that listen to what it may no longer hear.
    fn close_unsubscribed_rights(&mut self, of: &UserRef) {
        let user = of.borrow();
        for client in self.clients.iter_mut() {
            if client.subscription_count() == 0 || !Rc::ptr_eq(&client.user, of) {
                continue;
            }
            let allows = |name: &Bytes, as_pattern| {
                user.selectors()
                    .iter()
                    .any(|selector| selector.allows_channel(name, as_pattern))
            };
            let may_stay = client.channels.iter().all(|name| allows(name, false))
                && client.shard_channels.iter().all(|name| allows(name, false))
                && client.patterns.iter().all(|name| allows(name, true));
            if !may_stay {
                client.close(Closing::Now);
            }
        }
    }
}

fn help<P: Program>(_: &mut P, _: &Call<'_>, reply: &mut Reply) {
    reply.array(HELP.len());
    for line in HELP {
        reply.simple(line);
    }
}

const HELP: &[&str] = &[
    "ACL <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CAT [<category>]",
    "    Name the categories, or the commands of one.",
    "DELUSER <username> [<username> ...]",
    "    Remove users and close their connections.",
    "DRYRUN <username> <command> [<arg> ...]",
    "    Tell whether the user may run this, without running it.",
    "GETUSER <username>",
    "    Show a user.",
    "GENPASS [<bits>]",
    "    Make a random password, of 256 bits unless told otherwise.",
    "LIST",
    "    Show the users as in a configuration file.",
    "LOAD",
    "    Read the ACL file again.",
    "LOG [<count> | RESET]",
    "    Show what was denied, or forget it.",
    "SAVE",
    "    Write the ACL file.",
    "SETUSER <username> <attribute> [<attribute> ...]",
    "    Make or change a user.",
    "USERS",
    "    Name the users.",
    "WHOAMI",
    "    Name the user of this connection.",
    "HELP",
    "    Prints this help.",
];

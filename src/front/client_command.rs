//! `CLIENT`: what a client can say about itself, and what an administrator can do to the others.

use bytes::Bytes;

use super::client::{Blocked, Client, ClientId, ClientKind, Closing, ReplyMode};
use super::client_line::client_line;
use super::error_text::ErrorText;
use super::hello::{BAD_CLIENT_NAME, is_client_name};
use super::reply::Reply;
use super::spec::{CommandSpec, Handler, category, flag};
use super::{Call, PauseMode, PauseReason, Program};
use crate::resp::{Word, canonical_integer};

/// `CLIENT`, with further subcommands: [`super::tracking_subcommands`] where the program tracks keys, or
/// has none.
pub fn client_commands<P: Program>(more: Vec<CommandSpec<P>>) -> [CommandSpec<P>; 1] {
    let mut subcommands = subcommands();
    subcommands.extend(more);
    let client = CommandSpec::new("client", -2, |_, _, _| {})
        .doc(
            "2.4.0",
            "connection",
            "Depends on subcommand.",
            "A container for client connection commands",
        )
        .subcommands(subcommands);
    [client]
}

/// A subcommand with the flags that all of them have.
pub(super) fn subcommand<P: Program>(
    name: &'static str,
    arity: i32,
    since: &'static str,
    summary: &'static str,
    handler: Handler<P>,
) -> CommandSpec<P> {
    CommandSpec::new(name, arity, handler)
        .flags(flag::NOSCRIPT | flag::LOADING | flag::STALE)
        .acl(category::CONNECTION)
        .doc(since, "connection", "O(1)", summary)
}

/// One for administrators.
fn admin<P: Program>(
    name: &'static str,
    arity: i32,
    since: &'static str,
    complexity: &'static str,
    summary: &'static str,
    handler: Handler<P>,
) -> CommandSpec<P> {
    CommandSpec::new(name, arity, handler)
        .flags(flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE)
        .acl(category::CONNECTION)
        .doc(since, "connection", complexity, summary)
}

fn subcommands<P: Program>() -> Vec<CommandSpec<P>> {
    let per_client = "O(N) where N is the number of client connections";
    vec![
        subcommand(
            "getname",
            2,
            "2.6.9",
            "Get the current connection name",
            getname,
        ),
        CommandSpec::new("help", 2, help)
            .flags(flag::LOADING | flag::STALE)
            .acl(category::CONNECTION)
            .doc(
                "5.0.0",
                "connection",
                "O(1)",
                "Show helpful text about the different subcommands",
            ),
        subcommand(
            "id",
            2,
            "5.0.0",
            "Returns the client ID for the current connection",
            id,
        ),
        subcommand(
            "info",
            2,
            "6.2.0",
            "Returns information about the current client connection.",
            info,
        )
        .tips(&["nondeterministic_output"]),
        admin(
            "kill",
            -3,
            "2.4.0",
            per_client,
            "Kill the connection of a client",
            kill,
        ),
        admin(
            "list",
            -2,
            "2.4.0",
            per_client,
            "Get the list of client connections",
            list,
        )
        .tips(&["nondeterministic_output"]),
        admin(
            "no-evict",
            3,
            "7.0.0",
            "O(1)",
            "Set client eviction mode for the current connection",
            no_evict,
        ),
        admin(
            "pause",
            -3,
            "2.9.50",
            "O(1)",
            "Stop processing commands from clients for some time",
            pause,
        ),
        subcommand(
            "reply",
            3,
            "3.2.0",
            "Instruct the server whether to reply to commands",
            reply_mode,
        ),
        subcommand(
            "setinfo",
            4,
            "7.2.0",
            "Set client or connection specific info",
            setinfo,
        ),
        subcommand(
            "setname",
            3,
            "2.6.9",
            "Set the current connection name",
            setname,
        ),
        admin(
            "unblock",
            -3,
            "5.0.0",
            "O(log N) where N is the number of client connections",
            "Unblock a client blocked in a blocking command from a different connection",
            unblock,
        ),
        admin(
            "unpause",
            2,
            "6.2.0",
            "O(N) Where N is the number of paused clients",
            "Resume processing of clients that were paused",
            unpause,
        ),
    ]
}

fn id<P: Program>(_: &mut P, call: &Call<'_>, reply: &mut Reply) {
    reply.integer(i64::try_from(call.client.0).unwrap_or(i64::MAX));
}

fn getname<P: Program>(program: &mut P, call: &Call<'_>, reply: &mut Reply) {
    let client = program.front().clients.current(call.client);
    if client.name.is_empty() {
        reply.null();
    } else {
        reply.bulk(&client.name);
    }
}

fn setname<P: Program>(program: &mut P, call: &Call<'_>, reply: &mut Reply) {
    let name = &call.words[2];
    if !is_client_name(name) {
        return reply.error(BAD_CLIENT_NAME);
    }
    program.front().clients.current(call.client).name = name.to_bytes();
    reply.ok();
}

fn setinfo<P: Program>(program: &mut P, call: &Call<'_>, reply: &mut Reply) {
    let (what, value) = (&call.words[2], &call.words[3]);
    let client = program.front().clients.current(call.client);
    let (name, field) = match what.to_ascii_lowercase().as_slice() {
        b"lib-name" => ("lib-name", &mut client.lib_name),
        b"lib-ver" => ("lib-ver", &mut client.lib_ver),
        _ => {
            let text = ErrorText::from("ERR Unrecognized option '");
            return reply.error(text.word(what).text("'"));
        }
    };
    if !is_client_name(value) {
        return reply.error(format!(
            "ERR {name} cannot contain spaces, newlines or special characters."
        ));
    }
    *field = value.to_bytes();
    reply.ok();
}

fn info<P: Program>(program: &mut P, call: &Call<'_>, reply: &mut Reply) {
    let front = program.front();
    let client = front.clients.current(call.client);
    let line = client_line(client, front.table.catalog(), call.now.mono);
    reply.verbatim(line + "\n");
}

/// What `CLIENT LIST` and `CLIENT KILL` call the kinds of clients.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TypeFilter {
    Normal,
    Master,
    Replica,
    PubSub,
}

impl TypeFilter {
    fn parse(word: &[u8]) -> Option<TypeFilter> {
        match word.to_ascii_lowercase().as_slice() {
            b"normal" => Some(TypeFilter::Normal),
            b"master" => Some(TypeFilter::Master),
            b"slave" | b"replica" => Some(TypeFilter::Replica),
            b"pubsub" => Some(TypeFilter::PubSub),
            _ => None,
        }
    }

    fn of<S>(client: &Client<S>) -> TypeFilter {
        match client.kind {
            ClientKind::Master => TypeFilter::Master,
            ClientKind::Replica => TypeFilter::Replica,
            ClientKind::Normal if client.subscription_count() > 0 => TypeFilter::PubSub,
            ClientKind::Normal => TypeFilter::Normal,
        }
    }
}

fn unknown_type(word: &[u8]) -> ErrorText {
    ErrorText::from("ERR Unknown client type '")
        .word(word)
        .text("'")
}

fn list<P: Program>(program: &mut P, call: &Call<'_>, reply: &mut Reply) {
    let mut only_type = None;
    let mut only_ids: Option<Vec<ClientId>> = None;
    match &call.words[2..] {
        [] => {}
        [option, word] if option.eq_ignore_ascii_case(b"TYPE") => {
            let Some(wanted) = TypeFilter::parse(word) else {
                return reply.error(unknown_type(word));
            };
            only_type = Some(wanted);
        }
        [option, ids @ ..] if option.eq_ignore_ascii_case(b"ID") && !ids.is_empty() => {
            let parsed = ids.iter().map(|word| {
                canonical_integer(word).map(|id| ClientId(u64::try_from(id).unwrap_or(0)))
            });
            let Some(parsed) = parsed.collect() else {
                return reply.error("ERR Invalid client ID");
            };
            only_ids = Some(parsed);
        }
        _ => return reply.error("ERR syntax error"),
    }
    let front = program.front();
    let ids = only_ids.unwrap_or_else(|| front.clients.ids());
    let mut text = String::new();
    for id in ids {
        let client = front.clients.get(id).filter(|client| client.is_open());
        let Some(client) = client else { continue };
        if only_type.is_none_or(|wanted| wanted == TypeFilter::of(client)) {
            text.push_str(&client_line(client, front.table.catalog(), call.now.mono));
            text.push('\n');
        }
    }
    reply.verbatim(text);
}

/// Which clients `CLIENT KILL` ends.
#[derive(Default)]
struct KillFilter {
    id: Option<ClientId>,
    addr: Option<Bytes>,
    laddr: Option<Bytes>,
    kind: Option<TypeFilter>,
    user: Option<Bytes>,
    also_me: bool,
}

impl KillFilter {
    fn covers<S>(&self, client: &Client<S>) -> bool {
        let is = |wanted: &Option<Bytes>, text: &[u8]| {
            wanted.as_ref().is_none_or(|wanted| *wanted == text)
        };
        self.id.is_none_or(|id| id == client.id)
            && self.kind.is_none_or(|kind| kind == TypeFilter::of(client))
            && is(&self.addr, client.addr.to_string().as_bytes())
            && is(&self.laddr, client.laddr.to_string().as_bytes())
            && is(&self.user, client.user.borrow().name())
    }
}

fn kill<P: Program>(program: &mut P, call: &Call<'_>, reply: &mut Reply) {
    if let [_, _, addr] = call.words {
        let filter = KillFilter {
            addr: Some(addr.to_bytes()),
            also_me: true,
            ..KillFilter::default()
        };
        if kill_all(program, call.client, &filter) == 0 {
            reply.error("ERR No such client");
        } else {
            reply.ok();
        }
        return;
    }
    match parse_kill(program, &call.words[2..]) {
        Ok(filter) => reply.count(kill_all(program, call.client, &filter)),
        Err(text) => reply.error(text),
    }
}

fn parse_kill<P: Program>(program: &mut P, pairs: &[Word<'_>]) -> Result<KillFilter, ErrorText> {
    let syntax_error = || ErrorText::from("ERR syntax error");
    let mut filter = KillFilter::default();
    for pair in pairs.chunks(2) {
        let [option, value] = pair else {
            return Err(syntax_error());
        };
        match option.to_ascii_lowercase().as_slice() {
            b"id" => {
                let id = canonical_integer(value).filter(|id| *id > 0);
                let id = id.ok_or("ERR client-id should be greater than 0")?;
                filter.id = Some(ClientId(id.unsigned_abs()));
            }
            b"type" => {
                let kind = TypeFilter::parse(value).ok_or_else(|| unknown_type(value))?;
                filter.kind = Some(kind);
            }
            b"addr" => filter.addr = Some(value.to_bytes()),
            b"laddr" => filter.laddr = Some(value.to_bytes()),
            b"user" => {
                if program.front().acl.user(value).is_none() {
                    let text = ErrorText::from("ERR No such user '");
                    return Err(text.word(value).text("'"));
                }
                filter.user = Some(value.to_bytes());
            }
            b"skipme" => match value.to_ascii_lowercase().as_slice() {
                b"yes" => filter.also_me = false,
                b"no" => filter.also_me = true,
                _ => return Err(syntax_error()),
            },
            _ => return Err(syntax_error()),
        }
    }
    Ok(filter)
}

/// Ends the clients that the filter covers; the caller itself only after its reply.
fn kill_all<P: Program>(program: &mut P, me: ClientId, filter: &KillFilter) -> usize {
    let mut killed = 0;
    for client in program.front().clients.iter_mut() {
        let is_me = client.id == me;
        if (is_me && !filter.also_me) || !filter.covers(client) {
            continue;
        }
        killed += 1;
        client.close(if is_me {
            Closing::AfterReplies
        } else {
            Closing::Now
        });
    }
    killed
}

fn no_evict<P: Program>(program: &mut P, call: &Call<'_>, reply: &mut Reply) {
    let on = match call.words[2].to_ascii_lowercase().as_slice() {
        b"on" => true,
        b"off" => false,
        _ => return reply.error("ERR syntax error"),
    };
    program.front().clients.current(call.client).no_evict = on;
    reply.ok();
}

fn reply_mode<P: Program>(program: &mut P, call: &Call<'_>, reply: &mut Reply) {
    let client = program.front().clients.current(call.client);
    match call.words[2].to_ascii_lowercase().as_slice() {
        b"on" => {
            client.reply_mode = ReplyMode::On;
            reply.ok();
        }
        b"off" => client.reply_mode = ReplyMode::Off,
        b"skip" if client.reply_mode != ReplyMode::Off => {
            client.reply_mode = ReplyMode::SkipNext;
        }
        b"skip" => {}
        _ => reply.error("ERR syntax error"),
    }
}

fn pause<P: Program>(program: &mut P, call: &Call<'_>, reply: &mut Reply) {
    let mode = match &call.words[3..] {
        [] => PauseMode::All,
        [word] if word.eq_ignore_ascii_case(b"WRITE") => PauseMode::Write,
        [word] if word.eq_ignore_ascii_case(b"ALL") => PauseMode::All,
        [_] => return reply.error("ERR CLIENT PAUSE mode must be WRITE or ALL"),
        _ => return too_many(call, reply),
    };
    let ms = match canonical_integer(&call.words[2]).map(u64::try_from) {
        // redis-server, whose moments have 63 bits as well, says OK to these and pauses nobody.
        Some(Ok(ms)) if i64::try_from(call.now.unix.0.saturating_add(ms)).is_err() => {
            return reply.error("ERR timeout is out of range");
        }
        Some(Ok(ms)) => ms,
        Some(Err(_)) => return reply.error("ERR timeout is negative"),
        None => return reply.error("ERR timeout is not an integer or out of range"),
    };
    let until = call.now.mono + std::time::Duration::from_millis(ms);
    program.front().pause(PauseReason::Command, mode, until);
    reply.ok();
}

/// A subcommand with more words than it takes; its arity is only a minimum.
fn too_many(call: &Call<'_>, reply: &mut Reply) {
    reply.error(ErrorText::wrong_subcommand(&call.words[1], "CLIENT"));
}

fn unpause<P: Program>(program: &mut P, _: &Call<'_>, reply: &mut Reply) {
    program.front().unpause(PauseReason::Command);
    reply.ok();
}

fn unblock<P: Program>(program: &mut P, call: &Call<'_>, reply: &mut Reply) {
    let as_error = match &call.words[3..] {
        [] => false,
        [word] if word.eq_ignore_ascii_case(b"TIMEOUT") => false,
        [word] if word.eq_ignore_ascii_case(b"ERROR") => true,
        [_] => return reply.error("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"),
        _ => return too_many(call, reply),
    };
    let Some(id) = canonical_integer(&call.words[2]) else {
        return reply.error("ERR value is not an integer or out of range");
    };
    let id = ClientId(u64::try_from(id).unwrap_or(0));
    let blocked = program
        .front()
        .clients
        .get(id)
        .and_then(|client| client.blocked);
    let Some(Blocked::Waiting {
        on,
        can_unblock: true,
        ..
    }) = blocked
    else {
        return reply.integer(0);
    };
    let error = as_error.then_some("UNBLOCKED client unblocked via CLIENT UNBLOCK");
    program.unblock(id, on, error);
    reply.integer(1);
}

fn help<P: Program>(program: &mut P, call: &Call<'_>, reply: &mut Reply) {
    let catalog = program.front().table.catalog();
    let tracks = catalog.find("client|tracking").is_some();
    let _ = call;
    let mut lines = HELP.to_vec();
    if tracks {
        lines.extend(HELP_TRACKING);
    }
    lines.extend(["HELP", "    Prints this help."]);
    reply.array(lines.len());
    for line in lines {
        reply.simple(line);
    }
}

const HELP: &[&str] = &[
    "CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "GETNAME",
    "    Tell the name of this connection.",
    "ID",
    "    Tell the number of this connection.",
    "INFO",
    "    Show this connection.",
    "KILL <ip:port>",
    "    Close the connection from this address.",
    "KILL <option> <value> [<option> <value> [...]]",
    "    Close connections. Options: ID <id>, ADDR <ip:port>, LADDR <ip:port>,",
    "    TYPE (NORMAL|MASTER|REPLICA|PUBSUB), USER <username>, SKIPME (YES|NO).",
    "LIST [TYPE (NORMAL|MASTER|REPLICA|PUBSUB) | ID <id> [<id> ...]]",
    "    Show the connections.",
    "UNPAUSE",
    "    End a pause.",
    "PAUSE <timeout> [WRITE|ALL]",
    "    Keep commands waiting for <timeout> milliseconds, all or those that write.",
    "REPLY (ON|OFF|SKIP)",
    "    Choose whether replies are sent to this connection.",
    "SETINFO <option> <value>",
    "    Tell what the client is: LIB-NAME, LIB-VER.",
    "SETNAME <name>",
    "    Name this connection.",
    "UNBLOCK <clientid> [TIMEOUT|ERROR]",
    "    End what a client waits for.",
    "NO-EVICT (ON|OFF)",
    "    Keep this connection when memory is short.",
];

const HELP_TRACKING: &[&str] = &[
    "CACHING (YES|NO)",
    "    Track, or do not track, the keys of the next command.",
    "GETREDIR",
    "    Tell which client gets the invalidations of this one.",
    "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]]",
    "         [OPTIN] [OPTOUT] [NOLOOP]",
    "    Choose what is tracked for a cache at the client.",
    "TRACKINGINFO",
    "    Show what is tracked.",
];

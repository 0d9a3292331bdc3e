//! `COMMAND`: the table as clients see it.

use super::command_docs::{CommandDocs, docs_of};
use super::keys::command_keys;
use super::reply::Reply;
use super::spec::{Begin, CommandInfo, CommandSpec, Find, Handler, KeySpec, category, flag, key};
use super::table::{Catalog, CommandId};
use super::{Call, Program, glob_match_ignore_case};
use crate::resp::Word;

/// `COMMAND`.
pub fn command_commands<P: Program>() -> [CommandSpec<P>; 1] {
    let per_command = "O(N) where N is the total number of Redis commands";
    let looked_up = "O(N) where N is the number of commands to look up";
    let per_argument = "O(N) where N is the number of arguments to the command";
    let all_or_some =
        "Get array of specific Redis command details, or all when no argument is given.";
    let unordered = &["nondeterministic_output_order"];
    let command = spec("command", -1, info_of_all)
        .tips(unordered)
        .doc(
            "2.8.13",
            "server",
            per_command,
            "Get array of Redis command details",
        )
        .subcommands(vec![
            spec("count", 2, count).doc(
                "2.8.13",
                "server",
                "O(1)",
                "Get total number of Redis commands",
            ),
            spec("docs", -2, docs).tips(unordered).doc(
                "7.0.0",
                "server",
                looked_up,
                "Get array of specific Redis command documentation",
            ),
            spec("getkeys", -4, |p, call, reply| {
                getkeys(p, call, reply, false)
            })
            .doc(
                "2.8.13",
                "server",
                per_argument,
                "Extract keys given a full Redis command",
            ),
            spec("getkeysandflags", -4, |p, call, reply| {
                getkeys(p, call, reply, true)
            })
            .doc(
                "7.0.0",
                "server",
                per_argument,
                "Extract keys and access flags given a full Redis command",
            ),
            spec("help", 2, help).doc(
                "5.0.0",
                "server",
                "O(1)",
                "Show helpful text about the different subcommands",
            ),
            spec("info", -2, info)
                .tips(unordered)
                .doc("2.8.13", "server", looked_up, all_or_some),
            spec("list", -2, list).tips(unordered).doc(
                "7.0.0",
                "server",
                per_command,
                "Get an array of Redis command names",
            ),
        ]);
    [command]
}

fn spec<P: Program>(name: &'static str, arity: i32, handler: Handler<P>) -> CommandSpec<P> {
    CommandSpec::new(name, arity, handler)
        .flags(flag::LOADING | flag::STALE)
        .acl(category::CONNECTION)
}

fn count<P: Program>(program: &mut P, _: &Call<'_>, reply: &mut Reply) {
    reply.count(program.front().table.top_level().count());
}

fn info_of_all<P: Program>(program: &mut P, _: &Call<'_>, reply: &mut Reply) {
    let table = &program.front().table;
    let ids: Vec<CommandId> = table.top_level().collect();
    reply.array(ids.len());
    for id in ids {
        describe(reply, table.catalog(), id);
    }
}

fn info<P: Program>(program: &mut P, call: &Call<'_>, reply: &mut Reply) {
    let names = &call.words[2..];
    if names.is_empty() {
        return info_of_all(program, call, reply);
    }
    let table = &program.front().table;
    reply.array(names.len());
    for name in names {
        match table.find(name) {
            Some(id) => describe(reply, table.catalog(), id),
            None => reply.null(),
        }
    }
}

/// One command as `COMMAND INFO` shows it.
fn describe(reply: &mut Reply, catalog: &Catalog, id: CommandId) {
    let entry = catalog.entry(id);
    let info = entry.info;
    reply.counts_whole();
    reply.array(10);
    reply.bulk(&*entry.full_name);
    reply.integer(i64::from(info.arity));
    named(reply, info.flags, flag::NAMES, "");
    let (first, last, step) = legacy_keys(info);
    reply.integer(first);
    reply.integer(last);
    reply.integer(step);
    named(reply, info.categories, category::NAMES, "@");
    reply.set(info.tips.len());
    for tip in info.tips {
        reply.bulk(tip);
    }
    reply.set(info.keys.len());
    let docs = docs_of(&entry.full_name);
    for (at, spec) in info.keys.iter().enumerate() {
        key_spec(reply, spec, docs.and_then(|docs| docs.note(at)));
    }
    if entry.subcommand_count == 0 {
        return reply.set(0);
    }
    reply.array(usize::from(entry.subcommand_count));
    for sub in catalog.subcommands(id) {
        describe(reply, catalog, sub);
    }
}

fn named(reply: &mut Reply, bits: u32, names: &[(u32, &str)], mark: &str) {
    let set: Vec<_> = names.iter().filter(|(bit, _)| bits & bit != 0).collect();
    reply.set(set.len());
    for (_, name) in set {
        reply.simple(&format!("{mark}{name}"));
    }
}

/// First key, last key and step, as far as three numbers can tell.
///
/// Specifications that follow each other are one range; what comes after one that does not is left out.
fn legacy_keys(info: &CommandInfo) -> (i64, i64, i64) {
    let signed = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let ranges = info
        .keys
        .iter()
        .map_while(|spec| match (spec.begin, spec.find) {
            (Begin::Index(first), Find::Range { last, step, .. }) => {
                let last = i64::from(last);
                let last = if last >= 0 {
                    signed(first) + last
                } else {
                    last
                };
                Some((signed(first), last, signed(step)))
            }
            (
                Begin::Index(_) | Begin::Keyword { .. } | Begin::Unknown | Begin::LastOption { .. },
                Find::Range { .. } | Find::KeyNum { .. },
            ) => None,
        });
    ranges
        .reduce(|(first, last, step), (next, next_last, _)| {
            let follows = last >= 0 && next == last + step;
            (first, if follows { next_last } else { last }, step)
        })
        .unwrap_or((0, 0, 0))
}

fn key_spec(reply: &mut Reply, spec: &KeySpec, note: Option<&str>) {
    let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    reply.map(3 + usize::from(note.is_some()));
    if let Some(note) = note {
        reply.bulk("notes");
        reply.bulk(note);
    }
    reply.bulk("flags");
    let flags: Vec<_> = key::NAMES
        .iter()
        .filter(|(bit, _)| spec.flags & bit != 0)
        .collect();
    reply.set(flags.len());
    for (_, name) in flags {
        reply.simple(name);
    }
    reply.bulk("begin_search");
    reply.map(2);
    reply.bulk("type");
    match spec.begin {
        Begin::Index(index) => {
            reply.bulk("index");
            numbers(reply, &[("index", count(index))]);
        }
        Begin::Keyword { word, from }
        | Begin::LastOption {
            word,
            from,
            is_told: true,
            ..
        } => {
            reply.bulk("keyword");
            reply.bulk("spec");
            reply.map(2);
            reply.bulk("keyword");
            reply.bulk(word);
            reply.bulk("startfrom");
            reply.integer(i64::from(from));
        }
        Begin::Unknown | Begin::LastOption { .. } => {
            reply.bulk("unknown");
            numbers(reply, &[]);
            reply.bulk("find_keys");
            reply.map(2);
            reply.bulk("type");
            reply.bulk("unknown");
            numbers(reply, &[]);
            return;
        }
    }
    reply.bulk("find_keys");
    reply.map(2);
    reply.bulk("type");
    match spec.find {
        Find::Range { last, step, limit } => {
            reply.bulk("range");
            let pairs = [
                ("lastkey", i64::from(last)),
                ("keystep", count(step)),
                ("limit", count(limit)),
            ];
            numbers(reply, &pairs);
        }
        Find::KeyNum { index, first, step } => {
            reply.bulk("keynum");
            let pairs = [
                ("keynumidx", count(index)),
                ("firstkey", count(first)),
                ("keystep", count(step)),
            ];
            numbers(reply, &pairs);
        }
    }
}

fn numbers(reply: &mut Reply, pairs: &[(&str, i64)]) {
    reply.bulk("spec");
    reply.map(pairs.len());
    for (name, value) in pairs {
        reply.bulk(name);
        reply.integer(*value);
    }
}

fn docs<P: Program>(program: &mut P, call: &Call<'_>, reply: &mut Reply) {
    let table = &program.front().table;
    let catalog = table.catalog();
    let names = &call.words[2..];
    let ids: Vec<CommandId> = if names.is_empty() {
        table.top_level().collect()
    } else {
        names.iter().filter_map(|name| table.find(name)).collect()
    };
    reply.map(ids.len());
    for id in ids {
        document(reply, catalog, id);
    }
}

fn document(reply: &mut Reply, catalog: &Catalog, id: CommandId) {
    let entry = catalog.entry(id);
    let info = entry.info;
    let pairs = [
        ("summary", info.summary),
        ("since", info.since),
        ("group", info.group),
        ("complexity", info.complexity),
    ];
    let shown: Vec<_> = pairs.iter().filter(|(_, text)| !text.is_empty()).collect();
    let has_subcommands = entry.subcommand_count > 0;
    reply.counts_whole();
    reply.bulk(&*entry.full_name);
    let docs = docs_of(&entry.full_name);
    let more = docs.map_or(0, CommandDocs::field_count);
    reply.map(shown.len() + more + usize::from(has_subcommands));
    for (name, text) in shown {
        reply.bulk(name);
        reply.bulk(text);
    }
    if let Some(docs) = docs {
        docs.write(reply);
    }
    if has_subcommands {
        reply.bulk("subcommands");
        reply.map(usize::from(entry.subcommand_count));
        for sub in catalog.subcommands(id) {
            document(reply, catalog, sub);
        }
    }
}

fn getkeys<P: Program>(program: &mut P, call: &Call<'_>, reply: &mut Reply, with_flags: bool) {
    let words: &[Word<'_>] = &call.words[2..];
    let table = &program.front().table;
    let super::Lookup::Found(id) = table.lookup(words) else {
        return reply.error("ERR Invalid command specified");
    };
    let info = table.catalog().entry(id).info;
    let is_key = |flags: u16| flags & key::NOT_KEY == 0;
    if !info.keys.iter().any(|spec| is_key(spec.flags)) {
        return reply.error("ERR The command has no key arguments");
    }
    if !super::dispatch::has_arity(info.arity, words.len()) {
        return reply.error("ERR Invalid number of arguments specified for command");
    }
    let keys = command_keys(info, words);
    if keys.is_empty() && info.flags & flag::NO_MANDATORY_KEYS == 0 {
        return reply.error("ERR Invalid arguments specified for command");
    }
    reply.array(keys.len());
    for found in keys {
        if !with_flags {
            reply.bulk(&words[found.index]);
            continue;
        }
        reply.array(2);
        reply.bulk(&words[found.index]);
        let flags: Vec<_> = key::NAMES
            .iter()
            .filter(|(bit, _)| found.flags & bit != 0)
            .collect();
        reply.set(flags.len());
        for (_, name) in flags {
            reply.simple(name);
        }
    }
}

fn list<P: Program>(program: &mut P, call: &Call<'_>, reply: &mut Reply) {
    let table = &program.front().table;
    let catalog = table.catalog();
    let filter: Box<dyn Fn(CommandId) -> bool> = match &call.words[2..] {
        [] => Box::new(|_| true),
        [by, how, what] if by.eq_ignore_ascii_case(b"FILTERBY") => {
            match how.to_ascii_lowercase().as_slice() {
                b"module" => Box::new(|_| false),
                b"aclcat" => {
                    let name = String::from_utf8_lossy(what);
                    let bit = super::acl::category_bit(&name).unwrap_or(0);
                    Box::new(move |id| catalog.entry(id).info.categories & bit != 0)
                }
                b"pattern" => Box::new(|id| {
                    glob_match_ignore_case(what, catalog.entry(id).full_name.as_bytes())
                }),
                _ => return reply.error("ERR syntax error"),
            }
        }
        _ => return reply.error("ERR syntax error"),
    };
    let mut names = Vec::new();
    for id in table.top_level() {
        for id in std::iter::once(id).chain(catalog.subcommands(id)) {
            if filter(id) {
                names.push(&catalog.entry(id).full_name);
            }
        }
    }
    reply.counts_whole();
    reply.array(names.len());
    for name in names {
        reply.bulk(&**name);
    }
}

fn help<P: Program>(_: &mut P, _: &Call<'_>, reply: &mut Reply) {
    reply.array(HELP.len());
    for line in HELP {
        reply.simple(line);
    }
}

const HELP: &[&str] = &[
    "COMMAND <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "(no subcommand)",
    "    Describe all commands.",
    "COUNT",
    "    Tell how many commands there are.",
    "LIST [FILTERBY (MODULE <name>|ACLCAT <category>|PATTERN <pattern>)]",
    "    Name all commands.",
    "INFO [<command-name> ...]",
    "    Describe these commands, or all.",
    "DOCS [<command-name> ...]",
    "    Show the documentation of these commands, or of all.",
    "GETKEYS <full-command>",
    "    Show which words of a command are keys.",
    "GETKEYSANDFLAGS <full-command>",
    "    The same, and what the command does to them.",
    "HELP",
    "    Prints this help.",
];

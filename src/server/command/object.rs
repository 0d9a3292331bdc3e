//! `OBJECT`: how a value is stored, and what is noted of its use.

use super::args::Failure;
use super::strings::finish;
use crate::front::{Call, CommandSpec, KeySpec, Reply, category, flag, key};
use crate::server::Server;
use crate::server::keyspace::{Entry, Text, Value};

type Spec = CommandSpec<Server>;

const KEY: &[KeySpec] = &[KeySpec::one(2, key::RO)];
const TIPS: &[&str] = &["nondeterministic_output"];

/// The commands of this file.
pub(super) fn commands() -> Vec<Spec> {
    let about_key = |name, handler, since, summary| {
        Spec::new(name, 3, handler)
            .flags(flag::READONLY)
            .acl(category::KEYSPACE)
            .keys(KEY)
            .tips(TIPS)
            .doc(since, "generic", "O(1)", summary)
    };
    vec![
        Spec::new("object", -2, |_, _, _| {})
            .doc(
                "2.2.3",
                "generic",
                "Depends on subcommand.",
                "A container for object introspection commands",
            )
            .subcommands(vec![
                about_key(
                    "encoding",
                    encoding,
                    "2.2.3",
                    "Inspect the internal encoding of a Redis object",
                ),
                about_key(
                    "freq",
                    |s, c, r| finish(frequency(s, c, r), r),
                    "4.0.0",
                    "Get the logarithmic access frequency counter of a Redis object",
                ),
                Spec::new("help", 2, |_, _, r| super::admin::help(r, HELP))
                    .flags(flag::LOADING | flag::STALE)
                    .acl(category::KEYSPACE)
                    .doc(
                        "6.2.0",
                        "generic",
                        "O(1)",
                        "Show helpful text about the different subcommands",
                    ),
                about_key(
                    "idletime",
                    |s, c, r| finish(idle_time(s, c, r), r),
                    "2.2.3",
                    "Get the time since a Redis object was last accessed",
                ),
                about_key(
                    "refcount",
                    reference_count,
                    "2.2.3",
                    "Get the number of references to the value of the key",
                ),
            ]),
    ]
}

fn encoding(server: &mut Server, call: &Call<'_>, reply: &mut Reply) {
    match server.inspect(call, &call.words[2]) {
        Some(entry) => reply.bulk(entry.value.encoding()),
        None => reply.null(),
    }
}

/// Nothing is shared here; the small numbers that Redis shares are shown as it shows them.
fn reference_count(server: &mut Server, call: &Call<'_>, reply: &mut Reply) {
    // To redis-server, small integers are one object, but where it must know how each key is used.
    let config = &server.config;
    let may_share = config.maxmemory == 0 || !config.tuning.maxmemory_policy.goes_by_use();
    match server
        .inspect(call, &call.words[2])
        .map(|entry| &entry.value)
    {
        Some(Value::String(Text::Integer(0..=9999))) if may_share => {
            reply.integer(i64::from(i32::MAX));
        }
        Some(_) => reply.integer(1),
        None => reply.null(),
    }
}

fn idle_time(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let usage = server.usage(call.now.unix);
    let Some(access) = server.inspect(call, &call.words[2]).map(Entry::access) else {
        reply.null();
        return Ok(());
    };
    if usage.frequency.is_some() {
        return Err("ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.".into());
    }
    reply.integer(i64::from(usage.idle_seconds(access)));
    Ok(())
}

fn frequency(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let usage = server.usage(call.now.unix);
    let Some(access) = server.inspect(call, &call.words[2]).map(Entry::access) else {
        reply.null();
        return Ok(());
    };
    if usage.frequency.is_none() {
        return Err("ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.".into());
    }
    reply.integer(i64::from(usage.frequency(access)));
    Ok(())
}

const HELP: &[&str] = &[
    "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "ENCODING <key>",
    "    Tell in which form the value is stored.",
    "FREQ <key>",
    "    Tell the logarithmic counter of how often the key was used lately.",
    "IDLETIME <key>",
    "    Tell the seconds since the key was last used.",
    "REFCOUNT <key>",
    "    Tell how many references there are to the value.",
    "HELP",
    "    Prints this help.",
];

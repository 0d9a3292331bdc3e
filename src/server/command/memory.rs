//! `MEMORY`.

use super::args::{Failure, SYNTAX, integer, option};
use super::strings::finish;
use crate::front::{Call, CommandSpec, KeySpec, Reply, flag, key};
use crate::server::Server;
use crate::server::keyspace::Db;
use crate::server::memory_usage::entry_bytes;

type Spec = CommandSpec<Server>;

/// Elements of a collection that `MEMORY USAGE` looks at unless told.
const SAMPLES: usize = 5;
/// Below this, `MEMORY DOCTOR` finds nothing worth its words. Bytes.
const TOO_LITTLE: u64 = 5 << 20;

const SHARDS: &[&str] = &[
    "nondeterministic_output",
    "request_policy:all_shards",
    "response_policy:special",
];

/// The commands of this file.
pub(super) fn commands() -> Vec<Spec> {
    vec![
        Spec::new("memory", -2, |_, _, _| {})
            .doc(
                "4.0.0",
                "server",
                "Depends on subcommand.",
                "A container for memory diagnostics commands",
            )
            .subcommands(vec![
                Spec::new("doctor", 2, doctor).tips(SHARDS).doc(
                    "4.0.0",
                    "server",
                    "O(1)",
                    "Outputs memory problems report",
                ),
                Spec::new("help", 2, |_, _, r| super::admin::help(r, HELP))
                    .flags(flag::LOADING | flag::STALE)
                    .doc(
                        "4.0.0",
                        "server",
                        "O(1)",
                        "Show helpful text about the different subcommands",
                    ),
                Spec::new("malloc-stats", 2, |_, _, r| {
                    r.verbatim("Stats not supported for the current allocator");
                })
                .tips(SHARDS)
                .doc(
                    "4.0.0",
                    "server",
                    "Depends on how much memory is allocated, could be slow",
                    "Show allocator internal stats",
                ),
                Spec::new("purge", 2, |_, _, r| r.ok())
                    .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
                    .doc(
                        "4.0.0",
                        "server",
                        "Depends on how much memory is allocated, could be slow",
                        "Ask the allocator to release memory",
                    ),
                Spec::new("stats", 2, stats).tips(SHARDS).doc(
                    "4.0.0",
                    "server",
                    "O(1)",
                    "Show memory usage details",
                ),
                Spec::new("usage", -3, |s, c, r| finish(usage(s, c, r), r))
                    .flags(flag::READONLY)
                    .keys([KeySpec::one(2, key::RO)])
                    .doc(
                        "4.0.0",
                        "server",
                        "O(N) where N is the number of samples.",
                        "Estimate the memory usage of a key",
                    ),
            ]),
    ]
}

fn usage(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let mut samples = SAMPLES;
    let mut options = call.words[3..].iter();
    while let Some(word) = options.next() {
        let (b"samples", Some(count)) = (option(word).as_slice(), options.next()) else {
            return Err(SYNTAX.into());
        };
        samples = usize::try_from(integer(count)?).map_err(|_| SYNTAX)?;
    }
    // One that has expired takes memory until it is removed.
    match server.keyspace.get(server.db(), &call.words[2]) {
        None => reply.null(),
        Some(entry) => reply.count(entry_bytes(entry, samples)),
    }
    Ok(())
}

fn stats(server: &mut Server, _: &Call<'_>, reply: &mut Reply) {
    /// One value.
    enum Stat {
        Bytes(u64),
        Signed(i64),
        Ratio(f64),
    }
    let report = server.memory_report();
    let keys = server.keyspace.len() as u64;
    let per_key = report
        .used
        .saturating_sub(report.startup)
        .checked_div(keys)
        .unwrap_or(0);
    let fields = [
        ("peak.allocated", Stat::Bytes(report.peak)),
        ("total.allocated", Stat::Bytes(report.used)),
        ("startup.allocated", Stat::Bytes(report.startup)),
        ("replication.backlog", Stat::Bytes(report.backlog)),
        ("clients.slaves", Stat::Bytes(report.replicas)),
        ("clients.normal", Stat::Bytes(report.clients)),
        ("cluster.links", Stat::Bytes(0)),
        ("aof.buffer", Stat::Bytes(report.aof_buffer)),
        ("lua.caches", Stat::Bytes(0)),
        ("functions.caches", Stat::Bytes(0)),
        ("overhead.total", Stat::Bytes(report.overhead)),
        ("keys.count", Stat::Bytes(keys)),
        ("keys.bytes-per-key", Stat::Bytes(per_key)),
        ("dataset.bytes", Stat::Bytes(report.dataset)),
        ("dataset.percentage", Stat::Ratio(report.dataset_percent())),
        ("peak.percentage", Stat::Ratio(report.peak_percent())),
        ("allocator.allocated", Stat::Bytes(report.used)),
        ("allocator.active", Stat::Bytes(report.resident)),
        ("allocator.resident", Stat::Bytes(report.resident)),
        (
            "allocator-fragmentation.ratio",
            Stat::Ratio(report.fragmentation()),
        ),
        (
            "allocator-fragmentation.bytes",
            Stat::Signed(report.fragmentation_bytes()),
        ),
        ("allocator-rss.ratio", Stat::Ratio(1.0)),
        ("allocator-rss.bytes", Stat::Signed(0)),
        ("rss-overhead.ratio", Stat::Ratio(1.0)),
        ("rss-overhead.bytes", Stat::Signed(0)),
        ("fragmentation", Stat::Ratio(report.fragmentation())),
        (
            "fragmentation.bytes",
            Stat::Signed(report.fragmentation_bytes()),
        ),
    ];
    let dbs = (0..server.keyspace.databases()).map(|number| (number, server.keyspace.db(number)));
    let dbs: Vec<(usize, &Db)> = dbs.filter(|(_, db)| !db.is_empty()).collect();
    reply.map(fields.len() + dbs.len());
    for (name, value) in fields {
        if name == "overhead.total" {
            dbs.iter()
                .for_each(|(number, db)| tables_of(*number, db, reply));
        }
        reply.bulk(name);
        match value {
            Stat::Bytes(bytes) => reply.integer(i64::try_from(bytes).unwrap_or(i64::MAX)),
            Stat::Signed(bytes) => reply.integer(bytes),
            Stat::Ratio(ratio) => reply.double(ratio),
        }
    }
}

/// What the tables of a database take beside the keys and values. Expiries are kept in its one table, and there are no slots.
fn tables_of(number: usize, db: &Db, reply: &mut Reply) {
    reply.bulk(format!("db.{number}"));
    reply.map(3);
    reply.bulk("overhead.hashtable.main");
    reply.count(db.overhead_bytes());
    for name in ["expires", "slot-to-keys"] {
        reply.bulk(format!("overhead.hashtable.{name}"));
        reply.integer(0);
    }
}

fn doctor(server: &mut Server, _: &Call<'_>, reply: &mut Reply) {
    /// Beyond this much of what is in use, the rest is lost to fragmentation.
    const RATIO_MAX: f64 = 1.4;
    const PEAK_PERCENT_MIN: f64 = 66.0;
    let report = server.memory_report();
    if report.used < TOO_LITTLE {
        return reply.verbatim(EMPTY);
    }
    let mut text = String::new();
    if report.peak_percent() < PEAK_PERCENT_MIN {
        text.push_str(
            " * Peak memory: much more was in use once than now, so the process may look larger than its data.\n",
        );
    }
    if report.fragmentation() > RATIO_MAX {
        text.push_str(" * Fragmentation: the process holds much more memory than is in use.\n");
    }
    if text.is_empty() {
        text.push_str("Hi Sam, I can't find any memory issue in your instance. I can only account for what occurs on this base.\n");
    } else {
        text.insert_str(
            0,
            "Sam, I detected a few issues in this Redis instance memory implants:\n\n",
        );
    }
    reply.verbatim(text);
}

/// Redis's words.
const EMPTY: &str = "Hi Sam, this instance is empty or is using very little memory, my issues detector can't be used in these conditions. Please, leave for your mission on Earth and fill it with some data. The new Sam and I will be back to our programming as soon as I finished rebooting.\n";

const HELP: &[&str] = &[
    "MEMORY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "DOCTOR",
    "    Tell in words what is wrong with the memory.",
    "MALLOC-STATS",
    "    Show what the allocator knows.",
    "PURGE",
    "    Ask the allocator to give memory back.",
    "STATS",
    "    Show where the memory goes.",
    "USAGE <key> [SAMPLES <count>]",
    "    Estimate the bytes that a key takes with its value, by <count> of its",
    "    elements (5; 0 for all).",
    "HELP",
    "    Prints this help.",
];

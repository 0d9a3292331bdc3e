//! `SENTINEL` subcommands that only look, and the question that peers ask.

use super::explain::explain;
use super::{Host, NO_SUCH_MASTER, subcommand, text};
use crate::front::{Call, CommandSpec, Reply, flag};
use crate::ids::{Epoch, SentinelId};
use crate::resp::canonical_integer;
use crate::sentinel::core::{Input, Sentinel};

/// The subcommands of this module, under the Redis names and Valkey's.
pub(super) fn subcommands<H: Host>() -> Vec<CommandSpec<H>> {
    let masters = "O(N) where N is the number of masters";
    vec![
        subcommand(
            "ckquorum",
            3,
            "2.8.4",
            "",
            "Check for a Sentinel quorum",
            ckquorum,
        ),
        subcommand(
            "explain",
            -3,
            "7.0.15",
            "O(N) where N is the number of records",
            "Tell what was decided about a master, and why",
            explain,
        ),
        subcommand(
            "get-master-addr-by-name",
            3,
            "2.8.4",
            "O(1)",
            "Get port and address of a master",
            master_addr,
        ),
        subcommand(
            "get-primary-addr-by-name",
            3,
            "2.8.4",
            "O(1)",
            "Get port and address of a master",
            master_addr,
        ),
        CommandSpec::new("help", 2, help)
            .flags(flag::LOADING | flag::STALE)
            .doc(
                "6.2.0",
                "sentinel",
                "O(1)",
                "Show helpful text about the different subcommands",
            ),
        subcommand(
            "info-cache",
            -3,
            "3.2.0",
            "O(N) where N is the number of instances",
            "Get cached INFO from the instances in the deployment",
            info_cache,
        ),
        subcommand(
            "is-master-down-by-addr",
            6,
            "2.8.4",
            "O(1)",
            "Check if a master is down",
            is_master_down,
        ),
        subcommand(
            "is-primary-down-by-addr",
            6,
            "2.8.4",
            "O(1)",
            "Check if a master is down",
            is_master_down,
        ),
        subcommand(
            "master",
            3,
            "2.8.4",
            "O(1)",
            "Shows the state of a master",
            master,
        ),
        subcommand(
            "primary",
            3,
            "2.8.4",
            "O(1)",
            "Shows the state of a master",
            master,
        ),
        subcommand(
            "masters",
            2,
            "2.8.4",
            masters,
            "List the monitored masters",
            all_masters,
        ),
        subcommand(
            "primaries",
            2,
            "2.8.4",
            masters,
            "List the monitored masters",
            all_masters,
        ),
        subcommand(
            "myid",
            2,
            "6.2.0",
            "O(1)",
            "Get the Sentinel instance ID",
            myid,
        ),
        subcommand(
            "ordered-failover",
            6,
            "7.0.15",
            "O(1)",
            "Announce that the next request for a vote was ordered by an operator",
            ordered_failover,
        ),
        subcommand(
            "pending-scripts",
            2,
            "2.8.4",
            "",
            "Get information about pending scripts",
            pending_scripts,
        ),
        subcommand(
            "replicas",
            3,
            "5.0.0",
            "O(N) where N is the number of replicas",
            "List the monitored replicas",
            replicas,
        ),
        subcommand(
            "slaves",
            3,
            "2.8.0",
            "O(N) where N is the number of slaves",
            "List the monitored slaves",
            replicas,
        ),
        subcommand(
            "sentinels",
            3,
            "2.8.4",
            "O(N) where N is the number of Sentinels",
            "List the Sentinel instances",
            sentinels,
        ),
    ]
}

type Fields = Vec<(&'static str, String)>;

fn instance(reply: &mut Reply, fields: &Fields) {
    reply.map(fields.len());
    for (name, value) in fields {
        reply.bulk(name);
        reply.bulk(value);
    }
}

fn instances(reply: &mut Reply, found: Option<Vec<Fields>>) {
    let Some(found) = found else {
        return reply.error(NO_SUCH_MASTER);
    };
    reply.array(found.len());
    for fields in &found {
        instance(reply, fields);
    }
}

fn master<H: Host>(host: &mut H, call: &Call<'_>, reply: &mut Reply) {
    match host.core().master_fields(call.now, &text(&call.words[2])) {
        Some(fields) => instance(reply, &fields),
        None => reply.error(NO_SUCH_MASTER),
    }
}

fn all_masters<H: Host>(host: &mut H, call: &Call<'_>, reply: &mut Reply) {
    let core = host.core();
    let all = core
        .master_names()
        .filter_map(|name| core.master_fields(call.now, name.as_str()))
        .collect();
    instances(reply, Some(all));
}

fn replicas<H: Host>(host: &mut H, call: &Call<'_>, reply: &mut Reply) {
    let found = host.core().replica_fields(call.now, &text(&call.words[2]));
    instances(reply, found);
}

fn sentinels<H: Host>(host: &mut H, call: &Call<'_>, reply: &mut Reply) {
    let found = host.core().sentinel_fields(call.now, &text(&call.words[2]));
    instances(reply, found);
}

fn master_addr<H: Host>(host: &mut H, call: &Call<'_>, reply: &mut Reply) {
    match host.core().master_addr(&text(&call.words[2])) {
        Some((address, port)) => {
            reply.array(2);
            reply.bulk(&*address);
            reply.bulk_integer(i64::from(port));
        }
        None => reply.null_array(),
    }
}

fn myid<H: Host>(host: &mut H, _: &Call<'_>, reply: &mut Reply) {
    reply.bulk(host.core().id().as_str());
}

fn ckquorum<H: Host>(host: &mut H, call: &Call<'_>, reply: &mut Reply) {
    let Some((usable, quorum, majority)) = host.core().ckquorum(&text(&call.words[2])) else {
        return reply.error(NO_SUCH_MASTER);
    };
    match Sentinel::ckquorum_text(usable, quorum, majority) {
        Ok(text) => reply.simple(&text),
        Err(text) => reply.error(text),
    }
}

fn info_cache<H: Host>(host: &mut H, call: &Call<'_>, reply: &mut Reply) {
    let core = host.core();
    let mut asked: Vec<_> = call.words[2..].iter().map(|word| text(word)).collect();
    asked.sort_unstable();
    asked.dedup();
    let found: Vec<_> = core
        .master_names()
        .filter(|name| asked.iter().any(|asked| asked == name.as_str()))
        .filter_map(|name| Some((name, core.info_cache(call.now, name.as_str())?)))
        .collect();
    reply.array(found.len() * 2);
    for (name, entries) in found {
        reply.bulk(name.as_str());
        reply.array(entries.len());
        for (age_ms, info) in entries {
            reply.array(2);
            reply.integer(i64::try_from(age_ms).unwrap_or(i64::MAX));
            match info {
                Some(info) => reply.bulk(info),
                None => reply.null(),
            }
        }
    }
}

fn pending_scripts<H: Host>(host: &mut H, _: &Call<'_>, reply: &mut Reply) {
    let scripts = host.pending_scripts();
    reply.array(scripts.len());
    for script in scripts {
        reply.map(5);
        reply.bulk("argv");
        reply.array(script.argv.len());
        for word in &script.argv {
            reply.bulk(word);
        }
        let (flags, time) = if script.is_running {
            ("running", "run-time")
        } else {
            ("scheduled", "run-delay")
        };
        reply.bulk("flags");
        reply.bulk(flags);
        reply.bulk("pid");
        reply.bulk_integer(i64::from(script.pid));
        reply.bulk(time);
        reply.bulk_integer(i64::try_from(script.time_ms).unwrap_or(i64::MAX));
        reply.bulk("retry-num");
        reply.bulk_integer(i64::from(script.attempts));
    }
}

/// A peer's question about a master's state, and its request for a vote. The answer may have to wait
/// until the vote is on disk; the peer's pings and its questions about other masters go on meanwhile.
fn is_master_down<H: Host>(host: &mut H, call: &Call<'_>, reply: &mut Reply) {
    let [_, _, address, port, epoch, candidate] = call.words else {
        return;
    };
    let (Some(port), Some(epoch)) = (canonical_integer(port), canonical_integer(epoch)) else {
        return reply.error("ERR value is not an integer or out of range");
    };
    let Ok(port) = u16::try_from(port) else {
        // No master has such an address.
        reply.array(3);
        reply.integer(0);
        reply.bulk("*");
        reply.integer(0);
        return;
    };
    let candidate = match text(candidate) {
        none if none == "*" => None,
        id => Some(SentinelId::from(&*id)),
    };
    let to = super::begin_in_order(host, call);
    host.feed(Input::Asked {
        to,
        host: text(address).into_owned(),
        port,
        // As in the original, a negative number is an epoch beyond 2^63, which the core refuses.
        epoch: Epoch(epoch.cast_unsigned()),
        candidate,
    });
}

/// A peer's announcement before a request for a vote. What makes no sense covers no vote.
fn ordered_failover<H: Host>(host: &mut H, call: &Call<'_>, reply: &mut Reply) {
    let [_, _, address, port, epoch, candidate] = call.words else {
        return;
    };
    let port = canonical_integer(port).and_then(|port| u16::try_from(port).ok());
    let epoch = canonical_integer(epoch).and_then(|epoch| u64::try_from(epoch).ok());
    let (Some(port), Some(epoch)) = (port, epoch) else {
        return reply.error("ERR value is not an integer or out of range");
    };
    host.feed(Input::Ordered {
        host: text(address).into_owned(),
        port,
        epoch: Epoch(epoch),
        candidate: SentinelId::from(&*text(candidate)),
    });
    reply.simple("OK");
}

fn help<H: Host>(_: &mut H, _: &Call<'_>, reply: &mut Reply) {
    reply.array(HELP.len());
    for line in HELP {
        reply.simple(line);
    }
}

/// Syntax lines are the original's; clients match the first one.
const HELP: &[&str] = &[
    "SENTINEL <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CKQUORUM <master-name>",
    "    Tell whether enough sentinels are usable for the quorum and for the majority",
    "    that a failover needs.",
    "CONFIG SET <param> <value> [<param> <value> ...]",
    "    Change settings of the whole sentinel.",
    "CONFIG GET <param> [<param> ...]",
    "    Show settings of the whole sentinel; patterns are understood.",
    "DEBUG [<param> <value> ...]",
    "    Show the periods and timeouts in milliseconds, or change some until the next",
    "    start.",
    "EXPLAIN <master-name> [COUNT <n>]",
    "    Tell how things stand with a master, and what was decided about it and why:",
    "    the newest first, 5 unless told otherwise.",
    "GET-MASTER-ADDR-BY-NAME <master-name>",
    "    Tell the address and port of the present master.",
    "FAILOVER <master-name>",
    "    Fail over although the master works. Other sentinels vote, but need not",
    "    find it down.",
    "FLUSHCONFIG",
    "    Write the state to disk now.",
    "FORGET <master-name> <ip> <port>",
    "    Forget the replica or sentinel at that address. It comes back if it is heard of",
    "    again.",
    "INFO-CACHE <master-name> [<master-name> ...]",
    "    Show the last INFO of the masters and their replicas.",
    "IS-MASTER-DOWN-BY-ADDR <ip> <port> <current-epoch> <runid>",
    "    What sentinels ask each other: is it down, and do I have your vote?",
    "MASTER <master-name>",
    "    Show one master.",
    "MASTERS",
    "    Show all masters.",
    "MONITOR <name> <ip> <port> <quorum>",
    "    Start to monitor a master.",
    "MYID",
    "    Tell the permanent id of this sentinel.",
    "ORDERED-FAILOVER <ip> <port> <epoch> <runid>",
    "    What sentinels tell each other before they ask for a vote in a failover that was",
    "    ordered.",
    "PAUSE <master-name> [<duration>]",
    "    No automatic failovers for so long (90s, 5m; a number is seconds), or until",
    "    RESUME. Told to the other sentinels; the answer says who is paused.",
    "PENDING-SCRIPTS",
    "    Show the scripts that run or wait.",
    "REMOVE <master-name>",
    "    Stop monitoring a master.",
    "REPLICAS <master-name>",
    "    Show the replicas of a master.",
    "RESET <pattern>",
    "    Forget what was learnt about the masters that match.",
    "RESUME <master-name>",
    "    Automatic failovers again, here and on the other sentinels.",
    "SENTINELS <master-name>",
    "    Show the other sentinels of a master.",
    "SET <master-name> <option> <value> [<option> <value> ...]",
    "    Change settings of one master.",
    "SIMULATE-FAILURE [CRASH-AFTER-ELECTION] [CRASH-AFTER-PROMOTION] [HELP]",
    "    Exit at this point of the next failover.",
    "HELP",
    "    Prints this help.",
];

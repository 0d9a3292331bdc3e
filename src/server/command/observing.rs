//! What an operator watches: `SLOWLOG`, `LATENCY`, `MONITOR`.

use std::fmt::Write;

use super::args::{Failure, integer};
use super::strings::finish;
use crate::front::{Call, ClientKind, CommandSpec, Handler, Reply, category, flag};
use crate::server::Server;
use crate::server::latency::Series;

type Spec = CommandSpec<Server>;

const FLAGS: u32 = flag::ADMIN | flag::LOADING | flag::STALE;
const SAFE: u32 = flag::LOADING | flag::STALE;
const NODES: &[&str] = &["request_policy:all_nodes", "nondeterministic_output"];
const NODES_APART: &[&str] = &[
    "nondeterministic_output",
    "request_policy:all_nodes",
    "response_policy:special",
];

/// The commands of this file.
pub(super) fn commands() -> Vec<Spec> {
    vec![slowlog(), latency(), monitor()]
}

fn slowlog() -> Spec {
    Spec::new("slowlog", -2, |_, _, _| {})
        .doc(
            "2.2.12",
            "server",
            "Depends on subcommand.",
            "A container for slow log commands",
        )
        .subcommands(vec![
            Spec::new("get", -2, |s, c, r| finish(slowlog_get(s, c, r), r))
                .flags(FLAGS)
                .tips(NODES)
                .doc(
                    "2.2.12",
                    "server",
                    "O(N) where N is the number of entries returned",
                    "Get the slow log's entries",
                ),
            Spec::new("len", 2, |s, _, r| r.count(s.slowlog.entries().len()))
                .flags(FLAGS)
                .tips(&[
                    "request_policy:all_nodes",
                    "response_policy:agg_sum",
                    "nondeterministic_output",
                ])
                .doc("2.2.12", "server", "O(1)", "Get the slow log's length"),
            Spec::new("reset", 2, |s, _, r| {
                s.slowlog.reset();
                r.ok();
            })
            .flags(FLAGS)
            .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
            .doc(
                "2.2.12",
                "server",
                "O(N) where N is the number of entries in the slowlog",
                "Clear all entries from the slow log",
            ),
            Spec::new("help", 2, |_, _, r| super::admin::help(r, SLOWLOG_HELP))
                .flags(SAFE)
                .doc(
                    "6.2.0",
                    "server",
                    "O(1)",
                    "Show helpful text about the different subcommands",
                ),
        ])
}

fn slowlog_get(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    /// Entries that are shown when nobody says how many.
    const DEFAULT: usize = 10;
    let count = match &call.words[2..] {
        [] => DEFAULT,
        [count] => match integer(count) {
            Ok(-1) => usize::MAX,
            Ok(count) if count >= 0 => usize::try_from(count).unwrap_or(usize::MAX),
            Ok(_) | Err(_) => {
                return Err("ERR count should be greater than or equal to -1".into());
            }
        },
        _ => return Err(super::admin::unknown_subcommand(call, "SLOWLOG")),
    };
    let entries: Vec<_> = server.slowlog.entries().take(count).collect();
    reply.counts_whole();
    reply.array(entries.len());
    for slow in entries {
        reply.array(6);
        reply.integer(i64::try_from(slow.id).unwrap_or(i64::MAX));
        reply.integer(i64::try_from(slow.at).unwrap_or(i64::MAX));
        reply.integer(i64::try_from(slow.micros).unwrap_or(i64::MAX));
        reply.array(slow.words.len());
        for word in &slow.words {
            reply.bulk(word);
        }
        reply.bulk(&slow.addr);
        reply.bulk(&slow.client_name);
    }
    Ok(())
}

fn latency() -> Spec {
    // All are about the samples of events, but for the histogram of commands.
    let sub = |name, arity, handler: Handler<Server>, summary| {
        Spec::new(name, arity, handler)
            .flags(flag::ADMIN | flag::NOSCRIPT | SAFE)
            .tips(NODES_APART)
            .doc("2.8.13", "server", "O(1)", summary)
    };
    Spec::new("latency", -2, |_, _, _| {})
        .doc(
            "2.8.13",
            "server",
            "Depends on subcommand.",
            "A container for latency diagnostics commands",
        )
        .subcommands(vec![
            sub(
                "doctor",
                2,
                doctor,
                "Return a human readable latency analysis report.",
            ),
            sub(
                "graph",
                3,
                |s, c, r| finish(graph(s, c, r), r),
                "Return a latency graph for the event.",
            ),
            Spec::new("help", 2, |_, _, r| super::admin::help(r, LATENCY_HELP))
                .flags(SAFE)
                .doc(
                    "2.8.13",
                    "server",
                    "O(1)",
                    "Show helpful text about the different subcommands.",
                ),
            sub("histogram", -2, histogram, "").doc(
                "7.0.0",
                "server",
                "O(N) where N is the number of commands with latency information being retrieved.",
                "Return the cumulative distribution of latencies of a subset of commands or all.",
            ),
            sub(
                "history",
                3,
                history,
                "Return timestamp-latency samples for the event.",
            ),
            sub(
                "latest",
                2,
                latest,
                "Return the latest latency samples for all events.",
            ),
            sub(
                "reset",
                -2,
                latency_reset,
                "Reset latency data for one or more events.",
            )
            .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
        ])
}

fn history(server: &mut Server, call: &Call<'_>, reply: &mut Reply) {
    let Some(series) = server.latencies.get(&call.words[2]) else {
        return reply.array(0);
    };
    reply.array(series.samples().len());
    for (at, millis) in series.samples() {
        reply.array(2);
        reply.integer(i64::try_from(at).unwrap_or(i64::MAX));
        reply.integer(i64::try_from(millis).unwrap_or(i64::MAX));
    }
}

fn latest(server: &mut Server, _: &Call<'_>, reply: &mut Reply) {
    let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    reply.array(server.latencies.iter().len());
    for (event, series) in server.latencies.iter() {
        let (at, millis) = series.last().unwrap_or_default();
        reply.array(4);
        reply.bulk(event);
        reply.integer(signed(at));
        reply.integer(signed(millis));
        reply.integer(signed(series.max));
    }
}

fn latency_reset(server: &mut Server, call: &Call<'_>, reply: &mut Reply) {
    let events = &call.words[2..];
    let count = if events.is_empty() {
        server.latencies.clear()
    } else {
        let forgotten = events.iter().filter(|event| server.latencies.forget(event));
        forgotten.count()
    };
    reply.count(count);
}

fn histogram(server: &mut Server, call: &Call<'_>, reply: &mut Reply) {
    let catalog = server.front.table.catalog();
    let mut found = Vec::new();
    let names = &call.words[2..];
    if names.is_empty() {
        found.extend(catalog.iter().map(|(id, _)| id));
    }
    for name in names {
        let Some(id) = server.front.table.find(name) else {
            continue;
        };
        found.push(id);
        found.extend(catalog.subcommands(id));
    }
    let shown: Vec<_> = found
        .into_iter()
        .filter_map(|id| Some((id, server.metrics.latency(id)?)))
        .collect();
    reply.counts_whole();
    reply.map(shown.len());
    for (id, latency) in shown {
        reply.bulk(&*catalog.entry(id).full_name);
        reply.map(2);
        reply.bulk("calls");
        reply.integer(i64::try_from(latency.total()).unwrap_or(i64::MAX));
        reply.bulk("histogram_usec");
        let levels = latency.levels();
        reply.map(levels.len());
        for (micros, count) in levels {
            reply.integer(i64::try_from(micros).unwrap_or(i64::MAX));
            reply.integer(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
}

fn graph(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    /// Samples side by side.
    const COLUMNS: usize = 80;
    let event = &call.words[2];
    let Some(series) = server.latencies.get(event) else {
        let text = Failure::from("ERR No samples available for event '");
        return Err(text.word(event).text("'"));
    };
    let name = String::from_utf8_lossy(event);
    let now = call.now.unix.0 / 1000;
    let samples: Vec<(u64, String)> = series
        .samples()
        .map(|(at, millis)| (millis, age(now.saturating_sub(at))))
        .collect();
    let low = samples.iter().map(|(millis, _)| *millis).min().unwrap_or(0);
    let high = samples.iter().map(|(millis, _)| *millis).max().unwrap_or(0);
    let mut text = format!(
        "{name} - high {high} ms, low {low} ms (all time high {} ms)\n{}\n",
        series.max,
        "-".repeat(COLUMNS),
    );
    for (at, part) in samples.chunks(COLUMNS).enumerate() {
        if at > 0 {
            text.push('\n');
        }
        draw(part, low, high, &mut text);
    }
    reply.verbatim(text);
    Ok(())
}

/// How long ago, in one unit.
fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Columns of four rows with three heights each, and their labels written downwards.
fn draw(samples: &[(u64, String)], low: u64, high: u64, text: &mut String) {
    const ROWS: u64 = 4;
    const TOPS: [char; 3] = ['_', 'o', '#'];
    let heights = TOPS.len() as u64;
    let range = (high - low).max(1);
    for row in 0..ROWS {
        let below = (ROWS - row - 1) * heights;
        text.extend(samples.iter().map(|(millis, _)| {
            let step = ((millis - low) * ROWS * heights / range).min(ROWS * heights - 1);
            match step.checked_sub(below) {
                None => ' ',
                Some(above) => usize::try_from(above)
                    .ok()
                    .and_then(|above| TOPS.get(above).copied())
                    .unwrap_or('|'),
            }
        }));
        text.push('\n');
    }
    let longest = samples.iter().map(|(_, label)| label.len()).max();
    text.push_str(&" ".repeat(samples.len()));
    text.push('\n');
    for at in 0..longest.unwrap_or(0) {
        let letter =
            |(_, label): &(u64, String)| label.as_bytes().get(at).map_or(' ', |b| char::from(*b));
        text.extend(samples.iter().map(letter));
        text.push('\n');
    }
}

fn doctor(server: &mut Server, _: &Call<'_>, reply: &mut Reply) {
    let threshold = server.config.tuning.latency_monitor_threshold;
    let events = server.latencies.iter();
    if events.len() == 0 && threshold.is_zero() {
        return reply.verbatim(DOCTOR_DISABLED);
    }
    if events.len() == 0 {
        return reply.verbatim(DOCTOR_HEALTHY);
    }
    let mut text = String::from("Dave, I have observed latency spikes in this Redis instance.\n\n");
    for (at, (event, series)) in events.enumerate() {
        let (count, average, period) = summary(series);
        // A String takes everything.
        let _ = writeln!(
            text,
            "{}. {event}: {count} latency spikes (average {average}ms, period {period} sec). Worst all \
             time event {}ms.",
            at + 1,
            series.max,
        );
    }
    text.push_str("\nCommands are named in SLOWLOG GET; a lower slowlog-log-slower-than shows more of them.\n");
    reply.verbatim(text);
}

/// How many samples there are, how long they took on average, and the seconds between them.
fn summary(series: &Series) -> (u64, u64, u64) {
    let count = series.samples().len() as u64;
    let total: u64 = series.samples().map(|(_, millis)| millis).sum();
    let first = series.samples().next().map_or(0, |(at, _)| at);
    let last = series.last().map_or(0, |(at, _)| at);
    (count, total / count.max(1), (last - first) / count.max(1))
}

fn monitor() -> Spec {
    Spec::new("monitor", 1, |s, c, r| finish(start_monitor(s, c, r), r))
        .flags(flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE)
        .acl(category::DANGEROUS)
        .doc(
            "1.0.0",
            "server",
            "",
            "Listen for all requests received by the server in real time",
        )
}

fn start_monitor(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    if server.in_exec {
        return Err("ERR MONITOR isn't allowed for DENY BLOCKING client".into());
    }
    let client = server.front.clients.current(call.client);
    if client.kind == ClientKind::Replica || client.is_monitor {
        return Ok(());
    }
    server.set_monitor(call.client, true);
    reply.ok();
    Ok(())
}

/// Redis's words, which are known to tools.
const DOCTOR_DISABLED: &str = "I'm sorry, Dave, I can't do that. Latency monitoring is disabled in this Redis instance. You may use \"CONFIG SET latency-monitor-threshold <milliseconds>.\" in order to enable it. If we weren't in a deep space mission I'd suggest to take a look at https://redis.io/topics/latency-monitor.\n";
const DOCTOR_HEALTHY: &str = "Dave, no latency spike was observed during the lifetime of this Redis instance, not in the slightest bit. I honestly think you ought to sit down calmly, take a stress pill, and think things over.\n";

const SLOWLOG_HELP: &[&str] = &[
    "SLOWLOG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "GET [<count>]",
    "    Show the newest entries: 10, or <count>, or with -1 all. Each has",
    "    id, time, microseconds, words, address and name of the client.",
    "LEN",
    "    Tell how many entries there are.",
    "RESET",
    "    Forget all entries.",
    "HELP",
    "    Prints this help.",
];

const LATENCY_HELP: &[&str] = &[
    "LATENCY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "DOCTOR",
    "    Tell in words what took long.",
    "GRAPH <event>",
    "    Draw the samples of one kind of event.",
    "HISTORY <event>",
    "    Show the samples of one kind of event.",
    "LATEST",
    "    Show the newest sample of each kind of event.",
    "RESET [<event> ...]",
    "    Forget these kinds of events, or all.",
    "HISTOGRAM [COMMAND ...]",
    "    Show how many calls of these commands, or of all, took how long.",
    "HELP",
    "    Prints this help.",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_graph_has_rows_and_labels_written_downwards() {
        let samples = [(100, "5m"), (500, "12s"), (300, "1s")];
        let samples: Vec<_> = samples.map(|(ms, label)| (ms, label.to_owned())).to_vec();
        let mut text = String::new();
        draw(&samples, 100, 500, &mut text);
        assert_eq!(text, " # \n |_\n ||\n_||\n   \n511\nm2s\n s \n");
        let ages = [0, 59, 60, 3600, 90_000].map(age);
        assert_eq!(ages, ["0s", "59s", "1m", "1h", "1d"]);
    }
}

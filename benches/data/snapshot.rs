//! What clients see of a `BGSAVE`.

use std::time::Duration;

use sentinel::resp::encode_request;

use super::common::{Samples, instant};
use super::goals::Goals;
use super::load::{Writers, fill, pipeline};
use super::support::{Kind, ServerNode, start_server, text};
use super::{KINDS, error_of, info, name, order};

const CLIENTS: usize = 50;
/// How long the clients write undisturbed, per round.
const UNDISTURBED: Duration = Duration::from_secs(2);
/// How often a save's end is looked for.
const LOOK: Duration = Duration::from_millis(20);
/// Fields that one request adds to the large hash.
const FIELDS_PER_REQUEST: usize = 100;

/// What is measured of one server, a sample a round.
#[derive(Default)]
struct Rounds {
    alone: Seen,
    saving: Seen,
    /// The p99.9 while it saves, times the one while it does not.
    ratio: Samples,
    /// The most resident memory while it saves, times what it was before.
    memory: Samples,
}

/// The p99.9 and the longest answer of each round, in milliseconds.
#[derive(Default)]
struct Seen {
    p999: Samples,
    max: Samples,
}

impl Seen {
    /// Adds a round; its p99.9.
    fn add(&mut self, times: Vec<f64>) -> f64 {
        let mut samples = Samples::default();
        samples.extend(times);
        let p999 = samples.quantile(0.999);
        self.p999.add(p999);
        self.max.add(samples.max());
        p999
    }
}

pub(crate) fn compare(rounds: usize, keys: usize, goals: &mut Goals) {
    println!(
        "\n{CLIENTS} clients that SET among {keys} keys, without and during BGSAVE, median of {rounds} rounds; ms; and the most resident memory meanwhile, times what it was"
    );
    println!(
        "{:<10} {:<18} {:>9} {:>9} {:>9} {:>9} {:>7} {:>7}",
        "", "", "p99.9", "max", "p99.9", "max", "ratio", "memory"
    );
    let servers = KINDS.map(|kind| {
        let server = start_server(kind, "");
        fill(server.port(), keys);
        server
    });
    measure(&servers, rounds, keys, "", goals);
    for server in &servers {
        if let Some(error) = error_of(&mut server.client(), &["HSET", "h", "f", "v"]) {
            println!(
                "with a large hash: left out, {}: {error}",
                name(server.kind)
            );
            return;
        }
        pipeline(server.port(), keys / FIELDS_PER_REQUEST, |request, out| {
            let mut words = vec!["HSET".to_owned(), "h".to_owned()];
            for i in 0..FIELDS_PER_REQUEST {
                words.push(format!("field:{}", request * FIELDS_PER_REQUEST + i));
                words.push("value".to_owned());
            }
            encode_request(&words, out);
        });
    }
    measure(&servers, rounds, keys, "with a large hash", goals);
}

fn measure(servers: &[ServerNode; 2], rounds: usize, keys: usize, what: &str, goals: &mut Goals) {
    let mut seen = [(); 2].map(|()| Rounds::default());
    for round in 0..rounds {
        for at in order(round) {
            let mut writers = Writers::new(servers[at].port(), CLIENTS, keys);
            let begin = instant();
            let alone = writers.run(|| begin.elapsed() > UNDISTURBED);
            let seen = &mut seen[at];
            let alone = seen.alone.add(alone);
            let process = &servers[at].process;
            let before = process.rss_kib();
            process.forget_peak();
            let saving = seen.saving.add(during_save(&servers[at], &mut writers));
            seen.ratio.add(saving / alone);
            seen.memory.add(kib(process.peak_kib()) / kib(before));
        }
    }
    for (server, seen) in servers.iter().zip(&seen) {
        let (ratio, max, memory) = (seen.ratio.p50(), seen.saving.max.p50(), seen.memory.max());
        let memory_shown = match server.kind {
            Kind::Ours => format!("{memory:.2}"),
            Kind::Real => String::new(),
        };
        println!(
            "{:<10} {what:<18} {:>9.2} {:>9.2} {:>9.2} {max:>9.2} {ratio:>7.2} {memory_shown:>7}",
            name(server.kind),
            seen.alone.p999.p50(),
            seen.alone.max.p50(),
            seen.saving.p999.p50(),
        );
        if server.kind == Kind::Ours {
            let of = |figure: &str| format!("BGSAVE {what}: {figure}");
            goals.at_most(&of("p99.9, times that without"), ratio, 1.5);
            goals.at_most(&of("longest answer, ms"), max, 8.0);
            goals.at_most(&of("peak memory, times what it was"), memory, 1.15);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "memory sizes, far below 2^53")]
fn kib(n: u64) -> f64 {
    n as f64
}

/// The answers of clients that write from the beginning of a save to its end.
fn during_save(server: &ServerNode, writers: &mut Writers) -> Vec<f64> {
    let mut control = server.client();
    let mut looked = instant();
    let begun = text(&control.call(&["BGSAVE"]));
    assert_eq!(begun, "Background saving started");
    writers.run(|| {
        if looked.elapsed() < LOOK {
            return false;
        }
        looked = instant();
        let going_on = info(&mut control, "persistence", "rdb_bgsave_in_progress");
        going_on.expect("INFO tells") == "0"
    })
}

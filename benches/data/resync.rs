//! Full resyncs of a million keys to an empty replica.

use std::time::{Duration, Instant};

use super::common::{Samples, instant};
use super::goals::Goals;
use super::load::{Writers, fill};
use super::support::{Kind, ServerNode, secs, start_server, text, wait_for};
use super::{info, name};

const CLIENTS: usize = 50;
/// How often a resync's end is looked for.
const LOOK: Duration = Duration::from_millis(10);

/// What is compared: a program, and the settings of its master.
const CASES: [(Kind, &str, &str); 3] = [
    (Kind::Real, "default delay", "repl-diskless-sync-delay 5\n"),
    (Kind::Real, "no delay", "repl-diskless-sync-delay 0\n"),
    (Kind::Ours, "", ""),
];

pub(crate) fn compare(rounds: usize, keys: usize, goals: &mut Goals) {
    let masters = CASES.map(|(kind, _, lines)| {
        let master = start_server(kind, lines);
        fill(master.port(), keys);
        master
    });
    let mut seen = CASES.map(|_| Seen::default());
    for _ in 0..rounds {
        for (master, seen) in masters.iter().zip(&mut seen) {
            seen.quiet.add(resync(master, keys, |sync| {
                wait_for("the link is up", secs(60), || {
                    sync.is_up().then_some(()).ok_or("it is down".to_owned())
                });
            }));
            let mut answers = Samples::default();
            seen.busy.add(resync(master, keys, |sync| {
                let mut writers = Writers::new(master.port(), CLIENTS, keys);
                answers.extend(writers.run(|| sync.is_up()));
            }));
            seen.p999.add(answers.quantile(0.999));
            seen.max.add(answers.max());
        }
    }
    println!(
        "\nfull resync of {keys} keys to an empty replica, median of {rounds} rounds; s; then the same while {CLIENTS} \
         clients write, and what they see of it; ms"
    );
    println!(
        "{:<10} {:<14} {:>8} {:>9} {:>9} {:>9}",
        "", "", "alone", "written", "p99.9", "max"
    );
    for ((kind, how, _), seen) in CASES.iter().zip(&seen) {
        let alone = seen.quiet.p50();
        println!(
            "{:<10} {how:<14} {alone:>8.2} {:>9.2} {:>9.2} {:>9.2}",
            name(*kind),
            seen.busy.p50(),
            seen.p999.p50(),
            seen.max.p50()
        );
        if *kind == Kind::Ours {
            goals.at_most("full resync, s", alone, 1.2);
        }
    }
}

/// What is measured in one case, a sample a round: seconds without clients and with them; of what these see the p99.9
/// and the longest answer, in milliseconds.
#[derive(Default)]
struct Seen {
    quiet: Samples,
    busy: Samples,
    p999: Samples,
    max: Samples,
}

/// A resync that is going on.
struct Sync<'a> {
    replica: &'a ServerNode,
    looked: Instant,
    begin: Instant,
    /// Seconds that it took.
    took: Option<f64>,
}

impl Sync<'_> {
    /// Whether it is over. Looks no more often than every [`LOOK`].
    fn is_up(&mut self) -> bool {
        if self.took.is_none() && self.looked.elapsed() >= LOOK {
            self.looked = instant();
            let client = &mut self.replica.client();
            let status = info(client, "replication", "master_link_status");
            let is_up = status.as_deref() == Some("up");
            self.took = is_up.then(|| self.begin.elapsed().as_secs_f64());
        }
        self.took.is_some()
    }
}

/// Seconds from `REPLICAOF` to a link that is up, for which `wait` waits.
fn resync(master: &ServerNode, keys: usize, wait: impl FnOnce(&mut Sync<'_>)) -> f64 {
    let replica = start_server(master.kind, "");
    let mut client = replica.client();
    let port = master.port().to_string();
    let begin = instant();
    client.call(&["REPLICAOF", "127.0.0.1", &port]);
    let mut sync = Sync {
        replica: &replica,
        looked: begin,
        begin,
        took: None,
    };
    wait(&mut sync);
    let took = sync.took.expect("it is over");
    assert_eq!(text(&replica.client().call(&["DBSIZE"])), keys.to_string());
    took
}

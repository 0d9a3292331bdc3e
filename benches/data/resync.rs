//! Full resyncs of a million keys to an empty replica.

use super::common::{Samples, instant};
use super::load::fill;
use super::support::{Kind, ServerNode, secs, start_server, text, wait_for};
use super::{info, name};

/// What is compared: a program, and the settings of its master.
const CASES: [(Kind, &str, &str); 3] = [
    (Kind::Real, "default delay", "repl-diskless-sync-delay 5\n"),
    (Kind::Real, "no delay", "repl-diskless-sync-delay 0\n"),
    (Kind::Ours, "", ""),
];

pub(crate) fn compare(rounds: usize, keys: usize) {
    let masters = CASES.map(|(kind, _, lines)| {
        let master = start_server(kind, lines);
        fill(master.port(), keys);
        master
    });
    let mut samples = CASES.map(|_| Samples::default());
    for _ in 0..rounds {
        for (master, samples) in masters.iter().zip(&mut samples) {
            samples.add(resync(master, keys));
        }
    }
    println!("\nfull resync of {keys} keys to an empty replica, median of {rounds} rounds; s");
    for ((kind, how, _), samples) in CASES.iter().zip(&samples) {
        println!("{:<10} {how:<14} {:>8.2}", name(*kind), samples.p50());
    }
}

/// Seconds from `REPLICAOF` to a link that is up.
fn resync(master: &ServerNode, keys: usize) -> f64 {
    let replica = start_server(master.kind, "");
    let mut client = replica.client();
    let port = master.port().to_string();
    let begin = instant();
    client.call(&["REPLICAOF", "127.0.0.1", &port]);
    wait_for("the link is up", secs(60), || {
        let status = info(&mut replica.client(), "replication", "master_link_status");
        match status.as_deref() {
            Some("up") => Ok(()),
            other => Err(format!("master_link_status is {other:?}")),
        }
    });
    let took = begin.elapsed().as_secs_f64();
    assert_eq!(text(&replica.client().call(&["DBSIZE"])), keys.to_string());
    took
}

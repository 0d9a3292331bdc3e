//! How long a failover keeps clients from writing: redis-sentinel and ours, in turn, over the same data servers.
//!
//! `cargo bench --bench failover [-- --rounds 20 --servers real|ours --sentinels real|ours|both --only kill,stop,ten]`
//!
//! Each round starts a fresh master, two replicas and three sentinels with down-after 1 s, waits until all know
//! all, then kills (or stops) the master at a moment that sweeps one second evenly, so that no program's timers
//! are favoured by their phase. A client asks the three sentinels in turn, a millisecond apart, and writes where
//! they send it. `fault → write` is the time to its first acknowledged write, less down-after; `+odown → write`
//! starts at the first `+odown` that any of the three published.
//!
//! `ten`: ten masters die together; the time to the write on the last of them, down-after included, against
//! that of a single one, median of five.

#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

mod common;
#[path = "../tests/integration/support/mod.rs"]
mod support;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use common::{Samples, instant, millis, option};
use support::{
    Client, Kind, NAME, SentinelNode, ServerNode, Topology, secs, start_sentinel, start_server,
    text, texts, wait_for,
};

const DOWN_AFTER: Duration = Duration::from_secs(1);
/// A round that takes longer is a failure of the program under test.
const ROUND_MAX: Duration = Duration::from_secs(60);
/// Masters that die together, and how often they do.
const TEN: usize = 10;
const TEN_ROUNDS: usize = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Kill,
    Stop,
}

impl Fault {
    fn name(self) -> &'static str {
        match self {
            Fault::Kill => "kill -9",
            Fault::Stop => "SIGSTOP",
        }
    }

    fn strike(self, server: &mut ServerNode) {
        match self {
            Fault::Kill => server.process.signal(nix::sys::signal::Signal::SIGKILL),
            Fault::Stop => server.process.stop(),
        }
    }
}

/// What one kind of sentinel needed, in milliseconds.
#[derive(Default)]
struct Outage {
    fault_to_write: Samples,
    odown_to_write: Samples,
}

fn main() {
    let rounds: usize = option("--rounds", 20);
    let servers = match option("--servers", "real".to_owned()).as_str() {
        "ours" => Kind::Ours,
        _ => Kind::Real,
    };
    let only = option("--only", "kill,stop,ten".to_owned());
    for fault in [Fault::Kill, Fault::Stop] {
        let word = if fault == Fault::Kill { "kill" } else { "stop" };
        if only.split(',').any(|part| part == word) {
            compare(fault, servers, rounds);
        }
    }
    if only.split(',').any(|part| part == "ten") {
        compare_ten(servers);
    }
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Real => "redis 7.0",
        Kind::Ours => "sentinel",
    }
}

fn is_wanted(wanted: &str, kind: Kind) -> bool {
    match kind {
        Kind::Real => wanted != "ours",
        Kind::Ours => wanted != "real",
    }
}

fn compare(fault: Fault, servers: Kind, rounds: usize) {
    let wanted = option("--sentinels", "both".to_owned());
    let mut outages = [Outage::default(), Outage::default()];
    for round in 0..rounds {
        let share = u32::try_from(round).expect("few rounds") * 1000
            / u32::try_from(rounds).expect("few rounds");
        let phase = Duration::from_millis(u64::from(share));
        for (kind, outage) in [Kind::Real, Kind::Ours].into_iter().zip(&mut outages) {
            if !is_wanted(&wanted, kind) {
                continue;
            }
            let (whole, after_odown) = one_round(fault, servers, kind, phase);
            outage
                .fault_to_write
                .add(millis(whole) - millis(DOWN_AFTER));
            outage.odown_to_write.add(millis(after_odown));
        }
    }
    let [real, ours] = outages;
    println!(
        "\n{} of the master; {} data servers, 3 sentinels, 2 replicas, down-after 1 s, {rounds} rounds; ms",
        fault.name(),
        kind_name(servers)
    );
    print_header();
    print_rows(
        "fault -> write, less down-after",
        &real.fault_to_write,
        &ours.fault_to_write,
    );
    print_rows(
        "+odown -> write",
        &real.odown_to_write,
        &ours.odown_to_write,
    );
}

fn print_header() {
    println!(
        "{:<34} {:>10} {:>10} {:>10} {:>10} {:>8} {:>8}",
        "", "redis p50", "redis max", "ours p50", "ours max", "p50 x", "max x"
    );
}

fn print_rows(what: &str, real: &Samples, ours: &Samples) {
    println!(
        "{what:<34} {:>10.1} {:>10.1} {:>10.1} {:>10.1} {:>8} {:>8}",
        real.p50(),
        real.max(),
        ours.p50(),
        ours.max(),
        ratio(real.p50(), ours.p50()),
        ratio(real.max(), ours.max()),
    );
}

/// How many times as long; `-` where ours is not above zero: down-after counts from the last valid reply,
/// which may be older than the fault.
fn ratio(real: f64, ours: f64) -> String {
    if ours > 0.0 {
        format!("{:.1}", real / ours)
    } else {
        "-".to_owned()
    }
}

/// Fault to first write, and first `+odown` to first write.
fn one_round(fault: Fault, servers: Kind, kind: Kind, phase: Duration) -> (Duration, Duration) {
    let mut set = Topology::of(servers)
        .sentinels(&[kind; 3])
        .down_after(DOWN_AFTER)
        .failover_timeout(secs(60))
        .start();
    let old = set.master_port();
    let odowns = watch_odown(&set.sentinels);
    let mut clients: Vec<Client> = set.sentinels.iter().map(SentinelNode::client).collect();
    std::thread::sleep(phase);
    let begin = instant();
    fault.strike(set.server_at(old));
    let written = first_write(&mut clients, NAME, old, begin);
    let odown = odowns.try_iter().min().expect("no failover without +odown");
    (written - begin, written.saturating_duration_since(odown))
}

/// The moments at which the sentinels publish `+odown`.
fn watch_odown(sentinels: &[SentinelNode]) -> Receiver<Instant> {
    let (sender, receiver) = sync_channel(64);
    for sentinel in sentinels {
        let mut client = Client::try_to_within(sentinel.port(), ROUND_MAX).expect("a sentinel");
        client.call(&["SUBSCRIBE", "+odown"]);
        let sender = sender.clone();
        // Ends with its sentinel, whose end closes the connection.
        std::thread::spawn(move || {
            while client.receive().is_ok() {
                if sender.send(instant()).is_err() {
                    return;
                }
            }
        });
    }
    receiver
}

/// Asks the sentinels in turn until one names another port than `old` for `name`, and that one takes a write.
fn first_write(clients: &mut [Client], name: &str, old: u16, begin: Instant) -> Instant {
    for turn in 0.. {
        let client = &mut clients[turn % 3];
        let reply = client.call(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", name]);
        let port = texts(&reply).get(1).and_then(|port| port.parse().ok());
        if let Some(port) = port.filter(|port| *port != old)
            && is_written(port)
        {
            return instant();
        }
        assert!(
            begin.elapsed() < ROUND_MAX,
            "{name}: no write within {ROUND_MAX:?}"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
    unreachable!("the turns do not end")
}

fn is_written(port: u16) -> bool {
    let Ok(mut client) = Client::try_to_within(port, secs(1)) else {
        return false;
    };
    client
        .try_call(&["SET", "bench", "1"])
        .is_ok_and(|reply| text(&reply) == "OK")
}

// ---------------------------------------------------------------- ten masters

fn compare_ten(servers: Kind) {
    println!(
        "\n{TEN} masters killed together against one; {} data servers, 3 sentinels, 1 replica each, down-after 1 s; \
         fault to write on the last, down-after included, median of {TEN_ROUNDS}; ms",
        kind_name(servers)
    );
    println!(
        "{:<12} {:>10} {:>10} {:>8}",
        "", "one", "last of ten", "ratio"
    );
    let wanted = option("--sentinels", "both".to_owned());
    for kind in [Kind::Real, Kind::Ours] {
        if !is_wanted(&wanted, kind) {
            continue;
        }
        let (mut one, mut ten) = (Samples::default(), Samples::default());
        for _ in 0..TEN_ROUNDS {
            one.add(millis(kill_together(servers, kind, 1)));
            ten.add(millis(kill_together(servers, kind, TEN)));
        }
        println!(
            "{:<12} {:>10.0} {:>10.0} {:>8.2}",
            kind_name(kind),
            one.p50(),
            ten.p50(),
            ten.p50() / one.p50()
        );
    }
}

/// Kills `count` of ten masters at once; the time to the write on the last one.
fn kill_together(servers: Kind, kind: Kind, count: usize) -> Duration {
    let mut masters: Vec<ServerNode> = (0..TEN).map(|_| start_server(servers, "")).collect();
    let ports: Arc<[u16]> = masters.iter().map(ServerNode::port).collect();
    let replicas: Vec<ServerNode> = ports
        .iter()
        .map(|port| start_server(servers, &format!("replicaof 127.0.0.1 {port}\n")))
        .collect();
    wait_for("every replica follows", secs(30), || {
        replicas
            .iter()
            .zip(&*ports)
            .try_for_each(|(replica, port)| replica.follows(*port))
    });
    let monitor: String = (ports.iter().enumerate())
        .map(|(i, port)| {
            format!(
                "sentinel monitor m{i} 127.0.0.1 {port} 2\n\
                 sentinel down-after-milliseconds m{i} {}\nsentinel failover-timeout m{i} 60000\n",
                DOWN_AFTER.as_millis()
            )
        })
        .collect();
    let sentinels: Vec<SentinelNode> = (0..3).map(|_| start_sentinel(kind, &monitor, "")).collect();
    for sentinel in &sentinels {
        for i in 0..TEN {
            let name = format!("m{i}");
            wait_for("a sentinel knows every group", secs(30), || {
                sentinel.sees(&name, 1, 2)
            });
        }
    }
    let begin = instant();
    for master in &mut masters[..count] {
        Fault::Kill.strike(master);
    }
    let writers: Vec<_> = (0..count)
        .map(|i| {
            let mut clients: Vec<Client> = sentinels.iter().map(SentinelNode::client).collect();
            let ports = Arc::clone(&ports);
            std::thread::spawn(move || first_write(&mut clients, &format!("m{i}"), ports[i], begin))
        })
        .collect();
    let last = writers
        .into_iter()
        .map(|writer| writer.join().expect("a writer"))
        .max();
    last.expect("at least one") - begin
}

//! Links that are cut at any byte and any moment while a writer runs, with backlogs that reach and backlogs
//! that do not: whatever happened, master and replica end with the same data at the same offset. So does a
//! replica of the replica, and a redis-server at any end.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rand::RngExt;

use crate::cable::{Cable, Cut, Towards};
use crate::data::{Commands, Dice, full_resyncs, partial_resyncs, send, wait_until_equal};
use crate::support::{Kind, ServerNode, expect_that, secs, start_server, wait_for};

/// What a short run has, and the unit of the shares below.
const CUTS: usize = 200;
/// After so many, chance alone does not explain that all were mended in one way.
const ENOUGH: usize = 30;
/// Cuts between two comparisons.
const SERIES: usize = 5;

/// Who follows whom, the top first, and how many of every [`CUTS`] cuts they get. Those that redis-server has
/// to mend take longer: it waits a second after an attempt that failed.
const CHAINS: [(&[Kind], usize); 6] = [
    (&[Kind::Ours, Kind::Ours], 70),
    (&[Kind::Real, Kind::Ours], 50),
    (&[Kind::Ours, Kind::Real], 30),
    (&[Kind::Ours, Kind::Ours, Kind::Ours], 30),
    (&[Kind::Real, Kind::Ours, Kind::Ours], 10),
    (&[Kind::Ours, Kind::Ours, Kind::Real], 10),
];

fn cuts() -> usize {
    std::env::var("LINK_CUTS").map_or(CUTS, |count| count.parse().expect("LINK_CUTS is a number"))
}

fn seed() -> u64 {
    let seed = std::env::var("LINK_CUTS_SEED");
    seed.map_or_else(
        |_| rand::random(),
        |seed| seed.parse().expect("LINK_CUTS_SEED is a number"),
    )
}

#[test]
fn both_sides_end_equal() {
    let (cuts, seed) = (cuts(), seed());
    eprintln!("LINK_CUTS={cuts} LINK_CUTS_SEED={seed}");
    std::thread::scope(|scope| {
        for (number, (kinds, share)) in (0..).zip(CHAINS) {
            let share = (cuts * share).div_ceil(CUTS);
            scope.spawn(move || Chain::start(kinds, seed.wrapping_add(number)).run(share));
        }
    });
}

/// Servers that follow each other over lines that are cut.
struct Chain {
    servers: Vec<ServerNode>,
    /// The line from each but the first to the one before it.
    cables: Vec<Cable>,
    dice: Dice,
    commands: Commands,
}

impl Chain {
    fn start(kinds: &[Kind], seed: u64) -> Chain {
        eprintln!("{kinds:?}");
        let mut servers: Vec<ServerNode> = Vec::new();
        let mut cables = Vec::new();
        for kind in kinds {
            let mut lines = "repl-backlog-size 1mb\n".to_owned();
            if let Some(master) = servers.last() {
                let cable = Cable::to(master.port());
                lines += &format!("replicaof 127.0.0.1 {}\n", cable.port());
                cables.push(cable);
            }
            servers.push(start_server(*kind, &lines));
        }
        Chain {
            servers,
            cables,
            dice: Dice::of(seed),
            commands: Commands::of(seed).with_chance().with_expiry(),
        }
    }

    fn run(mut self, share: usize) {
        let mut cuts = share;
        self.compare();
        while cuts > 0 {
            let now = cuts.min(SERIES);
            self.configure();
            self.cut_under_load(now);
            self.compare();
            cuts -= now;
        }
        let served = |count: fn(&ServerNode) -> u64| self.servers.iter().map(count).sum::<u64>();
        let (full, partial) = (served(full_resyncs), served(partial_resyncs));
        let kinds: Vec<Kind> = self.servers.iter().map(|server| server.kind).collect();
        eprintln!("{kinds:?}: {full} full resyncs, {partial} partial ones");
        if share >= ENOUGH {
            assert!(partial > 0, "{kinds:?} never went on from a backlog");
            let first = self.cables.len() as u64;
            assert!(full > first, "{kinds:?} never took all data again");
        }
    }

    /// Other settings for the next series.
    fn configure(&mut self) {
        let backlog = self.dice.pick(&["16384", "100000", "100000", "10000000"]);
        let diskless = self.dice.pick(&["yes", "yes", "no"]);
        for server in &self.servers {
            let mut client = server.client();
            client.call(&["CONFIG", "SET", "repl-backlog-size", backlog]);
            client.call(&["CONFIG", "SET", "repl-diskless-sync", diskless]);
        }
    }

    fn cut_under_load(&mut self, cuts: usize) {
        let (written, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
        let mut client = self.servers[0].client();
        let (dice, commands) = (&mut self.dice, &mut self.commands);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    send(&mut client, &commands.next());
                    written.fetch_add(1, Ordering::Relaxed);
                }
                if let Some(end) = commands.end() {
                    send(&mut client, &end);
                }
            });
            // The writer must end, however this ends.
            let _end = Raise(&is_over);
            for _ in 0..cuts {
                let cable = &self.cables[dice.random_range(0..self.cables.len())];
                cable.cut(random_cut(dice));
                let until = written.load(Ordering::Relaxed) + dice.random_range(0..30);
                wait_for("the writer goes on", secs(10), || {
                    let is = written.load(Ordering::Relaxed);
                    expect_that(is >= until, || format!("{is} of {until} commands"))
                });
                cable.mend();
            }
        });
    }

    fn compare(&self) {
        for pair in self.servers.windows(2) {
            wait_until_equal(&pair[0], &pair[1]);
        }
    }
}

/// Sets a flag when it is dropped.
struct Raise<'a>(&'a AtomicBool);

impl Drop for Raise<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// As often after a few bytes, in the handshake, as far into the data or the stream.
fn random_cut(dice: &mut Dice) -> Cut {
    let moment = Duration::from_millis(dice.random_range(0..60));
    let power = dice.random_range(0..19);
    match dice.random_range(0..4) {
        0 => Cut {
            towards: Towards::Caller,
            bytes: u64::MAX,
            within: moment,
        },
        1 => Cut {
            towards: Towards::Target,
            bytes: dice.random_range(0..400),
            within: 2 * moment,
        },
        _ => Cut {
            towards: Towards::Caller,
            bytes: dice.random_range(0..1 << power) + 1,
            within: 4 * moment,
        },
    }
}

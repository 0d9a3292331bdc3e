//! Links that are cut at any byte and any moment while a writer runs, with backlogs that reach and backlogs
//! that do not: whatever happened, master and replica end with the same data at the same offset. So does a
//! replica of the replica, and a redis-server at any end.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::cable::{Cable, Cut, Towards};
use crate::data::{Commands, full_resyncs, partial_resyncs, wait_until_equal};
use crate::support::{Client, Kind, ServerNode, expect_that, secs, start_server, texts, wait_for};

/// What a short run has, and the unit of the shares below.
const CUTS: usize = 200;
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

/// Each: words with `K` and `L` for two keys of the type, `M` for an element, `N` for a number.
const TYPED: [(&str, &[&str]); 5] = [
    (
        "list",
        &[
            "RPUSH K M M",
            "LPUSH K M",
            "RPUSH K N M",
            "LPOP K",
            "RPOP K 2",
            "LTRIM K -30 -1",
            "LREM K 1 M",
            "LSET K 0 M",
            "LINSERT K BEFORE M N",
            "LMOVE K L LEFT RIGHT",
            "RPOPLPUSH K L",
        ],
    ),
    (
        "set",
        &[
            "SADD K M M",
            "SADD K N",
            "SREM K M",
            "SPOP K",
            "SPOP K 3",
            "SMOVE K L M",
            "SUNIONSTORE K K L",
            "SDIFFSTORE K L K",
        ],
    ),
    (
        "hash",
        &[
            "HSET K M M",
            "HSET K M N N M",
            "HDEL K M",
            "HINCRBY K n N",
            "HINCRBYFLOAT K f 1.25",
            "HSETNX K M N",
        ],
    ),
    (
        "zset",
        &[
            "ZADD K N M",
            "ZADD K GT N M N M",
            "ZINCRBY K N M",
            "ZREM K M",
            "ZPOPMIN K",
            "ZPOPMAX K 2",
            "ZUNIONSTORE K 2 K L",
            "ZREMRANGEBYRANK K 60 -1",
            "ZRANGESTORE L K 0 10",
        ],
    ),
    (
        "key",
        &[
            "SET K M PX 15",
            "EXPIRE K 1",
            "PEXPIRE K 10",
            "INCRBYFLOAT K 0.5",
            "MULTI",
            "EXEC",
            "SETBIT K N 1",
            "BITFIELD K INCRBY u8 N 3",
            "COPY K L REPLACE",
            "PFADD K M",
            "MOVE K 1",
            "SWAPDB 0 1",
            "GETDEL K",
            "SELECT 1",
            "SELECT 0",
        ],
    ),
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
    dice: ChaCha8Rng,
    commands: Commands,
    typed: Vec<(&'static str, &'static str)>,
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
            typed: known_to(&servers),
            servers,
            cables,
            dice: ChaCha8Rng::seed_from_u64(seed),
            commands: Commands::of(seed),
        }
    }

    fn run(mut self, mut cuts: usize) {
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
        assert!(partial > 0, "{kinds:?} never went on from a backlog");
    }

    /// Other settings for the next series.
    fn configure(&mut self) {
        let backlog = ["16384", "16384", "100000", "10000000"][self.dice.random_range(0..4)];
        let diskless = ["yes", "yes", "no"][self.dice.random_range(0..3)];
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
        let mut writer = Writer {
            dice: ChaCha8Rng::seed_from_u64(dice.random()),
            commands,
            typed: &self.typed,
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let words = writer.next();
                    client.call(&words.iter().map(String::as_str).collect::<Vec<_>>());
                    written.fetch_add(1, Ordering::Relaxed);
                }
                // One that was left open.
                client.call(&["DISCARD"]);
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
fn random_cut(dice: &mut ChaCha8Rng) -> Cut {
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

/// The typed commands that all these servers have.
fn known_to(servers: &[ServerNode]) -> Vec<(&'static str, &'static str)> {
    let mut clients: Vec<Client> = servers.iter().map(ServerNode::client).collect();
    let mut is_known = |line: &str| {
        let name = line.split(' ').next().unwrap_or_default();
        let mut all = clients.iter_mut();
        all.all(|client| texts(&client.call(&["COMMAND", "INFO", name])) != ["(nil)"])
    };
    let lines = TYPED
        .iter()
        .flat_map(|(family, lines)| lines.iter().map(|line| (*family, *line)));
    lines.filter(|(_, line)| is_known(line)).collect()
}

/// What is written meanwhile.
struct Writer<'a> {
    dice: ChaCha8Rng,
    commands: &'a mut Commands,
    typed: &'a [(&'static str, &'static str)],
}

impl Writer<'_> {
    fn next(&mut self) -> Vec<String> {
        if self.dice.random() || self.typed.is_empty() {
            return self.commands.next();
        }
        let (family, line) = self.typed[self.dice.random_range(0..self.typed.len())];
        let word = |word: &str, dice: &mut ChaCha8Rng| match word {
            "K" | "L" => format!("{family}:{}", dice.random_range(0..6)),
            "M" => format!(
                "m{}{}",
                dice.random_range(0..90),
                "-".repeat(dice.random_range(0..80))
            ),
            "N" => dice.random_range(0..200).to_string(),
            other => other.to_owned(),
        };
        line.split(' ')
            .map(|part| word(part, &mut self.dice))
            .collect()
    }
}

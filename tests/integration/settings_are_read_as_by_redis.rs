//! Values of every setting, from `CONFIG SET` and from the command line: redis-server and ours take the same and refuse
//! the rest with the same words.

use std::collections::BTreeMap;

use rand::RngExt;
use tempfile::TempDir;

use crate::both::Both;
use crate::data::{Dice, seeds};
use crate::support::{Client, Kind, Port, Process, expect_that, secs, text, texts, wait_for};

/// Left out: what moves the server or its files, or ends the test's own connection.
const LEFT_OUT: [&str; 22] = [
    "aclfile",
    "appendonly",
    "bind",
    "cluster-enabled",
    "daemonize",
    "databases",
    "dir",
    // As with 7.2 it may be `nothing`.
    "loglevel",
    "logfile",
    // A huge one keeps redis-server busy for minutes.
    "maxclients",
    "maxmemory",
    // Only a process with the right to do so may change these.
    "oom-score-adj",
    "oom-score-adj-values",
    "pidfile",
    "port",
    "replicaof",
    "requirepass",
    "slaveof",
    "supervised",
    "syslog-enabled",
    "timeout",
    "unixsocket",
];

/// Shown to who asks for them by name alone, or not at all.
const HIDDEN: [&str; 5] = [
    "key-load-delay",
    "loading-process-events-interval-bytes",
    "rdb-key-save-delay",
    "rename-command",
    "nosuch",
];

/// Those of several words.
const OF_WORDS: [&str; 5] = [
    "client-output-buffer-limit",
    "latency-tracking-info-percentiles",
    "save",
    "shutdown-on-sigint",
    "shutdown-on-sigterm",
];

const WORDS: &[&str] = &[
    "",
    " ",
    "0",
    "1",
    "-1",
    "2",
    "5",
    "+1",
    "01",
    " 1",
    "1 ",
    "\t1",
    "0x",
    "1.5",
    "yes",
    "no",
    "YES",
    "maybe",
    "local",
    "x",
    "1k",
    "1kb",
    "1Mb",
    "1gb",
    "1b",
    "kb",
    "%",
    "5%",
    "100%",
    "101%",
    "-5%",
    "1tb",
    "1 2",
    "900 1 300 10",
    "900 1 300",
    "0 1",
    "1 -1",
    "900  1",
    "replica 1mb 1mb 60",
    "slave 1 2 3 pubsub 1k 1 1",
    "pubsub 0 0",
    "master 0 0 0",
    "PUBSUB x 0 0",
    "default",
    "nosave now",
    "Save Force",
    "save nosave",
    "allkeys-lru",
    "noeviction",
    "ignore",
    "hostname",
    "always",
    "EverySec",
    "disabled",
    "swapdb",
    "clients",
    "KEA",
    "g$lshzxetdmn",
    "Q",
    "resetchannels",
    "optional",
    "a/b",
    "a.b",
    "50 99 99.9",
    "{title} {port}",
    "{{ {title",
    "{pid}",
    "TLSv1.2",
    "700",
    "778",
    "local7",
    "99999999999999999999",
];

/// Words of values that have several.
const PARTS: &[&str] = &[
    "", "0", "1", "+1", "-1", "-2", "60", "900", "1mb", "1kb", "50", "99.9", "5e1", "nan",
    "replica", "pubsub", "save", "nosave", "now", "force", "\t1", "x", "00",
];

fn word(dice: &mut Dice) -> String {
    /// Where types and limits end.
    const ENDS: [i128; 8] = [
        1 << 10,
        10_000,
        65_535,
        1 << 20,
        1 << 31,
        1 << 32,
        1 << 63,
        1 << 64,
    ];
    match dice.random_range(0..10) {
        0..3 => dice.random_range(-10..200).to_string(),
        3..5 => (dice.pick(&ENDS) + dice.random_range(-2..3)).to_string(),
        5 => (-dice.pick(&ENDS) + dice.random_range(-2..3)).to_string(),
        6 => {
            let unit = dice.pick(&["k", "kb", "m", "MB", "g", "gb", "%", "b", " ", "x"]);
            format!("{}{unit}", dice.random_range(0..2000))
        }
        _ => dice.pick(WORDS).to_owned(),
    }
}

pub(crate) fn value(dice: &mut Dice, name: &str) -> String {
    if OF_WORDS.contains(&name) && dice.random_range(0..5) > 0 {
        let count = dice.random_range(1..9);
        let words: Vec<&str> = (0..count).map(|_| dice.pick(PARTS)).collect();
        return words.join(" ");
    }
    word(dice)
}

/// What redis-server counts otherwise: what is more than its types hold becomes something else there.
pub(crate) fn is_cut(name: &str, value: &str) -> bool {
    let number = |word: &str| word.trim().parse::<f64>().unwrap_or(0.0);
    let most = value.split(' ').map(number).fold(0.0, f64::max);
    match name {
        "save" => most >= f64::from(i32::MAX),
        "maxmemory-clients" | "cluster-link-sendbuf-limit" => most >= 9e18,
        _ => false,
    }
}

pub(crate) fn names(client: &mut Client) -> Vec<String> {
    let shown = texts(&client.call(&["CONFIG", "GET", "*"]));
    let names = shown.chunks_exact(2).map(|pair| pair[0].clone());
    let names =
        names.filter(|name| !LEFT_OUT.contains(&name.as_str()) && !name.starts_with("tls-"));
    let mut names: Vec<String> = names.chain(HIDDEN.map(str::to_owned)).collect();
    names.sort();
    names
}

#[test]
fn values_are_set_alike() {
    for seed in seeds([1]) {
        let mut dice = Dice::of(seed);
        let mut both = Both::start();
        let mut all = names(&mut both.clients[0]);
        all.extend(
            OF_WORDS
                .iter()
                .cycle()
                .take(60)
                .map(|&name| name.to_owned()),
        );
        for _ in 0..2500 {
            let mut words = vec!["CONFIG".to_owned(), "SET".to_owned()];
            let mut set = Vec::new();
            for _ in 0..dice.pick(&[1, 1, 1, 1, 2, 3]) {
                let at = dice.random_range(0..all.len());
                let mut name = all[at].clone();
                let value = value(&mut dice, &name);
                if is_cut(&name, &value) {
                    continue;
                }
                set.push(name.clone());
                if dice.random_range(0..10) == 0 {
                    name.make_ascii_uppercase();
                }
                words.extend([name, value]);
            }
            if dice.random_range(0..50) == 0 {
                words.pop();
            }
            both.check(&words);
            for name in set {
                both.check(&["CONFIG".to_owned(), "GET".to_owned(), name]);
            }
        }
    }
}

#[test]
fn names_are_looked_at_before_values() {
    let mut both = Both::start();
    both.check_lines(
        "CONFIG SET hz x daemonize yes
         CONFIG SET daemonize yes nosuch 1
         CONFIG SET nosuch 1 daemonize yes
         CONFIG SET hz x hz 1
         CONFIG SET dir x hz y
         CONFIG SET hz y dir /
         CONFIG SET Daemonize yes daemonize yes
         CONFIG SET hz 1 HZ 2 nosuch 3
         CONFIG SET slave-priority x replica-priority y
         CONFIG SET proc-title-template \"\"
         CONFIG SET proc-title-template {{a{title}}
         CONFIG GET proc-title-template
         CONFIG SET proc-title-template {Title}
         CONFIG SET latency-tracking-info-percentiles nan",
    );
    let many = ["127.0.0.1"; 17].join(" ");
    for (name, value) in [("bind", many.as_str()), ("save", "1 1 "), ("save", "1 1\t")] {
        both.check(&["CONFIG", "SET", name, value].map(str::to_owned));
    }
}

/// A server that was started with a value on its command line: what it shows of it, or why it has not started.
struct Started {
    process: Process,
    port: Port,
    _folder: TempDir,
}

fn start(kind: Kind, name: &str, values: &[String]) -> Started {
    let folder = TempDir::new().unwrap();
    let (config, port) = (folder.path().join("server.conf"), Port::reserve());
    let lines = format!(
        "port {}\nbind 127.0.0.1\ndir {}\nsave \"\"\n",
        port.number(),
        folder.path().display()
    );
    std::fs::write(&config, lines).unwrap();
    let mut command = kind.server(&config);
    command.arg(format!("--{name}")).args(values);
    let process = Process::start("server", folder.path(), command);
    Started {
        process,
        port,
        _folder: folder,
    }
}

impl Started {
    fn outcome(mut self, name: &str) -> Result<String, String> {
        wait_for("it answers or ends", secs(20), || {
            if !self.process.is_running() {
                return Ok(Err(self.process.log()));
            }
            let mut client = Client::try_to(self.port.number()).map_err(|e| e.to_string())?;
            let shown = client.try_call(&["CONFIG", "GET", name]);
            let shown = text(&shown.map_err(|error| error.to_string())?);
            expect_that(!shown.starts_with("LOADING"), || shown.clone())?;
            Ok(Ok(shown))
        })
    }
}

#[test]
fn values_on_the_command_line_are_read_alike() {
    for seed in seeds([]) {
        let mut dice = Dice::of(seed);
        let all = names(&mut Both::start().clients[0]);
        let mut outcomes: BTreeMap<bool, usize> = BTreeMap::new();
        for _ in 0..24 {
            let at = dice.random_range(0..all.len());
            let name = &all[at];
            let value = value(&mut dice, name);
            if is_cut(name, &value) {
                continue;
            }
            let values = match dice.random_range(0..4) {
                0 => value.split(' ').map(str::to_owned).collect(),
                _ => vec![value],
            };
            let started = [Kind::Real, Kind::Ours].map(|kind| start(kind, name, &values));
            let [real, ours] = started.map(|server| server.outcome(name));
            *outcomes.entry(real.is_ok()).or_default() += 1;
            match (&real, &ours) {
                (Ok(real), Ok(ours)) => assert_eq!(real, ours, "{name} {values:?}"),
                (Err(real), Err(ours)) => {
                    let reason = real.trim_end().lines().last().unwrap_or_default();
                    assert!(ours.contains(reason), "{name} {values:?}: {real}\n{ours}");
                }
                _ => panic!("{name} {values:?}: {real:?} and ours {ours:?}"),
            }
        }
        eprintln!("started: {outcomes:?}");
    }
}

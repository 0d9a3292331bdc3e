//! `redis-cli` of 7.0 does against our data server what it does against redis-server.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Output, Stdio};

use crate::data::{Commands, digest, send, write};
use crate::support::{
    Kind, ServerNode, expect_that, redis_check_rdb, redis_cli, secs, start_server, text, wait_for,
};

/// What makes values of each type but strings.
const COLLECTIONS: [(&str, &str); 4] = [
    ("RPUSH", "list"),
    ("SADD", "set"),
    ("HSET", "hash"),
    ("ZADD", "zset"),
];

/// A server with values of every type, small ones and large ones, in both worlds the same.
fn start(kind: Kind) -> ServerNode {
    let server = start_server(kind, "");
    let mut client = server.client();
    write(&mut client, &mut Commands::of(500), 600);
    client.call(&["SELECT", "0"]);
    for (key, len) in [("small", 3), ("big", 5_000), ("biggest", 70_000)] {
        client.call(&["SET", key, &"x".repeat(len)]);
    }
    for (add, family) in COLLECTIONS {
        for (size, len) in [("small", 3), ("biggest", 5_000)] {
            let key = format!("{size} {family}");
            let mut words = vec![add.to_owned(), key];
            for n in 0..len {
                let member = format!("m{n}");
                if family == "hash" {
                    words.push(member.clone());
                }
                if family == "zset" {
                    words.push(n.to_string());
                }
                words.push(member);
            }
            send(&mut client, &words);
        }
    }
    server
}

fn cli(server: &ServerNode, words: &[&str]) -> Command {
    let mut command = redis_cli();
    command
        .args(["-p", &server.port().to_string()])
        .args(words)
        .stdin(Stdio::null());
    command
}

fn run(server: &ServerNode, words: &[&str]) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = cli(server, words).output().expect("redis-cli starts");
    let said = String::from_utf8_lossy(&stdout).into_owned();
    assert!(
        status.success(),
        "{words:?}: {said}{}",
        String::from_utf8_lossy(&stderr)
    );
    said
}

/// The lines in order of the alphabet: the order of keys is each server's own.
fn sorted(said: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = said.lines().collect();
    lines.sort_unstable();
    lines
}

/// Whatever follows the heading of the summary, which does not depend on the order of keys.
fn summary(said: &str) -> String {
    let (_, summary) = said
        .split_once("-------- summary -------")
        .unwrap_or_else(|| panic!("{said}"));
    summary.to_owned()
}

#[test]
fn scans_find_the_same() {
    let (real, ours) = (start(Kind::Real), start(Kind::Ours));
    for words in [
        &["--scan"][..],
        &["--scan", "--pattern", "key:1*"],
        &["--scan", "--pattern", "*b*", "--quoted-input"],
    ] {
        let (theirs, said) = (run(&real, words), run(&ours, words));
        assert_eq!(sorted(&said), sorted(&theirs), "{words:?}");
    }
    // The summary counts and names the biggest.
    let words = ["--bigkeys"];
    assert_eq!(summary(&run(&ours, &words)), summary(&run(&real, &words)));
    let found = summary(&run(&ours, &["--memkeys"]));
    assert!(
        found.contains("Biggest string found '\"biggest\"' has"),
        "{found}"
    );
    for (_, family) in COLLECTIONS {
        let wanted = format!("Biggest {family:>6} found '\"biggest {family}\"' has");
        assert!(found.contains(&wanted), "{wanted}: {found}");
    }
}

#[test]
fn answers_are_shown_alike_in_both_protocols() {
    let (real, ours) = (start(Kind::Real), start(Kind::Ours));
    let lines = [
        "GET small",
        "MGET small none",
        "INCR big",
        "NOSUCH a",
        "CONFIG GET maxmemory",
        "COMMAND GETKEYS MSET a 1 b 2",
        "ACL WHOAMI",
        "SET counted 1",
        "INCRBYFLOAT counted 0.25",
    ];
    for protocol in ["-2", "-3"] {
        for line in lines {
            let mut words = vec![protocol, "--no-raw"];
            words.extend(line.split(' '));
            let (theirs, said) = (run(&real, &words), run(&ours, &words));
            assert_eq!(said, theirs, "{words:?}");
        }
    }
}

#[test]
fn latency_and_stat() {
    let ours = start(Kind::Ours);
    let said = run(&ours, &["--latency", "-i", "0.2", "--raw"]);
    let numbers: Vec<f64> = said
        .split_whitespace()
        .map(|number| number.parse().unwrap_or_else(|_| panic!("{said}")))
        .collect();
    assert_eq!(numbers.len(), 4, "least, most, average, samples: {said}");
    assert!(numbers[3] > 0.0, "{said}");

    let mut stat = Lines::of(cli(&ours, &["--stat", "-i", "0.05"]));
    let keys = keys_in_all(&ours).to_string();
    stat.until(|line| line.contains("------- data ------"));
    stat.until(|line| line.starts_with("keys "));
    for _ in 0..2 {
        let line = stat.until(|_| true);
        let mut words = line.split_whitespace();
        assert_eq!(words.next(), Some(keys.as_str()), "{line}");
        let memory = words.next().unwrap_or_default();
        assert!(memory.ends_with(['K', 'M', 'B']), "{line}");
    }
}

/// Keys in all databases.
fn keys_in_all(server: &ServerNode) -> usize {
    let mut client = server.client();
    let mut size = |db: usize| -> usize {
        client.call(&["SELECT", &db.to_string()]);
        text(&client.call(&["DBSIZE"])).parse().expect("a number")
    };
    (0..16).map(&mut size).sum()
}

#[test]
fn monitor_shows_every_command() {
    let ours = start(Kind::Ours);
    let mut monitor = Lines::of(cli(&ours, &["MONITOR"]));
    monitor.until(|line| line == "OK");
    ours.client().call(&["SET", "a \"word\"", "\u{1}"]);
    let line = monitor.until(|line| line.contains("SET"));
    assert!(line.ends_with(r#""SET" "a \"word\"" "\x01""#), "{line}");
}

#[test]
fn a_file_that_it_fetches_is_complete() {
    let ours = start(Kind::Ours);
    let path = ours.dir().join("fetched.rdb");
    run(&ours, &["--rdb", path.to_str().expect("a path of ASCII")]);
    let check = redis_check_rdb().arg(&path).output().unwrap();
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(
        check.status.success() && said.contains("RDB looks OK!"),
        "{said}"
    );
    let mut real = start_server(Kind::Real, "");
    real.kill();
    std::fs::copy(&path, real.dir().join("dump.rdb")).unwrap();
    real.start_again();
    assert_eq!(digest(&real), digest(&ours));
}

#[test]
fn a_file_of_functions_has_no_keys() {
    let ours = start(Kind::Ours);
    let path = ours.dir().join("functions.rdb");
    let name = path.to_str().expect("a path of ASCII");
    run(&ours, &["--functions-rdb", name]);
    let check = redis_check_rdb().arg(&path).output().unwrap();
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    let is_empty = said.contains("RDB looks OK!") && said.contains(" 0 keys read");
    assert!(check.status.success() && is_empty, "{said}");
}

#[test]
fn a_replica_without_data_is_shown_the_stream() {
    let ours = start(Kind::Ours);
    let mut replica = Lines::of(cli(&ours, &["--replica"]));
    wait_for("a replica is there", secs(10), || {
        let count = ours.info("connected_slaves");
        expect_that(count.as_deref() == Some("1"), || format!("{count:?}"))
    });
    let mut client = ours.client();
    // It takes the first of the stream for the answer to its own acknowledgement.
    for n in 0..3 {
        client.call(&["SET", "k", &n.to_string()]);
    }
    replica.until(|line| line == r#""SET","k","2""#);
}

#[test]
fn a_pipe_of_many_commands() {
    const COUNT: usize = 20_000;
    for kind in [Kind::Real, Kind::Ours] {
        let server = start_server(kind, "");
        let mut child = cli(&server, &["--pipe"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let writer = std::thread::spawn(move || {
            for n in 0..COUNT {
                let line = if n % 2 == 0 {
                    format!("SET k{n} v\r\n")
                } else {
                    format!(
                        "*3\r\n$3\r\nSET\r\n${}\r\nk{n}\r\n$1\r\nv\r\n",
                        n.to_string().len() + 1
                    )
                };
                input.write_all(line.as_bytes()).unwrap();
            }
            input.write_all(b"INCR k0\r\n").unwrap();
        });
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let wanted = format!("errors: 1, replies: {}", COUNT + 1);
        assert!(said.contains(&wanted), "{kind:?}: {said}");
        assert_eq!(
            text(&server.client().call(&["DBSIZE"])),
            COUNT.to_string(),
            "{kind:?}"
        );
    }
}

/// A program that says line after line until it is dropped.
struct Lines {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Lines {
    fn of(mut command: Command) -> Lines {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Lines { child, lines }
    }

    /// The next line that `is` true of.
    fn until(&mut self, is: impl Fn(&str) -> bool) -> String {
        loop {
            let line = self.lines.next().expect("it says more").unwrap();
            if is(&line) {
                return line;
            }
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

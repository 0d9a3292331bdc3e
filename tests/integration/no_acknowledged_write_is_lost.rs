//! SIGKILL under load: with an append-only file, whatever was acknowledged is there after the next start, and a
//! transaction is there as a whole or not at all, whatever the types of its keys. With save points, whatever was
//! acknowledged before the last complete save.

use std::time::Duration;

use rand::RngExt;

use crate::aof::{check, start};
use crate::data::{Dice, replica_of, seeds, wait_until_equal};
use crate::support::{Client, Kind, ServerNode, expect_that, secs, start_server, text, wait_for};

/// Clients that write at the same time.
const WRITERS: usize = 6;

/// `AOF_KILLS`, or a handful.
fn kills() -> usize {
    std::env::var("AOF_KILLS").map_or(4, |count| count.parse().expect("AOF_KILLS is a number"))
}

/// Commands that add a number to a key of their type, and those that count what is there.
const COLLECTIONS: &[(&str, &str)] = &[
    ("RPUSH", "LLEN"),
    ("SADD", "SCARD"),
    ("HSET", "HLEN"),
    ("ZADD", "ZCARD"),
];

/// What a writer does.
#[derive(Clone)]
struct Writer {
    at: usize,
}

impl Writer {
    fn key(&self, of: &str) -> String {
        format!("writer{}:{of}", self.at)
    }

    /// Counts up a key of its own, and one of each type in a transaction, until the server is gone; the last
    /// number that was acknowledged, which is `last` at the beginning.
    fn count_up(&self, mut client: Client, mut last: u64) -> u64 {
        loop {
            let Ok(reply) = client.try_call(&["INCR", &self.key("n")]) else {
                return last;
            };
            last = text(&reply)
                .parse()
                .unwrap_or_else(|_| panic!("{}", text(&reply)));
            let n = last.to_string();
            let mut lines = vec![vec!["MULTI"]];
            let (left, right) = (self.key("left"), self.key("right"));
            lines.push(vec!["INCR", &left]);
            let keys: Vec<String> = COLLECTIONS.iter().map(|(add, _)| self.key(add)).collect();
            for ((add, _), key) in COLLECTIONS.iter().zip(&keys) {
                let mut line = vec![*add, key, &n];
                if matches!(*add, "HSET" | "ZADD") {
                    line.push(&n);
                }
                lines.push(line);
            }
            lines.extend([vec!["INCR", &right], vec!["EXEC"]]);
            for words in lines {
                if client.try_call(&words).is_err() {
                    return last;
                }
            }
        }
    }

    /// How far it got, after the keys of its transactions were found to agree.
    fn found(&self, client: &mut Client) -> u64 {
        let left = number(client, &["GET", &self.key("left")]);
        assert_eq!(number(client, &["GET", &self.key("right")]), left);
        for (add, count) in COLLECTIONS {
            assert_eq!(number(client, &[count, &self.key(add)]), left, "{add}");
        }
        number(client, &["GET", &self.key("n")])
    }
}

fn number(client: &mut Client, words: &[&str]) -> u64 {
    let reply = text(&client.call(words));
    if reply == "(nil)" {
        return 0;
    }
    reply
        .parse()
        .unwrap_or_else(|_| panic!("{words:?}: {reply}"))
}

fn start_writers(server: &ServerNode) -> Vec<std::thread::JoinHandle<u64>> {
    let start = |at| {
        let (mut client, writer) = (server.client(), Writer { at });
        let last = number(&mut client, &["GET", &writer.key("n")]);
        std::thread::spawn(move || writer.count_up(client, last))
    };
    (0..WRITERS).map(start).collect()
}

fn kill_under_load(server: &mut ServerNode, dice: &mut Dice) {
    let writers = start_writers(server);
    let pause = |dice: &mut Dice| {
        std::thread::sleep(Duration::from_millis(dice.random_range(0..150)));
    };
    pause(dice);
    if dice.random_bool(0.5) {
        server.client().call(&["BGREWRITEAOF"]);
        pause(dice);
    }
    server.kill();
    let acknowledged: Vec<u64> = writers.into_iter().map(|w| w.join().unwrap()).collect();
    server.start_again();
    let mut client = server.client();
    for (at, last) in acknowledged.into_iter().enumerate() {
        let found = Writer { at }.found(&mut client);
        assert!(
            found == last || found == last + 1,
            "writer {at}: {found}, acknowledged {last}"
        );
    }
    check(server);
}

fn kill_again_and_again(policy: &str, seed: u64) {
    let mut server = start(Kind::Ours, &format!("appendfsync {policy}\n"));
    let seeds = seeds([seed]);
    for seed in &seeds {
        let mut dice = Dice::of(*seed);
        for _ in 0..kills().div_ceil(seeds.len()) {
            kill_under_load(&mut server, &mut dice);
        }
    }
}

#[test]
fn always() {
    kill_again_and_again("always", 90);
}

#[test]
fn every_second() {
    kill_again_and_again("everysec", 91);
}

/// With save points a kill takes back what came after the last complete save, and nothing else.
#[test]
fn save_points() {
    let mut dice = Dice::of(seeds([])[0]);
    let mut server = start_server(Kind::Ours, "save 1 1\n");
    for _ in 0..kills() {
        let writers = start_writers(&server);
        let mut client = server.client();
        let saves = number_of(&server, "rdb_saves");
        let seen: Vec<u64> = (0..WRITERS)
            .map(|at| number(&mut client, &["GET", &format!("writer{at}:n")]))
            .collect();
        // The one that was running when these were seen, and the next.
        wait_for("two saves", secs(20), || {
            let now = number_of(&server, "rdb_saves");
            expect_that(now >= saves + 2, || format!("{now} after {saves}"))
        });
        std::thread::sleep(Duration::from_millis(dice.random_range(0..150)));
        server.kill();
        let acknowledged: Vec<u64> = writers.into_iter().map(|w| w.join().unwrap()).collect();
        server.start_again();
        let mut client = server.client();
        for (at, (seen, last)) in seen.into_iter().zip(acknowledged).enumerate() {
            let found = Writer { at }.found(&mut client);
            assert!(
                (seen..=last + 1).contains(&found),
                "writer {at}: {found} of {seen} to {last}"
            );
        }
    }
}

fn number_of(server: &ServerNode, field: &str) -> u64 {
    let value = server.info(field).unwrap_or_default();
    value
        .parse()
        .unwrap_or_else(|_| panic!("{field}: {value:?}"))
}

#[test]
fn a_shutdown_makes_everything_durable() {
    let mut server = start(Kind::Ours, "appendfsync no\n");
    let (client, writer) = (server.client(), Writer { at: 0 });
    let counting = writer.clone();
    let thread = std::thread::spawn(move || counting.count_up(client, 0));
    std::thread::sleep(Duration::from_millis(100));
    let status = server.process.terminate(crate::support::secs(20));
    assert_eq!(status.code(), Some(0), "{}", server.process.log());
    let last = thread.join().unwrap();
    check(&server);
    server.start_again();
    assert_eq!(writer.found(&mut server.client()), last);
}

/// With save points, what was flushed does not come back: not from within a transaction, and not on a replica.
#[test]
fn a_flush_in_a_transaction() {
    for (master, kind) in [
        (Kind::Real, Kind::Ours),
        (Kind::Ours, Kind::Real),
        (Kind::Ours, Kind::Ours),
    ] {
        let mut master = start_server(master, "save 3600 1\n");
        let lines = format!("{}save 3600 1\n", replica_of(&master));
        let mut replica = start_server(kind, &lines);
        let mut client = master.client();
        client.call(&["SET", "k", "v"]);
        wait_until_equal(&master, &replica);
        for server in [&master, &replica] {
            // The child that has sent a replica its data may still be there.
            wait_for("the save", secs(10), || {
                let reply = server.client().ask("SAVE");
                expect_that(reply == "OK", || reply)
            });
        }
        client.call(&["MULTI"]);
        client.call(&["FLUSHALL"]);
        client.call(&["SET", "new", "v"]);
        assert_eq!(text(&client.call(&["EXEC"])), "OK OK");
        assert_eq!(text(&client.call(&["WAIT", "1", "4000"])), "1");
        master.kill();
        replica.kill();
        for server in [&mut master, &mut replica] {
            server.start_again();
            let found = text(&server.client().call(&["EXISTS", "k"]));
            assert_eq!(found, "0", "{kind:?}");
        }
    }
}

//! SIGKILL under load: with an append-only file, whatever was acknowledged is there after the next start, and a
//! transaction is there as a whole or not at all.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::aof::{check, start};
use crate::support::{Client, Kind, ServerNode, text};

/// Clients that write at the same time.
const WRITERS: usize = 6;

/// `AOF_KILLS`, or a handful.
fn kills() -> usize {
    std::env::var("AOF_KILLS").map_or(4, |count| count.parse().expect("AOF_KILLS is a number"))
}

/// Counts up a key of its own, and two more in a transaction, until the server is gone; the last number that was
/// acknowledged.
fn count_up(mut client: Client, name: &str) -> u64 {
    let (single, left, right) = names(name);
    let mut last = 0;
    loop {
        let Ok(reply) = client.try_call(&["INCR", &single]) else {
            return last;
        };
        last = text(&reply)
            .parse()
            .unwrap_or_else(|_| panic!("{}", text(&reply)));
        for words in [
            &["MULTI"][..],
            &["INCR", &left],
            &["INCR", &right],
            &["EXEC"],
        ] {
            if client.try_call(words).is_err() {
                return last;
            }
        }
    }
}

fn names(name: &str) -> (String, String, String) {
    (
        format!("{name}:n"),
        format!("{name}:left"),
        format!("{name}:right"),
    )
}

fn number(client: &mut Client, key: &str) -> u64 {
    text(&client.call(&["GET", key])).parse().unwrap_or(0)
}

fn kill_under_load(server: &mut ServerNode, dice: &mut ChaCha8Rng) {
    let writers: Vec<_> = (0..WRITERS)
        .map(|at| {
            let client = server.client();
            std::thread::spawn(move || count_up(client, &format!("writer{at}")))
        })
        .collect();
    let pause = |dice: &mut ChaCha8Rng| {
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
        let (single, left, right) = names(&format!("writer{at}"));
        let found = number(&mut client, &single);
        assert!(
            found == last || found == last + 1,
            "{single}: {found}, acknowledged {last}"
        );
        assert_eq!(number(&mut client, &left), number(&mut client, &right));
    }
    check(server);
}

fn kill_again_and_again(policy: &str, seed: u64) {
    eprintln!("kills of seed {seed}");
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let mut server = start(Kind::Ours, &format!("appendfsync {policy}\n"));
    for _ in 0..kills() {
        kill_under_load(&mut server, &mut dice);
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

#[test]
fn a_shutdown_makes_everything_durable() {
    let mut server = start(Kind::Ours, "appendfsync no\n");
    let writer = server.client();
    let writer = std::thread::spawn(move || count_up(writer, "w"));
    std::thread::sleep(Duration::from_millis(100));
    let status = server.process.terminate(crate::support::secs(20));
    assert_eq!(status.code(), Some(0), "{}", server.process.log());
    let last = writer.join().unwrap();
    check(&server);
    server.start_again();
    assert_eq!(number(&mut server.client(), "w:n"), last);
}

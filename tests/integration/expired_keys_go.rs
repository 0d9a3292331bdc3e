//! Keys that have expired are removed without anybody asking for them, here and on replicas; a replica hides
//! them until it is told, unless it takes writes.

use std::time::Duration;

use sentinel::clock::unix_now;
use sentinel::resp::encode_request;

use crate::both::{lines_of, words_of};
use crate::data::{replica_of, send, wait_until_equal};
use crate::support::{Kind, expect_that, secs, start_server, text, wait_for};

#[test]
fn without_being_asked_for() {
    /// More than go in one slice.
    const KEYS: usize = 20_000;
    let ours = start_server(Kind::Ours, "");
    let real = start_server(Kind::Real, &replica_of(&ours));
    wait_until_equal(&ours, &real);
    let mut client = ours.client();
    client.call(&["SET", "stays", "v", "EX", "10000"]);
    for n in 0..KEYS {
        client
            .send(&["SET", &format!("k{n}"), "v", "PX", "1"])
            .unwrap();
        if n % 1000 == 999 {
            for _ in 0..1000 {
                client.receive().unwrap();
            }
        }
    }
    for server in [&ours, &real] {
        wait_for("only one key is left", secs(20), || {
            let size = text(&server.client().call(&["DBSIZE"]));
            expect_that(size == "1", || size)
        });
    }
    assert_eq!(ours.info("expired_keys"), Some(KEYS.to_string()));
    wait_until_equal(&ours, &real);
}

/// In the millisecond of its expiry a key is still there, with nothing left of its time; in the next it is not.
#[test]
fn to_the_millisecond() {
    /// A busy machine may miss a millisecond.
    const ROUNDS: u32 = 200;
    for kind in [Kind::Real, Kind::Ours] {
        let server = start_server(kind, "");
        let mut client = server.client();
        client.call(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
        // What was answered when the time was certain: just before, at and just after the moment.
        let mut seen = [0; 3];
        for _ in 0..ROUNDS {
            let at = unix_now().0 + 5;
            client.call(&["SET", "k", "v", "PXAT", &at.to_string()]);
            loop {
                let before = unix_now().0;
                let left = text(&client.call(&["PTTL", "k"]));
                let after = unix_now().0;
                if before == after && (at - 1..=at + 1).contains(&before) {
                    let nth = usize::try_from(before + 1 - at).unwrap();
                    assert_eq!(left, ["1", "0", "-2"][nth], "{kind:?}: {before}, not {at}");
                    seen[nth] += 1;
                }
                if before > at + 1 {
                    break;
                }
            }
            if seen.iter().all(|times| *times > 10) {
                break;
            }
        }
        assert!(seen.iter().all(|times| *times > 0), "{kind:?}: {seen:?}");
    }
}

/// One that has expired takes memory until it is removed: its size is told, which is no use of it.
#[test]
fn until_then_they_have_a_size() {
    for kind in [Kind::Real, Kind::Ours] {
        let server = start_server(kind, "enable-debug-command yes\n");
        let mut client = server.client();
        client.call(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
        client.call(&["SET", "k", "v"]);
        let size = client.call(&["MEMORY", "USAGE", "k"]);
        client.call(&["PEXPIRE", "k", "1"]);
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(client.call(&["MEMORY", "USAGE", "k"]), size, "{kind:?}");
        assert_eq!(text(&client.call(&["DBSIZE"])), "1", "{kind:?}");
        assert_eq!(text(&client.call(&["EXISTS", "k"])), "0", "{kind:?}");
        assert_eq!(text(&client.call(&["MEMORY", "USAGE", "k"])), "(nil)");
    }
}

#[test]
fn on_a_replica() {
    for kind in [Kind::Real, Kind::Ours] {
        // A master that removes nothing by itself.
        let master = start_server(Kind::Real, "enable-debug-command yes\n");
        let mut to_master = master.client();
        to_master.call(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
        let replica = start_server(kind, &replica_of(&master));
        wait_until_equal(&master, &replica);
        to_master.call(&["SET", "k", "v", "PX", "50"]);
        let mut client = replica.client();
        wait_for("the key is there and has expired", secs(20), || {
            let (value, size) = (client.call(&["GET", "k"]), client.call(&["DBSIZE"]));
            let found = (text(&value), text(&size));
            expect_that(found == ("(nil)".to_owned(), "1".to_owned()), || {
                format!("{found:?}")
            })
        });
        let ask = |client: &mut crate::support::Client, line: &str| {
            text(&client.call(&line.split(' ').collect::<Vec<_>>()))
        };
        for (line, want) in [
            ("EXISTS k", "0"),
            ("TTL k", "-2"),
            ("TYPE k", "none"),
            ("OBJECT ENCODING k", "(nil)"),
            ("DBSIZE", "1"),
            ("CONFIG SET replica-read-only no", "OK"),
            ("EXISTS k", "0"),
            ("DBSIZE", "1"),
            // A write may remove it.
            ("PERSIST k", "0"),
            ("DBSIZE", "0"),
        ] {
            assert_eq!(ask(&mut client, line), want, "{line} on {kind:?}");
        }
    }
}

#[test]
fn what_a_replicas_own_clients_write() {
    for kind in [Kind::Real, Kind::Ours] {
        // A master that removes nothing by itself.
        let master = start_server(Kind::Real, "");
        let mut to_master = master.client();
        to_master.call(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
        let lines = format!("{}replica-read-only no\n", replica_of(&master));
        let replica = start_server(kind, &lines);
        wait_until_equal(&master, &replica);
        to_master.call(&["SET", "masters", "v", "PX", "1"]);
        wait_for("the master's key is there", secs(20), || {
            let size = text(&replica.client().call(&["DBSIZE"]));
            expect_that(size == "1", || size)
        });
        let mut client = replica.client();
        wait_for("one is told in time to stay", secs(20), || {
            client.call(&["SET", "stays", "v", "PX", "300"]);
            let told = text(&client.call(&["PERSIST", "stays"]));
            expect_that(told == "1", || told)
        });
        client.call(&["SET", "a", "v", "PX", "300"]);
        client.call(&["RPUSH", "b", "v"]);
        client.call(&["PEXPIRE", "b", "300"]);
        client.call(&["SET", "lasting", "v", "EX", "1000"]);
        let tracked = || replica.info("slave_expires_tracked_keys").unwrap();
        // The master's, and the two that do not go.
        wait_for("the others are gone", secs(20), || {
            let size = text(&client.call(&["DBSIZE"]));
            expect_that(size == "3", || format!("{kind:?}: {size}"))
        });
        wait_for("only one is watched", secs(20), || {
            expect_that(tracked() == "1", || format!("{kind:?}: {}", tracked()))
        });
        assert_eq!(text(&client.call(&["GET", "stays"])), "v", "{kind:?}");
        // All of it is a master's own.
        client.call(&["REPLICAOF", "NO", "ONE"]);
        wait_for("the old master's key is gone", secs(20), || {
            let size = text(&client.call(&["DBSIZE"]));
            expect_that(size == "2", || format!("{kind:?}: {size}"))
        });
    }
}

/// Its look-up does not see the old value, so neither may the change that follows.
#[test]
fn by_a_write_whose_transaction_has_stopped_writes() {
    for first in ["CLIENT PAUSE 100000 WRITE", "REPLICAOF 127.0.0.1 1"] {
        let ours = start_server(Kind::Ours, "");
        let mut client = ours.client();
        let mut ask = |line: &str| text(&client.call(&line.split(' ').collect::<Vec<_>>()));
        ask("DEBUG SET-ACTIVE-EXPIRE 0");
        // One of another type, one of the same.
        ask("SET k old");
        ask("RPUSH list old");
        ask("SET later old");
        for key in ["k", "list", "later"] {
            ask(&format!("PEXPIRE {key} 1"));
        }
        wait_for("the last has expired", secs(20), || {
            let found = ask("EXISTS later");
            expect_that(found == "0", || found)
        });
        assert_eq!(ask("DBSIZE"), "2");
        for line in [
            "MULTI",
            first,
            "LPUSH k x",
            "RPUSH list y",
            "LRANGE list 0 -1",
        ] {
            ask(line);
        }
        assert_eq!(ask("EXEC"), "OK 1 1 y", "{first}");
    }
}

/// Whether `EXEC` fails after each of these, by what comes before the `WATCH` of `w` and what another client does
/// after it.
#[test]
fn who_watched_one_that_had_expired_is_not_told_when_it_goes() {
    const EXPIRED: &str = "SET w 1 PXAT 1";
    const CASES: [(&str, &str); 20] = [
        (EXPIRED, ""),
        (EXPIRED, "GET w"),
        (EXPIRED, "DEL w"),
        (EXPIRED, "SET w 2"),
        (EXPIRED, "GET w; SET w 2; DEL w"),
        (EXPIRED, "GET w; SET w 2 PXAT 1"),
        (EXPIRED, "EXPIRE w 100"),
        (EXPIRED, "COPY w x"),
        (EXPIRED, "SET o 1; RENAME o w"),
        (EXPIRED, "FLUSHDB"),
        (EXPIRED, "FLUSHALL"),
        (EXPIRED, "GET w; FLUSHALL"),
        (EXPIRED, "SWAPDB 0 1"),
        (EXPIRED, "SWAPDB 0 1; SWAPDB 0 1"),
        (
            EXPIRED,
            "DEBUG SET-ACTIVE-EXPIRE 1; DEBUG SLEEP 0.3; DBSIZE",
        ),
        ("SELECT 1; SET w 1; SELECT 0; SET w 1 PXAT 1", "SWAPDB 0 1"),
        ("SELECT 1; SET w 1 PXAT 1; SELECT 0", "SWAPDB 0 1; GET w"),
        ("SET w 1 PX 300", "DEBUG SLEEP 0.4; GET w"),
        ("SET w 1 PX 300", "DEBUG SLEEP 0.4; SWAPDB 0 1"),
        ("SET w 1 PX 300", "DEBUG SLEEP 0.4; FLUSHALL"),
    ];
    let [real, ours] = [Kind::Real, Kind::Ours].map(|kind| {
        let server = start_server(kind, "enable-debug-command yes\n");
        let (mut watcher, mut other) = (server.client(), server.client());
        let run = |client: &mut crate::support::Client, lines: &str| {
            for line in lines.split("; ").filter(|line| !line.is_empty()) {
                client.call(&line.split(' ').collect::<Vec<_>>());
            }
        };
        CASES.map(|(before, after)| {
            run(&mut other, "FLUSHALL; DEBUG SET-ACTIVE-EXPIRE 0");
            wait_for("it is watched", secs(20), || {
                run(&mut watcher, "UNWATCH");
                run(&mut watcher, before);
                run(&mut watcher, "WATCH w");
                // One that is to expire while it is watched may have done so before.
                let is_in_time = !before.contains(" PX ") || watcher.ask("EXISTS w") == "1";
                expect_that(is_in_time, || before.to_owned())
            });
            run(&mut other, after);
            run(&mut watcher, "MULTI");
            format!("{before} | {after}: {}", text(&watcher.call(&["EXEC"])))
        })
    });
    assert_eq!(real, ours);
}

/// What a walk comes across is removed one by one, on replicas too, unless the walk is part of a transaction.
#[test]
fn by_a_walk_that_comes_across_them() {
    let streams = [Kind::Real, Kind::Ours].map(|kind| {
        let server = start_server(kind, "");
        let mut client = server.client();
        let mut ask = |line: &str| text(&client.call(&line.split(' ').collect::<Vec<_>>()));
        ask("DEBUG SET-ACTIVE-EXPIRE 0");
        let mut replica = server.client();
        let received = crate::stream::begin(&mut replica);
        for walk in [
            &["SCAN 0 COUNT 100"][..],
            &["RANDOMKEY"],
            &["MULTI", "SCAN 0", "EXEC"],
        ] {
            for key in ["a", "b", "c"] {
                ask(&format!("SET {key} v PX 1"));
            }
            wait_for("all have expired", secs(20), || {
                let found = ask("TTL c");
                expect_that(found != "0" && found != "1", || found)
            });
            for line in walk {
                ask(line);
            }
        }
        ask("SET the-end 1");
        let mut stream = crate::stream::until(&mut replica, received, "the-end");
        stream.retain(|words| words[0] != "SET");
        // They are met in any order.
        stream.iter_mut().for_each(|words| words.truncate(1));
        stream
    });
    assert_eq!(streams[0], streams[1]);
    assert!(streams[0].len() > 9, "{streams:?}");
}

/// What follows when a command meets `e`, which has expired and is still there: replies, events, counts, and what
/// replicas are told.
fn met_by(commands: &str, kind: Kind) -> (Vec<String>, Vec<Vec<String>>) {
    let server = start_server(kind, "");
    let mut replica = server.client();
    let offset = crate::stream::begin(&mut replica);
    let mut client = server.client();
    let begin = "
        DEBUG SET-ACTIVE-EXPIRE 0
        CONFIG SET notify-keyspace-events EAmn
        SET text v
        SADD one a
        SADD two b
        ZADD z 1 a
        GEOADD g 1 1 a
    ";
    lines_of(begin).for_each(|words| drop(send(&mut client, &words)));
    let mut listener = server.client();
    listener.call(&["PSUBSCRIBE", "__keyevent@0__:*"]);
    let mut found = Vec::new();
    for words in lines_of(commands) {
        client.call(&["DEL", "e", "to"]);
        client.call(&["SET", "e", "old", "PX", "1"]);
        client.call(&["SET", "later", "v", "PX", "1"]);
        wait_for("the later one has expired", secs(20), || {
            let exists = text(&client.call(&["EXISTS", "later"]));
            expect_that(exists == "0", || exists)
        });
        let count = |field| server.info(field).unwrap().parse::<i64>().unwrap();
        let counts = || {
            let fields = ["expired_keys", "rdb_changes_since_last_save"];
            [fields[0], fields[1], "keyspace_misses"].map(count)
        };
        client.call(&["PUBLISH", "__keyevent@0__:begin", "mark"]);
        let before = counts();
        let reply = text(&send(&mut client, &words));
        let after = counts();
        client.call(&["PUBLISH", "__keyevent@0__:end", "mark"]);
        let mut events = Vec::new();
        loop {
            let event = text(&listener.receive().unwrap());
            if event.ends_with("begin mark") {
                events.clear();
            } else if event.ends_with("end mark") {
                break;
            } else {
                events.push(event.split(':').next_back().unwrap_or_default().to_owned());
            }
        }
        let more = [0, 1, 2].map(|at| after[at] - before[at]);
        found.push(format!("{words:?}: {reply}, {events:?}, {more:?}"));
    }
    client.call(&["SET", "the-end", "1"]);
    let mut stream = crate::stream::until(&mut replica, offset, "the-end");
    for words in &mut stream {
        // The moment is another one.
        if words.iter().any(|word| word == "PXAT") {
            words.pop();
        }
    }
    (found, stream)
}

#[test]
fn by_commands_that_overwrite_or_remove_them() {
    const COMMANDS: &str = "
        SET e 2
        MSET e 2
        MSET e 2 f 3 e 4
        MSETNX e 2
        BITOP OR e text
        SUNIONSTORE e one two
        SINTERSTORE e one
        SDIFFSTORE e one
        ZRANGESTORE e z 0 -1
        ZUNIONSTORE e 1 z
        ZINTERSTORE e 1 z
        ZDIFFSTORE e 1 z
        GEOSEARCHSTORE e g FROMMEMBER a BYRADIUS 9 m
        GEORADIUS g 1 1 500 km STORE e
        SORT one ALPHA STORE e
        BITOP OR e nosuch
        SUNIONSTORE e nosuch
        SINTERSTORE e one two
        SDIFFSTORE e one one
        ZRANGESTORE e z 5 6
        ZUNIONSTORE e 1 nosuch
        ZINTERSTORE e 2 z nosuch
        ZDIFFSTORE e 2 z z
        GEOSEARCHSTORE e g FROMLONLAT 50 50 BYRADIUS 1 m
        GEORADIUS nosuch 50 50 1 km STORE e
        SORT nosuch STORE e
        SMOVE nosuch e x
        SMOVE one e nosuch
        SMOVE e to x
        SMOVE text e x
        OBJECT ENCODING e
        OBJECT FREQ e
        OBJECT IDLETIME e
        OBJECT REFCOUNT e
        OBJECT ENCODING nosuch
        TTL e
    ";
    let (real, ours) = (met_by(COMMANDS, Kind::Real), met_by(COMMANDS, Kind::Ours));
    assert_eq!(real, ours);
}

/// A request that takes long is followed by later ones, in one pipeline too.
#[test]
fn behind_a_slow_request_of_the_same_pipeline() {
    for kind in [Kind::Real, Kind::Ours] {
        let server = start_server(kind, "");
        let mut client = server.client();
        let mut pipeline = |lines: &[&str]| -> Vec<String> {
            let mut requests = Vec::new();
            for line in lines {
                encode_request(&words_of(line), &mut requests);
            }
            client.send_raw(&requests).unwrap();
            let replies = lines.iter().map(|_| text(&client.receive().unwrap()));
            replies.collect()
        };
        let seen = pipeline(&["SET k v PX 200", "DEBUG SLEEP 0.4", "GET k", "EXISTS k"]);
        assert_eq!(seen[2..], ["(nil)", "0"], "{kind:?}");
        let seen = pipeline(&[
            "DEBUG SLEEP 0.4",
            // Long enough for the transaction to begin meanwhile.
            "SET k v PX 1000",
            "MULTI",
            "DEBUG SLEEP 1.1",
            "GET k",
            "EXEC",
            "EXISTS k",
        ]);
        // A transaction is of one moment.
        assert_eq!(seen[5], "OK v", "{kind:?}");
        assert_eq!(seen[6], "0", "{kind:?}");
        // The life of a key begins when it is written.
        let since = unix_now().0;
        pipeline(&["DEBUG SLEEP 0.4", "SET k v PX 100000"]);
        let until: u64 = pipeline(&["PEXPIRETIME k"])[0].parse().unwrap();
        assert!(until >= since + 100_400, "{kind:?}: {since}, {until}");
        let since = unix_now();
        pipeline(&["DEBUG SLEEP 0.4", "BLPOP nothing 0.3"]);
        let took = unix_now().0 - since.0;
        assert!(took >= 700, "{kind:?}: {took} ms");
    }
}

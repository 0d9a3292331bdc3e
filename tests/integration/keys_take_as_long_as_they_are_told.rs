//! `rdb-key-save-delay` and `key-load-delay`: what is written and loaded takes that long, nobody else does.

use std::io::Read as _;
use std::time::Duration;

use sentinel::clock::Clock;

use crate::data::{replica_of, wait_until_equal};
use crate::support::{Kind, ServerNode, expect_that, secs, start_server, texts, wait_for};

const KEYS: u32 = 20;
/// Of each key. Microseconds.
const DELAY: u32 = 100_000;
/// Of all keys together, less what clocks are wrong by.
const AT_LEAST: Duration = Duration::from_millis(1900);
/// Of one key, in microseconds: longer than any test waits.
const FOR_EVER: u32 = 100_000_000;

fn start(kind: Kind, lines: &str) -> ServerNode {
    let server = start_server(kind, lines);
    assert_eq!(server.client().ask(&format!("DEBUG POPULATE {KEYS}")), "OK");
    server
}

/// How long what `begin` starts goes on by `field` of `INFO`, while clients are served.
fn time_of(server: &mut ServerNode, field: &str, begin: impl FnOnce(&mut ServerNode)) -> Duration {
    let clock = Clock::start();
    let begun = clock.mono();
    begin(server);
    let mut client = server.client();
    wait_for("it is over", secs(20), || {
        let asked = clock.mono();
        client.call(&["PING"]);
        let waited = clock.mono().since(asked);
        assert!(waited < AT_LEAST / 2, "{waited:?}");
        let found = server.info(field).unwrap_or_default();
        expect_that(found == "0", || found)
    });
    clock.mono().since(begun)
}

#[test]
fn they_are_shown_to_those_who_name_them() {
    for kind in [Kind::Real, Kind::Ours] {
        let server = start(kind, "key-load-delay -50\n");
        for (asked, want) in [
            ("key-load-delay", &["key-load-delay", "-50"][..]),
            ("KEY-load-delay", &["KEY-load-delay", "-50"]),
            ("rdb-key-save-delay", &["rdb-key-save-delay", "0"]),
            ("use-exit-on-panic", &["use-exit-on-panic", "no"]),
            ("key-load-*", &[]),
            ("rdb-key-save-dela[y]", &[]),
            ("use-exit-on-pani?", &[]),
            ("watchdog-period", &["watchdog-period", "0"]),
            ("watchdog-perio?", &[]),
            (
                "lua-enable-deprecated-api",
                &["lua-enable-deprecated-api", "no"],
            ),
            ("lua-enable-deprecated-ap?", &[]),
        ] {
            let shown = texts(&server.client().call(&["CONFIG", "GET", asked]));
            assert_eq!(shown, want, "{asked} on {kind:?}");
        }
        let reply = server.client().ask("CONFIG SET key-load-delay 2147483648");
        assert!(reply.ends_with("argument must be between -2147483648 and 2147483647 inclusive"));
    }
}

#[test]
fn files_and_rewrites() {
    for kind in [Kind::Real, Kind::Ours] {
        let mut server = start(kind, &format!("rdb-key-save-delay {DELAY}\n"));
        for (command, field) in [
            ("BGSAVE", "rdb_bgsave_in_progress"),
            ("BGREWRITEAOF", "aof_rewrite_in_progress"),
        ] {
            server
                .client()
                .ask(&format!("CONFIG SET rdb-key-save-delay {DELAY}"));
            let took = time_of(&mut server, field, |server| {
                server.client().ask(command);
                // What has begun goes on as it began.
                server.client().ask("CONFIG SET rdb-key-save-delay 0");
            });
            assert!(took > AT_LEAST, "{command} on {kind:?}: {took:?}");
        }
        // So many keys take a microsecond together; and however long one takes, it is given up at once. Either would
        // else last for longer than is waited for.
        for lines in [
            &[
                &format!("CONFIG SET rdb-key-save-delay -{FOR_EVER}"),
                "BGSAVE",
            ][..],
            &[
                &format!("CONFIG SET rdb-key-save-delay {FOR_EVER}"),
                "BGSAVE",
                "FLUSHALL",
            ],
        ] {
            time_of(&mut server, "rdb_bgsave_in_progress", |server| {
                for line in lines {
                    server.client().ask(line);
                }
            });
        }
    }
}

#[test]
fn transfers() {
    for diskless in ["yes", "no"] {
        let lines = format!("rdb-key-save-delay {DELAY}\nrepl-diskless-sync {diskless}\n");
        let master = start(Kind::Ours, &lines);
        let clock = Clock::start();
        let begun = clock.mono();
        let replica = start_server(Kind::Ours, &replica_of(&master));
        wait_until_equal(&master, &replica);
        let took = clock.mono().since(begun);
        assert!(took > AT_LEAST, "diskless {diskless}");
    }
}

/// Whether the mark that comes before the data has come behind them.
fn is_whole(received: &[u8]) -> bool {
    let head = b"$EOF:";
    let at = received.windows(head.len()).position(|w| w == head);
    let line = at.and_then(|at| received[at + head.len()..].split_first_chunk::<40>());
    line.is_some_and(|(mark, data)| data.ends_with(mark))
}

/// Whoever loads them would else take the link for dead.
#[test]
fn a_transfer_brings_key_after_key() {
    let master = start(Kind::Ours, &format!("rdb-key-save-delay {DELAY}\n"));
    let mut replica = master.client();
    replica.call(&["REPLCONF", "capa", "eof"]);
    replica.send(&["PSYNC", "?", "-1"]).unwrap();
    let clock = Clock::start();
    let mut stream = replica.stream();
    let (mut received, mut chunk) = (Vec::new(), [0; 4096]);
    let mut pauses = 0;
    while !is_whole(&received) {
        let asked = clock.mono();
        let count = stream.read(&mut chunk).unwrap();
        assert!(count > 0, "closed after {pauses} pauses");
        received.extend_from_slice(&chunk[..count]);
        let waited = clock.mono().since(asked);
        pauses += u32::from(waited > Duration::from_micros(u64::from(DELAY / 4)));
    }
    // Some come together where it is read late.
    assert!(pauses > KEYS / 4, "{pauses}");
}

#[test]
fn a_transfer_without_replicas_is_over_at_once() {
    let master = start(Kind::Ours, &format!("rdb-key-save-delay {FOR_EVER}\n"));
    let mut replica = start_server(Kind::Ours, &replica_of(&master));
    let saving = |wanted: &str| {
        wait_for("the transfer", secs(20), || {
            let found = master.info("rdb_bgsave_in_progress").unwrap_or_default();
            expect_that(found == wanted, || found)
        });
    };
    saving("1");
    replica.kill();
    saving("0");
    assert_eq!(master.client().ask("BGSAVE"), "Background saving started");
}

#[test]
fn loads() {
    for lines in [
        "appendonly no\n",
        "appendonly yes\n",
        "appendonly yes\naof-use-rdb-preamble no\n",
    ] {
        let mut server = start(Kind::Ours, &format!("key-load-delay {DELAY}\n{lines}"));
        if lines.contains("yes") {
            time_of(&mut server, "aof_rewrite_in_progress", |server| {
                server.client().ask("BGREWRITEAOF");
            });
        } else {
            assert_eq!(server.client().ask("SAVE"), "OK");
        }
        server.kill();
        let took = time_of(&mut server, "loading", |server| {
            server.process.start_again();
            wait_for("it listens", secs(10), || {
                let client = crate::support::Client::try_to_within(server.port(), secs(5));
                client.map(drop).map_err(|error| error.to_string())
            });
        });
        assert!(took > AT_LEAST, "{lines}: {took:?}");
        assert_eq!(server.client().ask("DBSIZE"), KEYS.to_string());
    }
}

#[test]
fn a_replica_loads_slowly_until_it_is_told_otherwise() {
    let master = start(Kind::Ours, "");
    let lines = "key-load-delay 10000000\nrepl-diskless-load swapdb\n";
    let replica = start_server(Kind::Ours, lines);
    let port = master.port();
    assert_eq!(
        replica.client().ask(&format!("REPLICAOF 127.0.0.1 {port}")),
        "OK"
    );
    wait_for("it loads", secs(10), || {
        let found = replica.info("loading").unwrap_or_default();
        expect_that(found == "1", || found)
    });
    assert_eq!(replica.client().ask("CONFIG SET key-load-delay 0"), "OK");
    wait_until_equal(&master, &replica);
}

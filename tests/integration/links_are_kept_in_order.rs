//! What master and replica owe each other beside the data: patience while the other has to do, an end of it when
//! nothing is heard, room given back, and no word that the other cannot take.

use std::io::{ErrorKind, Read as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sentinel::clock::Clock;

use crate::both::side_by_side;
use crate::data::{offset, replica_of, wait_for_info, wait_until_equal};
use crate::stream;
use crate::support::{
    Answer, Client, Fake, Kind, ServerNode, expect_that, secs, start_server, text, wait_for,
};

const BOTH: [Kind; 2] = [Kind::Real, Kind::Ours];

/// A client that has become a replica and taken all data, and has said nothing since.
fn attach(master: &ServerNode) -> Client {
    let mut replica = master.client();
    replica.call(&["REPLCONF", "listening-port", "1"]);
    stream::begin(&mut replica);
    replica
}

fn used_memory(server: &ServerNode) -> usize {
    server.info("used_memory").unwrap().parse().unwrap()
}

fn wait_for_lag(master: &ServerNode, what: &str, is_right: impl Fn(u64) -> bool) {
    wait_for(what, secs(20), || {
        let shown = master.info("slave0").unwrap_or_default();
        let lag = shown
            .rsplit_once("lag=")
            .and_then(|(_, lag)| lag.parse().ok());
        expect_that(
            shown.contains("state=online") && lag.is_some_and(&is_right),
            || shown,
        )
    });
}

#[test]
fn an_empty_line_is_a_sign_of_life() {
    for kind in BOTH {
        let master = start_server(kind, "");
        let mut replica = attach(&master);
        wait_for_lag(&master, "the replica is silent", |lag| lag >= 2);
        replica.send_raw(b"\n").unwrap();
        wait_for_lag(&master, "the replica is heard", |lag| lag < 2);
    }
}

#[test]
fn what_was_kept_for_two_replicas_stays_theirs_together() {
    const VALUE_BYTES: usize = 1_000_000;
    const VALUES: usize = 30;
    let master = start_server(Kind::Ours, "");
    let mut replicas = [attach(&master), attach(&master)];
    let mut client = master.client();
    for _ in 0..VALUES {
        client.call(&["SET", "k", &"x".repeat(VALUE_BYTES)]);
    }
    let before = used_memory(&master);
    assert!(before > VALUES * VALUE_BYTES, "{before} bytes: it is kept");
    let at = offset(&master).to_string();
    for replica in &mut replicas {
        replica.send(&["REPLCONF", "ACK", &at]).unwrap();
        // Its stream has begun, and most of it is still with the master.
        stream::wait_for_some(replica);
    }
    let after = used_memory(&master);
    assert!(
        after < before + VALUES * VALUE_BYTES / 2,
        "{before} bytes before, {after} after"
    );
    assert_eq!(
        text(&client.call(&["STRLEN", "k"])),
        VALUE_BYTES.to_string()
    );
}

#[test]
fn a_port_that_is_none_is_not_that_of_a_replica_that_named_none() {
    for kind in BOTH {
        let master = start_server(kind, "");
        let mut replica = master.client();
        stream::begin(&mut replica);
        let reply = master
            .client()
            .call(&["FAILOVER", "TO", "127.0.0.1", "70000"]);
        let wanted = "ERR FAILOVER target HOST and PORT is not a replica.";
        assert_eq!(text(&reply), wanted, "{kind:?}");
    }
}

#[test]
fn the_master_is_shown_as_the_client_that_it_is() {
    for kind in BOTH {
        let master = start_server(Kind::Real, "repl-ping-replica-period 3600\n");
        let replica = start_server(kind, &replica_of(&master));
        wait_until_equal(&master, &replica);
        master.client().call(&["SET", "k", "v"]);
        wait_until_equal(&master, &replica);
        let clients = text(&replica.client().call(&["CLIENT", "LIST"]));
        let shown = clients.lines().find(|line| line.contains(" flags=M "));
        let shown = shown.expect("the master is among them");
        let is_right = [" cmd=set ", " user=(superuser) ", " qbuf=0 "]
            .iter()
            .all(|field| shown.contains(field));
        assert!(is_right, "{kind:?}: {shown}");
    }
}

#[test]
fn who_gets_a_stream_gets_no_second_one() {
    for kind in BOTH {
        let master = start_server(kind, "repl-diskless-sync-delay 0\n");
        let server = start_server(
            kind,
            &format!("repl-diskless-sync-delay 0\n{}", replica_of(&master)),
        );
        wait_until_equal(&master, &server);
        let mut monitor = server.client();
        assert_eq!(text(&monitor.call(&["MONITOR"])), "OK");
        monitor.send(&["PSYNC", "?", "-1"]).unwrap();
        monitor.send(&["ECHO", "still here"]).unwrap();
        wait_for("the reply to ECHO", secs(20), || {
            let heard = text(&monitor.receive().map_err(|error| error.to_string())?);
            expect_that(heard == "still here", || heard.clone())
        });
        assert_eq!(server.info("connected_slaves").as_deref(), Some("0"));
        drop(monitor);

        let mut replica = attach(&server);
        let id = server.info("master_replid").unwrap();
        replica.send(&["PSYNC", &id, "1", "FAILOVER"]).unwrap();
        // An error would stand in its stream.
        replica.send(&["REPLCONF", "ACK"]).unwrap();
        replica.wait_for_close(secs(20)).unwrap();
        assert_eq!(server.info("role").as_deref(), Some("slave"), "{kind:?}");
    }
}

#[test]
fn a_change_of_role_ends_a_wait_and_its_connection() {
    for kind in BOTH {
        let server = start_server(kind, "");
        let mut waiting = server.client();
        waiting.send(&["WAIT", "1", "0"]).unwrap();
        wait_for_info(&server, "blocked_clients", "1");
        let mut client = server.client();
        client.call(&["REPLICAOF", "127.0.0.1", "1"]);
        let heard = text(&waiting.receive().unwrap());
        assert!(heard.starts_with("UNBLOCKED "), "{kind:?}: {heard}");
        waiting.wait_for_close(secs(20)).unwrap();
    }
}

#[test]
fn a_wait_during_a_pause_leaves_the_offset_alone() {
    for kind in BOTH {
        let server = start_server(
            kind,
            "repl-ping-replica-period 3600\nrepl-diskless-sync-delay 0\n",
        );
        let _replica = attach(&server);
        let mut waiting = server.client();
        waiting.call(&["SET", "k", "v"]);
        let mut client = server.client();
        client.call(&["CLIENT", "PAUSE", "60000", "WRITE"]);
        let before = server.info("master_repl_offset");
        waiting.send(&["WAIT", "1", "0"]).unwrap();
        wait_for_info(&server, "blocked_clients", "1");
        assert_eq!(server.info("master_repl_offset"), before, "{kind:?}");
        client.call(&["CLIENT", "UNPAUSE"]);
        wait_for("the replica is asked", secs(20), || {
            let now = server.info("master_repl_offset");
            expect_that(now != before, || format!("{now:?}"))
        });
    }
}

#[test]
fn a_shorter_patience_holds_for_an_established_link() {
    for kind in BOTH {
        let mut master = start_server(kind, "");
        let replica = start_server(kind, &replica_of(&master));
        wait_until_equal(&master, &replica);
        master.process.stop();
        let mut client = replica.client();
        client.call(&["CONFIG", "SET", "repl-timeout", "1"]);
        wait_for_info(&replica, "master_link_status", "down");
        master.process.resume();
    }
}

#[test]
fn a_long_command_leaves_no_room_behind_on_a_replica() {
    const LONG: usize = 64 * 1024 * 1024;
    let master = start_server(Kind::Ours, "");
    let replica = start_server(Kind::Ours, &replica_of(&master));
    wait_until_equal(&master, &replica);
    let mut client = master.client();
    client.call(&["SET", "long", &"x".repeat(LONG)]);
    client.call(&["DEL", "long"]);
    wait_until_equal(&master, &replica);
    wait_for("the replica has given the room back", secs(20), || {
        let used = replica.info("used_memory").unwrap_or_default();
        let is_small = used.parse().is_ok_and(|used: usize| used < LONG / 4);
        expect_that(is_small, || used.clone())
    });
}

/// Whoever is asked for all data has none of it by saying that we have it already; and an offset at the end of all
/// numbers is none.
#[test]
fn a_master_that_makes_no_sense_is_not_followed() {
    const ID: &str = "0123456789abcdef0123456789abcdef01234567";
    for says in [
        format!("+CONTINUE {ID}\r\n"),
        format!("+FULLRESYNC {ID} 18446744073709551615\r\n"),
    ] {
        let said = says.clone();
        let master = Fake::start(move |words| match words[0].as_str() {
            "PING" => Answer::Say(b"+PONG\r\n".to_vec()),
            "PSYNC" => Answer::Say(said.clone().into_bytes()),
            _ => Answer::Say(b"+OK\r\n".to_vec()),
        });
        let server = start_server(
            Kind::Ours,
            &format!("replicaof 127.0.0.1 {}\n", master.port()),
        );
        // It tries again and again.
        wait_for("three attempts", secs(20), || {
            let asked = master.requests();
            let count = asked.iter().filter(|words| words[0] == "PSYNC").count();
            expect_that(count >= 3, || format!("{count}"))
        });
        let status = server.info("master_link_status");
        assert_eq!(status.as_deref(), Some("down"), "{says}");
    }
}

/// What a replica is sent while this goes on, in which it acknowledges every now and then, or does not; and whether
/// its link is there at the end.
fn received(
    replica: &mut Client,
    acknowledges: bool,
    goes_on: impl Fn() -> bool,
) -> (Vec<u8>, bool) {
    let mut received = Vec::new();
    let mut stream = replica.stream().try_clone().unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    let mut buffer = [0; 4096];
    while goes_on() {
        if acknowledges && replica.send(&["REPLCONF", "ACK", "0"]).is_err() {
            return (received, false);
        }
        match stream.read(&mut buffer) {
            Ok(0) => return (received, false),
            Ok(count) => received.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return (received, false),
            Err(_) => {}
        }
    }
    (received, true)
}

/// By a master that sends `PING`s itself.
#[test]
fn who_says_nothing_is_given_up_and_who_waits_is_not() {
    let seen = side_by_side(|kind| {
        let lines = "repl-ping-replica-period 1\nrepl-timeout 3\n";
        let server = start_server(kind, lines);
        let waiting = start_server(kind, &format!("{lines}repl-diskless-sync-delay 100\n"));
        let quiet = start_server(Kind::Real, "repl-ping-replica-period 3600\n");
        let lines = format!("repl-ping-replica-period 1\n{}", replica_of(&quiet));
        let middle = start_server(kind, &lines);
        wait_until_equal(&quiet, &middle);
        let mut last = attach(&middle);
        let clock = Clock::start();
        let begun = clock.mono();
        let (mut silent, mut heard) = (attach(&server), attach(&server));
        let (mut old, mut waits) = (server.client(), waiting.client());
        old.send(&["SYNC"]).unwrap();
        waits.call(&["REPLCONF", "capa", "eof"]);
        waits.send(&["PSYNC", "?", "-1"]).unwrap();
        let is_over = AtomicBool::new(false);
        let goes_on = || !is_over.load(Ordering::Relaxed);
        std::thread::scope(|scope| {
            let [old, waits] = [&mut old, &mut waits]
                .map(|replica| scope.spawn(|| received(replica, false, goes_on)));
            let [heard, last] = [&mut heard, &mut last]
                .map(|replica| scope.spawn(|| received(replica, true, goes_on)));
            let given_up = begun + secs(20);
            let silent = received(&mut silent, false, || clock.mono() < given_up);
            // Links are looked at once a second: who came a little later would go a little later.
            std::thread::sleep(secs(2));
            is_over.store(true, Ordering::Relaxed);
            let [old, waits, heard, last] =
                [old, waits, heard, last].map(|replica| replica.join().unwrap());
            // One at the beginning, and one a second; a busy machine misses some.
            let seconds = usize::try_from(clock.mono().since(begun).as_secs()).unwrap();
            let expected = seconds / 3..=seconds + 2;
            let pings = heard.0.windows(6);
            let pings = pings.filter(|word| *word == b"ping\r\n").count();
            assert!(expected.contains(&pings), "{kind:?}: {pings}, {expected:?}");
            // Empty lines keep it waiting.
            let lines = waits.0.len();
            assert!(expected.contains(&lines), "{kind:?}: {lines}, {expected:?}");
            assert!(waits.0.iter().all(|byte| *byte == b'\n'), "{kind:?}");
            // A replica says nothing of its own: its offset is its master's.
            assert_eq!(last, (Vec::new(), true), "{kind:?}");
            [heard.1, silent.1, old.1, waits.1]
        })
    });
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[1], [true, false, true, true]);
}

/// A master that accepts a connection and does no more, at any step.
#[test]
fn a_replica_does_not_wait_for_ever() {
    const ID: &str = "0123456789abcdef0123456789abcdef01234567";
    let full = format!("+FULLRESYNC {ID} 5\r\n");
    let says = [
        ("PING", String::new()),
        ("PSYNC", String::new()),
        ("PSYNC", full.clone()),
        ("PSYNC", format!("{full}$1000\r\nREDIS0010")),
        ("PSYNC", format!("{full}$EOF:{ID}\r\nREDIS0010")),
    ];
    side_by_side(|kind| {
        let replicas = says.clone().map(|(last, said)| {
            let master = Fake::start(move |words| match words[0].as_str() {
                name if name == last && said.is_empty() => Answer::Silence,
                name if name == last => Answer::Say(said.clone().into_bytes()),
                "PING" => Answer::Say(b"+PONG\r\n".to_vec()),
                _ => Answer::Say(b"+OK\r\n".to_vec()),
            });
            let line = format!("repl-timeout 1\nreplicaof 127.0.0.1 {}\n", master.port());
            (start_server(kind, &line), master, last)
        });
        for (replica, master, last) in &replicas {
            wait_for("another attempt", secs(20), || {
                let count = master.connections();
                expect_that(count >= 2, || format!("{kind:?}, {last}: {count}"))
            });
            assert_eq!(replica.info("master_link_status").as_deref(), Some("down"));
        }
    });
}

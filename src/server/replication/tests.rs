//! What leaves when: for clients behind the append-only file and the stream, for replicas whose full resync goes on.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;

use super::master::{Feed, FeedState, Introduction};
use super::wait::open_gate;
use crate::clock::Mono;
use crate::front::{Blocked, ClientId, ClientKind, Program};
use crate::ids::ReplOffset;
use crate::server::Server;
use crate::server::testing::{connect, run, server, turn};

/// A client that is fed as a replica, in this state.
fn replica(server: &mut Server, state: FeedState) -> ClientId {
    let id = connect(server);
    let now = server.now().mono;
    let size = server.config.backlog_size();
    server.replication.history.start_recording(size);
    server.replication.replicas.push(id);
    let client = server.front.clients.current(id);
    client.kind = ClientKind::Replica;
    client.session.introduction = Introduction::default();
    client.session.feed = Some(Feed::new(state, now));
    id
}

#[test]
fn who_is_told_of_writes_hears_of_each_when_it_is_durable_though_more_follow() {
    run(async {
        let dir = TempDir::new().unwrap();
        let server = server(&["--appendfsync", "always", "--notify-keyspace-events", "KA"]);
        let (writer, listener) = {
            let server = &mut *server.borrow_mut();
            let file = std::fs::File::create(dir.path().join("file")).unwrap();
            server.aof.writer.switch(Some(file));
            server.hold_prompted();
            let (writer, listener) = (connect(server), connect(server));
            turn(server, listener, &["SUBSCRIBE __keyspace@0__:k"]);
            let output = &mut server.front.clients.current(listener).output;
            output.advance(output.front_to_leave().len());
            assert!(output.is_empty());
            (writer, listener)
        };
        tokio::task::spawn_local(open_gate(Rc::clone(&server)));
        let message = "*3\r\n$7\r\nmessage\r\n$16\r\n__keyspace@0__:k\r\n$3\r\nset\r\n".len();
        // How far the file was after each write, and how many of them the listener has heard of.
        let (mut positions, mut heard) = (Vec::new(), 0);
        let begun = server.borrow().now().mono;
        let mut arrivals = 0;
        // The writes do not pause: at every moment there is one that is not durable.
        while arrivals < 5 {
            {
                let server = &mut *server.borrow_mut();
                let is_late = server.now().mono.since(begun) > Duration::from_secs(20);
                assert!(!is_late, "{arrivals} arrivals, {heard} messages");
                turn(server, writer, &["SET k v"]);
                positions.push(server.aof.writer.appended());
                let output = &mut server.front.clients.current(listener).output;
                assert_eq!(output.len(), message * (positions.len() - heard));
                let leaves = output.front_to_leave().len();
                output.advance(leaves);
                assert_eq!(leaves % message, 0);
                heard += leaves / message;
                arrivals += usize::from(leaves > 0);
                if heard > 0 {
                    assert!(positions[heard - 1] <= server.aof.writer.settled(true));
                }
                assert!(heard < positions.len(), "the last one is not durable");
            }
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn a_reply_stays_behind_a_stream_that_left_within_its_turn() {
    run(async {
        let server = server(&[]);
        let server = &mut *server.borrow_mut();
        replica(server, FeedState::Online);
        let client = connect(server);
        // A change of role takes the stream along.
        turn(server, client, &["SET k v", "REPLICAOF 127.0.0.1 1"]);
        let client = server.front.clients.current(client);
        assert!(client.held.is_some());
        assert_eq!(client.output.front_to_leave(), b"");
        assert!(!client.output.is_empty());
        // A turn without a write holds nothing.
        let other = connect(server);
        turn(server, other, &["GET k"]);
        assert!(server.front.clients.current(other).held.is_none());
    });
}

#[test]
fn a_message_stays_behind_the_write_of_which_it_tells() {
    run(async {
        let server = server(&["--notify-keyspace-events", "KA"]);
        let server = &mut *server.borrow_mut();
        replica(server, FeedState::Online);
        let (writer, listener) = (connect(server), connect(server));
        turn(server, listener, &["SUBSCRIBE __keyspace@0__:k"]);
        turn(server, writer, &["PUBLISH __keyspace@0__:k m"]);
        let output = &mut server.front.clients.current(listener).output;
        assert!(!output.front_to_leave().is_empty());
        output.advance(output.front_to_leave().len());
        turn(server, writer, &["SET k v"]);
        let output = &server.front.clients.current(listener).output;
        assert_eq!(output.front_to_leave(), b"");
        assert!(!output.is_empty());
    });
}

#[test]
fn replicas_are_asked_once_for_all_who_wait() {
    run(async {
        let server = server(&[]);
        tokio::task::spawn_local(open_gate(Rc::clone(&server)));
        tokio::task::yield_now().await;
        let (id, waiting, other) = {
            let server = &mut *server.borrow_mut();
            let id = replica(server, FeedState::Online);
            let waiting: Vec<ClientId> = (0..3).map(|_| connect(server)).collect();
            for client in &waiting {
                turn(server, *client, &["SET k v", "WAIT 1 0"]);
            }
            (id, waiting, connect(server))
        };
        let asked = |server: &mut Server| {
            let output = &mut server.front.clients.current(id).output;
            let mut sent = Vec::new();
            while let n @ 1.. = output.front_to_leave().len() {
                sent.extend_from_slice(output.front_to_leave());
                output.advance(n);
            }
            let sent = String::from_utf8(sent).unwrap();
            sent.matches("GETACK").count()
        };
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        let server = &mut *server.borrow_mut();
        assert_eq!(asked(server), 1);
        // What was asked between turns is not what a turn has sent.
        turn(server, other, &["GET k"]);
        assert!(server.front.clients.current(other).held.is_none());
        // Whoever is told that it need not wait waits no more.
        assert_eq!(server.replication.gate.waiters.len(), waiting.len());
        for id in waiting {
            turn(server, other, &[&format!("CLIENT UNBLOCK {id} ERROR")]);
        }
        assert!(server.replication.gate.waiters.is_empty());
    });
}

#[test]
fn who_waits_for_a_file_that_is_being_saved_is_not_silent() {
    run(async {
        let server = server(&["--repl-timeout", "10"]);
        let server = &mut *server.borrow_mut();
        let now = server.now().mono;
        let id = replica(
            server,
            FeedState::Transferring {
                since: now,
                snapshot: None,
                is_sending_file: false,
                next: None,
            },
        );
        let is_open = |server: &mut Server| {
            // The line that says we are there is still to be written.
            let bytes = Bytes::from_static(b"\n");
            server.front.clients.send(id, bytes, now);
            server.replication_tick(Mono(now.0 + 11_000));
            server.front.clients.get(id).unwrap().is_open()
        };
        assert!(is_open(server));
        let feed = server.feed_mut(id).unwrap();
        if let FeedState::Transferring {
            is_sending_file, ..
        } = &mut feed.state
        {
            *is_sending_file = true;
        }
        assert!(!is_open(server), "it does not take the file");
    });
}

#[test]
fn what_is_retained_counts_for_both_limits() {
    run(async {
        for (limit, is_soft) in [("replica 0 3000 2", true), ("replica 3000 0 0", false)] {
            let mut settings = vec!["--client-output-buffer-limit"];
            settings.extend(limit.split(' '));
            let server = server(&settings);
            let server = &mut *server.borrow_mut();
            // Not what is needed for a whole backlog.
            server.front.clients.limits.replica.hard_bytes = if is_soft { 0 } else { 3000 };
            let next = Some(ReplOffset(1));
            let id = replica(server, FeedState::Unacknowledged { next });
            let writer = connect(server);
            let value = "x".repeat(2000);
            let set = format!("SET k {value}");
            let is_open = |server: &Server| server.front.clients.get(id).unwrap().is_open();
            turn(server, writer, &[&set]);
            assert!(is_open(server), "{limit}");
            turn(server, writer, &[&set]);
            assert_eq!(is_open(server), is_soft, "{limit}");
            if is_soft {
                let now = server.now().mono.0;
                server.replication_tick(Mono(now + 1000));
                assert!(is_open(server));
                server.replication_tick(Mono(now + 2500));
                assert!(!is_open(server));
            }
        }
    });
}

#[test]
fn what_a_replica_waits_for_is_there_for_others_too() {
    run(async {
        let server = server(&["--repl-backlog-size", "16kb"]);
        let server = &mut *server.borrow_mut();
        let next = Some(ReplOffset(1));
        let waiting = [(); 2].map(|()| replica(server, FeedState::Unacknowledged { next }));
        server.keep_stream();
        let writer = connect(server);
        let set = format!("SET k {}", "x".repeat(1000));
        for _ in 0..1000 {
            turn(server, writer, &[&set]);
        }
        let both = server.not_counted_for_eviction();
        assert!((900_000..1_100_000).contains(&both), "{both}");
        let psync = format!("PSYNC {} 1", server.replication.history.repl_id().as_str());
        let third = connect(server);
        turn(server, third, &[&psync]);
        let offset = server.replication.history.offset().0;
        let queued = |server: &mut Server, id| server.front.clients.current(id).output.len() as u64;
        assert!(queued(server, third) > offset, "with the line before");
        for id in waiting {
            assert_eq!(queued(server, id), 0);
            turn(server, writer, &[&set]);
            server.put_online(id);
            let offset = server.replication.history.offset().0;
            assert_eq!(queued(server, id), offset);
        }
        let backlog = server.replication.history.backlog().unwrap();
        assert_eq!(backlog.beyond_max(), 0, "nobody needs more");
    });
}

#[test]
fn replicas_that_come_back_take_no_memory_of_their_own() {
    run(async {
        let server = server(&["--repl-backlog-size", "10mb"]);
        let server = &mut *server.borrow_mut();
        server.replication.history.start_recording(10 << 20);
        let writer = connect(server);
        let value = "x".repeat(1 << 20);
        for _ in 0..8 {
            turn(server, writer, &[&format!("SET k {value}")]);
        }
        let id = server.replication.history.repl_id().clone();
        let before = server.memory_report().replicas;
        let psync = format!("PSYNC {} 1", id.as_str());
        let mut first_blocks = Vec::new();
        for _ in 0..3 {
            let replica = connect(server);
            turn(server, replica, &[&psync]);
            let output = &mut server.front.clients.current(replica).output;
            assert!(output.len() > 8 << 20);
            assert!(output.front().starts_with(b"+CONTINUE"));
            output.advance(output.front().len());
            first_blocks.push(output.front().as_ptr());
        }
        assert_eq!(first_blocks[0], first_blocks[2], "it is shared");
        let small = 1 << 20;
        assert!(server.memory_report().replicas - before < small);
        assert!(server.not_counted_for_eviction() < small);
        // What falls out of the backlog is there for them alone.
        for _ in 0..8 {
            turn(server, writer, &[&format!("SET k {value}")]);
        }
        let both = server.not_counted_for_eviction();
        assert!((13 << 20..16 << 20).contains(&both), "{both}");
    });
}

#[test]
fn what_is_gathered_for_each_replica_counts_for_each() {
    run(async {
        let server = server(&["--repl-backlog-size", "16kb"]);
        let server = &mut *server.borrow_mut();
        let writer = connect(server);
        let replicas = [(); 3].map(|()| replica(server, FeedState::Online));
        let set = format!("SET k {}", "x".repeat(500));
        for _ in 0..100 {
            turn(server, writer, &[&set]);
        }
        for id in replicas {
            let output = &mut server.front.clients.current(id).output;
            assert!(output.len() > 50_000);
            // The kernel takes a little.
            output.advance(1);
        }
        let counted = server.not_counted_for_eviction();
        assert!((150_000..500_000).contains(&counted), "{counted}");
    });
}

#[test]
fn nothing_is_kept_of_a_command_whose_wait_is_over() {
    run(async {
        let server = server(&[]);
        let server = &mut *server.borrow_mut();
        let other = connect(server);
        for (request, end) in [
            ("BLPOP k 100", None),
            ("BLPOP k 100", Some("RPUSH k v")),
            ("BLPOP k 100", Some("CLIENT UNBLOCK id")),
            ("BLPOP k 100", Some("CLIENT UNBLOCK id ERROR")),
            ("WAIT 1 100", None),
            ("WAIT 1 100", Some("CLIENT UNBLOCK id")),
        ] {
            let waits = connect(server);
            turn(server, waits, &[request]);
            let client = server.front.clients.current(waits);
            assert!(client.session.suspended.is_some(), "{request}");
            let Some(Blocked::Waiting { on, .. }) = client.blocked else {
                panic!("{request} does not wait");
            };
            match end {
                None => server.end_wait(on),
                Some(line) => turn(server, other, &[&line.replace("id", &waits.to_string())]),
            }
            let client = server.front.clients.current(waits);
            assert_eq!(client.blocked, None, "{request}, {end:?}");
            assert!(client.session.suspended.is_none(), "{request}, {end:?}");
        }
    });
}

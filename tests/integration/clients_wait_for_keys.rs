//! Clients that wait for a key are served as redis-server 7.0 serves them: in the same order, with the same
//! replies, and replicas are told the same.

use sentinel::resp::Value;

use crate::both::lines_of;
use crate::data::{digest, replica_of, wait_until_equal};
use crate::support::{
    Client, Kind, ServerNode, expect_that, secs, start_server, text, texts, wait_for,
};

/// Waits until so many clients wait.
fn wait_until_blocked(server: &ServerNode, count: usize) {
    wait_for("clients wait", secs(10), || {
        let blocked = server.info("blocked_clients").unwrap_or_default();
        expect_that(blocked == count.to_string(), || blocked)
    });
}

/// A client that has sent this, which makes it the `nth` that waits.
fn waiting(server: &ServerNode, line: &str, nth: usize) -> Client {
    let mut client = server.client();
    client.send(&line.split(' ').collect::<Vec<_>>()).unwrap();
    wait_until_blocked(server, nth);
    client
}

/// What each of the clients that wait gets after a script, how many changes were counted, and what the keys hold then. `BLPOP a 0` and the
/// like in `waits`, in the order of arrival; what is still waiting after the script is unblocked.
fn run(kind: Kind, waits: &str, script: &str) -> Vec<String> {
    let server = start_server(kind, "");
    let mut replica = server.client();
    let offset = crate::stream::begin(&mut replica);
    let mut waiters: Vec<(Client, String)> = Vec::new();
    for line in waits.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let mut client = waiting(&server, line, waiters.len() + 1);
        client.send(&["ECHO", "next"]).unwrap();
        waiters.push((client, line.to_owned()));
    }
    let mut seen = Vec::new();
    let mut client = server.client();
    for words in lines_of(script) {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        seen.push(text(&client.call(&words)));
    }
    seen.push(format!("{:?}", server.info("rdb_changes_since_last_save")));
    client.call(&["SET", "the-end", "1"]);
    let list = text(&client.call(&["CLIENT", "LIST"]));
    for line in list.lines().filter(|line| line.contains(" flags=b ")) {
        let id = line.split(' ').next().unwrap_or_default();
        let id = id.trim_start_matches("id=");
        seen.push(text(&client.call(&["CLIENT", "UNBLOCK", id])));
    }
    for (client, line) in &mut waiters {
        let reply = client.receive().unwrap();
        assert_eq!(text(&client.receive().unwrap()), "next");
        seen.push(format!("{line}: {}", text(&reply)));
    }
    seen.push(digest(&server));
    for words in crate::stream::until(&mut replica, offset, "the-end") {
        seen.push(words.join(" "));
    }
    seen
}

fn check(waits: &str, script: &str) {
    let [theirs, mine] = [Kind::Real, Kind::Ours].map(|kind| run(kind, waits, script));
    assert_eq!(theirs, mine, "waiting: {waits}; then: {script}");
}

#[test]
fn in_order_of_arrival() {
    check(
        "BLPOP a b 0
         BRPOP b a 0
         BLPOP b 100
         BLMPOP 0 2 c a LEFT COUNT 5
         BRPOP nothing 0",
        "RPUSH a 1
         RPUSH b 1 2 3 4
         LPUSH a x y z
         RPUSH c more",
    );
}

#[test]
fn after_the_whole_command_or_transaction() {
    check(
        "BLPOP a b 0
         BRPOP a 0
         BLMPOP 0 1 b RIGHT COUNT 2",
        "MULTI
         RPUSH b 1 2 3
         SET c 1
         LPUSH a 1 2
         RPUSH b 4
         LPUSH a 3
         EXEC",
    );
    check(
        "BLPOP a 0",
        "MULTI
         RPUSH a 1
         DEL a
         EXEC
         MULTI
         RPUSH a 1
         DEL a
         SET a text
         EXEC
         DEL a
         RPUSH a 2 3",
    );
}

#[test]
fn nobody_waits_in_a_transaction() {
    check(
        "",
        "MULTI
         RPUSH a 1 2
         BLPOP a 0
         BLPOP missing 0
         BRPOPLPUSH missing q 0
         BLMOVE missing q LEFT RIGHT 0
         BLMOVE a q left right 0
         BLMPOP 0 1 missing LEFT
         BZPOPMIN missing 0
         BZMPOP 0 1 missing MIN
         EXEC",
    );
}

#[test]
fn moves_go_down_a_chain() {
    check(
        "BLMOVE a b LEFT Right 0
         BLMOVE b c right left 0
         BRPOPLPUSH c d 0
         BLPOP d 0",
        "RPUSH a 1 2 3
         RPUSH a 4",
    );
    check(
        "BLMOVE a text left right 0
         BRPOPLPUSH a a 0
         BLPOP a 0",
        "SET text 1
         RPUSH a 1
         RPUSH a 2",
    );
}

#[test]
fn a_value_of_another_type_is_ignored() {
    check(
        "BLPOP k 0
         BZPOPMIN k 0
         BRPOP k 0
         BZPOPMAX other k 0
         BZMPOP 0 1 k MAX COUNT 3",
        "SET k 1
         DEL k
         ZADD k 1 a
         DEL k
         RPUSH k x
         ZADD k 3 c 4 d
         ZADD k 5 e
         DEL k
         RPUSH k y",
    );
}

#[test]
fn whatever_makes_the_key() {
    check(
        "BLPOP k 0
         BLPOP k l 0
         BLPOP l 0",
        "RPUSH src 1 2
         RENAME src k
         RPUSH src 3
         LMOVE src k LEFT LEFT
         RPUSH src 4 5
         RENAMENX src l",
    );
    check(
        "BZPOPMIN z 0
         BZPOPMAX z 0
         BZMPOP 0 1 z MAX",
        "ZADD y 1 a 2 b 3 c
         ZUNIONSTORE z 1 y
         ZINCRBY z 5 new",
    );
}

#[test]
fn whatever_brings_the_key() {
    check(
        "BLPOP k 0
         BLPOP moved 0
         BLPOP k 0
         BLPOP k 0
         BLPOP sorted 0
         BZPOPMIN z 0
         BLPOP k 0",
        "RPUSH src 1
         COPY src k
         SELECT 1
         RPUSH moved 2
         MOVE moved 0
         RPUSH k 3
         SWAPDB 0 1
         DEL k
         RPUSH k 4
         SWAPDB 1 0
         SELECT 0
         RPUSH src 9 8
         SORT src LIMIT 0 1 STORE sorted
         SELECT 5
         ZADD z 1 a
         COPY z z DB 0
         RESTORE k 0 not-a-dump
         SELECT 0
         RENAME src k",
    );
    // What is restored is as each server dumps it.
    for kind in [Kind::Real, Kind::Ours] {
        let server = start_server(kind, "");
        let mut client = server.client();
        client.call(&["RPUSH", "k", "x"]);
        let Value::Bulk(dump) = client.call(&["DUMP", "k"]) else {
            panic!("no dump")
        };
        client.call(&["DEL", "k"]);
        let mut waiter = waiting(&server, "BLPOP k 0", 1);
        let mut request = Vec::new();
        let words: [&[u8]; 4] = [b"RESTORE", b"k", b"0", &dump];
        sentinel::resp::encode_request(&words, &mut request);
        client.send_raw(&request).unwrap();
        assert_eq!(text(&client.receive().unwrap()), "OK");
        assert_eq!(text(&waiter.receive().unwrap()), "k x", "{kind:?}");
    }
}

#[test]
fn a_wait_ends_in_time() {
    for kind in [Kind::Real, Kind::Ours] {
        let server = start_server(kind, "");
        let mut client = server.client();
        let clock = sentinel::clock::Clock::start();
        let begun = clock.mono();
        assert_eq!(client.call(&["BLPOP", "a", "b", "0.05"]), Value::NullArray);
        let took = clock.mono().since(begun).as_millis();
        assert!((50..2000).contains(&took), "{took} ms");
        assert_eq!(
            client.call(&["BRPOPLPUSH", "a", "b", "0.01"]),
            Value::NullArray
        );
        // Whoever has given up is not served.
        client.call(&["RPUSH", "a", "x"]);
        assert_eq!(text(&client.call(&["LLEN", "a"])), "1");
        wait_until_blocked(&server, 0);
    }
}

#[test]
fn a_wait_is_ended_by_others() {
    for kind in [Kind::Real, Kind::Ours] {
        let server = start_server(kind, "");
        let mut client = server.client();
        let id = |client: &mut Client| text(&client.call(&["CLIENT", "ID"]));
        let mut waiters: Vec<(Client, String)> = (0..4)
            .map(|n| {
                let mut waiter = server.client();
                let id = id(&mut waiter);
                waiter.send(&["BLPOP", "k", "0"]).unwrap();
                wait_until_blocked(&server, n + 1);
                (waiter, id)
            })
            .collect();
        let unblock = |client: &mut Client, id: &str, how: &str| {
            text(&client.call(&["CLIENT", "UNBLOCK", id, how]))
        };
        assert_eq!(unblock(&mut client, &waiters[0].1, "TIMEOUT"), "1");
        assert_eq!(unblock(&mut client, &waiters[0].1, "TIMEOUT"), "0");
        assert_eq!(waiters[0].0.receive().unwrap(), Value::NullArray);
        assert_eq!(unblock(&mut client, &waiters[1].1, "ERROR"), "1");
        assert_eq!(
            text(&waiters[1].0.receive().unwrap()),
            "UNBLOCKED client unblocked via CLIENT UNBLOCK"
        );
        // One goes by itself; the last one is next.
        drop(waiters.remove(2));
        wait_until_blocked(&server, 1);
        client.call(&["RPUSH", "k", "x", "y"]);
        assert_eq!(text(&waiters[2].0.receive().unwrap()), "k x");
        assert_eq!(text(&client.call(&["LLEN", "k"])), "1");
    }
}

#[test]
fn a_new_replica_lets_nobody_wait() {
    for kind in [Kind::Real, Kind::Ours] {
        let server = start_server(kind, "");
        let mut waiter = waiting(&server, "BLPOP k 0", 1);
        server.client().call(&["REPLICAOF", "127.0.0.1", "1"]);
        assert_eq!(
            text(&waiter.receive().unwrap()),
            "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)"
        );
        assert!(waiter.wait_for_close(secs(5)).is_ok(), "{kind:?}");
    }
}

#[test]
fn a_writable_replica_serves_what_its_master_pushes() {
    for kind in [Kind::Real, Kind::Ours] {
        let master = start_server(kind, "");
        let lines = format!("{}replica-read-only no\n", replica_of(&master));
        let replica = start_server(kind, &lines);
        wait_until_equal(&master, &replica);
        let mut waiter = waiting(&replica, "BLPOP k 0", 1);
        master.client().call(&["RPUSH", "k", "x", "y"]);
        assert_eq!(text(&waiter.receive().unwrap()), "k x");
    }
}

#[test]
fn what_was_popped_reaches_the_replicas() {
    for (master, replica) in [(Kind::Ours, Kind::Real), (Kind::Real, Kind::Ours)] {
        let master = start_server(master, "");
        let replica = start_server(replica, &replica_of(&master));
        wait_until_equal(&master, &replica);
        let mut waiters = [
            waiting(&master, "BLPOP a 0", 1),
            waiting(&master, "BLMOVE a b LEFT RIGHT 0", 2),
            waiting(&master, "BZMPOP 0 1 z MIN COUNT 2", 3),
        ];
        let mut client = master.client();
        client.call(&["RPUSH", "a", "1", "2", "3"]);
        client.call(&["ZADD", "z", "1", "x", "2", "y", "3", "z"]);
        for waiter in &mut waiters {
            waiter.receive().unwrap();
            // Its own write counts for its own WAIT.
            assert_eq!(text(&waiter.call(&["WAIT", "1", "5000"])), "1");
        }
        wait_until_equal(&master, &replica);
    }
}

#[test]
fn who_is_served_hears_it_after_the_replicas() {
    let server = start_server(Kind::Ours, "");
    let mut replica = server.client();
    let begun = crate::stream::begin(&mut replica);
    let (mut client, mut waiter) = (server.client(), server.client());
    client.call(&["SET", "begun", "1"]);
    crate::stream::until(&mut replica, begun, "begun");
    for n in 1..=100 {
        waiter.send(&["BLPOP", "k", "0"]).unwrap();
        wait_until_blocked(&server, 1);
        client.send(&["RPUSH", "k", &n.to_string()]).unwrap();
        waiter.receive().unwrap();
        // It is there now, without any waiting for it.
        let stream = crate::stream::already_there(&mut replica);
        let stream = String::from_utf8_lossy(&stream);
        assert!(
            stream.contains("RPUSH") && stream.contains("LPOP"),
            "{stream:?}"
        );
        client.receive().unwrap();
    }
}

#[test]
fn many_wait_for_one_key() {
    const CLIENTS: usize = 200;
    let server = start_server(Kind::Ours, "");
    let mut waiters: Vec<Client> = (0..CLIENTS)
        .map(|_| {
            let mut waiter = server.client();
            // The reply shows that the server knows it; so they come in order.
            waiter.call(&["PING"]);
            waiter.send(&["BRPOP", "k", "k", "0"]).unwrap();
            waiter
        })
        .collect();
    wait_until_blocked(&server, CLIENTS);
    let mut client = server.client();
    let elements: Vec<String> = (0..CLIENTS).map(|n| n.to_string()).collect();
    let mut push = vec!["RPUSH", "k", "left"];
    push.extend(elements.iter().map(String::as_str));
    client.call(&push);
    let mut served: Vec<String> = waiters
        .iter_mut()
        .map(|waiter| text(&waiter.receive().unwrap()))
        .collect();
    served.sort_unstable();
    let mut want: Vec<String> = elements.iter().map(|n| format!("k {n}")).collect();
    want.sort_unstable();
    assert_eq!(served, want);
    assert_eq!(text(&client.call(&["LRANGE", "k", "0", "-1"])), "left");
}

#[test]
fn nothing_is_given_to_a_client_that_has_gone() {
    for kind in [Kind::Real, Kind::Ours] {
        let server = start_server(kind, "");
        let mut gone = waiting(&server, "BLPOP q 0", 1);
        // More than is read at a time: its end is behind all that.
        gone.send_raw(&b"PING\r\n".repeat(40_000)).unwrap();
        drop(gone);
        wait_until_blocked(&server, 0);
        let mut client = server.client();
        assert_eq!(text(&client.call(&["RPUSH", "q", "job"])), "1", "{kind:?}");
        let left = texts(&client.call(&["LRANGE", "q", "0", "-1"]));
        assert_eq!(left, ["job"], "{kind:?}");
    }
}

#[test]
fn nobody_is_served_from_a_key_that_has_expired() {
    for kind in [Kind::Real, Kind::Ours] {
        let server = start_server(kind, "enable-debug-command yes\n");
        let mut waiter = waiting(&server, "BRPOP a 0", 1);
        let mut client = server.client();
        for line in ["MULTI", "LPUSH a late", "PEXPIRE a 20", "DEBUG SLEEP 0.05"] {
            client.call(&line.split(' ').collect::<Vec<_>>());
        }
        client.call(&["EXEC"]);
        client.call(&["LPUSH", "a", "in time"]);
        let reply = waiter.receive().unwrap();
        assert_eq!(texts(&reply), ["a", "in time"], "{kind:?}");
    }
}

/// What has expired when it becomes ready serves nobody, and is removed at once, on replicas too.
#[test]
fn an_expired_key_goes_when_it_is_ready() {
    let streams = [Kind::Real, Kind::Ours].map(|kind| {
        let server = start_server(kind, "");
        let mut client = server.client();
        client.call(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
        let mut replica = server.client();
        let received = crate::stream::begin(&mut replica);
        let _waiter = waiting(&server, "BLPOP k 0", 1);
        for line in [
            "MULTI",
            "RPUSH k v",
            "PEXPIRE k 1",
            "DEBUG SLEEP 0.05",
            "EXEC",
            "SET the-end 1",
        ] {
            client.call(&line.split(' ').collect::<Vec<_>>());
        }
        let mut stream = crate::stream::until(&mut replica, received, "the-end");
        // All but the moment of the expiry.
        stream.iter_mut().for_each(|words| words.truncate(2));
        wait_until_blocked(&server, 1);
        stream
    });
    assert_eq!(streams[0], streams[1]);
}

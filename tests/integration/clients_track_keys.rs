//! What clients that keep copies of keys hear of changes (`CLIENT TRACKING`), and when: as from redis-server.

use crate::data::{replica_of, wait_until_equal};
use crate::support::{Client, Kind, ServerNode, expect_that, secs, start_server, text, wait_for};

/// A redis-server and one of ours.
fn both() -> [ServerNode; 2] {
    [Kind::Real, Kind::Ours].map(|kind| start_server(kind, ""))
}

/// Sends lines in one piece; all that comes, `count` values.
fn hear(client: &mut Client, lines: &[&str], count: usize) -> Vec<String> {
    let bytes = lines.join("\r\n") + "\r\n";
    client.send_raw(bytes.as_bytes()).expect("it is sent");
    let mut next = || text(&client.receive().expect("a value"));
    (0..count).map(|_| next()).collect()
}

#[test]
fn a_change_is_told_though_another_prefix_follows_in_the_same_turn() {
    let [real, ours] = both().map(|server| {
        let mut client = server.client();
        client.call(&["HELLO", "3"]);
        let lines = [
            "CLIENT TRACKING ON BCAST PREFIX a",
            "SET a1 x",
            "CLIENT TRACKING ON BCAST PREFIX b",
        ];
        hear(&mut client, &lines, 4)
    });
    assert_eq!(ours, real);
    assert_eq!(ours[3], "invalidate a1");
}

/// At once, and not when a client of the replica or its cron has its turn.
#[test]
fn a_replica_tells_of_what_its_master_changes() {
    for kind in [Kind::Real, Kind::Ours] {
        let master = start_server(Kind::Real, "");
        let replica = start_server(kind, &replica_of(&master));
        wait_until_equal(&master, &replica);
        let mut listener = replica.client();
        listener.call(&["HELLO", "3"]);
        listener.call(&["CLIENT", "TRACKING", "ON", "BCAST"]);
        if kind == Kind::Ours {
            assert_eq!(listener.ask("DEBUG PAUSE-CRON 1"), "OK");
        }
        master.client().call(&["SET", "k", "v"]);
        let heard = text(&listener.receive().expect("an invalidation"));
        assert_eq!(heard, "invalidate k", "{kind:?}");
    }
}

/// That is before its command runs.
#[test]
fn who_needs_memory_hears_first_what_went_for_it() {
    for server in both() {
        let mut client = server.client();
        client.call(&["HELLO", "3"]);
        client.call(&["CLIENT", "TRACKING", "ON"]);
        let number = |field: &str| {
            let found = server.info(field).unwrap_or_default();
            found.parse::<u64>().expect("a number")
        };
        let used = number("used_memory") - number("mem_not_counted_for_evict");
        client.call(&[
            "CONFIG",
            "SET",
            "maxmemory",
            &(used + (1 << 20)).to_string(),
        ]);
        client.call(&["CONFIG", "SET", "maxmemory-policy", "volatile-random"]);
        client.call(&["SETEX", "short", "10000", "x"]);
        client.call(&["GET", "short"]);
        client.call(&["SETBIT", "large", "16000000", "0"]);
        let heard = hear(&mut client, &["GETBIT large 0"], 2);
        assert_eq!(heard, ["invalidate short", "0"]);
    }
}

#[test]
fn who_waited_hears_of_its_own_change_behind_its_reply() {
    for server in both() {
        let (mut client, mut other) = (server.client(), server.client());
        other.call(&["RPUSH", "to", "a"]);
        client.call(&["HELLO", "3"]);
        client.call(&["CLIENT", "TRACKING", "ON"]);
        client.call(&["LRANGE", "to", "0", "-1"]);
        client
            .send(&["BLMOVE", "from", "to", "LEFT", "LEFT", "0"])
            .unwrap();
        wait_for("it waits", secs(10), || {
            let found = server.info("blocked_clients");
            expect_that(found.as_deref() == Some("1"), || format!("{found:?}"))
        });
        other.call(&["RPUSH", "from", "b"]);
        assert_eq!(
            hear(&mut client, &["PING"], 3),
            ["b", "invalidate to", "PONG"]
        );
    }
}

/// Nor do the clients of others pay for them: see the search in `server/tracking.rs`.
#[test]
fn the_prefixes_of_a_client_have_a_limit_however_many_calls_bring_them() {
    const AT_ONCE: usize = 512;
    let ours = start_server(Kind::Ours, "");
    let mut client = ours.client();
    client.call(&["HELLO", "3"]);
    let mut add = |round: usize, count: usize| {
        let names: Vec<String> = (0..count).map(|n| format!("{round}:{n}:")).collect();
        let mut words = vec!["CLIENT", "TRACKING", "ON", "BCAST"];
        words.extend(names.iter().flat_map(|name| ["PREFIX", name.as_str()]));
        text(&client.call(&words))
    };
    assert_eq!(add(0, AT_ONCE), "OK");
    assert_eq!(add(1, AT_ONCE), "OK");
    let refused = "ERR A client can have at most 1024 prefixes";
    assert_eq!(add(2, 1), refused);
    assert_eq!(
        ours.info("tracking_total_prefixes").as_deref(),
        Some("1024")
    );
    client.call(&["CLIENT", "TRACKING", "OFF"]);
    assert_eq!(ours.info("tracking_total_prefixes").as_deref(), Some("0"));
    let other = hear(
        &mut client,
        &[
            "CLIENT TRACKING ON BCAST PREFIX 1:7: PREFIX 1:8",
            "SET 1:7:x y",
        ],
        3,
    );
    assert_eq!(other[2], "invalidate 1:7:x");
}

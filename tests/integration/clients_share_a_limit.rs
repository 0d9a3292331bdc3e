//! `maxmemory-clients`: who goes when all clients together take too much, and who stays.

use crate::support::{Client, Kind, ServerNode, expect_that, secs, start_server, text, wait_for};

const LIMIT: &str = "10mb";
/// More than that.
const TOO_MUCH: usize = 12 << 20;

fn evicted(server: &ServerNode) -> u64 {
    let count = server.info("evicted_clients");
    count.and_then(|count| count.parse().ok()).unwrap()
}

fn set(server: &ServerNode, name: &str, value: &str) {
    let reply = server.client().call(&["CONFIG", "SET", name, value]);
    assert_eq!(text(&reply), "OK", "{name} {value}");
}

/// A value of so many bytes.
fn large(bytes: usize) -> String {
    "x".repeat(bytes)
}

/// Each way in which a client alone takes too much. What cannot be written any more needs no look.
fn take_too_much(client: &mut Client, way: &str) {
    let piece = large(1 << 20);
    match way {
        "a request that never ends" => {
            let head = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n", 4 * TOO_MUCH);
            let mut sent = client.send_raw(head.as_bytes());
            for _ in 0..TOO_MUCH / piece.len() {
                sent = sent.and_then(|()| client.send_raw(piece.as_bytes()));
            }
            drop(sent);
        }
        "a transaction" => {
            client.call(&["MULTI"]);
            for _ in 0..TOO_MUCH / piece.len() {
                if client.send(&["SET", "k", &piece]).is_err() {
                    break;
                }
            }
        }
        "subscriptions" => {
            let name = large(100_000);
            for n in 0..TOO_MUCH / name.len() {
                if client.send(&["SUBSCRIBE", &format!("{name}{n}")]).is_err() {
                    break;
                }
            }
        }
        "prefixes" => {
            client.call(&["HELLO", "3"]);
            let name = large(100_000);
            for n in 0..TOO_MUCH / name.len() {
                let prefix = format!("{n:03}{name}");
                let words = ["CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", &prefix];
                if client.send(&words).is_err() {
                    break;
                }
            }
        }
        "watched keys" => {
            let name = large(100_000);
            for n in 0..TOO_MUCH / name.len() {
                if client.send(&["WATCH", &format!("{name}{n}")]).is_err() {
                    break;
                }
            }
        }
        "replies that are not read" => {
            for _ in 0..100 {
                if client.send(&["GET", "large"]).is_err() {
                    break;
                }
            }
        }
        _ => unreachable!(),
    }
}

#[test]
fn who_takes_too_much_goes() {
    for kind in [Kind::Real, Kind::Ours] {
        let server = start_server(kind, "");
        let mut bystander = server.client();
        bystander.call(&["SET", "large", &large(1 << 20)]);
        set(&server, "maxmemory-clients", LIMIT);
        let ways = [
            "a request that never ends",
            "a transaction",
            "replies that are not read",
            "subscriptions",
            "prefixes",
            "watched keys",
        ];
        // redis-server does not count the names in the last three.
        let count = if kind == Kind::Real { 3 } else { ways.len() };
        for (at, way) in ways[..count].iter().enumerate() {
            let mut greedy = server.client();
            take_too_much(&mut greedy, way);
            wait_for(way, secs(10), || {
                let count = evicted(&server);
                expect_that(count == at as u64 + 1, || format!("{kind:?}: {count}"))
            });
            greedy.wait_for_close(secs(5)).unwrap();
        }
        assert_eq!(text(&bystander.call(&["PING"])), "PONG", "{kind:?}");
        bystander.call(&["CONFIG", "RESETSTAT"]);
        assert_eq!(evicted(&server), 0, "{kind:?}");
    }
}

#[test]
fn the_words_of_a_command_that_waits_count() {
    for kind in [Kind::Real, Kind::Ours] {
        let server = start_server(kind, "");
        let mut waiting = server.client();
        waiting.send(&["BLPOP", &large(4 << 20), "0"]).unwrap();
        wait_for("it waits", secs(5), || {
            let blocked = server.info("blocked_clients");
            expect_that(blocked.as_deref() == Some("1"), || format!("{kind:?}"))
        });
        set(&server, "maxmemory-clients", "2mb");
        waiting.wait_for_close(secs(5)).unwrap();
        assert_eq!(evicted(&server), 1, "{kind:?}");
    }
}

#[test]
fn the_largest_goes_first_and_who_is_spared_stays() {
    for kind in [Kind::Real, Kind::Ours] {
        let server = start_server(kind, "");
        let fill = |megabytes: usize| {
            let mut client = server.client();
            client.call(&["MULTI"]);
            for _ in 0..megabytes {
                client.call(&["SET", "k", &large(1 << 20)]);
            }
            client
        };
        let (mut small, mut spared, mut largest) = (fill(1), fill(12), fill(5));
        // Inside a transaction it would be queued.
        let mut other = server.client();
        assert_eq!(text(&spared.call(&["DISCARD"])), "OK");
        assert_eq!(text(&spared.call(&["CLIENT", "NO-EVICT", "ON"])), "OK");
        spared.call(&["MULTI"]);
        for _ in 0..6 {
            spared.call(&["SET", "k", &large(1 << 20)]);
        }
        assert_eq!(evicted(&server), 0, "{kind:?}: there is no limit");
        set(&server, "maxmemory-clients", LIMIT);
        wait_for("one is gone", secs(5), || {
            other.call(&["PING"]);
            expect_that(evicted(&server) == 1, || format!("{kind:?}"))
        });
        largest.wait_for_close(secs(5)).unwrap();
        assert_eq!(text(&small.call(&["GET", "k"])), "QUEUED", "{kind:?}");
        // A part of maxmemory: what is spared is too much by itself, so that everybody else goes.
        set(&server, "maxmemory", "100mb");
        let all = ["CONFIG", "SET", "maxmemory-clients", "5%"];
        assert_eq!(text(&server.client().call(&all)), "OK");
        small.wait_for_close(secs(5)).unwrap();
        assert_eq!(text(&spared.call(&["GET", "k"])), "QUEUED", "{kind:?}");
        spared.call(&["DISCARD"]);
        let shown = server
            .client()
            .call(&["CONFIG", "GET", "maxmemory-clients"]);
        assert_eq!(text(&shown), "maxmemory-clients 5%", "{kind:?}");
    }
}

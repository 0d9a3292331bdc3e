//! `LATENCY`: what took long and was no command is kept under the names that redis-server has for it.

use std::time::Duration;

use sentinel::clock::Clock;

use crate::both::elements;
use crate::data::{replica_of, wait_until_equal};
use crate::support::{Kind, ServerNode, expect_that, secs, start_server, text, texts, wait_for};

fn events(server: &ServerNode) -> Vec<String> {
    let reply = server.client().call(&["LATENCY", "LATEST"]);
    let sentinel::resp::Value::Array(events) = reply else {
        panic!("{reply:?}")
    };
    events.iter().map(|event| texts(event)[0].clone()).collect()
}

fn wait_for_event(server: &ServerNode, name: &str) {
    wait_for(name, secs(20), || {
        let found = events(server);
        expect_that(found.iter().any(|event| event == name), || {
            format!("{:?}: {found:?}", server.kind)
        })
    });
}

#[test]
fn the_removal_of_keys() {
    /// Takes longer than a millisecond, and as long as one slice may.
    const KEYS: usize = 30_000;
    let server = start_server(Kind::Ours, "latency-monitor-threshold 1\n");
    let mut client = server.client();
    client.call(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
    for n in 0..KEYS {
        client
            .send(&["SET", &format!("k{n}"), "v", "PX", "1"])
            .unwrap();
    }
    (0..KEYS).for_each(|_| drop(client.receive().unwrap()));
    client.call(&["DEBUG", "SET-ACTIVE-EXPIRE", "1"]);
    wait_for_event(&server, "expire-cycle");
    wait_for("they are gone", secs(20), || {
        let size = text(&client.call(&["DBSIZE"]));
        expect_that(size == "0", || size)
    });
    let took = server.info("expire_cycle_cpu_milliseconds");
    assert_ne!(took.as_deref(), Some("0"));
    let cut_short = server.info("expired_time_cap_reached_count");
    assert_ne!(cut_short.as_deref(), Some("0"));

    for (name, value) in [
        ("maxmemory-policy", "allkeys-random"),
        // As long as it takes.
        ("maxmemory-eviction-tenacity", "100"),
    ] {
        client.call(&["CONFIG", "SET", name, value]);
    }
    let line: Vec<String> = (0..KEYS).map(|n| format!("k{n}")).collect();
    let mut words = vec!["MSET"];
    words.extend(line.iter().flat_map(|key| [key.as_str(), "some value"]));
    client.call(&words);
    client.call(&["CONFIG", "SET", "maxmemory", "1"]);
    wait_for_event(&server, "eviction-cycle");
}

#[test]
fn the_append_only_file() {
    let large = "x".repeat(48 << 20);
    for (policy, wanted) in [
        ("everysec", &["aof-write", "aof-write-alone"][..]),
        (
            "always",
            &["aof-write", "aof-write-alone", "aof-fsync-always"],
        ),
    ] {
        let lines = format!("latency-monitor-threshold 1\nappendonly yes\nappendfsync {policy}\n");
        for kind in [Kind::Real, Kind::Ours] {
            let server = start_server(kind, &lines);
            let client = crate::support::Client::try_to_within(server.port(), secs(60));
            assert_eq!(text(&client.unwrap().call(&["SET", "k", &large])), "OK");
            for event in wanted {
                wait_for_event(&server, event);
            }
        }
    }
}

/// A client's first command at a replica does not begin when its master's last one ended.
#[test]
fn the_time_between_a_stream_and_a_client_is_nobodys() {
    let master = start_server(Kind::Ours, "repl-ping-replica-period 3600\n");
    let lines = "slowlog-log-slower-than 0\n";
    let replica = start_server(Kind::Ours, &format!("{}{lines}", replica_of(&master)));
    let mut client = replica.client();
    master.client().call(&["SET", "k", "v"]);
    wait_until_equal(&master, &replica);
    master.client().call(&["SET", "k", "w"]);
    // The master says when that has been run: nobody else may ask the replica before its client does.
    wait_for("the replica has it", secs(20), || {
        let info = master.client().ask("INFO replication");
        let offset = info
            .lines()
            .find_map(|line| line.strip_prefix("master_repl_offset:"));
        let offset = offset.expect("a master has one");
        expect_that(info.contains(&format!(",offset={offset},")), || {
            info.clone()
        })
    });
    std::thread::sleep(Duration::from_millis(300));
    let clock = Clock::start();
    let asked = clock.mono();
    assert_eq!(client.ask("GET k"), "w");
    let took = clock.mono().since(asked);
    let log = client.call(&["SLOWLOG", "GET", "-1"]);
    let get = elements(&log).iter().map(elements);
    let get = get
        .into_iter()
        .find(|entry| texts(&entry[3]) == ["GET", "k"]);
    let micros = text(&get.expect("all are kept")[2]).parse().unwrap();
    // Whoever asks waits for longer than it takes; his clock counts milliseconds.
    let logged = Duration::from_micros(micros);
    assert!(
        logged < took + Duration::from_millis(2),
        "{logged:?} of {took:?}"
    );
}

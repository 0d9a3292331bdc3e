//! `maxmemory`: what is refused, which keys go under each policy, and that replicas learn of it. `disable-thp`.

use std::time::Duration;

use sentinel::clock::Clock;

use crate::both::side_by_side;
use crate::data::{replica_of, wait_until_equal};
use crate::support::{
    Client, Kind, ServerNode, expect_that, secs, start_server, text, texts, wait_for,
};

/// What `DUMP` gives for the value of the keys that tests fill memory with.
fn payload(client: &mut Client, value: &str) -> Vec<u8> {
    client.call(&["SET", "model", value]);
    let reply = client.call(&["DUMP", "model"]);
    client.call(&["DEL", "model"]);
    if let sentinel::resp::Value::Bulk(bytes) = reply {
        bytes.to_vec()
    } else {
        panic!("{reply:?}")
    }
}

fn number(server: &ServerNode, field: &str) -> u64 {
    server
        .info(field)
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| panic!("{field}"))
}

/// Limits memory to what is in use now and `more` bytes.
fn limit(server: &ServerNode, more: i64) {
    let used = i64::try_from(number(server, "used_memory")).unwrap();
    let limit = (used + more).to_string();
    assert_eq!(
        text(
            &server
                .client()
                .call(&["CONFIG", "SET", "maxmemory", &limit])
        ),
        "OK"
    );
}

/// Large values are freed by a thread that gives way.
fn wait_until_freed(server: &ServerNode) {
    wait_for("what waits is freed", secs(20), || {
        let waiting = number(server, "lazyfree_pending_objects");
        expect_that(waiting == 0, || format!("{waiting} keys wait"))
    });
}

#[test]
fn what_is_refused() {
    let (real, ours) = (start_server(Kind::Real, ""), start_server(Kind::Ours, ""));
    let (mut to_real, mut to_ours) = (real.client(), ours.client());
    for line in REFUSED
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(to_real.call(&words), to_ours.call(&words), "{line}");
    }
}

const REFUSED: &str = "
    CONFIG GET maxmemory
    SET a 1
    CONFIG SET maxmemory 1
    CONFIG GET maxmemory
    SET a 1
    APPEND a x
    COPY a b
    RESTORE x 0 y
    GET a
    EXISTS a
    EXPIRE a 1000
    RENAME a b
    DEL b
    MULTI
    GET a
    DISCARD
    MULTI
    SET a 1
    EXEC
    CONFIG SET maxmemory 0
    MULTI
    SET a 1
    CONFIG SET maxmemory 1
    EXEC
    GET a
    CONFIG SET maxmemory 1
    SET a 1
    MULTI
    PING
    EXEC
    CONFIG SET maxmemory-policy allkeys-lru
    SET a 1
    EXISTS a
    CONFIG SET maxmemory-policy volatile-ttl
    SET a 1
    PING
    CONFIG SET maxmemory 0
    SET a 1
    GET a
    CONFIG SET maxmemory 1kb
    CONFIG GET maxmemory
    CONFIG SET maxmemory x
    CONFIG SET maxmemory -1
    CONFIG SET maxmemory-samples 0
    CONFIG SET maxmemory-eviction-tenacity 101
    CONFIG SET maxmemory-policy nosuch
";

#[test]
fn the_time_above_the_limit_goes_on_in_a_pause() {
    for kind in [Kind::Real, Kind::Ours] {
        let server = start_server(kind, "");
        let mut client = server.client();
        let mut call = |line: &str| text(&client.call(&line.split(' ').collect::<Vec<_>>()));
        // The total has what is not over yet in it, and there was no other time.
        let time = || -> u64 {
            let info = server.client().ask("INFO stats");
            let time = |name: &str| {
                let value = info.lines().find_map(|line| line.strip_prefix(name));
                value.unwrap().parse().unwrap()
            };
            let current = time("current_eviction_exceeded_time:");
            assert_eq!(time("total_eviction_exceeded_time:"), current, "{kind:?}");
            current
        };
        call("CONFIG SET maxmemory 1");
        assert!(call("SET a 1").starts_with("OOM"), "{kind:?}");
        std::thread::sleep(Duration::from_millis(50));
        let before = time();
        assert!(before >= 50, "{kind:?}: {before}");
        call("CLIENT PAUSE 60000 WRITE");
        call("PING");
        std::thread::sleep(Duration::from_millis(50));
        let after = time();
        assert!(after >= before + 50, "{kind:?}: {before}, {after}");
        // What is counted begins anew: it is no more than what has passed since, give or take the millisecond.
        let clock = Clock::start();
        let begun = clock.mono();
        call("CONFIG RESETSTAT");
        let anew = Duration::from_millis(time());
        let passed = clock.mono().since(begun);
        assert!(
            anew <= passed + Duration::from_millis(2),
            "{kind:?}: {anew:?} in {passed:?}"
        );
    }
}

#[test]
fn memory_stays_within_its_limit_under_every_policy() {
    let server = start_server(Kind::Ours, "");
    let mut client = server.client();
    for policy in [
        "allkeys-lru",
        "allkeys-lfu",
        "allkeys-random",
        "volatile-lru",
        "volatile-lfu",
        "volatile-random",
        "volatile-ttl",
    ] {
        client.call(&["FLUSHALL"]);
        client.call(&["CONFIG", "SET", "maxmemory", "0"]);
        client.call(&["CONFIG", "SET", "maxmemory-policy", policy]);
        for n in 0..50 {
            client.call(&["SET", &format!("stays:{n}"), "v"]);
        }
        let before = number(&server, "evicted_keys");
        // What the one before has left goes first: the limit is above what is in use.
        wait_until_freed(&server);
        limit(&server, 400_000);
        let limit = number(&server, "maxmemory");
        for n in 0..1500 {
            let reply = client.call(&["SET", &format!("k{n}"), &"x".repeat(1000), "EX", "10000"]);
            assert_eq!(text(&reply), "OK", "{policy}, key {n}");
        }
        let used = number(&server, "used_memory");
        assert!(used < limit + 50_000, "{policy}: {used} of {limit} bytes");
        let evicted = number(&server, "evicted_keys") - before;
        assert!((1000..1500).contains(&evicted), "{policy}: {evicted}");
        let mut left = 0;
        for n in 0..50 {
            left += i64::from(text(&client.call(&["EXISTS", &format!("stays:{n}")])) == "1");
        }
        if policy.starts_with("volatile") {
            assert_eq!(left, 50, "{policy} takes only keys that expire");
        }
    }
    // Without a key that may go, writes are refused.
    for n in 0..1500 {
        client.call(&["PERSIST", &format!("k{n}")]);
    }
    wait_for("there is nothing left to evict", secs(10), || {
        client.call(&["SET", "more", &"x".repeat(10_000)]);
        let reply = text(&client.call(&["APPEND", "more", &"x".repeat(10_000)]));
        expect_that(reply.contains("OOM command not allowed"), || reply)
    });
    assert_eq!(text(&client.call(&["GET", "stays:1"])), "v");
}

#[test]
fn copies_count_for_what_their_end_gives() {
    const COPIES: u32 = 300;
    let server = start_server(Kind::Ours, "maxmemory-policy allkeys-random");
    let mut client = server.client();
    // However long the search takes, a command finds memory within its limit.
    client.call(&["CONFIG", "SET", "maxmemory-eviction-tenacity", "100"]);
    for kind in ["hash", "list", "string"] {
        client.call(&["CONFIG", "SET", "maxmemory", "0"]);
        client.call(&["FLUSHALL"]);
        let value = "v".repeat(90);
        for first in (0..20_000).step_by(1000) {
            let mut words = Vec::new();
            for n in first..first + 1000 {
                words.extend((kind == "hash").then(|| format!("field{n}")));
                words.push(value.clone());
            }
            let head = match kind {
                "hash" => ["HSET", "base"],
                "list" => ["RPUSH", "base"],
                _ => ["APPEND", "base"],
            };
            if kind == "string" {
                words = vec![words.concat()];
            }
            let words = words.iter().map(String::as_str);
            client.call(&head.into_iter().chain(words).collect::<Vec<_>>());
        }
        for n in 0..COPIES {
            client.call(&["COPY", "base", &format!("copy{n}")]);
        }
        wait_until_freed(&server);
        limit(&server, 500_000);
        let limit = number(&server, "maxmemory");
        assert!(limit < 8_000_000, "{kind}: they share what is in them");
        for n in 0..500 {
            let reply = client.call(&["SET", &format!("k{n}"), &"x".repeat(20_000)]);
            assert_eq!(text(&reply), "OK", "{kind}, key {n}");
            if n % 20 == 0 {
                // What waits counts as free.
                wait_until_freed(&server);
                let used = number(&server, "used_memory");
                assert!(used < limit + limit / 5, "{kind}: {used} of {limit} bytes");
            }
        }
        let kept: u32 = text(&client.call(&["DBSIZE"])).parse().unwrap();
        assert!(kept > 20, "{kind}: {kept} keys are left");
    }
}

/// Restores 600 keys of which the first third is worth keeping by `good`, and the others are not by `bad`; lets
/// about half of them go; and tells how many of the first third and of the others are left.
fn survivors(policy: &str, good: &[&str], bad: &[&str]) -> (usize, usize) {
    let server = start_server(Kind::Ours, "");
    let mut client = server.client();
    client.call(&["CONFIG", "SET", "maxmemory-policy", policy]);
    let payload = payload(&mut client, &"x".repeat(2000));
    // Filled from both ends, so that neither age nor place tells them apart.
    let before = number(&server, "used_memory");
    for n in 0..600 {
        let n = if n % 2 == 0 { n / 2 } else { 599 - n / 2 };
        let options = if n < 200 { good } else { bad };
        let mut request = Vec::new();
        let key = format!("k{n}");
        let mut words: Vec<&[u8]> =
            vec![b"RESTORE", key.as_bytes(), options[0].as_bytes(), &payload];
        words.extend(options[1..].iter().map(|word| word.as_bytes()));
        sentinel::resp::encode_request(&words, &mut request);
        client.send_raw(&request).unwrap();
        assert_eq!(text(&client.receive().unwrap()), "OK");
    }
    let filled = number(&server, "used_memory") - before;
    limit(&server, -i64::try_from(filled / 2).unwrap());
    wait_for("half of the keys are gone", secs(10), || {
        let size = text(&client.call(&["DBSIZE"])).parse::<usize>().unwrap();
        expect_that(size < 320, || format!("{size} keys"))
    });
    let keys = texts(&client.call(&["KEYS", "*"]));
    let numbers = keys.iter().map(|key| key[1..].parse::<usize>().unwrap());
    let (first, others): (Vec<usize>, Vec<usize>) = numbers.partition(|n| *n < 200);
    (first.len(), others.len())
}

#[test]
fn the_right_keys_go() {
    for (policy, good, bad) in [
        (
            "allkeys-lru",
            &["0", "IDLETIME", "5"][..],
            &["0", "IDLETIME", "5000"][..],
        ),
        (
            "volatile-lru",
            &["1000000", "IDLETIME", "5"],
            &["1000000", "IDLETIME", "5000"],
        ),
        ("allkeys-lfu", &["0", "FREQ", "200"], &["0", "FREQ", "20"]),
        (
            "volatile-lfu",
            &["1000000", "FREQ", "200"],
            &["1000000", "FREQ", "20"],
        ),
        ("volatile-ttl", &["2000000000"], &["1000000"]),
    ] {
        let (good, others) = survivors(policy, good, bad);
        assert!(
            good > 190,
            "{policy}: {good} of 200 are left, and {others} others"
        );
        assert!(others < 150, "{policy}: {good} and {others}");
    }
}

#[test]
fn replicas_are_told() {
    let ours = start_server(Kind::Ours, "maxmemory-policy allkeys-random\n");
    let mut listener = ours.client();
    listener.call(&["CONFIG", "SET", "notify-keyspace-events", "Ee"]);
    let real = start_server(Kind::Real, &replica_of(&ours));
    // A limit of its own says nothing to a replica.
    let second = start_server(Kind::Ours, &format!("{}maxmemory 1\n", replica_of(&ours)));
    wait_until_equal(&ours, &real);
    wait_until_equal(&ours, &second);
    listener.call(&["SUBSCRIBE", "__keyevent@0__:evicted"]);
    let mut client = ours.client();
    // The backlog of 1 MiB counts.
    limit(&ours, 2_500_000);
    for n in 0..1500 {
        let reply = client.call(&["SET", &format!("k{n}"), &"x".repeat(1500)]);
        assert_eq!(text(&reply), "OK");
    }
    let evicted = number(&ours, "evicted_keys");
    assert!(evicted > 100, "{evicted} keys are evicted");
    let message = texts(&listener.receive().unwrap());
    assert_eq!(message[..2], ["message", "__keyevent@0__:evicted"]);
    wait_until_equal(&ours, &real);
    wait_until_equal(&ours, &second);
    assert_eq!(number(&second, "evicted_keys"), 0);
}

#[test]
fn files_keep_the_use_of_keys() {
    for (policy, option, value, question) in [
        ("allkeys-lru", "IDLETIME", "77777", "IDLETIME"),
        ("volatile-lfu", "FREQ", "123", "FREQ"),
    ] {
        for (from, to) in [(Kind::Ours, Kind::Real), (Kind::Real, Kind::Ours)] {
            let line = format!("maxmemory-policy {policy}\nlfu-decay-time 0\nmaxmemory 1gb\n");
            let mut saver = start_server(from, &line);
            let mut client = saver.client();
            let payload = payload(&mut client, "some value");
            let mut request = Vec::new();
            let words: [&[u8]; 6] = [
                b"RESTORE",
                b"k",
                b"0",
                &payload,
                option.as_bytes(),
                value.as_bytes(),
            ];
            sentinel::resp::encode_request(&words, &mut request);
            client.send_raw(&request).unwrap();
            assert_eq!(text(&client.receive().unwrap()), "OK");
            assert_eq!(text(&client.call(&["SAVE"])), "OK");
            saver.kill();
            let mut loader = start_server(to, &line);
            loader.kill();
            std::fs::copy(saver.dir().join("dump.rdb"), loader.dir().join("dump.rdb")).unwrap();
            loader.start_again();
            let shown = text(&loader.client().call(&["OBJECT", question, "k"]));
            let (shown, value): (i64, i64) = (shown.parse().unwrap(), value.parse().unwrap());
            assert!(
                (shown - value).abs() < 20,
                "{question} from {from:?}: {shown}"
            );
        }
    }
}

/// redis-server looks at whether the system gives huge pages unasked; our allocator asks for them.
#[test]
fn huge_pages_are_for_those_who_want_them() {
    for (config, enabled) in [("", "0"), ("disable-thp no\n", "1")] {
        let server = start_server(Kind::Ours, config);
        assert_eq!(server.process.status("THP_enabled"), enabled, "{config:?}");
    }
}

/// A replica to which a full resync has begun.
fn replica_that_reads_nothing(server: &ServerNode) -> Client {
    let mut replica = server.client();
    replica.call(&["REPLCONF", "capa", "eof"]);
    replica.send(&["PSYNC", "?", "-1"]).unwrap();
    wait_for("the transfer has begun", secs(20), || {
        let found = server.info("rdb_bgsave_in_progress").unwrap_or_default();
        expect_that(found == "1", || found)
    });
    replica
}

/// What waits for a replica's full resync does not count: evictions would add to it.
#[test]
fn a_replica_that_takes_nothing_costs_no_keys() {
    const KEYS: usize = 5000;
    let server = start_server(Kind::Ours, "maxmemory-policy allkeys-lru\n");
    let mut client = server.client();
    let value = "x".repeat(2000);
    let mut write_all = || {
        for n in 0..KEYS {
            let reply = client.call(&["SET", &format!("k{n}"), &value]);
            assert_eq!(text(&reply), "OK");
        }
    };
    write_all();
    limit(&server, 2_000_000);
    let _replica = replica_that_reads_nothing(&server);
    // Both go to waste if they count: the old values are kept for the snapshot, the new ones for the stream.
    write_all();
    write_all();
    let waiting = number(&server, "mem_not_counted_for_evict");
    assert!(waiting > 10_000_000, "{waiting} bytes");
    let held = number(&server, "mem_clients_slaves");
    assert!(held > 10_000_000, "{held} bytes");
    assert_eq!(number(&server, "evicted_keys"), 0);
}

/// What has changed or gone since a snapshot began is there for the snapshot alone.
#[test]
fn what_a_snapshot_keeps_costs_no_keys() {
    const FIELDS: usize = 40_000;
    const PER_CALL: usize = 500;
    let server = start_server(Kind::Ours, "maxmemory-policy allkeys-lru\n");
    let mut client = server.client();
    let mut fill = |key: &str, value: &str| {
        for first in (0..FIELDS).step_by(PER_CALL) {
            let mut words = vec!["HSET".to_owned(), key.to_owned()];
            for n in first..first + PER_CALL {
                words.extend([format!("field:{n}"), value.to_owned()]);
            }
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            client.call(&words);
        }
    };
    fill("changed", &"x".repeat(50));
    fill("removed", &"x".repeat(50));
    // The backlog counts, and comes with the replica.
    limit(&server, 2_500_000);
    let _replica = replica_that_reads_nothing(&server);
    fill("changed", &"y".repeat(50));
    server.client().call(&["DEL", "removed"]);
    fill("new", &"x".repeat(50));
    assert_eq!(number(&server, "evicted_keys"), 0);
    // One hash as it was, the other still.
    let held = number(&server, "mem_not_counted_for_evict");
    assert!(held > 5_000_000, "{held} bytes");
}

/// What each of two replicas has not read is its own, where it is many small pieces.
#[test]
fn two_replicas_that_read_nothing_cost_no_keys() {
    const KEYS: usize = 50;
    let server = start_server(
        Kind::Ours,
        "maxmemory-policy allkeys-random\nclient-output-buffer-limit replica 100mb 0 0\n",
    );
    let mut replicas = [(); 2].map(|()| start_server(Kind::Ours, &replica_of(&server)));
    let mut client = server.client();
    for n in 0..KEYS {
        client.call(&["SET", &format!("k{n}"), &"x".repeat(100_000)]);
    }
    replicas
        .iter()
        .for_each(|replica| wait_until_equal(&server, replica));
    replicas
        .iter_mut()
        .for_each(|replica| replica.process.stop());
    limit(&server, 3_000_000);
    // More than the kernel takes for both, in pieces that are not queued on their own.
    let piece = "y".repeat(1000);
    for _ in 0..16_000 {
        let reply = client.call(&["SETRANGE", "k0", "0", &piece]);
        assert_eq!(text(&reply), "100000");
    }
    let waiting = number(&server, "mem_not_counted_for_evict");
    assert!(waiting > 4_000_000, "{waiting} bytes");
    assert_eq!(number(&server, "evicted_keys"), 0);
    replicas
        .iter_mut()
        .for_each(|replica| replica.process.resume());
}

/// What waits takes no more memory than is counted for it, however long the pieces are in which it came.
#[test]
fn what_waits_for_a_replica_counts_as_much_as_it_takes() {
    let server = start_server(
        Kind::Ours,
        "repl-backlog-size 16kb\nclient-output-buffer-limit replica 0 0 0\n",
    );
    let mut replica = start_server(Kind::Ours, &replica_of(&server));
    wait_until_equal(&server, &replica);
    replica.process.stop();
    let before = number(&server, "used_memory");
    let mut client = server.client();
    let command = "SETRANGE k0 0 0123456789abcdef\r\n";
    for n in 0..2000 {
        let count = 60 + n % 40;
        client.send_raw(command.repeat(count).as_bytes()).unwrap();
        for _ in 0..count {
            client.receive().unwrap();
        }
    }
    let used = number(&server, "used_memory") - before;
    let waiting = number(&server, "mem_not_counted_for_evict");
    assert!(waiting > 2_000_000, "{waiting} bytes");
    assert!(used < waiting + waiting / 8, "{used} for {waiting} bytes");
    replica.process.resume();
}

/// Waits until a replica is where its master is; what they hold may differ.
fn wait_until_level(master: &ServerNode, replica: &ServerNode) {
    wait_for("the replica is where its master is", secs(20), || {
        let offsets = [master, replica].map(|server| number(server, "master_repl_offset"));
        expect_that(offsets[0] == offsets[1], || format!("{offsets:?}"))
    });
}

/// How many times an append-only file, with its own base, says `DEL`.
fn removals_in_aof(server: &ServerNode) -> usize {
    let files = std::fs::read_dir(server.dir().join("appendonlydir")).unwrap();
    let count = |path: std::path::PathBuf| {
        let bytes = std::fs::read(path).unwrap();
        let words = bytes.split(|byte| *byte == b'\n');
        words.filter(|word| *word == b"DEL\r").count()
    };
    files.map(|file| count(file.unwrap().path())).sum()
}

#[test]
fn a_replica_has_a_limit_of_its_own_when_it_is_told_so() {
    let seen = side_by_side(|kind| {
        let master = start_server(Kind::Real, "repl-ping-replica-period 3600\n");
        let lines = "maxmemory-policy allkeys-random\nappendonly yes\nnotify-keyspace-events Ee\n";
        let server = start_server(kind, &format!("{}{lines}", replica_of(&master)));
        let last = start_server(Kind::Real, &replica_of(&server));
        let mut listener = server.client();
        listener.call(&["SUBSCRIBE", "__keyevent@0__:evicted"]);
        let (mut writer, mut client) = (master.client(), server.client());
        for words in [&["SET", "a", "1"][..], &["RPUSH", "l", "1"]] {
            writer.call(words);
        }
        wait_until_equal(&master, &last);
        let mut seen = vec![client.ask("CONFIG SET maxmemory 1")];
        // By itself it gives up nothing and refuses nothing.
        for line in [
            "SET x 1",
            "CONFIG SET replica-read-only no",
            "SET x 1",
            "DEL x",
            "CONFIG SET replica-read-only yes",
        ] {
            seen.push(client.ask(line));
        }
        writer.call(&["SET", "b", "1"]);
        wait_until_equal(&master, &server);
        seen.push(format!("{} evicted", number(&server, "evicted_keys")));
        seen.push(client.ask("CONFIG SET replica-ignore-maxmemory no"));
        wait_for("all keys are given up", secs(10), || {
            let left = client.ask("DBSIZE");
            expect_that(left == "0", || left)
        });
        seen.push(format!("{} evicted", number(&server, "evicted_keys")));
        let event = texts(&listener.receive().unwrap());
        seen.push(event[..2].join(" "));
        // Nobody else is told, but the file is: it keeps what is there.
        wait_until_equal(&master, &last);
        wait_for("the file tells it", secs(10), || {
            // One of them by the client.
            let removals = removals_in_aof(&server);
            expect_that(removals == 4, || removals.to_string())
        });
        for line in ["SET x 1", "GET x", "CONFIG SET maxmemory 0", "SET x 1"] {
            seen.push(client.ask(line));
        }
        // What the master does with keys that are not here any more is left out.
        for words in [
            &["RENAME", "a", "c"][..],
            &["LSET", "l", "0", "x"],
            &["RENAMENX", "c", "d"],
            &["INCR", "b"],
            &["SET", "new", "1"],
        ] {
            writer.call(words);
        }
        wait_until_level(&master, &server);
        wait_until_equal(&master, &last);
        seen.extend(["EXISTS a c d l", "GET b", "GET new"].map(|line| client.ask(line)));
        let link = server.info("master_link_status");
        seen.push(format!("{link:?} {}", number(&master, "sync_full")));
        seen
    });
    for (theirs, ours) in seen[0].iter().zip(&seen[1]) {
        assert_eq!(theirs, ours);
    }
}

/// However fast its master writes.
#[test]
fn a_replica_stays_within_its_own_limit() {
    const MORE: u64 = 4_000_000;
    let master = start_server(Kind::Ours, "");
    let lines = "maxmemory-policy allkeys-random\nreplica-ignore-maxmemory no\n";
    let mut replica = start_server(Kind::Ours, &format!("{}{lines}", replica_of(&master)));
    wait_until_equal(&master, &replica);
    limit(&replica, i64::try_from(MORE).unwrap());
    let before = number(&replica, "used_memory");
    replica.process.stop();
    let mut client = master.client();
    for n in 0..400 {
        client.call(&["SET", &format!("k{n}"), &"x".repeat(100_000)]);
    }
    replica.process.resume();
    wait_until_level(&master, &replica);
    let peak = number(&replica, "used_memory_peak");
    assert!(peak < before + 2 * MORE, "{peak} after {before}");
    assert!(number(&replica, "evicted_keys") > 300);
    // redis-server refuses such writes of its master's, and goes on with other data than that.
    let mut client = replica.client();
    client.ask("CONFIG SET maxmemory-policy noeviction");
    client.ask("CONFIG SET maxmemory 1");
    let refused = "OOM command not allowed when used memory > 'maxmemory'.";
    assert_eq!(client.ask("SET k v"), refused);
    master.client().call(&["SET", "k", "v"]);
    wait_until_level(&master, &replica);
    assert_eq!(client.ask("GET k"), "v");
}

/// A replica that came after that has no more, and one that restarts knows it again.
#[test]
fn what_a_replica_lacks_is_known_to_its_own_and_after_a_restart() {
    let master = start_server(Kind::Ours, "");
    let lines = "maxmemory-policy allkeys-random\nreplica-ignore-maxmemory no\nsave 900 1\n";
    let mut middle = start_server(Kind::Ours, &format!("{}{lines}", replica_of(&master)));
    let mut writer = master.client();
    for words in [&["SET", "a", "1"][..], &["RPUSH", "l", "1"]] {
        writer.call(words);
    }
    wait_until_equal(&master, &middle);
    let mut client = middle.client();
    client.ask("CONFIG SET maxmemory 1");
    wait_for("all keys are given up", secs(10), || {
        let left = client.ask("DBSIZE");
        expect_that(left == "0", || left)
    });
    client.ask("CONFIG SET maxmemory 0");
    let last = start_server(Kind::Ours, &replica_of(&middle));
    wait_until_equal(&middle, &last);
    writer.call(&["LSET", "l", "0", "x"]);
    writer.call(&["SET", "b", "1"]);
    wait_until_level(&master, &middle);
    wait_until_equal(&middle, &last);
    assert_eq!(client.ask("SAVE"), "OK");
    middle.kill();
    middle.start_again();
    writer.call(&["RENAME", "a", "c"]);
    writer.call(&["SET", "b", "2"]);
    wait_until_level(&master, &middle);
    wait_until_equal(&middle, &last);
    assert_eq!(middle.client().ask("GET b"), "2");
    assert_eq!(number(&master, "sync_full"), 1);
    // As a master it is the measure, and nobody goes on with what it lacks.
    let full = number(&middle, "sync_full");
    assert_eq!(middle.client().ask("REPLICAOF NO ONE"), "OK");
    let line = format!("REPLICAOF 127.0.0.1 {}", middle.port());
    assert_eq!(writer.ask(&line), "OK");
    wait_until_equal(&middle, &master);
    wait_until_equal(&middle, &last);
    assert_eq!(number(&middle, "sync_full"), full + 2);
}

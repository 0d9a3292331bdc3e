//! What redis-server 7.0 and ours count and measure, and the words in which they tell it: calls, errors, changes, slow
//! commands, clients that wait, memory, the fields of `INFO`.

use sentinel::resp::{Value, encode_request};

use crate::both::{elements, pairs, start_both, words_of};
use crate::support::{
    Client, Kind, ServerNode, expect_that, secs, start_server, text, texts, wait_for,
};

#[test]
fn a_flush_with_save_points_is_a_save() {
    const LINES: [&str; 7] = [
        "SAVE",
        "MSET a 1 b 2",
        "FLUSHALL",
        "SET a 1",
        "FLUSHDB",
        "FLUSHALL ASYNC",
        "BGSAVE",
    ];
    let [real, ours] = start_both("save 3600 1\n").map(|server| {
        let mut client = server.client();
        LINES.map(|line| {
            client.call(&words_of(line));
            let info = wait_for("no save runs", secs(5), || {
                let info = text(&client.call(&["INFO", "persistence"]));
                let is_over = info.contains("rdb_bgsave_in_progress:0");
                is_over.then(|| info.clone()).ok_or(info)
            });
            let counted = info.lines().filter(|line| {
                let of = ["rdb_changes", "rdb_saves", "rdb_last_bgsave_status"];
                of.iter().any(|start| line.starts_with(start))
            });
            format!("{line}: {}", counted.collect::<Vec<_>>().join(" "))
        })
    });
    assert_eq!(real, ours);
}

#[test]
fn slow_commands_are_logged_with_the_same_words() {
    let [real, ours] = start_both("slowlog-log-slower-than 0\n").map(|server| {
        let mut client = server.client();
        let many: Vec<String> = (0..40).map(|n| format!("word{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        client.call(&["CLIENT", "SETNAME", "me"]);
        client.call(&[&["DEL"], many.as_slice()].concat());
        client.call(&["SET", "k", &"x".repeat(200)]);
        client.call(&["AUTH", "a", "b"]);
        client.call(&["ACL", "SETUSER", "u", "on", ">p"]);
        client.call(&["CONFIG", "SET", "masterauth", "p", "timeout", "0"]);
        client.call(&["MULTI"]);
        client.call(&["GET", "k"]);
        client.call(&["EXEC"]);
        let Value::Array(entries) = client.call(&["SLOWLOG", "GET", "-1"]) else {
            panic!("no list");
        };
        let shown = entries.iter().map(|entry| {
            let fields = elements(entry);
            (texts(&fields[3]), text(&fields[5]))
        });
        // Before the first, the server was asked whether it is there, by how many clients is not known.
        let of_me = shown.filter(|(_, name)| name == "me");
        of_me.map(|(words, _)| words).collect::<Vec<_>>()
    });
    assert_eq!(real, ours);
}

#[test]
fn the_memory_has_the_same_parts() {
    let [real, ours] = start_both("").map(|server| {
        let mut client = server.client();
        client.call(&["SET", "k", "v"]);
        client.call(&["SELECT", "3"]);
        client.call(&["SET", "k", "v"]);
        let stats = pairs(&client.call(&["MEMORY", "STATS"]));
        let tables = pairs(&stats["db.3"]).into_keys();
        stats.keys().cloned().chain(tables).collect::<Vec<_>>()
    });
    assert_eq!(real, ours);
}

#[test]
fn what_is_no_data_is_the_sum_of_its_parts() {
    let servers = start_both("appendonly yes\nrepl-backlog-size 16kb\n");
    let [master, replica] = &servers;
    let mut client = replica.client();
    client.call(&["REPLICAOF", "127.0.0.1", &master.port().to_string()]);
    for server in [master, replica] {
        wait_for("they are linked", secs(10), || {
            let is_linked = ["connected_slaves", "master_link_status"]
                .map(|field| server.info(field).unwrap_or_default());
            let is_linked = is_linked == ["1", ""] || is_linked[1] == "up";
            expect_that(is_linked, || "no".to_owned())
        });
    }
    let mut writer = master.client();
    for n in 0..3000 {
        writer.call(&["SET", &format!("key:{n}"), "v"]);
    }
    wait_for("the replica has them", secs(10), || {
        let size = text(&client.call(&["DBSIZE"]));
        expect_that(size == "3000", || size)
    });
    for server in [master, replica] {
        let stats = pairs(&server.client().call(&["MEMORY", "STATS"]));
        let number = |value: &Value| text(value).parse::<u64>().expect("a number");
        let parts = [
            "startup.allocated",
            "replication.backlog",
            "clients.slaves",
            "clients.normal",
            "cluster.links",
            "aof.buffer",
            "lua.caches",
            "functions.caches",
        ];
        let parts = parts
            .map(|name| number(&stats[name]))
            .into_iter()
            .sum::<u64>();
        let tables = pairs(&stats["db.0"]).values().map(number).sum::<u64>();
        assert!(tables > 0);
        assert_eq!(number(&stats["overhead.total"]), parts + tables);
    }
}

#[test]
fn changes_are_counted_alike() {
    const LINES: &str = "
        SADD s a b c
        SREM s a b x
        SADD s a b c d e
        SPOP s 2
        SPOP s 9
        HSET h a 1 b 2 c 3
        HDEL h a b x
        RPUSH l 1 2 3 4 5
        LTRIM l 0 2
        LTRIM l 0 -1
        RPOPLPUSH l m
        LMOVE l l LEFT RIGHT
        BLMOVE l m LEFT LEFT 1
        ZADD z 1 a 2 b
        PFADD p a b
        PFADD p a
        BITFIELD b SET u8 0 5 INCRBY u8 8 1
        BITFIELD b SET u8 0 5 INCRBY u8 8 1
        BITFIELD b SET u8 0 5
        BITFIELD b SET u8 32 0 GET u8 0 SET u8 0 5 OVERFLOW FAIL INCRBY u8 8 300
        BITFIELD new INCRBY i1 #100 4294967296 INCRBY u16 0 0
        BITFIELD new INCRBY i1 #100 4294967296 INCRBY u16 0 0
        RENAME b bb
        COPY bb bc
        COPY bb bc REPLACE
        MOVE bb 1
        SET e v PXAT 1
        SETEX e 100 v
        EXPIRE e -1
        SORT m BY nosort STORE n
        SORT nosuch STORE n
        RESTORE r 0 $DUMP
        RESTORE r 0 $DUMP
        RESTORE r 0 $DUMP REPLACE
        RPUSH other 1
        RESTORE other 0 $DUMP REPLACE
        RESTORE rr 0 $DUMP REPLACE
        RESTORE r 100000 $DUMP REPLACE
        RESTORE r 1000 $DUMP REPLACE ABSTTL
        RESTORE r 1000 $DUMP REPLACE ABSTTL
        RESTORE r 1000 $DUMP ABSTTL
        APPEND t x
        SETRANGE t 5 y
        SETBIT t 1 1
        SETBIT t 1 1
        SETBIT t 9999 0
        BITOP NOT u t
        BITOP AND u nosuch
        GETSET t 5
        GETDEL t
        GETDEL t
        INCR c
        DECRBY c 5
        INCRBYFLOAT c 1.5
        INCRBYFLOAT c 1e-5000
        SETNX c 1
        MSETNX c 1 d 1
        MSETNX c1 1 c2 1
        GETEX c EX 100
        GETEX c
        GETEX c PERSIST
        GETEX c PXAT 1
        SET c 1 GET
        SET c 1 NX
        PERSIST c
        PEXPIRE c 100000
        PEXPIRE c 5 GT
        PERSIST c
        EXPIREAT c 1
        TOUCH c1
        UNLINK c1 c2 c3
        LPUSHX nosuch 1
        LPUSHX l 1
        LINSERT l BEFORE 1 0
        LINSERT l BEFORE nosuch 0
        LSET l 0 x
        LREM l 0 x
        LREM l 0 x
        LPOP l 0
        LPOP l 2
        RPOP nosuch
        LMPOP 2 nosuch l LEFT COUNT 2
        RPUSH l 1 2 3
        LMPOP 1 l RIGHT COUNT 9
        BLMPOP 1 1 m LEFT
        SADD s a b c d
        SMOVE s s2 a
        SMOVE s s2 nosuch
        SMOVE s s b
        SUNIONSTORE s3 s s2
        SINTERSTORE s3 s nosuch
        SDIFFSTORE s3 nosuch s
        HSETNX h f 1
        HSETNX h f 1
        HINCRBY h f 1
        HINCRBYFLOAT h f 1
        HMSET h a 1 b 2
        ZADD z 1 a
        ZADD z XX CH 3 a 4 b 5 c
        ZADD z INCR 1 a
        ZADD z NX INCR 1 a
        ZINCRBY z 1 a
        ZREM z a nosuch
        ZADD z 1 a 2 b 3 c 4 d 5 e
        ZREMRANGEBYRANK z 0 1
        ZREMRANGEBYSCORE z 3 3
        ZREMRANGEBYLEX z [d [d
        ZADD z 1 a 2 b 3 c 4 d 5 e
        ZRANGESTORE y z 0 1
        ZRANGESTORE y nosuch 0 1
        ZUNIONSTORE y 2 z z
        ZINTERSTORE y 2 z nosuch
        ZDIFFSTORE y 2 nosuch z
        ZPOPMIN z
        ZPOPMAX z 2
        ZPOPMIN nosuch
        ZMPOP 1 z MIN COUNT 9
        ZADD z 1 a 2 b
        BZPOPMIN z 1
        BZMPOP 1 1 z MAX
        GEOADD g 1 1 a 2 2 b
        GEOADD g 1 1 a
        GEOSEARCHSTORE g2 g FROMMEMBER a BYRADIUS 9 m
        GEOSEARCHSTORE g2 nosuch FROMLONLAT 1 1 BYRADIUS 9 m
        PFADD p2 c
        PFMERGE p p2
        PFMERGE p p2
        RENAMENX p p2
        RENAMENX p p3
        RENAME p3 p3
        COPY p3 p4 DB 1
        MOVE p3 1
        SWAPDB 0 1
        SWAPDB 0 1
        SWAPDB 0 0
        SWAPDB 1 1
        PUBLISH x y
        NOSUCH x
        INCR h
        FLUSHDB
        SET only 1
        GEORADIUS nosuch 1 1 1 m STORE g
        MSET a 1 b 2
        DEL a b x
        DEBUG POPULATE 3 p 10
        FLUSHALL
    ";
    let [real, ours] = start_both("").map(|server| {
        let mut client = server.client();
        let lines = LINES.lines().map(str::trim).filter(|line| !line.is_empty());
        client.call(&["SET", "dumped", "value"]);
        let Value::Bulk(dump) = client.call(&["DUMP", "dumped"]) else {
            panic!("no dump")
        };
        let counted = lines.map(|line| {
            let words = line.split(' ').map(|word| match word {
                "$DUMP" => &dump[..],
                word => word.as_bytes(),
            });
            let mut request = Vec::new();
            encode_request(&words.collect::<Vec<_>>(), &mut request);
            client.send_raw(&request).unwrap();
            client.receive().unwrap();
            let info = text(&client.call(&["INFO", "persistence"]));
            let changes = info.lines().find(|line| line.starts_with("rdb_changes"));
            format!("{line}: {}", changes.unwrap_or_default())
        });
        counted.collect::<Vec<_>>()
    });
    assert_eq!(real, ours);
}

fn section_fields(server: &ServerNode, sections: &[&str]) -> Vec<String> {
    let mut words = vec!["INFO"];
    words.extend_from_slice(sections);
    let info = text(&server.client().call(&words));
    info.lines()
        .map(|line| line.split(':').next().unwrap_or_default().to_owned())
        // What was called, and what was refused while it still loaded.
        .filter(|name| {
            let counted = ["cmdstat_", "latency_percentiles", "errorstat_"];
            !counted.iter().any(|start| name.starts_with(start))
        })
        .collect()
}

#[test]
fn info_has_the_same_fields_in_the_same_order() {
    let servers = start_both("");
    for sections in [
        &[][..],
        &["all"],
        &["everything"],
        &["default", "commandstats"],
        &["latencystats"],
        &["modules"],
    ] {
        let [real, ours] = servers
            .each_ref()
            .map(|server| section_fields(server, sections));
        let ours: Vec<String> = ours
            .into_iter()
            .filter(|name| name != "sentinel_version")
            .collect();
        assert_eq!(real, ours, "{sections:?}");
    }
}

#[test]
fn calls_and_errors_are_counted_alike() {
    let [real, ours] = start_both("").map(|server| {
        let mut client = server.client();
        client.call(&["CONFIG", "RESETSTAT"]);
        for line in [
            "SET k v",
            "INCR k",
            "GET",
            "NOSUCH",
            "MULTI",
            "INCR k",
            "GET k",
            "EXEC",
            "MULTI",
            "GET",
            "EXEC",
            "SELECT 99",
        ] {
            client.call(&line.split(' ').collect::<Vec<_>>());
        }
        for request in ["*1\r\n$a\r\n", "*a\r\n", "SET a \"b\r\n"] {
            let mut other = server.client();
            other.send_raw(request.as_bytes()).unwrap();
            assert!(other.receive().unwrap().is_error(), "{request:?}");
        }
        let info = text(&client.call(&["INFO", "commandstats", "errorstats"]));
        let mut lines: Vec<String> = info
            .lines()
            .filter(|line| line.starts_with("cmdstat_") || line.starts_with("errorstat_"))
            .map(|line| {
                let is_time = |field: &&str| field.starts_with("usec");
                let fields = line.split(',').filter(|field| !is_time(field));
                fields.collect::<Vec<_>>().join(",")
            })
            .collect();
        lines.sort();
        let stats = text(&client.call(&["INFO", "stats"]));
        let totals = stats.lines().filter(|line| {
            let of = ["total_error_replies", "total_commands_processed"];
            of.iter().any(|start| line.starts_with(start))
        });
        lines.extend(totals.map(str::to_owned));
        lines
    });
    assert_eq!(real, ours);
}

/// A client that has sent this and waits.
fn blocked(server: &ServerNode, line: &str) -> Client {
    let mut client = server.client();
    client.call(&["CLIENT", "SETNAME", "waits"]);
    let before = server.info("blocked_clients");
    client.send(&words_of(line)).expect("sent");
    wait_for("it waits", secs(5), || {
        let now = server.info("blocked_clients");
        expect_that(now != before, || format!("{now:?}"))
    });
    client
}

/// What has been noted about commands since the last time, without times.
fn noted(client: &mut Client, commands: &[&str]) -> Vec<String> {
    let info = text(&client.call(&["INFO", "everything"]));
    let mut lines: Vec<String> = info
        .lines()
        .filter(|line| {
            let is_of = |name: &&str| line.starts_with(&format!("cmdstat_{name}:"));
            let totals = ["errorstat_", "total_error_replies", "blocked_clients"];
            commands.iter().any(is_of) || totals.iter().any(|start| line.starts_with(start))
        })
        .map(|line| {
            let is_time = |field: &&str| field.starts_with("usec");
            let fields = line.split(',').filter(|field| !is_time(field));
            fields.collect::<Vec<_>>().join(",")
        })
        .collect();
    lines.sort();
    for command in commands {
        let histogram = client.call(&["LATENCY", "HISTOGRAM", command]);
        let calls = elements(&histogram).get(1).map(|of| text(&elements(of)[1]));
        lines.push(format!("histogram of {command}: {calls:?}"));
    }
    let slow = client.call(&["SLOWLOG", "GET", "-1"]);
    let slow = elements(&slow).iter().map(elements);
    let mut slow: Vec<String> = slow
        .filter(|fields| text(&fields[5]) == "waits")
        // It is said of who was unblocked that it was slow, but redis-server has lost its words by then.
        .map(|fields| match texts(&fields[3]) {
            words if words.is_empty() => "one that was unblocked".to_owned(),
            words => words.join(" "),
        })
        .collect();
    slow.retain(|words| !words.starts_with("CLIENT"));
    lines.extend(slow);
    client.call(&["CONFIG", "RESETSTAT"]);
    client.call(&["SLOWLOG", "RESET"]);
    client.call(&["FLUSHALL"]);
    lines
}

#[test]
fn a_blocking_command_is_noted_when_it_goes_on() {
    const COMMANDS: [&str; 6] = [
        "blpop",
        "blmove",
        "wait",
        "client|unblock",
        "replicaof",
        "config|resetstat",
    ];
    let [real, ours] = start_both("slowlog-log-slower-than 0\n").map(|server| {
        let mut client = server.client();
        noted(&mut client, &COMMANDS);
        let mut seen = Vec::new();
        let mut see = |client: &mut Client, what: &str| {
            seen.push((what.to_owned(), noted(client, &COMMANDS)));
        };
        for (wait, then) in [
            ("BLPOP l 0", "LPUSH l 1"),
            ("BLMOVE l to LEFT LEFT 0", "MSET to 1 m 2; LPUSH l 1"),
            ("BLPOP l 0", "CLIENT UNBLOCK id"),
            ("BLPOP l 0", "CLIENT UNBLOCK id ERROR"),
            ("WAIT 1 0", "CLIENT UNBLOCK id ERROR"),
            ("BLPOP l 0.5", ""),
            ("WAIT 1 500", ""),
            ("BLPOP l 0", "REPLICAOF 127.0.0.1 1; REPLICAOF NO ONE"),
        ] {
            let mut waits = blocked(&server, wait);
            if !then.is_empty() {
                let line = text(&client.call(&["CLIENT", "LIST"]));
                let line = line.lines().find(|line| line.contains("name=waits"));
                let id = line.and_then(|line| line.split(' ').next()).expect("an id");
                for line in then.replace(" id", &id.replace("id=", " ")).split("; ") {
                    client.call(&words_of(line));
                }
            }
            let reply = waits.receive().expect("a reply");
            see(&mut client, &format!("{wait} | {then}: {}", text(&reply)));
            drop(waits);
            wait_for("it is gone", secs(5), || {
                let list = text(&client.call(&["CLIENT", "LIST"]));
                expect_that(!list.contains("name=waits"), || list.clone())
            });
        }
        // Who waits for the end of a pause is blocked as well.
        client.call(&["CLIENT", "PAUSE", "100000", "WRITE"]);
        let mut waits = blocked(&server, "SET k 1");
        let line = text(&client.call(&["CLIENT", "LIST"]));
        let line = line.lines().find(|line| line.contains("name=waits"));
        assert!(
            line.is_some_and(|line| line.contains(" flags=b ")),
            "{line:?}"
        );
        client.call(&["CLIENT", "UNPAUSE"]);
        waits.receive().expect("a reply");
        see(&mut client, "a pause");
        seen
    });
    assert_eq!(real.len(), 9);
    for (real, mut ours) in real.into_iter().zip(ours) {
        let is_unblocked =
            |line: &mut String| line.starts_with("BLPOP") || line.starts_with("WAIT");
        if real.0.contains("UNBLOCK id") {
            for line in ours
                .1
                .iter_mut()
                .filter_map(|line| is_unblocked(line).then_some(line))
            {
                *line = "one that was unblocked".to_owned();
            }
        }
        assert_eq!(real, ours);
    }
}

#[test]
fn look_ups_are_counted_alike() {
    const LINES: &[&str] = &[
        "MSET a 1 b 2",
        "RPUSH l 1",
        "SCAN 0 TYPE string",
        "SCAN 0 TYPE list MATCH a*",
        "SCAN 0 MATCH l*",
        "DEBUG SET-ACTIVE-EXPIRE 0",
        "PEXPIRE b 1",
        "DEBUG SLEEP 0.01",
        "SCAN 0 TYPE string",
        "SADD s 1 2 3",
        "SPOP s 2",
        "SPOP s 9",
        "SADD s 1",
        "SPOP s",
        "SPOP s 1",
    ];
    let [real, ours] = start_both("").map(|server| {
        let mut client = server.client();
        LINES
            .iter()
            .map(|line| {
                client.call(&words_of(line));
                let counts =
                    ["keyspace_hits", "keyspace_misses", "expired_keys"].map(|of| server.info(of));
                format!("{line}: {counts:?}")
            })
            .collect::<Vec<_>>()
    });
    assert_eq!(real, ours);
}

#[test]
fn a_client_whose_watch_is_lost_is_marked() {
    let [real, ours] = start_both("").map(|server| {
        let mut client = server.client();
        ["WATCH k", "SET k v", "MULTI", "EXEC"].map(|line| {
            client.call(&words_of(line));
            let list = text(&server.client().call(&["CLIENT", "LIST"]));
            let fields = list.lines().next().map(|line| line.split(' '));
            let flags = fields.and_then(|mut all| all.find(|field| field.starts_with("flags=")));
            format!("{line}: {flags:?}")
        })
    });
    assert_eq!(real, ours);
}

#[test]
fn clients_and_times_to_live_are_counted() {
    let server = start_server(Kind::Ours, "hz 20\n");
    let mut client = server.client();
    client.call(&["SET", "k", "v", "PX", "100000"]);
    let others = [
        &["BLPOP", "a", "100"][..],
        &["BLPOP", "a", "0"],
        &["PSYNC", "?", "-1"],
    ];
    let others = others.map(|words| {
        let mut other = server.client();
        other.send(words).expect("sent");
        other
    });
    wait_for("the others are counted", secs(5), || {
        let info = text(&client.call(&["INFO"]));
        // A replica is no client.
        let wanted = [
            "connected_clients:3",
            "connected_slaves:1",
            "blocked_clients:2",
            "clients_in_timeout_table:1",
            "configured_hz:20",
        ];
        let is_missing = |line: &&&str| !info.contains(&format!("{line}\r\n"));
        let missing: Vec<_> = wanted.iter().filter(is_missing).collect();
        expect_that(missing.is_empty(), || format!("{missing:?}: {info}"))
    });
    drop(others);
    let ttl = server.info("db0").unwrap_or_default();
    let ttl: u64 = ttl
        .rsplit('=')
        .next()
        .and_then(|ttl| ttl.parse().ok())
        .expect("avg_ttl");
    assert!((90_000..=100_000).contains(&ttl), "{ttl}");
}

#[test]
fn used_memory_follows_the_data() {
    let server = start_server(Kind::Ours, "");
    let number = |name: &str| {
        let shown = server.info(name).unwrap_or_default();
        shown
            .parse::<u64>()
            .unwrap_or_else(|_| panic!("{name}: {shown:?}"))
    };
    let before = number("used_memory");
    let mut client = server.client();
    const BYTES: usize = 32 << 20;
    assert_eq!(text(&client.call(&["SET", "k", "x"])), "OK");
    client.call(&["SETRANGE", "k", &(BYTES - 1).to_string(), "x"]);
    let full = number("used_memory");
    assert!(
        (full - before).abs_diff(BYTES as u64) < 1 << 20,
        "{before} {full}"
    );
    client.call(&["DEL", "k"]);
    wait_for("another thread has freed it", secs(10), || {
        let after = number("used_memory");
        expect_that(after.abs_diff(before) < 1 << 20, || {
            format!("{before} {after}")
        })
    });
    assert!(number("used_memory_peak") >= full);
}

//! What administrators and clients ask about the server itself, to redis-server 7.0 and to ours: the command
//! table, settings, clients, users, subscriptions, invalidations, what is watched and measured.

use std::collections::BTreeMap;
use std::time::Duration;

use sentinel::resp::{Value, encode_request};

use crate::support::{
    Client, Kind, ServerNode, expect_that, secs, start_server, text, texts, wait_for,
};

/// How long a message may take to come, or is waited for in vain.
const PATIENCE: Duration = Duration::from_millis(500);

fn both(lines: &str) -> [ServerNode; 2] {
    [Kind::Real, Kind::Ours].map(|kind| start_server(kind, lines))
}

/// Runs a script against both: each line is the letter of a connection, a colon, and a command; `READ` stands
/// for the next message, or for none. What both answer must be the same.
fn compare(script: &str) {
    compare_with("", script);
}

/// The same with these lines of configuration.
fn compare_with(lines: &str, script: &str) {
    let servers = both(lines);
    let mut clients: BTreeMap<char, [Client; 2]> = BTreeMap::new();
    let mut differences = Vec::new();
    for line in script
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        let name = line.chars().next().expect("a letter");
        let words: Vec<String> = line[2..]
            .split_whitespace()
            .map(|word| word.trim_matches('"').to_owned())
            .collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let pair = clients.entry(name).or_insert_with(|| {
            [0, 1].map(|at| Client::try_to_within(servers[at].port(), PATIENCE).expect("connect"))
        });
        let [real, ours] = pair.each_mut().map(|client| {
            if words == ["READ"] {
                client.receive().map_err(|error| error.kind())
            } else {
                client.try_call(&words).map_err(|error| error.kind())
            }
        });
        let same = match (&real, &ours) {
            // What comes in no order, and the number of the connection.
            (Ok(real), Ok(ours)) if UNORDERED.iter().any(|start| line.contains(start)) => {
                sorted(real) == sorted(ours)
            }
            (Ok(real), Ok(ours)) if words[0] == "ACL" => {
                // The rules of a user name single commands in no order.
                let sorted = |value: &Value| {
                    let shown = text(value);
                    let mut words: Vec<String> = shown.split(' ').map(str::to_owned).collect();
                    words.sort();
                    words
                };
                sorted(real) == sorted(ours)
            }
            (Ok(real), Ok(ours)) if words[0] == "HELLO" => real.is_error() == ours.is_error(),
            _ => real == ours,
        };
        if !same {
            differences.push(format!("{line}: {real:?} and ours {ours:?}"));
        }
    }
    assert!(differences.is_empty(), "{differences:#?}");
}

/// Commands whose replies come in no order.
const UNORDERED: [&str; 2] = ["CONFIG GET", "PUBSUB SHARDCHANNELS"];

/// The elements of an array.
fn elements(value: &Value) -> &[Value] {
    let Value::Array(items) = value else {
        panic!("not an array: {value:?}");
    };
    items
}

/// The entries of `COMMAND` or of `COMMAND DOCS`, by name.
fn by_name(value: &Value) -> BTreeMap<String, Vec<Value>> {
    let Value::Array(items) = value else {
        panic!("{value:?}");
    };
    items
        .iter()
        .map(|entry| {
            let fields = elements(entry);
            (text(&fields[0]), fields.to_vec())
        })
        .collect()
}

/// A list as a set: flags, categories and tips come in no order.
fn sorted(value: &Value) -> Vec<String> {
    let mut words = texts(value);
    words.sort();
    words
}

fn compare_entries(
    real: &BTreeMap<String, Vec<Value>>,
    ours: &BTreeMap<String, Vec<Value>>,
) -> Vec<String> {
    /// Commands of later versions that clients of today send.
    const ONLY_OURS: [&str; 1] = ["client|setinfo"];
    let mut differences = Vec::new();
    for (name, ours) in ours {
        if ONLY_OURS.contains(&name.as_str()) {
            continue;
        }
        let Some(real) = real.get(name) else {
            differences.push(format!("{name} is not a command of 7.0"));
            continue;
        };
        for (at, (theirs, mine)) in real.iter().zip(ours).take(9).enumerate() {
            // Flags, categories and tips are sets; all else is compared as it is.
            let same = if matches!(at, 2 | 6 | 7) {
                sorted(theirs) == sorted(mine)
            } else {
                theirs == mine
            };
            if !same {
                differences.push(format!(
                    "{name}, field {at}: {} and ours {}",
                    text(theirs),
                    text(mine)
                ));
            }
        }
        let (theirs, mine) = (by_name(&real[9]), by_name(&ours[9]));
        let missing = theirs.keys().filter(|sub| !mine.contains_key(*sub));
        differences.extend(missing.map(|sub| format!("{sub} is missing")));
        differences.extend(compare_entries(&theirs, &mine));
    }
    differences
}

#[test]
fn the_command_table() {
    let [real, ours] = both("").map(|server| by_name(&server.client().call(&["COMMAND"])));
    assert!(ours.len() > 70, "{} commands", ours.len());
    let differences = compare_entries(&real, &ours);
    assert!(differences.is_empty(), "{differences:#?}");
    // What is not here may be taken away, renamed, allowed and denied by a configuration all the same.
    let missing = real.keys().filter(|name| !ours.contains_key(*name));
    let missing: Vec<&String> = missing.collect();
    assert!(missing.len() > 20, "{missing:?}");
    let mut lines = String::from("user u on nopass +@all");
    for name in &missing {
        lines.push_str(&format!(" -{name} +{name}"));
    }
    for (at, name) in missing.iter().enumerate() {
        let new = if at % 2 == 0 {
            "\"\"".to_owned()
        } else {
            format!("other{at}")
        };
        lines.push_str(&format!("\nrename-command {name} {new}"));
    }
    let server = start_server(
        Kind::Ours,
        &format!("{lines}\nuser v on nopass +@all -eval\n"),
    );
    let mut client = server.client();
    let users = texts(&client.call(&["ACL", "LIST"]));
    let of_v = users.iter().find(|line| line.starts_with("user v "));
    assert!(
        of_v.is_some_and(|line| line.ends_with(" +@all -eval")),
        "{users:?}"
    );
    let told = server.process.log();
    let told: Vec<&str> = told
        .lines()
        .filter(|line| line.contains("without effect"))
        .collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("rename-command eval"), "{told:?}");
}

/// Names and values of a flat map.
fn pairs(value: &Value) -> BTreeMap<String, Value> {
    let Value::Array(items) = value else {
        panic!("{value:?}");
    };
    items
        .chunks_exact(2)
        .map(|pair| (text(&pair[0]), pair[1].clone()))
        .collect()
}

#[test]
fn the_documentation_of_commands() {
    let [real, ours] =
        both("").map(|server| pairs(&server.client().call_large(&["COMMAND", "DOCS"])));
    let mut compared = 0;
    for (name, mine) in &ours {
        let (theirs, mut mine) = (pairs(&real[name]), pairs(mine));
        let mut theirs = theirs;
        let subs = [&mut theirs, &mut mine].map(|docs| docs.remove("subcommands"));
        assert_eq!(theirs, mine, "{name}");
        compared += 1;
        if let [Some(theirs), Some(mine)] = subs {
            let (theirs, mut mine) = (pairs(&theirs), pairs(&mine));
            mine.remove("client|setinfo");
            assert_eq!(theirs, mine, "subcommands of {name}");
        }
    }
    assert!(compared > 70, "{compared} commands");
}

#[test]
fn settings_and_their_defaults() {
    const ONLY_OURS: [&str; 6] = [
        "http-bind",
        "http-port",
        "http-tls",
        "http-token-file",
        "log-format",
        "state-file",
    ];
    /// Of these each process has its own.
    const DIFFERENT: [&str; 2] = ["dir", "port"];
    let [real, ours] = both("").map(|server| pairs(&server.client().call(&["CONFIG", "GET", "*"])));
    for (name, theirs) in &real {
        let name = name.as_str();
        if DIFFERENT.contains(&name) {
            continue;
        }
        let mine = ours
            .get(name)
            .unwrap_or_else(|| panic!("{name} is missing"));
        assert_eq!(text(theirs), text(mine), "{name}");
    }
    let more = ours.keys().filter(|name| !real.contains_key(*name));
    let more: Vec<&str> = more.map(String::as_str).collect();
    assert_eq!(more, ONLY_OURS);
}

#[test]
fn settings_and_their_errors() {
    compare(include_str!("scripts/settings.txt"));
}

#[test]
fn clients_and_what_they_track() {
    compare(include_str!("scripts/clients.txt"));
}

#[test]
fn users_and_their_rights() {
    compare(include_str!("scripts/users.txt"));
}

#[test]
fn events_of_keys_and_shard_channels() {
    compare(include_str!("scripts/events.txt"));
}

#[test]
fn what_is_measured_and_debugged() {
    compare(include_str!("scripts/measures.txt"));
}

/// What `MONITOR` shows, without the time and the port of the client.
fn monitored(server: &ServerNode) -> Vec<String> {
    let mut monitor = server.client();
    assert_eq!(text(&monitor.call(&["MONITOR"])), "OK");
    let mut client = server.client();
    for line in [
        "SET k \"quoted\"",
        "AUTH default secret",
        "SELECT 3",
        "GET k",
        "CONFIG GET port",
        "MULTI",
        "INCR n",
        "PING",
        "EXEC",
        "NOSUCH a",
        "GET",
        "HELLO 2 AUTH default x",
        "SET tab\t\u{1}\\ \u{e9}",
    ] {
        client.call(&line.split(' ').collect::<Vec<_>>());
    }
    client.call(&["ECHO", "the-end"]);
    let mut shown = Vec::new();
    loop {
        let line = text(&monitor.receive().expect("a line of MONITOR"));
        let (head, words) = line.split_once("] ").expect("an address");
        let (time, from) = head.split_once(" [").expect("a time");
        assert!(time.len() == 17 && time.as_bytes()[10] == b'.', "{line}");
        let (db, addr) = from.split_once(' ').expect("a database");
        assert!(addr.starts_with("127.0.0.1:"), "{line}");
        shown.push(format!("{db} {words}"));
        if words.contains("the-end") {
            return shown;
        }
    }
}

#[test]
fn a_renamed_command_is_described_by_its_new_name() {
    let lines = "rename-command get fetch\nrename-command del \"\"\nrename-command client kl\n";
    compare_with(lines, include_str!("scripts/renamed.txt"));
}

/// What a client hears that leaves out replies from this on, until it is told that it is the end.
fn heard_without_replies(
    server: &ServerNode,
    protocol: &str,
    mode: &str,
    lines: &str,
) -> Vec<Value> {
    let (mut client, mut other) = (server.client(), server.client());
    client.call(&["HELLO", protocol]);
    client.send(&["CLIENT", "REPLY", mode]).expect("sent");
    for line in lines.split("; ") {
        client.send(&words_of(line)).expect("sent");
    }
    // A client with subscriptions may say nothing else with RESP2.
    for line in [
        "UNSUBSCRIBE a b x z ch",
        "PUNSUBSCRIBE",
        "SUNSUBSCRIBE",
        "CLIENT REPLY ON",
    ] {
        client.send(&words_of(line)).expect("sent");
    }
    client.send(&["ECHO", "ready"]).expect("sent");
    let mut heard = Vec::new();
    loop {
        let value = client.receive().expect("a value");
        if text(&value).ends_with("ready") {
            break;
        }
        heard.push(value);
    }
    other.call(&["PING"]);
    heard
}

#[test]
fn confirmations_of_subscriptions_are_not_left_out() {
    let servers = both("");
    for protocol in ["2", "3"] {
        for mode in ["OFF", "SKIP"] {
            for lines in [
                "SUBSCRIBE a b; PING",
                "PSUBSCRIBE p*; SSUBSCRIBE sh; PING",
                "PING; SUBSCRIBE z; PING",
                "UNSUBSCRIBE zz; PING",
                "MULTI; SUBSCRIBE x; PING; EXEC; PING",
                "NOSUCH; PING",
                "RESET; PING",
                "SUBSCRIBE ch; RESET; PING",
                "DEBUG PROTOCOL push; PING",
            ] {
                let [real, ours] = servers
                    .each_ref()
                    .map(|server| heard_without_replies(server, protocol, mode, lines));
                assert_eq!(real, ours, "RESP{protocol}, {mode}: {lines}");
            }
        }
    }
}

#[test]
fn a_monitor_without_replies_is_shown_nothing() {
    let [real, ours] = both("").map(|server| {
        let (mut monitor, mut client) = (server.client(), server.client());
        monitor.send(&["CLIENT", "REPLY", "OFF"]).expect("sent");
        monitor.send(&["MONITOR"]).expect("sent");
        wait_for("it is a monitor", secs(5), || {
            let list = text(&client.call(&["CLIENT", "LIST"]));
            expect_that(list.contains(" flags=O "), || list.clone())
        });
        client.call(&["ECHO", "unseen"]);
        monitor.send(&["CLIENT", "REPLY", "ON"]).expect("sent");
        let reply = text(&monitor.receive().expect("a reply"));
        client.call(&["ECHO", "seen"]);
        let mut shown = vec![reply];
        while !shown.last().is_some_and(|line| line.contains("ECHO")) {
            let line = text(&monitor.receive().expect("a line"));
            shown.push(line.split("] ").last().unwrap_or_default().to_owned());
        }
        shown
    });
    assert_eq!(real, ours);
}

#[test]
fn the_last_command_of_a_client_is_shown() {
    const LINES: [&str; 12] = [
        "PING",
        "NOSUCH",
        "GET",
        "CLIENT NOSUCH",
        "CLIENT",
        "CLIENT ID x",
        "MULTI",
        "NOSUCH",
        "GET k",
        "EXEC",
        "SELECT 99",
        "CONFIG SET a",
    ];
    let [real, ours] = both("").map(|server| {
        let (mut client, mut other) = (server.client(), server.client());
        client.call(&["CLIENT", "SETNAME", "me"]);
        LINES.map(|line| {
            client.call(&words_of(line));
            let list = text(&other.call(&["CLIENT", "LIST"]));
            let me = list
                .lines()
                .find(|line| line.contains("name=me "))
                .expect("it");
            let command = me.split(' ').find(|field| field.starts_with("cmd="));
            format!("{line}: {}", command.unwrap_or_default())
        })
    });
    assert_eq!(real, ours);
}

#[test]
fn what_was_tracked_is_forgotten_when_it_changes() {
    let [real, ours] = both("").map(|server| {
        let (mut client, mut other) = (server.client(), server.client());
        client.call(&["CLIENT", "TRACKING", "ON"]);
        client.call(&["MGET", "a", "b", "c"]);
        client.call(&["CLIENT", "TRACKING", "OFF"]);
        ["PING", "SET a 1", "DEL nosuch", "FLUSHALL"].map(|line| {
            other.call(&words_of(line));
            let stats = text(&other.call(&["INFO", "stats"]));
            let tracked = stats
                .lines()
                .filter(|line| line.starts_with("tracking_total"));
            format!("{line}: {}", tracked.collect::<Vec<_>>().join(" "))
        })
    });
    assert_eq!(real, ours);
}

#[test]
fn what_a_client_has_sent_is_shown_while_it_runs() {
    let [real, ours] = both("").map(|server| {
        let line = text(&server.client().call(&["CLIENT", "INFO"]));
        let found = line.split(' ').find(|field| field.starts_with("qbuf="));
        found.map(str::to_owned)
    });
    assert_eq!(real.as_deref(), Some("qbuf=26"));
    assert_eq!(ours, real);
}

/// Commands are no faster in filling the table than it is in giving up what is too much.
#[test]
fn the_table_of_tracked_keys_has_a_limit() {
    for server in both("tracking-table-max-keys 1000\n") {
        let mut client = server.client();
        client.call(&["HELLO", "3"]);
        client.call(&["CLIENT", "TRACKING", "ON"]);
        for round in 0..50 {
            let keys = (0..400).map(|n| format!("key:{round}:{n}"));
            let words: Vec<String> = std::iter::once("MGET".to_owned()).chain(keys).collect();
            client.call(&words.iter().map(String::as_str).collect::<Vec<_>>());
        }
        let mut other = server.client();
        (0..100).for_each(|_| drop(other.call(&["PING"])));
        let found = server.info("tracking_total_keys");
        assert_eq!(found.as_deref(), Some("1000"));
    }
}

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
    let [real, ours] = both("save 3600 1\n").map(|server| {
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
fn monitors_see_the_same() {
    let [real, ours] = both("").map(|server| monitored(&server));
    assert_eq!(real, ours);
}

#[test]
fn slow_commands_are_logged_with_the_same_words() {
    let [real, ours] = both("slowlog-log-slower-than 0\n").map(|server| {
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
    let [real, ours] = both("").map(|server| {
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
    let [real, ours] = both("").map(|server| {
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
    let servers = both("");
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
    let [real, ours] = both("").map(|server| {
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

fn words_of(line: &str) -> Vec<&str> {
    line.split(' ').collect()
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
    let [real, ours] = both("slowlog-log-slower-than 0\n").map(|server| {
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
    let [real, ours] = both("").map(|server| {
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

/// Only `*` as a whole, where all is asked for, fits what is empty.
#[test]
fn what_is_empty_fits_no_pattern() {
    compare(
        r#"
        a: SET "" v
        a: KEYS **
        a: KEYS *
        a: KEYS ""
        a: HSET h "" 1
        a: SADD s ""
        a: ZADD z 1 ""
        a: SCAN 0 MATCH ** TYPE string
        a: SCAN 0 MATCH * TYPE string
        a: SCAN 0 MATCH "" TYPE string
        a: HSCAN h 0 MATCH **
        a: HSCAN h 0 MATCH *
        a: HSCAN h 0 MATCH ""
        a: SSCAN s 0 MATCH **
        a: SSCAN s 0 MATCH *
        a: ZSCAN z 0 MATCH **
        a: ZSCAN z 0 MATCH *
        a: ACL SETUSER all on nopass ~* &* +@all
        a: ACL SETUSER few on nopass ~** &** +@all
        a: ACL SETUSER reads on nopass %R~* +@all
        b: AUTH all x
        b: GET ""
        b: PUBLISH "" ""
        c: AUTH few x
        c: GET ""
        c: GET s
        c: PUBLISH "" ""
        c: SUBSCRIBE ""
        d: AUTH reads x
        d: GET ""
        e: SUBSCRIBE ""
        a: PUBSUB CHANNELS
        a: PUBSUB CHANNELS *
        a: PUBSUB CHANNELS ""
        f: PSUBSCRIBE *
        g: PSUBSCRIBE ""
        a: PUBLISH "" message
        e: READ
        f: READ
        g: READ
        "#,
    );
}

#[test]
fn a_client_whose_watch_is_lost_is_marked() {
    let [real, ours] = both("").map(|server| {
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
fn it_starts_from_debians_configuration() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/target/peers/root/etc/redis/redis.conf"
    );
    let debian = std::fs::read_to_string(path).expect("the package redis-server is unpacked");
    // What names folders and ports of the system, or sends it to the background, is the test's own.
    let own = [
        "bind",
        "port",
        "daemonize",
        "pidfile",
        "logfile",
        "dir",
        "appendonly",
    ];
    let lines: Vec<&str> = debian
        .lines()
        .filter(|line| !own.contains(&line.split(' ').next().unwrap_or_default()))
        .collect();
    let server = start_server(Kind::Ours, &lines.join("\n"));
    let mut client = server.client();
    assert_eq!(text(&client.call(&["SET", "k", "v"])), "OK");
    let shown = texts(&client.call(&["CONFIG", "GET", "repl-diskless-sync-delay"]));
    assert_eq!(shown[1], "5", "the file's value, not ours");
}

#[test]
fn what_is_not_there_is_named() {
    for (line, reason) in [
        ("cluster-enabled yes", "does not have cluster mode"),
        ("loadmodule /x.so", "does not have modules"),
        (
            "activedefrag yes",
            "Active defragmentation cannot be enabled",
        ),
    ] {
        let config = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(config.path(), format!("port 0\n{line}\n")).expect("written");
        let output = Kind::Ours.server(config.path()).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && said.contains(reason),
            "{line}: {said}"
        );
        assert!(
            said.contains(":2"),
            "{line} is named with its place: {said}"
        );
    }
}

#[test]
fn it_listens_elsewhere_when_told() {
    let server = start_server(Kind::Ours, "");
    let mut old = server.client();
    let elsewhere = crate::support::Port::reserve();
    let port = elsewhere.number().to_string();
    assert_eq!(text(&old.call(&["CONFIG", "SET", "port", &port])), "OK");
    wait_for("the new port answers", secs(5), || {
        let mut client = Client::try_to(elsewhere.number()).map_err(|error| error.to_string())?;
        expect_that(text(&client.call(&["PING"])) == "PONG", String::new)
    });
    assert!(
        Client::try_to(server.port()).is_err(),
        "the old port is closed"
    );
    assert_eq!(text(&old.call(&["PING"])), "PONG", "who was there stays");
    // A port that is taken: nothing changes.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("bound").port().to_string();
    let refused = text(&old.call(&["CONFIG", "SET", "port", &taken]));
    assert!(
        refused.contains("Unable to listen on this port"),
        "{refused}"
    );
    assert_eq!(
        text(&Client::to(elsewhere.number()).call(&["PING"])),
        "PONG"
    );
    assert_eq!(texts(&old.call(&["CONFIG", "GET", "port"]))[1], port);
    assert_eq!(
        text(&old.call(&["CONFIG", "SET", "bind", "127.0.0.1"])),
        "OK"
    );
    assert_eq!(
        text(&Client::to(elsewhere.number()).call(&["PING"])),
        "PONG"
    );
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

#[test]
fn invalidations_can_go_to_another_client() {
    let [real, ours] = both("").map(|server| {
        let (mut listener, mut tracker, mut writer) =
            (server.client(), server.client(), server.client());
        let id = text(&listener.call(&["CLIENT", "ID"]));
        listener.call(&["SUBSCRIBE", "__redis__:invalidate"]);
        tracker.call(&["HELLO", "3"]);
        tracker.call(&["CLIENT", "TRACKING", "ON", "REDIRECT", &id]);
        let mut heard = Vec::new();
        tracker.call(&["GET", "k"]);
        writer.call(&["SET", "k", "1"]);
        heard.push(listener.receive().expect("an invalidation"));
        tracker.call(&["GET", "k"]);
        writer.call(&["FLUSHALL"]);
        heard.push(listener.receive().expect("an invalidation of everything"));
        tracker.call(&["GET", "k"]);
        writer.call(&["CLIENT", "KILL", "ID", &id]);
        listener.wait_for_close(secs(5)).expect("it is closed");
        wait_for("its end is seen", secs(5), || {
            let left = text(&writer.call(&["CLIENT", "LIST", "ID", &id]));
            expect_that(left.is_empty(), || left.clone())
        });
        writer.call(&["SET", "k", "2"]);
        let broken = texts(&tracker.receive().expect("word of the broken redirection"));
        assert_eq!(broken, ["tracking-redir-broken", id.as_str()]);
        heard.push(Value::Bulk(
            texts(&tracker.call(&["CLIENT", "TRACKINGINFO"]))[1]
                .clone()
                .into_bytes()
                .into(),
        ));
        heard
    });
    assert_eq!(real, ours);
}

/// Who is still there after `ACL LOAD`, and what they are told.
fn after_a_reload(kind: Kind) -> Vec<(String, String)> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("users.acl");
    let write = |lines: &str| {
        let default = "user default on nopass ~* &* +@all\n";
        std::fs::write(&file, default.to_owned() + lines).unwrap();
    };
    write(
        "user same on nopass ~* &* +@all\nuser disabled on nopass ~* &* +@all\n\
         user gone on nopass ~* &* +@all\nuser caller on nopass ~* &* +@all\n",
    );
    let server = start_server(kind, &format!("aclfile {}\n", file.display()));
    let log_in = |name: &str| {
        let mut client = server.client();
        assert_eq!(text(&client.call(&["AUTH", name, "x"])), "OK");
        client
    };
    let mut caller = log_in("caller");
    let names = ["default", "same", "disabled", "gone", "same"];
    let mut clients = names.map(log_in);
    clients[4].call(&["SUBSCRIBE", "channel"]);
    write(
        "user same on nopass ~* &* +@all\nuser disabled off nopass ~* &* +@all\n\
         user caller on nopass ~* &* +@all\n",
    );
    let reply = |client: &mut Client, words: &[&str]| {
        let reply = client.try_call(words);
        reply.map_or("closed".to_owned(), |reply| text(&reply))
    };
    let mut found = vec![
        ("ACL LOAD".to_owned(), reply(&mut caller, &["ACL", "LOAD"])),
        ("caller".to_owned(), reply(&mut caller, &["PING"])),
    ];
    for (name, client) in names.iter().zip(&mut clients) {
        found.push(((*name).to_owned(), reply(client, &["SET", "k", "v"])));
    }
    // A file that cannot be loaded ends nobody's.
    let mut same = log_in("same");
    write("nonsense\n");
    assert!(reply(&mut clients[0], &["ACL", "LOAD"]).starts_with("ERR"));
    found.push(("a wrong file".to_owned(), reply(&mut same, &["PING"])));
    found
}

#[test]
fn a_reload_of_the_users_ends_their_connections() {
    let found = after_a_reload(Kind::Ours);
    assert_eq!(found, after_a_reload(Kind::Real));
    let closed = found.iter().filter(|(_, reply)| reply == "closed").count();
    assert_eq!(closed, 5, "{found:?}");
}

#[test]
fn what_the_configuration_forbids_is_refused_before_it_is_queued() {
    let [real, ours] = both("enable-debug-command no\n").map(|server| {
        let mut replies = Vec::new();
        let mut ask = |client: &mut Client, line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            replies.push((line.to_owned(), text(&client.call(&words))));
        };
        let mut client = server.client();
        for line in [
            "DEBUG SLEEP 0",
            "MULTI",
            "DEBUG SLEEP 0",
            "SET a 1",
            "EXEC",
            "GET a",
            "MULTI",
            "DEBUG",
            "EXEC",
            "ACL SETUSER u on nopass +@all -debug",
            "AUTH u x",
            "DEBUG HELP",
            "INFO commandstats",
        ] {
            ask(&mut client, line);
        }
        ask(&mut client, "CONFIG SET requirepass secret");
        ask(&mut server.client(), "DEBUG SLEEP 0");
        for (line, reply) in &mut replies {
            if line == "INFO commandstats" {
                let debug = reply
                    .lines()
                    .find(|line| line.starts_with("cmdstat_debug:"));
                *reply = debug.expect("it was called").to_owned();
            }
        }
        replies
    });
    assert_eq!(real, ours);
}

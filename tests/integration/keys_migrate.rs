//! `MIGRATE`, as redis-server 7.0 has it: the same answers, events and stream beside it, values that arrive in both
//! directions, and targets that fail in the middle of it.

use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use sentinel::clock::Clock;
use sentinel::resp::Value;

use crate::both::{Both, DIRECTIONS, check_events, check_stream};
use crate::data::{digest, replica_of, wait_until_equal};
use crate::support::{
    Answer, Client, Fake, Kind, Port, ServerNode, expect_that, secs, start_server, text, texts,
    wait_for,
};
use crate::tls_reaches_real_servers::certificates;

/// `MIGRATE` to this port, of keys or of one.
fn migrate(client: &mut Client, port: u16, line: &str) -> String {
    let line = format!("MIGRATE 127.0.0.1 {port} {line}");
    let words = line.split_ascii_whitespace();
    let words: Vec<&str> = words.map(|word| word.trim_matches('"')).collect();
    text(&client.call(&words))
}

#[test]
fn the_same_answers() {
    let mut both = Both::start();
    let target = start_server(Kind::Real, "user guest on >pass ~* +@all\n");
    let nowhere = Port::reserve();
    for line in LINES.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let line = line
            .replace("TARGET", &target.port().to_string())
            .replace("NOWHERE", &nowhere.number().to_string());
        let words: Vec<&str> = line.split(' ').map(|word| word.trim_matches('"')).collect();
        let mut at_target = target.client();
        if words[0] == "AT" {
            at_target.call(&words[1..]);
            continue;
        }
        // What one has brought there must not be in the way of the other.
        let states = both.clients.each_mut().map(|client| {
            at_target.call(&["FLUSHALL"]);
            at_target.call(&["SET", "taken", "there"]);
            let reply = client.call(&words);
            if text(&reply).contains("WRONGPASS") {
                // redis-server has sent the key along, which arrives in the name of the default user.
                at_target.call(&["FLUSHALL"]);
            }
            let ttl = at_target.call(&["TTL", "expires"]);
            (reply, ttl, digest_without_ttl(&mut at_target))
        });
        let [theirs, mine] = states;
        assert_eq!(theirs, mine, "{line}");
        both.check_data();
    }
}

/// All data of a server in which the same keys expire at about the same time.
fn digest_without_ttl(client: &mut Client) -> String {
    client.call(&["PERSIST", "expires"]);
    text(&client.call(&["DEBUG", "DIGEST"]))
}

/// One command a line, `AT` for one that goes to the target; `""` is an empty word.
const LINES: &str = r#"
    MIGRATE
    MIGRATE 127.0.0.1 TARGET k 0
    MIGRATE 127.0.0.1 TARGET missing 0 500
    MIGRATE 127.0.0.1 TARGET "" 0 500 KEYS missing none
    MIGRATE 127.0.0.1 TARGET "" 0 500 KEYS
    MIGRATE 127.0.0.1 TARGET missing x 500
    MIGRATE 127.0.0.1 TARGET missing 0 x
    MIGRATE 127.0.0.1 TARGET missing 1.5 x
    MIGRATE 127.0.0.1 TARGET missing 0 99999999999999999999
    MIGRATE 127.0.0.1 TARGET missing 99999999999 500
    MIGRATE 127.0.0.1 TARGET missing 0 500 BOGUS
    MIGRATE 127.0.0.1 TARGET missing 0 500 AUTH
    MIGRATE 127.0.0.1 TARGET missing 0 500 AUTH2 a
    MIGRATE 127.0.0.1 TARGET missing 0 500 COPY REPLACE COPY
    MIGRATE 127.0.0.1 TARGET missing 0 500 KEYS a
    MIGRATE 127.0.0.1 TARGET missing x x KEYS a
    MIGRATE 127.0.0.1 NOWHERE missing 0 500
    SET k v
    MIGRATE 127.0.0.1 NOWHERE k 0 500
    MIGRATE "" TARGET k 0 500
    MIGRATE no.such.host.invalid TARGET k 0 5000
    MIGRATE 127.0.0.1 TARGET k 0 500 COPY
    MIGRATE 127.0.0.1 TARGET k 0 500
    EXISTS k
    SET k v
    MIGRATE 127.0.0.1 TARGET k 9 500
    SET k v
    MIGRATE localhost TARGET k 0 500
    SET k v
    MIGRATE 127.0.0.1 TARGET k 0 -1
    SET expires soon EX 1000
    MIGRATE 127.0.0.1 TARGET expires 0 500
    SET taken here
    MIGRATE 127.0.0.1 TARGET taken 0 500
    MIGRATE 127.0.0.1 TARGET taken 0 500 COPY
    MIGRATE 127.0.0.1 TARGET taken 0 500 COPY REPLACE
    MIGRATE 127.0.0.1 TARGET taken 0 500 REPLACE
    SET taken here
    MSET a 1 b 2 c 3
    MIGRATE 127.0.0.1 TARGET "" 0 500 KEYS a taken missing b
    DBSIZE
    MIGRATE 127.0.0.1 TARGET "" 0 500 COPY REPLACE KEYS taken c
    MIGRATE 127.0.0.1 TARGET "" 0 500 REPLACE KEYS taken c c
    RPUSH list 1 2 3
    SADD set 1 2 3
    SADD words a b c
    ZADD sorted 1 a 2 b
    HSET hash f v
    SELECT 3
    MIGRATE 127.0.0.1 TARGET list 0 500
    SELECT 0
    MIGRATE 127.0.0.1 TARGET "" 3 500 keys list set words sorted hash
    MSET a 1 b 2
    MULTI
    SET c 3
    MIGRATE 127.0.0.1 TARGET "" 0 500 KEYS a c
    GET a
    MIGRATE 127.0.0.1 TARGET a 0 500
    MIGRATE 127.0.0.1 TARGET b 0 500 BOGUS
    EXEC
    MULTI
    MIGRATE 127.0.0.1
    EXEC
    SET k v
    MIGRATE 127.0.0.1 TARGET k 0 500 AUTH2 guest wrong
    MIGRATE 127.0.0.1 TARGET k 0 500 AUTH2 guest pass
    AT ACL SETUSER guest -restore
    SET k v
    MIGRATE 127.0.0.1 TARGET k 0 500 AUTH2 guest pass
    AT CONFIG SET requirepass secret
    MIGRATE 127.0.0.1 TARGET k 0 500 AUTH wrong
    COMMAND GETKEYS MIGRATE h p k 0 1
    COMMAND GETKEYS MIGRATE h p k 0 1 COPY KEYS a
    COMMAND GETKEYS MIGRATE h p "" 0 1
    COMMAND GETKEYS MIGRATE h p "" 0 1 KEYS
    COMMAND GETKEYS MIGRATE h p "" 0 1 COPY KEYS a b
    COMMAND GETKEYS MIGRATE h p "" 0 1 AUTH KEYS KEYS a
    COMMAND GETKEYS MIGRATE h p "" 0 1 AUTH2 KEYS KEYS keys a
    COMMAND GETKEYS MIGRATE h p k 0 1 AUTH KEYS REPLACE
    COMMAND GETKEYSANDFLAGS MIGRATE h p "" 0 1 KEYS a
    COMMAND GETKEYSANDFLAGS MIGRATE h p k 0 1
    ACL SETUSER some on nopass ~mine:* +migrate +command|getkeys
    ACL DRYRUN some MIGRATE h p mine:a 0 1
    ACL DRYRUN some MIGRATE h p theirs 0 1
    ACL DRYRUN some MIGRATE h p "" 0 1 AUTH x KEYS mine:a mine:b
    ACL DRYRUN some MIGRATE h p "" 0 1 AUTH x KEYS mine:a theirs
    ACL SETUSER some -migrate %R~theirs +migrate
    ACL DRYRUN some MIGRATE h p theirs 0 1
    SLOWLOG RESET
    CONFIG SET slowlog-log-slower-than 0
    MIGRATE 127.0.0.1 TARGET missing 0 500 AUTH secret COPY AUTH2 some secret
    MIGRATE 127.0.0.1 TARGET "" 0 500 COPY AUTH2 some secret KEYS auth missing
    CONFIG SET slowlog-log-slower-than -1
"#;

#[test]
fn nobody_reads_the_password() {
    let shown = [Kind::Real, Kind::Ours].map(|kind| {
        let server = start_server(kind, "slowlog-log-slower-than 0\n");
        let (mut client, mut monitor) = (server.client(), server.client());
        monitor.call(&["MONITOR"]);
        let line = r#"missing 0 500 auth secret COPY auth2 some secret KEYS auth missing"#;
        migrate(&mut client, 1, line);
        migrate(&mut client, 1, &line.replace("missing 0", "\"\" 0"));
        let mut seen = Vec::new();
        for _ in 0..2 {
            let line = text(&monitor.receive().unwrap());
            seen.push(line.split("] ").nth(1).unwrap().to_owned());
        }
        let Value::Array(slow) = client.call(&["SLOWLOG", "GET"]) else {
            panic!("no list");
        };
        for entry in slow {
            let Value::Array(fields) = entry else {
                panic!("no entry");
            };
            seen.push(text(&fields[3]));
        }
        assert!(!seen.iter().any(|line| line.contains("secret")), "{seen:?}");
        seen
    });
    assert_eq!(shown[0], shown[1]);
}

#[test]
fn the_same_events_and_the_same_stream() {
    let target = start_server(Kind::Real, "");
    let lines = r#"
        MSET a 1 b 2 c 3 d 4
        MIGRATE 127.0.0.1 TARGET a 0 500 REPLACE
        MIGRATE 127.0.0.1 TARGET b 0 500 COPY REPLACE
        MIGRATE 127.0.0.1 TARGET b 0 500
        MIGRATE 127.0.0.1 TARGET missing 0 500
        MIGRATE 127.0.0.1 TARGET "" 0 500 REPLACE KEYS b c missing d
        MULTI
        SET e 1
        MIGRATE 127.0.0.1 TARGET e 0 500 REPLACE
        SET f 1
        EXEC
    "#;
    let lines = lines.replace("TARGET", &target.port().to_string());
    let flush = || target.client().call(&["FLUSHALL"]);
    check_events(&format!("{lines}\nMIGRATE 127.0.0.1 1 f 0 500"));
    flush();
    check_stream(&lines);
}

/// Fills a server with values of every type; some expire, one is large.
fn fill(server: &ServerNode) {
    let mut client = server.client();
    for n in 0..2500 {
        let name = format!("string:{n}");
        let value = format!("{n} ").repeat(n % 400);
        match n % 3 {
            0 => client.call(&["SET", &name, &value, "PXAT", "99999999999999"]),
            _ => client.call(&["SET", &name, &value]),
        };
    }
    let large = "large ".repeat(1 << 20);
    client.call(&["SET", "large", &large]);
    for n in 0..40 {
        let items: Vec<String> = (0..n * n).map(|item| format!("item:{item}")).collect();
        for (command, kind) in [("RPUSH", "list"), ("SADD", "set")] {
            let name = format!("{kind}:{n}");
            let mut words = vec![command, &name, "1"];
            words.extend(items.iter().map(String::as_str));
            client.call(&words);
        }
        for (command, kind) in [("HSET", "hash"), ("ZADD", "sorted")] {
            let name = format!("{kind}:{n}");
            let mut words = vec![command, &name, "1", "2"];
            words.extend(items.iter().flat_map(|item| ["7", item.as_str()]));
            client.call(&words);
        }
    }
}

#[test]
fn values_of_every_type_arrive_in_both_directions() {
    let directions = DIRECTIONS.into_iter().chain([(Kind::Ours, Kind::Ours)]);
    for (from, to) in directions {
        let source = start_server(from, "appendonly yes\n");
        let (target, replica) = (
            start_server(to, ""),
            start_server(Kind::Real, &replica_of(&source)),
        );
        fill(&source);
        let before = digest(&source);
        let mut client = Client::try_to_within(source.port(), secs(60)).unwrap();
        let keys = texts(&client.call(&["KEYS", "*"])).join(" ");
        let line = format!("\"\" 0 10000 KEYS {keys}");
        assert_eq!(migrate(&mut client, target.port(), &line), "OK");
        assert_eq!(
            text(&client.call(&["DBSIZE"])),
            "0",
            "from {from:?} to {to:?}"
        );
        // How long keys still live goes along, so that they end a little later there.
        let mut there = target.client();
        for n in (0..2500).step_by(3) {
            let name = format!("string:{n}");
            there.call(&["PEXPIREAT", &name, "99999999999999"]);
        }
        assert_eq!(digest(&target), before, "from {from:?} to {to:?}");
        wait_until_equal(&source, &replica);
        assert_eq!(text(&client.call(&["DEBUG", "LOADAOF"])), "OK");
        assert_eq!(text(&client.call(&["DBSIZE"])), "0", "of {from:?}'s file");
    }
}

/// What a target does about the `RESTORE` of a key.
type AtRestore = fn(&str) -> Answer;

/// What one `MIGRATE` of the keys `a`, `b` and `c` leaves behind at a server, beside its answer.
fn at_fake(kind: Kind, options: &str, answer: AtRestore) -> (String, String) {
    let fake = Fake::start(move |words| match words[0].as_str() {
        "RESTORE" => answer(&words[1]),
        _ => Answer::Say(b"+OK\r\n".to_vec()),
    });
    let server = start_server(kind, "");
    let mut client = server.client();
    client.call(&["MSET", "a", "1", "b", "2", "c", "3"]);
    let line = format!("\"\" 0 300 {options} KEYS a b c");
    let reply = migrate(&mut client, fake.port(), &line);
    let mut left = texts(&client.call(&["KEYS", "*"]));
    left.sort();
    (reply, left.join(" "))
}

#[test]
fn what_was_accepted_is_gone_and_what_was_not_is_kept() {
    let answers: [(AtRestore, &str); 4] = [
        (
            |key| match key {
                "a" => Answer::Say(b"+OK\r\n".to_vec()),
                _ => Answer::Close,
            },
            "b c",
        ),
        (
            |key| match key {
                "b" => Answer::Close,
                _ => Answer::Say(b"-ERR no\r\n".to_vec()),
            },
            "a b c",
        ),
        (
            |key| match key {
                "a" => Answer::Say(b"-ERR no\r\n".to_vec()),
                _ => Answer::Say(b"+OK\r\n".to_vec()),
            },
            "a",
        ),
        (
            |key| match key {
                "c" => Answer::Silence,
                _ => Answer::Say(b"+OK\r\n".to_vec()),
            },
            "c",
        ),
    ];
    for (number, (answer, left)) in answers.into_iter().enumerate() {
        let theirs = at_fake(Kind::Real, "", answer);
        let mine = at_fake(Kind::Ours, "", answer);
        assert_eq!(theirs, mine, "answers {number}");
        assert_eq!(mine.1, left, "answers {number}");
        assert_eq!(at_fake(Kind::Ours, "COPY", answer).1, "a b c");
    }
}

#[test]
fn what_is_no_answer_moves_nothing() {
    let reading = "IOERR error or timeout reading to target instance";
    let answers: [AtRestore; 3] = [
        |_| Answer::Say(b"HTTP/1.1 400 Bad Request\r\n".to_vec()),
        |_| Answer::Say(b":1\r\n:1\r\n:1\r\n".to_vec()),
        |_| Answer::SayForever(vec![b'+'; 4096]),
    ];
    for answer in answers {
        let (reply, left) = at_fake(Kind::Ours, "", answer);
        assert_eq!((reply.as_str(), left.as_str()), (reading, "a b c"));
    }
}

#[test]
fn an_answer_too_many_is_not_one_to_the_next_request() {
    let fake = Fake::start(|words| match (words[0].as_str(), words[1].as_str()) {
        ("RESTORE", "b") => Answer::Say(b"-ERR no\r\n".to_vec()),
        ("RESTORE", _) => Answer::Say(b"+OK\r\n+OK\r\n".to_vec()),
        _ => Answer::Say(b"+OK\r\n".to_vec()),
    });
    let server = start_server(Kind::Ours, "");
    let mut client = server.client();
    client.call(&["MSET", "a", "1", "b", "2"]);
    assert_eq!(migrate(&mut client, fake.port(), "a 0 300"), "OK");
    let refused = migrate(&mut client, fake.port(), "b 0 300");
    assert_eq!(refused, "ERR Target instance replied with error: ERR no");
    assert_eq!(text(&client.call(&["GET", "b"])), "2");
}

#[test]
fn it_works_again_when_there_are_descriptors_again() {
    let (source, target) = (start_server(Kind::Ours, ""), start_server(Kind::Ours, ""));
    let mut client = source.client();
    client.call(&["SET", "k", "v"]);
    let pid = i32::try_from(source.process.pid()).expect("process ids fit in i32");
    let pid = Pid::from_raw(pid);
    let none = Rlimit {
        current: Some(1),
        ..getrlimit(Resource::Nofile)
    };
    let limit = prlimit(pid, Resource::Nofile, none).expect("our own child's soft limit");
    let failed = migrate(&mut client, target.port(), "k 0 1000");
    assert_eq!(failed, "IOERR error or timeout connecting to the client");
    prlimit(pid, Resource::Nofile, limit).expect("as it was");
    assert_eq!(migrate(&mut client, target.port(), "k 0 1000"), "OK");
}

#[test]
fn an_unused_connection_is_closed_though_others_are_used() {
    let source = start_server(Kind::Ours, "");
    let targets = [(); 2].map(|()| start_server(Kind::Ours, ""));
    let mut client = source.client();
    let mut move_one = |target: &ServerNode| {
        client.call(&["SET", "k", "v"]);
        let moved = migrate(&mut client, target.port(), "k 0 1000 REPLACE");
        assert_eq!(moved, "OK");
    };
    move_one(&targets[0]);
    wait_for("one is closed", secs(20), || {
        move_one(&targets[1]);
        let kept = source.info("migrate_cached_sockets").unwrap();
        expect_that(kept == "1", || kept)
    });
}

#[test]
fn nothing_is_sent_into_a_database_that_is_not_selected() {
    let fake = Fake::start(|words| match words[0].as_str() {
        "SELECT" => Answer::Say(b"-ERR DB index is out of range\r\n".to_vec()),
        _ => Answer::Say(b"+OK\r\n".to_vec()),
    });
    let server = start_server(Kind::Ours, "");
    let mut client = server.client();
    client.call(&["SET", "k", "v"]);
    let reply = migrate(&mut client, fake.port(), "k 77 300");
    assert_eq!(
        reply,
        "ERR Target instance replied with error: ERR DB index is out of range"
    );
    let requests = fake.requests();
    assert!(
        !requests.iter().any(|words| words[0] == "RESTORE"),
        "{requests:?}"
    );
    assert_eq!(text(&client.call(&["GET", "k"])), "v");
}

#[test]
fn a_connection_is_kept_for_a_while_and_opened_anew_when_it_was_closed() {
    let (source, target) = (start_server(Kind::Ours, ""), start_server(Kind::Real, ""));
    let mut client = source.client();
    let mut there = target.client();
    let connections = || target.info("total_connections_received");
    let move_one = |client: &mut Client, db: &str, options: &str| {
        client.call(&["SET", "k", "v"]);
        let line = format!("k {db} 1000 {options}");
        assert_eq!(migrate(client, target.port(), &line), "OK", "{line}");
    };
    let kept = || source.info("migrate_cached_sockets").unwrap();
    assert_eq!(kept(), "0");
    move_one(&mut client, "0", "REPLACE");
    let after_one: u64 = connections().unwrap().parse().unwrap();
    for db in ["0", "5", "5", "0"] {
        move_one(&mut client, db, "REPLACE");
    }
    // Looking costs a connection too.
    let after_more: u64 = connections().unwrap().parse().unwrap();
    assert_eq!(after_more, after_one + 1);
    assert_eq!(kept(), "1");
    // Who logs in has a connection of his own: others must not come by his rights.
    there.call(&["ACL", "SETUSER", "guest", "on", ">pass", "~*", "+@all"]);
    move_one(&mut client, "0", "REPLACE AUTH2 guest pass");
    assert_eq!(kept(), "2");
    there.call(&["ACL", "SETUSER", "guest", "<pass", ">new"]);
    client.call(&["SET", "k", "v"]);
    let refused = migrate(
        &mut client,
        target.port(),
        "k 0 1000 REPLACE AUTH2 guest pass",
    );
    assert!(refused.contains("WRONGPASS"), "{refused}");
    there.call(&["CLIENT", "KILL", "TYPE", "normal"]);
    move_one(&mut client, "5", "REPLACE");
    wait_for("unused connections are closed", secs(20), || {
        expect_that(kept() == "0", kept)
    });
}

#[test]
fn a_target_that_hangs_costs_the_timeout() {
    let fake = Fake::start(|_| Answer::Silence);
    let server = start_server(Kind::Ours, "");
    let client = Client::try_to_within(server.port(), secs(20));
    let (mut client, mut other) = (client.unwrap(), server.client());
    client.call(&["SET", "k", "v"]);
    // Time enough for another to ask meanwhile, however busy the machine is.
    let line = format!("MIGRATE 127.0.0.1 {} k 0 4000", fake.port());
    let words: Vec<&str> = line.split(' ').collect();
    let clock = Clock::start();
    let asked = clock.mono();
    client.send(&words).unwrap();
    wait_for("the request is there", secs(5), || {
        expect_that(!fake.requests().is_empty(), || "none".to_owned())
    });
    // All wait, as with redis-server: nobody may change what is on its way.
    other.send(&["APPEND", "k", "w"]).unwrap();
    other
        .stream()
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    assert!(other.receive().is_err(), "it was served meanwhile");
    let reply = text(&client.receive().unwrap());
    assert_eq!(reply, "IOERR error or timeout reading to target instance");
    let took = clock.mono().since(asked);
    // Less what clocks are wrong by.
    assert!(took >= Duration::from_millis(3990), "{took:?}");
    other.stream().set_read_timeout(Some(secs(5))).unwrap();
    assert_eq!(text(&other.receive().unwrap()), "2");
    // Itself, too: it cannot answer while it waits.
    let reply = migrate(&mut client, server.port(), "k 1 100");
    assert_eq!(reply, "IOERR error or timeout reading to target instance");
}

#[test]
fn a_target_that_takes_tls_alone() {
    let folder = tempfile::tempdir().unwrap();
    let tls = certificates(folder.path());
    let port = Port::reserve();
    let target = start_server(Kind::Real, &format!("{tls}tls-port {}\n", port.number()));
    let source = start_server(Kind::Ours, &format!("{tls}tls-cluster yes\n"));
    let mut client = source.client();
    for n in 0..3 {
        let value = "v".repeat(1 << (n * 9));
        client.call(&["SET", "k", &value]);
        assert_eq!(
            migrate(&mut client, port.number(), "k 0 5000 REPLACE"),
            "OK"
        );
        assert_eq!(text(&target.client().call(&["GET", "k"])), value);
    }
    assert_eq!(
        text(&client.call(&["CONFIG", "SET", "tls-cluster", "no"])),
        "OK"
    );
    client.call(&["SET", "k", "v"]);
    let reply = migrate(&mut client, port.number(), "k 0 300 REPLACE");
    assert_eq!(reply, "IOERR error or timeout reading to target instance");
}

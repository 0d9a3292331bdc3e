//! Commands about whole keys, to redis-server 7.0 and to ours: the same replies and the same data, in every
//! database; and values of every type that go from one to the other as `DUMP` payloads.

use rand::RngExt;
use sentinel::resp::{Value, encode_request};

use crate::data::{Dice, digest, seeds, wait_until_equal};
use crate::support::{Client, Kind, ServerNode, expect_that, secs, start_server, text, wait_for};

/// Sends any bytes as words.
fn call(client: &mut Client, words: &[&[u8]]) -> Value {
    let mut request = Vec::new();
    encode_request(words, &mut request);
    client.send_raw(&request).unwrap();
    client.receive().unwrap()
}

fn line(client: &mut Client, line: &str) -> Value {
    let words: Vec<&[u8]> = line
        .split(' ')
        .map(|word| word.trim_matches('"').as_bytes())
        .collect();
    call(client, &words)
}

fn pair() -> (ServerNode, ServerNode) {
    (start_server(Kind::Real, ""), start_server(Kind::Ours, ""))
}

#[test]
fn chosen_lines() {
    let (real, ours) = pair();
    let (mut to_real, mut to_ours) = (real.client(), ours.client());
    for words in LINES.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if words == "OBJECT IDLETIME e" {
            // A second may end between the two.
            wait_for("it has been idle for as long", secs(5), || {
                let (theirs, mine) = (line(&mut to_real, words), line(&mut to_ours, words));
                expect_that(theirs == mine, || format!("{mine:?} and not {theirs:?}"))
            });
            continue;
        }
        let (theirs, mine) = (line(&mut to_real, words), line(&mut to_ours, words));
        assert_eq!(theirs, mine, "{words:?}");
    }
    assert_eq!(digest(&real), digest(&ours));
}

/// One command a line; `""` is an empty word.
const LINES: &str = r#"
    COPY
    COPY a b
    COPY a a
    COPY a a DB 0
    COPY a b DB
    COPY a b DB x
    COPY a b DB 16
    COPY a b DB -1
    COPY a b DB 99999999999
    COPY a b BOGUS
    COPY a b REPLACE BOGUS
    SET a 1 PXAT 99999999999999
    COPY a b
    COPY a b
    COPY a b REPLACE
    PEXPIRETIME b
    COPY a a DB 5 REPLACE
    COPY a c db 5 replace
    SELECT 5
    GET a
    GET c
    DBSIZE
    SELECT 0
    MOVE
    MOVE a 0
    MOVE a x
    MOVE a 16
    MOVE a -1
    MOVE a 99999999999
    MOVE missing 1
    MOVE a 5
    MOVE a 6
    EXISTS a
    SELECT 6
    PEXPIRETIME a
    SWAPDB
    SWAPDB x 1
    SWAPDB 1 x
    SWAPDB 99999999999 1
    SWAPDB 1 99999999999
    SWAPDB 1 16
    SWAPDB -1 1
    SWAPDB 1 1
    SWAPDB 6 7
    EXISTS a
    SELECT 7
    GET a
    SWAPDB 7 5
    GET c
    SELECT 99999999999
    SELECT 0
    WATCH w
    SWAPDB 8 9
    MULTI
    GET w
    EXEC
    SELECT 1
    SET w 1
    SELECT 0
    WATCH w
    SWAPDB 0 1
    MULTI
    GET w
    EXEC
    OBJECT
    OBJECT HELP x
    OBJECT NOSUCH a
    OBJECT ENCODING
    OBJECT ENCODING missing
    OBJECT REFCOUNT missing
    OBJECT IDLETIME missing
    OBJECT FREQ missing
    SET n 12
    SET m 123456
    SET e short
    SET r 012345678901234567890123456789012345678901234
    SET s 01234567890123456789012345678901234567890123
    OBJECT ENCODING n
    OBJECT ENCODING m
    OBJECT ENCODING e
    OBJECT ENCODING r
    OBJECT ENCODING s
    OBJECT REFCOUNT n
    CONFIG SET maxmemory 1gb
    SET small 7
    OBJECT REFCOUNT small
    CONFIG SET maxmemory-policy allkeys-lru
    SET small 7
    OBJECT REFCOUNT small
    CONFIG SET maxmemory 0 maxmemory-policy noeviction
    SET small 7
    OBJECT REFCOUNT small
    OBJECT REFCOUNT m
    OBJECT REFCOUNT e
    OBJECT IDLETIME e
    OBJECT FREQ e
    APPEND n 3
    OBJECT ENCODING n
    INCR n
    OBJECT ENCODING n
    APPEND new 12
    OBJECT ENCODING new
    SETRANGE e 0 S
    OBJECT ENCODING e
    SETRANGE fresh 0 12
    OBJECT ENCODING fresh
    APPEND s ""
    OBJECT ENCODING s
    COPY fresh also
    OBJECT ENCODING also
    SET fresh 12
    OBJECT ENCODING fresh
    INCRBYFLOAT f 3
    OBJECT ENCODING f
    SET bits 12345
    SETBIT bits 7 1
    OBJECT ENCODING bits
    SET bits 12345
    SETBIT bits 6 0
    OBJECT ENCODING bits
    SET bits text
    SETBIT bits 0 0
    OBJECT ENCODING bits
    SET bits 12345
    BITFIELD bits OVERFLOW FAIL INCRBY u8 0 255
    OBJECT ENCODING bits
    SET number 12345
    BITOP OR bits number
    OBJECT ENCODING bits
    RPUSH unsorted 3 1 2
    SORT unsorted STORE sorted
    OBJECT ENCODING sorted
    SORT unsorted BY nosort GET nosuch* STORE sorted
    OBJECT ENCODING sorted
    INCRBYFLOAT f 0.5
    OBJECT ENCODING f
    SET max 9223372036854775807
    OBJECT ENCODING max
    SET over 9223372036854775808
    OBJECT ENCODING over
    CONFIG SET maxmemory-policy allkeys-lfu
    SET counted text
    OBJECT IDLETIME counted
    OBJECT FREQ missing
    OBJECT FREQ counted
    RESTORE-ASKING
    CONFIG SET maxmemory-policy noeviction
    DUMP
    DUMP missing
    DUMP e
    DUMP n
    DUMP max
    DUMP r
    RESTORE x 0 y FOO
    RESTORE x 0 y IDLETIME
    RESTORE x 0 y IDLETIME x
    RESTORE x 0 y IDLETIME -1
    RESTORE x 0 y IDLETIME 1 FREQ 2
    RESTORE x 0 y FREQ
    RESTORE x 0 y FREQ x
    RESTORE x 0 y FREQ 256
    RESTORE x 0 y FREQ -1
    RESTORE x 0 y FREQ 1 IDLETIME 1
    RESTORE e x y
    RESTORE x x y
    RESTORE x -1 y
    RESTORE x 0 y
    RESTORE x 0 ""
    RESTORE e 0 y REPLACE
    EXISTS e
    TYPE e
    TYPE missing
    TOUCH e n missing
    RENAME e e2
    OBJECT ENCODING e2
    RENAMENX e2 n
    SCAN 0 TYPE hash COUNT 1000
    SCAN 0 COUNT 1000 MATCH nothing*
    FLUSHDB SYNC x
    FLUSHDB SYNC
    FLUSHALL ASYNC
    FLUSHALL BOGUS
    FLUSHALL SYNC
    DBSIZE
"#;

/// Commands that make keys of every type and form on redis-server.
const VALUES: &str = r"
    SET string some-text
    SET number -32769
    SET wide 12345678901
    RPUSH list a 1 -5 200 70000 5000000000
    SADD intset 1 300 -70000 5000000000
    SADD set a b c 1
    HSET hash f v 1 2 g 12345678901
    ZADD zset 1 a 1.5 b inf c -inf d 0.1 e
";

/// Fills a server with values of every type and form. Returns their keys.
fn fill(client: &mut Client) -> Vec<String> {
    let lines = VALUES
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty());
    let mut keys: Vec<String> = Vec::new();
    for words in lines {
        let key = words.split(' ').nth(1).unwrap();
        line(client, words);
        keys.push(key.to_owned());
    }
    for (command, key) in [
        ("RPUSH", "long-list"),
        ("SADD", "long-set"),
        ("HSET", "long-hash"),
        ("ZADD", "long-zset"),
    ] {
        let mut words = vec![command.to_owned(), key.to_owned()];
        for n in 0..1000 {
            let (first, second) = (
                format!("{n}"),
                format!("element-{n}-{}", "x".repeat(n % 90)),
            );
            match command {
                "HSET" => words.extend([first, second]),
                // Some have the same score.
                "ZADD" => words.extend([(n / 3).to_string(), second]),
                _ => words.push(second),
            }
        }
        let words: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
        call(client, &words);
        keys.push(key.to_owned());
    }
    call(
        client,
        &[b"SET", b"long", "abcabcabd".repeat(3000).as_bytes()],
    );
    keys.push("long".to_owned());
    keys
}

fn bytes(value: Value) -> Vec<u8> {
    if let Value::Bulk(bytes) = value {
        bytes.to_vec()
    } else {
        panic!("{value:?}")
    }
}

fn dump(client: &mut Client, key: &str) -> Vec<u8> {
    bytes(call(client, &[b"DUMP", key.as_bytes()]))
}

fn restore(client: &mut Client, key: &str, payload: &[u8]) {
    let reply = call(client, &[b"RESTORE", key.as_bytes(), b"0", payload]);
    assert_eq!(text(&reply), "OK", "{key}");
}

#[test]
fn strings_are_compressed_alike() {
    let (real, ours) = pair();
    let (mut to_real, mut to_ours) = (real.client(), ours.client());
    let mut dice = Dice::of(seeds([])[0]);
    for _ in 0..500 {
        // Few different bytes, some of them repeated: from what saves nothing to what nearly vanishes.
        let len = 1 << dice.random_range(3..16);
        let letters: u8 = dice.random_range(1..=64);
        let mut value: Vec<u8> = Vec::new();
        while value.len() < len {
            if dice.random_range(0..4) == 0 && !value.is_empty() {
                let from = dice.random_range(0..value.len());
                let to = value.len().min(from + dice.random_range(1..600));
                value.extend_from_within(from..to);
            } else {
                let run = dice.random_range(1..40);
                value.extend((0..run).map(|_| dice.random_range(0..letters)));
            }
        }
        value.truncate(dice.random_range(len / 2..=len));
        for client in [&mut to_real, &mut to_ours] {
            call(client, &[b"SET", b"s", &value]);
        }
        let payload = dump(&mut to_real, "s");
        assert_eq!(
            dump(&mut to_ours, "s"),
            payload,
            "{:?}",
            value.escape_ascii()
        );
    }
}

#[test]
fn payloads_are_exchanged() {
    let (real, ours) = pair();
    let (mut to_real, mut to_ours) = (real.client(), ours.client());
    let keys = fill(&mut to_real);
    let before = digest(&real);
    for key in &keys {
        let payload = dump(&mut to_real, key);
        restore(&mut to_ours, key, &payload);
        // Tables have an order of their own.
        if !matches!(key.as_str(), "set" | "long-set" | "long-hash") {
            assert_eq!(dump(&mut to_ours, key), payload, "{key}");
        }
        for command in ["OBJECT ENCODING", "TYPE"] {
            let words = format!("{command} {key}");
            assert_eq!(
                line(&mut to_real, &words),
                line(&mut to_ours, &words),
                "{words}"
            );
        }
    }
    assert_eq!(digest(&ours), before);
    line(&mut to_real, "FLUSHALL");
    for key in &keys {
        let payload = dump(&mut to_ours, key);
        restore(&mut to_real, key, &payload);
    }
    assert_eq!(digest(&real), before);
    // And every type is copied, moved and renamed alike.
    for key in &keys {
        for words in [
            format!("COPY {key} copy:{key}"),
            format!("COPY {key} {key} DB 3"),
            format!("MOVE copy:{key} 4"),
            format!("RENAME {key} renamed:{key}"),
            format!("TYPE renamed:{key}"),
        ] {
            assert_eq!(
                line(&mut to_real, &words),
                line(&mut to_ours, &words),
                "{words}"
            );
        }
    }
    assert_eq!(digest(&real), digest(&ours));
}

/// The small form that a payload has is kept however long its values are; only a zipmap of long ones is not.
#[test]
fn payloads_of_long_values_get_the_same_form() {
    let (real, ours) = pair();
    let (mut to_real, mut to_ours) = (real.client(), ours.client());
    for made in [
        "CONFIG SET hash-max-listpack-value 4096",
        "CONFIG SET zset-max-listpack-value 4096",
        &format!("HSET hash f {}", "v".repeat(100)),
        &format!("ZADD zset 1 {}", "m".repeat(100)),
        "HSET many a 1 b 2 c 3",
        "ZADD many-members 1 a 2 b 3 c",
    ] {
        line(&mut to_real, made);
    }
    let mut payloads = vec![
        b"\x09\x0c\x01\x01a\x06\0abcdef\xff\x09\0Y8\xb0\x10,\x8d=*".to_vec(),
        b"\x0c\x16\x16\0\0\0\x12\0\0\0\x02\0\0\x06abcdef\x08\x011\xff\x09\0Q\x1f\xb9\x01[\x01\x18\xc5".to_vec(),
        b"\x0d\x16\x16\0\0\0\x0d\0\0\0\x02\0\0\x01a\x03\x06abcdef\xff\x09\x002.J|\x82L\xb1S".to_vec(),
    ];
    let made = ["hash", "zset", "many", "many-members"];
    payloads.extend(made.map(|key| dump(&mut to_real, key)));
    line(&mut to_real, "FLUSHALL");
    let forms = [&mut to_real, &mut to_ours].map(|client| {
        for setting in [
            "hash-max-listpack-value 4",
            "zset-max-listpack-value 4",
            "hash-max-listpack-entries 2",
            "zset-max-listpack-entries 2",
        ] {
            line(client, &format!("CONFIG SET {setting}"));
        }
        let mut form = |payload: &Vec<u8>| {
            line(client, "DEL k");
            restore(client, "k", payload);
            text(&line(client, "OBJECT ENCODING k"))
        };
        payloads.iter().map(&mut form).collect::<Vec<_>>()
    });
    assert_eq!(forms[0], forms[1]);
    let packed = forms[1].iter().filter(|form| *form == "listpack").count();
    assert_eq!(packed, 4, "{forms:?}");
    assert_eq!(digest(&real), digest(&ours));
}

#[test]
fn damaged_payloads_are_refused_alike() {
    let (real, ours) = pair();
    let (mut to_real, mut to_ours) = (real.client(), ours.client());
    fill(&mut to_real);
    let payload = dump(&mut to_real, "hash");
    let mut tries = vec![payload.clone(), [&payload[..], b"x"].concat(), Vec::new()];
    tries.extend((0..payload.len()).map(|cut| payload[..cut].to_vec()));
    tries.extend((0..payload.len()).map(|at| {
        let mut damaged = payload.clone();
        damaged[at] ^= 1;
        damaged
    }));
    for payload in tries {
        let words: [&[u8]; 5] = [b"RESTORE", b"tried", b"0", &payload, b"REPLACE"];
        assert_eq!(
            call(&mut to_real, &words),
            call(&mut to_ours, &words),
            "{payload:?}"
        );
    }
}

#[test]
fn expiries_of_restored_keys() {
    let (real, ours) = pair();
    let (mut to_real, mut to_ours) = (real.client(), ours.client());
    line(&mut to_real, "SET k v");
    let payload = dump(&mut to_real, "k");
    line(&mut to_real, "FLUSHALL");
    for options in [
        "0",
        "100000 REPLACE",
        "1 ABSTTL REPLACE",
        "99999999999999 ABSTTL",
        "99999999999999 ABSTTL REPLACE",
        "9223372036854775807 REPLACE",
        "9223372036854775807",
        "9223372036854775807 ABSTTL",
        "9223372036854775807 ABSTTL REPLACE",
        "1 ABSTTL REPLACE",
        "0 IDLETIME 1000",
        "0 IDLETIME 1000 IDLETIME 5000 REPLACE",
        "0 FREQ 7 REPLACE",
    ] {
        let mut words = vec![&b"RESTORE"[..], b"k"];
        let (ttl, rest) = options.split_once(' ').unwrap_or((options, ""));
        words.extend([ttl.as_bytes(), &payload]);
        words.extend(
            rest.split(' ')
                .filter(|word| !word.is_empty())
                .map(str::as_bytes),
        );
        assert_eq!(
            call(&mut to_real, &words),
            call(&mut to_ours, &words),
            "{options}"
        );
        for check in ["EXISTS k", "TTL k", "OBJECT IDLETIME k"] {
            let found = (line(&mut to_real, check), line(&mut to_ours, check));
            let is_same = match found {
                // Seconds, and the two are not asked in the same moment.
                (Value::Integer(a), Value::Integer(b)) if check != "EXISTS k" => {
                    a == b || (a.min(b) >= 0 && a.abs_diff(b) == 1)
                }
                (ref a, ref b) => a == b,
            };
            assert!(is_same, "{options}, {check}: {found:?}");
        }
    }
}

/// Random commands about whole keys of several databases; what they need is restored from `payloads`.
struct Commands<'a> {
    dice: Dice,
    payloads: &'a [Vec<u8>],
}

impl Commands<'_> {
    fn next(&mut self) -> Vec<Vec<u8>> {
        let dice = &mut self.dice;
        let mut key = || format!("key:{}", dice.random_range(0..12));
        let (one, other) = (key(), key());
        let (db, to) = (
            dice.random_range(0..4).to_string(),
            dice.random_range(0..4).to_string(),
        );
        let payload = &self.payloads[dice.random_range(0..self.payloads.len())];
        let words: Vec<&[u8]> = match dice.random_range(0..16) {
            0..=2 => vec![b"RESTORE", one.as_bytes(), b"0", payload],
            3 => vec![
                b"RESTORE",
                one.as_bytes(),
                b"99999999999999",
                payload,
                b"ABSTTL",
                b"REPLACE",
            ],
            4 => vec![
                b"RESTORE",
                one.as_bytes(),
                b"1",
                payload,
                b"ABSTTL",
                b"REPLACE",
            ],
            5 => vec![b"RESTORE", one.as_bytes(), b"1000000", payload, b"REPLACE"],
            6 => vec![b"COPY", one.as_bytes(), other.as_bytes()],
            7 => vec![
                b"COPY",
                one.as_bytes(),
                other.as_bytes(),
                b"DB",
                db.as_bytes(),
                b"REPLACE",
            ],
            8 => vec![b"MOVE", one.as_bytes(), db.as_bytes()],
            9 => vec![b"SWAPDB", db.as_bytes(), to.as_bytes()],
            10 => vec![b"SELECT", db.as_bytes()],
            11 => vec![b"RENAME", one.as_bytes(), other.as_bytes()],
            12 => vec![b"RENAMENX", one.as_bytes(), other.as_bytes()],
            13 => vec![b"OBJECT", b"ENCODING", one.as_bytes()],
            14 => vec![b"TYPE", one.as_bytes()],
            _ => vec![b"UNLINK", one.as_bytes(), other.as_bytes()],
        };
        words.into_iter().map(<[u8]>::to_vec).collect()
    }
}

#[test]
fn random_commands_here_and_on_replicas() {
    let (real, ours) = pair();
    let (mut to_real, mut to_ours) = (real.client(), ours.client());
    let keys = fill(&mut to_real);
    let payloads: Vec<Vec<u8>> = keys.iter().map(|key| dump(&mut to_real, key)).collect();
    line(&mut to_real, "FLUSHALL");
    let replica_of = |kind, master| start_server(kind, &crate::data::replica_of(master));
    let (real_of_ours, ours_of_real) =
        (replica_of(Kind::Real, &ours), replica_of(Kind::Ours, &real));
    for seed in seeds([70]) {
        let mut commands = Commands {
            dice: Dice::of(seed),
            payloads: &payloads,
        };
        for n in 0..1500 {
            let words = commands.next();
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            let (theirs, mine) = (call(&mut to_real, &words), call(&mut to_ours, &words));
            assert_eq!(theirs, mine, "command {n}: {:?}", &words[..2]);
        }
    }
    assert_eq!(digest(&real), digest(&ours));
    wait_until_equal(&real, &ours_of_real);
    wait_until_equal(&ours, &real_of_ours);
}

#[test]
fn the_stream_to_replicas_is_the_same() {
    let (real, ours) = pair();
    let payload = {
        let mut client = real.client();
        line(&mut client, "SET p v");
        let payload = dump(&mut client, "p");
        line(&mut client, "FLUSHALL");
        payload
    };
    let [theirs, mine] = [&real, &ours].map(|server| {
        let mut replica = server.client();
        let offset = crate::stream::begin(&mut replica);
        let mut client = server.client();
        for words in STREAM
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
        {
            let words: Vec<&[u8]> = words
                .split(' ')
                .map(|word| {
                    if word == "PAYLOAD" {
                        &payload
                    } else {
                        word.as_bytes()
                    }
                })
                .collect();
            call(&mut client, &words);
        }
        client.call(&["SET", "the-end", "1"]);
        crate::stream::until(&mut replica, offset, "the-end")
    });
    assert_eq!(theirs, mine);
}

const STREAM: &str = "
    SET a 1
    COPY a b
    COPY a b
    COPY a b REPLACE
    COPY a b DB 3 REPLACE
    MOVE a 4
    MOVE a 4
    MOVE b 3
    SWAPDB 3 5
    SWAPDB 0 0
    SWAPDB 0 5
    RESTORE r 0 PAYLOAD
    RESTORE r 0 PAYLOAD
    RESTORE r 0 PAYLOAD REPLACE IDLETIME 5
    RESTORE r 99999999999999 PAYLOAD REPLACE ABSTTL
    RESTORE r 1 PAYLOAD REPLACE ABSTTL
    RESTORE r 1 PAYLOAD REPLACE ABSTTL
    RESTORE r 9223372036854775807 PAYLOAD
    RESTORE r 9223372036854775807 PAYLOAD ABSTTL
    RESTORE r 9223372036854775807 PAYLOAD REPLACE
    DUMP a
    OBJECT ENCODING b
    TOUCH b
    FLUSHDB SYNC
    SELECT 5
    FLUSHDB ASYNC
";

#[test]
fn what_replicas_are_told_of_an_expiry() {
    crate::both::check_stream(
        r#"
        set a 1 pxat 99999999999999
        SET a 1 PXAT 99999999999999
        set a 1 nx get pxat 99999999999999
        set b 1 nx exat 99999999999
        set b 1 xx keepttl
        set b 1
        pexpireat b 9999999999998
        PExpireAt b 9999999999999 gt
        expireat b 99999999999 lt
    "#,
    );
}

#[test]
fn what_has_changed_is_saved_by_flushall_where_there_are_save_points() {
    for lines in ["save 3600 1\n", ""] {
        let changes = [Kind::Real, Kind::Ours].map(|kind| {
            let server = start_server(kind, lines);
            let mut client = server.client();
            let mut seen = Vec::new();
            for words in [
                "SET k v", "FLUSHALL", "SET k v", "MULTI", "SET l v", "FLUSHALL", "EXEC",
            ] {
                line(&mut client, words);
                seen.push(server.info("rdb_changes_since_last_save"));
            }
            seen
        });
        assert_eq!(changes[0], changes[1], "{lines:?}");
    }
}

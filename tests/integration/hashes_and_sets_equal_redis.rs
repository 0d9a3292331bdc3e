//! Hashes and sets: redis-server 7.0 and ours answer the same, hold the same in the end, tell their replicas the
//! same, and read each other's files.

use std::collections::BTreeSet;

use rand::RngExt;
use sentinel::resp::Value;

use crate::both::{Both, check_events, check_files, check_replicas, check_stream, lines_of};
use crate::data::{Dice, seeds, send};
use crate::stream;
use crate::support::{Client, Kind, start_server, text, texts};

/// Random commands about few keys.
struct HashesAndSets(Dice);

impl HashesAndSets {
    fn of(seed: u64) -> HashesAndSets {
        HashesAndSets(Dice::of(seed))
    }

    fn key(&mut self, kind: &str) -> String {
        match self.0.random_range(0..30) {
            0 => "plain".to_owned(),
            1 => "missing".to_owned(),
            2 => "set:1".to_owned(),
            3 => "hash:1".to_owned(),
            _ => self.0.key(kind, 6),
        }
    }

    fn word(&mut self) -> String {
        match self.0.random_range(0..60) {
            0 => "a long word ".repeat(6),
            1 => String::new(),
            2..=25 => self.0.random_range(-99..900).to_string(),
            26 => self.0.random::<i64>().to_string(),
            27 => self.0.random::<i32>().to_string(),
            28 => "1.5".to_owned(),
            _ => format!("w{}", self.0.random_range(0..40)),
        }
    }

    fn next(&mut self) -> Vec<String> {
        let (hash, set, other, to) = (
            self.key("hash"),
            self.key("set"),
            self.key("set"),
            self.key("set"),
        );
        let (one, two, three, four) = (self.word(), self.word(), self.word(), self.word());
        let number = self.0.pick(&[
            "1",
            "-3",
            "0",
            "9223372036854775807",
            "x",
            "1.5",
            "inf",
            "3e2",
        ]);
        let limit = self.0.pick(&["0", "1", "3", "-1", "x"]);
        let integer = self.0.random_range(-3000..3000).to_string();
        let line: Vec<&str> = match self.0.random_range(0..46) {
            0..=4 => vec!["HSET", &hash, &one, &two],
            5..=6 => vec!["HSET", &hash, &one, &two, &three, &four],
            7 => vec!["HMSET", &hash, &one, &two, &three, &four],
            8 => vec!["HSET", &hash, &one, &two, &three],
            9 => vec!["HSETNX", &hash, &one, &two],
            10 => vec!["HGET", &hash, &one],
            11 => vec!["HMGET", &hash, &one, &two, &three],
            12 => vec!["HGETALL", &hash],
            13 => vec!["HKEYS", &hash],
            14 => vec!["HVALS", &hash],
            15 => vec!["HLEN", &hash],
            16 => vec!["HEXISTS", &hash, &one],
            17..=18 => vec!["HDEL", &hash, &one, &two],
            19 => vec!["HSTRLEN", &hash, &one],
            20 => vec!["HINCRBY", &hash, &one, number],
            21 => vec!["HINCRBYFLOAT", &hash, &one, number],
            22..=24 => vec!["SADD", &set, &one, &two, &three],
            25..=26 => vec!["SADD", &set, &integer, "7", "8"],
            27..=28 => vec!["SREM", &set, &one, &two],
            29 => vec!["SMEMBERS", &set],
            30 => vec!["SISMEMBER", &set, &one],
            31 => vec!["SMISMEMBER", &set, &one, &two],
            32 => vec!["SCARD", &set],
            33 => vec!["SPOP", &set, "100000"],
            34 => vec!["SMOVE", &set, &other, &one],
            35 => vec!["SINTER", &set, &other],
            36 => vec!["SINTERSTORE", &to, &set, &other],
            37 => vec!["SINTERCARD", "2", &set, &other, "LIMIT", limit],
            38 => vec!["SUNION", &set, &other],
            39 => vec!["SUNIONSTORE", &to, &set, &other],
            40 => vec!["SDIFF", &set, &other],
            41 => vec!["SDIFFSTORE", &to, &set, &other],
            42 => vec!["SRANDMEMBER", &set, "100000"],
            43 => vec!["HRANDFIELD", &hash, "100000", "WITHVALUES"],
            44 => vec!["DEL", &hash],
            _ => vec!["TYPE", &set],
        };
        line.into_iter().map(str::to_owned).collect()
    }
}

/// Replies that have no order: by the size of the parts that stay together.
const UNORDERED: &[(&str, usize)] = &[
    ("HGETALL", 2),
    ("HKEYS", 1),
    ("HVALS", 1),
    ("HRANDFIELD", 2),
    ("SMEMBERS", 1),
    ("SPOP", 1),
    ("SINTER", 1),
    ("SUNION", 1),
    ("SDIFF", 1),
    ("SRANDMEMBER", 1),
];

/// A reply whose order does not matter, in one order.
fn sorted(command: &str, reply: Value) -> Value {
    let Some((_, size)) = UNORDERED.iter().find(|(name, _)| *name == command) else {
        return reply;
    };
    let sort = |items: Vec<Value>, size: usize| {
        let mut parts: Vec<Vec<Value>> = items.chunks(size).map(<[Value]>::to_vec).collect();
        parts.sort_by_key(|part| format!("{part:?}"));
        parts.concat()
    };
    if let Value::Array(items) = reply {
        let is_nested = items.iter().any(|item| matches!(item, Value::Array(_)));
        Value::Array(sort(items, if is_nested { 1 } else { *size }))
    } else if let Value::Set(items) = reply {
        Value::Set(sort(items, 1))
    } else if let Value::Map(mut pairs) = reply {
        pairs.sort_by_key(|pair| format!("{pair:?}"));
        Value::Map(pairs)
    } else {
        reply
    }
}

fn check(both: &mut Both, words: &[String]) {
    both.check_by(words, |reply| sorted(&words[0], reply));
}

/// Both, and both protocols.
fn each_protocol(mut run: impl FnMut(&mut Both)) {
    for protocol in ["2", "3"] {
        let mut both = Both::start();
        both.speak(protocol);
        check(&mut both, &["SET", "plain", "text"].map(str::to_owned));
        run(&mut both);
        both.check_data();
    }
}

#[test]
fn chosen_lines() {
    each_protocol(|both| lines_of(LINES).for_each(|words| check(both, &words)));
}

#[test]
fn random_commands() {
    for seed in seeds([90]) {
        each_protocol(|both| {
            let mut commands = HashesAndSets::of(seed);
            for _ in 0..3000 {
                check(both, &commands.next());
            }
        });
    }
}

/// Fills a hash and a set of each form.
fn fill(client: &mut Client) {
    for n in 0..700 {
        let (n, word) = (n.to_string(), format!("member {n}"));
        client.call(&["SADD", "large set", &word]);
        client.call(&["SADD", "large integers", &n]);
        client.call(&["HSET", "large hash", &word, &n]);
        if n.len() < 3 {
            client.call(&["SADD", "integers", &n]);
            client.call(&["HSET", "hash", &word, &n]);
        }
    }
}

fn walk(client: &mut Client, command: &str, key: &str) -> BTreeSet<Vec<String>> {
    let size = if command == "HSCAN" { 2 } else { 1 };
    let (mut cursor, mut found) = ("0".to_owned(), BTreeSet::new());
    loop {
        let Value::Array(parts) = client.call(&[command, key, &cursor, "COUNT", "13"]) else {
            panic!("no array");
        };
        found.extend(texts(&parts[1]).chunks(size).map(<[String]>::to_vec));
        cursor = text(&parts[0]);
        if cursor == "0" {
            break found;
        }
    }
}

#[test]
fn a_walk_sees_everything() {
    let mut both = Both::start();
    both.clients.iter_mut().for_each(fill);
    for (command, key, len) in [
        ("SSCAN", "large set", 700),
        ("SSCAN", "large integers", 700),
        ("SSCAN", "integers", 100),
        ("HSCAN", "large hash", 700),
        ("HSCAN", "hash", 100),
    ] {
        let [theirs, mine] = both
            .clients
            .each_mut()
            .map(|client| walk(client, command, key));
        assert_eq!(theirs, mine);
        assert_eq!(mine.len(), len);
    }
}

#[test]
fn elements_at_random_are_elements() {
    let ours = start_server(Kind::Ours, "");
    let mut client = ours.client();
    fill(&mut client);
    for key in ["hash", "large hash"] {
        assert!(text(&client.call(&["HRANDFIELD", key])).starts_with("member "));
        let fields = texts(&client.call(&["HRANDFIELD", key, "60"]));
        assert_eq!(fields.iter().collect::<BTreeSet<_>>().len(), 60);
        let pairs = texts(&client.call(&["HRANDFIELD", key, "-900", "WITHVALUES"]));
        assert_eq!(pairs.len(), 1800);
        for pair in pairs.chunks(2) {
            assert_eq!(pair[0], format!("member {}", pair[1]));
        }
    }
    for key in ["integers", "large set", "large integers"] {
        let all: BTreeSet<String> = texts(&client.call(&["SMEMBERS", key]))
            .into_iter()
            .collect();
        let some = texts(&client.call(&["SRANDMEMBER", key, "60"]));
        let some: BTreeSet<String> = some.into_iter().collect();
        assert!(some.len() == 60 && some.is_subset(&all));
        assert_eq!(
            texts(&client.call(&["SRANDMEMBER", key, "-900"])).len(),
            900
        );
        assert!(all.contains(&text(&client.call(&["SRANDMEMBER", key]))));
        let popped = texts(&client.call(&["SPOP", key, "60"]));
        let popped: BTreeSet<String> = popped.into_iter().collect();
        assert!(popped.len() == 60 && popped.is_subset(&all));
        let one = text(&client.call(&["SPOP", key]));
        assert!(all.contains(&one) && !popped.contains(&one));
        let left = texts(&client.call(&["SMEMBERS", key]));
        assert_eq!(left.len() + 61, all.len());
        assert!(left.iter().all(|m| !popped.contains(m) && *m != one));
    }
    let refused = text(&client.call(&["SRANDMEMBER", "integers", "-99999999999"]));
    assert_eq!(refused, "ERR value is out of range");
}

#[test]
fn the_stream_to_replicas_is_the_same() {
    check_stream(STREAM);
}

#[test]
fn the_same_is_told_to_those_who_listen() {
    check_events(STREAM);
}

fn write(client: &mut Client, commands: &mut HashesAndSets, count: usize) {
    for n in 0..count {
        send(client, &commands.next());
        if n % 20 == 0 {
            client.call(&["SPOP", "set:2"]);
            client.call(&["SPOP", "set:3", "2"]);
        }
    }
}

#[test]
fn replicas_hold_the_same() {
    let begin = |client: &mut Client, seed| {
        fill(client);
        HashesAndSets::of(seed)
    };
    check_replicas(92, begin, |client, commands| write(client, commands, 500));
}

#[test]
fn files_are_exchanged() {
    check_files(94, |client, seed| {
        fill(client);
        write(client, &mut HashesAndSets::of(seed), 1000);
    });
}

/// What replicas are told, where chance has no part.
const STREAM: &str = r#"
    HSET h a 1 b 2
    HSET h a 1
    HMSET h c 3
    HSETNX h a 9
    HSETNX h d 4
    HINCRBY h a 5
    HINCRBYFLOAT h a 1.5
    HINCRBYFLOAT h a x
    HDEL h missing
    HDEL h a b
    HDEL h c d
    SADD s a b c
    SADD s a
    SADD s d e
    SREM s x
    SREM s a x
    SMOVE s t b
    SMOVE s t missing
    SMOVE s t t
    SMOVE t t b
    SADD t c
    SMOVE s t c
    SUNIONSTORE u s t
    SINTERSTORE u s t
    SINTERSTORE u s t
    SINTERSTORE u s s
    SDIFFSTORE u s t
    SDIFFSTORE u u u
    SDIFFSTORE u missing
    SADD one x
    SPOP one
    SPOP one
    SPOP t 0
    SPOP t 100
    SPOP t 100
    SADD one y
    SMOVE one two y
    SREM two y
    SADD many 1 2 3
    SREM many 1 2 3
    SADD same a
    SPOP same 1
"#;

/// One command a line; words are separated by single blanks, `""` is an empty word.
const LINES: &str = r#"
    SCAN ""
    SCAN -
    SCAN +0
    HSET
    HSET h
    HSET h a
    HSET h a 1 b
    HMSET h a 1 b
    HSET plain a 1 b
    HSET plain a 1
    HSET h a 1 b 2 a 3
    HMSET h c 3 d 4
    HSET h "" ""
    HGET h ""
    HGET h a
    HGET h missing
    HGET missing a
    HGET plain a
    HGET h
    HMGET h a missing b
    HMGET missing a b
    HMGET plain a
    HGETALL h
    HGETALL missing
    HGETALL plain
    HKEYS h
    HKEYS missing
    HKEYS plain
    HVALS h
    HVALS missing
    HLEN h
    HLEN missing
    HLEN plain
    HEXISTS h a
    HEXISTS h z
    HEXISTS missing a
    HEXISTS plain a
    HSTRLEN h a
    HSTRLEN h z
    HSTRLEN missing z
    HSTRLEN plain z
    HSETNX h a 9
    HSETNX h e 5
    HSETNX plain e 5
    HINCRBY h a 1
    HINCRBY h new -5
    HINCRBY h "" 1
    HINCRBY h a x
    HINCRBY h a 1.5
    HINCRBY h a 9223372036854775807
    HINCRBY h a -9223372036854775808
    HINCRBY plain a 1
    HINCRBY plain a x
    HSET h text abc
    HINCRBY h text 1
    HINCRBYFLOAT h text 1
    HINCRBYFLOAT h a 1.5
    HINCRBYFLOAT h a 1
    HINCRBYFLOAT h f 0.1
    HINCRBYFLOAT h f 3.0e3
    HINCRBYFLOAT h f x
    HINCRBYFLOAT h f inf
    HINCRBYFLOAT h f -inf
    HINCRBYFLOAT h f nan
    HINCRBYFLOAT h f 1e-5000
    HINCRBYFLOAT h f 1e5000
    HINCRBYFLOAT h f 0x1p20000
    HINCRBYFLOAT h f 0x1p-16446
    HSET h far 1e-5000
    HINCRBYFLOAT h far 1
    HSET h far 0x1p20000
    HINCRBYFLOAT h far 1
    HSET h far 0x1p-16445
    HINCRBYFLOAT h far 1
    HINCRBYFLOAT plain f 1
    HSET h inf inf
    HINCRBYFLOAT h inf 1
    HINCRBY h a
    HDEL h a
    HDEL h a b missing
    HDEL missing a
    HDEL plain a
    HDEL h
    HRANDFIELD missing
    HRANDFIELD missing 5
    HRANDFIELD missing 5 WITHVALUES
    HRANDFIELD plain
    HRANDFIELD plain 5
    HRANDFIELD h x
    HRANDFIELD h 0
    HRANDFIELD h 0 bogus
    HRANDFIELD h 1 WITHVALUES more
    HRANDFIELD h -9223372036854775808
    HRANDFIELD h 9223372036854775808
    HRANDFIELD h 9223372036854775807 WITHVALUES
    HRANDFIELD h 4611686018427387904 WITHVALUES
    HRANDFIELD h -4611686018427387904 WITHVALUES
    HRANDFIELD h 1000 withvalues
    HRANDFIELD h 1000
    HSET single a 1
    HRANDFIELD single
    HRANDFIELD single -3
    HRANDFIELD single -3 WITHVALUES
    HRANDFIELD single 1 WITHVALUES
    HSCAN h
    HSCAN h x
    HSCAN h ""
    HSCAN h -1
    HSCAN h +0
    HSCAN h -
    HSCAN h 18446744073709551616
    HSCAN h 0
    HSCAN h 0 MATCH t*
    HSCAN h 0 COUNT 1
    HSCAN h 0 COUNT 0
    HSCAN h 0 COUNT x
    HSCAN h 0 COUNT
    HSCAN h 0 TYPE hash
    HSCAN h 0 BOGUS 1
    HSCAN missing 0 BOGUS 1
    HSCAN missing x
    HSCAN plain 0
    SADD
    SADD s
    SADD s a a b
    SADD s a
    SADD plain a
    SADD s ""
    SADD i 1 2 3 -5 99999999999
    SADD i 007
    SCARD s
    SCARD missing
    SCARD plain
    SMEMBERS s
    SMEMBERS i
    SMEMBERS missing
    SMEMBERS plain
    SISMEMBER s a
    SISMEMBER s z
    SISMEMBER missing z
    SISMEMBER plain z
    SISMEMBER i 7
    SISMEMBER i 007
    SMISMEMBER s a z ""
    SMISMEMBER missing a z
    SMISMEMBER plain a
    SMISMEMBER s
    SREM s a z
    SREM missing a
    SREM plain a
    SREM s
    SADD t b c d
    SADD s b c x
    SINTER s t
    SINTER s
    SINTER s missing
    SINTER missing
    SINTER s plain
    SINTER missing plain
    SINTER
    SUNION s t missing i
    SUNION missing
    SUNION s plain
    SDIFF s t
    SDIFF s s
    SDIFF missing s
    SDIFF s missing
    SDIFF s plain
    SDIFF missing plain
    SINTERSTORE d s t
    SMEMBERS d
    SINTERSTORE d s missing
    EXISTS d
    SINTERSTORE d s plain
    SINTERSTORE plain s t
    TYPE plain
    SET plain text
    SINTERSTORE plain missing
    EXISTS plain
    SET plain text
    SUNIONSTORE d s t
    SMEMBERS d
    SUNIONSTORE s s t
    SDIFFSTORE d s t
    SMEMBERS d
    SDIFFSTORE d s s
    EXISTS d
    SADD many 1 2 3 4 5 6 7 8 9 10 11 12 x
    SADD few:1 x 3
    SADD few:2 y 4 3
    SDIFF many few:1
    SDIFF many few:1 few:2 few:2 missing few:1
    SDIFF many few:1 few:2 few:2 many few:1
    SDIFFSTORE d many few:1
    OBJECT ENCODING d
    SDIFFSTORE d many few:1 missing missing missing
    OBJECT ENCODING d
    SDIFFSTORE d many few:1 few:2 few:2 few:1
    OBJECT ENCODING d
    SMEMBERS d
    SDIFFSTORE d many few:1 few:2 many few:2 few:1
    EXISTS d
    SDIFFSTORE many many few:1 few:2 few:2 few:1
    OBJECT ENCODING many
    SMEMBERS many
    DEL d many
    SUNIONSTORE
    SUNIONSTORE d
    SINTERCARD 1 s
    SINTERCARD 2 s t
    SINTERCARD 2 s t LIMIT 1
    SINTERCARD 2 s t limit 0
    SINTERCARD 2 s t LIMIT -1
    SINTERCARD 2 s t LIMIT x
    SINTERCARD 2 s t LIMIT
    SINTERCARD 2 s t BOGUS 1
    SINTERCARD 2 s t LIMIT 1 LIMIT 5
    SINTERCARD 3 s t
    SINTERCARD 0 s
    SINTERCARD -1 s
    SINTERCARD x s
    SINTERCARD 2 s plain
    SINTERCARD 2 s missing
    SINTERCARD 1
    SMOVE s t b
    SMOVE s t x
    SMOVE s s c
    SMOVE s s nothing
    SMOVE missing t b
    SMOVE missing plain b
    SMOVE s plain c
    SMOVE s plain nothing
    SMOVE plain s b
    SPOP missing
    SPOP missing 3
    SPOP plain
    SPOP plain 1
    SPOP s 0
    SPOP s -1
    SPOP s x
    SPOP s 1 2
    SPOP t 1000
    EXISTS t
    SADD single one
    SPOP single
    EXISTS single
    SADD single 1
    SPOP single 1
    SRANDMEMBER missing
    SRANDMEMBER missing 3
    SRANDMEMBER plain
    SRANDMEMBER plain 1
    SRANDMEMBER s 0
    SRANDMEMBER s x
    SRANDMEMBER s 1 2
    SRANDMEMBER s -9223372036854775808
    SRANDMEMBER s 9223372036854775807
    SRANDMEMBER s 1000
    SRANDMEMBER i 1000
    SADD single one
    SRANDMEMBER single
    SRANDMEMBER single 1
    SRANDMEMBER single -3
    SADD j 1 2 3 -5 99999999999
    SSCAN j 0
    SSCAN i x
    SSCAN i 0 MATCH 9*
    SSCAN i 0 COUNT 0
    SSCAN i 0 TYPE set
    SSCAN missing 0
    SSCAN plain 0
    COMMAND GETKEYS SINTERCARD 2 a b LIMIT 1
    COMMAND GETKEYS SUNIONSTORE d a b
"#;

/// Members that go together reach a replica in few commands, which a transaction has room for.
#[test]
fn many_members_are_popped_in_few_commands() {
    const MEMBERS: usize = 5000;
    let server = start_server(Kind::Ours, "");
    let mut client = server.client();
    let members: Vec<String> = (0..MEMBERS).map(|n| format!("m{n}")).collect();
    let mut line = vec!["SADD".to_owned(), "s".to_owned()];
    line.extend(members);
    send(&mut client, &line);
    let mut replica = server.client();
    let received = stream::begin(&mut replica);
    let popped = texts(&client.call(&["SPOP", "s", "4000"]));
    client.call(&["SET", "the end", "1"]);
    let commands = stream::until(&mut replica, received, "the end");
    let removed: Vec<&String> = commands
        .iter()
        .filter(|words| words[0] == "SREM")
        .flat_map(|words| &words[2..])
        .collect();
    assert_eq!(removed, popped.iter().collect::<Vec<_>>());
    assert!(commands.len() < 10, "{}", commands.len());
}

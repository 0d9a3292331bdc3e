//! The same commands to redis-server 7.0 and to ours: the same replies, errors included, and the same data in
//! the end.

use sentinel::resp::{Value, encode_request};

use crate::both::{Both, start_both};
use crate::data::{Commands, digest, seeds, send};
use crate::support::{Client, Kind, ServerNode, expect_that, secs, start_server, text, wait_for};

/// Replies are equal. Only what tells the time may differ, as the two are not asked in the same moment: by a few
/// seconds of a time that is far away.
fn is_same(words: &[String], a: &Value, b: &Value) -> bool {
    let slack = match words[0].to_ascii_uppercase().as_str() {
        "TTL" | "EXPIRETIME" => 5,
        "PTTL" | "PEXPIRETIME" => 5000,
        // What is asked in a transaction is asked in seconds.
        "EXEC" => 5,
        _ => 0,
    };
    is_within(slack, a, b)
}

fn is_within(slack: i64, a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_within(slack, a, b))
        }
        (Value::Integer(a), Value::Integer(b)) => {
            a == b || (a.min(b) > &(10 * slack) && (a - b).abs() <= slack)
        }
        _ => a == b,
    }
}

fn check(real: &mut Client, ours: &mut Client, words: &[String]) {
    compare(words, &send(real, words), &send(ours, words));
}

fn compare(words: &[String], theirs: &Value, mine: &Value) {
    assert!(
        is_same(words, theirs, mine),
        "{words:?}: redis-server answers {:?}, ours {:?}",
        text(theirs),
        text(mine)
    );
}

#[test]
fn random_commands() {
    for seed in seeds([50, 51, 52]) {
        let (real, ours) = (start_server(Kind::Real, ""), start_server(Kind::Ours, ""));
        let (mut to_real, mut to_ours) = (real.client(), ours.client());
        let mut commands = Commands::of(seed);
        for _ in 0..4000 {
            check(&mut to_real, &mut to_ours, &commands.next());
        }
        if let Some(end) = commands.end() {
            check(&mut to_real, &mut to_ours, &end);
        }
        assert_eq!(digest(&real), digest(&ours), "seed {seed}");
    }
}

#[test]
fn chosen_lines() {
    let (real, ours) = (start_server(Kind::Real, ""), start_server(Kind::Ours, ""));
    let (mut to_real, mut to_ours) = (real.client(), ours.client());
    for line in LINES.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<String> = line
            .split(' ')
            .map(|word| word.trim_matches('"').to_owned())
            .collect();
        let call: Vec<&str> = words.iter().map(String::as_str).collect();
        compare(&words, &to_real.call(&call), &to_ours.call(&call));
    }
    assert_eq!(digest(&real), digest(&ours));
}

/// One command a line; words are separated by single blanks, `""` is an empty word.
const LINES: &str = r#"
    PING
    PING hello
    PING a b
    ECHO hi
    ECHO
    NOSUCH a b c
    GET
    GET a b
    SET a
    SET a 1 EX
    SET a 1 EX 0
    SET a 1 EX -1
    SET a 1 EX x
    SET a 1 PX 9223372036854775807
    SET a 1 EX 9223372036854775
    SET a 1 NX XX
    SET a 1 EX 10 PX 10
    SET a 1 EX 10 ex 20
    GETEX a EX 10 EX 30
    GETEX a PERSIST persist
    EXEC a
    SET a 1 EX 10 KEEPTTL
    SET a 1 NX GET
    SET a 2 XX GET
    SETEX a 0 1
    PSETEX a x 1
    GETEX a EX 0
    GETEX missing EX 0
    GETEX a PERSIST EX 1
    INCR a
    SET a abc
    INCR a
    INCRBYFLOAT a 1
    INCRBYFLOAT n 3.0e3
    INCRBYFLOAT n 1.23456789
    INCRBYFLOAT n nan
    INCRBYFLOAT n inf
    INCRBYFLOAT n 1e-5000
    INCRBYFLOAT n -1e-5000
    INCRBYFLOAT n 1e5000
    INCRBYFLOAT n 0x1p-20000
    INCRBYFLOAT n 0x1p20000
    INCRBYFLOAT n 0x0p99999999999
    INCRBYFLOAT n 0x1p-16445
    INCRBYFLOAT n 0x1p-16446
    INCRBYFLOAT n 0x1p16384
    INCRBYFLOAT n 1.2e4932
    INCRBYFLOAT n 1e-4950
    INCRBYFLOAT n 1e-4951
    INCRBYFLOAT n 0e99999999999
    INCRBYFLOAT n 1e-99999999999999999999
    INCRBYFLOAT n -Infinity
    INCRBYFLOAT n nan
    SET far 1e-5000
    INCRBYFLOAT far 1
    SET far -1e-5000
    INCRBYFLOAT far 1
    SET far 1e5000
    INCRBYFLOAT far 1
    SET far 0x1p-20000
    INCRBYFLOAT far 1
    SET far 0x1p20000
    INCRBYFLOAT far 1
    SET far 0x0p99999999999
    INCRBYFLOAT far 1
    SET far 0x1p-16445
    INCRBYFLOAT far 1
    SET far 0x1p-16446
    INCRBYFLOAT far 1
    SET far 0x1p16383
    INCRBYFLOAT far 1
    SET far 0x1p16384
    INCRBYFLOAT far 1
    SET far 1.18e4932
    INCRBYFLOAT far 1
    SET far 1.2e4932
    INCRBYFLOAT far 1
    SET far 1e-4950
    INCRBYFLOAT far 1
    SET far 1e-4951
    INCRBYFLOAT far 1
    SET far 0e99999999999
    INCRBYFLOAT far 1
    SET far 1e-99999999999999999999
    INCRBYFLOAT far 1
    SET far -Infinity
    INCRBYFLOAT far 1
    SET far nan
    INCRBYFLOAT far 1
    INCRBYFLOAT long 1e308
    INCRBYFLOAT long 1e308
    SET big 9223372036854775807
    INCR big
    DECRBY big -1
    DECRBY big -9223372036854775808
    MSET a
    MSET a 1 b
    MSETNX a 1 b
    MSET a 1 b 2
    APPEND c ""
    STRLEN c
    EXISTS c
    SETRANGE d -1 x
    SETRANGE d 5 ""
    EXISTS d
    SETRANGE d 5 xyz
    GET d
    SETRANGE d 536870912 x
    GETRANGE d 0 -1
    GETRANGE d -3 -1
    GETRANGE d -1 -3
    GETRANGE d 100 200
    GETRANGE d x 1
    RENAME missing x
    RENAME a a
    RENAMENX a a
    RENAMENX a b
    EXPIRE a x
    EXPIRE a 10 NX XX
    EXPIRE a 10 GT LT
    EXPIRE a 10 FOO
    EXPIRE a 9223372036854775807
    EXPIRE a 100 GT
    EXPIRE a 100 LT
    EXPIRE a 100 NX
    TTL a
    PERSIST a
    PERSIST a
    TTL missing
    EXPIREAT a 0
    EXISTS a
    SELECT 16
    SELECT -1
    SELECT x
    SELECT 1
    DBSIZE
    SET z 1
    KEYS *
    KEYS [
    KEYS z
    SCAN 0
    SCAN x
    SCAN 0 COUNT 0
    SCAN 0 COUNT x
    SCAN 0 MATCH q* COUNT 100
    SCAN 0 TYPE string
    SCAN 0 TYPE list
    SCAN 0 BOGUS 1
    TYPE z
    TYPE missing
    RANDOMKEY
    FLUSHDB BOGUS
    FLUSHDB ASYNC
    RANDOMKEY
    SELECT 0
    EXEC
    DISCARD
    MULTI
    MULTI
    SET t 1
    GET
    EXEC
    MULTI
    SET t 1
    WATCH t
    INCR t
    EXEC
    MULTI
    SET t 1
    INCR t
    PING
    EXEC
    WATCH t
    SET t 5
    MULTI
    GET t
    EXEC
    WATCH t
    UNWATCH
    SET t 6
    MULTI
    GET t
    EXEC
    MULTI
    SAVE
    EXEC
    MULTI
    SET t 7
    DISCARD
    MULTI
    SLOWLOG RESET
    LATENCY RESET
    LATENCY RESET command
    GET t
    EXEC
    GET t
    MULTI
    ACL SETUSER default -strlen
    STRLEN t
    ACL SETUSER default resetkeys ~u
    SET t 8
    ACL SETUSER default resetchannels
    PUBLISH ch m
    ACL SETUSER default +@all ~* &*
    EXEC
    ACL SETUSER w on nopass +@all %W~a
    ACL DRYRUN w SET a 1
    ACL DRYRUN w SET a GET
    ACL DRYRUN w SET a 1 NX Get
    COMMAND GETKEYSANDFLAGS SET k 1
    COMMAND GETKEYSANDFLAGS SET k 1 GET
    REPLCONF
    REPLCONF foo bar
    REPLCONF listening-port
    REPLCONF listening-port x
    REPLCONF capa eof capa psync2
    PSYNC ? x
    WAIT x 0
    WAIT 0 x
    WAIT 0 -1
    WAIT 0 0
    REPLICAOF localhost x
    REPLICAOF no one
    ROLE
    LASTSAVE x
    BGSAVE x
    MULTI
    BGSAVE
    EXEC
    CONFIG GET maxmemory
    CONFIG GET
    CONFIG SET nosuch 1
    CONFIG SET port
    CONFIG SET repl-timeout 0
    CONFIG SET repl-timeout x
    CONFIG SET databases 5
    CONFIG SET replica-priority 7
    CONFIG GET replica-priority
    CONFIG GET slave-priority
    CONFIG NOSUCH
    CLIENT GETNAME
    CLIENT SETNAME x
    CLIENT GETNAME
    CLIENT KILL 1.2.3.4:5
    CLIENT KILL TYPE bogus
    CLIENT PAUSE x
    PUBSUB CHANNELS
    PUBSUB NUMSUB a
    PUBSUB NUMPAT
    PUBLISH ch m
    SHUTDOWN BOGUS
    SHUTDOWN SAVE NOSAVE
    SHUTDOWN ABORT
    DEBUG DIGEST
    DEBUG DIGEST-VALUE
    DEBUG DIGEST-VALUE a nosuch
    AUTH x
    AUTH a b
    HELLO 4
    SELECT 0
    RESET
    QUIT
"#;

#[test]
fn errors_repeat_words_as_they_came() {
    // No UTF-8, line breaks, a zero byte, which ends it, and more than some texts take of it.
    let long = [b"z".repeat(200), vec![0xff]].concat();
    let given: [&[u8]; 4] = [b"\xff\xfe", b"a\r\nb\r\n", b"x\0y", &long];
    for given in given {
        let servers = start_both("");
        let mut clients = servers.each_ref().map(ServerNode::client);
        for line in REPEATED_IN_ERRORS.lines().map(str::trim) {
            let words: Vec<Vec<u8>> = line
                .split_terminator(' ')
                .map(|word| match word.split_once('?') {
                    Some((before, after)) => [before.as_bytes(), given, after.as_bytes()].concat(),
                    None => word.as_bytes().to_vec(),
                })
                .collect();
            if words.is_empty() {
                continue;
            }
            let mut bytes = Vec::new();
            encode_request(&words, &mut bytes);
            let [theirs, mine] = clients.each_mut().map(|client| {
                client.send_raw(&bytes).expect("it takes a request");
                client.receive().expect("it answers")
            });
            assert_eq!(
                theirs,
                mine,
                "{line} with {:?}",
                given.escape_ascii().to_string()
            );
        }
    }
}

/// One command a line; each `?` is the word, or in it.
const REPEATED_IN_ERRORS: &str = "
    ?
    ? ? ?
    NOSUCH ?b ? ?
    SET k v
    EXPIRE k 100 ?
    PEXPIRE k 100 NX ?
    EXPIREAT k 100 ?
    PEXPIREAT k 100 ?
    ACL ?
    ACL CAT ?
    ACL LIST ?
    ACL SETUSER a ?
    ACL SETUSER a +?
    ACL SETUSER a -?
    ACL SETUSER a +@?
    ACL SETUSER a +config|?
    ACL SETUSER a >?
    ACL SETUSER a <b?
    ACL SETUSER a #?
    ACL SETUSER a !?
    ACL SETUSER a %?~x
    ACL SETUSER a (?
    ACL SETUSER a (? b?)
    ACL DRYRUN ? get k
    ACL DRYRUN default ? k
    ACL SETUSER a reset +get +publish ~none &none
    ACL DRYRUN a get ?
    ACL DRYRUN a set ? v
    ACL DRYRUN a publish ? m
    CLIENT ?
    CLIENT LIST TYPE ?
    CLIENT KILL TYPE ?
    CLIENT KILL USER ?
    CLIENT TRACKING ON BCAST PREFIX ? PREFIX ?a
    CLIENT TRACKING ON BCAST PREFIX ?1
    CLIENT TRACKING ON BCAST PREFIX ?
    CONFIG ?
    CONFIG SET ? 1
    CONFIG SET maxmemory 1gb ? 1
    DEBUG ?
    DEBUG ? ?
    DEBUG ERROR ?
    HELLO 2 ?
    HELLO 2 ? a b
    LATENCY ?
    LATENCY GRAPH ?
    PFADD h a
    PFDEBUG ? h
    REPLCONF ? 1
    REPLCONF rdb-filter-only ?
";

#[test]
fn the_stream_to_replicas_is_the_same() {
    // What a replica is sent for each of these, seen by a client that poses as one.
    let (real, ours) = (start_server(Kind::Real, ""), start_server(Kind::Ours, ""));
    let streams = [real, ours].map(|server| {
        let mut replica = server.client();
        let mut commands = STREAM
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty());
        let offset = crate::stream::begin(&mut replica);
        // FLUSHALL kills a child that has sent the data and not been collected yet, and with it the link.
        wait_for("the transfer is over", secs(20), || {
            let running = server.info("rdb_bgsave_in_progress");
            expect_that(running.as_deref() == Some("0"), || format!("{running:?}"))
        });
        let mut client = server.client();
        commands.by_ref().for_each(|line| {
            client.call(&line.split(' ').collect::<Vec<_>>());
        });
        client.call(&["SET", "the-end", "1"]);
        crate::stream::until(&mut replica, offset, "the-end")
    });
    let [real, ours] = streams;
    for (at, (theirs, mine)) in real.iter().zip(&ours).enumerate() {
        assert_eq!(
            theirs,
            mine,
            "command {at} of the stream; before it: {:?}",
            &ours[..at]
        );
    }
    assert_eq!(real.len(), ours.len());
}

const STREAM: &str = "
    SET a 1
    set a 1 xx
    SET a 1 NX
    SET a 2 GET
    SET a 1 PXAT 99999999999999
    SET a 1 KEEPTTL
    SETNX b 1
    SETNX b 1
    GETSET b 3
    GETDEL b
    GETDEL b
    GETEX a PXAT 99999999999998
    GETEX a PERSIST
    GETEX a PERSIST
    MSET a 1 b 2
    MSETNX a 1
    APPEND a x
    SETRANGE a 1 y
    INCR b
    INCRBY b 5
    DECR b
    INCRBYFLOAT b 1.5
    EXPIREAT a 99999999999
    PEXPIREAT a 99999999999997 XX
    PEXPIREAT a 99999999999997 NX
    PERSIST a
    PERSIST a
    EXPIRE a -1
    DEL a missing
    DEL b missing
    RENAME missing x
    MSET a 1 b 2
    RENAME a c
    RENAMENX b c
    RENAMENX b d
    UNLINK c d
    SELECT 3
    SET s 1
    MULTI
    SET t 1
    EXEC
    MULTI
    SET t 1
    SELECT 5
    SET t 2
    SELECT 3
    INCR t
    EXEC
    MULTI
    GET t
    EXEC
    PUBLISH ch hello
    FLUSHDB
    SELECT 0
    FLUSHALL
";

/// Values with a buffer of their own, in pieces that end anywhere, are what they were, and stay so when they are
/// changed, queued and kept by a snapshot.
#[test]
fn long_values_arrive_whole() {
    const LEN: usize = 700_000;
    const PIECE: usize = 99_991;
    let value: String = ('a'..='w').cycle().take(LEN).collect();
    let requests: [&[&str]; 12] = [
        &["SET", "k", &value, "EX", "100000"],
        &["APPEND", "k", "tail"],
        &["APPEND", "new", &value],
        &["SETRANGE", "new", "5", &value[..200_000]],
        &["MULTI"],
        &["GETSET", "k", &value],
        &["SETEX", "e", "100000", &value],
        &["EXEC"],
        &["MSET", "m1", &value, "m2", "2", "m3", &value],
        &["RPUSH", "l", &value, &value],
        &["BGSAVE"],
        &["APPEND", "m1", &value],
    ];
    let mut bytes = Vec::new();
    for request in requests {
        encode_request(request, &mut bytes);
    }
    let mut both = Both::start();
    for client in &mut both.clients {
        let mut sender = client.stream().try_clone().unwrap();
        let pieces: Vec<Vec<u8>> = bytes.chunks(PIECE).map(<[u8]>::to_vec).collect();
        // Replies must be read meanwhile.
        let sends = std::thread::spawn(move || {
            for piece in pieces {
                std::io::Write::write_all(&mut sender, &piece).unwrap();
            }
        });
        for request in requests {
            let reply = client.receive().unwrap();
            assert!(!reply.is_error(), "{}: {}", request[0], text(&reply));
        }
        sends.join().unwrap();
    }
    both.check_data();
}

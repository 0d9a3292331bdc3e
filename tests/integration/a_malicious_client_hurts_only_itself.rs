//! A client that sends without end, or never reads, or asks for a million things at once: others are served meanwhile,
//! and the server's memory has a bound. Idle clients, 10 000 of them, are in `bad_input_from_clients`.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use sentinel::clock::Clock;
use sentinel::resp::{Value, encode_request};

use crate::support::{Client, Kind, ServerNode, expect_that, secs, start_server, text, wait_for};

/// The longest that somebody else may wait for an answer meanwhile. It is a few milliseconds on a machine that has time;
/// how much of a client's input or output is moved or read at a time is bounded by unit tests.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// As [`ANSWER_MAX`], for a command with a million words: it runs as a whole, as in redis-server. A debug build takes
/// several times as long as the 20 to 90 ms of either server.
const LONG_COMMAND_MAX: Duration = Duration::from_secs(10);

/// What the default of `proto-max-bulk-len` lets a word have.
const BULK: usize = 512 << 20;

const WORDS: usize = 1_000_000;

/// Lets a second client ask while `attack` runs, which is told how many answers it has had. None of them may take longer
/// than `answer_max`, and the server may have `mib_max` more at no moment.
fn beside<T>(
    server: &ServerNode,
    answer_max: Duration,
    mib_max: u64,
    attack: impl FnOnce(&AtomicU32) -> T,
) -> T {
    let before = server.process.rss_kib();
    server.process.forget_peak();
    let (answers, is_over) = (AtomicU32::new(0), AtomicBool::new(false));
    let (result, slowest) = std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            let clock = Clock::start();
            let mut client = Client::try_to_within(server.port(), secs(20)).unwrap();
            let mut slowest = Duration::ZERO;
            while !is_over.load(Ordering::Relaxed) {
                let asked = clock.mono();
                assert_eq!(text(&client.call(&["SET", "others", "v"])), "OK");
                slowest = slowest.max(clock.mono().since(asked));
                answers.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(1));
            }
            slowest
        });
        // It must not go on for ever when the attack fails.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| attack(&answers)));
        is_over.store(true, Ordering::Relaxed);
        (result, other.join().expect("the others are served"))
    });
    let result = result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    let more = (server.process.peak_kib().saturating_sub(before)) / 1024;
    let answers = answers.into_inner();
    let seen = format!("{answers} answers, the slowest after {slowest:?}; {more} MiB more");
    assert!(slowest <= answer_max, "{seen}");
    assert!(more <= mib_max, "{seen}");
    result
}

/// Waits until the others have had some more answers.
fn others_go_on(answers: &AtomicU32) {
    let had = answers.load(Ordering::Relaxed);
    wait_for("the others to be answered", secs(10), || {
        let have = answers.load(Ordering::Relaxed);
        expect_that(have > had + 20, || format!("{} answers", have - had))
    });
}

fn connect(server: &ServerNode) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    stream.set_write_timeout(Some(secs(20))).unwrap();
    stream
}

/// What is gone with the attacker is free again.
fn returns_to(server: &ServerNode, used: u64) {
    wait_for("memory is free again", secs(20), || {
        let now = used_mib(server);
        expect_that(now <= used + 2, || format!("{used} MiB became {now}"))
    });
}

fn used_mib(server: &ServerNode) -> u64 {
    let used = server.info("used_memory").unwrap_or_default();
    used.parse::<u64>().map_or(u64::MAX, |used| used >> 20)
}

/// A request of a command and [`WORDS`] words of one byte.
fn million(command: &str) -> Vec<u8> {
    let mut words = vec!["x"; WORDS + 1];
    words[0] = command;
    let mut bytes = Vec::new();
    encode_request(&words, &mut bytes);
    bytes
}

#[test]
fn who_sends_a_long_word_in_a_drip() {
    const CLIENTS: usize = 100;
    let server = start_server(Kind::Ours, "");
    let used = used_mib(&server);
    // What little of a word is there has room for 128 KiB.
    let streams = beside(&server, ANSWER_MAX, 32, |answers| {
        let head = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${BULK}\r\n");
        let mut streams: Vec<_> = (0..CLIENTS).map(|_| connect(&server)).collect();
        for stream in &mut streams {
            stream.write_all(head.as_bytes()).unwrap();
        }
        for _ in 0..100 {
            for stream in &mut streams {
                stream.write_all(&[b'x'; 100]).unwrap();
            }
        }
        others_go_on(answers);
        streams
    });
    let more = used_mib(&server) - used;
    assert!(more <= 16, "{more} MiB are reserved");
    drop(streams);
    returns_to(&server, used);
}

#[test]
fn who_sends_a_long_word_as_fast_as_it_can() {
    let server = start_server(Kind::Ours, "");
    let used = used_mib(&server);
    let head = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${BULK}\r\n");
    let part = vec![b'x'; 1 << 20];
    // A buffer that grows, and what its old ones were.
    let mib_max = u64::try_from(BULK >> 20).unwrap() * 5 / 4;
    for is_completed in [false, true] {
        let stream = beside(&server, ANSWER_MAX, mib_max, |answers| {
            let mut stream = connect(&server);
            stream.write_all(head.as_bytes()).unwrap();
            for _ in 0..BULK / part.len() - 1 {
                stream.write_all(&part).unwrap();
            }
            others_go_on(answers);
            if is_completed {
                stream.write_all(&part).unwrap();
                stream.write_all(b"\r\n").unwrap();
                let mut client = server.client();
                wait_for("it is kept", secs(20), || {
                    let len = text(&client.call(&["STRLEN", "k"]));
                    expect_that(len == BULK.to_string(), || len)
                });
            }
            stream
        });
        drop(stream);
        server.client().call(&["DEL", "k"]);
        returns_to(&server, used);
    }
}

#[test]
fn who_sends_a_million_words_and_no_end() {
    let server = start_server(Kind::Ours, "");
    let used = used_mib(&server);
    let request = million("MSET");
    let streams = beside(&server, ANSWER_MAX, 4 * 64, |answers| {
        let streams: Vec<_> = (0..4)
            .map(|_| {
                let mut stream = connect(&server);
                // Who asks for a million arguments may also send what belongs to it much later.
                stream.write_all(&request[..request.len() - 3]).unwrap();
                stream
            })
            .collect();
        others_go_on(answers);
        streams
    });
    drop(streams);
    returns_to(&server, used);
}

#[test]
fn who_sends_a_million_words() {
    let server = start_server(Kind::Ours, "");
    let used = used_mib(&server);
    for command in ["DEL", "MSET", "NOSUCH"] {
        let request = million(command);
        let answer = beside(&server, LONG_COMMAND_MAX, 128, |_| {
            let mut client = Client::try_to_within(server.port(), secs(20)).unwrap();
            client.send_raw(&request).unwrap();
            text(&client.receive().unwrap())
        });
        let expected = match command {
            "DEL" => "0",
            "MSET" => "OK",
            _ => "ERR unknown command",
        };
        assert!(answer.starts_with(expected), "{command}: {answer}");
        server.client().call(&["DEL", "x"]);
        returns_to(&server, used);
    }
}

#[test]
fn who_has_no_password_and_does_all_of_that() {
    let server = start_server(Kind::Ours, "");
    let mut admin = server.client();
    // Whoever is there while anybody may come in may stay; the others need it.
    assert_eq!(
        text(&admin.call(&["CONFIG", "SET", "requirepass", "secret"])),
        "OK"
    );
    let words = million("MSET");
    let requests: [&[u8]; 3] = [
        b"*1000000\r\n",
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\n",
        &words,
    ];
    let before = server.process.rss_kib();
    server.process.forget_peak();
    for _ in 0..10 {
        for request in requests {
            let mut stranger = server.client();
            // It may be closed while it sends.
            let _ = stranger.send_raw(request);
            if let Ok(reply) = stranger.receive() {
                let reply = text(&reply);
                let error = "ERR Protocol error: unauthenticated";
                assert!(reply.starts_with(error), "{reply}");
            }
            stranger.wait_for_close(secs(5)).expect("it is closed");
        }
        assert_eq!(text(&admin.call(&["SET", "k", "v"])), "OK");
    }
    let more = (server.process.peak_kib().saturating_sub(before)) / 1024;
    assert!(more <= 16, "{more} MiB more");
}

/// Writes requests again and again until the server takes no more of them and `is_full`.
fn send_until(stream: &mut TcpStream, requests: &[u8], is_full: impl Fn() -> bool) {
    const BYTES_MAX: usize = 200 << 20;
    stream
        .set_write_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    let mut sent = 0;
    loop {
        match stream.write(&requests[sent % requests.len()..]) {
            Ok(n) => sent += n,
            // A busy server may only not have come to it.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if is_full() {
                    return;
                }
            }
            Err(error) => panic!("{error} after {sent} bytes"),
        }
        assert!(sent < BYTES_MAX, "all requests are taken");
    }
}

#[test]
fn who_asks_for_a_long_value_again_and_again_and_does_not_read() {
    /// What may wait for a client before it is served no more: `OUTPUT_STALL_BYTES`.
    const WAITING_MIB: u64 = 256;
    let server = start_server(Kind::Ours, "");
    // Longer ones are not copied.
    let value = "v".repeat(1 << 17);
    server.client().call(&["SET", "k", &value]);
    let requests = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n".repeat(1000);
    let stream = beside(&server, ANSWER_MAX, WAITING_MIB * 9 / 8, |answers| {
        let mut stream = connect(&server);
        send_until(&mut stream, &requests, || used_mib(&server) >= WAITING_MIB);
        others_go_on(answers);
        stream
    });
    drop(stream);
    returns_to(&server, 8);
}

/// As with redis-server, what it asks for is done all the same.
#[test]
fn who_asks_at_once_for_more_than_may_wait_for_it() {
    let limit = "client-output-buffer-limit normal 10mb 0 0\n";
    let server = start_server(Kind::Ours, limit);
    let mut admin = server.client();
    // What may yet grow where it is, is copied when it is read.
    admin.call(&["SETRANGE", "k", "1000000", "v"]);
    admin.call(&["APPEND", "k", "v"]);
    let mut transaction = Vec::new();
    encode_request(&["MULTI"], &mut transaction);
    encode_request(&["INCR", "n"], &mut transaction);
    for _ in 0..1000 {
        encode_request(&["GET", "k"], &mut transaction);
    }
    encode_request(&["INCR", "n"], &mut transaction);
    encode_request(&["EXEC"], &mut transaction);
    encode_request(&["INCR", "n"], &mut transaction);
    let mut words = vec!["k"; 1001];
    words[0] = "MGET";
    let mut many = Vec::new();
    encode_request(&words, &mut many);
    for request in [transaction, many] {
        beside(&server, ANSWER_MAX, 48, |_| {
            let mut client = server.client();
            // It may be closed before it has sent all of it.
            let _ = client.send_raw(&request);
            while client.receive().is_ok_and(|reply| text(&reply) != "+OK") {}
            client.wait_for_close(secs(10)).expect("it is closed");
        });
    }
    assert_eq!(text(&admin.call(&["GET", "n"])), "2");
}

#[test]
fn who_asks_for_one_long_value_many_times_at_once() {
    let server = start_server(Kind::Ours, "");
    let value = "v".repeat(1 << 20);
    let mut admin = server.client();
    admin.call(&["SET", "k", &value]);
    let mut words = vec!["k"; 201];
    words[0] = "MGET";
    let mut request = Vec::new();
    encode_request(&words, &mut request);
    let mut client = Client::try_to_within(server.port(), secs(20)).unwrap();
    beside(&server, ANSWER_MAX, 48, |answers| {
        client.send_raw(&request).unwrap();
        wait_for("it has run", secs(10), || {
            let clients = text(&admin.call(&["CLIENT", "LIST"]));
            expect_that(clients.contains("cmd=mget"), || clients)
        });
        // It gets the value as it was then.
        admin.call(&["SETRANGE", "k", "0", "w"]);
        others_go_on(answers);
    });
    let Value::Array(values) = client.receive().unwrap() else {
        panic!("an array");
    };
    assert_eq!(values.len(), 200);
    let value = Value::bulk(value);
    assert!(values.iter().all(|it| *it == value));
    assert_eq!(text(&admin.call(&["GETRANGE", "k", "0", "1"])), "wv");
}

/// It may send what it likes while it waits; that it goes is seen behind it.
#[test]
fn who_waits_and_sends_all_the_while() {
    const QUERY_MIB: u64 = 128;
    let lines = format!("client-query-buffer-limit {QUERY_MIB}mb\n");
    let server = start_server(Kind::Ours, &lines);
    let used = used_mib(&server);
    let requests = b"PING\r\n".repeat(100_000);
    beside(&server, ANSWER_MAX, QUERY_MIB * 9 / 8, |answers| {
        let mut stream = connect(&server);
        stream.write_all(b"BLPOP nothing 0\r\n").unwrap();
        let mut sent = 0;
        while stream.write_all(&requests).is_ok() {
            sent += requests.len();
            assert!(sent < 2 << 27, "{sent} bytes are taken");
        }
        others_go_on(answers);
    });
    returns_to(&server, used);
}

#[test]
fn who_listens_and_does_not_read() {
    // The default limits: 32 MB of messages may wait for a client.
    let server = start_server(Kind::Ours, "");
    let value = "v".repeat(1 << 20);
    for listens in [
        "SUBSCRIBE c\r\nPSUBSCRIBE *\r\n",
        "SSUBSCRIBE c\r\n",
        "MONITOR\r\n",
    ] {
        let listeners = beside(&server, ANSWER_MAX, 3 * 48, |_| {
            let listeners: Vec<_> = (0..3)
                .map(|_| {
                    let mut stream = connect(&server);
                    stream.write_all(listens.as_bytes()).unwrap();
                    stream
                })
                .collect();
            let mut client = server.client();
            let publish = if listens.starts_with("SS") {
                "SPUBLISH"
            } else {
                "PUBLISH"
            };
            for _ in 0..100 {
                client.call(&[publish, "c", &value]);
            }
            listeners
        });
        // This client, and perhaps one that is about to be forgotten.
        wait_for("they are closed", secs(10), || {
            let clients = server.info("connected_clients").unwrap_or_default();
            expect_that(clients == "1", || clients)
        });
        drop(listeners);
    }
}

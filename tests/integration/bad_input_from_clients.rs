//! Clients that send what no client should. Both daemons answer with Redis's words, close what cannot go on, keep
//! serving the others, and keep neither memory nor descriptors of those that went.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::{
    Client, Kind, NAME, Port, Process, ServerNode, expect_that, secs, start_sentinel, start_server,
    text, wait_for,
};

/// Runs a check against a sentinel and against a data server of ours.
fn both(check: impl Fn(&mut Process, u16)) {
    let nowhere = Port::reserve();
    let monitor = format!("sentinel monitor {NAME} 127.0.0.1 {} 1\n", nowhere.number());
    let mut sentinel = start_sentinel(Kind::Ours, &monitor, "");
    let port = sentinel.port();
    check(&mut sentinel.process, port);
    let mut server = start_server(Kind::Ours, "");
    let port = server.port();
    check(&mut server.process, port);
}

fn answers(port: u16) {
    assert_eq!(text(&Client::to(port).call(&["PING"])), "PONG");
}

#[test]
fn malformed_requests_get_an_error_and_the_end() {
    let cases: &[(&[u8], &str)] = &[
        (b"*abc\r\n", "ERR Protocol error: invalid multibulk length"),
        (
            b"*2147483648\r\n",
            "ERR Protocol error: invalid multibulk length",
        ),
        (
            b"*9223372036854775807\r\n",
            "ERR Protocol error: invalid multibulk length",
        ),
        (
            b"*1\r\n+PING\r\n",
            "ERR Protocol error: expected '$', got '+'",
        ),
        (b"*1\r\n$-1\r\n", "ERR Protocol error: invalid bulk length"),
        (b"*1\r\n$abc\r\n", "ERR Protocol error: invalid bulk length"),
        (
            b"*1\r\n$99999999999\r\n",
            "ERR Protocol error: invalid bulk length",
        ),
        (
            b"SET \"unclosed\r\n",
            "ERR Protocol error: unbalanced quotes in request",
        ),
    ];
    both(|_, port| {
        for (bytes, error) in cases {
            let mut client = Client::to(port);
            client.send_raw(bytes).expect("an open connection");
            let reply = client.receive().expect("an error reply");
            assert_eq!(text(&reply), *error, "{}", bytes.escape_ascii());
            client
                .wait_for_close(secs(5))
                .expect("the connection is closed");
        }
        answers(port);
    });
}

#[test]
fn an_endless_line_is_refused() {
    both(|_, port| {
        let mut client = Client::to(port);
        // The other side may close while we write.
        let _ = client.send_raw(&vec![b'x'; 200 * 1024]);
        let reply = client.receive();
        if let Ok(reply) = reply {
            assert_eq!(text(&reply), "ERR Protocol error: too big inline request");
        }
        client
            .wait_for_close(secs(5))
            .expect("the connection is closed");
        answers(port);
    });
}

#[test]
fn garbage_of_every_kind_harms_nobody() {
    both(|process, port| {
        for seed in 0..300_u32 {
            let garbage: Vec<u8> = (0..2000_u32)
                .map(|i| {
                    seed.wrapping_add(i)
                        .wrapping_mul(2_654_435_761)
                        .to_be_bytes()[1]
                })
                .collect();
            let mut client = Client::to(port);
            let _ = client.send_raw(&garbage);
        }
        assert!(process.is_running(), "{}", process.log());
        answers(port);
        returns_to(process, 30);
    });
}

#[test]
fn half_a_request_waits_and_costs_nothing_when_it_goes() {
    both(|process, port| {
        let half: Vec<Client> = (0..100)
            .map(|_| {
                let mut client = Client::to(port);
                client
                    .send_raw(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$10\r\nhal")
                    .expect("an open connection");
                client
            })
            .collect();
        answers(port);
        drop(half);
        returns_to(process, 30);
    });
}

/// Before the password only small requests are read, so that strangers cannot make the daemon keep data.
#[test]
fn strangers_may_send_little() {
    let server = start_server(Kind::Ours, "requirepass secret\n");
    for (bytes, error) in [
        (
            &b"*11\r\n"[..],
            "ERR Protocol error: unauthenticated multibulk length",
        ),
        (
            b"*1\r\n$20000\r\n",
            "ERR Protocol error: unauthenticated bulk length",
        ),
    ] {
        let mut client = Client::to(server.port());
        client.send_raw(bytes).expect("an open connection");
        assert_eq!(text(&client.receive().expect("an error reply")), error);
        client
            .wait_for_close(secs(5))
            .expect("the connection is closed");
    }
}

/// A client that asks and asks and never reads: its output has a bound, or its input is not read any more.
#[test]
fn a_client_that_never_reads_does_not_fill_the_memory() {
    both(|process, port| {
        let before = process.rss_mib();
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a listener");
        stream
            .set_write_timeout(Some(Duration::from_millis(500)))
            .expect("a socket option");
        let requests = b"COMMAND\r\n".repeat(1000);
        for _ in 0..200 {
            // Not taken any more, or closed: both are fine.
            if stream.write_all(&requests).is_err() {
                break;
            }
        }
        let after = process.rss_mib();
        assert!(after < before + 256, "{before} MiB became {after}");
        answers(port);
    });
}

#[test]
fn ten_thousand_idle_clients() {
    const CLIENTS: usize = 9_900;
    let needed = u64::try_from(CLIENTS + 500).expect("few clients");
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < needed) {
        let raised = Rlimit {
            current: Some(needed),
            maximum: limit.maximum,
        };
        setrlimit(Resource::Nofile, raised)
            .expect("10 500 open files: raise the hard limit (ulimit -Hn)");
    }
    both(|process, port| {
        let (files, memory) = (process.open_files(), process.rss_mib());
        let idle: Vec<TcpStream> = (0..CLIENTS)
            .map(|i| {
                TcpStream::connect(("127.0.0.1", port))
                    .unwrap_or_else(|error| panic!("client {i}: {error}"))
            })
            .collect();
        wait_for("all clients are taken in", secs(20), || {
            let open = process.open_files();
            expect_that(open >= CLIENTS, || format!("{open} descriptors"))
        });
        answers(port);
        let each = (process.rss_mib() - memory) * 1024 / CLIENTS as u64;
        assert!(each <= 16, "{each} KiB for each idle client");
        drop(idle);
        returns_to(process, files + 5);
        answers(port);
    });
}

/// The number of open files falls to `files` at most.
fn returns_to(process: &Process, files: usize) {
    wait_for("the connections are forgotten", secs(20), || {
        let open = process.open_files();
        expect_that(open <= files, || format!("{open} descriptors"))
    });
}

#[test]
fn names_that_one_client_has_left_take_no_memory() {
    let server = start_server(Kind::Ours, "");
    let used = || -> Result<u64, String> {
        let used = server.info("used_memory").and_then(|n| n.parse().ok());
        used.ok_or_else(|| "no answer".to_owned())
    };
    // What is made once stays.
    assert_eq!(text(&server.client().call(&["PING"])), "PONG");
    let before = used().unwrap();
    let names: Vec<String> = (0..100_000).map(|n| format!("name{n:06}")).collect();
    for command in ["SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "WATCH", "BLPOP"] {
        let mut client = server.client();
        for part in names.chunks(if command == "BLPOP" {
            names.len()
        } else {
            10_000
        }) {
            let mut words = vec![command];
            words.extend(part.iter().map(String::as_str));
            if command == "BLPOP" {
                words.push("0");
            }
            client.send(&words).unwrap();
            if command == "WATCH" {
                assert_eq!(text(&client.receive().unwrap()), "OK");
            } else if command != "BLPOP" {
                part.iter().for_each(|_| drop(client.receive().unwrap()));
            }
        }
        let in_use = |is_right: fn(u64) -> bool| {
            let more = used()?.saturating_sub(before);
            expect_that(is_right(more), || format!("{command}: {more} bytes more"))
        };
        wait_for("memory to be taken", secs(30), || {
            in_use(|more| more > 5 << 20)
        });
        drop(client);
        wait_for("memory to be free again", secs(30), || {
            in_use(|more| more < 2 << 20)
        });
    }
}

/// A client that has asked to be told of something in this way, and never reads.
fn listen(server: &ServerNode, way: &str) -> Vec<Client> {
    let mut client = server.client();
    match way {
        "MONITOR" => drop(client.call(&["MONITOR"])),
        "BCAST" => {
            client.call(&["HELLO", "3"]);
            client.call(&["CLIENT", "TRACKING", "ON", "BCAST"]);
        }
        "REDIRECT" => {
            client.call(&["HELLO", "3"]);
            let id = text(&client.call(&["CLIENT", "ID"]));
            let mut other = server.client();
            other.call(&["CLIENT", "TRACKING", "ON", "BCAST", "REDIRECT", &id]);
            return vec![client, other];
        }
        _ => unreachable!(),
    }
    vec![client]
}

#[test]
fn who_does_not_read_what_is_pushed_is_closed() {
    let server = start_server(Kind::Ours, "client-output-buffer-limit pubsub 4mb 0 0\n");
    let closed = |server: &ServerNode| {
        let reply = server.client().call(&["CLIENT", "LIST"]);
        let listed = text(&reply);
        !listed.contains(" flags=O ") && !listed.contains(" resp=3 ")
    };
    let key = "k".repeat(20_000);
    for way in ["MONITOR", "BCAST", "REDIRECT"] {
        let listeners = listen(&server, way);
        assert!(!closed(&server), "{way}");
        let mut writer = server.client();
        let mut written = 0;
        while !closed(&server) {
            assert!(written < 2000, "{way}: more than 40 MB wait");
            for n in 0..50 {
                writer.call(&["SET", &format!("{key}{n}"), ""]);
            }
            written += 50;
        }
        assert!(written > 100, "{way}: less than the limit");
        drop(listeners);
    }
}

/// A ziplist holds an element in two bytes. What is made of it must not cost many times that.
#[test]
fn a_payload_of_many_elements_costs_little_more_than_its_bytes() {
    const ELEMENTS: usize = 600_000;
    let [all, last] = [2 * ELEMENTS + 11, 2 * ELEMENTS + 8];
    let [all, last] = [all, last].map(|n| u32::try_from(n).unwrap().to_le_bytes());
    let mut ziplist = [&all[..], &last, &[0xff, 0xff, 0, 0]].concat();
    // Each says how long the one before it is.
    (1..ELEMENTS).for_each(|_| ziplist.extend([2, 0]));
    ziplist.push(0xff);
    let server = start_server(Kind::Ours, "");
    let mut client = server.client();
    let before = server.process.rss_kib();
    // A hash and a sorted set of nothing but empty elements.
    for code in [13, 12] {
        let mut payload = vec![code, 0x80];
        payload.extend(u32::try_from(ziplist.len()).unwrap().to_be_bytes());
        payload.extend(&ziplist);
        payload.extend([10, 0]);
        let crc = crc::Crc::<u64>::new(&crc::CRC_64_REDIS).checksum(&payload);
        payload.extend(crc.to_le_bytes());
        let mut request = Vec::new();
        let words: [&[u8]; 4] = [b"RESTORE", b"k", b"0", &payload];
        sentinel::resp::encode_request(&words, &mut request);
        client.send_raw(&request).unwrap();
        let answer = text(&client.receive().unwrap());
        assert_eq!(answer, "ERR Bad data format", "type {code}");
    }
    let peak = server.process.status("VmHWM");
    let peak: u64 = peak.trim_end_matches(" kB").parse().unwrap();
    let bytes = usize::try_from(peak - before).unwrap() * 1024;
    assert!(
        bytes < 20 * ELEMENTS,
        "{} bytes an element",
        bytes / ELEMENTS
    );
}

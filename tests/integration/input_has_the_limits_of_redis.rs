//! `proto-max-bulk-len` and `client-query-buffer-limit`: what redis-server and ours take, what they refuse with which
//! words, and when they close the connection, also when the limit changes while clients are connected.

use std::io;

use crate::both::{start_both, words_of};
use crate::support::{Client, ServerNode, expect_that, secs, text, wait_for};

/// The least that either of them can be.
const LIMIT: usize = 1 << 20;

fn set(server: &ServerNode, name: &str, value: usize) {
    let reply = server.client().ask(&format!("CONFIG SET {name} {value}"));
    assert_eq!(reply, "OK");
}

/// What a client hears next, and whether it is still served behind that.
fn heard(client: &mut Client) -> Vec<String> {
    let shown = |reply: io::Result<_>| reply.map_or("closed".to_owned(), |reply| text(&reply));
    let first = shown(client.receive());
    let second = shown(client.try_call(&["ECHO", "still-there"]));
    vec![first, second]
}

/// `SET k` with a word of so many bytes, in pieces, as far as the other side takes them.
fn send_word(client: &mut Client, bytes: usize) -> io::Result<()> {
    client.send_raw(format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${bytes}\r\n").as_bytes())?;
    let word = vec![b'x'; bytes];
    word.chunks(64 * 1024)
        .try_for_each(|piece| client.send_raw(piece))?;
    client.send_raw(b"\r\n")
}

#[test]
fn a_word_has_a_limit() {
    let servers = start_both("");
    for limit in [LIMIT, LIMIT + 5] {
        for bytes in [limit - 1, limit, limit + 1] {
            let [real, ours] = servers.each_ref().map(|server| {
                set(server, "proto-max-bulk-len", 512 << 20);
                // It is there before the limit is.
                let mut client = server.client();
                client.call(&["PING"]);
                set(server, "proto-max-bulk-len", limit);
                // Who is refused need not have sent it.
                if bytes > limit {
                    let announced = format!("*2\r\n$4\r\nECHO\r\n${bytes}\r\n");
                    client.send_raw(announced.as_bytes()).unwrap();
                } else {
                    send_word(&mut client, bytes).unwrap();
                }
                heard(&mut client)
            });
            assert_eq!(real, ours, "{bytes} of {limit}");
            let is_refused = real == ["ERR Protocol error: invalid bulk length", "closed"];
            assert_eq!(is_refused, bytes > limit, "{real:?}");
        }
    }
}

#[test]
fn a_word_that_has_begun_ends_under_another_limit() {
    let [real, ours] = start_both("").map(|server| {
        let mut client = server.client();
        let begin = format!("*2\r\n$4\r\nECHO\r\n${}\r\n", 2 * LIMIT);
        client.send_raw(begin.as_bytes()).unwrap();
        client.send_raw(&vec![b'x'; LIMIT / 2]).unwrap();
        wait_for("it has come", secs(5), || {
            let list = server.client().ask("CLIENT LIST");
            let read = list.lines().next().unwrap_or_default();
            let is_there = read.split(' ').any(|field| {
                let bytes = field.strip_prefix("qbuf=").and_then(|n| n.parse().ok());
                bytes.is_some_and(|bytes: usize| bytes >= LIMIT / 2)
            });
            expect_that(is_there, || list.clone())
        });
        set(&server, "proto-max-bulk-len", LIMIT);
        client.send_raw(&vec![b'x'; LIMIT / 2 * 3]).unwrap();
        client.send_raw(b"\r\n").unwrap();
        let echoed = text(&client.receive().unwrap()).len();
        client.send_raw(begin.as_bytes()).unwrap();
        (echoed, heard(&mut client))
    });
    assert_eq!(real, ours);
    assert_eq!(real.0, 2 * LIMIT);
}

#[test]
fn a_string_grows_no_longer_than_a_word() {
    let most = format!("CONFIG SET proto-max-bulk-len {LIMIT}");
    let at = |line: &str, n: usize| line.replace("$N", &n.to_string());
    let mut lines = vec![most.clone()];
    for n in [LIMIT - 2, LIMIT - 1, LIMIT] {
        lines.push(at("SETRANGE s $N x", n));
        lines.push(at("SETBIT b $N 1", n * 8));
        lines.push(at("GETBIT b $N", n * 8));
        lines.push(at("BITFIELD f SET u8 #$N 1", n));
        lines.push(at("BITFIELD_RO f GET u8 #$N", n));
    }
    for line in [
        "APPEND s y",
        "SETRANGE s 9223372036854775807 x",
        "SETRANGE s -1 x",
        "SETBIT b 4294967296 1",
        "STRLEN s",
        "STRLEN b",
        "STRLEN f",
        "CONFIG SET proto-max-bulk-len 512mb",
        "APPEND s y",
        "SETBIT b 4294967296 1",
        &most,
        "APPEND s y",
        "SETRANGE s 0 x",
        "STRLEN s",
    ] {
        lines.push(line.to_owned());
    }
    let [real, ours] = start_both("").map(|server| {
        let mut client = server.client();
        let reply = |line: &String| (line.clone(), client.ask(line));
        lines.iter().map(reply).collect::<Vec<_>>()
    });
    assert_eq!(real, ours);
}

#[test]
fn what_is_not_taken_apart_has_a_limit() {
    let servers = start_both("");
    // What ends a word belongs to it.
    for (bytes, is_taken) in [
        (LIMIT / 2, true),
        (LIMIT - 2, true),
        (LIMIT - 1, false),
        (LIMIT + 1, false),
        (4 * LIMIT, false),
    ] {
        let [real, ours] = servers.each_ref().map(|server| {
            set(server, "client-query-buffer-limit", 1 << 30);
            let mut client = server.client();
            client.call(&["PING"]);
            set(server, "client-query-buffer-limit", LIMIT);
            // The other side may close before all is sent.
            let _ = send_word(&mut client, bytes);
            heard(&mut client)
        });
        assert_eq!(real, ours, "{bytes}");
        let want = if is_taken {
            ["OK", "still-there"]
        } else {
            ["closed"; 2]
        };
        assert_eq!(real, want, "{bytes}");
    }
}

#[test]
fn what_has_come_already_counts_when_the_limit_changes() {
    let [real, ours] = start_both("").map(|server| {
        let mut client = server.client();
        let begin = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n", 4 * LIMIT);
        client.send_raw(begin.as_bytes()).unwrap();
        client.send_raw(&vec![b'x'; 2 * LIMIT]).unwrap();
        set(&server, "client-query-buffer-limit", LIMIT);
        let _ = client.send_raw(b"xxxx");
        client.wait_for_close(secs(5)).map_err(|error| error.kind())
    });
    assert_eq!(real, Ok(()));
    assert_eq!(ours, Ok(()));
}

/// Words that are there are no unread input, nor are requests that run.
#[test]
fn many_words_are_longer_than_one() {
    let servers = start_both(&format!("client-query-buffer-limit {LIMIT}\n"));
    for (count, bytes) in [(30_000, 100), (300_000, 5)] {
        let [real, ours] = servers.each_ref().map(|server| {
            let mut client = server.client();
            let word = format!("${bytes}\r\n{}\r\n", "x".repeat(bytes));
            let request = format!("*{}\r\n$6\r\nEXISTS\r\n", count + 1);
            client.send_raw(request.as_bytes()).unwrap();
            client.send_raw(word.repeat(count).as_bytes()).unwrap();
            heard(&mut client)
        });
        assert_eq!(real, ours, "{count} of {bytes}");
        assert_eq!(real, ["0", "still-there"]);
    }
    let [real, ours] = servers.map(|server| {
        let mut client = server.client();
        let (word, mut replies) = ("x".repeat(LIMIT / 4), Vec::new());
        for line in ["MULTI", "SET", "SET", "SET", "SET", "SET", "SET", "EXEC"] {
            let words = match line {
                "SET" => vec!["SET", "k", &word],
                line => words_of(line),
            };
            replies.push(text(&client.call(&words)));
        }
        replies
    });
    assert_eq!(real, ours);
}

#[test]
fn who_waits_may_send_only_so_much() {
    let servers = start_both(&format!("client-query-buffer-limit {LIMIT}\n"));
    for server in servers {
        let mut client = server.client();
        client.send(&["BLPOP", "nothing", "0"]).unwrap();
        let _ = client.send_raw(&vec![b'x'; 4 * LIMIT]);
        client.wait_for_close(secs(5)).unwrap();
    }
}

//! `CLIENT`, where it succeeds: who is closed by which filters, unblocked, paused, tracked, listed, and what is said of it,
//! by redis-server and by ours.

use std::collections::BTreeMap;

use crate::both::{start_both, words_of};
use crate::support::{Client, ServerNode, expect_that, secs, text, wait_for};

/// The number of a connection, which another one asks for.
fn id_of(server: &ServerNode, name: &str) -> String {
    let list = server.client().ask("CLIENT LIST");
    let mark = format!(" name={name} ");
    let line = list.lines().find(|line| line.contains(&mark));
    let id = line.and_then(|line| line.strip_prefix("id=")?.split(' ').next());
    id.unwrap_or_else(|| panic!("no {name}: {list}")).to_owned()
}

fn wait_for_list(server: &ServerNode, what: &str, is: impl Fn(&str) -> bool) {
    let mut client = server.client();
    wait_for(what, secs(5), || {
        let list = client.ask("CLIENT LIST");
        expect_that(is(&list), || list.clone())
    });
}

/// What kinds of clients there are, and how one becomes such.
const KINDS: [(&str, &str); 9] = [
    ("plain", "PING"),
    ("other", "PING"),
    ("listens", "SUBSCRIBE ch"),
    ("patterns", "PSUBSCRIBE ch*"),
    ("monitors", "MONITOR"),
    ("alice", "AUTH alice x"),
    ("queues", "MULTI"),
    ("waits", "BLPOP nothing 0"),
    ("follows", "PSYNC ? -1"),
];

/// What is answered to a line, and who of those clients is closed by it. Numbers and addresses of clients stand there
/// as `ID:name` and `ADDR:name`.
fn killed(server: &ServerNode, line: &str) -> (String, Vec<&'static str>) {
    let mut me = server.client();
    me.ask("CLIENT SETNAME me");
    let mut clients: Vec<(&str, Client)> = Vec::new();
    for (name, become_it) in KINDS {
        let mut client = server.client();
        client.ask(&format!("CLIENT SETNAME {name}"));
        client.send(&words_of(become_it)).unwrap();
        clients.push((name, client));
    }
    wait_for_list(server, "they are what they are to be", |list| {
        let has = |marks: &str| list.lines().any(|line| line.contains(marks));
        let commands = ["subscribe", "psubscribe", "auth", "multi", "blpop", "psync"];
        let is_each = commands.iter().all(|name| has(&format!(" cmd={name} ")));
        is_each && has(" flags=O ") && has(" flags=S ") && has(" user=alice ")
    });
    clients.push(("me", me));
    let words: Vec<String> = line
        .split(' ')
        .map(|word| match word.split_once(':') {
            Some(("ID", name)) => id_of(server, name),
            Some(("ADDR", name)) => {
                let (_, client) = clients.iter().find(|(of, _)| *of == name).unwrap();
                client.stream().local_addr().unwrap().to_string()
            }
            Some(("LADDR", _)) => format!("127.0.0.1:{}", server.port()),
            _ => word.to_owned(),
        })
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let count = clients.len();
    let (_, me) = clients.last_mut().unwrap();
    // Who has gone counts until the server has noticed.
    wait_for("nobody else is there", secs(5), || {
        let list = me.ask("CLIENT LIST");
        expect_that(list.lines().count() == count, || list.clone())
    });
    let reply = me.try_call(&words);
    let reply = reply.map_or_else(|error| error.kind().to_string(), |reply| text(&reply));
    let mut asks = Client::to(server.port());
    let list = asks.ask("CLIENT LIST");
    let is_there = |name: &str| list.contains(&format!(" name={name} "));
    let closed = clients.iter().filter(|(name, _)| !is_there(name));
    let closed = closed.map(|(name, _)| *name).collect();
    drop(clients);
    wait_for_list(server, "they are gone", |list| list.lines().count() <= 2);
    (reply, closed)
}

#[test]
fn filters_say_who_is_closed() {
    const LINES: [&str; 38] = [
        "CLIENT KILL ADDR:plain",
        "CLIENT KILL ADDR:me",
        "CLIENT KILL 127.0.0.1:1",
        "CLIENT KILL ADDR ADDR:plain",
        "CLIENT KILL ADDR ADDR:me",
        "CLIENT KILL ADDR ADDR:me SKIPME no",
        "CLIENT KILL ADDR ADDR:me SKIPME YES",
        "CLIENT KILL LADDR LADDR:",
        "CLIENT KILL LADDR LADDR: SKIPME no",
        "CLIENT KILL LADDR 127.0.0.1:1",
        "CLIENT KILL ID ID:plain",
        "CLIENT KILL ID ID:me",
        "CLIENT KILL ID ID:me SKIPME No",
        "CLIENT KILL ID ID:waits",
        "CLIENT KILL TYPE normal",
        "CLIENT KILL TYPE normal SKIPME no",
        "client kill type PUBSUB",
        "CLIENT KILL TYPE replica",
        "CLIENT KILL TYPE slave",
        "CLIENT KILL TYPE master",
        "CLIENT KILL USER alice",
        "CLIENT KILL USER default",
        "CLIENT KILL USER default SKIPME no",
        "CLIENT KILL USER default TYPE pubsub",
        "CLIENT KILL USER alice TYPE pubsub",
        "CLIENT KILL USER default ID ID:me",
        "CLIENT KILL ID ID:plain ADDR ADDR:plain",
        "CLIENT KILL ID ID:plain ADDR ADDR:other",
        "CLIENT KILL ID ID:plain ID ID:other",
        "CLIENT KILL TYPE pubsub TYPE normal",
        "CLIENT KILL LADDR LADDR: TYPE normal USER alice",
        "CLIENT KILL LADDR LADDR: USER default TYPE replica",
        "CLIENT KILL SKIPME yes",
        "CLIENT KILL SKIPME no",
        "CLIENT KILL MAXAGE 0",
        "CLIENT KILL ID ID:plain MAXAGE 100",
        "CLIENT KILL ID ID:plain SKIPME",
        "CLIENT KILL USER Alice",
    ];
    let servers = start_both("user alice on nopass ~* &* +@all\n");
    for line in LINES {
        let [real, ours] = servers.each_ref().map(|server| killed(server, line));
        assert_eq!(real, ours, "{line}");
    }
}

#[test]
fn who_waits_is_unblocked() {
    const WAITS: [&str; 7] = [
        "BLPOP a 0",
        "BRPOPLPUSH a b 0",
        "BLMOVE a b LEFT LEFT 0",
        "BLMPOP 0 1 a LEFT",
        "BZPOPMIN a 0",
        "BZMPOP 0 1 a MIN",
        "WAIT 1 0",
    ];
    let servers = start_both("");
    for protocol in ["2", "3"] {
        for wait in WAITS.iter().copied().chain(["PING"]) {
            for how in ["", " TIMEOUT", " ERROR", " error", " NOW"] {
                let [real, ours] = servers.each_ref().map(|server| {
                    let mut client = server.client();
                    client.ask(&format!("HELLO {protocol} SETNAME waits"));
                    client.send(&words_of(wait)).unwrap();
                    if wait != "PING" {
                        wait_for_list(server, "it waits", |list| list.contains(" flags=b "));
                    } else {
                        client.receive().unwrap();
                    }
                    let id = id_of(server, "waits");
                    let reply = server.client().ask(&format!("CLIENT UNBLOCK {id}{how}"));
                    let heard = (reply == "1").then(|| client.receive().unwrap());
                    drop(client);
                    wait_for_list(server, "it is gone", |list| !list.contains("waits"));
                    (reply, heard)
                });
                assert_eq!(real, ours, "{wait}{how}");
            }
        }
    }
}

/// What is answered at once to each of these while clients are paused, and what when that ends.
fn paused(server: &ServerNode, pause: &str, lines: &[&str]) -> Vec<String> {
    let mut me = server.client();
    let mut clients: Vec<Client> = lines.iter().map(|_| server.client()).collect();
    let mut seen = vec![me.ask("SET k v"), me.ask(pause)];
    let mut waits = Vec::new();
    for (line, client) in lines.iter().zip(&mut clients) {
        client.send(&words_of(line)).unwrap();
        // Either it is answered, or it waits: the server has seen it in both cases, as it has what comes behind it.
        let stream = client.stream();
        let mut byte = [0];
        let is_answered = wait_for("it is answered, or it waits", secs(5), || {
            stream.set_nonblocking(true).unwrap();
            let is_answered = stream.peek(&mut byte).is_ok();
            stream.set_nonblocking(false).unwrap();
            let blocked = server.info("blocked_clients");
            let is_waiting = blocked == Some((waits.len() + 1).to_string());
            expect_that(is_answered || is_waiting, || format!("{line}: {blocked:?}"))
                .map(|()| is_answered)
        });
        if is_answered {
            seen.push(format!("{line}: {}", text(&client.receive().unwrap())));
        } else {
            waits.push((*line, client));
        }
    }
    seen.push(me.ask("CLIENT UNPAUSE"));
    for (line, client) in waits {
        seen.push(format!(
            "{line} later: {}",
            text(&client.receive().unwrap())
        ));
    }
    seen
}

#[test]
fn who_writes_waits_for_the_end_of_a_pause() {
    const LINES: [&str; 24] = [
        "GET k",
        "SET other w",
        "PUBLISH a b",
        "SPUBLISH a b",
        "PING",
        "MULTI",
        "SPOP nothing",
        "PFCOUNT h",
        "EXPIRE nothing 1",
        "SORT nothing STORE x",
        "SORT_RO nothing",
        "WAIT 0 0",
        "CONFIG SET hz 10",
        "NOSUCH",
        "SET k",
        "SUBSCRIBE x",
        "ACL WHOAMI",
        "SELECT 1",
        "GETEX nothing",
        "OBJECT ENCODING k",
        "COPY nothing k2",
        "BLPOP nothing 0.01",
        "DEL nothing",
        "FLUSHDB ASYNC nosuch",
    ];
    let servers = start_both("");
    for pause in ["CLIENT PAUSE 100000 WRITE", "client pause 100000 write"] {
        let [real, ours] = servers
            .each_ref()
            .map(|server| paused(server, pause, &LINES));
        assert_eq!(real, ours);
    }
}

#[test]
fn who_came_first_goes_on_first_after_a_pause() {
    const COUNT: usize = 20;
    let servers = start_both("");
    let [real, ours] = servers.each_ref().map(|server| {
        let mut me = server.client();
        let mut clients: Vec<Client> = (0..COUNT).map(|_| server.client()).collect();
        me.ask("DEL l");
        me.ask("CLIENT PAUSE 100000 WRITE");
        // Not in the order in which they connected: each seventh, and all in the end.
        let turns: Vec<usize> = (0..COUNT).map(|turn| turn * 7 % COUNT).collect();
        for (before, turn) in turns.iter().enumerate() {
            let words = ["RPUSH", "l", &turn.to_string()];
            clients[*turn].send(&words).unwrap();
            wait_for("it waits", secs(5), || {
                let blocked = server.info("blocked_clients");
                let is_there = blocked == Some((before + 1).to_string());
                expect_that(is_there, || format!("{blocked:?}"))
            });
        }
        me.ask("CLIENT UNPAUSE");
        let lengths = turns.iter().map(|turn| {
            let reply = clients[*turn].receive().unwrap();
            text(&reply)
        });
        (lengths.collect::<Vec<_>>(), me.ask("LRANGE l 0 -1"))
    });
    assert_eq!(real, ours);
}

/// All but `CLIENT UNPAUSE` of who has sent the pause wait, so nobody else may ask how many do.
#[test]
fn everybody_waits_for_the_end_of_a_pause() {
    let servers = start_both("");
    for pause in ["CLIENT PAUSE 200", "CLIENT PAUSE 200 ALL"] {
        let [real, ours] = servers.each_ref().map(|server| {
            let [mut first, mut second] = [server.client(), server.client()];
            let mut seen = vec![first.ask(pause)];
            second.send(&["SET", "k", "v"]).unwrap();
            // It ends by itself.
            for line in ["GET k", "CLIENT UNPAUSE", "NOSUCH"] {
                first.send(&words_of(line)).unwrap();
            }
            seen.push(text(&second.receive().unwrap()));
            seen.extend(
                [(); 3]
                    .map(|()| text(&first.receive().unwrap()))
                    .into_iter()
                    .skip(1),
            );
            seen
        });
        assert_eq!(real, ours, "{pause}");
    }
}

/// The fields of a line of `CLIENT LIST`, without what no two runs share and without ours.
fn fields_of(line: &str) -> BTreeMap<String, String> {
    const OTHER: [&str; 14] = [
        "id",
        "addr",
        "laddr",
        "fd",
        "age",
        "idle",
        "qbuf-free",
        "argv-mem",
        "multi-mem",
        "rbs",
        "rbp",
        "tot-mem",
        "lib-name",
        "lib-ver",
    ];
    let fields = line.split(' ').filter_map(|field| field.split_once('='));
    let fields = fields.filter(|(name, _)| !OTHER.contains(name));
    fields.map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
}

#[test]
fn clients_are_told_of() {
    const LINES: [&str; 18] = [
        "CLIENT SETNAME me",
        "CLIENT GETNAME",
        "SELECT 3",
        "CLIENT NO-EVICT ON",
        "CLIENT TRACKING ON",
        "WATCH k",
        "CLIENT NO-EVICT OFF",
        "CLIENT TRACKING ON OPTIN",
        "CLIENT CACHING YES",
        "CLIENT TRACKING OFF",
        "CLIENT TRACKING ON BCAST PREFIX a PREFIX b NOLOOP",
        "CLIENT GETREDIR",
        "CLIENT TRACKINGINFO",
        "UNWATCH",
        "HELLO 3 SETNAME again",
        "CLIENT SETNAME ",
        "CLIENT GETNAME",
        "RESET",
    ];
    let [real, ours] = start_both("").map(|server| {
        let mut client = server.client();
        let (mut listens, mut queues) = (server.client(), server.client());
        listens.call(&["SUBSCRIBE", "a", "b"]);
        for line in ["MULTI", "GET k", "SET k v"] {
            queues.ask(line);
        }
        let mut seen = Vec::new();
        for line in LINES {
            let reply = text(&client.call(&words_of(line)));
            let reply = if line.starts_with("HELLO") {
                String::new()
            } else {
                reply
            };
            let info = client.ask("CLIENT INFO");
            seen.push((line, reply, fields_of(info.trim_end())));
        }
        let id = client.ask("CLIENT ID");
        let next = server.client().ask("CLIENT ID");
        let ids: Vec<u64> = [id, next].iter().map(|id| id.parse().unwrap()).collect();
        let ask = |client: &mut Client, line: &str| {
            let list = client.ask(&line.replace("$A", &ids[0].to_string()));
            list.lines().map(fields_of).collect::<Vec<_>>()
        };
        let lists = [
            "CLIENT LIST TYPE pubsub",
            "CLIENT LIST ID $A $A",
            "CLIENT LIST TYPE normal",
        ];
        let mut lists = lists.map(|line| ask(&mut client, line));
        // Of those who are gone one may be there for a moment.
        lists[2].retain(|fields| fields["cmd"] == "set" || fields["cmd"] == "client|list");
        (seen, ids[1] - ids[0], lists)
    });
    for (real, ours) in real.0.iter().zip(&ours.0) {
        assert_eq!(real, ours);
    }
    assert_eq!((real.1, real.2), (ours.1, ours.2));
}

#[test]
fn a_redirection_is_told_of_even_when_it_is_broken() {
    let [real, ours] = start_both("").map(|server| {
        let (mut client, mut other) = (server.client(), server.client());
        let id = other.ask("CLIENT ID");
        let mut seen = Vec::new();
        let mut ask = |client: &mut Client, line: &str| {
            let reply = client.ask(&line.replace("$ID", &id));
            seen.push(reply.replace(&id, "ID"));
        };
        ask(&mut client, "CLIENT TRACKING ON REDIRECT $ID");
        ask(&mut client, "CLIENT GETREDIR");
        ask(&mut client, "CLIENT TRACKINGINFO");
        ask(&mut other, "CLIENT TRACKING ON REDIRECT $ID");
        ask(&mut other, "CLIENT TRACKINGINFO");
        ask(&mut client, "GET k");
        drop(other);
        wait_for_list(&server, "it is gone", |list| {
            !list.contains(&format!("id={id} "))
        });
        server.client().ask("SET k v");
        ask(&mut client, "CLIENT TRACKINGINFO");
        ask(&mut client, "CLIENT GETREDIR");
        ask(&mut client, "CLIENT TRACKING ON");
        ask(&mut client, "CLIENT TRACKINGINFO");
        ask(&mut client, "CLIENT TRACKING OFF");
        ask(&mut client, "CLIENT GETREDIR");
        seen
    });
    assert_eq!(real, ours);
}

#[test]
fn what_waits_behind_a_buffer_of_16_kilobytes_has_a_limit() {
    let servers = start_both("");
    for (limit, bytes) in [
        (1000, 10_000),
        (1000, 16_000),
        (1000, 40_000),
        (30_000, 40_000),
        (30_000, 60_000),
        (50_000, 60_000),
        (50_000, 70_000),
    ] {
        let [real, ours] = servers.each_ref().map(|server| {
            let [mut me, mut asks] = [server.client(), server.client()];
            me.call(&["SET", "k", &"x".repeat(bytes)]);
            let limit = format!("normal {limit} 0 0");
            let reply = me.call(&["CONFIG", "SET", "client-output-buffer-limit", &limit]);
            assert_eq!(text(&reply), "OK");
            asks.try_call(&["GET", "k"]).is_ok()
        });
        assert_eq!(real, ours, "a limit of {limit} for {bytes}");
    }
}

#[test]
fn where_the_length_comes_last_the_first_byte_counts() {
    // Each is answered with more than a limit of 1000 bytes, and less than the buffer that the limit leaves out.
    const LINES: [&str; 30] = [
        "KEYS *",
        "ZRANGE z 0 -1",
        "ZREVRANGE z 0 -1",
        "ZRANGEBYSCORE z -inf +inf",
        "ZREVRANGEBYSCORE z +inf -inf WITHSCORES",
        "ZRANGE z -inf +inf BYSCORE",
        "ZRANGEBYLEX z - +",
        "ZREVRANGEBYLEX z + -",
        "ZRANGE z - + BYLEX LIMIT 0 100",
        "ZINTER 2 z z",
        "ZUNION 1 z",
        "SMEMBERS s",
        "SINTER s s",
        "SUNION s",
        "SDIFF s nothing",
        "SRANDMEMBER s 80",
        "HGETALL h",
        "LRANGE l 0 -1",
        "LPOS l same COUNT 0",
        "PUBSUB CHANNELS",
        "PUBSUB SHARDCHANNELS",
        "LCS one other IDX",
        "COMMAND LIST",
        "COMMAND INFO get set mset zadd sort zrange hset",
        "COMMAND DOCS get set mset zadd sort zrange hset",
        "SLOWLOG GET",
        "LATENCY HISTOGRAM",
        "ACL CAT write",
        "ACL GETUSER u",
        "ACL USERS",
    ];
    let servers = start_both("slowlog-log-slower-than 0\n");
    let kept = servers.each_ref().map(|server| {
        let [mut me, mut listens] = [server.client(), server.client()];
        let member = |n: usize| format!("member {n:030}");
        for n in 0..100 {
            me.call(&["ZADD", "z", "0", &member(n)]);
            me.call(&["SADD", "s", &member(n)]);
            me.call(&["HSET", "h", &member(n), "v"]);
            me.call(&["RPUSH", "l", "same", "same", "same", "same"]);
            me.call(&["SET", &member(n), "v"]);
            listens.call(&["SUBSCRIBE", &member(n)]);
            listens.call(&["SSUBSCRIBE", &member(n)]);
            me.call(&[
                "ACL",
                "SETUSER",
                "u",
                &format!("~{}", member(n).replace(' ', ":")),
            ]);
            me.call(&["ACL", "SETUSER", &member(n).replace(' ', ":")]);
        }
        for (key, between) in [("one", "-"), ("other", "_")] {
            let parts: Vec<String> = (0..60).map(|n| format!("{n:03}")).collect();
            me.call(&["SET", key, &parts.join(between)]);
        }
        let limit = [
            "CONFIG",
            "SET",
            "client-output-buffer-limit",
            "normal 1000 0 0",
        ];
        assert_eq!(text(&me.call(&limit)), "OK");
        LINES.map(|line| server.client().try_call(&words_of(line)).is_ok())
    });
    let [real, ours] = kept.map(|kept| Vec::from_iter(LINES.into_iter().zip(kept)));
    assert_eq!(real, ours);
}

#[test]
fn replies_are_left_out_and_come_again() {
    const LINES: [&str; 22] = [
        "CLIENT REPLY OFF",
        "PING",
        "NOSUCH",
        "CLIENT REPLY SKIP",
        "PING",
        "CLIENT REPLY ON",
        "PING",
        "CLIENT REPLY SKIP",
        "PING",
        "ECHO 1",
        "CLIENT REPLY SKIP",
        "CLIENT REPLY SKIP",
        "ECHO 2",
        "ECHO 3",
        "CLIENT REPLY skip",
        "CLIENT REPLY ON",
        "ECHO 4",
        "CLIENT REPLY off",
        "CLIENT REPLY ON x",
        "CLIENT REPLY nosuch",
        "CLIENT REPLY on",
        "ECHO end",
    ];
    let [real, ours] = start_both("").map(|server| {
        let mut client = server.client();
        for line in LINES {
            client.send(&words_of(line)).unwrap();
        }
        let mut heard = Vec::new();
        while heard.last().is_none_or(|last| last != "end") {
            heard.push(text(&client.receive().unwrap()));
        }
        heard
    });
    assert_eq!(real, ours);
}

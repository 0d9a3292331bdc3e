//! What administrators and clients ask about the server itself, to redis-server 7.0 and to ours: the command
//! table, settings, clients, users, subscriptions, invalidations, what is watched. What they count is compared in `statistics_equal_redis`.

use std::collections::BTreeMap;
use std::time::Duration;

use sentinel::resp::Value;

use crate::both::{elements, pairs, start_both, words_of};
use crate::support::{
    Client, Kind, ServerNode, expect_that, secs, start_server, text, texts, wait_for,
};

/// How long a message may take to come, or is waited for in vain.
const PATIENCE: Duration = Duration::from_millis(500);

/// Runs a script against both: each line is the letter of a connection, a colon, and a command; `READ` stands
/// for the next message, or for none. What both answer must be the same.
fn compare(script: &str) {
    compare_with("", script);
}

/// The same with these lines of configuration.
fn compare_with(lines: &str, script: &str) {
    let servers = start_both(lines);
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
    let [real, ours] = start_both("").map(|server| by_name(&server.client().call(&["COMMAND"])));
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

#[test]
fn the_documentation_of_commands() {
    let [real, ours] =
        start_both("").map(|server| pairs(&server.client().call(&["COMMAND", "DOCS"])));
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
    let [real, ours] =
        start_both("").map(|server| pairs(&server.client().call(&["CONFIG", "GET", "*"])));
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
        "MULTI",
        "INCR n",
        "EXEC now",
        "EXEC",
        "EXEC now",
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
    let servers = start_both("");
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
    let [real, ours] = start_both("").map(|server| {
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
    let [real, ours] = start_both("").map(|server| {
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
fn a_client_that_resets_itself_is_still_not_evicted() {
    let [real, ours] = start_both("").map(|server| {
        let mut client = server.client();
        client.call(&["CLIENT", "NO-EVICT", "ON"]);
        client.call(&["RESET"]);
        let info = text(&client.call(&["CLIENT", "INFO"]));
        let flags = info.split(' ').find(|field| field.starts_with("flags="));
        flags.expect("flags").to_owned()
    });
    assert_eq!(real, ours);
}

#[test]
fn what_was_tracked_is_forgotten_when_it_changes() {
    let [real, ours] = start_both("").map(|server| {
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

/// What `DEBUG OBJECT` says of a list, without where it is and when it was used.
#[test]
fn a_list_is_described_alike() {
    let [real, ours] = start_both("").map(|server| {
        let mut client = server.client();
        client.call(&["RPUSH", "l", "a", "b"]);
        let told = text(&client.call(&["DEBUG", "OBJECT", "l"]));
        let fields = told.split(' ').filter(|field| {
            let left_out = ["at:", "lru:", "lru_seconds_idle:"];
            !left_out.iter().any(|name| field.starts_with(name))
        });
        fields.map(str::to_owned).collect::<Vec<_>>()
    });
    assert_eq!(real, ours);
}

/// Vertical tabs and form feeds are blanks between words of a line, and parts of a word within.
#[test]
fn inline_requests_have_the_same_words() {
    let [real, ours] = start_both("").map(|server| {
        let mut client = server.client();
        let requests: [&[u8]; 8] = [
            b"PING\x0bx\r\n",
            b"PING x\x0by\r\n",
            b"PING \x0b\x0cx\r\n",
            b"\x0bPING x\r\n",
            b"PING x\x0c\r\n",
            b"PING \"a\"\x0bb\r\n",
            b"PING \"a\"\x0b\r\n",
            b"PING x\x0b'y'\tz\r\n",
        ];
        requests.map(|request| {
            client.send_raw(request).unwrap();
            client.receive().unwrap()
        })
    });
    assert_eq!(real, ours);
}

#[test]
fn what_a_client_has_sent_is_shown_while_it_runs() {
    let [real, ours] = start_both("").map(|server| {
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
    for server in start_both("tracking-table-max-keys 1000\n") {
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
fn monitors_see_the_same() {
    let [real, ours] = start_both("").map(|server| monitored(&server));
    assert_eq!(real, ours);
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
fn invalidations_can_go_to_another_client() {
    let [real, ours] = start_both("").map(|server| {
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
        let info = texts(&tracker.call(&["CLIENT", "TRACKINGINFO"]));
        let line = text(&tracker.call(&["CLIENT", "INFO"]));
        let flags = line.split(' ').find(|field| field.starts_with("flags="));
        let shown = [info[1].clone(), flags.unwrap_or_default().to_owned()];
        (heard, shown)
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
    let [real, ours] = start_both("enable-debug-command no\n").map(|server| {
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

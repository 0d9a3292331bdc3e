//! `CONFIG REWRITE`: the file that one program has written gives the other the same settings, users and names of commands.

use std::collections::BTreeMap;
use std::fs;

use rand::RngExt;

use crate::both::{DIRECTIONS, in_each_direction, start_both};
use crate::data::{Dice, seeds};
use crate::settings_are_read_as_by_redis::{is_cut, names, value};
use crate::support::{
    Client, Kind, Process, ServerNode, expect_that, fields, secs, start_server, text, texts,
    wait_for,
};

/// What redis-server knows of a server's settings.
fn settings(server: &ServerNode, known: &[String]) -> BTreeMap<String, String> {
    let mut shown = fields(&server.client().call(&["CONFIG", "GET", "*"]));
    shown.retain(|name, _| known.contains(name));
    shown
}

/// The users; the rules of one name single commands in no order.
fn users(server: &ServerNode) -> Vec<Vec<String>> {
    let lines = texts(&server.client().call(&["ACL", "LIST"]));
    let words = lines.iter().map(|line| {
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        words.sort();
        // redis-server shows this of a user that a line has made, not of the one that is there at first.
        words.retain(|word| word != "sanitize-payload");
        words
    });
    words.collect()
}

/// Ends it and starts the program of this kind on its file.
fn restart_as(server: &mut ServerNode, kind: Kind) {
    server.kill();
    let file = server.dir().join("server.conf");
    server.process = Process::start("again", &server.dir(), kind.server(&file));
    wait_for("it answers", secs(20), || {
        let is_running = server.process.is_running();
        assert!(is_running, "{kind:?}: {}", server.process.log());
        let client = Client::try_to(server.port()).map_err(|error| error.to_string())?;
        expect_that({ client }.ask("PING") == "PONG", String::new)
    });
}

/// Everything, from a file that `from` has rewritten and `to` reads, rewrites and gives back.
fn exchange(server: &mut ServerNode, (from, to): (Kind, Kind), known: &[String]) {
    let rewrite = |server: &ServerNode, kind: Kind| {
        let reply = server.client().ask("CONFIG REWRITE");
        assert_eq!(reply, "OK", "{kind:?}");
    };
    let before = (settings(server, known), users(server));
    rewrite(server, from);
    for kind in [to, from] {
        let file = fs::read_to_string(server.dir().join("server.conf")).unwrap();
        restart_as(server, kind);
        let after = settings(server, known);
        for (name, value) in &before.0 {
            assert_eq!(after.get(name), Some(value), "{name} to {kind:?}: {file}");
        }
        assert_eq!(users(server), before.1, "to {kind:?}: {file}");
        rewrite(server, kind);
    }
}

fn known() -> Vec<String> {
    let server = start_server(Kind::Real, "");
    let shown = fields(&server.client().call(&["CONFIG", "GET", "*"]));
    shown.into_keys().collect()
}

/// Behind its end redis-server takes each further `save` line for the only one: the include is the last.
const FILE: &str = r#"
# Mine.
rename-command GET fetch
rename-command OBJECT ""
save 900 1
save 300 10
user alice on >pw ~a:* %R~b:* &ch +@read -get (+set ~x)
user bob off
user default on nopass ~* &* +@all
client-output-buffer-limit pubsub 10mb 2mb 30
client-output-buffer-limit replica 100mb 0 0
timeout 70
slave-priority 7
latency-tracking-info-percentiles 50 99.5
shutdown-on-sigterm save now
notify-keyspace-events KEA
unixsocketperm 700
maxmemory-clients 5%
replica-announce-ip "a b"
proc-title-template "{title} x"
hash-max-ziplist-entries 77
maxmemory 50mb
tls-ciphers "A B"
"#;

const CHANGES: [(&str, &str); 17] = [
    ("save", "60 5 1 1"),
    (
        "client-output-buffer-limit",
        "pubsub 1gb 0 5 replica 3kb 1500 7",
    ),
    ("maxmemory", "123456789"),
    ("hz", "50"),
    ("appendfsync", "always"),
    ("bind", "127.0.0.1 -::1"),
    ("masterauth", "p w\"\\\u{1}'"),
    ("masteruser", "\u{e9}"),
    ("latency-tracking-info-percentiles", ""),
    ("notify-keyspace-events", "Kx"),
    ("repl-backlog-size", "3mb"),
    ("maxmemory-clients", "1gb"),
    ("shutdown-on-sigterm", "default"),
    ("replica-announce-ip", ""),
    ("tcp-keepalive", "0"),
    ("list-max-listpack-size", "-3"),
    ("timeout", "0"),
];

#[test]
fn with_users_renamed_commands_and_an_include() {
    let known = known();
    for (from, to) in DIRECTIONS {
        let folder = tempfile::tempdir().unwrap();
        let more = folder.path().join("more.conf");
        let included = "maxclients 77\nhz 20\n# No more.\nuser carol on nopass +ping\n";
        fs::write(&more, included).unwrap();
        let lines = format!("{FILE}include {}\n", more.display());
        let mut server = start_server(from, &lines);
        let mut client = server.client();
        for (name, value) in CHANGES {
            let reply = text(&client.call(&["CONFIG", "SET", name, value]));
            assert_eq!(reply, "OK", "{name} by {from:?}");
        }
        for line in [
            "ACL SETUSER dave on >x ~* +@all -debug",
            "ACL SETUSER eve on #5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8 &a* +acl|whoami",
            "ACL SETUSER alice +ping",
        ] {
            assert_eq!(client.ask(line), "OK", "{line} by {from:?}");
        }
        assert_eq!(client.ask("ACL DELUSER bob carol"), "2");
        // Where it comes from it comes from again.
        fs::write(&more, "maxclients 77\nhz 20\n").unwrap();
        exchange(&mut server, (from, to), &known);
        let mut client = server.client();
        assert_eq!(client.ask("FETCH nothing"), "(nil)");
        for gone in ["GET nothing", "OBJECT HELP"] {
            assert!(
                client.ask(gone).starts_with("ERR unknown command"),
                "{gone}"
            );
        }
        let file = fs::read_to_string(server.dir().join("server.conf")).unwrap();
        assert!(file.contains("# Mine.\n"), "{file}");
        assert_eq!(fs::read_to_string(&more).unwrap(), "maxclients 77\nhz 20\n");
    }
}

/// What only a file says is not said a second time, and what has changed is not said by the include any more.
#[test]
fn an_include_is_read_again_after_rewrites() {
    let folder = tempfile::tempdir().unwrap();
    let common = folder.path().join("common.conf");
    let access = folder.path().join("access.conf");
    let settings = "rename-command FLUSHALL \"\"\nsave 900 1\nsave 300 10\nmaxclients 77\n\
                    masterauth old\n";
    fs::write(&common, settings).unwrap();
    let users = "user carol on nopass +ping\nuser dora on nopass +ping\nreplicaof 127.0.0.1 1\n";
    fs::write(&access, users).unwrap();
    let lines = format!(
        "include {}\ninclude {}\n",
        common.display(),
        access.display()
    );
    let mut server = start_server(Kind::Ours, &lines);
    let file = |server: &ServerNode| fs::read_to_string(server.dir().join("server.conf")).unwrap();
    for _ in 0..2 {
        assert_eq!(server.client().ask("CONFIG REWRITE"), "OK");
        let file = file(&server);
        assert!(
            file.contains(&format!("\ninclude {}\n", common.display())),
            "{file}"
        );
        for name in ["rename-command", "save 9", "maxclients"] {
            assert!(!file.contains(name), "{name}: {file}");
        }
        restart_as(&mut server, Kind::Ours);
        let shown = server.client().ask("CONFIG GET save");
        assert_eq!(shown, "save 900 1 300 10", "{file}");
    }
    let mut client = server.client();
    assert_eq!(client.ask("REPLICAOF NO ONE"), "OK");
    assert_eq!(client.ask("ACL DELUSER carol"), "1");
    let reply = client.call(&[
        "CONFIG",
        "SET",
        "save",
        "60 5",
        "maxclients",
        "88",
        "masterauth",
        "",
    ]);
    assert_eq!(text(&reply), "OK");
    for _ in 0..2 {
        assert_eq!(server.client().ask("CONFIG REWRITE"), "OK");
        restart_as(&mut server, Kind::Ours);
        let mut client = server.client();
        let file = file(&server);
        assert_eq!(client.ask("CONFIG GET save"), "save 60 5", "{file}");
        assert_eq!(
            client.ask("CONFIG GET maxclients"),
            "maxclients 88",
            "{file}"
        );
        assert_eq!(
            client.ask("ROLE").split(' ').next(),
            Some("master"),
            "{file}"
        );
        assert_eq!(client.ask("ACL USERS"), "default dora", "{file}");
        assert_eq!(client.ask("CONFIG GET masterauth"), "masterauth ", "{file}");
        assert!(client.ask("FLUSHALL").starts_with("ERR unknown"), "{file}");
    }
    assert_eq!(fs::read_to_string(&common).unwrap(), settings);
    assert_eq!(fs::read_to_string(&access).unwrap(), users);
}

#[test]
fn with_random_settings() {
    let known = known();
    for (seed, (from, to)) in in_each_direction(seeds([])) {
        let mut dice = Dice::of(seed);
        let mut server = start_server(from, "");
        let mut client = server.client();
        let all = names(&mut client);
        let mut set = 0;
        while set < 60 {
            let at = dice.random_range(0..all.len());
            let (name, value) = (&all[at], value(&mut dice, &all[at]));
            if !is_cut(name, &value) && known.contains(name) {
                let reply = client.call(&["CONFIG", "SET", name, &value]);
                set += usize::from(!reply.is_error());
            }
        }
        exchange(&mut server, (from, to), &known);
    }
}

/// The lines of one directive after each of two rewrites: of another value, and of what it was before. Ours quotes words
/// only where they need it.
fn there_and_back(server: &ServerNode, name: &str) -> Vec<String> {
    let mut client = server.client();
    let before = texts(&client.call(&["CONFIG", "GET", name])).remove(1);
    let mut seen = Vec::new();
    for value in ["x", &before] {
        let reply = client.call(&["CONFIG", "SET", name, value]);
        if reply.is_error() {
            return seen;
        }
        seen.push(text(&reply));
        client.ask("CONFIG REWRITE");
        let file = fs::read_to_string(server.dir().join("server.conf")).unwrap();
        let start = format!("{name} ");
        let lines = file.lines().filter(|line| line.starts_with(&start));
        seen.extend(lines.map(|line| line.replace('"', "")));
    }
    seen
}

#[test]
fn what_is_not_set_any_more_has_the_lines_that_redis_writes() {
    let servers = start_both("");
    let ours = fields(&servers[1].client().call(&["CONFIG", "GET", "*"]));
    let mut count = 0;
    for name in known().iter().filter(|name| ours.contains_key(*name)) {
        let [real, ours] = (servers.each_ref()).map(|server| there_and_back(server, name));
        assert_eq!(real, ours, "{name}");
        count += usize::from(!real.is_empty());
    }
    assert!(count > 15, "only {count} took it");
}

#[test]
fn what_cannot_be_rewritten_is_an_error() {
    let [real, ours] = start_both("").map(|server| {
        let (file, mut client) = (server.dir().join("server.conf"), server.client());
        let mut seen = vec![client.ask("CONFIG REWRITE")];
        fs::rename(&file, file.with_extension("old")).unwrap();
        // One that is gone is written anew.
        seen.push(client.ask("CONFIG SET hz 77"));
        seen.push(client.ask("CONFIG REWRITE"));
        let text = fs::read_to_string(&file).unwrap();
        seen.push(text.lines().any(|line| line == "hz 77").to_string());
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        seen.push(client.ask("CONFIG REWRITE"));
        seen
    });
    assert_eq!(real, ours);
}

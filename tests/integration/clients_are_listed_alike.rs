//! The lines of `CLIENT LIST` for clients that do all kinds of things: the fields, their order and what they say are
//! those of redis-server 7.0. Sizes are our own, and are compared with what is known of them.

use std::collections::BTreeMap;

use crate::both::{start_both, words_of};
use crate::support::{Client, ServerNode, expect_that, secs, text, wait_for};

/// Fields that differ from connection to connection.
const OF_THE_CONNECTION: [&str; 7] = ["id", "addr", "laddr", "fd", "age", "idle", "redir"];
/// Fields that tell what is taken of the memory, and how it is laid out.
const SIZES: [&str; 10] = [
    "qbuf",
    "qbuf-free",
    "argv-mem",
    "multi-mem",
    "rbs",
    "rbp",
    "obl",
    "oll",
    "omem",
    "tot-mem",
];

/// Clients by name and what each has sent, a blank line between them. `!` begins what gets no reply, or not yet; `$`
/// stands for the number of the client called `target`.
const CLIENTS: &str = "
    idle
    target
    queueing; MULTI; SET a 01234567890123456789; GET a
    opened; MULTI
    spoiled; MULTI; GET a; NOSUCH; GET b; GET c
    spoiled-at-once; MULTI; GET; GET b
    overtaken-by-itself; WATCH own; SET own 1; MULTI; GET a
    watching; WATCH k1 k2; GET k3
    overtaken; WATCH changes
    watching-and-queueing; WATCH k1; MULTI; GET k1
    subscribed; SUBSCRIBE c1; SUBSCRIBE c2; PSUBSCRIBE p*; SSUBSCRIBE s1
    patterned; PSUBSCRIBE p*
    sharded; SSUBSCRIBE s1
    subscribed-in-resp3; HELLO 3; SUBSCRIBE c1
    unsubscribed; SUBSCRIBE c1; UNSUBSCRIBE c1
    blocked; !BLPOP nokey 0
    blocked-for-many; !BLMPOP 0 2 nokey1 nokey2 LEFT
    waiting; !WAIT 5 0
    monitoring; MONITOR
    tracking; HELLO 3; CLIENT TRACKING ON; GET k1
    tracking-prefixes; HELLO 3; CLIENT TRACKING ON BCAST PREFIX p
    redirecting; CLIENT TRACKING ON REDIRECT $
    evicted-never; CLIENT NO-EVICT ON
    evicted-never-after-reset; CLIENT NO-EVICT ON; RESET; CLIENT SETNAME evicted-never-after-reset
    elsewhere; SELECT 9
    somebody; AUTH bob x
    mistaken; NOSUCH
    mistaken-in-part; CONFIG NOSUCH
    asking; CONFIG GET port
    silent; !CLIENT REPLY OFF
    replica; REPLCONF listening-port 1234; !PSYNC ? -1
";

type Line = Vec<(String, String)>;

/// The lines of all clients, by their names.
fn listed(admin: &mut Client) -> BTreeMap<String, Line> {
    let list = text(&admin.call(&["CLIENT", "LIST"]));
    let lines = list.lines().map(|line| -> Line {
        let fields = line.split(' ').filter_map(|field| field.split_once('='));
        fields
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    });
    let named = lines.filter_map(|line| {
        let (_, name) = line.iter().find(|(field, _)| field == "name")?;
        (!name.is_empty()).then(|| (name.clone(), line.clone()))
    });
    named.collect()
}

fn field(line: &Line, wanted: &str) -> String {
    let found = line.iter().find(|(name, _)| name == wanted);
    found.map_or_else(|| panic!("{wanted}"), |(_, value)| value.clone())
}

fn size(line: &Line, wanted: &str) -> usize {
    field(line, wanted).parse().expect("a number")
}

/// A connection with a name.
fn named(server: &ServerNode, name: &str) -> Client {
    let mut client = server.client();
    client.call(&["CLIENT", "SETNAME", name]);
    client
}

/// What a server says of all these clients.
fn lines_of_all(server: &ServerNode) -> BTreeMap<String, Line> {
    let mut admin = named(server, "admin");
    admin.ask("ACL SETUSER bob on nopass allkeys allchannels allcommands");
    let mut target = String::new();
    let mut clients = Vec::new();
    let scripts = CLIENTS.lines().map(str::trim);
    for script in scripts.filter(|line| !line.is_empty()) {
        let (name, script) = script.split_once(';').unwrap_or((script, ""));
        let mut client = named(server, name);
        for line in script.split(';').map(str::trim) {
            let line = line.replace('$', &target);
            match line.strip_prefix('!') {
                Some(line) => client.send(&words_of(line)).expect("sent"),
                None if line.is_empty() => {}
                None => drop(client.call(&words_of(&line))),
            }
        }
        if name == "target" {
            target = text(&client.call(&["CLIENT", "ID"]));
        }
        clients.push(client);
    }
    admin.ask("SET changes 1");
    // The last commands may be on their way, and the replica's data.
    let mut last = BTreeMap::new();
    wait_for("all have been heard", secs(10), || {
        last = listed(&mut admin);
        let said = |name: &str, wanted: &str| {
            last.get(name)
                .is_some_and(|line| field(line, "cmd") == wanted)
        };
        let is_done = said("blocked", "blpop")
            && said("blocked-for-many", "blmpop")
            && said("waiting", "wait")
            && said("silent", "client|reply")
            && said("replica", "psync")
            && last.values().all(|line| field(line, "events") == "r");
        expect_that(is_done, || format!("{last:?}"))
    });
    last
}

#[test]
fn all_kinds_of_clients_have_the_same_lines() {
    let [real, ours] = start_both("").map(|server| lines_of_all(&server));
    let names = |lines: &BTreeMap<String, Line>| lines.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&real), names(&ours));
    for (name, theirs) in &real {
        let ours: Line = ours[name]
            .iter()
            .filter(|(field, _)| !field.starts_with("lib-"))
            .cloned()
            .collect();
        let compared = |line: &Line| -> Line {
            let shown = |field: &str, value: &str| {
                let is_own = OF_THE_CONNECTION.contains(&field) || SIZES.contains(&field);
                if is_own {
                    String::new()
                } else {
                    value.to_owned()
                }
            };
            line.iter()
                .map(|(field, value)| (field.clone(), shown(field, value)))
                .collect()
        };
        assert_eq!(compared(theirs), compared(&ours), "{name}");
        let is_redirected = |line: &Line| size_or_none(line, "redir").is_some_and(|id| id > 0);
        assert_eq!(is_redirected(theirs), is_redirected(&ours), "{name}");
        // Nobody has anything that is not read, nor half a request; what is kept is kept by both.
        for size_of in ["qbuf", "argv-mem", "obl", "oll", "omem", "multi-mem"] {
            let has = |line: &Line| size(line, size_of) > 0;
            // What runs is no part of what we keep, what is watched is; redis-server's replicas share a list.
            let is_ours = match size_of {
                "argv-mem" => name == "admin",
                "oll" | "omem" => name == "replica",
                "multi-mem" => name == "watching" || name.starts_with("overtaken"),
                _ => false,
            };
            if !is_ours {
                assert_eq!(has(theirs), has(&ours), "{name}: {size_of}");
            }
        }
        assert!(size(&ours, "tot-mem") > 100, "{name}");
    }
}

fn size_or_none(line: &Line, wanted: &str) -> Option<usize> {
    field(line, wanted).parse().ok()
}

#[test]
fn what_a_client_takes_is_in_its_line() {
    const REPLY: usize = 200_000;
    for server in start_both("") {
        let mut admin = named(&server, "admin");
        admin.call(&["SET", "large", &"x".repeat(REPLY)]);
        let mut unread = named(&server, "unread");
        for _ in 0..100 {
            unread.send(&["GET", "large"]).expect("sent");
        }
        let mut half = named(&server, "half");
        let request = format!("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1000\r\n{}", "x".repeat(500));
        half.send_raw(request.as_bytes()).expect("sent");
        let mut blocked = named(&server, "blocked");
        let key = "k".repeat(100_000);
        blocked.send(&["BLPOP", &key, "0"]).expect("sent");
        let mut queueing = named(&server, "queueing");
        queueing.call(&["MULTI"]);
        queueing.call(&["SET", "a", &key]);
        wait_for("what they take", secs(10), || {
            let lines = listed(&mut admin);
            let sizes = |name: &str, wanted: &[&str]| -> Vec<usize> {
                let line = &lines[name];
                wanted.iter().map(|wanted| size(line, wanted)).collect()
            };
            let is_near =
                |bytes: usize, wanted: usize| (wanted..wanted * 2 + 1000).contains(&bytes);
            let [listed, pieces, all] = sizes("unread", &["omem", "oll", "tot-mem"])[..] else {
                unreachable!()
            };
            let is_shown = listed > 20 * REPLY
                && pieces > 0
                && is_near(all, listed)
                && field(&lines["unread"], "events") == "rw"
                && is_near(sizes("half", &["qbuf"])[0], 500)
                && is_near(sizes("blocked", &["argv-mem"])[0], key.len())
                && is_near(sizes("blocked", &["tot-mem"])[0], key.len())
                && is_near(sizes("queueing", &["multi-mem"])[0], key.len())
                && is_near(sizes("queueing", &["tot-mem"])[0], key.len());
            expect_that(is_shown, || format!("{lines:?}"))
        });
    }
}

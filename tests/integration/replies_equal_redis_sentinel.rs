//! One script, sent to a redis-sentinel 7.0 and to ours, gets the same replies in RESP2 and RESP3.
//!
//! What cannot be equal (times, ids) is masked by name; what is meant to differ is in [`INTENDED`], and a
//! difference that is listed there must be one.

use std::collections::BTreeMap;
use std::fmt::Write;

use sentinel::resp::{Value, split_words};

use crate::support::{Client, Kind, NAME, SentinelNode, Topology, fields, secs, text, wait_for};

/// Steps whose replies differ on purpose, and why.
const INTENDED: &[(&str, &str)] = &[
    (
        "SENTINEL HELP",
        "the descriptions are our own, and some syntax is wider",
    ),
    ("CLIENT HELP", "the descriptions are our own"),
    ("ACL HELP", "the descriptions are our own"),
    ("COMMAND HELP", "the descriptions are our own"),
    ("SENTINEL CONFIG GET *", "loglevel is there, as in Redis 8"),
    ("SENTINEL CONFIG GET loglevel", "as in Redis 8"),
    (
        "SENTINEL CONFIG GET announce-ip sentinel-*",
        "several patterns, as in Redis 8",
    ),
    (
        "SENTINEL CONFIG SET announce-port 1 announce-port 2",
        "several pairs, as in Redis 8",
    ),
    (
        "SENTINEL CONFIG SET announce-port 1 nosuch",
        "several pairs, as in Redis 8",
    ),
    ("SENTINEL CONFIG SET loglevel loud", "as in Redis 8"),
    ("SENTINEL PRIMARIES", "Valkey's name"),
    ("SENTINEL PRIMARY nosuch", "Valkey's name"),
    (
        "SENTINEL GET-PRIMARY-ADDR-BY-NAME mymaster",
        "Valkey's name",
    ),
    (
        "SENTINEL IS-PRIMARY-DOWN-BY-ADDR 127.0.0.1 {master} 0 *",
        "Valkey's name",
    ),
    ("CLIENT SETINFO LIB-NAME x", "as in Redis 7.2"),
    (
        "ACL GETUSER u",
        "single commands come in the order of the table",
    ),
    ("acl list", "single commands come in the order of the table"),
];

/// Commands that ours has and redis-sentinel 7.0 has not.
const MORE_COMMANDS: &[&str] = &[
    "client|setinfo",
    "sentinel|explain",
    "sentinel|forget",
    "sentinel|get-primary-addr-by-name",
    "sentinel|is-primary-down-by-addr",
    "sentinel|ordered-failover",
    "sentinel|pause",
    "sentinel|primaries",
    "sentinel|primary",
    "sentinel|resume",
];

/// Values that are never equal, by the name before them.
const VOLATILE: &[&str] = &[
    "age-seconds",
    "id",
    "info-refresh",
    "last-ok-ping-reply",
    "last-ping-reply",
    "last-ping-sent",
    "link-pending-commands",
    "role-reported-time",
    "runid",
    "slave-repl-offset",
];

/// Lines of INFO whose values are never equal.
const VOLATILE_INFO: &[&str] = &[
    "client_recent_max_input_buffer",
    "client_recent_max_output_buffer",
    "config_file",
    "connected_clients",
    "executable",
    "expire_cycle_cpu_milliseconds",
    "gcc_version",
    "hz",
    "instantaneous_input_kbps",
    "instantaneous_ops_per_sec",
    "instantaneous_output_kbps",
    "lru_clock",
    "process_id",
    "redis_build_id",
    "run_id",
    "server_time_usec",
    "total_commands_processed",
    "total_connections_received",
    "total_error_replies",
    "total_net_input_bytes",
    "total_net_output_bytes",
    "total_reads_processed",
    "total_writes_processed",
    "uptime_in_seconds",
    "used_cpu_sys",
    "used_cpu_sys_children",
    "used_cpu_sys_main_thread",
    "used_cpu_user",
    "used_cpu_user_children",
    "used_cpu_user_main_thread",
    "reply_buffer_expands",
    "reply_buffer_shrinks",
    "pubsub_channels",
];

/// Lines of INFO that only ours has.
const OWN_INFO: &[&str] = &[
    "sentinel_version",
    "sentinel_save_status",
    "sentinel_observe_only",
    "sentinel_paused_masters",
];

/// Parts of a client's line that are never equal, and those that only ours has.
const VOLATILE_CLIENT: &[&str] = &[
    "addr",
    "age",
    "argv-mem",
    "fd",
    "id",
    "idle",
    "laddr",
    "obl",
    "oll",
    "omem",
    "qbuf",
    "qbuf-free",
    "rbp",
    "rbs",
    "tot-mem",
];
const OWN_CLIENT: &[&str] = &["lib-name", "lib-ver"];

/// `<connection>[*replies][~] words`: sent on that connection, whose next replies are compared; `~`: lists
/// are unordered. Without words only a message is awaited.
const SCRIPT: &str = include_str!("replies_equal_redis_sentinel.txt");

#[test]
fn replies_equal_redis_sentinel() {
    let start = |kind| {
        Topology::of(Kind::Real)
            .replicas(Kind::Real, 1)
            .sentinels(&[kind])
            .quorum(1)
            .down_after(secs(30))
            .failover_timeout(secs(180))
            .start()
    };
    let (real, ours) = (start(Kind::Real), start(Kind::Ours));
    let mut report = String::new();
    for (epoch, protocol) in [(5, "2"), (10, "3")] {
        let mut real = Side::new(&real, protocol, epoch);
        let mut ours = Side::new(&ours, protocol, epoch);
        for line in SCRIPT
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
        {
            compare(&mut real, &mut ours, line, &mut report);
        }
        commands_equal(&mut real, &mut ours, &mut report);
    }
    assert!(report.is_empty(), "{report}");
}

fn compare(real: &mut Side, ours: &mut Side, line: &str, report: &mut String) {
    let step = Step::parse(line);
    let (wanted, got) = (real.run(&step), ours.run(&step));
    let intended = INTENDED.iter().find(|(words, _)| *words == step.words);
    match (wanted == got, intended) {
        (true, None) | (false, Some(_)) => {}
        (true, Some((_, why))) => {
            let _ = writeln!(
                report,
                "{line}\n  no longer differs, though listed: {why}\n"
            );
        }
        (false, None) => {
            let protocol = real.protocol;
            let _ = writeln!(
                report,
                "RESP{protocol}: {line}\n  redis-sentinel:\n{wanted}\n  ours:\n{got}\n"
            );
        }
    }
}

/// `COMMAND INFO` and `COMMAND DOCS` of every command that redis-sentinel has.
fn commands_equal(real: &mut Side, ours: &mut Side, report: &mut String) {
    let list = |side: &mut Side| {
        let reply = side.client("a").call(&["COMMAND", "LIST"]);
        let mut names = crate::support::texts(&reply);
        names.sort();
        names
    };
    let (known, own) = (list(real), list(ours));
    let more: Vec<&String> = own.iter().filter(|name| !known.contains(name)).collect();
    assert_eq!(more, MORE_COMMANDS, "commands that redis-sentinel has not");
    let containers = ["acl", "client", "command", "sentinel"];
    for name in known {
        // Their subcommands, of which ours has more, come one by one.
        if containers.contains(&name.as_str()) {
            continue;
        }
        compare(real, ours, &format!("a~ COMMAND INFO {name}"), report);
        let doc = |side: &mut Side| {
            let reply = side.client("a").call(&["COMMAND", "DOCS", &name]);
            documentation(&reply)
        };
        let (wanted, got) = (doc(real), doc(ours));
        if wanted != got {
            let _ = writeln!(report, "COMMAND DOCS {name}: {wanted:?}, ours: {got:?}\n");
        }
    }
}

/// What both document: ours leaves arguments and history out.
fn documentation(reply: &Value) -> BTreeMap<String, String> {
    let inner = if let Value::Map(pairs) = reply {
        pairs.first().map(|(_, doc)| doc)
    } else if let Value::Array(items) = reply {
        items.get(1)
    } else {
        None
    };
    let mut doc = fields(inner.expect("a known command is documented"));
    doc.retain(|name, _| ["summary", "since", "group", "complexity"].contains(&name.as_str()));
    doc
}

struct Step {
    connection: String,
    replies: usize,
    unordered: bool,
    words: String,
}

impl Step {
    fn parse(line: &str) -> Step {
        let (mut head, words) = line.split_once(' ').unwrap_or((line, ""));
        let unordered = head.ends_with('~');
        head = head.trim_end_matches('~');
        let (connection, replies) = head.split_once('*').unwrap_or((head, "1"));
        Step {
            connection: connection.to_owned(),
            replies: replies.parse().expect("a number of replies"),
            unordered,
            words: words.trim().to_owned(),
        }
    }
}

/// One of the two sentinels, as the script sees it.
struct Side {
    protocol: &'static str,
    port: u16,
    master: String,
    epoch: String,
    /// What differs between the two by nature, and what is shown in its place.
    names: Vec<(String, &'static str)>,
    clients: BTreeMap<String, Client>,
}

impl Side {
    fn new(set: &Topology, protocol: &'static str, epoch: u64) -> Side {
        let node: &SentinelNode = &set.sentinels[0];
        let mut client = node.client();
        let id = text(&client.call(&["SENTINEL", "MYID"]));
        wait_for("INFO of all instances", secs(15), || {
            let found = fields(&client.call(&["SENTINEL", "MASTER", NAME]));
            if found["runid"].is_empty() || found["num-slaves"] != "1" {
                return Err(format!("{found:?}"));
            }
            let replicas = client.call(&["SENTINEL", "REPLICAS", NAME]);
            let replica = crate::support::maps(&replicas).remove(0);
            match replica["master-link-status"].as_str() {
                "ok" => Ok(()),
                _ => Err(format!("{replica:?}")),
            }
        });
        let master = set.servers[0].port().to_string();
        Side {
            protocol,
            port: node.port(),
            epoch: epoch.to_string(),
            names: vec![
                (node.port().to_string(), "<port>"),
                (master.clone(), "<master>"),
                (set.servers[1].port().to_string(), "<replica>"),
                (id, "<id>"),
            ],
            master,
            clients: BTreeMap::new(),
        }
    }

    fn client(&mut self, name: &str) -> &mut Client {
        let (port, protocol) = (self.port, self.protocol);
        self.clients.entry(name.to_owned()).or_insert_with(|| {
            let mut client = Client::to(port);
            if protocol == "3" {
                // Refused while a password is wanted; the script goes on in RESP2 on both sides.
                client.call(&["HELLO", "3"]);
            }
            client
        })
    }

    fn run(&mut self, step: &Step) -> String {
        let line = step
            .words
            .replace("{port}", &self.port.to_string())
            .replace("{master}", &self.master)
            .replace("{epoch}", &self.epoch);
        let words = split_words(line.as_bytes()).expect("the script's quotes match");
        let words: Vec<&str> = words
            .iter()
            .map(|word| std::str::from_utf8(word).expect("the script is text"))
            .collect();
        let client = self.client(&step.connection);
        let sent = words.is_empty() || client.send(&words).is_ok();
        let mut shown = String::new();
        for _ in 0..step.replies {
            match client.receive() {
                Ok(reply) if sent => show(&reply, "    ", step.unordered, &mut shown),
                Ok(_) => shown.push_str("    (a reply to nothing)\n"),
                Err(error) => {
                    let _ = writeln!(shown, "    ({})", error.kind());
                }
            }
        }
        self.renamed(&shown)
    }

    /// Whole words only: a port may be part of another number.
    fn renamed(&self, shown: &str) -> String {
        let mut renamed = String::new();
        for part in shown.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
            let word = part.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
            match self.names.iter().find(|(own, _)| own == word) {
                Some((own, name)) => {
                    renamed.push_str(name);
                    renamed.push_str(&part[own.len()..]);
                }
                None => renamed.push_str(part),
            }
        }
        renamed
    }
}

/// A reply with its types, one element a line, volatile values masked.
fn show(value: &Value, indent: &str, unordered: bool, out: &mut String) {
    let mut aggregate = |mark: char, items: &[&Value], may_sort: bool| {
        let _ = writeln!(out, "{indent}{mark}{}", items.len());
        let mut parts: Vec<String> = Vec::new();
        let mut masks_next = false;
        for item in items {
            let mut part = String::new();
            if masks_next {
                let _ = writeln!(part, "{indent}  *");
            } else {
                show(item, &format!("{indent}  "), unordered, &mut part);
            }
            let is_name = matches!(item, Value::Bulk(_)) && !masks_next;
            masks_next = is_name && VOLATILE.contains(&text(item).as_str());
            parts.push(part);
        }
        if unordered && may_sort {
            parts.sort();
        }
        out.push_str(&parts.concat());
    };
    match value {
        Value::Array(items) => aggregate('*', &items.iter().collect::<Vec<_>>(), true),
        Value::Set(items) => aggregate('~', &items.iter().collect::<Vec<_>>(), true),
        Value::Push(items) => aggregate('>', &items.iter().collect::<Vec<_>>(), false),
        Value::Map(pairs) => {
            let items: Vec<&Value> = pairs
                .iter()
                .flat_map(|(name, value)| [name, value])
                .collect();
            aggregate('%', &items, false);
        }
        Value::Simple(_) => leaf('+', value, indent, out),
        Value::Error(_) => leaf('-', value, indent, out),
        Value::Integer(_) => leaf(':', value, indent, out),
        Value::Bulk(_) => leaf('$', value, indent, out),
        Value::Double(_) => leaf(',', value, indent, out),
        Value::Boolean(_) => leaf('#', value, indent, out),
        Value::BigNumber(_) => leaf('(', value, indent, out),
        Value::Verbatim(..) => leaf('=', value, indent, out),
        Value::Null => leaf('_', value, indent, out),
        Value::NullArray => leaf('0', value, indent, out),
    }
}

fn leaf(mark: char, value: &Value, indent: &str, out: &mut String) {
    // How soon a dropped link is back is a matter of luck.
    let shown = text(value).replace(",disconnected", "");
    let _ = if shown.starts_with("# ") {
        writeln!(out, "{indent}{mark}{}", masked_info(&shown))
    } else if shown.starts_with("id=") {
        writeln!(out, "{indent}{mark}{}", masked_clients(&shown))
    } else {
        writeln!(out, "{indent}{mark}{shown:?}")
    };
}

fn masked_info(info: &str) -> String {
    let lines = info.split("\r\n").filter_map(|line| {
        let (name, _) = line.split_once(':').unwrap_or((line, ""));
        if OWN_INFO.contains(&name) {
            None
        } else if VOLATILE_INFO.contains(&name) {
            Some(format!("{name}:*"))
        } else {
            Some(line.to_owned())
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn masked_clients(list: &str) -> String {
    let line = |line: &str| {
        let parts = line.split(' ').filter_map(|part| {
            let (name, _) = part.split_once('=').unwrap_or((part, ""));
            if OWN_CLIENT.contains(&name) {
                None
            } else if VOLATILE_CLIENT.contains(&name) {
                Some(format!("{name}=*"))
            } else {
                Some(part.to_owned())
            }
        });
        parts.collect::<Vec<_>>().join(" ")
    };
    list.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

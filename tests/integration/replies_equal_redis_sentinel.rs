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
    ("COMMAND DOCS auth", "no list of arguments and no history"),
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
    ("ACL GETUSER u", "rules are shown as they were given"),
    ("acl list", "rules are shown as they were given"),
    ("ACL GETUSER ordered", "rules are shown as they were given"),
];

/// Commands that ours has and redis-sentinel 7.0 has not.
const MORE_COMMANDS: &[&str] = &[
    "client|setinfo",
    "sentinel|get-primary-addr-by-name",
    "sentinel|is-primary-down-by-addr",
    "sentinel|primaries",
    "sentinel|primary",
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
const OWN_INFO: &[&str] = &["sentinel_version", "sentinel_save_status"];

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
const SCRIPT: &str = r#"
    a PING
    a PING hello
    a PING a b
    a ECHO x
    a GET
    a GET a b c
    a SET "with 'quotes'" xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx yyy zzz
    a QUIT
    a CONFIG GET *
    a ROLE
    a ROLE x
    a HELLO 4
    a HELLO x
    a HELLO 2 AUTH x
    a HELLO 2 SETNAME "a b"
    a HELLO 2 AUTH default x FOO
    a AUTH x
    a AUTH nobody x
    a AUTH a b c

    a SENTINEL
    a SENTINEL FOO
    a SENTINEL HELP
    a SENTINEL HELP x
    a SENTINEL MASTERS
    a SENTINEL MASTERS x
    a SENTINEL MASTER mymaster
    a SENTINEL MASTER MYMASTER
    a SENTINEL MASTER
    a SENTINEL REPLICAS mymaster
    a SENTINEL SLAVES mymaster
    a SENTINEL SLAVES nosuch
    a SENTINEL SENTINELS mymaster
    a SENTINEL SENTINELS nosuch
    a SENTINEL GET-MASTER-ADDR-BY-NAME mymaster
    a SENTINEL GET-MASTER-ADDR-BY-NAME nosuch
    a sentinel get-master-addr-by-name mymaster x
    a SENTINEL MYID
    a SENTINEL CKQUORUM mymaster
    a SENTINEL CKQUORUM nosuch
    a SENTINEL FAILOVER nosuch
    a SENTINEL RESET nosuch*
    a SENTINEL REMOVE nosuch
    a SENTINEL PENDING-SCRIPTS
    a SENTINEL INFO-CACHE nosuch
    a SENTINEL INFO-CACHE
    a SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 {master} 0 *
    a SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 {port} 0 *
    a SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 x 0 *
    a SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 {master} x *
    a SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 {master} 0
    a SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 {master} {epoch} aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
    a SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 {master} {epoch} bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
    a SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 {master} 0 bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
    a SENTINEL SIMULATE-FAILURE
    a SENTINEL SIMULATE-FAILURE help
    a SENTINEL SIMULATE-FAILURE foo
    a SENTINEL SIMULATE-FAILURE crash-after-election CRASH-AFTER-PROMOTION
    a INFO sentinel
    a SENTINEL SIMULATE-FAILURE help
    a INFO sentinel
    a SENTINEL FLUSHCONFIG
    a SENTINEL FLUSHCONFIG x
    a SENTINEL PRIMARIES
    a SENTINEL PRIMARY nosuch
    a SENTINEL GET-PRIMARY-ADDR-BY-NAME mymaster
    a SENTINEL IS-PRIMARY-DOWN-BY-ADDR 127.0.0.1 {master} 0 *

    b*2 SUBSCRIBE +set +monitor
    a SENTINEL SET
    a SENTINEL SET mymaster
    a SENTINEL SET mymaster quorum
    a SENTINEL SET nosuch quorum 1
    a SENTINEL SET mymaster foo 1
    a SENTINEL SET mymaster FOO
    a SENTINEL SET mymaster down-after-milliseconds -20
    a SENTINEL SET mymaster down-after-milliseconds abc
    a SENTINEL SET mymaster down-after-milliseconds 0
    a SENTINEL SET mymaster quorum 0
    a SENTINEL SET mymaster quorum 2
    b
    a SENTINEL SET mymaster quorum 1 down-after-milliseconds 29000 failover-timeout 0
    b
    b
    a SENTINEL SET mymaster parallel-syncs 3 auth-pass ""
    b
    b
    a SENTINEL SET mymaster rename-command CONFIG
    a SENTINEL SET mymaster rename-command CONFIG ""
    a SENTINEL SET mymaster rename-command "" x
    a SENTINEL SET mymaster rename-command SCRIPT scr
    b
    a SENTINEL SET mymaster rename-command SCRIPT SCRIPT
    b
    a SENTINEL SET mymaster notification-script /bin/true
    a SENTINEL SET mymaster client-reconfig-script ""
    a SENTINEL SET mymaster master-reboot-down-after-period -1
    a SENTINEL SET mymaster master-reboot-down-after-period 5000
    b
    a SENTINEL SET mymaster master-reboot-down-after-period 0
    b
    a SENTINEL MASTER mymaster

    a SENTINEL MONITOR x 127.0.0.1 1 x
    a SENTINEL MONITOR x 127.0.0.1 x 1
    a SENTINEL MONITOR x 127.0.0.1 1 0
    a SENTINEL MONITOR x nohost 1 1
    a SENTINEL MONITOR x 127.0.0.1 -1 1
    a SENTINEL MONITOR x 127.0.0.1 65536 1
    a SENTINEL MONITOR mymaster 127.0.0.1 1 1
    a SENTINEL MONITOR x 127.0.0.1 1
    c SUBSCRIBE -monitor
    a SENTINEL MONITOR port0 ::1 0 1
    b
    a SENTINEL GET-MASTER-ADDR-BY-NAME port0
    a SENTINEL CKQUORUM port0
    a SENTINEL RESET port*
    a SENTINEL REMOVE port0
    c
    b*2 UNSUBSCRIBE +set +monitor
    b UNSUBSCRIBE
    b PUNSUBSCRIBE x
    b*2 PSUBSCRIBE +* -*
    a SENTINEL SET mymaster quorum 2
    b
    a SENTINEL SET mymaster quorum 1
    b

    a SENTINEL CONFIG
    a SENTINEL CONFIG GET
    a SENTINEL CONFIG GET *
    a SENTINEL CONFIG GET loglevel
    a SENTINEL CONFIG GET ANNOUNCE-*
    a SENTINEL CONFIG GET nosuch
    a SENTINEL CONFIG GET announce-ip sentinel-*
    a SENTINEL CONFIG FOO a b
    a SENTINEL CONFIG SET announce-port
    a SENTINEL CONFIG SET nosuch 1
    a SENTINEL CONFIG SET resolve-hostnames perhaps
    a SENTINEL CONFIG SET announce-port 65536
    a SENTINEL CONFIG SET announce-port x
    a SENTINEL CONFIG SET announce-port 1 announce-port 2
    a SENTINEL CONFIG SET announce-port 1 nosuch
    a SENTINEL CONFIG SET loglevel loud
    a SENTINEL CONFIG SET Announce-Port 1234
    a SENTINEL CONFIG SET announce-hostnames yes
    a SENTINEL CONFIG SET sentinel-user u
    a SENTINEL CONFIG GET announce-*
    a SENTINEL CONFIG GET sentinel-user
    a SENTINEL CONFIG SET sentinel-user ""
    a SENTINEL CONFIG SET announce-port 0
    a SENTINEL CONFIG SET announce-hostnames no
    a SENTINEL CONFIG GET sentinel-user

    a SENTINEL DEBUG
    a SENTINEL DEBUG info-period
    a SENTINEL DEBUG foo 1
    a SENTINEL DEBUG info-period x
    a SENTINEL DEBUG Info-Period 8888 ask-period 0
    a SENTINEL DEBUG
    a SENTINEL DEBUG info-period 10000

    a INFO
    a INFO server
    a INFO CPU sentinel
    a INFO nosuch
    a INFO default
    a INFO everything
    a PUBLISH a b
    a PUBLISH a
    a PUBLISH __sentinel__:hello garbage
    a SHUTDOWN ABORT
    a SHUTDOWN SAVE NOSAVE
    a SHUTDOWN FOO

    a CLIENT
    a CLIENT FOO
    a CLIENT HELP
    a CLIENT NO-TOUCH on
    a CLIENT GETNAME
    a CLIENT SETNAME "a b"
    a CLIENT SETNAME me
    a CLIENT GETNAME
    a CLIENT INFO
    a CLIENT SETNAME ""
    a CLIENT GETNAME
    a CLIENT SETINFO LIB-NAME x
    a CLIENT LIST TYPE pubsub
    a CLIENT LIST TYPE foo
    a CLIENT LIST ID x
    a CLIENT LIST ID 999999
    a CLIENT LIST ID
    a CLIENT LIST FOO
    a CLIENT KILL
    a CLIENT KILL foo
    a CLIENT KILL foo bar
    a CLIENT KILL ID 0
    a CLIENT KILL ID x
    a CLIENT KILL ID 999999
    a CLIENT KILL TYPE foo
    a CLIENT KILL USER nobody
    a CLIENT KILL SKIPME maybe
    a CLIENT KILL ADDR
    a CLIENT KILL TYPE replica
    a CLIENT NO-EVICT on
    a CLIENT NO-EVICT foo
    a CLIENT PAUSE x
    a CLIENT PAUSE -1
    a CLIENT PAUSE 100 FOO
    a CLIENT PAUSE 0
    a CLIENT UNPAUSE
    a CLIENT UNBLOCK x
    a CLIENT UNBLOCK 999999
    a CLIENT UNBLOCK 1 FOO
    a CLIENT REPLY foo
    a CLIENT REPLY on
    a*0 CLIENT REPLY SKIP
    a*0 PING skipped
    a PING heard
    a*0 CLIENT REPLY OFF
    a*0 PING
    a CLIENT REPLY ON
    a CLIENT GETREDIR
    a CLIENT TRACKINGINFO
    a CLIENT TRACKING foo
    a CLIENT TRACKING on BCAST OPTIN
    a CLIENT TRACKING on OPTIN OPTOUT
    a CLIENT TRACKING on PREFIX x
    a CLIENT TRACKING on REDIRECT x
    a CLIENT TRACKING on REDIRECT 999999
    a CLIENT TRACKING on BCAST PREFIX a PREFIX ab
    a CLIENT TRACKING on OPTIN
    a CLIENT TRACKINGINFO
    a CLIENT CACHING no
    a CLIENT CACHING yes
    a CLIENT TRACKING on BCAST
    a CLIENT TRACKING off
    a CLIENT CACHING yes

    a COMMAND COUNT
    a COMMAND HELP
    a COMMAND FOO
    a COMMAND INFO nosuch
    a COMMAND DOCS nosuch
    a COMMAND DOCS auth
    a COMMAND GETKEYS GET a
    a COMMAND GETKEYS PING a
    a COMMAND GETKEYS
    a~ COMMAND LIST FILTERBY ACLCAT fast
    a~ COMMAND LIST FILTERBY PATTERN *sub*
    a COMMAND LIST FILTERBY ACLCAT foo
    a COMMAND LIST FILTERBY MODULE foo
    a COMMAND LIST FOO

    a ACL
    a ACL FOO
    a ACL HELP
    a ACL CAT
    a~ ACL CAT pubsub
    a ACL CAT foo
    a ACL WHOAMI
    a ACL USERS
    a ACL LIST
    a ACL GETUSER default
    a ACL GETUSER nobody
    a ACL GENPASS 0
    a ACL GENPASS x
    a ACL GENPASS 4097
    a ACL SAVE
    a ACL LOAD
    a ACL LOG RESET
    a ACL LOG x
    a ACL DELUSER default
    a ACL DELUSER nobody
    a ACL SETUSER "a b" on
    a ACL SETUSER u +foo
    a ACL SETUSER u +@foo
    a ACL SETUSER u foo
    a ACL SETUSER u %X~a
    a ACL SETUSER u %~a
    a ACL SETUSER u #abc
    a ACL SETUSER u !abc
    a ACL SETUSER u <abc
    a ACL SETUSER u (+ping ~a
    a ACL SETUSER u allkeys ~a
    a ACL SETUSER u allchannels &a
    a ACL SETUSER u +sentinel|foo
    a ACL SETUSER u -ping|x
    a ACL SETUSER u on >secret +ping +sentinel|myid +sentinel|master +client ~k %R~r &+switch* (+role)
    a ACL GETUSER u
    a acl list
    a ACL SETUSER ordered +ping +role -ping +@connection
    a ACL GETUSER ordered
    a ACL DELUSER ordered
    a ACL DRYRUN nobody ping
    a ACL DRYRUN u foo
    a ACL DRYRUN u ping
    a ACL DRYRUN u ping a b c
    a ACL DRYRUN u subscribe x
    a ACL DRYRUN u sentinel masters
    a ACL DRYRUN u sentinel
    u AUTH u wrong
    u AUTH u secret
    u ACL WHOAMI
    u PING
    u ROLE
    u SENTINEL MYID
    u SENTINEL MASTERS
    u SENTINEL FOO
    u SUBSCRIBE +sdown
    a ACL SETUSER u +subscribe +psubscribe
    u SUBSCRIBE +sdown
    u PSUBSCRIBE +*
    u SUBSCRIBE +switch-master
    a ACL LOG 10
    a ACL LOG RESET
    a ACL SETUSER u resetchannels
    u
    a ACL SETUSER u reset
    a acl getuser u
    a ACL DELUSER u nobody
    a ACL SETUSER default resetpass >pw
    d PING
    d SENTINEL MYID
    d FOO
    d HELLO 2
    d AUTH wrong
    d HELLO 2 AUTH default wrong
    d AUTH pw
    d PING
    a ACL SETUSER default nopass
    a ACL LOG RESET
"#;

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

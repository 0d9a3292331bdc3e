//! The `sentinel …` directives: one definition each, from which reading, the error that says what would
//! be right, and the line of a rewrite are derived.
//!
//! To add one for a master, add a field to `MasterSettings` and a [`Setting`] to [`SETTINGS`]; for the
//! whole sentinel, a field to `Globals` and a [`Global`] to [`GLOBALS`]. Their order is the order in which
//! redis-sentinel writes them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::draft::Pass;
use super::errors::Refusal;
use super::forms::{parse_integer, parse_yes_no, show_yes_no};
use super::lex;
use super::rewrite::{Entry, Key, LineKey};
use crate::sentinel::core::{
    Durable, DurableMaster, DurablePeer, Globals, MasterSettings, is_plain,
};

/// The longest name of a master. Bytes. It must fit into every hello and event with room to spare.
const MASTER_NAME_BYTES_MAX: usize = 255;

/// A value of one master: `sentinel <name> <master> <value>`.
pub struct Setting {
    /// The directive.
    pub name: &'static str,
    /// Another spelling that is read.
    pub alias: Option<&'static str>,
    /// The value, for people.
    pub expected: &'static str,
    /// What it means, for people.
    pub help: &'static str,
    /// Reads the value.
    pub set: fn(&mut MasterSettings, &str) -> Result<(), Refusal>,
    /// The value as it is written; `None`: it is the built-in default and has no line.
    pub written: fn(&MasterSettings) -> Option<String>,
}

/// A value of the whole sentinel: `sentinel <name> <value>`.
pub struct Global {
    /// The directive.
    pub name: &'static str,
    /// The value, for people.
    pub expected: &'static str,
    /// What it means, for people.
    pub help: &'static str,
    /// Reads the value.
    pub set: fn(&mut Globals, &str) -> Result<(), Refusal>,
    /// The value as it is written.
    pub written: fn(&Globals) -> Written,
}

/// Whether a value has a line.
pub enum Written {
    /// Always.
    Line(String),
    /// It is the default: only where there is a line already.
    InPlace(String),
    /// Never.
    Nothing,
}

/// All per-master values, in the order in which they are written.
pub const SETTINGS: &[Setting] = &[
    Setting {
        name: "down-after-milliseconds",
        alias: None,
        expected: "<master> <milliseconds from 1>",
        help: "silence after which an instance counts as down",
        set: |s, v| positive_millis(v).map(|d| s.down_after = d),
        written: |s| millis_unless(s.down_after, MasterSettings::DOWN_AFTER),
    },
    Setting {
        name: "failover-timeout",
        alias: None,
        expected: "<master> <milliseconds from 1>",
        help: "bounds each phase of a failover",
        set: |s, v| positive_millis(v).map(|d| s.failover_timeout = d),
        written: |s| millis_unless(s.failover_timeout, MasterSettings::FAILOVER_TIMEOUT),
    },
    Setting {
        name: "parallel-syncs",
        alias: None,
        expected: "<master> <replicas at a time, from 1>",
        help: "how many replicas are pointed at a new master at a time",
        set: |s, v| {
            s.parallel_syncs = parse_integer(v)
                .filter(|n| *n >= 1)
                .ok_or_else(|| Refusal::new("parallel-syncs must be 1 or greater."))?;
            Ok(())
        },
        written: |s| {
            let default = s.parallel_syncs == MasterSettings::PARALLEL_SYNCS;
            (!default).then(|| s.parallel_syncs.to_string())
        },
    },
    Setting {
        name: "notification-script",
        alias: None,
        expected: "<master> <path of an executable file>",
        help: "run for every event of level warning",
        set: |s, v| {
            if !is_executable(v) {
                return Err(Refusal::new(
                    "Notification script seems non existing or non executable.",
                ));
            }
            s.notification_script = Some(Arc::from(v));
            Ok(())
        },
        written: |s| text(&s.notification_script),
    },
    Setting {
        name: "client-reconfig-script",
        alias: None,
        expected: "<master> <path of an executable file>",
        help: "run when the address of the master changes",
        set: |s, v| {
            if !is_executable(v) {
                return Err(Refusal::new(
                    "Client reconfiguration script seems non existing or non executable.",
                ));
            }
            s.client_reconfig_script = Some(Arc::from(v));
            Ok(())
        },
        written: |s| text(&s.client_reconfig_script),
    },
    Setting {
        name: "auth-pass",
        alias: None,
        expected: "<master> <password>",
        help: "password towards the master and its replicas",
        set: |s, v| {
            s.auth_pass = Some(Arc::from(v));
            Ok(())
        },
        written: |s| text(&s.auth_pass),
    },
    Setting {
        name: "auth-user",
        alias: None,
        expected: "<master> <user>",
        help: "user towards the master and its replicas",
        set: |s, v| {
            s.auth_user = Some(Arc::from(v));
            Ok(())
        },
        written: |s| text(&s.auth_user),
    },
    Setting {
        name: "master-reboot-down-after-period",
        alias: Some("primary-reboot-down-after-period"),
        expected: "<master> <milliseconds, 0 for off>",
        help: "grace of a master that has just restarted and is still loading",
        set: |s, v| millis(v).map(|d| s.reboot_down_after = d),
        written: |s| millis_unless(s.reboot_down_after, Duration::ZERO),
    },
    Setting {
        name: "refused-after-milliseconds",
        alias: None,
        expected: "<master> <milliseconds, 0 for off>",
        help: "refused connections for so long count as down, without waiting for down-after",
        set: |s, v| millis(v).map(|d| s.refused_after = d),
        written: |s| millis_unless(s.refused_after, Duration::ZERO),
    },
];

/// All values of the whole sentinel, in the order in which they are written.
pub const GLOBALS: &[Global] = &[
    Global {
        name: "deny-scripts-reconfig",
        expected: "yes or no",
        help: "whether SENTINEL SET must leave the paths of scripts alone",
        set: |g, v| {
            g.deny_scripts_reconfig = yes_no(
                v,
                "Please specify yes or no for the deny-scripts-reconfig options.",
            )?;
            Ok(())
        },
        written: |g| flag(g.deny_scripts_reconfig, true),
    },
    Global {
        name: "resolve-hostnames",
        expected: "yes or no",
        help: "accept host names",
        set: |g, v| {
            g.resolve_hostnames = yes_no(
                v,
                "Please specify yes or no for the resolve-hostnames option.",
            )?;
            Ok(())
        },
        written: |g| flag(g.resolve_hostnames, false),
    },
    Global {
        name: "announce-hostnames",
        expected: "yes or no",
        help: "tell others host names instead of addresses",
        set: |g, v| {
            g.announce_hostnames = yes_no(
                v,
                "Please specify yes or no for the announce-hostnames option.",
            )?;
            Ok(())
        },
        written: |g| flag(g.announce_hostnames, false),
    },
    Global {
        name: "announce-ip",
        expected: "an address or host name without blanks, commas and quotes",
        help: "where others reach us, if that is not where we connect from",
        set: |g, v| {
            if !v.is_empty() && !is_plain(v) {
                return Err(Refusal::new("Invalid address to announce."));
            }
            g.announce_ip = non_empty(v);
            Ok(())
        },
        written: |g| optional(&g.announce_ip),
    },
    Global {
        name: "announce-port",
        expected: "a port, 0 for none",
        help: "the port there",
        set: |g, v| {
            g.announce_port = port(v)?;
            Ok(())
        },
        written: |g| match g.announce_port {
            0 => Written::Nothing,
            port => Written::Line(port.to_string()),
        },
    },
    Global {
        name: "sentinel-user",
        expected: "a user, \"\" for none",
        help: "our user towards other sentinels",
        set: |g, v| {
            g.sentinel_user = non_empty(v);
            Ok(())
        },
        written: |g| optional(&g.sentinel_user),
    },
    Global {
        name: "sentinel-pass",
        expected: "a password, \"\" for none",
        help: "our password towards other sentinels",
        set: |g, v| {
            g.sentinel_pass = non_empty(v);
            Ok(())
        },
        written: |g| optional(&g.sentinel_pass),
    },
    Global {
        name: "observe-only",
        expected: "yes or no",
        help: "watch, decide and report what would be done, and do nothing",
        set: |g, v| {
            g.observe_only = yes_no(v, "Please specify yes or no for the observe-only option.")?;
            Ok(())
        },
        written: |g| flag(g.observe_only, false),
    },
];

/// The globals that are written before the masters; the others follow `current-epoch`.
const GLOBALS_BEFORE_MASTERS: usize = 3;

/// The built-in defaults: unlike a plain `Globals::default()`, scripts cannot be reconfigured.
pub fn default_globals() -> Globals {
    Globals {
        deny_scripts_reconfig: true,
        ..Globals::default()
    }
}

/// A directive that is neither: its name, another spelling, the words that follow, and what it means.
type Other = (
    &'static str,
    Option<&'static str>,
    &'static str,
    &'static str,
);

/// The remaining directives.
const OTHERS: &[Other] = &[
    (
        "myid",
        None,
        "<40 characters>",
        "the sentinel's own identity; state",
    ),
    (
        "current-epoch",
        None,
        "<number>",
        "the newest epoch it has seen; state",
    ),
    (
        "monitor",
        None,
        "<master> <host> <port> <quorum from 1>",
        "a master to watch, and how many sentinels must find it down",
    ),
    (
        "config-epoch",
        None,
        "<master> <number>",
        "the version of the master's address; state",
    ),
    (
        "leader-epoch",
        None,
        "<master> <number>",
        "the epoch of the last vote; state",
    ),
    (
        "known-replica",
        Some("known-slave"),
        "<master> <host> <port>",
        "a replica that was discovered; state",
    ),
    (
        "known-sentinel",
        None,
        "<master> <host> <port> <id>",
        "another sentinel that was discovered; state",
    ),
    (
        "rename-command",
        None,
        "<master> <command> <its name there>",
        "a command that the master and its replicas know by another name",
    ),
    (
        "paused",
        None,
        "<master> <unix time in milliseconds, 0 for until SENTINEL RESUME>",
        "automatic failovers of the master are paused; state",
    ),
];

/// All of them: name, another spelling, the words that follow, and what it means.
fn all() -> impl Iterator<Item = Other> {
    let settings = SETTINGS.iter();
    let settings = settings.map(|s| (s.name, s.alias, s.expected, s.help));
    let globals = GLOBALS.iter().map(|g| (g.name, None, g.expected, g.help));
    settings.chain(globals).chain(OTHERS.iter().copied())
}

/// The name under which a `sentinel` directive is written; `None`: there is none of this name.
pub fn canonical(name: &str) -> Option<&'static str> {
    let is = |known: &str| name.eq_ignore_ascii_case(known);
    all()
        .find(|(name, alias, ..)| is(name) || alias.is_some_and(is))
        .map(|(name, ..)| name)
}

/// What is right for the `sentinel` directive `name`.
pub fn usage(name: &str) -> String {
    let canonical = canonical(name);
    let known = all().find(|(known, ..)| Some(*known) == canonical);
    if let Some((name, _, words, help)) = known {
        return format!("sentinel {name} {words}: {help}");
    }
    let all: Vec<&str> = all().map(|(name, ..)| name).collect();
    let near = all
        .iter()
        .map(|known| (lex::edit_distance(known, &name.to_ascii_lowercase()), known))
        .min();
    match near {
        Some((0..=3, near)) => format!("a known directive; the nearest is 'sentinel {near}'"),
        _ => format!("sentinel followed by one of {}", all.join(", ")),
    }
}

/// Whether `name` can be written back, and told in hellos, which separate their fields by commas.
///
/// # Errors
/// It cannot; the hint says what would be right.
pub fn check_master_name(name: &str) -> Result<(), Refusal> {
    if is_plain(name) && name.len() <= MASTER_NAME_BYTES_MAX {
        return Ok(());
    }
    Err(Refusal::new("Invalid master name.").hint(format!(
        "a name of 1 to {MASTER_NAME_BYTES_MAX} bytes without blanks, commas, quotes and control \
         characters"
    )))
}

/// Whether the operating system would let us run the file.
pub fn is_executable(path: &str) -> bool {
    rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

fn millis(value: &str) -> Result<Duration, Refusal> {
    parse_integer::<i64>(value)
        .and_then(|ms| u64::try_from(ms).ok())
        .map(Duration::from_millis)
        .ok_or_else(|| Refusal::new("negative time parameter."))
}

fn positive_millis(value: &str) -> Result<Duration, Refusal> {
    millis(value)
        .ok()
        .filter(|time| !time.is_zero())
        .ok_or_else(|| Refusal::new("negative or zero time parameter."))
}

pub(super) fn port(value: &str) -> Result<u16, Refusal> {
    parse_integer(value)
        .ok_or_else(|| Refusal::new("Invalid port number.").hint("a port from 0 to 65535"))
}

fn yes_no(value: &str, reason: &str) -> Result<bool, Refusal> {
    parse_yes_no(value).ok_or_else(|| Refusal::new(reason))
}

fn non_empty(value: &str) -> Option<Arc<str>> {
    (!value.is_empty()).then(|| Arc::from(value))
}

fn millis_unless(value: Duration, default: Duration) -> Option<String> {
    (value != default).then(|| value.as_millis().to_string())
}

fn text(value: &Option<Arc<str>>) -> Option<String> {
    value.as_deref().map(str::to_owned)
}

fn optional(value: &Option<Arc<str>>) -> Written {
    match value.as_deref() {
        None | Some("") => Written::Nothing,
        Some(value) => Written::Line(value.to_owned()),
    }
}

fn flag(value: bool, default: bool) -> Written {
    let shown = show_yes_no(value).to_owned();
    if value == default {
        Written::InPlace(shown)
    } else {
        Written::Line(shown)
    }
}

/// How a rewrite recognises a line of these directives: the words are the whole line's.
pub fn line_key(mut words: Vec<String>) -> Option<LineKey> {
    if !words.first()?.eq_ignore_ascii_case("sentinel") {
        return None;
    }
    "sentinel".clone_into(&mut words[0]);
    let name = canonical(words.get(1)?)?;
    name.clone_into(&mut words[1]);
    let about_master = Pass::of(name) != Pass::Globals;
    Some(LineKey {
        key: Key::Sentinel(name),
        group: words
            .get(2)
            .filter(|_| about_master)
            .map(|master| Arc::from(master.as_str())),
        words,
    })
}

fn entry(name: &'static str, master: Option<&Arc<str>>, values: &[&str]) -> Entry {
    let words = ["sentinel", name].into_iter();
    let words = words.chain(master.map(|master| &**master));
    let line = lex::join(words.chain(values.iter().copied()));
    Entry::new(Key::Sentinel(name), master.cloned(), Arc::from(line))
}

/// The lines before those of the masters.
pub fn entries_before_masters(durable: &Durable) -> Vec<Entry> {
    let mut entries = Vec::new();
    if let Some(id) = &durable.id {
        entries.push(entry("myid", None, &[id.as_str()]));
    }
    push_globals(
        &GLOBALS[..GLOBALS_BEFORE_MASTERS],
        &durable.globals,
        &mut entries,
    );
    entries
}

/// The lines after those of the masters.
pub fn entries_after_masters(durable: &Durable) -> Vec<Entry> {
    let epoch = durable.current_epoch.to_string();
    let mut entries = vec![entry("current-epoch", None, &[&epoch])];
    push_globals(
        &GLOBALS[GLOBALS_BEFORE_MASTERS..],
        &durable.globals,
        &mut entries,
    );
    entries
}

fn push_globals(which: &[Global], globals: &Globals, entries: &mut Vec<Entry>) {
    for global in which {
        match (global.written)(globals) {
            Written::Line(value) => entries.push(entry(global.name, None, &[&value])),
            Written::InPlace(value) => {
                entries.push(entry(global.name, None, &[&value]).only_in_place());
            }
            Written::Nothing => {}
        }
    }
}

/// The lines of one master.
pub fn entries_of_master(master: &DurableMaster) -> Vec<Entry> {
    let name: Arc<str> = Arc::from(master.name.as_str());
    let line = |directive: &'static str, values: &[&str]| entry(directive, Some(&name), values);
    let mut entries = vec![line(
        "monitor",
        &[
            &master.host,
            &master.port.to_string(),
            &master.settings.quorum.to_string(),
        ],
    )];
    for setting in SETTINGS {
        if let Some(value) = (setting.written)(&master.settings) {
            entries.push(line(setting.name, &[&value]));
        }
    }
    entries.push(line("config-epoch", &[&master.config_epoch.to_string()]));
    entries.push(line("leader-epoch", &[&master.leader_epoch.to_string()]));
    // Two names of one instance may have become one address, which a file must not hold twice.
    let mut replicas = HashSet::new();
    for (host, port) in &master.replicas {
        if !replicas.insert((host, port)) {
            continue;
        }
        entries.push(line("known-replica", &[host, &port.to_string()]));
    }
    for DurablePeer { host, port, id } in &master.peers {
        let port = port.to_string();
        entries.push(line("known-sentinel", &[host, &port, id.as_str()]));
    }
    for (old, new) in master.settings.renamed_commands.iter() {
        entries.push(line("rename-command", &[old, new]));
    }
    if let Some(until) = master.paused {
        entries.push(line("paused", &[&until.number().to_string()]));
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_lists_every_sentinel_directive() {
        let rows = all().map(|(name, alias, words, help)| {
            let alias = alias.map_or(String::new(), |alias| format!(" (or `{alias}`)"));
            format!("| `{name}`{alias} | `{words}` | {help} |\n")
        });
        let table: String = rows.collect();
        let want = format!("| `sentinel …` | followed by | |\n| --- | --- | --- |\n{table}");
        crate::readme::check_part("config/README.md", "sentinel directives", &want);
    }
}

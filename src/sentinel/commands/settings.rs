//! `SENTINEL CONFIG` and `SENTINEL DEBUG`: settings of the whole sentinel.

use std::sync::Arc;
use std::time::Duration;

use super::{Host, operate, subcommand, text};
use crate::clock::millis;
use crate::resp::{Word, canonical_integer};

use crate::front::{Call, CommandSpec, Reply, glob_match_ignore_case};
use crate::net::LogLevel;
use crate::sentinel::core::{Globals, Operator, Tuning, is_plain};

/// The subcommands of this module.
pub(super) fn subcommands<H: Host>() -> Vec<CommandSpec<H>> {
    vec![
        subcommand("config", -3, "6.2.0", "O(1)", "Configure Sentinel", config),
        subcommand(
            "debug",
            -2,
            "7.0.0",
            "O(N) where N is the number of configurable parameters",
            "List or update the current configurable parameters",
            debug,
        ),
    ]
}

/// The parameters of `SENTINEL CONFIG`, in the order in which they are shown.
const PARAMETERS: [&str; 8] = [
    "resolve-hostnames",
    "announce-hostnames",
    "announce-ip",
    "announce-port",
    "sentinel-user",
    "sentinel-pass",
    "observe-only",
    "loglevel",
];

fn config<H: Host>(host: &mut H, call: &Call<'_>, reply: &mut Reply) {
    let rest = &call.words[3..];
    match call.words[2].to_ascii_lowercase().as_slice() {
        b"get" if !rest.is_empty() => config_get(host, rest, reply),
        b"set" if rest.len() >= 2 => config_set(host, call, rest, reply),
        _ => reply
            .error("ERR Only SENTINEL CONFIG GET <option> / SET <option> <value> are supported."),
    }
}

fn config_get<H: Host>(host: &mut H, patterns: &[Word<'_>], reply: &mut Reply) {
    let mut shown: Vec<&str> = Vec::new();
    for pattern in patterns {
        for name in PARAMETERS {
            if !shown.contains(&name) && glob_match_ignore_case(pattern, name.as_bytes()) {
                shown.push(name);
            }
        }
    }
    let level = host.log_level();
    let globals = host.core().globals();
    reply.map(shown.len());
    for name in shown {
        reply.bulk(name);
        reply.bulk(parameter(globals, level, name));
    }
}

fn parameter(globals: &Globals, level: LogLevel, name: &str) -> String {
    let yes_no = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    let or_empty = |text: &Option<Arc<str>>| text.as_deref().unwrap_or("").to_owned();
    match name {
        "resolve-hostnames" => yes_no(globals.resolve_hostnames),
        "announce-hostnames" => yes_no(globals.announce_hostnames),
        "announce-ip" => or_empty(&globals.announce_ip),
        "announce-port" => globals.announce_port.to_string(),
        "sentinel-user" => or_empty(&globals.sentinel_user),
        "sentinel-pass" => or_empty(&globals.sentinel_pass),
        "observe-only" => yes_no(globals.observe_only),
        _ => level.as_str().to_owned(),
    }
}

/// All pairs are checked before any is applied.
fn config_set<H: Host>(host: &mut H, call: &Call<'_>, pairs: &[Word<'_>], reply: &mut Reply) {
    let mut globals = host.core().globals().clone();
    let mut level = None;
    let mut seen: Vec<String> = Vec::new();
    for pair in pairs.chunks(2) {
        let shown = text(&pair[0]).into_owned();
        let name = shown.to_ascii_lowercase();
        if !PARAMETERS.contains(&name.as_str()) {
            return reply.error(format!(
                "ERR Invalid argument '{shown}' to SENTINEL CONFIG SET"
            ));
        }
        let [_, value] = pair else {
            return reply.error(format!("ERR Missing argument '{shown}' value"));
        };
        if seen.contains(&name) {
            return reply.error(format!(
                "ERR Duplicate argument '{shown}' to SENTINEL CONFIG SET"
            ));
        }
        if change_parameter(&mut globals, &mut level, &name, value).is_none() {
            let value = text(value);
            return reply.error(format!(
                "ERR Invalid value '{value}' to SENTINEL CONFIG SET '{shown}'"
            ));
        }
        seen.push(name);
    }
    if let Some(level) = level {
        host.set_log_level(level);
    }
    operate(host, call, Operator::ConfigSet(globals));
}

/// `None`: the value is not one for this parameter.
fn change_parameter(
    globals: &mut Globals,
    level: &mut Option<LogLevel>,
    name: &str,
    value: &[u8],
) -> Option<()> {
    let word = std::str::from_utf8(value).ok()?;
    let yes_no = || match word.to_ascii_lowercase().as_str() {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    };
    let set = || (!word.is_empty()).then(|| Arc::from(word));
    match name {
        "resolve-hostnames" => globals.resolve_hostnames = yes_no()?,
        "announce-hostnames" => globals.announce_hostnames = yes_no()?,
        // What a file would refuse at the next start is refused now.
        "announce-ip" if !word.is_empty() && !is_plain(word) => return None,
        "announce-ip" => globals.announce_ip = set(),
        "announce-port" => {
            globals.announce_port = u16::try_from(canonical_integer(value)?).ok()?;
        }
        "sentinel-user" => globals.sentinel_user = set(),
        "sentinel-pass" => globals.sentinel_pass = set(),
        "observe-only" => globals.observe_only = yes_no()?,
        _ => *level = Some(LogLevel::parse(&word.to_ascii_lowercase())?),
    }
    Some(())
}

/// The names of `SENTINEL DEBUG`, and where each value is kept.
type Tunable = (&'static str, fn(&mut Tuning) -> &mut Duration);

const TUNABLES: [Tunable; 13] = [
    ("INFO-PERIOD", |t| &mut t.info_period),
    ("PING-PERIOD", |t| &mut t.ping_period),
    ("ASK-PERIOD", |t| &mut t.ask_period),
    ("PUBLISH-PERIOD", |t| &mut t.publish_period),
    ("DEFAULT-DOWN-AFTER", |t| &mut t.default_down_after),
    ("DEFAULT-FAILOVER-TIMEOUT", |t| {
        &mut t.default_failover_timeout
    }),
    ("TILT-TRIGGER", |t| &mut t.tilt_trigger),
    ("TILT-PERIOD", |t| &mut t.tilt_period),
    ("SLAVE-RECONF-TIMEOUT", |t| &mut t.slave_reconf_timeout),
    ("MIN-LINK-RECONNECT-PERIOD", |t| {
        &mut t.min_link_reconnect_period
    }),
    ("ELECTION-TIMEOUT", |t| &mut t.election_timeout),
    ("SCRIPT-MAX-RUNTIME", |t| &mut t.script_max_runtime),
    ("SCRIPT-RETRY-DELAY", |t| &mut t.script_retry_delay),
];

fn debug<H: Host>(host: &mut H, call: &Call<'_>, reply: &mut Reply) {
    let mut tuning = host.core().tuning().clone();
    let pairs = &call.words[2..];
    if pairs.is_empty() {
        reply.map(TUNABLES.len());
        for (name, value) in TUNABLES {
            reply.bulk(name);
            reply.bulk(millis(*value(&mut tuning)).to_string());
        }
        return;
    }
    let error = tune(&mut tuning, pairs).err();
    operate(host, call, Operator::Debug { tuning, error });
}

/// Applies the pairs from the left, up to the first bad one.
fn tune(tuning: &mut Tuning, pairs: &[Word<'_>]) -> Result<(), String> {
    for pair in pairs.chunks(2) {
        let shown = text(&pair[0]);
        let known = TUNABLES
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(&shown));
        let (Some((_, value)), [_, word]) = (known, pair) else {
            return Err(format!(
                "ERR Unknown option or number of arguments for SENTINEL DEBUG '{shown}'"
            ));
        };
        let Some(ms) = canonical_integer(word).filter(|ms| *ms > 0) else {
            let word = text(word);
            return Err(format!(
                "ERR Invalid argument '{word}' for SENTINEL DEBUG '{shown}'"
            ));
        };
        *value(tuning) = Duration::from_millis(ms.unsigned_abs());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words<'a>(text: &[&'a str]) -> Vec<Word<'a>> {
        text.iter().map(|word| Word::from(*word)).collect()
    }

    #[test]
    fn pairs_before_a_bad_one_count() {
        let mut tuning = Tuning::default();
        let result = tune(
            &mut tuning,
            &words(&["info-period", "8888", "ping-period", "0"]),
        );
        assert_eq!(
            result.unwrap_err(),
            "ERR Invalid argument '0' for SENTINEL DEBUG 'ping-period'"
        );
        assert_eq!(tuning.info_period, Duration::from_millis(8888));
        assert_eq!(tuning.ping_period, Tuning::default().ping_period);
        assert_eq!(
            tune(&mut tuning, &words(&["ASK-PERIOD"])).unwrap_err(),
            "ERR Unknown option or number of arguments for SENTINEL DEBUG 'ASK-PERIOD'"
        );
    }

    #[test]
    fn parameters_are_checked() {
        let mut globals = Globals::default();
        let mut level = None;
        let mut set = |name, value: &str| {
            change_parameter(&mut globals, &mut level, name, value.as_bytes()).is_some()
        };
        assert!(set("resolve-hostnames", "YES"));
        assert!(!set("announce-hostnames", "perhaps"));
        assert!(!set("announce-port", "65536"));
        assert!(set("announce-port", "65535"));
        assert!(!set("announce-ip", "a,b"), "no hello could hold it");
        assert!(set("announce-ip", ""), "empty is unset");
        assert!(set("observe-only", "yes"));
        assert!(!set("observe-only", ""));
        assert!(!set("loglevel", "loud"));
        assert!(set("loglevel", "Debug"));
        assert_eq!(globals.announce_ip, None);
        assert!(globals.resolve_hostnames);
        assert_eq!(level, Some(LogLevel::Debug));
    }
}

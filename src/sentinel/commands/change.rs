//! `SENTINEL` subcommands that change what is monitored and how.

use std::sync::Arc;
use std::time::Duration;

use super::{Host, NO_SUCH_MASTER, operate, subcommand, text};
use crate::config::{check_master_name, statements::is_executable};
use crate::front::{Call, CommandSpec, Reply, glob_match};
use crate::ids::MasterName;
use crate::resp::{Value, Word, canonical_integer};
use crate::sentinel::core::{Addr, Input, Operator, PAUSE_MAX, ReplyTo, SetOption};

/// The subcommands of this module.
pub(super) fn subcommands<H: Host>() -> Vec<CommandSpec<H>> {
    vec![
        subcommand("failover", 3, "2.8.4", "", "Force a failover", failover),
        subcommand(
            "flushconfig",
            2,
            "2.8.4",
            "O(1)",
            "Rewrite configuration file",
            flush,
        ),
        subcommand("monitor", 6, "2.8.4", "O(1)", "Start monitoring", monitor),
        subcommand("remove", 3, "2.8.4", "O(1)", "Stop monitoring", remove),
        subcommand(
            "reset",
            3,
            "2.8.4",
            "O(N) where N is the number of monitored masters",
            "Reset masters by name pattern",
            reset,
        ),
        subcommand(
            "forget",
            5,
            "7.0.15",
            "O(N) where N is the number of instances",
            "Forget a replica or a Sentinel of a master",
            forget,
        ),
        subcommand(
            "pause",
            -3,
            "7.0.15",
            "O(N) where N is the number of Sentinels",
            "Pause automatic failovers of a master",
            pause,
        ),
        subcommand(
            "resume",
            -3,
            "7.0.15",
            "O(N) where N is the number of Sentinels",
            "Resume automatic failovers of a master",
            resume,
        ),
        subcommand(
            "set",
            -5,
            "2.8.4",
            "O(1)",
            "Change the configuration of a monitored master",
            set,
        ),
        subcommand(
            "simulate-failure",
            -3,
            "3.2.0",
            "",
            "Simulate failover scenarios",
            simulate_failure,
        ),
    ]
}

fn name(word: &[u8]) -> MasterName {
    MasterName::from(&*text(word))
}

fn failover<H: Host>(host: &mut H, call: &Call<'_>, _: &mut Reply) {
    operate(host, call, Operator::Failover(name(&call.words[2])));
}

fn flush<H: Host>(host: &mut H, call: &Call<'_>, _: &mut Reply) {
    operate(host, call, Operator::Flush);
}

fn remove<H: Host>(host: &mut H, call: &Call<'_>, _: &mut Reply) {
    operate(host, call, Operator::Remove(name(&call.words[2])));
}

fn forget<H: Host>(host: &mut H, call: &Call<'_>, reply: &mut Reply) {
    let port = canonical_integer(&call.words[4]).and_then(|port| u16::try_from(port).ok());
    let Some(port) = port else {
        return reply.error("ERR Invalid port");
    };
    let request = Operator::Forget {
        name: name(&call.words[2]),
        addr: Addr::new(&text(&call.words[3]), port),
    };
    operate(host, call, request);
}

/// The last word of an order that a peer has passed on.
const FORWARDED: &[u8] = b"forwarded";

fn pause<H: Host>(host: &mut H, call: &Call<'_>, reply: &mut Reply) {
    let (length, rest) = match &call.words[3..] {
        [] => (None, &[][..]),
        [word, rest @ ..] => match pause_length(&text(word)) {
            Ok(length) => (length, rest),
            Err(error) => return reply.error(error),
        },
    };
    let Some(forwarded) = is_forwarded(rest) else {
        return reply.error("ERR syntax error: SENTINEL PAUSE <master-name> [duration]");
    };
    let request = Operator::Pause {
        name: name(&call.words[2]),
        length,
        forwarded,
    };
    order(host, call, request, forwarded);
}

fn resume<H: Host>(host: &mut H, call: &Call<'_>, reply: &mut Reply) {
    let Some(forwarded) = is_forwarded(&call.words[3..]) else {
        return reply.error("ERR syntax error: SENTINEL RESUME <master-name>");
    };
    let request = Operator::Resume {
        name: name(&call.words[2]),
        forwarded,
    };
    order(host, call, request, forwarded);
}

/// A peer's pings and questions on the same connection go on while its order is being written.
fn order<H: Host>(host: &mut H, call: &Call<'_>, request: Operator, forwarded: bool) {
    if forwarded {
        let to = super::begin_in_order(host, call);
        host.feed(Input::Operator { to, request });
    } else {
        operate(host, call, request);
    }
}

/// Whether the words after the order say that a peer passed it on; `None`: they say something else.
fn is_forwarded(rest: &[Word<'_>]) -> Option<bool> {
    match rest {
        [] => Some(false),
        [word] if word.eq_ignore_ascii_case(FORWARDED) => Some(true),
        _ => None,
    }
}

/// A duration with its unit, or a number of seconds; 0: without end.
fn pause_length(word: &str) -> Result<Option<Duration>, String> {
    let parsed = match word.parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => humantime::parse_duration(word).ok(),
    };
    match parsed {
        None => Err(format!(
            "ERR '{word}' is no duration: a number of seconds, or as in 90s, 5m, 1h 30m"
        )),
        Some(length) if length > PAUSE_MAX => Err(
            "ERR that is longer than ten years: without a duration it lasts until SENTINEL RESUME"
                .to_owned(),
        ),
        Some(length) if length.is_zero() => Ok(None),
        // Less than the clock can tell would be no pause at all, or one without end.
        Some(length) => Ok(Some(length.max(Duration::from_millis(1)))),
    }
}

fn reset<H: Host>(host: &mut H, call: &Call<'_>, _: &mut Reply) {
    let pattern = &call.words[2];
    let names = host
        .core()
        .master_names()
        .filter(|name| glob_match(pattern, name.as_str().as_bytes()))
        .cloned()
        .collect();
    operate(host, call, Operator::Reset(names));
}

fn monitor<H: Host>(host: &mut H, call: &Call<'_>, reply: &mut Reply) {
    const NO_ADDRESS: &str = "ERR Invalid IP address or hostname specified";
    let [_, _, name_word, address, port, quorum] = call.words else {
        return;
    };
    let Some(quorum) = canonical_integer(quorum) else {
        return reply.error("ERR Invalid quorum");
    };
    let Some(port) = canonical_integer(port) else {
        return reply.error("ERR Invalid port");
    };
    if quorum < 1 {
        return reply.error("ERR Quorum must be 1 or greater.");
    }
    let Ok(quorum) = u32::try_from(quorum) else {
        return reply.error("ERR Invalid quorum");
    };
    let name_text = text(name_word);
    let address = text(address);
    let given = Addr::new(&address, 0);
    if given.is_host_name() && !host.core().globals().resolve_hostnames {
        return reply.error(NO_ADDRESS);
    }
    let Ok(port) = u16::try_from(port) else {
        return reply.error("ERR Invalid port number.");
    };
    if let Err(refusal) = check_master_name(&name_text) {
        return reply.error(format!("ERR {}", refusal.reason));
    }
    let name = MasterName::from(&*name_text);
    let addr = Addr::new(&address, port);
    if !addr.is_host_name() {
        return operate(host, call, Operator::Monitor { name, addr, quorum });
    }
    let to = super::begin(host, call);
    let found = move |host: &mut H, ip: Option<std::net::IpAddr>| match ip {
        Some(ip) => {
            let addr = addr.resolved(ip);
            let request = Operator::Monitor { name, addr, quorum };
            host.feed(Input::Operator { to, request });
        }
        None => refuse(host, to, NO_ADDRESS),
    };
    host.look_up(Arc::from(&*address), Box::new(found));
}

/// Answers a client that waits, without the core.
fn refuse<H: Host>(host: &mut H, to: ReplyTo, text: &str) {
    let wait = super::wait_of(to);
    // False when the client has gone meanwhile.
    let _ = host.front().clients.resolve(wait, &Value::error(text));
}

/// No wait has this number.
const NOBODY: ReplyTo = ReplyTo(0);

fn simulate_failure<H: Host>(host: &mut H, call: &Call<'_>, reply: &mut Reply) {
    let (mut after_election, mut after_promotion) = (false, false);
    let mut answer = None;
    for word in &call.words[2..] {
        match word.to_ascii_lowercase().as_slice() {
            b"crash-after-election" => after_election = true,
            b"crash-after-promotion" => after_promotion = true,
            b"help" => answer = Some(true),
            _ => answer = Some(false),
        }
        if answer.is_some() {
            break;
        }
    }
    let Some(wants_help) = answer else {
        let request = Operator::SimulateFailure {
            after_election,
            after_promotion,
        };
        return operate(host, call, request);
    };
    // As in the original, the flags are cleared all the same. Nobody waits for the core's answer.
    host.feed(Input::Operator {
        to: NOBODY,
        request: Operator::SimulateFailure {
            after_election: false,
            after_promotion: false,
        },
    });
    if wants_help {
        reply.array(2);
        reply.bulk("crash-after-election");
        reply.bulk("crash-after-promotion");
    } else {
        reply.error("ERR Unknown failure simulation specified");
    }
}

fn set<H: Host>(host: &mut H, call: &Call<'_>, reply: &mut Reply) {
    let name = name(&call.words[2]);
    if host.core().settings(name.as_str()).is_none() {
        return reply.error(NO_SUCH_MASTER);
    }
    let scripts_locked = host.core().globals().deny_scripts_reconfig;
    let mut rest = &call.words[3..];
    let mut options = Vec::new();
    let mut error = None;
    while let Some((option, after)) = rest.split_first() {
        match parse_option(option, after, scripts_locked) {
            Ok((parsed, used)) => {
                options.push(parsed);
                rest = &after[used..];
            }
            Err(text) => {
                error = Some(text);
                break;
            }
        }
    }
    let request = Operator::Set {
        name,
        options,
        error,
    };
    operate(host, call, request);
}

/// One option of `SENTINEL SET`, and how many words after its name it used.
fn parse_option(
    option: &[u8],
    rest: &[Word<'_>],
    scripts_locked: bool,
) -> Result<(SetOption, usize), String> {
    let shown = text(option);
    let unknown =
        || format!("ERR Unknown option or number of arguments for SENTINEL SET '{shown}'");
    let [value, ..] = rest else {
        return Err(unknown());
    };
    let invalid = || {
        let value = text(value);
        format!("ERR Invalid argument '{value}' for SENTINEL SET '{shown}'")
    };
    let number = |least: i64| {
        canonical_integer(value)
            .filter(|n| *n >= least)
            .ok_or_else(invalid)
    };
    let millis = |least| number(least).map(|n| Duration::from_millis(n.unsigned_abs()));
    let small = || number(1).and_then(|n| u32::try_from(n).map_err(|_| invalid()));
    let words = |word: &[u8]| match std::str::from_utf8(word) {
        Ok("") => Ok(None),
        Ok(word) => Ok(Some(Arc::from(word))),
        Err(_) => Err(invalid()),
    };
    let parsed = match shown.to_ascii_lowercase().as_str() {
        "down-after-milliseconds" => SetOption::DownAfter(millis(1)?),
        "failover-timeout" => SetOption::FailoverTimeout(millis(1)?),
        "parallel-syncs" => SetOption::ParallelSyncs(small()?),
        "quorum" => SetOption::Quorum(small()?),
        "notification-script" => {
            SetOption::NotificationScript(script(words(value)?, "Notification", scripts_locked)?)
        }
        "client-reconfig-script" => SetOption::ClientReconfigScript(script(
            words(value)?,
            "Client reconfiguration",
            scripts_locked,
        )?),
        "auth-pass" => SetOption::AuthPass(words(value)?),
        "auth-user" => SetOption::AuthUser(words(value)?),
        "master-reboot-down-after-period" | "primary-reboot-down-after-period" => {
            SetOption::RebootDownAfter(millis(0)?)
        }
        "refused-after-milliseconds" => SetOption::RefusedAfter(millis(0)?),
        "rename-command" => {
            let [old, new, ..] = rest else {
                return Err(unknown());
            };
            let bad = if old.is_empty() { old } else { new };
            match (words(old)?, words(new)?) {
                (Some(old), Some(new)) => {
                    let renamed = SetOption::RenameCommand(old.to_string(), new.to_string());
                    return Ok((renamed, 2));
                }
                (None, _) | (_, None) => {
                    let bad = text(bad);
                    return Err(format!(
                        "ERR Invalid argument '{bad}' for SENTINEL SET '{shown}'"
                    ));
                }
            }
        }
        _ => return Err(unknown()),
    };
    Ok((parsed, 1))
}

/// A script's path, if it may be set and can be run.
fn script(path: Option<Arc<str>>, what: &str, locked: bool) -> Result<Option<Arc<str>>, String> {
    if locked {
        return Err(
            "ERR Reconfiguration of scripts path is denied for security reasons. Check the \
             deny-scripts-reconfig configuration directive in your Sentinel configuration"
                .to_owned(),
        );
    }
    match path {
        Some(path) if !is_executable(&path) => Err(format!(
            "ERR {what} script seems non existing or non executable"
        )),
        path => Ok(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(words: &[&str], want: Result<(SetOption, usize), &str>) {
        let words: Vec<Word<'_>> = words.iter().map(|word| Word::from(*word)).collect();
        let got = parse_option(&words[0], &words[1..], false);
        assert_eq!(got, want.map_err(str::to_owned), "{words:?}");
    }

    #[test]
    fn options_and_their_errors() {
        let ms = Duration::from_millis;
        check(
            &["Down-After-Milliseconds", "20", "quorum"],
            Ok((SetOption::DownAfter(ms(20)), 1)),
        );
        check(
            &["down-after-milliseconds", "-20"],
            Err("ERR Invalid argument '-20' for SENTINEL SET 'down-after-milliseconds'"),
        );
        check(
            &["down-after-milliseconds", "020"],
            Err("ERR Invalid argument '020' for SENTINEL SET 'down-after-milliseconds'"),
        );
        check(
            &["quorum"],
            Err("ERR Unknown option or number of arguments for SENTINEL SET 'quorum'"),
        );
        check(
            &["Fooo", "1"],
            Err("ERR Unknown option or number of arguments for SENTINEL SET 'Fooo'"),
        );
        check(&["auth-pass", ""], Ok((SetOption::AuthPass(None), 1)));
        check(
            &["rename-command", "a", ""],
            Err("ERR Invalid argument '' for SENTINEL SET 'rename-command'"),
        );
        check(
            &["rename-command", "a", "b", "quorum"],
            Ok((SetOption::RenameCommand("a".into(), "b".into()), 2)),
        );
        check(
            &["notification-script", "/nonexistent"],
            Err("ERR Notification script seems non existing or non executable"),
        );
        check(
            &["quorum", "4294967296"],
            Err("ERR Invalid argument '4294967296' for SENTINEL SET 'quorum'"),
        );
    }

    #[test]
    fn lengths_of_pauses() {
        let secs = |n| Ok(Some(Duration::from_secs(n)));
        assert_eq!(pause_length("90"), secs(90));
        assert_eq!(pause_length("5m"), secs(300));
        assert_eq!(pause_length("1h 30m"), secs(5400));
        assert_eq!(pause_length("0"), Ok(None), "until resumed");
        assert_eq!(pause_length("1ns"), Ok(Some(Duration::from_millis(1))));
        for wrong in ["", "-1", "soon", "1.5.5", "forwarded", "11years"] {
            assert!(pause_length(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn locked_scripts_stay() {
        let words = [Word::from("")];
        let error = parse_option(b"client-reconfig-script", &words, true).unwrap_err();
        assert!(error.contains("deny-scripts-reconfig"));
    }
}

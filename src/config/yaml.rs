//! The YAML front of a sentinel's configuration: the same model with other spelling.
//!
//! ```yaml
//! port: 26379
//! loglevel: notice
//! resolve_hostnames: yes
//! tls: { port: 26380, cert_file: tls.crt, key_file: tls.key }
//! masters:
//!   mymaster:
//!     host: 10.0.0.1
//!     port: 6379
//!     quorum: 2
//!     down_after: 5s
//! ```
//!
//! Keys are the directives' names with `_` for `-`; times have their unit, as in `5s` or `1m 30s`. Each
//! entry becomes the line of the Redis dialect that says the same, so both have one set of rules.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_yaml::Value;

use super::errors::{ConfigErrors, Place, Refusal};
use super::lex;
use super::load::Line;
use super::sentinel::sentinel_table;
use super::statements::{GLOBALS, SETTINGS};

/// Per-master keys that differ from the directive's name; all of them are times in milliseconds.
pub(super) const TIMES_OF_MASTERS: &[(&str, &str)] = &[
    ("down_after", "down-after-milliseconds"),
    ("failover_timeout", "failover-timeout"),
    ("reboot_down_after", "master-reboot-down-after-period"),
    ("refused_after", "refused-after-milliseconds"),
];

/// Keys of the process that are times, in seconds in the Redis dialect.
pub(super) const TIMES_OF_PROCESS: &[&str] =
    &["timeout", "tcp-keepalive", "tls-session-cache-timeout"];

/// Keys whose entries are directives that begin with the key.
pub(super) const PREFIXES: &[&str] = &["tls", "syslog", "http"];

/// The lines that say the same as the YAML `text`.
pub fn lines(path: &Path, text: &[u8], errors: &mut ConfigErrors) -> Vec<Line> {
    let text = String::from_utf8_lossy(text);
    let mut front = Front {
        source: Arc::from(path.display().to_string()),
        text: &text,
        errors,
        lines: Vec::new(),
    };
    match serde_yaml::from_str::<Value>(&text) {
        Ok(Value::Null) => {}
        Ok(Value::Mapping(entries)) => {
            for (key, value) in &entries {
                front.top(&show(key), value);
            }
        }
        Ok(other) => front.refuse(&[], "Not a mapping", &format!("keys, not {}", kind(&other))),
        Err(error) => {
            let line = error.location().map_or(0, |at| at.line());
            let shown = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
            let place = Place::new(&front.source, line, shown);
            let refusal = Refusal::new(error.to_string());
            front.errors.push(place, refusal, "YAML");
        }
    }
    front.lines
}

struct Front<'a> {
    source: Arc<str>,
    text: &'a str,
    errors: &'a mut ConfigErrors,
    lines: Vec<Line>,
}

impl Front<'_> {
    fn top(&mut self, key: &str, value: &Value) {
        let directive = key.replace('_', "-");
        let path = [key];
        match (key, value) {
            ("masters", Value::Mapping(masters)) => {
                for (name, entries) in masters {
                    self.master(&show(name), entries);
                }
            }
            ("users", Value::Sequence(users)) => {
                for user in users {
                    match lex::words(show(user).as_bytes()) {
                        Ok(Some(words)) => {
                            let words = words.iter().map(String::as_str);
                            self.line(&path, std::iter::once("user").chain(words));
                        }
                        Ok(None) | Err(_) => {
                            self.refuse(&path, "Not a user", "NAME RULE…, with quotes that close");
                        }
                    }
                }
            }
            ("rename_commands", Value::Mapping(renamed)) => {
                for (old, new) in renamed {
                    self.line(
                        &path,
                        ["rename-command", &show(old), &show(new)].into_iter(),
                    );
                }
            }
            ("masters" | "rename_commands", other) => {
                self.refuse(
                    &path,
                    "Not a mapping",
                    &format!("keys, not {}", kind(other)),
                );
            }
            ("users", other) => {
                self.refuse(&path, "Not a list", &format!("a list, not {}", kind(other)));
            }
            (prefix, Value::Mapping(entries)) if PREFIXES.contains(&prefix) => {
                for (inner, value) in entries {
                    let inner = show(inner);
                    let name = format!("{prefix}-{}", inner.replace('_', "-"));
                    self.process(&[prefix, &inner], &name, value);
                }
            }
            ("myid", value) => self.global(&path, "myid", value),
            (key, value) if !key.contains('-') && GLOBALS.iter().any(|g| g.name == directive) => {
                self.global(&path, &directive, value);
            }
            (key, _) if key.contains('-') => self.unknown(&path),
            (_, value) => self.process(&path, &directive, value),
        }
    }

    fn global(&mut self, path: &[&str], name: &str, value: &Value) {
        if let Some(word) = self.scalar(path, value) {
            self.line(path, ["sentinel", name, &word].into_iter());
        }
    }

    fn process(&mut self, path: &[&str], name: &str, value: &Value) {
        if sentinel_table().find(name).is_none() || matches!(name, "user" | "rename-command") {
            self.unknown(path);
            return;
        }
        match value {
            Value::Sequence(items) => {
                let words: Vec<String> = items.iter().map(show).collect();
                let words = words.iter().map(String::as_str);
                self.line(path, std::iter::once(name).chain(words));
            }
            Value::Mapping(entries) => {
                for (class, limits) in entries {
                    let (class, limits) = (show(class), show(limits));
                    let words = [name, &class].into_iter();
                    self.line(path, words.chain(limits.split_ascii_whitespace()));
                }
            }
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Tagged(_) => {
                let word = if TIMES_OF_PROCESS.contains(&name) {
                    self.time(path, value).map(|t| t.as_secs().to_string())
                } else {
                    self.scalar(path, value)
                };
                if let Some(word) = word {
                    self.line(path, [name, &word].into_iter());
                }
            }
        }
    }

    fn master(&mut self, name: &str, entries: &Value) {
        let path = ["masters", name];
        let Value::Mapping(entries) = entries else {
            let expected = format!("keys, not {}", kind(entries));
            self.refuse(&path, "Not a mapping", &expected);
            return;
        };
        let mut monitor = [None, None, None];
        for (key, value) in entries {
            let key = show(key);
            let path = ["masters", name, &key];
            let place = ["host", "port", "quorum"].iter().position(|k| *k == key);
            if let Some(at) = place {
                monitor[at] = self.scalar(&path, value);
            } else {
                self.setting(&path, name, &key, value);
            }
        }
        match monitor {
            [Some(host), Some(port), Some(quorum)] => {
                let words = ["sentinel", "monitor", name, &host, &port, &quorum];
                self.line(&path, words.into_iter());
            }
            _ => self.refuse(&path, "Missing key", "host, port and quorum"),
        }
    }

    fn setting(&mut self, path: &[&str], master: &str, key: &str, value: &Value) {
        if let Some((_, name)) = TIMES_OF_MASTERS.iter().find(|(k, _)| *k == key) {
            if let Some(time) = self.time(path, value) {
                let words = ["sentinel", name, master, &time.as_millis().to_string()];
                self.line(path, words.into_iter());
            }
            return;
        }
        let name = key.replace('_', "-");
        let is_time = TIMES_OF_MASTERS.iter().any(|(_, n)| *n == name);
        if let ("rename_commands", Value::Mapping(renamed)) = (key, value) {
            for (old, new) in renamed {
                let (old, new) = (show(old), show(new));
                let words = ["sentinel", "rename-command", master, &old, &new];
                self.line(path, words.into_iter());
            }
        } else if !key.contains('-') && !is_time && SETTINGS.iter().any(|s| s.name == name) {
            if let Some(word) = self.scalar(path, value) {
                let words = ["sentinel", &name, master, &word];
                self.line(path, words.into_iter());
            }
        } else {
            self.unknown(path);
        }
    }

    fn scalar(&mut self, path: &[&str], value: &Value) -> Option<String> {
        match value {
            Value::Bool(yes) => Some(if *yes { "yes" } else { "no" }.to_owned()),
            Value::Number(number) => Some(number.to_string()),
            Value::String(text) => Some(text.clone()),
            Value::Null | Value::Sequence(_) | Value::Mapping(_) | Value::Tagged(_) => {
                let expected = format!("one value, not {}", kind(value));
                self.refuse(path, "Not a value", &expected);
                None
            }
        }
    }

    fn time(&mut self, path: &[&str], value: &Value) -> Option<Duration> {
        let word = self.scalar(path, value)?;
        if word == "0" {
            return Some(Duration::ZERO);
        }
        match humantime::parse_duration(&word) {
            Ok(time) => Some(time),
            Err(error) => {
                let reason = format!("Not a time: {error}");
                self.refuse(
                    path,
                    &reason,
                    "a number with its unit, as in 5s, 250ms or 1m 30s",
                );
                None
            }
        }
    }

    fn line<'w>(&mut self, path: &[&str], words: impl Iterator<Item = &'w str>) {
        self.lines.push(Line {
            place: self.place(path),
            words: words.map(str::to_owned).collect(),
            from_command_line: false,
        });
    }

    fn unknown(&mut self, path: &[&str]) {
        let in_master = path.first() == Some(&"masters");
        let known: Vec<String> = if in_master {
            let settings = SETTINGS.iter().map(|s| s.name.replace('-', "_"));
            let times = TIMES_OF_MASTERS.iter();
            let known = settings.filter(|name| {
                let is_time = |(_, n): &(&str, &str)| n.replace('-', "_") == *name;
                !TIMES_OF_MASTERS.iter().any(is_time)
            });
            known
                .chain(times.map(|(key, _)| (*key).to_owned()))
                .chain(["host", "port", "quorum", "rename_commands"].map(str::to_owned))
                .collect()
        } else {
            let process = sentinel_table().directives().iter().map(|d| d.name());
            let globals = GLOBALS.iter().map(|g| g.name);
            process
                .filter(|name| !matches!(*name, "user" | "rename-command"))
                .chain(globals)
                .chain(["masters", "users", "rename_commands", "myid"])
                .map(|name| name.replace('-', "_"))
                .collect()
        };
        let key = path.last().copied().unwrap_or_default();
        let near = known
            .iter()
            .map(|name| (lex::edit_distance(name, key), name))
            .min();
        let hint = match near {
            Some((0..=3, name)) => format!("a known key; the nearest is '{name}'"),
            _ if in_master => format!("one of {}", known.join(", ")),
            _ => "a directive's name with _ for -, or masters, users, rename_commands".to_owned(),
        };
        self.refuse(path, "Unknown key", &hint);
    }

    fn refuse(&mut self, path: &[&str], reason: &str, hint: &str) {
        let place = self.place(path);
        self.errors.push(place, Refusal::new(reason), hint);
    }

    /// The line of the innermost key of `path` that can be found, with the whole path as its text.
    fn place(&self, path: &[&str]) -> Place {
        let line = locate(self.text, path);
        Place::new(&self.source, line, &path.join("."))
    }
}

/// The line, counted from 1, of the innermost of the nested keys in `path` that begins a line; 0: none
/// does. The parser does not tell where values stand, but block style can be followed by indentation.
fn locate(text: &str, path: &[&str]) -> usize {
    let mut lines = text.lines().enumerate().filter_map(|(at, line)| {
        let body = line.trim_start();
        let blank = body.is_empty() || body.starts_with('#');
        (!blank).then_some((at + 1, line.len() - body.len(), body))
    });
    let mut found = 0;
    let mut outer: Option<usize> = None;
    for key in path {
        // All keys of one level begin in the same column.
        let mut column = outer.map_or(Some(0), |_| None);
        let next = lines.by_ref().find_map(|(line, indent, body)| {
            if outer.is_some_and(|outer| indent <= outer) {
                return Some(None);
            }
            let name = body.split(':').next().unwrap_or_default().trim();
            let here = *column.get_or_insert(indent) == indent
                && body.contains(':')
                && name.trim_matches(['"', '\'']) == *key;
            here.then_some(Some((line, indent)))
        });
        let Some(Some((line, indent))) = next else {
            break;
        };
        found = line;
        outer = Some(indent);
    }
    found
}

/// A scalar as a word; anything else as YAML.
fn show(value: &Value) -> String {
    match value {
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Null | Value::Sequence(_) | Value::Mapping(_) | Value::Tagged(_) => {
            let text = serde_yaml::to_string(value).unwrap_or_default();
            text.trim().to_owned()
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "yes or no",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Sequence(_) => "a list",
        Value::Mapping(_) => "keys",
        Value::Tagged(_) => "a tagged value",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<Vec<String>, String> {
        let mut errors = ConfigErrors::default();
        let lines = lines(Path::new("s.yaml"), text.as_bytes(), &mut errors);
        let lines = lines
            .iter()
            .map(|line| lex::join(line.words.iter().map(String::as_str)))
            .collect();
        let mistakes = errors.mistakes().iter().map(|m| {
            format!(
                "{}: {}: {} ({})",
                m.place.line, m.place.text, m.reason, m.hint
            )
        });
        let mistakes: Vec<String> = mistakes.collect();
        if mistakes.is_empty() {
            Ok(lines)
        } else {
            Err(mistakes.join("\n"))
        }
    }

    #[test]
    fn entries_become_lines() {
        let text = "\
port: 26379
bind: [127.0.0.1, '-::1']
protected_mode: false
timeout: 1m 30s
resolve_hostnames: yes
requirepass: a b
tls: { port: 7, cert_file: x.crt }
client_output_buffer_limit: { pubsub: 32mb 8mb 60 }
users:
  - default on nopass ~* &* +@all
rename_commands: { FLUSHALL: '' }
masters:
  m:
    host: 10.0.0.1
    port: 6379
    quorum: 2
    down_after: 1.5s
";
        assert_eq!(
            check(&text.replace("1.5s", "1s 500ms")).unwrap(),
            [
                "port 26379",
                "bind 127.0.0.1 -::1",
                "protected-mode no",
                "timeout 90",
                "sentinel resolve-hostnames yes",
                "requirepass \"a b\"",
                "tls-port 7",
                "tls-cert-file x.crt",
                "client-output-buffer-limit pubsub 32mb 8mb 60",
                "user default on nopass ~* &* +@all",
                "rename-command FLUSHALL \"\"",
                "sentinel down-after-milliseconds m 1500",
                "sentinel monitor m 10.0.0.1 6379 2",
            ]
        );
    }

    #[test]
    fn mistakes_have_their_place() {
        let text = "\
masters:
  port: # a master of that name
    host: 10.0.0.2
    port: 1
    down_afer: 5s
    failover_timeout: 5000
  b: { host: 10.0.0.1 }
prot: 1
";
        assert_eq!(
            check(text).unwrap_err(),
            "5: masters.port.down_afer: Unknown key (a known key; the nearest is 'down_after')\n\
             6: masters.port.failover_timeout: Not a time: time unit needed, for example 5000sec or \
             5000ms (a number with its unit, as in 5s, 250ms or 1m 30s)\n\
             2: masters.port: Missing key (host, port and quorum)\n\
             7: masters.b: Missing key (host, port and quorum)\n\
             8: prot: Unknown key (a known key; the nearest is 'port')"
        );
        assert!(check("a: [").unwrap_err().starts_with("2: "));
        assert!(check("- a").unwrap_err().contains("Not a mapping"));
        assert!(check("include: x").unwrap_err().contains("Unknown key"));
        assert!(check("user: x").unwrap_err().contains("Unknown key"));
        assert!(check("port: [").is_err());
        assert_eq!(check("").unwrap(), [""; 0]);
    }
}

//! A configuration in the Redis dialect as YAML that loads to the same, with its comments and their order.
//!
//! What a sentinel has learned, pauses included, has no place in YAML: it is counted and left to the state file.

use std::collections::HashMap;
use std::time::Duration;

use serde_yaml::Value;

use super::errors::ConfigErrors;
use super::forms::parse_integer;
use super::lex;
use super::load::{self, Line, LoadError, Source};
use super::rewrite::SIGNATURE;
use super::sentinel::sentinel_table;
use super::statements::{GLOBALS, canonical};
use super::yaml::{PREFIXES, TIMES_OF_MASTERS, TIMES_OF_PROCESS};

/// A configuration as YAML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Converted {
    /// The text.
    pub yaml: String,
    /// How many lines hold what the sentinel has learned, and are not in the text.
    pub learned: usize,
}

/// Converts a source that loads without mistakes.
///
/// # Errors
/// It cannot be read, or not be split into lines.
pub fn to_yaml(source: &Source) -> Result<Converted, LoadError> {
    let mut errors = ConfigErrors::default();
    let reading = load::read(source, &|_| false, &mut errors)?;
    errors.into_result(())?;
    let name = source.to_string();
    let (mut comments, trailing) = comments(&reading.text);
    let mut converter = Converter::default();
    for line in &reading.lines {
        if *line.place.source == *name
            && let Some(above) = comments.remove(&line.place.line)
        {
            converter.pending.extend(above);
        }
        converter.line(line);
    }
    let mut yaml = String::new();
    emit(&converter.top, 0, &mut yaml);
    emit_comments(&converter.pending, 0, &mut yaml);
    emit_comments(&trailing, 0, &mut yaml);
    Ok(Converted {
        yaml: yaml.trim_start_matches('\n').to_owned(),
        learned: converter.learned,
    })
}

/// The comments and blank lines above each line, by its number, and those at the end.
fn comments(text: &[u8]) -> (HashMap<usize, Vec<String>>, Vec<String>) {
    let mut above = HashMap::new();
    let mut pending = Vec::new();
    let text = String::from_utf8_lossy(text);
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line == SIGNATURE {
            continue;
        }
        if line.is_empty() || line.starts_with('#') {
            pending.push(line.to_owned());
        } else if !pending.is_empty() {
            above.insert(at + 1, std::mem::take(&mut pending));
        }
    }
    while pending.last().is_some_and(String::is_empty) {
        pending.pop();
    }
    (above, pending)
}

/// A key with its value, and the comments above it.
#[derive(Debug)]
struct Node {
    comments: Vec<String>,
    key: String,
    value: Entry,
}

#[derive(Debug)]
enum Entry {
    /// As it is written.
    Scalar(String),
    /// A list, one item a line.
    List(Vec<String>),
    /// Keys below this one.
    Keys(Vec<Node>),
}

#[derive(Debug, Default)]
struct Converter {
    top: Vec<Node>,
    /// Comments that wait for the next entry.
    pending: Vec<String>,
    learned: usize,
}

impl Converter {
    fn line(&mut self, line: &Line) {
        let words: Vec<&str> = line.words.iter().map(String::as_str).collect();
        match words.as_slice() {
            [first, name, values @ ..] if first.eq_ignore_ascii_case("sentinel") => {
                match canonical(name) {
                    Some(name) => self.statement(name, values),
                    None => self.without_effect(&words),
                }
            }
            [name, values @ ..] => match sentinel_table().canonical(name) {
                Some(name) => self.process(name, values),
                None => self.without_effect(&words),
            },
            [] => {}
        }
    }

    /// A directive of the data server, which a sentinel accepts and ignores.
    fn without_effect(&mut self, words: &[&str]) {
        let line = lex::join(words.iter().copied());
        self.pending
            .push(format!("# without effect in a sentinel: {line}"));
    }

    fn statement(&mut self, name: &'static str, values: &[&str]) {
        match (name, values) {
            (
                "current-epoch" | "config-epoch" | "leader-epoch" | "known-replica"
                | "known-sentinel" | "paused",
                _,
            ) => {
                self.learned += 1;
            }
            ("monitor", [master, host, port, quorum]) => {
                // What stands above the line is about the master as a whole.
                let node = node(&mut self.top, "masters");
                let node = node_in(node, master);
                node.comments.append(&mut self.pending);
                for (key, word) in [("host", host), ("port", port), ("quorum", quorum)] {
                    self.put(&["masters", master, key], Entry::Scalar(scalar(word)));
                }
            }
            ("rename-command", [master, old, new]) => {
                let path = ["masters", master, "rename_commands", old];
                self.put(&path, Entry::Scalar(scalar(new)));
            }
            (name, [value]) if name == "myid" || GLOBALS.iter().any(|g| g.name == name) => {
                self.put(&[&key(name)], Entry::Scalar(scalar(value)));
            }
            (name, [master, value]) => {
                let time = TIMES_OF_MASTERS.iter().find(|(_, known)| *known == name);
                let (key, value) = match (time, parse_integer(value)) {
                    (Some((key, _)), Some(ms)) => {
                        ((*key).to_owned(), duration(Duration::from_millis(ms)))
                    }
                    (_, _) => (key(name), scalar(value)),
                };
                self.put(&["masters", master, &key], Entry::Scalar(value));
            }
            // Loaded without mistakes, it is none of these.
            (_, _) => {}
        }
    }

    fn process(&mut self, name: &'static str, values: &[&str]) {
        match (name, values) {
            ("user", _) => {
                let item = scalar(&lex::join(values.iter().copied()));
                let node = node(&mut self.top, "users");
                node.comments.append(&mut self.pending);
                match &mut node.value {
                    Entry::List(items) => items.push(item),
                    other @ (Entry::Scalar(_) | Entry::Keys(_)) => *other = Entry::List(vec![item]),
                }
            }
            ("rename-command", [old, new]) => {
                self.put(&["rename_commands", old], Entry::Scalar(scalar(new)));
            }
            ("client-output-buffer-limit", _) => {
                for class in values.chunks(4) {
                    let [class, limits @ ..] = class else {
                        continue;
                    };
                    let class = match class.to_ascii_lowercase().as_str() {
                        "slave" => "replica".to_owned(),
                        other => other.to_owned(),
                    };
                    let limits = scalar(&limits.join(" "));
                    self.put(&[&key(name), &class], Entry::Scalar(limits));
                }
            }
            (name, [value]) => {
                let seconds = parse_integer(value).filter(|_| TIMES_OF_PROCESS.contains(&name));
                let value = match seconds {
                    Some(seconds) => duration(Duration::from_secs(seconds)),
                    None => scalar(value),
                };
                self.put_directive(name, Entry::Scalar(value));
            }
            (name, values) => {
                let items = values.iter().map(|value| scalar(value)).collect();
                self.put_directive(name, Entry::List(items));
            }
        }
    }

    fn put_directive(&mut self, name: &str, value: Entry) {
        let prefix = PREFIXES.iter().find_map(|prefix| {
            let inner = name.strip_prefix(prefix)?.strip_prefix('-')?;
            Some((*prefix, key(inner)))
        });
        match prefix {
            Some((prefix, inner)) => self.put(&[prefix, &inner], value),
            None => self.put(&[&key(name)], value),
        }
    }

    /// Sets the value at a path, in the place of an earlier one.
    fn put(&mut self, path: &[&str], value: Entry) {
        let Some((first, rest)) = path.split_first() else {
            return;
        };
        let mut at = node(&mut self.top, first);
        for key in rest {
            at = node_in(at, key);
        }
        at.comments.append(&mut self.pending);
        at.value = value;
    }
}

/// A directive's name as a key.
fn key(name: &str) -> String {
    name.replace('-', "_")
}

/// The node of a key, made if there is none.
fn node<'a>(nodes: &'a mut Vec<Node>, key: &str) -> &'a mut Node {
    let at = nodes.iter().position(|node| node.key == key);
    let at = at.unwrap_or_else(|| {
        nodes.push(Node {
            comments: Vec::new(),
            key: key.to_owned(),
            value: Entry::Keys(Vec::new()),
        });
        nodes.len() - 1
    });
    &mut nodes[at]
}

/// The node of a key below another.
fn node_in<'a>(outer: &'a mut Node, key: &str) -> &'a mut Node {
    if !matches!(outer.value, Entry::Keys(_)) {
        outer.value = Entry::Keys(Vec::new());
    }
    match &mut outer.value {
        Entry::Keys(nodes) => node(nodes, key),
        Entry::Scalar(_) | Entry::List(_) => unreachable!("it has just been made one with keys"),
    }
}

fn emit(nodes: &[Node], indent: usize, out: &mut String) {
    for node in nodes {
        emit_comments(&node.comments, indent, out);
        let margin = " ".repeat(indent);
        let key = as_key(&node.key);
        match &node.value {
            Entry::Scalar(value) => out.push_str(&format!("{margin}{key}: {value}\n")),
            Entry::List(items) if items.is_empty() => out.push_str(&format!("{margin}{key}: []\n")),
            Entry::List(items) => {
                out.push_str(&format!("{margin}{key}:\n"));
                for item in items {
                    out.push_str(&format!("{margin}  - {item}\n"));
                }
            }
            Entry::Keys(nodes) => {
                out.push_str(&format!("{margin}{key}:\n"));
                emit(nodes, indent + 2, out);
            }
        }
    }
}

fn emit_comments(comments: &[String], indent: usize, out: &mut String) {
    for comment in comments {
        if comment.is_empty() {
            if !out.is_empty() && !out.ends_with("\n\n") {
                out.push('\n');
            }
        } else {
            let shown: String = comment
                .chars()
                .map(|c| if is_printable(c) { c } else { '?' })
                .collect();
            out.push_str(&format!("{:indent$}{shown}\n", ""));
        }
    }
}

fn duration(time: Duration) -> String {
    humantime::format_duration(time).to_string()
}

/// A word as a value: bare where it is read back as the same text.
fn scalar(word: &str) -> String {
    let in_key = serde_yaml::from_str(&format!("k: {word}\n"));
    let in_list = serde_yaml::from_str(&format!("k:\n  - {word}\n"));
    let is_same = |value: Option<&Value>| match value {
        Some(Value::String(text)) => text == word,
        Some(Value::Number(number)) => number.to_string() == word,
        _ => false,
    };
    let of_key = |read: &Result<Value, _>| {
        let value: Option<&Value> = read.as_ref().ok().and_then(|read| read.get("k"));
        value.cloned()
    };
    let key: Option<Value> = of_key(&in_key);
    let item = of_key(&in_list).and_then(|list| list.get(0).cloned());
    if is_same(key.as_ref()) && is_same(item.as_ref()) && word.chars().all(is_printable) {
        word.to_owned()
    } else {
        quoted(word)
    }
}

/// A word as a key.
fn as_key(word: &str) -> String {
    let read = serde_yaml::from_str::<serde_yaml::Mapping>(&format!("{word}: 1\n")).ok();
    let key = read
        .filter(|read| read.len() == 1)
        .and_then(|read| read.into_iter().next());
    let is_same = match key {
        Some((Value::String(text), Value::Number(_))) => text == word,
        Some((Value::Number(number), Value::Number(_))) => number.to_string() == word,
        _ => false,
    };
    if is_same && word.chars().all(is_printable) {
        word.to_owned()
    } else {
        quoted(word)
    }
}

/// In double quotes, in which YAML can say everything.
fn quoted(word: &str) -> String {
    let mut text = String::from("\"");
    for c in word.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            c if is_printable(c) => text.push(c),
            c => text.push_str(&match u32::from(c) {
                code @ 0..=0xffff => format!("\\u{code:04x}"),
                code => format!("\\U{code:08x}"),
            }),
        }
    }
    text.push('"');
    text
}

/// What YAML takes as it stands, on one line.
fn is_printable(c: char) -> bool {
    !c.is_control()
        && !matches!(
            c,
            '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::statements::SETTINGS;
    use crate::config::{SentinelConfig, load_sentinel};
    use proptest::prelude::*;

    fn convert(conf: &str) -> Converted {
        to_yaml(&Source::Stdin(conf.as_bytes().to_vec())).unwrap()
    }

    fn load_conf(conf: &str) -> SentinelConfig {
        let source = Source::Stdin(conf.as_bytes().to_vec());
        load_sentinel(&source, &[]).unwrap_or_else(|error| panic!("{conf}\n{error}"))
    }

    fn load_yaml(yaml: &str) -> SentinelConfig {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.yaml");
        std::fs::write(&path, yaml).unwrap();
        load_sentinel(&Source::File(path), &[]).unwrap_or_else(|error| panic!("{yaml}\n{error}"))
    }

    /// What is configured, without what is learned.
    fn configured(config: &SentinelConfig) -> impl PartialEq + std::fmt::Debug + use<> {
        let durable = &config.durable;
        let masters: Vec<_> = (durable.masters.iter())
            .map(|m| (m.name.clone(), m.host.clone(), m.port, m.settings.clone()))
            .collect();
        let globals = (*durable.globals).clone();
        (config.process.clone(), durable.id.clone(), globals, masters)
    }

    #[track_caller]
    fn check_same(conf: &str) {
        let yaml = convert(conf).yaml;
        let (from, to) = (load_conf(conf), load_yaml(&yaml));
        assert_eq!(configured(&from), configured(&to), "{conf}\n---\n{yaml}");
    }

    #[test]
    fn comments_and_order_are_kept() {
        let conf = "\
# The file of all our sentinels.

port 26379
# Everything.
bind 127.0.0.1 -::1
save 900 1
timeout 90

# The shop.
sentinel monitor shop 10.0.0.1 6379 2
# Fast.
sentinel down-after-milliseconds shop 5000
sentinel known-replica shop 10.0.0.2 6379
tls-port 0
# Generated by CONFIG REWRITE
sentinel current-epoch 7
# The end.
";
        let converted = convert(conf);
        assert_eq!(
            converted.yaml,
            "\
# The file of all our sentinels.

port: 26379
# Everything.
bind:
  - 127.0.0.1
  - -::1
# without effect in a sentinel: save 900 1
timeout: 1m 30s
masters:

  # The shop.
  shop:
    host: 10.0.0.1
    port: 6379
    quorum: 2
    # Fast.
    down_after: 5s
tls:
  port: 0
# The end.
"
        );
        assert_eq!(converted.learned, 2);
        check_same(conf);
    }

    #[test]
    fn every_kind_of_line_is_converted() {
        check_same(
            "protected-mode yes\ntcp-keepalive 0\nunixsocketperm 700\nclient-output-buffer-limit normal 0 0 0 slave 1mb 2 3\n\
             client-output-buffer-limit PUBSUB 32mb 8mb 60\nuser bob on >\"a b\" ~* +@all\nuser eve off\n\
             rename-command FLUSHALL \"\"\nsyslog-enabled no\nsyslog-ident x\ntls-session-cache-timeout 7\n\
             loglevel verbose\nlogfile \"\"\nbind 127.0.0.1\nbind ::1\nappendonly no\nmaxclients 100\n\
             sentinel resolve-hostnames yes\nsentinel announce-hostnames yes\nsentinel monitor m cache.example 6379 2\n\
             sentinel rename-command m CONFIG guessme\nsentinel parallel-syncs m 3\nsentinel auth-pass m true\n\
             sentinel master-reboot-down-after-period m 0\nsentinel failover-timeout m 90061007\n\
             sentinel myid 0123456789012345678901234567890123456789\nsentinel monitor 007 ::1 1 1\n\
             sentinel monitor true ::1 2 1\nstate-file a.state\n",
        );
        let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/config/sentinel.conf");
        check_same(&std::fs::read_to_string(sample).unwrap());
    }

    /// With each of these values that the directive takes, so that none can be forgotten.
    #[test]
    fn every_directive_is_converted() {
        const VALUES: &[&str] = &[
            "yes",
            "no",
            "0",
            "7",
            "600",
            "1mb",
            ".",
            "/bin/sh",
            "127.0.0.1 ::1",
            "word",
            "\"two words\"",
            "debug",
            "json",
            "local4",
            "systemd",
            "local",
            "optional",
            "TLSv1.2",
            "normal 1mb 2 3",
            "bob on nopass",
            "allchannels",
            "GET GETTY",
        ];
        let check = |before: &str, name: &str| {
            let lines = VALUES
                .iter()
                .map(|value| format!("sentinel monitor m ::1 1 1\n{before}{name} {value}\n"));
            let is_taken = |conf: &String| {
                load_sentinel(&Source::Stdin(conf.clone().into_bytes()), &[]).is_ok()
            };
            let taken: Vec<String> = lines.filter(is_taken).collect();
            assert!(
                !taken.is_empty(),
                "{before}{name}: none of the values is right"
            );
            taken.iter().for_each(|conf| check_same(conf));
        };
        for directive in sentinel_table().directives() {
            check("", directive.name());
        }
        for global in GLOBALS {
            check("sentinel ", global.name);
        }
        for setting in SETTINGS {
            check("sentinel ", &format!("{} m", setting.name));
        }
    }

    /// Words that YAML might take for something else, and any others.
    fn word() -> impl Strategy<Value = String> {
        const KNOWN: &[&str] = &[
            "yes",
            "no",
            "true",
            "null",
            "~",
            "0x10",
            "1e3",
            "1_000",
            "-1",
            ".5",
            "007",
            "# a",
            "a #b",
            "a: b",
            "- a",
            "[a]",
            "{a}",
            "*a",
            "&a",
            "!a",
            "|",
            ">",
            "%a",
            "@a",
            "`a",
            "'a",
            "\"a\"",
            "a\\b",
            "?",
            "? a",
            ":",
            "---",
            "...",
            "<<",
            " a",
            "a ",
            "a\tb",
            "a\nb",
            "\u{85}",
            "\u{2028}",
            "\u{feff}a",
            "é",
            "😀",
            "1:30",
            "2026-01-01",
        ];
        prop_oneof![
            prop::sample::select(KNOWN).prop_map(str::to_owned),
            ".{1,12}"
        ]
    }

    proptest! {
        #[test]
        fn any_configuration_means_the_same_in_yaml(
            names in prop::collection::btree_set("[a-zA-Z0-9:#~*&!.-]{1,8}", 1..4),
            words in prop::collection::vec(word(), 8),
            numbers in prop::collection::vec(1_u32..200_000_000, 4),
        ) {
            let mut conf = String::new();
            let mut line = |words: &[&str]| {
                conf.push_str(&lex::join(words.iter().copied()));
                conf.push('\n');
            };
            let number = |at: usize| numbers[at].to_string();
            line(&["requirepass", &words[0]]);
            line(&["syslog-ident", &words[1]]);
            line(&["logfile", &words[2].replace('\0', "")]);
            line(&["timeout", &number(0)]);
            line(&["sentinel", "sentinel-user", &words[3]]);
            line(&["sentinel", "sentinel-pass", &words[4]]);
            for (at, name) in names.iter().enumerate() {
                line(&["sentinel", "auth-pass", name, &words[5]]);
                line(&["sentinel", "monitor", name, "::1", &(at + 1).to_string(), &number(3)]);
                line(&["sentinel", "auth-user", name, &words[6]]);
                line(&["sentinel", "rename-command", name, "GET", &words[7]]);
                line(&["sentinel", "down-after-milliseconds", name, &number(1)]);
                line(&["sentinel", "failover-timeout", name, &number(2)]);
            }
            let source = Source::Stdin(conf.clone().into_bytes());
            // What the Redis dialect itself refuses is not converted.
            prop_assume!(load_sentinel(&source, &[]).is_ok());
            let yaml = convert(&conf).yaml;
            prop_assert_eq!(configured(&load_conf(&conf)), configured(&load_yaml(&yaml)), "{}", yaml);
        }
    }
}

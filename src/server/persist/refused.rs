//! Commands of a file or of a master's stream that cannot be executed here, and how they are named to whoever has to
//! find them. They are never skipped: what is behind them would be something else than it was meant to be.

use std::borrow::Cow;
use std::fmt;

use super::dump::absent_type;
use super::rdb_decode::printable;
use crate::resp::Word;
use crate::server::command::ABSENT;

/// A command that cannot be executed here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// Its name, with that of its subcommand. Printable.
    command: String,
    /// The key that it is about, where that is known. Printable.
    key: Option<String>,
    db: usize,
    /// What this server would need for it.
    kind: Option<Cow<'static, str>>,
}

impl Refused {
    /// A command that is not here, or that cannot be what it is.
    pub(crate) fn new(words: &[Word<'_>], db: usize) -> Refused {
        let name = words.first().map_or(&b""[..], |word| word);
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        let known = ABSENT.iter().find(|command| command.name == name);
        let has_sub = known.is_some_and(|command| !command.subcommands.is_empty());
        let named = &words[..words.len().min(1 + usize::from(has_sub))];
        let command: Vec<String> = named.iter().map(|word| printable(word)).collect();
        let key = key_at(&name, words).and_then(|at| words.get(at));
        Refused {
            command: command.join(" "),
            key: key.map(|key| printable(key)),
            db,
            kind: known.map(|_| kind_of(&name).into()),
        }
    }

    /// A value that is restored but of a type that is not here; `name` is the command's.
    pub(crate) fn of_payload(name: &str, words: &[Word<'_>], db: usize) -> Option<Refused> {
        if !is_restore(name) {
            return None;
        }
        let kind = absent_type(words.get(3)?)?;
        Some(Refused {
            kind: Some(format!("the type {kind}").into()),
            ..Refused::new(words, db)
        })
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the command {:?}", self.command)?;
        if let Some(key) = &self.key {
            write!(f, " for key {key:?}")?;
        }
        write!(f, " in database {}", self.db)?;
        match &self.kind {
            Some(kind) => write!(f, ", which needs {kind}: this server has none"),
            None => f.write_str(", which this server cannot execute"),
        }
    }
}

/// Whether a command, by its own name, makes a value of bytes that nothing else holds.
pub(crate) fn is_restore(name: &str) -> bool {
    matches!(name, "restore" | "restore-asking")
}

/// What a command of [`ABSENT`] needs.
fn kind_of(name: &str) -> &'static str {
    match name {
        "eval" | "eval_ro" | "evalsha" | "evalsha_ro" | "script" => "scripts",
        "fcall" | "fcall_ro" | "function" => "functions",
        "module" => "modules",
        "asking" | "cluster" | "readonly" | "readwrite" => "cluster mode",
        _ => "streams",
    }
}

/// Where the first key of a command is.
fn key_at(name: &str, words: &[Word<'_>]) -> Option<usize> {
    match name {
        "eval" | "eval_ro" | "evalsha" | "evalsha_ro" | "fcall" | "fcall_ro" => {
            (words.get(2)? != "0").then_some(3)
        }
        "script" | "function" | "module" | "asking" | "cluster" | "readonly" | "readwrite" => None,
        "xgroup" | "xinfo" => Some(2),
        "xread" | "xreadgroup" => {
            // A group and a consumer may have that name.
            let first = if name == "xread" { 1 } else { 4 };
            let is_it = |word: &Word<'_>| word.eq_ignore_ascii_case(b"streams");
            let found = words.iter().skip(first).position(is_it)?;
            Some(first + found + 1)
        }
        _ => Some(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> String {
        let words: Vec<Word<'_>> = line.split(' ').map(Word::from).collect();
        Refused::new(&words, 3).to_string()
    }

    #[test]
    fn the_command_its_key_and_what_it_needs_are_named() {
        for (line, want) in [
            (
                "XADD s * f v",
                r#"the command "XADD" for key "s" in database 3, which needs streams: this server has none"#,
            ),
            (
                "xgroup CREATE s g $ MKSTREAM",
                r#"the command "xgroup CREATE" for key "s" in database 3, which needs streams: this server has none"#,
            ),
            (
                "XREADGROUP GROUP g streams STREAMS s >",
                r#"the command "XREADGROUP" for key "s" in database 3, which needs streams: this server has none"#,
            ),
            (
                "FUNCTION LOAD code",
                r#"the command "FUNCTION LOAD" in database 3, which needs functions: this server has none"#,
            ),
            (
                "EVAL code 1 k",
                r#"the command "EVAL" for key "k" in database 3, which needs scripts: this server has none"#,
            ),
            (
                "EVAL code 0 k",
                r#"the command "EVAL" in database 3, which needs scripts: this server has none"#,
            ),
            (
                "BF.ADD k x",
                r#"the command "BF.ADD" for key "k" in database 3, which this server cannot execute"#,
            ),
        ] {
            assert_eq!(of(line), want);
        }
        assert_eq!(
            Refused::new(&[], 0).to_string(),
            r#"the command "" in database 0, which this server cannot execute"#
        );
    }

    #[test]
    fn a_payload_is_refused_for_its_type_alone() {
        let restore = |payload: &'static [u8]| {
            let words = [b"RESTORE", &b"s"[..], b"0", payload].map(Word::Part);
            Refused::of_payload("restore", &words, 0).map(|refused| refused.to_string())
        };
        assert_eq!(restore(b"\x00\x01v\x0a\x00"), None);
        assert_eq!(restore(b""), None);
        let stream = restore(b"\x13rest").unwrap();
        assert!(stream.contains(r#""RESTORE" for key "s""#), "{stream}");
        assert!(stream.contains("which needs the type stream"), "{stream}");
    }

    #[test]
    fn every_absent_command_is_known_by_what_it_needs() {
        for command in ABSENT {
            let is_stream = command.name.starts_with('x');
            let kind = kind_of(command.name);
            assert_eq!(kind == "streams", is_stream, "{}: {kind}", command.name);
        }
    }
}

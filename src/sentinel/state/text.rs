//! The two texts that hold state: the operator's configuration, rewritten; or a state file of our own.

use std::collections::HashMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::config::draft::Draft;
use crate::config::errors::{ConfigErrors, Place, Refusal};
use crate::config::lex;
use crate::config::load::Line;
use crate::config::rewrite::{Document, Entry, Key, LineKey};
use crate::config::sentinel::apply_statements;
use crate::config::statements;
use crate::front::implies_default_user;
use crate::sentinel::core::{Durable, DurableMaster};

/// What was made of each master at the last write, so that only those that have changed are made again.
/// Unchanged masters are the same `Arc`.
pub(super) struct PerMaster<T> {
    /// By address; the `Arc` beside it keeps the address from being used again.
    made: HashMap<usize, (Arc<DurableMaster>, T)>,
}

impl<T: Clone> PerMaster<T> {
    pub(super) fn new() -> PerMaster<T> {
        PerMaster {
            made: HashMap::new(),
        }
    }

    /// Calls `each` for every master in order, with what `make` makes of it.
    pub(super) fn for_each(
        &mut self,
        masters: &[Arc<DurableMaster>],
        make: impl Fn(&DurableMaster) -> T,
        mut each: impl FnMut(&T),
    ) {
        let mut next = HashMap::with_capacity(masters.len());
        for master in masters {
            let key = Arc::as_ptr(master).addr();
            let (master, made) = self
                .made
                .remove(&key)
                .unwrap_or_else(|| (Arc::clone(master), make(master)));
            each(&made);
            next.insert(key, (master, made));
        }
        self.made = next;
    }
}

/// Whether a rewrite of the configuration may touch the lines of a directive.
pub(super) fn is_state(key: Key, with_users: bool) -> bool {
    match key {
        Key::Sentinel(_) => true,
        Key::Line(name) => with_users && name == "user",
    }
}

/// How a rewrite of the configuration recognises lines.
pub(super) fn line_key(words: Vec<String>) -> Option<LineKey> {
    if words[0].eq_ignore_ascii_case("user") {
        return Some(LineKey {
            key: Key::Line("user"),
            group: words.get(1).map(|name| Arc::from(name.as_str())),
            words,
        });
    }
    statements::line_key(words)
}

/// The lines of the users, each a line as in an ACL file. The default user has no line while it is
/// what `requirepass` alone makes of it, unless `document` has one: such a line would outlive a later
/// change of `requirepass`, as it does with redis-sentinel.
pub(super) fn user_entries(
    users: &[String],
    requirepass: Option<&str>,
    document: Option<&Document>,
) -> Vec<Entry> {
    let mut entries = Vec::new();
    for user in users {
        let words: Vec<&str> = user.split_ascii_whitespace().collect();
        let (Some(&"user"), Some(&name)) = (words.first(), words.get(1)) else {
            continue;
        };
        let has_line = || document.is_some_and(|d| d.has_line(Key::Line("user"), name));
        if name == "default" && implies_default_user(requirepass, &words[2..]) && !has_line() {
            continue;
        }
        let text = Arc::from(lex::join(words));
        entries.push(Entry::new(Key::Line("user"), Some(Arc::from(name)), text));
    }
    entries
}

pub(super) fn sha256_hex(text: &str) -> String {
    let mut hex = String::new();
    for byte in Sha256::digest(text) {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// The comment before each line that says what the configuration held.
const CONFIGURED: &str = "#configured: ";
/// The same for the password, of which only a digest is kept.
const CONFIGURED_PASSWORD: &str = "#configured-requirepass-sha256: ";

/// The configuration that a state is based on, as lines of the state file.
pub(super) fn base_text(
    configured: &Durable,
    users: &[String],
    requirepass: Option<&str>,
) -> String {
    let mut text = String::new();
    let mut line = |line: &str| {
        let _ = writeln!(text, "{CONFIGURED}{line}");
    };
    for entry in statements::entries_before_masters(configured) {
        line(entry.text());
    }
    for master in &configured.masters {
        for entry in statements::entries_of_master(master) {
            line(entry.text());
        }
    }
    for entry in statements::entries_after_masters(configured) {
        line(entry.text());
    }
    for user in users {
        line(user);
    }
    if let Some(password) = requirepass {
        let _ = writeln!(text, "{CONFIGURED_PASSWORD}{}", sha256_hex(password));
    }
    text
}

/// What a state file holds.
#[derive(Debug, Default)]
pub(super) struct StateFile {
    /// The state.
    pub(super) durable: Durable,
    /// `user` lines.
    pub(super) users: Vec<String>,
    /// The configuration that the state is based on.
    pub(super) base: Durable,
    /// Its `user` lines.
    pub(super) base_users: Vec<String>,
    /// The digest of its password.
    pub(super) base_requirepass: Option<String>,
}

/// Reads a state file.
///
/// # Errors
/// Lines that are not state, or wrong: nothing is guessed, since votes depend on it.
pub(super) fn parse_state(path: &Path, text: &[u8]) -> Result<StateFile, ConfigErrors> {
    let source: Arc<str> = Arc::from(path.display().to_string());
    let mut errors = ConfigErrors::default();
    let mut state = StateFile::default();
    let (mut lines, mut base) = (Vec::new(), Vec::new());
    for (at, raw) in text.split(|b| *b == b'\n').enumerate() {
        let shown = String::from_utf8_lossy(raw);
        let place = || Place::new(&source, at + 1, &shown);
        let (configured, body) = match shown.strip_prefix(CONFIGURED) {
            Some(body) => (true, body.as_bytes()),
            None => (false, raw),
        };
        if let Some(digest) = shown.strip_prefix(CONFIGURED_PASSWORD) {
            state.base_requirepass = Some(digest.trim().to_owned());
            continue;
        }
        let words = match lex::words(body) {
            Ok(None) => continue,
            Ok(Some(words)) => words,
            Err(refusal) => {
                errors.push(place(), refusal, "");
                continue;
            }
        };
        let (users, queue) = if configured {
            (&mut state.base_users, &mut base)
        } else {
            (&mut state.users, &mut lines)
        };
        match words[0].to_ascii_lowercase().as_str() {
            "user" => users.push(lex::join(words.iter().map(String::as_str))),
            "sentinel" => queue.push(Line {
                place: place(),
                words,
                from_command_line: false,
            }),
            _ => errors.push(
                place(),
                Refusal::new("Not a line of a state file"),
                "sentinel or user lines, as sentinel itself writes them",
            ),
        }
    }
    let mut draft = Draft::default();
    apply_statements(&mut draft, &lines, &mut errors);
    state.durable = draft.finish();
    // A line of the former configuration that would be wrong now (a script that is gone) counts as
    // another value than the present one.
    let mut draft = Draft::default();
    apply_statements(&mut draft, &base, &mut ConfigErrors::default());
    state.base = draft.finish();
    errors.into_result(state)
}

#[cfg(test)]
pub(super) fn parse_lines(text: &str) -> Result<Durable, ConfigErrors> {
    parse_state(Path::new("test"), text.as_bytes()).map(|state| state.durable)
}

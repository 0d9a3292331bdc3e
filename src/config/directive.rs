//! One definition per directive, from which everything else is derived: reading a line, the error that
//! says what would be right, `CONFIG GET`, `CONFIG SET` and the lines of a rewrite.
//!
//! # Adding a directive
//!
//! A program has a plain struct of typed values (`C`, whose `Default` holds the built-in defaults) and a
//! [`Table<C>`]. To add `lfu-decay-time`:
//!
//! 1. a field in the struct: `pub lfu_decay_time: u32`, with its default in `Default`;
//! 2. a line in the table:
//!
//! ```
//! use sentinel::config::{at, Directive, Number, Table};
//!
//! #[derive(Clone, Default)]
//! struct Server { lfu_decay_time: u32 }
//!
//! let table = Table::new(vec![
//!     Directive::<Server>::at_run_time("lfu-decay-time", Number::between(0, i32::MAX), at!(lfu_decay_time),
//!         "minutes after which the frequency counter of a key is halved"),
//! ]);
//! let mut server = Server::default();
//! assert_eq!(table.set(&mut server, &[("lfu-decay-time", "3")], false).unwrap(), ["lfu-decay-time"]);
//! assert_eq!(server.lfu_decay_time, 3);
//! ```
//!
//! How a value is written is a [`Form`]; the ready ones are in `forms.rs`. A form knows its own errors in
//! redis-server's words and describes what it expects; the directive adds only its meaning. Directives of
//! a part that several programs share are brought in with [`Directive::within`]:
//!
//! ```
//! # use sentinel::config::{at, Directive, Process, process_directives};
//! # #[derive(Clone, Default)] struct Server { process: Process }
//! let shared: Vec<Directive<Server>> =
//!     process_directives().into_iter().map(|d| d.within::<Server>(at!(process))).collect();
//! ```
//!
//! The order of a table is the order of `CONFIG GET` and of lines that a rewrite appends.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::errors::Refusal;
use super::lex;
use super::load::Line;
use super::rewrite::{Document, Entry, Key, LineKey};

/// Where a field is, for reading and for writing. Made by `at!`.
pub struct Lens<C, V> {
    /// The field of a shared struct.
    pub get: fn(&C) -> &V,
    /// The field of an owned struct.
    pub get_mut: fn(&mut C) -> &mut V,
}

impl<C, V> Clone for Lens<C, V> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<C, V> Copy for Lens<C, V> {}

/// `at!(tls.port)`: the [`Lens`] to that field.
#[macro_export]
#[doc(hidden)]
macro_rules! config_at {
    ($($field:tt)+) => {
        $crate::config::Lens { get: |c| &c.$($field)+, get_mut: |c| &mut c.$($field)+ }
    };
}

/// When words are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// The first line with this directive in a file: replaces the default.
    FirstLine,
    /// A further line: replaces or adds, as the form has it.
    LaterLine,
    /// `CONFIG SET`.
    RunTime,
}

/// How a value of one type is written.
pub trait Form: Send + Sync + 'static {
    /// The type.
    type Value: Clone + PartialEq + 'static;

    /// The fewest and the most words that follow the directive's name on a line.
    fn arity(&self) -> (usize, usize) {
        (1, 1)
    }

    /// Reads the words that follow the name into `value`, which holds what was there before. On an
    /// error `value` may be half changed; callers work on a copy.
    ///
    /// # Errors
    /// The words are no such value; the reason is redis-server's.
    fn parse(&self, words: &[&str], when: When, value: &mut Self::Value) -> Result<(), Refusal>;

    /// The value as `CONFIG GET` shows it.
    fn show(&self, value: &Self::Value) -> String;

    /// The words after the name, one list per line of a file. No list: no line.
    fn lines(&self, value: &Self::Value) -> Vec<Vec<String>> {
        vec![vec![self.show(value)]]
    }

    /// What is expected, for people: `yes or no`.
    fn expected(&self) -> String;
}

/// Whether `CONFIG SET` can change a directive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// Only a file and the command line can; shown by `CONFIG GET`.
    AtStart,
    /// `CONFIG SET` can.
    AtRunTime,
    /// `CONFIG SET` can if `enable-protected-configs` allows it.
    Protected,
    /// Not part of `CONFIG` at all: `include`, `rename-command`, `user`.
    FileOnly,
}

/// One directive of a configuration `C`. See the [module's documentation](self).
pub struct Directive<C> {
    name: &'static str,
    alias: Option<&'static str>,
    change: Change,
    /// Only who asks for exactly this name is shown it.
    is_hidden: bool,
    /// Whether a rewrite of the file may write its lines.
    is_rewritten: bool,
    help: &'static str,
    access: Arc<dyn Access<C>>,
}

impl<C: 'static> Directive<C> {
    /// A directive that only a file and the command line can set.
    pub fn at_start<F: Form>(
        name: &'static str,
        form: F,
        field: Lens<C, F::Value>,
        help: &'static str,
    ) -> Directive<C> {
        Directive {
            name,
            alias: None,
            change: Change::AtStart,
            is_hidden: false,
            is_rewritten: true,
            help,
            access: Arc::new(Field { form, field }),
        }
    }

    /// A directive that `CONFIG SET` can change too.
    pub fn at_run_time<F: Form>(
        name: &'static str,
        form: F,
        field: Lens<C, F::Value>,
        help: &'static str,
    ) -> Directive<C> {
        Directive {
            change: Change::AtRunTime,
            ..Directive::at_start(name, form, field, help)
        }
    }

    /// A directive that `CONFIG SET` can change, and that `CONFIG GET` shows to those only who name it.
    pub fn hidden<F: Form>(
        name: &'static str,
        form: F,
        field: Lens<C, F::Value>,
        help: &'static str,
    ) -> Directive<C> {
        Directive {
            is_hidden: true,
            ..Directive::at_run_time(name, form, field, help)
        }
    }

    /// A directive that only a file and the command line can set, and that `CONFIG GET` shows to those only who name it.
    pub fn hidden_at_start<F: Form>(
        name: &'static str,
        form: F,
        field: Lens<C, F::Value>,
        help: &'static str,
    ) -> Directive<C> {
        Directive {
            is_hidden: true,
            ..Directive::at_start(name, form, field, help)
        }
    }

    /// A directive that `CONFIG SET` changes only where `enable-protected-configs` allows it.
    pub fn protected<F: Form>(
        name: &'static str,
        form: F,
        field: Lens<C, F::Value>,
        help: &'static str,
    ) -> Directive<C> {
        Directive {
            change: Change::Protected,
            ..Directive::at_start(name, form, field, help)
        }
    }

    /// A directive that `CONFIG` does not know.
    pub fn file_only<F: Form>(
        name: &'static str,
        form: F,
        field: Lens<C, F::Value>,
        help: &'static str,
    ) -> Directive<C> {
        Directive {
            change: Change::FileOnly,
            ..Directive::at_start(name, form, field, help)
        }
    }

    /// A second name, which is read and set like the first but never written.
    #[must_use]
    pub fn alias(mut self, alias: &'static str) -> Directive<C> {
        self.alias = Some(alias);
        self
    }

    /// Nothing changes it while the program runs: a rewrite leaves its lines where they are, in a file that is included
    /// and on the command line too.
    #[must_use]
    pub fn never_rewritten(mut self) -> Directive<C> {
        self.is_rewritten = false;
        self
    }

    /// The same directive as a part of a larger configuration.
    #[must_use]
    pub fn within<D: 'static>(self, part: Lens<D, C>) -> Directive<D> {
        Directive {
            name: self.name,
            alias: self.alias,
            change: self.change,
            is_hidden: self.is_hidden,
            is_rewritten: self.is_rewritten,
            help: self.help,
            access: Arc::new(Within {
                access: self.access,
                part,
            }),
        }
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// `port NUMBER: a whole number from 0 to 65535; TCP port to listen on`.
    pub fn help(&self) -> String {
        format!("{} = {}: {}", self.name, self.access.expected(), self.help)
    }
}

/// A [`Form`] applied to a field, with the field's type hidden.
trait Access<C>: Send + Sync {
    fn arity(&self) -> (usize, usize);
    fn parse(&self, words: &[&str], when: When, config: &mut C) -> Result<(), Refusal>;
    fn show(&self, config: &C) -> String;
    fn lines(&self, config: &C) -> Vec<Vec<String>>;
    fn expected(&self) -> String;
    fn copy(&self, from: &C, to: &mut C);
    fn same(&self, a: &C, b: &C) -> bool;
}

struct Field<C, F: Form> {
    form: F,
    field: Lens<C, F::Value>,
}

impl<C, F: Form> Access<C> for Field<C, F> {
    fn arity(&self) -> (usize, usize) {
        self.form.arity()
    }
    fn parse(&self, words: &[&str], when: When, config: &mut C) -> Result<(), Refusal> {
        let slot = (self.field.get_mut)(config);
        let mut value = slot.clone();
        self.form.parse(words, when, &mut value)?;
        *slot = value;
        Ok(())
    }
    fn show(&self, config: &C) -> String {
        self.form.show((self.field.get)(config))
    }
    fn lines(&self, config: &C) -> Vec<Vec<String>> {
        self.form.lines((self.field.get)(config))
    }
    fn expected(&self) -> String {
        self.form.expected()
    }
    fn copy(&self, from: &C, to: &mut C) {
        (self.field.get_mut)(to).clone_from((self.field.get)(from));
    }
    fn same(&self, a: &C, b: &C) -> bool {
        (self.field.get)(a) == (self.field.get)(b)
    }
}

struct Within<D, C> {
    access: Arc<dyn Access<C>>,
    part: Lens<D, C>,
}

impl<D, C> Access<D> for Within<D, C> {
    fn arity(&self) -> (usize, usize) {
        self.access.arity()
    }
    fn parse(&self, words: &[&str], when: When, config: &mut D) -> Result<(), Refusal> {
        self.access.parse(words, when, (self.part.get_mut)(config))
    }
    fn show(&self, config: &D) -> String {
        self.access.show((self.part.get)(config))
    }
    fn lines(&self, config: &D) -> Vec<Vec<String>> {
        self.access.lines((self.part.get)(config))
    }
    fn expected(&self) -> String {
        self.access.expected()
    }
    fn copy(&self, from: &D, to: &mut D) {
        self.access
            .copy((self.part.get)(from), (self.part.get_mut)(to));
    }
    fn same(&self, a: &D, b: &D) -> bool {
        self.access.same((self.part.get)(a), (self.part.get)(b))
    }
}

/// Why `CONFIG SET` was refused, in redis-server's words (without the leading `ERR`).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// No such directive.
    #[error("Unknown option or number of arguments for CONFIG SET - '{0}'")]
    Unknown(String),
    /// The directive named here refused its value.
    #[error("CONFIG SET failed (possibly related to argument '{name}') - {reason}")]
    Refused {
        /// As the client spelt it.
        name: String,
        /// Why.
        reason: String,
    },
}

/// The directives of one program.
pub struct Table<C> {
    directives: Vec<Directive<C>>,
    /// Lower-case names and aliases.
    index: HashMap<&'static str, usize>,
    /// Known to the original and without effect here.
    tolerated: HashSet<&'static str>,
}

/// Which directives a rewrite writes lines for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RewriteOf {
    /// Those that the file does not give the right value.
    Changes,
    /// Each.
    All,
}

/// The directives that a file has set so far: a first line replaces a default, a later one may add.
#[derive(Debug, Default)]
pub struct Seen(HashSet<&'static str>);

impl<C: Clone + Default + 'static> Table<C> {
    /// A table of these.
    pub fn new(directives: Vec<Directive<C>>) -> Table<C> {
        let mut index = HashMap::new();
        for (at, directive) in directives.iter().enumerate() {
            for name in [Some(directive.name), directive.alias]
                .into_iter()
                .flatten()
            {
                let earlier = index.insert(name, at);
                assert!(earlier.is_none(), "two definitions of directive {name}");
            }
        }
        Table {
            directives,
            index,
            tolerated: HashSet::new(),
        }
    }

    /// Names that are accepted with any value, kept in the file, and have no effect.
    #[must_use]
    pub fn tolerating(mut self, names: &[&'static str]) -> Table<C> {
        let unknown = |name: &&&'static str| !self.index.contains_key(**name);
        self.tolerated = names.iter().filter(unknown).copied().collect();
        self
    }

    /// The directives, in order.
    pub fn directives(&self) -> &[Directive<C>] {
        &self.directives
    }

    /// The directive of this name or alias, in any case.
    pub fn find(&self, name: &str) -> Option<&Directive<C>> {
        let at = *self.index.get(name.to_ascii_lowercase().as_str())?;
        Some(&self.directives[at])
    }

    /// The name under which a directive is written: aliases are resolved; in lower case.
    pub fn canonical(&self, name: &str) -> Option<&'static str> {
        self.find(name).map(Directive::name)
    }

    /// Applies one line of a file, already split into words. `config` is unchanged after an error.
    ///
    /// # Errors
    /// The line is wrong; the hint says what would be right.
    pub fn apply(&self, config: &mut C, words: &[&str], seen: &mut Seen) -> Result<(), Refusal> {
        let Some((name, values)) = words.split_first() else {
            return Ok(());
        };
        let Some(directive) = self.find(name) else {
            let lower = name.to_ascii_lowercase();
            return if self.tolerated.contains(lower.as_str()) {
                Ok(())
            } else {
                let refusal = Refusal::new("Bad directive or wrong number of arguments");
                Err(match self.nearest(&lower) {
                    Some(near) => {
                        refusal.hint(format!("a known directive; the nearest is '{near}'"))
                    }
                    None => refusal.hint("a known directive"),
                })
            };
        };
        let (least, most) = directive.access.arity();
        // One quoted word may hold several values: `--replicaof "host port"`.
        let held = match values {
            [text] if most > 1 && directive.change != Change::FileOnly => {
                lex::words(text.as_bytes()).unwrap_or(None)
            }
            _ => None,
        };
        let held: Option<Vec<&str>> = held
            .as_ref()
            .map(|words| words.iter().map(String::as_str).collect());
        let values = held.as_deref().unwrap_or(values);
        let parsed = if values.len() < least || values.len() > most {
            Err(Refusal::new(match directive.change {
                Change::FileOnly => "Bad directive or wrong number of arguments",
                Change::AtStart | Change::AtRunTime | Change::Protected => {
                    "wrong number of arguments"
                }
            }))
        } else {
            let when = if seen.0.insert(directive.name) {
                When::FirstLine
            } else {
                When::LaterLine
            };
            directive.access.parse(values, when, config)
        };
        parsed.map_err(|refusal| Refusal {
            hint: refusal.hint.or_else(|| Some(directive.help())),
            ..refusal
        })
    }

    /// `CONFIG GET`: the directives, under the name or alias that `matches`, with their values. `by_pattern`: without the
    /// hidden ones.
    pub fn get(
        &self,
        config: &C,
        by_pattern: bool,
        matches: impl Fn(&'static str) -> bool,
    ) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        for directive in &self.directives {
            if directive.change == Change::FileOnly || by_pattern && directive.is_hidden {
                continue;
            }
            for name in [Some(directive.name), directive.alias]
                .into_iter()
                .flatten()
            {
                if matches(name) {
                    found.push((name, directive.access.show(config)));
                }
            }
        }
        found
    }

    /// `CONFIG SET`: all pairs or none. `protected`: whether protected directives may be changed.
    /// Returns the names of the directives concerned, so that the caller can act on the new values.
    ///
    /// # Errors
    /// The text of the error reply; `config` is then unchanged.
    pub fn set(
        &self,
        config: &mut C,
        pairs: &[(&str, &str)],
        protected: bool,
    ) -> Result<Vec<&'static str>, SetError> {
        let mut changed = config.clone();
        let mut names: Vec<&'static str> = Vec::with_capacity(pairs.len());
        // As in redis-server: the names are all looked at before any value is, and a parameter is called as it was given
        // there, and as it is known where its value is wrong.
        let refused = |name: String, reason: &str| {
            let reason = reason.to_owned();
            SetError::Refused { name, reason }
        };
        let mut directives = Vec::with_capacity(pairs.len());
        for (at, (name, _)) in pairs.iter().enumerate() {
            let directive = self
                .find(name)
                .filter(|directive| directive.change != Change::FileOnly)
                .ok_or_else(|| SetError::Unknown((*name).to_owned()))?;
            let reason = match directive.change {
                Change::AtStart => Some("can't set immutable config"),
                Change::Protected if !protected => Some("can't set protected config"),
                Change::Protected | Change::AtRunTime | Change::FileOnly => None,
            };
            // An older name beside the present one is not the same parameter to redis-server: the last of them holds.
            let is_same = |(other, _): &(&str, &str)| other.eq_ignore_ascii_case(name);
            let is_twice = pairs[..at].iter().any(is_same);
            if let Some(reason) = reason.or(is_twice.then_some("duplicate parameter")) {
                return Err(refused((*name).to_owned(), reason));
            }
            directives.push(directive);
        }
        for (directive, (name, value)) in directives.into_iter().zip(pairs) {
            let bad_value = |reason: &str| refused(name.to_ascii_lowercase(), reason);
            let (least, most) = directive.access.arity();
            // Each blank separates: between two of them is an empty word.
            let words: Vec<&str> = match *value {
                value if most == 1 => vec![value],
                "" => Vec::new(),
                value => value.split(' ').collect(),
            };
            if words.len() < least || words.len() > most {
                return Err(bad_value("wrong number of arguments"));
            }
            directive
                .access
                .parse(&words, When::RunTime, &mut changed)
                .map_err(|refusal| bad_value(&refusal.reason))?;
            if !names.contains(&directive.name) {
                names.push(directive.name);
            }
        }
        *config = changed;
        Ok(names)
    }

    /// The directives, by their names, whose lines a rewrite writes: those that `lines`, a file's with all that it
    /// includes, do not give the value of `config`.
    pub fn changed(&self, config: &C, lines: &[Line], of: RewriteOf) -> HashSet<&'static str> {
        let mut in_file = C::default();
        let mut seen = Seen::default();
        for line in lines {
            let words: Vec<&str> = line.words.iter().map(String::as_str).collect();
            // A line that does not load is the loader's business; here it counts as not there.
            let _ = self.apply(&mut in_file, &words, &mut seen);
        }
        let directives = self.directives.iter();
        let changed = directives.filter(|directive| {
            directive.is_rewritten
                && (of == RewriteOf::All || !directive.access.same(config, &in_file))
        });
        changed.map(|directive| directive.name).collect()
    }

    /// Whether a file needs a line of the directive `name` to give `config`.
    pub fn has_line(&self, name: &str, config: &C) -> bool {
        self.find(name)
            .is_some_and(|directive| !directive.access.lines(config).is_empty())
    }

    /// The text of a file that gives `config`, made from `text` with the operator's comments and order,
    /// for `CONFIG REWRITE`. A directive that has not `changed` is left as it was written.
    pub fn rewrite(&self, config: &C, text: &[u8], changed: &HashSet<&'static str>) -> Vec<u8> {
        let document = Document::parse(text, |mut words| {
            let name = self.canonical(&words[0])?;
            name.clone_into(&mut words[0]);
            Some(LineKey {
                key: Key::Line(name),
                group: None,
                words,
            })
        });
        let mut entries = Vec::new();
        for directive in &self.directives {
            if !changed.contains(directive.name) {
                continue;
            }
            for words in directive.access.lines(config) {
                let line = std::iter::once(directive.name).chain(words.iter().map(String::as_str));
                let text = Arc::from(lex::join(line));
                entries.push(Entry::new(Key::Line(directive.name), None, text));
            }
        }
        let rewritten = document.rewritten(
            |key| matches!(key, Key::Line(name) if changed.contains(name)),
            &entries,
        );
        rewritten.to_bytes()
    }

    /// Sets in `to` what the directive `name` has in `from`; nothing when there is no such directive.
    pub fn copy(&self, name: &str, from: &C, to: &mut C) {
        if let Some(directive) = self.find(name) {
            directive.access.copy(from, to);
        }
    }

    /// A directive whose name is at most two typing errors away.
    fn nearest(&self, name: &str) -> Option<&'static str> {
        const TYPING_ERRORS_MAX: usize = 2;
        self.index
            .keys()
            .map(|known| (lex::edit_distance(known, name), *known))
            .filter(|(distance, _)| *distance <= TYPING_ERRORS_MAX)
            .min()
            .map(|(_, known)| known)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::config::{ConfigErrors, Process, Source, load, process_directives};

    /// A row for each directive of a table: what may follow it, what it is unless something is said, whether `CONFIG`
    /// can change it where there is such a command, and what it means.
    pub(crate) fn rows<C: Clone + Default + 'static>(
        table: &Table<C>,
        defaults: &C,
        has_config: bool,
    ) -> String {
        let row = |directive: &Directive<C>| {
            let escaped = |text: &str| text.replace('|', "\\|").replace('*', "\\*");
            let Directive { name, alias, .. } = directive;
            let alias = alias.map_or(String::new(), |alias| format!(" (or `{alias}`)"));
            let expected = escaped(&directive.access.expected());
            let default = match directive.access.show(defaults) {
                shown if shown.is_empty() => shown,
                shown => format!("`{}`", shown.replace('|', "\\|")),
            };
            let change = match directive.change {
                _ if !has_config => "",
                Change::AtStart if directive.is_hidden => " at start, hidden |",
                Change::AtStart => " at start |",
                Change::AtRunTime if directive.is_hidden => " `CONFIG SET`, hidden |",
                Change::AtRunTime => " `CONFIG SET` |",
                Change::Protected => " `CONFIG SET`, protected |",
                Change::FileOnly => " at start, not shown |",
            };
            let help = escaped(directive.help);
            format!("| `{name}`{alias} | {expected} | {default} |{change} {help} |\n")
        };
        let rows: String = table.directives().iter().map(row).collect();
        let (head, line) = match has_config {
            true => (" set |", " --- |"),
            false => ("", ""),
        };
        format!("| directive | value | default |{head} |\n| --- | --- | --- |{line} --- |\n{rows}")
    }

    fn table() -> Table<Process> {
        Table::new(process_directives()).tolerating(&["save", "port"])
    }

    fn load(lines: &[&str]) -> Result<Process, Refusal> {
        let mut process = Process::default();
        let mut seen = Seen::default();
        for line in lines {
            let words = lex::words(line.as_bytes())?.unwrap();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            table().apply(&mut process, &words, &mut seen)?;
        }
        Ok(process)
    }

    #[test]
    fn reasons_are_those_of_redis_server() {
        for (line, reason) in [
            (
                "port 70000",
                "argument must be between 0 and 65535 inclusive",
            ),
            ("port x", "argument couldn't be parsed into an integer"),
            ("port", "wrong number of arguments"),
            ("foo bar", "Bad directive or wrong number of arguments"),
            (
                "rename-command GET",
                "Bad directive or wrong number of arguments",
            ),
            ("protected-mode maybe", "argument must be 'yes' or 'no'"),
            (
                "supervised x",
                "argument(s) must be one of the following: upstart, systemd, auto, no",
            ),
            ("dir /nonexistent", "No such file or directory"),
            ("user", "Bad directive or wrong number of arguments"),
            ("port \"70", "Unbalanced quotes in configuration line"),
            (
                "client-output-buffer-limit normal 1",
                "Wrong number of arguments in buffer limit configuration.",
            ),
            (
                "client-output-buffer-limit foo 1 2 3",
                "Invalid client class specified in buffer limit configuration.",
            ),
            (
                "enable-debug-command x",
                "argument(s) must be one of the following: no, yes, local",
            ),
        ] {
            let refusal = load(&[line]).unwrap_err();
            assert_eq!(refusal.reason, reason, "{line}");
            assert!(refusal.hint.is_some(), "{line} says what would be right");
        }
        assert_eq!(
            load(&["prot 1"]).unwrap_err().hint.as_deref(),
            Some("a known directive; the nearest is 'port'")
        );
    }

    #[test]
    fn lines_set_and_add() {
        let process = load(&[
            "PORT 1",
            "port 2",
            "save 900 1",
            "bind 127.0.0.1 -::1",
            "client-output-buffer-limit normal 1kb 2 3 pubsub 4 5 6",
            "client-output-buffer-limit replica 7 8 9",
            "user alice on >\"a b\" +@all",
            "rename-command config \"\"",
        ])
        .unwrap();
        assert_eq!(process.port, 2);
        assert_eq!(process.bind, ["127.0.0.1", "-::1"]);
        assert_eq!(
            table().get(&process, true, |name| name.starts_with("client-output")),
            [(
                "client-output-buffer-limit",
                "normal 1024 2 3 slave 7 8 9 pubsub 4 5 6".to_owned()
            )]
        );
        assert_eq!(
            process.rename_commands,
            [("config".to_owned(), String::new())]
        );
    }

    #[test]
    fn set_is_all_or_nothing() {
        let mut process = Process::default();
        let before = process.clone();
        let mut check = |pairs: &[(&str, &str)], error: &str| {
            let refused = table().set(&mut process, pairs, false).unwrap_err();
            assert_eq!(refused.to_string(), error);
            assert_eq!(process, before);
        };
        check(
            &[("timeout", "5"), ("loglevel", "foo")],
            "CONFIG SET failed (possibly related to argument 'loglevel') - argument(s) must be one of \
             the following: debug, verbose, notice, warning, nothing",
        );
        check(
            &[("port", "1"), ("nosuch", "2")],
            "Unknown option or number of arguments for CONFIG SET - 'nosuch'",
        );
        check(
            &[("rename-command", "x")],
            "Unknown option or number of arguments for CONFIG SET - 'rename-command'",
        );
        check(
            &[("timeout", "1"), ("TIMEOUT", "2")],
            "CONFIG SET failed (possibly related to argument 'TIMEOUT') - duplicate parameter",
        );
        check(
            &[("dir", "/")],
            "CONFIG SET failed (possibly related to argument 'dir') - can't set protected config",
        );
        check(
            &[("daemonize", "yes")],
            "CONFIG SET failed (possibly related to argument 'daemonize') - can't set immutable config",
        );
        let names = table().set(
            &mut process,
            &[("Timeout", "5"), ("bind", "127.0.0.1 ::1")],
            false,
        );
        assert_eq!(names.unwrap(), ["timeout", "bind"]);
        assert_eq!(process.timeout.as_secs(), 5);
        assert_eq!(process.bind, ["127.0.0.1", "::1"]);
    }

    /// What a rewrite makes of a file that includes nothing.
    pub(crate) fn rewritten<C: Clone + Default + 'static>(
        table: &Table<C>,
        config: &C,
        text: &[u8],
        of: RewriteOf,
    ) -> Vec<u8> {
        let mut errors = ConfigErrors::default();
        let source = Source::Stdin(text.to_vec());
        let lines = load::read(&source, &|_| false, &mut errors).unwrap().lines;
        table.rewrite(config, text, &table.changed(config, &lines, of))
    }

    #[test]
    fn a_rewrite_touches_only_what_changed() {
        let before = "# mine\nPort   7000\ntimeout 0\nlogfile \"\"\nfoo bar\n";
        let mut process = load(&["port 7000"]).unwrap();
        process.timeout = std::time::Duration::from_secs(9);
        process.requirepass = Some(Arc::from("a b"));
        let after = rewritten(&table(), &process, before.as_bytes(), RewriteOf::Changes);
        assert_eq!(
            String::from_utf8(after).unwrap(),
            "# mine\nPort   7000\ntimeout 9\nlogfile \"\"\nfoo bar\n\n\
             # Generated by CONFIG REWRITE\nrequirepass \"a b\"\n"
        );
    }

    #[test]
    fn every_default_is_read_back() {
        let before = Process {
            users: vec!["user bob on #00 \"~x y\" -@all".to_owned()],
            ..Process::default()
        };
        let text = rewritten(
            &table(),
            &before,
            b"port 1\nbind ::1\ntls-auth-clients no\nsyslog-ident x\n",
            RewriteOf::Changes,
        );
        let text = String::from_utf8(text).unwrap();
        let lines: Vec<&str> = text
            .lines()
            .filter(|l| !l.is_empty() && !l.starts_with('#'))
            .collect();
        assert_eq!(load(&lines).unwrap(), before, "{text}");
    }
}

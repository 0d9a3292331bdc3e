//! Access control: users, their passwords and rights, and the log of what was denied.

mod command_set;
mod commands;
mod file;
mod log;
mod selector;
mod user;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;

use super::ErrorText;
use super::table::{Catalog, CommandId};
use crate::config::lex;
use crate::config::process::AclPubsub;
use crate::resp::Word;

pub use commands::acl_commands;
pub use log::{AclLog, LogEntry, Reason};
pub(super) use selector::category_bit;
pub use selector::{Denied, RuleError, Selector};
pub use user::{SanitizePayload, User, UserRef, hash_password, implies_default_user};

/// What rules begin with and refer to.
struct RuleBase {
    catalog: Rc<Catalog>,
    /// `acl-pubsub-default`: the channels of new users and selectors.
    pubsub_default: AclPubsub,
}

/// All users of a program.
pub struct Acl {
    base: RuleBase,
    users: BTreeMap<Vec<u8>, UserRef>,
    default: UserRef,
    file: Option<PathBuf>,
    /// What was denied.
    pub log: AclLog,
}

/// Why users were not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AclError {
    /// A rule is none.
    #[error("{}", String::from_utf8_lossy(wrong_rule("", rule, error).as_ref()))]
    Rule {
        /// The rule.
        rule: Vec<u8>,
        /// What is wrong with it.
        error: RuleError,
    },
    /// A selector is not closed.
    #[error("{}", String::from_utf8_lossy(unmatched("", .0).as_ref()))]
    Unmatched(Vec<u8>),
    /// The name cannot be written in a file.
    #[error("Usernames can't contain spaces or null characters")]
    Name,
    /// More users than [`USERS_MAX`].
    #[error("Too many users")]
    TooManyUsers,
    /// A configuration, which is text, cannot hold it.
    #[error("The rules of user '{0}' are not UTF-8: only an ACL file can hold them")]
    NotText(String),
    /// `ACL LOAD` and `SAVE` without a file.
    #[error(
        "This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order to store users in the Redis configuration."
    )]
    NoFile,
    /// The file cannot be read, understood or written.
    #[error("{0}")]
    File(String),
}

impl AclError {
    /// The reply to the client whose words caused it.
    fn text(&self) -> ErrorText {
        match self {
            AclError::Rule { rule, error } => wrong_rule("ERR ", rule, error),
            AclError::Unmatched(rule) => unmatched("ERR ", rule),
            AclError::Name
            | AclError::TooManyUsers
            | AclError::NotText(_)
            | AclError::NoFile
            | AclError::File(_) => format!("ERR {self}").into(),
        }
    }
}

fn wrong_rule(mark: &'static str, rule: &[u8], error: &RuleError) -> ErrorText {
    ErrorText::from(mark)
        .text("Error in ACL SETUSER modifier '")
        .word(rule)
        .text(&format!("': {error}"))
}

fn unmatched(mark: &'static str, rule: &[u8]) -> ErrorText {
    ErrorText::from(mark)
        .text("Unmatched parenthesis in acl selector starting at '")
        .word(rule)
        .text("'.")
}

/// The most users.
pub const USERS_MAX: usize = 100_000;

impl Acl {
    /// Only the default user, without a password.
    pub fn new(catalog: &Rc<Catalog>) -> Acl {
        let base = RuleBase {
            catalog: Rc::clone(catalog),
            pubsub_default: AclPubsub::ResetChannels,
        };
        let default = Rc::new(RefCell::new(User::default_user(&base)));
        Acl {
            base,
            users: BTreeMap::from([(b"default".to_vec(), Rc::clone(&default))]),
            default,
            file: None,
            log: AclLog::default(),
        }
    }

    /// `acl-pubsub-default`: which channels users and selectors have that are made or reset from now on.
    pub fn set_pubsub_default(&mut self, channels: AclPubsub) {
        self.base.pubsub_default = channels;
    }

    /// The user of clients that have not authenticated.
    pub fn default_user(&self) -> UserRef {
        Rc::clone(&self.default)
    }

    /// Whether clients need not authenticate.
    pub fn default_is_open(&self) -> bool {
        let user = self.default.borrow();
        user.is_nopass() && user.is_enabled()
    }

    /// Whether a password would keep nobody away: the default user needs none, should it be enabled.
    pub fn default_has_no_password(&self) -> bool {
        self.default.borrow().is_nopass()
    }

    /// A user by name.
    pub fn user(&self, name: &[u8]) -> Option<&UserRef> {
        self.users.get(name)
    }

    /// All users by name, in alphabetical order.
    pub fn users(&self) -> impl Iterator<Item = &UserRef> {
        self.users.values()
    }

    /// Whether a connection's user is still one of the users.
    pub fn is_current(&self, user: &UserRef) -> bool {
        let name = Rc::clone(user.borrow().name());
        let known = self.users.get(&*name);
        known.is_some_and(|known| Rc::ptr_eq(known, user))
    }

    /// Makes a user, or changes the one that has this name: all rules apply, or none.
    ///
    /// # Errors
    /// The name or a rule is wrong.
    pub fn set_user(&mut self, name: &[u8], rules: &[impl AsRef<[u8]>]) -> Result<(), AclError> {
        let base = self.users.get(name).map(|user| user.borrow().clone());
        let user = self.build_user(base, name, rules)?;
        self.admit(name, user)
    }

    /// Makes a user of exactly these rules: a `user` line of a configuration.
    ///
    /// # Errors
    /// The name or a rule is wrong.
    pub fn define_user(&mut self, name: &[u8], rules: &[impl AsRef<[u8]>]) -> Result<(), AclError> {
        let mut base = self.users.get(name).map(|user| user.borrow().clone());
        if let Some(user) = &mut base {
            user.reset(&self.base);
        }
        let user = self.build_user(base, name, rules)?;
        self.admit(name, user)
    }

    fn admit(&mut self, name: &[u8], user: User) -> Result<(), AclError> {
        if self.users.len() >= USERS_MAX && !self.users.contains_key(name) {
            return Err(AclError::TooManyUsers);
        }
        self.put(name.to_vec(), user);
        Ok(())
    }

    /// The user that the rules make of `base`, or of a new one.
    fn build_user(
        &self,
        base: Option<User>,
        name: &[u8],
        rules: &[impl AsRef<[u8]>],
    ) -> Result<User, AclError> {
        if !is_plain(name) {
            return Err(AclError::Name);
        }
        let mut user = base.unwrap_or_else(|| User::new(name, &self.base));
        for rule in join_selectors(rules)? {
            if let Err(error) = user.apply(&rule, &self.base) {
                return Err(AclError::Rule { rule, error });
            }
        }
        Ok(user)
    }

    /// Puts a user in place; connections that have it get the new rights at once.
    fn put(&mut self, name: Vec<u8>, user: User) {
        match self.users.get(&name) {
            Some(known) => *known.borrow_mut() = user,
            None => {
                self.users.insert(name, Rc::new(RefCell::new(user)));
            }
        }
    }

    /// Removes a user other than `default`; its connections are the caller's to close.
    pub fn remove_user(&mut self, name: &[u8]) -> bool {
        name != b"default" && self.users.remove(name).is_some()
    }

    /// All users as they are shown: `user <name> <rules>`.
    pub fn user_lines(&self) -> Vec<Vec<u8>> {
        self.lines(User::describe)
    }

    /// The same as lines of an ACL file.
    fn file_lines(&self) -> Vec<Vec<u8>> {
        self.lines(User::describe_for_file)
    }

    fn lines(&self, rules: fn(&User, &Catalog) -> Vec<u8>) -> Vec<Vec<u8>> {
        let of = |user: &UserRef| {
            let user = user.borrow();
            let rules = rules(&user, &self.base.catalog);
            [b"user".as_slice(), user.name(), &rules].join(&b' ')
        };
        self.users().map(of).collect()
    }

    /// The same as lines of a configuration, each where it is text.
    pub fn text_lines(&self) -> impl Iterator<Item = Result<String, AclError>> {
        self.file_lines().into_iter().map(|line| {
            String::from_utf8(line).map_err(|error| {
                let name = error.as_bytes().split(|b| *b == b' ').nth(1);
                AclError::NotText(String::from_utf8_lossy(name.unwrap_or_default()).into_owned())
            })
        })
    }

    /// The `user` lines that a configuration file needs, where it has `before` now: all users, but for a
    /// default user that is what `requirepass` makes of it and has no line. With an ACL file the users
    /// are not the configuration's: `before`.
    ///
    /// # Errors
    /// One of them is not text.
    pub fn lines_for_config(
        &self,
        requirepass: Option<&str>,
        before: &[String],
    ) -> Result<Vec<String>, AclError> {
        if self.file.is_some() {
            return Ok(before.to_vec());
        }
        let is_default = |line: &str| line.split_ascii_whitespace().nth(1) == Some("default");
        let has_line = before.iter().any(|line| is_default(line));
        let needs_line = |words: &Vec<&str>| {
            has_line || words[1] != "default" || !implies_default_user(requirepass, &words[2..])
        };
        let lines: Vec<String> = self.text_lines().collect::<Result<_, _>>()?;
        let words = lines
            .iter()
            .map(|line| line.split_ascii_whitespace().collect());
        Ok(words.filter(needs_line).map(lex::join).collect())
    }

    /// `requirepass`: the only password of the default user; `None` or an empty one opens it.
    pub fn set_requirepass(&mut self, password: Option<&[u8]>) {
        let mut user = self.default.borrow_mut();
        let mut apply = |rule: &[u8]| {
            user.apply(rule, &self.base)
                .expect("a password rule is valid");
        };
        apply(b"resetpass");
        match password.filter(|password| !password.is_empty()) {
            Some(password) => apply(&[b">", password].concat()),
            None => apply(b"nopass"),
        }
    }

    /// The user whom these credentials open.
    pub fn authenticate(&self, name: &[u8], password: &[u8]) -> Option<UserRef> {
        let user = self.users.get(name)?;
        user.borrow().accepts(password).then(|| Rc::clone(user))
    }

    /// Whether a user may run a request.
    ///
    /// # Errors
    /// What the user lacks.
    pub fn check(
        &self,
        user: &UserRef,
        command: CommandId,
        words: &[Word<'_>],
    ) -> Result<(), Denied> {
        let user = user.borrow();
        let mut worst = Denied::Command;
        for selector in user.selectors() {
            if selector.is_unrestricted() {
                return Ok(());
            }
            match selector.check(command, words, &self.base.catalog) {
                Ok(()) => return Ok(()),
                Err(denied) => worst = worst.max(denied),
            }
        }
        Err(worst)
    }

    /// Whether a user may run a request and reach every key besides: for keys that follow from data.
    pub fn has_all_keys(&self, user: &UserRef, command: CommandId, words: &[Word<'_>]) -> bool {
        let user = user.borrow();
        let mut selectors = user.selectors().iter();
        selectors.any(|selector| selector.check_with_all_keys(command, words, &self.base.catalog))
    }
}

/// Whether it can be a name or a pattern: those stand in files and lists, between spaces. Blanks are those of C, with the
/// vertical tab.
fn is_plain(word: &[u8]) -> bool {
    !word.iter().any(|b| matches!(b, 0 | b'\t'..=b'\r' | b' '))
}

/// The rules with those of each selector put together: `(+get`, `~a)` is one rule.
fn join_selectors(rules: &[impl AsRef<[u8]>]) -> Result<Vec<Vec<u8>>, AclError> {
    let mut joined: Vec<Vec<u8>> = Vec::new();
    let mut rules = rules.iter().map(AsRef::as_ref);
    while let Some(first) = rules.next() {
        let mut rule = first.to_vec();
        let mut last = first;
        while first.starts_with(b"(") && !last.ends_with(b")") {
            last = rules
                .next()
                .ok_or_else(|| AclError::Unmatched(first.to_vec()))?;
            rule.push(b' ');
            // As with redis-server a zero byte ends it, and takes its parenthesis away.
            rule.extend(last.iter().take_while(|b| **b != 0));
        }
        joined.push(rule);
    }
    Ok(joined)
}

impl Denied {
    /// The reply of redis-server 7.0.
    pub fn message(&self, command: &str) -> String {
        match self {
            Denied::Command => {
                format!("NOPERM this user has no permissions to run the '{command}' command")
            }
            Denied::Key(_) => "NOPERM this user has no permissions to access one of the keys used \
                               as arguments"
                .to_owned(),
            Denied::Channel(_) => "NOPERM this user has no permissions to access one of the \
                                   channels used as arguments"
                .to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::front::spec::{CommandSpec, KeySpec, category, flag, key};
    use crate::front::table::{AbsentCommand, Lookup, Table};

    fn table() -> Table<()> {
        let spec = |name, arity| CommandSpec::<()>::new(name, arity, |(), _, _| {});
        let commands = [
            spec("get", 2)
                .flags(flag::READONLY | flag::FAST)
                .acl(category::STRING)
                .keys([KeySpec::one(1, key::RO | key::ACCESS)]),
            spec("set", -3)
                .flags(flag::WRITE)
                .acl(category::STRING)
                .keys([KeySpec::one(
                    1,
                    key::RW | key::ACCESS | key::UPDATE | key::VARIABLE_FLAGS,
                )]),
            spec("select", 2).flags(flag::FAST),
            spec("publish", 3)
                .flags(flag::PUBSUB)
                .channels(crate::front::Channels::Publish),
            spec("client", -2)
                .subcommands(vec![spec("list", 2), spec("kill", -3).flags(flag::ADMIN)]),
        ];
        let absent = |name, categories, subcommands| AbsentCommand {
            name,
            categories,
            subcommands,
        };
        let absent = [
            absent("eval", category::SCRIPTING | category::SLOW, &[]),
            absent("xadd", category::STREAM | category::WRITE, &[]),
            absent("cluster", category::SLOW, &[("info", category::SLOW)]),
        ];
        Table::new(commands, &absent)
    }

    /// Applies `rules` to a new user and tries `requests`, each with `+` or `-` for the outcome.
    fn check(rules: &str, requests: &[&str]) {
        let table = table();
        let mut acl = Acl::new(table.catalog());
        let rules: Vec<&str> = rules.split(' ').collect();
        acl.set_user(b"u", &rules).unwrap();
        let user = Rc::clone(acl.user(b"u").unwrap());
        for request in requests {
            let words: Vec<Word<'_>> = request[1..].split(' ').map(Word::from).collect();
            let Lookup::Found(id) = table.lookup(&words) else {
                panic!("no command {request}");
            };
            let allowed = acl.check(&user, id, &words).is_ok();
            assert_eq!(allowed, request.starts_with('+'), "{rules:?}: {request}");
        }
    }

    #[test]
    fn a_configuration_gets_the_users_that_it_does_not_imply() {
        let table = table();
        let mut acl = Acl::new(table.catalog());
        acl.set_requirepass(Some(b"secret"));
        let none: [String; 0] = [];
        assert_eq!(acl.lines_for_config(Some("secret"), &none).unwrap(), none);
        acl.set_user(b"q\"", &["on", "nopass", "+get", "~a"])
            .unwrap();
        let lines = acl.lines_for_config(Some("secret"), &none).unwrap();
        let [quoted] = lines.as_slice() else {
            panic!("{lines:?}");
        };
        let words = lex::words(quoted.as_bytes()).unwrap().unwrap();
        assert_eq!(words[1], "q\"");
        // A password that is no longer the configured one, and a line that is there already.
        assert_eq!(acl.lines_for_config(None, &none).unwrap().len(), 2);
        let before = ["user default on nopass ~* &* +@all".to_owned()];
        assert_eq!(
            acl.lines_for_config(Some("secret"), &before).unwrap().len(),
            2
        );
        acl.set_file(Some("users.acl".into()));
        assert_eq!(acl.lines_for_config(None, &before).unwrap(), before);
    }

    #[test]
    fn a_set_reads_only_with_get() {
        check(
            "+@all %W~a",
            &["+set a 1", "+set a get", "-set a 1 NX Get", "-get a"],
        );
        check("+@all %R~a", &["-set a 1", "-set a 1 get", "+get a"]);
    }

    #[test]
    fn commands_categories_and_first_arguments() {
        check("+get ~*", &["+get a", "-set a 1", "-client list"]);
        check(
            "+@all -@string ~*",
            &["-get a", "+client kill 1", "+select 1"],
        );
        check(
            "+@all -client +client|list",
            &["+client list", "-client kill 1"],
        );
        check("+client -client|kill", &["+client list", "-client kill 1"]);
        check("+select|0", &["+select 0", "-select 1"]);
        check("+@all -select +select|0", &["+select 0", "-select 1"]);
        check("+@read ~* nocommands", &["-get a"]);
    }

    #[test]
    fn keys_channels_and_selectors() {
        check(
            "+@all %R~r* ~k*",
            &["+get r1", "-set r1 x", "+set k x", "-get z"],
        );
        check(
            "+publish &news*",
            &["+publish news:a m", "-publish other m"],
        );
        check(
            "+get ~a (+set ~b)",
            &["+get a", "-get b", "+set b x", "-set a x"],
        );
    }

    #[test]
    fn a_described_user_is_the_same_user() {
        let table = table();
        for rules in [
            "on >secret ~k* %R~r* &c +get (+@all ~x) -select",
            "on nopass allkeys allchannels +@all -@string +get",
            "off sanitize-payload +select|0 +select|1 +client -client|kill",
            "",
        ] {
            let rules: Vec<&str> = rules.split(' ').collect();
            let mut acl = Acl::new(table.catalog());
            acl.set_user(b"u", &rules).unwrap();
            let line = acl.user(b"u").unwrap().borrow().describe(table.catalog());
            let words: Vec<&[u8]> = line.split(|b| *b == b' ').collect();
            acl.set_user(b"v", &words).unwrap();
            assert_eq!(
                acl.user(b"v").unwrap().borrow().describe(table.catalog()),
                line,
                "{rules:?}"
            );
        }
    }

    #[test]
    fn what_is_in_a_selector_is_read_from_a_file_as_the_same() {
        let table = table();
        let folder = tempfile::tempdir().unwrap();
        let mut acl = Acl::new(table.catalog());
        acl.set_file(Some(folder.path().join("users.acl")));
        for rule in [
            r#"("~\"x\"" +get)"#,
            r#"("~'" "&a\\'b" "%R~\"")"#,
            "(~a) +get)",
            r#"(~a\\b +get "+select|\"x)")"#,
            r"(~\ ~a)b ~(c)",
        ] {
            acl.set_user(b"u", &["sanitize-payload", "~\"", rule])
                .unwrap();
            let before = acl.user_lines();
            acl.save_file().unwrap();
            let lines = acl.text_lines().collect::<Result<Vec<_>, _>>();
            acl.load_file().unwrap();
            assert_eq!(acl.user_lines(), before, "{rule}");
            let lines = lines.unwrap();
            let words: Vec<&str> = lines[1].split(' ').collect();
            acl.define_user(b"u", &words[2..]).unwrap();
            assert_eq!(acl.user_lines(), before, "{rule}");
            acl.set_user(b"u", &["reset"]).unwrap();
        }
    }

    #[test]
    fn rules_about_absent_commands_are_kept() {
        check("+@all ~* -eval -@scripting", &["+get a"]);
        check("+eval +xadd|k +cluster|info ~*", &["-get a"]);
        let table = table();
        let mut acl = Acl::new(table.catalog());
        let mut described = |rules: &str| {
            let rules: Vec<&str> = rules.split(' ').collect();
            acl.set_user(b"u", &rules).unwrap();
            let user = acl.user(b"u").unwrap().borrow();
            String::from_utf8(user.selectors()[0].describe_commands(table.catalog())).unwrap()
        };
        assert_eq!(described("+@all -EVAL"), "+@all -@scripting");
        assert_eq!(described("+xadd|K +xadd|k"), "+@all -@scripting");
        assert_eq!(
            described("-xadd +xadd|K +xadd|k"),
            "+@all -@stream -@scripting +xadd|K"
        );
        assert_eq!(described("nocommands +cluster|info"), "-@all +cluster|info");
        assert_eq!(
            described("-@all +cluster +eval|x"),
            "-@all +eval|x +cluster"
        );
        for rule in ["-evil", "+eval| x", "+eval|", "+cluster|x", "-@nosuch"] {
            assert!(acl.set_user(b"u", &[rule]).is_err(), "{rule}");
        }
        let error = acl.set_user(b"u", &["+cluster|info|x"]).unwrap_err();
        assert!(error.to_string().contains("first-arg of a subcommand"));
    }

    #[test]
    fn a_bad_rule_changes_nothing() {
        let table = table();
        let mut acl = Acl::new(table.catalog());
        let error = acl.set_user(b"u", &["on", "+nothing"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Error in ACL SETUSER modifier '+nothing': Unknown command or category name in ACL"
        );
        assert!(acl.user(b"u").is_none());
        let error = acl.set_user(b"u", &["(+get", "~a"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Unmatched parenthesis in acl selector starting at '(+get'."
        );
    }

    #[test]
    fn passwords_are_checked_by_their_hash() {
        let table = table();
        let mut acl = Acl::new(table.catalog());
        acl.set_user(b"u", &["on", ">one", ">two", "<one"]).unwrap();
        assert!(acl.authenticate(b"u", b"one").is_none());
        assert!(acl.authenticate(b"u", b"two").is_some());
        acl.set_user(b"u", &["off"]).unwrap();
        assert!(acl.authenticate(b"u", b"two").is_none());
        acl.set_requirepass(Some(b"secret"));
        assert!(!acl.default_is_open());
        assert!(acl.authenticate(b"default", b"secret").is_some());
        acl.set_requirepass(None);
        assert!(acl.default_is_open());
    }

    #[test]
    fn names_and_patterns_need_not_be_text() {
        let table = table();
        let folder = tempfile::tempdir().unwrap();
        let mut acl = Acl::new(table.catalog());
        let rules: [&[u8]; 6] = [
            b"on",
            b"nopass",
            b"~\xfe*",
            b"&\xfd",
            b"+select|\xfc",
            b"+get",
        ];
        for name in [b"\xff", b"\xfe"] {
            acl.set_user(name, &rules).unwrap();
        }
        let name = acl.user(b"\xff").unwrap().borrow().name().to_vec();
        assert_eq!(name, b"\xff");
        assert!(acl.is_current(acl.user(b"\xff").unwrap()));
        let error = acl.lines_for_config(None, &[]).unwrap_err();
        assert!(matches!(error, AclError::NotText(_)), "{error}");
        let before = acl.user_lines();
        acl.set_file(Some(folder.path().join("users.acl")));
        acl.save_file().unwrap();
        let mut other = Acl::new(table.catalog());
        other.set_file(Some(folder.path().join("users.acl")));
        other.load_file().unwrap();
        assert_eq!(other.user_lines(), before);
        let user = Rc::clone(other.user(b"\xff").unwrap());
        for (key, is_allowed) in [(b"\xfe1", true), (b"\xff1", false)] {
            let words = [Word::from("get"), Word::Part(key)];
            let Lookup::Found(get) = table.lookup(&words) else {
                panic!("no command");
            };
            assert_eq!(other.check(&user, get, &words).is_ok(), is_allowed);
        }
    }

    #[test]
    fn a_file_is_loaded_as_a_whole_or_not_at_all() {
        let table = table();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.acl");
        let mut acl = Acl::new(table.catalog());
        assert_eq!(acl.load_file(), Err(AclError::NoFile));
        acl.set_file(Some(path.clone()));
        acl.set_user(b"u", &["on", "+get", "~*"]).unwrap();
        acl.save_file().unwrap();
        let connected = Rc::clone(acl.user(b"u").unwrap());
        acl.set_user(b"other", &["on"]).unwrap();
        acl.load_file().unwrap();
        assert!(
            acl.is_current(&connected),
            "an unchanged user keeps its connections"
        );
        assert!(acl.user(b"other").is_none());
        std::fs::write(&path, "user u off\nuser v +nothing\n").unwrap();
        let error = acl.load_file().unwrap_err().to_string();
        assert!(error.contains("users.acl:2:"), "{error}");
        assert!(acl.user(b"u").unwrap().borrow().is_enabled());
    }
}

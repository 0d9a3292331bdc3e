//! Users and what they may do.

use std::cell::RefCell;
use std::rc::Rc;

use sha2::{Digest, Sha256};

use super::RuleBase;
use super::selector::{RuleError, Selector};
use crate::front::error_text::until_zero;
use crate::front::table::Catalog;
use crate::ids::hex;
use crate::resp::split_words;

/// Whether a user's `RESTORE` payloads are checked thoroughly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SanitizePayload {
    /// Not said.
    #[default]
    Unset,
    /// `sanitize-payload`
    Yes,
    /// `skip-sanitize-payload`
    Skip,
}

/// A user, with its passwords and rights.
#[derive(Clone, Debug)]
pub struct User {
    name: Rc<[u8]>,
    enabled: bool,
    nopass: bool,
    sanitize_payload: SanitizePayload,
    /// SHA-256 of each password, in lower-case hex.
    passwords: Vec<String>,
    /// The rights; the first is the root selector, the others come from `(…)` rules.
    selectors: Vec<Selector>,
}

/// A user that connections share: what `ACL SETUSER` changes holds for them at once.
pub type UserRef = Rc<RefCell<User>>;

/// The most passwords and selectors of one user, and patterns of one selector.
pub(super) const RULES_PER_USER_MAX: usize = 10_000;

impl User {
    /// A new user: off, without a password, with the rights of a new selector.
    pub(super) fn new(name: &[u8], base: &RuleBase) -> User {
        User {
            name: Rc::from(name),
            enabled: false,
            nopass: false,
            sanitize_payload: SanitizePayload::Unset,
            passwords: Vec::new(),
            selectors: vec![Selector::new(base)],
        }
    }

    /// The user of clients that have not authenticated: may do everything, needs no password.
    pub(super) fn default_user(base: &RuleBase) -> User {
        let mut user = User::new(b"default", base);
        for rule in ["on", "nopass", "~*", "&*", "+@all"] {
            user.apply(rule.as_bytes(), base)
                .expect("the default user's rules are valid");
        }
        user
    }

    /// Its name, which need not be text.
    pub fn name(&self) -> &Rc<[u8]> {
        &self.name
    }

    /// `on`
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// `nopass`
    pub fn is_nopass(&self) -> bool {
        self.nopass
    }

    /// The SHA-256 of its passwords.
    pub fn passwords(&self) -> &[String] {
        &self.passwords
    }

    /// The root selector and the others.
    pub fn selectors(&self) -> &[Selector] {
        &self.selectors
    }

    /// Whether `password` opens this user.
    pub fn accepts(&self, password: &[u8]) -> bool {
        if !self.enabled {
            return false;
        }
        let hash = hash_password(password);
        // Every stored hash is compared to its end, so that the time tells nothing.
        let known = self.passwords.iter().fold(false, |found, stored| {
            let differs = stored
                .bytes()
                .zip(hash.bytes())
                .fold(0, |bits, (a, b)| bits | (a ^ b));
            found | (differs == 0)
        });
        self.nopass || known
    }

    /// Applies one rule of `ACL SETUSER`. On an error the user is as before.
    ///
    /// # Errors
    /// Why the rule is none.
    pub(super) fn apply(&mut self, rule: &[u8], base: &RuleBase) -> Result<(), RuleError> {
        let word = String::from_utf8_lossy(until_zero(rule)).to_ascii_lowercase();
        match word.as_str() {
            _ if rule.is_empty() => {}
            "on" => self.enabled = true,
            "off" => self.enabled = false,
            "nopass" => {
                self.nopass = true;
                self.passwords.clear();
            }
            "resetpass" => {
                self.nopass = false;
                self.passwords.clear();
            }
            "sanitize-payload" => self.sanitize_payload = SanitizePayload::Yes,
            "skip-sanitize-payload" => self.sanitize_payload = SanitizePayload::Skip,
            "clearselectors" => self.selectors.truncate(1),
            "reset" => self.reset(base),
            _ => return self.apply_marked(rule, base),
        }
        Ok(())
    }

    /// `reset`: as a new user.
    pub(super) fn reset(&mut self, base: &RuleBase) {
        *self = User::new(&self.name, base);
        self.sanitize_payload = SanitizePayload::Yes;
    }

    fn apply_marked(&mut self, rule: &[u8], base: &RuleBase) -> Result<(), RuleError> {
        match rule {
            [b'>', password @ ..] => self.add_password(hash_password(password)),
            [b'#', hash @ ..] => self.add_password(checked_hash(hash)?),
            [b'<', password @ ..] => self.remove_password(&hash_password(password)),
            [b'!', hash @ ..] => self.remove_password(&checked_hash(hash)?),
            [b'(', inner @ .., b')'] => {
                if self.selectors.len() >= RULES_PER_USER_MAX {
                    return Err(RuleError::TooMany);
                }
                let mut selector = Selector::new(base);
                // As in redis-server, one with unbalanced quotes has no rules at all.
                for part in split_words(inner).unwrap_or_default() {
                    selector.apply(&part, &base.catalog)?;
                }
                self.selectors.push(selector);
                Ok(())
            }
            _ => self.selectors[0].apply(rule, &base.catalog),
        }
    }

    fn add_password(&mut self, hash: String) -> Result<(), RuleError> {
        if self.passwords.len() >= RULES_PER_USER_MAX {
            return Err(RuleError::TooMany);
        }
        if !self.passwords.contains(&hash) {
            self.passwords.push(hash);
        }
        self.nopass = false;
        Ok(())
    }

    fn remove_password(&mut self, hash: &str) -> Result<(), RuleError> {
        let at = self.passwords.iter().position(|known| known == hash);
        self.passwords.remove(at.ok_or(RuleError::NoSuchPassword)?);
        Ok(())
    }

    /// The flags as `ACL GETUSER` lists them.
    pub fn flag_names(&self) -> Vec<&'static str> {
        let mut names = vec![if self.enabled { "on" } else { "off" }];
        if self.nopass {
            names.push("nopass");
        }
        match self.sanitize_payload {
            SanitizePayload::Unset => {}
            SanitizePayload::Yes => names.push("sanitize-payload"),
            SanitizePayload::Skip => names.push("skip-sanitize-payload"),
        }
        names
    }

    /// All of it as rules, as they are shown.
    pub fn describe(&self, catalog: &Catalog) -> Vec<u8> {
        self.rules(catalog, |rules| rules)
    }

    /// The same as in a file after `user <name>`: read back, they are this user.
    pub fn describe_for_file(&self, catalog: &Catalog) -> Vec<u8> {
        self.rules(catalog, |rules| {
            let words = rules.split(|b| *b == b' ').map(quoted_in_selector);
            words.collect::<Vec<_>>().join(&b' ')
        })
    }

    fn rules(&self, catalog: &Catalog, in_selector: fn(Vec<u8>) -> Vec<u8>) -> Vec<u8> {
        let mut rules = self.flag_names().join(" ").into_bytes();
        for hash in &self.passwords {
            rules.extend_from_slice(b" #");
            rules.extend_from_slice(hash.as_bytes());
        }
        for (i, selector) in self.selectors.iter().enumerate() {
            let described = selector.describe(catalog);
            if i == 0 {
                rules.push(b' ');
                rules.extend_from_slice(&described);
            } else {
                rules.extend_from_slice(b" (");
                rules.extend_from_slice(&in_selector(described));
                rules.push(b')');
            }
        }
        rules
    }
}

/// A rule of a selector so that it is read back as the same: with quotes where it has some, or a parenthesis, which
/// would end the selector. There is no blank in it.
fn quoted_in_selector(rule: &[u8]) -> Vec<u8> {
    if !rule.iter().any(|b| matches!(b, b'"' | b'\'' | b')')) {
        return rule.to_vec();
    }
    let mut quoted = vec![b'"'];
    for b in rule {
        if matches!(b, b'"' | b'\\') {
            quoted.push(b'\\');
        }
        quoted.push(*b);
    }
    quoted.push(b'"');
    quoted
}

/// SHA-256 in lower-case hex.
pub fn hash_password(password: &[u8]) -> String {
    hex(&Sha256::digest(password))
}

/// Whether `rules`, as [`User::describe`] gives them, are those that `requirepass` alone gives the default
/// user: then no file needs a line for it, and such a line would outlive a later change of `requirepass`.
pub fn implies_default_user(requirepass: Option<&str>, rules: &[&str]) -> bool {
    let password = match requirepass {
        None | Some("") => "nopass".to_owned(),
        Some(password) => format!("#{}", hash_password(password.as_bytes())),
    };
    let rules = rules.iter().filter(|rule| **rule != "sanitize-payload");
    rules.eq(["on", &password, "~*", "&*", "+@all"].iter())
}

fn checked_hash(hash: &[u8]) -> Result<String, RuleError> {
    let valid = hash.len() == 64 && hash.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if valid {
        Ok(String::from_utf8_lossy(hash).into_owned())
    } else {
        Err(RuleError::BadHash)
    }
}

//! One set of rights: commands, keys and channels that go together.

use super::command_set::CommandSet;
use super::user::RULES_PER_USER_MAX;
use super::{RuleBase, is_plain};
use crate::config::process::AclPubsub;
use crate::front::error_text::until_zero;
use crate::front::glob::glob_match;
use crate::front::keys::{KeyRef, command_channels, command_keys};
use crate::front::spec::{Channels, category, flag, key};
use crate::front::table::{Catalog, CommandId};
use crate::resp::Word;

/// Why a rule is none. The words are redis-server 7.0's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// No command or category of this name.
    #[error("Unknown command or category name in ACL")]
    UnknownCommand,
    /// It cannot be read.
    #[error("Syntax error")]
    Syntax,
    /// A key pattern where all keys are allowed already.
    #[error(
        "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. Try 'resetkeys' to start with an empty list of patterns"
    )]
    KeysAreAllowed,
    /// A channel pattern where all channels are allowed already.
    #[error(
        "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any effect. Try 'resetchannels' to start with an empty list of channels"
    )]
    ChannelsAreAllowed,
    /// Not the hex of a SHA-256.
    #[error(
        "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
    )]
    BadHash,
    /// A password to be removed is not there.
    #[error("The password you are trying to remove from the user does not exist")]
    NoSuchPassword,
    /// `+command|word` for a subcommand.
    #[error("Allowing first-arg of a subcommand is not supported")]
    FirstArgOfSubcommand,
    /// More rules than one user may have.
    #[error("Too many rules for one user")]
    TooMany,
}

/// What a request lacks. Ordered by how much it tells: with several selectors the greatest is reported.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Denied {
    /// The command itself.
    Command,
    /// The key at this word.
    Key(usize),
    /// The channel at this word.
    Channel(usize),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct KeyPattern {
    read: bool,
    write: bool,
    pattern: Vec<u8>,
}

/// One set of rights.
#[derive(Clone, Debug)]
pub struct Selector {
    allowed: CommandSet,
    /// Whether nothing was taken away since all were allowed.
    all_commands: bool,
    all_keys: bool,
    all_channels: bool,
    /// Commands that are allowed with this first argument only.
    first_args: Vec<(CommandId, Vec<u8>)>,
    keys: Vec<KeyPattern>,
    channels: Vec<Vec<u8>>,
}

impl Selector {
    /// No rights but those to channels that every new one has.
    pub(super) fn new(base: &RuleBase) -> Selector {
        Selector {
            allowed: CommandSet::new(&base.catalog, false),
            all_commands: false,
            all_keys: false,
            all_channels: base.pubsub_default == AclPubsub::AllChannels,
            first_args: Vec::new(),
            keys: Vec::new(),
            channels: Vec::new(),
        }
    }

    /// Whether it restricts nothing.
    pub fn is_unrestricted(&self) -> bool {
        self.all_commands && self.all_keys && self.all_channels
    }

    /// Applies one rule.
    pub(super) fn apply(&mut self, rule: &[u8], catalog: &Catalog) -> Result<(), RuleError> {
        let word = until_zero(rule);
        let text = String::from_utf8_lossy(word).to_ascii_lowercase();
        match text.as_str() {
            "allkeys" | "~*" => {
                self.all_keys = true;
                self.keys.clear();
            }
            "resetkeys" => {
                self.all_keys = false;
                self.keys.clear();
            }
            "allchannels" | "&*" => {
                self.all_channels = true;
                self.channels.clear();
            }
            "resetchannels" => {
                self.all_channels = false;
                self.channels.clear();
            }
            "allcommands" | "+@all" => self.set_all_commands(true, catalog),
            "nocommands" | "-@all" => self.set_all_commands(false, catalog),
            _ => match rule {
                [b'~', pattern @ ..] => self.add_keys(true, true, pattern)?,
                [b'%', marked @ ..] => self.add_marked_keys(marked)?,
                [b'&', pattern @ ..] => self.add_channels(pattern)?,
                [sign @ (b'+' | b'-'), ..] => {
                    let name = &word[1..];
                    let allow = *sign == b'+';
                    let text = || String::from_utf8_lossy(name);
                    match name.first() {
                        Some(b'@') => self.set_category(allow, &text()[1..], catalog)?,
                        _ if allow => self.allow(name, catalog)?,
                        _ => self.deny(&text(), catalog)?,
                    }
                }
                _ => return Err(RuleError::Syntax),
            },
        }
        Ok(())
    }

    fn set_all_commands(&mut self, allow: bool, catalog: &Catalog) {
        self.allowed = CommandSet::new(catalog, allow);
        self.all_commands = allow;
        self.first_args.clear();
    }

    fn add_marked_keys(&mut self, marked: &[u8]) -> Result<(), RuleError> {
        if self.all_keys {
            return Err(RuleError::KeysAreAllowed);
        }
        // As in redis-server, marks alone are the empty pattern.
        let at = marked.iter().position(|b| *b == b'~');
        let (marks, pattern) = marked.split_at(at.unwrap_or(marked.len()));
        let (mut read, mut write) = (false, false);
        for mark in marks {
            match mark.to_ascii_uppercase() {
                b'R' if !read => read = true,
                b'W' if !write => write = true,
                _ => return Err(RuleError::Syntax),
            }
        }
        if !read && !write {
            return Err(RuleError::Syntax);
        }
        self.add_keys(read, write, pattern.get(1..).unwrap_or_default())
    }

    fn add_keys(&mut self, read: bool, write: bool, pattern: &[u8]) -> Result<(), RuleError> {
        if self.all_keys {
            return Err(RuleError::KeysAreAllowed);
        }
        if !is_plain(pattern) {
            return Err(RuleError::Syntax);
        }
        if read && write && pattern == b"*" {
            self.all_keys = true;
            self.keys.clear();
            return Ok(());
        }
        if let Some(known) = self.keys.iter_mut().find(|known| known.pattern == pattern) {
            known.read |= read;
            known.write |= write;
            return Ok(());
        }
        if self.keys.len() >= RULES_PER_USER_MAX {
            return Err(RuleError::TooMany);
        }
        self.keys.push(KeyPattern {
            read,
            write,
            pattern: pattern.to_vec(),
        });
        Ok(())
    }

    fn add_channels(&mut self, pattern: &[u8]) -> Result<(), RuleError> {
        if self.all_channels {
            return Err(RuleError::ChannelsAreAllowed);
        }
        if !is_plain(pattern) {
            return Err(RuleError::Syntax);
        }
        if self.channels.len() >= RULES_PER_USER_MAX {
            return Err(RuleError::TooMany);
        }
        if !self.channels.iter().any(|known| known == pattern) {
            self.channels.push(pattern.to_vec());
        }
        Ok(())
    }

    fn set_category(
        &mut self,
        allow: bool,
        name: &str,
        catalog: &Catalog,
    ) -> Result<(), RuleError> {
        let bit = category_bit(name).ok_or(RuleError::UnknownCommand)?;
        let members = CommandSet::of_category(catalog, bit);
        self.allowed.put_all(&members, allow, catalog);
        self.first_args
            .retain(|(command, _)| !members.has(*command));
        self.all_commands &= allow;
        Ok(())
    }

    fn allow(&mut self, name: &[u8], catalog: &Catalog) -> Result<(), RuleError> {
        let text = String::from_utf8_lossy;
        let Some(bar) = memchr::memrchr(b'|', name) else {
            return self.set_command(true, &text(name), catalog);
        };
        let (command, first_arg) = (&name[..bar], &name[bar + 1..]);
        let id = catalog.find_known(&text(command));
        let id = id.ok_or(RuleError::UnknownCommand)?;
        let entry = catalog.entry(id);
        if entry.parent.is_some() {
            return Err(RuleError::FirstArgOfSubcommand);
        }
        if first_arg.is_empty() {
            return Err(RuleError::Syntax);
        }
        if entry.subcommand_count > 0 {
            return self.set_command(true, &text(name), catalog);
        }
        // Where rules are taken apart these end a word.
        if first_arg.iter().any(u8::is_ascii_whitespace) {
            return Err(RuleError::Syntax);
        }
        if self.first_args.len() >= RULES_PER_USER_MAX {
            return Err(RuleError::TooMany);
        }
        let is_same = |(known, arg): &(CommandId, Vec<u8>)| {
            *known == id && arg.eq_ignore_ascii_case(first_arg)
        };
        if !self.first_args.iter().any(is_same) {
            self.first_args.push((id, first_arg.to_vec()));
        }
        Ok(())
    }

    fn deny(&mut self, name: &str, catalog: &Catalog) -> Result<(), RuleError> {
        self.set_command(false, name, catalog)?;
        self.all_commands = false;
        Ok(())
    }

    fn set_command(&mut self, allow: bool, name: &str, catalog: &Catalog) -> Result<(), RuleError> {
        let id = catalog.find_known(name);
        let id = id.ok_or(RuleError::UnknownCommand)?;
        self.allowed.put_whole(id, allow, catalog);
        self.first_args.retain(|(command, _)| *command != id);
        Ok(())
    }

    /// The command rules, in few words: from all or from none, whole categories as long as they are more right than
    /// wrong, then single commands. As redis-server 7.0 describes them, but with those in a fixed order.
    pub fn describe_commands(&self, catalog: &Catalog) -> Vec<u8> {
        let is_additive = !self.allowed.has_future();
        let sign = |allow: bool| if allow { '+' } else { '-' };
        let mut given = CommandSet::new(catalog, !is_additive);
        let mut left = self.allowed.clone();
        let mut rules = format!("{}@all", sign(!is_additive)).into_bytes();
        let categories = category::NAMES.iter();
        // With those that are counted: one more that redis-server does not know could lead to other words.
        let mut categories: Vec<(&str, CommandSet, CommandSet)> = categories
            .map(|(bit, name)| {
                let members = CommandSet::of_category(catalog, *bit);
                let counted = members.of_redis(catalog);
                (*name, members, counted)
            })
            .collect();
        loop {
            let mut best: Option<(usize, u32, u32)> = None;
            for (at, (_, _, counted)) in categories.iter().enumerate() {
                let (on, off) = left.count(counted);
                let (same, differs) = if is_additive { (on, off) } else { (off, on) };
                let is_better = best.is_none_or(|(_, least, most)| {
                    differs < least || (differs == least && same > most)
                });
                if same > differs && is_better {
                    best = Some((at, differs, same));
                }
            }
            let Some((at, ..)) = best else { break };
            let (name, members, _) = categories.remove(at);
            given.put_all(&members, is_additive, catalog);
            left.put_all(&members, !is_additive, catalog);
            rules.extend_from_slice(format!(" {}@{name}", sign(is_additive)).as_bytes());
        }
        for (id, entry) in catalog.known() {
            let allow = self.allowed.has(id);
            if allow != given.has(id) {
                given.put_whole(id, allow, catalog);
                rules.extend_from_slice(format!(" {}{}", sign(allow), entry.full_name).as_bytes());
            }
            for (_, first) in self.first_args.iter().filter(|(of, _)| *of == id && !allow) {
                rules.extend_from_slice(format!(" +{}|", entry.full_name).as_bytes());
                rules.extend_from_slice(first);
            }
        }
        rules
    }

    /// Whether a request is covered, and every key may be read besides.
    pub(super) fn check_with_all_keys(
        &self,
        id: CommandId,
        words: &[Word<'_>],
        catalog: &Catalog,
    ) -> bool {
        let reads_all = |known: &KeyPattern| known.read && known.pattern == b"*";
        (self.all_keys || self.keys.iter().any(reads_all)) && self.check(id, words, catalog).is_ok()
    }

    /// Whether a request is covered.
    pub(super) fn check(
        &self,
        id: CommandId,
        words: &[Word<'_>],
        catalog: &Catalog,
    ) -> Result<(), Denied> {
        let info = catalog.entry(id).info;
        if !self.all_commands && info.flags & flag::NO_AUTH == 0 && !self.allowed.has(id) {
            let first_arg = words.get(1);
            let allowed = self.first_args.iter().any(|(command, first)| {
                *command == id && first_arg.is_some_and(|arg| arg.eq_ignore_ascii_case(first))
            });
            if !allowed {
                return Err(Denied::Command);
            }
        }
        if !self.all_keys && !info.keys.is_empty() {
            let denied = command_keys(info, words)
                .into_iter()
                .find(|found| !self.allows_key(found, words));
            if let Some(found) = denied {
                return Err(Denied::Key(found.index));
            }
        }
        if !self.all_channels && info.channels != Channels::None {
            let as_pattern = info.channels == Channels::PSubscribe;
            for index in command_channels(info, words.len()) {
                if !self.allows_channel(&words[index], as_pattern) {
                    return Err(Denied::Channel(index));
                }
            }
        }
        Ok(())
    }

    fn allows_key(&self, found: &KeyRef, words: &[Word<'_>]) -> bool {
        if found.flags & key::NOT_KEY != 0 {
            return true;
        }
        let needs_read = found.flags & key::ACCESS != 0;
        let needs_write = found.flags & (key::INSERT | key::DELETE | key::UPDATE) != 0;
        self.keys.iter().any(|allowed| {
            (!needs_read || allowed.read)
                && (!needs_write || allowed.write)
                && glob_match(&allowed.pattern, &words[found.index])
        })
    }

    /// Whether a channel may be used. A pattern must be allowed word for word.
    pub fn allows_channel(&self, channel: &[u8], as_pattern: bool) -> bool {
        self.all_channels
            || self.channels.iter().any(|allowed| {
                if as_pattern {
                    allowed == channel
                } else {
                    glob_match(allowed, channel)
                }
            })
    }

    /// The key patterns as rules.
    pub fn describe_keys(&self) -> Vec<u8> {
        if self.all_keys {
            return b"~*".to_vec();
        }
        let rules = self.keys.iter().map(|allowed| {
            let mark = match (allowed.read, allowed.write) {
                (true, false) => "%R~",
                (false, true) => "%W~",
                (true, true) | (false, false) => "~",
            };
            [mark.as_bytes(), &allowed.pattern].concat()
        });
        rules.collect::<Vec<_>>().join(&b' ')
    }

    /// The channel patterns as rules.
    pub fn describe_channels(&self) -> Vec<u8> {
        if self.all_channels {
            return b"&*".to_vec();
        }
        let patterns = self.channels.iter();
        let rules = patterns.map(|pattern| [b"&".as_slice(), pattern].concat());
        rules.collect::<Vec<_>>().join(&b' ')
    }

    /// All of it as rules.
    pub fn describe(&self, catalog: &Catalog) -> Vec<u8> {
        let reset = match self.all_channels {
            true => Vec::new(),
            false => b"resetchannels".to_vec(),
        };
        let mut parts = vec![
            self.describe_keys(),
            reset,
            self.describe_channels(),
            self.describe_commands(catalog),
        ];
        parts.retain(|part| !part.is_empty());
        parts.join(&b' ')
    }
}

/// The bit of a category by its name.
pub(in crate::front) fn category_bit(name: &str) -> Option<u32> {
    category::NAMES
        .iter()
        .find(|(_, known)| known.eq_ignore_ascii_case(name))
        .map(|(bit, _)| *bit)
}

//! The command table: one definition per command, from which dispatch, `COMMAND`, ACL rules and key
//! extraction are derived.

use std::collections::HashMap;
use std::rc::Rc;

use bytes::Bytes;

use super::{Call, Reply};

/// Command flags. The names that clients see are in [`flag::NAMES`].
pub mod flag {
    /// May change the data set.
    pub const WRITE: u32 = 1;
    /// Only reads it.
    pub const READONLY: u32 = 1 << 1;
    /// Refused when memory is exhausted.
    pub const DENYOOM: u32 = 1 << 2;
    /// For administrators.
    pub const ADMIN: u32 = 1 << 3;
    /// About channels.
    pub const PUBSUB: u32 = 1 << 4;
    /// Not from scripts.
    pub const NOSCRIPT: u32 = 1 << 5;
    /// May block its client.
    pub const BLOCKING: u32 = 1 << 6;
    /// Allowed while the data set is being loaded.
    pub const LOADING: u32 = 1 << 7;
    /// Allowed on a replica whose data may be stale.
    pub const STALE: u32 = 1 << 8;
    /// Not shown by MONITOR.
    pub const SKIP_MONITOR: u32 = 1 << 9;
    /// Not in the slow log.
    pub const SKIP_SLOWLOG: u32 = 1 << 10;
    /// Cluster: may run on an importing slot.
    pub const ASKING: u32 = 1 << 11;
    /// Constant or logarithmic time.
    pub const FAST: u32 = 1 << 12;
    /// Allowed before authentication.
    pub const NO_AUTH: u32 = 1 << 13;
    /// May cause writes to be replicated.
    pub const MAY_REPLICATE: u32 = 1 << 14;
    /// Has keys only sometimes.
    pub const NO_MANDATORY_KEYS: u32 = 1 << 15;
    /// Not while loading asynchronously.
    pub const NO_ASYNC_LOADING: u32 = 1 << 16;
    /// Not inside a transaction.
    pub const NO_MULTI: u32 = 1 << 17;
    /// Allowed while a script runs for too long.
    pub const ALLOW_BUSY: u32 = 1 << 18;
    /// Where its keys are depends on its arguments.
    pub const MOVABLE_KEYS: u32 = 1 << 19;

    /// What `COMMAND INFO` calls them, in the order in which it lists them.
    pub const NAMES: &[(u32, &str)] = &[
        (WRITE, "write"),
        (READONLY, "readonly"),
        (DENYOOM, "denyoom"),
        (ADMIN, "admin"),
        (PUBSUB, "pubsub"),
        (NOSCRIPT, "noscript"),
        (BLOCKING, "blocking"),
        (LOADING, "loading"),
        (STALE, "stale"),
        (SKIP_MONITOR, "skip_monitor"),
        (SKIP_SLOWLOG, "skip_slowlog"),
        (ASKING, "asking"),
        (FAST, "fast"),
        (NO_AUTH, "no_auth"),
        (MAY_REPLICATE, "may_replicate"),
        (NO_MANDATORY_KEYS, "no_mandatory_keys"),
        (NO_ASYNC_LOADING, "no_async_loading"),
        (NO_MULTI, "no_multi"),
        (ALLOW_BUSY, "allow_busy"),
        (MOVABLE_KEYS, "movablekeys"),
    ];
}

/// ACL categories. Their names are in [`category::NAMES`].
pub mod category {
    /// `@keyspace`
    pub const KEYSPACE: u32 = 1;
    /// `@read`
    pub const READ: u32 = 1 << 1;
    /// `@write`
    pub const WRITE: u32 = 1 << 2;
    /// `@set`
    pub const SET: u32 = 1 << 3;
    /// `@sortedset`
    pub const SORTEDSET: u32 = 1 << 4;
    /// `@list`
    pub const LIST: u32 = 1 << 5;
    /// `@hash`
    pub const HASH: u32 = 1 << 6;
    /// `@string`
    pub const STRING: u32 = 1 << 7;
    /// `@bitmap`
    pub const BITMAP: u32 = 1 << 8;
    /// `@hyperloglog`
    pub const HYPERLOGLOG: u32 = 1 << 9;
    /// `@geo`
    pub const GEO: u32 = 1 << 10;
    /// `@stream`
    pub const STREAM: u32 = 1 << 11;
    /// `@pubsub`
    pub const PUBSUB: u32 = 1 << 12;
    /// `@admin`
    pub const ADMIN: u32 = 1 << 13;
    /// `@fast`
    pub const FAST: u32 = 1 << 14;
    /// `@slow`
    pub const SLOW: u32 = 1 << 15;
    /// `@blocking`
    pub const BLOCKING: u32 = 1 << 16;
    /// `@dangerous`
    pub const DANGEROUS: u32 = 1 << 17;
    /// `@connection`
    pub const CONNECTION: u32 = 1 << 18;
    /// `@transaction`
    pub const TRANSACTION: u32 = 1 << 19;
    /// `@scripting`
    pub const SCRIPTING: u32 = 1 << 20;

    /// Their names, in the order of `ACL CAT`.
    pub const NAMES: &[(u32, &str)] = &[
        (KEYSPACE, "keyspace"),
        (READ, "read"),
        (WRITE, "write"),
        (SET, "set"),
        (SORTEDSET, "sortedset"),
        (LIST, "list"),
        (HASH, "hash"),
        (STRING, "string"),
        (BITMAP, "bitmap"),
        (HYPERLOGLOG, "hyperloglog"),
        (GEO, "geo"),
        (STREAM, "stream"),
        (PUBSUB, "pubsub"),
        (ADMIN, "admin"),
        (FAST, "fast"),
        (SLOW, "slow"),
        (BLOCKING, "blocking"),
        (DANGEROUS, "dangerous"),
        (CONNECTION, "connection"),
        (TRANSACTION, "transaction"),
        (SCRIPTING, "scripting"),
    ];
}

/// What a command does with a key.
pub mod key {
    /// Reads it and leaves it.
    pub const RO: u16 = 1;
    /// Reads and writes it.
    pub const RW: u16 = 1 << 1;
    /// Overwrites it.
    pub const OW: u16 = 1 << 2;
    /// Removes it.
    pub const RM: u16 = 1 << 3;
    /// Its content reaches the client or another key.
    pub const ACCESS: u16 = 1 << 4;
    /// Its content changes, depending on what it was.
    pub const UPDATE: u16 = 1 << 5;
    /// Something is added.
    pub const INSERT: u16 = 1 << 6;
    /// Something is deleted.
    pub const DELETE: u16 = 1 << 7;
    /// Not really a key.
    pub const NOT_KEY: u16 = 1 << 8;
    /// The specification does not find all keys.
    pub const INCOMPLETE: u16 = 1 << 9;
    /// What happens depends on the arguments.
    pub const VARIABLE_FLAGS: u16 = 1 << 10;

    /// What `COMMAND INFO` calls them, in its order.
    pub const NAMES: &[(u16, &str)] = &[
        (RO, "RO"),
        (RW, "RW"),
        (OW, "OW"),
        (RM, "RM"),
        (ACCESS, "access"),
        (UPDATE, "update"),
        (INSERT, "insert"),
        (DELETE, "delete"),
        (NOT_KEY, "not_key"),
        (INCOMPLETE, "incomplete"),
        (VARIABLE_FLAGS, "variable_flags"),
    ];
}

/// Where the first key of a specification is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// At this word; the command name is word 0.
    Index(usize),
    /// After this keyword, looked for from word `from`; from the end backwards when negative.
    Keyword {
        /// The keyword, upper case.
        word: &'static str,
        /// Where to start looking.
        from: i32,
    },
}

/// How the other keys of a specification follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Find {
    /// Up to `last`, relative to the first; negative: counted from the end of the arguments (−1: the
    /// last one). `limit` > 1: only the first 1/limit of what is left.
    Range {
        /// The last key.
        last: i32,
        /// From one key to the next.
        step: usize,
        /// See above.
        limit: usize,
    },
    /// A word holds the number of keys.
    KeyNum {
        /// Where that word is, relative to the first.
        index: usize,
        /// Where the first key is, relative to the first.
        first: usize,
        /// From one key to the next.
        step: usize,
    },
}

/// Where keys are among the words of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySpec {
    /// The first.
    pub begin: Begin,
    /// The others.
    pub find: Find,
    /// What happens to them: [`key`].
    pub flags: u16,
}

impl KeySpec {
    /// Keys from word `first` to `last` (negative: from the end), every `step` words.
    pub const fn range(first: usize, last: i32, step: usize, flags: u16) -> KeySpec {
        KeySpec {
            begin: Begin::Index(first),
            find: Find::Range {
                last,
                step,
                limit: 0,
            },
            flags,
        }
    }

    /// One key at word `index`.
    pub const fn one(index: usize, flags: u16) -> KeySpec {
        KeySpec::range(index, 0, 1, flags)
    }
}

/// Which words of a command are channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channels {
    /// None.
    None,
    /// Word 1, published to.
    Publish,
    /// All words after the name, subscribed to.
    Subscribe,
    /// All words after the name: patterns subscribed to.
    PSubscribe,
}

/// What a command is, apart from what it does.
#[derive(Clone, Debug)]
pub struct CommandInfo {
    /// Lower case; of a subcommand its own part only.
    pub name: &'static str,
    /// Words, the name included; negative: at least so many.
    pub arity: i32,
    /// [`flag`].
    pub flags: u32,
    /// [`category`], those implied by the flags included.
    pub categories: u32,
    /// Where its keys are.
    pub keys: Vec<KeySpec>,
    /// Where its channels are.
    pub channels: Channels,
    /// Hints for clients and proxies.
    pub tips: &'static [&'static str],
    /// The Redis version that brought it.
    pub since: &'static str,
    /// The documentation's group.
    pub group: &'static str,
    /// Its cost.
    pub complexity: &'static str,
    /// One line.
    pub summary: &'static str,
}

/// What runs a command. The arity, the user's rights and the state of the client are checked before.
pub type Handler<P> = fn(&mut P, &Call<'_>, &mut Reply);

/// One command or subcommand of a program's table.
pub struct CommandSpec<P: 'static> {
    /// What it is.
    pub info: CommandInfo,
    /// What it does. A command with subcommands is never run itself unless it is called alone.
    pub handler: Handler<P>,
    /// Its subcommands.
    pub subcommands: Vec<CommandSpec<P>>,
}

impl<P: 'static> CommandSpec<P> {
    /// A command without flags, keys and documentation yet.
    pub fn new(name: &'static str, arity: i32, handler: Handler<P>) -> CommandSpec<P> {
        let info = CommandInfo {
            name,
            arity,
            flags: 0,
            categories: category::SLOW,
            keys: Vec::new(),
            channels: Channels::None,
            tips: &[],
            since: "1.0.0",
            group: "generic",
            complexity: "",
            summary: "",
        };
        CommandSpec {
            info,
            handler,
            subcommands: Vec::new(),
        }
    }

    /// Sets the flags and the categories that follow from them.
    #[must_use]
    pub fn flags(mut self, flags: u32) -> CommandSpec<P> {
        const IMPLIED: &[(u32, u32)] = &[
            (flag::WRITE, category::WRITE),
            (flag::READONLY, category::READ),
            (flag::ADMIN, category::ADMIN | category::DANGEROUS),
            (flag::PUBSUB, category::PUBSUB),
            (flag::FAST, category::FAST),
            (flag::BLOCKING, category::BLOCKING),
        ];
        self.info.flags = flags;
        self.info.categories = IMPLIED
            .iter()
            .filter(|(flag, _)| flags & flag != 0)
            .fold(0, |all, (_, implied)| all | implied);
        if flags & flag::FAST == 0 {
            self.info.categories |= category::SLOW;
        }
        self
    }

    /// Adds categories to those that the flags imply.
    #[must_use]
    pub fn acl(mut self, categories: u32) -> CommandSpec<P> {
        self.info.categories |= categories;
        self
    }

    /// Says where the keys are.
    #[must_use]
    pub fn keys(mut self, keys: impl Into<Vec<KeySpec>>) -> CommandSpec<P> {
        self.info.keys = keys.into();
        self
    }

    /// Says where the channels are.
    #[must_use]
    pub fn channels(mut self, channels: Channels) -> CommandSpec<P> {
        self.info.channels = channels;
        self
    }

    /// Hints for clients.
    #[must_use]
    pub fn tips(mut self, tips: &'static [&'static str]) -> CommandSpec<P> {
        self.info.tips = tips;
        self
    }

    /// The documentation: since which version, group, cost, one line.
    #[must_use]
    pub fn doc(
        mut self,
        since: &'static str,
        group: &'static str,
        complexity: &'static str,
        summary: &'static str,
    ) -> CommandSpec<P> {
        self.info.since = since;
        self.info.group = group;
        self.info.complexity = complexity;
        self.info.summary = summary;
        self
    }

    /// Its subcommands.
    #[must_use]
    pub fn subcommands(mut self, subcommands: Vec<CommandSpec<P>>) -> CommandSpec<P> {
        self.subcommands = subcommands;
        self
    }
}

/// The place of a command in the [`Catalog`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub u16);

impl CommandId {
    /// As an index.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// A command as the catalog knows it.
#[derive(Clone, Debug)]
pub struct CatalogEntry {
    /// What it is.
    pub info: &'static CommandInfo,
    /// Its whole name: `client|list`.
    pub full_name: Rc<str>,
    /// The command it is a subcommand of.
    pub parent: Option<CommandId>,
    /// Its subcommands, which follow it directly: how many.
    pub subcommand_count: u16,
}

/// All commands and subcommands of a program, without what they do. A command's subcommands follow it.
#[derive(Debug, Default)]
pub struct Catalog {
    entries: Vec<CatalogEntry>,
    by_name: HashMap<Rc<str>, CommandId>,
}

impl Catalog {
    /// One of them.
    pub fn entry(&self, id: CommandId) -> &CatalogEntry {
        &self.entries[id.index()]
    }

    /// All of them with their ids, subcommands included.
    pub fn iter(&self) -> impl Iterator<Item = (CommandId, &CatalogEntry)> {
        (0_u16..).map(CommandId).zip(&self.entries)
    }

    /// How many there are, subcommands included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True for an empty table.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Finds `get` or `client|list` by its original name, in any case.
    pub fn find(&self, full_name: &str) -> Option<CommandId> {
        self.by_name
            .get(full_name.to_ascii_lowercase().as_str())
            .copied()
    }

    /// The subcommands of a command.
    pub fn subcommands(&self, of: CommandId) -> impl Iterator<Item = CommandId> + use<> {
        let count = self.entry(of).subcommand_count;
        (of.0 + 1..=of.0 + count).map(CommandId)
    }

    fn add(
        &mut self,
        info: &'static CommandInfo,
        parent: Option<CommandId>,
        subcommands: usize,
    ) -> CommandId {
        let id = CommandId(u16::try_from(self.entries.len()).expect("a table has few commands"));
        let full_name: Rc<str> = match parent {
            Some(parent) => format!("{}|{}", self.entry(parent).full_name, info.name).into(),
            None => info.name.into(),
        };
        let twice = self.by_name.insert(Rc::clone(&full_name), id);
        assert!(twice.is_none(), "the command {full_name} is defined twice");
        self.entries.push(CatalogEntry {
            info,
            full_name,
            parent,
            subcommand_count: u16::try_from(subcommands).expect("few subcommands"),
        });
        id
    }
}

/// Why `rename-command` was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenameError {
    /// There is no such command.
    #[error("No such command in rename-command")]
    NoSuchCommand,
    /// The new name is taken.
    #[error("Target command name already exists")]
    NameTaken,
}

/// What a request's first words name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// This command.
    Found(CommandId),
    /// No command has this name.
    UnknownCommand,
    /// The command exists and has no such subcommand.
    UnknownSubcommand(CommandId),
}

/// A program's commands, under the names by which clients call them.
pub struct Table<P: 'static> {
    catalog: Rc<Catalog>,
    handlers: Vec<Handler<P>>,
    /// Lower-case names as called: those of `rename-command` applied.
    names: hashbrown::HashMap<Box<[u8]>, CommandId>,
}

/// The longest command or subcommand name that is looked up.
const NAME_BYTES_MAX: usize = 64;

impl<P: 'static> Table<P> {
    /// Builds the table, which lives as long as the process does.
    pub fn new(commands: impl IntoIterator<Item = CommandSpec<P>>) -> Table<P> {
        let mut catalog = Catalog::default();
        let mut handlers: Vec<Handler<P>> = Vec::new();
        let mut names = hashbrown::HashMap::new();
        for command in commands {
            let id = catalog.add(leak(command.info), None, command.subcommands.len());
            names.insert(Box::from(catalog.entry(id).info.name.as_bytes()), id);
            handlers.push(command.handler);
            for sub in command.subcommands {
                catalog.add(leak(sub.info), Some(id), 0);
                handlers.push(sub.handler);
            }
        }
        Table {
            catalog: Rc::new(catalog),
            handlers,
            names,
        }
    }

    /// The commands without what they do.
    pub fn catalog(&self) -> &Rc<Catalog> {
        &self.catalog
    }

    /// What runs a command.
    pub fn handler(&self, id: CommandId) -> Handler<P> {
        self.handlers[id.index()]
    }

    /// `rename-command from to`; an empty `to` removes the command.
    ///
    /// # Errors
    /// No command is called `from` now, or another is called `to`.
    pub fn rename(&mut self, from: &str, to: &str) -> Result<(), RenameError> {
        let from = from.to_ascii_lowercase();
        let to = to.to_ascii_lowercase();
        if from != to && self.names.contains_key(to.as_bytes()) {
            return Err(RenameError::NameTaken);
        }
        let id = self
            .names
            .remove(from.as_bytes())
            .ok_or(RenameError::NoSuchCommand)?;
        if !to.is_empty() {
            self.names.insert(Box::from(to.as_bytes()), id);
        }
        Ok(())
    }

    /// Finds the command, or subcommand, that the words of a request name.
    pub fn lookup(&self, words: &[Bytes]) -> Lookup {
        let mut lower = [0_u8; NAME_BYTES_MAX];
        let Some(&id) = words
            .first()
            .and_then(|word| lower_case(word, &mut lower))
            .and_then(|name| self.names.get(name))
        else {
            return Lookup::UnknownCommand;
        };
        let Some(sub) = words.get(1) else {
            return Lookup::Found(id);
        };
        if self.catalog.entry(id).subcommand_count == 0 {
            return Lookup::Found(id);
        }
        self.catalog
            .subcommands(id)
            .find(|sub_id| {
                let name = self.catalog.entry(*sub_id).info.name;
                name.as_bytes().eq_ignore_ascii_case(sub)
            })
            .map_or(Lookup::UnknownSubcommand(id), Lookup::Found)
    }

    /// The top-level commands that can be called now.
    pub fn top_level(&self) -> impl Iterator<Item = CommandId> + '_ {
        let mut ids: Vec<CommandId> = self.names.values().copied().collect();
        ids.sort_unstable();
        ids.into_iter()
    }
}

/// Commands are known by reference everywhere; a program has one table, which is never dropped.
fn leak(info: CommandInfo) -> &'static CommandInfo {
    Box::leak(Box::new(info))
}

fn lower_case<'a>(name: &[u8], buffer: &'a mut [u8; NAME_BYTES_MAX]) -> Option<&'a [u8]> {
    let lower = buffer.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    Some(lower)
}

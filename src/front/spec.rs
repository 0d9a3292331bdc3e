//! What a command is: its name and arity, flags, ACL categories, keys, channels and documentation.

use super::{Call, OptionForm, Reply};

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

    /// What `COMMAND INFO` calls them, in the order in which it lists them. 7.0 never shows
    /// [`MAY_REPLICATE`].
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
    /// Nowhere among the words: its name follows from data.
    Unknown,
    /// After the last `word` among the options, wherever it stands as the value of another one. Clients are told of a
    /// keyword, or that it is unknown, as by redis-server.
    LastOption {
        /// The option, upper case.
        word: &'static str,
        /// Where the options begin.
        from: i32,
        /// Those that have values.
        known: &'static [OptionForm],
        /// Whether clients are told of the keyword.
        is_told: bool,
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
        // What was added by hand stays; that it is slow is only what `new` supposes.
        let added = self.info.categories & !category::SLOW;
        self.info.categories = IMPLIED
            .iter()
            .filter(|(flag, _)| flags & flag != 0)
            .fold(added, |all, (_, implied)| all | implied);
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

//! The command table: one definition per command, from which dispatch, `COMMAND`, ACL rules and key
//! extraction are derived.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::spec::{Channels, CommandInfo, CommandSpec, Handler};
use crate::resp::Word;

/// The place of a command in the [`Catalog`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

/// A command of redis-server that a program does not have: known to ACL rules and to `rename-command` all the same.
#[derive(Clone, Copy, Debug)]
pub struct AbsentCommand {
    /// Lower case.
    pub name: &'static str,
    /// [`category`](super::category).
    pub categories: u32,
    /// The same of its subcommands.
    pub subcommands: &'static [(&'static str, u32)],
}

/// All commands and subcommands of a program, without what they do; behind them those that it does not have. A
/// command's subcommands follow it.
#[derive(Debug, Default)]
pub struct Catalog {
    entries: Vec<CatalogEntry>,
    by_name: HashMap<Rc<str>, CommandId>,
    /// How many of the entries the program has.
    present: usize,
}

impl Catalog {
    /// One of them.
    pub fn entry(&self, id: CommandId) -> &CatalogEntry {
        &self.entries[id.index()]
    }

    /// All that the program has with their ids, subcommands included.
    pub fn iter(&self) -> impl Iterator<Item = (CommandId, &CatalogEntry)> {
        self.known().take(self.present)
    }

    /// The same, and then those that it does not have.
    pub fn known(&self) -> impl Iterator<Item = (CommandId, &CatalogEntry)> {
        (0_u16..).map(CommandId).zip(&self.entries)
    }

    /// How many of these there are.
    pub fn known_count(&self) -> usize {
        self.entries.len()
    }

    /// Finds `get` or `client|list` by its original name, in any case, where the program has it.
    pub fn find(&self, full_name: &str) -> Option<CommandId> {
        self.find_known(full_name).filter(|id| !self.is_absent(*id))
    }

    /// The same, whether the program has it or not.
    pub fn find_known(&self, full_name: &str) -> Option<CommandId> {
        self.by_name
            .get(full_name.to_ascii_lowercase().as_str())
            .copied()
    }

    /// Whether it is a command that the program does not have.
    pub fn is_absent(&self, id: CommandId) -> bool {
        id.index() >= self.present
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
    /// The longest that one of them has been.
    name_bytes_max: usize,
    /// The last command that was found, and the name it was called by: nearly always the next one too.
    last: RefCell<(Vec<u8>, CommandId)>,
}

/// The longest name of a command that is looked up without an allocation. Only `rename-command` gives longer ones.
const SHORT_NAME_BYTES_MAX: usize = 64;

impl<P: 'static> Table<P> {
    /// Builds the table, which lives as long as the process does. `absent` are commands of redis-server that
    /// are none of these.
    pub fn new(
        commands: impl IntoIterator<Item = CommandSpec<P>>,
        absent: &[AbsentCommand],
    ) -> Table<P> {
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
        catalog.present = handlers.len();
        for command in absent {
            let info = leak(absent_info(command.name, command.categories));
            let id = catalog.add(info, None, command.subcommands.len());
            for (name, categories) in command.subcommands {
                catalog.add(leak(absent_info(name, *categories)), Some(id), 0);
            }
        }
        Table {
            catalog: Rc::new(catalog),
            handlers,
            names,
            name_bytes_max: SHORT_NAME_BYTES_MAX,
            last: RefCell::default(),
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

    /// `rename-command from to`; an empty `to` removes the command. One that the program does not have is as good
    /// as removed under any name.
    ///
    /// # Errors
    /// No command is called `from` now, or another is called `to`.
    pub fn rename(&mut self, from: &str, to: &str) -> Result<(), RenameError> {
        let from = from.to_ascii_lowercase();
        let to = to.to_ascii_lowercase();
        if from != to && self.names.contains_key(to.as_bytes()) {
            return Err(RenameError::NameTaken);
        }
        let known = self.catalog.find_known(&from);
        let is_absent = |id| self.catalog.is_absent(id) && self.catalog.entry(id).parent.is_none();
        if !self.names.contains_key(from.as_bytes()) && known.is_some_and(is_absent) {
            return Ok(());
        }
        let id = self
            .names
            .remove(from.as_bytes())
            .ok_or(RenameError::NoSuchCommand)?;
        self.last.take();
        if !to.is_empty() {
            self.name_bytes_max = self.name_bytes_max.max(to.len());
            self.names.insert(Box::from(to.as_bytes()), id);
        }
        Ok(())
    }

    /// The command that is called by this name.
    fn by_name(&self, word: &[u8]) -> Option<CommandId> {
        let mut last = self.last.borrow_mut();
        // A name has at least one byte, so that nothing is called as nothing was.
        if !word.is_empty() && last.0 == word {
            return Some(last.1);
        }
        let id = match lower_case(word, &mut [0_u8; SHORT_NAME_BYTES_MAX]) {
            Some(lower) => *self.names.get(lower)?,
            None if word.len() > self.name_bytes_max => return None,
            None => *self.names.get(&*word.to_ascii_lowercase())?,
        };
        last.0.clear();
        last.0.extend_from_slice(word);
        last.1 = id;
        Some(id)
    }

    /// Finds `get` or `client|list` by the name by which clients call it, in any case.
    pub fn find(&self, full_name: &[u8]) -> Option<CommandId> {
        match memchr::memchr(b'|', full_name) {
            None => self.by_name(full_name),
            Some(bar) => self.subcommand(self.by_name(&full_name[..bar])?, &full_name[bar + 1..]),
        }
    }

    fn subcommand(&self, of: CommandId, name: &[u8]) -> Option<CommandId> {
        self.catalog.subcommands(of).find(|id| {
            let own = self.catalog.entry(*id).info.name;
            own.as_bytes().eq_ignore_ascii_case(name)
        })
    }

    /// Finds the command, or subcommand, that the words of a request name.
    pub fn lookup(&self, words: &[Word<'_>]) -> Lookup {
        let Some(id) = words.first().and_then(|word| self.by_name(word)) else {
            return Lookup::UnknownCommand;
        };
        let Some(sub) = words.get(1) else {
            return Lookup::Found(id);
        };
        if self.catalog.entry(id).subcommand_count == 0 {
            return Lookup::Found(id);
        }
        self.subcommand(id, sub)
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

fn absent_info(name: &'static str, categories: u32) -> CommandInfo {
    CommandInfo {
        name,
        arity: -1,
        flags: 0,
        categories,
        keys: Vec::new(),
        channels: Channels::None,
        tips: &[],
        since: "",
        group: "",
        complexity: "",
        summary: "",
    }
}

fn lower_case<'a>(name: &[u8], buffer: &'a mut [u8; SHORT_NAME_BYTES_MAX]) -> Option<&'a [u8]> {
    let lower = buffer.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    Some(lower)
}

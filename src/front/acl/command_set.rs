//! Sets of commands, one bit each.

use crate::front::table::{Catalog, CommandId};

/// Some of the commands of a catalog, those that the program does not have included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CommandSet {
    bits: Vec<u64>,
    future: bool,
}

impl CommandSet {
    /// All commands, or none.
    pub(super) fn new(catalog: &Catalog, all: bool) -> CommandSet {
        let word = if all { u64::MAX } else { 0 };
        CommandSet {
            bits: vec![word; catalog.known_count().div_ceil(64)],
            future: all,
        }
    }

    /// The commands of a category.
    pub(super) fn of_category(catalog: &Catalog, bit: u32) -> CommandSet {
        let mut members = CommandSet::new(catalog, false);
        for (id, entry) in catalog.known() {
            if entry.info.categories & bit != 0 {
                members.put(id, true);
            }
        }
        members
    }

    /// Those of these that redis-server 7.0 has as well.
    pub(super) fn of_redis(&self, catalog: &Catalog) -> CommandSet {
        let mut members = self.clone();
        for (id, entry) in catalog.known() {
            if entry.info.since.starts_with("7.2") {
                members.put(id, false);
            }
        }
        members
    }

    /// Whether it began with all commands, and so has those that later versions bring.
    pub(super) fn has_future(&self) -> bool {
        self.future
    }

    /// Whether a command is in it.
    pub(super) fn has(&self, id: CommandId) -> bool {
        self.bits[id.index() / 64] & (1_u64 << (id.index() % 64)) != 0
    }

    fn put(&mut self, id: CommandId, is_in: bool) {
        let (word, bit) = (&mut self.bits[id.index() / 64], 1_u64 << (id.index() % 64));
        if is_in {
            *word |= bit;
        } else {
            *word &= !bit;
        }
    }

    /// Adds or removes a command with its subcommands.
    pub(super) fn put_whole(&mut self, id: CommandId, is_in: bool, catalog: &Catalog) {
        self.put(id, is_in);
        for sub in catalog.subcommands(id) {
            self.put(sub, is_in);
        }
    }

    /// Adds or removes all of `members`, each with its subcommands.
    pub(super) fn put_all(&mut self, members: &CommandSet, is_in: bool, catalog: &Catalog) {
        for (id, _) in catalog.known() {
            if members.has(id) {
                self.put_whole(id, is_in, catalog);
            }
        }
    }

    /// How many of `members` are in it, and how many are not.
    pub(super) fn count(&self, members: &CommandSet) -> (u32, u32) {
        let pairs = self.bits.iter().zip(&members.bits);
        pairs.fold((0, 0), |(inside, outside), (own, word)| {
            let here = (own & word).count_ones();
            (inside + here, outside + word.count_ones() - here)
        })
    }
}

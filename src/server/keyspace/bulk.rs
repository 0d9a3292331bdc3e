//! Filling a table with many entries at once, as a load does.

use std::hash::BuildHasher;

use foldhash::quality::RandomState;

use super::dense::Keyed;
use super::table::Table;

/// A table in the making. Its entries are collected first and put in in the order of their hashes: leaf after leaf,
/// not each into another part of more memory than a processor keeps near.
#[derive(Debug)]
pub(super) struct Bulk<E> {
    table: Table<E>,
    hasher: RandomState,
    waiting: Vec<(u64, E)>,
    is_distinct: bool,
}

impl<E: Keyed + Clone + Default> Bulk<E> {
    /// Entries that wait at most, which bounds the memory that is needed beside the table.
    const WAITING_MAX: usize = 1 << 17;
    /// Room is made for so many at first, however many are said to come.
    const ROOM_MAX: usize = 1024;

    /// Nothing yet of so many entries.
    pub(super) fn new(len: usize) -> Bulk<E> {
        Bulk::with_hasher(RandomState::default(), len)
    }

    /// As [`Bulk::new`], for what is to take the place of a table with this hasher: cursors of a `SCAN` of that one go
    /// on in it.
    pub(super) fn with_hasher(hasher: RandomState, len: usize) -> Bulk<E> {
        Bulk {
            table: Table::default(),
            hasher,
            waiting: Vec::with_capacity(len.min(Self::ROOM_MAX)),
            is_distinct: true,
        }
    }

    /// Adds an entry.
    pub(super) fn push(&mut self, entry: E) {
        self.waiting
            .push((self.hasher.hash_one(entry.key()), entry));
        if self.waiting.len() >= Self::WAITING_MAX {
            self.is_distinct &= self.table.add_all(&self.hasher, &mut self.waiting);
        }
    }

    /// The table; `None` if two entries have the same bytes.
    pub(super) fn finish(mut self) -> Option<Table<E>> {
        self.is_distinct &= self.table.add_all(&self.hasher, &mut self.waiting);
        self.is_distinct.then_some(self.table)
    }
}

impl<E: Keyed + Clone + Default> FromIterator<E> for Bulk<E> {
    fn from_iter<I: IntoIterator<Item = E>>(entries: I) -> Bulk<E> {
        let entries = entries.into_iter();
        let mut bulk = Bulk::new(entries.size_hint().0);
        entries.for_each(|entry| bulk.push(entry));
        bulk
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::keyspace::{Key, steps};

    fn key(n: usize) -> Key {
        Key::from(n.to_string().as_bytes())
    }

    #[test]
    fn it_makes_the_table_that_single_entries_make() {
        for len in [
            0,
            1,
            8,
            9,
            127,
            128,
            129,
            5000,
            Bulk::<Key>::WAITING_MAX + 5000,
        ] {
            let table = (0..len).map(key).collect::<Bulk<Key>>().finish().unwrap();
            table.check();
            assert_eq!(table.len(), len);
            for n in (0..len).step_by(101) {
                assert_eq!(table.get(&key(n)), Some(&key(n)));
            }
        }
    }

    #[test]
    fn leaves_seldom_split() {
        const LEN: usize = 100_000;
        let (one_by_one, _) = steps::of(|| {
            let mut table = Table::default();
            (0..LEN).for_each(|n| assert!(table.add(&key(n), || key(n))));
        });
        let (at_once, table) = steps::of(|| (0..LEN).map(key).collect::<Bulk<Key>>().finish());
        assert_eq!(table.unwrap().len(), LEN);
        assert!(at_once <= one_by_one, "{at_once} against {one_by_one}");
    }

    #[test]
    fn what_comes_twice_is_noticed() {
        for len in [2, 500, 5000] {
            let twice = (0..len).chain([len / 2]).map(key);
            assert!(twice.collect::<Bulk<Key>>().finish().is_none(), "{len}");
        }
    }
}

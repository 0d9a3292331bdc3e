//! The table of a large hash, set or sorted set: many small tables, each shared with the snapshots that are
//! still writing it out and copied only if it is.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::quality::RandomState;

use super::dense::{Dense, Keyed};
use super::extendible::{Extendible, Leaf, WARM_MAX};
use super::held;

/// A table whose clone costs one counter for each couple of hundred entries.
#[derive(Clone, Debug)]
pub struct Table<E> {
    leaves: Extendible<Arc<Dense<E>>>,
    len: usize,
}

impl<E: Keyed + Clone> Leaf for Arc<Dense<E>> {
    type Entry = E;

    fn dense(&self) -> &Dense<E> {
        self
    }

    fn split_off(&mut self, hash_of: impl Fn(&[u8]) -> u64, goes: impl Fn(u64) -> bool) -> Self {
        Arc::new(held::make_mut(self).split_off(hash_of, goes))
    }

    fn absorb(&mut self, other: Self, hash_of: impl Fn(&[u8]) -> u64) {
        held::leave_whole(&other);
        held::make_mut(self).absorb(Arc::unwrap_or_clone(other), hash_of);
    }
}

impl<E: Keyed + Clone> Default for Table<E> {
    fn default() -> Table<E> {
        Table {
            leaves: Extendible::new(RandomState::default(), Arc::default()),
            len: 0,
        }
    }
}

impl<E: Keyed + Clone> Table<E> {
    /// Entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True without any.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The entry with these bytes.
    pub fn get(&self, key: &[u8]) -> Option<&E> {
        self.leaves.find(self.leaves.hash(key), key)
    }

    /// The entry with these bytes, to be changed; its key must stay.
    pub fn get_mut(&mut self, key: &[u8]) -> Option<&mut E> {
        let hash = self.leaves.hash(key);
        let (leaf, _) = self.leaves.leaf_mut(self.leaves.leaf_at(hash));
        held::make_mut(leaf).find_mut(hash, key)
    }

    /// Adds the entry that `make` makes unless one with these bytes is there; true if it is new.
    pub fn add(&mut self, key: &[u8], make: impl FnOnce() -> E) -> bool {
        let hash = self.leaves.hash(key);
        let number = self.leaves.leaf_at(hash);
        // A leaf that has it need not be copied.
        let is_new = self.leaves.leaf(number).find(hash, key).is_none();
        if is_new {
            self.push(hash, number, make());
        }
        is_new
    }

    /// Changes the entry with these bytes, whose key must stay, or adds the one that `make` makes; true if it
    /// is new.
    pub fn upsert(
        &mut self,
        key: &[u8],
        change: impl FnOnce(&mut E),
        make: impl FnOnce() -> E,
    ) -> bool {
        let hash = self.leaves.hash(key);
        let number = self.leaves.leaf_at(hash);
        let (leaf, _) = self.leaves.leaf_mut(number);
        if let Some(entry) = held::make_mut(leaf).find_mut(hash, key) {
            change(entry);
            return false;
        }
        self.push(hash, number, make());
        true
    }

    /// Adds an entry that is not there yet to the leaf in charge of it.
    fn push(&mut self, hash: u64, number: usize, entry: E) {
        let (leaf, hasher) = self.leaves.leaf_mut(number);
        held::make_mut(leaf).push(hash, entry, |key| hasher.hash_one(key));
        self.len += 1;
        self.leaves.split_while_full(hash);
    }

    /// Inserts or replaces; returns what was there before.
    pub fn insert(&mut self, entry: E) -> Option<E> {
        let hash = self.leaves.hash(entry.key());
        let (leaf, hasher) = self.leaves.leaf_mut(self.leaves.leaf_at(hash));
        let before = held::make_mut(leaf).insert(hash, entry, |key| hasher.hash_one(key));
        match &before {
            Some(before) => held::leave(before.common_bytes(1)),
            None => {
                self.len += 1;
                self.leaves.split_while_full(hash);
            }
        }
        before
    }

    /// Removes the entry with these bytes.
    pub fn remove(&mut self, key: &[u8]) -> Option<E> {
        let hash = self.leaves.hash(key);
        let number = self.leaves.leaf_at(hash);
        // A leaf that lacks it need not be copied.
        self.leaves.leaf(number).find(hash, key)?;
        let (leaf, hasher) = self.leaves.leaf_mut(number);
        let entry = held::make_mut(leaf).remove(hash, key, |key| hasher.hash_one(key));
        if let Some(entry) = &entry {
            held::leave(entry.common_bytes(1));
            self.len -= 1;
        }
        self.leaves.merge_while_sparse(hash, |_| {});
        entry
    }

    /// Has the entries with these bytes fetched from memory. What is returned says nothing.
    pub(super) fn warm<'a>(&self, keys: impl Iterator<Item = &'a [u8]>) -> usize {
        let mut hashes = [0; WARM_MAX];
        let mut count = 0;
        for (hash, key) in hashes.iter_mut().zip(keys) {
            *hash = self.leaves.hash(key);
            count += 1;
        }
        self.leaves.warm(&hashes[..count])
    }

    /// All entries, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &E> {
        self.leaves.iter()
    }

    /// One step of a `SCAN` of its entries: about `count` of them from `cursor`; returns the next cursor, 0
    /// at the end.
    pub fn scan<'a>(&'a self, cursor: u64, count: usize, each: impl FnMut(&'a E)) -> u64 {
        self.leaves.scan(cursor, count, each)
    }

    /// An entry at random; `dice` is uniform.
    pub fn random(&self, dice: impl FnMut() -> u64) -> Option<&E> {
        self.leaves.random(dice)
    }

    /// How many groups [`Table::group`] knows.
    pub fn groups(&self) -> usize {
        self.leaves.leaf_count()
    }

    /// A part of the entries, so that a walk over all of them can be cut into slices.
    pub fn group(&self, number: usize) -> &[E] {
        self.leaves.leaf(number).entries()
    }

    /// Bytes of memory, without what the entries refer to.
    pub fn heap_bytes(&self) -> usize {
        self.leaves.heap_bytes()
    }

    /// About how many bytes others have alone when it is dropped.
    pub(super) fn shared_bytes(&self) -> usize {
        held::sum_of_some(self.leaves.leaf_count(), |number| {
            let leaf = self.leaves.leaf(number);
            if held::is_shared(leaf) {
                leaf.all_bytes()
            } else {
                // It was copied, but not what is long in it.
                leaf.entries()
                    .iter()
                    .map(|entry| entry.common_bytes(1))
                    .sum()
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::keyspace::Key;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn it_is_a_set_and_its_clones_keep_their_moment(
            ops in proptest::collection::vec((0_u16..1000, any::<bool>()), 0..3000),
            clone_at in 0_usize..3000,
        ) {
            let mut table = Table::<Key>::default();
            let mut model = BTreeSet::new();
            let mut kept = None;
            for (at, (n, add)) in ops.iter().enumerate() {
                if at == clone_at {
                    kept = Some((table.clone(), model.clone()));
                }
                let key = Key::from(n.to_string().as_bytes());
                if *add {
                    let is_new = match n % 3 {
                        0 => table.insert(key.clone()).is_none(),
                        1 => table.add(&key, || key.clone()),
                        _ => table.upsert(&key, |_| {}, || key.clone()),
                    };
                    prop_assert_eq!(is_new, model.insert(key));
                } else {
                    prop_assert_eq!(table.remove(&key).is_some(), model.remove(&key));
                }
            }
            for (table, model) in kept.into_iter().chain([(table, model)]) {
                table.leaves.check();
                prop_assert_eq!(table.len(), model.len());
                prop_assert_eq!(table.iter().cloned().collect::<BTreeSet<_>>(), model);
            }
        }

        #[test]
        fn it_shrinks_to_one_leaf_and_its_clones_keep_their_moment(
            order in Just((0_u16..2000).collect::<Vec<_>>()).prop_shuffle(),
            clones_at in proptest::collection::btree_set(0_usize..2000, 1..8),
            again in 0_u16..2000,
        ) {
            let mut table = Table::<Key>::default();
            let key = |n: u16| Key::from(n.to_string().as_bytes());
            order.iter().for_each(|n| assert!(table.insert(key(*n)).is_none()));
            let many = table.groups();
            prop_assert!(many > 8);
            let mut kept = Vec::new();
            for (at, n) in order.iter().enumerate() {
                if clones_at.contains(&at) {
                    kept.push((at, table.clone()));
                }
                prop_assert!(table.remove(&key(*n)).is_some());
                prop_assert!(table.remove(&key(*n)).is_none());
            }
            table.leaves.check();
            prop_assert_eq!((table.groups(), table.len()), (1, 0));
            for n in &order[..usize::from(again)] {
                prop_assert!(table.insert(key(*n)).is_none());
            }
            table.leaves.check();
            for (at, table) in kept {
                table.leaves.check();
                let want: BTreeSet<Key> = order[at..].iter().map(|n| key(*n)).collect();
                prop_assert_eq!(table.iter().cloned().collect::<BTreeSet<_>>(), want);
            }
        }
    }
}

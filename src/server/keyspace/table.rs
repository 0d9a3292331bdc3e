//! The table of a large hash, set or sorted set, shared with the snapshots that are still writing it out and copied
//! only if it is. A few entries are one piece; more are many small tables, of which each is shared by itself.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::quality::RandomState;

use super::dense::{Dense, Keyed};
use super::extendible::{Extendible, Leaf, WARM_MAX, below};
use super::{held, steps};

/// So few entries are searched one by one. Many keys have one or two, which would else take less memory than what
/// finds them among thousands.
const FEW_MAX: usize = 8;

/// The two counters before them.
const FEW_HEAD_BYTES: usize = 16;

/// A table whose clone costs one counter for each couple of hundred entries.
#[derive(Clone, Debug)]
pub struct Table<E>(Form<E>);

#[derive(Clone, Debug)]
enum Form<E> {
    /// Up to [`FEW_MAX`] entries, in just the room that they take.
    Few(Arc<[E]>),
    /// What once were more, for good.
    Many(Box<Many<E>>),
}

#[derive(Clone, Debug)]
struct Many<E> {
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

impl<E> Default for Table<E> {
    fn default() -> Table<E> {
        Table(Form::Few(Arc::default()))
    }
}

/// The place among a few entries of the one with these bytes.
fn place<E: Keyed>(few: &[E], key: &[u8]) -> Option<usize> {
    steps::count(1);
    few.iter().position(|entry| entry.key() == key)
}

/// Bytes of memory that a copy of a few entries takes.
fn copied_bytes<E: Keyed>(few: &[E]) -> usize {
    let entries = few.iter().map(Keyed::copied_bytes);
    FEW_HEAD_BYTES + size_of_val(few) + entries.sum::<usize>()
}

/// Notes that others, if there are any, have these entries alone from now on.
fn leave<E: Keyed>(few: &Arc<[E]>) {
    if held::is_shared(few) {
        held::leave(copied_bytes(few));
    }
}

/// A few entries, to be changed; copied where others have them too.
fn own<E: Keyed + Clone>(few: &mut Arc<[E]>) -> &mut [E] {
    leave(few);
    Arc::make_mut(few)
}

/// Takes one of a few entries out. The last takes its place.
fn take_out<E: Keyed + Clone + Default>(few: &mut Arc<[E]>, place: usize) -> Option<E> {
    let (last, others) = own(few).split_last_mut()?;
    if let Some(gap) = others.get_mut(place) {
        std::mem::swap(gap, last);
    }
    let gone = std::mem::take(last);
    held::leave(gone.common_bytes(1));
    *few = others.iter_mut().map(std::mem::take).collect();
    Some(gone)
}

impl<E: Keyed + Clone + Default> Many<E> {
    /// These entries, of which no two have the same bytes.
    fn of(entries: impl Iterator<Item = E>) -> Many<E> {
        let leaf = Arc::new(Dense::with_room(FEW_MAX + FEW_MAX / 2));
        let mut many = Many {
            leaves: Extendible::new(RandomState::default(), leaf),
            len: 0,
        };
        entries.for_each(|entry| many.push(many.leaves.hash(entry.key()), 0, entry));
        many
    }

    fn find_mut(&mut self, hash: u64, number: usize, key: &[u8]) -> Option<&mut E> {
        let (leaf, _) = self.leaves.leaf_mut(number);
        held::make_mut(leaf).find_mut(hash, key)
    }

    /// Adds an entry that is not there yet to the leaf in charge of it.
    fn push(&mut self, hash: u64, number: usize, entry: E) {
        let (leaf, hasher) = self.leaves.leaf_mut(number);
        held::make_mut(leaf).push(hash, entry, |key| hasher.hash_one(key));
        self.len += 1;
        self.leaves.split_while_full(hash);
    }

    fn insert(&mut self, entry: E) -> Option<E> {
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

    fn remove(&mut self, key: &[u8]) -> Option<E> {
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

    fn warm<'a>(&self, keys: impl Iterator<Item = &'a [u8]>) -> usize {
        let mut hashes = [0; WARM_MAX];
        let mut count = 0;
        for (hash, key) in hashes.iter_mut().zip(keys) {
            *hash = self.leaves.hash(key);
            count += 1;
        }
        self.leaves.warm(&hashes[..count])
    }
}

impl<E: Keyed + Clone + Default> Table<E> {
    /// Entries.
    pub fn len(&self) -> usize {
        match &self.0 {
            Form::Few(few) => few.len(),
            Form::Many(many) => many.len,
        }
    }

    /// True without any.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The entry with these bytes.
    pub fn get(&self, key: &[u8]) -> Option<&E> {
        match &self.0 {
            Form::Few(few) => place(few, key).map(|at| &few[at]),
            Form::Many(many) => many.leaves.find(many.leaves.hash(key), key),
        }
    }

    /// The entry with these bytes, to be changed; its key must stay.
    pub fn get_mut(&mut self, key: &[u8]) -> Option<&mut E> {
        match &mut self.0 {
            Form::Few(few) => place(few, key).map(|at| &mut own(few)[at]),
            Form::Many(many) => {
                let hash = many.leaves.hash(key);
                many.find_mut(hash, many.leaves.leaf_at(hash), key)
            }
        }
    }

    /// Adds the entry that `make` makes unless one with these bytes is there; true if it is new.
    pub fn add(&mut self, key: &[u8], make: impl FnOnce() -> E) -> bool {
        match &mut self.0 {
            Form::Few(few) => {
                let is_new = place(few, key).is_none();
                if is_new {
                    self.append(make());
                }
                is_new
            }
            Form::Many(many) => {
                let hash = many.leaves.hash(key);
                let number = many.leaves.leaf_at(hash);
                // A leaf that has it need not be copied.
                let is_new = many.leaves.leaf(number).find(hash, key).is_none();
                if is_new {
                    many.push(hash, number, make());
                }
                is_new
            }
        }
    }

    /// Changes the entry with these bytes, whose key must stay, or adds the one that `make` makes; true if it
    /// is new.
    pub fn upsert(
        &mut self,
        key: &[u8],
        change: impl FnOnce(&mut E),
        make: impl FnOnce() -> E,
    ) -> bool {
        match &mut self.0 {
            Form::Few(few) => match place(few, key) {
                Some(at) => change(&mut own(few)[at]),
                None => {
                    self.append(make());
                    return true;
                }
            },
            Form::Many(many) => {
                let hash = many.leaves.hash(key);
                let number = many.leaves.leaf_at(hash);
                match many.find_mut(hash, number, key) {
                    Some(entry) => change(entry),
                    None => {
                        many.push(hash, number, make());
                        return true;
                    }
                }
            }
        }
        false
    }

    /// Adds an entry that is not there yet to a few.
    fn append(&mut self, entry: E) {
        let Form::Few(few) = &mut self.0 else {
            unreachable!("called for a few");
        };
        let is_full = few.len() == FEW_MAX;
        let one = std::iter::once(entry);
        match Arc::get_mut(few) {
            _ if is_full => {
                let all = own(few).iter_mut().map(std::mem::take).chain(one);
                self.0 = Form::Many(Box::new(Many::of(all)));
            }
            Some(own) => *few = own.iter_mut().map(std::mem::take).chain(one).collect(),
            None => {
                leave(few);
                *few = few.iter().cloned().chain(one).collect();
            }
        }
    }

    /// Moves entries in, with the hashes that `hasher` makes of them, into a table that has got all that it has in this
    /// way; false if one of them has the bytes of another, and then not all.
    pub(super) fn add_all(&mut self, hasher: &RandomState, entries: &mut Vec<(u64, E)>) -> bool {
        if self.is_empty() {
            if entries.len() <= FEW_MAX {
                let few: Arc<[E]> = entries.drain(..).map(|(_, entry)| entry).collect();
                let is_distinct =
                    (1..few.len()).all(|at| place(&few[..at], few[at].key()).is_none());
                self.0 = Form::Few(few);
                return is_distinct;
            }
            let mut leaves = Extendible::new(hasher.clone(), Arc::default());
            leaves.spread(entries.len(), |room| Arc::new(Dense::with_room(room)));
            self.0 = Form::Many(Box::new(Many { leaves, len: 0 }));
        }
        let Form::Many(many) = &mut self.0 else {
            unreachable!("a few are the last that come");
        };
        entries.sort_unstable_by_key(|(hash, _)| *hash);
        for (hash, entry) in entries.drain(..) {
            let number = many.leaves.leaf_at(hash);
            if many.leaves.leaf(number).find(hash, entry.key()).is_some() {
                return false;
            }
            many.push(hash, number, entry);
        }
        true
    }

    /// What the cursors of a `SCAN` of its entries go by; `None`: they are few, and one step shows them all.
    pub(super) fn hasher(&self) -> Option<&RandomState> {
        match &self.0 {
            Form::Few(_) => None,
            Form::Many(many) => Some(many.leaves.hasher()),
        }
    }

    /// Inserts or replaces; returns what was there before.
    pub fn insert(&mut self, entry: E) -> Option<E> {
        match &mut self.0 {
            Form::Few(few) => match place(few, entry.key()) {
                Some(at) => {
                    let before = std::mem::replace(&mut own(few)[at], entry);
                    held::leave(before.common_bytes(1));
                    Some(before)
                }
                None => {
                    self.append(entry);
                    None
                }
            },
            Form::Many(many) => many.insert(entry),
        }
    }

    /// Removes the entry with these bytes.
    pub fn remove(&mut self, key: &[u8]) -> Option<E> {
        match &mut self.0 {
            Form::Few(few) => place(few, key).and_then(|at| take_out(few, at)),
            Form::Many(many) => many.remove(key),
        }
    }

    /// Has the entries with these bytes fetched from memory. What is returned says nothing.
    pub(super) fn warm<'a>(&self, keys: impl Iterator<Item = &'a [u8]>) -> usize {
        match &self.0 {
            Form::Few(few) => few.iter().map(Keyed::touch).sum(),
            Form::Many(many) => many.warm(keys),
        }
    }

    /// All entries, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &E> {
        (0..self.groups()).flat_map(|number| self.group(number))
    }

    /// One step of a `SCAN` of its entries: about `count` of them from `cursor`; returns the next cursor, 0
    /// at the end.
    pub fn scan<'a>(&'a self, cursor: u64, count: usize, each: impl FnMut(&'a E)) -> u64 {
        match &self.0 {
            Form::Few(few) => {
                few.iter().for_each(each);
                0
            }
            Form::Many(many) => many.leaves.scan(cursor, count, each),
        }
    }

    /// An entry at random; `dice` is uniform.
    pub fn random(&self, dice: impl FnMut() -> u64) -> Option<&E> {
        match &self.0 {
            Form::Few(few) if few.is_empty() => None,
            Form::Few(few) => few.get(below(few.len(), dice)),
            Form::Many(many) => many.leaves.random(dice),
        }
    }

    /// How many groups [`Table::group`] knows.
    pub fn groups(&self) -> usize {
        match &self.0 {
            Form::Few(_) => 1,
            Form::Many(many) => many.leaves.leaf_count(),
        }
    }

    /// A part of the entries, so that a walk over all of them can be cut into slices.
    pub fn group(&self, number: usize) -> &[E] {
        match &self.0 {
            Form::Few(few) => few,
            Form::Many(many) => many.leaves.leaf(number).entries(),
        }
    }

    /// Bytes of memory, without what the entries refer to.
    pub fn heap_bytes(&self) -> usize {
        match &self.0 {
            Form::Few(few) => FEW_HEAD_BYTES + size_of_val::<[E]>(few),
            Form::Many(many) => size_of::<Many<E>>() + many.leaves.heap_bytes(),
        }
    }

    /// About how many bytes others have alone when it is dropped.
    pub(super) fn shared_bytes(&self) -> usize {
        // What is long in a piece that is not shared may be all the same.
        let in_common = |entries: &[E], owners| -> usize {
            let entries = entries.iter();
            entries.map(|entry| entry.common_bytes(owners)).sum()
        };
        match &self.0 {
            Form::Few(few) if held::is_shared(few) => copied_bytes(few) + in_common(few, 0),
            Form::Few(few) => in_common(few, 1),
            Form::Many(many) => held::sum_of_some(many.leaves.leaf_count(), |number| {
                let leaf = many.leaves.leaf(number);
                if held::is_shared(leaf) {
                    leaf.all_bytes()
                } else {
                    in_common(leaf.entries(), 1)
                }
            }),
        }
    }

    /// Of so many bytes that its entries take, the fair part of this one of those who have them.
    pub(super) fn fair_part(&self, bytes: usize) -> usize {
        match &self.0 {
            Form::Few(few) => bytes / Arc::strong_count(few).max(1),
            Form::Many(many) => held::fair_part(bytes, many.leaves.leaf_count(), |number| {
                Arc::strong_count(many.leaves.leaf(number))
            }),
        }
    }

    /// Walks the whole structure.
    #[cfg(test)]
    pub(super) fn check(&self) {
        match &self.0 {
            Form::Few(few) => assert!(few.len() <= FEW_MAX),
            Form::Many(many) => many.leaves.check(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::keyspace::Key;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_few_take_the_room_of_their_entries() {
        let mut table = Table::<Key>::default();
        for n in 0..=FEW_MAX {
            assert!(table.insert(Key::from(n.to_string().as_bytes())).is_none());
            let overhead = table.heap_bytes() - table.len() * size_of::<Key>();
            assert_eq!(overhead == 16, n < FEW_MAX, "{n}: {overhead}");
        }
        assert_eq!(size_of::<Table<Key>>(), 16);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn a_few_are_a_set_and_their_clones_keep_their_moment(
            ops in proptest::collection::vec((0_u16..12, 0_u8..6), 0..60),
        ) {
            let mut table = Table::<Key>::default();
            let mut model = BTreeSet::new();
            let mut kept = Vec::new();
            for (n, op) in ops {
                let key = Key::from(n.to_string().as_bytes());
                let is_known = model.contains(&key);
                prop_assert_eq!(table.get(&key), is_known.then_some(&key));
                match op {
                    0 => prop_assert_eq!(table.insert(key.clone()).is_some(), is_known),
                    1 => prop_assert_eq!(table.add(&key, || key.clone()), !is_known),
                    2 => prop_assert_eq!(table.upsert(&key, |_| {}, || key.clone()), !is_known),
                    3 | 4 => prop_assert_eq!(table.remove(&key).is_some(), is_known),
                    _ => kept.push((table.clone(), model.clone())),
                }
                if op < 3 {
                    model.insert(key);
                } else if op < 5 {
                    model.remove(&key);
                }
            }
            for (table, model) in kept.into_iter().chain([(table, model)]) {
                table.check();
                prop_assert_eq!(table.len(), model.len());
                prop_assert_eq!(table.random(|| 5).is_some(), !model.is_empty());
                prop_assert_eq!(table.iter().cloned().collect::<BTreeSet<_>>(), model.clone());
                let mut seen = BTreeSet::new();
                prop_assert_eq!(table.scan(0, 100, |key| seen.extend([key.clone()])), 0);
                prop_assert_eq!(seen, model);
            }
        }

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
                table.check();
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
            table.check();
            prop_assert_eq!((table.groups(), table.len()), (1, 0));
            for n in &order[..usize::from(again)] {
                prop_assert!(table.insert(key(*n)).is_none());
            }
            table.check();
            for (at, table) in kept {
                table.check();
                let want: BTreeSet<Key> = order[at..].iter().map(|n| key(*n)).collect();
                prop_assert_eq!(table.iter().cloned().collect::<BTreeSet<_>>(), want);
            }
        }
    }
}

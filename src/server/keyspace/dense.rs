//! A small hash table whose entries lie densely in one vector.
//!
//! The table proper holds two bytes for each entry, its place in the vector. So the entries, which are much
//! larger, waste no room on empty slots, are walked without a gap, and one at random is one by its number.

use hashbrown::HashTable;

use super::extendible::LEAF_KEYS_MAX;
use super::held::Whole;
use super::key::Key;
use super::steps;

/// Something that is found by its bytes.
pub trait Keyed {
    /// Those bytes.
    fn key(&self) -> &[u8];

    /// Reads a little of everything that it refers to, so that it is near when it is needed. What is returned
    /// says nothing.
    fn touch(&self) -> usize {
        self.key().first().map_or(0, |byte| usize::from(*byte))
    }

    /// Bytes of memory that a clone takes beyond itself. What it has in common with the original is none.
    fn copied_bytes(&self) -> usize {
        0
    }

    /// Bytes of what clones have in common, as far as that has more than so many owners.
    fn common_bytes(&self, owners: usize) -> usize {
        let _ = owners;
        0
    }
}

impl Keyed for Key {
    fn key(&self) -> &[u8] {
        self
    }

    fn common_bytes(&self, owners: usize) -> usize {
        Key::common_bytes(self, owners)
    }
}

/// The table. Whoever calls it knows the hashes; `hash_of` gives those of entries that have to be moved.
#[derive(Clone, Debug)]
pub(super) struct Dense<E> {
    index: HashTable<u16>,
    entries: Vec<E>,
}

impl<E> Default for Dense<E> {
    fn default() -> Dense<E> {
        Dense {
            index: HashTable::new(),
            entries: Vec::new(),
        }
    }
}

/// The room for entries when there are so many: half as much again, in few sizes, so that an allocator can
/// use for one table what another has outgrown.
pub(super) fn grown(len: usize) -> usize {
    const SIZES: [usize; 10] = [4, 8, 16, 28, 48, 64, 96, 128, 160, 224];
    match SIZES.iter().find(|size| **size > len) {
        Some(size) => *size,
        None => len + len / 2,
    }
}

/// A hash as the tables want it: they take their slot from the low bits and their tag from the top
/// seven, and the directory above them has used the top ones.
fn table_hash(hash: u64) -> u64 {
    hash.rotate_left(32)
}

impl<E: Keyed + Clone> Whole for Dense<E> {
    fn copied_bytes(&self) -> usize {
        let entries = self.entries.iter().map(Keyed::copied_bytes);
        self.heap_bytes() + entries.sum::<usize>()
    }
}

impl<E: Keyed> Dense<E> {
    /// Bytes of memory with all that its entries refer to.
    pub(super) fn all_bytes(&self) -> usize {
        let bytes_of = |entry: &E| entry.copied_bytes() + entry.common_bytes(0);
        self.heap_bytes() + self.entries.iter().map(bytes_of).sum::<usize>()
    }
}

impl<E> Dense<E> {
    /// Bytes of memory that it holds, without what its entries refer to.
    pub(super) fn heap_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<E>() + self.index.allocation_size()
    }
}

impl<E: Keyed> Dense<E> {
    /// An empty one with room for so many entries.
    pub(super) fn with_room(entries: usize) -> Dense<E> {
        Dense {
            index: HashTable::with_capacity(entries.min(LEAF_KEYS_MAX + 1)),
            entries: Vec::with_capacity(entries),
        }
    }

    /// Entries.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// True without any.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All entries, in no order.
    pub(super) fn entries(&self) -> &[E] {
        &self.entries
    }

    /// The entry with these bytes.
    pub(super) fn find(&self, hash: u64, key: &[u8]) -> Option<&E> {
        self.place(hash, key).map(|at| &self.entries[at])
    }

    /// The entry with these bytes, to be changed; its key must stay.
    pub(super) fn find_mut(&mut self, hash: u64, key: &[u8]) -> Option<&mut E> {
        self.place(hash, key).map(|at| &mut self.entries[at])
    }

    /// Inserts or replaces; returns what was there before.
    pub(super) fn insert(
        &mut self,
        hash: u64,
        entry: E,
        hash_of: impl Fn(&[u8]) -> u64,
    ) -> Option<E> {
        if let Some(at) = self.place(hash, entry.key()) {
            return Some(std::mem::replace(&mut self.entries[at], entry));
        }
        self.push(hash, entry, hash_of);
        None
    }

    /// Adds an entry that is not there yet.
    ///
    /// # Panics
    /// There are as many as 16 bits can number.
    pub(super) fn push(&mut self, hash: u64, entry: E, hash_of: impl Fn(&[u8]) -> u64) {
        let place = u16::try_from(self.entries.len()).expect("a segment splits long before");
        if self.entries.len() == self.entries.capacity() {
            let more = grown(self.entries.len()) - self.entries.len();
            self.entries.reserve_exact(more);
        }
        self.entries.push(entry);
        let entries = &self.entries;
        self.index.insert_unique(table_hash(hash), place, |at| {
            table_hash(hash_of(entries[usize::from(*at)].key()))
        });
    }

    /// Removes the entry with these bytes.
    pub(super) fn remove(
        &mut self,
        hash: u64,
        key: &[u8],
        hash_of: impl Fn(&[u8]) -> u64,
    ) -> Option<E> {
        let entries = &self.entries;
        let is_it = |at: &u16| entries[usize::from(*at)].key() == key;
        let found = self.index.find_entry(table_hash(hash), is_it).ok()?;
        let (place, _) = found.remove();
        let place = usize::from(place);
        let entry = self.entries.swap_remove(place);
        if let Some(moved) = self.entries.get(place) {
            let was = self.entries.len();
            let slot = self
                .index
                .find_mut(table_hash(hash_of(moved.key())), |at| {
                    usize::from(*at) == was
                })
                .expect("every entry is in the index");
            *slot = u16::try_from(place).expect("below the old length");
        }
        self.shrink(hash_of);
        Some(entry)
    }

    /// Moves the entries that `goes` names by their hash into a table of their own.
    pub(super) fn split_off(
        &mut self,
        hash_of: impl Fn(&[u8]) -> u64,
        goes: impl Fn(u64) -> bool,
    ) -> Dense<E> {
        let all = std::mem::take(self);
        let hashes: Vec<u64> = all.entries.iter().map(|e| hash_of(e.key())).collect();
        let going = hashes.iter().filter(|hash| goes(**hash)).count();
        let mut other = Dense::with_room(grown(going));
        *self = Dense::with_room(grown(all.entries.len() - going));
        for (entry, hash) in all.entries.into_iter().zip(hashes) {
            let to = if goes(hash) { &mut other } else { &mut *self };
            to.push(hash, entry, &hash_of);
        }
        other
    }

    /// Takes in the entries of another table, which has none of those that are here.
    pub(super) fn absorb(&mut self, mut other: Dense<E>, hash_of: impl Fn(&[u8]) -> u64) {
        if self.len() < other.len() {
            std::mem::swap(self, &mut other);
        }
        steps::count(other.len());
        for entry in other.entries {
            self.push(hash_of(entry.key()), entry, &hash_of);
        }
    }

    /// Gives memory back after many removals.
    fn shrink(&mut self, hash_of: impl Fn(&[u8]) -> u64) {
        let len = self.entries.len();
        if len == 0 {
            *self = Dense::default();
        } else if self.entries.capacity() > 16 && len * 2 < self.entries.capacity() {
            self.entries.shrink_to(len + len / 4);
            let entries = &self.entries;
            self.index.shrink_to(len + len / 4, |at| {
                table_hash(hash_of(entries[usize::from(*at)].key()))
            });
        }
    }

    /// The entry at this place, if there are so many.
    pub(super) fn at(&self, place: usize) -> Option<&E> {
        self.entries.get(place)
    }

    /// All entries, to be changed; their keys must stay.
    pub(super) fn entries_mut(&mut self) -> &mut [E] {
        &mut self.entries
    }

    /// The entry at a place that [`Dense::place`] has told, to be changed; its key must stay.
    pub(super) fn at_mut(&mut self, place: usize) -> &mut E {
        &mut self.entries[place]
    }

    /// A guess where an entry with this hash is, by its tag alone, which is nearly always right. Looks at no
    /// entry.
    pub(super) fn guess(&self, hash: u64) -> Option<usize> {
        self.index
            .find(table_hash(hash), |_| true)
            .map(|at| usize::from(*at))
    }

    /// Where the entry with these bytes is, until the table changes.
    pub(super) fn place(&self, hash: u64, key: &[u8]) -> Option<usize> {
        steps::count(1);
        let is_it = |at: &u16| self.entries[usize::from(*at)].key() == key;
        self.index
            .find(table_hash(hash), is_it)
            .map(|at| usize::from(*at))
    }

    /// Looks each entry up.
    #[cfg(test)]
    pub(super) fn check(&self, hash_of: impl Fn(&[u8]) -> u64) {
        assert_eq!(self.index.len(), self.entries.len());
        for (at, entry) in self.entries.iter().enumerate() {
            let key = entry.key();
            assert_eq!(self.place(hash_of(key), key), Some(at));
        }
    }
}

//! An extendible hash: a directory over many small tables.
//!
//! The top bits of a key's hash choose an entry of the directory, which names a leaf. A leaf that is full
//! splits in two, and two halves that are nearly empty merge again; nothing else moves, so no write ever waits for
//! more than [`LEAF_KEYS_MAX`] keys to be placed again. Because a leaf covers one contiguous range of hashes, a
//! position in the hash space is a stable cursor: neither splits nor merges move a key across it.

use std::hash::BuildHasher;

use foldhash::quality::RandomState;

use super::dense::{Dense, Keyed, grown};

/// A leaf with more keys than this splits, so that no more than 224 are ever in one: what 256 slots of a
/// hashbrown table hold, and a size of which allocators waste nothing.
pub(super) const LEAF_KEYS_MAX: usize = 223;

/// Two halves merge when they have no more keys than this together. So few that many must come before what they have
/// become is full, and a number of keys that goes up and down does not split and merge leaves again and again.
const MERGED_KEYS_MAX: usize = LEAF_KEYS_MAX / 4;

/// Directories stop doubling here; leaves then grow instead. Bits of the hash.
const DEPTH_MAX: u8 = 28;

/// The most entries that are fetched at the same time. More than a processor can wait for at once.
pub const WARM_MAX: usize = 32;

/// Bits of the hash that a `SCAN` cursor leaves out, so that it stays below 2^48 and clients that keep it
/// in a double are right.
const SCAN_SHIFT: u32 = 16;

/// The most keys of one leaf. Hashes are spread so evenly that leaves of one limit would all split at about
/// the same time, and the memory of half of them lie idle; so each has a limit of its own.
fn keys_max(number: usize) -> usize {
    /// How far limits differ.
    const SPREAD: usize = 96;
    // The golden ratio of 32 bits spreads successive numbers evenly.
    let place = u32::try_from(number).unwrap_or(0).wrapping_mul(0x9e37_79b9) >> 16;
    LEAF_KEYS_MAX - ((place as usize * SPREAD) >> 16)
}

/// A small table as the directory sees it.
pub(super) trait Leaf {
    /// What it holds.
    type Entry: Keyed;

    /// Its entries.
    fn dense(&self) -> &Dense<Self::Entry>;

    /// Moves the entries that `goes` names by their hash into a leaf of their own.
    fn split_off(&mut self, hash_of: impl Fn(&[u8]) -> u64, goes: impl Fn(u64) -> bool) -> Self;

    /// Takes in the entries of the other half.
    fn absorb(&mut self, other: Self, hash_of: impl Fn(&[u8]) -> u64);
}

/// The directory and its leaves.
#[derive(Clone, Debug)]
pub(super) struct Extendible<L> {
    hasher: RandomState,
    /// `1 << depth` names of leaves, by the top bits of the hash.
    directory: Vec<u32>,
    depth: u8,
    /// How many leaves have each depth, from 1 up to that of the directory.
    of_depth: Vec<u32>,
    leaves: Vec<Placed<L>>,
}

#[derive(Clone, Debug)]
struct Placed<L> {
    /// How many top bits of the hash its keys share.
    depth: u8,
    /// Those bits, at the top of 32.
    prefix: u32,
    leaf: L,
}

/// The last of the top bits that the keys of a leaf of this depth, which is not 0, share.
fn half(depth: u8) -> u32 {
    1 << (32 - u32::from(depth))
}

/// A number below `len`, which is not 0, at random: `dice` is uniform.
pub(super) fn below(len: usize, mut dice: impl FnMut() -> u64) -> usize {
    usize::try_from(dice() % (len as u64)).expect("below a usize")
}

impl<L: Leaf> Extendible<L> {
    /// One leaf for everything.
    pub(super) fn new(hasher: RandomState, leaf: L) -> Extendible<L> {
        Extendible {
            hasher,
            directory: vec![0],
            depth: 0,
            of_depth: Vec::new(),
            leaves: vec![Placed {
                depth: 0,
                prefix: 0,
                leaf,
            }],
        }
    }

    /// Spreads an empty table over the leaves that so many entries need; `leaf` makes one with room for so many.
    pub(super) fn spread(&mut self, entries: usize, leaf: impl Fn(usize) -> L) {
        /// A leaf has so many on average, up to twice as many: even the smallest limit lets them in.
        const LEAF_KEYS: usize = 64;
        let depth = (entries / LEAF_KEYS).checked_ilog2().unwrap_or(0);
        let depth = u8::try_from(depth).unwrap_or(DEPTH_MAX).min(DEPTH_MAX);
        let count = 1_u32 << depth;
        let room = if depth == 0 {
            entries
        } else {
            grown(entries >> depth)
        };
        let place = |n: u32| Placed {
            depth,
            prefix: if depth == 0 { 0 } else { n * half(depth) },
            leaf: leaf(room),
        };
        self.depth = depth;
        self.directory = (0..count).collect();
        self.leaves = (0..count).map(place).collect();
        self.of_depth = vec![0; usize::from(depth)];
        if let Some(last) = self.of_depth.last_mut() {
            *last = count;
        }
    }

    pub(super) fn hasher(&self) -> &RandomState {
        &self.hasher
    }

    pub(super) fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash_one(key)
    }

    /// The number of the leaf in charge of `hash`. It changes only when leaves split or merge.
    pub(super) fn leaf_at(&self, hash: u64) -> usize {
        if self.depth == 0 {
            return 0;
        }
        let slot = hash >> (64 - u32::from(self.depth));
        self.directory[usize::try_from(slot).expect("at most 28 bits")] as usize
    }

    /// The first hash after the leaf that is in charge of `hash`, or `None` at the end of the hash space.
    pub(super) fn leaf_end(&self, hash: u64) -> Option<u64> {
        let depth = u32::from(self.leaves[self.leaf_at(hash)].depth);
        if depth == 0 {
            return None;
        }
        let size = 1_u64 << (64 - depth);
        (hash & !(size - 1)).checked_add(size)
    }

    pub(super) fn leaf(&self, number: usize) -> &L {
        &self.leaves[number].leaf
    }

    /// A leaf to be changed, and the hash that it goes by.
    pub(super) fn leaf_mut(&mut self, number: usize) -> (&mut L, &RandomState) {
        (&mut self.leaves[number].leaf, &self.hasher)
    }

    /// All leaves.
    pub(super) fn leaves(&self) -> impl Iterator<Item = &L> {
        self.leaves.iter().map(|placed| &placed.leaf)
    }

    /// How many leaves there are.
    pub(super) fn leaf_count(&self) -> usize {
        self.leaves.len()
    }

    /// The leaf that [`Extendible::pop_leaf`] takes.
    pub(super) fn last_leaf_mut(&mut self) -> Option<&mut L> {
        self.leaves.last_mut().map(|placed| &mut placed.leaf)
    }

    /// Takes one leaf out; what is left is no whole any more.
    pub(super) fn pop_leaf(&mut self) -> Option<L> {
        self.leaves.pop().map(|placed| placed.leaf)
    }

    pub(super) fn find(&self, hash: u64, key: &[u8]) -> Option<&L::Entry> {
        self.leaf(self.leaf_at(hash)).dense().find(hash, key)
    }

    /// Has the entries of these hashes fetched from memory, all at the same time: each loop takes one step for
    /// all of them, and as no step waits for that of another, neither does the processor. Looks up at most
    /// [`WARM_MAX`]. What is returned says nothing.
    pub(super) fn warm(&self, hashes: &[u64]) -> usize {
        let hashes = &hashes[..hashes.len().min(WARM_MAX)];
        let mut leaves = [0; WARM_MAX];
        for (leaf, hash) in leaves.iter_mut().zip(hashes) {
            *leaf = self.leaf_at(*hash);
        }
        let leaves = &leaves[..hashes.len()];
        let dense = |leaf: &usize| self.leaf(*leaf).dense();
        let mut seen = leaves.iter().map(|leaf| dense(leaf).len()).sum();
        let mut places = [None; WARM_MAX];
        for ((place, leaf), hash) in places.iter_mut().zip(leaves).zip(hashes) {
            // One that is not there yet will come behind the last.
            let dense = dense(leaf);
            *place = dense.guess(*hash).or(dense.len().checked_sub(1));
        }
        for (place, leaf) in places.iter().zip(leaves) {
            let entry = place.and_then(|place| dense(leaf).at(place));
            seen ^= entry.map_or(0, |entry| usize::from(entry.key().is_empty()));
        }
        for (place, leaf) in places.iter().zip(leaves) {
            let entry = place.and_then(|place| dense(leaf).at(place));
            seen ^= entry.map_or(0, Keyed::touch);
        }
        seen
    }

    /// All entries, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &L::Entry> {
        self.leaves().flat_map(|leaf| leaf.dense().entries())
    }

    /// Splits the leaf in charge of `hash` until it holds no more than its share. To be called after an
    /// insertion.
    pub(super) fn split_while_full(&mut self, hash: u64) {
        loop {
            let number = self.leaf_at(hash);
            let is_full = self.leaf(number).dense().len() > keys_max(number);
            if !is_full || !self.split(hash) {
                return;
            }
        }
    }

    /// Splits the leaf in charge of `hash`; false when the directory may not grow for it.
    fn split(&mut self, hash: u64) -> bool {
        let number = self.leaf_at(hash);
        let depth = self.leaves[number].depth;
        if depth == self.depth {
            if self.depth >= DEPTH_MAX {
                return false;
            }
            self.directory = self.directory.iter().flat_map(|&s| [s, s]).collect();
            self.depth += 1;
            self.of_depth.push(0);
        }
        self.count(depth, -1);
        self.count(depth + 1, 2);
        let hasher = &self.hasher;
        let placed = &mut self.leaves[number];
        let bit = 1_u64 << (63 - u32::from(depth));
        let upper = placed
            .leaf
            .split_off(|key| hasher.hash_one(key), |hash| hash & bit != 0);
        placed.depth = depth + 1;
        let upper = Placed {
            depth: depth + 1,
            prefix: placed.prefix | half(depth + 1),
            leaf: upper,
        };
        self.leaves.push(upper);
        self.enter(self.leaves.len() - 1);
        true
    }

    /// Has the directory name a leaf for the whole of its range.
    fn enter(&mut self, number: usize) {
        let Placed { depth, prefix, .. } = self.leaves[number];
        let first = u64::from(prefix) >> (32 - u32::from(self.depth));
        let first = usize::try_from(first).expect("at most 28 bits");
        let name = u32::try_from(number).expect("at most 2^28 leaves");
        self.directory[first..first + (1 << (self.depth - depth))].fill(name);
    }

    /// Merges the leaf in charge of `hash` with the other half of what it was split from, and what they become again,
    /// as long as they are nearly empty; `prepare` is called for either half before. To be called after a removal.
    pub(super) fn merge_while_sparse(&mut self, hash: u64, mut prepare: impl FnMut(&mut L)) {
        loop {
            let number = self.leaf_at(hash);
            let Placed { depth, prefix, .. } = self.leaves[number];
            let len = self.leaf(number).dense().len();
            if depth == 0 || len > MERGED_KEYS_MAX {
                return;
            }
            let bit = half(depth);
            let other = self.leaf_at(u64::from(prefix ^ bit) << 32);
            let both = len + self.leaf(other).dense().len();
            if self.leaves[other].depth > depth || both > MERGED_KEYS_MAX {
                return;
            }
            for either in [number, other] {
                prepare(&mut self.leaves[either].leaf);
            }
            if prefix & bit == 0 {
                self.merge(number, other);
            } else {
                self.merge(other, number);
            }
        }
    }

    /// Merges the two halves of a range.
    fn merge(&mut self, lower: usize, upper: usize) {
        /// Fewer leaves are not worth a thought.
        const ROOM_KEPT: usize = 64;
        let depth = self.leaves[lower].depth;
        self.count(depth, -2);
        self.count(depth - 1, 1);
        // The last leaf gets the number of the one that goes.
        let gone = self.leaves.swap_remove(upper);
        let moved = self.leaves.len();
        let lower = if lower == moved { upper } else { lower };
        let hasher = &self.hasher;
        let placed = &mut self.leaves[lower];
        placed.depth -= 1;
        placed.leaf.absorb(gone.leaf, |key| hasher.hash_one(key));
        self.enter(lower);
        if upper != lower && upper < moved {
            self.enter(upper);
        }
        if self.leaves.capacity() > ROOM_KEPT && self.leaves.len() * 4 < self.leaves.capacity() {
            self.leaves.shrink_to(self.leaves.len() * 2);
        }
        // Twice as large as it must be it may stay: the next leaf that splits would need that again.
        while let [.., 0, 0] = self.of_depth[..] {
            self.halve();
        }
    }

    /// Counts leaves that got a depth, or have it no more.
    fn count(&mut self, depth: u8, leaves: i32) {
        if let Some(nth) = usize::from(depth).checked_sub(1) {
            let count = self.of_depth[nth].checked_add_signed(leaves);
            self.of_depth[nth] = count.expect("no more go than there are");
        }
    }

    /// Takes the directory back to half its size, when no leaf needs more: one pass over four bytes for each entry,
    /// as when it was doubled.
    fn halve(&mut self) {
        let half = self.directory.len() / 2;
        for slot in 0..half {
            self.directory[slot] = self.directory[2 * slot];
        }
        self.directory.truncate(half);
        self.directory.shrink_to_fit();
        self.depth -= 1;
        self.of_depth.pop();
    }

    /// One step of `SCAN` from `cursor`: hands about `count` entries to `each` and returns the next cursor,
    /// 0 at the end. A key that is here from the first call to the last is seen at least once; more than
    /// once only if it was deleted and made again.
    pub(super) fn scan<'a>(
        &'a self,
        cursor: u64,
        count: usize,
        mut each: impl FnMut(&'a L::Entry),
    ) -> u64 {
        /// Leaves looked at in one call, however empty they are.
        const LEAVES_PER_CALL_MAX: usize = 4096;
        let mut position = cursor << SCAN_SHIFT;
        let mut left = count.max(1);
        for _ in 0..LEAVES_PER_CALL_MAX {
            let leaf = self.leaf(self.leaf_at(position)).dense();
            let mut found: Vec<(u64, &L::Entry)> = leaf
                .entries()
                .iter()
                .map(|e| (self.hash(e.key()) >> SCAN_SHIFT, e))
                .filter(|(at, _)| *at >= position >> SCAN_SHIFT)
                .collect();
            if found.len() > left {
                // Stop between two positions of the cursor, after the last that still fits.
                found.sort_unstable_by_key(|(at, _)| *at);
                let stop = found[left - 1].0;
                found
                    .iter()
                    .take_while(|(at, _)| *at <= stop)
                    .for_each(|(_, e)| each(e));
                if found.last().is_some_and(|(at, _)| *at > stop) {
                    return stop + 1;
                }
                left = 0;
            } else {
                left -= found.len();
                found.into_iter().for_each(|(_, e)| each(e));
            }
            match self.leaf_end(position) {
                None => return 0,
                Some(end) if left == 0 => return end >> SCAN_SHIFT,
                Some(end) => position = end,
            }
        }
        position >> SCAN_SHIFT
    }

    /// An entry at random, fairly enough for `RANDOMKEY` and its like: `dice` is uniform. `None` only when
    /// there is none.
    pub(super) fn random(&self, mut dice: impl FnMut() -> u64) -> Option<&L::Entry> {
        let mut position = dice();
        // Once round the hash space, from anywhere, meets every leaf.
        for _ in 0..=self.leaves.len() {
            let entries = self.leaf(self.leaf_at(position)).dense().entries();
            if !entries.is_empty() {
                return entries.get(below(entries.len(), &mut dice));
            }
            position = self.leaf_end(position).unwrap_or(0);
        }
        None
    }

    /// Bytes of memory of the directory and the leaves' own tables; an estimate by some of them where there are many.
    pub(super) fn heap_bytes(&self) -> usize {
        /// Leaves in a row have limits that are spread evenly, see [`keys_max`].
        const RUN_LEAVES: usize = 64;
        const RUNS: usize = 32;
        const LOOKED_AT_MAX: usize = RUNS * RUN_LEAVES;
        let bytes_of = |leaves: &[Placed<L>]| -> usize {
            let each = leaves.iter().map(|placed| placed.leaf.dense().heap_bytes());
            each.sum()
        };
        let count = self.leaves.len();
        let tables = if count <= LOOKED_AT_MAX {
            bytes_of(&self.leaves)
        } else {
            let firsts = (0..RUNS).map(|run| run * (count - RUN_LEAVES) / (RUNS - 1));
            let runs = firsts.map(|first| bytes_of(&self.leaves[first..first + RUN_LEAVES]));
            runs.sum::<usize>() / LOOKED_AT_MAX * count
        };
        self.directory.capacity() * size_of::<u32>()
            + self.leaves.capacity() * size_of::<Placed<L>>()
            + tables
    }

    /// Walks the whole structure.
    #[cfg(test)]
    pub(super) fn check(&self) {
        assert_eq!(self.directory.len(), 1 << self.depth);
        assert_eq!(self.of_depth.len(), usize::from(self.depth));
        for (depth, count) in (1..).zip(&self.of_depth) {
            let leaves = self.leaves.iter().filter(|leaf| leaf.depth == depth);
            assert_eq!(leaves.count(), *count as usize, "of depth {depth}");
        }
        assert!(
            !self.of_depth.ends_with(&[0, 0]),
            "the directory is too large"
        );
        let mut named = vec![0; self.leaves.len()];
        self.directory.iter().for_each(|n| named[*n as usize] += 1);
        for (placed, named) in self.leaves.iter().zip(named) {
            assert_eq!(named, 1 << (self.depth - placed.depth));
        }
        for (number, placed) in self.leaves.iter().enumerate() {
            assert!(placed.depth <= self.depth);
            assert_eq!(self.leaf_at(u64::from(placed.prefix) << 32), number);
            placed.leaf.dense().check(|key| self.hash(key));
            for entry in placed.leaf.dense().entries() {
                assert_eq!(self.leaf_at(self.hash(entry.key())), number);
            }
        }
    }
}

//! One small table of a database, and the directory that finds it.
//!
//! A database is an extendible hash: the top bits of a key's hash choose an entry of the directory, which
//! names a segment. A segment that is full splits in two; nothing else moves, so no write ever waits for
//! more than [`SEGMENT_KEYS_MAX`] keys to be placed again. Because a segment covers one contiguous range
//! of hashes, a position in the hash space is a stable cursor: splits never move a key across it.

use foldhash::quality::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table;
use std::hash::BuildHasher;

use super::snapshot::SnapshotEpoch;
use super::value::Value;

/// A segment with more keys than this splits: what 256 slots of a hashbrown table hold.
pub(super) const SEGMENT_KEYS_MAX: usize = 224;

/// Directories stop doubling here; segments then grow instead. Bits of the hash.
const DEPTH_MAX: u8 = 28;

/// A key with what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Box<[u8]>,
    /// The value.
    pub value: Value,
    /// When it expires: Unix milliseconds, or 0 for never.
    expire_at: u64,
}

impl Entry {
    /// An entry; `expire_at` in Unix milliseconds.
    pub fn new(key: &[u8], value: Value, expire_at: Option<u64>) -> Entry {
        Entry {
            key: key.into(),
            value,
            expire_at: pack_expiry(expire_at),
        }
    }

    /// When it expires, in Unix milliseconds.
    pub fn expire_at(&self) -> Option<u64> {
        (self.expire_at != 0).then_some(self.expire_at)
    }

    /// Whether it has expired by `now`, in Unix milliseconds.
    pub fn is_expired(&self, now: u64) -> bool {
        self.expire_at != 0 && self.expire_at < now
    }
}

/// Zero means "never", so the (long past) moment zero is kept as one.
fn pack_expiry(expire_at: Option<u64>) -> u64 {
    expire_at.map_or(0, |at| at.max(1))
}

/// A small table with the stamp of the newest snapshot that has it.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) table: HashTable<Entry>,
    /// How many top bits of the hash its keys share.
    depth: u8,
    /// The newest snapshot that this segment was written to, or that began after it was empty.
    pub(super) saved: SnapshotEpoch,
    /// Keys with an expiry.
    volatile: usize,
    /// No key expires before this (Unix ms); a lower bound, made exact by each sweep.
    pub(super) expires_from: u64,
}

impl Segment {
    fn new(depth: u8, saved: SnapshotEpoch) -> Segment {
        Segment {
            table: HashTable::new(),
            depth,
            saved,
            volatile: 0,
            expires_from: u64::MAX,
        }
    }

    fn note_expiry(&mut self, before: u64, after: u64) {
        if before != 0 {
            self.volatile -= 1;
        }
        if after != 0 {
            self.volatile += 1;
            self.expires_from = self.expires_from.min(after);
        }
    }

    /// Gives memory back after many removals.
    fn shrink(&mut self, hasher: &RandomState) {
        if self.table.is_empty() {
            self.table = HashTable::new();
            self.expires_from = u64::MAX;
        } else if self.table.capacity() > 28 && self.table.len() * 8 < self.table.capacity() {
            let target = self.table.len() * 2;
            self.table
                .shrink_to(target, |e| table_hash(hash_of(hasher, &e.key)));
        }
    }
}

/// One database.
#[derive(Debug)]
pub struct Db {
    hasher: RandomState,
    /// `1 << depth` names of segments, by the top bits of the hash.
    directory: Vec<u32>,
    depth: u8,
    pub(super) segments: Vec<Segment>,
    keys: usize,
    volatile: usize,
}

/// A hash as the tables want it: they take their slot from the low bits and their tag from the top
/// seven, and the directory has used the top ones.
fn table_hash(hash: u64) -> u64 {
    hash.rotate_left(32)
}

fn hash_of(hasher: &RandomState, key: &[u8]) -> u64 {
    hasher.hash_one(key)
}

impl Db {
    /// An empty database whose segments count as saved up to `saved`.
    pub(super) fn new(hasher: RandomState, saved: SnapshotEpoch) -> Db {
        Db {
            hasher,
            directory: vec![0],
            depth: 0,
            segments: vec![Segment::new(0, saved)],
            keys: 0,
            volatile: 0,
        }
    }

    /// Keys, expired ones that are still here included.
    pub fn len(&self) -> usize {
        self.keys
    }

    /// True without any key.
    pub fn is_empty(&self) -> bool {
        self.keys == 0
    }

    /// Keys with an expiry.
    pub fn volatile(&self) -> usize {
        self.volatile
    }

    pub(super) fn hash(&self, key: &[u8]) -> u64 {
        hash_of(&self.hasher, key)
    }

    /// The segment in charge of `hash`.
    pub(super) fn segment_at(&self, hash: u64) -> usize {
        if self.depth == 0 {
            return 0;
        }
        let slot = hash >> (64 - u32::from(self.depth));
        self.directory[usize::try_from(slot).expect("at most 28 bits")] as usize
    }

    /// Where the segment that is in charge of `hash` ends, or `None` at the end of the hash space.
    pub(super) fn segment_end(&self, hash: u64) -> Option<u64> {
        let depth = u32::from(self.segments[self.segment_at(hash)].depth);
        if depth == 0 {
            return None;
        }
        let size = 1_u64 << (64 - depth);
        (hash & !(size - 1)).checked_add(size)
    }

    pub(super) fn find(&self, hash: u64, key: &[u8]) -> Option<&Entry> {
        self.segments[self.segment_at(hash)]
            .table
            .find(table_hash(hash), |e| *e.key == *key)
    }

    /// The value of a key, to be changed in place. Its segment must have been saved.
    pub(super) fn value_mut(&mut self, hash: u64, key: &[u8]) -> Option<&mut Value> {
        let segment = self.segment_at(hash);
        self.segments[segment]
            .table
            .find_mut(table_hash(hash), |e| *e.key == *key)
            .map(|e| &mut e.value)
    }

    /// Sets or clears the expiry of a key; false when there is no such key.
    pub(super) fn set_expiry(&mut self, hash: u64, key: &[u8], expire_at: Option<u64>) -> bool {
        let index = self.segment_at(hash);
        let segment = &mut self.segments[index];
        let Some(entry) = segment.table.find_mut(table_hash(hash), |e| *e.key == *key) else {
            return false;
        };
        let before = std::mem::replace(&mut entry.expire_at, pack_expiry(expire_at));
        let after = entry.expire_at;
        segment.note_expiry(before, after);
        self.volatile = self.volatile + usize::from(after != 0) - usize::from(before != 0);
        true
    }

    /// Inserts or replaces; returns what was there before.
    pub(super) fn insert(&mut self, hash: u64, entry: Entry) -> Option<Entry> {
        let index = self.segment_at(hash);
        let hasher = &self.hasher;
        let segment = &mut self.segments[index];
        let after = entry.expire_at;
        let before = match segment.table.entry(
            table_hash(hash),
            |e| e.key == entry.key,
            |e| table_hash(hash_of(hasher, &e.key)),
        ) {
            hash_table::Entry::Occupied(mut slot) => Some(std::mem::replace(slot.get_mut(), entry)),
            hash_table::Entry::Vacant(slot) => {
                slot.insert(entry);
                None
            }
        };
        let was = before.as_ref().map_or(0, |e| e.expire_at);
        segment.note_expiry(was, after);
        self.volatile = self.volatile + usize::from(after != 0) - usize::from(was != 0);
        if before.is_none() {
            self.keys += 1;
            self.split_while_full(hash);
        }
        before
    }

    pub(super) fn remove(&mut self, hash: u64, key: &[u8]) -> Option<Entry> {
        let index = self.segment_at(hash);
        let segment = &mut self.segments[index];
        let found = segment
            .table
            .find_entry(table_hash(hash), |e| *e.key == *key)
            .ok()?;
        let (entry, _) = found.remove();
        segment.note_expiry(entry.expire_at, 0);
        segment.shrink(&self.hasher);
        self.keys -= 1;
        self.volatile -= usize::from(entry.expire_at != 0);
        Some(entry)
    }

    /// Splits the segment in charge of `hash` until it holds no more than its share.
    fn split_while_full(&mut self, hash: u64) {
        while self.segments[self.segment_at(hash)].table.len() > SEGMENT_KEYS_MAX {
            if !self.split(hash) {
                return;
            }
        }
    }

    /// Splits the segment in charge of `hash`; false when the directory may not grow for it.
    fn split(&mut self, hash: u64) -> bool {
        let index = self.segment_at(hash);
        let depth = self.segments[index].depth;
        if depth == self.depth {
            if self.depth >= DEPTH_MAX {
                return false;
            }
            self.directory = self.directory.iter().flat_map(|&s| [s, s]).collect();
            self.depth += 1;
        }
        let hasher = &self.hasher;
        let segment = &mut self.segments[index];
        let mut upper = Segment::new(depth + 1, segment.saved);
        upper.expires_from = segment.expires_from;
        segment.depth = depth + 1;
        let bit = 1_u64 << (63 - u32::from(depth));
        let moved = segment
            .table
            .extract_if(|e| hash_of(hasher, &e.key) & bit != 0);
        for entry in moved {
            upper.volatile += usize::from(entry.expire_at != 0);
            let hash = table_hash(hash_of(hasher, &entry.key));
            upper
                .table
                .insert_unique(hash, entry, |e| table_hash(hash_of(hasher, &e.key)));
        }
        segment.volatile -= upper.volatile;
        let name = u32::try_from(self.segments.len()).expect("at most 2^28 segments");
        self.segments.push(upper);
        // The directory entries of the upper half of the old segment's range.
        let shift = u32::from(self.depth - depth - 1);
        let prefix = ((hash | bit) >> (63 - u32::from(depth))) << shift;
        let first = usize::try_from(prefix).expect("at most 28 bits");
        self.directory[first..first + (1 << shift)].fill(name);
        true
    }

    /// All entries, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.segments.iter().flat_map(|s| s.table.iter())
    }

    /// One step of `SCAN` from `cursor`: hands about `count` entries to `each` and returns the next cursor,
    /// 0 at the end. A key that is here from the first call to the last is seen at least once; more than
    /// once only if it was deleted and made again.
    pub fn scan<'a>(&'a self, cursor: u64, count: usize, mut each: impl FnMut(&'a Entry)) -> u64 {
        /// Segments looked at in one call, however empty they are.
        const SEGMENTS_PER_CALL_MAX: usize = 4096;
        let mut position = cursor << SCAN_SHIFT;
        let mut left = count.max(1);
        for _ in 0..SEGMENTS_PER_CALL_MAX {
            let segment = &self.segments[self.segment_at(position)];
            let mut found: Vec<(u64, &Entry)> = segment
                .table
                .iter()
                .map(|e| (self.hash(&e.key) >> SCAN_SHIFT, e))
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
            match self.segment_end(position) {
                None => return 0,
                Some(end) if left == 0 => return end >> SCAN_SHIFT,
                Some(end) => position = end,
            }
        }
        position >> SCAN_SHIFT
    }

    /// A key at random, fairly enough for `RANDOMKEY`: `dice` is uniform.
    pub fn random(&self, mut dice: impl FnMut() -> u64) -> Option<&Entry> {
        if self.is_empty() {
            return None;
        }
        let mut position = dice();
        loop {
            let table = &self.segments[self.segment_at(position)].table;
            if !table.is_empty() {
                let len = u64::try_from(table.len()).expect("fits");
                let nth = usize::try_from(dice() % len).expect("below a usize");
                return table.iter().nth(nth);
            }
            position = self.segment_end(position).unwrap_or(0);
        }
    }

    /// Keys of the segment at `position` that have expired by `now` (at most `max`), or none at once when
    /// its bound says so. Makes the bound exact when all were looked at.
    pub(super) fn expired_in(&mut self, position: u64, now: u64, max: usize) -> Vec<Box<[u8]>> {
        let index = self.segment_at(position);
        let segment = &mut self.segments[index];
        if segment.expires_from >= now {
            return Vec::new();
        }
        let mut found = Vec::new();
        let mut soonest = u64::MAX;
        for entry in segment.table.iter().filter(|e| e.expire_at != 0) {
            if entry.is_expired(now) && found.len() < max {
                found.push(entry.key.clone());
            } else {
                soonest = soonest.min(entry.expire_at);
            }
        }
        segment.expires_from = soonest;
        found
    }

    /// Walks the whole structure.
    #[cfg(test)]
    pub(super) fn check(&self) {
        assert_eq!(self.directory.len(), 1 << self.depth);
        let keys: usize = self.segments.iter().map(|s| s.table.len()).sum();
        assert_eq!(keys, self.keys);
        let volatile: usize = self.segments.iter().map(|s| s.volatile).sum();
        assert_eq!(volatile, self.volatile);
        for (index, segment) in self.segments.iter().enumerate() {
            assert!(segment.depth <= self.depth);
            for entry in &segment.table {
                assert_eq!(self.segment_at(self.hash(&entry.key)), index);
                assert!(entry.expire_at == 0 || entry.expire_at >= segment.expires_from);
            }
        }
    }
}

/// Bits of the hash that a `SCAN` cursor leaves out, so that it stays below 2^48 and clients that keep it
/// in a double are right.
const SCAN_SHIFT: u32 = 16;

//! One database: an extendible hash whose leaves carry the stamp of the newest snapshot that has them, and whose
//! entries know whether they were written ahead of their leaf.

use std::cell::Cell;
use std::hash::BuildHasher;

use foldhash::quality::RandomState;

use super::dense::{Dense, Keyed};
use super::extendible::{Extendible, Leaf, below};
use super::key::Key;
use super::snapshot::SnapshotEpoch;
use super::steps;
use super::value::{Value, estimate};

/// Keys that are looked at to estimate what all of them take.
const KEYS_LOOKED_AT: usize = 64;

/// A key with what it holds.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// The value.
    pub value: Value,
    /// When it expires: Unix milliseconds, or 0 for never.
    expire_at: u64,
    /// When or how often it was used, as the eviction policy counts that.
    access: Cell<u32>,
    /// The snapshots up to [`Segment::ahead`] have it already, or are not to have it, as it came later.
    pub(super) is_ahead: bool,
}

impl Entry {
    /// An entry; `expire_at` in Unix milliseconds.
    pub fn new(key: &[u8], value: Value, expire_at: Option<u64>) -> Entry {
        Entry {
            key: Key::from(key),
            value,
            expire_at: pack_expiry(expire_at),
            access: Cell::new(0),
            is_ahead: false,
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

    /// What was last noted of its use; 0 for nothing yet.
    pub fn access(&self) -> u32 {
        self.access.get()
    }

    /// Notes its use, which is no change of the data.
    pub fn set_access(&self, access: u32) {
        self.access.set(access);
    }
}

impl Keyed for Entry {
    fn key(&self) -> &[u8] {
        &self.key
    }

    fn touch(&self) -> usize {
        self.value.touch()
    }
}

/// Zero means "never", so the (long past) moment zero is kept as one.
fn pack_expiry(expire_at: Option<u64>) -> u64 {
    expire_at.map_or(0, |at| at.max(1))
}

/// A small table with the stamp of the newest snapshot that has it.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) table: Dense<Entry>,
    /// The newest snapshot that this segment was written to, or that began after it was empty.
    pub(super) saved: SnapshotEpoch,
    /// Above `saved`: the newest snapshot for which some entries were written ahead. Else none is.
    pub(super) ahead: SnapshotEpoch,
    /// Keys with an expiry.
    volatile: usize,
    /// No key expires before this (Unix ms); a lower bound, made exact by each sweep.
    expires_from: u64,
}

impl Segment {
    fn new(saved: SnapshotEpoch) -> Segment {
        Segment {
            table: Dense::default(),
            saved,
            ahead: saved,
            volatile: 0,
            expires_from: u64::MAX,
        }
    }

    /// Whether some entries were written ahead.
    pub(super) fn has_marks(&self) -> bool {
        self.ahead > self.saved
    }

    /// Takes the marks from all entries.
    pub(super) fn clear_marks(&mut self) {
        for entry in self.table.entries_mut() {
            entry.is_ahead = false;
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

    /// Keys that have expired by `now` (at most `max`), or none at once when the bound says so. Makes that exact when
    /// all were looked at.
    fn expired(&mut self, now: u64, max: usize) -> Vec<Key> {
        let mut found = Vec::new();
        if self.expires_from >= now {
            return found;
        }
        let mut soonest = u64::MAX;
        for entry in self.table.entries().iter().filter(|e| e.expire_at != 0) {
            if entry.is_expired(now) && found.len() < max {
                found.push(entry.key.clone());
            } else {
                soonest = soonest.min(entry.expire_at);
            }
        }
        self.expires_from = soonest;
        found
    }
}

impl Leaf for Segment {
    type Entry = Entry;

    fn dense(&self) -> &Dense<Entry> {
        &self.table
    }

    fn split_off(&mut self, hash_of: impl Fn(&[u8]) -> u64, goes: impl Fn(u64) -> bool) -> Segment {
        let table = self.table.split_off(hash_of, goes);
        let volatile = table.entries().iter().filter(|e| e.expire_at != 0).count();
        self.volatile -= volatile;
        Segment {
            table,
            saved: self.saved,
            ahead: self.ahead,
            volatile,
            expires_from: self.expires_from,
        }
    }

    fn absorb(&mut self, other: Segment, hash_of: impl Fn(&[u8]) -> u64) {
        assert_eq!(self.saved, other.saved, "the same snapshots have both");
        self.table.absorb(other.table, hash_of);
        self.volatile += other.volatile;
        self.expires_from = self.expires_from.min(other.expires_from);
    }
}

/// The keys with an expiry in a part of the hash space.
#[derive(Clone, Copy, Debug)]
struct Part {
    /// How many there are.
    keys: u32,
    /// None of them expires before this (Unix ms); a lower bound, made exact by each sweep.
    expires_from: u64,
}

/// What there is of keys with an expiry in each part of the hash space: where few keys expire, most segments need not
/// be looked at to find one, and where none does yet, none need.
#[derive(Debug, Default)]
struct Volatile {
    /// None until there is such a key.
    parts: Vec<Part>,
    all: usize,
}

impl Volatile {
    /// Bits of the hash that a part goes by: few parts to pass over, and few segments in a part of a large database.
    const PART_BITS: u32 = 10;
    const PART_SHIFT: u32 = 64 - Self::PART_BITS;
    const EMPTY: Part = Part {
        keys: 0,
        expires_from: u64::MAX,
    };

    fn part(position: u64) -> usize {
        usize::try_from(position >> Self::PART_SHIFT).expect("few bits")
    }

    /// Where the part begins that this position lies in.
    fn begin(position: u64) -> u64 {
        position >> Self::PART_SHIFT << Self::PART_SHIFT
    }

    /// Whether no part goes on behind this position.
    fn is_last(position: u64) -> bool {
        Self::begin(position) != Self::begin(position.wrapping_add(1))
    }

    /// Counts a key whose expiry was `before`, where there was one, and is `after`.
    fn note(&mut self, hash: u64, before: u64, after: u64) {
        if before == 0 && after == 0 {
            return;
        }
        if self.parts.is_empty() {
            self.parts.resize(1 << Self::PART_BITS, Self::EMPTY);
        }
        let part = &mut self.parts[Self::part(hash)];
        if before != 0 {
            part.keys -= 1;
            self.all -= 1;
        }
        if after != 0 {
            part.keys += 1;
            self.all += 1;
            part.expires_from = part.expires_from.min(after);
        }
    }

    /// Notes that in the parts from one position to another no key expires before `soonest`.
    fn bound(&mut self, from: u64, to: u64, soonest: u64) {
        if let Some(parts) = self.parts.get_mut(Self::part(from)..=Self::part(to)) {
            parts.iter_mut().for_each(|p| p.expires_from = soonest);
        }
    }

    /// The first position from this one on at which a key may be of a part that `is_wanted`.
    fn next(&self, position: u64, is_wanted: impl Fn(&Part) -> bool) -> Option<u64> {
        let part = Self::part(position);
        let mut parts = self.parts.get(part..)?.iter();
        let found = parts.position(|part| part.keys > 0 && is_wanted(part))?;
        let begin = u64::try_from(part + found).expect("few bits") << Self::PART_SHIFT;
        Some(begin.max(position))
    }
}

/// One database.
#[derive(Debug)]
pub struct Db {
    segments: Extendible<Segment>,
    keys: usize,
    volatile: Volatile,
    /// What was found last, and where: commands look a key up more than once.
    last: Cell<Found>,
}

/// Where an entry is: in which segment, and there.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    hash: u64,
    segment: usize,
    place: usize,
}

impl Db {
    /// An empty database whose segments count as saved up to `saved`.
    pub(super) fn new(hasher: RandomState, saved: SnapshotEpoch) -> Db {
        Db {
            segments: Extendible::new(hasher, Segment::new(saved)),
            keys: 0,
            volatile: Volatile::default(),
            last: Cell::default(),
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
        self.volatile.all
    }

    pub(super) fn hash(&self, key: &[u8]) -> u64 {
        self.segments.hash(key)
    }

    /// The segment in charge of `hash`.
    pub(super) fn segment_mut(&mut self, hash: u64) -> &mut Segment {
        let number = self.segments.leaf_at(hash);
        self.segments.leaf_mut(number).0
    }

    /// Where the segment that is in charge of `hash` ends, or `None` at the end of the hash space.
    pub(super) fn segment_end(&self, hash: u64) -> Option<u64> {
        self.segments.leaf_end(hash)
    }

    /// The segment that [`Db::pop_segment`] takes.
    pub(super) fn last_segment_mut(&mut self) -> Option<&mut Segment> {
        self.segments.last_leaf_mut()
    }

    /// Takes one segment out; what is left is no database any more.
    pub(super) fn pop_segment(&mut self) -> Option<Segment> {
        self.segments.pop_leaf()
    }

    /// Where a key is.
    fn locate(&self, hash: u64, key: &[u8]) -> Option<Found> {
        let last = self.last.get();
        if last.hash == hash && last.segment < self.segments.leaf_count() {
            // It may have moved since.
            let entry = self.segments.leaf(last.segment).table.at(last.place);
            if entry.is_some_and(|entry| *entry.key == *key) {
                return Some(last);
            }
        }
        let segment = self.segments.leaf_at(hash);
        let place = self.segments.leaf(segment).table.place(hash, key)?;
        let found = Found {
            hash,
            segment,
            place,
        };
        self.last.set(found);
        Some(found)
    }

    /// The segment in charge of `hash`, and the place in it of the entry with that key.
    pub(super) fn segment_with(&mut self, hash: u64, key: &[u8]) -> (&mut Segment, Option<usize>) {
        let found = self.locate(hash, key);
        let segment = match found {
            Some(found) => self.segment_of(found),
            None => self.segment_mut(hash),
        };
        (segment, found.map(|found| found.place))
    }

    fn segment_of(&mut self, found: Found) -> &mut Segment {
        self.segments.leaf_mut(found.segment).0
    }

    pub(super) fn find(&self, hash: u64, key: &[u8]) -> Option<&Entry> {
        let found = self.locate(hash, key)?;
        self.segments.leaf(found.segment).table.at(found.place)
    }

    /// The value of a key, to be changed in place. It must have been saved.
    pub(super) fn value_mut(&mut self, hash: u64, key: &[u8]) -> Option<&mut Value> {
        let found = self.locate(hash, key)?;
        let entry = self.segment_of(found).table.at_mut(found.place);
        Some(&mut entry.value)
    }

    /// Sets or clears the expiry of a key; false when there is no such key.
    pub(super) fn set_expiry(&mut self, hash: u64, key: &[u8], expire_at: Option<u64>) -> bool {
        let Some(found) = self.locate(hash, key) else {
            return false;
        };
        let segment = self.segment_of(found);
        let entry = segment.table.at_mut(found.place);
        let before = std::mem::replace(&mut entry.expire_at, pack_expiry(expire_at));
        let after = entry.expire_at;
        segment.note_expiry(before, after);
        self.volatile.note(hash, before, after);
        true
    }

    /// Inserts or replaces; returns what was there before.
    pub(super) fn insert(&mut self, hash: u64, entry: Entry) -> Option<Entry> {
        let after = entry.expire_at;
        let known = self.locate(hash, &entry.key);
        let number = known.map_or_else(|| self.segments.leaf_at(hash), |found| found.segment);
        let (segment, hasher) = self.segments.leaf_mut(number);
        let before = match known {
            Some(found) => Some(std::mem::replace(segment.table.at_mut(found.place), entry)),
            None => {
                segment.table.push(hash, entry, |key| hasher.hash_one(key));
                None
            }
        };
        let was = before.as_ref().map_or(0, |e| e.expire_at);
        segment.note_expiry(was, after);
        self.volatile.note(hash, was, after);
        if before.is_none() {
            self.keys += 1;
            self.segments.split_while_full(hash);
        }
        before
    }

    /// Has these keys fetched from memory. What is returned says nothing.
    pub(super) fn warm(&self, hashes: &[u64]) -> usize {
        self.segments.warm(hashes)
    }

    pub(super) fn remove(&mut self, hash: u64, key: &[u8]) -> Option<Entry> {
        let number = self.segments.leaf_at(hash);
        let (segment, hasher) = self.segments.leaf_mut(number);
        let entry = segment
            .table
            .remove(hash, key, |key| hasher.hash_one(key))?;
        segment.note_expiry(entry.expire_at, 0);
        if segment.table.is_empty() {
            segment.expires_from = u64::MAX;
        }
        self.keys -= 1;
        self.volatile.note(hash, entry.expire_at, 0);
        Some(entry)
    }

    /// Merges the segment in charge of `hash`, from which a key was removed, with others as long as they are nearly
    /// empty. `save` is to have both written to every snapshot that lacks them.
    pub(super) fn merge_while_sparse(&mut self, hash: u64, save: impl FnMut(&mut Segment)) {
        self.segments.merge_while_sparse(hash, save);
    }

    /// All entries, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.segments.iter()
    }

    /// One step of `SCAN` from `cursor`: hands about `count` entries to `each` and returns the next cursor,
    /// 0 at the end. A key that is here from the first call to the last is seen at least once; more than
    /// once only if it was deleted and made again.
    pub fn scan<'a>(&'a self, cursor: u64, count: usize, each: impl FnMut(&'a Entry)) -> u64 {
        self.segments.scan(cursor, count, each)
    }

    /// A key at random, fairly enough for `RANDOMKEY`: `dice` is uniform.
    pub fn random(&self, dice: impl FnMut() -> u64) -> Option<&Entry> {
        self.segments.random(dice)
    }

    /// A key with an expiry, at random, fairly enough to choose what to give up.
    pub fn random_volatile(&self, mut dice: impl FnMut() -> u64) -> Option<&Entry> {
        let position = dice();
        let found = self.volatile_from(position);
        let position = found.or_else(|| self.volatile_from(0))?;
        let segment = self.segments.leaf(self.segments.leaf_at(position));
        let entries = segment.table.entries();
        let (before, after) = entries.split_at(below(entries.len(), dice));
        let mut all = after.iter().chain(before);
        all.find(|entry| entry.expire_at != 0)
    }

    /// The first position from this one on at which a key may be that has expired by `now` (Unix ms).
    pub(super) fn next_expired(&self, position: u64, now: u64) -> Option<u64> {
        self.volatile.next(position, |part| part.expires_from < now)
    }

    /// A position in the first segment from this one on that has a key with an expiry.
    fn volatile_from(&self, mut position: u64) -> Option<u64> {
        loop {
            position = self.volatile.next(position, |_| true)?;
            steps::count(1);
            let segment = self.segments.leaf(self.segments.leaf_at(position));
            if segment.volatile > 0 {
                return Some(position);
            }
            position = self.segments.leaf_end(position)?;
        }
    }

    /// How long a key with an expiry has still to live, on the average of some of them. Milliseconds; 0 without any.
    pub fn average_ttl(&self, now: u64) -> u64 {
        const SAMPLES: usize = 16;
        /// The most segments that are looked at: few keys among very many may go unseen.
        const SEGMENTS_MAX: u64 = 256;
        /// Spreads the samples evenly, wherever the keys are.
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        if self.volatile.all == 0 {
            return 0;
        }
        let segments = (1..=SEGMENTS_MAX).map(|n| {
            let place = STEP.wrapping_mul(n);
            self.segments.leaf(self.segments.leaf_at(place))
        });
        let volatile = segments.filter(|segment| segment.volatile > 0);
        let sampled = volatile.filter_map(|segment| {
            let mut entries = segment.table.entries().iter();
            entries.find_map(Entry::expire_at)
        });
        let (mut sum, mut count) = (0_u128, 0_u128);
        for at in sampled.take(SAMPLES) {
            sum += u128::from(at.saturating_sub(now));
            count += 1;
        }
        let average = sum.checked_div(count).unwrap_or(0);
        u64::try_from(average).unwrap_or(u64::MAX)
    }

    /// Keys of the segment at `position` that have expired by `now` (at most `max`). Makes its bound exact, and with
    /// its last segment that of a part.
    pub(super) fn expired_in(&mut self, position: u64, now: u64, max: usize) -> Vec<Key> {
        steps::count(1);
        let segment = self.segment_mut(position);
        let found = segment.expired(now, max);
        self.bound_parts(position);
        found
    }

    /// Has the parts that end with the segment at `position` know from when on keys expire in them, as the segments
    /// do. In a large database it is one of many, in a small one a segment goes over many parts.
    fn bound_parts(&mut self, position: u64) {
        let end = self.segment_end(position);
        let last = end.map_or(u64::MAX, |end| end - 1);
        if !Volatile::is_last(last) {
            return;
        }
        let mut soonest = u64::MAX;
        let mut next = Some(Volatile::begin(position));
        while let Some(position) = next.filter(|position| *position <= last) {
            let segment = self.segments.leaf(self.segments.leaf_at(position));
            soonest = soonest.min(segment.expires_from);
            next = self.segment_end(position);
        }
        self.volatile.bound(position, last, soonest);
    }

    /// About how many bytes it takes with all that is in it, from some of its keys, which are in no order. What others
    /// have too, and copies of a value in it have together, counts once in all.
    pub fn estimated_bytes(&self) -> usize {
        /// Elements of each that are looked at.
        const SAMPLES: usize = 5;
        let keys = self.iter().map(|entry| {
            let value = entry.value.fair_bytes(SAMPLES);
            entry.key.heap_bytes() + value
        });
        self.heap_bytes() + estimate(keys, self.len(), KEYS_LOOKED_AT)
    }

    /// About how many bytes others have alone when it is dropped.
    pub(super) fn shared_bytes(&self) -> usize {
        let keys = self.iter().map(|entry| entry.value.shared_bytes());
        estimate(keys, self.len(), KEYS_LOOKED_AT)
    }

    /// Bytes of memory of its tables, without what the entries refer to.
    pub fn heap_bytes(&self) -> usize {
        self.segments.heap_bytes()
    }

    /// Of that, what is neither key nor value.
    pub fn overhead_bytes(&self) -> usize {
        let in_place = self.len() * (size_of::<Key>() + size_of::<Value>());
        self.heap_bytes().saturating_sub(in_place)
    }

    /// Walks the whole structure.
    #[cfg(test)]
    pub(super) fn check(&self) {
        self.segments.check();
        let keys: usize = self.segments.leaves().map(|s| s.table.len()).sum();
        assert_eq!(keys, self.keys);
        let volatile: usize = self.segments.leaves().map(|s| s.volatile).sum();
        assert_eq!(volatile, self.volatile.all);
        let mut counted = Volatile::default();
        for entry in self.iter() {
            counted.note(self.hash(&entry.key), 0, entry.expire_at);
        }
        for (part, counted) in self.volatile.parts.iter().zip(&counted.parts) {
            assert_eq!(part.keys, counted.keys);
            assert!(part.expires_from <= counted.expires_from);
        }
        for segment in self.segments.leaves() {
            for entry in segment.table.entries() {
                assert!(entry.expire_at == 0 || entry.expire_at >= segment.expires_from);
            }
        }
    }

    /// What [`Db::heap_bytes`] is about, without what the directory takes.
    #[cfg(test)]
    pub(super) fn heap_bytes_of_all(&self) -> usize {
        self.segments.leaves().map(|s| s.table.heap_bytes()).sum()
    }

    /// How many segments there are.
    pub(super) fn segment_count(&self) -> usize {
        self.segments.leaf_count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_there_in_the_millisecond_of_its_expiry_and_gone_in_the_next() {
        const AT: u64 = 1_700_000_000_000;
        let is_expired = |at, now| Entry::new(b"k", Value::string(b"v"), at).is_expired(now);
        let found = [AT - 1, AT, AT + 1].map(|now| is_expired(Some(AT), now));
        assert_eq!(found, [false, false, true]);
        assert!(is_expired(Some(0), 2), "zero is a moment, too");
        assert!(!is_expired(None, u64::MAX));
    }
}

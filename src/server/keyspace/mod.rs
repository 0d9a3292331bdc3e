//! The data: numbered databases of segmented tables, with one way in for every change.
//!
//! Nothing outside this module can reach a `&mut` entry except through the methods of [`Keyspace`], and
//! each of them first lets the snapshots in progress save what is about to change.
//! This module does no I/O, reads no clock, and knows nothing of clients: whether an expired key may be
//! removed is its caller's decision.

mod bulk;
mod db;
mod dense;
mod extendible;
mod field;
mod hash;
mod held;
mod intset;
mod key;
mod list;
mod listpack;
mod ranked;
mod set;
mod snapshot;
mod sorted_set;
pub(super) mod steps;
mod table;
mod text;
mod usage;
mod value;

use foldhash::quality::RandomState;

pub use db::{Db, Entry};
pub use dense::Keyed;
pub use field::Field;
pub use hash::{Hash, HashBuilder};
pub use intset::IntSet;
pub use key::Key;
pub use list::{End, List, NodeLimit, Sought};
pub use listpack::{LISTPACK_BYTES_MAX, Listpack, Malformed};
pub use ranked::Ranked;
pub use set::{Set, SetBuilder};
pub use snapshot::{Chunk, ChunkQueue, SnapshotEpoch, Walk};
pub use sorted_set::{Change, Ranking, Scored, SortedSet};
pub use table::Table;
pub use text::{Element, Long, Text};
pub use usage::{FrequencyRules, Rating, Usage};
pub use value::{Image, Kind, Thresholds, Value, estimate};

pub use extendible::WARM_MAX;
use snapshot::{Opening, Snapshots};

use crate::memory;
use crate::server::persist::rdb_encode::Head;

/// All databases.
#[derive(Debug)]
pub struct Keyspace {
    dbs: Vec<Db>,
    /// Where each numbered database is among `dbs`: `SWAPDB` changes this, and snapshots never notice.
    places: Vec<usize>,
    hasher: RandomState,
    snapshots: Snapshots,
    sweep: Sweep,
}

/// What one step of the search for expired keys found.
#[derive(Debug)]
pub struct Expired {
    /// Databases and keys.
    pub keys: Vec<(usize, Key)>,
    /// Whether the step came to the end of the keyspace; the next one begins anew.
    pub is_end: bool,
}

/// Where the search for expired keys goes on.
#[derive(Clone, Copy, Debug, Default)]
struct Sweep {
    db: usize,
    position: u64,
}

impl Keyspace {
    /// `databases` empty ones.
    pub fn new(databases: usize) -> Keyspace {
        let hasher = RandomState::default();
        let snapshots = Snapshots::default();
        Keyspace {
            dbs: (0..databases)
                .map(|_| Db::new(hasher.clone(), snapshots.newest()))
                .collect(),
            places: (0..databases).collect(),
            hasher,
            snapshots,
            sweep: Sweep::default(),
        }
    }

    /// How many databases there are.
    pub fn databases(&self) -> usize {
        self.dbs.len()
    }

    /// A database, to be read.
    pub fn db(&self, db: usize) -> &Db {
        &self.dbs[self.places[db]]
    }

    /// Keys in all databases.
    pub fn len(&self) -> usize {
        self.dbs.iter().map(Db::len).sum()
    }

    /// True without any key.
    pub fn is_empty(&self) -> bool {
        self.dbs.iter().all(Db::is_empty)
    }

    /// What is stored under `key`, expired or not.
    pub fn get(&self, db: usize, key: &[u8]) -> Option<&Entry> {
        let db = self.db(db);
        db.find(db.hash(key), key)
    }

    /// Has these keys fetched from memory, all at the same time, up to [`WARM_MAX`] of them. Changes nothing.
    pub fn warm_keys<'a>(&self, db: usize, keys: impl Iterator<Item = &'a [u8]>) {
        let db = self.db(db);
        let mut hashes = [0; WARM_MAX];
        let mut count = 0;
        for (hash, key) in hashes.iter_mut().zip(keys) {
            *hash = db.hash(key);
            count += 1;
        }
        std::hint::black_box(db.warm(&hashes[..count]));
    }

    /// Has what these requests are about fetched from memory, all at the same time, where they look for a key in
    /// their second word. Changes nothing.
    pub fn warm<'a, W: AsRef<[u8]> + PartialEq + 'a>(
        &self,
        db: usize,
        mut requests: impl Iterator<Item = &'a [W]> + Clone,
    ) {
        let mut last = None;
        let keys = requests.clone().filter_map(|words| {
            let key = words.get(1);
            let is_other = key != last;
            last = key;
            key.filter(|_| is_other).map(AsRef::as_ref)
        });
        self.warm_keys(db, keys);
        let db = self.db(db);
        // The elements of each run of requests for one key.
        let mut next = requests.next();
        while let Some(words) = next {
            let key = words.get(1);
            let mut run = requests.clone();
            let mut count = 0;
            next = requests.find(|words| {
                let is_same = words.get(1) == key;
                count += usize::from(is_same);
                !is_same
            });
            let entry = key
                .map(AsRef::as_ref)
                .and_then(|key| db.find(db.hash(key), key));
            if let Some(entry) = entry.filter(|entry| entry.value.has_table()) {
                let run = std::iter::once(words).chain(run.by_ref().take(count));
                std::hint::black_box(entry.value.warm(run));
            }
        }
    }

    /// Inserts or replaces, expiry included. Returns what was there before.
    pub fn insert(&mut self, db: usize, mut entry: Entry) -> Option<Entry> {
        let (hash, is_ahead) = self.before_change(db, &entry.key, Touch::Put);
        entry.is_ahead = is_ahead;
        self.db_mut(db).insert(hash, entry)
    }

    /// A value, to be changed in place; its expiry stays.
    pub fn value_mut(&mut self, db: usize, key: &[u8]) -> Option<&mut Value> {
        let (hash, _) = self.before_change(db, key, Touch::OfWhatIsThere);
        self.db_mut(db).value_mut(hash, key)
    }

    /// Sets or clears an expiry (Unix ms). False when there is no such key.
    pub fn set_expiry(&mut self, db: usize, key: &[u8], expire_at: Option<u64>) -> bool {
        let (hash, _) = self.before_change(db, key, Touch::OfWhatIsThere);
        self.db_mut(db).set_expiry(hash, key, expire_at)
    }

    /// Removes a key.
    pub fn remove(&mut self, db: usize, key: &[u8]) -> Option<Entry> {
        let (hash, _) = self.before_change(db, key, Touch::OfWhatIsThere);
        let number = self.places[db];
        let db = &mut self.dbs[number];
        let removed = db.remove(hash, key)?;
        db.merge_while_sparse(hash, |segment| self.snapshots.save(number, segment));
        Some(removed)
    }

    /// Empties a database at once. What was in it is returned where no snapshot needs it, so that the
    /// caller can drop it elsewhere.
    pub fn flush(&mut self, db: usize) -> Option<Db> {
        let empty = Db::new(self.hasher.clone(), self.snapshots.newest());
        let full = std::mem::replace(self.db_mut(db), empty);
        self.snapshots.detach(self.places[db], full)
    }

    /// Has two databases change places.
    pub fn swap(&mut self, one: usize, other: usize) {
        self.places.swap(one, other);
    }

    /// Finds up to `keys_max` keys that have expired by `now` (Unix ms), going on where the last call
    /// stopped and looking at no more than `segments_max` segments. They are not yet removed.
    pub fn find_expired(&mut self, now: u64, keys_max: usize, segments_max: usize) -> Expired {
        let mut found = Vec::new();
        let part = |keys, is_end| Expired { keys, is_end };
        for _ in 0..segments_max {
            let Sweep {
                db: number,
                position,
            } = self.sweep;
            let db = self.db_mut(number);
            // Parts of the database in which no key has expired yet cost no step.
            if let Some(position) = db.next_expired(position, now) {
                let left = keys_max - found.len();
                let keys = db.expired_in(position, now, left);
                let end = db.segment_end(position);
                found.extend(keys.into_iter().map(|key| (number, key)));
                if found.len() >= keys_max {
                    return part(found, false);
                }
                if let Some(end) = end {
                    self.sweep.position = end;
                    continue;
                }
            }
            self.sweep.position = 0;
            self.sweep.db = (self.sweep.db + 1) % self.dbs.len();
            if self.sweep.db == 0 {
                return part(found, true);
            }
        }
        part(found, false)
    }

    /// Begins a snapshot of this moment. Its head is already in its output.
    pub fn begin_snapshot(&mut self, head: &Head) -> SnapshotEpoch {
        self.begin(Opening::Rdb(head))
    }

    /// Begins a snapshot of this moment, as commands that make everything again. `noted_at`: the second (Unix time)
    /// that it begins with a note of.
    pub fn begin_snapshot_of_commands(&mut self, noted_at: Option<u64>) -> SnapshotEpoch {
        self.begin(Opening::Commands(noted_at))
    }

    fn begin(&mut self, opening: Opening<'_>) -> SnapshotEpoch {
        let in_use = memory::used();
        self.snapshots
            .begin(opening, &self.dbs, &self.places, in_use)
    }

    /// Walks on for a snapshot until it has about `budget_bytes` more of output.
    pub fn advance_snapshot(&mut self, id: SnapshotEpoch, budget_bytes: usize) -> Walk {
        self.snapshots.advance(id, &mut self.dbs, budget_bytes)
    }

    /// What that has left over of flushed databases and takes long to drop, if there is any: for another thread.
    pub fn take_done(&mut self) -> Option<impl Send + 'static> {
        let done = self.snapshots.take_done();
        (!done.is_empty()).then_some(done)
    }

    /// What a snapshot has written and nobody has taken yet. `None` after its end.
    pub fn snapshot_output(&mut self, id: SnapshotEpoch) -> Option<&mut ChunkQueue> {
        self.snapshots.output(id)
    }

    /// About what is kept for snapshots alone: what they have written and nobody has taken yet, and what they still
    /// have of data that have changed or gone since they began. Bytes; 0 without a snapshot.
    pub fn snapshot_bytes(&self) -> u64 {
        self.snapshots.held_bytes()
    }

    /// Notes that an entry that was removed is about to be dropped: snapshots may have what was in it for longer.
    pub fn note_dropped(&self, entry: &Entry) {
        if !self.snapshots.is_idle() {
            held::leave(entry.value.shared_bytes());
        }
    }

    /// Keys that a snapshot has, and keys that it will have in all.
    pub fn snapshot_progress(&self, id: SnapshotEpoch) -> Option<(usize, usize)> {
        self.snapshots.progress(id)
    }

    /// Ends a snapshot, complete or not. Returns what had been flushed and only it still needed, to be
    /// dropped elsewhere.
    pub fn end_snapshot(&mut self, id: SnapshotEpoch) -> Vec<Db> {
        self.snapshots.end(id)
    }

    /// Replaces all data by `loaded`, ending every snapshot. Returns the old data, to be dropped elsewhere.
    pub fn replace_with(&mut self, loaded: Keyspace) -> Vec<Db> {
        assert_eq!(loaded.dbs.len(), self.dbs.len(), "as many databases");
        let mut old = self.snapshots.end_all();
        self.hasher = loaded.hasher;
        self.sweep = Sweep::default();
        self.places = loaded.places;
        old.extend(std::mem::replace(&mut self.dbs, loaded.dbs));
        old
    }

    fn db_mut(&mut self, db: usize) -> &mut Db {
        &mut self.dbs[self.places[db]]
    }

    /// Hashes the key and lets the snapshots save what it stands for. Returns the hash, and whether an entry of
    /// that key is one that they are not to write any more.
    fn before_change(&mut self, db: usize, key: &[u8], touch: Touch) -> (u64, bool) {
        let number = self.places[db];
        let db = &mut self.dbs[number];
        let hash = db.hash(key);
        if self.snapshots.is_idle() {
            return (hash, false);
        }
        let (segment, place) = db.segment_with(hash, key);
        if place.is_none() && touch == Touch::OfWhatIsThere {
            return (hash, false);
        }
        (hash, self.snapshots.save_ahead(number, segment, place))
    }
}

/// What is about to happen to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Touch {
    /// It gets an entry, whether or not it has one.
    Put,
    /// Its entry changes or goes, if it has one.
    OfWhatIsThere,
}

#[cfg(test)]
mod tests;

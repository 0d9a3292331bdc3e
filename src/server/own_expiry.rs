//! Keys to which the clients of a writable replica have given an expiry.
//!
//! A replica leaves to its master what has expired. Of what its own clients write the master knows nothing, so those
//! keys are the replica's to remove.

use std::collections::BTreeSet;
use std::ops::Bound;

use super::Server;
use crate::clock::Now;

/// Keys that are looked at between two looks at the clock.
const KEYS_PER_STEP: usize = 64;

/// A key of a database.
type Place = (usize, Box<[u8]>);

/// The keys, each as long as it has an expiry; one that has lost it is forgotten when its turn comes.
#[derive(Debug, Default)]
pub(super) struct OwnExpiries {
    keys: BTreeSet<Place>,
    /// The key looked at last.
    last: Option<Place>,
}

impl OwnExpiries {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The next keys; fewer than asked for at the end, after which it begins anew.
    fn next(&mut self, count: usize) -> Vec<Place> {
        let from = self.last.take();
        let from = from.map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.keys.range((from, Bound::Unbounded)).take(count);
        let next: Vec<Place> = next.cloned().collect();
        if next.len() == count {
            self.last = next.last().cloned();
        }
        next
    }
}

impl Server {
    /// The command that is running gives an expiry to a key.
    pub(super) fn note_expiry(&mut self, key: &[u8]) {
        let is_own = !self.replication.is_master() && !self.current.is_from_master;
        if is_own && !self.is_loading() {
            self.own_expiries.keys.insert((self.current.db, key.into()));
        }
    }

    /// The data are the master's again, or all ours.
    pub(super) fn forget_own_expiries(&mut self) {
        self.own_expiries = OwnExpiries::default();
    }

    /// Removes some of the keys that have expired. True at the end of a walk over all.
    pub(super) fn expire_own_keys(&mut self, now: Now) -> bool {
        let places = self.own_expiries.next(KEYS_PER_STEP);
        let is_end = places.len() < KEYS_PER_STEP;
        for place in places {
            let (db, key) = &place;
            let entry = self.keyspace.get(*db, key);
            let expire_at = entry.and_then(|entry| entry.expire_at());
            if expire_at.is_some_and(|at| at >= now.unix.0) {
                continue;
            }
            if expire_at.is_some() {
                self.remove_expired(*db, key);
                self.end_unit();
            }
            self.own_expiries.keys.remove(&place);
        }
        is_end
    }
}

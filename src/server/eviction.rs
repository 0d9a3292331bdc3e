//! Which keys are given up when memory is short, and how their use is noted for that.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use rand::Rng;

use super::Server;
use super::keyspace::{Entry, FrequencyRules, Key, Usage};
use super::lazy_free;
use super::memory_usage::PLACE_BYTES;
use super::tuning::{EvictionPolicy, Tuning};
use crate::clock::{Mono, UnixMillis};
use crate::memory;

/// Candidates that are kept from one search to the next.
const POOL_MAX: usize = 16;

/// Keys that go between two looks at the clock.
const KEYS_PER_LOOK: usize = 16;

/// What the search for memory came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// Memory is within its limit.
    Enough,
    /// It is not, but keys are being given up.
    Freeing,
    /// It is not, and there is nothing to give up.
    Lacking,
}

/// The state of the search for keys to give up.
#[derive(Debug, Default)]
pub(crate) struct Eviction {
    /// The best candidates seen, the one to go first last.
    pool: Vec<Candidate>,
    /// Where the next key at random is taken from.
    next_db: usize,
    /// A task is giving up keys between clients.
    is_running: bool,
    /// Since when memory has been above its limit.
    exceeded_since: Option<Mono>,
}

#[derive(Debug)]
struct Candidate {
    /// The higher, the sooner it goes.
    rank: u64,
    db: usize,
    key: Key,
}

impl Eviction {
    /// Keeps a candidate if it is better than one of those kept.
    fn offer(&mut self, rank: u64, db: usize, entry: &Entry) {
        let at = self.pool.partition_point(|held| held.rank < rank);
        if self.pool.len() >= POOL_MAX && at == 0 {
            return;
        }
        let is_held = |held: &Candidate| held.db == db && held.key == entry.key;
        if self.pool.iter().any(is_held) {
            return;
        }
        let key = entry.key.clone();
        self.pool.insert(at, Candidate { rank, db, key });
        if self.pool.len() > POOL_MAX {
            self.pool.remove(0);
        }
    }
}

impl Tuning {
    /// How the use of keys is counted at this moment.
    pub(super) fn usage(&self, now: UnixMillis) -> Usage {
        let frequency = self.maxmemory_policy.goes_by_frequency().then(|| {
            let natural = |n: i32| u32::try_from(n).unwrap_or(0);
            FrequencyRules {
                log_factor: natural(self.lfu_log_factor),
                decay_minutes: natural(self.lfu_decay_time),
            }
        });
        let seconds = (now.0 / 1000) & u64::from(u32::MAX);
        Usage {
            now: u32::try_from(seconds).expect("32 bits"),
            frequency,
        }
    }
}

impl EvictionPolicy {
    /// Whether only keys with an expiry go.
    fn is_volatile(self) -> bool {
        matches!(
            self,
            EvictionPolicy::VolatileLru
                | EvictionPolicy::VolatileLfu
                | EvictionPolicy::VolatileRandom
                | EvictionPolicy::VolatileTtl
        )
    }

    /// Whether keys go without regard to their use.
    fn is_random(self) -> bool {
        matches!(
            self,
            EvictionPolicy::AllKeysRandom | EvictionPolicy::VolatileRandom
        )
    }

    /// How soon a key goes: the higher, the sooner.
    fn rank(self, usage: Usage, entry: &Entry) -> u64 {
        if self == EvictionPolicy::VolatileTtl {
            u64::MAX - entry.expire_at().unwrap_or(u64::MAX)
        } else {
            u64::from(usage.dispensability(entry.access()))
        }
    }

    /// Whether it goes by how often keys are used.
    fn goes_by_frequency(self) -> bool {
        matches!(
            self,
            EvictionPolicy::AllKeysLfu | EvictionPolicy::VolatileLfu
        )
    }

    /// Whether it goes by when keys were last used.
    fn goes_by_idleness(self) -> bool {
        matches!(
            self,
            EvictionPolicy::AllKeysLru | EvictionPolicy::VolatileLru
        )
    }
}

impl Server {
    /// How the use of keys is counted at this moment.
    pub(crate) fn usage(&self, now: UnixMillis) -> Usage {
        self.config.tuning.usage(now)
    }

    /// The same where files tell the use of keys, which only some policies make worth it.
    pub(crate) fn saved_usage(&self) -> Option<Usage> {
        let policy = self.config.tuning.maxmemory_policy;
        (policy.goes_by_frequency() || policy.goes_by_idleness())
            .then(|| self.usage(self.clock.now().unix))
    }
}

impl Server {
    /// Gives up keys until memory is within its limit, for a while; a task goes on where that is not enough.
    /// No command may be running.
    pub(crate) fn make_room(&mut self) -> Room {
        if self.config.maxmemory == 0 && self.eviction.exceeded_since.is_none() {
            return Room::Enough;
        }
        // What this takes is no part of the command.
        self.read_at = None;
        let excess = self.excess();
        if excess > 0 && !self.may_evict() {
            // Nobody is to suffer for it; it is exceeded all the same, for as long as it is.
            return Room::Enough;
        }
        let room = if excess == 0 {
            Room::Enough
        } else {
            self.evict(excess)
        };
        self.note_room(room);
        room
    }

    /// Bytes above the limit.
    fn excess(&self) -> u64 {
        let limit = self.config.maxmemory;
        let used = memory::used();
        if limit == 0 || used <= limit {
            return 0;
        }
        used.saturating_sub(self.not_counted_for_eviction())
            .saturating_sub(lazy_free::waiting_bytes())
            .saturating_sub(limit)
    }

    /// Bytes that wait to be sent to replicas or written to files, or are kept for snapshots alone. If they counted,
    /// evictions, which go there too, would cause more of them.
    pub(super) fn not_counted_for_eviction(&self) -> u64 {
        // Asked before each command while memory is short: nothing here goes over all clients.
        self.replica_output_bytes()
            + self.keyspace.snapshot_bytes()
            + self.aof.writer.buffer_bytes()
    }

    /// Whether keys may go, and writes be refused for lack of memory.
    fn may_evict(&self) -> bool {
        let is_left_to_master =
            !self.replication.is_master() && self.config.tuning.replica_ignore_maxmemory;
        let is_paused = self.front.paused(self.clock.mono()).is_some();
        !is_left_to_master && !is_paused && !self.is_loading()
    }

    /// Gives up keys worth `excess` bytes, for as long as `maxmemory-eviction-tenacity` allows. Each is a unit of
    /// its own.
    fn evict(&mut self, excess: u64) -> Room {
        let policy = self.config.tuning.maxmemory_policy;
        if policy == EvictionPolicy::NoEviction {
            return Room::Lacking;
        }
        self.end_unit();
        let caller = std::mem::take(&mut self.current);
        let room = self.timed("eviction-cycle", |server| server.evict_by(policy, excess));
        self.current = caller;
        if room == Room::Freeing {
            self.evict_between_clients();
        }
        room
    }

    fn evict_by(&mut self, policy: EvictionPolicy, mut excess: u64) -> Room {
        let begun = self.clock.mono();
        let patience = patience(self.config.tuning.maxmemory_eviction_tenacity);
        for keys in 1_usize.. {
            let Some((db, key)) = self.choose(policy) else {
                return Room::Lacking;
            };
            self.note_own_eviction();
            let freed = self.timed("eviction-del", |server| {
                let entry = server.remove_evicted(db, &key);
                server.end_unit();
                entry.map_or(0, |entry| server.discard_evicted(entry))
            });
            excess = excess.saturating_sub(freed);
            if excess == 0 {
                break;
            }
            if keys.is_multiple_of(KEYS_PER_LOOK)
                && patience.is_some_and(|patience| self.clock.mono().since(begun) > patience)
            {
                return Room::Freeing;
            }
        }
        Room::Enough
    }

    /// Drops the entry of a key that was given up; returns how much room that makes. Its place in the table is room
    /// for another key, whether or not the table has become smaller; a value makes as much as comes free, which may be
    /// nothing where a copy has the same in it.
    fn discard_evicted(&self, entry: Entry) -> u64 {
        // What is about to come free counts as free, and what only snapshots have does not count: see `excess`.
        let counted = || {
            let free = self.keyspace.snapshot_bytes() + lazy_free::waiting_bytes();
            memory::used().saturating_sub(free)
        };
        let before = counted();
        self.discard(entry);
        PLACE_BYTES as u64 + before.saturating_sub(counted())
    }

    /// From now on a replica may lack what the stream is about.
    fn note_own_eviction(&mut self) {
        if !self.replication.is_master() && !self.replication.holds_less {
            self.replication.holds_less = true;
            tracing::warn!(
                "keys are given up here that the master has, by replica-ignore-maxmemory no: what it does with them \
                 is left out"
            );
        }
    }

    /// The key to go next.
    fn choose(&mut self, policy: EvictionPolicy) -> Option<(usize, Key)> {
        if policy.is_random() {
            return self.choose_at_random(policy);
        }
        while self.look_for_candidates(policy) {
            while let Some(Candidate { db, key, .. }) = self.eviction.pool.pop() {
                // It may have gone since, or lost its expiry.
                let entry = self.keyspace.get(db, &key);
                let is_wanted =
                    |entry: &Entry| !policy.is_volatile() || entry.expire_at().is_some();
                if entry.is_some_and(is_wanted) {
                    return Some((db, key));
                }
            }
        }
        None
    }

    /// Offers some keys of each database; false when there are none.
    fn look_for_candidates(&mut self, policy: EvictionPolicy) -> bool {
        let usage = self.usage(self.clock.now().unix);
        let samples = self.config.tuning.maxmemory_samples;
        let mut found_any = false;
        for db in 0..self.keyspace.databases() {
            for _ in 0..samples {
                let Some(entry) = random(&self.keyspace, db, policy, &mut self.rng) else {
                    break;
                };
                found_any = true;
                self.eviction.offer(policy.rank(usage, entry), db, entry);
            }
        }
        found_any
    }

    /// A key at random of one database after the other.
    fn choose_at_random(&mut self, policy: EvictionPolicy) -> Option<(usize, Key)> {
        let databases = self.keyspace.databases();
        for _ in 0..databases {
            let db = self.eviction.next_db;
            self.eviction.next_db = (db + 1) % databases;
            if let Some(entry) = random(&self.keyspace, db, policy, &mut self.rng) {
                return Some((db, entry.key.clone()));
            }
        }
        None
    }

    /// Goes on giving up keys, a slice at a time, until there is room or nothing left.
    fn evict_between_clients(&mut self) {
        if self.eviction.is_running {
            return;
        }
        self.eviction.is_running = true;
        let server: Rc<RefCell<Server>> = self.handle();
        tokio::task::spawn_local(async move {
            loop {
                tokio::task::yield_now().await;
                let server = &mut *server.borrow_mut();
                let room = server.make_room();
                server.hand_on();
                if room != Room::Freeing {
                    server.eviction.is_running = false;
                    return;
                }
            }
        });
    }

    /// The limit or the policy is another one now. A command is running: keys go after it.
    pub(super) fn memory_limit_changed(&mut self) {
        self.eviction.pool.clear();
        let excess = self.excess();
        if excess > 0 {
            tracing::warn!(
                limit = self.config.maxmemory,
                above = excess,
                "the new maxmemory value set via CONFIG SET is smaller than the current memory usage; keys are \
                 given up or writes refused, by maxmemory-policy"
            );
            self.evict_between_clients();
        }
    }

    /// Keeps the time that memory is above its limit.
    fn note_room(&mut self, room: Room) {
        let now = self.clock.mono();
        match (room, self.eviction.exceeded_since) {
            (Room::Enough, Some(_)) => {
                self.stats.eviction_exceeded_total += self.eviction_exceeded();
                self.eviction.exceeded_since = None;
            }
            (Room::Freeing | Room::Lacking, None) => self.eviction.exceeded_since = Some(now),
            (Room::Enough, None) | (Room::Freeing | Room::Lacking, Some(_)) => {}
        }
    }

    /// Begins anew to count the time that memory is above its limit.
    pub(crate) fn reset_exceeded(&mut self) {
        self.eviction.exceeded_since = None;
    }

    /// How long memory has been above its limit. Milliseconds.
    pub(super) fn eviction_exceeded(&self) -> u64 {
        let now = self.clock.mono();
        let since = self
            .eviction
            .exceeded_since
            .map(|since| now.since(since).as_millis());
        u64::try_from(since.unwrap_or(0)).unwrap_or(u64::MAX)
    }
}

/// A key at random, of those that may go.
fn random<'a>(
    keyspace: &'a super::keyspace::Keyspace,
    db: usize,
    policy: EvictionPolicy,
    rng: &mut impl Rng,
) -> Option<&'a Entry> {
    let db = keyspace.db(db);
    if policy.is_volatile() {
        db.random_volatile(|| rng.next_u64())
    } else {
        db.random(|| rng.next_u64())
    }
}

/// How long one search may take, by `maxmemory-eviction-tenacity`; `None`: as long as it needs.
fn patience(tenacity: i32) -> Option<Duration> {
    /// At tenacity 10 and below it grows evenly, above by 15 percent a step.
    const EVEN_MAX: i32 = 10;
    const STEP: Duration = Duration::from_micros(50);
    match tenacity {
        ..=EVEN_MAX => Some(STEP * u32::try_from(tenacity).unwrap_or(0)),
        100.. => None,
        _ => Some((STEP * 10).mul_f64(1.15_f64.powi(tenacity - EVEN_MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::keyspace::Value;

    #[test]
    fn the_pool_keeps_the_best() {
        let mut eviction = Eviction::default();
        for n in 0..100_u64 {
            let rank = n * 37 % 100;
            let entry = Entry::new(rank.to_string().as_bytes(), Value::string(b"v"), None);
            eviction.offer(rank, 0, &entry);
            eviction.offer(rank, 0, &entry);
        }
        let ranks: Vec<u64> = eviction.pool.iter().map(|held| held.rank).collect();
        assert_eq!(ranks, (84..100).collect::<Vec<_>>());
    }

    #[test]
    fn patience_grows_with_tenacity() {
        assert_eq!(patience(0), Some(Duration::ZERO));
        assert_eq!(patience(10), Some(Duration::from_micros(500)));
        assert_eq!(patience(100), None);
        let long = patience(99).unwrap();
        assert!(long > Duration::from_secs(100) && long < Duration::from_secs(240));
    }
}

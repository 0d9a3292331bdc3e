//! Freeing what takes long to free, on one thread of its own.
//!
//! Tasks of the runtime are none for that: a request may remove thousands of large values, each would be a task with a
//! thread, and what the append-only file has to sync would wait behind all of them. Nobody waits for this thread, not
//! even the end of the process.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::Server;
use super::beside::beside_clients;
use super::keyspace::{Db, Entry, Keyspace, SnapshotEpoch, Walk};

/// So much may wait to be freed before whoever removes a large value frees it at once. The thread gives way to
/// clients: where no processor is left for it, they would fill the memory faster than it empties it. Bytes.
const WAITING_BYTES_MAX: u64 = 1 << 30;

/// The same as a part of `maxmemory`, if there is one: while keys are given up, what waits counts as free already.
const WAITING_PART_MAX: u64 = 8;

/// Elements that are looked at to estimate what a collection frees.
const SAMPLES: usize = 5;

/// There is one, as there is one memory.
static QUEUE: Queue = Queue {
    waiting: Mutex::new(Waiting {
        values: VecDeque::new(),
        has_thread: false,
    }),
    has_more: Condvar::new(),
    objects: AtomicU64::new(0),
    bytes: AtomicU64::new(0),
    freed: AtomicU64::new(0),
};

/// What waits to be freed, and the counts.
struct Queue {
    waiting: Mutex<Waiting>,
    has_more: Condvar,
    /// Keys that wait, the one that is being freed included.
    objects: AtomicU64,
    /// What they take, as far as that is known.
    bytes: AtomicU64,
    /// Keys that are gone.
    freed: AtomicU64,
}

struct Waiting {
    values: VecDeque<Value>,
    has_thread: bool,
}

/// Something to be dropped.
struct Value {
    what: Box<dyn Send>,
    objects: u64,
    bytes: u64,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing that could panic runs under the lock.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves a value to the thread, which begins with the first one. Without a thread it is dropped here.
    fn push(&'static self, value: Value) {
        let mut waiting = self.lock();
        if !waiting.has_thread {
            waiting.has_thread = beside_clients("free", move || self.work()).is_ok();
        }
        if waiting.has_thread {
            self.objects.fetch_add(value.objects, Ordering::Relaxed);
            self.bytes.fetch_add(value.bytes, Ordering::Relaxed);
            waiting.values.push_back(value);
            drop(waiting);
            self.has_more.notify_one();
        }
    }

    /// Drops what comes, for ever.
    fn work(&self) {
        loop {
            let mut waiting = self.lock();
            while waiting.values.is_empty() {
                let woken = self.has_more.wait(waiting);
                waiting = woken.unwrap_or_else(PoisonError::into_inner);
            }
            let values = std::mem::take(&mut waiting.values);
            drop(waiting);
            for value in values {
                drop(value.what);
                self.objects.fetch_sub(value.objects, Ordering::Relaxed);
                self.bytes.fetch_sub(value.bytes, Ordering::Relaxed);
                self.freed.fetch_add(value.objects, Ordering::Relaxed);
            }
        }
    }
}

/// Drops something large that is no key on another thread.
pub(crate) fn drop_elsewhere<T: Send + 'static>(value: T) {
    drop_bytes_elsewhere(value, 0);
}

/// The same with something that is known to take about so many bytes.
pub(crate) fn drop_bytes_elsewhere<T: Send + 'static>(value: T, bytes: u64) {
    QUEUE.push(Value {
        what: Box::new(value),
        objects: 0,
        bytes,
    });
}

/// Drops a database on another thread, whatever it takes; that is estimated from some of its keys.
pub(crate) fn drop_database_elsewhere(db: Db) {
    QUEUE.push(Value {
        objects: db.len() as u64,
        bytes: db.estimated_bytes() as u64,
        what: Box::new(db),
    });
}

/// Walks on for a snapshot, as the keyspace says. What that leaves over and takes long to drop goes on another thread.
pub(crate) fn advance_snapshot(keyspace: &mut Keyspace, id: SnapshotEpoch, bytes: usize) -> Walk {
    let walk = keyspace.advance_snapshot(id, bytes);
    if let Some(done) = keyspace.take_done() {
        drop_elsewhere(done);
    }
    walk
}

/// About how much memory it gives to drop an entry, of what others have too its fair part: if the last of them waits
/// as well, so much comes free. Bytes.
fn bytes_of(entry: &Entry) -> u64 {
    (entry.key.heap_bytes() + entry.value.fair_bytes(SAMPLES)) as u64
}

/// Drops an entry, on another thread if that takes long, unless more than `waiting_max` bytes wait there.
fn discard(entry: Entry, waiting_max: u64) {
    if entry.value.is_slow_to_drop() && waiting_bytes() <= waiting_max {
        QUEUE.push(Value {
            bytes: bytes_of(&entry),
            what: Box::new(entry),
            objects: 1,
        });
    }
}

/// `lazyfree_pending_objects`
pub(crate) fn waiting_objects() -> u64 {
    QUEUE.objects.load(Ordering::Relaxed)
}

/// About what keys that wait to be freed take. Bytes.
pub(crate) fn waiting_bytes() -> u64 {
    QUEUE.bytes.load(Ordering::Relaxed)
}

/// `lazyfreed_objects`
pub(crate) fn freed_objects() -> u64 {
    QUEUE.freed.load(Ordering::Relaxed)
}

/// `CONFIG RESETSTAT`
pub(crate) fn reset_freed() {
    QUEUE.freed.store(0, Ordering::Relaxed);
}

impl Server {
    /// Drops a removed entry, on another thread if that takes long.
    pub(super) fn discard(&self, entry: Entry) {
        self.keyspace.note_dropped(&entry);
        discard(entry, self.waiting_max());
    }

    /// So much may wait to be freed by the other thread. Bytes.
    fn waiting_max(&self) -> u64 {
        match self.config.maxmemory {
            0 => WAITING_BYTES_MAX,
            limit => WAITING_BYTES_MAX.min(limit / WAITING_PART_MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread::{self, ThreadId};
    use std::time::Duration;

    use super::*;
    use crate::clock::Clock;
    use crate::server::keyspace::{self, End, Kind, List, Set, Thresholds, steps};

    /// Tells on which thread it is dropped.
    struct Witness(mpsc::SyncSender<ThreadId>);

    impl Drop for Witness {
        fn drop(&mut self) {
            // Nobody hears it when the test has failed already.
            let _ = self.0.send(thread::current().id());
        }
    }

    #[test]
    fn many_values_have_one_thread() {
        let (told, heard) = mpsc::sync_channel(0);
        for _ in 0..100 {
            drop_elsewhere(Witness(told.clone()));
        }
        let first = heard.recv().unwrap();
        assert_ne!(first, thread::current().id());
        for _ in 1..100 {
            assert_eq!(heard.recv().unwrap(), first);
        }
    }

    #[test]
    fn what_is_one_piece_or_few_is_dropped_at_once() {
        let text = keyspace::Value::string(&[b'x'; 5000]);
        assert!(text.is_large(), "it is shared with snapshots");
        assert!(!text.is_slow_to_drop());
        let list = |nodes: usize| {
            let mut list = List::default();
            let thresholds = Thresholds::default();
            // Each fills a node of its own.
            for _ in 0..nodes {
                list.push(End::Right, &[b'x'; 9000], thresholds.list_node);
            }
            list.into_value()
        };
        assert!(!list(10).is_slow_to_drop());
        assert!(list(100).is_slow_to_drop());
    }

    #[test]
    fn a_large_value_is_estimated_once() {
        let mut set = Set::default();
        for n in 0..1000 {
            set.insert(format!("m{n}").as_bytes(), &Thresholds::default());
        }
        let entry = Entry::new(b"key", set.into_value(), None);
        assert!(entry.value.is_slow_to_drop());
        let (steps, bytes) = steps::of(|| bytes_of(&entry));
        assert_eq!(steps, SAMPLES);
        assert!(bytes > 1000 * 24, "{bytes}");
        let (steps, ()) = steps::of(|| discard(entry, u64::MAX));
        assert_eq!(steps, SAMPLES);
    }

    #[test]
    fn a_database_of_copies_counts_what_they_have_in_common_once() {
        let mut set = Set::default();
        for n in 0..10_000 {
            set.insert(format!("m{n}").as_bytes(), &Thresholds::default());
        }
        let value = set.into_value();
        let whole = value.heap_bytes(0) as u64;
        let mut data = keyspace::Keyspace::new(1);
        for n in 0..100 {
            data.insert(
                0,
                Entry::new(format!("{n}").as_bytes(), value.clone(), None),
            );
        }
        let entry = data.remove(0, b"7").expect("it is there");
        let one = bytes_of(&entry);
        assert!(one < whole / 50, "{one} of {whole}");
        drop((value, entry));
        let db = data.flush(0).expect("no snapshot needs it");
        let all = db.estimated_bytes() as u64;
        assert!(
            (whole * 3 / 4..whole * 3 / 2).contains(&all),
            "{all} of {whole}"
        );
    }

    #[test]
    fn what_waits_is_counted_and_has_a_limit() {
        // The thread is busy with this for as long as nobody hears it.
        let (told, heard) = mpsc::sync_channel(0);
        drop_elsewhere(Witness(told));
        let freed = freed_objects();
        const LARGE: u64 = 1 << 24;
        let large = || {
            let text = keyspace::Value::string(&vec![b'x'; 1 << 24]);
            assert!(text.is_slow_to_drop());
            Entry::new(b"key", text, None)
        };
        discard(large(), u64::MAX);
        let mut data = keyspace::Keyspace::new(1);
        for n in 0..1000 {
            let text = keyspace::Value::string(&[b'x'; 10_000]);
            data.insert(0, Entry::new(format!("{n}").as_bytes(), text, None));
        }
        let before = waiting_bytes();
        drop_database_elsewhere(data.flush(0).expect("no snapshot needs it"));
        let database = waiting_bytes() - before;
        assert!((10_000_000..12_000_000).contains(&database), "{database}");
        assert!(waiting_objects() >= 1001);
        let bytes = waiting_bytes();
        assert!(bytes >= LARGE, "{bytes}");
        discard(large(), LARGE - 1);
        // Other tests free little.
        assert!(waiting_bytes() < bytes + LARGE, "it was dropped here");
        heard.recv().unwrap();
        let clock = Clock::start();
        let until = clock.mono() + Duration::from_secs(60);
        while freed_objects() < freed + 1001 {
            assert!(
                clock.mono() < until,
                "{} of {freed} and 1001",
                freed_objects()
            );
            thread::yield_now();
        }
    }
}

//! A load in progress: at the start, by `DEBUG LOADAOF`, or of a master's data. How far it is, and whether clients
//! are served meanwhile.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::Server;
use super::tuning::DisklessLoad;
use crate::clock::Now;
use crate::ids::ReplId;

/// A load in progress.
#[derive(Debug)]
pub(crate) struct Loading {
    since: Now,
    /// The data that were here before are served until it ends.
    is_beside: bool,
    progress: Arc<Progress>,
}

/// How far a load is. The thread that reads keeps it.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    total: AtomicU64,
    loaded: AtomicU64,
    used_memory: AtomicU64,
    /// Of the keys of an RDB.
    keys_loaded: AtomicU64,
    keys_expired: AtomicU64,
    /// What the RDB has brought to each database, until that is where everybody sees it.
    databases: Vec<KeyCount>,
    is_in_keyspace: AtomicBool,
}

/// The keys of one database.
#[derive(Debug, Default)]
struct KeyCount {
    all: AtomicU64,
    volatile: AtomicU64,
}

impl Progress {
    fn of(databases: usize) -> Progress {
        Progress {
            databases: (0..databases).map(|_| KeyCount::default()).collect(),
            ..Progress::default()
        }
    }

    /// So many keys of the RDB have been loaded, and so many left out because they had expired.
    pub(crate) fn set_keys(&self, loaded: u64, expired: u64) {
        self.keys_loaded.store(loaded, Ordering::Relaxed);
        self.keys_expired.store(expired, Ordering::Relaxed);
    }

    /// A database has got more keys, of which some have an end.
    pub(crate) fn add_keys(&self, db: usize, all: u64, volatile: u64) {
        if let Some(count) = self.databases.get(db) {
            count.all.fetch_add(all, Ordering::Relaxed);
            count.volatile.fetch_add(volatile, Ordering::Relaxed);
        }
    }

    /// The keyspace has what the RDB has brought.
    fn set_in_keyspace(&self) {
        self.is_in_keyspace.store(true, Ordering::Relaxed);
    }

    /// So many bytes are to be read; 0: nobody knows.
    pub(crate) fn set_total(&self, bytes: u64) {
        self.total.store(bytes, Ordering::Relaxed);
    }

    /// How much memory the one who wrote the file used.
    pub(crate) fn set_used_memory(&self, bytes: u64) {
        self.used_memory.store(bytes, Ordering::Relaxed);
    }
}

/// What is read through it is counted.
#[derive(Debug)]
pub(crate) struct Counted<R> {
    inner: R,
    progress: Arc<Progress>,
}

impl<R> Counted<R> {
    pub(crate) fn new(inner: R, progress: Arc<Progress>) -> Counted<R> {
        Counted { inner, progress }
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(into)?;
        self.progress
            .loaded
            .fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

impl Seek for Counted<File> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

/// What `INFO` says of a load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LoadReport {
    /// Unix seconds.
    pub(crate) since: u64,
    /// Bytes; 0 when nobody knows.
    pub(crate) total: u64,
    pub(crate) used_memory: u64,
    pub(crate) loaded: u64,
    pub(crate) percent: f64,
    /// Seconds until the end, if it goes on so.
    pub(crate) seconds_left: u64,
}

impl Loading {
    /// Whether the data that were here before are served until it ends.
    pub(crate) fn is_beside(&self) -> bool {
        self.is_beside
    }

    /// How many keys of the RDB were left out because they had expired, and how many have been loaded.
    pub(crate) fn keys(&self) -> (u64, u64) {
        let get = |number: &AtomicU64| number.load(Ordering::Relaxed);
        (
            get(&self.progress.keys_expired),
            get(&self.progress.keys_loaded),
        )
    }

    /// How far it is.
    pub(crate) fn report(&self, now: Now) -> LoadReport {
        let get = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let (total, loaded) = (get(&self.progress.total), get(&self.progress.loaded));
        let used_memory = get(&self.progress.used_memory);
        let elapsed = now.mono.since(self.since.mono).as_secs();
        let seconds_left = match (elapsed, total) {
            (0, _) | (_, 0) => 1,
            _ => elapsed.saturating_mul(total.saturating_sub(loaded)) / (loaded + 1),
        };
        #[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
        let percent = if total == 0 {
            0.0
        } else {
            (loaded as f64 / total as f64 * 100.0).min(100.0)
        };
        LoadReport {
            since: self.since.unix.0 / 1000,
            total,
            used_memory,
            loaded,
            percent,
            seconds_left,
        }
    }
}

impl Server {
    /// A load begins. `is_beside`: what is here is served until it ends.
    pub(crate) fn begin_loading(&mut self, is_beside: bool) -> Arc<Progress> {
        let progress = Arc::new(Progress::of(self.keyspace.databases()));
        self.loading = Some(Loading {
            since: self.clock.now(),
            is_beside,
            progress: Arc::clone(&progress),
        });
        progress
    }

    /// Whether a load is in progress, and nothing is served until it ends.
    pub(crate) fn is_loading(&self) -> bool {
        let loading = self.loading.as_ref();
        loading.is_some_and(|loading| !loading.is_beside)
    }

    /// The keyspace has what the RDB of a load in progress has brought; more may follow.
    pub(crate) fn rdb_is_in_keyspace(&self) {
        if let Some(loading) = &self.loading {
            loading.progress.set_in_keyspace();
        }
    }

    /// How many keys a database has, and how many of them have an end, while an RDB is being loaded that will be all
    /// there is. redis-server fills the keyspace that everybody sees.
    pub(crate) fn keys_on_their_way(&self, db: usize) -> Option<(u64, u64)> {
        let loading = self.loading.as_ref().filter(|loading| !loading.is_beside);
        let progress = &loading?.progress;
        if progress.is_in_keyspace.load(Ordering::Relaxed) || !self.keyspace.is_empty() {
            return None;
        }
        let count = progress.databases.get(db)?;
        let get = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Some((get(&count.all), get(&count.volatile)))
    }

    /// The data of our master begin to come, in its history `id`. In redis-server's `disabled` mode they are
    /// received before they are loaded; here they are loaded as they come, which nobody is to notice.
    pub(crate) fn begin_loading_from_master(&mut self, id: &ReplId) -> Arc<Progress> {
        let is_same = self.replication.history.repl_id() == id;
        match self.config.tuning.repl_diskless_load {
            DisklessLoad::SwapDb => self.begin_loading(is_same),
            DisklessLoad::OnEmptyDb if self.keyspace.is_empty() => self.begin_loading(false),
            DisklessLoad::OnEmptyDb | DisklessLoad::Disabled => Arc::default(),
        }
    }

    /// A load has ended, or was given up.
    pub(crate) fn end_loading(&mut self) {
        if self.loading.take().is_some() {
            // What was switched meanwhile comes into force now. The log says why it cannot.
            drop(self.follow_appendonly());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Mono, UnixMillis};

    #[test]
    fn progress_is_counted_and_told() {
        let at = |seconds: u64| Now {
            mono: Mono(seconds * 1000),
            unix: UnixMillis(1_700_000_000_000 + seconds * 1000),
        };
        let progress = Arc::new(Progress::default());
        let loading = Loading {
            since: at(0),
            is_beside: false,
            progress: Arc::clone(&progress),
        };
        progress.set_total(4000);
        progress.set_used_memory(77);
        let mut source = Counted::new(&[7_u8; 1000][..], progress);
        assert_eq!(loading.report(at(0)).seconds_left, 1);
        io::copy(&mut source, &mut io::sink()).unwrap();
        let report = LoadReport {
            since: 1_700_000_000,
            total: 4000,
            used_memory: 77,
            loaded: 1000,
            percent: 25.0,
            seconds_left: 5,
        };
        assert_eq!(loading.report(at(2)), report);
    }
}

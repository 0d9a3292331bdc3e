//! How commands reach the data: every look-up minds expiry, every change is counted, told to watchers and,
//! on a master, propagated.
//!
//! A replica never removes an expired key by itself; it hides it from its clients until the master's `DEL`
//! comes. The master's own stream sees it as existing, whatever the local clock says.

use super::Server;
use super::keyspace::{Entry, Value};
use super::persist::rdb_decode::STRING_BYTES_MAX;
use crate::front::{Call, PauseMode};

impl Server {
    /// The database of the command that is running.
    pub(crate) fn db(&self) -> usize {
        self.current.db
    }

    /// Whether the command that is running came from our master.
    pub(crate) fn is_from_master(&self, _: &Call<'_>) -> bool {
        self.current.is_from_master
    }

    /// The longest string that a file or a master's stream may hold. Bytes. A master's `proto-max-bulk-len` may
    /// be more than ours, so it is not held to that alone.
    pub(crate) fn string_bytes_max(&self) -> u64 {
        self.config.process.proto_max_bulk_len.max(STRING_BYTES_MAX)
    }

    /// A value as a reader sees it. Counted as a hit or a miss.
    pub(crate) fn read(&mut self, call: &Call<'_>, key: &[u8]) -> Option<&Value> {
        if self.exists_for_write(call, key) {
            self.stats.keyspace_hits += 1;
            self.keyspace.get(self.current.db, key).map(|e| &e.value)
        } else {
            self.stats.keyspace_misses += 1;
            None
        }
    }

    /// Whether a key is there; one that has expired is removed first where that is ours to do.
    pub(crate) fn exists_for_write(&mut self, call: &Call<'_>, key: &[u8]) -> bool {
        let Some(entry) = self.keyspace.get(self.current.db, key) else {
            return false;
        };
        if self.current.is_from_master || !entry.is_expired(call.now.unix.0) {
            return true;
        }
        if self.may_expire(call) {
            self.remove_expired(self.current.db, key);
        }
        false
    }

    /// A value that was just looked up.
    pub(crate) fn stored(&self, call: &Call<'_>, key: &[u8]) -> Option<&Value> {
        let entry = self.keyspace.get(self.current.db, key)?;
        (!self.is_hidden(call, entry)).then_some(&entry.value)
    }

    /// The expiry of a key that was just looked up. Unix milliseconds.
    pub(crate) fn expiry(&self, call: &Call<'_>, key: &[u8]) -> Option<u64> {
        let entry = self.keyspace.get(self.current.db, key)?;
        entry.expire_at().filter(|_| !self.is_hidden(call, entry))
    }

    /// Whether an entry has expired for whoever asks.
    pub(crate) fn is_hidden(&self, call: &Call<'_>, entry: &Entry) -> bool {
        !self.current.is_from_master && entry.is_expired(call.now.unix.0)
    }

    /// Whether an expiry at this moment means removal at once: on a master, when it is not in the future.
    pub(crate) fn is_past(&self, call: &Call<'_>, at: u64) -> bool {
        at <= call.now.unix.0 && self.replication.is_master() && !self.current.is_from_master
    }

    /// The length of the string under a key that exists.
    pub(crate) fn text_len(&self, call: &Call<'_>, key: &[u8]) -> usize {
        self.stored(call, key)
            .map_or(0, |Value::String(text)| text.len())
    }

    /// Sets a key, replacing value and expiry.
    pub(crate) fn store(&mut self, _: &Call<'_>, key: &[u8], value: Value, expire_at: Option<u64>) {
        let db = self.current.db;
        self.keyspace.insert(db, Entry::new(key, value, expire_at));
        self.changed(db, key);
    }

    /// Changes the string under a key that exists.
    pub(crate) fn edit(&mut self, _: &Call<'_>, key: &[u8], change: impl FnOnce(&mut Vec<u8>)) {
        let db = self.current.db;
        if let Some(Value::String(text)) = self.keyspace.value_mut(db, key) {
            text.edit(change);
        }
        self.changed(db, key);
    }

    /// Sets or clears the expiry of a key that exists.
    pub(crate) fn expire(&mut self, _: &Call<'_>, key: &[u8], at: Option<u64>) {
        let db = self.current.db;
        self.keyspace.set_expiry(db, key, at);
        self.changed(db, key);
    }

    /// Removes a key; false when there was none.
    pub(crate) fn delete(&mut self, call: &Call<'_>, key: &[u8]) -> bool {
        self.take(call, key).is_some()
    }

    /// Removes a key and hands it over.
    pub(crate) fn take(&mut self, _: &Call<'_>, key: &[u8]) -> Option<Entry> {
        let db = self.current.db;
        let entry = self.keyspace.remove(db, key)?;
        self.changed(db, key);
        Some(entry)
    }

    /// Empties a database; the memory is given back on another thread.
    pub(crate) fn flush(&mut self, db: usize) {
        self.touch_all(Some(db));
        self.saver.dirty += self.keyspace.db(db).len() as u64;
        if let Some(old) = self.keyspace.flush(db) {
            drop_elsewhere(old);
        }
    }

    /// Has replicas publish a message too. A file does not keep it.
    pub(crate) fn propagate_message<A: AsRef<[u8]>>(&mut self, _: &Call<'_>, words: &[A]) {
        if self.replication.is_producing() {
            self.effects.propagate_message(self.current.db, words);
        }
    }

    /// Has replicas and the append-only file repeat a command in the current database.
    pub(crate) fn propagate<A: AsRef<[u8]>>(&mut self, _: &Call<'_>, words: &[A]) {
        self.propagate_in(self.current.db, words);
    }

    /// Has replicas and the append-only file repeat a command in this database.
    pub(crate) fn propagate_in<A: AsRef<[u8]>>(&mut self, db: usize, words: &[A]) {
        if self.replication.is_producing() || self.aof.writer.is_recording() {
            self.effects.propagate(db, words);
        }
    }

    /// Removes a key that has expired, here and on the replicas.
    pub(crate) fn remove_expired(&mut self, db: usize, key: &[u8]) {
        if self.keyspace.remove(db, key).is_some() {
            self.stats.expired_keys += 1;
            self.changed(db, key);
            self.propagate_in(db, &[b"DEL", key]);
        }
    }

    /// Whether expired keys may be removed now: on a master, and not while writes are paused.
    fn may_expire(&self, call: &Call<'_>) -> bool {
        let paused: Option<PauseMode> = self.front.paused(call.now.mono);
        self.replication.is_master() && paused.is_none()
    }

    fn changed(&mut self, db: usize, key: &[u8]) {
        self.saver.dirty += 1;
        self.touch(db, key);
    }
}

/// Drops something large on another thread.
pub(crate) fn drop_elsewhere<T: Send + 'static>(value: T) {
    drop(tokio::task::spawn_blocking(move || drop(value)));
}

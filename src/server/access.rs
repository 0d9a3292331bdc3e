//! How commands reach the data: every look-up minds expiry, every change is counted, told to watchers and,
//! on a master, propagated.
//!
//! A replica does not remove what expires of its master's keys; it hides such a key from its clients until the
//! master's `DEL` comes (what its own clients wrote: `own_expiry.rs`). The master's own stream sees it as existing, whatever the local clock says.

use super::command::Failure;
use super::keyspace::{Entry, Kind, Text, Thresholds, Value};
use super::lazy_free::drop_database_elsewhere;
use super::persist::rdb_decode::STRING_BYTES_MAX;
use super::{NotifyClasses, Server};
use crate::front::{Call, PauseMode, flag};

impl Server {
    /// The database of the command that is running.
    pub(crate) fn db(&self) -> usize {
        self.current.db
    }

    /// Whether the command that is running has waited for a key, and is being served now.
    pub(crate) fn has_waited(&self, _: &Call<'_>) -> bool {
        self.current.has_waited
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

    /// A value as a reader sees it, whatever it is. Counted as a hit or a miss, and as a use of the key.
    pub(crate) fn read_any(&mut self, call: &Call<'_>, key: &[u8]) -> Option<&Value> {
        let is_there = self.exists_and_is_used(call, key);
        self.counted(is_there, key).map(|entry| &entry.value)
    }

    /// What is stored under a key for who only looks at it: a hit or a miss, but no use of the key.
    pub(crate) fn peek(&mut self, call: &Call<'_>, key: &[u8]) -> Option<&Entry> {
        let is_there = self.is_there(call, key);
        self.counted(is_there, key)
    }

    /// The same for who looks at how a value is kept: no event tells of a miss.
    pub(crate) fn inspect(&mut self, call: &Call<'_>, key: &[u8]) -> Option<&Entry> {
        let is_there = self.is_there(call, key);
        self.found(is_there, key)
    }

    /// Counts a hit or a miss, and tells of a miss.
    fn counted(&mut self, is_there: bool, key: &[u8]) -> Option<&Entry> {
        if !is_there {
            self.notify_here(NotifyClasses::KEY_MISS, "keymiss", key);
        }
        self.found(is_there, key)
    }

    /// Counts a hit or a miss.
    fn found(&mut self, is_there: bool, key: &[u8]) -> Option<&Entry> {
        if is_there {
            self.stats.keyspace_hits += 1;
            self.keyspace.get(self.current.db, key)
        } else {
            self.stats.keyspace_misses += 1;
            None
        }
    }

    /// A value of one type as a reader sees it. Counted as a hit or a miss.
    ///
    /// # Errors
    /// The key holds something else.
    pub(crate) fn read<K: Kind>(
        &mut self,
        call: &Call<'_>,
        key: &[u8],
    ) -> Result<Option<&K>, Failure> {
        typed(self.read_any(call, key))
    }

    /// A value of one type, looked up by a command that is about to change it.
    ///
    /// # Errors
    /// The key holds something else.
    pub(crate) fn lookup<K: Kind>(
        &mut self,
        call: &Call<'_>,
        key: &[u8],
    ) -> Result<Option<&K>, Failure> {
        if self.exists_and_is_used(call, key) {
            typed(self.stored_any(call, key))
        } else {
            Ok(None)
        }
    }

    /// A value of one type that was just looked up.
    ///
    /// # Errors
    /// The key holds something else.
    pub(crate) fn stored<K: Kind>(
        &self,
        call: &Call<'_>,
        key: &[u8],
    ) -> Result<Option<&K>, Failure> {
        typed(self.stored_any(call, key))
    }

    /// Whether a key is there, which counts as a use of it; one that has expired is removed first where that
    /// is ours to do.
    pub(crate) fn exists_and_is_used(&mut self, call: &Call<'_>, key: &[u8]) -> bool {
        self.is_live(call, key, true)
    }

    /// Whether a key is there; one that has expired is removed first where that is ours to do.
    pub(crate) fn is_there(&mut self, call: &Call<'_>, key: &[u8]) -> bool {
        self.is_live(call, key, false)
    }

    /// As [`Server::is_there`], for a command that comes across keys by chance: what it removes are units of their
    /// own, as what is removed with time, unless it is part of a transaction.
    pub(crate) fn is_there_by_chance(&mut self, call: &Call<'_>, key: &[u8]) -> bool {
        let found = self.by_chance(|server| server.is_there(call, key).then_some(()));
        found.is_some()
    }

    /// As [`Server::is_there_by_chance`], with a look-up of one's own; what it finds.
    pub(crate) fn by_chance<R>(
        &mut self,
        look_up: impl FnOnce(&mut Server) -> Option<R>,
    ) -> Option<R> {
        let found = look_up(self);
        if found.is_none() && !self.in_exec {
            self.end_unit();
        }
        found
    }

    fn is_live(&mut self, call: &Call<'_>, key: &[u8], is_use: bool) -> bool {
        let Some(entry) = self.keyspace.get(self.current.db, key) else {
            return false;
        };
        if self.current.is_from_master || !entry.is_expired(call.now.unix.0) {
            if is_use {
                let usage = self.config.tuning.usage(call.now.unix);
                let rng = &mut self.rng;
                entry.set_access(usage.used(entry.access(), || rand::Rng::next_u32(rng)));
            }
            return true;
        }
        if self.may_remove_expired(call) {
            self.remove_expired(self.current.db, key);
        }
        false
    }

    /// A value that was just looked up, whatever it is.
    pub(crate) fn stored_any(&self, call: &Call<'_>, key: &[u8]) -> Option<&Value> {
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

    /// Where the small forms of collections end, as configured.
    pub(crate) fn thresholds(&self) -> Thresholds {
        self.config.tuning.thresholds()
    }

    /// Sets a key, replacing value and expiry.
    pub(crate) fn store(
        &mut self,
        call: &Call<'_>,
        key: &[u8],
        value: Value,
        expire_at: Option<u64>,
    ) {
        let db = self.current.db;
        let usage = self.usage(call.now.unix);
        let entry = Entry::new(key, value, expire_at);
        // A count goes on when the value is replaced; the last use is now in any case.
        let counted = usage.frequency.and_then(|_| self.keyspace.get(db, key));
        entry.set_access(counted.map_or_else(|| usage.fresh(), Entry::access));
        if expire_at.is_some() {
            self.note_expiry(key);
        }
        self.key_ready(db, key);
        let before = self.keyspace.insert(db, entry);
        self.changed(db, key);
        match before {
            Some(entry) => self.discard(entry),
            None => self.notify(NotifyClasses::NEW, "new", db, key),
        }
    }

    /// Stores what a command has come to, or removes the key where that is nothing, and says so to everybody.
    pub(crate) fn store_result(
        &mut self,
        call: &Call<'_>,
        key: &[u8],
        result: Option<Value>,
        (class, event): (NotifyClasses, &str),
    ) {
        if let Some(value) = result {
            // One that has expired goes first.
            self.exists_and_is_used(call, key);
            self.store(call, key, value, None);
            self.notify_here(class, event, key);
            self.propagate(call, call.words);
        } else if self.delete(call, key) {
            // Expired or not: what removes it is this command.
            self.notify_here(NotifyClasses::GENERIC, "del", key);
            self.propagate(call, call.words);
        }
    }

    /// Sets a key to a string, like [`Server::store`]: `assign` gives it its bytes, in the room of the present
    /// string where there is one.
    pub(crate) fn store_text(
        &mut self,
        call: &Call<'_>,
        key: &[u8],
        expire_at: Option<u64>,
        assign: impl FnOnce(&mut Text),
    ) {
        let db = self.current.db;
        let is_small_text =
            |entry: &&Entry| matches!(entry.value, Value::String(_)) && !entry.value.is_large();
        let Some(entry) = self.keyspace.get(db, key).filter(is_small_text) else {
            let mut text = Text::default();
            assign(&mut text);
            return self.store(call, key, Value::String(text), expire_at);
        };
        let usage = self.usage(call.now.unix);
        if usage.frequency.is_none() {
            entry.set_access(usage.fresh());
        }
        if entry.expire_at() != expire_at {
            self.keyspace.set_expiry(db, key, expire_at);
        }
        if expire_at.is_some() {
            self.note_expiry(key);
        }
        if let Some(Value::String(text)) = self.keyspace.value_mut(db, key) {
            assign(text);
        }
        self.changed(db, key);
    }

    /// Puts an entry that was taken from elsewhere under a key that is not there; its use goes with it.
    pub(crate) fn place(&mut self, call: &Call<'_>, key: &[u8], entry: Entry) {
        let access = entry.access();
        let expire_at = entry.expire_at();
        self.store(call, key, entry.value, expire_at);
        self.note_access(key, access);
    }

    /// Sets what is noted of the use of a key.
    pub(crate) fn note_access(&mut self, key: &[u8], access: u32) {
        if let Some(entry) = self.keyspace.get(self.current.db, key) {
            entry.set_access(access);
        }
    }

    /// Changes a value in place; makes it first where the key is new, and leaves no empty collection there.
    /// Whoever calls it has looked the key up as a `K`, and says by [`Server::touched`] what has changed and by
    /// [`Server::drop_if_empty`] that nothing may be left.
    pub(crate) fn modify<K: Kind, R>(
        &mut self,
        call: &Call<'_>,
        key: &[u8],
        change: impl FnOnce(&mut K) -> R,
    ) -> R {
        let db = self.current.db;
        if let Some(value) = self.keyspace.value_mut(db, key) {
            return change(K::of_mut(value).expect("the type was checked at the look-up"));
        }
        let mut value = K::default();
        let result = change(&mut value);
        if !value.has_nothing() {
            let entry = Entry::new(key, value.into_value(), None);
            entry.set_access(self.usage(call.now.unix).fresh());
            self.keyspace.insert(db, entry);
            self.key_ready(db, key);
            self.notify(NotifyClasses::NEW, "new", db, key);
        }
        result
    }

    /// Looks a key up as a `K` and changes its value in place, like [`Server::modify`].
    ///
    /// # Errors
    /// The key holds something else.
    pub(crate) fn update<K: Kind, R>(
        &mut self,
        call: &Call<'_>,
        key: &[u8],
        change: impl FnOnce(&mut K) -> R,
    ) -> Result<R, Failure> {
        // What is there is looked up once more, and not twice, to see its type and to change it.
        if self.exists_and_is_used(call, key)
            && let Some(value) = self.keyspace.value_mut(self.current.db, key)
        {
            return K::of_mut(value)
                .map(change)
                .ok_or_else(|| WRONG_TYPE.into());
        }
        Ok(self.modify(call, key, change))
    }

    /// The value of a key has changed: those who watch or track it hear of it, and the event is published.
    pub(crate) fn touched(&mut self, key: &[u8], class: NotifyClasses, event: &str) {
        let db = self.current.db;
        self.changed(db, key);
        self.notify(class, event, db, key);
    }

    /// Counts further changes of a command beyond the one that [`Server::touched`] counts.
    pub(crate) fn changed_more(&mut self, changes: usize) {
        self.saver.dirty += changes as u64;
    }

    /// Counts nothing that `work` changes.
    pub(crate) fn uncounted<R>(&mut self, work: impl FnOnce(&mut Server) -> R) -> R {
        let before = self.saver.dirty;
        let result = work(self);
        self.saver.dirty = before;
        result
    }

    /// Counts all that `work` changes as one change.
    pub(crate) fn as_one_change<R>(&mut self, work: impl FnOnce(&mut Server) -> R) -> R {
        let result = self.uncounted(work);
        self.saver.dirty += 1;
        result
    }

    /// Removes a key whose collection has become empty; true if it has.
    pub(crate) fn drop_if_empty<K: Kind>(&mut self, _: &Call<'_>, key: &[u8]) -> bool {
        let db = self.current.db;
        let found = self.keyspace.get(db, key);
        let is_empty = found
            .and_then(|entry| K::of(&entry.value))
            .is_some_and(K::has_nothing);
        if is_empty {
            self.keyspace.remove(db, key);
            self.notify(NotifyClasses::GENERIC, "del", db, key);
        }
        is_empty
    }

    /// Sets or clears the expiry of a key that exists.
    pub(crate) fn expire(&mut self, _: &Call<'_>, key: &[u8], at: Option<u64>) {
        let db = self.current.db;
        self.keyspace.set_expiry(db, key, at);
        if at.is_some() {
            self.note_expiry(key);
        }
        self.changed(db, key);
    }

    /// Removes a key; false when there was none.
    pub(crate) fn delete(&mut self, call: &Call<'_>, key: &[u8]) -> bool {
        let entry = self.take(call, key);
        entry.map(|entry| self.discard(entry)).is_some()
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
        self.touch_all(db);
        self.saver.dirty += self.keyspace.db(db).len() as u64;
        if let Some(old) = self.keyspace.flush(db) {
            drop_database_elsewhere(old);
        }
    }

    /// Does something in another database.
    pub(crate) fn in_db<R>(&mut self, db: usize, work: impl FnOnce(&mut Server) -> R) -> R {
        let here = std::mem::replace(&mut self.current.db, db);
        let result = work(self);
        self.current.db = here;
        result
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
    fn propagate_in<A: AsRef<[u8]>>(&mut self, db: usize, words: &[A]) {
        if self.replication.is_producing() || self.aof.writer.is_recording() {
            self.effects.propagate(db, words);
        }
    }

    /// Removes a key that has expired, here and on the replicas.
    pub(crate) fn remove_expired(&mut self, db: usize, key: &[u8]) {
        let entry = self.timed("expire-del", |server| {
            let entry = server.keyspace.remove(db, key)?;
            server.discard(entry);
            Some(())
        });
        if entry.is_some() {
            self.stats.expired_keys += 1;
            // Nobody has changed it: whoever runs a command now must hear of it too.
            let client = self.current.client.take();
            self.touch(db, key);
            self.current.client = client;
            self.notify(NotifyClasses::EXPIRED, "expired", db, key);
            self.propagate_in(db, &[b"DEL", key]);
        }
    }

    /// Whether an expired key that a call has met may be removed: by any write, which must not find what its
    /// look-up did not see, and by readers of a master while writes are not paused. A write that runs at all was
    /// let through, although its own transaction may have paused writes or made a replica of us since.
    fn may_remove_expired(&self, call: &Call<'_>) -> bool {
        let paused: Option<PauseMode> = self.front.paused(call.now.mono);
        let is_write = call.info.flags & flag::WRITE != 0;
        is_write || (self.replication.is_master() && paused.is_none())
    }

    /// Removes a key because memory is short, here and on the replicas. Returns what it held.
    pub(super) fn remove_evicted(&mut self, db: usize, key: &[u8]) -> Option<Entry> {
        let entry = self.keyspace.remove(db, key)?;
        self.stats.evicted_keys += 1;
        self.touch(db, key);
        self.notify(NotifyClasses::EVICTED, "evicted", db, key);
        self.propagate_in(db, &[b"DEL", key]);
        Some(entry)
    }

    /// The value of a key has changed, but no event says so.
    pub(crate) fn changed(&mut self, db: usize, key: &[u8]) {
        self.saver.dirty += 1;
        self.touch(db, key);
    }
}

/// The error of a command for a key that holds another type.
pub(super) const WRONG_TYPE: &str =
    "WRONGTYPE Operation against a key holding the wrong kind of value";

/// A value as the type that a command is about.
fn typed<K: Kind>(value: Option<&Value>) -> Result<Option<&K>, Failure> {
    match value.map(K::of) {
        None => Ok(None),
        Some(Some(found)) => Ok(Some(found)),
        Some(None) => Err(WRONG_TYPE.into()),
    }
}

//! Sending all data to a replica: straight from a snapshot, or from a file.
//!
//! Replicas that wait together share one snapshot and its bytes: the walk goes on when all their sockets have taken
//! what was there. As in redis-server, one thing at a time is written from memory, a file or a transfer; whoever
//! comes later waits. So a slow replica costs no more than what changes meanwhile, however many they are, and nobody
//! else's walk fills memory with what it cannot take yet. One that takes nothing ends by `repl-timeout`.

use std::cell::RefCell;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use super::master::{Feed, FeedState};
use crate::clock::Mono;
use crate::front::{Client, ClientId, Closing};
use crate::ids::{ReplOffset, random_hex};
use crate::server::Server;
use crate::server::key_delay::SavePace;
use crate::server::keyspace::{Chunk, ChunkQueue, Image, Keyspace, Long, SnapshotEpoch, Walk};
use crate::server::lazy_free::{advance_snapshot, drop_elsewhere};
use crate::server::persist::rdb::CRC64;
use crate::server::persist::rdb_encode::{self, Head, ImageWriter, ReplicationInfo};

/// How much of a snapshot is written at a time. One slice takes well under a millisecond.
const SLICE_BYTES: usize = 128 * 1024;

impl Server {
    /// Starts the full resyncs that are due: at once, or when `repl-diskless-sync-delay` is over.
    pub(crate) fn start_transfers(&mut self) {
        let now = self.clock.mono();
        let waiting: Vec<(ClientId, Mono)> = self
            .feeds()
            .filter_map(|(id, feed)| match feed.state {
                FeedState::Waiting { since } => Some((id, since)),
                FeedState::Transferring { .. }
                | FeedState::Unacknowledged { .. }
                | FeedState::Online => None,
            })
            .collect();
        let Some(longest) = waiting.iter().map(|(_, since)| *since).min() else {
            return;
        };
        let most = self.config.diskless_sync_max_replicas as usize;
        let is_due = !self.config.diskless_sync
            || now.since(longest) >= self.config.diskless_sync_delay
            || (most > 0 && waiting.len() >= most);
        // Data that hold half a unit are at no offset. Whoever waits is closed when they have been replaced.
        let is_at_offset = !self.replication.needs_all_data;
        if !is_due || !is_at_offset || self.is_writing_snapshot() {
            let ids: Vec<ClientId> = waiting.iter().map(|(id, _)| *id).collect();
            self.keep_alive(&ids);
            return;
        }
        self.end_unit();
        self.flush_stream();
        let (mut diskless, mut from_file) = (Vec::new(), Vec::new());
        for (id, _) in waiting {
            let client = self.front.clients.get(id);
            let Some(introduction) = client.map(|client| &client.session.introduction) else {
                continue;
            };
            if introduction.without_keys {
                self.send_without_keys(id);
            } else if self.config.diskless_sync && introduction.capa_eof {
                diskless.push(id);
            } else {
                from_file.push(id);
            }
        }
        self.start_diskless(&diskless);
        self.start_from_file(&from_file);
    }

    /// Begins what has waited for the end of a snapshot. Replicas and files take turns: where full resyncs follow one
    /// another, a rewrite would else wait for ever, and with it the file of `appendonly yes`.
    pub(crate) fn snapshot_ended(&mut self, was_for_replicas: bool) {
        if !was_for_replicas {
            self.start_transfers();
        }
        self.check_aof_rewrite();
        self.check_save_points();
        self.start_transfers();
    }

    /// Since when a snapshot is being sent to replicas, and which.
    pub(crate) fn transfer(&self) -> Option<(Mono, SnapshotEpoch)> {
        self.feeds().find_map(|(id, feed)| {
            let is_open = self.front.clients.get(id).is_some_and(Client::is_open);
            feed.snapshot().filter(|_| is_open)
        })
    }

    /// Since when the data are being saved to a file or sent to replicas, and the snapshot. To clients both are
    /// "Background save", as in redis-server.
    pub(crate) fn saving(&self) -> Option<(Mono, SnapshotEpoch)> {
        self.saver.running().or_else(|| self.transfer())
    }

    /// Whether the data are being written anywhere. Nothing else of that kind may begin: what one walk writes has to
    /// be kept for all others.
    pub(crate) fn is_writing_snapshot(&self) -> bool {
        self.saving().is_some() || self.aof.rewriting.is_running()
    }

    /// Ends the transfer in progress; its replicas will be back.
    pub(crate) fn end_transfer(&mut self) {
        let Some((_, snapshot)) = self.transfer() else {
            return;
        };
        for id in self.replication.replicas.clone() {
            if self.feed_mut(id).is_some_and(|feed| feed.is_sent(snapshot)) {
                self.close_replica(id);
            }
        }
        self.end_snapshot(snapshot);
    }

    fn close_replica(&mut self, id: ClientId) {
        if let Some(client) = self.front.clients.get_mut(id) {
            client.close(Closing::Now);
        }
    }

    /// The head of an RDB of this moment.
    pub(crate) fn rdb_head(&self) -> Head {
        let replication = &self.replication;
        let has_position = replication.history.is_recording() && !replication.needs_all_data;
        let position = has_position.then(|| ReplicationInfo {
            repl_id: replication.history.repl_id().to_string(),
            offset: replication.history.offset().0,
            // Without one a SELECT comes next, so any will do.
            stream_db: replication
                .stream_db
                .and_then(|db| u32::try_from(db).ok())
                .unwrap_or(0),
            holds_less: replication.holds_less,
        });
        Head {
            created: self.clock.now().unix.0 / 1000,
            used_memory: crate::memory::used(),
            replication: position,
            usage: self.saved_usage(),
            is_aof_base: false,
        }
    }

    /// The line that begins a full resync, unless the replica came by `SYNC`. What follows in the stream
    /// begins with a `SELECT`.
    fn announce_full_resync(&mut self, id: ClientId) {
        let now = self.clock.mono();
        if self.replication.is_master() {
            self.replication.stream_db = None;
        }
        let is_old = self.feed_mut(id).is_some_and(|feed| feed.is_old);
        let history = &self.replication.history;
        if !is_old {
            let line = format!("+FULLRESYNC {} {}\r\n", history.repl_id(), history.offset());
            self.front.clients.send(id, line.into_bytes(), now);
        }
    }

    fn transferring(
        &mut self,
        id: ClientId,
        snapshot: Option<SnapshotEpoch>,
    ) -> Option<Rc<tokio::sync::Notify>> {
        let now = self.clock.mono();
        let client = self.front.clients.get(id)?;
        let wants_stream = !client.session.introduction.rdb_only;
        let offset = self.replication.history.offset();
        let feed: &mut Feed = self.feed_mut(id)?;
        feed.state = FeedState::Transferring {
            since: now,
            snapshot,
            is_sending_file: false,
            next: wants_stream.then_some(ReplOffset(offset.0 + 1)),
        };
        feed.progress_at = now;
        let drained = Rc::clone(&feed.drained);
        self.keep_stream();
        Some(drained)
    }

    /// Starts one transfer to all of these.
    fn start_diskless(&mut self, ids: &[ClientId]) {
        if ids.is_empty() {
            return;
        }
        for &id in ids {
            self.announce_full_resync(id);
        }
        let head = self.rdb_head();
        let snapshot = self.keyspace.begin_snapshot(&head);
        let mark = random_hex::<20>(&mut self.rng);
        let begin = Bytes::from(format!("$EOF:{mark}\r\n"));
        let now = self.clock.mono();
        let mut takers = Vec::new();
        for &id in ids {
            if let Some(drained) = self.transferring(id, Some(snapshot)) {
                self.front.clients.send(id, begin.clone(), now);
                takers.push(Taker { id, drained });
            }
        }
        let mut pace = SavePace::new(self.config.tuning.rdb_key_save_delay);
        let server = self.handle();
        tokio::task::spawn_local(async move {
            let mut image = Outgoing::new();
            loop {
                let walk =
                    server
                        .borrow_mut()
                        .send_slice(&mut takers, snapshot, &mut image, &mut pace);
                while let Some(rest) = pace.next_rest() {
                    if !server.borrow().is_taken(snapshot, &takers) {
                        break;
                    }
                    tokio::time::sleep(rest).await;
                }
                if walk == Walk::Complete {
                    break;
                }
                for taker in &takers {
                    taker.drained.notified().await;
                }
            }
            let server = &mut *server.borrow_mut();
            server.end_snapshot(snapshot);
            let checksum = image.digest.finalize();
            for taker in takers {
                server.finish_diskless(taker.id, checksum, &mark);
            }
            server.snapshot_ended(true);
        });
    }

    /// Sends an RDB without keys.
    fn send_without_keys(&mut self, id: ClientId) {
        self.announce_full_resync(id);
        let mut keyspace = Keyspace::new(1);
        let snapshot = keyspace.begin_snapshot(&self.rdb_head());
        keyspace.advance_snapshot(snapshot, SLICE_BYTES);
        self.transferring(id, None);
        let now = self.clock.mono();
        let mark = random_hex::<20>(&mut self.rng);
        let begin = Bytes::from(format!("$EOF:{mark}\r\n"));
        self.front.clients.send(id, begin, now);
        let mut image = Outgoing::new();
        if let Some(output) = keyspace.snapshot_output(snapshot) {
            while let Some(bytes) = image.next(output, SLICE_BYTES) {
                self.front.clients.send(id, bytes, now);
            }
        }
        self.finish_diskless(id, image.digest.finalize(), &mark);
    }

    /// Sends the next slice of a snapshot to those who take it, of whom only those stay who are still there, and notes
    /// for the pace how many keys have been sent by now. [`Walk::Complete`] also when none is there.
    fn send_slice(
        &mut self,
        takers: &mut Vec<Taker>,
        snapshot: SnapshotEpoch,
        image: &mut Outgoing,
        pace: &mut SavePace,
    ) -> Walk {
        let now = self.clock.mono();
        // Writes may have added to it already.
        let before = self.stock(snapshot, image, pace);
        let wanted = before.slice_bytes(pace).saturating_sub(before.bytes);
        let walk = advance_snapshot(&mut self.keyspace, snapshot, wanted);
        let stock = self.stock(snapshot, image, pace);
        // What is left of a large value is in no stock.
        let mut left = match image.large {
            Some(_) => SLICE_BYTES,
            None => stock.slice_bytes(pace),
        };
        let Some(output) = self.keyspace.snapshot_output(snapshot) else {
            // All data were replaced. What has been sent is no image of anything.
            for taker in takers.drain(..) {
                self.close_replica(taker.id);
            }
            return Walk::Complete;
        };
        while left > 0 {
            let Some(bytes) = image.next(output, left) else {
                break;
            };
            left = left.saturating_sub(bytes.len());
            for taker in &*takers {
                self.front.clients.send(taker.id, bytes.clone(), now);
            }
        }
        let is_all_sent = output.is_empty() && image.is_empty();
        let unsent = (output.len() + image.rest.len()) / stock.key_bytes();
        pace.note((pace.noted() + stock.keys).saturating_sub(unsent));
        self.close_overfull_transfer();
        takers.retain(|taker| self.notify_when_drained(taker.id));
        if takers.is_empty() {
            Walk::Complete
        } else if is_all_sent {
            walk
        } else {
            Walk::Going
        }
    }

    /// What waits to be sent of a snapshot.
    fn stock(&mut self, snapshot: SnapshotEpoch, image: &Outgoing, pace: &SavePace) -> Stock {
        let progress = self.keyspace.snapshot_progress(snapshot);
        let written = progress.map_or(0, |(keys, _)| keys);
        let output = self.keyspace.snapshot_output(snapshot);
        Stock {
            keys: written.saturating_sub(pace.noted()),
            bytes: output.map_or(0, |output| output.len()) + image.rest.len(),
        }
    }

    /// Whether a snapshot is still there, and somebody who takes it.
    fn is_taken(&self, snapshot: SnapshotEpoch, takers: &[Taker]) -> bool {
        let client = |taker: &Taker| self.front.clients.get(taker.id);
        let mut clients = takers.iter().filter_map(client);
        self.keyspace.snapshot_progress(snapshot).is_some() && clients.any(Client::is_open)
    }

    /// Ends the transfer if it is so far behind that what writes have added to its snapshot exceeds the hard limit
    /// of `client-output-buffer-limit replica`.
    pub(crate) fn close_overfull_transfer(&mut self) {
        let limit = self.front.clients.limits.replica.hard_bytes;
        let Some((_, snapshot)) = self.transfer().filter(|_| limit > 0) else {
            return;
        };
        let output = self.keyspace.snapshot_output(snapshot);
        let waiting = output.map_or(0, |output| output.len());
        if waiting as u64 > limit {
            tracing::warn!(
                bytes = waiting,
                "full resync ended: more of its snapshot waits to be sent than client-output-buffer-limit replica \
                 allows"
            );
            self.end_transfer();
        }
    }

    /// Ends a transfer with its checksum and its mark.
    fn finish_diskless(&mut self, id: ClientId, checksum: u64, mark: &str) {
        let now = self.clock.mono();
        let checksum = if self.config.rdbchecksum { checksum } else { 0 };
        let mut end = checksum.to_le_bytes().to_vec();
        end.extend_from_slice(mark.as_bytes());
        if !self.front.clients.send(id, end, now) {
            return;
        }
        self.await_acknowledgement(id);
        let client = self.front.clients.get_mut(id);
        if let Some(client) = client.filter(|c| c.session.introduction.rdb_only) {
            client.close(Closing::AfterReplies);
        }
    }

    /// Has the data saved to the RDB file and sends that: for replicas that must know the length first.
    fn start_from_file(&mut self, ids: &[ClientId]) {
        if self.is_writing_snapshot() {
            // The end of that tries again; until then the replicas hear that we are there.
            self.keep_alive(ids);
            return;
        }
        ids.iter().for_each(|id| self.announce_full_resync(*id));
        let taker = |id: &ClientId| {
            let drained = self.transferring(*id, None)?;
            Some(Taker { id: *id, drained })
        };
        let takers: Vec<Taker> = ids.iter().filter_map(taker).collect();
        if takers.is_empty() {
            return;
        }
        let server = self.handle();
        let saved = self.start_save(true);
        tokio::task::spawn_local(async move {
            let saved = keep_alive_until(&server, &takers, saved)
                .await
                .map(Arc::new);
            for taker in takers {
                let sending = send_saved(Rc::clone(&server), taker, saved.clone());
                tokio::task::spawn_local(sending);
            }
        });
    }

    /// Whether replicas wait for a file that is being saved.
    pub(crate) fn waits_for_file(&self) -> bool {
        self.feeds().any(|(_, feed)| feed.waits_for_file())
    }

    /// Sends empty lines to replicas that wait for something.
    fn keep_alive(&mut self, ids: &[ClientId]) {
        let now = self.clock.mono();
        for id in ids {
            self.front.clients.send(*id, Bytes::from_static(b"\n"), now);
        }
    }
}

/// Sends a saved file to a replica, if it could be saved, and then the stream.
async fn send_saved(server: Rc<RefCell<Server>>, taker: Taker, saved: Option<Arc<File>>) {
    let sent = match saved {
        Some(file) => send_file(&server, taker.id, file, &taker.drained).await,
        None => Err(std::io::Error::other("the data could not be saved")),
    };
    let mut server = server.borrow_mut();
    if let Err(error) = sent {
        tracing::warn!(%error, "full resync from a file failed");
        server.close_replica(taker.id);
        return;
    }
    let client = server.front.clients.get_mut(taker.id);
    match client.filter(|c| c.session.introduction.rdb_only) {
        Some(client) => client.close(Closing::AfterReplies),
        None => server.put_online(taker.id),
    }
}

/// A replica that takes part in a transfer.
struct Taker {
    id: ClientId,
    drained: Rc<tokio::sync::Notify>,
}

/// What was written of a snapshot and is not sent yet. A walk writes many keys at a time.
struct Stock {
    keys: usize,
    bytes: usize,
}

impl Stock {
    /// About what one key takes.
    fn key_bytes(&self) -> usize {
        (self.bytes / self.keys.max(1)).max(1)
    }

    /// How much is sent at a time: between two rests, where there are any, lest who takes it hears nothing for long.
    fn slice_bytes(&self, pace: &SavePace) -> usize {
        let bytes = self.key_bytes().saturating_mul(pace.keys_at_a_time());
        bytes.min(SLICE_BYTES)
    }
}

/// A snapshot on its way to replicas.
struct Outgoing {
    /// What is left of the bytes that are being sent.
    rest: Bytes,
    /// A large value that is being encoded, piece by piece, as the replica takes it.
    large: Option<ImageWriter>,
    digest: crc::Digest<'static, u64, crc::Table<16>>,
}

impl Outgoing {
    fn new() -> Outgoing {
        Outgoing {
            rest: Bytes::new(),
            large: None,
            digest: CRC64.digest(),
        }
    }

    /// Whether nothing is left of what was taken from the snapshot's output.
    fn is_empty(&self) -> bool {
        self.rest.is_empty() && self.large.is_none()
    }

    /// The next bytes, about `bytes_max` of them at most; `None` when there are none yet.
    fn next(&mut self, output: &mut ChunkQueue, bytes_max: usize) -> Option<Bytes> {
        if self.rest.is_empty() {
            self.rest = match self.large.take() {
                Some(writer) => self.piece(writer, bytes_max),
                None => match output.pop()? {
                    Chunk::Encoded(bytes) => Bytes::from(bytes),
                    Chunk::Large(Image::Text(text)) => {
                        let mut head = Vec::new();
                        rdb_encode::length(text.len(), &mut head);
                        self.digest.update(&head);
                        self.rest = Bytes::from_owner(SharedText(Some(text)));
                        return Some(Bytes::from(head));
                    }
                    // A replica is sent RDB, so nothing is to be made again here.
                    Chunk::Large(image) | Chunk::Recreated(_, image) => {
                        self.piece(ImageWriter::new(image), bytes_max)
                    }
                },
            };
        }
        let bytes = self.rest.split_to(self.rest.len().min(bytes_max));
        self.digest.update(&bytes);
        Some(bytes)
    }

    fn piece(&mut self, mut writer: ImageWriter, bytes_max: usize) -> Bytes {
        let mut bytes = Vec::new();
        let is_complete = writer.write(false, bytes_max, &mut bytes);
        if !is_complete {
            self.large = Some(writer);
        } else if writer.image().is_slow_to_drop() {
            // The key may have gone meanwhile, and this be the last that has its value.
            drop_elsewhere(writer);
        }
        Bytes::from(bytes)
    }
}

/// A stored text as shared bytes, until it is dropped.
struct SharedText(Option<Arc<Long>>);

impl AsRef<[u8]> for SharedText {
    fn as_ref(&self) -> &[u8] {
        self.0.as_deref().map_or(&[], |text| text)
    }
}

impl Drop for SharedText {
    fn drop(&mut self) {
        // As with any other large value, it may be the last.
        let image = self.0.take().map(Image::Text);
        if let Some(image) = image.filter(Image::is_slow_to_drop) {
            drop_elsewhere(image);
        }
    }
}

/// Sends an empty line every second while the file is being made.
async fn keep_alive_until(
    server: &Rc<RefCell<Server>>,
    takers: &[Taker],
    saved: tokio::sync::oneshot::Receiver<Option<File>>,
) -> Option<File> {
    let ids: Vec<ClientId> = takers.iter().map(|taker| taker.id).collect();
    let mut saved = std::pin::pin!(saved);
    let mut second = tokio::time::interval(std::time::Duration::from_secs(1));
    second.tick().await;
    loop {
        tokio::select! {
            result = &mut saved => return result.ok().flatten(),
            _ = second.tick() => server.borrow_mut().keep_alive(&ids),
        }
    }
}

/// Sends a file with its length in front, at the pace of the replica.
async fn send_file(
    server: &Rc<RefCell<Server>>,
    id: ClientId,
    file: Arc<File>,
    drained: &tokio::sync::Notify,
) -> std::io::Result<()> {
    let gone = || std::io::Error::other("the replica has gone");
    let length = file.metadata()?.len();
    let mut left = length;
    {
        let server = &mut *server.borrow_mut();
        let now = server.clock.mono();
        let feed = server.feed_mut(id).ok_or_else(gone)?;
        if let FeedState::Transferring {
            is_sending_file, ..
        } = &mut feed.state
        {
            *is_sending_file = true;
        }
        // How long the file took to make is not the replica's fault.
        feed.progress_at = now;
        let head = format!("${length}\r\n").into_bytes();
        if !server.front.clients.send(id, head, now) {
            return Err(gone());
        }
    }
    while left > 0 {
        let want = usize::try_from(left).unwrap_or(usize::MAX).min(SLICE_BYTES);
        let (file, at) = (Arc::clone(&file), length - left);
        let read = tokio::task::spawn_blocking(move || {
            let mut bytes = vec![0; want];
            // Others read the same file, each at a place of its own.
            file.read_exact_at(&mut bytes, at).map(|()| bytes)
        });
        let bytes = read.await.map_err(std::io::Error::other)??;
        left -= bytes.len() as u64;
        {
            let server = &mut *server.borrow_mut();
            let now = server.clock.mono();
            let is_sent = server.front.clients.send(id, bytes, now);
            if !(is_sent && server.notify_when_drained(id)) {
                return Err(gone());
            }
        }
        drained.notified().await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::keyspace::{End, Entry, Hash, Keyspace, Kind, List, Thresholds, Value};
    use crate::server::persist::rdb_decode::{LoadOptions, load};

    #[test]
    fn large_values_leave_in_parts() {
        let thresholds = Thresholds::default();
        let mut hash = Hash::default();
        let mut list = List::default();
        for n in 0..5000 {
            let name = format!("field:{n}");
            hash.set(name.as_bytes(), b"value", &thresholds);
            list.push(End::Right, name.as_bytes(), thresholds.list_node);
        }
        let mut keyspace = Keyspace::new(1);
        let text = Value::string(&vec![b'x'; 3 * SLICE_BYTES]);
        for (key, value) in [
            ("text", text),
            ("hash", hash.into_value()),
            ("list", list.into_value()),
        ] {
            keyspace.insert(0, Entry::new(key.as_bytes(), value, None));
        }
        let head = Head {
            created: 1,
            used_memory: 1,
            replication: None,
            usage: None,
            is_aof_base: false,
        };
        let snapshot = keyspace.begin_snapshot(&head);
        while keyspace.advance_snapshot(snapshot, SLICE_BYTES) == Walk::Going {}
        let output = keyspace.snapshot_output(snapshot).unwrap();
        let mut image = Outgoing::new();
        let mut sent = Vec::new();
        while let Some(bytes) = image.next(output, 1000) {
            assert!(bytes.len() <= 1000);
            sent.extend_from_slice(&bytes);
        }
        sent.extend(image.digest.finalize().to_le_bytes());
        let options = LoadOptions {
            databases: 1,
            drop_expired_at: None,
            verify_checksum: true,
            string_bytes_max: 1 << 20,
            thresholds,
            usage: crate::server::keyspace::Usage {
                now: 1,
                frequency: None,
            },
            pace: crate::server::key_delay::LoadPace::NONE,
        };
        let loaded = load(&sent[..], options).unwrap();
        for key in ["text", "hash", "list"] {
            let find = |keyspace: &Keyspace| {
                let entry = keyspace.get(0, key.as_bytes()).unwrap();
                entry.value.clone()
            };
            assert_eq!(find(&loaded.keyspace), find(&keyspace), "{key}");
        }
    }
}

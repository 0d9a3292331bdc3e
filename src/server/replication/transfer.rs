//! Sending all data to a replica: straight from a snapshot, or from a file.
//!
//! Each replica has a snapshot of its own and is fed at its own pace: the walk goes on when its socket has
//! taken what was there, so a slow replica holds up nobody and costs only the segments that change meanwhile.

use std::cell::RefCell;
use std::fs::File;
use std::io::Read;
use std::rc::Rc;

use bytes::Bytes;

use super::master::{Feed, FeedState};
use crate::front::{ClientId, Closing};
use crate::ids::random_hex;
use crate::server::Server;
use crate::server::keyspace::{Chunk, SnapshotEpoch, Walk};
use crate::server::persist::rdb::CRC64;
use crate::server::persist::rdb_encode::{self, Head, ReplicationInfo};

/// How much of a snapshot is written at a time. One slice takes well under a millisecond.
const SLICE_BYTES: usize = 128 * 1024;

impl Server {
    /// Starts the full resyncs that are due: at once, or when `repl-diskless-sync-delay` is over.
    pub(crate) fn start_transfers(&mut self) {
        let now = self.clock.mono();
        let waiting: Vec<(ClientId, crate::clock::Mono)> = self
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
        if !is_due {
            for (id, _) in waiting {
                self.front.clients.send(id, Bytes::from_static(b"\n"), now);
            }
            return;
        }
        self.end_unit();
        self.flush_stream();
        for (id, _) in waiting {
            let client = self.front.clients.get(id);
            let takes_mark = client.is_some_and(|c| c.session.introduction.capa_eof);
            if self.config.diskless_sync && takes_mark {
                self.start_diskless(id);
            } else {
                self.start_from_file(id);
            }
        }
    }

    /// The head of an RDB of this moment.
    pub(crate) fn rdb_head(&self) -> Head {
        let replication = &self.replication;
        let stream_db = replication.stream_db.filter(|_| !replication.is_master());
        let position = replication.history.is_recording().then(|| ReplicationInfo {
            repl_id: replication.history.repl_id().to_string(),
            offset: replication.history.offset().0,
            stream_db: stream_db.and_then(|db| u32::try_from(db).ok()).unwrap_or(0),
        });
        Head {
            created: self.clock.now().unix.0 / 1000,
            used_memory: self.used_memory(),
            replication: position,
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
            self.front.clients.send(id, Bytes::from(line), now);
        }
    }

    fn transferring(
        &mut self,
        id: ClientId,
        snapshot: Option<SnapshotEpoch>,
    ) -> Option<Rc<tokio::sync::Notify>> {
        let now = self.clock.mono();
        let feed: &mut Feed = self.feed_mut(id)?;
        feed.state = FeedState::Transferring {
            snapshot,
            is_sending_file: false,
            retained: super::master::Retained::default(),
        };
        feed.progress_at = now;
        Some(Rc::clone(&feed.drained))
    }

    fn start_diskless(&mut self, id: ClientId) {
        self.announce_full_resync(id);
        let head = self.rdb_head();
        let snapshot = self.keyspace.begin_snapshot(&head);
        let Some(drained) = self.transferring(id, Some(snapshot)) else {
            self.keyspace.end_snapshot(snapshot);
            return;
        };
        let now = self.clock.mono();
        let mark = random_hex::<20>(&mut self.rng);
        self.front
            .clients
            .send(id, Bytes::from(format!("$EOF:{mark}\r\n")), now);
        let server = self.handle();
        tokio::task::spawn_local(async move {
            let mut digest = CRC64.digest();
            loop {
                let walk = server.borrow_mut().send_slice(id, snapshot, &mut digest);
                if walk == Walk::Complete {
                    break;
                }
                drained.notified().await;
            }
            server
                .borrow_mut()
                .finish_diskless(id, snapshot, digest.finalize(), &mark);
        });
    }

    /// Sends the next slice of a snapshot. [`Walk::Complete`] also when the replica has gone.
    fn send_slice(
        &mut self,
        id: ClientId,
        snapshot: SnapshotEpoch,
        digest: &mut crc::Digest<'static, u64, crc::Table<16>>,
    ) -> Walk {
        let now = self.clock.mono();
        let walk = self.keyspace.advance_snapshot(snapshot, SLICE_BYTES);
        let Some(output) = self.keyspace.snapshot_output(snapshot) else {
            return Walk::Complete;
        };
        let mut send = |bytes: Bytes| {
            digest.update(&bytes);
            self.front.clients.send(id, bytes, now);
        };
        while let Some(chunk) = output.pop() {
            match chunk {
                Chunk::Encoded(bytes) => send(Bytes::from(bytes)),
                Chunk::Long(text) => {
                    let mut head = Vec::new();
                    rdb_encode::length(text.len(), &mut head);
                    send(Bytes::from(head));
                    send(Bytes::from_owner(SharedText(text)));
                }
            }
        }
        if !self.notify_when_drained(id) {
            Walk::Complete
        } else {
            walk
        }
    }

    fn finish_diskless(
        &mut self,
        id: ClientId,
        snapshot: SnapshotEpoch,
        checksum: u64,
        mark: &str,
    ) {
        self.keyspace.end_snapshot(snapshot);
        let now = self.clock.mono();
        let checksum = if self.config.rdbchecksum { checksum } else { 0 };
        let mut end = checksum.to_le_bytes().to_vec();
        end.extend_from_slice(mark.as_bytes());
        if !self.front.clients.send(id, Bytes::from(end), now) {
            return;
        }
        self.await_acknowledgement(id);
        let client = self.front.clients.get_mut(id);
        if let Some(client) = client.filter(|c| c.session.introduction.rdb_only) {
            client.close(Closing::AfterReplies);
        }
    }

    /// Has the data saved to the RDB file and sends that: for a replica that must know the length first.
    fn start_from_file(&mut self, id: ClientId) {
        if self.saver.is_saving() {
            return; // the next tick tries again
        }
        self.announce_full_resync(id);
        let Some(drained) = self.transferring(id, None) else {
            return;
        };
        let server = self.handle();
        let saved = self.start_save();
        tokio::task::spawn_local(async move {
            let saved = keep_alive_until(&server, id, saved).await;
            let sent = match saved {
                Some(file) => send_file(&server, id, file, &drained).await,
                None => Err(std::io::Error::other("the data could not be saved")),
            };
            let mut server = server.borrow_mut();
            if let Err(error) = sent {
                tracing::warn!(%error, "full resync from a file failed");
                if let Some(client) = server.front.clients.get_mut(id) {
                    client.close(Closing::Now);
                }
                return;
            }
            let client = server.front.clients.get_mut(id);
            match client.filter(|c| c.session.introduction.rdb_only) {
                Some(client) => client.close(Closing::AfterReplies),
                None => server.put_online(id),
            }
        });
    }
}

/// A stored text as shared bytes.
struct SharedText(std::sync::Arc<Vec<u8>>);

impl AsRef<[u8]> for SharedText {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Sends an empty line every second while the file is being made.
async fn keep_alive_until(
    server: &Rc<RefCell<Server>>,
    id: ClientId,
    saved: tokio::sync::oneshot::Receiver<Option<File>>,
) -> Option<File> {
    let mut saved = std::pin::pin!(saved);
    let mut second = tokio::time::interval(std::time::Duration::from_secs(1));
    second.tick().await;
    loop {
        tokio::select! {
            result = &mut saved => return result.ok().flatten(),
            _ = second.tick() => {
                let server = &mut *server.borrow_mut();
                let now = server.clock.mono();
                server.front.clients.send(id, Bytes::from_static(b"\n"), now);
            }
        }
    }
}

/// Sends a file with its length in front, at the pace of the replica.
async fn send_file(
    server: &Rc<RefCell<Server>>,
    id: ClientId,
    mut file: File,
    drained: &tokio::sync::Notify,
) -> std::io::Result<()> {
    let gone = || std::io::Error::other("the replica has gone");
    let length = file.metadata()?.len();
    let mut left = length;
    {
        let server = &mut *server.borrow_mut();
        let now = server.clock.mono();
        if let Some(FeedState::Transferring {
            is_sending_file, ..
        }) = server.feed_mut(id).map(|feed| &mut feed.state)
        {
            *is_sending_file = true;
        }
        let head = Bytes::from(format!("${length}\r\n"));
        if !server.front.clients.send(id, head, now) {
            return Err(gone());
        }
    }
    while left > 0 {
        let want = usize::try_from(left).unwrap_or(usize::MAX).min(SLICE_BYTES);
        let read = tokio::task::spawn_blocking(move || {
            let mut bytes = vec![0; want];
            file.read_exact(&mut bytes).map(|()| (file, bytes))
        });
        let (back, bytes) = read.await.map_err(std::io::Error::other)??;
        file = back;
        left -= bytes.len() as u64;
        {
            let server = &mut *server.borrow_mut();
            let now = server.clock.mono();
            let is_sent = server.front.clients.send(id, Bytes::from(bytes), now);
            if !(is_sent && server.notify_when_drained(id)) {
                return Err(gone());
            }
        }
        drained.notified().await;
    }
    Ok(())
}

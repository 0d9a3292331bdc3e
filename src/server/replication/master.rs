//! The side that feeds replicas.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

use super::history::Resume;
use crate::clock::Mono;
use crate::config::process::OutputLimit;
use crate::front::{
    COPY_BYTES_MAX, Call, ClientId, ClientKind, Closing, OutputQueue, Overrun, Reply,
};
use crate::ids::ReplOffset;
use crate::server::Server;
use crate::server::keyspace::SnapshotEpoch;

/// The keepalive of the stream. Lower case, as Redis sends it.
const PING: &[u8] = b"*1\r\n$4\r\nping\r\n";
/// Asks every replica for an acknowledgement.
const GETACK: &[u8] = b"*3\r\n$8\r\nREPLCONF\r\n$6\r\nGETACK\r\n$1\r\n*\r\n";

/// What a client says about itself by `REPLCONF` before it becomes a replica.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a wish of its own")]
pub(crate) struct Introduction {
    /// `listening-port`; 0: not said.
    pub(crate) port: u16,
    /// `ip-address`
    pub(crate) ip: Option<Bytes>,
    /// `capa eof`: a transfer may end with a mark.
    pub(crate) capa_eof: bool,
    /// `capa psync2`: `+CONTINUE` may name an id.
    pub(crate) capa_psync2: bool,
    /// `rdb-only`: it wants the data and no stream.
    pub(crate) rdb_only: bool,
    /// `rdb-filter-only`: it wants an RDB without keys, or with functions alone, of which there are none.
    pub(crate) without_keys: bool,
}

/// One replica that is fed.
///
/// ```text
/// Waiting ─▶ Transferring ─length known─▶ Online
///                 └─────ends with a mark─▶ Unacknowledged ─ACK─▶ Online
/// ```
/// A partial resync begins in `Online`.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) state: FeedState,
    /// What it has acknowledged.
    pub(crate) acked: ReplOffset,
    /// Up to here it was given what the backlog had, which is shared with that.
    resumed_to: ReplOffset,
    /// When it last did, or said by an empty line that it is there.
    pub(crate) acked_at: Mono,
    /// When bytes last left for it.
    pub(crate) progress_at: Mono,
    /// It came by `SYNC`: no `+FULLRESYNC`, no acknowledgements.
    pub(crate) is_old: bool,
    /// All that was queued for it has been written.
    pub(crate) drained: Rc<Notify>,
    /// Whether what waits for it, in the backlog too, is above the soft limit.
    overrun: Overrun,
}

/// How far a replica is.
#[derive(Debug)]
pub(crate) enum FeedState {
    /// It needs all data, and its snapshot has not begun.
    Waiting {
        /// Since when.
        since: Mono,
    },
    /// Its snapshot has begun; the backlog keeps the stream since then.
    Transferring {
        /// When it began.
        since: Mono,
        /// What it is read from, unless that is a file.
        snapshot: Option<SnapshotEpoch>,
        /// The file is complete and being sent.
        is_sending_file: bool,
        /// The first byte of the stream that it is to get behind that; none where it wants the data alone.
        next: Option<ReplOffset>,
    },
    /// It has been sent all data and a mark; it finds the mark only if nothing follows.
    Unacknowledged {
        /// As above.
        next: Option<ReplOffset>,
    },
    /// It gets the stream.
    Online,
}

impl Feed {
    /// Whether it is to get all data, and nothing of them has been sent.
    pub(crate) fn is_waiting(&self) -> bool {
        matches!(self.state, FeedState::Waiting { .. })
    }

    pub(crate) fn new(state: FeedState, now: Mono) -> Feed {
        Feed {
            state,
            acked: ReplOffset(0),
            resumed_to: ReplOffset(0),
            acked_at: now,
            progress_at: now,
            is_old: false,
            drained: Rc::new(Notify::new()),
            overrun: Overrun::default(),
        }
    }

    /// Whether it has all data.
    pub(crate) fn is_online(&self) -> bool {
        matches!(
            self.state,
            FeedState::Online | FeedState::Unacknowledged { .. }
        )
    }

    /// Since when it is being sent a snapshot, and which.
    pub(super) fn snapshot(&self) -> Option<(Mono, SnapshotEpoch)> {
        match self.state {
            FeedState::Transferring {
                since, snapshot, ..
            } => snapshot.map(|snapshot| (since, snapshot)),
            FeedState::Waiting { .. } | FeedState::Unacknowledged { .. } | FeedState::Online => {
                None
            }
        }
    }

    /// Whether it is being sent this snapshot.
    pub(super) fn is_sent(&self, snapshot: SnapshotEpoch) -> bool {
        self.snapshot().is_some_and(|(_, sent)| sent == snapshot)
    }

    /// Whether the file that it is to be sent is still being saved.
    pub(super) fn waits_for_file(&self) -> bool {
        matches!(
            self.state,
            FeedState::Transferring {
                snapshot: None,
                is_sending_file: false,
                ..
            }
        )
    }

    /// From where on the stream waits for the end of its full resync.
    fn waits_from(&self) -> Option<ReplOffset> {
        match self.state {
            FeedState::Transferring { next, .. } | FeedState::Unacknowledged { next } => next,
            FeedState::Waiting { .. } | FeedState::Online => None,
        }
    }

    /// Whether so much of the stream, which ends at `newest`, waits beside what is queued that the replica is to be
    /// given up.
    fn is_overfull(
        &mut self,
        newest: ReplOffset,
        queued: usize,
        limit: OutputLimit,
        now: Mono,
    ) -> bool {
        let Some(next) = self.waits_from() else {
            return false;
        };
        let bytes = (newest.0 + 1).saturating_sub(next.0) + queued as u64;
        self.overrun.is_over(bytes, limit, now)
    }

    /// `state=` of INFO.
    pub(crate) fn state_name(&self) -> &'static str {
        match &self.state {
            FeedState::Waiting { .. } => "wait_bgsave",
            FeedState::Transferring {
                is_sending_file: true,
                ..
            } => "send_bulk",
            FeedState::Transferring { .. } => "wait_bgsave",
            FeedState::Online | FeedState::Unacknowledged { .. } => "online",
        }
    }
}

impl Server {
    /// Bytes that wait to be sent to replicas, or for the end of their full resyncs. What several share counts once,
    /// what they share with the backlog not at all, as far as that would have it without them.
    pub(crate) fn replica_output_bytes(&self) -> u64 {
        let (mut own, mut queued) = (0, 0);
        for (id, feed) in self.feeds() {
            let client = self.front.clients.get(id);
            // Without anything that waits there is only room.
            if let Some(client) = client.filter(|client| !client.output.is_empty()) {
                let output = &client.output;
                own += output.own_bytes() as u64;
                let shared = output.shared_bytes() as u64;
                queued = queued.max(shared.saturating_sub(self.backlog_bytes_queued(feed, output)));
            }
        }
        let backlog = self.replication.history.backlog();
        own + queued + backlog.map_or(0, |backlog| backlog.beyond_max() as u64)
    }

    /// Has the backlog keep what replicas are to get at the end of their full resyncs.
    pub(super) fn keep_stream(&mut self) {
        let waiting = self.feeds().filter_map(|(_, feed)| feed.waits_from());
        let needed = waiting.min();
        self.replication.history.keep_from(needed);
    }

    /// How much of what is queued for a replica is in the backlog still.
    fn backlog_bytes_queued(&self, feed: &Feed, output: &OutputQueue) -> u64 {
        let Some(backlog) = self.replication.history.backlog() else {
            return 0;
        };
        let unsent = self.replication.turn.len() as u64;
        let queued_to = backlog.newest().0.saturating_sub(unsent);
        let sent_to = queued_to.saturating_sub(output.len() as u64);
        feed.resumed_to
            .0
            .saturating_sub(sent_to.max(backlog.first().0 - 1))
    }

    /// The replicas that are fed, in the order in which they came.
    pub(crate) fn feeds(&self) -> impl Iterator<Item = (ClientId, &Feed)> {
        self.replication.replicas.iter().filter_map(|id| {
            let client = self.front.clients.get(*id)?;
            Some((*id, client.session.feed.as_ref()?))
        })
    }

    /// What we know of one replica, to be changed.
    pub(crate) fn feed_mut(&mut self, id: ClientId) -> Option<&mut Feed> {
        let client = self
            .front
            .clients
            .get_mut(id)
            .filter(|client| client.is_open())?;
        client.session.feed.as_mut()
    }

    /// Hands what the turn has appended to the stream to the replicas.
    pub(crate) fn flush_stream(&mut self) {
        if self.replication.turn.is_empty() {
            return;
        }
        let mut turn = std::mem::take(&mut self.replication.turn);
        if self.is_kept_whole(turn.len()) {
            // It may be kept for long, and then takes what is counted for it.
            turn.shrink_to_fit();
        }
        let bytes = Bytes::from(turn);
        let now = self.clock.mono();
        for at in 0..self.replication.replicas.len() {
            let id = self.replication.replicas[at];
            let Some(client) = self.front.clients.get_mut(id).filter(|c| c.is_open()) else {
                continue;
            };
            if client.session.introduction.rdb_only {
                continue;
            }
            let Some(feed) = &client.session.feed else {
                continue;
            };
            match feed.state {
                FeedState::Waiting { .. } => {}
                FeedState::Transferring { .. } | FeedState::Unacknowledged { .. } => {
                    self.close_if_overfull(id, now);
                }
                FeedState::Online => {
                    self.replication.gate.turn.has_sent |=
                        self.front.clients.send(id, bytes.clone(), now);
                }
            }
        }
    }

    /// Whether so many bytes of the stream may be kept as they are for a replica that does not take them now.
    fn is_kept_whole(&self, bytes: usize) -> bool {
        let mut clients = self
            .feeds()
            .filter_map(|(id, _)| self.front.clients.get(id));
        bytes >= COPY_BYTES_MAX && clients.any(|client| !client.output.is_empty())
    }

    /// Gives up a replica for which more waits than `client-output-buffer-limit` allows. What its connection has
    /// queued alone is looked at as for every client.
    fn close_if_overfull(&mut self, id: ClientId, now: Mono) {
        let limit = self.front.clients.limits.replica;
        let newest = self.replication.history.offset();
        let Some(client) = self.front.clients.get_mut(id).filter(|c| c.is_open()) else {
            return;
        };
        let queued = client.output.len();
        let feed = client.session.feed.as_mut();
        if feed.is_some_and(|feed| feed.is_overfull(newest, queued, limit, now)) {
            tracing::warn!(
                replica = %client.addr,
                "replica closed: more of the stream waits for the end of its full resync than \
                 client-output-buffer-limit allows"
            );
            client.close(Closing::Now);
        }
    }

    /// Appends bytes of our own to the stream, between units, and sends them.
    fn send_on_stream(&mut self, bytes: &[u8]) {
        self.end_unit();
        self.replication.append(bytes);
        self.flush_stream();
    }

    /// Asks the replicas for what a `WAIT` waits for, if one has begun. Not while clients are paused: whoever paused
    /// them relies on an offset that stays. Between turns.
    pub(crate) fn ask_for_waiters(&mut self) {
        let is_to_ask = self.replication.gate.is_to_ask;
        if !is_to_ask || self.front.paused(self.clock.mono()).is_some() {
            return;
        }
        self.replication.gate.is_to_ask = false;
        if !self.replication.gate.waiters.is_empty() {
            self.ask_for_acks();
            // The next turn did not send this.
            self.hold_prompted();
        }
    }

    /// Asks the replicas what they have.
    pub(crate) fn ask_for_acks(&mut self) {
        let is_quiet = self.replication.failover.is_some();
        if self.replication.is_producing() && !self.replication.replicas.is_empty() && !is_quiet {
            self.send_on_stream(GETACK);
        }
    }

    /// `PSYNC` and `SYNC`: the client becomes a replica, or is told why not.
    pub(crate) fn attach_replica(
        &mut self,
        call: &Call<'_>,
        reply: &mut Reply,
        wanted: Option<(&[u8], i64)>,
    ) {
        self.flush_stream();
        let now = call.now.mono;
        let resume = wanted.map_or(Resume::Full, |(id, offset)| {
            self.replication.history.resume(id, offset)
        });
        let asked_for_all = wanted.is_none_or(|(id, _)| id.starts_with(b"?"));
        let client = self.front.clients.current(call.client);
        client.kind = ClientKind::Replica;
        let addr = client.addr.to_string();
        self.replication.replicas.push(call.client);
        if let Resume::From(first) = resume {
            let psync2 = client.session.introduction.capa_psync2;
            client.session.feed = Some(Feed::new(FeedState::Online, now));
            self.stats.sync_partial_ok += 1;
            let history = &self.replication.history;
            let id = if psync2 {
                format!(" {}", history.repl_id())
            } else {
                String::new()
            };
            reply.raw(format!("+CONTINUE{id}\r\n").as_bytes());
            let backlog = history.backlog().expect("the history has just said so");
            let resumed_to = backlog.newest();
            let missing = backlog.from(first);
            if let Some(feed) = &mut client.session.feed {
                feed.resumed_to = resumed_to;
            }
            // Behind the reply: it is queued while the command runs.
            for block in missing {
                self.front.clients.send(call.client, block, now);
            }
            tracing::info!(
                replica = addr,
                bytes = (resumed_to.0 + 1) - first.0,
                "Partial resynchronization request accepted"
            );
            return;
        }
        self.stats.sync_full += 1;
        self.stats.sync_partial_err += u64::from(!asked_for_all);
        let mut feed = Feed::new(FeedState::Waiting { since: now }, now);
        feed.is_old = wanted.is_none();
        client.session.feed = Some(feed);
        tracing::info!(replica = addr, "Full resync requested by replica");
        if !self.replication.history.is_recording() {
            let id = self.new_repl_id();
            self.replication.history.stop_recording(id);
            self.replication
                .history
                .start_recording(self.config.backlog_size());
            self.replication.stream_db = None;
        }
        // The reply of this call must be queued before what a transfer queues.
        let server = self.handle();
        tokio::task::spawn_local(async move { server.borrow_mut().start_transfers() });
    }

    /// `REPLCONF ACK`
    pub(crate) fn acknowledge(&mut self, id: ClientId, offset: ReplOffset) {
        let now = self.clock.mono();
        let Some(feed) = self.feed_mut(id) else {
            return;
        };
        feed.acked = feed.acked.max(offset);
        feed.acked_at = now;
        if let FeedState::Unacknowledged { .. } = feed.state {
            // Not while its own command runs: what is queued meanwhile is copied, and this may be much.
            let server = self.handle();
            tokio::task::spawn_local(async move { server.borrow_mut().put_online(id) });
        }
        self.serve_waiters();
        self.shutdown.acked.notify_one();
        self.advance_failover();
    }

    /// A replica is there, though it acknowledges nothing: it sends empty lines while it loads what it has got.
    pub(crate) fn replica_heard(&mut self, id: ClientId) {
        let now = self.clock.mono();
        if let Some(feed) = self.feed_mut(id) {
            feed.acked_at = now;
        }
    }

    /// A replica gets what the backlog has kept for it, and from now on the stream. Nothing if it does already.
    pub(crate) fn put_online(&mut self, id: ClientId) {
        // What waits in the backlog is all that there is of the stream.
        self.flush_stream();
        let now = self.clock.mono();
        let Some(client) = self.front.clients.get_mut(id) else {
            return;
        };
        let Some(feed) = &mut client.session.feed else {
            return;
        };
        let (FeedState::Transferring { next, .. } | FeedState::Unacknowledged { next }) =
            feed.state
        else {
            return;
        };
        let backlog = self.replication.history.backlog();
        let kept = next.zip(backlog).filter(|(next, kept)| kept.reaches(*next));
        let Some((next, backlog)) = kept else {
            client.close(Closing::Now);
            return;
        };
        feed.state = FeedState::Online;
        feed.acked_at = now;
        feed.resumed_to = backlog.newest();
        tracing::info!(replica = %client.addr, "Synchronization with replica succeeded");
        for block in backlog.from(next) {
            self.front.clients.send(id, block, now);
        }
        self.keep_stream();
    }

    /// All data has been sent to a replica, and a mark after it: the stream waits for its word.
    pub(crate) fn await_acknowledgement(&mut self, id: ClientId) {
        let now = self.clock.mono();
        let Some(feed) = self.feed_mut(id) else {
            return;
        };
        if let FeedState::Transferring { next, .. } = feed.state {
            feed.state = FeedState::Unacknowledged { next };
            feed.acked_at = now;
        }
    }

    /// Asks for [`Server::replica_drained`] when what is queued for a replica has been written. False when the
    /// replica has gone.
    pub(crate) fn notify_when_drained(&mut self, id: ClientId) -> bool {
        let client = self
            .front
            .clients
            .get_mut(id)
            .filter(|client| client.is_open());
        client.is_some_and(|client| {
            client.notify_drained = true;
            client.wake();
            client.session.feed.is_some()
        })
    }

    /// Everything that was queued for a replica is on its way.
    pub(crate) fn replica_drained(&mut self, id: ClientId) {
        let now = self.clock.mono();
        if let Some(feed) = self.feed_mut(id) {
            feed.progress_at = now;
            feed.drained.notify_one();
        }
    }

    /// A client has gone; if it was a replica, what was done for it ends.
    pub(crate) fn replica_gone(&mut self, id: ClientId) {
        let Some(client) = self.front.clients.get_mut(id) else {
            return;
        };
        let Some(feed) = client.session.feed.take() else {
            return;
        };
        tracing::info!(replica = %client.addr, "Connection with replica lost");
        feed.drained.notify_one();
        if let Some((_, snapshot)) = feed.snapshot()
            && !self.feeds().any(|(_, feed)| feed.is_sent(snapshot))
        {
            self.end_snapshot(snapshot);
            let server = self.handle();
            tokio::task::spawn_local(async move { server.borrow_mut().snapshot_ended(true) });
        }
        self.replication.replicas.retain(|replica| *replica != id);
        self.keep_stream();
        self.give_up_useless_save();
        if self.replication.replicas.is_empty() {
            self.replication.without_replicas_since = self.clock.mono();
        }
        self.shutdown.acked.notify_one();
    }

    /// Closes the links of all replicas; they will be back and ask where they stand.
    pub(crate) fn disconnect_replicas(&mut self) {
        for id in self.replication.replicas.clone() {
            if let Some(client) = self.front.clients.get_mut(id) {
                client.close(Closing::Now);
            }
        }
    }

    /// Whether `min-replicas-to-write` forbids writing.
    pub(crate) fn lacks_good_replicas(&self, now: Mono) -> bool {
        let (wanted, lag) = (
            self.config.min_replicas_to_write,
            self.config.min_replicas_max_lag,
        );
        if wanted == 0 || lag.is_zero() || !self.replication.is_master() {
            return false;
        }
        self.good_replicas(now) < wanted as usize
    }

    /// Replicas that are online and have been heard of within `min-replicas-max-lag`.
    pub(crate) fn good_replicas(&self, now: Mono) -> usize {
        let lag = self.config.min_replicas_max_lag + Duration::from_secs(1);
        let is_good = |feed: &Feed| feed.is_online() && now.since(feed.acked_at) < lag;
        self.feeds().filter(|(_, feed)| is_good(feed)).count()
    }

    /// What comes with time, for the side that feeds: `PING`s, keepalives, timeouts, the backlog's end.
    pub(crate) fn replication_tick(&mut self, now: Mono) {
        self.start_transfers();
        self.close_overfull_transfer();
        for id in self.replication.replicas.clone() {
            self.close_if_overfull(id, now);
        }
        if self.replication.is_master() {
            self.ping_replicas(now);
            self.drop_backlog(now);
        }
        self.drop_silent_replicas(now);
    }

    fn ping_replicas(&mut self, now: Mono) {
        let is_due = now.since(self.replication.last_ping) >= self.config.ping_period;
        // A shutdown and a failover wait for replicas to be where we are; a pause of clients is no reason.
        let is_quiet = self.is_shutting_down() || self.replication.failover.is_some();
        if is_due && !self.replication.replicas.is_empty() && !is_quiet {
            self.replication.last_ping = now;
            self.send_on_stream(PING);
        }
    }

    fn drop_backlog(&mut self, now: Mono) {
        let ttl = self.config.backlog_ttl;
        let replication = &self.replication;
        let is_over = !ttl.is_zero()
            && replication.history.is_recording()
            && replication.replicas.is_empty()
            && now.since(replication.without_replicas_since) > ttl;
        if is_over {
            let id = self.new_repl_id();
            self.replication.history.stop_recording(id);
            tracing::info!(
                "Replication backlog freed after {} s without replicas",
                ttl.as_secs()
            );
        }
    }

    fn drop_silent_replicas(&mut self, now: Mono) {
        let is_silent = |(id, feed): &(ClientId, &Feed)| self.is_silent(*id, feed, now);
        let silent: Vec<ClientId> = self.feeds().filter(is_silent).map(|(id, _)| id).collect();
        for id in silent {
            if let Some(client) = self.front.clients.get_mut(id) {
                tracing::warn!(replica = %client.addr, "Disconnecting timedout replica");
                client.close(Closing::Now);
            }
        }
    }

    /// Whether nothing has been heard of a replica for too long.
    fn is_silent(&self, id: ClientId, feed: &Feed, now: Mono) -> bool {
        let Some(client) = self.front.clients.get(id).filter(|c| c.is_open()) else {
            return false;
        };
        let mut patience = self.config.repl_timeout;
        let since = match &feed.state {
            FeedState::Waiting { .. } => return false,
            // No progress is to be expected of it before the file is there, and it is not due to its silence if
            // the empty line that keeps it waiting is still to be written.
            FeedState::Transferring { .. } if feed.waits_for_file() => return false,
            FeedState::Transferring { .. } if client.output.is_empty() => return false,
            FeedState::Transferring { .. } => {
                // Who takes nothing holds up those who share the transfer, and would lose them at the same time.
                if self.is_transfer_shared(feed) {
                    patience /= 2;
                }
                feed.progress_at
            }
            FeedState::Unacknowledged { .. } | FeedState::Online if feed.is_old => return false,
            FeedState::Unacknowledged { .. } | FeedState::Online => feed.acked_at,
        };
        now.since(since) > patience
    }

    fn is_transfer_shared(&self, feed: &Feed) -> bool {
        let is_same = |other: &Feed| feed.snapshot().is_some_and(|(_, id)| other.is_sent(id));
        self.feeds().filter(|(_, other)| is_same(other)).count() > 1
    }
}

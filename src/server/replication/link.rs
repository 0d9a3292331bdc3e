//! What a replica knows of the link to its master, and the changes of role.

use std::sync::Arc;

use tokio::task::AbortHandle;

use super::{Role, replica};
use crate::clock::Mono;
use crate::front::{ClientId, Closing};
use crate::ids::{ReplId, ReplOffset};
use crate::server::Server;
use crate::server::lazy_free::drop_elsewhere;
use crate::server::persist::rdb_decode::Loaded;

/// The link to our master. Dropping it ends the task that keeps it up.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) host: Arc<str>,
    pub(crate) port: u16,
    pub(crate) state: LinkState,
    /// Whether `PSYNC` asks to go on from our own history. Not after a start without data.
    pub(crate) offers_history: bool,
    /// When the master was last heard of.
    pub(crate) last_io: Mono,
    /// Since when the link is down; `None` while it has never been up.
    pub(crate) down_since: Option<Mono>,
    /// Bytes received of a command that is not complete yet.
    pub(crate) unapplied: u64,
    /// The link as a client.
    pub(crate) client: Option<ClientId>,
    task: Option<AbortHandle>,
}

/// How far the link is.
///
/// ```text
/// Connect ─▶ Connecting ─▶ Handshake ─▶ Syncing ─▶ Connected
///    ▲                         └───── +CONTINUE ──────▲ │
///    └────────────────── any failure ───────────────────┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkState {
    /// An attempt is due.
    Connect,
    /// Waiting for the socket.
    Connecting,
    /// Talking.
    Handshake,
    /// Receiving all data.
    Syncing {
        /// What the master has said about the data; `None`: nothing yet.
        total: Option<Total>,
        /// Bytes received.
        received: u64,
    },
    /// In step.
    Connected,
}

/// How much data a full resync brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Total {
    /// So many bytes.
    Bytes(u64),
    /// All up to a mark.
    UpToMark,
}

impl Link {
    /// Whether the stream is being applied.
    pub(crate) fn is_up(&self) -> bool {
        self.state == LinkState::Connected
    }

    /// The word of `ROLE`.
    pub(crate) fn state_name(&self) -> &'static str {
        match self.state {
            LinkState::Connect => "connect",
            LinkState::Connecting => "connecting",
            LinkState::Handshake => "handshake",
            LinkState::Syncing { .. } => "sync",
            LinkState::Connected => "connected",
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Server {
    /// Makes this server a replica of `host:port`, connecting at once. What it holds stays readable until
    /// the master's data replaces it.
    pub(crate) fn replicate_from(&mut self, host: Arc<str>, port: u16, offers_history: bool) {
        self.end_unit();
        self.flush_stream();
        self.release_waiters();
        self.leave_master();
        tracing::info!("Connecting to MASTER {host}:{port}");
        self.config.replicaof = Some((Arc::clone(&host), port));
        self.replication.role = Role::Replica(Box::new(Link {
            host: Arc::clone(&host),
            port,
            state: LinkState::Connect,
            offers_history,
            last_io: self.clock.mono(),
            down_since: None,
            unapplied: 0,
            client: None,
            task: None,
        }));
        let task = tokio::task::spawn_local(replica::follow(self.handle(), host, port));
        if let Some(link) = self.replication.link_mut() {
            link.task = Some(task.abort_handle());
        }
        self.note_role();
    }

    /// Makes a replica a master. Its history branches off here, so that its siblings go on from it.
    pub(crate) fn promote(&mut self) {
        if self.replication.is_master() {
            return;
        }
        self.end_unit();
        self.flush_stream();
        self.leave_master();
        let id = self.new_repl_id();
        let is_stray = std::mem::take(&mut self.replication.needs_all_data);
        let holds_less = std::mem::take(&mut self.replication.holds_less);
        if is_stray || holds_less {
            // Nobody can go on from what is not a position of the old history, or lacks keys that others have.
            self.replication.history.stop_recording(id);
        } else {
            self.replication.history.branch(id);
        }
        self.replication.refusal = None;
        self.replication.role = Role::Master;
        self.forget_own_expiries();
        self.replication.stream_db = None;
        self.replication.without_replicas_since = self.clock.mono();
        self.config.replicaof = None;
        self.disconnect_replicas();
        let (history, offset) = (&self.replication.history, self.replication.history.offset());
        tracing::info!(repl_id = %history.repl_id(), %offset, "MASTER MODE enabled");
        self.note_role();
    }

    /// Ends the link to the present master, if there is one.
    fn leave_master(&mut self) {
        if let Some(client) = self
            .replication
            .link_mut()
            .and_then(|link| link.client.take())
        {
            self.front.clients.remove(client);
        }
        // Dropping the link ends its task.
        self.replication.role = Role::Master;
        self.end_loading();
    }

    /// The link has ended; it will be tried again.
    pub(super) fn link_lost(&mut self, reason: &replica::LinkError) {
        let now = self.clock.mono();
        let Some(link) = self.replication.link_mut() else {
            return;
        };
        let was_up = link.is_up();
        link.state = LinkState::Connect;
        link.unapplied = 0;
        if was_up {
            link.down_since = Some(now);
        }
        let (host, port, client) = (Arc::clone(&link.host), link.port, link.client.take());
        if let Some(client) = client {
            self.front.clients.remove(client);
        }
        self.replication.needs_all_data |= reason.needs_all_data();
        if reason.is_refusal() {
            let seconds = replica::RETRY_REFUSED.as_secs();
            tracing::error!(
                "Cannot follow MASTER {host}:{port}: {reason}; it is tried again every {seconds} s"
            );
            self.replication.refusal = Some(reason.to_string());
        } else if was_up || self.replication.refusal.is_none() {
            tracing::warn!("Connection with MASTER {host}:{port} lost: {reason}");
        }
    }

    /// The stream begins, or goes on, in database `db`.
    pub(super) fn link_up(
        &mut self,
        addr: std::net::SocketAddr,
        local: std::net::SocketAddr,
    ) -> ClientId {
        let now = self.clock.mono();
        let user = self.front.acl.default_user();
        let peer = crate::front::Peer {
            addr: crate::front::ClientAddr::Tcp(addr),
            laddr: crate::front::ClientAddr::Tcp(local),
            fd: -1,
        };
        let id = self.front.clients.add(peer, user, now);
        let client = self.front.clients.current(id);
        client.kind = crate::front::ClientKind::Master;
        client.authenticated = true;
        client.db = self.replication.stream_db.unwrap_or(0);
        self.replication
            .history
            .start_recording(self.config.backlog_size());
        if let Some(link) = self.replication.link_mut() {
            link.state = LinkState::Connected;
            link.last_io = now;
            link.client = Some(id);
            link.offers_history = true;
        }
        self.replication.refusal = None;
        id
    }

    /// Whether an operator has closed the link (`CLIENT KILL`).
    pub(super) fn is_link_killed(&self, id: ClientId) -> bool {
        let client = self.front.clients.get(id);
        client.is_none_or(|client| client.closing != Closing::No)
    }

    /// Replaces all data by the master's.
    pub(super) fn install(&mut self, loaded: Loaded, repl_id: ReplId, offset: ReplOffset) {
        self.disconnect_replicas();
        self.cancel_save();
        self.touch_all_for(&loaded.keyspace);
        self.invalidate_all();
        let position = loaded.replication.as_ref();
        let stream_db = position.map_or(0, |position| position.stream_db);
        let holds_less = position.is_some_and(|position| position.holds_less);
        self.saver.last_load = (loaded.keys_expired, loaded.keys_loaded);
        let old = self.keyspace.replace_with(loaded.keyspace);
        drop_elsewhere(old);
        self.forget_own_expiries();
        (0..self.keyspace.databases()).for_each(|db| self.database_ready(db));
        self.replication.turn.clear();
        self.replication
            .history
            .adopt(repl_id, offset, self.config.backlog_size());
        self.replication.stream_db = usize::try_from(stream_db).ok();
        self.replication.refusal = None;
        self.replication.needs_all_data = false;
        self.replication.holds_less = holds_less;
        self.replication.has_left_out = false;
        self.restart_aof();
        self.saver.outdated_since = Some(self.clock.mono());
        tracing::info!(
            keys = loaded.keys_loaded, %offset,
            "MASTER <-> REPLICA sync: Finished with success"
        );
    }

    /// The master has branched off: so do we, and our own replicas must ask again.
    pub(super) fn follow_branch(&mut self, id: ReplId) {
        if self.replication.history.follow_branch(id) {
            self.disconnect_replicas();
        }
    }
}

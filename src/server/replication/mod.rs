//! Replication: the history and its backlog, the side that feeds replicas, and the side that follows a
//! master.

pub(crate) mod apply;
pub mod backlog;
pub(crate) mod failover;
pub mod handshake;
pub mod history;
pub(crate) mod link;
pub(crate) mod master;
pub(crate) mod replica;
#[cfg(test)]
mod tests;
pub(crate) mod transfer;
pub(crate) mod wait;

use crate::clock::Mono;
use crate::front::ClientId;
use crate::ids::ReplId;
use crate::server::effects::Effects;
use history::History;
use link::Link;
use wait::Gate;

/// What a server knows about replication.
pub(crate) struct Replication {
    pub(crate) history: History,
    pub(crate) role: Role,
    /// The database in which the stream is; `None`: a `SELECT` must come next.
    pub(crate) stream_db: Option<usize>,
    /// Bytes of the stream that are in the history and not yet handed to replicas.
    pub(crate) turn: Vec<u8>,
    /// The replicas, in the order in which they came.
    pub(crate) replicas: Vec<ClientId>,
    /// Since when there is none.
    pub(crate) without_replicas_since: Mono,
    /// When the stream was last kept alive.
    pub(crate) last_ping: Mono,
    /// Keeps replies behind their propagation.
    pub(crate) gate: Gate,
    /// What the last master sent cannot be held here, and no master's data has been here since. A replica in
    /// this state must not be promoted, whichever link it has now.
    pub(crate) refusal: Option<String>,
    /// A failover that this server has begun.
    pub(crate) failover: Option<failover::Failover>,
    /// The stream broke off inside a unit, or a transaction went on writing behind its own `REPLICAOF`: our data is
    /// not what our offset says, so only all data helps.
    pub(crate) needs_all_data: bool,
    /// Keys have been given up here that the master has, as `replica-ignore-maxmemory no` allows, and all its data
    /// have not been here since.
    pub(crate) holds_less: bool,
    /// A command of the master's has failed for that.
    pub(crate) has_left_out: bool,
}

/// What a server is.
pub(crate) enum Role {
    /// It takes writes.
    Master,
    /// It follows a master.
    Replica(Box<Link>),
}

impl Replication {
    pub(crate) fn new(repl_id: ReplId, now: Mono) -> Replication {
        Replication {
            history: History::new(repl_id),
            role: Role::Master,
            stream_db: None,
            turn: Vec::new(),
            replicas: Vec::new(),
            without_replicas_since: now,
            last_ping: now,
            gate: Gate::default(),
            refusal: None,
            failover: None,
            needs_all_data: false,
            holds_less: false,
            has_left_out: false,
        }
    }

    pub(crate) fn is_master(&self) -> bool {
        matches!(self.role, Role::Master)
    }

    /// The link to our master.
    pub(crate) fn link(&self) -> Option<&Link> {
        match &self.role {
            Role::Replica(link) => Some(link),
            Role::Master => None,
        }
    }

    /// The link to our master.
    pub(crate) fn link_mut(&mut self) -> Option<&mut Link> {
        match &mut self.role {
            Role::Replica(link) => Some(link),
            Role::Master => None,
        }
    }

    /// A replica that is not in step with its master.
    pub(crate) fn is_link_down(&self) -> bool {
        self.link().is_some_and(|link| !link.is_up())
    }

    /// Whether our own writes become part of a stream.
    pub(crate) fn is_producing(&self) -> bool {
        self.is_master() && self.history.is_recording()
    }

    /// Ends a unit: what it has propagated becomes part of the stream, where there is one.
    pub(crate) fn append_unit(&mut self, effects: &mut Effects) {
        if !self.is_producing() {
            return effects.clear();
        }
        let before = self.turn.len();
        effects.move_to_stream(&mut self.stream_db, &mut self.turn);
        self.history.record(&self.turn[before..]);
    }

    /// Makes bytes part of the stream: what our master sent, or a `PING` of ours.
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        self.history.record(bytes);
        self.turn.extend_from_slice(bytes);
    }
}

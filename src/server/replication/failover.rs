//! `FAILOVER`: a master hands its part over to a replica in good order, without losing a write.
//!
//! Writes are paused until the replica has acknowledged all of the stream; then this server follows it, and
//! asks it by `PSYNC … FAILOVER` to become a master first.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Mono;
use crate::front::{ClientId, PauseMode, PauseReason};
use crate::server::Server;

/// A failover that is under way.
#[derive(Debug)]
pub(crate) struct Failover {
    /// Who takes over; `None`: whoever has everything first.
    pub(crate) target: Option<(Arc<str>, u16)>,
    /// When the wait for the target is over.
    pub(crate) deadline: Option<Mono>,
    /// Then the target takes over all the same.
    pub(crate) is_forced: bool,
    /// How far it is.
    pub(crate) stage: Stage,
}

/// How far a failover is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// A replica has yet to acknowledge everything.
    WaitingForSync,
    /// We follow the target, which has yet to accept us.
    InProgress,
}

impl Server {
    /// `master_failover_state` of INFO.
    pub(crate) fn failover_state(&self) -> &'static str {
        match self.replication.failover.as_ref().map(|f| f.stage) {
            None => "no-failover",
            Some(Stage::WaitingForSync) => "waiting-for-sync",
            Some(Stage::InProgress) => "failover-in-progress",
        }
    }

    /// Whether the target of a failover is being asked to take over.
    pub(super) fn is_handing_over(&self) -> bool {
        let failover = self.replication.failover.as_ref();
        failover.is_some_and(|failover| failover.stage == Stage::InProgress)
    }

    /// Pauses writes and waits for the target, or for any replica.
    pub(crate) fn begin_failover(
        &mut self,
        target: Option<(Arc<str>, u16)>,
        limit: Option<Duration>,
        is_forced: bool,
    ) {
        let now = self.clock.mono();
        let within = limit.map_or(String::new(), |limit| {
            format!(" within {} ms", limit.as_millis())
        });
        let force = if is_forced { ", by force then" } else { "" };
        tracing::info!(
            "FAILOVER requested to {}{within}{force}",
            named(target.as_ref())
        );
        self.front
            .pause(PauseReason::Failover, PauseMode::Write, Mono::NEVER);
        self.replication.failover = Some(Failover {
            target,
            deadline: limit.map(|limit| now + limit),
            is_forced,
            stage: Stage::WaitingForSync,
        });
        // After the reply.
        let server = self.handle();
        tokio::task::spawn_local(async move { server.borrow_mut().advance_failover() });
    }

    /// Goes on with a failover that waits: a replica may have everything by now, or its time is over.
    pub(crate) fn advance_failover(&mut self) {
        let Some(failover) = &self.replication.failover else {
            return;
        };
        if failover.stage != Stage::WaitingForSync {
            return;
        }
        let is_late = failover
            .deadline
            .is_some_and(|deadline| deadline <= self.clock.mono());
        if is_late && !failover.is_forced {
            return self.abort_failover("Replica never caught up before timeout");
        }
        let (target, forced) = (failover.target.clone(), is_late && failover.is_forced);
        let heir = match target {
            Some(target) if forced => Some(target),
            target => {
                // What the turn has written is part of what must be acknowledged.
                self.end_unit();
                self.flush_stream();
                self.synced_replica(target.as_ref())
            }
        };
        let Some((host, port)) = heir else {
            return;
        };
        if forced {
            tracing::info!("FAILOVER to {host}:{port} time out exceeded, failing over.");
        } else {
            tracing::info!(%host, port, "Failover target takes over");
        }
        self.replicate_from(Arc::clone(&host), port, true);
        if let Some(failover) = &mut self.replication.failover {
            failover.target = Some((host, port));
            failover.stage = Stage::InProgress;
        }
    }

    /// A replica that has acknowledged everything: the target, if there is one.
    fn synced_replica(&self, target: Option<&(Arc<str>, u16)>) -> Option<(Arc<str>, u16)> {
        let offset = self.replication.history.offset();
        let synced = self
            .feeds()
            .filter(|(_, feed)| feed.is_online() && feed.acked == offset);
        let mut addresses = synced.map(|(id, _)| self.replica_addr(id));
        let found = addresses.find(|(host, port)| {
            target.is_none_or(|(wanted, at)| wanted.eq_ignore_ascii_case(host) && at == port)
        });
        found.map(|(host, port)| (Arc::from(host), port))
    }

    /// The replica that announced this address.
    pub(crate) fn replica_at(&self, host: &str, port: u16) -> Option<ClientId> {
        self.feeds().map(|(id, _)| id).find(|id| {
            let (ip, announced) = self.replica_addr(*id);
            ip.eq_ignore_ascii_case(host) && announced == port
        })
    }

    /// The target has become a master and accepted us.
    pub(super) fn finish_failover(&mut self) {
        if self.replication.failover.take().is_some() {
            self.front.unpause(PauseReason::Failover);
        }
    }

    /// Gives a failover up: this server is a master and takes writes again.
    pub(crate) fn abort_failover(&mut self, reason: &str) {
        let Some(failover) = self.replication.failover.take() else {
            return;
        };
        tracing::warn!(
            "Aborting failover to {}: {reason}",
            named(failover.target.as_ref())
        );
        if failover.stage == Stage::InProgress {
            self.promote();
        }
        self.front.unpause(PauseReason::Failover);
    }
}

/// A target for people.
fn named(target: Option<&(Arc<str>, u16)>) -> String {
    target.map_or("any replica".to_owned(), |(host, port)| {
        format!("{host}:{port}")
    })
}

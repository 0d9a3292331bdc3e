//! A monitored master: the group of its replicas and of the sentinels that watch it with us.

use std::sync::Arc;

use super::durable::DurableMaster;
use super::failover::Failover;
use super::instance::InstanceId;
use super::io::{Output, Seq};
use super::pause::{Pause, Untold};
use super::peer::{PeerEntry, PeerId};
use super::settings::MasterSettings;
use super::story::Story;
use crate::clock::Mono;
use crate::ids::{Epoch, MasterName, SentinelId};

/// Never reused, and in the order in which masters were added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct MasterId(pub(super) u32);

/// A stretch of time in which answers of peers about a master are of use. It ends with the master's
/// address, which may come back later, and with a stall after which all that was said is too old; an
/// answer to a question of an earlier chapter is dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Chapter(u64);

/// See the module.
#[derive(Debug)]
pub(super) struct Master {
    pub(super) name: MasterName,
    pub(super) settings: MasterSettings,
    pub(super) config_epoch: Epoch,
    pub(super) instance: InstanceId,
    pub(super) replicas: Vec<InstanceId>,
    pub(super) peers: Vec<PeerEntry>,
    pub(super) chapter: Chapter,
    pub(super) odown_since: Option<Mono>,
    pub(super) vote: Vote,
    pub(super) failover: Option<Failover>,
    pub(super) hold: Hold,
    /// When our own candidacy begins, once ODOWN: staggered by rank.
    pub(super) start_at: Option<Mono>,
    /// Attempts since the last success, for the pause before the next.
    pub(super) attempts: u32,
    /// A new configuration that is not on disk yet, and what must not be said before it is.
    pub(super) announcement: Option<Announcement>,
    /// Ghosts that were reported.
    pub(super) ghosts: Vec<PeerId>,
    /// While an operator has paused automatic failovers.
    pub(super) pause: Option<Pause>,
    /// The last pause or resumption, while peers are to be told of it.
    pub(super) untold: Option<Untold>,
    /// Since it is ODOWN, it was told why no failover starts.
    pub(super) is_withholding_told: bool,
    /// What has been noted since it went SDOWN.
    pub(super) story: Option<Box<Story>>,
    pub(super) durable: Arc<DurableMaster>,
}

/// The newest vote given for a master. Invariant: at most one candidate per epoch, across restarts:
/// `epoch` is durable before `candidate` is told to anyone.
#[derive(Clone, Debug)]
pub(super) struct Vote {
    /// `None` before the first vote and after a restart.
    pub(super) candidate: Option<SentinelId>,
    pub(super) epoch: Epoch,
    /// The state that holds it.
    pub(super) seq: Seq,
}

/// Why no automatic failover starts although the master is ODOWN.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Hold {
    /// Nothing holds it back.
    Free,
    /// Another candidate has our vote and gets its chance.
    VotedFor {
        candidate: SentinelId,
        at: Mono,
        logged: bool,
    },
    /// Our own attempt failed; pause until then.
    Pause { until: Mono },
}

/// See [`Master::announcement`].
#[derive(Debug)]
pub(super) struct Announcement {
    pub(super) seq: Seq,
    pub(super) held: Vec<Output>,
}

impl Master {
    pub(super) fn voters(&self) -> usize {
        1 + self.peers.len()
    }

    pub(super) fn majority(&self) -> usize {
        self.voters() / 2 + 1
    }

    pub(super) fn quorum(&self) -> usize {
        usize::try_from(self.settings.quorum).unwrap_or(usize::MAX)
    }

    pub(super) fn entry(&self, peer: PeerId) -> Option<&PeerEntry> {
        self.peers.iter().find(|entry| entry.peer == peer)
    }

    pub(super) fn entry_mut(&mut self, peer: PeerId) -> Option<&mut PeerEntry> {
        self.peers.iter_mut().find(|entry| entry.peer == peer)
    }

    /// What peers have said, and will say to questions that they were asked before, no longer counts.
    pub(super) fn begin_chapter(&mut self) {
        self.chapter.0 += 1;
        for entry in &mut self.peers {
            entry.forget_answers();
        }
    }

    /// The master itself and its replicas.
    pub(super) fn instances(&self) -> impl Iterator<Item = InstanceId> + '_ {
        std::iter::once(self.instance).chain(self.replicas.iter().copied())
    }

    /// The other sentinels that watch it.
    pub(super) fn peer_ids(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.peers.iter().map(|entry| entry.peer)
    }
}

//! Another sentinel: one node and one link, however many masters it shares with us.

use std::collections::BTreeSet;
use std::time::Duration;

use super::addr::Addr;
use super::health::PingClock;
use super::link::Link;
use super::master::MasterId;
use crate::clock::Mono;
use crate::ids::{Epoch, SentinelId};

/// Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PeerId(pub(super) u32);

/// The sentinel as a process.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) id: SentinelId,
    pub(super) addr: Addr,
    pub(super) link: Link,
    pub(super) ping: PingClock,
    /// The masters in whose quorum it is, with us.
    pub(super) masters: BTreeSet<MasterId>,
    /// The smallest `down-after-milliseconds` of these masters.
    pub(super) down_after_min: Duration,
    /// Whether it is SDOWN for any of them.
    pub(super) any_sdown: bool,
}

/// What we know of a peer with regard to one master.
#[derive(Debug)]
pub(super) struct PeerEntry {
    pub(super) peer: PeerId,
    pub(super) sdown_since: Option<Mono>,
    /// The wall clock at that moment, for reports.
    pub(super) sdown_unix: u64,
    /// Its last answer on whether the master is down.
    pub(super) opinion: Option<Opinion>,
    /// Whom it last voted for, and in which epoch.
    pub(super) voted: Option<(SentinelId, Epoch)>,
    /// The epoch of that vote; kept after the vote has expired.
    pub(super) voted_epoch: Epoch,
    /// When it last answered a question.
    pub(super) answered_at: Option<Mono>,
    /// When a question was last sent.
    pub(super) asked_at: Option<Mono>,
    pub(super) hello_at: Mono,
    /// The configuration that its last hello named, where that was ours too.
    pub(super) confirmed: Option<Confirmation>,
    /// Questions about this master that it has not answered yet, on the present link.
    pub(super) questions: u32,
    /// A hello about this master is on its way.
    pub(super) publish_pending: bool,
    /// When our next hello to it is due.
    pub(super) hello_next_at: Mono,
    /// The epoch of our candidacy that it has answered last.
    pub(super) answered_campaign: Option<Epoch>,
    /// The newest epoch in which it announced that it stands on an operator's order.
    pub(super) ordered: Epoch,
    /// Questions since the master went SDOWN that it answered with "not down".
    pub(super) denials: u32,
}

/// An answer to "is the master down?".
#[derive(Clone, Copy, Debug)]
pub(super) struct Opinion {
    pub(super) down: bool,
    pub(super) at: Mono,
}

/// A peer's word for a master's address.
#[derive(Clone, Debug)]
pub(super) struct Confirmation {
    pub(super) addr: Addr,
    pub(super) epoch: Epoch,
    /// By the real monotonic clock: time that we were stalled for makes it older.
    pub(super) at: Mono,
    /// The `at` that pictures of us show: every instance passes the same hello on.
    pub(super) shown: Mono,
}

impl PeerEntry {
    pub(super) fn new(peer: PeerId, now: Mono) -> PeerEntry {
        PeerEntry {
            peer,
            sdown_since: None,
            sdown_unix: 0,
            opinion: None,
            voted: None,
            voted_epoch: Epoch(0),
            answered_at: None,
            asked_at: None,
            hello_at: now,
            confirmed: None,
            questions: 0,
            publish_pending: false,
            hello_next_at: now,
            answered_campaign: None,
            ordered: Epoch(0),
            denials: 0,
        }
    }

    pub(super) fn says_down(&self) -> bool {
        self.opinion.is_some_and(|opinion| opinion.down)
    }

    /// Forgets opinion and vote: they were about another address, or are too old.
    pub(super) fn forget_answers(&mut self) {
        self.opinion = None;
        self.voted = None;
        self.answered_at = None;
        self.asked_at = None;
    }
}

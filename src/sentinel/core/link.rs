//! One connection to an instance or a peer, and when to make the next.
//!
//! ```text
//! Down ──retry_at──▶ Connecting ──LinkUp──▶ Up
//!  ▲                    │ LinkDown           │ LinkDown, or closed by us
//!  └────────────────────┴────────────────────┘
//! ```

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use super::io::{LinkId, Request};
use super::master::{Chapter, MasterId};
use crate::clock::Mono;
use crate::ids::{Epoch, SentinelId};

/// The pause before the second attempt; the first follows a break at once. Doubles up to
/// [`RECONNECT_PAUSE_MAX`].
const RECONNECT_PAUSE_MIN: Duration = Duration::from_millis(50);
/// The longest pause between two attempts: the original's only one.
pub(super) const RECONNECT_PAUSE_MAX: Duration = Duration::from_secs(1);

/// What a reply will answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    /// A reply that tells nothing.
    Ignored,
    Ping,
    Info,
    Subscribe,
    /// The end of the transaction that makes an instance a replica, or a master.
    Exec,
    /// A hello to an instance.
    Publish,
    /// A hello to a peer, for this master.
    PeerPublish(MasterId),
    /// An operator's order about this master, passed on to a peer; `round` waits for the answer.
    Order {
        master: MasterId,
        round: Option<u64>,
    },
    /// A question to a peer about this master, in the [`Chapter`] that it then was in.
    Ask {
        master: MasterId,
        asked_in: Chapter,
        epoch: Epoch,
        candidate: Option<SentinelId>,
    },
}

/// An established connection.
#[derive(Debug)]
pub(super) struct UpLink {
    pub(super) id: LinkId,
    pub(super) since: Mono,
    pub(super) local: IpAddr,
    /// In the order in which the replies will come.
    pub(super) awaited: VecDeque<Awaited>,
    /// Whether a valid reply has come over this very connection.
    pub(super) proven: bool,
    /// When anything last came over it.
    pub(super) heard_at: Mono,
}

/// See the module.
#[derive(Debug)]
pub(super) enum Link {
    Down {
        retry_at: Mono,
        failures: u32,
    },
    Connecting {
        id: LinkId,
        since: Mono,
        failures: u32,
    },
    Up(Box<UpLink>),
}

impl Link {
    /// A link that wants to be opened at `at`.
    pub(super) fn new(at: Mono) -> Link {
        Link::Down {
            retry_at: at,
            failures: 0,
        }
    }

    pub(super) fn id(&self) -> Option<LinkId> {
        match self {
            Link::Down { .. } => None,
            Link::Connecting { id, .. } => Some(*id),
            Link::Up(up) => Some(up.id),
        }
    }

    pub(super) fn up(&self) -> Option<&UpLink> {
        match self {
            Link::Up(up) => Some(up),
            Link::Down { .. } | Link::Connecting { .. } => None,
        }
    }

    pub(super) fn up_mut(&mut self) -> Option<&mut UpLink> {
        match self {
            Link::Up(up) => Some(up),
            Link::Down { .. } | Link::Connecting { .. } => None,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.up().is_some()
    }

    /// The original's `disconnected`: not even a connection attempt is under way.
    pub(super) fn is_down(&self) -> bool {
        matches!(self, Link::Down { .. })
    }

    pub(super) fn pending(&self) -> usize {
        self.up().map_or(0, |up| up.awaited.len())
    }

    pub(super) fn awaits(&self, what: &Awaited) -> bool {
        self.up().is_some_and(|up| up.awaited.contains(what))
    }

    pub(super) fn become_up(&mut self, id: LinkId, local: IpAddr, now: Mono) {
        debug_assert_eq!(
            self.id(),
            Some(id),
            "only the attempt under way can succeed"
        );
        *self = Link::Up(Box::new(UpLink {
            id,
            since: now,
            local,
            awaited: VecDeque::new(),
            proven: false,
            heard_at: now,
        }));
    }

    /// The connection broke or could not be made. A connection that had proved itself is made again at
    /// once; otherwise the pause grows from `pause_min` to `pause_max`.
    pub(super) fn become_down(&mut self, now: Mono, pause_max: Duration) {
        let failures = match self {
            Link::Up(up) if up.proven => 0,
            Link::Up(_) => 1,
            Link::Connecting { failures, .. } | Link::Down { failures, .. } => {
                failures.saturating_add(1)
            }
        };
        let pause = match failures {
            0 => Duration::ZERO,
            n => (RECONNECT_PAUSE_MIN * (1 << (n - 1).min(10))).min(pause_max),
        };
        *self = Link::Down {
            retry_at: now + pause,
            failures,
        };
    }

    /// When the next attempt is due, while there is none under way.
    pub(super) fn retry_at(&self) -> Option<Mono> {
        match self {
            Link::Down { retry_at, .. } => Some(*retry_at),
            Link::Connecting { .. } | Link::Up(_) => None,
        }
    }

    /// How many attempts in a row have failed; 0 for a break that is not followed by one yet.
    pub(super) fn attempts(&self) -> u32 {
        match self {
            Link::Down { failures, .. } | Link::Connecting { failures, .. } => *failures,
            Link::Up(_) => 0,
        }
    }
}

impl UpLink {
    /// Notes the replies that `request` will get; `about` is what the one that matters answers.
    pub(super) fn await_replies(&mut self, request: &Request, about: Awaited) {
        for _ in 1..request.reply_count() {
            self.awaited.push_back(Awaited::Ignored);
        }
        self.awaited.push_back(about);
    }
}

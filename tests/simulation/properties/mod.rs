//! What must hold whatever happens: one module per property. The world reports facts; a property that
//! is hurt says so in words, and the run ends.

mod authority;
mod causes;
mod convergence;
mod durable_first;
mod epochs;
mod explained;
mod needless;
mod one_configuration;
mod one_leader;
mod one_vote;
mod pauses;
mod promotion;
mod remembers;
mod silence;
mod stall;

use std::net::SocketAddr;

use sentinel::ids::{Epoch, SentinelId};
use sentinel::sentinel::core::{Durable, DurableMaster, Event, Record, Request, Sentinel};

use crate::agenda::NodeId;

pub(crate) use convergence::disagreement;

/// Something that a sentinel did or said, at the moment it becomes visible to others.
pub(crate) enum Fact<'a> {
    /// The process started with this state (ours).
    Started {
        durable: &'a Durable,
        core: &'a Sentinel,
    },
    /// The process is gone.
    Crashed,
    /// An input has been handled (ours).
    Handled { core: &'a Sentinel },
    /// The state that is to be written has changed (ours).
    Changed { durable: &'a Durable },
    /// An event was published; `group` is the one that it is about. It may have been held back for so
    /// long, with others, until an earlier configuration was on disk.
    Event {
        event: &'a Event,
        group: Option<usize>,
        held_ms: u64,
    },
    /// ODOWN begins: `quorum` is that of its master. `held_ms` as above.
    Odown {
        group: usize,
        quorum: u32,
        held_ms: u64,
    },
    /// An operator ordered a failover here.
    Ordered { group: usize },
    /// A pause of automatic failovers was confirmed here, or found on the disk at a start.
    Paused { group: usize },
    /// There is none, or none any more.
    Unpaused { group: usize },
    /// A sentinel that only observes sends this.
    ObserverSends { request: &'a Request },
    /// A failover started here. `held_ms` as above.
    Try { group: usize, held_ms: u64 },
    /// It ended here, in whatever way.
    Ended { group: usize },
    /// Votes were asked for.
    Candidacy {
        group: usize,
        candidate: &'a SentinelId,
        epoch: Epoch,
        disk: Option<Disk<'a>>,
    },
    /// A vote was taken (`+vote-for-leader`); it may be told in any number of answers from now on.
    VoteTaken {
        group: usize,
        leader: &'a SentinelId,
        epoch: Epoch,
    },
    /// A vote was given, to oneself or in an answer.
    Vote {
        group: usize,
        leader: &'a SentinelId,
        epoch: Epoch,
        disk: Option<Disk<'a>>,
    },
    /// An election was won. `voters` counts all sentinels that the winner knows, itself included.
    Elected {
        group: usize,
        id: &'a SentinelId,
        epoch: Epoch,
        voters: usize,
        quorum: u32,
        disk: Option<Disk<'a>>,
    },
    /// `+switch-master` was published.
    Switched { payload: &'a str, disk: Disk<'a> },
    /// `SLAVEOF NO ONE` was written to a connection to this server.
    Promotes {
        group: usize,
        server: NodeId,
        /// Events of this sentinel are being held back, so its own view is not known.
        is_silent: bool,
    },
    /// How many decisions were counted so far, those that repeat a record included (ours). Comes before an event.
    Counted { group: usize, decisions: u64 },
    /// A decision was recorded (ours).
    Recorded { group: usize, record: &'a Record },
    /// A hello was sent.
    Hello {
        group: usize,
        addr: SocketAddr,
        config_epoch: Epoch,
        disk: Option<Disk<'a>>,
    },
    /// A peer's opinion arrived.
    Opinion {
        group: usize,
        from: NodeId,
        down: bool,
    },
    /// A stalled process runs again, and these instances have answered a PING meanwhile.
    StallEnds {
        late_ms: u64,
        answered: Vec<(String, String)>,
    },
    /// It has heard everything that had queued up, and judged its deadlines.
    StallOver,
}

/// What a sentinel knows to be on its disk, for one master.
#[derive(Clone, Copy)]
pub(crate) struct Disk<'a> {
    pub(crate) durable: &'a Durable,
    /// The newest state of which it knows whether it was written. A configuration that has come about
    /// is told even if it cannot be written: it is true, and others will keep it.
    pub(crate) tried: &'a Durable,
    pub(crate) master: &'a str,
}

impl Disk<'_> {
    /// The newest epoch on the disk in which it voted about the master.
    fn leader_epoch(&self) -> Epoch {
        self.find(self.durable)
            .map_or(Epoch(0), |known| known.leader_epoch)
    }

    /// The newest config epoch of the master that was written, as far as it can be.
    fn config_epoch(&self) -> Epoch {
        self.find(self.tried)
            .map_or(Epoch(0), |known| known.config_epoch)
    }

    /// Whether a config epoch is told although it could not be written.
    fn is_behind(&self, config_epoch: Epoch) -> bool {
        self.find(self.durable)
            .is_none_or(|known| known.config_epoch < config_epoch)
    }

    fn find<'b>(&self, state: &'b Durable) -> Option<&'b DurableMaster> {
        let mut masters = state.masters.iter();
        let known = masters.find(|known| known.name.as_str() == self.master);
        known.map(|known| &**known)
    }
}

/// Who did it, and when.
#[derive(Clone, Copy)]
pub(crate) struct Seen<'a> {
    pub(crate) now: u64,
    pub(crate) who: NodeId,
    pub(crate) name: &'a str,
}

/// A property that does not hold.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) at: u64,
    pub(crate) property: &'static str,
    pub(crate) text: String,
}

/// All properties that are watched during a run. Convergence is asked for at its end.
#[derive(Default)]
pub(crate) struct Properties {
    one_leader: one_leader::OneLeader,
    one_vote: one_vote::OneVote,
    one_configuration: one_configuration::OneConfiguration,
    epochs: epochs::Epochs,
    authority: authority::Authority,
    pauses: pauses::Pauses,
    promotion: promotion::Promotion,
    needless: needless::Needless,
    durable_first: durable_first::DurableFirst,
    remembers: remembers::Remembers,
    stall: stall::Stall,
    explained: explained::Explained,
}

impl Properties {
    /// A redis-sentinel has parted from the others for good, by a weakness of its own.
    pub(crate) fn is_split(&self) -> bool {
        self.one_configuration.is_split
    }

    /// Shows a fact to every property.
    pub(crate) fn observe(&mut self, seen: Seen<'_>, fact: &Fact<'_>) -> Option<Violation> {
        let violation = |property, text| Violation {
            at: seen.now,
            property,
            text,
        };
        // By far the most frequent fact, and only one property looks at it.
        if let Fact::Handled { .. } = fact {
            let result = self.epochs.observe(seen, fact);
            return Some(violation("epochs", result.err()?));
        }
        let results = [
            ("one_leader", self.one_leader.observe(seen, fact)),
            ("one_vote", self.one_vote.observe(seen, fact)),
            (
                "one_configuration",
                self.one_configuration.observe(seen, fact),
            ),
            ("epochs", self.epochs.observe(seen, fact)),
            ("authority", self.authority.observe(seen, fact)),
            ("pauses", self.pauses.observe(seen, fact)),
            ("silence", silence::observe(seen, fact)),
            ("promotion", self.promotion.observe(seen, fact)),
            ("needless", self.needless.observe(seen, fact)),
            ("durable_first", self.durable_first.observe(seen, fact)),
            ("remembers", self.remembers.observe(seen, fact)),
            ("stall", self.stall.observe(seen, fact)),
            ("explained", self.explained.observe(seen, fact)),
        ];
        results
            .into_iter()
            .find_map(|(property, result)| Some(violation(property, result.err()?)))
    }
}

//! Two addresses under one config epoch: nobody would ever give way, so ours is confirmed under a newer one.
//!
//! Only a strictly newer configuration replaces another. A redis-sentinel that still points replicas at the one
//! it promoted compares a configuration that it hears of with the address before its failover: where that is
//! the former master again, promoted in a newer epoch, it takes the epoch and keeps its own promotion, and both
//! addresses have that epoch from then on. Whoever hears a peer say so has itself elected, promotes nobody, and
//! announces the address that it has under the epoch that it won. A redis-sentinel that is still at it takes
//! that epoch too, and so this is done again, after a pause that doubles, until the peer agrees. It is at it for
//! as long as the replica that it promoted is down, and takes that for the master as soon as it is back; so
//! that is when the pauses begin anew.

use std::time::Duration;

use super::Sentinel;
use super::addr::Addr;
use super::ballot::Tally;
use super::event::EventKind;
use super::instance::Role;
use super::io::Request;
use super::master::MasterId;
use super::peer::PeerId;
use super::record::{FailoverKind, Reason};
use super::timers::Timer;
use crate::clock::Mono;
use crate::ids::Epoch;

/// The pause before a dispute is settled once more; doubles.
const PAUSE: Duration = Duration::from_secs(2);
/// The longest such pause.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// A peer names another master under the config epoch that we have.
#[derive(Debug)]
pub(super) struct Dispute {
    /// The peer that was heard last.
    pub(super) peer: PeerId,
    /// What it names.
    pub(super) told: Addr,
    /// That is down.
    is_told_down: bool,
    /// Under which config epoch.
    epoch: Epoch,
    /// When we stand for an epoch that settles it.
    settle_at: Mono,
    /// After that, not again for so long.
    pause: Duration,
}

impl Sentinel {
    /// A peer's hello names another address than ours and the same epoch. Epoch 0 is what operators wrote,
    /// and theirs to settle.
    pub(super) fn note_dispute(&mut self, m: MasterId, p: PeerId, told: Addr, epoch: Epoch) {
        if epoch == Epoch(0) {
            return;
        }
        let is_told_down = self
            .find_replica(m, &told)
            .is_some_and(|i| self.instance(i).sdown_since.is_some());
        let was_told_down = (self.master(m).dispute.as_ref()).map(|dispute| dispute.is_told_down);
        let begins = was_told_down.is_none_or(|was| was && !is_told_down);
        let settle_at = self.now + self.stagger(m);
        let dispute = Dispute {
            peer: p,
            told,
            is_told_down,
            epoch,
            settle_at,
            pause: PAUSE,
        };
        match &mut self.master_mut(m).dispute {
            Some(known) if !begins => {
                *known = Dispute {
                    settle_at: known.settle_at,
                    pause: known.pause,
                    ..dispute
                };
            }
            other => *other = Some(dispute),
        }
        self.timers.arm(Timer::Master(m), self.now);
    }

    /// A peer names our address.
    pub(super) fn note_agreement(&mut self, m: MasterId, p: PeerId) {
        self.master_mut(m)
            .dispute
            .take_if(|dispute| dispute.peer == p);
    }

    /// When a dispute is to be settled; `None`: there is none, or it is not for us to settle.
    pub(super) fn settle_due(&self, m: MasterId) -> Option<Mono> {
        let master = self.master(m);
        let dispute = master.dispute.as_ref()?;
        // After an election it has to be heard anew.
        let is_free = dispute.epoch == master.config_epoch
            && master.failover.is_none()
            && master.announcement.is_none()
            && self.journal.failure.is_none()
            && self.withheld(m).is_none();
        (is_free && self.master_works(m)).then_some(dispute.settle_at)
    }

    /// Whether what is under way is the settling of a dispute.
    pub(super) fn is_settling(&self, m: MasterId) -> bool {
        let failover = self.master(m).failover.as_ref();
        failover.is_some_and(|failover| failover.kind == FailoverKind::Settlement)
    }

    /// While a dispute is being settled: the question for votes about the other address. A redis-sentinel votes
    /// where it is asked about the address that it takes for the master's.
    pub(super) fn disputed_question(&self, m: MasterId) -> Option<Request> {
        let master = self.master(m);
        let failover = master.failover.as_ref().filter(|_| self.is_settling(m))?;
        let dispute = master.dispute.as_ref()?;
        Some(Request::AskMasterDown {
            host: self.shown(&dispute.told),
            port: dispute.told.port(),
            epoch: failover.epoch,
            candidate: failover.is_campaigning().then(|| self.id.clone()),
        })
    }

    /// What is told of a candidacy that begins.
    pub(super) fn event_candidacy(&mut self, m: MasterId, kind: FailoverKind) {
        let master = self.master(m);
        let i = master.instance;
        match (&master.dispute, kind) {
            (Some(dispute), FailoverKind::Settlement) => {
                let who = self.sentinel_shown(&self.peer(dispute.peer).id);
                let text = format!(
                    "{} #{who} names {} {} under config epoch {} too",
                    self.describe(i),
                    self.shown(&dispute.told),
                    dispute.told.port(),
                    master.config_epoch
                );
                self.event_at(m, EventKind::Dispute, text);
            }
            _ => self.event_instance(EventKind::TryFailover, i),
        }
    }

    fn master_works(&self, m: MasterId) -> bool {
        let instance = self.instance(self.master(m).instance);
        instance.sdown_since.is_none() && instance.reported == Role::Master
    }

    /// Stands for an epoch that settles a dispute, when that is due. Returns whether it did.
    pub(super) fn maybe_settle(&mut self, m: MasterId) -> bool {
        let now = self.now;
        if self.settle_due(m).is_none_or(|at| now < at) {
            return false;
        }
        let Some(dispute) = &mut self.master_mut(m).dispute else {
            return false;
        };
        dispute.settle_at = now + dispute.pause;
        dispute.pause = (dispute.pause * 2).min(PAUSE_MAX);
        self.start_failover(m, FailoverKind::Settlement);
        true
    }

    /// The next step of settling a dispute. Fails without a pause: nothing here may delay a real failover.
    pub(super) fn step_settling(&mut self, m: MasterId) -> bool {
        let Some(failover) = &self.master(m).failover else {
            return false;
        };
        let is_late = self.now.since(failover.started) > self.election_patience(m);
        let (reason, why) = if !self.master_works(m) {
            let why = "the master does not work: there is nothing to confirm".to_owned();
            (Reason::MasterDown, why)
        } else if let Some(error) = self.journal.failure.clone() {
            let why = format!("the state cannot be written: {error}");
            (Reason::CannotSave, why)
        } else if !failover.is_campaigning() {
            if !is_late {
                return false;
            }
            let why = "our own vote was not on disk in time".to_owned();
            (Reason::CannotSave, why)
        } else {
            match self.tally_votes(m) {
                Tally::Won => {
                    self.settled(m);
                    return true;
                }
                Tally::Pending if !is_late => return false,
                Tally::Pending | Tally::Lost { .. } => self.why_not_elected(m, is_late),
            }
        };
        self.abort(m, reason, &why);
        true
    }

    /// Elected: our address is the configuration of the epoch that we have won.
    fn settled(&mut self, m: MasterId) {
        let master = self.master_mut(m);
        let failover = master
            .failover
            .take()
            .expect("only what is under way is won");
        assert!(
            failover.epoch > master.config_epoch,
            "each election has an epoch of its own"
        );
        self.open_announcement(m);
        self.master_mut(m).config_epoch = failover.epoch;
        let i = self.master(m).instance;
        let text = format!("{} #config epoch {}", self.describe(i), failover.epoch);
        self.event_at(m, EventKind::DisputeSettled, text);
        self.tell_settled(m, failover);
        self.close_announcement(m);
    }
}

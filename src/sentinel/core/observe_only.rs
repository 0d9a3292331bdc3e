//! `sentinel observe-only yes`: everything is watched and decided, and nothing is done.
//!
//! For trying this program beside a running redis-sentinel. Such a sentinel
//!
//! * sends no hello, neither to instances nor to peers, so that no peer ever learns of it: nobody asks it
//!   for a vote, and nobody counts it for the majority or the quorum;
//! * asks peers whether a master is down, which changes nothing at them, and never for a vote;
//! * never votes, and never stands as a candidate;
//! * reconfigures nobody and kills no script: [`Request::changes_nothing`] holds for all that it sends,
//!   which is asserted where requests leave;
//! * runs no scripts, which would do a second time what the sentinel beside it does.
//!
//! It still follows the configurations that peers announce, and says in events and in the log what it
//! would have done.

use super::Sentinel;
use super::event::{EventKind, Level};
use super::instance::InstanceId;
use super::io::Output;
use super::master::MasterId;
use super::record::Reason;
use super::timers::Timer;
use crate::clock::Mono;
use crate::ids::{Epoch, SentinelId};

/// Why this sentinel takes no part in a failover that its rules ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Withheld {
    /// An operator paused the automatic failovers of the master.
    Paused,
    /// `sentinel observe-only yes`.
    ObserveOnly,
}

impl Sentinel {
    /// What keeps us from starting automatic failovers of a master, beside the rules of elections.
    pub(super) fn withheld(&self, m: MasterId) -> Option<Withheld> {
        if self.globals.observe_only {
            Some(Withheld::ObserveOnly)
        } else if self.is_paused(m) {
            Some(Withheld::Paused)
        } else {
            None
        }
    }

    /// What keeps us from voting for a candidate about a master.
    pub(super) fn vote_withheld(
        &self,
        masters: &[MasterId],
        candidate: &SentinelId,
        epoch: Epoch,
    ) -> Option<(MasterId, Withheld)> {
        let ordered = masters
            .iter()
            .any(|m| self.is_ordered(*m, candidate, epoch));
        let counts = |why: &Withheld| *why != Withheld::Paused || !ordered;
        masters
            .iter()
            .find_map(|m| Some((*m, self.withheld(*m).filter(counts)?)))
    }

    /// The master is ODOWN, and no failover starts because of `why`. Told and recorded once while that lasts.
    pub(super) fn withhold_failover(&mut self, m: MasterId, why: Withheld) {
        if std::mem::replace(&mut self.master_mut(m).is_withholding_told, true) {
            return;
        }
        match why {
            Withheld::Paused => {
                self.hold_back(m, Reason::Paused, Mono::NEVER, |core| {
                    core.paused_in_words(m)
                });
            }
            Withheld::ObserveOnly => {
                let master = self.master(m);
                let chosen = match self.select_replica(m) {
                    Some(i) => format!("then promote {}", self.instance(i).name),
                    None => "and find no replica to promote".to_owned(),
                };
                let would = format!(
                    "would ask {} sentinels for votes, need {}, {chosen}",
                    master.peers.len(),
                    master.majority().max(master.quorum()),
                );
                let text = format!("{} #{would}", self.describe(master.instance));
                self.event_at(m, EventKind::WouldFailover, text);
                self.hold_back(m, Reason::ObserveOnly, Mono::NEVER, |_| {
                    format!("observe-only is on; otherwise this sentinel {would}")
                });
            }
        }
    }

    /// A vote is asked for and refused because of `why`.
    pub(super) fn withhold_vote(
        &mut self,
        m: MasterId,
        why: Withheld,
        candidate: &SentinelId,
        epoch: Epoch,
    ) {
        match why {
            Withheld::Paused => {
                let why = self.paused_in_words(m);
                self.tell_refusal(m, candidate, epoch, Reason::Paused, &why);
            }
            Withheld::ObserveOnly => {
                let vote = self.master(m).vote.epoch;
                if vote < epoch && self.current_epoch <= epoch {
                    let text = format!("{candidate} {epoch}");
                    self.event_at(m, EventKind::WouldVote, text);
                    let why = "observe-only is on; otherwise it would have been given";
                    self.tell_refusal(m, candidate, epoch, Reason::ObserveOnly, why);
                }
            }
        }
    }

    /// That automatic failovers of a master are paused, and until when.
    pub(super) fn paused_in_words(&self, m: MasterId) -> String {
        let pause = self.master(m).pause.as_ref();
        let until = pause.map_or(String::new(), |pause| format!(" {}", pause.until));
        format!("automatic failovers are paused{until}")
    }

    /// A replica would be pointed at the master, `kind` says why, because of what is so `since`. Told and
    /// recorded once for each such moment.
    pub(super) fn withhold_reconf(&mut self, i: InstanceId, kind: EventKind, since: Mono) {
        if self.is_new_repair(i, since) {
            let text = format!("{} #would be told, as {}", self.describe(i), kind.channel());
            let m = self.instance(i).master;
            self.event_at(m, EventKind::WouldReconf, text);
            self.tell_repair(i, since);
        }
    }

    /// Whether a repair because of what is so `since` has not been recorded yet: one that has no effect, and is tried
    /// again and again, must not push out the other records.
    pub(super) fn is_new_repair(&mut self, i: InstanceId, since: Mono) -> bool {
        self.told_repairs.insert(i, since) != Some(since)
    }

    /// A hello under our own id, although we send none: an operator has copied the configuration of another
    /// sentinel as it was, which is left out of all that we reckon.
    pub(super) fn heard_own_id(&mut self) {
        /// Before that they may be our own, from before we turned silent.
        const TOLD_AFTER: u32 = 3;
        self.twin_hellos = self.twin_hellos.saturating_add(1);
        if self.twin_hellos == TOLD_AFTER {
            let text = format!(
                "Another sentinel has our id {}: remove the line 'sentinel myid' here, or it is not counted",
                self.id
            );
            self.log(Level::Warning, text);
        }
    }

    /// A script is to run, in its turn among what is said about a master.
    pub(super) fn say_script(&mut self, m: MasterId, script: Output) {
        if !self.globals.observe_only {
            self.say(m, script);
        } else if let Output::Script { path, args, .. } = script {
            let text = format!("would run {path} {}", args.join(" "));
            self.say(m, Output::Log(Level::Notice, text));
        }
    }

    /// `observe-only` was switched at run time: from now on hellos are sent, or no more.
    pub(super) fn observing_changed(&mut self) {
        let text = if self.globals.observe_only {
            "observe-only is on: this sentinel says and does nothing from now on. Peers that know it still \
             count it, until SENTINEL FORGET or RESET there"
        } else {
            "observe-only is off: this sentinel takes part from now on"
        };
        self.log(Level::Warning, text.to_owned());
        self.told_repairs.clear();
        let now = self.now;
        for m in self.masters.keys().copied().collect::<Vec<_>>() {
            let master = self.master_mut(m);
            master.is_withholding_told = false;
            // Who only observes passes nothing on.
            master.untold = None;
            self.timers.arm(Timer::Master(m), now);
            for i in self.master(m).instances().collect::<Vec<_>>() {
                self.timers.arm(Timer::Instance(i), now);
            }
        }
    }

    /// The master of a failover that is led from here, if there is one: what it does to others cannot stop
    /// half-way.
    pub(super) fn any_failover(&self) -> Option<MasterId> {
        let led = self.masters.iter().find(|(_, m)| m.failover.is_some());
        led.map(|(m, _)| *m)
    }
}

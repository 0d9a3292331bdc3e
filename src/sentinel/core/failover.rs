//! A failover as a plan with typed steps, led by this sentinel.
//!
//! ```text
//! Electing ─majority─▶ Selecting ─▶ Promoting ─SLAVEOF NO ONE sent─▶ AwaitingPromotion
//!    │                    │            │                                  │ INFO: role:master
//!    └── timeout, lost, no good replica, or the master is back ──▶ none   ▼
//!                                                    none ◀─ done ── Reconfiguring
//! ```
//!
//! Until SLAVEOF NO ONE is on the wire an automatic failover is called off when the master is back.
//! From the confirmed promotion on the new address is the configuration: it is written, announced, and
//! the group switches to it; what is left, [`Step::Reconfiguring`], points the other replicas at the
//! new master, and never stands in the way of the next failover.

use std::time::Duration;

use super::Sentinel;
use super::addr::Addr;
use super::ballot::Tally;
use super::event::{EventKind, Level};
use super::instance::{InstanceId, Reconf, Role};
use super::master::{Hold, MasterId};
use super::record::{FailoverKind, Reason};
use super::story::Draft;
use super::timers::Timer;
use crate::clock::Mono;
use crate::ids::{Epoch, SentinelId};
use crate::resp::Value;

/// The first pause after an attempt that failed for want of anything; doubles.
pub(super) const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// The longest such pause, or twice the failover timeout where that is less.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(60);
/// The first pause after a split vote, with as much again at random; doubles.
const SPLIT_VOTE_PAUSE: Duration = Duration::from_millis(30);
/// How long a selection waits for INFO that is on its way.
const FRESH_INFO_WAIT: Duration = Duration::from_millis(250);
/// Opinions of peers count for a cancellation while they are this young.
const CANCEL_OPINION_AGE: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(super) struct Failover {
    pub(super) kind: FailoverKind,
    /// The epoch in which we are, or were, elected; the config epoch of the result.
    pub(super) epoch: Epoch,
    pub(super) started: Mono,
    /// The record that it becomes.
    pub(super) draft: Box<Draft>,
    step: Step,
}

/// How far it is.
#[derive(Debug)]
pub(super) enum Step {
    /// Waiting for votes; `campaigning`: our own vote is on disk and others have been asked.
    Electing { campaigning: bool },
    /// Elected; waiting for INFO of the replicas that is on its way.
    Selecting { since: Mono },
    /// Chosen; waiting for a link over which to promote it.
    Promoting { chosen: InstanceId, since: Mono },
    /// SLAVEOF NO ONE is sent; waiting for `role:master`.
    AwaitingPromotion { chosen: InstanceId, since: Mono },
    /// The address is switched; the other replicas follow, a few at a time.
    Reconfiguring {
        targets: Vec<InstanceId>,
        since: Mono,
        replaced: Addr,
    },
}

impl Failover {
    pub(super) fn new(kind: FailoverKind, epoch: Epoch, now: Mono, draft: Box<Draft>) -> Failover {
        Failover {
            kind,
            epoch,
            started: now,
            draft,
            step: Step::Electing { campaigning: false },
        }
    }

    /// The original's name for the step.
    pub(super) fn state_name(&self) -> &'static str {
        match &self.step {
            Step::Electing { .. } => "wait_start",
            Step::Selecting { .. } => "select_slave",
            Step::Promoting { .. } => "send_slaveof_noone",
            Step::AwaitingPromotion { .. } => "wait_promotion",
            Step::Reconfiguring { .. } => "reconf_slaves",
        }
    }

    pub(super) fn is_electing(&self) -> bool {
        matches!(self.step, Step::Electing { .. })
    }

    /// Nothing irrevocable has been done yet.
    pub(super) fn is_revocable(&self) -> bool {
        matches!(
            self.step,
            Step::Electing { .. } | Step::Selecting { .. } | Step::Promoting { .. }
        )
    }

    pub(super) fn is_campaigning(&self) -> bool {
        matches!(self.step, Step::Electing { campaigning: true })
    }

    pub(super) fn is_reconfiguring(&self) -> bool {
        matches!(self.step, Step::Reconfiguring { .. })
    }

    /// Our own vote is on disk. False when that is no longer of interest.
    pub(super) fn begin_campaign(&mut self) -> bool {
        match &mut self.step {
            Step::Electing { campaigning } => !std::mem::replace(campaigning, true),
            Step::Selecting { .. }
            | Step::Promoting { .. }
            | Step::AwaitingPromotion { .. }
            | Step::Reconfiguring { .. } => false,
        }
    }

    /// The replica that is to become master, until it is.
    pub(super) fn chosen(&self) -> Option<InstanceId> {
        match &self.step {
            Step::Promoting { chosen, .. } | Step::AwaitingPromotion { chosen, .. } => {
                Some(*chosen)
            }
            Step::Electing { .. } | Step::Selecting { .. } | Step::Reconfiguring { .. } => None,
        }
    }

    pub(super) fn awaits_promotion_of(&self, i: InstanceId) -> bool {
        matches!(self.step, Step::AwaitingPromotion { chosen, .. } if chosen == i)
    }

    /// The address of the master that was replaced, until the failover has ended.
    pub(super) fn replaced(&self) -> Option<&Addr> {
        match &self.step {
            Step::Reconfiguring { replaced, .. } => Some(replaced),
            Step::Electing { .. }
            | Step::Selecting { .. }
            | Step::Promoting { .. }
            | Step::AwaitingPromotion { .. } => None,
        }
    }

    /// The replicas that are, or were, to follow the new master.
    pub(super) fn targets(&self) -> &[InstanceId] {
        match &self.step {
            Step::Reconfiguring { targets, .. } => targets,
            Step::Electing { .. }
            | Step::Selecting { .. }
            | Step::Promoting { .. }
            | Step::AwaitingPromotion { .. } => &[],
        }
    }
}

/// A step, copied out so that the sentinel can be changed while it is looked at.
enum Now {
    Electing,
    Selecting { since: Mono },
    Promoting { chosen: InstanceId, since: Mono },
    AwaitingPromotion { chosen: InstanceId, since: Mono },
    Reconfiguring { since: Mono },
}

impl Sentinel {
    /// Takes the next step of a failover if what it waits for has come. Returns whether it did, so
    /// that the step after it can be tried at once.
    pub(super) fn step_failover(&mut self, m: MasterId) -> bool {
        let Some(failover) = &self.master(m).failover else {
            return false;
        };
        let step = match &failover.step {
            Step::Electing { .. } => Now::Electing,
            Step::Selecting { since } => Now::Selecting { since: *since },
            Step::Promoting { chosen, since } => Now::Promoting {
                chosen: *chosen,
                since: *since,
            },
            Step::AwaitingPromotion { chosen, since } => Now::AwaitingPromotion {
                chosen: *chosen,
                since: *since,
            },
            Step::Reconfiguring { since, .. } => Now::Reconfiguring { since: *since },
        };
        match step {
            Now::Electing | Now::Selecting { .. } | Now::Promoting { .. }
                if self.master_is_back(m) =>
            {
                self.abort(m, Reason::MasterIsBack, "the master answers again");
                true
            }
            // Its promotion was sent and has not reached the replica.
            Now::Promoting { .. } if self.is_paused(m) && !self.is_ordered_here(m) => {
                self.abort(
                    m,
                    Reason::Paused,
                    "automatic failovers of this master are paused",
                );
                true
            }
            Now::Electing => self.step_electing(m),
            Now::Selecting { since } => self.step_selecting(m, since),
            Now::Promoting { chosen, since } => self.step_promoting(m, chosen, since),
            Now::AwaitingPromotion { chosen, since } => self.step_awaiting(m, chosen, since),
            Now::Reconfiguring { since } => self.step_reconfiguring(m, since),
        }
    }

    /// The next moment at which a step changes by itself.
    pub(super) fn next_failover_deadline(&self, m: MasterId) -> Option<Mono> {
        let master = self.master(m);
        let failover = master.failover.as_ref()?;
        let timeout = master.settings.failover_timeout;
        let ms = Duration::from_millis(1);
        Some(match &failover.step {
            Step::Electing { .. } => {
                failover.started + self.tuning.election_timeout.min(timeout) + ms
            }
            Step::Selecting { since } => *since + FRESH_INFO_WAIT,
            Step::Promoting { since, .. } | Step::AwaitingPromotion { since, .. } => {
                *since + timeout + ms
            }
            Step::Reconfiguring { targets, since, .. } => {
                let mut at = *since + timeout + ms;
                for i in targets {
                    if let Some(Reconf::Sent { since }) = self.instances.get(i).map(|i| i.reconf) {
                        at = at.min(since + self.tuning.slave_reconf_timeout + ms);
                    }
                }
                at
            }
        })
    }

    /// An automatic failover has lost its reason: our own SDOWN has cleared, and fewer peers than a
    /// quorum said within the last second that the master is down.
    fn master_is_back(&self, m: MasterId) -> bool {
        let master = self.master(m);
        master
            .failover
            .as_ref()
            .is_some_and(|f| f.kind == FailoverKind::Automatic)
            && self.instance(master.instance).sdown_since.is_none()
            && self.down_count(m, CANCEL_OPINION_AGE) < master.quorum()
    }

    /// Whether the failover that is led here was ordered by an operator.
    fn is_ordered_here(&self, m: MasterId) -> bool {
        let failover = self.master(m).failover.as_ref();
        failover.is_some_and(|failover| failover.kind == FailoverKind::Manual)
    }

    fn set_step(&mut self, m: MasterId, step: Step) {
        let failover = self.master_mut(m).failover.as_mut();
        failover.expect("a step belongs to a failover").step = step;
    }

    fn step_electing(&mut self, m: MasterId) -> bool {
        let master = self.master(m);
        let Some(failover) = &master.failover else {
            return false;
        };
        let timeout = self
            .tuning
            .election_timeout
            .min(master.settings.failover_timeout);
        let is_late = self.now.since(failover.started) > timeout;
        // Our vote may be on disk, but what we would lead to could not be written.
        if let Some(error) = self.journal.failure.clone() {
            let why = format!("the state cannot be written: {error}");
            self.abort(m, Reason::CannotSave, &why);
            self.pause(m, RETRY_PAUSE);
            return true;
        }
        if !failover.is_campaigning() {
            // Our own vote does not count before it is on disk.
            if is_late {
                let why = "our own vote was not on disk in time";
                self.abort(m, Reason::CannotSave, why);
                self.pause(m, RETRY_PAUSE);
            }
            return is_late;
        }
        match self.tally_votes(m) {
            Tally::Won => {
                self.become_leader(m);
                true
            }
            Tally::Lost { to } => {
                let (reason, why) = match &to {
                    Some(other) => {
                        let other = self.sentinel_shown(other);
                        (Reason::NotElected, format!("the votes went to {other}"))
                    }
                    None => self.why_not_elected(m, false),
                };
                self.abort(m, reason, &why);
                self.pause_after_loss(m, to);
                true
            }
            Tally::Pending if is_late => {
                let (reason, why) = self.why_not_elected(m, true);
                self.abort(m, reason, &why);
                self.pause(m, RETRY_PAUSE);
                true
            }
            Tally::Pending => false,
        }
    }

    fn become_leader(&mut self, m: MasterId) {
        let now = self.now;
        let i = self.master(m).instance;
        self.draft_elected(m);
        self.event_instance(EventKind::ElectedLeader, i);
        if self.simulate_crash_after_election {
            self.simulate_crash(m);
        }
        self.event_instance(EventKind::StateSelectSlave, i);
        self.set_step(m, Step::Selecting { since: now });
        let fresh_since = self.fresh_since(m);
        for i in self.master(m).replicas.clone() {
            if self.instance(i).info.at.is_none_or(|at| at < fresh_since) {
                self.send_info(i);
            }
        }
    }

    /// INFO from before this moment is too old to select by.
    fn fresh_since(&self, m: MasterId) -> Mono {
        let master = self.master(m);
        let started = master
            .failover
            .as_ref()
            .map_or(self.now, |failover| failover.started);
        let sdown = self.instance(master.instance).sdown_since;
        sdown.map_or(started, |at| at.min(started))
    }

    fn step_selecting(&mut self, m: MasterId, since: Mono) -> bool {
        let waits = self.now < since + FRESH_INFO_WAIT;
        if waits && self.awaits_fresh_info(m, self.fresh_since(m)) {
            return false;
        }
        let Some(chosen) = self.select_replica(m) else {
            self.abort(m, Reason::NoGoodReplica, "no replica can be promoted");
            self.pause(m, RETRY_PAUSE);
            return true;
        };
        self.draft_chosen(m, chosen);
        self.event_instance(EventKind::SelectedSlave, chosen);
        self.event_instance(EventKind::StateSendSlaveofNoone, chosen);
        self.set_step(
            m,
            Step::Promoting {
                chosen,
                since: self.now,
            },
        );
        true
    }

    fn step_promoting(&mut self, m: MasterId, chosen: InstanceId, since: Mono) -> bool {
        let instance = self.instance(chosen);
        if instance.cmd.is_up() {
            self.send_slaveof(chosen, None);
            self.note_attempt(m, |core| {
                format!("sent SLAVEOF NO ONE to {}", core.place(chosen))
            });
            self.event_instance(EventKind::StateWaitPromotion, chosen);
            self.set_step(
                m,
                Step::AwaitingPromotion {
                    chosen,
                    since: self.now,
                },
            );
            return true;
        }
        self.abort_if_hopeless(m, chosen, since)
    }

    fn step_awaiting(&mut self, m: MasterId, chosen: InstanceId, since: Mono) -> bool {
        let instance = self.instance(chosen);
        let told = instance.info.at.is_some_and(|at| at >= since);
        if told && instance.reported == Role::Master {
            self.promotion_confirmed(m, chosen);
            return true;
        }
        let link_is_new = instance.cmd.up().is_some_and(|up| up.since > since);
        if told && link_is_new {
            // The link broke, and the replica says on the new one that it was not promoted.
            self.note_attempt(m, |_| {
                "the connection broke before it was promoted".to_owned()
            });
            self.set_step(m, Step::Promoting { chosen, since });
            return true;
        }
        self.abort_if_hopeless(m, chosen, since)
    }

    /// The transaction was answered: a refusal is not waited out.
    pub(super) fn slaveof_replied(&mut self, i: InstanceId, reply: &Value) {
        let refusal = if let Value::Error(text) = reply {
            String::from_utf8_lossy(text).into_owned()
        } else if matches!(reply, Value::Null | Value::NullArray) {
            "the transaction was given up".to_owned()
        } else {
            return;
        };
        let text = format!("{} refuses to be reconfigured: {refusal}", self.describe(i));
        self.log(Level::Warning, text);
        let m = self.instance(i).master;
        let failover = self.master(m).failover.as_ref();
        if failover.is_some_and(|failover| failover.awaits_promotion_of(i)) {
            let why = format!("{} refuses to be promoted: {refusal}", self.place(i));
            self.abort(m, Reason::ReplicaRefused, &why);
            self.pause(m, RETRY_PAUSE);
        }
    }

    /// A chosen replica that is down itself, or takes too long, ends the attempt.
    fn abort_if_hopeless(&mut self, m: MasterId, chosen: InstanceId, since: Mono) -> bool {
        let timeout = self.master(m).settings.failover_timeout;
        let (reason, what) = if self.instance(chosen).sdown_since.is_some() {
            (Reason::ReplicaDown, "is down itself")
        } else if self.now.since(since) > timeout {
            (
                Reason::ReplicaTimeout,
                "did not become a master within failover-timeout",
            )
        } else {
            return false;
        };
        let why = format!("the chosen replica {} {what}", self.place(chosen));
        self.abort(m, reason, &why);
        self.pause(m, RETRY_PAUSE);
        true
    }

    /// The chosen replica says that it is a master: from here on this is the configuration. It is
    /// written first and then told to everyone.
    fn promotion_confirmed(&mut self, m: MasterId, chosen: InstanceId) {
        let now = self.now;
        let master = self.master(m);
        let failover = master
            .failover
            .as_ref()
            .expect("confirmed in the course of a failover");
        let (kind, epoch, started) = (failover.kind, failover.epoch, failover.started);
        assert!(
            epoch > master.config_epoch,
            "each failover has an epoch of its own"
        );
        let old_instance = master.instance;
        let replaced = self.instance(old_instance).addr.clone();
        let promoted = self.instance(chosen).addr.clone();
        let targets: Vec<InstanceId> = master
            .replicas
            .iter()
            .copied()
            .filter(|i| *i != chosen)
            .collect();
        self.open_announcement(m);
        self.master_mut(m).config_epoch = epoch;
        self.draft_promoted(m);
        self.event_instance(EventKind::PromotedSlave, chosen);
        if self.simulate_crash_after_promotion {
            self.simulate_crash(m);
        }
        self.event_instance(EventKind::StateReconfSlaves, old_instance);
        self.event_switch(m, &replaced, &promoted);
        self.run_reconfig_script(m, "leader", &replaced, &promoted);
        let old_is_alive = self.instance(old_instance).sdown_since.is_none();
        let failover = self.master_mut(m).failover.take();
        let draft = failover
            .expect("confirmed in the course of a failover")
            .draft;
        self.switch_master(m, promoted.clone());
        self.master_mut(m).failover = Some(Failover {
            kind,
            epoch,
            started,
            draft,
            step: Step::Reconfiguring {
                targets,
                since: now,
                replaced,
            },
        });
        if kind == FailoverKind::Manual && old_is_alive && self.instance(old_instance).cmd.is_up() {
            // Whatever is still written to the old master would be lost.
            self.send_slaveof(old_instance, Some(&promoted));
            self.note_attempt(m, |core| {
                format!(
                    "told the old master {} to follow it",
                    core.place(old_instance)
                )
            });
            self.event_instance(EventKind::ConvertToSlave, old_instance);
        }
        self.close_announcement(m);
    }

    fn step_reconfiguring(&mut self, m: MasterId, since: Mono) -> bool {
        self.reconf_timeouts(m);
        self.reconf_next(m);
        let is_left = |i: &InstanceId| {
            self.instances.get(i).is_some_and(|instance| {
                instance.reconf != Reconf::Done && instance.sdown_since.is_none()
            })
        };
        let master = self.master(m);
        let targets = master.failover.as_ref().map_or(&[][..], Failover::targets);
        let is_late = self.now.since(since) > master.settings.failover_timeout;
        if targets.iter().any(is_left) && !is_late {
            return false;
        }
        let done = |i: &InstanceId| {
            self.instances
                .get(i)
                .is_some_and(|instance| instance.reconf == Reconf::Done)
        };
        let followers = targets.iter().filter(|i| done(i)).count();
        let followers = match targets.len() {
            0 => "no other replica is left to".to_owned(),
            all => format!("{followers} of {all} other replicas"),
        };
        if is_late {
            self.event_replaced(m, EventKind::FailoverEndForTimeout);
            self.reconf_last_effort(m);
        }
        let how = match is_late {
            true => {
                format!("{followers} follow it, the others were given up after failover-timeout")
            }
            false => format!("{followers} follow it"),
        };
        self.end_failover(m, &how);
        false
    }

    fn reconf_timeouts(&mut self, m: MasterId) {
        let (now, patience) = (self.now, self.tuning.slave_reconf_timeout);
        for i in self.targets(m) {
            let instance = self.instance_mut(i);
            if let Reconf::Sent { since } = instance.reconf
                && now.since(since) > patience
            {
                instance.reconf = Reconf::Done;
                self.note_attempt(m, |core| {
                    format!("{} did not begin to follow it in time", core.place(i))
                });
                self.event_instance(EventKind::SlaveReconfSentTimeout, i);
            }
        }
    }

    /// Points the next replicas at the new master, `parallel-syncs` at a time.
    fn reconf_next(&mut self, m: MasterId) {
        let now = self.now;
        let master = self.master(m);
        let addr = self.instance(master.instance).addr.clone();
        let limit = usize::try_from(master.settings.parallel_syncs)
            .unwrap_or(usize::MAX)
            .max(1);
        let targets = self.targets(m);
        let mut under_way = targets
            .iter()
            .filter(|i| self.instance(**i).is_reconf_under_way())
            .count();
        for i in targets {
            let instance = self.instance(i);
            if under_way >= limit {
                return;
            }
            if instance.reconf != Reconf::Idle || !instance.cmd.is_up() {
                continue;
            }
            under_way += 1;
            self.send_slaveof(i, Some(&addr));
            self.instance_mut(i).reconf = Reconf::Sent { since: now };
            self.note_attempt(m, |core| format!("told {} to follow it", core.place(i)));
            self.event_instance(EventKind::SlaveReconfSent, i);
            self.timers.arm(Timer::Instance(i), now);
        }
    }

    /// At a forced end, every replica that was not told yet, or not to its end, is told once more.
    fn reconf_last_effort(&mut self, m: MasterId) {
        let addr = self.instance(self.master(m).instance).addr.clone();
        for i in self.targets(m) {
            let instance = self.instance(i);
            match instance.reconf {
                Reconf::Idle | Reconf::InProgress if instance.cmd.is_up() => {
                    self.send_slaveof(i, Some(&addr));
                    self.note_attempt(m, |core| {
                        format!("told {} once more to follow it", core.place(i))
                    });
                    self.event_instance(EventKind::SlaveReconfSentBe, i);
                }
                Reconf::Idle | Reconf::InProgress | Reconf::Sent { .. } | Reconf::Done => {}
            }
        }
    }

    /// A replica's INFO may show progress on its way to the new master.
    pub(super) fn note_progress(&mut self, i: InstanceId) {
        let instance = self.instance(i);
        let m = instance.master;
        let master_addr = self.instance(self.master(m).instance).addr.clone();
        if !instance.is_reconf_under_way()
            || instance.reported != Role::Replica
            || !instance.follows(&master_addr)
        {
            return;
        }
        let link_up = instance.replica.link_up;
        if matches!(instance.reconf, Reconf::Sent { .. }) {
            self.instance_mut(i).reconf = Reconf::InProgress;
            self.event_instance(EventKind::SlaveReconfInprog, i);
        }
        if link_up {
            self.instance_mut(i).reconf = Reconf::Done;
            self.note_attempt(m, |core| format!("{} follows it", core.place(i)));
            self.event_instance(EventKind::SlaveReconfDone, i);
        }
    }

    fn targets(&self, m: MasterId) -> Vec<InstanceId> {
        let targets = self
            .master(m)
            .failover
            .as_ref()
            .map_or(&[][..], Failover::targets);
        targets
            .iter()
            .copied()
            .filter(|i| self.instances.contains_key(i))
            .collect()
    }

    /// The reconfiguration is over, as far as it got.
    pub(super) fn end_failover(&mut self, m: MasterId, how: &str) {
        self.event_replaced(m, EventKind::FailoverEnd);
        self.draft_ended(m, how);
        for i in self.targets(m) {
            self.instance_mut(i).reconf = Reconf::Idle;
        }
        self.master_mut(m).failover = None;
        self.timers.arm(Timer::Master(m), self.now);
    }

    /// An event that names the master which was replaced, as the original's do until the end.
    fn event_replaced(&mut self, m: MasterId, kind: EventKind) {
        let master = self.master(m);
        let Some(replaced) = master.failover.as_ref().and_then(Failover::replaced) else {
            return;
        };
        let (host, port) = (self.shown(replaced), replaced.port());
        let text = format!("master {} {host} {port}", master.name);
        self.event_at(m, kind, text);
    }

    // Ends without success.

    /// Calls a failover off, for this reason, in a sentence too. Only before a promotion is confirmed.
    pub(super) fn abort(&mut self, m: MasterId, reason: Reason, why: &str) {
        let master = self.master_mut(m);
        let failover = master
            .failover
            .take()
            .expect("only a failover can be called off");
        assert!(
            !failover.is_reconfiguring(),
            "a confirmed promotion is not called off"
        );
        master.start_at = None;
        master.hold = Hold::Free;
        let i = master.instance;
        self.event_instance(abort_event(reason), i);
        self.tell_aborted(m, failover, reason, why);
        self.timers.arm(Timer::Master(m), self.now);
    }

    /// The pause after an attempt for which votes, replicas or a disk were missing.
    pub(super) fn pause(&mut self, m: MasterId, first: Duration) {
        let master = self.master_mut(m);
        let limit = RETRY_PAUSE_MAX
            .min(master.settings.failover_timeout * 2)
            .max(first);
        let pause = (first * (1 << master.attempts.min(10))).min(limit);
        master.attempts = master.attempts.saturating_add(1);
        let until = self.now + pause + self.random(first);
        self.master_mut(m).hold = Hold::Pause { until };
    }

    /// The pause after a lost vote: short and random when the vote was split; when another candidate
    /// may have won, it gets its chance.
    fn pause_after_loss(&mut self, m: MasterId, to: Option<SentinelId>) {
        let now = self.now;
        match to {
            Some(candidate) => {
                let hold = Hold::VotedFor {
                    candidate,
                    at: now,
                    logged: false,
                };
                self.master_mut(m).hold = hold;
            }
            None => {
                let master = self.master_mut(m);
                let pause = SPLIT_VOTE_PAUSE * (1 << master.attempts.min(5));
                master.attempts = master.attempts.saturating_add(1);
                let until = now + pause + self.random(pause);
                self.master_mut(m).hold = Hold::Pause { until };
            }
        }
    }
}

/// The event that tells of a failover which was called off; the original has no more than these.
fn abort_event(reason: Reason) -> EventKind {
    match reason {
        Reason::MasterIsBack => EventKind::AbortMasterIsBack,
        Reason::NoGoodReplica => EventKind::AbortNoGoodSlave,
        Reason::Paused => EventKind::AbortPaused,
        Reason::ReplicaRefused | Reason::ReplicaDown | Reason::ReplicaTimeout => {
            EventKind::AbortSlaveTimeout
        }
        Reason::QuorumNotReached
        | Reason::NoMajority
        | Reason::NoAnswer
        | Reason::NotElected
        | Reason::VotedForAnother
        | Reason::TooSoon
        | Reason::CannotSave
        | Reason::Stalled
        | Reason::Tilt
        | Reason::Overtaken
        | Reason::InProgress
        | Reason::ObserveOnly
        | Reason::Reset
        | Reason::AlreadyVoted
        | Reason::OldEpoch
        | Reason::AbsurdEpoch => EventKind::AbortNotElected,
    }
}

//! The making of records: what is noted while something happens to a master, and what comes of it.
//!
//! A [`Story`] begins with the SDOWN of a master and ends when the master answers again, or when there is another one.
//! An attempt at a failover has a [`Draft`] of its own record, which begins with a copy of the story. While nothing
//! happens there is neither. Times are those of the monotonic clock, stalls included: what a client would have
//! measured.

mod draft;

use std::sync::Arc;
use std::time::Duration;

use super::Sentinel;
use super::event::Level;
use super::health::GHOST_AFTER;
use super::instance::{InstanceId, Role};
use super::io::Output;
use super::master::{Hold, MasterId};
use super::peer::{PeerEntry, PeerId};
use super::record::{
    Decision, FailoverStats, Outcome, Presence, Reason, Record, Steps, VOICES_MAX, Voice, Votes,
    cut, span,
};
use crate::clock::{Mono, Now, UnixMillis, millis};
use crate::ids::{Epoch, SentinelId};
pub(super) use draft::Draft;

/// An SDOWN that the quorum does not share is explained after so many ask periods: by then every peer has answered.
const QUORUM_GRACE_PERIODS: u32 = 2;
/// A shorter pause before the next attempt is not worth a record.
const PAUSE_TOLD_MIN: Duration = Duration::from_millis(500);

/// What has been noted since a master went SDOWN.
#[derive(Debug)]
pub(super) struct Story {
    began: Mono,
    at: UnixMillis,
    /// How long the master had been silent by then.
    detect: Duration,
    odown_at: Option<Mono>,
    steps: Steps,
    /// The newest record that came of it.
    told: Option<u64>,
    /// The steps since then.
    untold: Steps,
    /// That the quorum is not reached has been told.
    quorum_told: bool,
    /// What was last told to hold us back, and until when: told once.
    held: Option<(Reason, Mono)>,
}

impl Sentinel {
    // What others may read.

    /// The records of a master, the newest first.
    pub fn records(&self, name: &str) -> Vec<Arc<Record>> {
        self.ledger.of(name).cloned().collect()
    }

    /// The record of the failover that is under way here, as far as it is.
    pub fn record_under_way(&self, name: &str) -> Option<&Record> {
        let failover = self.master(*self.names.get(name)?).failover.as_ref()?;
        Some(&failover.draft.record)
    }

    /// What failovers led here have come to since the start of the process.
    pub fn failover_stats(&self) -> &FailoverStats {
        &self.stats
    }

    /// Goes on from the records of an earlier run of this sentinel, the oldest first.
    pub fn remember(&mut self, records: Vec<Record>) {
        self.ledger.restore(records);
    }

    /// How things stand with a master, in sentences; `None`: there is no such master.
    pub fn outlook(&self, now: Now, name: &str) -> Option<Vec<String>> {
        let m = *self.names.get(name)?;
        let at = self.active(now.mono);
        let master = self.master(m);
        let instance = self.instance(master.instance);
        let health = match (master.odown_since, instance.sdown_since) {
            (Some(since), _) => format!("ODOWN for {}", span(at.since(since))),
            (None, Some(since)) => format!("SDOWN here for {}", span(at.since(since))),
            (None, None) => "up".to_owned(),
        };
        let mut lines = vec![format!(
            "{name} is at {}, config epoch {}: {health}",
            self.place(master.instance),
            master.config_epoch
        )];
        let votes = self.votes(m, None);
        let mut sentinels = self.votes_in_short(m, &votes);
        if votes.reachable < votes.needed {
            sentinels.push_str("; no failover is possible from here");
        }
        lines.push(sentinels);
        if self.globals.observe_only {
            let text =
                "observe-only is on: this sentinel does nothing; the counts are as if it took part";
            lines.push(text.to_owned());
        }
        if self.is_paused(m) {
            lines.push(self.paused_in_words(m));
        }
        if let Some(tilt) = &self.tilt {
            let left = span(tilt.until.since(at));
            lines.push(format!("in TILT for another {left}: nothing is judged"));
        }
        if let Some(error) = self.save_failure() {
            lines.push(format!(
                "neither votes nor leads, the state cannot be written: {error}"
            ));
        }
        match (&master.failover, &master.hold) {
            (Some(failover), _) => lines.push(format!(
                "a failover is under way here for {}: {}, epoch {}",
                span(at.since(failover.started)),
                failover.state_name(),
                failover.epoch
            )),
            (None, Hold::VotedFor { candidate, .. }) if master.odown_since.is_some() => {
                let left = self
                    .held_until(m)
                    .map_or(Duration::ZERO, |until| until.since(at));
                lines.push(format!(
                    "waits for {}, which has our vote, for another {}",
                    self.sentinel_shown(candidate),
                    span(left)
                ));
            }
            (None, Hold::Pause { until }) if master.odown_since.is_some() => lines.push(format!(
                "the next attempt at a failover comes in {}",
                span(until.since(at))
            )),
            (None, Hold::Free | Hold::VotedFor { .. } | Hold::Pause { .. }) => {}
        }
        Some(lines)
    }

    // Noting.

    /// A master is SDOWN from now on, and was silent since `silent_since` in the core's own time.
    pub(super) fn begin_story(&mut self, m: MasterId, why: &str, silent_since: Mono) {
        let detect = self.now.since(silent_since);
        let (began, at) = (self.real_now, self.unix);
        let story = || {
            Box::new(Story {
                began,
                at,
                detect,
                odown_at: None,
                steps: Steps::default(),
                told: None,
                untold: Steps::default(),
                quorum_told: false,
                held: None,
            })
        };
        self.master_mut(m).story.get_or_insert_with(story);
        let silent = span(detect);
        self.note(m, |_| {
            format!("SDOWN here: {why}; last sign of life {silent} before")
        });
    }

    /// Adds a step to what is being told of a master, if anything is.
    pub(super) fn note(&mut self, m: MasterId, text: impl FnOnce(&Sentinel) -> String) {
        let master = self.master(m);
        let is_tried = master
            .failover
            .as_ref()
            .is_some_and(|f| !f.is_reconfiguring());
        if master.story.is_none() && !is_tried {
            return;
        }
        let text = text(self);
        let now = self.real_now;
        let master = self.master_mut(m);
        if let Some(story) = &mut master.story {
            let after = millis(now.since(story.began));
            story.steps.push(after, text.clone());
            story.untold.push(after, text.clone());
        }
        if let Some(failover) = master.failover.as_mut().filter(|_| is_tried) {
            failover.draft.step(now, text);
        }
    }

    /// Adds a step to the record of the failover that is under way, if one is.
    pub(super) fn note_attempt(&mut self, m: MasterId, text: impl FnOnce(&Sentinel) -> String) {
        if self.master(m).failover.is_none() {
            return;
        }
        let text = text(self);
        let now = self.real_now;
        if let Some(failover) = &mut self.master_mut(m).failover {
            failover.draft.step(now, text);
        }
    }

    /// A peer's answer differs from what it said before.
    pub(super) fn note_opinion(&mut self, m: MasterId, p: PeerId, down: bool) {
        let known = self.master(m).entry(p).and_then(|entry| entry.opinion);
        if known.map(|opinion| opinion.down) != Some(down) {
            self.note(m, |core| {
                let who = core.sentinel_shown(&core.peer(p).id);
                let what = if down {
                    "the master is down"
                } else {
                    "the master is not down"
                };
                format!("{who} says: {what}")
            });
        }
    }

    /// A peer has voted, as it says itself.
    pub(super) fn note_peer_vote(
        &mut self,
        m: MasterId,
        p: PeerId,
        leader: &SentinelId,
        epoch: Epoch,
    ) {
        self.note(m, |core| {
            let who = core.sentinel_shown(&core.peer(p).id);
            let leader = match *leader == core.peer(p).id {
                true => "itself".to_owned(),
                false => core.sentinel_shown(leader),
            };
            format!("{who} voted for {leader} in epoch {epoch}")
        });
    }

    pub(super) fn note_odown(&mut self, m: MasterId, count: usize) {
        let now = self.real_now;
        if let Some(story) = &mut self.master_mut(m).story {
            story.odown_at = Some(now);
        }
        self.note(m, |core| {
            let master = core.master(m);
            format!(
                "ODOWN: {count} of {} say that it is down, quorum {}",
                master.voters(),
                master.quorum()
            )
        });
    }

    /// The master answers again, as far as we can tell.
    pub(super) fn note_sdown_cleared(&mut self, m: MasterId) {
        let since = self.master(m).story.as_ref().map(|story| story.began);
        let Some(since) = since else { return };
        let down_for = span(self.real_now.since(since));
        self.note(m, |_| {
            format!("SDOWN is over: the master answers again after {down_for}")
        });
        if self.master(m).odown_since.is_none() {
            self.end_story(m);
        }
    }

    /// The quorum no longer says that the master is down. An ODOWN in which nothing was tried gets its record.
    pub(super) fn note_odown_cleared(&mut self, m: MasterId) {
        let is_sdown = self.instance(self.master(m).instance).sdown_since.is_some();
        self.note(m, |_| "ODOWN is over".to_owned());
        let (reason, summary) = match is_sdown {
            true => (
                Reason::QuorumNotReached,
                "no failover: the quorum no longer says that the master is down",
            ),
            false => (
                Reason::MasterIsBack,
                "no failover: the master answered again before one was begun here",
            ),
        };
        self.close_odown(m, reason, summary);
        if !is_sdown {
            self.end_story(m);
        }
    }

    /// An ODOWN is over of which nothing has been told.
    fn close_odown(&mut self, m: MasterId, reason: Reason, summary: &str) {
        let master = self.master(m);
        let is_untold = (master.story.as_ref())
            .is_some_and(|story| story.odown_at.is_some() && story.told.is_none());
        let is_tried = master
            .failover
            .as_ref()
            .is_some_and(|f| !f.is_reconfiguring());
        if is_untold && !is_tried {
            self.tell_wait(m, reason, summary.to_owned());
        }
    }

    /// The story is over; the newest record that came of it gets to know how.
    fn end_story(&mut self, m: MasterId) {
        let Some(story) = self.master_mut(m).story.take() else {
            return;
        };
        let told = story.told.and_then(|id| self.ledger.get(id));
        if let Some(known) = told
            && known.outcome != Outcome::Running
            && known.at == story.at
        {
            let mut record = Record::clone(known);
            for step in story.untold.list {
                record.steps.push(step.after_ms, step.text);
            }
            let record = self.ledger.replace(record);
            self.record_kept(record);
        }
    }

    /// An operator has the master forgotten, or what was learnt of it.
    pub(super) fn note_reset(&mut self, m: MasterId, summary: &str) {
        self.cut_short(m, Reason::Reset, summary);
        self.close_odown(m, Reason::Reset, summary);
        self.note(m, |_| summary.to_owned());
        self.end_story(m);
    }

    // Decisions other than failovers.

    /// Keeps a record of a decision, and says it where that is news: the first time, the second, the fourth…
    fn tell(&mut self, m: MasterId, record: Record) {
        let record = self.ledger.add(record);
        self.records_changed(&record.master);
        self.note_told(m, record.id);
        if record.count.is_power_of_two() {
            self.publish(m, record);
        }
    }

    /// A record is to be written, and shown.
    fn record_kept(&mut self, record: Arc<Record>) {
        self.records_changed(&record.master);
        self.out.push(Output::Record(record));
    }

    fn note_told(&mut self, m: MasterId, id: u64) {
        if let Some(story) = &mut self.master_mut(m).story {
            story.told = Some(id);
            story.untold = Steps::default();
        }
    }

    fn publish(&mut self, m: MasterId, record: Arc<Record>) {
        let level = match (record.decision, record.outcome) {
            (Decision::Follow | Decision::Vote | Decision::Repair, _) => Level::Notice,
            (Decision::Failover | Decision::ManualFailover | Decision::Wait, _) => Level::Warning,
        };
        let line = record.log_line();
        self.record_kept(record);
        self.say(m, Output::Log(level, line));
    }

    /// A record as far as it is the same for every decision: declined, with the story so far.
    fn sketch(&self, m: MasterId, decision: Decision, summary: String) -> Record {
        let master = self.master(m);
        let story = master.story.as_deref();
        Record {
            id: 0,
            at: story.map_or(self.unix, |story| story.at),
            last_at: self.unix,
            first_at: self.unix,
            count: 1,
            master: master.name.clone(),
            epoch: self.current_epoch,
            decision,
            outcome: Outcome::Declined,
            reason: None,
            summary: cut(summary),
            from: self.place(master.instance),
            to: None,
            steps: story.map(|story| story.steps.clone()).unwrap_or_default(),
            votes: Some(self.votes(m, None)),
            candidates: Vec::new(),
            candidates_left_out: 0,
            phases: Vec::new(),
        }
    }

    /// Nothing is done about a master that is down, for this reason.
    fn tell_wait(&mut self, m: MasterId, reason: Reason, summary: String) {
        let record = Record {
            reason: Some(reason),
            ..self.sketch(m, Decision::Wait, summary)
        };
        self.tell(m, record);
    }

    /// No failover is begun for now. Told once for each `until`; whatever keeps a sentinel from acting is told here.
    pub(super) fn hold_back(
        &mut self,
        m: MasterId,
        reason: Reason,
        until: Mono,
        why: impl FnOnce(&Sentinel) -> String,
    ) {
        let Some(story) = &mut self.master_mut(m).story else {
            return;
        };
        if story.held.replace((reason, until)) != Some((reason, until)) {
            let summary = format!("no failover for now: {}", why(self));
            self.tell_wait(m, reason, summary);
        }
    }

    /// The pause after a failed attempt.
    pub(super) fn hold_back_until(&mut self, m: MasterId, until: Mono) {
        let left = until.since(self.now);
        if left >= PAUSE_TOLD_MIN {
            self.hold_back(m, Reason::TooSoon, until, |_| {
                format!(
                    "the last attempt failed, the next one comes in {}",
                    span(left)
                )
            });
        }
    }

    /// Another candidate has our vote.
    pub(super) fn hold_back_for(&mut self, m: MasterId, candidate: &SentinelId, until: Mono) {
        // The vote itself is told as soon as it is on disk, and says so.
        let is_told = self
            .master(m)
            .story
            .as_ref()
            .is_some_and(|story| story.told.is_some());
        if self.is_vote_pending(m) || is_told {
            return;
        }
        let left = span(until.since(self.now));
        self.hold_back(m, Reason::VotedForAnother, until, |core| {
            format!(
                "{} has our vote and gets {left} to act",
                core.sentinel_shown(candidate)
            )
        });
    }

    /// When it is to be told that the quorum does not share our SDOWN.
    pub(super) fn quorum_told_at(&self, m: MasterId) -> Option<Mono> {
        let master = self.master(m);
        let is_open = master
            .story
            .as_ref()
            .is_some_and(|story| !story.quorum_told);
        if !is_open || master.odown_since.is_some() || master.failover.is_some() {
            return None;
        }
        let sdown_since = self.instance(master.instance).sdown_since?;
        Some(sdown_since + self.tuning.ask_period * QUORUM_GRACE_PERIODS)
    }

    /// Tells that the quorum does not share our SDOWN, when that is due.
    pub(super) fn tell_quorum(&mut self, m: MasterId) {
        if self.quorum_told_at(m).is_none_or(|at| self.now < at) {
            return;
        }
        if let Some(story) = &mut self.master_mut(m).story {
            story.quorum_told = true;
        }
        let votes = self.votes(m, None);
        let summary = format!(
            "no failover: the quorum is not reached, {} of {} needed sentinels say that it is down; {}",
            votes.say_down,
            votes.quorum,
            self.votes_in_short(m, &votes)
        );
        self.tell_wait(m, Reason::QuorumNotReached, summary);
    }

    /// TILT has begun.
    pub(super) fn tell_tilt(&mut self, m: MasterId, late: Duration, until: Mono) {
        self.hold_back(m, Reason::Tilt, until, |core| {
            let (left, late) = (span(until.since(core.now)), span(late));
            format!("TILT for {left}, this process stood still for {late} and judges nothing")
        });
    }

    /// Our vote for another is on disk and given.
    pub(super) fn tell_vote(&mut self, m: MasterId, candidate: &SentinelId, epoch: Epoch) {
        let who = self.sentinel_shown(candidate);
        let left = self
            .held_until(m)
            .map_or(Duration::ZERO, |until| until.since(self.now));
        let mut summary = format!("voted for {who} in epoch {epoch}");
        self.note(m, |_| summary.clone());
        // By the time the vote is on disk it may be decided.
        if !left.is_zero() {
            summary.push_str(&format!(": it gets {} to act", span(left)));
        }
        let record = Record {
            epoch,
            outcome: Outcome::Done,
            ..self.sketch(m, Decision::Vote, summary)
        };
        self.tell(m, record);
    }

    /// A vote that was cast could not be written, and was not given.
    pub(super) fn vote_lost(&mut self, m: MasterId, candidate: &SentinelId, epoch: Epoch) {
        if self.masters.contains_key(&m) {
            let error = self.save_failure().unwrap_or_default();
            let why = format!("it cannot be written: {error}");
            self.tell_refusal(m, candidate, epoch, Reason::CannotSave, &why);
        }
    }

    /// A vote was asked for that is given to another, or in a newer epoch.
    pub(super) fn tell_vote_kept(&mut self, m: MasterId, candidate: &SentinelId, epoch: Epoch) {
        let vote = &self.master(m).vote;
        let (reason, why) = if epoch < self.current_epoch {
            let newest = self.current_epoch;
            (Reason::OldEpoch, format!("the newest epoch is {newest}"))
        } else {
            let why = match &vote.candidate {
                Some(other) => format!("{} has it", self.sentinel_shown(other)),
                None => "it was given before this process started".to_owned(),
            };
            (Reason::AlreadyVoted, why)
        };
        self.tell_refusal(m, candidate, epoch, reason, &why);
    }

    /// A vote was asked for and not given.
    pub(super) fn tell_refusal(
        &mut self,
        m: MasterId,
        candidate: &SentinelId,
        epoch: Epoch,
        reason: Reason,
        why: &str,
    ) {
        let who = self.sentinel_shown(candidate);
        self.note(m, |_| {
            format!("refused {who} our vote in epoch {epoch}: {why}")
        });
        let summary = format!("no vote for {who} in epoch {epoch}: {why}");
        let record = Record {
            epoch,
            reason: Some(reason),
            ..self.sketch(m, Decision::Vote, summary)
        };
        self.tell(m, record);
    }

    /// A peer's newer configuration is about to be taken over.
    pub(super) fn tell_follow(&mut self, m: MasterId, p: PeerId, to: String, epoch: Epoch) {
        let who = self.sentinel_shown(&self.peer(p).id);
        let known = self.master(m).config_epoch;
        self.cut_short(
            m,
            Reason::Overtaken,
            &format!("{who} names {to} with a newer config epoch"),
        );
        self.note(m, |_| {
            format!("hello of {who}: the master is {to}, config epoch {epoch}")
        });
        let from = self.place(self.master(m).instance);
        let summary =
            format!("followed {who}: the master moved from {from} to {to} in epoch {epoch}");
        let mut record = Record {
            epoch,
            outcome: Outcome::Done,
            to: Some(to),
            ..self.sketch(m, Decision::Follow, summary)
        };
        if record.steps.list.is_empty() {
            record
                .steps
                .push(0, format!("hello of {who}; our config epoch was {known}"));
        }
        self.tell(m, record);
        self.master_mut(m).story = None;
    }

    /// An instance that strayed is told to follow the master, or would be if we did not only observe.
    pub(super) fn tell_repair(&mut self, i: InstanceId, since: Mono) {
        let m = self.instance(i).master;
        let instance = self.instance(i);
        let time = span(self.now.since(since));
        let why = match (instance.reported, &instance.replica.master) {
            (Role::Replica, Some((host, port))) => {
                format!("it has followed {host}:{port} for {time}")
            }
            (Role::Master | Role::Replica, _) => {
                format!("it has said for {time} that it is a master")
            }
        };
        let (who, master) = (self.place(i), self.place(self.master(m).instance));
        let what = format!("{who} to follow {master}: {why}");
        let (outcome, reason, summary) = if self.globals.observe_only {
            let would = format!("observe-only is on; otherwise this sentinel would tell {what}");
            (Outcome::Declined, Some(Reason::ObserveOnly), would)
        } else {
            (Outcome::Done, None, format!("told {what}"))
        };
        let record = Record {
            outcome,
            reason,
            votes: None,
            ..self.sketch(m, Decision::Repair, summary)
        };
        self.tell(m, record);
    }

    /// An operator's order is not carried out.
    pub(super) fn tell_order_declined(&mut self, m: MasterId, reason: Reason, why: &str) {
        let mut record = Record {
            reason: Some(reason),
            ..self.sketch(
                m,
                Decision::ManualFailover,
                format!("order declined: {why}"),
            )
        };
        if reason == Reason::NoGoodReplica {
            (record.candidates, record.candidates_left_out) = self.candidates(m, None);
        }
        self.tell(m, record);
    }

    // In words.

    /// `ip:port` of an instance, as it is told to others.
    pub(super) fn place(&self, i: InstanceId) -> String {
        let names = self.globals.announce_hostnames;
        self.instance(i).addr.instance_name(names)
    }

    /// A sentinel by its address and the beginning of its id.
    pub(super) fn sentinel_shown(&self, id: &SentinelId) -> String {
        let known = self.peer_ids.get(id).map(|p| &self.peer(*p).addr);
        match known {
            Some(addr) => {
                let place = addr.instance_name(self.globals.announce_hostnames);
                let short: String = id.as_str().chars().take(8).collect();
                format!("sentinel {place} ({short})")
            }
            None if *id == self.id => "this sentinel".to_owned(),
            None => format!("sentinel {id}"),
        }
    }

    /// What the sentinels say, and how they voted in `epoch`, in which we stand.
    pub(super) fn votes(&self, m: MasterId, epoch: Option<Epoch>) -> Votes {
        let master = self.master(m);
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let mut voices = vec![self.own_voice(m)];
        voices.extend(master.peers.iter().map(|entry| self.voice(entry)));
        let number_of =
            |is: &dyn Fn(&Voice) -> bool| count(voices.iter().filter(|v| is(v)).count());
        let is_for_us = |voice: &Voice| {
            voice.vote.as_ref() == Some(&self.id) && voice.vote_epoch == epoch && epoch.is_some()
        };
        let mut votes = Votes {
            known: count(master.voters()),
            reachable: number_of(&|voice| {
                matches!(voice.presence, Presence::Ourselves | Presence::Reachable)
            }),
            majority: count(master.majority()),
            quorum: master.settings.quorum,
            say_down: number_of(&|voice| voice.says_down == Some(true)),
            needed: count(master.majority().max(master.quorum())),
            for_us: number_of(&is_for_us),
            left_out: count(voices.len().saturating_sub(VOICES_MAX)),
            voices: Vec::new(),
        };
        voices.truncate(VOICES_MAX);
        votes.voices = voices;
        votes
    }

    fn own_voice(&self, m: MasterId) -> Voice {
        let master = self.master(m);
        let sdown_since = self.instance(master.instance).sdown_since;
        Voice {
            sentinel: self.id.clone(),
            addr: String::new(),
            presence: Presence::Ourselves,
            down_ms: None,
            says_down: Some(sdown_since.is_some()),
            said_ms_ago: sdown_since.map(|since| millis(self.now.since(since))),
            vote: master.vote.candidate.clone(),
            vote_epoch: master.vote.candidate.is_some().then_some(master.vote.epoch),
        }
    }

    fn voice(&self, entry: &PeerEntry) -> Voice {
        let peer = self.peer(entry.peer);
        let down_for = entry.sdown_since.map(|since| self.now.since(since));
        let presence = match down_for {
            Some(time) if time >= GHOST_AFTER => Presence::Ghost,
            Some(_) => Presence::Unreachable,
            None if peer.link.is_up() => Presence::Reachable,
            None => Presence::Unreachable,
        };
        Voice {
            sentinel: peer.id.clone(),
            addr: peer.addr.instance_name(self.globals.announce_hostnames),
            presence,
            down_ms: down_for.map(millis),
            says_down: entry.opinion.map(|opinion| opinion.down),
            said_ms_ago: entry
                .opinion
                .map(|opinion| millis(self.now.since(opinion.at))),
            vote: entry.voted.as_ref().map(|(who, _)| who.clone()),
            vote_epoch: entry.voted.as_ref().map(|(_, epoch)| *epoch),
        }
    }

    /// `2 of 3 known sentinels reachable, 2 needed (majority 2, quorum 2); unreachable: …; ghosts: …`
    fn votes_in_short(&self, m: MasterId, votes: &Votes) -> String {
        use std::fmt::Write;
        let mut text = format!(
            "{} of {} known sentinels reachable, {} needed (majority {}, quorum {})",
            votes.reachable, votes.known, votes.needed, votes.majority, votes.quorum
        );
        let entries = &self.master(m).peers;
        for (presence, word) in [
            (Presence::Unreachable, "unreachable"),
            (Presence::Ghost, "ghosts"),
        ] {
            let theirs = entries.iter().map(|entry| self.voice(entry));
            let shown: Vec<String> = theirs
                .filter(|voice| voice.presence == presence)
                .map(|voice| match voice.down_ms {
                    Some(ms) => format!(
                        "{} down for {}",
                        voice.addr,
                        span(Duration::from_millis(ms))
                    ),
                    None => voice.addr,
                })
                .collect();
            if !shown.is_empty() {
                let _ = write!(text, "; {word}: {}", shown.join(", "));
            }
        }
        text
    }

    /// Why an election was not won, in a word and in a sentence.
    pub(super) fn why_not_elected(&self, m: MasterId, is_late: bool) -> (Reason, String) {
        let epoch = self
            .master(m)
            .failover
            .as_ref()
            .map(|failover| failover.epoch);
        let votes = self.votes(m, epoch);
        let stand = format!("{} of {} needed votes", votes.for_us, votes.needed);
        if votes.reachable < votes.needed {
            let short = self.votes_in_short(m, &votes);
            (Reason::NoMajority, format!("no majority: {short}; {stand}"))
        } else if is_late {
            (
                Reason::NoAnswer,
                format!("the votes did not come in time: {stand}"),
            )
        } else {
            (Reason::NotElected, format!("the votes are split: {stand}"))
        }
    }
}

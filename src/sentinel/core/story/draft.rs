//! The record of an attempt at a failover, from its beginning to its end.

use std::time::Duration;

use super::Sentinel;
use crate::clock::{Mono, millis};
use crate::ids::Epoch;
use crate::sentinel::core::failover::Failover;
use crate::sentinel::core::instance::InstanceId;
use crate::sentinel::core::master::MasterId;
use crate::sentinel::core::record::{
    FailoverKind, Outcome, Phase, PhaseTime, Reason, Record, cut, span,
};

/// The record of an attempt at a failover that is under way.
#[derive(Debug)]
pub(in crate::sentinel::core) struct Draft {
    pub(in crate::sentinel::core) record: Record,
    /// It has its number, and what is there of it is kept.
    is_kept: bool,
    began: Mono,
    /// When the present phase began.
    mark: Mono,
}

impl Sentinel {
    /// The record of an attempt that begins.
    pub(in crate::sentinel::core) fn draft(
        &self,
        m: MasterId,
        kind: FailoverKind,
        epoch: Epoch,
    ) -> Box<Draft> {
        let now = self.real_now;
        let story = self.master(m).story.as_deref();
        let mut record = Record {
            epoch,
            outcome: Outcome::Running,
            ..self.sketch(m, kind.decision(), "asking for votes".to_owned())
        };
        let odown_at = story.and_then(|story| story.odown_at);
        let mut mark = now;
        if let (FailoverKind::Automatic, Some(story), Some(odown_at)) = (kind, story, odown_at) {
            let mut phase = |phase, time| {
                record.phases.push(PhaseTime {
                    phase,
                    ms: millis(time),
                })
            };
            phase(Phase::Detect, story.detect);
            phase(Phase::Agree, odown_at.since(story.began));
            mark = odown_at;
        }
        let mut draft = Draft {
            record,
            is_kept: false,
            began: story.map_or(now, |story| story.began),
            mark,
        };
        draft.step(
            now,
            match kind {
                FailoverKind::Automatic => format!("stands as a candidate in epoch {epoch}"),
                FailoverKind::Manual => {
                    format!("ordered by an operator; stands as a candidate in epoch {epoch}")
                }
            },
        );
        Box::new(draft)
    }

    fn draft_mut(&mut self, m: MasterId) -> &mut Draft {
        let failover = self.master_mut(m).failover.as_mut();
        &mut failover.expect("a draft belongs to a failover").draft
    }

    /// Keeps the draft as it is, and has it written: what follows may be the last that this process does.
    fn keep_draft(&mut self, m: MasterId) {
        let unix = self.unix;
        let draft = self.draft_mut(m);
        draft.record.last_at = unix;
        let (record, is_kept) = (draft.record.clone(), draft.is_kept);
        let kept = match is_kept {
            true => self.ledger.replace(record),
            false => self.ledger.add(record),
        };
        let draft = self.draft_mut(m);
        draft.is_kept = true;
        draft.record.id = kept.id;
        self.note_told(m, kept.id);
        self.record_kept(kept);
    }

    /// The election is won.
    pub(in crate::sentinel::core) fn draft_elected(&mut self, m: MasterId) {
        let now = self.real_now;
        let epoch = self.draft_mut(m).record.epoch;
        let votes = self.votes(m, Some(epoch));
        let draft = self.draft_mut(m);
        draft.phase(now, Phase::Elect);
        draft.step(
            now,
            format!(
                "elected with {} of {} votes, {} needed",
                votes.for_us, votes.known, votes.needed
            ),
        );
        draft.record.votes = Some(votes);
    }

    /// A replica is chosen.
    pub(in crate::sentinel::core) fn draft_chosen(&mut self, m: MasterId, chosen: InstanceId) {
        let now = self.real_now;
        let to = self.place(chosen);
        let (candidates, left_out) = self.candidates(m, Some(chosen));
        let draft = self.draft_mut(m);
        draft.phase(now, Phase::Select);
        let why = candidates.first().map_or("", |best| best.why.as_str());
        draft.step(now, format!("chose {to}: {why}"));
        let record = &mut draft.record;
        record.summary = cut(format!("promoting {to} in place of {}", record.from));
        record.to = Some(to);
        (record.candidates, record.candidates_left_out) = (candidates, left_out);
        self.keep_draft(m);
    }

    /// The chosen replica says that it is a master. The story of the old master is over.
    pub(in crate::sentinel::core) fn draft_promoted(&mut self, m: MasterId) {
        let now = self.real_now;
        let draft = self.draft_mut(m);
        draft.phase(now, Phase::Promote);
        let record = &mut draft.record;
        let to = record.to.clone().unwrap_or_default();
        record.outcome = Outcome::Done;
        record.summary = cut(format!("promoted {to} in place of {}", record.from));
        draft.step(
            now,
            format!("{to} says that it is a master: it is the configuration from here on"),
        );
        let phases = draft.record.phases.clone();
        self.keep_draft(m);
        self.master_mut(m).story = None;
        let kind = self
            .master(m)
            .failover
            .as_ref()
            .map(|failover| failover.kind);
        if let Some(kind) = kind {
            self.stats.ended(kind, Outcome::Done, None);
        }
        for phase in phases {
            self.stats.observe(phase);
        }
    }

    /// The reconfiguration is over, as far as it got: the failover is told.
    pub(in crate::sentinel::core) fn draft_ended(&mut self, m: MasterId, how: &str) {
        let now = self.real_now;
        let draft = self.draft_mut(m);
        draft.phase(now, Phase::Reconfigure);
        draft.step(now, how.to_owned());
        let took = span(Duration::from_millis(draft.record.took_ms()));
        draft.record.summary = cut(format!("{} in {took}; {how}", draft.record.summary));
        if let Some(phase) = draft.record.phases.last().copied() {
            self.stats.observe(phase);
        }
        let record = self.draft_mut(m).record.clone();
        let record = self.ledger.replace(record);
        self.publish(m, record);
    }

    /// A failover that was taken from its master is called off.
    pub(in crate::sentinel::core) fn tell_aborted(
        &mut self,
        m: MasterId,
        failover: Failover,
        reason: Reason,
        why: &str,
    ) {
        let now = self.real_now;
        self.stats
            .ended(failover.kind, Outcome::Aborted, Some(reason));
        let epoch = failover.epoch;
        let was_electing = failover.is_electing();
        let mut draft = failover.draft;
        draft.step(now, format!("called off: {why}"));
        let mut record = draft.record;
        record.last_at = self.unix;
        record.outcome = Outcome::Aborted;
        record.reason = Some(reason);
        record.summary = cut(format!("called off: {why}"));
        if was_electing {
            record.votes = Some(self.votes(m, Some(epoch)));
        }
        if reason == Reason::NoGoodReplica {
            (record.candidates, record.candidates_left_out) = self.candidates(m, None);
        }
        self.note(m, |_| {
            format!("the attempt in epoch {epoch} is called off: {why}")
        });
        if draft.is_kept {
            let record = self.ledger.replace(record);
            self.note_told(m, record.id);
            self.publish(m, record);
        } else {
            self.tell(m, record);
        }
    }

    /// A failover ends because something else has decided; no event tells of it.
    pub(super) fn cut_short(&mut self, m: MasterId, reason: Reason, why: &str) {
        match &self.master(m).failover {
            Some(failover) if failover.is_reconfiguring() => self.draft_ended(m, why),
            Some(_) => {
                if let Some(failover) = self.master_mut(m).failover.take() {
                    self.tell_aborted(m, failover, reason, why);
                }
            }
            None => {}
        }
    }
}

impl Draft {
    pub(super) fn step(&mut self, now: Mono, text: String) {
        self.record.steps.push(millis(now.since(self.began)), text);
    }

    /// The present phase is over, and the next begins.
    fn phase(&mut self, now: Mono, phase: Phase) {
        let ms = millis(now.since(self.mark));
        self.record.phases.push(PhaseTime { phase, ms });
        self.mark = now;
    }
}

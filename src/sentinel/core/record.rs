//! Decisions as records that a person can read, and the last ones that are kept.
//!
//! A [`Record`] is made at the end of each decision, the one *not* to act included, and holds what led to it: what was
//! seen and when, who said and voted what, which replica was chosen by which rule, what was sent, and how long each
//! phase took. What happens again for the same reason is the same record with a higher [`Record::count`], so that an
//! outage of a weekend does not push out what it began with. `story.rs` makes them; here is what they are.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::{UnixMillis, millis};
use crate::ids::{Epoch, MasterName, SentinelId};

/// The most records that are kept of one master.
pub const RECORDS_PER_MASTER_MAX: usize = 32;
/// The most records that are kept in all: the least recent go first.
pub const RECORDS_MAX: usize = 1024;
/// The most steps of one record: the first `STEPS_HEAD` and the last ones stay.
pub const STEPS_MAX: usize = 64;
/// How many of the first steps stay whatever follows.
const STEPS_HEAD: usize = 16;
/// The most sentinels that one record names.
pub const VOICES_MAX: usize = 32;
/// The most replicas that one record names.
pub const CANDIDATES_MAX: usize = 32;
/// Longer texts are cut. Bytes.
pub(super) const TEXT_BYTES_MAX: usize = 512;
/// The same decision for the same reason within this time is counted rather than recorded anew.
const REPEATS_WITHIN: Duration = Duration::from_secs(3600);

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $word)] $variant,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            /// The word for it in logs, JSON and metrics.
            pub fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $word,)*
                }
            }
        }

        // The derived one does not see the words.
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::Type::String)
                    .enum_values(Some([$($word,)*]))
                    .into()
            }
        }

        impl ToSchema for $name {}

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

words! {
    /// What was decided about.
    Decision {
        /// A failover that this sentinel wanted to lead because the master was ODOWN.
        Failover = "failover",
        /// A failover that an operator ordered here.
        ManualFailover = "manual-failover",
        /// A peer's newer configuration was taken over.
        Follow = "follow",
        /// A peer's request for our vote.
        Vote = "vote",
        /// Nothing was done although the master is, or was, down.
        Wait = "wait",
        /// An instance that strayed was told to follow the master.
        Repair = "repair",
    }
}

words! {
    /// What became of it.
    Outcome {
        /// It is under way; after a restart: it was when the process ended.
        Running = "running",
        /// It was carried out.
        Done = "done",
        /// It was begun and called off.
        Aborted = "aborted",
        /// It was not begun.
        Declined = "declined",
    }
}

words! {
    /// Why something was called off, or not begun. One word each, so that they can be counted.
    Reason {
        /// The master answers again.
        MasterIsBack = "master-is-back",
        /// Fewer sentinels than the quorum say that the master is down.
        QuorumNotReached = "quorum-not-reached",
        /// Fewer sentinels than needed can be reached.
        NoMajority = "no-majority",
        /// Enough could be reached, and they did not answer in time.
        NoAnswer = "no-answer",
        /// The votes were split, or went to another.
        NotElected = "not-elected",
        /// Our own vote is given to another candidate, which gets its chance.
        VotedForAnother = "voted-for-another",
        /// The last attempt of our own has only just failed.
        TooSoon = "too-soon",
        /// Our state cannot be written: who cannot remember a vote gives none.
        CannotSave = "cannot-save",
        /// This process stood still, and what it knew is too old.
        Stalled = "stalled",
        /// This process does not trust itself for a while.
        Tilt = "tilt",
        /// A newer configuration is known: it was decided elsewhere.
        Overtaken = "overtaken",
        /// No replica can be promoted.
        NoGoodReplica = "no-good-replica",
        /// The chosen replica refuses.
        ReplicaRefused = "replica-refused",
        /// The chosen replica is down itself, or gone.
        ReplicaDown = "replica-down",
        /// The chosen replica did not become a master in time.
        ReplicaTimeout = "replica-timeout",
        /// A failover is under way already.
        InProgress = "in-progress",
        /// An operator paused automatic failovers.
        Paused = "paused",
        /// This sentinel only watches.
        ObserveOnly = "observe-only",
        /// An operator has reset or removed the master.
        Reset = "reset",
        /// The vote of that epoch is given.
        AlreadyVoted = "already-voted",
        /// The epoch is older than the newest known.
        OldEpoch = "old-epoch",
        /// The epoch is too far from what is known to be true.
        AbsurdEpoch = "absurd-epoch",
    }
}

words! {
    /// A part of a failover. Together they are the time from the last sign of life to the end.
    Phase {
        /// From the master's last sign of life to SDOWN here.
        Detect = "detect",
        /// From SDOWN to ODOWN: until the quorum agrees.
        Agree = "agree",
        /// From ODOWN, or the order, to the won election; failed attempts and pauses before it included.
        Elect = "elect",
        /// From the won election to the choice of a replica.
        Select = "select",
        /// From the choice to the replica's own word that it is a master.
        Promote = "promote",
        /// From there until the other replicas follow.
        Reconfigure = "reconfigure",
    }
}

words! {
    /// The rule of the selection by which a replica is better than another, in order of their weight.
    Rule {
        /// It was promoted already, by a leader that did not live to tell.
        PromotedAlready = "promoted-already",
        /// It shares the master's replication history.
        History = "history",
        /// It is neither loading nor in the middle of a full synchronisation.
        Complete = "complete",
        /// Its `replica-priority` is lower.
        Priority = "priority",
        /// It has more of the master's data.
        Offset = "offset",
        /// Its run id comes first: all else is equal.
        RunId = "run-id",
    }
}

words! {
    /// Why a replica could not be chosen at all.
    Exclusion {
        /// It is SDOWN.
        Down = "sdown",
        /// There is no connection to it.
        Disconnected = "disconnected",
        /// It refuses our credentials.
        AuthRefused = "auth-refused",
        /// It has not answered PING for too long.
        NoPong = "no-pong",
        /// It has not answered INFO for too long.
        StaleInfo = "stale-info",
        /// Its `replica-priority` is 0: never to be promoted.
        PriorityZero = "priority-0",
        /// Its link to the master was down for too long before the master was.
        LinkDown = "link-down",
        /// It follows somebody else, with another history.
        Stranger = "stranger",
    }
}

words! {
    /// Whether a sentinel can be heard.
    Presence {
        /// This very sentinel.
        Ourselves = "ourselves",
        /// Connected, and it answers.
        Reachable = "reachable",
        /// Not connected, or it does not answer.
        Unreachable = "unreachable",
        /// The same for so long that it only raises the majority.
        Ghost = "ghost",
    }
}

words! {
    /// Who wanted a failover.
    FailoverKind {
        /// ODOWN.
        Automatic = "automatic",
        /// `SENTINEL FAILOVER`.
        Manual = "manual",
    }
}

impl FailoverKind {
    /// The decision that such a failover is.
    pub fn decision(self) -> Decision {
        match self {
            FailoverKind::Automatic => Decision::Failover,
            FailoverKind::Manual => Decision::ManualFailover,
        }
    }
}

/// One decision, as a person can read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Record {
    /// Its number: each record of this sentinel has a higher one than those before, across restarts.
    pub id: u64,
    /// When what its steps tell began. Milliseconds since the Unix epoch, as the two that follow.
    #[schema(value_type = u64)]
    pub at: UnixMillis,
    /// When it was decided; of a repeated one: the last time.
    #[schema(value_type = u64)]
    pub last_at: UnixMillis,
    /// When it was decided for the first time.
    #[schema(value_type = u64)]
    pub first_at: UnixMillis,
    /// How often; all but the last time it was the same for the same reason.
    pub count: u32,
    /// About which master.
    #[schema(value_type = String)]
    pub master: MasterName,
    /// The epoch of the failover, the vote or the configuration; for the rest the current one.
    #[schema(value_type = u64)]
    pub epoch: Epoch,
    /// What was decided about.
    pub decision: Decision,
    /// What became of it.
    pub outcome: Outcome,
    /// Why not, where it was not done.
    pub reason: Option<Reason>,
    /// All of it in one sentence.
    pub summary: String,
    /// The address of the master at that time.
    pub from: String,
    /// The address that it has, or was to have, afterwards.
    pub to: Option<String>,
    /// What was seen and done, in order.
    pub steps: Steps,
    /// What the sentinels said and how they voted.
    pub votes: Option<Votes>,
    /// The replicas, the best first.
    pub candidates: Vec<Candidate>,
    /// How many replicas are left out there.
    pub candidates_left_out: u32,
    /// How long each phase took that is over.
    pub phases: Vec<PhaseTime>,
}

/// The steps of a record, bounded: what is left out is from the middle.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Steps {
    /// In order.
    pub list: Vec<Step>,
    /// How many are missing behind the first ones.
    pub left_out: u32,
}

/// Something that was seen or done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Step {
    /// How long after the beginning. Milliseconds.
    pub after_ms: u64,
    /// What.
    pub text: String,
}

/// What the sentinels of a master said of it, and how they voted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Votes {
    /// How many sentinels are known, this one included.
    pub known: u32,
    /// How many of them can be heard, this one included.
    pub reachable: u32,
    /// More than half of the known.
    pub majority: u32,
    /// How many must say that the master is down.
    pub quorum: u32,
    /// How many say so.
    pub say_down: u32,
    /// How many votes win: the greater one of majority and quorum.
    pub needed: u32,
    /// How many votes we have in the epoch of the record; 0 where we did not stand.
    pub for_us: u32,
    /// Each sentinel, this one first.
    pub voices: Vec<Voice>,
    /// How many sentinels are left out there.
    pub left_out: u32,
}

/// One sentinel, as it was seen when the decision fell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Voice {
    /// Its id.
    #[schema(value_type = String)]
    pub sentinel: SentinelId,
    /// Its address; empty for ourselves.
    pub addr: String,
    /// Whether it can be heard.
    pub presence: Presence,
    /// For how long it has been SDOWN here. Milliseconds.
    pub down_ms: Option<u64>,
    /// Whether it says that the master is down; `None`: it has not said anything that still counts.
    pub says_down: Option<bool>,
    /// How long before the decision it said so. Milliseconds.
    pub said_ms_ago: Option<u64>,
    /// For whom it voted.
    #[schema(value_type = Option<String>)]
    pub vote: Option<SentinelId>,
    /// In which epoch.
    #[schema(value_type = Option<u64>)]
    pub vote_epoch: Option<Epoch>,
}

/// A replica, as it was seen when one was chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Candidate {
    /// Its address.
    pub addr: String,
    /// Its fate.
    pub verdict: Verdict,
    /// What decided: the facts in words.
    pub why: String,
    /// Its `replica-priority`.
    pub priority: u32,
    /// Its replication offset.
    pub repl_offset: u64,
    /// Its run id; empty: unknown.
    pub run_id: String,
    /// How old its INFO was; `None`: it never answered. Milliseconds.
    pub info_age_ms: Option<u64>,
}

/// What became of a replica in the selection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It was the best.
    Chosen,
    /// The chosen one was better by this rule.
    Lost(Rule),
    /// It could not be chosen.
    Excluded(Exclusion),
    /// It could have been chosen; none was.
    Eligible,
}

/// How long a phase took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PhaseTime {
    /// Which.
    pub phase: Phase,
    /// Milliseconds.
    pub ms: u64,
}

impl Steps {
    /// Adds one; where there are too many, one from the middle goes.
    pub(super) fn push(&mut self, after_ms: u64, text: String) {
        if self.list.len() >= STEPS_MAX {
            self.list.remove(STEPS_HEAD);
            self.left_out = self.left_out.saturating_add(1);
        }
        let text = cut(text);
        self.list.push(Step { after_ms, text });
    }
}

impl Record {
    /// Whether `self` says again what `other` said. Repairs do not repeat each other: they may be of different
    /// instances.
    fn repeats(&self, other: &Record) -> bool {
        self.master == other.master
            && self.decision == other.decision
            && self.decision != Decision::Repair
            && self.outcome == other.outcome
            && self.reason == other.reason
            && self.reason.is_some()
    }

    /// How long it took, by its phases. Milliseconds.
    pub fn took_ms(&self) -> u64 {
        self.phases.iter().map(|phase| phase.ms).sum()
    }

    /// One line for the log: fields that programs can find, and the sentence.
    pub fn log_line(&self) -> String {
        use fmt::Write;
        let mut line = format!(
            "decision id={} master={} kind={} outcome={}",
            self.id, self.master, self.decision, self.outcome
        );
        if let Some(reason) = self.reason {
            let _ = write!(line, " reason={reason}");
        }
        let _ = write!(line, " epoch={}", self.epoch);
        if self.count > 1 {
            let _ = write!(line, " count={}", self.count);
        }
        for PhaseTime { phase, ms } in &self.phases {
            let _ = write!(line, " {phase}_ms={ms}");
        }
        if let Some(votes) = self.votes.as_ref().filter(|votes| votes.for_us > 0) {
            let _ = write!(line, " votes={} needed={}", votes.for_us, votes.needed);
        }
        let _ = write!(line, ": {}", self.summary);
        line
    }
}

/// Cuts a text to [`TEXT_BYTES_MAX`].
pub(super) fn cut(mut text: String) -> String {
    if text.len() > TEXT_BYTES_MAX {
        let mut end = TEXT_BYTES_MAX;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}

/// A length of time for people: `7 ms`, `12.3 s`, `5 min 12 s`, `2 h 3 min`.
pub fn span(time: Duration) -> String {
    let (ms, secs) = (millis(time), time.as_secs());
    match secs {
        0 => format!("{ms} ms"),
        1..60 => format!("{secs}.{} s", ms % 1000 / 100),
        60..3600 => format!("{} min {} s", secs / 60, secs % 60),
        3600.. => format!("{} h {} min", secs / 3600, secs % 3600 / 60),
    }
}

/// The records that are kept, in the order in which they were last touched. Holds nothing while nothing has happened.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    last_id: u64,
    records: VecDeque<Arc<Record>>,
    per_master: HashMap<MasterName, usize>,
}

impl Ledger {
    /// Keeps a new record, or counts it as a repetition of one that is kept. `id` and `count` of what is given do not
    /// matter.
    pub(super) fn add(&mut self, mut record: Record) -> Arc<Record> {
        if let Some(same) = self.find_same(&record) {
            let known = self.take(same);
            record.id = known.id;
            record.count = known.count.saturating_add(1);
            record.first_at = known.first_at;
        } else {
            self.last_id += 1;
            record.id = self.last_id;
            record.count = 1;
        }
        self.keep(Arc::new(record))
    }

    /// Replaces the record of the same id, which keeps its count; one that is no longer kept comes back.
    pub(super) fn replace(&mut self, mut record: Record) -> Arc<Record> {
        if let Some(index) = self.index_of(record.id) {
            let known = self.take(index);
            record.count = known.count;
            record.first_at = known.first_at;
        }
        self.keep(Arc::new(record))
    }

    pub(super) fn get(&self, id: u64) -> Option<&Arc<Record>> {
        self.index_of(id).map(|index| &self.records[index])
    }

    /// Those of one master, the newest first.
    pub(super) fn of<'a>(&'a self, master: &'a str) -> impl Iterator<Item = &'a Arc<Record>> {
        let is_its = move |record: &&Arc<Record>| record.master.as_str() == master;
        self.records.iter().rev().filter(is_its)
    }

    /// Goes on from what was kept before a restart, the oldest first; a later one of the same id wins.
    pub(super) fn restore(&mut self, records: Vec<Record>) {
        for record in records {
            self.last_id = self.last_id.max(record.id);
            if let Some(index) = self.index_of(record.id) {
                self.take(index);
            }
            self.keep(Arc::new(record));
        }
    }

    /// An earlier record that says the same, unless it is long ago or the master has moved since.
    fn find_same(&self, record: &Record) -> Option<usize> {
        let oldest = record.last_at.0.saturating_sub(millis(REPEATS_WITHIN));
        let indexed = self.records.iter().enumerate().rev();
        let mut recent = indexed
            .filter(|(_, known)| known.master == record.master)
            .take_while(|(_, known)| known.to.is_none() || known.outcome != Outcome::Done);
        let same = recent.find(|(_, known)| record.repeats(known) && known.last_at.0 >= oldest);
        same.map(|(index, _)| index)
    }

    fn index_of(&self, id: u64) -> Option<usize> {
        self.records.iter().rposition(|record| record.id == id)
    }

    fn take(&mut self, index: usize) -> Arc<Record> {
        let record = self.records.remove(index).expect("an index just found");
        if let Some(count) = self.per_master.get_mut(&record.master) {
            *count -= 1;
            if *count == 0 {
                self.per_master.remove(&record.master);
            }
        }
        record
    }

    fn keep(&mut self, record: Arc<Record>) -> Arc<Record> {
        let of_master = self.per_master.get(&record.master).copied();
        if of_master.is_some_and(|count| count >= RECORDS_PER_MASTER_MAX) {
            let oldest = (self.records.iter()).position(|known| known.master == record.master);
            if let Some(oldest) = oldest {
                self.take(oldest);
            }
        }
        if self.records.len() >= RECORDS_MAX {
            self.take(0);
        }
        *self.per_master.entry(record.master.clone()).or_default() += 1;
        self.records.push_back(Arc::clone(&record));
        record
    }
}

/// The upper bounds of [`Histogram`]'s buckets. Milliseconds.
pub const BUCKETS_MS: [u64; 15] = [
    1, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 180_000,
];

/// How long something took, in buckets that are not cumulative; what is longer than all of them is in `count` alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// How many fell into the bucket up to the bound of [`BUCKETS_MS`] at the same place.
    pub buckets: [u64; BUCKETS_MS.len()],
    /// How many in all.
    pub count: u64,
    /// All of them together. Milliseconds.
    pub sum_ms: u64,
}

impl Histogram {
    /// Counts one that took so many milliseconds.
    pub fn observe(&mut self, ms: u64) {
        if let Some(index) = BUCKETS_MS.iter().position(|bound| ms <= *bound) {
            self.buckets[index] += 1;
        }
        self.count += 1;
        self.sum_ms = self.sum_ms.saturating_add(ms);
    }
}

/// What failovers led here have come to since the start of the process. Bounded: every label is one of an enum.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FailoverStats {
    totals: BTreeMap<(FailoverKind, Outcome, Option<Reason>), u64>,
    phases: BTreeMap<Phase, Histogram>,
}

impl FailoverStats {
    pub(super) fn ended(&mut self, kind: FailoverKind, outcome: Outcome, reason: Option<Reason>) {
        *self.totals.entry((kind, outcome, reason)).or_default() += 1;
    }

    pub(super) fn observe(&mut self, PhaseTime { phase, ms }: PhaseTime) {
        self.phases.entry(phase).or_default().observe(ms);
    }

    /// How many ended how: who wanted it, [`Outcome::Done`] or [`Outcome::Aborted`], why, and how often.
    pub fn totals(
        &self,
    ) -> impl Iterator<Item = (FailoverKind, Outcome, Option<Reason>, u64)> + '_ {
        let totals = self.totals.iter();
        totals.map(|((kind, outcome, reason), count)| (*kind, *outcome, *reason, *count))
    }

    /// How long a phase took in failovers that were carried out.
    pub fn phase(&self, phase: Phase) -> Histogram {
        self.phases.get(&phase).copied().unwrap_or_default()
    }
}

#[cfg(test)]
impl Record {
    /// A decision to wait.
    pub(in crate::sentinel) fn waiting(master: &str, at: u64, reason: Option<Reason>) -> Record {
        let at = UnixMillis(at);
        Record {
            id: 0,
            at,
            last_at: at,
            first_at: at,
            count: 1,
            master: MasterName::from(master),
            epoch: Epoch(1),
            decision: Decision::Wait,
            outcome: Outcome::Declined,
            reason,
            summary: "s".to_owned(),
            from: "a:1".to_owned(),
            to: None,
            steps: Steps::default(),
            votes: None,
            candidates: Vec::new(),
            candidates_left_out: 0,
            phases: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ledger: &Ledger, master: &str) -> Vec<u64> {
        ledger.of(master).map(|record| record.id).collect()
    }

    #[test]
    fn what_repeats_is_counted_and_is_the_newest_again() {
        let mut ledger = Ledger::default();
        ledger.add(Record::waiting("m", 1_000, Some(Reason::NoMajority)));
        ledger.add(Record::waiting("m", 2_000, Some(Reason::TooSoon)));
        ledger.add(Record::waiting("other", 2_500, Some(Reason::NoMajority)));
        let again = ledger.add(Record::waiting("m", 3_000, Some(Reason::NoMajority)));
        assert_eq!((again.id, again.count), (1, 2));
        assert_eq!(
            (again.first_at, again.last_at),
            (UnixMillis(1_000), UnixMillis(3_000))
        );
        assert_eq!(ids(&ledger, "m"), [1, 2]);
    }

    #[test]
    fn what_was_before_a_switch_or_long_ago_is_not_the_same() {
        let mut ledger = Ledger::default();
        ledger.add(Record::waiting("m", 1_000, Some(Reason::NoMajority)));
        let mut switched = Record::waiting("m", 2_000, None);
        (switched.outcome, switched.to) = (Outcome::Done, Some("b:1".to_owned()));
        ledger.add(switched);
        ledger.add(Record::waiting("m", 3_000, Some(Reason::NoMajority)));
        let late = 3_001 + millis(REPEATS_WITHIN);
        ledger.add(Record::waiting("m", late, Some(Reason::NoMajority)));
        assert_eq!(ids(&ledger, "m"), [4, 3, 2, 1]);
    }

    #[test]
    fn repairs_of_different_instances_are_different_decisions() {
        let mut ledger = Ledger::default();
        for at in 1..=2 {
            let mut repair = Record::waiting("m", at, Some(Reason::ObserveOnly));
            repair.decision = Decision::Repair;
            ledger.add(repair);
        }
        assert_eq!(ids(&ledger, "m"), [2, 1]);
    }

    #[test]
    fn both_limits_hold_and_the_least_recent_go() {
        let mut ledger = Ledger::default();
        for n in 0..RECORDS_PER_MASTER_MAX as u64 + 3 {
            ledger.add(Record::waiting("m", n, None));
        }
        let kept = ids(&ledger, "m");
        assert_eq!(kept.len(), RECORDS_PER_MASTER_MAX);
        assert_eq!(kept.last(), Some(&4));
        for n in 0..RECORDS_MAX {
            ledger.add(Record::waiting(&format!("m{n}"), 1, None));
        }
        assert_eq!(ledger.records.len(), RECORDS_MAX);
        assert_eq!(ids(&ledger, "m"), [] as [u64; 0]);
        assert_eq!(ledger.per_master.len(), RECORDS_MAX);
    }

    #[test]
    fn after_a_restart_the_numbers_go_on_and_later_versions_win() {
        let mut ledger = Ledger::default();
        let mut old = Record::waiting("m", 1, None);
        old.id = 7;
        let mut new = old.clone();
        new.outcome = Outcome::Done;
        let mut other = Record::waiting("m", 1, None);
        other.id = 6;
        ledger.restore(vec![old, other, new]);
        assert_eq!(ids(&ledger, "m"), [7, 6]);
        assert_eq!(ledger.get(7).unwrap().outcome, Outcome::Done);
        assert_eq!(ledger.add(Record::waiting("m", 2, None)).id, 8);
    }

    #[test]
    fn steps_keep_the_beginning_and_the_end() {
        let mut steps = Steps::default();
        for n in 0..100 {
            steps.push(n, n.to_string());
        }
        assert_eq!(steps.list.len(), STEPS_MAX);
        assert_eq!(steps.left_out, 36);
        let times: Vec<u64> = steps.list.iter().map(|step| step.after_ms).collect();
        assert_eq!(times[STEPS_HEAD - 1..=STEPS_HEAD], [15, 52]);
        assert_eq!(times.last(), Some(&99));
    }

    #[test]
    fn spans_are_for_people() {
        let shown = [7, 12_345, 312_000, 7_380_000].map(|ms| span(Duration::from_millis(ms)));
        assert_eq!(shown, ["7 ms", "12.3 s", "5 min 12 s", "2 h 3 min"]);
    }

    #[test]
    fn a_histogram_has_a_place_for_everything() {
        let mut stats = FailoverStats::default();
        for ms in [0, 1, 2, 200_000] {
            let phase = Phase::Elect;
            stats.observe(PhaseTime { phase, ms });
        }
        let elect = stats.phase(Phase::Elect);
        assert_eq!(elect.buckets[..3], [2, 1, 0]);
        assert_eq!((elect.count, elect.sum_ms), (4, 200_003));
        assert_eq!(stats.phase(Phase::Detect), Histogram::default());
    }
}

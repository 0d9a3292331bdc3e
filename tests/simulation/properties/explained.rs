//! Every promotion has a record, kept before the promotion is sent: of the leader, with the votes that made it one and
//! the replica that it chose. Every ODOWN in which nothing was tried ends with a record that says why.
//!
//! Source: our own promise that what was decided can be read afterwards. Asked of our own sentinels only.

use std::collections::{BTreeMap, BTreeSet};

use sentinel::sentinel::core::{EventKind, Outcome, Record, Verdict};

use super::{Fact, Seen};
use crate::agenda::NodeId;

#[derive(Default)]
pub(super) struct Explained {
    ours: BTreeSet<NodeId>,
    /// The failover that a sentinel leads, as it is recorded.
    leads: BTreeMap<(NodeId, usize), Record>,
    /// Something was recorded since the master went SDOWN.
    recorded: BTreeSet<(NodeId, usize)>,
    /// How many decisions a sentinel has counted, and since when that many.
    counted: BTreeMap<(NodeId, usize), (u64, u64)>,
    /// Failovers that are under way, whoever wanted them.
    trying: BTreeSet<(NodeId, usize)>,
    /// ODOWNs in which nothing was tried yet.
    untried: BTreeSet<(NodeId, usize)>,
}

impl Explained {
    pub(super) fn observe(&mut self, seen: Seen<'_>, fact: &Fact<'_>) -> Result<(), String> {
        let who = seen.who;
        match fact {
            Fact::Started { .. } => {
                self.ours.insert(who);
            }
            Fact::Crashed => {
                self.leads.retain(|(node, _), _| *node != who);
                self.recorded.retain(|(node, _)| *node != who);
                self.untried.retain(|(node, _)| *node != who);
                self.trying.retain(|(node, _)| *node != who);
            }
            // A repeated decision is counted; only now and then is it told again.
            Fact::Counted { group, decisions } => {
                let key = (who, *group);
                if self.counted.get(&key).map(|(known, _)| known) != Some(decisions) {
                    self.counted.insert(key, (*decisions, seen.now));
                    self.recorded.insert(key);
                }
            }
            Fact::Recorded { group, record } => {
                let key = (who, *group);
                self.recorded.insert(key);
                if record.outcome == Outcome::Running {
                    self.leads.insert(key, Record::clone(record));
                } else if self
                    .leads
                    .get(&key)
                    .is_some_and(|known| known.id == record.id)
                {
                    self.leads.remove(&key);
                }
            }
            Fact::Promotes { group, .. } if self.ours.contains(&who) => {
                let Some(record) = self.leads.get(&(who, *group)) else {
                    return Err(format!(
                        "{} promotes in group {group} without a record",
                        seen.name
                    ));
                };
                names_its_votes(record).map_err(|why| {
                    format!(
                        "{} promotes in group {group}, and its record {why}: {record:?}",
                        seen.name
                    )
                })?;
            }
            // What is held back comes with its past, not with its present.
            Fact::Odown {
                group, held_ms: 0, ..
            } if !self.trying.contains(&(who, *group)) => {
                self.untried.insert((who, *group));
            }
            Fact::Try { group, .. } => {
                self.untried.remove(&(who, *group));
                self.trying.insert((who, *group));
            }
            Fact::Ended { group } => {
                self.trying.remove(&(who, *group));
            }
            Fact::Event {
                event,
                group: Some(group),
                held_ms: 0,
            } => {
                let key = (who, *group);
                let about_master = event.payload.starts_with("master ");
                // What the same turn decided is counted before the first of its events is told.
                let is_news = self
                    .counted
                    .get(&key)
                    .is_some_and(|(_, since)| *since == seen.now);
                match event.kind {
                    EventKind::Sdown
                        if about_master && !is_news && !self.untried.contains(&key) =>
                    {
                        self.recorded.remove(&key);
                    }
                    EventKind::OdownCleared
                    | EventKind::SwitchMaster
                    | EventKind::ResetMaster
                    | EventKind::Unmonitor => {
                        let was_untried = self.untried.remove(&key);
                        if was_untried && !self.recorded.contains(&key) {
                            return Err(format!(
                                "{} says nothing of why group {group} was ODOWN without a failover",
                                seen.name
                            ));
                        }
                    }
                    _ => {}
                }
            }
            // Its events are told later than what they are about.
            Fact::Event {
                group: Some(group), ..
            } => {
                self.untried.remove(&(who, *group));
            }
            _ => {}
        }
        Ok(())
    }
}

fn names_its_votes(record: &Record) -> Result<(), &'static str> {
    let votes = record.votes.as_ref().ok_or("has no votes")?;
    if votes.for_us < votes.majority || votes.for_us < votes.quorum {
        return Err("has too few votes");
    }
    if votes.majority != votes.known / 2 + 1 || votes.known as usize != votes.voices.len() {
        return Err("does not name all sentinels");
    }
    let us = votes.voices.first().map(|voice| &voice.sentinel);
    let named = votes.voices.iter();
    let named =
        named.filter(|voice| voice.vote.as_ref() == us && voice.vote_epoch == Some(record.epoch));
    if named.count() != votes.for_us as usize {
        return Err("does not name who voted");
    }
    let chosen = record.candidates.first();
    let is_chosen = chosen.is_some_and(|best| {
        best.verdict == Verdict::Chosen && record.to.as_ref() == Some(&best.addr)
    });
    is_chosen
        .then_some(())
        .ok_or("does not name the chosen replica first")
}

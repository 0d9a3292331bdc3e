//! Who has confirmed a pause neither asks for votes nor votes nor promotes, but on an operator's order.
//!
//! Source: what `SENTINEL PAUSE` promises. A pause counts here from its confirmation, and over restarts,
//! until the sentinel says that it has ended.

use std::collections::{BTreeMap, BTreeSet};

use sentinel::ids::{Epoch, SentinelId};

use super::causes::Causes;
use super::{Fact, Seen};
use crate::agenda::NodeId;

#[derive(Default)]
pub(super) struct Pauses {
    paused: BTreeSet<(NodeId, usize)>,
    causes: Causes,
    /// The candidacies that belong to failovers that were ordered.
    candidacies: BTreeSet<(usize, Epoch, SentinelId)>,
    /// Votes that were taken. Who asks is told of them, in a pause too.
    taken: BTreeSet<(NodeId, usize, Epoch, SentinelId)>,
    ids: BTreeMap<NodeId, SentinelId>,
}

impl Pauses {
    pub(super) fn observe(&mut self, seen: Seen<'_>, fact: &Fact<'_>) -> Result<(), String> {
        let who = seen.who;
        self.causes.observe(who, fact);
        match fact {
            Fact::Crashed => {
                self.paused.retain(|(node, _)| *node != who);
            }
            Fact::Started { core, .. } => {
                self.ids.insert(who, core.id().clone());
            }
            Fact::Paused { group } => {
                self.paused.insert((who, *group));
            }
            Fact::Unpaused { group } => {
                self.paused.remove(&(who, *group));
            }
            Fact::Candidacy {
                group,
                candidate,
                epoch,
                ..
            } => {
                if self.causes.is_ordered(who, *group) {
                    let candidacy = (*group, *epoch, (*candidate).clone());
                    self.candidacies.insert(candidacy);
                } else if self.paused.contains(&(who, *group)) {
                    return Err(format!(
                        "{} is paused and asks for votes about group {group} in epoch {epoch}",
                        seen.name
                    ));
                }
            }
            Fact::VoteTaken {
                group,
                leader,
                epoch,
            } => {
                self.vote(seen, *group, leader, *epoch)?;
                self.taken.insert((who, *group, *epoch, (*leader).clone()));
            }
            Fact::Vote {
                group,
                leader,
                epoch,
                ..
            } if !self
                .taken
                .contains(&(who, *group, *epoch, (*leader).clone())) =>
            {
                self.vote(seen, *group, leader, *epoch)?;
            }
            Fact::Promotes { group, .. }
                if self.paused.contains(&(who, *group)) && !self.causes.is_ordered(who, *group) =>
            {
                return Err(format!(
                    "{} is paused and promotes in group {group}",
                    seen.name
                ));
            }
            _ => {}
        }
        Ok(())
    }

    /// A vote that is none of before the pause.
    fn vote(
        &self,
        seen: Seen<'_>,
        group: usize,
        leader: &SentinelId,
        epoch: Epoch,
    ) -> Result<(), String> {
        let is_own = self.ids.get(&seen.who) == Some(leader);
        let candidacy = (group, epoch, leader.clone());
        if self.paused.contains(&(seen.who, group))
            && !is_own
            && !self.candidacies.contains(&candidacy)
        {
            return Err(format!(
                "{} is paused and votes for {leader} about group {group} in epoch {epoch}",
                seen.name
            ));
        }
        Ok(())
    }
}

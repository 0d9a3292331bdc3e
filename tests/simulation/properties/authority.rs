//! No failover without quorum, none without a majority.
//!
//! Source: redis-sentinel starts a failover on ODOWN, which `quorum` sentinels must agree on within the
//! last 5 s, and leads it with the votes of `quorum` sentinels and of more than half of all that it
//! knows, those that are down included. An operator's order
//! takes the place of ODOWN, not of the votes.

use std::collections::{BTreeMap, BTreeSet};

use sentinel::ids::{Epoch, SentinelId};

use super::causes::Causes;
use super::{Fact, Seen};
use crate::agenda::NodeId;

/// Opinions count for 5 s; the rest is for the moment between two looks.
const OPINION_MS: u64 = 5_000 + 1_100;

/// After a stall of so long nothing counts that was said before its end.
const STALL_FORGETS_MS: u64 = 500;

#[derive(Default)]
pub(super) struct Authority {
    /// Who has voted for whom.
    votes: BTreeMap<(usize, Epoch, SentinelId), BTreeSet<NodeId>>,
    /// The newest opinion that each sentinel has heard from each other, and when.
    opinions: BTreeMap<(NodeId, usize, NodeId), (bool, u64)>,
    /// When it last heard "down".
    downs: BTreeMap<(NodeId, usize, NodeId), u64>,
    causes: Causes,
    elected: BTreeSet<(NodeId, usize)>,
    /// Who has woken from a stall that makes all that peers said too old, and still reads what had
    /// queued up meanwhile.
    waking: BTreeSet<NodeId>,
}

impl Authority {
    pub(super) fn observe(&mut self, seen: Seen<'_>, fact: &Fact<'_>) -> Result<(), String> {
        let who = seen.who;
        self.causes.observe(who, fact);
        match fact {
            Fact::Crashed => {
                self.elected.retain(|(node, _)| *node != who);
                self.waking.remove(&who);
            }
            Fact::StallEnds { late_ms, .. } if *late_ms >= STALL_FORGETS_MS => {
                self.opinions.retain(|(node, _, _), _| *node != who);
                self.waking.insert(who);
            }
            Fact::StallOver => {
                self.waking.remove(&who);
            }
            Fact::Opinion { .. } if self.waking.contains(&who) => {}
            Fact::Vote {
                group,
                leader,
                epoch,
                ..
            } => {
                let key = (*group, *epoch, (*leader).clone());
                self.votes.entry(key).or_default().insert(who);
            }
            Fact::Opinion { group, from, down } => {
                if *down {
                    self.downs.insert((who, *group, *from), seen.now);
                }
                self.opinions
                    .insert((who, *group, *from), (*down, seen.now));
            }
            Fact::Odown {
                group,
                quorum,
                held_ms,
            } => {
                return self.check_quorum(seen, *group, *quorum, *held_ms);
            }
            Fact::Try { group, .. }
                if !self.causes.is_running(who, *group) && !self.causes.is_odown(who, *group) =>
            {
                return Err(format!(
                    "{} starts a failover of group {group} without quorum or order",
                    seen.name
                ));
            }
            Fact::Ended { group } => {
                self.elected.remove(&(who, *group));
            }
            Fact::Elected {
                group,
                id,
                epoch,
                voters,
                quorum,
                ..
            } => {
                self.elected.insert((who, *group));
                let key = (*group, *epoch, (*id).clone());
                let given = self.votes.get(&key).map_or(0, BTreeSet::len);
                let needed = (voters / 2 + 1).max(*quorum as usize);
                if given < needed {
                    return Err(format!(
                        "{} leads group {group} in epoch {epoch} with {given} votes of {voters}, \
                         quorum {quorum}",
                        seen.name
                    ));
                }
            }
            Fact::Promotes { group, .. } if !self.elected.contains(&(who, *group)) => {
                return Err(format!(
                    "{} promotes in group {group} without a majority",
                    seen.name
                ));
            }
            _ => {}
        }
        Ok(())
    }

    fn check_quorum(
        &self,
        seen: Seen<'_>,
        group: usize,
        quorum: u32,
        held_ms: u64,
    ) -> Result<(), String> {
        let peers = (seen.who, group, 0)..=(seen.who, group, NodeId::MAX);
        let is_fresh = |at: u64| at + OPINION_MS + held_ms >= seen.now;
        // An event that was held back speaks of an earlier moment: any "down" since then may be meant.
        let agree = if held_ms > 0 {
            let downs = self.downs.range(peers);
            downs.filter(|(_, at)| is_fresh(**at)).count()
        } else {
            let opinions = self.opinions.range(peers);
            opinions
                .filter(|(_, (down, at))| *down && is_fresh(*at))
                .count()
        };
        if agree + 1 >= quorum as usize {
            return Ok(());
        }
        Err(format!(
            "{} calls the master of group {group} objectively down with {} of {quorum} opinions",
            seen.name,
            agree + 1
        ))
    }
}

//! Why failovers start: an operator's order, or ODOWN. No property of its own, three properties ask.

use std::collections::{BTreeMap, BTreeSet};

use sentinel::sentinel::core::EventKind;

use super::Fact;
use crate::agenda::NodeId;

#[derive(Default)]
pub(super) struct Causes {
    /// How many orders have not been seen to start anything. There may be several: what starts is told only when
    /// the epoch is on a slow disk, and the first may have been called off by then.
    waiting: BTreeMap<(NodeId, usize), usize>,
    running: BTreeSet<(NodeId, usize)>,
    odown: BTreeSet<(NodeId, usize)>,
}

impl Causes {
    pub(super) fn observe(&mut self, who: NodeId, fact: &Fact<'_>) {
        match fact {
            Fact::Crashed => {
                self.waiting.retain(|(node, _), _| *node != who);
                self.running.retain(|(node, _)| *node != who);
                self.odown.retain(|(node, _)| *node != who);
            }
            Fact::Ordered { group } => *self.waiting.entry((who, *group)).or_default() += 1,
            Fact::Odown { group, .. } => {
                self.odown.insert((who, *group));
            }
            Fact::Event {
                event,
                group: Some(group),
                ..
            } if matches!(
                event.kind,
                EventKind::OdownCleared | EventKind::SwitchMaster | EventKind::ResetMaster
            ) =>
            {
                self.odown.remove(&(who, *group));
            }
            Fact::Try { group, held_ms } => {
                let key = (who, *group);
                self.running.remove(&key);
                if let Some(waiting) = self.waiting.get_mut(&key).filter(|waiting| **waiting > 0) {
                    // Of what was held back, with both causes it may be either, and the one that was ordered may be
                    // still to come.
                    let may_be_either = *held_ms > 0 && self.odown.contains(&key);
                    *waiting -= usize::from(!may_be_either);
                    self.running.insert(key);
                }
            }
            Fact::Ended { group } => {
                self.running.remove(&(who, *group));
            }
            _ => {}
        }
    }

    /// The failover that started last may be one that was ordered, and has not ended.
    pub(super) fn is_running(&self, who: NodeId, group: usize) -> bool {
        self.running.contains(&(who, group))
    }

    /// One was ordered and has not ended, whether it has started or not.
    pub(super) fn is_ordered(&self, who: NodeId, group: usize) -> bool {
        let waiting = self.waiting.get(&(who, group));
        self.is_running(who, group) || waiting.is_some_and(|waiting| *waiting > 0)
    }

    pub(super) fn is_odown(&self, who: NodeId, group: usize) -> bool {
        self.odown.contains(&(who, group))
    }
}

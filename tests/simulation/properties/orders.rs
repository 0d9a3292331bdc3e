//! Which failovers an operator ordered: no property of its own, three properties ask.

use std::collections::{BTreeMap, BTreeSet};

use super::Fact;
use crate::agenda::NodeId;

#[derive(Default)]
pub(super) struct Orders {
    /// How many have not been seen to start. There may be several: what starts is told only when the epoch
    /// is on a slow disk, and the first may have been called off by then.
    waiting: BTreeMap<(NodeId, usize), usize>,
    running: BTreeSet<(NodeId, usize)>,
}

impl Orders {
    pub(super) fn observe(&mut self, who: NodeId, fact: &Fact<'_>) {
        match fact {
            Fact::Crashed => {
                self.waiting.retain(|(node, _), _| *node != who);
                self.running.retain(|(node, _)| *node != who);
            }
            Fact::Ordered { group } => *self.waiting.entry((who, *group)).or_default() += 1,
            Fact::Try { group } => {
                let key = (who, *group);
                self.running.remove(&key);
                if let Some(waiting) = self.waiting.get_mut(&key).filter(|waiting| **waiting > 0) {
                    *waiting -= 1;
                    self.running.insert(key);
                }
            }
            Fact::Ended { group } => {
                self.running.remove(&(who, *group));
            }
            _ => {}
        }
    }

    /// The failover that started last was ordered, and has not ended.
    pub(super) fn is_running(&self, who: NodeId, group: usize) -> bool {
        self.running.contains(&(who, group))
    }

    /// One was ordered and has not ended, whether it has started or not.
    pub(super) fn is_open(&self, who: NodeId, group: usize) -> bool {
        let waiting = self.waiting.get(&(who, group));
        self.is_running(who, group) || waiting.is_some_and(|waiting| *waiting > 0)
    }
}

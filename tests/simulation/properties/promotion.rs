//! A replica is promoted only by the elected leader, and one election promotes at most one replica.
//!
//! Source: `SLAVEOF NO ONE` is the step of a failover that cannot be taken back.

use std::collections::BTreeMap;

use sentinel::ids::Epoch;

use super::{Fact, Seen};
use crate::agenda::NodeId;

#[derive(Default)]
pub(super) struct Promotion {
    /// The election that a sentinel has won and that is not over.
    leads: BTreeMap<(NodeId, usize), Epoch>,
    /// Whom it promoted.
    promoted: BTreeMap<(usize, Epoch), NodeId>,
}

impl Promotion {
    pub(super) fn observe(&mut self, seen: Seen<'_>, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Elected { group, epoch, .. } => {
                self.leads.insert((seen.who, *group), *epoch);
            }
            Fact::Ended { group } => {
                self.leads.remove(&(seen.who, *group));
            }
            Fact::Crashed => self.leads.retain(|(node, _), _| *node != seen.who),
            Fact::Promotes { group, server, .. } => {
                let Some(epoch) = self.leads.get(&(seen.who, *group)) else {
                    return Err(format!(
                        "{} promotes node {server} in group {group} and does not lead",
                        seen.name
                    ));
                };
                let first = *self.promoted.entry((*group, *epoch)).or_insert(*server);
                if first != *server {
                    return Err(format!(
                        "{} promotes nodes {first} and {server} in group {group}, epoch {epoch}",
                        seen.name
                    ));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

//! Epochs never go back: neither in a running process nor over a restart, as far as anyone was told.
//!
//! Source: a config epoch that goes back undoes a failover; a current epoch that goes back asks for
//! votes that were given already.

use std::collections::BTreeMap;

use sentinel::ids::Epoch;
use sentinel::sentinel::core::Durable;

use super::{Fact, Seen};
use crate::agenda::NodeId;

#[derive(Default)]
pub(super) struct Epochs {
    /// In the running process.
    current: BTreeMap<NodeId, Epoch>,
    /// Config epoch and leader epoch per master of the running process.
    masters: BTreeMap<(NodeId, String), (Epoch, Epoch)>,
    /// The highest config epoch that was said in hellos, across restarts.
    said: BTreeMap<(NodeId, usize), Epoch>,
    /// The highest epoch in which it was a candidate, across restarts.
    stood: BTreeMap<(NodeId, usize), Epoch>,
}

impl Epochs {
    pub(super) fn observe(&mut self, seen: Seen<'_>, fact: &Fact<'_>) -> Result<(), String> {
        let who = seen.who;
        match fact {
            Fact::Started { durable, core } => {
                self.current.insert(who, core.current_epoch());
                self.masters.retain(|(node, _), _| *node != who);
                self.check_masters(seen, durable)
            }
            Fact::Handled { core } => {
                let now = core.current_epoch();
                let before = self.current.insert(who, now).unwrap_or_default();
                at_least(seen, "current epoch", before, now)
            }
            Fact::Changed { durable } => self.check_masters(seen, durable),
            Fact::Hello {
                group,
                config_epoch,
                disk,
                ..
            } => {
                // redis-sentinel does not write an epoch that it takes over for the address that it knows already.
                let Some(disk) = disk else {
                    return Ok(());
                };
                // What could not be written is forgotten by a crash, and others remember it.
                if disk.is_behind(*config_epoch) {
                    return Ok(());
                }
                let before = self
                    .said
                    .insert((who, *group), *config_epoch)
                    .unwrap_or_default();
                at_least(seen, "config epoch in hellos", before, *config_epoch)
            }
            Fact::Candidacy { group, epoch, .. } => {
                let before = self.stood.insert((who, *group), *epoch).unwrap_or_default();
                at_least(seen, "epoch of candidacies", before, *epoch)
            }
            _ => Ok(()),
        }
    }

    fn check_masters(&mut self, seen: Seen<'_>, durable: &Durable) -> Result<(), String> {
        for master in &durable.masters {
            let name = master.name.as_str();
            let now = (master.config_epoch, master.leader_epoch);
            let before = self
                .masters
                .insert((seen.who, name.to_owned()), now)
                .unwrap_or_default();
            at_least(seen, "config epoch", before.0, now.0)?;
            at_least(seen, "leader epoch", before.1, now.1)?;
        }
        Ok(())
    }
}

fn at_least(seen: Seen<'_>, what: &str, before: Epoch, now: Epoch) -> Result<(), String> {
    if now >= before {
        return Ok(());
    }
    Err(format!(
        "{}: {what} went back from {before} to {now}",
        seen.name
    ))
}

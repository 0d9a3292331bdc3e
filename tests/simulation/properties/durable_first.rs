//! Nothing is said before it is durable: a vote, a candidacy, a new configuration.
//!
//! Source: a sentinel that votes, crashes, forgets and votes again elects two leaders. What counts as
//! durable is what the core was told by `Persisted`, not what happens to be on the disk.

use std::collections::BTreeMap;

use sentinel::ids::Epoch;

use super::{Disk, Fact, Seen};
use crate::agenda::NodeId;

#[derive(Default)]
pub(super) struct DurableFirst {
    /// The configurations that each sentinel has had: by master and config epoch, host and port.
    configurations: BTreeMap<(NodeId, String, Epoch), String>,
}

impl DurableFirst {
    pub(super) fn observe(&mut self, seen: Seen<'_>, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Vote {
                epoch,
                disk: Some(disk),
                ..
            } => vote_is_on_disk(seen, "a vote", *epoch, *disk),
            Fact::Candidacy {
                epoch,
                disk: Some(disk),
                ..
            } => vote_is_on_disk(seen, "a candidacy", *epoch, *disk),
            Fact::Hello {
                config_epoch,
                disk: Some(disk),
                ..
            } => {
                let on_disk = disk.config_epoch();
                if on_disk >= *config_epoch {
                    return Ok(());
                }
                Err(format!(
                    "{} says configuration {config_epoch} of {} while {on_disk} is on its disk",
                    seen.name, disk.master
                ))
            }
            Fact::Elected {
                epoch,
                disk: Some(disk),
                ..
            } => vote_is_on_disk(seen, "a victory", *epoch, *disk),
            Fact::Changed { durable } => {
                for master in &durable.masters {
                    let key = (seen.who, master.name.to_string(), master.config_epoch);
                    let addr = format!(" {} {}", master.host, master.port);
                    self.configurations.insert(key, addr);
                }
                Ok(())
            }
            Fact::Switched { payload, disk } => self.switch_is_on_disk(seen, payload, *disk),
            _ => Ok(()),
        }
    }

    /// The switch belongs to the configuration on the disk or to an earlier one.
    fn switch_is_on_disk(
        &self,
        seen: Seen<'_>,
        payload: &str,
        disk: Disk<'_>,
    ) -> Result<(), String> {
        let key = |epoch| (seen.who, disk.master.to_owned(), epoch);
        let written = disk.config_epoch();
        let mut known = self.configurations.range(key(Epoch(0))..=key(written));
        if known.any(|(_, addr)| payload.ends_with(addr)) {
            return Ok(());
        }
        Err(format!(
            "{} publishes +switch-master {payload} while configuration {written} is on its disk",
            seen.name
        ))
    }
}

fn vote_is_on_disk(seen: Seen<'_>, what: &str, epoch: Epoch, disk: Disk<'_>) -> Result<(), String> {
    let leader_epoch = disk.leader_epoch();
    let current = disk.durable.current_epoch;
    if leader_epoch >= epoch && current >= epoch {
        return Ok(());
    }
    Err(format!(
        "{} says {what} in epoch {epoch} about {} while its disk holds leader epoch \
         {leader_epoch} and current epoch {current}",
        seen.name, disk.master
    ))
}

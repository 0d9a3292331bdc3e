//! Nothing is said before it is durable: a vote, a candidacy, a new configuration.
//!
//! Source: a sentinel that votes, crashes, forgets and votes again elects two leaders. What counts as
//! durable is what the core was told by `Persisted`, not what happens to be on the disk.

use super::{Disk, Fact, Seen};
use sentinel::ids::Epoch;

#[derive(Default)]
pub(super) struct DurableFirst;

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
                let (_, on_disk) = disk.epochs();
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
            Fact::Switched { payload, disk } => switch_is_on_disk(seen, payload, *disk),
            _ => Ok(()),
        }
    }
}

fn switch_is_on_disk(seen: Seen<'_>, payload: &str, disk: Disk<'_>) -> Result<(), String> {
    let known = disk
        .durable
        .masters
        .iter()
        .find(|known| known.name.as_str() == disk.master);
    let on_disk = known.map_or(String::new(), |known| format!("{} {}", known.host, known.port));
    if payload.ends_with(&on_disk) && known.is_some() {
        return Ok(());
    }
    Err(format!(
        "{} publishes +switch-master {payload} while {on_disk} is on its disk",
        seen.name
    ))
}

fn vote_is_on_disk(seen: Seen<'_>, what: &str, epoch: Epoch, disk: Disk<'_>) -> Result<(), String> {
    let (leader_epoch, _) = disk.epochs();
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

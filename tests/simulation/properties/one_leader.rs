//! At most one leader per master and epoch.
//!
//! Source: Raft's election safety, which the sentinels' vote rule (one vote per master and epoch, a
//! majority of all known sentinels) is meant to give.

use std::collections::BTreeMap;

use sentinel::ids::{Epoch, SentinelId};

use super::{Fact, Seen};

#[derive(Default)]
pub(super) struct OneLeader {
    leaders: BTreeMap<(usize, Epoch), (SentinelId, String)>,
}

impl OneLeader {
    pub(super) fn observe(&mut self, seen: Seen<'_>, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::Elected {
            group, id, epoch, ..
        } = fact
        else {
            return Ok(());
        };
        let (first, name) = self
            .leaders
            .entry((*group, *epoch))
            .or_insert_with(|| ((*id).clone(), seen.name.to_owned()));
        if first == *id {
            return Ok(());
        }
        Err(format!(
            "group {group} epoch {epoch} won by {name} and by {}",
            seen.name
        ))
    }
}

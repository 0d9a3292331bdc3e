//! One vote per sentinel, master and epoch, across crashes.
//!
//! Source: the vote rule of redis-sentinel ("first come first served, never changed"); the leader
//! epoch is written before the vote is sent so that a restart cannot vote again.

use std::collections::BTreeMap;

use sentinel::ids::{Epoch, SentinelId};

use super::{Fact, Seen};
use crate::agenda::NodeId;

#[derive(Default)]
pub(super) struct OneVote {
    votes: BTreeMap<(NodeId, usize, Epoch), SentinelId>,
}

impl OneVote {
    pub(super) fn observe(&mut self, seen: Seen<'_>, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::Vote {
            group,
            leader,
            epoch,
            ..
        } = fact
        else {
            return Ok(());
        };
        let first = self
            .votes
            .entry((seen.who, *group, *epoch))
            .or_insert_with(|| (*leader).clone());
        if first == *leader {
            return Ok(());
        }
        Err(format!(
            "{} voted twice about group {group} in epoch {epoch}: for {first} and for {leader}",
            seen.name
        ))
    }
}

//! One address per master and configuration epoch: whoever says an epoch means the same master by it.
//!
//! Source: the hello rule "only a strictly higher config epoch changes the master": two addresses under
//! one epoch would never converge. Epoch 0 is what operators wrote and may differ.
//!
//! A redis-sentinel that still points replicas at the one it promoted compares a newer configuration with the
//! address before its failover. Where that names the old master again, it takes the epoch and keeps its own
//! promotion (seed 1795859839251018): that is excused, for a redis-sentinel that goes on saying what it said.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use sentinel::ids::Epoch;

use super::{Fact, Seen};
use crate::agenda::NodeId;

#[derive(Default)]
pub(super) struct OneConfiguration {
    said: BTreeMap<(usize, Epoch), (SocketAddr, String)>,
    ours: BTreeSet<NodeId>,
    /// That was excused; such a set never agrees again.
    pub(super) is_split: bool,
    /// What each sentinel said last.
    last: BTreeMap<(NodeId, usize), SocketAddr>,
}

impl OneConfiguration {
    pub(super) fn observe(&mut self, seen: Seen<'_>, fact: &Fact<'_>) -> Result<(), String> {
        if matches!(fact, Fact::Started { .. }) {
            self.ours.insert(seen.who);
        }
        let Fact::Hello {
            group,
            addr,
            config_epoch,
            ..
        } = fact
        else {
            return Ok(());
        };
        if *config_epoch == Epoch(0) {
            return Ok(());
        }
        let (first, by) = self
            .said
            .entry((*group, *config_epoch))
            .or_insert_with(|| (*addr, seen.name.to_owned()));
        let goes_on = self.last.insert((seen.who, *group), *addr) == Some(*addr);
        let is_excused = goes_on && !self.ours.contains(&seen.who);
        if first != addr && is_excused {
            self.is_split = true;
        }
        if first == addr || is_excused {
            return Ok(());
        }
        Err(format!(
            "configuration {config_epoch} of group {group} is {first} for {by} and {addr} for {}",
            seen.name
        ))
    }
}

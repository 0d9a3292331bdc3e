//! A master that is back keeps its place: nothing is promoted when the leader itself no longer calls
//! the master down and fewer than a quorum have said so within the last second.
//!
//! Source: weakness W4 of redis-sentinel, which goes on with a failover once it has started one. Asked
//! of our own sentinels only, and not of failovers that an operator ordered. A second is one of the leader's own
//! time, which leaves out what it stood still for (seed 1795871000000684).

use std::collections::{BTreeMap, BTreeSet};

use sentinel::sentinel::core::EventKind;

use super::causes::Causes;
use super::{Fact, Seen};
use crate::agenda::NodeId;

/// An opinion is fresh for so long; the rest is for the moment between two looks. Milliseconds.
const FRESH_MS: u64 = 1_000 + 100;

#[derive(Default)]
pub(super) struct Needless {
    sdown: BTreeSet<(NodeId, usize)>,
    causes: Causes,
    quorum: BTreeMap<(NodeId, usize), usize>,
    opinions: BTreeMap<(NodeId, usize, NodeId), (bool, u64)>,
}

impl Needless {
    pub(super) fn observe(&mut self, seen: Seen<'_>, fact: &Fact<'_>) -> Result<(), String> {
        let who = seen.who;
        self.causes.observe(who, fact);
        match fact {
            Fact::Crashed => {
                self.sdown.retain(|(node, _)| *node != who);
                self.quorum.retain(|(node, _), _| *node != who);
            }
            // While a process stands still no time passes for it.
            Fact::StallEnds { late_ms, .. } => {
                for ((node, _, _), (_, at)) in &mut self.opinions {
                    if *node == who {
                        *at += late_ms;
                    }
                }
            }
            Fact::Odown { group, quorum, .. } => {
                self.quorum.insert((who, *group), *quorum as usize);
            }
            Fact::Opinion { group, from, down } => {
                self.opinions
                    .insert((who, *group, *from), (*down, seen.now));
            }
            Fact::Event {
                event,
                group: Some(group),
                ..
            } => {
                let key = (who, *group);
                let about_master = event.payload.starts_with("master ");
                match event.kind {
                    EventKind::Sdown if about_master => {
                        self.sdown.insert(key);
                    }
                    EventKind::SdownCleared if about_master => {
                        self.sdown.remove(&key);
                    }
                    EventKind::SwitchMaster | EventKind::ResetMaster => {
                        self.sdown.remove(&key);
                    }
                    _ => {}
                }
            }
            Fact::Promotes {
                group,
                server,
                is_silent: false,
            } => {
                // A redis-sentinel tells no quorum here.
                let key = (who, *group);
                let is_down = self.sdown.contains(&key) || self.causes.is_running(who, *group);
                let Some(quorum) = self.quorum.get(&key).filter(|_| !is_down) else {
                    return Ok(());
                };
                let fresh = self.fresh_opinions(seen, *group);
                if fresh < *quorum {
                    return Err(format!(
                        "{} promotes node {server}: it does not call the master of group {group} \
                         down any more, and {fresh} of {quorum} fresh opinions do",
                        seen.name
                    ));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn fresh_opinions(&self, seen: Seen<'_>, group: usize) -> usize {
        self.opinions
            .range((seen.who, group, 0)..=(seen.who, group, NodeId::MAX))
            .filter(|(_, (down, at))| *down && at + FRESH_MS >= seen.now)
            .count()
    }
}

//! No timer beats queued input after a stall: an instance whose answer to a PING lay in the socket is
//! not called down by the same wake-up.
//!
//! Source: redis-sentinel reads its sockets before its timer runs, but judges by clocks that ran on
//! while it was stopped.

use std::collections::BTreeMap;

use sentinel::sentinel::core::EventKind;

use super::{Fact, Seen};
use crate::agenda::NodeId;

#[derive(Default)]
pub(super) struct Stall {
    /// Who is waking up, and whose answers lay in its sockets: host and port.
    waking: BTreeMap<NodeId, Vec<(String, String)>>,
}

impl Stall {
    pub(super) fn observe(&mut self, seen: Seen<'_>, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::StallEnds { answered, .. } => {
                self.waking.insert(seen.who, answered.clone());
            }
            Fact::StallOver | Fact::Crashed => {
                self.waking.remove(&seen.who);
            }
            // What was held back through the stall was decided before it.
            Fact::Event {
                event, held_ms: 0, ..
            } if event.kind == EventKind::Sdown => {
                let Some(answered) = self.waking.get(&seen.who) else {
                    return Ok(());
                };
                let mut words = event.payload.split(' ').skip(2);
                let (host, port) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
                if answered.iter().any(|(h, p)| h == host && p == port) {
                    return Err(format!(
                        "{} woke up and called {host}:{port} down although its PONG had arrived",
                        seen.name
                    ));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

//! A restarted sentinel knows again what its file held: its id, epochs, masters, replicas and peers.
//!
//! Source: redis-sentinel's state file; a majority is one of all *known* sentinels, so a forgotten peer
//! is a smaller majority.

use std::sync::Arc;

use sentinel::sentinel::core::PausedUntil;

use super::{Fact, Seen};

#[derive(Default)]
pub(super) struct Remembers;

impl Remembers {
    #[expect(
        clippy::unused_self,
        reason = "every property is called in the same way"
    )]
    pub(super) fn observe(&mut self, seen: Seen<'_>, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::Started { durable, core } = fact else {
            return Ok(());
        };
        let mut now = core.durable();
        if durable.id.is_none() {
            now.id = None;
        }
        // What is configured but not kept in the file is given to the core by whoever starts it. A pause
        // may have come to its end meanwhile.
        let mut held = (*durable).clone();
        for (held, now) in held.masters.iter_mut().zip(&now.masters) {
            let has_end = matches!(held.paused, Some(PausedUntil::At(_)));
            if has_end && now.paused.is_none() {
                Arc::make_mut(held).paused = None;
            }
        }
        if now == held {
            return Ok(());
        }
        Err(format!(
            "{} started with {durable:?} and knows {now:?}",
            seen.name
        ))
    }
}

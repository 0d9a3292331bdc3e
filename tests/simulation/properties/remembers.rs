//! A restarted sentinel knows again what its file held: its id, epochs, masters, replicas and peers.
//!
//! Source: redis-sentinel's state file; a majority is one of all *known* sentinels, so a forgotten peer
//! is a smaller majority.

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
        // What is configured but not kept in the file is given to the core by whoever starts it.
        if now == **durable {
            return Ok(());
        }
        Err(format!(
            "{} started with {durable:?} and knows {now:?}",
            seen.name
        ))
    }
}

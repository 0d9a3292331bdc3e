//! One address per master and configuration epoch: whoever says an epoch means the same master by it.
//!
//! Source: the hello rule "only a strictly higher config epoch changes the master": two addresses under
//! one epoch would never converge. Epoch 0 is what operators wrote and may differ.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use sentinel::ids::Epoch;

use super::{Fact, Seen};

#[derive(Default)]
pub(super) struct OneConfiguration {
    said: BTreeMap<(usize, Epoch), (SocketAddr, String)>,
}

impl OneConfiguration {
    pub(super) fn observe(&mut self, seen: Seen<'_>, fact: &Fact<'_>) -> Result<(), String> {
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
        if first == addr {
            return Ok(());
        }
        Err(format!(
            "configuration {config_epoch} of group {group} is {first} for {by} and {addr} for {}",
            seen.name
        ))
    }
}

//! What must survive a crash, as the core hands it to the writer and gets it back at the next start.

use std::sync::Arc;

use super::{Globals, MasterSettings, PausedUntil};
use crate::ids::{Epoch, MasterName, SentinelId};

/// The whole durable state. Cheap to clone: unchanged masters are shared with the core.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Durable {
    /// `sentinel myid`; `None` only before the very first start.
    pub id: Option<SentinelId>,
    /// `sentinel current-epoch`.
    pub current_epoch: Epoch,
    /// The global `sentinel` directives. `requirepass` and `listening_port` are not written.
    pub globals: Arc<Globals>,
    /// In the order in which they were added.
    pub masters: Vec<Arc<DurableMaster>>,
}

/// One monitored master.
#[derive(Clone, Debug, PartialEq)]
pub struct DurableMaster {
    /// Its name.
    pub name: MasterName,
    /// The host of the *current* master, as it is to be written.
    pub host: Arc<str>,
    /// Its port.
    pub port: u16,
    /// Its settings.
    pub settings: MasterSettings,
    /// `sentinel config-epoch`.
    pub config_epoch: Epoch,
    /// `sentinel leader-epoch`: the newest epoch in which this sentinel has voted. The candidate is
    /// not kept; the epoch alone prevents a second vote.
    pub leader_epoch: Epoch,
    /// `sentinel known-replica`: host and port.
    pub replicas: Vec<(Arc<str>, u16)>,
    /// `sentinel known-sentinel`.
    pub peers: Vec<DurablePeer>,
    /// `sentinel paused` (ours): until when automatic failovers are paused, while they are.
    pub paused: Option<PausedUntil>,
}

/// One other sentinel of a master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DurablePeer {
    /// Host, as it is to be written.
    pub host: Arc<str>,
    /// Port.
    pub port: u16,
    /// Its id.
    pub id: SentinelId,
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::clock::{Mono, Now, UnixMillis};
    use crate::sentinel::core::{Input, Output, Sentinel};

    fn master(number: usize) -> Arc<DurableMaster> {
        Arc::new(DurableMaster {
            name: MasterName::from(&*format!("m{number}")),
            host: Arc::from(format!("10.0.{}.{}", number / 250, number % 250 + 1)),
            port: 6379,
            settings: MasterSettings::new(2),
            config_epoch: Epoch(0),
            leader_epoch: Epoch(0),
            replicas: Vec::new(),
            peers: Vec::new(),
            paused: None,
        })
    }

    /// W20: a redis-sentinel writes everything anew for each replica or peer that it discovers.
    #[test]
    fn w20_a_discovery_costs_its_own_master_alone() {
        let masters: Vec<Arc<DurableMaster>> = (0..1000).map(master).collect();
        let durable = Durable {
            id: Some(SentinelId::from("a".repeat(SentinelId::LEN).as_str())),
            masters,
            ..Durable::default()
        };
        let now = Now {
            mono: Mono(1000),
            unix: UnixMillis(1000),
        };
        let mut out = Vec::new();
        let mut sentinel = Sentinel::new(now, 1, durable, &mut out);
        let before = sentinel.durable();
        out.clear();
        let peer = "b".repeat(SentinelId::LEN);
        let hello = format!("10.9.9.9,26379,{peer},0,m500,10.0.2.1,6379,0");
        let payload = Bytes::from(hello);
        sentinel.handle(now, Input::HelloPublished { payload }, &mut out);
        let after = sentinel.durable();
        let pairs = before.masters.iter().zip(&after.masters);
        let changed: Vec<&str> = pairs
            .filter(|(before, after)| !Arc::ptr_eq(before, after))
            .map(|(_, after)| after.name.as_str())
            .collect();
        assert_eq!(
            changed,
            ["m500"],
            "all others are shared with the state before"
        );
        let is_patient = |output: &Output| matches!(output, Output::Persist { urgent: false, .. });
        assert!(
            out.iter().any(is_patient),
            "may be written together with more: {out:?}"
        );
    }
}

//! What must survive a crash, as the core hands it to the writer and gets it back at the next start.

use std::sync::Arc;

use super::{Globals, MasterSettings};
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

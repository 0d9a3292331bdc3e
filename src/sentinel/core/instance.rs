//! A monitored data server: a master or one of its replicas.

use std::time::Duration;

use bytes::Bytes;

use super::addr::Addr;
use super::health::PingClock;
use super::link::Link;
use super::master::MasterId;
use crate::clock::Mono;
use crate::ids::{ReplId, RunId};

/// Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct InstanceId(pub(super) u32);

/// What an instance is configured to be, or says that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Master,
    Replica,
}

impl Role {
    /// The word on the wire.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Role::Master => "master",
            Role::Replica => "slave",
        }
    }
}

/// How far a replica is on its way to the new master.
///
/// `Idle ─SLAVEOF sent─▶ Sent ─reports the new address─▶ InProgress ─link up─▶ Done`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reconf {
    Idle,
    Sent { since: Mono },
    InProgress,
    Done,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) master: MasterId,
    pub(super) configured: Role,
    /// Fixed at creation for a replica: `addr:port`. Empty for a master, which goes by its own name.
    pub(super) name: String,
    pub(super) addr: Addr,
    pub(super) cmd: Link,
    pub(super) pubsub: Link,
    pub(super) ping: PingClock,
    pub(super) sdown_since: Option<Mono>,
    /// The last time that SDOWN began, also after it has ended.
    pub(super) last_sdown_at: Option<Mono>,
    /// Since when every attempt was refused.
    pub(super) refused_since: Option<Mono>,
    /// How it went away, while it is away.
    pub(super) closed: Closed,
    /// It refuses our credentials since then, for this.
    pub(super) auth_refused: Option<(Mono, Gate)>,
    pub(super) info: InfoClock,
    /// When the next hello is due.
    pub(super) hello_next_at: Mono,
    pub(super) run_id: Option<RunId>,
    pub(super) repl_id: Option<ReplId>,
    pub(super) reported: Role,
    pub(super) reported_since: Mono,
    pub(super) replica: ReplicaReport,
    pub(super) reconf: Reconf,
    pub(super) script_kill_sent: bool,
    /// The run id changed and the reboot rule is on, since then.
    pub(super) rebooted_at: Option<Mono>,
}

/// What preceded the loss of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// Nothing known.
    No,
    /// It closed an established connection.
    ByPeer,
    /// It had announced its shutdown.
    Announced { at: Mono },
    /// One of these, and then refused a connection; told.
    Told { announced: bool },
}

/// Which of our requests an instance refuses for want of rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    Ping,
    Info,
}

/// When INFO was answered and is due again, and the last text.
#[derive(Debug, Default)]
pub(super) struct InfoClock {
    pub(super) at: Option<Mono>,
    /// When any reply to INFO came, an error too.
    pub(super) heard_at: Option<Mono>,
    pub(super) text: Option<Bytes>,
    /// When the next one is due in quiet times.
    pub(super) next_at: Mono,
    /// Wanted as soon as none is under way.
    pub(super) wanted: bool,
}

/// What a replica says of its replication. Kept while it reports that it is a master.
#[derive(Debug)]
pub(super) struct ReplicaReport {
    /// `None` until known.
    pub(super) master: Option<(String, u16)>,
    pub(super) master_changed_at: Mono,
    pub(super) link_up: bool,
    /// -1000 ms means: never connected.
    pub(super) link_down_ms: i64,
    pub(super) priority: u32,
    pub(super) repl_offset: u64,
    /// Bytes behind the master, as the master last said; `None`: it does not list this replica.
    pub(super) lag: Option<u64>,
    /// Of a master: the end of its history.
    pub(super) master_offset: Option<u64>,
    pub(super) announced: bool,
    /// A full synchronisation is under way, or the data set is being loaded.
    pub(super) incomplete: bool,
}

impl Instance {
    pub(super) fn new(
        master: MasterId,
        configured: Role,
        name: String,
        addr: Addr,
        now: Mono,
    ) -> Instance {
        Instance {
            master,
            configured,
            name,
            addr,
            cmd: Link::new(now),
            pubsub: Link::new(now),
            ping: PingClock::new(now),
            sdown_since: None,
            last_sdown_at: None,
            refused_since: None,
            closed: Closed::No,
            auth_refused: None,
            info: InfoClock::default(),
            hello_next_at: now,
            run_id: None,
            repl_id: None,
            reported: configured,
            reported_since: now,
            replica: ReplicaReport {
                master: None,
                master_changed_at: now,
                link_up: false,
                link_down_ms: 0,
                priority: 100,
                repl_offset: 0,
                lag: None,
                master_offset: None,
                announced: true,
                incomplete: false,
            },
            reconf: Reconf::Idle,
            script_kill_sent: false,
            rebooted_at: None,
        }
    }

    pub(super) fn is_disconnected(&self) -> bool {
        self.cmd.is_down() || self.pubsub.is_down()
    }

    pub(super) fn is_reconf_under_way(&self) -> bool {
        matches!(self.reconf, Reconf::Sent { .. } | Reconf::InProgress)
    }

    /// Whether it replicates, by its own word, from `addr`.
    pub(super) fn follows(&self, addr: &Addr) -> bool {
        self.replica
            .master
            .as_ref()
            .is_some_and(|(host, port)| addr.same_as(&Addr::new(host, *port)))
    }

    /// Begins life in another configured role, or under another master, with the links that it has:
    /// every judgement of it starts afresh.
    pub(super) fn become_role(&mut self, role: Role, name: String, now: Mono) {
        self.configured = role;
        self.name = name;
        self.reported = role;
        self.reported_since = now;
        self.sdown_since = None;
        self.last_sdown_at = None;
        self.ping.restart(now);
        self.info.wanted = true;
        self.replica.master_changed_at = now;
        self.replica.lag = None;
        self.reconf = Reconf::Idle;
        self.script_kill_sent = false;
        self.rebooted_at = None;
    }

    /// How often PING is sent: often enough to notice a hang soon, never more than every 10 ms.
    pub(super) fn ping_interval(down_after: Duration, ping_period: Duration) -> Duration {
        const PING_INTERVAL_MIN: Duration = Duration::from_millis(10);
        (down_after / 5).min(ping_period).max(PING_INTERVAL_MIN)
    }
}

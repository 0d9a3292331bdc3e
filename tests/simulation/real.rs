//! A model of redis-sentinel 7.0 as a peer, so that mixed quorums are simulated too: its timer of 52 to
//! 100 ms, its one step per timer, its vote rule, its pause of twice the failover-timeout. Written from
//! its documented behaviour. Its writes are synchronous and never fail.
//!
//! This file holds its state and what it does with messages; `real_tick.rs` has its timer.

use std::collections::VecDeque;
use std::net::SocketAddr;

use sentinel::clock::millis;
use sentinel::ids::SentinelId;

use crate::agenda::{Due, NodeId};
use crate::dice::Dice;
use crate::net::CLIENT;
use crate::world::{Arrival, Body, World};

/// A redis-sentinel: its file, and its process while it runs.
pub(crate) struct Real {
    pub(crate) id: SentinelId,
    groups: Vec<usize>,
    file: Option<(u64, Vec<Watch>)>,
    pub(crate) live: Option<Box<Live>>,
}

/// What it knows of one master.
#[derive(Clone)]
pub(crate) struct Watch {
    pub(crate) name: String,
    pub(crate) group: usize,
    pub(crate) quorum: usize,
    pub(crate) down_after: u64,
    pub(crate) timeout: u64,
    pub(crate) parallel: usize,
    pub(crate) addr: SocketAddr,
    pub(crate) master: Instance,
    pub(crate) replicas: Vec<Instance>,
    pub(crate) peers: Vec<Instance>,
    pub(crate) config_epoch: u64,
    pub(crate) leader: Option<SentinelId>,
    pub(crate) leader_epoch: u64,
    pub(crate) is_odown: bool,
    pub(crate) state: State,
    pub(crate) failover_epoch: u64,
    /// The recorded start time of a failover, one's own or that of whom one voted for.
    pub(crate) started: u64,
    pub(crate) state_since: u64,
    pub(crate) promoted: Option<SocketAddr>,
}

/// How far a failover is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    None,
    WaitStart,
    SelectSlave,
    SendNoOne,
    WaitPromotion,
    ReconfSlaves,
}

/// How far a replica has been pointed at the new master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reconf {
    No,
    Sent(u64),
    InProgress,
    Done,
}

/// What the next reply on a connection answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    Ping,
    Info,
    Publish,
    Ask,
    Nothing,
}

/// A master, replica or peer as it sees it. Times are virtual milliseconds.
#[derive(Clone)]
pub(crate) struct Instance {
    pub(crate) addr: SocketAddr,
    pub(crate) peer: Option<SentinelId>,
    pub(crate) cmd: Option<usize>,
    pub(crate) pubsub: Option<usize>,
    pub(crate) attempted: Option<u64>,
    pub(crate) expects: VecDeque<Expect>,
    /// The oldest unanswered PING.
    pub(crate) unanswered: Option<u64>,
    pub(crate) pinged: u64,
    pub(crate) available: u64,
    pub(crate) answered: u64,
    pub(crate) connected: u64,
    pub(crate) heard_pubsub: u64,
    pub(crate) published: u64,
    pub(crate) info_at: Option<u64>,
    pub(crate) info: InfoSeen,
    pub(crate) role_since: u64,
    pub(crate) conf_since: u64,
    pub(crate) sdown_since: Option<u64>,
    pub(crate) reconf: Reconf,
    /// This peer says the master is down.
    pub(crate) says_down: bool,
    pub(crate) said_at: u64,
    pub(crate) vote: Option<(SentinelId, u64)>,
}

/// What it reads from INFO.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct InfoSeen {
    pub(crate) is_slave: bool,
    pub(crate) run_id: String,
    pub(crate) master: (String, u16),
    pub(crate) is_link_up: bool,
    pub(crate) link_down_ms: i64,
    pub(crate) priority: u32,
    pub(crate) offset: u64,
}

/// The running process.
pub(crate) struct Live {
    pub(crate) me: NodeId,
    pub(crate) id: SentinelId,
    pub(crate) dice: Dice,
    pub(crate) epoch: u64,
    pub(crate) watches: Vec<Watch>,
    pub(crate) last_wall: Option<u64>,
    pub(crate) tilt_since: Option<u64>,
}

/// Where a connection leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    Master,
    Replica(usize),
    Peer(usize),
}

impl Real {
    pub(crate) fn new(id: &str, groups: Vec<usize>) -> Real {
        Real {
            id: SentinelId::from(id),
            groups,
            file: None,
            live: None,
        }
    }

    fn watch(&self, name: &str) -> Option<&Watch> {
        let mut watches = self.live.as_ref()?.watches.iter();
        watches.find(|watch| watch.name == name)
    }

    pub(crate) fn master_addr(&self, name: &str) -> Option<SocketAddr> {
        Some(self.watch(name)?.told())
    }

    pub(crate) fn is_failing_over(&self, name: &str) -> bool {
        self.watch(name)
            .is_some_and(|watch| watch.state != State::None)
    }

    pub(crate) fn knows_replica(&self, name: &str, addr: SocketAddr) -> bool {
        self.watch(name)
            .is_some_and(|watch| watch.replicas.iter().any(|replica| replica.addr == addr))
    }

    /// Whether any of its masters has this peer.
    pub(crate) fn knows_peer(&self, id: &SentinelId) -> bool {
        self.live.as_ref().is_some_and(|live| {
            let peers = live.watches.iter().flat_map(|watch| &watch.peers);
            peers.into_iter().any(|peer| peer.peer.as_ref() == Some(id))
        })
    }

    pub(crate) fn knows_peers(&self, others: usize) -> bool {
        self.live.as_ref().is_some_and(|live| {
            let mut watches = live.watches.iter();
            watches.all(|watch| watch.peers.len() == others)
        })
    }

    pub(crate) fn crash(&mut self) {
        self.live = None;
    }
}

impl Watch {
    /// The address that clients and peers are told.
    pub(crate) fn told(&self) -> SocketAddr {
        match (self.state, self.promoted) {
            (State::ReconfSlaves, Some(promoted)) => promoted,
            _ => self.addr,
        }
    }

    pub(crate) fn get(&mut self, whose: Whose) -> &mut Instance {
        match whose {
            Whose::Master => &mut self.master,
            Whose::Replica(index) => &mut self.replicas[index],
            Whose::Peer(index) => &mut self.peers[index],
        }
    }

    pub(crate) fn all(&self) -> Vec<Whose> {
        let mut all = vec![Whose::Master];
        all.extend((0..self.replicas.len()).map(Whose::Replica));
        all.extend((0..self.peers.len()).map(Whose::Peer));
        all
    }
}

impl Instance {
    pub(crate) fn new(now: u64, addr: SocketAddr, peer: Option<SentinelId>) -> Instance {
        Instance {
            addr,
            peer,
            cmd: None,
            pubsub: None,
            attempted: None,
            expects: VecDeque::new(),
            unanswered: Some(now),
            pinged: now,
            available: now,
            answered: now,
            connected: now,
            heard_pubsub: now,
            published: now,
            info_at: None,
            info: InfoSeen {
                priority: 100,
                ..InfoSeen::default()
            },
            role_since: now,
            conf_since: now,
            sdown_since: None,
            reconf: Reconf::No,
            says_down: false,
            said_at: 0,
            vote: None,
        }
    }

    pub(crate) fn is_disconnected(&self) -> bool {
        self.cmd.is_none() || (self.peer.is_none() && self.pubsub.is_none())
    }

    /// What is written to the file of an instance: only where it is.
    fn saved(&self) -> Instance {
        Instance::new(0, self.addr, self.peer.clone())
    }
}

impl World {
    fn real_mut(&mut self, id: NodeId) -> Option<&mut Real> {
        match &mut self.nodes[id].body {
            Body::Real(real) => Some(real),
            Body::Ours(_) | Body::Server(_) => None,
        }
    }

    /// Works on the running process with the world at hand.
    fn with_live(&mut self, id: NodeId, work: impl FnOnce(&mut Live, &mut World)) {
        let boot = self.nodes[id].boot;
        let Some(mut live) = self.real_mut(id).and_then(|real| real.live.take()) else {
            return;
        };
        work(&mut live, self);
        if self.is_current(id, boot)
            && let Some(real) = self.real_mut(id)
        {
            real.live = Some(live);
        }
    }

    pub(crate) fn boot_real(&mut self, id: NodeId) {
        let now = self.now();
        let dice = Dice::new(self.dice.any(), "real");
        let Some(real) = self.real_mut(id) else {
            return;
        };
        let (own_id, groups, file) = (real.id.clone(), real.groups.clone(), real.file.clone());
        let (epoch, mut watches) = file.unwrap_or_default();
        if watches.is_empty() {
            watches = groups
                .iter()
                .map(|group| self.fresh_watch(*group))
                .collect();
        }
        for watch in &mut watches {
            for whose in watch.all() {
                let known = watch.get(whose);
                *known = Instance::new(now, known.addr, known.peer.clone());
            }
        }
        self.trace.alias(own_id.as_str(), &self.nodes[id].name);
        self.story(id, || "starts (redis-sentinel)".to_owned());
        let live = Live {
            me: id,
            id: own_id,
            dice,
            epoch,
            watches,
            last_wall: None,
            tilt_since: None,
        };
        if let Some(real) = self.real_mut(id) {
            real.live = Some(Box::new(live));
        }
        let boot = self.nodes[id].boot;
        self.agenda.after(1, Due::Tick { node: id, boot });
    }

    fn fresh_watch(&self, group: usize) -> Watch {
        let state = &self.groups[group];
        let addr = self.nodes[state.servers[0]].addr;
        Watch {
            name: state.names[0].as_str().to_owned(),
            group,
            quorum: state.settings.quorum as usize,
            down_after: millis(state.settings.down_after),
            timeout: millis(state.settings.failover_timeout),
            parallel: state.settings.parallel_syncs as usize,
            addr,
            master: Instance::new(0, addr, None),
            replicas: Vec::new(),
            peers: Vec::new(),
            config_epoch: 0,
            leader: None,
            leader_epoch: 0,
            is_odown: false,
            state: State::None,
            failover_epoch: 0,
            started: 0,
            state_since: 0,
            promoted: None,
        }
    }

    /// Something reaches a running redis-sentinel.
    pub(crate) fn real_takes(&mut self, id: NodeId, arrival: Arrival) {
        self.with_live(id, |live, world| match arrival {
            Arrival::Packet { conn, end, packet } if end == CLIENT => {
                live.link_packet(world, conn, packet);
            }
            Arrival::Packet { conn, packet, .. } => live.client_packet(world, conn, packet),
            Arrival::ConnectTimedOut(conn) => live.lost(conn),
            Arrival::Published(payload) => live.hear_hello(world, &payload),
            Arrival::Tick => {
                live.tick(world);
                let wait = live.dice.between(52, 100);
                let boot = world.nodes[id].boot;
                world.agenda.after(wait, Due::Tick { node: id, boot });
            }
            Arrival::Persisted(..)
            | Arrival::PersistFailed(..)
            | Arrival::Resolved(..)
            | Arrival::Operator(_) => {}
        });
    }
}

impl Live {
    /// Writes the file.
    pub(crate) fn flush(&self, world: &mut World) {
        let mut saved = Vec::new();
        for watch in &self.watches {
            let mut watch = watch.clone();
            let told = watch.told();
            for replica in &mut watch.replicas {
                if replica.addr == told {
                    replica.addr = watch.addr;
                }
            }
            watch.addr = told;
            watch.master = Instance::new(0, told, None);
            watch.replicas = watch.replicas.iter().map(Instance::saved).collect();
            watch.peers = watch.peers.iter().map(Instance::saved).collect();
            watch.leader = None;
            watch.is_odown = false;
            watch.state = State::None;
            watch.started = 0;
            watch.promoted = None;
            saved.push(watch);
        }
        if let Some(real) = world.real_mut(self.me) {
            real.file = Some((self.epoch, saved));
        }
    }

    pub(crate) fn story(&self, world: &mut World, text: String) {
        world.story(self.me, || text);
    }
}

//! The world of a run: nodes, the network between them, and the properties that watch.
//!
//! This file holds what a world is and how its time passes; what a data server and a sentinel do with
//! what reaches them is in `serving.rs` and `driving.rs`, and what goes wrong in `faults.rs`.

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use sentinel::clock::{Mono, Now, UnixMillis};
use sentinel::ids::MasterName;
use sentinel::sentinel::core::{
    Durable, DurableMaster, Globals, MasterSettings, Operator, Output, Request, Seq,
};

use crate::agenda::{Agenda, Due, NodeId};
use crate::dice::Dice;
use crate::faults::Faults;
use crate::net::{CLIENT, Net, Packet, SERVER, Weather};
use crate::ours::{DiskMode, Ours};
use crate::properties::{Fact, Properties, Seen, Violation};
use crate::real::Real;
use crate::server::Server;
use crate::trace::{Detail, Trace};

/// The wall clock at the start of every run.
const UNIX_START_MS: u64 = 1_700_000_000_000;

/// The monotonic clock of a process at its start, as `clock.rs` has it.
pub(crate) const MONO_START_MS: u64 = 1_000;

/// Whether a node's process and host run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Power {
    Running,
    /// SIGSTOP, or a machine that swaps: sockets take data, nobody reads it.
    Stopped,
    /// The process is gone; its host refuses connections.
    Crashed,
    /// The host is off: nobody answers at all.
    Off,
}

/// What waits for a process to read it.
pub(crate) enum Arrival {
    Packet {
        conn: usize,
        end: usize,
        packet: Packet,
    },
    ConnectTimedOut(usize),
    Persisted(Seq, Box<Durable>),
    PersistFailed(Seq, Box<Durable>),
    Resolved(Arc<str>, Option<IpAddr>),
    Operator(Operator),
    /// `PUBLISH __sentinel__:hello` by a client.
    Published(String),
    Tick,
}

/// What a node is.
pub(crate) enum Body {
    Ours(Box<Ours>),
    Real(Box<Real>),
    Server(Box<Server>),
}

/// A process on a host of its own.
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) addr: SocketAddr,
    pub(crate) power: Power,
    /// Counts its starts.
    pub(crate) boot: u32,
    pub(crate) booted_at: u64,
    /// How far its wall clock is off. Milliseconds, added to one day.
    pub(crate) skew_ms: u64,
    pub(crate) inbox: VecDeque<Arrival>,
    pub(crate) body: Body,
}

/// A master and its replicas, under one name or more.
pub(crate) struct Group {
    pub(crate) names: Vec<MasterName>,
    pub(crate) servers: Vec<NodeId>,
    pub(crate) settings: MasterSettings,
    /// A sentinel forgot its replicas on an operator's order.
    pub(crate) was_reset: bool,
}

/// Everything.
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) agenda: Agenda,
    pub(crate) net: Net,
    pub(crate) nodes: Vec<Node>,
    pub(crate) groups: Vec<Group>,
    pub(crate) trace: Trace,
    pub(crate) properties: Properties,
    pub(crate) violation: Option<Violation>,
    pub(crate) dice: Dice,
    pub(crate) faults: Faults,
    /// Those of our sentinels that only observe.
    pub(crate) observers: BTreeSet<NodeId>,
    /// Host names that can be looked up.
    pub(crate) hosts: Vec<(String, IpAddr)>,
    /// The latest hellos and requests for votes that sentinels have sent each other, to be heard again.
    pub(crate) heard: VecDeque<Request>,
    /// Reused for what the core puts out.
    pub(crate) outputs: Vec<Output>,
    /// Things done, to compare the cost of runs.
    pub(crate) steps: u64,
    /// A modelled redis-sentinel has used a flaw of the original against which ours can do nothing.
    pub(crate) is_spoiled: bool,
    /// Failovers that were completed, for the figures.
    pub(crate) switches: u64,
}

impl World {
    pub(crate) fn new(seed: u64, weather: Weather, detail: Detail) -> World {
        World {
            seed,
            agenda: Agenda::default(),
            net: Net::new(seed, weather),
            nodes: Vec::new(),
            groups: Vec::new(),
            trace: Trace::new(detail),
            properties: Properties::default(),
            violation: None,
            dice: Dice::new(seed, "world"),
            faults: Faults::none(seed),
            observers: BTreeSet::new(),
            hosts: Vec::new(),
            heard: VecDeque::new(),
            outputs: Vec::new(),
            steps: 0,
            is_spoiled: false,
            switches: 0,
        }
    }

    fn add_node(&mut self, name: String, addr: SocketAddr, body: Body) -> NodeId {
        self.net.add_node(addr);
        self.nodes.push(Node {
            name,
            addr,
            power: Power::Crashed,
            boot: 0,
            booted_at: 0,
            skew_ms: 86_400_000,
            inbox: VecDeque::new(),
            body,
        });
        self.nodes.len() - 1
    }

    /// Adds a data server to a group; the first of a group is its master.
    pub(crate) fn add_server(&mut self, name: &str, addr: SocketAddr, group: usize) -> NodeId {
        let master = self.groups[group].servers.first().map(|first| {
            let addr = self.nodes[*first].addr;
            (addr.ip().to_string(), addr.port())
        });
        let dice = Dice::new(self.seed, name);
        let server = Server::new(group, master, dice);
        let id = self.add_node(name.to_owned(), addr, Body::Server(Box::new(server)));
        self.groups[group].servers.push(id);
        id
    }

    /// The state of a sentinel that has just been configured with these groups.
    pub(crate) fn configured(&self, groups: &[usize], id: Option<&str>) -> Durable {
        let mut masters = Vec::new();
        for &group in groups {
            let group = &self.groups[group];
            let addr = self.nodes[group.servers[0]].addr;
            for name in &group.names {
                masters.push(Arc::new(DurableMaster {
                    name: name.clone(),
                    host: Arc::from(addr.ip().to_string()),
                    port: addr.port(),
                    settings: group.settings.clone(),
                    config_epoch: sentinel::ids::Epoch(0),
                    leader_epoch: sentinel::ids::Epoch(0),
                    replicas: Vec::new(),
                    peers: Vec::new(),
                    paused: None,
                }));
            }
        }
        Durable {
            id: id.map(Into::into),
            current_epoch: sentinel::ids::Epoch(0),
            globals: Arc::new(Globals {
                listening_port: 26379,
                ..Globals::default()
            }),
            masters,
        }
    }

    /// Adds one of our sentinels.
    pub(crate) fn add_ours(&mut self, name: &str, addr: SocketAddr, durable: Durable) -> NodeId {
        let disk = DiskMode::Works { ms: (1, 1) };
        self.add_node(
            name.to_owned(),
            addr,
            Body::Ours(Box::new(Ours::new(durable, disk))),
        )
    }

    /// Adds one of our sentinels that only observes.
    pub(crate) fn add_observer(&mut self, name: &str, addr: SocketAddr, mut durable: Durable) {
        Arc::make_mut(&mut durable.globals).observe_only = true;
        let id = self.add_ours(name, addr, durable);
        self.observers.insert(id);
    }

    /// Adds a modelled redis-sentinel.
    pub(crate) fn add_real(&mut self, name: &str, addr: SocketAddr, real: Real) -> NodeId {
        self.add_node(name.to_owned(), addr, Body::Real(Box::new(real)))
    }

    // What is where.

    pub(crate) fn now(&self) -> u64 {
        self.agenda.now()
    }

    /// Both clocks of a node's process.
    pub(crate) fn clock(&self, id: NodeId) -> Now {
        let node = &self.nodes[id];
        let now = self.agenda.now();
        Now {
            mono: Mono(MONO_START_MS + now - node.booted_at),
            unix: UnixMillis(UNIX_START_MS + now + node.skew_ms - 86_400_000),
        }
    }

    pub(crate) fn sentinels(&self) -> Vec<NodeId> {
        let is_sentinel = |id: &NodeId| !matches!(self.nodes[*id].body, Body::Server(_));
        (0..self.nodes.len()).filter(is_sentinel).collect()
    }

    /// The sentinels that take part.
    pub(crate) fn voters(&self) -> Vec<NodeId> {
        let mut ids = self.sentinels();
        ids.retain(|id| !self.observers.contains(id));
        ids
    }

    pub(crate) fn servers(&self) -> Vec<NodeId> {
        let is_server = |id: &NodeId| matches!(self.nodes[*id].body, Body::Server(_));
        (0..self.nodes.len()).filter(is_server).collect()
    }

    pub(crate) fn find(&self, name: &str) -> Option<NodeId> {
        self.nodes.iter().position(|node| node.name == name)
    }

    pub(crate) fn server(&self, id: NodeId) -> &Server {
        let Body::Server(server) = &self.nodes[id].body else {
            panic!("{} is no data server", self.nodes[id].name);
        };
        server
    }

    pub(crate) fn server_mut(&mut self, id: NodeId) -> &mut Server {
        let node = &mut self.nodes[id];
        let Body::Server(server) = &mut node.body else {
            panic!("{} is no data server", node.name);
        };
        server
    }

    pub(crate) fn ours_mut(&mut self, id: NodeId) -> Option<&mut Ours> {
        match &mut self.nodes[id].body {
            Body::Ours(ours) => Some(ours),
            Body::Real(_) | Body::Server(_) => None,
        }
    }

    /// The group that a master's name stands for.
    pub(crate) fn group_named(&self, name: &str) -> Option<usize> {
        self.groups
            .iter()
            .position(|group| group.names.iter().any(|known| known.as_str() == name))
    }

    /// The group to which the server at this address belongs.
    pub(crate) fn group_at(&self, host: &str, port: u16) -> Option<usize> {
        let addr = SocketAddr::new(host.parse().ok()?, port);
        match &self.nodes[self.net.node_at(addr)?].body {
            Body::Server(server) => Some(server.group),
            Body::Ours(_) | Body::Real(_) => None,
        }
    }

    /// The master of a group as this sentinel tells clients.
    pub(crate) fn master_addr(&self, id: NodeId, group: usize) -> Option<SocketAddr> {
        let name = self.groups[group].names[0].as_str();
        let (host, port) = match &self.nodes[id].body {
            Body::Ours(ours) => ours.core.as_ref()?.master_addr(name)?,
            Body::Real(real) => return real.master_addr(name),
            Body::Server(_) => return None,
        };
        Some(SocketAddr::new(host.parse().ok()?, port))
    }

    /// Whether a failover of this group is in progress at this sentinel.
    pub(crate) fn is_failing_over(&self, id: NodeId, group: usize) -> bool {
        let name = self.groups[group].names[0].as_str();
        match &self.nodes[id].body {
            Body::Ours(ours) => ours.core.as_ref().is_some_and(|core| {
                core.master_fields(self.clock(id), name)
                    .is_some_and(|fields| {
                        fields.iter().any(|(field, _)| *field == "failover-state")
                    })
            }),
            Body::Real(real) => real.is_failing_over(name),
            Body::Server(_) => false,
        }
    }

    /// Whether no sentinel can know of this replica, because an operator made them forget it.
    pub(crate) fn is_forgotten(&self, server: NodeId, group: usize) -> bool {
        self.groups[group].was_reset && self.is_unknown(server, group)
    }

    /// Whether no sentinel knows of this replica.
    pub(crate) fn is_unknown(&self, server: NodeId, group: usize) -> bool {
        let addr = self.nodes[server].addr;
        let name = self.groups[group].names[0].as_str();
        !self
            .voters()
            .into_iter()
            .any(|id| match &self.nodes[id].body {
                Body::Ours(ours) => ours.core.as_ref().is_some_and(|core| {
                    core.durable()
                        .masters
                        .iter()
                        .filter(|master| master.name.as_str() == name)
                        .flat_map(|master| &master.replicas)
                        .any(|(host, port)| **host == addr.ip().to_string() && *port == addr.port())
                }),
                Body::Real(real) => real.knows_replica(name, addr),
                Body::Server(_) => false,
            })
    }

    // Telling.

    pub(crate) fn story(&mut self, id: NodeId, text: impl FnOnce() -> String) {
        self.trace
            .story(self.agenda.now(), &self.nodes[id].name, text);
    }

    /// Shows a fact about a sentinel to the properties.
    pub(crate) fn observe(&mut self, who: NodeId, fact: &Fact<'_>) {
        let seen = Seen {
            now: self.agenda.now(),
            who,
            name: &self.nodes[who].name,
        };
        let violation = self.properties.observe(seen, fact);
        if self.violation.is_none() && !self.is_spoiled {
            self.violation = violation;
        }
    }

    /// Ends the run: `property` does not hold.
    pub(crate) fn violate(&mut self, property: &'static str, text: String) {
        if self.violation.is_none() {
            let at = self.now();
            self.violation = Some(Violation { at, property, text });
        }
    }

    // Time.

    /// Lets time pass up to `end`, or to the first violation.
    pub(crate) fn run_until(&mut self, end: u64) {
        while self.violation.is_none() && !self.is_spoiled {
            let Some(due) = self.agenda.next(end) else {
                return;
            };
            self.steps += 1;
            self.happen(due);
        }
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Deliver { conn, from_end } => self.deliver(conn, usize::from(from_end)),
            Due::ConnectTimeout { conn } => self.connect_timeout(conn),
            Due::Wake { node, boot } if self.is_current(node, boot) => self.wake(node),
            Due::DiskStart { node, boot } if self.is_current(node, boot) => {
                self.disk_start(node);
            }
            Due::DiskDone { node, boot } if self.is_current(node, boot) => self.disk_done(node),
            Due::Resolved { node, boot } if self.is_current(node, boot) => self.resolved(node),
            Due::Resume { node, boot } if self.is_current(node, boot) => self.resume(node),
            Due::Replicate { node, boot } if self.is_current(node, boot) => self.replicate(node),
            Due::Tick { node, boot } if self.is_current(node, boot) => {
                self.arrive(node, Arrival::Tick);
            }
            Due::Wake { .. }
            | Due::DiskStart { .. }
            | Due::DiskDone { .. }
            | Due::Resolved { .. }
            | Due::Resume { .. }
            | Due::Replicate { .. }
            | Due::Tick { .. } => {}
            Due::Fault => self.next_fault(),
            Due::Revive { node } => self.revive(node),
            Due::Heal => self.heal(),
        }
    }

    pub(crate) fn is_current(&self, node: NodeId, boot: u32) -> bool {
        let node = &self.nodes[node];
        node.boot == boot && matches!(node.power, Power::Running | Power::Stopped)
    }

    // Packets, as a kernel treats them.

    fn deliver(&mut self, conn: usize, from_end: usize) {
        let Some((to, packet)) = self.net.arrive(conn, from_end) else {
            return;
        };
        let end = 1 - from_end;
        let is_alive = matches!(self.nodes[to].power, Power::Running | Power::Stopped);
        let is_open = self.net.conns[conn].open[end];
        match packet {
            Packet::Syn if is_alive => {
                self.net.conns[conn].open[SERVER] = true;
                self.net
                    .send(conn, SERVER, Packet::Accept, &mut self.agenda);
            }
            Packet::Syn => {
                self.net
                    .send(conn, SERVER, Packet::Refuse, &mut self.agenda);
            }
            Packet::Accept if is_open => {
                self.net.conns[conn].established = true;
                self.arrive(to, Arrival::Packet { conn, end, packet });
            }
            Packet::Refuse | Packet::Reset if is_open => {
                self.net.conns[conn].open[end] = false;
                self.arrive(to, Arrival::Packet { conn, end, packet });
            }
            Packet::Request(_) | Packet::Reply(_) | Packet::Fin if is_open => {
                self.arrive(to, Arrival::Packet { conn, end, packet });
            }
            Packet::Accept | Packet::Request(_) | Packet::Reply(_) => {
                self.net.send(conn, end, Packet::Reset, &mut self.agenda);
            }
            Packet::Refuse | Packet::Reset | Packet::Fin => {}
        }
    }

    fn connect_timeout(&mut self, conn: usize) {
        let state = &mut self.net.conns[conn];
        if state.open[CLIENT] && !state.established {
            state.open[CLIENT] = false;
            if let Some(id) = state.nodes[CLIENT] {
                self.arrive(id, Arrival::ConnectTimedOut(conn));
            }
        }
    }

    /// Something reaches a process: it takes it at once, or finds it when it runs again.
    pub(crate) fn arrive(&mut self, id: NodeId, arrival: Arrival) {
        match self.nodes[id].power {
            Power::Running => self.take(id, arrival),
            Power::Stopped => self.nodes[id].inbox.push_back(arrival),
            Power::Crashed | Power::Off => {}
        }
    }

    pub(crate) fn take(&mut self, id: NodeId, arrival: Arrival) {
        match &self.nodes[id].body {
            Body::Ours(_) => self.drive(id, arrival),
            Body::Real(_) => self.real_takes(id, arrival),
            Body::Server(_) => self.serve(id, arrival),
        }
    }

    /// A connection that some client has opened to a node: nobody reads its replies.
    pub(crate) fn client_of(&mut self, id: NodeId) -> usize {
        let addr = self.nodes[id].addr;
        let conn = self.net.connect(id, addr, &mut self.agenda);
        self.net.conns[conn].open = [false, true];
        self.net.conns[conn].nodes[CLIENT] = None;
        conn
    }

    // Processes.

    /// Starts a process on its host.
    pub(crate) fn boot(&mut self, id: NodeId) {
        let now = self.now();
        let was_off = self.nodes[id].power == Power::Off;
        let node = &mut self.nodes[id];
        node.power = Power::Running;
        node.boot += 1;
        node.booted_at = now;
        node.inbox.clear();
        self.net.set_dark(id, false);
        if was_off {
            self.net.resend_held(&mut self.agenda);
        }
        match &self.nodes[id].body {
            Body::Ours(_) => self.boot_ours(id),
            Body::Real(_) => self.boot_real(id),
            Body::Server(_) => self.boot_server(id),
        }
    }

    /// Ends a process: its host says so to those it was connected with, unless it goes off as well.
    pub(crate) fn crash(&mut self, id: NodeId, host_too: bool) {
        if !matches!(self.nodes[id].power, Power::Running | Power::Stopped) {
            return;
        }
        for (conn, end) in self.net.held_by(id) {
            if host_too {
                self.net.conns[conn].open[end] = false;
            } else {
                self.net.close(conn, end, &mut self.agenda);
            }
        }
        let write_landed = self.dice.chance(500);
        let node = &mut self.nodes[id];
        node.power = if host_too { Power::Off } else { Power::Crashed };
        node.inbox.clear();
        match &mut node.body {
            Body::Ours(ours) => ours.crash(write_landed),
            Body::Real(real) => real.crash(),
            Body::Server(server) => server.clients.clear(),
        }
        self.net.set_dark(id, host_too);
        if !matches!(self.nodes[id].body, Body::Server(_)) {
            self.observe(id, &Fact::Crashed);
        }
    }

    /// Stops a process for so long; `None`: until it is told to go on.
    pub(crate) fn stop(&mut self, id: NodeId, ms: Option<u64>) {
        if self.nodes[id].power == Power::Running {
            self.nodes[id].power = Power::Stopped;
            let boot = self.nodes[id].boot;
            if let Some(ms) = ms {
                self.agenda.after(ms, Due::Resume { node: id, boot });
            }
        }
    }

    /// A stopped process goes on with all that has queued up.
    pub(crate) fn resume(&mut self, id: NodeId) {
        if self.nodes[id].power != Power::Stopped {
            return;
        }
        self.nodes[id].power = Power::Running;
        if matches!(self.nodes[id].body, Body::Ours(_)) {
            self.resume_ours(id);
            return;
        }
        let boot = self.nodes[id].boot;
        while self.is_current(id, boot) {
            let Some(arrival) = self.nodes[id].inbox.pop_front() else {
                return;
            };
            self.take(id, arrival);
        }
    }
}

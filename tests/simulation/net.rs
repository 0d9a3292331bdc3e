//! The network: connections in the manner of TCP. Within a direction of a connection nothing is lost,
//! doubled or overtaken; a lost packet shows as a delay, a long loss as a stall or a broken
//! connection. Between connections everything overtakes everything, and `Fault::Echo` makes what was
//! said be heard again.

use std::collections::VecDeque;
use std::net::SocketAddr;

use sentinel::resp::Value;
use sentinel::sentinel::core::Request;

use crate::agenda::{Agenda, Due, NodeId};
use crate::dice::Dice;

/// The end of a connection that opened it.
pub(crate) const CLIENT: usize = 0;
/// The end that accepted it.
pub(crate) const SERVER: usize = 1;

/// A kernel gives up an unanswered connection attempt after this. Milliseconds.
const CONNECT_TIMEOUT_MS: u64 = 127_000;

/// What travels.
#[derive(Clone, Debug)]
pub(crate) enum Packet {
    /// Please open.
    Syn,
    /// It is open.
    Accept,
    /// Nobody listens.
    Refuse,
    /// A request, from the client end.
    Request(Box<Request>),
    /// A reply or push message, from the server end.
    Reply(Box<Value>),
    /// No more data comes.
    Fin,
    /// There is no such connection here.
    Reset,
}

/// One direction.
#[derive(Default)]
struct Lane {
    packets: VecDeque<Packet>,
    /// Nothing arrives before what was sent earlier.
    last_arrival: u64,
    /// Packets whose time came while the way was blocked.
    held: u32,
}

/// One connection.
pub(crate) struct Conn {
    /// The nodes at both ends; no server when nobody has the address.
    pub(crate) nodes: [Option<NodeId>; 2],
    /// Whether that end still holds its socket.
    pub(crate) open: [bool; 2],
    /// Whether the client end has heard that it is open.
    pub(crate) established: bool,
    lanes: [Lane; 2],
}

/// How the network behaves. All in milliseconds, or in occurrences per thousand packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Weather {
    pub(crate) latency: (u64, u64),
    /// A packet is lost and sent again.
    pub(crate) delayed_per_mille: u64,
    pub(crate) delay: (u64, u64),
    /// The connection breaks.
    pub(crate) broken_per_100k: u64,
}

impl Weather {
    /// A quiet local network.
    pub(crate) const FAIR: Weather = Weather {
        latency: (1, 1),
        delayed_per_mille: 0,
        delay: (0, 0),
        broken_per_100k: 0,
    };
}

/// All connections and the ways between nodes.
pub(crate) struct Net {
    pub(crate) conns: Vec<Conn>,
    pub(crate) weather: Weather,
    addrs: Vec<SocketAddr>,
    /// `blocked[from][to]`
    blocked: Vec<Vec<bool>>,
    /// What packets from one node to another take beyond the latency. Milliseconds.
    pub(crate) detours: Vec<(NodeId, NodeId, u64)>,
    /// Hosts that are off.
    dark: Vec<bool>,
    dice: Dice,
}

impl Net {
    pub(crate) fn new(seed: u64, weather: Weather) -> Net {
        Net {
            conns: Vec::new(),
            weather,
            addrs: Vec::new(),
            blocked: Vec::new(),
            detours: Vec::new(),
            dark: Vec::new(),
            dice: Dice::new(seed, "net"),
        }
    }

    /// Adds a node; its id is the number of nodes before it.
    pub(crate) fn add_node(&mut self, addr: SocketAddr) {
        self.addrs.push(addr);
        let count = self.addrs.len();
        self.dark.push(false);
        for row in &mut self.blocked {
            row.push(false);
        }
        self.blocked.push(vec![false; count]);
    }

    /// Who listens there.
    pub(crate) fn node_at(&self, addr: SocketAddr) -> Option<NodeId> {
        self.addrs.iter().position(|known| *known == addr)
    }

    /// Whether packets get from one node to another.
    pub(crate) fn is_open(&self, from: NodeId, to: NodeId) -> bool {
        !self.blocked[from][to] && !self.dark[from] && !self.dark[to]
    }

    /// Starts opening a connection.
    pub(crate) fn connect(&mut self, from: NodeId, to: SocketAddr, agenda: &mut Agenda) -> usize {
        let conn = self.conns.len();
        self.conns.push(Conn {
            nodes: [Some(from), self.node_at(to)],
            open: [true, false],
            established: false,
            lanes: [Lane::default(), Lane::default()],
        });
        agenda.after(CONNECT_TIMEOUT_MS, Due::ConnectTimeout { conn });
        self.send(conn, CLIENT, Packet::Syn, agenda);
        conn
    }

    /// Sends from one end.
    pub(crate) fn send(&mut self, conn: usize, end: usize, packet: Packet, agenda: &mut Agenda) {
        let weather = self.weather;
        let state = &mut self.conns[conn];
        if state.nodes[1 - end].is_none() {
            return;
        }
        let mut delay = self.dice.between(weather.latency.0, weather.latency.1);
        if weather.delayed_per_mille > 0 && self.dice.chance(weather.delayed_per_mille) {
            delay += self.dice.between(weather.delay.0, weather.delay.1);
        }
        for (from, to, detour) in &self.detours {
            if state.nodes[end] == Some(*from) && state.nodes[1 - end] == Some(*to) {
                delay += detour;
            }
        }
        let arrival = (agenda.now() + delay).max(state.lanes[end].last_arrival);
        state.lanes[end].last_arrival = arrival;
        state.lanes[end].packets.push_back(packet);
        let from_end = u8::from(end == SERVER);
        agenda.at(arrival, Due::Deliver { conn, from_end });
        if weather.broken_per_100k > 0
            && self.dice.below(100_000) < weather.broken_per_100k
            && self.conns[conn].established
        {
            self.break_off(conn, agenda);
        }
    }

    /// Something on the way resets the connection: both ends hear of it, what is on the way arrives first.
    pub(crate) fn break_off(&mut self, conn: usize, agenda: &mut Agenda) {
        for end in [CLIENT, SERVER] {
            let lane = &mut self.conns[conn].lanes[end];
            lane.packets.push_back(Packet::Reset);
            lane.last_arrival = lane.last_arrival.max(agenda.now());
            let at = lane.last_arrival;
            let from_end = u8::from(end == SERVER);
            agenda.at(at, Due::Deliver { conn, from_end });
        }
    }

    /// One end closes: it hears nothing more, the other end hears of it after what was sent before.
    pub(crate) fn close(&mut self, conn: usize, end: usize, agenda: &mut Agenda) {
        if std::mem::replace(&mut self.conns[conn].open[end], false) {
            self.send(conn, end, Packet::Fin, agenda);
        }
    }

    /// The packet that arrives now at the other end than `from_end`, and the node there. `None` when
    /// the way is blocked: it is kept and sent again later.
    pub(crate) fn arrive(&mut self, conn: usize, from_end: usize) -> Option<(NodeId, Packet)> {
        let state = &self.conns[conn];
        let from = state.nodes[from_end]?;
        let to = state.nodes[1 - from_end]?;
        let is_open = self.is_open(from, to);
        let lane = &mut self.conns[conn].lanes[from_end];
        if !is_open {
            lane.held += 1;
            return None;
        }
        lane.packets.pop_front().map(|packet| (to, packet))
    }

    /// Blocks or frees one direction between two nodes.
    pub(crate) fn set_blocked(&mut self, from: NodeId, to: NodeId, blocked: bool) {
        self.blocked[from][to] = blocked;
    }

    /// Frees all ways between hosts that are on.
    pub(crate) fn unblock_all(&mut self) {
        for row in &mut self.blocked {
            row.fill(false);
        }
    }

    /// Switches a host off or on.
    pub(crate) fn set_dark(&mut self, node: NodeId, dark: bool) {
        self.dark[node] = dark;
    }

    /// Sends again what was held on ways that are open now.
    pub(crate) fn resend_held(&mut self, agenda: &mut Agenda) {
        let slowest = self.weather.delay.1.max(200);
        for conn in 0..self.conns.len() {
            for end in [CLIENT, SERVER] {
                let state = &self.conns[conn];
                let (Some(from), Some(to)) = (state.nodes[end], state.nodes[1 - end]) else {
                    continue;
                };
                if state.lanes[end].held == 0 || !self.is_open(from, to) {
                    continue;
                }
                let at = agenda.now() + self.dice.between(1, slowest);
                let lane = &mut self.conns[conn].lanes[end];
                lane.last_arrival = lane.last_arrival.max(at);
                let from_end = u8::from(end == SERVER);
                for _ in 0..std::mem::take(&mut lane.held) {
                    agenda.at(at, Due::Deliver { conn, from_end });
                }
            }
        }
    }

    /// The connections of which this node holds an end, with that end.
    pub(crate) fn held_by(&self, node: NodeId) -> Vec<(usize, usize)> {
        let mut held = Vec::new();
        for (conn, state) in self.conns.iter().enumerate() {
            for end in [CLIENT, SERVER] {
                if state.open[end] && state.nodes[end] == Some(node) {
                    held.push((conn, end));
                }
            }
        }
        held
    }
}

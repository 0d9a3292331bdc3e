//! What goes wrong, and how it is put right again.

use std::time::Duration;

use sentinel::sentinel::core::Operator;

use crate::agenda::{Due, NodeId};
use crate::dice::Dice;
use crate::net::{Packet, SERVER, Weather};
use crate::ours::DiskMode;
use crate::world::{Arrival, Body, Power, World};

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The process or host of a master goes down.
    MasterDown,
    /// The same of any data server.
    ServerDown,
    /// A data server is stopped for a while.
    ServerHangs,
    /// The process or host of a sentinel goes down; what it had not written is lost.
    SentinelDown,
    /// A sentinel is stopped for a while.
    SentinelStalls,
    /// The nodes fall into two sets that do not hear each other, or of which one does not hear the
    /// other.
    Partition,
    /// All connections of a node break.
    Cut,
    /// A wall clock jumps.
    ClockJumps,
    /// The disk of a sentinel becomes slow, full, or well again.
    Disk,
    /// A hello or a request for a vote is heard once more, late and by anyone.
    Echo,
    /// `SENTINEL FAILOVER`
    Order,
    /// `SENTINEL RESET`
    Reset,
    /// `SENTINEL PAUSE` or `SENTINEL RESUME`
    Pause,
}

impl Fault {
    /// Those that any run may have.
    pub(crate) const COMMON: [Fault; 10] = [
        Fault::MasterDown,
        Fault::ServerDown,
        Fault::ServerHangs,
        Fault::SentinelDown,
        Fault::SentinelStalls,
        Fault::Partition,
        Fault::Cut,
        Fault::ClockJumps,
        Fault::Disk,
        Fault::Order,
    ];
}

/// Which faults a run has, and how often.
pub(crate) struct Faults {
    pub(crate) is_on: bool,
    /// Some kinds, those that are meant to be frequent more than once.
    pub(crate) kinds: Vec<Fault>,
    /// Milliseconds between two faults, at most.
    pub(crate) pause_ms_max: u64,
    pub(crate) dice: Dice,
}

impl Faults {
    pub(crate) fn none(seed: u64) -> Faults {
        Faults {
            is_on: false,
            kinds: Vec::new(),
            pause_ms_max: 1,
            dice: Dice::new(seed, "faults"),
        }
    }
}

impl World {
    /// Faults begin.
    pub(crate) fn start_faults(&mut self) {
        self.faults.is_on = !self.faults.kinds.is_empty();
        let pause = self.faults.dice.below(1_000);
        self.agenda.after(pause, Due::Fault);
    }

    /// Faults stop, and all that they did is put right: everyone runs and hears everyone.
    pub(crate) fn stop_faults(&mut self) {
        self.faults.is_on = false;
        self.net.weather = Weather {
            latency: self.net.weather.latency,
            ..Weather::FAIR
        };
        self.heal();
        for id in 0..self.nodes.len() {
            if let Body::Ours(ours) = &mut self.nodes[id].body {
                ours.disk.mode = DiskMode::Works { ms: (0, 3) };
            }
            match self.nodes[id].power {
                Power::Running => {}
                Power::Stopped => self.resume(id),
                Power::Crashed | Power::Off => self.boot(id),
            }
        }
        if self.faults.kinds.contains(&Fault::Pause) {
            self.resume_all();
        }
        self.trace
            .story(self.agenda.now(), "", || "--- faults stop".to_owned());
    }

    pub(crate) fn next_fault(&mut self) {
        if !self.faults.is_on {
            return;
        }
        let pause = 1 + self.faults.dice.below(self.faults.pause_ms_max);
        self.agenda.after(pause, Due::Fault);
        let fault = self.faults.dice.pick(&self.faults.kinds);
        match fault {
            Fault::MasterDown => {
                let masters = self.servers();
                let masters: Vec<NodeId> = masters
                    .into_iter()
                    .filter(|id| self.server(*id).is_master())
                    .collect();
                self.go_down(&masters);
            }
            Fault::ServerDown => self.go_down(&self.servers()),
            Fault::SentinelDown => self.go_down(&self.sentinels()),
            Fault::ServerHangs => self.hang(&self.servers(), 10_000),
            Fault::SentinelStalls => self.hang(&self.sentinels(), 6_000),
            Fault::Partition => self.part(),
            Fault::Cut => {
                let id = self.any_node();
                self.cut(id);
            }
            Fault::ClockJumps => {
                let id = self.any_node();
                let skew = self.faults.dice.below(2 * 86_400_000);
                self.nodes[id].skew_ms = skew;
                self.story(id, || "its wall clock jumps".to_owned());
            }
            Fault::Disk => self.change_disk(),
            Fault::Echo => self.echo(),
            Fault::Order => self.order(),
            Fault::Reset => self.reset(),
            Fault::Pause => self.pause_or_resume(),
        }
    }

    fn any_node(&mut self) -> NodeId {
        self.faults.dice.index(self.nodes.len())
    }

    fn go_down(&mut self, among: &[NodeId]) {
        let Some(id) = self.one_running(among) else {
            return;
        };
        let host_too = self.faults.dice.chance(300);
        let back = match self.faults.dice.below(3) {
            0 => self.faults.dice.between(20, 1_500),
            1 => self.faults.dice.between(500, 12_000),
            _ => self.faults.dice.between(5_000, 60_000),
        };
        let what = if host_too {
            "its host fails"
        } else {
            "its process dies"
        };
        self.story(id, || format!("{what}, back in {back} ms"));
        self.crash(id, host_too);
        self.agenda.after(back, Due::Revive { node: id });
    }

    fn one_running(&mut self, among: &[NodeId]) -> Option<NodeId> {
        let running: Vec<NodeId> = among
            .iter()
            .copied()
            .filter(|id| self.nodes[*id].power == Power::Running)
            .collect();
        (!running.is_empty()).then(|| self.faults.dice.pick(&running))
    }

    fn hang(&mut self, among: &[NodeId], ms_max: u64) {
        let Some(id) = self.one_running(among) else {
            return;
        };
        let ms = if self.faults.dice.chance(500) {
            self.faults.dice.between(5, 1_500)
        } else {
            self.faults.dice.between(500, ms_max)
        };
        self.story(id, || format!("stops for {ms} ms"));
        self.stop(id, Some(ms));
    }

    fn part(&mut self) {
        let mut one_side = Vec::new();
        if self.faults.dice.chance(400) {
            one_side.push(self.any_node());
        } else {
            for id in 0..self.nodes.len() {
                if self.faults.dice.chance(500) {
                    one_side.push(id);
                }
            }
        }
        let ways = self.faults.dice.below(4);
        let lasts = self.faults.dice.between(200, 20_000);
        self.partition(&one_side, ways != 1, ways != 0);
        self.agenda.after(lasts, Due::Heal);
    }

    /// Cuts these nodes off from all others: what they send, what they are sent, or both.
    pub(crate) fn partition(&mut self, one_side: &[NodeId], outward: bool, inward: bool) {
        for &inside in one_side {
            for outside in 0..self.nodes.len() {
                if !one_side.contains(&outside) {
                    if outward {
                        self.net.set_blocked(inside, outside, true);
                    }
                    if inward {
                        self.net.set_blocked(outside, inside, true);
                    }
                }
            }
        }
        let names: Vec<&str> = one_side
            .iter()
            .map(|id| self.nodes[*id].name.as_str())
            .collect();
        let ways = match (outward, inward) {
            (true, true) => "cut off",
            (true, false) => "not heard",
            (false, _) => "deaf",
        };
        let text = format!("--- {ways}: {}", names.join(" "));
        self.trace.story(self.agenda.now(), "", || text);
    }

    /// All ways are open again.
    pub(crate) fn heal(&mut self) {
        self.net.unblock_all();
        self.trace.story(self.agenda.now(), "", || {
            "--- the network is whole".to_owned()
        });
        self.net.resend_held(&mut self.agenda);
    }

    /// All connections of a node break.
    pub(crate) fn cut(&mut self, id: NodeId) {
        self.story(id, || "its connections break".to_owned());
        for (conn, _) in self.net.held_by(id) {
            if self.net.conns[conn].established {
                self.net.break_off(conn, &mut self.agenda);
            }
        }
    }

    pub(crate) fn revive(&mut self, id: NodeId) {
        if matches!(self.nodes[id].power, Power::Crashed | Power::Off) {
            self.boot(id);
        }
    }

    fn change_disk(&mut self) {
        let sentinels = self.sentinels();
        let id = self.faults.dice.pick(&sentinels);
        let mode = match self.faults.dice.below(4) {
            0 => DiskMode::Fails {
                ms: self.faults.dice.below(20),
            },
            1 => DiskMode::Works { ms: (50, 2_000) },
            _ => DiskMode::Works { ms: (0, 10) },
        };
        if let Some(ours) = self.ours_mut(id) {
            ours.disk.mode = mode;
            self.story(id, || format!("its disk: {mode:?}"));
        }
    }

    fn echo(&mut self) {
        let sentinels = self.sentinels();
        let (Some(id), false) = (self.one_running(&sentinels), self.heard.is_empty()) else {
            return;
        };
        if matches!(self.nodes[id].body, Body::Ours(_)) {
            let index = self.faults.dice.index(self.heard.len());
            let request = self.heard[index].clone();
            self.story(id, || format!("hears once more: {request:?}"));
            let arrival = Arrival::Packet {
                conn: self.client_of(id),
                end: SERVER,
                packet: Packet::Request(Box::new(request)),
            };
            self.arrive(id, arrival);
        }
    }

    fn order(&mut self) {
        let sentinels = self.sentinels();
        if let Some(id) = self.one_running(&sentinels) {
            let group = self.faults.dice.index(self.groups.len());
            let name = self.groups[group].names[0].clone();
            if matches!(self.nodes[id].body, Body::Ours(_)) {
                self.arrive(id, Arrival::Operator(Operator::Failover(name)));
            }
        }
    }

    fn pause_or_resume(&mut self) {
        let sentinels = self.sentinels();
        let Some(id) = self.one_running(&sentinels) else {
            return;
        };
        let group = self.faults.dice.index(self.groups.len());
        let name = self.groups[group].names[0].clone();
        let length = match self.faults.dice.below(4) {
            0 => None,
            1 => Some(Duration::from_millis(self.faults.dice.between(1, 500))),
            _ => Some(Duration::from_millis(self.faults.dice.between(500, 20_000))),
        };
        let request = if self.faults.dice.chance(250) {
            Operator::Resume {
                name,
                forwarded: false,
            }
        } else {
            Operator::Pause {
                name,
                length,
                forwarded: false,
            }
        };
        if matches!(self.nodes[id].body, Body::Ours(_)) {
            self.arrive(id, Arrival::Operator(request));
        }
    }

    /// Ends every pause, on every sentinel by itself.
    fn resume_all(&mut self) {
        for id in self.voters() {
            for group in 0..self.groups.len() {
                let request = Operator::Resume {
                    name: self.groups[group].names[0].clone(),
                    forwarded: false,
                };
                if matches!(self.nodes[id].body, Body::Ours(_)) {
                    self.arrive(id, Arrival::Operator(request));
                }
            }
        }
    }

    fn reset(&mut self) {
        let sentinels = self.sentinels();
        if let Some(id) = self.one_running(&sentinels) {
            let group = self.faults.dice.index(self.groups.len());
            let names = self.groups[group].names.clone();
            if matches!(self.nodes[id].body, Body::Ours(_)) {
                self.arrive(id, Arrival::Operator(Operator::Reset(names)));
            }
        }
    }
}

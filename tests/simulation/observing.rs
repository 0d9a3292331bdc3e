//! What our sentinels say, told to the properties and the trace as it leaves them.

use std::net::SocketAddr;

use sentinel::ids::{Epoch, SentinelId};
use sentinel::resp::Value;
use sentinel::sentinel::core::{Event, EventKind, Level, Record, ReplyTo, Request};

use crate::agenda::NodeId;
use crate::net::{Packet, SERVER};
use crate::ours::Pending;
use crate::properties::{Disk, Fact, Seen};
use crate::world::{Body, World};

/// Shows the properties a fact that borrows from the sentinel itself.
macro_rules! observe_ours {
    ($world:ident, $id:expr, |$ours:ident| $fact:expr) => {
        let node = &$world.nodes[$id];
        if let Body::Ours($ours) = &node.body {
            let seen = Seen {
                now: $world.agenda.now(),
                who: $id,
                name: &node.name,
            };
            let fact: Option<Fact<'_>> = $fact;
            let found = fact.and_then(|fact| $world.properties.observe(seen, &fact));
            if $world.violation.is_none() {
                $world.violation = found;
            }
        }
    };
}

impl World {
    pub(crate) fn observe_start(&mut self, id: NodeId) {
        observe_ours!(self, id, |ours| ours.core.as_ref().map(|core| {
            let durable = &ours.disk.confirmed;
            Fact::Started { durable, core }
        }));
        for group in 0..self.groups.len() {
            self.observe_pause(id, group);
        }
    }

    /// A pause of this group was confirmed, or found on the disk at a start.
    fn observe_pause(&mut self, id: NodeId, group: usize) {
        if self.is_paused(id, group) {
            self.observe(id, &Fact::Paused { group });
        }
    }

    /// Whether one of our sentinels has paused the automatic failovers of a group.
    fn is_paused(&self, id: NodeId, group: usize) -> bool {
        let Body::Ours(ours) = &self.nodes[id].body else {
            return false;
        };
        let mut names = self.groups[group].names.iter();
        let core = ours.core.as_ref();
        core.is_some_and(|core| names.any(|name| core.paused(name.as_str()).is_some()))
    }

    pub(crate) fn observe_handled(&mut self, id: NodeId) {
        observe_ours!(self, id, |ours| ours
            .core
            .as_ref()
            .map(|core| Fact::Handled { core }));
    }

    pub(crate) fn observe_change(&mut self, id: NodeId) {
        let Body::Ours(ours) = &self.nodes[id].body else {
            return;
        };
        if let Some(durable) = ours.core.as_ref().map(|core| core.durable()) {
            self.observe(id, &Fact::Changed { durable: &durable });
        }
        for group in 0..self.groups.len() {
            if !self.is_paused(id, group) {
                self.observe(id, &Fact::Unpaused { group });
            }
        }
    }

    /// Tells what a request says; answers the group that it asks about.
    pub(crate) fn observe_request(
        &mut self,
        id: NodeId,
        to: Option<NodeId>,
        request: &Request,
    ) -> Option<usize> {
        if self.observers.contains(&id) {
            self.observe(id, &Fact::ObserverSends { request });
        }
        match request {
            Request::AskMasterDown {
                host,
                port,
                epoch,
                candidate,
            } => {
                let group = self.watched_group_at(host, *port)?;
                if let Some(candidate) = candidate {
                    let target = self.name_of(to);
                    self.story(id, || {
                        format!("asks {target} for its vote in epoch {epoch}")
                    });
                    let master = self.groups[group].names[0].clone();
                    observe_ours!(self, id, |ours| Some(Fact::Candidacy {
                        group,
                        candidate,
                        epoch: *epoch,
                        disk: Some(Disk {
                            durable: &ours.disk.confirmed,
                            tried: &ours.disk.tried,
                            master: master.as_str(),
                        }),
                    }));
                }
                Some(group)
            }
            Request::SlaveOf(master) => {
                let target = self.name_of(to);
                self.story(id, || match master {
                    None => format!("tells {target}: SLAVEOF NO ONE"),
                    Some((host, port)) => format!("tells {target}: SLAVEOF {host} {port}"),
                });
                let server = to?;
                if let (None, Body::Server(state)) = (master, &self.nodes[server].body)
                    && self.groups[state.group].names.len() == 1
                {
                    let group = state.group;
                    let is_silent = self.held_ms(id) > 0;
                    self.observe(
                        id,
                        &Fact::Promotes {
                            group,
                            server,
                            is_silent,
                        },
                    );
                }
                None
            }
            Request::Ordered { epoch, .. } => {
                let target = self.name_of(to);
                self.story(id, || format!("tells {target}: epoch {epoch} is ordered"));
                None
            }
            Request::Pause { master, length } => {
                let target = self.name_of(to);
                self.story(id, || format!("tells {target}: PAUSE {master} {length:?}"));
                None
            }
            Request::Resume { master } => {
                let target = self.name_of(to);
                self.story(id, || format!("tells {target}: RESUME {master}"));
                None
            }
            Request::Publish(payload) => {
                self.full(id, to, request);
                self.observe_hello(id, payload);
                None
            }
            Request::Auth(_)
            | Request::SetName(_)
            | Request::Ping
            | Request::Info
            | Request::Subscribe
            | Request::ScriptKill => {
                self.full(id, to, request);
                None
            }
        }
    }

    /// For how long this sentinel may have held back what it says now: since it has had something to
    /// write. Milliseconds.
    fn held_ms(&self, id: NodeId) -> u64 {
        match &self.nodes[id].body {
            Body::Ours(ours) => {
                let since = ours.disk.unwritten_since;
                since.map_or(0, |since| self.agenda.now() - since)
            }
            Body::Real(_) | Body::Server(_) => 0,
        }
    }

    /// A line of a sentinel's log: part of the story from the level on that operators read.
    pub(crate) fn log(&mut self, id: NodeId, level: Level, text: impl FnOnce() -> String) {
        if level >= Level::Notice {
            self.story(id, text);
        } else {
            let name = &self.nodes[id].name;
            self.trace.full(self.agenda.now(), name, text);
        }
    }

    /// The group of a master, for the properties. They count per group; where one master has several
    /// names, which a script may have, elections overlap and the script itself says what must hold.
    pub(crate) fn watched_group(&self, name: &str) -> Option<usize> {
        self.group_named(name)
            .filter(|group| self.groups[*group].names.len() == 1)
    }

    pub(crate) fn watched_group_at(&self, host: &str, port: u16) -> Option<usize> {
        self.group_at(host, port)
            .filter(|group| self.groups[*group].names.len() == 1)
    }

    fn name_of(&self, to: Option<NodeId>) -> String {
        to.map_or("nobody".to_owned(), |to| self.nodes[to].name.clone())
    }

    fn full(&mut self, id: NodeId, to: Option<NodeId>, request: &Request) {
        let target = to.map_or("nobody", |to| &self.nodes[to].name);
        self.trace
            .full(self.agenda.now(), &self.nodes[id].name, || {
                format!("sends {target}: {request:?}")
            });
    }

    fn observe_hello(&mut self, id: NodeId, payload: &str) {
        let mut fields = payload.split(',').skip(4);
        let mut next = || fields.next().unwrap_or("");
        let (master, host, port, config_epoch) = (next(), next(), next(), next());
        let parsed = host.parse().ok().zip(port.parse().ok());
        let epoch = config_epoch.parse().ok().map(Epoch);
        let (Some((ip, port)), Some(config_epoch)) = (parsed, epoch) else {
            let name = self.nodes[id].name.clone();
            self.violate("hello", format!("{name} says {payload:?}"));
            return;
        };
        let Some(group) = self.watched_group(master) else {
            return;
        };
        observe_ours!(self, id, |ours| Some(Fact::Hello {
            group,
            addr: SocketAddr::new(ip, port),
            config_epoch,
            disk: Some(Disk {
                durable: &ours.disk.confirmed,
                tried: &ours.disk.tried,
                master,
            }),
        }));
    }

    /// An answer of the core leaves, or takes its place behind earlier ones.
    pub(crate) fn perform_reply(&mut self, id: NodeId, to: ReplyTo, reply: Value) {
        let Some(pending) = self.ours_mut(id).and_then(|ours| ours.pending.remove(&to)) else {
            let name = self.nodes[id].name.clone();
            self.violate(
                "answers",
                format!("{name} answers what nobody asked: {reply:?}"),
            );
            return;
        };
        match pending {
            Pending::Operator {
                shown,
                orders,
                pauses,
            } => {
                self.story(id, || format!("answers {shown}: {reply:?}"));
                if let Some(group) = orders.filter(|_| reply == Value::ok()) {
                    self.observe(id, &Fact::Ordered { group });
                }
                if let Some(group) = pauses.filter(|_| !reply.is_error()) {
                    self.observe_pause(id, group);
                }
            }
            Pending::PassedOn { conn, group } => {
                if let Some(group) = group.filter(|_| !reply.is_error()) {
                    self.observe_pause(id, group);
                }
                self.answer_waiting(id, conn, to, reply);
            }
            Pending::Asked {
                conn,
                group,
                candidate,
                epoch,
            } => {
                if let (Some(group), Some(candidate)) = (group, candidate) {
                    self.observe_vote(id, group, &candidate, epoch, &reply);
                }
                self.answer_waiting(id, conn, to, reply);
            }
        }
    }

    fn answer_waiting(&mut self, id: NodeId, conn: usize, to: ReplyTo, reply: Value) {
        let ready = self.ours_mut(id).map(|ours| {
            ours.answer(conn, to, reply);
            ours.ready_replies(conn)
        });
        for reply in ready.unwrap_or_default() {
            let packet = Packet::Reply(Box::new(reply));
            self.net.send(conn, SERVER, packet, &mut self.agenda);
        }
    }

    fn observe_vote(
        &mut self,
        id: NodeId,
        group: usize,
        candidate: &SentinelId,
        epoch: Epoch,
        reply: &Value,
    ) {
        let Some((leader, voted)) = vote_in(reply) else {
            self.story(id, || {
                format!(
                    "gives {candidate} no vote in epoch {epoch}: {}",
                    in_short(reply)
                )
            });
            return;
        };
        self.story(id, || {
            format!("answers {candidate} (epoch {epoch}): my vote in epoch {voted} is {leader}")
        });
        let master = self.groups[group].names[0].clone();
        observe_ours!(self, id, |ours| Some(Fact::Vote {
            group,
            leader: &leader,
            epoch: voted,
            disk: Some(Disk {
                durable: &ours.disk.confirmed,
                tried: &ours.disk.tried,
                master: master.as_str(),
            }),
        }));
    }

    /// An event is published.
    pub(crate) fn perform_event(&mut self, id: NodeId, event: &Event) {
        self.log(id, event.kind.level(), || event.to_string());
        let name = event.master.as_ref().map(|name| name.as_str().to_owned());
        let group = name.as_deref().and_then(|name| self.watched_group(name));
        let held_ms = self.held_ms(id);
        if let (Some(group), Some(name)) = (group, name.as_deref()) {
            observe_ours!(self, id, |ours| ours.core.as_ref().map(|core| {
                let counts = core.records(name);
                let counts = counts
                    .iter()
                    .map(|record| record.id + u64::from(record.count));
                Fact::Counted {
                    group,
                    decisions: counts.sum(),
                }
            }));
        }
        let fact = Fact::Event {
            event,
            group,
            held_ms,
        };
        self.observe(id, &fact);
        let (Some(group), Some(name)) = (group, name) else {
            return;
        };
        match event.kind {
            EventKind::Odown => {
                observe_ours!(self, id, |ours| ours.core.as_ref().and_then(|core| {
                    let quorum = core.settings(&name)?.quorum;
                    Some(Fact::Odown {
                        group,
                        quorum,
                        held_ms,
                    })
                }));
            }
            EventKind::TryFailover => self.observe(id, &Fact::Try { group, held_ms }),
            EventKind::VoteForLeader => self.observe_vote_taken(id, group, &event.payload),
            EventKind::ElectedLeader => self.observe_elected(id, group, &name),
            EventKind::SwitchMaster => {
                observe_ours!(self, id, |ours| Some(Fact::Switched {
                    payload: &event.payload,
                    disk: Disk {
                        durable: &ours.disk.confirmed,
                        tried: &ours.disk.tried,
                        master: &name,
                    },
                }));
                self.observe(id, &Fact::Ended { group });
            }
            EventKind::FailoverEnd => {
                self.switches += 1;
                self.observe(id, &Fact::Ended { group });
            }
            kind if ends_failover(kind) => self.observe(id, &Fact::Ended { group }),
            _ => {}
        }
    }

    /// A decision is recorded.
    pub(crate) fn perform_record(&mut self, id: NodeId, record: &Record) {
        let name = &self.nodes[id].name;
        self.trace.full(self.agenda.now(), name, || {
            format!("records {}", record.log_line())
        });
        if let Some(group) = self.watched_group(record.master.as_str()) {
            self.observe(id, &Fact::Recorded { group, record });
        }
    }

    fn observe_vote_taken(&mut self, id: NodeId, group: usize, payload: &str) {
        let Some((leader, epoch)) = payload.split_once(' ') else {
            return;
        };
        let Some(ours) = self.ours_mut(id) else {
            return;
        };
        let Some(epoch) = epoch.parse().ok().map(Epoch) else {
            return;
        };
        let leader = SentinelId::from(leader);
        let is_own = ours.id.as_ref() == Some(&leader);
        if is_own {
            ours.stands.insert(group, epoch);
        }
        let leader = &leader;
        self.observe(
            id,
            &Fact::VoteTaken {
                group,
                leader,
                epoch,
            },
        );
        if is_own {
            self.observe(
                id,
                &Fact::Vote {
                    group,
                    leader,
                    epoch,
                    disk: None,
                },
            );
        }
    }

    fn observe_elected(&mut self, id: NodeId, group: usize, name: &str) {
        let Body::Ours(ours) = &self.nodes[id].body else {
            return;
        };
        let Some(core) = &ours.core else { return };
        // An event that was held back may be told by the very write that failed.
        if let Some(error) = core.save_failure().filter(|_| self.held_ms(id) == 0) {
            let name = &self.nodes[id].name;
            let text = format!("{name} leads although its state cannot be written: {error}");
            self.violate("durable_first", text);
            return;
        }
        let Some(epoch) = ours.stands.get(&group).copied() else {
            let text = format!("{} leads without having stood", self.nodes[id].name);
            self.violate("authority", text);
            return;
        };
        let durable = core.durable();
        let known = durable
            .masters
            .iter()
            .find(|known| known.name.as_str() == name);
        let voters = known.map_or(1, |known| known.peers.len() + 1);
        let quorum = core.settings(name).map_or(1, |settings| settings.quorum);
        observe_ours!(self, id, |ours| ours.id.as_ref().map(|own| Fact::Elected {
            group,
            id: own,
            epoch,
            voters,
            quorum,
            disk: Some(Disk {
                durable: &ours.disk.confirmed,
                tried: &ours.disk.tried,
                master: name,
            }),
        }));
    }
}

/// The leader and epoch in an answer to a request for a vote.
pub(crate) fn vote_in(reply: &Value) -> Option<(SentinelId, Epoch)> {
    let Value::Array(parts) = reply else {
        return None;
    };
    let [_, Value::Bulk(leader), Value::Integer(epoch)] = parts.as_slice() else {
        return None;
    };
    let leader = std::str::from_utf8(leader)
        .ok()
        .filter(|text| *text != "*")?;
    Some((SentinelId::from(leader), Epoch(u64::try_from(*epoch).ok()?)))
}

/// An answer to IS-MASTER-DOWN-BY-ADDR in a few words.
fn in_short(reply: &Value) -> String {
    let Value::Array(parts) = reply else {
        return format!("{reply:?}");
    };
    let words: Vec<String> = parts
        .iter()
        .map(|part| match part {
            Value::Integer(number) => number.to_string(),
            other => String::from_utf8_lossy(other.as_bytes().unwrap_or(b"?")).into_owned(),
        })
        .collect();
    words.join(" ")
}

/// Whether a failover is over with this event.
fn ends_failover(kind: EventKind) -> bool {
    [
        EventKind::AbortMasterIsBack,
        EventKind::AbortNoGoodSlave,
        EventKind::AbortNotElected,
        EventKind::AbortPaused,
        EventKind::AbortSlaveTimeout,
        EventKind::ResetMaster,
        EventKind::Unmonitor,
    ]
    .contains(&kind)
}

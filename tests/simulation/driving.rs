//! The driver of our sentinels: what the real one does with sockets, a disk and a timer, done with the
//! simulated ones. Like the real one it decides nothing.

use std::time::Duration;

use bytes::Bytes;
use sentinel::resp::Value;
use sentinel::sentinel::core::{
    DownReason, Input, Operator, Output, ReplyTo, Request, Sentinel, Seq,
};

use crate::agenda::{Due, NodeId};
use crate::net::{CLIENT, Packet, SERVER};
use crate::ours::{DiskMode, Ours, Pending, Slot};
use crate::properties::Fact;
use crate::world::{Arrival, Body, MONO_START_MS, World};

/// A core that wants more ticks than this within one millisecond never sleeps.
const TICKS_PER_MS_MAX: u32 = 500;

/// Writes that are not urgent may wait for so long. Milliseconds.
const LAZY_WRITE_MS: u64 = 50;

impl World {
    pub(crate) fn boot_ours(&mut self, id: NodeId) {
        let seed = self.dice.any();
        let clock = self.clock(id);
        let Some(ours) = self.ours_mut(id) else {
            return;
        };
        let durable = ours.disk.file.clone();
        ours.disk.confirmed = durable.clone();
        ours.disk.tried = durable.clone();
        let mut out = Vec::new();
        let core = Sentinel::new(clock, seed, durable.clone(), &mut out);
        let own_id = core.id().clone();
        ours.id = Some(own_id.clone());
        ours.core = Some(Box::new(core));
        let name = self.nodes[id].name.clone();
        self.trace.alias(own_id.as_str(), &name);
        self.story(id, || "starts".to_owned());
        self.observe_start(id);
        self.perform(id, &mut out);
        self.feed(id, Input::Tick);
    }

    /// Something reaches a running sentinel of ours.
    pub(crate) fn drive(&mut self, id: NodeId, arrival: Arrival) {
        match arrival {
            Arrival::Packet { conn, end, packet } if end == CLIENT => {
                self.drive_link(id, conn, packet);
            }
            Arrival::Packet { conn, packet, .. } => self.drive_client(id, conn, packet),
            Arrival::ConnectTimedOut(conn) => {
                let reason = DownReason::Failed("connection timed out".to_owned());
                self.link_down(id, conn, reason);
            }
            Arrival::Persisted(seq, durable) => {
                if let Some(ours) = self.ours_mut(id) {
                    ours.disk.tried = (*durable).clone();
                    ours.disk.confirmed = *durable;
                }
                self.feed(id, Input::Persisted(seq));
                self.note_written(id, seq);
            }
            Arrival::PersistFailed(seq, durable) => {
                if let Some(ours) = self.ours_mut(id) {
                    ours.disk.tried = *durable;
                }
                let error = "No space left on device".to_owned();
                self.feed(id, Input::PersistFailed { seq, error });
                self.note_written(id, seq);
            }
            Arrival::Resolved(host, ip) => self.feed(id, Input::Resolved { host, ip }),
            Arrival::Operator(request) => self.drive_operator(id, request),
            Arrival::Published(payload) => {
                let payload = Bytes::from(payload);
                self.feed(id, Input::HelloPublished { payload });
            }
            Arrival::Tick => {}
        }
    }

    fn drive_operator(&mut self, id: NodeId, request: Operator) {
        let shown = format!("{request:?}");
        let orders = match &request {
            Operator::Failover(name) => self.watched_group(name.as_str()),
            _ => None,
        };
        let pauses = match &request {
            Operator::Pause { name, .. } => self.watched_group(name.as_str()),
            _ => None,
        };
        if let Operator::Reset(names) = &request {
            for name in names {
                if let Some(group) = self.group_named(name.as_str()) {
                    self.groups[group].was_reset = true;
                }
            }
        }
        let Some(ours) = self.ours_mut(id) else {
            return;
        };
        let to = ours.next_reply();
        let pending = Pending::Operator {
            shown,
            orders,
            pauses,
        };
        ours.pending.insert(to, pending);
        self.feed(id, Input::Operator { to, request });
    }

    /// A packet on a connection that this sentinel opened.
    fn drive_link(&mut self, id: NodeId, conn: usize, packet: Packet) {
        match packet {
            Packet::Accept => {
                let local = self.nodes[id].addr.ip();
                let link = self.ours_mut(id).and_then(|ours| ours.links.id_of(conn));
                if let Some(link) = link {
                    self.feed(id, Input::LinkUp { link, local });
                }
            }
            Packet::Refuse => self.link_down(id, conn, DownReason::Refused),
            Packet::Fin => {
                self.net.close(conn, CLIENT, &mut self.agenda);
                self.link_down(id, conn, DownReason::Closed);
            }
            Packet::Reset => {
                let reason = DownReason::Failed("connection reset by peer".to_owned());
                self.link_down(id, conn, reason);
            }
            Packet::Reply(reply) => self.drive_reply(id, conn, *reply),
            Packet::Syn | Packet::Request(_) => {}
        }
    }

    fn link_down(&mut self, id: NodeId, conn: usize, reason: DownReason) {
        let link = self.ours_mut(id).and_then(|ours| {
            let link = ours.links.id_of(conn)?;
            ours.links.lost(conn)?;
            Some(link)
        });
        if let Some(link) = link {
            self.trace
                .full(self.agenda.now(), &self.nodes[id].name, || {
                    format!("link {} down: {reason:?}", link.0)
                });
            self.feed(id, Input::LinkDown { link, reason });
        }
    }

    fn drive_reply(&mut self, id: NodeId, conn: usize, reply: Value) {
        let from = self.net.conns[conn].nodes[SERVER];
        let Some(ours) = self.ours_mut(id) else {
            return;
        };
        let Some(link) = ours.links.link_of.get_mut(&conn) else {
            return;
        };
        let tag = link.tag;
        let about = if link.is_pubsub {
            None
        } else {
            link.expected.pop_front().flatten()
        };
        if let (Some(group), Some(from), Value::Array(parts)) = (about, from, &reply)
            && let Some(Value::Integer(down)) = parts.first()
        {
            let down = *down == 1;
            self.observe(id, &Fact::Opinion { group, from, down });
        }
        self.trace
            .full(self.agenda.now(), &self.nodes[id].name, || {
                format!("hears on {tag}: {}", brief(&reply))
            });
        let link = sentinel::sentinel::core::LinkId(tag);
        self.feed(id, Input::Reply { link, reply });
    }

    /// A packet on a connection that a peer opened.
    fn drive_client(&mut self, id: NodeId, conn: usize, packet: Packet) {
        let request = match packet {
            Packet::Request(request) => *request,
            Packet::Fin | Packet::Reset => {
                self.net.close(conn, SERVER, &mut self.agenda);
                if let Some(ours) = self.ours_mut(id) {
                    ours.clients.remove(&conn);
                }
                return;
            }
            Packet::Syn | Packet::Accept | Packet::Refuse | Packet::Reply(_) => return,
        };
        self.remember(&request);
        match request {
            Request::Auth(_) | Request::SetName(_) => {
                self.answer_client(id, conn, Value::ok());
            }
            Request::Ping => self.answer_client(id, conn, Value::simple("PONG")),
            Request::Publish(payload) => {
                self.answer_client(id, conn, Value::Integer(1));
                let payload = Bytes::copy_from_slice(payload.as_bytes());
                self.feed(id, Input::HelloPublished { payload });
            }
            Request::AskMasterDown {
                host,
                port,
                epoch,
                candidate,
            } => {
                let group = self.watched_group_at(&host, port);
                let Some(ours) = self.ours_mut(id) else {
                    return;
                };
                let to = ours.next_reply();
                let pending = Pending::Asked {
                    conn,
                    group,
                    candidate: candidate.clone(),
                    epoch,
                };
                ours.pending.insert(to, pending);
                let slots = ours.clients.entry(conn).or_default();
                slots.push_back(Slot::Waiting(to));
                let host = host.to_string();
                self.feed(
                    id,
                    Input::Asked {
                        to,
                        host,
                        port,
                        epoch,
                        candidate,
                    },
                );
            }
            Request::Ordered {
                host,
                port,
                epoch,
                candidate,
            } => {
                let host = host.to_string();
                self.answer_client(id, conn, Value::ok());
                self.feed(
                    id,
                    Input::Ordered {
                        host,
                        port,
                        epoch,
                        candidate,
                    },
                );
            }
            Request::Pause { master, length } => {
                let request = Operator::Pause {
                    name: master.clone(),
                    length,
                    forwarded: true,
                };
                self.drive_passed_on(id, conn, master.as_str(), request);
            }
            Request::Resume { master } => {
                let request = Operator::Resume {
                    name: master.clone(),
                    forwarded: true,
                };
                self.drive_passed_on(id, conn, master.as_str(), request);
            }
            Request::Info | Request::Subscribe | Request::ScriptKill => {
                self.answer_client(id, conn, Value::error("ERR unknown command"));
            }
            Request::SlaveOf(_) => {
                for _ in 0..6 {
                    self.answer_client(id, conn, Value::error("ERR unknown command"));
                }
            }
        }
    }

    /// A peer passes an operator's order on.
    fn drive_passed_on(&mut self, id: NodeId, conn: usize, master: &str, request: Operator) {
        let group = self.watched_group(master);
        let Some(ours) = self.ours_mut(id) else {
            return;
        };
        let to = ours.next_reply();
        ours.pending.insert(to, Pending::PassedOn { conn, group });
        let slots = ours.clients.entry(conn).or_default();
        slots.push_back(Slot::Waiting(to));
        self.feed(id, Input::Operator { to, request });
    }

    /// Keeps what a lost and repeated message might say again.
    fn remember(&mut self, request: &Request) {
        const HEARD_MAX: usize = 200;
        let is_worth_it = matches!(
            request,
            Request::Publish(_)
                | Request::Ordered { .. }
                | Request::AskMasterDown {
                    candidate: Some(_),
                    ..
                }
        );
        if is_worth_it && self.faults.is_on {
            if self.heard.len() >= HEARD_MAX {
                self.heard.pop_front();
            }
            self.heard.push_back(request.clone());
        }
    }

    fn answer_client(&mut self, id: NodeId, conn: usize, reply: Value) {
        if let Some(ours) = self.ours_mut(id) {
            let slots = ours.clients.entry(conn).or_default();
            slots.push_back(Slot::Ready(reply));
            self.flush_client(id, conn);
        }
    }

    fn flush_client(&mut self, id: NodeId, conn: usize) {
        let ready = self
            .ours_mut(id)
            .map(|ours| ours.ready_replies(conn))
            .unwrap_or_default();
        for reply in ready {
            let packet = Packet::Reply(Box::new(reply));
            self.net.send(conn, SERVER, packet, &mut self.agenda);
        }
    }

    // The loop.

    /// Hands one input to the core and does what it wants.
    pub(crate) fn feed(&mut self, id: NodeId, input: Input) {
        let clock = self.clock(id);
        let mut out = std::mem::take(&mut self.outputs);
        let Some(core) = self.ours_mut(id).and_then(|ours| ours.core.as_mut()) else {
            return;
        };
        core.handle(clock, input, &mut out);
        self.observe_handled(id);
        self.perform(id, &mut out);
        out.clear();
        self.outputs = out;
        self.plan_wake(id);
    }

    fn plan_wake(&mut self, id: NodeId) {
        let node = &mut self.nodes[id];
        let Body::Ours(ours) = &mut node.body else {
            return;
        };
        let Some(core) = &ours.core else { return };
        let deadline = core.next_deadline().0;
        if deadline == u64::MAX {
            return;
        }
        let at = (node.booted_at + deadline.saturating_sub(MONO_START_MS)).max(self.agenda.now());
        if ours.wake_at.is_none_or(|planned| at < planned) {
            ours.wake_at = Some(at);
            let boot = node.boot;
            self.agenda.at(at, Due::Wake { node: id, boot });
        }
    }

    pub(crate) fn wake(&mut self, id: NodeId) {
        let now = self.agenda.now();
        let clock = self.clock(id);
        let is_stopped = self.nodes[id].power == crate::world::Power::Stopped;
        let Some(ours) = self.ours_mut(id) else {
            return;
        };
        if ours.wake_at != Some(now) || is_stopped {
            return;
        }
        ours.wake_at = None;
        if ours.ticks.0 != now {
            ours.ticks = (now, 0);
        }
        ours.ticks.1 += 1;
        let is_spinning = ours.ticks.1 > TICKS_PER_MS_MAX;
        let is_due = ours
            .core
            .as_ref()
            .is_some_and(|core| core.next_deadline() <= clock.mono);
        if is_spinning {
            let name = self.nodes[id].name.clone();
            self.violate(
                "sleeps",
                format!("{name} wants tick after tick and time stands still"),
            );
        } else if is_due {
            self.feed(id, Input::Tick);
        } else {
            self.plan_wake(id);
        }
    }

    /// A stopped sentinel goes on: first the gap, then what has queued up, then the deadlines.
    pub(crate) fn resume_ours(&mut self, id: NodeId) {
        let now = self.agenda.now();
        let answered = self.answered_meanwhile(id);
        let Some(ours) = self.ours_mut(id) else {
            return;
        };
        let late = match ours.wake_at {
            Some(planned) if planned < now => now - planned,
            Some(_) | None => 0,
        };
        // One that came due in this very moment found the process stopped, too.
        if ours.wake_at.is_some_and(|planned| planned <= now) {
            ours.wake_at = None;
        }
        self.story(id, || format!("runs again, {late} ms late"));
        let fact = Fact::StallEnds {
            late_ms: late,
            answered,
        };
        self.observe(id, &fact);
        if late > 0 {
            let late = Duration::from_millis(late);
            self.feed(id, Input::Stalled { late });
        }
        let boot = self.nodes[id].boot;
        while self.is_current(id, boot) {
            let Some(arrival) = self.nodes[id].inbox.pop_front() else {
                break;
            };
            self.drive(id, arrival);
        }
        self.feed(id, Input::Tick);
        self.observe(id, &Fact::StallOver);
    }

    /// The instances whose answer to a PING waits to be read.
    fn answered_meanwhile(&self, id: NodeId) -> Vec<(String, String)> {
        let mut answered = Vec::new();
        for arrival in &self.nodes[id].inbox {
            let Arrival::Packet {
                conn,
                packet: Packet::Reply(reply),
                ..
            } = arrival
            else {
                continue;
            };
            let from = self.net.conns[*conn].nodes[SERVER];
            if **reply != Value::simple("PONG") {
                continue;
            }
            // A master that calls itself a replica is down for another reason.
            if let Some(from) = from.filter(|from| !self.reports_wrong_role(*from)) {
                let addr = self.nodes[from].addr;
                answered.push((addr.ip().to_string(), addr.port().to_string()));
            }
        }
        answered
    }

    fn reports_wrong_role(&self, id: NodeId) -> bool {
        matches!(&self.nodes[id].body, Body::Server(server) if !server.is_master())
    }

    // The disk.

    pub(crate) fn disk_start(&mut self, id: NodeId) {
        let dice = self.dice.any();
        let Some(ours) = self.ours_mut(id) else {
            return;
        };
        ours.disk.is_start_planned = false;
        let Some(core) = ours.core.as_ref() else {
            return;
        };
        if ours.disk.in_flight.is_some() || !ours.disk.is_wanted {
            return;
        }
        ours.disk.is_wanted = false;
        ours.disk.in_flight = Some((core.seq(), core.durable()));
        let ms = match ours.disk.mode {
            DiskMode::Works { ms: (low, high) } => low + dice % (high - low + 1),
            DiskMode::Fails { ms } => ms,
        };
        let boot = self.nodes[id].boot;
        self.agenda.after(ms, Due::DiskDone { node: id, boot });
    }

    pub(crate) fn disk_done(&mut self, id: NodeId) {
        let Some(ours) = self.ours_mut(id) else {
            return;
        };
        let Some((seq, durable)) = ours.disk.in_flight.take() else {
            return;
        };
        let arrival = match ours.disk.mode {
            DiskMode::Works { .. } => {
                ours.disk.file = durable.clone();
                Arrival::Persisted(seq, Box::new(durable))
            }
            DiskMode::Fails { .. } => Arrival::PersistFailed(seq, Box::new(durable)),
        };
        let is_wanted = ours.disk.is_wanted;
        self.story(id, || match &arrival {
            Arrival::Persisted(Seq(seq), _) => format!("state {seq} is on disk"),
            _ => "the disk is full".to_owned(),
        });
        if is_wanted {
            self.disk_start(id);
        }
        self.arrive(id, arrival);
    }

    /// The core has heard how the write of a state ended; perhaps it was the newest. A write that ended
    /// while the process was stopped has not been heard of, and what waits for it is still held back.
    fn note_written(&mut self, id: NodeId, seq: Seq) {
        if let Some(ours) = self.ours_mut(id)
            && ours.core.as_ref().is_some_and(|core| core.seq() <= seq)
        {
            ours.disk.unwritten_since = None;
        }
    }

    fn persist(&mut self, id: NodeId, seq: Seq, urgent: bool) {
        let now = self.agenda.now();
        self.story(id, || {
            let Seq(number) = seq;
            format!(
                "writes state {number}{}",
                if urgent { "" } else { " (lazily)" }
            )
        });
        self.observe_change(id);
        let Some(ours) = self.ours_mut(id) else {
            return;
        };
        ours.disk.is_wanted = true;
        ours.disk.unwritten_since.get_or_insert(now);
        if ours.disk.in_flight.is_some() {
            return;
        }
        if urgent {
            self.disk_start(id);
        } else if !std::mem::replace(&mut ours.disk.is_start_planned, true) {
            let boot = self.nodes[id].boot;
            self.agenda
                .after(LAZY_WRITE_MS, Due::DiskStart { node: id, boot });
        }
    }

    pub(crate) fn resolved(&mut self, id: NodeId) {
        let Some(host) = self.ours_mut(id).and_then(|ours| ours.lookups.pop_front()) else {
            return;
        };
        let known = self.hosts.iter().find(|(name, _)| **name == *host);
        let ip = known.map(|(_, ip)| *ip);
        self.arrive(id, Arrival::Resolved(host, ip));
    }

    // What the core wants done.

    fn perform(&mut self, id: NodeId, out: &mut Vec<Output>) {
        let boot = self.nodes[id].boot;
        for output in out.drain(..) {
            if !self.is_current(id, boot) {
                continue;
            }
            match output {
                Output::Persist { seq, urgent } => self.persist(id, seq, urgent),
                Output::Connect { link, to, .. } => {
                    let conn = self.net.connect(id, to, &mut self.agenda);
                    if let Some(ours) = self.ours_mut(id) {
                        ours.links.open(link.0, conn);
                    }
                }
                Output::Close { link } => {
                    let conn = self.ours_mut(id).and_then(|ours| ours.links.closed(link.0));
                    if let Some(conn) = conn {
                        self.net.close(conn, CLIENT, &mut self.agenda);
                    }
                }
                Output::Send { link, request, .. } => self.perform_send(id, link.0, request),
                Output::Reply { to, reply } => self.perform_reply(id, to, reply),
                Output::Event(event) => self.perform_event(id, &event),
                Output::Log(level, text) => self.log(id, level, || format!("log: {text}")),
                Output::Record(record) => self.perform_record(id, &record),
                Output::Resolve(host) => {
                    if let Some(ours) = self.ours_mut(id) {
                        ours.lookups.push_back(host);
                        self.agenda.after(2, Due::Resolved { node: id, boot });
                    }
                }
                Output::Script { path, args, .. } => {
                    self.story(id, || format!("script {path} {}", args.join(" ")));
                }
                Output::Exit(status) => {
                    self.story(id, || format!("exits with {status}"));
                    self.crash(id, false);
                }
            }
        }
    }

    fn perform_send(&mut self, id: NodeId, tag: u64, request: Request) {
        let Some(conn) = self
            .ours_mut(id)
            .and_then(|ours| ours.links.conn_of.get(&tag).copied())
        else {
            return;
        };
        let to = self.net.conns[conn].nodes[SERVER];
        let about = self.observe_request(id, to, &request);
        if let Some(link) = self
            .ours_mut(id)
            .and_then(|ours| ours.links.link_of.get_mut(&conn))
        {
            link.is_pubsub |= matches!(request, Request::Subscribe);
            for _ in 0..request.reply_count() {
                link.expected.push_back(about);
            }
        }
        let packet = Packet::Request(Box::new(request));
        self.net.send(conn, CLIENT, packet, &mut self.agenda);
    }
}

/// A reply in one line.
fn brief(value: &Value) -> String {
    let mut text = format!("{value:?}");
    if text.len() > 200 {
        text = format!("{}…", &text[..200]);
    }
    text
}

impl Ours {
    fn next_reply(&mut self) -> ReplyTo {
        self.replies += 1;
        ReplyTo(self.replies)
    }
}

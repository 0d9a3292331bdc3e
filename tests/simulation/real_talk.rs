//! What the modelled redis-sentinel does with messages: replies, questions and votes, hellos, switches.

use std::net::SocketAddr;

use sentinel::ids::{Epoch, SentinelId};
use sentinel::resp::Value;
use sentinel::sentinel::core::Request;

use crate::net::{CLIENT, Packet, SERVER};
use crate::observing::vote_in;
use crate::properties::Fact;
use crate::real::{Expect, Instance, Live, State, Watch, Whose};
use crate::world::World;

impl Live {
    fn find(&self, conn: usize) -> Option<(usize, Whose, bool)> {
        for (w, watch) in self.watches.iter().enumerate() {
            let all = [(Whose::Master, &watch.master)]
                .into_iter()
                .chain(
                    watch
                        .replicas
                        .iter()
                        .enumerate()
                        .map(|(n, i)| (Whose::Replica(n), i)),
                )
                .chain(
                    watch
                        .peers
                        .iter()
                        .enumerate()
                        .map(|(n, i)| (Whose::Peer(n), i)),
                );
            for (whose, instance) in all {
                if instance.cmd == Some(conn) {
                    return Some((w, whose, false));
                }
                if instance.pubsub == Some(conn) {
                    return Some((w, whose, true));
                }
            }
        }
        None
    }

    pub(crate) fn lost(&mut self, conn: usize) {
        let Some((w, whose, is_pubsub)) = self.find(conn) else {
            return;
        };
        let instance = self.watches[w].get(whose);
        if is_pubsub {
            instance.pubsub = None;
        } else {
            instance.cmd = None;
            instance.expects.clear();
        }
    }

    pub(crate) fn link_packet(&mut self, world: &mut World, conn: usize, packet: Packet) {
        match packet {
            Packet::Refuse | Packet::Reset => self.lost(conn),
            Packet::Fin => {
                world.net.close(conn, CLIENT, &mut world.agenda);
                self.lost(conn);
            }
            Packet::Reply(reply) => self.reply(world, conn, &reply),
            Packet::Accept | Packet::Syn | Packet::Request(_) => {}
        }
    }

    fn reply(&mut self, world: &mut World, conn: usize, reply: &Value) {
        let now = world.now();
        let Some((w, whose, is_pubsub)) = self.find(conn) else {
            return;
        };
        let instance = self.watches[w].get(whose);
        if is_pubsub {
            instance.heard_pubsub = now;
            if let Value::Array(parts) = reply
                && let Some(payload) = parts.get(2).and_then(Value::as_bytes)
            {
                let payload = String::from_utf8_lossy(payload).into_owned();
                if !payload.contains(self.id.as_str()) {
                    self.hear_hello(world, &payload);
                }
            }
            return;
        }
        match instance.expects.pop_front() {
            Some(Expect::Ping) => {
                let (Value::Simple(text) | Value::Error(text)) = reply else {
                    return;
                };
                let good = [&b"PONG"[..], b"LOADING", b"MASTERDOWN"];
                if good.iter().any(|word| text.starts_with(word)) {
                    instance.available = now;
                    instance.unanswered = None;
                }
                instance.answered = now;
            }
            Some(Expect::Info) => {
                if let Some(text) = reply.as_bytes() {
                    let text = String::from_utf8_lossy(text).into_owned();
                    self.hear_info(world, w, whose, &text);
                }
            }
            Some(Expect::Publish) => instance.published = now,
            Some(Expect::Ask) => self.hear_answer(world, w, whose, reply),
            Some(Expect::Nothing) | None => {}
        }
    }

    fn hear_answer(&mut self, world: &mut World, w: usize, whose: Whose, reply: &Value) {
        let now = world.now();
        let Value::Array(parts) = reply else { return };
        let [Value::Integer(down), Value::Bulk(_), Value::Integer(_)] = parts.as_slice() else {
            return;
        };
        let watch = &mut self.watches[w];
        let group = watch.group;
        let instance = watch.get(whose);
        instance.said_at = now;
        instance.says_down = *down == 1;
        if let Some((leader, epoch)) = vote_in(reply) {
            instance.vote = Some((leader, epoch.0));
        }
        let (from, down) = (world.net.node_at(instance.addr), *down == 1);
        if let Some(from) = from {
            world.observe(self.me, &Fact::Opinion { group, from, down });
        }
    }

    pub(crate) fn client_packet(&mut self, world: &mut World, conn: usize, packet: Packet) {
        let request = match packet {
            Packet::Request(request) => *request,
            Packet::Fin | Packet::Reset => {
                world.net.close(conn, SERVER, &mut world.agenda);
                return;
            }
            Packet::Syn | Packet::Accept | Packet::Refuse | Packet::Reply(_) => return,
        };
        let replies = request.reply_count();
        let reply = match request {
            Request::Auth(_) | Request::SetName(_) => Value::ok(),
            Request::Ping => Value::simple("PONG"),
            Request::Publish(payload) => {
                self.hear_hello(world, &payload);
                Value::Integer(1)
            }
            Request::AskMasterDown {
                host,
                port,
                epoch,
                candidate,
            } => self.asked(world, &host, port, epoch.0, candidate),
            Request::Ordered { .. } | Request::Pause { .. } | Request::Resume { .. } => {
                Value::error("ERR unknown subcommand 'x'. Try SENTINEL HELP.")
            }
            Request::Info | Request::Subscribe | Request::SlaveOf(_) | Request::ScriptKill => {
                Value::error("ERR unknown command")
            }
        };
        for _ in 0..replies {
            let packet = Packet::Reply(Box::new(reply.clone()));
            world.net.send(conn, SERVER, packet, &mut world.agenda);
        }
    }

    fn asked(
        &mut self,
        world: &mut World,
        host: &str,
        port: u16,
        epoch: u64,
        candidate: Option<SentinelId>,
    ) -> Value {
        let is_tilt = self.tilt_since.is_some();
        let about =
            |watch: &Watch| watch.addr.ip().to_string() == host && watch.addr.port() == port;
        let answer = |down: bool, leader: &str, epoch: u64| {
            Value::Array(vec![
                Value::Integer(i64::from(down)),
                Value::bulk(leader),
                Value::Integer(i64::try_from(epoch).unwrap_or(i64::MAX)),
            ])
        };
        let Some(w) = self.watches.iter().position(about) else {
            return answer(false, "*", 0);
        };
        let is_down = self.watches[w].master.sdown_since.is_some() && !is_tilt;
        let Some(candidate) = candidate else {
            return answer(is_down, "*", 0);
        };
        self.vote(world, w, &candidate, epoch);
        let watch = &self.watches[w];
        let text = format!(
            "answers {candidate} (epoch {epoch}): my vote in epoch {} is {}",
            watch.leader_epoch,
            watch.leader.as_ref().map_or("*", SentinelId::as_str),
        );
        match watch.leader.clone() {
            Some(leader) => {
                let (group, epoch) = (watch.group, watch.leader_epoch);
                self.story(world, text);
                let fact = Fact::Vote {
                    group,
                    leader: &leader,
                    epoch: Epoch(epoch),
                    disk: None,
                };
                world.observe(self.me, &fact);
                answer(is_down, leader.as_str(), epoch)
            }
            None => answer(is_down, "*", watch.leader_epoch),
        }
    }

    /// Votes, unless that has been done for this epoch.
    pub(crate) fn vote(&mut self, world: &mut World, w: usize, candidate: &SentinelId, epoch: u64) {
        if epoch > self.epoch {
            self.epoch = epoch;
            self.flush(world);
            self.story(world, format!("+new-epoch {epoch}"));
        }
        let watch = &mut self.watches[w];
        if watch.leader_epoch < epoch && self.epoch <= epoch {
            watch.leader = Some(candidate.clone());
            watch.leader_epoch = self.epoch;
            if *candidate != self.id {
                watch.started = world.now() + self.dice.below(1_000);
            }
            let text = format!("+vote-for-leader {candidate} {}", self.epoch);
            self.flush(world);
            self.story(world, text);
        }
    }

    pub(crate) fn hear_hello(&mut self, world: &mut World, payload: &str) {
        let fields: Vec<&str> = payload.split(',').collect();
        let [
            host,
            port,
            id,
            epoch,
            name,
            master_host,
            master_port,
            config_epoch,
        ] = fields[..]
        else {
            return;
        };
        let Some(w) = self.watches.iter().position(|watch| watch.name == name) else {
            return;
        };
        let addr =
            |host: &str, port: &str| Some(SocketAddr::new(host.parse().ok()?, port.parse().ok()?));
        let (Some(from), Some(master)) = (addr(host, port), addr(master_host, master_port)) else {
            return;
        };
        let (epoch, config_epoch): (u64, u64) = (
            epoch.parse().unwrap_or(0),
            config_epoch.parse().unwrap_or(0),
        );
        if id == self.id.as_str() {
            return;
        }
        let now = world.now();
        let watch = &mut self.watches[w];
        let id = SentinelId::from(id);
        let is_known = |peer: &Instance| peer.addr == from && peer.peer.as_ref() == Some(&id);
        if !watch.peers.iter().any(is_known) {
            watch
                .peers
                .retain(|peer| peer.addr != from && peer.peer.as_ref() != Some(&id));
            watch.peers.push(Instance::new(now, from, Some(id.clone())));
            self.flush(world);
            self.story(world, format!("+sentinel sentinel {id}"));
        }
        if epoch > self.epoch {
            self.epoch = epoch;
            self.flush(world);
            self.story(world, format!("+new-epoch {epoch}"));
        }
        let watch = &mut self.watches[w];
        if config_epoch > watch.config_epoch {
            watch.config_epoch = config_epoch;
            if watch.addr != master {
                self.story(world, format!("+config-update-from sentinel {id}"));
                self.switch(world, w, master);
            }
        }
    }

    /// The master has another address from now on.
    pub(crate) fn switch(&mut self, world: &mut World, w: usize, to: SocketAddr) {
        let now = world.now();
        let watch = &mut self.watches[w];
        let from = watch.addr;
        let mut replicas: Vec<SocketAddr> = watch.replicas.iter().map(|r| r.addr).collect();
        replicas.retain(|addr| *addr != to);
        if from != to && !replicas.contains(&from) {
            replicas.push(from);
        }
        let mut conns: Vec<usize> = [watch.master.cmd, watch.master.pubsub]
            .into_iter()
            .flatten()
            .collect();
        for replica in &watch.replicas {
            conns.extend([replica.cmd, replica.pubsub].into_iter().flatten());
        }
        for conn in conns {
            world.net.close(conn, CLIENT, &mut world.agenda);
        }
        let attempted = watch.master.attempted;
        let info_at = watch.master.info_at;
        watch.addr = to;
        watch.master = Instance::new(now, to, None);
        watch.master.attempted = attempted;
        watch.master.info_at = info_at;
        watch.replicas = replicas
            .into_iter()
            .map(|addr| Instance::new(now, addr, None))
            .collect();
        watch.leader = None;
        watch.state = State::None;
        watch.is_odown = false;
        watch.started = 0;
        watch.promoted = None;
        let group = watch.group;
        self.story(world, format!("+switch-master {from} {to}"));
        world.observe(self.me, &Fact::Ended { group });
        self.flush(world);
    }

    /// `SLAVEOF` in its transaction.
    pub(crate) fn send_slave_of(
        &mut self,
        world: &mut World,
        w: usize,
        whose: Whose,
        to: Option<SocketAddr>,
    ) {
        let instance = self.watches[w].get(whose);
        let Some(conn) = instance.cmd else { return };
        for _ in 0..6 {
            instance.expects.push_back(Expect::Nothing);
        }
        let server = world.net.conns[conn].nodes[SERVER];
        if let (None, Some(server)) = (to, server) {
            let group = self.watches[w].group;
            world.observe(
                self.me,
                &Fact::Promotes {
                    group,
                    server,
                    is_silent: true,
                },
            );
        }
        let master = to.map(|addr| (addr.ip().to_string().into(), addr.port()));
        let request = Request::SlaveOf(master);
        let packet = Packet::Request(Box::new(request));
        world.net.send(conn, CLIENT, packet, &mut world.agenda);
    }
}

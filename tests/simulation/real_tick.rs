//! The timer of the modelled redis-sentinel: reconnection, periodic requests, SDOWN and ODOWN, and one
//! step of a failover at a time.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use sentinel::ids::{Epoch, SentinelId};
use sentinel::sentinel::core::Request;

use crate::net::{CLIENT, Packet};
use crate::properties::Fact;
use crate::real::{Expect, Live, Reconf, State, Watch, Whose};
use crate::world::World;

const PING_MS: u64 = 1_000;
pub(crate) const INFO_MS: u64 = 10_000;
pub(crate) const HELLO_MS: u64 = 2_000;
const ASK_MS: u64 = 1_000;
const ELECTION_MS: u64 = 10_000;
const RECONF_MS: u64 = 10_000;
const MIN_LINK_MS: u64 = 15_000;
const TILT_TRIGGER_MS: u64 = 2_000;
const TILT_MS: u64 = 30_000;
const PENDING_MAX: usize = 100;

impl Live {
    pub(crate) fn tick(&mut self, world: &mut World) {
        self.check_tilt(world);
        for w in 0..self.watches.len() {
            for whose in self.watches[w].all() {
                self.reconnect(world, w, whose);
                self.periodic(world, w, whose);
                if self.tilt_since.is_none() {
                    self.check_sdown(world, w, whose);
                }
            }
            if self.tilt_since.is_none() {
                self.check_odown(world, w);
                if self.starts_failover(world, w) {
                    self.ask(world, w, true);
                }
                self.step(world, w);
                self.ask(world, w, false);
            }
        }
    }

    fn check_tilt(&mut self, world: &mut World) {
        let wall = world.clock(self.me).unix.0;
        let now = world.now();
        if let Some(last) = self.last_wall
            && (wall < last || wall - last > TILT_TRIGGER_MS)
        {
            self.tilt_since = Some(now);
            self.story(world, "+tilt #tilt mode entered".to_owned());
        }
        self.last_wall = Some(wall);
        if self.tilt_since.is_some_and(|since| now - since >= TILT_MS) {
            self.tilt_since = None;
            self.story(world, "-tilt #tilt mode exited".to_owned());
        }
    }

    fn reconnect(&mut self, world: &mut World, w: usize, whose: Whose) {
        let now = world.now();
        let down_after = self.watches[w].down_after;
        let instance = self.watches[w].get(whose);
        let is_old = now - instance.connected > MIN_LINK_MS;
        let half = down_after / 2;
        let is_silent =
            instance.unanswered.is_some_and(|at| now - at > half) && now - instance.answered > half;
        if is_old
            && is_silent
            && let Some(conn) = instance.cmd.take()
        {
            instance.expects.clear();
            world.net.close(conn, CLIENT, &mut world.agenda);
        }
        if is_old
            && now - instance.heard_pubsub > 3 * HELLO_MS
            && let Some(conn) = instance.pubsub.take()
        {
            world.net.close(conn, CLIENT, &mut world.agenda);
        }
        let is_too_early = instance.attempted.is_some_and(|at| now - at < PING_MS);
        if !instance.is_disconnected() || is_too_early {
            return;
        }
        instance.attempted = Some(now);
        if instance.cmd.is_none() {
            let conn = world.net.connect(self.me, instance.addr, &mut world.agenda);
            instance.cmd = Some(conn);
            instance.connected = now;
            instance.expects.clear();
            self.send(
                world,
                w,
                whose,
                Request::SetName("sentinel-cmd".into()),
                Expect::Nothing,
            );
            self.send_ping(world, w, whose);
        }
        let instance = self.watches[w].get(whose);
        if instance.pubsub.is_none() && instance.peer.is_none() {
            let conn = world.net.connect(self.me, instance.addr, &mut world.agenda);
            instance.pubsub = Some(conn);
            instance.heard_pubsub = now;
            let packet = Packet::Request(Box::new(Request::Subscribe));
            world.net.send(conn, CLIENT, packet, &mut world.agenda);
        }
    }

    fn send(
        &mut self,
        world: &mut World,
        w: usize,
        whose: Whose,
        request: Request,
        expect: Expect,
    ) {
        let instance = self.watches[w].get(whose);
        if let Some(conn) = instance.cmd {
            instance.expects.push_back(expect);
            let packet = Packet::Request(Box::new(request));
            world.net.send(conn, CLIENT, packet, &mut world.agenda);
        }
    }

    fn send_ping(&mut self, world: &mut World, w: usize, whose: Whose) {
        let now = world.now();
        let instance = self.watches[w].get(whose);
        instance.pinged = now;
        instance.unanswered.get_or_insert(now);
        self.send(world, w, whose, Request::Ping, Expect::Ping);
    }

    fn periodic(&mut self, world: &mut World, w: usize, whose: Whose) {
        let now = world.now();
        let watch = &mut self.watches[w];
        let is_busy = watch.is_odown || watch.state != State::None;
        let ping_ms = watch.down_after.min(PING_MS);
        let instance = watch.get(whose);
        if instance.is_disconnected() || instance.expects.len() >= PENDING_MAX {
            return;
        }
        let is_peer = instance.peer.is_some();
        let is_urgent =
            matches!(whose, Whose::Replica(_)) && (is_busy || instance.info.link_down_ms != 0);
        let info_ms = if is_urgent { 1_000 } else { INFO_MS };
        let wants_info = !is_peer && instance.info_at.is_none_or(|at| now - at > info_ms);
        let wants_ping = now - instance.answered > ping_ms && now - instance.pinged > ping_ms / 2;
        let wants_hello = now - instance.published > HELLO_MS;
        if wants_info {
            self.send(world, w, whose, Request::Info, Expect::Info);
        }
        if wants_ping {
            self.send_ping(world, w, whose);
        }
        if wants_hello {
            let own = world.nodes[self.me].addr;
            let watch = &self.watches[w];
            let (told, group) = (watch.told(), watch.group);
            let payload = format!(
                "{},{},{},{},{},{},{},{}",
                own.ip(),
                own.port(),
                self.id,
                self.epoch,
                watch.name,
                told.ip(),
                told.port(),
                watch.config_epoch
            );
            let config_epoch = Epoch(watch.config_epoch);
            let fact = Fact::Hello {
                group,
                addr: told,
                config_epoch,
                disk: None,
            };
            world.observe(self.me, &fact);
            self.send(
                world,
                w,
                whose,
                Request::Publish(payload.into()),
                Expect::Publish,
            );
        }
    }

    fn check_sdown(&mut self, world: &mut World, w: usize, whose: Whose) {
        let now = world.now();
        let down_after = self.watches[w].down_after;
        let instance = self.watches[w].get(whose);
        let elapsed = match instance.unanswered {
            Some(at) => now - at,
            None if instance.is_disconnected() => now - instance.available,
            None => 0,
        };
        let has_wrong_role = whose == Whose::Master
            && instance.info.is_slave
            && now - instance.role_since > down_after + 2 * INFO_MS;
        let is_down = elapsed > down_after || has_wrong_role;
        let addr = instance.addr;
        match (is_down, instance.sdown_since) {
            (true, None) => {
                instance.sdown_since = Some(now);
                self.story(world, format!("+sdown {addr}"));
            }
            (false, Some(_)) => {
                instance.sdown_since = None;
                self.story(world, format!("-sdown {addr}"));
            }
            (true, Some(_)) | (false, None) => {}
        }
    }

    fn check_odown(&mut self, world: &mut World, w: usize) {
        let watch = &mut self.watches[w];
        let agree = 1 + watch.peers.iter().filter(|peer| peer.says_down).count();
        let is_odown = watch.master.sdown_since.is_some() && agree >= watch.quorum;
        if is_odown == watch.is_odown {
            return;
        }
        watch.is_odown = is_odown;
        let (group, quorum) = (watch.group, watch.quorum);
        if is_odown {
            // Right after TILT it may count opinions that are older than 5 s: they expire only when it
            // asks again, later in the same timer. Nothing is asked of it here.
            world.observe(
                self.me,
                &Fact::Odown {
                    group,
                    quorum: 0,
                    held_ms: 0,
                },
            );
            self.story(world, format!("+odown #quorum {agree}/{quorum}"));
        } else {
            self.story(world, "-odown".to_owned());
        }
    }

    fn starts_failover(&mut self, world: &mut World, w: usize) -> bool {
        let now = world.now();
        let watch = &mut self.watches[w];
        let is_early = watch.started != 0 && now < watch.started + 2 * watch.timeout;
        if !watch.is_odown || watch.state != State::None || is_early {
            return false;
        }
        self.epoch += 1;
        watch.failover_epoch = self.epoch;
        watch.state = State::WaitStart;
        watch.state_since = now;
        watch.started = now + self.dice.below(1_000);
        let group = watch.group;
        world.observe(self.me, &Fact::Try { group, held_ms: 0 });
        self.story(world, format!("+try-failover (epoch {})", self.epoch));
        true
    }

    fn ask(&mut self, world: &mut World, w: usize, is_forced: bool) {
        let now = world.now();
        let epoch = self.epoch;
        let watch = &mut self.watches[w];
        let (addr, is_down) = (watch.addr, watch.master.sdown_since.is_some());
        let candidate = (watch.state != State::None).then(|| self.id.clone());
        for index in 0..watch.peers.len() {
            let watch = &mut self.watches[w];
            let peer = &mut watch.peers[index];
            if now.saturating_sub(peer.said_at) > 5 * ASK_MS {
                peer.says_down = false;
                peer.vote = None;
            }
            let is_asked = is_forced || (is_down && now.saturating_sub(peer.said_at) >= ASK_MS);
            if !is_asked || peer.cmd.is_none() || peer.expects.len() >= PENDING_MAX {
                continue;
            }
            let request = Request::AskMasterDown {
                host: addr.ip().to_string().into(),
                port: addr.port(),
                epoch: Epoch(epoch),
                candidate: candidate.clone(),
            };
            self.send(world, w, Whose::Peer(index), request, Expect::Ask);
        }
    }

    fn step(&mut self, world: &mut World, w: usize) {
        match self.watches[w].state {
            State::None => {}
            State::WaitStart => self.wait_start(world, w),
            State::SelectSlave => self.select_slave(world, w),
            State::SendNoOne => self.send_no_one(world, w),
            State::WaitPromotion => {
                let watch = &self.watches[w];
                if world.now() - watch.state_since > watch.timeout {
                    self.abort(world, w, "-failover-abort-slave-timeout");
                }
            }
            State::ReconfSlaves => self.reconf_slaves(world, w),
        }
    }

    pub(crate) fn enter(&mut self, world: &mut World, w: usize, state: State) {
        self.watches[w].state = state;
        self.watches[w].state_since = world.now();
        self.story(world, format!("failover: {state:?}"));
    }

    fn abort(&mut self, world: &mut World, w: usize, why: &str) {
        let watch = &mut self.watches[w];
        watch.state = State::None;
        watch.promoted = None;
        let group = watch.group;
        world.observe(self.me, &Fact::Ended { group });
        self.story(world, why.to_owned());
    }

    fn wait_start(&mut self, world: &mut World, w: usize) {
        let now = world.now();
        let watch = &self.watches[w];
        let (voters, failover_epoch, group) =
            (watch.peers.len() + 1, watch.failover_epoch, watch.group);
        let mut votes: BTreeMap<SentinelId, usize> = BTreeMap::new();
        for peer in &watch.peers {
            if let Some((leader, epoch)) = &peer.vote
                && *epoch == self.epoch
            {
                *votes.entry(leader.clone()).or_default() += 1;
            }
        }
        let most = |votes: &BTreeMap<SentinelId, usize>| {
            let best = votes.iter().max_by_key(|(_, count)| **count);
            best.map(|(leader, count)| (leader.clone(), *count))
        };
        let favourite = most(&votes).map_or(self.id.clone(), |(leader, _)| leader);
        self.vote(world, w, &favourite, failover_epoch);
        let watch = &self.watches[w];
        if let Some(leader) = watch.leader.clone()
            && watch.leader_epoch == failover_epoch
        {
            *votes.entry(leader.clone()).or_default() += 1;
            let fact = Fact::Vote {
                group,
                leader: &leader,
                epoch: Epoch(failover_epoch),
                disk: None,
            };
            world.observe(self.me, &fact);
        }
        let watch = &self.watches[w];
        let winner = most(&votes)
            .filter(|(_, count)| *count > voters / 2 && *count >= watch.quorum)
            .map(|(leader, _)| leader);
        if winner.as_ref() == Some(&self.id) {
            let quorum = u32::try_from(watch.quorum).unwrap_or(u32::MAX);
            // It counts votes of the current epoch for a failover of an earlier one, in which another
            // may have won. Ours cannot prevent that, so the run is of no more use.
            world.is_spoiled |= self.epoch != failover_epoch;
            let id = self.id.clone();
            let fact = Fact::Elected {
                group,
                id: &id,
                epoch: Epoch(failover_epoch),
                voters,
                quorum,
                disk: None,
            };
            world.observe(self.me, &fact);
            self.story(world, format!("+elected-leader (epoch {failover_epoch})"));
            self.enter(world, w, State::SelectSlave);
        } else if now.saturating_sub(watch.started) > watch.timeout.min(ELECTION_MS) {
            self.abort(world, w, "-failover-abort-not-elected");
        }
    }

    fn select_slave(&mut self, world: &mut World, w: usize) {
        let now = world.now();
        let watch = &self.watches[w];
        let down_for = watch.master.sdown_since.map_or(0, |since| now - since);
        let link_down_max = i64::try_from(down_for + 10 * watch.down_after).unwrap_or(i64::MAX);
        let info_ms_max = if watch.master.sdown_since.is_some() {
            5 * PING_MS
        } else {
            3 * INFO_MS
        };
        let good = watch.replicas.iter().filter(|replica| {
            replica.sdown_since.is_none()
                && !replica.is_disconnected()
                && now - replica.available <= 5 * PING_MS
                && replica.info.priority != 0
                && replica.info_at.is_some_and(|at| now - at <= info_ms_max)
                && replica.info.link_down_ms <= link_down_max
        });
        let best = good.min_by_key(|replica| {
            let info = &replica.info;
            (info.priority, u64::MAX - info.offset, info.run_id.clone())
        });
        let Some(addr) = best.map(|replica| replica.addr) else {
            self.abort(world, w, "-failover-abort-no-good-slave");
            return;
        };
        self.watches[w].promoted = Some(addr);
        self.story(world, format!("+selected-slave {addr}"));
        self.enter(world, w, State::SendNoOne);
    }

    fn promoted(&self, w: usize) -> Option<Whose> {
        let watch = &self.watches[w];
        let of = |addr: SocketAddr| watch.replicas.iter().position(|r| r.addr == addr);
        watch.promoted.and_then(of).map(Whose::Replica)
    }

    fn send_no_one(&mut self, world: &mut World, w: usize) {
        let Some(promoted) = self.promoted(w) else {
            return;
        };
        let watch = &mut self.watches[w];
        if watch.get(promoted).is_disconnected() {
            if world.now() - watch.state_since > watch.timeout {
                self.abort(world, w, "-failover-abort-slave-timeout");
            }
            return;
        }
        self.send_slave_of(world, w, promoted, None);
        self.enter(world, w, State::WaitPromotion);
    }

    fn reconf_slaves(&mut self, world: &mut World, w: usize) {
        let now = world.now();
        let Some(target) = self.watches[w].promoted else {
            return;
        };
        let in_progress = |watch: &Watch| {
            let busy = |r: &&crate::real::Instance| {
                matches!(r.reconf, Reconf::Sent(_) | Reconf::InProgress)
            };
            watch.replicas.iter().filter(busy).count()
        };
        for index in 0..self.watches[w].replicas.len() {
            let busy = in_progress(&self.watches[w]);
            let parallel = self.watches[w].parallel;
            let replica = &mut self.watches[w].replicas[index];
            if replica.addr == target || replica.reconf == Reconf::Done {
                continue;
            }
            match replica.reconf {
                Reconf::Sent(at) if now - at > RECONF_MS => replica.reconf = Reconf::Done,
                Reconf::No if busy < parallel && !replica.is_disconnected() => {
                    replica.reconf = Reconf::Sent(now);
                    let addr = replica.addr;
                    self.send_slave_of(world, w, Whose::Replica(index), Some(target));
                    self.story(world, format!("+slave-reconf-sent {addr}"));
                }
                Reconf::No | Reconf::Sent(_) | Reconf::InProgress | Reconf::Done => {}
            }
        }
        self.check_end(world, w, target);
    }

    fn check_end(&mut self, world: &mut World, w: usize, target: SocketAddr) {
        let watch = &self.watches[w];
        let is_down = |r: &&crate::real::Instance| r.addr == target && r.sdown_since.is_some();
        if watch.replicas.iter().any(|replica| is_down(&replica)) {
            return;
        }
        let remains = watch.replicas.iter().any(|replica| {
            replica.addr != target
                && replica.reconf != Reconf::Done
                && replica.sdown_since.is_none()
        });
        let is_late = world.now() - watch.state_since > watch.timeout;
        if remains && !is_late {
            return;
        }
        if is_late {
            for index in 0..self.watches[w].replicas.len() {
                let replica = &self.watches[w].replicas[index];
                let is_settled = matches!(replica.reconf, Reconf::Done | Reconf::Sent(_));
                if replica.addr != target && !is_settled && !replica.is_disconnected() {
                    self.send_slave_of(world, w, Whose::Replica(index), Some(target));
                }
            }
        }
        self.story(world, "+failover-end".to_owned());
        world.switches += 1;
        self.switch(world, w, target);
    }
}

//! Links and what regularly travels over them: connecting, PING, INFO, hellos, and replies.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;

use super::Sentinel;
use super::addr::Addr;
use super::event::{Event, EventKind, Level};
use super::instance::{Closed, Gate, Instance, InstanceId};
use super::io::{Credentials, DownReason, HELLO_CHANNEL, LinkId, LinkKind, Output, Request};
use super::link::{Awaited, Link, RECONNECT_PAUSE_MAX};
use super::master::MasterId;
use super::peer::PeerId;
use super::timers::Timer;
use crate::clock::{Mono, millis};
use crate::resp::Value;

/// A connection attempt is given up after this: a new SYN beats the kernel's growing pauses.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Periodic requests stop while a link has this many unanswered, times the masters that share it.
const PENDING_MAX: usize = 100;
/// A pub/sub link silent for this many hello periods is made anew: our own hellos come back on it.
const PUBSUB_SILENT_PERIODS: u32 = 3;
/// Unhurried deadlines are rounded up to this, so that thousands of links share wake-ups.
const QUANTUM: u64 = 8;
/// An announced shutdown that has not come after this is not coming.
const ANNOUNCEMENT_AGE_MAX: Duration = Duration::from_secs(5);
/// The host name of an address that is not resolved yet is looked up this often.
const RESOLVE_RETRY: Duration = Duration::from_secs(1);

/// What a link leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Instance(InstanceId, LinkKind),
    Peer(PeerId),
}

impl Sentinel {
    // What is due at an instance.

    /// Does all that is due at an instance and arms its timer for what comes next. An input that may be
    /// cause to call it down only arms the timer: the judgement waits for the tick behind all input,
    /// because the PONG that would change it may already lie in the socket.
    pub(super) fn tend_instance(&mut self, i: InstanceId) {
        if !self.instances.contains_key(&i) {
            return;
        }
        let m = self.instance(i).master;
        if self.judge_instance(i) {
            self.timers.arm(Timer::Master(m), self.now);
        }
        for kind in [LinkKind::Cmd, LinkKind::PubSub] {
            self.recycle_instance_link(i, kind);
            self.connect_instance(i, kind);
        }
        self.send_due(i);
        self.arm_instance(i);
    }

    fn arm_instance(&mut self, i: InstanceId) {
        let instance = self.instance(i);
        let mut next = self.next_judgement(i);
        let mut sooner = |at: Option<Mono>| {
            next = match (next, at) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        };
        if instance.addr.port() != 0 {
            sooner(instance.cmd.retry_at());
            if instance.cmd.is_up() {
                sooner(instance.pubsub.retry_at());
            }
        }
        for link in [&instance.cmd, &instance.pubsub] {
            if let Link::Connecting { since, .. } = link {
                sooner(Some(*since + CONNECT_TIMEOUT));
            }
        }
        if let Some(up) = instance.cmd.up() {
            let awaits_pong = up.awaited.contains(&Awaited::Ping);
            // A PONG does not arm anything: the next PING is reckoned with while the last is out.
            if !awaits_pong || instance.ping.next_at > self.now {
                sooner(Some(instance.ping.next_at));
            }
            if awaits_pong {
                let age = self.tuning.min_link_reconnect_period;
                let half = self.master(instance.master).settings.down_after / 2;
                let ping = &instance.ping;
                let silent_from = ping
                    .unanswered_since
                    .map_or(ping.any_at, |at| at.max(ping.any_at));
                sooner(Some((up.since + age).max(silent_from + half) + MS));
            }
            if !up.awaited.contains(&Awaited::Info) {
                sooner(Some(self.info_due(i)));
            }
            // While a configuration is being written there is nothing to say; then everyone is greeted.
            let is_mute =
                self.globals.observe_only || self.master(instance.master).announcement.is_some();
            if !is_mute && !up.awaited.contains(&Awaited::Publish) {
                sooner(Some(instance.hello_next_at));
            }
        }
        if let Some(up) = instance.pubsub.up() {
            let age = up.since + self.tuning.min_link_reconnect_period;
            sooner(Some(age.max(up.heard_at + self.pubsub_patience()) + MS));
        }
        if let Some(next) = next {
            // Never in the past: what could not be done now is not tried again in this very turn.
            self.timers.arm(Timer::Instance(i), next.max(self.now + MS));
        }
    }

    fn pubsub_patience(&self) -> Duration {
        self.tuning.publish_period * PUBSUB_SILENT_PERIODS
    }

    /// Sends what is due. PING leads; a hello or INFO that is nearly due joins it in the same write.
    fn send_due(&mut self, i: InstanceId) {
        let instance = self.instance(i);
        let Some(up) = instance.cmd.up() else { return };
        let idle = |what: &Awaited| !up.awaited.contains(what);
        let now = self.now;
        let interval = self.ping_interval(i);
        let pings = idle(&Awaited::Ping) && now >= instance.ping.next_at;
        let margin = if pings { interval / 2 } else { Duration::ZERO };
        let room = up.awaited.len() < PENDING_MAX;
        let hellos = room && idle(&Awaited::Publish) && now + margin >= instance.hello_next_at;
        let infos = room && idle(&Awaited::Info) && now + margin >= self.info_due(i);
        if pings {
            self.send_ping(i);
        }
        if infos {
            self.send_info(i);
        }
        if hellos {
            self.send_hello(i);
        }
    }

    fn ping_interval(&self, i: InstanceId) -> Duration {
        let down_after = self.master(self.instance(i).master).settings.down_after;
        Instance::ping_interval(down_after, self.tuning.ping_period)
    }

    fn send_ping(&mut self, i: InstanceId) {
        let (now, interval) = (self.now, self.ping_interval(i));
        let ping = &mut self.instance_mut(i).ping;
        ping.next_at = next_in_phase(ping.next_at, now, interval);
        ping.sent(now);
        self.send(i, Request::Ping, Awaited::Ping);
    }

    /// Asks for INFO now, unless a reply is already on its way.
    pub(super) fn send_info(&mut self, i: InstanceId) {
        let instance = self.instance_mut(i);
        instance.info.wanted = false;
        if instance.cmd.is_up() && !instance.cmd.awaits(&Awaited::Info) {
            self.send(i, Request::Info, Awaited::Info);
        } else {
            self.instance_mut(i).info.wanted = true;
        }
    }

    /// When INFO is due: soon while something is going on, else at its own unhurried pace.
    fn info_due(&self, i: InstanceId) -> Mono {
        let instance = self.instance(i);
        if instance.info.wanted {
            return self.now;
        }
        match (instance.info.heard_at, self.urgent_info_period(i)) {
            (None, _) => self.now,
            (Some(at), Some(period)) => instance.info.next_at.min(at + period),
            (Some(_), None) => instance.info.next_at,
        }
    }

    /// Publishes our hello on an instance.
    fn send_hello(&mut self, i: InstanceId) {
        let (now, period) = (self.now, self.tuning.publish_period);
        let instance = self.instance(i);
        let Some(up) = instance.cmd.up() else { return };
        if up.awaited.len() >= PENDING_MAX {
            return;
        }
        let Some(payload) = self.hello_text(instance.master, up.local) else {
            return;
        };
        let instance = self.instance_mut(i);
        instance.hello_next_at = next_in_phase(instance.hello_next_at, now, period);
        self.send(i, Request::Publish(payload), Awaited::Publish);
    }

    fn recycle_instance_link(&mut self, i: InstanceId, kind: LinkKind) {
        let now = self.now;
        let instance = self.instance(i);
        let link = match kind {
            LinkKind::Cmd => &instance.cmd,
            LinkKind::PubSub => &instance.pubsub,
        };
        let is_stale = match link {
            Link::Down { .. } => false,
            Link::Connecting { since, .. } => now >= *since + CONNECT_TIMEOUT,
            Link::Up(up) => {
                let silent = match kind {
                    LinkKind::Cmd => {
                        let half = self.master(instance.master).settings.down_after / 2;
                        up.awaited.contains(&Awaited::Ping)
                            && instance
                                .ping
                                .unanswered_since
                                .is_some_and(|at| now.since(at) > half)
                            && now.since(instance.ping.any_at) > half
                    }
                    LinkKind::PubSub => now.since(up.heard_at) > self.pubsub_patience(),
                };
                silent && now.since(up.since) > self.tuning.min_link_reconnect_period
            }
        };
        if is_stale {
            self.close_instance_link(i, kind);
        }
    }

    // Opening and closing.

    fn connect_instance(&mut self, i: InstanceId, kind: LinkKind) {
        let now = self.now;
        let instance = self.instance(i);
        let (link, ready) = match kind {
            LinkKind::Cmd => (&instance.cmd, true),
            LinkKind::PubSub => (&instance.pubsub, instance.cmd.is_up()),
        };
        if !ready || link.retry_at().is_none_or(|at| now < at) || instance.addr.port() == 0 {
            return;
        }
        let addr = instance.addr.clone();
        let link = self.open(&addr, Endpoint::Instance(i, kind), link.attempts());
        let instance = self.instance_mut(i);
        match kind {
            LinkKind::Cmd => instance.cmd = link,
            LinkKind::PubSub => instance.pubsub = link,
        }
    }

    /// Starts a connection attempt, or a look-up where there is no address to connect to yet.
    fn open(&mut self, addr: &Addr, endpoint: Endpoint, failures: u32) -> Link {
        if addr.is_host_name() && (failures > 0 || addr.ip().is_none()) {
            self.resolve_if_needed(addr);
        }
        let Some(to) = addr.socket_addr() else {
            return Link::Down {
                retry_at: self.now + RESOLVE_RETRY,
                failures,
            };
        };
        self.next_link += 1;
        let id = LinkId(self.next_link);
        self.links.insert(id, endpoint);
        self.out.push(Output::Connect {
            link: id,
            to,
            host: Arc::clone(addr.host()),
        });
        Link::Connecting {
            id,
            since: self.now,
            failures,
        }
    }

    /// Asks for a look-up of a host name, where names are allowed and none is under way.
    pub(super) fn resolve_if_needed(&mut self, addr: &Addr) {
        if self.globals.resolve_hostnames && addr.is_host_name() {
            let host = addr.host();
            if !self.resolving.contains_key(host) {
                self.resolving.insert(Arc::clone(host), Vec::new());
                self.out.push(Output::Resolve(Arc::clone(host)));
            }
        }
    }

    /// Closes a link on purpose; it is made again at once, or after its growing pause.
    fn close_instance_link(&mut self, i: InstanceId, kind: LinkKind) {
        let (now, pause_max) = (self.now, self.pause_max(i));
        let instance = self.instance_mut(i);
        let link = match kind {
            LinkKind::Cmd => &mut instance.cmd,
            LinkKind::PubSub => &mut instance.pubsub,
        };
        let Some(id) = link.id() else { return };
        link.become_down(now, pause_max);
        if kind == LinkKind::Cmd {
            instance.ping.broke(now, false);
        }
        self.links.remove(&id);
        self.out.push(Output::Close { link: id });
        self.instance_changed(i);
        self.timers.arm(Timer::Instance(i), now);
    }

    pub(super) fn close_instance_links(&mut self, i: InstanceId) {
        self.close_instance_link(i, LinkKind::Cmd);
        self.close_instance_link(i, LinkKind::PubSub);
    }

    pub(super) fn close_peer_link(&mut self, p: PeerId) {
        let now = self.now;
        let peer = self.peer_mut(p);
        let Some(id) = peer.link.id() else { return };
        peer.link.become_down(now, RECONNECT_PAUSE_MAX);
        peer.ping.broke(now, false);
        self.links.remove(&id);
        self.out.push(Output::Close { link: id });
        self.peer_changed(p);
        self.timers.arm(Timer::Peer(p), now);
        self.orders_lost(p);
    }

    fn pause_max(&self, i: InstanceId) -> Duration {
        const REFUSED_RETRY_MAX: Duration = Duration::from_millis(100);
        let refused_after = self.master(self.instance(i).master).settings.refused_after;
        if refused_after > Duration::ZERO {
            (refused_after / 4).min(REFUSED_RETRY_MAX)
        } else {
            RECONNECT_PAUSE_MAX.min(self.tuning.ping_period)
        }
    }

    // What happens to links.

    pub(super) fn handle_link_up(&mut self, link: LinkId, local: IpAddr) {
        let now = self.now;
        match self.links.get(&link) {
            None => {}
            Some(&Endpoint::Instance(i, LinkKind::Cmd)) => {
                self.instance_mut(i).cmd.become_up(link, local, now);
                self.instance_changed(i);
                self.instance_cmd_up(i);
            }
            Some(&Endpoint::Instance(i, LinkKind::PubSub)) => {
                self.instance_mut(i).pubsub.become_up(link, local, now);
                self.introduce(i, LinkKind::PubSub);
                self.send_on(i, LinkKind::PubSub, Request::Subscribe, Awaited::Subscribe);
                self.arm_instance(i);
            }
            Some(&Endpoint::Peer(p)) => {
                self.peer_mut(p).link.become_up(link, local, now);
                self.peer_changed(p);
                self.peer_up(p);
            }
        }
    }

    fn instance_cmd_up(&mut self, i: InstanceId) {
        let (now, interval) = (self.now, self.ping_interval(i));
        self.introduce(i, LinkKind::Cmd);
        let phase = self.random(interval);
        let hello_phase = self.random(self.tuning.publish_period);
        let instance = self.instance_mut(i);
        instance.refused_since = None;
        instance.closed = Closed::No;
        instance.ping.sent(now);
        instance.ping.next_at = now + phase;
        self.send(i, Request::Ping, Awaited::Ping);
        if self.instance(i).info.at.is_none() || self.info_due(i) <= now {
            self.send_info(i);
        }
        self.send_hello(i);
        self.instance_mut(i).hello_next_at = now + hello_phase;
        self.timers.arm(Timer::Master(self.instance(i).master), now);
        self.timers.arm(Timer::Instance(i), now);
    }

    fn introduce(&mut self, i: InstanceId, kind: LinkKind) {
        let settings = &self.master(self.instance(i).master).settings;
        let credentials = settings.auth_pass.clone().map(|password| Credentials {
            user: settings.auth_user.clone(),
            password,
        });
        if let Some(credentials) = credentials {
            self.send_on(i, kind, Request::Auth(credentials), Awaited::Ignored);
        }
        let name = self.connection_name(match kind {
            LinkKind::Cmd => "cmd",
            LinkKind::PubSub => "pubsub",
        });
        self.send_on(i, kind, Request::SetName(name), Awaited::Ignored);
    }

    fn peer_up(&mut self, p: PeerId) {
        let globals = &self.globals;
        let credentials = match (&globals.sentinel_pass, &globals.requirepass) {
            (Some(password), _) => Some(Credentials {
                user: globals.sentinel_user.clone(),
                password: password.clone(),
            }),
            (None, Some(password)) => Some(Credentials {
                user: None,
                password: password.clone(),
            }),
            (None, None) => None,
        };
        if let Some(credentials) = credentials {
            self.send_peer(p, Request::Auth(credentials), Awaited::Ignored);
        }
        let name = self.connection_name("cmd");
        self.send_peer(p, Request::SetName(name), Awaited::Ignored);
        let now = self.now;
        let phase = self.random(self.peer_ping_interval(p));
        let peer = self.peer_mut(p);
        peer.ping.sent(now);
        peer.ping.next_at = now + phase;
        self.send_peer(p, Request::Ping, Awaited::Ping);
        self.peer_masters_up(p);
        self.timers.arm(Timer::Peer(p), now);
    }

    /// The masters that share a peer's new link begin afresh on it. Where there are thousands, their
    /// hellos are spread out.
    fn peer_masters_up(&mut self, p: PeerId) {
        let now = self.now;
        let masters: Vec<MasterId> = self.peer(p).masters.iter().copied().collect();
        let each_ms = u64::try_from(masters.len()).unwrap_or(u64::MAX);
        let spread = Duration::from_millis(each_ms).min(self.tuning.publish_period);
        let mut campaigns = Vec::new();
        for m in masters {
            let hello_at = if each_ms > 1 {
                now + self.random(spread)
            } else {
                now
            };
            let master = self.master_mut(m);
            if let Some(failover) = master.failover.as_ref().filter(|f| f.is_campaigning()) {
                campaigns.push((failover.epoch, m));
            }
            if let Some(entry) = master.entry_mut(p) {
                entry.asked_at = None;
                entry.answered_campaign = None;
                entry.questions = 0;
                entry.publish_pending = false;
                entry.hello_next_at = hello_at;
            }
            self.timers.arm(Timer::Master(m), now);
            self.pass_on_missed(m, p);
        }
        // A peer refuses an epoch below one that it has seen: the oldest candidacy asks first.
        campaigns.sort_unstable();
        for (_, m) in campaigns {
            self.ask(m, p);
        }
    }

    pub(super) fn handle_link_down(&mut self, link: LinkId, reason: DownReason) {
        let now = self.now;
        match self.links.remove(&link) {
            None => {}
            Some(Endpoint::Instance(i, kind)) => self.instance_link_down(i, kind, &reason),
            Some(Endpoint::Peer(p)) => {
                let peer = self.peer_mut(p);
                let proven = peer.link.up().is_some_and(|up| up.proven);
                peer.ping.broke(now, proven);
                peer.link.become_down(now, RECONNECT_PAUSE_MAX);
                if proven {
                    self.peer_changed(p);
                }
                for m in self.peer(p).masters.clone() {
                    if self.master(m).odown_since.is_some() || self.master(m).failover.is_some() {
                        self.timers.arm(Timer::Master(m), now);
                    }
                }
                self.timers.arm(Timer::Peer(p), now);
                self.orders_lost(p);
            }
        }
    }

    fn instance_link_down(&mut self, i: InstanceId, kind: LinkKind, reason: &DownReason) {
        let (now, pause_max) = (self.now, self.pause_max(i));
        let instance = self.instance_mut(i);
        let (link, event) = match kind {
            LinkKind::Cmd => (&mut instance.cmd, EventKind::CmdLinkReconnection),
            LinkKind::PubSub => (&mut instance.pubsub, EventKind::PubsubLinkReconnection),
        };
        let was_up = link.is_up();
        let proven = link.up().is_some_and(|up| up.proven);
        let lost_info = link.awaits(&Awaited::Info);
        link.become_down(now, pause_max);
        if kind == LinkKind::Cmd {
            instance.ping.broke(now, proven);
            instance.info.wanted |= lost_info;
            if *reason == DownReason::Refused {
                instance.refused_since.get_or_insert(now);
            } else {
                instance.refused_since = None;
            }
            if let Closed::Announced { at } = instance.closed
                && was_up
                && now.since(at) > ANNOUNCEMENT_AGE_MAX
            {
                instance.closed = Closed::No;
            }
            match (reason, instance.closed) {
                (DownReason::Closed | DownReason::Failed(_), Closed::No) if proven => {
                    instance.closed = Closed::ByPeer;
                }
                (DownReason::Refused, _) => self.report_closed(i),
                (DownReason::Closed | DownReason::Failed(_), _) => {}
            }
        }
        if !was_up {
            let text = match reason {
                DownReason::Refused => "Connection refused",
                DownReason::Closed => "Connection closed",
                DownReason::Failed(text) => text,
            };
            let payload = format!("{} #{text}", self.describe(i));
            let master = Some(self.master(self.instance(i).master).name.clone());
            self.out.push(Output::Event(Event {
                kind: event,
                payload,
                master,
            }));
        }
        let m = self.instance(i).master;
        self.changed(m);
        if self.master(m).failover.is_some() {
            self.timers.arm(Timer::Master(m), now);
        }
        self.timers.arm(Timer::Instance(i), now);
    }

    // Replies.

    pub(super) fn handle_reply(&mut self, link: LinkId, reply: Value) {
        match self.links.get(&link) {
            None => {}
            Some(&Endpoint::Instance(i, LinkKind::Cmd)) => self.instance_reply(i, reply),
            Some(&Endpoint::Instance(i, LinkKind::PubSub)) => self.pubsub_reply(i, reply),
            Some(&Endpoint::Peer(p)) => self.peer_reply(p, &reply),
        }
    }

    fn instance_reply(&mut self, i: InstanceId, reply: Value) {
        let now = self.now;
        let Some(up) = self.instance_mut(i).cmd.up_mut() else {
            return;
        };
        up.heard_at = now;
        match up.awaited.pop_front() {
            None => {
                let why = format!("{} sent a reply to no request", self.describe(i));
                self.log(Level::Warning, why);
                self.close_instance_link(i, LinkKind::Cmd);
            }
            Some(Awaited::Ping) => self.instance_pong(i, &reply),
            Some(Awaited::Info) => self.handle_info(i, &reply),
            Some(Awaited::Publish | Awaited::Ignored) => {}
            Some(Awaited::Exec) => self.slaveof_replied(i, &reply),
            Some(
                Awaited::Subscribe
                | Awaited::PeerPublish(_)
                | Awaited::Order { .. }
                | Awaited::Ask { .. },
            ) => {
                unreachable!("never sent on the command link of an instance")
            }
        }
    }

    fn instance_pong(&mut self, i: InstanceId, reply: &Value) {
        let now = self.now;
        let verdict = PingVerdict::of(reply);
        let acceptable = verdict != PingVerdict::Unacceptable;
        let instance = self.instance_mut(i);
        let round_trip = instance.ping.round_trip(now);
        instance.ping.replied(now, acceptable);
        if acceptable && let Some(up) = instance.cmd.up_mut() {
            up.proven = true;
        }
        match verdict {
            PingVerdict::Pong => instance.rebooted_at = None,
            PingVerdict::Alive | PingVerdict::Refused | PingVerdict::Unacceptable => {}
        }
        let was_sdown = instance.sdown_since.is_some();
        if let Some(took) = round_trip {
            self.probes.observe(millis(took));
        }
        let instance = self.instance(i);
        let is_busy = was_sdown && !instance.script_kill_sent && is_error_with(reply, b"BUSY");
        let kill = is_busy && !self.globals.observe_only;
        if kill {
            self.instance_mut(i).script_kill_sent = true;
            self.send(i, Request::ScriptKill, Awaited::Ignored);
        }
        match (verdict, reply) {
            (PingVerdict::Refused, Value::Error(text)) => {
                self.auth_refused(i, Gate::Ping, &String::from_utf8_lossy(text));
            }
            (PingVerdict::Pong, _) => self.auth_granted(i, Gate::Ping),
            _ => {}
        }
        if !acceptable {
            self.timers.arm(Timer::Instance(i), now);
        } else if was_sdown {
            // A sign of life counts at once: it may call a failover off.
            self.tend_instance(i);
        }
    }

    fn pubsub_reply(&mut self, i: InstanceId, reply: Value) {
        let now = self.now;
        let Some(up) = self.instance_mut(i).pubsub.up_mut() else {
            return;
        };
        up.heard_at = now;
        if let Value::Array(parts) | Value::Push(parts) = &reply
            && let [kind, channel, payload] = parts.as_slice()
            && kind.as_bytes() == Some(b"message")
        {
            if channel.as_bytes() == Some(HELLO_CHANNEL.as_bytes())
                && let Some(payload) = payload.as_bytes()
            {
                self.instance_says(i, payload);
            }
            return;
        }
        match up.awaited.pop_front() {
            Some(Awaited::Subscribe) if reply.is_error() => {
                // Refused, for want of permission as a rule: tried again after a pause.
                self.close_instance_link(i, LinkKind::PubSub);
                let at = now + RECONNECT_PAUSE_MAX;
                self.instance_mut(i).pubsub = Link::Down {
                    retry_at: at,
                    failures: 1,
                };
                self.timers.arm(Timer::Instance(i), at);
            }
            Some(Awaited::Subscribe) => up.proven = true,
            Some(_) => {}
            None => {
                let why = format!("{} sent a reply to no request", self.describe(i));
                self.log(Level::Warning, why);
                self.close_instance_link(i, LinkKind::PubSub);
            }
        }
    }

    /// A message on the hello channel of an instance. Our own data server says there that it is about
    /// to shut down; the original drops that as malformed.
    fn instance_says(&mut self, i: InstanceId, payload: &[u8]) {
        const SHUTDOWN_NOTICE: &[u8] = b"shutdown";
        if payload == SHUTDOWN_NOTICE {
            self.instance_mut(i).closed = Closed::Announced { at: self.now };
            let text = self.describe(i);
            self.log(Level::Notice, format!("{text} announces its shutdown"));
        } else if memchr::memmem::find(payload, self.id.as_str().as_bytes()).is_none() {
            self.handle_hello(payload);
        } else if self.globals.observe_only {
            self.heard_own_id();
        }
    }

    fn peer_reply(&mut self, p: PeerId, reply: &Value) {
        let now = self.now;
        let Some(up) = self.peer_mut(p).link.up_mut() else {
            return;
        };
        up.heard_at = now;
        match up.awaited.pop_front() {
            None => {
                self.log(
                    Level::Warning,
                    "a peer sent a reply to no request".to_owned(),
                );
                self.close_peer_link(p);
            }
            Some(Awaited::Ping) => {
                let acceptable = matches!(
                    PingVerdict::of(reply),
                    PingVerdict::Pong | PingVerdict::Alive
                );
                let peer = self.peer_mut(p);
                peer.ping.replied(now, acceptable);
                if acceptable && let Some(up) = peer.link.up_mut() {
                    up.proven = true;
                }
                if !acceptable {
                    self.timers.arm(Timer::Peer(p), now);
                } else if peer.any_sdown {
                    self.tend_peer(p);
                }
            }
            Some(Awaited::Ask {
                master,
                asked_in,
                epoch,
                candidate,
            }) => {
                self.handle_answer(p, master, asked_in, epoch, candidate.as_ref(), reply);
            }
            Some(Awaited::Order { master, round }) => self.order_answered(p, master, round, reply),
            Some(Awaited::PeerPublish(m)) => {
                let entry = self.masters.get_mut(&m).and_then(|m| m.entry_mut(p));
                if let Some(entry) = entry {
                    entry.publish_pending = false;
                }
            }
            Some(Awaited::Ignored) => {}
            Some(Awaited::Info | Awaited::Subscribe | Awaited::Publish | Awaited::Exec) => {
                unreachable!("never sent to a peer")
            }
        }
    }

    // What is due at a peer.

    /// Does all that is due at a peer's link, and arms its timer; inputs leave the judgement to a tick, as
    /// above. Hellos and questions are due at its masters.
    pub(super) fn tend_peer(&mut self, p: PeerId) {
        if !self.peers.contains_key(&p) {
            return;
        }
        let now = self.now;
        self.judge_peer(p);
        let interval = self.peer_ping_interval(p);
        let patience = interval * 5 / 2;
        let peer = self.peer(p);
        let is_stale = match &peer.link {
            Link::Down { .. } => false,
            Link::Connecting { since, .. } => now >= *since + CONNECT_TIMEOUT,
            Link::Up(up) => {
                up.awaited.contains(&Awaited::Ping)
                    && now.since(peer.ping.any_at) > patience.max(CONNECT_TIMEOUT)
                    && now.since(up.since) > self.tuning.min_link_reconnect_period
            }
        };
        if is_stale {
            self.close_peer_link(p);
        }
        let peer = self.peer(p);
        if peer.addr.port() != 0 && peer.link.retry_at().is_some_and(|at| now >= at) {
            let addr = peer.addr.clone();
            let link = self.open(&addr, Endpoint::Peer(p), peer.link.attempts());
            self.peer_mut(p).link = link;
        }
        let peer = self.peer(p);
        if peer.link.is_up() && !peer.link.awaits(&Awaited::Ping) && now >= peer.ping.next_at {
            let peer = self.peer_mut(p);
            peer.ping.next_at = next_in_phase(peer.ping.next_at, now, interval);
            peer.ping.sent(now);
            self.send_peer(p, Request::Ping, Awaited::Ping);
        }
        self.arm_peer(p, interval);
    }

    fn arm_peer(&mut self, p: PeerId, interval: Duration) {
        let peer = self.peer(p);
        let mut next = Mono::NEVER;
        match &peer.link {
            Link::Down { retry_at, .. } if peer.addr.port() != 0 => next = next.min(*retry_at),
            Link::Down { .. } => {}
            Link::Connecting { since, .. } => next = next.min(*since + CONNECT_TIMEOUT),
            Link::Up(up) if up.awaited.contains(&Awaited::Ping) => {
                let age = up.since + self.tuning.min_link_reconnect_period;
                let silent = peer.ping.any_at + (interval * 5 / 2).max(CONNECT_TIMEOUT);
                next = next.min(age.max(silent) + MS);
                // As above: the PONG will not arm the next PING.
                if peer.ping.next_at > self.now {
                    next = next.min(peer.ping.next_at);
                }
            }
            Link::Up(_) => next = next.min(peer.ping.next_at),
        }
        if self.tilt.is_none() && !peer.any_sdown {
            if let Some(at) = peer.ping.down_at(peer.down_after_min, interval) {
                next = next.min(at);
            }
        } else if self.tilt.is_none() {
            for m in &peer.masters {
                let master = self.master(*m);
                if master
                    .entry(p)
                    .is_some_and(|entry| entry.sdown_since.is_none())
                    && let Some(at) = peer.ping.down_at(master.settings.down_after, interval)
                {
                    next = next.min(at);
                }
            }
        }
        if next != Mono::NEVER {
            self.timers.arm(Timer::Peer(p), next.max(self.now + MS));
        }
    }

    /// Sends our hellos about a master to the peers that are due, or to all.
    pub(super) fn greet_peers(&mut self, m: MasterId, all: bool) {
        let now = self.now;
        let period = self.tuning.publish_period;
        let due: Vec<PeerId> = self
            .master(m)
            .peers
            .iter()
            .filter(|entry| all || now >= entry.hello_next_at)
            .map(|entry| entry.peer)
            .collect();
        for p in due {
            let peer = self.peer(p);
            let Some(up) = peer.link.up() else { continue };
            let full = up.awaited.len() >= PENDING_MAX * peer.masters.len();
            let pending = self.master(m).entry(p).is_some_and(|e| e.publish_pending);
            if full || (!all && pending) {
                continue;
            }
            let Some(payload) = self.hello_text(m, up.local) else {
                return;
            };
            self.send_peer(p, Request::Publish(payload), Awaited::PeerPublish(m));
            if let Some(entry) = self.master_mut(m).entry_mut(p) {
                entry.publish_pending = true;
                entry.hello_next_at = next_in_phase(entry.hello_next_at, now, period);
            }
        }
    }

    /// Pushes our hello about a master to every link at once.
    pub(super) fn greet_everyone(&mut self, m: MasterId) {
        for i in self.master(m).instances().collect::<Vec<_>>() {
            self.send_hello(i);
        }
        self.greet_peers(m, true);
    }

    // Sending.

    pub(super) fn send(&mut self, i: InstanceId, request: Request, about: Awaited) {
        self.send_on(i, LinkKind::Cmd, request, about);
    }

    fn send_on(&mut self, i: InstanceId, kind: LinkKind, request: Request, about: Awaited) {
        self.assert_allowed(&request);
        let instance = self.instance_mut(i);
        let m = instance.master;
        let link = match kind {
            LinkKind::Cmd => &mut instance.cmd,
            LinkKind::PubSub => &mut instance.pubsub,
        };
        let Some(up) = link.up_mut() else { return };
        up.await_replies(&request, about);
        let link = up.id;
        let renamed = Arc::clone(&self.master(m).settings.renamed_commands);
        self.out.push(Output::Send {
            link,
            request,
            renamed,
        });
    }

    pub(super) fn send_peer(&mut self, p: PeerId, request: Request, about: Awaited) {
        self.assert_allowed(&request);
        let Some(up) = self.peer_mut(p).link.up_mut() else {
            return;
        };
        up.await_replies(&request, about);
        let link = up.id;
        let renamed: Arc<BTreeMap<String, String>> = Arc::clone(&self.no_renames);
        self.out.push(Output::Send {
            link,
            request,
            renamed,
        });
    }

    /// Whoever only observes sends nothing that changes anybody.
    fn assert_allowed(&self, request: &Request) {
        assert!(
            !self.globals.observe_only || request.changes_nothing(),
            "observe-only, and {request:?} changes something"
        );
    }

    /// A random time below `limit`.
    pub(super) fn random(&mut self, limit: Duration) -> Duration {
        let ms = crate::clock::millis(limit).max(1);
        Duration::from_millis(self.rng.random_range(0..ms))
    }
}

const MS: Duration = Duration::from_millis(1);

/// The next deadline of something periodic: in step with the last one, rounded up so that wake-ups are
/// shared; a period from now when that has been missed.
fn next_in_phase(last: Mono, now: Mono, period: Duration) -> Mono {
    let next = last + period;
    let next = if next > now { next } else { now + period };
    if period >= Duration::from_millis(QUANTUM * 10) {
        Mono(next.0.div_ceil(QUANTUM) * QUANTUM)
    } else {
        next
    }
}

/// What the reply to a PING says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PingVerdict {
    Pong,
    /// `-LOADING`, `-MASTERDOWN`: alive, if not well.
    Alive,
    /// It refuses our credentials: alive, and to be reported.
    Refused,
    /// Anything else counts as no answer.
    Unacceptable,
}

impl PingVerdict {
    fn of(reply: &Value) -> PingVerdict {
        let (Value::Simple(text) | Value::Error(text)) = reply else {
            return PingVerdict::Unacceptable;
        };
        let starts = |word: &[u8]| text.starts_with(word);
        if starts(b"PONG") {
            PingVerdict::Pong
        } else if starts(b"LOADING") || starts(b"MASTERDOWN") {
            PingVerdict::Alive
        } else if is_refusal(reply) {
            PingVerdict::Refused
        } else {
            PingVerdict::Unacceptable
        }
    }
}

/// Whether an error says that our credentials do not suffice.
pub(super) fn is_refusal(reply: &Value) -> bool {
    [&b"NOAUTH"[..], b"NOPERM", b"WRONGPASS"]
        .iter()
        .any(|code| is_error_with(reply, code))
}

fn is_error_with(reply: &Value, code: &[u8]) -> bool {
    matches!(reply, Value::Error(text) if text.starts_with(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_status_or_error_is_an_answer_to_ping() {
        assert_eq!(PingVerdict::of(&Value::simple("PONG")), PingVerdict::Pong);
        assert_eq!(
            PingVerdict::of(&Value::error("LOADING data")),
            PingVerdict::Alive
        );
        assert_eq!(
            PingVerdict::of(&Value::error("NOAUTH x")),
            PingVerdict::Refused
        );
        assert_eq!(
            PingVerdict::of(&Value::error("BUSY x")),
            PingVerdict::Unacceptable
        );
        assert_eq!(
            PingVerdict::of(&Value::bulk("PONG")),
            PingVerdict::Unacceptable
        );
    }

    #[test]
    fn periodic_deadlines_keep_their_phase() {
        let period = Duration::from_secs(1);
        assert_eq!(next_in_phase(Mono(1001), Mono(1003), period), Mono(2008));
        assert_eq!(next_in_phase(Mono(1001), Mono(9000), period), Mono(10_000));
        assert_eq!(
            next_in_phase(Mono(11), Mono(12), Duration::from_millis(10)),
            Mono(21)
        );
    }
}

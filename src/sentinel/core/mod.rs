//! Everything the sentinel decides, and nothing else: no clock, no socket, no disk, no unseeded die.
//!
//! [`Input`]s go in, [`Output`]s come out, in order. The simulator and the tokio driver are its two
//! drivers. The contract:
//!
//! * [`Sentinel::handle`] takes one input and appends what must happen, in order, to `out`.
//! * After a stall the driver gives [`Input::Stalled`] first, then all input that had queued up, then
//!   [`Input::Tick`], so that no deadline beats a reply that had already arrived.
//! * [`Output::Persist`] is answered by [`Input::Persisted`] or [`Input::PersistFailed`], sooner or
//!   later, in order; what must not be said before it is on disk waits in here.
//! * Inside, time does not pass while the process is stalled: [`Sentinel::handle`] subtracts the stalls
//!   it was told of from the monotonic clock.

mod addr;
mod ballot;
mod durable;
mod election;
mod event;
mod failover;
mod health;
mod hello;
mod info;
mod instance;
mod io;
mod journal;
mod link;
mod master;
mod observe;
mod observe_only;
mod operator;
mod pause;
mod peer;
mod peers;
mod record;
pub mod refusal;
mod report;
mod select;
mod settings;
mod story;
mod switch;
#[cfg(test)]
mod tests;
mod timers;
mod traffic;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

pub use addr::Addr;
pub use durable::{Durable, DurableMaster, DurablePeer};
pub use event::{Event, EventKind, Level};
pub use hello::{Hello, HelloError};
pub use info::{Info, is_plain};
pub use io::{
    Credentials, DownReason, HELLO_CHANNEL, Input, LinkId, LinkKind, Operator, Output, ReplyTo,
    Request, Seq, SetOption,
};
pub use pause::{PAUSE_ANSWER_WAIT, PAUSE_MAX, PAUSE_SAME_END, PausedUntil};
pub use record::{
    BUCKETS_MS, CANDIDATES_MAX, Candidate, Decision, Exclusion, FailoverKind, FailoverStats,
    Histogram, Outcome, Phase, PhaseTime, Presence, RECORDS_MAX, RECORDS_PER_MASTER_MAX, Reason,
    Record, Rule, STEPS_MAX, Step, Steps, VOICES_MAX, Verdict, Voice, Votes, span,
};
pub use report::Fields;
pub use settings::{Globals, MasterSettings, Tuning};
pub use view::{
    FailoverView, InstanceView, MasterView, PeerView, Picture, ReplicaView, SentinelView, Wanted,
};

use crate::clock::{Mono, Now, UnixMillis};
use crate::ids::{Epoch, MasterName, SentinelId, random_hex};
use health::Tilt;
use instance::{Instance, InstanceId, Role};
use journal::Journal;
use master::{Announcement, Hold, Master, MasterId, Vote};
use peer::{Peer, PeerId};
use timers::{Timer, Timers};

/// The most deadlines that one [`Input::Tick`] looks at.
const TIMERS_PER_TICK_MAX: usize = 256;

/// One sentinel: its state and its rules. See the module for how it is driven.
#[derive(Debug)]
pub struct Sentinel {
    id: SentinelId,
    globals: Arc<Globals>,
    tuning: Tuning,
    current_epoch: Epoch,
    masters: BTreeMap<MasterId, Master>,
    names: HashMap<MasterName, MasterId>,
    /// By IP text or host name, and port: for questions that name an address.
    addresses: HashMap<(Arc<str>, u16), Vec<MasterId>>,
    instances: HashMap<InstanceId, Instance>,
    peers: BTreeMap<PeerId, Peer>,
    peer_ids: HashMap<SentinelId, PeerId>,
    links: HashMap<LinkId, traffic::Endpoint>,
    next_id: u32,
    next_link: u64,
    timers: Timers,
    journal: Journal,
    tilt: Option<Tilt>,
    /// The last address of each host name, in lower case.
    resolved: BTreeMap<String, std::net::IpAddr>,
    /// Host names under resolution, with the hellos that wait for them.
    resolving: HashMap<Arc<str>, Vec<Hello>>,
    simulate_crash_after_election: bool,
    simulate_crash_after_promotion: bool,
    rejected_at: Option<Mono>,
    /// Orders that wait for what the peers say.
    rounds: pause::Rounds,
    /// With `observe-only`: how many hellos have come under our own id.
    twin_hellos: u32,
    /// The moment since which each instance was last recorded to be in need of correction.
    told_repairs: HashMap<InstanceId, Mono>,
    ledger: record::Ledger,
    stats: FailoverStats,
    /// How long instances take to answer PING.
    probes: Histogram,
    /// Peers know every command by its own name.
    no_renames: Arc<BTreeMap<String, String>>,
    /// For pictures of us.
    changes: view::Changes,
    rng: ChaCha8Rng,
    /// All time lost to stalls.
    stalled: Duration,
    real_now: Mono,
    /// The core's own time: the monotonic clock less [`Sentinel::stalled`].
    now: Mono,
    unix: UnixMillis,
    out: Vec<Output>,
}

impl Sentinel {
    /// A sentinel that goes on from `durable`. Without an id it makes one and asks for it to be
    /// written. Links are opened from the first [`Input::Tick`] on. `seed` decides its dice.
    pub fn new(now: Now, seed: u64, durable: Durable, out: &mut Vec<Output>) -> Sentinel {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let is_new = durable.id.is_none();
        let id = durable
            .id
            .unwrap_or_else(|| SentinelId::from(&*random_hex::<20>(&mut rng)));
        let mut sentinel = Sentinel {
            id,
            globals: durable.globals,
            tuning: Tuning::default(),
            current_epoch: durable.current_epoch,
            masters: BTreeMap::new(),
            names: HashMap::new(),
            addresses: HashMap::new(),
            instances: HashMap::new(),
            peers: BTreeMap::new(),
            peer_ids: HashMap::new(),
            links: HashMap::new(),
            next_id: 0,
            next_link: 0,
            timers: Timers::default(),
            journal: Journal::default(),
            tilt: None,
            resolved: BTreeMap::new(),
            resolving: HashMap::new(),
            simulate_crash_after_election: false,
            simulate_crash_after_promotion: false,
            rejected_at: None,
            rounds: pause::Rounds::default(),
            twin_hellos: 0,
            told_repairs: HashMap::new(),
            ledger: record::Ledger::default(),
            stats: FailoverStats::default(),
            probes: Histogram::default(),
            no_renames: Arc::default(),
            changes: view::Changes::default(),
            rng,
            stalled: Duration::ZERO,
            real_now: now.mono,
            now: now.mono,
            unix: now.unix,
            out: std::mem::take(out),
        };
        if is_new {
            sentinel.touch(true);
        }
        for master in durable.masters {
            sentinel.restore_master(&master);
        }
        *out = std::mem::take(&mut sentinel.out);
        sentinel
    }

    /// Applies one input at `now`; appends what must happen, in order, to `out`.
    pub fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Output>) {
        assert!(now.mono >= self.real_now, "the monotonic clock went back");
        self.real_now = now.mono;
        let before = self.now;
        self.now = self.now.max(self.active(now.mono));
        self.unix = now.unix;
        std::mem::swap(&mut self.out, out);
        let epoch_before = self.current_epoch;
        match input {
            // A stall is no longer than the time since the last input.
            Input::Stalled { late } => self.handle_stall(late.min(self.now.since(before))),
            Input::Tick => self.handle_tick(),
            Input::LinkUp { link, local } => self.handle_link_up(link, local),
            Input::LinkDown { link, reason } => self.handle_link_down(link, reason),
            Input::Reply { link, reply } => self.handle_reply(link, reply),
            Input::HelloPublished { payload } => self.handle_hello(&payload),
            Input::Resolved { host, ip } => self.handle_resolved(&host, ip),
            Input::Persisted(seq) => self.handle_persisted(seq),
            Input::PersistFailed { seq, error } => self.handle_persist_failed(seq, error),
            Input::Asked {
                to,
                host,
                port,
                epoch,
                candidate,
            } => {
                self.handle_asked(to, &host, port, epoch, candidate);
            }
            Input::Ordered {
                host,
                port,
                epoch,
                candidate,
            } => self.handle_ordered(&host, port, epoch, &candidate),
            Input::Operator { to, request } => self.handle_operator(to, request),
        }
        assert!(
            epoch_before <= self.current_epoch,
            "the current epoch went back"
        );
        std::mem::swap(&mut self.out, out);
    }

    /// When the core next wants an [`Input::Tick`].
    pub fn next_deadline(&self) -> Mono {
        self.timers
            .next()
            .map_or(Mono::NEVER, |at| at + self.stalled)
    }

    fn handle_tick(&mut self) {
        // The rest comes with the next tick, which is due at once: input may come between.
        for _ in 0..TIMERS_PER_TICK_MAX {
            let Some(timer) = self.timers.pop_due(self.now) else {
                return;
            };
            match timer {
                Timer::Instance(i) => self.tend_instance(i),
                Timer::Peer(p) => self.tend_peer(p),
                Timer::Master(m) => self.tend_master(m),
                Timer::Tilt => self.handle_tilt_end(),
                Timer::Persist => self.retry_persist(),
                Timer::Rounds => self.end_late_rounds(),
            }
        }
    }

    /// The core's own time for a reading of the monotonic clock.
    fn active(&self, real: Mono) -> Mono {
        real - self.stalled
    }

    fn restore_master(&mut self, saved: &DurableMaster) {
        let addr = Addr::new(&saved.host, saved.port);
        let m = self.add_master(saved.name.clone(), addr, saved.settings.clone());
        let master = self.master_mut(m);
        master.config_epoch = saved.config_epoch;
        master.vote.epoch = saved.leader_epoch;
        for (host, port) in &saved.replicas {
            self.add_replica(m, Addr::new(host, *port));
        }
        for peer in &saved.peers {
            if peer.id != self.id {
                self.add_peer(m, peer.id.clone(), Addr::new(&peer.host, peer.port));
            }
        }
        // The config epoch of a master is an epoch that was current once.
        self.current_epoch = self.current_epoch.max(saved.config_epoch);
        self.refresh_durable(m);
        self.event_monitor(m);
        if let Some(until) = saved.paused {
            self.restore_pause(m, until);
        }
    }

    /// Adds a master without replicas or peers. Its links are opened at the next tick.
    fn add_master(&mut self, name: MasterName, addr: Addr, settings: MasterSettings) -> MasterId {
        assert!(
            !self.names.contains_key(&name),
            "two masters cannot have one name"
        );
        let m = MasterId(self.fresh_id());
        let i = InstanceId(self.fresh_id());
        self.resolve_if_needed(&addr);
        self.index_address(m, &addr);
        self.instances.insert(
            i,
            Instance::new(m, Role::Master, String::new(), addr, self.now),
        );
        let durable = DurableMaster {
            name: name.clone(),
            host: Arc::from(""),
            port: 0,
            settings: settings.clone(),
            config_epoch: Epoch(0),
            leader_epoch: Epoch(0),
            replicas: Vec::new(),
            peers: Vec::new(),
            paused: None,
        };
        let master = Master {
            name: name.clone(),
            settings,
            config_epoch: Epoch(0),
            instance: i,
            replicas: Vec::new(),
            peers: Vec::new(),
            chapter: master::Chapter::default(),
            odown_since: None,
            vote: Vote {
                candidate: None,
                epoch: Epoch(0),
                seq: Seq(0),
            },
            failover: None,
            hold: Hold::Free,
            start_at: None,
            attempts: 0,
            announcement: None,
            ghosts: Vec::new(),
            pause: None,
            untold: None,
            is_withholding_told: false,
            story: None,
            durable: Arc::new(durable),
        };
        self.masters.insert(m, master);
        self.names.insert(name, m);
        self.refresh_durable(m);
        self.timers.arm(Timer::Instance(i), self.now);
        self.timers.arm(Timer::Master(m), self.now);
        m
    }

    /// Adds a replica, unless the master has one at this address.
    fn add_replica(&mut self, m: MasterId, addr: Addr) -> Option<InstanceId> {
        if addr.same_as(&self.instance(self.master(m).instance).addr)
            || self.find_replica(m, &addr).is_some()
        {
            return None;
        }
        let i = InstanceId(self.fresh_id());
        self.resolve_if_needed(&addr);
        let name = addr.instance_name(self.globals.announce_hostnames);
        self.instances
            .insert(i, Instance::new(m, Role::Replica, name, addr, self.now));
        self.master_mut(m).replicas.push(i);
        self.timers.arm(Timer::Instance(i), self.now);
        Some(i)
    }

    /// Forgets an instance and closes its links.
    fn drop_instance(&mut self, i: InstanceId) {
        self.close_instance_links(i);
        self.timers.cancel(Timer::Instance(i));
        self.instances.remove(&i);
        self.told_repairs.remove(&i);
    }

    fn find_replica(&self, m: MasterId, addr: &Addr) -> Option<InstanceId> {
        self.master(m)
            .replicas
            .iter()
            .copied()
            .find(|i| self.instance(*i).addr.same_as(addr))
    }

    fn fresh_id(&mut self) -> u32 {
        let id = self.next_id;
        self.next_id = id
            .checked_add(1)
            .expect("four billion instances are never seen");
        id
    }

    fn master(&self, m: MasterId) -> &Master {
        self.masters
            .get(&m)
            .expect("a MasterId is dropped with its master")
    }

    fn master_mut(&mut self, m: MasterId) -> &mut Master {
        self.masters
            .get_mut(&m)
            .expect("a MasterId is dropped with its master")
    }

    fn instance(&self, i: InstanceId) -> &Instance {
        self.instances
            .get(&i)
            .expect("an InstanceId is dropped with its instance")
    }

    fn instance_mut(&mut self, i: InstanceId) -> &mut Instance {
        self.instances
            .get_mut(&i)
            .expect("an InstanceId is dropped with its instance")
    }

    fn peer(&self, p: PeerId) -> &Peer {
        self.peers
            .get(&p)
            .expect("a PeerId is dropped with its peer")
    }

    fn peer_mut(&mut self, p: PeerId) -> &mut Peer {
        self.peers
            .get_mut(&p)
            .expect("a PeerId is dropped with its peer")
    }

    /// The address under which a master can be asked about: by IP and by name.
    fn address_keys(addr: &Addr) -> Vec<(Arc<str>, u16)> {
        let lower = |host: &str| Arc::from(host.to_ascii_lowercase());
        let mut keys = vec![(lower(addr.host()), addr.port())];
        if let Some(ip) = addr.ip() {
            let ip: Arc<str> = Arc::from(ip.to_string());
            if ip != keys[0].0 {
                keys.push((ip, addr.port()));
            }
        }
        keys
    }

    /// The masters that are at this address at present, as a peer names it.
    fn masters_at(&self, host: &str, port: u16) -> Vec<MasterId> {
        let key = (Arc::from(host.to_ascii_lowercase()), port);
        self.addresses.get(&key).cloned().unwrap_or_default()
    }

    fn index_address(&mut self, m: MasterId, addr: &Addr) {
        for key in Sentinel::address_keys(addr) {
            let ids = self.addresses.entry(key).or_default();
            if !ids.contains(&m) {
                ids.push(m);
            }
        }
    }

    fn unindex_address(&mut self, m: MasterId, addr: &Addr) {
        for key in Sentinel::address_keys(addr) {
            if let Some(ids) = self.addresses.get_mut(&key) {
                ids.retain(|id| *id != m);
                if ids.is_empty() {
                    self.addresses.remove(&key);
                }
            }
        }
    }

    // Events and log lines.

    fn log(&mut self, level: Level, text: String) {
        self.out.push(Output::Log(level, text));
    }

    fn event_global(&mut self, kind: EventKind, payload: String) {
        self.sentinel_changed();
        self.out.push(Output::Event(Event {
            kind,
            payload: cut(payload),
            master: None,
        }));
    }

    /// An event about a master, which may have to wait for a configuration to be on disk. Warnings run
    /// the notification script.
    fn event_at(&mut self, m: MasterId, kind: EventKind, payload: String) {
        if kind.level() != Level::Debug {
            self.changed_now(m);
        }
        let payload = cut(payload);
        let master = self.master(m);
        let name = master.name.clone();
        let script = match (&master.settings.notification_script, kind.level()) {
            (Some(path), Level::Warning) => Some(Output::Script {
                master: name.clone(),
                path: Arc::clone(path),
                args: vec![kind.channel().to_owned(), payload.clone()],
            }),
            _ => None,
        };
        self.say(
            m,
            Output::Event(Event {
                kind,
                payload,
                master: Some(name),
            }),
        );
        if let Some(script) = script {
            self.say_script(m, script);
        }
    }

    /// Puts an output behind the announcement of a new configuration, where there is one.
    fn say(&mut self, m: MasterId, output: Output) {
        match &mut self.master_mut(m).announcement {
            Some(Announcement { held, .. }) => held.push(output),
            None => self.out.push(output),
        }
    }

    fn event_instance(&mut self, kind: EventKind, i: InstanceId) {
        let m = self.instance(i).master;
        let text = self.describe(i);
        self.event_at(m, kind, text);
    }

    fn event_monitor(&mut self, m: MasterId) {
        let master = self.master(m);
        let text = format!(
            "{} quorum {}",
            self.describe(master.instance),
            master.settings.quorum
        );
        self.event_at(m, EventKind::Monitor, text);
    }

    fn shown(&self, addr: &Addr) -> Arc<str> {
        addr.shown(self.globals.announce_hostnames)
    }

    /// `master <name> <addr> <port>`, or for a replica `slave <name> <addr> <port> @ <master…>`.
    fn describe(&self, i: InstanceId) -> String {
        let instance = self.instance(i);
        let master = self.master(instance.master);
        let (host, port) = (self.shown(&instance.addr), instance.addr.port());
        match instance.configured {
            Role::Master => format!("master {} {host} {port}", master.name),
            Role::Replica => {
                format!(
                    "slave {} {host} {port}{}",
                    instance.name,
                    self.describe_group(master)
                )
            }
        }
    }

    /// `sentinel <id> <addr> <port> @ <master…>`.
    fn describe_peer(&self, m: MasterId, p: PeerId) -> String {
        let peer = self.peer(p);
        let group = self.describe_group(self.master(m));
        format!(
            "sentinel {} {} {}{group}",
            peer.id,
            self.shown(&peer.addr),
            peer.addr.port()
        )
    }

    /// ` @ <master-name> <addr> <port>`; until a failover has ended, its events keep naming the master
    /// that failed, as the original's do.
    fn describe_group(&self, master: &Master) -> String {
        let addr = match master
            .failover
            .as_ref()
            .and_then(failover::Failover::replaced)
        {
            Some(replaced) => replaced,
            None => &self.instance(master.instance).addr,
        };
        format!(" @ {} {} {}", master.name, self.shown(addr), addr.port())
    }
}

/// Payloads are bounded, as in the original.
fn cut(mut payload: String) -> String {
    if payload.len() > Event::PAYLOAD_BYTES_MAX {
        let mut end = Event::PAYLOAD_BYTES_MAX;
        while !payload.is_char_boundary(end) {
            end -= 1;
        }
        payload.truncate(end);
    }
    payload
}

//! Pictures of the sentinel for those who only read: plain data, shared between pictures as far as it has
//! not changed.
//!
//! The core notes which masters have changed since the last picture, once somebody wants pictures
//! ([`Sentinel::begin_views`]); [`Picture::refresh`] builds these anew and shares the others. Moments in a
//! picture are of the real monotonic clock, so that a reader tells ages by it, and a reader who looks late
//! sees how old everything is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Sentinel;
use super::failover::Failover;
use super::instance::{InstanceId, Reconf, Role};
use super::master::{Master, MasterId};
use super::pause::PausedUntil;
use super::peer::{PeerEntry, PeerId};
use super::record::{FailoverKind, Record};
use super::settings::MasterSettings;
use crate::clock::{Mono, Now};
use crate::ids::{Epoch, MasterName, RunId, SentinelId};

/// A sentinel at one moment.
#[derive(Clone, Debug)]
pub struct SentinelView {
    /// That moment.
    pub at: Now,
    /// Its permanent id.
    pub id: SentinelId,
    /// The newest epoch it has seen.
    pub current_epoch: Epoch,
    /// It only observes: the others do not count it.
    pub observe_only: bool,
    /// Since when it does not trust itself.
    pub tilt_since: Option<Mono>,
    /// Why its state cannot be written, while it cannot.
    pub save_error: Option<Arc<str>>,
    /// What it monitors, by name.
    pub masters: Arc<[Arc<MasterView>]>,
}

/// A monitored master and its group.
#[derive(Clone, Debug)]
pub struct MasterView {
    /// Its name.
    pub name: MasterName,
    /// Host of its present address, as clients are told it.
    pub host: Arc<str>,
    /// Its port.
    pub port: u16,
    /// The version of that address.
    pub config_epoch: Epoch,
    /// That version is on disk and has been announced.
    pub is_announced: bool,
    /// Its settings, passwords included: whoever shows them leaves those out.
    pub settings: MasterSettings,
    /// Since when the quorum agrees that it is down.
    pub odown_since: Option<Mono>,
    /// The failover that is under way here.
    pub failover: Option<FailoverView>,
    /// Until when an operator has paused automatic failovers.
    pub paused_until: Option<PausedUntil>,
    /// We are one of the sentinels of the group: we do not only observe.
    pub counts_us: bool,
    /// Every instance has been heard of, or found down, at least once.
    pub is_complete: bool,
    /// The master first, then its replicas.
    pub instances: Vec<InstanceView>,
    /// The other sentinels.
    pub peers: Vec<PeerView>,
    /// What was decided, the newest first.
    pub records: Arc<[Arc<Record>]>,
    /// Those of them that have been down for so long that they only raise the majority.
    pub ghosts: Vec<SentinelId>,
}

/// A failover that this sentinel tries or leads.
#[derive(Clone, Debug)]
pub struct FailoverView {
    /// How far it is: `wait_start`, `select_slave`, `send_slaveof_noone`, `wait_promotion`, `reconf_slaves`.
    pub state: &'static str,
    /// Ordered by an operator.
    pub is_manual: bool,
    /// The epoch in which it is, or is to be, elected.
    pub epoch: Epoch,
    /// When it began.
    pub started: Mono,
    /// The replica that is to become master, until it is.
    pub chosen: Option<(Arc<str>, u16)>,
}

/// A data server.
#[derive(Clone, Debug)]
pub struct InstanceView {
    /// Host, as clients are told it.
    pub host: Arc<str>,
    /// Port.
    pub port: u16,
    /// It is to be the master of its group.
    pub is_master: bool,
    /// It says that it is a master.
    pub reports_master: bool,
    /// The flags of `SENTINEL MASTER`.
    pub flags: String,
    /// The identity of its present run, once known.
    pub run_id: Option<RunId>,
    /// Our link for requests is up.
    pub link_up: bool,
    /// Since when we find it down.
    pub sdown_since: Option<Mono>,
    /// When it last answered INFO.
    pub info_at: Option<Mono>,
    /// Bytes of its replication history: as a master its end, as a replica how far it has come.
    pub offset: Option<u64>,
    /// What it says of its replication, unless it is to be the master.
    pub replica: Option<ReplicaView>,
}

/// What a replica says of its replication.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is what one field of INFO says"
)]
pub struct ReplicaView {
    /// Whom it follows, by its own word.
    pub follows: Option<(String, u16)>,
    /// That is the master of this group.
    pub follows_master: bool,
    /// Its link to the master is up.
    pub link_up: bool,
    /// It has not got all data yet.
    pub is_syncing: bool,
    /// `replica-priority`; 0: never promoted.
    pub priority: u32,
    /// It wants to be told to clients.
    pub announced: bool,
    /// Bytes behind the master; `None`: not known.
    pub lag: Option<u64>,
    /// How far it is on its way to the new master: `sent`, `in_progress`, `done`.
    pub reconf: Option<&'static str>,
}

/// Another sentinel of the group.
#[derive(Clone, Debug)]
pub struct PeerView {
    /// Its permanent id.
    pub id: SentinelId,
    /// Host.
    pub host: Arc<str>,
    /// Port.
    pub port: u16,
    /// Our link to it is up.
    pub link_up: bool,
    /// Since when we find it down.
    pub sdown_since: Option<Mono>,
    /// When it was last heard of in this group.
    pub hello_at: Mono,
    /// When its hello last named the very address and config epoch that we have.
    pub confirmed_at: Option<Mono>,
    /// It says that the master is down.
    pub says_down: bool,
    /// Whom it last voted for, and in which epoch.
    pub voted: Option<(SentinelId, Epoch)>,
}

impl SentinelView {
    /// The master of this name.
    pub fn master(&self, name: &str) -> Option<&Arc<MasterView>> {
        let found = (self.masters).binary_search_by(|master| master.name.as_str().cmp(name));
        found.ok().map(|at| &self.masters[at])
    }
}

impl MasterView {
    /// All sentinels of the group, ourselves too where we count.
    pub fn voters(&self) -> usize {
        usize::from(self.counts_us) + self.peers.len()
    }

    /// Over half of them.
    pub fn majority(&self) -> usize {
        self.voters() / 2 + 1
    }

    /// Those that are not down.
    pub fn usable(&self) -> usize {
        let usable = self.peers.iter().filter(|peer| peer.sdown_since.is_none());
        usize::from(self.counts_us) + usable.count()
    }

    /// Those that have confirmed the present address and config epoch since `since`.
    pub fn confirmed_since(&self, since: Mono) -> usize {
        let is_young = |peer: &&PeerView| peer.confirmed_at.is_some_and(|at| at >= since);
        usize::from(self.counts_us) + self.peers.iter().filter(is_young).count()
    }

    /// The master itself.
    pub fn master(&self) -> Option<&InstanceView> {
        self.instances.first()
    }

    /// The replicas.
    pub fn replicas(&self) -> &[InstanceView] {
        self.instances.get(1..).unwrap_or_default()
    }
}

/// How soon a new picture is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wanted {
    /// Nothing has changed.
    #[default]
    Nothing,
    /// Something has, that may wait to be shown together with more.
    Soon,
    /// Something of consequence has.
    Now,
}

/// What has changed since the last picture.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Somebody wants pictures.
    is_watched: bool,
    wanted: Wanted,
    masters: BTreeSet<MasterName>,
    /// Those of them with other records than before.
    records: BTreeSet<MasterName>,
}

impl Sentinel {
    /// From here on, what changes is noted for pictures.
    pub fn begin_views(&mut self) {
        self.changes.is_watched = true;
        self.all_changed();
    }

    /// Whether anybody wants pictures.
    pub(super) fn is_watched(&self) -> bool {
        self.changes.is_watched
    }

    /// How soon a new picture is wanted.
    pub fn view_wanted(&self) -> Wanted {
        self.changes.wanted
    }

    /// Something about a master has changed that may wait to be shown.
    pub(super) fn changed(&mut self, m: MasterId) {
        self.note_change(m, Wanted::Soon);
    }

    /// The same, about an instance.
    pub(super) fn instance_changed(&mut self, i: InstanceId) {
        self.changed(self.instance(i).master);
    }

    /// The same, about a peer: it is in the pictures of all masters that it shares with us.
    pub(super) fn peer_changed(&mut self, p: PeerId) {
        if self.changes.is_watched {
            for m in self.peer(p).masters.clone() {
                self.changed(m);
            }
        }
    }

    /// Something of consequence has changed about a master.
    pub(super) fn changed_now(&mut self, m: MasterId) {
        self.note_change(m, Wanted::Now);
    }

    /// Something of consequence has changed about the sentinel as a whole.
    pub(super) fn sentinel_changed(&mut self) {
        if self.changes.is_watched {
            self.changes.wanted = Wanted::Now;
        }
    }

    /// Everything must be looked at again.
    pub(super) fn all_changed(&mut self) {
        if self.changes.is_watched {
            let names = self.masters.values().map(|master| master.name.clone());
            self.changes.masters.extend(names);
            self.changes.wanted = Wanted::Now;
        }
    }

    /// There is another record of a master, or one has grown.
    pub(super) fn records_changed(&mut self, name: &MasterName) {
        if self.changes.is_watched
            && let Some(m) = self.names.get(name)
        {
            self.changes.records.insert(name.clone());
            self.note_change(*m, Wanted::Soon);
        }
    }

    fn note_change(&mut self, m: MasterId, wanted: Wanted) {
        if !self.changes.is_watched {
            return;
        }
        let Some(master) = self.masters.get(&m) else {
            return;
        };
        self.changes.wanted = self.changes.wanted.max(wanted);
        if !self.changes.masters.contains(&master.name) {
            self.changes.masters.insert(master.name.clone());
        }
    }

    /// A moment of the core's own time by the real clock. Of one before a stall it is later than it was by
    /// that stall, as if the stall had come before it.
    fn real(&self, at: Mono) -> Mono {
        at + self.stalled
    }

    fn master_view(
        &self,
        m: MasterId,
        master: &Master,
        last: Option<&MasterView>,
        records: Arc<[Arc<Record>]>,
    ) -> MasterView {
        let was_complete = last.is_some_and(|last| last.is_complete);
        let addr = &self.instance(master.instance).addr;
        let heard = |i: InstanceId| {
            let instance = self.instance(i);
            instance.info.heard_at.is_some() || instance.sdown_since.is_some()
        };
        MasterView {
            name: master.name.clone(),
            host: self.shown(addr),
            port: addr.port(),
            config_epoch: master.config_epoch,
            is_announced: master.announcement.is_none(),
            settings: master.settings.clone(),
            odown_since: master.odown_since.map(|at| self.real(at)),
            failover: (master.failover.as_ref()).map(|failover| self.failover_view(failover)),
            paused_until: master.pause.as_ref().map(|pause| pause.until),
            counts_us: !self.globals.observe_only,
            is_complete: was_complete || master.instances().all(heard),
            instances: (master.instances())
                .map(|i| self.instance_view(m, master, i))
                .collect(),
            peers: (master.peers.iter())
                .map(|entry| self.peer_view(master, entry))
                .collect(),
            records,
            ghosts: (master.ghosts.iter())
                .map(|p| self.peer(*p).id.clone())
                .collect(),
        }
    }

    fn failover_view(&self, failover: &Failover) -> FailoverView {
        let place = |i: InstanceId| {
            let addr = &self.instance(i).addr;
            (self.shown(addr), addr.port())
        };
        FailoverView {
            state: failover.state_name(),
            is_manual: failover.kind == FailoverKind::Manual,
            epoch: failover.epoch,
            started: self.real(failover.started),
            chosen: failover.chosen().map(place),
        }
    }

    fn instance_view(&self, m: MasterId, master: &Master, i: InstanceId) -> InstanceView {
        let instance = self.instance(i);
        let is_master = i == master.instance;
        let report = &instance.replica;
        let offset = match instance.reported {
            Role::Master => report.master_offset,
            Role::Replica => Some(report.repl_offset),
        };
        InstanceView {
            host: self.shown(&instance.addr),
            port: instance.addr.port(),
            is_master,
            reports_master: instance.reported == Role::Master,
            flags: self.instance_flags(m, i),
            run_id: instance.run_id.clone(),
            link_up: instance.cmd.is_up(),
            sdown_since: instance.sdown_since.map(|at| self.real(at)),
            info_at: instance.info.at.map(|at| self.real(at)),
            offset: offset.filter(|_| instance.info.at.is_some()),
            replica: (!is_master).then(|| ReplicaView {
                follows: report.master.clone(),
                follows_master: instance.follows(&self.instance(master.instance).addr),
                link_up: report.link_up,
                is_syncing: report.incomplete,
                priority: report.priority,
                announced: report.announced,
                lag: report.lag,
                reconf: match instance.reconf {
                    Reconf::Idle => None,
                    Reconf::Sent { .. } => Some("sent"),
                    Reconf::InProgress => Some("in_progress"),
                    Reconf::Done => Some("done"),
                },
            }),
        }
    }

    fn peer_view(&self, master: &Master, entry: &PeerEntry) -> PeerView {
        let peer = self.peer(entry.peer);
        let addr = &self.instance(master.instance).addr;
        let confirmed = entry.confirmed.as_ref().filter(|confirmed| {
            confirmed.epoch == master.config_epoch && confirmed.addr.same_as(addr)
        });
        PeerView {
            id: peer.id.clone(),
            host: self.shown(&peer.addr),
            port: peer.addr.port(),
            link_up: peer.link.is_up(),
            sdown_since: entry.sdown_since.map(|at| self.real(at)),
            hello_at: self.real(entry.hello_at),
            confirmed_at: confirmed.map(|confirmed| confirmed.at),
            says_down: entry.says_down(),
            voted: entry.voted.clone(),
        }
    }
}

/// The masters of the last picture, to be shared with the next.
#[derive(Debug, Default)]
pub struct Picture {
    masters: BTreeMap<MasterName, Arc<MasterView>>,
}

impl Picture {
    /// The sentinel as it is now.
    pub fn refresh(&mut self, core: &mut Sentinel, now: Now) -> SentinelView {
        core.changes.wanted = Wanted::Nothing;
        let with_records = std::mem::take(&mut core.changes.records);
        for name in std::mem::take(&mut core.changes.masters) {
            let Some(m) = core.names.get(&name) else {
                self.masters.remove(&name);
                continue;
            };
            let last = self.masters.get(&name).map(AsRef::as_ref);
            let records = match last {
                Some(last) if !with_records.contains(&name) => Arc::clone(&last.records),
                Some(_) | None => core.records(name.as_str()).into(),
            };
            let view = core.master_view(*m, core.master(*m), last, records);
            self.masters.insert(name, Arc::new(view));
        }
        SentinelView {
            at: now,
            id: core.id.clone(),
            current_epoch: core.current_epoch,
            observe_only: core.globals.observe_only,
            tilt_since: core.tilt.as_ref().map(|tilt| core.real(tilt.since)),
            save_error: core.save_failure().map(Arc::from),
            masters: self.masters.values().cloned().collect(),
        }
    }
}

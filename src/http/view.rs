//! What JSON shows of a picture of the sentinel. Passwords never leave.

use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use crate::clock::{Mono, millis};
use crate::sentinel::core::{
    FailoverView, InstanceView, MasterSettings, MasterView, PausedUntil, PeerView, ReplicaView,
    SentinelView,
};

/// A group in one line.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MasterLine {
    /// The name under which the master is monitored.
    #[schema(example = "mymaster")]
    pub name: String,
    /// Where it is now.
    #[schema(example = "127.0.0.1:6379")]
    pub address: String,
    /// Its host.
    #[schema(example = "127.0.0.1")]
    pub host: String,
    /// Its port.
    #[schema(example = 6379)]
    pub port: u16,
    /// The version of that address.
    pub config_epoch: u64,
    /// How it is.
    pub status: Status,
    /// Replicas that are known, and of these the ones that work and follow the master.
    pub replicas: usize,
    /// See `replicas`.
    pub replicas_ok: usize,
    /// All sentinels that watch it, this one too unless it only observes, and those that are not down.
    pub sentinels: usize,
    /// See `sentinels`.
    pub sentinels_usable: usize,
    /// How many sentinels must find it down.
    pub quorum: u32,
    /// How many must agree on a failover.
    pub majority: usize,
    /// Enough sentinels are usable for both.
    pub quorum_reached: bool,
    /// How many of the sentinels have confirmed the address lately (5 s).
    pub confirmed: usize,
    /// What is amiss, in words; empty: nothing.
    pub problems: Vec<String>,
    /// Automatic failovers are paused here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<Paused>,
}

/// How a master is, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Nothing is amiss.
    Ok,
    /// This sentinel finds it down.
    Sdown,
    /// The quorum finds it down.
    Odown,
    /// This sentinel tries or leads a failover.
    Failover,
}

/// A group in full.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Master {
    /// The group in one line.
    #[serde(flatten)]
    pub line: MasterLine,
    /// For how long the quorum has found the master down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub odown_ms: Option<u64>,
    /// The failover that is under way here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failover: Option<Failover>,
    /// What can be changed by `PATCH /masters/{name}`, and what cannot.
    pub settings: Settings,
    /// The master first, then its replicas.
    pub instances: Vec<Instance>,
    /// The other sentinels.
    pub peers: Vec<Peer>,
}

/// A failover that this sentinel tries or leads.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Failover {
    /// How far it is: `wait_start`, `select_slave`, `send_slaveof_noone`, `wait_promotion` or
    /// `reconf_slaves`.
    pub state: &'static str,
    /// Ordered by an operator.
    pub manual: bool,
    /// The epoch of its election.
    pub epoch: u64,
    /// For how long it has been under way.
    pub running_ms: u64,
    /// The replica that is to become master.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chosen: Option<String>,
}

/// A pause of automatic failovers.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Paused {
    /// When it ends by itself: milliseconds since the Unix epoch; absent: it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<u64>,
}

impl From<PausedUntil> for Paused {
    fn from(until: PausedUntil) -> Paused {
        Paused {
            until_ms: match until {
                PausedUntil::Resumed => None,
                PausedUntil::At(at) => Some(at.0),
            },
        }
    }
}

/// The settings of a master. Times are in milliseconds; passwords are not shown.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Settings {
    /// How many sentinels must find the master down.
    pub quorum: u32,
    /// Silence after which an instance counts as down.
    pub down_after_ms: u64,
    /// Bounds each phase of a failover.
    pub failover_timeout_ms: u64,
    /// Replicas that are pointed at a new master at a time.
    pub parallel_syncs: u32,
    /// Grace of a master that has just restarted; 0: none.
    pub reboot_down_after_ms: u64,
    /// Refused connections for so long count as down; 0: they do not.
    pub refused_after_ms: u64,
    /// The user for the master and its replicas.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_user: Option<String>,
    /// A password for them is set.
    pub has_auth_pass: bool,
    /// Run for each warning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notification_script: Option<String>,
    /// Run when the address changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_reconfig_script: Option<String>,
}

/// A data server.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Instance {
    /// Where it is.
    #[schema(example = "127.0.0.1:6380")]
    pub address: String,
    /// What it is to be: `master` or `replica`.
    #[schema(example = "replica")]
    pub role: &'static str,
    /// What it says it is.
    #[schema(example = "replica")]
    pub reported_role: &'static str,
    /// The flags of `SENTINEL MASTER`, comma-separated.
    #[schema(example = "slave")]
    pub flags: String,
    /// This sentinel is connected to it.
    pub link_up: bool,
    /// For how long this sentinel has found it down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sdown_ms: Option<u64>,
    /// How old its last INFO is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub info_age_ms: Option<u64>,
    /// The identity of its present run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// Bytes of its replication history.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// What it says of its replication, if it is to be a replica.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replica: Option<Replica>,
}

/// What a replica says of its replication.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is what one field of INFO says"
)]
pub struct Replica {
    /// Whom it follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "127.0.0.1:6379")]
    pub follows: Option<String>,
    /// That is the master of this group.
    pub follows_master: bool,
    /// Its link to the master is up.
    pub link_up: bool,
    /// It has not got all data yet.
    pub syncing: bool,
    /// 0: it is never promoted.
    pub priority: u32,
    /// It wants to be told to clients.
    pub announced: bool,
    /// Bytes behind the master, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag: Option<u64>,
    /// How far it is on its way to a new master: `sent`, `in_progress` or `done`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reconf: Option<&'static str>,
}

/// Another sentinel of the group.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Peer {
    /// Its permanent id.
    pub id: String,
    /// Where it is.
    #[schema(example = "127.0.0.1:26380")]
    pub address: String,
    /// This sentinel is connected to it.
    pub link_up: bool,
    /// For how long this sentinel has found it down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sdown_ms: Option<u64>,
    /// How long ago it was last heard of in this group.
    pub hello_age_ms: u64,
    /// How long ago it last named the same address and version as we do; absent: it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmed_age_ms: Option<u64>,
    /// It says that the master is down.
    pub says_down: bool,
    /// Whom it last voted for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub voted_for: Option<String>,
    /// The epoch of that vote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub voted_epoch: Option<u64>,
    /// It has been down for so long that it only raises the majority.
    pub ghost: bool,
}

/// The sentinel that answers.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Sentinel {
    /// Its permanent id.
    pub id: String,
    /// The version of this program.
    #[schema(example = "0.1.0")]
    pub version: &'static str,
    /// The newest epoch it has seen.
    pub current_epoch: u64,
    /// It only observes: it takes part in nothing, and the others do not count it.
    pub observe_only: bool,
    /// For how long it has not trusted itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tilt_ms: Option<u64>,
    /// Why its state cannot be saved; then it neither votes nor leads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub save_error: Option<String>,
    /// How long ago its loop last ran.
    pub loop_age_ms: u64,
    /// A token is configured: who shows it can change things over HTTP.
    pub can_act: bool,
    /// What it monitors, and how many of that is how.
    pub masters: Counts,
}

/// How many masters are how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Counts {
    /// All of them.
    pub total: usize,
    /// With nothing amiss.
    pub ok: usize,
    /// Found down by this sentinel alone.
    pub sdown: usize,
    /// Found down by the quorum.
    pub odown: usize,
    /// In a failover that this sentinel tries or leads.
    pub failover: usize,
    /// With automatic failovers paused.
    pub paused: usize,
    /// With fewer usable sentinels than a failover needs.
    pub without_quorum: usize,
    /// With anything amiss.
    pub problems: usize,
}

/// How young a confirmation must be to be counted in what is shown.
const CONFIRMATION_AGE_SHOWN: std::time::Duration = std::time::Duration::from_secs(5);

fn age(now: Mono, then: Mono) -> u64 {
    millis(now.since(then))
}

/// `host:port`, `[v6]:port`.
pub fn address(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

fn role(is_master: bool) -> &'static str {
    if is_master { "master" } else { "replica" }
}

impl Status {
    /// Of a picture.
    pub fn of(master: &MasterView) -> Status {
        let is_sdown = master.master().is_some_and(|it| it.sdown_since.is_some());
        match (&master.failover, master.odown_since, is_sdown) {
            (Some(_), _, _) => Status::Failover,
            (None, Some(_), _) => Status::Odown,
            (None, None, true) => Status::Sdown,
            (None, None, false) => Status::Ok,
        }
    }
}

/// Enough sentinels are usable to find the master down and to fail over.
pub fn has_quorum(master: &MasterView) -> bool {
    let quorum = usize::try_from(master.settings.quorum).unwrap_or(usize::MAX);
    master.usable() >= master.majority().max(quorum)
}

fn confirmed(master: &MasterView, now: Mono) -> usize {
    master.confirmed_since(now - CONFIRMATION_AGE_SHOWN)
}

/// What is amiss with a group, the worst first.
pub fn problems(master: &MasterView, now: Mono) -> Vec<String> {
    let mut found = Vec::new();
    match Status::of(master) {
        Status::Ok => {}
        Status::Sdown => found.push("this sentinel finds the master down".to_owned()),
        Status::Odown => found.push("the quorum finds the master down".to_owned()),
        Status::Failover => found.push("a failover is under way".to_owned()),
    }
    let (usable, voters) = (master.usable(), master.voters());
    if !has_quorum(master) {
        found.push(format!(
            "{usable} of {voters} sentinels are usable: too few for a failover"
        ));
    } else if usable < voters {
        found.push(format!("{usable} of {voters} sentinels are usable"));
    }
    let (confirmed, majority) = (confirmed(master, now), master.majority());
    if confirmed < majority {
        found.push(format!(
            "{confirmed} of {voters} sentinels have lately confirmed the address: {majority} are needed"
        ));
    }
    let replicas = master.replicas();
    let healthy = replicas.iter().filter(|it| is_healthy(it)).count();
    if healthy < replicas.len() {
        found.push(format!(
            "{healthy} of {} replicas work and follow the master",
            replicas.len()
        ));
    }
    found
}

/// A replica that works and follows the master.
pub fn is_healthy(instance: &InstanceView) -> bool {
    let follows =
        |replica: &ReplicaView| replica.follows_master && replica.link_up && !replica.is_syncing;
    instance.sdown_since.is_none()
        && instance.link_up
        && !instance.reports_master
        && instance.replica.as_ref().is_some_and(follows)
}

/// How far a replica is behind the master: what the master says of it, else the difference of what both
/// last said of themselves, which were different moments.
pub fn lag(master: &MasterView, instance: &InstanceView) -> Option<u64> {
    let replica = instance
        .replica
        .as_ref()
        .filter(|replica| replica.link_up)?;
    let end = || master.master()?.offset;
    (replica.lag).or_else(|| Some(end()?.saturating_sub(instance.offset?)))
}

impl MasterLine {
    /// Of a picture, as it is seen at `now`.
    pub fn new(master: &MasterView, now: Mono) -> MasterLine {
        let healthy = |instance: &&InstanceView| is_healthy(instance);
        MasterLine {
            name: master.name.to_string(),
            address: address(&master.host, master.port),
            host: master.host.to_string(),
            port: master.port,
            config_epoch: master.config_epoch.0,
            status: Status::of(master),
            replicas: master.replicas().len(),
            replicas_ok: master.replicas().iter().filter(healthy).count(),
            sentinels: master.voters(),
            sentinels_usable: master.usable(),
            quorum: master.settings.quorum,
            majority: master.majority(),
            quorum_reached: has_quorum(master),
            confirmed: confirmed(master, now),
            problems: problems(master, now),
            paused: master.paused_until.map(Paused::from),
        }
    }
}

impl Master {
    /// Of a picture, as it is seen at `now`.
    pub fn new(master: &MasterView, now: Mono) -> Master {
        Master {
            line: MasterLine::new(master, now),
            odown_ms: master.odown_since.map(|since| age(now, since)),
            failover: (master.failover.as_ref()).map(|failover| Failover::new(failover, now)),
            settings: Settings::from(&master.settings),
            instances: (master.instances.iter())
                .map(|instance| Instance::new(master, instance, now))
                .collect(),
            peers: (master.peers.iter())
                .map(|peer| Peer::new(peer, master.ghosts.contains(&peer.id), now))
                .collect(),
        }
    }
}

impl Failover {
    fn new(failover: &FailoverView, now: Mono) -> Failover {
        let chosen = failover.chosen.as_ref();
        Failover {
            state: failover.state,
            manual: failover.is_manual,
            epoch: failover.epoch.0,
            running_ms: age(now, failover.started),
            chosen: chosen.map(|(host, port)| address(host, *port)),
        }
    }
}

impl From<&MasterSettings> for Settings {
    fn from(settings: &MasterSettings) -> Settings {
        let text = |text: &Option<Arc<str>>| text.as_deref().map(str::to_owned);
        Settings {
            quorum: settings.quorum,
            down_after_ms: millis(settings.down_after),
            failover_timeout_ms: millis(settings.failover_timeout),
            parallel_syncs: settings.parallel_syncs,
            reboot_down_after_ms: millis(settings.reboot_down_after),
            refused_after_ms: millis(settings.refused_after),
            auth_user: text(&settings.auth_user),
            has_auth_pass: settings.auth_pass.is_some(),
            notification_script: text(&settings.notification_script),
            client_reconfig_script: text(&settings.client_reconfig_script),
        }
    }
}

impl Instance {
    fn new(master: &MasterView, instance: &InstanceView, now: Mono) -> Instance {
        let replica = instance.replica.as_ref();
        Instance {
            address: address(&instance.host, instance.port),
            role: role(instance.is_master),
            reported_role: role(instance.reports_master),
            flags: instance.flags.clone(),
            link_up: instance.link_up,
            sdown_ms: instance.sdown_since.map(|since| age(now, since)),
            info_age_ms: instance.info_at.map(|at| age(now, at)),
            run_id: instance.run_id.as_ref().map(ToString::to_string),
            offset: instance.offset,
            replica: replica.map(|replica| Replica {
                follows: (replica.follows.as_ref()).map(|(host, port)| address(host, *port)),
                follows_master: replica.follows_master,
                link_up: replica.link_up,
                syncing: replica.is_syncing,
                priority: replica.priority,
                announced: replica.announced,
                lag: lag(master, instance),
                reconf: replica.reconf,
            }),
        }
    }
}

impl Peer {
    fn new(peer: &PeerView, ghost: bool, now: Mono) -> Peer {
        Peer {
            id: peer.id.to_string(),
            address: address(&peer.host, peer.port),
            link_up: peer.link_up,
            sdown_ms: peer.sdown_since.map(|since| age(now, since)),
            hello_age_ms: age(now, peer.hello_at),
            confirmed_age_ms: peer.confirmed_at.map(|at| age(now, at)),
            says_down: peer.says_down,
            voted_for: peer.voted.as_ref().map(|(leader, _)| leader.to_string()),
            voted_epoch: peer.voted.as_ref().map(|(_, epoch)| epoch.0),
            ghost,
        }
    }
}

impl Sentinel {
    /// Of a picture, as it is seen at `now`; the loop last ran at `beat`. `can_act`: there is a token.
    pub fn new(view: &SentinelView, beat: Mono, now: Mono, can_act: bool) -> Sentinel {
        Sentinel {
            id: view.id.to_string(),
            version: env!("CARGO_PKG_VERSION"),
            current_epoch: view.current_epoch.0,
            observe_only: view.observe_only,
            tilt_ms: view.tilt_since.map(|since| age(now, since)),
            save_error: view.save_error.as_deref().map(str::to_owned),
            loop_age_ms: age(now, beat),
            can_act,
            masters: Counts::of(view, now),
        }
    }
}

impl Counts {
    fn of(view: &SentinelView, now: Mono) -> Counts {
        let mut counts = Counts::default();
        for master in view.masters.iter() {
            counts.total += 1;
            counts.paused += usize::from(master.paused_until.is_some());
            counts.without_quorum += usize::from(!has_quorum(master));
            counts.problems += usize::from(!problems(master, now).is_empty());
            match Status::of(master) {
                Status::Ok => counts.ok += 1,
                Status::Sdown => counts.sdown += 1,
                Status::Odown => counts.odown += 1,
                Status::Failover => counts.failover += 1,
            }
        }
        counts
    }
}

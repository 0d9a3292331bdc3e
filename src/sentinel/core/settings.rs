//! What an operator can set: per master, for the whole sentinel, and by `SENTINEL DEBUG`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The settings of one monitored master, shared by its replicas and peer entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MasterSettings {
    /// How many sentinels must agree for ODOWN. At least 1.
    pub quorum: u32,
    /// `down-after-milliseconds`: silence after which an instance is SDOWN. Default 30 s. Too small and
    /// a garbage-collecting client host deposes masters; too large and clients wait.
    pub down_after: Duration,
    /// `failover-timeout`: bounds each phase of a failover. Default 180 s.
    pub failover_timeout: Duration,
    /// `parallel-syncs`: replicas pointed at the new master at a time. Default 1.
    pub parallel_syncs: u32,
    /// `notification-script`: run for each warning-level event.
    pub notification_script: Option<Arc<str>>,
    /// `client-reconfig-script`: run when the address changes.
    pub client_reconfig_script: Option<Arc<str>>,
    /// `auth-user` towards the master and its replicas.
    pub auth_user: Option<Arc<str>>,
    /// `auth-pass` towards the master and its replicas.
    pub auth_pass: Option<Arc<str>>,
    /// `master-reboot-down-after-period`; zero: off.
    pub reboot_down_after: Duration,
    /// `refused-after-milliseconds` (ours): SDOWN after connections were actively refused for so long;
    /// zero: off.
    pub refused_after: Duration,
    /// `rename-command`: upper-case command → the name the instances know it by.
    pub renamed_commands: Arc<BTreeMap<String, String>>,
}

impl MasterSettings {
    /// Default `down-after-milliseconds`.
    pub const DOWN_AFTER: Duration = Duration::from_secs(30);
    /// Default `failover-timeout`.
    pub const FAILOVER_TIMEOUT: Duration = Duration::from_secs(180);
    /// Default `parallel-syncs`.
    pub const PARALLEL_SYNCS: u32 = 1;

    /// The defaults, with the quorum that has none.
    pub fn new(quorum: u32) -> MasterSettings {
        MasterSettings {
            quorum,
            down_after: MasterSettings::DOWN_AFTER,
            failover_timeout: MasterSettings::FAILOVER_TIMEOUT,
            parallel_syncs: MasterSettings::PARALLEL_SYNCS,
            notification_script: None,
            client_reconfig_script: None,
            auth_user: None,
            auth_pass: None,
            reboot_down_after: Duration::ZERO,
            refused_after: Duration::ZERO,
            renamed_commands: Arc::default(),
        }
    }
}

/// The settings of the whole sentinel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a directive of its own"
)]
pub struct Globals {
    /// `resolve-hostnames`: host names are accepted.
    pub resolve_hostnames: bool,
    /// `announce-hostnames`: names rather than IPs are told to others.
    pub announce_hostnames: bool,
    /// `deny-scripts-reconfig`: script paths cannot be changed at run time.
    pub deny_scripts_reconfig: bool,
    /// `announce-ip`: our own address in hellos.
    pub announce_ip: Option<Arc<str>>,
    /// `announce-port`: our own port in hellos; 0: unset.
    pub announce_port: u16,
    /// `sentinel-user` towards peers.
    pub sentinel_user: Option<Arc<str>>,
    /// `sentinel-pass` towards peers.
    pub sentinel_pass: Option<Arc<str>>,
    /// `observe-only` (ours): watches and decides, and does nothing.
    pub observe_only: bool,
    /// `requirepass`: towards peers when `sentinel-pass` is unset. Not part of the durable state.
    pub requirepass: Option<Arc<str>>,
    /// The port that hellos name when `announce-port` is unset: `tls-port` where links use TLS, else
    /// `port`. Not part of the durable state.
    pub listening_port: u16,
}

/// What `SENTINEL DEBUG` can change. Not persisted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// INFO to masters and replicas.
    pub info_period: Duration,
    /// PING at most; capped by `down_after / 5`.
    pub ping_period: Duration,
    /// Question to peers at most.
    pub ask_period: Duration,
    /// Hello to every instance.
    pub publish_period: Duration,
    /// `down_after` of masters added later.
    pub default_down_after: Duration,
    /// `failover_timeout` of masters added later.
    pub default_failover_timeout: Duration,
    /// A stall of the loop longer than this enters TILT.
    pub tilt_trigger: Duration,
    /// How long TILT lasts.
    pub tilt_period: Duration,
    /// A replica told to follow the new master counts as done after this long without progress.
    pub slave_reconf_timeout: Duration,
    /// A link younger than this is not recycled for being silent.
    pub min_link_reconnect_period: Duration,
    /// An election is given up after this, or after `failover_timeout` when that is less.
    pub election_timeout: Duration,
    /// A script running longer is killed.
    pub script_max_runtime: Duration,
    /// First delay before a script is retried; doubles.
    pub script_retry_delay: Duration,
}

impl Default for Tuning {
    fn default() -> Tuning {
        let secs = Duration::from_secs;
        Tuning {
            info_period: secs(10),
            ping_period: secs(1),
            ask_period: secs(1),
            publish_period: secs(2),
            default_down_after: MasterSettings::DOWN_AFTER,
            default_failover_timeout: MasterSettings::FAILOVER_TIMEOUT,
            tilt_trigger: secs(2),
            tilt_period: secs(30),
            slave_reconf_timeout: secs(10),
            min_link_reconnect_period: secs(15),
            election_timeout: secs(10),
            script_max_runtime: secs(60),
            script_retry_delay: secs(30),
        }
    }
}

//! Events: public API, read by operators' tools. Channel names and payloads are the original's.

use std::fmt;

use crate::ids::MasterName;

/// How important a line of the log is. The single letters are Redis's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// `.` only in the log, never published.
    Debug,
    /// `-`
    Verbose,
    /// `*`
    Notice,
    /// `#` also runs the notification script of the master concerned.
    Warning,
}

macro_rules! events {
    ($($(#[$doc:meta])* $variant:ident = $channel:literal $level:ident,)*) => {
        /// Every event that is published.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum EventKind {
            $($(#[$doc])* $variant,)*
        }

        impl EventKind {
            /// All of them, in the order of the documentation.
            pub const ALL: &'static [EventKind] = &[$(EventKind::$variant,)*];

            /// The channel it is published on, which is also its name in the log.
            pub fn channel(self) -> &'static str {
                match self {
                    $(EventKind::$variant => $channel,)*
                }
            }

            /// Its level.
            pub fn level(self) -> Level {
                match self {
                    $(EventKind::$variant => Level::$level,)*
                }
            }
        }
    };
}

events! {
    /// A master is monitored: at start and by `SENTINEL MONITOR`.
    Monitor = "+monitor" Warning,
    /// `SENTINEL REMOVE`.
    Unmonitor = "-monitor" Warning,
    /// `SENTINEL RESET`.
    ResetMaster = "+reset-master" Warning,
    /// `SENTINEL SET`, once per option.
    Set = "+set" Warning,
    /// A replica was discovered, or recreated by a switch.
    Slave = "+slave" Notice,
    /// A peer was discovered.
    Sentinel = "+sentinel" Notice,
    /// A known peer has a new address.
    SentinelAddressSwitch = "+sentinel-address-switch" Notice,
    /// The same peer was updated in other masters too.
    SentinelAddressUpdate = "+sentinel-address-update" Notice,
    /// A new peer has the address of a known one, which is removed.
    SentinelInvalidAddr = "+sentinel-invalid-addr" Notice,
    /// The run id changed.
    Reboot = "+reboot" Notice,
    /// The reported role now matches the configured one.
    RoleChangeMatches = "+role-change" Verbose,
    /// The reported role contradicts the configured one.
    RoleChangeContradicts = "-role-change" Verbose,
    /// Subjectively down.
    Sdown = "+sdown" Warning,
    /// No longer subjectively down.
    SdownCleared = "-sdown" Warning,
    /// Objectively down: the quorum agrees.
    Odown = "+odown" Warning,
    /// No longer objectively down.
    OdownCleared = "-odown" Warning,
    /// The current epoch was raised.
    NewEpoch = "+new-epoch" Warning,
    /// A failover attempt started here.
    TryFailover = "+try-failover" Warning,
    /// A vote was cast here.
    VoteForLeader = "+vote-for-leader" Warning,
    /// This sentinel won the election.
    ElectedLeader = "+elected-leader" Warning,
    /// The leader is choosing a replica.
    StateSelectSlave = "+failover-state-select-slave" Warning,
    /// The leader has chosen this replica.
    SelectedSlave = "+selected-slave" Warning,
    /// About to promote the chosen replica.
    StateSendSlaveofNoone = "+failover-state-send-slaveof-noone" Notice,
    /// The promotion was sent.
    StateWaitPromotion = "+failover-state-wait-promotion" Notice,
    /// The chosen replica reports that it is a master.
    PromotedSlave = "+promoted-slave" Warning,
    /// The other replicas are being pointed at the new master.
    StateReconfSlaves = "+failover-state-reconf-slaves" Warning,
    /// A replica was told to follow the new master.
    SlaveReconfSent = "+slave-reconf-sent" Notice,
    /// It reports the new master's address.
    SlaveReconfInprog = "+slave-reconf-inprog" Notice,
    /// Its link to the new master is up.
    SlaveReconfDone = "+slave-reconf-done" Notice,
    /// No progress in time; counted as done.
    SlaveReconfSentTimeout = "-slave-reconf-sent-timeout" Notice,
    /// Told to follow the new master as a last effort at a forced end.
    SlaveReconfSentBe = "+slave-reconf-sent-be" Notice,
    /// The failover ends although replicas remain.
    FailoverEndForTimeout = "+failover-end-for-timeout" Warning,
    /// The failover is complete.
    FailoverEnd = "+failover-end" Warning,
    /// The address of a master changed: the event that clients wait for.
    SwitchMaster = "+switch-master" Warning,
    /// A peer's hello brings a newer configuration.
    ConfigUpdateFrom = "+config-update-from" Warning,
    /// Votes did not suffice in time.
    AbortNotElected = "-failover-abort-not-elected" Warning,
    /// No replica can be promoted.
    AbortNoGoodSlave = "-failover-abort-no-good-slave" Warning,
    /// The chosen replica did not become a master in time.
    AbortSlaveTimeout = "-failover-abort-slave-timeout" Warning,
    /// The master answered again before anything was promoted (ours).
    AbortMasterIsBack = "-failover-abort-master-is-back" Warning,
    /// Automatic failovers were paused before anything was promoted (ours).
    AbortPaused = "-failover-abort-paused" Warning,
    /// A replica that took itself for a master is demoted.
    ConvertToSlave = "+convert-to-slave" Notice,
    /// A replica that followed another is pointed back.
    FixSlaveConfig = "+fix-slave-config" Notice,
    /// This process did not run for too long; it trusts nothing for a while.
    Tilt = "+tilt" Warning,
    /// The end of that.
    TiltEnd = "-tilt" Warning,
    /// A script failed for good.
    ScriptError = "-script-error" Warning,
    /// A script ran too long and is killed.
    ScriptTimeout = "-script-timeout" Warning,
    /// A script was started. Log only.
    ScriptChild = "+script-child" Debug,
    /// A script ended. Log only.
    ScriptChildEnded = "-script-child" Debug,
    /// A command link could not be opened. Log only.
    CmdLinkReconnection = "-cmd-link-reconnection" Debug,
    /// A pub/sub link could not be opened. Log only.
    PubsubLinkReconnection = "-pubsub-link-reconnection" Debug,
    /// An instance closed its connection and now refuses new ones (ours): it was stopped, not cut off.
    InstanceClosed = "+instance-closed" Warning,
    /// An instance refuses our credentials (ours).
    AuthRefused = "+auth-refused" Warning,
    /// It accepts them again (ours).
    AuthAccepted = "-auth-refused" Warning,
    /// A message was refused and why (ours).
    Rejected = "+rejected" Warning,
    /// Peers that have been down so long that they only raise the majority (ours).
    GhostSentinels = "+ghost-sentinels" Warning,
    /// The state cannot be written; this sentinel neither votes nor leads (ours).
    SaveFailed = "+save-failed" Warning,
    /// The state is being written again (ours).
    SaveRecovered = "-save-failed" Warning,
    /// Automatic failovers of a master are paused (ours): `SENTINEL PAUSE`, or a restart in a pause.
    Pause = "+pause" Warning,
    /// They are not any more (ours): `SENTINEL RESUME`, or time is up.
    PauseEnd = "-pause" Warning,
    /// A replica or peer was forgotten (ours): `SENTINEL FORGET`.
    Forget = "+forget" Warning,
    /// With `observe-only`, a failover would have started here (ours).
    WouldFailover = "+would-failover" Warning,
    /// With `observe-only`, a vote would have been given (ours).
    WouldVote = "+would-vote" Warning,
    /// With `observe-only`, an instance would have been pointed at its master (ours).
    WouldReconf = "+would-reconf" Notice,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The payload, exactly as published.
    pub payload: String,
    /// The master it is about, if any.
    pub master: Option<MasterName>,
}

impl Event {
    /// Payloads longer than this are cut, as in the original. Bytes.
    pub const PAYLOAD_BYTES_MAX: usize = 1023;
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.channel(), self.payload)
    }
}

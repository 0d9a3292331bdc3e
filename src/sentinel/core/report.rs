//! What the sentinel says about its state: instance maps, INFO, quorum. Reads only.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Sentinel;
use super::instance::{Instance, InstanceId, Reconf, Role};
use super::master::{Master, MasterId};
use super::peer::{PeerEntry, PeerId};
use super::record::Histogram;
use super::settings::{Globals, MasterSettings, Tuning};
use crate::clock::{Mono, Now, millis};
use crate::ids::{Epoch, MasterName, SentinelId};

/// Field and value, in the original's order; our own fields come last.
pub type Fields = Vec<(&'static str, String)>;

impl Sentinel {
    /// Our permanent id.
    pub fn id(&self) -> &SentinelId {
        &self.id
    }

    /// The newest epoch seen.
    pub fn current_epoch(&self) -> Epoch {
        self.current_epoch
    }

    /// The settings of the whole sentinel.
    pub fn globals(&self) -> &Globals {
        &self.globals
    }

    /// What `SENTINEL DEBUG` shows.
    pub fn tuning(&self) -> &Tuning {
        &self.tuning
    }

    /// The names of the monitored masters, in the order in which they were added.
    pub fn master_names(&self) -> impl Iterator<Item = &MasterName> {
        self.masters.values().map(|master| &master.name)
    }

    /// The settings of a master.
    pub fn settings(&self, name: &str) -> Option<&MasterSettings> {
        self.by_name(name).map(|(_, master)| &master.settings)
    }

    /// Where the master is: `SENTINEL GET-MASTER-ADDR-BY-NAME`.
    pub fn master_addr(&self, name: &str) -> Option<(Arc<str>, u16)> {
        self.by_name(name).map(|(m, _)| self.current_addr(m))
    }

    /// The config epoch of a master.
    pub fn config_epoch(&self, name: &str) -> Option<Epoch> {
        self.by_name(name).map(|(_, master)| master.config_epoch)
    }

    /// `SENTINEL MASTER`.
    pub fn master_fields(&self, now: Now, name: &str) -> Option<Fields> {
        let at = self.active(now.mono);
        self.by_name(name)
            .map(|(m, master)| self.instance_fields(at, m, master.instance))
    }

    /// `SENTINEL REPLICAS`; replicas that ask not to be announced are left out.
    pub fn replica_fields(&self, now: Now, name: &str) -> Option<Vec<Fields>> {
        let at = self.active(now.mono);
        let (m, master) = self.by_name(name)?;
        let announced = master
            .replicas
            .iter()
            .filter(|i| self.instance(**i).replica.announced);
        Some(announced.map(|i| self.instance_fields(at, m, *i)).collect())
    }

    /// `SENTINEL SENTINELS`: the others.
    pub fn sentinel_fields(&self, now: Now, name: &str) -> Option<Vec<Fields>> {
        let at = self.active(now.mono);
        let (m, master) = self.by_name(name)?;
        Some(
            master
                .peers
                .iter()
                .map(|entry| self.peer_fields(at, m, entry))
                .collect(),
        )
    }

    /// `SENTINEL CKQUORUM`: usable sentinels, and whether they suffice for the quorum and for the
    /// majority.
    pub fn ckquorum(&self, name: &str) -> Option<(usize, bool, bool)> {
        let (_, master) = self.by_name(name)?;
        let usable = 1 + master
            .peers
            .iter()
            .filter(|entry| entry.sdown_since.is_none())
            .count();
        Some((
            usable,
            usable >= master.quorum(),
            usable >= master.majority(),
        ))
    }

    /// What `SENTINEL CKQUORUM` says of it when all is right.
    ///
    /// # Errors
    /// What is wrong.
    pub fn ckquorum_text(usable: usize, quorum: bool, majority: bool) -> Result<String, String> {
        if quorum && majority {
            return Ok(format!(
                "OK {usable} usable Sentinels. Quorum and failover authorization can be reached"
            ));
        }
        let mut reasons = Vec::new();
        if !quorum {
            reasons.push(
                "Not enough available Sentinels to reach the specified quorum for this master",
            );
        }
        if !majority {
            reasons.push(
                "Not enough available Sentinels to reach the majority and authorize a failover",
            );
        }
        let reasons = reasons.join(". ");
        Err(format!("NOQUORUM {usable} usable Sentinels. {reasons}"))
    }

    /// How long instances have taken to answer PING.
    pub fn probes(&self) -> &Histogram {
        &self.probes
    }

    /// How long ago each master last answered PING as it should, by name.
    pub fn last_pings(&self, now: Now) -> Vec<(MasterName, Duration)> {
        let at = self.active(now.mono);
        let last = |m: &MasterId| at.since(self.instance(self.master(*m).instance).ping.ok_at);
        let mut all: Vec<(MasterName, Duration)> = (self.names.iter())
            .map(|(name, m)| (name.clone(), last(m)))
            .collect();
        all.sort_unstable();
        all
    }

    /// `sentinel_simulate_failure_flags`
    pub fn simulated_failures(&self) -> u8 {
        u8::from(self.simulate_crash_after_election)
            + 2 * u8::from(self.simulate_crash_after_promotion)
    }

    /// `SENTINEL INFO-CACHE`: age in milliseconds and text of the last INFO, the master's first. Never
    /// answered: no text, and an age of 0.
    pub fn info_cache(&self, now: Now, name: &str) -> Option<Vec<(u64, Option<Bytes>)>> {
        let at = self.active(now.mono);
        let (_, master) = self.by_name(name)?;
        let cached = |i: InstanceId| {
            let info = &self.instance(i).info;
            (info.at.map_or(0, |then| age(at, then)), info.text.clone())
        };
        Some(master.instances().map(cached).collect())
    }

    /// The lines of INFO's sentinel section, up to those about scripts.
    pub fn info_head(&self, now: Now) -> String {
        let tilt_seconds = match &self.tilt {
            Some(tilt) => {
                i64::try_from(self.active(now.mono).since(tilt.since).as_secs()).unwrap_or(i64::MAX)
            }
            None => -1,
        };
        format!(
            "sentinel_masters:{}\r\nsentinel_tilt:{}\r\nsentinel_tilt_since_seconds:{tilt_seconds}\r\n",
            self.masters.len(),
            u8::from(self.tilt.is_some()),
        )
    }

    /// The lines of INFO's sentinel section after those about scripts: simulated failures, one line
    /// per master, and our own.
    pub fn info_tail(&self) -> String {
        let mut text = String::new();
        let flags = self.simulated_failures();
        let _ = write!(text, "sentinel_simulate_failure_flags:{flags}\r\n");
        for (n, (m, master)) in self.masters.iter().enumerate() {
            let status = if master.odown_since.is_some() {
                "odown"
            } else if self.instance(master.instance).sdown_since.is_some() {
                "sdown"
            } else {
                "ok"
            };
            let (host, port) = self.current_addr(*m);
            let _ = write!(
                text,
                "master{n}:name={},status={status},address={host}:{port},slaves={},sentinels={}\r\n",
                master.name,
                master.replicas.len(),
                master.voters(),
            );
        }
        match self.save_failure() {
            Some(error) => {
                let _ = write!(
                    text,
                    "sentinel_save_status:err\r\nsentinel_save_error:{error}\r\n"
                );
            }
            None => text.push_str("sentinel_save_status:ok\r\n"),
        }
        let _ = write!(
            text,
            "sentinel_observe_only:{}\r\nsentinel_paused_masters:{}\r\n",
            u8::from(self.globals.observe_only),
            self.paused_count(),
        );
        let masters = self.masters.values();
        let paused = masters.filter_map(|m| Some((&m.name, m.pause.as_ref()?)));
        for (n, (name, pause)) in paused.enumerate() {
            let until = pause.until.number();
            let _ = write!(text, "sentinel_paused{n}:name={name},until={until}\r\n");
        }
        text
    }

    fn by_name(&self, name: &str) -> Option<(MasterId, &Master)> {
        let m = *self.names.get(name)?;
        Some((m, self.master(m)))
    }

    fn instance_fields(&self, at: Mono, m: MasterId, i: InstanceId) -> Fields {
        let master = self.master(m);
        let instance = self.instance(i);
        let is_master = instance.configured == Role::Master;
        let name = if is_master {
            master.name.to_string()
        } else {
            instance.name.clone()
        };
        let mut fields: Fields = vec![
            ("name", name),
            ("ip", self.shown(&instance.addr).to_string()),
            ("port", instance.addr.port().to_string()),
            (
                "runid",
                instance
                    .run_id
                    .as_ref()
                    .map_or(String::new(), ToString::to_string),
            ),
            ("flags", self.instance_flags(m, i)),
            ("link-pending-commands", instance.cmd.pending().to_string()),
            ("link-refcount", "1".to_owned()),
        ];
        if let Some(failover) = master.failover.as_ref().filter(|_| is_master) {
            fields.push(("failover-state", failover.state_name().to_owned()));
        }
        let mut push = |name, value: u64| fields.push((name, value.to_string()));
        push(
            "last-ping-sent",
            instance
                .ping
                .unanswered_since
                .map_or(0, |then| age(at, then)),
        );
        push("last-ok-ping-reply", age(at, instance.ping.ok_at));
        push("last-ping-reply", age(at, instance.ping.any_at));
        if let Some(then) = instance.sdown_since {
            push("s-down-time", age(at, then));
        }
        if let Some(then) = master.odown_since.filter(|_| is_master) {
            push("o-down-time", age(at, then));
        }
        push(
            "down-after-milliseconds",
            millis(master.settings.down_after),
        );
        push(
            "info-refresh",
            instance.info.at.map_or(0, |then| age(at, then)),
        );
        fields.push(("role-reported", instance.reported.as_str().to_owned()));
        fields.push((
            "role-reported-time",
            age(at, instance.reported_since).to_string(),
        ));
        if is_master {
            self.master_only_fields(m, &mut fields);
        } else {
            replica_only_fields(instance, &mut fields);
        }
        if let Some((since, _)) = instance.auth_refused {
            fields.push(("auth-refused-time", age(at, since).to_string()));
        }
        fields
    }

    fn master_only_fields(&self, m: MasterId, fields: &mut Fields) {
        let master = self.master(m);
        let settings = &master.settings;
        let mut push = |name, value: String| fields.push((name, value));
        push("config-epoch", master.config_epoch.to_string());
        push("num-slaves", master.replicas.len().to_string());
        push("num-other-sentinels", master.peers.len().to_string());
        push("quorum", settings.quorum.to_string());
        push(
            "failover-timeout",
            millis(settings.failover_timeout).to_string(),
        );
        push("parallel-syncs", settings.parallel_syncs.to_string());
        if let Some(path) = &settings.notification_script {
            push("notification-script", path.to_string());
        }
        if let Some(path) = &settings.client_reconfig_script {
            push("client-reconfig-script", path.to_string());
        }
        if settings.refused_after > Duration::ZERO {
            push(
                "refused-after-milliseconds",
                millis(settings.refused_after).to_string(),
            );
        }
        if let Some(pause) = &master.pause {
            push("paused-until", pause.until.number().to_string());
        }
        if !master.ghosts.is_empty() {
            push("ghost-sentinels", self.ghost_list(m, &master.ghosts));
        }
    }

    /// Flags in the original's order, then ours.
    pub(super) fn instance_flags(&self, m: MasterId, i: InstanceId) -> String {
        let master = self.master(m);
        let instance = self.instance(i);
        let is_master = instance.configured == Role::Master;
        let failover = master.failover.as_ref();
        let chosen = failover.and_then(super::failover::Failover::chosen) == Some(i);
        let forced = failover.is_some_and(|f| f.kind == super::record::FailoverKind::Manual);
        join(&[
            (instance.sdown_since.is_some(), "s_down"),
            (is_master && master.odown_since.is_some(), "o_down"),
            (is_master, "master"),
            (!is_master, "slave"),
            (instance.is_disconnected(), "disconnected"),
            (is_master && failover.is_some(), "failover_in_progress"),
            (chosen, "promoted"),
            (
                matches!(instance.reconf, Reconf::Sent { .. }),
                "reconf_sent",
            ),
            (instance.reconf == Reconf::InProgress, "reconf_inprog"),
            (instance.reconf == Reconf::Done, "reconf_done"),
            (is_master && forced, "force_failover"),
            (instance.script_kill_sent, "script_kill_sent"),
            (instance.rebooted_at.is_some(), "master_reboot"),
            (instance.auth_refused.is_some(), "auth_refused"),
            (is_master && master.pause.is_some(), "paused"),
        ])
    }

    fn peer_fields(&self, at: Mono, m: MasterId, entry: &PeerEntry) -> Fields {
        let peer = self.peer(entry.peer);
        let mut fields: Fields = vec![
            ("name", peer.id.to_string()),
            ("ip", self.shown(&peer.addr).to_string()),
            ("port", peer.addr.port().to_string()),
            ("runid", peer.id.to_string()),
            ("flags", self.peer_flags(m, entry.peer)),
            ("link-pending-commands", peer.link.pending().to_string()),
            ("link-refcount", peer.masters.len().to_string()),
        ];
        let mut push = |name, value: u64| fields.push((name, value.to_string()));
        push(
            "last-ping-sent",
            peer.ping.unanswered_since.map_or(0, |then| age(at, then)),
        );
        push("last-ok-ping-reply", age(at, peer.ping.ok_at));
        push("last-ping-reply", age(at, peer.ping.any_at));
        if let Some(then) = entry.sdown_since {
            push("s-down-time", age(at, then));
        }
        push(
            "down-after-milliseconds",
            millis(self.master(m).settings.down_after),
        );
        push("last-hello-message", age(at, entry.hello_at));
        let leader = entry
            .voted
            .as_ref()
            .map_or("?", |(leader, _)| leader.as_str());
        fields.push(("voted-leader", leader.to_owned()));
        fields.push(("voted-leader-epoch", entry.voted_epoch.to_string()));
        fields
    }

    fn peer_flags(&self, m: MasterId, p: PeerId) -> String {
        let entry = self.master(m).entry(p);
        join(&[
            (
                entry.is_some_and(|entry| entry.sdown_since.is_some()),
                "s_down",
            ),
            (true, "sentinel"),
            (self.peer(p).link.is_down(), "disconnected"),
            (entry.is_some_and(PeerEntry::says_down), "master_down"),
        ])
    }
}

fn replica_only_fields(instance: &Instance, fields: &mut Fields) {
    let replica = &instance.replica;
    let (host, port) = match &replica.master {
        Some((host, port)) => (host.clone(), *port),
        None => ("?".to_owned(), 0),
    };
    let mut push = |name, value: String| fields.push((name, value));
    push("master-link-down-time", replica.link_down_ms.to_string());
    push(
        "master-link-status",
        if replica.link_up { "ok" } else { "err" }.to_owned(),
    );
    push("master-host", host);
    push("master-port", port.to_string());
    push("slave-priority", replica.priority.to_string());
    push("slave-repl-offset", replica.repl_offset.to_string());
    push("replica-announced", u8::from(replica.announced).to_string());
}

fn join(flags: &[(bool, &str)]) -> String {
    flags
        .iter()
        .filter(|(set, _)| *set)
        .map(|(_, name)| *name)
        .collect::<Vec<_>>()
        .join(",")
}

fn age(at: Mono, then: Mono) -> u64 {
    millis(at.since(then))
}

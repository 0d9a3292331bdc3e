//! What an INFO reply tells, and what follows from it.

use std::time::Duration;

use super::Sentinel;
use super::addr::Addr;
use super::event::{EventKind, Level};
use super::info::{Info, ListedReplica, REPLICAS_MAX, is_token};
use super::instance::{Gate, Instance, InstanceId, Role};
use super::io::Request;
use super::link::Awaited;
use super::master::MasterId;
use super::timers::Timer;
use super::traffic::is_refusal;
use crate::clock::Mono;
use crate::ids::{ReplId, RunId};
use crate::resp::Value;

/// INFO of a replica while its master is down or fails over.
const INFO_PERIOD_URGENT: Duration = Duration::from_secs(1);
/// INFO of the replica that is being promoted, until it says so.
const INFO_PERIOD_PROMOTION: Duration = Duration::from_millis(50);
/// INFO of a replica on its way to the new master.
const INFO_PERIOD_RECONF: Duration = Duration::from_millis(100);
/// A replica must have been a master for this many hello periods before it is converted: its promotion
/// may be news that has yet to reach us.
const CONVERT_PERIODS: u32 = 4;

impl Sentinel {
    /// How often INFO is wanted beside the usual period; `None` in quiet times.
    pub(super) fn urgent_info_period(&self, i: InstanceId) -> Option<Duration> {
        let instance = self.instance(i);
        let master = self.master(instance.master);
        if instance.is_reconf_under_way() {
            return Some(INFO_PERIOD_RECONF);
        }
        if instance.configured == Role::Master {
            return None;
        }
        let urgent = INFO_PERIOD_URGENT.min(self.tuning.info_period);
        match &master.failover {
            Some(failover) if failover.awaits_promotion_of(i) => Some(INFO_PERIOD_PROMOTION),
            Some(_) => Some(urgent),
            None if master.odown_since.is_some() || instance.replica.link_down_ms != 0 => {
                Some(urgent)
            }
            None => None,
        }
    }

    pub(super) fn handle_info(&mut self, i: InstanceId, reply: &Value) {
        let (now, period) = (self.now, self.tuning.info_period);
        let first = self.instance(i).info.heard_at.is_none();
        // The first period is cut short at random, so that thousands of instances spread out.
        let spread = if first { self.random(period) } else { period };
        let clock = &mut self.instance_mut(i).info;
        clock.heard_at = Some(now);
        clock.next_at = now + spread.max(period / 8);
        let (Value::Bulk(text) | Value::Verbatim(_, text)) = reply else {
            if is_refusal(reply)
                && let Value::Error(text) = reply
            {
                self.auth_refused(i, Gate::Info, &String::from_utf8_lossy(text));
            }
            self.arm_soon(i);
            return;
        };
        self.auth_granted(i, Gate::Info);
        let info = Info::parse(text);
        let instance = self.instance_mut(i);
        instance.info.at = Some(now);
        instance.info.text = Some(text.clone());
        self.note_run_id(i, &info);
        if self.instance(i).configured == Role::Master {
            self.note_replicas(i, &info);
        }
        self.note_role(i, &info);
        let instance = self.instance(i);
        let (m, is_replica) = (instance.master, instance.configured == Role::Replica);
        self.changed(m);
        if self.tilt.is_none() {
            if is_replica {
                self.note_progress(i);
                self.set_right(i);
            }
            let master = self.master(m);
            if master.failover.is_some() || master.odown_since.is_some() {
                self.timers.arm(Timer::Master(m), now);
            }
        }
        self.arm_soon(i);
    }

    fn arm_soon(&mut self, i: InstanceId) {
        self.timers.arm(Timer::Instance(i), self.now);
    }

    fn note_run_id(&mut self, i: InstanceId, info: &Info) {
        let now = self.now;
        let reboot_rule = {
            let instance = self.instance(i);
            let settings = &self.master(instance.master).settings;
            instance.configured == Role::Master && settings.reboot_down_after > Duration::ZERO
        };
        let instance = self.instance_mut(i);
        if let Some(repl_id) = &info.repl_id
            && instance
                .repl_id
                .as_ref()
                .is_none_or(|known| known.as_str() != repl_id)
        {
            instance.repl_id = Some(ReplId::from(repl_id.as_str()));
        }
        let Some(run_id) = &info.run_id else { return };
        match &instance.run_id {
            Some(known) if known.as_str() == run_id => {}
            None => instance.run_id = Some(RunId::from(run_id.as_str())),
            Some(_) => {
                instance.run_id = Some(RunId::from(run_id.as_str()));
                if reboot_rule {
                    instance.rebooted_at = Some(now);
                }
                self.event_instance(EventKind::Reboot, i);
            }
        }
    }

    /// Replicas that the master lists and we do not know.
    fn note_replicas(&mut self, i: InstanceId, info: &Info) {
        let m = self.instance(i).master;
        let mut found = false;
        self.note_lags(i, info);
        for ListedReplica { host, port, .. } in &info.replicas {
            let addr = Addr::new(host, *port);
            if addr.is_host_name() && !self.globals.resolve_hostnames {
                self.log(Level::Debug, format!("Failed to resolve hostname '{host}'"));
                continue;
            }
            if self.master(m).replicas.len() >= REPLICAS_MAX {
                let name = self.master(m).name.clone();
                self.reject(format!(
                    "{name} already has {REPLICAS_MAX} replicas, {addr} is left out"
                ));
                break;
            }
            if let Some(replica) = self.add_replica(m, addr) {
                self.event_instance(EventKind::Slave, replica);
                found = true;
            }
        }
        if found {
            self.touch_master(m, false);
        }
    }

    /// How far each replica is behind, by the master's own word: both numbers are of one moment.
    fn note_lags(&mut self, i: InstanceId, info: &Info) {
        let m = self.instance(i).master;
        self.instance_mut(i).replica.master_offset = info.master_offset;
        let listed = |replica: &ListedReplica| {
            let addr = Addr::new(&replica.host, replica.port);
            Some((addr, replica.offset?))
        };
        let listed: Vec<(Addr, u64)> = info.replicas.iter().filter_map(listed).collect();
        for replica in self.master(m).replicas.clone() {
            let addr = &self.instance(replica).addr;
            let acknowledged = listed.iter().find(|(listed, _)| addr.same_as(listed));
            let lag = (info.master_offset.zip(acknowledged))
                .map(|(master, (_, replica))| master.saturating_sub(*replica));
            self.instance_mut(replica).replica.lag = lag;
        }
    }

    fn note_role(&mut self, i: InstanceId, info: &Info) {
        let now = self.now;
        let instance = self.instance_mut(i);
        instance.replica.link_down_ms = info.link_down_ms;
        instance.replica.incomplete = info.incomplete;
        let Some(role) = info.role else { return };
        if role == Role::Replica {
            note_replica(instance, info, now);
        }
        if role != instance.reported {
            instance.reported = role;
            instance.reported_since = now;
            if role == Role::Replica {
                instance.replica.master_changed_at = now;
            }
            let kind = if role == instance.configured {
                EventKind::RoleChangeMatches
            } else {
                EventKind::RoleChangeContradicts
            };
            let text = format!(
                "{} new reported role is {}",
                self.describe(i),
                role.as_str()
            );
            let m = self.instance(i).master;
            self.event_at(m, kind, text);
        }
    }

    /// A replica that is not what it should be is put right, once that has lasted and the master is
    /// beyond doubt.
    fn set_right(&mut self, i: InstanceId) {
        let now = self.now;
        let instance = self.instance(i);
        let m = instance.master;
        let master = self.master(m);
        if master.failover.is_some() {
            return;
        }
        let master_addr = self.instance(master.instance).addr.clone();
        let (kind, since, wait) = match instance.reported {
            Role::Master => {
                let wait = self.tuning.publish_period * CONVERT_PERIODS;
                (EventKind::ConvertToSlave, instance.reported_since, wait)
            }
            Role::Replica if self.is_stray(i, &master_addr) => {
                let wait = master.settings.failover_timeout;
                (
                    EventKind::FixSlaveConfig,
                    instance.replica.master_changed_at,
                    wait,
                )
            }
            Role::Replica => return,
        };
        let since = instance.last_sdown_at.map_or(since, |at| at.max(since));
        if now.since(since) <= wait || !self.looks_sane(m) {
            // Looked at again as soon as the wait is over.
            let at = (since + wait + Duration::from_millis(1)).max(now + INFO_PERIOD_URGENT);
            let info = &mut self.instance_mut(i).info;
            info.next_at = info.next_at.min(at);
            return;
        }
        if self.globals.observe_only {
            self.withhold_reconf(i, kind, since);
        } else if self.instance(i).cmd.is_up() {
            self.send_slaveof(i, Some(&master_addr));
            self.event_instance(kind, i);
            if self.is_new_repair(i, since) {
                self.tell_repair(i, since);
            }
        }
    }

    /// Whether a replica follows, by its own word, another address than `master`.
    fn is_stray(&self, i: InstanceId, master: &Addr) -> bool {
        let instance = self.instance(i);
        let Some((host, port)) = &instance.replica.master else {
            return false;
        };
        let reported = Addr::new(host, *port);
        !master.same_as(&reported) && !self.same_after_resolution(master, &reported)
    }

    /// Whether the master is beyond doubt: it says that it is one, it is not down, and it said so
    /// lately.
    fn looks_sane(&self, m: MasterId) -> bool {
        let master = self.master(m);
        let instance = self.instance(master.instance);
        instance.reported == Role::Master
            && instance.sdown_since.is_none()
            && master.odown_since.is_none()
            && instance
                .info
                .at
                .is_some_and(|at| self.now.since(at) < self.tuning.info_period * 2)
    }

    /// Sends the transaction that makes an instance a replica of `target`, or a master, and an INFO
    /// right behind it that tells the result.
    pub(super) fn send_slaveof(&mut self, i: InstanceId, target: Option<&Addr>) {
        let target = target.map(|addr| (self.shown(addr), addr.port()));
        self.send(i, Request::SlaveOf(target), Awaited::Exec);
        // Not `send_info`: an INFO that is already on its way would tell what was before.
        self.send(i, Request::Info, Awaited::Info);
        self.instance_mut(i).info.wanted = false;
    }
}

fn note_replica(instance: &mut Instance, info: &Info, now: Mono) {
    let replica = &mut instance.replica;
    if let (Some(host), Some(port)) = (&info.master_host, info.master_port)
        && is_token(host)
        && replica
            .master
            .as_ref()
            .is_none_or(|(h, p)| h != host || *p != port)
    {
        replica.master = Some((host.clone(), port));
        replica.master_changed_at = now;
    }
    if let Some(link_up) = info.link_up {
        replica.link_up = link_up;
    }
    if let Some(priority) = info.priority {
        replica.priority = priority;
    }
    if let Some(offset) = info.repl_offset {
        replica.repl_offset = offset;
    }
    if let Some(announced) = info.announced {
        replica.announced = announced;
    }
}

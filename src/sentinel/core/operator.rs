//! Commands of operators that change something.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Sentinel;
use super::addr::Addr;
use super::event::{EventKind, Level};
use super::instance::{Instance, InstanceId};
use super::io::{Operator, ReplyTo, SetOption};
use super::journal::AfterWrite;
use super::master::MasterId;
use super::pause::Order;
use super::peer::PeerId;
use super::record::{FailoverKind, Reason};
use super::refusal;
use super::settings::{Globals, MasterSettings, Tuning};
use super::timers::Timer;
use crate::ids::MasterName;
use crate::resp::Value;

impl Sentinel {
    pub(super) fn handle_operator(&mut self, to: ReplyTo, request: Operator) {
        match request {
            Operator::Monitor { name, addr, quorum } => self.monitor(to, name, addr, quorum),
            Operator::Remove(name) => match self.find_master(&name) {
                Some(m) => {
                    self.remove_master(m);
                    self.confirm(to, Value::ok());
                }
                None => self.reply(to, Value::error(refusal::NO_SUCH_MASTER)),
            },
            Operator::Reset(names) => self.reset(to, &names),
            Operator::Failover(name) => self.manual_failover(to, &name),
            Operator::Set {
                name,
                options,
                error,
            } => self.set(to, &name, options, error),
            Operator::ConfigSet(globals) => self.config_set(to, globals),
            Operator::Flush => self.confirm(to, Value::ok()),
            Operator::Pause {
                name,
                length,
                forwarded,
            } => self.order(to, &name, Order::Pause(length), forwarded),
            Operator::Resume { name, forwarded } => {
                self.order(to, &name, Order::Resume, forwarded);
            }
            Operator::Forget { name, addr } => self.forget(to, &name, &addr),
            Operator::Debug { tuning, error } => {
                self.retune(tuning);
                self.reply(to, error.map_or_else(Value::ok, Value::error));
            }
            Operator::SimulateFailure {
                after_election,
                after_promotion,
            } => {
                self.simulate_crash_after_election = after_election;
                self.simulate_crash_after_promotion = after_promotion;
                if after_election {
                    self.log_simulation("being successfully elected as failover leader");
                }
                if after_promotion {
                    self.log_simulation("promoting the selected replica to master");
                }
                self.reply(to, Value::ok());
            }
        }
    }

    fn log_simulation(&mut self, after: &str) {
        let text = format!("Failure simulation: this Sentinel will crash after {after}");
        self.log(Level::Warning, text);
    }

    fn find_master(&self, name: &MasterName) -> Option<MasterId> {
        self.names.get(name).copied()
    }

    /// Writes the state and then confirms.
    fn confirm(&mut self, to: ReplyTo, reply: Value) {
        let seq = self.touch(true);
        self.after_write(seq, AfterWrite::Confirm { to, reply });
    }

    fn monitor(&mut self, to: ReplyTo, name: MasterName, addr: Addr, quorum: u32) {
        if self.names.contains_key(&name) {
            self.reply(to, Value::error("ERR Duplicate master name."));
            return;
        }
        let mut settings = MasterSettings::new(quorum);
        settings.down_after = self.tuning.default_down_after;
        settings.failover_timeout = self.tuning.default_failover_timeout;
        let m = self.add_master(name, addr, settings);
        // It may have been monitored before, and a vote given for it: none is given twice in an epoch.
        self.master_mut(m).vote.epoch = self.current_epoch;
        self.refresh_durable(m);
        self.confirm(to, Value::ok());
        self.event_monitor(m);
    }

    fn reset(&mut self, to: ReplyTo, names: &[MasterName]) {
        let masters: Vec<MasterId> = names.iter().filter_map(|n| self.find_master(n)).collect();
        for m in &masters {
            self.reset_master(*m);
            self.refresh_durable(*m);
        }
        let count = Value::Integer(i64::try_from(masters.len()).unwrap_or(i64::MAX));
        if masters.is_empty() {
            self.reply(to, count);
        } else {
            self.confirm(to, count);
        }
    }

    /// Answers at once; the failover goes on by itself, with an election like any other.
    fn manual_failover(&mut self, to: ReplyTo, name: &MasterName) {
        let Some(m) = self.find_master(name) else {
            self.reply(to, Value::error(refusal::NO_SUCH_MASTER));
            return;
        };
        if self.globals.observe_only {
            self.reply(to, Value::error(refusal::ONLY_OBSERVES));
            return;
        }
        if self.master(m).failover.is_some() {
            self.tell_order_declined(m, Reason::InProgress, "a failover is under way already");
            self.reply(to, Value::error(refusal::IN_PROGRESS));
            return;
        }
        if self.select_replica(m).is_none() {
            self.tell_order_declined(m, Reason::NoGoodReplica, "no replica can be promoted");
            self.reply(to, Value::error(refusal::NO_GOOD_REPLICA));
            return;
        }
        if let Some(error) = self.journal.failure.clone() {
            let why = format!("the state cannot be written: {error}");
            self.tell_order_declined(m, Reason::CannotSave, &why);
            self.reply(to, Value::error(refusal::NOT_SAVED));
            return;
        }
        self.log(
            Level::Warning,
            format!("Executing user requested FAILOVER of '{name}'"),
        );
        self.reply(to, Value::ok());
        self.start_failover(m, FailoverKind::Manual);
    }

    /// Forgets a replica or a peer, which comes back if it is heard of again. Not the master itself.
    fn forget(&mut self, to: ReplyTo, name: &MasterName, addr: &Addr) {
        let Some(m) = self.find_master(name) else {
            self.reply(to, Value::error(refusal::NO_SUCH_MASTER));
            return;
        };
        let master = self.master(m);
        if self.instance(master.instance).addr.same_as(addr) {
            self.reply(to, Value::error(refusal::IS_THE_MASTER));
            return;
        }
        let at_addr = |p: &PeerId| self.peer(*p).addr.same_as(addr);
        let peer = master.peer_ids().find(at_addr);
        if let Some(i) = self.find_replica(m, addr) {
            let text = self.describe(i);
            self.event_at(m, EventKind::Forget, text);
            self.forget_replica(m, i);
        } else if let Some(p) = peer {
            let text = self.describe_peer(m, p);
            self.event_at(m, EventKind::Forget, text);
            self.remove_peer(m, p);
            self.refresh_durable(m);
            self.timers.arm(Timer::Master(m), self.now);
        } else {
            self.reply(to, Value::error(refusal::UNKNOWN_INSTANCE));
            return;
        }
        self.confirm(to, Value::ok());
    }

    fn set(
        &mut self,
        to: ReplyTo,
        name: &MasterName,
        options: Vec<SetOption>,
        error: Option<String>,
    ) {
        let Some(m) = self.find_master(name) else {
            self.reply(to, Value::error(refusal::NO_SUCH_MASTER));
            return;
        };
        let changed = !options.is_empty();
        for option in options {
            self.set_option(m, option);
        }
        self.refresh_durable(m);
        match error {
            None => self.confirm(to, Value::ok()),
            Some(error) => {
                if changed {
                    self.touch(true);
                }
                self.reply(to, Value::error(error));
            }
        }
    }

    fn set_option(&mut self, m: MasterId, option: SetOption) {
        let settings = &mut self.master_mut(m).settings;
        let ms = |duration| crate::clock::millis(duration).to_string();
        let text = |value: &Option<Arc<str>>| value.as_deref().unwrap_or("").to_owned();
        let mut reconnects = false;
        let said = match option {
            SetOption::DownAfter(value) => {
                settings.down_after = value;
                format!("down-after-milliseconds {}", ms(value))
            }
            SetOption::FailoverTimeout(value) => {
                settings.failover_timeout = value;
                format!("failover-timeout {}", ms(value))
            }
            SetOption::ParallelSyncs(value) => {
                settings.parallel_syncs = value;
                format!("parallel-syncs {value}")
            }
            SetOption::Quorum(value) => {
                settings.quorum = value;
                format!("quorum {value}")
            }
            SetOption::NotificationScript(value) => {
                let said = format!("notification-script {}", text(&value));
                settings.notification_script = value;
                said
            }
            SetOption::ClientReconfigScript(value) => {
                let said = format!("client-reconfig-script {}", text(&value));
                settings.client_reconfig_script = value;
                said
            }
            SetOption::AuthPass(value) => {
                settings.auth_pass = value;
                reconnects = true;
                "auth-pass ******".to_owned()
            }
            SetOption::AuthUser(value) => {
                let said = format!("auth-user {}", text(&value));
                settings.auth_user = value;
                reconnects = true;
                said
            }
            SetOption::RenameCommand(old, new) => {
                let said = format!("rename-command {old} {new}");
                rename(&mut settings.renamed_commands, &old, &new);
                said
            }
            SetOption::RebootDownAfter(value) => {
                settings.reboot_down_after = value;
                format!("master-reboot-down-after-period {}", ms(value))
            }
            SetOption::RefusedAfter(value) => {
                settings.refused_after = value;
                format!("refused-after-milliseconds {}", ms(value))
            }
        };
        let text = format!("{} {said}", self.describe(self.master(m).instance));
        self.event_at(m, EventKind::Set, text);
        for i in self.master(m).instances().collect::<Vec<_>>() {
            if reconnects {
                self.close_instance_links(i);
            }
            self.hurry_instance(i);
        }
        for p in self.master(m).peer_ids().collect::<Vec<_>>() {
            self.refresh_patience(p);
            self.timers.arm(Timer::Peer(p), self.now);
        }
        self.timers.arm(Timer::Master(m), self.now);
    }

    /// Shorter periods take effect now rather than at the end of the present one.
    fn hurry_instance(&mut self, i: InstanceId) {
        let now = self.now;
        let down_after = self.master(self.instance(i).master).settings.down_after;
        let (info, publish) = (self.tuning.info_period, self.tuning.publish_period);
        let ping = Instance::ping_interval(down_after, self.tuning.ping_period);
        let instance = self.instance_mut(i);
        instance.ping.next_at = instance.ping.next_at.min(now + ping);
        instance.hello_next_at = instance.hello_next_at.min(now + publish);
        instance.info.next_at = instance.info.next_at.min(now + info);
        self.timers.arm(Timer::Instance(i), now);
    }

    fn config_set(&mut self, to: ReplyTo, globals: Globals) {
        let old = Arc::clone(&self.globals);
        let observing_changed = old.observe_only != globals.observe_only;
        if globals.observe_only
            && observing_changed
            && let Some(m) = self.any_failover()
        {
            let name = &self.master(m).name;
            let text =
                format!("ERR A failover of {name} is led from here, try again when it has ended");
            self.reply(to, Value::error(text));
            return;
        }
        let names_changed = old.announce_hostnames != globals.announce_hostnames;
        let peers_reconnect = old.sentinel_user != globals.sentinel_user
            || old.sentinel_pass != globals.sentinel_pass;
        self.globals = Arc::new(globals);
        self.all_changed();
        if names_changed {
            for m in self.masters.keys().copied().collect::<Vec<_>>() {
                for i in self.master(m).replicas.clone() {
                    let name = self
                        .instance(i)
                        .addr
                        .instance_name(self.globals.announce_hostnames);
                    self.instance_mut(i).name = name;
                }
                self.refresh_durable(m);
            }
        }
        if peers_reconnect {
            for p in self.peers.keys().copied().collect::<Vec<_>>() {
                self.close_peer_link(p);
                self.peer_mut(p).link = super::link::Link::new(self.now);
            }
        }
        if observing_changed {
            self.observing_changed();
        }
        self.confirm(to, Value::ok());
    }

    fn retune(&mut self, tuning: Tuning) {
        self.tuning = tuning;
        let now = self.now;
        if let Some(tilt) = &mut self.tilt {
            let until = (tilt.since + self.tuning.tilt_period).max(now);
            tilt.until = until;
            self.timers.cancel(Timer::Tilt);
            self.timers.arm(Timer::Tilt, until);
        }
        for m in self.masters.keys().copied().collect::<Vec<_>>() {
            for i in self.master(m).instances().collect::<Vec<_>>() {
                self.hurry_instance(i);
            }
            let publish = self.tuning.publish_period;
            for entry in &mut self.master_mut(m).peers {
                entry.hello_next_at = entry.hello_next_at.min(now + publish);
            }
            self.timers.arm(Timer::Master(m), now);
        }
        for p in self.peers.keys().copied().collect::<Vec<_>>() {
            let interval = self.peer_ping_interval(p);
            let ping = &mut self.peer_mut(p).ping;
            ping.next_at = ping.next_at.min(now + interval);
            self.timers.arm(Timer::Peer(p), now);
        }
    }
}

/// Maps a command to another name; mapping it to itself removes the mapping.
fn rename(renamed: &mut Arc<BTreeMap<String, String>>, old: &str, new: &str) {
    let renamed = Arc::make_mut(renamed);
    let old = old.to_ascii_uppercase();
    if old.eq_ignore_ascii_case(new) {
        renamed.remove(&old);
    } else {
        renamed.insert(old, new.to_owned());
    }
}

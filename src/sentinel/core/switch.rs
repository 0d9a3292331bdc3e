//! A master has another address: the group is rebuilt around it, and everyone is told.

use std::sync::Arc;
use std::time::Duration;

use super::Sentinel;
use super::addr::Addr;
use super::event::EventKind;
use super::failover::{Failover, RETRY_PAUSE};
use super::instance::{InstanceId, Role};
use super::io::{Output, Seq};
use super::journal::AfterWrite;
use super::link::Link;
use super::master::{Announcement, Hold, MasterId};
use super::record::Reason;
use super::timers::Timer;

/// After a RESET the master is left alone for this long, as the original's tick does: whoever resets and
/// then looks finds empty lists, not what the first INFO has brought back already.
const RESET_PAUSE: Duration = Duration::from_millis(100);

impl Sentinel {
    /// From here on, what is said about this master waits for [`Sentinel::close_announcement`]'s write.
    pub(super) fn open_announcement(&mut self, m: MasterId) {
        let open = || Announcement {
            seq: Seq(u64::MAX),
            held: Vec::new(),
        };
        self.master_mut(m).announcement.get_or_insert_with(open);
    }

    /// Writes the new configuration; what was held back follows when it is on disk.
    pub(super) fn close_announcement(&mut self, m: MasterId) {
        let seq = self.touch_master(m, true);
        let announcement = self.master_mut(m).announcement.as_mut();
        announcement.expect("opened before it is closed").seq = seq;
        self.after_write(seq, AfterWrite::Announce { master: m, seq });
    }

    /// The configuration `seq` is on disk, or cannot be: events, scripts and hellos go out. Not when a
    /// newer one is waiting behind it.
    pub(super) fn announce(&mut self, m: MasterId, seq: Seq) {
        let Some(master) = self.masters.get_mut(&m) else {
            return;
        };
        let Some(announcement) = master.announcement.take_if(|a| a.seq == seq) else {
            return;
        };
        self.out.extend(announcement.held);
        self.changed_now(m);
        self.greet_everyone(m);
        self.timers.arm(Timer::Master(m), self.now);
    }

    /// `+switch-master <name> <old ip> <old port> <new ip> <new port>`
    pub(super) fn event_switch(&mut self, m: MasterId, old: &Addr, new: &Addr) {
        let name = &self.master(m).name;
        let (from, to) = (self.shown(old), self.shown(new));
        let text = format!("{name} {from} {} {to} {}", old.port(), new.port());
        self.event_at(m, EventKind::SwitchMaster, text);
    }

    /// Runs the client-reconfig script: `<name> <role> start <from> <port> <to> <port>`.
    pub(super) fn run_reconfig_script(&mut self, m: MasterId, role: &str, old: &Addr, new: &Addr) {
        let master = self.master(m);
        let Some(path) = master.settings.client_reconfig_script.clone() else {
            return;
        };
        let args = vec![
            master.name.to_string(),
            role.to_owned(),
            "start".to_owned(),
            self.shown(old).to_string(),
            old.port().to_string(),
            self.shown(new).to_string(),
            new.port().to_string(),
        ];
        let script = Output::Script {
            master: master.name.clone(),
            path,
            args,
        };
        self.say_script(m, script);
    }

    /// Makes `new` the master of the group. The old master becomes a replica; known instances keep
    /// their links, and every judgement of them starts afresh. Peers stay, but what they said was about
    /// the old address.
    pub(super) fn switch_master(&mut self, m: MasterId, new: Addr) {
        let now = self.now;
        let old_id = self.master(m).instance;
        let old = self.instance(old_id).addr.clone();
        assert!(!old.same_as(&new), "a switch is to another address");
        self.unindex_address(m, &old);
        let new_id = match self.find_replica(m, &new) {
            Some(i) => i,
            None => self
                .add_replica(m, new.clone())
                .expect("neither the master nor a replica"),
        };
        self.index_address(m, &new);
        let old_name = old.instance_name(self.globals.announce_hostnames);
        let replicas: Vec<(InstanceId, String)> = self
            .master(m)
            .replicas
            .iter()
            .filter(|i| **i != new_id)
            .map(|i| (*i, self.instance(*i).name.clone()))
            .chain(std::iter::once((old_id, old_name)))
            .collect();
        let master = self.master_mut(m);
        master.instance = new_id;
        master.replicas = replicas.iter().map(|(i, _)| *i).collect();
        master.odown_since = None;
        master.failover = None;
        master.vote.candidate = None;
        master.hold = Hold::Free;
        master.start_at = None;
        master.attempts = 0;
        master.is_withholding_told = false;
        master.begin_chapter();
        self.instance_mut(new_id)
            .become_role(Role::Master, String::new(), now);
        self.timers.arm(Timer::Instance(new_id), now);
        for (i, name) in replicas {
            self.instance_mut(i).become_role(Role::Replica, name, now);
            self.timers.arm(Timer::Instance(i), now);
            self.event_instance(EventKind::Slave, i);
        }
        self.timers.arm(Timer::Master(m), now);
        self.refresh_durable(m);
    }

    /// A host name resolves to another address now.
    pub(super) fn readdress_instance(&mut self, i: InstanceId, addr: Addr) {
        let instance = self.instance(i);
        let (m, old) = (instance.master, instance.addr.clone());
        let is_master = self.master(m).instance == i;
        // Of two entries for one place the master's stays, or else the older one.
        let twin = self
            .master(m)
            .instances()
            .find(|j| *j != i && self.instance(*j).addr.same_as(&addr));
        if let Some(twin) = twin {
            self.forget_replica(m, if is_master { twin } else { i });
            if !is_master {
                return;
            }
        }
        if is_master {
            self.unindex_address(m, &old);
            self.index_address(m, &addr);
            self.master_mut(m).begin_chapter();
        }
        self.close_instance_links(i);
        let now = self.now;
        let instance = self.instance_mut(i);
        instance.addr = addr;
        instance.cmd = Link::new(now);
        instance.pubsub = Link::new(now);
        self.timers.arm(Timer::Instance(i), now);
        self.touch_master(m, false);
    }

    /// Forgets a replica. A failover that had chosen it is off.
    pub(super) fn forget_replica(&mut self, m: MasterId, i: InstanceId) {
        let failover = self.master(m).failover.as_ref();
        if failover.and_then(Failover::chosen) == Some(i) {
            let why = "the chosen replica turned out to be another entry";
            self.abort(m, Reason::ReplicaDown, why);
            self.pause(m, RETRY_PAUSE);
        }
        self.master_mut(m).replicas.retain(|j| *j != i);
        self.drop_instance(i);
        self.touch_master(m, false);
    }

    /// Forgets replicas and peers and starts afresh with the present address. Returns nothing of a
    /// failover that was under way.
    pub(super) fn reset_master(&mut self, m: MasterId) {
        let now = self.now;
        self.note_reset(m, "an operator has reset the master");
        for i in std::mem::take(&mut self.master_mut(m).replicas) {
            self.drop_instance(i);
        }
        for p in self.master(m).peer_ids().collect::<Vec<_>>() {
            self.remove_peer(m, p);
        }
        let i = self.master(m).instance;
        self.close_instance_links(i);
        let master = self.master_mut(m);
        master.begin_chapter();
        master.odown_since = None;
        master.failover = None;
        master.vote.candidate = None;
        master.hold = Hold::Free;
        master.start_at = None;
        master.attempts = 0;
        master.is_withholding_told = false;
        let instance = self.instance_mut(i);
        instance.become_role(Role::Master, String::new(), now);
        instance.cmd = Link::new(now + RESET_PAUSE);
        instance.pubsub = Link::new(now + RESET_PAUSE);
        instance.run_id = None;
        self.timers.arm(Timer::Instance(i), now);
        self.event_instance(EventKind::ResetMaster, i);
    }

    /// Stops monitoring a master.
    pub(super) fn remove_master(&mut self, m: MasterId) {
        self.note_reset(m, "an operator has removed the master");
        let i = self.master(m).instance;
        self.event_instance(EventKind::Unmonitor, i);
        for p in self.master(m).peer_ids().collect::<Vec<_>>() {
            self.remove_peer(m, p);
        }
        for i in self.master(m).instances().collect::<Vec<_>>() {
            let addr = self.instance(i).addr.clone();
            self.unindex_address(m, &addr);
            self.drop_instance(i);
        }
        if let Some(master) = self.masters.remove(&m) {
            self.names.remove(&master.name);
            // Whatever was still held back is not lost.
            self.out
                .extend(master.announcement.map(|a| a.held).unwrap_or_default());
        }
        self.timers.cancel(Timer::Master(m));
    }

    /// The addresses of a master as a peer's answer or a client may name it.
    pub(super) fn current_addr(&self, m: MasterId) -> (Arc<str>, u16) {
        let addr = &self.instance(self.master(m).instance).addr;
        (self.shown(addr), addr.port())
    }
}

//! Hellos: how sentinels find each other and spread configurations.

use std::sync::Arc;
use std::time::Duration;

use super::Sentinel;
use super::addr::Addr;
use super::event::{EventKind, Level};
use super::failover::{Failover, RETRY_PAUSE};
use super::info::is_token;
use super::master::MasterId;
use super::peer::{Confirmation, PeerId};
use super::record::Reason;
use super::timers::Timer;
use crate::ids::{Epoch, SentinelId};

/// Bytes of a hello; longer ones are dropped.
const HELLO_BYTES_MAX: usize = 1024;
/// An epoch this far above the newest known one is an attack or a mistake: nothing could outbid the
/// last number there is.
const EPOCH_LEAP_MAX: u64 = 1_000_000_000;
/// Epochs from here on are refused.
const EPOCH_LIMIT: u64 = 1 << 63;
/// Host names whose address is remembered.
const RESOLVED_MAX: usize = 65_536;
/// How old the confirmation that is shown may become before a newer one is worth a new picture.
const CONFIRMATION_NEWS: Duration = Duration::from_millis(500);
/// Hellos that wait for the look-up of one host name.
const PARKED_MAX: usize = 16;

/// One hello: eight comma-separated fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The sender's address.
    pub host: String,
    /// The sender's port.
    pub port: u16,
    /// The sender.
    pub id: SentinelId,
    /// The sender's current epoch.
    pub current_epoch: Epoch,
    /// The master it is about.
    pub master: String,
    /// Where the sender thinks that master is.
    pub master_host: String,
    /// Its port.
    pub master_port: u16,
    /// The version of that opinion.
    pub config_epoch: Epoch,
}

/// Why a hello is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// Not text, too long, or not eight fields: something else altogether.
    #[error("not a hello")]
    NotAHello,
    /// A port or an epoch is no number or out of range.
    #[error("field {0} is no number in its range")]
    Number(&'static str),
    /// A field holds what no address, id or name holds.
    #[error("field {0} is malformed")]
    Malformed(&'static str),
    /// A configuration from the sender's own future.
    #[error("its config epoch is above its current epoch")]
    Contradiction,
}

impl Hello {
    /// Reads a hello.
    ///
    /// # Errors
    /// See [`HelloError`].
    pub fn parse(payload: &[u8]) -> Result<Hello, HelloError> {
        if payload.len() > HELLO_BYTES_MAX {
            return Err(HelloError::NotAHello);
        }
        let text = std::str::from_utf8(payload).map_err(|_| HelloError::NotAHello)?;
        let mut fields = text.split(',');
        let mut next = || fields.next().ok_or(HelloError::NotAHello);
        let (host, port, id, epoch) = (next()?, next()?, next()?, next()?);
        let (master, master_host, master_port, config_epoch) = (next()?, next()?, next()?, next()?);
        if fields.next().is_some() {
            return Err(HelloError::NotAHello);
        }
        for (text, field) in [
            (host, "address"),
            (master, "master"),
            (master_host, "master address"),
        ] {
            if !is_token(text) {
                return Err(HelloError::Malformed(field));
            }
        }
        if id.len() != SentinelId::LEN || !is_token(id) {
            return Err(HelloError::Malformed("id"));
        }
        let port_of = |text: &str, field| match text.parse::<u16>() {
            Ok(port) if port != 0 => Ok(port),
            _ => Err(HelloError::Number(field)),
        };
        let epoch_of = |text: &str, field| match text.parse::<u64>() {
            Ok(epoch) if epoch < EPOCH_LIMIT => Ok(Epoch(epoch)),
            _ => Err(HelloError::Number(field)),
        };
        let hello = Hello {
            host: host.to_owned(),
            port: port_of(port, "port")?,
            id: SentinelId::from(id),
            current_epoch: epoch_of(epoch, "epoch")?,
            master: master.to_owned(),
            master_host: master_host.to_owned(),
            master_port: port_of(master_port, "master port")?,
            config_epoch: epoch_of(config_epoch, "config epoch")?,
        };
        if hello.config_epoch > hello.current_epoch {
            return Err(HelloError::Contradiction);
        }
        Ok(hello)
    }
}

impl Sentinel {
    /// Our hello about a master, as told over a link whose near end is `local`. `None` while a new
    /// configuration is not on disk: it must not be said before; and always from who only observes.
    pub(super) fn hello_text(&self, m: MasterId, local: std::net::IpAddr) -> Option<Arc<str>> {
        let master = self.master(m);
        if self.globals.observe_only || master.announcement.is_some() {
            return None;
        }
        let globals = &self.globals;
        let addr = &self.instance(master.instance).addr;
        let host = match &globals.announce_ip {
            Some(ip) => ip.to_string(),
            None => local.to_canonical().to_string(),
        };
        let port = match globals.announce_port {
            0 => globals.listening_port,
            port => port,
        };
        Some(Arc::from(format!(
            "{host},{port},{},{},{},{},{},{}",
            self.id,
            self.current_epoch,
            master.name,
            self.shown(addr),
            addr.port(),
            master.config_epoch,
        )))
    }

    /// A hello has come, over whichever way.
    pub(super) fn handle_hello(&mut self, payload: &[u8]) {
        match Hello::parse(payload) {
            Ok(hello) => self.process_hello(hello),
            // Other software publishes on this channel too.
            Err(HelloError::NotAHello) => {}
            Err(error) => {
                let text = String::from_utf8_lossy(&payload[..payload.len().min(200)]).into_owned();
                self.reject(format!("hello dropped, {error}: {text}"));
            }
        }
    }

    fn process_hello(&mut self, hello: Hello) {
        if hello.id == self.id {
            return;
        }
        let Some(&m) = self.names.get(hello.master.as_str()) else {
            return;
        };
        if let Err(why) = self.check_epoch(hello.current_epoch) {
            self.reject(format!("hello of {} dropped: {why}", hello.id));
            return;
        }
        let addr = Addr::new(&hello.host, hello.port);
        if addr.is_host_name() && !self.globals.resolve_hostnames {
            self.log(
                Level::Debug,
                format!("Failed to resolve hostname '{}'", hello.host),
            );
            return;
        }
        let met = self.meet_peer(m, &hello.id, &addr);
        if hello.current_epoch > self.current_epoch {
            self.adopt_epoch(hello.current_epoch);
        }
        // A sentinel that we did not accept as a peer has no say in where the master is.
        if let Some(p) = met {
            let said = self.is_watched().then(|| {
                let told = Addr::new(&hello.master_host, hello.master_port);
                (told, hello.config_epoch)
            });
            self.adopt_config(m, p, hello);
            if let Some((told, epoch)) = said {
                self.note_confirmation(m, p, &told, epoch);
            }
            if let Some(entry) = self
                .masters
                .get_mut(&m)
                .and_then(|master| master.entry_mut(p))
            {
                entry.hello_at = self.now;
            }
        }
    }

    /// A peer has named an address and its version. Where both are ours it vouches for them, else no more.
    fn note_confirmation(&mut self, m: MasterId, p: PeerId, told: &Addr, epoch: Epoch) {
        let Some(master) = self.masters.get(&m) else {
            return;
        };
        let addr = self.instance(master.instance).addr.clone();
        let agrees = epoch == master.config_epoch
            && (addr.same_as(told) || self.same_after_resolution(&addr, told));
        let at = self.real_now;
        let Some(entry) = self.master_mut(m).entry_mut(p) else {
            return;
        };
        let before = entry.confirmed.take();
        if !agrees {
            if before.is_some() {
                self.changed(m);
            }
            return;
        }
        let before = before.filter(|before| before.epoch == epoch && before.addr.same_as(&addr));
        let shown = before.map(|before| before.shown);
        let still_fresh = shown.filter(|shown| at.since(*shown) < CONFIRMATION_NEWS);
        entry.confirmed = Some(Confirmation {
            addr,
            epoch,
            at,
            shown: still_fresh.unwrap_or(at),
        });
        if still_fresh.is_none() {
            self.changed(m);
        }
    }

    /// Raises the current epoch.
    pub(super) fn adopt_epoch(&mut self, epoch: Epoch) {
        assert!(epoch > self.current_epoch, "an epoch only goes up");
        self.current_epoch = epoch;
        self.touch(true);
        self.event_global(EventKind::NewEpoch, epoch.to_string());
    }

    /// Whether an epoch that someone else names can be true.
    pub(super) fn check_epoch(&self, epoch: Epoch) -> Result<(), String> {
        let newest = self.current_epoch.0;
        if epoch.0 >= EPOCH_LIMIT || epoch.0 - newest.min(epoch.0) > EPOCH_LEAP_MAX {
            return Err(format!(
                "epoch {epoch} is absurd, the newest known is {newest}"
            ));
        }
        Ok(())
    }

    /// A strictly newer configuration replaces ours; an older one is answered with ours.
    fn adopt_config(&mut self, m: MasterId, p: PeerId, hello: Hello) {
        let known = self.master(m).config_epoch;
        let current = self.instance(self.master(m).instance).addr.clone();
        let told = Addr::new(&hello.master_host, hello.master_port);
        let same = current.same_as(&told) || self.same_after_resolution(&current, &told);
        if hello.config_epoch <= known {
            if hello.config_epoch < known && !same {
                self.correct_peer(m, p);
            }
            return;
        }
        if same {
            self.raise_config_epoch(m, hello.config_epoch);
            return;
        }
        let Some(told) = self.usable_addr(m, told, hello) else {
            return;
        };
        self.follow_peer(m, p, told);
    }

    /// The address of a new master, resolved. A hello whose host name must be looked up first is put
    /// aside; one whose address is of no use changes nothing, its epoch included.
    fn usable_addr(&mut self, m: MasterId, told: Addr, hello: Hello) -> Option<(Addr, Epoch)> {
        let epoch = hello.config_epoch;
        if !told.is_host_name() {
            return Some((told, epoch));
        }
        if let Some(i) = self.find_replica(m, &told) {
            let known = self.instance(i).addr.clone();
            if known.ip().is_some() {
                return Some((known, epoch));
            }
        }
        if !self.globals.resolve_hostnames {
            self.reject(format!(
                "configuration of {} from {}: master address {} is a host name, and resolve-hostnames is off",
                hello.master, hello.id, hello.master_host
            ));
            return None;
        }
        self.resolve_if_needed(&told);
        let parked = self.resolving.entry(Arc::clone(told.host())).or_default();
        if parked.len() < PARKED_MAX && !parked.contains(&hello) {
            parked.push(hello);
        }
        None
    }

    /// The same master under a newer config epoch: said once it is on disk, like any configuration.
    fn raise_config_epoch(&mut self, m: MasterId, epoch: Epoch) {
        let outbid = |failover: &Failover| !failover.is_reconfiguring() && failover.epoch <= epoch;
        if self.master(m).failover.as_ref().is_some_and(outbid) {
            // What we were elected for has been decided in a later epoch.
            let why = format!("config epoch {epoch} is newer: it was decided elsewhere");
            self.abort(m, Reason::Overtaken, &why);
            self.pause(m, RETRY_PAUSE);
        }
        self.open_announcement(m);
        self.master_mut(m).config_epoch = epoch;
        self.close_announcement(m);
    }

    fn follow_peer(&mut self, m: MasterId, p: PeerId, (told, epoch): (Addr, Epoch)) {
        let old = self.instance(self.master(m).instance).addr.clone();
        let from = self.describe_peer(m, p);
        self.open_announcement(m);
        self.master_mut(m).config_epoch = epoch;
        self.event_at(m, EventKind::ConfigUpdateFrom, from);
        self.event_switch(m, &old, &told);
        self.run_reconfig_script(m, "observer", &old, &told);
        let to = told.instance_name(self.globals.announce_hostnames);
        self.tell_follow(m, p, to, epoch);
        self.switch_master(m, told);
        self.close_announcement(m);
    }

    /// A peer tells an outdated address: it is told the present one right away, now and then.
    fn correct_peer(&mut self, m: MasterId, p: PeerId) {
        let now = self.now;
        let soon = now + self.tuning.publish_period / 4;
        if let Some(entry) = self.master_mut(m).entry_mut(p)
            && entry.hello_next_at > soon
        {
            entry.hello_next_at = now;
            self.timers.arm(Timer::Master(m), now);
        }
    }

    /// A look-up ended: addresses with this name follow, and hellos that waited are heard again.
    pub(super) fn handle_resolved(&mut self, host: &Arc<str>, ip: Option<std::net::IpAddr>) {
        let parked = self.resolving.remove(host).unwrap_or_default();
        let Some(ip) = ip else {
            self.log(
                Level::Warning,
                format!("Failed to resolve hostname '{host}'"),
            );
            return;
        };
        if self.resolved.len() >= RESOLVED_MAX {
            self.resolved.clear();
        }
        self.resolved.insert(host.to_ascii_lowercase(), ip);
        let moved = |addr: &Addr| {
            (addr.host().eq_ignore_ascii_case(host) && addr.ip() != Some(ip))
                .then(|| addr.resolved(ip))
        };
        let mut instances: Vec<_> = self
            .instances
            .iter()
            .filter_map(|(i, instance)| moved(&instance.addr).map(|addr| (*i, addr)))
            .collect();
        // The table has no order of its own, and the same input must have the same output.
        instances.sort_by_key(|(i, _)| *i);
        for (i, addr) in instances {
            self.readdress_instance(i, addr);
        }
        let peers: Vec<_> = self
            .peers
            .iter()
            .filter_map(|(p, peer)| moved(&peer.addr).map(|a| (*p, a)))
            .collect();
        let now = self.now;
        for (p, addr) in peers {
            self.close_peer_link(p);
            let peer = self.peer_mut(p);
            peer.addr = addr;
            peer.link = super::link::Link::new(now);
            self.timers.arm(Timer::Peer(p), now);
            for m in self.peer(p).masters.clone() {
                self.touch_master(m, false);
            }
        }
        for hello in parked {
            self.process_resolved_hello(hello, ip);
        }
    }

    /// A hello that waited for the look-up of its master's host name.
    fn process_resolved_hello(&mut self, hello: Hello, ip: std::net::IpAddr) {
        let Some(&m) = self.names.get(hello.master.as_str()) else {
            return;
        };
        let Some(&p) = self.peer_ids.get(&hello.id) else {
            return;
        };
        if hello.config_epoch <= self.master(m).config_epoch || self.master(m).entry(p).is_none() {
            return;
        }
        let told = Addr::new(&hello.master_host, hello.master_port).resolved(ip);
        if self.instance(self.master(m).instance).addr.same_as(&told) {
            self.raise_config_epoch(m, hello.config_epoch);
        } else {
            self.follow_peer(m, p, (told, hello.config_epoch));
        }
    }

    /// Whether two addresses are one, where one is a name that some instance has been resolved by.
    pub(super) fn same_after_resolution(&self, known: &Addr, told: &Addr) -> bool {
        told.is_host_name()
            && self.globals.resolve_hostnames
            && known.ip().is_some()
            && self.resolved_ip(told.host()) == known.ip()
            && known.port() == told.port()
    }

    /// What a host name was last resolved to.
    fn resolved_ip(&self, host: &str) -> Option<std::net::IpAddr> {
        self.resolved.get(&host.to_ascii_lowercase()).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789012345678901234567890123456789";

    fn check(payload: &str, want: Result<(), HelloError>) {
        assert_eq!(
            Hello::parse(payload.as_bytes()).map(|_| ()),
            want,
            "{payload}"
        );
    }

    #[test]
    fn a_hello_is_eight_fields_that_make_sense() {
        check(
            &format!("127.0.0.1,26379,{ID},4,mymaster,127.0.0.1,6380,4"),
            Ok(()),
        );
        check(&format!("::1,26379,{ID},4,mymaster,::1,6380,0"), Ok(()));
        check("shutdown", Err(HelloError::NotAHello));
        check(
            &format!("127.0.0.1,26379,{ID},4,m,127.0.0.1,6380,4,x"),
            Err(HelloError::NotAHello),
        );
        check(
            &format!(",26379,{ID},4,m,127.0.0.1,6380,4"),
            Err(HelloError::Malformed("address")),
        );
        check(
            &format!("a,0,{ID},4,m,127.0.0.1,6380,4"),
            Err(HelloError::Number("port")),
        );
        check(
            "a,1,short,4,m,127.0.0.1,6380,4",
            Err(HelloError::Malformed("id")),
        );
        check(
            &format!("a,1,{ID},-1,m,b,6380,4"),
            Err(HelloError::Number("epoch")),
        );
        check(
            &format!("a,1,{ID},{},m,b,6380,4", u64::MAX),
            Err(HelloError::Number("epoch")),
        );
        check(
            &format!("a,1,{ID},3,m,b,6380,4"),
            Err(HelloError::Contradiction),
        );
    }
}

//! Which sentinels watch a master with us: discovery, change of address, removal, and their links.

use std::sync::Arc;
use std::time::Duration;

use super::Sentinel;
use super::addr::Addr;
use super::event::EventKind;
use super::health::PingClock;
use super::link::Link;
use super::master::MasterId;
use super::peer::{Peer, PeerEntry, PeerId};
use super::timers::Timer;
use crate::ids::SentinelId;

/// The most peers of one master that are believed; real quorums have less than ten.
pub(super) const PEERS_MAX: usize = 128;

impl Sentinel {
    /// Adds a peer to a master; a node that is known from another master is shared. Its address is
    /// taken over where it differs.
    pub(super) fn add_peer(&mut self, m: MasterId, id: SentinelId, addr: Addr) -> PeerId {
        let p = match self.peer_ids.get(&id) {
            Some(p) => *p,
            None => {
                let p = PeerId(self.fresh_id());
                self.resolve_if_needed(&addr);
                let peer = Peer {
                    id: id.clone(),
                    addr,
                    link: Link::new(self.now),
                    ping: PingClock::new(self.now),
                    masters: std::collections::BTreeSet::new(),
                    down_after_min: Duration::MAX,
                    any_sdown: false,
                };
                self.peers.insert(p, peer);
                self.peer_ids.insert(id, p);
                self.timers.arm(Timer::Peer(p), self.now);
                p
            }
        };
        if self.peer_mut(p).masters.insert(m) {
            let entry = PeerEntry::new(p, self.now);
            self.master_mut(m).peers.push(entry);
            self.refresh_patience(p);
        }
        p
    }

    /// Removes a peer from one master, and altogether when no other master has it.
    pub(super) fn remove_peer(&mut self, m: MasterId, p: PeerId) {
        self.master_mut(m).peers.retain(|entry| entry.peer != p);
        self.never_mind(m, p);
        self.master_mut(m).ghosts.retain(|ghost| *ghost != p);
        let peer = self.peer_mut(p);
        peer.masters.remove(&m);
        if peer.masters.is_empty() {
            self.close_peer_link(p);
            self.timers.cancel(Timer::Peer(p));
            if let Some(peer) = self.peers.remove(&p) {
                self.peer_ids.remove(&peer.id);
            }
        } else {
            self.refresh_patience(p);
        }
    }

    /// Notes the smallest patience of the masters that share a peer.
    pub(super) fn refresh_patience(&mut self, p: PeerId) {
        let patience = |m: &MasterId| self.master(*m).settings.down_after;
        let min = self.peer(p).masters.iter().map(patience).min();
        self.peer_mut(p).down_after_min = min.unwrap_or(Duration::MAX);
    }

    /// A hello of `id` for a master has come from `addr`: a new peer, or an old one elsewhere. Returns
    /// it; `None` when the master has too many.
    pub(super) fn meet_peer(
        &mut self,
        m: MasterId,
        id: &SentinelId,
        addr: &Addr,
    ) -> Option<PeerId> {
        let known = self.peer_ids.get(id).copied();
        let in_group = known.filter(|p| self.master(m).entry(*p).is_some());
        match known {
            Some(p) if self.peer(p).addr.same_as(addr) => {
                if in_group.is_none() {
                    self.evict_namesake(m, id, addr);
                    self.welcome_peer(m, id, addr)?;
                    self.touch_master(m, false);
                }
            }
            Some(p) => self.move_peer(m, p, addr, in_group.is_some())?,
            None => {
                self.evict_namesake(m, id, addr);
                self.welcome_peer(m, id, addr)?;
                self.touch_master(m, false);
            }
        }
        self.peer_ids.get(id).copied()
    }

    fn welcome_peer(&mut self, m: MasterId, id: &SentinelId, addr: &Addr) -> Option<()> {
        if self.master(m).peers.len() >= PEERS_MAX {
            let name = self.master(m).name.clone();
            self.reject(format!(
                "hello of {id}: {name} already has {PEERS_MAX} sentinels"
            ));
            return None;
        }
        let p = self.add_peer(m, id.clone(), addr.clone());
        let text = self.describe_peer(m, p);
        self.event_at(m, EventKind::Sentinel, text);
        self.pass_on_to_newcomer(m, p);
        self.timers.arm(Timer::Master(m), self.now);
        Some(())
    }

    /// A new id at the address of a known peer: that one is gone, from all masters.
    fn evict_namesake(&mut self, m: MasterId, id: &SentinelId, addr: &Addr) {
        let stale = self.master(m).peer_ids().find(|p| {
            let peer = self.peer(*p);
            peer.id != *id && peer.addr.same_as(addr)
        });
        let Some(p) = stale else { return };
        let text = self.describe_peer(m, p);
        self.event_at(m, EventKind::SentinelInvalidAddr, text);
        for other in self.peer(p).masters.clone() {
            self.remove_peer(other, p);
            self.touch_master(other, false);
        }
    }

    /// A known peer announces another address: every master follows, and its link is made anew.
    fn move_peer(&mut self, m: MasterId, p: PeerId, addr: &Addr, in_group: bool) -> Option<()> {
        let id = self.peer(p).id.clone();
        if in_group {
            let host = self.shown(addr);
            let text = format!(
                "{} ip {host} port {} for {id}",
                self.describe(self.master(m).instance),
                addr.port()
            );
            self.event_at(m, EventKind::SentinelAddressSwitch, text);
        }
        self.close_peer_link(p);
        let now = self.now;
        let peer = self.peer_mut(p);
        peer.addr = addr.clone();
        peer.link = Link::new(now);
        peer.ping = PingClock::new(now);
        self.resolve_if_needed(addr);
        self.timers.arm(Timer::Peer(p), now);
        let others: Vec<MasterId> = self
            .peer(p)
            .masters
            .iter()
            .copied()
            .filter(|other| *other != m)
            .collect();
        if in_group {
            if let Some(entry) = self.master_mut(m).entry_mut(p) {
                *entry = PeerEntry::new(p, now);
            }
        } else {
            self.welcome_peer(m, &id, addr)?;
        }
        if !others.is_empty() {
            let text = format!(
                "{} {} additional matching instances",
                self.describe_peer(m, p),
                others.len()
            );
            self.event_at(m, EventKind::SentinelAddressUpdate, text);
        }
        for other in others {
            self.refresh_durable(other);
        }
        self.touch_master(m, false);
        Some(())
    }

    /// The first eight characters of our id name our connections.
    pub(super) fn connection_name(&self, kind: &str) -> Arc<str> {
        let id = self.id.as_str();
        let short = id.get(..8).unwrap_or(id);
        Arc::from(format!("sentinel-{short}-{kind}"))
    }
}

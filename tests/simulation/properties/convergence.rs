//! After the faults stop, all sentinels agree on one master, every replica follows it, and no other
//! server takes itself for one.
//!
//! Source: what Sentinel promises its clients. The bound is 4 × failover-timeout + 30 s.

use std::net::SocketAddr;

use crate::server::ReplLink;
use crate::world::{Body, Power, World};

/// Why the sentinels and servers of a world have not settled yet; `None`: they have.
pub(crate) fn disagreement(world: &World) -> Option<String> {
    (0..world.groups.len())
        .find_map(|group| group_disagreement(world, group))
        .or_else(|| known_observer(world))
}

/// A sentinel that only observes and is known to another.
fn known_observer(world: &World) -> Option<String> {
    let ids = world
        .observers
        .iter()
        .filter_map(|id| match &world.nodes[*id].body {
            Body::Ours(ours) => ours.id.clone(),
            Body::Real(_) | Body::Server(_) => None,
        });
    let ids: Vec<_> = ids.collect();
    world.sentinels().into_iter().find_map(|id| {
        let knows = match &world.nodes[id].body {
            Body::Ours(ours) => {
                let masters = &ours.disk.file.masters;
                let mut peers = masters.iter().flat_map(|master| &master.peers);
                peers.any(|peer| ids.contains(&peer.id))
            }
            Body::Real(real) => ids.iter().any(|id| real.knows_peer(id)),
            Body::Server(_) => false,
        };
        knows.then(|| format!("{} knows one that only observes", world.nodes[id].name))
    })
}

fn group_disagreement(world: &World, group: usize) -> Option<String> {
    let mut agreed = None;
    for id in world.sentinels() {
        let name = &world.nodes[id].name;
        let Some(addr) = world.master_addr(id, group) else {
            return Some(format!("{name} does not know the master"));
        };
        // Who knows only a server that all others were made to forget hears of nothing else.
        let server = world.net.node_at(addr);
        let is_alone = server.is_some_and(|server| world.is_forgotten(server, group));
        if is_alone && world.observers.contains(&id) {
            continue;
        }
        match agreed {
            None => agreed = Some((addr, name)),
            Some((first, by)) if first != addr => {
                return Some(format!("{by} names {first} and {name} names {addr}"));
            }
            Some(_) => {}
        }
        if world.is_failing_over(id, group) {
            return Some(format!("{name} is in a failover"));
        }
    }
    let (addr, _) = agreed?;
    let Some(master) = world.net.node_at(addr) else {
        return Some(format!("{addr}, on which all agree, does not exist"));
    };
    for &id in &world.groups[group].servers {
        let node = &world.nodes[id];
        let server = world.server(id);
        if node.power != Power::Running {
            return Some(format!("{} does not run", node.name));
        }
        if id == master {
            if !server.is_master() {
                return Some(format!("{} should be master and is a replica", node.name));
            }
            continue;
        }
        if world.is_forgotten(id, group) {
            continue;
        }
        match (&server.master, server.link) {
            (None, _) => return Some(format!("{} takes itself for a master", node.name)),
            (Some((host, port)), _) if *host != addr.ip().to_string() || *port != addr.port() => {
                // Who was cut off until its master became a replica, and follows that now, is in no INFO of a master.
                let followed = host.parse().ok().map(|ip| SocketAddr::new(ip, *port));
                let followed = followed.and_then(|addr| world.net.node_at(addr));
                let is_in_chain =
                    followed.is_some_and(|id| world.groups[group].servers.contains(&id));
                if is_in_chain && world.is_unknown(id, group) {
                    continue;
                }
                return Some(format!("{} follows {host}:{port}", node.name));
            }
            (Some(_), ReplLink::Up { .. }) => {}
            (Some(_), ReplLink::Down { .. } | ReplLink::Syncing { .. }) => {
                return Some(format!("{} has no link to its master", node.name));
            }
        }
    }
    None
}

//! A master that hangs with its sockets open: SIGSTOP. Nothing is refused, nothing answers.

use crate::support::{Kind, Topology, secs};

#[test]
fn our_sentinels_over_real_servers() {
    survives(Kind::Ours, Kind::Real);
}

#[test]
fn our_sentinels_over_our_servers() {
    survives(Kind::Ours, Kind::Ours);
}

/// Another master is found, and the old one, when it goes on, is made its replica.
fn survives(sentinels: Kind, servers: Kind) {
    let mut set = Topology::of(servers).sentinels(&[sentinels; 3]).start();
    let old = set.master_port();
    set.server_at(old).process.stop();
    let new = set.wait_for_switch(old, secs(20));
    set.server_at(old).process.resume();
    let settled = set.wait_for_replicas(secs(40));
    set.wait_until_settled(secs(40));
    if sentinels == Kind::Ours {
        assert_eq!(settled, new, "ours switch once");
        assert_eq!(set.master_port(), new);
    }
}

//! A master that an operator shuts down: it closes its connections and then refuses new ones.

use crate::support::{Kind, Topology, secs};

#[test]
fn our_sentinels_over_real_servers() {
    survives(Kind::Real);
}

#[test]
fn our_sentinels_over_our_servers() {
    survives(Kind::Ours);
}

fn survives(servers: Kind) {
    let mut set = Topology::of(servers).sentinels(&[Kind::Ours; 3]).start();
    let old = set.master_port();
    let master = set.server_at(old);
    // A server that shuts down closes the connection instead of answering.
    let reply = master.client().try_call(&["SHUTDOWN", "NOSAVE"]);
    assert!(reply.is_err(), "{reply:?}");
    assert!(master.process.wait(secs(10)).success());
    let new = set.wait_for_switch(old, secs(20));
    set.wait_for_replicas_of(new, secs(20));
    set.server_at(old).start_again();
    set.wait_for_replicas_of(new, secs(40));
    set.wait_until_settled(secs(40));
}

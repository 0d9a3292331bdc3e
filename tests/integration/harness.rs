//! The harness itself, against nothing but real redis: what it says about ours can be believed.

use std::net::TcpListener;

use crate::support::{Kind, Port, Topology, secs};

#[test]
fn two_ports_differ_and_both_are_free() {
    let (one, two) = (Port::reserve(), Port::reserve());
    assert_ne!(one.number(), two.number());
    for port in [one, two] {
        TcpListener::bind(("127.0.0.1", port.number())).unwrap();
    }
}

#[test]
fn three_real_sentinels_fail_over_real_servers() {
    let mut set = Topology::of(Kind::Real).start();
    let old = set.master_port();
    set.server_at(old).kill();
    set.wait_for_switch(old, secs(15));
    set.wait_for_replicas(secs(30));
    set.server_at(old).start_again();
    set.wait_for_replicas(secs(30));
    set.wait_until_settled(secs(30));
}

//! A master that dies at once, without a word: SIGKILL.

use crate::support::{Kind, Topology, expect_that, secs, text, wait_for};

#[test]
fn our_sentinels_over_real_servers() {
    survives(Kind::Ours, Kind::Real);
}

#[test]
fn real_sentinels_over_our_servers() {
    survives(Kind::Real, Kind::Ours);
}

#[test]
fn our_sentinels_over_our_servers() {
    survives(Kind::Ours, Kind::Ours);
}

/// A replica takes over with the data, the other one follows it, and the old master returns as a replica that
/// every sentinel knows.
fn survives(sentinels: Kind, servers: Kind) {
    let mut set = Topology::of(servers).sentinels(&[sentinels; 3]).start();
    let old = set.master_port();
    let mut client = set.server_at(old).client();
    assert_eq!(text(&client.call(&["SET", "before", "the fault"])), "OK");
    for replica in &set.servers[1..] {
        wait_for("a replica has the write", secs(5), || {
            let found = text(&replica.client().call(&["GET", "before"]));
            expect_that(found == "the fault", || found)
        });
    }
    set.server_at(old).kill();
    let new = set.wait_for_switch(old, secs(20));
    let mut client = set.server_at(new).client();
    assert_eq!(text(&client.call(&["GET", "before"])), "the fault");
    let settled = set.wait_for_replicas(secs(20));
    if sentinels == Kind::Ours {
        assert_eq!(settled, new, "ours switch once");
    }
    let mut client = set.server_at(settled).client();
    assert_eq!(text(&client.call(&["SET", "after", "it"])), "OK");
    set.server_at(old).start_again();
    set.wait_for_replicas(secs(40));
    set.wait_until_settled(secs(40));
    let mut returned = set.server_at(old).client();
    assert_eq!(text(&returned.call(&["GET", "after"])), "it");
}

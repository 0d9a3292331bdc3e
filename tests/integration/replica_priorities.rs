//! `replica-priority`: the lowest is promoted, 0 never.

use crate::support::{Kind, Topology, expect_that, holds_for, secs, texts};

#[test]
fn the_lowest_priority_is_promoted() {
    for wanted in [1, 2] {
        let mut set = Topology::of(Kind::Real)
            .sentinels(&[Kind::Ours; 3])
            .server_line(wanted, "replica-priority 10")
            .start();
        let old = set.master_port();
        set.server_at(old).kill();
        let new = set.wait_for_switch(old, secs(20));
        assert_eq!(new, set.servers[wanted].port());
    }
}

#[test]
fn priority_zero_is_never_promoted() {
    let mut set = Topology::of(Kind::Real)
        .sentinels(&[Kind::Ours; 3])
        .server_line(1, "replica-priority 0")
        .server_line(2, "replica-priority 0")
        .failover_timeout(secs(3))
        .start();
    let old = set.master_port();
    set.server_at(old).kill();
    holds_for("no replica is promoted", secs(8), || {
        for replica in &set.servers[1..] {
            let role = texts(&replica.client().call(&["ROLE"]))[0].clone();
            expect_that(role == "slave", || format!("{} is {role}", replica.port()))?;
        }
        Ok(())
    });
    assert_eq!(set.master_port(), old);
}

//! Neither a quorum without a majority nor a majority without the quorum moves the master.

use crate::support::{Kind, Topology, TopologyBuilder, Watch, holds_for, secs, wait_for};

#[test]
fn a_quorum_of_one_is_no_majority_of_three() {
    let mut set = ours().quorum(1).start();
    let watch = Watch::of(&set, &["+odown", "+elected-leader", "+switch-master"]);
    set.sentinels[1].kill();
    set.sentinels[2].kill();
    let old = set.master_port();
    set.server_at(old).kill();
    wait_for("the one sentinel sees ODOWN", secs(10), || {
        if watch.seen().iter().any(|event| event.channel == "+odown") {
            Ok(())
        } else {
            Err("no event".to_owned())
        }
    });
    stays(&set, &watch, old);
}

#[test]
fn a_majority_without_the_quorum_stays_where_it_is() {
    let mut set = ours().quorum(4).start();
    let watch = Watch::of(&set, &["+odown", "+elected-leader", "+switch-master"]);
    let old = set.master_port();
    set.server_at(old).kill();
    stays(&set, &watch, old);
    let seen = watch.seen();
    assert!(seen.is_empty(), "{seen:?}");
}

#[test]
fn one_of_ours_beside_two_dead_real_ones() {
    let mut set = Topology::of(Kind::Real)
        .sentinels(&[Kind::Ours, Kind::Real, Kind::Real])
        .quorum(1)
        .failover_timeout(secs(2))
        .start();
    let watch = Watch::of(&set, &["+elected-leader", "+switch-master"]);
    set.sentinels[1].kill();
    set.sentinels[2].kill();
    let old = set.master_port();
    set.server_at(old).kill();
    stays(&set, &watch, old);
}

/// A short failover-timeout, so that several attempts fall into the time in which nothing may happen.
fn ours() -> TopologyBuilder {
    Topology::of(Kind::Real)
        .sentinels(&[Kind::Ours; 3])
        .failover_timeout(secs(2))
}

fn stays(set: &Topology, watch: &Watch, old: u16) {
    holds_for("the address stays", secs(8), || {
        for sentinel in &set.sentinels {
            if sentinel.master_port().is_some_and(|port| port != old) {
                return Err(format!("{} moved the master", sentinel.port()));
            }
        }
        let elected = (watch.seen().into_iter())
            .find(|event| event.channel == "+elected-leader" || event.channel == "+switch-master");
        elected.map_or(Ok(()), |event| Err(format!("{event:?}")))
    });
}

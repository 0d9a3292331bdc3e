//! `parallel-syncs 1`: after a promotion the replicas are pointed at the new master one after the other, so that
//! at most one of them is without data at any time.

use crate::support::{Kind, Topology, Watch, secs, wait_for};

#[test]
fn one_replica_at_a_time() {
    let mut set = Topology::of(Kind::Real)
        .replicas(Kind::Real, 4)
        .sentinels(&[Kind::Ours; 3])
        .parallel_syncs(1)
        // When it is over, all that are left are pointed at the new master at once.
        .failover_timeout(secs(60))
        .start();
    let watch = Watch::of(
        &set,
        &["+slave-reconf-sent", "+slave-reconf-done", "+failover-end"],
    );
    let old = set.master_port();
    set.server_at(old).kill();
    let new = set.wait_for_switch(old, secs(20));
    set.wait_for_replicas_of(new, secs(30));
    let steps = wait_for("the leader ends the failover", secs(30), || {
        let steps: Vec<String> = watch
            .seen()
            .into_iter()
            .map(|event| event.channel)
            .collect();
        if steps.iter().any(|step| step == "+failover-end") {
            Ok(steps)
        } else {
            Err(format!("{steps:?}"))
        }
    });
    let mut wanted = ["+slave-reconf-sent", "+slave-reconf-done"].repeat(3);
    wanted.push("+failover-end");
    assert_eq!(steps, wanted);
}

//! Real redis-sentinels and ours in one quorum, led by either.
//!
//! Who leads is decided by who may start: the sentinel that is to lead has quorum 1 and a short down-after, so it
//! alone sees ODOWN and asks; the others still have to give it their votes.

use std::collections::BTreeSet;

use crate::support::Kind::{Ours, Real};
use crate::support::{Kind, NAME, Topology, Watch, expect_that, secs, text, wait_for};

#[test]
fn two_of_ours_and_a_real_one_led_by_ours() {
    fails_over(&[Ours, Ours, Real], 0);
}

#[test]
fn two_of_ours_and_a_real_one_led_by_the_real_one() {
    fails_over(&[Ours, Ours, Real], 2);
}

#[test]
fn one_of_ours_and_two_real_ones_led_by_ours() {
    fails_over(&[Ours, Real, Real], 0);
}

#[test]
fn one_of_ours_and_two_real_ones_led_by_a_real_one() {
    fails_over(&[Ours, Real, Real], 1);
}

/// Nobody is preferred: all have the same quorum and down-after.
#[test]
fn whoever_leads_all_agree() {
    let mut set = Topology::of(Real).sentinels(&[Ours, Real, Real]).start();
    let old = set.master_port();
    set.server_at(old).kill();
    set.wait_for_switch(old, secs(30));
    set.wait_for_replicas(secs(30));
    all_agree_on_the_epoch(&set);
}

/// Twice in a row, so that the second failover starts from epochs that the first has spread.
fn fails_over(kinds: &[Kind], leader: usize) {
    let mut builder = Topology::of(Real)
        .sentinels(kinds)
        .failover_timeout(secs(5));
    for i in 0..kinds.len() {
        // The others come after a real leader that had to wait out its 30 s of TILT, too.
        let down_after = if i == leader { 2000 } else { 60_000 };
        builder = builder.sentinel_line(
            i,
            &format!("sentinel down-after-milliseconds {NAME} {down_after}"),
        );
    }
    let mut set = builder.start();
    let set_quorum = ["SENTINEL", "SET", NAME, "quorum", "1"];
    assert_eq!(
        text(&set.sentinels[leader].client().call(&set_quorum)),
        "OK"
    );
    for _ in 0..2 {
        let watch = Watch::of(&set, &["+elected-leader", "+switch-master"]);
        let old = set.master_port();
        set.server_at(old).kill();
        let new = set.wait_for_switch(old, secs(50));
        // The clients of the sentinels may know before the events have come here.
        let elected = wait_for("somebody's +elected-leader", secs(10), || {
            let seen = watch.seen();
            let elected: BTreeSet<usize> = (seen.iter())
                .filter(|event| event.channel == "+elected-leader")
                .map(|event| event.sentinel)
                .collect();
            expect_that(!elected.is_empty(), || format!("{seen:?}"))?;
            Ok(elected)
        });
        assert_eq!(elected, BTreeSet::from([leader]), "{:?}", watch.seen());
        set.wait_for_replicas_of(new, secs(30));
        set.server_at(old).start_again();
        set.wait_for_replicas_of(new, secs(60));
        set.wait_until_settled(secs(60));
        all_agree_on_the_epoch(&set);
    }
}

fn all_agree_on_the_epoch(set: &Topology) {
    wait_for("all sentinels have one config-epoch", secs(10), || {
        let epochs: Vec<String> = (set.sentinels.iter())
            .map(|sentinel| sentinel.master()["config-epoch"].clone())
            .collect();
        expect_that(epochs.iter().all(|epoch| *epoch == epochs[0]), || {
            format!("{epochs:?}")
        })
    });
}

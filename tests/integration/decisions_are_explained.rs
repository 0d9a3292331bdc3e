//! What was decided can be read afterwards: from the leader and from those who followed, after a restart too; and also
//! why nothing was done.

use crate::support::{Kind, NAME, SentinelNode, Topology, expect_that, secs, texts, wait_for};

fn explain(sentinel: &SentinelNode, more: &[&str]) -> Vec<String> {
    let command = [&["SENTINEL", "EXPLAIN", NAME], more].concat();
    texts(&sentinel.client().call(&command))
}

/// The lines of the newest record whose first line holds both.
fn record(lines: &[String], what: &str, whom: &str) -> Option<Vec<String>> {
    let is_it = |line: &String| line.starts_with('#') && line.contains(what) && line.contains(whom);
    let start = lines.iter().position(is_it)?;
    let rest = lines[start + 1..].iter();
    let its = rest.take_while(|line| line.starts_with(' '));
    Some(std::iter::once(&lines[start]).chain(its).cloned().collect())
}

#[test]
fn by_the_leader_and_its_followers_and_again_after_a_restart() {
    let mut set = Topology::of(Kind::Real).sentinels(&[Kind::Ours; 3]).start();
    let old = set.master_port();
    set.server_at(old).kill();
    let new = set.wait_for_switch(old, secs(20));
    let told = wait_for("each sentinel has a record", secs(20), || {
        let told = set.sentinels.iter().map(|sentinel| {
            let lines = explain(sentinel, &["COUNT", "32"]);
            let led = record(
                &lines,
                "failover done (epoch ",
                &format!("promoted 127.0.0.1:{new} "),
            );
            let led = led.filter(|lines| lines.iter().any(|line| line.contains("reconfigure ")));
            let followed = record(
                &lines,
                "follow done (epoch ",
                &format!(" to 127.0.0.1:{new} "),
            );
            led.or(followed)
                .ok_or_else(|| format!("{}: {lines:#?}", sentinel.port()))
        });
        told.collect::<Result<Vec<_>, _>>()
    });

    let is_of_leader = |lines: &&Vec<String>| lines[0].contains("failover done");
    let leaders: Vec<&Vec<String>> = told.iter().filter(is_of_leader).collect();
    let [leader] = leaders[..] else {
        panic!("one led: {told:#?}");
    };
    let says = |what: &str| leader.iter().any(|line| line.contains(what));
    let chosen = format!("127.0.0.1:{new} chosen: the best by ");
    let sent = format!("sent SLAVEOF NO ONE to 127.0.0.1:{new}");
    for what in [
        "phases: detect ",
        ", agree ",
        ", elect ",
        ", select ",
        ", promote ",
        "votes, 2 needed (majority 2)",
        "(this sentinel); says down, since ",
        "voted for itself in epoch ",
        &chosen,
        " lost by ",
        "SDOWN here: no valid reply for down-after-milliseconds",
        &sent,
    ] {
        assert!(says(what), "{what}: {leader:#?}");
    }
    let follower = told
        .iter()
        .find(|lines| !is_of_leader(lines))
        .expect("two followed");
    assert!(follower[0].contains(&format!("moved from 127.0.0.1:{old} to 127.0.0.1:{new}")));
    assert!(
        follower.iter().any(|line| line.contains("SDOWN here")),
        "{follower:#?}"
    );

    for (sentinel, told) in set.sentinels.iter_mut().zip(&told) {
        let before = explain(sentinel, &["COUNT", "1"]);
        assert_eq!(
            before.iter().filter(|line| line.starts_with('#')).count(),
            1
        );
        let log = sentinel.process.log();
        assert!(log.contains("decision id="), "{log}");
        sentinel.kill();
        sentinel.start_again();
        let after = explain(sentinel, &["COUNT", "32"]);
        let head = &told[0];
        assert_eq!(record(&after, head, "").as_ref(), Some(told), "{after:#?}");
    }
}

#[test]
fn why_nothing_was_done_by_one_of_three() {
    let mut set = (Topology::of(Kind::Real).sentinels(&[Kind::Ours; 3]))
        .quorum(1)
        .failover_timeout(secs(2))
        .start();
    set.sentinels[1].kill();
    set.sentinels[2].kill();
    let old = set.master_port();
    set.server_at(old).kill();
    let sentinel = &set.sentinels[0];
    wait_for("it says that there is no majority", secs(20), || {
        let lines = explain(sentinel, &[]);
        let why = "failover aborted for no-majority (epoch ";
        let record = record(&lines, why, "").ok_or_else(|| format!("{lines:#?}"))?;
        let named = "no majority: 1 of 3 known sentinels reachable, 2 needed (majority 2, quorum 1); unreachable: ";
        expect_that(record[0].contains(named), || record[0].clone())?;
        let now = "1 of 3 known sentinels reachable, 2 needed";
        let is_said = |line: &String| {
            line.contains(now) && line.ends_with("no failover is possible from here")
        };
        expect_that(is_said(&lines[1]), || lines[1].clone())
    });
}

#[test]
fn a_history_that_cannot_be_written_is_missed_once_and_stops_nothing() {
    let mut set = Topology::of(Kind::Real).sentinels(&[Kind::Ours; 3]).start();
    for sentinel in &set.sentinels {
        let mut path = sentinel.config().into_os_string();
        path.push(".history");
        std::fs::create_dir(path).expect("nothing is there before something happens");
    }
    let old = set.master_port();
    set.server_at(old).kill();
    set.wait_for_switch(old, secs(20));
    wait_for("each sentinel has said so", secs(60), || {
        set.sentinels.iter().try_for_each(|sentinel| {
            let log = sentinel.process.log();
            let said = log.matches("decisions are not recorded in").count();
            // A leader has one decision, a follower votes and follows.
            let told = log.matches("decision id=").count();
            expect_that(said == 1 && told >= 1, || log.clone())
        })
    });
}

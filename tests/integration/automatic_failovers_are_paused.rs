//! SENTINEL PAUSE, SENTINEL RESUME and SENTINEL FORGET on real processes, with a redis-sentinel in the quorum.

use sentinel::resp::Value;

use crate::support::{
    Kind, NAME, SentinelNode, Topology, Watch, expect_that, holds_for, secs, text, texts, wait_for,
};

/// What an order answers, line by line.
fn order(sentinel: &SentinelNode, words: &[&str]) -> Vec<String> {
    let reply = sentinel.client().call(words);
    assert!(matches!(reply, Value::Array(_)), "{words:?}: {reply:?}");
    texts(&reply)
}

fn is_paused(sentinel: &SentinelNode) -> bool {
    let fields = sentinel.master();
    let is_flagged = fields["flags"].split(',').any(|flag| flag == "paused");
    assert_eq!(
        fields.contains_key("paused-until"),
        is_flagged,
        "{fields:?}"
    );
    is_flagged
}

fn wait_for_odown(set: &Topology, sentinels: &[usize]) {
    wait_for("the sentinels agree that it is down", secs(10), || {
        sentinels.iter().try_for_each(|i| {
            let flags = set.sentinels[*i].master()["flags"].clone();
            expect_that(flags.contains("o_down"), || format!("{i}: {flags}"))
        })
    });
}

#[test]
fn three_of_ours_beside_a_real_one() {
    let kinds = [Kind::Ours, Kind::Ours, Kind::Ours, Kind::Real];
    let mut set = Topology::of(Kind::Real)
        .sentinels(&kinds)
        .quorum(2)
        .failover_timeout(secs(3))
        .start();
    let ours = [0, 1, 2];
    let lines = order(&set.sentinels[0], &["SENTINEL", "PAUSE", NAME]);
    assert_eq!(lines.len(), 5, "{lines:?}");
    assert_eq!(
        lines[0],
        format!(
            "{NAME}: automatic failovers are paused on 3 of 4 known sentinels, until SENTINEL RESUME; the \
             other one cannot fail over by itself, which takes 3 votes"
        )
    );
    let real = format!("127.0.0.1:{} ", set.sentinels[3].port());
    let line = lines.iter().find(|line| line.starts_with(&real));
    let said = line.map_or("nothing", String::as_str);
    assert!(said.contains("unknown subcommand"), "{lines:?}");
    for i in ours {
        assert!(is_paused(&set.sentinels[i]), "{i}");
        let config = std::fs::read_to_string(set.sentinels[i].config()).unwrap();
        assert!(
            config.contains(&format!("sentinel paused {NAME} 0\n")),
            "{config}"
        );
        let info = text(&set.sentinels[i].client().call(&["INFO", "sentinel"]));
        assert!(info.contains("sentinel_paused_masters:1\r\n"), "{info}");
    }

    let watch = Watch::of(&set, &["+elected-leader", "+switch-master"]);
    let old = set.master_port();
    set.server_at(old).kill();
    wait_for_odown(&set, &ours);
    // A restart forgets nothing.
    set.sentinels[1].kill();
    set.sentinels[1].start_again();
    assert!(is_paused(&set.sentinels[1]));
    wait_for_odown(&set, &ours);
    holds_for("nobody leads", secs(8), || {
        let seen = watch.seen();
        expect_that(seen.is_empty(), || format!("{seen:?}"))
    });

    // An order is another matter, and all of ours vote for it although they are paused.
    let failover = ["SENTINEL", "FAILOVER", NAME];
    assert_eq!(text(&set.sentinels[2].client().call(&failover)), "OK");
    let new = set.wait_for_switch(old, secs(20));
    set.server_at(old).start_again();
    set.wait_for_replicas_of(new, secs(60));
    set.wait_until_settled(secs(60));
    assert!(ours.iter().all(|i| is_paused(&set.sentinels[*i])));

    let lines = order(&set.sentinels[1], &["SENTINEL", "RESUME", NAME]);
    assert_eq!(
        lines[0],
        format!("{NAME}: automatic failovers are resumed on 3 of 4 known sentinels")
    );
    for i in ours {
        assert!(!is_paused(&set.sentinels[i]), "{i}");
        let config = std::fs::read_to_string(set.sentinels[i].config()).unwrap();
        assert!(!config.contains("sentinel paused"), "{config}");
    }
    set.server_at(new).kill();
    set.wait_for_switch(new, secs(30));
}

#[test]
fn a_pause_ends_by_itself_and_a_late_sentinel_is_told_of_it() {
    let mut set = Topology::of(Kind::Ours).start();
    set.sentinels[2].kill();
    wait_for("the link to it is gone", secs(10), || {
        let lines = order(&set.sentinels[0], &["SENTINEL", "PAUSE", NAME, "5s"]);
        let is_known = lines.iter().any(|line| line.contains("unreachable"));
        expect_that(is_known, || format!("{lines:?}"))
    });
    set.sentinels[2].start_again();
    wait_for("it is told", secs(4), || {
        expect_that(is_paused(&set.sentinels[2]), || "not paused".to_owned())
    });
    let old = set.master_port();
    set.server_at(old).kill();
    set.wait_for_switch(old, secs(20));
    assert!(!set.sentinels.iter().any(is_paused));
}

#[test]
fn orders_with_mistakes() {
    let set = Topology::of(Kind::Ours).start();
    let mut client = set.sentinels[0].client();
    let mut error = |words: &[&str]| {
        let reply = client.call(words);
        assert!(reply.is_error(), "{words:?}: {reply:?}");
        text(&reply)
    };
    let no_master = "ERR No such master with that name";
    assert_eq!(error(&["SENTINEL", "PAUSE", "nosuch"]), no_master);
    assert_eq!(error(&["SENTINEL", "RESUME", "nosuch"]), no_master);
    assert_eq!(
        error(&["SENTINEL", "FORGET", "nosuch", "::1", "1"]),
        no_master
    );
    assert!(error(&["SENTINEL", "PAUSE", NAME, "soon"]).contains("'soon' is no duration"));
    assert!(error(&["SENTINEL", "PAUSE", NAME, "5", "x"]).contains("syntax"));
    assert!(error(&["SENTINEL", "RESUME", NAME, "5"]).contains("syntax"));
    assert!(error(&["SENTINEL", "FORGET", NAME, "::1", "x"]).contains("Invalid port"));
    assert!(error(&["SENTINEL", "FORGET", NAME, "::1", "1"]).contains("No replica or sentinel"));
    let master = set.master_port().to_string();
    let forget = ["SENTINEL", "FORGET", NAME, "127.0.0.1", &master];
    assert!(error(&forget).contains("SENTINEL REMOVE"));
}

#[test]
fn a_sentinel_that_is_gone_is_forgotten() {
    let mut set = Topology::of(Kind::Ours).start();
    set.sentinels[2].kill();
    let gone = set.sentinels[2].port().to_string();
    for i in [0, 1] {
        let sentinel = &set.sentinels[i];
        let forget = ["SENTINEL", "FORGET", NAME, "127.0.0.1", &gone];
        assert_eq!(text(&sentinel.client().call(&forget)), "OK");
        assert_eq!(sentinel.master()["num-other-sentinels"], "1");
        let config = std::fs::read_to_string(sentinel.config()).unwrap();
        assert!(!config.contains(&format!("127.0.0.1 {gone}")), "{config}");
    }
    set.sentinels[2].start_again();
    wait_for("it is known again", secs(20), || {
        let known = set.sentinels[0].master()["num-other-sentinels"].clone();
        expect_that(known == "2", || known.clone())
    });
}

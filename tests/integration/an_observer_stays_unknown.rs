//! `sentinel observe-only yes` beside real redis-sentinels: it knows everybody, nobody knows it, and what it
//! sees and would do is right.

use crate::support::{
    Client, Kind, NAME, SentinelNode, Topology, expect_that, maps, secs, start_sentinel, text,
    texts, wait_for,
};

fn ids_known_to(sentinel: &SentinelNode) -> Vec<String> {
    let reply = sentinel.client().call(&["SENTINEL", "SENTINELS", NAME]);
    let mut ids: Vec<String> = maps(&reply)
        .into_iter()
        .map(|map| map["runid"].clone())
        .collect();
    ids.sort();
    ids
}

#[test]
fn three_real_sentinels_never_learn_of_it() {
    let mut set = Topology::of(Kind::Real).start();
    let known_before: Vec<_> = set.sentinels.iter().map(ids_known_to).collect();
    let old = set.master_port();
    let monitor = format!(
        "sentinel monitor {NAME} 127.0.0.1 {old} 2\nsentinel down-after-milliseconds {NAME} 1000\n"
    );
    let observer = start_sentinel(Kind::Ours, &monitor, "sentinel observe-only yes\n");
    wait_for("the observer knows everybody", secs(20), || {
        observer.sees(NAME, 2, 3)
    });
    let mut events = Client::try_to_within(observer.port(), secs(60)).unwrap();
    let subscribed = events.call(&["SUBSCRIBE", "+would-failover"]);
    assert_eq!(texts(&subscribed)[0], "subscribe");

    set.server_at(old).kill();
    let message = texts(&events.receive().expect("it says what it would do"));
    assert!(
        message[2].starts_with(&format!("master {NAME} 127.0.0.1 {old} #would")),
        "{message:?}"
    );
    let new = set.wait_for_switch(old, secs(30));
    wait_for("the observer follows", secs(10), || {
        let port = observer.master_port();
        expect_that(port == Some(new), || format!("{port:?}"))
    });
    set.server_at(old).start_again();
    set.wait_for_replicas(secs(60));

    // It has been here for a while: more than two periods of hellos and INFO, and a failover.
    let known_after: Vec<_> = set.sentinels.iter().map(ids_known_to).collect();
    assert_eq!(known_after, known_before);
    let mut client = observer.client();
    let refused = text(&client.call(&["SENTINEL", "FAILOVER", NAME]));
    assert!(refused.contains("only observes"), "{refused}");
    let shown = texts(&client.call(&["SENTINEL", "CONFIG", "GET", "observe-only"]));
    assert_eq!(shown, ["observe-only", "yes"]);
    let info = text(&client.call(&["INFO", "sentinel"]));
    assert!(info.contains("sentinel_observe_only:1\r\n"), "{info}");

    // It takes part as soon as it may.
    let set_config = ["SENTINEL", "CONFIG", "SET", "observe-only", "no"];
    assert_eq!(text(&client.call(&set_config)), "OK");
    wait_for("the others know it", secs(10), || {
        set.sentinels.iter().try_for_each(|sentinel| {
            let known = ids_known_to(sentinel);
            expect_that(known.len() == 3, || format!("{known:?}"))
        })
    });
}

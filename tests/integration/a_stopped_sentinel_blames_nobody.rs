//! A sentinel that did not run for a while (SIGSTOP stands for a paused virtual machine) takes nobody's
//! silence in that time for a failure: the answers are in its sockets, and its timers do not beat them.

use crate::support::{
    Kind, expect_that, holds_for, secs, start_sentinel, start_server, text, wait_for,
};

#[test]
fn neither_a_short_stall_nor_a_long_one_raises_sdown() {
    let server = start_server(Kind::Real, "");
    let replica = start_server(
        Kind::Real,
        &format!("replicaof 127.0.0.1 {}\n", server.port()),
    );
    let monitor = format!(
        "sentinel monitor m 127.0.0.1 {} 1\nsentinel down-after-milliseconds m 1000\n",
        server.port()
    );
    let mut node = start_sentinel(Kind::Ours, &monitor, "");
    wait_for("the replica is known", secs(20), || node.sees("m", 1, 0));
    // Longer than down-after by far; what counts as long for TILT is set far above it, and then below it.
    for (tilt_trigger, is_tilt) in [("60000", false), ("2000", true)] {
        let debug = ["SENTINEL", "DEBUG", "tilt-trigger", tilt_trigger];
        assert_eq!(text(&node.client().call(&debug)), "OK");
        node.process.stop();
        std::thread::sleep(secs(3));
        node.process.resume();
        holds_for("nobody is blamed", secs(1), || {
            let log = node.process.log();
            let blamed = log.contains("+sdown") || log.contains("+odown");
            expect_that(!blamed, || log.clone())?;
            expect_that(is_tilt || !log.contains("+tilt"), || log.clone())
        });
    }
    let log = node.process.log();
    let tilt = log.lines().find_map(|line| line.split_once("stalled for "));
    let stalled = tilt.and_then(|(_, rest)| rest.split(' ').next()?.parse::<u64>().ok());
    let stalled = stalled.unwrap_or_else(|| panic!("no +tilt that says how long: {log}"));
    assert!((2_500..10_000).contains(&stalled), "{stalled} ms");
    drop(replica);
}

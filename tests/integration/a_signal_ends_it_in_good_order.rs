//! SIGTERM and SIGINT: what has been learned is on disk, the pid file is gone, the status is 0.

use std::fs;

use nix::sys::signal::Signal;

use crate::support::{Kind, expect_that, secs, start_sentinel, start_server, wait_for};

#[test]
fn what_was_just_discovered_is_saved() {
    let server = start_server(Kind::Real, "");
    let replica = start_server(
        Kind::Real,
        &format!("replicaof 127.0.0.1 {}\n", server.port()),
    );
    wait_for("the replica is in sync", secs(20), || {
        replica.follows(server.port())
    });
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let monitor = format!("sentinel monitor m 127.0.0.1 {} 1\n", server.port());
        let mut node = start_sentinel(Kind::Ours, &monitor, "pidfile the.pid\n");
        let pid_file = node.config().with_file_name("the.pid");
        let pid = fs::read_to_string(&pid_file).unwrap();
        assert_eq!(pid.trim(), node.process.pid().to_string());
        // Discoveries are written a little later, together; the signal comes before that.
        wait_for("the replica is discovered", secs(10), || {
            let log = node.process.log();
            expect_that(log.contains("+slave "), || log.clone())
        });
        node.process.signal(signal);
        let status = node.process.wait(secs(10));
        assert_eq!(status.code(), Some(0), "{}", node.process.log());
        assert!(!pid_file.exists());
        let saved = fs::read_to_string(node.config()).unwrap();
        let known = format!("sentinel known-replica m 127.0.0.1 {}", replica.port());
        assert!(saved.contains(&known), "{saved}");
    }
}

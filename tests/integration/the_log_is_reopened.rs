//! A log file that was moved away gets a successor: at SIGHUP, and by itself at the next line.

use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;

use crate::support::{Kind, expect_that, secs, start_sentinel, text, wait_for};

fn wait_for_line(path: &Path, line: &str) {
    wait_for("a line in the new log file", secs(10), || {
        let log = fs::read_to_string(path).map_err(|error| error.to_string())?;
        expect_that(log.contains(line), || log.clone())
    });
}

#[test]
fn a_moved_log_file_gets_a_successor() {
    let mut node = start_sentinel(Kind::Ours, "", "logfile the.log\nloglevel notice\n");
    let path = node.config().with_file_name("the.log");
    wait_for_line(&path, "Sentinel ID is ");
    let moved = path.with_file_name("the.log.1");

    fs::rename(&path, &moved).unwrap();
    node.process.signal(Signal::SIGHUP);
    wait_for_line(&path, "SIGHUP");

    fs::rename(&path, &moved).unwrap();
    let mut client = node.client();
    let reply = client.call(&["SENTINEL", "MONITOR", "m", "127.0.0.1", "1", "1"]);
    assert_eq!(text(&reply), "OK");
    wait_for_line(&path, "+monitor master m 127.0.0.1 1 quorum 1");
    let old = fs::read_to_string(&moved).unwrap();
    assert!(!old.contains("+monitor"), "{old}");
}

#[test]
fn json_lines_are_objects_with_the_event_in_them() {
    let node = start_sentinel(
        Kind::Ours,
        "sentinel monitor m 127.0.0.1 1 1\n",
        "logfile the.log\nlog-format json\n",
    );
    let log = fs::read_to_string(node.config().with_file_name("the.log")).unwrap();
    let messages: Vec<String> = log
        .lines()
        .map(|line| {
            let object: serde_yaml::Value = serde_yaml::from_str(line).unwrap();
            assert_eq!(object["role"].as_str(), Some("X"));
            object["message"].as_str().unwrap().to_owned()
        })
        .collect();
    let monitor = "+monitor master m 127.0.0.1 1 quorum 1";
    assert!(messages.iter().any(|m| m == monitor), "{messages:?}");
}

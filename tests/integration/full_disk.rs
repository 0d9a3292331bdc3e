//! A sentinel that cannot write its state neither votes nor leads, says why, and recovers when it can again.
//!
//! The disk is full for one process only: a limit on the size of its files, which it meets as a failing write.

use std::process::Command;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tempfile::TempDir;

use crate::support::{Client, Kind, NAME, Port, Process, expect_that, secs, text, texts, wait_for};

/// 8 KiB: the configuration fits at the start and not for long. The log goes through `cat`, which has no limit.
const SCRIPT: &str = r#"exec > >(cat) 2>&1; trap '' XFSZ; ulimit -S -f 8; exec "$@""#;

struct Limited {
    process: Process,
    port: Port,
    _dir: TempDir,
}

fn start() -> Limited {
    let (port, master) = (Port::reserve(), Port::reserve());
    let dir = TempDir::new().expect("a temporary folder");
    let config = dir.path().join("sentinel.conf");
    let text = format!(
        "port {}\nbind 127.0.0.1\nsentinel monitor {NAME} 127.0.0.1 {} 1\n",
        port.number(),
        master.number()
    );
    std::fs::write(&config, text).expect("a configuration can be written");
    let program = Kind::Ours.sentinel(&config);
    let mut command = Command::new("bash");
    command
        .args(["-c", SCRIPT, "bash"])
        .arg(program.get_program())
        .args(program.get_args());
    let process = Process::start("sentinel", dir.path(), command);
    wait_for("the sentinel answers", secs(10), || {
        Client::try_to(port.number())
            .and_then(|mut client| client.try_call(&["PING"]))
            .map_err(|error| error.to_string())
    });
    Limited {
        process,
        port,
        _dir: dir,
    }
}

/// Asks for a vote about the master on `master` in `epoch`, for a candidate that exists only here.
fn is_voted_for(client: &mut Client, master: u16, epoch: u64) -> bool {
    let candidate = "dddddddddddddddddddddddddddddddddddddddd";
    let reply = client.call(&[
        "SENTINEL",
        "IS-MASTER-DOWN-BY-ADDR",
        "127.0.0.1",
        &master.to_string(),
        &epoch.to_string(),
        candidate,
    ]);
    texts(&reply)
        .get(1)
        .is_some_and(|leader| leader == candidate)
}

#[test]
fn no_vote_without_a_write_and_votes_again_with_it() {
    let limited = start();
    let mut client = Client::to(limited.port.number());
    let address = client.call(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME]);
    let master: u16 = texts(&address)[1].parse().expect("a port");
    assert!(
        is_voted_for(&mut client, master, 1),
        "it votes while it can write"
    );
    // Grows the state until it does not fit any more.
    wait_for("a save fails", secs(30), || {
        for i in 0..100 {
            client.call(&[
                "SENTINEL",
                "MONITOR",
                &format!("filler{i}"),
                "127.0.0.1",
                &format!("{}", 1000 + i),
                "2",
            ]);
        }
        let reply = text(&client.call(&["SENTINEL", "FLUSHCONFIG"]));
        expect_that(reply.starts_with("ERR Failed to save config file"), || {
            reply.clone()
        })
    });
    assert!(
        !is_voted_for(&mut client, master, 2),
        "it voted without a write"
    );
    wait_for("INFO and log say why", secs(5), || {
        let info = text(&client.call(&["INFO", "sentinel"]));
        let log = limited.process.log();
        let said = info.contains("File too large") && log.contains("File too large");
        expect_that(said, || format!("{info}\n{log}"))
    });
    let pid = i32::try_from(limited.process.pid()).expect("process ids fit in i32");
    let no_limit = Rlimit {
        current: None,
        maximum: None,
    };
    prlimit(Pid::from_raw(pid), Resource::Fsize, no_limit).expect("our own child's soft limit");
    wait_for("it votes again", secs(20), || {
        expect_that(is_voted_for(&mut client, master, 3), || {
            "no vote".to_owned()
        })
    });
}

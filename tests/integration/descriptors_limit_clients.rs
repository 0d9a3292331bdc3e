//! A data server takes no more clients than it may have descriptors for, and says so as redis-server does.

use std::process::Command;

use tempfile::TempDir;

use crate::support::{Client, Kind, Port, Process, expect_that, secs, text, wait_for};

/// Runs the rest of the words with at most so many open files.
const SCRIPT: &str = r#"ulimit -n "$1" || exit 9; shift; exec "$@""#;

struct Limited {
    process: Process,
    port: Port,
    _dir: TempDir,
}

/// A data server that may have `files` open files. It need not live.
fn start(kind: Kind, files: &str, lines: &str) -> Limited {
    let port = Port::reserve();
    let dir = TempDir::new().expect("a temporary folder");
    let config = dir.path().join("server.conf");
    let text = format!(
        "port {}\nbind 127.0.0.1\ndir {}\nsave \"\"\n{lines}",
        port.number(),
        dir.path().display()
    );
    std::fs::write(&config, text).expect("a configuration can be written");
    let server = kind.server(&config);
    let mut command = Command::new("bash");
    command
        .args(["-c", SCRIPT, "bash", files])
        .arg(server.get_program())
        .args(server.get_args());
    for (name, value) in server.get_envs() {
        command.env(name, value.expect("nothing is taken away"));
    }
    let process = Process::start("server", dir.path(), command);
    Limited {
        process,
        port,
        _dir: dir,
    }
}

/// What it answers to a script, and what it says of `maxclients` when it starts.
fn observed(kind: Kind) -> (Vec<String>, bool) {
    let server = start(kind, "1024", "maxclients 5000\n");
    let port = server.port.number();
    let mut client = wait_for("the server answers", secs(10), || {
        let mut client = Client::try_to(port).map_err(|error| error.to_string())?;
        let reply = client.try_call(&["PING"]);
        reply.map_err(|error| error.to_string())?;
        Ok::<_, String>(client)
    });
    let log = server.process.log();
    let is_told = log
        .lines()
        .any(|line| line.contains("has been reduced") && line.contains("992"));
    let lines = "CONFIG GET maxclients
        CONFIG SET maxclients 993
        CONFIG SET timeout 7 maxclients 100000
        CONFIG GET timeout
        CONFIG GET maxclients
        CONFIG SET maxclients 0
        CONFIG SET maxclients 10
        CONFIG GET maxclients
        CONFIG SET maxclients 992
        CONFIG GET maxclients";
    let ask = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        text(&client.call(&words))
    };
    (lines.lines().map(ask).collect(), is_told)
}

#[test]
fn maxclients_follows_the_limit() {
    let [real, ours] = [Kind::Real, Kind::Ours].map(observed);
    assert_eq!(real, ours);
    assert_eq!(real.0[0], "maxclients 992");
    assert!(ours.1, "it is told");
}

#[test]
fn without_room_for_a_client_it_does_not_start() {
    for kind in [Kind::Real, Kind::Ours] {
        let mut server = start(kind, "30", "");
        wait_for("it ends", secs(10), || {
            expect_that(!server.process.is_running(), || "it runs".to_owned())
        });
        let log = server.process.log();
        assert!(log.contains("ulimit -n"), "{kind:?}: {log}");
    }
}

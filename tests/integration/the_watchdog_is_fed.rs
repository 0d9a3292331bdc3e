//! systemd's watchdog hears of both programs as long as their loop turns, and not any longer.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use crate::support::{
    Answer, Client, Fake, Kind, Port, Process, expect_that, secs, text, wait_for,
};

/// How long the watchdog waits: a sign of life is due every quarter of a second.
const WITHIN: Duration = Duration::from_millis(500);

/// systemd's end of the socket, and a program that it has started.
struct Unit {
    systemd: UnixDatagram,
    process: Process,
    port: Port,
    _folder: tempfile::TempDir,
}

impl Unit {
    /// Starts the program and waits until it is ready.
    fn start(within: Duration, is_server: bool) -> Unit {
        let folder = tempfile::tempdir().unwrap();
        let port = Port::reserve();
        let config = folder.path().join("the.conf");
        let more = if is_server {
            "save \"\"\nenable-debug-command yes\n"
        } else {
            "sentinel monitor m 127.0.0.1 1 1\n"
        };
        let lines = format!(
            "port {}\nbind 127.0.0.1\ndir {}\nsupervised systemd\n{more}",
            port.number(),
            folder.path().display()
        );
        std::fs::write(&config, lines).unwrap();
        let socket = folder.path().join("notify");
        let systemd = UnixDatagram::bind(&socket).unwrap();
        let mut command = if is_server {
            Kind::Ours.server(&config)
        } else {
            Kind::Ours.sentinel(&config)
        };
        command.env("NOTIFY_SOCKET", &socket);
        command.env("WATCHDOG_USEC", within.as_micros().to_string());
        let process = Process::start("unit", folder.path(), command);
        let unit = Unit {
            systemd,
            process,
            port,
            _folder: folder,
        };
        // Nothing is due before it is ready: loading takes what it takes.
        let first = unit.hear(secs(20)).expect("readiness");
        assert!(first.contains("READY=1"), "{first}");
        unit
    }

    /// The next message.
    fn hear(&self, within: Duration) -> Option<String> {
        let mut message = [0; 4096];
        self.systemd.set_read_timeout(Some(within)).unwrap();
        let count = self.systemd.recv(&mut message).ok()?;
        Some(String::from_utf8_lossy(&message[..count]).into_owned())
    }

    /// Signs of life that have come so far and were not heard yet.
    fn heard(&self) -> usize {
        std::iter::from_fn(|| self.hear(Duration::from_millis(1))).count()
    }

    fn expect_sign_of_life(&self) {
        let message = self.hear(secs(20));
        assert_eq!(message.as_deref(), Some("WATCHDOG=1"));
    }
}

#[test]
fn both_programs_are_heard_of_while_they_run_and_not_while_they_hang() {
    for is_server in [false, true] {
        let mut unit = Unit::start(WITHIN, is_server);
        for _ in 0..3 {
            unit.expect_sign_of_life();
        }
        unit.process.stop();
        wait_for("it is stopped", secs(10), || stopped(unit.process.pid()));
        unit.heard();
        assert_eq!(unit.hear(WITHIN * 2), None, "of a process that hangs");
        unit.process.resume();
        unit.expect_sign_of_life();
    }
}

#[test]
fn a_data_server_that_is_stuck_in_a_command_is_not_heard_of() {
    let unit = Unit::start(WITHIN, true);
    unit.expect_sign_of_life();
    let mut client = Client::to(unit.port.number());
    client.send(&["DEBUG", "SLEEP", "3"]).unwrap();
    // The one that may have been on its way, and silence after it.
    let silent = (0..3).any(|_| unit.hear(WITHIN * 2).is_none());
    assert!(silent, "a sign of life every {WITHIN:?} during DEBUG SLEEP");
    assert_eq!(text(&client.receive().unwrap()), "OK");
    unit.expect_sign_of_life();
}

#[test]
fn a_save_that_holds_the_loop_is_no_hang() {
    let unit = Unit::start(Duration::from_millis(20), true);
    let mut client = Client::try_to_within(unit.port.number(), secs(60)).unwrap();
    let value = "v".repeat(200);
    for part in 0..10 {
        let keys: Vec<String> = (0..20_000).map(|n| format!("key:{part}:{n}")).collect();
        let pairs = keys.iter().flat_map(|key| [key.as_str(), &value]);
        let words: Vec<&str> = std::iter::once("MSET").chain(pairs).collect();
        assert_eq!(text(&client.call(&words)), "OK");
    }
    // The queue of the socket is short: only what comes from here on is to be in it.
    unit.heard();
    assert_eq!(text(&client.call(&["SAVE"])), "OK");
    assert!(unit.heard() > 5, "nothing was heard during SAVE");
}

#[test]
fn a_migration_that_holds_the_loop_is_no_hang() {
    let unit = Unit::start(WITHIN, true);
    let target = Fake::start(|_| Answer::Silence);
    let mut client = Client::to(unit.port.number());
    client.call(&["SET", "k", "v"]);
    let port = target.port().to_string();
    client
        .send(&["MIGRATE", "127.0.0.1", &port, "k", "0", "2000"])
        .unwrap();
    wait_for("it is under way", secs(10), || {
        expect_that(!target.requests().is_empty(), || "no request".to_owned())
    });
    unit.heard();
    let during = (0..3).all(|_| unit.hear(WITHIN).is_some());
    assert!(during, "no sign of life during MIGRATE");
    let reply = text(&client.receive().unwrap());
    assert_eq!(reply, "IOERR error or timeout reading to target instance");
}

fn stopped(pid: u32) -> Result<(), String> {
    let path = format!("/proc/{pid}/stat");
    let stat = std::fs::read_to_string(Path::new(&path)).map_err(|error| error.to_string())?;
    match stat.rsplit(") ").next() {
        Some(rest) if rest.starts_with('T') => Ok(()),
        _ => Err(stat),
    }
}

//! SIGKILL and a new start: the same id, masters and settings, wherever the state is kept; and a
//! configuration with a state file is never written.

use std::path::{Path, PathBuf};

use crate::support::{Client, Kind, Port, Process, fields, secs, text, wait_for};

struct Daemon {
    process: Process,
    port: Port,
}

impl Daemon {
    fn start(config: &Path, port: Port) -> Daemon {
        let folder = config.parent().expect("a file is in a folder");
        let process = Process::start("sentinel", folder, Kind::Ours.sentinel(config));
        Daemon { process, port }
    }

    fn client(&mut self) -> Client {
        wait_for("the sentinel answers", secs(10), || {
            assert!(self.process.is_running(), "{}", self.process.log());
            Client::try_to(self.port.number()).map_err(|error| error.to_string())
        })
    }
}

/// Starts, changes something, kills, starts again and looks.
fn check(name: &str, write: impl FnOnce(&Path, u16) -> String) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = folder.path().join(name);
    let port = Port::reserve();
    let written = write(folder.path(), port.number());
    std::fs::write(&config, &written).expect("the configuration is written");

    let mut daemon = Daemon::start(&config, port);
    let mut client = daemon.client();
    let id = text(&client.call(&["SENTINEL", "MYID"]));
    let set = ["SENTINEL", "SET", "m", "down-after-milliseconds", "7654"];
    assert_eq!(text(&client.call(&set)), "OK");
    let add = ["SENTINEL", "MONITOR", "added", "127.0.0.1", "2", "1"];
    assert_eq!(text(&client.call(&add)), "OK");
    let user = ["ACL", "SETUSER", "bob", "on", "nopass", "-@all", "+ping"];
    assert_eq!(text(&client.call(&user)), "OK");
    assert_eq!(text(&client.call(&["SENTINEL", "FLUSHCONFIG"])), "OK");
    daemon.process.kill();

    daemon.process.start_again();
    let mut client = daemon.client();
    assert_eq!(text(&client.call(&["SENTINEL", "MYID"])), id);
    let master = fields(&client.call(&["SENTINEL", "MASTER", "m"]));
    assert_eq!(master["down-after-milliseconds"], "7654");
    assert_eq!(master["quorum"], "1");
    let added = fields(&client.call(&["SENTINEL", "MASTER", "added"]));
    assert_eq!(added["port"], "2");
    assert_eq!(text(&client.call(&["AUTH", "bob", "any"])), "OK");
    daemon.process.kill();
    (folder, config)
}

#[test]
fn from_the_rewritten_configuration() {
    let (_folder, config) = check("s.conf", |_, port| {
        format!("# mine\nport {port}\n# about m\nsentinel monitor m 127.0.0.1 1 1\n")
    });
    let after = std::fs::read_to_string(config).expect("it is still there");
    assert!(after.starts_with("# mine\nport "), "{after}");
    assert!(
        after.contains("# about m\nsentinel monitor m 127.0.0.1 1 1\n"),
        "{after}"
    );
}

#[test]
fn from_a_state_file_and_the_configuration_is_not_written() {
    let mut before = String::new();
    let (folder, config) = check("s.conf", |folder, port| {
        before = format!(
            "port {port}\ndir {}\nstate-file learned\nsentinel monitor m 127.0.0.1 1 1\n",
            folder.display()
        );
        before.clone()
    });
    let after = std::fs::read_to_string(config).expect("it is still there");
    assert_eq!(after, before);
    assert!(folder.path().join("learned").exists());
}

#[test]
fn from_yaml() {
    let (folder, _) = check("s.yaml", |_, port| {
        format!("port: {port}\nmasters:\n  m: {{ host: 127.0.0.1, port: 1, quorum: 1 }}\n")
    });
    assert!(folder.path().join("s.yaml.state").exists());
}

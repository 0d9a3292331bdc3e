//! `sentinel up`: a newcomer's whole topology, and nothing of it left afterwards.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nix::sys::signal::Signal;
use serde_json::Value as Json;
use tempfile::TempDir;

use crate::support::http::Web;
use crate::support::{Client, Kind, Process, expect_that, secs, text, wait_for};

/// Sentinels are this far above the base port.
const SENTINEL_PORTS: u16 = 20_000;
/// Their HTTP ports are this far above their own.
const HTTP_PORTS: u16 = 10_000;

/// A base port with room for seven data servers, for as many sentinels above it, and for the HTTP of all of
/// them, reserved among these tests by the UDP port of the same number. Outside the range from which the
/// other tests take ports, and below the one from which the system takes those of outgoing connections.
struct BasePort {
    number: u16,
    _reservation: UdpSocket,
}

impl BasePort {
    fn reserve() -> BasePort {
        let is_free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        (2_000_u16..2_700)
            .step_by(7)
            .find_map(|number| {
                let reservation = UdpSocket::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
                let mut ports = (number..number + 7).flat_map(|port| {
                    [
                        port,
                        port + HTTP_PORTS,
                        port + SENTINEL_PORTS,
                        port + SENTINEL_PORTS + HTTP_PORTS,
                    ]
                });
                ports.all(is_free).then_some(BasePort {
                    number,
                    _reservation: reservation,
                })
            })
            .expect("a range of free ports")
    }
}

fn ours(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sentinel"));
    command.args(args);
    command
}

fn run(args: &[&str]) -> Output {
    ours(args).output().expect("our own binary runs")
}

/// A running `sentinel up`.
struct Up {
    process: Process,
    base: BasePort,
    _dir: TempDir,
}

impl Up {
    /// Starts one and waits until it shows its table.
    fn start(args: &[&str]) -> Up {
        Up::start_with(args, |_| {})
    }

    fn start_with(args: &[&str], adapt: impl FnOnce(&mut Command)) -> Up {
        let up = Up::begin(args, adapt);
        up.wait_for_line("Events follow", secs(60));
        up
    }

    fn begin(args: &[&str], adapt: impl FnOnce(&mut Command)) -> Up {
        let base = BasePort::reserve();
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut command = ours(&["up", "--base-port", &base.number.to_string()]);
        command.args(args).env("TMPDIR", dir.path());
        adapt(&mut command);
        Up {
            process: Process::start("up", dir.path(), command),
            base,
            _dir: dir,
        }
    }

    fn wait_for_line(&self, part: &str, within: std::time::Duration) -> String {
        wait_for(&format!("`up` says {part:?}"), within, || {
            let log = self.process.log();
            let line = log
                .lines()
                .find(|line| line.contains(part))
                .map(str::to_owned);
            line.ok_or_else(|| format!("\n{log}"))
        })
    }

    fn sentinel_port(&self) -> u16 {
        self.base.number + SENTINEL_PORTS
    }

    /// What `sentinel status --json` says, and its exit status.
    fn status(&self) -> (Json, Option<i32>) {
        let address = format!("127.0.0.1:{}", self.sentinel_port());
        let output = run(&["status", "--json", "--sentinel", &address]);
        let json = serde_json::from_slice(&output.stdout);
        (json.expect("--json prints JSON"), output.status.code())
    }

    fn members(&self) -> Vec<Json> {
        let (status, _) = self.status();
        status["masters"][0]["members"]
            .as_array()
            .expect("members")
            .clone()
    }

    fn pids(&self) -> Vec<u64> {
        self.members().iter().map(pid_of).collect()
    }

    fn folder(&self) -> PathBuf {
        let line = self.wait_for_line("starting 1 master", secs(5));
        PathBuf::from(line.rsplit(' ').next().expect("a folder"))
    }
}

fn pid_of(member: &Json) -> u64 {
    member["pid"]
        .as_u64()
        .unwrap_or_else(|| panic!("no pid in {member}"))
}

fn port_of(member: &Json) -> u16 {
    let address = member["address"].as_str().expect("an address");
    let port = address
        .rsplit(':')
        .next()
        .and_then(|port| port.parse().ok());
    port.unwrap_or_else(|| panic!("no port in {member}"))
}

/// Sends a signal to a process that is not our child.
fn send(signal: &str, pid: u64) {
    let kill = Command::new("kill")
        .args([signal, &pid.to_string()])
        .status();
    assert!(
        kill.expect("kill is there").success(),
        "kill {signal} {pid}"
    );
}

fn is_alive(pid: u64) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

fn expect_all_gone(pids: &[u64], folder: &Path) {
    wait_for("no process and no folder is left", secs(15), || {
        let left: Vec<&u64> = pids.iter().filter(|pid| is_alive(**pid)).collect();
        expect_that(left.is_empty(), || format!("processes {left:?}"))?;
        expect_that(!folder.exists(), || {
            format!("{} is there", folder.display())
        })
    });
}

fn fails_over(mut up: Up) {
    let (status, code) = up.status();
    assert_eq!(
        (status["ok"].as_bool(), code),
        (Some(true), Some(0)),
        "{status}"
    );
    let members = up.members();
    let roles: Vec<&str> = members
        .iter()
        .filter_map(|member| member["role"].as_str())
        .collect();
    assert_eq!(
        roles,
        [
            "master", "replica", "replica", "sentinel", "sentinel", "sentinel"
        ]
    );
    let log = up.process.log();
    for member in &members {
        let id = member["id"].as_str().expect("an id");
        assert_eq!(id.len(), 40, "{member}");
        let shown = [
            member["address"].as_str(),
            id.get(..12),
            member["log"].as_str(),
        ];
        for part in shown {
            let part = part.unwrap_or_else(|| panic!("{member}"));
            assert!(log.contains(part), "{part} is not in\n{log}");
        }
    }
    let token = up.wait_for_line("Token for its buttons: ", secs(1));
    let token = token.rsplit(' ').next().expect("a word");
    let web = Web {
        port: up.sentinel_port() + HTTP_PORTS,
    };
    let resume = |token: &str| {
        let header = format!("Authorization: Bearer {token}");
        web.send("POST", "/masters/mymaster/resume", &[&header], "")
            .status
    };
    assert_eq!((resume(token), resume("another")), (200, 401));
    let config = up
        .folder()
        .join(format!("sentinel-{}/sentinel.conf", up.sentinel_port()));
    let mode = std::fs::metadata(config).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "the token is for nobody else's eyes");
    let kill = up.wait_for_line("kill -9", secs(1));
    let master = pid_of(&members[0]);
    assert!(kill.contains(&format!("kill -9 {master} ")), "{kill}");

    // On a busy machine the sentinels may have failed over before; what they say now counts.
    let old = port_of(&members[0]);
    let mut client = Client::to(old);
    assert_eq!(text(&client.call(&["SET", "greeting", "hello"])), "OK");
    // Both replicas have it before their master is gone.
    for port in members[1..3].iter().map(port_of) {
        let mut replica = Client::to(port);
        wait_for("the replica has the value", secs(5), || {
            let found = text(&replica.call(&["GET", "greeting"]));
            expect_that(found == "hello", || found)
        });
    }
    send("-9", master);
    let died = up.wait_for_line("died", secs(5));
    assert!(
        died.contains(&format!("(pid {master}): killed by SIGKILL")),
        "{died}"
    );
    up.wait_for_line("+switch-master", secs(20));
    let (status, code) = up.status();
    assert_eq!(code, Some(1), "the old master is down: {status}");
    let new = status["masters"][0]["address"]
        .as_str()
        .expect("an address")
        .to_owned();
    assert_ne!(new, format!("127.0.0.1:{old}"));
    let port = new.rsplit(':').next().and_then(|port| port.parse().ok());
    let mut client = Client::to(port.expect("a port"));
    assert_eq!(text(&client.call(&["GET", "greeting"])), "hello");
    let switches = up.process.log().matches("+switch-master").count();
    assert_eq!(switches, 1, "three sentinels, one line");

    let pids: Vec<u64> = up
        .members()
        .iter()
        .filter_map(|member| member["pid"].as_u64())
        .collect();
    let folder = up.folder();
    up.process.signal(Signal::SIGINT);
    assert!(up.process.wait(secs(15)).success());
    assert!(
        up.process
            .log()
            .contains(&format!("{} removed", folder.display()))
    );
    // Nothing is allowed to be left when it has ended: no waiting here.
    assert!(!pids.iter().any(|pid| is_alive(*pid)));
    assert!(!folder.exists());
}

#[test]
fn up_shows_a_failover_and_leaves_nothing_behind() {
    fails_over(Up::start(&[]));
}

#[test]
fn up_works_with_a_real_redis_server() {
    let real = Kind::Real.server(Path::new("x"));
    let path = real.get_program().to_str().expect("a path");
    // The children inherit from `up` what the program needs to find its libraries.
    fails_over(Up::start_with(&["--with", path], |command| {
        command.envs(
            real.get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
    }));
}

#[test]
fn nothing_survives_when_up_is_killed() {
    let mut up = Up::start(&[]);
    let (pids, folder) = (up.pids(), up.folder());
    assert!(folder.exists());
    // One that is stopped cannot hear SIGTERM; it must go too.
    send("-STOP", pids[1]);
    up.process.kill();
    expect_all_gone(&pids, &folder);
}

#[test]
fn sigterm_during_the_start_leaves_nothing_behind() {
    let mut up = Up::begin(&[], |_| {});
    let folder = up.folder();
    up.process.signal(Signal::SIGTERM);
    assert!(up.process.wait(secs(15)).success());
    assert!(!folder.exists());
    let base = up.base.number;
    for port in (base..base + 3).flat_map(|port| {
        [
            port,
            port + SENTINEL_PORTS,
            port + SENTINEL_PORTS + HTTP_PORTS,
        ]
    }) {
        assert!(
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok(),
            "{port} is in use"
        );
    }
}

#[test]
fn a_busy_port_is_named_before_anything_starts() {
    let base = BasePort::reserve();
    let busy = base.number + SENTINEL_PORTS + 1;
    let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, busy)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let inside = dir.path().join("new");
    let base = base.number.to_string();
    let output = run(&[
        "up",
        "--base-port",
        &base,
        "--dir",
        inside.to_str().unwrap(),
    ]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        error.contains(&format!("port {busy}, meant for a sentinel, is busy")),
        "{error}"
    );
    assert!(!inside.exists(), "nothing was made");
}

#[test]
fn a_child_that_cannot_start_is_shown_with_its_log() {
    let up = Up::begin(&["--with", "/bin/false"], |_| {});
    let line = up.wait_for_line("ended at its start: exit status 1", secs(15));
    // Which of the three data servers is seen first is not determined.
    assert!(line.contains(" 127.0.0.1:"), "{line}");
    let mut process = up.process;
    assert_eq!(process.wait(secs(15)).code(), Some(1));
}

#[test]
fn a_dead_child_is_started_again_when_asked() {
    let up = Up::start(&["--restart", "--replicas", "1", "--sentinels", "1"]);
    let replica = pid_of(&up.members()[1]);
    send("-9", replica);
    let died = up.wait_for_line("died", secs(5));
    assert!(died.contains("it starts again in 3s"), "{died}");
    up.wait_for_line(
        &format!("replica 127.0.0.1:{}, pid", up.base.number + 1),
        secs(15),
    );
    wait_for("all is well again", secs(15), || {
        let (status, code) = up.status();
        expect_that(code == Some(0), || status.to_string())
    });
}

#[test]
fn a_folder_is_continued_where_it_was_left() {
    let dir = tempfile::tempdir().unwrap();
    let topology = dir.path().join("topology");
    let args = [
        "--dir",
        topology.to_str().unwrap(),
        "--replicas",
        "1",
        "--sentinels",
        "1",
    ];
    let mut up = Up::start(&args);
    let before = up.members();
    let master = pid_of(&before[0]);
    send("-9", master);
    up.wait_for_line("+switch-master", secs(20));
    up.process.signal(Signal::SIGTERM);
    assert!(up.process.wait(secs(15)).success());
    assert!(topology.exists(), "a folder that was named stays");

    up.process.start_again();
    up.wait_for_line("continuing 1 master", secs(5));
    wait_for("the replica of before is the master", secs(60), || {
        let log = up.process.log();
        expect_that(log.matches("Events follow").count() == 2, || log)
    });
    let after = up.members();
    assert_eq!(after[0]["address"], before[1]["address"]);
    assert_eq!(
        after[2]["id"], before[2]["id"],
        "the sentinel has kept its id"
    );
}

#[test]
fn a_topology_with_passwords_is_watched_too() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("t.yaml");
    let lines = "replicas: 1\nsentinels: 2\nserver: [requirepass secret, masterauth secret]\n\
                 sentinel: [requirepass secret, sentinel sentinel-pass secret, sentinel auth-pass mymaster secret]\n";
    std::fs::write(&file, lines).unwrap();
    let up = Up::start(&[file.to_str().unwrap()]);
    let log = up.process.log();
    assert_eq!(log.matches("  ok  ").count(), 4, "{log}");
}

#[test]
fn mistakes_in_a_topology_file_are_named_with_their_place() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("t.yaml");
    std::fs::write(&file, "replicas: 1\nsentnels: 3\n").unwrap();
    let output = run(&["up", file.to_str().unwrap()]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        error.contains("t.yaml") && error.contains("sentnels"),
        "{error}"
    );
    assert!(error.contains("line 2"), "{error}");
}

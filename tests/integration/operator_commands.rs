//! The operator's subcommands against running sets, ours and redis's: what they show, what they do, what they
//! say when something is missing, and the status they end with.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};
use serde_json::Value as Json;

use crate::support::{
    Answer, Client, Fake, Kind, NAME, Port, Topology, expect_that, honest_master, secs,
    start_sentinel, start_server, wait_for,
};

fn ours(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sentinel"));
    command
        .args(args)
        .env_remove("SENTINEL_ADDR")
        .env_remove("REDISCLI_AUTH")
        .stdin(Stdio::null());
    command
}

fn run(args: &[&str]) -> Output {
    ours(args).output().expect("our own binary runs")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn at(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

/// Orders failovers until one is done: on a busy machine the votes may come too late.
fn fail_over(sentinel: &str) -> Output {
    wait_for("a failover is done", secs(60), || {
        let output = run(&["failover", NAME, "--sentinel", sentinel]);
        match output.status.code() {
            Some(0) => Ok(output),
            _ => Err(err(&output)),
        }
    })
}

/// A subcommand that runs until it is told to end, line by line.
struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
    seen: Vec<String>,
}

impl Running {
    fn start(args: &[&str]) -> Running {
        let mut command = ours(args);
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("our own binary runs");
        let stdout: ChildStdout = child.stdout.take().expect("it is piped");
        // More lines than any of these tests causes.
        let (send, lines) = mpsc::sync_channel(10_000);
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        Running {
            child,
            lines,
            seen: Vec::new(),
        }
    }

    fn wait_for_line(&mut self, part: &str) -> String {
        wait_for(&format!("a line with {part:?}"), secs(30), || {
            self.seen.extend(self.lines.try_iter());
            let line = self.seen.iter().find(|line| line.contains(part)).cloned();
            line.ok_or_else(|| self.seen.join("\n"))
        })
    }

    fn interrupt(&mut self) -> ExitStatus {
        signal(&self.child, Signal::SIGINT);
        end_of(&mut self.child)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn signal(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id()).expect("process ids fit in i32");
    kill(Pid::from_raw(pid), signal).expect("a child can be signalled");
}

fn end_of(child: &mut Child) -> ExitStatus {
    wait_for("it ends", secs(10), || {
        child
            .try_wait()
            .unwrap()
            .ok_or_else(|| "it runs".to_owned())
    })
}

#[test]
fn a_failover_is_ordered_watched_and_waited_for() {
    for kind in [Kind::Ours, Kind::Real] {
        let mut set = Topology::of(kind).replicas(kind, 1).start();
        let old = set.master_port();
        let first = at(set.sentinels[0].port());
        let second = at(set.sentinels[1].port());
        let mut text =
            Running::start(&["watch", NAME, "--sentinel", &first, "--sentinel", &second]);
        let mut json = Running::start(&["watch", "--json", "--sentinel", &first]);
        text.wait_for_line(&format!("sentinel {first} is heard"));
        text.wait_for_line(&format!("sentinel {second} is heard"));
        json.wait_for_line("\"connected\"");

        let output = fail_over(&first);
        let new = set.wait_for_switch(old, secs(20));
        let expected = format!("{NAME} is now 127.0.0.1:{new}; it was 127.0.0.1:{old}, after ");
        assert!(out(&output).starts_with(&expected), "{}", out(&output));
        assert_eq!(err(&output), "", "no progress without a terminal");

        let switched = format!("{NAME}: {NAME} is now 127.0.0.1:{new}; it was 127.0.0.1:{old}");
        text.wait_for_line(&switched);
        assert_eq!(text.interrupt().code(), Some(0));
        text.seen.extend(text.lines.iter());
        let count = text
            .seen
            .iter()
            .filter(|line| line.contains(&switched))
            .count();
        assert_eq!(
            count, 1,
            "both sentinels say it, it is shown once: {:#?}",
            text.seen
        );
        let line = json.wait_for_line("+switch-master");
        let line: Json = serde_json::from_str(&line).expect("every line is an object");
        assert_eq!(line["master"], NAME);
        assert_eq!(line["sentinel"], first.as_str());
        let payload = format!("{NAME} 127.0.0.1 {old} 127.0.0.1 {new}");
        assert_eq!(line["payload"], payload.as_str());

        set.wait_until_settled(secs(30));
        // The one before may still be pointing replicas at the new master.
        wait_for("another failover is accepted", secs(30), || {
            let output = run(&["failover", NAME, "--no-wait", "--sentinel", &first]);
            expect_that(output.status.code() == Some(0), || err(&output))
        });
        set.wait_for_switch(new, secs(30));
    }
}

#[test]
fn a_failover_that_cannot_be_is_refused_with_a_reason() {
    let set = Topology::of(Kind::Ours)
        .replicas(Kind::Ours, 0)
        .sentinels(&[Kind::Ours])
        .start();
    let sentinel = at(set.sentinels[0].port());
    let output = run(&["failover", NAME, "--sentinel", &sentinel]);
    assert_eq!(output.status.code(), Some(1), "{}", out(&output));
    assert!(err(&output).contains("NOGOODSLAVE"), "{}", err(&output));
    let output = run(&["failover", "unknown", "--sentinel", &sentinel]);
    assert_eq!(output.status.code(), Some(1));
    let text = err(&output);
    assert!(
        text.contains("No such master") && text.contains("sentinel status"),
        "{text}"
    );
}

#[test]
fn a_sentinel_that_comes_back_is_heard_again() {
    let master = start_server(Kind::Ours, "");
    let monitor = format!("sentinel monitor {NAME} 127.0.0.1 {} 1\n", master.port());
    let mut node = start_sentinel(Kind::Ours, &monitor, "");
    let address = at(node.port());
    let mut watch = Running::start(&["watch", "--sentinel", &address]);
    watch.wait_for_line("is heard");
    node.kill();
    watch.wait_for_line(&format!("sentinel {address} cannot be heard"));
    node.start_again();
    watch.wait_for_line("is heard again");
    let mut client = node.client();
    client.call(&["SENTINEL", "SET", NAME, "parallel-syncs", "7"]);
    watch.wait_for_line("parallel-syncs 7");
    assert_eq!(watch.interrupt().code(), Some(0));
}

#[test]
fn replies_are_printed_and_unknown_commands_explained() {
    let bulk = |text: &str| format!("${}\r\n{text}\r\n", text.len());
    let fake = Fake::start(move |words| {
        let line = words.join(" ");
        if words[0] == "SENTINEL" {
            Answer::Say(format!("*2\r\n{}{}", bulk(&line), bulk("second line")).into_bytes())
        } else {
            Answer::Say(honest_master("x", words))
        }
    });
    let address = at(fake.port());
    let check = |args: &[&str], sent: &str| {
        let output = run(&[args, &["--sentinel", &address]].concat());
        assert_eq!(output.status.code(), Some(0), "{}", err(&output));
        assert_eq!(out(&output), format!("{sent}\nsecond line\n"));
    };
    check(&["pause", "m", "5m"], "SENTINEL PAUSE m 5m");
    check(&["pause", "m"], "SENTINEL PAUSE m");
    check(&["resume", "m"], "SENTINEL RESUME m");
    check(&["forget", "m", "[::1]:6379"], "SENTINEL FORGET m ::1 6379");
    check(
        &["explain", "m", "--count", "2"],
        "SENTINEL EXPLAIN m COUNT 2",
    );

    let master = start_server(Kind::Ours, "");
    let monitor = format!("sentinel monitor {NAME} 127.0.0.1 {} 1\n", master.port());
    let real = start_sentinel(Kind::Real, &monitor, "");
    let address = at(real.port());
    for args in [
        &["pause", NAME][..],
        &["resume", NAME],
        &["forget", NAME, "127.0.0.1:1"],
        &["explain", NAME],
    ] {
        let output = run(&[args, &["--sentinel", &address]].concat());
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        let text = err(&output);
        assert!(
            text.contains("does not know SENTINEL") && text.lines().count() > 1,
            "{text}"
        );
    }
    let data = at(master.port());
    let output = run(&["explain", NAME, "--sentinel", &data]);
    assert!(err(&output).contains("is no sentinel"), "{}", err(&output));
}

/// A set of our own: the pause is shown by every sentinel, the reply and the record are as the sentinels tell them.
#[test]
fn pauses_records_and_what_is_forgotten() {
    let mut set = Topology::of(Kind::Ours).start();
    let (first, second) = (at(set.sentinels[0].port()), at(set.sentinels[1].port()));
    let done = |args: &[&str], sentinel: &str| {
        let output = run(&[args, &["--sentinel", sentinel]].concat());
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", err(&output));
        out(&output)
    };
    let well = |sentinel: &str| {
        wait_for("all is well", secs(20), || {
            let output = run(&["status", "--sentinel", sentinel]);
            expect_that(output.status.code() == Some(0), || out(&output))?;
            Ok(out(&output))
        })
    };
    let refused = |args: &[&str], part: &str, advice: &str| {
        let output = run(&[args, &["--sentinel", &first]].concat());
        let text = err(&output);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {text}");
        assert!(text.contains(part) && text.contains(advice), "{text}");
    };

    let said = done(&["pause", NAME, "30m"], &first);
    let sum = format!("{NAME}: automatic failovers are paused on 3 of 3 known sentinels, until 20");
    assert!(
        said.starts_with(&sum) && said.lines().count() == 4,
        "{said}"
    );
    let note = "\nautomatic failovers are paused until 20";
    let everywhere = ", on all 3 sentinels\n";
    let status = well(&second);
    let is_told = status.contains(note) && status.contains(everywhere);
    assert!(is_told, "{status}");
    let json: Json = serde_json::from_str(&done(&["status", "--json"], &second)).unwrap();
    let paused = &json["masters"][0]["paused"];
    let is_told =
        paused["until_ms"].is_u64() && paused["sentinels"].as_array().map(Vec::len) == Some(3);
    assert!(json["ok"] == true && is_told, "{json}");
    let mut top = Pty::start(&["top", "--interval", "100ms", "--sentinel", &second]);
    top.wait_for("paused");
    top.press("q");
    top.expect_end(Some(0));
    let said = done(&["resume", NAME], &second);
    assert!(said.contains("resumed on 3 of 3 known sentinels"), "{said}");
    assert!(!well(&first).contains(note));

    let old = set.master_port();
    fail_over(&first);
    set.wait_for_switch(old, secs(20));
    let said = done(&["explain", NAME], &first);
    assert!(said.contains("manual-failover"), "{said}");

    set.wait_until_settled(secs(30));
    set.server_at(old).kill();
    let gone = at(old);
    wait_for("it is missed", secs(20), || {
        let output = run(&["status", "--sentinel", &first]);
        expect_that(output.status.code() == Some(1), || out(&output))
    });
    for sentinel in [&first, &second] {
        assert_eq!(done(&["forget", NAME, &gone], sentinel), "OK\n");
        assert!(!well(sentinel).contains(&gone));
    }
    refused(
        &["forget", NAME, &gone],
        "No replica or sentinel",
        "sentinel status",
    );
    refused(&["pause", "unknown"], "No such master", "sentinel status");
    refused(&["resume", "unknown"], "No such master", "sentinel status");
    refused(&["explain", "unknown"], "No such master", "sentinel status");
}

#[test]
fn passwords_and_tls_are_offered() {
    let folder = tempfile::tempdir().unwrap();
    let ca = certificates(folder.path());
    let tls_port = Port::reserve();
    let master = start_server(Kind::Ours, "");
    let monitor = format!("sentinel monitor {NAME} 127.0.0.1 {} 1\n", master.port());
    let lines = format!(
        "requirepass secret\ntls-port {}\ntls-cert-file {2}/node.crt\ntls-key-file {2}/node.key\n\
         tls-ca-cert-file {1}\n",
        tls_port.number(),
        ca,
        folder.path().display(),
    );
    let node = start_sentinel(Kind::Ours, &monitor, &lines);
    let address = at(node.port());

    let output = run(&["watch", "--sentinel", &address, "--color", "sometimes"]);
    assert_eq!(output.status.code(), Some(64));
    let output = run(&["status", "--sentinel", &address]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("REDISCLI_AUTH"), "{}", err(&output));
    // The data server has no password, and is asked all the same.
    let all_is_well = |mut command: Command| {
        let output = command.output().unwrap();
        expect_that(output.status.code() == Some(0), || {
            out(&output) + &err(&output)
        })
    };
    wait_for("all is well with the password", secs(20), || {
        let mut command = ours(&["status", NAME]);
        command
            .env("REDISCLI_AUTH", "secret")
            .env("SENTINEL_ADDR", &address);
        all_is_well(command)
    });
    let tls = at(tls_port.number());
    let cert = folder.path().join("node.crt").display().to_string();
    let key = folder.path().join("node.key").display().to_string();
    let args = [
        "failover",
        NAME,
        "--sentinel",
        &tls,
        "--pass",
        "secret",
        "--tls",
    ];
    let with = |more: &[&str]| run(&[&args, more].concat());
    // It gets through to the sentinel, which has no replica to promote.
    let output = with(&["--cacert", &ca, "--cert", &cert, "--key", &key]);
    assert!(err(&output).contains("NOGOODSLAVE"), "{}", err(&output));
    let output = with(&["--insecure", "--cert", &cert, "--key", &key]);
    assert!(err(&output).contains("NOGOODSLAVE"), "{}", err(&output));
    let output = with(&[]);
    assert!(err(&output).contains("--cacert"), "{}", err(&output));
    let output = with(&["--cacert", &cert]);
    assert!(
        err(&output).contains("no sentinel answers"),
        "{}",
        err(&output)
    );
}

/// Writes `node.crt` and `node.key`, signed by the authority whose file is returned.
fn certificates(folder: &Path) -> String {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let authority_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&authority_key).unwrap();
    let issuer = Issuer::new(params, authority_key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["sentinel.example".to_owned()]).unwrap();
    let cert = params.signed_by(&key, &issuer).unwrap();
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    write("node.crt", cert.pem());
    write("node.key", key.serialize_pem());
    write("ca.crt", authority.pem())
}

/// A pseudo-terminal with a subcommand on it.
struct Pty {
    controller: std::fs::File,
    terminal: OwnedFd,
    before: String,
    child: Child,
    shown: String,
    output: mpsc::Receiver<Vec<u8>>,
}

/// What of a terminal's setting a program that leaves it in raw mode would have changed.
fn setting(terminal: &OwnedFd) -> String {
    let Termios {
        input_modes,
        output_modes,
        local_modes,
        ..
    } = tcgetattr(terminal).expect("a terminal has a setting");
    format!("{input_modes:?} {output_modes:?} {local_modes:?}")
}

impl Pty {
    fn start(args: &[&str]) -> Pty {
        use rustix::fs::{Mode, OFlags, open};
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let name = ptsname(&controller, Vec::new()).unwrap();
        let terminal = open(&name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        let size = Winsize {
            ws_row: 40,
            ws_col: 100,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&terminal, size).unwrap();
        let mut command = ours(args);
        let end = || Stdio::from(terminal.try_clone().unwrap());
        command
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .env("TERM", "xterm")
            .env_remove("NO_COLOR");
        let before = setting(&terminal);
        let child = command.spawn().expect("our own binary runs");
        let controller = std::fs::File::from(controller);
        let mut reader = controller.try_clone().unwrap();
        let (send, output) = mpsc::sync_channel(10_000);
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut chunk) {
                if send.send(chunk[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Pty {
            controller,
            terminal,
            before,
            child,
            shown: String::new(),
            output,
        }
    }

    /// Waits until something is drawn after what was drawn so far.
    fn wait_for_new(&mut self, part: &str) {
        self.shown.clear();
        self.wait_for(part);
    }

    fn wait_for(&mut self, part: &str) {
        wait_for(&format!("the screen shows {part:?}"), secs(30), || {
            for chunk in self.output.try_iter() {
                self.shown.push_str(&String::from_utf8_lossy(&chunk));
            }
            expect_that(self.shown.contains(part), || self.shown.clone())
        });
    }

    fn press(&mut self, keys: &str) {
        self.controller.write_all(keys.as_bytes()).unwrap();
    }

    fn expect_end(&mut self, code: Option<i32>) {
        assert_eq!(end_of(&mut self.child).code(), code);
        assert_eq!(
            setting(&self.terminal),
            self.before,
            "the terminal is as it was"
        );
        // The screen of before, and the cursor.
        self.wait_for("\x1b[?25h\x1b[?1049l");
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn top_shows_a_failover_and_puts_the_terminal_back() {
    let mut set = Topology::of(Kind::Ours).start();
    let sentinel = at(set.sentinels[0].port());
    let master = set.master_port();
    let args = [
        "top",
        "--interval",
        "100ms",
        "--sentinel",
        sentinel.as_str(),
    ];
    let mut top = Pty::start(&args);
    top.wait_for("all up");
    top.wait_for(&format!("127.0.0.1:{master}"));
    assert_ne!(setting(&top.terminal), top.before, "keys come at once");
    for port in [set.servers[1].port(), set.servers[2].port()] {
        top.wait_for(&format!("replica   127.0.0.1:{port}"));
    }
    top.press("/nothing\r");
    top.wait_for_new("none of 0");
    top.press("\x1b");
    top.wait_for_new("1 of 1");
    set.server_at(master).kill();
    top.wait_for_new("1 down");
    let new = set.wait_for_switch(master, secs(20));
    top.wait_for(&format!("{NAME} is now 127.0.0.1:{new}"));
    top.wait_for_new("all up");
    top.press("q");
    top.expect_end(Some(0));

    // However it ends: Ctrl-C, a signal, or no sentinel left.
    let mut top = Pty::start(&args);
    top.wait_for("all up");
    top.press("\x03");
    top.expect_end(Some(0));
    for ending in [Signal::SIGTERM, Signal::SIGHUP] {
        let mut top = Pty::start(&args);
        top.wait_for("all up");
        signal(&top.child, ending);
        top.expect_end(Some(0));
    }
    let mut top = Pty::start(&args);
    top.wait_for("all up");
    set.sentinels[0].kill();
    top.wait_for_new("no sentinel answers");
    top.press("q");
    top.expect_end(Some(0));

    let output = run(&args);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        err(&output).contains("needs a terminal"),
        "{}",
        err(&output)
    );
}

#[test]
fn status_is_redrawn_in_place() {
    let master = start_server(Kind::Ours, "");
    let monitor = format!("sentinel monitor {NAME} 127.0.0.1 {} 1\n", master.port());
    let node = start_sentinel(Kind::Ours, &monitor, "");
    let sentinel = at(node.port());
    let args = [
        "status",
        "--watch",
        "--interval",
        "100ms",
        "--sentinel",
        &sentinel,
    ];
    let mut pty = Pty::start(&args);
    pty.wait_for("\x1b[32mok\x1b[0m");
    pty.wait_for_new("\x1b[H");
    signal(&pty.child, Signal::SIGINT);
    assert_eq!(
        end_of(&mut pty.child).code(),
        Some(0),
        "that of the last look"
    );
    let output = run(&["status", "--color", "always", "--sentinel", &sentinel]);
    assert!(
        out(&output).contains("\x1b[32mok\x1b[0m"),
        "{}",
        out(&output)
    );
    let output = run(&["status", "--sentinel", &sentinel]);
    assert!(!out(&output).contains('\x1b'), "{}", out(&output));
    let mut lines = Running::start(&[&args[..], &["--json"]].concat());
    let line = lines.wait_for_line("\"state\":\"ok\"");
    assert!(serde_json::from_str::<Json>(&line).is_ok(), "{line}");
    drop(node);
    lines.wait_for_line("\"state\":\"no-master\"");
    assert_eq!(lines.interrupt().code(), Some(2));
}

#[test]
fn check_tells_mistakes_from_risky_choices() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let good = "bind 127.0.0.1\nsentinel monitor m 127.0.0.1 6379 2\n";
    let good = file("sentinel.conf", good);
    let output = run(&["check", &good]);
    assert_eq!(output.status.code(), Some(0), "{}", out(&output));
    assert!(out(&output).contains("nothing to say"), "{}", out(&output));
    let risky = file(
        "risky-sentinel.conf",
        "bind 127.0.0.1\nsentinel monitor m 127.0.0.1 6379 1\n",
    );
    let output = run(&["check", &risky]);
    assert_eq!(output.status.code(), Some(1), "{}", out(&output));
    assert!(
        out(&output).contains(&format!("{risky}:2: warning: ")),
        "{}",
        out(&output)
    );
    let wrong = file("wrong.yaml", "prot: 1\n");
    let output = run(&["check", "--json", &wrong]);
    assert_eq!(output.status.code(), Some(2), "{}", out(&output));
    let json: Json = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["findings"][0]["severity"], "error");
    assert_eq!(json["findings"][0]["line"], 1);
    let output = run(&["check", "--server", &file("x.conf", "prot 1\n")]);
    assert_eq!(output.status.code(), Some(2), "{}", out(&output));
    assert!(
        out(&output).contains("a data server: 1 error"),
        "{}",
        out(&output)
    );
    assert_eq!(run(&["check", "/nonexistent/x"]).status.code(), Some(2));
    assert_eq!(run(&["check"]).status.code(), Some(64));
}

/// What a sentinel has learned goes with it from one dialect to the other.
#[test]
fn a_converted_configuration_goes_on_where_the_other_ended() {
    let mut set = Topology::of(Kind::Real).start();
    let old = set.master_port();
    fail_over(&at(set.sentinels[0].port()));
    set.wait_for_switch(old, secs(30));
    set.wait_until_settled(secs(30));
    let mut node = set.sentinels.remove(0);
    let field = |client: &mut Client, name: &str| {
        let master = client.call(&["SENTINEL", "MASTER", NAME]);
        crate::support::fields(&master)[name].clone()
    };
    let epoch = field(&mut node.client(), "config-epoch");
    node.process.terminate(secs(10));
    let yaml = node.config().with_file_name("sentinel.yaml");
    let state = node.config().with_file_name("sentinel.yaml.state");
    let conf = node.config().display().to_string();
    let output = run(&["convert", &conf]);
    assert!(err(&output).contains("--state"), "{}", err(&output));
    let output = run(&["convert", &conf, "--state", &state.display().to_string()]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert_eq!(err(&output), "");
    std::fs::write(&yaml, &output.stdout).unwrap();
    let again = run(&["convert", &conf, "--state", &state.display().to_string()]);
    assert_eq!(
        again.status.code(),
        Some(1),
        "a state file is never overwritten"
    );

    let mut ours = crate::support::Process::start(
        "converted",
        yaml.parent().unwrap(),
        ours(&[&yaml.display().to_string()]),
    );
    let mut client = wait_for("the sentinel answers again", secs(10), || {
        Client::try_to(node.port()).map_err(|error| error.to_string() + &ours.log())
    });
    assert_eq!(field(&mut client, "config-epoch"), epoch);
    assert_eq!(field(&mut client, "num-other-sentinels"), "2");
    assert_eq!(field(&mut client, "num-slaves"), "2");
    assert!(ours.terminate(secs(10)).success());
}

#[test]
fn completions_and_pages_are_printed() {
    for shell in ["bash", "zsh", "fish"] {
        let output = run(&["completions", shell]);
        assert!(output.status.success());
        assert!(out(&output).contains("failover"), "{}", out(&output));
    }
    assert_eq!(run(&["completions", "dos"]).status.code(), Some(64));
    let page = out(&run(&["man"]));
    assert!(page.contains(".TH sentinel 1"), "{page}");
    let folder = tempfile::tempdir().unwrap();
    let output = run(&["man", &folder.path().display().to_string()]);
    assert!(output.status.success(), "{}", err(&output));
    let page = std::fs::read_to_string(folder.path().join("sentinel-status.1")).unwrap();
    assert!(page.contains("sentinel status"), "{page}");
    assert_eq!(run(&["man", "/nonexistent/folder"]).status.code(), Some(1));
}

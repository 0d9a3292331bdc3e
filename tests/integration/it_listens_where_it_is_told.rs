//! Listening: addresses that may be missing, IPv6, unix sockets, no TCP port at all; and in the
//! background.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::Command;

use socket2::{Domain, Socket, Type};

use crate::support::{Kind, Port, Process, expect_that, secs, start_server, wait_for};

fn ping(mut stream: impl Read + Write) -> String {
    stream.write_all(b"PING\r\n").unwrap();
    let mut reply = [0; 7];
    stream.read_exact(&mut reply).unwrap();
    String::from_utf8_lossy(&reply).into_owned()
}

#[test]
fn addresses_that_are_missing_here_may_be_optional() {
    let folder = tempfile::tempdir().unwrap();
    let (port, config) = (Port::reserve(), folder.path().join("sentinel.conf"));
    let start = |bind: &str| {
        fs::write(&config, format!("port {}\nbind {bind}\n", port.number())).unwrap();
        Process::start("sentinel", folder.path(), Kind::Ours.sentinel(&config))
    };
    let mut process = start("127.0.0.1 -192.0.2.77 -::1");
    let v4 = wait_for("it listens", secs(10), || {
        TcpStream::connect(("127.0.0.1", port.number())).map_err(|error| error.to_string())
    });
    assert_eq!(ping(v4), "+PONG\r\n");
    // A machine without IPv6 is why it is optional.
    if let Ok(v6) = TcpStream::connect(("::1", port.number())) {
        assert_eq!(ping(v6), "+PONG\r\n");
    }
    process.terminate(secs(10));

    let mut process = start("127.0.0.1 192.0.2.77");
    assert_eq!(process.wait(secs(10)).code(), Some(1));
    let log = process.log();
    assert!(
        log.contains("192.0.2.77") && log.contains("cannot listen"),
        "{log}"
    );
}

#[test]
fn a_unix_socket_alone_suffices() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("sentinel.conf");
    let lines = "port 0\nunixsocket s.sock\nunixsocketperm 700\nsentinel announce-port 26379\n";
    fs::write(&config, format!("dir {}\n{lines}", folder.path().display())).unwrap();
    let path = folder.path().join("s.sock");
    for _ in 0..2 {
        // The second start finds the socket of the first, which was killed.
        let mut process = Process::start("sentinel", folder.path(), Kind::Ours.sentinel(&config));
        let stream = wait_for("the socket answers", secs(10), || {
            UnixStream::connect(&path).map_err(|error| format!("{error}: {}", process.log()))
        });
        assert_eq!(ping(stream), "+PONG\r\n");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        process.kill();
    }
}

#[test]
fn in_the_background_with_a_pid_file() {
    let folder = tempfile::tempdir().unwrap();
    let (port, config) = (Port::reserve(), folder.path().join("sentinel.conf"));
    let lines = format!(
        "port {}\nbind 127.0.0.1\ndir {}\ndaemonize yes\nlogfile the.log\npidfile the.pid\n",
        port.number(),
        folder.path().display()
    );
    fs::write(&config, lines).unwrap();
    let mut command: Command = Kind::Ours.sentinel(&config);
    // From another folder: the configuration is found, and `dir` counts from then on.
    let status = command.current_dir("/").status().unwrap();
    assert!(
        status.success(),
        "the foreground process ends at once: {status}"
    );
    let pid_file = folder.path().join("the.pid");
    let pid = wait_for("the pid file", secs(10), || {
        let text = fs::read_to_string(&pid_file).map_err(|error| error.to_string())?;
        text.trim()
            .parse::<i32>()
            .map_err(|error| format!("{error}: {text}"))
    });
    let mut stream = wait_for("it listens", secs(10), || {
        TcpStream::connect(("127.0.0.1", port.number())).map_err(|error| error.to_string())
    });
    assert!(folder.path().join("the.log").exists());
    stream.write_all(b"SHUTDOWN\r\n").unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "", "SHUTDOWN closes without a reply");
    wait_for("the process has ended", secs(10), || {
        let alive = fs::exists(format!("/proc/{pid}/exe")).unwrap_or(false);
        expect_that(!alive && !pid_file.exists(), || format!("{pid} runs"))
    });
}

/// The first line that a client from this address of the machine is told, once it has sent `ask`.
fn told(from: Ipv4Addr, port: u16, ask: &str) -> String {
    let stream = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    stream.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    stream.connect(&to.into()).unwrap();
    let mut stream = TcpStream::from(stream);
    stream.set_read_timeout(Some(secs(5))).unwrap();
    stream.write_all(ask.as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line
}

/// Of the many addresses that a machine has for itself, protected mode takes in one alone.
#[test]
fn who_is_local_is_who_is_local_for_redis() {
    const NEXT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
    let protected = "protected-mode yes\n";
    let open = "protected-mode no\nenable-debug-command local\n";
    let [theirs, ours] = [Kind::Real, Kind::Ours].map(|kind| {
        let [protected, open] = [protected, open].map(|lines| start_server(kind, lines));
        assert_eq!(
            told(Ipv4Addr::LOCALHOST, protected.port(), "PING\r\n"),
            "+PONG\r\n"
        );
        let refused = told(NEXT, protected.port(), "");
        assert!(refused.starts_with("-DENIED Redis is running in protected mode"));
        let debug = |from| told(from, open.port(), "DEBUG SLEEP 0\r\n");
        assert_eq!(debug(Ipv4Addr::LOCALHOST), "+OK\r\n");
        [refused, debug(NEXT)]
    });
    assert_eq!(ours, theirs);
}

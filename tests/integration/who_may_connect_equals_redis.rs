//! From where clients may connect and for how long, to redis-server and to ours: `bind`, `protected-mode`, `tcp-keepalive`,
//! `timeout`, each also changed while the server runs.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use socket2::{Domain, SockRef, Socket, Type};

use crate::both::start_both;
use crate::support::{Client, ServerNode, secs, text};

/// An address of the loopback network that is not local to redis-server: who comes from it is an outsider.
const OUTSIDE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// What is said to who connects from this address to itself and sends `PING`.
fn heard(server: &ServerNode, address: IpAddr) -> Result<String, io::ErrorKind> {
    let to = SocketAddr::from((address, server.port()));
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((address, 0)).into()).unwrap();
    socket
        .connect_timeout(&to.into(), secs(5))
        .map_err(|error| error.kind())?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(secs(5))).unwrap();
    // Who is turned away may be so before.
    let _ = stream.write_all(b"PING\r\n");
    let mut said = Vec::new();
    let mut byte = [0];
    while !said.ends_with(b"\r\n") && stream.read(&mut byte).is_ok_and(|n| n > 0) {
        said.extend(byte);
    }
    Ok(String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn an_outsider_without_a_password_is_told_what_to_do() {
    let lines = "bind 0.0.0.0\nprotected-mode yes\n";
    let [real, ours] = start_both(lines).map(|server| {
        let mut client = server.client();
        let mut seen = Vec::new();
        for line in [
            "PING",
            "CONFIG SET protected-mode no",
            "CONFIG SET protected-mode yes",
            "CONFIG SET requirepass secret",
            "CONFIG SET requirepass ",
            "ACL SETUSER default resetpass",
            "ACL SETUSER default nopass off",
            "ACL SETUSER default on",
            "ACL SETUSER default nopass >pw",
            "ACL SETUSER other on >pw",
            "CONFIG RESETSTAT",
        ] {
            let reply = client.ask(line);
            for address in [
                OUTSIDE,
                Ipv4Addr::LOCALHOST.into(),
                Ipv4Addr::new(127, 9, 9, 9).into(),
            ] {
                seen.push((line, reply.clone(), heard(&server, address)));
            }
        }
        let rejected = client.ask("INFO stats");
        let rejected = rejected.lines().find(|line| line.starts_with("rejected"));
        (seen, rejected.map(str::to_owned))
    });
    for (real, ours) in real.0.iter().zip(&ours.0) {
        assert_eq!(real, ours);
    }
    assert_eq!(real.1, ours.1);
    assert!(
        real.0[0]
            .2
            .as_ref()
            .unwrap()
            .starts_with("-DENIED Redis is running in protected mode")
    );
}

#[test]
fn it_listens_where_bind_says() {
    let addresses = [
        Ipv4Addr::LOCALHOST.into(),
        OUTSIDE,
        Ipv6Addr::LOCALHOST.into(),
    ];
    let lines = "bind 127.0.0.1 -::1\nprotected-mode no\n";
    let [real, ours] = start_both(lines).map(|server| {
        // Who is there stays.
        let mut client = server.client();
        let mut seen = Vec::new();
        for bind in [
            "127.0.0.1 -::1",
            "127.0.0.1",
            &OUTSIDE.to_string(),
            &format!("127.0.0.1 {OUTSIDE}"),
            "* -::*",
            "0.0.0.0",
            "-192.0.2.77 127.0.0.1",
            "192.0.2.77",
            "127.0.0.1 192.0.2.77",
            "::1",
            "127.0.0.1 127.0.0.1",
            "300.1.1.1",
            "localhost",
            "",
            "127.0.0.1",
        ] {
            let reply = text(&client.call(&["CONFIG", "SET", "bind", bind]));
            let shown = client.ask("CONFIG GET bind");
            let met = addresses.map(|address| heard(&server, address));
            seen.push((bind.to_owned(), reply, shown, met));
        }
        seen
    });
    for (real, ours) in real.iter().zip(&ours) {
        assert_eq!(real, ours);
    }
}

/// A descriptor of a server's, of the connection to a client.
fn its_end(server: &ServerNode, client: &mut Client) -> OwnedFd {
    let line = client.ask("CLIENT INFO");
    let fd = line.split(' ').find_map(|field| field.strip_prefix("fd="));
    let fd: i32 = fd.and_then(|fd| fd.parse().ok()).expect("a descriptor");
    let pid = Pid::from_raw(server.process.pid().cast_signed()).unwrap();
    let process = pidfd_open(pid, PidfdFlags::empty()).unwrap();
    pidfd_getfd(process, fd, PidfdGetfdFlags::empty()).unwrap()
}

#[test]
fn idle_connections_are_probed() {
    let [real, ours] = start_both("").map(|server| {
        let mut early = server.client();
        let mut seen = Vec::new();
        for seconds in ["300", "0", "60", "1", "7", "32767", "0", "300"] {
            let reply = early.ask(&format!("CONFIG SET tcp-keepalive {seconds}"));
            let mut late = server.client();
            let ends = [&mut early, &mut late].map(|client| its_end(&server, client));
            let options = ends.map(|end| {
                let socket = SockRef::from(&end);
                let is_on = socket.keepalive().unwrap();
                let times = is_on.then(|| {
                    let times = [socket.tcp_keepalive_time(), socket.tcp_keepalive_interval()];
                    (
                        times.map(Result::unwrap),
                        socket.tcp_keepalive_retries().unwrap(),
                    )
                });
                (times, socket.tcp_nodelay().unwrap())
            });
            seen.push((seconds, reply, options));
        }
        seen
    });
    for (real, ours) in real.iter().zip(&ours) {
        assert_eq!(real, ours);
    }
}

#[test]
fn who_says_nothing_for_long_is_closed() {
    let [real, ours] = start_both("").map(|server| {
        let mut idle = server.client();
        idle.call(&["PING"]);
        let others = [
            "SUBSCRIBE a",
            "BLPOP a 0",
            "MONITOR",
            "REPLCONF listening-port 1",
        ]
        .map(|line| {
            let mut client = server.client();
            client.send(&line.split(' ').collect::<Vec<_>>()).unwrap();
            if !line.starts_with("BLPOP") {
                client.receive().unwrap();
            }
            (line, client)
        });
        assert_eq!(server.client().ask("CONFIG SET timeout 1"), "OK");
        idle.wait_for_close(secs(5)).expect("it is closed");
        // They were there before it.
        let list = server.client().ask("CLIENT LIST");
        let mut commands: Vec<_> = list
            .lines()
            .filter_map(|line| line.split(' ').find_map(|field| field.strip_prefix("cmd=")))
            .map(str::to_owned)
            .collect();
        commands.sort();
        assert_eq!(server.client().ask("CONFIG SET timeout 0"), "OK");
        drop(others);
        commands
    });
    assert_eq!(real, ours);
}

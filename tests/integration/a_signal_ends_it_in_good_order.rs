//! SIGTERM and SIGINT: what has been learned is on disk, the pid file is gone, the status is 0.

use std::fs;

use nix::sys::signal::Signal;

use crate::support::{Kind, expect_that, secs, start_sentinel, start_server, text, wait_for};

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

#[test]
fn a_data_server_saves_every_write_that_it_acknowledges() {
    let mut server = start_server(Kind::Ours, "save 3600 1\n");
    let mut client = server.client();
    client.call(&["ACL", "SETUSER", "bob", "on", ">secret", "~a:*", "+@all"]);
    assert_eq!(text(&client.call(&["CONFIG", "REWRITE"])), "OK");
    let writer = std::thread::spawn(move || {
        let mut last = 0;
        while let Ok(reply) = client.try_call(&["INCR", "n"]) {
            last = text(&reply).parse().expect("a number");
        }
        last
    });
    let mut reader = server.client();
    wait_for("writes are under way", secs(10), || {
        let n = text(&reader.call(&["GET", "n"]));
        expect_that(n.parse().unwrap_or(0) > 10, || n)
    });
    server.process.signal(Signal::SIGTERM);
    let status = server.process.wait(secs(20));
    assert_eq!(status.code(), Some(0), "{}", server.process.log());
    let acknowledged: i64 = writer.join().unwrap();
    server.start_again();
    let mut client = server.client();
    let saved: i64 = text(&client.call(&["GET", "n"])).parse().unwrap();
    assert!(saved >= acknowledged, "{saved} of {acknowledged}");
    assert_eq!(text(&client.call(&["AUTH", "bob", "secret"])), "OK");
}

#[test]
fn a_data_server_that_could_not_save_saves_at_the_next_signal() {
    let mut server = start_server(Kind::Ours, "save 3600 1\nenable-protected-configs yes\n");
    let mut client = server.client();
    client.call(&["SET", "k", "v"]);
    // The file cannot replace a folder.
    fs::create_dir(server.dir().join("taken")).unwrap();
    client.call(&["CONFIG", "SET", "dbfilename", "taken"]);
    server.process.signal(Signal::SIGTERM);
    wait_for("the save has failed", secs(10), || {
        let log = server.process.log();
        expect_that(log.contains("Error trying to save"), || log.clone())
    });
    client.call(&["CONFIG", "SET", "dbfilename", "dump.rdb"]);
    server.process.signal(Signal::SIGTERM);
    let status = server.process.wait(secs(20));
    assert_eq!(status.code(), Some(0), "{}", server.process.log());
    server.start_again();
    assert_eq!(text(&server.client().call(&["GET", "k"])), "v");
}

#[test]
fn a_data_server_whose_folder_is_gone_says_why_it_goes_on() {
    let mut server = start_server(Kind::Ours, "save 3600 1\nenable-protected-configs yes\n");
    let mut client = server.client();
    let folder = server.dir().join("data");
    fs::create_dir(&folder).unwrap();
    client.call(&["CONFIG", "SET", "dir", &folder.to_string_lossy()]);
    client.call(&["SET", "k", "v"]);
    fs::remove_dir(&folder).unwrap();
    // As with redis-server, each signal is one attempt.
    for attempt in 1..3 {
        server.process.signal(Signal::SIGTERM);
        wait_for("the shutdown has failed", secs(10), || {
            let log = server.process.log();
            let said = log.matches("Errors trying to shut down the server.");
            expect_that(said.count() == attempt, || log.clone())
        });
        assert_eq!(text(&client.call(&["INCR", "n"])), attempt.to_string());
    }
    let log = server.process.log();
    let path = folder.join("dump.rdb");
    let why = format!("can't exit ({}: No such file", path.display());
    assert!(log.contains(&why), "{log}");
    assert!(log.contains("SHUTDOWN NOSAVE"), "{log}");
    // Unlike redis-server, which stays in the folder that is gone, it finds a new one of that name.
    fs::create_dir(&folder).unwrap();
    let status = server.process.terminate(secs(10));
    assert_eq!(status.code(), Some(0), "{}", server.process.log());
    assert!(path.exists());
}

#[test]
fn a_save_that_a_shutdown_cancels_replaces_nothing() {
    let mut server = start_server(Kind::Ours, "save 3600 1\n");
    for round in 0..20 {
        let mut client = server.client();
        // In one write: the save is so short that its thread may begin when all is over.
        client
            .send_raw(b"SET k old\r\nBGSAVE\r\nSET k new\r\nSHUTDOWN\r\n")
            .unwrap();
        let status = server.process.wait(secs(20));
        assert_eq!(status.code(), Some(0), "{}", server.process.log());
        let left = fs::read_dir(server.dir()).unwrap();
        let is_temp = |name: &str| name.starts_with("temp-");
        let names = left.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
        assert!(!names.into_iter().any(|name| is_temp(&name)));
        server.start_again();
        assert_eq!(text(&server.client().call(&["GET", "k"])), "new", "{round}");
    }
}

#[test]
fn a_save_that_a_flush_cancels_brings_nothing_back() {
    let server = start_server(Kind::Ours, "save 3600 1\n");
    let mut client = server.client();
    for round in 0..100 {
        client
            .send_raw(b"SET k v\r\nBGSAVE\r\nFLUSHALL\r\n")
            .unwrap();
        for _ in 0..3 {
            client.receive().unwrap();
        }
        // Time for its thread.
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert_eq!(text(&client.call(&["DEBUG", "RELOAD", "NOSAVE"])), "OK");
        assert_eq!(text(&client.call(&["DBSIZE"])), "0", "{round}");
    }
}

//! `SHUTDOWN` of a server whose replicas lag: it waits, says for how long, and can be called off. And what its
//! options make of it.

use crate::both::side_by_side;
use crate::data::{
    full_resyncs, offset, partial_resyncs, replica_of, wait_for_info, wait_until_equal,
};
use crate::support::{Client, Kind, ServerNode, expect_that, secs, start_server, text, wait_for};

const FAILED: &str = "ERR Errors trying to SHUTDOWN. Check logs.";

/// What it says of the shutdown, and the field before.
fn announced(server: &ServerNode) -> Option<(String, u64)> {
    let info = text(&server.client().call(&["INFO", "server"]));
    let lines: Vec<&str> = info.lines().collect();
    let at = lines
        .iter()
        .position(|line| line.starts_with("shutdown_in_milliseconds:"))?;
    let (_, left) = lines[at].split_once(':')?;
    Some((lines[at - 1].to_owned(), left.parse().ok()?))
}

fn wait_until_announced(server: &ServerNode) -> (String, u64) {
    wait_for("the shutdown is announced", secs(10), || {
        announced(server).ok_or_else(|| "it is not".to_owned())
    })
}

/// Waits until a master has heard that its first replica is where it is itself.
fn wait_until_acknowledged(master: &ServerNode) {
    wait_for("the replica has all", secs(20), || {
        let shown = master.info("slave0").unwrap_or_default();
        let wanted = format!("state=online,offset={},", offset(master));
        expect_that(shown.contains(&wanted), || shown)
    });
}

/// A server with these lines of configuration, and one of ours that follows it and lags.
fn start_with_a_lagging_replica(kind: Kind, lines: &str) -> (ServerNode, ServerNode) {
    let quiet = "repl-ping-replica-period 3600\n";
    let server = start_server(kind, &format!("{quiet}{lines}"));
    let mut replica = start_server(Kind::Ours, &replica_of(&server));
    server.client().call(&["SET", "k", "old"]);
    wait_until_equal(&server, &replica);
    wait_until_acknowledged(&server);
    replica.process.stop();
    server.client().call(&["SET", "k", "new"]);
    (server, replica)
}

/// The end of a server and of the connection that asked for it: the files of data that it leaves.
fn end(server: &mut ServerNode, asker: &mut Client) -> Vec<String> {
    asker.wait_for_close(secs(10)).unwrap();
    assert_eq!(server.process.wait(secs(10)).code(), Some(0));
    let names = std::fs::read_dir(server.dir()).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|name| name.ends_with(".rdb")).collect()
}

/// How many calls of `SHUTDOWN` were rejected and how many failed.
fn failures(client: &mut Client) -> String {
    let stats = client.ask("INFO commandstats");
    let mut lines = stats.lines();
    let line = lines.find(|line| line.starts_with("cmdstat_shutdown"));
    let (_, counts) = line.unwrap().split_once("rejected").unwrap();
    counts.to_owned()
}

#[test]
fn and_says_for_how_long() {
    let seen = side_by_side(|kind| {
        let (master, mut replica) = start_with_a_lagging_replica(kind, "shutdown-timeout 60\n");
        assert_eq!(announced(&master), None, "{kind:?}");
        let (mut asker, mut client) = (master.client(), master.client());
        asker.send(&["SHUTDOWN", "NOSAVE"]).unwrap();
        let (before, left) = wait_until_announced(&master);
        assert_eq!(before, "io_threads_active:0", "{kind:?}");
        assert!((30_000..=60_000).contains(&left), "{kind:?}: {left}");
        // Nobody writes meanwhile, and whoever asks again waits for the same.
        let (mut writer, mut impatient) = (master.client(), master.client());
        writer.send(&["APPEND", "k", "er"]).unwrap();
        impatient.send(&["SHUTDOWN", "NOW"]).unwrap();
        wait_for_info(&master, "blocked_clients", "3");
        let mut seen = vec![client.ask("CLIENT UNPAUSE"), client.ask("GET k")];
        seen.push(client.ask("SHUTDOWN ABORT"));
        for waiting in [&mut asker, &mut impatient, &mut writer] {
            seen.push(text(&waiting.receive().unwrap()));
        }
        assert_eq!(announced(&master), None, "{kind:?}");
        seen.push(client.ask("SHUTDOWN ABORT"));
        seen.push(failures(&mut client));
        seen.push(master.info("errorstat_ERR").unwrap());
        replica.process.resume();
        seen
    });
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[1][3..6], [FAILED, FAILED, "5"]);
}

#[test]
fn until_they_have_everything_or_it_has_waited_enough() {
    let shut_down = |kind, option: &str, timeout: u32, comes_back: bool| {
        let lines = format!("shutdown-timeout {timeout}\n");
        let (mut master, mut replica) = start_with_a_lagging_replica(kind, &lines);
        let mut asker = master.client();
        asker.send(&["SHUTDOWN", option]).unwrap();
        if comes_back {
            wait_until_announced(&master);
            replica.process.resume();
        }
        let files = end(&mut master, &mut asker);
        if comes_back {
            wait_for_info(&replica, "master_link_status", "down");
            assert_eq!(replica.client().ask("GET k"), "new", "{kind:?}");
        }
        files
    };
    let [theirs, ours] = side_by_side(|kind| {
        std::thread::scope(|scope| {
            let cases = [
                ("NOSAVE", 60, true),
                ("SAVE", 1, false),
                ("NOW", 60, false),
                ("FORCE", 0, false),
            ];
            let ends = cases.map(|(option, timeout, comes_back)| {
                scope.spawn(move || shut_down(kind, option, timeout, comes_back))
            });
            ends.map(|end| end.join().unwrap())
        })
    });
    assert_eq!(theirs, ours);
    assert_eq!(ours, [vec![], vec!["dump.rdb".to_owned()], vec![], vec![]]);
}

/// Its data may be nowhere else.
#[test]
fn also_for_one_that_is_still_being_sent_all_data() {
    side_by_side(|kind| {
        let mut master = start_server(kind, "repl-ping-replica-period 3600\n");
        let mut client = master.client();
        client.call(&["DEBUG", "POPULATE", "500", "key", "100"]);
        // Microseconds for each key.
        client.call(&["CONFIG", "SET", "rdb-key-save-delay", "1000"]);
        let replica = start_server(Kind::Real, &replica_of(&master));
        wait_for_info(&replica, "master_sync_in_progress", "1");
        client.call(&["SET", "k", "v"]);
        let mut asker = master.client();
        asker.send(&["SHUTDOWN"]).unwrap();
        end(&mut master, &mut asker);
        wait_for_info(&replica, "master_link_status", "down");
        let mut client = replica.client();
        assert_eq!(client.ask("DBSIZE"), "501", "{kind:?}");
        assert_eq!(client.ask("GET k"), "v", "{kind:?}");
    });
}

#[test]
fn nor_does_a_replica_leave_its_own_behind() {
    side_by_side(|kind| {
        let top = start_server(Kind::Real, "repl-ping-replica-period 3600\n");
        let lines = format!("save 3600 1\nshutdown-timeout 60\n{}", replica_of(&top));
        let mut middle = start_server(kind, &lines);
        wait_until_equal(&top, &middle);
        let mut last = start_server(Kind::Ours, &replica_of(&middle));
        let mut client = top.client();
        client.call(&["SET", "k", "1"]);
        wait_until_equal(&top, &last);
        wait_until_acknowledged(&middle);
        last.process.stop();
        client.call(&["SET", "k", "2"]);
        wait_until_equal(&top, &middle);
        let shut_down = |middle: &ServerNode| {
            let mut asker = middle.client();
            asker.send(&["SHUTDOWN"]).unwrap();
            wait_until_announced(middle);
            asker
        };
        // It stays where it is, so that the last one can get there; and goes on when it is called off.
        let mut asker = shut_down(&middle);
        client.call(&["SET", "k", "3"]);
        let mut reader = middle.client();
        assert_eq!(reader.ask("GET k"), "2", "{kind:?}");
        assert_eq!(reader.ask("SHUTDOWN ABORT"), "OK");
        assert_eq!(text(&asker.receive().unwrap()), FAILED);
        wait_until_equal(&top, &middle);
        let mut asker = shut_down(&middle);
        client.call(&["SET", "k", "4"]);
        last.process.resume();
        end(&mut middle, &mut asker);
        let full = full_resyncs(&top);
        middle.start_again();
        wait_until_equal(&top, &last);
        let served = (full_resyncs(&middle), partial_resyncs(&middle));
        assert_eq!(served, (0, 1), "{kind:?}");
        assert_eq!(full_resyncs(&top), full, "{kind:?}");
    });
}

#[test]
fn what_its_words_mean() {
    let seen = side_by_side(|kind| {
        let server = start_server(kind, "");
        let mut client = server.client();
        let mut seen = Vec::new();
        for line in [
            "SHUTDOWN x",
            "SHUTDOWN SAVE NOSAVE",
            "SHUTDOWN NOSAVE SAVE",
            "SHUTDOWN NOW FORCE NOW SAVE NOSAVE",
            "SHUTDOWN ABORT NOW",
            "SHUTDOWN FORCE ABORT",
            "SHUTDOWN ABORT ABORT",
            "shutdown abort",
            "MULTI",
            "SHUTDOWN NOSAVE",
            "SHUTDOWN ABORT",
            "EXEC",
            "CONFIG SET shutdown-timeout -1",
            "CONFIG SET shutdown-timeout 2147483648",
            "CONFIG GET shutdown-timeout",
        ] {
            seen.push(client.ask(line));
        }
        for (lines, line) in [
            ("", "SHUTDOWN"),
            ("", "SHUTDOWN save NOW force"),
            ("", "SHUTDOWN SAVE SAVE"),
            ("save 3600 1\n", "SHUTDOWN"),
            ("save 3600 1\n", "SHUTDOWN NOSAVE"),
            ("save 3600 1\n", "SHUTDOWN NOW"),
            ("save 3600 1\nappendonly yes\n", "SHUTDOWN"),
        ] {
            let mut server = start_server(kind, lines);
            let mut client = server.client();
            client.send(&line.split(' ').collect::<Vec<_>>()).unwrap();
            seen.push(format!(
                "{lines}{line}: {:?}",
                end(&mut server, &mut client)
            ));
        }
        // Where nothing can be saved, it goes on unless it is forced.
        let lines = "save 3600 1\nenable-protected-configs yes\n";
        let mut server = start_server(kind, lines);
        let mut client = server.client();
        std::fs::create_dir(server.dir().join("taken")).unwrap();
        for line in [
            "CONFIG SET dbfilename taken",
            "SET k v",
            "SHUTDOWN",
            "SHUTDOWN SAVE NOW",
            "GET k",
            "SHUTDOWN ABORT",
        ] {
            seen.push(client.ask(line));
        }
        seen.push(failures(&mut client));
        seen.push(server.info("errorstat_ERR").unwrap());
        client.send(&["SHUTDOWN", "FORCE"]).unwrap();
        end(&mut server, &mut client);
        seen
    });
    for (theirs, ours) in seen[0].iter().zip(&seen[1]) {
        assert_eq!(theirs, ours);
    }
}

/// A file that is to hold the data from now on, and does not yet: without it the next start would be empty.
#[test]
fn nor_is_a_first_append_only_file_left_behind() {
    let seen = side_by_side(|kind| {
        let lines = "shutdown-timeout 60\nenable-debug-command yes\n";
        let (mut master, mut replica) = start_with_a_lagging_replica(kind, lines);
        let (mut asker, mut client) = (master.client(), master.client());
        asker.send(&["SHUTDOWN"]).unwrap();
        wait_until_announced(&master);
        client.call(&["CONFIG", "SET", "rdb-key-save-delay", "30000000"]);
        let mut seen = vec![client.ask("CONFIG SET appendonly yes")];
        wait_for_info(&master, "aof_rewrite_in_progress", "1");
        replica.process.resume();
        seen.push(text(&asker.receive().unwrap()));
        seen.push(client.ask("APPEND k er"));
        client.send(&["SHUTDOWN", "NOSAVE", "FORCE"]).unwrap();
        end(&mut master, &mut client);
        seen
    });
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[1][1..], [FAILED, "5"]);
}

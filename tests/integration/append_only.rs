//! The append-only file is redis-server's: each side starts from what the other has left, whole or damaged.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::net::Shutdown;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::aof::{
    check, check_folder, folder, last_file, manifest, rewrite, set, start, start_on,
    wait_for_rewrite,
};
use crate::both::in_each_direction;
use crate::data::{
    Commands, digest, follow, promote, replica_of, seeds, wait_for_info, wait_until_equal, write,
};
use sentinel::resp::encode_request;

use crate::support::{
    Client, Kind, ServerNode, expect_that, secs, start_server, text, texts, wait_for,
};

/// With `everysec` a real server keeps what it has acknowledged back while the disk is at the last second's; a kill
/// loses that.
const WRITTEN_AT_ONCE: &str = "appendfsync no\n";

#[test]
fn both_directions_with_rewrites_between() {
    for (seed, (from, to)) in in_each_direction(seeds([70])) {
        let mut server = start(from, WRITTEN_AT_ONCE);
        let mut commands = Commands::of(seed).with_chance();
        write(&mut server.client(), &mut commands, 500);
        rewrite(&server);
        write(&mut server.client(), &mut commands, 1000);
        let before = digest(&server);
        server.kill();
        check(&server);
        let mut other = start_on(to, &server, WRITTEN_AT_ONCE);
        assert_eq!(digest(&other), before, "written by {from:?}");
        // And back, with what the other has added.
        write(&mut other.client(), &mut commands, 500);
        rewrite(&other);
        write(&mut other.client(), &mut commands, 100);
        let before = digest(&other);
        other.kill();
        check(&other);
        assert_eq!(digest(&start_on(from, &other, WRITTEN_AT_ONCE)), before);
    }
}

#[test]
fn a_base_of_commands_is_loaded() {
    let mut real = start(
        Kind::Real,
        "appendfsync no\naof-use-rdb-preamble no\naof-timestamp-enabled yes\nauto-aof-rewrite-percentage 0\n",
    );
    let mut commands = Commands::of(79).with_chance();
    write(&mut real.client(), &mut commands, 300);
    rewrite(&real);
    write(&mut real.client(), &mut commands, 300);
    let before = digest(&real);
    real.kill();
    assert!(manifest(&real).contains(".2.base.aof"));
    let mut ours = start_on(Kind::Ours, &real, "");
    assert_eq!(digest(&ours), before);
    rewrite(&ours);
    ours.kill();
    assert_eq!(digest(&start_on(Kind::Real, &ours, "")), before);
}

#[test]
fn files_have_the_names_and_numbers_of_redis() {
    let manifests = [Kind::Ours, Kind::Real].map(|kind| {
        let mut server = start(
            kind,
            "appenddirname \"my dir\"\nappendfilename \"my file\"\n",
        );
        let path = server.dir().join("my dir/my file.manifest");
        let read = || fs::read_to_string(&path).unwrap();
        let mut seen = vec![read()];
        let mut client = server.client();
        client.call(&["SET", "k", "v"]);
        rewrite(&server);
        seen.push(read());
        set(&mut client, "appendonly", "no");
        client.call(&["SET", "k", "w"]);
        rewrite(&server);
        seen.push(read());
        set(&mut client, "appendonly", "yes");
        wait_for_rewrite(&server);
        seen.push(read());
        server.kill();
        server.start_again();
        assert_eq!(text(&server.client().call(&["GET", "k"])), "w");
        seen.push(read());
        seen
    });
    assert_eq!(manifests[0], manifests[1]);
    assert!(manifests[0][0].contains("file \"my file.1.base.rdb\" seq 1 type b\n"));
}

#[test]
fn what_is_appended_is_what_redis_appends() {
    let files = [Kind::Ours, Kind::Real].map(|kind| {
        let server = start(kind, WRITTEN_AT_ONCE);
        let mut client = server.client();
        for line in [
            "SET a 1",
            "PUBLISH c m",
            "MULTI",
            "SET b 1",
            "SELECT 3",
            "DEL b",
            "PUBLISH c m",
            "INCR b",
            "EXEC",
            "GETDEL b",
            "FLUSHDB",
            "SELECT 0",
            "INCRBYFLOAT a 1.5",
            "PEXPIREAT a 99999999999999",
            "SETRANGE x 3 y",
            "DEL missing",
            "FLUSHALL",
        ] {
            client.call(&line.split(' ').collect::<Vec<_>>());
        }
        fs::read_to_string(last_file(&server))
            .unwrap()
            .to_lowercase()
    });
    assert_eq!(files[0], files[1]);
}

#[test]
fn timestamps_are_written_and_skipped() {
    let mut server = start(Kind::Ours, "aof-timestamp-enabled yes\n");
    server.client().call(&["SET", "k", "v"]);
    server.kill();
    let text_of_file = fs::read_to_string(last_file(&server)).unwrap();
    assert!(text_of_file.starts_with("#TS:1"), "{text_of_file}");
    check(&server);
    for kind in [Kind::Real, Kind::Ours] {
        let loader = start_on(kind, &server, "");
        assert_eq!(text(&loader.client().call(&["GET", "k"])), "v");
    }
}

#[test]
fn a_base_of_commands_begins_with_its_time() {
    /// A file with the digits of its times left out.
    fn shown(server: &ServerNode, name: &str) -> String {
        let file = fs::read_to_string(folder(server).join(name)).unwrap();
        let line = |line: &str| match line.strip_prefix("#TS:") {
            Some(second) => {
                assert!(
                    second
                        .parse::<u64>()
                        .is_ok_and(|second| second > 1_700_000_000)
                );
                "#TS".to_owned()
            }
            None => line.to_owned(),
        };
        file.lines().map(line).collect::<Vec<_>>().join(" ")
    }
    let files = [Kind::Real, Kind::Ours].map(|kind| {
        let server = start(kind, "aof-use-rdb-preamble no\naof-timestamp-enabled yes\n");
        let mut files = vec![shown(&server, "appendonly.aof.1.base.aof")];
        let mut client = server.client();
        client.call(&["SET", "k", "v"]);
        rewrite(&server);
        files.push(shown(&server, "appendonly.aof.2.base.aof"));
        client.call(&["CONFIG", "SET", "aof-timestamp-enabled", "no"]);
        rewrite(&server);
        files.push(shown(&server, "appendonly.aof.3.base.aof"));
        check(&server);
        files
    });
    assert_eq!(files[0], files[1]);
    assert_eq!(files[1][0], "#TS");
}

/// Puts this into the folder of a server that has ended, as a single-file AOF of former times.
fn leave_old_file(server: &ServerNode, bytes: &[u8]) {
    fs::remove_dir_all(folder(server)).unwrap();
    fs::write(server.dir().join("appendonly.aof"), bytes).unwrap();
}

#[test]
fn a_single_file_of_former_times_is_taken_over() {
    let mut real = start(Kind::Real, "");
    write(&mut real.client(), &mut Commands::of(72).with_chance(), 200);
    let before = digest(&real);
    rewrite(&real);
    real.client().call(&["SET", "tail", "1"]);
    let with_tail = digest(&real);
    real.kill();
    let names: Vec<String> = manifest(&real)
        .lines()
        .map(|line| line.split(' ').nth(1).unwrap().to_owned())
        .collect();
    let [base, incr] = [0, 1].map(|at| fs::read(folder(&real).join(&names[at])).unwrap());
    // An RDB preamble with commands behind it, and commands alone.
    let commands =
        b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n".to_vec();
    for (bytes, want) in [([base, incr].concat(), Some(&with_tail)), (commands, None)] {
        let mut ours = start(Kind::Ours, "");
        ours.kill();
        leave_old_file(&ours, &bytes);
        ours.start_again();
        match want {
            Some(want) => assert_eq!(&digest(&ours), want),
            None => assert_eq!(text(&ours.client().call(&["GET", "k"])), "v"),
        }
        let files = manifest(&ours);
        assert!(
            files.starts_with("file appendonly.aof seq 1 type b\n"),
            "{files}"
        );
        rewrite(&ours);
        assert!(!folder(&ours).join("appendonly.aof").exists());
        check(&ours);
    }
    assert_ne!(before, with_tail);
}

#[test]
fn the_rdb_file_counts_for_nothing_beside_it() {
    for kind in [Kind::Real, Kind::Ours] {
        let mut server = start_server(kind, "appendonly yes\n");
        server.client().call(&["SET", "k", "v"]);
        server.client().call(&["SAVE"]);
        server.kill();
        fs::remove_dir_all(folder(&server)).unwrap();
        server.start_again();
        assert_eq!(text(&server.client().call(&["DBSIZE"])), "0", "{kind:?}");
    }
}

#[test]
fn it_is_switched_on_and_off_while_it_serves() {
    let mut server = start_server(Kind::Ours, "");
    let mut client = server.client();
    write(&mut client, &mut Commands::of(73).with_chance(), 300);
    assert_eq!(server.info("aof_enabled").as_deref(), Some("0"));
    set(&mut client, "appendonly", "yes");
    // Part of the first base or behind it, but not lost.
    write(&mut client, &mut Commands::of(74).with_chance(), 300);
    wait_for_rewrite(&server);
    write(&mut client, &mut Commands::of(75).with_chance(), 300);
    assert_eq!(server.info("aof_enabled").as_deref(), Some("1"));
    assert_eq!(text(&client.call(&["CONFIG", "REWRITE"])), "OK");
    let before = digest(&server);
    server.kill();
    check(&server);
    server.start_again();
    assert_eq!(digest(&server), before);
    assert_eq!(digest(&start_on(Kind::Real, &server, "")), before);
    let mut client = server.client();
    set(&mut client, "appendonly", "no");
    client.call(&["SET", "unwritten", "1"]);
    wait_for("what was appended is written", secs(10), || {
        let info = text(&client.call(&["INFO", "memory"]));
        expect_that(info.contains("mem_aof_buffer:0"), || info.clone())
    });
    check(&server);
    assert_eq!(digest(&start_on(Kind::Real, &server, "")), before);
}

#[test]
fn a_rewrite_takes_it_along_to_a_new_dir() {
    let mut server = start(
        Kind::Ours,
        "enable-protected-configs yes\nappendfsync always\n",
    );
    let [old, new] = [server.dir(), server.dir().join("new")];
    let manifest_in =
        |dir: &Path| fs::read_to_string(dir.join("appendonlydir/appendonly.aof.manifest")).unwrap();
    let mut client = server.client();
    write(&mut client, &mut Commands::of(80).with_chance(), 500);
    client.call(&["DEL", "count"]);
    let mut acknowledged = 0;
    for (to, want) in [(&new, "appendonly.aof.1."), (&old, "appendonly.aof.2.")] {
        fs::create_dir_all(to).unwrap();
        let from = fs::canonicalize(to).unwrap();
        set(&mut client, "dir", from.to_str().unwrap());
        // All that is acknowledged is there, before the move, during it and after it.
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let counting = scope.spawn(|| {
                let mut client = server.client();
                let mut count = 0;
                while !is_over.load(Ordering::Relaxed) {
                    client.call(&["INCR", "count"]);
                    count += 1;
                }
                count
            });
            rewrite(&server);
            is_over.store(true, Ordering::Relaxed);
            acknowledged += counting.join().unwrap();
        });
        let files = manifest_in(to);
        assert!(
            files.starts_with(&format!("file {want}base.rdb ")),
            "{files}"
        );
        client.call(&["SET", "last", want]);
        assert_eq!(text(&client.call(&["CONFIG", "REWRITE"])), "OK");
        let before = digest(&server);
        server.kill();
        check_folder(&to.join("appendonlydir"));
        server.start_again();
        assert_eq!(digest(&server), before);
        client = server.client();
        let count = text(&client.call(&["GET", "count"]));
        assert_eq!(count, acknowledged.to_string());
    }
}

#[test]
fn where_it_cannot_move_it_stays() {
    let mut server = start(Kind::Ours, "enable-protected-configs yes\n");
    let new = server.dir().join("new");
    fs::create_dir_all(new.join("appendonlydir")).unwrap();
    fs::write(new.join("appendonlydir/appendonly.aof.manifest"), "x\n").unwrap();
    let mut client = server.client();
    client.call(&["SET", "a", "1"]);
    set(&mut client, "dir", new.to_str().unwrap());
    let reply = text(&client.call(&["BGREWRITEAOF"]));
    assert_eq!(reply, "Background append only file rewriting started");
    wait_for("the rewrite has failed", secs(20), || {
        let info = text(&client.call(&["INFO", "persistence"]));
        expect_that(info.contains("aof_last_bgrewrite_status:err"), || {
            info.clone()
        })
    });
    assert_eq!(text(&client.call(&["SET", "b", "2"])), "OK");
    server.kill();
    check(&server);
    server.start_again();
    let mut client = server.client();
    assert_eq!(text(&client.call(&["MGET", "a", "b"])), "1 2");
}

#[test]
fn a_replica_appends_what_its_master_sends() {
    let master = start_server(Kind::Real, "");
    write(
        &mut master.client(),
        &mut Commands::of(76).with_chance(),
        300,
    );
    let mut replica = start(Kind::Ours, &replica_of(&master));
    wait_until_equal(&master, &replica);
    write(
        &mut master.client(),
        &mut Commands::of(77).with_chance(),
        500,
    );
    let mut client = master.client();
    for line in ["MULTI", "SET a 1", "PUBLISH c m", "SET b 2", "EXEC"] {
        client.call(&line.split(' ').collect::<Vec<_>>());
    }
    wait_until_equal(&master, &replica);
    wait_for_rewrite(&replica);
    let before = digest(&replica);
    replica.kill();
    check(&replica);
    for kind in [Kind::Real, Kind::Ours] {
        assert_eq!(digest(&start_on(kind, &replica, "")), before, "{kind:?}");
    }
}

#[test]
fn clients_hear_loading_meanwhile() {
    /// Enough for a while, in a release build too.
    const COMMANDS: usize = 400_000;
    let mut server = damaged("", |bytes| {
        for n in 0..COMMANDS {
            let key = format!("k{n}");
            encode_request(&["SET", &key, &"x".repeat(50)], bytes);
        }
    });
    server.process.start_again();
    let mut replies: Vec<String> = Vec::new();
    wait_for("it answers", secs(60), || {
        let mut client = Client::try_to(server.port()).map_err(|error| error.to_string())?;
        let reply = client
            .try_call(&["GET", "k1"])
            .map_err(|error| error.to_string())?;
        replies.push(text(&reply));
        expect_that(!text(&reply).starts_with("LOADING"), || text(&reply))
    });
    assert_eq!(replies[0], "LOADING Redis is loading the dataset in memory");
    assert_eq!(replies.pop().unwrap(), "x".repeat(50));
    let keys = text(&server.client().call(&["DBSIZE"]));
    assert_eq!(keys, (COMMANDS + 4).to_string());
}

#[test]
fn it_is_loaded_again_by_command() {
    let server = start(Kind::Ours, "rename-command DEL \"\"\n");
    write(
        &mut server.client(),
        &mut Commands::of(78).with_chance(),
        500,
    );
    server.client().call(&["SET", "gone", "1", "PX", "1"]);
    wait_for("the key has expired", secs(10), || {
        let file = fs::read_to_string(last_file(&server)).unwrap();
        expect_that(file.contains("DEL\r\n$4\r\ngone"), || file.clone())
    });
    let before = digest(&server);
    assert_eq!(text(&server.client().call(&["DEBUG", "LOADAOF"])), "OK");
    assert_eq!(digest(&server), before);
    server.client().call(&["SET", "more", "1"]);
    let before = digest(&server);
    assert_eq!(text(&server.client().call(&["DEBUG", "LOADAOF"])), "OK");
    assert_eq!(digest(&server), before);
    check(&server);
}

#[test]
fn it_is_loaded_by_command_where_it_is_not_kept() {
    let sizes = [Kind::Real, Kind::Ours].map(|kind| {
        let server = start_server(kind, "");
        let mut client = server.client();
        write(&mut client, &mut Commands::of(79).with_chance(), 500);
        let before = digest(&server);
        rewrite(&server);
        client.call(&["SET", "later", "1"]);
        assert_eq!(text(&client.call(&["DEBUG", "LOADAOF"])), "OK");
        assert_eq!(digest(&server), before, "{kind:?}");
        let loaded = text(&client.call(&["DBSIZE"]));
        // It is not kept from now on either.
        client.call(&["SET", "later", "1"]);
        assert_eq!(text(&client.call(&["DEBUG", "LOADAOF"])), "OK");
        assert_eq!(digest(&server), before, "{kind:?}");
        assert_eq!(server.info("aof_enabled").as_deref(), Some("0"));
        loaded
    });
    assert_eq!(sizes[0], sizes[1]);
}

/// A server of ours that has ended, whose last file is `damage`d.
fn damaged(lines: &str, damage: impl FnOnce(&mut Vec<u8>)) -> ServerNode {
    let mut server = start(Kind::Ours, lines);
    let mut client = server.client();
    for line in ["SET a 1", "SET b 2", "MULTI", "SET c 3", "SET d 4", "EXEC"] {
        client.call(&line.split(' ').collect::<Vec<_>>());
    }
    server.kill();
    let path = last_file(&server);
    let mut bytes = fs::read(&path).unwrap();
    damage(&mut bytes);
    fs::write(path, bytes).unwrap();
    server
}

/// Starts a server that must refuse to; what it said.
fn refused(mut server: ServerNode) -> (ServerNode, String) {
    server.process.start_again();
    let status = server.process.wait(secs(10));
    assert!(!status.success());
    let log = server.process.log();
    (server, log)
}

#[test]
fn an_incomplete_end_is_cut_off() {
    // At the end of the transaction, and inside it: it is dropped as a whole.
    for (cut, keys) in [(1, "2"), (20, "2"), (70, "2")] {
        let mut server = damaged("", |bytes| bytes.truncate(bytes.len() - cut));
        server.start_again();
        assert_eq!(text(&server.client().call(&["DBSIZE"])), keys, "{cut}");
        let log = server.process.log();
        assert!(
            log.contains("loaded anyway because aof-load-truncated is enabled"),
            "{log}"
        );
        assert!(
            log.contains("Truncating the AOF appendonly.aof.1.incr.aof at offset 77"),
            "{log}"
        );
        server.client().call(&["SET", "e", "5"]);
        server.kill();
        check(&server);
        let loader = start_on(Kind::Real, &server, "");
        assert_eq!(
            text(&loader.client().call(&["MGET", "a", "d", "e"])),
            "1 (nil) 5"
        );
    }
}

#[test]
fn an_incomplete_end_is_refused_where_that_is_configured() {
    let server = damaged("aof-load-truncated no\n", |bytes| {
        bytes.truncate(bytes.len() - 1)
    });
    let path = last_file(&server);
    let before = fs::read(&path).unwrap();
    let (_server, log) = refused(server);
    assert!(
        log.contains("Unexpected end of file reading the append only file"),
        "{log}"
    );
    assert!(log.contains("redis-check-aof --fix"), "{log}");
    assert_eq!(fs::read(&path).unwrap(), before, "it is not touched");
}

#[test]
fn a_damaged_middle_is_refused_with_its_place() {
    let server = damaged("", |bytes| bytes[50] = b'!');
    let (_server, log) = refused(server);
    assert!(
        log.contains("Bad file format reading the append only file"),
        "{log}"
    );
    assert!(
        log.contains("appendonly.aof.1.incr.aof at byte 50"),
        "{log}"
    );
    assert!(log.contains("redis-check-aof --fix"), "{log}");
}

/// A server of ours that has ended, whose increment is torn, with another of these bytes behind it.
fn torn_before_another(lines: &str, other: &str) -> ServerNode {
    let server = damaged(lines, |bytes| bytes.truncate(bytes.len() - 1));
    let folder = folder(&server);
    let listed = OpenOptions::new()
        .append(true)
        .open(folder.join("appendonly.aof.manifest"));
    listed
        .unwrap()
        .write_all(b"file appendonly.aof.2.incr.aof seq 2 type i\n")
        .unwrap();
    fs::write(folder.join("appendonly.aof.2.incr.aof"), other).unwrap();
    server
}

#[test]
fn an_incomplete_file_before_the_last_is_refused() {
    let more = "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n";
    let server = torn_before_another("", more);
    let torn = folder(&server).join("appendonly.aof.1.incr.aof");
    let before = fs::read(&torn).unwrap();
    let (_server, log) = refused(server);
    assert!(log.contains("is not the last file"), "{log}");
    assert_eq!(fs::read(torn).unwrap(), before);
}

/// What a power cut leaves while a rewrite begins.
#[test]
fn an_incomplete_end_with_empty_files_behind_it_is_cut_off() {
    let mut server = torn_before_another("", "");
    server.start_again();
    let mut client = server.client();
    assert_eq!(text(&client.call(&["MGET", "a", "b", "c"])), "1 2 (nil)");
    assert_eq!(text(&client.call(&["SET", "e", "5"])), "OK");
    server.kill();
    check(&server);
    let loader = start_on(Kind::Real, &server, "");
    assert_eq!(
        text(&loader.client().call(&["MGET", "a", "d", "e"])),
        "1 (nil) 5"
    );
    let server = torn_before_another("aof-load-truncated no\n", "");
    let (_server, log) = refused(server);
    assert!(log.contains("appendonly.aof.1.incr.aof"), "{log}");
    assert!(
        log.contains("Unexpected end of file reading the append only file"),
        "{log}"
    );
}

#[test]
fn what_cannot_be_loaded_is_named() {
    let server = damaged("", |bytes| {
        bytes.extend(b"*3\r\n$5\r\nXTRIM\r\n$6\r\nmy key\r\n$1\r\nx\r\n");
    });
    let (_server, log) = refused(server);
    assert!(
        log.contains("command \"XTRIM\" for key \"my key\" in database 0"),
        "{log}"
    );
    // The payload of a version that is still to come.
    let server = damaged("", |bytes| {
        bytes.extend(
            b"*4\r\n$7\r\nRESTORE\r\n$1\r\nr\r\n$1\r\n0\r\n$13\r\n\0\x01v\x63\0........\r\n",
        );
    });
    let (_server, log) = refused(server);
    assert!(
        log.contains("command \"RESTORE\" for key \"r\" in database 0"),
        "{log}"
    );
    let server = damaged("", |bytes| {
        bytes.splice(0..0, *b"REDIS0010\xff\0\0\0\0\0\0\0\0");
    });
    let (_server, log) = refused(server);
    assert!(
        log.contains("incr.aof at byte 0: an RDB, which only the first file may hold"),
        "{log}"
    );
    let server = damaged("", |_| {});
    fs::remove_file(last_file(&server)).unwrap();
    let (server, log) = refused(server);
    assert!(
        log.contains("appendonly.aof.1.incr.aof: No such file"),
        "{log}"
    );
    fs::write(folder(&server).join("appendonly.aof.manifest"), "file x\n").unwrap();
    let (_server, log) = refused(server);
    assert!(
        log.contains("line 1 of the AOF manifest: Invalid AOF manifest file format"),
        "{log}"
    );
}

#[test]
fn a_rewrite_without_rdb_writes_commands() {
    let mut ours = start(Kind::Ours, "aof-use-rdb-preamble no\n");
    let mut client = ours.client();
    for (add, width) in [("RPUSH", 1), ("SADD", 1), ("HSET", 2), ("ZADD", 2)] {
        // A small one, and one that is too large to be written at once.
        for (key, items) in [("small", 3), ("large", 3000)] {
            let mut line = vec![add.to_owned(), format!("{key}:{add}")];
            for n in 0..items {
                line.push(format!("{n}.5"));
                line.extend((1..width).map(|_| format!("value {n} of some length")));
            }
            crate::data::send(&mut client, &line);
        }
        client.call(&["PEXPIREAT", &format!("large:{add}"), "99999999999999"]);
    }
    client.call(&["SET", "long", &"x".repeat(100_000)]);
    client.call(&["SELECT", "3"]);
    client.call(&["SET", "n", "17", "PXAT", "99999999999999"]);
    let before = digest(&ours);
    rewrite(&ours);
    assert!(manifest(&ours).contains("appendonly.aof.2.base.aof seq 2 type b"));
    check(&ours);
    let base = fs::read(folder(&ours).join("appendonly.aof.2.base.aof")).unwrap();
    assert!(base.starts_with(b"*"), "commands only");
    ours.client().call(&["SET", "after", "1"]);
    ours.client().call(&["DEL", "after"]);
    ours.kill();
    let real = start_on(Kind::Real, &ours, "aof-use-rdb-preamble no\n");
    assert_eq!(digest(&real), before, "as redis-server loads it");
    ours.start_again();
    assert_eq!(digest(&ours), before, "as ours does");
}

#[test]
fn a_client_that_sends_no_more_still_hears_of_its_write() {
    for kind in [Kind::Real, Kind::Ours] {
        let server = start(kind, "appendfsync always\n");
        for round in 0..100 {
            let mut client = server.client();
            client.send(&["SET", "a", "1"]).unwrap();
            client.stream().shutdown(Shutdown::Write).unwrap();
            let reply = client.receive();
            let reply = reply.unwrap_or_else(|error| panic!("{kind:?}, round {round}: {error}"));
            assert_eq!(text(&reply), "OK", "{kind:?}");
            client.wait_for_close(secs(5)).unwrap();
        }
    }
}

#[test]
fn a_client_that_waits_and_sends_no_more_still_hears_of_its_write() {
    for kind in [Kind::Real, Kind::Ours] {
        let server = start(kind, "appendfsync always\n");
        let mut other = server.client();
        for round in 0..50 {
            let mut client = server.client();
            let mut requests = Vec::new();
            encode_request(&["SET", "a", "1"], &mut requests);
            encode_request(&["BLMOVE", "l", "m", "LEFT", "LEFT", "0"], &mut requests);
            client.send_raw(&requests).unwrap();
            client.stream().shutdown(Shutdown::Write).unwrap();
            let reply = client.receive();
            let reply = reply.unwrap_or_else(|error| panic!("{kind:?}, round {round}: {error}"));
            assert_eq!(text(&reply), "OK", "{kind:?}");
            client.wait_for_close(secs(5)).unwrap();
            // What it waited for is for others.
            assert_eq!(text(&other.call(&["RPUSH", "l", "v"])), "1", "{kind:?}");
            assert_eq!(text(&other.call(&["LPOP", "l"])), "v", "{kind:?}");
        }
    }
}

#[test]
fn a_folder_that_was_renamed_is_still_written_to() {
    for kind in [Kind::Real, Kind::Ours] {
        let server = start(kind, "enable-protected-configs yes\n");
        let [old, new] = ["old", "new"].map(|name| server.dir().join(name));
        fs::create_dir(&old).unwrap();
        let mut client = server.client();
        set(&mut client, "dir", old.to_str().unwrap());
        rewrite(&server);
        fs::rename(&old, &new).unwrap();
        let manifest = || {
            let path = new.join("appendonlydir/appendonly.aof.manifest");
            fs::read_to_string(path).unwrap()
        };
        let before = manifest();
        client.call(&["SET", "k", "v"]);
        assert_eq!(text(&client.call(&["SAVE"])), "OK");
        assert!(new.join("dump.rdb").exists(), "{kind:?}");
        rewrite(&server);
        assert_ne!(manifest(), before, "{kind:?}");
    }
}

#[test]
fn messages_are_not_kept() {
    let files = [Kind::Real, Kind::Ours].map(|kind| {
        let server = start(kind, "appendfsync always\n");
        let mut client = server.client();
        for line in [
            "PUBLISH c m",
            "SPUBLISH c m",
            "SET a 1",
            "MULTI",
            "SPUBLISH c m",
            "SET b 1",
            "PUBLISH c m",
            "EXEC",
        ] {
            client.call(&line.split(' ').collect::<Vec<_>>());
        }
        fs::read_to_string(last_file(&server)).unwrap()
    });
    assert!(
        !files[1].to_ascii_lowercase().contains("publish"),
        "{files:?}"
    );
    assert_eq!(files[0], files[1]);
}

/// It is the append-only file that waits for the disk, and only who hears of data waits with it.
#[test]
fn a_slow_disk_delays_nobody_who_sees_no_data() {
    let server = start(Kind::Ours, "enable-debug-command yes\n");
    // Those who wait for the disk do so for longer than others wait for a reply.
    let patient = || Client::try_to_within(server.port(), secs(30)).unwrap();
    let (mut writer, mut reader) = (patient(), patient());
    let (mut other, mut subscriber) = (server.client(), server.client());
    subscriber.call(&["SUBSCRIBE", "c"]);
    // Long enough for a debug build on a busy machine.
    assert_eq!(other.ask("DEBUG AOF-FLUSH-SLEEP 5000000"), "OK");
    writer.send(&["SET", "k", "1"]).unwrap();
    wait_for("it is on its way", secs(5), || {
        let info = other.ask("INFO persistence");
        expect_that(!info.contains("aof_buffer_length:0"), || info)
    });
    reader.send(&["GET", "k"]).unwrap();
    assert_eq!(other.ask("PING"), "PONG");
    assert_eq!(other.ask("ECHO heard"), "heard");
    assert_eq!(other.ask("PUBLISH c m"), "1");
    assert_eq!(texts(&subscriber.receive().unwrap()), ["message", "c", "m"]);
    other.call(&["HELLO", "2"]);
    for client in [&writer, &reader] {
        client.stream().set_nonblocking(true).unwrap();
        let found = client.stream().peek(&mut [0]);
        assert_eq!(found.unwrap_err().kind(), ErrorKind::WouldBlock);
        client.stream().set_nonblocking(false).unwrap();
    }
    let info = other.ask("INFO persistence");
    assert!(!info.contains("aof_buffer_length:0"), "{info}");
    assert_eq!(text(&writer.receive().unwrap()), "OK");
    assert_eq!(text(&reader.receive().unwrap()), "1");
}

#[test]
fn what_a_promoted_replica_acknowledges_is_in_its_first_file() {
    let master = start_server(Kind::Real, "");
    let mut client = master.client();
    for n in 0..20 {
        client.call(&["SET", &format!("k{n}"), "v"]);
    }
    let lines = "appendfsync always\nrdb-key-save-delay 200000\n";
    let mut replica = start(Kind::Ours, lines);
    follow(&replica, &master);
    wait_for_info(&replica, "master_link_status", "up");
    promote(&replica);
    let (mut writer, mut other) = (replica.client(), replica.client());
    writer.send(&["SET", "acknowledged", "1"]).unwrap();
    assert_eq!(other.ask("PING"), "PONG");
    let writing = replica.info("aof_rewrite_in_progress");
    assert_eq!(writing.as_deref(), Some("1"), "nobody waits for that");
    assert_eq!(text(&writer.receive().unwrap()), "OK");
    replica.kill();
    replica.start_again();
    assert_eq!(replica.client().ask("GET acknowledged"), "1");
    assert_eq!(replica.client().ask("DBSIZE"), "21");
}

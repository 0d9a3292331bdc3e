//! A sentinel that cannot write its state neither votes nor leads, says why, and recovers when it can again. A data
//! server that cannot write its append-only file refuses writes, and goes on when there is room.
//!
//! The disk is full for one process only: a limit on the size of its files, which it meets as a failing write.

use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::Signal;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tempfile::TempDir;

use crate::data::{full_resyncs, replica_of};
use crate::support::http::Web;
use crate::support::{
    Client, Kind, NAME, Port, Process, expect_that, redis_check_aof, secs, start_server, text,
    texts, wait_for,
};

/// Runs a command with a limit of so many KiB. The log goes through `cat`, which has none.
const SCRIPT: &str = r#"exec > >(cat) 2>&1; trap '' XFSZ; ulimit -S -f "$1"; shift; exec "$@""#;

/// The program as a command that meets a full disk at so many KiB of one file.
fn limited(program: &Command, kib: &str) -> Command {
    let mut command = Command::new("bash");
    command
        .args(["-c", SCRIPT, "bash", kib])
        .arg(program.get_program())
        .args(program.get_args());
    command
}

/// There is room again.
fn make_room(process: &Process) {
    let pid = i32::try_from(process.pid()).expect("process ids fit in i32");
    let no_limit = Rlimit {
        current: None,
        maximum: None,
    };
    prlimit(Pid::from_raw(pid), Resource::Fsize, no_limit).expect("our own child's soft limit");
}

struct Limited {
    process: Process,
    port: Port,
    dir: TempDir,
}

impl Limited {
    /// The path of a file in its folder.
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Its log takes a way of its own.
    fn wait_for_log(&self, words: &str) {
        wait_for(words, secs(5), || {
            let log = self.process.log();
            expect_that(log.contains(words), || log)
        });
    }
}

fn start() -> Limited {
    let (port, master) = (Port::reserve(), Port::reserve());
    let dir = TempDir::new().expect("a temporary folder");
    let config = dir.path().join("sentinel.conf");
    let text = format!(
        "port {}\nbind 127.0.0.1\nsentinel monitor {NAME} 127.0.0.1 {} 1\n",
        port.number(),
        master.number()
    );
    std::fs::write(&config, text).expect("a configuration can be written");
    // The configuration fits at the start and not for long.
    let command = limited(&Kind::Ours.sentinel(&config), "8");
    let process = Process::start("sentinel", dir.path(), command);
    wait_for("the sentinel answers", secs(10), || {
        Client::try_to(port.number())
            .and_then(|mut client| client.try_call(&["PING"]))
            .map_err(|error| error.to_string())
    });
    Limited { process, port, dir }
}

/// Asks for a vote about the master on `master` in `epoch`, for a candidate that exists only here.
fn is_voted_for(client: &mut Client, master: u16, epoch: u64) -> bool {
    let candidate = "dddddddddddddddddddddddddddddddddddddddd";
    let reply = client.call(&[
        "SENTINEL",
        "IS-MASTER-DOWN-BY-ADDR",
        "127.0.0.1",
        &master.to_string(),
        &epoch.to_string(),
        candidate,
    ]);
    texts(&reply)
        .get(1)
        .is_some_and(|leader| leader == candidate)
}

#[test]
fn no_vote_without_a_write_and_votes_again_with_it() {
    let limited = start();
    let mut client = Client::to(limited.port.number());
    let address = client.call(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME]);
    let master: u16 = texts(&address)[1].parse().expect("a port");
    assert!(
        is_voted_for(&mut client, master, 1),
        "it votes while it can write"
    );
    // Grows the state until it does not fit any more.
    wait_for("a save fails", secs(30), || {
        for i in 0..100 {
            client.call(&[
                "SENTINEL",
                "MONITOR",
                &format!("filler{i}"),
                "127.0.0.1",
                &format!("{}", 1000 + i),
                "2",
            ]);
        }
        let reply = text(&client.call(&["SENTINEL", "FLUSHCONFIG"]));
        expect_that(reply.starts_with("ERR Failed to save config file"), || {
            reply.clone()
        })
    });
    assert!(
        !is_voted_for(&mut client, master, 2),
        "it voted without a write"
    );
    wait_for("INFO and log say why", secs(5), || {
        let info = text(&client.call(&["INFO", "sentinel"]));
        let log = limited.process.log();
        let said = info.contains("File too large") && log.contains("File too large");
        expect_that(said, || format!("{info}\n{log}"))
    });
    make_room(&limited.process);
    wait_for("it votes again", secs(20), || {
        expect_that(is_voted_for(&mut client, master, 3), || {
            "no vote".to_owned()
        })
    });
}

/// A data server whose files may have 64 KiB each.
fn start_data_server(lines: &str) -> Limited {
    let port = Port::reserve();
    let dir = TempDir::new().expect("a temporary folder");
    let config = dir.path().join("server.conf");
    let settings = format!(
        "port {}\nbind 127.0.0.1\ndir {}\nsave \"\"\nappendonly yes\n{lines}",
        port.number(),
        dir.path().display()
    );
    std::fs::write(&config, settings).expect("a configuration can be written");
    let command = limited(&Kind::Ours.server(&config), "64");
    let process = Process::start("server", dir.path(), command);
    wait_for("the server answers", secs(10), || {
        let reply = Client::try_to(port.number())
            .and_then(|mut client| client.try_call(&["PING"]))
            .map_err(|error| error.to_string())?;
        // One that still loads says so.
        expect_that(text(&reply) == "PONG", || text(&reply))
    });
    Limited { process, port, dir }
}

/// Writes keys until that is refused; how many were acknowledged.
fn fill(client: &mut Client) -> usize {
    let value = "x".repeat(1000);
    for n in 0..200 {
        let reply = client.try_call(&["SET", &format!("k{n}"), &value]);
        match reply.as_ref().map(text) {
            Ok(reply) if reply == "OK" => {}
            Ok(reply) => {
                assert_eq!(
                    reply,
                    "MISCONF Errors writing to the AOF file: File too large"
                );
                return n;
            }
            // The server has ended, without an answer.
            Err(_) => return n,
        }
    }
    panic!("the disk is never full");
}

#[test]
fn writes_are_refused_until_there_is_room() {
    let mut limited = start_data_server("");
    let mut client = Client::to(limited.port.number());
    let count = fill(&mut client);
    assert_eq!(
        text(&client.call(&["GET", "k0"])).len(),
        1000,
        "reads go on"
    );
    assert!(text(&client.call(&["PING"])).starts_with("MISCONF "));
    let info = text(&client.call(&["INFO", "persistence"]));
    assert!(info.contains("aof_last_write_status:err"), "{info}");
    make_room(&limited.process);
    wait_for("writes are taken again", secs(10), || {
        let reply = text(&client.call(&["SET", "last", "1"]));
        expect_that(reply == "OK", || reply.clone())
    });
    limited.wait_for_log("AOF write error looks solved, Redis can write again.");
    limited.process.kill();
    let mut check = redis_check_aof();
    check.arg(limited.path("appendonlydir/appendonly.aof.manifest"));
    assert!(check.output().expect("it runs").status.success());
    limited.process.start_again();
    wait_for("everything acknowledged is there", secs(10), || {
        let mut client =
            Client::try_to(limited.port.number()).map_err(|error| error.to_string())?;
        let keys = client
            .try_call(&["DBSIZE"])
            .map_err(|error| error.to_string())?;
        expect_that(text(&keys) == (count + 1).to_string(), || text(&keys))
    });
}

#[test]
fn a_shutdown_writes_what_has_found_room() {
    let mut limited = start_data_server("");
    let mut client = Client::to(limited.port.number());
    // The last write that was answered found no room.
    let count = fill(&mut client);
    make_room(&limited.process);
    // Sooner than the next attempt would be.
    let status = limited.process.terminate(secs(10));
    assert_eq!(status.code(), Some(0), "{}", limited.process.log());
    limited.process.start_again();
    wait_for_keys(&limited, &count.to_string());
}

#[test]
fn a_shutdown_without_room_tells_what_is_lost() {
    let mut limited = start_data_server("");
    let mut client = Client::to(limited.port.number());
    let count = fill(&mut client);
    let status = limited.process.terminate(secs(10));
    let log = limited.process.log();
    assert_eq!(status.code(), Some(0), "{log}");
    let lost = "bytes could not be written to the AOF file (File too large): they are lost";
    assert!(log.contains(lost), "{log}");
    limited.process.start_again();
    wait_for_keys(&limited, &(count - 1).to_string());
}

#[test]
fn a_rewrite_makes_room() {
    let mut limited = start_data_server("");
    let mut client = Client::to(limited.port.number());
    let count = fill(&mut client);
    rewrite_ends(&limited, "ok");
    let info = text(&client.call(&["INFO", "persistence"]));
    assert!(info.contains("aof_last_write_status:ok"), "{info}");
    assert_eq!(text(&client.call(&["SET", "last", "1"])), "OK");
    limited.process.kill();
    let mut check = redis_check_aof();
    check.arg(limited.path("appendonlydir/appendonly.aof.manifest"));
    assert!(check.output().expect("it runs").status.success());
    limited.process.start_again();
    // The write that failed was acknowledged, and is in the base.
    wait_for_keys(&limited, &(count + 1).to_string());
}

#[test]
fn a_file_without_room_can_be_given_up_for_another() {
    let mut limited = start_data_server("enable-protected-configs yes\n");
    let mut client = Client::to(limited.port.number());
    let count = fill(&mut client);
    let mut set = |name: &str, value: &str| {
        assert_eq!(text(&client.call(&["CONFIG", "SET", name, value])), "OK");
    };
    set("appendonly", "no");
    let other = limited.path("other");
    std::fs::create_dir(&other).expect("there is room");
    set("dir", &other.to_string_lossy());
    set("appendonly", "yes");
    assert_eq!(text(&client.call(&["SET", "last", "1"])), "OK");
    wait_for("the first base is complete", secs(20), || {
        let info = text(&client.call(&["INFO", "persistence"]));
        let is_complete = ["in_progress:0", "scheduled:0"]
            .iter()
            .all(|end| info.contains(&format!("aof_rewrite_{end}")));
        expect_that(is_complete, || info.clone())
    });
    assert_eq!(text(&client.call(&["CONFIG", "REWRITE"])), "OK");
    limited.process.kill();
    limited.process.start_again();
    wait_for_keys(&limited, &(count + 1).to_string());
}

#[test]
fn what_must_be_durable_ends_the_server_instead() {
    let mut limited = start_data_server("appendfsync always\n");
    let count = fill(&mut Client::to(limited.port.number()));
    assert_eq!(limited.process.wait(secs(10)).code(), Some(1));
    limited.wait_for_log("Can't recover from AOF write error");
    let mut check = redis_check_aof();
    check.arg(limited.path("appendonlydir/appendonly.aof.manifest"));
    assert!(check.output().expect("it runs").status.success());
    let path = limited.path("appendonlydir/appendonly.aof.1.incr.aof");
    let file = std::fs::read_to_string(path).expect("it is there");
    assert_eq!(file.matches("\r\nSET\r\n").count(), count);
}

#[test]
fn a_save_that_puts_off_fsyncs_lets_no_write_be_lost() {
    const SETTINGS: &str =
        "appendfsync always\nno-appendfsync-on-rewrite yes\nrdb-key-save-delay 10000000\n";
    let mut limited = start_data_server(SETTINGS);
    let mut client = Client::to(limited.port.number());
    assert_eq!(client.ask("SET first 1"), "OK");
    assert_eq!(client.ask("BGSAVE"), "Background saving started");
    let count = fill(&mut client);
    // While the save goes on.
    assert_eq!(limited.process.wait(secs(5)).code(), Some(1));
    let path = limited.path("appendonlydir/appendonly.aof.1.incr.aof");
    let file = std::fs::read_to_string(path).expect("it is there");
    assert_eq!(file.matches("\r\nSET\r\n").count(), count + 1);
}

#[test]
fn a_rewrite_that_finds_no_room_changes_nothing() {
    let mut limited = start_data_server("auto-aof-rewrite-percentage 0\nrdbcompression no\n");
    let mut client = Client::to(limited.port.number());
    let mut set = |words: &[&str]| assert_eq!(text(&client.call(words)), "OK");
    // More than fits into one file, in two increments.
    let value = "x".repeat(1000);
    for n in 0..40 {
        set(&["SET", &format!("k{n}"), &value]);
    }
    rewrite_ends(&limited, "ok");
    for n in 40..80 {
        set(&["SET", &format!("k{n}"), &value]);
    }
    for _ in 0..3 {
        rewrite_ends(&limited, "err");
    }
    let mut client = Client::to(limited.port.number());
    assert_eq!(text(&client.call(&["SET", "last", "1"])), "OK");
    nothing_is_left_over(&limited);
    make_room(&limited.process);
    rewrite_ends(&limited, "ok");
    limited.process.kill();
    limited.process.start_again();
    wait_for_keys(&limited, "81");
}

/// No file that was begun and given up is there.
fn nothing_is_left_over(limited: &Limited) {
    let left: Vec<_> = std::fs::read_dir(limited.path(""))
        .expect("it is there")
        .map(|entry| entry.expect("readable").file_name())
        .filter(|name| name.to_string_lossy().starts_with("temp-"))
        .collect();
    assert_eq!(left, [""; 0]);
}

/// It has started again and holds so many keys.
fn wait_for_keys(limited: &Limited, count: &str) {
    wait_for("what was saved is there", secs(10), || {
        let mut client =
            Client::try_to(limited.port.number()).map_err(|error| error.to_string())?;
        let keys = client
            .try_call(&["DBSIZE"])
            .map_err(|error| error.to_string())?;
        expect_that(text(&keys) == count, || text(&keys))
    });
}

/// Rewrites the append-only file, with this result.
fn rewrite_ends(limited: &Limited, status: &str) {
    let mut client = Client::to(limited.port.number());
    let reply = text(&client.call(&["BGREWRITEAOF"]));
    assert_eq!(reply, "Background append only file rewriting started");
    wait_for("the rewrite ends", secs(20), || {
        let info = text(&client.call(&["INFO", "persistence"]));
        let ended = info.contains("aof_rewrite_in_progress:0");
        expect_that(
            ended && info.contains(&format!("bgrewrite_status:{status}")),
            || info.clone(),
        )
    });
}

#[test]
fn a_replica_without_room_leaves_its_master_until_there_is_some() {
    let master = start_server(Kind::Real, "");
    let replica = start_data_server(&replica_of(&master));
    let state = |client: &mut Client| {
        let info = text(&client.call(&["INFO", "replication"]));
        let status = info.contains("master_link_status:up");
        (status, text(&client.call(&["DBSIZE"])))
    };
    let mut client = Client::to(replica.port.number());
    wait_for(
        "it follows, and its first file is complete",
        secs(20),
        || {
            let info = text(&client.call(&["INFO", "persistence"]));
            let is_busy =
                info.contains("aof_rewrite_in_progress:1") || info.contains("scheduled:1");
            expect_that(state(&mut client).0 && !is_busy, || info.clone())
        },
    );
    let mut to_master = master.client();
    for n in 0..200 {
        to_master.call(&["SET", &format!("k{n}"), &"x".repeat(1000)]);
    }
    wait_for("it has left", secs(20), || {
        let found = state(&mut client);
        let log = replica.process.log();
        let has_said_why = log.contains("the append-only file cannot be written: File too large");
        expect_that(!found.0 && has_said_why, || format!("{found:?} {log}"))
    });
    make_room(&replica.process);
    wait_for("it is back with everything", secs(20), || {
        let found = state(&mut client);
        expect_that(found == (true, "200".to_owned()), || format!("{found:?}"))
    });
}

/// More than fits into one file.
fn fill_beyond(client: &mut Client) {
    for n in 0..80 {
        let set = ["SET", &format!("k{n}"), &"x".repeat(1000)];
        assert_eq!(text(&client.call(&set)), "OK");
    }
}

/// So often that it would take a pause of a minute if there were a file already.
fn wait_until_it_has_failed(client: &mut Client) {
    wait_for("the first base has failed", secs(20), || {
        let info = text(&client.call(&["INFO", "persistence"]));
        let failed = info.contains("aof_rewrites_consecutive_failures:3");
        expect_that(failed && info.contains("aof_last_write_status:err"), || {
            info
        })
    });
}

#[test]
fn a_first_file_that_finds_no_room_stops_writes_and_a_shutdown() {
    let mut limited = start_data_server("appendonly no\nrdbcompression no\n");
    let mut client = Client::to(limited.port.number());
    fill_beyond(&mut client);
    assert_eq!(client.ask("CONFIG SET appendonly yes"), "OK");
    wait_until_it_has_failed(&mut client);
    const MISCONF: &str = "MISCONF Errors writing to the AOF file: File too large";
    assert_eq!(client.ask("SET last 1"), MISCONF);
    assert_eq!(client.ask("STRLEN k0"), "1000", "reads go on");
    assert_eq!(client.ask("PING"), "PONG", "it is no reason to fail over");
    const FAILED: &str = "ERR Errors trying to SHUTDOWN. Check logs.";
    assert_eq!(client.ask("SHUTDOWN"), FAILED);
    limited.wait_for_log("The AOF file has no base yet, can't exit (File too large)");
    nothing_is_left_over(&limited);
    make_room(&limited.process);
    wait_for("writes are taken again", secs(10), || {
        let reply = client.ask("SET last 1");
        expect_that(reply == "OK", || reply)
    });
    assert_eq!(client.ask("CONFIG REWRITE"), "OK");
    let status = limited.process.terminate(secs(10));
    assert_eq!(status.code(), Some(0), "{}", limited.process.log());
    limited.process.start_again();
    wait_for_keys(&limited, "81");
}

#[test]
fn without_saving_a_first_file_without_room_holds_nobody() {
    let mut limited = start_data_server("appendonly no\nrdbcompression no\n");
    let mut client = Client::to(limited.port.number());
    fill_beyond(&mut client);
    assert_eq!(client.ask("CONFIG SET appendonly yes"), "OK");
    wait_until_it_has_failed(&mut client);
    client.send(&["SHUTDOWN", "NOSAVE"]).unwrap();
    client.wait_for_close(secs(10)).unwrap();
    assert_eq!(limited.process.wait(secs(10)).code(), Some(0));
}

#[test]
fn a_second_signal_ends_it_without_a_first_file() {
    let mut limited = start_data_server("appendonly no\nrdbcompression no\n");
    let mut client = Client::to(limited.port.number());
    fill_beyond(&mut client);
    assert_eq!(client.ask("CONFIG SET appendonly yes"), "OK");
    wait_until_it_has_failed(&mut client);
    limited.process.signal(Signal::SIGTERM);
    limited.wait_for_log("can't exit");
    assert_eq!(client.ask("PING"), "PONG", "it goes on");
    assert_eq!(limited.process.terminate(secs(10)).code(), Some(1));
    limited.wait_for_log("ending at once, without saving");
}

/// Whoever stops a server again when the file is there, as the log says, gets its data saved.
#[test]
fn a_second_signal_saves_when_the_first_file_is_there() {
    let mut server = start_data_server("appendonly no\nsave 3600 1\nrdb-key-save-delay 100000\n");
    let mut client = Client::to(server.port.number());
    for n in 0..50 {
        assert_eq!(client.ask(&format!("SET k{n} 1")), "OK");
    }
    let rewriting = |client: &mut Client, wanted: &str| {
        wait_for("the base", secs(20), || {
            let info = client.ask("INFO persistence");
            let field = format!("aof_rewrite_in_progress:{wanted}");
            expect_that(info.contains(&field), || info)
        });
    };
    assert_eq!(client.ask("CONFIG SET appendonly yes"), "OK");
    rewriting(&mut client, "1");
    for times in 1..3 {
        server.process.signal(Signal::SIGTERM);
        wait_for("it is refused", secs(10), || {
            let log = server.process.log();
            let refused = log.matches("Writing initial AOF, can't exit").count();
            expect_that(refused == times, || log)
        });
        assert_eq!(client.ask("PING"), "PONG", "it goes on");
    }
    assert_eq!(client.ask("CONFIG SET rdb-key-save-delay 0"), "OK");
    rewriting(&mut client, "0");
    assert_eq!(client.ask("CONFIG SET appendonly no"), "OK");
    assert_eq!(client.ask("SET last 1"), "OK");
    let status = server.process.terminate(secs(10));
    assert_eq!(status.code(), Some(0), "{}", server.process.log());
    server.process.start_again();
    wait_for_keys(&server, "51");
}

#[test]
fn with_always_no_room_beside_a_first_file_ends_only_that_attempt() {
    for put_off in ["no", "yes"] {
        let mut limited = start_data_server(&format!(
            "appendonly no\nappendfsync always\nno-appendfsync-on-rewrite {put_off}\nrdb-key-save-delay 100000\n"
        ));
        let mut client = Client::to(limited.port.number());
        for n in 0..50 {
            assert_eq!(client.ask(&format!("SET k{n} 1")), "OK");
        }
        assert_eq!(client.ask("CONFIG SET appendonly yes"), "OK");
        wait_for("the base is being written", secs(10), || {
            let info = client.ask("INFO persistence");
            expect_that(info.contains("aof_rewrite_in_progress:1"), || info)
        });
        let count = fill(&mut client);
        assert!(count > 50, "{count}: {}", limited.process.log());
        assert_eq!(client.ask("CONFIG SET rdb-key-save-delay 0"), "OK");
        make_room(&limited.process);
        wait_for("writes are taken again", secs(20), || {
            let reply = client.ask("SET last 1");
            expect_that(reply == "OK", || reply)
        });
        assert_eq!(client.ask("CONFIG REWRITE"), "OK");
        assert_eq!(limited.process.terminate(secs(10)).code(), Some(0));
        limited.process.start_again();
        wait_for_keys(&limited, &(count + 1).to_string());
    }
}

#[test]
fn a_replica_without_room_for_all_data_leaves_its_master() {
    let master = start_server(Kind::Real, "");
    fill_beyond(&mut master.client());
    let replica = start_data_server(&format!("rdbcompression no\n{}", replica_of(&master)));
    let mut client = Client::to(replica.port.number());
    wait_until_it_has_failed(&mut client);
    let is_up = |client: &mut Client| client.ask("INFO replication").contains("link_status:up");
    wait_for("it has left", secs(10), || {
        expect_that(!is_up(&mut client), || "it follows".to_owned())
    });
    make_room(&replica.process);
    wait_for("it is back", secs(20), || {
        expect_that(is_up(&mut client), || replica.process.log())
    });
    assert_eq!(client.ask("DBSIZE"), "80");
    assert_eq!(full_resyncs(&master), 1);
}

/// Saves in the background, with this result.
fn save_ends(client: &mut Client, status: &str) {
    assert_eq!(text(&client.call(&["BGSAVE"])), "Background saving started");
    wait_for("the save ends", secs(20), || {
        let info = text(&client.call(&["INFO", "persistence"]));
        let ended = info.contains("rdb_bgsave_in_progress:0");
        let status = format!("rdb_last_bgsave_status:{status}");
        expect_that(ended && info.contains(&status), || info.clone())
    });
}

#[test]
fn a_save_that_finds_no_room_stops_writes_until_one_does() {
    const MISCONF: &str = "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to \
        disk. Commands that may modify the data set are disabled, because this instance is configured to report \
        errors during writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis \
        logs for details about the RDB error.";
    let mut limited = start_data_server("appendonly no\nsave 900 1000000\nrdbcompression no\n");
    let mut client = Client::to(limited.port.number());
    // A value of each type, and large enough together that they do not fit.
    let adds: &[&[&str]] = &[
        &["SET", "string"],
        &["RPUSH", "list"],
        &["SADD", "set"],
        &["HSET", "hash", "field"],
        &["ZADD", "sorted set", "1"],
    ];
    let value = "x".repeat(40_000);
    for line in adds {
        let reply = text(&client.call(&[*line, &[&value[..1_000]][..]].concat()));
        assert!(!reply.starts_with("ERR"), "{reply}");
    }
    save_ends(&mut client, "ok");
    let path = limited.path("dump.rdb");
    let before = std::fs::read(&path).expect("it was saved");
    for line in adds {
        client.call(&[*line, &[&value[..]][..]].concat());
    }
    client.call(&["SET", "another", &value]);
    save_ends(&mut client, "err");
    for line in adds {
        let reply = text(&client.call(&[*line, &["more"][..]].concat()));
        assert_eq!(reply, MISCONF, "{line:?}");
    }
    assert_eq!(text(&client.call(&["STRLEN", "another"])), "40000");
    assert_eq!(std::fs::read(&path).expect("it is there"), before);
    nothing_is_left_over(&limited);
    make_room(&limited.process);
    save_ends(&mut client, "ok");
    for line in adds {
        let reply = text(&client.call(&[*line, &["more"][..]].concat()));
        assert!(!reply.starts_with("MISCONF"), "{reply}");
    }
    let keys = text(&client.call(&["DBSIZE"]));
    save_ends(&mut client, "ok");
    limited.process.kill();
    limited.process.start_again();
    wait_for_keys(&limited, &keys);
}

/// For those who watch it over HTTP.
#[test]
fn what_cannot_be_saved_although_it_is_to_be_is_told() {
    let http = Port::reserve();
    let number = http.number();
    let limited = start_data_server(&format!(
        "appendonly no\nrdbcompression no\nhttp-port {number}\n"
    ));
    let is_told = |what: &str, flag: u8| {
        wait_for(what, secs(20), || {
            let metrics = Web::at(&http).get("/metrics").body;
            let mut lines = metrics.lines();
            let found = lines.find(|line| line.starts_with("sentinel_server_save_failing "));
            let wanted = format!("sentinel_server_save_failing {flag}");
            expect_that(found == Some(&wanted), || format!("{found:?}"))
        });
    };
    let mut client = Client::to(limited.port.number());
    fill_beyond(&mut client);
    save_ends(&mut client, "err");
    let mut set = |name: &str, value: &str| {
        assert_eq!(text(&client.call(&["CONFIG", "SET", name, value])), "OK");
    };
    set("save", "900 1000000");
    is_told("a save has failed", 1);
    set("save", "");
    is_told("nothing is to be saved", 0);
    set("appendonly", "yes");
    is_told("the append-only file lacks its first base", 1);
    make_room(&limited.process);
    is_told("it has one", 0);
}

//! `INFO` while files are written, rewritten and loaded, of a replica whose link is down, syncing and up, and of a master
//! whose replica waits, is sent the data and is online: the same fields in the same order and of the same types as
//! redis-server's, and the same values where they do not depend on the run.

use std::collections::BTreeMap;

use crate::data::{follow, replica_of};
use crate::support::{Kind, ServerNode, expect_that, secs, start_server, text, wait_for};

/// What a run, a machine or a build decides: its type alone is compared.
const OF_THE_RUN: [&str; 33] = [
    "redis_",
    "os",
    "gcc_",
    "multiplexing",
    "monotonic",
    "process_",
    "run_id",
    "tcp_port",
    "server_time",
    "uptime",
    "lru_clock",
    "executable",
    "config_file",
    "client_recent",
    "used_",
    "allocator_",
    "rss_",
    "mem_",
    "total_",
    "instantaneous_",
    "io_threaded",
    "latest_fork",
    "rdb_last_save",
    "loading_",
    "master_repl",
    "master_host",
    "master_port",
    "master_sync_",
    "master_last_io",
    "master_link_down",
    "slave",
    "second_repl",
    "number_of",
];

/// Of these redis-server counts otherwise, as said.
const COUNTED_OTHERWISE: [&str; 22] = [
    // Here buffers are made as they are needed.
    "reply_buffer",
    // Not asked for by name: what an empty file takes.
    "aof_current_size",
    "aof_base_size",
    // Pages that a forked process has copied.
    "current_cow",
    "rdb_last_cow",
    "aof_last_cow",
    // Once a second by its child, where ours looks at once.
    "current_fork_perc",
    "current_save_keys_processed",
    // In steps of seconds.
    "rdb_last_bgsave_time",
    "rdb_current_bgsave_time",
    "aof_last_rewrite_time",
    "aof_current_rewrite_time",
    // At the end, where ours has loaded all.
    "rdb_last_load_keys",
    // By each attempt, and ours come faster.
    "sync_",
    "repl_backlog",
    "expire_cycle",
    "evicted_",
    "connected_clients",
    "lazyfree",
    "aof_buffer",
    "aof_pending_bio",
    "unexpected_error",
];

/// How a value is written.
fn shape(value: &str) -> &'static str {
    let is = |allowed: &str| {
        let value = value.trim_start_matches('-');
        !value.is_empty()
            && value
                .chars()
                .all(|c| c.is_ascii_digit() || allowed.contains(c))
    };
    match value {
        "" => "nothing",
        // Before redis-server has looked at its memory.
        "nan" | "-nan" => "a fraction",
        _ if is("") => "a number",
        _ if is(".") => "a fraction",
        _ if is(".KMGB") => "a size",
        _ if is(".%") => "a percentage",
        _ => "text",
    }
}

/// The sections that tell of what goes on, a line for each field.
fn report(server: &ServerNode) -> Vec<String> {
    const SECTIONS: [&str; 8] = [
        "INFO",
        "server",
        "clients",
        "memory",
        "persistence",
        "stats",
        "replication",
        "modules",
    ];
    let info = text(&server.client().call(&SECTIONS));
    let lines = info
        .lines()
        .filter(|line| !line.starts_with("sentinel_version"));
    lines
        .map(|line| {
            let Some((name, value)) = line.split_once(':') else {
                return line.to_owned();
            };
            let among = |names: &[&str]| names.iter().any(|start| name.starts_with(start));
            match name {
                // Hexadecimal, or 0.
                "redis_build_id" => name.to_owned(),
                // The places of a replica.
                _ if name.starts_with("slave") && value.contains("state=") => {
                    let parts = value.split(',').map(|part| match part.split_once('=') {
                        Some((name @ ("port" | "offset" | "lag"), _)) => name,
                        Some(_) | None => part,
                    });
                    format!("{name}:{}", parts.collect::<Vec<_>>().join(","))
                }
                _ if among(&COUNTED_OTHERWISE) || among(&OF_THE_RUN) => {
                    format!("{name} is {}", shape(value))
                }
                _ => line.to_owned(),
            }
        })
        .collect()
}

fn compare(state: &str, servers: [&ServerNode; 2]) {
    compare_without("nothing", state, servers);
}

/// The same but for one field.
fn compare_without(field: &str, state: &str, servers: [&ServerNode; 2]) {
    let [real, ours] = servers.map(|server| {
        let mut lines = report(server);
        lines.retain(|line| !line.starts_with(field));
        lines
    });
    let differences: Vec<_> = (real.iter().zip(&ours)).filter(|(a, b)| a != b).collect();
    let lengths = (real.len(), ours.len());
    assert!(
        differences.is_empty(),
        "{state}: {differences:#?} {lengths:?}"
    );
    assert_eq!(lengths.0, lengths.1, "{state}");
}

/// Sends each line to both, in turn.
fn say(servers: &[ServerNode; 2], lines: &[&str]) {
    for line in lines {
        let replies = servers.each_ref().map(|server| server.client().ask(line));
        assert_eq!(replies[0], replies[1], "{line}");
    }
}

fn wait_until(server: &ServerNode, fields: &[(&str, &str)]) {
    let wanted: BTreeMap<_, _> = fields.iter().copied().collect();
    wait_for(
        &format!("{:?} to be {wanted:?}", server.kind),
        secs(20),
        || {
            let info = text(&server.client().call(&["INFO", "everything"]));
            let has = |(name, value): &(&&str, &&str)| {
                info.lines().any(|line| line == format!("{name}:{value}"))
            };
            expect_that(wanted.iter().all(|pair| has(&pair)), || info.clone())
        },
    );
}

fn wait_until_both(servers: &[ServerNode; 2], fields: &[(&str, &str)]) {
    servers.iter().for_each(|server| wait_until(server, fields));
}

const IDLE: [(&str, &str); 3] = [
    ("rdb_bgsave_in_progress", "0"),
    ("aof_rewrite_in_progress", "0"),
    ("aof_rewrite_scheduled", "0"),
];

#[test]
fn while_files_are_written() {
    let servers = [Kind::Real, Kind::Ours]
        .map(|kind| start_server(kind, "appendonly yes\nenable-protected-configs yes\n"));
    let both = || servers.each_ref();
    compare("an empty file", both());
    say(&servers, &["DEBUG POPULATE 200 key 10", "SET a b", "DEL a"]);
    compare("written", both());
    let slow = "CONFIG SET rdb-key-save-delay 8000";
    let fast = "CONFIG SET rdb-key-save-delay 0";
    say(&servers, &[slow, "BGREWRITEAOF"]);
    // Ours is in progress before it has begun to write.
    wait_until_both(&servers, &[("current_save_keys_total", "200")]);
    compare("a rewrite", both());
    say(
        &servers,
        &["BGREWRITEAOF", "BGSAVE", "BGSAVE SCHEDULE", "SET a b"],
    );
    compare("a rewrite, and a save that is scheduled", both());
    say(&servers, &[fast]);
    wait_until_both(&servers, &IDLE);
    wait_until_both(&servers, &[("rdb_saves", "1")]);
    compare("both are over", both());
    say(&servers, &[slow, "BGSAVE"]);
    wait_until_both(&servers, &[("rdb_bgsave_in_progress", "1")]);
    compare("a save", both());
    say(&servers, &["BGREWRITEAOF", "BGSAVE", "SET a c"]);
    compare("a save, and a rewrite that is scheduled", both());
    say(&servers, &[fast]);
    wait_until_both(&servers, &IDLE);
    wait_until_both(&servers, &[("aof_rewrites", "2")]);
    compare("both are over again", both());
    say(&servers, &["CONFIG SET appendonly no"]);
    compare("no file any more", both());
    // A save that fails.
    for server in &servers {
        std::fs::create_dir(server.dir().join("folder.rdb")).unwrap();
    }
    say(&servers, &["CONFIG SET dbfilename folder.rdb", "SAVE"]);
    compare("a save that failed", both());
    say(&servers, &["BGSAVE"]);
    wait_until_both(
        &servers,
        &[
            ("rdb_bgsave_in_progress", "0"),
            ("rdb_last_bgsave_status", "err"),
        ],
    );
    compare("a save that failed in the background", both());
    say(&servers, &["CONFIG SET dbfilename dump.rdb", "SAVE"]);
    compare("saved", both());
}

#[test]
fn while_a_file_is_loaded() {
    // redis-server looks at its clients after 1024 commands only: that must be soon, and often before all is loaded.
    const SLOW: &str = "key-load-delay 300\nloading-process-events-interval-bytes 1024\n";
    // With `everysec` a kill may lose what redis-server has acknowledged.
    let lines = format!("{SLOW}appendfsync no\n");
    for (aof, preamble) in [("no", "yes"), ("yes", "yes"), ("yes", "no")] {
        let with = format!("{lines}appendonly {aof}\naof-use-rdb-preamble {preamble}\n");
        let mut servers = [Kind::Real, Kind::Ours].map(|kind| start_server(kind, &with));
        // A busy machine takes a while for more at a time.
        for prefix in ["a", "b", "c", "d"] {
            say(&servers, &[&format!("DEBUG POPULATE 10000 {prefix} 10")]);
        }
        let save: &[&str] = if aof == "yes" {
            &["BGREWRITEAOF"]
        } else {
            &["SAVE"]
        };
        say(&servers, save);
        wait_until_both(&servers, &IDLE);
        // Behind the base.
        say(&servers, &["MSET a 1 b 2", "RPUSH l 1 2 3"]);
        for server in &mut servers {
            server.kill();
            server.process.start_again();
        }
        for server in &servers {
            wait_for("it loads", secs(10), || {
                let loading = server.info("loading");
                expect_that(loading.as_deref() == Some("1"), || format!("{loading:?}"))
            });
        }
        let state = format!("appendonly {aof}, preamble {preamble}");
        // redis-server counts the commands of a file as changes until it has run all.
        compare_without("rdb_changes", &state, servers.each_ref());
        say(&servers, &["CONFIG SET key-load-delay 0"]);
        wait_until_both(&servers, &[("loading", "0")]);
        compare(&format!("{state}, loaded"), servers.each_ref());
    }
}

#[test]
fn of_a_replica() {
    let masters = [(); 2].map(|()| start_server(Kind::Ours, ""));
    for master in &masters {
        let mut client = master.client();
        client.ask("DEBUG POPULATE 400 key 1000");
        client.ask("CONFIG SET rdb-key-save-delay 5000");
    }
    let mut replicas = [Kind::Real, Kind::Ours].map(|kind| start_server(kind, ""));
    let mut masters = masters;
    for (replica, master) in replicas.iter().zip(&masters) {
        follow(replica, master);
        wait_until(replica, &[("master_sync_in_progress", "1")]);
        wait_for("the transfer has begun", secs(20), || {
            let read = replica.info("master_sync_read_bytes").unwrap_or_default();
            expect_that(read.parse::<u64>().is_ok_and(|n| n > 0), || read)
        });
    }
    compare("syncing", replicas.each_ref());
    for (replica, master) in replicas.iter().zip(&masters) {
        master.client().ask("CONFIG SET rdb-key-save-delay 0");
        wait_until(replica, &[("master_link_status", "up")]);
    }
    compare("up", replicas.each_ref());
    for (replica, master) in replicas.iter_mut().zip(&mut masters) {
        master.kill();
        wait_until(replica, &[("master_link_status", "down")]);
    }
    compare("down", replicas.each_ref());
    for replica in &replicas {
        replica.client().ask("REPLICAOF NO ONE");
    }
    compare("a master again", replicas.each_ref());
}

/// A master of each kind whose data, more than sockets hold, take a second to be written, and the states of its replica.
fn compare_masters(diskless: &str) {
    let lines = format!("repl-diskless-sync {diskless}\nrdbcompression no\n");
    let masters = [Kind::Real, Kind::Ours].map(|kind| start_server(kind, &lines));
    let slow = "CONFIG SET rdb-key-save-delay 8000";
    say(&masters, &["DEBUG POPULATE 200 key 100000", slow, "BGSAVE"]);
    wait_until_both(&masters, &[("rdb_bgsave_in_progress", "1")]);
    let mut replicas = masters
        .each_ref()
        .map(|master| start_server(Kind::Ours, &replica_of(master)));
    let wait = |state: &str| {
        for master in &masters {
            wait_for(state, secs(20), || {
                let shown = master.info("slave0").unwrap_or_default();
                expect_that(shown.contains(&format!("state={state},")), || shown.clone())
            });
        }
    };
    let state = |state: &str| format!("diskless {diskless}: {state}");
    wait("wait_bgsave");
    compare(&state("it waits for another save"), masters.each_ref());
    wait_until_both(&masters, &[("rdb_saves", "1")]);
    for replica in &replicas {
        wait_until(replica, &[("master_sync_in_progress", "1")]);
    }
    compare(&state("its save runs"), masters.each_ref());
    if diskless == "no" {
        replicas
            .iter_mut()
            .for_each(|replica| replica.process.stop());
        wait("send_bulk");
        compare(&state("the file is sent"), masters.each_ref());
        replicas
            .iter_mut()
            .for_each(|replica| replica.process.resume());
    }
    wait("online");
    for replica in &replicas {
        wait_until(replica, &[("master_link_status", "up")]);
    }
    wait_until_both(&masters, &IDLE);
    compare(&state("online"), masters.each_ref());
}

#[test]
fn of_a_master_with_a_file() {
    compare_masters("no");
}

#[test]
fn of_a_master_without_a_file() {
    compare_masters("yes");
}

#[test]
fn after_debug_loadaof() {
    let servers = [Kind::Real, Kind::Ours].map(|kind| start_server(kind, "appendonly yes\n"));
    say(
        &servers,
        &["MSET a 1 b 2", "RPUSH l 1 2 3", "DEBUG LOADAOF"],
    );
    compare("loaded again", servers.each_ref());
    say(&servers, &["SET c 3"]);
    compare("and written", servers.each_ref());
}

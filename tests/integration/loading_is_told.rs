//! While data are loaded, clients hear so and `INFO` tells how far it is; a replica does as `repl-diskless-load` says.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use sentinel::clock::Clock;

use crate::both::side_by_side;
use crate::data::{follow, replica_of, wait_until_equal};
use crate::support::{
    Client, Kind, ServerNode, expect_that, holds_for, secs, start_server, text, wait_for,
};

/// What `INFO persistence` tells of a load, in its order.
const FIELDS: [&str; 6] = [
    "loading_start_time",
    "loading_total_bytes",
    "loading_rdb_used_mem",
    "loading_loaded_bytes",
    "loading_loaded_perc",
    "loading_eta_seconds",
];

fn persistence(client: &mut Client) -> Vec<(String, String)> {
    let info = text(&client.call(&["INFO", "persistence"]));
    let pairs = info.lines().filter_map(|line| line.split_once(':'));
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn nobody_hears_of_a_load_where_there_is_nothing_to_load() {
    let mut server = start_server(Kind::Ours, "");
    for _ in 0..20 {
        server.process.kill();
        server.process.start_again();
        let mut client = wait_for("it listens", secs(10), || {
            Client::try_to_within(server.port(), secs(5)).map_err(|error| error.to_string())
        });
        assert_eq!(client.ask("SET a 1"), "OK");
    }
}

/// Makes a load last until [`watch_a_start`] has seen enough of it.
const SLOW: &str = "key-load-delay 100\n";

/// Starts a server, which is [`SLOW`], again and looks at it until it has loaded its file of so many bytes.
fn watch_a_start(server: &mut ServerNode, bytes: u64) {
    server.process.start_again();
    let mut client = wait_for("it listens", secs(10), || {
        Client::try_to_within(server.port(), secs(5)).map_err(|error| error.to_string())
    });
    let mut seen = Vec::new();
    loop {
        seen.dedup();
        if seen.len() > 3 {
            assert_eq!(client.ask("CONFIG SET key-load-delay 0"), "OK");
        }
        let found = persistence(&mut client);
        let all: BTreeMap<&str, &str> = found.iter().map(|(n, v)| (&**n, &**v)).collect();
        if all["loading"] == "0" {
            break;
        }
        let names = found.iter().map(|(name, _)| name.as_str());
        let names: Vec<&str> = names.filter(|name| name.starts_with("loading_")).collect();
        assert_eq!(names, FIELDS);
        assert_eq!(all["async_loading"], "0");
        let number = |name: &str| all[name].parse::<f64>().unwrap();
        let (loaded, total) = (
            number("loading_loaded_bytes"),
            number("loading_total_bytes"),
        );
        if total > 0.0 {
            let bytes: f64 = bytes.to_string().parse().unwrap();
            assert!((total - bytes).abs() < 0.5, "{total} of {bytes}");
            let percent = number("loading_loaded_perc");
            assert!((percent - loaded / total * 100.0).abs() < 0.02, "{percent}");
        }
        assert!(loaded <= total, "{loaded} of {total}");
        seen.push(loaded);
        let said = text(&client.call(&["GET", "key:1"]));
        let is_over = said == "(nil)" || said.starts_with("value");
        assert!(
            is_over || said == "LOADING Redis is loading the dataset in memory",
            "{said}"
        );
        assert!(seen.is_sorted(), "{seen:?}");
    }
    assert!(seen.len() > 3, "progress: {seen:?}");
    assert_eq!(text(&client.call(&["DBSIZE"])), "150000");
}

#[test]
fn a_start_from_a_file() {
    let maker = start_server(Kind::Real, "");
    let mut client = maker.client();
    client.call(&["DEBUG", "POPULATE", "150000"]);
    client.call(&["SAVE"]);
    let file = maker.dir().join("dump.rdb");
    let mut ours = start_server(Kind::Ours, SLOW);
    ours.kill();
    std::fs::copy(&file, ours.dir().join("dump.rdb")).unwrap();
    watch_a_start(&mut ours, file.metadata().unwrap().len());
}

#[test]
fn a_start_from_an_append_only_file() {
    let maker = start_server(Kind::Real, "aof-use-rdb-preamble no\n");
    let mut client = maker.client();
    client.call(&["DEBUG", "POPULATE", "150000"]);
    client.call(&["CONFIG", "SET", "appendonly", "yes"]);
    wait_for("the file is there", secs(20), || {
        let found: BTreeMap<_, _> = persistence(&mut client).into_iter().collect();
        let is_written = found["aof_rewrite_in_progress"] == "0" && found["aof_rewrites"] == "1";
        expect_that(is_written, || format!("{found:?}"))
    });
    let folder = maker.dir().join("appendonlydir");
    let mut ours = start_server(Kind::Ours, &format!("appendonly yes\n{SLOW}"));
    ours.kill();
    let into = ours.dir().join("appendonlydir");
    std::fs::remove_dir_all(&into).unwrap();
    std::fs::create_dir(&into).unwrap();
    let mut bytes = 0;
    for file in std::fs::read_dir(&folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap();
        let length = std::fs::copy(&path, into.join(name)).unwrap();
        if !name.to_string_lossy().ends_with("manifest") {
            bytes += length;
        }
    }
    watch_a_start(&mut ours, bytes);
}

/// How many keys there are in all databases, how many the present or last load has brought and left out, and whether
/// it goes on.
fn keys(client: &mut Client) -> ([u64; 3], bool) {
    let info = text(&client.call(&["INFO", "everything"]));
    let all: BTreeMap<&str, &str> = info
        .lines()
        .filter_map(|line| line.split_once(':'))
        .collect();
    let number = |text: &str| text.parse::<u64>().unwrap();
    let of_db = |value: &&str| {
        value
            .strip_prefix("keys=")
            .and_then(|rest| rest.split(',').next().map(number))
    };
    let counts = [
        all.values().filter_map(of_db).sum(),
        number(all["rdb_last_load_keys_loaded"]),
        number(all["rdb_last_load_keys_expired"]),
    ];
    (counts, all["loading"] == "1")
}

#[test]
fn the_keys_of_a_file_are_counted_while_it_is_loaded() {
    let maker = start_server(Kind::Real, "");
    let mut client = maker.client();
    for line in [
        "DEBUG SET-ACTIVE-EXPIRE 0",
        "DEBUG POPULATE 20000",
        "SELECT 3",
        "DEBUG POPULATE 20000 other",
    ] {
        assert_eq!(client.ask(line), "OK");
    }
    for n in 0..2000 {
        client.call(&["SET", &format!("short:{n}"), "v", "PX", "1"]);
    }
    client.ask("SAVE");
    let file = maker.dir().join("dump.rdb");
    for kind in [Kind::Real, Kind::Ours] {
        // redis-server looks at its clients after so many bytes only.
        let often = "loading-process-events-interval-bytes 1024";
        let mut server = start_server(kind, &format!("key-load-delay 50\n{often}\n"));
        server.kill();
        std::fs::copy(&file, server.dir().join("dump.rdb")).unwrap();
        server.process.start_again();
        let mut client = wait_for("it listens", secs(10), || {
            Client::try_to_within(server.port(), secs(5)).map_err(|error| error.to_string())
        });
        let mut seen = Vec::new();
        while let (counts @ [there, loaded, _], true) = keys(&mut client) {
            // Ours goes on while it tells.
            assert!(there >= loaded, "{kind:?}: {counts:?}");
            seen.push(counts);
        }
        let grows =
            |at: usize| seen.is_sorted_by_key(|counts| counts[at]) && seen.last().unwrap()[at] > 0;
        assert!((0..3).all(grows), "{kind:?}: {seen:?}");
        assert_eq!(keys(&mut client).0, [40_000, 40_000, 2000], "{kind:?}");
    }
}

/// Longer for each key than any test. Microseconds.
const NEVER_LOADED: &str = "key-load-delay 1000000000\n";

/// What a pause of clients puts off runs when that is over, while a load goes on.
fn assert_pauses_end(client: &mut Client) {
    let clock = Clock::start();
    let begun = clock.mono();
    assert_eq!(client.ask("CLIENT PAUSE 300"), "OK");
    let info = client.ask("INFO persistence");
    assert!(info.contains("\r\nloading:1\r\n"), "{info}");
    let waited = clock.mono().since(begun);
    assert!(waited >= Duration::from_millis(300), "{waited:?}");
}

/// Here redis-server lets them wait for the end of the load.
#[test]
fn a_start_that_loads_minds_its_clients() {
    let mut server = start_server(Kind::Ours, NEVER_LOADED);
    let mut client = server.client();
    assert_eq!(client.ask("DEBUG POPULATE 2"), "OK");
    assert_eq!(client.ask("SAVE"), "OK");
    server.kill();
    let config = server.dir().join("server.conf");
    let lines = fs::read_to_string(&config).unwrap();
    fs::write(&config, lines + "timeout 3\n").unwrap();
    server.process.start_again();
    let mut idle = wait_for("it listens", secs(10), || {
        Client::try_to_within(server.port(), secs(5)).map_err(|error| error.to_string())
    });
    assert_pauses_end(&mut server.client());
    idle.wait_for_close(secs(10)).unwrap();
    let loading = server.info("loading");
    assert_eq!(loading.as_deref(), Some("1"));
}

#[test]
fn a_replica_that_loads_minds_its_clients() {
    let master = start_server(Kind::Ours, "");
    master.client().ask("DEBUG POPULATE 2");
    let lines = format!("{NEVER_LOADED}{}", lines(Kind::Ours, "on-empty-db"));
    let replica = start_server(Kind::Ours, &lines);
    follow(&replica, &master);
    wait_until_loading(&replica, ("1", "0"));
    assert_pauses_end(&mut replica.client());
}

/// A master whose data of some megabytes come slowly when it is told so.
fn start_master() -> ServerNode {
    let master = start_server(Kind::Real, "rdbcompression no\n");
    master
        .client()
        .call(&["DEBUG", "POPULATE", "1000", "key", "4000"]);
    master
}

/// What a replica is started with. redis-server looks at its clients while it loads after so many bytes only.
fn lines(kind: Kind, mode: &str) -> String {
    let often = match kind {
        Kind::Real => "loading-process-events-interval-bytes 1024\n",
        Kind::Ours => "",
    };
    format!("repl-diskless-load {mode}\n{often}")
}

/// Cuts a replica off until only all data can help it, while its master's data come slowly.
fn make_it_need_all(master: &ServerNode, replica: &mut ServerNode) {
    let mut client = master.client();
    for (name, value) in [
        ("repl-backlog-size", "16384"),
        // Microseconds for each key.
        ("rdb-key-save-delay", "2000"),
    ] {
        client.call(&["CONFIG", "SET", name, value]);
    }
    replica.process.stop();
    client.call(&["CLIENT", "KILL", "TYPE", "replica"]);
    for n in 0..100 {
        client.call(&["SET", "filler", &format!("{n}{}", "x".repeat(5000))]);
    }
    replica.process.resume();
}

fn loading(replica: &ServerNode) -> (String, String) {
    let field = |name| replica.info(name).unwrap_or_default();
    (field("loading"), field("async_loading"))
}

fn wait_until_loading(replica: &ServerNode, loading_and_async: (&str, &str)) {
    wait_for("it loads", secs(20), || {
        let found = loading(replica);
        let wanted = (&*found.0, &*found.1) == loading_and_async;
        expect_that(wanted, || format!("{:?}: {found:?}", replica.kind))
    });
}

#[test]
fn a_replica_that_swaps_serves_data_of_the_same_history() {
    for kind in [Kind::Real, Kind::Ours] {
        let master = start_master();
        let mut client = master.client();
        client.call(&["SET", "k", "old"]);
        let lines = format!("{}{}", replica_of(&master), lines(kind, "swapdb"));
        let mut replica = start_server(kind, &lines);
        wait_until_equal(&master, &replica);
        client.call(&["SET", "k", "new"]);
        make_it_need_all(&master, &mut replica);
        wait_until_loading(&replica, ("0", "1"));
        let mut reader = replica.client();
        assert_eq!(text(&reader.call(&["DBSIZE"])), "1001", "{kind:?}");
        for refused in [&["REPLICAOF", "NO", "ONE"][..], &["BGSAVE"], &["SAVE"]] {
            assert_eq!(
                text(&reader.call(refused)),
                "LOADING Redis is loading the dataset in memory",
                "{refused:?} by {kind:?}"
            );
        }
        client.call(&["CONFIG", "SET", "rdb-key-save-delay", "0"]);
        wait_until_equal(&master, &replica);
        assert_eq!(text(&reader.call(&["GET", "k"])), "new", "{kind:?}");
        assert_eq!(loading(&replica), ("0".to_owned(), "0".to_owned()));
        // Of another history it serves nothing.
        client.call(&["CONFIG", "SET", "rdb-key-save-delay", "2000"]);
        client.call(&["DEBUG", "CHANGE-REPL-ID"]);
        client.call(&["CLIENT", "KILL", "TYPE", "replica"]);
        wait_until_loading(&replica, ("1", "0"));
        let said = text(&reader.call(&["GET", "k"]));
        assert_eq!(said, "LOADING Redis is loading the dataset in memory");
        client.call(&["CONFIG", "SET", "rdb-key-save-delay", "0"]);
        wait_until_equal(&master, &replica);
    }
}

#[test]
fn an_empty_replica_says_that_it_loads() {
    for kind in [Kind::Real, Kind::Ours] {
        let master = start_master();
        let mut client = master.client();
        client.call(&["CONFIG", "SET", "rdb-key-save-delay", "1000"]);
        let replica = start_server(kind, &lines(kind, "on-empty-db"));
        follow(&replica, &master);
        wait_until_loading(&replica, ("1", "0"));
        client.call(&["CONFIG", "SET", "rdb-key-save-delay", "0"]);
        wait_until_equal(&master, &replica);
    }
}

#[test]
fn otherwise_a_replica_serves_what_it_has_until_it_has_all() {
    let master = start_master();
    let mut client = master.client();
    let mut replica = start_server(Kind::Ours, &replica_of(&master));
    wait_until_equal(&master, &replica);
    make_it_need_all(&master, &mut replica);
    wait_for("the data come", secs(20), || {
        let found = replica.info("master_sync_in_progress");
        expect_that(found.as_deref() == Some("1"), || format!("{found:?}"))
    });
    let mut reader = replica.client();
    holds_for("it serves", secs(1) / 4, || {
        let size = text(&reader.call(&["DBSIZE"]));
        let found = loading(&replica);
        let is_served = size == "1000" || size == "1001";
        let is_quiet = found == ("0".to_owned(), "0".to_owned());
        expect_that(is_served && is_quiet, || format!("{size}, {found:?}"))
    });
    client.call(&["CONFIG", "SET", "rdb-key-save-delay", "0"]);
    wait_until_equal(&master, &replica);
}

#[test]
fn a_transfer_that_breaks_off_leaves_what_was_there() {
    let seen = side_by_side(|kind| {
        let modes = ["disabled", "on-empty-db", "swapdb"];
        modes.map(|mode| {
            let mut master = start_master();
            let replica = start_server(kind, &lines(kind, mode));
            let mut client = replica.client();
            client.ask("SET mine 1");
            master.client().ask("CONFIG SET rdb-key-save-delay 2000");
            follow(&replica, &master);
            let is_under_way = || {
                let is_loading = loading(&replica).0 == "1";
                let bytes = replica.info("master_sync_read_bytes");
                let bytes = bytes.and_then(|text| text.parse::<u64>().ok());
                is_loading || bytes.is_some_and(|bytes| bytes > 100_000)
            };
            wait_for("the data come", secs(20), || {
                expect_that(is_under_way(), || format!("{kind:?}, {mode}"))
            });
            master.kill();
            wait_for("they come no more", secs(20), || {
                let syncs = replica.info("master_sync_in_progress").unwrap_or_default();
                expect_that(syncs == "0" && loading(&replica).0 == "0", || syncs)
            });
            ["GET mine", "DBSIZE", "PING"].map(|line| client.ask(line))
        })
    });
    assert_eq!(seen[0], seen[1]);
    for left in &seen[1] {
        assert_eq!(left, &["1", "1", "PONG"]);
    }
}

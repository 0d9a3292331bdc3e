//! A file, a rewrite or a full resync: one at a time is written from memory, so that none makes memory hold what
//! another cannot take yet. Replicas that wait together share one.

use std::io::Read;
use std::net::Shutdown;
use std::time::Duration;

use crate::aof;
use crate::data::{full_resyncs, replica_of, wait_for_info, wait_until_equal};
use crate::support::{
    Client, Kind, ServerNode, expect_that, redis_check_rdb, secs, start_server, text, wait_for,
};

/// More than sockets take by themselves.
const DATA_BYTES: u64 = 32 << 20;
/// What a transfer that nobody takes may add to memory.
const EXTRA_BYTES: u64 = 6 << 20;
/// How many keys the file that is being written will have.
const TOTAL: &str = "current_save_keys_total";

fn start(kind: Kind, lines: &str) -> ServerNode {
    let server = start_server(kind, &format!("rdbcompression no\n{lines}"));
    let count = (DATA_BYTES / 1024).to_string();
    let reply = server
        .client()
        .ask(&format!("DEBUG POPULATE {count} k 1024"));
    assert_eq!(reply, "OK");
    server
}

fn number(server: &ServerNode, field: &str) -> u64 {
    server.info(field).unwrap().parse().unwrap()
}

/// A client that asks for all data and takes nothing yet.
fn ask_for_all(server: &ServerNode) -> Client {
    let mut replica = server.client();
    replica.call(&["REPLCONF", "capa", "eof", "capa", "psync2"]);
    replica.send(&["PSYNC", "?", "-1"]).unwrap();
    replica
}

fn wait_for_transfer(server: &ServerNode) {
    wait_for("the transfer has begun", secs(20), || {
        let found = server.info("rdb_bgsave_in_progress").unwrap_or_default();
        expect_that(found == "1", || found)
    });
}

/// Takes all data up to the mark; returns the mark.
fn take(replica: &Client) -> Vec<u8> {
    let mut stream = replica.stream();
    stream.set_read_timeout(Some(secs(20))).unwrap();
    let mut received = Vec::new();
    let mut mark: Option<Vec<u8>> = None;
    let mut chunk = vec![0; 1 << 16];
    loop {
        let count = stream.read(&mut chunk).unwrap();
        assert!(count > 0, "closed after {} bytes", received.len());
        received.extend_from_slice(&chunk[..count]);
        if mark.is_none() {
            let head = b"$EOF:";
            let at = received.windows(head.len()).position(|w| w == head);
            let found = at.and_then(|at| received.get(at + head.len()..at + head.len() + 40));
            mark = found.map(<[u8]>::to_vec);
        }
        let body = received.len() as u64 > DATA_BYTES;
        if let Some(mark) = mark
            .as_ref()
            .filter(|mark| body && received.ends_with(mark))
        {
            return mark.clone();
        }
    }
}

#[test]
fn with_those_who_waited_together() {
    for kind in [Kind::Real, Kind::Ours] {
        let lines = "repl-diskless-sync-delay 100\nrepl-diskless-sync-max-replicas 2\n";
        let server = start(kind, lines);
        let used = number(&server, "used_memory");
        let two = [ask_for_all(&server), ask_for_all(&server)];
        wait_for_transfer(&server);
        for (line, want) in [
            ("BGSAVE", "ERR Background save already in progress"),
            ("BGSAVE SCHEDULE", "ERR Background save already in progress"),
            ("SAVE", "ERR Background save already in progress"),
            (
                "BGREWRITEAOF",
                "Background append only file rewriting scheduled",
            ),
            ("CONFIG SET repl-diskless-sync-delay 0", "OK"),
        ] {
            assert_eq!(server.client().ask(line), want, "{line} on {kind:?}");
        }
        let mut third = ask_for_all(&server);
        let more = number(&server, "used_memory").saturating_sub(used);
        assert!(more < EXTRA_BYTES, "{kind:?}: {more} bytes");
        let marks = std::thread::scope(|scope| {
            let other = scope.spawn(|| take(&two[1]));
            (take(&two[0]), other.join().unwrap())
        });
        assert_eq!(marks.0, marks.1, "{kind:?}");
        // What had to wait begins.
        take(&third);
        third.send(&["REPLCONF", "ACK", "0"]).unwrap();
        wait_for("the scheduled rewrite is over", secs(20), || {
            let count = server.info("aof_rewrites").unwrap_or_default();
            expect_that(count == "1", || count)
        });
        drop(two);
    }
}

#[test]
fn a_save_point_waits_for_the_transfer() {
    let server = start(Kind::Ours, "");
    let replica = ask_for_all(&server);
    wait_for_transfer(&server);
    let reply = server.client().call(&["CONFIG", "SET", "save", "1 1"]);
    assert_eq!(text(&reply), "OK");
    assert_eq!(server.client().ask("SET k v"), "OK");
    let rounds = || number(&server, "uptime_in_seconds");
    let begun = rounds();
    wait_for("a second has gone", secs(20), || {
        expect_that(rounds() > begun + 1, || rounds().to_string())
    });
    assert_eq!(number(&server, "rdb_saves"), 0);
    take(&replica);
    wait_for("the data are saved", secs(20), || {
        let saves = number(&server, "rdb_saves");
        expect_that(saves > 0, || saves.to_string())
    });
}

#[test]
fn a_file_for_a_replica_waits_for_the_transfer() {
    let server = start(Kind::Ours, "");
    let first = ask_for_all(&server);
    wait_for_transfer(&server);
    let second = start_server(Kind::Ours, &replica_of(&server));
    wait_for("the second is attached", secs(20), || {
        let count = full_resyncs(&server);
        expect_that(count == 2, || count.to_string())
    });
    assert_eq!(
        server.client().ask("CONFIG SET repl-diskless-sync no"),
        "OK"
    );
    take(&first);
    wait_until_equal(&server, &second);
    assert_eq!(number(&server, "rdb_saves"), 1);
}

#[test]
fn who_takes_nothing_holds_up_the_others_for_half_the_timeout() {
    let lines = "repl-diskless-sync-delay 100\nrepl-diskless-sync-max-replicas 2\nrepl-timeout 6\n";
    let server = start(Kind::Ours, lines);
    let (mut hangs, takes) = (ask_for_all(&server), ask_for_all(&server));
    take(&takes);
    hangs.wait_for_close(Duration::from_secs(20)).unwrap();
    assert_eq!(number(&server, "connected_slaves"), 1);
}

#[test]
fn a_transfer_ends_when_its_data_are_flushed_or_replaced() {
    for (kind, line) in [
        (Kind::Real, "FLUSHALL"),
        (Kind::Ours, "FLUSHALL"),
        (Kind::Ours, "DEBUG RELOAD"),
    ] {
        let server = start(kind, "");
        let mut replica = ask_for_all(&server);
        wait_for_transfer(&server);
        let used = number(&server, "used_memory");
        assert_eq!(server.client().ask(line), "OK");
        replica.wait_for_close(secs(20)).unwrap();
        let peak = number(&server, "used_memory_peak");
        assert!(
            peak < used + EXTRA_BYTES || line != "FLUSHALL",
            "{kind:?}: {peak} after {used}"
        );
        assert_eq!(number(&server, "connected_slaves"), 0, "{kind:?}");
    }
}

#[test]
fn files_and_replicas_take_turns() {
    let server = start(Kind::Ours, "");
    let first = ask_for_all(&server);
    wait_for_transfer(&server);
    let scheduled = "Background append only file rewriting scheduled";
    assert_eq!(server.client().ask("BGREWRITEAOF"), scheduled);
    // It takes nothing: if it went first, the rewrite would wait for ever.
    let second = ask_for_all(&server);
    take(&first);
    wait_for("the rewrite is over", secs(20), || {
        let count = server.info("aof_rewrites").unwrap_or_default();
        expect_that(count == "1", || count)
    });
    take(&second);
}

#[test]
fn replicas_that_come_during_a_save_share_the_next_one() {
    const REPLICAS: usize = 6;
    let server = start(Kind::Ours, "repl-diskless-sync no\n");
    let mut replicas: Vec<Client> = (0..REPLICAS).map(|_| server.client()).collect();
    for replica in &mut replicas {
        replica.send(&["PSYNC", "?", "-1"]).unwrap();
    }
    std::thread::scope(|scope| {
        for replica in &replicas {
            scope.spawn(|| {
                let mut stream = replica.stream();
                stream.set_read_timeout(Some(secs(20))).unwrap();
                let mut data = vec![0; usize::try_from(DATA_BYTES).unwrap()];
                stream.read_exact(&mut data).unwrap();
            });
        }
    });
    wait_for("all have everything", secs(20), || {
        let count = (0..REPLICAS)
            .filter(|at| {
                let shown = server.info(&format!("slave{at}")).unwrap_or_default();
                shown.contains("state=online")
            })
            .count();
        expect_that(count == REPLICAS, || format!("{count}"))
    });
    let saves = number(&server, "rdb_saves");
    assert!(saves < 4, "{saves} saves");
}

#[test]
fn a_save_that_no_replica_waits_for_any_more_ends() {
    for kind in [Kind::Real, Kind::Ours] {
        let server = start_server(kind, "repl-diskless-sync no\nsave \"\"\n");
        let mut client = server.client();
        client.ask("DEBUG POPULATE 30 k 10");
        client.ask("CONFIG SET rdb-key-save-delay 1000000");
        let replicas = [(); 2].map(|()| {
            let mut replica = server.client();
            replica.send(&["PSYNC", "?", "-1"]).unwrap();
            replica
        });
        wait_for_transfer(&server);
        wait_for_info(&server, "connected_slaves", "2");
        for (left, replica) in [("1", &replicas[0]), ("0", &replicas[1])] {
            assert_eq!(number(&server, "rdb_bgsave_in_progress"), 1, "{kind:?}");
            replica.stream().shutdown(Shutdown::Both).unwrap();
            wait_for_info(&server, "connected_slaves", left);
        }
        wait_for_info(&server, "rdb_bgsave_in_progress", "0");
        client.ask("CONFIG SET rdb-key-save-delay 0");
    }
}

#[test]
fn a_save_hands_on_what_a_rewrite_has_not_taken() {
    let mut server = start(Kind::Ours, "appendonly yes\n");
    let before = number(&server, "used_memory");
    let field = |info: &str, name: &str| -> u64 {
        let mut lines = info.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.map_or(0, |value| value.parse().unwrap())
    };
    let mut client = server.client();
    // Until the save comes early enough.
    wait_for("a save in the first half of a rewrite", secs(60), || {
        aof::wait_for_rewrite(&server);
        client.call(&["BGREWRITEAOF"]);
        loop {
            let info = text(&client.call(&["INFO", "persistence"]));
            if field(&info, TOTAL) > 0 || field(&info, "aof_rewrite_in_progress") == 0 {
                break;
            }
        }
        client
            .send_raw(b"INFO persistence\r\nSAVE\r\nINFO memory\r\n")
            .unwrap();
        let mut reply = || text(&client.receive().unwrap());
        let (progress, saved, memory) = (reply(), reply(), reply());
        assert_eq!(saved, "OK");
        let used = field(&memory, "used_memory");
        assert!(used < before + EXTRA_BYTES, "{used} after {before}");
        let done = field(&progress, "current_save_keys_processed");
        let total = field(&progress, TOTAL);
        expect_that(done < total / 2, || format!("{done} of {total}"))
    });
    // Both files are whole.
    aof::wait_for_rewrite(&server);
    server.kill();
    aof::check(&server);
    let said = redis_check_rdb()
        .arg(server.dir().join("dump.rdb"))
        .output()
        .unwrap();
    assert!(said.status.success(), "{said:?}");
    server.start_again();
    assert_eq!(
        server.client().ask("DBSIZE"),
        (DATA_BYTES / 1024).to_string()
    );
}

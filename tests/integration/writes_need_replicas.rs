//! `min-replicas-to-write` and `min-replicas-max-lag`: which commands are refused without enough replicas, which
//! replicas count, and for how long.

use crate::both::side_by_side;
use crate::data::{follow, promote, replica_of, wait_for_info, wait_until_equal};
use crate::stream;
use crate::support::{Client, Kind, ServerNode, expect_that, secs, start_server, text, wait_for};

const NOREPLICAS: &str = "NOREPLICAS Not enough good replicas to write.";
const GOOD: &str = "min_slaves_good_slaves";
const QUIET: &str = "repl-ping-replica-period 3600\n";

#[test]
fn what_is_refused() {
    let seen = side_by_side(|kind| {
        let server = start_server(kind, QUIET);
        let mut client = server.client();
        let mut seen = Vec::new();
        for line in REFUSED.lines().map(str::trim).filter(|l| !l.is_empty()) {
            let reply = client.ask(line);
            seen.push(format!("{line}: {reply} {:?}", server.info(GOOD)));
        }
        seen.push(server.info("errorstat_NOREPLICAS").unwrap());
        // Keys expire all the same.
        for line in [
            "CONFIG SET min-replicas-to-write 0",
            "SET k v PX 20",
            "SET read v PX 20",
            "CONFIG SET min-replicas-to-write 1",
        ] {
            client.ask(line);
        }
        wait_for("the keys go", secs(5), || {
            let read = client.ask("GET read");
            let size = client.ask("DBSIZE");
            expect_that(read == "(nil)" && size == "1", || size)
        });
        seen
    });
    for (theirs, ours) in seen[0].iter().zip(&seen[1]) {
        assert_eq!(theirs, ours);
    }
}

const REFUSED: &str = "
    CONFIG SET min-replicas-to-write 1
    CONFIG SET min-slaves-max-lag 0
    SET x 1
    CONFIG SET min-replicas-max-lag 10
    SET x 2
    SET x
    GET x
    DEL x
    PING
    PUBLISH a b
    PFCOUNT p
    BLPOP l 0.01
    FLUSHALL
    SWAPDB 0 1
    SORT x
    SORT_RO x
    GETEX x
    GEORADIUS g 1 1 1 m
    GEORADIUS_RO g 1 1 1 m
    BITFIELD x GET u1 0
    BITFIELD_RO x GET u1 0
    RESTORE x 0 y
    MIGRATE 127.0.0.1 1 x 0 1
    SAVE
    WAIT 0 0
    TOUCH x
    MULTI
    SET x 3
    GET x
    EXEC
    MULTI
    GET x
    PUBLISH a b
    EXEC
    CONFIG SET min-replicas-to-write 0
    MULTI
    SET x 4
    CONFIG SET min-replicas-to-write 1
    SET x 5
    EXEC
    MULTI
    GET x
    EXEC
    SET x 6
    CONFIG SET min-replicas-to-write 0
    MULTI
    SET x 7
    DISCARD
    SET x 8
";

/// A master that wants a replica heard of within a second, and one that it has.
fn start_pair(master: Kind, replica: Kind) -> (ServerNode, ServerNode) {
    let lines = format!("{QUIET}min-replicas-to-write 1\nmin-replicas-max-lag 1\n");
    let master = start_server(master, &lines);
    let replica = start_server(replica, &replica_of(&master));
    wait_for_info(&master, GOOD, "1");
    wait_until_equal(&master, &replica);
    (master, replica)
}

fn replies_while_one_hangs(master: Kind, replica: Kind) -> Vec<String> {
    let (master, mut replica) = start_pair(master, replica);
    let clients: [Client; 4] = std::array::from_fn(|_| master.client());
    let [mut client, mut writer, mut reader, mut waiting] = clients;
    let mut seen = Vec::new();
    for line in ["SET k v", "MULTI"] {
        seen.push(writer.ask(line));
    }
    seen.push(writer.ask("SET k w"));
    reader.ask("MULTI");
    reader.ask("GET k");
    waiting.send(&["BLPOP", "list", "0"]).unwrap();
    wait_for_info(&master, "blocked_clients", "1");
    replica.process.stop();
    wait_for_info(&master, GOOD, "0");
    for line in ["SET k x", "RPUSH list element", "GET k"] {
        seen.push(client.ask(line));
    }
    seen.push(reader.ask("EXEC"));
    seen.push(writer.ask("EXEC"));
    seen.push(writer.ask("EXEC"));
    assert_eq!(seen[3..5], [NOREPLICAS, NOREPLICAS]);
    let discarded = format!("EXECABORT Transaction discarded because of: {NOREPLICAS}");
    assert_eq!(seen[7], discarded);
    replica.process.resume();
    wait_for_info(&master, GOOD, "1");
    seen.push(client.ask("RPUSH list element"));
    seen.push(text(&waiting.receive().unwrap()));
    wait_until_equal(&master, &replica);
    // One is not two.
    for (name, value) in [
        ("min-replicas-to-write", "2"),
        ("min-replicas-max-lag", "0"),
        ("min-replicas-max-lag", "10"),
        ("min-slaves-to-write", "1"),
    ] {
        seen.push(client.ask(&format!("CONFIG SET {name} {value}")));
        seen.push(client.ask("SET k y"));
        seen.push(format!("{:?}", master.info(GOOD)));
    }
    replica.kill();
    wait_for_info(&master, GOOD, "0");
    seen.push(client.ask("SET k z"));
    seen
}

#[test]
fn a_replica_counts_while_it_is_heard_of() {
    let pairs = [
        (Kind::Real, Kind::Real),
        (Kind::Real, Kind::Ours),
        (Kind::Ours, Kind::Real),
        (Kind::Ours, Kind::Ours),
    ];
    let seen = std::thread::scope(|scope| {
        pairs
            .map(|(master, replica)| scope.spawn(move || replies_while_one_hangs(master, replica)))
            .map(|thread| thread.join().unwrap())
    });
    for other in &seen[1..] {
        assert_eq!(&seen[0], other);
    }
}

/// Whatever it acknowledges; and who only takes the data does not count.
#[test]
fn from_the_end_of_its_transfer_on() {
    side_by_side(|kind| {
        let lines = format!("{QUIET}min-replicas-to-write 1\n");
        let server = start_server(kind, &lines);
        let mut replica = server.client();
        stream::begin(&mut replica);
        wait_for_info(&server, GOOD, "1");
        let mut client = server.client();
        assert_eq!(client.ask("SET k v"), "OK", "{kind:?}");
        drop(replica);
        wait_for_info(&server, GOOD, "0");
        client.ask("CONFIG SET rdb-key-save-delay 300000");
        let mut copier = server.client();
        copier.ask("REPLCONF capa eof rdb-only 1");
        copier.send(&["SYNC"]).unwrap();
        wait_for_info(&server, "connected_slaves", "1");
        assert_eq!(client.ask("SET k x"), NOREPLICAS, "{kind:?}");
        copier.wait_for_close(secs(10)).unwrap();
        assert_eq!(client.ask("SET k x"), NOREPLICAS, "{kind:?}");
    });
}

/// A replica takes its master's writes, and with `replica-read-only no` its clients', with no replica of its own.
#[test]
fn a_replica_needs_none() {
    let seen = side_by_side(|kind| {
        let master = start_server(Kind::Real, QUIET);
        let server = start_server(kind, &format!("{QUIET}min-replicas-to-write 1\n"));
        let mut client = server.client();
        let mut seen = vec![client.ask("SET k v")];
        follow(&server, &master);
        master.client().call(&["SET", "streamed", "1"]);
        wait_until_equal(&master, &server);
        seen.push(server.info(GOOD).unwrap());
        seen.push(client.ask("SET k v"));
        client.ask("CONFIG SET replica-read-only no");
        seen.push(client.ask("SET k v"));
        seen.push(client.ask("GET streamed"));
        promote(&server);
        seen.push(client.ask("SET k v"));
        seen.push(client.ask("GET k"));
        seen
    });
    assert_eq!(seen[0], seen[1]);
}

//! What master and replica owe each other beside the data: patience while the other has to do, an end of it when
//! nothing is heard, room given back, and no word that the other cannot take.

use crate::data::offset;
use crate::stream;
use crate::support::{Client, Kind, ServerNode, expect_that, secs, start_server, text, wait_for};

const BOTH: [Kind; 2] = [Kind::Real, Kind::Ours];

/// A client that has become a replica and taken all data, and has said nothing since.
fn attach(master: &ServerNode) -> Client {
    let mut replica = master.client();
    for words in [["listening-port", "1"], ["capa", "eof"], ["capa", "psync2"]] {
        replica.call(&["REPLCONF", words[0], words[1]]);
    }
    replica.send(&["PSYNC", "?", "-1"]).unwrap();
    stream::begin(&mut replica);
    replica
}

fn used_memory(server: &ServerNode) -> usize {
    server.info("used_memory").unwrap().parse().unwrap()
}

fn wait_for_lag(master: &ServerNode, what: &str, is_right: impl Fn(u64) -> bool) {
    wait_for(what, secs(20), || {
        let shown = master.info("slave0").unwrap_or_default();
        let lag = shown
            .rsplit_once("lag=")
            .and_then(|(_, lag)| lag.parse().ok());
        expect_that(
            shown.contains("state=online") && lag.is_some_and(&is_right),
            || shown,
        )
    });
}

#[test]
fn an_empty_line_is_a_sign_of_life() {
    for kind in BOTH {
        let master = start_server(kind, "");
        let mut replica = attach(&master);
        wait_for_lag(&master, "the replica is silent", |lag| lag >= 2);
        replica.send_raw(b"\n").unwrap();
        wait_for_lag(&master, "the replica is heard", |lag| lag < 2);
    }
}

#[test]
fn what_was_kept_for_two_replicas_stays_theirs_together() {
    const VALUE_BYTES: usize = 1_000_000;
    const VALUES: usize = 30;
    let master = start_server(Kind::Ours, "");
    let mut replicas = [attach(&master), attach(&master)];
    let mut client = master.client();
    for _ in 0..VALUES {
        client.call(&["SET", "k", &"x".repeat(VALUE_BYTES)]);
    }
    let before = used_memory(&master);
    assert!(before > VALUES * VALUE_BYTES, "{before} bytes: it is kept");
    let at = offset(&master).to_string();
    for replica in &mut replicas {
        replica.send(&["REPLCONF", "ACK", &at]).unwrap();
        // Its stream has begun, and most of it is still with the master.
        stream::wait_for_some(replica);
    }
    let after = used_memory(&master);
    assert!(
        after < before + VALUES * VALUE_BYTES / 2,
        "{before} bytes before, {after} after"
    );
    assert_eq!(
        text(&client.call(&["STRLEN", "k"])),
        VALUE_BYTES.to_string()
    );
}

#[test]
fn a_port_that_is_none_is_not_that_of_a_replica_that_named_none() {
    for kind in BOTH {
        let master = start_server(kind, "");
        let mut replica = master.client();
        replica.call(&["REPLCONF", "capa", "eof"]);
        replica.send(&["PSYNC", "?", "-1"]).unwrap();
        stream::begin(&mut replica);
        let reply = master
            .client()
            .call(&["FAILOVER", "TO", "127.0.0.1", "70000"]);
        let wanted = "ERR FAILOVER target HOST and PORT is not a replica.";
        assert_eq!(text(&reply), wanted, "{kind:?}");
    }
}

#[test]
fn the_master_is_shown_as_the_client_that_it_is() {
    for kind in BOTH {
        let master = start_server(Kind::Real, "repl-ping-replica-period 3600\n");
        let replica = start_server(kind, &replica_of(&master));
        wait_until_equal(&master, &replica);
        master.client().call(&["SET", "k", "v"]);
        wait_until_equal(&master, &replica);
        let clients = text(&replica.client().call(&["CLIENT", "LIST"]));
        let shown = clients.lines().find(|line| line.contains(" flags=M "));
        let shown = shown.expect("the master is among them");
        let is_right = [" cmd=set ", " user=(superuser) ", " qbuf=0 "]
            .iter()
            .all(|field| shown.contains(field));
        assert!(is_right, "{kind:?}: {shown}");
    }
}

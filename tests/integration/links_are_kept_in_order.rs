//! What master and replica owe each other beside the data: patience while the other has to do, an end of it when
//! nothing is heard, room given back, and no word that the other cannot take.

use crate::stream;
use crate::support::{Client, Kind, ServerNode, expect_that, secs, start_server, wait_for};

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

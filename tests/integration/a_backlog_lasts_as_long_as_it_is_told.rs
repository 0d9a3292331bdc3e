//! `repl-backlog-ttl`: a master that nobody follows gives its backlog up after that time, and with it its history; a
//! replica keeps it.

use std::collections::BTreeMap;

use crate::both::side_by_side;
use crate::data::{follow, promote, replica_of, wait_for_info, wait_until_equal};
use crate::stream;
use crate::support::{Kind, ServerNode, expect_that, holds_for, secs, start_server, text};

const QUIET: &str = "repl-ping-replica-period 3600\n";
const NO_ID: &str = "0000000000000000000000000000000000000000";

fn replication(server: &ServerNode) -> BTreeMap<String, String> {
    let info = text(&server.client().call(&["INFO", "replication"]));
    let pairs = info.lines().filter_map(|line| line.split_once(':'));
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Where the history is, and what is kept of it.
fn shown(server: &ServerNode) -> String {
    let found = replication(server);
    let fields = [
        "master_repl_offset",
        "second_repl_offset",
        "repl_backlog_active",
        "repl_backlog_first_byte_offset",
        "repl_backlog_histlen",
    ];
    fields.map(|field| found[field].as_str()).join(" ")
}

fn ids(server: &ServerNode) -> [String; 2] {
    let found = replication(server);
    ["master_replid", "master_replid2"].map(|field| found[field].clone())
}

fn wait_until_freed(server: &ServerNode) {
    wait_for_info(server, "repl_backlog_active", "0");
}

/// A master that somebody follows, a replica whose master has gone, and a master that is to keep it for ever.
struct Keepers {
    followed: (ServerNode, ServerNode),
    replica: ServerNode,
    for_ever: ServerNode,
}

impl Keepers {
    fn start(kind: Kind) -> Keepers {
        let start = |ttl: u32| start_server(kind, &format!("{QUIET}repl-backlog-ttl {ttl}\n"));
        let (followed, replica, for_ever) = (start(1), start(1), start(0));
        let follower = start_server(Kind::Real, &replica_of(&followed));
        let mut master = start_server(Kind::Real, QUIET);
        follow(&replica, &master);
        let mut client = for_ever.client();
        stream::begin(&mut client);
        drop(client);
        for (master, replica) in [(&followed, &follower), (&master, &replica)] {
            wait_until_equal(master, replica);
            master.client().ask("SET k 1");
            wait_until_equal(master, replica);
        }
        for_ever.client().ask("SET k 1");
        master.kill();
        wait_for_info(&replica, "master_link_status", "down");
        wait_for_info(&for_ever, "connected_slaves", "0");
        Keepers {
            followed: (followed, follower),
            replica,
            for_ever,
        }
    }

    fn servers(&self) -> [&ServerNode; 3] {
        [&self.followed.0, &self.replica, &self.for_ever]
    }
}

#[test]
fn a_master_forgets_its_history_with_it() {
    let seen = side_by_side(|kind| {
        let mut all = Keepers::start(kind);
        let states = |all: &Keepers| all.servers().map(|server| (shown(server), ids(server)));
        let before = states(&all);
        // It takes two seconds at most otherwise.
        holds_for("histories and backlogs", secs(9) / 4, || {
            let now = states(&all);
            expect_that(now == before, || format!("{now:?}"))
        });
        let mut seen: Vec<String> = before.iter().map(|(shown, _)| shown.clone()).collect();
        // Now none of them has a reason any more.
        all.followed.1.kill();
        promote(&all.replica);
        let [_, second] = ids(&all.replica);
        assert_eq!(second, before[1].1[0], "{kind:?}");
        all.for_ever.client().ask("CONFIG SET repl-backlog-ttl 1");
        for (server, (_, [id, _])) in all.servers().into_iter().zip(&before) {
            wait_until_freed(server);
            let [new, second] = ids(server);
            assert!(new != *id && second == NO_ID, "{kind:?}: {new} {second}");
            assert_eq!(server.info("mem_replication_backlog").as_deref(), Some("0"));
            // It is as if it had never had one.
            let mut client = server.client();
            client.ask("SET k 2");
            seen.push(shown(server));
            let mut replica = server.client();
            replica.ask("REPLCONF capa psync2");
            replica.send(&["PSYNC", id, "1"]).unwrap();
            let reply = text(&replica.receive().unwrap());
            let words: Vec<&str> = reply.split(' ').collect();
            seen.push(format!("{} {}", words[0], words[2]));
            assert!(
                ![id.as_str(), &new].contains(&words[1]),
                "{kind:?}: {reply}"
            );
            seen.push(shown(server));
        }
        seen
    });
    assert_eq!(seen[0], seen[1]);
}

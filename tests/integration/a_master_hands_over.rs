//! `FAILOVER`: a master hands over to a replica without losing a write, between any two programs; what cannot
//! be is refused, or given up, as redis-server does it.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::cable::{Cable, Towards};
use crate::data::{Commands, digest, follow, offset, replica_of, wait_until_equal, write};
use crate::support::{Client, Kind, ServerNode, expect_that, secs, start_server, text, wait_for};

const PAIRS: [(Kind, Kind); 3] = [
    (Kind::Ours, Kind::Real),
    (Kind::Real, Kind::Ours),
    (Kind::Ours, Kind::Ours),
];

fn wait_for_state(server: &ServerNode, wanted: &str) {
    wait_for(&format!("{wanted} on {}", server.port()), secs(20), || {
        let state = server.info("master_failover_state");
        expect_that(state.as_deref() == Some(wanted), || format!("{state:?}"))
    });
}

/// A real master sends its data, and counts a replica as one a little later; before, it refuses to hand over to it.
fn wait_until_online(master: &ServerNode, replicas: usize) {
    wait_for("the replicas are online", secs(20), || {
        let shown: Vec<_> = (0..replicas)
            .map(|i| master.info(&format!("slave{i}")))
            .collect();
        let is_online = |line: &Option<String>| {
            line.as_deref()
                .is_some_and(|line| line.contains("state=online"))
        };
        expect_that(shown.iter().all(is_online), || format!("{shown:?}"))
    });
}

/// Counts up until the server takes no more writes. `acknowledged` says how far that is.
fn count_up(mut client: Client, acknowledged: &AtomicU64) {
    loop {
        let reply = client.call(&["INCR", "count"]);
        if reply.is_error() {
            assert!(text(&reply).starts_with("READONLY"), "{}", text(&reply));
            return;
        }
        acknowledged.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn no_write_is_lost_and_the_old_master_goes_on_as_a_replica() {
    for (seed, (old, heir)) in (90..).zip(PAIRS) {
        let old = start_server(old, "");
        let heir = start_server(heir, &replica_of(&old));
        let other = start_server(Kind::Ours, &replica_of(&old));
        let mut commands = Commands::of(seed).with_chance();
        write(&mut old.client(), &mut commands, 100);
        old.client().call(&["DEL", "count"]);
        wait_until_equal(&old, &heir);
        wait_until_equal(&old, &other);
        wait_until_online(&old, 2);
        let acknowledged = AtomicU64::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| count_up(old.client(), &acknowledged));
            wait_for("some writes", secs(10), || {
                let count = acknowledged.load(Ordering::Relaxed);
                expect_that(count >= 50, || format!("{count}"))
            });
            let line = format!("FAILOVER TO 127.0.0.1 {} TIMEOUT 20000", heir.port());
            assert_eq!(old.client().ask(&line), "OK");
            wait_for("the roles are changed", secs(20), || {
                old.follows(heir.port())
            });
        });
        wait_for_state(&old, "no-failover");
        assert_eq!(heir.info("role").as_deref(), Some("master"));
        let count = heir.client().ask("GET count");
        let acknowledged = acknowledged.into_inner().to_string();
        assert_eq!(count, acknowledged, "{:?} to {:?}", old.kind, heir.kind);
        assert_eq!(heir.info("sync_full").as_deref(), Some("0"));
        follow(&other, &heir);
        write(&mut heir.client(), &mut commands, 100);
        wait_until_equal(&heir, &old);
        wait_until_equal(&heir, &other);
        // And back, to whoever has everything first.
        assert_eq!(heir.client().ask("FAILOVER"), "OK");
        wait_for("it is a replica", secs(20), || {
            let state = (heir.info("role"), heir.info("master_link_status"));
            let wanted = (Some("slave".to_owned()), Some("up".to_owned()));
            expect_that(state == wanted, || format!("{state:?}"))
        });
        wait_for_state(&heir, "no-failover");
    }
}

/// Else there would be two masters: the target has become one, and the old one would take that for a refusal. A
/// redis-server gives up as soon as the answer is lost.
#[test]
fn the_target_whose_answer_is_lost_is_followed_all_the_same() {
    for heir in [Kind::Real, Kind::Ours] {
        let old = start_server(Kind::Ours, "");
        let heir = start_server(heir, "");
        let cable = Cable::to(heir.port());
        // The answers to PING and two of REPLCONF pass, the one to PSYNC does not.
        cable.cut_behind(Towards::Caller, "+PONG\r\n+OK\r\n+OK\r\n".len() as u64);
        let port = cable.port().to_string();
        let mut to_heir = heir.client();
        let announce = ["CONFIG", "SET", "replica-announce-port", &port];
        assert_eq!(text(&to_heir.call(&announce)), "OK");
        follow(&heir, &old);
        old.client().call(&["SET", "k", "1"]);
        wait_until_equal(&old, &heir);
        wait_until_online(&old, 1);
        let line = format!("FAILOVER TO 127.0.0.1 {port} TIMEOUT 20000");
        assert_eq!(old.client().ask(&line), "OK");
        wait_for("it has taken over", secs(20), || {
            let role = heir.info("role");
            expect_that(role.as_deref() == Some("master"), || format!("{role:?}"))
        });
        assert_eq!(to_heir.ask("SET k 2"), "OK");
        assert_eq!(
            old.info("master_failover_state").as_deref(),
            Some("failover-in-progress"),
            "to {:?}: nothing was lost",
            heir.kind
        );
        cable.mend();
        wait_for("the old one follows", secs(20), || {
            old.follows(cable.port())
        });
        wait_for_state(&old, "no-failover");
        assert_eq!(heir.info("role").as_deref(), Some("master"));
        wait_until_equal(&heir, &old);
        assert_eq!(heir.info("sync_full").as_deref(), Some("0"));
    }
}

/// Its data are not replaced by those of a master that has others.
#[test]
fn a_target_that_is_a_master_of_something_else_is_not_followed() {
    let old = start_server(Kind::Ours, "");
    let heir = start_server(Kind::Real, &replica_of(&old));
    let stranger = start_server(Kind::Real, "");
    old.client().call(&["SET", "k", "1"]);
    wait_until_equal(&old, &heir);
    wait_until_online(&old, 1);
    // A replica that says it is at the address of the stranger.
    let port = stranger.port().to_string();
    let announce = ["CONFIG", "SET", "replica-announce-port", &port];
    assert_eq!(text(&heir.client().call(&announce)), "OK");
    follow(&heir, &stranger);
    stranger.client().call(&["SET", "k", "other"]);
    follow(&heir, &old);
    wait_until_equal(&old, &heir);
    wait_until_online(&old, 1);
    let line = format!("FAILOVER TO 127.0.0.1 {port} TIMEOUT 20000");
    assert_eq!(old.client().ask(&line), "OK");
    wait_for("it is given up", secs(20), || {
        let log = old.process.log();
        let given_up = log.contains("Failover target rejected psync request");
        expect_that(given_up, || log)
    });
    wait_for_state(&old, "no-failover");
    assert_eq!(old.info("role").as_deref(), Some("master"));
    assert_eq!(old.client().ask("GET k"), "1");
    assert_eq!(old.client().ask("SET k 2"), "OK");
}

#[test]
fn a_replica_that_never_catches_up() {
    let answers = [(Kind::Ours, Kind::Real), (Kind::Real, Kind::Ours)].map(|(master, replica)| {
        let master = start_server(master, "");
        let mut replica = start_server(replica, &replica_of(&master));
        let mut client = master.client();
        let mut answers = Vec::new();
        client.call(&["SET", "k", "1"]);
        wait_until_equal(&master, &replica);
        wait_until_online(&master, 1);
        replica.process.stop();
        client.call(&["SET", "k", "2"]);
        let target = format!("FAILOVER TO 127.0.0.1 {}", replica.port());
        answers.push(client.ask(&target));
        wait_for_state(&master, "waiting-for-sync");
        let before = offset(&master);
        for line in [
            "FAILOVER",
            "REPLICAOF NO ONE",
            "REPLICAOF h 1",
            "SYNC",
            "PSYNC ? -1",
            "GET k",
            "CLIENT UNPAUSE",
            "ROLE",
            "WAIT 0 0",
        ] {
            let answer = client.ask(line);
            if line != "ROLE" {
                answers.push(format!("{line}: {answer}"));
            }
        }
        // What writes waits, whatever `CLIENT UNPAUSE` has ended.
        let mut writer = master.client();
        writer.send(&["SET", "k", "3"]).unwrap();
        assert_eq!(client.ask("GET k"), "2");
        assert_eq!(
            offset(&master),
            before,
            "a stream that moves is never caught up with"
        );
        answers.push(client.ask("FAILOVER ABORT"));
        answers.push(text(&writer.receive().unwrap()));
        wait_for_state(&master, "no-failover");
        // By itself, in time.
        answers.push(client.ask(&format!("{target} TIMEOUT 300")));
        answers.push(client.ask("SET k 4"));
        wait_for_state(&master, "no-failover");
        answers.push(master.info("role").unwrap());
        // By force: who does not answer is waited for, until that is given up.
        answers.push(client.ask(&format!("{target} FORCE TIMEOUT 300")));
        wait_for_state(&master, "failover-in-progress");
        answers.push(master.info("role").unwrap());
        answers.push(client.ask("SET k 5"));
        answers.push(client.ask("REPLICAOF NO ONE"));
        answers.push(client.ask("FAILOVER ABORT"));
        answers.push(master.info("role").unwrap());
        answers.push(client.ask("SET k 6"));
        replica.process.resume();
        wait_until_equal(&master, &replica);
        assert_eq!(digest(&master), digest(&replica));
        answers
    });
    assert_eq!(answers[0], answers[1]);
}

#[test]
fn refusals() {
    let answers = [Kind::Ours, Kind::Real].map(|kind| {
        let master = start_server(kind, "");
        let mut client = master.client();
        let mut answers = Vec::new();
        let mut ask_all = |client: &mut Client, port: u16| {
            for line in [
                "FAILOVER ABORT",
                "FAILOVER x",
                "FAILOVER TIMEOUT",
                "FAILOVER TIMEOUT 0",
                "FAILOVER TIMEOUT x",
                "FAILOVER TIMEOUT -1",
                "FAILOVER TIMEOUT 5 TIMEOUT 6",
                "FAILOVER TO h",
                "FAILOVER TO h x",
                "FAILOVER TO h 1 TO h 1",
                "FAILOVER FORCE",
                "FAILOVER FORCE FORCE",
                "FAILOVER TO h 1 FORCE",
                "FAILOVER FORCE TIMEOUT 1",
                "FAILOVER TO h 1",
                "FAILOVER TO h 99999999",
                "FAILOVER ABORT ABORT",
                "FAILOVER TO 127.0.0.1 PORT FORCE",
                "PSYNC x 1 FAILOVER",
            ] {
                let answer = client.ask(&line.replace("PORT", &port.to_string()));
                answers.push(format!("{line}: {answer}"));
            }
        };
        ask_all(&mut client, 1);
        let replica = start_server(Kind::Ours, &replica_of(&master));
        wait_until_equal(&master, &replica);
        wait_until_online(&master, 1);
        ask_all(&mut client, replica.port());
        follow(&master, &start_server(Kind::Ours, ""));
        let mut client = master.client();
        answers.push(client.ask("FAILOVER"));
        answers.push(client.ask("PSYNC x 1 FAILOVER"));
        answers
    });
    assert_eq!(answers[0], answers[1]);
}

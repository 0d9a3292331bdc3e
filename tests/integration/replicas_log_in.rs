//! `masteruser` and `masterauth` with users of an ACL, redis-server at one end of the link: who is let in, what both
//! sides say of the others, and what a change of the user or of the setting does.

use crate::both::side_by_side;
use crate::data::{replica_of, wait_for_info};
use crate::support::{Client, Kind, ServerNode, expect_that, maps, secs, start_server, wait_for};

const USERS: &str = "user default on >dpass ~* &* +@all
user repl on >rpass -@all +psync +replconf +ping
user bare on >bpass -@all +psync
user weak on >wpass -@all +ping
user off off >opass -@all +psync +replconf +ping
";

const WRONGPASS: &str = "-WRONGPASS invalid username-password pair or user is disabled.";

/// A redis-server that follows ours, and ours that follows one, at the same time.
fn in_both_directions(check: impl Fn(Kind, Kind) + Sync) {
    side_by_side(|master| match master {
        Kind::Real => check(Kind::Real, Kind::Ours),
        Kind::Ours => check(Kind::Ours, Kind::Real),
    });
}

fn log_in(master: &ServerNode) -> Client {
    let mut client = master.client();
    assert_eq!(client.ask("AUTH dpass"), "OK");
    client
}

/// A master with the users, and a client of its own.
fn start_master(kind: Kind) -> (ServerNode, Client) {
    let master = start_server(kind, USERS);
    let client = log_in(&master);
    (master, client)
}

fn log_in_as(replica: &mut Client, user: &str, password: &str) {
    for (name, value) in [("masteruser", user), ("masterauth", password)] {
        replica.call(&["CONFIG", "SET", name, value]);
    }
}

fn follow(replica: &mut Client, master: &ServerNode) {
    let port = master.port().to_string();
    replica.call(&["REPLICAOF", "127.0.0.1", &port]);
}

/// Reasons, contexts and objects of what the master refused a user; each only once.
fn refusals(master: &mut Client) -> Vec<String> {
    let log = maps(&master.call(&["ACL", "LOG"]));
    let mut found: Vec<String> = log
        .iter()
        .map(|entry| {
            ["username", "reason", "context", "object"]
                .map(|field| &*entry[field])
                .join(" ")
        })
        // Whoever is refused PSYNC tries SYNC at redis-server.
        .filter(|entry| !entry.ends_with(" sync"))
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// The replica as the master shows it among its clients.
fn shown(master: &mut Client) -> String {
    let clients = master.ask("CLIENT LIST TYPE replica");
    let words = clients.split_ascii_whitespace();
    let wanted: Vec<&str> = words
        .filter(|word| word.starts_with("flags=") || word.starts_with("user="))
        .collect();
    wanted.join(" ")
}

#[test]
fn who_is_let_in() {
    let check = |master: Kind, replica: Kind| {
        let (master, mut client) = start_master(master);
        for (user, password) in [
            ("", "dpass"),
            ("repl", "rpass"),
            ("bare", "bpass"),
            ("default", "dpass"),
        ] {
            let replica = start_server(replica, "");
            log_in_as(&mut replica.client(), user, password);
            follow(&mut replica.client(), &master);
            wait_for_info(&replica, "master_link_status", "up");
            let user = if user.is_empty() { "default" } else { user };
            assert_eq!(shown(&mut client), format!("flags=S user={user}"));
            drop(replica);
            wait_for("it is gone", secs(10), || {
                let left = shown(&mut client);
                expect_that(left.is_empty(), || left)
            });
        }
        // It does not mind that it may not introduce itself.
        assert_eq!(refusals(&mut client), ["bare command toplevel replconf"]);
    };
    in_both_directions(check);
}

#[test]
fn what_is_said_of_the_others() {
    for (user, password, log, refused) in [
        ("", "", "NOAUTH Authentication required.", &[][..]),
        ("", "wrong", WRONGPASS, &["default auth toplevel AUTH"]),
        ("repl", "", "NOAUTH Authentication required.", &[]),
        ("repl", "wrong", WRONGPASS, &["repl auth toplevel AUTH"]),
        ("nobody", "x", WRONGPASS, &["nobody auth toplevel AUTH"]),
        ("off", "opass", WRONGPASS, &["off auth toplevel AUTH"]),
        (
            "weak",
            "wpass",
            "-NOPERM this user has no permissions to run the 'psync' command",
            &[
                "weak command toplevel psync",
                "weak command toplevel replconf",
            ],
        ),
    ] {
        let check = |master: Kind, replica: Kind| {
            let (master, mut client) = start_master(master);
            let replica = start_server(replica, "");
            log_in_as(&mut replica.client(), user, password);
            follow(&mut replica.client(), &master);
            let what = format!("{replica:?} says why not", replica = replica.kind);
            wait_for(&what, secs(10), || {
                let said = replica.process.log();
                expect_that(said.contains(log), || said)
            });
            let info = |field| replica.info(field).unwrap_or_default();
            assert_eq!(info("master_link_status"), "down");
            assert_eq!(info("master_link_down_since_seconds"), "-1");
            assert_eq!(refusals(&mut client), refused, "{user} {password}");
            let error = log.trim_start_matches('-').split(' ').next().unwrap();
            let count = client.ask("INFO errorstats");
            assert!(count.contains(&format!("errorstat_{error}:")), "{count}");
        };
        in_both_directions(check);
    }
}

#[test]
fn what_changes_while_the_link_is_up() {
    let check = |master: Kind, replica: Kind| {
        let (master, mut client) = start_master(master);
        let lines = format!("{}masteruser repl\nmasterauth rpass\n", replica_of(&master));
        let replica = start_server(replica, &lines);
        let is_up = |is: bool| {
            let wanted = if is { "up" } else { "down" };
            wait_for_info(&replica, "master_link_status", wanted);
        };
        is_up(true);
        let cut = |client: &mut Client| {
            assert_eq!(client.ask("CLIENT KILL TYPE replica"), "1");
            is_up(false);
        };
        // A new password is asked for at the next link.
        assert_eq!(client.ask("ACL SETUSER repl resetpass >new"), "OK");
        client.ask("SET k 1");
        wait_for("the link is up still", secs(5), || {
            let value = replica.client().ask("GET k");
            expect_that(value == "1", || value)
        });
        cut(&mut client);
        replica.client().ask("CONFIG SET masterauth new");
        is_up(true);
        // A user that is deleted has no link any more.
        assert_eq!(client.ask("ACL DELUSER repl"), "1");
        is_up(false);
        // Whoever may not acknowledge is answered, and cut off for that.
        log_in_as(&mut replica.client(), "bare", "bpass");
        let before = client.ask("INFO stats");
        wait_for("it is cut off and comes back", secs(10), || {
            let count = |stats: &str| {
                let line = stats.lines().find(|l| l.starts_with("sync_partial_ok:"));
                line.unwrap()["sync_partial_ok:".len()..]
                    .trim()
                    .parse::<u32>()
                    .unwrap()
            };
            let more = count(&client.ask("INFO stats")) - count(&before);
            expect_that(more >= 2, || more.to_string())
        });
        log_in_as(&mut replica.client(), "", "dpass");
        client.ask("SET k 2");
        wait_for("it has all", secs(10), || {
            let value = replica.client().ask("GET k");
            expect_that(value == "2", || value)
        });
        assert!(client.ask("INFO stats").contains("sync_full:1\r\n"));
    };
    in_both_directions(check);
}

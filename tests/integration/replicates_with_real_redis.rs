//! Any mixture of our data server and redis-server 7.0 as master and replica, with every way to transfer the
//! data: same data, same offset, down a chain too.

use crate::both::{each_with, side_by_side};
use crate::data::{
    Commands, digest, full_resyncs, promote, replica_of, seeds, wait_until_equal, write,
};
use crate::support::{
    Answer, Fake, Kind, expect_that, holds_for, secs, start_server, text, wait_for,
};

fn check(master: Kind, replica: Kind, lines: &str, seed: u64) {
    let master = start_server(master, lines);
    let mut commands = Commands::of(seed).with_chance().with_expiry();
    write(&mut master.client(), &mut commands, 300);
    let replica = start_server(replica, &replica_of(&master));
    // Some of these fall into the transfer, the others into the stream.
    write(&mut master.client(), &mut commands, 700);
    wait_until_equal(&master, &replica);
    write(&mut master.client(), &mut commands, 300);
    wait_until_equal(&master, &replica);
}

#[test]
fn diskless() {
    for seed in seeds([1]) {
        check(Kind::Ours, Kind::Real, "", seed);
        check(Kind::Real, Kind::Ours, "", seed);
        check(Kind::Ours, Kind::Ours, "", seed);
    }
}

#[test]
fn from_a_file() {
    let lines = "repl-diskless-sync no\n";
    for seed in seeds([4]) {
        check(Kind::Ours, Kind::Real, lines, seed);
        check(Kind::Real, Kind::Ours, lines, seed);
        check(Kind::Ours, Kind::Ours, lines, seed);
    }
}

#[test]
fn data_that_no_socket_takes_at_once() {
    for lines in ["", "repl-diskless-sync no\n"] {
        let master = start_server(Kind::Ours, lines);
        let mut client = master.client();
        for n in 0..2000 {
            client.call(&["SET", &format!("k{n}"), &"x".repeat(4000)]);
        }
        client.call(&["SET", "huge", &"y".repeat(20_000_000)]);
        let real = start_server(Kind::Real, &replica_of(&master));
        let ours = start_server(Kind::Ours, &replica_of(&master));
        // Kept for them until the transfer is over.
        for n in 0..200 {
            client.call(&["SET", &format!("k{n}"), "changed"]);
        }
        client.call(&["APPEND", "huge", "z"]);
        wait_until_equal(&master, &real);
        wait_until_equal(&master, &ours);
    }
}

#[test]
fn down_a_chain() {
    let chains = [
        [Kind::Real, Kind::Ours, Kind::Real],
        [Kind::Ours, Kind::Real, Kind::Ours],
        [Kind::Ours, Kind::Ours, Kind::Ours],
    ];
    for (seed, kinds) in each_with(seeds([7]), chains) {
        let mut commands = Commands::of(seed).with_chance().with_expiry();
        let top = start_server(kinds[0], "");
        write(&mut top.client(), &mut commands, 200);
        let middle = start_server(kinds[1], &replica_of(&top));
        wait_until_equal(&top, &middle);
        let last = start_server(kinds[2], &replica_of(&middle));
        write(&mut top.client(), &mut commands, 500);
        wait_until_equal(&top, &middle);
        wait_until_equal(&middle, &last);
        assert_eq!(top.info("master_replid"), last.info("master_replid"));
    }
}

#[test]
fn transactions_and_expiry_arrive_as_they_were() {
    for (master, replica) in [(Kind::Ours, Kind::Real), (Kind::Real, Kind::Ours)] {
        let master = start_server(master, "");
        let replica = start_server(replica, &replica_of(&master));
        wait_until_equal(&master, &replica);
        let mut client = master.client();
        for line in [
            "SET gone x PX 40",
            "MULTI",
            "SET a 1",
            "SELECT 2",
            "SET b 2",
            "INCR b",
            "EXEC",
            "SELECT 0",
            "MULTI",
            "GET a",
            "EXEC",
            "MULTI",
            "SET c 3",
            "EXEC",
            "GETEX a EX 1000",
            "SET d 1 EX 1000",
            "INCRBYFLOAT d 0.5",
            "SELECT 3",
            "SET e 1",
            "FLUSHDB",
        ] {
            let words: Vec<&str> = line.split(' ').collect();
            client.call(&words);
        }
        wait_until_equal(&master, &replica);
        // The master removes it by itself, and the replica because the master says so.
        crate::support::wait_for("the expired key is gone", crate::support::secs(10), || {
            let left = text(&replica.client().call(&["DBSIZE"]));
            crate::support::expect_that(left == "3", || format!("{left} keys"))
        });
        wait_until_equal(&master, &replica);
    }
}

#[test]
fn wait_is_answered_by_getack_not_by_the_clock() {
    for (master, replica) in [(Kind::Ours, Kind::Real), (Kind::Real, Kind::Ours)] {
        let master = start_server(master, "");
        let replica = start_server(replica, &replica_of(&master));
        wait_until_equal(&master, &replica);
        let clock = sentinel::clock::Clock::start();
        let mut client = master.client();
        let begin = clock.mono();
        for n in 0..20 {
            client.call(&["SET", "k", &n.to_string()]);
            assert_eq!(text(&client.call(&["WAIT", "1", "4000"])), "1");
        }
        // The regular acknowledgements come once a second.
        let took = clock.mono().since(begin);
        assert!(took < crate::support::secs(5), "20 WAITs took {took:?}");
        assert_eq!(digest(&master), digest(&replica));
    }
}

#[test]
fn a_replica_refuses_writes_and_says_who_it_follows() {
    let master = start_server(Kind::Ours, "");
    let replica = start_server(Kind::Ours, &replica_of(&master));
    wait_until_equal(&master, &replica);
    let mut client = replica.client();
    let refused = "READONLY You can't write against a read only replica.";
    assert_eq!(text(&client.call(&["SET", "a", "1"])), refused);
    let port = master.port().to_string();
    let again = client.call(&["SLAVEOF", "127.0.0.1", &port]);
    assert_eq!(text(&again), "OK Already connected to specified master");
    let role = text(&client.call(&["ROLE"]));
    assert!(
        role.starts_with(&format!("slave 127.0.0.1 {port} connected ")),
        "{role}"
    );
}

#[test]
fn what_could_not_take_a_masters_data_stays_unfit_for_promotion() {
    let master = start_server(Kind::Real, "");
    master.client().call(&["XADD", "stream", "*", "f", "v"]);
    let replica = start_server(Kind::Ours, &replica_of(&master));
    let wait_for_priority = |wanted: &str| {
        crate::support::wait_for("the priority", crate::support::secs(20), || {
            let is = replica.info("slave_priority");
            crate::support::expect_that(is.as_deref() == Some(wanted), || format!("it is {is:?}"))
        });
    };
    wait_for_priority("0");
    // Another master, which nobody reaches, changes nothing about what is lacking here.
    let mut client = replica.client();
    client.call(&["REPLICAOF", "127.0.0.1", "1"]);
    assert_eq!(replica.info("slave_priority").as_deref(), Some("0"));
    master.client().call(&["DEL", "stream"]);
    client.call(&["REPLICAOF", "127.0.0.1", &master.port().to_string()]);
    wait_for_priority("100");
    wait_until_equal(&master, &replica);
}

/// Going on from its own offset, it would meet the same command again and again.
#[test]
fn a_replica_that_cannot_apply_a_command_takes_all_data_again() {
    let master = start_server(Kind::Real, "");
    let replica = start_server(Kind::Ours, &replica_of(&master));
    wait_until_equal(&master, &replica);
    let before = full_resyncs(&master);
    let mut client = master.client();
    for line in ["MULTI", "INCR n", "XADD s * f v", "DEL s", "INCR n", "EXEC"] {
        client.call(&line.split(' ').collect::<Vec<_>>());
    }
    wait_until_equal(&master, &replica);
    assert_eq!(text(&replica.client().call(&["GET", "n"])), "2");
    assert_eq!(full_resyncs(&master), before + 1);
}

/// Its data are not those of the offset that it would name.
#[test]
fn half_a_transaction_is_handed_to_no_replica() {
    let master = start_server(Kind::Real, "");
    let lines = replica_of(&master) + "repl-diskless-sync-delay 2\n";
    let middle = start_server(Kind::Ours, &lines);
    wait_until_equal(&master, &middle);
    let last = start_server(Kind::Real, &replica_of(&middle));
    crate::support::wait_for("a replica waits", crate::support::secs(10), || {
        let waits = middle.info("slave0");
        let is_there = waits.as_deref().is_some_and(|w| w.contains("wait_bgsave"));
        crate::support::expect_that(is_there, || format!("{waits:?}"))
    });
    let mut client = master.client();
    for line in ["MULTI", "INCR n", "XADD s * f v", "EXEC"] {
        client.call(&line.split(' ').collect::<Vec<_>>());
    }
    crate::support::wait_for("the data are refused", crate::support::secs(10), || {
        let status = middle.info("master_link_status");
        crate::support::expect_that(status.as_deref() == Some("down"), || format!("{status:?}"))
    });
    // The delay is long over before the middle one asks for all data again.
    std::thread::sleep(crate::support::secs(4));
    assert_eq!(text(&last.client().call(&["GET", "n"])), "(nil)");
    client.call(&["DEL", "s"]);
    wait_until_equal(&middle, &last);
    assert_eq!(text(&last.client().call(&["GET", "n"])), "1");
}

/// They are in no stream, and the new master goes on from where the old one was before them.
#[test]
fn what_a_transaction_writes_behind_its_own_replicaof_is_not_kept() {
    let old = start_server(Kind::Ours, "");
    let new = start_server(Kind::Ours, &replica_of(&old));
    old.client().call(&["SET", "n", "1"]);
    wait_until_equal(&old, &new);
    promote(&new);
    let mut client = old.client();
    let port = new.port().to_string();
    client.call(&["MULTI"]);
    client.call(&["REPLICAOF", "127.0.0.1", &port]);
    client.call(&["INCR", "n"]);
    assert_eq!(text(&client.call(&["EXEC"])), "OK 2");
    wait_until_equal(&new, &old);
    assert_eq!(text(&client.call(&["GET", "n"])), "1");
    assert_eq!(full_resyncs(&new), 1);
}

/// What a replica asks of a master that answers `PSYNC` so, up to a moment at which it asks for nothing more or has
/// asked twice, and whether it gets what the master gives for a `SYNC` and writes behind that.
fn asked(kind: Kind, psync: &'static str, file: &[u8]) -> (Vec<String>, String) {
    let length = format!("${}\r\n", file.len());
    let given = [
        length.as_bytes(),
        file,
        b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$7\r\nwritten\r\n",
    ];
    let given = given.concat();
    let fake = Fake::start(move |words| {
        match words
            .first()
            .map(|word| word.to_ascii_uppercase())
            .as_deref()
        {
            Some("PING") => Answer::Say(b"+PONG\r\n".to_vec()),
            Some("PSYNC") => Answer::Say(psync.as_bytes().to_vec()),
            Some("SYNC") => Answer::Say(given.clone()),
            Some("REPLCONF") => Answer::Say(b"+OK\r\n".to_vec()),
            _ => Answer::Silence,
        }
    });
    let replica = start_server(kind, &format!("replicaof 127.0.0.1 {}\n", fake.port()));
    let names = || -> Vec<String> {
        let requests = fake
            .requests()
            .into_iter()
            .filter_map(|words| words.into_iter().next());
        requests.map(|name| name.to_ascii_uppercase()).collect()
    };
    let count = |wanted| names().iter().filter(|name| *name == wanted).count();
    let get = || replica.client().ask("GET x");
    wait_for("it has the data, or asks again", secs(10), || {
        expect_that(get() == "written" || count("PSYNC") > 1, || {
            format!("{:?}", names())
        })
    });
    let seen = if count("SYNC") > 0 {
        let before = names();
        // As long as an acknowledgement would take.
        holds_for("it says nothing more", secs(3) / 2, || {
            expect_that(names() == before, || format!("{:?}", names()))
        });
        before
    } else {
        let mut seen = names();
        seen.truncate(4);
        seen
    };
    (seen, get())
}

#[test]
fn a_master_that_refuses_psync_is_asked_by_sync() {
    let maker = start_server(Kind::Real, "");
    maker.client().ask("SET k v");
    maker.client().ask("SAVE");
    let file = std::fs::read(maker.dir().join("dump.rdb")).unwrap();
    for (psync, is_asked) in [
        ("-ERR unknown command 'PSYNC'\r\n", true),
        ("-NOPERM this user has no permissions\r\n", true),
        (
            "-NOMASTERLINK Can't SYNC while not connected with my master\r\n",
            false,
        ),
        ("-LOADING Redis is loading the dataset in memory\r\n", false),
    ] {
        let [real, ours] = side_by_side(|kind| asked(kind, psync, &file));
        assert_eq!(real, ours, "{psync}");
        assert_eq!(ours.1 == "written", is_asked, "{psync}");
    }
}

#[test]
fn a_master_without_psync_is_followed() {
    for (master, replica) in [
        (Kind::Real, Kind::Ours),
        (Kind::Ours, Kind::Real),
        (Kind::Ours, Kind::Ours),
    ] {
        for diskless in ["yes", "no"] {
            let lines = "rename-command PSYNC \"\"\nrepl-diskless-sync-delay 0\n";
            let master = start_server(master, &format!("{lines}repl-diskless-sync {diskless}\n"));
            let mut client = master.client();
            client.ask("SET before 1");
            let replica = start_server(replica, &replica_of(&master));
            wait_for("the link is up", secs(20), || {
                let status = replica.info("master_link_status");
                expect_that(status.as_deref() == Some("up"), || format!("{status:?}"))
            });
            client.ask("RPUSH behind a b c");
            wait_for("it has everything", secs(20), || {
                let (there, here) = (digest(&master), digest(&replica));
                expect_that(there == here, || format!("{there} {here}"))
            });
            assert_eq!(replica.client().ask("LLEN behind"), "3");
        }
    }
}

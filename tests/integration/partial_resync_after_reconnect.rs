//! A replica whose link was cut goes on where it was; one whose siblings were promoted goes on from them;
//! one that was restarted goes on from its file. No full resync where none is needed, and one where it is.

use std::fs;

use sentinel::clock::unix_now;

use crate::both::each_with;
use crate::data::{
    Commands, follow, full_resyncs, partial_resyncs, promote, replica_of, seeds, wait_until_equal,
    write,
};
use crate::support::{Client, Kind, expect_that, secs, start_server, text, wait_for};

const PAIRS: [(Kind, Kind); 3] = [
    (Kind::Ours, Kind::Real),
    (Kind::Real, Kind::Ours),
    (Kind::Ours, Kind::Ours),
];

fn cut_links(master: &mut Client) {
    master.call(&["CLIENT", "KILL", "TYPE", "replica"]);
}

#[test]
fn cut_links_are_mended_without_a_full_resync() {
    for (seed, (master, replica)) in each_with(seeds([20]), PAIRS) {
        let mut commands = Commands::of(seed).with_chance().with_expiry();
        // The values are long: the backlog must hold what is written during a cut.
        let master = start_server(master, "repl-backlog-size 64mb\n");
        let replica = start_server(replica, &replica_of(&master));
        wait_until_equal(&master, &replica);
        let mut client = master.client();
        for _ in 0..12 {
            write(&mut client, &mut commands, 60);
            cut_links(&mut client);
            write(&mut client, &mut commands, 60);
        }
        wait_until_equal(&master, &replica);
        assert_eq!(full_resyncs(&master), 1, "of {:?}", master.kind);
        assert!(partial_resyncs(&master) > 0);
    }
}

#[test]
fn a_backlog_that_is_too_small_means_a_full_resync() {
    for (master, replica) in PAIRS {
        let master = start_server(master, "repl-backlog-size 16kb\n");
        let mut replica = start_server(replica, &replica_of(&master));
        wait_until_equal(&master, &replica);
        replica.process.stop();
        let mut client = master.client();
        cut_links(&mut client);
        for n in 0..40 {
            client.call(&["SET", &format!("k{n}"), &"x".repeat(4096)]);
        }
        replica.process.resume();
        wait_until_equal(&master, &replica);
        assert_eq!(full_resyncs(&master), 2, "of {:?}", master.kind);
    }
}

#[test]
fn siblings_follow_a_promoted_replica_without_a_full_resync() {
    let chains = [
        [Kind::Real, Kind::Ours, Kind::Real],
        [Kind::Ours, Kind::Real, Kind::Ours],
        [Kind::Ours, Kind::Ours, Kind::Ours],
    ];
    for (seed, kinds) in each_with(seeds([30]), chains) {
        let mut commands = Commands::of(seed).with_chance();
        // A PING between the promotion and the change of sides would put the others ahead of the heir.
        let quiet = "repl-ping-replica-period 3600\n";
        let old = start_server(kinds[0], quiet);
        let heir = start_server(kinds[1], &format!("{quiet}{}", replica_of(&old)));
        let sibling = start_server(kinds[2], &format!("{quiet}{}", replica_of(&old)));
        write(&mut old.client(), &mut commands, 200);
        wait_until_equal(&old, &heir);
        wait_until_equal(&old, &sibling);
        promote(&heir);
        follow(&sibling, &heir);
        follow(&old, &heir);
        write(&mut heir.client(), &mut commands, 200);
        wait_until_equal(&heir, &sibling);
        wait_until_equal(&heir, &old);
        assert_eq!(full_resyncs(&heir), 0, "of {:?}", heir.kind);
        assert_eq!(partial_resyncs(&heir), 2);
        assert_eq!(heir.info("master_replid2"), sibling.info("master_replid2"));
    }
}

#[test]
fn what_only_the_old_master_had_is_given_up() {
    for (old, heir) in [
        (Kind::Real, Kind::Ours),
        (Kind::Ours, Kind::Real),
        (Kind::Ours, Kind::Ours),
    ] {
        let old = start_server(old, "");
        let heir = start_server(heir, &replica_of(&old));
        old.client().call(&["SET", "both", "1"]);
        wait_until_equal(&old, &heir);
        promote(&heir);
        old.client().call(&["SET", "nobody saw", "1"]);
        heir.client().call(&["SET", "new", "1"]);
        follow(&old, &heir);
        wait_until_equal(&heir, &old);
        assert_eq!(text(&old.client().call(&["EXISTS", "nobody saw"])), "0");
    }
}

#[test]
fn a_restarted_replica_and_a_restarted_master_go_on() {
    for (seed, (master, replica)) in each_with(seeds([40]), PAIRS) {
        let mut commands = Commands::of(seed).with_chance();
        let lines = "save 900 1\n";
        let mut master = start_server(master, lines);
        let mut replica = start_server(replica, &format!("{lines}{}", replica_of(&master)));
        write(&mut master.client(), &mut commands, 100);
        wait_until_equal(&master, &replica);
        replica.process.terminate(secs(10));
        write(&mut master.client(), &mut commands, 100);
        replica.start_again();
        wait_until_equal(&master, &replica);
        assert_eq!(
            full_resyncs(&master),
            1,
            "the replica, of {:?}",
            replica.kind
        );
        // A master that ends in good order waits until its replicas have everything.
        master.process.terminate(secs(15));
        master.start_again();
        wait_until_equal(&master, &replica);
        assert_eq!(full_resyncs(&master), 0, "the master, {:?}", master.kind);
        write(&mut master.client(), &mut commands, 100);
        wait_until_equal(&master, &replica);
    }
}

#[test]
fn a_replica_that_was_killed_after_its_full_resync_goes_on() {
    for (master, replica) in PAIRS {
        let master = start_server(master, "");
        let replica_lines = format!("save 900 1\n{}", replica_of(&master));
        let mut client = master.client();
        client.call(&["SET", "before", "1"]);
        let mut replica = start_server(replica, &replica_lines);
        wait_until_equal(&master, &replica);
        let file = replica.dir().join("dump.rdb");
        wait_for("the replica has a file", secs(20), || {
            expect_that(file.exists(), String::new)
        });
        replica.process.kill();
        client.call(&["SET", "after", "1"]);
        replica.start_again();
        wait_until_equal(&master, &replica);
        assert_eq!(full_resyncs(&master), 1, "the replica, {:?}", replica.kind);
        assert_eq!(partial_resyncs(&master), 1);
    }
}

#[test]
fn what_expires_while_a_master_is_down_goes_when_it_starts() {
    const KEYS: usize = 500;
    for (master, replica) in PAIRS {
        let mut master = start_server(master, "save 900 1\n");
        let replica = start_server(replica, &replica_of(&master));
        let mut client = master.client();
        client.call(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
        let at = unix_now().0 + 500;
        for n in 0..KEYS {
            let key = n.to_string();
            client.call(&["SET", &key, "v", "PXAT", &at.to_string()]);
        }
        client.call(&["SET", "stays", "v"]);
        wait_until_equal(&master, &replica);
        master.process.terminate(secs(15));
        wait_for("they have expired", secs(5), || {
            let now = unix_now().0;
            expect_that(now > at, || now.to_string())
        });
        master.start_again();
        let expired = master.info("rdb_last_load_keys_expired");
        assert_eq!(expired, Some(KEYS.to_string()), "{:?}", master.kind);
        assert_eq!(master.info("rdb_last_load_keys_loaded").unwrap(), "1");
        assert_eq!(text(&master.client().call(&["DBSIZE"])), "1");
        wait_until_equal(&master, &replica);
        assert_eq!(text(&replica.client().call(&["DBSIZE"])), "1");
        assert_eq!(full_resyncs(&master), 0, "of {:?}", master.kind);
    }
}

#[test]
fn a_master_that_was_killed_goes_on_from_its_file_in_the_database_of_the_stream() {
    for (master, replica) in PAIRS {
        let mut old = start_server(master, "");
        let heir = start_server(replica, &replica_of(&old));
        wait_until_equal(&old, &heir);
        let mut client = old.client();
        client.call(&["SELECT", "3"]);
        client.call(&["SET", "n", "1"]);
        // For redis-server the transfer goes on until its child has been looked after.
        wait_for("it is saved", secs(20), || {
            let reply = text(&client.call(&["SAVE"]));
            expect_that(reply == "OK", || reply)
        });
        // The replica has these by its stream, which is in database 3, and the file lacks them.
        client.call(&["INCR", "n"]);
        client.call(&["SET", "k", "1"]);
        wait_until_equal(&old, &heir);
        old.process.kill();
        promote(&heir);
        let config = old.dir().join("server.conf");
        let lines = fs::read_to_string(&config).unwrap();
        fs::write(&config, lines + &replica_of(&heir)).unwrap();
        old.start_again();
        wait_until_equal(&heir, &old);
        assert_eq!(full_resyncs(&heir), 0, "of {:?}", heir.kind);
    }
}

/// `PFCOUNT` keeps its estimate in the value, on a replica too; that is no change of the replica's own.
#[test]
fn a_count_in_a_transaction_of_a_replica_costs_no_full_resync() {
    for (master, replica) in PAIRS {
        let master = start_server(master, "");
        let replica = start_server(replica, &replica_of(&master));
        wait_until_equal(&master, &replica);
        let mut client = master.client();
        client.call(&["PFADD", "h", "a", "b"]);
        wait_until_equal(&master, &replica);
        let mut reader = replica.client();
        reader.call(&["MULTI"]);
        reader.call(&["PFCOUNT", "h"]);
        assert_eq!(text(&reader.call(&["EXEC"])), "2");
        cut_links(&mut client);
        wait_for("the link is mended", secs(20), || {
            let count = partial_resyncs(&master);
            expect_that(count > 0, || count.to_string())
        });
        let last = start_server(Kind::Ours, &replica_of(&replica));
        // The master keeps its estimate as well, and is equal.
        assert_eq!(text(&client.call(&["PFCOUNT", "h"])), "2");
        wait_until_equal(&master, &replica);
        wait_until_equal(&replica, &last);
        assert_eq!(full_resyncs(&master), 1, "of {:?}", replica.kind);
    }
}

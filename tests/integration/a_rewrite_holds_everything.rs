//! `BGREWRITEAOF` while writes go on: what is on disk equals what was acknowledged, before, during and after.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::aof::{check, manifest, rewrite, set, start, start_on, wait_for_rewrite};
use crate::data::{Commands, digest, write};
use crate::support::{Kind, expect_that, secs, text, wait_for};

#[test]
fn under_load_it_equals_what_was_acknowledged() {
    let mut server = start(Kind::Ours, "");
    let mut client = server.client();
    for n in 0..3000 {
        client.call(&["SET", &format!("filler:{n}"), &"x".repeat(300)]);
    }
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (80..83)
            .map(|seed| {
                let (mut client, is_over) = (server.client(), &is_over);
                scope.spawn(move || {
                    let mut commands = Commands::of(seed).with_chance();
                    while !is_over.load(Ordering::Relaxed) {
                        write(&mut client, &mut commands, 50);
                    }
                })
            })
            .collect();
        for _ in 0..5 {
            rewrite(&server);
        }
        is_over.store(true, Ordering::Relaxed);
        for writer in writers {
            writer.join().unwrap();
        }
    });
    let before = digest(&server);
    server.kill();
    check(&server);
    assert_eq!(digest(&start_on(Kind::Real, &server, "")), before);
    server.start_again();
    assert_eq!(digest(&server), before);
}

#[test]
fn it_begins_by_itself_when_the_files_have_grown() {
    let mut server = start(
        Kind::Ours,
        "auto-aof-rewrite-min-size 20kb\nauto-aof-rewrite-percentage 50\n",
    );
    let mut client = server.client();
    for n in 0..400 {
        client.call(&["SET", "k", &format!("{n:0100}")]);
    }
    // The first may begin while there is still enough to come for a second.
    wait_for("all that is too much was rewritten", secs(20), || {
        let found = manifest(&server);
        let number = |field| -> u64 { server.info(field).unwrap().parse().unwrap() };
        let (size, base) = (number("aof_current_size"), number("aof_base_size"));
        let is_first = found.starts_with("file appendonly.aof.1.base.rdb");
        // What came while a slow rewrite went on counts as its base.
        let is_enough = size < 20 * 1024 || size < base + base / 2;
        expect_that(!is_first && is_enough, || {
            format!("{size} bytes, {base} at first, {found}")
        })
    });
    wait_for_rewrite(&server);
    server.kill();
    check(&server);
    server.start_again();
    let last = text(&server.client().call(&["GET", "k"]));
    assert_eq!(last, format!("{:0100}", 399));
}

#[test]
fn a_save_and_a_rewrite_take_turns() {
    let server = start(Kind::Ours, "");
    let mut client = server.client();
    for n in 0..20_000 {
        client
            .send(&["SET", &format!("k{n}"), &"x".repeat(100)])
            .unwrap();
    }
    for _ in 0..20_000 {
        client.receive().unwrap();
    }
    for line in ["MULTI", "BGREWRITEAOF", "BGSAVE", "EXEC"] {
        client.send(&[line]).unwrap();
    }
    let replies: Vec<String> = (0..4).map(|_| text(&client.receive().unwrap())).collect();
    assert_eq!(
        replies[3],
        "Background append only file rewriting scheduled Background saving scheduled"
    );
    wait_for("both have ended", secs(20), || {
        let counts = (server.info("aof_rewrites"), server.info("rdb_saves"));
        let wanted = (Some("1".to_owned()), Some("1".to_owned()));
        expect_that(counts == wanted, || format!("{counts:?}"))
    });
    wait_for_rewrite(&server);
    // In one write, so that the second finds the first in progress.
    client
        .send_raw(b"BGREWRITEAOF\r\nBGREWRITEAOF\r\nBGSAVE\r\nBGSAVE SCHEDULE\r\n")
        .unwrap();
    for wanted in [
        "Background append only file rewriting started",
        "ERR Background append only file rewriting already in progress",
        "ERR Another child process is active (AOF?): can't BGSAVE right now",
        "Background saving scheduled",
    ] {
        let reply = text(&client.receive().unwrap());
        assert!(reply.starts_with(wanted), "{reply}");
    }
    wait_for_rewrite(&server);
    check(&server);
}

#[test]
fn an_interrupted_one_leaves_everything() {
    let mut server = start(Kind::Ours, "appendfsync always\n");
    let mut client = server.client();
    for n in 0..2000 {
        client
            .send(&["SET", &format!("k{n}"), &"x".repeat(500)])
            .unwrap();
    }
    for _ in 0..2000 {
        client.receive().unwrap();
    }
    for round in 0..10 {
        client.send_raw(b"BGREWRITEAOF\r\n").unwrap();
        client.receive().unwrap();
        for n in 0..round {
            client.call(&["INCR", &format!("during:{n}")]);
        }
        let before = digest(&server);
        server.kill();
        check(&server);
        server.start_again();
        assert_eq!(digest(&server), before, "round {round}");
        client = server.client();
    }
    // Switched off in the middle of one, it stays as it was.
    set(&mut client, "appendonly", "no");
    check(&server);
}

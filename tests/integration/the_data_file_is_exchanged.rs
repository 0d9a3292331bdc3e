//! A file that one of ours and redis-server 7.0 saves, the other loads; what ours cannot hold is refused with
//! its name, from a file and from a master.

use std::fs;

use crate::both::in_each_direction;
use crate::data::{Commands, digest, seeds, write};
use crate::support::{Kind, ServerNode, expect_that, secs, start_server, text, wait_for};

/// Starts a server on the data file of another that has ended.
fn start_on(kind: Kind, other: &ServerNode) -> ServerNode {
    let mut server = start_server(kind, "save 900 1\n");
    server.kill();
    fs::copy(other.dir().join("dump.rdb"), server.dir().join("dump.rdb")).unwrap();
    server.start_again();
    server
}

#[test]
fn in_both_directions() {
    for (seed, (from, to)) in in_each_direction(seeds([60])) {
        let mut saver = start_server(from, "");
        write(
            &mut saver.client(),
            &mut Commands::of(seed).with_chance(),
            2000,
        );
        let before = digest(&saver);
        assert_eq!(text(&saver.client().call(&["SAVE"])), "OK");
        saver.kill();
        let loader = start_on(to, &saver);
        assert_eq!(digest(&loader), before, "saved by {from:?}");
    }
}

#[test]
fn a_background_save_holds_the_moment_it_began() {
    let mut saver = start_server(Kind::Ours, "");
    let mut client = saver.client();
    for n in 0..3000 {
        client.call(&["SET", &format!("k{n}"), &"x".repeat(300)]);
    }
    for line in [
        "SET left 1",
        "BGSAVE",
        "SET right 1",
        "SET left 2",
        "SET k5 y",
    ] {
        client.call(&line.split(' ').collect::<Vec<_>>());
    }
    wait_for("the save has ended", secs(20), || {
        let running = saver.info("rdb_bgsave_in_progress");
        expect_that(running.as_deref() == Some("0"), || format!("{running:?}"))
    });
    assert_eq!(saver.info("rdb_last_bgsave_status").as_deref(), Some("ok"));
    saver.kill();
    let loader = start_on(Kind::Real, &saver);
    let mut client = loader.client();
    assert_eq!(text(&client.call(&["GET", "left"])), "1");
    assert_eq!(text(&client.call(&["GET", "right"])), "(nil)");
    assert_eq!(text(&client.call(&["GET", "k5"])), "x".repeat(300));
    assert_eq!(text(&client.call(&["DBSIZE"])), "3001");
}

/// What has no large value in it is compressed too, by `SAVE` and in the background.
#[test]
fn a_file_of_ours_is_as_short_as_one_of_redis() {
    let fill = |server: &ServerNode| {
        let mut client = server.client();
        for n in 0..500 {
            let record = format!(r#"{{"id":{n},"name":"user {n}","mail":"user{n}@example.org"}}"#);
            client.call(&["SET", &format!("user:{n}"), &record.repeat(15)]);
            let url = |m| format!("https://example.org/articles/{n}/{m}?page={m}");
            let fields: Vec<String> = (0..30).flat_map(|m| [m.to_string(), url(m)]).collect();
            let mut words = vec!["HSET", "hash"];
            let key = format!("urls:{n}");
            words[1] = &key;
            words.extend(fields.iter().map(String::as_str));
            client.call(&words);
        }
    };
    let saved = |server: &ServerNode, command| {
        drop(fs::remove_file(server.dir().join("dump.rdb")));
        server.client().call(&[command]);
        wait_for("the save has ended", secs(20), || {
            let running = server.info("rdb_bgsave_in_progress");
            expect_that(running.as_deref() == Some("0"), || format!("{running:?}"))
        });
        fs::metadata(server.dir().join("dump.rdb")).unwrap().len()
    };
    let real = start_server(Kind::Real, "");
    fill(&real);
    let want = saved(&real, "SAVE");
    let mut ours = start_server(Kind::Ours, "");
    fill(&ours);
    for command in ["SAVE", "BGSAVE"] {
        let len = saved(&ours, command);
        assert!(
            len < want + want / 50,
            "{command}: {len} bytes, redis {want}"
        );
    }
    let before = digest(&ours);
    ours.client()
        .call(&["CONFIG", "SET", "rdbcompression", "no"]);
    let plain = saved(&ours, "SAVE");
    assert!(plain > 4 * want, "{plain} bytes, compressed {want}");
    ours.client()
        .call(&["CONFIG", "SET", "rdbcompression", "yes"]);
    saved(&ours, "BGSAVE");
    ours.kill();
    assert_eq!(digest(&start_on(Kind::Real, &ours)), before);
}

#[test]
fn a_save_in_a_transaction_begins_after_it() {
    let mut saver = start_server(Kind::Ours, "");
    let mut client = saver.client();
    for line in ["MULTI", "SET left 1", "BGSAVE", "SET right 1", "EXEC"] {
        client.call(&line.split(' ').collect::<Vec<_>>());
    }
    wait_for("the save has ended", secs(20), || {
        let log = saver.process.log();
        expect_that(log.contains("saving terminated with success"), || log)
    });
    saver.kill();
    let loader = start_on(Kind::Real, &saver);
    let both = loader.client().call(&["MGET", "left", "right"]);
    assert_eq!(text(&both), "1 1");
}

#[test]
fn a_shutdown_is_announced_to_sentinels() {
    let mut server = start_server(Kind::Ours, "");
    let mut listener = server.client();
    listener.call(&["SUBSCRIBE", "__sentinel__:hello"]);
    server.client().send(&["SHUTDOWN", "NOSAVE"]).unwrap();
    let message = listener.receive().unwrap();
    assert_eq!(text(&message), "message __sentinel__:hello shutdown");
    assert!(server.process.wait(secs(10)).success());
}

//! `SHUTDOWN` of a master whose replica lags: it waits, says for how long, and can be called off.

use crate::data::{replica_of, wait_until_equal};
use crate::support::{Kind, ServerNode, expect_that, secs, start_server, text, wait_for};

/// What it says of the shutdown, and the field before.
fn announced(server: &ServerNode) -> Option<(String, u64)> {
    let info = text(&server.client().call(&["INFO", "server"]));
    let lines: Vec<&str> = info.lines().collect();
    let at = lines
        .iter()
        .position(|line| line.starts_with("shutdown_in_milliseconds:"))?;
    let (_, left) = lines[at].split_once(':')?;
    Some((lines[at - 1].to_owned(), left.parse().ok()?))
}

#[test]
fn and_says_for_how_long() {
    for kind in [Kind::Real, Kind::Ours] {
        let master = start_server(kind, "shutdown-timeout 60\n");
        let mut replica = start_server(Kind::Real, &replica_of(&master));
        let mut client = master.client();
        client.call(&["SET", "k", "1"]);
        wait_until_equal(&master, &replica);
        wait_for("the replica is online", secs(20), || {
            let found = master.info("slave0").unwrap_or_default();
            expect_that(found.contains("state=online"), || found)
        });
        replica.process.stop();
        client.call(&["SET", "k", "2"]);
        assert_eq!(announced(&master), None, "{kind:?}");
        let mut asker = master.client();
        asker.send(&["SHUTDOWN", "NOSAVE"]).unwrap();
        let (before, left) = wait_for("the shutdown is announced", secs(10), || {
            announced(&master).ok_or_else(|| "it is not".to_owned())
        });
        assert_eq!(before, "io_threads_active:0", "{kind:?}");
        assert!((30_000..=60_000).contains(&left), "{kind:?}: {left}");
        assert_eq!(text(&client.call(&["SHUTDOWN", "ABORT"])), "OK");
        assert!(asker.receive().unwrap().is_error(), "{kind:?}");
        assert_eq!(announced(&master), None, "{kind:?}");
        replica.process.resume();
    }
}

//! What clients can do to themselves and to each other, without sockets.

use std::time::Duration;

use super::output::KEPT_BYTES_MAX;
use super::toy::Toy;
use super::{Blocked, Closing, LINGER_MAX};
use crate::config::process::{OutputLimit, OutputLimits};
use crate::resp::Value;

#[test]
fn a_pause_stops_writes_or_everything_until_its_end() {
    let mut toy = Toy::new();
    let (admin, other) = (toy.connect(1), toy.connect(2));
    assert_eq!(toy.ask(admin, "CLIENT PAUSE 100 WRITE"), "+OK|");
    assert_eq!(toy.ask(other, "GET k"), "$-1|");
    assert_eq!(toy.ask(other, "SET k v"), "");
    let blocked = |toy: &mut Toy| toy.front.clients.current(other).blocked;
    assert!(matches!(blocked(&mut toy), Some(Blocked::Paused(_))));
    assert_eq!(
        toy.ask(admin, "CLIENT PAUSE 50 ALL"),
        "+OK|",
        "widened, not shortened"
    );
    toy.now.mono += Duration::from_millis(99);
    toy.front.tick(toy.now.mono);
    assert!(matches!(blocked(&mut toy), Some(Blocked::Paused(_))));
    toy.now.mono += Duration::from_millis(1);
    toy.front.tick(toy.now.mono);
    assert_eq!(blocked(&mut toy), None);
    assert_eq!(toy.ask(other, "SET k v"), "+OK|");
}

/// Nobody could end such a pause of everything.
#[test]
fn a_pause_that_has_no_end_is_refused() {
    let mut toy = Toy::new();
    let admin = toy.connect(1);
    toy.now.unix.0 = 1;
    let refused = toy.ask(admin, "CLIENT PAUSE 9223372036854775807");
    assert_eq!(refused, "-ERR timeout is out of range|");
    assert_eq!(toy.ask(admin, "CLIENT PAUSE 9223372036854775806"), "+OK|");
}

#[test]
fn unpause_wakes_those_who_wait() {
    let mut toy = Toy::new();
    let (admin, other) = (toy.connect(1), toy.connect(2));
    toy.ask(admin, "CLIENT PAUSE 100000 WRITE");
    toy.ask(other, "SET k v");
    assert_eq!(toy.ask(admin, "CLIENT UNPAUSE"), "+OK|");
    assert!(toy.front.clients.current(other).is_ready());
}

#[test]
fn kill_spares_the_caller_unless_told() {
    let mut toy = Toy::new();
    let (me, one, two) = (toy.connect(1), toy.connect(2), toy.connect(3));
    let closing = |toy: &mut Toy, id| toy.front.clients.current(id).closing;
    assert_eq!(toy.ask(me, "CLIENT KILL 127.0.0.1:2"), "+OK|");
    assert_eq!(closing(&mut toy, one), Closing::Now);
    assert_eq!(
        toy.ask(me, "CLIENT KILL 127.0.0.1:2"),
        "-ERR No such client|"
    );
    assert_eq!(toy.ask(two, "SUBSCRIBE c").matches("subscribe").count(), 1);
    assert_eq!(toy.ask(me, "CLIENT KILL TYPE normal"), ":0|");
    assert_eq!(toy.ask(me, "CLIENT KILL TYPE pubsub"), ":1|");
    assert_eq!(closing(&mut toy, two), Closing::Now);
    assert_eq!(toy.ask(me, "CLIENT KILL TYPE normal SKIPME no"), ":1|");
    assert_eq!(closing(&mut toy, me), Closing::AfterReplies);
}

#[test]
fn a_wait_ends_once_and_by_unblock_too() {
    let mut toy = Toy::new();
    let (admin, waiting) = (toy.connect(1), toy.connect(2));
    assert_eq!(toy.ask(waiting, "WAIT"), "");
    let request = format!("CLIENT UNBLOCK {waiting} ERROR");
    assert_eq!(toy.ask(admin, &request), ":1|");
    assert_eq!(
        toy.queued(waiting),
        "-UNBLOCKED client unblocked via CLIENT UNBLOCK|"
    );
    let on = toy.wait.expect("WAIT has left it");
    assert!(!toy.front.clients.resolve(on, &Value::ok()), "too late");
    assert_eq!(toy.ask(admin, &request), ":0|");
    toy.ask(waiting, "WAIT");
    assert_eq!(toy.ask(admin, &format!("CLIENT UNBLOCK {waiting}")), ":1|");
    assert_eq!(toy.queued(waiting), "*-1|");
}

#[test]
fn a_skipped_reply_is_skipped_also_when_it_comes_late() {
    let mut toy = Toy::new();
    let id = toy.connect(1);
    assert_eq!(toy.ask(id, "CLIENT REPLY SKIP"), "");
    assert_eq!(toy.ask(id, "WAIT"), "");
    let on = toy.wait.expect("WAIT has left it");
    assert!(toy.front.clients.resolve(on, &Value::ok()));
    assert_eq!(toy.queued(id), "");
    assert_eq!(toy.ask(id, "PING"), "+PONG|");
}

#[test]
fn who_is_told_of_something_is_noted_once() {
    let mut toy = Toy::new();
    let (one, two) = (toy.connect(1), toy.connect(2));
    toy.ask(one, "SUBSCRIBE c");
    toy.ask(two, "SUBSCRIBE c d");
    let mut told = |channels: &[&str], is_noted| {
        for channel in channels {
            let now = toy.now.mono;
            toy.front.publish(channel.as_bytes(), b"m", now);
        }
        let mut told = toy.front.clients.take_prompted(is_noted);
        told.sort_unstable();
        told
    };
    assert_eq!(told(&["c"], true), []);
    assert_eq!(told(&["c", "d", "c"], true), [one, two]);
    assert_eq!(told(&[], true), []);
    assert_eq!(told(&["d", "d"], false), [two], "noted anew");
    assert_eq!(told(&["c"], true), []);
    assert_eq!(told(&["c"], true), [one, two]);
}

#[test]
fn who_does_not_read_is_closed() {
    let mut toy = Toy::new();
    toy.front.clients.limits.pubsub = OutputLimit {
        hard_bytes: 100,
        soft_bytes: 0,
        soft_for: Duration::ZERO,
    };
    let (reader, sleeper) = (toy.connect(1), toy.connect(2));
    toy.ask(reader, "SUBSCRIBE c");
    toy.ask(sleeper, "SUBSCRIBE c");
    let message = "x".repeat(10_000);
    for round in 0..4 {
        let sent = toy.front.publish(b"c", message.as_bytes(), toy.now.mono);
        assert_eq!(sent, if round == 0 { 2 } else { 1 }, "round {round}");
        toy.queued(reader);
    }
    let sleeper = toy.front.clients.current(sleeper);
    assert_eq!(sleeper.closing, Closing::Now);
    assert!(sleeper.output.is_empty(), "nothing is kept for it");
}

#[test]
fn idle_clients_are_closed_but_subscribers_are_not() {
    let mut toy = Toy::new();
    toy.front.settings.idle_timeout = Duration::from_secs(10);
    let (idle, subscriber) = (toy.connect(1), toy.connect(2));
    toy.ask(subscriber, "SUBSCRIBE c");
    toy.now.mono += Duration::from_secs(11);
    toy.front.tick(toy.now.mono);
    assert_eq!(toy.front.clients.current(idle).closing, Closing::Now);
    assert_eq!(toy.front.clients.current(subscriber).closing, Closing::No);
}

#[test]
fn who_is_to_go_and_does_not_read_goes_all_the_same() {
    let mut toy = Toy::new();
    let id = toy.connect(1);
    toy.front.clients.current(id).output.extend(b"-ERR bye|");
    toy.front.clients.current(id).close(Closing::AfterReplies);
    toy.front.tick(toy.now.mono);
    assert_eq!(toy.front.clients.current(id).closing, Closing::AfterReplies);
    toy.now.mono += LINGER_MAX * 2;
    toy.front.tick(toy.now.mono);
    assert_eq!(toy.front.clients.current(id).closing, Closing::Now);
}

#[test]
fn strangers_are_refused() {
    use super::{ClientAddr, Peer};
    let mut toy = Toy::new();
    let addr = |text: &str| ClientAddr::Tcp(text.parse().unwrap());
    let peer = |from: &str| Peer {
        addr: addr(from),
        laddr: addr("10.0.0.1:1"),
        fd: -1,
    };
    toy.front.settings.protected_mode = true;
    let refused = toy.front.accept(peer("10.0.0.9:5"), toy.now).unwrap_err();
    assert!(refused.starts_with("-DENIED Redis is running in protected mode"));
    assert!(
        toy.front
            .accept(peer("[::ffff:127.0.0.1]:5"), toy.now)
            .is_ok()
    );
    toy.front.acl.set_requirepass(Some(b"secret"));
    assert!(toy.front.accept(peer("10.0.0.9:5"), toy.now).is_ok());
    toy.front.settings.maxclients = 2;
    let refused = toy.front.accept(peer("10.0.0.9:6"), toy.now).unwrap_err();
    assert_eq!(refused, "-ERR max number of clients reached\r\n");
    assert_eq!(toy.front.stats.rejected_connections, 2);
    assert_eq!(toy.front.stats.connections, 2, "those that are served");
}

#[test]
fn a_tls_handshake_has_the_place_of_a_client() {
    let mut toy = Toy::new();
    let id = toy.connect(1);
    toy.front.settings.maxclients = 3;
    let info = |toy: &Toy| super::clients_section(&toy.front);
    let first = toy.front.admit().unwrap();
    let second = toy.front.admit();
    assert!(second.is_some());
    assert!(info(&toy).contains("connected_clients:3\r\n"));
    assert!(toy.front.admit().is_none());
    let peer = super::Peer {
        addr: toy.front.clients.current(id).addr.clone(),
        laddr: toy.front.clients.current(id).laddr.clone(),
        fd: -1,
    };
    assert!(toy.front.accept(peer.clone(), toy.now).is_err());
    assert_eq!(toy.front.stats.rejected_connections, 2);
    // One is over, and is a client then; the other has failed.
    drop(first);
    assert!(toy.front.accept(peer, toy.now).is_ok());
    assert!(toy.front.admit().is_none());
    drop(second);
    assert!(toy.front.admit().is_some());
}

#[test]
fn rights_are_checked_and_denials_logged() {
    let mut toy = Toy::new();
    let id = toy.connect(1);
    toy.ask(id, "ACL SETUSER u on >pw +get ~k* +publish &c");
    assert_eq!(toy.ask(id, "AUTH u pw"), "+OK|");
    assert_eq!(toy.ask(id, "GET k1"), "$-1|");
    assert_eq!(
        toy.ask(id, "GET z"),
        "-NOPERM this user has no permissions to access one of the keys used as arguments|"
    );
    assert_eq!(
        toy.ask(id, "CLIENT LIST"),
        "-NOPERM this user has no permissions to run the 'client|list' command|"
    );
    let reasons: Vec<_> = toy
        .front
        .acl
        .log
        .entries()
        .map(|e| e.reason.as_str())
        .collect();
    assert_eq!(reasons, ["command", "key"]);
}

#[test]
fn a_removed_user_loses_its_connections() {
    let mut toy = Toy::new();
    let (admin, user) = (toy.connect(1), toy.connect(2));
    toy.ask(admin, "ACL SETUSER u on nopass +@all");
    toy.ask(user, "AUTH u x");
    assert_eq!(toy.ask(admin, "ACL DELUSER u default2"), ":1|");
    assert_eq!(toy.front.clients.current(user).closing, Closing::Now);
    assert_eq!(toy.front.clients.current(admin).closing, Closing::No);
}

#[test]
fn a_renamed_command_answers_to_its_new_name_only() {
    let mut toy = Toy::new();
    let id = toy.connect(1);
    toy.front.table.rename("get", "Fetch").unwrap();
    toy.front.table.rename("SET", "").unwrap();
    assert!(toy.front.table.rename("ping", "fetch").is_err());
    assert!(toy.front.table.rename("get", "x").is_err());
    assert_eq!(toy.ask(id, "FETCH k"), "$-1|");
    for gone in ["GET k", "SET k v"] {
        assert!(
            toy.ask(id, gone).starts_with("-ERR unknown command"),
            "{gone}"
        );
    }
}

#[test]
fn a_command_may_be_given_a_long_name() {
    let mut toy = Toy::new();
    let id = toy.connect(1);
    for length in [64, 65, 87, 1000] {
        let name = "N".repeat(length);
        let before = "n".repeat(length - 1);
        toy.front.table.rename("get", &name).unwrap();
        assert_eq!(toy.ask(id, &format!("{name} k")), "$-1|");
        assert_eq!(toy.ask(id, &format!("{} k", name.to_lowercase())), "$-1|");
        for unknown in [before, name.clone() + "n"] {
            let heard = toy.ask(id, &format!("{unknown} k"));
            assert!(heard.starts_with("-ERR unknown command"), "{heard}");
        }
        toy.front.table.rename(&name, "get").unwrap();
        assert_eq!(toy.ask(id, "GET k"), "$-1|");
    }
}

#[test]
fn keys_are_shown_as_the_table_has_them() {
    let mut toy = Toy::new();
    let id = toy.connect(1);
    assert_eq!(toy.ask(id, "COMMAND GETKEYS SET k v"), "*1|$1|k|");
    assert_eq!(
        toy.ask(id, "COMMAND GETKEYSANDFLAGS SET k v"),
        "*1|*2|$1|k|*2|+OW|+update|"
    );
    assert_eq!(
        toy.ask(id, "COMMAND GETKEYS SET k"),
        "-ERR Invalid number of arguments specified for command|"
    );
    let info = toy.ask(id, "COMMAND INFO set");
    assert!(
        info.starts_with("*1|*10|$3|set|:-3|*1|+write|:1|:1|:1|*3|+@write|"),
        "{info}"
    );
}

#[test]
fn a_command_with_too_long_a_reply_runs_to_its_end_and_closes_its_client() {
    const LIMIT: u64 = 1_000_000;
    for len in [1, 1000, 300_000] {
        let mut toy = Toy::new();
        toy.front.clients.limits.normal.hard_bytes = LIMIT;
        let id = toy.connect(1);
        let most = usize::try_from(LIMIT).unwrap() / (len + 20);
        let heard = toy.ask(id, &format!("REPEAT {most} {len}"));
        assert!(heard.ends_with("r|"), "it may be so long");
        let count = 100 * most;
        // Nothing of a reply that is left out is kept, however long it would be.
        for (silence, is_closed) in [("SKIP", false), ("ON", true)] {
            toy.repeated = 0;
            let said = toy.ask(id, &format!("CLIENT REPLY {silence}"));
            assert_eq!(said, if is_closed { "+OK|" } else { "" });
            assert_eq!(toy.ask(id, &format!("REPEAT {count} {len}")), "");
            let client = toy.front.clients.current(id);
            assert_eq!(client.closing == Closing::Now, is_closed);
            assert!(client.output.own_bytes() <= KEPT_BYTES_MAX);
            assert_eq!(toy.repeated, count, "its effects are there");
        }
    }
}

#[test]
fn what_is_pushed_has_a_limit_and_replies_have_their_own() {
    let mut toy = Toy::new();
    let limit = OutputLimit {
        hard_bytes: 40_000,
        soft_bytes: 20_000,
        soft_for: Duration::from_secs(1),
    };
    toy.front.clients.limits.pubsub = limit;
    let id = toy.connect(1);
    let now = toy.now.mono;
    let push = |toy: &mut Toy, bytes| toy.front.clients.send(id, vec![0; bytes], now);
    toy.front.clients.current(id).output.extend(&[0; 200_000]);
    toy.front.tick(now);
    assert!(push(&mut toy, 40_000), "of what waits, little was pushed");
    toy.queued(id);
    assert!(
        push(&mut toy, 40_000),
        "what has been read no longer counts"
    );
    toy.front.tick(now + Duration::from_secs(2));
    assert!(
        toy.front
            .clients
            .get(id)
            .is_some_and(|client| !client.is_open())
    );
    let id = toy.connect(2);
    let push = |toy: &mut Toy, bytes| toy.front.clients.send(id, vec![0; bytes], now);
    assert!(push(&mut toy, 40_000));
    assert!(!push(&mut toy, 40_000));
    // A configured limit of ordinary clients holds as well.
    toy.front.clients.limits.normal = limit;
    toy.front.clients.limits.pubsub = OutputLimits::default().pubsub;
    let id = toy.connect(3);
    toy.front.clients.current(id).output.extend(&[0; 50_000]);
    assert!(!toy.front.clients.send(id, vec![0; 10_000], now));
}

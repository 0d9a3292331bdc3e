//! Instances that lie, stammer, flood or dawdle. A sentinel stays up, keeps its memory and its descriptors, keeps
//! answering its clients, and says what it thinks of the instance.

use std::time::Duration;

use crate::support::{
    Answer, Fake, Kind, NAME, SentinelNode, Topology, expect_that, holds_for, honest_master, secs,
    start_sentinel, text, wait_for,
};

const RUN_ID: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
/// Above what it has at the start, whatever comes in.
const GROWTH_MAX_MIB: u64 = 48;

/// A sentinel of ours over one fake master.
fn sentinel_over(fake: &Fake) -> SentinelNode {
    let monitor = format!(
        "sentinel monitor {NAME} 127.0.0.1 {} 1\nsentinel down-after-milliseconds {NAME} 1000\n",
        fake.port()
    );
    start_sentinel(Kind::Ours, &monitor, "")
}

fn flags(sentinel: &SentinelNode) -> String {
    sentinel.master()["flags"].clone()
}

fn becomes(sentinel: &SentinelNode, flag: &str) {
    wait_for(&format!("the master becomes {flag}"), secs(10), || {
        let flags = flags(sentinel);
        expect_that(flags.split(',').any(|one| one == flag), || flags.clone())
    });
}

/// The sentinel answers within a second, and has neither grown nor collected descriptors, for `during`.
fn stays_sound(sentinel: &mut SentinelNode, during: Duration) {
    let rss = sentinel.process.rss_mib();
    holds_for("the sentinel stays sound", during, || {
        expect_that(sentinel.process.is_running(), || "it ended".to_owned())?;
        let mut client = sentinel.client();
        expect_that(text(&client.call(&["PING"])) == "PONG", || {
            "no PONG".to_owned()
        })?;
        let (now, open) = (sentinel.process.rss_mib(), sentinel.process.open_files());
        expect_that(now <= rss + GROWTH_MAX_MIB, || {
            format!("{rss} MiB became {now}")
        })?;
        expect_that(open < 60, || format!("{open} descriptors"))
    });
}

/// Every request to the fake is answered by `answer`; the master must go down, the sentinel must not.
fn is_down_and_sentinel_sound(answer: impl Fn(&[String]) -> Answer + Send + Sync + 'static) {
    let fake = Fake::start(answer);
    let mut sentinel = sentinel_over(&fake);
    becomes(&sentinel, "s_down");
    stays_sound(&mut sentinel, secs(3));
    assert!(
        fake.connections() < 200,
        "{} connections in a few seconds",
        fake.connections()
    );
}

#[test]
fn garbage() {
    is_down_and_sentinel_sound(|_| Answer::Say(b"\x00\xff\x16\x03garbage!\r\n\r\n*&%$".to_vec()));
}

#[test]
fn another_protocol() {
    is_down_and_sentinel_sound(|_| Answer::Say(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()));
}

#[test]
fn half_a_reply_and_then_nothing() {
    is_down_and_sentinel_sound(|_| Answer::Say(b"$100\r\nhalf".to_vec()));
}

#[test]
fn closes_at_once() {
    is_down_and_sentinel_sound(|_| Answer::Close);
}

#[test]
fn silence() {
    is_down_and_sentinel_sound(|_| Answer::Silence);
}

#[test]
fn an_endless_line() {
    is_down_and_sentinel_sound(|_| Answer::SayForever(vec![b'+'; 64 * 1024]));
}

#[test]
fn an_endless_bulk_string() {
    is_down_and_sentinel_sound(|_| {
        Answer::SayForever([b"$9223372036854775807\r\n", &[b'x'; 64 * 1024][..]].concat())
    });
}

#[test]
fn endless_nested_arrays() {
    is_down_and_sentinel_sound(|_| Answer::SayForever(b"*2147483647\r\n".repeat(4096)));
}

#[test]
fn an_endless_stream_of_replies_nobody_asked_for() {
    is_down_and_sentinel_sound(|_| Answer::SayForever(b":1\r\n".repeat(4096)));
}

#[test]
fn a_bulk_string_instead_of_pong() {
    is_down_and_sentinel_sound(|words| match words[0].as_str() {
        "PING" => Answer::Say(b"$4\r\nPONG\r\n".to_vec()),
        _ => Answer::Say(honest_master(RUN_ID, words)),
    });
}

#[test]
fn slow_but_within_down_after_is_up() {
    let fake = Fake::start(|words| {
        Answer::SayLate(Duration::from_millis(100), honest_master(RUN_ID, words))
    });
    let mut sentinel = sentinel_over(&fake);
    // Room for a busy machine on top of the delay: the fake takes one request at a time.
    let set = ["SENTINEL", "SET", NAME, "down-after-milliseconds", "3000"];
    assert_eq!(text(&sentinel.client().call(&set)), "OK");
    wait_for("the master's run id is known", secs(10), || {
        let run_id = sentinel.master()["runid"].clone();
        expect_that(run_id == RUN_ID, || run_id.clone())
    });
    holds_for("the slow master stays up", secs(5), || {
        let flags = flags(&sentinel);
        expect_that(flags == "master", || flags.clone())
    });
    stays_sound(&mut sentinel, secs(1));
}

#[test]
fn slower_than_down_after_is_down() {
    is_down_and_sentinel_sound(|words| Answer::SayLate(secs(3), honest_master(RUN_ID, words)));
}

#[test]
fn an_info_of_garbage_is_skipped() {
    for info in [
        "\u{0}\u{1}\u{2}",
        "run_id:short\r\nrole:emperor\r\nslave0:\r\nslave1:ip=,port=\r\nslave2:ip=1.2.3.4,port=99999\r\n",
        "role:master\r\nslave0:ip=a b,port=6379\r\nslave1:ip=1.2.3.4\r\nslave2:port=6379\r\nrole:\r\n:\r\n::::\r\n",
        "role:slave\r\nmaster_host:\r\nmaster_port:-1\r\nmaster_link_down_since_seconds:-9223372036854775808\r\n\
         slave_priority:99999999999999999999\r\nslave_repl_offset:-5\r\n",
    ] {
        let fake = Fake::start(move |words| match words[0].as_str() {
            "INFO" => Answer::Say(format!("${}\r\n{info}\r\n", info.len()).into_bytes()),
            _ => Answer::Say(honest_master(RUN_ID, words)),
        });
        let mut sentinel = sentinel_over(&fake);
        wait_for("INFO is asked for", secs(5), || {
            let asked = fake.requests().iter().any(|words| words[0] == "INFO");
            expect_that(asked, || "not yet".to_owned())
        });
        stays_sound(&mut sentinel, secs(1));
        assert_eq!(sentinel.replicas().len(), 0, "{info:?}");
    }
}

#[test]
fn an_info_with_fifty_thousand_replicas_is_bounded() {
    let mut info = "role:master\r\n".to_owned();
    // Not so many that the reply as a whole is refused.
    for i in 0..50_000 {
        info += &format!(
            "slave{i}:ip=127.{}.{}.{},port=1,state=online\r\n",
            i >> 16,
            i >> 8 & 255,
            i & 255
        );
    }
    let reply = format!("${}\r\n{info}\r\n", info.len()).into_bytes();
    let fake = Fake::start(move |words| match words[0].as_str() {
        "INFO" => Answer::Say(reply.clone()),
        _ => Answer::Say(honest_master(RUN_ID, words)),
    });
    let mut sentinel = sentinel_over(&fake);
    // Each further INFO lists the same 50 000, and no more of them are taken.
    wait_for("the first 1024 replicas", secs(20), || {
        match sentinel.replicas().len() {
            1024 => Ok(()),
            known => Err(format!("{known} replicas")),
        }
    });
    assert!(sentinel.process.is_running());
    assert!(
        sentinel.process.rss_mib() < 128,
        "{} MiB",
        sentinel.process.rss_mib()
    );
}

#[test]
fn an_info_of_eight_megabytes_is_refused() {
    is_down_or_unknown(8 << 20);
}

/// The link is dropped at the bulk's length, before its bytes are kept.
fn is_down_or_unknown(bytes: usize) {
    let fake = Fake::start(move |words| match words[0].as_str() {
        "INFO" => Answer::Say([format!("${bytes}\r\n").as_bytes(), &vec![b'x'; bytes]].concat()),
        _ => Answer::Say(honest_master(RUN_ID, words)),
    });
    let mut sentinel = sentinel_over(&fake);
    stays_sound(&mut sentinel, secs(4));
    assert_eq!(sentinel.master()["runid"], "");
}

#[test]
fn two_masters_with_one_run_id_stay_two() {
    let one = Fake::start(|words| Answer::Say(honest_master(RUN_ID, words)));
    let two = Fake::start(|words| Answer::Say(honest_master(RUN_ID, words)));
    let monitor = format!(
        "sentinel monitor one 127.0.0.1 {} 1\nsentinel monitor two 127.0.0.1 {} 1\n",
        one.port(),
        two.port()
    );
    let mut sentinel = start_sentinel(Kind::Ours, &monitor, "");
    for (name, port) in [("one", one.port()), ("two", two.port())] {
        wait_for("both run ids are known", secs(10), || {
            let reply = sentinel.client().call(&["SENTINEL", "MASTER", name]);
            let fields = crate::support::fields(&reply);
            let found = (
                fields["runid"].clone(),
                fields["port"].clone(),
                fields["flags"].clone(),
            );
            let wanted = (RUN_ID.to_owned(), port.to_string(), "master".to_owned());
            expect_that(found == wanted, || format!("{found:?}"))
        });
    }
    stays_sound(&mut sentinel, secs(1));
}

#[test]
fn a_new_run_id_is_a_reboot() {
    let fake = Fake::start({
        let count = std::sync::atomic::AtomicUsize::new(0);
        move |words| {
            let infos = count.fetch_add(
                usize::from(words[0] == "INFO"),
                std::sync::atomic::Ordering::Relaxed,
            );
            let run_id = if infos < 1 {
                RUN_ID.to_owned()
            } else {
                RUN_ID.replace('a', "b")
            };
            Answer::Say(honest_master(&run_id, words))
        }
    });
    let mut sentinel = sentinel_over(&fake);
    let reply = sentinel
        .client()
        .call(&["SENTINEL", "DEBUG", "info-period", "200"]);
    assert_eq!(text(&reply), "OK");
    wait_for("the reboot is in the log", secs(15), || {
        let log = sentinel.process.log();
        expect_that(log.contains("+reboot master mymaster"), || log.clone())
    });
    stays_sound(&mut sentinel, secs(1));
}

#[test]
fn absurd_hellos_change_nothing() {
    let set = Topology::of(Kind::Real).sentinels(&[Kind::Ours; 2]).start();
    let port = set.master_port();
    let before = set.sentinels[0].master();
    let mut master = set.servers[0].client();
    let id = "cccccccccccccccccccccccccccccccccccccccc";
    let long = "x".repeat(10_000);
    for hello in [
        String::new(),
        ",,,,,,,".to_owned(),
        long.clone(),
        "127.0.0.1".to_owned(),
        format!("127.0.0.1,0,{id},0,{NAME},127.0.0.1,{port},0"),
        format!("127.0.0.1,70000,{id},0,{NAME},127.0.0.1,{port},0"),
        format!("127.0.0.1,26379,short,0,{NAME},127.0.0.1,{port},0"),
        format!("127.0.0.1,26379,{id},18446744073709551615,{NAME},127.0.0.1,{port},0"),
        format!("127.0.0.1,26379,{id},9223372036854775808,{NAME},127.0.0.1,{port},0"),
        format!("127.0.0.1,26379,{id},5000000000,{NAME},127.0.0.1,{port},0"),
        format!("127.0.0.1,26379,{id},-1,{NAME},127.0.0.1,{port},0"),
        format!("127.0.0.1,26379,{id},1,{NAME},127.0.0.1,1,9"),
        format!("127.0.0.1,26379,{id},0,{NAME},,{port},0"),
        format!("127.0.0.1,26379,{id},0,{NAME},127.0.0.1,{port},0,more"),
        format!("127.0.0.1,26379,{id},0,{long},127.0.0.1,{port},0"),
        format!("127.0.0.1,26379,{id}\r\n,0,{NAME},127.0.0.1,{port},0"),
    ] {
        master.call(&["PUBLISH", "__sentinel__:hello", &hello]);
    }
    // An honest one behind them, so that we know when they have all been heard.
    master.call(&[
        "PUBLISH",
        "__sentinel__:hello",
        &format!("127.0.0.1,1,{id},1,{NAME},127.0.0.1,{port},0"),
    ]);
    wait_for("the honest hello is heard", secs(5), || {
        let known = set.sentinels[0].master()["num-other-sentinels"].clone();
        expect_that(known == "2", || known.clone())
    });
    let after = set.sentinels[0].master();
    assert_eq!(before["ip"], after["ip"]);
    assert_eq!(before["port"], after["port"]);
    assert_eq!(before["config-epoch"], after["config-epoch"]);
    wait_for("only the honest hello's epoch is taken", secs(5), || {
        let epoch = epoch_of(&set.sentinels[0]);
        expect_that(epoch == 1, || epoch.to_string())
    });
}

fn epoch_of(sentinel: &SentinelNode) -> u64 {
    let config = std::fs::read_to_string(sentinel.config()).expect("a readable configuration");
    let line = config
        .lines()
        .find_map(|line| line.strip_prefix("sentinel current-epoch "));
    line.and_then(|epoch| epoch.parse().ok()).unwrap_or(0)
}

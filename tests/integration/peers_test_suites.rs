//! What the test suites of redis-sentinel and valkey-sentinel assert of a sentinel, against ours.
//!
//! Their set is five data servers and five sentinels with quorum 3; where the promise does not depend on the
//! number, fewer are used here. Behaviour that has a file of its own (failovers, minorities) is not repeated.

use std::time::Duration;

use crate::support::{
    Client, Kind, NAME, Port, SentinelNode, Topology, TopologyBuilder, expect_that, fields,
    holds_for, maps, secs, start_sentinel, text, texts, wait_for,
};

fn small() -> TopologyBuilder {
    Topology::of(Kind::Real).sentinels(&[Kind::Ours; 3])
}

fn five() -> TopologyBuilder {
    Topology::of(Kind::Real)
        .replicas(Kind::Real, 4)
        .sentinels(&[Kind::Ours; 5])
        .down_after(secs(2))
        .parallel_syncs(10)
}

/// One sentinel over a master that nobody answers for.
fn alone(lines: &str) -> (SentinelNode, Port) {
    let nowhere = Port::reserve();
    let monitor = format!("sentinel monitor {NAME} 127.0.0.1 {} 2\n", nowhere.number());
    (start_sentinel(Kind::Ours, &monitor, lines), nowhere)
}

fn is_ok(client: &mut Client, words: &[&str]) {
    assert_eq!(text(&client.call(words)), "OK", "{words:?}");
}

fn eventually(what: &str, mut words: impl FnMut() -> String, wanted: &str) {
    wait_for(what, secs(20), || {
        let found = words();
        expect_that(found.starts_with(wanted), || found.clone())
    });
}

#[test]
fn five_sentinels_discover_each_other_and_all_replicas() {
    let set = five().start();
    for sentinel in &set.sentinels {
        let master = sentinel.master();
        assert_eq!(master["num-other-sentinels"], "4");
        assert_eq!(master["num-slaves"], "4");
        let flat = texts(&sentinel.client().call(&["SENTINEL", "MASTER", NAME]));
        assert_eq!(
            flat[33], "4",
            "tools read num-other-sentinels by its position"
        );
    }
}

#[test]
fn absolute_agreement_fails_over() {
    let mut set = five().quorum(5).start();
    let old = set.master_port();
    set.server_at(old).kill();
    let new = set.wait_for_switch(old, secs(30));
    set.wait_for_replicas_of(new, secs(30));
}

#[test]
fn a_rewrite_keeps_the_layout_of_the_file() {
    let port = Port::reserve();
    let head = "# the operator's words\n\nsentinel down-after-milliseconds setmaster 20000\n\
                sentinel parallel-syncs setmaster 2\nsentinel failover-timeout setmaster 240000\n\
                # and more of them\nsentinel monitor setmaster 10.0.0.1 30000 2\n";
    let sentinel = start_sentinel(Kind::Ours, head, "# at the end\n");
    is_ok(&mut sentinel.client(), &["SENTINEL", "FLUSHCONFIG"]);
    let before: Vec<String> = head
        .lines()
        .chain(["# at the end"])
        .map(str::to_owned)
        .collect();
    let text = std::fs::read_to_string(sentinel.config()).expect("a readable file");
    // The harness writes three lines of its own first.
    let after: Vec<&str> = text.lines().skip(3).take(before.len()).collect();
    assert_eq!(after, before);
    drop(port);
}

#[test]
fn the_command_table_is_a_sentinels() {
    let (sentinel, _nowhere) = alone("");
    let mut client = sentinel.client();
    let list = texts(&client.call(&["COMMAND", "LIST"]));
    for present in ["ping", "info", "subscribe", "sentinel", "auth", "acl"] {
        assert!(
            list.iter().any(|name| name == present),
            "{present} is missing"
        );
    }
    for absent in ["save", "bgrewriteaof", "blpop", "replicaof", "set", "get"] {
        assert!(!list.iter().any(|name| name == absent), "{absent} is there");
        let reply = text(&client.call(&[absent, "x"]));
        assert!(reply.starts_with("ERR unknown command"), "{reply}");
    }
    assert!(texts(&client.call(&["COMMAND", "DOCS", "replicaof"])).is_empty());
    let reply = text(&client.call(&["CLIENT", "NO-TOUCH", "on"]));
    assert_eq!(reply, "ERR unknown subcommand 'NO-TOUCH'. Try CLIENT HELP.");
}

#[test]
fn help_and_myid() {
    let (sentinel, _nowhere) = alone("");
    let mut client = sentinel.client();
    let help = texts(&client.call(&["SENTINEL", "HELP"]));
    let header = "SENTINEL <subcommand> [<arg> [value] [opt] ...]. Subcommands are:";
    assert_eq!(help[0], header);
    let id = text(&client.call(&["SENTINEL", "MYID"]));
    assert_eq!(id.len(), 40);
    assert_eq!(text(&client.call(&["SENTINEL", "MYID"])), id);
}

#[test]
fn info_cache_holds_the_text_and_its_age() {
    let set = small().start();
    let mut client = set.sentinels[0].client();
    let sentinel::resp::Value::Array(items) = client.call(&["SENTINEL", "INFO-CACHE", NAME]) else {
        panic!("no array");
    };
    assert_eq!(text(&items[0]), NAME);
    let sentinel::resp::Value::Array(pairs) = &items[1] else {
        panic!("no array of pairs");
    };
    assert_eq!(pairs.len(), 3, "the master and two replicas");
    let first = texts(&pairs[0]);
    assert!(first[0].parse::<u64>().is_ok(), "{first:?}");
    assert!(first[1].contains("# Server"));
}

#[test]
fn lists_have_their_shapes_under_every_name() {
    let set = small().start();
    let mut client = set.sentinels[0].client();
    assert!(texts(&client.call(&["SENTINEL", "PENDING-SCRIPTS"])).is_empty());
    for (words, len, fields_min) in [
        (&["SENTINEL", "MASTERS"][..], 1, 20),
        (&["SENTINEL", "PRIMARIES"], 1, 20),
        (&["SENTINEL", "SENTINELS", NAME], 2, 14),
        (&["SENTINEL", "SLAVES", NAME], 2, 21),
        (&["SENTINEL", "REPLICAS", NAME], 2, 21),
    ] {
        let list = maps(&client.call(words));
        assert_eq!(list.len(), len, "{words:?}");
        assert!(list.iter().all(|map| map.len() >= fields_min), "{words:?}");
    }
    for words in [["SENTINEL", "MASTER", NAME], ["SENTINEL", "PRIMARY", NAME]] {
        assert_eq!(fields(&client.call(&words))["name"], NAME);
    }
}

#[test]
fn info_has_a_sentinels_sections() {
    let (sentinel, _nowhere) = alone("");
    let mut client = sentinel.client();
    for words in [
        &["INFO"][..],
        &["INFO", "all"],
        &["INFO", "default"],
        &["INFO", "everything"],
    ] {
        let info = text(&client.call(words));
        for present in [
            "redis_version",
            "maxclients",
            "used_cpu_user",
            "sentinel_tilt",
        ] {
            assert!(info.contains(present), "{words:?} lacks {present}");
        }
        for absent in [
            "used_memory",
            "rdb_last_bgsave",
            "master_repl_offset",
            "cluster_enabled",
        ] {
            assert!(!info.contains(absent), "{words:?} has {absent}");
        }
    }
    let info = text(&client.call(&["INFO", "cpu", "sentinel"]));
    assert!(info.contains("used_cpu_user") && info.contains("sentinel_tilt"));
    assert!(!info.contains("redis_version"));
    assert_eq!(text(&client.call(&["INFO", "commandstats"])), "");
}

#[test]
fn debug_sets_what_it_shows() {
    let (sentinel, _nowhere) = alone("");
    let mut client = sentinel.client();
    is_ok(&mut client, &["SENTINEL", "DEBUG", "info-period", "8888"]);
    assert_eq!(texts(&client.call(&["SENTINEL", "DEBUG"]))[1], "8888");
}

#[test]
fn config_get_and_set_take_many() {
    let (sentinel, _nowhere) = alone("");
    let mut client = sentinel.client();
    let set = [
        "SENTINEL",
        "CONFIG",
        "SET",
        "resolve-hostnames",
        "yes",
        "announce-port",
        "1234",
    ];
    is_ok(&mut client, &set);
    let get = [
        "SENTINEL",
        "CONFIG",
        "GET",
        "announce-port",
        "*hostnames",
        "announce-port",
        "nosuch",
    ];
    let got = fields(&client.call(&get));
    let wanted = [
        ("announce-hostnames", "no"),
        ("announce-port", "1234"),
        ("resolve-hostnames", "yes"),
    ];
    assert!(
        got.iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .eq(wanted),
        "{got:?}"
    );
    for (words, error) in [
        (
            &["announce-port", "1", "announce-port", "2"][..],
            "ERR Duplicate argument 'announce-port' to SENTINEL CONFIG SET",
        ),
        (
            &["announce-port", "1", "nosuch", "2"],
            "ERR Invalid argument 'nosuch' to SENTINEL CONFIG SET",
        ),
        (
            &["announce-ip", "1.2.3.4", "announce-port", "-1"],
            "ERR Invalid value '-1' to SENTINEL CONFIG SET 'announce-port'",
        ),
        (
            &["announce-port", "1", "announce-ip"],
            "ERR Missing argument 'announce-ip' value",
        ),
    ] {
        let reply = client.call(&[&["SENTINEL", "CONFIG", "SET"], words].concat());
        assert_eq!(text(&reply), error);
        let port = texts(&client.call(&["SENTINEL", "CONFIG", "GET", "announce-port"]));
        assert_eq!(
            port,
            ["announce-port", "1234"],
            "nothing of a bad line is applied"
        );
    }
}

#[test]
fn loglevel_goes_through_all_values() {
    let (sentinel, _nowhere) = alone("");
    let mut client = sentinel.client();
    let mut level = || texts(&client.call(&["SENTINEL", "CONFIG", "GET", "loglevel"]))[1].clone();
    assert_eq!(level(), "notice");
    for wanted in ["debug", "verbose", "notice", "warning", "nothing"] {
        is_ok(
            &mut sentinel.client(),
            &["SENTINEL", "CONFIG", "SET", "loglevel", wanted],
        );
        assert_eq!(level(), wanted);
    }
}

#[test]
fn set_changes_what_master_shows_and_refuses_nonsense() {
    let (sentinel, _nowhere) = alone("sentinel deny-scripts-reconfig no\n");
    let mut client = sentinel.client();
    is_ok(
        &mut client,
        &[
            "SENTINEL",
            "SET",
            NAME,
            "quorum",
            "3",
            "down-after-milliseconds",
            "4000",
        ],
    );
    let master = sentinel.master();
    assert_eq!(
        (&*master["quorum"], &*master["down-after-milliseconds"]),
        ("3", "4000")
    );
    for (words, error) in [
        (
            &["down-after-milliseconds", "-20"][..],
            "ERR Invalid argument '-20' for SENTINEL SET 'down-after-milliseconds'",
        ),
        (
            &["down-after-milliseconds", "abc"],
            "ERR Invalid argument 'abc' for SENTINEL SET 'down-after-milliseconds'",
        ),
        (
            &["fakeoption", "fakevalue"],
            "ERR Unknown option or number of arguments for SENTINEL SET 'fakeoption'",
        ),
        (
            &["notification-script", "/nonexistent"],
            "ERR Notification script seems non existing or non executable",
        ),
        (
            &["client-reconfig-script", "/nonexistent"],
            "ERR Client reconfiguration script seems non existing or non executable",
        ),
    ] {
        let reply = client.call(&[&["SENTINEL", "SET", NAME], words].concat());
        assert_eq!(text(&reply), error);
    }
    assert_eq!(sentinel.master()["down-after-milliseconds"], "4000");
    let reply = text(&client.call(&["SENTINEL", "SET", NAME]));
    assert_eq!(
        reply,
        "ERR wrong number of arguments for 'sentinel|set' command"
    );
}

#[test]
fn a_configuration_that_cannot_be_written_is_an_error() {
    let (sentinel, _nowhere) = alone("");
    let config = sentinel.config();
    wait_for("a folder in its place", secs(5), || {
        // The sentinel may write the file in between.
        std::fs::remove_file(&config).map_err(|error| error.to_string())?;
        std::fs::create_dir(&config).map_err(|error| error.to_string())
    });
    let reply = text(
        &sentinel
            .client()
            .call(&["SENTINEL", "SET", NAME, "quorum", "3"]),
    );
    assert_eq!(reply, "ERR Failed to save config file. Check server logs.");
    std::fs::remove_dir(&config).expect("still an empty folder");
    is_ok(
        &mut sentinel.client(),
        &["SENTINEL", "SET", NAME, "quorum", "2"],
    );
}

#[test]
fn reset_forgets_replicas_and_peers() {
    let set = small().start();
    let mut client = set.sentinels[0].client();
    wait_for("a reset leaves empty lists behind", secs(10), || {
        assert_eq!(text(&client.call(&["SENTINEL", "RESET", NAME])), "1");
        let left = (
            maps(&client.call(&["SENTINEL", "SENTINELS", NAME])).len(),
            maps(&client.call(&["SENTINEL", "REPLICAS", NAME])).len(),
        );
        expect_that(left == (0, 0), || format!("{left:?}"))
    });
    set.wait_until_settled(secs(20));
}

#[test]
fn a_vote_is_given_on_demand() {
    let set = small().start();
    let port = set.master_port().to_string();
    let mut client = set.sentinels[0].client();
    let id = text(&client.call(&["SENTINEL", "MYID"]));
    for (name, epoch) in [
        ("IS-MASTER-DOWN-BY-ADDR", "50"),
        ("IS-PRIMARY-DOWN-BY-ADDR", "99"),
    ] {
        let reply = texts(&client.call(&["SENTINEL", name, "127.0.0.1", &port, epoch, &id]));
        assert_eq!(reply[1..], [id.as_str(), epoch]);
    }
}

#[test]
fn a_sentinel_that_was_away_learns_the_new_master() {
    let mut set = small().start();
    set.sentinels[1].kill();
    let old = set.master_port();
    set.server_at(old).kill();
    let new = set.wait_for_switch(old, secs(20));
    set.sentinels[1].start_again();
    wait_for("the late one agrees", secs(20), || {
        let port = set.sentinels[1].master_port();
        expect_that(port == Some(new), || format!("{port:?}"))
    });
}

#[test]
fn a_manual_failover_switches_and_a_second_one_is_in_progress() {
    let mut set = small().failover_timeout(secs(10)).start();
    let old = set.master_port();
    let mut client = set.sentinels[0].client();
    // Together: a failover is a matter of milliseconds.
    let twice = format!("SENTINEL FAILOVER {NAME}\r\n").repeat(2);
    client
        .send_raw(twice.as_bytes())
        .expect("an open connection");
    let mut reply = || text(&client.receive().expect("a reply"));
    assert_eq!(reply(), "OK");
    let second = reply();
    assert!(second.starts_with("INPROG"), "{second}");
    let new = set.wait_for_switch(old, secs(30));
    set.wait_for_replicas_of(new, secs(40));
    set.wait_until_settled(secs(20));
}

#[test]
fn simulated_crashes_end_the_process_with_status_99() {
    let set = &mut small().start();
    let help = texts(
        &set.sentinels[0]
            .client()
            .call(&["SENTINEL", "SIMULATE-FAILURE", "HELP"]),
    );
    assert_eq!(help, ["crash-after-election", "crash-after-promotion"]);
    for flag in ["crash-after-election", "crash-after-promotion"] {
        let leader = &mut set.sentinels[0];
        let mut client = leader.client();
        is_ok(&mut client, &["SENTINEL", "SIMULATE-FAILURE", flag]);
        is_ok(&mut client, &["SENTINEL", "FAILOVER", NAME]);
        assert_eq!(leader.process.wait(secs(20)).code(), Some(99), "{flag}");
        leader.start_again();
        let port = set.master_port();
        set.wait_for_replicas_of(port, secs(60));
        set.wait_until_settled(secs(60));
    }
}

#[test]
fn ckquorum_counts_the_usable() {
    let mut set = five().start();
    let ckquorum =
        |sentinel: &SentinelNode| text(&sentinel.client().call(&["SENTINEL", "CKQUORUM", NAME]));
    assert_eq!(
        ckquorum(&set.sentinels[0]),
        "OK 5 usable Sentinels. Quorum and failover authorization can be reached"
    );
    is_ok(
        &mut set.sentinels[0].client(),
        &["SENTINEL", "SET", NAME, "quorum", "6"],
    );
    assert_eq!(
        ckquorum(&set.sentinels[0]),
        "NOQUORUM 5 usable Sentinels. Not enough available Sentinels to reach the specified quorum for this master"
    );
    is_ok(
        &mut set.sentinels[0].client(),
        &["SENTINEL", "SET", NAME, "quorum", "1"],
    );
    for dead in &mut set.sentinels[2..] {
        dead.kill();
    }
    eventually(
        "three dead of five are no majority",
        || ckquorum(&set.sentinels[0]),
        "NOQUORUM 2 usable Sentinels. Not enough available Sentinels to reach the majority and authorize a failover",
    );
}

#[test]
fn host_names_are_announced_only_when_asked_for() {
    let server = crate::support::start_server(Kind::Real, "");
    let monitor = format!(
        "sentinel resolve-hostnames yes\nsentinel announce-hostnames yes\n\
         sentinel monitor {NAME} localhost {} 1\n",
        server.port()
    );
    let sentinel = start_sentinel(Kind::Ours, &monitor, "");
    let replica = crate::support::start_server(
        Kind::Real,
        &format!(
            "replicaof 127.0.0.1 {}\nreplica-announce-ip localhost\n",
            server.port()
        ),
    );
    let mut client = sentinel.client();
    is_ok(&mut client, &["SENTINEL", "DEBUG", "info-period", "200"]);
    let mut shown = || {
        let master = texts(&client.call(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME]))[0].clone();
        let replica = maps(&client.call(&["SENTINEL", "REPLICAS", NAME]));
        format!(
            "{master} {}",
            replica.first().map_or("", |map| map["ip"].as_str())
        )
    };
    eventually("names are shown", &mut shown, "localhost localhost");
    is_ok(
        &mut sentinel.client(),
        &["SENTINEL", "CONFIG", "SET", "announce-hostnames", "no"],
    );
    eventually("addresses are shown", &mut shown, "127.0.0.1 127.0.0.1");
    drop(replica);
}

#[test]
fn a_changed_password_is_followed_once_told() {
    let set = small().start();
    for server in &set.servers {
        let mut client = server.client();
        is_ok(&mut client, &["CONFIG", "SET", "masterauth", "secret"]);
        is_ok(&mut client, &["CONFIG", "SET", "requirepass", "secret"]);
    }
    let (restarted, told_first) = (0, 1);
    let set = &mut { set };
    is_ok(
        &mut set.sentinels[told_first].client(),
        &["SENTINEL", "SET", NAME, "auth-pass", "secret"],
    );
    set.sentinels[restarted].kill();
    set.sentinels[restarted].start_again();
    let flags = |sentinel: &SentinelNode| sentinel.master()["flags"].clone();
    wait_for("without the password it is disconnected", secs(10), || {
        let flags = flags(&set.sentinels[restarted]);
        expect_that(flags.contains("disconnected"), || flags.clone())
    });
    is_ok(
        &mut set.sentinels[restarted].client(),
        &["SENTINEL", "SET", NAME, "auth-pass", "secret"],
    );
    wait_for("with it all are connected", secs(20), || {
        let all: Vec<String> = set.sentinels.iter().map(flags).collect();
        expect_that(all.iter().all(|flags| flags == "master"), || {
            format!("{all:?}")
        })
    });
    assert_eq!(
        set.master_port(),
        set.servers[0].port(),
        "nothing failed over"
    );
}

#[test]
fn a_new_acl_user_is_followed_once_told() {
    let set = small().start();
    for server in &set.servers {
        let mut client = server.client();
        for words in [
            &["CONFIG", "SET", "masteruser", "watcher"][..],
            &["CONFIG", "SET", "masterauth", "secret"],
            &[
                "ACL",
                "SETUSER",
                "watcher",
                "on",
                ">secret",
                "allchannels",
                "+@all",
            ],
            &["ACL", "SETUSER", "default", "off"],
        ] {
            is_ok(&mut client, words);
        }
        // Closes the sentinels' connections and this one.
        let _ = client.try_call(&["CLIENT", "KILL", "USER", "default", "SKIPME", "no"]);
    }
    let sentinel = &set.sentinels[0];
    let is_connected = || {
        let flags = sentinel.master()["flags"].clone();
        format!("{}: {flags}", !flags.contains("disconnected"))
    };
    eventually("the default user is refused", is_connected, "false");
    let set_user = [
        "SENTINEL",
        "SET",
        NAME,
        "auth-user",
        "watcher",
        "auth-pass",
        "secret",
    ];
    for sentinel in &set.sentinels {
        is_ok(&mut sentinel.client(), &set_user);
    }
    eventually("the new user is accepted", is_connected, "true");
    assert_eq!(
        set.master_port(),
        set.servers[0].port(),
        "nothing failed over"
    );
}

#[test]
fn unannounced_replicas_are_left_out_of_the_list() {
    let set = small().start();
    let sentinel = &set.sentinels[0];
    is_ok(
        &mut sentinel.client(),
        &[
            "SENTINEL",
            "DEBUG",
            "info-period",
            "100",
            "publish-period",
            "100",
        ],
    );
    for (announced, wanted) in [("no", 1), ("yes", 2)] {
        is_ok(
            &mut set.servers[1].client(),
            &["CONFIG", "SET", "replica-announced", announced],
        );
        wait_for("the list has the announced ones", secs(15), || {
            let listed = sentinel.replicas().len();
            expect_that(listed == wanted, || listed.to_string())
        });
        assert_eq!(sentinel.master()["num-slaves"], "2", "all are counted");
    }
}

#[test]
fn a_new_id_at_a_known_address_replaces_the_old_one() {
    let mut set = small().start();
    let changed = &mut set.sentinels[2];
    changed.kill();
    let config = std::fs::read_to_string(changed.config()).expect("a readable file");
    let without: String = (config.lines())
        .filter(|line| !line.starts_with("sentinel myid"))
        .flat_map(|line| [line, "\n"])
        .collect();
    std::fs::write(changed.config(), without).expect("a writable file");
    changed.start_again();
    let id = text(&changed.client().call(&["SENTINEL", "MYID"]));
    wait_for("the new id is known", secs(10), || {
        let reply = set.sentinels[0]
            .client()
            .call(&["SENTINEL", "SENTINELS", NAME]);
        let ids: Vec<String> = maps(&reply)
            .iter()
            .map(|map| map["runid"].clone())
            .collect();
        expect_that(ids.contains(&id), || format!("{ids:?}"))
    });
    holds_for("the number of peers stays", Duration::from_secs(1), || {
        let known = set.sentinels[0].master()["num-other-sentinels"].clone();
        expect_that(known == "2", || known.clone())
    });
}

#[test]
fn peers_lose_each_other_without_credentials_and_find_back_with_them() {
    let set = small().start();
    for sentinel in &set.sentinels {
        let mut client = sentinel.client();
        is_ok(
            &mut client,
            &["SENTINEL", "SET", NAME, "down-after-milliseconds", "2000"],
        );
        is_ok(
            &mut client,
            &[
                "ACL",
                "SETUSER",
                "peer",
                "on",
                ">secret",
                "allchannels",
                "+@all",
            ],
        );
        is_ok(&mut client, &["ACL", "SETUSER", "default", "off"]);
        // This connection is the default user's too and goes with the others.
        let _ = client.try_call(&["CLIENT", "KILL", "USER", "default", "SKIPME", "no"]);
    }
    let login = |sentinel: &SentinelNode| {
        let mut client = sentinel.client();
        is_ok(&mut client, &["AUTH", "peer", "secret"]);
        client
    };
    let ckquorum = || text(&login(&set.sentinels[0]).call(&["SENTINEL", "CKQUORUM", NAME]));
    eventually("peers are refused", ckquorum, "NOQUORUM");
    for sentinel in &set.sentinels {
        let mut client = login(sentinel);
        is_ok(
            &mut client,
            &["SENTINEL", "CONFIG", "SET", "sentinel-user", "peer"],
        );
        is_ok(
            &mut client,
            &["SENTINEL", "CONFIG", "SET", "sentinel-pass", "secret"],
        );
    }
    eventually("peers are accepted", ckquorum, "OK 3 usable");
}

//! `CONFIG SET`: all of what it names or nothing, whatever is in progress; and `dir` stays where it leads.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{
    Client, Kind, Port, ServerNode, expect_that, secs, start_server, text, texts, wait_for,
};

fn start(kind: Kind) -> ServerNode {
    start_server(kind, "enable-protected-configs yes\n")
}

fn folder(server: &ServerNode) -> PathBuf {
    let shown = texts(&server.client().call(&["CONFIG", "GET", "dir"]));
    PathBuf::from(&shown[1])
}

fn make(server: &ServerNode, name: &str) -> PathBuf {
    let made = fs::canonicalize(server.dir()).unwrap().join(name);
    fs::create_dir(&made).unwrap();
    made
}

fn has_data(folder: &Path) -> bool {
    folder.join("dump.rdb").exists()
}

#[test]
fn what_is_refused_leaves_no_effect() {
    for kind in [Kind::Real, Kind::Ours] {
        let server = start(kind);
        let before = folder(&server);
        let other = make(&server, "other");
        let files = other.join("appendonlydir");
        if kind == Kind::Ours {
            fs::create_dir(&files).unwrap();
            fs::write(files.join("appendonly.aof.manifest"), "garbage").unwrap();
        } else {
            fs::write(&files, "no folder").unwrap();
        }
        let line = format!(
            "CONFIG SET dir {} requirepass secret appendonly yes",
            other.display()
        );
        let reply = server.client().ask(&line);
        let want = "ERR CONFIG SET failed (possibly related to argument 'appendonly')";
        assert!(reply.starts_with(want), "{kind:?}: {reply}");
        // Nobody needs the password, and the data are where they were.
        assert_eq!(server.client().ask("SAVE"), "OK", "{kind:?}");
        assert_eq!(folder(&server), before, "{kind:?}");
        let found = (has_data(&before), has_data(&other));
        assert_eq!(found, (true, false), "{kind:?}");
        let appendonly = texts(&server.client().call(&["CONFIG", "GET", "appendonly"]));
        assert_eq!(appendonly[1], "no", "{kind:?}");
    }
}

#[test]
fn a_save_in_progress_stays_in_its_folder() {
    for kind in [Kind::Real, Kind::Ours] {
        let server = start(kind);
        let (before, other) = (folder(&server), make(&server, "other"));
        let mut client = server.client();
        client.call(&["DEBUG", "POPULATE", "20000"]);
        // In one turn: the file is begun, or at least ended, after the change.
        let line = format!("BGSAVE\r\nCONFIG SET dir {}\r\n", other.display());
        client.send_raw(line.as_bytes()).unwrap();
        assert_eq!(
            text(&client.receive().unwrap()),
            "Background saving started"
        );
        assert_eq!(text(&client.receive().unwrap()), "OK");
        wait_for("the save is over", secs(20), || {
            let found = server.info("rdb_bgsave_in_progress").unwrap_or_default();
            expect_that(found == "0", || found)
        });
        let status = server.info("rdb_last_bgsave_status");
        assert_eq!(status.as_deref(), Some("ok"), "{kind:?}");
        let found = (has_data(&before), has_data(&other));
        assert_eq!(found, (true, false), "{kind:?}");
    }
}

#[test]
fn a_relative_folder_is_the_same_after_a_restart() {
    for kind in [Kind::Real, Kind::Ours] {
        let mut server = start(kind);
        let other = make(&server, "other");
        for words in ["other", "."] {
            assert_eq!(
                server.client().ask(&format!("CONFIG SET dir {words}")),
                "OK"
            );
            assert_eq!(folder(&server), other, "{kind:?}");
        }
        assert_eq!(server.client().ask("SET k v"), "OK");
        assert_eq!(server.client().ask("SAVE"), "OK");
        assert_eq!(server.client().ask("CONFIG REWRITE"), "OK");
        server.kill();
        server.start_again();
        assert_eq!(folder(&server), other, "{kind:?}");
        assert_eq!(server.client().ask("GET k"), "v", "{kind:?}");
    }
}

#[test]
fn the_folder_is_shown_where_it_is() {
    let shown = [Kind::Real, Kind::Ours].map(|kind| {
        let server = start(kind);
        let here = make(&server, "here");
        let there = here.with_file_name("there");
        let line = format!("CONFIG SET dir {}", here.display());
        assert_eq!(server.client().ask(&line), "OK");
        fs::rename(&here, &there).unwrap();
        assert_eq!(folder(&server), there, "{kind:?}");
        assert_eq!(server.client().ask("CONFIG REWRITE"), "OK");
        let file = fs::read_to_string(server.dir().join("server.conf")).unwrap();
        let is_kept = file.contains(&there.display().to_string());
        assert!(is_kept, "{kind:?}: {file}");
        fs::remove_dir(&there).unwrap();
        server.client().ask("CONFIG GET dir")
    });
    assert_eq!(shown[0], shown[1]);
}

/// redis-server forgets here what `ACL SETUSER` has said, and lets everybody in.
#[test]
fn what_is_refused_leaves_a_password_that_no_setting_knows() {
    let (server, other) = (start(Kind::Ours), start(Kind::Ours));
    let mut client = server.client();
    let mut ask_as_before = |line: &str| text(&client.call(&line.split(' ').collect::<Vec<_>>()));
    assert_eq!(ask_as_before("ACL SETUSER default resetpass >pw"), "OK");
    let busy = other.port();
    for line in [
        format!("CONFIG SET requirepass x port {busy}"),
        format!("CONFIG SET port {busy} requirepass x"),
        format!("CONFIG SET maxmemory 1gb port {busy}"),
        format!(
            "CONFIG SET requirepass x dir {}/nosuch",
            server.dir().display()
        ),
    ] {
        let reply = ask_as_before(&line);
        assert!(
            reply.starts_with("ERR CONFIG SET failed"),
            "{line}: {reply}"
        );
        assert!(server.client().ask("PING").starts_with("NOAUTH"), "{line}");
        assert!(
            server.client().ask("AUTH x").starts_with("WRONGPASS"),
            "{line}"
        );
        assert_eq!(server.client().ask("AUTH pw"), "OK", "{line}");
    }
    assert_eq!(ask_as_before("CONFIG SET requirepass x"), "OK");
    assert_eq!(server.client().ask("AUTH x"), "OK");
}

#[test]
fn what_is_refused_late_is_listened_where_it_was() {
    let server = start(Kind::Ours);
    let before = folder(&server);
    let other = make(&server, "other");
    let files = other.join("appendonlydir");
    fs::create_dir(&files).unwrap();
    fs::write(files.join("appendonly.aof.manifest"), "garbage").unwrap();
    let free = Port::reserve();
    let line = format!(
        "CONFIG SET dir {} port {} appendonly yes",
        other.display(),
        free.number()
    );
    let reply = server.client().ask(&line);
    let want = "ERR CONFIG SET failed (possibly related to argument 'appendonly')";
    assert!(reply.starts_with(want), "{reply}");
    assert_eq!(server.client().ask("PING"), "PONG");
    assert_eq!(server.info("tcp_port"), Some(server.port().to_string()));
    assert!(Client::try_to(free.number()).is_err());
    assert_eq!(server.client().ask("SAVE"), "OK");
    assert!(has_data(&before) && !has_data(&other));
}

/// The kernel is told how soon to end the server, by its role.
#[test]
fn the_oom_score_follows_settings_and_role() {
    const LINES: &str =
        "oom-score-adj relative\noom-score-adj-values 10 200 800\nenable-protected-configs yes\n";
    for kind in [Kind::Real, Kind::Ours] {
        let server = start_server(kind, LINES);
        let of = |pid: &str| -> i32 {
            let score = fs::read_to_string(format!("/proc/{pid}/oom_score_adj"));
            score.unwrap().trim().parse().unwrap()
        };
        let pid = server.info("process_id").unwrap();
        // At once: the reply comes behind it.
        let is = |want: i32| assert_eq!(of(&pid), want, "{kind:?}");
        let before = of("self");
        let mut client = server.client();
        is(before + 10);
        let shown = texts(&client.call(&["CONFIG", "GET", "oom-score-adj"]));
        assert_eq!(shown[1], "yes", "{kind:?}");
        assert_eq!(client.ask("REPLICAOF 127.0.0.1 1"), "OK");
        is(before + 200);
        let reply = client.ask("CONFIG SET oom-score-adj absolute oom-score-adj-values");
        assert!(reply.starts_with("ERR"), "{kind:?}: {reply}");
        let values = ["CONFIG", "SET", "oom-score-adj-values", "20 300 2000"];
        assert_eq!(text(&client.call(&values)), "OK", "{kind:?}");
        assert_eq!(client.ask("CONFIG SET oom-score-adj absolute"), "OK");
        is(300);
        assert_eq!(client.ask("REPLICAOF NO ONE"), "OK");
        is(20);
        let refused = "CONFIG SET oom-score-adj no dir /nowhere/at/all";
        assert!(client.ask(refused).starts_with("ERR"), "{kind:?}");
        is(20);
        assert_eq!(client.ask("CONFIG SET oom-score-adj no"), "OK");
        is(before);
        // Others may change it while the values are not used.
        fs::write(format!("/proc/{pid}/oom_score_adj"), "40").unwrap();
        assert_eq!(client.ask("CONFIG SET oom-score-adj yes"), "OK");
        is(60);
        assert_eq!(client.ask("CONFIG SET oom-score-adj no"), "OK");
        is(40);
    }
}

//! `CONFIG SET`: all of what it names or nothing, whatever is in progress; and `dir` stays where it leads.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{Kind, ServerNode, expect_that, secs, start_server, text, texts, wait_for};

fn start(kind: Kind) -> ServerNode {
    start_server(kind, "enable-protected-configs yes\n")
}

fn ask(server: &ServerNode, line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    text(&server.client().call(&words))
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
fn a_relative_folder_is_the_same_after_a_restart() {
    for kind in [Kind::Real, Kind::Ours] {
        let mut server = start(kind);
        let other = make(&server, "other");
        for words in ["other", "."] {
            assert_eq!(ask(&server, &format!("CONFIG SET dir {words}")), "OK");
            assert_eq!(folder(&server), other, "{kind:?}");
        }
        assert_eq!(ask(&server, "SET k v"), "OK");
        assert_eq!(ask(&server, "SAVE"), "OK");
        assert_eq!(ask(&server, "CONFIG REWRITE"), "OK");
        server.kill();
        server.start_again();
        assert_eq!(folder(&server), other, "{kind:?}");
        assert_eq!(ask(&server, "GET k"), "v", "{kind:?}");
    }
}

//! What the tests of the append-only file share.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{
    Client, Kind, ServerNode, expect_that, redis_check_aof, secs, start_server, text, wait_for,
};

/// A server with an append-only file.
pub(crate) fn start(kind: Kind, lines: &str) -> ServerNode {
    start_server(kind, &format!("appendonly yes\n{lines}"))
}

/// Where its files are.
pub(crate) fn folder(server: &ServerNode) -> PathBuf {
    server.dir().join("appendonlydir")
}

/// The text of its manifest.
pub(crate) fn manifest(server: &ServerNode) -> String {
    fs::read_to_string(folder(server).join("appendonly.aof.manifest")).unwrap()
}

/// The path of the last file that its manifest names.
pub(crate) fn last_file(server: &ServerNode) -> PathBuf {
    let manifest = manifest(server);
    let name = manifest.lines().last().unwrap().split(' ').nth(1).unwrap();
    folder(server).join(name)
}

/// `redis-check-aof` finds nothing wrong.
pub(crate) fn check(server: &ServerNode) {
    check_folder(&folder(server));
}

/// The same for any folder.
pub(crate) fn check_folder(folder: &Path) {
    let mut command = redis_check_aof();
    command.arg(folder.join("appendonly.aof.manifest"));
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("All AOF files and manifest are valid"),
        "{said}"
    );
}

/// A server of `kind` on a copy of the folder of another that has ended.
pub(crate) fn start_on(kind: Kind, other: &ServerNode, lines: &str) -> ServerNode {
    let mut server = start(kind, lines);
    server.kill();
    fs::remove_dir_all(folder(&server)).unwrap();
    fs::create_dir(folder(&server)).unwrap();
    for entry in fs::read_dir(folder(other)).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder(&server).join(path.file_name().unwrap())).unwrap();
    }
    server.start_again();
    server
}

/// Rewrites the file, and waits for the end of that.
pub(crate) fn rewrite(server: &ServerNode) {
    let reply = text(&server.client().call(&["BGREWRITEAOF"]));
    assert_eq!(reply, "Background append only file rewriting started");
    wait_for_rewrite(server);
}

/// Waits until no rewrite is in progress or scheduled, and the last one went well.
pub(crate) fn wait_for_rewrite(server: &ServerNode) {
    wait_for("the rewrite ends", secs(30), || {
        let info = text(&server.client().call(&["INFO", "persistence"]));
        let has = |line: &str| info.lines().any(|found| found == line);
        let is_idle = has("aof_rewrite_in_progress:0") && has("aof_rewrite_scheduled:0");
        expect_that(is_idle && has("aof_last_bgrewrite_status:ok"), || {
            info.clone()
        })
    });
}

/// `CONFIG SET`.
pub(crate) fn set(client: &mut Client, name: &str, value: &str) {
    assert_eq!(text(&client.call(&["CONFIG", "SET", name, value])), "OK");
}

//! Starting on a file of a million keys, and writing it.

use std::path::Path;

use super::common::{Samples, instant};
use super::goals::Goals;
use super::load::fill;
use super::support::{Client, Kind, Port, Process, ServerNode, secs, start_server, text, wait_for};
use super::{KINDS, error_of, order};

const WITHIN: std::time::Duration = secs(120);

/// A file, or folder, that redis-server wrote, and what a configuration needs to load it.
struct Source {
    what: &'static str,
    file: &'static str,
    lines: &'static str,
}

const RDB: Source = Source {
    what: "RDB",
    file: "dump.rdb",
    lines: "",
};
const AOF: Source = Source {
    what: "AOF",
    file: "appendonlydir",
    lines: "appendonly yes\n",
};

pub(crate) fn compare(rounds: usize, keys: usize, goals: &mut Goals) {
    println!("\n{keys} keys, median of {rounds} rounds; s");
    println!(
        "{:<8} {:>12} {:>12} {:>7}",
        "", "redis 7.0", "sentinel", "ratio"
    );
    let written = start_server(Kind::Real, AOF.lines);
    fill(written.port(), keys);
    save(&written);
    let saving = KINDS.map(|kind| {
        let server = start_server(kind, "");
        fill(server.port(), keys);
        server
    });
    report("SAVE", rounds, goals, |at| save(&saving[at]));
    report("RDB", rounds, goals, |at| {
        load(KINDS[at], &RDB, &written.dir())
    });
    let knows_aof = error_of(
        &mut saving[1].client(),
        &["CONFIG", "SET", "appendonly", "yes"],
    );
    match knows_aof {
        Some(error) => println!("AOF      left out: {error}"),
        None => report("AOF", rounds, goals, |at| {
            load(KINDS[at], &AOF, &written.dir())
        }),
    }
}

fn report(what: &str, rounds: usize, goals: &mut Goals, mut measure: impl FnMut(usize) -> f64) {
    let mut samples = [Samples::default(), Samples::default()];
    for round in 0..rounds {
        for at in order(round) {
            samples[at].add(measure(at));
        }
    }
    let [real, ours] = samples.map(|samples| samples.p50());
    goals.at_most(&format!("{what}, times redis"), ours / real, 1.0);
    println!("{what:<8} {real:>12.2} {ours:>12.2} {:>7.2}", ours / real);
}

/// Seconds that `SAVE` takes.
fn save(server: &ServerNode) -> f64 {
    let mut client = Client::try_to_within(server.port(), WITHIN).expect("it listens");
    let begin = instant();
    let reply = text(&client.call(&["SAVE"]));
    assert_eq!(reply, "OK");
    begin.elapsed().as_secs_f64()
}

/// Seconds from the start of a server on a copy of the file to its first answer.
fn load(kind: Kind, source: &Source, written: &Path) -> f64 {
    let dir = tempfile::TempDir::new().expect("a temporary folder");
    copy(&written.join(source.file), &dir.path().join(source.file));
    let port = Port::reserve();
    let config = dir.path().join("server.conf");
    let lines = format!(
        "port {}\nbind 127.0.0.1\ndir {}\nsave \"\"\n{}",
        port.number(),
        dir.path().display(),
        source.lines
    );
    std::fs::write(&config, lines).expect("a configuration can be written");
    let begin = instant();
    let mut process = Process::start("server", dir.path(), kind.server(&config));
    wait_for(&format!("the {} is loaded", source.what), WITHIN, || {
        assert!(process.is_running(), "it ended: {}", process.log());
        let mut client = Client::try_to(port.number()).map_err(|error| error.to_string())?;
        error_of(&mut client, &["PING"]).map_or(Ok(()), Err)
    });
    begin.elapsed().as_secs_f64()
}

/// Copies a file, or the files of a folder.
fn copy(from: &Path, to: &Path) {
    if !from.is_dir() {
        std::fs::copy(from, to).expect("a file can be copied");
        return;
    }
    std::fs::create_dir(to).expect("a folder can be made");
    for entry in std::fs::read_dir(from).expect("the folder is there") {
        let entry = entry.expect("the folder can be read");
        copy(&entry.path(), &to.join(entry.file_name()));
    }
}

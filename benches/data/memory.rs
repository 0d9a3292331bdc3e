//! What a million small elements cost.

use sentinel::resp::encode_request;

use super::goals::Goals;
use super::load::{fill, pipeline};
use super::support::{Kind, ServerNode, secs, start_server, wait_for};
use super::{KINDS, error_of, info, name};

/// Elements that one request adds.
const PER_REQUEST: usize = 100;

/// A collection of many elements: its name, and how one request begins and names each element.
struct Collection {
    name: &'static str,
    command: &'static str,
    element: fn(usize, &mut Vec<Vec<u8>>),
}

const COLLECTIONS: [Collection; 4] = [
    Collection {
        name: "hash",
        command: "HSET",
        element: |i, words| {
            words.push(format!("field:{i}").into_bytes());
            words.push(format!("value:{i}").into_bytes());
        },
    },
    Collection {
        name: "set",
        command: "SADD",
        element: |i, words| words.push(format!("member:{i}").into_bytes()),
    },
    Collection {
        name: "zset",
        command: "ZADD",
        element: |i, words| {
            words.push(i.to_string().into_bytes());
            words.push(format!("member:{i}").into_bytes());
        },
    },
    Collection {
        name: "list",
        command: "RPUSH",
        element: |i, words| words.push(format!("element:{i}").into_bytes()),
    },
];

/// Resident memory and `used_memory`.
#[derive(Clone, Copy)]
struct Memory {
    rss: f64,
    used: f64,
}

pub(crate) fn compare(count: usize, goals: &mut Goals) {
    println!("\nmemory of {count} elements, bytes each: resident, used_memory");
    println!(
        "{:<8} {:>21} {:>21} {:>7}",
        "", "redis 7.0", "sentinel", "RSS"
    );
    let found = KINDS.map(|kind| Ok(strings(kind, count)));
    report("strings", found, count, goals);
    for collection in &COLLECTIONS {
        let found = KINDS.map(|kind| elements(kind, collection, count));
        report(collection.name, found, count, goals);
    }
}

fn report(what: &str, found: [Result<Memory, String>; 2], count: usize, goals: &mut Goals) {
    #[expect(clippy::cast_precision_loss, reason = "a count of elements")]
    let count = count as f64;
    match found {
        [Ok(real), Ok(ours)] => {
            let ratio = ours.rss / real.rss;
            goals.at_most(&format!("memory of {what}, times redis"), ratio, 1.0);
            println!(
                "{what:<8} {:>10.1} {:>10.1} {:>10.1} {:>10.1} {ratio:>7.2}",
                real.rss / count,
                real.used / count,
                ours.rss / count,
                ours.used / count,
            );
        }
        [Err(error), _] | [_, Err(error)] => println!("{what:<8} left out: {error}"),
    }
}

fn strings(kind: Kind, count: usize) -> Memory {
    let server = start_server(kind, "");
    let before = memory(&server);
    fill(server.port(), count);
    added(&server, before)
}

fn elements(kind: Kind, collection: &Collection, count: usize) -> Result<Memory, String> {
    let server = start_server(kind, "");
    let mut probe = Vec::new();
    (collection.element)(0, &mut probe);
    let probe: Vec<&str> = [collection.command, "c"]
        .into_iter()
        .chain(
            probe
                .iter()
                .map(|word| std::str::from_utf8(word).expect("text")),
        )
        .collect();
    if let Some(error) = error_of(&mut server.client(), &probe) {
        return Err(format!("{}: {error}", name(kind)));
    }
    server.client().call(&["DEL", "c"]);
    let before = memory(&server);
    pipeline(server.port(), count / PER_REQUEST, |request, out| {
        let mut words = vec![collection.command.as_bytes().to_vec(), b"c".to_vec()];
        for i in 0..PER_REQUEST {
            (collection.element)(request * PER_REQUEST + i, &mut words);
        }
        encode_request(&words, out);
    });
    Ok(added(&server, before))
}

/// What has been added since; a table that is being moved to a larger one is given the time for it.
fn added(server: &ServerNode, before: Memory) -> Memory {
    let mut last = memory(server).used;
    wait_for("used_memory settles", secs(30), || {
        std::thread::sleep(secs(1));
        let now = memory(server).used;
        let moved = (now - last).abs();
        last = now;
        if moved < 100_000.0 {
            Ok(())
        } else {
            Err(format!("it moved by {moved}"))
        }
    });
    let after = memory(server);
    Memory {
        rss: after.rss - before.rss,
        used: after.used - before.used,
    }
}

fn memory(server: &ServerNode) -> Memory {
    let used = info(&mut server.client(), "memory", "used_memory");
    let used = used.and_then(|text| text.parse().ok());
    Memory {
        rss: bytes(server.process.rss_kib() * 1024),
        used: bytes(used.expect("INFO has used_memory")),
    }
}

#[expect(clippy::cast_precision_loss, reason = "memory sizes, far below 2^53")]
fn bytes(n: u64) -> f64 {
    n as f64
}

//! The sentinel clients that people use find the master and go on writing after a failover: the `redis` crate,
//! redis-py and ioredis.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::sentinel::{SentinelClient, SentinelServerType};
use tempfile::TempDir;

use crate::support::{
    Kind, NAME, Process, Topology, expect_that, ioredis_script, redis_py, secs, text, wait_for,
};

/// The key that each client counts up.
const KEY: &str = "counter";

const PYTHON: &str = r#"
import sys, time, redis
from redis.sentinel import Sentinel
ports = sys.argv[1].split(",")
sentinel = Sentinel([("127.0.0.1", int(port)) for port in ports], socket_timeout=1)
master = sentinel.master_for("mymaster", socket_timeout=1)
while True:
    try:
        master.incr("counter")
    except redis.RedisError as error:
        print(repr(error), flush=True)
    time.sleep(0.02)
"#;

const NODE: &str = r#"
const { Redis } = require("ioredis");
const sentinels = process.argv[1].split(",").map((port) => ({ host: "127.0.0.1", port: Number(port) }));
const master = new Redis({ sentinels, name: "mymaster", maxRetriesPerRequest: 1, connectTimeout: 1000 });
master.on("error", (error) => console.log(String(error)));
async function count() {
    await master.incr("counter").catch((error) => console.log(String(error)));
    setTimeout(count, 20);
}
count();
"#;

#[test]
fn redis_py_writes_through_a_failover() {
    writes_through_a_failover(|ports| {
        let mut command = redis_py();
        command.args(["-c", PYTHON, ports]);
        command
    });
}

#[test]
fn ioredis_writes_through_a_failover() {
    writes_through_a_failover(|ports| {
        let mut command = ioredis_script(NODE);
        command.arg(ports);
        command
    });
}

#[test]
fn the_redis_crate_writes_through_a_failover() {
    let mut set = Topology::of(Kind::Real).sentinels(&[Kind::Ours; 3]).start();
    let urls: Vec<String> = (set.sentinels.iter())
        .map(|sentinel| format!("redis://127.0.0.1:{}", sentinel.port()))
        .collect();
    let mut client = SentinelClient::build(urls, NAME.to_owned(), None, SentinelServerType::Master)
        .expect("the URLs are right");
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let writer = std::thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            let Ok(mut connection) = client.get_connection() else {
                continue;
            };
            // As long as it works; then the sentinels are asked again.
            while !stopped.load(Ordering::Relaxed)
                && redis::cmd("INCR").arg(KEY).exec(&mut connection).is_ok()
            {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    });
    goes_on_counting(&mut set);
    stop.store(true, Ordering::Relaxed);
    writer.join().expect("the writer has not panicked");
}

fn writes_through_a_failover(command: impl Fn(&str) -> Command) {
    let mut set = Topology::of(Kind::Real).sentinels(&[Kind::Ours; 3]).start();
    let ports: Vec<String> = (set.sentinels.iter())
        .map(|sentinel| sentinel.port().to_string())
        .collect();
    let dir = TempDir::new().expect("a temporary folder");
    let _client = Process::start("client", dir.path(), command(&ports.join(",")));
    goes_on_counting(&mut set);
}

/// The counter grows on the master, and on the next one after a failover.
fn goes_on_counting(set: &mut Topology) {
    let old = set.master_port();
    grows(set, old);
    set.server_at(old).kill();
    let new = set.wait_for_switch(old, secs(20));
    grows(set, new);
}

fn grows(set: &mut Topology, port: u16) {
    let mut server = set.server_at(port).client();
    let mut count = || {
        text(&server.call(&["GET", KEY]))
            .parse::<u64>()
            .unwrap_or(0)
    };
    let before = count();
    wait_for("the client writes to the master", secs(20), || {
        let now = count();
        expect_that(now > before + 3, || {
            format!("{now} after {before} on {port}")
        })
    });
}

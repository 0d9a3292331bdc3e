//! What the tests with real processes share: free ports, processes that cannot outlive their test, a blocking
//! client, topologies of any mixture, and waiting for a condition with a deadline.
//!
//! The shortest use:
//!
//! ```ignore
//! let set = Topology::of(Kind::Ours).sentinels(&[Kind::Ours, Kind::Ours, Kind::Real]).start();
//! let old = set.master_port();
//! set.server_at(old).kill();
//! let new = set.wait_for_switch(old, secs(10));
//! ```
//!
//! Everything here panics with a message that says what was expected of whom: it runs in tests only.

#![allow(
    dead_code,
    unused_imports,
    reason = "shared by the integration tests and the benchmarks; none of them uses all of it"
)]

pub(crate) mod browser;
mod client;
mod fake;
pub(crate) mod flood;
pub(crate) mod http;
mod peers;
mod ports;
mod process;
mod topology;
mod watch;

use std::time::Duration;

use sentinel::clock::Clock;

pub(crate) use client::{Client, fields, maps, text, texts};
pub(crate) use fake::{Answer, Fake, honest_master};
pub(crate) use peers::{
    Kind, cargo_deb, dpkg, haproxy, ioredis_script, logrotate, node_redis_script, prometheus,
    promtool, redis_benchmark, redis_check_aof, redis_check_rdb, redis_cli, redis_py, schemathesis,
    systemd_analyze,
};
pub(crate) use ports::Port;
pub(crate) use process::Process;
pub(crate) use topology::{
    NAME, SentinelNode, ServerNode, Topology, TopologyBuilder, start_sentinel, start_server,
};
pub(crate) use watch::{Event, Watch};

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(10);

/// `n` seconds.
pub(crate) const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Calls `check` until it is `Ok`, and returns what it holds.
///
/// # Panics
/// After `within`, with `what` and the last `Err`, which should say what was there instead.
pub(crate) fn wait_for<T>(
    what: &str,
    within: Duration,
    mut check: impl FnMut() -> Result<T, String>,
) -> T {
    let clock = Clock::start();
    let deadline = clock.mono() + within;
    loop {
        match check() {
            Ok(found) => return found,
            Err(reason) if clock.mono() >= deadline => {
                panic!("not within {within:?}: {what}; the last look found: {reason}")
            }
            Err(_) => std::thread::sleep(POLL),
        }
    }
}

/// Calls `check` for all of `during`: it must stay `Ok`.
///
/// # Panics
/// As soon as it is not.
pub(crate) fn holds_for(
    what: &str,
    during: Duration,
    mut check: impl FnMut() -> Result<(), String>,
) {
    let clock = Clock::start();
    let end = clock.mono() + during;
    while clock.mono() < end {
        if let Err(reason) = check() {
            panic!("did not hold for {during:?}: {what}; found: {reason}");
        }
        std::thread::sleep(POLL);
    }
}

/// `Ok` when `is` holds, else the reason.
pub(crate) fn expect_that(is: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if is { Ok(()) } else { Err(otherwise()) }
}

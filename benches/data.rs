//! The data server beside redis-server 7.0.15: throughput, memory, loading, full resyncs, snapshots.
//!
//! `cargo bench --bench data [-- --rounds 5 --only commands,memory,load,resync,bgsave --commands set,get --keys 1000000]`
//!
//! Both servers run at the same time and are asked in turn, first the one, then the other, with the order
//! changing from round to round; every figure is the median of the rounds, and a ratio the median of the ratios
//! within each round, as a machine may be faster in one than in another. The server that is not asked is idle.
//!
//! *commands*: `redis-benchmark` with 50 clients, 64-byte values and 100 000 random keys, without pipelining and with
//! 16 requests in flight per client, these over a Unix socket too, in each round there and back (the one, the other
//! twice, the one); beside it the processor time that a server needs and the share of its own that the client does: at
//! 100 % no server makes it faster. `PING` is what costs a server least. *memory*: what a million small elements add to
//! the resident memory and to `used_memory`, bytes an element. *load*: from the start of the process to its first
//! `PONG`, with a million keys in its file; and `SAVE` of the same. *resync*: from `REPLICAOF` on an empty replica to
//! `master_link_status:up`, first without clients, then while some write to the master as fast as they can. *bgsave*:
//! what such clients see of a `BGSAVE`, and how much the resident memory grows meanwhile (of redis-server, which forks,
//! that is not told by its process alone). One thread drives all these clients, so an answer that waits for its turn
//! there counts as late for both servers alike.
//!
//! At the end stands which of the figures fall short of what is wanted. What a server does not know it is not asked: a
//! line says so.

#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

mod common;
#[path = "data/goals.rs"]
mod goals;
#[path = "data/load.rs"]
mod load;
#[path = "data/loading.rs"]
mod loading;
#[path = "data/memory.rs"]
mod memory;
#[path = "data/resync.rs"]
mod resync;
#[path = "data/snapshot.rs"]
mod snapshot;
#[path = "../tests/integration/support/mod.rs"]
mod support;
#[path = "data/throughput.rs"]
mod throughput;

use common::option;
use goals::Goals;
use sentinel::resp::Value;
use support::{Client, Kind, text};

/// Length of the values of string keys. Bytes.
const VALUE_BYTES: usize = 64;

/// Both programs, in the order of the columns.
const KINDS: [Kind; 2] = [Kind::Real, Kind::Ours];

fn main() {
    let rounds: usize = option("--rounds", 5);
    let keys: usize = option("--keys", 1_000_000);
    let mut goals = Goals::default();
    let only = option("--only", "commands,memory,load,resync,bgsave".to_owned());
    for part in only.split(',') {
        match part {
            "commands" => throughput::compare(rounds, &mut goals),
            "memory" => memory::compare(keys, &mut goals),
            "load" => loading::compare(rounds, keys, &mut goals),
            "resync" => resync::compare(rounds, keys, &mut goals),
            "bgsave" => snapshot::compare(rounds, keys, &mut goals),
            other => panic!("--only: there is no part called {other:?}"),
        }
    }
    goals.print();
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Real => "redis 7.0",
        Kind::Ours => "sentinel",
    }
}

/// The two programs in the order of this round: whoever was first last time is second now.
fn order(round: usize) -> [usize; 2] {
    if round.is_multiple_of(2) {
        [0, 1]
    } else {
        [1, 0]
    }
}

/// Why a server cannot run a request; `None` when it did.
fn error_of(client: &mut Client, words: &[&str]) -> Option<String> {
    match client.call(words) {
        Value::Error(error) => Some(text(&Value::Error(error))),
        Value::Simple(_)
        | Value::Integer(_)
        | Value::Bulk(_)
        | Value::Null
        | Value::NullArray
        | Value::Array(_)
        | Value::Set(_)
        | Value::Push(_)
        | Value::Map(_)
        | Value::Double(_)
        | Value::Boolean(_)
        | Value::BigNumber(_)
        | Value::Verbatim(..) => None,
    }
}

/// One field of `INFO`.
fn info(client: &mut Client, section: &str, field: &str) -> Option<String> {
    let info = text(&client.call(&["INFO", section]));
    info.lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
        .map(|value| value.trim().to_owned())
}

//! What the tests of the data server share: random commands from a seed, and servers compared as a whole.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sentinel::resp::Value;

use crate::support::{Client, ServerNode, expect_that, secs, text, wait_for};

/// Random commands about few keys, so that they meet each other. The same seed gives the same commands.
pub(crate) struct Commands {
    dice: ChaCha8Rng,
}

impl Commands {
    /// Commands of this seed, which is printed for a replay.
    pub(crate) fn of(seed: u64) -> Commands {
        eprintln!("commands of seed {seed}");
        Commands {
            dice: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    fn pick<'a>(&mut self, among: &[&'a str]) -> &'a str {
        among[self.dice.random_range(0..among.len())]
    }

    fn key(&mut self) -> String {
        format!("key:{}", self.dice.random_range(0..40))
    }

    fn value(&mut self) -> String {
        match self.dice.random_range(0..8) {
            0 => String::new(),
            1 => self.dice.random::<i32>().to_string(),
            2 => "7".repeat(self.dice.random_range(1..40)),
            3 => "long ".repeat(self.dice.random_range(1..3000)),
            4 => "\u{1}\r\n\"'\u{e9}".to_owned(),
            5 => self.dice.random_range(-50..50).to_string(),
            _ => format!("value-{}", self.dice.random::<u16>()),
        }
    }

    /// The next command. It does not wait, and its effect does not depend on how long it takes.
    pub(crate) fn next(&mut self) -> Vec<String> {
        let (key, other, value) = (self.key(), self.key(), self.value());
        let number = self.pick(&["1", "-3", "0", "9223372036854775807", "x", "1.5", ""]);
        // Far enough away that no test sees it pass, as milliseconds too.
        let seconds = self.pick(&[
            "10000000",
            "20000000",
            "0",
            "-1",
            "x",
            "9223372036854775807",
        ]);
        let flag = self.pick(&["NX", "XX", "GT", "LT", "nx", "KEEPTTL", "GET", "bogus"]);
        let line: Vec<&str> = match self.dice.random_range(0..46) {
            0..=4 => vec!["SET", &key, &value],
            5 => vec!["set", &key, &value, flag],
            6 => vec!["SET", &key, &value, "EX", seconds],
            7 => vec!["SET", &key, &value, "GET", "PX", seconds, flag],
            8 => vec!["SET", &key, &value, "PXAT", "99999999999999"],
            9 => vec!["SETNX", &key, &value],
            10 => vec!["SETEX", &key, seconds, &value],
            11 => vec!["PSETEX", &key, seconds, &value],
            12 => vec!["GETSET", &key, &value],
            13 => vec!["GETDEL", &key],
            14 => vec!["GETEX", &key, "EX", seconds],
            15 => vec!["GETEX", &key, "PERSIST"],
            16 => vec!["MSET", &key, &value, &other, "m"],
            17 => vec!["MSETNX", &key, &value, &other, "m"],
            18 => vec!["APPEND", &key, &value],
            19 => vec!["SETRANGE", &key, number, &value],
            20 => vec!["GETRANGE", &key, number, "-2"],
            21 => vec!["INCR", &key],
            22 => vec!["DECR", &key],
            23 => vec!["INCRBY", &key, number],
            24 => vec!["DECRBY", &key, number],
            25 => vec!["INCRBYFLOAT", &key, number],
            26 => vec!["DEL", &key, &other, "missing"],
            27 => vec!["UNLINK", &key],
            28 => vec!["EXISTS", &key, &key, &other],
            29 => vec!["RENAME", &key, &other],
            30 => vec!["RENAMENX", &key, &other],
            31 => vec!["EXPIRE", &key, seconds],
            32 => vec!["EXPIRE", &key, seconds, flag],
            33 => vec!["PEXPIREAT", &key, "99999999999998", flag],
            34 => vec!["EXPIREAT", &key, "1"],
            35 => vec!["PERSIST", &key],
            36 => vec!["TYPE", &key],
            37 => vec!["STRLEN", &key],
            38 => vec!["MGET", &key, &other, "missing"],
            39 => vec!["PEXPIRETIME", "missing"],
            40 => vec!["TTL", &other],
            41 => vec!["SELECT", self.pick(&["0", "0", "1", "9", "16", "x"])],
            42 => vec!["DBSIZE"],
            43 => vec!["GET", &key],
            44 => vec!["TOUCH", &key, &other],
            _ => vec!["SUBSTR", &key, "0", number],
        };
        line.into_iter().map(str::to_owned).collect()
    }
}

/// Sends a command of any words.
pub(crate) fn send(client: &mut Client, words: &[String]) -> Value {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    client.call_large(&words)
}

/// Runs `count` commands.
pub(crate) fn write(client: &mut Client, commands: &mut Commands, count: usize) {
    for _ in 0..count {
        send(client, &commands.next());
    }
}

/// All data of a server in one line.
pub(crate) fn digest(server: &ServerNode) -> String {
    /// Megabytes, by a debug build, on a busy machine.
    const PATIENCE: Duration = secs(30);
    let client = Client::try_to_within(server.port(), PATIENCE);
    let reply = client.and_then(|mut client| client.try_call(&["DEBUG", "DIGEST"]));
    text(&reply.unwrap_or_else(|error| panic!("DEBUG DIGEST at {}: {error}", server.port())))
}

fn number(server: &ServerNode, field: &str) -> u64 {
    // A server that has much to do may be slow to answer.
    wait_for(field, secs(10), || {
        let value = server.info(field).unwrap_or_default();
        value.parse().map_err(|_| format!("{value:?}"))
    })
}

/// Full resyncs that a server has served.
pub(crate) fn full_resyncs(server: &ServerNode) -> u64 {
    number(server, "sync_full")
}

/// Partial resyncs that a server has served.
pub(crate) fn partial_resyncs(server: &ServerNode) -> u64 {
    number(server, "sync_partial_ok")
}

/// How far a server's history is.
pub(crate) fn offset(server: &ServerNode) -> u64 {
    number(server, "master_repl_offset")
}

/// Waits until `replica` follows `master`, stands at the same offset and holds the same data.
pub(crate) fn wait_until_equal(master: &ServerNode, replica: &ServerNode) {
    /// Long enough for a debug build on a busy machine.
    const PATIENCE: Duration = secs(60);
    let what = format!("{} equals {}", replica.port(), master.port());
    wait_for(&what, PATIENCE, || {
        let state = |server: &ServerNode| (offset(server), server.info("db0"), digest(server));
        let status = replica.info("master_link_status");
        expect_that(status.as_deref() == Some("up"), || {
            format!("link {status:?}")
        })?;
        let (ours, theirs) = (state(master), state(replica));
        expect_that(same(&ours, &theirs), || format!("{ours:?} and {theirs:?}"))
    });
}

/// The same position and data; of `db0` only the counts, not the average time to live.
fn same(a: &(u64, Option<String>, String), b: &(u64, Option<String>, String)) -> bool {
    let counts = |db: &Option<String>| {
        let shown = db.as_deref().unwrap_or_default().to_owned();
        shown
            .split(",avg_ttl")
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    a.0 == b.0 && a.2 == b.2 && counts(&a.1) == counts(&b.1)
}

/// A server's configuration line that makes it a replica.
pub(crate) fn replica_of(master: &ServerNode) -> String {
    format!("replicaof 127.0.0.1 {}\n", master.port())
}

/// Tells a server to follow another.
pub(crate) fn follow(server: &ServerNode, master: &ServerNode) {
    let port = master.port().to_string();
    let reply = text(&server.client().call(&["REPLICAOF", "127.0.0.1", &port]));
    assert_eq!(reply, "OK");
}

/// Tells a server to follow nobody.
pub(crate) fn promote(server: &ServerNode) {
    let reply = text(&server.client().call(&["REPLICAOF", "NO", "ONE"]));
    assert_eq!(reply, "OK");
}

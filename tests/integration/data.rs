//! What the tests of the data server share: dice and random commands from a seed, and servers compared as a whole.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sentinel::resp::Value;

use crate::support::{Client, ServerNode, expect_that, secs, text, wait_for};

/// These seeds, and `DATA_SEEDS` drawn ones, or one; each is printed. With `DATA_SEED=n` that one alone.
pub(crate) fn seeds(fixed: impl IntoIterator<Item = u64>) -> Vec<u64> {
    if let Some(seed) = number_from_env("DATA_SEED") {
        return vec![seed];
    }
    let drawn: Vec<u64> = (0..number_from_env("DATA_SEEDS").unwrap_or(1))
        .map(|_| rand::random::<u32>().into())
        .collect();
    eprintln!("drawn, for DATA_SEED: {drawn:?}");
    fixed.into_iter().chain(drawn).collect()
}

fn number_from_env(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|error| panic!("{name}={text}: {error}")))
}

/// What chance decides in a test. The same seed decides the same.
pub(crate) struct Dice(ChaCha8Rng);

impl Dice {
    /// Dice of this seed, which is printed.
    pub(crate) fn of(seed: u64) -> Dice {
        eprintln!("seed {seed}");
        Dice(ChaCha8Rng::seed_from_u64(seed))
    }

    /// One of these.
    pub(crate) fn pick<T: Copy>(&mut self, among: &[T]) -> T {
        among[self.random_range(0..among.len())]
    }

    /// One of `count` keys of a family.
    pub(crate) fn key(&mut self, family: &str, count: u32) -> String {
        format!("{family}:{}", self.random_range(0..count))
    }
}

impl Deref for Dice {
    type Target = ChaCha8Rng;

    fn deref(&self) -> &ChaCha8Rng {
        &self.0
    }
}

impl DerefMut for Dice {
    fn deref_mut(&mut self) -> &mut ChaCha8Rng {
        &mut self.0
    }
}

/// A family of keys, and lines about two of its keys, `K` and `L`. `M` is an element, `N` a number, `V` a value of
/// any length; `M*` stands for many elements, `NM*` and `MV*` for many pairs.
type Lines = (&'static str, &'static [&'static str]);

/// Their effect depends neither on chance nor on how long they take.
const TYPED: [Lines; 5] = [
    (
        "list",
        &[
            "RPUSH K M M",
            "LPUSH K M",
            "RPUSH K N V M",
            "LPUSH K M*",
            "LPOP K",
            "RPOP K 2",
            "LTRIM K -30 -1",
            "LREM K 1 M",
            "LSET K 0 V",
            "LINSERT K BEFORE M N",
            "LMOVE K L LEFT RIGHT",
            "RPOPLPUSH K L",
            "LMPOP 2 K L RIGHT COUNT 3",
            "LRANGE K 0 -1",
        ],
    ),
    (
        "set",
        &[
            "SADD K M M",
            "SADD K N",
            "SADD K N N N",
            "SADD K V",
            "SADD K M*",
            "SREM K M",
            "SMOVE K L M",
            "SUNIONSTORE K K L",
            "SDIFFSTORE K L K",
            "SINTERSTORE K K L",
            "SCARD K",
        ],
    ),
    (
        "hash",
        &[
            "HSET K M M",
            "HSET K M N N M",
            "HSET K M V",
            "HSET K MV*",
            "HDEL K M",
            "HINCRBY K n N",
            "HINCRBYFLOAT K f 1.25",
            "HSETNX K M N",
            "HMGET K M n f",
        ],
    ),
    (
        "zset",
        &[
            "ZADD K N M",
            "ZADD K GT N M N M",
            "ZADD K N V",
            "ZADD K NM*",
            "ZINCRBY K N M",
            "ZREM K M",
            "ZPOPMIN K",
            "ZPOPMAX K 2",
            "ZUNIONSTORE K 2 K L",
            "ZINTERSTORE K 2 K L WEIGHTS 2 0.5",
            "ZREMRANGEBYRANK K 60 -1",
            "ZRANGESTORE L K 0 10",
            "ZRANGE K 0 -1 WITHSCORES",
        ],
    ),
    (
        "key",
        &[
            "INCRBYFLOAT K 0.5",
            "SETBIT K N 1",
            "BITFIELD K INCRBY u8 N 3",
            "COPY K L REPLACE",
            "PFADD K M",
            "MOVE K 1",
            "SWAPDB 0 1",
            "GETDEL K",
            "SELECT 1",
            "SELECT 0",
            "WATCH K",
            "MULTI",
            "MULTI",
        ],
    ),
];

/// What each server may do in a way of its own.
const BY_CHANCE: [Lines; 1] = [("set", &["SPOP K", "SPOP K 3"])];

/// Keys that go soon.
const EXPIRING: [Lines; 4] = [
    ("key", &["SET K M PX 15", "EXPIRE K 1", "PEXPIRE K 10"]),
    ("list", &["PEXPIRE K 20"]),
    ("set", &["PEXPIRE K 20", "EXPIRE K 1"]),
    ("hash", &["PEXPIRE K 20"]),
];

/// Random commands about few keys of every type, so that they meet each other; some of them in transactions. The
/// same seed gives the same commands.
pub(crate) struct Commands {
    dice: Dice,
    /// Families with a line each.
    typed: Vec<(&'static str, &'static str)>,
    /// Between `MULTI` and `EXEC`.
    is_queueing: bool,
}

impl Commands {
    /// Commands of this seed, which is printed for a replay. They do not wait, and their effect depends neither on
    /// chance nor on how long they take.
    pub(crate) fn of(seed: u64) -> Commands {
        let commands = Commands {
            dice: Dice::of(seed),
            typed: Vec::new(),
            is_queueing: false,
        };
        commands.and(&TYPED)
    }

    /// And some whose effect is a matter of chance.
    pub(crate) fn with_chance(self) -> Commands {
        self.and(&BY_CHANCE)
    }

    /// And some that make keys go a little later.
    pub(crate) fn with_expiry(self) -> Commands {
        self.and(&EXPIRING)
    }

    fn and(mut self, more: &[Lines]) -> Commands {
        for (family, lines) in more {
            self.typed.extend(lines.iter().map(|line| (*family, *line)));
        }
        self
    }

    fn key(&mut self) -> String {
        self.dice.key("key", 40)
    }

    /// A key of any type.
    fn any_key(&mut self) -> String {
        let family = self
            .dice
            .pick(&["key", "key", "list", "set", "hash", "zset"]);
        let count = if family == "key" { 40 } else { 6 };
        self.dice.key(family, count)
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

    /// The next command.
    pub(crate) fn next(&mut self) -> Vec<String> {
        if self.is_queueing && self.dice.random_range(0..6) == 0 {
            self.is_queueing = false;
            let end = self.dice.pick(&["EXEC", "EXEC", "EXEC", "DISCARD"]);
            return vec![end.to_owned()];
        }
        if self.dice.random() {
            return self.untyped();
        }
        let (family, line) = self.dice.pick(&self.typed);
        if line == "MULTI" {
            if self.is_queueing {
                return self.untyped();
            }
            self.is_queueing = true;
        }
        line.split(' ')
            .flat_map(|word| self.words(family, word))
            .collect()
    }

    /// What ends a transaction that is open.
    pub(crate) fn end(&mut self) -> Option<Vec<String>> {
        std::mem::take(&mut self.is_queueing).then(|| vec!["EXEC".to_owned()])
    }

    /// What a word of a typed line stands for.
    fn words(&mut self, family: &str, word: &str) -> Vec<String> {
        if let Some(one) = word.strip_suffix('*') {
            let count = self.dice.random_range(1..200);
            let letters: Vec<String> = one.chars().map(String::from).collect();
            let all = (0..count).flat_map(|_| letters.iter());
            return all.flat_map(|letter| self.words(family, letter)).collect();
        }
        vec![match word {
            "K" | "L" => self.dice.key(family, 6),
            "M" => {
                let dashes = self.dice.random_range(0..80);
                format!("m{}{}", self.dice.random_range(0..90), "-".repeat(dashes))
            }
            "N" => self.dice.random_range(0..200).to_string(),
            "V" => self.value(),
            other => other.to_owned(),
        }]
    }

    /// A command about strings, or about keys of whatever type.
    fn untyped(&mut self) -> Vec<String> {
        let (key, other, value) = (self.key(), self.key(), self.value());
        let (any, to) = (self.any_key(), self.any_key());
        let number = self
            .dice
            .pick(&["1", "-3", "0", "9223372036854775807", "x", "1.5", ""]);
        // Far enough away that no test sees it pass, as milliseconds too.
        let seconds = self.dice.pick(&[
            "10000000",
            "20000000",
            "0",
            "-1",
            "x",
            "9223372036854775807",
        ]);
        let flag = self
            .dice
            .pick(&["NX", "XX", "GT", "LT", "nx", "KEEPTTL", "GET", "bogus"]);
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
            26 => vec!["DEL", &any, &other, "missing"],
            27 => vec!["UNLINK", &any],
            28 => vec!["EXISTS", &any, &any, &to],
            29 => vec!["RENAME", &any, &to],
            30 => vec!["RENAMENX", &any, &to],
            31 => vec!["EXPIRE", &any, seconds],
            32 => vec!["EXPIRE", &any, seconds, flag],
            33 => vec!["PEXPIREAT", &any, "99999999999998", flag],
            34 => vec!["EXPIREAT", &any, "1"],
            35 => vec!["PERSIST", &any],
            36 => vec!["TYPE", &any],
            37 => vec!["STRLEN", &key],
            38 => vec!["MGET", &key, &other, "missing"],
            39 => vec!["PEXPIRETIME", "missing"],
            40 => vec!["TTL", &any],
            41 => vec!["SELECT", self.dice.pick(&["0", "0", "1", "9", "16", "x"])],
            42 => vec!["DBSIZE"],
            43 => vec!["GET", &any],
            44 => vec!["TOUCH", &any, &other],
            _ => vec!["SUBSTR", &key, "0", number],
        };
        line.into_iter().map(str::to_owned).collect()
    }
}

/// Sends a command of any words.
pub(crate) fn send(client: &mut Client, words: &[String]) -> Value {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    client.call(&words)
}

/// Runs `count` commands, and ends what they leave open.
pub(crate) fn write(client: &mut Client, commands: &mut Commands, count: usize) {
    for _ in 0..count {
        send(client, &commands.next());
    }
    if let Some(end) = commands.end() {
        send(client, &end);
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

/// Waits until a field of `INFO` has this value.
pub(crate) fn wait_for_info(server: &ServerNode, field: &str, wanted: &str) {
    let what = format!("{field} of {} is {wanted}", server.port());
    wait_for(&what, secs(20), || {
        let found = server.info(field);
        expect_that(found.as_deref() == Some(wanted), || format!("{found:?}"))
    });
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

//! What `BGSAVE` writes is the data of the moment at which it began, however much is changed, removed and flushed
//! while it runs.
//!
//! One connection sends transactions from a seed, and `BGSAVE` between two of them; so the moment is known. The
//! model is redis-server: it runs the same transactions up to that moment, and must then hold what another
//! redis-server loads from the file.

use std::fs;

use rand::RngExt;
use sentinel::resp::encode_request;

use crate::data::{Dice, digest, seeds};
use crate::support::{Client, Kind, redis_check_rdb, start_server, text};

/// Transactions before the save begins.
const BEFORE: usize = 200;
/// Transactions that are sent together.
const BURST: usize = 40;

type Words = Vec<String>;

/// Transactions about keys of every type that the servers have.
struct Writer {
    dice: Dice,
}

/// The types of values.
const FAMILIES: [&str; 5] = ["str", "list", "set", "hash", "zset"];

impl Writer {
    fn of(seed: u64) -> Writer {
        Writer {
            dice: Dice::of(seed),
        }
    }

    fn number(&mut self, below: u32) -> String {
        self.dice.random_range(0..below).to_string()
    }

    fn value(&mut self) -> String {
        let len = self.dice.random_range(1..400);
        format!("{}{}", self.number(1000), "v".repeat(len))
    }

    /// What is there before the first transaction: many small values, and some of each type that are large.
    fn filling(&mut self) -> Vec<Words> {
        let mut all = Vec::new();
        for part in 0..20 {
            let mut line = vec!["MSET".to_owned()];
            for n in 0..1000 {
                line.extend([format!("filler:{part}:{n}"), self.value()]);
            }
            all.push(line);
        }
        for large in 0..3 {
            for family in FAMILIES {
                let mut line = match family {
                    "list" => vec!["RPUSH".to_owned()],
                    "set" => vec!["SADD".to_owned()],
                    "hash" => vec!["HSET".to_owned()],
                    "zset" => vec!["ZADD".to_owned()],
                    _ => {
                        let value = "large".repeat(40_000);
                        all.push(vec!["SET".to_owned(), format!("str:{large}"), value]);
                        continue;
                    }
                };
                line.push(format!("{family}:{large}"));
                for n in 0..5000 {
                    match family {
                        "hash" => line.extend([format!("f{n}"), self.number(100_000)]),
                        "zset" => line.extend([self.number(1000), format!("m{n}")]),
                        "set" => line.push(format!("m{n}")),
                        _ => line.push(self.value()),
                    }
                }
                all.push(line);
            }
        }
        all
    }

    fn change(&mut self) -> Words {
        let family = self.dice.pick(&FAMILIES);
        let key = format!("{family}:{}", self.number(30));
        let (n, value) = (self.number(5000), self.value());
        let (field, member) = (format!("f{n}"), format!("m{n}"));
        let filler = format!("filler:{}:{}", self.number(20), self.number(1000));
        let general: [Vec<&str>; 6] = [
            vec!["DEL", &filler],
            vec!["UNLINK", &key],
            vec!["RENAME", &filler, &key],
            vec!["PEXPIREAT", &key, "99999999999999"],
            vec!["PERSIST", &key],
            vec!["SET", &filler, &value],
        ];
        let line: &[&str] = if self.dice.random_bool(0.3) {
            &general[self.dice.random_range(0..general.len())]
        } else {
            match (family, self.dice.random_range(0..4)) {
                ("list", 0) => &["RPUSH", &key, &value, &n],
                ("list", 1) => &["LPUSH", &key, &value],
                ("list", 2) => &[self.dice.pick(&["LPOP", "RPOP"]), &key],
                ("list", _) => &["LSET", &key, &n, &value],
                ("set", 0 | 1) => &["SADD", &key, &n, &member],
                ("set", _) => &["SREM", &key, &n, &member],
                ("hash", 0) => &["HSET", &key, &field, &value],
                ("hash", 1) => &["HINCRBY", &key, &field, "7"],
                ("hash", _) => &["HDEL", &key, &field],
                ("zset", 0) => &["ZADD", &key, &n, &member],
                ("zset", 1) => &["ZINCRBY", &key, "0.5", &member],
                ("zset", _) => &["ZREM", &key, &member],
                (_, 0) => &["SET", &key, &value],
                (_, 1) => &["APPEND", &key, &value],
                (_, 2) => &["SETRANGE", &key, &n, "x"],
                (_, _) => &["INCR", &key],
            }
        };
        line.iter().map(|word| (*word).to_owned()).collect()
    }

    /// A few changes, counted. Now and then another database is emptied.
    fn transaction(&mut self) -> Vec<Words> {
        let line = |text: &str| text.split(' ').map(str::to_owned).collect::<Words>();
        let mut all = vec![line("MULTI"), line("INCR transactions")];
        for _ in 0..self.dice.random_range(1..5) {
            all.push(self.change());
        }
        all.extend([line("SELECT 9"), self.change()]);
        if self.dice.random_bool(0.05) {
            all.push(line("FLUSHDB"));
        }
        all.extend([line("SELECT 0"), line("EXEC")]);
        all
    }
}

/// Sends all, then takes the answers; the last of them.
fn send_together(client: &mut Client, lines: &[Words]) -> String {
    let mut bytes = Vec::new();
    for line in lines {
        encode_request(line, &mut bytes);
    }
    client.send_raw(&bytes).unwrap();
    let mut last = String::new();
    for _ in lines {
        last = text(&client.receive().unwrap());
    }
    last
}

fn is_saving(client: &mut Client) -> bool {
    text(&client.call(&["INFO", "persistence"])).contains("rdb_bgsave_in_progress:1")
}

/// Saves in the middle of transactions; `flush`: its database is flushed while it runs.
fn check(seed: u64, flush: bool) {
    let mut saver = start_server(Kind::Ours, "");
    let model = start_server(Kind::Real, "");
    let mut writer = Writer::of(seed);
    let (mut client, mut to_model) = (saver.client(), model.client());
    for lines in writer.filling().chunks(4) {
        send_together(&mut client, lines);
        send_together(&mut to_model, lines);
    }
    for _ in 0..BEFORE / BURST {
        let burst: Vec<Words> = (0..BURST).flat_map(|_| writer.transaction()).collect();
        send_together(&mut client, &burst);
        send_together(&mut to_model, &burst);
    }
    assert_eq!(digest(&saver), digest(&model), "before the save");
    let mut burst = vec![vec!["BGSAVE".to_owned()]];
    burst.extend((0..BURST).flat_map(|_| writer.transaction()));
    send_together(&mut client, &burst);
    let mut meanwhile = 0;
    while is_saving(&mut client) {
        let mut burst: Vec<Words> = (0..BURST).flat_map(|_| writer.transaction()).collect();
        if flush && meanwhile == 0 {
            burst.push(vec!["FLUSHDB".to_owned()]);
        }
        send_together(&mut client, &burst);
        meanwhile += 1;
    }
    assert!(meanwhile > 0, "nothing was changed while it was saved");
    assert_eq!(saver.info("rdb_last_bgsave_status").as_deref(), Some("ok"));
    saver.kill();
    let path = saver.dir().join("dump.rdb");
    let checked = redis_check_rdb().arg(&path).output().unwrap();
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.status.success(), "{said}");
    assert!(said.contains("RDB looks OK!"), "{said}");
    let mut loader = start_server(Kind::Real, "");
    loader.kill();
    fs::copy(&path, loader.dir().join("dump.rdb")).unwrap();
    loader.start_again();
    let count = text(&loader.client().call(&["GET", "transactions"]));
    assert_eq!(count, BEFORE.to_string());
    assert_eq!(digest(&loader), digest(&model), "seed {seed}");
    eprintln!("{} transactions while it was saved", meanwhile * BURST);
}

#[test]
fn of_many_changes() {
    for seed in seeds(700..702) {
        check(seed, false);
    }
}

#[test]
fn of_what_is_flushed_meanwhile() {
    for seed in seeds([710]) {
        check(seed, true);
    }
}

//! Commands about keys, whatever they hold, and about databases.

use super::args::{Failure, NO_SUCH_KEY, SYNTAX, database, integer, option};
use super::strings::finish;
use crate::front::{Call, CommandSpec, KeySpec, Reply, category, flag, glob_match, key};
use crate::resp::Word;
use crate::server::keyspace::{Entry, Key};
use crate::server::{NotifyClasses, Server};

type Spec = CommandSpec<Server>;

const ALL_RO: &[KeySpec] = &[KeySpec::range(1, -1, 1, key::RO)];
const ALL_RM: &[KeySpec] = &[KeySpec::range(1, -1, 1, key::RM | key::DELETE)];

/// The commands of this file.
pub(super) fn commands() -> Vec<Spec> {
    vec![
    Spec::new("del", -2, delete)
        .flags(flag::WRITE)
        .acl(category::KEYSPACE)
        .keys(ALL_RM)
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .doc(
            "1.0.0",
            "generic",
            "O(N) where N is the number of keys that will be removed. When a key to remove holds a value other than a string, the individual complexity for this key is O(M) where M is the number of elements in the list, set, sorted set or hash. Removing a single key that holds a string value is O(1).",
            "Delete a key",
        ),
    Spec::new("unlink", -2, delete)
        .flags(flag::WRITE | flag::FAST)
        .acl(category::KEYSPACE)
        .keys(ALL_RM)
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .doc(
            "4.0.0",
            "generic",
            "O(1) for each key removed regardless of its size. Then the command does O(N) work in a different thread in order to reclaim memory, where N is the number of allocations the deleted objects where composed of.",
            "Delete a key asynchronously in another thread. Otherwise it is just as DEL, but non blocking.",
        ),
    Spec::new("exists", -2, |s, c, r| count(c, r, |key| s.peek(c, key).is_some()))
        .flags(flag::READONLY | flag::FAST)
        .acl(category::KEYSPACE)
        .keys(ALL_RO)
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .doc(
            "1.0.0",
            "generic",
            "O(N) where N is the number of keys to check.",
            "Determine if a key exists",
        ),
    Spec::new("touch", -2, |s, c, r| count(c, r, |key| s.read_any(c, key).is_some()))
        .flags(flag::READONLY | flag::FAST)
        .acl(category::KEYSPACE)
        .keys(ALL_RO)
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .doc(
            "3.2.1",
            "generic",
            "O(N) where N is the number of keys that will be touched.",
            "Alters the last access time of a key(s). Returns the number of existing keys specified.",
        ),
    Spec::new("type", 2, |s, c, r| {
        r.simple(s.peek(c, &c.words[1]).map_or("none", |entry| entry.value.type_name()));
    })
    .flags(flag::READONLY | flag::FAST)
    .acl(category::KEYSPACE)
    .keys([KeySpec::one(1, key::RO)])
    .doc("1.0.0", "generic", "O(1)", "Determine the type stored at key"),
    Spec::new("rename", 3, |s, c, r| finish(rename(s, c, r, true), r))
        .flags(flag::WRITE)
        .acl(category::KEYSPACE)
        .keys([
            KeySpec::one(1, key::RW | key::ACCESS | key::DELETE),
            KeySpec::one(2, key::OW | key::UPDATE),
        ])
        .doc("1.0.0", "generic", "O(1)", "Rename a key"),
    Spec::new("renamenx", 3, |s, c, r| finish(rename(s, c, r, false), r))
        .flags(flag::WRITE | flag::FAST)
        .acl(category::KEYSPACE)
        .keys([
            KeySpec::one(1, key::RW | key::ACCESS | key::DELETE),
            KeySpec::one(2, key::OW | key::INSERT),
        ])
        .doc("1.0.0", "generic", "O(1)", "Rename a key, only if the new key does not exist"),
    Spec::new("randomkey", 1, random_key)
        .flags(flag::READONLY)
        .acl(category::KEYSPACE)
        .tips(&["request_policy:all_shards", "nondeterministic_output"])
        .doc("1.0.0", "generic", "O(1)", "Return a random key from the keyspace"),
    Spec::new("keys", 2, keys)
        .flags(flag::READONLY)
        .acl(category::KEYSPACE | category::DANGEROUS)
        .tips(&["request_policy:all_shards", "nondeterministic_output_order"])
        .doc(
            "1.0.0",
            "generic",
            "O(N) with N being the number of keys in the database, under the assumption that the key names in the database and the given pattern have limited length.",
            "Find all keys matching the given pattern",
        ),
    Spec::new("scan", -2, |s, c, r| finish(scan(s, c, r), r))
        .flags(flag::READONLY)
        .acl(category::KEYSPACE)
        .tips(&["nondeterministic_output", "request_policy:special"])
        .doc(
            "2.8.0",
            "generic",
            "O(1) for every call. O(N) for a complete iteration, including enough command calls for the cursor to return back to 0. N is the number of elements inside the collection.",
            "Incrementally iterate the keys space",
        ),
    Spec::new("dbsize", 1, |s, _, r| r.count(s.keyspace.db(s.db()).len()))
        .flags(flag::READONLY | flag::FAST)
        .acl(category::KEYSPACE)
        .tips(&["request_policy:all_shards", "response_policy:agg_sum"])
        .doc("1.0.0", "server", "O(1)", "Return the number of keys in the selected database"),
    Spec::new("flushdb", -1, |s, c, r| finish(flush(s, c, r, false), r))
        .flags(flag::WRITE)
        .acl(category::KEYSPACE | category::DANGEROUS)
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .doc(
            "1.0.0",
            "server",
            "O(N) where N is the number of keys in the selected database",
            "Remove all keys from the current database",
        ),
    Spec::new("flushall", -1, |s, c, r| finish(flush(s, c, r, true), r))
        .flags(flag::WRITE)
        .acl(category::KEYSPACE | category::DANGEROUS)
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .doc(
            "1.0.0",
            "server",
            "O(N) where N is the total number of keys in all databases",
            "Remove all keys from all databases",
        ),
    Spec::new("select", 2, |s, c, r| finish(select(s, c, r), r))
        .flags(flag::LOADING | flag::STALE | flag::FAST)
        .acl(category::CONNECTION)
        .doc(
            "1.0.0",
            "connection",
            "O(1)",
            "Change the selected database for the current connection",
        ),
]
}

fn delete(server: &mut Server, call: &Call<'_>, reply: &mut Reply) {
    let mut count = 0;
    for key in &call.words[1..] {
        if server.exists_and_is_used(call, key) && server.delete(call, key) {
            count += 1;
            server.notify_here(NotifyClasses::GENERIC, "del", key);
        }
    }
    if count > 0 {
        server.propagate(call, call.words);
    }
    reply.integer(count);
}

fn count(call: &Call<'_>, reply: &mut Reply, mut is_there: impl FnMut(&[u8]) -> bool) {
    let keys = call.words[1..].iter();
    reply.count(keys.filter(|key| is_there(key)).count());
}

fn rename(
    server: &mut Server,
    call: &Call<'_>,
    reply: &mut Reply,
    may_replace: bool,
) -> Result<(), Failure> {
    let (from, to) = (&call.words[1], &call.words[2]);
    if !server.exists_and_is_used(call, from) {
        return Err(NO_SUCH_KEY.into());
    }
    let is_new = from == to || !server.exists_and_is_used(call, to);
    if from != to && (may_replace || is_new) {
        server.as_one_change(|server| {
            let entry = server
                .take(call, from)
                .expect("it exists, as was looked up");
            server.delete(call, to);
            server.place(call, to, entry);
        });
        server.notify_here(NotifyClasses::GENERIC, "rename_from", from);
        server.notify_here(NotifyClasses::GENERIC, "rename_to", to);
        server.propagate(call, call.words);
    }
    if may_replace {
        reply.ok();
    } else {
        reply.integer(i64::from(from != to && is_new));
    }
    Ok(())
}

fn random_key(server: &mut Server, call: &Call<'_>, reply: &mut Reply) {
    /// Tries, where keys have expired and may not be removed here.
    const TRIES_MAX: usize = 100;
    let mut name: Option<Key> = None;
    for _ in 0..TRIES_MAX {
        let db = server.db();
        let (keyspace, rng) = (&server.keyspace, &mut server.rng);
        let Some(entry) = keyspace.db(db).random(|| rand::RngExt::random(rng)) else {
            name = None;
            break;
        };
        let key = entry.key.clone();
        let is_live = server.is_there_by_chance(call, &key);
        name = Some(key);
        if is_live {
            break;
        }
    }
    match name {
        Some(key) => reply.bulk(key),
        None => reply.null(),
    }
}

fn keys(server: &mut Server, call: &Call<'_>, reply: &mut Reply) {
    let pattern = &call.words[1];
    let all = &pattern[..] == b"*";
    let db = server.keyspace.db(server.db());
    let found: Vec<&Entry> = db
        .iter()
        .filter(|e| all || glob_match(pattern, &e.key))
        .filter(|e| !server.is_hidden(call, e))
        .collect();
    reply.counts_whole();
    reply.array(found.len());
    for entry in found {
        reply.bulk(&entry.key);
    }
}

fn scan(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let cursor = scan_cursor(&call.words[1])?;
    let options = ScanOptions::of_keys(&call.words[2..])?;
    let mut found: Vec<Key> = Vec::new();
    let next = server
        .keyspace
        .db(server.db())
        .scan(cursor, options.count, |entry| {
            if options.wants(&entry.key) {
                found.push(entry.key.clone());
            }
        });
    found.retain(|key| match &options.type_name {
        None => server.is_there_by_chance(call, key),
        // As in redis-server, whoever asks for the type of a key looks it up, which counts.
        Some(wanted) => {
            server.by_chance(|server| {
                let entry = server.peek(call, key);
                entry.map(|entry| entry.value.type_name().as_bytes() == wanted)
            }) == Some(true)
        }
    });
    begin_scan_reply(reply, next, found.len());
    for key in found {
        reply.bulk(key);
    }
    Ok(())
}

/// The cursor of `SCAN` and its like, with the spellings that `strtoul` takes.
pub(super) fn scan_cursor(word: &[u8]) -> Result<u64, Failure> {
    let (is_negative, digits) = match word {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let text = std::str::from_utf8(digits).ok();
    let number = text
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|text| match text {
            "" if word.is_empty() => Some(0),
            text => text.parse::<u64>().ok(),
        })
        .ok_or("ERR invalid cursor")?;
    Ok(if is_negative {
        number.wrapping_neg()
    } else {
        number
    })
}

/// What `SCAN` and its like are told behind the cursor.
#[derive(Debug)]
pub(super) struct ScanOptions<'a> {
    pattern: Option<&'a Word<'a>>,
    type_name: Option<Vec<u8>>,
    /// About how many elements one call looks at.
    pub(super) count: usize,
}

impl<'a> ScanOptions<'a> {
    /// Those of `SCAN` itself.
    fn of_keys(words: &'a [Word<'a>]) -> Result<ScanOptions<'a>, Failure> {
        ScanOptions::read(words, true)
    }

    /// Those of `HSCAN`, `SSCAN` and `ZSCAN`.
    pub(super) fn of_elements(words: &'a [Word<'a>]) -> Result<ScanOptions<'a>, Failure> {
        ScanOptions::read(words, false)
    }

    fn read(words: &'a [Word<'a>], has_type: bool) -> Result<ScanOptions<'a>, Failure> {
        let mut options = ScanOptions {
            pattern: None,
            type_name: None,
            count: 10,
        };
        for pair in words.chunks(2) {
            let [name, value] = pair else {
                return Err(SYNTAX.into());
            };
            match option(name).as_slice() {
                // Only this pattern fits what is empty, see `glob_match`.
                b"match" => options.pattern = Some(value).filter(|value| *value != "*"),
                b"count" => {
                    let wanted = usize::try_from(integer(value)?);
                    options.count = wanted.ok().filter(|n| *n > 0).ok_or(SYNTAX)?;
                }
                b"type" if has_type => options.type_name = Some(option(value)),
                _ => return Err(SYNTAX.into()),
            }
        }
        Ok(options)
    }

    /// Whether the pattern, if there is any, fits.
    pub(super) fn wants(&self, bytes: &[u8]) -> bool {
        self.pattern
            .is_none_or(|pattern| glob_match(pattern, bytes))
    }
}

/// Begins the reply of `SCAN` and its like: the next cursor and a list of `n` elements, which follow.
pub(super) fn begin_scan_reply(reply: &mut Reply, next: u64, n: usize) {
    reply.array(2);
    reply.bulk(itoa::Buffer::new().format(next));
    reply.array(n);
}

fn flush(
    server: &mut Server,
    call: &Call<'_>,
    reply: &mut Reply,
    all: bool,
) -> Result<(), Failure> {
    match &call.words[1..] {
        [] => {}
        [how] if matches!(option(how).as_slice(), b"async" | b"sync") => {}
        _ => return Err(SYNTAX.into()),
    }
    if all {
        // What is in progress has become pointless, and would have to write what is about to go.
        server.cancel_save();
        server.end_transfer();
        for db in 0..server.keyspace.databases() {
            server.flush(db);
        }
    } else {
        server.flush(server.db());
    }
    server.invalidate_all();
    server.propagate(call, call.words);
    if all {
        server.save_after_flushall();
    }
    reply.ok();
    Ok(())
}

fn select(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let db = database(&call.words[1], server.keyspace.databases())?;
    server.select(call.client, db);
    reply.ok();
    Ok(())
}

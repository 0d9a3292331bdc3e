//! `SET`, `GET` and what else reads and writes strings.

use super::args::{
    ExpiryUnit, Failure, NOT_AN_INTEGER, SYNTAX, integer, number, option, positive_expiry, word,
};
use crate::front::{Call, CommandSpec, KeySpec, Reply, category, flag, key};
use crate::resp::Word;
use crate::server::keyspace::{Text, WARM_MAX};
use crate::server::{NotifyClasses, Server};

const READ: u32 = flag::READONLY | flag::FAST;
const WRITE: u32 = flag::WRITE | flag::DENYOOM;
const KEY_RO: &[KeySpec] = &[KeySpec::one(1, key::RO | key::ACCESS)];
const KEY_OW: &[KeySpec] = &[KeySpec::one(1, key::OW | key::UPDATE)];
const KEY_RW: &[KeySpec] = &[KeySpec::one(1, key::RW | key::ACCESS | key::UPDATE)];

type Spec = CommandSpec<Server>;

/// The commands of this file.
pub(super) fn commands() -> Vec<Spec> {
    vec![
    Spec::new("set", -3, |s, c, r| finish(set(s, c, r), r))
        .flags(WRITE)
        .acl(category::STRING)
        .keys([KeySpec::one(
            1,
            key::RW | key::ACCESS | key::UPDATE | key::VARIABLE_FLAGS,
        )])
        .doc("1.0.0", "string", "O(1)", "Set the string value of a key"),
    Spec::new("setnx", 3, |s, c, r| finish(setnx(s, c, r), r))
        .flags(WRITE | flag::FAST)
        .acl(category::STRING)
        .keys([KeySpec::one(1, key::OW | key::INSERT)])
        .doc("1.0.0", "string", "O(1)", "Set the value of a key, only if the key does not exist"),
    Spec::new("setex", 4, |s, c, r| finish(setex(s, c, r, ExpiryUnit::Seconds, "setex"), r))
        .flags(WRITE)
        .acl(category::STRING)
        .keys(KEY_OW)
        .doc("2.0.0", "string", "O(1)", "Set the value and expiration of a key"),
    Spec::new("psetex", 4, |s, c, r| finish(setex(s, c, r, ExpiryUnit::Millis, "psetex"), r))
        .flags(WRITE)
        .acl(category::STRING)
        .keys(KEY_OW)
        .doc(
            "2.6.0",
            "string",
            "O(1)",
            "Set the value and expiration in milliseconds of a key",
        ),
    Spec::new("get", 2, |s, c, r| finish(get(s, c, r), r))
        .flags(READ)
        .acl(category::STRING)
        .keys(KEY_RO)
        .doc("1.0.0", "string", "O(1)", "Get the value of a key"),
    Spec::new("getset", 3, |s, c, r| finish(getset(s, c, r), r))
        .flags(WRITE | flag::FAST)
        .acl(category::STRING)
        .keys(KEY_RW)
        .doc("1.0.0", "string", "O(1)", "Set the string value of a key and return its old value"),
    Spec::new("getdel", 2, |s, c, r| finish(getdel(s, c, r), r))
        .flags(flag::WRITE | flag::FAST)
        .acl(category::STRING)
        .keys([KeySpec::one(1, key::RW | key::ACCESS | key::DELETE)])
        .doc("6.2.0", "string", "O(1)", "Get the value of a key and delete the key"),
    Spec::new("getex", -2, |s, c, r| finish(getex(s, c, r), r))
        .flags(flag::WRITE | flag::FAST)
        .acl(category::STRING)
        .keys(KEY_RW)
        .doc(
            "6.2.0",
            "string",
            "O(1)",
            "Get the value of a key and optionally set its expiration",
        ),
    Spec::new("mget", -2, mget)
        .flags(READ)
        .acl(category::STRING)
        .keys([KeySpec::range(1, -1, 1, key::RO | key::ACCESS)])
        .tips(&["request_policy:multi_shard"])
        .doc(
            "1.0.0",
            "string",
            "O(N) where N is the number of keys to retrieve.",
            "Get the values of all the given keys",
        ),
    Spec::new("mset", -3, |s, c, r| finish(mset(s, c, r), r))
        .flags(WRITE)
        .acl(category::STRING)
        .keys([KeySpec::range(1, -1, 2, key::OW | key::UPDATE)])
        .tips(&["request_policy:multi_shard", "response_policy:all_succeeded"])
        .doc(
            "1.0.1",
            "string",
            "O(N) where N is the number of keys to set.",
            "Set multiple keys to multiple values",
        ),
    Spec::new("msetnx", -3, |s, c, r| finish(msetnx(s, c, r), r))
        .flags(WRITE)
        .acl(category::STRING)
        .keys([KeySpec::range(1, -1, 2, key::OW | key::INSERT)])
        .tips(&["request_policy:multi_shard", "response_policy:agg_min"])
        .doc(
            "1.0.1",
            "string",
            "O(N) where N is the number of keys to set.",
            "Set multiple keys to multiple values, only if none of the keys exist",
        ),
    Spec::new("append", 3, |s, c, r| finish(append(s, c, r), r))
        .flags(WRITE | flag::FAST)
        .acl(category::STRING)
        .keys([KeySpec::one(1, key::RW | key::INSERT)])
        .doc(
            "2.0.0",
            "string",
            "O(1). The amortized time complexity is O(1) assuming the appended value is small and the already present value is of any size, since the dynamic string library used by Redis will double the free space available on every reallocation.",
            "Append a value to a key",
        ),
    Spec::new("strlen", 2, |s, c, r| finish(strlen(s, c, r), r))
    .flags(READ)
    .acl(category::STRING)
    .keys([KeySpec::one(1, key::RO)])
    .doc("2.2.0", "string", "O(1)", "Get the length of the value stored in a key"),
    Spec::new("getrange", 4, |s, c, r| finish(getrange(s, c, r), r))
        .flags(flag::READONLY)
        .acl(category::STRING)
        .keys(KEY_RO)
        .doc(
            "2.4.0",
            "string",
            "O(N) where N is the length of the returned string. The complexity is ultimately determined by the returned length, but because creating a substring from an existing string is very cheap, it can be considered O(1) for small strings.",
            "Get a substring of the string stored at a key",
        ),
    Spec::new("substr", 4, |s, c, r| finish(getrange(s, c, r), r))
        .flags(flag::READONLY)
        .acl(category::STRING)
        .keys(KEY_RO)
        .doc(
            "1.0.0",
            "string",
            "O(N) where N is the length of the returned string. The complexity is ultimately determined by the returned length, but because creating a substring from an existing string is very cheap, it can be considered O(1) for small strings.",
            "Get a substring of the string stored at a key",
        ),
    Spec::new("setrange", 4, |s, c, r| finish(setrange(s, c, r), r))
        .flags(WRITE)
        .acl(category::STRING)
        .keys([KeySpec::one(1, key::RW | key::UPDATE)])
        .doc(
            "2.2.0",
            "string",
            "O(1), not counting the time taken to copy the new string in place. Usually, this string is very small so the amortized complexity is O(1). Otherwise, complexity is O(M) with M being the length of the value argument.",
            "Overwrite part of a string at key starting at the specified offset",
        ),
]
}

/// Writes the error of a command that failed.
pub(super) fn finish(result: Result<(), Failure>, reply: &mut Reply) {
    if let Err(text) = result {
        reply.error(text);
    }
}

/// Publishes that a key was set, and got an expiry.
fn note_set(server: &mut Server, key: &[u8], expires: bool) {
    server.notify_here(NotifyClasses::STRING, "set", key);
    if expires {
        server.notify_here(NotifyClasses::GENERIC, "expire", key);
    }
}

/// A string value, or null.
fn reply_text(value: Option<&Text>, reply: &mut Reply) {
    let Some(text) = value else {
        return reply.null();
    };
    match text.as_shared() {
        Some(bytes) => reply.shared_bulk(bytes),
        None => reply.bulk(text.bytes(&mut itoa::Buffer::new())),
    }
}

fn get(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    reply_text(server.read(call, &call.words[1])?, reply);
    Ok(())
}

fn strlen(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let text = server.read::<Text>(call, &call.words[1])?;
    reply.count(text.map_or(0, Text::len));
    Ok(())
}

/// The options of `SET`.
#[derive(Default)]
struct SetOptions<'a> {
    if_exists: Option<bool>,
    get: bool,
    keep_ttl: bool,
    expiry: Option<(ExpiryUnit, &'a Word<'a>)>,
}

/// Whether an expiry may be given after an earlier one: as in redis-server, of several of one unit the last counts.
fn may_set(earlier: Option<(ExpiryUnit, &Word<'_>)>, unit: ExpiryUnit) -> bool {
    earlier.is_none_or(|(earlier, _)| earlier == unit)
}

fn set_options<'a>(words: &'a [Word<'a>]) -> Result<SetOptions<'a>, Failure> {
    let mut options = SetOptions::default();
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        match option(word).as_slice() {
            b"nx" if options.if_exists != Some(true) => options.if_exists = Some(false),
            b"xx" if options.if_exists != Some(false) => options.if_exists = Some(true),
            b"get" => options.get = true,
            b"keepttl" if options.expiry.is_none() => options.keep_ttl = true,
            lower => {
                let unit = ExpiryUnit::from_option(lower);
                match (unit, rest.next()) {
                    (Some(unit), Some(at))
                        if !options.keep_ttl && may_set(options.expiry, unit) =>
                    {
                        options.expiry = Some((unit, at));
                    }
                    _ => return Err(SYNTAX.into()),
                }
            }
        }
    }
    Ok(options)
}

fn set(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let (key, value) = (&call.words[1], &call.words[2]);
    let options = set_options(&call.words[3..])?;
    let expire_at = match options.expiry {
        Some((unit, at)) => Some(positive_expiry(unit, at, call.now.unix, "set")?),
        None => None,
    };
    if options.get {
        reply_text(server.read(call, key)?, reply);
    }
    let exists = server.exists_and_is_used(call, key);
    if options.if_exists.is_some_and(|wanted| wanted != exists) {
        if !options.get {
            reply.null();
        }
        return Ok(());
    }
    let kept = if options.keep_ttl {
        server.expiry(call, key)
    } else {
        None
    };
    server.store_text(call, key, expire_at.or(kept), |text| text.receive(value));
    note_set(server, key, expire_at.is_some());
    match expire_at {
        Some(at) => {
            let words = [
                word("SET"),
                key.clone(),
                value.clone(),
                word("PXAT"),
                number(at),
            ];
            server.propagate(call, &words);
        }
        None if options.get => {
            let words: Vec<&Word<'_>> = call
                .words
                .iter()
                .enumerate()
                .filter(|(at, word)| *at < 3 || !word.eq_ignore_ascii_case(b"get"))
                .map(|(_, word)| word)
                .collect();
            server.propagate(call, &words);
        }
        None => server.propagate(call, call.words),
    }
    if !options.get {
        reply.ok();
    }
    Ok(())
}

fn setnx(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let (key, value) = (&call.words[1], &call.words[2]);
    let is_new = !server.exists_and_is_used(call, key);
    if is_new {
        server.store_text(call, key, None, |text| text.receive(value));
        note_set(server, key, false);
        server.propagate(call, call.words);
    }
    reply.integer(i64::from(is_new));
    Ok(())
}

fn setex(
    server: &mut Server,
    call: &Call<'_>,
    reply: &mut Reply,
    unit: ExpiryUnit,
    name: &str,
) -> Result<(), Failure> {
    let (key, value) = (&call.words[1], &call.words[3]);
    let at = positive_expiry(unit, &call.words[2], call.now.unix, name)?;
    server.exists_and_is_used(call, key);
    server.store_text(call, key, Some(at), |text| text.receive(value));
    note_set(server, key, true);
    let words = [
        word("SET"),
        key.clone(),
        value.clone(),
        word("PXAT"),
        number(at),
    ];
    server.propagate(call, &words);
    reply.ok();
    Ok(())
}

fn getset(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let (key, value) = (&call.words[1], &call.words[2]);
    reply_text(server.read(call, key)?, reply);
    server.store_text(call, key, None, |text| text.receive(value));
    note_set(server, key, false);
    server.propagate(call, &[word("SET"), key.clone(), value.clone()]);
    Ok(())
}

fn getdel(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let key = &call.words[1];
    let value = server.read(call, key)?;
    let exists = value.is_some();
    reply_text(value, reply);
    if exists {
        server.delete(call, key);
        server.notify_here(NotifyClasses::GENERIC, "del", key);
        server.propagate(call, &[word("DEL"), key.clone()]);
    }
    Ok(())
}

fn getex(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let key = &call.words[1];
    let mut expiry = None;
    let mut persist = false;
    let mut rest = call.words[2..].iter();
    while let Some(word) = rest.next() {
        let lower = option(word);
        let unit = ExpiryUnit::from_option(&lower);
        if lower == b"persist" && expiry.is_none() {
            persist = true;
        } else if let (Some(unit), Some(at)) = (unit, rest.next())
            && may_set(expiry, unit)
            && !persist
        {
            expiry = Some((unit, at));
        } else {
            return Err(SYNTAX.into());
        }
    }
    if server.read::<Text>(call, key)?.is_none() {
        reply.null();
        return Ok(());
    }
    let at = match expiry {
        Some((unit, at)) => Some((unit, positive_expiry(unit, at, call.now.unix, "getex")?)),
        None => None,
    };
    reply_text(server.stored(call, key)?, reply);
    match at {
        Some((unit, at)) if unit.is_absolute() && server.is_past(call, at) => {
            server.delete(call, key);
            server.notify_here(NotifyClasses::GENERIC, "del", key);
            server.propagate(call, &[word("DEL"), key.clone()]);
        }
        Some((_, at)) => {
            server.expire(call, key, Some(at));
            server.notify_here(NotifyClasses::GENERIC, "expire", key);
            server.propagate(call, &[word("PEXPIREAT"), key.clone(), number(at)]);
        }
        None if persist && server.expiry(call, key).is_some() => {
            server.expire(call, key, None);
            server.notify_here(NotifyClasses::GENERIC, "persist", key);
            server.propagate(call, &[word("PERSIST"), key.clone()]);
        }
        None => {}
    }
    Ok(())
}

fn mget(server: &mut Server, call: &Call<'_>, reply: &mut Reply) {
    reply.array(call.words.len() - 1);
    for keys in call.words[1..].chunks(WARM_MAX) {
        server
            .keyspace
            .warm_keys(server.db(), keys.iter().map(|key| &**key));
        for key in keys {
            // A value of another type is as good as none.
            reply_text(server.read(call, key).unwrap_or(None), reply);
        }
    }
}

/// The pairs of `MSET`; an odd number of words is Redis's arity error.
fn pairs<'a>(call: &Call<'a>) -> Result<std::slice::ChunksExact<'a, Word<'a>>, Failure> {
    if call.words.len().is_multiple_of(2) {
        return Err(crate::front::arity_error(call.info.name).into());
    }
    Ok(call.words[1..].chunks_exact(2))
}

fn mset(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let mut pairs = pairs(call)?.peekable();
    while pairs.peek().is_some() {
        let keys = pairs.clone().take(WARM_MAX).map(|pair| &*pair[0]);
        server.keyspace.warm_keys(server.db(), keys);
        for pair in pairs.by_ref().take(WARM_MAX) {
            server.exists_and_is_used(call, &pair[0]);
            server.store_text(call, &pair[0], None, |text| text.receive(&pair[1]));
            note_set(server, &pair[0], false);
        }
    }
    server.propagate(call, call.words);
    reply.ok();
    Ok(())
}

fn msetnx(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    for pair in pairs(call)? {
        if server.exists_and_is_used(call, &pair[0]) {
            reply.integer(0);
            return Ok(());
        }
    }
    for pair in pairs(call)? {
        server.store_text(call, &pair[0], None, |text| text.receive(&pair[1]));
        note_set(server, &pair[0], false);
    }
    server.propagate(call, call.words);
    reply.integer(1);
    Ok(())
}

/// Refuses a string that would become longer than `proto-max-bulk-len`, or than what a master may make.
fn check_length(server: &Server, call: &Call<'_>, len: usize) -> Result<(), Failure> {
    let bytes_max = if server.is_from_master(call) {
        server.string_bytes_max()
    } else {
        server.config.process.proto_max_bulk_len
    };
    if len as u64 > bytes_max {
        return Err("ERR string exceeds maximum allowed size (proto-max-bulk-len)".into());
    }
    Ok(())
}

fn append(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let (key, tail) = (&call.words[1], &call.words[2]);
    let before = server.lookup::<Text>(call, key)?.map(Text::len);
    let len = before.unwrap_or(0) + tail.len();
    check_length(server, call, len)?;
    server.modify(call, key, |text: &mut Text| {
        if before.is_none() {
            text.receive(tail);
        } else {
            text.edit(|bytes| bytes.extend_from_slice(tail));
        }
    });
    server.touched(key, NotifyClasses::STRING, "append");
    server.propagate(call, call.words);
    reply.count(len);
    Ok(())
}

fn getrange(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let (start, end) = (integer(&call.words[2])?, integer(&call.words[3])?);
    let Some(text) = server.read::<Text>(call, &call.words[1])? else {
        reply.bulk("");
        return Ok(());
    };
    let mut digits = itoa::Buffer::new();
    let bytes = text.bytes(&mut digits);
    let len = i64::try_from(bytes.len()).expect("a length fits 63 bits");
    let place = |n: i64| if n < 0 { n.saturating_add(len) } else { n };
    let is_backwards = start < 0 && end < 0 && start > end;
    let (start, end) = (place(start).max(0), place(end).max(0).min(len - 1));
    if is_backwards || len == 0 || start > end {
        reply.bulk("");
    } else {
        let place = |n: i64| usize::try_from(n).expect("between 0 and the length");
        reply.bulk(&bytes[place(start)..=place(end)]);
    }
    Ok(())
}

fn setrange(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let (key, patch) = (&call.words[1], &call.words[3]);
    let offset = integer(&call.words[2])?;
    let offset = usize::try_from(offset).map_err(|_| "ERR offset is out of range")?;
    let len = server.lookup::<Text>(call, key)?.map_or(0, Text::len);
    if patch.is_empty() {
        reply.count(len);
        return Ok(());
    }
    let end = offset
        .checked_add(patch.len())
        .ok_or("ERR offset is out of range")?;
    check_length(server, call, end)?;
    server.modify(call, key, |text: &mut Text| {
        text.edit(|bytes| {
            bytes.resize(bytes.len().max(end), 0);
            bytes[offset..end].copy_from_slice(patch);
        });
    });
    server.touched(key, NotifyClasses::STRING, "setrange");
    server.propagate(call, call.words);
    reply.count(len.max(end));
    Ok(())
}

/// The number that a key holds, for the `INCR` family: 0 without the key.
pub(super) fn stored_integer(
    server: &mut Server,
    call: &Call<'_>,
    key: &[u8],
) -> Result<i64, Failure> {
    match server.lookup::<Text>(call, key)? {
        Some(text) => text.as_integer().ok_or(NOT_AN_INTEGER.into()),
        None => Ok(0),
    }
}

/// Replaces a value by a number and keeps the expiry.
pub(super) fn store_integer(server: &mut Server, call: &Call<'_>, key: &[u8], n: i64) {
    let expire_at = server.expiry(call, key);
    server.store_text(call, key, expire_at, |text| *text = Text::Integer(n));
}

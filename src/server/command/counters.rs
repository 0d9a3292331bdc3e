//! The `INCR` family.

use super::args::{Failure, NOT_A_FLOAT, integer, word};
use super::long_double::LongDouble;
use super::strings::{finish, store_integer, stored_integer};
use crate::front::{Call, CommandSpec, KeySpec, Reply, category, flag, key};
use crate::server::keyspace::{Text, Value};
use crate::server::{NotifyClasses, Server};

type Spec = CommandSpec<Server>;

const FLAGS: u32 = flag::WRITE | flag::DENYOOM | flag::FAST;
const KEYS: &[KeySpec] = &[KeySpec::one(1, key::RW | key::ACCESS | key::UPDATE)];

/// The commands of this file.
pub(super) fn commands() -> Vec<Spec> {
    vec![
        Spec::new("incr", 2, |s, c, r| finish(add(s, c, r, 1), r))
            .flags(FLAGS)
            .acl(category::STRING)
            .keys(KEYS)
            .doc(
                "1.0.0",
                "string",
                "O(1)",
                "Increment the integer value of a key by one",
            ),
        Spec::new("decr", 2, |s, c, r| finish(add(s, c, r, -1), r))
            .flags(FLAGS)
            .acl(category::STRING)
            .keys(KEYS)
            .doc(
                "1.0.0",
                "string",
                "O(1)",
                "Decrement the integer value of a key by one",
            ),
        Spec::new("incrby", 3, |s, c, r| finish(incrby(s, c, r), r))
            .flags(FLAGS)
            .acl(category::STRING)
            .keys(KEYS)
            .doc(
                "1.0.0",
                "string",
                "O(1)",
                "Increment the integer value of a key by the given amount",
            ),
        Spec::new("decrby", 3, |s, c, r| finish(decrby(s, c, r), r))
            .flags(FLAGS)
            .acl(category::STRING)
            .keys(KEYS)
            .doc(
                "1.0.0",
                "string",
                "O(1)",
                "Decrement the integer value of a key by the given number",
            ),
        Spec::new("incrbyfloat", 3, |s, c, r| finish(incrbyfloat(s, c, r), r))
            .flags(FLAGS)
            .acl(category::STRING)
            .keys(KEYS)
            .doc(
                "2.6.0",
                "string",
                "O(1)",
                "Increment the float value of a key by the given amount",
            ),
    ]
}

fn incrby(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    add(server, call, reply, integer(&call.words[2])?)
}

fn decrby(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let by = integer(&call.words[2])?;
    let by = by.checked_neg().ok_or("ERR decrement would overflow")?;
    add(server, call, reply, by)
}

fn add(server: &mut Server, call: &Call<'_>, reply: &mut Reply, by: i64) -> Result<(), Failure> {
    let key = &call.words[1];
    let sum = stored_integer(server, call, key)?
        .checked_add(by)
        .ok_or("ERR increment or decrement would overflow")?;
    store_integer(server, call, key, sum);
    server.notify_here(NotifyClasses::STRING, "incrby", key);
    server.propagate(call, call.words);
    reply.integer(sum);
    Ok(())
}

fn incrbyfloat(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let key = &call.words[1];
    let stored = match server.lookup::<Text>(call, key)? {
        Some(text) => LongDouble::parse(text.bytes(&mut itoa::Buffer::new())).ok_or(NOT_A_FLOAT)?,
        None => LongDouble::ZERO,
    };
    let by = LongDouble::parse(&call.words[2]).ok_or(NOT_A_FLOAT)?;
    let sum = stored
        .plus(by)
        .ok_or("ERR increment would produce NaN or Infinity")?;
    let text = sum.to_string();
    let expire_at = server.expiry(call, key);
    server.store(
        call,
        key,
        Value::String(Text::of_characters(text.as_bytes())),
        expire_at,
    );
    server.notify_here(NotifyClasses::STRING, "incrbyfloat", key);
    let words = [
        word("SET"),
        key.clone(),
        text.as_str().into(),
        word("KEEPTTL"),
    ];
    server.propagate(call, &words);
    reply.bulk(text);
    Ok(())
}

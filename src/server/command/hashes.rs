//! `HSET`, `HGET` and what else is about hashes.

use bytes::Bytes;

use super::args::{Failure, NOT_A_FLOAT, OUT_OF_RANGE, SYNTAX, integer, random_count, word};
use super::elements::{bulk, bulk_or_null, dice_of, draw, pick_distinct};
use super::keys::{ScanOptions, begin_scan_reply, scan_cursor};
use super::long_double::LongDouble;
use super::strings::finish;
use crate::front::{Call, CommandSpec, KeySpec, Reply, category, flag, key};
use crate::resp::Protocol;
use crate::server::keyspace::{Element, Hash};
use crate::server::{NotifyClasses, Server};

type Spec = CommandSpec<Server>;

/// The commands of this file.
pub(super) fn commands() -> Vec<Spec> {
    vec![
    Spec::new("hset", -4, |s, c, r| finish(hset(s, c, r, false), r))
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(category::HASH)
        .keys([KeySpec::one(1, key::RW | key::UPDATE)])
        .doc("2.0.0", "hash", "O(1) for each field/value pair added, so O(N) to add N field/value pairs when the command is called with multiple field/value pairs.", "Set the string value of a hash field"),
    Spec::new("hmset", -4, |s, c, r| finish(hset(s, c, r, true), r))
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(category::HASH)
        .keys([KeySpec::one(1, key::RW | key::UPDATE)])
        .doc("2.0.0", "hash", "O(N) where N is the number of fields being set.", "Set multiple hash fields to multiple values"),
    Spec::new("hsetnx", 4, |s, c, r| finish(hsetnx(s, c, r), r))
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(category::HASH)
        .keys([KeySpec::one(1, key::RW | key::INSERT)])
        .doc("2.0.0", "hash", "O(1)", "Set the value of a hash field, only if the field does not exist"),
    Spec::new("hget", 3, |s, c, r| finish(hget(s, c, r), r))
        .flags(flag::READONLY | flag::FAST)
        .acl(category::HASH)
        .keys([KeySpec::one(1, key::RO | key::ACCESS)])
        .doc("2.0.0", "hash", "O(1)", "Get the value of a hash field"),
    Spec::new("hmget", -3, |s, c, r| finish(hmget(s, c, r), r))
        .flags(flag::READONLY | flag::FAST)
        .acl(category::HASH)
        .keys([KeySpec::one(1, key::RO | key::ACCESS)])
        .doc("2.0.0", "hash", "O(N) where N is the number of fields being requested.", "Get the values of all the given hash fields"),
    Spec::new("hgetall", 2, |s, c, r| finish(whole(s, c, r, Part::Both), r))
        .flags(flag::READONLY)
        .acl(category::HASH)
        .keys([KeySpec::one(1, key::RO | key::ACCESS)])
        .tips(&["nondeterministic_output_order"])
        .doc("2.0.0", "hash", "O(N) where N is the size of the hash.", "Get all the fields and values in a hash"),
    Spec::new("hkeys", 2, |s, c, r| finish(whole(s, c, r, Part::Names), r))
        .flags(flag::READONLY)
        .acl(category::HASH)
        .keys([KeySpec::one(1, key::RO | key::ACCESS)])
        .tips(&["nondeterministic_output_order"])
        .doc("2.0.0", "hash", "O(N) where N is the size of the hash.", "Get all the fields in a hash"),
    Spec::new("hvals", 2, |s, c, r| finish(whole(s, c, r, Part::Values), r))
        .flags(flag::READONLY)
        .acl(category::HASH)
        .keys([KeySpec::one(1, key::RO | key::ACCESS)])
        .tips(&["nondeterministic_output_order"])
        .doc("2.0.0", "hash", "O(N) where N is the size of the hash.", "Get all the values in a hash"),
    Spec::new("hlen", 2, |s, c, r| finish(hlen(s, c, r), r))
        .flags(flag::READONLY | flag::FAST)
        .acl(category::HASH)
        .keys([KeySpec::one(1, key::RO)])
        .doc("2.0.0", "hash", "O(1)", "Get the number of fields in a hash"),
    Spec::new("hexists", 3, |s, c, r| finish(hexists(s, c, r), r))
        .flags(flag::READONLY | flag::FAST)
        .acl(category::HASH)
        .keys([KeySpec::one(1, key::RO)])
        .doc("2.0.0", "hash", "O(1)", "Determine if a hash field exists"),
    Spec::new("hdel", -3, |s, c, r| finish(hdel(s, c, r), r))
        .flags(flag::WRITE | flag::FAST)
        .acl(category::HASH)
        .keys([KeySpec::one(1, key::RW | key::DELETE)])
        .doc("2.0.0", "hash", "O(N) where N is the number of fields to be removed.", "Delete one or more hash fields"),
    Spec::new("hstrlen", 3, |s, c, r| finish(hstrlen(s, c, r), r))
        .flags(flag::READONLY | flag::FAST)
        .acl(category::HASH)
        .keys([KeySpec::one(1, key::RO)])
        .doc("3.2.0", "hash", "O(1)", "Get the length of the value of a hash field"),
    Spec::new("hincrby", 4, |s, c, r| finish(hincrby(s, c, r), r))
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(category::HASH)
        .keys([KeySpec::one(1, key::RW | key::ACCESS | key::UPDATE)])
        .doc("2.0.0", "hash", "O(1)", "Increment the integer value of a hash field by the given number"),
    Spec::new("hincrbyfloat", 4, |s, c, r| finish(hincrbyfloat(s, c, r), r))
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(category::HASH)
        .keys([KeySpec::one(1, key::RW | key::ACCESS | key::UPDATE)])
        .doc("2.6.0", "hash", "O(1)", "Increment the float value of a hash field by the given amount"),
    Spec::new("hrandfield", -2, |s, c, r| finish(hrandfield(s, c, r), r))
        .flags(flag::READONLY)
        .acl(category::HASH)
        .keys([KeySpec::one(1, key::RO | key::ACCESS)])
        .tips(&["nondeterministic_output"])
        .doc("6.2.0", "hash", "O(N) where N is the number of fields returned", "Get one or multiple random fields from a hash"),
    Spec::new("hscan", -3, |s, c, r| finish(hscan(s, c, r), r))
        .flags(flag::READONLY)
        .acl(category::HASH)
        .keys([KeySpec::one(1, key::RO | key::ACCESS)])
        .tips(&["nondeterministic_output"])
        .doc("2.8.0", "hash", "O(1) for every call. O(N) for a complete iteration, including enough command calls for the cursor to return back to 0. N is the number of elements inside the collection..", "Incrementally iterate hash fields and associated values"),
    ]
}

fn hset(
    server: &mut Server,
    call: &Call<'_>,
    reply: &mut Reply,
    is_hmset: bool,
) -> Result<(), Failure> {
    let (key, pairs) = (&call.words[1], &call.words[2..]);
    if !pairs.len().is_multiple_of(2) {
        let name = call.info.name;
        return Err(format!("ERR wrong number of arguments for '{name}' command").into());
    }
    let thresholds = server.thresholds();
    let added = server.update(call, key, |hash: &mut Hash| {
        let pairs = pairs.chunks_exact(2);
        pairs
            .filter(|pair| hash.set(&pair[0], &pair[1], &thresholds))
            .count()
    })?;
    changed(server, call, "hset");
    server.changed_more(pairs.len() / 2 - 1);
    if is_hmset {
        reply.ok();
    } else {
        reply.count(added);
    }
    Ok(())
}

/// A hash has changed by the command as it came.
fn changed(server: &mut Server, call: &Call<'_>, event: &str) {
    server.touched(&call.words[1], NotifyClasses::HASH, event);
    server.propagate(call, call.words);
}

fn hsetnx(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let thresholds = server.thresholds();
    let (name, value) = (&call.words[2], &call.words[3]);
    let is_new = server.update(call, &call.words[1], |hash: &mut Hash| {
        hash.get(name).is_none() && hash.set(name, value, &thresholds)
    })?;
    if is_new {
        changed(server, call, "hset");
    }
    reply.integer(i64::from(is_new));
    Ok(())
}

/// The value of the field that word 2 names.
fn field<'a>(server: &'a mut Server, call: &Call<'_>) -> Result<Option<Element<'a>>, Failure> {
    let hash = server.read::<Hash>(call, &call.words[1])?;
    Ok(hash.and_then(|hash| hash.get(&call.words[2])))
}

fn hget(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    bulk_or_null(reply, field(server, call)?);
    Ok(())
}

fn hexists(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    reply.integer(i64::from(field(server, call)?.is_some()));
    Ok(())
}

fn hstrlen(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    reply.count(field(server, call)?.map_or(0, Element::len));
    Ok(())
}

fn hmget(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let hash = server.read::<Hash>(call, &call.words[1])?;
    let names = &call.words[2..];
    reply.array(names.len());
    for name in names {
        bulk_or_null(reply, hash.and_then(|hash| hash.get(name)));
    }
    Ok(())
}

fn hlen(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let hash = server.read::<Hash>(call, &call.words[1])?;
    reply.count(hash.map_or(0, Hash::len));
    Ok(())
}

/// What is asked of each field.
#[derive(Clone, Copy)]
enum Part {
    Names,
    Values,
    Both,
}

fn whole(
    server: &mut Server,
    call: &Call<'_>,
    reply: &mut Reply,
    part: Part,
) -> Result<(), Failure> {
    let hash = server.read::<Hash>(call, &call.words[1])?;
    let len = hash.map_or(0, Hash::len);
    match part {
        Part::Names | Part::Values => reply.array(len),
        Part::Both => reply.map(len),
    }
    for (name, value) in hash.into_iter().flat_map(Hash::iter) {
        match part {
            Part::Names => bulk(reply, name),
            Part::Values => bulk(reply, value),
            Part::Both => {
                bulk(reply, name);
                bulk(reply, value);
            }
        }
    }
    Ok(())
}

fn hdel(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let (key, names) = (&call.words[1], &call.words[2..]);
    let removed = server.update(call, key, |hash: &mut Hash| {
        names.iter().filter(|name| hash.remove(name)).count()
    })?;
    if removed > 0 {
        server.touched(key, NotifyClasses::HASH, "hdel");
        server.changed_more(removed - 1);
        server.drop_if_empty::<Hash>(call, key);
        server.propagate(call, call.words);
    }
    reply.count(removed);
    Ok(())
}

fn hincrby(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let (key, name) = (&call.words[1], &call.words[2]);
    let by = integer(&call.words[3])?;
    let hash = server.lookup::<Hash>(call, key)?;
    let stored = match hash.and_then(|hash| hash.get(name)) {
        Some(value) => value
            .as_integer()
            .ok_or("ERR hash value is not an integer")?,
        None => 0,
    };
    let sum = stored
        .checked_add(by)
        .ok_or("ERR increment or decrement would overflow")?;
    let thresholds = server.thresholds();
    server.modify(call, key, |hash: &mut Hash| {
        hash.set(
            name,
            itoa::Buffer::new().format(sum).as_bytes(),
            &thresholds,
        )
    });
    changed(server, call, "hincrby");
    reply.integer(sum);
    Ok(())
}

fn hincrbyfloat(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let (key, name) = (&call.words[1], &call.words[2]);
    let by = LongDouble::parse(&call.words[3]).ok_or(NOT_A_FLOAT)?;
    if by == LongDouble::Infinite {
        return Err("ERR value is NaN or Infinity".into());
    }
    let hash = server.lookup::<Hash>(call, key)?;
    let stored = match hash.and_then(|hash| hash.get(name)) {
        Some(value) => LongDouble::parse(value.bytes(&mut itoa::Buffer::new()))
            .ok_or("ERR hash value is not a float")?,
        None => LongDouble::ZERO,
    };
    let sum = stored
        .plus(by)
        .ok_or("ERR increment would produce NaN or Infinity")?;
    let text = Bytes::from(sum.to_string());
    let thresholds = server.thresholds();
    server.modify(call, key, |hash: &mut Hash| {
        hash.set(name, &text, &thresholds)
    });
    server.touched(key, NotifyClasses::HASH, "hincrbyfloat");
    // The sum, so that nobody's arithmetic can make another of it.
    let words = [word("HSET"), key.clone(), name.clone(), text.clone().into()];
    server.propagate(call, &words);
    reply.bulk(text);
    Ok(())
}

fn hrandfield(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let key = &call.words[1];
    let Some(count) = call.words.get(2) else {
        let mut dice = dice_of(server);
        let hash = server.read::<Hash>(call, key)?;
        let picked = hash.and_then(|hash| hash.random(draw(&mut dice)));
        bulk_or_null(reply, picked.map(|(name, _)| name));
        return Ok(());
    };
    let count = random_count(count)?;
    let with_values = match &call.words[3..] {
        [] => false,
        [option] if option.eq_ignore_ascii_case(b"withvalues") => true,
        _ => return Err(SYNTAX.into()),
    };
    if with_values && count.unsigned_abs() > i64::MAX.unsigned_abs() / 2 {
        return Err(OUT_OF_RANGE.into());
    }
    let mut dice = dice_of(server);
    let Some(hash) = server.read::<Hash>(call, key)? else {
        reply.array(0);
        return Ok(());
    };
    let wanted = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    let picked = if count < 0 {
        (0..wanted)
            .filter_map(|_| hash.random(draw(&mut dice)))
            .collect()
    } else {
        pick_distinct(wanted, hash.len(), &mut dice, hash.iter(), |dice| {
            hash.random(draw(dice))
        })
    };
    reply_picked(reply, &picked, with_values);
    Ok(())
}

fn reply_picked(reply: &mut Reply, picked: &[(Element<'_>, Element<'_>)], with_values: bool) {
    let in_pairs = reply.protocol() == Protocol::Resp3;
    let is_flat = with_values && !in_pairs;
    reply.array(if is_flat {
        picked.len() * 2
    } else {
        picked.len()
    });
    for (name, value) in picked {
        if with_values && in_pairs {
            reply.array(2);
        }
        bulk(reply, *name);
        if with_values {
            bulk(reply, *value);
        }
    }
}

fn hscan(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let cursor = scan_cursor(&call.words[2])?;
    let Some(hash) = server.read::<Hash>(call, &call.words[1])? else {
        begin_scan_reply(reply, 0, 0);
        return Ok(());
    };
    let options = ScanOptions::of_elements(&call.words[3..])?;
    let mut found = Vec::new();
    let next = hash.scan(cursor, options.count, |name, value| {
        if options.wants(name.bytes(&mut itoa::Buffer::new())) {
            found.push((name, value));
        }
    });
    begin_scan_reply(reply, next, found.len() * 2);
    for (name, value) in found {
        bulk(reply, name);
        bulk(reply, value);
    }
    Ok(())
}

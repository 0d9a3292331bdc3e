//! `SADD`, `SREM` and what else is about one set.

use super::args::{Failure, SYNTAX, not_negative, random_count, word};
use super::elements::{bulk, bulk_or_null, dice_of, draw, pick_distinct};
use super::keys::{ScanOptions, begin_scan_reply, scan_cursor};
use super::strings::finish;
use crate::front::{Call, CommandSpec, KeySpec, Reply, category, flag, key};
use crate::server::keyspace::{Element, Key, Set};
use crate::server::{NotifyClasses, Server};

type Spec = CommandSpec<Server>;

/// The commands of this file.
pub(super) fn commands() -> Vec<Spec> {
    vec![
    Spec::new("sadd", -3, |s, c, r| finish(sadd(s, c, r), r))
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(category::SET)
        .keys([KeySpec::one(1, key::RW | key::INSERT)])
        .doc("1.0.0", "set", "O(1) for each element added, so O(N) to add N elements when the command is called with multiple arguments.", "Add one or more members to a set"),
    Spec::new("srem", -3, |s, c, r| finish(srem(s, c, r), r))
        .flags(flag::WRITE | flag::FAST)
        .acl(category::SET)
        .keys([KeySpec::one(1, key::RW | key::DELETE)])
        .doc("1.0.0", "set", "O(N) where N is the number of members to be removed.", "Remove one or more members from a set"),
    Spec::new("smembers", 2, |s, c, r| finish(smembers(s, c, r), r))
        .flags(flag::READONLY)
        .acl(category::SET)
        .keys([KeySpec::one(1, key::RO | key::ACCESS)])
        .tips(&["nondeterministic_output_order"])
        .doc("1.0.0", "set", "O(N) where N is the set cardinality.", "Get all the members in a set"),
    Spec::new("sismember", 3, |s, c, r| finish(sismember(s, c, r), r))
        .flags(flag::READONLY | flag::FAST)
        .acl(category::SET)
        .keys([KeySpec::one(1, key::RO)])
        .doc("1.0.0", "set", "O(1)", "Determine if a given value is a member of a set"),
    Spec::new("smismember", -3, |s, c, r| finish(smismember(s, c, r), r))
        .flags(flag::READONLY | flag::FAST)
        .acl(category::SET)
        .keys([KeySpec::one(1, key::RO | key::ACCESS)])
        .doc("6.2.0", "set", "O(N) where N is the number of elements being checked for membership", "Returns the membership associated with the given elements for a set"),
    Spec::new("scard", 2, |s, c, r| finish(scard(s, c, r), r))
        .flags(flag::READONLY | flag::FAST)
        .acl(category::SET)
        .keys([KeySpec::one(1, key::RO)])
        .doc("1.0.0", "set", "O(1)", "Get the number of members in a set"),
    Spec::new("spop", -2, |s, c, r| finish(spop(s, c, r), r))
        .flags(flag::WRITE | flag::FAST)
        .acl(category::SET)
        .keys([KeySpec::one(1, key::RW | key::ACCESS | key::DELETE)])
        .tips(&["nondeterministic_output"])
        .doc("1.0.0", "set", "Without the count argument O(1), otherwise O(N) where N is the value of the passed count.", "Remove and return one or multiple random members from a set"),
    Spec::new("srandmember", -2, |s, c, r| finish(srandmember(s, c, r), r))
        .flags(flag::READONLY)
        .acl(category::SET)
        .keys([KeySpec::one(1, key::RO | key::ACCESS)])
        .tips(&["nondeterministic_output"])
        .doc("1.0.0", "set", "Without the count argument O(1), otherwise O(N) where N is the absolute value of the passed count.", "Get one or multiple random members from a set"),
    Spec::new("smove", 4, |s, c, r| finish(smove(s, c, r), r))
        .flags(flag::WRITE | flag::FAST)
        .acl(category::SET)
        .keys([KeySpec::one(1, key::RW | key::ACCESS | key::DELETE), KeySpec::one(2, key::RW | key::INSERT)])
        .doc("1.0.0", "set", "O(1)", "Move a member from one set to another"),
    Spec::new("sscan", -3, |s, c, r| finish(sscan(s, c, r), r))
        .flags(flag::READONLY)
        .acl(category::SET)
        .keys([KeySpec::one(1, key::RO | key::ACCESS)])
        .tips(&["nondeterministic_output"])
        .doc("2.8.0", "set", "O(1) for every call. O(N) for a complete iteration, including enough command calls for the cursor to return back to 0. N is the number of elements inside the collection..", "Incrementally iterate Set elements"),
    ]
}

fn sadd(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let (key, members) = (&call.words[1], &call.words[2..]);
    let thresholds = server.thresholds();
    let added = server.update(call, key, |set: &mut Set| {
        let new = members.iter().filter(|m| set.insert(m, &thresholds));
        new.count()
    })?;
    if added > 0 {
        server.touched(key, NotifyClasses::SET, "sadd");
        server.changed_more(added - 1);
        server.propagate(call, call.words);
    }
    reply.count(added);
    Ok(())
}

fn srem(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let (key, members) = (&call.words[1], &call.words[2..]);
    let removed = server.update(call, key, |set: &mut Set| {
        members.iter().filter(|member| set.remove(member)).count()
    })?;
    if removed > 0 {
        server.touched(key, NotifyClasses::SET, "srem");
        server.changed_more(removed - 1);
        server.drop_if_empty::<Set>(call, key);
        server.propagate(call, call.words);
    }
    reply.count(removed);
    Ok(())
}

fn smembers(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let set = server.read::<Set>(call, &call.words[1])?;
    reply.counts_whole();
    reply.set(set.map_or(0, Set::len));
    for member in set.into_iter().flat_map(Set::iter) {
        bulk(reply, member);
    }
    Ok(())
}

fn scard(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let set = server.read::<Set>(call, &call.words[1])?;
    reply.count(set.map_or(0, Set::len));
    Ok(())
}

fn sismember(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let set = server.read::<Set>(call, &call.words[1])?;
    reply.integer(i64::from(set.is_some_and(|s| s.contains(&call.words[2]))));
    Ok(())
}

fn smismember(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let set = server.read::<Set>(call, &call.words[1])?;
    let members = &call.words[2..];
    reply.array(members.len());
    for member in members {
        reply.integer(i64::from(set.is_some_and(|set| set.contains(member))));
    }
    Ok(())
}

fn spop(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let key = &call.words[1];
    match &call.words[2..] {
        [] => {}
        [count] => return spop_many(server, call, reply, count),
        _ => return Err(SYNTAX.into()),
    }
    let mut dice = dice_of(server);
    let set = server.lookup::<Set>(call, key)?;
    let Some(member) = set.and_then(|set| set.random(draw(&mut dice))) else {
        reply.null();
        return Ok(());
    };
    let member = kept(member);
    server.modify(call, key, |set: &mut Set| set.remove(&member));
    server.touched(key, NotifyClasses::SET, "spop");
    server.propagate(call, &[b"SREM", &key[..], &member]);
    server.drop_if_empty::<Set>(call, key);
    reply.bulk(&member);
    Ok(())
}

/// A member that outlives its place.
fn kept(member: Element<'_>) -> Key {
    Key::from(member.bytes(&mut itoa::Buffer::new()))
}

/// The most members that one propagated `SREM` names.
const REMOVED_TOGETHER_MAX: usize = 1024;

fn spop_many(
    server: &mut Server,
    call: &Call<'_>,
    reply: &mut Reply,
    count: &[u8],
) -> Result<(), Failure> {
    let key = &call.words[1];
    let count = not_negative(count, "ERR value is out of range, must be positive")?;
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let mut dice = dice_of(server);
    let set = server.lookup::<Set>(call, key)?.filter(|_| count > 0);
    let Some(set) = set else {
        reply.set(0);
        return Ok(());
    };
    if count >= set.len() {
        reply.set(set.len());
        for member in set.iter() {
            bulk(reply, member);
        }
        let more = set.len() - 1;
        // As in redis-server, which here looks it up once more to show it whole.
        server.stats.keyspace_hits += 1;
        server.notify_here(NotifyClasses::SET, "spop", key);
        server.delete(call, key);
        server.changed_more(more);
        server.notify_here(NotifyClasses::GENERIC, "del", key);
        server.propagate(call, &[word("DEL"), key.clone()]);
        return Ok(());
    }
    let one = |dice: &mut _| set.random(draw(dice));
    let picked = pick_distinct(count, set.len(), &mut dice, set.iter(), one);
    let picked: Vec<Key> = picked.into_iter().map(kept).collect();
    server.modify(call, key, |set: &mut Set| {
        picked.iter().for_each(|member| {
            set.remove(member);
        });
    });
    server.touched(key, NotifyClasses::SET, "spop");
    server.changed_more(picked.len() - 1);
    reply.set(picked.len());
    picked.iter().for_each(|member| reply.bulk(member));
    for members in picked.chunks(REMOVED_TOGETHER_MAX) {
        let mut words = vec![&b"SREM"[..], key];
        words.extend(members.iter().map(|member| &member[..]));
        server.propagate(call, &words);
    }
    Ok(())
}

fn srandmember(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let key = &call.words[1];
    let count = match &call.words[2..] {
        [] => {
            let mut dice = dice_of(server);
            let set = server.read::<Set>(call, key)?;
            bulk_or_null(reply, set.and_then(|set| set.random(draw(&mut dice))));
            return Ok(());
        }
        [count] => random_count(count)?,
        _ => return Err(SYNTAX.into()),
    };
    let mut dice = dice_of(server);
    let Some(set) = server.read::<Set>(call, key)? else {
        reply.array(0);
        return Ok(());
    };
    let wanted = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    let picked: Vec<Element<'_>> = if count < 0 {
        (0..wanted)
            .filter_map(|_| set.random(draw(&mut dice)))
            .collect()
    } else {
        pick_distinct(wanted, set.len(), &mut dice, set.iter(), |dice| {
            set.random(draw(dice))
        })
    };
    reply.array(picked.len());
    for member in picked {
        bulk(reply, member);
    }
    Ok(())
}

fn smove(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let (from, to, member) = (&call.words[1], &call.words[2], &call.words[3]);
    // Both are looked up before anything is said of either.
    for key in [from, to] {
        server.exists_and_is_used(call, key);
    }
    let Some(source) = server.stored::<Set>(call, from)? else {
        reply.integer(0);
        return Ok(());
    };
    let is_there = source.contains(member);
    server.stored::<Set>(call, to)?;
    if from == to || !is_there {
        reply.integer(i64::from(is_there));
        return Ok(());
    }
    server.modify(call, from, |set: &mut Set| set.remove(member));
    server.touched(from, NotifyClasses::SET, "srem");
    server.drop_if_empty::<Set>(call, from);
    let thresholds = server.thresholds();
    let is_new = server.modify(call, to, |set: &mut Set| set.insert(member, &thresholds));
    if is_new {
        server.touched(to, NotifyClasses::SET, "sadd");
    }
    server.propagate(call, call.words);
    reply.integer(1);
    Ok(())
}

fn sscan(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let cursor = scan_cursor(&call.words[2])?;
    let Some(set) = server.read::<Set>(call, &call.words[1])? else {
        begin_scan_reply(reply, 0, 0);
        return Ok(());
    };
    let options = ScanOptions::of_elements(&call.words[3..])?;
    let mut found = Vec::new();
    let next = set.scan(cursor, options.count, |member| {
        if options.wants(member.bytes(&mut itoa::Buffer::new())) {
            found.push(member);
        }
    });
    begin_scan_reply(reply, next, found.len());
    for member in found {
        bulk(reply, member);
    }
    Ok(())
}

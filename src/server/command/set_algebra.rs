//! What is common to several sets, what is in any, and what is in the first alone.

use bytes::Bytes;

use super::args::{Failure, SYNTAX, integer, not_negative};
use super::elements::bulk;
use super::strings::finish;
use crate::front::{Begin, Call, CommandSpec, Find, KeySpec, Reply, category, flag, key};
use crate::server::keyspace::{Element, Kind, Set};
use crate::server::{NotifyClasses, Server};

type Spec = CommandSpec<Server>;

/// The commands of this file.
pub(super) fn commands() -> Vec<Spec> {
    vec![
    Spec::new("sinter", -2, |s, c, r| finish(show(s, c, r, Operation::Inter), r))
        .flags(flag::READONLY)
        .acl(category::SET)
        .keys([KeySpec::range(1, -1, 1, key::RO | key::ACCESS)])
        .tips(&["nondeterministic_output_order"])
        .doc("1.0.0", "set", "O(N*M) worst case where N is the cardinality of the smallest set and M is the number of sets.", "Intersect multiple sets"),
    Spec::new("sinterstore", -3, |s, c, r| finish(store(s, c, r, Operation::Inter), r))
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(category::SET)
        .keys([KeySpec::one(1, key::RW | key::UPDATE), KeySpec::range(2, -1, 1, key::RO | key::ACCESS)])
        .doc("1.0.0", "set", "O(N*M) worst case where N is the cardinality of the smallest set and M is the number of sets.", "Intersect multiple sets and store the resulting set in a key"),
    Spec::new("sintercard", -3, |s, c, r| finish(sintercard(s, c, r), r))
        .flags(flag::READONLY | flag::MOVABLE_KEYS)
        .acl(category::SET)
        .keys([KeySpec { begin: Begin::Index(1), find: Find::KeyNum { index: 0, first: 1, step: 1 }, flags: key::RO | key::ACCESS }])
        .doc("7.0.0", "set", "O(N*M) worst case where N is the cardinality of the smallest set and M is the number of sets.", "Intersect multiple sets and return the cardinality of the result"),
    Spec::new("sunion", -2, |s, c, r| finish(show(s, c, r, Operation::Union), r))
        .flags(flag::READONLY)
        .acl(category::SET)
        .keys([KeySpec::range(1, -1, 1, key::RO | key::ACCESS)])
        .tips(&["nondeterministic_output_order"])
        .doc("1.0.0", "set", "O(N) where N is the total number of elements in all given sets.", "Add multiple sets"),
    Spec::new("sunionstore", -3, |s, c, r| finish(store(s, c, r, Operation::Union), r))
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(category::SET)
        .keys([KeySpec::one(1, key::OW | key::UPDATE), KeySpec::range(2, -1, 1, key::RO | key::ACCESS)])
        .doc("1.0.0", "set", "O(N) where N is the total number of elements in all given sets.", "Add multiple sets and store the resulting set in a key"),
    Spec::new("sdiff", -2, |s, c, r| finish(show(s, c, r, Operation::Diff), r))
        .flags(flag::READONLY)
        .acl(category::SET)
        .keys([KeySpec::range(1, -1, 1, key::RO | key::ACCESS)])
        .tips(&["nondeterministic_output_order"])
        .doc("1.0.0", "set", "O(N) where N is the total number of elements in all given sets.", "Subtract multiple sets"),
    Spec::new("sdiffstore", -3, |s, c, r| finish(store(s, c, r, Operation::Diff), r))
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(category::SET)
        .keys([KeySpec::one(1, key::OW | key::UPDATE), KeySpec::range(2, -1, 1, key::RO | key::ACCESS)])
        .doc("1.0.0", "set", "O(N) where N is the total number of elements in all given sets.", "Subtract multiple sets and store the resulting set in a key"),
    ]
}

/// What is made of sets.
#[derive(Clone, Copy)]
enum Operation {
    Inter,
    Union,
    Diff,
}

/// The sets under these keys, in their order; `None` where there is none.
fn sets<'a>(
    server: &'a mut Server,
    call: &Call<'_>,
    keys: &[Bytes],
) -> Result<Vec<Option<&'a Set>>, Failure> {
    for key in keys {
        server.read::<Set>(call, key)?;
    }
    let server = &*server;
    keys.iter().map(|key| server.stored(call, key)).collect()
}

fn show(
    server: &mut Server,
    call: &Call<'_>,
    reply: &mut Reply,
    operation: Operation,
) -> Result<(), Failure> {
    let thresholds = server.thresholds();
    let sets = sets(server, call, &call.words[1..])?;
    let write = |reply: &mut Reply, members: &[Element<'_>]| {
        reply.set(members.len());
        members.iter().for_each(|member| bulk(reply, *member));
    };
    match operation {
        Operation::Inter => write(reply, &inter(&sets, usize::MAX)),
        Operation::Diff => write(reply, &diff(&sets)),
        Operation::Union => {
            let mut union = Set::default();
            for member in sets.into_iter().flatten().flat_map(Set::iter) {
                union.insert(member.bytes(&mut itoa::Buffer::new()), &thresholds);
            }
            write(reply, &union.iter().collect::<Vec<_>>());
        }
    }
    Ok(())
}

/// Up to `limit` members that are in every set.
fn inter<'a>(sets: &[Option<&'a Set>], limit: usize) -> Vec<Element<'a>> {
    let Some(mut sets) = sets.iter().copied().collect::<Option<Vec<&Set>>>() else {
        return Vec::new();
    };
    sets.sort_by_key(|set| set.len());
    let Some((first, others)) = sets.split_first() else {
        return Vec::new();
    };
    let in_all = |member: &Element<'_>| {
        let mut digits = itoa::Buffer::new();
        let bytes = member.bytes(&mut digits);
        others.iter().all(|set| set.contains(bytes))
    };
    first.iter().filter(in_all).take(limit).collect()
}

/// The members of the first set that are in no other.
fn diff<'a>(sets: &[Option<&'a Set>]) -> Vec<Element<'a>> {
    let Some((Some(first), others)) = sets.split_first() else {
        return Vec::new();
    };
    let in_none = |member: &Element<'_>| {
        let mut digits = itoa::Buffer::new();
        let bytes = member.bytes(&mut digits);
        !others.iter().flatten().any(|set| set.contains(bytes))
    };
    first.iter().filter(in_none).collect()
}

fn store(
    server: &mut Server,
    call: &Call<'_>,
    reply: &mut Reply,
    operation: Operation,
) -> Result<(), Failure> {
    let target = &call.words[1];
    let thresholds = server.thresholds();
    let sets = sets(server, call, &call.words[2..])?;
    let mut result = Set::default();
    let mut add = |member: Element<'_>| {
        result.insert(member.bytes(&mut itoa::Buffer::new()), &thresholds);
    };
    let event = match operation {
        Operation::Inter => {
            inter(&sets, usize::MAX).into_iter().for_each(&mut add);
            "sinterstore"
        }
        Operation::Union => {
            let all = sets.into_iter().flatten().flat_map(Set::iter);
            all.for_each(&mut add);
            "sunionstore"
        }
        Operation::Diff => {
            diff(&sets).into_iter().for_each(&mut add);
            "sdiffstore"
        }
    };
    let len = result.len();
    let result = (len > 0).then(|| result.into_value());
    server.store_result(call, target, result, (NotifyClasses::SET, event));
    reply.count(len);
    Ok(())
}

fn sintercard(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    const NO_KEYS: &str = "ERR numkeys should be greater than 0";
    let count = integer(&call.words[1]).map_err(|_| NO_KEYS)?;
    let count = usize::try_from(count).ok().filter(|n| *n > 0);
    let count = count.ok_or(NO_KEYS)?;
    let words = &call.words[2..];
    if count > words.len() {
        return Err("ERR Number of keys can't be greater than number of args".into());
    }
    let (keys, options) = words.split_at(count);
    let mut limit = 0;
    for pair in options.chunks(2) {
        match pair {
            [name, value] if name.eq_ignore_ascii_case(b"limit") => {
                limit = not_negative(value, "ERR LIMIT can't be negative")?;
            }
            _ => return Err(SYNTAX.into()),
        }
    }
    let limit = usize::try_from(limit).ok().filter(|limit| *limit > 0);
    let sets = sets(server, call, keys)?;
    reply.count(inter(&sets, limit.unwrap_or(usize::MAX)).len());
    Ok(())
}

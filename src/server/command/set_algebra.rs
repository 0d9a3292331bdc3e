//! What is common to several sets, what is in any, and what is in the first alone.

use std::cmp::Reverse;

use super::args::{Failure, SYNTAX, integer, not_negative};
use super::elements::{bulk, is_removing_cheaper};
use super::strings::finish;
use crate::front::{Begin, Call, CommandSpec, Find, KeySpec, Reply, category, flag, key};
use crate::resp::Word;
use crate::server::keyspace::{Element, Kind, Set, Thresholds};
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
    keys: &[Word<'_>],
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
        Operation::Inter => {
            reply.counts_whole();
            write(reply, &inter(&sets, usize::MAX));
        }
        Operation::Diff if is_removing_cheaper(sizes(&sets)) => {
            let rest = rest(&sets, &thresholds);
            write(reply, &rest.iter().collect::<Vec<_>>());
        }
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

/// How many members each set that is there has.
fn sizes(sets: &[Option<&Set>]) -> impl Iterator<Item = usize> {
    sets.iter().flatten().map(|set| set.len())
}

/// The members of the first set that are in no other, each looked up in all of them.
fn diff<'a>(sets: &[Option<&'a Set>]) -> Vec<Element<'a>> {
    let Some((Some(first), others)) = sets.split_first() else {
        return Vec::new();
    };
    let mut others: Vec<&Set> = others.iter().copied().flatten().collect();
    if others.iter().any(|set| std::ptr::eq(*set, *first)) {
        return Vec::new();
    }
    // A member is most likely to be in a large one.
    others.sort_by_key(|set| Reverse(set.len()));
    let in_none = |member: &Element<'_>| {
        let mut digits = itoa::Buffer::new();
        let bytes = member.bytes(&mut digits);
        !others.iter().any(|set| set.contains(bytes))
    };
    first.iter().filter(in_none).collect()
}

/// The same as [`diff`], as what is left of a copy of the first set, in the form that the copy has come to.
fn rest(sets: &[Option<&Set>], thresholds: &Thresholds) -> Set {
    let mut rest = Set::default();
    let Some((Some(first), others)) = sets.split_first() else {
        return rest;
    };
    for member in first.iter() {
        rest.insert(member.bytes(&mut itoa::Buffer::new()), thresholds);
    }
    for member in others.iter().flatten().flat_map(|set| set.iter()) {
        if rest.is_empty() {
            break;
        }
        rest.remove(member.bytes(&mut itoa::Buffer::new()));
    }
    rest
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
        Operation::Diff if is_removing_cheaper(sizes(&sets)) => {
            result = rest(&sets, &thresholds);
            "sdiffstore"
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::keyspace::steps;

    fn set(members: impl Iterator<Item = usize>) -> Set {
        let mut set = Set::default();
        for n in members {
            set.insert(n.to_string().as_bytes(), &Thresholds::DEFAULT);
        }
        set
    }

    fn members(set: &Set) -> std::collections::BTreeSet<Vec<u8>> {
        set.iter().map(Element::to_vec).collect()
    }

    #[test]
    fn both_ways_to_a_difference_come_to_the_same() {
        let all = [
            set(0..700),
            set((0..400).step_by(3)),
            set(std::iter::empty()),
            set((0..1000).step_by(7)),
            set(650..651),
        ];
        for first in 0..all.len() {
            for others in 0..1 << all.len() {
                let mut sets = vec![Some(&all[first]), None];
                let chosen = |n: &usize| others & (1 << n) != 0;
                sets.extend((0..all.len()).filter(chosen).map(|n| Some(&all[n])));
                let mut want = members(&all[first]);
                for other in sets[1..].iter().flatten() {
                    other.iter().for_each(|member| {
                        want.remove(&member.to_vec());
                    });
                }
                let one = diff(&sets).into_iter().map(Element::to_vec);
                assert_eq!(one.collect::<std::collections::BTreeSet<_>>(), want);
                assert_eq!(members(&rest(&sets, &Thresholds::DEFAULT)), want);
            }
        }
        assert!(rest(&[None, Some(&all[0])], &Thresholds::DEFAULT).is_empty());
    }

    #[test]
    fn many_small_sets_are_taken_from_a_large_one_in_few_steps() {
        const MEMBERS: usize = 5000;
        const OTHERS: usize = 1000;
        let (large, small) = (set(0..MEMBERS), set(1..4));
        let mut sets = vec![Some(&large)];
        sets.resize(1 + OTHERS, Some(&small));
        assert!(is_removing_cheaper(sizes(&sets)));
        let (steps, rest) = steps::of(|| rest(&sets, &Thresholds::DEFAULT));
        assert_eq!(rest.len(), MEMBERS - 3);
        assert!(steps < 3 * (MEMBERS + 3 * OTHERS), "{steps}");
        // Nothing is left to be removed from.
        sets[1] = Some(&large);
        let (steps, _) = steps::of(|| super::rest(&sets, &Thresholds::DEFAULT));
        assert!(steps < 4 * MEMBERS, "{steps}");

        // A single other set is cheaper to look into, and each of these members is found in the first.
        assert!(!is_removing_cheaper(sizes(&sets[..2])));
        let (half, most) = (set((0..MEMBERS).step_by(2)), set(1..MEMBERS));
        let sets = [Some(&large), Some(&small), Some(&half), Some(&most)];
        assert!(!is_removing_cheaper(sizes(&sets)));
        let (steps, found) = steps::of(|| diff(&sets).len());
        assert_eq!(found, 0);
        assert!(steps < MEMBERS + 10, "{steps}");
    }
}

//! Sorted sets: what is about single members, and what only looks.

use rand::RngExt;

use super::args::{Failure, SYNTAX, integer};
use super::elements::bulk;
use super::keys::{ScanOptions, begin_scan_reply, scan_cursor};
use super::sorted_set_ranges::{By, Limit, Range};
use super::strings::finish;
use super::strtod::float;
use crate::front::{Call, CommandSpec, KeySpec, Reply, category, flag, key};
use crate::resp::{Protocol, Word};
use crate::server::keyspace::{Change, Element, SortedSet};
use crate::server::{NotifyClasses, Server};

pub(super) const KEY_RO: &[KeySpec] = &[KeySpec::one(1, key::RO | key::ACCESS)];

type Spec = CommandSpec<Server>;

/// The commands of this file.
pub(super) fn commands() -> Vec<Spec> {
    vec![
        Spec::new("zadd", -4, |s, c, r| finish(add(s, c, r, c.words, 0), r))
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(category::SORTEDSET)
        .keys([KeySpec::one(1, key::RW | key::UPDATE)])
        .doc("1.2.0", "sorted-set", "O(log(N)) for each item added, where N is the number of elements in the sorted set.", "Add one or more members to a sorted set, or update its score if it already exists"),
        Spec::new("zincrby", 4, |s, c, r| finish(add(s, c, r, c.words, INCR), r))
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(category::SORTEDSET)
        .keys([KeySpec::one(1, key::RW | key::ACCESS | key::UPDATE)])
        .doc("1.2.0", "sorted-set", "O(log(N)) where N is the number of elements in the sorted set.", "Increment the score of a member in a sorted set"),
        Spec::new("zrem", -3, |s, c, r| finish(zrem(s, c, r), r))
        .flags(flag::WRITE | flag::FAST)
        .acl(category::SORTEDSET)
        .keys([KeySpec::one(1, key::RW | key::DELETE)])
        .doc("1.2.0", "sorted-set", "O(M*log(N)) with N being the number of elements in the sorted set and M the number of elements to be removed.", "Remove one or more members from a sorted set"),
        Spec::new("zcard", 2, |s, c, r| finish(zcard(s, c, r), r))
        .flags(flag::READONLY | flag::FAST)
        .acl(category::SORTEDSET)
        .keys([KeySpec::one(1, key::RO)])
        .doc("1.2.0", "sorted-set", "O(1)", "Get the number of members in a sorted set"),
        Spec::new("zscore", 3, |s, c, r| finish(zscore(s, c, r), r))
        .flags(flag::READONLY | flag::FAST)
        .acl(category::SORTEDSET)
        .keys(KEY_RO)
        .doc("1.2.0", "sorted-set", "O(1)", "Get the score associated with the given member in a sorted set"),
        Spec::new("zmscore", -3, |s, c, r| finish(zmscore(s, c, r), r))
        .flags(flag::READONLY | flag::FAST)
        .acl(category::SORTEDSET)
        .keys(KEY_RO)
        .doc("6.2.0", "sorted-set", "O(N) where N is the number of members being requested.", "Get the score associated with the given members in a sorted set"),
        Spec::new("zrank", 3, |s, c, r| finish(rank(s, c, r, false), r))
        .flags(flag::READONLY | flag::FAST)
        .acl(category::SORTEDSET)
        .keys(KEY_RO)
        .doc("2.0.0", "sorted-set", "O(log(N))", "Determine the index of a member in a sorted set"),
        Spec::new("zrevrank", 3, |s, c, r| finish(rank(s, c, r, true), r))
        .flags(flag::READONLY | flag::FAST)
        .acl(category::SORTEDSET)
        .keys(KEY_RO)
        .doc("2.0.0", "sorted-set", "O(log(N))", "Determine the index of a member in a sorted set, with scores ordered from high to low"),
        Spec::new("zcount", 4, |s, c, r| finish(count(s, c, r, By::Score), r))
        .flags(flag::READONLY | flag::FAST)
        .acl(category::SORTEDSET)
        .keys(KEY_RO)
        .doc("2.0.0", "sorted-set", "O(log(N)) with N being the number of elements in the sorted set.", "Count the members in a sorted set with scores within the given values"),
        Spec::new("zlexcount", 4, |s, c, r| finish(count(s, c, r, By::Lex), r))
        .flags(flag::READONLY | flag::FAST)
        .acl(category::SORTEDSET)
        .keys(KEY_RO)
        .doc("2.8.9", "sorted-set", "O(log(N)) with N being the number of elements in the sorted set.", "Count the number of members in a sorted set between a given lexicographical range"),
        Spec::new("zrandmember", -2, |s, c, r| finish(zrandmember(s, c, r), r))
        .flags(flag::READONLY)
        .acl(category::SORTEDSET)
        .keys(KEY_RO)
        .tips(&["nondeterministic_output"])
        .doc("6.2.0", "sorted-set", "O(N) where N is the number of elements returned", "Get one or multiple random elements from a sorted set"),
        Spec::new("zscan", -3, |s, c, r| finish(zscan(s, c, r), r))
        .flags(flag::READONLY)
        .acl(category::SORTEDSET)
        .keys(KEY_RO)
        .tips(&["nondeterministic_output"])
        .doc("2.8.0", "sorted-set", "O(1) for every call. O(N) for a complete iteration, including enough command calls for the cursor to return back to 0. N is the number of elements inside the collection..", "Incrementally iterate sorted sets elements and associated scores")    ]
}

/// Opens the list of `n` members that follow by [`member`].
pub(super) fn members(reply: &mut Reply, n: usize, with_scores: bool) {
    let is_flat = with_scores && reply.protocol() == Protocol::Resp2;
    reply.array(if is_flat { n * 2 } else { n });
}

/// A member; with its score a pair, which is flat in RESP2.
pub(super) fn member(reply: &mut Reply, member: Element<'_>, score: f64, with_scores: bool) {
    if with_scores && reply.protocol() == Protocol::Resp3 {
        reply.array(2);
    }
    bulk(reply, member);
    if with_scores {
        reply.double(score);
    }
}

/// Only new members.
pub(super) const NX: u8 = 1;
/// Only members that are there.
pub(super) const XX: u8 = 1 << 1;
/// Only to a greater score.
const GT: u8 = 1 << 2;
/// Only to a lower score.
const LT: u8 = 1 << 3;
/// Changed members count too.
pub(super) const CH: u8 = 1 << 4;
/// The scores are added to those that are there.
const INCR: u8 = 1 << 5;

const ADD_OPTIONS: &[(&str, u8)] = &[
    ("nx", NX),
    ("xx", XX),
    ("gt", GT),
    ("lt", LT),
    ("ch", CH),
    ("incr", INCR),
];

/// The options at the beginning of `words` that are among `known`, and how many words they take.
pub(super) fn add_options(words: &[Word<'_>], known: &[(&str, u8)]) -> (u8, usize) {
    let mut options = 0;
    let found = words.iter().map_while(|word| {
        let is_it = |(name, _): &&(&str, u8)| word.eq_ignore_ascii_case(name.as_bytes());
        known.iter().find(is_it)
    });
    let count = found.inspect(|(_, option)| options |= option).count();
    (options, count)
}

/// `ZADD` and, with `INCR` given, `ZINCRBY`. The words are what is propagated.
pub(super) fn add(
    server: &mut Server,
    call: &Call<'_>,
    reply: &mut Reply,
    words: &[Word<'_>],
    given: u8,
) -> Result<(), Failure> {
    let key = &words[1];
    let (found, count) = add_options(&words[2..], ADD_OPTIONS);
    let options = found | given;
    let has = |option: u8| options & option != 0;
    let pairs = &words[2 + count..];
    if pairs.is_empty() || !pairs.len().is_multiple_of(2) {
        return Err(SYNTAX.into());
    }
    if has(NX) && has(XX) {
        return Err("ERR XX and NX options at the same time are not compatible".into());
    }
    if [NX, GT, LT]
        .into_iter()
        .filter(|option| has(*option))
        .count()
        > 1
    {
        return Err("ERR GT, LT, and/or NX options at the same time are not compatible".into());
    }
    if has(INCR) && pairs.len() > 2 {
        return Err("ERR INCR option supports a single increment-element pair".into());
    }
    let scores = pairs.iter().step_by(2).map(|word| float(word));
    let scores: Vec<f64> = scores.collect::<Result<_, _>>()?;
    server.lookup::<SortedSet>(call, key)?;
    let thresholds = server.thresholds();
    let (mut added, mut moved, mut result) = (0, 0, None);
    server.modify(call, key, |set: &mut SortedSet| {
        for (score, member) in scores.into_iter().zip(pairs.iter().skip(1).step_by(2)) {
            result = None;
            let change = set.update(member, &thresholds, |old| {
                result = wanted(options, old, score);
                result.filter(|score| !score.is_nan())
            });
            added += usize::from(change == Change::Added);
            moved += usize::from(change == Change::Moved);
        }
    });
    if result.is_some_and(f64::is_nan) {
        return Err("ERR resulting score is not a number (NaN)".into());
    }
    if added + moved > 0 {
        let event = if has(INCR) { "zincr" } else { "zadd" };
        server.touched(key, NotifyClasses::ZSET, event);
        server.changed_more(added + moved - 1);
        server.propagate(call, words);
    }
    match result {
        Some(score) if has(INCR) => reply.double(score),
        None if has(INCR) => reply.null(),
        _ => reply.count(if has(CH) { added + moved } else { added }),
    }
    Ok(())
}

/// The score that a member is to get; `None` where the options leave it alone.
fn wanted(options: u8, old: Option<f64>, score: f64) -> Option<f64> {
    let has = |option: u8| options & option != 0;
    let Some(old) = old else {
        return (!has(XX)).then_some(score);
    };
    let score = if has(INCR) { old + score } else { score };
    let is_refused = has(NX) || (has(GT) && score <= old) || (has(LT) && score >= old);
    (!is_refused).then_some(score)
}

fn zrem(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let key = &call.words[1];
    let mut removed = 0;
    if server.lookup::<SortedSet>(call, key)?.is_some() {
        removed = server.modify(call, key, |set: &mut SortedSet| {
            let members = call.words[2..].iter();
            members
                .filter(|member| set.remove(member).is_some())
                .count()
        });
    }
    if removed > 0 {
        server.touched(key, NotifyClasses::ZSET, "zrem");
        server.changed_more(removed - 1);
        server.drop_if_empty::<SortedSet>(call, key);
        server.propagate(call, call.words);
    }
    reply.count(removed);
    Ok(())
}

fn zcard(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let set = server.read::<SortedSet>(call, &call.words[1])?;
    reply.count(set.map_or(0, SortedSet::len));
    Ok(())
}

fn score_or_null(reply: &mut Reply, score: Option<f64>) {
    match score {
        Some(score) => reply.double(score),
        None => reply.null(),
    }
}

fn zscore(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let set = server.read::<SortedSet>(call, &call.words[1])?;
    score_or_null(reply, set.and_then(|set| set.score(&call.words[2])));
    Ok(())
}

fn zmscore(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let set = server.read::<SortedSet>(call, &call.words[1])?;
    reply.array(call.words.len() - 2);
    for member in &call.words[2..] {
        score_or_null(reply, set.and_then(|set| set.score(member)));
    }
    Ok(())
}

fn rank(
    server: &mut Server,
    call: &Call<'_>,
    reply: &mut Reply,
    is_reverse: bool,
) -> Result<(), Failure> {
    let set = server.read::<SortedSet>(call, &call.words[1])?;
    let found = set.and_then(|set| Some((set.rank(&call.words[2])?, set.len())));
    match found {
        Some((rank, len)) if is_reverse => reply.count(len - 1 - rank),
        Some((rank, _)) => reply.count(rank),
        None => reply.null(),
    }
    Ok(())
}

fn count(server: &mut Server, call: &Call<'_>, reply: &mut Reply, by: By) -> Result<(), Failure> {
    let range = Range::parse(by, &call.words[2], &call.words[3])?;
    let set = server.read::<SortedSet>(call, &call.words[1])?;
    reply.count(set.map_or(0, |set| range.positions(set, Limit::NONE, false).len()));
    Ok(())
}

/// How many members `ZRANDMEMBER` shows at most when they may repeat.
const REPEATS_MAX: u64 = 1 << 24;
const OUT_OF_RANGE: &str = "ERR value is out of range";

fn zrandmember(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let key = &call.words[1];
    let Some(count) = call.words.get(2) else {
        if server.read::<SortedSet>(call, key)?.is_none() {
            reply.null();
            return Ok(());
        }
        let dice = server.rng.random::<u64>();
        let set = server.stored::<SortedSet>(call, key)?;
        match set.and_then(|set| set.random(|| dice)) {
            Some((member, _)) => bulk(reply, member),
            None => reply.null(),
        }
        return Ok(());
    };
    let count = integer(count)?;
    if count == i64::MIN {
        let (min, max) = (-i64::MAX, i64::MAX);
        return Err(
            format!("ERR value is out of range, value must between {min} and {max}").into(),
        );
    }
    let with_scores = match &call.words[3..] {
        [] => false,
        [word] if word.eq_ignore_ascii_case(b"withscores") => true,
        _ => return Err(SYNTAX.into()),
    };
    if with_scores && count.unsigned_abs() > i64::MAX.unsigned_abs() / 2 {
        return Err(OUT_OF_RANGE.into());
    }
    let Some(len) = server.read::<SortedSet>(call, key)?.map(SortedSet::len) else {
        reply.array(0);
        return Ok(());
    };
    let positions: Vec<usize> = if count < 0 {
        let count = count.unsigned_abs();
        if count > REPEATS_MAX {
            return Err(OUT_OF_RANGE.into());
        }
        (0..count)
            .map(|_| server.rng.random_range(0..len))
            .collect()
    } else {
        match usize::try_from(count) {
            Ok(count) if count < len => {
                rand::seq::index::sample(&mut server.rng, len, count).into_vec()
            }
            // All of them, as redis-server has it from the highest score down.
            _ => (0..len).rev().collect(),
        }
    };
    members(reply, positions.len(), with_scores);
    if let Some(set) = server.stored::<SortedSet>(call, key)? {
        for position in positions {
            if let Some((name, score)) = set.iter_from(position).next() {
                member(reply, name, score, with_scores);
            }
        }
    }
    Ok(())
}

fn zscan(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let cursor = scan_cursor(&call.words[2])?;
    let Some(set) = server.read::<SortedSet>(call, &call.words[1])? else {
        begin_scan_reply(reply, 0, 0);
        return Ok(());
    };
    let options = ScanOptions::of_elements(&call.words[3..])?;
    let mut found = Vec::new();
    let next = set.scan(cursor, options.count, |member, score| {
        if options.wants(member.bytes(&mut itoa::Buffer::new())) {
            found.push((member, score));
        }
    });
    begin_scan_reply(reply, next, found.len() * 2);
    for (member, score) in found {
        bulk(reply, member);
        reply.bulk(set.score_text(score));
    }
    Ok(())
}

//! Taking the members with the lowest or the highest scores.

use super::args::{Failure, SYNTAX, integer, number, word};
use super::elements::bulk;
use super::strings::finish;
use crate::front::{Begin, Call, CommandSpec, Find, KeySpec, Reply, category, flag, key};
use crate::resp::Protocol;
use crate::server::keyspace::{Element, Key, SortedSet};
use crate::server::{NotifyClasses, Server};

type Spec = CommandSpec<Server>;

/// The commands of this file.
pub(super) fn commands() -> Vec<Spec> {
    vec![
        Spec::new("zpopmin", -2, |s, c, r| finish(pop(s, c, r, Side::Lowest), r))
        .flags(flag::WRITE | flag::FAST)
        .acl(category::SORTEDSET)
        .keys([KeySpec::one(1, key::RW | key::ACCESS | key::DELETE)])
        .doc("5.0.0", "sorted-set", "O(log(N)*M) with N being the number of elements in the sorted set, and M being the number of elements popped.", "Remove and return members with the lowest scores in a sorted set"),
        Spec::new("zpopmax", -2, |s, c, r| finish(pop(s, c, r, Side::Highest), r))
        .flags(flag::WRITE | flag::FAST)
        .acl(category::SORTEDSET)
        .keys([KeySpec::one(1, key::RW | key::ACCESS | key::DELETE)])
        .doc("5.0.0", "sorted-set", "O(log(N)*M) with N being the number of elements in the sorted set, and M being the number of elements popped.", "Remove and return members with the highest scores in a sorted set"),
        Spec::new("zmpop", -4, |s, c, r| finish(pop_from_many(s, c, r), r))
        .flags(flag::WRITE | flag::MOVABLE_KEYS)
        .acl(category::SORTEDSET)
        .keys([KeySpec { begin: Begin::Index(1), find: Find::KeyNum { index: 0, first: 1, step: 1 }, flags: key::RW | key::ACCESS | key::DELETE }])
        .doc("7.0.0", "sorted-set", "O(K) + O(M*log(N)) where K is the number of provided keys, N being the number of elements in the sorted set, and M being the number of elements popped.", "Remove and return members with scores in a sorted set")    ]
}

/// From which side members are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// The lowest scores first.
    Lowest,
    /// The highest scores first.
    Highest,
}

impl Side {
    /// The side that `MIN` or `MAX` names.
    pub(super) fn from_word(word: &[u8]) -> Result<Side, Failure> {
        match word {
            _ if word.eq_ignore_ascii_case(b"min") => Ok(Side::Lowest),
            _ if word.eq_ignore_ascii_case(b"max") => Ok(Side::Highest),
            _ => Err(SYNTAX.into()),
        }
    }
}

/// Takes up to `count` members, at least one, from a sorted set that is there, and tells whom it concerns.
pub(super) fn take(
    server: &mut Server,
    call: &Call<'_>,
    key: &[u8],
    side: Side,
    count: usize,
) -> Vec<(Key, f64)> {
    let taken: Vec<(Key, f64)> = server.modify(call, key, |set: &mut SortedSet| {
        let next = |_| match side {
            Side::Lowest => set.remove_at(0),
            Side::Highest => set.remove_at(set.len().checked_sub(1)?),
        };
        (0..count).map_while(next).collect()
    });
    let event = match side {
        Side::Lowest => "zpopmin",
        Side::Highest => "zpopmax",
    };
    server.touched(key, NotifyClasses::ZSET, event);
    server.changed_more(taken.len().saturating_sub(1));
    server.drop_if_empty::<SortedSet>(call, key);
    taken
}

/// A count that must not be negative.
fn count(text: &[u8]) -> Result<usize, Failure> {
    integer(text)
        .ok()
        .and_then(|n| usize::try_from(n).ok())
        .ok_or(Failure::Borrowed(
            "ERR value is out of range, must be positive",
        ))
}

fn pop(server: &mut Server, call: &Call<'_>, reply: &mut Reply, side: Side) -> Result<(), Failure> {
    let key = &call.words[1];
    let wanted = match &call.words[2..] {
        [] => None,
        [text] => Some(count(text)?),
        _ => return Err(SYNTAX.into()),
    };
    let count = wanted.unwrap_or(1);
    if server.lookup::<SortedSet>(call, key)?.is_none() || count == 0 {
        reply.array(0);
        return Ok(());
    }
    let taken = take(server, call, key, side, count);
    server.propagate(call, call.words);
    // With a count, RESP3 has pairs.
    let in_pairs = wanted.is_some() && reply.protocol() == Protocol::Resp3;
    reply.array(taken.len() * if in_pairs { 1 } else { 2 });
    show(reply, &taken, in_pairs);
    Ok(())
}

/// Members that were taken, each with its score.
fn show(reply: &mut Reply, taken: &[(Key, f64)], in_pairs: bool) {
    for (member, score) in taken {
        if in_pairs {
            reply.array(2);
        }
        bulk(reply, Element::Bytes(member));
        reply.double(*score);
    }
}

/// What `ZMPOP` asks for after its timeout, if it has one: keys, side and count.
pub(super) struct ManyKeys<'a> {
    /// The keys, in their order.
    pub(super) keys: &'a [bytes::Bytes],
    /// From which side.
    pub(super) side: Side,
    /// How many members at most.
    pub(super) count: usize,
}

impl<'a> ManyKeys<'a> {
    /// Reads `numkeys key … MIN|MAX [COUNT n]`.
    pub(super) fn parse(words: &'a [bytes::Bytes]) -> Result<ManyKeys<'a>, Failure> {
        let positive = |text: &[u8], error: &'static str| {
            let n = integer(text).ok().and_then(|n| usize::try_from(n).ok());
            n.filter(|n| *n > 0).ok_or(Failure::Borrowed(error))
        };
        let (first, rest) = words.split_first().ok_or(SYNTAX)?;
        let keys = positive(first, "ERR numkeys should be greater than 0")?;
        let (keys, rest) = rest.split_at_checked(keys).ok_or(SYNTAX)?;
        let (side, options) = rest.split_first().ok_or(SYNTAX)?;
        let side = Side::from_word(side)?;
        let count = match options {
            [] => 1,
            [name, n, more @ ..] if name.eq_ignore_ascii_case(b"count") => {
                let n = positive(n, "ERR count should be greater than 0")?;
                if !more.is_empty() {
                    return Err(SYNTAX.into());
                }
                n
            }
            _ => return Err(SYNTAX.into()),
        };
        Ok(ManyKeys { keys, side, count })
    }

    /// Takes from the first key that has members, replies and propagates; false where none has.
    pub(super) fn take(
        &self,
        server: &mut Server,
        call: &Call<'_>,
        reply: &mut Reply,
    ) -> Result<bool, Failure> {
        for key in self.keys {
            if server.lookup::<SortedSet>(call, key)?.is_none() {
                continue;
            }
            let taken = take(server, call, key, self.side, self.count);
            let name = match self.side {
                Side::Lowest => "ZPOPMIN",
                Side::Highest => "ZPOPMAX",
            };
            let words = [word(name), key.clone(), number(taken.len() as u64)];
            server.propagate(call, &words);
            reply.array(2);
            reply.bulk(key);
            reply.array(taken.len());
            show(reply, &taken, true);
            return Ok(true);
        }
        Ok(false)
    }
}

fn pop_from_many(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let wanted = ManyKeys::parse(&call.words[1..])?;
    if !wanted.take(server, call, reply)? {
        reply.null_array();
    }
    Ok(())
}

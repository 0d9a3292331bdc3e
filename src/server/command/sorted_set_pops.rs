//! Taking the members with the lowest or the highest scores.

use super::args::{Failure, NOT_POSITIVE, SYNTAX, not_negative, number, word};
use super::elements::bulk;
use super::pops::{POPPED, PopMany, numbered, pop_many};
use super::strings::finish;
use crate::front::{Call, CommandSpec, Handler, KeySpec, Reply, category, flag};
use crate::resp::{Protocol, Word};
use crate::server::keyspace::{Element, Key, SortedSet};
use crate::server::{NotifyClasses, Server};

type Spec = CommandSpec<Server>;

/// The commands of this file.
pub(super) fn commands() -> Vec<Spec> {
    let pop = |name, handler: Handler<Server>, summary| {
        Spec::new(name, -2, handler)
            .flags(flag::WRITE | flag::FAST)
            .acl(category::SORTEDSET)
            .keys([KeySpec::one(1, POPPED)])
            .doc("5.0.0", "sorted-set", PER_MEMBER, summary)
    };
    vec![
        pop(
            "zpopmin",
            |s, c, r| finish(pop_from(s, c, r, Side::Lowest), r),
            "Remove and return members with the lowest scores in a sorted set",
        ),
        pop(
            "zpopmax",
            |s, c, r| finish(pop_from(s, c, r, Side::Highest), r),
            "Remove and return members with the highest scores in a sorted set",
        ),
        Spec::new("zmpop", -4, |s, c, r| {
            finish(pop_many::<SortedSet>(s, c, r), r);
        })
        .flags(flag::WRITE | flag::MOVABLE_KEYS)
        .acl(category::SORTEDSET)
        .keys(numbered(1))
        .doc(
            "7.0.0",
            "sorted-set",
            PER_KEY_AND_MEMBER,
            "Remove and return members with scores in a sorted set",
        ),
    ]
}

/// How long one takes, in the words of the documentation.
const PER_MEMBER: &str = "O(log(N)*M) with N being the number of elements in the sorted set, and M being the number of elements popped.";
pub(super) const PER_KEY_AND_MEMBER: &str = "O(K) + O(M*log(N)) where K is the number of provided keys, N being the number of elements in the sorted set, and M being the number of elements popped.";

/// From which side members are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// The lowest scores first.
    Lowest,
    /// The highest scores first.
    Highest,
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

fn pop_from(
    server: &mut Server,
    call: &Call<'_>,
    reply: &mut Reply,
    side: Side,
) -> Result<(), Failure> {
    let key = &call.words[1];
    let wanted = match &call.words[2..] {
        [] => None,
        [text] => {
            let count = not_negative(text, NOT_POSITIVE)?;
            Some(usize::try_from(count).unwrap_or(usize::MAX))
        }
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

impl Side {
    /// The plain command that pops from here.
    pub(super) fn pop_word(self) -> Word<'static> {
        word(match self {
            Side::Lowest => "ZPOPMIN",
            Side::Highest => "ZPOPMAX",
        })
    }
}

impl PopMany for SortedSet {
    type Side = Side;

    fn side(word: &[u8]) -> Result<Side, Failure> {
        match word {
            _ if word.eq_ignore_ascii_case(b"min") => Ok(Side::Lowest),
            _ if word.eq_ignore_ascii_case(b"max") => Ok(Side::Highest),
            _ => Err(SYNTAX.into()),
        }
    }

    fn pop_many(
        server: &mut Server,
        call: &Call<'_>,
        key: &[u8],
        side: Side,
        count: usize,
        reply: &mut Reply,
    ) -> Result<bool, Failure> {
        if server.lookup::<SortedSet>(call, key)?.is_none() {
            return Ok(false);
        }
        let taken = take(server, call, key, side, count);
        let words = [side.pop_word(), key.into(), number(taken.len() as u64)];
        server.propagate(call, &words);
        reply.array(2);
        reply.bulk(key);
        reply.array(taken.len());
        show(reply, &taken, true);
        Ok(true)
    }
}

//! What popping from lists and from sorted sets has in common: the first of several keys that has something, and
//! waiting for it.

use std::ops::Range;

use super::args::{Failure, SYNTAX, integer};
use crate::front::{Begin, Call, Find, KeySpec, Reply, key};
use crate::resp::Word;
use crate::server::Server;
use crate::server::blocking::{Serve, parse_timeout};
use crate::server::keyspace::Kind;

/// What a pop does to its key.
pub(super) const POPPED: u16 = key::RW | key::ACCESS | key::DELETE;

/// Keys behind their number, which is at word `at`.
pub(super) const fn numbered(at: usize) -> [KeySpec; 1] {
    [KeySpec {
        begin: Begin::Index(at),
        find: Find::KeyNum {
            index: 0,
            first: 1,
            step: 1,
        },
        flags: POPPED,
    }]
}

/// A type that `LMPOP` or `ZMPOP` pops from.
pub(super) trait PopMany: Kind {
    /// From where elements are taken.
    type Side: Copy;

    /// The side that a word names.
    fn side(word: &[u8]) -> Result<Self::Side, Failure>;

    /// Pops up to `count` elements of a key and replies; replicas hear a plain pop of as many as there were. False
    /// where there is nothing.
    fn pop_many(
        server: &mut Server,
        call: &Call<'_>,
        key: &[u8],
        side: Self::Side,
        count: usize,
        reply: &mut Reply,
    ) -> Result<bool, Failure>;
}

/// `numkeys key … side [COUNT n]`
struct Asked<S> {
    /// The words that are keys.
    keys: Range<usize>,
    side: S,
    count: usize,
}

/// Reads what is asked for from word `at` on.
fn parse<K: PopMany>(words: &[Word<'_>], at: usize) -> Result<Asked<K::Side>, Failure> {
    let positive = |word: &[u8], error: &'static str| {
        let n = integer(word).ok().and_then(|n| usize::try_from(n).ok());
        n.filter(|n| *n > 0).ok_or(Failure::from(error))
    };
    let keys = positive(&words[at], "ERR numkeys should be greater than 0")?;
    let first = at + 1;
    let behind = first.checked_add(keys).ok_or(SYNTAX)?;
    let side = K::side(words.get(behind).ok_or(SYNTAX)?)?;
    let count = match &words[behind + 1..] {
        [] => 1,
        [name, count, more @ ..] if name.eq_ignore_ascii_case(b"count") => {
            let count = positive(count, "ERR count should be greater than 0")?;
            if !more.is_empty() {
                return Err(SYNTAX.into());
            }
            count
        }
        _ => return Err(SYNTAX.into()),
    };
    Ok(Asked {
        keys: first..behind,
        side,
        count,
    })
}

/// `LMPOP`, `ZMPOP`
pub(super) fn pop_many<K: PopMany>(
    server: &mut Server,
    call: &Call<'_>,
    reply: &mut Reply,
) -> Result<(), Failure> {
    let Asked { keys, side, count } = parse::<K>(call.words, 1)?;
    for key in &call.words[keys] {
        if K::pop_many(server, call, key, side, count, reply)? {
            return Ok(());
        }
    }
    reply.null_array();
    Ok(())
}

/// `BLMPOP`, `BZMPOP`
pub(super) fn pop_many_or_wait<K: PopMany>(
    server: &mut Server,
    call: &Call<'_>,
    reply: &mut Reply,
) -> Result<(), Failure> {
    // In this order, as in redis-server: of several mistakes the first one is named.
    let keys = parse::<K>(call.words, 2)?.keys;
    let until = parse_timeout(call, &call.words[1])?;
    let serve: Serve = |server, call, key, reply| {
        let Asked { side, count, .. } = parse::<K>(call.words, 2)?;
        K::pop_many(server, call, key, side, count, reply)
    };
    if !server.serve_or_wait::<K>(call, keys, until, serve, reply)? {
        reply.null_array();
    }
    Ok(())
}

/// `BLPOP`, `BZPOPMIN` and the like: keys, then the timeout.
pub(super) fn pop_or_wait<K: Kind>(
    server: &mut Server,
    call: &Call<'_>,
    reply: &mut Reply,
    serve: Serve,
) -> Result<(), Failure> {
    let last = call.words.len() - 1;
    let until = parse_timeout(call, &call.words[last])?;
    if !server.serve_or_wait::<K>(call, 1..last, until, serve, reply)? {
        reply.null_array();
    }
    Ok(())
}

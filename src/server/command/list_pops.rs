//! What takes elements away at the ends of lists and hands them out or moves them, at once or by waiting.

use bytes::Bytes;

use super::args::{Failure, SYNTAX, integer, number, option, word};
use super::elements::bulk;
use super::lists::events;
use super::strings::finish;
use crate::clock::Mono;
use crate::front::{Begin, Call, CommandSpec, Find, KeySpec, Reply, category, flag, key};
use crate::server::blocking::{Serve, parse_timeout};
use crate::server::keyspace::{End, List};
use crate::server::{NotifyClasses, Server};

type Spec = CommandSpec<Server>;

const POPPED: u16 = key::RW | key::ACCESS | key::DELETE;
const MOVED: &[KeySpec] = &[
    KeySpec::one(1, POPPED),
    KeySpec::one(2, key::RW | key::INSERT),
];
const BLOCKING: u32 = flag::WRITE | flag::NOSCRIPT | flag::BLOCKING;

/// Keys behind their number, which is at word `at`.
const fn numbered(at: usize) -> [KeySpec; 1] {
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

/// The commands of this file.
pub(super) fn commands() -> Vec<Spec> {
    let per_key_and_element =
        "O(N+M) where N is the number of provided keys and M is the number of elements returned.";
    vec![
        Spec::new("lpop", -2, |s, c, r| finish(pop(s, c, r, End::Left), r))
            .flags(flag::WRITE | flag::FAST)
            .acl(category::LIST)
            .keys([KeySpec::one(1, POPPED)])
            .doc(
                "1.0.0",
                "list",
                "O(N) where N is the number of elements returned",
                "Remove and get the first elements in a list",
            ),
        Spec::new("rpop", -2, |s, c, r| finish(pop(s, c, r, End::Right), r))
            .flags(flag::WRITE | flag::FAST)
            .acl(category::LIST)
            .keys([KeySpec::one(1, POPPED)])
            .doc(
                "1.0.0",
                "list",
                "O(N) where N is the number of elements returned",
                "Remove and get the last elements in a list",
            ),
        Spec::new("lmpop", -4, |s, c, r| finish(lmpop(s, c, r), r))
            .flags(flag::WRITE | flag::MOVABLE_KEYS)
            .acl(category::LIST)
            .keys(numbered(1))
            .doc("7.0.0", "list", per_key_and_element, "Pop elements from a list"),
        Spec::new("lmove", 5, |s, c, r| finish(lmove(s, c, r), r))
            .flags(flag::WRITE | flag::DENYOOM)
            .acl(category::LIST)
            .keys(MOVED)
            .doc(
                "6.2.0",
                "list",
                "O(1)",
                "Pop an element from a list, push it to another list and return it",
            ),
        Spec::new("rpoplpush", 3, |s, c, r| finish(lmove(s, c, r), r))
            .flags(flag::WRITE | flag::DENYOOM)
            .acl(category::LIST)
            .keys(MOVED)
            .doc(
                "1.2.0",
                "list",
                "O(1)",
                "Remove the last element in a list, prepend it to another list and return it",
            ),
        Spec::new("blpop", -3, |s, c, r| {
            finish(blocking_pop(s, c, r, |s, c, key, r| serve_pop(s, c, key, r, End::Left)), r);
        })
        .flags(BLOCKING)
        .acl(category::LIST)
        .keys([KeySpec::range(1, -2, 1, POPPED)])
        .doc(
            "2.0.0",
            "list",
            "O(N) where N is the number of provided keys.",
            "Remove and get the first element in a list, or block until one is available",
        ),
        Spec::new("brpop", -3, |s, c, r| {
            finish(blocking_pop(s, c, r, |s, c, key, r| serve_pop(s, c, key, r, End::Right)), r);
        })
        .flags(BLOCKING)
        .acl(category::LIST)
        .keys([KeySpec::range(1, -2, 1, POPPED)])
        .doc(
            "2.0.0",
            "list",
            "O(N) where N is the number of provided keys.",
            "Remove and get the last element in a list, or block until one is available",
        ),
        Spec::new("blmpop", -5, |s, c, r| finish(blmpop(s, c, r), r))
            .flags(flag::WRITE | flag::BLOCKING | flag::MOVABLE_KEYS)
            .acl(category::LIST)
            .keys(numbered(2))
            .doc(
                "7.0.0",
                "list",
                per_key_and_element,
                "Pop elements from a list, or block until one is available",
            ),
        Spec::new("blmove", 6, |s, c, r| finish(blmove(s, c, r), r))
            .flags(BLOCKING | flag::DENYOOM)
            .acl(category::LIST)
            .keys(MOVED)
            .doc(
                "6.2.0",
                "list",
                "O(1)",
                "Pop an element from a list, push it to another list and return it; or block until one is available",
            ),
        Spec::new("brpoplpush", 4, |s, c, r| finish(blmove(s, c, r), r))
            .flags(BLOCKING | flag::DENYOOM)
            .acl(category::LIST)
            .keys(MOVED)
            .doc(
                "2.2.0",
                "list",
                "O(1)",
                "Pop an element from a list, push it to another list and return it; or block until one is available",
            ),
    ]
}

/// Takes up to `count` elements away at an end of a list that was just looked up, and writes each as a bulk
/// string; true if none is left.
fn take_out(
    server: &mut Server,
    call: &Call<'_>,
    key: &Bytes,
    end: End,
    count: usize,
    reply: &mut Reply,
) {
    let is_empty = server.modify(call, key, |list: &mut List| {
        for _ in 0..count {
            list.pop_with(end, |element| bulk(reply, element));
        }
        list.is_empty()
    });
    server.touched(key, NotifyClasses::LIST, events(end).1);
    if is_empty {
        server.drop_if_empty::<List>(call, key);
    }
}

fn pop(server: &mut Server, call: &Call<'_>, reply: &mut Reply, end: End) -> Result<(), Failure> {
    let key = &call.words[1];
    let count = match &call.words[2..] {
        [] => None,
        [count] => {
            let count = integer(count).ok().and_then(|n| usize::try_from(n).ok());
            Some(count.ok_or("ERR value is out of range, must be positive")?)
        }
        _ => return Err(crate::front::arity_error(call.info.name).into()),
    };
    let Some(len) = server.lookup::<List>(call, key)?.map(List::len) else {
        if count.is_some() {
            reply.null_array();
        } else {
            reply.null();
        }
        return Ok(());
    };
    let taken = count.unwrap_or(1).min(len);
    if count.is_some() {
        reply.array(taken);
    }
    if taken == 0 {
        return Ok(());
    }
    take_out(server, call, key, end, taken, reply);
    server.changed_more(taken - 1);
    server.propagate(call, call.words);
    Ok(())
}

/// Which end a word names.
fn end_of(word: &[u8]) -> Result<End, Failure> {
    match option(word).as_slice() {
        b"left" => Ok(End::Left),
        b"right" => Ok(End::Right),
        _ => Err(SYNTAX.into()),
    }
}

fn pop_word(end: End) -> Bytes {
    word(match end {
        End::Left => "LPOP",
        End::Right => "RPOP",
    })
}

/// What `LMPOP` and its kin are asked for: where the keys are, and what stands behind them.
pub(super) struct Numbered {
    /// The words that are keys.
    pub(super) keys: std::ops::Range<usize>,
    /// The word that says from where.
    pub(super) side: Bytes,
    /// How many elements.
    pub(super) count: usize,
}

/// Reads `numkeys key … side [COUNT n]` from word `at` on; `is_side` knows the words that may say the side.
pub(super) fn numbered_keys(
    words: &[Bytes],
    at: usize,
    is_side: impl Fn(&[u8]) -> bool,
) -> Result<Numbered, Failure> {
    let positive = |word: &Bytes| {
        let n = integer(word).ok().filter(|n| *n > 0);
        n.and_then(|n| usize::try_from(n).ok())
    };
    let keys = positive(&words[at]).ok_or("ERR numkeys should be greater than 0")?;
    let first = at + 1;
    let behind = first
        .checked_add(keys)
        .filter(|behind| *behind < words.len());
    let behind = behind.ok_or(SYNTAX)?;
    let side = words[behind].clone();
    if !is_side(&side) {
        return Err(SYNTAX.into());
    }
    let count = match &words[behind + 1..] {
        [] => 1,
        [name, count] if name.eq_ignore_ascii_case(b"count") => {
            positive(count).ok_or("ERR count should be greater than 0")?
        }
        _ => return Err(SYNTAX.into()),
    };
    Ok(Numbered {
        keys: first..behind,
        side,
        count,
    })
}

fn ends(word: &[u8]) -> bool {
    end_of(word).is_ok()
}

fn lmpop(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let asked = numbered_keys(call.words, 1, ends)?;
    for key in &call.words[asked.keys.clone()] {
        if serve_mpop_of(server, call, key, reply, &asked)? {
            return Ok(());
        }
    }
    reply.null_array();
    Ok(())
}

fn blmpop(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let until = parse_timeout(call, &call.words[1])?;
    let asked = numbered_keys(call.words, 2, ends)?;
    wait(
        server,
        call,
        asked.keys,
        until,
        serve_mpop,
        reply,
        Reply::null_array,
    )
}

/// Serves a list command or lets its client wait; where it may not, `nothing` is the reply.
fn wait(
    server: &mut Server,
    call: &Call<'_>,
    keys: std::ops::Range<usize>,
    until: Mono,
    serve: Serve,
    reply: &mut Reply,
    nothing: fn(&mut Reply),
) -> Result<(), Failure> {
    if !server.serve_or_wait::<List>(call, keys, until, serve, reply)? {
        nothing(reply);
    }
    Ok(())
}

fn serve_mpop(
    server: &mut Server,
    call: &Call<'_>,
    key: &Bytes,
    reply: &mut Reply,
) -> Result<bool, Failure> {
    let asked = numbered_keys(call.words, 2, ends)?;
    serve_mpop_of(server, call, key, reply, &asked)
}

/// Pops some elements of a list; replicas hear a plain pop of as many as there were.
fn serve_mpop_of(
    server: &mut Server,
    call: &Call<'_>,
    key: &Bytes,
    reply: &mut Reply,
    asked: &Numbered,
) -> Result<bool, Failure> {
    let end = end_of(&asked.side)?;
    let Some(len) = server.lookup::<List>(call, key)?.map(List::len) else {
        return Ok(false);
    };
    let taken = asked.count.min(len);
    reply.array(2);
    reply.bulk(key);
    reply.array(taken);
    take_out(server, call, key, end, taken, reply);
    server.changed_more(taken - 1);
    server.propagate(call, &[pop_word(end), key.clone(), number(taken as u64)]);
    Ok(true)
}

fn blocking_pop(
    server: &mut Server,
    call: &Call<'_>,
    reply: &mut Reply,
    serve: Serve,
) -> Result<(), Failure> {
    let last = call.words.len() - 1;
    let until = parse_timeout(call, &call.words[last])?;
    wait(
        server,
        call,
        1..last,
        until,
        serve,
        reply,
        Reply::null_array,
    )
}

fn serve_pop(
    server: &mut Server,
    call: &Call<'_>,
    key: &Bytes,
    reply: &mut Reply,
    end: End,
) -> Result<bool, Failure> {
    if server.lookup::<List>(call, key)?.is_none() {
        return Ok(false);
    }
    reply.array(2);
    reply.bulk(key);
    take_out(server, call, key, end, 1, reply);
    server.propagate(call, &[pop_word(end), key.clone()]);
    Ok(true)
}

/// From which end to which `LMOVE`, `RPOPLPUSH` and their blocking forms move.
fn move_ends(call: &Call<'_>) -> Result<(End, End), Failure> {
    if matches!(call.info.name, "lmove" | "blmove") {
        Ok((end_of(&call.words[3])?, end_of(&call.words[4])?))
    } else {
        Ok((End::Right, End::Left))
    }
}

fn lmove(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    move_ends(call)?;
    if !serve_move(server, call, &call.words[1], reply)? {
        reply.null();
    }
    Ok(())
}

fn blmove(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    move_ends(call)?;
    let last = call.words.len() - 1;
    let until = parse_timeout(call, &call.words[last])?;
    wait(server, call, 1..2, until, serve_move, reply, Reply::null)
}

fn serve_move(
    server: &mut Server,
    call: &Call<'_>,
    from: &Bytes,
    reply: &mut Reply,
) -> Result<bool, Failure> {
    let (pop_end, push_end) = move_ends(call)?;
    let to = &call.words[2];
    if server.lookup::<List>(call, from)?.is_none() {
        return Ok(false);
    }
    server.lookup::<List>(call, to)?;
    let limit = server.thresholds().list_node;
    let popped = server.modify(call, from, |list: &mut List| list.pop(pop_end));
    let element = popped.expect("no stored list is empty");
    server.modify(call, to, |list: &mut List| {
        list.push(push_end, &element, limit)
    });
    server.touched(to, NotifyClasses::LIST, events(push_end).0);
    server.touched(from, NotifyClasses::LIST, events(pop_end).1);
    server.drop_if_empty::<List>(call, from);
    let name = if call.words.len() > 4 {
        "LMOVE"
    } else {
        "RPOPLPUSH"
    };
    match call.info.name {
        "lmove" | "rpoplpush" => server.propagate(call, call.words),
        _ => {
            let mut words = call.words[..call.words.len() - 1].to_vec();
            words[0] = word(name);
            server.propagate(call, &words);
        }
    }
    reply.bulk(&element);
    Ok(true)
}

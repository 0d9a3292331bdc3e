//! What takes elements away at the ends of lists and hands them out or moves them, at once or by waiting.

use bytes::Bytes;

use super::args::{Failure, NOT_POSITIVE, SYNTAX, not_negative, number, option, word};
use super::elements::bulk;
use super::lists::events;
use super::pops::{POPPED, PopMany, numbered, pop_many, pop_many_or_wait, pop_or_wait};
use super::strings::finish;
use crate::front::{Call, CommandSpec, Handler, KeySpec, Reply, category, flag, key};
use crate::resp::Word;
use crate::server::blocking::parse_timeout;
use crate::server::keyspace::{End, List};
use crate::server::{NotifyClasses, Server};

type Spec = CommandSpec<Server>;

const MOVED: &[KeySpec] = &[
    KeySpec::one(1, POPPED),
    KeySpec::one(2, key::RW | key::INSERT),
];
const BLOCKING: u32 = flag::WRITE | flag::NOSCRIPT | flag::BLOCKING;

/// The commands of this file.
pub(super) fn commands() -> Vec<Spec> {
    let per_key_and_element =
        "O(N+M) where N is the number of provided keys and M is the number of elements returned.";
    let pop = |name, handler: Handler<Server>, summary| {
        Spec::new(name, -2, handler)
            .flags(flag::WRITE | flag::FAST)
            .acl(category::LIST)
            .keys([KeySpec::one(1, POPPED)])
            .doc(
                "1.0.0",
                "list",
                "O(N) where N is the number of elements returned",
                summary,
            )
    };
    let blocking_pop = |name, handler: Handler<Server>, summary| {
        Spec::new(name, -3, handler)
            .flags(BLOCKING)
            .acl(category::LIST)
            .keys([KeySpec::range(1, -2, 1, POPPED)])
            .doc(
                "2.0.0",
                "list",
                "O(N) where N is the number of provided keys.",
                summary,
            )
    };
    let moving = |name, arity, flags, since, handler: Handler<Server>, summary| {
        Spec::new(name, arity, handler)
            .flags(flag::DENYOOM | flags)
            .acl(category::LIST)
            .keys(MOVED)
            .doc(since, "list", "O(1)", summary)
    };
    let moving_or_waiting = "Pop an element from a list, push it to another list and return it; or block until one is available";
    vec![
        pop(
            "lpop",
            |s, c, r| finish(pop_from(s, c, r, End::Left), r),
            "Remove and get the first elements in a list",
        ),
        pop(
            "rpop",
            |s, c, r| finish(pop_from(s, c, r, End::Right), r),
            "Remove and get the last elements in a list",
        ),
        Spec::new("lmpop", -4, |s, c, r| finish(pop_many::<List>(s, c, r), r))
            .flags(flag::WRITE | flag::MOVABLE_KEYS)
            .acl(category::LIST)
            .keys(numbered(1))
            .doc(
                "7.0.0",
                "list",
                per_key_and_element,
                "Pop elements from a list",
            ),
        moving(
            "lmove",
            5,
            flag::WRITE,
            "6.2.0",
            |s, c, r| finish(lmove(s, c, r), r),
            "Pop an element from a list, push it to another list and return it",
        ),
        moving(
            "rpoplpush",
            3,
            flag::WRITE,
            "1.2.0",
            |s, c, r| finish(lmove(s, c, r), r),
            "Remove the last element in a list, prepend it to another list and return it",
        ),
        blocking_pop(
            "blpop",
            |s, c, r| {
                finish(
                    pop_or_wait::<List>(s, c, r, |s, c, key, r| serve_pop(s, c, key, r, End::Left)),
                    r,
                );
            },
            "Remove and get the first element in a list, or block until one is available",
        ),
        blocking_pop(
            "brpop",
            |s, c, r| {
                finish(
                    pop_or_wait::<List>(s, c, r, |s, c, key, r| {
                        serve_pop(s, c, key, r, End::Right)
                    }),
                    r,
                );
            },
            "Remove and get the last element in a list, or block until one is available",
        ),
        Spec::new("blmpop", -5, |s, c, r| {
            finish(pop_many_or_wait::<List>(s, c, r), r)
        })
        .flags(flag::WRITE | flag::BLOCKING | flag::MOVABLE_KEYS)
        .acl(category::LIST)
        .keys(numbered(2))
        .doc(
            "7.0.0",
            "list",
            per_key_and_element,
            "Pop elements from a list, or block until one is available",
        ),
        moving(
            "blmove",
            6,
            BLOCKING,
            "6.2.0",
            |s, c, r| finish(blmove(s, c, r), r),
            moving_or_waiting,
        ),
        moving(
            "brpoplpush",
            4,
            BLOCKING,
            "2.2.0",
            |s, c, r| finish(blmove(s, c, r), r),
            moving_or_waiting,
        ),
    ]
}

/// Takes up to `count` elements away at an end of a list that was just looked up, and writes each as a bulk
/// string; true if none is left.
fn take_out(
    server: &mut Server,
    call: &Call<'_>,
    key: &[u8],
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

fn pop_from(
    server: &mut Server,
    call: &Call<'_>,
    reply: &mut Reply,
    end: End,
) -> Result<(), Failure> {
    let key = &call.words[1];
    let count = match &call.words[2..] {
        [] => None,
        [count] => {
            let count = not_negative(count, NOT_POSITIVE)?;
            Some(usize::try_from(count).unwrap_or(usize::MAX))
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

fn pop_word(end: End) -> Word<'static> {
    word(match end {
        End::Left => "LPOP",
        End::Right => "RPOP",
    })
}

impl PopMany for List {
    type Side = End;

    fn side(word: &[u8]) -> Result<End, Failure> {
        end_of(word)
    }

    fn pop_many(
        server: &mut Server,
        call: &Call<'_>,
        key: &[u8],
        end: End,
        count: usize,
        reply: &mut Reply,
    ) -> Result<bool, Failure> {
        let Some(len) = server.lookup::<List>(call, key)?.map(List::len) else {
            return Ok(false);
        };
        let taken = count.min(len);
        reply.array(2);
        reply.bulk(key);
        reply.array(taken);
        take_out(server, call, key, end, taken, reply);
        server.changed_more(taken - 1);
        server.propagate(call, &[pop_word(end), key.into(), number(taken as u64)]);
        Ok(true)
    }
}

/// Serves a call by what `work` does. As in redis-server, what goes from who pushes it right on to who has waited
/// counts once, as pushed.
fn serve<R>(server: &mut Server, call: &Call<'_>, work: impl FnOnce(&mut Server) -> R) -> R {
    if server.has_waited(call) {
        server.uncounted(work)
    } else {
        work(server)
    }
}

fn serve_pop(
    server: &mut Server,
    call: &Call<'_>,
    key: &[u8],
    reply: &mut Reply,
    end: End,
) -> Result<bool, Failure> {
    if server.lookup::<List>(call, key)?.is_none() {
        return Ok(false);
    }
    reply.array(2);
    reply.bulk(key);
    serve(server, call, |server| {
        take_out(server, call, key, end, 1, reply);
    });
    server.propagate(call, &[pop_word(end), key.into()]);
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
    if !server.serve_or_wait::<List>(call, 1..2, until, serve_move, reply)? {
        reply.null();
    }
    Ok(())
}

fn serve_move(
    server: &mut Server,
    call: &Call<'_>,
    from: &[u8],
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
    serve(server, call, |server| {
        server.touched(to, NotifyClasses::LIST, events(push_end).0);
    });
    // Both lists have changed, which counts once.
    server.touch(server.db(), from);
    server.notify_here(NotifyClasses::LIST, events(pop_end).1, from);
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
            if server.has_waited(call) {
                // As in redis-server, however they were typed.
                for side in &mut words[3..] {
                    *side = Bytes::from(side.to_ascii_lowercase()).into();
                }
            }
            server.propagate(call, &words);
        }
    }
    reply.bulk(&element);
    Ok(true)
}

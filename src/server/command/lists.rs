//! Lists: pushing, reading and changing. What takes elements away at the ends is in `list_pops`.

use super::args::{Failure, NO_SUCH_KEY, SYNTAX, integer, option};
use super::elements::bulk;
use super::strings::finish;
use crate::front::{Call, CommandSpec, Handler, KeySpec, Reply, category, flag, key};
use crate::resp::Word;
use crate::server::keyspace::{Element, End, LISTPACK_BYTES_MAX, List, Sought};
use crate::server::{NotifyClasses, Server};

type Spec = CommandSpec<Server>;

/// The longest element of a list. Bytes. A node of one such element is still a valid listpack.
const ELEMENT_BYTES_MAX: usize = LISTPACK_BYTES_MAX - 1024;

const PUSH: u32 = flag::WRITE | flag::DENYOOM | flag::FAST;
const KEY_INSERT: &[KeySpec] = &[KeySpec::one(1, key::RW | key::INSERT)];
const KEY_DELETE: &[KeySpec] = &[KeySpec::one(1, key::RW | key::DELETE)];
const KEY_READ: &[KeySpec] = &[KeySpec::one(1, key::RO | key::ACCESS)];

/// The commands of this file.
pub(super) fn commands() -> Vec<Spec> {
    let per_element = "O(1) for each element added, so O(N) to add N elements when the command is called with multiple arguments.";
    let push = |name, since, handler: Handler<Server>, summary| {
        Spec::new(name, -3, handler)
            .flags(PUSH)
            .acl(category::LIST)
            .keys(KEY_INSERT)
            .doc(since, "list", per_element, summary)
    };
    vec![
        push(
            "lpush",
            "1.0.0",
            |s, c, r| finish(push_to(s, c, r, End::Left, false), r),
            "Prepend one or multiple elements to a list",
        ),
        push(
            "rpush",
            "1.0.0",
            |s, c, r| finish(push_to(s, c, r, End::Right, false), r),
            "Append one or multiple elements to a list",
        ),
        push(
            "lpushx",
            "2.2.0",
            |s, c, r| finish(push_to(s, c, r, End::Left, true), r),
            "Prepend an element to a list, only if the list exists",
        ),
        push(
            "rpushx",
            "2.2.0",
            |s, c, r| finish(push_to(s, c, r, End::Right, true), r),
            "Append an element to a list, only if the list exists",
        ),
        Spec::new("llen", 2, |s, c, r| finish(llen(s, c, r), r))
            .flags(flag::READONLY | flag::FAST)
            .acl(category::LIST)
            .keys([KeySpec::one(1, key::RO)])
            .doc("1.0.0", "list", "O(1)", "Get the length of a list"),
        Spec::new("lindex", 3, |s, c, r| finish(lindex(s, c, r), r))
            .flags(flag::READONLY)
            .acl(category::LIST)
            .keys(KEY_READ)
            .doc(
                "1.0.0",
                "list",
                "O(N) where N is the number of elements to traverse to get to the element at index. This makes asking for the first or the last element of the list O(1).",
                "Get an element from a list by its index",
            ),
        Spec::new("lset", 4, |s, c, r| finish(lset(s, c, r), r))
            .flags(flag::WRITE | flag::DENYOOM)
            .acl(category::LIST)
            .keys([KeySpec::one(1, key::RW | key::UPDATE)])
            .doc(
                "1.0.0",
                "list",
                "O(N) where N is the length of the list. Setting either the first or the last element of the list is O(1).",
                "Set the value of an element in a list by its index",
            ),
        Spec::new("lrange", 4, |s, c, r| finish(lrange(s, c, r), r))
            .flags(flag::READONLY)
            .acl(category::LIST)
            .keys(KEY_READ)
            .doc(
                "1.0.0",
                "list",
                "O(S+N) where S is the distance of start offset from HEAD for small lists, from nearest end (HEAD or TAIL) for large lists; and N is the number of elements in the specified range.",
                "Get a range of elements from a list",
            ),
        Spec::new("ltrim", 4, |s, c, r| finish(ltrim(s, c, r), r))
            .flags(flag::WRITE)
            .acl(category::LIST)
            .keys(KEY_DELETE)
            .doc(
                "1.0.0",
                "list",
                "O(N) where N is the number of elements to be removed by the operation.",
                "Trim a list to the specified range",
            ),
        Spec::new("lrem", 4, |s, c, r| finish(lrem(s, c, r), r))
            .flags(flag::WRITE)
            .acl(category::LIST)
            .keys(KEY_DELETE)
            .doc(
                "1.0.0",
                "list",
                "O(N+M) where N is the length of the list and M is the number of elements removed.",
                "Remove elements from a list",
            ),
        Spec::new("linsert", 5, |s, c, r| finish(linsert(s, c, r), r))
            .flags(flag::WRITE | flag::DENYOOM)
            .acl(category::LIST)
            .keys(KEY_INSERT)
            .doc(
                "2.2.0",
                "list",
                "O(N) where N is the number of elements to traverse before seeing the value pivot. This means that inserting somewhere on the left end on the list (head) can be considered O(1) and inserting somewhere on the right end (tail) is O(N).",
                "Insert an element before or after another element in a list",
            ),
        Spec::new("lpos", -3, |s, c, r| finish(lpos(s, c, r), r))
            .flags(flag::READONLY)
            .acl(category::LIST)
            .keys(KEY_READ)
            .doc(
                "6.0.6",
                "list",
                "O(N) where N is the number of elements in the list, for the average case. When searching for elements near the head or the tail of the list, or when the MAXLEN option is provided, the command may run in constant time.",
                "Return the index of matching elements on a list",
            ),
    ]
}

/// The events of pushing and popping at an end.
pub(super) fn events(end: End) -> (&'static str, &'static str) {
    match end {
        End::Left => ("lpush", "lpop"),
        End::Right => ("rpush", "rpop"),
    }
}

/// Refuses elements that no node can hold.
fn check_elements(elements: &[Word<'_>]) -> Result<(), Failure> {
    elements
        .iter()
        .try_for_each(|element| check_element(element))
}

/// Refuses an element that no node can hold.
pub(super) fn check_element(element: &[u8]) -> Result<(), Failure> {
    if element.len() > ELEMENT_BYTES_MAX {
        return Err("ERR Element too large".into());
    }
    Ok(())
}

fn push_to(
    server: &mut Server,
    call: &Call<'_>,
    reply: &mut Reply,
    end: End,
    must_exist: bool,
) -> Result<(), Failure> {
    let (key, elements) = (&call.words[1], &call.words[2..]);
    check_elements(elements)?;
    if must_exist && server.lookup::<List>(call, key)?.is_none() {
        reply.integer(0);
        return Ok(());
    }
    let limit = server.thresholds().list_node;
    let push = |list: &mut List| {
        for element in elements {
            list.push(end, element, limit);
        }
        list.len()
    };
    let len = if must_exist {
        server.modify(call, key, push)
    } else {
        server.update(call, key, push)?
    };
    server.touched(key, NotifyClasses::LIST, events(end).0);
    server.changed_more(elements.len() - 1);
    server.propagate(call, call.words);
    reply.count(len);
    Ok(())
}

fn llen(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let list = server.read::<List>(call, &call.words[1])?;
    reply.count(list.map_or(0, List::len));
    Ok(())
}

/// The place that an index means, negative from the end; `None` outside of the list.
fn place(index: i64, len: usize) -> Option<usize> {
    let distance = usize::try_from(index.unsigned_abs()).ok()?;
    let place = if index < 0 {
        len.checked_sub(distance)?
    } else {
        distance
    };
    (place < len).then_some(place)
}

/// The places from `start` to `end`, both included, as far as there are such.
pub(super) fn range(start: i64, end: i64, len: usize) -> std::ops::Range<usize> {
    let signed = i64::try_from(len).expect("a length fits 63 bits");
    let place = |n: i64| if n < 0 { n.saturating_add(signed) } else { n };
    let (start, end) = (place(start).max(0), place(end).min(signed - 1));
    match (usize::try_from(start), usize::try_from(end)) {
        (Ok(start), Ok(end)) if start <= end => start..end + 1,
        _ => 0..0,
    }
}

fn lindex(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let Some(list) = server.read::<List>(call, &call.words[1])? else {
        reply.null();
        return Ok(());
    };
    let index = integer(&call.words[2])?;
    match place(index, list.len()).and_then(|at| list.get(at)) {
        Some(element) => bulk(reply, element),
        None => reply.null(),
    }
    Ok(())
}

fn lset(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let key = &call.words[1];
    let Some(list) = server.lookup::<List>(call, key)? else {
        return Err(NO_SUCH_KEY.into());
    };
    let len = list.len();
    let index = integer(&call.words[2])?;
    let at = place(index, len).ok_or("ERR index out of range")?;
    check_elements(&call.words[3..])?;
    let limit = server.thresholds().list_node;
    server.modify(call, key, |list: &mut List| {
        list.set(at, &call.words[3], limit)
    });
    server.touched(key, NotifyClasses::LIST, "lset");
    server.propagate(call, call.words);
    reply.ok();
    Ok(())
}

fn lrange(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let (start, end) = (integer(&call.words[2])?, integer(&call.words[3])?);
    let Some(list) = server.read::<List>(call, &call.words[1])? else {
        reply.array(0);
        return Ok(());
    };
    let range = range(start, end, list.len());
    reply.array(range.len());
    for element in list.iter_from(range.start).take(range.len()) {
        bulk(reply, element);
    }
    Ok(())
}

fn ltrim(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let key = &call.words[1];
    let (start, end) = (integer(&call.words[2])?, integer(&call.words[3])?);
    let Some(len) = server.lookup::<List>(call, key)?.map(List::len) else {
        reply.ok();
        return Ok(());
    };
    let range = range(start, end, len);
    server.modify(call, key, |list: &mut List| {
        list.remove(range.end, len - range.end);
        list.remove(0, range.start);
    });
    let removed = len - range.len();
    server.touch(server.db(), key);
    server.notify_here(NotifyClasses::LIST, "ltrim", key);
    server.changed_more(removed);
    server.drop_if_empty::<List>(call, key);
    if removed > 0 {
        server.propagate(call, call.words);
    }
    reply.ok();
    Ok(())
}

fn lrem(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let (key, element) = (&call.words[1], &call.words[3]);
    let count = integer(&call.words[2])?;
    if server.lookup::<List>(call, key)?.is_none() {
        reply.integer(0);
        return Ok(());
    }
    let end = if count < 0 { End::Right } else { End::Left };
    let max = match count.unsigned_abs() {
        0 => usize::MAX,
        max => usize::try_from(max).unwrap_or(usize::MAX),
    };
    let removed = server.modify(call, key, |list: &mut List| {
        list.remove_equal(element, max, end)
    });
    if removed > 0 {
        server.touched(key, NotifyClasses::LIST, "lrem");
        server.changed_more(removed - 1);
        server.drop_if_empty::<List>(call, key);
        server.propagate(call, call.words);
    }
    reply.count(removed);
    Ok(())
}

fn linsert(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let (key, pivot, element) = (&call.words[1], &call.words[3], &call.words[4]);
    let behind = match option(&call.words[2]).as_slice() {
        b"before" => 0,
        b"after" => 1,
        _ => return Err(SYNTAX.into()),
    };
    let Some(list) = server.lookup::<List>(call, key)? else {
        reply.integer(0);
        return Ok(());
    };
    let sought = Sought::new(pivot);
    let Some(at) = list.iter_from(0).position(|element| sought.is(element)) else {
        reply.integer(-1);
        return Ok(());
    };
    check_elements(&call.words[4..])?;
    let limit = server.thresholds().list_node;
    let len = server.modify(call, key, |list: &mut List| {
        list.insert(at + behind, element, limit);
        list.len()
    });
    server.touched(key, NotifyClasses::LIST, "linsert");
    server.propagate(call, call.words);
    reply.count(len);
    Ok(())
}

/// The options of `LPOS`.
struct Positions {
    /// Report this match first; negative: from the end.
    rank: i64,
    /// How many to report, as an array; `None`: one, alone.
    count: Option<usize>,
    /// How many elements to look at.
    elements_max: usize,
}

fn positions(words: &[Word<'_>]) -> Result<Positions, Failure> {
    let mut positions = Positions {
        rank: 1,
        count: None,
        elements_max: usize::MAX,
    };
    // 0 means all.
    let amount = |word: &[u8], error: &'static str| {
        let n = integer(word).ok().and_then(|n| usize::try_from(n).ok());
        match n {
            Some(0) => Ok(usize::MAX),
            Some(n) => Ok(n),
            None => Err(Failure::from(error)),
        }
    };
    for pair in words.chunks(2) {
        let [name, value] = pair else {
            return Err(SYNTAX.into());
        };
        match option(name).as_slice() {
            b"rank" => match integer(value)? {
                0 => {
                    return Err("ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list".into());
                }
                // It has no positive counterpart, and redis-server then takes the first match.
                i64::MIN => positions.rank = -1,
                rank => positions.rank = rank,
            },
            b"count" => positions.count = Some(amount(value, "ERR COUNT can't be negative")?),
            b"maxlen" => {
                positions.elements_max = amount(value, "ERR MAXLEN can't be negative")?;
            }
            _ => return Err(SYNTAX.into()),
        }
    }
    Ok(positions)
}

fn lpos(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let Positions {
        rank,
        count,
        elements_max,
    } = positions(&call.words[3..])?;
    let sought = Sought::new(&call.words[2]);
    let mut found: Vec<usize> = Vec::new();
    if let Some(list) = server.read::<List>(call, &call.words[1])? {
        let len = list.len();
        let elements: Box<dyn Iterator<Item = Element<'_>>> = if rank > 0 {
            Box::new(list.iter_from(0))
        } else {
            Box::new(list.iter_back_from(len))
        };
        let skipped = usize::try_from(rank.unsigned_abs() - 1).unwrap_or(usize::MAX);
        found = elements
            .take(elements_max)
            .enumerate()
            .filter(|(_, element)| sought.is(*element))
            .map(|(at, _)| if rank > 0 { at } else { len - 1 - at })
            .skip(skipped)
            .take(count.unwrap_or(1))
            .collect();
    }
    if count.is_some() {
        reply.counts_whole();
        reply.array(found.len());
        found.into_iter().for_each(|at| reply.count(at));
    } else {
        match found.first() {
            Some(at) => reply.count(*at),
            None => reply.null(),
        }
    }
    Ok(())
}

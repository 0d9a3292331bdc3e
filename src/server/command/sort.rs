//! `SORT` and `SORT_RO`: the elements of a list, a set or a sorted set in another order, or what keys named
//! after them hold.

use std::cmp::Ordering;
use std::ops::Range;

use super::args::{Failure, SYNTAX, integer, option};
use super::lists::check_element;
use super::partial_sort::sort_range;
use super::strings::finish;
use super::strtod::weight;
use crate::front::{Begin, Call, CommandSpec, Find, KeySpec, Reply, category, flag, key};
use crate::resp::{Word, canonical_integer};
use crate::server::keyspace::{Element, End, Hash, Kind, List, SortedSet, Text, Value};
use crate::server::{NotifyClasses, Server};

type Spec = CommandSpec<Server>;

const ONE: Find = Find::Range {
    last: 0,
    step: 1,
    limit: 0,
};
const SORTED: KeySpec = KeySpec::one(1, key::RO | key::ACCESS);
const NAMED: KeySpec = KeySpec {
    begin: Begin::Unknown,
    find: ONE,
    flags: key::RO | key::ACCESS,
};
const STORED: KeySpec = KeySpec {
    begin: Begin::LastOption {
        word: "STORE",
        from: 2,
        known: &[("limit", 2), ("get", 1), ("by", 1), ("store", 1)],
        is_told: false,
    },
    find: ONE,
    flags: key::OW | key::UPDATE,
};

/// The commands of this file.
pub(super) fn commands() -> Vec<Spec> {
    let complexity = "O(N+M*log(M)) where N is the number of elements in the list or set to sort, and M the number of returned elements. When the elements are not sorted, complexity is O(N).";
    let categories = category::SET | category::SORTEDSET | category::LIST | category::DANGEROUS;
    vec![
        Spec::new("sort", -2, |s, c, r| finish(sort(s, c, r, true), r))
            .flags(flag::WRITE | flag::DENYOOM | flag::MOVABLE_KEYS)
            .acl(categories)
            .keys([SORTED, NAMED, STORED])
            .doc(
                "1.0.0",
                "generic",
                complexity,
                "Sort the elements in a list, set or sorted set",
            ),
        Spec::new("sort_ro", -2, |s, c, r| finish(sort(s, c, r, false), r))
            .flags(flag::READONLY | flag::MOVABLE_KEYS)
            .acl(categories)
            .keys([SORTED, NAMED])
            .doc(
                "7.0.0",
                "generic",
                complexity,
                "Sort the elements in a list, set or sorted set. Read-only variant of SORT.",
            ),
    ]
}

/// What is asked for.
#[derive(Default)]
struct Options<'a> {
    descending: bool,
    alpha: bool,
    /// Where to begin and how many to give; negative: all.
    limit: Option<(i64, i64)>,
    /// The names of the keys that hold what to sort by.
    by: Option<Pattern<'a>>,
    /// In the order in which they are: `BY` a name without a `*`.
    unsorted: bool,
    get: Vec<Pattern<'a>>,
    store: Option<&'a Word<'a>>,
}

/// A name with a `*` for the element, and perhaps a field of the hash there.
#[derive(Clone, Copy)]
enum Pattern<'a> {
    /// `#`: the element itself.
    Element,
    /// Without a `*`: nothing.
    Nothing,
    /// What stands before and behind the element, and the field.
    Key(&'a [u8], &'a [u8], Option<&'a [u8]>),
}

impl<'a> Pattern<'a> {
    fn of(word: &'a [u8]) -> Pattern<'a> {
        if word == b"#" {
            return Pattern::Element;
        }
        let Some(star) = memchr::memchr(b'*', word) else {
            return Pattern::Nothing;
        };
        let (before, behind) = (&word[..star], &word[star + 1..]);
        let arrow = behind.windows(2).position(|two| two == b"->");
        // An arrow at the very end belongs to the name.
        match arrow.filter(|at| at + 2 < behind.len()) {
            Some(at) => Pattern::Key(before, &behind[..at], Some(&behind[at + 2..])),
            None => Pattern::Key(before, behind, None),
        }
    }
}

fn options<'a>(server: &Server, call: &Call<'a>, may_store: bool) -> Result<Options<'a>, Failure> {
    let mut options = Options::default();
    let mut rest = call.words[2..].iter();
    while let Some(name) = rest.next() {
        match (option(name).as_slice(), rest.as_slice()) {
            (b"asc", _) => options.descending = false,
            (b"desc", _) => options.descending = true,
            (b"alpha", _) => options.alpha = true,
            (b"limit", [start, count, ..]) => {
                options.limit = Some((integer(start)?, integer(count)?));
                rest.nth(1);
            }
            (b"store", [key, ..]) if may_store => {
                options.store = Some(key);
                rest.next();
            }
            (b"by", [pattern, ..]) => {
                if pattern.contains(&b'*') {
                    check_reads_all(server, call, "BY")?;
                    options.by = Some(Pattern::of(pattern));
                } else {
                    options.unsorted = true;
                }
                rest.next();
            }
            (b"get", [pattern, ..]) => {
                check_reads_all(server, call, "GET")?;
                options.get.push(Pattern::of(pattern));
                rest.next();
            }
            _ => return Err(SYNTAX.into()),
        }
    }
    Ok(options)
}

/// Refuses who may not read every key: which ones a pattern names depends on the data.
fn check_reads_all(server: &Server, call: &Call<'_>, name: &str) -> Result<(), Failure> {
    if server.front.has_all_keys(call) {
        return Ok(());
    }
    Err(format!("ERR {name} option of SORT denied due to insufficient ACL permissions.").into())
}

/// An element with what it is sorted by.
struct Item {
    element: Vec<u8>,
    score: f64,
    text: Option<Vec<u8>>,
}

fn sort(
    server: &mut Server,
    call: &Call<'_>,
    reply: &mut Reply,
    may_store: bool,
) -> Result<(), Failure> {
    let mut options = options(server, call, may_store)?;
    let key = &call.words[1];
    let value = server.read_any(call, key);
    let is_set = matches!(value, Some(Value::Set(_)));
    if matches!(value.and_then(SortedSet::of), Some(SortedSet::Packed(_))) {
        // As in redis-server, which sorts the large form only: it stays.
        server.modify(call, key, SortedSet::make_ranked);
    }
    if is_set && options.unsorted && options.store.is_some() {
        // A set has no order of its own, and replicas must store the same.
        options.unsorted = false;
        options.alpha = true;
        options.by = None;
    }
    let mut chosen = elements(server.stored_any(call, key), &options)?;
    if is_set && options.alpha && options.by.is_some() && options.store.is_some() {
        // Nor have those of its members that compare as equal.
        chosen.sort_unstable_by(|one, two| {
            let numbers = canonical_integer(one).cmp(&canonical_integer(two));
            numbers.then_with(|| one.cmp(two))
        });
    }
    if !options.unsorted {
        let range = limited(options.limit, chosen.len());
        chosen = sorted(server, call, &options, chosen, &range)?;
        chosen.truncate(range.end);
        chosen.drain(..range.start);
    }
    let Some(to) = options.store else {
        reply.array(chosen.len() * options.get.len().max(1));
        for element in &chosen {
            if options.get.is_empty() {
                reply.bulk(element);
            }
            for pattern in &options.get {
                match named(server, call, *pattern, element) {
                    Some(value) => reply.bulk(value),
                    None => reply.null(),
                }
            }
        }
        return Ok(());
    };
    let mut list = List::default();
    let limit = server.thresholds().list_node;
    for element in &chosen {
        if options.get.is_empty() {
            check_element(element)?;
            list.push(End::Right, element, limit);
        }
        for pattern in &options.get {
            let value = named(server, call, *pattern, element).unwrap_or_default();
            check_element(&value)?;
            list.push(End::Right, &value, limit);
        }
    }
    let len = list.len();
    let result = (len > 0).then(|| list.into_value());
    server.store_result(call, to, result, (NotifyClasses::LIST, "sortstore"));
    server.changed_more(len.saturating_sub(1));
    reply.count(len);
    Ok(())
}

/// The elements to be sorted, which are all, or where they are not the chosen ones alone, in the order in which they
/// are; of a list or a sorted set from its end where they are to descend.
fn elements(value: Option<&Value>, options: &Options<'_>) -> Result<Vec<Vec<u8>>, Failure> {
    let Some(value) = value else {
        return Ok(Vec::new());
    };
    let len = value.elements();
    let limit = options.limit.filter(|_| options.unsorted);
    let range = limited(limit, len);
    let (start, count) = (range.start, range.len());
    let is_backwards = options.unsorted && options.descending;
    let member = |(member, _): (Element<'_>, f64)| member.to_vec();
    let all = |elements: &mut dyn Iterator<Item = Vec<u8>>| elements.take(count).collect();
    Ok(match value {
        Value::List(list) if is_backwards => {
            all(&mut list.iter_back_from(len - start).map(Element::to_vec))
        }
        Value::List(list) => all(&mut list.iter_from(start).map(Element::to_vec)),
        Value::SortedSet(set) if is_backwards => {
            all(&mut set.iter_back_from(len - start).map(member))
        }
        Value::SortedSet(set) => all(&mut set.iter_from(start).map(member)),
        Value::Set(set) => all(&mut set.iter().skip(start).map(Element::to_vec)),
        Value::String(_) | Value::Hash(_) => {
            return Err(crate::server::access::WRONG_TYPE.into());
        }
    })
}

/// Which elements a `LIMIT` leaves.
fn limited(limit: Option<(i64, i64)>, len: usize) -> Range<usize> {
    let Some((start, count)) = limit else {
        return 0..len;
    };
    let start = usize::try_from(start.max(0)).map_or(len, |start| start.min(len));
    let count = usize::try_from(count).unwrap_or(len);
    start..start.saturating_add(count).min(len)
}

/// The elements, of which those of the range `wanted` are in their places.
fn sorted(
    server: &mut Server,
    call: &Call<'_>,
    options: &Options<'_>,
    elements: Vec<Vec<u8>>,
    wanted: &Range<usize>,
) -> Result<Vec<Vec<u8>>, Failure> {
    let mut items = Vec::with_capacity(elements.len());
    for element in elements {
        let by = match options.by {
            Some(pattern) => named(server, call, pattern, &element),
            None => None,
        };
        let score = match (options.alpha, options.by, &by) {
            (true, _, _) | (false, Some(_), None) => 0.0,
            (false, None, _) => score(&element)?,
            (false, Some(_), Some(by)) => score(by)?,
        };
        items.push(Item {
            element,
            score,
            text: by,
        });
    }
    let compare = |one: &Item, two: &Item| -> Ordering {
        let order = if !options.alpha {
            let order = one.score.partial_cmp(&two.score);
            let order = order.expect("no score is NaN");
            order.then_with(|| one.element.cmp(&two.element))
        } else if options.by.is_some() {
            one.text.cmp(&two.text)
        } else {
            one.element.cmp(&two.element)
        };
        if options.descending {
            order.reverse()
        } else {
            order
        }
    };
    // Which of the elements that compare as equal come first is seen, and a replica must store the same ones.
    if options.by.is_some() && *wanted != (0..items.len()) {
        sort_range(&mut items, wanted, compare);
    } else {
        items.sort_by(compare);
    }
    Ok(items.into_iter().map(|item| item.element).collect())
}

fn score(text: &[u8]) -> Result<f64, Failure> {
    weight(text).ok_or("ERR One or more scores can't be converted into double".into())
}

/// What the key that a pattern names for an element holds, if it is a string or has the field.
fn named(
    server: &mut Server,
    call: &Call<'_>,
    pattern: Pattern<'_>,
    element: &[u8],
) -> Option<Vec<u8>> {
    match pattern {
        Pattern::Element => Some(element.to_vec()),
        Pattern::Nothing => None,
        Pattern::Key(before, behind, field) => {
            let name = [before, element, behind].concat();
            let value = server.read_any(call, &name)?;
            match field {
                Some(field) => Hash::of(value)?.get(field).map(Element::to_vec),
                None => Text::of(value).map(|text| text.element().to_vec()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::keyspace::{Set, SortedSet, Thresholds};

    #[test]
    fn what_is_not_sorted_is_not_copied_as_a_whole() {
        const LEN: usize = 3000;
        let thresholds = Thresholds::DEFAULT;
        let mut list = List::default();
        let (mut set, mut sorted) = (Set::default(), SortedSet::default());
        let mut all = Vec::new();
        for (n, score) in (0..LEN).zip(0_u32..) {
            let word = format!("element {n:05}").into_bytes();
            list.push(End::Right, &word, thresholds.list_node);
            set.insert(&word, &thresholds);
            sorted.insert(&word, f64::from(score), &thresholds);
            all.push(word);
        }
        let values = [
            list.into_value(),
            Value::SortedSet(Box::new(sorted)),
            set.into_value(),
        ];
        let limits = [
            (0, 10),
            (2990, 20),
            (1500, 7),
            (-3, 5),
            (7, -1),
            (4000, 5),
            (0, 0),
        ];
        for (limit, descending) in limits.into_iter().flat_map(|l| [(l, false), (l, true)]) {
            let mut options = Options {
                descending,
                unsorted: true,
                limit: Some(limit),
                ..Options::default()
            };
            for value in &values {
                let range = limited(options.limit, LEN);
                let found = elements(Some(value), &options).ok().unwrap();
                assert_eq!(found.len(), range.len(), "{limit:?}");
                if matches!(value, Value::Set(_)) {
                    continue;
                }
                let mut want = all.clone();
                if descending {
                    want.reverse();
                }
                assert_eq!(found, want[range], "{limit:?}");
            }
            // A set is the same in either direction, and what is still to be sorted is all there.
            options.unsorted = false;
            for value in &values {
                assert_eq!(elements(Some(value), &options).ok().unwrap().len(), LEN);
            }
        }
    }
}

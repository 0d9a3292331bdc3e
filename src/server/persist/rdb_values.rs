//! Reading the values of RDB: every form in which Redis up to 7.2 has written them.

use std::io::Read;

use super::rdb::{
    QUICKLIST_PACKED, QUICKLIST_PLAIN, TYPE_HASH, TYPE_HASH_LISTPACK, TYPE_HASH_ZIPLIST,
    TYPE_HASH_ZIPMAP, TYPE_LIST, TYPE_LIST_QUICKLIST, TYPE_LIST_QUICKLIST_2, TYPE_LIST_ZIPLIST,
    TYPE_SET, TYPE_SET_INTSET, TYPE_SET_LISTPACK, TYPE_STRING, TYPE_ZSET, TYPE_ZSET_2,
    TYPE_ZSET_LISTPACK, TYPE_ZSET_ZIPLIST,
};
use super::rdb_decode::LoadError;
use super::rdb_reader::Reader;
use super::ziplist::{ziplist, zipmap};
use crate::resp::parse_double;
use crate::server::keyspace::{
    Element, End, Hash, HashBuilder, IntSet, Key, Kind, LISTPACK_BYTES_MAX, List, Listpack, Scored,
    Set, SetBuilder, SortedSet, Text, Thresholds, Value,
};

/// Whether [`read_value`] knows a type.
pub fn is_readable(code: u8) -> bool {
    matches!(
        code,
        TYPE_STRING
            | TYPE_LIST
            | TYPE_SET
            | TYPE_ZSET
            | TYPE_HASH
            | TYPE_ZSET_2
            | TYPE_HASH_ZIPMAP
            | TYPE_LIST_ZIPLIST
            | TYPE_SET_INTSET
            | TYPE_ZSET_ZIPLIST
            | TYPE_HASH_ZIPLIST
            | TYPE_LIST_QUICKLIST
            | TYPE_HASH_LISTPACK
            | TYPE_ZSET_LISTPACK
            | TYPE_LIST_QUICKLIST_2
            | TYPE_SET_LISTPACK
    )
}

/// Reads a value of a readable type; `None` for a collection without elements, which no key may hold.
///
/// # Errors
/// It ends early or is corrupt.
pub fn read_value<R: Read>(
    code: u8,
    reader: &mut Reader<R>,
    thresholds: &Thresholds,
) -> Result<Option<Value>, LoadError> {
    let value = match code {
        TYPE_LIST | TYPE_LIST_ZIPLIST | TYPE_LIST_QUICKLIST | TYPE_LIST_QUICKLIST_2 => {
            kept(list(code, reader, thresholds)?)
        }
        TYPE_SET | TYPE_SET_INTSET | TYPE_SET_LISTPACK => kept(set(code, reader, thresholds)?),
        TYPE_HASH | TYPE_HASH_ZIPMAP | TYPE_HASH_ZIPLIST => {
            kept(hash_of_pairs(code, reader, thresholds)?)
        }
        TYPE_HASH_LISTPACK => kept(hash_of_pack(listpack(reader)?, reader, thresholds)?),
        TYPE_ZSET_LISTPACK => kept(sorted_set_of_pack(listpack(reader)?, reader, thresholds)?),
        TYPE_ZSET | TYPE_ZSET_2 | TYPE_ZSET_ZIPLIST => {
            kept(sorted_set_of_pairs(code, reader, thresholds)?)
        }
        TYPE_STRING => Some(Text::from_vec(reader.string()?).into_value()),
        _ => return Err(reader.corrupt("a value of a type that cannot be read")),
    };
    Ok(value)
}

fn kept<K: Kind>(value: K) -> Option<Value> {
    (!value.has_nothing()).then(|| value.into_value())
}

fn listpack<R: Read>(reader: &mut Reader<R>) -> Result<Listpack, LoadError> {
    Listpack::from_bytes(reader.string()?).map_err(|_| reader.corrupt("a malformed listpack"))
}

/// What the largest setting of `list-max-listpack-size` allows. Longer ziplists do not become a node as they are.
const NODE_BYTES_MAX: usize = 64 * 1024;

fn list<R: Read>(
    code: u8,
    reader: &mut Reader<R>,
    thresholds: &Thresholds,
) -> Result<List, LoadError> {
    let mut list = List::default();
    let nodes = match code {
        TYPE_LIST_ZIPLIST => 1,
        _ => reader.length()?,
    };
    for _ in 0..nodes {
        match code {
            TYPE_LIST => push(&mut list, &reader.string()?, reader, thresholds)?,
            TYPE_LIST_QUICKLIST_2 => match usize::try_from(reader.length()?) {
                Ok(QUICKLIST_PLAIN) => {
                    let element = reader.string()?;
                    // Such a node is for one that is too long for others.
                    if element.is_empty() {
                        return Err(reader.corrupt("a node of a list without an element"));
                    }
                    push(&mut list, &element, reader, thresholds)?;
                }
                Ok(QUICKLIST_PACKED) => list.push_node(listpack(reader)?),
                _ => return Err(reader.corrupt("an unknown kind of list node")),
            },
            _ => {
                let bytes = reader.string()?;
                let elements = elements(&bytes, reader)?;
                if code == TYPE_LIST_QUICKLIST && bytes.len() <= NODE_BYTES_MAX {
                    list.push_node(packed(elements, &bytes, reader)?);
                    continue;
                }
                for element in elements {
                    let mut digits = itoa::Buffer::new();
                    push(&mut list, element.bytes(&mut digits), reader, thresholds)?;
                }
            }
        }
    }
    Ok(list)
}

fn push<R: Read>(
    list: &mut List,
    element: &[u8],
    reader: &Reader<R>,
    thresholds: &Thresholds,
) -> Result<(), LoadError> {
    /// What a node adds to its only element.
    const MARGIN_BYTES: usize = 64;
    if element.len() > LISTPACK_BYTES_MAX - MARGIN_BYTES {
        return Err(reader.corrupt("a list element longer than this server takes"));
    }
    list.push(End::Right, element, thresholds.list_node);
    Ok(())
}

fn set<R: Read>(
    code: u8,
    reader: &mut Reader<R>,
    thresholds: &Thresholds,
) -> Result<Set, LoadError> {
    if code == TYPE_SET_INTSET {
        let integers = IntSet::from_bytes(reader.string()?)
            .map_err(|_| reader.corrupt("a malformed intset"))?;
        let is_small = integers.len() <= thresholds.intset_entries;
        let mut set = Set::Integers(integers);
        if !is_small {
            set.make_table();
        }
        return Ok(set);
    }
    let mut set;
    if code == TYPE_SET_LISTPACK {
        let pack = listpack(reader)?;
        set = SetBuilder::new(pack.len(), thresholds);
        pack.iter()
            .for_each(|member| set.push(member.bytes(&mut itoa::Buffer::new())));
    } else {
        let len = count(reader)?;
        set = SetBuilder::new(len, thresholds);
        let mut member = Vec::new();
        for _ in 0..len {
            reader.string_into(&mut member)?;
            set.push(&member);
        }
    }
    set.finish()
        .ok_or_else(|| reader.corrupt("a set with the same member twice"))
}

/// How many elements follow.
fn count<R: Read>(reader: &mut Reader<R>) -> Result<usize, LoadError> {
    let len = reader.length()?;
    usize::try_from(len).map_err(|_| reader.corrupt("more elements than this server counts"))
}

const FIELD_TWICE: &str = "a hash with the same field twice";

fn hash_of_pack<R: Read>(
    pack: Listpack,
    reader: &Reader<R>,
    thresholds: &Thresholds,
) -> Result<Hash, LoadError> {
    if !pack.len().is_multiple_of(2) {
        return Err(reader.corrupt("a hash with a field without a value"));
    }
    Hash::from_pack(pack, thresholds).ok_or_else(|| reader.corrupt(FIELD_TWICE))
}

fn hash_of_pairs<R: Read>(
    code: u8,
    reader: &mut Reader<R>,
    thresholds: &Thresholds,
) -> Result<Hash, LoadError> {
    if code == TYPE_HASH {
        let len = count(reader)?;
        let mut hash = HashBuilder::new(len, thresholds);
        let (mut name, mut value) = (Vec::new(), Vec::new());
        for _ in 0..len {
            reader.string_into(&mut name)?;
            reader.string_into(&mut value)?;
            hash.push(&name, &value, thresholds);
        }
        return hash
            .finish(thresholds)
            .ok_or_else(|| reader.corrupt(FIELD_TWICE));
    }
    let bytes = reader.string()?;
    if code == TYPE_HASH_ZIPMAP {
        // Of the packed forms this is the one whose long values redis-server unpacks.
        let mut words = zipmap(&bytes).ok_or_else(|| reader.corrupt("a malformed zipmap"))?;
        let mut hash = HashBuilder::new(0, thresholds);
        while let Some((name, value)) = words.next().zip(words.next()) {
            let mut digits = [itoa::Buffer::new(); 2];
            let [of_name, of_value] = &mut digits;
            hash.push(name.bytes(of_name), value.bytes(of_value), thresholds);
        }
        let hash = hash.finish(thresholds);
        return hash.ok_or_else(|| reader.corrupt(FIELD_TWICE));
    }
    let pack = packed(elements(&bytes, reader)?, &bytes, reader)?;
    hash_of_pack(pack, reader, thresholds)
}

const NO_SCORE: &str = "a sorted set with a score that is no number";
const MEMBER_TWICE: &str = "a sorted set with the same member twice";

fn sorted_set_of_pack<R: Read>(
    pack: Listpack,
    reader: &Reader<R>,
    thresholds: &Thresholds,
) -> Result<SortedSet, LoadError> {
    let len = pack.len();
    if !len.is_multiple_of(2) {
        return Err(reader.corrupt("a sorted set with a member without a score"));
    }
    let mut before: Option<(f64, Element<'_>)> = None;
    for (member, score) in pack.pairs() {
        let score = score_of(score).ok_or_else(|| reader.corrupt(NO_SCORE))?;
        if before.is_some_and(|(low, name)| score < low || (score <= low && is_below(member, name)))
        {
            return Err(reader.corrupt("a sorted set out of order"));
        }
        before = Some((score, member));
    }
    if !pack.are_names_distinct() {
        return Err(reader.corrupt(MEMBER_TWICE));
    }
    if len / 2 > thresholds.sorted_set_entries {
        let scored = |(member, score): (Element<'_>, Element<'_>)| {
            Some(Scored {
                member: Key::from(member.bytes(&mut itoa::Buffer::new())),
                score: score_of(score)?,
            })
        };
        let members = pack.pairs().filter_map(scored).collect();
        return sorted_set(members, reader, thresholds);
    }
    Ok(SortedSet::Packed(pack))
}

/// The score that an element of a small form is.
fn score_of(element: Element<'_>) -> Option<f64> {
    match element {
        Element::Integer(n) => {
            #[expect(
                clippy::cast_precision_loss,
                reason = "its text would be rounded alike"
            )]
            let score = n as f64;
            Some(score)
        }
        Element::Bytes(text) => parse_double(text),
    }
}

/// Whether the bytes of an element come before those of another.
fn is_below(one: Element<'_>, other: Element<'_>) -> bool {
    one.bytes(&mut itoa::Buffer::new()) < other.bytes(&mut itoa::Buffer::new())
}

fn sorted_set<R: Read>(
    members: Vec<Scored>,
    reader: &Reader<R>,
    thresholds: &Thresholds,
) -> Result<SortedSet, LoadError> {
    SortedSet::from_members(members, thresholds).ok_or_else(|| reader.corrupt(MEMBER_TWICE))
}

fn sorted_set_of_pairs<R: Read>(
    code: u8,
    reader: &mut Reader<R>,
    thresholds: &Thresholds,
) -> Result<SortedSet, LoadError> {
    if code == TYPE_ZSET_ZIPLIST {
        let bytes = reader.string()?;
        let pack = packed(elements(&bytes, reader)?, &bytes, reader)?;
        return sorted_set_of_pack(pack, reader, thresholds);
    }
    /// Room is made for so many members at first, however many are said to come.
    const ROOM_MAX: usize = 1024;
    let len = count(reader)?;
    let mut members = Vec::with_capacity(len.min(ROOM_MAX));
    let mut member = Vec::new();
    for _ in 0..len {
        reader.string_into(&mut member)?;
        let score = if code == TYPE_ZSET_2 {
            f64::from_le_bytes(reader.array()?)
        } else {
            reader.text_double()?
        };
        if score.is_nan() {
            return Err(reader.corrupt(NO_SCORE));
        }
        members.push(Scored {
            member: Key::from(&*member),
            score,
        });
    }
    sorted_set(members, reader, thresholds)
}

fn elements<'a, R: Read>(
    bytes: &'a [u8],
    reader: &Reader<R>,
) -> Result<impl Iterator<Item = Element<'a>> + use<'a, R>, LoadError> {
    ziplist(bytes).ok_or_else(|| reader.corrupt("a malformed ziplist"))
}

/// The elements of an old form, whose length in bytes theirs will be about, as a listpack.
fn packed<'a, R: Read>(
    elements: impl Iterator<Item = Element<'a>>,
    old: &[u8],
    reader: &Reader<R>,
) -> Result<Listpack, LoadError> {
    Listpack::from_elements(elements, old.len())
        .ok_or_else(|| reader.corrupt("a small form longer than this server takes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::keyspace::steps;
    use crate::server::persist::rdb_decode::STRING_BYTES_MAX;
    use crate::server::persist::rdb_encode;

    /// Reads a value of these bytes.
    fn read(code: u8, body: &[u8]) -> Result<Value, LoadError> {
        let mut reader = Reader::new(body, STRING_BYTES_MAX);
        read_value(code, &mut reader, &Thresholds::DEFAULT).map(|value| value.expect("not empty"))
    }

    /// Texts as one string that holds a ziplist of them.
    fn ziplist_of(texts: &[String]) -> Vec<u8> {
        let (mut entries, mut last) = (Vec::new(), 0);
        for text in texts {
            let len_before = u8::try_from(entries.len() - last).unwrap();
            last = entries.len();
            entries.extend([len_before, u8::try_from(text.len()).unwrap()]);
            entries.extend(text.as_bytes());
        }
        let count = u16::try_from(texts.len()).unwrap().to_le_bytes();
        let [total, tail] = [entries.len() + 11, last + 10];
        let [total, tail] = [total, tail].map(|n| u32::try_from(n).unwrap().to_le_bytes());
        let ziplist = [&total[..], &tail, &count, &entries, &[0xff]].concat();
        let mut body = Vec::new();
        rdb_encode::string(&ziplist, false, &mut body);
        body
    }

    fn refusal(code: u8, texts: &[&str]) -> String {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        read(code, &ziplist_of(&texts)).unwrap_err().to_string()
    }

    #[test]
    fn old_small_forms_are_read_without_a_search_for_each_element() {
        let texts = |count: u32| (0..count).flat_map(|n| [format!("m{n}"), n.to_string()]);
        for (code, count) in [(TYPE_HASH_ZIPLIST, 512), (TYPE_ZSET_ZIPLIST, 128)] {
            let body = ziplist_of(&texts(count).collect::<Vec<_>>());
            let (steps, value) = steps::of(|| read(code, &body).unwrap());
            assert!(steps < 10, "{steps}");
            assert_eq!(value.encoding(), "listpack");
            assert_eq!(value.elements(), count as usize);
            let body = ziplist_of(&texts(count + 1).collect::<Vec<_>>());
            let value = read(code, &body).unwrap();
            assert_ne!(value.encoding(), "listpack");
            assert_eq!(value.elements(), count as usize + 1);
        }
    }

    #[test]
    fn what_no_small_form_may_hold_is_refused() {
        let check = |code, texts: &[&str], want| {
            let error = refusal(code, texts);
            assert!(error.contains(want), "{texts:?}: {error}");
        };
        check(TYPE_HASH_ZIPLIST, &["a", "1", "a", "2"], FIELD_TWICE);
        check(
            TYPE_HASH_ZIPLIST,
            &["7", "1", "b", "2", "7", "3"],
            FIELD_TWICE,
        );
        check(TYPE_HASH_ZIPLIST, &["a"], "a field without a value");
        check(TYPE_ZSET_ZIPLIST, &["a", "1", "a", "2"], MEMBER_TWICE);
        check(TYPE_ZSET_ZIPLIST, &["a", "2", "b", "1"], "out of order");
        check(TYPE_ZSET_ZIPLIST, &["b", "1", "a", "1.0"], "out of order");
        check(TYPE_ZSET_ZIPLIST, &["a", "x"], NO_SCORE);
        check(TYPE_ZSET_ZIPLIST, &["a", "nan"], NO_SCORE);
        check(TYPE_ZSET_ZIPLIST, &["a"], "a member without a score");
    }

    /// Members and scores of 8 bytes.
    fn scored(members: impl IntoIterator<Item = (String, f64)>) -> Vec<u8> {
        let members: Vec<_> = members.into_iter().collect();
        let mut body = Vec::new();
        rdb_encode::length(members.len(), &mut body);
        for (member, score) in members {
            rdb_encode::string(member.as_bytes(), false, &mut body);
            body.extend(score.to_le_bytes());
        }
        body
    }

    fn strings(texts: impl IntoIterator<Item = String>, per_element: usize) -> Vec<u8> {
        let texts: Vec<_> = texts.into_iter().collect();
        let mut body = Vec::new();
        rdb_encode::length(texts.len() / per_element, &mut body);
        texts
            .iter()
            .for_each(|text| rdb_encode::string(text.as_bytes(), false, &mut body));
        body
    }

    #[test]
    fn the_form_depends_on_what_is_read_not_on_how_it_was_written() {
        let name = |n: u32| format!("name {n}");
        for (count, long, [hash, set, sorted]) in [
            (3, "", ["listpack", "hashtable", "listpack"]),
            (129, "", ["listpack", "hashtable", "skiplist"]),
            (513, "", ["hashtable", "hashtable", "skiplist"]),
            (3, &*"x".repeat(65), ["hashtable", "hashtable", "skiplist"]),
        ] {
            let names = || (0..count).map(move |n| name(n) + if n == 1 { long } else { "" });
            let check = |code, body: &[u8], encoding| {
                let value = read(code, body).unwrap();
                assert_eq!(
                    (value.encoding(), value.elements()),
                    (encoding, count as usize)
                );
                value
            };
            check(
                TYPE_HASH,
                &strings(names().flat_map(|n| [n.clone(), n]), 2),
                hash,
            );
            check(TYPE_SET, &strings(names(), 1), set);
            let integers = |from: u32| (from..from + count).map(|n| n.to_string());
            let small = if count > 512 { "hashtable" } else { "intset" };
            check(TYPE_SET, &strings(integers(7), 1), small);
            // Any order of scores comes out the same.
            let all: Vec<_> = names().zip((0_u32..).map(f64::from)).collect();
            let up = check(TYPE_ZSET_2, &scored(all.clone()), sorted);
            let down = check(TYPE_ZSET_2, &scored(all.iter().rev().cloned()), sorted);
            let apart = all.iter().skip(1).step_by(2).chain(all.iter().step_by(2));
            let mixed = check(TYPE_ZSET_2, &scored(apart.cloned()), sorted);
            for value in [up, down, mixed] {
                let set = SortedSet::of(&value).unwrap();
                let found: Vec<_> = set
                    .iter()
                    .map(|(member, score)| (String::from_utf8(member.to_vec()).unwrap(), score))
                    .collect();
                assert_eq!(found, all);
                assert_eq!(set.score(all[2].0.as_bytes()), Some(2.0));
            }
        }
    }

    #[test]
    fn no_element_comes_twice() {
        for count in [3, 600] {
            let twice = || (0..count).chain([1]).map(|n: u32| n.to_string());
            let words = || twice().map(|n| format!("name {n}"));
            for (code, body) in [
                (TYPE_HASH, strings(words().flat_map(|n| [n.clone(), n]), 2)),
                (TYPE_SET, strings(words(), 1)),
                (TYPE_SET, strings(twice(), 1)),
                (TYPE_ZSET_2, scored(words().zip((0_u32..).map(f64::from)))),
            ] {
                let error = read(code, &body).unwrap_err().to_string();
                assert!(error.contains("twice"), "type {code}, {count}: {error}");
            }
        }
    }

    /// As a file of redis-server has it: the highest score first, or in no order.
    #[test]
    fn a_large_sorted_set_is_not_searched_for_each_member() {
        const COUNT: u32 = 20_000;
        for factor in [1, 7919] {
            let member = |n: u32| (format!("m{n}"), f64::from((n * factor) % COUNT));
            let body = scored((0..COUNT).rev().map(member));
            let (steps, value) = steps::of(|| read(TYPE_ZSET_2, &body).unwrap());
            assert_eq!(value.elements(), COUNT as usize);
            assert!(steps < 4 * COUNT as usize, "{steps}");
        }
    }
}

//! Reading the values of RDB: every form in which Redis up to 7.2 has written them.

use std::collections::HashSet;
use std::io::Read;

use super::rdb::{
    QUICKLIST_PACKED, QUICKLIST_PLAIN, TYPE_HASH, TYPE_HASH_LISTPACK, TYPE_HASH_ZIPLIST,
    TYPE_HASH_ZIPMAP, TYPE_LIST, TYPE_LIST_QUICKLIST, TYPE_LIST_QUICKLIST_2, TYPE_LIST_ZIPLIST,
    TYPE_SET, TYPE_SET_INTSET, TYPE_SET_LISTPACK, TYPE_STRING, TYPE_ZSET, TYPE_ZSET_2,
    TYPE_ZSET_LISTPACK, TYPE_ZSET_ZIPLIST,
};
use super::rdb_decode::{LoadError, Reader};
use super::ziplist::{ziplist, zipmap};
use crate::resp::parse_double;
use crate::server::keyspace::{
    Element, End, Hash, IntSet, Kind, LISTPACK_BYTES_MAX, List, Listpack, Set, SortedSet, Text,
    Thresholds, Value,
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
        TYPE_HASH_LISTPACK => kept(packed_hash(reader, thresholds)?),
        TYPE_ZSET_LISTPACK => kept(packed_sorted_set(reader, thresholds)?),
        TYPE_ZSET | TYPE_ZSET_2 | TYPE_ZSET_ZIPLIST => {
            kept(sorted_set_of_pairs(code, reader, thresholds)?)
        }
        _ => Some(Text::from_vec(reader.string()?).into_value()),
    };
    Ok(value)
}

fn kept<K: Kind>(value: K) -> Option<Value> {
    (!value.has_nothing()).then(|| value.into_value())
}

fn listpack<R: Read>(reader: &mut Reader<R>) -> Result<Listpack, LoadError> {
    Listpack::from_bytes(reader.string()?).map_err(|_| reader.corrupt("a malformed listpack"))
}

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
                    push(&mut list, &element, reader, thresholds)?;
                }
                Ok(QUICKLIST_PACKED) => list.push_node(listpack(reader)?),
                _ => return Err(reader.corrupt("an unknown kind of list node")),
            },
            _ => {
                for element in elements_of_ziplist(reader)? {
                    push(&mut list, &element, reader, thresholds)?;
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
    const TWICE: &str = "a set with the same member twice";
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
    let mut set = Set::default();
    if code == TYPE_SET_LISTPACK {
        for member in listpack(reader)?.iter() {
            if !set.insert(member.bytes(&mut itoa::Buffer::new()), thresholds) {
                return Err(reader.corrupt(TWICE));
            }
        }
        return Ok(set);
    }
    for _ in 0..reader.length()? {
        let member = reader.string()?;
        if !set.insert(&member, thresholds) {
            return Err(reader.corrupt(TWICE));
        }
    }
    Ok(set)
}

/// An element in the same form whichever it was written in: a number may be there as its text.
fn one_form(element: Element<'_>) -> Element<'_> {
    element.as_integer().map_or(element, Element::Integer)
}

const FIELD_TWICE: &str = "a hash with the same field twice";

fn packed_hash<R: Read>(
    reader: &mut Reader<R>,
    thresholds: &Thresholds,
) -> Result<Hash, LoadError> {
    let pack = listpack(reader)?;
    let len = pack.len();
    if !len.is_multiple_of(2) {
        return Err(reader.corrupt("a hash with a field without a value"));
    }
    let mut names = HashSet::new();
    if !pack.pairs().all(|(name, _)| names.insert(one_form(name))) {
        return Err(reader.corrupt(FIELD_TWICE));
    }
    let is_short = |element: Element<'_>| element.len() <= thresholds.hash_value_bytes;
    let is_small = len / 2 <= thresholds.hash_entries && pack.iter().all(is_short);
    let mut hash = Hash::Packed(pack);
    if !is_small {
        hash.make_table();
    }
    Ok(hash)
}

fn hash_of_pairs<R: Read>(
    code: u8,
    reader: &mut Reader<R>,
    thresholds: &Thresholds,
) -> Result<Hash, LoadError> {
    let mut hash = Hash::default();
    if code == TYPE_HASH {
        let len = reader.length()?;
        if usize::try_from(len).is_ok_and(|len| len > thresholds.hash_entries) {
            hash.make_table();
        }
        for _ in 0..len {
            let (name, value) = (reader.string()?, reader.string()?);
            if !hash.set(&name, &value, thresholds) {
                return Err(reader.corrupt(FIELD_TWICE));
            }
        }
        return Ok(hash);
    }
    let elements = if code == TYPE_HASH_ZIPMAP {
        zipmap(&reader.string()?).ok_or_else(|| reader.corrupt("a malformed zipmap"))?
    } else {
        elements_of_ziplist(reader)?
    };
    for pair in elements.chunks(2) {
        let [name, value] = pair else {
            return Err(reader.corrupt("a hash with a field without a value"));
        };
        if !hash.set(name, value, thresholds) {
            return Err(reader.corrupt(FIELD_TWICE));
        }
    }
    Ok(hash)
}

const NO_SCORE: &str = "a sorted set with a score that is no number";
const MEMBER_TWICE: &str = "a sorted set with the same member twice";

fn packed_sorted_set<R: Read>(
    reader: &mut Reader<R>,
    thresholds: &Thresholds,
) -> Result<SortedSet, LoadError> {
    let pack = listpack(reader)?;
    let len = pack.len();
    if !len.is_multiple_of(2) {
        return Err(reader.corrupt("a sorted set with a member without a score"));
    }
    let mut names = HashSet::new();
    let mut before: Option<(f64, Vec<u8>)> = None;
    let mut is_small = len / 2 <= thresholds.sorted_set_entries;
    for (member, score) in pack.pairs() {
        let score = parse_double(score.bytes(&mut itoa::Buffer::new()))
            .ok_or_else(|| reader.corrupt(NO_SCORE))?;
        if !names.insert(one_form(member)) {
            return Err(reader.corrupt(MEMBER_TWICE));
        }
        let member = member.to_vec();
        is_small &= member.len() <= thresholds.sorted_set_value_bytes;
        if before.is_some_and(|(low, name)| (score, &member) < (low, &name)) {
            return Err(reader.corrupt("a sorted set out of order"));
        }
        before = Some((score, member));
    }
    let mut set = SortedSet::Packed(pack);
    if !is_small {
        set.make_ranked();
    }
    Ok(set)
}

fn sorted_set_of_pairs<R: Read>(
    code: u8,
    reader: &mut Reader<R>,
    thresholds: &Thresholds,
) -> Result<SortedSet, LoadError> {
    let mut set = SortedSet::default();
    if code == TYPE_ZSET_ZIPLIST {
        for pair in elements_of_ziplist(reader)?.chunks(2) {
            let [member, score] = pair else {
                return Err(reader.corrupt("a sorted set with a member without a score"));
            };
            let score = parse_double(score).ok_or_else(|| reader.corrupt(NO_SCORE))?;
            if set.insert(member, score, thresholds).is_some() {
                return Err(reader.corrupt(MEMBER_TWICE));
            }
        }
        return Ok(set);
    }
    let len = reader.length()?;
    if usize::try_from(len).is_ok_and(|len| len > thresholds.sorted_set_entries) {
        set.make_ranked();
    }
    for _ in 0..len {
        let member = reader.string()?;
        let score = if code == TYPE_ZSET_2 {
            f64::from_le_bytes(reader.array()?)
        } else {
            reader.text_double()?
        };
        if score.is_nan() {
            return Err(reader.corrupt(NO_SCORE));
        }
        if set.insert(&member, score, thresholds).is_some() {
            return Err(reader.corrupt(MEMBER_TWICE));
        }
    }
    Ok(set)
}

fn elements_of_ziplist<R: Read>(reader: &mut Reader<R>) -> Result<Vec<Vec<u8>>, LoadError> {
    ziplist(&reader.string()?).ok_or_else(|| reader.corrupt("a malformed ziplist"))
}

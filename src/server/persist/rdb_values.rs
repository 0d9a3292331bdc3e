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
        TYPE_HASH_LISTPACK => kept(hash_of_pack(listpack(reader)?, reader, thresholds)?),
        TYPE_ZSET_LISTPACK => kept(sorted_set_of_pack(listpack(reader)?, reader, thresholds)?),
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

fn hash_of_pack<R: Read>(
    pack: Listpack,
    reader: &Reader<R>,
    thresholds: &Thresholds,
) -> Result<Hash, LoadError> {
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
    let bytes = reader.string()?;
    let pack = if code == TYPE_HASH_ZIPMAP {
        let fields = zipmap(&bytes).ok_or_else(|| reader.corrupt("a malformed zipmap"))?;
        packed(fields, &bytes, reader)?
    } else {
        packed(elements(&bytes, reader)?, &bytes, reader)?
    };
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
    if code == TYPE_ZSET_ZIPLIST {
        let bytes = reader.string()?;
        let pack = packed(elements(&bytes, reader)?, &bytes, reader)?;
        return sorted_set_of_pack(pack, reader, thresholds);
    }
    let mut set = SortedSet::default();
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
        let mut entries = Vec::new();
        for text in texts {
            // Nobody reads backwards here.
            entries.extend([0, u8::try_from(text.len()).unwrap()]);
            entries.extend(text.as_bytes());
        }
        let count = u16::try_from(texts.len()).unwrap().to_le_bytes();
        let total = u32::try_from(entries.len() + 11).unwrap().to_le_bytes();
        let ziplist = [&total[..], &[0; 4], &count, &entries, &[0xff]].concat();
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
}

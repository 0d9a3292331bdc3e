//! The packed forms that Redis wrote before 7.0, to be read only: the ziplist and, older still, the zipmap.

use crate::server::keyspace::Element;

/// Ends the entries of both forms.
const END: u8 = 0xff;

/// The elements of a ziplist; `None` where it is malformed. They are looked at twice and never copied: a ziplist
/// holds an element in two bytes, and anything that is made of each is many times as large.
///
/// ```text
/// u32 bytes in all │ u32 offset of the last entry │ u16 entries (65535: count them) │ entry … │ ff
/// entry: length of the entry before it (one byte, or fe and u32) │ encoding │ data
/// ```
///
/// Nobody here walks one backwards, but what contradicts itself is damaged, as for redis-server, whose checks these are.
pub(super) fn ziplist(bytes: &[u8]) -> Option<impl Iterator<Item = Element<'_>>> {
    let (total, rest) = bytes.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*total) as usize != bytes.len() {
        return None;
    }
    let (tail, rest) = rest.split_first_chunk::<4>()?;
    let tail = u32::from_le_bytes(*tail) as usize;
    let (count, entries) = rest.split_first_chunk::<2>()?;
    let count = usize::from(u16::from_le_bytes(*count));
    let (mut last, mut length) = (None, 0);
    let found = count_entries(entries, |rest| {
        let (length_told, _) = length_before(rest)?;
        let (element, after) = ziplist_entry(rest)?;
        let is_right = length_told == length;
        length = rest.len() - after.len();
        last = Some(bytes.len() - rest.len());
        is_right.then_some((element, after))
    })?;
    let is_tail = last.map_or(tail < bytes.len(), |last| last == tail);
    let is_counted = count == 65535 || count == found;
    (is_tail && is_counted).then(|| all_entries(entries, ziplist_entry))
}

/// How many entries there are up to the end mark, which nothing may follow.
fn count_entries<'a, E>(
    mut rest: &'a [u8],
    mut split: impl FnMut(&'a [u8]) -> Option<(E, &'a [u8])>,
) -> Option<usize> {
    let mut count = 0;
    while *rest.first()? != END {
        rest = split(rest)?.1;
        count += 1;
    }
    (rest.len() == 1).then_some(count)
}

/// The entries up to the end mark.
fn all_entries<'a, E>(
    mut rest: &'a [u8],
    split: impl Fn(&'a [u8]) -> Option<(E, &'a [u8])>,
) -> impl Iterator<Item = E> {
    std::iter::from_fn(move || {
        if rest.first() == Some(&END) {
            return None;
        }
        let (entry, after) = split(rest)?;
        rest = after;
        Some(entry)
    })
}

/// The length of the entry before this one, and what follows that.
fn length_before(entry: &[u8]) -> Option<(usize, &[u8])> {
    let (first, rest) = entry.split_first()?;
    if *first == 0xfe {
        let (length, rest) = rest.split_first_chunk::<4>()?;
        return Some((u32::from_le_bytes(*length) as usize, rest));
    }
    Some((usize::from(*first), rest))
}

/// An element and what follows it.
fn ziplist_entry(entry: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let (_, rest) = length_before(entry)?;
    let (first, rest) = rest.split_first()?;
    let (len, rest) = match first >> 6 {
        0 => (usize::from(first & 0x3f), rest),
        1 => {
            let (second, rest) = rest.split_first()?;
            (usize::from(first & 0x3f) << 8 | usize::from(*second), rest)
        }
        2 => {
            let (len, rest) = rest.split_first_chunk::<4>()?;
            (u32::from_be_bytes(*len) as usize, rest)
        }
        _ => {
            let (number, rest) = ziplist_integer(*first, rest)?;
            return Some((Element::Integer(number), rest));
        }
    };
    let (element, rest) = rest.split_at_checked(len)?;
    Some((Element::Bytes(element), rest))
}

fn ziplist_integer(encoding: u8, rest: &[u8]) -> Option<(i64, &[u8])> {
    let width = match encoding {
        0xc0 => 2,
        0xd0 => 4,
        0xe0 => 8,
        0xf0 => 3,
        0xfe => 1,
        0xf1..=0xfd => return Some((i64::from(encoding & 0x0f) - 1, rest)),
        _ => return None,
    };
    let mut wide = [0; 8];
    wide[..width].copy_from_slice(rest.get(..width)?);
    let unused = 64 - 8 * u32::try_from(width).ok()?;
    let number = (i64::from_le_bytes(wide) << unused) >> unused;
    Some((number, &rest[width..]))
}

/// Fields and values of a zipmap in turn; `None` where it is malformed, or has none.
///
/// `u8 fields (254 or more: count them)`, then for each: length, field, length, one byte that says how many
/// unused bytes follow the value, value, those bytes; `ff`. A length is one byte below 254, else `fe` and 4 (LE).
pub(super) fn zipmap(bytes: &[u8]) -> Option<impl Iterator<Item = Element<'_>>> {
    let (told, pairs) = bytes.split_first()?;
    let found = count_entries(pairs, zipmap_pair)?;
    let is_counted = *told >= 0xfe || usize::from(*told) == found;
    (found > 0 && is_counted).then(|| all_entries(pairs, zipmap_pair).flatten())
}

/// A field with its value, and what follows them.
fn zipmap_pair(pair: &[u8]) -> Option<([Element<'_>; 2], &[u8])> {
    let (len, rest) = zipmap_length(pair)?;
    let (field, rest) = rest.split_at_checked(len)?;
    let (len, rest) = zipmap_length(rest)?;
    let (unused, rest) = rest.split_first()?;
    let (value, rest) = rest.split_at_checked(len)?;
    let rest = rest.get(usize::from(*unused)..)?;
    Some(([field, value].map(Element::Bytes), rest))
}

fn zipmap_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    if *first == 0xfe {
        let (len, rest) = rest.split_first_chunk::<4>()?;
        return Some((u32::from_le_bytes(*len) as usize, rest));
    }
    (*first < 0xfe).then_some((usize::from(*first), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_zipmap_is_read() {
        let found = zipmap(b"\x01\x03foo\x03\x00bar\xff").unwrap();
        assert!(found.eq([&b"foo"[..], b"bar"].map(Element::Bytes)));
        assert!(zipmap(b"\x01\x03foo\x03\x05bar\xff").is_none());
        assert!(zipmap(b"\xfe\x03foo\x03\x00bar\xff").is_some());
        assert!(zipmap(b"\x02\x03foo\x03\x00bar\xff").is_none());
        assert!(zipmap(b"\x00\xff").is_none(), "without a field");
    }

    #[test]
    fn a_ziplist_is_read() {
        // "a", 1024, -1 (8 bits), 12 (immediate).
        let body: &[u8] = b"\x00\x01a\x03\xc0\x00\x04\x04\xfe\xff\x03\xfd";
        let total = u32::try_from(body.len() + 11).unwrap();
        let mut bytes = total.to_le_bytes().to_vec();
        bytes.extend([20, 0, 0, 0, 4, 0]);
        bytes.extend(body);
        bytes.push(0xff);
        let (integer, want) = (Element::Integer, Element::Bytes(b"a"));
        let want = [want, integer(1024), integer(-1), integer(12)];
        assert!(ziplist(&bytes).unwrap().eq(want));
        bytes[8] = 3;
        assert!(ziplist(&bytes).is_none(), "one more than the head says");
        bytes[8] = 4;
        assert!(ziplist(&bytes).is_some());
        for (at, wrong) in [
            (4, 19),
            (4, 21),
            (10, 1),
            (13, 2),
            (13, 4),
            (17, 3),
            (20, 0),
        ] {
            let mut bytes = bytes.clone();
            bytes[at] = wrong;
            assert!(ziplist(&bytes).is_none(), "{wrong} at {at}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_no_danger(mut bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            zipmap(&bytes).map(Iterator::count);
            if bytes.len() >= 4 {
                let len = u32::try_from(bytes.len()).unwrap();
                bytes[..4].copy_from_slice(&len.to_le_bytes());
                ziplist(&bytes).map(Iterator::count);
            }
        }
    }
}

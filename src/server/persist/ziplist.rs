//! The packed forms that Redis wrote before 7.0, to be read only: the ziplist and, older still, the zipmap.

/// The elements of a ziplist; `None` where it is malformed.
///
/// ```text
/// u32 bytes in all │ u32 offset of the last entry │ u16 entries (65535: count them) │ entry … │ ff
/// entry: length of the entry before it │ encoding │ data
/// ```
pub(super) fn ziplist(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (total, rest) = bytes.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*total) as usize != bytes.len() {
        return None;
    }
    let (_, rest) = rest.split_first_chunk::<4>()?;
    let (count, mut rest) = rest.split_first_chunk::<2>()?;
    let count = usize::from(u16::from_le_bytes(*count));
    let mut elements = Vec::new();
    loop {
        let (first, after) = rest.split_first()?;
        if *first == 0xff {
            let is_whole = after.is_empty() && (count == 65535 || count == elements.len());
            return is_whole.then_some(elements);
        }
        let entry = if *first == 0xfe {
            after.split_first_chunk::<4>()?.1
        } else {
            after
        };
        let (element, after) = ziplist_entry(entry)?;
        elements.push(element);
        rest = after;
    }
}

/// An element and what follows it.
fn ziplist_entry(entry: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let (first, rest) = entry.split_first()?;
    let text = |len: usize, rest: &'_ [u8]| -> Option<usize> { (len <= rest.len()).then_some(len) };
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
            return Some((number.to_string().into_bytes(), rest));
        }
    };
    let (element, rest) = rest.split_at(text(len, rest)?);
    Some((element.to_vec(), rest))
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

/// Fields and values of a zipmap in turn; `None` where it is malformed.
///
/// `u8 fields (254 or more: count them)`, then for each: length, field, length, one byte that says how many
/// unused bytes follow the value, value, those bytes; `ff`. A length is one byte below 254, else `fe` and 4 (LE).
pub(super) fn zipmap(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (_, mut rest) = bytes.split_first()?;
    let mut elements = Vec::new();
    while *rest.first()? != 0xff {
        let (len, after) = zipmap_length(rest)?;
        elements.push(after.get(..len)?.to_vec());
        let (len, after) = zipmap_length(&after[len..])?;
        let (unused, after) = after.split_first()?;
        elements.push(after.get(..len)?.to_vec());
        rest = after[len..].get(usize::from(*unused)..)?;
    }
    (rest.len() == 1).then_some(elements)
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
        let want: Vec<Vec<u8>> = vec![b"foo".to_vec(), b"bar".to_vec()];
        assert_eq!(zipmap(b"\x01\x03foo\x03\x00bar\xff"), Some(want));
        assert_eq!(zipmap(b"\x01\x03foo\x03\x05bar\xff"), None);
    }

    #[test]
    fn a_ziplist_is_read() {
        // "a", 1024, -1 (8 bits), 12 (immediate).
        let body: &[u8] = b"\x00\x01a\x03\xc0\x00\x04\x04\xfe\xff\x03\xfd";
        let total = u32::try_from(body.len() + 11).unwrap();
        let mut bytes = total.to_le_bytes().to_vec();
        bytes.extend([0, 0, 0, 0, 4, 0]);
        bytes.extend(body);
        bytes.push(0xff);
        let texts: Vec<String> = ziplist(&bytes)
            .unwrap()
            .into_iter()
            .map(|element| String::from_utf8(element).unwrap())
            .collect();
        assert_eq!(texts, ["a", "1024", "-1", "12"]);
        bytes[8] = 3;
        assert_eq!(ziplist(&bytes), None, "one more than the head says");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_no_danger(mut bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            zipmap(&bytes);
            if bytes.len() >= 4 {
                let len = u32::try_from(bytes.len()).unwrap();
                bytes[..4].copy_from_slice(&len.to_le_bytes());
                ziplist(&bytes);
            }
        }
    }
}

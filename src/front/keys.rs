//! Which words of a request are keys, and which are channels.

use bytes::Bytes;

use super::options::{MIGRATE_OPTIONS, options};
use super::spec::{Begin, Channels, CommandInfo, Find, KeySpec, key};

/// A key among the words of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyRef {
    /// Which word it is.
    pub index: usize,
    /// What happens to it: [`super::key`].
    pub flags: u16,
}

/// The keys of a request, in order. What a malformed request does not hold is left out, and where the number of
/// keys is wrong, all of them.
pub fn command_keys(info: &CommandInfo, words: &[Bytes]) -> Vec<KeyRef> {
    if let Some(keys) = keys_option(info, words) {
        return keys;
    }
    let mut keys = Vec::new();
    for spec in &info.keys {
        let Some(first) = begin(spec, words) else {
            continue;
        };
        let (first, last, step) = match spec.find {
            Find::Range { last, step, limit } => {
                (first, last_of_range(first, last, limit, words.len()), step)
            }
            Find::KeyNum {
                index,
                first: offset,
                step,
            } => {
                let count = words
                    .get(first + index)
                    .and_then(|word| std::str::from_utf8(word).ok()?.parse::<usize>().ok());
                let count = count.filter(|count| *count > 0);
                let first = first + offset;
                let last = count
                    .map(|count| first.saturating_add((count - 1).saturating_mul(step)))
                    .filter(|last| *last < words.len());
                let Some(last) = last else {
                    // As in redis-server, such a request has no keys at all. It will be refused.
                    return Vec::new();
                };
                (first, Some(last), step)
            }
        };
        let Some(last) = last.filter(|last| *last < words.len()) else {
            continue;
        };
        keys.extend((first..=last).step_by(step.max(1)).map(|index| KeyRef {
            index,
            flags: flags_here(info, spec, words),
        }));
    }
    keys
}

/// What happens to the keys of a specification in this request. Two commands have
/// [`key::VARIABLE_FLAGS`]: `SET` reads its key only with `GET` among its options, and `BITFIELD` changes it
/// unless all that it does is `GET`.
fn flags_here(info: &CommandInfo, spec: &KeySpec, words: &[Bytes]) -> u16 {
    if spec.flags & key::VARIABLE_FLAGS == 0 {
        return spec.flags;
    }
    let flags = spec.flags & !key::VARIABLE_FLAGS;
    if info.name == "bitfield" {
        return if only_gets(words) {
            key::RO | key::ACCESS
        } else {
            flags
        };
    }
    let mut options = words.iter().skip(3);
    if options.any(|word| word.eq_ignore_ascii_case(b"get")) {
        flags
    } else {
        (flags & !(key::RW | key::ACCESS)) | key::OW
    }
}

/// The keys of a `MIGRATE` with `KEYS` among its words, whose specifications cannot tell the option from the value of
/// another one. None at all where a key stands before them as well: it will be refused.
fn keys_option(info: &CommandInfo, words: &[Bytes]) -> Option<Vec<KeyRef>> {
    let spec = (info.keys.iter()).find(|spec| spec.flags & key::INCOMPLETE != 0)?;
    begin(spec, words)?;
    let mut named = options(words, 6, MIGRATE_OPTIONS);
    let places = match named.find(|(_, form)| matches!(form, Some(("keys", _)))) {
        None => 3..4,
        Some((at, _)) if words[3].is_empty() => at + 1..words.len(),
        Some(_) => 0..0,
    };
    let flags = spec.flags & !key::INCOMPLETE;
    Some(places.map(|index| KeyRef { index, flags }).collect())
}

/// Whether a `BITFIELD` is well-formed and changes nothing.
fn only_gets(words: &[Bytes]) -> bool {
    let mut words = words.get(2..).unwrap_or_default();
    while let Some((word, rest)) = words.split_first() {
        let taken = match word.to_ascii_lowercase().as_slice() {
            b"get" => 2,
            b"overflow" => 1,
            _ => return false,
        };
        let Some(rest) = rest.get(taken..) else {
            return false;
        };
        words = rest;
    }
    true
}

fn begin(spec: &KeySpec, words: &[Bytes]) -> Option<usize> {
    match spec.begin {
        Begin::Index(index) => (index < words.len()).then_some(index),
        Begin::Keyword { word, from } => {
            let is_it = |at: &usize| words[*at].eq_ignore_ascii_case(word.as_bytes());
            let start = usize::try_from(from.unsigned_abs()).ok()?;
            let found = if from >= 0 {
                (start..words.len().saturating_sub(1)).find(is_it)
            } else {
                (1..=words.len().checked_sub(start)?).rev().find(is_it)
            };
            found.map(|at| at + 1)
        }
        Begin::Unknown => None,
        Begin::LastOption {
            word, from, known, ..
        } => {
            let from = usize::try_from(from).ok()?;
            let places = options(words, from, known)
                .filter(|(_, form)| form.is_some_and(|(name, _)| name.eq_ignore_ascii_case(word)))
                .map(|(at, _)| at + 1);
            places.filter(|at| *at < words.len()).last()
        }
    }
}

fn last_of_range(first: usize, last: i32, limit: usize, words: usize) -> Option<usize> {
    let distance = usize::try_from(last.unsigned_abs()).ok()?;
    if last >= 0 {
        return first.checked_add(distance);
    }
    if limit <= 1 {
        return words.checked_sub(distance);
    }
    let share = words.checked_sub(first)? / limit;
    (first + share).checked_sub(distance)
}

/// The words of a request that are channels or channel patterns.
pub fn command_channels(info: &CommandInfo, words: usize) -> std::ops::Range<usize> {
    match info.channels {
        Channels::None => 0..0,
        Channels::Publish => 1..words.min(2),
        Channels::Subscribe | Channels::PSubscribe => 1..words,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::front::spec::{CommandSpec, key};

    fn check(keys: impl Into<Vec<KeySpec>>, request: &str, want: &[usize]) {
        let spec: CommandSpec<()> = CommandSpec::new("x", -1, |(), _, _| {}).keys(keys);
        let words: Vec<Bytes> = request
            .split(' ')
            .map(|word| Bytes::copy_from_slice(word.as_bytes()))
            .collect();
        let found: Vec<usize> = command_keys(&spec.info, &words)
            .iter()
            .map(|found| found.index)
            .collect();
        assert_eq!(found, want, "{request}");
    }

    #[test]
    fn each_way_to_find_keys() {
        check([KeySpec::one(1, key::RO)], "get a", &[1]);
        check([KeySpec::one(1, key::RO)], "get", &[]);
        check([KeySpec::range(1, -1, 2, key::OW)], "mset a 1 b 2", &[1, 3]);
        check([KeySpec::range(1, -1, 1, key::RM)], "del a b c", &[1, 2, 3]);
        const NUMBERED: [KeySpec; 1] = [KeySpec {
            begin: Begin::Index(2),
            find: Find::KeyNum {
                index: 0,
                first: 1,
                step: 1,
            },
            flags: key::RO,
        }];
        check(NUMBERED, "eval s 2 a b c", &[3, 4]);
        check(NUMBERED, "eval s 9 a b c", &[]);
        check(NUMBERED, "eval s x a b c", &[]);
        const STREAMS: [KeySpec; 1] = [KeySpec {
            begin: Begin::Keyword {
                word: "STREAMS",
                from: 1,
            },
            find: Find::Range {
                last: -1,
                step: 1,
                limit: 2,
            },
            flags: key::RO,
        }];
        check(STREAMS, "xread streams a b 0 0", &[2, 3]);
        const STORED: [KeySpec; 1] = [KeySpec {
            begin: Begin::LastOption {
                word: "STORE",
                from: 2,
                known: &[("limit", 2), ("get", 1), ("by", 1), ("store", 1)],
                is_told: false,
            },
            find: Find::Range {
                last: 0,
                step: 1,
                limit: 0,
            },
            flags: key::OW,
        }];
        check(
            STORED,
            "sort k store a limit store store desc store b",
            &[9],
        );
        check(STORED, "sort k by store x", &[]);
        check(STORED, "sort k store a store", &[3]);
    }
}

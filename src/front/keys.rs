//! Which words of a request are keys, and which are channels.

use super::options::{MIGRATE_OPTIONS, options};
use super::spec::{Begin, Channels, CommandInfo, Find, KeySpec, key};
use crate::resp::{Word, canonical_integer};

/// A key among the words of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyRef {
    /// Which word it is.
    pub index: usize,
    /// What happens to it: [`super::key`].
    pub flags: u16,
}

/// The keys of a request, in order. What a malformed request does not hold is left out, and where the number of
/// keys is wrong, all of them; of those that it names by a word which is not quite a number nothing else is known.
pub fn command_keys(info: &CommandInfo, words: &[Word<'_>]) -> Vec<KeyRef> {
    if let Some(keys) = keys_option(info, words) {
        return keys;
    }
    let mut keys: Vec<KeyRef> = Vec::new();
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
                let count = words.get(first + index);
                let first = first + offset;
                let last_of = |count: i64| {
                    // redis-server keeps 32 bits of it.
                    let count = usize::try_from(count.rem_euclid(1 << 32)).ok()?;
                    let distance = count.checked_sub(1)?.saturating_mul(step);
                    Some(first.saturating_add(distance)).filter(|last| *last < words.len())
                };
                let exact = count.and_then(|word| canonical_integer(word));
                let Some(last) = exact.filter(|count| *count >= 0).and_then(last_of) else {
                    // Such a request will be refused. Where a lenient reading finds keys, redis-server names them
                    // first, and does not tell of any what happens to it; else it has no keys at all.
                    let Some(last) = count.and_then(|word| last_of(atoi(word))) else {
                        return Vec::new();
                    };
                    let counted = (first..=last).step_by(step.max(1));
                    let places = counted.chain(keys.iter().map(|found| found.index));
                    return places.map(|index| KeyRef { index, flags: 0 }).collect();
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

/// The number at the start of a word as C's `atoi` reads it, before it keeps 32 bits of it: behind blanks and a sign, the
/// nearest one for what is too large, and 0 for none.
fn atoi(word: &[u8]) -> i64 {
    let is_blank = |b: &&u8| matches!(**b, b' ' | b'\t'..=b'\r');
    let word = &word[word.iter().take_while(is_blank).count()..];
    let (sign, digits) = match word {
        [b'-', digits @ ..] => (-1, digits),
        [b'+', digits @ ..] => (1, digits),
        digits => (1, digits),
    };
    let digits = digits.iter().take_while(|b| b.is_ascii_digit());
    digits.fold(0_i64, |number, digit| {
        let digit = sign * i64::from(digit - b'0');
        number.saturating_mul(10).saturating_add(digit)
    })
}

/// What happens to the keys of a specification in this request. Two commands have
/// [`key::VARIABLE_FLAGS`]: `SET` reads its key only with `GET` among its options, and `BITFIELD` changes it
/// unless all that it does is `GET`.
fn flags_here(info: &CommandInfo, spec: &KeySpec, words: &[Word<'_>]) -> u16 {
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
fn keys_option(info: &CommandInfo, words: &[Word<'_>]) -> Option<Vec<KeyRef>> {
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
fn only_gets(words: &[Word<'_>]) -> bool {
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

fn begin(spec: &KeySpec, words: &[Word<'_>]) -> Option<usize> {
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
        let words: Vec<Word<'_>> = request.split(' ').map(Word::from).collect();
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
        check(NUMBERED, "eval s 4294967297 a b c", &[3]);
        let stored = [KeySpec::one(1, key::OW), NUMBERED[0]];
        check(stored, "zunionstore d 2 a b", &[1, 3, 4]);
        for (count, want) in [
            ("+2", &[3, 4, 1][..]),
            ("\t\x0b1", &[3, 1]),
            ("01.5", &[3, 1]),
            ("-4294967295", &[3, 1]),
            ("-1", &[]),
            ("3x", &[]),
            ("2147483648", &[]),
            ("4294967296", &[]),
            ("99999999999999999999999", &[]),
            ("-99999999999999999999999", &[]),
        ] {
            check(stored, &format!("zunionstore d {count} a b"), want);
        }
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

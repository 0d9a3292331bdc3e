//! Strings as arrays of bits: single bits, counts, positions, and operations over several strings.

use super::args::{Failure, SYNTAX, integer};
use super::strings::finish;
use crate::front::{Call, CommandSpec, KeySpec, Reply, category, flag, key};
use crate::server::keyspace::{Text, Value};
use crate::server::{NotifyClasses, Server};

type Spec = CommandSpec<Server>;

/// The commands of this file.
pub(super) fn commands() -> Vec<Spec> {
    vec![
        Spec::new("setbit", 4, |s, c, r| finish(setbit(s, c, r), r))
            .flags(flag::WRITE | flag::DENYOOM)
            .acl(category::BITMAP)
            .keys([KeySpec::one(1, key::RW | key::ACCESS | key::UPDATE)])
            .doc(
                "2.2.0",
                "bitmap",
                "O(1)",
                "Sets or clears the bit at offset in the string value stored at key",
            ),
        Spec::new("getbit", 3, |s, c, r| finish(getbit(s, c, r), r))
            .flags(flag::READONLY | flag::FAST)
            .acl(category::BITMAP)
            .keys([KeySpec::one(1, key::RO | key::ACCESS)])
            .doc(
                "2.2.0",
                "bitmap",
                "O(1)",
                "Returns the bit value at offset in the string value stored at key",
            ),
        Spec::new("bitcount", -2, |s, c, r| finish(bitcount(s, c, r), r))
            .flags(flag::READONLY)
            .acl(category::BITMAP)
            .keys([KeySpec::one(1, key::RO | key::ACCESS)])
            .doc("2.6.0", "bitmap", "O(N)", "Count set bits in a string"),
        Spec::new("bitpos", -3, |s, c, r| finish(bitpos(s, c, r), r))
            .flags(flag::READONLY)
            .acl(category::BITMAP)
            .keys([KeySpec::one(1, key::RO | key::ACCESS)])
            .doc(
                "2.8.7",
                "bitmap",
                "O(N)",
                "Find first bit set or clear in a string",
            ),
        Spec::new("bitop", -4, |s, c, r| finish(bitop(s, c, r), r))
            .flags(flag::WRITE | flag::DENYOOM)
            .acl(category::BITMAP)
            .keys([
                KeySpec::one(2, key::OW | key::UPDATE),
                KeySpec::range(3, -1, 1, key::RO | key::ACCESS),
            ])
            .doc(
                "2.6.0",
                "bitmap",
                "O(N)",
                "Perform bitwise operations between strings",
            ),
    ]
}

/// The place of a bit that a word names. A master may go beyond our `proto-max-bulk-len`.
pub(super) fn bit_offset(
    server: &Server,
    call: &Call<'_>,
    number: Option<i64>,
) -> Result<usize, Failure> {
    let bytes_max = if server.is_from_master(call) {
        server.string_bytes_max()
    } else {
        server.config.process.proto_max_bulk_len
    };
    number
        .and_then(|offset| usize::try_from(offset).ok())
        .filter(|offset| (*offset as u64 >> 3) < bytes_max)
        .ok_or(Failure::from(
            "ERR bit offset is not an integer or out of range",
        ))
}

/// The mask of a bit in its byte; bit 0 of a string is the highest of its first byte.
fn mask(offset: usize) -> u8 {
    0x80 >> (offset & 7)
}

fn setbit(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let key = &call.words[1];
    let offset = bit_offset(server, call, integer(&call.words[2]).ok())?;
    let is_on = match &call.words[3][..] {
        b"0" => false,
        b"1" => true,
        _ => return Err("ERR bit is not an integer or out of range".into()),
    };
    let place = offset >> 3;
    let text = server.lookup::<Text>(call, key)?;
    let is_longer = text.is_none_or(|text| text.len() <= place);
    let was_on = text.is_some_and(|text| bit(text.bytes(&mut itoa::Buffer::new()), offset));
    // What a change has made is told by its encoding, also when no bit is another one.
    server.modify(call, key, |text: &mut Text| {
        text.edit(|bytes| {
            bytes.resize(bytes.len().max(place + 1), 0);
            bytes[place] &= !mask(offset);
            bytes[place] |= if is_on { mask(offset) } else { 0 };
        });
    });
    if is_longer || was_on != is_on {
        server.touched(key, NotifyClasses::STRING, "setbit");
        server.propagate(call, call.words);
    }
    reply.integer(i64::from(was_on));
    Ok(())
}

/// A bit; behind the end there are zeros.
pub(super) fn bit(bytes: &[u8], offset: usize) -> bool {
    bytes
        .get(offset >> 3)
        .is_some_and(|byte| byte & mask(offset) != 0)
}

fn getbit(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let offset = bit_offset(server, call, integer(&call.words[2]).ok())?;
    let text = server.read::<Text>(call, &call.words[1])?;
    let is_on = text.is_some_and(|text| bit(text.bytes(&mut itoa::Buffer::new()), offset));
    reply.integer(i64::from(is_on));
    Ok(())
}

/// The unit of a range.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Byte,
    Bit,
}

impl Unit {
    fn of(word: &[u8]) -> Result<Unit, Failure> {
        if word.eq_ignore_ascii_case(b"bit") {
            Ok(Unit::Bit)
        } else if word.eq_ignore_ascii_case(b"byte") {
            Ok(Unit::Byte)
        } else {
            Err(SYNTAX.into())
        }
    }
}

/// A range of bits, the last one included; `None` when it is empty.
type BitRange = Option<(usize, usize)>;

/// The bits from `start` to `end`, negative ones counted from the end, of a string of `bytes`.
fn bit_range(start: i64, end: i64, unit: Unit, bytes: usize) -> BitRange {
    let scale = if unit == Unit::Bit { 8 } else { 1 };
    let len = i64::try_from(bytes.checked_mul(scale)?).ok()?;
    let place = |index: i64| {
        let from_start = if index < 0 {
            index.saturating_add(len)
        } else {
            index
        };
        from_start.max(0)
    };
    let (start, end) = (place(start), place(end).min(len - 1));
    if start > end {
        return None;
    }
    let (start, end) = (usize::try_from(start).ok()?, usize::try_from(end).ok()?);
    Some(match unit {
        Unit::Bit => (start, end),
        Unit::Byte => (start * 8, end * 8 + 7),
    })
}

fn bitcount(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let Some(text) = server.read::<Text>(call, &call.words[1])? else {
        reply.integer(0);
        return Ok(());
    };
    let mut digits = itoa::Buffer::new();
    let bytes = text.bytes(&mut digits);
    let range = match &call.words[2..] {
        [] => bit_range(0, -1, Unit::Byte, bytes.len()),
        [start, end, unit @ ..] if unit.len() <= 1 => {
            let (start, end) = (integer(start)?, integer(end)?);
            // Only here this is empty, too, where both are before the string; and whatever the unit is.
            if start < 0 && end < 0 && start > end {
                None
            } else {
                let unit = unit.first().map_or(Ok(Unit::Byte), |word| Unit::of(word))?;
                bit_range(start, end, unit, bytes.len())
            }
        }
        _ => return Err(SYNTAX.into()),
    };
    reply.count(range.map_or(0, |(first, last)| ones(bytes, first, last)));
    Ok(())
}

/// How many of these bits are set.
fn ones(bytes: &[u8], first: usize, last: usize) -> usize {
    let part = &bytes[first >> 3..=last >> 3];
    let (words, rest) = part.as_chunks::<8>();
    let whole: usize = words
        .iter()
        .map(|word| u64::from_ne_bytes(*word).count_ones() as usize)
        .sum();
    let whole = whole
        + rest
            .iter()
            .map(|byte| byte.count_ones() as usize)
            .sum::<usize>();
    let before = part[0] & !(0xff >> (first & 7));
    let behind = part[part.len() - 1] & (0x7f >> (last & 7));
    whole - before.count_ones() as usize - behind.count_ones() as usize
}

fn bitpos(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let wanted = match integer(&call.words[2])? {
        0 => false,
        1 => true,
        _ => return Err("ERR The bit argument must be 1 or 0.".into()),
    };
    let Some(text) = server.read::<Text>(call, &call.words[1])? else {
        reply.integer(if wanted { -1 } else { 0 });
        return Ok(());
    };
    let mut digits = itoa::Buffer::new();
    let bytes = text.bytes(&mut digits);
    let words = &call.words[3..];
    if words.len() > 3 {
        return Err(SYNTAX.into());
    }
    let start = words.first().map_or(Ok(0), |word| integer(word))?;
    let unit = words.get(2).map_or(Ok(Unit::Byte), |word| Unit::of(word))?;
    let end = words.get(1).map_or(Ok(-1), |word| integer(word))?;
    let has_end = words.len() > 1;
    let found = bit_range(start, end, unit, bytes.len()).and_then(|(first, last)| {
        // Without an end, zeros go on behind the string.
        let behind = (!wanted && !has_end).then_some(bytes.len() * 8);
        position(bytes, wanted, first, last).or(behind)
    });
    match found {
        Some(at) => reply.count(at),
        None => reply.integer(-1),
    }
    Ok(())
}

/// The first of these bits that is `wanted`.
fn position(bytes: &[u8], wanted: bool, first: usize, last: usize) -> Option<usize> {
    let uniform = if wanted { 0 } else { 0xff };
    let in_byte = |at: usize| {
        let bits = (at * 8).max(first)..=(at * 8 + 7).min(last);
        bits.into_iter().find(|at| bit(bytes, *at) == wanted)
    };
    let (start, end) = (first >> 3, last >> 3);
    in_byte(start).or_else(|| {
        let rest = bytes.get(start + 1..=end)?;
        let (words, _) = rest.as_chunks::<8>();
        let same_words = words.iter().position(|word| *word != [uniform; 8]);
        let same = same_words.unwrap_or(words.len()) * 8;
        let other = rest[same..].iter().position(|byte| *byte != uniform)?;
        in_byte(start + 1 + same + other)
    })
}

#[derive(Clone, Copy)]
enum Operation {
    And,
    Or,
    Xor,
    Not,
}

fn bitop(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let (target, keys) = (&call.words[2], &call.words[3..]);
    let operation = match call.words[1].to_ascii_lowercase().as_slice() {
        b"and" => Operation::And,
        b"or" => Operation::Or,
        b"xor" => Operation::Xor,
        b"not" if keys.len() > 1 => {
            return Err("ERR BITOP NOT must be called with a single source key.".into());
        }
        b"not" => Operation::Not,
        _ => return Err(SYNTAX.into()),
    };
    for key in keys {
        server.read::<Text>(call, key)?;
    }
    let mut buffers = vec![itoa::Buffer::new(); keys.len()];
    let mut sources: Vec<&[u8]> = Vec::with_capacity(keys.len());
    for (key, digits) in keys.iter().zip(&mut buffers) {
        let text = server.stored::<Text>(call, key)?;
        sources.push(text.map_or(b"", |text| text.bytes(digits)));
    }
    let len = sources.iter().map(|source| source.len()).max().unwrap_or(0);
    let mut result = Vec::with_capacity(len);
    result.extend_from_slice(sources[0]);
    result.resize(len, 0);
    match operation {
        Operation::And => join(&mut result, &sources[1..], |a, b| a & b),
        Operation::Or => join(&mut result, &sources[1..], |a, b| a | b),
        Operation::Xor => join(&mut result, &sources[1..], |a, b| a ^ b),
        Operation::Not => result.iter_mut().for_each(|byte| *byte = !*byte),
    }
    let result = (len > 0).then(|| Value::String(Text::edited(result)));
    server.store_result(call, target, result, (NotifyClasses::STRING, "set"));
    reply.count(len);
    Ok(())
}

/// Joins other strings, none of which is longer, to `result`; behind their ends there are zeros. Each operation has a
/// loop of its own, which the compiler makes one over many bytes at a time.
fn join(result: &mut [u8], others: &[&[u8]], operation: impl Fn(u8, u8) -> u8) {
    for other in others {
        let (both, rest) = result.split_at_mut(other.len());
        let pairs = both.iter_mut().zip(*other);
        pairs.for_each(|(byte, other)| *byte = operation(*byte, *other));
        rest.iter_mut().for_each(|byte| *byte = operation(*byte, 0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn counts_and_positions_are_those_of_a_look_at_each_bit(
            runs in proptest::collection::vec(
                (prop_oneof![Just(0_u8), Just(255), any::<u8>()], 1_usize..20),
                1..8,
            ),
            start in -350_i64..350,
            end in -350_i64..350,
            in_bits in any::<bool>(),
            wanted in any::<bool>(),
        ) {
            let runs = runs.iter().map(|(byte, len)| vec![*byte; *len]);
            let bytes: Vec<u8> = runs.flatten().collect();
            let unit = if in_bits { Unit::Bit } else { Unit::Byte };
            if let Some((first, last)) = bit_range(start, end, unit, bytes.len()) {
                prop_assert!(first <= last && last < bytes.len() * 8);
                let set = (first..=last).filter(|at| bit(&bytes, *at)).count();
                prop_assert_eq!(ones(&bytes, first, last), set);
                let found = (first..=last).find(|at| bit(&bytes, *at) == wanted);
                prop_assert_eq!(position(&bytes, wanted, first, last), found);
            }
        }

        #[test]
        fn strings_are_joined_with_zeros_behind_the_shorter_ones(
            mut result in proptest::collection::vec(any::<u8>(), 40..60),
            others in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..4),
        ) {
            let mut joined = result.clone();
            for (at, byte) in joined.iter_mut().enumerate() {
                for other in &others {
                    *byte &= other.get(at).copied().unwrap_or(0);
                }
            }
            let others: Vec<&[u8]> = others.iter().map(Vec::as_slice).collect();
            join(&mut result, &others, |a, b| a & b);
            prop_assert_eq!(result, joined);
        }
    }
}

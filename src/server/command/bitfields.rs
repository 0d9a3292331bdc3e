//! `BITFIELD`: integers of any width at any bit of a string.

use super::args::{Failure, SYNTAX, integer};
use super::bitmaps::{bit, bit_offset};
use super::strings::finish;
use crate::front::{Call, CommandSpec, KeySpec, Reply, category, flag, key};
use crate::resp::{Word, canonical_integer};
use crate::server::keyspace::Text;
use crate::server::{NotifyClasses, Server};

type Spec = CommandSpec<Server>;

/// The commands of this file.
pub(super) fn commands() -> Vec<Spec> {
    vec![
    Spec::new("bitfield", -2, |s, c, r| finish(bitfield(s, c, r, false), r))
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(category::BITMAP)
        .keys([KeySpec::one(1, key::RW | key::ACCESS | key::UPDATE | key::VARIABLE_FLAGS)])
        .doc("3.2.0", "bitmap", "O(1) for each subcommand specified", "Perform arbitrary bitfield integer operations on strings"),
    Spec::new("bitfield_ro", -2, |s, c, r| finish(bitfield(s, c, r, true), r))
        .flags(flag::READONLY | flag::FAST)
        .acl(category::BITMAP)
        .keys([KeySpec::one(1, key::RO | key::ACCESS)])
        .doc("6.0.0", "bitmap", "O(1) for each subcommand specified", "Perform arbitrary bitfield integer operations on strings. Read-only variant of BITFIELD"),
    ]
}

/// The type of an integer: `i5`, `u8`.
#[derive(Clone, Copy, Debug)]
struct Width {
    is_signed: bool,
    /// 1 to 64, unsigned ones to 63.
    bits: u32,
}

/// What becomes of a number that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Overflow {
    Wrap,
    Saturate,
    Fail,
}

/// What is done with an integer.
#[derive(Clone, Copy, Debug)]
enum Action {
    Get,
    Set(i64),
    Add(i64),
}

/// One of the operations of a command.
#[derive(Clone, Copy, Debug)]
struct Step {
    width: Width,
    offset: usize,
    action: Action,
    overflow: Overflow,
}

impl Width {
    fn parse(word: &[u8]) -> Result<Width, Failure> {
        let (is_signed, bits_max, digits) = match word {
            [b'i', digits @ ..] => (true, 64, digits),
            [b'u', digits @ ..] => (false, 63, digits),
            _ => (true, 0, word),
        };
        canonical_integer(digits)
            .and_then(|bits| u32::try_from(bits).ok())
            .filter(|bits| (1..=bits_max).contains(bits))
            .map(|bits| Width { is_signed, bits })
            .ok_or(Failure::from(
                "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
            ))
    }

    fn max(self) -> i128 {
        (1 << (self.bits - u32::from(self.is_signed))) - 1
    }

    fn min(self) -> i128 {
        if self.is_signed { -self.max() - 1 } else { 0 }
    }

    /// The integer that these low bits are.
    fn of_bits(self, bits: u64) -> i64 {
        let unused = 64 - self.bits;
        if self.is_signed {
            (bits.cast_signed() << unused) >> unused
        } else {
            ((bits << unused) >> unused).cast_signed()
        }
    }

    /// `value + by` as a number of this type; `None` where it does not fit and that is a failure.
    fn sum(self, value: i64, by: i64, overflow: Overflow) -> Option<i64> {
        let whole = if self.is_signed {
            i128::from(value)
        } else {
            i128::from(value.cast_unsigned())
        };
        let sum = whole + i128::from(by);
        let is_above = sum > self.max() || self.is_far_below(value);
        if !is_above && sum >= self.min() {
            return i64::try_from(sum).ok();
        }
        match overflow {
            Overflow::Fail => None,
            Overflow::Saturate if is_above => i64::try_from(self.max()).ok(),
            Overflow::Saturate => i64::try_from(self.min()).ok(),
            Overflow::Wrap => Some(self.of_bits(value.wrapping_add(by).cast_unsigned())),
        }
    }

    /// A signed value that lies so far below that its distance from the greatest one is no `i64`: redis-server
    /// takes it for one that is too great.
    fn is_far_below(self, value: i64) -> bool {
        self.is_signed && self.bits != 64 && self.max() - i128::from(value) > i128::from(i64::MAX)
    }
}

fn steps(server: &Server, call: &Call<'_>) -> Result<Vec<Step>, Failure> {
    let mut overflow = Overflow::Wrap;
    let mut steps = Vec::new();
    let mut words = &call.words[2..];
    while let Some((name, rest)) = words.split_first() {
        let name = name.to_ascii_lowercase();
        let taken = match (name.as_slice(), rest) {
            (b"overflow", [how, ..]) => {
                overflow = overflow_of(how)?;
                1
            }
            (b"get", [width, offset, ..]) => {
                steps.push(step(server, call, (width, offset), Action::Get, overflow)?);
                2
            }
            (b"set" | b"incrby", [width, offset, number, ..]) => {
                let place = (width, offset);
                let mut step = step(server, call, place, Action::Get, overflow)?;
                let number = integer(number)?;
                step.action = if name == b"set" {
                    Action::Set(number)
                } else {
                    Action::Add(number)
                };
                steps.push(step);
                3
            }
            _ => return Err(SYNTAX.into()),
        };
        words = &rest[taken..];
    }
    Ok(steps)
}

fn overflow_of(word: &[u8]) -> Result<Overflow, Failure> {
    match word.to_ascii_lowercase().as_slice() {
        b"wrap" => Ok(Overflow::Wrap),
        b"sat" => Ok(Overflow::Saturate),
        b"fail" => Ok(Overflow::Fail),
        _ => Err("ERR Invalid OVERFLOW type specified".into()),
    }
}

fn step(
    server: &Server,
    call: &Call<'_>,
    (width, offset): (&Word<'_>, &Word<'_>),
    action: Action,
    overflow: Overflow,
) -> Result<Step, Failure> {
    let width = Width::parse(width)?;
    let offset = match &offset[..] {
        // In integers of that type. As with redis-server the product wraps: a replica of one must change the same bits.
        [b'#', digits @ ..] => {
            canonical_integer(digits).map(|n| n.wrapping_mul(i64::from(width.bits)))
        }
        digits => canonical_integer(digits),
    };
    Ok(Step {
        width,
        offset: bit_offset(server, call, offset)?,
        action,
        overflow,
    })
}

fn bitfield(
    server: &mut Server,
    call: &Call<'_>,
    reply: &mut Reply,
    reads_only: bool,
) -> Result<(), Failure> {
    let key = &call.words[1];
    let steps = steps(server, call)?;
    let written = steps
        .iter()
        .filter(|step| !matches!(step.action, Action::Get))
        .map(|step| (step.offset + step.width.bits as usize - 1) / 8 + 1)
        .max();
    let Some(len) = written else {
        let text = server.read::<Text>(call, key)?;
        let mut digits = itoa::Buffer::new();
        let bytes = text.map_or(&b""[..], |text| text.bytes(&mut digits));
        reply.array(steps.len());
        for step in steps {
            reply.integer(read(bytes, step));
        }
        return Ok(());
    };
    if reads_only {
        return Err("ERR BITFIELD_RO only supports the GET subcommand".into());
    }
    let before = server.lookup::<Text>(call, key)?.map(Text::len);
    let is_longer = before.is_none_or(|before| before < len);
    reply.array(steps.len());
    let changes = server.modify(call, key, |text: &mut Text| {
        text.edit(|bytes| {
            bytes.resize(bytes.len().max(len), 0);
            let changing = steps.iter().filter(|step| {
                let result = run(bytes, **step, reply);
                // What a longer string holds is all new.
                result == Outcome::Changed || result == Outcome::Same && is_longer
            });
            changing.count()
        })
    });
    // A string that has become longer is a change, even where every number failed to fit.
    if changes > 0 || is_longer {
        server.touched(key, NotifyClasses::STRING, "setbit");
        server.changed_more(changes.saturating_sub(1));
        server.propagate(call, call.words);
    }
    Ok(())
}

/// What a step has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// It does not write, or what it would write does not fit.
    Nothing,
    /// It has written what was there.
    Same,
    /// It has written something else.
    Changed,
}

/// Takes a step in a string that is long enough, and answers it.
fn run(bytes: &mut [u8], step: Step, reply: &mut Reply) -> Outcome {
    let old = read(bytes, step);
    let new = match step.action {
        Action::Get => Some(old),
        Action::Set(number) => step.width.sum(number, 0, step.overflow),
        Action::Add(by) => step.width.sum(old, by, step.overflow),
    };
    let Some(new) = new else {
        reply.null();
        return Outcome::Nothing;
    };
    reply.integer(match step.action {
        Action::Get | Action::Set(_) => old,
        Action::Add(_) => new,
    });
    if new != old {
        write(bytes, step, new);
        Outcome::Changed
    } else if matches!(step.action, Action::Get) {
        Outcome::Nothing
    } else {
        Outcome::Same
    }
}

/// The integer of a step; behind the end of the string there are zeros.
fn read(bytes: &[u8], step: Step) -> i64 {
    let places = step.offset..step.offset + step.width.bits as usize;
    let bits = places.fold(0, |bits, at| bits << 1 | u64::from(bit(bytes, at)));
    step.width.of_bits(bits)
}

fn write(bytes: &mut [u8], step: Step, value: i64) {
    for number in 0..step.width.bits {
        let at = step.offset + (step.width.bits - 1 - number) as usize;
        let mask = 0x80 >> (at & 7);
        if value >> number & 1 == 1 {
            bytes[at >> 3] |= mask;
        } else {
            bytes[at >> 3] &= !mask;
        }
    }
}

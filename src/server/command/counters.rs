//! The `INCR` family.

use super::args::{Failure, NOT_A_FLOAT, integer, word};
use super::strings::{finish, store_integer, stored_integer};
use crate::front::{Call, CommandSpec, KeySpec, Reply, category, flag, key};
use crate::server::Server;
use crate::server::keyspace::Value;

type Spec = CommandSpec<Server>;

const FLAGS: u32 = flag::WRITE | flag::DENYOOM | flag::FAST;
const KEYS: &[KeySpec] = &[KeySpec::one(1, key::RW | key::ACCESS | key::UPDATE)];

/// The commands of this file.
pub(super) fn commands() -> Vec<Spec> {
    vec![
        Spec::new("incr", 2, |s, c, r| finish(add(s, c, r, 1), r))
            .flags(FLAGS)
            .acl(category::STRING)
            .keys(KEYS)
            .doc(
                "1.0.0",
                "string",
                "O(1)",
                "Increment the integer value of a key by one",
            ),
        Spec::new("decr", 2, |s, c, r| finish(add(s, c, r, -1), r))
            .flags(FLAGS)
            .acl(category::STRING)
            .keys(KEYS)
            .doc(
                "1.0.0",
                "string",
                "O(1)",
                "Decrement the integer value of a key by one",
            ),
        Spec::new("incrby", 3, |s, c, r| finish(incrby(s, c, r), r))
            .flags(FLAGS)
            .acl(category::STRING)
            .keys(KEYS)
            .doc(
                "1.0.0",
                "string",
                "O(1)",
                "Increment the integer value of a key by the given amount",
            ),
        Spec::new("decrby", 3, |s, c, r| finish(decrby(s, c, r), r))
            .flags(FLAGS)
            .acl(category::STRING)
            .keys(KEYS)
            .doc(
                "1.0.0",
                "string",
                "O(1)",
                "Decrement the integer value of a key by the given number",
            ),
        Spec::new("incrbyfloat", 3, |s, c, r| finish(incrbyfloat(s, c, r), r))
            .flags(FLAGS)
            .acl(category::STRING)
            .keys(KEYS)
            .doc(
                "2.6.0",
                "string",
                "O(1)",
                "Increment the float value of a key by the given amount",
            ),
    ]
}

fn incrby(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    add(server, call, reply, integer(&call.words[2])?)
}

fn decrby(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let by = integer(&call.words[2])?;
    let by = by.checked_neg().ok_or("ERR decrement would overflow")?;
    add(server, call, reply, by)
}

fn add(server: &mut Server, call: &Call<'_>, reply: &mut Reply, by: i64) -> Result<(), Failure> {
    let key = &call.words[1];
    let sum = stored_integer(server, call, key)?
        .checked_add(by)
        .ok_or("ERR increment or decrement would overflow")?;
    store_integer(server, call, key, sum);
    server.propagate(call, call.words);
    reply.integer(sum);
    Ok(())
}

fn incrbyfloat(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let key = &call.words[1];
    let stored = if server.exists_for_write(call, key) {
        let Some(Value::String(text)) = server.stored(call, key) else {
            return Err(NOT_A_FLOAT.into());
        };
        Decimal::parse(text.bytes(&mut itoa::Buffer::new())).ok_or(NOT_A_FLOAT)?
    } else {
        Decimal::ZERO
    };
    let by = Decimal::parse(&call.words[2]).ok_or(NOT_A_FLOAT)?;
    let sum = stored
        .plus(by)
        .ok_or("ERR increment would produce NaN or Infinity")?;
    let text = sum.to_string();
    let expire_at = server.expiry(call, key);
    server.store(call, key, Value::string(text.as_bytes()), expire_at);
    let words = [
        word("SET"),
        key.clone(),
        text.clone().into(),
        word("KEEPTTL"),
    ];
    server.propagate(call, &words);
    reply.bulk(text);
    Ok(())
}

/// A number with up to 17 places after the point, which is how many Redis prints. Redis computes with 80-bit
/// floats; for numbers that people count with, exact decimals give the same text.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Decimal {
    /// In units of 10^-17.
    Exact(i128),
    /// Too large for that.
    Float(f64),
}

const PLACES: i32 = 17;
const ONE: i128 = 10_i128.pow(17);

impl Decimal {
    const ZERO: Decimal = Decimal::Exact(0);

    fn parse(text: &[u8]) -> Option<Decimal> {
        let text = std::str::from_utf8(text).ok()?;
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return None;
        }
        let float: f64 = text.parse().ok()?;
        if float.is_nan() {
            return None;
        }
        Some(Decimal::exact(text).unwrap_or(Decimal::Float(float)))
    }

    /// The decimal itself, where it fits; the places beyond the 17th are rounded.
    fn exact(text: &str) -> Option<Decimal> {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let negative = mantissa.starts_with('-');
        let digits = mantissa.trim_start_matches(['-', '+']);
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let mut value: i128 = 0;
        for digit in whole.bytes().chain(fraction.bytes()) {
            let digit = digit.is_ascii_digit().then(|| i128::from(digit - b'0'))?;
            value = value.checked_mul(10)?.checked_add(digit)?;
        }
        let fraction = i32::try_from(fraction.len()).ok()?;
        let shift = exponent.checked_add(PLACES)?.checked_sub(fraction)?;
        let value = if shift >= 0 {
            value.checked_mul(10_i128.checked_pow(shift.unsigned_abs())?)?
        } else {
            let unit = 10_i128.checked_pow(shift.unsigned_abs())?;
            (value + unit / 2) / unit
        };
        Some(Decimal::Exact(if negative { -value } else { value }))
    }

    fn to_float(self) -> f64 {
        match self {
            #[expect(
                clippy::cast_precision_loss,
                reason = "only used where exactness is lost anyway"
            )]
            Decimal::Exact(units) => units as f64 / ONE as f64,
            Decimal::Float(float) => float,
        }
    }

    fn plus(self, other: Decimal) -> Option<Decimal> {
        if let (Decimal::Exact(a), Decimal::Exact(b)) = (self, other)
            && let Some(sum) = a.checked_add(b)
        {
            return Some(Decimal::Exact(sum));
        }
        let sum = self.to_float() + other.to_float();
        sum.is_finite().then_some(Decimal::Float(sum))
    }
}

impl std::fmt::Display for Decimal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Decimal::Exact(units) => {
                let sign = if *units < 0 { "-" } else { "" };
                let (whole, fraction) = (
                    units.unsigned_abs() / ONE.unsigned_abs(),
                    units.unsigned_abs() % ONE.unsigned_abs(),
                );
                if fraction == 0 {
                    return write!(f, "{sign}{whole}");
                }
                let fraction = format!("{fraction:017}");
                write!(f, "{sign}{whole}.{}", fraction.trim_end_matches('0'))
            }
            Decimal::Float(float) => write!(f, "{float}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_read_as_redis_prints_them() {
        for (a, b, want) in [
            ("10.50", "0.1", "10.6"),
            ("5.0e3", "2.0e2", "5200"),
            ("0.1", "0.2", "0.3"),
            ("3", "-3.5", "-0.5"),
            ("-0", "0", "0"),
            ("1", "1.5e-3", "1.0015"),
            (".5", "1.", "1.5"),
        ] {
            let sum = Decimal::parse(a.as_bytes())
                .unwrap()
                .plus(Decimal::parse(b.as_bytes()).unwrap());
            assert_eq!(sum.unwrap().to_string(), want, "{a} + {b}");
        }
        let huge = Decimal::parse(b"1.7e308").unwrap();
        assert_eq!(huge.plus(huge), None);
        for text in ["", " 1", "1 ", "abc", "nan", "1,5", "0x"] {
            assert_eq!(Decimal::parse(text.as_bytes()), None, "{text:?}");
        }
    }
}

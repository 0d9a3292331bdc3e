//! Numbers with a fraction as C's `strtod` reads them, which is how Redis reads scores, weights and distances.

use super::args::{Failure, NOT_A_FLOAT};
use crate::resp::canonical_integer;

/// A number at the beginning of a text.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Number {
    /// The nearest double; may be NaN.
    value: f64,
    /// Bytes that it takes, blanks before it included.
    len: usize,
    /// Too large, or too small to be told from zero.
    is_out_of_range: bool,
}

/// The double that a whole word is. No blanks, not NaN, and nothing that only infinity or zero would come near.
pub(in crate::server) fn double(word: &[u8]) -> Option<f64> {
    /// Integers up to here are exact.
    const EXACT_MAX: u64 = 1 << 53;
    if let Some(n) = canonical_integer(word)
        && n.unsigned_abs() <= EXACT_MAX
    {
        #[expect(clippy::cast_precision_loss, reason = "just bounded")]
        let value = n as f64;
        return Some(value);
    }
    if word.first().is_none_or(|byte| is_blank(*byte)) {
        return None;
    }
    let number = number(word)?;
    let is_whole = number.len == word.len() && !number.is_out_of_range;
    (is_whole && !number.value.is_nan()).then_some(number.value)
}

/// The double that a word must be.
pub(super) fn float(word: &[u8]) -> Result<f64, Failure> {
    double(word).ok_or(Failure::from(NOT_A_FLOAT))
}

/// An end of a range of scores: read more loosely than a score. Blanks may stand before it, it ends at the first
/// zero byte, an empty one is 0, and what is too large is infinite.
pub(super) fn bound(word: &[u8]) -> Option<f64> {
    Some(c_string(word)?.value)
}

/// What C reads at the beginning of a word: nothing there is 0, and what follows a number is left out.
pub(super) fn beginning(word: &[u8]) -> f64 {
    number(word).map_or(0.0, |number| number.value)
}

/// What elements are sorted by: read as loosely as [`bound`], but neither what is out of range nor what has lost
/// digits for being so small.
pub(super) fn weight(word: &[u8]) -> Option<f64> {
    let loose = || c_string(word).filter(|number| !number.is_out_of_range);
    let value = double(word).or_else(|| Some(loose()?.value))?;
    (!value.is_subnormal()).then_some(value)
}

/// The number that a whole text is, which ends at the first zero byte; not NaN.
fn c_string(word: &[u8]) -> Option<Number> {
    let text = word.split(|byte| *byte == 0).next().unwrap_or_default();
    let number = if text.is_empty() {
        Number {
            value: 0.0,
            len: 0,
            is_out_of_range: false,
        }
    } else {
        number(text)?
    };
    (number.len == text.len() && !number.value.is_nan()).then_some(number)
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// The number at the beginning of `text`; `None` where there is none.
fn number(text: &[u8]) -> Option<Number> {
    let blanks = text.iter().take_while(|byte| is_blank(**byte)).count();
    let signed = &text[blanks..];
    let sign_len = usize::from(matches!(signed.first(), Some(b'+' | b'-')));
    let (sign, rest) = signed.split_at(sign_len);
    let found = word_number(rest)
        .or_else(|| hexadecimal(rest))
        .or_else(|| decimal(rest))?;
    Some(Number {
        value: if sign == b"-" {
            -found.value
        } else {
            found.value
        },
        len: blanks + sign.len() + found.len,
        ..found
    })
}

/// `inf`, `infinity` and `nan`, in any case.
fn word_number(text: &[u8]) -> Option<Number> {
    let starts = |word: &[u8]| {
        text.get(..word.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(word))
    };
    let (value, len) = if starts(b"infinity") {
        (f64::INFINITY, 8)
    } else if starts(b"inf") {
        (f64::INFINITY, 3)
    } else if starts(b"nan") {
        (f64::NAN, 3)
    } else {
        return None;
    };
    Some(Number {
        value,
        len,
        is_out_of_range: false,
    })
}

/// The length of the digits at the beginning of `text`, which may have a point among them; `None` without any.
fn mantissa_len(text: &[u8], is_digit: impl Fn(&u8) -> bool) -> Option<usize> {
    let whole = text.iter().take_while(|byte| is_digit(byte)).count();
    if text.get(whole) != Some(&b'.') {
        return (whole > 0).then_some(whole);
    }
    let behind = &text[whole + 1..];
    let fraction = behind.iter().take_while(|byte| is_digit(byte)).count();
    (whole + fraction > 0).then_some(whole + 1 + fraction)
}

/// The exponent at the beginning of `text` after its letter: its length with the letter, and its value as far as
/// that matters.
fn exponent(text: &[u8], letter: u8) -> Option<(usize, i64)> {
    let (first, rest) = text.split_first()?;
    if !first.eq_ignore_ascii_case(&letter) {
        return None;
    }
    let sign_len = usize::from(matches!(rest.first(), Some(b'+' | b'-')));
    let digits = rest[sign_len..].iter().take_while(|b| b.is_ascii_digit());
    let mut value = 0_i64;
    let mut len = 1 + sign_len;
    for digit in digits {
        value = value
            .saturating_mul(10)
            .saturating_add(i64::from(digit - b'0'));
        len += 1;
    }
    let is_negative = rest.first() == Some(&b'-');
    let value = if is_negative { -value } else { value };
    (len > 1 + sign_len).then_some((len, value))
}

fn decimal(text: &[u8]) -> Option<Number> {
    let mantissa = mantissa_len(text, u8::is_ascii_digit)?;
    let len = mantissa + exponent(&text[mantissa..], b'e').map_or(0, |(len, _)| len);
    let value: f64 = std::str::from_utf8(&text[..len]).ok()?.parse().ok()?;
    let is_zero = text[..mantissa]
        .iter()
        .all(|byte| matches!(byte, b'0' | b'.'));
    Some(Number {
        value,
        len,
        is_out_of_range: value.is_infinite() || (value == 0.0 && !is_zero),
    })
}

/// `0x1.8p3`
fn hexadecimal(text: &[u8]) -> Option<Number> {
    /// As many digits as 128 bits hold with room to spare; later ones can only break a tie.
    const DIGITS_MAX: usize = 30;
    let [b'0', b'x' | b'X', digits @ ..] = text else {
        return None;
    };
    let len = mantissa_len(digits, u8::is_ascii_hexdigit)?;
    let (exponent_len, power) = exponent(&digits[len..], b'p').unwrap_or((0, 0));
    let (mut bits, mut used, mut shift) = (0_u128, 0_usize, 0_i64);
    let mut is_fraction = false;
    for byte in &digits[..len] {
        let Some(digit) = char::from(*byte).to_digit(16) else {
            is_fraction = true;
            continue;
        };
        if used < DIGITS_MAX {
            bits = bits << 4 | u128::from(digit);
            used += usize::from(bits != 0);
            shift -= if is_fraction { 4 } else { 0 };
        } else {
            bits |= u128::from(digit != 0);
            shift += if is_fraction { 0 } else { 4 };
        }
    }
    let value = nearest(bits, power.saturating_add(shift));
    Some(Number {
        value,
        len: 2 + len + exponent_len,
        is_out_of_range: value.is_infinite() || (value == 0.0 && bits != 0),
    })
}

/// The double nearest to `bits` times two to the power of `exponent`; of two equally near the even one.
fn nearest(bits: u128, exponent: i64) -> f64 {
    const MANTISSA_BITS: i64 = 53;
    const EXPONENT_MIN: i64 = -1074;
    const EXPONENT_MAX: i64 = 971;
    if bits == 0 {
        return 0.0;
    }
    let len = 128 - i64::from(bits.leading_zeros());
    let unit = exponent
        .saturating_add(len - MANTISSA_BITS)
        .max(EXPONENT_MIN);
    if unit > EXPONENT_MAX {
        return f64::INFINITY;
    }
    // At most 53 bits: those that the double holds.
    let kept = match unit.saturating_sub(exponent) {
        shift @ 1..=127 => {
            let (kept, rest, half) = (bits >> shift, bits & ((1 << shift) - 1), 1 << (shift - 1));
            kept + u128::from(rest > half || (rest == half && kept & 1 == 1))
        }
        shift @ 128.. => u128::from(shift == 128 && bits > 1 << 127),
        shift => bits << shift.unsigned_abs(),
    };
    let power = if unit >= -1022 {
        f64::from_bits(u64::try_from(unit + 1023).expect("not negative") << 52)
    } else {
        f64::from_bits(1 << (unit - EXPONENT_MIN))
    };
    #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
    let kept = kept as f64;
    kept * power
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn weights_are_read_as_redis_reads_them() {
        for (word, want) in [
            ("", Some(0.0)),
            ("\0x", Some(0.0)),
            ("1\0x", Some(1.0)),
            (" 1", Some(1.0)),
            ("\t\n\x0b\x0c\r-.5", Some(-0.5)),
            (" inf", Some(f64::INFINITY)),
            (" ", None),
            (" \0", None),
            ("1 ", None),
            (" nan", None),
            ("1e400", None),
            (" 1e400", None),
            ("1e-400", None),
            ("1e-310", None),
            ("2.2250738585072011e-308", None),
            ("2.2250738585072014e-308", Some(f64::MIN_POSITIVE)),
        ] {
            assert_eq!(weight(word.as_bytes()), want, "{word:?}");
        }
    }

    #[test]
    fn scores_are_read_as_redis_reads_them() {
        for (word, want) in [
            ("0", Some(0.0)),
            ("-0", Some(-0.0)),
            ("+5", Some(5.0)),
            (".5", Some(0.5)),
            ("5.", Some(5.0)),
            ("1e3", Some(1000.0)),
            ("1E-2", Some(0.01)),
            ("inf", Some(f64::INFINITY)),
            ("-INFINITY", Some(f64::NEG_INFINITY)),
            ("0x1.8p1", Some(3.0)),
            ("0X.8", Some(0.5)),
            ("-0x10", Some(-16.0)),
            ("0x1p-1074", Some(5e-324)),
            ("0x1.8p-1074", Some(1e-323)),
            ("0x1.00000000000008p0", Some(1.0)),
            (
                "0x1.000000000000080000000000000000000000001p0",
                Some(1.0 + f64::EPSILON),
            ),
            ("0x1000000000000000000000000000000000p-132", Some(1.0)),
            ("1e-320", Some(1e-320)),
            ("9223372036854775807", Some(9_223_372_036_854_775_807.0)),
            ("", None),
            (" 1", None),
            ("1 ", None),
            ("1\0", None),
            (".", None),
            ("1e", None),
            ("0x", None),
            ("0x1p", None),
            ("nan", None),
            ("infinit", None),
            ("1e400", None),
            ("1e-400", None),
            ("0x1p-1080", None),
            ("0x1p1024", None),
            ("x", None),
            ("-", None),
        ] {
            let found = double(word.as_bytes()).map(f64::to_bits);
            assert_eq!(found, want.map(f64::to_bits), "{word:?}");
        }
    }

    #[test]
    fn ends_of_ranges_are_read_more_loosely() {
        for (word, want) in [
            ("", Some(0.0)),
            (" 1", Some(1.0)),
            ("1\0x", Some(1.0)),
            ("1e400", Some(f64::INFINITY)),
            ("1e-400", Some(0.0)),
            ("1 ", None),
            (" ", None),
            ("nan", None),
            ("0x", None),
        ] {
            assert_eq!(bound(word.as_bytes()), want, "{word:?}");
        }
    }

    proptest! {
        #[test]
        fn hexadecimal_digits_are_the_bits(value in any::<f64>()) {
            prop_assume!(value.is_finite());
            let bits = value.to_bits();
            let (exponent, mantissa) = (bits >> 52 & 0x7ff, bits & ((1 << 52) - 1));
            let text = match exponent {
                0 => format!("0x0.{mantissa:013x}p-1022"),
                _ => format!("0x1.{mantissa:013x}p{}", i64::try_from(exponent).unwrap() - 1023),
            };
            let sign = if value.is_sign_negative() { "-" } else { "" };
            prop_assert_eq!(double(format!("{sign}{text}").as_bytes()), Some(value));
        }

        #[test]
        fn any_bytes_are_read_or_refused(word in proptest::collection::vec(any::<u8>(), 0..40)) {
            double(&word);
            bound(&word);
        }
    }
}

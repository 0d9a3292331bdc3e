//! The 80-bit floating-point numbers of x87, with which redis-server computes `INCRBYFLOAT`: the same sums to
//! the last digit.

use std::fmt;

use num_bigint::BigUint;

/// Places after the point that are printed.
const PLACES: u32 = 17;
/// The largest power of two of the first digit.
const POWER_MAX: i64 = 16_383;
/// Half of the smallest number: up to it, what is not zero would become it.
const POWER_LOST: i64 = -16_446;
/// Exponents beyond this are out of range whatever digits stand before them, of which a text has less than half
/// as many.
const EXPONENT_MAX: i64 = 100_000;
/// The same for powers of ten.
const DECIMAL_EXPONENT_MAX: i64 = 11_000;
/// The longest text that is read as a number: one of 4932 digits must be. Bytes.
const TEXT_BYTES_MAX: usize = 5 * 1024 - 1;

/// `mantissa × 2^power`; the top bit of the mantissa is set unless it is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum LongDouble {
    Finite {
        is_negative: bool,
        mantissa: u64,
        power: i64,
    },
    Infinite,
}

impl LongDouble {
    pub(super) const ZERO: LongDouble = LongDouble::Finite {
        is_negative: false,
        mantissa: 0,
        power: 0,
    };

    /// The number nearest to a text; `None` for what is none, NaN included, and for what is out of range: too large
    /// to be finite, or so small that it would be zero.
    pub(in crate::server) fn parse(text: &[u8]) -> Option<LongDouble> {
        let text = std::str::from_utf8(text).ok()?;
        if text.len() > TEXT_BYTES_MAX || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return None;
        }
        let unsigned = text.trim_start_matches(['-', '+']);
        if let Some(digits) = unsigned.strip_prefix("0x").or(unsigned.strip_prefix("0X")) {
            let has_one_sign = text.len() <= unsigned.len() + 1;
            return LongDouble::hexadecimal(text.starts_with('-'), digits).filter(|_| has_one_sign);
        }
        // The grammar is that of every float.
        let float: f64 = text.parse().ok().filter(|float: &f64| !float.is_nan())?;
        let (digits, exponent) = match text.split_once(['e', 'E']) {
            Some((digits, exponent)) => (digits, exponent.parse::<i64>().unwrap_or(i64::MAX)),
            None => (text, 0),
        };
        let is_negative = digits.starts_with('-');
        let digits = digits.trim_start_matches(['-', '+']);
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let Some(number) = BigUint::parse_bytes(format!("0{whole}{fraction}").as_bytes(), 10)
        else {
            return float.is_infinite().then_some(LongDouble::Infinite);
        };
        if number == BigUint::ZERO {
            return Some(LongDouble::ZERO);
        }
        let scale = exponent.saturating_sub(i64::try_from(fraction.len()).ok()?);
        if !(-DECIMAL_EXPONENT_MAX..=DECIMAL_EXPONENT_MAX).contains(&scale) {
            return None;
        }
        let ten = BigUint::from(10_u32).pow(u32::try_from(scale.unsigned_abs()).ok()?);
        if scale >= 0 {
            LongDouble::rounded(is_negative, &(number * ten), 0).in_range()
        } else {
            LongDouble::quotient(is_negative, number, ten).in_range()
        }
    }

    /// `1.8p3`: hexadecimal digits, and a power of two.
    fn hexadecimal(is_negative: bool, text: &str) -> Option<LongDouble> {
        let (digits, power) = match text.split_once(['p', 'P']) {
            Some((digits, power)) => (digits, integer(power)?),
            None => (text, 0),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let digits = format!("{whole}{fraction}");
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let number = BigUint::parse_bytes(digits.as_bytes(), 16)?;
        if number == BigUint::ZERO {
            return Some(LongDouble::ZERO);
        }
        let power = power.clamp(-EXPONENT_MAX, EXPONENT_MAX);
        let power = power - 4 * i64::try_from(fraction.len()).ok()?;
        LongDouble::rounded(is_negative, &number, power).in_range()
    }

    /// Itself, unless it is beyond what 80 bits hold.
    fn in_range(self) -> Option<LongDouble> {
        match self {
            LongDouble::Finite {
                mantissa, power, ..
            } => {
                let top = power + 63;
                let is_lost = top < POWER_LOST || (top == POWER_LOST && mantissa == 1 << 63);
                (!is_lost).then_some(self)
            }
            LongDouble::Infinite => None,
        }
    }

    /// The number nearest to a fraction.
    fn quotient(is_negative: bool, numerator: BigUint, denominator: BigUint) -> LongDouble {
        // Enough bits that what is cut off by the division only matters as "more than nothing".
        let shift = 66 + denominator.bits().saturating_sub(numerator.bits());
        let scaled = numerator << shift;
        let mut bits = &scaled / &denominator;
        if &bits * &denominator != scaled {
            bits.set_bit(0, true);
        }
        LongDouble::rounded(
            is_negative,
            &bits,
            -i64::try_from(shift).unwrap_or(i64::MAX),
        )
    }

    /// `number × 2^power`, rounded to 64 bits; halves to even.
    fn rounded(is_negative: bool, number: &BigUint, power: i64) -> LongDouble {
        let bits = number.bits();
        let (mut mantissa, mut power) = if bits <= 64 {
            (
                number << (64 - bits),
                power - 64 + i64::try_from(bits).unwrap_or(0),
            )
        } else {
            let cut = bits - 64;
            let power = power.saturating_add(i64::try_from(cut).unwrap_or(i64::MAX));
            (shift_rounded(number, cut), power)
        };
        if mantissa.bits() > 64 {
            mantissa >>= 1;
            power += 1;
        }
        if power.saturating_add(63) > POWER_MAX {
            return LongDouble::Infinite;
        }
        let mantissa = u64::try_from(mantissa).unwrap_or(0);
        LongDouble::Finite {
            is_negative,
            mantissa,
            power,
        }
    }

    /// The product, rounded up to a whole number; `None` where that is none of 64 bits.
    pub(in crate::server) fn times_rounded_up(self, factor: u32) -> Option<i64> {
        let LongDouble::Finite {
            is_negative,
            mantissa,
            power,
        } = self
        else {
            return None;
        };
        let product = BigUint::from(mantissa) * factor;
        let LongDouble::Finite {
            mantissa, power, ..
        } = LongDouble::rounded(is_negative, &product, power)
        else {
            return None;
        };
        let magnitude = match power {
            // Its top bit is set, unless it is zero.
            1.. if mantissa != 0 => return None,
            0.. => mantissa,
            -63..0 => {
                let whole = mantissa >> power.unsigned_abs();
                let is_more = whole << power.unsigned_abs() != mantissa;
                whole + u64::from(is_more && !is_negative)
            }
            _ => u64::from(mantissa != 0 && !is_negative),
        };
        let whole = i128::from(magnitude);
        i64::try_from(if is_negative { -whole } else { whole }).ok()
    }

    /// The sum; `None` where it is not finite.
    pub(super) fn plus(self, other: LongDouble) -> Option<LongDouble> {
        let (
            LongDouble::Finite {
                is_negative: negative_a,
                mantissa: a,
                power: power_a,
            },
            LongDouble::Finite {
                is_negative: negative_b,
                mantissa: b,
                power: power_b,
            },
        ) = (self, other)
        else {
            return None;
        };
        if a == 0 {
            return Some(other);
        }
        if b == 0 {
            return Some(self);
        }
        let power = power_a.min(power_b);
        let a = BigUint::from(a) << (power_a - power).unsigned_abs();
        let b = BigUint::from(b) << (power_b - power).unsigned_abs();
        let sum = if negative_a == negative_b {
            LongDouble::rounded(negative_a, &(a + b), power)
        } else if a == b {
            LongDouble::ZERO
        } else if a > b {
            LongDouble::rounded(negative_a, &(a - b), power)
        } else {
            LongDouble::rounded(negative_b, &(b - a), power)
        };
        (sum != LongDouble::Infinite).then_some(sum)
    }
}

/// A whole number of any length, brought within 64 bits.
fn integer(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let beyond = if text.starts_with('-') {
        i64::MIN
    } else {
        i64::MAX
    };
    is_number.then(|| text.parse().unwrap_or(beyond))
}

/// `number / 2^cut`, rounded; halves to even.
fn shift_rounded(number: &BigUint, cut: u64) -> BigUint {
    let mut kept = number >> cut;
    let rest = number - (&kept << cut);
    let half = BigUint::from(1_u32) << (cut - 1);
    if rest > half || (rest == half && kept.bit(0)) {
        kept += 1_u32;
    }
    kept
}

impl fmt::Display for LongDouble {
    /// With 17 places after the point, without the zeros at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LongDouble::Finite {
            is_negative,
            mantissa,
            power,
        } = *self
        else {
            return f.write_str("inf");
        };
        let scaled = BigUint::from(mantissa) * BigUint::from(10_u32).pow(PLACES);
        let units = if power >= 0 {
            scaled << power.unsigned_abs()
        } else {
            shift_rounded(&scaled, power.unsigned_abs())
        };
        let digits = format!("{:0>18}", units.to_string());
        let (whole, fraction) = digits.split_at(digits.len() - PLACES as usize);
        let fraction = fraction.trim_end_matches('0');
        let is_zero = whole == "0" && fraction.is_empty();
        let sign = if is_negative && !is_zero { "-" } else { "" };
        let point = if fraction.is_empty() { "" } else { "." };
        write!(f, "{sign}{whole}{point}{fraction}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> LongDouble {
        LongDouble::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn sums_are_those_of_redis() {
        // As redis-server 7.0.15 answers on x86-64.
        for (a, b, want) in [
            ("10.50", "0.1", "10.6"),
            ("5.0e3", "2.0e2", "5200"),
            ("0.1", "0.2", "0.3"),
            ("3", "-3.5", "-0.5"),
            ("-0", "0", "0"),
            (".5", "1.", "1.5"),
            ("3000", "1.23456789", "3001.23456788999999989"),
            (
                "777777777777777777777777777",
                "9223372036854775807",
                "777777787001149814602727424",
            ),
            ("1e-30", "0", "0"),
            ("0x1p3", "-0X.8", "7.5"),
            ("0xff.fp-4", "0x1p-16445", "15.99609375"),
            ("0x1.8p-16446", "0", "0"),
            ("0e99999999999999999999", "0x0p99999999999", "0"),
            ("1e-4950", "0x1p-16382", "0"),
        ] {
            let sum = number(a).plus(number(b)).unwrap();
            assert_eq!(sum.to_string(), want, "{a} + {b}");
        }
        assert_eq!(number("1e4932").plus(number("1e4932")), None);
        let long = number("1e4000").to_string();
        assert_eq!(number(&long), number("1e4000"));
        assert_eq!(number("inf").plus(number("1")), None);
        assert_eq!(number("-Infinity"), LongDouble::Infinite);
        let long = format!("0.{}1e4001", "0".repeat(4000));
        assert_eq!(number(&long), number("1"));
        let long = format!("1{}e-6100", "0".repeat(4000));
        assert_eq!(number(&long), number("1e-2100"));
    }

    #[test]
    fn products_are_rounded_up() {
        for (text, want) in [
            ("0", Some(0)),
            ("0.1", Some(100)),
            ("1.0001", Some(1001)),
            ("0x0.1", Some(63)),
            ("1e-4940", Some(1)),
            ("-0.0001", Some(0)),
            ("-0.1", Some(-100)),
            ("-1.0001", Some(-1000)),
            ("9223372036854775.807", Some(i64::MAX)),
            ("9223372036854776", None),
            ("1e4931", None),
            ("inf", None),
        ] {
            assert_eq!(number(text).times_rounded_up(1000), want, "{text}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in [
            "",
            " 1",
            "1 ",
            "abc",
            "nan",
            "1,5",
            "0x",
            "1e",
            "--1",
            "0xg",
            "--0x1",
            "0x1p",
            "0x_1",
            "0x.",
            "0x1p+",
            "0x1p99999999999",
            "0x1p-99999999999999999999",
            "0x1p16384",
            "0x1.ffffffffffffffffp16383",
            "0x1p-16446",
            "-0x1p-20000",
            "1.2e4932",
            "-1e5000",
            "1e99999999999999999999",
            "1e-99999999999999999999",
            "1e-4951",
            "-1e-5000",
        ] {
            assert_eq!(LongDouble::parse(text.as_bytes()), None, "{text:?}");
        }
    }
}

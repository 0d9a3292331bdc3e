//! Doubles as text: how scores are stored and shown.

/// The text of a double as Redis 7.0 writes it: 17 significant digits, without trailing zeros (`%.17g`), and
/// integers plainly.
pub fn double_text(value: f64) -> String {
    /// The significant digits that tell any two doubles apart.
    const DIGITS: usize = 17;
    /// Integers up to here are exact.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    if value == 0.0 {
        return if value.is_sign_negative() { "-0" } else { "0" }.to_owned();
    }
    if value.fract() == 0.0 && value.abs() <= EXACT_MAX {
        return format!("{value:.0}");
    }
    let scientific = format!("{value:.*e}", DIGITS - 1);
    let (mantissa, exponent) = scientific.split_once('e').expect("it was written so");
    let exponent: i32 = exponent.parse().expect("it was written so");
    let digits_max = i32::try_from(DIGITS).expect("small");
    if (-4..digits_max).contains(&exponent) {
        let decimals = usize::try_from(digits_max - 1 - exponent).expect("not negative");
        return without_zeros(&format!("{value:.decimals$}")).to_owned();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", without_zeros(mantissa), exponent.abs())
}

fn without_zeros(text: &str) -> &str {
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        text
    }
}

/// The double that a text is: a decimal number, or an infinity. Not NaN, no blanks.
pub fn parse_double(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?;
    let value: f64 = text.parse().ok()?;
    (!value.is_nan()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_texts_are_those_of_redis() {
        for (value, want) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-17.0, "-17"),
            (0.1, "0.10000000000000001"),
            (1.5, "1.5"),
            (2.0 / 3.0, "0.66666666666666663"),
            (1e15, "1000000000000000"),
            (1e17, "1e+17"),
            (1.234e20, "1.234e+20"),
            (1e-5, "1.0000000000000001e-05"),
            (0.0001, "0.0001"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::MAX, "1.7976931348623157e+308"),
            (5e-324, "4.9406564584124654e-324"),
        ] {
            assert_eq!(double_text(value), want);
        }
    }

    proptest! {
        #[test]
        fn no_bit_is_lost(value in any::<f64>()) {
            prop_assume!(!value.is_nan());
            prop_assert_eq!(parse_double(double_text(value).as_bytes()), Some(value));
        }
    }
}

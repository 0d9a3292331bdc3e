//! Numbers as clients and servers write them.

/// The number whose canonical decimal text `bytes` is: no sign but `-`, no leading zero, no blank.
pub fn canonical_integer(bytes: &[u8]) -> Option<i64> {
    let (is_negative, digits) = match bytes {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !is_negative => return Some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    let mut n: i64 = 0;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        // Downwards, where there is one number more.
        n = n.checked_mul(10)?.checked_sub(i64::from(digit))?;
    }
    if is_negative {
        Some(n)
    } else {
        n.checked_neg()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_integers_are_numbers() {
        for text in [
            "0",
            "7",
            "-1",
            "9223372036854775807",
            "-9223372036854775808",
        ] {
            assert_eq!(
                canonical_integer(text.as_bytes()).map(|n| n.to_string()),
                Some(text.to_owned())
            );
        }
        for text in [
            "",
            "-",
            "00",
            "007",
            "+1",
            "-0",
            " 1",
            "1 ",
            "1.0",
            "9223372036854775808",
            "-9223372036854775809",
            "9999999999999999999",
            "1e3",
        ] {
            assert_eq!(canonical_integer(text.as_bytes()), None, "{text:?}");
        }
    }
}

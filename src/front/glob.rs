//! Redis's glob patterns: `*`, `?`, `[a-z]`, `[^…]` and `\` before a character taken literally.

/// Whether all of `text` matches `pattern`, byte by byte, with the case respected.
///
/// As in redis-server 7.0, only the empty pattern matches what is empty, and `*` does not. Those commands that take
/// all there is where their whole pattern is `*` see to that themselves.
///
/// One position to go back to is remembered, so the cost is at most `pattern × text`, never exponential.
pub fn glob_match(pattern: &[u8], text: &[u8]) -> bool {
    matches(pattern, text, false)
}

/// As [`glob_match`], with ASCII letters of either case taken as equal.
pub fn glob_match_ignore_case(pattern: &[u8], text: &[u8]) -> bool {
    matches(pattern, text, true)
}

fn matches(pattern: &[u8], text: &[u8], ignore_case: bool) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p + 1, t));
            p += 1;
            continue;
        }
        if let Some(used) = match_one(&pattern[p..], text[t], ignore_case) {
            p += used;
            t += 1;
            continue;
        }
        let Some((after_star, taken)) = star else {
            return false;
        };
        p = after_star;
        t = taken + 1;
        star = Some((after_star, t));
    }
    pattern[p..].iter().all(|b| *b == b'*')
}

/// How many bytes of the pattern matched `byte`; `None` when they do not, or the pattern has ended.
fn match_one(pattern: &[u8], byte: u8, ignore_case: bool) -> Option<usize> {
    let fold = |b: u8| {
        if ignore_case {
            b.to_ascii_lowercase()
        } else {
            b
        }
    };
    match *pattern.first()? {
        b'?' => Some(1),
        b'[' => {
            let (hit, used) = match_class(pattern, fold(byte), fold);
            hit.then_some(used)
        }
        b'\\' if pattern.len() >= 2 => (fold(pattern[1]) == fold(byte)).then_some(2),
        literal => (fold(literal) == fold(byte)).then_some(1),
    }
}

/// Whether `byte` is in the class at the start of `pattern`, and how long the class is. A class that
/// is never closed ends with the pattern.
fn match_class(pattern: &[u8], byte: u8, fold: impl Fn(u8) -> u8) -> (bool, usize) {
    let mut at = 1;
    let negated = pattern.get(at) == Some(&b'^');
    at += usize::from(negated);
    let mut hit = false;
    loop {
        match pattern[at.min(pattern.len())..] {
            [] => return (hit != negated, pattern.len()),
            [b']', ..] => return (hit != negated, at + 1),
            [b'\\', escaped, ..] => {
                hit |= fold(escaped) == byte;
                at += 2;
            }
            [from, b'-', to, ..] => {
                let (from, to) = (fold(from.min(to)), fold(from.max(to)));
                hit |= (from..=to).contains(&byte);
                at += 3;
            }
            [literal, ..] => {
                hit |= fold(literal) == byte;
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, text: &str, want: bool) {
        assert_eq!(
            glob_match(pattern.as_bytes(), text.as_bytes()),
            want,
            "{pattern:?} against {text:?}"
        );
    }

    #[test]
    fn the_documented_forms() {
        check("h?llo", "hello", true);
        check("h?llo", "hllo", false);
        check("h*llo", "heeeello", true);
        check("h[ae]llo", "hallo", true);
        check("h[ae]llo", "hillo", false);
        check("h[^e]llo", "hallo", true);
        check("h[^e]llo", "hello", false);
        check("h[a-b]llo", "hbllo", true);
        check("h[b-a]llo", "hallo", true);
        check("\\*", "*", true);
        check("\\*", "a", false);
        check("[\\]]", "]", true);
        check("[a", "a", true);
        check("*", "", false);
        check("**", "", false);
        check("a*", "a", true);
        check("", "", true);
        check("", "a", false);
        check("a*b*c", "aXbYbZc", true);
        check("+sdown", "+sdown", true);
        check("\\", "\\", true);
    }

    #[test]
    fn case_is_folded_on_request() {
        assert!(glob_match_ignore_case(b"ANNOUNCE-*", b"announce-ip"));
        assert!(glob_match_ignore_case(b"[A-C]x", b"bX"));
        assert!(!glob_match(b"A", b"a"));
    }

    #[test]
    fn many_stars_stay_cheap() {
        let pattern = "a*".repeat(40) + "b";
        check(&pattern, &"a".repeat(400), false);
    }
}

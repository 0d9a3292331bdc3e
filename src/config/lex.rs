//! The text level of the Redis dialect: lines, words, quotes.

use std::fmt::Write;

use crate::resp::split_words;

use super::errors::Refusal;

/// Splits a line into words. `Ok(None)`: blank, or a comment.
///
/// # Errors
/// Quotes that do not close, or bytes that are not UTF-8.
pub fn words(line: &[u8]) -> Result<Option<Vec<String>>, Refusal> {
    let line = line.trim_ascii();
    if line.is_empty() || line[0] == b'#' {
        return Ok(None);
    }
    let words = split_words(line).ok_or_else(|| {
        Refusal::new("Unbalanced quotes in configuration line")
            .hint("a closing quote, followed by a blank or the end of the line")
    })?;
    if words.is_empty() {
        return Ok(None);
    }
    words
        .into_iter()
        .map(|word| String::from_utf8(word).map_err(|_| Refusal::new("Text that is not UTF-8")))
        .collect::<Result<Vec<_>, _>>()
        .map(Some)
        .map_err(|refusal| refusal.hint("a file in UTF-8"))
}

/// Appends `word` so that it is read back as one word and the same: bare where that is possible. Not for
/// the first word of a line, which must not begin with `#`.
pub fn push_quoted(out: &mut String, word: &str) {
    if !needs_quotes(word) {
        out.push_str(word);
        return;
    }
    out.push('"');
    for c in word.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_ascii_control() => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

fn needs_quotes(word: &str) -> bool {
    word.is_empty()
        || word
            .bytes()
            .any(|b| b.is_ascii_whitespace() || b.is_ascii_control() || b == b'"' || b == b'\'')
}

/// The words as one line, quoted where they need it.
pub fn join<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let mut line = String::new();
    for word in words {
        if !line.is_empty() {
            line.push(' ');
        }
        push_quoted(&mut line, word);
    }
    line
}

/// How many letters must be inserted, removed or replaced to turn `a` into `b`.
pub fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_word_is_read_back(list in prop::collection::vec(".{0,12}", 1..5)) {
            let line = join(std::iter::once("name").chain(list.iter().map(String::as_str)));
            let read = words(line.as_bytes()).unwrap().unwrap();
            prop_assert_eq!(&read[1..], &list[..]);
        }

        #[test]
        fn every_control_character_is_read_back(list in prop::collection::vec("[\\x00-\\x7f]{0,6}", 1..5)) {
            let line = join(std::iter::once("name").chain(list.iter().map(String::as_str)));
            prop_assert!(!line.contains('\n'));
            let read = words(line.as_bytes()).unwrap().unwrap();
            prop_assert_eq!(&read[1..], &list[..]);
        }
    }

    #[test]
    fn comments_and_blanks_have_no_words() {
        assert_eq!(words(b"  # port 1").unwrap(), None);
        assert_eq!(words(b" \t\r").unwrap(), None);
        assert!(words(b"port \"1").is_err());
        assert!(words(b"requirepass \xff").is_err());
    }

    #[test]
    fn distance_counts_typing_errors() {
        assert_eq!(edit_distance("port", "port"), 0);
        assert_eq!(edit_distance("prot", "port"), 2);
        assert_eq!(edit_distance("", "port"), 4);
        assert_eq!(edit_distance("logfle", "logfile"), 1);
    }
}

//! What a key holds.

use std::sync::Arc;

/// The longest string that is copied when it is changed or saved. Bytes. Longer ones are shared with the
/// snapshots that are still writing them out.
const SHORT_BYTES_MAX: usize = 4096;

/// A stored value. Each type of Redis that we can hold is one variant; it is `Send`, so that large values
/// can be dropped on another thread and keyspaces can be loaded on one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A string.
    String(Text),
}

impl Value {
    /// The name that `TYPE` and errors use.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::String(_) => "string",
        }
    }

    /// A string value holding a copy of `bytes`.
    pub fn string(bytes: &[u8]) -> Value {
        Value::String(Text::from_bytes(bytes))
    }
}

/// The bytes of a string value, stored by what they are.
///
/// The form depends on the length and the content only where that is invisible: two texts of equal bytes
/// are equal whatever form they have.
#[derive(Clone, Debug)]
pub enum Text {
    /// The canonical decimal text of this number.
    Integer(i64),
    /// Up to `SHORT_BYTES_MAX` bytes.
    Short(Box<[u8]>),
    /// Any more. Shared with snapshots in progress; a writer copies it only if it is.
    Long(Arc<Vec<u8>>),
}

impl Text {
    /// A copy of `bytes`.
    pub fn from_bytes(bytes: &[u8]) -> Text {
        if let Some(n) = canonical_integer(bytes) {
            Text::Integer(n)
        } else if bytes.len() <= SHORT_BYTES_MAX {
            Text::Short(bytes.into())
        } else {
            Text::Long(Arc::new(bytes.to_vec()))
        }
    }

    /// Takes over `bytes`.
    pub fn from_vec(bytes: Vec<u8>) -> Text {
        if bytes.len() <= SHORT_BYTES_MAX {
            Text::from_bytes(&bytes)
        } else {
            Text::Long(Arc::new(bytes))
        }
    }

    /// The bytes; `digits` holds them where they are stored as a number.
    pub fn bytes<'a>(&'a self, digits: &'a mut itoa::Buffer) -> &'a [u8] {
        match self {
            Text::Integer(n) => digits.format(*n).as_bytes(),
            Text::Short(bytes) => bytes,
            Text::Long(bytes) => bytes,
        }
    }

    /// The number that the text is, when it is the canonical decimal of an `i64`.
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Text::Integer(n) => Some(*n),
            Text::Short(bytes) => canonical_integer(bytes),
            Text::Long(_) => None,
        }
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        match self {
            Text::Integer(n) => itoa::Buffer::new().format(*n).len(),
            Text::Short(bytes) => bytes.len(),
            Text::Long(bytes) => bytes.len(),
        }
    }

    /// True for the empty string.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Changes the bytes in place; amortised like a `Vec` for long texts.
    pub fn edit(&mut self, change: impl FnOnce(&mut Vec<u8>)) {
        match self {
            Text::Integer(_) | Text::Short(_) => {
                let mut bytes = self.bytes(&mut itoa::Buffer::new()).to_vec();
                change(&mut bytes);
                *self = Text::from_vec(bytes);
            }
            Text::Long(shared) => change(Arc::make_mut(shared)),
        }
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Text) -> bool {
        self.bytes(&mut itoa::Buffer::new()) == other.bytes(&mut itoa::Buffer::new())
    }
}

impl Eq for Text {}

/// The number whose canonical decimal text `bytes` is: no sign but `-`, no leading zero, no blank.
pub fn canonical_integer(bytes: &[u8]) -> Option<i64> {
    let digits = bytes.strip_prefix(b"-").unwrap_or(bytes);
    match digits {
        [b'0'] if bytes.len() == 1 => return Some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    std::str::from_utf8(bytes).ok()?.parse().ok()
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
            "1e3",
        ] {
            assert_eq!(canonical_integer(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn an_edit_changes_the_form_when_it_must() {
        let mut text = Text::from_bytes(b"12");
        assert!(matches!(text, Text::Integer(12)));
        text.edit(|bytes| bytes.push(b'x'));
        assert!(matches!(text, Text::Short(_)));
        text.edit(|bytes| bytes.resize(SHORT_BYTES_MAX + 1, b'y'));
        assert!(matches!(text, Text::Long(_)));
        assert_eq!(text.len(), SHORT_BYTES_MAX + 1);
    }

    #[test]
    fn a_shared_long_text_is_copied_by_its_writer() {
        let mut text = Text::from_vec(vec![b'a'; SHORT_BYTES_MAX + 1]);
        let before = text.clone();
        text.edit(|bytes| bytes[0] = b'b');
        assert_ne!(text, before);
        assert_eq!(before, Text::from_vec(vec![b'a'; SHORT_BYTES_MAX + 1]));
    }
}

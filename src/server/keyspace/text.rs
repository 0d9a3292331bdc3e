//! Strings, stored by what they are, and how an element of any collection is handed out.

use std::borrow::Cow;
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;

use super::held::{self, Whole};
use crate::resp::{OWN_BUFFER_MIN, Word, canonical_integer};

/// The longest string that is copied when it is changed or saved. Bytes. Longer ones are shared with the
/// snapshots that are still writing them out.
pub(super) const SHORT_BYTES_MAX: usize = 4096;

/// Longer strings are not in one allocation with their object in Redis, which shows as their encoding.
pub(super) const EMBSTR_BYTES_MAX: usize = 44;

/// The most bytes that need no allocation of their own.
const INLINE_BYTES_MAX: usize = 22;

/// The bytes of a string value, stored by what they are.
///
/// Two texts of equal bytes are equal whatever form they have. What a change has made is told apart from
/// what was set, because Redis shows that as their encoding.
#[derive(Clone, Debug)]
pub enum Text {
    /// The canonical decimal text of this number.
    Integer(i64),
    /// A few bytes, in place: how many, and they.
    Inline(u8, [u8; INLINE_BYTES_MAX]),
    /// Up to `SHORT_BYTES_MAX` bytes.
    Short(Box<[u8]>),
    /// As `Inline`, but made by a change.
    EditedInline(u8, [u8; INLINE_BYTES_MAX]),
    /// As `Short` of up to `EMBSTR_BYTES_MAX` bytes, but made by a change.
    EditedShort(Box<[u8]>),
    /// Any more. Shared with snapshots in progress; a writer copies it only if it is.
    Long(Arc<Long>),
}

/// The bytes of a long text.
#[derive(Debug)]
pub enum Long {
    /// In a buffer that holds nothing else, as they were received or loaded. Replies may share it.
    Fixed(Bytes),
    /// With room for more, as a change has made them.
    Edited(Vec<u8>),
}

impl Long {
    /// The bytes, to be changed. They are only copied if somebody else still has them: a reply, or who received the word.
    fn make_vec(&mut self) -> &mut Vec<u8> {
        if let Long::Fixed(bytes) = self {
            *self = Long::Edited(Vec::from(std::mem::take(bytes)));
        }
        match self {
            Long::Edited(bytes) => bytes,
            Long::Fixed(_) => unreachable!("it has just been made"),
        }
    }

    fn capacity(&self) -> usize {
        match self {
            Long::Fixed(bytes) => bytes.len(),
            Long::Edited(bytes) => bytes.capacity(),
        }
    }
}

impl Deref for Long {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Long::Fixed(bytes) => bytes,
            Long::Edited(bytes) => bytes,
        }
    }
}

impl Clone for Long {
    /// A copy of the bytes, for who is about to change them.
    fn clone(&self) -> Long {
        Long::Edited(self.to_vec())
    }
}

impl Whole for Long {
    fn copied_bytes(&self) -> usize {
        /// The two counters before it.
        const SHARED_HEAD_BYTES: usize = 16;
        self.capacity() + size_of::<Long>() + SHARED_HEAD_BYTES
    }
}

/// One element of a collection, or a string, as its store has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Element<'a> {
    /// The canonical decimal text of this number.
    Integer(i64),
    /// These bytes.
    Bytes(&'a [u8]),
}

impl<'a> Element<'a> {
    /// The bytes; `digits` holds them where they are stored as a number.
    pub fn bytes<'b>(self, digits: &'b mut itoa::Buffer) -> &'b [u8]
    where
        'a: 'b,
    {
        match self {
            Element::Integer(n) => digits.format(n).as_bytes(),
            Element::Bytes(bytes) => bytes,
        }
    }

    /// The bytes, copied only where they are stored as a number.
    pub fn to_cow(self) -> Cow<'a, [u8]> {
        match self {
            Element::Integer(_) => Cow::Owned(self.to_vec()),
            Element::Bytes(bytes) => Cow::Borrowed(bytes),
        }
    }

    /// A copy of the bytes.
    pub fn to_vec(self) -> Vec<u8> {
        self.bytes(&mut itoa::Buffer::new()).to_vec()
    }

    /// Length in bytes.
    #[expect(
        clippy::len_without_is_empty,
        reason = "an element is a value, no container"
    )]
    pub fn len(self) -> usize {
        match self {
            Element::Integer(n) => {
                let digits = n.unsigned_abs().checked_ilog10().unwrap_or(0) + 1;
                digits as usize + usize::from(n < 0)
            }
            Element::Bytes(bytes) => bytes.len(),
        }
    }

    /// The same element in one form, whichever it is stored in: a number may be there as its text.
    pub fn as_number_if_one(self) -> Element<'a> {
        self.as_integer().map_or(self, Element::Integer)
    }

    /// The number that it is, when it is the canonical decimal of an `i64`.
    pub fn as_integer(self) -> Option<i64> {
        match self {
            Element::Integer(n) => Some(n),
            Element::Bytes(bytes) => canonical_integer(bytes),
        }
    }
}

impl Text {
    /// A copy of `bytes`.
    pub fn from_bytes(bytes: &[u8]) -> Text {
        canonical_integer(bytes).map_or_else(|| Text::of_characters(bytes), Text::Integer)
    }

    /// A copy of `bytes` which is not kept as a number even where it looks like one.
    pub fn of_characters(bytes: &[u8]) -> Text {
        match inline(bytes) {
            Some((len, inline)) => Text::Inline(len, inline),
            None if bytes.len() <= SHORT_BYTES_MAX => Text::Short(bytes.into()),
            None => Text::long(bytes.to_vec()),
        }
    }

    fn long(bytes: Vec<u8>) -> Text {
        Text::Long(Arc::new(if bytes.len() == bytes.capacity() {
            Long::Fixed(bytes.into())
        } else {
            Long::Edited(bytes)
        }))
    }

    /// Takes a word of a request, as [`Text::assign`] would, but without a copy where the word has a buffer of its
    /// own.
    pub fn receive(&mut self, word: &Word<'_>) {
        if word.len() < OWN_BUFFER_MIN {
            self.assign(word);
        } else {
            held::leave(self.common_bytes(1));
            *self = Text::Long(Arc::new(Long::Fixed(word.to_bytes())));
        }
    }

    /// Takes other bytes, as [`Text::from_bytes`] would, in the room of those that it had if they are as many.
    pub fn assign(&mut self, bytes: &[u8]) {
        if let Text::Short(own) = self
            && own.len() == bytes.len()
        {
            own.copy_from_slice(bytes);
        } else {
            held::leave(self.common_bytes(1));
            *self = Text::from_bytes(bytes);
        }
    }

    /// Reads a little of what is not in place. What is returned says nothing.
    pub(super) fn touch(&self) -> usize {
        match self {
            Text::Short(bytes) | Text::EditedShort(bytes) => {
                bytes.first().map_or(0, |byte| usize::from(*byte))
            }
            Text::Long(bytes) => bytes.len(),
            Text::Integer(_) | Text::Inline(..) | Text::EditedInline(..) => 0,
        }
    }

    /// What a change has made of a text.
    pub fn edited(bytes: Vec<u8>) -> Text {
        match inline(&bytes) {
            Some((len, inline)) => Text::EditedInline(len, inline),
            None if bytes.len() <= EMBSTR_BYTES_MAX => Text::EditedShort(bytes.into()),
            None if bytes.len() <= SHORT_BYTES_MAX => Text::Short(bytes.into()),
            None => Text::long(bytes),
        }
    }

    /// Takes over `bytes`.
    pub fn from_vec(bytes: Vec<u8>) -> Text {
        match bytes.len() {
            // No number is so long.
            len if len > INLINE_BYTES_MAX && len <= SHORT_BYTES_MAX => Text::Short(bytes.into()),
            len if len > SHORT_BYTES_MAX => Text::long(bytes),
            _ => Text::from_bytes(&bytes),
        }
    }

    /// The content.
    pub fn element(&self) -> Element<'_> {
        match self {
            Text::Integer(n) => Element::Integer(*n),
            Text::Inline(len, bytes) | Text::EditedInline(len, bytes) => {
                Element::Bytes(&bytes[..usize::from(*len)])
            }
            Text::Short(bytes) | Text::EditedShort(bytes) => Element::Bytes(bytes),
            Text::Long(bytes) => Element::Bytes(bytes),
        }
    }

    /// The bytes; `digits` holds them where they are stored as a number.
    pub fn bytes<'a>(&'a self, digits: &'a mut itoa::Buffer) -> &'a [u8] {
        self.element().bytes(digits)
    }

    /// The bytes of a long text, if they can be had without a copy by whoever keeps them beyond a change.
    pub fn as_shared(&self) -> Option<&Bytes> {
        match self {
            Text::Long(long) => match &**long {
                Long::Fixed(bytes) => Some(bytes),
                Long::Edited(_) => None,
            },
            Text::Integer(_)
            | Text::Inline(..)
            | Text::Short(_)
            | Text::EditedInline(..)
            | Text::EditedShort(_) => None,
        }
    }

    /// The number that the text is, when it is the canonical decimal of an `i64`.
    pub fn as_integer(&self) -> Option<i64> {
        self.element().as_integer()
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.element().len()
    }

    /// True for the empty string.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Changes the bytes in place; amortised like a `Vec` for long texts.
    pub fn edit<R>(&mut self, change: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        if let Text::Long(shared) = self {
            return change(held::make_mut(shared).make_vec());
        }
        let mut bytes = self.element().to_vec();
        let result = change(&mut bytes);
        *self = Text::edited(bytes);
        result
    }

    /// Bytes of memory beyond those of the `Text` itself.
    pub fn heap_bytes(&self) -> usize {
        match self {
            Text::Integer(_) | Text::Inline(..) | Text::EditedInline(..) => 0,
            Text::Short(bytes) | Text::EditedShort(bytes) => bytes.len(),
            Text::Long(_) => self.common_bytes(0),
        }
    }

    /// Bytes of what clones have in common, if that has more than so many owners.
    pub(super) fn common_bytes(&self, owners: usize) -> usize {
        match self {
            Text::Long(bytes) if Arc::strong_count(bytes) > owners => bytes.copied_bytes(),
            Text::Long(_)
            | Text::Integer(_)
            | Text::Inline(..)
            | Text::Short(_)
            | Text::EditedInline(..)
            | Text::EditedShort(_) => 0,
        }
    }

    /// How many have it, where that is shared.
    pub(super) fn owners(&self) -> usize {
        match self {
            Text::Long(bytes) => Arc::strong_count(bytes).max(1),
            Text::Integer(_)
            | Text::Inline(..)
            | Text::Short(_)
            | Text::EditedInline(..)
            | Text::EditedShort(_) => 1,
        }
    }

    /// Whether it is shared with snapshots instead of being copied.
    pub fn is_large(&self) -> bool {
        matches!(self, Text::Long(_))
    }
}

/// The bytes in place, where they are few enough: how many, and they.
fn inline(bytes: &[u8]) -> Option<(u8, [u8; INLINE_BYTES_MAX])> {
    let mut inline = [0; INLINE_BYTES_MAX];
    inline.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some((u8::try_from(bytes.len()).ok()?, inline))
}

impl PartialEq for Text {
    fn eq(&self, other: &Text) -> bool {
        self.bytes(&mut itoa::Buffer::new()) == other.bytes(&mut itoa::Buffer::new())
    }
}

impl Eq for Text {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_word_becomes_a_text_and_is_changed_without_a_copy() {
        let word = Word::Own(Bytes::from(vec![b'x'; OWN_BUFFER_MIN]));
        let place = word.as_ptr();
        let mut text = Text::default();
        text.receive(&word);
        assert_eq!(text.bytes(&mut itoa::Buffer::new()).as_ptr(), place);
        drop(word);
        text.edit(|bytes| bytes[0] = b'y');
        let digits = &mut itoa::Buffer::new();
        assert_eq!(text.bytes(digits).as_ptr(), place);
        assert_eq!(text.bytes(digits)[..2], *b"yx");
        assert_eq!(text.as_shared(), None, "it may have room for more");
        // A snapshot has it as it was.
        let before = text.clone();
        text.edit(|bytes| bytes.push(b'z'));
        assert_eq!(
            (before.len(), text.len()),
            (OWN_BUFFER_MIN, OWN_BUFFER_MIN + 1)
        );
    }

    #[test]
    fn a_number_is_as_long_as_its_text() {
        for n in [0, 9, 10, 99, 100, -1, -10, i64::MAX, i64::MIN] {
            assert_eq!(Element::Integer(n).len(), n.to_string().len(), "{n}");
        }
    }

    #[test]
    fn an_edit_changes_the_form_when_it_must() {
        let mut text = Text::from_bytes(b"12");
        assert!(matches!(text, Text::Integer(12)));
        text.edit(|bytes| bytes.push(b'x'));
        assert!(matches!(text, Text::EditedInline(3, _)));
        text.edit(|bytes| bytes.truncate(2));
        assert!(matches!(text, Text::EditedInline(2, _)));
        assert_eq!((text.as_integer(), &text), (Some(12), &Text::Integer(12)));
        text.edit(|bytes| bytes.resize(EMBSTR_BYTES_MAX, b'x'));
        assert!(matches!(text, Text::EditedShort(_)));
        text.edit(|bytes| bytes.resize(100, b'x'));
        assert!(matches!(text, Text::Short(_)));
        text.edit(|bytes| bytes.resize(SHORT_BYTES_MAX + 1, b'y'));
        assert!(matches!(text, Text::Long(_)));
        assert_eq!(text.len(), SHORT_BYTES_MAX + 1);
        assert_eq!(size_of::<Text>(), 24);
    }

    #[test]
    fn what_shares_a_long_text_keeps_it_as_it_was() {
        let mut text = Text::from_vec(vec![b'a'; SHORT_BYTES_MAX + 1]);
        let shared = text.as_shared().unwrap().clone();
        assert_eq!(
            text.bytes(&mut itoa::Buffer::new()).as_ptr(),
            shared.as_ptr()
        );
        text.edit(|bytes| bytes[0] = b'b');
        assert_eq!(*shared, [b'a'; SHORT_BYTES_MAX + 1]);
        assert_eq!(text.bytes(&mut itoa::Buffer::new())[..2], *b"ba");
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

//! One word of a request.

use std::fmt;
use std::ops::Deref;

use bytes::Bytes;

use super::OWN_BUFFER_MIN;

/// A word of a request: a part of what was read, where it lies, or a buffer of its own.
///
/// Whoever keeps one beyond its request makes it a buffer by [`Word::to_bytes`] or [`Word::keep`].
#[derive(Clone)]
pub enum Word<'a> {
    /// A part of a buffer that serves others when the request has run.
    Part(&'a [u8]),
    /// Bytes that may be kept as they are.
    Own(Bytes),
}

impl Word<'_> {
    /// The word as bytes that may be kept: shared where it is long and has its own buffer, else a copy, so that it does not
    /// hold a whole buffer with many others.
    pub fn to_bytes(&self) -> Bytes {
        match self {
            Word::Own(bytes) if bytes.len() >= OWN_BUFFER_MIN => bytes.clone(),
            Word::Part(_) | Word::Own(_) => Bytes::copy_from_slice(self),
        }
    }

    /// The bytes as they are where they are its own, which may hold what came with them; else a copy. For a word that was
    /// kept already, and for what is kept no longer than what came with it.
    pub fn into_bytes(self) -> Bytes {
        match self {
            Word::Part(part) => Bytes::copy_from_slice(part),
            Word::Own(bytes) => bytes,
        }
    }

    /// As [`Word::into_bytes`], as a word.
    pub fn into_owned(self) -> Word<'static> {
        Word::Own(self.into_bytes())
    }

    /// As [`Word::to_bytes`], for a request that runs later.
    pub fn keep(&self) -> Word<'static> {
        Word::Own(self.to_bytes())
    }
}

impl Deref for Word<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Word::Part(part) => part,
            Word::Own(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for Word<'_> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<Bytes> for Word<'_> {
    fn from(bytes: Bytes) -> Self {
        Word::Own(bytes)
    }
}

impl<'a> From<&'a [u8]> for Word<'a> {
    fn from(part: &'a [u8]) -> Self {
        Word::Part(part)
    }
}

impl<'a> From<&'a str> for Word<'a> {
    fn from(part: &'a str) -> Self {
        Word::Part(part.as_bytes())
    }
}

impl<T: AsRef<[u8]> + ?Sized> PartialEq<T> for Word<'_> {
    fn eq(&self, other: &T) -> bool {
        **self == *other.as_ref()
    }
}

impl Eq for Word<'_> {}

impl fmt::Debug for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.escape_ascii())
    }
}

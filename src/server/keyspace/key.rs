//! Bytes by which something is found: a key, a field of a hash, a member of a set.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// The most bytes that need no allocation of their own.
const INLINE_BYTES_MAX: usize = 22;

/// The name of a key, a field or a member: 24 bytes, short ones without an allocation, long ones shared.
#[derive(Clone)]
pub struct Key(Form);

#[derive(Clone)]
enum Form {
    Inline(u8, [u8; INLINE_BYTES_MAX]),
    Shared(Arc<[u8]>),
}

impl Deref for Key {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Form::Inline(len, bytes) => &bytes[..usize::from(*len)],
            Form::Shared(bytes) => bytes,
        }
    }
}

impl Default for Key {
    fn default() -> Key {
        Key(Form::Inline(0, [0; INLINE_BYTES_MAX]))
    }
}

impl From<&[u8]> for Key {
    fn from(bytes: &[u8]) -> Key {
        let mut inline = [0; INLINE_BYTES_MAX];
        match (inline.get_mut(..bytes.len()), u8::try_from(bytes.len())) {
            (Some(room), Ok(len)) => {
                room.copy_from_slice(bytes);
                Key(Form::Inline(len, inline))
            }
            _ => Key(Form::Shared(bytes.into())),
        }
    }
}

impl Key {
    /// Bytes of memory beyond the 24 of the key itself. A shared one counts wherever it is.
    pub fn heap_bytes(&self) -> usize {
        self.common_bytes(0)
    }

    /// The same, if those that share it are more than so many.
    pub(super) fn common_bytes(&self, owners: usize) -> usize {
        /// The two counters before the bytes.
        const SHARED_HEAD_BYTES: usize = 16;
        match &self.0 {
            Form::Shared(bytes) if Arc::strong_count(bytes) > owners => {
                SHARED_HEAD_BYTES + bytes.len()
            }
            Form::Shared(_) | Form::Inline(..) => 0,
        }
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        **self == **other
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Key) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Key) -> std::cmp::Ordering {
        (**self).cmp(&**other)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_kept() {
        assert_eq!(size_of::<Key>(), 24);
        for len in [0, 1, INLINE_BYTES_MAX, INLINE_BYTES_MAX + 1, 1000] {
            let bytes = vec![b'k'; len];
            let key = Key::from(&bytes[..]);
            assert_eq!(&*key, &bytes[..]);
            assert_eq!(key.heap_bytes() == 0, len <= INLINE_BYTES_MAX);
        }
    }
}

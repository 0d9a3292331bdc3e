//! What a client has sent and has not been decoded yet.

use std::collections::VecDeque;

use bytes::{Buf, BytesMut};

/// What comes while a client must wait is kept in pieces of about so many bytes. So it is not moved when more comes,
/// of which there may be as much as `client-query-buffer-limit` allows.
const PIECE_BYTES: usize = 256 * 1024;

/// Bytes in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Unread {
    /// Where the next requests are decoded. Empty only if everything is.
    front: BytesMut,
    behind: VecDeque<BytesMut>,
    behind_bytes: usize,
}

impl Unread {
    /// How many bytes there are.
    pub(super) fn len(&self) -> usize {
        self.front.len() + self.behind_bytes
    }

    /// True when there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first of them. When no request is complete in these, [`Unread::join`] may give more.
    pub(super) fn front(&self) -> &[u8] {
        &self.front
    }

    /// Makes more of it the front. False when all is there.
    pub(super) fn join(&mut self) -> bool {
        let Some(next) = self.behind.pop_front() else {
            return false;
        };
        self.behind_bytes -= next.len();
        self.front.extend_from_slice(&next);
        true
    }

    /// Adds what came last.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        match self.behind.back_mut() {
            None if self.front.len() < PIECE_BYTES => {
                self.front.extend_from_slice(bytes);
                return;
            }
            Some(last) if last.len() < PIECE_BYTES => last.extend_from_slice(bytes),
            _ => self.behind.push_back(bytes.into()),
        }
        self.behind_bytes += bytes.len();
    }

    /// Drops the first `n` bytes, which are of the front. True if others are the front now, of which nothing has been
    /// decoded.
    pub(super) fn advance(&mut self, n: usize) -> bool {
        self.front.advance(n);
        if !self.front.is_empty() {
            return false;
        }
        self.front = self.behind.pop_front().unwrap_or_default();
        self.behind_bytes -= self.front.len();
        !self.front.is_empty()
    }
}

impl From<&[u8]> for Unread {
    fn from(bytes: &[u8]) -> Unread {
        Unread {
            front: bytes.into(),
            ..Unread::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_is_there_in_order_and_not_moved() {
        let bytes: Vec<u8> = (0..10 * PIECE_BYTES).map(|n| n.to_le_bytes()[0]).collect();
        let mut unread = Unread::default();
        for part in bytes.chunks(1000) {
            unread.push(part);
            let pieces = unread.behind.iter().chain([&unread.front]);
            let largest = pieces.map(BytesMut::capacity).max().unwrap();
            assert!(largest <= 2 * PIECE_BYTES, "{largest}");
        }
        let mut got = Vec::new();
        while !unread.is_empty() {
            assert_eq!(unread.len(), bytes.len() - got.len());
            let n = unread.front().len().min(PIECE_BYTES / 3);
            got.extend_from_slice(&unread.front()[..n]);
            let was_all = n == unread.front().len();
            let is_new = unread.advance(n);
            assert_eq!(is_new, was_all && !unread.is_empty());
        }
        assert!(got == bytes);
        assert_eq!(unread.front.capacity(), 0, "no room is kept");
    }

    #[test]
    fn a_request_that_two_pieces_share_is_joined() {
        let mut unread = Unread::from(&b"a"[..]);
        unread.push(&[b'b'; PIECE_BYTES]);
        unread.push(b"c");
        assert!(!unread.advance(PIECE_BYTES));
        assert_eq!((unread.front(), unread.len()), (&b"b"[..], 2));
        assert!(unread.join());
        assert!(!unread.join());
        assert_eq!((unread.front(), unread.len()), (&b"bc"[..], 2));
    }
}

//! The newest bytes of a replication history, for replicas that come back.

use crate::ids::ReplOffset;

/// Smaller settings are raised to this, as Redis does. Bytes.
pub const BACKLOG_BYTES_MIN: usize = 16 * 1024;

/// A window of a byte stream. Positions count from 1: [`Backlog::newest`] bytes have been produced, and
/// the byte after them has the number `newest + 1`.
#[derive(Debug)]
pub struct Backlog {
    /// A ring that grows up to `bytes_max`; `start` is the place of its oldest byte.
    ring: Vec<u8>,
    start: usize,
    bytes_max: usize,
    newest: ReplOffset,
}

impl Backlog {
    /// An empty window at `newest`.
    pub fn new(newest: ReplOffset, bytes_max: usize) -> Backlog {
        Backlog {
            ring: Vec::new(),
            start: 0,
            bytes_max: bytes_max.max(BACKLOG_BYTES_MIN),
            newest,
        }
    }

    /// Bytes produced in this history.
    pub fn newest(&self) -> ReplOffset {
        self.newest
    }

    /// Bytes held.
    pub fn len(&self) -> usize {
        self.ring.len()
    }

    /// True if no byte is held.
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// The number of the oldest byte held (or of the next one, when none is).
    pub fn first(&self) -> ReplOffset {
        ReplOffset(self.newest.0 - self.ring.len() as u64 + 1)
    }

    /// The configured size.
    pub fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Appends to the history; the oldest bytes fall out.
    pub fn append(&mut self, bytes: &[u8]) {
        self.newest.0 += bytes.len() as u64;
        let bytes = &bytes[bytes.len().saturating_sub(self.bytes_max)..];
        let room = self.bytes_max - self.ring.len();
        let (grow, wrap) = bytes.split_at(bytes.len().min(room));
        if !grow.is_empty() {
            debug_assert_eq!(self.start, 0, "a ring that can still grow has not turned");
            self.make_room(grow.len());
            self.ring.extend_from_slice(grow);
        }
        if wrap.is_empty() {
            return;
        }
        let until_end = self.bytes_max - self.start;
        let (first, rest) = wrap.split_at(wrap.len().min(until_end));
        self.ring[self.start..self.start + first.len()].copy_from_slice(first);
        self.ring[..rest.len()].copy_from_slice(rest);
        self.start = (self.start + wrap.len()) % self.bytes_max;
    }

    /// Makes room for that many bytes more: the ring doubles, but to no more than it will ever hold.
    fn make_room(&mut self, more: usize) {
        let len = self.ring.len() + more;
        if len > self.ring.capacity() {
            let room = len.max(self.ring.capacity() * 2).min(self.bytes_max);
            self.ring.reserve_exact(room - self.ring.len());
        }
    }

    /// The bytes from number `wanted` on, in two pieces; `None` if they are not all held.
    ///
    /// `wanted` is the first byte that the replica lacks: PSYNC sends its own offset plus one. Asking for
    /// the byte after the newest is a correct, empty answer.
    pub fn from(&self, wanted: ReplOffset) -> Option<(&[u8], &[u8])> {
        if wanted < self.first() || wanted.0 > self.newest.0 + 1 {
            return None;
        }
        let skip = usize::try_from(wanted.0 - self.first().0).ok()?;
        let (late, early) = self.ring.split_at(self.start);
        Some(if skip <= early.len() {
            (&early[skip..], late)
        } else {
            (&late[skip - early.len()..], &[])
        })
    }

    /// Changes the size; the newest bytes that fit are kept.
    pub fn resize(&mut self, bytes_max: usize) {
        let bytes_max = bytes_max.max(BACKLOG_BYTES_MIN);
        if bytes_max == self.bytes_max {
            return;
        }
        self.ring.rotate_left(self.start);
        self.start = 0;
        let excess = self.ring.len().saturating_sub(bytes_max);
        self.ring.drain(..excess);
        self.ring.shrink_to(bytes_max);
        self.bytes_max = bytes_max;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn held(backlog: &Backlog) -> Vec<u8> {
        let (a, b) = backlog.from(backlog.first()).unwrap();
        [a, b].concat()
    }

    proptest! {
        #[test]
        fn it_holds_the_newest_bytes(
            start in 0_u64..1000,
            steps in proptest::collection::vec((0_usize..40_000, proptest::option::weighted(0.1, 1_usize..60_000)), 0..20),
        ) {
            let mut backlog = Backlog::new(ReplOffset(start), 20_000);
            let mut whole: Vec<u8> = Vec::new();
            let mut held_at_most = 0_usize;
            for (n, resize) in steps {
                let bytes: Vec<u8> = (0..n).map(|i| u8::try_from((whole.len() + i) % 251).unwrap()).collect();
                whole.extend_from_slice(&bytes);
                backlog.append(&bytes);
                held_at_most = (held_at_most + n).min(backlog.bytes_max());
                if let Some(size) = resize {
                    backlog.resize(size);
                    held_at_most = held_at_most.min(backlog.bytes_max());
                }
                prop_assert_eq!(backlog.len(), held_at_most);
                prop_assert_eq!(backlog.newest().0, start + whole.len() as u64);
                prop_assert_eq!(held(&backlog), &whole[whole.len() - backlog.len()..]);
            }
            let newest = backlog.newest().0;
            for wanted in [backlog.first().0, backlog.first().0 + backlog.len() as u64 / 2, newest, newest + 1] {
                if wanted < backlog.first().0 { continue; }
                let (a, b) = backlog.from(ReplOffset(wanted)).unwrap();
                prop_assert_eq!([a, b].concat(), &whole[usize::try_from(wanted - 1 - start).unwrap()..]);
            }
            prop_assert!(backlog.from(ReplOffset(newest + 2)).is_none());
            prop_assert!(backlog.first().0 == 0 || backlog.from(ReplOffset(backlog.first().0 - 1)).is_none());
        }
    }
}

//! The newest bytes of a replication history, for replicas that come back.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

use crate::ids::ReplOffset;

/// Smaller settings are raised to this, as Redis does. Bytes.
pub const BACKLOG_BYTES_MIN: usize = 16 * 1024;

/// The bytes are kept in blocks of this size at most, which replicas that come back share.
const BLOCK_BYTES_MAX: usize = 64 * 1024;

/// A window of a byte stream. Positions count from 1: [`Backlog::newest`] bytes have been produced, and
/// the byte after them has the number `newest + 1`.
#[derive(Debug)]
pub struct Backlog {
    /// Full blocks, the oldest first. Of that only the end may still count.
    blocks: VecDeque<Bytes>,
    /// What is newer than all blocks: less than one. It grows like any vector, so that few bytes take little.
    tail: Vec<u8>,
    /// Bytes at the start of the tail that no longer count.
    skipped: usize,
    len: usize,
    bytes_max: usize,
    /// From this one on the bytes are kept whatever the size is.
    kept_from: Option<ReplOffset>,
    newest: ReplOffset,
}

impl Backlog {
    /// An empty window at `newest`.
    pub fn new(newest: ReplOffset, bytes_max: usize) -> Backlog {
        Backlog {
            blocks: VecDeque::new(),
            tail: Vec::new(),
            skipped: 0,
            len: 0,
            bytes_max: bytes_max.max(BACKLOG_BYTES_MIN),
            kept_from: None,
            newest,
        }
    }

    /// Bytes produced in this history.
    pub fn newest(&self) -> ReplOffset {
        self.newest
    }

    /// Bytes held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if no byte is held.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The number of the oldest byte held (or of the next one, when none is).
    pub fn first(&self) -> ReplOffset {
        ReplOffset(self.newest.0 - self.len as u64 + 1)
    }

    /// The configured size.
    pub fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Appends to the history; the oldest bytes fall out.
    pub fn append(&mut self, bytes: &[u8]) {
        self.newest.0 += bytes.len() as u64;
        let mut rest = bytes;
        if bytes.len() > self.bytes_max && self.kept_from.is_none() {
            rest = &bytes[bytes.len() - self.bytes_max..];
            // Nothing of what was there stays.
            self.blocks.clear();
            self.tail.clear();
            (self.skipped, self.len) = (0, 0);
        }
        while !rest.is_empty() {
            let block_bytes = self.block_bytes();
            // Before it was made smaller, the tail may have been longer.
            let room = block_bytes.saturating_sub(self.tail.len());
            let (now, later) = rest.split_at(rest.len().min(room));
            self.make_room(now.len());
            self.tail.extend_from_slice(now);
            self.len += now.len();
            if self.tail.len() >= block_bytes {
                let mut block = Bytes::from(std::mem::take(&mut self.tail));
                block.advance(std::mem::take(&mut self.skipped));
                self.blocks.push_back(block);
            }
            self.drop_excess();
            rest = later;
        }
    }

    /// A small backlog has small blocks: it takes little more than its size, which counts for `maxmemory`.
    fn block_bytes(&self) -> usize {
        (self.len.max(self.bytes_max) / 16).min(BLOCK_BYTES_MAX)
    }

    /// Makes room for that many bytes more: the tail doubles, but to no more than a block.
    fn make_room(&mut self, more: usize) {
        let len = self.tail.len() + more;
        if len > self.tail.capacity() {
            let room = len.max((self.tail.capacity() * 2).min(self.block_bytes()));
            self.tail.reserve_exact(room - self.tail.len());
        }
    }

    /// Lets the oldest bytes fall out that are too many.
    fn drop_excess(&mut self) {
        while let excess @ 1.. = self.excess() {
            let Some(oldest) = self.blocks.front_mut() else {
                self.skipped += excess;
                self.len -= excess;
                return;
            };
            let dropped = oldest.len().min(excess);
            oldest.advance(dropped);
            self.len -= dropped;
            if oldest.is_empty() {
                self.blocks.pop_front();
            }
        }
    }

    /// How many of the oldest bytes are too many and not needed.
    fn excess(&self) -> usize {
        let excess = self.beyond_max();
        let Some(kept_from) = self.kept_from else {
            return excess;
        };
        let unneeded = kept_from.0.saturating_sub(self.first().0);
        excess.min(usize::try_from(unneeded).unwrap_or(usize::MAX))
    }

    /// Bytes held above the configured size, because they are needed.
    pub fn beyond_max(&self) -> usize {
        self.len.saturating_sub(self.bytes_max)
    }

    /// Keeps the bytes from number `needed` on, if they are held, however many there will be, instead of those that
    /// were needed before.
    pub fn keep_from(&mut self, needed: Option<ReplOffset>) {
        self.kept_from = needed.filter(|needed| self.reaches(*needed));
        self.drop_excess();
    }

    /// Whether the bytes from number `wanted` on are all held.
    ///
    /// `wanted` is the first byte that the replica lacks: PSYNC sends its own offset plus one. Asking for
    /// the byte after the newest is correct, and there are none then.
    pub fn reaches(&self, wanted: ReplOffset) -> bool {
        (self.first().0..=self.newest.0 + 1).contains(&wanted.0)
    }

    /// The bytes from number `wanted` on, as far as they are held. Only those that fill no block yet are copied.
    pub fn from(&self, wanted: ReplOffset) -> Vec<Bytes> {
        let skip = wanted.0.saturating_sub(self.first().0);
        let mut skip = usize::try_from(skip).unwrap_or(usize::MAX);
        let tail = &self.tail[self.skipped..];
        let mut found = Vec::new();
        for block in &self.blocks {
            if skip < block.len() {
                found.push(block.slice(skip..));
            }
            skip = skip.saturating_sub(block.len());
        }
        if skip < tail.len() {
            found.push(Bytes::copy_from_slice(&tail[skip..]));
        }
        found
    }

    /// Changes the size; the newest bytes that fit are kept.
    pub fn resize(&mut self, bytes_max: usize) {
        let bytes_max = bytes_max.max(BACKLOG_BYTES_MIN);
        self.bytes_max = bytes_max;
        self.drop_excess();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn held(backlog: &Backlog) -> Vec<u8> {
        backlog.from(backlog.first()).concat()
    }

    proptest! {
        #[test]
        fn it_holds_the_newest_bytes(
            start in 0_u64..1000,
            steps in proptest::collection::vec((0_usize..160_000, proptest::option::weighted(0.1, 1_usize..300_000)), 0..20),
        ) {
            let mut backlog = Backlog::new(ReplOffset(start), 200_000);
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
                prop_assert!(backlog.reaches(ReplOffset(wanted)));
                prop_assert_eq!(backlog.from(ReplOffset(wanted)).concat(), &whole[usize::try_from(wanted - 1 - start).unwrap()..]);
            }
            prop_assert!(!backlog.reaches(ReplOffset(newest + 2)));
            prop_assert!(backlog.first().0 == 0 || !backlog.reaches(ReplOffset(backlog.first().0 - 1)));
        }
    }

    #[test]
    fn a_small_one_takes_little_more_than_its_size() {
        const SIZE: usize = BACKLOG_BYTES_MIN;
        let mut backlog = Backlog::new(ReplOffset(0), SIZE);
        for _ in 0..10 * SIZE / 100 {
            backlog.append(&[b'x'; 100]);
            let blocks = backlog.blocks.len() * backlog.block_bytes();
            let taken = blocks + backlog.tail.capacity();
            assert!(taken <= SIZE + SIZE / 8, "{taken}");
        }
        assert_eq!(backlog.len(), SIZE);
    }

    #[test]
    fn what_is_needed_is_kept_beyond_its_size() {
        const SIZE: usize = BACKLOG_BYTES_MIN;
        let mut backlog = Backlog::new(ReplOffset(0), SIZE);
        backlog.append(&[b'x'; SIZE]);
        backlog.append(b"y");
        backlog.keep_from(Some(ReplOffset(1)));
        backlog.append(b"y");
        assert_eq!(backlog.len(), SIZE, "the first is gone already");
        backlog.keep_from(Some(ReplOffset(SIZE as u64 + 1)));
        for len in [1, 100, SIZE / 2, 5 * SIZE, 100 * SIZE] {
            backlog.append(&vec![b'y'; len]);
        }
        let from = |wanted: usize| backlog.from(ReplOffset(wanted as u64)).concat();
        assert!(backlog.len() > 105 * SIZE);
        assert_eq!(from(SIZE + 1), vec![b'y'; backlog.len()]);
        assert_eq!(backlog.beyond_max(), backlog.len() - SIZE);
        let blocks = backlog.blocks.len();
        assert!(blocks < 300, "{blocks} blocks");
        let needed = ReplOffset(backlog.newest().0 + 1 - 3 * SIZE as u64);
        backlog.keep_from(Some(needed));
        assert_eq!((backlog.first(), backlog.len()), (needed, 3 * SIZE));
        backlog.keep_from(None);
        assert_eq!(backlog.len(), SIZE);
    }

    #[test]
    fn replicas_share_its_blocks() {
        let mut backlog = Backlog::new(ReplOffset(0), 16 * BLOCK_BYTES_MAX);
        backlog.append(&vec![b'x'; 3 * BLOCK_BYTES_MAX + 100]);
        let of = |wanted: u64| backlog.from(ReplOffset(wanted));
        let (all, most) = (of(1), of(1001));
        assert_eq!((all.len(), all[3].len()), (4, 100));
        assert_eq!(all[0][1000..].as_ptr(), most[0].as_ptr());
        for (one, other) in all.iter().zip(&most).take(3).skip(1) {
            assert_eq!(one.as_ptr(), other.as_ptr());
        }
    }
}

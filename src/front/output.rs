//! What waits to be written to one client, and how much of it may wait.

use std::collections::VecDeque;
use std::ops::Deref;

use bytes::{Buf, Bytes};

use super::client::WaitId;
use crate::clock::Mono;
use crate::config::process::OutputLimit;

/// A shared message shorter than this is copied into the tail instead of being queued on its own.
pub const COPY_BYTES_MAX: usize = 1024;

/// What waits is set aside in pieces of about so many bytes, so that it is never moved when more comes: not even
/// what a client that reads nothing has asked for. Less than a turn's replies, which are written at once.
pub(super) const PIECE_BYTES: usize = 192 * 1024;

/// The room for replies that a client keeps when all of them have been written. Bytes.
pub(super) const KEPT_BYTES_MAX: usize = 4096;

/// The buffer that redis-server has for the replies of a client; what does not fit goes into a list, which is what its
/// limits are about.
pub(super) const REDIS_BUFFER_BYTES: usize = 16 * 1024;

/// A piece of what waits for a client: from [`Bytes`] one that others may wait for too, from a vector one that is for
/// this client alone.
#[derive(Debug)]
pub struct Chunk {
    bytes: Bytes,
    /// The memory that it takes for this client alone. It is taken until all of it is written.
    own_bytes: usize,
}

impl Chunk {
    /// The memory that it takes for one client alone; 0 where others may wait for it too. Bytes.
    pub fn own_bytes(&self) -> usize {
        self.own_bytes
    }

    /// Keeps the first `len` bytes.
    pub(super) fn truncate(&mut self, len: usize) {
        self.bytes.truncate(len);
    }

    fn shared_bytes(&self) -> usize {
        match self.own_bytes {
            0 => self.len(),
            _ => 0,
        }
    }
}

impl Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl From<Bytes> for Chunk {
    fn from(bytes: Bytes) -> Chunk {
        let own_bytes = 0;
        Chunk { bytes, own_bytes }
    }
}

impl From<Vec<u8>> for Chunk {
    fn from(bytes: Vec<u8>) -> Chunk {
        let own_bytes = bytes.capacity();
        let bytes = Bytes::from(bytes);
        Chunk { bytes, own_bytes }
    }
}

/// The bytes that wait for one client, in order. Large messages that go to many clients are shared.
#[derive(Debug, Default)]
pub struct OutputQueue {
    chunks: VecDeque<Chunk>,
    /// Replies that are still to come, in order. Nothing behind the first leaves before it does; what is in front of
    /// it is in the chunks.
    gaps: VecDeque<Gap>,
    /// What is newer than all chunks and gaps.
    tail: Vec<u8>,
    /// The tail is with the command that is running; what is queued meanwhile comes after it.
    tail_is_lent: bool,
    /// Of that, what is not in the present tail.
    behind: Vec<Chunk>,
    /// What waits in the chunks.
    chunk_bytes: usize,
    /// What waits between gaps, and its memory.
    gap_bytes: usize,
    own_gap_bytes: usize,
    /// Of that, what other clients may wait for too.
    shared_bytes: usize,
    /// The memory of the chunks that are for this client alone.
    own_chunk_bytes: usize,
    hold: Hold,
    overrun: Overrun,
    pushed: Pushed,
}

/// What has been pushed to a client unasked, of what waits for it. Replies may stand between it, so that the count is
/// of the most that it may be: no more than has been pushed since nothing waited, nor than waits.
#[derive(Debug, Default)]
struct Pushed {
    bytes: usize,
    overrun: Overrun,
}

/// Since when something that waits has been above the soft limit of its class.
#[derive(Debug, Default)]
pub struct Overrun {
    since: Option<Mono>,
}

impl Overrun {
    /// Whether so many bytes are over the limit, and the time that the soft one allows is over. To be asked whenever
    /// they have become more, and now and then.
    pub fn is_over(&mut self, bytes: u64, limit: OutputLimit, now: Mono) -> bool {
        if limit.hard_bytes > 0 && bytes >= limit.hard_bytes {
            return true;
        }
        if limit.soft_bytes == 0 || bytes < limit.soft_bytes {
            self.since = None;
            return false;
        }
        let since = *self.since.get_or_insert(now);
        now.since(since) > limit.soft_for
    }
}

/// What counts of so many bytes that wait.
fn counted(bytes: usize) -> u64 {
    bytes.saturating_sub(REDIS_BUFFER_BYTES) as u64
}

/// How much of a queue may leave while the rest is held back.
#[derive(Clone, Copy, Debug, Default)]
struct Hold {
    /// Bytes at the front that may leave whatever is held: they have been let go before.
    free: usize,
    is_on: bool,
    /// Where that begins which was queued during the hold. It does not leave with what was there before.
    later: Option<usize>,
}

/// The place of a reply that is still to come.
#[derive(Debug)]
struct Gap {
    on: WaitId,
    /// What stands between the gap before it and this one; unknown until the command that made it has returned.
    before: Option<Chunk>,
    /// The reply, when another one before it is still missing.
    reply: Option<Vec<u8>>,
}

impl OutputQueue {
    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.chunk_bytes + self.gap_bytes + self.tail.len()
    }

    /// The memory of what waits for this client alone. Bytes.
    pub fn own_bytes(&self) -> usize {
        self.tail.capacity() + self.own_chunk_bytes + self.own_gap_bytes
    }

    /// What waits in pieces that other clients may wait for too. Bytes.
    pub fn shared_bytes(&self) -> usize {
        self.shared_bytes
    }

    /// True when nothing waits and no reply is still to come.
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.gaps.is_empty()
    }

    /// `obl`, `oll` and `omem` of `CLIENT LIST`: the bytes in a buffer like redis's, how many pieces there are behind
    /// that, and their bytes.
    pub(super) fn shown_sizes(&self) -> (usize, usize, usize) {
        let buffered = self.tail.len().min(REDIS_BUFFER_BYTES);
        let is_longer = self.tail.len() > buffered;
        let waits_in_gaps = self.gap_bytes > 0;
        let pieces = self.chunks.len() + usize::from(is_longer) + usize::from(waits_in_gaps);
        (buffered, pieces, self.len() - buffered)
    }

    /// Holds back what may not leave yet, until [`OutputQueue::release`]. Nothing if that is so already: what has
    /// been queued since is set apart.
    ///
    /// It counts bytes, so there must be no reply that is still to come between them.
    pub(super) fn hold(&mut self) {
        debug_assert!(self.gaps.is_empty(), "a program leaves gaps or holds");
        self.hold.is_on = true;
    }

    /// Lets go what was there when the hold began. What was queued later stays held; true if that is anything.
    pub(super) fn release(&mut self) -> bool {
        self.hold.free = self.hold.later.take().unwrap_or(self.len());
        self.hold.is_on = self.hold.free < self.len();
        self.hold.is_on
    }

    /// What is queued from now on came after the hold, if there is one.
    fn set_apart(&mut self) {
        if self.hold.is_on && self.hold.later.is_none() {
            self.hold.later = Some(self.len());
        }
    }

    /// Appends a copy.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.set_apart();
        self.tail.extend_from_slice(bytes);
        self.set_aside();
    }

    /// Makes a long tail a piece, unless a part of it has a reply in front of it that is still to come, or it is
    /// behind what is with the running command.
    fn set_aside(&mut self) {
        if self.tail.len() >= PIECE_BYTES && self.gaps.is_empty() && !self.tail_is_lent {
            self.seal();
        }
    }

    /// Appends without a copy when that is worth it.
    pub fn push(&mut self, chunk: impl Into<Chunk>) {
        let chunk = chunk.into();
        self.set_apart();
        if chunk.len() < COPY_BYTES_MAX || !self.gaps.is_empty() {
            self.tail.extend_from_slice(&chunk);
            self.set_aside();
        } else if self.tail_is_lent {
            if !self.tail.is_empty() {
                self.behind.push(std::mem::take(&mut self.tail).into());
            }
            self.behind.push(chunk);
        } else {
            self.seal();
            self.queue(chunk);
        }
    }

    fn queue(&mut self, chunk: Chunk) {
        self.chunk_bytes += chunk.len();
        self.shared_bytes += chunk.shared_bytes();
        self.own_chunk_bytes += chunk.own_bytes;
        self.chunks.push_back(chunk);
    }

    /// As [`OutputQueue::push`], what the client has not asked for.
    pub(super) fn push_unasked(&mut self, chunk: Chunk) {
        self.pushed.bytes = self.pushed_bytes() + chunk.len();
        self.push(chunk);
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        *self = OutputQueue::default();
    }

    /// Leaves a gap for a reply that is still to come; what is queued later stays behind it.
    pub(super) fn leave_gap(&mut self, on: WaitId) {
        let before = match self.tail_is_lent {
            true => None,
            false => Some(self.take_before()),
        };
        self.gaps.push_back(Gap {
            on,
            before,
            reply: None,
        });
        if !self.tail_is_lent {
            self.close_gaps();
        }
    }

    /// What stands in front of a new gap. A piece of its own, so that no other is moved when a gap closes.
    fn take_before(&mut self) -> Chunk {
        let piece = if self.tail.len() < COPY_BYTES_MAX {
            // It may wait for long, without the room behind it.
            let piece = self.tail.as_slice().to_vec();
            self.tail.clear();
            piece
        } else {
            std::mem::take(&mut self.tail)
        };
        let before = Chunk::from(piece);
        self.gap_bytes += before.len();
        self.own_gap_bytes += before.own_bytes;
        before
    }

    /// How many replies are still to come.
    pub(super) fn gap_count(&self) -> usize {
        self.gaps.len()
    }

    /// Which replies are still to come.
    pub(super) fn gaps(&self) -> impl Iterator<Item = WaitId> {
        self.gaps.iter().map(|gap| gap.on)
    }

    /// Puts a reply into its gap. False when there is none.
    pub(super) fn fill_gap(&mut self, on: WaitId, reply: Vec<u8>) -> bool {
        let Some(gap) = self.gaps.iter_mut().find(|gap| gap.on == on) else {
            return false;
        };
        gap.reply = Some(reply);
        if !self.tail_is_lent {
            self.close_gaps();
        }
        true
    }

    /// Lets go what stands in front of the first reply that is missing.
    fn close_gaps(&mut self) {
        let mut closed = Vec::new();
        while let Some(gap) = self.gaps.front_mut() {
            if let Some(before) = gap.before.replace(Chunk::from(Vec::new())) {
                self.gap_bytes -= before.len();
                self.own_gap_bytes -= before.own_bytes;
                closed.extend_from_slice(&before);
            }
            let Some(reply) = gap.reply.take() else { break };
            closed.extend_from_slice(&reply);
            self.gaps.pop_front();
        }
        if closed.is_empty() {
            return;
        }
        if self.tail.is_empty() && self.gaps.is_empty() {
            self.tail = closed;
        } else {
            self.queue(closed.into());
        }
    }

    /// The growing end, to be written to directly and given back by [`OutputQueue::put_back`].
    pub(super) fn take_tail(&mut self) -> Vec<u8> {
        self.set_apart();
        self.tail_is_lent = true;
        std::mem::take(&mut self.tail)
    }

    /// Gives back what [`OutputQueue::take_tail`] took, longer now and perhaps in pieces in front of the new end. What was
    /// queued meanwhile comes after it: a message that a command causes for its own client follows the command's reply.
    pub(super) fn put_back(&mut self, pieces: Vec<Chunk>, mut tail: Vec<u8>) {
        self.tail_is_lent = false;
        if self.gaps.is_empty() {
            pieces.into_iter().for_each(|piece| self.queue(piece));
        } else if !pieces.is_empty() {
            // What stands in front of a gap is one piece.
            let all: Vec<&[u8]> = pieces
                .iter()
                .map(|piece| &**piece)
                .chain([&*tail])
                .collect();
            tail = all.concat();
        }
        let after = std::mem::replace(&mut self.tail, tail);
        let open = |gap: &&Gap| gap.before.is_none();
        let gaps_made = self.gaps.iter().rev().take_while(open).count();
        let first_made = self.gaps.len() - gaps_made;
        for at in first_made..self.gaps.len() {
            let before = self.take_before();
            self.gaps[at].before = Some(before);
        }
        for chunk in std::mem::take(&mut self.behind) {
            self.push(chunk);
        }
        self.tail.extend_from_slice(&after);
        self.close_gaps();
        self.set_aside();
    }

    /// The next bytes to write; none when a reply must come first.
    pub fn front(&self) -> &[u8] {
        if let Some(chunk) = self.chunks.front() {
            return chunk;
        }
        match self.gaps.is_empty() {
            true => &self.tail,
            false => &[],
        }
    }

    /// As [`OutputQueue::front`], without what is held back.
    pub fn front_to_leave(&self) -> &[u8] {
        let front = self.front();
        match self.hold.is_on {
            true => &front[..front.len().min(self.hold.free)],
            false => front,
        }
    }

    /// Marks `n` bytes of [`OutputQueue::front`] as written.
    pub fn advance(&mut self, n: usize) {
        if n == 0 {
            return;
        }
        self.hold.free = self.hold.free.saturating_sub(n);
        if let Some(later) = &mut self.hold.later {
            *later = later.saturating_sub(n);
        }
        if self.chunks.is_empty() {
            if n == self.tail.len() && self.gaps.is_empty() {
                // The usual case: everything at once. The room is used again.
                self.tail.clear();
                self.tail.shrink_to(KEPT_BYTES_MAX);
                return;
            }
            self.seal();
        }
        let Some(chunk) = self.chunks.front_mut() else {
            return;
        };
        let shared_before = chunk.shared_bytes();
        chunk.bytes.advance(n);
        self.chunk_bytes -= n;
        self.shared_bytes -= shared_before - chunk.shared_bytes();
        if chunk.is_empty() {
            self.own_chunk_bytes -= chunk.own_bytes;
            self.chunks.pop_front();
        }
    }

    /// Whether the queue has outgrown its limit; keeps the time for the soft one.
    pub fn is_over(&mut self, limit: OutputLimit, now: Mono) -> bool {
        let bytes = counted(self.len());
        self.overrun.is_over(bytes, limit, now)
    }

    /// Whether what was pushed into it has outgrown a limit of its own, for as long as the soft one allows.
    pub(super) fn is_pushed_over(&mut self, limit: OutputLimit, now: Mono) -> bool {
        self.pushed.bytes = self.pushed_bytes();
        let bytes = counted(self.pushed.bytes);
        self.pushed.overrun.is_over(bytes, limit, now)
    }

    /// The most that can still wait of what was pushed. Unknown while a part is with the running command.
    fn pushed_bytes(&self) -> usize {
        match self.tail_is_lent {
            true => self.pushed.bytes,
            false => self.pushed.bytes.min(self.len()),
        }
    }

    /// Makes the tail a chunk. There must be no gap in front of it.
    fn seal(&mut self) {
        debug_assert!(self.gaps.is_empty(), "what is behind a gap stays there");
        if !self.tail.is_empty() {
            let sealed = std::mem::take(&mut self.tail);
            self.queue(sealed.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn drain(queue: &mut OutputQueue) -> String {
        let mut all = Vec::new();
        while !queue.front().is_empty() {
            let n = queue.front().len().min(3);
            all.extend_from_slice(&queue.front()[..n]);
            queue.advance(n);
        }
        String::from_utf8(all).unwrap()
    }

    #[test]
    fn order_is_kept_across_copies_and_shares() {
        let mut queue = OutputQueue::default();
        queue.extend(b"a");
        queue.push(Bytes::from(vec![b'b'; COPY_BYTES_MAX]));
        queue.push(Bytes::from_static(b"c"));
        assert_eq!(queue.len(), COPY_BYTES_MAX + 2);
        assert_eq!(
            drain(&mut queue),
            format!("a{}c", "b".repeat(COPY_BYTES_MAX))
        );
    }

    #[test]
    fn what_a_command_sends_to_its_own_client_follows_its_reply() {
        let mut queue = OutputQueue::default();
        let mut reply = queue.take_tail();
        let large = Bytes::from(vec![b'p'; COPY_BYTES_MAX]);
        queue.push(Bytes::from_static(b"a"));
        queue.push(large.clone());
        queue.push(Bytes::from_static(b"b"));
        reply.extend_from_slice(b"reply ");
        queue.put_back(Vec::new(), reply);
        assert_eq!(
            queue.chunks.iter().last().map(|chunk| chunk.as_ptr()),
            Some(large.as_ptr())
        );
        assert_eq!(queue.len(), COPY_BYTES_MAX + 8);
        let all = "reply a".to_owned() + &"p".repeat(COPY_BYTES_MAX) + "b";
        assert_eq!(drain(&mut queue), all);
    }

    #[test]
    fn only_what_others_may_wait_for_counts_as_shared() {
        let mut queue = OutputQueue::default();
        queue.push(Bytes::from(vec![b's'; 5000]));
        let mut own = Vec::with_capacity(9000);
        own.resize(6000, b'o');
        queue.push(own);
        assert_eq!((queue.shared_bytes(), queue.own_bytes()), (5000, 9000));
        // What was written in part was gathered for this client.
        queue.extend(&[b't'; 3000]);
        let before = queue.own_bytes();
        assert!(before >= 12_000);
        queue.advance(1000);
        assert_eq!((queue.shared_bytes(), queue.own_bytes()), (4000, before));
        queue.advance(4000);
        queue.advance(5999);
        assert_eq!((queue.shared_bytes(), queue.own_bytes()), (0, before));
        queue.advance(1);
        queue.advance(1);
        assert_eq!((queue.len(), queue.shared_bytes()), (2999, 0));
        assert_eq!(queue.own_bytes(), before - 9000);
        queue.advance(2999);
        assert_eq!((queue.len(), queue.own_chunk_bytes), (0, 0));
    }

    #[test]
    fn nothing_overtakes_a_reply_that_is_still_to_come() {
        let mut queue = OutputQueue::default();
        queue.extend(b"a");
        queue.leave_gap(WaitId(1));
        assert_eq!(drain(&mut queue), "a");
        // A command that leaves a gap, and one that follows.
        let reply = queue.take_tail();
        queue.leave_gap(WaitId(2));
        queue.put_back(Vec::new(), reply);
        let mut reply = queue.take_tail();
        reply.extend_from_slice(b"c");
        assert!(queue.fill_gap(WaitId(2), b"2".to_vec()));
        queue.put_back(Vec::new(), reply);
        queue.push(Bytes::from(vec![b'd'; COPY_BYTES_MAX]));
        queue.leave_gap(WaitId(3));
        queue.extend(b"e");
        assert_eq!(drain(&mut queue), "");
        assert!(!queue.is_empty());
        assert!(queue.fill_gap(WaitId(1), b"1".to_vec()));
        assert_eq!(
            drain(&mut queue),
            format!("12c{}", "d".repeat(COPY_BYTES_MAX))
        );
        assert!(queue.fill_gap(WaitId(3), b"3".to_vec()));
        assert!(!queue.fill_gap(WaitId(3), Vec::new()));
        assert_eq!(drain(&mut queue), "3e");
        assert!(queue.is_empty());
    }

    #[test]
    fn a_reply_that_comes_at_once_is_in_its_place() {
        let mut queue = OutputQueue::default();
        let mut reply = queue.take_tail();
        queue.leave_gap(WaitId(1));
        reply.extend_from_slice(b"a");
        queue.push(Bytes::from_static(b"c"));
        assert!(queue.fill_gap(WaitId(1), b"b".to_vec()));
        queue.put_back(Vec::new(), reply);
        assert_eq!(drain(&mut queue), "abc");
    }

    #[test]
    fn what_stands_behind_a_gap_is_not_moved_when_it_closes() {
        const BETWEEN: &[u8] = &[b'r'; 2 * COPY_BYTES_MAX];
        const COUNT: u64 = 1000;
        let mut queue = OutputQueue::default();
        let mut expected = String::new();
        for n in 0..COUNT {
            let mut tail = queue.take_tail();
            queue.leave_gap(WaitId(n));
            tail.extend_from_slice(BETWEEN);
            queue.put_back(Vec::new(), tail);
            expected += &"r".repeat(BETWEEN.len());
            expected += &n.to_string();
        }
        queue.extend(b"end");
        let waits = queue.len();
        assert!(queue.own_bytes() < 2 * waits, "{}", queue.own_bytes());
        let places = |queue: &OutputQueue| -> Vec<_> {
            let pieces = queue.gaps.iter().skip(1).map(|gap| gap.before.as_ref());
            pieces.map(|piece| piece.unwrap().as_ptr()).collect()
        };
        let before = places(&queue);
        let mut seen = String::new();
        for n in 0..COUNT {
            // By pairs, the later one first.
            assert!(queue.fill_gap(WaitId(n ^ 1), (n ^ 1).to_string().into_bytes()));
            let left = places(&queue);
            assert_eq!(left[..], before[before.len() - left.len()..]);
            seen += &drain(&mut queue);
        }
        assert!(seen == expected + "end", "in order");
        assert_eq!((queue.len(), queue.own_gap_bytes), (0, 0));
    }

    /// What may leave, which then has.
    fn leave(queue: &mut OutputQueue) -> String {
        let mut all = Vec::new();
        while let n @ 1.. = queue.front_to_leave().len() {
            all.extend_from_slice(&queue.front_to_leave()[..n.min(3)]);
            queue.advance(n.min(3));
        }
        String::from_utf8(all).unwrap()
    }

    #[test]
    fn what_is_queued_during_a_hold_leaves_after_another() {
        let large = |byte| Bytes::from(vec![byte; COPY_BYTES_MAX]);
        let mut queue = OutputQueue::default();
        queue.extend(b"free");
        assert!(!queue.release());
        queue.extend(b"first");
        queue.hold();
        assert_eq!(leave(&mut queue), "free", "it had been let go before");
        queue.extend(b"second");
        queue.push(large(b'x'));
        queue.hold();
        let mut tail = queue.take_tail();
        tail.extend_from_slice(b"reply");
        queue.put_back(Vec::new(), tail);
        assert_eq!(leave(&mut queue), "");
        assert!(queue.release());
        queue.extend(b"third");
        assert_eq!(leave(&mut queue), "first");
        assert!(queue.release());
        let second = "second".to_owned() + &"x".repeat(COPY_BYTES_MAX) + "reply";
        assert_eq!(leave(&mut queue), second);
        assert!(!queue.release());
        assert_eq!(leave(&mut queue), "third");
        queue.extend(b"at once");
        assert_eq!(leave(&mut queue), "at once");
        // What was let go and not yet written is not held again.
        queue.extend(b"abc");
        queue.hold();
        assert!(!queue.release());
        queue.push(large(b'd'));
        queue.hold();
        assert_eq!(leave(&mut queue), "abc");
        assert!(!queue.release());
        assert_eq!(leave(&mut queue).len(), COPY_BYTES_MAX);
        assert!(queue.is_empty());
    }

    #[test]
    fn what_waits_is_not_moved_when_more_comes() {
        const REPLY: &[u8] = &[b'r'; 100];
        const COUNT: usize = 100 * PIECE_BYTES / REPLY.len();
        let mut queue = OutputQueue::default();
        for n in 0..COUNT {
            match n % 3 {
                0 => queue.extend(REPLY),
                1 => queue.push(Bytes::from_static(REPLY)),
                _ => {
                    let mut tail = queue.take_tail();
                    tail.extend_from_slice(REPLY);
                    queue.put_back(Vec::new(), tail);
                }
            }
            let room = queue.tail.capacity();
            assert!(room <= 2 * PIECE_BYTES, "{room} bytes to move");
        }
        assert_eq!(queue.len(), COUNT * REPLY.len());
        let pieces = queue.chunks.len();
        assert!((90..=100).contains(&pieces), "{pieces}");
        assert_eq!(drain(&mut queue), "r".repeat(COUNT * REPLY.len()));
    }

    #[test]
    fn the_soft_limit_takes_time() {
        let limit = OutputLimit {
            hard_bytes: 100,
            soft_bytes: 10,
            soft_for: Duration::from_secs(1),
        };
        let mut queue = OutputQueue::default();
        queue.extend(&[0; REDIS_BUFFER_BYTES + 10]);
        assert!(!queue.is_over(limit, Mono(5_000)));
        assert!(!queue.is_over(limit, Mono(6_000)));
        assert!(queue.is_over(limit, Mono(6_001)));
        queue.advance(0);
        queue.front();
        queue.advance(5);
        assert!(!queue.is_over(limit, Mono(9_000)));
        queue.extend(&[0; 94]);
        assert!(!queue.is_over(limit, Mono(9_000)));
        queue.extend(&[0; 1]);
        assert!(queue.is_over(limit, Mono(9_000)));
    }
}

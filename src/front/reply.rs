//! Where a command writes its answer: bytes of the client's protocol version, ready for the socket.

use bytes::Bytes;

use super::output::{COPY_BYTES_MAX, Chunk, KEPT_BYTES_MAX, PIECE_BYTES, REDIS_BUFFER_BYTES};
use crate::resp::{Protocol, Value, encode_value};

/// A bulk string that is kept as [`Bytes`] is shared from so many bytes on. A shorter one is copied sooner than it is
/// written apart from what is around it.
const SHARED_BYTES_MIN: usize = PIECE_BYTES;

/// `$` and CRLF twice, and a length.
const FRAME_BYTES_MAX: usize = 5 + 20;

/// The reply of one command, or of a whole batch, under construction.
///
/// One for a client's queue is written in pieces, so that it is never moved as a whole, and has a budget: the bytes that
/// may wait for the client. The command that exceeds it runs to its end, but what it writes is dropped.
#[derive(Debug)]
pub struct Reply {
    /// The end of it, which is written to.
    out: Vec<u8>,
    protocol: Protocol,
    /// From so many bytes on `out` becomes a piece when more is to be written; never where all is wanted in one.
    full_at: usize,
    /// What is in front of `out`.
    pieces: Vec<Chunk>,
    /// How many bytes were written before those in `out`, dropped ones included.
    before: usize,
    /// How many bytes at the front are earlier replies. They are in one piece.
    earlier: usize,
    /// How many bytes there may be.
    bytes_max: usize,
    /// See [`Reply::counts_whole`].
    counts_whole: bool,
    /// There were to be more. What has been written is as good as lost.
    is_over: bool,
    /// What is sent even where replies are left out.
    asides: Vec<u8>,
}

impl Default for Reply {
    fn default() -> Reply {
        Reply::new(Protocol::default())
    }
}

impl Reply {
    /// An empty reply in this protocol.
    pub fn new(protocol: Protocol) -> Reply {
        Reply {
            out: Vec::new(),
            protocol,
            full_at: usize::MAX,
            pieces: Vec::new(),
            before: 0,
            earlier: 0,
            bytes_max: usize::MAX,
            counts_whole: false,
            is_over: false,
            asides: Vec::new(),
        }
    }

    /// Goes on writing, in pieces if it may, after the earlier replies that `out` holds already. All of it may be so many
    /// bytes.
    pub(super) fn onto(
        out: Vec<u8>,
        protocol: Protocol,
        bytes_max: usize,
        in_pieces: bool,
    ) -> Reply {
        Reply {
            earlier: out.len(),
            out,
            full_at: if in_pieces {
                // What is short still has room behind that.
                PIECE_BYTES - COPY_BYTES_MAX
            } else {
                bytes_max
            },
            bytes_max,
            ..Reply::new(protocol)
        }
    }

    /// The bytes of one that was not begun in a queue.
    pub fn into_bytes(self) -> Vec<u8> {
        debug_assert!(self.pieces.is_empty(), "it is in one");
        self.out
    }

    /// What goes into the queue: pieces, and the end behind them.
    pub(super) fn into_pieces(self) -> (Vec<Chunk>, Vec<u8>) {
        (self.pieces, self.out)
    }

    /// The bytes so far of one that was not begun in a queue.
    pub fn as_bytes(&self) -> &[u8] {
        debug_assert!(self.pieces.is_empty(), "it is in one");
        &self.out
    }

    /// The text of the error, without its mark, that was written when there were `start` bytes, if it was one.
    pub fn error_at(&self, start: usize) -> Option<&[u8]> {
        // No error is so long that it has become a piece.
        let written = self.out.get(start.checked_sub(self.before)?..)?;
        written.strip_prefix(b"-")
    }

    /// How many bytes have been written.
    pub fn len(&self) -> usize {
        self.before + self.out.len()
    }

    /// True while nothing is written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether more was to be written than may wait for the client.
    pub(super) fn is_over(&self) -> bool {
        self.is_over || self.len() > self.bytes_max
    }

    /// For a reply whose length redis-server learns at its end: it keeps all of that in the list which limits are about, and
    /// nothing more in the buffer in front of it. In a transaction it is said by several commands.
    pub fn counts_whole(&mut self) {
        let was_said = std::mem::replace(&mut self.counts_whole, true);
        if self.bytes_max < usize::MAX && !was_said {
            let room = REDIS_BUFFER_BYTES.saturating_sub(self.len());
            self.bytes_max = self.bytes_max.saturating_sub(room);
        }
    }

    /// Writes what is no part of the reply, as a message is not: `CLIENT REPLY` does not leave it out.
    pub fn aside(&mut self, write: impl FnOnce(&mut Reply)) {
        let mut aside = Reply::new(self.protocol);
        write(&mut aside);
        self.raw(&aside.out);
        self.asides.append(&mut aside.out);
    }

    /// Takes back what was written behind the earlier replies, but for the asides.
    pub(super) fn leave_out(&mut self) {
        if self.before == 0 {
            self.out.truncate(self.earlier);
        } else {
            self.out.clear();
            self.keep_earlier();
        }
        self.out.append(&mut self.asides);
        self.out.shrink_to(KEPT_BYTES_MAX);
        self.is_over = false;
        // Of what is counted nothing is left.
        self.bytes_max = usize::MAX;
    }

    /// Keeps of the pieces only the earlier replies.
    fn keep_earlier(&mut self) {
        self.pieces.truncate(usize::from(self.earlier > 0));
        if let Some(piece) = self.pieces.first_mut() {
            piece.truncate(self.earlier);
        }
    }

    /// Makes room for so many bytes more, where what is there has become long or they are many. False when they are
    /// dropped, as there are too many.
    #[cold]
    #[inline(never)]
    fn begin_piece(&mut self, len: usize) -> bool {
        let is_over = self.is_over || self.len().saturating_add(len) > self.bytes_max;
        if !is_over && self.out.len() < COPY_BYTES_MAX {
            // Moving that costs less than a piece of its own.
            self.out.reserve_exact(len + FRAME_BYTES_MAX);
            return true;
        }
        self.set_aside();
        if is_over {
            self.keep_earlier();
            self.is_over = true;
        } else {
            self.out
                .reserve_exact(PIECE_BYTES.max(len + FRAME_BYTES_MAX));
        }
        !is_over
    }

    /// Makes what is there a piece, or drops it.
    fn set_aside(&mut self) {
        self.before += self.out.len();
        if self.is_over || self.out.is_empty() {
            self.out.clear();
        } else if self.out.len() < self.out.capacity() / 2 {
            // In as little room as it needs; what there is is used again.
            self.pieces.push(self.out.to_vec().into());
            self.out.clear();
        } else {
            self.pieces.push(std::mem::take(&mut self.out).into());
        }
    }

    /// The protocol that the client speaks.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Switches the protocol for what follows; `HELLO` does.
    pub fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    /// `+OK`
    pub fn ok(&mut self) {
        self.raw(b"+OK\r\n");
    }

    /// `+text`
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    /// `-text`, with its code word: `ERR …`. Line breaks become spaces.
    pub fn error(&mut self, text: impl AsRef<[u8]>) {
        let text = text.as_ref();
        self.line(b'-', text);
        let end = self.out.len() - 2;
        for byte in &mut self.out[end - text.len()..end] {
            if matches!(*byte, b'\r' | b'\n') {
                *byte = b' ';
            }
        }
    }

    /// `:n`
    pub fn integer(&mut self, n: i64) {
        self.header(b':', n);
    }

    /// A count as an integer.
    pub fn count(&mut self, n: usize) {
        self.integer(signed(n));
    }

    /// `$len`
    pub fn bulk(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        if self.is_full_with(bytes.len()) && !self.begin_piece(bytes.len()) {
            return;
        }
        // At once: the last two bytes must not make a long one move.
        self.out.reserve(bytes.len() + FRAME_BYTES_MAX);
        self.header(b'$', signed(bytes.len()));
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(b"\r\n");
    }

    /// As [`Reply::bulk`]; a long one is shared with whoever keeps it instead of being copied.
    pub fn shared_bulk(&mut self, bytes: &Bytes) {
        let len = self.len().saturating_add(bytes.len() + FRAME_BYTES_MAX);
        if bytes.len() < SHARED_BYTES_MIN || self.full_at == usize::MAX || len > self.bytes_max {
            self.bulk(bytes);
            return;
        }
        self.header(b'$', signed(bytes.len()));
        self.set_aside();
        if !self.is_over {
            self.pieces.push(bytes.clone().into());
        }
        self.before += bytes.len();
        self.out.extend_from_slice(b"\r\n");
    }

    /// An integer as a bulk string.
    pub fn bulk_integer(&mut self, n: i64) {
        self.bulk(itoa::Buffer::new().format(n));
    }

    /// The null of a missing value.
    pub fn null(&mut self) {
        let text: &[u8] = if self.is_resp3() {
            b"_\r\n"
        } else {
            b"$-1\r\n"
        };
        self.raw(text);
    }

    /// The null of a missing list.
    pub fn null_array(&mut self) {
        let text: &[u8] = if self.is_resp3() {
            b"_\r\n"
        } else {
            b"*-1\r\n"
        };
        self.raw(text);
    }

    /// Opens an array of `n` elements, which follow.
    pub fn array(&mut self, n: usize) {
        self.header(b'*', signed(n));
    }

    /// Opens a map of `n` pairs; a flat array in RESP2.
    pub fn map(&mut self, n: usize) {
        if self.is_resp3() {
            self.header(b'%', signed(n));
        } else {
            self.header(b'*', signed(n * 2));
        }
    }

    /// Opens a set of `n` elements; an array in RESP2.
    pub fn set(&mut self, n: usize) {
        let mark = if self.is_resp3() { b'~' } else { b'*' };
        self.header(mark, signed(n));
    }

    /// Opens a push message of `n` elements; an array in RESP2.
    pub fn push(&mut self, n: usize) {
        let mark = if self.is_resp3() { b'>' } else { b'*' };
        self.header(mark, signed(n));
    }

    /// A boolean; 1 or 0 in RESP2.
    pub fn boolean(&mut self, value: bool) {
        self.value(&Value::Boolean(value));
    }

    /// A double; a bulk string in RESP2.
    pub fn double(&mut self, value: f64) {
        self.value(&Value::Double(value));
    }

    /// Text for people; a plain bulk string in RESP2.
    pub fn verbatim(&mut self, text: impl AsRef<[u8]>) {
        let text = text.as_ref();
        if self.is_resp3() {
            if self.is_full_with(text.len()) && !self.begin_piece(text.len()) {
                return;
            }
            self.header(b'=', signed(text.len() + 4));
            self.out.extend_from_slice(b"txt:");
            self.out.extend_from_slice(text);
            self.out.extend_from_slice(b"\r\n");
        } else {
            self.bulk(text);
        }
    }

    /// Any value.
    pub fn value(&mut self, value: &Value) {
        if self.is_full_with(0) {
            self.begin_piece(0);
        }
        encode_value(value, self.protocol, &mut self.out);
    }

    /// Bytes that are RESP already, in this client's protocol.
    pub fn raw(&mut self, bytes: &[u8]) {
        if self.is_full_with(bytes.len()) && !self.begin_piece(bytes.len()) {
            return;
        }
        self.out.extend_from_slice(bytes);
    }

    fn is_resp3(&self) -> bool {
        self.protocol == Protocol::Resp3
    }

    /// Whether a piece is to begin before so many bytes more.
    #[inline]
    fn is_full_with(&self, len: usize) -> bool {
        self.out.len() + len > self.full_at
    }

    /// The text is short; it is there even if the reply is over.
    fn line(&mut self, mark: u8, text: &[u8]) {
        if self.is_full_with(text.len()) {
            self.begin_piece(text.len());
        }
        self.out.push(mark);
        self.out.extend_from_slice(text);
        self.out.extend_from_slice(b"\r\n");
    }

    fn header(&mut self, mark: u8, n: i64) {
        self.line(mark, itoa::Buffer::new().format(n).as_bytes());
    }
}

fn signed(n: usize) -> i64 {
    i64::try_from(n).expect("a length in memory fits 63 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_protocols() {
        let write = |protocol| {
            let mut reply = Reply::new(protocol);
            reply.map(1);
            reply.bulk("k");
            reply.null();
            reply.push(1);
            reply.verbatim("hi");
            String::from_utf8(reply.into_bytes()).unwrap()
        };
        assert_eq!(
            write(Protocol::Resp2),
            "*2\r\n$1\r\nk\r\n$-1\r\n*1\r\n$2\r\nhi\r\n"
        );
        assert_eq!(
            write(Protocol::Resp3),
            "%1\r\n$1\r\nk\r\n_\r\n>1\r\n=6\r\ntxt:hi\r\n"
        );
    }

    #[test]
    fn a_reply_whose_length_is_learned_at_its_end_counts_from_its_first_byte() {
        // Of several in a transaction, too.
        for (replies, len, is_over) in [
            (0, 1100, false),
            (1, 1100, true),
            (1, 900, false),
            (2, 450, false),
            (2, 550, true),
        ] {
            let bytes_max = REDIS_BUFFER_BYTES + 1000;
            let mut reply = Reply::onto(Vec::new(), Protocol::Resp2, bytes_max, true);
            for _ in 0..replies {
                reply.counts_whole();
                reply.bulk(vec![b'x'; len]);
            }
            if replies == 0 {
                reply.bulk(vec![b'x'; len]);
            }
            assert_eq!(reply.is_over(), is_over, "{replies} of {len}");
        }
        // What the buffer had before stays there.
        for (len, is_over) in [(900, false), (1100, true)] {
            let bytes_max = REDIS_BUFFER_BYTES + 1000;
            let mut reply = Reply::onto(Vec::new(), Protocol::Resp2, bytes_max, true);
            reply.bulk(vec![b'x'; 10_000]);
            reply.counts_whole();
            reply.bulk(vec![b'x'; len]);
            assert_eq!(reply.is_over(), is_over, "{len}");
        }
    }

    /// All sorts of things, in no order.
    fn write_much(reply: &mut Reply) {
        let bytes = Bytes::from(vec![b'x'; 2 * PIECE_BYTES]);
        reply.array(2000);
        for n in 0..2000_usize {
            match n % 10 {
                0 => reply.integer(-7),
                1 => reply.null(),
                2 => reply.double(0.5),
                3 => reply.verbatim(&bytes[..n]),
                4 => reply.error("ERR a\r\nb"),
                5 if n % 100 == 5 => reply.shared_bulk(&bytes),
                6 if n % 100 == 6 => reply.bulk(&bytes),
                7 => reply.raw(&bytes[..3 * n]),
                _ => reply.bulk(&bytes[..n]),
            }
        }
    }

    #[test]
    fn pieces_are_what_the_whole_is_and_little_more_memory() {
        let mut whole = Reply::new(Protocol::Resp3);
        whole.raw(b"+earlier\r\n");
        write_much(&mut whole);
        let mut reply = Reply::onto(b"+earlier\r\n".to_vec(), Protocol::Resp3, usize::MAX, true);
        write_much(&mut reply);
        assert_eq!(reply.len(), whole.len());
        let (pieces, end) = reply.into_pieces();
        let parts: Vec<&[u8]> = pieces.iter().map(|piece| &**piece).chain([&*end]).collect();
        assert!(parts.concat() == whole.into_bytes());
        assert!(parts.iter().all(|part| part.len() < 3 * PIECE_BYTES));
        let own: usize = pieces.iter().map(Chunk::own_bytes).sum();
        let copied: usize = pieces
            .iter()
            .filter(|piece| piece.own_bytes() > 0)
            .map(|piece| piece.len())
            .sum();
        assert!(own < copied + copied / 4, "{own} for {copied}");
        assert_eq!(pieces.iter().filter(|p| p.own_bytes() == 0).count(), 20);
    }

    #[test]
    fn what_is_over_the_budget_is_dropped() {
        let earlier = b"+earlier\r\n";
        let mut reply = Reply::onto(earlier.to_vec(), Protocol::Resp2, 4 * PIECE_BYTES, true);
        for _ in 0..10 {
            write_much(&mut reply);
            let kept: usize = reply.pieces.iter().map(|piece| piece.len()).sum();
            assert!(kept + reply.out.capacity() < 8 * PIECE_BYTES);
        }
        assert!(reply.is_over());
        let start = reply.len();
        reply.error("ERR it is told");
        assert_eq!(reply.error_at(start), Some(&b"ERR it is told\r\n"[..]));
        reply.aside(|aside| aside.simple("aside"));
        reply.leave_out();
        assert!(!reply.is_over());
        let (pieces, end) = reply.into_pieces();
        assert_eq!(pieces.len(), 1);
        assert_eq!((&*pieces[0], &*end), (&earlier[..], &b"+aside\r\n"[..]));
    }

    #[test]
    fn an_error_is_one_line() {
        let mut reply = Reply::default();
        reply.error("ERR a\r\nb");
        assert_eq!(reply.as_bytes(), b"-ERR a  b\r\n");
    }
}

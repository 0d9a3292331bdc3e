//! Where a command writes its answer: bytes of the client's protocol version, ready for the socket.

use std::ops::Range;

use crate::resp::{Protocol, Value, encode_value};

/// The reply of one command, or of a whole batch, under construction.
#[derive(Debug, Default)]
pub struct Reply {
    out: Vec<u8>,
    protocol: Protocol,
    /// Which of the bytes are sent even where replies are left out.
    asides: Vec<Range<usize>>,
}

impl Reply {
    /// An empty reply in this protocol.
    pub fn new(protocol: Protocol) -> Reply {
        Reply {
            out: Vec::new(),
            protocol,
            asides: Vec::new(),
        }
    }

    /// Goes on writing after what `out` holds already.
    pub fn onto(out: Vec<u8>, protocol: Protocol) -> Reply {
        Reply {
            out,
            protocol,
            asides: Vec::new(),
        }
    }

    /// The bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    /// The bytes so far.
    pub fn as_bytes(&self) -> &[u8] {
        &self.out
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// True while nothing is written.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Writes what is no part of the reply, as a message is not: `CLIENT REPLY` does not leave it out.
    pub fn aside(&mut self, write: impl FnOnce(&mut Reply)) {
        let start = self.out.len();
        write(self);
        self.asides.push(start..self.out.len());
    }

    /// Takes back what was written after the first `len` bytes, but for the asides.
    pub(super) fn leave_out(&mut self, len: usize) {
        let mut end = len;
        for aside in std::mem::take(&mut self.asides) {
            let aside_len = aside.len();
            self.out.copy_within(aside, end);
            end += aside_len;
        }
        self.out.truncate(end);
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
        self.out.extend_from_slice(b"+OK\r\n");
    }

    /// `+text`
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    /// `-text`, with its code word: `ERR …`. Line breaks become spaces.
    pub fn error(&mut self, text: impl AsRef<[u8]>) {
        let start = self.out.len() + 1;
        self.line(b'-', text.as_ref());
        let end = self.out.len() - 2;
        for byte in &mut self.out[start..end] {
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
        /// `$` and CRLF twice, and a length.
        const FRAME_BYTES_MAX: usize = 5 + 20;
        let bytes = bytes.as_ref();
        // At once: the last two bytes must not make a long one move.
        self.out.reserve(bytes.len() + FRAME_BYTES_MAX);
        self.header(b'$', signed(bytes.len()));
        self.out.extend_from_slice(bytes);
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
        self.out.extend_from_slice(text);
    }

    /// The null of a missing list.
    pub fn null_array(&mut self) {
        let text: &[u8] = if self.is_resp3() {
            b"_\r\n"
        } else {
            b"*-1\r\n"
        };
        self.out.extend_from_slice(text);
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
        encode_value(value, self.protocol, &mut self.out);
    }

    /// Bytes that are RESP already, in this client's protocol.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    fn is_resp3(&self) -> bool {
        self.protocol == Protocol::Resp3
    }

    fn line(&mut self, mark: u8, text: &[u8]) {
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
    fn an_error_is_one_line() {
        let mut reply = Reply::default();
        reply.error("ERR a\r\nb");
        assert_eq!(reply.as_bytes(), b"-ERR a  b\r\n");
    }
}

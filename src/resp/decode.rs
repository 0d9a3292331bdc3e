//! Reading RESP: replies of servers ([`decode_value`]) and requests of clients ([`decode_request`]).
//!
//! Both look at a buffer that may end anywhere, say how many bytes they used, and hold whatever the
//! sender claims against [`Limits`] before they believe it. Neither recurses.

use bytes::Bytes;
use memchr::memchr;

use super::{RequestDecoder, Value, Word};

/// What one message may cost us. Each field is a bound that the sender cannot move.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The longest line: an inline request, a simple string, an error, a length. Bytes.
    pub line_bytes_max: usize,
    /// The longest bulk string. Bytes.
    pub bulk_bytes_max: usize,
    /// The most elements of one aggregate, or words of one request.
    pub elements_max: usize,
    /// The most elements of one reply, those of inner aggregates included.
    pub elements_total_max: usize,
    /// How deep aggregates may be nested.
    pub depth_max: usize,
}

impl Limits {
    /// What redis-server 7.0 accepts from an authenticated client.
    pub const CLIENT: Limits = Limits {
        line_bytes_max: 64 * 1024,
        bulk_bytes_max: 512 * 1024 * 1024,
        elements_max: i32::MAX as usize,
        elements_total_max: i32::MAX as usize,
        depth_max: 1,
    };

    /// What redis-server 7.0 accepts from a client that has yet to authenticate.
    pub const UNAUTHENTICATED: Limits = Limits {
        bulk_bytes_max: 16 * 1024,
        elements_max: 10,
        ..Limits::CLIENT
    };

    /// What a monitored instance or a peer may send to a sentinel: an INFO with thousands of replicas
    /// is the largest honest message.
    pub const INSTANCE: Limits = Limits {
        line_bytes_max: 64 * 1024,
        bulk_bytes_max: 4 * 1024 * 1024,
        elements_max: 4096,
        elements_total_max: 16 * 1024,
        depth_max: 8,
    };
}

impl Limits {
    /// Whether these are the limits of a client that has yet to authenticate.
    pub fn is_unauthenticated(&self) -> bool {
        self.elements_max == Limits::UNAUTHENTICATED.elements_max
    }

    /// Holds the number of words that a request announces against the limit.
    pub(super) fn check_words(&self, count: i64) -> Result<usize, ProtocolError> {
        match usize::try_from(count) {
            Ok(count) if count <= self.elements_max => Ok(count),
            _ if self.is_unauthenticated() => Err(ProtocolError::UnauthenticatedMultibulkLength),
            _ => Err(ProtocolError::MultibulkLength),
        }
    }

    /// Holds the length that a word announces against the limit.
    pub(super) fn check_word_len(&self, len: Option<i64>) -> Result<usize, ProtocolError> {
        let len = len
            .and_then(|len| usize::try_from(len).ok())
            .ok_or(ProtocolError::BulkLength)?;
        if len <= self.bulk_bytes_max {
            Ok(len)
        } else if self.bulk_bytes_max == Limits::UNAUTHENTICATED.bulk_bytes_max {
            Err(ProtocolError::UnauthenticatedBulkLength)
        } else {
            Err(ProtocolError::BulkLength)
        }
    }
}

/// Why bytes are not RESP, in the words that Redis uses towards clients where it has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// A request's word count is no number or out of range.
    #[error("invalid multibulk length")]
    MultibulkLength,
    /// More words than an unauthenticated client may send.
    #[error("unauthenticated multibulk length")]
    UnauthenticatedMultibulkLength,
    /// A bulk length is no number or out of range.
    #[error("invalid bulk length")]
    BulkLength,
    /// A longer bulk than an unauthenticated client may send.
    #[error("unauthenticated bulk length")]
    UnauthenticatedBulkLength,
    /// A request's word does not start with `$`.
    #[error("expected '$', got '{}'", in_one_line(*.0))]
    ExpectedDollar(u8),
    /// An inline request longer than the limit.
    #[error("too big inline request")]
    InlineTooBig,
    /// A word count longer than the limit.
    #[error("too big mbulk count string")]
    CountTooBig,
    /// A bulk length longer than the limit.
    #[error("too big bulk count string")]
    BulkCountTooBig,
    /// An inline request with quotes that do not close.
    #[error("unbalanced quotes in request")]
    UnbalancedQuotes,
    /// A reply begins with a byte that is no RESP type.
    #[error("unknown reply type byte {0:#04x}")]
    UnknownType(u8),
    /// A reply's number is malformed.
    #[error("malformed number in a reply")]
    Number,
    /// A reply's line is longer than the limit.
    #[error("reply line too long")]
    LineTooLong,
    /// A bulk string does not end in CRLF.
    #[error("bulk string without its CRLF")]
    MissingCrlf,
    /// A reply has too many elements or is nested too deeply.
    #[error("reply too large or nested too deeply")]
    TooLarge,
}

/// A peer's byte as it may stand in an error reply, which is one line.
fn in_one_line(byte: u8) -> char {
    match byte {
        b'\r' | b'\n' => ' ',
        _ => char::from(byte),
    }
}

/// Decodes one request from the start of `input`.
///
/// `Ok(None)`: not complete yet. `Ok(Some((words, used)))`: a request of `used` bytes; `words` is empty
/// for an empty line or `*0`, which a server skips silently.
///
/// # Errors
/// The bytes are not a request; the connection cannot go on after the error has been told.
pub fn decode_request(
    input: &[u8],
    limits: &Limits,
) -> Result<Option<(Vec<Bytes>, usize)>, ProtocolError> {
    let mut at = 0;
    let words = RequestDecoder::default().decode(input, &mut at, limits)?;
    let owned = |words: Vec<Word<'_>>| words.into_iter().map(Word::into_bytes).collect();
    Ok(words.map(|words| (owned(words), at)))
}

pub(super) fn decode_inline(
    input: &[u8],
    limits: &Limits,
) -> Result<Option<(Vec<Bytes>, usize)>, ProtocolError> {
    let Some(end) = memchr(b'\n', input) else {
        return if input.len() > limits.line_bytes_max {
            Err(ProtocolError::InlineTooBig)
        } else {
            Ok(None)
        };
    };
    let line = input[..end].strip_suffix(b"\r").unwrap_or(&input[..end]);
    let words = split_words(line).ok_or(ProtocolError::UnbalancedQuotes)?;
    Ok(Some((
        words.into_iter().map(Bytes::from).collect(),
        end + 1,
    )))
}

/// Splits a line into words by Redis's quoting rules, which inline requests and configuration files
/// share: blanks separate, of which vertical tabs and form feeds are only between words; `"…"` knows `\n \r \t \b \a \xHH` and `\` before any other character;
/// `'…'` knows only `\'`; a closing quote must be followed by a blank or the end. `None`: unbalanced.
pub fn split_words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let is_blank = |b: u8| matches!(b, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c);
    let mut words = Vec::new();
    let mut at = 0;
    loop {
        while at < line.len() && is_blank(line[at]) {
            at += 1;
        }
        if at >= line.len() || line[at] == 0 {
            return Some(words);
        }
        let mut word = Vec::new();
        loop {
            match line.get(at) {
                None | Some(0) => break,
                Some(b' ' | b'\t' | b'\n' | b'\r') => break,
                Some(b'"') => {
                    at = double_quoted(line, at + 1, &mut word)?;
                    break;
                }
                Some(b'\'') => {
                    at = single_quoted(line, at + 1, &mut word)?;
                    break;
                }
                Some(&b) => {
                    word.push(b);
                    at += 1;
                }
            }
        }
        if at < line.len() && !is_blank(line[at]) && line[at] != 0 {
            return None;
        }
        words.push(word);
    }
}

/// Reads up to the closing `"`; returns the position after it.
fn double_quoted(line: &[u8], mut at: usize, word: &mut Vec<u8>) -> Option<usize> {
    loop {
        match line.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => {
                let escaped = *line.get(at + 1)?;
                let hex = |i: usize| line.get(i).and_then(|b| char::from(*b).to_digit(16));
                if let (b'x', Some(high), Some(low)) = (escaped, hex(at + 2), hex(at + 3)) {
                    word.push(u8::try_from(high * 16 + low).ok()?);
                    at += 4;
                    continue;
                }
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => other,
                });
                at += 2;
            }
            &b => {
                word.push(b);
                at += 1;
            }
        }
    }
}

/// Reads up to the closing `'`; returns the position after it.
fn single_quoted(line: &[u8], mut at: usize, word: &mut Vec<u8>) -> Option<usize> {
    loop {
        match line.get(at)? {
            b'\'' => return Some(at + 1),
            b'\\' if line.get(at + 1) == Some(&b'\'') => {
                word.push(b'\'');
                at += 2;
            }
            &b => {
                word.push(b);
                at += 1;
            }
        }
    }
}

/// Decodes one reply, RESP2 or RESP3, from the start of `input`.
///
/// `Ok(None)`: not complete yet. RESP3 attributes are refused, streamed types too: no server sends
/// them unasked. Everything returned is copied, so that a caller may reuse its buffer.
///
/// # Errors
/// The bytes are not a reply, or beyond `limits`; the connection cannot go on.
pub fn decode_value(
    input: &[u8],
    limits: &Limits,
) -> Result<Option<(Value, usize)>, ProtocolError> {
    let mut cursor = Cursor { input, at: 0 };
    let mut open: Vec<Frame> = Vec::new();
    let mut elements = 0_usize;
    loop {
        let Some(item) = decode_item(&mut cursor, limits)? else {
            return Ok(None);
        };
        let mut value = match item {
            Item::Whole(value) => value,
            Item::Open { mark, count } => {
                elements = elements.saturating_add(count);
                if elements > limits.elements_total_max || open.len() >= limits.depth_max {
                    return Err(ProtocolError::TooLarge);
                }
                // Nothing is reserved beyond what the sender has already paid for.
                let frame = Frame {
                    mark,
                    left: count,
                    items: Vec::with_capacity(count.min(16)),
                };
                if count > 0 {
                    open.push(frame);
                    continue;
                }
                frame.close()
            }
        };
        loop {
            let Some(frame) = open.last_mut() else {
                return Ok(Some((value, cursor.at)));
            };
            frame.items.push(value);
            frame.left -= 1;
            if frame.left > 0 {
                break;
            }
            value = open.pop().expect("an element was just added to it").close();
        }
    }
}

/// An aggregate that has not got all its elements yet.
struct Frame {
    mark: u8,
    left: usize,
    items: Vec<Value>,
}

impl Frame {
    fn close(self) -> Value {
        match self.mark {
            b'%' => {
                let mut items = self.items.into_iter();
                let mut pairs = Vec::with_capacity(items.len() / 2);
                while let (Some(key), Some(value)) = (items.next(), items.next()) {
                    pairs.push((key, value));
                }
                Value::Map(pairs)
            }
            b'~' => Value::Set(self.items),
            b'>' => Value::Push(self.items),
            _ => Value::Array(self.items),
        }
    }
}

enum Item {
    Whole(Value),
    Open { mark: u8, count: usize },
}

fn decode_item(cursor: &mut Cursor<'_>, limits: &Limits) -> Result<Option<Item>, ProtocolError> {
    let Some(mark) = cursor.peek() else {
        return Ok(None);
    };
    if !b"+-:$*_%~>,#(=".contains(&mark) {
        return Err(ProtocolError::UnknownType(mark));
    }
    cursor.at += 1;
    let Some(line) = cursor.line(limits.line_bytes_max, ProtocolError::LineTooLong)? else {
        return Ok(None);
    };
    let text = || Bytes::copy_from_slice(line);
    let value = match mark {
        b'+' => Value::Simple(text()),
        b'-' => Value::Error(text()),
        b'(' => Value::BigNumber(text()),
        b':' => Value::Integer(parse_integer(line).ok_or(ProtocolError::Number)?),
        b'_' => Value::Null,
        b'#' => match line {
            b"t" => Value::Boolean(true),
            b"f" => Value::Boolean(false),
            _ => return Err(ProtocolError::Number),
        },
        b',' => {
            let text = std::str::from_utf8(line).map_err(|_| ProtocolError::Number)?;
            Value::Double(text.parse().map_err(|_| ProtocolError::Number)?)
        }
        b'$' | b'=' => {
            let len = parse_integer(line).ok_or(ProtocolError::BulkLength)?;
            if len == -1 && mark == b'$' {
                return Ok(Some(Item::Whole(Value::Null)));
            }
            let len = usize::try_from(len).map_err(|_| ProtocolError::BulkLength)?;
            if len > limits.bulk_bytes_max {
                return Err(ProtocolError::BulkLength);
            }
            let Some(body) = cursor.take(len) else {
                return Ok(None);
            };
            let Some(end) = cursor.take(2) else {
                return Ok(None);
            };
            if end != b"\r\n" {
                return Err(ProtocolError::MissingCrlf);
            }
            match (mark, body) {
                (b'$', _) => Value::Bulk(Bytes::copy_from_slice(body)),
                (_, &[a, b, c, b':', ref text @ ..]) => {
                    Value::Verbatim([a, b, c], Bytes::copy_from_slice(text))
                }
                _ => return Err(ProtocolError::BulkLength),
            }
        }
        _ => {
            let count = parse_integer(line).ok_or(ProtocolError::Number)?;
            if count == -1 && mark == b'*' {
                return Ok(Some(Item::Whole(Value::NullArray)));
            }
            let count = usize::try_from(count).map_err(|_| ProtocolError::Number)?;
            if count > limits.elements_max {
                return Err(ProtocolError::TooLarge);
            }
            let count = if mark == b'%' { count * 2 } else { count };
            return Ok(Some(Item::Open { mark, count }));
        }
    };
    Ok(Some(Item::Whole(value)))
}

struct Cursor<'a> {
    input: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn peek(&self) -> Option<u8> {
        self.input.get(self.at).copied()
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let taken = self.input.get(self.at..self.at.checked_add(len)?)?;
        self.at += len;
        Some(taken)
    }

    /// The bytes up to CRLF, which is consumed. `None` when it has not arrived.
    fn line(
        &mut self,
        max: usize,
        too_long: ProtocolError,
    ) -> Result<Option<&'a [u8]>, ProtocolError> {
        let rest = &self.input[self.at..];
        match memchr(b'\r', rest) {
            Some(end) if end > max => Err(too_long),
            Some(end) if end + 1 < rest.len() => {
                self.at += end + 2;
                Ok(Some(&rest[..end]))
            }
            Some(_) => Ok(None),
            None if rest.len() > max => Err(too_long),
            None => Ok(None),
        }
    }
}

/// A signed decimal of the exact form that Redis writes: no `+`, no blanks, no leading zeros beyond
/// what `i64` parsing allows.
pub(super) fn parse_integer(text: &[u8]) -> Option<i64> {
    if text.first() == Some(&b'+') {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::{Protocol, encode_value};
    use proptest::prelude::*;

    fn words(input: &[u8]) -> Option<Vec<String>> {
        let (words, used) = decode_request(input, &Limits::CLIENT).unwrap()?;
        assert!(used <= input.len());
        Some(
            words
                .iter()
                .map(|w| String::from_utf8_lossy(w).into_owned())
                .collect(),
        )
    }

    #[test]
    fn requests_in_both_forms() {
        assert_eq!(
            words(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\nrest").unwrap(),
            ["GET", "k"]
        );
        assert_eq!(
            words(b"GET 'a b' \"\\x41\\n\"\r\n").unwrap(),
            ["GET", "a b", "A\n"]
        );
        assert_eq!(words(b"\r\n").unwrap(), [""; 0]);
        assert_eq!(words(b"*0\r\n").unwrap(), [""; 0]);
        assert_eq!(words(b"*1\r\n$4\r\nPI"), None);
    }

    #[test]
    fn a_request_cut_anywhere_is_incomplete() {
        let whole = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\nvv\r\n";
        for end in 0..whole.len() {
            assert_eq!(
                decode_request(&whole[..end], &Limits::CLIENT),
                Ok(None),
                "at {end}"
            );
        }
    }

    #[test]
    fn claims_are_held_against_the_limits() {
        let bad = |input: &[u8], limits| decode_request(input, &limits).unwrap_err();
        assert_eq!(
            bad(b"*2147483648\r\n", Limits::CLIENT),
            ProtocolError::MultibulkLength
        );
        assert_eq!(
            bad(b"*11\r\n", Limits::UNAUTHENTICATED),
            ProtocolError::UnauthenticatedMultibulkLength
        );
        assert_eq!(
            bad(b"*1\r\n$-5\r\n", Limits::CLIENT),
            ProtocolError::BulkLength
        );
        assert_eq!(
            bad(b"*1\r\n:1\r\n", Limits::CLIENT),
            ProtocolError::ExpectedDollar(b':')
        );
        assert_eq!(
            bad(&[b'x'; 70_000], Limits::CLIENT),
            ProtocolError::InlineTooBig
        );
        assert_eq!(
            bad(b"a \"b\r\n", Limits::CLIENT),
            ProtocolError::UnbalancedQuotes
        );
        let deep = b"*1\r\n".repeat(100);
        assert_eq!(
            decode_value(&deep, &Limits::INSTANCE),
            Err(ProtocolError::TooLarge)
        );
        let wide = b"*4096\r\n".repeat(7);
        assert_eq!(
            decode_value(&wide, &Limits::INSTANCE),
            Err(ProtocolError::TooLarge)
        );
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let text = || "[ -~]{0,12}".prop_map(Bytes::from);
        let leaf = prop_oneof![
            text().prop_map(Value::Simple),
            text().prop_map(Value::Error),
            any::<i64>().prop_map(Value::Integer),
            proptest::collection::vec(any::<u8>(), 0..20).prop_map(|b| Value::Bulk(b.into())),
            Just(Value::Null),
            any::<bool>().prop_map(Value::Boolean),
            (-1e9..1e9).prop_map(Value::Double),
            text().prop_map(|t| Value::Verbatim(*b"txt", t)),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::Set),
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::Push),
                proptest::collection::vec((inner.clone(), inner), 0..3).prop_map(Value::Map),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(value in any_value()) {
            let mut bytes = Vec::new();
            encode_value(&value, Protocol::Resp3, &mut bytes);
            for end in 0..bytes.len() {
                prop_assert_eq!(decode_value(&bytes[..end], &Limits::INSTANCE), Ok(None));
            }
            let len = bytes.len();
            bytes.extend_from_slice(b"+next\r\n");
            prop_assert_eq!(decode_value(&bytes, &Limits::INSTANCE), Ok(Some((value, len))));
        }

        #[test]
        fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode_value(&bytes, &Limits::INSTANCE);
            let _ = decode_request(&bytes, &Limits::CLIENT);
        }
    }
}

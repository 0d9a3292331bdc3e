//! Reading requests piece by piece, so that a large one is not parsed again from its start with every
//! packet.

use bytes::buf::Limit;
use bytes::{BufMut, Bytes, BytesMut};
use memchr::memchr;

use super::decode::{Limits, ProtocolError, decode_inline};
use super::integer::canonical_integer;
use super::word::Word;

/// Words of so many bytes and more are each in a buffer of their own, which holds nothing else. Whoever keeps one
/// need not copy it.
pub const OWN_BUFFER_MIN: usize = 128 * 1024;

/// How many times as long the buffer of a long word becomes when it is full.
const OWN_BUFFER_GROWTH: usize = 16;

/// Where requests are decoded from.
pub trait RequestSource<'a>: Copy {
    /// Everything that is there.
    fn bytes(&self) -> &[u8];

    /// The word at `start..end`.
    fn word(&self, start: usize, end: usize) -> Word<'a>;
}

/// Words stay where they are.
impl<'a> RequestSource<'a> for &'a [u8] {
    fn bytes(&self) -> &[u8] {
        self
    }

    fn word(&self, start: usize, end: usize) -> Word<'a> {
        Word::Part(&self[start..end])
    }
}

/// Words share the buffer.
impl<'a> RequestSource<'a> for &Bytes {
    fn bytes(&self) -> &[u8] {
        self
    }

    fn word(&self, start: usize, end: usize) -> Word<'a> {
        Word::Own(self.slice(start..end))
    }
}

/// Decodes the requests of one client.
///
/// Keeps the words of a request that has not arrived completely, so each byte is looked at once, but for
/// the line or word at the end of what has arrived. A long word is taken as it comes, see [`OWN_BUFFER_MIN`].
#[derive(Debug, Default)]
pub struct RequestDecoder {
    words: Vec<Bytes>,
    /// Words that are still to come of the request that has begun.
    missing: usize,
    /// The length of the next word, once that is known.
    word_len: Option<usize>,
    /// What is there of the next word, where that gets a buffer of its own.
    own: Vec<u8>,
    /// Bytes in `words`, and of `words`.
    held_bytes: usize,
}

impl RequestDecoder {
    /// Bytes of an incomplete request that have been taken out of the input already.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes + self.own.len()
    }

    /// Bytes that are reserved for what is still to come of a word.
    pub fn spare_bytes(&self) -> usize {
        self.own.capacity() - self.own.len()
    }

    /// Those of them that belong to a word which has not ended.
    pub fn open_bytes(&self) -> usize {
        /// What ends a word.
        const END: usize = b"\r\n".len();
        let is_all_there = self.word_len == Some(self.own.len());
        self.own.len() + if is_all_there { END } else { 0 }
    }

    /// Where the bytes that come next may be put at once: they belong to a word with a buffer of its own.
    pub fn room(&mut self) -> Option<Limit<&mut Vec<u8>>> {
        let len = self.word_len.filter(|len| *len >= OWN_BUFFER_MIN)?;
        if self.own.len() == len {
            return None;
        }
        self.grow(len);
        let room = self.own.capacity().min(len) - self.own.len();
        Some((&mut self.own).limit(room))
    }

    /// Makes room for more of a word of this length. Not for all of it at once: a sender that has sent little has
    /// only announced the rest. What is moved when it grows is a sixteenth of the word at most: others wait for that.
    fn grow(&mut self, len: usize) {
        if self.own.len() == self.own.capacity() {
            let more = self.own.len().saturating_mul(OWN_BUFFER_GROWTH - 1);
            let more = more.max(OWN_BUFFER_MIN);
            self.own.reserve_exact(more.min(len - self.own.len()));
        }
    }

    /// Takes what is there of a word of this length; false when that is not all.
    fn fill(&mut self, mut bytes: &[u8], at: &mut usize, len: usize) -> bool {
        while self.own.len() < len && !bytes.is_empty() {
            self.grow(len);
            let room = self.own.capacity().min(len) - self.own.len();
            let (taken, rest) = bytes.split_at(room.min(bytes.len()));
            self.own.extend_from_slice(taken);
            *at += taken.len();
            bytes = rest;
        }
        self.own.len() == len
    }

    /// Takes words of an incomplete request out of the buffer that they came in, which may be reused long before the
    /// rest arrives. The copies lie in one buffer: a million of them are not a million allocations.
    fn hold(&mut self, words: &[Word<'_>]) {
        let is_short = |word: &Word<'_>| word.len() < OWN_BUFFER_MIN;
        let short = words.iter().filter(|word| is_short(word));
        let mut copies = BytesMut::with_capacity(short.map(|word| word.len()).sum());
        for word in words {
            self.held_bytes += word.len() + size_of::<Bytes>();
            self.words.push(if is_short(word) {
                copies.extend_from_slice(word);
                copies.split().freeze()
            } else {
                word.to_bytes()
            });
        }
    }

    /// As [`RequestDecoder::decode_onto`], with a new list of words for each request.
    ///
    /// # Errors
    /// The bytes are not a request; the connection cannot go on after the error has been told.
    pub fn decode<'a>(
        &mut self,
        input: impl RequestSource<'a>,
        at: &mut usize,
        limits: &Limits,
    ) -> Result<Option<Vec<Word<'a>>>, ProtocolError> {
        let mut words = Vec::new();
        let is_complete = self.decode_onto(input, at, limits, &mut words)?;
        Ok(is_complete.then_some(words))
    }

    /// Goes on at `input[*at..]`, moves `at` past what was used, which the caller then drops, and adds the words
    /// of the request to `words`.
    ///
    /// `Ok(false)`: not complete yet, nothing is added; call again with what is left of `input` and more. There
    /// are no words in an empty line and in `*0`, which a server skips silently.
    ///
    /// # Errors
    /// The bytes are not a request; the connection cannot go on after the error has been told.
    pub fn decode_onto<'a>(
        &mut self,
        input: impl RequestSource<'a>,
        at: &mut usize,
        limits: &Limits,
        words: &mut Vec<Word<'a>>,
    ) -> Result<bool, ProtocolError> {
        let bytes = input.bytes();
        let start = words.len();
        if self.missing == 0 {
            match bytes.get(*at) {
                None => return Ok(false),
                Some(b'*') => {}
                Some(_) => {
                    let Some((found, used)) = decode_inline(&bytes[*at..], limits)? else {
                        return Ok(false);
                    };
                    *at += used;
                    words.extend(found.into_iter().map(Word::Own));
                    return Ok(true);
                }
            }
            let (count, next) = match short_number(bytes, *at + 1) {
                Some((count, next)) => (i64::from(count), next),
                None => {
                    let too_big = ProtocolError::CountTooBig;
                    let Some((line, used)) = line(&bytes[*at + 1..], limits, too_big)? else {
                        return Ok(false);
                    };
                    let count = canonical_integer(line).ok_or(ProtocolError::MultibulkLength)?;
                    (count, *at + 1 + used)
                }
            };
            *at = next;
            if count <= 0 {
                return Ok(true);
            }
            self.missing = limits.check_words(count)?;
        }
        let result = self.decode_words(input, at, limits, words);
        if !matches!(result, Ok(true)) {
            if result.is_ok() {
                self.hold(&words[start..]);
            }
            words.truncate(start);
        } else if !self.words.is_empty() {
            let held = std::mem::take(&mut self.words);
            words.splice(start..start, held.into_iter().map(Word::Own));
            self.held_bytes = 0;
        }
        result
    }

    /// Takes the words that are still missing; false when not all have arrived.
    fn decode_words<'a>(
        &mut self,
        input: impl RequestSource<'a>,
        at: &mut usize,
        limits: &Limits,
        words: &mut Vec<Word<'a>>,
    ) -> Result<bool, ProtocolError> {
        let bytes = input.bytes();
        while self.missing > 0 {
            let len = if let Some(len) = self.word_len {
                len
            } else {
                match bytes.get(*at) {
                    None => return Ok(false),
                    Some(b'$') => {}
                    Some(other) => return Err(ProtocolError::ExpectedDollar(*other)),
                }
                let (len, next) = match short_number(bytes, *at + 1) {
                    Some((len, next)) => (Some(i64::from(len)), next),
                    None => {
                        let too_big = ProtocolError::BulkCountTooBig;
                        let Some((line, used)) = line(&bytes[*at + 1..], limits, too_big)? else {
                            return Ok(false);
                        };
                        (canonical_integer(line), *at + 1 + used)
                    }
                };
                let len = limits.check_word_len(len)?;
                *at = next;
                self.word_len = Some(len);
                len
            };
            let has_own_buffer = len >= OWN_BUFFER_MIN;
            if has_own_buffer && !self.fill(&bytes[*at..], at, len) {
                return Ok(false);
            }
            // As Redis does, the two bytes after the word are skipped without a look at them.
            let end = if has_own_buffer { *at } else { *at + len };
            if bytes.len() < end + 2 {
                return Ok(false);
            }
            words.push(if has_own_buffer {
                Word::Own(Bytes::from(std::mem::take(&mut self.own)))
            } else {
                input.word(*at, end)
            });
            *at = end + 2;
            self.word_len = None;
            self.missing -= 1;
        }
        Ok(true)
    }
}

/// The number at `at` and where it ends, CRLF included, when it is one of up to four digits without leading
/// zeros and all of it is there: nearly every one. Any other needs a closer look.
#[inline]
fn short_number(bytes: &[u8], at: usize) -> Option<(u16, usize)> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(u16::from(byte - b'0')),
        _ => None,
    };
    let (number, digits) = match *bytes.get(at..)? {
        [b'0', ..] => return None,
        [a, b'\r', _, ..] => (digit(a)?, 1),
        [a, b, b'\r', _, ..] => (digit(a)? * 10 + digit(b)?, 2),
        [a, b, c, b'\r', _, ..] => (digit(a)? * 100 + digit(b)? * 10 + digit(c)?, 3),
        [a, b, c, d, b'\r', _, ..] => {
            let high = digit(a)? * 1000 + digit(b)? * 100;
            (high + digit(c)? * 10 + digit(d)?, 4)
        }
        _ => return None,
    };
    Some((number, at + digits + 2))
}

/// The bytes up to CRLF, and how many bytes that is with it. `None` when it has not arrived.
fn line<'a>(
    rest: &'a [u8],
    limits: &Limits,
    too_long: ProtocolError,
) -> Result<Option<(&'a [u8], usize)>, ProtocolError> {
    match memchr(b'\r', rest) {
        Some(end) if end > limits.line_bytes_max => Err(too_long),
        Some(end) if end + 1 < rest.len() => Ok(Some((&rest[..end], end + 2))),
        Some(_) => Ok(None),
        None if rest.len() > limits.line_bytes_max => Err(too_long),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::{decode_request, encode_request};
    use proptest::prelude::*;

    #[test]
    fn words_are_kept_while_the_rest_is_missing() {
        let mut decoder = RequestDecoder::default();
        let mut at = 0;
        let first = b"*2\r\n$3\r\nGET\r\n$5\r\nab";
        assert_eq!(
            decoder.decode(&first[..], &mut at, &Limits::CLIENT),
            Ok(None)
        );
        assert_eq!(&first[at..], b"ab", "only the unfinished word is left");
        assert_eq!(decoder.held_bytes(), 3 + size_of::<Bytes>());

        let mut at = 0;
        let words = decoder
            .decode(&b"abcde\r\nPING\r\n"[..], &mut at, &Limits::CLIENT)
            .unwrap()
            .unwrap();
        assert_eq!(words, ["GET", "abcde"]);
        assert_eq!(at, 7);
    }

    #[test]
    fn words_are_copied_out_once() {
        let mut decoder = RequestDecoder::default();
        let mut feed = |piece: &'static [u8]| {
            let mut at = 0;
            let shared = Bytes::from_static(piece);
            let words = decoder.decode(&shared, &mut at, &Limits::CLIENT).unwrap();
            (
                words,
                decoder.words.iter().map(|word| word.as_ptr()).collect(),
            )
        };
        let (words, first): (_, Vec<_>) = feed(b"*4\r\n$3\r\nDEL\r\n$1\r\na\r\n");
        assert_eq!((words, first.len()), (None, 2));
        let (words, second): (_, Vec<_>) = feed(b"$1\r\nb\r\n");
        assert_eq!((words, &second[..2]), (None, &first[..]));
        let (words, none): (_, Vec<*const u8>) = feed(b"$1\r\nc\r\n");
        assert_eq!(words.unwrap(), ["DEL", "a", "b", "c"]);
        assert!(none.is_empty());
        assert_eq!((decoder.words.capacity(), decoder.held_bytes()), (0, 0));
    }

    #[test]
    fn a_long_word_is_read_into_a_buffer_of_its_own_and_never_copied() {
        const LEN: usize = 20 * OWN_BUFFER_MIN + 3;
        let text: Vec<u8> = (0..LEN).map(|n| n.to_le_bytes()[0]).collect();
        let mut decoder = RequestDecoder::default();
        let decode = |decoder: &mut RequestDecoder, input: &[u8]| {
            let mut at = 0;
            let words = decoder.decode(&Bytes::copy_from_slice(input), &mut at, &Limits::CLIENT);
            (words.unwrap(), at)
        };
        let head = format!("*4\r\n$3\r\nSET\r\n$1\r\nk\r\n${LEN}\r\n");
        assert!(decoder.room().is_none());
        let input = [head.as_bytes(), &text[..10]].concat();
        assert_eq!(decode(&mut decoder, &input), (None, input.len()));
        let mut sent = 10;
        while let Some(mut room) = decoder.room() {
            let reserved = sent + room.remaining_mut();
            assert!(
                reserved <= LEN.min(OWN_BUFFER_MIN.max(OWN_BUFFER_GROWTH * sent)),
                "{reserved} for {sent}"
            );
            let end = LEN.min(sent + room.remaining_mut().min(100_000));
            room.put_slice(&text[sent..end]);
            sent = end;
            assert_eq!(decode(&mut decoder, b""), (None, 0));
        }
        assert_eq!(sent, LEN);
        let place = decoder.own.as_ptr();
        // Words behind it are still to come.
        assert_eq!(decode(&mut decoder, b"\r\n"), (None, 2));
        assert_eq!(decoder.held_bytes(), 3 + 1 + LEN + 3 * size_of::<Bytes>());
        let (words, _) = decode(&mut decoder, b"$2\r\nXX\r\n");
        let words = words.unwrap();
        assert_eq!(words, ["SET".as_bytes(), b"k", &text, b"XX"]);
        assert_eq!(words[2].as_ptr(), place);
        assert_eq!((decoder.own.capacity(), decoder.held_bytes()), (0, 0));
    }

    #[test]
    fn a_long_word_may_be_cut_anywhere() {
        let words = [vec![b'a'; OWN_BUFFER_MIN], vec![b'b'; OWN_BUFFER_MIN - 1]];
        let mut bytes = Vec::new();
        encode_request(&words, &mut bytes);
        encode_request(&[b"PING"], &mut bytes);
        let last = bytes.len();
        for cut in [
            1,
            9,
            14,
            15,
            1000,
            OWN_BUFFER_MIN + 13,
            OWN_BUFFER_MIN + 14,
            last - 20,
        ] {
            let mut decoder = RequestDecoder::default();
            let mut at = 0;
            let first = decoder
                .decode(&bytes[..cut], &mut at, &Limits::CLIENT)
                .unwrap();
            assert_eq!(first, None, "{cut}");
            let got = decoder
                .decode(&bytes[..], &mut at, &Limits::CLIENT)
                .unwrap()
                .unwrap();
            assert!(got == words, "{cut}");
            let got = decoder
                .decode(&bytes[..], &mut at, &Limits::CLIENT)
                .unwrap();
            assert_eq!(got, Some(vec!["PING".into()]), "{cut}");
        }
    }

    #[test]
    fn lengths_have_one_form() {
        let decode =
            |input: &'static [u8]| RequestDecoder::default().decode(input, &mut 0, &Limits::CLIENT);
        for bad in [
            &b"*01\r\n"[..],
            b"*+1\r\n",
            b"*1 \r\n",
            b"*1\r\n$04\r\nPING\r\n",
        ] {
            assert!(decode(bad).is_err(), "{}", bad.escape_ascii());
        }
        assert_eq!(decode(b"*-1\r\n"), Ok(Some(Vec::new())));
    }

    fn owned(words: Vec<Word<'_>>) -> Vec<Bytes> {
        words.into_iter().map(Word::into_bytes).collect()
    }

    proptest! {
        /// However a request is cut, the pieces give what the whole gives.
        #[test]
        fn pieces_give_what_the_whole_gives(
            words in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..9), 1..5),
            cuts in proptest::collection::vec(1_usize..7, 1..40),
        ) {
            let mut bytes = Vec::new();
            encode_request(&words, &mut bytes);
            let whole = decode_request(&bytes, &Limits::CLIENT).unwrap().unwrap().0;
            let mut decoder = RequestDecoder::default();
            let (mut input, mut got, mut sent) = (Vec::new(), None, 0);
            for cut in cuts.into_iter().chain(std::iter::once(bytes.len())) {
                let end = (sent + cut).min(bytes.len());
                input.extend_from_slice(&bytes[sent..end]);
                sent = end;
                let mut at = 0;
                let shared = Bytes::copy_from_slice(&input);
                if let Some(words) = decoder.decode(&shared, &mut at, &Limits::CLIENT).unwrap() {
                    got = Some(owned(words));
                }
                input.drain(..at);
            }
            prop_assert_eq!(got, Some(whole));
            prop_assert!(input.is_empty());
        }

        #[test]
        fn both_decoders_agree_on_anything(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut at = 0;
            let pieces = RequestDecoder::default().decode(&bytes[..], &mut at, &Limits::CLIENT);
            match decode_request(&bytes, &Limits::CLIENT) {
                Ok(Some((words, used))) => {
                    prop_assert_eq!(pieces.map(|words| words.map(owned)), Ok(Some(words)));
                    prop_assert_eq!(at, used);
                }
                Ok(None) => prop_assert_eq!(pieces, Ok(None)),
                Err(error) => prop_assert_eq!(pieces, Err(error)),
            }
        }
    }
}

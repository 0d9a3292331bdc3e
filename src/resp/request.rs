//! Reading requests piece by piece, so that a large one is not parsed again from its start with every
//! packet.

use bytes::Bytes;
use memchr::memchr;

use super::decode::{Limits, ProtocolError, decode_inline};

/// Decodes the requests of one client.
///
/// Keeps the words of a request that has not arrived completely, so each byte is looked at once, but for
/// the line or word at the end of what has arrived.
#[derive(Debug, Default)]
pub struct RequestDecoder {
    words: Vec<Bytes>,
    /// Words that are still to come of the request that has begun.
    missing: usize,
    /// The length of the next word, once that is known.
    word_len: Option<usize>,
    /// Bytes in `words`, and of `words`.
    held_bytes: usize,
}

impl RequestDecoder {
    /// Bytes of an incomplete request that have been taken out of the input already.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Goes on at `input[*at..]` and moves `at` past what was used, which the caller then drops.
    ///
    /// `Ok(None)`: not complete yet; call again with what is left of `input` and more. The words are
    /// empty for an empty line or `*0`, which a server skips silently.
    ///
    /// # Errors
    /// The bytes are not a request; the connection cannot go on after the error has been told.
    pub fn decode(
        &mut self,
        input: &[u8],
        at: &mut usize,
        limits: &Limits,
    ) -> Result<Option<Vec<Bytes>>, ProtocolError> {
        if self.missing == 0 {
            match input.get(*at) {
                None => return Ok(None),
                Some(b'*') => {}
                Some(_) => {
                    let Some((words, used)) = decode_inline(&input[*at..], limits)? else {
                        return Ok(None);
                    };
                    *at += used;
                    return Ok(Some(words));
                }
            }
            let too_big = ProtocolError::CountTooBig;
            let Some((line, used)) = line(&input[*at + 1..], limits, too_big)? else {
                return Ok(None);
            };
            let count = strict_integer(line).ok_or(ProtocolError::MultibulkLength)?;
            *at += 1 + used;
            if count <= 0 {
                return Ok(Some(Vec::new()));
            }
            self.missing = limits.check_words(count)?;
            self.words = Vec::with_capacity(self.missing.min(64));
        }
        while self.missing > 0 {
            if !self.decode_word(input, at, limits)? {
                return Ok(None);
            }
        }
        self.held_bytes = 0;
        Ok(Some(std::mem::take(&mut self.words)))
    }

    /// Takes one word; false when it has not arrived.
    fn decode_word(
        &mut self,
        input: &[u8],
        at: &mut usize,
        limits: &Limits,
    ) -> Result<bool, ProtocolError> {
        let len = if let Some(len) = self.word_len {
            len
        } else {
            match input.get(*at) {
                None => return Ok(false),
                Some(b'$') => {}
                Some(other) => return Err(ProtocolError::ExpectedDollar(*other)),
            }
            let too_big = ProtocolError::BulkCountTooBig;
            let Some((line, used)) = line(&input[*at + 1..], limits, too_big)? else {
                return Ok(false);
            };
            let len = limits.check_word_len(strict_integer(line))?;
            *at += 1 + used;
            self.word_len = Some(len);
            len
        };
        // As Redis does, the two bytes after the word are skipped without a look at them.
        let rest = &input[*at..];
        if rest.len() < len + 2 {
            return Ok(false);
        }
        self.words.push(Bytes::copy_from_slice(&rest[..len]));
        self.held_bytes += len + size_of::<Bytes>();
        *at += len + 2;
        self.word_len = None;
        self.missing -= 1;
        Ok(true)
    }
}

/// An integer in the only form in which clients may write lengths: no `+`, no leading zeros.
fn strict_integer(text: &[u8]) -> Option<i64> {
    /// Digits that cannot overflow.
    const SHORT: usize = 18;
    match text {
        [b'1'..=b'9', rest @ ..] if text.len() <= SHORT && rest.iter().all(u8::is_ascii_digit) => {
            let digit = |byte: &u8| i64::from(byte - b'0');
            Some(text.iter().fold(0, |n, byte| n * 10 + digit(byte)))
        }
        _ => {
            let number = std::str::from_utf8(text).ok()?.parse().ok()?;
            (itoa::Buffer::new().format(number).as_bytes() == text).then_some(number)
        }
    }
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
        assert_eq!(decoder.decode(first, &mut at, &Limits::CLIENT), Ok(None));
        assert_eq!(&first[at..], b"ab", "only the unfinished word is left");
        assert_eq!(decoder.held_bytes(), 3 + size_of::<Bytes>());

        let mut at = 0;
        let words = decoder
            .decode(b"abcde\r\nPING\r\n", &mut at, &Limits::CLIENT)
            .unwrap()
            .unwrap();
        assert_eq!(words, ["GET", "abcde"]);
        assert_eq!(at, 7);
    }

    #[test]
    fn lengths_have_one_form() {
        let decode =
            |input: &[u8]| RequestDecoder::default().decode(input, &mut 0, &Limits::CLIENT);
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
                if let Some(words) = decoder.decode(&input, &mut at, &Limits::CLIENT).unwrap() {
                    got = Some(words);
                }
                input.drain(..at);
            }
            prop_assert_eq!(got, Some(whole));
            prop_assert!(input.is_empty());
        }

        #[test]
        fn both_decoders_agree_on_anything(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut at = 0;
            let pieces = RequestDecoder::default().decode(&bytes, &mut at, &Limits::CLIENT);
            match decode_request(&bytes, &Limits::CLIENT) {
                Ok(Some((words, used))) => {
                    prop_assert_eq!(pieces, Ok(Some(words)));
                    prop_assert_eq!(at, used);
                }
                Ok(None) => prop_assert_eq!(pieces, Ok(None)),
                Err(error) => prop_assert_eq!(pieces, Err(error)),
            }
        }
    }
}

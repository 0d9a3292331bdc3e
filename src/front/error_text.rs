//! The text of an error reply.

use std::borrow::Cow;

/// How much of a client's words most texts repeat, in bytes.
pub(super) const ECHO_BYTES_MAX: usize = 128;

/// The text of an error, as it stands behind the `-` of its reply. Bytes, since it may repeat a client's words as they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorText(Cow<'static, [u8]>);

impl ErrorText {
    /// That of a subcommand with words which it does not take.
    pub fn wrong_subcommand(sub: &[u8], command: &str) -> ErrorText {
        ErrorText::from("ERR unknown subcommand or wrong number of arguments for '")
            .beginning(sub, ECHO_BYTES_MAX)
            .text(&format!("'. Try {command} HELP."))
    }

    /// Goes on with this.
    #[must_use]
    pub fn text(self, text: &str) -> ErrorText {
        self.bytes(text.as_bytes())
    }

    /// Repeats a word of the client.
    #[must_use]
    pub fn word(self, word: &[u8]) -> ErrorText {
        self.bytes(until_zero(word))
    }

    /// Repeats so much of a word.
    #[must_use]
    pub fn beginning(self, word: &[u8], bytes_max: usize) -> ErrorText {
        self.word(&word[..word.len().min(bytes_max)])
    }

    fn bytes(self, more: &[u8]) -> ErrorText {
        let mut bytes = self.0.into_owned();
        bytes.extend_from_slice(more);
        ErrorText(bytes.into())
    }
}

/// What redis-server reads of most words that are not data: a zero byte ends them.
pub(super) fn until_zero(word: &[u8]) -> &[u8] {
    &word[..memchr::memchr(0, word).unwrap_or(word.len())]
}

impl AsRef<[u8]> for ErrorText {
    /// Without line breaks at the end, which redis-server drops before it makes those in the middle spaces.
    fn as_ref(&self) -> &[u8] {
        let is_shown = |b: &u8| !matches!(b, b'\r' | b'\n');
        let end = self.0.iter().rposition(is_shown).map_or(0, |at| at + 1);
        &self.0[..end]
    }
}

impl From<&'static str> for ErrorText {
    fn from(text: &'static str) -> ErrorText {
        ErrorText(text.as_bytes().into())
    }
}

impl From<String> for ErrorText {
    fn from(text: String) -> ErrorText {
        ErrorText(text.into_bytes().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_repeated_as_they_came() {
        let check = |word: &[u8], want: &[u8]| {
            let text = ErrorText::from("ERR no ").word(word);
            assert_eq!(text.as_ref(), want);
        };
        check(b"x", b"ERR no x");
        check(b"\xff\xfe", b"ERR no \xff\xfe");
        check(b"x\0y", b"ERR no x");
        check(b"x\r\ny\r\n", b"ERR no x\r\ny");
        check(b"\n", b"ERR no ");
        let cut = ErrorText::from("ERR '").beginning(b"abc\0", 2).text("'");
        assert_eq!(cut.as_ref(), b"ERR 'ab'");
    }
}

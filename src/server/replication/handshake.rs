//! The lines that two servers exchange before the stream: what they mean, without any socket.

use crate::ids::{ReplId, ReplOffset};

/// The longest line of the handshake. Bytes. Redis allows 256.
pub const LINE_BYTES_MAX: usize = 1024;

/// Bytes of the mark that ends a transfer of unknown length.
const EOF_MARK_BYTES: usize = 40;

/// What a master may say to `PSYNC`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PsyncReply {
    /// An empty line: it is still there; the reply is to come.
    KeepAlive,
    /// All data follows, and then the stream after this position.
    FullResync(ReplId, ReplOffset),
    /// The stream goes on where we asked, perhaps under a new id.
    Continue(Option<ReplId>),
    /// Not now.
    TryLater(String),
    /// It does not know the command, or will not run it.
    Error(String),
    /// We do not understand it.
    Unknown(String),
}

/// Reads a reply to `PSYNC`; `line` without its line break.
pub fn parse_psync_reply(line: &[u8]) -> PsyncReply {
    let text = String::from_utf8_lossy(line).into_owned();
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    match words.as_slice() {
        [] => PsyncReply::KeepAlive,
        ["+FULLRESYNC", id, offset] if is_repl_id(id) => match ReplOffset::from_text(offset) {
            Some(offset) => PsyncReply::FullResync((*id).into(), offset),
            None => PsyncReply::Unknown(text),
        },
        ["+CONTINUE"] => PsyncReply::Continue(None),
        ["+CONTINUE", id] if is_repl_id(id) => PsyncReply::Continue(Some((*id).into())),
        [
            "-NOMASTERLINK" | "-LOADING" | "-MASTERDOWN" | "-BUSY" | "-MISCONF",
            ..,
        ] => PsyncReply::TryLater(text),
        _ if text.starts_with('-') => PsyncReply::Error(text),
        _ => PsyncReply::Unknown(text),
    }
}

fn is_repl_id(word: &str) -> bool {
    word.len() == 40 && word.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// How the data of a full resync is going to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransferHeader {
    /// An empty line: the master is still preparing.
    KeepAlive,
    /// Exactly so many bytes.
    Length(u64),
    /// Bytes up to this mark.
    Mark([u8; EOF_MARK_BYTES]),
    /// It gave up, or this is no header.
    Refused(String),
}

/// Reads the line in front of the data of a full resync; `line` without its line break.
pub fn parse_transfer_header(line: &[u8]) -> TransferHeader {
    if line.is_empty() {
        return TransferHeader::KeepAlive;
    }
    if let Some(mark) = line.strip_prefix(b"$EOF:")
        && let Some(mark) = mark.first_chunk()
    {
        return TransferHeader::Mark(*mark);
    }
    let length = line
        .strip_prefix(b"$")
        .and_then(|digits| std::str::from_utf8(digits).ok())
        .and_then(|digits| digits.parse().ok());
    match length {
        Some(length) => TransferHeader::Length(length),
        None => TransferHeader::Refused(String::from_utf8_lossy(line).into_owned()),
    }
}

/// Whether a reply to the first `PING` lets the handshake go on: a master that wants a password may be
/// reached too.
pub fn is_ping_accepted(line: &[u8]) -> bool {
    const ERRORS: [&[u8]; 3] = [b"-NOAUTH", b"-NOPERM", b"-ERR operation not permitted"];
    line.starts_with(b"+") || ERRORS.iter().any(|error| line.starts_with(error))
}

/// Separates the bytes of a transfer from the mark that ends it.
///
/// The master sends nothing after the mark until we have acknowledged, so the mark is there when the last
/// bytes received equal it.
#[derive(Debug)]
pub struct MarkFinder {
    mark: [u8; EOF_MARK_BYTES],
    /// The newest bytes, at most as many as a mark has: they may be it.
    tail: Vec<u8>,
}

impl MarkFinder {
    /// Looks for this mark.
    pub fn new(mark: [u8; EOF_MARK_BYTES]) -> MarkFinder {
        MarkFinder {
            mark,
            tail: Vec::with_capacity(2 * EOF_MARK_BYTES),
        }
    }

    /// Takes received bytes. Appends to `data` what is certainly no mark; true when the mark has come.
    pub fn feed(&mut self, received: &[u8], data: &mut Vec<u8>) -> bool {
        let keep = EOF_MARK_BYTES.min(self.tail.len() + received.len());
        let from_received = keep.min(received.len());
        let from_tail = keep - from_received;
        let (sure, rest) = received.split_at(received.len() - from_received);
        data.extend(self.tail.drain(..self.tail.len() - from_tail));
        data.extend_from_slice(sure);
        self.tail.extend_from_slice(rest);
        self.tail == self.mark
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn replies_to_psync() {
        let check = |line: &str, want| assert_eq!(parse_psync_reply(line.as_bytes()), want);
        check("", PsyncReply::KeepAlive);
        check(
            &format!("+FULLRESYNC {ID} 42"),
            PsyncReply::FullResync(ID.into(), ReplOffset(42)),
        );
        check("+CONTINUE", PsyncReply::Continue(None));
        check(
            &format!("+CONTINUE {ID}"),
            PsyncReply::Continue(Some(ID.into())),
        );
        for later in [
            "-LOADING Redis is loading",
            "-NOMASTERLINK Can't SYNC while not connected with my master",
            "-MASTERDOWN Link with MASTER is down",
            "-BUSY Redis is busy running a script.",
            "-MISCONF Redis is configured to save RDB snapshots",
        ] {
            check(later, PsyncReply::TryLater(later.into()));
        }
        for refused in ["-ERR no", "-NOPERM this user has no permissions"] {
            check(refused, PsyncReply::Error(refused.into()));
        }
        for odd in ["+FULLRESYNC x 1", "+FULLRESYNC", "+OK", "hello"] {
            check(odd, PsyncReply::Unknown(odd.into()));
        }
        for offset in ["-1", "x", "9223372036854775807", "18446744073709551615"] {
            let line = format!("+FULLRESYNC {ID} {offset}");
            check(&line, PsyncReply::Unknown(line.clone()));
        }
    }

    #[test]
    fn headers_of_a_transfer() {
        let check = |line: &str, want| assert_eq!(parse_transfer_header(line.as_bytes()), want);
        check("", TransferHeader::KeepAlive);
        check("$1234", TransferHeader::Length(1234));
        let mark = *ID.as_bytes().first_chunk().unwrap();
        check(&format!("$EOF:{ID}"), TransferHeader::Mark(mark));
        for odd in ["$", "$-1", "$EOF:short", "-ERR x", "*1"] {
            check(odd, TransferHeader::Refused(odd.into()));
        }
    }

    #[test]
    fn a_ping_may_be_refused_for_want_of_a_password() {
        assert!(is_ping_accepted(b"+PONG"));
        assert!(is_ping_accepted(b"-NOAUTH Authentication required."));
        assert!(!is_ping_accepted(b"-LOADING x"));
        assert!(!is_ping_accepted(b"-MASTERDOWN x"));
    }

    proptest! {
        #[test]
        fn the_mark_is_found_however_it_is_cut(data in any::<Vec<u8>>(), cuts in proptest::collection::vec(1_usize..64, 1..20)) {
            let mark = *ID.as_bytes().first_chunk().unwrap();
            let whole = [&data[..], ID.as_bytes()].concat();
            let mut finder = MarkFinder::new(mark);
            let (mut out, mut rest, mut cuts) = (Vec::new(), &whole[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let (piece, later) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
                rest = later;
                prop_assert_eq!(finder.feed(piece, &mut out), rest.is_empty());
            }
            prop_assert_eq!(out, data);
        }
    }
}

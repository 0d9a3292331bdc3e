//! What commands cause beyond their replies: the writes that replicas and the append-only file must repeat.

use std::ops::Range;

use crate::resp::encode_request;

/// The largest buffer that is kept for the next unit where it was not moved. Bytes.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// About what a word takes beside its bytes.
const HEADER_BYTES: usize = 16;

/// The propagated commands of one unit: a command with the removals that it caused, or a transaction.
///
/// They travel in the order of execution, wrapped in `MULTI … EXEC` when there is more than one.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    encoded: Vec<u8>,
    count: usize,
    /// The databases of the first and of the last command.
    dbs: Option<(usize, usize)>,
    /// Where the messages are, which replicas repeat and a file does not keep.
    messages: Vec<Range<usize>>,
}

impl Effects {
    /// Adds a command that is to be repeated in database `db`.
    pub(crate) fn propagate<A: AsRef<[u8]>>(&mut self, db: usize, words: &[A]) {
        self.add(db, words);
    }

    /// Adds a published message.
    pub(crate) fn propagate_message<A: AsRef<[u8]>>(&mut self, db: usize, words: &[A]) {
        let message = self.add(db, words);
        self.messages.push(message);
    }

    /// Adds a command; where its bytes are.
    fn add<A: AsRef<[u8]>>(&mut self, db: usize, words: &[A]) -> Range<usize> {
        let (first, last) = self.dbs.unwrap_or((db, db));
        if last != db {
            select(db, &mut self.encoded);
        }
        self.dbs = Some((first, db));
        self.count += 1;
        let start = self.encoded.len();
        let lens = words.iter().map(|word| word.as_ref().len() + HEADER_BYTES);
        self.encoded.reserve(HEADER_BYTES + lens.sum::<usize>());
        encode_request(words, &mut self.encoded);
        start..self.encoded.len()
    }

    /// True without anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether there is anything that a file keeps.
    pub(crate) fn has_data(&self) -> bool {
        self.count > self.messages.len()
    }

    /// Moves the bytes of the unit to the end of `out`, and ends it. `stream_db` is the database in which the stream is.
    pub(crate) fn move_to_stream(&mut self, stream_db: &mut Option<usize>, out: &mut Vec<u8>) {
        // Without a copy where they are all: there may be hundreds of megabytes.
        if out.is_empty() && self.count == 1 && self.dbs.map(|(first, _)| first) == *stream_db {
            std::mem::swap(&mut self.encoded, out);
        } else {
            self.write(self.count, stream_db, out, |effects, out| {
                out.extend_from_slice(&effects.encoded);
            });
        }
        self.clear();
    }

    /// The same for a file, without messages. `file_db` is the database in which the file is.
    pub(crate) fn write_to_file(&self, file_db: &mut Option<usize>, out: &mut Vec<u8>) {
        let count = self.count - self.messages.len();
        self.write(count, file_db, out, |effects, out| {
            let mut at = 0;
            for message in &effects.messages {
                out.extend_from_slice(&effects.encoded[at..message.start]);
                at = message.end;
            }
            out.extend_from_slice(&effects.encoded[at..]);
        });
    }

    /// `SELECT` comes before `MULTI`, as redis-server 7.0 has it; every version understands that.
    fn write(
        &self,
        count: usize,
        selected: &mut Option<usize>,
        out: &mut Vec<u8>,
        body: impl FnOnce(&Effects, &mut Vec<u8>),
    ) {
        let Some((first, last)) = self.dbs.filter(|_| count > 0) else {
            return;
        };
        if *selected != Some(first) {
            select(first, out);
        }
        *selected = Some(last);
        if count > 1 {
            encode_request(&["MULTI"], out);
        }
        body(self, out);
        if count > 1 {
            encode_request(&["EXEC"], out);
        }
    }

    /// Ends the unit.
    pub(crate) fn clear(&mut self) {
        self.encoded.clear();
        self.encoded.shrink_to(KEPT_BYTES_MAX);
        self.count = 0;
        self.dbs = None;
        self.messages.clear();
    }
}

fn select(db: usize, out: &mut Vec<u8>) {
    encode_request(&["SELECT", itoa::Buffer::new().format(db)], out);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(unit: &[(usize, &[&str])], stream_db: &mut Option<usize>, want: &str) {
        let mut effects = Effects::default();
        for (db, words) in unit {
            effects.propagate(*db, words);
        }
        let mut out = Vec::new();
        effects.move_to_stream(stream_db, &mut out);
        assert_eq!(words(out), want);
    }

    fn words(bytes: Vec<u8>) -> String {
        let text = String::from_utf8(bytes).unwrap();
        let words: Vec<&str> = text
            .split("\r\n")
            .filter(|line| !line.starts_with(['*', '$']) && !line.is_empty())
            .collect();
        words.join(" ")
    }

    #[test]
    fn a_file_keeps_no_messages() {
        let mut effects = Effects::default();
        let mut db = None;
        let mut file = |effects: &mut Effects| {
            let mut out = Vec::new();
            effects.write_to_file(&mut db, &mut out);
            effects.clear();
            words(out)
        };
        effects.propagate_message(0, &["PUBLISH", "c", "m"]);
        assert!(!effects.has_data() && !effects.is_empty());
        assert_eq!(file(&mut effects), "");
        effects.propagate_message(3, &["PUBLISH", "c", "m"]);
        effects.propagate(0, &["DEL", "a"]);
        effects.propagate_message(5, &["PUBLISH", "c", "m"]);
        assert_eq!(file(&mut effects), "SELECT 3 SELECT 0 DEL a SELECT 5");
        effects.propagate(5, &["DEL", "a"]);
        effects.propagate_message(5, &["PUBLISH", "c", "m"]);
        effects.propagate(5, &["DEL", "b"]);
        assert_eq!(file(&mut effects), "MULTI DEL a DEL b EXEC");
        assert!(effects.is_empty());
    }

    #[test]
    fn a_long_word_is_encoded_once_and_moved() {
        let mut effects = Effects::default();
        let (mut db, mut out) = (Some(0), Vec::new());
        effects.propagate(0, &[&b"SET"[..], b"k", &[b'x'; 1 << 20]]);
        let place = effects.encoded.as_ptr();
        effects.move_to_stream(&mut db, &mut out);
        assert!(effects.is_empty());
        assert_eq!(out.as_ptr(), place);
        assert!(out.capacity() < (1 << 20) + 100, "{}", out.capacity());
        effects.propagate(0, &["DEL", "k"]);
        effects.move_to_stream(&mut db, &mut out);
        assert!(out.ends_with(b"DEL\r\n$1\r\nk\r\n"));
    }

    #[test]
    fn units_are_wrapped_and_placed() {
        let mut db = None;
        check(&[], &mut db, "");
        check(&[(0, &["SET", "a", "1"])], &mut db, "SELECT 0 SET a 1");
        check(&[(0, &["DEL", "a"])], &mut db, "DEL a");
        check(
            &[(2, &["DEL", "k"]), (2, &["INCR", "k"])],
            &mut db,
            "SELECT 2 MULTI DEL k INCR k EXEC",
        );
        check(
            &[(2, &["DEL", "k"]), (3, &["DEL", "k"]), (2, &["DEL", "l"])],
            &mut db,
            "MULTI DEL k SELECT 3 DEL k SELECT 2 DEL l EXEC",
        );
        assert_eq!(db, Some(2));
    }
}

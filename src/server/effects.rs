//! What commands cause beyond their replies: the writes that replicas (and the AOF to come) must repeat.

use crate::resp::encode_request;

/// The propagated commands of one unit: a command with the removals that it caused, or a transaction.
///
/// They travel in the order of execution, wrapped in `MULTI … EXEC` when there is more than one.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    encoded: Vec<u8>,
    count: usize,
    /// The databases of the first and of the last command.
    dbs: Option<(usize, usize)>,
}

impl Effects {
    /// Adds a command that is to be repeated in database `db`.
    pub(crate) fn propagate<A: AsRef<[u8]>>(&mut self, db: usize, words: &[A]) {
        let (first, last) = self.dbs.unwrap_or((db, db));
        if last != db {
            select(db, &mut self.encoded);
        }
        self.dbs = Some((first, db));
        self.count += 1;
        encode_request(words, &mut self.encoded);
    }

    /// Ends the unit: appends its bytes to `out`. `stream_db` is the database in which the stream is.
    ///
    /// `SELECT` comes before `MULTI`, as redis-server 7.0 has it; every version understands that.
    pub(crate) fn end_unit(&mut self, stream_db: &mut Option<usize>, out: &mut Vec<u8>) {
        let Some((first, last)) = self.dbs.take() else {
            return;
        };
        if *stream_db != Some(first) {
            select(first, out);
        }
        *stream_db = Some(last);
        if self.count > 1 {
            encode_request(&["MULTI"], out);
        }
        out.append(&mut self.encoded);
        if self.count > 1 {
            encode_request(&["EXEC"], out);
        }
        self.count = 0;
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
        effects.end_unit(stream_db, &mut out);
        let text = String::from_utf8(out).unwrap();
        let words: Vec<&str> = text
            .split("\r\n")
            .filter(|line| !line.starts_with(['*', '$']) && !line.is_empty())
            .collect();
        assert_eq!(words.join(" "), want);
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

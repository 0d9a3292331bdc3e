//! `LCS`: the longest common subsequence of two strings.

use super::args::{Failure, SYNTAX, integer};
use super::strings::finish;
use crate::front::{Call, CommandSpec, KeySpec, Reply, category, flag, key};
use crate::resp::Word;
use crate::server::Server;
use crate::server::keyspace::Text;

type Spec = CommandSpec<Server>;

/// The commands of this file.
pub(super) fn commands() -> Vec<Spec> {
    vec![
        Spec::new("lcs", -3, |s, c, r| finish(lcs(s, c, r), r))
            .flags(flag::READONLY)
            .acl(category::STRING)
            .keys([KeySpec::range(1, 1, 1, key::RO | key::ACCESS)])
            .doc(
                "7.0.0",
                "string",
                "O(N*M) where N and M are the lengths of s1 and s2, respectively",
                "Find longest common substring",
            ),
    ]
}

/// What is asked.
#[derive(Default)]
struct Wanted {
    len: bool,
    matches: bool,
    match_len: bool,
    match_len_min: i64,
}

fn wanted(words: &[Word<'_>]) -> Result<Wanted, Failure> {
    let mut wanted = Wanted::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.to_ascii_lowercase().as_slice() {
            b"len" => wanted.len = true,
            b"idx" => wanted.matches = true,
            b"withmatchlen" => wanted.match_len = true,
            b"minmatchlen" => {
                wanted.match_len_min = integer(words.next().ok_or(SYNTAX)?)?.max(0);
            }
            _ => return Err(SYNTAX.into()),
        }
    }
    if wanted.len && wanted.matches {
        return Err("ERR If you want both the length and indexes, please just use IDX.".into());
    }
    Ok(wanted)
}

/// For each pair of prefixes, how long their longest common subsequence is.
struct Lengths {
    rows: Vec<u32>,
    width: usize,
}

impl Lengths {
    fn of(a: &[u8], b: &[u8]) -> Lengths {
        let width = b.len() + 1;
        let mut rows = vec![0_u32; (a.len() + 1) * width];
        for (i, x) in a.iter().enumerate() {
            let (above, here) = rows[i * width..(i + 2) * width].split_at_mut(width);
            for (j, y) in b.iter().enumerate() {
                here[j + 1] = if x == y {
                    above[j] + 1
                } else {
                    above[j + 1].max(here[j])
                };
            }
        }
        Lengths { rows, width }
    }

    fn at(&self, i: usize, j: usize) -> u32 {
        self.rows[i * self.width + j]
    }
}

/// A run of bytes that both strings have: where it begins in each, and its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Match {
    a: usize,
    b: usize,
    len: usize,
}

/// The subsequence and its runs, from the last to the first.
fn trace(a: &[u8], b: &[u8], lengths: &Lengths) -> (Vec<u8>, Vec<Match>) {
    let (mut common, mut matches) = (Vec::new(), Vec::<Match>::new());
    let (mut i, mut j) = (a.len(), b.len());
    let mut is_open = false;
    while i > 0 && j > 0 {
        if a[i - 1] == b[j - 1] {
            common.push(a[i - 1]);
            (i, j) = (i - 1, j - 1);
            match matches.last_mut() {
                Some(run) if is_open => {
                    *run = Match {
                        a: i,
                        b: j,
                        len: run.len + 1,
                    }
                }
                _ => matches.push(Match { a: i, b: j, len: 1 }),
            }
            is_open = true;
        } else {
            is_open = false;
            if lengths.at(i - 1, j) > lengths.at(i, j - 1) {
                i -= 1;
            } else {
                j -= 1;
            }
        }
    }
    common.reverse();
    (common, matches)
}

fn lcs(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    /// Bytes of one length in the table of lengths.
    const LENGTH_BYTES: u64 = 4;
    let keys = [&call.words[1], &call.words[2]];
    let mut texts = Vec::with_capacity(2);
    for key in keys {
        server.read_any(call, key);
    }
    for key in keys {
        let text = server.stored::<Text>(call, key);
        let text = text.map_err(|_| "ERR The specified keys must contain string values")?;
        texts.push(text.map_or_else(Vec::new, |text| text.element().to_vec()));
    }
    let (a, b) = (&texts[0], &texts[1]);
    let wanted = wanted(&call.words[3..])?;
    let bytes = (a.len() as u64 + 1)
        .saturating_mul(b.len() as u64 + 1)
        .saturating_mul(LENGTH_BYTES);
    if bytes > server.config.process.proto_max_bulk_len {
        return Err(
            "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len".into(),
        );
    }
    let lengths = Lengths::of(a, b);
    let len = i64::from(lengths.at(a.len(), b.len()));
    if wanted.len {
        reply.integer(len);
        return Ok(());
    }
    let (common, matches) = trace(a, b, &lengths);
    if !wanted.matches {
        reply.bulk(common);
        return Ok(());
    }
    let matches: Vec<Match> = matches
        .into_iter()
        .filter(|run| run.len as u64 >= wanted.match_len_min.unsigned_abs())
        .collect();
    reply.map(2);
    reply.bulk("matches");
    reply.counts_whole();
    reply.array(matches.len());
    for run in matches {
        reply.array(if wanted.match_len { 3 } else { 2 });
        for start in [run.a, run.b] {
            reply.array(2);
            reply.count(start);
            reply.count(start + run.len - 1);
        }
        if wanted.match_len {
            reply.count(run.len);
        }
    }
    reply.bulk("len");
    reply.integer(len);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn is_subsequence(short: &[u8], long: &[u8]) -> bool {
        let mut long = long.iter();
        short.iter().all(|byte| long.any(|other| other == byte))
    }

    proptest! {
        #[test]
        fn it_is_common_and_as_long_as_said(a in "[a-c]{0,20}", b in "[a-c]{0,20}") {
            let (a, b) = (a.as_bytes(), b.as_bytes());
            let lengths = Lengths::of(a, b);
            let (common, matches) = trace(a, b, &lengths);
            prop_assert!(is_subsequence(&common, a) && is_subsequence(&common, b));
            prop_assert_eq!(common.len(), lengths.at(a.len(), b.len()) as usize);
            let runs: Vec<u8> = matches
                .iter()
                .rev()
                .flat_map(|run| {
                    assert_eq!(a[run.a..run.a + run.len], b[run.b..run.b + run.len]);
                    a[run.a..run.a + run.len].to_vec()
                })
                .collect();
            prop_assert_eq!(runs, common);
        }
    }
}

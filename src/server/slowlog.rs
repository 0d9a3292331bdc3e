//! The commands that took long, newest first.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::resp::Word;

/// The most words of a command that are kept.
const WORDS_MAX: usize = 32;
/// The most bytes of a word that are kept.
const WORD_BYTES_MAX: usize = 128;

/// One slow command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slow {
    pub(crate) id: u64,
    /// Unix seconds.
    pub(crate) at: u64,
    pub(crate) micros: u64,
    /// Its words, shortened.
    pub(crate) words: Vec<Bytes>,
    pub(crate) addr: String,
    pub(crate) client_name: Bytes,
}

/// The log.
#[derive(Debug, Default)]
pub(crate) struct SlowLog {
    entries: VecDeque<Slow>,
    next_id: u64,
}

impl SlowLog {
    /// Adds a command; at most `len_max` entries stay. Its number is given here.
    pub(crate) fn add(&mut self, mut slow: Slow, len_max: u64) {
        slow.id = self.next_id;
        self.next_id += 1;
        self.entries.push_front(slow);
        self.shorten(len_max);
    }

    /// Forgets the oldest beyond `len_max`.
    pub(crate) fn shorten(&mut self, len_max: u64) {
        self.entries
            .truncate(usize::try_from(len_max).unwrap_or(usize::MAX));
    }

    /// The entries, newest first.
    pub(crate) fn entries(&self) -> impl ExactSizeIterator<Item = &Slow> {
        self.entries.iter()
    }

    /// Forgets all.
    pub(crate) fn reset(&mut self) {
        self.entries.clear();
    }
}

/// What is kept of a command's words: not all, and not all of each.
pub(crate) fn shortened(words: &[Word<'_>]) -> Vec<Bytes> {
    let shown = if words.len() > WORDS_MAX {
        WORDS_MAX - 1
    } else {
        words.len()
    };
    let mut kept: Vec<Bytes> = words[..shown]
        .iter()
        .map(|word| match word.len().checked_sub(WORD_BYTES_MAX) {
            None | Some(0) => Bytes::copy_from_slice(word),
            Some(more) => {
                let mut cut = word[..WORD_BYTES_MAX].to_vec();
                cut.extend_from_slice(format!("... ({more} more bytes)").as_bytes());
                Bytes::from(cut)
            }
        })
        .collect();
    if words.len() > shown {
        let more = words.len() - shown;
        kept.push(Bytes::from(format!("... ({more} more arguments)")));
    }
    kept
}

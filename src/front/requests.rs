//! Requests of one client that have been decoded and wait for their turn.

use crate::resp::Word;

/// How many requests are decoded ahead of the one that runs, so that the program can fetch what they are about
/// all at once ([`Program::foresee`](super::Program::foresee)).
pub(super) const AHEAD_MAX: usize = 32;

/// The room for words that is kept between two turns.
const KEPT_WORDS_MAX: usize = 4 * AHEAD_MAX;

/// Requests that have been decoded, in order.
#[derive(Debug, Default)]
pub struct Requests<'a> {
    pub(super) words: Vec<Word<'a>>,
    /// For each, where its words end and where its bytes end.
    ends: Vec<(usize, usize)>,
    /// How many have been taken.
    taken: usize,
    /// Up to where the input has been decoded.
    pub(super) end: usize,
}

impl<'a> Requests<'a> {
    /// The words of each request that has not been taken.
    pub fn iter(&self) -> impl Iterator<Item = &[Word<'a>]> + Clone {
        let first = self.first_word();
        let starts = std::iter::once(first).chain(self.ends[self.taken..].iter().map(|end| end.0));
        starts
            .zip(&self.ends[self.taken..])
            .map(|(start, end)| &self.words[start..end.0])
    }

    /// Where the words of the next request begin.
    fn first_word(&self) -> usize {
        match self.taken {
            0 => 0,
            taken => self.ends[taken - 1].0,
        }
    }

    /// How many have not been taken.
    pub fn len(&self) -> usize {
        self.ends.len() - self.taken
    }

    /// True when all have been taken.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The words that were added last are a request, whose bytes end at `end`. False if there are no words:
    /// that is none.
    pub(super) fn note(&mut self, end: usize) -> bool {
        self.end = end;
        let has_words = self.words.len() > self.first_word_of_next();
        if has_words {
            self.ends.push((self.words.len(), end));
        }
        has_words
    }

    fn first_word_of_next(&self) -> usize {
        self.ends.last().map_or(0, |end| end.0)
    }

    /// Takes the next request: its words, and where its bytes end.
    pub(super) fn next(&mut self) -> Option<(&[Word<'a>], usize)> {
        let start = self.first_word();
        let (words_end, end) = *self.ends.get(self.taken)?;
        self.taken += 1;
        Some((&self.words[start..words_end], end))
    }

    /// Drops all, and goes on behind them.
    pub(super) fn clear(&mut self) {
        self.words.clear();
        self.ends.clear();
        self.taken = 0;
    }

    /// The room for others, empty.
    pub(super) fn recycled<'b>(mut self) -> Requests<'b> {
        self.clear();
        self.words.shrink_to(KEPT_WORDS_MAX);
        let words = self.words.into_iter();
        Requests {
            // No word is there that could outlive what it is a part of. The allocation stays.
            words: words.map(Word::into_owned).collect(),
            ends: self.ends,
            taken: 0,
            end: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_room_stays() {
        let bytes = b"PING".to_vec();
        let mut requests = Requests::default();
        requests.words.push(Word::Part(&bytes));
        assert!(requests.note(1));
        let room = (requests.words.as_ptr().addr(), requests.words.capacity());
        let requests: Requests<'static> = requests.recycled();
        drop(bytes);
        assert!(requests.is_empty());
        let words = &requests.words;
        assert_eq!((words.as_ptr().addr(), words.capacity()), room);
    }
}

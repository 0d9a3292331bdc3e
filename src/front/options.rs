//! Which words of a request are options, and which are the values of one.

use crate::resp::Word;

/// An option: its name in lower case, and how many of the words behind it are its values.
pub type OptionForm = (&'static str, usize);

/// Those of `HELLO`.
pub const HELLO_OPTIONS: &[OptionForm] = &[("auth", 2), ("setname", 1)];

/// Those of `MIGRATE`.
pub const MIGRATE_OPTIONS: &[OptionForm] = &[
    ("copy", 0),
    ("replace", 0),
    ("auth", 1),
    ("auth2", 2),
    ("keys", usize::MAX),
];

/// The options of a request from word `from` on: where each is, and which of `known`. What is none of these is
/// taken for one without values.
pub fn options(
    words: &[Word<'_>],
    from: usize,
    known: &'static [OptionForm],
) -> impl Iterator<Item = (usize, Option<&'static OptionForm>)> {
    let mut next = from;
    std::iter::from_fn(move || {
        let at = next;
        let word = words.get(at)?;
        let is_it = |(name, _): &&OptionForm| word.eq_ignore_ascii_case(name.as_bytes());
        let found = known.iter().find(is_it);
        next = (at + 1).saturating_add(found.map_or(0, |(_, values)| *values));
        Some((at, found))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_of_an_option_is_none() {
        let words: Vec<Word<'_>> = "hello 2 SETNAME auth what Auth a auth setname"
            .split(' ')
            .map(Word::from)
            .collect();
        let found = options(&words, 2, HELLO_OPTIONS);
        let found: Vec<_> = found
            .map(|(at, form)| (at, form.map(|form| form.0)))
            .collect();
        let want = [
            (2, Some("setname")),
            (4, None),
            (5, Some("auth")),
            (8, Some("setname")),
        ];
        assert_eq!(found, want);
        let words: Vec<Word<'_>> = "keys copy".split(' ').map(Word::from).collect();
        assert_eq!(options(&words, 0, MIGRATE_OPTIONS).count(), 1);
    }
}

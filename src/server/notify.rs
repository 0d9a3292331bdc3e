//! Keyspace notifications: what happens to keys, published on channels.

use super::Server;
use crate::config::{Form, Refusal, When};

/// Classes of events, and the two kinds of channels they are published on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NotifyClasses(u16);

impl NotifyClasses {
    /// Nothing is published.
    pub const NONE: NotifyClasses = NotifyClasses(0);
    /// `K`: on `__keyspace@<db>__:<key>`.
    pub const KEYSPACE: NotifyClasses = NotifyClasses(1);
    /// `E`: on `__keyevent@<db>__:<event>`.
    const KEYEVENT: NotifyClasses = NotifyClasses(1 << 1);
    /// `g`: commands of any type.
    pub const GENERIC: NotifyClasses = NotifyClasses(1 << 2);
    /// `$`
    pub const STRING: NotifyClasses = NotifyClasses(1 << 3);
    /// `l`
    pub const LIST: NotifyClasses = NotifyClasses(1 << 4);
    /// `s`
    pub const SET: NotifyClasses = NotifyClasses(1 << 5);
    /// `h`
    pub const HASH: NotifyClasses = NotifyClasses(1 << 6);
    /// `z`
    pub const ZSET: NotifyClasses = NotifyClasses(1 << 7);
    /// `x`: a key has expired.
    pub const EXPIRED: NotifyClasses = NotifyClasses(1 << 8);
    /// `e`: a key was evicted.
    pub const EVICTED: NotifyClasses = NotifyClasses(1 << 9);
    /// `t`
    pub const STREAM: NotifyClasses = NotifyClasses(1 << 10);
    /// `m`: a key was looked up and is not there.
    pub const KEY_MISS: NotifyClasses = NotifyClasses(1 << 11);
    /// `d`: modules.
    pub const MODULE: NotifyClasses = NotifyClasses(1 << 12);
    /// `n`: a key is new.
    pub const NEW: NotifyClasses = NotifyClasses(1 << 13);

    /// The letters of a setting, in the order in which it is shown; `A` is all of the first part.
    const LETTERS: [(char, NotifyClasses); 14] = [
        ('g', NotifyClasses::GENERIC),
        ('$', NotifyClasses::STRING),
        ('l', NotifyClasses::LIST),
        ('s', NotifyClasses::SET),
        ('h', NotifyClasses::HASH),
        ('z', NotifyClasses::ZSET),
        ('x', NotifyClasses::EXPIRED),
        ('e', NotifyClasses::EVICTED),
        ('t', NotifyClasses::STREAM),
        ('d', NotifyClasses::MODULE),
        ('n', NotifyClasses::NEW),
        ('K', NotifyClasses::KEYSPACE),
        ('E', NotifyClasses::KEYEVENT),
        ('m', NotifyClasses::KEY_MISS),
    ];
    /// How many of [`NotifyClasses::LETTERS`] `A` stands for.
    const IN_ALL: usize = 10;

    /// What `A` stands for.
    fn all() -> NotifyClasses {
        let letters = &NotifyClasses::LETTERS[..NotifyClasses::IN_ALL];
        NotifyClasses(letters.iter().fold(0, |all, (_, class)| all | class.0))
    }

    /// Whether anything of `class` is in it.
    pub fn has(self, class: NotifyClasses) -> bool {
        self.0 & class.0 != 0
    }

    /// Both together.
    #[must_use]
    pub fn with(self, class: NotifyClasses) -> NotifyClasses {
        NotifyClasses(self.0 | class.0)
    }
}

/// `notify-keyspace-events KEA`
pub(super) struct ClassesForm;

impl Form for ClassesForm {
    type Value = NotifyClasses;

    fn arity(&self) -> (usize, usize) {
        (1, 1)
    }

    fn parse(&self, words: &[&str], _: When, value: &mut NotifyClasses) -> Result<(), Refusal> {
        let mut classes = NotifyClasses::NONE;
        for letter in words[0].chars() {
            let class = match letter {
                'A' => Some(NotifyClasses::all()),
                _ => NotifyClasses::LETTERS
                    .iter()
                    .find(|(known, _)| *known == letter)
                    .map(|(_, class)| *class),
            };
            let class = class.ok_or_else(|| {
                Refusal::new("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")
            })?;
            classes = classes.with(class);
        }
        *value = classes;
        Ok(())
    }

    /// As 7.0 shows it, which does not name `n` beside `A`.
    fn show(&self, value: &NotifyClasses) -> String {
        let letters = ClassesForm::letters(*value);
        match letters.starts_with('A') {
            true => letters.replace('n', ""),
            false => letters,
        }
    }

    fn lines(&self, value: &NotifyClasses) -> Vec<Vec<String>> {
        vec![vec![ClassesForm::letters(*value)]]
    }

    fn expected(&self) -> String {
        "letters of Ag$lshzxeKEtmdn, or \"\" for none".to_owned()
    }
}

impl ClassesForm {
    fn letters(value: NotifyClasses) -> String {
        let all = NotifyClasses::all();
        let is_all = value.0 & all.0 == all.0;
        let skipped = if is_all { NotifyClasses::IN_ALL } else { 0 };
        let letters = NotifyClasses::LETTERS[skipped..]
            .iter()
            .filter(|(_, class)| value.has(*class))
            .map(|(letter, _)| *letter);
        is_all.then_some('A').into_iter().chain(letters).collect()
    }
}

impl Server {
    /// Publishes that `event` has happened to a key. To be called by a command after it has changed the key.
    /// Free while `notify-keyspace-events` does not ask for it.
    pub(crate) fn notify(&mut self, class: NotifyClasses, event: &str, db: usize, key: &[u8]) {
        let wanted = self.config.tuning.notify_events;
        if !wanted.has(class) {
            return;
        }
        let now = self.clock.mono();
        if wanted.has(NotifyClasses::KEYSPACE) {
            let channel = [format!("__keyspace@{db}__:").as_bytes(), key].concat();
            self.front.publish(&channel, event.as_bytes(), now);
        }
        if wanted.has(NotifyClasses::KEYEVENT) {
            let channel = format!("__keyevent@{db}__:{event}");
            self.front.publish(channel.as_bytes(), key, now);
        }
    }

    /// [`Server::notify`] for a key of the database in which the running command is.
    pub(crate) fn notify_here(&mut self, class: NotifyClasses, event: &str, key: &[u8]) {
        self.notify(class, event, self.db(), key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, want: &str) {
        let mut classes = NotifyClasses::NONE;
        let shown = match ClassesForm.parse(&[text], When::RunTime, &mut classes) {
            Ok(()) => ClassesForm::letters(classes),
            Err(refusal) => refusal.reason,
        };
        assert_eq!(shown, want, "{text}");
    }

    #[test]
    fn letters_are_shown_in_order() {
        check("", "");
        check("KEA", "AKE");
        check("Ex", "xE");
        check("g$lshzxetd", "A");
        check("mnKlE", "lnKEm");
        check("mnKA", "AnKm");
        let shown = |text| {
            let mut classes = NotifyClasses::NONE;
            let parsed = ClassesForm.parse(&[text], When::RunTime, &mut classes);
            parsed.map(|()| ClassesForm.show(&classes))
        };
        assert_eq!(shown("KEn").unwrap(), "nKE");
        assert_eq!(shown("KAn").unwrap(), "AK");
        check("q", "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.");
    }
}

//! What `sentinel top` knows and shows, and what keys do to it. Pure.

use std::collections::VecDeque;

use super::super::terminal::Key;
use crate::clock::{Mono, UnixMillis};
use crate::topology::{Group, Merge, Published, Summary};

/// Events that are kept to be shown.
const EVENTS_MAX: usize = 200;
/// The longest filter. Characters.
const FILTER_CHARS_MAX: usize = 64;

/// What to do after a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Draw,
    Quit,
}

/// A line among the events.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) at: UnixMillis,
    pub(super) event: String,
    pub(super) text: String,
}

/// What is shown.
#[derive(Debug, Default)]
pub(super) struct Model {
    /// The sentinel that answers.
    pub(super) asked: Option<String>,
    /// Why none does.
    pub(super) failure: Option<String>,
    /// All masters, by name.
    pub(super) masters: Vec<Summary>,
    /// More about the selected one.
    group: Option<Group>,
    /// Newest last.
    pub(super) events: VecDeque<Note>,
    merge: Merge,
    /// Only masters that have this in their line.
    pub(super) filter: String,
    /// Whether keys go to the filter.
    pub(super) is_filtering: bool,
    /// The name of the selected master.
    selected: Option<String>,
    /// The first master that is in view.
    pub(super) top: usize,
    /// How many are in view.
    page: usize,
}

impl Model {
    pub(super) fn set_masters(&mut self, asked: String, masters: Vec<Summary>) {
        self.asked = Some(asked);
        self.failure = None;
        self.masters = masters;
        self.keep_selection();
    }

    pub(super) fn set_group(&mut self, group: Group) {
        self.group = Some(group);
    }

    pub(super) fn set_failure(&mut self, reason: String) {
        self.failure = Some(reason);
    }

    /// Adds an event, unless another sentinel has just said the same.
    pub(super) fn add_event(&mut self, at: UnixMillis, event: &Published, text: String) {
        if self.merge.is_news(Mono(at.0), event) {
            self.add_note(at, &event.channel, text);
        }
    }

    pub(super) fn add_note(&mut self, at: UnixMillis, event: &str, text: String) {
        if self.events.len() == EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(Note {
            at,
            event: event.to_owned(),
            text,
        });
    }

    /// The masters that pass the filter.
    pub(super) fn shown(&self) -> Vec<&Summary> {
        let filter = self.filter.to_lowercase();
        let has = |text: &str| text.to_lowercase().contains(&filter);
        let passes = |m: &&Summary| has(&m.name) || has(&m.address) || has(m.state);
        self.masters.iter().filter(passes).collect()
    }

    /// The name of the selected master.
    pub(super) fn selected(&self) -> Option<&str> {
        self.selected.as_deref()
    }

    /// Where it is among those that are shown.
    pub(super) fn position(&self) -> Option<usize> {
        let selected = self.selected.as_deref()?;
        self.shown()
            .iter()
            .position(|master| master.name == selected)
    }

    /// More about the selected master, if it is known already.
    pub(super) fn group(&self) -> Option<&Group> {
        let group = self.group.as_ref();
        group.filter(|group| Some(group.name.as_str()) == self.selected())
    }

    /// Brings the selected master into view, where `page` masters have room.
    pub(super) fn scroll(&mut self, page: usize) {
        self.page = page;
        let count = self.shown().len();
        let at = self.position().unwrap_or(0);
        self.top = self.top.min(at).max((at + 1).saturating_sub(page));
        self.top = self.top.min(count.saturating_sub(page));
    }

    pub(super) fn press(&mut self, key: Key) -> Then {
        let page = isize::try_from(self.page.max(1)).unwrap_or(isize::MAX);
        match key {
            Key::Interrupt => return Then::Quit,
            Key::Up => self.step(-1),
            Key::Down => self.step(1),
            Key::PageUp => self.step(-page),
            Key::PageDown => self.step(page),
            Key::Home => self.step(isize::MIN),
            Key::End => self.step(isize::MAX),
            Key::Escape => {
                self.is_filtering = false;
                self.filter.clear();
                self.keep_selection();
            }
            Key::Enter => self.is_filtering = false,
            Key::Backspace if self.is_filtering => {
                self.filter.pop();
                self.keep_selection();
            }
            Key::Backspace => {}
            Key::Char(c) if self.is_filtering => {
                if self.filter.chars().count() < FILTER_CHARS_MAX {
                    self.filter.push(c);
                    self.keep_selection();
                }
            }
            Key::Char('q') => return Then::Quit,
            Key::Char('/') => self.is_filtering = true,
            Key::Char('k') => self.step(-1),
            Key::Char('j') => self.step(1),
            Key::Char(_) => {}
        }
        Then::Draw
    }

    /// Selects the master that is so many lines away.
    fn step(&mut self, by: isize) {
        let shown = self.shown();
        let last = shown.len().saturating_sub(1);
        let at = self
            .position()
            .unwrap_or(0)
            .saturating_add_signed(by)
            .min(last);
        self.selected = shown.get(at).map(|master| master.name.clone());
    }

    /// Selects something that is shown.
    fn keep_selection(&mut self) {
        if self.position().is_none() {
            self.selected = self.shown().first().map(|master| master.name.clone());
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::sync::Arc;

    pub(crate) fn model(count: usize) -> Model {
        let mut model = Model::default();
        let masters = (0..count).map(|number| Summary {
            name: format!("m{number:04}"),
            address: format!("10.0.0.1:{}", 6000 + number),
            state: if number == 7 { "down" } else { "ok" },
            replicas: 2,
            sentinels: 3,
            quorum: 2,
            epoch: 5,
        });
        model.set_masters("127.0.0.1:26379".to_owned(), masters.collect());
        model
    }

    fn press_all(model: &mut Model, keys: &[Key]) {
        for key in keys {
            assert_eq!(model.press(*key), Then::Draw, "{key:?}");
        }
    }

    #[test]
    fn a_thousand_masters_are_walked_through() {
        let mut model = model(1000);
        assert_eq!(model.selected(), Some("m0000"));
        model.scroll(10);
        press_all(
            &mut model,
            &[Key::Up, Key::Down, Key::PageDown, Key::Char('j')],
        );
        assert_eq!(model.selected(), Some("m0012"));
        model.scroll(10);
        assert_eq!(model.top, 3, "the selected one is in view");
        press_all(&mut model, &[Key::End]);
        model.scroll(10);
        assert_eq!((model.selected(), model.top), (Some("m0999"), 990));
        press_all(&mut model, &[Key::PageUp, Key::Home]);
        model.scroll(10);
        assert_eq!((model.selected(), model.top), (Some("m0000"), 0));
    }

    #[test]
    fn the_filter_takes_every_letter() {
        let mut model = model(1000);
        press_all(
            &mut model,
            &[
                Key::Char('/'),
                Key::Char('D'),
                Key::Char('o'),
                Key::Char('q'),
            ],
        );
        assert!(model.shown().is_empty());
        assert_eq!(model.selected(), None);
        press_all(&mut model, &[Key::Backspace, Key::Enter]);
        assert_eq!(model.selected(), Some("m0007"), "by its state");
        assert_eq!(model.press(Key::Char('q')), Then::Quit);
        press_all(&mut model, &[Key::Escape]);
        assert_eq!(model.shown().len(), 1000);
        assert_eq!(model.selected(), Some("m0007"), "the selection stays");
    }

    #[test]
    fn a_master_that_is_gone_is_no_longer_selected() {
        let mut model = model(3);
        press_all(&mut model, &[Key::End]);
        let masters = model.masters[..2].to_vec();
        model.set_masters("a:1".to_owned(), masters);
        assert_eq!(model.selected(), Some("m0000"));
    }

    #[test]
    fn events_are_bounded_and_said_once() {
        let mut model = Model::default();
        let by = |by: &str| Published {
            by: Arc::from(by),
            channel: "+odown".to_owned(),
            payload: "master m h 1".to_owned(),
        };
        model.add_event(UnixMillis(1), &by("a"), "x".to_owned());
        model.add_event(UnixMillis(2), &by("b"), "x".to_owned());
        assert_eq!(model.events.len(), 1);
        for _ in 0..2 * EVENTS_MAX {
            model.add_note(UnixMillis(3), "+set", String::new());
        }
        assert_eq!(model.events.len(), EVENTS_MAX);
    }
}

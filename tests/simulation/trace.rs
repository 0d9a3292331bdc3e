//! What a run did, as text: nothing while thousands of seeds run, everything when one is replayed.

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Detail {
    /// Nothing.
    Off,
    /// Events, votes, promotions, writes, faults.
    Story,
    /// Every message too.
    Full,
}

/// The lines of a run.
pub(crate) struct Trace {
    detail: Detail,
    lines: Vec<String>,
    /// Ids that are shown as the names of their sentinels.
    ids: Vec<(String, String)>,
}

impl Trace {
    pub(crate) fn new(detail: Detail) -> Trace {
        Trace {
            detail,
            lines: Vec::new(),
            ids: Vec::new(),
        }
    }

    /// Shows `name` wherever `id` occurs.
    pub(crate) fn alias(&mut self, id: &str, name: &str) {
        if !self.ids.iter().any(|(known, _)| known == id) {
            self.ids.push((id.to_owned(), name.to_owned()));
        }
    }

    /// A line of the story.
    pub(crate) fn story(&mut self, now: u64, who: &str, text: impl FnOnce() -> String) {
        if self.detail >= Detail::Story {
            self.push(now, who, &text());
        }
    }

    /// A line of the full trace.
    pub(crate) fn full(&mut self, now: u64, who: &str, text: impl FnOnce() -> String) {
        if self.detail >= Detail::Full {
            self.push(now, who, &text());
        }
    }

    fn push(&mut self, now: u64, who: &str, text: &str) {
        let mut line = format!("{:>4}.{:03} {who:<4} {text}", now / 1000, now % 1000);
        for (id, name) in &self.ids {
            if line.contains(id.as_str()) {
                line = line.replace(id.as_str(), name);
            }
        }
        line.truncate(line.trim_end().len());
        self.lines.push(line);
    }

    /// Forgets all lines so far.
    pub(crate) fn clear(&mut self) {
        self.lines.clear();
    }

    /// All lines so far.
    pub(crate) fn lines(&self) -> &[String] {
        &self.lines
    }
}

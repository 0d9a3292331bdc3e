//! What is wrong with a configuration, where, and what would be right.

use std::fmt;
use std::sync::Arc;

/// Why a value or a line was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// In the words of redis-server where it has them: tools compare them.
    pub reason: String,
    /// What would be right. `None`: the directive's own description says it.
    pub hint: Option<String>,
}

impl Refusal {
    /// A refusal whose hint is the directive's own description.
    pub fn new(reason: impl Into<String>) -> Refusal {
        Refusal {
            reason: reason.into(),
            hint: None,
        }
    }

    /// The same refusal with its own hint.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Refusal {
        Refusal {
            hint: Some(hint.into()),
            ..self
        }
    }
}

/// Where a line stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file as it was named, `-` for standard input, or what else the line came from.
    pub source: Arc<str>,
    /// Counted from 1; 0 when the source has no lines.
    pub line: usize,
    /// The line, trimmed. Cut at [`Place::TEXT_CHARS_MAX`].
    pub text: Arc<str>,
}

impl Place {
    /// Longer lines are cut when shown.
    pub const TEXT_CHARS_MAX: usize = 1024;

    /// A place; `text` is trimmed and cut.
    pub fn new(source: &Arc<str>, line: usize, text: &str) -> Place {
        let text = text.trim();
        let end = text
            .char_indices()
            .nth(Place::TEXT_CHARS_MAX)
            .map_or(text.len(), |(at, _)| at);
        Place {
            source: Arc::clone(source),
            line,
            text: Arc::from(&text[..end]),
        }
    }
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where.
    pub place: Place,
    /// What is wrong.
    pub reason: String,
    /// What would be right.
    pub hint: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { source, line, text } = &self.place;
        if *line > 0 {
            writeln!(f, "Reading the configuration file, at line {line}")?;
        } else {
            writeln!(f, "Reading {source}")?;
        }
        writeln!(f, ">>> '{text}'")?;
        writeln!(f, "{}", self.reason)?;
        match (*line, self.hint.as_str()) {
            (0, "") => Ok(()),
            (0, hint) => writeln!(f, "(expected: {hint})"),
            (line, "") => writeln!(f, "({source}:{line})"),
            (line, hint) => writeln!(f, "({source}:{line}; expected: {hint})"),
        }
    }
}

/// Everything that is wrong with a configuration, so that it can be mended in one go.
///
/// Its `Display` is the block that redis-server prints on standard error before it exits with status
/// 1, with one paragraph per mistake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigErrors {
    mistakes: Vec<Mistake>,
    unlisted: usize,
}

impl ConfigErrors {
    /// More mistakes than this are counted, not listed.
    pub const LISTED_MAX: usize = 100;

    /// Adds one. An empty hint is filled from `fallback`.
    pub fn push(&mut self, place: Place, refusal: Refusal, fallback: &str) {
        if self.mistakes.len() == ConfigErrors::LISTED_MAX {
            self.unlisted += 1;
            return;
        }
        self.mistakes.push(Mistake {
            place,
            reason: refusal.reason,
            hint: refusal.hint.unwrap_or_else(|| fallback.to_owned()),
        });
    }

    /// The listed ones, in the order of the lines.
    pub fn mistakes(&self) -> &[Mistake] {
        &self.mistakes
    }

    /// True when nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.mistakes.is_empty()
    }

    /// `Ok(value)` when nothing is wrong.
    ///
    /// # Errors
    /// All mistakes found so far, sorted by where they stand.
    pub fn into_result<T>(mut self, value: T) -> Result<T, ConfigErrors> {
        if self.is_empty() {
            return Ok(value);
        }
        // Sentinel lines are applied in passes; people read from the top, one source after the other.
        let mut sources: Vec<Arc<str>> = Vec::new();
        for mistake in &self.mistakes {
            if !sources.contains(&mistake.place.source) {
                sources.push(Arc::clone(&mistake.place.source));
            }
        }
        self.mistakes.sort_by_key(|mistake| {
            let source = &mistake.place.source;
            (sources.iter().position(|s| s == source), mistake.place.line)
        });
        Err(self)
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n*** FATAL CONFIG FILE ERROR (Redis {}) ***",
            super::REDIS_VERSION
        )?;
        for (at, mistake) in self.mistakes.iter().enumerate() {
            if at > 0 {
                writeln!(f)?;
            }
            mistake.fmt(f)?;
        }
        if self.unlisted > 0 {
            writeln!(f, "\nand {} more mistakes, not listed", self.unlisted)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

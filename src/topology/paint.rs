//! Colours and columns, for people.

use std::fmt::Write;
use std::io::{self, IsTerminal};

use clap::ValueEnum;

/// What a piece of text is to look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As it is.
    Plain,
    /// A heading.
    Head,
    /// Something is as it should be.
    Good,
    /// Something needs a look.
    Warn,
    /// Something is down.
    Bad,
    /// Of less interest.
    Dim,
    /// The line that is selected.
    Selected,
}

/// Whether text is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paint(bool);

impl Paint {
    /// No colours.
    pub const OFF: Paint = Paint(false);
    /// Colours.
    pub const ON: Paint = Paint(true);

    /// The text in its tone.
    pub fn text(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Head => "1",
            Tone::Good => "32",
            Tone::Warn => "33",
            Tone::Bad => "1;31",
            Tone::Dim => "2",
            Tone::Selected => "7",
        };
        if self.0 && !text.is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// The variable that wants no colours. See <https://no-color.org>.
pub const NO_COLOR: &str = "NO_COLOR";

/// Whether to colour.
#[derive(clap::Args, Clone, Copy, Debug, Default)]
pub struct ColorArgs {
    /// Colours; auto: on a terminal, unless the environment has NO_COLOR
    #[arg(long = "color", value_name = "WHEN", value_enum, default_value_t = When::Auto)]
    pub when: When,
}

/// When something is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// On a terminal.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl ColorArgs {
    /// The colours of standard output.
    pub fn paint(self) -> Paint {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let wanted = io::stdout().is_terminal() && !set(NO_COLOR) && !is_dumb;
        match self.when {
            When::Always => Paint::ON,
            When::Auto if wanted => Paint::ON,
            When::Auto | When::Never => Paint::OFF,
        }
    }
}

/// A cell of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A cell; what a terminal would obey is made visible.
    pub fn new(tone: Tone, text: impl AsRef<str>) -> Cell {
        Cell {
            text: printable(text.as_ref()),
            tone,
        }
    }

    /// A cell in no special tone; a dash where there is nothing to say.
    pub fn plain(text: impl AsRef<str>) -> Cell {
        let text = text.as_ref();
        Cell::new(Tone::Plain, if text.is_empty() { "-" } else { text })
    }
}

/// The headings of a table.
pub fn heads(names: &[&str]) -> Vec<Cell> {
    names
        .iter()
        .map(|name| Cell::new(Tone::Head, name))
        .collect()
}

/// The rows as lines, each column as wide as its widest cell.
pub fn columns(rows: &[Vec<Cell>], paint: Paint) -> Vec<String> {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width_of = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.text.chars().count()).max()
    };
    let widths: Vec<usize> = (0..count)
        .map(|column| width_of(column).unwrap_or(0))
        .collect();
    let line = |row: &Vec<Cell>| {
        let mut line = String::new();
        let mut gap = 0;
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{:gap$}{}", "", paint.text(cell.tone, &cell.text));
            gap = width + 2 - cell.text.chars().count();
        }
        line
    };
    rows.iter().map(line).collect()
}

/// The text without control characters: what comes from a peer must not steer a terminal.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_with_and_without_colours() {
        let rows = [
            heads(&["A", "LONG"]),
            vec![Cell::plain("wide"), Cell::new(Tone::Good, "ok")],
            vec![Cell::plain(""), Cell::new(Tone::Bad, "down")],
        ];
        assert_eq!(
            columns(&rows, Paint::OFF),
            ["A     LONG", "wide  ok", "-     down"]
        );
        assert_eq!(
            columns(&rows, Paint::ON)[1],
            "wide  \x1b[32mok\x1b[0m",
            "colours take no room"
        );
    }

    #[test]
    fn a_terminal_is_not_steered_from_outside() {
        assert_eq!(printable("a\x1b[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(printable("máster"), "máster");
    }
}

//! The terminal: its size, drawing in place, raw mode that is always undone, and keys.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::thread;

use anyhow::{Context, bail};
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::sync::mpsc;

/// Keys that wait to be handled.
const KEYS_MAX: usize = 64;
/// The longest sequence that a key sends. Bytes.
const SEQUENCE_BYTES_MAX: usize = 16;

/// How much room there is. Characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    /// In a line.
    pub(crate) columns: usize,
    /// Lines.
    pub(crate) rows: usize,
}

/// The size of a terminal; that of a VT100 where it is not known.
pub(crate) fn size(terminal: impl AsFd) -> Size {
    let known = |number: u16, otherwise| match number {
        0 => otherwise,
        number => usize::from(number),
    };
    let (columns, rows) = match tcgetwinsize(terminal) {
        Ok(size) => (size.ws_col, size.ws_row),
        Err(_) => (0, 0),
    };
    Size {
        columns: known(columns, 80),
        rows: known(rows, 24),
    }
}

/// What draws the lines over what was drawn before, from the upper left corner, cut to the terminal's size.
pub(crate) fn in_place(lines: &[impl AsRef<str>], size: Size, clears: bool) -> String {
    let mut text = String::from(if clears { "\x1b[H\x1b[2J" } else { "\x1b[H" });
    let lines = lines.iter().take(size.rows);
    let lines: Vec<String> = lines
        .map(|line| cut(line.as_ref(), size.columns) + "\x1b[K")
        .collect();
    text.push_str(&lines.join("\r\n"));
    // Where all rows are taken there is nothing below, and the cursor stands in the last of them.
    if lines.len() < size.rows {
        text.push_str("\r\n\x1b[J");
    }
    text
}

/// The beginning of a line that fits into `columns`. Colours take no room.
pub(crate) fn cut(line: &str, columns: usize) -> String {
    let mut kept = String::with_capacity(line.len());
    let mut room = columns;
    let (mut in_sequence, mut has_colour) = (false, false);
    for c in line.chars() {
        if in_sequence || c == '\x1b' {
            in_sequence = c != 'm';
            has_colour = true;
        } else if room == 0 {
            if has_colour {
                kept.push_str("\x1b[0m");
            }
            return kept;
        } else {
            room -= 1;
        }
        kept.push(c);
    }
    kept
}

/// How the terminal was before us, for whoever has to put it back.
static SAVED: OnceLock<Termios> = OnceLock::new();

/// The whole terminal in raw mode, with a screen of its own. Dropping it puts everything back; so does a
/// panic.
pub(crate) struct Screen(());

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// Standard input or output is none.
    pub(crate) fn enter() -> anyhow::Result<Screen> {
        if !isatty(io::stdin()) || !isatty(io::stdout()) {
            bail!("this needs a terminal; `sentinel status --watch` and `sentinel watch` do not");
        }
        let saved = tcgetattr(io::stdin()).context("ask how the terminal is set")?;
        let saved = SAVED.get_or_init(|| saved);
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            leave();
            before(panic);
        }));
        let mut raw = saved.clone();
        raw.make_raw();
        let screen = Screen(());
        tcsetattr(io::stdin(), OptionalActions::Flush, &raw).context("set the terminal")?;
        draw("\x1b[?1049h\x1b[?25l\x1b[2J")?;
        Ok(screen)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave();
    }
}

/// Puts the terminal back.
fn leave() {
    if let Some(saved) = SAVED.get() {
        // There is nobody to tell if this fails.
        let _ = draw("\x1b[0m\x1b[?25h\x1b[?1049l");
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, saved);
    }
}

/// Writes to the terminal at once.
pub(crate) fn draw(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// A key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// A character.
    Char(char),
    /// Arrow up.
    Up,
    /// Arrow down.
    Down,
    /// Page up.
    PageUp,
    /// Page down.
    PageDown,
    /// Home.
    Home,
    /// End.
    End,
    /// Return.
    Enter,
    /// Backspace.
    Backspace,
    /// Escape.
    Escape,
    /// Ctrl-C.
    Interrupt,
}

/// The keys that are pressed from now on. The channel ends when the terminal is gone.
///
/// # Errors
/// No thread can be started.
pub(crate) fn keys() -> io::Result<mpsc::Receiver<Key>> {
    let (out, keys) = mpsc::channel(KEYS_MAX);
    // Reading a terminal blocks; the thread ends with the process.
    thread::Builder::new()
        .name("keys".to_owned())
        .spawn(move || {
            let mut decoder = Decoder::default();
            let mut chunk = [0; 256];
            loop {
                let count = match io::stdin().lock().read(&mut chunk) {
                    Ok(0) => return,
                    Ok(count) => count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(_) => return,
                };
                for key in decoder.feed(&chunk[..count]) {
                    if out.blocking_send(key).is_err() {
                        return;
                    }
                }
            }
        })?;
    Ok(keys)
}

/// Makes keys of what a terminal sends.
#[derive(Debug, Default)]
struct Decoder {
    /// The beginning of a sequence whose end has not come yet.
    pending: Vec<u8>,
}

impl Decoder {
    fn feed(&mut self, chunk: &[u8]) -> Vec<Key> {
        // A key that sends a sequence sends it at once: an ESC that comes alone is the key.
        if self.pending.is_empty() && chunk == b"\x1b" {
            return vec![Key::Escape];
        }
        self.pending.extend_from_slice(chunk);
        let mut keys = Vec::new();
        let mut rest = self.pending.as_slice();
        while let Some((key, after)) = decode(rest) {
            keys.extend(key);
            rest = after;
        }
        let rest = rest.to_vec();
        self.pending = if rest.len() > SEQUENCE_BYTES_MAX {
            Vec::new()
        } else {
            rest
        };
        keys
    }
}

/// The first key of `bytes`, if it is one that we know, and what follows it; `None`: it is not complete.
fn decode(bytes: &[u8]) -> Option<(Option<Key>, &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    match first {
        b'\x1b' => {
            let (&second, rest) = rest.split_first()?;
            if !matches!(second, b'[' | b'O') {
                return Some((Some(Key::Escape), &bytes[1..]));
            }
            let end = rest.iter().position(|b| (0x40..=0x7e).contains(b))?;
            let key = match (&rest[..end], rest[end]) {
                ([], b'A') => Some(Key::Up),
                ([], b'B') => Some(Key::Down),
                ([], b'H') | ([b'1' | b'7'], b'~') => Some(Key::Home),
                ([], b'F') | ([b'4' | b'8'], b'~') => Some(Key::End),
                ([b'5'], b'~') => Some(Key::PageUp),
                ([b'6'], b'~') => Some(Key::PageDown),
                (_, _) => None,
            };
            Some((key, &rest[end + 1..]))
        }
        b'\r' | b'\n' => Some((Some(Key::Enter), rest)),
        0x7f | 0x08 => Some((Some(Key::Backspace), rest)),
        0x03 => Some((Some(Key::Interrupt), rest)),
        0..=0x1f => Some((None, rest)),
        _ => {
            let length = match first {
                0xf0.. => 4,
                0xe0.. => 3,
                0xc0.. => 2,
                _ => 1,
            };
            let character = bytes.get(..length)?;
            let text = std::str::from_utf8(character).ok();
            let key = text.and_then(|text| text.chars().next()).map(Key::Char);
            Some(match key {
                Some(key) => (Some(key), &bytes[length..]),
                None => (None, rest),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_where_the_terminal_ends() {
        assert_eq!(cut("abcdef", 3), "abc");
        assert_eq!(cut("\x1b[32mabc\x1b[0mdef", 3), "\x1b[32mabc\x1b[0m\x1b[0m");
        assert_eq!(cut("\x1b[32mabc\x1b[0m", 3), "\x1b[32mabc\x1b[0m");
        let size = Size {
            columns: 2,
            rows: 2,
        };
        assert_eq!(
            in_place(&["a", "bcd", "e"], size, false),
            "\x1b[Ha\x1b[K\r\nbc\x1b[K"
        );
        assert_eq!(
            in_place(&["a"], size, true),
            "\x1b[H\x1b[2Ja\x1b[K\r\n\x1b[J"
        );
    }

    #[track_caller]
    fn check_keys(chunks: &[&str], expected: &[Key]) {
        let mut decoder = Decoder::default();
        let keys = chunks
            .iter()
            .flat_map(|chunk| decoder.feed(chunk.as_bytes()));
        assert_eq!(keys.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn keys_are_told_apart() {
        check_keys(
            &["q/é\r\x7f\x03"],
            &[
                Key::Char('q'),
                Key::Char('/'),
                Key::Char('é'),
                Key::Enter,
                Key::Backspace,
                Key::Interrupt,
            ],
        );
        check_keys(
            &["\x1b[A\x1bOB\x1b[5~\x1b[6~"],
            &[Key::Up, Key::Down, Key::PageUp, Key::PageDown],
        );
        check_keys(&["\x1b[H\x1b[4~\x1b[1;5C"], &[Key::Home, Key::End]);
        check_keys(&["\x1b", "a"], &[Key::Escape, Key::Char('a')]);
        check_keys(&["\x1b[", "Bq"], &[Key::Down, Key::Char('q')]);
        check_keys(&["\x1bq"], &[Key::Escape, Key::Char('q')]);
    }

    #[test]
    fn no_key_is_endless() {
        let mut decoder = Decoder::default();
        for _ in 0..100 {
            decoder.feed(b"\x1b[1111111111111111");
            assert!(decoder.pending.len() <= SEQUENCE_BYTES_MAX);
        }
    }
}

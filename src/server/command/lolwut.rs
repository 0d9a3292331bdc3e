//! `LOLWUT`: a picture for some versions of Redis, and the version of this one.

use rand::{Rng, RngExt};

use super::args::{Failure, integer, option};
use crate::front::{Call, REDIS_VERSION, Reply};
use crate::resp::Word;
use crate::server::Server;

pub(super) fn lolwut(
    server: &mut Server,
    call: &Call<'_>,
    reply: &mut Reply,
) -> Result<(), Failure> {
    let (version, sizes) = match call.args() {
        [word, version, sizes @ ..] if option(word) == b"version" => (integer(version)?, sizes),
        _ => (0, &[][..]),
    };
    let picture = match version {
        5 => {
            let [columns, across, down] = sizes_of(sizes, [(66, 1000), (8, 200), (12, 200)])?;
            squares(columns, across, down, &mut server.rng)
        }
        6 => {
            let [columns, rows] = sizes_of(sizes, [(80, 1000), (20, 1000)])?;
            skyline(columns, rows, &mut server.rng)
        }
        _ => String::new(),
    };
    reply.verbatim(format!("{picture}Redis ver. {REDIS_VERSION}\n"));
    Ok(())
}

/// Sizes as a client gives them, each with a default and a limit.
fn sizes_of<const N: usize>(
    words: &[Word<'_>],
    rules: [(i64, i64); N],
) -> Result<[usize; N], Failure> {
    let mut sizes = [0; N];
    for (at, (default, most)) in rules.into_iter().enumerate() {
        let size = words.get(at).map_or(Ok(default), |word| integer(word))?;
        sizes[at] = usize::try_from(size.clamp(1, most)).unwrap_or(1);
    }
    Ok(sizes)
}

/// Dots, eight to a character: two across, four down.
struct Canvas {
    columns: usize,
    cells: Vec<u8>,
}

impl Canvas {
    /// The bit of each dot in a Braille character, row by row.
    const BITS: [[u8; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];

    fn dot(&mut self, x: i64, y: i64) {
        let (Ok(x), Ok(y)) = (usize::try_from(x), usize::try_from(y)) else {
            return;
        };
        if x / 2 < self.columns
            && let Some(cell) = self.cells.get_mut(y / 4 * self.columns + x / 2)
        {
            *cell |= Canvas::BITS[y % 4][x % 2];
        }
    }

    fn line(&mut self, from: (i64, i64), to: (i64, i64)) {
        let (across, down) = (to.0 - from.0, to.1 - from.1);
        let steps = across.abs().max(down.abs()).max(1);
        for step in 0..=steps {
            self.dot(from.0 + across * step / steps, from.1 + down * step / steps);
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for row in self.cells.chunks(self.columns) {
            text.extend(
                row.iter()
                    .filter_map(|bits| char::from_u32(0x2800 + u32::from(*bits))),
            );
            text.push('\n');
        }
        text
    }
}

/// Squares in rows, whose corners stray the more the further down they are.
fn squares(columns: usize, across: usize, down: usize, dice: &mut impl Rng) -> String {
    let side = (columns * 2 / across).max(1);
    let rows = (side * down).div_ceil(4) + 1;
    let mut canvas = Canvas {
        columns,
        cells: vec![0; columns * rows],
    };
    let signed = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    for row in 0..down {
        let stray = signed(side * row / (2 * down));
        for column in 0..across {
            let (left, top) = (signed(column * side), signed(row * side));
            let (right, bottom) = (left + signed(side) - 1, top + signed(side) - 1);
            let corners =
                [(left, top), (right, top), (right, bottom), (left, bottom)].map(|(x, y)| {
                    let mut off = |n: i64| n + dice.random_range(-stray..=stray);
                    (off(x), off(y))
                });
            for (at, corner) in corners.into_iter().enumerate() {
                canvas.line(corner, corners[(at + 1) % corners.len()]);
            }
        }
    }
    format!("{}\nA grid that comes apart. ", canvas.text())
}

/// Towers in front of towers, in shades of grey, some of their windows lit.
fn skyline(columns: usize, rows: usize, dice: &mut impl Rng) -> String {
    /// Colours of a cell as a terminal takes them, from the sky to the nearest.
    const SHADES: [&str; 4] = ["97;107", "37;47", "90;100", "30;40"];
    const LIT: usize = 0;
    let mut cells = vec![0; columns * rows];
    for shade in 1..SHADES.len() {
        let tallest = rows * (SHADES.len() - shade) / SHADES.len() + 1;
        let mut left = 0;
        while left < columns {
            let width = dice.random_range(4..=9);
            let height = dice.random_range(0..=tallest.min(rows));
            for row in rows - height..rows {
                for column in left..(left + width).min(columns) {
                    let may_be_window = (column - left) % 2 == 1 && (rows - row).is_multiple_of(2);
                    let is_lit = may_be_window && dice.random_range(0..4) == 0;
                    cells[row * columns + column] = if is_lit { LIT } else { shade };
                }
            }
            left += width + dice.random_range(0..=3);
        }
    }
    let mut text = String::new();
    for row in cells.chunks(columns) {
        for shade in row {
            text.push_str(&format!("\u{1b}[0;{}m \u{1b}[0m", SHADES[*shade]));
        }
        text.push('\n');
    }
    format!("{text}\nA town at night. ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn the_first_row_of_squares_is_in_order() {
        let mut dice = ChaCha8Rng::seed_from_u64(1);
        let text = squares(8, 2, 1, &mut dice);
        let want = "⡏⠉⠉⢹⡏⠉⠉⢹\n⣇⣀⣀⣸⣇⣀⣀⣸\n";
        assert!(text.starts_with(want), "{text}");
    }

    #[test]
    fn any_size_can_be_drawn() {
        let mut dice = ChaCha8Rng::seed_from_u64(1);
        for (columns, across, down) in [(1, 1, 1), (1, 200, 200), (1000, 1, 3), (7, 3, 50)] {
            let text = squares(columns, across, down, &mut dice);
            let width = text.lines().next().unwrap().chars().count();
            assert_eq!(width, columns);
            assert_eq!(skyline(columns, down, &mut dice).lines().count(), down + 2);
        }
    }
}

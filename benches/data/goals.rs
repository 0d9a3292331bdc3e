//! What is wanted of the figures, and which of them fall short.

use std::fmt::Write;

/// The figures that fall short of what is wanted, a line each.
#[derive(Default)]
pub(crate) struct Goals(String);

impl Goals {
    /// `value` is wanted to be no more than `limit`, to the two places that are printed.
    pub(crate) fn at_most(&mut self, what: &str, value: f64, limit: f64) {
        self.note(what, value, "at most", limit, value <= limit + 0.005);
    }

    /// `value` is wanted to be no less than `limit`, to the two places that are printed.
    pub(crate) fn at_least(&mut self, what: &str, value: f64, limit: f64) {
        self.note(what, value, "at least", limit, value >= limit - 0.005);
    }

    fn note(&mut self, what: &str, value: f64, how: &str, limit: f64, is_met: bool) {
        if !is_met {
            let line = format_args!("{what}: {value:.2}, wanted {how} {limit:.2}");
            writeln!(self.0, "{line}").expect("a string takes all");
        }
    }

    /// Prints the sum.
    pub(crate) fn print(&self) {
        if self.0.is_empty() {
            println!("\nall that is wanted is met");
        } else {
            print!("\nwanted and not met\n{}", self.0);
        }
    }
}

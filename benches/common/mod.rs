//! What the benchmarks share: a stopwatch finer than a millisecond, processor time, options, percentiles.

#![allow(dead_code, reason = "neither benchmark uses all of it")]

use std::time::{Duration, Instant};

/// The monotonic clock in full resolution: the program itself counts milliseconds only.
#[expect(
    clippy::disallowed_methods,
    reason = "a benchmark measures real time; nothing is decided by it"
)]
pub(crate) fn instant() -> Instant {
    Instant::now()
}

/// The value after `--name` on the command line, parsed; `default` without it.
pub(crate) fn option<T: std::str::FromStr>(name: &str, default: T) -> T {
    let mut words = std::env::args().skip_while(|word| word != name).skip(1);
    words.next().map_or(default, |word| {
        word.parse()
            .unwrap_or_else(|_| panic!("{name}: cannot read {word:?}"))
    })
}

/// User and system time of a process so far.
pub(crate) fn cpu_seconds(pid: u32) -> f64 {
    /// What `/proc` counts in, on every architecture in use.
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    let (_, after_name) = stat.rsplit_once(')').expect("the name is in parentheses");
    let field = |i: usize| -> f64 {
        let word = after_name.split_whitespace().nth(i).expect("52 fields");
        word.parse().expect("a number of ticks")
    };
    // Fields 14 and 15 of proc(5), counted from the state, which is the third.
    (field(11) + field(12)) / TICKS_PER_SECOND
}

/// Milliseconds with three decimals.
pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Some measurements of one quantity.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    /// Adds one.
    pub(crate) fn add(&mut self, value: f64) {
        self.0.push(value);
        self.0.sort_by(f64::total_cmp);
    }

    /// Adds many.
    pub(crate) fn extend(&mut self, values: impl IntoIterator<Item = f64>) {
        self.0.extend(values);
        self.0.sort_by(f64::total_cmp);
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The smallest value that is not below `share` (0 to 1) of all; NaN without samples.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        if self.0.is_empty() {
            return f64::NAN;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a rank among a few thousand samples"
        )]
        let rank = (self.0.len() as f64 * share).ceil() as usize;
        self.0[rank.clamp(1, self.0.len()) - 1]
    }

    /// The median.
    pub(crate) fn p50(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The largest.
    pub(crate) fn max(&self) -> f64 {
        self.quantile(1.0)
    }
}

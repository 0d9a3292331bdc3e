//! How much happens per second, for `INFO`.

use std::collections::VecDeque;

use super::FrontStats;
use crate::clock::Mono;

/// Samples that an average covers.
const SAMPLES: usize = 16;

/// Averages over the last [`SAMPLES`] samples, about 1.6 s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PerSecond {
    pub(super) commands: u64,
    pub(super) input_bytes: u64,
    pub(super) output_bytes: u64,
    pub(super) repl_input_bytes: u64,
    pub(super) repl_output_bytes: u64,
}

/// The counters of the recent past.
#[derive(Debug, Default)]
pub(super) struct Rates {
    samples: VecDeque<(Mono, FrontStats)>,
}

impl Rates {
    /// Takes a sample.
    pub(super) fn sample(&mut self, now: Mono, stats: FrontStats) {
        if self.samples.len() > SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back((now, stats));
    }

    /// The averages.
    pub(super) fn per_second(&self) -> PerSecond {
        let (Some((from, old)), Some((to, new))) = (self.samples.front(), self.samples.back())
        else {
            return PerSecond::default();
        };
        let ms = to.0.saturating_sub(from.0).max(1);
        let rate = |old: u64, new: u64| new.saturating_sub(old).saturating_mul(1000) / ms;
        PerSecond {
            commands: rate(old.commands, new.commands),
            input_bytes: rate(old.net_input_bytes, new.net_input_bytes),
            output_bytes: rate(old.net_output_bytes, new.net_output_bytes),
            repl_input_bytes: rate(old.repl_input_bytes, new.repl_input_bytes),
            repl_output_bytes: rate(old.repl_output_bytes, new.repl_output_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_samples_do_not_count() {
        let mut rates = Rates::default();
        assert_eq!(rates.per_second(), PerSecond::default());
        for i in 0..100 {
            let stats = FrontStats {
                commands: if i < 50 { i * 1000 } else { 50_000 + i },
                ..FrontStats::default()
            };
            rates.sample(Mono(i * 100), stats);
        }
        assert_eq!(rates.per_second().commands, 10);
    }
}

//! How long a command takes, with two significant digits, as HdrHistogram counts: redis-server 7.0 uses it with
//! the same bounds, so that percentiles and buckets come out the same.

/// The longest time that is told apart. Nanoseconds.
const NANOS_MAX: u64 = 1_000_000_000;
/// Slots of one power of two; twice as many in the first.
const HALF: usize = 128;
/// Bits of [`HALF`].
const HALF_BITS: u32 = 7;
/// Powers of two above the first slots, up to [`NANOS_MAX`].
const SLOTS: usize = 24 * HALF;
/// The first bucket that `LATENCY HISTOGRAM` shows. Nanoseconds.
const FIRST_LEVEL: u64 = 1024;

/// Counts of durations.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    slots: Box<[u64]>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram {
            slots: vec![0; SLOTS].into_boxed_slice(),
            total: 0,
        }
    }
}

/// The power of two in which a time is counted: 0 for all below 256.
fn power_of(nanos: u64) -> u32 {
    u64::BITS - (nanos | (2 * HALF as u64 - 1)).leading_zeros() - (HALF_BITS + 1)
}

fn slot_of(nanos: u64) -> usize {
    let power = power_of(nanos);
    let within = usize::try_from(nanos >> power).expect("below 256");
    (power as usize) * HALF + within
}

/// The least time that is counted in a slot.
fn least_of(slot: usize) -> u64 {
    let power = (slot / HALF).saturating_sub(1);
    ((slot - power * HALF) as u64) << power
}

/// The greatest time that is counted with this one.
fn greatest_with(nanos: u64) -> u64 {
    let power = power_of(nanos);
    ((nanos >> power) << power) + (1 << power) - 1
}

impl Histogram {
    /// Counts a time.
    pub(crate) fn record(&mut self, nanos: u64) {
        self.slots[slot_of(nanos.clamp(1, NANOS_MAX))] += 1;
        self.total += 1;
    }

    /// How many times were counted.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// The time within which so many percent of all were. Nanoseconds.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a percentile is an estimate; the product is positive"
    )]
    pub(crate) fn at_percentile(&self, percent: f64) -> u64 {
        let wanted = ((percent / 100.0 * self.total as f64 + 0.5) as u64).max(1);
        let mut seen = 0;
        for (slot, count) in self.slots.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                let least = least_of(slot);
                return if percent == 0.0 {
                    least
                } else {
                    greatest_with(least)
                };
            }
        }
        0
    }

    /// Bounds, each twice the one before, and how many times were within each: those at which the count rises.
    /// Microseconds.
    pub(crate) fn levels(&self) -> Vec<(u64, u64)> {
        let mut levels = Vec::new();
        let (mut seen, mut reported, mut from) = (0, 0, 0);
        let mut level = FIRST_LEVEL;
        while seen < self.total && slot_of(level) < SLOTS {
            let end = slot_of(level) + 1;
            seen += self.slots[from..end].iter().sum::<u64>();
            from = end;
            if seen > reported {
                levels.push((greatest_with(level) / 1000, seen));
                reported = seen;
            }
            level *= 2;
        }
        levels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_cover_all_times_in_order() {
        let mut before = None;
        for nanos in (0..5000).chain([NANOS_MAX / 2, NANOS_MAX]) {
            let slot = slot_of(nanos);
            assert!(slot < SLOTS);
            assert!(least_of(slot) <= nanos && nanos <= greatest_with(nanos));
            assert!(before.is_none_or(|before| slot >= before), "{nanos}");
            before = Some(slot);
        }
    }

    #[test]
    fn percentiles_and_levels_are_those_of_redis() {
        // One call of 182 µs in redis-server 7.0.15 was shown as p50=182.271 and counted below 264 µs.
        let mut histogram = Histogram::default();
        histogram.record(182_000);
        assert_eq!(histogram.at_percentile(50.0), 182_271);
        assert_eq!(histogram.levels(), [(264, 1)]);
        for nanos in [1, 1024, 3000, 40_000] {
            histogram.record(nanos);
        }
        assert_eq!(histogram.levels(), [(1, 2), (4, 3), (66, 4), (264, 5)]);
        assert_eq!(histogram.at_percentile(0.0), 1);
        assert_eq!(histogram.total(), 5);
    }
}

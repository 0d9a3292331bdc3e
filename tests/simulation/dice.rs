//! The only source of chance: everything random in a run comes from its seed through here.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A seeded die. Each concern of a run has its own stream, so that a change in one of them leaves the
/// others as they were.
pub(crate) struct Dice(ChaCha8Rng);

impl Dice {
    /// The stream called `concern` of a run.
    pub(crate) fn new(seed: u64, concern: &str) -> Dice {
        let mut mixed = seed ^ 0x9E37_79B9_7F4A_7C15;
        for byte in concern.bytes() {
            mixed = (mixed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        }
        Dice(ChaCha8Rng::seed_from_u64(mixed))
    }

    /// Any number.
    pub(crate) fn any(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// `0..n`; `n` is at least 1.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0.next_u64() % n
    }

    /// `low..=high`.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// An index into something of that length.
    pub(crate) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).expect("below a usize")
    }

    /// True `per_mille` times in a thousand.
    pub(crate) fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// One of them.
    pub(crate) fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.index(of.len())].clone()
    }

    /// Forty hex digits, as ids and replication histories have them.
    pub(crate) fn hex(&mut self) -> String {
        sentinel::ids::random_hex::<20>(&mut self.0)
    }
}

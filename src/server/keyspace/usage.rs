//! How the use of keys is counted: by the moment of the last one, or by how many there were.
//!
//! Either fits the 32 bits that an entry has for it. The moment is in Unix seconds; the count is Redis's: a
//! logarithmic counter in the low byte, and above it the minutes of its last decay.

/// What a counter starts with, so that a new key is not the first to go.
const COUNT_AT_START: u8 = 5;

/// The rules of counting, and the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Unix seconds, modulo 2^32.
    pub now: u32,
    /// How uses are counted; `None` where only the last one is noted.
    pub frequency: Option<FrequencyRules>,
}

/// `lfu-log-factor` and `lfu-decay-time`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrequencyRules {
    /// The higher, the more uses each step of a counter takes.
    pub log_factor: u32,
    /// After so many minutes without use a counter goes down by one; 0 for never.
    pub decay_minutes: u32,
}

/// What a file or a client tells about the use of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rating {
    /// Seconds since the last use.
    Idle(u64),
    /// The counter.
    Frequency(u8),
}

impl Usage {
    /// What is noted of a new key.
    pub fn fresh(self) -> u32 {
        if self.frequency.is_some() {
            self.counted(COUNT_AT_START)
        } else {
            self.now
        }
    }

    /// What is noted of a key, `access` until now, that is used. `dice` is uniform.
    pub fn used(self, access: u32, dice: impl FnOnce() -> u32) -> u32 {
        let Some(rules) = self.frequency else {
            return self.now;
        };
        let count = self.frequency(access);
        let above_start = u64::from(count.saturating_sub(COUNT_AT_START));
        // One step up in this many uses.
        let uses = above_start * u64::from(rules.log_factor) + 1;
        let goes_up = u64::from(dice()).saturating_mul(uses) < 1 << 32;
        self.counted(count.saturating_add(u8::from(goes_up)))
    }

    /// Seconds since the last use.
    pub fn idle_seconds(self, access: u32) -> u32 {
        // What another policy has noted may lie ahead.
        self.now.saturating_sub(access)
    }

    /// The counter as it is now.
    pub fn frequency(self, access: u32) -> u8 {
        let [count, minutes @ .., _] = access.to_le_bytes();
        let minutes = u16::from_le_bytes(minutes);
        let passed = u32::from(self.minutes().wrapping_sub(minutes));
        let decay = self.frequency.map_or(0, |rules| rules.decay_minutes);
        let steps = passed.checked_div(decay).unwrap_or(0);
        count.saturating_sub(u8::try_from(steps).unwrap_or(u8::MAX))
    }

    /// How gladly a key is given up by its use, between 0 and 2^32 − 1.
    pub fn dispensability(self, access: u32) -> u32 {
        if self.frequency.is_some() {
            u32::from(u8::MAX - self.frequency(access))
        } else {
            self.idle_seconds(access)
        }
    }

    /// What is noted of a key of which this is known; a rating of the other kind says nothing.
    pub fn rated(self, rating: Option<Rating>) -> u32 {
        match (rating, self.frequency) {
            (Some(Rating::Idle(seconds)), None) => {
                let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
                self.now.saturating_sub(seconds)
            }
            (Some(Rating::Frequency(count)), Some(_)) => self.counted(count),
            (Some(Rating::Idle(_)), Some(_)) | (Some(Rating::Frequency(_)), None) | (None, _) => {
                self.fresh()
            }
        }
    }

    /// What a file says about a key.
    pub fn rating(self, access: u32) -> Rating {
        if self.frequency.is_some() {
            Rating::Frequency(self.frequency(access))
        } else {
            Rating::Idle(u64::from(self.idle_seconds(access)))
        }
    }

    fn counted(self, count: u8) -> u32 {
        u32::from(self.minutes()) << 8 | u32::from(count)
    }

    /// The time in minutes, modulo 2^16.
    fn minutes(self) -> u16 {
        let [low, high, ..] = (self.now / 60).to_le_bytes();
        u16::from_le_bytes([low, high])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u32 = 1_700_000_000;
    const LRU: Usage = Usage {
        now: NOW,
        frequency: None,
    };

    fn lfu(now: u32, log_factor: u32, decay_minutes: u32) -> Usage {
        Usage {
            now,
            frequency: Some(FrequencyRules {
                log_factor,
                decay_minutes,
            }),
        }
    }

    #[test]
    fn the_last_use_is_noted() {
        assert_eq!(LRU.idle_seconds(LRU.fresh()), 0);
        assert_eq!(LRU.idle_seconds(LRU.rated(Some(Rating::Idle(77)))), 77);
        assert_eq!(LRU.rating(NOW - 5), Rating::Idle(5));
        assert_eq!(LRU.idle_seconds(NOW + 9), 0);
        assert_eq!(LRU.used(5, || 0), NOW);
        assert_eq!(LRU.rated(Some(Rating::Frequency(9))), NOW);
    }

    #[test]
    fn uses_are_counted_by_their_logarithm() {
        let rules = lfu(NOW, 10, 1);
        assert_eq!(rules.frequency(rules.fresh()), 5);
        let high = rules.rated(Some(Rating::Frequency(255)));
        assert_eq!(rules.frequency(rules.used(high, || 0)), 255);
        // Up to where a counter starts, each use counts.
        let low = rules.rated(Some(Rating::Frequency(4)));
        assert_eq!(rules.frequency(rules.used(low, || u32::MAX)), 5);
        // At 15 it is one of 101.
        let at = rules.rated(Some(Rating::Frequency(15)));
        assert_eq!(rules.frequency(rules.used(at, || u32::MAX / 101)), 16);
        assert_eq!(rules.frequency(rules.used(at, || u32::MAX / 100)), 15);
        assert_eq!(rules.dispensability(at), 240);
        assert_eq!(rules.rating(at), Rating::Frequency(15));
    }

    #[test]
    fn counters_go_down_with_time() {
        let (before, after) = (lfu(NOW, 10, 2), lfu(NOW + 600, 10, 2));
        let access = before.rated(Some(Rating::Frequency(100)));
        assert_eq!(after.frequency(access), 95);
        assert_eq!(lfu(NOW + 600_000, 10, 2).frequency(access), 0);
        assert_eq!(lfu(NOW + 600_000, 10, 0).frequency(access), 100);
        // The minutes wrap round.
        let wrapping = lfu(60 * 65_535 + 30, 10, 1);
        let access = wrapping.rated(Some(Rating::Frequency(9)));
        assert_eq!(lfu(60 * 65_537, 10, 1).frequency(access), 7);
    }
}

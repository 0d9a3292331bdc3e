//! `rdb-key-save-delay` and `key-load-delay`: writing and loading that take longer than they must, so that what
//! happens meanwhile can be tried out. Both are so many microseconds for each key; where negative, so many keys take one
//! microsecond together. Nothing rests on the loop: a walk waits between its slices, a load on its own thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

/// The longest rest at a time: after each, it may not be wanted any more.
const REST_MAX: Duration = Duration::from_millis(100);
/// A shorter one is put off, because no timer is as exact.
const REST_MIN: Duration = Duration::from_micros(REST_MIN_MICROS as u64);
/// The same as a number of microseconds.
const REST_MIN_MICROS: usize = 1000;

/// How long so many keys take.
fn time_of(delay: i32, keys: usize) -> Duration {
    let (keys, size) = (keys as u64, u64::from(delay.unsigned_abs()));
    if delay >= 0 {
        Duration::from_micros(keys.saturating_mul(size))
    } else {
        Duration::from_nanos(keys.saturating_mul(1000) / size)
    }
}

/// What is due of a rest that is `owed`.
fn take_rest(owed: &mut Duration) -> Option<Duration> {
    let rest = (*owed).min(REST_MAX);
    *owed -= if rest < REST_MIN {
        Duration::ZERO
    } else {
        rest
    };
    (rest >= REST_MIN).then_some(rest)
}

/// The rests of one walk, by the setting of when it began.
#[derive(Debug)]
pub(crate) struct SavePace {
    delay: i32,
    /// Keys that were written so far.
    keys: usize,
    owed: Duration,
}

impl SavePace {
    /// For a walk that begins.
    pub(crate) fn new(delay: i32) -> SavePace {
        SavePace {
            delay,
            keys: 0,
            owed: Duration::ZERO,
        }
    }

    /// So many keys have been written by now.
    pub(crate) fn note(&mut self, keys: usize) {
        self.owed += time_of(self.delay, keys.saturating_sub(self.keys));
        self.keys = self.keys.max(keys);
    }

    /// How many keys have been noted.
    pub(crate) fn noted(&self) -> usize {
        self.keys
    }

    /// About how many keys go between two rests; a walk that takes more at a time rests for longer behind them.
    pub(crate) fn keys_at_a_time(&self) -> usize {
        let size = self.delay.unsigned_abs() as usize;
        match self.delay {
            0 => usize::MAX,
            1.. => (REST_MIN_MICROS / size).max(1),
            ..0 => REST_MIN_MICROS.saturating_mul(size),
        }
    }

    /// The next rest, until there is none.
    pub(crate) fn next_rest(&mut self) -> Option<Duration> {
        take_rest(&mut self.owed)
    }
}

/// The rests of a load, by the setting as it is at each key.
#[derive(Clone, Debug)]
pub struct LoadPace {
    delay: Option<Arc<AtomicI32>>,
    owed: Duration,
}

impl LoadPace {
    /// Without any rest.
    pub const NONE: LoadPace = LoadPace {
        delay: None,
        owed: Duration::ZERO,
    };

    /// Rests as `delay` says at each moment.
    pub(crate) fn by(delay: &Arc<AtomicI32>) -> LoadPace {
        LoadPace {
            delay: Some(Arc::clone(delay)),
            owed: Duration::ZERO,
        }
    }

    /// One more key, or command, has been loaded. Blocks for as long as that is to take.
    pub(crate) fn rest(&mut self) {
        let Some(setting) = &self.delay else { return };
        let delay = setting.load(Ordering::Relaxed);
        self.owed += time_of(delay, 1);
        while let Some(rest) = take_rest(&mut self.owed) {
            std::thread::sleep(rest);
            if setting.load(Ordering::Relaxed) != delay {
                self.owed = Duration::ZERO;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_for_each_key_or_for_many() {
        for (delay, keys, micros) in [
            (0, 7, 0),
            (10, 7, 70),
            (-50, 100, 2),
            (i32::MAX, 3, 3 * 2_147_483_647),
        ] {
            assert_eq!(time_of(delay, keys), Duration::from_micros(micros));
        }
        assert_eq!(time_of(i32::MIN, 3_000_000_000), Duration::from_nanos(1396));
    }

    #[test]
    fn as_many_keys_go_at_a_time_as_make_one_rest() {
        for (delay, keys) in [
            (0, usize::MAX),
            (1, 1000),
            (400, 2),
            (i32::MAX, 1),
            (-50, 50_000),
        ] {
            assert_eq!(SavePace::new(delay).keys_at_a_time(), keys, "{delay}");
        }
    }

    #[test]
    fn a_walk_rests_for_each_key_once() {
        let mut pace = SavePace::new(400);
        let mut rests = |keys| {
            pace.note(keys);
            std::iter::from_fn(|| pace.next_rest()).collect::<Vec<_>>()
        };
        assert!(rests(2).is_empty());
        assert_eq!(rests(3), [Duration::from_micros(1200)]);
        assert!(rests(3).is_empty());
        let want = [100, 100, 40].map(Duration::from_millis);
        assert_eq!(rests(603), want);
    }

    #[test]
    fn a_load_goes_on_when_the_setting_changes() {
        let delay = Arc::new(AtomicI32::new(i32::MAX));
        let mut pace = LoadPace::by(&delay);
        let load = std::thread::spawn(move || pace.rest());
        delay.store(0, Ordering::Relaxed);
        load.join().unwrap();
    }
}

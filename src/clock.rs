//! The two clocks of the program, and the only place that reads them.
//!
//! [`Mono`] drives every timeout; [`UnixMillis`] is only for what is stored or shown. Both are plain
//! millisecond counts, so that traces can be read and a simulator can make them up.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Milliseconds of the monotonic clock since an arbitrary origin (the start of the process).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(pub u64);

impl Mono {
    /// The time from `earlier` to `self`; zero when `earlier` is in the future.
    pub fn since(self, earlier: Mono) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// A moment that never comes.
    pub const NEVER: Mono = Mono(u64::MAX);
}

impl Add<Duration> for Mono {
    type Output = Mono;
    fn add(self, by: Duration) -> Mono {
        Mono(self.0.saturating_add(millis(by)))
    }
}

impl AddAssign<Duration> for Mono {
    fn add_assign(&mut self, by: Duration) {
        *self = *self + by;
    }
}

impl Sub<Duration> for Mono {
    type Output = Mono;
    /// Stops at the origin.
    fn sub(self, by: Duration) -> Mono {
        Mono(self.0.saturating_sub(millis(by)))
    }
}

impl fmt::Display for Mono {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

/// Milliseconds since the Unix epoch, by the wall clock.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct UnixMillis(pub u64);

/// One reading of both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// For timeouts.
    pub mono: Mono,
    /// For what is stored or shown.
    pub unix: UnixMillis,
}

/// Reads the clocks of this machine.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
    /// Milliseconds that a test counts, in place of those that pass.
    #[cfg(test)]
    by_hand: Option<&'static std::sync::atomic::AtomicU64>,
}

impl Clock {
    /// A clock whose monotonic origin is one second before now, so that "never happened yet" can be
    /// told from zero.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the clock"
    )]
    pub fn start() -> Clock {
        let now = Instant::now();
        Clock {
            origin: now.checked_sub(Duration::from_secs(1)).unwrap_or(now),
            #[cfg(test)]
            by_hand: None,
        }
    }

    /// A clock whose timeouts pass only as the test counts milliseconds.
    #[cfg(test)]
    pub(crate) fn by_hand(millis: &'static std::sync::atomic::AtomicU64) -> Clock {
        Clock {
            by_hand: Some(millis),
            ..Clock::start()
        }
    }

    /// Both clocks, now.
    pub fn now(&self) -> Now {
        Now {
            mono: self.mono(),
            unix: unix_now(),
        }
    }

    /// The monotonic clock, now.
    pub fn mono(&self) -> Mono {
        #[cfg(test)]
        if let Some(millis) = self.by_hand {
            return Mono(millis.load(std::sync::atomic::Ordering::SeqCst));
        }
        Mono(millis(self.origin.elapsed()))
    }

    /// Nanoseconds of the monotonic clock, for how long something takes.
    pub fn nanos(&self) -> u64 {
        let since = self.origin.elapsed();
        since.as_secs() * 1_000_000_000 + u64::from(since.subsec_nanos())
    }

    /// `last`, an earlier reading, moved on to the moment that [`Clock::nanos`] gave as `nanos`. To the millisecond of the
    /// monotonic clock: the other one may be one behind.
    pub fn moved_to(&self, last: Now, nanos: u64) -> Now {
        #[cfg(test)]
        if self.by_hand.is_some() {
            return last;
        }
        let passed = (nanos / 1_000_000).saturating_sub(last.mono.0);
        Now {
            mono: Mono(last.mono.0 + passed),
            unix: UnixMillis(last.unix.0 + passed),
        }
    }

    /// Microseconds since the Unix epoch, for what is shown as finely as that.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the clock"
    )]
    pub fn unix_micros(&self) -> u64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| {
                u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
            })
    }

    /// The `Instant` at which [`Clock::mono`] will read `at`; far in the future for [`Mono::NEVER`].
    pub fn instant(&self, at: Mono) -> Instant {
        const FAR: Duration = Duration::from_secs(365 * 24 * 3600);
        self.origin + Duration::from_millis(at.0).min(FAR)
    }
}

/// The wall clock, now.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the clock"
)]
pub fn unix_now() -> UnixMillis {
    UnixMillis(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, millis),
    )
}

/// Whole milliseconds of a duration, saturating.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Mono(5) - Duration::from_millis(9), Mono(0));
        assert_eq!(Mono::NEVER + Duration::from_secs(1), Mono::NEVER);
        assert_eq!(Mono(5).since(Mono(9)), Duration::ZERO);
        assert_eq!(Mono(61_007).to_string(), "61.007");
    }
}

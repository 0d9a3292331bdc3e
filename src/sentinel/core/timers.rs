//! The one table of deadlines. Each has a reason that can be named when the loop wakes up.

use std::collections::BTreeSet;

use hashbrown::HashMap;

use super::instance::InstanceId;
use super::master::MasterId;
use super::peer::PeerId;
use crate::clock::Mono;

/// Whose deadline it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Timer {
    /// PING, INFO, hello, SDOWN or reconnection of a master or replica.
    Instance(InstanceId),
    /// PING, SDOWN or reconnection of a peer.
    Peer(PeerId),
    /// Questions, hellos to peers, elections and failover steps of a master.
    Master(MasterId),
    /// The end of TILT.
    Tilt,
    /// The state could not be written; try again.
    Persist,
    /// An operator waits for the answers of peers no longer.
    Rounds,
}

/// Deadlines in order.
///
/// [`Timers::arm`] only ever moves a deadline closer: whoever wakes up looks at what is really due and
/// arms again. That keeps the common case, a PONG that pushes a deadline away, free of any work here.
#[derive(Debug, Default)]
pub(super) struct Timers {
    order: BTreeSet<(Mono, Timer)>,
    at: HashMap<Timer, Mono>,
}

impl Timers {
    /// Wakes `timer` at `at`, or earlier when it already is armed for earlier.
    pub(super) fn arm(&mut self, timer: Timer, at: Mono) {
        match self.at.get_mut(&timer) {
            Some(armed) if *armed <= at => {}
            Some(armed) => {
                self.order.remove(&(*armed, timer));
                self.order.insert((at, timer));
                *armed = at;
            }
            None => {
                self.order.insert((at, timer));
                self.at.insert(timer, at);
            }
        }
    }

    /// Forgets `timer`.
    pub(super) fn cancel(&mut self, timer: Timer) {
        if let Some(at) = self.at.remove(&timer) {
            self.order.remove(&(at, timer));
        }
    }

    /// Takes the earliest timer that is due at `now`.
    pub(super) fn pop_due(&mut self, now: Mono) -> Option<Timer> {
        let &(at, timer) = self.order.first()?;
        if at > now {
            return None;
        }
        self.order.pop_first();
        self.at.remove(&timer);
        debug_assert_eq!(
            self.order.len(),
            self.at.len(),
            "both tables hold the same timers"
        );
        Some(timer)
    }

    /// The earliest deadline.
    pub(super) fn next(&self) -> Option<Mono> {
        self.order.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arming_only_moves_closer() {
        let mut timers = Timers::default();
        timers.arm(Timer::Tilt, Mono(10));
        timers.arm(Timer::Tilt, Mono(20));
        timers.arm(Timer::Persist, Mono(30));
        timers.arm(Timer::Persist, Mono(5));
        assert_eq!(timers.next(), Some(Mono(5)));
        assert_eq!(timers.pop_due(Mono(9)), Some(Timer::Persist));
        assert_eq!(timers.pop_due(Mono(9)), None);
        assert_eq!(timers.pop_due(Mono(10)), Some(Timer::Tilt));
        assert_eq!(timers.next(), None);
    }
}

//! While requests come close together, the thread looks for the next one for a moment before it goes to sleep.
//!
//! Whoever sends to a thread that sleeps has it woken, which costs the sender more time than the request costs us, and
//! clients that are kept busy by their own answers (`redis-benchmark`, a proxy, a pool) then wait for that. Between
//! requests that are further apart, or with a single processor, the thread sleeps at once.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::sync::Notify;

use super::Server;

/// How long it looks on after a turn, and how close to each other two turns are for it to look at all. Longer finds
/// hardly more and costs as much more. Nanoseconds.
const PATIENCE_NANOS: u64 = 20_000;

/// Whether the thread looks on, and since when.
#[derive(Debug, Default)]
pub(super) struct BusyPoll {
    /// When the last turn ended. Nanoseconds of the clock.
    last_turn: u64,
    is_looking: bool,
    begin: Rc<Notify>,
}

impl BusyPoll {
    /// A turn of a client ends. If the one before it was close, the thread looks on.
    pub(super) fn note_turn(&mut self, nanos: u64) {
        let is_close = nanos.saturating_sub(self.last_turn) < PATIENCE_NANOS;
        self.last_turn = nanos;
        if is_close && !self.is_looking {
            self.is_looking = true;
            self.begin.notify_one();
        }
    }

    /// Whether to look once more.
    fn looks_on(&mut self, nanos: u64) -> bool {
        self.is_looking = nanos.saturating_sub(self.last_turn) < PATIENCE_NANOS;
        self.is_looking
    }
}

/// Looks whenever the turns of clients say so, until the task is dropped. With a single processor whoever is to send
/// could not, so it does nothing.
pub(super) async fn run(server: Rc<RefCell<Server>>) {
    if std::thread::available_parallelism().map_or(1, usize::from) == 1 {
        return;
    }
    let begin = Rc::clone(&server.borrow().busy_poll.begin);
    let looks_on = || {
        let server = &mut *server.borrow_mut();
        let nanos = server.clock.nanos();
        server.busy_poll.looks_on(nanos)
    };
    loop {
        begin.notified().await;
        while looks_on() {
            // The runtime asks the operating system for what is ready, and does not wait.
            tokio::task::yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_looks_on_between_turns_that_are_close_and_for_so_long() {
        let mut poll = BusyPoll::default();
        let mut at = 1_000_000;
        poll.note_turn(at);
        assert!(!poll.is_looking, "the first");
        at += PATIENCE_NANOS;
        poll.note_turn(at);
        assert!(!poll.is_looking, "not close");
        at += PATIENCE_NANOS - 1;
        poll.note_turn(at);
        assert!(poll.is_looking);
        assert!(poll.looks_on(at + PATIENCE_NANOS - 1));
        assert!(!poll.looks_on(at + PATIENCE_NANOS));
        poll.note_turn(at + PATIENCE_NANOS);
        assert!(!poll.is_looking, "it has slept since");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn it_begins_when_it_is_told_while_it_does_not_look() {
        let mut poll = BusyPoll::default();
        let begin = Rc::clone(&poll.begin);
        poll.note_turn(1_000_000);
        poll.note_turn(1_000_001);
        begin.notified().await;
    }
}

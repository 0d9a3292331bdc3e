//! What is going on, on standard error, for everything that takes more than a second. Only on a terminal.

use std::future::Future;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use crate::clock::{Clock, Mono};

/// What takes less is not told of.
const SILENT_FOR: Duration = Duration::from_secs(1);
/// How often the line is drawn anew.
pub(crate) const DRAW_PERIOD: Duration = Duration::from_millis(250);

/// A line that is drawn over and over, and gone when this is dropped.
pub(crate) struct Progress {
    is_shown: bool,
    is_drawn: bool,
    clock: Clock,
    begin: Mono,
}

impl Progress {
    /// Begins now.
    pub(crate) fn begin() -> Progress {
        let clock = Clock::start();
        Progress {
            is_shown: io::stderr().is_terminal(),
            is_drawn: false,
            begin: clock.mono(),
            clock,
        }
    }

    /// How long it has taken.
    pub(crate) fn elapsed(&self) -> Duration {
        self.clock.mono().since(self.begin)
    }

    /// Says what is being done, if it is time to say anything.
    pub(crate) fn tell(&mut self, what: &str) {
        let elapsed = self.elapsed();
        if self.is_shown && elapsed >= SILENT_FOR {
            self.is_drawn = true;
            // Nobody is to be told if this fails.
            let _ = write!(io::stderr(), "\r\x1b[K{what} ({} s)", elapsed.as_secs());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_drawn {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

/// Does `work`, and says `what` it is while it takes long.
pub(crate) async fn during<T>(what: &str, work: impl Future<Output = T>) -> T {
    let mut progress = Progress::begin();
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(DRAW_PERIOD) => progress.tell(what),
        }
    }
}

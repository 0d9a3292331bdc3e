//! What others, on other threads, may see of the daemon and ask of it, without ever delaying it.
//!
//! The loop stores a picture of itself for whoever wants to read it, hands its events to a bounded queue
//! that drops what does not fit, and answers what it is asked through another bounded queue. It never waits
//! for a reader: no lock is shared with one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use hashbrown::HashMap;
use tokio::sync::{mpsc, oneshot};

use super::core::{
    Event, EventKind, FailoverStats, Histogram, Operator, Picture, ReplyTo, Sentinel, SentinelView,
    Wanted,
};
use crate::clock::{Clock, Mono, Now, UnixMillis};
use crate::ids::{MasterName, RunId};
use crate::resp::Value;

/// Events that wait to be taken over; further ones are dropped, and their numbers missing tells so.
const EVENTS_QUEUED_MAX: usize = 4096;
/// Requests that wait for the loop.
pub(super) const ASKS_QUEUED_MAX: usize = 64;
/// Requests for what is counted that wait for the loop.
pub(super) const FACTS_QUEUED_MAX: usize = 4;
/// Requests that the core has not answered yet, because a write is under way; further ones are refused.
const ASKS_OPEN_MAX: usize = 256;
/// A change of no consequence is shown together with what else changes in so long.
const PICTURE_PERIOD: Duration = Duration::from_millis(50);
/// The numbers of our requests begin here, far above those of clients' waits.
const FIRST_ASK: u64 = 1 << 62;

/// The end of it that another thread holds.
#[derive(Debug)]
pub struct Surface {
    /// The clock of all moments in here.
    pub clock: Clock,
    /// This run of the process.
    pub run_id: RunId,
    /// The newest picture.
    pub latest: Arc<Latest>,
    /// What has been published, in order.
    pub events: mpsc::Receiver<Published>,
    /// Where to ask for something.
    pub asks: mpsc::Sender<Ask>,
    /// Where to ask for what is counted.
    pub facts: mpsc::Sender<oneshot::Sender<Facts>>,
}

/// What is counted, for metrics. Made when it is asked for.
#[derive(Clone, Debug)]
pub struct Facts {
    /// `INFO`, without the section about masters.
    pub info: String,
    /// `sentinel_running_scripts`
    pub scripts_running: usize,
    /// `sentinel_scripts_queue_length`
    pub scripts_queued: usize,
    /// `sentinel_simulate_failure_flags`
    pub simulated_failures: u8,
    /// How long ago each master last answered PING, by name.
    pub last_pings: Vec<(MasterName, Duration)>,
    /// What failovers that were led here have come to.
    pub failovers: FailoverStats,
    /// How long instances have taken to answer PING.
    pub probes: Histogram,
    /// What the loop has counted.
    pub counters: Counters,
}

/// What the loop counts about itself.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// How late it was, each time that it woke.
    pub delays: Histogram,
    /// How often the state could not be written.
    pub save_errors: u64,
    /// How often each event has happened.
    pub events: BTreeMap<EventKind, u64>,
}

/// The newest picture, and when the loop last ran.
#[derive(Debug)]
pub struct Latest {
    view: ArcSwap<SentinelView>,
    beat_ms: AtomicU64,
}

impl Latest {
    /// A picture that is shown until the next.
    pub fn new(view: SentinelView) -> Latest {
        Latest {
            beat_ms: AtomicU64::new(view.at.mono.0),
            view: ArcSwap::from_pointee(view),
        }
    }

    /// The newest picture. It is as old as the last change: see [`Latest::beat`].
    pub fn view(&self) -> Arc<SentinelView> {
        self.view.load_full()
    }

    /// When the loop last ran: until then the picture was right.
    pub fn beat(&self) -> Mono {
        Mono(self.beat_ms.load(Ordering::Acquire))
    }

    /// Shows another picture.
    pub fn show(&self, view: SentinelView) {
        self.view.store(Arc::new(view));
    }

    /// The loop runs, and what is shown is right.
    fn beat_at(&self, at: Mono) {
        self.beat_ms.store(at.0, Ordering::Release);
    }
}

/// An event, as it went to the subscribers.
#[derive(Clone, Debug)]
pub struct Published {
    /// Counted from 1 in each run of the process.
    pub number: u64,
    /// When.
    pub at: UnixMillis,
    /// What.
    pub event: Event,
}

/// A request to the core.
#[derive(Debug)]
pub struct Ask {
    /// What to do.
    pub request: Operator,
    /// Where the answer goes; dropped when the loop has too much to do.
    pub reply: oneshot::Sender<Value>,
}

/// The loop's end.
#[derive(Debug)]
pub(super) struct Shown {
    latest: Arc<Latest>,
    picture: Picture,
    next_at: Mono,
    events: mpsc::Sender<Published>,
    published: u64,
}

impl Shown {
    /// Both ends; the other is for another thread.
    pub(super) fn new(
        core: &mut Sentinel,
        clock: Clock,
        run_id: RunId,
        asks: mpsc::Sender<Ask>,
        facts: mpsc::Sender<oneshot::Sender<Facts>>,
    ) -> (Shown, Surface) {
        core.begin_views();
        let now = clock.now();
        let mut picture = Picture::default();
        let latest = Arc::new(Latest::new(picture.refresh(core, now)));
        let (sender, events) = mpsc::channel(EVENTS_QUEUED_MAX);
        let surface = Surface {
            clock,
            run_id,
            latest: Arc::clone(&latest),
            events,
            asks,
            facts,
        };
        let shown = Shown {
            latest,
            picture,
            next_at: now.mono,
            events: sender,
            published: 0,
        };
        (shown, surface)
    }

    /// Shows what has changed: at once where it is of consequence, else now and then.
    pub(super) fn refresh(&mut self, core: &mut Sentinel, now: Now) {
        let is_due = match core.view_wanted() {
            Wanted::Nothing => false,
            Wanted::Soon => self.next_at <= now.mono,
            Wanted::Now => true,
        };
        if is_due {
            self.next_at = now.mono + PICTURE_PERIOD;
            self.latest.show(self.picture.refresh(core, now));
        }
        self.latest.beat_at(now.mono);
    }

    /// Hands an event over, if there is room.
    pub(super) fn tell(&mut self, at: UnixMillis, event: &Event) {
        self.published += 1;
        // A reader that does not keep up sees a number missing.
        let _ = self.events.try_send(Published {
            number: self.published,
            at,
            event: event.clone(),
        });
    }
}

/// Requests of other threads that the core has not answered.
#[derive(Debug)]
pub(super) struct OpenAsks {
    next: u64,
    open: HashMap<ReplyTo, oneshot::Sender<Value>>,
}

impl Default for OpenAsks {
    fn default() -> OpenAsks {
        OpenAsks {
            next: FIRST_ASK,
            open: HashMap::new(),
        }
    }
}

impl OpenAsks {
    /// Where the core is to send the answer; `None` when there are too many.
    pub(super) fn begin(&mut self, reply: oneshot::Sender<Value>) -> Option<ReplyTo> {
        if self.open.len() >= ASKS_OPEN_MAX {
            return None;
        }
        let to = ReplyTo(self.next);
        self.next += 1;
        self.open.insert(to, reply);
        Some(to)
    }

    /// Gives an answer to whom it is for. False: to none of these.
    pub(super) fn answer(&mut self, to: ReplyTo, reply: &Value) -> bool {
        if to.0 < FIRST_ASK {
            return false;
        }
        if let Some(waiting) = self.open.remove(&to) {
            // Who asked may have given up.
            let _ = waiting.send(reply.clone());
        }
        true
    }
}

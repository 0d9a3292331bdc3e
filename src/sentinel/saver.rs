//! Writing the durable state: on a thread of its own, one write at a time, the newest state next.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use tokio::sync::mpsc;

use super::core::{Durable, Input, Seq};
use crate::clock::Mono;

/// How long a change that may wait does wait, so that discoveries are written together.
const LAZY_DELAY: Duration = Duration::from_millis(75);

/// How long a write may take before it counts as failed, until it ends after all. A write that hangs
/// must be said, and whoever waits for it must get an answer.
const WRITE_PATIENCE: Duration = Duration::from_secs(5);

/// Puts a state on disk; the error is the operating system's text.
pub type Save = Box<dyn FnMut(&Snapshot) -> Result<(), String> + Send>;

/// What is written.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Which state this is.
    pub seq: Seq,
    /// What the core must not forget.
    pub durable: Durable,
    /// The users as `ACL LIST` shows them; empty where they are kept in a file of their own.
    pub users: Vec<String>,
}

/// What became of a write.
#[derive(Debug, PartialEq, Eq)]
pub struct Saved {
    seq: Seq,
    result: Result<(), String>,
}

impl Saved {
    /// Whether the state is on disk now.
    pub fn is_ok(&self) -> bool {
        self.result.is_ok()
    }
}

impl From<Saved> for Input {
    fn from(saved: Saved) -> Input {
        match saved.result {
            Ok(()) => Input::Persisted(saved.seq),
            Err(error) => Input::PersistFailed {
                seq: saved.seq,
                error,
            },
        }
    }
}

/// When to write, and the thread that does.
#[derive(Debug)]
pub struct Saver {
    work: SyncSender<Snapshot>,
    /// When the present state is to be written; `None`: it is written, or being written.
    due: Option<Mono>,
    /// A write is on its way.
    in_flight: bool,
    /// When that write counts as failed.
    overdue_at: Mono,
    pub(super) patience: Duration,
}

impl Saver {
    /// Starts the writing thread; receive what becomes of each write and give it to [`Saver::ended`].
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(save: Save) -> std::io::Result<(Saver, mpsc::Receiver<Saved>)> {
        let (work, queue) = sync_channel(1);
        let (results, received) = mpsc::channel(1);
        std::thread::Builder::new()
            .name("state-writer".to_owned())
            .spawn(move || write_all(save, &queue, &results))?;
        let saver = Saver {
            work,
            due: None,
            in_flight: false,
            overdue_at: Mono::NEVER,
            patience: WRITE_PATIENCE,
        };
        Ok((saver, received))
    }

    /// The state has changed.
    pub fn changed(&mut self, now: Mono, urgent: bool) {
        let due = if urgent { now } else { now + LAZY_DELAY };
        self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
    }

    /// When [`Saver::write_if_due`] or [`Saver::overdue`] has something to do.
    pub fn next_deadline(&self) -> Mono {
        if self.in_flight {
            self.overdue_at
        } else {
            self.due.unwrap_or(Mono::NEVER)
        }
    }

    /// Starts a write if one is due and none is on its way.
    pub fn write_if_due(&mut self, now: Mono, state: impl FnOnce() -> Snapshot) {
        if self.in_flight || self.next_deadline() > now {
            return;
        }
        self.due = None;
        self.in_flight = true;
        self.overdue_at = now + self.patience;
        // One write at a time, so there is room; the thread lives as long as this end.
        if let Err(error) = self.work.try_send(state()) {
            tracing::error!("the state cannot be written: {error}");
        }
    }

    /// A failure, when the present write takes too long; again after as long, for what has begun to
    /// wait since then. `newest` is the number of the present state: nothing up to it can become durable
    /// before the write ends, so nobody is to wait for that. How it ends is told by [`Saver::start`]'s
    /// receiver all the same.
    pub fn overdue(&mut self, now: Mono, newest: Seq) -> Option<Saved> {
        if !self.in_flight || self.overdue_at > now {
            return None;
        }
        self.overdue_at = now + self.patience;
        Some(Saved {
            seq: newest,
            result: Err("the disk does not answer".to_owned()),
        })
    }

    /// This process did not run for so long: a write may have ended without our hearing of it.
    pub fn stood_still(&mut self, late: Duration) {
        if self.in_flight {
            self.overdue_at += late;
        }
    }

    /// A write has ended.
    pub fn ended(&mut self) {
        self.in_flight = false;
    }

    /// True while a change is not on disk yet.
    pub fn is_behind(&self) -> bool {
        self.in_flight || self.due.is_some()
    }

    /// Whatever has changed is due now.
    pub fn hurry(&mut self, now: Mono) {
        if let Some(due) = &mut self.due {
            *due = now;
        }
    }
}

fn write_all(mut save: Save, queue: &Receiver<Snapshot>, results: &mpsc::Sender<Saved>) {
    while let Ok(snapshot) = queue.recv() {
        let seq = snapshot.seq;
        let result = save(&snapshot);
        if results.blocking_send(Saved { seq, result }).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(seq: u64) -> Snapshot {
        Snapshot {
            seq: Seq(seq),
            ..Snapshot::default()
        }
    }

    #[tokio::test]
    async fn one_write_at_a_time_and_the_newest_next() {
        let (written, mut log) = mpsc::channel(8);
        let save: Save = Box::new(move |snapshot| {
            written.blocking_send(snapshot.seq.0).unwrap();
            match snapshot.seq.0 {
                3 => Err("disk full".to_owned()),
                _ => Ok(()),
            }
        });
        let (mut saver, mut results) = Saver::start(save).unwrap();
        saver.changed(Mono(1000), true);
        saver.write_if_due(Mono(1000), || state(1));
        // Two more changes while the first is being written become one write.
        saver.changed(Mono(1000), true);
        saver.write_if_due(Mono(1000), || unreachable!("one is on its way"));
        saver.changed(Mono(1001), true);
        assert!(saver.is_behind());
        let first = results.recv().await.unwrap();
        saver.ended();
        assert!(matches!(first.into(), Input::Persisted(Seq(1))));
        saver.write_if_due(Mono(1002), || state(3));
        let second = results.recv().await.unwrap();
        saver.ended();
        assert!(
            matches!(second.into(), Input::PersistFailed { seq: Seq(3), error } if error == "disk full")
        );
        assert!(!saver.is_behind());
        assert_eq!((log.recv().await, log.recv().await), (Some(1), Some(3)));
    }

    #[tokio::test]
    async fn a_write_that_hangs_is_a_failure_until_it_ends() {
        let (release, wait) = sync_channel::<()>(1);
        let save: Save = Box::new(move |_| wait.recv().map_err(|error| error.to_string()));
        let (mut saver, mut results) = Saver::start(save).unwrap();
        saver.changed(Mono(1000), true);
        saver.write_if_due(Mono(1000), || state(1));
        saver.changed(Mono(1001), true);
        saver.stood_still(Duration::from_millis(10));
        assert_eq!(saver.next_deadline(), Mono(6010));
        assert_eq!(saver.overdue(Mono(6009), Seq(2)), None);
        let overdue = saver.overdue(Mono(6010), Seq(2)).unwrap();
        assert!(matches!(
            overdue.into(),
            Input::PersistFailed { seq: Seq(2), .. }
        ));
        assert_eq!(saver.overdue(Mono(6011), Seq(2)), None, "said already");
        saver.write_if_due(Mono(6011), || unreachable!("one is on its way"));
        release.send(()).unwrap();
        let ended = results.recv().await.unwrap();
        saver.ended();
        assert!(matches!(ended.into(), Input::Persisted(Seq(1))));
        assert_eq!(saver.next_deadline(), Mono(1001), "the newer state");
    }

    #[tokio::test]
    async fn what_may_wait_waits_unless_hurried() {
        let (mut saver, _results) = Saver::start(Box::new(|_| Ok(()))).unwrap();
        saver.changed(Mono(1000), false);
        saver.changed(Mono(1050), false);
        assert_eq!(saver.next_deadline(), Mono(1075));
        saver.write_if_due(Mono(1074), || unreachable!("not due"));
        saver.hurry(Mono(1074));
        saver.write_if_due(Mono(1074), || state(1));
        assert_eq!(saver.next_deadline(), Mono(1074) + WRITE_PATIENCE);
        saver.ended();
        assert_eq!(saver.next_deadline(), Mono::NEVER);
    }
}

//! Writing what the units have appended: once for all clients of a round, before any of their replies leaves.
//!
//! Positions are counts of bytes since the start of the process: `appended` ≥ `written` ≥ `synced`. A reply waits
//! until everything before it is written or, with `appendfsync always`, synced. An fsync always runs on another
//! thread. A write does so while an fsync is in progress, because the kernel may make it wait; with `everysec` no
//! reply waits for the fsync itself, however long it takes. What tells nothing of the data never waits (`wait.rs`).
//! But a file gets its first bytes when all before it is durable, whatever the policy, so the first replies of a
//! rewrite wait for one fsync: a power cut tears the last file alone, which a start can mend.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::State;
use super::settings::Fsync;
use crate::clock::{Clock, Mono};
use crate::config::forms::os_text;
use crate::front::WaitId;
use crate::server::Server;
use crate::server::persist::disk::sync_data;

/// Between the beginnings of two fsyncs with `everysec`; the clock that looks at it adds a tenth of a second.
const SYNC_PERIOD: Duration = Duration::from_millis(900);
/// An fsync that takes longer is complained about.
const SYNC_PATIENCE: Duration = Duration::from_secs(2);
/// After a failed write, before the next attempt.
const RETRY_PERIOD: Duration = Duration::from_secs(1);
/// A replica applies nothing more while this much waits to be written. Bytes. Clients need no such bound: the
/// next command of each waits until its last ones are written.
const PENDING_BYTES_MAX: u64 = 64 << 20;
/// The largest buffer that is kept for the next round. Bytes.
const SPARE_BYTES_MAX: usize = 1 << 20;

/// A file to which units are appended.
#[derive(Debug)]
struct Target {
    file: File,
    /// How much was appended before it became the target. Of two files with bytes the newer one has more.
    start: u64,
}

/// Bytes for one file.
#[derive(Debug)]
struct Segment {
    to: Arc<Target>,
    bytes: Vec<u8>,
}

/// What the buffers of these take. Bytes.
fn memory_of(segments: &VecDeque<Segment>) -> usize {
    let each = segments.iter().map(|segment| segment.bytes.capacity());
    each.sum()
}

/// What waits to be written, and how far writing is.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    /// Where new bytes go; `None`: nothing is recorded.
    target: Option<Arc<Target>>,
    pending: VecDeque<Segment>,
    spare: Vec<u8>,
    /// Files with bytes that may not be durable.
    dirty: Vec<Arc<Target>>,
    appended: u64,
    written: u64,
    synced: u64,
    /// A durable base holds everything that was appended before this, and the files of that time are retired.
    retired_until: u64,
    /// A write is in progress on another thread.
    is_writing: bool,
    /// The memory of the buffers that are with it.
    lent_bytes: usize,
    /// No other is to begin.
    is_held: bool,
    /// An fsync is in progress since then.
    sync_since: Option<Mono>,
    last_sync: Mono,
    /// An fsync is wanted whatever the policy says.
    sync_now: bool,
    /// When that fsync began which was last complained about.
    late: Option<Mono>,
    /// `DEBUG AOF-FLUSH-SLEEP`: every write takes so much longer, on another thread.
    pub(crate) write_sleep: Duration,
    /// `aof_delayed_fsync`
    pub(crate) delayed: u64,
    /// Why the last write failed, in the system's words.
    write_error: Option<String>,
    /// Why the last fsync failed.
    sync_error: Option<String>,
    retry_at: Mono,
    /// Writes and fsyncs begun so far.
    attempts: u64,
    /// The newest of them that is known to have failed.
    failed_attempt: u64,
    /// Held replies, and what must be written or synced before they leave.
    waiting: VecDeque<(u64, WaitId)>,
    /// Work on another thread has ended.
    pub(crate) progress: Rc<Notify>,
}

impl Writer {
    /// Whether units are to be appended.
    pub(crate) fn is_recording(&self) -> bool {
        self.target.is_some()
    }

    /// Bytes appended so far.
    pub(crate) fn appended(&self) -> u64 {
        self.appended
    }

    /// Bytes that wait to be written.
    pub(crate) fn pending_bytes(&self) -> u64 {
        self.appended - self.written
    }

    /// The memory of the buffers of what waits to be written. Bytes.
    pub(crate) fn buffer_bytes(&self) -> u64 {
        (self.lent_bytes + self.spare.capacity() + memory_of(&self.pending)) as u64
    }

    /// Whether everything that was appended is durable.
    pub(crate) fn is_settled(&self) -> bool {
        self.synced == self.appended
    }

    /// Whether an fsync is in progress.
    pub(crate) fn is_syncing(&self) -> bool {
        self.sync_since.is_some()
    }

    /// Why writes are to be refused, in the system's words.
    pub(crate) fn error(&self) -> Option<&str> {
        self.write_error.as_deref().or(self.sync_error.as_deref())
    }

    /// Whether so much waits that a replica must stop to apply.
    pub(crate) fn is_congested(&self) -> bool {
        self.pending_bytes() > PENDING_BYTES_MAX
    }

    /// Sends what is appended from now on to this file, or nowhere. What was in the old one becomes durable.
    pub(crate) fn switch(&mut self, to: Option<File>) {
        self.sync_now |= self.target.is_some();
        let start = self.appended;
        self.target = to.map(|file| Arc::new(Target { file, start }));
        if self.target.is_none() {
            self.spare = Vec::new();
        }
    }

    /// A durable base has taken the place of the files to which units went until so much was appended. Nothing
    /// depends on them any more: what they still lack is given up, and so is the trouble with it.
    pub(crate) fn retire(&mut self, until: u64) {
        self.retired_until = self.retired_until.max(until);
        self.retry_at = Mono(0);
        self.forget_retired();
    }

    /// The first base, without which the present file does not count, has failed: the next attempt begins with the data
    /// of its own moment, and nobody needs what could not be written.
    pub(super) fn give_up_increment(&mut self) {
        self.switch(None);
        self.retire(self.appended);
    }

    /// A copy of the present file, durable and complete but for what is pending, takes its place. Until `base` the
    /// units are in a base. Writes must be held.
    pub(super) fn move_to(&mut self, copy: File, base: u64) {
        self.retire(base);
        let start = self.written;
        let copy = Arc::new(Target { file: copy, start });
        for segment in &mut self.pending {
            segment.to = Arc::clone(&copy);
        }
        self.target = self.target.is_some().then_some(copy);
        self.retire(start);
    }

    fn is_retired(&self, target: &Target) -> bool {
        target.start < self.retired_until
    }

    /// Forgets what is for retired files. While a write is in progress only its end can do that.
    fn forget_retired(&mut self) {
        if self.is_writing {
            return;
        }
        let until = self.retired_until;
        self.pending.retain(|segment| segment.to.start >= until);
        self.dirty.retain(|target| target.start >= until);
        self.count_written();
        self.synced = self.synced.max(until);
        if self.pending.is_empty() {
            self.write_works();
        }
        if self.dirty.is_empty() && self.sync_since.is_none() {
            self.sync_error = None;
        }
    }

    /// With the file off nobody needs what cannot be written or made durable. While a write is in progress only its
    /// end can give up.
    fn give_up(&mut self) {
        if !self.is_writing {
            self.pending.clear();
            self.dirty.clear();
            (self.write_error, self.sync_error) = (None, None);
            self.count_written();
            self.synced = self.written;
        }
    }

    /// Appends what `write` writes; how many bytes that were.
    pub(crate) fn append(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> u64 {
        let Some(target) = &self.target else {
            return 0;
        };
        let is_open = |last: &Segment| Arc::ptr_eq(&last.to, target);
        if !self.pending.back().is_some_and(is_open) {
            self.pending.push_back(Segment {
                to: Arc::clone(target),
                bytes: std::mem::take(&mut self.spare),
            });
        }
        let Some(last) = self.pending.back_mut() else {
            return 0;
        };
        let before = last.bytes.len();
        write(&mut last.bytes);
        let count = (last.bytes.len() - before) as u64;
        self.appended += count;
        count
    }

    /// Up to where replies may leave.
    pub(crate) fn settled(&self, must_sync: bool) -> u64 {
        if self.write_error.is_some() {
            // As in redis-server: these have been executed, the next ones will be refused.
            self.appended
        } else if must_sync {
            self.synced
        } else {
            self.written
        }
    }

    /// With no write in progress, what is not pending is written.
    fn count_written(&mut self) {
        let pending = self
            .pending
            .iter()
            .map(|segment| segment.bytes.len() as u64);
        self.written = self.appended - pending.sum::<u64>();
    }

    fn note_dirty(&mut self, targets: Vec<Arc<Target>>) {
        for target in targets {
            if !self.dirty.iter().any(|known| Arc::ptr_eq(known, &target)) {
                self.dirty.push(target);
            }
        }
    }

    fn write_works(&mut self) {
        if self.write_error.take().is_some() {
            tracing::warn!("AOF write error looks solved, Redis can write again.");
        }
    }

    /// The end of a write that tried to write everything.
    fn note_result(&mut self, error: Option<io::Error>, now: Mono) {
        match error {
            None => self.write_works(),
            Some(error) => {
                let text = os_text(&error);
                if self.write_error.as_ref() != Some(&text) {
                    tracing::error!("Error writing to the AOF file: {text}");
                }
                self.write_error = Some(text);
                self.retry_at = now + RETRY_PERIOD;
            }
        }
    }

    /// The end of an fsync that may have failed.
    fn note_sync_error(&mut self, error: Option<io::Error>) {
        let Some(text) = error.as_ref().map(os_text) else {
            return;
        };
        if self.sync_error.as_ref() != Some(&text) {
            tracing::error!("Fail to fsync the AOF file: {text}");
        }
        self.sync_error = Some(text);
    }

    /// How many of the pending segments may be written: a file gets its first bytes when all before it is durable. Where
    /// that fails it gets them all the same, as the rewrite that has begun is the way out.
    fn writable(&self) -> usize {
        let must_wait = |segment: &Segment| self.synced < segment.to.start;
        let first = self.pending.iter().position(must_wait);
        first
            .filter(|_| self.sync_error.is_none())
            .unwrap_or(self.pending.len())
    }

    /// How what is pending is to be written now; `None` if nothing is, or it cannot be.
    fn way_to_write(&mut self, must_sync: bool, now: Mono) -> Option<Way> {
        let has_pending = self.writable() > 0;
        let is_retry_due = self.write_error.is_none() || now >= self.retry_at;
        if !has_pending || self.is_writing || self.is_held || !is_retry_due {
            return None;
        }
        match self.sync_since {
            None if must_sync => Some(Way::WithSync),
            None if self.write_sleep.is_zero() => Some(Way::Here),
            None => Some(Way::Beside),
            Some(_) if must_sync => None,
            Some(since) => {
                if now.since(since) >= SYNC_PATIENCE {
                    self.complain(since);
                }
                Some(Way::Beside)
            }
        }
    }

    /// The present fsync takes so long that a power cut would take more than the last second.
    fn complain(&mut self, since: Mono) {
        if self.late != Some(since) {
            self.late = Some(since);
            self.delayed += 1;
            tracing::warn!(
                "Asynchronous AOF fsync is taking too long (disk is busy?). Writes go on without waiting for it: they \
                 survive the end of the process, but a power cut loses what came since it began."
            );
        }
    }

    /// A write or an fsync begins; its number.
    fn begin_attempt(&mut self) -> u64 {
        self.attempts += 1;
        self.attempts
    }

    /// Writes everything on this thread; what failed is still to be noted.
    fn write_here(&mut self) -> Option<io::Error> {
        let attempt = self.begin_attempt();
        let count = self.writable();
        let outcome = write_out(&mut self.pending, count);
        if outcome.error.is_some() {
            self.failed_attempt = attempt;
        }
        let is_wanted = self.is_recording() && self.pending.is_empty();
        if is_wanted && outcome.spare.capacity() <= SPARE_BYTES_MAX {
            self.spare = outcome.spare;
        }
        self.count_written();
        self.note_dirty(outcome.targets);
        outcome.error
    }
}

/// How what is pending is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// On this thread.
    Here,
    /// On another thread, because an fsync is in progress, or it is to sleep first.
    Beside,
    /// On another thread, together with an fsync.
    WithSync,
}

/// What a write came to.
#[derive(Debug, Default)]
struct Outcome {
    bytes: u64,
    targets: Vec<Arc<Target>>,
    error: Option<io::Error>,
    /// An empty buffer.
    spare: Vec<u8>,
}

/// Writes the first `count` segments in their order; those that could not be written stay. A write that succeeds in part
/// is taken back, so that the file ends with a complete unit.
fn write_out(segments: &mut VecDeque<Segment>, count: usize) -> Outcome {
    let mut outcome = Outcome::default();
    for _ in 0..count {
        let Some(segment) = segments.front_mut() else {
            break;
        };
        let (done, error) = write_segment(segment);
        outcome.bytes += done;
        if done > 0 {
            outcome.targets.push(Arc::clone(&segment.to));
        }
        if error.is_some() {
            outcome.error = error;
            break;
        }
        if let Some(Segment { mut bytes, .. }) = segments.pop_front() {
            bytes.clear();
            outcome.spare = bytes;
        }
    }
    outcome
}

/// How many bytes of the segment are in the file now; they are no longer in the segment.
fn write_segment(segment: &mut Segment) -> (u64, Option<io::Error>) {
    let mut file = &segment.to.file;
    let mut done = 0;
    let mut error = None;
    while error.is_none() && done < segment.bytes.len() {
        match file.write(&segment.bytes[done..]) {
            Ok(0) => error = Some(io::ErrorKind::WriteZero.into()),
            Ok(count) => done += count,
            Err(found) if found.kind() == io::ErrorKind::Interrupted => {}
            Err(found) => error = Some(found),
        }
    }
    if error.is_none() {
        return (done as u64, None);
    }
    if done > 0 {
        let len = file.metadata().map(|found| found.len());
        let taken_back = len.and_then(|len| file.set_len(len.saturating_sub(done as u64)));
        if let Err(error) = taken_back {
            // Then the rest of it must follow.
            tracing::error!(%error, "Could not remove a short write from the append-only file");
            segment.bytes.drain(..done);
            return (done as u64, Some(error));
        }
    }
    (0, error)
}

/// Work for another thread.
struct Job {
    segments: VecDeque<Segment>,
    dirty: Vec<Arc<Target>>,
    sync: bool,
    write: bool,
    /// Its number among the attempts.
    attempt: u64,
    sleep: Duration,
    clock: Clock,
}

/// How long the parts of a job took.
#[derive(Clone, Copy, Debug)]
struct Took {
    write: Duration,
    sync: Duration,
}

impl Job {
    /// Writes and syncs; what could not be done is left in the job.
    fn run(&mut self) -> (Outcome, io::Result<()>, Took) {
        let begun = self.clock.nanos();
        std::thread::sleep(self.sleep);
        let count = self.segments.len();
        let outcome = write_out(&mut self.segments, count);
        let written = self.clock.nanos();
        self.dirty.extend(outcome.targets.iter().cloned());
        let synced = if self.sync && outcome.error.is_none() {
            let mut dirty = self.dirty.iter();
            dirty.try_for_each(|target| sync_data(&target.file))
        } else {
            Ok(())
        };
        let took = Took {
            write: Duration::from_nanos(written.saturating_sub(begun)),
            sync: Duration::from_nanos(self.clock.nanos().saturating_sub(written)),
        };
        (outcome, synced, took)
    }
}

impl Server {
    /// Whether nobody may hear of a write that is not in the file, whatever puts off fsyncs.
    fn is_always(&self) -> bool {
        self.config.aof.fsync == Fsync::Always
    }

    /// Whether replies wait for an fsync.
    fn must_sync(&self) -> bool {
        self.is_always() && self.may_sync()
    }

    /// Whether the policy asks for fsyncs now.
    fn may_sync(&self) -> bool {
        let is_saving = self.saver.is_saving() || self.aof.rewriting.is_running();
        let is_put_off = self.config.aof.no_fsync_on_rewrite && is_saving;
        self.config.aof.fsync != Fsync::No && !is_put_off
    }

    /// Whether nothing is safe, although it is to be: the file holds other data until its first base is in force. A
    /// replica's clients need not wait for that, since its master has what they see.
    fn awaits_base(&self) -> bool {
        // Whether a rewrite puts off fsyncs does not matter: without its base nothing that is synced counts.
        self.aof.is_outdated && self.replication.is_master() && self.is_always()
    }

    /// Whether there is something that a reply of this moment must wait for.
    pub(crate) fn has_unsettled_aof(&self) -> bool {
        let writer = &self.aof.writer;
        let is_settled = || writer.appended <= writer.settled(self.must_sync());
        self.awaits_base() || writer.appended != writer.synced && !is_settled()
    }

    /// Up to where replies may leave; `None`: none may.
    fn settled_aof(&self) -> Option<u64> {
        (!self.awaits_base()).then(|| self.aof.writer.settled(self.must_sync()))
    }

    /// Releases held replies as soon as everything before `position` is as safe as configured.
    pub(crate) fn release_when_settled(&mut self, position: u64, on: WaitId) {
        if self
            .settled_aof()
            .is_some_and(|settled| position <= settled)
        {
            self.release(on);
        } else {
            self.aof.writer.waiting.push_back((position, on));
        }
    }

    fn release_settled(&mut self) {
        let Some(settled) = self.settled_aof() else {
            return;
        };
        while let Some((position, on)) = self.aof.writer.waiting.front().copied() {
            if position > settled {
                break;
            }
            self.aof.writer.waiting.pop_front();
            self.release(on);
        }
    }

    /// Writes and syncs what is due, and lets the replies go that waited for it.
    pub(crate) fn advance_aof(&mut self) {
        let (may_sync, must_sync) = (self.may_sync(), self.must_sync());
        let now = self.clock.mono();
        let writer = &mut self.aof.writer;
        if self.aof.state == State::Off && writer.error().is_some() {
            writer.give_up();
        }
        if writer.synced == writer.appended && writer.waiting.is_empty() {
            return;
        }
        match writer.way_to_write(must_sync, now) {
            Some(Way::Here) => self.write_aof_here(now),
            Some(Way::Beside) => self.start_aof_job(true, false),
            Some(Way::WithSync) => self.start_aof_job(true, true),
            None => {}
        }
        let writer = &self.aof.writer;
        let is_due = may_sync && (must_sync || now.since(writer.last_sync) >= SYNC_PERIOD);
        let is_free = writer.sync_since.is_none() && !writer.is_writing;
        let is_awaited = writer.writable() < writer.pending.len();
        if writer.synced < writer.written && is_free && (is_due || writer.sync_now || is_awaited) {
            self.start_aof_job(false, true);
        }
        self.release_settled();
    }

    /// Lets writes begin again.
    pub(super) fn release_writes(&mut self) {
        self.aof.writer.is_held = false;
        self.advance_aof();
        self.aof.writer.progress.notify_waiters();
    }

    fn write_aof_here(&mut self, now: Mono) {
        let begun = self.clock.nanos();
        let mut error = self.aof.writer.write_here();
        let took = Duration::from_nanos(self.clock.nanos().saturating_sub(begun));
        self.note_aof_write(took, false);
        if let Some(reason) = error.as_ref().filter(|_| self.is_always()).map(os_text) {
            self.fail_unsafe(reason);
            error = None;
        }
        self.aof.writer.note_result(error, now);
    }

    /// What is to be safe before anybody hears of it is not: that ends the process, as nothing else keeps it from being
    /// heard of. Before the first base only the attempt has failed.
    fn fail_unsafe(&mut self, reason: String) {
        if self.aof.state != State::First {
            tracing::error!(
                "Can't recover from AOF write error when the AOF fsync policy is 'always' ({reason}). Exiting..."
            );
            std::process::exit(1);
        }
        // Nothing is kept yet, and so nothing is lost.
        self.fail_first_base(reason);
    }

    /// Keeps a write that took long for `LATENCY`, under its own name and one that tells what may have held it up.
    fn note_aof_write(&mut self, took: Duration, is_beside_sync: bool) {
        let is_saving = self.saver.is_saving() || self.aof.rewriting.is_running();
        self.note_latency(
            match (is_beside_sync, is_saving) {
                (true, _) => "aof-write-pending-fsync",
                (false, true) => "aof-write-active-child",
                (false, false) => "aof-write-alone",
            },
            took,
        );
        self.note_latency("aof-write", took);
    }

    /// Writes, syncs, or both, on another thread.
    fn start_aof_job(&mut self, write: bool, sync: bool) {
        let now = self.clock.mono();
        let writer = &mut self.aof.writer;
        let mut job = Job {
            segments: VecDeque::new(),
            dirty: Vec::new(),
            sync,
            write,
            attempt: writer.begin_attempt(),
            sleep: if write {
                writer.write_sleep
            } else {
                Duration::ZERO
            },
            clock: self.clock,
        };
        if write {
            writer.is_writing = true;
            let later = writer.pending.split_off(writer.writable());
            job.segments = std::mem::replace(&mut writer.pending, later);
            writer.lent_bytes = memory_of(&job.segments);
        }
        if sync {
            writer.sync_since = Some(now);
            writer.last_sync = now;
            writer.sync_now = false;
            job.dirty = std::mem::take(&mut writer.dirty);
        }
        let written = writer.written;
        let server = self.handle();
        tokio::task::spawn_local(async move {
            let ended = tokio::task::spawn_blocking(move || {
                let (outcome, synced, took) = job.run();
                (job, outcome, synced, took)
            });
            // Work that panicked has ended the process.
            if let Ok((job, outcome, synced, took)) = ended.await {
                let server = &mut *server.borrow_mut();
                if job.write {
                    server.note_aof_write(took.write, !job.sync);
                }
                if job.sync && server.must_sync() {
                    server.note_latency("aof-fsync-always", took.sync);
                }
                server.aof_job_ended(job, written, outcome, synced);
            }
        });
    }

    fn aof_job_ended(
        &mut self,
        job: Job,
        written_before: u64,
        outcome: Outcome,
        synced: io::Result<()>,
    ) {
        let now = self.clock.mono();
        let (is_always, must_sync) = (self.is_always(), self.must_sync());
        let writer = &mut self.aof.writer;
        let is_complete = job.sync && outcome.error.is_none();
        if outcome.error.is_some() || synced.is_err() {
            writer.failed_attempt = writer.failed_attempt.max(job.attempt);
        }
        // No trouble with a retired file counts.
        let is_retired = |target: &Arc<Target>| writer.is_retired(target);
        let failed = job.segments.front().map(|segment| &segment.to);
        let mut write_error = outcome.error.filter(|_| !failed.is_some_and(is_retired));
        let mut sync_error = synced.err().filter(|_| !job.dirty.iter().all(is_retired));
        let unwritten = write_error.as_ref().filter(|_| is_always);
        let unsynced = sync_error.as_ref().filter(|_| must_sync);
        if let Some(reason) = unwritten.or(unsynced).map(os_text) {
            self.fail_unsafe(reason);
            (write_error, sync_error) = (None, None);
        }
        let writer = &mut self.aof.writer;
        if job.write {
            writer.is_writing = false;
            writer.lent_bytes = 0;
            for segment in job.segments.into_iter().rev() {
                writer.pending.push_front(segment);
            }
            writer.count_written();
            writer.note_result(write_error, now);
        }
        if job.sync {
            writer.sync_since = None;
        }
        if is_complete && sync_error.is_none() {
            writer.synced = writer.synced.max(written_before + outcome.bytes);
            if writer.sync_error.take().is_some() {
                // What the failed one should have made durable may be gone all the same.
                tracing::warn!("fsync of the append-only file works again: rewriting it");
                self.aof.rewriting.is_scheduled = true;
            }
        } else {
            writer.note_dirty(job.dirty);
            writer.note_sync_error(sync_error);
        }
        writer.forget_retired();
        self.aof.writer.progress.notify_waiters();
        self.advance_aof();
    }
}

/// Lets no further write begin, and waits for the end of the present one. Replies that need a write wait as well.
pub(super) async fn hold_writes(server: &Rc<RefCell<Server>>) {
    server.borrow_mut().aof.writer.is_held = true;
    loop {
        let progress = {
            let writer = &server.borrow().aof.writer;
            if !writer.is_writing {
                return;
            }
            Rc::clone(&writer.progress)
        };
        progress.notified().await;
    }
}

/// Waits until everything that has been appended is durable. Gives up only when an attempt that was begun for it has
/// failed: what failed before may work now, so it is tried at once, whatever the next attempt was put off to.
pub(crate) async fn settle(server: &Rc<RefCell<Server>>) {
    let (goal, before) = {
        let writer = &server.borrow().aof.writer;
        (writer.appended, writer.attempts)
    };
    loop {
        let progress = {
            let server = &mut *server.borrow_mut();
            server.aof.writer.sync_now = true;
            server.aof.writer.retry_at = Mono(0);
            server.advance_aof();
            let writer = &server.aof.writer;
            if writer.synced >= goal || writer.failed_attempt > before {
                return;
            }
            Rc::clone(&writer.progress)
        };
        progress.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::persist::aof::folder::Folder;
    use crate::server::testing;
    use std::fs;

    fn append(writer: &mut Writer, text: &str) {
        writer.append(|out| out.extend_from_slice(text.as_bytes()));
    }

    fn write_here(writer: &mut Writer, now: Mono) {
        let error = writer.write_here();
        writer.note_result(error, now);
    }

    fn open(path: &std::path::Path) -> File {
        let options = fs::OpenOptions::new().create(true).append(true).open(path);
        options.unwrap()
    }

    #[test]
    fn what_is_appended_before_a_switch_goes_to_the_old_file() {
        let dir = tempfile::TempDir::new().unwrap();
        let (old, new) = (dir.path().join("old"), dir.path().join("new"));
        let mut writer = Writer::default();
        append(&mut writer, "nowhere");
        assert_eq!(writer.appended(), 0);
        writer.switch(Some(open(&old)));
        append(&mut writer, "a");
        append(&mut writer, "b");
        writer.switch(Some(open(&new)));
        append(&mut writer, "c");
        assert_eq!(writer.pending_bytes(), 3);
        write_here(&mut writer, Mono(1));
        assert_eq!((writer.settled(false), writer.settled(true)), (2, 0));
        assert_eq!((writer.pending_bytes(), writer.error()), (1, None));
        let ways = [true, false].map(|always| writer.way_to_write(always, Mono(2)));
        assert_eq!(ways, [None; 2], "the old one is to be durable first");
        assert_eq!(fs::read(&new).unwrap(), b"");
        writer.synced = writer.written;
        assert_eq!(writer.way_to_write(false, Mono(2)), Some(Way::Here));
        append(&mut writer, "d");
        write_here(&mut writer, Mono(2));
        assert_eq!(fs::read(old).unwrap(), b"ab");
        assert_eq!(fs::read(new).unwrap(), b"cd");
        assert_eq!(writer.settled(false), 4);
    }

    #[test]
    fn buffers_count_as_what_they_take() {
        let dir = tempfile::TempDir::new().unwrap();
        let mut writer = Writer::default();
        writer.switch(Some(open(&dir.path().join("file"))));
        append(&mut writer, &"x".repeat(10_000));
        append(&mut writer, "y");
        let bytes = writer.buffer_bytes();
        assert!(
            bytes > writer.pending_bytes(),
            "it has grown by half at least"
        );
        write_here(&mut writer, Mono(1));
        assert_eq!((writer.pending_bytes(), writer.buffer_bytes()), (0, bytes));
        writer.switch(None);
        assert_eq!(writer.buffer_bytes(), 0);
    }

    #[test]
    fn a_failed_write_keeps_its_bytes_and_lets_replies_go() {
        let mut writer = Writer::default();
        writer.switch(Some(
            fs::OpenOptions::new()
                .write(true)
                .open("/dev/full")
                .unwrap(),
        ));
        append(&mut writer, "a");
        assert_eq!(writer.settled(false), 0);
        write_here(&mut writer, Mono(1));
        assert_eq!(writer.error(), Some("No space left on device"));
        assert_eq!((writer.pending_bytes(), writer.settled(false)), (1, 1));
        // There is room again.
        let dir = tempfile::TempDir::new().unwrap();
        writer.pending[0].to = Arc::new(Target {
            file: open(&dir.path().join("file")),
            start: 0,
        });
        write_here(&mut writer, Mono(2));
        assert_eq!((writer.pending_bytes(), writer.error()), (0, None));
    }

    #[test]
    fn a_segment_is_one_call() {
        // It shows every call as a message, an empty one too.
        let (to, from) = std::os::unix::net::UnixDatagram::pair().unwrap();
        from.set_nonblocking(true).unwrap();
        let mut writer = Writer::default();
        writer.switch(Some(File::from(std::os::fd::OwnedFd::from(to))));
        append(&mut writer, "one");
        append(&mut writer, ", two");
        write_here(&mut writer, Mono(1));
        assert_eq!((writer.pending_bytes(), writer.error()), (0, None));
        let mut found = [0; 100];
        assert_eq!(from.recv(&mut found).unwrap(), 8);
        let more = from.recv(&mut found).map_err(|error| error.kind());
        assert_eq!(more, Err(io::ErrorKind::WouldBlock));
    }

    fn full() -> File {
        let mut options = fs::OpenOptions::new();
        options.write(true).open("/dev/full").unwrap()
    }

    #[test]
    fn what_a_retired_file_lacks_is_given_up() {
        let dir = tempfile::TempDir::new().unwrap();
        let new = dir.path().join("new");
        for is_writing in [false, true] {
            let mut writer = Writer::default();
            writer.switch(Some(full()));
            append(&mut writer, "lacking");
            write_here(&mut writer, Mono(1));
            let until = writer.appended();
            writer.switch(Some(Folder::open(&new, true).unwrap()));
            append(&mut writer, "more");
            write_here(&mut writer, Mono(2));
            assert_eq!(fs::read(&new).unwrap(), b"", "it keeps its place behind it");
            // A write in progress has taken all that was pending, and brings it back at its end.
            let taken = std::mem::take(&mut writer.pending);
            writer.is_writing = is_writing;
            if is_writing {
                writer.retire(until);
                assert_eq!((writer.written, writer.synced), (0, 0));
            }
            writer.is_writing = false;
            writer.pending = taken;
            writer.retire(until);
            assert_eq!((writer.written, writer.synced), (until, until));
            assert_eq!(writer.pending_bytes(), 4);
            write_here(&mut writer, Mono(3));
            assert_eq!((writer.pending_bytes(), writer.error()), (0, None));
            assert_eq!(fs::read(&new).unwrap(), b"more");
            assert_eq!(writer.settled(true), until, "the new one is to be synced");
        }
    }

    #[test]
    fn trouble_with_retired_files_ends_with_them() {
        let mut writer = Writer::default();
        writer.switch(Some(full()));
        append(&mut writer, "lacking");
        write_here(&mut writer, Mono(1));
        writer.note_sync_error(Some(io::ErrorKind::StorageFull.into()));
        writer.switch(None);
        writer.retire(writer.appended());
        assert_eq!((writer.error(), writer.is_settled()), (None, true));
    }

    #[test]
    fn what_nobody_needs_is_given_up() {
        let mut writer = Writer::default();
        writer.switch(Some(full()));
        append(&mut writer, "lacking");
        write_here(&mut writer, Mono(1));
        writer.switch(None);
        writer.is_writing = true;
        writer.give_up();
        assert_eq!(writer.pending_bytes(), 7, "a write is in progress");
        writer.is_writing = false;
        writer.give_up();
        assert_eq!((writer.error(), writer.is_settled()), (None, true));
    }

    #[test]
    fn without_always_writes_go_on_beside_any_fsync() {
        let mut writer = Writer::default();
        assert_eq!(writer.way_to_write(false, Mono(1)), None);
        writer.switch(Some(full()));
        append(&mut writer, "a");
        for (sync_since, now, delayed) in [(None, 5_000, 0), (Some(1), 5, 0), (Some(1), 5_000, 1)] {
            writer.sync_since = sync_since.map(Mono);
            let [everysec, always] = match sync_since {
                None => [Some(Way::Here), Some(Way::WithSync)],
                Some(_) => [Some(Way::Beside), None],
            };
            for _ in 0..2 {
                assert_eq!(writer.way_to_write(false, Mono(now)), everysec);
                assert_eq!(writer.delayed, delayed, "once an fsync");
            }
            assert_eq!(writer.way_to_write(true, Mono(now)), always);
        }
        writer.is_writing = true;
        assert_eq!(writer.way_to_write(false, Mono(5_000)), None);
    }

    #[test]
    fn before_its_base_nobody_hears_of_a_write() {
        testing::run(async {
            let settings = ["--appendfsync", "always", "--no-appendfsync-on-rewrite"];
            let server = testing::server(&[&settings[..], &["yes"]].concat());
            let server = &mut *server.borrow_mut();
            server.aof.state = State::First;
            server.aof.is_outdated = true;
            drop(server.start_save(false));
            let [waiter, writer] = [(); 2].map(|()| testing::connect(server));
            testing::turn(server, waiter, &["BLPOP k 0"]);
            testing::turn(server, writer, &["RPUSH k v"]);
            for client in [waiter, writer] {
                let output = &mut server.front.clients.current(client).output;
                assert!(!output.is_empty());
                assert!(output.front_to_leave().is_empty());
            }
        });
    }

    #[test]
    fn the_nil_of_a_transaction_tells_of_a_write() {
        testing::run(async {
            let server = testing::server(&["--appendfsync", "always"]);
            let server = &mut *server.borrow_mut();
            server.aof.state = State::First;
            server.aof.is_outdated = true;
            let [watcher, writer] = [(); 2].map(|()| testing::connect(server));
            testing::turn(server, watcher, &["WATCH k", "MULTI"]);
            let output = &mut server.front.clients.current(watcher).output;
            output.advance(output.front_to_leave().len());
            assert!(output.is_empty(), "nothing was told");
            testing::turn(server, writer, &["SET k v"]);
            testing::turn(server, watcher, &["EXEC"]);
            let output = &mut server.front.clients.current(watcher).output;
            assert!(!output.is_empty() && output.front_to_leave().is_empty());
        });
    }

    #[test]
    fn only_a_master_that_lacks_data_of_its_file_is_to_be_failed_over() {
        testing::run(async {
            let server = testing::server(&[]);
            let server = &mut *server.borrow_mut();
            server.aof.state = State::First;
            server.aof.rewriting.base_error = Some("full".to_owned());
            assert_eq!(
                (server.aof_error(), server.aof_failure()),
                (Some("full"), None)
            );
            server.aof.is_outdated = true;
            assert_eq!(server.aof_failure(), Some("full"));
            server.aof.is_outdated = false;
            server.aof.writer.write_error = Some("gone".to_owned());
            assert_eq!(server.aof_failure(), Some("gone"));
        });
    }

    #[test]
    fn what_is_pending_goes_to_the_copy() {
        let dir = tempfile::TempDir::new().unwrap();
        let [old, copy] = ["old", "copy"].map(|name| dir.path().join(name));
        let mut writer = Writer::default();
        writer.switch(Some(full()));
        append(&mut writer, "in the base");
        let base = writer.appended();
        writer.switch(Some(open(&old)));
        append(&mut writer, "copied ");
        // The base is durable, and not in its place yet.
        writer.synced = base;
        let lacking = writer.pending.pop_front();
        write_here(&mut writer, Mono(1));
        writer.pending.extend(lacking);
        append(&mut writer, "pending");
        writer.is_held = true;
        assert_eq!(writer.way_to_write(true, Mono(2)), None);
        fs::copy(&old, &copy).unwrap();
        writer.move_to(open(&copy), base);
        writer.is_held = false;
        assert_eq!((writer.synced, writer.pending_bytes()), (base + 7, 7));
        write_here(&mut writer, Mono(2));
        append(&mut writer, ", new");
        write_here(&mut writer, Mono(3));
        assert_eq!(fs::read(&old).unwrap(), b"copied ");
        assert_eq!(fs::read(&copy).unwrap(), b"copied pending, new");
        assert_eq!((writer.error(), writer.dirty.len()), (None, 1));
    }
}

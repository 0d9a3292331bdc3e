//! Saving to the RDB file: `SAVE` in one go, everything else in slices while clients are served, with the
//! file written by another thread.
//!
//! The file is made under another name, synced, and renamed; so there is always a complete one.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use super::command_encode::RecreationWriter;
use super::disk;
use super::new_file::NewFile;
use super::rdb::CRC64;
use super::rdb_compress::CompressingWriter;
use super::rdb_encode::{Head, ImageWriter};
use crate::clock::{Mono, Now};
use crate::server::Server;
use crate::server::beside::beside_clients;
use crate::server::key_delay::SavePace;
use crate::server::keyspace::{Chunk, SnapshotEpoch, Walk};
use crate::server::lazy_free::{advance_snapshot, drop_bytes_elsewhere};

/// How much is encoded before others get their turn.
const SLICE_BYTES: usize = 16 * 1024;
/// Chunks that wait to be written; when they are full the walk waits.
const CHUNKS_QUEUED: usize = 16;
/// With incremental syncing, so much is written before it is synced: a disk that gets everything at once has no
/// time for others, and while the kernel hands it over nobody else gets that processor.
const SYNC_BYTES: usize = 1024 * 1024;
/// How long the writing thread rests after each slice. Without a rest it would be taken for busy, and clients would
/// have to wait for the end of its turns, of several milliseconds; with it 100 MB or so are written in a second.
const REST: Duration = Duration::from_micros(100);
/// After a failed save, this many seconds until the save points count again.
pub(crate) const RETRY_SECONDS: u64 = 5;

/// What is known of saving.
#[derive(Debug)]
pub(crate) struct Saver {
    /// Changes since the last save began.
    pub(crate) dirty: u64,
    /// When the last successful save ended, or the server started. Unix seconds.
    pub(crate) last_save: u64,
    /// `rdb_last_bgsave_status`
    pub(crate) last_save_ok: bool,
    /// When one was last begun. Unix seconds.
    pub(crate) last_try: u64,
    /// How long the last one took, in seconds.
    pub(crate) last_seconds: Option<u64>,
    /// `rdb_saves`: those that a command or a save point began.
    pub(crate) saves: u64,
    /// `rdb_last_load_keys_expired`, `rdb_last_load_keys_loaded`
    pub(crate) last_load: (u64, u64),
    /// One is to begin as soon as it can, between units.
    pub(crate) is_scheduled: bool,
    /// When a full resync ended whose data the file lacks: a start would find those of before, or none, and no position
    /// to go on from.
    pub(crate) outdated_since: Option<Mono>,
    /// The unit that is running has removed all data.
    is_flushed: bool,
    running: Option<Running>,
    /// The file that was begun last in the background, and the queue of its thread while there is one.
    in_background: Option<(SnapshotEpoch, mpsc::WeakSender<Chunk>)>,
    /// While it is set nobody is served, and the threads of files give way to nobody.
    hurry: Arc<AtomicBool>,
    next_file: u64,
}

#[derive(Debug)]
struct Running {
    snapshot: SnapshotEpoch,
    since: Mono,
    /// Changes before it began; they are in it.
    dirty_before: u64,
    is_for_replicas: bool,
    task: Option<AbortHandle>,
    file: NewFile,
}

impl Saver {
    pub(crate) fn new(now: Now) -> Saver {
        Saver {
            dirty: 0,
            last_save: now.unix.0 / 1000,
            last_save_ok: true,
            last_try: 0,
            last_seconds: None,
            saves: 0,
            last_load: (0, 0),
            is_scheduled: false,
            outdated_since: None,
            is_flushed: false,
            running: None,
            in_background: None,
            hurry: Arc::default(),
            next_file: 0,
        }
    }

    /// Whether a save is in progress.
    pub(crate) fn is_saving(&self) -> bool {
        self.running.is_some()
    }

    /// Since when a save is in progress, and which snapshot it writes.
    pub(crate) fn running(&self) -> Option<(Mono, SnapshotEpoch)> {
        self.running
            .as_ref()
            .map(|running| (running.since, running.snapshot))
    }
}

/// What a file is written with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileOptions {
    compress: bool,
    checksum: bool,
    /// A checksum, true or 0, ends it; commands end with the last of them.
    is_rdb: bool,
    /// How many bytes are synced at a time; `usize::MAX`: all at the end.
    sync_bytes: usize,
    /// How long its thread rests after each [`SLICE_BYTES`].
    rest: Duration,
    /// How long its walk takes for each key, where clients are served meanwhile: see [`SavePace`].
    pub(crate) key_delay: i32,
}

/// Where a file is written to.
trait Disk: Write {
    /// Makes what was written durable.
    fn sync_data(&self) -> io::Result<()>;
}

impl Disk for File {
    fn sync_data(&self) -> io::Result<()> {
        disk::sync_data(self)
    }
}

/// An RDB file in the making.
struct RdbFile<D: Disk = File> {
    out: BufWriter<D>,
    digest: crc::Digest<'static, u64, crc::Table<16>>,
    options: FileOptions,
    /// Bytes written since the last sync.
    unsynced: usize,
    /// Bytes written, or looked at and compressed, since the last rest.
    unrested: usize,
    hurry: Arc<AtomicBool>,
}

impl<D: Disk> RdbFile<D> {
    fn new(disk: D, options: FileOptions, hurry: Arc<AtomicBool>) -> RdbFile<D> {
        RdbFile {
            out: BufWriter::with_capacity(SLICE_BYTES, disk),
            digest: CRC64.digest(),
            options,
            unsynced: 0,
            unrested: 0,
            hurry,
        }
    }

    fn write(&mut self, chunk: Chunk) -> io::Result<()> {
        match chunk {
            Chunk::Encoded(encoded) if self.options.compress && self.options.is_rdb => {
                let mut writer = CompressingWriter::new(&encoded);
                let mut bytes = Vec::new();
                while !writer.is_complete() {
                    bytes.clear();
                    let looked_at = writer.write(SLICE_BYTES, &mut bytes);
                    self.write_bytes(&bytes)?;
                    // The work is in what is compressed, not in what is left of it.
                    self.rest_after(looked_at.saturating_sub(bytes.len()));
                }
                Ok(())
            }
            Chunk::Encoded(bytes) => self.write_bytes(&bytes),
            Chunk::Large(image) => {
                let compress = self.options.compress;
                let mut writer = ImageWriter::new(image);
                self.write_pieces(|bytes| writer.write(compress, SLICE_BYTES, bytes))
            }
            Chunk::Recreated(key, image) => {
                let mut writer = RecreationWriter::new(key, image);
                self.write_pieces(|bytes| writer.write(SLICE_BYTES, bytes))
            }
        }
    }

    /// Writes what `next` appends, until it says that there is no more.
    fn write_pieces(&mut self, mut next: impl FnMut(&mut Vec<u8>) -> bool) -> io::Result<()> {
        let mut bytes = Vec::new();
        loop {
            let is_complete = next(&mut bytes);
            self.write_bytes(&bytes)?;
            if is_complete {
                return Ok(());
            }
            bytes.clear();
        }
    }

    fn write_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        for slice in bytes.chunks(SLICE_BYTES) {
            self.digest.update(slice);
            self.out.write_all(slice)?;
            self.unsynced += slice.len();
            self.rest_after(slice.len());
            if self.unsynced >= self.options.sync_bytes && !self.is_hurried() {
                self.out.flush()?;
                self.out.get_ref().sync_data()?;
                self.unsynced = 0;
            }
        }
        Ok(())
    }

    /// Rests if this and what was done before are enough for that. Bytes.
    fn rest_after(&mut self, done: usize) {
        self.unrested += done;
        if self.unrested >= SLICE_BYTES && !self.options.rest.is_zero() && !self.is_hurried() {
            std::thread::sleep(self.options.rest);
            self.unrested = 0;
        }
    }

    fn is_hurried(&self) -> bool {
        self.hurry.load(Ordering::Relaxed)
    }
}

impl RdbFile {
    fn create(
        file: &NewFile,
        options: FileOptions,
        hurry: &Arc<AtomicBool>,
    ) -> io::Result<RdbFile> {
        Ok(RdbFile::new(file.create()?, options, Arc::clone(hurry)))
    }

    /// Adds the checksum, makes everything durable, and gives the file its name.
    fn finish(mut self, to: &NewFile) -> io::Result<()> {
        let checksum = if self.options.checksum {
            self.digest.finalize()
        } else {
            0
        };
        if self.options.is_rdb {
            self.out.write_all(&checksum.to_le_bytes())?;
        }
        let file = self
            .out
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        disk::sync_all(&file)?;
        to.take_name()
    }
}

/// What is synced at a time, with and without incremental syncing.
fn sync_bytes(often: bool) -> usize {
    if often { SYNC_BYTES } else { usize::MAX }
}

impl Server {
    /// How RDB files are written.
    fn file_options(&self) -> FileOptions {
        FileOptions {
            compress: self.config.rdbcompression,
            checksum: self.config.rdbchecksum,
            is_rdb: true,
            sync_bytes: sync_bytes(self.config.tuning.rdb_save_incremental_fsync),
            rest: REST,
            key_delay: self.config.tuning.rdb_key_save_delay,
        }
    }

    /// How the base of an append-only file is written, as RDB or as commands.
    pub(crate) fn base_options(&self, is_rdb: bool) -> FileOptions {
        FileOptions {
            is_rdb,
            sync_bytes: sync_bytes(self.config.tuning.aof_rewrite_incremental_fsync),
            ..self.file_options()
        }
    }

    /// A file in the present `dir`, whatever that is when it is written.
    pub(crate) fn in_dir(&self, name: &str) -> PathBuf {
        // Somebody may have renamed the folder since `dir` was set.
        let here = disk::present_dir();
        here.as_ref().unwrap_or(&self.config.process.dir).join(name)
    }

    /// The RDB file of this moment.
    fn new_file(&mut self) -> NewFile {
        self.saver.next_file += 1;
        let (process, number) = (std::process::id(), self.saver.next_file);
        let temp = self.in_dir(&format!("temp-{process}-{number}.rdb"));
        NewFile::new(temp, self.in_dir(&self.config.dbfilename))
    }

    /// Saves everything before it returns.
    ///
    /// # Errors
    /// The file cannot be written; the old one is untouched.
    pub(crate) fn save_now(&mut self) -> io::Result<()> {
        let file = self.new_file();
        let written = self.write_file(Some(&self.rdb_head()), self.file_options(), &file);
        let now = self.clock.now();
        if written.is_ok() {
            self.saver.dirty = 0;
            self.saver.is_scheduled = false;
            self.saver.outdated_since = None;
            self.saver.last_save = now.unix.0 / 1000;
            self.saver.last_save_ok = true;
            tracing::info!("DB saved on disk");
        }
        written
    }

    /// Writes all data to a file before it returns: with a head as RDB, without as commands. What that writes to the
    /// snapshot of a file in the background (a rewrite) is handed on as it comes, at the pace of that file.
    ///
    /// # Errors
    /// The file cannot be written; what was there before is untouched.
    pub(crate) fn write_file(
        &mut self,
        head: Option<&Head>,
        options: FileOptions,
        to: &NewFile,
    ) -> io::Result<()> {
        let snapshot = match head {
            Some(head) => self.keyspace.begin_snapshot(head),
            None => self.begin_snapshot_of_commands(),
        };
        let hurry = Arc::clone(&self.saver.hurry);
        let mut write = || -> io::Result<()> {
            // Nobody is served meanwhile: the sooner it is over, the better.
            let options = FileOptions {
                sync_bytes: usize::MAX,
                rest: Duration::ZERO,
                ..options
            };
            let mut file = RdbFile::create(to, options, &hurry)?;
            loop {
                let walk = advance_snapshot(&mut self.keyspace, snapshot, SLICE_BYTES);
                if let Some(output) = self.keyspace.snapshot_output(snapshot) {
                    while let Some(chunk) = output.pop() {
                        file.write(chunk)?;
                    }
                }
                self.hand_on_in_background();
                if walk == Walk::Complete {
                    return file.finish(to);
                }
                // Clients wait, and systemd must not take that for a hang.
                self.watchdog.feed(self.clock.mono());
            }
        };
        hurry.store(true, Ordering::Relaxed);
        let written = write();
        hurry.store(false, Ordering::Relaxed);
        self.end_snapshot(snapshot);
        if written.is_err() {
            to.remove_temp();
        }
        written
    }

    /// Hands on what waits for the file in the background, whose task does not run while the loop is held up, and waits
    /// until its thread has room for it.
    fn hand_on_in_background(&mut self) {
        let in_background = self.saver.in_background.as_ref();
        let Some((snapshot, Some(chunks))) =
            in_background.map(|(snapshot, chunks)| (*snapshot, chunks.upgrade()))
        else {
            return;
        };
        let mut waiting = None;
        loop {
            let output = self.keyspace.snapshot_output(snapshot);
            let Some(chunk) = waiting.take().or_else(|| output?.pop()) else {
                return;
            };
            match chunks.try_send(chunk) {
                // A thread that has failed takes nothing more; nobody will.
                Ok(()) | Err(TrySendError::Closed(_)) => {}
                Err(TrySendError::Full(chunk)) => {
                    waiting = Some(chunk);
                    std::thread::sleep(REST);
                    self.watchdog.feed(self.clock.mono());
                }
            }
        }
    }

    /// Begins to save while clients are served. The receiver gets the file when it is complete, and
    /// nothing when it failed or was cancelled. There must be no other save. `is_for_replicas`: they alone want it.
    pub(crate) fn start_save(&mut self, is_for_replicas: bool) -> oneshot::Receiver<Option<File>> {
        assert!(!self.saver.is_saving(), "one save at a time");
        let head = self.rdb_head();
        let now = self.clock.now();
        let job = FileJob {
            snapshot: self.keyspace.begin_snapshot(&head),
            file: self.new_file(),
            options: self.file_options(),
        };
        tracing::info!("Background saving started");
        self.saver.last_try = now.unix.0 / 1000;
        self.saver.saves += 1;
        // One that was asked for is wanted, whoever else waits for it.
        let was_scheduled = std::mem::take(&mut self.saver.is_scheduled);
        self.saver.running = Some(Running {
            snapshot: job.snapshot,
            since: now.mono,
            dirty_before: self.saver.dirty,
            is_for_replicas: is_for_replicas && !was_scheduled,
            task: None,
            file: job.file.clone(),
        });
        let (done, result) = oneshot::channel();
        let server = self.handle();
        let task = tokio::task::spawn_local(async move {
            let written = job.run(&server).await;
            let server = &mut *server.borrow_mut();
            let was_for_replicas = server.waits_for_file();
            // Whoever asked for the file may have gone.
            drop(done.send(server.save_ended(&written, &job)));
            server.snapshot_ended(was_for_replicas);
        });
        if let Some(running) = &mut self.saver.running {
            running.task = Some(task.abort_handle());
        }
        result
    }

    fn save_ended(&mut self, written: &io::Result<()>, job: &FileJob) -> Option<File> {
        self.end_snapshot(job.snapshot);
        let now = self.clock.now();
        if let Some(running) = self.saver.running.take() {
            self.saver.last_seconds = Some(now.mono.since(running.since).as_secs());
            if written.is_ok() {
                self.saver.dirty = self.saver.dirty.saturating_sub(running.dirty_before);
            }
        }
        self.saver.last_save_ok = written.is_ok();
        match written {
            Ok(()) => {
                self.saver.last_save = now.unix.0 / 1000;
                self.saver.outdated_since = None;
                tracing::info!("Background saving terminated with success");
                File::open(job.file.path()).ok()
            }
            Err(error) => {
                tracing::error!(%error, file = %job.file.path().display(), "Background saving failed");
                None
            }
        }
    }

    /// Ends a snapshot; what only it needed is dropped on another thread.
    pub(crate) fn end_snapshot(&mut self, id: SnapshotEpoch) {
        let held = self.keyspace.snapshot_bytes();
        let output = self.keyspace.snapshot_output(id);
        let output = output.map(std::mem::take).unwrap_or_default();
        let flushed = self.keyspace.end_snapshot(id);
        if !flushed.is_empty() || !output.is_empty() {
            // What was held for it waits to be freed from now on.
            let freed = held.saturating_sub(self.keyspace.snapshot_bytes());
            drop_bytes_elsewhere((flushed, output), freed);
        }
    }

    /// Gives up a save in progress: its file takes no name after this.
    pub(crate) fn cancel_save(&mut self) {
        if let Some(running) = self.saver.running.take() {
            if let Some(task) = running.task {
                task.abort();
            }
            self.end_snapshot(running.snapshot);
            self.timed("rdb-unlink-temp-file", |_| running.file.cancel());
            tracing::info!("Background saving cancelled");
        }
    }

    /// Gives up a save that replicas alone have asked for, when none waits for it any more. Where there are save
    /// points the file is good for them.
    pub(crate) fn give_up_useless_save(&mut self) {
        let running = self.saver.running.as_ref();
        let is_for_replicas = running.is_some_and(|running| running.is_for_replicas);
        if is_for_replicas && self.config.save.is_empty() && !self.waits_for_file() {
            self.cancel_save();
            let server = self.handle();
            tokio::task::spawn_local(async move { server.borrow_mut().snapshot_ended(true) });
        }
    }

    /// All data was removed: where data is saved at all, the file must not bring it back. It is written when the
    /// unit ends, before anybody hears of it: its position must be that of its data.
    pub(crate) fn save_after_flushall(&mut self) {
        if self.config.save.is_empty() {
            return;
        }
        if self.is_loading() {
            self.saver.is_scheduled = true;
        } else {
            self.saver.is_flushed = true;
        }
    }

    /// Saves if the unit that has ended removed all data.
    pub(crate) fn save_if_flushed(&mut self) {
        if !std::mem::take(&mut self.saver.is_flushed) {
            return;
        }
        if let Err(error) = self.save_now() {
            tracing::error!(%error, "saving after FLUSHALL failed");
        }
    }

    /// Begins a save when a save point is reached, one was scheduled, or the file lacks a full resync.
    pub(crate) fn check_save_points(&mut self) {
        // Data that are not all there yet must not replace those of the file; and a shutdown has its own save.
        if self.is_loading() || self.is_shutting_down() {
            return;
        }
        let now = self.clock.now().unix.0 / 1000;
        let saver = &self.saver;
        let may_try = saver.last_save_ok || now.saturating_sub(saver.last_try) > RETRY_SECONDS;
        let elapsed = now.saturating_sub(saver.last_save);
        let is_reached =
            |(seconds, changes): &&(u64, u64)| saver.dirty >= *changes && elapsed > *seconds;
        let reached = self.config.save.iter().find(is_reached);
        let is_due = saver.is_scheduled || reached.is_some() || self.owes_file();
        if may_try && is_due && !self.is_writing_snapshot() {
            if let Some((seconds, changes)) = reached {
                tracing::info!("{changes} changes in {seconds} seconds. Saving...");
            }
            drop(self.start_save(false));
        }
    }

    /// Whether the file lacks the data of a full resync, and no replica has to have them first.
    fn owes_file(&self) -> bool {
        let now = self.clock.mono();
        let is_outdated = self.saver.outdated_since;
        is_outdated.is_some_and(|since| now.since(since) >= REPLICAS_FIRST)
            && !self.config.aof.enabled
            && !self.config.save.is_empty()
            && !self.feeds().any(|(_, feed)| feed.is_waiting())
    }
}

/// How long replicas of ours may take to come back for what a full resync has brought before that is saved, as one thing
/// is written at a time.
const REPLICAS_FIRST: Duration = Duration::from_secs(2);

/// One file that is written in the background.
#[derive(Debug)]
pub(crate) struct FileJob {
    /// What is written.
    pub(crate) snapshot: SnapshotEpoch,
    /// Where it is written to.
    pub(crate) file: NewFile,
    pub(crate) options: FileOptions,
}

impl FileJob {
    /// Walks the snapshot in slices while another thread writes the file. Whoever calls it ends the snapshot.
    ///
    /// # Errors
    /// The file cannot be written, or the snapshot is no more; what was under its name before is untouched.
    pub(crate) async fn run(&self, server: &Rc<RefCell<Server>>) -> io::Result<()> {
        let (chunks, queue) = mpsc::channel::<Chunk>(CHUNKS_QUEUED);
        let (complete, is_complete) = oneshot::channel::<()>();
        let (done, writer) = oneshot::channel();
        let (file, options) = (self.file.clone(), self.options);
        let hurry = Arc::clone(&server.borrow().saver.hurry);
        beside_clients("save", move || {
            drop(done.send(write_queue(&file, options, &hurry, queue, is_complete)));
        })?;
        server.borrow_mut().saver.in_background = Some((self.snapshot, chunks.downgrade()));
        let mut pace = SavePace::new(options.key_delay);
        // Only what there is room for is taken out: the rest is the snapshot's, whoever hands it on or ends it.
        while let Ok(room) = chunks.reserve().await {
            match self.turn(server, &mut pace, &chunks, room) {
                Turn::Going => {}
                Turn::Last => {
                    // The writer may have failed already; its result says so.
                    let _ = complete.send(());
                    break;
                }
                Turn::Gone => break,
            }
            while let Some(rest) = pace.next_rest() {
                tokio::time::sleep(rest).await;
            }
            tokio::task::yield_now().await;
        }
        drop(chunks);
        writer.await.map_err(io::Error::other)?
    }

    /// Sends what waits, or walks on where nothing does and sends what comes of that: about a slice, and no more than
    /// there is room for, of which `room` is the first.
    fn turn(
        &self,
        server: &Rc<RefCell<Server>>,
        pace: &mut SavePace,
        chunks: &mpsc::Sender<Chunk>,
        room: mpsc::Permit<'_, Chunk>,
    ) -> Turn {
        let keyspace = &mut server.borrow_mut().keyspace;
        let Some(output) = keyspace.snapshot_output(self.snapshot) else {
            return Turn::Gone;
        };
        let mut walk = Walk::Going;
        if output.is_empty() {
            walk = advance_snapshot(keyspace, self.snapshot, SLICE_BYTES);
            if let Some((keys, _)) = keyspace.snapshot_progress(self.snapshot) {
                pace.note(keys);
            }
        }
        let Some(output) = keyspace.snapshot_output(self.snapshot) else {
            return Turn::Gone;
        };
        let (mut room, mut sent) = (Some(room), 0);
        let mut turn = match walk {
            Walk::Complete => Turn::Last,
            Walk::Going => Turn::Going,
        };
        while let Some(place) = room.take() {
            let Some(chunk) = output.pop() else {
                break;
            };
            sent += chunk.len();
            place.send(chunk);
            turn = Turn::Going;
            if sent < SLICE_BYTES {
                room = chunks.try_reserve().ok();
            }
        }
        turn
    }
}

/// What a turn of the walk came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Going,
    /// Everything has been sent.
    Last,
    /// The snapshot is no more.
    Gone,
}

/// Writes the chunks of a queue to a file. A queue that ends before `is_complete` says so was cancelled.
fn write_queue(
    to: &NewFile,
    options: FileOptions,
    hurry: &Arc<AtomicBool>,
    mut queue: mpsc::Receiver<Chunk>,
    is_complete: oneshot::Receiver<()>,
) -> io::Result<()> {
    let write = || {
        let mut file = RdbFile::create(to, options, hurry)?;
        while let Some(chunk) = queue.blocking_recv() {
            file.write(chunk)?;
        }
        is_complete
            .blocking_recv()
            .map_err(|_| io::Error::other("cancelled"))?;
        file.finish(to)
    };
    write().inspect_err(|_| to.remove_temp())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::atomic::AtomicU64;

    use super::*;
    use crate::clock::Clock;
    use crate::server::testing;

    const OPTIONS: FileOptions = FileOptions {
        compress: false,
        checksum: true,
        is_rdb: true,
        sync_bytes: usize::MAX,
        rest: Duration::ZERO,
        key_delay: 0,
    };

    /// However late its thread begins: that of a small file has all of it in its queue by then.
    #[test]
    fn a_file_that_was_cancelled_before_its_thread_began_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let [temp, path] = ["temp", "file"].map(|name| folder.path().join(name));
        for is_cancelled in [true, false] {
            std::fs::write(&path, "newer").unwrap();
            let file = NewFile::new(temp.clone(), path.clone());
            let (chunks, queue) = mpsc::channel(1);
            let (complete, is_complete) = oneshot::channel();
            chunks.try_send(Chunk::Encoded(b"older".to_vec())).unwrap();
            complete.send(()).unwrap();
            drop(chunks);
            if is_cancelled {
                assert!(file.cancel());
            }
            let written = write_queue(&file, OPTIONS, &Arc::default(), queue, is_complete);
            assert_eq!(written.is_err(), is_cancelled);
            let found = std::fs::read(&path).unwrap();
            assert_eq!(found.starts_with(b"newer"), is_cancelled);
            assert!(!temp.exists());
        }
    }

    #[test]
    fn a_queue_that_ends_early_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let [temp, path] = ["temp", "file"].map(|name| folder.path().join(name));
        let file = NewFile::new(temp.clone(), path.clone());
        let (chunks, queue) = mpsc::channel(1);
        let (complete, is_complete) = oneshot::channel();
        chunks.try_send(Chunk::Encoded(b"part".to_vec())).unwrap();
        drop((chunks, complete));
        assert!(write_queue(&file, OPTIONS, &Arc::default(), queue, is_complete).is_err());
        assert!(!temp.exists() && !path.exists());
    }

    /// Counts what is written and not synced.
    #[derive(Default)]
    struct Counting {
        unsynced: Cell<usize>,
        unsynced_max: Cell<usize>,
        syncs: Cell<usize>,
    }

    impl Write for Counting {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.unsynced.update(|unsynced| unsynced + bytes.len());
            let most = self.unsynced_max.get().max(self.unsynced.get());
            self.unsynced_max.set(most);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Disk for Counting {
        fn sync_data(&self) -> io::Result<()> {
            self.unsynced.set(0);
            self.syncs.update(|syncs| syncs + 1);
            Ok(())
        }
    }

    #[test]
    fn what_waits_for_a_sync_is_bounded() {
        let bytes = vec![b'x'; SYNC_BYTES - SLICE_BYTES + 7];
        for (often, syncs) in [(true, 3), (false, 0)] {
            let options = FileOptions {
                sync_bytes: sync_bytes(often),
                ..OPTIONS
            };
            let mut file = RdbFile::new(Counting::default(), options, Arc::default());
            for _ in 0..4 {
                file.write_bytes(&bytes).unwrap();
            }
            file.out.flush().unwrap();
            let disk = file.out.get_ref();
            assert_eq!(disk.syncs.get(), syncs);
            let most = disk.unsynced_max.get();
            if often {
                assert!(most < SYNC_BYTES + SLICE_BYTES, "{most}");
            } else {
                assert_eq!(most, 4 * bytes.len());
            }
        }
    }

    #[test]
    fn the_data_of_a_full_resync_are_saved_where_there_are_save_points() {
        testing::run(async {
            for (save, is_wanted) in [("900 1", true), ("", false)] {
                static MILLIS: AtomicU64 = AtomicU64::new(1);
                let server = testing::server(&["--save", save]);
                let server = &mut *server.borrow_mut();
                server.clock = Clock::by_hand(&MILLIS);
                server.saver.outdated_since = Some(server.clock.mono());
                server.check_save_points();
                assert!(!server.saver.is_saving(), "replicas first");
                MILLIS.fetch_add(2000, Ordering::SeqCst);
                server.check_save_points();
                assert_eq!(server.saver.is_saving(), is_wanted);
                server.cancel_save();
                assert!(
                    server.saver.outdated_since.is_some(),
                    "it is still to be saved"
                );
            }
        });
    }

    #[test]
    fn a_save_that_a_client_has_scheduled_outlives_the_replica_that_began_it() {
        testing::run(async {
            for is_scheduled in [false, true] {
                let server = testing::server(&["--save", ""]);
                let server = &mut *server.borrow_mut();
                server.saver.is_scheduled = is_scheduled;
                drop(server.start_save(true));
                server.give_up_useless_save();
                assert_eq!(server.saver.is_saving(), is_scheduled);
            }
        });
    }
}

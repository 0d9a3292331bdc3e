//! `BGREWRITEAOF`: a new base in place of the old one and its increments.
//!
//! ```text
//! Preparing    what increment m holds becomes durable, then an increment m+1 is made and listed, on another thread
//! Walking      in one turn the snapshot begins and commands go to m+1; then the base is written
//! Replacing    the manifest names base n+1 and increment m+1 alone, and what they replace is deleted
//! ```
//! A crash at any moment leaves a manifest whose files hold everything. What could not be written to the old files is
//! in the new base, so a rewrite is also the way out of a full disk or an fsync that failed. Where there was no file
//! yet (`State::First`) the increment is a temporary file until the base is complete; with `appendonly no` there is
//! none. Where `dir` has changed, the old folder counts until the end (`moving`).
//!
//! The base is RDB, or with `aof-use-rdb-preamble no` commands that make each value again.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::AbortHandle;

use super::folder::Folder;
use super::manifest::Manifest;
use super::moving::move_over;
use super::{Aof, State, settle};
use crate::clock::Mono;
use crate::config::forms::os_text;
use crate::server::Server;
use crate::server::keyspace::SnapshotEpoch;
use crate::server::persist::new_file::NewFile;
use crate::server::persist::rdb_encode::Head;
use crate::server::persist::save::FileJob;

/// After so many failures in a row, automatic rewrites pause; longer after each, as in redis-server.
const FAILURES_FREE: u32 = 3;
/// The first of these pauses.
const PAUSE_MIN: Duration = Duration::from_secs(60);
/// The longest.
const PAUSE_MAX: Duration = Duration::from_secs(3600);
/// After an attempt that could not even begin, and at least after one without which there is no file at all.
const RETRY_PERIOD: Duration = Duration::from_secs(1);
/// At most after one of those. It is as long as the attempt itself took: half of the time the disk is left to others.
const FIRST_PAUSE_MAX: Duration = Duration::from_secs(60);

/// What is known of rewrites.
#[derive(Debug)]
pub(crate) struct Rewriting {
    running: Option<Running>,
    /// One is to begin as soon as it can.
    pub(crate) is_scheduled: bool,
    /// `aof_last_bgrewrite_status`
    pub(crate) last_ok: bool,
    /// How long the last one took, in seconds.
    pub(crate) last_seconds: Option<u64>,
    /// `aof_rewrites`
    pub(crate) count: u64,
    /// `aof_rewrites_consecutive_failures`
    pub(crate) failures: u32,
    /// Why the first base could not be written, in the system's words; `None`: no attempt has failed so far.
    pub(super) base_error: Option<String>,
    /// None begins by itself before this.
    not_before: Mono,
    next_file: u64,
}

#[derive(Debug)]
struct Running {
    since: Mono,
    stage: Stage,
    /// It goes on to its end, but what it makes does not count.
    is_abandoned: bool,
    task: Option<AbortHandle>,
    /// The base that is being written.
    base: Option<NewFile>,
    /// `rdb-key-save-delay` when it began.
    key_delay: i32,
}

/// How far a rewrite is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Preparing,
    Walking(SnapshotEpoch),
    Replacing,
}

impl Default for Rewriting {
    fn default() -> Rewriting {
        Rewriting {
            running: None,
            is_scheduled: false,
            last_ok: true,
            last_seconds: None,
            count: 0,
            failures: 0,
            base_error: None,
            not_before: Mono(0),
            next_file: 0,
        }
    }
}

impl Rewriting {
    /// Whether one is in progress.
    pub(crate) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// One is scheduled, and an attempt to begin it has failed.
    pub(super) fn has_failed_to_begin(&self) -> bool {
        self.is_scheduled && self.not_before != Mono(0)
    }

    /// One has failed; `pause`: how long none begins by itself, if that is not for the number of failures to say.
    fn note_failure(&mut self, reason: String, now: Mono, pause: Option<Duration>) {
        self.last_ok = false;
        self.failures += 1;
        self.not_before = now + pause.unwrap_or_else(|| pause_after(self.failures));
        self.base_error = Some(reason);
    }

    /// Since when one is in progress.
    pub(crate) fn since(&self) -> Option<Mono> {
        self.running.as_ref().map(|running| running.since)
    }

    /// The snapshot that is being written.
    pub(crate) fn snapshot(&self) -> Option<SnapshotEpoch> {
        match self.running.as_ref()?.stage {
            Stage::Walking(snapshot) => Some(snapshot),
            Stage::Preparing | Stage::Replacing => None,
        }
    }
}

impl Aof {
    /// How much the files have grown since the last rewrite, in percent.
    fn growth(&self) -> u64 {
        let base = u128::from(self.base_size.max(1));
        let percent = (u128::from(self.current_size) * 100 / base).saturating_sub(100);
        u64::try_from(percent).unwrap_or(u64::MAX)
    }
}

/// What the last turn before the walk has settled.
pub(super) struct Plan {
    job: FileJob,
    pub(super) folder: Folder,
    /// The files that will count.
    manifest: Manifest,
    /// The temporary increment, and its name when the base is complete.
    rename: Option<(PathBuf, PathBuf)>,
    /// The increment in the folder that counted so far, and its copy in the one that will.
    pub(super) copy: Option<(PathBuf, PathBuf)>,
    /// Where the new increment begins.
    pub(super) start: u64,
}

impl Plan {
    /// Removes what was made for a manifest that is not in force.
    pub(super) fn discard(&self) {
        let made = [&self.rename, &self.copy].map(Option::as_ref);
        let made = made.into_iter().flatten().map(|(_, made)| made);
        for path in made.map(PathBuf::as_path).chain([self.job.file.path()]) {
            drop(fs::remove_file(path));
        }
    }
}

impl Server {
    /// Begins a rewrite when one is scheduled or the files have grown enough, and nothing stands in its way.
    pub(crate) fn check_aof_rewrite(&mut self) {
        let now = self.clock.mono();
        let (aof, config) = (&self.aof, &self.config.aof);
        let is_busy = self.is_writing_snapshot() || self.is_loading() || self.is_ending();
        if is_busy || now < aof.rewriting.not_before {
            return;
        }
        let is_grown = aof.state == State::On
            && config.rewrite_percentage > 0
            && aof.current_size > config.rewrite_min_bytes
            && aof.growth() >= u64::from(config.rewrite_percentage);
        if is_grown && !aof.rewriting.is_scheduled {
            tracing::info!(
                "Starting automatic rewriting of AOF on {}% growth",
                aof.growth()
            );
        }
        if is_grown || aof.rewriting.is_scheduled || aof.state == State::First {
            self.start_rewrite();
        }
    }

    /// Begins a rewrite at once, or as soon as nothing stands in its way.
    pub(super) fn schedule_rewrite(&mut self) {
        self.aof.rewriting.is_scheduled = true;
        self.aof.rewriting.not_before = Mono(0);
        self.check_aof_rewrite();
    }

    /// Begins a rewrite; false if it cannot. There must be no other.
    pub(crate) fn start_rewrite(&mut self) -> bool {
        assert!(!self.aof.rewriting.is_running(), "one rewrite at a time");
        let now = self.clock.mono();
        let moves_to = match self.find_folder() {
            Ok(moves_to) => moves_to,
            Err(reason) => {
                tracing::error!("Can't rewrite append only file in background: {reason}");
                let rewriting = &mut self.aof.rewriting;
                rewriting.base_error = Some(reason);
                rewriting.not_before = rewriting.not_before.max(now + RETRY_PERIOD);
                return false;
            }
        };
        let rewriting = &mut self.aof.rewriting;
        rewriting.is_scheduled = false;
        rewriting.next_file += 1;
        let (process, number) = (std::process::id(), rewriting.next_file);
        let temp = self.in_dir(&format!("temp-rewriteaof-bg-{process}-{number}.aof"));
        self.aof.rewriting.running = Some(Running {
            since: now,
            stage: Stage::Preparing,
            is_abandoned: false,
            task: None,
            base: None,
            key_delay: self.config.tuning.rdb_key_save_delay,
        });
        tracing::info!("Background append only file rewriting started");
        let server = self.handle();
        let task = tokio::task::spawn_local(async move {
            let outcome = rewrite(&server, moves_to, temp).await;
            server.borrow_mut().rewrite_ended(outcome);
        });
        if let Some(running) = &mut self.aof.rewriting.running {
            running.task = Some(task.abort_handle());
        }
        true
    }

    /// The folder to which the file moves, where `dir` has changed. With the file off it is there at once.
    fn find_folder(&mut self) -> Result<Option<Folder>, String> {
        let folder = Folder::new(&self.config.aof).map_err(|error| error.to_string())?;
        if folder == self.aof.folder {
            return Ok(None);
        }
        if self.aof.state == State::On {
            let is_renamed = !self.aof.folder.manifest_path().exists()
                && folder
                    .read_manifest()
                    .is_ok_and(|found| found.text() == self.aof.manifest.text());
            if !is_renamed {
                return Ok(Some(folder));
            }
            self.aof.folder = folder;
            return Ok(None);
        }
        self.aof.manifest = folder.read_manifest().map_err(|error| error.to_string())?;
        self.aof.folder = folder;
        Ok(None)
    }

    /// Gives up a rewrite in progress. One that is changing the folder does so to its end, but in vain.
    pub(crate) fn cancel_rewrite(&mut self) {
        let Some(running) = &mut self.aof.rewriting.running else {
            return;
        };
        let Stage::Walking(snapshot) = running.stage else {
            running.is_abandoned = true;
            return;
        };
        tracing::info!("Killing running AOF rewrite");
        if let Some(task) = &running.task {
            task.abort();
        }
        if let Some(base) = &running.base
            && !base.cancel()
        {
            // No manifest names it, and the next rewrite is to find its name free.
            drop(fs::remove_file(base.path()));
        }
        self.aof.rewriting.running = None;
        self.end_snapshot(snapshot);
    }

    fn is_rewrite_abandoned(&self) -> bool {
        let running = self.aof.rewriting.running.as_ref();
        running.is_none_or(|running| running.is_abandoned)
    }

    /// The turn in which the snapshot and the new increment begin.
    /// `temp`: the name of the base until it is complete.
    fn begin_walk(&mut self, prepared: Prepared, temp: PathBuf) -> io::Result<Plan> {
        self.aof.manifest = prepared.manifest.clone();
        if self.is_rewrite_abandoned() {
            return Err(io::Error::other("given up"));
        }
        self.end_unit();
        let Prepared {
            file,
            mut manifest,
            state,
            mut folder,
            moves_to,
        } = prepared;
        let last = manifest.incrs.last().cloned();
        let mut copied = None;
        if let Some((to, there)) = moves_to {
            copied = last.as_ref().map(|last| folder.file(&last.name));
            (folder, manifest) = (to, there);
        }
        let is_rdb = self.config.aof.use_rdb_preamble;
        let base = manifest.add_base(folder.file_name(), is_rdb);
        let kept = last.filter(|_| state == State::On && copied.is_none());
        manifest.retire_incrs(kept.map(|last| last.seq));
        let mut new_incr = || folder.file(&manifest.add_incr(folder.file_name()));
        let copy = copied.map(|from| (from, new_incr()));
        let rename = (state == State::First).then(|| (folder.temp_incr(), new_incr()));
        if let Some(file) = file {
            self.aof.writer.switch(Some(file));
            self.aof.db = None;
            self.aof.noted_at = 0;
        }
        let snapshot = if is_rdb {
            self.keyspace.begin_snapshot(&self.aof_head())
        } else {
            self.begin_snapshot_of_commands()
        };
        let mut options = self.base_options(is_rdb);
        let aof = &mut self.aof;
        aof.rewriting.count += 1;
        let running = aof.rewriting.running.as_mut();
        let running = running.ok_or_else(|| io::Error::other("given up"))?;
        running.stage = Stage::Walking(snapshot);
        let file = NewFile::new(temp, folder.file(&base));
        running.base = Some(file.clone());
        options.key_delay = running.key_delay;
        Ok(Plan {
            job: FileJob {
                snapshot,
                file,
                options,
            },
            folder,
            manifest,
            rename,
            copy,
            start: aof.writer.appended(),
        })
    }

    /// The head of a base.
    fn aof_head(&self) -> Head {
        Head {
            replication: None,
            is_aof_base: true,
            ..self.rdb_head()
        }
    }

    /// Writes a base of what is here now, at once.
    pub(super) fn write_aof_base(&mut self, path: &std::path::Path) -> io::Result<()> {
        let temp = self.in_dir(&format!("temp-rewriteaof-{}.aof", std::process::id()));
        let head = self.config.aof.use_rdb_preamble.then(|| self.aof_head());
        let options = self.base_options(head.is_some());
        let file = NewFile::new(temp, path.to_owned());
        self.write_file(head.as_ref(), options, &file)
    }

    fn rewrite_replaced(&mut self, plan: &Plan) {
        let is_abandoned = self.is_rewrite_abandoned();
        let aof = &mut self.aof;
        aof.manifest = plan.manifest.clone();
        aof.folder = plan.folder.clone();
        if is_abandoned {
            return;
        }
        if aof.state == State::First {
            aof.state = State::On;
            aof.is_outdated = false;
        }
        let base = plan.manifest.base.as_ref();
        let base_bytes = base.map_or(0, |base| plan.folder.size_of(base));
        let incr_bytes = aof.writer.appended() - plan.start;
        aof.base_size = base_bytes + incr_bytes;
        aof.current_size = aof.base_size;
    }

    /// The increment beside the first base cannot be written. As neither counts yet, only the attempt has failed.
    pub(super) fn fail_first_base(&mut self, reason: String) {
        let now = self.clock.mono();
        let took = now.since(self.aof.rewriting.since().unwrap_or(now));
        tracing::error!("Background AOF rewrite terminated with error: {reason}");
        self.cancel_rewrite();
        let rewriting = &mut self.aof.rewriting;
        rewriting.note_failure(reason, now, Some(first_pause(took)));
        self.aof.writer.give_up_increment();
        self.snapshot_ended(false);
    }

    fn rewrite_ended(&mut self, outcome: io::Result<()>) {
        let now = self.clock.mono();
        let rewriting = &mut self.aof.rewriting;
        let Some(running) = rewriting.running.take() else {
            return;
        };
        let is_first = self.aof.state == State::First;
        if !running.is_abandoned {
            let took = now.since(running.since);
            rewriting.last_seconds = Some(took.as_secs());
            rewriting.last_ok = outcome.is_ok();
            match &outcome {
                Ok(()) => {
                    rewriting.failures = 0;
                    rewriting.base_error = None;
                    tracing::info!("Background AOF rewrite finished successfully");
                }
                Err(error) => {
                    let pause = is_first.then(|| first_pause(took));
                    rewriting.note_failure(os_text(error), now, pause);
                    tracing::error!(%error, "Background AOF rewrite terminated with error");
                }
            }
            if outcome.is_err() && is_first {
                self.aof.writer.give_up_increment();
            }
        }
        if let Stage::Walking(snapshot) = running.stage {
            self.end_snapshot(snapshot);
        }
        self.snapshot_ended(false);
    }
}

/// How long the first base is not tried again after an attempt that took so long.
fn first_pause(took: Duration) -> Duration {
    took.clamp(RETRY_PERIOD, FIRST_PAUSE_MAX)
}

/// How long rewrites do not begin by themselves after so many failures in a row.
fn pause_after(failures: u32) -> Duration {
    match failures.checked_sub(FAILURES_FREE) {
        None => Duration::ZERO,
        Some(more) => PAUSE_MIN.saturating_mul(1 << more.min(16)).min(PAUSE_MAX),
    }
}

/// What the first stage has made.
struct Prepared {
    /// Where commands go from the turn on in which the snapshot begins.
    file: Option<File>,
    /// The files that count now.
    manifest: Manifest,
    state: State,
    folder: Folder,
    /// The folder that will count, and what counts there now, where `dir` has changed.
    moves_to: Option<(Folder, Manifest)>,
}

/// `temp`: the name of the base until it is complete.
async fn rewrite(
    server: &Rc<RefCell<Server>>,
    moves_to: Option<Folder>,
    temp: PathBuf,
) -> io::Result<()> {
    if server.borrow().aof.state == State::On {
        // The next increment is about to be listed behind the present one, of which little shall then be left to tear.
        // What cannot be made durable is no reason to give up: the rewrite may be the way out of just that.
        settle(server).await;
    }
    let prepared = prepare(server, moves_to).await?;
    let plan = server.borrow_mut().begin_walk(prepared, temp)?;
    plan.job.run(server).await?;
    {
        let server = &mut *server.borrow_mut();
        server.end_snapshot(plan.job.snapshot);
        if let Some(running) = &mut server.aof.rewriting.running {
            running.stage = Stage::Replacing;
        }
    }
    let (plan, is_durable) = if plan.copy.is_some() {
        move_over(server, plan).await?
    } else {
        replace_timed(server, plan).await?
    };
    server.borrow_mut().rewrite_replaced(&plan);
    if !is_durable {
        // After a power cut it may be the old files that count.
        return Ok(());
    }
    let Plan {
        folder,
        mut manifest,
        start,
        ..
    } = plan;
    let cleaned = on_another_thread(move || {
        folder.remove_history(&mut manifest)?;
        Ok(manifest)
    });
    let cleaned = cleaned.await;
    let server = &mut *server.borrow_mut();
    match cleaned {
        Ok(manifest) => server.aof.manifest = manifest,
        Err(error) => tracing::warn!(%error, "cannot remove what the rewrite has replaced"),
    }
    server.aof.writer.retire(start);
    server.advance_aof();
    Ok(())
}

async fn replace_timed(server: &Rc<RefCell<Server>>, plan: Plan) -> io::Result<(Plan, bool)> {
    let clock = server.borrow().clock;
    let (replaced, took) = on_another_thread(move || {
        let begun = clock.nanos();
        let is_durable = replace(&plan)?;
        let took = clock.nanos().saturating_sub(begun);
        Ok(((plan, is_durable), took))
    })
    .await?;
    let took = Duration::from_nanos(took);
    server.borrow_mut().note_latency("aof-rename", took);
    Ok(replaced)
}

/// Makes the next increment and, where the old files count, lists it behind them.
async fn prepare(server: &Rc<RefCell<Server>>, moves_to: Option<Folder>) -> io::Result<Prepared> {
    let (folder, mut manifest, state) = {
        let aof = &server.borrow().aof;
        (aof.folder.clone(), aof.manifest.clone(), aof.state)
    };
    on_another_thread(move || {
        folder.create()?;
        let moves_to = moves_to.map(with_manifest).transpose()?;
        let file = match state {
            State::Off => None,
            State::First => Some(Folder::open(&folder.temp_incr(), true)?),
            State::On => {
                let name = manifest.add_incr(folder.file_name());
                tracing::info!("Creating AOF incr file {name} on background rewrite");
                let file = Folder::open(&folder.file(&name), true)?;
                folder.write_manifest(&manifest)?;
                Some(file)
            }
        };
        Ok(Prepared {
            file,
            manifest,
            state,
            folder,
            moves_to,
        })
    })
    .await
}

/// A folder for the files, and what is there already.
fn with_manifest(folder: Folder) -> io::Result<(Folder, Manifest)> {
    folder.create()?;
    let manifest = folder.read_manifest().map_err(io::Error::other)?;
    Ok((folder, manifest))
}

/// Makes the new files the ones that count; false if that may not be durable. On an error the old ones still do.
pub(super) fn replace(plan: &Plan) -> io::Result<bool> {
    let change = || -> io::Result<()> {
        if let Some((temp, name)) = &plan.rename {
            fs::rename(temp, name)?;
        }
        plan.folder.write_manifest(&plan.manifest)
    };
    let Err(error) = change() else {
        return Ok(true);
    };
    // What counts is what the next start would read.
    let found = plan.folder.read_manifest();
    if found.is_ok_and(|found| found.text() == plan.manifest.text()) {
        tracing::warn!(%error, "the new AOF manifest is in force, but may not be durable");
        return Ok(false);
    }
    plan.discard();
    Err(error)
}

pub(super) async fn on_another_thread<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_an_hour() {
        let minutes = |failures| pause_after(failures).as_secs() / 60;
        let found: Vec<u64> = (1..=12).map(minutes).collect();
        assert_eq!(found, [0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60]);
        assert_eq!(minutes(u32::MAX), 60);
    }

    #[test]
    fn growth_counts_from_the_last_rewrite() {
        let mut aof = Aof {
            current_size: 300,
            base_size: 100,
            ..Aof::default()
        };
        assert_eq!(aof.growth(), 200);
        aof.base_size = 0;
        assert_eq!(aof.growth(), 29_900);
        aof.current_size = 0;
        assert_eq!(aof.growth(), 0);
    }
}

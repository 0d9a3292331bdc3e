//! The append-only file: every write is appended to a file, and loading repeats them.
//!
//! It is redis-server 7.0's multi-part file: a base with the data of one moment, increments with the commands
//! since then, and a manifest that says which files count. What is appended is what replicas get: a unit is
//! encoded once (`effects.rs`), for the file and for the stream, each with a selected database of its own.
//!
//! * `manifest`, `folder`: which files there are, and changing that so that a crash leaves a complete set.
//! * `writer`: appending, fsync, and the replies that wait for them.
//! * `read`, `load`: the start.
//! * `rewrite`: a new base, without `fork` and while clients are served.
//! * `moving`: a rewrite after `dir` has changed.

mod folder;
mod load;
pub mod manifest;
mod moving;
#[cfg(test)]
pub(super) mod power;
mod read;
mod rewrite;
mod settings;
mod writer;

pub(crate) use load::{load, reload};
pub use settings::{AofConfig, Fsync, aof_directives};
pub(crate) use writer::settle;

use std::rc::Rc;

use tokio::sync::Notify;

use crate::server::Server;
use crate::server::keyspace::SnapshotEpoch;
use crate::server::persist::command_encode::time_note;
use folder::Folder;
use manifest::Manifest;
use rewrite::Rewriting;
use writer::Writer;

/// What a server knows about its append-only file.
#[derive(Debug, Default)]
pub(crate) struct Aof {
    pub(crate) state: State,
    /// All data were replaced while the file was kept: until its first base is in force it holds others.
    is_outdated: bool,
    pub(crate) writer: Writer,
    pub(crate) rewriting: Rewriting,
    folder: Folder,
    manifest: Manifest,
    /// The database in which the present increment is; `None`: a `SELECT` must come next.
    db: Option<usize>,
    /// The last `#TS:` that was noted. Unix seconds.
    noted_at: u64,
    /// `aof_current_size`: bytes of all files that count.
    pub(crate) current_size: u64,
    /// `aof_base_size`: what it was after the last rewrite, or at the start.
    pub(crate) base_size: u64,
}

/// Whether the file is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum State {
    /// It is not.
    #[default]
    Off,
    /// It was switched on, or all data was replaced: it counts from the end of the rewrite that has begun.
    First,
    /// It is.
    On,
}

impl Server {
    /// Appends the unit that has just ended.
    pub(crate) fn append_unit_to_aof(&mut self) {
        if !self.aof.writer.is_recording() || !self.effects.has_data() {
            return;
        }
        let second = self.aof_second();
        let Server { aof, effects, .. } = self;
        let second = second.filter(|second| *second != aof.noted_at);
        aof.noted_at = second.unwrap_or(aof.noted_at);
        let db = &mut aof.db;
        aof.current_size += aof.writer.append(|out| {
            if let Some(second) = second {
                time_note(second, out);
            }
            effects.write_to_file(db, out);
        });
        // The gate writes, once for all clients of this round.
        self.replication.gate.wake();
    }

    /// The second that `aof-timestamp-enabled` wants to be noted. Unix time.
    fn aof_second(&self) -> Option<u64> {
        let now = || self.clock.now().unix.0 / 1000;
        self.config.aof.timestamps.then(now)
    }

    /// Begins a snapshot of commands.
    pub(crate) fn begin_snapshot_of_commands(&mut self) -> SnapshotEpoch {
        let second = self.aof_second();
        self.keyspace.begin_snapshot_of_commands(second)
    }

    /// Begins or ends to keep the file, as `appendonly` says now.
    ///
    /// # Errors
    /// It cannot be begun; the log says why.
    pub(crate) fn follow_appendonly(&mut self) -> Result<(), String> {
        if self.is_loading() {
            // The end of the load asks again.
            return Ok(());
        }
        match (self.config.aof.enabled, self.aof.state) {
            (true, State::Off) => {
                self.begin_aof_anew();
                if self.aof.rewriting.has_failed_to_begin() {
                    self.end_aof();
                    return Err("Unable to turn on AOF. Check server logs.".to_owned());
                }
            }
            (false, State::First | State::On) => self.end_aof(),
            (true, State::First | State::On) | (false, State::Off) => {}
        }
        Ok(())
    }

    /// Has a base of the present data made, from which the file counts. Until then what is on disk stays as it is.
    fn begin_aof_anew(&mut self) {
        self.cancel_rewrite();
        self.end_unit();
        self.aof.writer.switch(None);
        self.aof.state = State::First;
        self.aof.rewriting.base_error = None;
        self.schedule_rewrite();
    }

    fn end_aof(&mut self) {
        self.cancel_rewrite();
        self.end_unit();
        self.aof.rewriting.is_scheduled = false;
        self.aof.writer.switch(None);
        self.aof.state = State::Off;
        self.aof.is_outdated = false;
        self.advance_aof();
    }

    /// All data was replaced by that of a master.
    pub(crate) fn restart_aof(&mut self) {
        match self.aof.state {
            State::Off => self.cancel_rewrite(),
            State::First => self.begin_aof_anew(),
            State::On => {
                self.aof.is_outdated = true;
                self.begin_aof_anew();
            }
        }
    }

    /// Why the file cannot be written, in the system's words.
    pub(crate) fn aof_error(&self) -> Option<&str> {
        let error = self.aof.writer.error();
        match self.aof.state {
            State::Off => None,
            // Without its base the file holds nothing that a start would find.
            State::First => error.or(self.aof.rewriting.base_error.as_deref()),
            State::On => error,
        }
    }

    /// As [`Server::aof_error`], unless only the first base of a file that was not kept before cannot be written: then
    /// this server is as good a master as it was, and no sentinel is to take another for it.
    pub(crate) fn aof_failure(&self) -> Option<&str> {
        let lacks_nothing = self.aof.state == State::First && !self.aof.is_outdated;
        let error = self.aof_error();
        error.filter(|_| !lacks_nothing || self.aof.writer.error().is_some())
    }

    /// What to wait for where so much waits to be written that nothing more may be applied.
    pub(crate) fn aof_congestion(&self) -> Option<Rc<Notify>> {
        let writer = &self.aof.writer;
        writer.is_congested().then(|| Rc::clone(&writer.progress))
    }
}

//! The file in which decisions survive a restart: one record a line, as JSON, beside the state.
//!
//! It is a memory for people and decides nothing: it is written on a thread of its own, without waiting for the disk
//! (a record that a power cut takes is no loss to anybody's safety, and a sync would compete with the one that a vote
//! waits for), a torn end is left out at the next start, and a file that cannot be written is said once and then
//! missed. A record that was changed is appended again: of two lines of one id the later one counts. At
//! [`HISTORY_BYTES_MAX`] the file is written anew with the newest records.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hashbrown::HashSet;

use super::core::{RECORDS_MAX, Record};

/// A file that would become longer than this is written anew.
pub const HISTORY_BYTES_MAX: u64 = 4 << 20;
/// How much of it is kept then, so that it does not happen again at once.
const KEPT_BYTES_MAX: usize = 2 << 20;
/// How long the end of the process waits for the last records to be written.
const LAST_WRITE_MAX: Duration = Duration::from_secs(2);

/// Where records go. See the module.
#[derive(Debug)]
pub struct History {
    queue: Arc<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    /// No more than are kept at all: where the disk cannot follow, the oldest go.
    records: VecDeque<Arc<Record>>,
    is_writing: bool,
    is_closed: bool,
}

impl History {
    /// Reads what an earlier run has left at `path`, the oldest first, and starts the writing thread. Blocks.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn open(path: PathBuf) -> io::Result<(History, Vec<Record>)> {
        let found = read(&path);
        let mut file = HistoryFile {
            path,
            has_failed: false,
            is_torn: false,
        };
        let records = match found {
            Ok(found) => {
                if found.unreadable > 0 {
                    let (path, lines) = (file.path.display(), found.unreadable);
                    tracing::warn!(
                        "{lines} lines of {path} are no records of decisions and are left out"
                    );
                }
                file.is_torn = found.is_torn;
                found.records
            }
            Err(error) => {
                file.report(&error);
                Vec::new()
            }
        };
        let queue = Arc::new(Queue::default());
        let work = Arc::clone(&queue);
        std::thread::Builder::new()
            .name("history-writer".to_owned())
            .spawn(move || write_all(&work, file))?;
        Ok((History { queue }, records))
    }

    /// Has a record written. Returns at once.
    pub fn add(&self, record: Arc<Record>) {
        let mut waiting = self.queue.lock();
        if waiting.records.len() >= RECORDS_MAX {
            waiting.records.pop_front();
        }
        waiting.records.push_back(record);
        self.queue.changed.notify_all();
    }

    /// Waits until everything is written, but not for ever, and ends the thread.
    pub fn close(self) {
        self.close_within(LAST_WRITE_MAX);
    }

    fn close_within(self, patience: Duration) {
        let mut waiting = self.queue.lock();
        waiting.is_closed = true;
        self.queue.changed.notify_all();
        let is_busy = |waiting: &mut Waiting| waiting.is_writing || !waiting.records.is_empty();
        let changed = &self.queue.changed;
        let result = changed.wait_timeout_while(waiting, patience, is_busy);
        let (_waiting, timeout) = result.unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            tracing::warn!("the last records of decisions could not be written in time");
        }
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be written next; `None` at the end.
    fn next(&self) -> Option<VecDeque<Arc<Record>>> {
        let mut waiting = self.lock();
        waiting.is_writing = false;
        self.changed.notify_all();
        let is_idle = |waiting: &mut Waiting| waiting.records.is_empty() && !waiting.is_closed;
        let woken = self.changed.wait_while(waiting, is_idle);
        let mut waiting = woken.unwrap_or_else(PoisonError::into_inner);
        let records = std::mem::take(&mut waiting.records);
        waiting.is_writing = !records.is_empty();
        (!records.is_empty()).then_some(records)
    }
}

fn write_all(queue: &Queue, mut file: HistoryFile) {
    while let Some(records) = queue.next() {
        let mut lines = Vec::new();
        for record in &records {
            // A record is plain data, which can always be written as JSON.
            if serde_json::to_writer(&mut lines, &**record).is_ok() {
                lines.push(b'\n');
            }
        }
        match file.append(&lines) {
            Ok(()) => file.has_failed = false,
            Err(error) => {
                file.is_torn = true;
                file.report(&error);
            }
        }
    }
}

/// The file as the writing thread knows it.
#[derive(Debug)]
struct HistoryFile {
    path: PathBuf,
    /// A failure has been reported.
    has_failed: bool,
    /// Its last line has no end.
    is_torn: bool,
}

impl HistoryFile {
    fn report(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.has_failed, true) {
            let path = self.path.display();
            tracing::warn!("decisions are not recorded in {path}, which cannot be used: {error}");
        }
    }

    /// Opened anew each time: it may have been moved away, and records are rare.
    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let mut file =
            (OpenOptions::new().append(true).create(true).mode(0o600)).open(&self.path)?;
        if file.metadata()?.len() + lines.len() as u64 > HISTORY_BYTES_MAX {
            return self.compact(lines);
        }
        if std::mem::take(&mut self.is_torn) {
            file.write_all(b"\n")?;
        }
        file.write_all(lines)
    }

    /// Writes the file anew with the newest of what it holds and of `lines`.
    fn compact(&mut self, lines: &[u8]) -> io::Result<()> {
        let mut all = read_end(&self.path)?.0;
        all.push(b'\n');
        all.extend_from_slice(lines);
        let mut newest: Vec<&[u8]> = Vec::new();
        let (mut seen, mut bytes) = (HashSet::new(), 0);
        for line in all.split(|byte| *byte == b'\n').rev() {
            let Ok(record) = serde_json::from_slice::<Record>(line) else {
                continue;
            };
            if seen.insert(record.id) {
                bytes += line.len() + 1;
                if bytes > KEPT_BYTES_MAX || newest.len() >= RECORDS_MAX {
                    break;
                }
                newest.push(line);
            }
        }
        let text: Vec<u8> = newest
            .iter()
            .rev()
            .flat_map(|line| [line, &b"\n"[..]].concat())
            .collect();
        self.is_torn = false;
        self.replace(&text)
    }

    /// By a rename where that is possible; a file that is mounted by itself is written over.
    fn replace(&self, text: &[u8]) -> io::Result<()> {
        let mut beside = self.path.clone().into_os_string();
        beside.push(".tmp");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let renamed = (options.open(&beside))
            .and_then(|mut file| file.write_all(text))
            .and_then(|()| std::fs::rename(&beside, &self.path));
        if renamed.is_ok() {
            return Ok(());
        }
        // It is of no use, and there may be none.
        let _ = std::fs::remove_file(&beside);
        options.open(&self.path)?.write_all(text)
    }
}

/// What a file holds.
#[derive(Debug, Default)]
struct Found {
    records: Vec<Record>,
    unreadable: usize,
    is_torn: bool,
}

/// Reads a file; none holds nothing.
fn read(path: &Path) -> io::Result<Found> {
    let (bytes, is_cut) = match read_end(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::default()),
        read => read?,
    };
    let mut found = Found {
        is_torn: bytes.last().is_some_and(|byte| *byte != b'\n'),
        ..Found::default()
    };
    let lines = bytes.split(|byte| *byte == b'\n').skip(usize::from(is_cut));
    for line in lines.filter(|line| !line.is_empty()) {
        match serde_json::from_slice(line) {
            Ok(record) => found.records.push(record),
            Err(_) => found.unreadable += 1,
        }
    }
    Ok(found)
}

/// The end of a file, and whether there is more before it. It may be longer than we would leave it.
fn read_end(path: &Path) -> io::Result<(Vec<u8>, bool)> {
    const READ_BYTES_MAX: u64 = 2 * HISTORY_BYTES_MAX;
    let mut file = File::open(path)?;
    let before = file.metadata()?.len().saturating_sub(READ_BYTES_MAX);
    file.seek(SeekFrom::Start(before))?;
    let mut bytes = Vec::new();
    file.take(READ_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok((bytes, before > 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentinel::core::Reason;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn record(id: u64, summary: &str) -> Arc<Record> {
        Arc::new(Record {
            id,
            summary: summary.to_owned(),
            ..Record::waiting("m", 1_000 + id, Some(Reason::NoMajority))
        })
    }

    fn write(path: &Path, records: &[Arc<Record>]) {
        let (history, _) = History::open(path.to_owned()).unwrap();
        for record in records {
            history.add(Arc::clone(record));
        }
        history.close_within(PATIENCE);
    }

    fn summaries(path: &Path) -> Vec<(u64, String)> {
        let (history, records) = History::open(path.to_owned()).unwrap();
        history.close_within(PATIENCE);
        let shown = records
            .into_iter()
            .map(|record| (record.id, record.summary));
        shown.collect()
    }

    #[test]
    fn what_was_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.conf.history");
        assert_eq!(summaries(&path), []);
        assert!(!path.exists(), "nothing has happened");
        write(&path, &[record(1, "one"), record(2, "two")]);
        write(&path, &[record(2, "two again")]);
        let (_, records) = History::open(path.clone()).unwrap();
        assert_eq!(records[0], *record(1, "one"));
        let last = (2, "two again".to_owned());
        assert_eq!(summaries(&path).last(), Some(&last));
    }

    #[test]
    fn a_torn_end_is_left_out_and_nothing_is_glued_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history");
        write(&path, &[record(1, "one"), record(2, "two")]);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 9]).unwrap();
        assert_eq!(summaries(&path), [(1, "one".to_owned())]);
        write(&path, &[record(3, "three")]);
        assert_eq!(
            summaries(&path),
            [(1, "one".to_owned()), (3, "three".to_owned())]
        );
    }

    #[test]
    fn the_file_stays_within_its_limit_and_keeps_the_newest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history");
        let long = "x".repeat(20_000);
        let mut id = 0;
        for _ in 0..6 {
            let batch: Vec<_> = (0..60).map(|n| record(id + n, &long)).collect();
            id += 60;
            write(&path, &batch);
            let bytes = std::fs::metadata(&path).unwrap().len();
            assert!(bytes <= HISTORY_BYTES_MAX, "{bytes}");
        }
        let kept = summaries(&path);
        assert_eq!(kept.last().map(|(id, _)| *id), Some(id - 1));
        assert!(kept.len() < 300 && kept.windows(2).all(|pair| pair[0].0 + 1 == pair[1].0));
    }

    #[test]
    fn a_file_that_cannot_be_written_stops_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none").join("history");
        write(&path, &[record(1, "one")]);
        assert_eq!(summaries(&path), []);
        // A folder in its place can be neither read nor written.
        write(folder.path(), &[record(1, "one")]);
    }
}

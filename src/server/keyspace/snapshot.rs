//! Point-in-time images without `fork`.
//!
//! A snapshot takes the next epoch. A walk then writes segment after segment to it, a slice at a time, and
//! whoever is about to change an entry of a segment that an unfinished snapshot still lacks writes that entry
//! out first, ahead of its segment, and marks it; the walk leaves marked entries out, and so are those
//! marked that came later. So each snapshot gets each entry exactly once, as it was when the snapshot began.
//! A segment that takes more than [`SEGMENT_BYTES`] is left in the middle: the walk marks what it has written, too.
//!
//! Snapshots may run at once: a `SAVE` comes beside a rewrite, and one that is given up lasts until its task has run. A segment carries one stamp, the newest
//! epoch that has it; therefore a segment is always written to *every* snapshot that lacks it together. Marks
//! are good for the snapshots that had begun when the first of them was made: a change after the beginning of
//! another one has the whole segment written, once.

use std::collections::VecDeque;

use super::db::{Db, Entry, Segment};
use super::dense::Keyed;
use super::held;
use super::key::Key;
use super::value::Image;
use crate::server::persist::command_encode::{self, Selected};
use crate::server::persist::rdb_encode::{self, Encoder, Head};

/// One step of the walk writes little more than this of a segment: one full of ordinary keys takes less.
pub(super) const SEGMENT_BYTES: usize = 64 * 1024;

/// Counts snapshots; a segment with a stamp below a running snapshot's epoch is not yet in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SnapshotEpoch(u64);

/// What a snapshot begins with.
#[derive(Clone, Copy, Debug)]
pub(super) enum Opening<'a> {
    /// The head of an RDB file.
    Rdb(&'a Head),
    /// The second (Unix time) of commands, if that is to be noted.
    Commands(Option<u64>),
}

/// A piece of a snapshot's output, in order.
#[derive(Debug)]
pub enum Chunk {
    /// Bytes of the file.
    Encoded(Vec<u8>),
    /// A large value, still to be encoded, which its reader does piece by piece and away from the keyspace.
    Large(Image),
    /// The same in a snapshot of commands, under this key.
    Recreated(Key, Image),
}

impl Chunk {
    /// About how many bytes it stands for.
    pub fn len(&self) -> usize {
        match self {
            Chunk::Encoded(bytes) => bytes.len(),
            Chunk::Large(image) | Chunk::Recreated(_, image) => image.estimated_bytes(),
        }
    }

    /// True without bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Where an encoder writes: small things are gathered, large values are passed on by reference.
#[derive(Debug, Default)]
pub struct ChunkQueue {
    ready: VecDeque<Chunk>,
    tail: Vec<u8>,
    bytes: usize,
    /// Of these, what is encoded: memory that is there for nothing else.
    encoded: usize,
}

impl ChunkQueue {
    /// The gathered bytes become a chunk of their own at this size.
    const CHUNK_BYTES: usize = 64 * 1024;

    /// Appends encoded bytes, written by `write`.
    pub fn encode(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.tail.capacity() == 0 {
            self.tail.reserve(Self::CHUNK_BYTES + Self::CHUNK_BYTES / 4);
        }
        let before = self.tail.len();
        write(&mut self.tail);
        let more = self.tail.len() - before;
        self.bytes += more;
        self.encoded += more;
        if self.tail.len() >= Self::CHUNK_BYTES {
            self.cut();
        }
    }

    fn push_large(&mut self, chunk: Chunk) {
        self.cut();
        self.bytes += chunk.len();
        self.ready.push_back(chunk);
    }

    /// What is gathered becomes a chunk. A short one is copied and a long one cut to its length: a chunk holds no
    /// more memory than it counts.
    fn cut(&mut self) {
        if self.tail.is_empty() {
            return;
        }
        let chunk = if self.tail.len() < Self::CHUNK_BYTES / 2 {
            let copy = self.tail.as_slice().to_vec();
            self.tail.clear();
            copy
        } else {
            let mut whole = std::mem::take(&mut self.tail);
            whole.shrink_to_fit();
            whole
        };
        self.ready.push_back(Chunk::Encoded(chunk));
    }

    /// Takes the oldest chunk.
    pub fn pop(&mut self) -> Option<Chunk> {
        if self.ready.is_empty() {
            self.cut();
        }
        let chunk = self.ready.pop_front()?;
        self.bytes -= chunk.len();
        if let Chunk::Encoded(bytes) = &chunk {
            self.encoded -= bytes.len();
        }
        Some(chunk)
    }

    /// Bytes that wait to be taken.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// True with nothing to take.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }
}

/// What an image is written as.
#[derive(Debug)]
enum Form {
    Rdb(Encoder),
    /// Commands that make everything again.
    Commands(Selected),
}

/// One image in the making.
#[derive(Debug)]
struct Snapshot {
    epoch: SnapshotEpoch,
    /// The next database and position to visit; `None` when the walk is over.
    cursor: Option<(usize, u64)>,
    form: Form,
    out: ChunkQueue,
    /// The number of each database when the snapshot began, its keys and those with an expiry.
    sizes: Vec<(usize, (usize, usize))>,
    keys_done: usize,
    finished: bool,
}

impl Snapshot {
    /// Whether a flushed database is part of it and not yet in it.
    fn needs(&self, detached: &Detached) -> bool {
        !self.finished && self.epoch <= detached.until
    }

    fn write_segment(&mut self, db: usize, segment: &Segment) {
        let has_marks = segment.has_marks() && self.epoch <= segment.ahead;
        let entries = segment.table.entries().iter();
        for entry in entries.filter(|entry| !(has_marks && entry.is_ahead)) {
            self.write_entry(db, entry);
        }
    }

    /// Writes an entry; returns how much that comes to.
    fn write_entry(&mut self, db: usize, entry: &Entry) -> usize {
        let before = self.out.len();
        self.keys_done += 1;
        let (number, sizes) = self.sizes[db];
        let image = entry.value.image();
        let encoder = match &mut self.form {
            Form::Rdb(encoder) => encoder,
            Form::Commands(selected) => {
                write_commands(entry, image, number, selected, &mut self.out);
                return self.out.len() - before;
            }
        };
        self.out.encode(|out| {
            encoder.select(number, sizes, out);
            encoder.head_of_entry(entry, out);
            if image.is_none() {
                rdb_encode::value(&entry.value, false, out);
            }
        });
        if let Some(image) = image {
            self.out.push_large(Chunk::Large(image));
        }
        self.out.len() - before
    }
}

/// The commands that make an entry again; `image` is there where its value is large.
fn write_commands(
    entry: &Entry,
    image: Option<Image>,
    db: usize,
    selected: &mut Selected,
    out: &mut ChunkQueue,
) {
    out.encode(|bytes| selected.select(db, bytes));
    match image {
        Some(image) => out.push_large(Chunk::Recreated(entry.key.clone(), image)),
        None => out.encode(|bytes| command_encode::value(&entry.key, &entry.value, bytes)),
    }
    if let Some(at) = entry.expire_at() {
        out.encode(|bytes| command_encode::expiry(&entry.key, at, bytes));
    }
}

/// A database that was flushed while snapshots still needed it.
#[derive(Debug)]
struct Detached {
    number: usize,
    db: Db,
    /// Snapshots that began after this epoch never held it.
    until: SnapshotEpoch,
    /// About what is left of it takes.
    bytes: u64,
}

impl Detached {
    /// Takes the last segment out, which all snapshots have. They may still have to pass large values of it on.
    fn pop_segment(&mut self) -> Option<Segment> {
        self.bytes -= self.bytes / (self.db.segment_count() as u64).max(1);
        let segment = self.db.pop_segment()?;
        let entries = segment.table.entries().iter();
        entries.for_each(|entry| held::leave(entry.value.shared_bytes()));
        Some(segment)
    }
}

/// The snapshots in progress.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    newest: SnapshotEpoch,
    active: Vec<Snapshot>,
    detached: Vec<Detached>,
    /// Segments of these that all have, and which it takes long to drop.
    done: Vec<Segment>,
    /// The sum of [`held`] when the first of those in progress began.
    held_before: u64,
    /// What was in use then: so much can be held at most.
    held_max: u64,
}

/// What one slice of a walk came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walk {
    /// There is more.
    Going,
    /// The image is complete; its last chunk ends with the EOF opcode and lacks only the checksum.
    Complete,
}

impl Snapshots {
    pub(super) fn newest(&self) -> SnapshotEpoch {
        self.newest
    }

    pub(super) fn is_idle(&self) -> bool {
        self.active.is_empty()
    }

    /// Begins one. `in_use`: bytes of memory.
    pub(super) fn begin(
        &mut self,
        opening: Opening<'_>,
        dbs: &[Db],
        places: &[usize],
        in_use: u64,
    ) -> SnapshotEpoch {
        if self.is_idle() {
            self.held_before = held::total();
            self.held_max = in_use;
        }
        self.newest.0 += 1;
        let mut out = ChunkQueue::default();
        let form = match opening {
            Opening::Rdb(head) => {
                out.encode(|bytes| Encoder::head(head, bytes));
                Form::Rdb(Encoder::new(head.usage))
            }
            Opening::Commands(noted_at) => {
                if let Some(second) = noted_at {
                    out.encode(|bytes| command_encode::time_note(second, bytes));
                }
                Form::Commands(Selected::default())
            }
        };
        let mut sizes = vec![(0, (0, 0)); dbs.len()];
        for (number, &place) in places.iter().enumerate() {
            sizes[place] = (number, (dbs[place].len(), dbs[place].volatile()));
        }
        self.active.push(Snapshot {
            epoch: self.newest,
            cursor: Some((0, 0)),
            form,
            out,
            sizes,
            keys_done: 0,
            finished: false,
        });
        self.newest
    }

    /// Ends one; returns the flushed databases that nobody needs any more.
    pub(super) fn end(&mut self, id: SnapshotEpoch) -> Vec<Db> {
        self.active.retain(|s| s.epoch != id);
        let active = &self.active;
        let is_needed = |detached: &Detached| active.iter().any(|s| s.needs(detached));
        let detached = std::mem::take(&mut self.detached);
        let (kept, free) = detached.into_iter().partition(is_needed);
        self.detached = kept;
        dbs(free)
    }

    pub(super) fn end_all(&mut self) -> Vec<Db> {
        self.active.clear();
        dbs(std::mem::take(&mut self.detached))
    }

    /// Writes the entry at a place of a segment to each snapshot that lacks it. To be called before any change
    /// of it, and with no place before one is added. Returns whether an entry that is added there comes too
    /// late for a snapshot that is still to write the segment.
    pub(super) fn save_ahead(
        &mut self,
        number: usize,
        segment: &mut Segment,
        place: Option<usize>,
    ) -> bool {
        if !self.active.iter().any(|s| s.epoch > segment.saved) {
            return false;
        }
        if !may_mark(&self.active, segment, self.newest) {
            save_up_to(&mut self.active, number, segment, self.newest);
            return false;
        }
        segment.ahead = self.newest;
        let Some(place) = place else { return true };
        let entry = segment.table.at_mut(place);
        if !entry.is_ahead {
            entry.is_ahead = true;
            for snapshot in &mut self.active {
                if snapshot.epoch > segment.saved {
                    snapshot.write_entry(number, entry);
                }
            }
        }
        true
    }

    /// Writes a segment to each snapshot that lacks it.
    pub(super) fn save(&mut self, number: usize, segment: &mut Segment) {
        save_up_to(&mut self.active, number, segment, self.newest);
    }

    /// Keeps a flushed database until the snapshots that need it have it. Gives it back if none does.
    pub(super) fn detach(&mut self, number: usize, db: Db) -> Option<Db> {
        if self.is_idle() || db.is_empty() {
            return Some(db);
        }
        if self.active.iter().all(|s| s.finished) {
            // They may still have to pass large values on.
            held::leave(db.shared_bytes());
            return Some(db);
        }
        self.detached.push(Detached {
            number,
            until: self.newest,
            bytes: db.estimated_bytes() as u64,
            db,
        });
        None
    }

    /// Walks on until about `budget_bytes` more have been written to snapshot `id`.
    pub(super) fn advance(
        &mut self,
        id: SnapshotEpoch,
        dbs: &mut [Db],
        budget_bytes: usize,
    ) -> Walk {
        let Some(at) = self.active.iter().position(|s| s.epoch == id) else {
            return Walk::Complete;
        };
        let goal = self.active[at].out.len() + budget_bytes;
        // An empty segment costs a step too.
        let mut steps = 64 + budget_bytes / 64;
        while self.active[at].out.len() < goal && steps > 0 {
            steps -= 1;
            // The last has the latest end: a snapshot that does not need it needs none.
            let snapshot = &self.active[at];
            let detached = self.detached.last_mut();
            if let Some(detached) = detached.filter(|detached| snapshot.needs(detached)) {
                let (number, until) = (detached.number, detached.until);
                match detached.db.last_segment_mut() {
                    Some(segment) => {
                        if save_part(&mut self.active, number, segment, until) {
                            self.done
                                .extend(detached.pop_segment().filter(is_slow_to_drop));
                        }
                    }
                    None => {
                        self.detached.pop();
                    }
                }
                continue;
            }
            let snapshot = &mut self.active[at];
            let Some((number, position)) = snapshot.cursor else {
                break;
            };
            let Some(db) = dbs.get_mut(number) else {
                snapshot.cursor = None;
                snapshot.finished = true;
                if matches!(snapshot.form, Form::Rdb(_)) {
                    snapshot.out.encode(Encoder::end);
                }
                break;
            };
            let segment = db.segment_mut(position);
            if save_part(&mut self.active, number, segment, self.newest) {
                self.active[at].cursor = match db.segment_end(position) {
                    Some(end) => Some((number, end)),
                    None => Some((number + 1, 0)),
                };
            }
        }
        if self.active[at].finished {
            Walk::Complete
        } else {
            Walk::Going
        }
    }

    /// What is left of flushed databases and takes long to drop.
    pub(super) fn take_done(&mut self) -> Vec<Segment> {
        std::mem::take(&mut self.done)
    }

    /// The output of a snapshot.
    pub(super) fn output(&mut self, id: SnapshotEpoch) -> Option<&mut ChunkQueue> {
        self.active
            .iter_mut()
            .find(|s| s.epoch == id)
            .map(|s| &mut s.out)
    }

    /// About how many bytes are held for snapshots alone: what is encoded and not yet taken, and what has left the
    /// data since the first of those in progress began. That counts until the last of them ends, although it may be
    /// gone sooner: nothing tells when a reader is done with a part of an image. A copy that `COPY` made is taken for
    /// a snapshot's when it goes; so it is held to what there was when they began.
    pub(super) fn held_bytes(&self) -> u64 {
        if self.is_idle() {
            return 0;
        }
        let encoded: usize = self.active.iter().map(|s| s.out.encoded).sum();
        let left = held::total().wrapping_sub(self.held_before);
        let flushed: u64 = self.detached.iter().map(|detached| detached.bytes).sum();
        encoded as u64 + (left + flushed).min(self.held_max)
    }

    /// Keys written and keys to be written in all.
    pub(super) fn progress(&self, id: SnapshotEpoch) -> Option<(usize, usize)> {
        let snapshot = self.active.iter().find(|s| s.epoch == id)?;
        Some((
            snapshot.keys_done,
            snapshot.sizes.iter().map(|(_, (keys, _))| keys).sum(),
        ))
    }
}

fn is_slow_to_drop(segment: &Segment) -> bool {
    let mut entries = segment.table.entries().iter();
    entries.any(|entry| entry.value.is_slow_to_drop())
}

fn dbs(detached: Vec<Detached>) -> Vec<Db> {
    detached.into_iter().map(|detached| detached.db).collect()
}

/// Whether entries of a segment can be marked as written to every snapshot up to `until` that lacks it. Not where
/// there are marks which are only good for older ones in progress; those that are good for none any more go.
fn may_mark(active: &[Snapshot], segment: &mut Segment, until: SnapshotEpoch) -> bool {
    if segment.ahead >= until || !segment.has_marks() {
        return true;
    }
    let (saved, ahead) = (segment.saved, segment.ahead);
    if active.iter().any(|s| s.epoch > saved && s.epoch <= ahead) {
        return false;
    }
    segment.clear_marks();
    true
}

/// Writes what is left of a segment to each snapshot up to `until` that lacks it, or about [`SEGMENT_BYTES`] of it;
/// false where there is more.
fn save_part(
    active: &mut [Snapshot],
    number: usize,
    segment: &mut Segment,
    until: SnapshotEpoch,
) -> bool {
    if !may_mark(active, segment, until) {
        save_up_to(active, number, segment, until);
        return true;
    }
    let saved = segment.saved;
    let entries = segment.table.entries_mut();
    // Fetched from memory all at the same time, not one after the other.
    let touched = entries.iter().filter(|entry| !entry.is_ahead);
    std::hint::black_box(touched.map(Keyed::touch).fold(0, usize::wrapping_add));
    let mut bytes = 0;
    for at in 0..entries.len() {
        if entries[at].is_ahead {
            continue;
        }
        if bytes >= SEGMENT_BYTES {
            entries[..at].iter_mut().for_each(|e| e.is_ahead = true);
            segment.ahead = until;
            return false;
        }
        for snapshot in &mut *active {
            if snapshot.epoch > saved && snapshot.epoch <= until {
                bytes += snapshot.write_entry(number, &entries[at]);
            }
        }
    }
    have_saved(segment, until);
    true
}

/// Notes that each snapshot up to `until` has the segment.
fn have_saved(segment: &mut Segment, until: SnapshotEpoch) {
    let had_marks = segment.has_marks();
    segment.saved = segment.saved.max(until);
    if had_marks && !segment.has_marks() {
        segment.clear_marks();
    }
}

/// Writes all of a segment to each snapshot up to `until` that lacks it.
fn save_up_to(active: &mut [Snapshot], number: usize, segment: &mut Segment, until: SnapshotEpoch) {
    for snapshot in active {
        if snapshot.epoch > segment.saved && snapshot.epoch <= until {
            assert!(!snapshot.finished, "a finished snapshot has every segment");
            snapshot.write_segment(number, segment);
        }
    }
    have_saved(segment, until);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn chunks_hold_little_more_memory_than_they_count() {
        let mut queue = ChunkQueue::default();
        for _ in 0..1000 {
            queue.encode(|out| out.extend_from_slice(b"head of a large value"));
            queue.push_large(Chunk::Large(Image::Text(Arc::new(
                crate::server::keyspace::Long::Edited(vec![b'x'; 5000]),
            ))));
        }
        let (mut counted, mut held) = (0, 0);
        while let Some(chunk) = queue.pop() {
            counted += chunk.len();
            held += match chunk {
                Chunk::Encoded(bytes) => bytes.capacity(),
                Chunk::Large(image) | Chunk::Recreated(_, image) => image.estimated_bytes(),
            };
        }
        assert!(held < 2 * counted, "{held} bytes for {counted}");
    }
}

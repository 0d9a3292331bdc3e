//! Which history this server's data belongs to, how far it is, and who may go on from where.
//!
//! A history is named by a replication id; a position in it is a count of bytes. A promotion begins a new
//! history that shares its beginning with the old one, so the old id stays good up to that position.

use super::backlog::Backlog;
use crate::ids::{ReplId, ReplOffset};

/// The id that stands for "no second history".
pub const NO_REPL_ID: &str = "0000000000000000000000000000000000000000";

/// The replication ids, the offset and the backlog of one server.
#[derive(Debug)]
pub struct History {
    repl_id: ReplId,
    /// The history that this one branched off, and the first byte that is no longer common.
    previous: Option<(ReplId, ReplOffset)>,
    offset: ReplOffset,
    /// `Some`: the bytes that are produced are counted and kept. Its newest byte is `offset`.
    backlog: Option<Backlog>,
}

/// What a replica that asks to go on gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// The bytes from this one on.
    From(ReplOffset),
    /// Only a full resync helps.
    Full,
}

impl History {
    /// A new history at 0 bytes.
    pub fn new(repl_id: ReplId) -> History {
        History {
            repl_id,
            previous: None,
            offset: ReplOffset(0),
            backlog: None,
        }
    }

    /// Its id.
    pub fn repl_id(&self) -> &ReplId {
        &self.repl_id
    }

    /// The second id, and the first position at which it is no longer good.
    pub fn previous(&self) -> Option<(&ReplId, ReplOffset)> {
        self.previous.as_ref().map(|(id, at)| (id, *at))
    }

    /// Bytes produced, or applied on a replica.
    pub fn offset(&self) -> ReplOffset {
        self.offset
    }

    /// The window of the newest bytes, if one is kept.
    pub fn backlog(&self) -> Option<&Backlog> {
        self.backlog.as_ref()
    }

    /// Whether bytes are counted and kept at all. A master without any replica ever does not.
    pub fn is_recording(&self) -> bool {
        self.backlog.is_some()
    }

    /// Starts to keep the bytes from here on.
    pub fn start_recording(&mut self, bytes_max: usize) {
        if self.backlog.is_none() {
            self.backlog = Some(Backlog::new(self.offset, bytes_max));
        }
    }

    /// The bytes are no longer kept; what is written from now on belongs to a history with this new id.
    pub fn stop_recording(&mut self, new_id: ReplId) {
        self.backlog = None;
        self.repl_id = new_id;
        self.previous = None;
    }

    /// Gives the history another id, without any link to the old one.
    pub fn rename(&mut self, new_id: ReplId) {
        self.repl_id = new_id;
        self.previous = None;
    }

    /// Changes the size of the backlog.
    pub fn resize_backlog(&mut self, bytes_max: usize) {
        if let Some(backlog) = &mut self.backlog {
            backlog.resize(bytes_max);
        }
    }

    /// Keeps the bytes from this one on, whatever the size of the backlog is.
    pub fn keep_from(&mut self, needed: Option<ReplOffset>) {
        if let Some(backlog) = &mut self.backlog {
            backlog.keep_from(needed);
        }
    }

    /// Counts and keeps bytes of the stream.
    pub fn record(&mut self, bytes: &[u8]) {
        if let Some(backlog) = &mut self.backlog {
            backlog.append(bytes);
            self.offset = backlog.newest();
        }
    }

    /// This server became a master: a new history that agrees with the old one up to here.
    pub fn branch(&mut self, new_id: ReplId) {
        let old = std::mem::replace(&mut self.repl_id, new_id);
        self.previous = Some((old, ReplOffset(self.offset.0 + 1)));
    }

    /// The master said `+CONTINUE id`: it has branched off at or after our offset. False if the id is the
    /// one that we have.
    pub fn follow_branch(&mut self, id: ReplId) -> bool {
        if id == self.repl_id {
            return false;
        }
        self.branch(id);
        true
    }

    /// All data was replaced by a master's, at this position.
    pub fn adopt(&mut self, repl_id: ReplId, offset: ReplOffset, bytes_max: usize) {
        *self = History {
            repl_id,
            previous: None,
            offset,
            backlog: Some(Backlog::new(offset, bytes_max)),
        };
    }

    /// A restarted master whose file recorded a position: its replicas that were exactly there go on.
    pub fn resume_as_master(&mut self, old: ReplId, offset: ReplOffset, bytes_max: usize) {
        self.previous = Some((old, ReplOffset(offset.0 + 1)));
        self.offset = offset;
        self.backlog = Some(Backlog::new(offset, bytes_max));
    }

    /// Whether this history branched off `id`, and who has everything of that before byte `wanted` can go on.
    pub fn branched_off(&self, id: &[u8], wanted: i64) -> bool {
        let previous = self.previous().map(|(id, _)| id.as_str().as_bytes());
        previous.is_some_and(|previous| previous.eq_ignore_ascii_case(id))
            && self.resume(id, wanted) != Resume::Full
    }

    /// Whether a replica that has everything before byte `wanted` of history `id` can go on from our
    /// backlog. Ids are compared without regard to case, as Redis does.
    pub fn resume(&self, id: &[u8], wanted: i64) -> Resume {
        let Ok(wanted) = u64::try_from(wanted).map(ReplOffset) else {
            return Resume::Full;
        };
        let same = |ours: &ReplId| ours.as_str().as_bytes().eq_ignore_ascii_case(id);
        let known = same(&self.repl_id)
            || self
                .previous
                .as_ref()
                .is_some_and(|(previous, until)| same(previous) && wanted <= *until);
        match &self.backlog {
            Some(backlog) if known && backlog.reaches(wanted) => Resume::From(wanted),
            Some(_) | None => Resume::Full,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const X: &str = "cccccccccccccccccccccccccccccccccccccccc";

    /// A replica at byte 1000 of history A, with everything in its backlog.
    fn at_1000() -> History {
        let mut history = History::new(NO_REPL_ID.into());
        history.adopt(A.into(), ReplOffset(0), 1 << 20);
        history.record(&[b'x'; 1000]);
        history
    }

    #[test]
    fn a_promoted_replica_serves_both_histories() {
        let mut history = at_1000();
        history.branch(X.into());
        history.record(b"yy");
        assert_eq!(
            history.resume(A.as_bytes(), 1001),
            Resume::From(ReplOffset(1001))
        );
        assert_eq!(history.resume(A.as_bytes(), 1002), Resume::Full);
        assert_eq!(history.resume(A.as_bytes(), 1), Resume::From(ReplOffset(1)));
        assert_eq!(
            history.resume(X.as_bytes(), 1003),
            Resume::From(ReplOffset(1003))
        );
        assert_eq!(history.resume(X.as_bytes(), 1004), Resume::Full);
        assert_eq!(
            history.resume(X.to_uppercase().as_bytes(), 5),
            Resume::From(ReplOffset(5))
        );
        let is_branch = |id: &str, wanted| history.branched_off(id.as_bytes(), wanted);
        assert!(is_branch(A, 1001) && is_branch(&A.to_uppercase(), 1));
        assert!(!is_branch(A, 1002) && !is_branch(A, 0) && !is_branch(X, 1001));
    }

    #[test]
    fn nonsense_needs_a_full_resync() {
        let history = at_1000();
        assert_eq!(history.resume(A.as_bytes(), 0), Resume::Full);
        assert_eq!(history.resume(A.as_bytes(), -1), Resume::Full);
        assert_eq!(history.resume(b"?", -1), Resume::Full);
        assert_eq!(history.resume(b"", 1), Resume::Full);
        assert_eq!(history.resume(NO_REPL_ID.as_bytes(), 1), Resume::Full);
    }

    #[test]
    fn a_branch_of_the_master_is_followed() {
        let mut history = at_1000();
        assert!(!history.follow_branch(A.into()));
        assert_eq!(history.previous(), None);
        assert!(history.follow_branch(X.into()));
        assert_eq!(history.previous(), Some((&A.into(), ReplOffset(1001))));
        assert_eq!(history.repl_id().as_str(), X);
    }

    #[test]
    fn nothing_is_counted_before_the_first_replica() {
        let mut history = History::new(A.into());
        history.record(b"unseen");
        assert_eq!(history.offset(), ReplOffset(0));
        history.start_recording(1 << 20);
        history.record(b"seen");
        assert_eq!(history.offset(), ReplOffset(4));
    }

    #[test]
    fn a_restarted_master_takes_back_replicas_that_had_everything() {
        let mut history = History::new(X.into());
        history.resume_as_master(A.into(), ReplOffset(500), 1 << 20);
        assert_eq!(
            history.resume(A.as_bytes(), 501),
            Resume::From(ReplOffset(501))
        );
        assert_eq!(history.resume(A.as_bytes(), 500), Resume::Full);
    }
}

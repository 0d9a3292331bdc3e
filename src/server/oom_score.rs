//! `oom-score-adj`: which process the kernel ends first when memory is short, by the role of this one.

use std::fs;
use std::io;

use super::Server;

/// Where Linux keeps it for the process that asks. Source: proc(5).
const FILE: &str = "/proc/self/oom_score_adj";
/// What Linux takes.
const SCORE_MIN: i32 = -1000;
const SCORE_MAX: i32 = 1000;

/// What the numbers of `oom-score-adj-values` are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OomMode {
    /// They are not used.
    No,
    /// They are added to what it was before.
    Relative,
    /// They are what is set.
    Absolute,
}

/// What the kernel has been told.
#[derive(Debug, Default)]
pub(super) struct OomScore {
    /// What it was before the values were used; known while they are.
    base: Option<i32>,
    /// The last that was wanted, whether or not the kernel took it.
    last: Option<(OomMode, i32)>,
}

impl OomScore {
    /// Has the kernel know, unless that was tried last.
    fn follow(&mut self, mode: OomMode, value: i32) -> io::Result<()> {
        let is_known = self.last.replace((mode, value)) == Some((mode, value));
        if is_known || (mode == OomMode::No && self.base.is_none()) {
            return Ok(());
        }
        let base = match self.base {
            Some(base) => base,
            None => read()?,
        };
        let score = match mode {
            OomMode::No => base,
            OomMode::Relative => base + value,
            OomMode::Absolute => value,
        };
        fs::write(FILE, score.clamp(SCORE_MIN, SCORE_MAX).to_string())?;
        // While the values are not used, it is for others to change.
        self.base = (mode != OomMode::No).then_some(base);
        Ok(())
    }
}

fn read() -> io::Result<i32> {
    let text = fs::read_to_string(FILE)?;
    text.trim().parse().map_err(io::Error::other)
}

impl Server {
    /// Acts on `oom-score-adj` and `oom-score-adj-values`, which have been set.
    ///
    /// # Errors
    /// The kernel refuses: to lower it takes rights (`CAP_SYS_RESOURCE`).
    pub(super) fn oom_score_changed(&mut self) -> io::Result<()> {
        self.oom_score.last = None;
        self.follow_oom_score()
    }

    /// The same for the role of now, if anything has changed. What the kernel refuses is in the log.
    ///
    /// # Errors
    /// As above.
    pub(super) fn follow_oom_score(&mut self) -> io::Result<()> {
        let tuning = &self.config.tuning;
        let [as_master, as_replica, _] = tuning.oom_score_adj_values;
        let value = match self.config.replicaof {
            None => as_master,
            Some(_) => as_replica,
        };
        let followed = self.oom_score.follow(tuning.oom_score_adj, value);
        if let Err(error) = &followed {
            tracing::warn!("Unable to write oom_score_adj: {error}");
        }
        followed
    }
}

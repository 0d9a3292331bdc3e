//! Virtual time: what is to happen when.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Index of a node in the world.
pub(crate) type NodeId = usize;

/// Something that is due. `boot` names the incarnation of the process that it belongs to; what was
/// meant for an earlier one is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    /// The packet at the head of one direction of a connection arrives.
    Deliver { conn: usize, from_end: u8 },
    /// A connection attempt that nobody answered is given up by the kernel.
    ConnectTimeout { conn: usize },
    /// The deadline that our sentinel asked for.
    Wake { node: NodeId, boot: u32 },
    /// Our sentinel's writer begins a write that was allowed to wait.
    DiskStart { node: NodeId, boot: u32 },
    /// A write of our sentinel's state ends.
    DiskDone { node: NodeId, boot: u32 },
    /// A look-up of our sentinel ends.
    Resolved { node: NodeId, boot: u32 },
    /// A stopped process runs again.
    Resume { node: NodeId, boot: u32 },
    /// Replication of a data server moves on.
    Replicate { node: NodeId, boot: u32 },
    /// The timer of a modelled redis-sentinel.
    Tick { node: NodeId, boot: u32 },
    /// The next fault.
    Fault,
    /// A node that is down comes back.
    Revive { node: NodeId },
    /// A partition ends.
    Heal,
}

/// Everything that is due, in order; what is due at the same moment comes in the order in which it was
/// put here.
#[derive(Default)]
pub(crate) struct Agenda {
    /// Virtual milliseconds since the start of the run.
    now: u64,
    count: u64,
    heap: BinaryHeap<Reverse<(u64, u64, Due)>>,
}

impl Agenda {
    /// Virtual milliseconds since the start of the run.
    pub(crate) fn now(&self) -> u64 {
        self.now
    }

    /// Puts `due` at `at`, or now when that is past.
    pub(crate) fn at(&mut self, at: u64, due: Due) {
        self.count += 1;
        self.heap.push(Reverse((at.max(self.now), self.count, due)));
    }

    /// Puts `due` this many milliseconds from now.
    pub(crate) fn after(&mut self, ms: u64, due: Due) {
        self.at(self.now + ms, due);
    }

    /// The next thing that is due up to `end`; time moves there, or to `end` when there is none.
    pub(crate) fn next(&mut self, end: u64) -> Option<Due> {
        match self.heap.peek() {
            Some(Reverse((at, _, _))) if *at <= end => {
                let Reverse((at, _, due)) = self.heap.pop()?;
                self.now = at;
                Some(due)
            }
            _ => {
                self.now = self.now.max(end);
                None
            }
        }
    }
}

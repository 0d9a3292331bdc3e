//! One of our sentinels: the core, and what its driver holds around it.

use std::collections::{BTreeMap, VecDeque};

use sentinel::ids::{Epoch, SentinelId};
use sentinel::resp::Value;
use sentinel::sentinel::core::{Durable, LinkId, ReplyTo, Sentinel, Seq};

/// How a disk takes writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DiskMode {
    /// A write takes so many milliseconds.
    Works { ms: (u64, u64) },
    /// A write fails after so many milliseconds.
    Fails { ms: u64 },
}

/// The file and its writer.
pub(crate) struct Disk {
    pub(crate) mode: DiskMode,
    /// What the file holds: what a restart finds.
    pub(crate) file: Durable,
    /// What the core has been told that the file holds.
    pub(crate) confirmed: Durable,
    /// The newest state of which the core has been told whether it was written.
    pub(crate) tried: Durable,
    /// The write on its way.
    pub(crate) in_flight: Option<(Seq, Durable)>,
    /// A newer state waits to be written.
    pub(crate) is_wanted: bool,
    /// Since when not everything has been written.
    pub(crate) unwritten_since: Option<u64>,
    /// A write that may wait has been planned.
    pub(crate) is_start_planned: bool,
}

impl Disk {
    pub(crate) fn new(durable: Durable, mode: DiskMode) -> Disk {
        Disk {
            mode,
            file: durable.clone(),
            confirmed: durable.clone(),
            tried: durable,
            in_flight: None,
            is_wanted: false,
            unwritten_since: None,
            is_start_planned: false,
        }
    }
}

/// One reply that a client of ours waits for; replies leave in the order of the requests.
pub(crate) enum Slot {
    Ready(Value),
    Waiting(ReplyTo),
}

/// What an answer, once the core gives it, is an answer to.
pub(crate) enum Pending {
    /// IS-MASTER-DOWN-BY-ADDR about the master of this group, on this connection.
    Asked {
        conn: usize,
        group: Option<usize>,
        candidate: Option<SentinelId>,
        epoch: Epoch,
    },
    /// An operator's command; the group of which it orders a failover, or which it pauses.
    Operator {
        shown: String,
        orders: Option<usize>,
        pauses: Option<usize>,
    },
    /// A pause or resumption that a peer has passed on, on this connection.
    PassedOn { conn: usize, group: Option<usize> },
}

/// The connections that a sentinel has opened.
#[derive(Default)]
pub(crate) struct Links {
    pub(crate) conn_of: BTreeMap<u64, usize>,
    pub(crate) link_of: BTreeMap<usize, Link>,
}

/// One of them.
pub(crate) struct Link {
    pub(crate) tag: u64,
    /// For each reply that is still to come: the group it is about, when it answers a question about a
    /// master.
    pub(crate) expected: VecDeque<Option<usize>>,
    pub(crate) is_pubsub: bool,
}

impl Links {
    pub(crate) fn open(&mut self, tag: u64, conn: usize) {
        self.conn_of.insert(tag, conn);
        self.link_of.insert(
            conn,
            Link {
                tag,
                expected: VecDeque::new(),
                is_pubsub: false,
            },
        );
    }

    /// Forgets a link by its connection.
    pub(crate) fn lost(&mut self, conn: usize) -> Option<u64> {
        let link = self.link_of.remove(&conn)?;
        self.conn_of.remove(&link.tag);
        Some(link.tag)
    }

    /// Forgets a link by its tag.
    pub(crate) fn closed(&mut self, tag: u64) -> Option<usize> {
        let conn = self.conn_of.remove(&tag)?;
        self.link_of.remove(&conn);
        Some(conn)
    }

    pub(crate) fn id_of(&self, conn: usize) -> Option<LinkId> {
        self.link_of.get(&conn).map(|link| LinkId(link.tag))
    }
}

/// One of our sentinels.
pub(crate) struct Ours {
    /// `None` while the process is down.
    pub(crate) core: Option<Box<Sentinel>>,
    /// Known from its first start on.
    pub(crate) id: Option<SentinelId>,
    pub(crate) disk: Disk,
    pub(crate) links: Links,
    /// Connections of peers, each with the replies that it waits for.
    pub(crate) clients: BTreeMap<usize, VecDeque<Slot>>,
    pub(crate) pending: BTreeMap<ReplyTo, Pending>,
    pub(crate) replies: u64,
    /// The epoch of its newest vote for itself, per group.
    pub(crate) stands: BTreeMap<usize, Epoch>,
    /// The earliest planned wake, in virtual milliseconds.
    pub(crate) wake_at: Option<u64>,
    /// Ticks in one virtual millisecond, to find a core that never sleeps.
    pub(crate) ticks: (u64, u32),
    pub(crate) lookups: VecDeque<std::sync::Arc<str>>,
}

impl Ours {
    pub(crate) fn new(durable: Durable, mode: DiskMode) -> Ours {
        Ours {
            core: None,
            id: durable.id.clone(),
            disk: Disk::new(durable, mode),
            links: Links::default(),
            clients: BTreeMap::new(),
            pending: BTreeMap::new(),
            replies: 0,
            stands: BTreeMap::new(),
            wake_at: None,
            ticks: (0, 0),
            lookups: VecDeque::new(),
        }
    }

    /// The process is gone, with everything that was only in its memory. A write that was on its way has
    /// reached the disk or not.
    pub(crate) fn crash(&mut self, write_landed: bool) {
        if let Some((_, durable)) = self.disk.in_flight.take()
            && write_landed
        {
            self.disk.file = durable;
        }
        self.core = None;
        self.disk.is_wanted = false;
        self.disk.unwritten_since = None;
        self.disk.is_start_planned = false;
        self.links = Links::default();
        self.clients.clear();
        self.pending.clear();
        self.lookups.clear();
        self.wake_at = None;
    }

    /// The replies of a client that can leave now.
    pub(crate) fn ready_replies(&mut self, conn: usize) -> Vec<Value> {
        let mut ready = Vec::new();
        if let Some(slots) = self.clients.get_mut(&conn) {
            while let Some(Slot::Ready(_)) = slots.front() {
                if let Some(Slot::Ready(value)) = slots.pop_front() {
                    ready.push(value);
                }
            }
        }
        ready
    }

    /// Fills the slot of an answer.
    pub(crate) fn answer(&mut self, conn: usize, to: ReplyTo, reply: Value) {
        if let Some(slots) = self.clients.get_mut(&conn) {
            for slot in slots {
                if matches!(slot, Slot::Waiting(waiting) if *waiting == to) {
                    *slot = Slot::Ready(reply);
                    return;
                }
            }
        }
    }
}

//! What keys take, and where the rest of the memory goes: for `MEMORY` and `INFO memory`.

use super::Server;
use super::keyspace::{Db, Entry};
use crate::front::ClientKind;
use crate::memory;

/// What a key costs in the table of its database: its entry, and beside it so many bytes of an index.
pub(super) const PLACE_BYTES: usize = size_of::<Entry>() + SLOT_BYTES;
const SLOT_BYTES: usize = 4;

/// About how many bytes a key takes with its value. Of a collection of many elements `samples` are looked at
/// (0: all) and stand for the rest.
pub(crate) fn entry_bytes(entry: &Entry, samples: usize) -> usize {
    PLACE_BYTES + entry.key.heap_bytes() + entry.value.heap_bytes(samples)
}

/// Where the memory goes. Bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MemoryReport {
    pub(crate) used: u64,
    pub(crate) peak: u64,
    pub(crate) startup: u64,
    pub(crate) resident: u64,
    pub(crate) backlog: u64,
    pub(crate) replicas: u64,
    /// What is kept of the stream, and what waits to be sent to replicas.
    pub(crate) replication_buffers: u64,
    pub(crate) clients: u64,
    /// What waits to be written to the append-only file.
    pub(crate) aof_buffer: u64,
    pub(crate) overhead: u64,
    /// What is left for the data.
    pub(crate) dataset: u64,
}

impl MemoryReport {
    /// The share of what came after the start that is data. Percent.
    pub(crate) fn dataset_percent(&self) -> f64 {
        let since_start = self.used.saturating_sub(self.startup);
        ratio(self.dataset, since_start) * 100.0
    }

    /// Of the peak, how much is in use. Percent.
    pub(crate) fn peak_percent(&self) -> f64 {
        ratio(self.used, self.peak) * 100.0
    }

    /// What the kernel gave, by what is in use.
    pub(crate) fn fragmentation(&self) -> f64 {
        ratio(self.resident, self.used)
    }

    /// What the kernel gave beyond what is in use.
    pub(crate) fn fragmentation_bytes(&self) -> i64 {
        let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        signed(self.resident) - signed(self.used)
    }
}

#[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
fn ratio(a: u64, b: u64) -> f64 {
    if b == 0 { 0.0 } else { a as f64 / b as f64 }
}

impl Server {
    /// Notes the most that was in use. Sampled after each command and ten times a second.
    pub(super) fn sample_memory(&mut self) {
        self.memory_peak = self.memory_peak.max(memory::used());
    }

    /// Where the memory goes now.
    pub(crate) fn memory_report(&self) -> MemoryReport {
        let used = memory::used();
        let backlog = self
            .replication
            .history
            .backlog()
            .map_or(0, |backlog| (backlog.len() - backlog.beyond_max()) as u64);
        let (mut clients, mut replicas) = (0, 0);
        for client in self.front.clients.iter() {
            let bytes = client.memory_bytes() as u64;
            match client.kind {
                ClientKind::Replica => replicas += bytes - client.output.len() as u64,
                ClientKind::Normal | ClientKind::Master => clients += bytes,
            }
        }
        let output = self.replica_output_bytes();
        replicas += output;
        let snapshots = self.keyspace.snapshot_bytes();
        let aof_buffer = self.aof.writer.buffer_bytes();
        let dbs = (0..self.keyspace.databases()).map(|number| self.keyspace.db(number));
        let tables: usize = dbs
            .filter(|db| !db.is_empty())
            .map(Db::overhead_bytes)
            .sum();
        let overhead = self.memory_at_start
            + backlog
            + clients
            + replicas
            + aof_buffer
            + tables as u64
            + snapshots;
        MemoryReport {
            used,
            peak: self.memory_peak.max(used),
            startup: self.memory_at_start,
            resident: memory::resident(),
            backlog,
            replicas,
            replication_buffers: backlog + output,
            clients,
            aof_buffer,
            overhead,
            dataset: used.saturating_sub(overhead),
        }
    }
}

//! Counters that `INFO` shows.

/// Since the start, or since `CONFIG RESETSTAT`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stats {
    /// Look-ups that found a key.
    pub(crate) keyspace_hits: u64,
    /// Look-ups that did not.
    pub(crate) keyspace_misses: u64,
    /// Keys removed because they had expired.
    pub(crate) expired_keys: u64,
    /// Full resyncs served.
    pub(crate) sync_full: u64,
    /// Partial resyncs served.
    pub(crate) sync_partial_ok: u64,
    /// Partial resyncs refused.
    pub(crate) sync_partial_err: u64,
    /// Bytes received from our master.
    pub(crate) repl_input_bytes: u64,
    /// Bytes of the stream handed to replicas.
    pub(crate) repl_output_bytes: u64,
    /// Commands in the last whole second.
    pub(crate) ops_per_second: u64,
    /// `total_commands_processed` at the last whole second.
    pub(crate) commands_before: u64,
}

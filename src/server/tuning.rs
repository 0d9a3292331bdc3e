//! Settings that tune what the server does: how values are kept, what is logged, what is evicted; and those
//! of redis.conf that have no meaning here, which are kept and shown all the same.
//!
//! Each is one entry of the table below: its meaning, its field with the default of redis-server 7.0, its
//! name (and older name) and how its value is written.

use std::time::Duration;

use super::command::strtod;
use super::keyspace::{NodeLimit, Thresholds};
use super::notify::{self, NotifyClasses};
use super::oom_score::OomMode;
use super::shutdown::{SaveChoice, ShutdownOptions};
use crate::config::forms::{parse_integer, parse_leniently, parse_memory, show_memory};
use crate::config::{
    AlwaysNo, Choice, Directive, Form, Memory, Milliseconds, Number, OptionalText, Refusal, Text,
    TextOrNone, When, YesNo, at,
};
use crate::front::DEFAULT_HZ;

/// One entry per directive; from it come the field, its default and the directive.
macro_rules! tuning {
    ($($(#[doc = $help:literal])+ $field:ident: $type:ty = $default:expr,
       $how:ident $name:literal $(| $alias:literal)?, $form:expr;)+) => {
        /// The settings. `Default` is redis-server 7.0's.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Tuning {
            $($(#[doc = $help])+ pub $field: $type,)+
        }

        impl Default for Tuning {
            fn default() -> Tuning {
                Tuning { $($field: $default,)+ }
            }
        }

        /// The directives, in the order of the table.
        pub(super) fn directives() -> Vec<Directive<Tuning>> {
            vec![$(
                Directive::<Tuning>::$how($name, $form, at!($field), concat!($($help),+).trim_ascii())
                    $(.alias($alias))?,
            )+]
        }
    };
}

/// Which keys are given up when memory is short: `maxmemory-policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvictionPolicy {
    /// Those with an expiry, the longest unused first.
    VolatileLru,
    /// Those with an expiry, the least often used first.
    VolatileLfu,
    /// Those with an expiry, at random.
    VolatileRandom,
    /// Those with an expiry, the soonest first.
    VolatileTtl,
    /// Any, the longest unused first.
    AllKeysLru,
    /// Any, the least often used first.
    AllKeysLfu,
    /// Any, at random.
    AllKeysRandom,
    /// None: writes are refused.
    NoEviction,
}

/// What a replica does with its own data while its master's come: `repl-diskless-load`. They are always kept until
/// the new ones are whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DisklessLoad {
    /// It serves them.
    Disabled,
    /// It serves them, if there are any.
    OnEmptyDb,
    /// It serves them if they are of the master's history.
    SwapDb,
}

impl Tuning {
    /// Where the small forms of collections end.
    pub fn thresholds(&self) -> Thresholds {
        let size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        Thresholds {
            hash_entries: size(self.hash_max_listpack_entries),
            hash_value_bytes: size(self.hash_max_listpack_value),
            intset_entries: size(self.set_max_intset_entries),
            sorted_set_entries: size(self.zset_max_listpack_entries),
            sorted_set_value_bytes: size(self.zset_max_listpack_value),
            list_node: NodeLimit::from_setting(self.list_max_listpack_size),
        }
    }
}

const POLICIES: &[(&str, EvictionPolicy)] = &[
    ("volatile-lru", EvictionPolicy::VolatileLru),
    ("volatile-lfu", EvictionPolicy::VolatileLfu),
    ("volatile-random", EvictionPolicy::VolatileRandom),
    ("volatile-ttl", EvictionPolicy::VolatileTtl),
    ("allkeys-lru", EvictionPolicy::AllKeysLru),
    ("allkeys-lfu", EvictionPolicy::AllKeysLfu),
    ("allkeys-random", EvictionPolicy::AllKeysRandom),
    ("noeviction", EvictionPolicy::NoEviction),
];

impl EvictionPolicy {
    /// As `CONFIG GET` and `INFO` show it.
    pub fn name(self) -> &'static str {
        let found = POLICIES.iter().find(|(_, policy)| *policy == self);
        found.map_or("noeviction", |(name, _)| name)
    }

    /// Whether keys go by when or how often they were used.
    pub fn goes_by_use(self) -> bool {
        match self {
            EvictionPolicy::VolatileLru
            | EvictionPolicy::VolatileLfu
            | EvictionPolicy::AllKeysLru
            | EvictionPolicy::AllKeysLfu => true,
            EvictionPolicy::VolatileRandom
            | EvictionPolicy::VolatileTtl
            | EvictionPolicy::AllKeysRandom
            | EvictionPolicy::NoEviction => false,
        }
    }
}

/// One of the words of a directive that has no meaning here, kept by its place in the list.
type Word = &'static str;

const fn word(text: &'static str) -> (&'static str, Word) {
    (text, text)
}

const ALLOW: &[(&str, Word)] = &[word("no"), word("yes"), word("local")];
const DISKLESS_LOAD: &[(&str, DisklessLoad)] = &[
    ("disabled", DisklessLoad::Disabled),
    ("on-empty-db", DisklessLoad::OnEmptyDb),
    ("swapdb", DisklessLoad::SwapDb),
];
const SANITIZE: &[(&str, Word)] = &[word("no"), word("yes"), word("clients")];
const OOM_SCORE: &[(&str, OomMode)] = &[
    ("no", OomMode::No),
    ("yes", OomMode::Relative),
    ("relative", OomMode::Relative),
    ("absolute", OomMode::Absolute),
];
const PROPAGATION: &[(&str, Word)] = &[word("ignore"), word("panic"), word("panic-on-replicas")];
const ENDPOINT: &[(&str, Word)] = &[word("ip"), word("hostname"), word("unknown-endpoint")];

fn size<T: TryFrom<i64>>() -> Number<T> {
    Number::between(0, i64::MAX)
}

fn natural<T: TryFrom<i64>>(least: i32) -> Number<T> {
    Number::between(least, i32::MAX)
}

fn memory() -> Memory {
    Memory::at_most(i64::MAX.unsigned_abs())
}

tuning! {
    /// most fields of a hash in the compact form
    hash_max_listpack_entries: u64 = 512,
        at_run_time "hash-max-listpack-entries" | "hash-max-ziplist-entries", size();
    /// longest field or value of a hash in the compact form, in bytes
    hash_max_listpack_value: u64 = 64,
        at_run_time "hash-max-listpack-value" | "hash-max-ziplist-value", memory();
    /// most elements of a piece of a list, or its bytes: -1 4kb, -2 8kb, to -5 64kb
    list_max_listpack_size: i32 = -2,
        at_run_time "list-max-listpack-size" | "list-max-ziplist-size", Number::between(i32::MIN, i32::MAX);
    /// without effect: lists are not compressed
    list_compress_depth: i32 = 0, at_run_time "list-compress-depth", natural(0);
    /// most members of a set of integers in the compact form
    set_max_intset_entries: u64 = 512, at_run_time "set-max-intset-entries", size();
    /// most members of a sorted set in the compact form
    zset_max_listpack_entries: u64 = 128,
        at_run_time "zset-max-listpack-entries" | "zset-max-ziplist-entries", size();
    /// longest member of a sorted set in the compact form, in bytes
    zset_max_listpack_value: u64 = 64,
        at_run_time "zset-max-listpack-value" | "zset-max-ziplist-value", memory();
    /// largest HyperLogLog in the sparse form, in bytes
    hll_sparse_max_bytes: u64 = 3000, at_run_time "hll-sparse-max-bytes", memory();
    /// without effect: there are no streams
    stream_node_max_bytes: u64 = 4096, at_run_time "stream-node-max-bytes", memory();
    /// without effect: there are no streams
    stream_node_max_entries: u64 = 100, at_run_time "stream-node-max-entries", size();

    /// which keys go when memory is short
    maxmemory_policy: EvictionPolicy = EvictionPolicy::NoEviction,
        at_run_time "maxmemory-policy", Choice::of(POLICIES);
    /// keys looked at for each that goes
    maxmemory_samples: i32 = 5, at_run_time "maxmemory-samples", natural(1);
    /// how hard it is tried, 0 to 100
    maxmemory_eviction_tenacity: i32 = 10,
        at_run_time "maxmemory-eviction-tenacity", Number::between(0, 100);
    /// memory of all clients together, in bytes or percent of maxmemory, 0 for no limit: the largest go
    maxmemory_clients: i64 = 0, at_run_time "maxmemory-clients", MemoryOrPercent;
    /// a replica leaves eviction to its master
    replica_ignore_maxmemory: bool = true,
        at_run_time "replica-ignore-maxmemory" | "slave-ignore-maxmemory", YesNo;
    /// uses after which the counter of a key is saturated: higher is later
    lfu_log_factor: i32 = 10, at_run_time "lfu-log-factor", natural(0);
    /// minutes after which the counter of a key is lowered
    lfu_decay_time: i32 = 1, at_run_time "lfu-decay-time", natural(0);

    /// commands slower than this many microseconds are logged; negative for none
    slowlog_log_slower_than: i64 = 10_000,
        at_run_time "slowlog-log-slower-than", Number::between(-1, i64::MAX);
    /// entries of that log
    slowlog_max_len: u64 = 128, at_run_time "slowlog-max-len", size();
    /// events at least so long are kept for LATENCY, in milliseconds; 0 for none
    latency_monitor_threshold: Duration = Duration::ZERO,
        at_run_time "latency-monitor-threshold", Milliseconds::between(0, i64::MAX);
    /// the latency of each command is kept for INFO and LATENCY
    latency_tracking: bool = true, at_run_time "latency-tracking", YesNo;
    /// which percentiles INFO shows of it
    latency_percentiles: Percentiles = Percentiles::default(),
        at_run_time "latency-tracking-info-percentiles", PercentilesForm;
    /// which events of keys are published
    notify_events: NotifyClasses = NotifyClasses::NONE,
        at_run_time "notify-keyspace-events", notify::ClassesForm;
    /// most keys remembered for CLIENT TRACKING, 0 for no limit
    tracking_table_max_keys: u64 = 1_000_000, at_run_time "tracking-table-max-keys", size();

    /// without effect: background work has a pace of its own
    hz: i32 = DEFAULT_HZ, at_run_time "hz", Hertz;
    /// without effect: background work has a pace of its own
    dynamic_hz: bool = true, at_run_time "dynamic-hz", YesNo;
    /// how much of the time may be spent on expired keys: a quarter, and 2 percent for each step
    active_expire_effort: i32 = 1, at_run_time "active-expire-effort", Number::between(1, 10);
    /// without effect: tables here never pause to grow
    activerehashing: bool = true, at_run_time "activerehashing", YesNo;
    /// memory is not moved together here
    activedefrag: bool = false, at_run_time "activedefrag", AlwaysNo(NO_DEFRAG);
    /// without effect
    active_defrag_cycle_min: i32 = 1, at_run_time "active-defrag-cycle-min", Number::between(1, 99);
    /// without effect
    active_defrag_cycle_max: i32 = 25, at_run_time "active-defrag-cycle-max", Number::between(1, 99);
    /// without effect
    active_defrag_threshold_lower: i32 = 10,
        at_run_time "active-defrag-threshold-lower", Number::between(0, 1000);
    /// without effect
    active_defrag_threshold_upper: i32 = 100,
        at_run_time "active-defrag-threshold-upper", Number::between(0, 1000);
    /// without effect
    active_defrag_ignore_bytes: u64 = 100 << 20,
        at_run_time "active-defrag-ignore-bytes", Memory::between(1, i64::MAX.unsigned_abs());
    /// without effect
    active_defrag_max_scan_fields: i64 = 1000,
        at_run_time "active-defrag-max-scan-fields", Number::between(1, i64::MAX);
    /// without effect: large values are freed on another thread
    lazyfree_lazy_eviction: bool = false, at_run_time "lazyfree-lazy-eviction", YesNo;
    /// without effect: large values are freed on another thread
    lazyfree_lazy_expire: bool = false, at_run_time "lazyfree-lazy-expire", YesNo;
    /// without effect: large values are freed on another thread
    lazyfree_lazy_server_del: bool = false, at_run_time "lazyfree-lazy-server-del", YesNo;
    /// without effect: large values are freed on another thread
    lazyfree_lazy_user_del: bool = false, at_run_time "lazyfree-lazy-user-del", YesNo;
    /// without effect: large values are freed on another thread
    lazyfree_lazy_user_flush: bool = false, at_run_time "lazyfree-lazy-user-flush", YesNo;
    /// without effect: old data are always freed on another thread
    replica_lazy_flush: bool = false, at_run_time "replica-lazy-flush" | "slave-lazy-flush", YesNo;
    /// without effect: every link sends at once
    repl_disable_tcp_nodelay: bool = false, at_run_time "repl-disable-tcp-nodelay", YesNo;
    /// what clients hear while a master's data come: swapdb is LOADING, unless they are of the same history. The old data
    /// are always kept until the new ones are whole: a full resync needs room for both
    repl_diskless_load: DisklessLoad = DisklessLoad::Disabled,
        at_run_time "repl-diskless-load", Choice::of(DISKLESS_LOAD);
    /// without effect
    replica_ignore_disk_write_errors: bool = false,
        at_run_time "replica-ignore-disk-write-errors", YesNo;
    /// without effect
    rdb_del_sync_files: bool = false, at_run_time "rdb-del-sync-files", YesNo;
    /// a rewrite syncs the base of an append-only file every MiB, not at its end alone
    aof_rewrite_incremental_fsync: bool = true, at_run_time "aof-rewrite-incremental-fsync", YesNo;
    /// without effect: what a rewrite has replaced always goes
    aof_disable_auto_gc: bool = false, at_run_time "aof-disable-auto-gc", YesNo;
    /// `BGSAVE` syncs the file every MiB, not at its end alone
    rdb_save_incremental_fsync: bool = true, at_run_time "rdb-save-incremental-fsync", YesNo;
    /// for tests: what is saved, rewritten or sent to replicas takes so many microseconds for each key, or one for so many keys where negative
    rdb_key_save_delay: i32 = 0, hidden "rdb-key-save-delay", Number::between(i32::MIN, i32::MAX);
    /// for tests: a load takes so many microseconds for each key, or one for so many keys where negative
    key_load_delay: i32 = 0, hidden "key-load-delay", Number::between(i32::MIN, i32::MAX);
    /// without effect: clients are served all the while
    loading_process_events_interval_bytes: i64 = 2 << 20,
        hidden "loading-process-events-interval-bytes", Number::between(1024, i32::MAX);
    /// without effect: what is restored is always checked
    sanitize_dump_payload: Word = "no", at_run_time "sanitize-dump-payload", Choice::of(SANITIZE);
    /// without effect: there are no scripts
    busy_reply_threshold: i64 = 5000, at_run_time "busy-reply-threshold" | "lua-time-limit", size();
    /// without effect: there are no scripts
    lua_enable_deprecated_api: bool = false, hidden_at_start "lua-enable-deprecated-api", YesNo;
    /// without effect: what takes long is in the log of slow commands
    watchdog_period: i32 = 0, hidden "watchdog-period", natural(0);
    /// without effect
    propagation_error_behavior: Word = "ignore",
        at_run_time "propagation-error-behavior", Choice::of(PROPAGATION);
    /// without effect
    jemalloc_bg_thread: bool = true, at_run_time "jemalloc-bg-thread", YesNo;
    /// without effect: a panic always aborts
    use_exit_on_panic: bool = false, hidden "use-exit-on-panic", YesNo;
    /// without effect
    crash_log_enabled: bool = true, at_run_time "crash-log-enabled", YesNo;
    /// without effect
    crash_memcheck_enabled: bool = true, at_run_time "crash-memcheck-enabled", YesNo;
    /// memory comes in small pages: with huge ones a process takes more than it uses
    disable_thp: bool = true, at_start "disable-thp", YesNo;
    /// whether the kernel is told how soon to end this process when memory is short; yes is relative
    oom_score_adj: OomMode = OomMode::No, at_run_time "oom-score-adj", Choice::of(OOM_SCORE);
    /// how soon as a master and as a replica; the third, for a process that saves, is not used
    oom_score_adj_values: [i32; 3] = [0, 200, 800], at_run_time "oom-score-adj-values", OomValues;
    /// what SIGINT does
    shutdown_on_sigint: ShutdownOptions = ShutdownOptions::default(),
        at_run_time "shutdown-on-sigint", ShutdownForm;
    /// what SIGTERM does
    shutdown_on_sigterm: ShutdownOptions = ShutdownOptions::default(),
        at_run_time "shutdown-on-sigterm", ShutdownForm;
    /// without effect: one thread serves all clients
    io_threads: i32 = 1, at_start "io-threads", Number::between(1, 128);
    /// without effect
    io_threads_do_reads: bool = false, at_start "io-threads-do-reads", YesNo;
    /// without effect
    set_proc_title: bool = true, at_start "set-proc-title", YesNo;
    /// without effect
    proc_title_template: String = "{title} {listen-addr} {server-mode}".to_owned(),
        at_run_time "proc-title-template", TitleTemplate;
    /// without effect
    always_show_logo: bool = false, at_start "always-show-logo", YesNo;
    /// without effect
    ignore_warnings: String = String::new(), at_run_time "ignore-warnings", Text;
    /// without effect: there are no modules
    enable_module_command: Word = "no", at_start "enable-module-command", Choice::of(ALLOW);
    /// there are no modules
    loadmodule: Vec<String> = Vec::new(), file_only "loadmodule", Never("modules");
    /// without effect
    socket_mark_id: u32 = 0, at_start "socket-mark-id", Number::between(0, u32::MAX);
    /// without effect
    server_cpulist: String = String::new(), at_start "server_cpulist", TextOrNone;
    /// without effect
    bio_cpulist: String = String::new(), at_start "bio_cpulist", TextOrNone;
    /// without effect
    bgsave_cpulist: String = String::new(), at_start "bgsave_cpulist", TextOrNone;
    /// without effect
    aof_rewrite_cpulist: String = String::new(), at_start "aof_rewrite_cpulist", TextOrNone;

    /// cluster mode is not there
    cluster_enabled: bool = false, at_start "cluster-enabled", AlwaysNo("this server does not have cluster mode");
    /// without effect: there is no cluster mode
    cluster_config_file: String = "nodes.conf".to_owned(), at_start "cluster-config-file", Text;
    /// without effect: there is no cluster mode
    cluster_node_timeout: i64 = 15_000, at_run_time "cluster-node-timeout", size();
    /// without effect: there is no cluster mode
    cluster_port: u16 = 0, at_start "cluster-port", Number::between(0, u16::MAX);
    /// without effect: there is no cluster mode
    cluster_announce_port: u16 = 0, at_run_time "cluster-announce-port", Number::between(0, u16::MAX);
    /// without effect: there is no cluster mode
    cluster_announce_tls_port: u16 = 0,
        at_run_time "cluster-announce-tls-port", Number::between(0, u16::MAX);
    /// without effect: there is no cluster mode
    cluster_announce_bus_port: u16 = 0,
        at_run_time "cluster-announce-bus-port", Number::between(0, u16::MAX);
    /// without effect: there is no cluster mode
    cluster_announce_ip: Option<std::sync::Arc<str>> = None, at_run_time "cluster-announce-ip", OptionalText;
    /// without effect: there is no cluster mode
    cluster_announce_hostname: Option<std::sync::Arc<str>> = None,
        at_run_time "cluster-announce-hostname", HostName;
    /// without effect: there is no cluster mode
    cluster_preferred_endpoint_type: Word = "ip",
        at_run_time "cluster-preferred-endpoint-type", Choice::of(ENDPOINT);
    /// without effect: there is no cluster mode
    cluster_migration_barrier: i32 = 1, at_run_time "cluster-migration-barrier", natural(0);
    /// without effect: there is no cluster mode
    cluster_replica_validity_factor: i32 = 10,
        at_run_time "cluster-replica-validity-factor" | "cluster-slave-validity-factor", natural(0);
    /// without effect: there is no cluster mode
    cluster_replica_no_failover: bool = false,
        at_run_time "cluster-replica-no-failover" | "cluster-slave-no-failover", YesNo;
    /// without effect: there is no cluster mode
    cluster_require_full_coverage: bool = true, at_run_time "cluster-require-full-coverage", YesNo;
    /// without effect: there is no cluster mode
    cluster_allow_reads_when_down: bool = false, at_run_time "cluster-allow-reads-when-down", YesNo;
    /// without effect: there is no cluster mode
    cluster_allow_pubsubshard_when_down: bool = true,
        at_run_time "cluster-allow-pubsubshard-when-down", YesNo;
    /// without effect: there is no cluster mode
    cluster_allow_replica_migration: bool = true,
        at_run_time "cluster-allow-replica-migration", YesNo;
    /// without effect: there is no cluster mode
    cluster_link_sendbuf_limit: u64 = 0, at_run_time "cluster-link-sendbuf-limit", Memory::at_most(u64::MAX);
}

/// Redis's words where its allocator cannot do it either.
const NO_DEFRAG: &str = "Active defragmentation cannot be enabled: it requires a Redis server compiled with a modified Jemalloc like the one shipped by default with the Redis source distribution";

/// Percentiles in millionths of a percent, so that settings can be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Percentiles(Vec<u64>);

impl Default for Percentiles {
    fn default() -> Percentiles {
        Percentiles(vec![50_000_000, 99_000_000, 99_900_000])
    }
}

impl Percentiles {
    const PER_PERCENT: u32 = 1_000_000;

    /// Each as a number up to 100 and as `INFO` shows it: 99.9.
    pub fn iter(&self) -> impl Iterator<Item = (f64, String)> {
        self.0.iter().map(|&millionths| {
            #[expect(clippy::cast_precision_loss, reason = "at most a hundred million")]
            let percent = millionths as f64 / f64::from(Percentiles::PER_PERCENT);
            (percent, percent.to_string())
        })
    }
}

/// `latency-tracking-info-percentiles 50 99 99.9`
struct PercentilesForm;

impl Form for PercentilesForm {
    type Value = Percentiles;

    fn arity(&self) -> (usize, usize) {
        (0, usize::MAX)
    }

    fn parse(&self, words: &[&str], _: When, value: &mut Percentiles) -> Result<(), Refusal> {
        let words = if words == [""] { &[][..] } else { words };
        let percent = |word: &&str| -> Result<u64, Refusal> {
            let percent = strtod::double(word.as_bytes()).ok_or_else(|| {
                Refusal::new("Invalid latency-tracking-info-percentiles parameters")
            })?;
            if !(0.0..=100.0).contains(&percent) {
                return Err(Refusal::new(
                    "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]",
                ));
            }
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "between 0 and a hundred million"
            )]
            let millionths = (percent * f64::from(Percentiles::PER_PERCENT)).round() as u64;
            Ok(millionths)
        };
        value.0 = words.iter().map(percent).collect::<Result<_, _>>()?;
        Ok(())
    }

    fn show(&self, value: &Percentiles) -> String {
        let shown: Vec<String> = value.iter().map(|(_, text)| text).collect();
        shown.join(" ")
    }

    fn lines(&self, value: &Percentiles) -> Vec<Vec<String>> {
        let words: Vec<String> = value.iter().map(|(_, text)| text).collect();
        vec![if words.is_empty() {
            vec![String::new()]
        } else {
            words
        }]
    }

    fn expected(&self) -> String {
        "percentiles from 0 to 100, such as 50 99 99.9".to_owned()
    }
}

/// `oom-score-adj-values 0 200 800`
struct OomValues;

impl Form for OomValues {
    type Value = [i32; 3];

    fn arity(&self) -> (usize, usize) {
        (3, 3)
    }

    fn parse(&self, words: &[&str], _: When, value: &mut [i32; 3]) -> Result<(), Refusal> {
        for (slot, word) in value.iter_mut().zip(words) {
            let parsed = parse_leniently(word).filter(|n| (-2000..=2000).contains(n));
            *slot = parsed.and_then(|n| i32::try_from(n).ok()).ok_or_else(|| {
                Refusal::new(
                    "Invalid oom-score-adj-values, elements must be between -2000 and 2000.",
                )
            })?;
        }
        Ok(())
    }

    fn show(&self, value: &[i32; 3]) -> String {
        value.map(|n| n.to_string()).join(" ")
    }

    fn lines(&self, value: &[i32; 3]) -> Vec<Vec<String>> {
        vec![value.map(|n| n.to_string()).to_vec()]
    }

    fn expected(&self) -> String {
        "three numbers from -2000 to 2000".to_owned()
    }
}

/// Bytes, or a part of `maxmemory` as `5%`, which is kept as −5.
struct MemoryOrPercent;

impl Form for MemoryOrPercent {
    type Value = i64;

    fn parse(&self, words: &[&str], _: When, value: &mut i64) -> Result<(), Refusal> {
        let bad = || Refusal::new("argument must be a memory or percent value");
        *value = match words[0].strip_suffix('%') {
            Some(percent) => {
                let percent: i64 = parse_integer(percent).filter(|n| *n >= 0).ok_or_else(bad)?;
                if percent > 100 {
                    return Err(Refusal::new(
                        "percentage argument must be less or equal to 100",
                    ));
                }
                -percent
            }
            None => {
                let bytes = parse_memory(words[0]).ok_or_else(bad)?;
                i64::try_from(bytes).unwrap_or(i64::MAX)
            }
        };
        Ok(())
    }

    fn show(&self, value: &i64) -> String {
        if *value < 0 {
            format!("{}%", value.unsigned_abs())
        } else {
            value.to_string()
        }
    }

    fn lines(&self, value: &i64) -> Vec<Vec<String>> {
        let shown = u64::try_from(*value).map_or_else(|_| self.show(value), show_memory);
        vec![vec![shown]]
    }

    fn expected(&self) -> String {
        "bytes, or a percentage such as 5%".to_owned()
    }
}

/// The name of a host; the empty one unsets.
struct HostName;

impl Form for HostName {
    type Value = Option<std::sync::Arc<str>>;

    fn parse(&self, words: &[&str], when: When, value: &mut Self::Value) -> Result<(), Refusal> {
        const BYTES_MAX: usize = 255;
        if words[0].len() > BYTES_MAX {
            return Err(Refusal::new("Hostnames must be less than 256 characters"));
        }
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
        if !words[0].bytes().all(is_plain) {
            return Err(Refusal::new(
                "Hostnames may only contain alphanumeric characters, hyphens or dots",
            ));
        }
        OptionalText.parse(words, when, value)
    }

    fn show(&self, value: &Self::Value) -> String {
        OptionalText.show(value)
    }

    fn lines(&self, value: &Self::Value) -> Vec<Vec<String>> {
        OptionalText.lines(value)
    }

    fn expected(&self) -> String {
        "the name of a host, or \"\" for none".to_owned()
    }
}

/// `proc-title-template`: text with names in braces; two opening ones stand for one.
struct TitleTemplate;

impl TitleTemplate {
    const NAMES: [&str; 7] = [
        "title",
        "listen-addr",
        "server-mode",
        "port",
        "tls-port",
        "unixsocket",
        "config-file",
    ];

    fn is_right(template: &str) -> bool {
        let mut rest = template;
        while let Some((_, after)) = rest.split_once('{') {
            rest = match (after.strip_prefix('{'), after.split_once('}')) {
                (Some(after), _) => after,
                (None, Some((name, after))) if TitleTemplate::NAMES.contains(&name) => after,
                (None, _) => return false,
            };
        }
        !template.trim_matches(' ').is_empty()
    }
}

impl Form for TitleTemplate {
    type Value = String;

    fn parse(&self, words: &[&str], when: When, value: &mut String) -> Result<(), Refusal> {
        if !TitleTemplate::is_right(words[0]) {
            return Err(Refusal::new(
                "template format is invalid or contains unknown variables",
            ));
        }
        Text.parse(words, when, value)
    }

    fn show(&self, value: &String) -> String {
        value.clone()
    }

    fn expected(&self) -> String {
        format!("text with any of {{{}}}", TitleTemplate::NAMES.join("}, {"))
    }
}

/// `hz`, which is brought between 1 and 500.
struct Hertz;

impl Form for Hertz {
    type Value = i32;

    fn parse(&self, words: &[&str], when: When, value: &mut i32) -> Result<(), Refusal> {
        natural::<i32>(0).parse(words, when, value)?;
        *value = (*value).clamp(1, 500);
        Ok(())
    }

    fn show(&self, value: &i32) -> String {
        value.to_string()
    }

    fn expected(&self) -> String {
        natural::<i32>(0).expected()
    }
}

/// `shutdown-on-sigterm default`, or some of `save nosave now force`.
struct ShutdownForm;

impl Form for ShutdownForm {
    type Value = ShutdownOptions;

    fn arity(&self) -> (usize, usize) {
        (0, usize::MAX)
    }

    fn parse(&self, words: &[&str], _: When, value: &mut ShutdownOptions) -> Result<(), Refusal> {
        const WORDS: [&str; 5] = ["default", "save", "nosave", "now", "force"];
        let is = |word: &str, known: &&str| word.eq_ignore_ascii_case(known);
        let is_known = |word: &&str| WORDS.iter().any(|known| is(word, known));
        if words.is_empty() || !words.iter().all(is_known) {
            return Err(Refusal::new(format!(
                "argument(s) must be one of the following: {}",
                WORDS.join(", ")
            )));
        }
        let says = |known: &str| words.iter().any(|word| is(word, &known));
        let save = match (says("save"), says("nosave")) {
            (true, true) => {
                return Err(Refusal::new(
                    "shutdown options SAVE and NOSAVE can't be used simultaneously",
                ));
            }
            (true, false) => SaveChoice::Always,
            (false, true) => SaveChoice::Never,
            (false, false) => SaveChoice::AsConfigured,
        };
        *value = ShutdownOptions {
            save,
            now: says("now"),
            force: says("force"),
        };
        Ok(())
    }

    fn show(&self, value: &ShutdownOptions) -> String {
        self.lines(value).concat().join(" ")
    }

    fn lines(&self, value: &ShutdownOptions) -> Vec<Vec<String>> {
        let words = [
            ("save", value.save == SaveChoice::Always),
            ("nosave", value.save == SaveChoice::Never),
            ("now", value.now),
            ("force", value.force),
        ];
        let said = words.iter().filter(|(_, is_said)| *is_said);
        let mut said: Vec<String> = said.map(|(word, _)| (*word).to_owned()).collect();
        if said.is_empty() {
            said.push("default".to_owned());
        }
        vec![said]
    }

    fn expected(&self) -> String {
        "default, or some of save, nosave, now, force".to_owned()
    }
}

/// A directive of something that is not there: every line is refused.
struct Never(&'static str);

impl Form for Never {
    type Value = Vec<String>;

    fn arity(&self) -> (usize, usize) {
        (1, usize::MAX)
    }

    fn parse(&self, _: &[&str], _: When, _: &mut Vec<String>) -> Result<(), Refusal> {
        Err(Refusal::new(format!(
            "this server does not have {}",
            self.0
        )))
    }

    fn show(&self, _: &Vec<String>) -> String {
        String::new()
    }

    fn lines(&self, _: &Vec<String>) -> Vec<Vec<String>> {
        Vec::new()
    }

    fn expected(&self) -> String {
        "no such line".to_owned()
    }
}

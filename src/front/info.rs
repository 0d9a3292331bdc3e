//! The sections of `INFO` that both programs have.

use std::borrow::Cow;
use std::fmt::Write;

use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use super::client::{Blocked, ClientKind};
use super::pubsub::Kind;
use super::{Front, Program, REDIS_VERSION};
use crate::clock::{Mono, Now};
use crate::ids::RunId;

/// Facts about the process that do not change while it runs.
#[derive(Clone, Debug)]
pub struct ProcessInfo {
    /// New at every start.
    pub run_id: RunId,
    /// The port that clients connect to.
    pub tcp_port: u16,
    /// Absolute path of the configuration; empty without one.
    pub config_file: String,
    /// Absolute path of the program.
    pub executable: String,
    /// When it started.
    pub started: Mono,
    /// `process_supervised`: `no`, `systemd`, `upstart`.
    pub supervised: &'static str,
    /// Until when a shutdown waits for replicas, if one does.
    pub shutdown_at: Option<Mono>,
}

/// Which sections an `INFO` asks for.
#[derive(Clone, Debug)]
pub struct InfoSections {
    names: Vec<String>,
    all: bool,
    default: bool,
}

impl InfoSections {
    /// Reads the words after `INFO`. Unknown names are ignored, as in the original.
    pub fn parse<'a>(words: impl IntoIterator<Item = Cow<'a, str>>) -> InfoSections {
        let names: Vec<String> = words
            .into_iter()
            .map(|word| word.to_ascii_lowercase())
            .collect();
        let has = |wanted: &str| names.iter().any(|name| name == wanted);
        InfoSections {
            all: has("all") || has("everything"),
            default: names.is_empty() || has("default"),
            names,
        }
    }

    /// Whether a section is to be shown; `is_default`: also when none is named.
    pub fn wants(&self, name: &str, is_default: bool) -> bool {
        self.all || (self.default && is_default) || self.names.iter().any(|known| known == name)
    }
}

/// `hz` where nothing else is configured. Ours has a pace of its own, and shows this as the present one.
pub const DEFAULT_HZ: i32 = 10;

/// `# Server`
pub fn server_section(info: &ProcessInfo, mode: &str, configured_hz: i32, now: Now) -> String {
    let uname = rustix::system::uname();
    let uptime_seconds = now.mono.since(info.started).as_secs();
    let seconds = now.unix.0 / 1000;
    let shutdown = info.shutdown_at.map_or_else(String::new, |at| {
        let left = at.since(now.mono).as_millis();
        format!("shutdown_in_milliseconds:{left}\r\n")
    });
    format!(
        "# Server\r\n\
         redis_version:{REDIS_VERSION}\r\n\
         redis_git_sha1:00000000\r\n\
         redis_git_dirty:0\r\n\
         redis_build_id:0\r\n\
         redis_mode:{mode}\r\n\
         os:{} {} {}\r\n\
         arch_bits:{}\r\n\
         monotonic_clock:POSIX clock_gettime\r\n\
         multiplexing_api:epoll\r\n\
         atomicvar_api:c11-builtin\r\n\
         gcc_version:0.0.0\r\n\
         process_id:{}\r\n\
         process_supervised:{}\r\n\
         run_id:{}\r\n\
         tcp_port:{}\r\n\
         server_time_usec:{}\r\n\
         uptime_in_seconds:{uptime_seconds}\r\n\
         uptime_in_days:{}\r\n\
         hz:{DEFAULT_HZ}\r\n\
         configured_hz:{configured_hz}\r\n\
         lru_clock:{}\r\n\
         executable:{}\r\n\
         config_file:{}\r\n\
         io_threads_active:0\r\n\
         {shutdown}\
         sentinel_version:{}\r\n",
        uname.sysname().to_string_lossy(),
        uname.release().to_string_lossy(),
        uname.machine().to_string_lossy(),
        usize::BITS,
        std::process::id(),
        info.supervised,
        info.run_id,
        info.tcp_port,
        now.unix.0 * 1000,
        uptime_seconds / (24 * 3600),
        seconds & 0x00ff_ffff,
        info.executable,
        info.config_file,
        env!("CARGO_PKG_VERSION"),
    )
}

/// `# Clients`
pub fn clients_section<P: Program>(front: &Front<P>) -> String {
    let (mut blocked, mut timed, mut replicas) = (0, 0, 0);
    let (mut tracking, mut input, mut output) = (0, 0, 0);
    for client in front.clients.iter() {
        blocked += usize::from(client.blocked.is_some());
        if let Some(Blocked::Waiting { until, .. }) = client.blocked {
            timed += usize::from(until != Mono::NEVER);
        }
        replicas += usize::from(client.kind == ClientKind::Replica);
        tracking += usize::from(client.tracking.is_some());
        input = input.max(client.query_bytes);
        output = output.max(client.output.len());
    }
    format!(
        "# Clients\r\n\
         connected_clients:{}\r\n\
         cluster_connections:0\r\n\
         maxclients:{}\r\n\
         client_recent_max_input_buffer:{input}\r\n\
         client_recent_max_output_buffer:{output}\r\n\
         blocked_clients:{blocked}\r\n\
         tracking_clients:{tracking}\r\n\
         clients_in_timeout_table:{timed}\r\n",
        front.connected() - replicas,
        front.settings.maxclients,
    )
}

/// What the data server counts beside what every program counts; zero in the sentinel, which shows the
/// lines all the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DataStats {
    /// `sync_full`
    pub sync_full: u64,
    /// `sync_partial_ok`
    pub sync_partial_ok: u64,
    /// `sync_partial_err`
    pub sync_partial_err: u64,
    /// `expired_keys`
    pub expired_keys: u64,
    /// `expired_time_cap_reached_count`: how often there was not time enough to remove all that had expired.
    pub expire_cut_short: u64,
    /// `expire_cycle_cpu_milliseconds`. Nanoseconds.
    pub expire_nanos: u64,
    /// `evicted_keys`
    pub evicted_keys: u64,
    /// `total_eviction_exceeded_time`: how long memory was above its limit. Milliseconds.
    pub eviction_exceeded_total: u64,
    /// `current_eviction_exceeded_time`: the same since it last went above it.
    pub eviction_exceeded_now: u64,
    /// `slave_expires_tracked_keys`: keys with an expiry that clients of this replica have written.
    pub own_expiries: u64,
    /// `keyspace_hits`
    pub keyspace_hits: u64,
    /// `keyspace_misses`
    pub keyspace_misses: u64,
    /// `tracking_total_keys`
    pub tracked_keys: u64,
    /// `tracking_total_items`
    pub tracked_items: u64,
    /// `tracking_total_prefixes`
    pub tracked_prefixes: u64,
    /// `migrate_cached_sockets`
    pub migration_links: u64,
}

/// `# Stats`
pub fn stats_section<P: Program>(front: &Front<P>, data: &DataStats) -> String {
    let stats = &front.stats;
    let rates = front.rates.per_second();
    let kb = |bytes: u64| format!("{}.{:02}", bytes / 1024, bytes % 1024 * 100 / 1024);
    let mut text = String::from("# Stats\r\n");
    let mut line = |name: &str, value: &dyn std::fmt::Display| {
        let _ = write!(text, "{name}:{value}\r\n");
    };
    line("total_connections_received", &stats.connections);
    line("total_commands_processed", &stats.commands);
    line("instantaneous_ops_per_sec", &rates.commands);
    line("total_net_input_bytes", &stats.net_input_bytes);
    line("total_net_output_bytes", &stats.net_output_bytes);
    line("total_net_repl_input_bytes", &stats.repl_input_bytes);
    line("total_net_repl_output_bytes", &stats.repl_output_bytes);
    line("instantaneous_input_kbps", &kb(rates.input_bytes));
    line("instantaneous_output_kbps", &kb(rates.output_bytes));
    line("instantaneous_input_repl_kbps", &kb(rates.repl_input_bytes));
    line(
        "instantaneous_output_repl_kbps",
        &kb(rates.repl_output_bytes),
    );
    line("rejected_connections", &stats.rejected_connections);
    line("sync_full", &data.sync_full);
    line("sync_partial_ok", &data.sync_partial_ok);
    line("sync_partial_err", &data.sync_partial_err);
    line("expired_keys", &data.expired_keys);
    line("expired_stale_perc", &"0.00");
    line("expired_time_cap_reached_count", &data.expire_cut_short);
    line(
        "expire_cycle_cpu_milliseconds",
        &(data.expire_nanos / 1_000_000),
    );
    line("evicted_keys", &data.evicted_keys);
    line("evicted_clients", &stats.evicted_clients);
    line(
        "total_eviction_exceeded_time",
        &data.eviction_exceeded_total,
    );
    line(
        "current_eviction_exceeded_time",
        &data.eviction_exceeded_now,
    );
    line("keyspace_hits", &data.keyspace_hits);
    line("keyspace_misses", &data.keyspace_misses);
    line("pubsub_channels", &front.pubsub.name_count(Kind::Channel));
    line("pubsub_patterns", &front.pubsub.name_count(Kind::Pattern));
    line(
        "pubsubshard_channels",
        &front.pubsub.name_count(Kind::Shard),
    );
    line("latest_fork_usec", &0);
    line("total_forks", &0);
    line("migrate_cached_sockets", &data.migration_links);
    line("slave_expires_tracked_keys", &data.own_expiries);
    line("active_defrag_hits", &0);
    line("active_defrag_misses", &0);
    line("active_defrag_key_hits", &0);
    line("active_defrag_key_misses", &0);
    line("total_active_defrag_time", &0);
    line("current_active_defrag_time", &0);
    line("tracking_total_keys", &data.tracked_keys);
    line("tracking_total_items", &data.tracked_items);
    line("tracking_total_prefixes", &data.tracked_prefixes);
    line("unexpected_error_replies", &0);
    line("total_error_replies", &stats.error_replies);
    line("dump_payload_sanitizations", &0);
    line("total_reads_processed", &stats.reads);
    line("total_writes_processed", &stats.writes);
    line("io_threaded_reads_processed", &0);
    line("io_threaded_writes_processed", &0);
    line("reply_buffer_shrinks", &0);
    line("reply_buffer_expands", &0);
    text
}

/// `# CPU`
pub fn cpu_section() -> String {
    let usage = |who| getrusage(who).ok();
    let (own, children) = (
        usage(UsageWho::RUSAGE_SELF),
        usage(UsageWho::RUSAGE_CHILDREN),
    );
    let thread = usage(UsageWho::RUSAGE_THREAD);
    let micros = |of: Option<Usage>| {
        let sys = of.map_or(0, |usage| usage.system_time().num_microseconds());
        let user = of.map_or(0, |usage| usage.user_time().num_microseconds());
        (sys, user)
    };
    let mut text = String::from("# CPU\r\n");
    for (suffix, usage) in [("", own), ("_children", children), ("_main_thread", thread)] {
        let (sys, user) = micros(usage);
        for (kind, time) in [("sys", sys), ("user", user)] {
            let (seconds, rest) = (time / 1_000_000, time % 1_000_000);
            let _ = write!(text, "used_cpu_{kind}{suffix}:{seconds}.{rest:06}\r\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(words: &str, section: &str, is_default: bool, want: bool) {
        let sections = InfoSections::parse(words.split_whitespace().map(Cow::from));
        assert_eq!(
            sections.wants(section, is_default),
            want,
            "{words:?} {section}"
        );
    }

    #[test]
    fn sections_are_chosen_by_name() {
        check("", "server", true, true);
        check("", "commandstats", false, false);
        check("all", "commandstats", false, true);
        check("CPU sentinel", "cpu", true, true);
        check("CPU sentinel", "server", true, false);
        check("default commandstats", "commandstats", false, true);
        check("nonsense", "server", true, false);
    }

    #[test]
    fn cpu_has_six_lines() {
        assert_eq!(cpu_section().matches("used_cpu_").count(), 6);
    }
}

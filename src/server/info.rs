//! `INFO`: the sections and fields of redis-server 7.0, in its order.

use std::fmt::Write;

use super::Server;
use super::replication::history::NO_REPL_ID;
use super::replication::link::{Link, LinkState};
use crate::front::{Blocked, ClientKind, REDIS_VERSION};

/// The sections that are shown without being named.
const DEFAULT: [&str; 9] = [
    "server",
    "clients",
    "memory",
    "persistence",
    "stats",
    "replication",
    "cpu",
    "cluster",
    "keyspace",
];

/// One line.
macro_rules! line {
    ($out:expr, $($text:tt)*) => {{
        // A String takes everything.
        let _ = write!($out, $($text)*);
        $out.push_str("\r\n");
    }};
}

impl Server {
    /// The text of `INFO` for these sections (lower case); none: the default ones.
    pub(crate) fn info(&self, wanted: &[Vec<u8>]) -> String {
        let everything = wanted
            .iter()
            .any(|w| matches!(w.as_slice(), b"all" | b"everything"));
        let default = wanted.is_empty() || wanted.iter().any(|word| word == b"default");
        let mut out = String::with_capacity(4096);
        for name in DEFAULT {
            let is_named = wanted.iter().any(|word| word == name.as_bytes());
            if !(everything || default || is_named) {
                continue;
            }
            if !out.is_empty() {
                out.push_str("\r\n");
            }
            match name {
                "server" => self.info_server(&mut out),
                "clients" => self.info_clients(&mut out),
                "memory" => self.info_memory(&mut out),
                "persistence" => self.info_persistence(&mut out),
                "stats" => self.info_stats(&mut out),
                "replication" => self.info_replication(&mut out),
                "cpu" => info_cpu(&mut out),
                "cluster" => out.push_str("# Cluster\r\ncluster_enabled:0\r\n"),
                _ => self.info_keyspace(&mut out),
            }
        }
        out
    }

    fn info_server(&self, out: &mut String) {
        let now = self.clock.now();
        let uname = rustix::system::uname();
        let uptime = now.mono.since(self.started.mono).as_secs();
        let executable = std::env::current_exe().unwrap_or_default();
        let config_file = self.config_path.as_deref().unwrap_or("".as_ref());
        line!(out, "# Server");
        line!(out, "redis_version:{REDIS_VERSION}");
        line!(out, "redis_git_sha1:00000000");
        line!(out, "redis_git_dirty:0");
        line!(out, "redis_build_id:0");
        line!(out, "redis_mode:standalone");
        line!(
            out,
            "os:{} {} {}",
            uname.sysname().to_string_lossy(),
            uname.release().to_string_lossy(),
            uname.machine().to_string_lossy()
        );
        line!(out, "arch_bits:{}", usize::BITS);
        line!(out, "monotonic_clock:POSIX clock_gettime");
        line!(out, "multiplexing_api:epoll");
        line!(out, "process_id:{}", std::process::id());
        line!(out, "process_supervised:no");
        line!(out, "run_id:{}", self.run_id);
        line!(out, "tcp_port:{}", self.config.process.port);
        line!(out, "server_time_usec:{}", now.unix.0 * 1000);
        line!(out, "uptime_in_seconds:{uptime}");
        line!(out, "uptime_in_days:{}", uptime / 86_400);
        line!(out, "hz:10");
        line!(out, "configured_hz:10");
        line!(out, "executable:{}", executable.display());
        line!(out, "config_file:{}", config_file.display());
        line!(out, "io_threads_active:0");
        line!(out, "sentinel_version:{}", env!("CARGO_PKG_VERSION"));
    }

    fn info_clients(&self, out: &mut String) {
        let normal = self
            .front
            .clients
            .iter()
            .filter(|c| c.kind == ClientKind::Normal)
            .count();
        let is_blocked = |b: &Option<Blocked>| matches!(b, Some(Blocked::Waiting { .. }));
        let blocked = self
            .front
            .clients
            .iter()
            .filter(|c| is_blocked(&c.blocked))
            .count();
        line!(out, "# Clients");
        line!(out, "connected_clients:{normal}");
        line!(out, "cluster_connections:0");
        line!(out, "maxclients:{}", self.config.process.maxclients);
        line!(out, "blocked_clients:{blocked}");
        line!(out, "tracking_clients:0");
        line!(out, "clients_in_timeout_table:0");
    }

    fn info_memory(&self, out: &mut String) {
        let used = self.used_memory();
        let backlog = self
            .replication
            .history
            .backlog()
            .map_or(0, |backlog| backlog.len());
        line!(out, "# Memory");
        line!(out, "used_memory:{used}");
        line!(out, "used_memory_human:{}", human(used));
        line!(out, "used_memory_rss:{used}");
        line!(out, "used_memory_rss_human:{}", human(used));
        line!(out, "total_system_memory:{}", total_memory());
        line!(out, "maxmemory:0");
        line!(out, "maxmemory_human:0B");
        line!(out, "maxmemory_policy:noeviction");
        line!(out, "mem_replication_backlog:{backlog}");
        line!(out, "mem_aof_buffer:0");
    }

    fn info_persistence(&self, out: &mut String) {
        let now = self.clock.mono();
        let running = self.saver.running();
        let progress = running.and_then(|(_, id)| self.keyspace.snapshot_progress(id));
        let (done, total) = progress.unwrap_or((0, 0));
        let current = running.map(|(since, _)| now.since(since).as_secs());
        let (expired, loaded) = self.saver.last_load;
        line!(out, "# Persistence");
        line!(out, "loading:{}", u8::from(self.loading.is_some()));
        line!(out, "async_loading:0");
        line!(out, "current_cow_peak:0");
        line!(out, "current_cow_size:0");
        line!(out, "current_cow_size_age:0");
        line!(out, "current_fork_perc:0.00");
        line!(out, "current_save_keys_processed:{done}");
        line!(out, "current_save_keys_total:{total}");
        line!(out, "rdb_changes_since_last_save:{}", self.saver.dirty);
        line!(
            out,
            "rdb_bgsave_in_progress:{}",
            u8::from(running.is_some())
        );
        line!(out, "rdb_last_save_time:{}", self.saver.last_save);
        let status = if self.saver.last_save_ok { "ok" } else { "err" };
        line!(out, "rdb_last_bgsave_status:{status}");
        line!(
            out,
            "rdb_last_bgsave_time_sec:{}",
            or_minus_one(self.saver.last_seconds)
        );
        line!(out, "rdb_current_bgsave_time_sec:{}", or_minus_one(current));
        line!(out, "rdb_saves:{}", self.saver.saves);
        line!(out, "rdb_last_cow_size:0");
        line!(out, "rdb_last_load_keys_expired:{expired}");
        line!(out, "rdb_last_load_keys_loaded:{loaded}");
        line!(out, "aof_enabled:0");
        line!(out, "aof_rewrite_in_progress:0");
        line!(out, "aof_rewrite_scheduled:0");
        line!(out, "aof_last_rewrite_time_sec:-1");
        line!(out, "aof_current_rewrite_time_sec:-1");
        line!(out, "aof_last_bgrewrite_status:ok");
        line!(out, "aof_rewrites:0");
        line!(out, "aof_rewrites_consecutive_failures:0");
        line!(out, "aof_last_write_status:ok");
        line!(out, "aof_last_cow_size:0");
        line!(out, "module_fork_in_progress:0");
        line!(out, "module_fork_last_cow_size:0");
    }

    fn info_stats(&self, out: &mut String) {
        let (front, stats) = (&self.front.stats, &self.stats);
        line!(out, "# Stats");
        line!(out, "total_connections_received:{}", front.connections);
        line!(out, "total_commands_processed:{}", front.commands);
        line!(out, "instantaneous_ops_per_sec:{}", stats.ops_per_second);
        line!(out, "total_net_input_bytes:{}", front.net_input_bytes);
        line!(out, "total_net_output_bytes:{}", front.net_output_bytes);
        line!(out, "total_net_repl_input_bytes:{}", stats.repl_input_bytes);
        line!(
            out,
            "total_net_repl_output_bytes:{}",
            stats.repl_output_bytes
        );
        line!(out, "rejected_connections:{}", front.rejected_connections);
        line!(out, "sync_full:{}", stats.sync_full);
        line!(out, "sync_partial_ok:{}", stats.sync_partial_ok);
        line!(out, "sync_partial_err:{}", stats.sync_partial_err);
        line!(out, "expired_keys:{}", stats.expired_keys);
        line!(out, "evicted_keys:0");
        line!(out, "keyspace_hits:{}", stats.keyspace_hits);
        line!(out, "keyspace_misses:{}", stats.keyspace_misses);
        line!(out, "pubsub_channels:{}", self.front.pubsub.channel_count());
        line!(out, "pubsub_patterns:{}", self.front.pubsub.pattern_count());
        line!(out, "pubsubshard_channels:0");
        line!(out, "latest_fork_usec:0");
        line!(out, "total_forks:0");
        line!(out, "migrate_cached_sockets:0");
        line!(out, "slave_expires_tracked_keys:0");
        line!(out, "total_error_replies:{}", front.error_replies);
    }

    fn info_replication(&self, out: &mut String) {
        let history = &self.replication.history;
        let now = self.clock.mono();
        line!(out, "# Replication");
        match self.replication.link() {
            None => line!(out, "role:master"),
            Some(link) => self.info_link(link, out),
        }
        line!(out, "connected_slaves:{}", self.replication.replicas.len());
        let (wanted, lag) = (
            self.config.min_replicas_to_write,
            self.config.min_replicas_max_lag,
        );
        if wanted > 0 && !lag.is_zero() {
            line!(out, "min_slaves_good_slaves:{}", self.good_replicas(now));
        }
        for (at, (id, feed)) in self.feeds().enumerate() {
            let (ip, port) = self.replica_addr(id);
            let lag = if feed.is_online() {
                now.since(feed.acked_at).as_secs()
            } else {
                0
            };
            let (state, acked) = (feed.state_name(), feed.acked);
            line!(
                out,
                "slave{at}:ip={ip},port={port},state={state},offset={acked},lag={lag}"
            );
        }
        line!(out, "master_failover_state:no-failover");
        line!(out, "master_replid:{}", history.repl_id());
        let previous = history.previous();
        line!(
            out,
            "master_replid2:{}",
            previous.map_or(NO_REPL_ID, |(id, _)| id.as_str())
        );
        line!(out, "master_repl_offset:{}", history.offset());
        line!(
            out,
            "second_repl_offset:{}",
            or_minus_one(previous.map(|(_, at)| at.0))
        );
        let backlog = history.backlog();
        line!(out, "repl_backlog_active:{}", u8::from(backlog.is_some()));
        line!(out, "repl_backlog_size:{}", self.config.backlog_bytes);
        line!(
            out,
            "repl_backlog_first_byte_offset:{}",
            backlog.map_or(0, |b| b.first().0)
        );
        line!(
            out,
            "repl_backlog_histlen:{}",
            backlog.map_or(0, |b| b.len())
        );
    }

    fn info_link(&self, link: &Link, out: &mut String) {
        let now = self.clock.mono();
        let offset = self.replication.history.offset().0;
        let silence = link.is_up().then(|| now.since(link.last_io).as_secs());
        let is_syncing = matches!(link.state, LinkState::Syncing { .. });
        line!(out, "role:slave");
        line!(out, "master_host:{}", link.host);
        line!(out, "master_port:{}", link.port);
        line!(
            out,
            "master_link_status:{}",
            if link.is_up() { "up" } else { "down" }
        );
        line!(out, "master_last_io_seconds_ago:{}", or_minus_one(silence));
        line!(out, "master_sync_in_progress:{}", u8::from(is_syncing));
        line!(out, "slave_read_repl_offset:{}", offset + link.unapplied);
        line!(out, "slave_repl_offset:{offset}");
        if let LinkState::Syncing { total, received } = link.state {
            let total = total.unwrap_or(0);
            let percent = (received * 10_000).checked_div(total).unwrap_or(0);
            line!(out, "master_sync_total_bytes:{total}");
            line!(out, "master_sync_read_bytes:{received}");
            line!(
                out,
                "master_sync_left_bytes:{}",
                i128::from(total) - i128::from(received)
            );
            line!(
                out,
                "master_sync_perc:{}.{:02}",
                percent / 100,
                percent % 100
            );
            line!(
                out,
                "master_sync_last_io_seconds_ago:{}",
                now.since(link.last_io).as_secs()
            );
        }
        if !link.is_up() {
            let since = link.down_since.map(|since| now.since(since).as_secs());
            line!(
                out,
                "master_link_down_since_seconds:{}",
                or_minus_one(since)
            );
        }
        // What cannot hold its master's data must never be promoted, whatever the operator prefers.
        let priority = if link.refusal.is_some() {
            0
        } else {
            self.config.replica_priority
        };
        line!(out, "slave_priority:{priority}");
        line!(out, "slave_read_only:{}", u8::from(self.config.read_only));
        line!(
            out,
            "replica_announced:{}",
            u8::from(self.config.replica_announced)
        );
    }

    fn info_keyspace(&self, out: &mut String) {
        line!(out, "# Keyspace");
        for number in 0..self.keyspace.databases() {
            let db = self.keyspace.db(number);
            if !db.is_empty() {
                line!(
                    out,
                    "db{number}:keys={},expires={},avg_ttl=0",
                    db.len(),
                    db.volatile()
                );
            }
        }
    }

    /// Memory in use, as the operating system counts it. Bytes.
    pub(crate) fn used_memory(&self) -> u64 {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let resident = statm
            .split(' ')
            .nth(1)
            .and_then(|pages| pages.parse::<u64>().ok());
        resident.unwrap_or(0) * rustix::param::page_size() as u64
    }
}

fn info_cpu(out: &mut String) {
    use nix::sys::resource::{UsageWho, getrusage};
    line!(out, "# CPU");
    for (who, suffix) in [
        (UsageWho::RUSAGE_SELF, ""),
        (UsageWho::RUSAGE_CHILDREN, "_children"),
    ] {
        let Ok(usage) = getrusage(who) else {
            continue;
        };
        let (sys, user) = (usage.system_time(), usage.user_time());
        line!(
            out,
            "used_cpu_sys{suffix}:{}.{:06}",
            sys.tv_sec(),
            sys.tv_usec()
        );
        line!(
            out,
            "used_cpu_user{suffix}:{}.{:06}",
            user.tv_sec(),
            user.tv_usec()
        );
    }
}

fn or_minus_one(n: Option<u64>) -> String {
    n.map_or_else(|| "-1".to_owned(), |n| n.to_string())
}

fn total_memory() -> u64 {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = info.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// Bytes as Redis shows them to people.
#[expect(
    clippy::cast_precision_loss,
    reason = "two digits after the point are shown"
)]
fn human(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "K", "M", "G"] {
        if value < 1024.0 {
            return if unit == "B" {
                format!("{bytes}B")
            } else {
                format!("{value:.2}{unit}")
            };
        }
        value /= 1024.0;
    }
    format!("{value:.2}T")
}

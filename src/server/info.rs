//! `INFO`: the sections and fields of redis-server 7.0, in its order.

use std::fmt::Write;

use super::Server;
use super::lazy_free;
use super::loading::Loading;
use super::memory_usage::MemoryReport;
use super::persist::aof::State;
use super::replication::history::NO_REPL_ID;
use super::replication::link::{Link, LinkState, Total};
use crate::front::{
    DataStats, InfoSections, Program, clients_section, cpu_section, server_section, stats_section,
};
use crate::memory;

/// The sections, in their order.
const SECTIONS: [&str; 13] = [
    "server",
    "clients",
    "memory",
    "persistence",
    "stats",
    "replication",
    "cpu",
    "modules",
    "commandstats",
    "errorstats",
    "latencystats",
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
    /// The text of `INFO` for these sections; none: the default ones.
    pub(crate) fn info(&self, wanted: &InfoSections) -> String {
        let mut sections: Vec<String> = Vec::new();
        for name in SECTIONS {
            let is_default = !matches!(name, "commandstats" | "latencystats");
            if !wanted.wants(name, is_default) {
                continue;
            }
            let catalog = self.front.table.catalog();
            let mut out = String::new();
            match name {
                "server" => {
                    let now = self.clock.now();
                    out = server_section(&self.process, Server::MODE, self.config.tuning.hz, now);
                }
                "clients" => out = clients_section(&self.front),
                "memory" => self.info_memory(&mut out),
                "persistence" => self.info_persistence(&mut out),
                "stats" => {
                    let (keys, items, prefixes) = self.tracking.sizes();
                    let exceeded_now = self.eviction_exceeded();
                    let stats = DataStats {
                        tracked_keys: keys as u64,
                        tracked_items: items as u64,
                        tracked_prefixes: prefixes as u64,
                        migration_links: self.courier.kept(),
                        eviction_exceeded_total: self.stats.eviction_exceeded_total + exceeded_now,
                        eviction_exceeded_now: exceeded_now,
                        own_expiries: self.own_expiries.len() as u64,
                        ..self.stats
                    };
                    out = stats_section(&self.front, &stats);
                }
                "replication" => self.info_replication(&mut out),
                "cpu" => out = cpu_section(),
                "modules" => out.push_str("# Modules\r\n"),
                "commandstats" => out = self.metrics.commands_section(catalog),
                "errorstats" => out = self.metrics.errors_section(),
                "latencystats" => {
                    let percentiles = &self.config.tuning.latency_percentiles;
                    let is_kept = self.config.tuning.latency_tracking;
                    let percentiles = is_kept.then_some(percentiles);
                    out = self.metrics.latencies_section(catalog, percentiles);
                }
                "cluster" => out.push_str("# Cluster\r\ncluster_enabled:0\r\n"),
                _ => self.info_keyspace(&mut out),
            }
            sections.push(out);
        }
        sections.join("\r\n")
    }

    fn info_memory(&self, out: &mut String) {
        let report = self.memory_report();
        let policy = self.config.tuning.maxmemory_policy.name();
        let MemoryReport { used, peak, .. } = report;
        line!(out, "# Memory");
        line!(out, "used_memory:{used}");
        line!(out, "used_memory_human:{}", human(used));
        line!(out, "used_memory_rss:{}", report.resident);
        line!(out, "used_memory_rss_human:{}", human(report.resident));
        line!(out, "used_memory_peak:{peak}");
        line!(out, "used_memory_peak_human:{}", human(peak));
        line!(out, "used_memory_peak_perc:{:.2}%", report.peak_percent());
        line!(out, "used_memory_overhead:{}", report.overhead);
        line!(out, "used_memory_startup:{}", report.startup);
        line!(out, "used_memory_dataset:{}", report.dataset);
        line!(
            out,
            "used_memory_dataset_perc:{:.2}%",
            report.dataset_percent()
        );
        line!(out, "allocator_allocated:{used}");
        line!(out, "allocator_active:{}", report.resident);
        line!(out, "allocator_resident:{}", report.resident);
        line!(out, "total_system_memory:{}", memory::of_machine());
        line!(
            out,
            "total_system_memory_human:{}",
            human(memory::of_machine())
        );
        for name in ["used_memory_lua", "used_memory_vm_eval"] {
            line!(out, "{name}:0");
        }
        line!(out, "used_memory_lua_human:0B");
        for name in [
            "used_memory_scripts_eval",
            "number_of_cached_scripts",
            "number_of_functions",
            "number_of_libraries",
            "used_memory_vm_functions",
            "used_memory_vm_total",
        ] {
            line!(out, "{name}:0");
        }
        line!(out, "used_memory_vm_total_human:0B");
        line!(out, "used_memory_functions:0");
        line!(out, "used_memory_scripts:0");
        line!(out, "used_memory_scripts_human:0B");
        line!(out, "maxmemory:{}", self.config.maxmemory);
        line!(out, "maxmemory_human:{}", human(self.config.maxmemory));
        line!(out, "maxmemory_policy:{policy}");
        line!(out, "allocator_frag_ratio:{:.2}", report.fragmentation());
        line!(out, "allocator_frag_bytes:{}", report.fragmentation_bytes());
        line!(out, "allocator_rss_ratio:1.00");
        line!(out, "allocator_rss_bytes:0");
        line!(out, "rss_overhead_ratio:1.00");
        line!(out, "rss_overhead_bytes:0");
        line!(out, "mem_fragmentation_ratio:{:.2}", report.fragmentation());
        line!(
            out,
            "mem_fragmentation_bytes:{}",
            report.fragmentation_bytes()
        );
        line!(
            out,
            "mem_not_counted_for_evict:{}",
            self.not_counted_for_eviction()
        );
        line!(out, "mem_replication_backlog:{}", report.backlog);
        line!(
            out,
            "mem_total_replication_buffers:{}",
            report.replication_buffers
        );
        line!(out, "mem_clients_slaves:{}", report.replicas);
        line!(out, "mem_clients_normal:{}", report.clients);
        line!(out, "mem_cluster_links:0");
        line!(out, "mem_aof_buffer:{}", report.aof_buffer);
        line!(out, "mem_allocator:{}", memory::allocator());
        line!(out, "active_defrag_running:0");
        line!(
            out,
            "lazyfree_pending_objects:{}",
            lazy_free::waiting_objects()
        );
        line!(out, "lazyfreed_objects:{}", lazy_free::freed_objects());
    }

    fn info_persistence(&self, out: &mut String) {
        let now = self.clock.mono();
        let running = self.saving();
        let snapshot = running.map(|(_, id)| id).or(self.aof.rewriting.snapshot());
        let progress = snapshot.and_then(|id| self.keyspace.snapshot_progress(id));
        let (done, total) = progress.unwrap_or((0, 0));
        let current = running.map(|(since, _)| now.since(since).as_secs());
        let loading = self.loading.as_ref().map(Loading::keys);
        let (expired, loaded) = loading.unwrap_or(self.saver.last_load);
        line!(out, "# Persistence");
        let is_beside = self.loading.as_ref().is_some_and(Loading::is_beside);
        line!(out, "loading:{}", u8::from(self.is_loading()));
        line!(out, "async_loading:{}", u8::from(is_beside));
        line!(out, "current_cow_peak:0");
        line!(out, "current_cow_size:0");
        line!(out, "current_cow_size_age:0");
        // In hundredths.
        let percent = (done * 10_000).checked_div(total).unwrap_or(0);
        let (whole, part) = (percent / 100, percent % 100);
        line!(out, "current_fork_perc:{whole}.{part:02}");
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
        self.info_aof(out);
        line!(out, "module_fork_in_progress:0");
        line!(out, "module_fork_last_cow_size:0");
        // While it is loaded it is not written.
        if self.config.aof.enabled {
            let writer = &self.aof.writer;
            line!(out, "aof_current_size:{}", self.aof.current_size);
            line!(out, "aof_base_size:{}", self.aof.base_size);
            let is_pending = u8::from(self.aof.rewriting.is_scheduled);
            line!(out, "aof_pending_rewrite:{is_pending}");
            line!(out, "aof_buffer_length:{}", writer.pending_bytes());
            line!(
                out,
                "aof_pending_bio_fsync:{}",
                u8::from(writer.is_syncing())
            );
            line!(out, "aof_delayed_fsync:{}", writer.delayed);
        }
        if let Some(loading) = &self.loading {
            let report = loading.report(self.clock.now());
            line!(out, "loading_start_time:{}", report.since);
            line!(out, "loading_total_bytes:{}", report.total);
            line!(out, "loading_rdb_used_mem:{}", report.used_memory);
            line!(out, "loading_loaded_bytes:{}", report.loaded);
            line!(out, "loading_loaded_perc:{:.2}", report.percent);
            line!(out, "loading_eta_seconds:{}", report.seconds_left);
        }
    }

    fn info_aof(&self, out: &mut String) {
        let ok = |is_ok| if is_ok { "ok" } else { "err" };
        let (aof, now) = (&self.aof, self.clock.mono());
        let rewriting = &aof.rewriting;
        let current = rewriting.since().map(|since| now.since(since).as_secs());
        line!(out, "aof_enabled:{}", u8::from(aof.state != State::Off));
        line!(
            out,
            "aof_rewrite_in_progress:{}",
            u8::from(rewriting.is_running())
        );
        line!(
            out,
            "aof_rewrite_scheduled:{}",
            u8::from(rewriting.is_scheduled)
        );
        line!(
            out,
            "aof_last_rewrite_time_sec:{}",
            or_minus_one(rewriting.last_seconds)
        );
        line!(
            out,
            "aof_current_rewrite_time_sec:{}",
            or_minus_one(current)
        );
        line!(out, "aof_last_bgrewrite_status:{}", ok(rewriting.last_ok));
        line!(out, "aof_rewrites:{}", rewriting.count);
        line!(
            out,
            "aof_rewrites_consecutive_failures:{}",
            rewriting.failures
        );
        line!(
            out,
            "aof_last_write_status:{}",
            ok(self.aof_error().is_none())
        );
        line!(out, "aof_last_cow_size:0");
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
        line!(out, "master_failover_state:{}", self.failover_state());
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
            let length = match total {
                Some(Total::Bytes(length)) => length,
                Some(Total::UpToMark) | None => 0,
            };
            let total = if total.is_some() {
                i128::from(length)
            } else {
                -1
            };
            let percent = (received * 10_000).checked_div(length).unwrap_or(0);
            line!(out, "master_sync_total_bytes:{total}");
            line!(out, "master_sync_read_bytes:{received}");
            line!(
                out,
                "master_sync_left_bytes:{}",
                total - i128::from(received)
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
        let priority = if self.replication.refusal.is_some() {
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
        let now = self.clock.now().unix.0;
        for number in 0..self.keyspace.databases() {
            let db = self.keyspace.db(number);
            let here = (db.len() as u64, db.volatile() as u64);
            let (keys, volatile) = self.keys_on_their_way(number).unwrap_or(here);
            if keys > 0 {
                let ttl = db.average_ttl(now);
                line!(
                    out,
                    "db{number}:keys={keys},expires={volatile},avg_ttl={ttl}"
                );
            }
        }
    }
}

fn or_minus_one(n: Option<u64>) -> String {
    n.map_or_else(|| "-1".to_owned(), |n| n.to_string())
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

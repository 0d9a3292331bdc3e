//! The names of the well-known redis exporter (`oliver006/redis_exporter`), from the same text that it reads: INFO.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Family, Kind, Sample, Value, number};
use crate::clock::UnixMillis;

/// Fields of INFO whose value is a number, `ok` or `err`, with the exporter's name for each, of what goes up and down.
const GAUGES: &[(&str, &str)] = &[
    ("uptime_in_seconds", "uptime_in_seconds"),
    ("process_id", "process_id"),
    ("io_threads_active", "io_threads_active"),
    ("hz", "hz"),
    ("configured_hz", "configured_hz"),
    ("connected_clients", "connected_clients"),
    ("blocked_clients", "blocked_clients"),
    ("maxclients", "max_clients"),
    ("tracking_clients", "tracking_clients"),
    ("clients_in_timeout_table", "clients_in_timeout_table"),
    ("cluster_connections", "cluster_connections"),
    (
        "client_recent_max_output_buffer",
        "client_recent_max_output_buffer_bytes",
    ),
    (
        "client_recent_max_input_buffer",
        "client_recent_max_input_buffer_bytes",
    ),
    ("allocator_active", "allocator_active_bytes"),
    ("allocator_allocated", "allocator_allocated_bytes"),
    ("allocator_resident", "allocator_resident_bytes"),
    ("allocator_frag_ratio", "allocator_frag_ratio"),
    ("allocator_frag_bytes", "allocator_frag_bytes"),
    ("allocator_rss_ratio", "allocator_rss_ratio"),
    ("allocator_rss_bytes", "allocator_rss_bytes"),
    ("used_memory", "memory_used_bytes"),
    ("used_memory_rss", "memory_used_rss_bytes"),
    ("used_memory_peak", "memory_used_peak_bytes"),
    ("used_memory_lua", "memory_used_lua_bytes"),
    ("used_memory_vm_eval", "memory_used_vm_eval_bytes"),
    ("used_memory_scripts_eval", "memory_used_scripts_eval_bytes"),
    ("used_memory_overhead", "memory_used_overhead_bytes"),
    ("used_memory_startup", "memory_used_startup_bytes"),
    ("used_memory_dataset", "memory_used_dataset_bytes"),
    ("number_of_cached_scripts", "number_of_cached_scripts"),
    ("number_of_functions", "number_of_functions"),
    ("number_of_libraries", "number_of_libraries"),
    ("used_memory_vm_functions", "memory_used_vm_functions_bytes"),
    ("used_memory_scripts", "memory_used_scripts_bytes"),
    ("used_memory_functions", "memory_used_functions_bytes"),
    ("used_memory_vm_total", "memory_used_vm_total"),
    ("maxmemory", "memory_max_bytes"),
    ("mem_fragmentation_ratio", "mem_fragmentation_ratio"),
    ("mem_fragmentation_bytes", "mem_fragmentation_bytes"),
    ("mem_clients_slaves", "mem_clients_slaves"),
    ("mem_clients_normal", "mem_clients_normal"),
    (
        "mem_not_counted_for_evict",
        "mem_not_counted_for_eviction_bytes",
    ),
    (
        "mem_total_replication_buffers",
        "mem_total_replication_buffers_bytes",
    ),
    ("lazyfree_pending_objects", "lazyfree_pending_objects"),
    ("active_defrag_running", "active_defrag_running"),
    ("expired_stale_perc", "expired_stale_percentage"),
    ("migrate_cached_sockets", "migrate_cached_sockets_total"),
    ("active_defrag_hits", "defrag_hits"),
    ("active_defrag_misses", "defrag_misses"),
    ("active_defrag_key_hits", "defrag_key_hits"),
    ("active_defrag_key_misses", "defrag_key_misses"),
    ("loading", "loading_dump_file"),
    ("async_loading", "async_loading"),
    ("rdb_changes_since_last_save", "rdb_changes_since_last_save"),
    ("rdb_bgsave_in_progress", "rdb_bgsave_in_progress"),
    ("rdb_last_save_time", "rdb_last_save_timestamp_seconds"),
    ("rdb_last_bgsave_status", "rdb_last_bgsave_status"),
    ("rdb_last_bgsave_time_sec", "rdb_last_bgsave_duration_sec"),
    (
        "rdb_current_bgsave_time_sec",
        "rdb_current_bgsave_duration_sec",
    ),
    ("rdb_saves", "rdb_saves_total"),
    ("rdb_last_cow_size", "rdb_last_cow_size_bytes"),
    ("rdb_last_load_keys_expired", "rdb_last_load_expired_keys"),
    ("rdb_last_load_keys_loaded", "rdb_last_load_loaded_keys"),
    ("aof_enabled", "aof_enabled"),
    ("aof_rewrite_in_progress", "aof_rewrite_in_progress"),
    ("aof_rewrite_scheduled", "aof_rewrite_scheduled"),
    ("aof_last_rewrite_time_sec", "aof_last_rewrite_duration_sec"),
    (
        "aof_current_rewrite_time_sec",
        "aof_current_rewrite_duration_sec",
    ),
    ("aof_last_cow_size", "aof_last_cow_size_bytes"),
    ("aof_current_size", "aof_current_size_bytes"),
    ("aof_base_size", "aof_base_size_bytes"),
    ("aof_pending_rewrite", "aof_pending_rewrite"),
    ("aof_buffer_length", "aof_buffer_length"),
    ("aof_pending_bio_fsync", "aof_pending_bio_fsync"),
    ("aof_delayed_fsync", "aof_delayed_fsync"),
    ("aof_last_bgrewrite_status", "aof_last_bgrewrite_status"),
    ("aof_last_write_status", "aof_last_write_status"),
    ("module_fork_in_progress", "module_fork_in_progress"),
    ("module_fork_last_cow_size", "module_fork_last_cow_size"),
    (
        "current_eviction_exceeded_time",
        "current_eviction_exceeded_time_ms",
    ),
    ("pubsub_channels", "pubsub_channels"),
    ("pubsub_patterns", "pubsub_patterns"),
    ("pubsubshard_channels", "pubsubshard_channels"),
    ("tracking_total_keys", "tracking_total_keys"),
    ("tracking_total_items", "tracking_total_items"),
    ("tracking_total_prefixes", "tracking_total_prefixes"),
    ("connected_slaves", "connected_slaves"),
    ("repl_backlog_size", "replication_backlog_bytes"),
    ("repl_backlog_active", "repl_backlog_is_active"),
    (
        "repl_backlog_first_byte_offset",
        "repl_backlog_first_byte_offset",
    ),
    ("repl_backlog_histlen", "repl_backlog_history_bytes"),
    ("master_repl_offset", "master_repl_offset"),
    ("second_repl_offset", "second_repl_offset"),
    ("slave_expires_tracked_keys", "slave_expires_tracked_keys"),
    ("slave_priority", "slave_priority"),
    ("sync_full", "replica_resyncs_full"),
    ("sync_partial_ok", "replica_partial_resync_accepted"),
    ("sync_partial_err", "replica_partial_resync_denied"),
    ("cluster_enabled", "cluster_enabled"),
];

/// The same for what only grows.
const COUNTERS: &[(&str, &str)] = &[
    ("total_connections_received", "connections_received_total"),
    ("total_commands_processed", "commands_processed_total"),
    ("rejected_connections", "rejected_connections_total"),
    ("total_net_input_bytes", "net_input_bytes_total"),
    ("total_net_output_bytes", "net_output_bytes_total"),
    ("total_net_repl_input_bytes", "net_repl_input_bytes_total"),
    ("total_net_repl_output_bytes", "net_repl_output_bytes_total"),
    ("expired_keys", "expired_keys_total"),
    (
        "expired_time_cap_reached_count",
        "expired_time_cap_reached_total",
    ),
    (
        "expire_cycle_cpu_milliseconds",
        "expire_cycle_cpu_time_ms_total",
    ),
    ("evicted_keys", "evicted_keys_total"),
    ("evicted_clients", "evicted_clients_total"),
    (
        "total_eviction_exceeded_time",
        "eviction_exceeded_time_ms_total",
    ),
    ("keyspace_hits", "keyspace_hits_total"),
    ("keyspace_misses", "keyspace_misses_total"),
    ("used_cpu_sys", "cpu_sys_seconds_total"),
    ("used_cpu_user", "cpu_user_seconds_total"),
    ("used_cpu_sys_children", "cpu_sys_children_seconds_total"),
    ("used_cpu_user_children", "cpu_user_children_seconds_total"),
    (
        "used_cpu_sys_main_thread",
        "cpu_sys_main_thread_seconds_total",
    ),
    (
        "used_cpu_user_main_thread",
        "cpu_user_main_thread_seconds_total",
    ),
    ("unexpected_error_replies", "unexpected_error_replies"),
    ("total_error_replies", "total_error_replies"),
    ("dump_payload_sanitizations", "dump_payload_sanitizations"),
    ("total_reads_processed", "total_reads_processed"),
    ("total_writes_processed", "total_writes_processed"),
    ("io_threaded_reads_processed", "io_threaded_reads_processed"),
    (
        "io_threaded_writes_processed",
        "io_threaded_writes_processed",
    ),
    ("reply_buffer_shrinks", "reply_buffer_shrinks_total"),
    ("reply_buffer_expands", "reply_buffer_expands_total"),
];

/// Fields of INFO that become labels of `redis_instance_info`, with the names of these.
const IDENTITY: &[(&str, &str)] = &[
    ("role", "role"),
    ("redis_version", "redis_version"),
    ("redis_build_id", "redis_build_id"),
    ("redis_mode", "redis_mode"),
    ("os", "os"),
    ("maxmemory_policy", "maxmemory_policy"),
    ("tcp_port", "tcp_port"),
    ("run_id", "run_id"),
    ("process_id", "process_id"),
    ("master_replid", "master_replid"),
];

/// The families of an INFO, by name; the names begin with `redis_`.
#[derive(Debug, Default)]
pub struct Exported<'a>(BTreeMap<String, Family<'a>>);

impl<'a> Exported<'a> {
    /// Those of an INFO that was made at `at`.
    pub fn of_info(info: &'a str, at: UnixMillis) -> Exported<'a> {
        let mut all = Exported::default();
        let gauges: HashMap<_, _> = GAUGES.iter().copied().collect();
        let counters: HashMap<_, _> = COUNTERS.iter().copied().collect();
        let mut known: HashMap<&str, &str> = HashMap::new();
        let mut calls: HashMap<&str, (u64, u64)> = HashMap::new();
        for line in info.lines() {
            let Some((field, value)) = line.split_once(':') else {
                continue;
            };
            known.insert(field, value);
            if let Some(name) = gauges.get(field) {
                all.field(name, Kind::Gauge, field, value);
            } else if let Some(name) = counters.get(field) {
                all.field(name, Kind::Counter, field, value);
            } else if let Some(cmd) = field.strip_prefix("cmdstat_") {
                calls.insert(cmd, all.command(cmd, value));
            } else if let Some(cmd) = field.strip_prefix("latency_percentiles_usec_") {
                let stats = calls.get(cmd).copied().unwrap_or_default();
                all.percentiles(cmd, value, stats);
            } else if let Some(code) = field.strip_prefix("errorstat_") {
                let name = "errors_total";
                all.add(
                    name,
                    Kind::Counter,
                    "Errors by their code",
                    [("err", code)],
                    part(value, "count"),
                );
            } else if is_numbered(field, "db") {
                all.database(field, value);
            } else if is_numbered(field, "slave") {
                all.replica(value);
            }
        }
        all.link(&known);
        all.identity(&known, at);
        all
    }

    /// Adds to the family `redis_…`.
    pub fn add<const N: usize>(
        &mut self,
        name: &str,
        kind: Kind,
        help: impl Into<Cow<'a, str>>,
        labels: [(&'static str, &'a str); N],
        value: f64,
    ) {
        let labels = labels.map(|(name, text)| (name, Cow::Borrowed(text)));
        self.push(name, kind, help, labels.into(), Value::Number(value));
    }

    /// Adds to the family `redis_…`.
    pub fn push(
        &mut self,
        name: &str,
        kind: Kind,
        help: impl Into<Cow<'a, str>>,
        labels: Vec<(&'static str, Cow<'a, str>)>,
        value: Value,
    ) {
        let name = format!("redis_{name}");
        let family = self.0.entry(name);
        let family = family.or_insert_with_key(|name| Family::new(name.clone(), kind, help));
        family.samples.push(Sample { labels, value });
    }

    /// All of them.
    pub fn into_families(self) -> impl Iterator<Item = Family<'a>> {
        self.0.into_values()
    }

    fn field(&mut self, name: &str, kind: Kind, field: &'a str, value: &str) {
        let value = match value {
            "ok" => Some(1.0),
            "err" => Some(0.0),
            value => value.parse().ok(),
        };
        if let Some(value) = value {
            let help = format!("{field} of INFO");
            self.push(name, kind, help, Vec::new(), Value::Number(value));
        }
        let config = match field {
            "maxclients" => "config_maxclients",
            "maxmemory" => "config_maxmemory",
            _ => return,
        };
        let value = value.unwrap_or_default();
        let help = format!("{field} of CONFIG GET");
        self.push(config, Kind::Gauge, help, Vec::new(), Value::Number(value));
    }

    /// A line of `# Commandstats`; how many calls took how long. Microseconds.
    fn command(&mut self, cmd: &'a str, value: &str) -> (u64, u64) {
        let micros = part(value, "usec");
        for (name, help, value) in [
            ("commands_total", "Calls of a command", part(value, "calls")),
            (
                "commands_duration_seconds_total",
                "How long the calls of a command took",
                micros / 1e6,
            ),
            (
                "commands_rejected_calls_total",
                "Calls of a command that did not come to run",
                part(value, "rejected_calls"),
            ),
            (
                "commands_failed_calls_total",
                "Calls of a command that ended with an error",
                part(value, "failed_calls"),
            ),
        ] {
            self.add(name, Kind::Counter, help, [("cmd", cmd)], value);
        }
        let exact = |name| text_part(value, name).and_then(|text| text.parse().ok());
        (
            exact("calls").unwrap_or_default(),
            exact("usec").unwrap_or_default(),
        )
    }

    /// A line of `# Latencystats`.
    fn percentiles(&mut self, cmd: &'a str, value: &str, (count, micros): (u64, u64)) {
        let point = |part: &str| {
            let (percent, value) = part.strip_prefix('p')?.split_once('=')?;
            Some((percent.parse().ok()?, value.parse().ok()?))
        };
        let points = value.split(',').filter_map(point).collect();
        let value = Value::Distribution {
            points,
            count,
            sum: number(micros),
        };
        self.push(
            "latency_percentiles_usec",
            Kind::Summary,
            "How long the calls of a command took, by percentile",
            vec![("cmd", cmd.into())],
            value,
        );
    }

    fn database(&mut self, db: &'a str, value: &str) {
        self.add_keys(db.into(), part(value, "keys"), part(value, "expires"));
        self.add(
            "db_avg_ttl_seconds",
            Kind::Gauge,
            "Average time to live in a database",
            [("db", db)],
            part(value, "avg_ttl") / 1000.0,
        );
    }

    /// INFO says nothing of databases without keys, of which there are `count` with the others; the exporter does, so
    /// that a sum over all of them is 0 rather than nothing.
    pub fn add_empty_databases(&mut self, count: u32) {
        let known = self.0.get("redis_db_keys").into_iter();
        let labels = known.flat_map(|family| &family.samples);
        let known: HashSet<String> = labels
            .map(|sample| sample.labels[0].1.to_string())
            .collect();
        let names = (0..count).map(|n| format!("db{n}"));
        for db in names.filter(|db| !known.contains(db)) {
            self.add_keys(db.into(), 0.0, 0.0);
        }
    }

    fn add_keys(&mut self, db: Cow<'a, str>, keys: f64, expiring: f64) {
        for (name, help, value) in [
            ("db_keys", "Keys in a database", keys),
            (
                "db_keys_expiring",
                "Keys in a database that expire",
                expiring,
            ),
        ] {
            let label = vec![("db", db.clone())];
            self.push(name, Kind::Gauge, help, label, Value::Number(value));
        }
    }

    /// A replica that follows this server.
    fn replica(&mut self, value: &'a str) {
        let text = |name| text_part(value, name).unwrap_or_default();
        let labels = [
            ("slave_ip", text("ip")),
            ("slave_port", text("port")),
            ("slave_state", text("state")),
        ];
        self.add(
            "connected_slave_offset_bytes",
            Kind::Gauge,
            "What a replica has acknowledged",
            labels,
            part(value, "offset"),
        );
        self.add(
            "connected_slave_lag_seconds",
            Kind::Gauge,
            "How long ago a replica last acknowledged something",
            labels,
            part(value, "lag"),
        );
    }

    /// The link of a replica to its master.
    fn link(&mut self, known: &HashMap<&str, &'a str>) {
        let text = |name| known.get(name).copied().unwrap_or_default();
        if text("role") != "slave" {
            return;
        }
        let labels = [
            ("master_host", text("master_host")),
            ("master_port", text("master_port")),
        ];
        let is_up = super::flag(text("master_link_status") == "up");
        let help = "The link to the master is up";
        self.add("master_link_up", Kind::Gauge, help, labels, is_up);
        for name in [
            "master_last_io_seconds_ago",
            "master_sync_in_progress",
            "slave_repl_offset",
        ] {
            let value = text(name).parse().unwrap_or_default();
            let help = format!("{name} of INFO");
            self.add(name, Kind::Gauge, help, labels, value);
        }
        let [host, port] = labels;
        let read_only = ("read_only", text("slave_read_only"));
        let help = "What this replica follows";
        let labels = [host, port, read_only];
        self.add("slave_info", Kind::Gauge, help, labels, 1.0);
    }

    fn identity(&mut self, known: &HashMap<&str, &'a str>, at: UnixMillis) {
        let labels = IDENTITY
            .iter()
            .map(|(field, label)| (*label, known.get(field).copied().unwrap_or_default().into()))
            .collect();
        self.push(
            "instance_info",
            Kind::Gauge,
            "What this server is",
            labels,
            Value::Number(1.0),
        );
        let uptime = known.get("uptime_in_seconds");
        if let Some(uptime) = uptime.and_then(|text| text.parse::<u64>().ok()) {
            let started = number((at.0 / 1000).saturating_sub(uptime));
            let help = "When this process started, since the Unix epoch";
            self.add("start_time_seconds", Kind::Gauge, help, [], started);
        }
        let fork = known.get("latest_fork_usec");
        if let Some(micros) = fork.and_then(|text| text.parse::<f64>().ok()) {
            let help = "latest_fork_usec of INFO";
            self.add("latest_fork_seconds", Kind::Gauge, help, [], micros / 1e6);
        }
    }
}

/// `prefix` and a number.
fn is_numbered(field: &str, prefix: &str) -> bool {
    let number = field.strip_prefix(prefix);
    number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

/// The value of `name` in `a=1,b=2`.
fn text_part<'v>(value: &'v str, name: &str) -> Option<&'v str> {
    let mut parts = value.split(',').filter_map(|part| part.split_once('='));
    parts
        .find(|(known, _)| *known == name)
        .map(|(_, text)| text)
}

fn part(value: &str, name: &str) -> f64 {
    let text = text_part(value, name);
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::render::{Format, render};
    use super::*;

    /// An INFO that has something of everything.
    pub(in crate::http) fn complete_info() -> String {
        let fields = GAUGES.iter().chain(COUNTERS);
        let numbers: String = fields.map(|(field, _)| format!("{field}:1\r\n")).collect();
        numbers
            + "latest_fork_usec:1\r\ncmdstat_get:calls=1,usec=1,usec_per_call=1,rejected_calls=0,failed_calls=0\r\n\
               latency_percentiles_usec_get:p50=1\r\nerrorstat_ERR:count=1\r\ndb0:keys=1,expires=1,avg_ttl=1\r\n\
               role:slave\r\nmaster_host:h\r\nmaster_port:1\r\nmaster_link_status:up\r\n\
               slave0:ip=h,port=1,state=online,offset=1,lag=1\r\n"
    }

    fn exported(info: &str) -> String {
        let all = Exported::of_info(info, UnixMillis(1_000_000_500));
        let families: Vec<Family<'_>> = all.into_families().collect();
        render(&families, Format::Text)
    }

    #[test]
    fn fields_get_the_names_of_the_exporter() {
        let text = exported(
            "# Server\r\nredis_version:7.0.15\r\nuptime_in_seconds:100\r\n# Clients\r\n\
             connected_clients:3\r\nmaxclients:10000\r\n# Persistence\r\nrdb_last_bgsave_status:err\r\n\
             # Stats\r\nkeyspace_hits:7\r\nlatest_fork_usec:1500\r\n# Keyspace\r\n\
             db0:keys=5,expires=2,avg_ttl=1500\r\n# Errorstats\r\nerrorstat_ERR:count=4\r\n",
        );
        for line in [
            "redis_uptime_in_seconds 100",
            "redis_start_time_seconds 999900",
            "redis_connected_clients 3",
            "redis_max_clients 10000",
            "redis_config_maxclients 10000",
            "redis_rdb_last_bgsave_status 0",
            "redis_keyspace_hits_total 7",
            "redis_latest_fork_seconds 0.0015",
            r#"redis_db_keys{db="db0"} 5"#,
            r#"redis_db_keys_expiring{db="db0"} 2"#,
            r#"redis_db_avg_ttl_seconds{db="db0"} 1.5"#,
            r#"redis_errors_total{err="ERR"} 4"#,
        ] {
            assert!(text.lines().any(|known| known == line), "{line}\n{text}");
        }
        let identity = "redis_instance_info{role=\"\",redis_version=\"7.0.15\",redis_build_id=\"\"";
        assert!(text.contains(identity), "{text}");
    }

    #[test]
    fn databases_without_keys_are_there_too() {
        let mut all = Exported::of_info("db1:keys=5,expires=2,avg_ttl=0\r\n", UnixMillis(0));
        all.add_empty_databases(2);
        let families: Vec<Family<'_>> = all.into_families().collect();
        let text = render(&families, Format::Text);
        let keys = text
            .lines()
            .filter(|line| line.starts_with("redis_db_keys"));
        assert_eq!(
            keys.collect::<Vec<_>>(),
            [
                r#"redis_db_keys{db="db1"} 5"#,
                r#"redis_db_keys{db="db0"} 0"#,
                r#"redis_db_keys_expiring{db="db1"} 2"#,
                r#"redis_db_keys_expiring{db="db0"} 0"#,
            ]
        );
    }

    #[test]
    fn commands_and_their_latencies() {
        let text = exported(
            "# Commandstats\r\ncmdstat_config|get:calls=21,usec=175,usec_per_call=8.33,\
             rejected_calls=1,failed_calls=2\r\n# Latencystats\r\n\
             latency_percentiles_usec_config|get:p50=8.031,p99=27.007,p99.9=27.5\r\n",
        );
        for line in [
            r#"redis_commands_total{cmd="config|get"} 21"#,
            r#"redis_commands_duration_seconds_total{cmd="config|get"} 0.000175"#,
            r#"redis_commands_rejected_calls_total{cmd="config|get"} 1"#,
            r#"redis_commands_failed_calls_total{cmd="config|get"} 2"#,
            r#"redis_latency_percentiles_usec{cmd="config|get",quantile="99.9"} 27.5"#,
            r#"redis_latency_percentiles_usec_sum{cmd="config|get"} 175"#,
            r#"redis_latency_percentiles_usec_count{cmd="config|get"} 21"#,
        ] {
            assert!(text.lines().any(|known| known == line), "{line}\n{text}");
        }
    }

    #[test]
    fn both_ends_of_a_replication_link() {
        let text = exported(
            "# Replication\r\nrole:slave\r\nmaster_host:10.0.0.1\r\nmaster_port:6379\r\n\
             master_link_status:up\r\nmaster_last_io_seconds_ago:3\r\nmaster_sync_in_progress:0\r\n\
             slave_repl_offset:99\r\nslave_read_only:1\r\nconnected_slaves:1\r\n\
             slave0:ip=10.0.0.3,port=6380,state=online,offset=98,lag=1\r\n",
        );
        let link = r#"{master_host="10.0.0.1",master_port="6379"}"#;
        let replica = r#"{slave_ip="10.0.0.3",slave_port="6380",slave_state="online"}"#;
        for line in [
            format!("redis_master_link_up{link} 1"),
            format!("redis_master_last_io_seconds_ago{link} 3"),
            format!("redis_slave_repl_offset{link} 99"),
            format!("redis_connected_slave_offset_bytes{replica} 98"),
            format!("redis_connected_slave_lag_seconds{replica} 1"),
            "redis_connected_slaves 1".to_owned(),
            r#"redis_slave_info{master_host="10.0.0.1",master_port="6379",read_only="1"} 1"#
                .to_owned(),
        ] {
            assert!(text.lines().any(|known| known == line), "{line}\n{text}");
        }
    }
}

//! The configuration of a sentinel.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use super::directive::{Seen, Table};
use super::draft::{Draft, Pass};
use super::errors::{ConfigErrors, Refusal};
use super::load::{self, Line, LoadError, Source};
use super::process::{Process, users_twice};
use super::process_table::process_directives;
use super::statements;
use super::yaml;
use crate::sentinel::core::Durable;

/// Everything that a sentinel is told before it starts.
#[derive(Clone, Debug)]
pub struct SentinelConfig {
    /// Where it listens, logs and lives; the ACL `user` lines and renamed commands are in here.
    pub process: Process,
    /// What it watches, and what it has learned where the configuration holds that too. `id` is `None`
    /// before the first start. Complete only after [`crate::sentinel::state::open`] has merged the
    /// state file.
    pub durable: Durable,
    /// The configuration file, absolute; `None`: standard input.
    pub path: Option<PathBuf>,
    /// Where state is written, absolute; `None`: into the configuration.
    pub state_file: Option<PathBuf>,
    /// The `user` and `rename-command` lines, for those who find out later that one is wrong.
    pub access_lines: Vec<Line>,
}

/// The process directives as a sentinel reads them.
pub fn sentinel_table() -> &'static Table<Process> {
    static TABLE: LazyLock<Table<Process>> =
        LazyLock::new(|| Table::new(process_directives()).tolerating(DATA_SERVER_ONLY));
    &TABLE
}

/// Reads the configuration of a sentinel: a YAML file if its name ends in `.yaml` or `.yml`, else the
/// Redis dialect. `arguments` are the `--directive value…` words of the command line, which apply last.
/// Nothing is written and no state file is read.
///
/// # Errors
/// The source cannot be read, or has mistakes: all of them, up to [`ConfigErrors::LISTED_MAX`].
pub fn load_sentinel(source: &Source, arguments: &[String]) -> Result<SentinelConfig, LoadError> {
    let mut loader = Loader::default();
    let path = match source {
        Source::Stdin(_) => None,
        Source::File(path) => Some(std::path::absolute(path).unwrap_or_else(|_| path.clone())),
    };
    let yaml = path.as_deref().filter(|path| is_yaml(path));
    match yaml {
        Some(path) => {
            let text = load::read_file(path).map_err(|error| LoadError::Open {
                path: source.to_string(),
                error,
            })?;
            let lines = yaml::lines(path, &text, &mut loader.errors);
            loader.lines(lines);
        }
        None => {
            let reading = load::read(source, &is_state, &mut loader.errors)?;
            loader.lines(reading.lines);
        }
    }
    let from_command_line = load::command_line(arguments);
    loader.lines(from_command_line);
    Ok(loader.finish(path)?)
}

/// Whether a file of this name is read as YAML.
pub fn is_yaml(path: &Path) -> bool {
    path.extension()
        .is_some_and(|ext| ext.eq_ignore_ascii_case("yaml") || ext.eq_ignore_ascii_case("yml"))
}

/// The lines that hold state: those that a rewrite keeps up to date.
pub(crate) fn is_state(words: &[String]) -> bool {
    let name = &words[0];
    name.eq_ignore_ascii_case("sentinel") || name.eq_ignore_ascii_case("user")
}

#[derive(Default)]
struct Loader {
    errors: ConfigErrors,
    process: Option<Process>,
    seen: Seen,
    statements: Vec<Line>,
    aclfile: Option<Line>,
    state_file: Option<Line>,
    access_lines: Vec<Line>,
}

impl Loader {
    /// Applies the process directives and queues the others.
    fn lines(&mut self, lines: Vec<Line>) {
        for line in lines {
            let name = line.words[0].to_ascii_lowercase();
            match name.as_str() {
                "sentinel" => {
                    self.statements.push(line);
                    continue;
                }
                "replicaof" | "slaveof" => {
                    let refusal = Refusal::new(format!("{name} is not for a sentinel.")).hint(
                        "no such line: a sentinel that followed a master would copy its data",
                    );
                    self.errors.push(line.place, refusal, "");
                    continue;
                }
                "aclfile" => self.aclfile = Some(line.clone()),
                "state-file" => self.state_file = Some(line.clone()),
                "user" | "rename-command" => self.access_lines.push(line.clone()),
                _ => {}
            }
            let process = self.process.get_or_insert_with(Process::of_sentinel);
            let words: Vec<&str> = line.words.iter().map(String::as_str).collect();
            if let Err(refusal) = sentinel_table().apply(process, &words, &mut self.seen) {
                self.errors.push(line.place, refusal, "");
            }
        }
    }

    /// Applies the queued `sentinel` lines.
    fn finish(mut self, path: Option<PathBuf>) -> Result<SentinelConfig, ConfigErrors> {
        let process = self.process.unwrap_or_else(Process::of_sentinel);
        let mut draft = Draft::default();
        apply_statements(&mut draft, &self.statements, &mut self.errors);
        if process.aclfile.is_some()
            && !process.users.is_empty()
            && let Some(line) = self.aclfile
        {
            self.errors.push(line.place, users_twice(), "");
        }
        draft.globals.requirepass = process.requirepass.clone();
        draft.globals.listening_port = process.announced_port();
        let dir = std::path::absolute(&process.dir).unwrap_or_else(|_| process.dir.clone());
        let state_file = match (&process.state_file, &path) {
            (Some(file), _) => Some(dir.join(file)),
            (None, Some(path)) if is_yaml(path) => {
                let mut name = path.clone().into_os_string();
                name.push(".state");
                Some(PathBuf::from(name))
            }
            (None, _) => None,
        };
        let real = |path: &PathBuf| path.canonicalize().ok();
        if let (Some(line), Some(path), Some(file)) = (self.state_file, &path, &state_file)
            && (path == file || (real(path).is_some() && real(path) == real(file)))
        {
            let refusal = Refusal::new("The state file is the configuration itself.")
                .hint("another file, or no such line: then the state is written into this one");
            self.errors.push(line.place, refusal, "");
        }
        self.errors.into_result(SentinelConfig {
            process,
            durable: draft.finish(),
            path,
            state_file,
            access_lines: self.access_lines,
        })
    }
}

/// Applies `sentinel` lines in redis-sentinel's three passes, so that a line may stand before the
/// `monitor` line of its master.
pub(crate) fn apply_statements(draft: &mut Draft, lines: &[Line], errors: &mut ConfigErrors) {
    for pass in Pass::ALL {
        for line in lines {
            let words: Vec<&str> = line.words[1..].iter().map(String::as_str).collect();
            let name = words.first().copied().unwrap_or_default();
            if Pass::of(name) != pass {
                continue;
            }
            if let Err(refusal) = draft.apply(&words, line.from_command_line) {
                errors.push(line.place.clone(), refusal, &statements::usage(name));
            }
        }
    }
}

/// Directives that redis-server or valkey-server know and that mean nothing to a sentinel: accepted, as
/// they do, so that one file can serve both.
#[rustfmt::skip]
const DATA_SERVER_ONLY: &[&str] = &[
    "active-defrag-cycle-max", "active-defrag-cycle-min", "active-defrag-ignore-bytes",
    "active-defrag-max-scan-fields", "active-defrag-threshold-lower",
    "active-defrag-threshold-upper", "active-expire-effort", "activedefrag", "activerehashing",
    "always-show-logo", "aof-disable-auto-gc", "aof-load-truncated", "aof-rewrite-cpulist",
    "aof-rewrite-incremental-fsync", "aof-timestamp-enabled", "aof-use-rdb-preamble",
    "aof_rewrite_cpulist", "appenddirname", "appendfilename", "appendfsync", "appendonly",
    "auto-aof-rewrite-min-size", "auto-aof-rewrite-percentage", "availability-zone",
    "bgsave-cpulist", "bgsave_cpulist", "bio-cpulist", "bio_cpulist", "busy-reply-threshold",
    "client-default-resp", "cluster-allow-pubsubshard-when-down", "cluster-allow-reads-when-down",
    "cluster-allow-replica-migration", "cluster-announce-bus-port", "cluster-announce-client-ipv4",
    "cluster-announce-client-ipv6", "cluster-announce-hostname", "cluster-announce-human-nodename",
    "cluster-announce-ip", "cluster-announce-port", "cluster-announce-tls-port",
    "cluster-blacklist-ttl", "cluster-config-file", "cluster-databases", "cluster-enabled",
    "cluster-link-sendbuf-limit", "cluster-manual-failover-timeout", "cluster-migration-barrier",
    "cluster-node-timeout", "cluster-ping-interval", "cluster-port",
    "cluster-preferred-endpoint-type", "cluster-replica-no-failover",
    "cluster-replica-validity-factor", "cluster-require-full-coverage", "cluster-slave-no-failover",
    "cluster-slave-validity-factor", "cluster-slot-stats-enabled",
    "commandlog-execution-slower-than", "commandlog-large-reply-max-len",
    "commandlog-large-request-max-len", "commandlog-reply-larger-than",
    "commandlog-request-larger-than", "commandlog-slow-execution-max-len", "crash-log-enabled",
    "crash-memcheck-enabled", "databases", "dbfilename", "disable-thp",
    "dual-channel-replication-enabled", "dynamic-hz", "enable-module-command",
    "events-per-io-thread", "extended-redis-compat", "extended-redis-compatibility",
    "hash-max-fields", "hash-max-listpack-entries", "hash-max-listpack-value",
    "hash-max-ziplist-entries", "hash-max-ziplist-value", "hide-user-data-from-log",
    "hll-sparse-max-bytes", "hz", "ignore-warnings", "import-mode", "io-threads",
    "io-threads-always-active", "io-threads-do-reads", "jemalloc-bg-thread", "key-load-delay",
    "latency-monitor-threshold", "latency-tracking", "latency-tracking-info-percentiles",
    "lazyfree-lazy-eviction", "lazyfree-lazy-expire", "lazyfree-lazy-server-del",
    "lazyfree-lazy-user-del", "lazyfree-lazy-user-flush", "lfu-decay-time", "lfu-log-factor",
    "list-compress-depth", "list-max-listpack-size", "list-max-ziplist-entries",
    "list-max-ziplist-size", "loadmodule", "locale-collate", "log-timestamp-format", "lookahead",
    "lua-enable-insecure-api", "lua-insecure-api-current", "lua-time-limit", "masterauth",
    "masteruser", "max-client-eviction-ratio", "max-new-connections-per-cycle",
    "max-new-tls-connections-per-cycle", "maxmemory", "maxmemory-clients",
    "maxmemory-eviction-tenacity", "maxmemory-policy", "maxmemory-samples", "min-replicas-max-lag",
    "min-replicas-to-write", "min-slaves-max-lag", "min-slaves-to-write",
    "min-string-size-avoid-copy-reply", "mptcp", "no-appendfsync-on-rewrite",
    "notify-keyspace-events", "oom-score-adj", "oom-score-adj-values", "prefetch-batch-max-size",
    "primaryauth", "primaryuser", "proc-title-template", "propagation-error-behavior",
    "rdb-del-sync-files", "rdb-save-incremental-fsync", "rdb-version-check", "rdbchecksum",
    "rdbcompression", "rdma-bind", "rdma-port", "rdma-rx-size", "repl-backlog-size",
    "repl-backlog-ttl", "repl-disable-tcp-nodelay", "repl-diskless-load", "repl-diskless-sync",
    "repl-diskless-sync-delay", "repl-diskless-sync-max-replicas", "repl-diskless-sync-period",
    "repl-ping-replica-period", "repl-ping-slave-period", "repl-timeout", "replica-announce-ip",
    "replica-announce-port", "replica-announced", "replica-full-sync-buffer-limit",
    "replica-ignore-disk-write-errors", "replica-ignore-maxmemory", "replica-lazy-flush",
    "replica-priority", "replica-read-only", "replica-serve-stale-data", "sanitize-dump-payload",
    "save", "server-cpulist", "server_cpulist", "set-max-intset-entries",
    "set-max-listpack-entries", "set-max-listpack-value", "set-proc-title", "shutdown-on-sigint",
    "shutdown-on-sigterm", "shutdown-timeout", "slave-announce-ip", "slave-announce-port",
    "slave-ignore-maxmemory", "slave-lazy-flush", "slave-priority", "slave-read-only",
    "slave-serve-stale-data", "slot-migration-max-failover-repl-bytes", "slowlog-log-slower-than",
    "slowlog-max-len", "socket-mark-id", "stop-writes-on-bgsave-error", "stream-node-max-bytes",
    "stream-node-max-entries", "tracking-table-max-keys", "unixsocketgroup",
    "vector-sets-io-threads", "zset-max-listpack-entries", "zset-max-listpack-value",
    "zset-max-ziplist-entries", "zset-max-ziplist-value",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Epoch;
    use std::time::Duration;

    const ID: &str = "0123456789012345678901234567890123456789";

    fn load(text: &str) -> Result<SentinelConfig, ConfigErrors> {
        load_with(text, &[])
    }

    fn load_with(text: &str, arguments: &[&str]) -> Result<SentinelConfig, ConfigErrors> {
        let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
        let source = Source::Stdin(text.as_bytes().to_vec());
        load_sentinel(&source, &arguments).map_err(|error| match error {
            LoadError::Mistakes(errors) => errors,
            LoadError::Open { .. } => panic!("{error}"),
        })
    }

    const MONITOR: &str = "sentinel monitor m 127.0.0.1 6379 2";

    #[test]
    fn reasons_are_those_of_redis_sentinel() {
        for (line, reason) in [
            ("sentinel myid 123", "Malformed Sentinel id in myid option."),
            (
                "sentinel deny-scripts-reconfig x",
                "Please specify yes or no for the deny-scripts-reconfig options.",
            ),
            (
                "sentinel resolve-hostnames x",
                "Please specify yes or no for the resolve-hostnames option.",
            ),
            (
                "sentinel announce-hostnames x",
                "Please specify yes or no for the announce-hostnames option.",
            ),
            (
                "sentinel monitor x 127.0.0.1 1 0",
                "Quorum must be 1 or greater.",
            ),
            ("sentinel monitor m 127.0.0.1 1 1", "Duplicate master name."),
            (
                "sentinel monitor x example.org 1 1",
                "Can't resolve instance hostname.",
            ),
            (
                "sentinel monitor x 127.0.0.1 65536 1",
                "Invalid port number.",
            ),
            (
                "sentinel monitor x 127.0.0.1 1",
                "Unrecognized sentinel configuration statement.",
            ),
            (
                "sentinel nonsense",
                "Unrecognized sentinel configuration statement.",
            ),
            ("sentinel", "Unrecognized sentinel configuration statement."),
            (
                "sentinel down-after-milliseconds m 0",
                "negative or zero time parameter.",
            ),
            (
                "sentinel failover-timeout m -1",
                "negative or zero time parameter.",
            ),
            (
                "sentinel down-after-milliseconds x 1",
                "No such master with specified name.",
            ),
            (
                "sentinel notification-script m /nonexistent",
                "Notification script seems non existing or non executable.",
            ),
            (
                "sentinel client-reconfig-script m /nonexistent",
                "Client reconfiguration script seems non existing or non executable.",
            ),
            (
                "sentinel master-reboot-down-after-period m -1",
                "negative time parameter.",
            ),
            (
                "sentinel known-replica m ::1 1\nsentinel known-replica m ::1 1",
                "Duplicate hostname and port for replica.",
            ),
            (
                "sentinel known-sentinel m ::1 1 abc\nsentinel known-sentinel m ::1 2 abc",
                "Duplicate runid for sentinel.",
            ),
            (
                "sentinel rename-command m get a\nsentinel rename-command m GET b",
                "Same command renamed multiple times with rename-command.",
            ),
            (
                "replicaof 127.0.0.1 6379",
                "replicaof is not for a sentinel.",
            ),
            (
                "user bob on\nuser bobby on\nuser bob off",
                "Error in user declaration 'bob': Duplicate user found. A user can only be defined \
                 once in config files",
            ),
            ("sentinel monitor a,b 127.0.0.1 1 1", "Invalid master name."),
            (
                "sentinel monitor \"a b\" 127.0.0.1 1 1",
                "Invalid master name.",
            ),
            (
                "sentinel monitor \"\" 127.0.0.1 1 1",
                "Invalid master name.",
            ),
            (
                "aclfile x\nuser bob on",
                "Users are declared in lines and in an ACL file.",
            ),
        ] {
            let errors = load(&format!("{line}\n{MONITOR}"))
                .map(|_| line)
                .unwrap_err();
            let [mistake] = errors.mistakes() else {
                panic!("{line}: {errors}");
            };
            // A second monitor line of the same name comes after the one under test.
            let at = if reason == "Duplicate master name." {
                2
            } else {
                mistake.place.line
            };
            assert_eq!(
                (mistake.reason.as_str(), mistake.place.line),
                (reason, at),
                "{line}"
            );
            assert!(!mistake.hint.is_empty(), "{line} says what would be right");
        }
    }

    #[test]
    fn all_mistakes_are_listed_from_the_top() {
        let errors =
            load("sentinel down-after-milliseconds m 5\nport x\n\nsentinel monitor m ::1 1 0\n");
        assert_eq!(
            errors.unwrap_err().to_string(),
            "\n*** FATAL CONFIG FILE ERROR (Redis 7.0.15) ***\n\
             Reading the configuration file, at line 1\n\
             >>> 'sentinel down-after-milliseconds m 5'\n\
             No such master with specified name.\n\
             (-:1; expected: a line 'sentinel monitor m …' somewhere)\n\n\
             Reading the configuration file, at line 2\n\
             >>> 'port x'\n\
             argument couldn't be parsed into an integer\n\
             (-:2; expected: port = a whole number from 0 to 65535: TCP port to listen on, 0 for none)\n\n\
             Reading the configuration file, at line 4\n\
             >>> 'sentinel monitor m ::1 1 0'\n\
             Quorum must be 1 or greater.\n\
             (-:4; expected: sentinel monitor <master> <host> <port> <quorum from 1>: a master to watch, and how many \
             sentinels must find it down)\n"
        );
        let many = load(&"x\n".repeat(ConfigErrors::LISTED_MAX + 7)).unwrap_err();
        assert_eq!(many.mistakes().len(), ConfigErrors::LISTED_MAX);
        assert!(
            many.to_string()
                .ends_with("\nand 7 more mistakes, not listed\n")
        );
    }

    #[test]
    fn a_file_that_redis_sentinel_rewrote_loads() {
        let config = load(&format!(
            "protected-mode no\nport 26379\ndaemonize yes\ndir \"/\"\nacllog-max-len 128\n\
             SENTINEL monitor m 10.0.0.1 6379 2\n\
             sentinel known-slave m 10.0.0.2 6379\nSENTINEL resolve-hostnames no\n\
             # Generated by CONFIG REWRITE\nlatency-tracking-info-percentiles 50 99 99.9\n\
             user default on nopass ~* &* +@all\nsentinel myid {ID}\nsentinel config-epoch m 3\n\
             sentinel leader-epoch m 4\nsentinel current-epoch 4\n\
             sentinel known-replica m 10.0.0.2 6379\nsentinel known-replica m 10.0.0.3 6379\n\
             sentinel known-sentinel m 10.0.0.9 26379 {ID}\nsentinel known-sentinel m 10.0.0.8 26379\n\
             sentinel announce-ip \"10.0.0.7\"\nsentinel master-reboot-down-after-period m 0\n\
             sentinel primary-reboot-down-after-period m 10\n"
        ))
        .unwrap();
        assert_eq!(config.process.users, ["user default on nopass ~* &* +@all"]);
        let durable = config.durable;
        assert_eq!(durable.id.unwrap().as_str(), ID);
        assert_eq!(durable.current_epoch, Epoch(4));
        assert!(durable.globals.deny_scripts_reconfig);
        assert_eq!(durable.globals.announce_ip.as_deref(), Some("10.0.0.7"));
        assert_eq!(durable.globals.listening_port, 26379);
        let master = &durable.masters[0];
        assert_eq!(
            (master.config_epoch, master.leader_epoch),
            (Epoch(3), Epoch(4))
        );
        assert_eq!(master.replicas.len(), 2);
        assert_eq!(master.peers.len(), 1);
        assert_eq!(master.settings.reboot_down_after, Duration::from_millis(10));
    }

    #[test]
    fn arguments_apply_last_and_again_at_every_start() {
        let arguments = [
            "--sentinel",
            "--port",
            "7",
            "--sentinel",
            "monitor",
            "m",
            "10.9.9.9",
            "1",
            "5",
        ];
        let config = load_with(&format!("port 6\n{MONITOR}"), &arguments).unwrap();
        assert_eq!(config.process.port, 7);
        let master = &config.durable.masters[0];
        assert_eq!(
            &*master.host, "127.0.0.1",
            "the file knows better where it is now"
        );
        assert_eq!(master.settings.quorum, 5);
    }

    #[test]
    fn tls_links_announce_the_tls_port() {
        let config = load("tls-port 7\ntls-replication yes\nrequirepass \"a b\"").unwrap();
        assert_eq!(config.durable.globals.listening_port, 7);
        assert_eq!(config.durable.globals.requirepass.as_deref(), Some("a b"));
    }

    #[test]
    fn the_readme_lists_every_directive_of_a_sentinel() {
        let rows =
            super::super::directive::tests::rows(sentinel_table(), &Process::of_sentinel(), false);
        crate::readme::check_part("config/README.md", "process directives", &rows);
    }

    #[test]
    fn state_files_are_found_from_dir() {
        let config = load("dir /\nstate-file s/state").unwrap();
        assert_eq!(config.state_file.as_deref(), Some(Path::new("/s/state")));
        assert_eq!(load("").unwrap().state_file, None);
    }

    #[test]
    fn the_samples_load_and_say_the_same() {
        let sample = |name: &str| {
            let path = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("config")
                .join(name);
            load_sentinel(&Source::File(path), &[]).unwrap()
        };
        let (redis, yaml) = (sample("sentinel.conf"), sample("sentinel.yaml"));
        assert_eq!(redis.durable, yaml.durable);
        assert_eq!(redis.process, yaml.process);
        assert_eq!(
            redis.durable.masters[0].settings.down_after,
            Duration::from_secs(5)
        );
        assert_eq!(redis.state_file, None);
        let state = yaml.state_file.unwrap();
        assert!(state.ends_with("config/sentinel.yaml.state"));
    }

    #[test]
    fn what_the_samples_propose_is_right() {
        let text = include_str!("../../config/sentinel.conf");
        let proposed: String = text
            .lines()
            .filter_map(|line| line.strip_prefix("# "))
            .filter(|line| {
                let words = lex_words(line);
                let lower = words.first().is_some_and(|w| *w == w.to_ascii_lowercase());
                lower
                    && !line.contains(['<', ':', '…'])
                    && (sentinel_table().find(&words[0]).is_some()
                        || words.get(1).is_some_and(|w| {
                            words[0] == "sentinel" && statements::canonical(w).is_some()
                        }))
            })
            .filter(|line| !line.contains("/usr/local") && !line.starts_with("dir "))
            .map(|line| format!("{line}\n"))
            .filter(|line| !line.starts_with("aclfile"))
            .collect();
        let config = load(&format!("{text}\n{proposed}")).unwrap();
        assert!(config.process.tls.replication);
        assert_eq!(config.process.users.len(), 1);
        let settings = &config.durable.masters[0].settings;
        assert_eq!(settings.refused_after, Duration::from_millis(300));
        assert_eq!(settings.renamed_commands["CONFIG"], "GUESSME");
    }

    fn lex_words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }
}

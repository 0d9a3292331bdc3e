//! What a data server is told before it starts and by `CONFIG SET`.

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use super::persist::aof::{AofConfig, aof_directives};
use super::tuning::{self, Tuning};
use crate::config::errors::ConfigErrors;
use crate::config::forms::parse_leniently;
use crate::config::load::{self, Line, LoadError, Source};
use crate::config::{
    Directive, Form, Memory, Number, OptionalText, Process, Refusal, Seconds, Seen, Table, Text,
    When, YesNo, at, process_directives,
};

/// The settings of a data server. `Default` is redis-server 7.0's, but for what the fields say.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a directive of its own, and independent of the others"
)]
pub struct ServerConfig {
    /// Where it listens, logs and lives, and who may come in.
    pub process: Process,
    /// `databases`. Default 16.
    pub databases: u32,
    /// `save`: seconds and changes of each save point.
    pub save: Vec<(u64, u64)>,
    /// `dbfilename`, in `dir`. Default dump.rdb.
    pub dbfilename: String,
    /// `rdbcompression`. Default yes.
    pub rdbcompression: bool,
    /// `rdbchecksum`. Default yes.
    pub rdbchecksum: bool,
    /// `stop-writes-on-bgsave-error`. Default yes.
    pub stop_writes_on_bgsave_error: bool,
    /// `replicaof`: the master's host and port.
    pub replicaof: Option<(Arc<str>, u16)>,
    /// `masterauth`.
    pub masterauth: Option<Arc<str>>,
    /// `masteruser`.
    pub masteruser: Option<Arc<str>>,
    /// `replica-serve-stale-data`. Default yes.
    pub serve_stale_data: bool,
    /// `replica-read-only`. Default yes.
    pub read_only: bool,
    /// `repl-diskless-sync`. Default yes.
    pub diskless_sync: bool,
    /// `repl-diskless-sync-delay`: how long a transfer waits for more replicas. Default 0: at once.
    pub diskless_sync_delay: Duration,
    /// `repl-diskless-sync-max-replicas`. Default 0: no such limit.
    pub diskless_sync_max_replicas: u32,
    /// `repl-ping-replica-period`. Default 10 s.
    pub ping_period: Duration,
    /// `repl-timeout`. Default 60 s.
    pub repl_timeout: Duration,
    /// `repl-backlog-size`, bytes. Default 1 MiB.
    pub backlog_bytes: u64,
    /// `repl-backlog-ttl`; zero: forever. Default 1 h.
    pub backlog_ttl: Duration,
    /// `replica-priority`. Default 100; 0: never promoted.
    pub replica_priority: u32,
    /// `replica-announced`. Default yes.
    pub replica_announced: bool,
    /// `replica-announce-ip`.
    pub announce_ip: Option<Arc<str>>,
    /// `replica-announce-port`; 0: the port listened on.
    pub announce_port: u16,
    /// `min-replicas-to-write`. Default 0: off.
    pub min_replicas_to_write: u32,
    /// `min-replicas-max-lag`. Default 10 s.
    pub min_replicas_max_lag: Duration,
    /// `shutdown-timeout`: how long a shutdown waits for replicas. Default 10 s.
    pub shutdown_timeout: Duration,
    /// The append-only file.
    pub aof: AofConfig,
    /// `maxmemory`: bytes, 0 for no limit.
    pub maxmemory: u64,
    /// What tunes the server, and what has no meaning here.
    pub tuning: Tuning,
}

impl Default for ServerConfig {
    fn default() -> ServerConfig {
        ServerConfig {
            process: Process::default(),
            databases: 16,
            save: vec![(3600, 1), (300, 100), (60, 10_000)],
            dbfilename: "dump.rdb".to_owned(),
            rdbcompression: true,
            rdbchecksum: true,
            stop_writes_on_bgsave_error: true,
            replicaof: None,
            masterauth: None,
            masteruser: None,
            serve_stale_data: true,
            read_only: true,
            diskless_sync: true,
            diskless_sync_delay: Duration::ZERO,
            diskless_sync_max_replicas: 0,
            ping_period: Duration::from_secs(10),
            repl_timeout: Duration::from_secs(60),
            backlog_bytes: 1 << 20,
            backlog_ttl: Duration::from_secs(3600),
            replica_priority: 100,
            replica_announced: true,
            announce_ip: None,
            announce_port: 0,
            min_replicas_to_write: 0,
            min_replicas_max_lag: Duration::from_secs(10),
            shutdown_timeout: Duration::from_secs(10),
            aof: AofConfig::default(),
            maxmemory: 0,
            tuning: Tuning::default(),
        }
    }
}

impl ServerConfig {
    /// The port that this server gives to its master and its replicas' clients.
    pub fn announced_port(&self) -> u16 {
        if self.announce_port != 0 {
            self.announce_port
        } else {
            self.process.announced_port()
        }
    }

    /// How much memory all ordinary clients may take together, by `maxmemory-clients`. Bytes; 0: no limit.
    pub fn client_memory_max(&self) -> u64 {
        /// With less, nobody could talk to this server and raise the limit.
        const BYTES_MIN: u64 = 128 * 1024;
        let bytes = match self.tuning.maxmemory_clients {
            0 => return 0,
            ..0 if self.maxmemory == 0 => return 0,
            percent @ ..0 => {
                let part = u128::from(self.maxmemory) * u128::from(percent.unsigned_abs()) / 100;
                u64::try_from(part).unwrap_or(u64::MAX)
            }
            bytes => bytes.unsigned_abs(),
        };
        bytes.max(BYTES_MIN)
    }

    /// The backlog size as the backlog takes it.
    pub fn backlog_size(&self) -> usize {
        usize::try_from(self.backlog_bytes).unwrap_or(usize::MAX)
    }
}

/// The file that a server was configured with.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    /// Absolute.
    pub path: PathBuf,
    /// Where the process was when it read it, which relative `include` lines go by.
    pub read_in: Option<PathBuf>,
}

impl ConfigFile {
    /// The file at `path`, for a process that has not left its folder yet.
    pub fn of(path: &Path) -> ConfigFile {
        ConfigFile {
            path: std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
            read_in: std::env::current_dir().ok(),
        }
    }
}

/// A server's configuration and where it came from.
#[derive(Clone, Debug)]
pub struct ServerSetup {
    /// The settings.
    pub config: ServerConfig,
    /// The configuration file, which `CONFIG REWRITE` writes.
    pub file: Option<ConfigFile>,
    /// The `user` and `rename-command` lines, for those who find out later that one is wrong.
    pub access_lines: Vec<Line>,
}

/// Reads the configuration of a data server. `arguments` are the `--directive value…` words of the command
/// line, which apply last.
///
/// # Errors
/// A source cannot be read, or has mistakes: all of them are listed.
pub fn load_server(sources: &[Source], arguments: &[String]) -> Result<ServerSetup, LoadError> {
    let mut errors = ConfigErrors::default();
    let mut config = ServerConfig::default();
    let mut seen = Seen::default();
    let mut access_lines = Vec::new();
    let mut apply = |lines: Vec<Line>, errors: &mut ConfigErrors| {
        for line in lines {
            if matches!(
                line.words[0].to_ascii_lowercase().as_str(),
                "user" | "rename-command"
            ) {
                access_lines.push(line.clone());
            }
            let words: Vec<&str> = line.words.iter().map(String::as_str).collect();
            if let Err(refusal) = server_table().apply(&mut config, &words, &mut seen) {
                errors.push(line.place, refusal, "");
            }
        }
    };
    let mut base = None;
    for source in sources {
        let reading = load::read_from(base, source, &|_| false, &mut errors)?;
        apply(reading.lines, &mut errors);
        base = reading.base;
    }
    let lines = load::arguments(arguments, base, &mut errors);
    apply(lines, &mut errors);
    let file = sources.iter().find_map(|source| match source {
        Source::File(path) => Some(ConfigFile::of(path)),
        Source::Stdin(_) => None,
    });
    Ok(errors.into_result(ServerSetup {
        config,
        file,
        access_lines,
    })?)
}

/// The directives of a data server.
pub fn server_table() -> &'static Table<ServerConfig> {
    static TABLE: LazyLock<Table<ServerConfig>> = LazyLock::new(|| {
        let mut all: Vec<Directive<ServerConfig>> = process_directives()
            .into_iter()
            .map(|directive| directive.within::<ServerConfig>(at!(process)))
            .collect();
        all.extend(persistence());
        all.extend(
            aof_directives()
                .into_iter()
                .map(|directive| directive.within::<ServerConfig>(at!(aof))),
        );
        all.extend(replication());
        let tuning = tuning::directives().into_iter();
        all.extend(tuning.map(|directive| directive.within::<ServerConfig>(at!(tuning))));
        Table::new(all).tolerating(WITHOUT_EFFECT)
    });
    &TABLE
}

fn persistence() -> Vec<Directive<ServerConfig>> {
    type D = Directive<ServerConfig>;
    vec![
        D::at_start(
            "databases",
            Number::between(1, 1024),
            at!(databases),
            "number of databases",
        ),
        D::at_run_time(
            "save",
            SavePoints,
            at!(save),
            "when the data is saved by itself",
        ),
        D::protected(
            "dbfilename",
            FileName,
            at!(dbfilename),
            "file of the data, in dir",
        ),
        D::at_run_time(
            "rdbcompression",
            YesNo,
            at!(rdbcompression),
            "compress strings in that file",
        ),
        D::at_start("rdbchecksum", YesNo, at!(rdbchecksum), "checksum that file"),
        D::at_run_time(
            "stop-writes-on-bgsave-error",
            YesNo,
            at!(stop_writes_on_bgsave_error),
            "refuse writes after a save has failed",
        ),
        D::at_run_time(
            "maxmemory",
            Memory::at_most(u64::MAX),
            at!(maxmemory),
            "most memory in use before keys are given up or writes refused, 0 for no limit",
        ),
        D::at_run_time(
            "shutdown-timeout",
            Seconds::between(0, i32::MAX),
            at!(shutdown_timeout),
            "how long a shutdown waits for replicas",
        ),
    ]
}

fn replication() -> Vec<Directive<ServerConfig>> {
    type D = Directive<ServerConfig>;
    let seconds = |least| Seconds::between(least, i32::MAX);
    vec![
        D::at_start(
            "replicaof",
            MasterAddress,
            at!(replicaof),
            "the master to follow",
        )
        .alias("slaveof"),
        D::at_run_time(
            "masterauth",
            OptionalText,
            at!(masterauth),
            "the master's password",
        ),
        D::at_run_time(
            "masteruser",
            OptionalText,
            at!(masteruser),
            "our user there",
        ),
        D::at_run_time(
            "replica-serve-stale-data",
            YesNo,
            at!(serve_stale_data),
            "answer while the master is away",
        )
        .alias("slave-serve-stale-data"),
        D::at_run_time(
            "replica-read-only",
            YesNo,
            at!(read_only),
            "a replica refuses writes",
        )
        .alias("slave-read-only"),
        D::at_run_time(
            "repl-diskless-sync",
            YesNo,
            at!(diskless_sync),
            "full resyncs go straight to the socket",
        ),
        D::at_run_time(
            "repl-diskless-sync-delay",
            seconds(0),
            at!(diskless_sync_delay),
            "how long a full resync waits for more replicas",
        ),
        D::at_run_time(
            "repl-diskless-sync-max-replicas",
            Number::between(0, i32::MAX),
            at!(diskless_sync_max_replicas),
            "so many waiting replicas end that delay, 0 for none",
        ),
        D::at_run_time(
            "repl-ping-replica-period",
            seconds(1),
            at!(ping_period),
            "time between PINGs to replicas",
        )
        .alias("repl-ping-slave-period"),
        D::at_run_time(
            "repl-timeout",
            seconds(1),
            at!(repl_timeout),
            "silence after which a replication link is given up",
        ),
        D::at_run_time(
            "repl-backlog-size",
            BacklogSize,
            at!(backlog_bytes),
            "how much of the stream is kept for replicas that come back",
        ),
        D::at_run_time(
            "repl-backlog-ttl",
            Seconds::between(0, i64::MAX),
            at!(backlog_ttl),
            "how long it is kept without any replica, 0 for ever",
        ),
        D::at_run_time(
            "replica-priority",
            Number::between(0, i32::MAX),
            at!(replica_priority),
            "lower is promoted first, 0 never",
        )
        .alias("slave-priority"),
        D::at_run_time(
            "replica-announced",
            YesNo,
            at!(replica_announced),
            "sentinels list this replica",
        ),
        D::at_run_time(
            "replica-announce-ip",
            OptionalText,
            at!(announce_ip),
            "address that the master shows for us",
        )
        .alias("slave-announce-ip"),
        D::at_run_time(
            "replica-announce-port",
            Number::between(0, u16::MAX),
            at!(announce_port),
            "port that the master shows for us, 0 for our own",
        )
        .alias("slave-announce-port"),
        D::at_run_time(
            "min-replicas-to-write",
            Number::between(0, i32::MAX),
            at!(min_replicas_to_write),
            "fewer good replicas than this: no writes; 0 for off",
        )
        .alias("min-slaves-to-write"),
        D::at_run_time(
            "min-replicas-max-lag",
            seconds(0),
            at!(min_replicas_max_lag),
            "a replica silent for longer is not good",
        )
        .alias("min-slaves-max-lag"),
    ]
}

/// `repl-backlog-size`, which `CONFIG SET` changes to no less than 16 KiB.
struct BacklogSize;

impl BacklogSize {
    fn bytes() -> Memory {
        Memory::between(1, i64::MAX.unsigned_abs())
    }
}

impl Form for BacklogSize {
    type Value = u64;

    fn parse(&self, words: &[&str], when: When, value: &mut u64) -> Result<(), Refusal> {
        /// A file may have less, for tests.
        const LEAST: u64 = 16 * 1024;
        let before = *value;
        BacklogSize::bytes().parse(words, when, value)?;
        if when == When::RunTime && *value != before {
            *value = LEAST.max(*value);
        }
        Ok(())
    }

    fn show(&self, value: &u64) -> String {
        BacklogSize::bytes().show(value)
    }

    fn lines(&self, value: &u64) -> Vec<Vec<String>> {
        BacklogSize::bytes().lines(value)
    }

    fn expected(&self) -> String {
        BacklogSize::bytes().expected()
    }
}

/// `save SECONDS CHANGES …`; `save ""` for none. The first line replaces the default, later ones add.
struct SavePoints;

impl Form for SavePoints {
    type Value = Vec<(u64, u64)>;

    fn arity(&self) -> (usize, usize) {
        (0, usize::MAX)
    }

    fn parse(&self, words: &[&str], when: When, value: &mut Self::Value) -> Result<(), Refusal> {
        let number = |word: &&str| u64::try_from(parse_leniently(word)?).ok();
        let words = if words == [""] { &[][..] } else { words };
        if words.is_empty() || when != When::LaterLine {
            value.clear();
        }
        for pair in words.chunks(2) {
            let point = match pair {
                [seconds, changes] => number(seconds).zip(number(changes)),
                _ => None,
            };
            let point = point
                .filter(|(seconds, _)| *seconds >= 1)
                .ok_or_else(|| Refusal::new("Invalid save parameters"))?;
            value.push(point);
        }
        Ok(())
    }

    fn show(&self, value: &Self::Value) -> String {
        let points: Vec<String> = value.iter().map(|(s, c)| format!("{s} {c}")).collect();
        points.join(" ")
    }

    fn lines(&self, value: &Self::Value) -> Vec<Vec<String>> {
        if value.is_empty() {
            return vec![vec![String::new()]];
        }
        let line = |(s, c): &(u64, u64)| vec![s.to_string(), c.to_string()];
        value.iter().map(line).collect()
    }

    fn expected(&self) -> String {
        "pairs of seconds and changes, or \"\" for never".to_owned()
    }
}

/// `replicaof HOST PORT`, or `replicaof no one`.
struct MasterAddress;

impl Form for MasterAddress {
    type Value = Option<(Arc<str>, u16)>;

    fn arity(&self) -> (usize, usize) {
        (2, 2)
    }

    fn parse(&self, words: &[&str], _: When, value: &mut Self::Value) -> Result<(), Refusal> {
        *value = if words[0].eq_ignore_ascii_case("no") && words[1].eq_ignore_ascii_case("one") {
            None
        } else {
            let port = words[1].parse().ok().filter(|port| *port != 0);
            let port = port.ok_or_else(|| Refusal::new("Invalid master port"))?;
            Some((Arc::from(words[0]), port))
        };
        Ok(())
    }

    fn show(&self, value: &Self::Value) -> String {
        value
            .as_ref()
            .map_or_else(String::new, |(host, port)| format!("{host} {port}"))
    }

    fn lines(&self, value: &Self::Value) -> Vec<Vec<String>> {
        let line = |(host, port): &(Arc<str>, u16)| vec![host.to_string(), port.to_string()];
        value.iter().map(line).collect()
    }

    fn expected(&self) -> String {
        "a host and a port".to_owned()
    }
}

/// The name of a file without any folder.
struct FileName;

impl Form for FileName {
    type Value = String;

    fn parse(&self, words: &[&str], when: When, value: &mut String) -> Result<(), Refusal> {
        if words[0].is_empty() || words[0].contains('/') || matches!(words[0], "." | "..") {
            return Err(Refusal::new("dbfilename can't be a path, just a filename"));
        }
        Text.parse(words, when, value)
    }

    fn show(&self, value: &String) -> String {
        value.clone()
    }

    fn expected(&self) -> String {
        "a file name without a folder".to_owned()
    }
}

/// Directives of former times, which redis-server 7.0 accepts and forgets.
const WITHOUT_EFFECT: &[&str] = &[
    "list-max-ziplist-entries",
    "list-max-ziplist-value",
    "lua-replicate-commands",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RewriteOf;
    use crate::config::directive::tests::rewritten;

    fn load(arguments: &[&str]) -> Result<ServerConfig, String> {
        let arguments: Vec<String> = arguments.iter().map(|&a| a.to_owned()).collect();
        load_server(&[], &arguments)
            .map(|setup| setup.config)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_readme_lists_every_directive_of_a_data_server() {
        let rows =
            crate::config::directive::tests::rows(server_table(), &ServerConfig::default(), true);
        crate::readme::check_part("config/README.md", "server directives", &rows);
    }

    #[test]
    fn the_command_line_is_enough() {
        let config = load(&["--port", "7000", "--save", "", "--slaveof", "h", "1"]).unwrap();
        assert_eq!(config.process.port, 7000);
        assert_eq!(config.save, []);
        assert_eq!(config.replicaof, Some(("h".into(), 1)));
    }

    #[test]
    fn one_word_may_hold_several_values() {
        let config = load(&["--replicaof", "h 1", "--save", "900 1 300 10"]).unwrap();
        assert_eq!(config.replicaof, Some(("h".into(), 1)));
        assert_eq!(config.save, [(900, 1), (300, 10)]);
        let config = load(&[
            "--bind",
            "127.0.0.1 -::1",
            "--shutdown-on-sigterm",
            "save now",
        ]);
        let config = config.unwrap();
        assert_eq!(config.process.bind, ["127.0.0.1", "-::1"]);
        assert!(config.tuning.shutdown_on_sigterm.now);
        // What defines a user stays as it is: this is a name with a blank, which is refused later.
        let config = load(&["--user", "alice on"]).unwrap();
        assert_eq!(config.process.users, ["user \"alice on\""]);
        assert!(load(&["--save", "900 1", "300 10"]).is_err());
    }

    #[test]
    fn the_example_loads_and_shows_the_defaults() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/server.conf");
        let source = Source::File(path.into());
        let bound = vec!["127.0.0.1".to_owned(), "-::1".to_owned()];
        let mut wanted = ServerConfig::default();
        wanted.process.bind = bound;
        assert_eq!(load_server(&[source], &[]).unwrap().config, wanted);
        // What is commented out is a directive, and where it is called a default, it is one.
        let text = std::fs::read_to_string(path).unwrap();
        let shown = text.lines().filter_map(|line| line.strip_prefix("# "));
        let mut checked = 0;
        for line in shown {
            let words = crate::config::lex::words(line.as_bytes()).ok().flatten();
            let words = words.unwrap_or_default();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            if words
                .first()
                .is_some_and(|name| server_table().find(name).is_some())
            {
                let mut config = wanted.clone();
                let applied = server_table().apply(&mut config, &words, &mut Seen::default());
                assert!(applied.is_ok(), "{line}: {applied:?}");
                checked += 1;
            }
        }
        assert!(checked > 40, "{checked} lines");
    }

    #[test]
    fn what_is_not_there_is_refused() {
        assert!(load(&["--appendonly", "yes", "--maxmemory", "1gb"]).is_ok());
        assert!(load(&["--aof-use-rdb-preamble", "no"]).is_ok());
        assert!(load(&["--appenddirname", "a/b"]).is_err());
        assert!(load(&["--cluster-enabled-typo", "1"]).is_err());
    }

    #[test]
    fn the_changelog_names_every_setting_without_effect() {
        let changelog = include_str!("../../CHANGELOG.md");
        let (_, list) = changelog
            .split_once("* Accepted, shown and without effect are ")
            .unwrap();
        let (list, _) = list.split_once(". Each is").unwrap();
        let listed: Vec<&str> = list.split('`').skip(1).step_by(2).collect();
        let directives = server_table().directives().iter();
        let mut without: Vec<&str> = directives
            .filter(|directive| directive.help().contains("without effect"))
            .map(Directive::name)
            .collect();
        without.extend(WITHOUT_EFFECT);
        let covers = |word: &str, name: &str| match word.split_once('…') {
            Some((begin, end)) => name.starts_with(begin) && name.ends_with(end),
            None => name == word,
        };
        let unlisted = without
            .iter()
            .filter(|name| !listed.iter().any(|word| covers(word, name)));
        assert_eq!(unlisted.collect::<Vec<_>>(), Vec::<&&str>::new());
        let idle = listed
            .iter()
            .filter(|word| !without.iter().any(|name| covers(word, name)));
        assert_eq!(idle.collect::<Vec<_>>(), Vec::<&&str>::new());
    }

    #[test]
    fn a_backlog_may_be_kept_for_as_long_as_can_be_said() {
        let config = load(&["--repl-backlog-ttl", "9223372036854775807"]).unwrap();
        assert_eq!(config.backlog_ttl, Duration::from_secs(i64::MAX as u64));
    }

    #[test]
    fn a_backlog_is_no_smaller_at_run_time() {
        let config = load(&["--repl-backlog-size", "100"]).unwrap();
        assert_eq!(config.backlog_bytes, 100);
        let form = BacklogSize;
        for (before, word, want) in [(100, "100", 100), (100, "1", 16_384), (1, "17kb", 17_408)] {
            let mut bytes = before;
            form.parse(&[word], When::RunTime, &mut bytes).unwrap();
            assert_eq!(bytes, want, "{word} after {before}");
        }
    }

    #[test]
    fn a_rewrite_names_the_master_and_forgets_it() {
        let table = server_table();
        let mut config = ServerConfig {
            replicaof: Some(("10.0.0.1".into(), 7)),
            ..ServerConfig::default()
        };
        let text = rewritten(table, &config, b"# mine\nport 6379\n", RewriteOf::Changes);
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("# mine\n"), "{text}");
        assert!(text.contains("replicaof 10.0.0.1 7"), "{text}");
        config.replicaof = None;
        let text = String::from_utf8(rewritten(
            table,
            &config,
            text.as_bytes(),
            RewriteOf::Changes,
        ))
        .unwrap();
        assert!(!text.contains("10.0.0.1"), "{text}");
    }

    #[test]
    fn a_line_for_each_setting_says_what_it_is() {
        let table = server_table();
        let config = load(&["--save", "7 8", "--hz", "20", "--maxmemory-clients", "5%"]).unwrap();
        let text = rewritten(table, &config, b"port 6379\n", RewriteOf::All);
        let text = String::from_utf8(text).unwrap();
        for line in ["hash-max-listpack-entries 512", "key-load-delay 0", "hz 20"] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        let mut again = ServerConfig::default();
        let mut seen = Seen::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let words = crate::config::lex::words(line.as_bytes()).unwrap();
            let words = words.unwrap_or_default();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let applied = table.apply(&mut again, &words, &mut seen);
            assert!(applied.is_ok(), "{line}: {applied:?}");
        }
        assert_eq!(again, config);
    }

    #[test]
    fn save_points_are_set_and_shown() {
        let mut config = ServerConfig::default();
        assert_eq!(SavePoints.show(&config.save), "3600 1 300 100 60 10000");
        server_table()
            .set(&mut config, &[("save", "10 1 20 2")], false)
            .unwrap();
        assert_eq!(config.save, [(10, 1), (20, 2)]);
        server_table()
            .set(&mut config, &[("save", "")], false)
            .unwrap();
        assert_eq!(config.save, []);
        assert!(
            server_table()
                .set(&mut config, &[("save", "1")], false)
                .is_err()
        );
    }
}

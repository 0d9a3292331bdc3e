//! What `sentinel up` will start: ports, folders and configuration files, decided before anything runs.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};
use tempfile::TempDir;

use super::paint::ColorArgs;
use crate::clock::millis;
use crate::config::lex;
use crate::config::statements::check_master_name;
use crate::ids::random_hex;

/// Sentinels listen this far above the base port.
pub(super) const SENTINEL_PORT_OFFSET: u16 = 20_000;
/// Sentinels and data servers of ours speak HTTP this far above the port that they listen on.
pub(super) const HTTP_PORT_OFFSET: u16 = 10_000;
/// No more replicas, and no more sentinels, than this: each is a process.
pub(super) const CHILDREN_MAX: u16 = 100;
/// Random bytes of a token: nobody guesses it.
const TOKEN_BYTES: usize = 16;
/// Where the search for free ports begins.
pub(super) const FIRST_BASE_PORT: u16 = 6379;

/// Options of `sentinel up`. What is not given comes from the file, else from the defaults.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct UpArgs {
    /// A topology.yaml; the options below win over it
    pub file: Option<PathBuf>,
    /// Replicas of the master [default: 2]
    #[arg(long, value_name = "N")]
    pub replicas: Option<u16>,
    /// Sentinels [default: 3]
    #[arg(long, value_name = "N")]
    pub sentinels: Option<u16>,
    /// Port of the master; replicas follow it, sentinels are 20000 above [default: first free from 6379]
    #[arg(long, value_name = "PORT")]
    pub base_port: Option<u16>,
    /// Folder for all files, kept afterwards [default: a temporary one, removed afterwards]
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// A redis-server or valkey-server to use instead of the bundled data server
    #[arg(long, value_name = "PATH")]
    pub with: Option<PathBuf>,
    /// Start a child that died again, after a pause that grows
    #[arg(long)]
    pub restart: bool,
    /// Whether to colour.
    #[command(flatten)]
    pub color: ColorArgs,
}

/// A `topology.yaml`. Every key may be left out; durations are written `1s`, `500ms`, `3min`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(
    deny_unknown_fields,
    default,
    expecting = "keys and values, one `key: value` a line"
)]
pub struct TopologyFile {
    /// The name under which the master is monitored. Default `mymaster`.
    pub name: Option<String>,
    /// Replicas of the master. Default 2.
    pub replicas: Option<u16>,
    /// Sentinels. Default 3.
    pub sentinels: Option<u16>,
    /// How many sentinels must agree that the master is down. Default: over half of them.
    pub quorum: Option<u16>,
    /// Port of the master. Default: the first free one from 6379.
    pub base_port: Option<u16>,
    /// Folder for all files. Default: a temporary one.
    pub dir: Option<PathBuf>,
    /// The data server program. Default: the bundled one.
    pub with: Option<PathBuf>,
    /// Start again what died.
    pub restart: bool,
    /// How long without an answer means down. Default 1 s, so that a failover can be watched.
    #[serde(deserialize_with = "duration")]
    pub down_after: Option<Duration>,
    /// `failover-timeout` of the sentinels. Default 10 s.
    #[serde(deserialize_with = "duration")]
    pub failover_timeout: Option<Duration>,
    /// How many replicas may resynchronise at once after a failover. Default 1.
    pub parallel_syncs: Option<u16>,
    /// Further lines for the configuration of every data server.
    pub server: Vec<String>,
    /// Further lines for the configuration of every sentinel.
    pub sentinel: Vec<String>,
}

/// A duration as humantime writes it.
fn duration<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Duration>, D::Error> {
    struct Text;

    // A visitor, because an error inside one is given its place in the file.
    impl Visitor<'_> for Text {
        type Value = Option<Duration>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a duration like 500ms or 5s")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            let parsed = humantime::parse_duration(text);
            parsed
                .map(Some)
                .map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
        }
    }

    input.deserialize_str(Text)
}

impl TopologyFile {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, is not YAML, or has a key or value that means nothing here; the error names
    /// the file, and the line where there is one.
    pub fn load(path: &Path) -> anyhow::Result<TopologyFile> {
        let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        TopologyFile::parse(&text).with_context(|| format!("in {}", path.display()))
    }

    fn parse(text: &str) -> Result<TopologyFile, serde_yaml::Error> {
        // A file of comments alone is an empty document, which serde_yaml gives as null.
        Ok(serde_yaml::from_str::<Option<TopologyFile>>(text)?.unwrap_or_default())
    }

    /// The options of the command line win.
    #[must_use]
    pub fn overridden_by(mut self, args: &UpArgs) -> TopologyFile {
        self.replicas = args.replicas.or(self.replicas);
        self.sentinels = args.sentinels.or(self.sentinels);
        self.base_port = args.base_port.or(self.base_port);
        self.dir = args.dir.clone().or(self.dir);
        self.with = args.with.clone().or(self.with);
        self.restart |= args.restart;
        self
    }
}

/// What a child is at the start. Data servers change roles later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The first master.
    Master,
    /// A replica.
    Replica,
    /// A sentinel.
    Sentinel,
}

/// One process to start.
#[derive(Clone, Debug)]
pub(super) struct ChildPlan {
    /// What it starts as.
    pub role: Role,
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    /// Where it speaks HTTP.
    pub http_port: Option<u16>,
    /// Its folder.
    pub dir: PathBuf,
    /// Its configuration file.
    pub config: PathBuf,
    /// Everything it says.
    pub log: PathBuf,
}

/// Everything that will be started.
#[derive(Debug)]
pub(super) struct Plan {
    /// The name under which the master is monitored.
    pub name: String,
    /// The master, its replicas, the sentinels.
    pub children: Vec<ChildPlan>,
    /// Where all files are.
    pub dir: PathBuf,
    /// The same, if it is ours to remove; until somebody takes it over.
    pub temporary: Option<TempDir>,
    /// Whether it will be removed at the end.
    pub is_temporary: bool,
    /// The data server program, if it is not this one.
    pub with: Option<PathBuf>,
    /// What its members ask of us.
    pub password: Option<String>,
    /// What the sentinels' HTTP asks of those who want to change something, where we choose it.
    pub token: Option<String>,
    /// Whether to start again what died.
    pub restart: bool,
    /// How long without an answer means down.
    pub down_after: Duration,
    /// True if the folder held this topology before and its files are used as they are.
    pub is_continued: bool,
}

impl Plan {
    /// Chooses ports and folder and writes the configuration files. Nothing is started.
    ///
    /// # Errors
    /// A number makes no sense, a port that was asked for is busy, the data server program cannot be
    /// run, the folder holds another topology, or a file cannot be written.
    pub(super) fn make(file: &TopologyFile) -> anyhow::Result<Plan> {
        let replicas = file.replicas.unwrap_or(2);
        let sentinels = file.sentinels.unwrap_or(3);
        let quorum = file.quorum.unwrap_or(sentinels / 2 + 1);
        ensure!(
            replicas <= CHILDREN_MAX,
            "{replicas} replicas: at most {CHILDREN_MAX}"
        );
        ensure!(
            sentinels <= CHILDREN_MAX,
            "{sentinels} sentinels: at most {CHILDREN_MAX}"
        );
        ensure!(
            sentinels >= 1,
            "0 sentinels: at least 1 is needed to watch the master"
        );
        ensure!(
            (1..=sentinels).contains(&quorum),
            "quorum {quorum}: must be 1 to {sentinels}, the number of sentinels"
        );
        for (key, time) in [
            ("down_after", file.down_after),
            ("failover_timeout", file.failover_timeout),
        ] {
            ensure!(
                time.is_none_or(|time| millis(time) > 0),
                "{key} 0: must be at least 1ms"
            );
        }
        ensure!(
            file.parallel_syncs != Some(0),
            "parallel_syncs 0: must be at least 1"
        );
        if let Some(Err(refusal)) = file.name.as_deref().map(check_master_name) {
            bail!(
                "name {:?}: must be {}",
                file.name.as_deref().unwrap_or_default(),
                refusal.hint.unwrap_or_default()
            );
        }
        ensure!(
            file.base_port != Some(0),
            "base port 0: must be at least 1; leave it out for the first free one"
        );
        let with = file.with.as_deref().map(find_program).transpose()?;
        let found = file.dir.as_deref().map(FoundFolders::read).transpose()?;
        let found = found.unwrap_or_default();
        let base = match file.base_port.or(found.base_port()) {
            Some(base) => {
                let ports = Ports::new(base, replicas, sentinels).with_context(|| {
                    let above = SENTINEL_PORT_OFFSET + HTTP_PORT_OFFSET;
                    format!("base port {base}: no room below 65536 for the sentinels and their HTTP, up to {above} above")
                })?;
                refuse_busy(&ports, is_free)?;
                ports
            }
            None => first_free(replicas, sentinels, is_free)?,
        };
        found.refuse_others(&base)?;
        let (dir, temporary) = make_folder(file.dir.as_deref())?;
        let with_http = WithHttp::of(file);
        let is_continued = !found.0.is_empty();
        let plan = Plan {
            name: file.name.clone().unwrap_or_else(|| "mymaster".to_owned()),
            children: base.children(&dir, with_http),
            dir,
            is_temporary: temporary.is_some(),
            temporary,
            with,
            password: password(file),
            // Files from before keep theirs.
            token: (with_http.token && !is_continued)
                .then(|| random_hex::<TOKEN_BYTES>(&mut rand::rng())),
            restart: file.restart,
            down_after: file.down_after.unwrap_or(Duration::from_secs(1)),
            is_continued,
        };
        plan.write_files(file, quorum)?;
        Ok(plan)
    }

    /// The first master.
    pub(super) fn master(&self) -> &ChildPlan {
        &self.children[0]
    }

    /// The sentinels.
    pub(super) fn sentinels(&self) -> impl Iterator<Item = &ChildPlan> {
        self.children
            .iter()
            .filter(|child| child.role == Role::Sentinel)
    }

    /// How many data servers follow the master.
    pub(super) fn replica_count(&self) -> usize {
        self.children
            .iter()
            .filter(|child| child.role == Role::Replica)
            .count()
    }

    fn write_files(&self, file: &TopologyFile, quorum: u16) -> anyhow::Result<()> {
        for child in &self.children {
            // The state of an earlier run is in there: who is master now, ids, epochs.
            if child.config.exists() {
                continue;
            }
            let text = match child.role {
                Role::Sentinel => self.sentinel_config(child, file, quorum),
                Role::Master | Role::Replica => self.server_config(child, file),
            };
            fs::create_dir_all(&child.dir)
                .and_then(|()| write_secret(&child.config, &text))
                .with_context(|| format!("write {}", child.config.display()))?;
        }
        Ok(())
    }

    fn common_config(&self, child: &ChildPlan) -> String {
        format!(
            "port {}\nbind 127.0.0.1\ndir {}\nlogfile {}\n",
            child.port,
            quoted(&child.dir),
            quoted(&child.log),
        )
    }

    fn server_config(&self, child: &ChildPlan, file: &TopologyFile) -> String {
        let mut text = self.common_config(child);
        push_http(&mut text, child);
        // Replicas of a fresh master need not wait for company before their first resync.
        text.push_str("repl-diskless-sync-delay 0\n");
        if self.is_temporary {
            text.push_str("save \"\"\n");
        }
        if child.role == Role::Replica {
            text.push_str(&format!("replicaof 127.0.0.1 {}\n", self.master().port));
        }
        push_lines(&mut text, &file.server);
        text
    }

    fn sentinel_config(&self, child: &ChildPlan, file: &TopologyFile, quorum: u16) -> String {
        let name = &self.name;
        let down_after = millis(self.down_after);
        let timeout = millis(file.failover_timeout.unwrap_or(Duration::from_secs(10)));
        let syncs = file.parallel_syncs.unwrap_or(1);
        let port = self.master().port;
        let mut text = self.common_config(child);
        push_http(&mut text, child);
        if let Some(token) = &self.token {
            text.push_str(&format!("http-token {token}\n"));
        }
        text.push_str(&format!(
            "sentinel monitor {name} 127.0.0.1 {port} {quorum}\n\
             sentinel down-after-milliseconds {name} {down_after}\n\
             sentinel failover-timeout {name} {timeout}\n\
             sentinel parallel-syncs {name} {syncs}\n"
        ));
        push_lines(&mut text, &file.sentinel);
        text
    }
}

/// The password that the further lines demand of clients: the sentinels', else the data servers'.
fn password(file: &TopologyFile) -> Option<String> {
    let value = |line: &String| match lex::words(line.as_bytes()).ok()??.as_slice() {
        [name, value] if name.eq_ignore_ascii_case("requirepass") => Some(value.clone()),
        _ => None,
    };
    let last = |lines: &[String]| lines.iter().rev().find_map(value);
    last(&file.sentinel)
        .or_else(|| last(&file.server))
        .filter(|password| !password.is_empty())
}

/// Which of them we tell where to speak HTTP, and with which token.
#[derive(Clone, Copy, Debug)]
struct WithHttp {
    sentinels: bool,
    servers: bool,
    token: bool,
}

impl WithHttp {
    /// All of ours whose further lines leave it to us. Other programs do not speak HTTP.
    fn of(file: &TopologyFile) -> WithHttp {
        let has = |lines: &[String], names: &[&str]| {
            let is_one = |line: &String| {
                let words = lex::words(line.as_bytes()).ok().flatten();
                words.is_some_and(|words| {
                    names.iter().any(|name| words[0].eq_ignore_ascii_case(name))
                })
            };
            lines.iter().any(is_one)
        };
        let sentinels = !has(&file.sentinel, &["http-port"]);
        WithHttp {
            sentinels,
            servers: file.with.is_none() && !has(&file.server, &["http-port"]),
            token: sentinels && !has(&file.sentinel, &["http-token", "http-token-file"]),
        }
    }
}

fn push_http(text: &mut String, child: &ChildPlan) {
    if let Some(port) = child.http_port {
        text.push_str(&format!("http-port {port}\n"));
    }
}

/// A new file that only its owner can read: it holds the token, and may hold passwords.
fn write_secret(path: &Path, text: &str) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    file?.write_all(text.as_bytes())
}

fn push_lines(text: &mut String, lines: &[String]) {
    for line in lines {
        text.push_str(line);
        text.push('\n');
    }
}

/// A path as a value of a configuration file in Redis's quoting.
fn quoted(path: &Path) -> String {
    let mut text = String::from('"');
    for c in path.to_string_lossy().chars() {
        if matches!(c, '"' | '\\') {
            text.push('\\');
        }
        text.push(c);
    }
    text.push('"');
    text
}

/// The ports of a topology.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ports {
    servers: Range<u16>,
    sentinels: Range<u16>,
}

impl Ports {
    /// `None` if they do not fit.
    fn new(base: u16, replicas: u16, sentinels: u16) -> Option<Ports> {
        let first_sentinel = base.checked_add(SENTINEL_PORT_OFFSET)?;
        let after_last = first_sentinel.checked_add(sentinels)?;
        after_last.checked_add(HTTP_PORT_OFFSET)?;
        Some(Ports {
            servers: base..base.checked_add(replicas)?.checked_add(1)?,
            sentinels: first_sentinel..after_last,
        })
    }

    /// One for each child.
    fn all(&self) -> impl Iterator<Item = u16> {
        self.servers.clone().chain(self.sentinels.clone())
    }

    /// Where they speak HTTP.
    fn http(&self) -> impl Iterator<Item = u16> {
        self.all().map(|port| port + HTTP_PORT_OFFSET)
    }

    fn role(&self, port: u16) -> Role {
        if self.sentinels.contains(&port) {
            Role::Sentinel
        } else if port == self.servers.start {
            Role::Master
        } else {
            Role::Replica
        }
    }

    fn children(&self, dir: &Path, with: WithHttp) -> Vec<ChildPlan> {
        let child = |port| {
            let role = self.role(port);
            let (folder, file) = match role {
                Role::Sentinel => (SENTINEL_FOLDER, "sentinel.conf"),
                Role::Master | Role::Replica => (SERVER_FOLDER, "redis.conf"),
            };
            let dir = dir.join(format!("{folder}{port}"));
            let with_http = match role {
                Role::Sentinel => with.sentinels,
                Role::Master | Role::Replica => with.servers,
            };
            ChildPlan {
                role,
                port,
                http_port: with_http.then(|| port + HTTP_PORT_OFFSET),
                config: dir.join(file),
                log: dir.join("log"),
                dir,
            }
        };
        self.all().map(child).collect()
    }
}

const SERVER_FOLDER: &str = "server-";
const SENTINEL_FOLDER: &str = "sentinel-";

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

fn first_free(
    replicas: u16,
    sentinels: u16,
    is_free: impl Fn(u16) -> bool,
) -> anyhow::Result<Ports> {
    (FIRST_BASE_PORT..)
        .map_while(|base| Ports::new(base, replicas, sentinels))
        .find(|ports| ports.all().chain(ports.http()).all(&is_free))
        .context("no range of free ports on 127.0.0.1")
}

fn refuse_busy(ports: &Ports, is_free: impl Fn(u16) -> bool) -> anyhow::Result<()> {
    for port in ports.all() {
        let role = match ports.role(port) {
            Role::Master => "the master",
            Role::Replica => "a replica",
            Role::Sentinel => "a sentinel",
        };
        ensure!(
            is_free(port),
            "port {port}, meant for {role}, is busy on 127.0.0.1; \
             stop what listens there or give another --base-port"
        );
    }
    for port in ports.http() {
        ensure!(
            is_free(port),
            "port {port}, meant for HTTP, is busy on 127.0.0.1; \
             stop what listens there or give another --base-port"
        );
    }
    Ok(())
}

/// The folders of children that a folder holds from before: (is sentinel, port).
#[derive(Default)]
struct FoundFolders(BTreeSet<(bool, u16)>);

impl FoundFolders {
    fn read(dir: &Path) -> anyhow::Result<FoundFolders> {
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(FoundFolders::default());
            }
            Err(error) => return Err(error).with_context(|| format!("read {}", dir.display())),
        };
        let mut found = BTreeSet::new();
        for entry in entries {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let server = name.strip_prefix(SERVER_FOLDER).map(|port| (false, port));
            let sentinel = name.strip_prefix(SENTINEL_FOLDER).map(|port| (true, port));
            if let Some((is_sentinel, port)) = server.or(sentinel)
                && let Ok(port) = port.parse()
            {
                found.insert((is_sentinel, port));
            }
        }
        Ok(FoundFolders(found))
    }

    fn base_port(&self) -> Option<u16> {
        self.0
            .first()
            .filter(|(is_sentinel, _)| !is_sentinel)
            .map(|(_, port)| *port)
    }

    /// A server left out would still be counted by the sentinels that remember it.
    fn refuse_others(&self, ports: &Ports) -> anyhow::Result<()> {
        for &(is_sentinel, port) in &self.0 {
            let range = if is_sentinel {
                &ports.sentinels
            } else {
                &ports.servers
            };
            if !range.contains(&port) {
                let folder = if is_sentinel {
                    SENTINEL_FOLDER
                } else {
                    SERVER_FOLDER
                };
                bail!(
                    "the folder holds another topology: {folder}{port} is not part of this one; \
                     give the numbers of that one, or another --dir"
                );
            }
        }
        Ok(())
    }
}

fn make_folder(named: Option<&Path>) -> anyhow::Result<(PathBuf, Option<TempDir>)> {
    let Some(named) = named else {
        let made = tempfile::Builder::new().prefix("sentinel-up-").tempdir();
        let made = made.context("make a temporary folder")?;
        return Ok((made.path().to_owned(), Some(made)));
    };
    fs::create_dir_all(named)
        .and_then(|()| named.canonicalize())
        .map(|dir| (dir, None))
        .with_context(|| format!("make the folder {}", named.display()))
}

/// The program as a path, looked for in PATH like a shell does if it is a bare name.
fn find_program(program: &Path) -> anyhow::Result<PathBuf> {
    let is_program = |path: &PathBuf| {
        path.is_file() && rustix::fs::access(path.as_path(), rustix::fs::Access::EXEC_OK).is_ok()
    };
    if program.components().count() > 1 {
        let found = program
            .canonicalize()
            .ok()
            .filter(is_program)
            .map(|_| std::path::absolute(program));
        return match found {
            Some(path) => Ok(path?),
            None => bail!("--with {}: no such program", program.display()),
        };
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(is_program)
        .with_context(|| format!("--with {}: no such program in PATH", program.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_range_that_is_free_as_a_whole_is_taken() {
        let ports = first_free(2, 3, |port| port != 6380 && port != 26384).unwrap();
        // 6379 and 6380 would use port 6380, 6382 to 6384 port 26384.
        assert_eq!(ports, Ports::new(6381, 2, 3).unwrap());
        assert!(first_free(2, 3, |_| false).is_err());
    }

    #[test]
    fn a_busy_port_is_named() {
        let ports = Ports::new(7000, 1, 1).unwrap();
        let error = refuse_busy(&ports, |port| port != 7001).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("port 7001, meant for a replica, is busy")
        );
        let error = refuse_busy(&ports, |port| port != 37_000).unwrap_err();
        assert!(error.to_string().contains("37000, meant for HTTP"));
        assert_eq!(Ports::new(50_000, 1, 1), None);
    }

    #[test]
    fn the_command_line_wins_over_the_file() {
        let file = TopologyFile::parse("replicas: 1\nsentinels: 5\ndown_after: 500ms\n").unwrap();
        let args = UpArgs {
            replicas: Some(4),
            ..UpArgs::default()
        };
        let file = file.overridden_by(&args);
        assert_eq!((file.replicas, file.sentinels), (Some(4), Some(5)));
        assert_eq!(file.down_after, Some(Duration::from_millis(500)));
    }

    #[test]
    fn mistakes_in_the_file_are_named_with_their_place() {
        #[track_caller]
        fn check(text: &str, expected: &[&str]) {
            let error = TopologyFile::parse(text).unwrap_err().to_string();
            for part in expected {
                assert!(error.contains(part), "{error}");
            }
        }
        check(
            "replicas: 1\nsentnels: 3\n",
            &["sentnels", "line 2", "`sentinels`"],
        );
        check("down_after: soon\n", &["soon", "500ms", "line 1"]);
        check("replicas: -1\n", &["replicas", "line 1"]);
    }

    #[test]
    fn what_cannot_be_started_is_refused_before_anything_is_made() {
        #[track_caller]
        fn check(text: &str, expected: &str) {
            let file = TopologyFile::parse(text).unwrap();
            let error = Plan::make(&file).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
        check("base_port: 0\n", "base port 0: must be at least 1");
        check("down_after: 0s\n", "down_after 0: ");
        check("failover_timeout: 0s\n", "failover_timeout 0: ");
        check("parallel_syncs: 0\n", "parallel_syncs 0: ");
        check(
            "name: my master\n",
            "name \"my master\": must be a name of 1",
        );
        check("name: ''\n", "name \"\": must be a name of 1");
    }

    #[test]
    fn the_password_is_the_sentinels_else_the_servers() {
        #[track_caller]
        fn check(text: &str, expected: Option<&str>) {
            let file = TopologyFile::parse(text).unwrap();
            assert_eq!(password(&file).as_deref(), expected);
        }
        check("replicas: 1\n", None);
        check("server: [requirepass one]\n", Some("one"));
        let both = "server: [requirepass one]\nsentinel: ['RequirePass \"t w o\"']\n";
        check(both, Some("t w o"));
        check("sentinel: ['requirepass \"\"']\n", None);
    }

    #[test]
    fn they_speak_http_unless_the_file_says_where() {
        let ports = Ports::new(7000, 0, 1).unwrap();
        let http = |text: &str| {
            let file = TopologyFile::parse(text).unwrap();
            let children = ports.children(Path::new("x"), WithHttp::of(&file));
            children.iter().map(|c| c.http_port).collect::<Vec<_>>()
        };
        assert_eq!(http("replicas: 0\n"), [Some(17_000), Some(37_000)]);
        assert_eq!(http("sentinel: ['Http-Port 0']\n"), [Some(17_000), None]);
        assert_eq!(http("server: ['http-port 0']\n"), [None, Some(37_000)]);
        assert_eq!(http("with: redis-server\n"), [None, Some(37_000)]);
    }

    #[test]
    fn they_get_a_token_unless_the_file_says_which() {
        let token = |text: &str| WithHttp::of(&TopologyFile::parse(text).unwrap()).token;
        assert!(token("server: [http-token x]\n"));
        for line in ["http-token x", "Http-Token-File x", "http-port 0"] {
            assert!(!token(&format!("sentinel: ['{line}']\n")), "{line}");
        }
    }

    #[test]
    fn the_sample_file_loads_and_shows_the_defaults() {
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/topology.yaml");
        let file = TopologyFile::load(&sample).unwrap();
        assert_eq!((file.replicas, file.sentinels), (Some(2), Some(3)));
        assert_eq!(file.down_after, Some(Duration::from_secs(1)));
    }

    #[test]
    fn a_folder_with_another_topology_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["server-7100", "server-7101", "sentinel-27100"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let found = FoundFolders::read(dir.path()).unwrap();
        assert_eq!(found.base_port(), Some(7100));
        found
            .refuse_others(&Ports::new(7100, 2, 3).unwrap())
            .unwrap();
        let error = found
            .refuse_others(&Ports::new(7100, 0, 1).unwrap())
            .unwrap_err();
        assert!(error.to_string().contains("server-7101"));
    }

    #[test]
    fn paths_are_quoted_for_the_dialect() {
        assert_eq!(quoted(Path::new(r#"/a b/"c\"#)), r#""/a b/\"c\\""#);
    }
}

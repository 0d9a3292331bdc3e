//! From the words of the command line to what is to be done. Pure.
//!
//! The daemons take Redis's `--directive value …` words, which no general parser understands, so they
//! are split off here; everything else goes through clap.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::topology::{JANITOR, TIED, UpArgs};

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Call {
    /// The sentinel daemon.
    Sentinel(DaemonArgs),
    /// The data server.
    Server(DaemonArgs),
    /// A whole topology on this machine.
    Up(UpArgs),
    /// A look at a running set.
    Status(StatusArgs),
    /// One line with the version.
    Version(Program),
    /// Become another program whose life ends with that of the process that started us.
    Tied(TiedArgs),
    /// Remove a folder when standard input ends.
    Janitor(PathBuf),
    /// clap has something to say: help, or what is wrong.
    Clap(Box<clap::Error>),
}

/// Which program's version line to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// Under our own name.
    Sentinel,
    /// As `redis-server` or `redis-sentinel` print theirs.
    Redis,
}

/// What a daemon is started with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DaemonArgs {
    /// The configuration file; `-` is standard input.
    pub file: Option<PathBuf>,
    /// The `--directive value …` words that follow it, as `config` reads them.
    pub arguments: Vec<String>,
}

/// What a tied child is to become.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TiedArgs {
    /// The process whose death is ours.
    pub(crate) parent_pid: i32,
    /// The program.
    pub(crate) program: OsString,
    /// Its arguments.
    pub(crate) args: Vec<OsString>,
}

const EXAMPLES: &str = "\
Examples:
  sentinel up                                   try it: a master, 2 replicas, 3 sentinels
  sentinel status                               what the set around 127.0.0.1:26379 looks like
  sentinel /etc/redis/sentinel.conf             the sentinel daemon
  sentinel sentinel.yaml --port 26380           the same from YAML, with one directive replaced
  sentinel server --port 6380 --replicaof 127.0.0.1 6379
                                                the data server, as a replica

A file whose name is a subcommand is written with its folder: `sentinel ./status`.
Started through a link named redis-sentinel, valkey-sentinel, redis-server or valkey-server, it
behaves as that program.";

const UP_EXAMPLES: &str = "\
Examples:
  sentinel up                                   first free ports from 6379 and 26379, a temporary folder
  sentinel up --replicas 1 --sentinels 5 --base-port 7000 --dir /tmp/try
  sentinel up --with /usr/bin/redis-server      our sentinels over real data servers
  sentinel up config/topology.yaml --restart

Ctrl-C stops everything. A folder that was not named with --dir is removed.";

const STATUS_EXAMPLES: &str = "\
Examples:
  sentinel status
  sentinel status --sentinel 10.0.0.1:26379 --sentinel 10.0.0.2:26379 --json

Exit status: 0 all is well; 1 no sentinel answers; 2 wrong arguments; 3 something is down or the
sentinels disagree.";

#[derive(Parser, Debug)]
#[command(
    name = "sentinel",
    about = "High availability for Redis and Valkey: watches masters and replicas, and fails over",
    after_help = EXAMPLES,
    override_usage = "sentinel FILE [--directive value]...\n       sentinel <COMMAND>",
    disable_version_flag = true,
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Print the version
    #[arg(short = 'v', long = "version", visible_short_alias = 'V')]
    version: bool,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run the bundled data server
    #[command(override_usage = "sentinel server [FILE] [--directive value]...")]
    Server {
        /// A redis.conf, or `-` for standard input
        file: Option<PathBuf>,
    },
    /// Start a whole topology on this machine and watch it
    #[command(after_help = UP_EXAMPLES)]
    Up(UpArgs),
    /// Show a running set: addresses, ids, pids, log files, and whether all is well
    #[command(after_help = STATUS_EXAMPLES)]
    Status(StatusArgs),
}

/// Options of `sentinel status`.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct StatusArgs {
    /// A sentinel to ask; several are tried in turn, the rest of the set is discovered
    #[arg(
        long = "sentinel",
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:26379"
    )]
    pub sentinels: Vec<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// User name at the sentinels and data servers
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// Password at the sentinels and data servers; better in the environment variable REDISCLI_AUTH,
    /// where other users of this machine do not see it
    #[arg(long, value_name = "PASSWORD")]
    pub pass: Option<String>,
    /// How long to wait for each answer
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
}

/// Reads a whole command line, program name first.
pub(crate) fn parse(words: Vec<OsString>) -> Result<Call, ArgError> {
    let mut words = words.into_iter();
    let name = words.next().unwrap_or_default();
    let words: Vec<OsString> = words.collect();
    match linked_as(&name, &words) {
        Some(daemon) => as_redis(daemon, words),
        None => as_ourselves(name, words),
    }
}

/// What a link name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Daemon {
    Sentinel,
    Server,
}

/// The daemon that a link name asks for. As in redis-server, `--sentinel` anywhere turns a data
/// server's name into a sentinel.
fn linked_as(program: &OsStr, words: &[OsString]) -> Option<Daemon> {
    let name = Path::new(program).file_name()?.to_string_lossy();
    if name.contains("redis-sentinel") || name.contains("valkey-sentinel") {
        Some(Daemon::Sentinel)
    } else if name.contains("redis-server") || name.contains("valkey-server") {
        let switched = words.iter().any(|word| word == "--sentinel");
        Some(if switched {
            Daemon::Sentinel
        } else {
            Daemon::Server
        })
    } else {
        None
    }
}

/// `redis-server` and `redis-sentinel` know no subcommands.
fn as_redis(daemon: Daemon, words: Vec<OsString>) -> Result<Call, ArgError> {
    match words.first().and_then(|word| word.to_str()) {
        Some("-v" | "--version") => Ok(Call::Version(Program::Redis)),
        Some("-h" | "--help") => Ok(help_of(match daemon {
            Daemon::Sentinel => None,
            Daemon::Server => Some("server"),
        })),
        _ => daemon_call(daemon, words),
    }
}

fn as_ourselves(name: OsString, mut words: Vec<OsString>) -> Result<Call, ArgError> {
    let first = words.first().map(|word| word.to_string_lossy());
    match first.as_deref() {
        Some(TIED) => parse_tied(&words[1..]),
        Some(JANITOR) => match words.get(1) {
            Some(folder) => Ok(Call::Janitor(PathBuf::from(folder))),
            None => Err(ArgError::Internal),
        },
        Some("server") => match words.get(1).and_then(|word| word.to_str()) {
            Some("-v" | "--version") => Ok(Call::Version(Program::Redis)),
            Some("-h" | "--help") => Ok(help_of(Some("server"))),
            _ => daemon_call(Daemon::Server, words.split_off(1)),
        },
        Some("-") => daemon_call(Daemon::Sentinel, words),
        Some("up" | "status" | "help") | None => Ok(with_clap(name, words)),
        Some(option) if option.starts_with('-') => Ok(with_clap(name, words)),
        Some(_) => daemon_call(Daemon::Sentinel, words),
    }
}

fn daemon_call(daemon: Daemon, words: Vec<OsString>) -> Result<Call, ArgError> {
    let args = split_daemon_args(words)?;
    Ok(match daemon {
        Daemon::Sentinel => Call::Sentinel(args),
        Daemon::Server => Call::Server(args),
    })
}

fn with_clap(name: OsString, words: Vec<OsString>) -> Call {
    match Cli::try_parse_from(std::iter::once(name).chain(words)) {
        Ok(Cli { version: true, .. }) => Call::Version(Program::Sentinel),
        Ok(Cli { command, .. }) => match command {
            Some(Command::Up(args)) => Call::Up(args),
            Some(Command::Status(args)) => Call::Status(args),
            Some(Command::Server { file }) => Call::Server(DaemonArgs {
                file,
                arguments: Vec::new(),
            }),
            None => help_of(None),
        },
        Err(error) => Call::Clap(Box::new(error)),
    }
}

fn help_of(subcommand: Option<&str>) -> Call {
    let words = std::iter::once("sentinel")
        .chain(subcommand)
        .chain(["--help"]);
    match Cli::try_parse_from(words) {
        Err(help) => Call::Clap(Box::new(help)),
        Ok(_) => Call::Version(Program::Sentinel),
    }
}

/// Parts the configuration file from the options, which are lines of configuration.
fn split_daemon_args(words: Vec<OsString>) -> Result<DaemonArgs, ArgError> {
    let mut words = words.into_iter().peekable();
    let file = words.next_if(|word| !word.as_encoded_bytes().starts_with(b"--"));
    let arguments: Result<_, _> = words.map(OsString::into_string).collect();
    Ok(DaemonArgs {
        file: file.map(PathBuf::from),
        arguments: arguments.map_err(ArgError::NotUnicode)?,
    })
}

fn parse_tied(words: &[OsString]) -> Result<Call, ArgError> {
    let [parent_pid, program, args @ ..] = words else {
        return Err(ArgError::Internal);
    };
    let parent_pid = parent_pid.to_str().and_then(|word| word.parse().ok());
    Ok(Call::Tied(TiedArgs {
        parent_pid: parent_pid.ok_or(ArgError::Internal)?,
        program: program.clone(),
        args: args.to_vec(),
    }))
}

/// What is wrong with the words of a daemon.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArgError {
    /// Configuration is text.
    #[error("argument {0:?} is not UTF-8; write it into the configuration file instead")]
    NotUnicode(OsString),
    /// Somebody called an internal subcommand by hand.
    #[error("this subcommand is internal to `sentinel up`")]
    Internal,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(line: &str) -> Result<Call, ArgError> {
        parse(line.split(' ').map(OsString::from).collect())
    }

    #[track_caller]
    fn check_daemon(line: &str, is_sentinel: bool, file: Option<&str>, arguments: &str) {
        let (args, found_sentinel) = match call(line).unwrap() {
            Call::Sentinel(args) => (args, true),
            Call::Server(args) => (args, false),
            other @ (Call::Up(_)
            | Call::Status(_)
            | Call::Version(_)
            | Call::Tied(_)
            | Call::Janitor(_)
            | Call::Clap(_)) => panic!("{line}: {other:?}"),
        };
        assert_eq!(found_sentinel, is_sentinel, "{line}");
        assert_eq!(args.file.as_deref(), file.map(Path::new), "{line}");
        assert_eq!(args.arguments.join(" "), arguments, "{line}");
    }

    #[test]
    fn a_file_name_is_the_sentinel() {
        check_daemon("sentinel s.conf", true, Some("s.conf"), "");
        check_daemon("sentinel ./status", true, Some("./status"), "");
        check_daemon("sentinel - --port 1", true, Some("-"), "--port 1");
        let line = "sentinel s.conf --sentinel monitor m ::1 7 1 --port 1";
        let arguments = "--sentinel monitor m ::1 7 1 --port 1";
        check_daemon(line, true, Some("s.conf"), arguments);
    }

    #[test]
    fn subcommands_win_over_files() {
        check_daemon("sentinel server", false, None, "");
        check_daemon("sentinel server a.conf", false, Some("a.conf"), "");
        assert!(matches!(call("sentinel up").unwrap(), Call::Up(_)));
        assert!(matches!(call("sentinel status").unwrap(), Call::Status(_)));
    }

    #[test]
    fn link_names_behave_as_those_programs() {
        check_daemon("/usr/bin/redis-sentinel up", true, Some("up"), "");
        check_daemon("valkey-sentinel a --port 1", true, Some("a"), "--port 1");
        check_daemon("redis-sentinel", true, None, "");
        check_daemon("./redis-server status", false, Some("status"), "");
        check_daemon("redis-server --port 1", false, None, "--port 1");
        let line = "redis-server a --sentinel --port 1";
        check_daemon(line, true, Some("a"), "--sentinel --port 1");
        let line = "valkey-server a --port 1 --sentinel";
        check_daemon(line, true, Some("a"), "--port 1 --sentinel");
        for line in ["redis-server -v", "redis-sentinel --version"] {
            assert!(matches!(call(line).unwrap(), Call::Version(Program::Redis)));
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        assert!(call("sentinel __tied").is_err());
        for line in [
            "sentinel",
            "sentinel --help",
            "sentinel -x",
            "sentinel up --replicas x",
        ] {
            assert!(matches!(call(line).unwrap(), Call::Clap(_)), "{line}");
        }
    }

    #[test]
    fn clap_definitions_hold() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }
}

//! From the words of the command line to what is to be done.
//!
//! The daemons take Redis's `--directive value …` words, which no general parser understands, so they
//! are split off here; everything else goes through clap.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand, ValueHint};

use super::client::ClientArgs;
use crate::config::lex::edit_distance;
use crate::topology::{Address, ColorArgs, JANITOR, TIED, UpArgs};

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Call {
    /// The sentinel daemon.
    Sentinel(DaemonArgs),
    /// The data server.
    Server(DaemonArgs),
    /// A subcommand.
    Command(Box<Command>),
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
    /// Whether standard input follows the file: only of a data server.
    pub then_stdin: bool,
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
behaves as that program.

Exit status of every subcommand whose help does not say more: 0 done; 1 not done; 64 wrong arguments.";

/// What a subcommand ends with whose help does not say more.
pub(super) const EXIT_STATUS: &str = "Exit status: 0 done; 1 not done; 64 wrong arguments.";

const SERVER_EXAMPLES: &str = "\
Examples:
  sentinel server                               port 6379, nothing but defaults
  sentinel server redis.conf --port 6380        a file, with one directive replaced
  sentinel server --save '' --replicaof 10.0.0.1 6379

Exit status: 0 it was told to end; 1 it cannot start, or cannot go on.";

const UP_EXAMPLES: &str = "\
Examples:
  sentinel up                                   first free ports from 6379 and 26379, a temporary folder
  sentinel up --replicas 1 --sentinels 5 --base-port 7000 --dir /tmp/try
  sentinel up --with /usr/bin/redis-server      our sentinels over real data servers
  sentinel up config/topology.yaml --restart

Ctrl-C stops everything. A folder that was not named with --dir is removed.";

const STATUS_EXAMPLES: &str = "\
Examples:
  sentinel status                               every master that 127.0.0.1:26379 watches
  sentinel status mymaster --watch              one of them, redrawn every second
  sentinel status --sentinel 10.0.0.1:26379 --sentinel 10.0.0.2:26379 --json

LAG is how many bytes of the master's stream a replica has not acknowledged.

Exit status, the worst of all masters: 0 all is well; 1 the master works, but something else is down
or the sentinels disagree; 2 no master: it is down, no sentinel knows it, or no sentinel answers;
64 wrong arguments.";

const TOP_EXAMPLES: &str = "\
Examples:
  sentinel top
  sentinel top --sentinel 10.0.0.1:26379 --interval 5s

Keys: arrows, PgUp, PgDn, Home, End select a master; / filters by name, address or state, Esc shows
all again; q ends.";

const WATCH_EXAMPLES: &str = "\
Examples:
  sentinel watch                                what the sentinel on 127.0.0.1:26379 publishes
  sentinel watch mymaster --sentinel 10.0.0.1:26379 --sentinel 10.0.0.2:26379
  sentinel watch --json | jq 'select(.event == \"+switch-master\")'

What several sentinels say at the same time is shown once. A lost connection is made again and both
are said. Ctrl-C ends.";

const FAILOVER_EXAMPLES: &str = "\
Examples:
  sentinel failover mymaster                    waits for the new master, and says where it is
  sentinel failover mymaster --no-wait

Exit status: 0 the master was replaced (with --no-wait: the failover was accepted); 1 it was not;
64 wrong arguments.";

const PAUSE_EXAMPLES: &str = "\
Examples:
  sentinel pause mymaster                       until `sentinel resume mymaster`
  sentinel pause mymaster 30m                   for half an hour; a bare number is seconds

While paused no sentinel of ours starts or votes for an automatic failover of that master; `sentinel
failover` still works.";

const RESUME_EXAMPLES: &str = "\
Example:
  sentinel resume mymaster";

const FORGET_EXAMPLES: &str = "\
Examples:
  sentinel forget mymaster 10.0.0.9:6379        a replica that is gone for good
  sentinel forget mymaster 10.0.0.9:26379       a sentinel that is gone for good

Do it on every sentinel. What is still alive is discovered again.";

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  sentinel explain mymaster                     why it was failed over, or why it was not
  sentinel explain mymaster --count 1           the newest decision only";

const CHECK_EXAMPLES: &str = "\
Examples:
  sentinel check /etc/redis/sentinel.conf
  sentinel check /etc/sentinel/sentinel.conf --state-file /var/lib/sentinel/sentinel.state
  sentinel check sentinel.yaml --json
  sentinel check /etc/redis/redis.conf --server

Nothing is started or written. Run it as the user that runs the daemon: then it also tells whether the
state can be written.

Exit status: 0 nothing to say; 1 works, but has risky choices; 2 the daemon would refuse it;
64 wrong arguments.";

const CONVERT_EXAMPLES: &str = "\
Examples:
  sentinel convert /etc/redis/sentinel.conf > sentinel.yaml
  sentinel convert sentinel.conf --state sentinel.yaml.state > sentinel.yaml

What the sentinel has learned (epochs, replicas, other sentinels, pauses) is not configuration. --state
writes it into a state file, which a YAML configuration has beside it under its own name with .state added.
Without it the sentinel begins without that knowledge: stop it before, and do not do so while a
failover is going on.";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  sentinel completions bash > /etc/bash_completion.d/sentinel
  sentinel completions zsh > /usr/share/zsh/site-functions/_sentinel
  sentinel completions fish > ~/.config/fish/completions/sentinel.fish";

const MAN_EXAMPLES: &str = "\
Examples:
  sentinel man | man -l -                       the page of `sentinel` itself
  sentinel man /usr/local/share/man/man1        all pages, one file each";

#[derive(Parser, Debug)]
#[command(
    name = "sentinel",
    about = "High availability for Redis and Valkey: watches masters and replicas, and fails over",
    after_help = EXAMPLES,
    override_usage = "sentinel FILE [--directive value]...\n       sentinel <COMMAND>",
    disable_version_flag = true,
    arg_required_else_help = true
)]
pub(super) struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Print the version
    #[arg(short = 'v', long = "version", visible_short_alias = 'V')]
    version: bool,
}

/// The subcommands.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Run the bundled data server
    #[command(
        override_usage = "sentinel server [FILE] [--directive value]...",
        after_help = SERVER_EXAMPLES
    )]
    Server {
        /// A redis.conf, or `-` for standard input
        #[arg(value_hint = ValueHint::FilePath)]
        file: Option<PathBuf>,
    },
    /// Start a whole topology on this machine and watch it
    #[command(after_help = UP_EXAMPLES)]
    Up(UpArgs),
    /// Show a running set: addresses, ids, pids, log files, and whether all is well
    #[command(after_help = STATUS_EXAMPLES)]
    Status(StatusArgs),
    /// Show masters, replicas, lag and events live in the terminal
    #[command(after_help = TOP_EXAMPLES)]
    Top(TopArgs),
    /// Print events as they happen
    #[command(after_help = WATCH_EXAMPLES)]
    Watch(WatchArgs),
    /// Replace a master by one of its replicas now
    #[command(after_help = FAILOVER_EXAMPLES)]
    Failover(FailoverArgs),
    /// Suspend automatic failovers of a master
    #[command(after_help = PAUSE_EXAMPLES)]
    Pause(PauseArgs),
    /// End a pause
    #[command(after_help = RESUME_EXAMPLES)]
    Resume(MasterArgs),
    /// Make a sentinel forget a replica or another sentinel that is gone
    #[command(after_help = FORGET_EXAMPLES)]
    Forget(ForgetArgs),
    /// Tell why a master was failed over, or why it was not
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain(ExplainArgs),
    /// Look for mistakes and risky choices in a configuration
    #[command(after_help = CHECK_EXAMPLES)]
    Check(CheckArgs),
    /// Print a sentinel.conf as YAML
    #[command(after_help = CONVERT_EXAMPLES)]
    Convert(ConvertArgs),
    /// Print shell completions
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// Whose
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write all of them into a folder
    #[command(after_help = MAN_EXAMPLES)]
    Man {
        /// An existing folder
        #[arg(value_hint = ValueHint::DirPath)]
        dir: Option<PathBuf>,
    },
}

/// Options of `sentinel status`.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct StatusArgs {
    /// Only this master
    pub master: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Again and again, in place; with --json one line each time
    #[arg(long)]
    pub watch: bool,
    /// Pause between two looks
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = wait)]
    pub interval: Duration,
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Options of `sentinel top`.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct TopArgs {
    /// Pause between two looks
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = wait)]
    pub interval: Duration,
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Options of `sentinel watch`.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct WatchArgs {
    /// Only what is about this master, or about a sentinel as a whole
    pub master: Option<String>,
    /// Print one JSON object per line
    #[arg(long)]
    pub json: bool,
    /// Also the steps in between, which the other lines imply
    #[arg(long)]
    pub all: bool,
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Options of `sentinel failover`.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct FailoverArgs {
    /// The name of the master
    pub master: String,
    /// Do not wait for the end
    #[arg(long)]
    pub no_wait: bool,
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Options of `sentinel pause`.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct PauseArgs {
    /// The name of the master
    pub master: String,
    /// For how long, as in 90s or 5m [default: until it is resumed]
    #[arg(value_parser = pause_duration)]
    pub duration: Option<String>,
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Options of the subcommands that need no more than a master.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct MasterArgs {
    /// The name of the master
    pub master: String,
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Options of `sentinel forget`.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct ForgetArgs {
    /// The name of the master
    pub master: String,
    /// Of the replica or sentinel
    #[arg(value_name = "HOST:PORT", value_parser = address)]
    pub address: Address,
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Options of `sentinel explain`.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct ExplainArgs {
    /// The name of the master
    pub master: String,
    /// No more than this many decisions, newest first
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub count: Option<u32>,
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Options of `sentinel check`.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct CheckArgs {
    /// A sentinel.conf, sentinel.yaml or redis.conf
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// It configures a data server [default: what its lines say]
    #[arg(long)]
    pub server: bool,
    /// Where the sentinel's state is, if the command line of the sentinel says so
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "server")]
    pub state_file: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub color: ColorArgs,
}

/// Options of `sentinel convert`.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct ConvertArgs {
    /// A sentinel.conf
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Write what was learned into this file, which must not exist
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub state: Option<PathBuf>,
}

/// `HOST:PORT`, for clap.
pub(super) fn address(text: &str) -> Result<Address, String> {
    Address::parse(text).ok_or_else(|| "write HOST:PORT, as in 127.0.0.1:26379".to_owned())
}

/// The shortest time to wait for something: a shorter one is a mistake, or asks without pause.
const WAIT_MIN: Duration = Duration::from_millis(10);

/// How long to wait, for clap.
pub(super) fn wait(text: &str) -> Result<Duration, String> {
    let parsed = humantime::parse_duration(text).ok();
    parsed
        .filter(|time| *time >= WAIT_MIN)
        .ok_or_else(|| "write a number with its unit, at least 10ms, as in 500ms or 5s".to_owned())
}

/// A duration as `SENTINEL PAUSE` reads it: with its unit, or a number of seconds.
fn pause_duration(text: &str) -> Result<String, String> {
    if text.parse::<u64>().is_ok() || humantime::parse_duration(text).is_ok() {
        Ok(text.to_owned())
    } else {
        Err("write a number with its unit, as in 90s, 5m or 1h 30m".to_owned())
    }
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
        None => Ok(with_clap(name, words)),
        Some(word) if word.starts_with('-') || is_subcommand(word) => Ok(with_clap(name, words)),
        Some(_) => daemon_call(Daemon::Sentinel, words),
    }
}

/// The subcommand that was meant by the name of a file that is not there, if one is near.
pub(super) fn mistyped(file: &Path) -> Option<String> {
    const LETTERS_WRONG_MAX: usize = 2;
    let word = file.to_str().filter(|word| !word.contains(['/', '.']))?;
    if file.exists() {
        return None;
    }
    let cli = Cli::command();
    let names = cli.get_subcommands().map(clap::Command::get_name);
    let near = names.map(|name| (edit_distance(name, word), name)).min();
    near.filter(|(distance, _)| *distance <= LETTERS_WRONG_MAX)
        .map(|(_, name)| name.to_owned())
}

/// Whether clap knows a subcommand of this name: those win over files.
fn is_subcommand(word: &str) -> bool {
    let cli = Cli::command();
    let mut names = cli
        .get_subcommands()
        .flat_map(clap::Command::get_name_and_visible_aliases);
    word == "help" || names.any(|name| name == word)
}

fn daemon_call(daemon: Daemon, words: Vec<OsString>) -> Result<Call, ArgError> {
    let args = split_daemon_args(daemon, words)?;
    Ok(match daemon {
        Daemon::Sentinel => Call::Sentinel(args),
        Daemon::Server => Call::Server(args),
    })
}

fn with_clap(name: OsString, words: Vec<OsString>) -> Call {
    match Cli::try_parse_from(std::iter::once(name).chain(words)) {
        Ok(Cli { version: true, .. }) => Call::Version(Program::Sentinel),
        Ok(Cli { command, .. }) => match command {
            Some(command) => Call::Command(Box::new(command)),
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

/// Parts the configuration file from the options, which are lines of configuration. With a data server a `-` behind all
/// of them is standard input as well, which comes after the file and before the options; a sentinel keeps its state in
/// what it is configured by, which is one file.
fn split_daemon_args(daemon: Daemon, words: Vec<OsString>) -> Result<DaemonArgs, ArgError> {
    let mut words = words.into_iter().peekable();
    let mut file = words.next_if(|word| !word.as_encoded_bytes().starts_with(b"--"));
    let mut words: Vec<OsString> = words.collect();
    let ends_with_stdin =
        matches!(daemon, Daemon::Server) && words.pop_if(|word| word == "-").is_some();
    if ends_with_stdin {
        file.get_or_insert_with(|| "-".into());
    }
    let then_stdin = ends_with_stdin && file.as_ref().is_some_and(|file| file != "-");
    let arguments: Result<_, _> = words.into_iter().map(OsString::into_string).collect();
    Ok(DaemonArgs {
        file: file.map(PathBuf::from),
        then_stdin,
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
            other @ (Call::Command(_)
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
        let cli = Cli::command();
        for name in cli.get_subcommands().map(clap::Command::get_name) {
            let found = call(&format!("sentinel {name}")).unwrap();
            let is_daemon = matches!(found, Call::Sentinel(_));
            assert!(!is_daemon, "{name} is taken for a file");
        }
        check_daemon("sentinel ./check", true, Some("./check"), "");
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
    fn a_data_server_reads_standard_input_last_as_well() {
        for (line, file, then_stdin, arguments) in [
            ("a.conf -", "a.conf", true, ""),
            ("a.conf --port 1 -", "a.conf", true, "--port 1"),
            ("--port 1 -", "-", false, "--port 1"),
            ("- --port 1 -", "-", false, "--port 1"),
            ("-", "-", false, ""),
            ("- -", "-", false, ""),
            ("a.conf - -", "a.conf", true, "-"),
            ("a.conf - --port 1", "a.conf", false, "- --port 1"),
        ] {
            let line = format!("redis-server {line}");
            check_daemon(&line, false, Some(file), arguments);
            let Call::Server(args) = call(&line).unwrap() else {
                panic!("{line}");
            };
            assert_eq!(args.then_stdin, then_stdin, "{line}");
        }
        check_daemon("sentinel a.conf -", true, Some("a.conf"), "-");
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
        Cli::command().debug_assert();
    }

    #[test]
    fn every_subcommand_has_examples() {
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string);
            let help = help.unwrap_or_default();
            assert!(
                help.starts_with("Example"),
                "{}: {help}",
                command.get_name()
            );
            let call = format!("sentinel {}", command.get_name());
            assert!(help.contains(&call), "{call}: {help}");
        }
    }

    #[test]
    fn wrong_values_are_usage_errors() {
        for line in [
            "sentinel status --sentinel nonsense",
            "sentinel forget m 6379",
            "sentinel pause m forever",
            "sentinel status --insecure",
            "sentinel explain m --count 0",
            "sentinel status --watch --interval 0s",
            "sentinel top --interval 1ms",
            "sentinel explain m --timeout 0s",
        ] {
            let Call::Clap(error) = call(line).unwrap() else {
                panic!("{line} is accepted");
            };
            assert!(error.use_stderr(), "{line}");
        }
        for line in ["sentinel pause m 90", "sentinel pause m 5m"] {
            assert!(matches!(call(line).unwrap(), Call::Command(_)), "{line}");
        }
    }
}

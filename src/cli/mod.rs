//! The command line: which program is meant, and its exit status.

mod act;
mod args;
mod check;
mod client;
mod convert;
mod daemon;
mod generate;
mod status;
mod terminal;
mod top;
mod watch;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;

use crate::config::{LoadError, REDIS_VERSION};
use crate::sentinel::state::OpenError;
use crate::topology;
use args::{Call, Command, DaemonArgs, Program};

/// Our own version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What a subcommand ends with. Help texts document it.
mod exit {
    /// Done; all is well.
    pub(super) const OK: u8 = 0;
    /// `status`: the master works, but not everything is well.
    pub(super) const DEGRADED: u8 = 1;
    /// `status`: there is no master.
    pub(super) const NO_MASTER: u8 = 2;
    /// `check`: it works, but has risky choices.
    pub(super) const RISKY: u8 = 1;
    /// `check`: the daemon would refuse it.
    pub(super) const MISTAKEN: u8 = 2;
    /// Wrong arguments, as sysexits.h numbers it: `status` needs the small numbers.
    pub(super) const USAGE: u8 = 64;
}

/// The whole program.
pub fn main(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let call = match args::parse(words.into_iter().collect()) {
        Ok(call) => call,
        Err(error) => {
            complain(&format!("sentinel: {error}"));
            return ExitCode::from(exit::USAGE);
        }
    };
    match dispatch(call) {
        Ok(code) => code,
        Err(error) => refuse(&error),
    }
}

fn dispatch(call: Call) -> anyhow::Result<ExitCode> {
    match call {
        Call::Version(program) => print(&version_line(program)),
        Call::Clap(message) => {
            message.print().context("write the help")?;
            let code = if message.use_stderr() {
                exit::USAGE
            } else {
                exit::OK
            };
            return Ok(ExitCode::from(code));
        }
        Call::Command(command) => return run(*command),
        Call::Tied(args) => {
            let error = topology::become_tied(args.parent_pid, &args.program, &args.args);
            Err(error).with_context(|| format!("start {}", args.program.display()))
        }
        Call::Janitor(folder) => topology::clean_up_after_parent(&folder)
            .with_context(|| format!("remove {}", folder.display())),
        Call::Sentinel(args) => {
            let ended = daemon::sentinel(&args);
            return match (ended, args.file.as_deref().and_then(args::mistyped)) {
                (Err(error), Some(near)) => {
                    let code = refuse(&error);
                    complain(&format!(
                        "no subcommand has this name either; the nearest is `sentinel {near}`"
                    ));
                    Ok(code)
                }
                (ended, _) => ended,
            };
        }
        Call::Server(args) => return daemon::server(&args),
    }?;
    Ok(ExitCode::from(exit::OK))
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Server { file } => {
            return daemon::server(&DaemonArgs {
                file,
                ..DaemonArgs::default()
            });
        }
        Command::Up(args) => topology::up(&args)?,
        Command::Status(args) => return status::run(&args),
        Command::Top(args) => top::run(&args)?,
        Command::Watch(args) => return watch::run(&args),
        Command::Failover(args) => return act::failover(&args),
        Command::Pause(args) => return act::pause(&args),
        Command::Resume(args) => return act::resume(&args),
        Command::Forget(args) => return act::forget(&args),
        Command::Explain(args) => return act::explain(&args),
        Command::Check(args) => return check::run(&args),
        Command::Convert(args) => convert::run(&args)?,
        Command::Completions { shell } => generate::completions(shell)?,
        Command::Man { dir } => generate::man(dir.as_deref())?,
    }
    Ok(ExitCode::from(exit::OK))
}

/// What `redis-server -v` prints, so that scripts find the version where they look for it, and behind
/// it our own.
fn version_line(program: Program) -> String {
    match program {
        Program::Sentinel => format!("sentinel {VERSION} (as Redis {REDIS_VERSION})\n"),
        Program::Redis => format!(
            "Redis server v={REDIS_VERSION} sha=00000000:0 malloc=libc bits=64 build=0 sentinel={VERSION}\n"
        ),
    }
}

fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .context("write to standard output")
}

/// Says on standard error why not, with all causes. What is wrong with a configuration is said exactly as
/// redis-server says it, for those who search for the text.
fn refuse(error: &anyhow::Error) -> ExitCode {
    let load = error.downcast_ref::<LoadError>().map(ToString::to_string);
    let open = || error.downcast_ref::<OpenError>().map(ToString::to_string);
    let text = load
        .or_else(open)
        .unwrap_or_else(|| format!("sentinel: {error:#}"));
    complain(&text);
    ExitCode::FAILURE
}

fn complain(text: &str) {
    // There is nobody to tell if this fails too.
    let _ = writeln!(io::stderr(), "{}", text.trim_end());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_lines_bear_both_versions() {
        for program in [Program::Sentinel, Program::Redis] {
            let line = version_line(program);
            assert!(line.contains("7.0.15"));
            assert!(line.contains(VERSION));
        }
        assert!(version_line(Program::Redis).starts_with("Redis server v=7.0.15 sha="));
    }
}

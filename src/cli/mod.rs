//! The command line: which program is meant, and its exit status.

mod args;
mod daemon;
mod status;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;

use crate::config::{LoadError, REDIS_VERSION};
use crate::sentinel::state::OpenError;
use crate::topology;
use args::{Call, Program};

/// Our own version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The whole program.
pub fn main(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let call = match args::parse(words.into_iter().collect()) {
        Ok(call) => call,
        Err(error) => return refuse(&error.into()),
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
            let code = u8::try_from(message.exit_code()).unwrap_or(1);
            return Ok(ExitCode::from(code));
        }
        Call::Up(args) => topology::up(&args),
        Call::Status(args) => return status::run(&args),
        Call::Tied(args) => {
            let error = topology::become_tied(args.parent_pid, &args.program, &args.args);
            Err(error).with_context(|| format!("start {}", args.program.display()))
        }
        Call::Janitor(folder) => topology::clean_up_after_parent(&folder)
            .with_context(|| format!("remove {}", folder.display())),
        Call::Sentinel(args) => return daemon::sentinel(&args),
        Call::Server(args) => return daemon::server(&args),
    }?;
    Ok(ExitCode::SUCCESS)
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
    // There is nobody to tell if this fails too.
    let _ = writeln!(io::stderr(), "{}", text.trim_end());
    ExitCode::FAILURE
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

//! The process and those who watch over it: daemonizing, pid file, systemd, signals, file limits.

use std::io;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

use super::Watchdog;

/// `supervised`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Supervised {
    /// Nobody is told anything.
    #[default]
    No,
    /// upstart is told when we are ready, by stopping ourselves.
    Upstart,
    /// systemd is told when we are ready.
    Systemd,
    /// Whichever of them has started us.
    Auto,
}

impl Supervised {
    /// True when a supervisor is there; then `daemonize` has no effect.
    pub fn is_active(self) -> bool {
        self.is_systemd() || self.is_upstart()
    }

    /// Who it is: `systemd`, `upstart` or `no`.
    pub fn as_str(self) -> &'static str {
        if self.is_systemd() {
            "systemd"
        } else if self.is_upstart() {
            "upstart"
        } else {
            "no"
        }
    }

    fn is_systemd(self) -> bool {
        matches!(self, Supervised::Systemd | Supervised::Auto)
            && std::env::var_os("NOTIFY_SOCKET").is_some()
    }

    fn is_upstart(self) -> bool {
        matches!(self, Supervised::Upstart | Supervised::Auto)
            && std::env::var_os("UPSTART_JOB").is_some()
    }

    /// Tells the supervisor that we are ready.
    pub fn ready(self) {
        self.notify(&[
            NotifyState::Status("Ready to accept connections"),
            NotifyState::Ready,
        ]);
        if self.is_upstart()
            && let Err(error) = nix::sys::signal::raise(nix::sys::signal::Signal::SIGSTOP)
        {
            tracing::warn!("cannot tell upstart about our state: {error}");
        }
    }

    /// Who wants to hear again and again that we are alive.
    pub fn watchdog(self) -> Watchdog {
        if self.is_systemd() {
            Watchdog::of_systemd()
        } else {
            Watchdog::default()
        }
    }

    /// Tells the supervisor that we are about to end.
    pub fn stopping(self) {
        self.notify(&[NotifyState::Stopping]);
    }

    fn notify(self, states: &[NotifyState<'_>]) {
        if self.is_systemd()
            && let Err(error) = sd_notify::notify(states)
        {
            tracing::warn!("cannot tell systemd about our state: {error}");
        }
    }
}

/// Goes to the background, with the standard descriptors on `/dev/null` and the working folder kept.
/// Must be called while the process has one thread.
///
/// # Errors
/// The process cannot be forked.
pub fn daemonize() -> io::Result<()> {
    Ok(nix::unistd::daemon(true, false)?)
}

/// Closes whatever the process inherited beyond the standard descriptors, so that neither we nor a
/// script that we start keep something of a careless parent open. Only for the very start, before
/// anything else has opened a descriptor.
pub fn close_inherited_descriptors() {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else {
        return;
    };
    let names = entries.flatten().map(|entry| entry.file_name());
    let inherited: Vec<i32> = names
        .filter_map(|name| name.to_str()?.parse().ok())
        .filter(|fd| *fd > 2)
        .collect();
    for fd in inherited {
        // The folder that was just read is among them, and closed by now.
        let _ = nix::unistd::close(fd);
    }
}

/// A pid file; removed when this is dropped.
#[derive(Debug)]
pub struct PidFile(PathBuf);

impl PidFile {
    /// Writes the process id.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(path: &Path) -> io::Result<PidFile> {
        std::fs::write(path, format!("{}\n", std::process::id()))?;
        Ok(PidFile(std::path::absolute(path)?))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // The folder may have gone before us.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// How it stands with the number of files we may open.
#[derive(Debug, PartialEq, Eq)]
pub enum FileLimit {
    /// It suffices; nothing was changed.
    Enough,
    /// It was raised to what we want.
    Raised {
        /// What it was.
        from: u64,
    },
    /// It is less than we want.
    Short {
        /// What it is now.
        have: u64,
    },
}

/// Raises the soft limit of open files to `wanted` where it is lower, as far as the hard limit allows.
///
/// A limit that suffices, or that is already at its hard limit, is not touched: the system call
/// filter of a hardened unit may kill a process that tries.
pub fn raise_file_limit(wanted: u64) -> FileLimit {
    let limit = getrlimit(Resource::Nofile);
    let soft = limit.current.unwrap_or(u64::MAX);
    let hard = limit.maximum.unwrap_or(u64::MAX);
    if soft >= wanted {
        return FileLimit::Enough;
    }
    let reachable = wanted.min(hard);
    if reachable == soft {
        return FileLimit::Short { have: soft };
    }
    let raised = Rlimit {
        current: Some(reachable),
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) if reachable == wanted => FileLimit::Raised { from: soft },
        Ok(()) => FileLimit::Short { have: reachable },
        Err(_) => FileLimit::Short { have: soft },
    }
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: end in good order.
    Terminate,
    /// SIGINT: the same.
    Interrupt,
    /// SIGHUP: open the log anew.
    Hangup,
}

/// The signals that the daemons act on.
#[derive(Debug)]
pub struct Signals {
    terminate: Stream,
    interrupt: Stream,
    hangup: Stream,
}

impl Signals {
    /// Takes the signals over; must run inside a tokio runtime.
    ///
    /// # Errors
    /// The operating system refuses a handler.
    pub fn new() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one. Cancel-safe.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Terminate,
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.hangup.recv() => Signal::Hangup,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pid_file_lives_as_long_as_its_guard() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.pid");
        let guard = PidFile::write(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("{}\n", std::process::id()));
        drop(guard);
        assert!(!path.exists());
        assert!(PidFile::write(&folder.path().join("no/such")).is_err());
    }

    #[test]
    fn a_file_limit_that_suffices_is_left_alone() {
        assert_eq!(raise_file_limit(3), FileLimit::Enough);
    }

    #[tokio::test]
    async fn a_hangup_is_heard() {
        let mut signals = Signals::new().unwrap();
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGHUP).unwrap();
        assert_eq!(signals.next().await, Signal::Hangup);
    }
}

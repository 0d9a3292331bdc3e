//! Child processes whose life ends with ours.
//!
//! A child is started through this very binary (`__tied`): it asks the kernel to be killed when the
//! thread that started it ends, and then becomes the program. So nothing survives us, not even when
//! we are killed with SIGKILL; and no code runs between fork and exec.

use std::ffi::{OsStr, OsString};
use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{mpsc, watch};

use super::plan::ChildPlan;
use crate::clock::Clock;

/// The word that makes this binary tie itself to its parent and become another program. Internal.
pub(crate) const TIED: &str = "__tied";
/// The word that makes this binary wait for the end of its parent and clean up after it. Internal.
pub(crate) const JANITOR: &str = "__janitor";
/// How long a child may take to end after SIGTERM before it is killed.
pub(super) const STOP_GRACE: Duration = Duration::from_secs(5);
/// The same for a data server whose data is kept: it waits up to 10 s for its replicas, then saves.
pub(super) const SAVE_GRACE: Duration = Duration::from_secs(30);
/// The longest pause before a child is started again.
pub(super) const RESTART_PAUSE_MAX: Duration = Duration::from_secs(30);
/// A child that lived this long has recovered: its next restart waits the shortest pause again.
pub(super) const RECOVERED_AFTER: Duration = Duration::from_secs(60);
/// How long the janitor tries to remove a folder into which dying children may still write.
const CLEANING_MAX: Duration = Duration::from_secs(10);

/// What happened to the child at an index of the plan.
#[derive(Debug)]
pub(super) struct News {
    /// Which child.
    pub index: usize,
    /// What happened.
    pub what: What,
}

/// What happened to a child.
#[derive(Debug)]
pub(super) enum What {
    /// It runs under this process id.
    Started(u32),
    /// It could not be started.
    NotStarted(io::Error),
    /// It ended without being asked to.
    Died {
        /// Its process id.
        pid: u32,
        /// How it ended.
        status: ExitStatus,
        /// The pause until it is started again, if it is.
        restart_in: Option<Duration>,
    },
}

/// How to start one child, and whether to start it again.
#[derive(Debug)]
pub(super) struct Keeper {
    /// Its place in the plan.
    pub index: usize,
    /// What to start.
    pub plan: ChildPlan,
    /// This binary, which ties the child to us.
    pub ourselves: PathBuf,
    /// What the child becomes.
    pub program: PathBuf,
    /// With these arguments.
    pub args: Vec<OsString>,
    /// The first pause before a restart; `None`: never.
    pub restart_after: Option<Duration>,
    /// How long it may take to end after SIGTERM before it is killed.
    pub stop_grace: Duration,
    /// Tells how long a child lived.
    pub clock: Clock,
}

impl Keeper {
    /// Keeps the child running, or at least watched, until `stop` becomes true; then ends it. Must run
    /// on the main thread: the kernel ties a child to the *thread* that started it.
    pub(super) async fn keep(self, mut stop: watch::Receiver<bool>, news: mpsc::Sender<News>) {
        let tell = async |what| {
            let index = self.index;
            // The other end goes away only after all keepers.
            let _ = news.send(News { index, what }).await;
        };
        let mut pause = self.restart_after;
        loop {
            let mut child = match self.start() {
                Ok(child) => child,
                Err(error) => {
                    tell(What::NotStarted(error)).await;
                    return;
                }
            };
            let pid = child.id().expect("it has not been waited for yet");
            tell(What::Started(pid)).await;
            let started = self.clock.mono();
            let status = tokio::select! {
                status = child.wait() => status,
                _ = stop.wait_for(|stop| *stop) => return end(child, self.stop_grace).await,
            };
            let status = status.unwrap_or_else(|_| ExitStatus::from_raw(0));
            if self.clock.mono().since(started) >= RECOVERED_AFTER {
                pause = self.restart_after;
            }
            tell(What::Died {
                pid,
                status,
                restart_in: pause,
            })
            .await;
            let Some(wait) = pause else { return };
            pause = Some((wait * 2).min(RESTART_PAUSE_MAX));
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    fn start(&self) -> io::Result<Child> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.plan.log)?;
        Command::new(&self.ourselves)
            .arg(TIED)
            .arg(std::process::id().to_string())
            .arg(&self.program)
            .args(&self.args)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C goes to the foreground group: it is for us, and we end the children in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
    }
}

/// Asks a child to end, even if it is stopped, and kills it when it does not.
async fn end(mut child: Child, grace: Duration) {
    signal(&child, Signal::TERM);
    signal(&child, Signal::CONT);
    if tokio::time::timeout(grace, child.wait()).await.is_err() {
        // It ends for sure; if it cannot even be waited for there is nothing left to do.
        let _ = child.kill().await;
    }
}

fn signal(child: &Child, signal: Signal) {
    let pid = child
        .id()
        .and_then(|pid| i32::try_from(pid).ok())
        .and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // It may just have ended by itself.
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// In the child: ties this process to its parent and becomes the program. Returns only an error.
pub(crate) fn become_tied(parent_pid: i32, program: &OsStr, args: &[OsString]) -> io::Error {
    if let Err(error) = rustix::process::set_parent_process_death_signal(Some(Signal::KILL)) {
        return error.into();
    }
    // The parent may have died before we asked; then nobody will tell us.
    if rustix::process::getppid().map(Pid::as_raw_pid) != Some(parent_pid) {
        return io::Error::other("the process that started this one is gone");
    }
    std::process::Command::new(program).args(args).exec()
}

/// Removes our temporary folder also when we are killed: a process that waits for the end of its
/// standard input, whose other end only we hold.
#[derive(Debug)]
pub(super) struct Janitor {
    child: Child,
    _lifeline: Option<ChildStdin>,
}

impl Janitor {
    /// Starts one for a folder.
    ///
    /// # Errors
    /// No process can be started.
    pub(super) fn start(ourselves: &Path, folder: &Path) -> io::Result<Janitor> {
        let mut child = Command::new(ourselves)
            .arg(JANITOR)
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let lifeline = child.stdin.take();
        Ok(Janitor {
            child,
            _lifeline: lifeline,
        })
    }

    /// Lets it do its work and waits for it.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub(super) async fn finish(self) -> io::Result<bool> {
        let Janitor {
            mut child,
            _lifeline,
        } = self;
        drop(_lifeline);
        Ok(child.wait().await?.success())
    }
}

/// In the janitor: waits for the end of standard input, then removes the folder.
///
/// # Errors
/// The folder is still there after a while.
pub(crate) fn clean_up_after_parent(folder: &Path) -> io::Result<()> {
    let mut end = [0_u8; 1];
    // Nobody writes; any answer means that the parent let go.
    let _ = io::stdin().read(&mut end);
    let pause = Duration::from_millis(20);
    let mut left = CLEANING_MAX;
    loop {
        // A child that is being killed may still make a file while we remove.
        match fs::remove_dir_all(folder) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if left.is_zero() => return Err(error),
            Err(_) => {
                std::thread::sleep(pause);
                left = left.saturating_sub(pause);
            }
        }
    }
}

/// Why a process ended, in words.
pub(super) fn describe_end(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(9), _) => "killed by SIGKILL".to_owned(),
        (Some(6), _) => "aborted (SIGABRT)".to_owned(),
        (Some(11), _) => "crashed (SIGSEGV)".to_owned(),
        (Some(15), _) => "ended by SIGTERM".to_owned(),
        (Some(signal), _) => format!("ended by signal {signal}"),
        (None, Some(code)) => format!("exit status {code}"),
        (None, None) => "ended".to_owned(),
    }
}

//! A child process in a folder of its own, gone when its test is.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::wait_for;

/// How much of a log is shown when a test fails. Lines.
const LOG_LINES_SHOWN: usize = 150;

/// A running (or ended) program with its folder and its log.
pub(crate) struct Process {
    name: String,
    dir: PathBuf,
    command: Command,
    child: Child,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts `command` in `dir`; what it says goes to `dir/<name>.log`.
    pub(crate) fn start(name: &str, dir: &Path, mut command: Command) -> Process {
        let child = spawn(name, dir, &mut command);
        Process {
            name: name.to_owned(),
            dir: dir.to_owned(),
            command,
            child,
            ended: None,
        }
    }

    /// Starts the same command again, in the same folder. The process must have ended.
    pub(crate) fn start_again(&mut self) {
        assert!(!self.is_running(), "{} still runs", self.name);
        self.child = spawn(&self.name, &self.dir, &mut self.command);
        self.ended = None;
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its resident memory.
    pub(crate) fn rss_mib(&self) -> u64 {
        self.rss_kib() / 1024
    }

    /// Its resident memory.
    pub(crate) fn rss_kib(&self) -> u64 {
        self.status_kib("VmRSS")
    }

    /// The most resident memory that it has had since [`Process::forget_peak`].
    pub(crate) fn peak_kib(&self) -> u64 {
        self.status_kib("VmHWM")
    }

    /// From now on the peak is that of what comes.
    pub(crate) fn forget_peak(&self) {
        let path = format!("/proc/{}/clear_refs", self.pid());
        std::fs::write(path, "5").expect("the kernel forgets the peak of a child");
    }

    fn status_kib(&self, field: &str) -> u64 {
        let value = self.status(field);
        let kib = value.split_whitespace().next().and_then(|n| n.parse().ok());
        kib.unwrap_or_else(|| panic!("{field} has no number: {value}"))
    }

    /// A field of its `/proc/PID/status`.
    pub(crate) fn status(&self, field: &str) -> String {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()));
        let status = status.unwrap_or_else(|error| panic!("{} has no status: {error}", self.name));
        let value = status
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        value.expect("the kernel tells it").trim().to_owned()
    }

    /// How many descriptors it holds.
    pub(crate) fn open_files(&self) -> usize {
        let folder = std::fs::read_dir(format!("/proc/{}/fd", self.pid()));
        folder.map_or(0, Iterator::count)
    }

    /// Everything it has said so far, over all its starts.
    pub(crate) fn log(&self) -> String {
        let bytes = std::fs::read(log_path(&self.name, &self.dir)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Whether it has not ended yet; a stopped one runs.
    pub(crate) fn is_running(&mut self) -> bool {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("a child can be waited for");
        }
        self.ended.is_none()
    }

    /// Sends a signal. No error when the process has ended.
    pub(crate) fn signal(&mut self, signal: Signal) {
        if self.is_running() {
            let pid = i32::try_from(self.child.id()).expect("process ids fit in i32");
            kill(Pid::from_raw(pid), signal).expect("a child can be signalled");
        }
    }

    /// SIGKILL, and waits for its end.
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        self.wait(Duration::from_secs(10));
    }

    /// SIGSTOP: it hangs, with its sockets open.
    pub(crate) fn stop(&mut self) {
        self.signal(Signal::SIGSTOP);
    }

    /// SIGCONT.
    pub(crate) fn resume(&mut self) {
        self.signal(Signal::SIGCONT);
    }

    /// SIGTERM, and waits for its end.
    pub(crate) fn terminate(&mut self, within: Duration) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait(within)
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait(&mut self, within: Duration) -> ExitStatus {
        let name = self.name.clone();
        wait_for(&format!("{name} ends"), within, || {
            if self.is_running() {
                Err("it still runs".to_owned())
            } else {
                self.ended
                    .ok_or_else(|| "it ended without a status".to_owned())
            }
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.is_running() {
            self.signal(Signal::SIGCONT);
            self.signal(Signal::SIGKILL);
            if let Err(error) = self.child.wait() {
                eprintln!("{}: {error}", self.name);
            }
        }
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let from = lines.len().saturating_sub(LOG_LINES_SHOWN);
            eprintln!("---- {} (pid {})", self.name, self.child.id());
            for line in &lines[from..] {
                eprintln!("{line}");
            }
        }
    }
}

fn log_path(name: &str, dir: &Path) -> PathBuf {
    dir.join(format!("{name}.log"))
}

fn spawn(name: &str, dir: &Path, command: &mut Command) -> Child {
    let log = open_log(&log_path(name, dir));
    let log_too = log.try_clone().expect("a file can be cloned");
    command
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(log_too)
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"))
}

fn open_log(path: &Path) -> File {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()))
}

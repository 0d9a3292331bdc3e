//! Notification and client-reconfig scripts: their queue, retries and timeouts.
//!
//! A script is started on a blocking thread, since reading a program from a slow disk may take long,
//! and waited for by a local task. What comes of it arrives as a [`Notice`].

use std::collections::VecDeque;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use super::core::{Event, EventKind, Tuning};
use crate::clock::{Mono, millis};

/// Scripts that may wait or run; beyond that the oldest that does not run is dropped.
const QUEUE_MAX: usize = 256;
/// Scripts that run at the same time.
const RUNNING_MAX: usize = 16;
/// Attempts before a script is given up.
const ATTEMPTS_MAX: u32 = 10;
/// After the system refused to start a process, this long until the next try.
const START_RETRY: Duration = Duration::from_secs(1);
/// Each attempt makes at most a start, a timeout and an end.
const NOTICES_MAX: usize = RUNNING_MAX * 3;
/// What the original reports as its exit code when the system refuses a new process.
const NOT_FORKED: &str = "99 0";
/// What a program that cannot be executed counts as.
const NOT_EXECUTED: i32 = 2;

/// Names one queued script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobId(u64);

/// Something that happened to a running script.
#[derive(Debug)]
pub enum Notice {
    /// It has this process id.
    Started(JobId, u32),
    /// It ran too long and was killed.
    TimedOut(JobId),
    /// It ended, or could not be started.
    Ended(JobId, io::Result<ExitStatus>),
}

/// The queue.
#[derive(Debug)]
pub struct Scripts {
    jobs: VecDeque<Job>,
    next_id: u64,
    notices: mpsc::Sender<Notice>,
}

#[derive(Debug)]
struct Job {
    id: JobId,
    path: Arc<str>,
    args: Arc<[String]>,
    /// Starts so far.
    attempts: u32,
    state: State,
}

/// Waiting ─▶ Running ─▶ Waiting … until it is dropped.
#[derive(Debug)]
enum State {
    Waiting { not_before: Mono },
    Running { pid: Option<u32>, since: Mono },
}

/// One entry of `SENTINEL PENDING-SCRIPTS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingScript {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// `running`, else `scheduled`.
    pub is_running: bool,
    /// The process id; 0 unless running.
    pub pid: u32,
    /// Milliseconds since the start when running, else until the next start; 0: as soon as possible.
    pub time_ms: u64,
    /// Starts so far.
    pub attempts: u32,
}

impl Scripts {
    /// An empty queue, and where to receive what is to be given to [`Scripts::notice`].
    pub fn new() -> (Scripts, mpsc::Receiver<Notice>) {
        let (notices, received) = mpsc::channel(NOTICES_MAX);
        let scripts = Scripts {
            jobs: VecDeque::new(),
            next_id: 0,
            notices,
        };
        (scripts, received)
    }

    /// Queues a script and starts it if there is room.
    pub fn push(&mut self, now: Mono, path: Arc<str>, args: Vec<String>, tuning: &Tuning) {
        let id = JobId(self.next_id);
        self.next_id += 1;
        self.jobs.push_back(Job {
            id,
            path,
            args: Arc::from(args),
            attempts: 0,
            state: State::Waiting { not_before: now },
        });
        if self.jobs.len() > QUEUE_MAX {
            let oldest = self.jobs.iter().position(Job::is_waiting);
            if let Some(dropped) = oldest.and_then(|at| self.jobs.remove(at)) {
                tracing::warn!("script queue full: dropped a run of {}", dropped.path);
            }
        }
        self.start_due(now, tuning);
    }

    /// Starts what may run now. Must be called inside a `LocalSet`.
    pub fn start_due(&mut self, now: Mono, tuning: &Tuning) {
        let mut room = RUNNING_MAX.saturating_sub(self.running());
        for job in &mut self.jobs {
            if room == 0 {
                break;
            }
            if matches!(job.state, State::Waiting { not_before } if not_before <= now) {
                room -= 1;
                job.attempts += 1;
                job.state = State::Running {
                    pid: None,
                    since: now,
                };
                let run = Run {
                    job: job.id,
                    path: Arc::clone(&job.path),
                    args: Arc::clone(&job.args),
                    runtime_max: tuning.script_max_runtime,
                    notices: self.notices.clone(),
                };
                tokio::task::spawn_local(run.run());
            }
        }
    }

    /// When [`Scripts::start_due`] has something to do next, unless a script ends before.
    pub fn next_deadline(&self) -> Mono {
        if self.running() >= RUNNING_MAX {
            return Mono::NEVER;
        }
        let due = self.jobs.iter().filter_map(|job| match job.state {
            State::Waiting { not_before } => Some(not_before),
            State::Running { .. } => None,
        });
        due.min().unwrap_or(Mono::NEVER)
    }

    /// Takes note of what happened and starts what may run now; the events to be told.
    pub fn notice(&mut self, now: Mono, notice: Notice, tuning: &Tuning) -> Vec<Event> {
        let mut events = Vec::new();
        match notice {
            Notice::Started(id, pid) => {
                if let Some(job) = self.jobs.iter_mut().find(|job| job.id == id) {
                    job.state = State::Running {
                        pid: Some(pid),
                        since: now,
                    };
                }
                events.push(event(EventKind::ScriptChild, pid.to_string()));
            }
            Notice::TimedOut(id) => {
                if let Some(job) = self.jobs.iter().find(|job| job.id == id) {
                    let text = format!("{} {}", job.path, job.pid());
                    events.push(event(EventKind::ScriptTimeout, text));
                }
            }
            Notice::Ended(id, result) => self.ended(now, id, result, tuning, &mut events),
        }
        self.start_due(now, tuning);
        events
    }

    fn ended(
        &mut self,
        now: Mono,
        id: JobId,
        result: io::Result<ExitStatus>,
        tuning: &Tuning,
        events: &mut Vec<Event>,
    ) {
        let Some(at) = self.jobs.iter().position(|job| job.id == id) else {
            return;
        };
        let job = &mut self.jobs[at];
        let (code, signal) = match result {
            Ok(status) => {
                let code = status.code().unwrap_or(0);
                let signal = status.signal().unwrap_or(0);
                let text = format!("{} {code} {signal}", job.pid());
                events.push(event(EventKind::ScriptChildEnded, text));
                (code, signal)
            }
            Err(error) if is_shortage(&error) => {
                let text = format!("{} {NOT_FORKED}", job.path);
                events.push(event(EventKind::ScriptError, text));
                job.attempts -= 1;
                let not_before = now + START_RETRY;
                job.state = State::Waiting { not_before };
                return;
            }
            Err(error) => {
                tracing::warn!("cannot run {}: {error}", job.path);
                (NOT_EXECUTED, 0)
            }
        };
        let may_help = signal != 0 || code == 1;
        if may_help && job.attempts < ATTEMPTS_MAX {
            let not_before = now + retry_delay(tuning.script_retry_delay, job.attempts);
            job.state = State::Waiting { not_before };
            return;
        }
        if code != 0 || signal != 0 {
            let text = format!("{} {signal} {code}", job.path);
            events.push(event(EventKind::ScriptError, text));
        }
        self.jobs.remove(at);
    }

    /// The queue, oldest first.
    pub fn pending(&self, now: Mono) -> Vec<PendingScript> {
        let entry = |job: &Job| {
            let mut argv = vec![job.path.to_string()];
            argv.extend(job.args.iter().cloned());
            let time = match job.state {
                State::Running { since, .. } => now.since(since),
                State::Waiting { not_before } => not_before.since(now),
            };
            PendingScript {
                argv,
                is_running: !job.is_waiting(),
                pid: job.pid(),
                time_ms: millis(time),
                attempts: job.attempts,
            }
        };
        self.jobs.iter().map(entry).collect()
    }

    /// `sentinel_running_scripts`
    pub fn running(&self) -> usize {
        self.jobs.iter().filter(|job| !job.is_waiting()).count()
    }

    /// `sentinel_scripts_queue_length`
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// True when nothing waits or runs.
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }
}

impl Job {
    fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting { .. })
    }

    fn pid(&self) -> u32 {
        match self.state {
            State::Running { pid, .. } => pid.unwrap_or(0),
            State::Waiting { .. } => 0,
        }
    }
}

/// 30 s, 60 s, 120 s … after the first, second, third failure.
fn retry_delay(first: Duration, attempts: u32) -> Duration {
    first.saturating_mul(1 << attempts.saturating_sub(1).min(31))
}

fn event(kind: EventKind, payload: String) -> Event {
    Event {
        kind,
        payload,
        master: None,
    }
}

/// True when the system has no room for a process now, which says nothing about the script.
fn is_shortage(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let shortages = [Errno::AGAIN, Errno::NOMEM, Errno::MFILE, Errno::NFILE];
    Errno::from_io_error(error).is_some_and(|errno| shortages.contains(&errno))
}

/// One attempt.
struct Run {
    job: JobId,
    path: Arc<str>,
    args: Arc<[String]>,
    runtime_max: Duration,
    notices: mpsc::Sender<Notice>,
}

impl Run {
    async fn run(self) {
        let result = self.start_and_wait().await;
        self.tell(Notice::Ended(self.job, result)).await;
    }

    async fn start_and_wait(&self) -> io::Result<ExitStatus> {
        let mut command = Command::new(&*self.path);
        // Every descriptor of ours closes on exec. A group of its own: what kills us from the terminal
        // must not kill a script halfway.
        command.args(self.args.iter()).process_group(0);
        let started = tokio::task::spawn_blocking(move || command.spawn()).await;
        let mut child = started.map_err(io::Error::other)??;
        if let Some(pid) = child.id() {
            self.tell(Notice::Started(self.job, pid)).await;
        }
        match tokio::time::timeout(self.runtime_max, child.wait()).await {
            Ok(ended) => ended,
            Err(_) => {
                self.tell(Notice::TimedOut(self.job)).await;
                kill_group(&mut child);
                child.wait().await
            }
        }
    }

    /// Fails only when the program ends.
    async fn tell(&self, notice: Notice) {
        let _ = self.notices.send(notice).await;
    }
}

/// Kills a script and what it has started.
fn kill_group(child: &mut Child) {
    use rustix::process::{Pid, Signal, kill_process_group};
    let pid = child.id().and_then(|id| i32::try_from(id).ok());
    if let Some(group) = pid.and_then(Pid::from_raw) {
        // It may have ended just now.
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.start_kill();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// Writes a script, from a process of its own: were the file open for writing here, a fork of
    /// another test could keep it open, and it could not be executed ("text file busy").
    fn script(folder: &Path, name: &str, text: &str) -> Arc<str> {
        let path = folder.join(name);
        let write = r#"printf '#!/bin/sh\n%s\n' "$2" >"$1"; chmod 755 "$1""#;
        let status = std::process::Command::new("/bin/sh")
            .args(["-c", write, "sh", path.to_str().unwrap(), text])
            .status()
            .unwrap();
        assert!(status.success());
        Arc::from(path.to_str().unwrap())
    }

    fn bench(test: impl AsyncFnOnce(&Path, Scripts, mpsc::Receiver<Notice>)) {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let (scripts, notices) = Scripts::new();
            test(folder.path(), scripts, notices).await;
        });
    }

    /// Takes notices until a script has ended; the events as text, process ids as `PID`.
    async fn until_ended(
        scripts: &mut Scripts,
        notices: &mut mpsc::Receiver<Notice>,
        now: Mono,
        tuning: &Tuning,
    ) -> Vec<String> {
        let mut events = Vec::new();
        let mut last_pid = "no pid".to_owned();
        loop {
            let notice = notices.recv().await.unwrap();
            if let Notice::Started(_, pid) = &notice {
                last_pid = pid.to_string();
            }
            let is_end = matches!(notice, Notice::Ended(..));
            for event in scripts.notice(now, notice, tuning) {
                events.push(event.to_string().replace(&last_pid, "PID"));
            }
            if is_end {
                return events;
            }
        }
    }

    #[test]
    fn success_ends_it_and_arguments_arrive() {
        bench(async |folder, mut scripts, mut notices| {
            let out = folder.join("out");
            let path = script(folder, "s", &format!("echo \"$@\" >{}", out.display()));
            let tuning = Tuning::default();
            scripts.push(Mono(0), path, vec!["+sdown".into(), "a b".into()], &tuning);
            assert_eq!(scripts.running(), 1);
            let events = until_ended(&mut scripts, &mut notices, Mono(5), &tuning).await;
            assert_eq!(events, ["+script-child PID", "-script-child PID 0 0"]);
            assert!(scripts.is_empty());
            assert_eq!(std::fs::read_to_string(out).unwrap(), "+sdown a b\n");
        });
    }

    #[test]
    fn exit_1_is_retried_ten_times_and_exit_2_never() {
        bench(async |folder, mut scripts, mut notices| {
            let tuning = Tuning::default();
            let path = script(folder, "two", "exit 2");
            scripts.push(Mono(0), Arc::clone(&path), Vec::new(), &tuning);
            let events = until_ended(&mut scripts, &mut notices, Mono(0), &tuning).await;
            assert_eq!(events[2], format!("-script-error {path} 0 2"));
            assert!(scripts.is_empty());

            let path = script(folder, "one", "exit 1");
            let mut now = Mono(0);
            scripts.push(now, Arc::clone(&path), Vec::new(), &tuning);
            let mut delays = Vec::new();
            let last = loop {
                let events = until_ended(&mut scripts, &mut notices, now, &tuning).await;
                let Some(pending) = scripts.pending(now).pop() else {
                    break events;
                };
                assert!(!pending.is_running);
                delays.push(pending.time_ms / 1000);
                scripts.start_due(now, &tuning);
                assert_eq!(scripts.running(), 0, "not before its time");
                now = scripts.next_deadline();
                scripts.start_due(now, &tuning);
            };
            assert_eq!(delays, [30, 60, 120, 240, 480, 960, 1920, 3840, 7680]);
            assert_eq!(last[2], format!("-script-error {path} 0 1"));
        });
    }

    #[test]
    fn one_that_runs_too_long_is_killed_with_its_children() {
        bench(async |folder, mut scripts, mut notices| {
            let path = script(folder, "s", "sleep 600 & wait");
            let tuning = Tuning {
                script_max_runtime: Duration::from_millis(50),
                ..Tuning::default()
            };
            scripts.push(Mono(0), Arc::clone(&path), Vec::new(), &tuning);
            let events = until_ended(&mut scripts, &mut notices, Mono(0), &tuning).await;
            let timeout = format!("-script-timeout {path} PID");
            assert_eq!(
                events,
                ["+script-child PID", &timeout, "-script-child PID 0 9"]
            );
            assert_eq!(scripts.pending(Mono(0))[0].attempts, 1, "tried again later");
        });
    }

    #[test]
    fn what_cannot_be_executed_is_an_error_at_once() {
        bench(async |folder, mut scripts, mut notices| {
            let tuning = Tuning::default();
            let path: Arc<str> = Arc::from(folder.join("missing").to_str().unwrap());
            scripts.push(Mono(0), Arc::clone(&path), Vec::new(), &tuning);
            let events = until_ended(&mut scripts, &mut notices, Mono(0), &tuning).await;
            assert_eq!(events, [format!("-script-error {path} 0 2")]);
        });
    }

    #[test]
    fn the_queue_is_bounded_and_sixteen_run() {
        bench(async |folder, mut scripts, mut notices| {
            let tuning = Tuning::default();
            let path = script(folder, "s", "exit 0");
            for i in 0..QUEUE_MAX + 5 {
                scripts.push(Mono(0), Arc::clone(&path), vec![i.to_string()], &tuning);
            }
            assert_eq!(scripts.running(), RUNNING_MAX);
            assert_eq!(scripts.len(), QUEUE_MAX);
            let pending = scripts.pending(Mono(0));
            assert!(pending[RUNNING_MAX - 1].is_running);
            assert_eq!(pending[RUNNING_MAX].argv[1], "21", "16 to 20 were dropped");
            assert_eq!(scripts.next_deadline(), Mono::NEVER, "until one ends");
            while !scripts.is_empty() {
                until_ended(&mut scripts, &mut notices, Mono(0), &tuning).await;
                assert!(scripts.running() <= RUNNING_MAX);
            }
        });
    }
}

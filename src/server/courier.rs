//! The way of `MIGRATE` to other servers: a thread that connects to them, keeps the connections for a while, and
//! carries values there.
//!
//! The loop stands still while an errand is under way, as redis-server does. What is carried must not change between
//! its `RESTORE` there and its removal here: then every key is at one of the two servers at any moment, and a command
//! has its answer when it ends, in a transaction too. A client that waited while others go on could promise neither;
//! a key that was changed meanwhile would be at both, and differ.
//!
//! So everything that could hold up the loop has a limit. Each step (look-up and connection, a login, a piece of what
//! is sent, a line of what is answered) takes at most the timeout that the client gave, whatever the other side does;
//! the errands of one command are of a bounded size and number of keys. While it waits, the loop tells systemd's
//! watchdog that it does.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc as blocking;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::Server;
use crate::clock::{Clock, Mono};
use crate::config::Process;
use crate::net::{Stream, load_tls};
use crate::resp::{encode_request, take_line};

/// Connections that are kept.
const KEPT_MAX: usize = 64;
/// How long one is kept after its last use.
const KEPT_FOR: Duration = Duration::from_secs(10);
/// How often the thread looks for those that have been kept long enough.
const LOOK_PERIOD: Duration = Duration::from_secs(1);
/// The longest line that a target may answer with. Bytes.
const REPLY_BYTES_MAX: usize = 1024;
/// What is written within one timeout. Bytes.
const PIECE_BYTES: usize = 64 * 1024;
/// Look-ups of names that may hang at a time, each on a thread of its own.
const LOOKUPS_MAX: usize = 4;
/// How often the loop says that it lives while it waits.
const SIGN_OF_LIFE: Duration = Duration::from_millis(100);

/// Whom values are brought to, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) host: Bytes,
    pub(crate) port: Bytes,
    pub(crate) login: Option<Login>,
    /// What TLS needs, where it is to be used.
    pub(crate) tls: Option<Box<Process>>,
}

/// How to log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) user: Option<Bytes>,
    pub(crate) password: Bytes,
}

/// Requests to be carried to a target.
#[derive(Debug)]
pub(crate) struct Errand {
    pub(crate) to: Target,
    pub(crate) db: i64,
    /// For each step.
    pub(crate) patience: Duration,
    /// The requests.
    pub(crate) bytes: Vec<u8>,
    /// How many there are.
    pub(crate) count: usize,
}

/// What an errand came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// For each request that was answered, in their order: whether it was accepted, or the error.
    pub(crate) answers: Vec<Result<(), String>>,
    /// Why there are not as many as there were requests.
    pub(crate) failure: Option<Failure>,
}

/// Why an errand ended early.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// The name, the port or the network leads nowhere.
    #[error("IOERR error or timeout connecting to the client")]
    Connecting,
    /// It does not listen, or does not take what is sent.
    #[error("IOERR error or timeout writing to target instance")]
    Writing,
    /// It does not answer, or with something else than RESP.
    #[error("IOERR error or timeout reading to target instance")]
    Reading,
    /// It lets us not in, or not into the database.
    #[error("ERR Target instance replied with error: {0}")]
    Refused(String),
}

/// Why a step failed, and whether for want of time.
struct Broken {
    failure: Failure,
    is_late: bool,
}

impl Broken {
    fn new(failure: Failure) -> Broken {
        Broken {
            failure,
            is_late: false,
        }
    }
}

/// The thread, which begins with the first errand and ends with this.
#[derive(Debug, Default)]
pub(crate) struct Courier {
    thread: Option<Thread>,
    kept: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Thread {
    errands: mpsc::Sender<Errand>,
    outcomes: blocking::Receiver<Outcome>,
}

impl Courier {
    /// Connections that are kept.
    pub(crate) fn kept(&self) -> u64 {
        self.kept.load(Ordering::Relaxed)
    }

    fn thread(&mut self, clock: Clock) -> io::Result<&Thread> {
        if self.thread.is_none() {
            // One errand at a time.
            let (errands, queue) = mpsc::channel(1);
            let (done, outcomes) = blocking::sync_channel(1);
            let kept = Arc::clone(&self.kept);
            // Where this fails, the next errand tries again. The runtime is built where it may also be dropped, should
            // there be no thread.
            let (begun, has_begun) = blocking::sync_channel(1);
            let work = move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .max_blocking_threads(LOOKUPS_MAX)
                    .build();
                match runtime {
                    Err(error) => drop(begun.send(Err(error))),
                    Ok(runtime) => {
                        let _ = begun.send(Ok(()));
                        runtime.block_on(run(queue, done, clock, kept));
                    }
                }
            };
            std::thread::Builder::new()
                .name("courier".to_owned())
                .spawn(work)?;
            has_begun.recv().map_err(io::Error::other)??;
            self.thread = Some(Thread { errands, outcomes });
        }
        Ok(self.thread.as_ref().expect("it was just started"))
    }
}

impl Server {
    /// Carries requests to another server. Nothing else happens here until they are answered.
    pub(crate) fn carry(&mut self, errand: Errand) -> Outcome {
        let lost = Outcome {
            answers: Vec::new(),
            failure: Some(Failure::Connecting),
        };
        let thread = match self.courier.thread(self.clock) {
            Ok(thread) => thread,
            Err(error) => {
                tracing::error!("MIGRATE: cannot start a thread: {error}");
                return lost;
            }
        };
        if thread.errands.try_send(errand).is_err() {
            return lost;
        }
        loop {
            match thread.outcomes.recv_timeout(SIGN_OF_LIFE) {
                Ok(outcome) => return outcome,
                Err(blocking::RecvTimeoutError::Timeout) => self.watchdog.feed(self.clock.mono()),
                Err(blocking::RecvTimeoutError::Disconnected) => return lost,
            }
        }
    }
}

/// Runs errands until nobody can send one any more.
async fn run(
    mut errands: mpsc::Receiver<Errand>,
    outcomes: blocking::SyncSender<Outcome>,
    clock: Clock,
    count: Arc<AtomicU64>,
) {
    let mut kept: Vec<Connection> = Vec::new();
    loop {
        let errand = tokio::select! {
            errand = errands.recv() => Some(errand),
            () = sleep(LOOK_PERIOD), if !kept.is_empty() => None,
        };
        // However often there are errands to others.
        let now = clock.mono();
        kept.retain(|connection| now.since(connection.used) < KEPT_FOR);
        count.store(kept.len() as u64, Ordering::Relaxed);
        let errand = match errand {
            Some(Some(errand)) => errand,
            Some(None) => return,
            None => continue,
        };
        let outcome = run_errand(&errand, &mut kept, clock).await;
        count.store(kept.len() as u64, Ordering::Relaxed);
        if outcomes.send(outcome).is_err() {
            return;
        }
    }
}

async fn run_errand(errand: &Errand, kept: &mut Vec<Connection>, clock: Clock) -> Outcome {
    let mut answers = Vec::with_capacity(errand.count);
    let mut found = kept
        .iter()
        .position(|connection| connection.to == errand.to)
        .map(|at| kept.remove(at));
    if let Some(connection) = &mut found
        && !connection.is_silent().await
    {
        // It has been closed, or what comes next answers nothing that we shall ask.
        found = None;
    }
    let broken = loop {
        let was_kept = found.is_some();
        let mut connection = match found.take() {
            Some(connection) => connection,
            None => match connect(errand).await {
                Ok(connection) => connection,
                Err(broken) => break broken,
            },
        };
        match connection.carry(errand, &mut answers).await {
            Ok(()) => {
                connection.used = clock.mono();
                if kept.len() >= KEPT_MAX {
                    // The first in the list is the one whose last use is longest ago.
                    kept.remove(0);
                }
                kept.push(connection);
                return Outcome {
                    answers,
                    failure: None,
                };
            }
            // The target may have closed a connection since its last use.
            Err(broken) if was_kept && answers.is_empty() && !broken.is_late => {}
            Err(broken) => break broken,
        }
    };
    Outcome {
        answers,
        failure: Some(broken.failure),
    }
}

/// A connection to a target.
struct Connection {
    to: Target,
    stream: Stream,
    input: Vec<u8>,
    /// The database that is selected there.
    db: Option<i64>,
    used: Mono,
}

async fn connect(errand: &Errand) -> Result<Connection, Broken> {
    let to = &errand.to;
    let late = |failure| Broken {
        failure,
        is_late: true,
    };
    let name = |word| std::str::from_utf8(word).ok();
    let (Some(host), Some(port)) = (name(&to.host), name(&to.port)) else {
        return Err(Broken::new(Failure::Connecting));
    };
    let Ok(port) = port.parse::<u16>() else {
        return Err(Broken::new(Failure::Connecting));
    };
    let addrs = timeout(errand.patience, tokio::net::lookup_host((host, port)));
    let addrs = addrs.await.map_err(|_| late(Failure::Connecting))?;
    let addrs: Vec<_> = addrs
        .map_err(|_| Broken::new(Failure::Connecting))?
        .collect();
    let tcp = timeout(errand.patience, TcpStream::connect(addrs.as_slice()));
    // redis-server learns that nobody listens when it writes.
    let tcp = tcp.await.map_err(|_| late(Failure::Writing))?;
    let tcp = tcp.map_err(|error| {
        let absent = [
            io::ErrorKind::ConnectionRefused,
            io::ErrorKind::HostUnreachable,
        ];
        let is_absent = absent.contains(&error.kind());
        Broken::new(if is_absent {
            Failure::Writing
        } else {
            Failure::Connecting
        })
    })?;
    let stream = match &to.tls {
        None => prepared(tcp),
        Some(process) => timeout(errand.patience, secured(tcp, host, process))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
    };
    let stream = stream.map_err(|error| {
        tracing::warn!(host, port, "MIGRATE: cannot use a connection: {error}");
        Broken::new(Failure::Connecting)
    })?;
    Ok(Connection {
        to: to.clone(),
        stream,
        input: Vec::new(),
        db: None,
        used: Mono(0),
    })
}

fn prepared(tcp: TcpStream) -> io::Result<Stream> {
    tcp.set_nodelay(true)?;
    Ok(Stream::Tcp(tcp))
}

async fn secured(tcp: TcpStream, host: &str, process: &Process) -> io::Result<Stream> {
    let tls = load_tls(process).map_err(io::Error::other)?;
    let tls = tls.ok_or_else(|| io::Error::other("TLS is not configured"))?;
    tcp.set_nodelay(true)?;
    let handshake = tls.connect(tcp.into_std()?, host).await?;
    Ok(Stream::Tls(Box::new(handshake.finish().await?)))
}

impl Connection {
    /// Whether nothing has come that nobody has asked for, nor the end.
    async fn is_silent(&mut self) -> bool {
        let mut byte = [0];
        let mut read = pin!(self.stream.read(&mut byte));
        let is_pending = poll_fn(|context| Poll::Ready(read.as_mut().poll(context).is_pending()));
        self.input.is_empty() && is_pending.await
    }

    /// Carries the requests of an errand, in its database.
    async fn carry(
        &mut self,
        errand: &Errand,
        answers: &mut Vec<Result<(), String>>,
    ) -> Result<(), Broken> {
        self.enter(errand).await?;
        self.write(&errand.bytes, errand.patience).await?;
        for _ in 0..errand.count {
            answers.push(self.answer(errand.patience).await?);
        }
        Ok(())
    }

    /// Logs in, each time: the password may have changed. Selects the database. Nothing else is sent before both are
    /// granted: what is sent along with a refused request would arrive as somebody else's, or somewhere else.
    async fn enter(&mut self, errand: &Errand) -> Result<(), Broken> {
        let mut requests = Vec::new();
        let mut count = 0;
        if let Some(login) = &errand.to.login {
            let mut words: Vec<&[u8]> = vec![b"AUTH"];
            words.extend(login.user.as_deref());
            words.push(&login.password);
            encode_request(&words, &mut requests);
            count += 1;
        }
        if self.db != Some(errand.db) {
            let db = itoa::Buffer::new().format(errand.db).to_owned();
            encode_request(&["SELECT", &db], &mut requests);
            count += 1;
        }
        self.write(&requests, errand.patience).await?;
        for _ in 0..count {
            let answer = self.answer(errand.patience).await?;
            answer.map_err(|text| Broken::new(Failure::Refused(text)))?;
        }
        self.db = Some(errand.db);
        Ok(())
    }

    async fn write(&mut self, bytes: &[u8], patience: Duration) -> Result<(), Broken> {
        for piece in bytes.chunks(PIECE_BYTES) {
            let write = async {
                self.stream.write_all(piece).await?;
                self.stream.flush().await
            };
            let written = timeout(patience, write).await;
            let is_late = written.is_err();
            if !matches!(written, Ok(Ok(()))) {
                return Err(Broken {
                    failure: Failure::Writing,
                    is_late,
                });
            }
        }
        Ok(())
    }

    /// The next answer. Whatever is neither `+OK` nor an error comes from no server that we know: nothing may be
    /// removed here because of it.
    async fn answer(&mut self, patience: Duration) -> Result<Result<(), String>, Broken> {
        let line = timeout(patience, self.line()).await;
        let is_late = line.is_err();
        let line = line.ok().flatten();
        match line.as_deref() {
            Some(b"+OK") => Ok(Ok(())),
            Some([b'-', text @ ..]) => Ok(Err(String::from_utf8_lossy(text).into_owned())),
            _ => Err(Broken {
                failure: Failure::Reading,
                is_late,
            }),
        }
    }

    /// The next line, without its line break; none when there is no such line.
    async fn line(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(line) = take_line(&mut self.input) {
                return Some(line);
            }
            if self.input.len() >= REPLY_BYTES_MAX {
                return None;
            }
            let read = self.stream.read_buf(&mut self.input).await;
            if !matches!(read, Ok(count) if count > 0) {
                return None;
            }
        }
    }
}

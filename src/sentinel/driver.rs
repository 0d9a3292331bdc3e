//! The loop that owns everything: it feeds the core, and does what the core asks for.
//!
//! It decides nothing. Its own rules are about order: after a stall the gap itself comes first, then
//! everything that is already in the sockets, then the deadlines.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use tokio::io::unix::AsyncFd;
use tokio::sync::{Notify, mpsc, oneshot};

use super::commands::{OnResolved, wait_of};
use super::core::{Durable, Event, Input, Level, Output, Record, Sentinel};
use super::history::History;
use super::links::{EndedHandshake, LinkOptions, Links, link_of, wait_readable};
use super::saver::{Save, Saved, Saver, Snapshot};
use super::scripts::{Notice, Scripts};
use super::surface::{
    ASKS_QUEUED_MAX, Ask, Counters, FACTS_QUEUED_MAX, Facts, OpenAsks, Shown, Surface,
};
use crate::clock::{Clock, Mono, Now, millis};
use crate::config::Process;
use crate::front::{
    AclError, DEFAULT_HZ, DataStats, Front, ProcessInfo, Program, clients_section, cpu_section,
    server_section, stats_section,
};
use crate::net::{Log, Lookup, Resolver, Signal, Signals, Watchdog, ensure_files};

/// The loop wakes at least this often, so that a stall is noticed and measured.
const HEARTBEAT: Duration = Duration::from_millis(100);
/// Lateness below this is the ordinary noise of timers. The core has a threshold of its own.
const STALL_MIN: Duration = Duration::from_millis(10);
/// How often one turn listens again because it stood still meanwhile: on a machine that gives us no time,
/// the deadlines must come all the same.
const ROUNDS_MAX: u32 = 3;
/// How long one round goes on listening when every link has had its turn: a link that never falls silent
/// must keep neither the deadlines nor the clients waiting.
const LISTEN_MAX: Duration = Duration::from_millis(20);
/// How long the state may take to be written at the end.
const LAST_WRITE_MAX: Duration = Duration::from_secs(10);

/// The sentinel daemon: the core, its links to the world and its clients. One thread owns it.
pub struct Daemon {
    /// The decisions.
    pub core: Sentinel,
    /// The clients.
    pub front: Front<Daemon>,
    /// The scripts of the events.
    pub scripts: Scripts,
    /// What the process was told at its start, as changed by `CONFIG SET`.
    pub process: Process,
    /// What it is, for `INFO`.
    pub info: ProcessInfo,
    /// Hears at every turn of the loop that it turns.
    pub watchdog: Watchdog,
    pub(super) clock: Clock,
    links: Links,
    resolver: Resolver,
    /// What clients' commands wait for, by host name.
    lookups: HashMap<Arc<str>, Vec<OnResolved<Daemon>>>,
    saver: Saver,
    /// Where decisions are recorded; `None`: nowhere.
    history: Option<History>,
    /// Input that the core has not been given yet.
    queue: VecDeque<Input>,
    out: Vec<Output>,
    /// Asleep: when the loop means to wake. Awake: the last reading of the clock. Whatever the next
    /// reading is later than this, the process did not run for.
    planned: Mono,
    is_asleep: bool,
    /// How many stalls there have been.
    stalls: u64,
    /// The last turn stopped listening before it had heard everything.
    is_more_to_hear: bool,
    /// How many links the limit of open files was reckoned for.
    links_reckoned: usize,
    /// When the clients are looked after next.
    clients_at: Mono,
    /// What other threads see of us, where there is somebody to look.
    shown: Option<Shown>,
    asks: mpsc::Sender<Ask>,
    facts: mpsc::Sender<oneshot::Sender<Facts>>,
    counters: Counters,
    open_asks: OpenAsks,
    /// Wakes the loop when a client's command has changed the plan.
    changed: Rc<Notify>,
    stopping: bool,
}

/// Where things come from while nobody holds the daemon.
#[derive(Debug)]
pub struct Sources {
    epoll: Rc<AsyncFd<OwnedFd>>,
    handshakes: mpsc::Receiver<EndedHandshake>,
    lookups: mpsc::Receiver<Lookup>,
    scripts: mpsc::Receiver<Notice>,
    saved: mpsc::Receiver<Saved>,
    asks: mpsc::Receiver<Ask>,
    facts: mpsc::Receiver<oneshot::Sender<Facts>>,
    changed: Rc<Notify>,
}

/// What a daemon is made of.
pub struct Parts {
    /// Its clock.
    pub clock: Clock,
    /// Decides the dice of the core.
    pub seed: u64,
    /// What it knew when it was stopped.
    pub durable: Durable,
    /// What writes that.
    pub save: Save,
    /// The decisions of earlier runs, the oldest first.
    pub records: Vec<Record>,
    /// Where the next ones are recorded.
    pub history: Option<History>,
    /// How its links are opened.
    pub links: LinkOptions,
    /// How many links the limit of open files leaves room for.
    pub links_reckoned: usize,
    /// Its clients, users and commands.
    pub front: Front<Daemon>,
    /// What the process was told.
    pub process: Process,
    /// What the process is, for `INFO`.
    pub info: ProcessInfo,
}

impl Daemon {
    /// A daemon that has said `+monitor` for what it monitors and has opened no link yet. Must run
    /// inside a tokio runtime and a `LocalSet`.
    ///
    /// # Errors
    /// The system refuses a thread or an event queue.
    pub fn new(parts: Parts) -> std::io::Result<(Daemon, Sources)> {
        let (links, handshakes) = Links::new(parts.links)?;
        let (resolver, lookups) = Resolver::new();
        let (scripts, notices) = Scripts::new();
        let (saver, saved) = Saver::start(parts.save)?;
        let now = parts.clock.now();
        let mut out = Vec::new();
        let mut core = Sentinel::new(now, parts.seed, parts.durable, &mut out);
        core.remember(parts.records);
        let changed = Rc::new(Notify::new());
        let (asks, asked) = mpsc::channel(ASKS_QUEUED_MAX);
        let (facts, facts_asked) = mpsc::channel(FACTS_QUEUED_MAX);
        let sources = Sources {
            epoll: links.epoll(),
            handshakes,
            lookups,
            scripts: notices,
            saved,
            asks: asked,
            facts: facts_asked,
            changed: Rc::clone(&changed),
        };
        let mut daemon = Daemon {
            core,
            front: parts.front,
            scripts,
            process: parts.process,
            info: parts.info,
            watchdog: Watchdog::default(),
            clock: parts.clock,
            links,
            resolver,
            lookups: HashMap::new(),
            saver,
            history: parts.history,
            queue: VecDeque::new(),
            out,
            planned: now.mono,
            stalls: 0,
            is_more_to_hear: false,
            links_reckoned: parts.links_reckoned,
            clients_at: now.mono,
            shown: None,
            asks,
            facts,
            counters: Counters::default(),
            is_asleep: false,
            open_asks: OpenAsks::default(),
            changed,
            stopping: false,
        };
        tracing::warn!("Sentinel ID is {}", daemon.core.id());
        daemon.perform(now);
        // Saying `+monitor` for thousands of masters is no stall.
        daemon.planned = daemon.clock.mono();
        daemon.settle();
        Ok((daemon, sources))
    }

    /// From here on the daemon shows itself to another thread, which may ask things of it.
    pub fn surface(&mut self) -> Surface {
        let run_id = self.info.run_id.clone();
        let (shown, surface) = Shown::new(
            &mut self.core,
            self.clock,
            run_id,
            self.asks.clone(),
            self.facts.clone(),
        );
        self.shown = Some(shown);
        surface
    }

    /// Gives the core an input, at once. What the core answers to a client is in that client's queue
    /// when this returns, unless the answer has to wait for a write.
    pub fn give(&mut self, input: Input) {
        let sleeping_until = self.planned;
        self.queue.push_back(input);
        self.settle();
        self.show();
        self.plan();
        if self.planned < sleeping_until {
            self.changed.notify_one();
        }
    }

    /// Looks a host name up for a client's command.
    pub fn look_up(&mut self, host: Arc<str>, then: OnResolved<Daemon>) {
        if self.resolver.look_up(Arc::clone(&host)) {
            self.lookups.entry(host).or_default().push(then);
        } else {
            then(self, None);
        }
    }

    /// Ends the process in good order, soon.
    pub fn stop(&mut self) {
        self.stopping = true;
        self.changed.notify_one();
    }

    /// One turn of the loop: the gap, the sockets, the deadlines.
    fn turn(&mut self) {
        let mut now = self.read_clock();
        for _ in 0..ROUNDS_MAX {
            let stalls = self.stalls;
            self.settle();
            self.hear_everything();
            now = self.read_clock();
            // What arrived while we stood still, even just now, comes before the deadlines.
            if self.stalls == stalls {
                break;
            }
        }
        if self.core.next_deadline() <= now.mono {
            self.core.handle(now, Input::Tick, &mut self.out);
            self.perform(now);
            self.settle();
        }
        if let Some(overdue) = self.saver.overdue(now.mono, self.core.seq()) {
            self.counters.save_errors += 1;
            self.queue.push_back(overdue.into());
            self.settle();
        }
        self.reckon_files();
        self.scripts.start_due(now.mono, self.core.tuning());
        if self.clients_at <= now.mono {
            self.clients_at = now.mono + HEARTBEAT;
            self.front.tick(now.mono);
        }
        self.show();
        self.watchdog.feed(now.mono);
        self.plan();
    }

    /// Lets other threads see what has changed.
    fn show(&mut self) {
        if let Some(shown) = &mut self.shown {
            shown.refresh(&mut self.core, self.clock.now());
        }
    }

    /// Both clocks, now. Tells the core when that is later than it should be.
    fn read_clock(&mut self) -> Now {
        let now = self.clock.now();
        let late = now.mono.since(self.planned);
        self.planned = now.mono;
        if std::mem::take(&mut self.is_asleep) {
            self.counters.delays.observe(millis(late));
        }
        if late >= STALL_MIN {
            self.stalls += 1;
            self.saver.stood_still(late);
            self.core
                .handle(now, Input::Stalled { late }, &mut self.out);
            self.perform(now);
        }
        now
    }

    /// Everything that has arrived on the links. Bounded, so that a link that never falls silent does
    /// not keep the deadlines from coming; each link has its turn before that.
    fn hear_everything(&mut self) {
        let mut turns_owed = self.links.len();
        let mut reads_left = self.links.len() * 2 + 64;
        let enough = self.clock.mono() + LISTEN_MAX;
        while reads_left > 0 && self.links.refill() {
            while reads_left > 0 && self.links.read_next(&mut self.queue) {
                reads_left -= 1;
                turns_owed = turns_owed.saturating_sub(1);
                self.settle();
                if turns_owed == 0 && self.clock.mono() >= enough {
                    return;
                }
            }
        }
        // The system reports a link that has something only once.
        self.is_more_to_hear = reads_left == 0;
    }

    /// Discoveries open links that nobody reckoned with at the start. Doubles the room, so that this is
    /// rare.
    fn reckon_files(&mut self) {
        if self.links.len() > self.links_reckoned {
            self.links_reckoned = self.links.len() * 2;
            ensure_files(self.process.clients_max(), self.links_reckoned as u64);
        }
    }

    /// Gives the core what is queued and does what it asks for, until both are done.
    fn settle(&mut self) {
        loop {
            let mut now = self.read_clock();
            while let Some(input) = self.queue.pop_front() {
                self.core.handle(now, input, &mut self.out);
                self.perform(now);
                now = self.read_clock();
            }
            self.links.flush();
            self.links.take_happened(&mut self.queue);
            if self.queue.is_empty() {
                break;
            }
        }
        let now = self.planned;
        let (core, acl, process) = (&self.core, &self.front.acl, &self.process);
        let told = |line: Result<String, AclError>| {
            let told = line.inspect_err(|error| tracing::warn!("a user is not saved: {error}"));
            told.ok()
        };
        self.saver.write_if_due(now, || Snapshot {
            seq: core.seq(),
            durable: core.durable(),
            users: match process.aclfile {
                Some(_) => Vec::new(),
                // Who cannot be written is left out, not written as somebody else.
                None => acl.text_lines().filter_map(told).collect(),
            },
        });
    }

    /// Does what the core asks for, in its order.
    fn perform(&mut self, now: Now) {
        let mut out = std::mem::take(&mut self.out);
        for output in out.drain(..) {
            self.perform_one(now, output);
        }
        self.out = out;
    }

    fn perform_one(&mut self, now: Now, output: Output) {
        match output {
            Output::Persist { urgent, .. } => self.saver.changed(now.mono, urgent),
            Output::Connect { link, to, host } => self.links.connect(link, to, host),
            Output::Close { link } => {
                self.links.close(link);
                self.queue.retain(|input| link_of(input) != Some(link));
            }
            Output::Send {
                link,
                request,
                renamed,
            } => self.links.send(link, &request, &renamed),
            Output::Reply { to, reply } => {
                if !self.open_asks.answer(to, &reply) {
                    self.front.clients.resolve(wait_of(to), &reply);
                }
            }
            Output::Event(event) => self.tell(now, &event),
            Output::Log(level, text) => log(level, &text),
            Output::Record(record) => {
                if let Some(history) = &self.history {
                    history.add(record);
                }
            }
            Output::Resolve(host) => {
                if !self.resolver.look_up(Arc::clone(&host)) {
                    self.queue.push_back(Input::Resolved { host, ip: None });
                }
            }
            Output::Script { path, args, .. } => {
                self.scripts.push(now.mono, path, args, self.core.tuning());
            }
            // A simulated crash leaves everything as it is.
            Output::Exit(status) => std::process::exit(status),
        }
    }

    /// Logs an event and publishes it.
    fn tell(&mut self, now: Now, event: &Event) {
        *self.counters.events.entry(event.kind).or_default() += 1;
        let level = event.kind.level();
        let channel = event.kind.channel();
        log(level, &format!("{channel} {}", event.payload));
        if level != Level::Debug {
            self.front
                .publish(channel.as_bytes(), event.payload.as_bytes(), now.mono);
            if let Some(shown) = &mut self.shown {
                shown.tell(now.unix, event);
            }
        }
    }

    /// Decides when to wake.
    fn plan(&mut self) {
        let now = self.clock.mono();
        let next = (self.core.next_deadline())
            .min(self.scripts.next_deadline())
            .min(self.saver.next_deadline())
            .min(now + HEARTBEAT);
        self.planned = if self.is_more_to_hear || self.links.has_ready() {
            now
        } else {
            next.max(now)
        };
        self.is_asleep = true;
    }
}

/// Runs a daemon until a signal or a client ends it.
pub async fn run(daemon: Rc<RefCell<Daemon>>, mut sources: Sources, mut signals: Signals) {
    let clock = daemon.borrow().clock;
    let epoll = Rc::clone(&sources.epoll);
    loop {
        let (wake, is_busy) = {
            let mut daemon = daemon.borrow_mut();
            daemon.turn();
            if daemon.stopping {
                break;
            }
            let wake = tokio::time::Instant::from_std(clock.instant(daemon.planned));
            (wake, daemon.links.has_ready())
        };
        if is_busy {
            // What follows would be ready at once, again and again, and the clients' tasks never run.
            tokio::task::yield_now().await;
        }
        tokio::select! {
            biased;
            signal = signals.next() => daemon.borrow_mut().handle_signal(signal),
            // Before the links, which may have something at any time: every turn hears all of them.
            source = sources.next() => daemon.borrow_mut().accept(source),
            ready = wait_readable(&epoll) => {
                if let Err(error) = ready {
                    tracing::error!("the event queue of the links: {error}");
                    break;
                }
            }
            () = tokio::time::sleep_until(wake) => {}
        }
    }
    flush(&daemon, &mut sources).await;
    let history = daemon.borrow_mut().history.take();
    if let Some(history) = history {
        history.close();
    }
}

/// Waits until the state is on disk, but not for ever.
async fn flush(daemon: &Rc<RefCell<Daemon>>, sources: &mut Sources) {
    let write = async {
        loop {
            {
                let mut daemon = daemon.borrow_mut();
                let now = daemon.clock.mono();
                daemon.saver.hurry(now);
                daemon.settle();
                if !daemon.saver.is_behind() {
                    return;
                }
            }
            let source = sources.next().await;
            daemon.borrow_mut().accept(source);
        }
    };
    if tokio::time::timeout(LAST_WRITE_MAX, write).await.is_err() {
        tracing::error!("the last changes could not be written: the disk does not answer");
    }
}

/// Something from another thread or task.
#[derive(Debug)]
enum Source {
    Handshake(Box<EndedHandshake>),
    Lookup(Lookup),
    Script(Notice),
    Saved(Saved),
    Asked(Ask),
    FactsAsked(oneshot::Sender<Facts>),
    /// The plan has changed; nothing else.
    Changed,
}

impl Sources {
    /// Waits for the next one. Cancel-safe.
    async fn next(&mut self) -> Source {
        tokio::select! {
            biased;
            Some(saved) = self.saved.recv() => Source::Saved(saved),
            Some(ended) = self.handshakes.recv() => Source::Handshake(Box::new(ended)),
            Some(lookup) = self.lookups.recv() => Source::Lookup(lookup),
            Some(notice) = self.scripts.recv() => Source::Script(notice),
            Some(ask) = self.asks.recv() => Source::Asked(ask),
            Some(reply) = self.facts.recv() => Source::FactsAsked(reply),
            () = self.changed.notified() => Source::Changed,
        }
    }
}

impl Daemon {
    fn accept(&mut self, source: Source) {
        self.read_clock();
        match source {
            Source::Handshake(ended) => self.links.handshake_ended(*ended, &mut self.queue),
            Source::Lookup(Lookup { host, ip }) => {
                for then in self.lookups.remove(&host).unwrap_or_default() {
                    then(self, ip);
                }
                self.queue.push_back(Input::Resolved { host, ip });
            }
            Source::Script(notice) => {
                let now = self.clock.now();
                let tuning = self.core.tuning();
                for event in self.scripts.notice(now.mono, notice, tuning) {
                    self.tell(now, &event);
                }
            }
            Source::Saved(saved) => {
                self.saver.ended();
                if saved.is_ok() {
                    tracing::info!("Sentinel new configuration saved on disk");
                } else {
                    self.counters.save_errors += 1;
                }
                self.queue.push_back(saved.into());
            }
            Source::Asked(Ask { request, reply }) => {
                // Who asked hears that there is too much to do when the sender is dropped.
                if let Some(to) = self.open_asks.begin(reply) {
                    self.queue.push_back(Input::Operator { to, request });
                }
            }
            Source::FactsAsked(reply) => {
                // Who asked may have given up.
                let _ = reply.send(self.facts());
            }
            Source::Changed => {}
        }
    }

    /// What is counted, for metrics.
    fn facts(&self) -> Facts {
        let now = self.clock.now();
        let info = [
            server_section(&self.info, Daemon::MODE, DEFAULT_HZ, now),
            clients_section(&self.front),
            stats_section(&self.front, &DataStats::default()),
            cpu_section(),
        ];
        Facts {
            info: info.concat(),
            scripts_running: self.scripts.running(),
            scripts_queued: self.scripts.len(),
            simulated_failures: self.core.simulated_failures(),
            last_pings: self.core.last_pings(now),
            failovers: self.core.failover_stats().clone(),
            probes: *self.core.probes(),
            counters: self.counters.clone(),
        }
    }

    fn handle_signal(&mut self, signal: Signal) {
        match signal {
            Signal::Terminate | Signal::Interrupt => {
                let name = match signal {
                    Signal::Interrupt => "SIGINT",
                    Signal::Terminate | Signal::Hangup => "SIGTERM",
                };
                tracing::warn!("Received {name} scheduling shutdown...");
                tracing::warn!("User requested shutdown...");
                self.stopping = true;
            }
            Signal::Hangup => {
                if let Some(log) = Log::get() {
                    log.reopen();
                    tracing::info!("Received SIGHUP, log file opened anew");
                }
            }
        }
    }
}

fn log(level: Level, text: &str) {
    match level {
        Level::Debug => tracing::trace!("{text}"),
        Level::Verbose => tracing::debug!("{text}"),
        Level::Notice => tracing::info!("{text}"),
        Level::Warning => tracing::warn!("{text}"),
    }
}

#[cfg(test)]
mod tests;

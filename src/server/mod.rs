//! The bundled data server.
//!
//! One thread owns everything in [`Server`]: clients, keyspace, replication. A command's way: `front` reads
//! and checks it, [`Program::refuse`] adds the checks of a data server, the handler in `command` changes
//! the keyspace through `access`, which notes what replicas must repeat in `effects`. When the next
//! command begins, or the turn ends, the unit is closed: its bytes are counted, kept in the backlog and,
//! at the end of the turn, handed to the replicas; only after they had their chance to be written do the
//! replies of that turn leave. Clients that wait for a key (`blocking`) are served when the command or
//! transaction that filled it is over, each in a unit of its own, and their replies wait for the replicas too.
//!
//! Long work is cut into slices: snapshots (`BGSAVE`, full resyncs) walk the keyspace a little at a time,
//! files are written and loaded on other threads.

mod access;
mod beside;
mod blocking;
mod busy_poll;
mod command;
mod config;
mod config_file;
mod courier;
mod cron;
mod effects;
mod eviction;
mod histogram;
mod hyperloglog;
mod info;
mod key_delay;
pub mod keyspace;
mod latency;
mod lazy_free;
mod loading;
mod memory_usage;
mod metrics;
mod monitor;
mod notify;
mod observe;
mod oom_score;
mod own_expiry;
pub mod persist;
pub mod replication;
mod run;
mod shutdown;
mod slowlog;
pub mod surface;
#[cfg(test)]
mod testing;
mod tracking;
mod tuning;

use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::AtomicI32;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

pub use config::{ConfigFile, ServerConfig, ServerSetup, load_server, server_table};
pub use notify::NotifyClasses;
pub use oom_score::OomMode;
pub(crate) use run::Present;
pub use run::{Open, check_access, run};
pub use shutdown::{SaveChoice, ShutdownOptions};
pub use tuning::{DisklessLoad, EvictionPolicy, Percentiles, Tuning};

use crate::clock::{Clock, Now};
use crate::front::{
    AbsentCommand, Call, ClientId, ClientKind, Closing, DataStats, Front, Handler, ProcessInfo,
    Program, Reply, Requests, Tracking, WaitId, flag,
};
use crate::ids::{ReplId, ReplOffset, RunId, random_hex};
use crate::memory;
use crate::net::{self, Log};
use blocking::Blocking;
use busy_poll::BusyPoll;
use command::transactions::{Transaction, Watched, Watches};
use courier::Courier;
use effects::Effects;
use eviction::{Eviction, Room};
use keyspace::Keyspace;
use latency::Latencies;
use loading::Loading;
use metrics::Metrics;
use observe::Suspended;
use oom_score::OomScore;
use own_expiry::OwnExpiries;
use persist::aof::Aof;
use persist::save::Saver;
use replication::Replication;
use replication::master::{Feed, Introduction};
use shutdown::Shutdown;
use slowlog::SlowLog;
use tracking::TrackingTable;

/// A data server.
pub struct Server {
    pub(crate) front: Front<Server>,
    pub(crate) config: ServerConfig,
    pub(crate) config_file: Option<ConfigFile>,
    pub(crate) keyspace: Keyspace,
    pub(crate) replication: Replication,
    pub(crate) saver: Saver,
    pub(crate) aof: Aof,
    pub(crate) stats: DataStats,
    pub(crate) shutdown: Shutdown,
    pub(crate) process: ProcessInfo,
    pub(crate) rng: ChaCha8Rng,
    pub(crate) metrics: Metrics,
    pub(crate) slowlog: SlowLog,
    pub(crate) latencies: Latencies,
    pub(crate) tracking: TrackingTable,
    /// The most memory that was in use, and what was when the server began. Bytes.
    memory_peak: u64,
    memory_at_start: u64,
    pub(crate) switches: Switches,
    /// Where clients come in.
    pub(crate) serving: Option<net::Serving>,
    /// What other threads see of us, where there is somebody to look.
    shown: Option<Arc<surface::Latest>>,
    /// Hears ten times a second that the loop turns, and from a save that holds the loop that it goes on.
    pub(crate) watchdog: net::Watchdog,
    /// Who is shown every command.
    monitors: Vec<ClientId>,
    effects: Effects,
    eviction: Eviction,
    /// What a replica removes by itself.
    own_expiries: OwnExpiries,
    watches: Watches,
    oom_score: OomScore,
    busy_poll: BusyPoll,
    /// Clients that wait for a key.
    blocking: Blocking,
    /// What `MIGRATE` sends away goes with it.
    courier: Courier,
    current: Current,
    /// The commands of a transaction are running.
    pub(crate) in_exec: bool,
    /// Data are being loaded.
    pub(crate) loading: Option<Loading>,
    /// `key-load-delay`, for those who load on other threads.
    load_delay: Arc<AtomicI32>,
    clock: Clock,
    /// When the last command of this turn ended, which is when the next one begins. Nanoseconds of the clock.
    read_at: Option<u64>,
    log: Option<&'static Log>,
    me: Weak<RefCell<Server>>,
}

/// What `DEBUG` switches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Switches {
    /// `SET-ACTIVE-EXPIRE`
    pub(crate) expires_actively: bool,
    /// `PAUSE-CRON`
    pub(crate) is_cron_paused: bool,
    /// `SET-SKIP-CHECKSUM-VALIDATION`
    pub(crate) skips_checksums: bool,
}

impl Default for Switches {
    fn default() -> Switches {
        Switches {
            expires_actively: true,
            is_cron_paused: false,
            skips_checksums: false,
        }
    }
}

/// The command that is running.
#[derive(Clone, Copy, Debug, Default)]
struct Current {
    db: usize,
    is_from_master: bool,
    client: Option<ClientId>,
    /// It runs, and its client's place in the stream has not been noted since it began.
    has_run: bool,
    /// It has waited, and is being served.
    has_waited: bool,
}

/// What a server keeps for each client.
#[derive(Default)]
pub struct Session {
    transaction: Option<Transaction>,
    watched: Vec<Watched>,
    /// What it said about itself before it became a replica.
    introduction: Introduction,
    /// It is a replica.
    feed: Option<Feed>,
    /// Where the stream was after its last command, whatever that was: what `WAIT` waits for. A client that
    /// has read what another wrote can so wait for that.
    seen: ReplOffset,
    /// The command that it waits in.
    suspended: Option<Box<Suspended>>,
}

impl Server {
    /// What follows an error reply to a replica would be taken for its stream.
    fn close_if_replica(&mut self, id: ClientId) {
        let client = self.front.clients.get_mut(id);
        if let Some(client) = client.filter(|client| client.kind == ClientKind::Replica) {
            client.close(Closing::Now);
        }
    }

    /// A server without data, not yet listening. `front` is configured; `supervised` is for `INFO`.
    pub fn new(
        setup: ServerSetup,
        front: Front<Server>,
        clock: Clock,
        log: Option<&'static Log>,
        supervised: &'static str,
    ) -> Rc<RefCell<Server>> {
        let shown = |path: &std::path::Path| path.display().to_string();
        let mut rng: ChaCha8Rng = rand::make_rng();
        let now = clock.now();
        let ServerSetup { config, file, .. } = setup;
        let databases = usize::try_from(config.databases).expect("at most 1024");
        let repl_id = ReplId::from(random_hex::<20>(&mut rng).as_str());
        let server = Rc::new_cyclic(|me| {
            RefCell::new(Server {
                front,
                keyspace: Keyspace::new(databases),
                replication: Replication::new(repl_id, now.mono),
                saver: Saver::new(now),
                aof: Aof::default(),
                stats: DataStats::default(),
                shutdown: Shutdown::default(),
                process: ProcessInfo {
                    run_id: RunId::from(random_hex::<20>(&mut rng).as_str()),
                    tcp_port: config.process.port,
                    config_file: file
                        .as_ref()
                        .map(|file| shown(&file.path))
                        .unwrap_or_default(),
                    executable: std::env::current_exe()
                        .as_deref()
                        .map(shown)
                        .unwrap_or_default(),
                    started: now.mono,
                    supervised,
                    shutdown_at: None,
                },
                metrics: Metrics::default(),
                slowlog: SlowLog::default(),
                latencies: Latencies::default(),
                tracking: TrackingTable::default(),
                switches: Switches::default(),
                serving: None,
                shown: None,
                watchdog: net::Watchdog::default(),
                monitors: Vec::new(),
                memory_peak: 0,
                memory_at_start: crate::memory::used(),
                effects: Effects::default(),
                eviction: Eviction::default(),
                own_expiries: OwnExpiries::default(),
                watches: Watches::default(),
                oom_score: OomScore::default(),
                busy_poll: BusyPoll::default(),
                blocking: Blocking::default(),
                courier: Courier::default(),
                current: Current::default(),
                in_exec: false,
                loading: None,
                load_delay: Arc::default(),
                config_file: file,
                rng: ChaCha8Rng::from_rng(&mut rng),
                config,
                clock,
                read_at: None,
                log,
                me: me.clone(),
            })
        });
        server.borrow_mut().note_role();
        server
    }

    /// This server, for a task that outlives the call.
    pub(crate) fn handle(&self) -> Rc<RefCell<Server>> {
        self.me
            .upgrade()
            .expect("the server is owned by who calls it")
    }

    /// A new replication id.
    pub(crate) fn new_repl_id(&mut self) -> ReplId {
        ReplId::from(random_hex::<20>(&mut self.rng).as_str())
    }

    /// Selects a database for a client and, as it is the one running, for what it runs next.
    pub(crate) fn select(&mut self, client: ClientId, db: usize) {
        self.front.clients.current(client).db = db;
        self.current.db = db;
    }

    /// The command of `client` that runs next.
    fn begin_command(&mut self, client: ClientId) {
        self.end_unit();
        let found = self.front.clients.current(client);
        self.current = Current {
            db: found.db,
            is_from_master: found.kind == ClientKind::Master,
            client: Some(client),
            ..Current::default()
        };
    }

    /// Closes the unit of the last command: what it propagated becomes part of the append-only file and of the
    /// stream.
    pub(crate) fn end_unit(&mut self) {
        self.append_unit();
        // A unit of our master's ends when its bytes are counted.
        if !self.current.is_from_master {
            self.save_if_flushed();
        }
    }

    fn append_unit(&mut self) {
        let has_effects = !self.effects.is_empty();
        if has_effects {
            self.append_unit_to_aof();
            self.replication.gate.turn.has_written |= self.effects.has_data();
            self.replication.append_unit(&mut self.effects);
        }
        if !std::mem::take(&mut self.current.has_run) && !has_effects {
            return;
        }
        let offset = self.replication.history.offset();
        let client = self.current.client;
        if let Some(client) = client.and_then(|id| self.front.clients.get_mut(id)) {
            client.session.seen = offset;
        }
    }

    /// Why a replica's connection is closed, if this call may not come from one.
    fn refuse_from_replica(&mut self, call: &Call<'_>) -> Option<Cow<'static, str>> {
        let client = self.front.clients.current(call.client);
        let is_ack = call.info.name == "replconf"
            && call.words.get(1).is_some_and(|word| {
                word.eq_ignore_ascii_case(b"ack") || word.eq_ignore_ascii_case(b"getack")
            });
        let is_sync = matches!(call.info.name, "psync" | "sync");
        if client.kind != ClientKind::Replica || is_ack || is_sync {
            return None;
        }
        tracing::warn!(
            replica = %client.addr, command = call.info.name,
            "a replica sent a command that would be answered: closing its link"
        );
        client.close(Closing::Now);
        Some("ERR Replica can't interact with the keyspace".into())
    }

    /// The checks of a data server, in Redis's order.
    fn refuse_by_state(&mut self, call: &Call<'_>) -> Option<Cow<'static, str>> {
        let flags = self.flags_of(call);
        let is_write = flags & flag::WRITE != 0;
        if self.make_room() == Room::Lacking && self.needs_room(call, flags) {
            return Some(OUT_OF_MEMORY.into());
        }
        self.limit_tracking();
        let touches_data = flag::WRITE | flag::READONLY | flag::MAY_REPLICATE;
        if flags & touches_data != 0 && self.monitors.contains(&call.client) {
            return Some("ERR Replica can't interact with the keyspace".into());
        }
        if is_write || call.info.name == "ping" {
            if self.is_misconfigured() {
                return Some(MISCONF.into());
            }
            if self.replication.is_master()
                && let Some(error) = if is_write {
                    self.aof_error()
                } else {
                    self.aof_failure()
                }
            {
                return Some(format!("MISCONF Errors writing to the AOF file: {error}").into());
            }
        }
        if is_write && self.lacks_good_replicas(call.now.mono) {
            return Some("NOREPLICAS Not enough good replicas to write.".into());
        }
        if is_write && self.is_read_only_replica() {
            return Some("READONLY You can't write against a read only replica.".into());
        }
        let is_stale = self.replication.is_link_down() && !self.config.serve_stale_data;
        if is_stale && self.common_flags_of(call) & flag::STALE == 0 {
            return Some(
                "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."
                    .into(),
            );
        }
        let is_refused = match &self.loading {
            None => false,
            Some(loading) if loading.is_beside() => flags & flag::NO_ASYNC_LOADING != 0,
            Some(_) => self.common_flags_of(call) & flag::LOADING == 0,
        };
        if is_refused {
            return Some("LOADING Redis is loading the dataset in memory".into());
        }
        // A message is no data: who publishes learns nothing that a file may lack.
        self.replication.gate.turn.has_seen_data |= flags & (flag::WRITE | flag::READONLY) != 0;
        None
    }

    /// Whether nobody but our master changes the data.
    fn is_read_only_replica(&self) -> bool {
        !self.replication.is_master() && self.config.read_only
    }

    /// Whether a call may not run when memory is above its limit. What is queued takes memory too.
    fn needs_room(&self, call: &Call<'_>, flags: u32) -> bool {
        let client = self.front.clients.get(call.client);
        let is_queued = client.is_some_and(|client| client.session.transaction.is_some())
            && !matches!(
                self.front.full_name(call.command),
                "exec" | "discard" | "quit" | "reset"
            );
        let is_master = client.is_some_and(|client| client.kind == ClientKind::Master);
        (flags & flag::DENYOOM != 0 || is_queued) && !is_master
    }

    fn is_misconfigured(&self) -> bool {
        self.replication.is_master()
            && self.config.stop_writes_on_bgsave_error
            && self.lacks_wanted_save()
    }

    /// Whether the data are to be saved, and the last save has failed.
    fn lacks_wanted_save(&self) -> bool {
        !self.config.save.is_empty() && !self.saver.last_save_ok
    }
}

/// What commands get that may need memory when there is none left.
const OUT_OF_MEMORY: &str = "OOM command not allowed when used memory > 'maxmemory'.";

/// What `DEBUG` gets where `enable-debug-command` does not allow it.
const NO_DEBUG: &str = "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a local connection, otherwise you need to set this option in the configuration file, and then restart the server.";

/// What writes get after a save has failed.
const MISCONF: &str = "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands that may modify the data set are disabled, because this instance is configured to report errors during writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs for details about the RDB error.";

impl Program for Server {
    type Session = Session;

    const MODE: &'static str = "standalone";
    const ABSENT_COMMANDS: &'static [AbsentCommand] = command::ABSENT;

    fn front(&mut self) -> &mut Front<Server> {
        &mut self.front
    }

    fn now(&self) -> Now {
        self.clock.now()
    }

    fn now_after(&self, last: Now) -> Now {
        // What did not run has not taken long.
        self.read_at
            .map_or(last, |nanos| self.clock.moved_to(last, nanos))
    }

    fn role(&self) -> Option<&'static str> {
        Some(if self.replication.is_master() {
            "master"
        } else {
            "replica"
        })
    }

    fn forbid(&mut self, call: &Call<'_>) -> Option<Cow<'static, str>> {
        let is_forbidden = call.info.name == "debug"
            && !self.allows(self.config.process.enable_debug_command, call);
        is_forbidden.then(|| NO_DEBUG.into())
    }

    fn refuse(&mut self, call: &Call<'_>) -> Option<Cow<'static, str>> {
        if let Some(text) = self.refuse_from_replica(call) {
            return Some(text);
        }
        match self.refuse_in_transaction(call) {
            Some(text) => Some(Cow::Borrowed(text)),
            None => self.refuse_by_state(call),
        }
    }

    fn foresee(&mut self, client: ClientId, requests: &Requests<'_>) {
        let db = self.front.clients.current(client).db;
        self.keyspace.warm(db, requests.iter());
    }

    fn heard(&mut self, client: ClientId) {
        self.replica_heard(client);
    }

    fn execute(&mut self, call: &Call<'_>, handler: Handler<Server>, reply: &mut Reply) {
        // What a transaction runs is part of its `EXEC`.
        self.current.has_run |= !self.in_exec;
        self.run_observed(call, handler, reply);
        self.serve_blocked();
    }

    fn tracking_changed(&mut self, client: ClientId, before: Option<&Tracking>) {
        self.tracking_of(client, before);
    }

    fn refused(
        &mut self,
        client: ClientId,
        call: Option<&Call<'_>>,
        text: &[u8],
    ) -> Option<Vec<u8>> {
        self.close_if_replica(client);
        let mut instead = None;
        if let Some(call) = call {
            self.metrics.rejected(call.command);
            if call.info.name == "exec" {
                self.end_transaction(client);
                self.unwatch(client);
                // They have seen its `MULTI`.
                self.show_to_monitors(call);
                let reason = text.strip_prefix(b"ERR ").unwrap_or(text);
                instead = Some([b"EXECABORT Transaction discarded because of: ", reason].concat());
            }
        }
        self.spoil_transaction(client);
        self.metrics.error(instead.as_deref().unwrap_or(text));
        instead
    }

    fn is_write(&mut self, call: &Call<'_>) -> bool {
        self.flags_of(call) & (flag::WRITE | flag::MAY_REPLICATE) != 0
    }

    fn enqueue(&mut self, call: &Call<'_>) -> bool {
        self.begin_command(call.client);
        self.enqueue_call(call)
    }

    fn unblock(&mut self, client: ClientId, on: WaitId, error: Option<&'static str>) {
        // As in redis-server, whoever did not get what it waited for has failed.
        self.note_unblocked(client, 0, true);
        match error {
            Some(text) => self.fail_wait(on, text),
            None => self.end_wait(on),
        }
    }

    fn end_turn(&mut self, client: ClientId) {
        self.end_unit();
        // A turn in which nothing ran brings no other one.
        if let Some(nanos) = self.read_at.take() {
            self.busy_poll.note_turn(nanos);
        }
        if memory::is_counted() {
            self.sample_memory();
        }
        self.current = Current::default();
        self.broadcast_invalidations();
        self.end_turn_of(client);
    }

    fn drained(&mut self, client: ClientId) {
        self.replica_drained(client);
    }

    fn gives_up(&mut self, client: ClientId) {
        self.forget_waiter(client);
        self.forget_blocked_client(client);
    }

    fn closed(&mut self, client: ClientId) {
        self.unwatch(client);
        self.set_monitor(client, false);
        self.end_tracking(client);
        self.gives_up(client);
        self.replica_gone(client);
    }
}

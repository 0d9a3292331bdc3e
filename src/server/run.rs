//! The process: from a configuration to a running server, and to its end.

use std::any::Any;
use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::Context;
use tokio::task::LocalSet;

use super::key_delay::LoadPace;
use super::keyspace::Key;
use super::lazy_free::drop_elsewhere;
use super::loading::Counted;
use super::persist::rdb_decode::{LoadOptions, Loaded, load, printable, used_memory_of};
use super::surface::Surface;
use super::{Server, ServerConfig, ServerSetup, busy_poll, command, cron, persist, replication};
use crate::clock::Clock;
use crate::config::{ConfigErrors, Process};
use crate::front::{ClientAddr, Front, FrontSettings, Peer, serve};
use crate::net::{
    self, Accepted, Host, ListenOptions, Listeners, Log, Role, Signal, Signals, Started, Tls,
    clients_with_room, load_tls,
};

/// Descriptors for links of our own beside clients: the one to the master, and one in hand.
const LINKS: u64 = 2;
/// What a replica may have queued beside a whole backlog: the reply before it and the stream after it.
const BACKLOG_MARGIN_BYTES: u64 = 1 << 20;

/// Opens what shows the server to the world beside its own port; dropping the result closes it.
pub type Open<'a> = &'a dyn Fn(&Process, Surface) -> anyhow::Result<Box<dyn Any>>;

/// Runs a data server until it is told to stop. What keeps it from serving once it has a log is said there.
/// `open` is called where there is an `http-port`.
///
/// # Errors
/// It cannot start: the users, the folder, the log.
pub fn run(mut setup: ServerSetup, open: Open<'_>) -> anyhow::Result<ExitCode> {
    let role = if setup.config.replicaof.is_some() {
        Role::Replica
    } else {
        Role::Master
    };
    let mut front = Front::new(command::all());
    front.configure(&setup.config.process, &setup.access_lines)?;
    let mut started = Started::enter(&setup.config.process, role)?;
    tracing::warn!(
        configuration = setup.file.as_ref().map(|file| shown(&file.path)),
        "sentinel server {} is starting, compatible with Redis {}, pid={}",
        env!("CARGO_PKG_VERSION"),
        crate::front::REDIS_VERSION,
        std::process::id()
    );
    note_folder(&mut setup.config.process);
    front.tell_of_absent_commands(&setup.config.process);
    if setup.config.tuning.disable_thp
        && let Err(error) = rustix::thread::disable_transparent_huge_pages(true)
    {
        tracing::warn!(%error, "cannot turn off transparent huge pages (disable-thp)");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let local = LocalSet::new();
    let result = local.block_on(&runtime, serve_until_told(setup, front, &mut started, open));
    started.remove_pid_file();
    started.supervised.stopping();
    // Files that are still being written belong to saves that were given up.
    runtime.shutdown_background();
    Ok(result.unwrap_or_else(|error| {
        let text = format!("{error:#}");
        tracing::error!("{}. Exiting...", text.trim_end_matches('.'));
        ExitCode::FAILURE
    }))
}

/// `dir` is the folder in which we are: words relative to another would lead elsewhere the next time.
fn note_folder(process: &mut Process) {
    match std::env::current_dir() {
        Ok(folder) => process.dir = folder,
        Err(error) => tracing::warn!(%error, "cannot tell the path of the working directory"),
    }
}

/// Lowers `maxclients` to what the limit of open files leaves room for.
fn lower_maxclients(process: &mut Process) -> anyhow::Result<()> {
    let room = clients_with_room(process, LINKS);
    if room == 0 {
        anyhow::bail!("The limit of open files leaves no room for any client: raise 'ulimit -n'");
    }
    if room < process.maxclients {
        tracing::warn!(
            "maxclients has been reduced from {} to {room}.",
            process.maxclients
        );
        process.maxclients = room;
    }
    Ok(())
}

/// A path in the log.
fn shown(path: &Path) -> tracing::field::DisplayValue<std::path::Display<'_>> {
    tracing::field::display(path.display())
}

/// Enters the folder again that was left, if one was.
fn return_to(left: Option<PathBuf>) {
    let entered = left.map_or(Ok(()), std::env::set_current_dir);
    if let Err(error) = entered {
        tracing::error!(%error, "the working directory before a change that was refused is out of reach");
    }
}

/// Whether a setting says where to listen.
fn moves(name: &&&'static str) -> bool {
    matches!(**name, "port" | "bind" | "tls-port")
}

/// Whether the users and renamed commands of a configuration are right, which its reading alone does not
/// tell.
///
/// # Errors
/// All mistakes.
pub fn check_access(setup: &ServerSetup) -> Result<(), ConfigErrors> {
    Front::<Server>::new(command::all()).configure(&setup.config.process, &setup.access_lines)
}

async fn serve_until_told(
    mut setup: ServerSetup,
    front: Front<Server>,
    started: &mut Started,
    open: Open<'_>,
) -> anyhow::Result<ExitCode> {
    lower_maxclients(&mut setup.config.process)?;
    let process = setup.config.process.clone();
    let replicaof = setup.config.replicaof.clone();
    let listeners = Listeners::bind(&ListenOptions::from(&process))?;
    let tls = load_tls(&process)?.map(Rc::new);
    let mut signals = Signals::new().context("cannot handle signals")?;
    let server = Server::new(
        setup,
        front,
        Clock::start(),
        Some(started.log),
        started.supervised.as_str(),
    );
    {
        let server = &mut *server.borrow_mut();
        server.begin_loading(false);
        server.apply_settings();
    }
    // Before the data are loaded, so that it can say that they are.
    let _opened = match process.http.port {
        0 => None,
        _ => Some(open(&process, Server::surface(&server))?),
    };
    let host = Rc::new(Clients(Rc::downgrade(&server)));
    let serving = listeners.serve(Rc::new(RefCell::new(tls)), host);
    server.borrow_mut().serving = Some(serving);
    started.write_pid_file();
    if server.borrow().config.tuning.io_threads > 1 {
        tracing::warn!("io-threads has no effect: one thread serves all clients");
    }
    tracing::info!(
        port = process.port,
        tls_port = process.tls.port,
        unixsocket = process.unixsocket.as_deref().map(shown),
        "Server initialized"
    );
    let ended = tokio::select! {
        loaded = load_data(&server) => {
            loaded?;
            None
        }
        never = cron::mind_clients(&server) => match never {},
        ended = until_told(&server, &mut signals, started.log) => Some(ended),
    };
    if let Some(status) = ended {
        server.borrow_mut().serving = None;
        return Ok(status);
    }
    tracing::info!("Ready to accept connections");
    server.borrow_mut().watchdog = started.supervised.watchdog();
    started.supervised.ready();
    if let Some((host, port)) = replicaof {
        let server = &mut *server.borrow_mut();
        let has_position = server.replication.history.is_recording();
        server.replicate_from(host, port, has_position);
    }
    tokio::task::spawn_local(cron::run(Rc::clone(&server)));
    tokio::task::spawn_local(busy_poll::run(Rc::clone(&server)));
    tokio::task::spawn_local(replication::wait::open_gate(Rc::clone(&server)));
    let status = until_told(&server, &mut signals, started.log).await;
    server.borrow_mut().serving = None;
    Ok(status)
}

/// Those who connect are clients of this server.
struct Clients(Weak<RefCell<Server>>);

impl Host for Clients {
    fn admit(&self) -> Option<Box<dyn Any>> {
        let admission = self.0.upgrade()?.borrow_mut().front.admit()?;
        Some(Box::new(admission))
    }

    fn accept(&self, accepted: Accepted) {
        use std::os::fd::AsRawFd;
        let Accepted {
            stream,
            peer,
            local,
        } = accepted;
        let peer = Peer {
            addr: client_addr(peer),
            laddr: client_addr(local),
            fd: stream.as_raw_fd(),
        };
        if let Some(server) = self.0.upgrade() {
            tokio::task::spawn_local(serve(server, stream, peer));
        }
    }
}

/// Acts on signals until the process is to end.
async fn until_told(
    server: &Rc<RefCell<Server>>,
    signals: &mut Signals,
    log: &'static Log,
) -> ExitCode {
    let finished = Rc::clone(&server.borrow().shutdown.finished);
    let mut told_at = None;
    loop {
        let signal = tokio::select! {
            () = finished.notified() => break,
            signal = signals.next() => signal,
        };
        if signal == Signal::Hangup {
            log.reopen();
            continue;
        }
        let server = &mut *server.borrow_mut();
        if server.is_loading() {
            tracing::warn!("Received shutdown signal during loading, exiting now.");
            return ExitCode::SUCCESS;
        }
        // As with redis-server: whoever presses Ctrl-C again does not want to wait.
        if signal == Signal::Interrupt && server.is_shutting_down() {
            tracing::warn!("interrupted again: ending at once, without saving");
            return ExitCode::FAILURE;
        }
        if told_at.is_some_and(|at| server.was_just_refused(at)) {
            tracing::warn!(
                "told again to end, although the AOF file cannot get its first base: ending at once, without saving"
            );
            return ExitCode::FAILURE;
        }
        told_at = Some(server.clock.mono());
        let tuning = &server.config.tuning;
        let (name, options) = match signal {
            Signal::Interrupt => ("SIGINT", tuning.shutdown_on_sigint),
            Signal::Terminate | Signal::Hangup => ("SIGTERM", tuning.shutdown_on_sigterm),
        };
        tracing::warn!("Received {name} scheduling shutdown...");
        server.begin_shutdown(options, None);
    }
    tracing::warn!("Redis is now ready to exit, bye bye...");
    ExitCode::SUCCESS
}

/// Loads the append-only file where that is on, else the RDB file; clients hear `LOADING` meanwhile.
async fn load_data(server: &Rc<RefCell<Server>>) -> anyhow::Result<()> {
    if !persist::aof::load(server).await? {
        load_rdb(server).await?;
    }
    let server = &mut *server.borrow_mut();
    server.loading = None;
    // It may have been switched meanwhile.
    server.follow_appendonly().map_err(anyhow::Error::msg)
}

/// Loads the RDB file, if there is one, on another thread.
async fn load_rdb(server: &Rc<RefCell<Server>>) -> anyhow::Result<()> {
    let (path, options, is_replica, progress) = {
        let server = &mut *server.borrow_mut();
        let is_replica = server.config.replicaof.is_some();
        let progress = server.begin_loading(false);
        let options = LoadOptions {
            progress: Some(Arc::clone(&progress)),
            ..server.load_options(is_replica)
        };
        (
            server.config.dbfilename.clone(),
            options,
            is_replica,
            progress,
        )
    };
    let file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(());
        }
        file => file.with_context(|| format!("cannot open {path}"))?,
    };
    progress.set_total(file.metadata().map_or(0, |found| found.len()));
    let loaded = tokio::task::spawn_blocking(move || {
        let mut source =
            BufReader::with_capacity(1 << 18, Counted::new(file, Arc::clone(&progress)));
        progress.set_used_memory(used_memory_of(source.fill_buf().unwrap_or_default()));
        load(source, options)
    });
    let loaded = loaded.await?.with_context(|| {
        format!(
            "Fatal error loading the DB from {path} (move the file away to start without its data)"
        )
    })?;
    let has_overdue = server.borrow_mut().adopt_loaded(loaded, is_replica);
    if has_overdue {
        remove_overdue(server).await;
    }
    Ok(())
}

/// Removes what had expired when the file was loaded, so that replicas that go on from there are told: some of it at a
/// time, while clients still hear `LOADING`.
async fn remove_overdue(server: &Rc<RefCell<Server>>) {
    let now = server.borrow().clock.now();
    loop {
        {
            let server = &mut *server.borrow_mut();
            // It counts as keys that the load has dropped.
            let before = server.stats.expired_keys;
            let is_end = server.expire_some_keys(now);
            server.stats.expired_keys = before;
            server.flush_stream();
            if is_end {
                return;
            }
        }
        tokio::task::yield_now().await;
    }
}

/// What becomes of the data that are here when a file is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Present {
    /// They are dropped.
    Dropped,
    /// They stay where the file has no such key.
    Replaced,
    /// They stay, and the file must have none of their keys.
    Kept,
}

impl Server {
    /// How data is read: on a master without what has expired.
    pub(crate) fn load_options(&self, is_replica: bool) -> LoadOptions {
        LoadOptions {
            databases: self.keyspace.databases(),
            drop_expired_at: (!is_replica).then(|| self.clock.now().unix.0),
            verify_checksum: self.config.rdbchecksum && !self.switches.skips_checksums,
            string_bytes_max: self.string_bytes_max(),
            thresholds: self.thresholds(),
            usage: self.usage(self.clock.now().unix),
            pace: LoadPace::by(&self.load_delay),
            progress: None,
        }
    }

    /// `DEBUG RELOAD`: loads the file, while everybody waits.
    ///
    /// # Errors
    /// The file cannot be loaded, or has a key that is here and is to be kept; then nothing has changed.
    pub(crate) fn reload(&mut self, present: Present) -> anyhow::Result<()> {
        // The loop does not rest.
        let options = LoadOptions {
            pace: LoadPace::NONE,
            ..self.load_options(!self.replication.is_master())
        };
        let file = File::open(&self.config.dbfilename)?;
        let mut loaded = load(BufReader::with_capacity(1 << 18, file), options)?.keyspace;
        if present == Present::Dropped {
            self.touch_all_for(&loaded);
            self.invalidate_all();
            drop_elsewhere(self.keyspace.replace_with(loaded));
            (0..self.keyspace.databases()).for_each(|db| self.database_ready(db));
            return Ok(());
        }
        let keys = |db| {
            let entries = loaded.db(db).iter();
            entries.map(move |entry| (db, entry.key.clone()))
        };
        let keys: Vec<(usize, Key)> = (0..loaded.databases()).flat_map(keys).collect();
        let is_here = |(db, key): &&(usize, Key)| self.keyspace.get(*db, key).is_some();
        if present == Present::Kept
            && let Some((db, key)) = keys.iter().find(is_here)
        {
            let key = printable(key);
            anyhow::bail!("RDB has duplicated key '{key}' in DB {db}");
        }
        for (db, key) in keys {
            if let Some(entry) = loaded.remove(db, &key) {
                self.keyspace.insert(db, entry);
                self.touch(db, &key);
                self.key_ready(db, &key);
            }
        }
        Ok(())
    }

    /// Takes over the data of the file, and its place in a replication history. True if keys have to go that a master
    /// would not have loaded.
    fn adopt_loaded(&mut self, loaded: Loaded, is_replica: bool) -> bool {
        let overdue = loaded.keys_overdue;
        self.saver.last_load = (loaded.keys_past(), loaded.keys_good());
        tracing::info!(keys = loaded.keys_loaded, "DB loaded from disk");
        drop(self.keyspace.replace_with(loaded.keyspace));
        self.rdb_is_in_keyspace();
        let Some(position) = loaded.replication else {
            return false;
        };
        let (id, offset) = (
            position.repl_id.as_str().into(),
            crate::ids::ReplOffset(position.offset),
        );
        let size = self.config.backlog_size();
        if is_replica {
            self.replication.history.adopt(id, offset, size);
            self.replication.stream_db = usize::try_from(position.stream_db).ok();
            self.replication.holds_less = position.holds_less;
        } else {
            self.replication.history.resume_as_master(id, offset, size);
        }
        overdue > 0 && !is_replica
    }

    /// Hands the settings to those who act on them.
    pub(crate) fn apply_settings(&mut self) {
        let process = &self.config.process;
        let size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        self.front.settings = FrontSettings::from(process);
        if let Some(serving) = &self.serving {
            serving.set_keepalive(process.tcp_keepalive);
        }
        let mut limits = process.output_limits;
        if limits.replica.hard_bytes > 0 {
            // A partial resync may need the whole backlog at once; cut off there it would never end.
            let backlog = self.config.backlog_size() as u64 + BACKLOG_MARGIN_BYTES;
            limits.replica.hard_bytes = limits.replica.hard_bytes.max(backlog);
        }
        self.front.clients.limits = limits;
        self.front
            .limit_client_memory(size(self.config.client_memory_max()));
        self.front.acl.log.entries_max = size(process.acllog_max_len);
        self.front
            .acl
            .set_pubsub_default(process.acl_pubsub_default);
        let size = self.config.backlog_size();
        self.replication.history.resize_backlog(size);
        let delay = self.config.tuning.key_load_delay;
        self.load_delay.store(delay, Ordering::Relaxed);
    }

    /// Notes where `dir` is by now.
    pub(crate) fn note_folder(&mut self) {
        note_folder(&mut self.config.process);
    }

    /// # Errors
    /// The limit of open files leaves no room for so many.
    fn check_maxclients(&self) -> Result<(), (&'static str, String)> {
        let room = clients_with_room(&self.config.process, LINKS);
        if room < self.config.process.maxclients {
            let text = format!(
                "The operating system is not able to handle the specified number of clients, try with {room}"
            );
            return Err(("maxclients", text));
        }
        Ok(())
    }

    /// Acts on settings that `CONFIG SET` has changed: all of them, or none.
    ///
    /// # Errors
    /// A setting and why it cannot be acted on. Everything but the configuration is as it was `before`.
    pub(crate) fn settings_changed(
        &mut self,
        names: &[&'static str],
        before: &ServerConfig,
    ) -> Result<(), (&'static str, String)> {
        // First what can fail, so that the rest never has to be taken back.
        if names.contains(&"maxclients") {
            self.check_maxclients()?;
        }
        if let Some(name) = names.iter().find(|name| name.starts_with("oom-score-adj")) {
            // If something else fails, whoever goes back to the settings of before takes it back.
            self.oom_score_changed().map_err(|_| {
                let text = "Failed to set current oom_score_adj. Check server logs.";
                (*name, text.to_owned())
            })?;
        }
        let tls = self.load_tls_anew(names)?;
        let left = self.enter_folder(names)?;
        let moved = self.listen_elsewhere(names);
        let followed = moved.and_then(|()| {
            let followed = self.follow_settings_of_files(names);
            if followed.is_err() {
                self.listen_where_it_was(names, before);
            }
            followed
        });
        if let Err(refusal) = followed {
            return_to(left);
            return Err(refusal);
        }
        if let (Some(tls), Some(serving)) = (tls, &self.serving) {
            serving.tls().replace(tls.map(Rc::new));
        }
        self.process.tcp_port = self.config.process.port;
        if names.contains(&"loglevel")
            && let Some(log) = self.log
        {
            log.set_level(self.config.process.loglevel.into());
        }
        if names.contains(&"requirepass") {
            let password = self.config.process.requirepass.as_deref();
            self.front.acl.set_requirepass(password.map(str::as_bytes));
        }
        if names.iter().any(|name| name.starts_with("maxmemory")) {
            self.memory_limit_changed();
        }
        self.slowlog.shorten(self.config.tuning.slowlog_max_len);
        self.apply_settings();
        Ok(())
    }

    /// The certificates, where a setting has changed that says which: `Some(None)` for none.
    fn load_tls_anew(
        &self,
        names: &[&'static str],
    ) -> Result<Option<Option<Tls>>, (&'static str, String)> {
        let Some(name) = names.iter().find(|name| name.starts_with("tls-")) else {
            return Ok(None);
        };
        load_tls(&self.config.process).map(Some).map_err(|error| {
            tracing::warn!("TLS stays as it was: {error:#}");
            let text = "Unable to update TLS configuration. Check server logs.";
            (*name, text.to_owned())
        })
    }

    /// Enters the folder of `dir`, where that has changed; the one that is left.
    fn enter_folder(
        &mut self,
        names: &[&'static str],
    ) -> Result<Option<PathBuf>, (&'static str, String)> {
        if !names.contains(&"dir") {
            return Ok(None);
        }
        let left = std::env::current_dir().ok();
        std::env::set_current_dir(&self.config.process.dir)
            .map_err(|error| ("dir", crate::config::forms::os_text(&error)))?;
        note_folder(&mut self.config.process);
        Ok(left)
    }

    /// Listens elsewhere, where a setting has changed that says where.
    fn listen_elsewhere(&mut self, names: &[&'static str]) -> Result<(), (&'static str, String)> {
        let (Some(serving), Some(name)) = (&mut self.serving, names.iter().find(moves)) else {
            return Ok(());
        };
        let options = ListenOptions::from(&self.config.process);
        serving.listen_again(&options).map_err(|error| {
            tracing::warn!("Listening where it was before: {error}");
            let text = if *name == "bind" {
                "Failed to bind to specified addresses."
            } else {
                "Unable to listen on this port. Check server logs."
            };
            (*name, text.to_owned())
        })
    }

    /// Takes back what [`Server::listen_elsewhere`] has done.
    fn listen_where_it_was(&mut self, names: &[&'static str], before: &ServerConfig) {
        let (Some(serving), true) = (&mut self.serving, names.iter().any(|name| moves(&name)))
        else {
            return;
        };
        if let Err(error) = serving.listen_again(&ListenOptions::from(&before.process)) {
            tracing::error!(%error, "where it was listened before a change that was refused, it cannot be any more");
        }
    }

    /// Begins or ends the append-only file, where that has changed.
    fn follow_settings_of_files(
        &mut self,
        names: &[&'static str],
    ) -> Result<(), (&'static str, String)> {
        if !names.contains(&"appendonly") {
            return Ok(());
        }
        self.follow_appendonly()
            .map_err(|reason| ("appendonly", reason))
    }

    /// The log's lines begin with our role, and the kernel goes by it.
    pub(crate) fn note_role(&mut self) {
        // What the kernel refuses is in the log.
        let _ = self.follow_oom_score();
        if let Some(log) = self.log {
            let is_master = self.replication.is_master();
            log.set_role(if is_master {
                Role::Master
            } else {
                Role::Replica
            });
        }
        self.show();
    }
}

fn client_addr(peer: net::Peer) -> ClientAddr {
    match peer {
        net::Peer::Tcp(addr) => ClientAddr::Tcp(addr),
        net::Peer::Unix(path) => ClientAddr::Unix(path.to_string_lossy().into()),
    }
}

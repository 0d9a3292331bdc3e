//! The process: from a configuration to a running server, and to its end.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufReader};
use std::process::ExitCode;
use std::rc::Rc;

use anyhow::Context;
use tokio::task::LocalSet;

use super::persist::rdb_decode::{LoadOptions, Loaded, load};
use super::shutdown::ShutdownOptions;
use super::{Server, ServerSetup, command, cron, replication};
use crate::clock::Clock;
use crate::front::{ClientAddr, Front, FrontSettings, OutputLimits, Peer, serve};
use crate::net::{
    self, Accepted, ListenOptions, Listeners, Log, Role, Signal, Signals, Started, ensure_files,
    load_tls,
};

/// Links of a data server beside its clients: the one to its master.
const LINKS: u64 = 2;
/// What a replica may have queued beside a whole backlog: the reply before it and the stream after it.
const BACKLOG_MARGIN_BYTES: u64 = 1 << 20;

/// Runs a data server until it is told to stop.
///
/// # Errors
/// It cannot start: the folder, the log, the port, TLS, or the data.
pub fn run(setup: ServerSetup) -> anyhow::Result<ExitCode> {
    let role = if setup.config.replicaof.is_some() {
        Role::Replica
    } else {
        Role::Master
    };
    let mut front = Front::new(command::all());
    front.configure(&setup.config.process, &setup.access_lines)?;
    let mut started = Started::enter(&setup.config.process, role)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let local = LocalSet::new();
    let result = local.block_on(&runtime, serve_until_told(setup, front, &mut started));
    started.remove_pid_file();
    started.supervised.stopping();
    // Files that are still being written belong to saves that were given up.
    runtime.shutdown_background();
    result
}

async fn serve_until_told(
    setup: ServerSetup,
    front: Front<Server>,
    started: &mut Started,
) -> anyhow::Result<ExitCode> {
    let process = setup.config.process.clone();
    let replicaof = setup.config.replicaof.clone();
    ensure_files(u64::from(process.maxclients), LINKS);
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
        server.loading = Some(server.clock.now());
    }
    let accepting = Rc::clone(&server);
    let on_accept = Rc::new(move |accepted: Accepted| {
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
        tokio::task::spawn_local(serve(Rc::clone(&accepting), stream, peer));
    });
    let _serving = listeners.serve(tls, on_accept);
    started.write_pid_file();
    tracing::info!(port = process.port, "Server initialized");
    let ended = tokio::select! {
        loaded = load_data(&server) => {
            loaded?;
            None
        }
        ended = until_told(&server, &mut signals, started.log) => Some(ended),
    };
    if let Some(status) = ended {
        return Ok(status);
    }
    tracing::info!("Ready to accept connections");
    started.supervised.ready();
    if let Some((host, port)) = replicaof {
        let server = &mut *server.borrow_mut();
        let has_position = server.replication.history.is_recording();
        server.replicate_from(host, port, has_position);
    }
    tokio::task::spawn_local(cron::run(Rc::clone(&server)));
    tokio::task::spawn_local(replication::wait::open_gate(Rc::clone(&server)));
    Ok(until_told(&server, &mut signals, started.log).await)
}

/// Acts on signals until the process is to end.
async fn until_told(
    server: &Rc<RefCell<Server>>,
    signals: &mut Signals,
    log: &'static Log,
) -> ExitCode {
    let finished = Rc::clone(&server.borrow().shutdown.finished);
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
        if server.loading.is_some() {
            tracing::warn!("Received shutdown signal during loading, exiting now.");
            return ExitCode::SUCCESS;
        }
        // As with redis-server: whoever presses Ctrl-C again does not want to wait.
        if signal == Signal::Interrupt && server.is_shutting_down() {
            tracing::warn!("interrupted again: ending at once, without saving");
            return ExitCode::FAILURE;
        }
        server.begin_shutdown(ShutdownOptions::default(), None);
    }
    tracing::warn!("Redis is now ready to exit, bye bye...");
    ExitCode::SUCCESS
}

/// Loads the RDB file, if there is one, on another thread; clients hear `LOADING` meanwhile.
async fn load_data(server: &Rc<RefCell<Server>>) -> anyhow::Result<()> {
    let (path, options, is_replica) = {
        let server = server.borrow();
        let is_replica = server.config.replicaof.is_some();
        let options = LoadOptions {
            databases: server.keyspace.databases(),
            drop_expired_at: (!is_replica).then(|| server.clock.now().unix.0),
            verify_checksum: server.config.rdbchecksum,
            string_bytes_max: server.string_bytes_max(),
            thresholds: server.thresholds(),
            usage: server.usage(server.clock.now().unix),
        };
        (server.config.dbfilename.clone(), options, is_replica)
    };
    let file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            server.borrow_mut().loading = None;
            return Ok(());
        }
        file => file.with_context(|| format!("cannot open {path}"))?,
    };
    let loaded =
        tokio::task::spawn_blocking(move || load(BufReader::with_capacity(1 << 18, file), options));
    let loaded = loaded.await?.with_context(|| {
        format!(
            "Fatal error loading the DB from {path}; move the file away to start without its data"
        )
    })?;
    server.borrow_mut().adopt_loaded(loaded, is_replica);
    Ok(())
}

impl Server {
    /// Takes over the data of the file, and its place in a replication history.
    fn adopt_loaded(&mut self, loaded: Loaded, is_replica: bool) {
        self.saver.last_load = (loaded.keys_expired, loaded.keys_loaded);
        tracing::info!(keys = loaded.keys_loaded, "DB loaded from disk");
        drop(self.keyspace.replace_with(loaded.keyspace));
        self.loading = None;
        let Some(position) = loaded.replication else {
            return;
        };
        let (id, offset) = (
            position.repl_id.as_str().into(),
            crate::ids::ReplOffset(position.offset),
        );
        let size = self.config.backlog_size();
        if is_replica {
            self.replication.history.adopt(id, offset, size);
            self.replication.stream_db = usize::try_from(position.stream_db).ok();
        } else {
            self.replication.history.resume_as_master(id, offset, size);
        }
    }

    /// Hands the settings to those who act on them.
    pub(crate) fn apply_settings(&mut self) {
        let process = &self.config.process;
        let size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        self.front.settings = FrontSettings {
            maxclients: process.maxclients as usize,
            idle_timeout: process.timeout,
            protected_mode: process.protected_mode,
            query_bytes_max: size(process.query_buffer_limit),
            bulk_bytes_max: size(process.proto_max_bulk_len),
        };
        let mut limits = OutputLimits::from(&process.output_limits);
        if limits.replica.hard_bytes > 0 {
            // A partial resync may need the whole backlog at once; cut off there it would never end.
            let backlog = self.config.backlog_size() as u64 + BACKLOG_MARGIN_BYTES;
            limits.replica.hard_bytes = limits.replica.hard_bytes.max(backlog);
        }
        self.front.clients.limits = limits;
        self.front.acl.log.entries_max = size(process.acllog_max_len);
        let size = self.config.backlog_size();
        self.replication.history.resize_backlog(size);
    }

    /// Acts on settings that `CONFIG SET` has changed.
    ///
    /// # Errors
    /// A setting and why it cannot be acted on.
    pub(crate) fn settings_changed(
        &mut self,
        names: &[&'static str],
    ) -> Result<(), (&'static str, String)> {
        /// What would need new sockets or certificates.
        const AT_START_HERE: [&str; 4] = ["port", "bind", "tls-port", "tls-cert-file"];
        if let Some(name) = names.iter().find(|name| AT_START_HERE.contains(name)) {
            return Err((
                name,
                "this server can change it only at its start".to_owned(),
            ));
        }
        if names.contains(&"dir") {
            std::env::set_current_dir(&self.config.process.dir)
                .map_err(|error| ("dir", crate::config::forms::os_text(&error)))?;
        }
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
        self.apply_settings();
        Ok(())
    }

    /// The log's lines begin with our role.
    pub(crate) fn note_role(&self) {
        if let Some(log) = self.log {
            let is_master = self.replication.is_master();
            log.set_role(if is_master {
                Role::Master
            } else {
                Role::Replica
            });
        }
    }
}

fn client_addr(peer: net::Peer) -> ClientAddr {
    match peer {
        net::Peer::Tcp(addr) => ClientAddr::Tcp(addr),
        net::Peer::Unix(path) => ClientAddr::Unix(path.to_string_lossy().into()),
    }
}

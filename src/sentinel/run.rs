//! The sentinel daemon from its start to its end.

use std::any::Any;
use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;

use anyhow::Context;
use tokio::task::LocalSet;

use super::commands::commands;
use super::driver::{self, Daemon, Parts};
use super::history::History;
use super::links::LinkOptions;
use super::state::Store;
use super::surface::Surface;
use crate::clock::Clock;
use crate::config::forms::os_text;
use crate::config::{ConfigErrors, Process, SentinelConfig};
use crate::front::{self, ClientAddr, Front, ProcessInfo};
use crate::ids::{RunId, random_hex};
use crate::net::{
    self, Accepted, Host, ListenOptions, Listeners, Role, Signals, Started, ensure_files, load_tls,
};

/// Opens what shows the daemon to the world beside its own port; dropping the result closes it.
pub type Open<'a> = &'a dyn Fn(&Process, Surface) -> anyhow::Result<Box<dyn Any>>;

/// Runs the daemon until it is told to end; the exit status. What keeps it from starting is logged, or
/// printed where there is no log yet. `open` is called where there is an `http-port`.
pub fn run(config: SentinelConfig, store: Store, open: Open<'_>) -> i32 {
    let mut front = Front::new(commands());
    if let Err(errors) = front.configure(&config.process, &config.access_lines) {
        eprint!("{errors}");
        return 1;
    }
    let mut started = match Started::enter(&config.process, Role::Sentinel) {
        Ok(started) => started,
        Err(error) => {
            eprintln!("{error:#}");
            return 1;
        }
    };
    match run_started(config, store, front, &mut started, open) {
        Ok(()) => 0,
        Err(error) => {
            tracing::error!("{error:#}. Exiting...");
            started.remove_pid_file();
            1
        }
    }
}

/// Whether the users and renamed commands of a configuration are right, which its reading alone does not
/// tell.
///
/// # Errors
/// All mistakes.
pub fn check_access(config: &SentinelConfig) -> Result<(), ConfigErrors> {
    Front::<Daemon>::new(commands()).configure(&config.process, &config.access_lines)
}

fn run_started(
    config: SentinelConfig,
    store: Store,
    front: Front<Daemon>,
    started: &mut Started,
    open: Open<'_>,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    let result = LocalSet::new().block_on(&runtime, serve(config, store, front, started, open));
    // A look-up or a script's start may hang; nobody waits for it any more.
    runtime.shutdown_background();
    result
}

async fn serve(
    config: SentinelConfig,
    mut store: Store,
    front: Front<Daemon>,
    started: &mut Started,
    open: Open<'_>,
) -> anyhow::Result<()> {
    let clock = Clock::start();
    let SentinelConfig {
        process,
        durable,
        path: config_file,
        ..
    } = config;
    tracing::warn!(
        "sentinel {} is starting, compatible with Redis {}, pid={}",
        env!("CARGO_PKG_VERSION"),
        front::REDIS_VERSION,
        std::process::id()
    );
    let signals = Signals::new().context("cannot handle signals")?;
    let links_known: usize = (durable.masters.iter())
        .map(|master| 2 * (1 + master.replicas.len()) + master.peers.len())
        .sum();
    ensure_files(process.clients_max(), links_known as u64);
    let tls = load_tls(&process)?.map(Rc::new);
    let listeners = Listeners::bind(&ListenOptions::from(&process))?;
    started.write_pid_file();
    tracing::info!("Running mode=sentinel, port={}.", process.port);
    let links = LinkOptions {
        bind_source: bind_source(&process)?,
        tls: tls.clone().filter(|_| process.tls.replication),
    };
    let tcp_port = match process.port {
        0 => process.tls.port,
        port => port,
    };
    let (history, records) =
        History::open(store.history_path()).context("cannot start the writing of decisions")?;
    let parts = Parts {
        clock,
        seed: rand::random(),
        durable,
        save: Box::new(move |snapshot| {
            let written = store.write(&snapshot.durable, &snapshot.users);
            written.map_err(|error| os_text(&error))
        }),
        records,
        history: Some(history),
        links,
        links_reckoned: links_known,
        front,
        process,
        info: ProcessInfo {
            run_id: RunId::from(&*random_hex::<20>(&mut rand::rng())),
            tcp_port,
            config_file: config_file.map_or_else(String::new, |path| path.display().to_string()),
            executable: std::env::current_exe()
                .map_or_else(|_| String::new(), |path| path.display().to_string()),
            started: clock.mono(),
            supervised: started.supervised.as_str(),
            shutdown_at: None,
        },
    };
    let (mut daemon, sources) = Daemon::new(parts).context("cannot start")?;
    let opened = match daemon.process.http.port {
        0 => None,
        _ => {
            let surface = daemon.surface();
            Some(open(&daemon.process, surface)?)
        }
    };
    daemon.watchdog = started.supervised.watchdog();
    let daemon = Rc::new(RefCell::new(daemon));
    let host = Rc::new(Clients(Rc::clone(&daemon)));
    let serving = listeners.serve(Rc::new(RefCell::new(tls)), host);
    started.supervised.ready();
    driver::run(Rc::clone(&daemon), sources, signals).await;
    started.supervised.stopping();
    drop(serving);
    drop(opened);
    started.remove_pid_file();
    tracing::warn!("Sentinel is now ready to exit, bye bye...");
    Ok(())
}

/// Those who connect are clients of this daemon, each on a task of its own.
struct Clients(Rc<RefCell<Daemon>>);

impl Host for Clients {
    fn admit(&self) -> Option<Box<dyn Any>> {
        let admission = self.0.borrow_mut().front.admit()?;
        Some(Box::new(admission))
    }

    fn accept(&self, accepted: Accepted) {
        use std::os::fd::AsRawFd;
        let peer = front::Peer {
            addr: client_addr(&accepted.peer),
            laddr: client_addr(&accepted.local),
            fd: accepted.stream.as_raw_fd(),
        };
        tokio::task::spawn_local(front::serve(Rc::clone(&self.0), accepted.stream, peer));
    }
}

fn client_addr(peer: &net::Peer) -> ClientAddr {
    match peer {
        net::Peer::Tcp(addr) => ClientAddr::Tcp(*addr),
        net::Peer::Unix(path) => ClientAddr::Unix(Rc::from(path.to_string_lossy())),
    }
}

/// `bind-source-addr` as an address; a name is looked up once, here.
fn bind_source(process: &Process) -> anyhow::Result<Option<IpAddr>> {
    let Some(source) = &process.bind_source_addr else {
        return Ok(None);
    };
    let ip = source.parse().ok().or_else(|| net::look_up_now(source));
    let ip = ip.with_context(|| format!("bind-source-addr {source} is not an address"))?;
    Ok(Some(ip))
}

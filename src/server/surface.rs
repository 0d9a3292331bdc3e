//! What others, on other threads, may see of a data server, without ever delaying it.
//!
//! The loop leaves a small picture of itself ten times a second, and whenever its role changes; how old the picture is
//! tells whether the loop runs. What is counted is asked for through a bounded queue. No lock is shared with a reader.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};

use super::Server;
use super::replication::link::LinkState;
use crate::clock::{Clock, Mono, Now};
use crate::front::InfoSections;

/// Between two pictures.
const PERIOD: Duration = Duration::from_millis(100);
/// Requests for what is counted that wait for the loop.
const FACTS_QUEUED_MAX: usize = 4;

/// The end of it that another thread holds.
#[derive(Debug)]
pub struct Surface {
    /// The clock of all moments in here.
    pub clock: Clock,
    /// The newest picture.
    pub latest: Arc<Latest>,
    /// Where to ask for what is counted.
    pub facts: mpsc::Sender<oneshot::Sender<Facts>>,
}

/// The newest picture.
#[derive(Debug)]
pub struct Latest(ArcSwap<ServerView>);

impl Latest {
    /// A picture that is shown until the next.
    pub fn new(view: ServerView) -> Latest {
        Latest(ArcSwap::from_pointee(view))
    }

    /// The newest picture.
    pub fn view(&self) -> Arc<ServerView> {
        self.0.load_full()
    }
}

/// A data server at one moment.
#[derive(Clone, Debug)]
pub struct ServerView {
    /// That moment: until then the loop ran.
    pub at: Now,
    /// What it is.
    pub role: RoleView,
    /// The data are being loaded.
    pub is_loading: bool,
    /// It is about to end.
    pub is_shutting_down: bool,
    /// It hands its role over to a replica.
    pub is_handing_over: bool,
    /// Bytes of its replication history: as a master its end, as a replica how far it has come.
    pub offset: u64,
    /// Its replicas.
    pub replicas: usize,
    /// Why its data cannot be saved, where they are to be.
    pub save_error: Option<&'static str>,
}

/// What a data server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoleView {
    /// A master.
    Master,
    /// A replica.
    Replica(LinkView),
}

/// The link of a replica to its master.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own about the link"
)]
pub struct LinkView {
    /// Host of the master.
    pub host: Arc<str>,
    /// Its port.
    pub port: u16,
    /// The stream is being applied.
    pub is_up: bool,
    /// All data are on their way.
    pub is_syncing: bool,
    /// Bytes that have arrived and are not applied.
    pub unapplied: u64,
    /// When the master was last heard of.
    pub heard_at: Mono,
    /// It wants to be told to clients.
    pub is_announced: bool,
    /// It answers with what it has while the link is down.
    pub serves_stale_data: bool,
}

/// What is counted, for metrics. Made when it is asked for.
#[derive(Clone, Debug)]
pub struct Facts {
    /// All of `INFO`.
    pub info: String,
    /// How many databases there are; `INFO` leaves out those without keys.
    pub databases: u32,
    /// `SLOWLOG LEN`
    pub slowlog_len: usize,
    /// Number and microseconds of the newest entry of the slow log.
    pub slowlog_last: Option<(u64, u64)>,
    /// `LATENCY LATEST`: the event, when (Unix seconds) and how long (milliseconds).
    pub spikes: Vec<(&'static str, u64, u64)>,
    /// `LATENCY HISTOGRAM`
    pub latencies: Vec<CommandLatency>,
}

/// How long the calls of a command took.
#[derive(Clone, Debug)]
pub struct CommandLatency {
    /// Its full name.
    pub command: String,
    /// How many there were.
    pub calls: u64,
    /// Upper bounds in microseconds, with how many were within each.
    pub levels: Vec<(u64, u64)>,
}

impl Server {
    /// From here on the server shows itself to another thread, which may ask what it has counted.
    pub(super) fn surface(server: &Rc<RefCell<Server>>) -> Surface {
        let (facts, asked) = mpsc::channel(FACTS_QUEUED_MAX);
        let latest = {
            let server = &mut *server.borrow_mut();
            let latest = Arc::new(Latest::new(server.view()));
            server.shown = Some(Arc::clone(&latest));
            latest
        };
        let clock = server.borrow().clock;
        tokio::task::spawn_local(show(Rc::clone(server), asked));
        Surface {
            clock,
            latest,
            facts,
        }
    }

    /// Lets other threads see the server as it is now.
    pub(super) fn show(&self) {
        if let Some(latest) = &self.shown {
            latest.0.store(Arc::new(self.view()));
        }
    }

    fn view(&self) -> ServerView {
        let role = match self.replication.link() {
            None => RoleView::Master,
            Some(link) => RoleView::Replica(LinkView {
                host: Arc::clone(&link.host),
                port: link.port,
                is_up: link.is_up(),
                is_syncing: matches!(link.state, LinkState::Syncing { .. }),
                unapplied: link.unapplied,
                heard_at: link.last_io,
                is_announced: self.config.replica_announced,
                serves_stale_data: self.config.serve_stale_data,
            }),
        };
        let save_error = if self.aof_error().is_some() {
            Some("the append-only file cannot be written")
        } else if self.lacks_wanted_save() {
            Some("the last save has failed")
        } else {
            None
        };
        ServerView {
            at: self.clock.now(),
            role,
            is_loading: self.loading.is_some(),
            is_shutting_down: self.is_shutting_down(),
            is_handing_over: self.replication.failover.is_some(),
            offset: self.replication.history.offset().0,
            replicas: self.replication.replicas.len(),
            save_error,
        }
    }

    fn facts(&self) -> Facts {
        let everything = InfoSections::parse(["everything".into()]);
        let catalog = self.front.table.catalog();
        let latencies = catalog.iter().filter_map(|(id, entry)| {
            let histogram = self.metrics.latency(id)?;
            Some(CommandLatency {
                command: entry.full_name.to_string(),
                calls: histogram.total(),
                levels: histogram.levels(),
            })
        });
        let spikes = self.latencies.iter().filter_map(|(event, series)| {
            let (at, ms) = series.last()?;
            Some((event, at, ms))
        });
        let newest = self.slowlog.entries().next();
        Facts {
            info: self.info(&everything),
            databases: self.config.databases,
            slowlog_len: self.slowlog.entries().len(),
            slowlog_last: newest.map(|slow| (slow.id, slow.micros)),
            spikes: spikes.collect(),
            latencies: latencies.collect(),
        }
    }
}

/// Shows the server for as long as somebody may look.
async fn show(server: Rc<RefCell<Server>>, mut asked: mpsc::Receiver<oneshot::Sender<Facts>>) {
    let mut tick = tokio::time::interval(PERIOD);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => server.borrow().show(),
            reply = asked.recv() => {
                let Some(reply) = reply else { return };
                // Who asked may have given up.
                let _ = reply.send(server.borrow().facts());
            }
        }
    }
}

//! `SHUTDOWN` and SIGTERM: say goodbye to the sentinels, let replicas catch up, save, end.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::Server;
use super::persist::aof::{State, settle};
use super::replication::master::Feed;
use crate::clock::Mono;
use crate::front::{ClientId, PauseMode, PauseReason, WaitId};
use crate::ids::ReplOffset;

/// Where sentinels listen on every server.
const HELLO_CHANNEL: &[u8] = b"__sentinel__:hello";
/// What tells our own sentinels that the closing connections are meant. A redis-sentinel drops it, because it
/// is no hello.
const GOODBYE: &[u8] = b"shutdown";
/// What those get who asked for a shutdown that fails or is called off.
const FAILED: &str = "ERR Errors trying to SHUTDOWN. Check logs.";
/// Who signals again so soon after a refusal wants an end without the data.
const INSISTING: Duration = Duration::from_secs(10);
/// How long connections have to write what they have when the server ends.
const LAST_WRITES: Duration = Duration::from_millis(50);

/// What a shutdown does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShutdownOptions {
    /// Whether the data are saved.
    pub(crate) save: SaveChoice,
    /// Do not wait for replicas.
    pub(crate) now: bool,
    /// End even if the data cannot be saved.
    pub(crate) force: bool,
}

/// Whether to save.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SaveChoice {
    /// If there are save points.
    #[default]
    AsConfigured,
    /// Whatever there is.
    Always,
    /// Not even then.
    Never,
}

/// A shutdown in progress.
#[derive(Debug, Default)]
pub(crate) struct Shutdown {
    task: Option<AbortHandle>,
    /// It waits for replicas no longer: no file is to be begun any more.
    is_ending: bool,
    /// When one was refused because the append-only file has no base yet.
    refused_at: Option<Mono>,
    /// Clients that asked for it.
    waiting: Vec<WaitId>,
    /// A replica has acknowledged something, or gone.
    pub(crate) acked: Rc<Notify>,
    /// The server goes on after all.
    pub(crate) called_off: Rc<Notify>,
    /// Everything is done.
    pub(crate) finished: Rc<Notify>,
}

impl Server {
    /// Whether a shutdown is in progress.
    pub(crate) fn is_shutting_down(&self) -> bool {
        self.shutdown.task.is_some()
    }

    /// Whether a shutdown in progress has come to its own files.
    pub(crate) fn is_ending(&self) -> bool {
        self.shutdown.is_ending
    }

    /// Whether a shutdown that was asked for at this time has been refused a moment ago for want of a first base, and that
    /// still cannot be written. While it is being written, or when it is there, nobody means to end without the data.
    pub(crate) fn was_just_refused(&self, asked_at: Mono) -> bool {
        let is_stuck = self.aof.state == State::First && self.aof_error().is_some();
        let refused_at = self.shutdown.refused_at.filter(|_| is_stuck);
        refused_at.is_some_and(|at| at >= asked_at && self.clock.mono().since(at) <= INSISTING)
    }

    /// Begins to shut down, if that is not happening already. `client` gets an answer only if it fails.
    pub(crate) fn begin_shutdown(&mut self, options: ShutdownOptions, client: Option<ClientId>) {
        if let Some(client) = client {
            let on = self.front.clients.wait(client, Mono::NEVER, false);
            self.shutdown.waiting.push(on);
        }
        if self.shutdown.task.is_none() {
            let by = client.and_then(|id| self.front.clients.get(id));
            let by = by.map_or(String::new(), |client| format!(" by {}", client.addr));
            tracing::warn!("User requested shutdown{by}...");
            let task = tokio::task::spawn_local(shut_down(self.handle(), options));
            self.shutdown.task = Some(task.abort_handle());
            self.show();
        }
    }

    /// Gives up a shutdown that waits for replicas; false when there is none.
    pub(crate) fn abort_shutdown(&mut self) -> bool {
        let Some(task) = self.shutdown.task.take() else {
            return false;
        };
        task.abort();
        tracing::info!("Shutdown manually aborted.");
        self.end_shutdown();
        true
    }

    fn shutdown_failed(&mut self) {
        tracing::warn!(
            "Errors trying to shut down the server. Check the logs for more information."
        );
        for on in &self.shutdown.waiting {
            let clients = &self.front.clients;
            let client = clients.waiting_for(*on).and_then(|id| clients.get(id));
            if let Some(command) = client.and_then(|client| client.last_command) {
                self.metrics.unblocked(command, 0, true, None);
            }
        }
        self.end_shutdown();
    }

    /// The server goes on.
    fn end_shutdown(&mut self) {
        self.shutdown.task = None;
        self.shutdown.is_ending = false;
        self.process.shutdown_at = None;
        self.front.unpause(PauseReason::Shutdown);
        self.shutdown.called_off.notify_one();
        for on in std::mem::take(&mut self.shutdown.waiting) {
            let clients = &mut self.front.clients;
            if clients.resolve_with(on, |reply| reply.error(FAILED)) {
                self.count_error_to_another(FAILED);
            }
        }
    }

    /// What could not be written by the end goes with the process.
    fn tell_what_the_aof_lacks(&self) {
        if self.aof.state == State::First {
            let reason = self.aof_error().unwrap_or("it was not written to its end");
            tracing::error!(
                "The AOF file has no base yet ({reason}): it holds nothing of the present data"
            );
            return;
        }
        let Some(error) = self.aof_error() else {
            return;
        };
        match self.aof.writer.pending_bytes() {
            0 => tracing::error!(
                "The AOF file has everything, but could not be synced ({error}): a power cut may take the newest writes"
            ),
            bytes => tracing::error!(
                "The newest {bytes} bytes could not be written to the AOF file ({error}): they are lost, although \
                 their writes have been answered"
            ),
        }
    }

    /// Whether the append-only file holds nothing yet, so that the next start would find no data; the log says so. Who
    /// wants none saved need not wait for a base that is not even being written.
    fn awaits_first_base(&self, save: SaveChoice) -> bool {
        if self.aof.state != State::First {
            return false;
        }
        if self.aof.rewriting.is_running() {
            tracing::warn!(
                "Writing initial AOF, can't exit. Stop the server again when it is there; SHUTDOWN NOSAVE FORCE ends it \
                 without its data"
            );
            return true;
        }
        if save == SaveChoice::Never {
            return false;
        }
        match self.aof_error() {
            Some(reason) => tracing::error!(
                "The AOF file has no base yet, can't exit ({reason}). It is tried again within a minute: stop the server \
                 again when it is there; SHUTDOWN NOSAVE, or a second signal, ends it without its data"
            ),
            None => tracing::error!(
                "The AOF file has no base yet, can't exit (another file is being written). Stop the server again when it \
                 is there; SHUTDOWN NOSAVE ends it without its data"
            ),
        }
        true
    }

    /// Replicas that lack something, be it that all data are still on their way to them.
    fn replicas_behind(&self, offset: ReplOffset) -> impl Iterator<Item = (ClientId, &Feed)> {
        self.feeds().filter(move |(_, feed)| feed.acked < offset)
    }

    fn has_replica_behind(&self, offset: ReplOffset) -> bool {
        self.replicas_behind(offset).next().is_some()
    }

    /// Who is in sync, and who misses the newest writes.
    fn tell_who_lags(&self, offset: ReplOffset) {
        let all = self.feeds().count();
        if all == 0 {
            return;
        }
        let now = self.clock.mono();
        for (id, feed) in self.replicas_behind(offset) {
            if let Some(client) = self.front.clients.get(id) {
                tracing::warn!(
                    "Lagging replica {}: {} bytes behind, heard of {} s ago, {}",
                    client.addr,
                    offset.0 - feed.acked.0,
                    now.since(feed.acked_at).as_secs(),
                    feed.state_name(),
                );
            }
        }
        let in_sync = all - self.replicas_behind(offset).count();
        tracing::info!("{in_sync} of {all} replicas are in sync when shutting down");
    }
}

async fn shut_down(server: Rc<RefCell<Server>>, options: ShutdownOptions) {
    let offset = server.borrow().replication.history.offset();
    if !options.now {
        wait_for_replicas(&server, offset).await;
    }
    {
        let server = &mut *server.borrow_mut();
        server.tell_who_lags(offset);
        server.shutdown.is_ending = true;
        if server.awaits_first_base(options.save) {
            if !options.force {
                server.shutdown.refused_at = Some(server.clock.mono());
                server.shutdown_failed();
                return;
            }
            tracing::warn!("Exit anyway.");
        }
        server.cancel_rewrite();
        server.end_unit();
        // Nothing may be acknowledged that the files do not hold.
        server
            .front
            .pause(PauseReason::Shutdown, PauseMode::All, Mono::NEVER);
    }
    if server.borrow().aof.state == State::On {
        tracing::info!("Calling fsync() on the AOF file.");
        settle(&server).await;
    }
    {
        let server = &mut *server.borrow_mut();
        let save = match options.save {
            SaveChoice::Always => true,
            SaveChoice::Never => false,
            SaveChoice::AsConfigured => !server.config.save.is_empty(),
        };
        server.cancel_save();
        server.end_transfer();
        server.end_unit();
        server.flush_stream();
        if save && !server.is_loading() {
            tracing::info!("Saving the final RDB snapshot before exiting.");
            if let Err(error) = server.save_now() {
                let file = server.in_dir(&server.config.dbfilename);
                let file = file.display();
                if !options.force {
                    tracing::error!(
                        "Error trying to save the DB, can't exit ({file}: {error}). Once it can be written, stop the \
                         server again; SHUTDOWN NOSAVE ends it without its data"
                    );
                    server.shutdown_failed();
                    return;
                }
                tracing::error!("Error trying to save the DB. Exit anyway ({file}: {error}).");
            }
        }
        server.tell_what_the_aof_lacks();
        let now = server.clock.mono();
        server.front.publish(HELLO_CHANNEL, GOODBYE, now);
    }
    tokio::time::sleep(LAST_WRITES).await;
    server.borrow().shutdown.finished.notify_one();
}

/// Stops writes and waits until every replica has everything, for `shutdown-timeout`. Those of a replica too: it
/// applies nothing more meanwhile (see [`Server::obstacle`]), and they go on from where it is when it is back.
async fn wait_for_replicas(server: &Rc<RefCell<Server>>, offset: ReplOffset) {
    let (acked, limit) = {
        let server = &mut *server.borrow_mut();
        let limit = server.config.shutdown_timeout;
        if limit.is_zero() || !server.has_replica_behind(offset) {
            return;
        }
        tracing::info!("Waiting for replicas before shutting down.");
        server
            .front
            .pause(PauseReason::Shutdown, PauseMode::Write, Mono::NEVER);
        server.ask_for_acks();
        server.process.shutdown_at = Some(server.clock.mono() + limit);
        (Rc::clone(&server.shutdown.acked), limit)
    };
    // The answer leaves out the bytes of the question itself: the offset before it counts.
    let all = async {
        while server.borrow().has_replica_behind(offset) {
            acked.notified().await;
        }
    };
    // Who has not caught up by then is told of behind it.
    let _ = tokio::time::timeout(limit, all).await;
}

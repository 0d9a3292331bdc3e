//! Replies that wait: behind the propagation of their turn, for the append-only file, and for `WAIT`.
//!
//! No reply overtakes its propagation. The replies of a turn that wrote are held; the replicas' connections,
//! woken in the same turn, write first; then the gate lets the replies go. A replica whose socket is full
//! delays nobody: it had its chance.
//!
//! The gate runs after all clients that were ready with the first one, and writes what all of them have appended
//! to the append-only file at once. Only then do their replies leave; with `appendfsync always`, after one fsync
//! for all of them. A client that only read waits as well: what it has seen may not be safe yet. Who has neither read
//! nor changed data (`PING`, `INFO`, `PUBLISH`) never waits for a disk: a slow one must not look like a dead server.
//!
//! Whoever is told of a write without having asked waits too: a subscriber, a client that tracks keys, a monitor. What was
//! queued for it before its hold began leaves at the end of that, whatever has come meanwhile; for the rest another
//! begins then. How far the append-only file must be is noted when the gate looks at a hold for the first time:
//! by then the turn is over in which the hold began, and all that this turn has written has been appended. A turn that
//! has nothing to do with data, but only publishes or ends a wait, keeps nothing back: it tells of no write.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use tokio::task::AbortHandle;

use crate::clock::Mono;
use crate::front::{ClientId, ClientKind, WaitId};
use crate::ids::ReplOffset;
use crate::server::Server;

/// Holds replies until the connections of the replicas have run.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// Held since the gate last looked: the replicas may not have run yet.
    fresh: Vec<Fresh>,
    /// The replicas have run.
    ripe: Vec<Held>,
    /// Clients that this turn has served. Their replies are in its stream.
    served: Vec<ClientId>,
    /// What has been done since the end of the last turn.
    pub(crate) turn: Turn,
    waker: Option<Waker>,
    /// Clients that wait for acknowledgements.
    pub(crate) waiters: Vec<Waiter>,
    /// The replicas are to be asked for them: once for all clients of a round, and not while clients are paused.
    pub(super) is_to_ask: bool,
}

/// What a turn has done.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Turn {
    /// Something has been queued for the replicas.
    pub(super) has_sent: bool,
    /// There is a write among that.
    pub(crate) has_written: bool,
    /// A command has run that reads or changes data.
    pub(crate) has_seen_data: bool,
}

/// Replies that have been held since the gate last looked.
#[derive(Clone, Copy, Debug)]
struct Fresh {
    on: WaitId,
    /// The replicas have got something that must leave first.
    for_replicas: bool,
    /// They may tell of what the append-only file does not hold yet.
    for_file: bool,
}

/// Replies that are held.
#[derive(Clone, Copy, Debug)]
struct Held {
    on: WaitId,
    /// Up to where the append-only file must be safe; `None`: they tell nothing of it.
    position: Option<u64>,
}

/// A client in `WAIT`.
#[derive(Debug)]
pub(crate) struct Waiter {
    on: WaitId,
    offset: ReplOffset,
    replicas: i64,
    _timer: Option<Timer>,
}

/// The task that ends a wait in time; it ends with the wait.
#[derive(Debug)]
pub(crate) struct Timer(AbortHandle);

impl Drop for Timer {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Gate {
    /// Holds one client's replies: for a round, where replicas got something. Call it after they were woken.
    fn hold(&mut self, fresh: Fresh) {
        self.fresh.push(fresh);
        self.wake();
    }

    /// Takes the `WAIT` with this number, if there is one.
    fn take_waiter(&mut self, on: WaitId) -> Option<Waiter> {
        let at = self.waiters.iter().position(|waiter| waiter.on == on)?;
        Some(self.waiters.swap_remove(at))
    }

    /// Has the gate look at everything, after all that was woken before.
    pub(crate) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// Opens the gate, round after round. Tasks run in the order in which they were woken, and whoever holds
/// something wakes the replicas before the gate; what was held in a round is released in the next one.
pub(crate) async fn open_gate(server: Rc<RefCell<Server>>) {
    poll_fn(|cx| {
        let mut server = server.borrow_mut();
        let server = &mut *server;
        server.ask_for_waiters();
        server.advance_aof();
        let position = server.aof.writer.appended();
        let gate = &mut server.replication.gate;
        let mut due = std::mem::take(&mut gate.ripe);
        for fresh in gate.fresh.drain(..) {
            let on = fresh.on;
            let position = fresh.for_file.then_some(position);
            let rank = if fresh.for_replicas {
                &mut gate.ripe
            } else {
                &mut due
            };
            rank.push(Held { on, position });
        }
        for Held { on, position } in due {
            match position {
                Some(position) => server.release_when_settled(position, on),
                None => server.release(on),
            }
        }
        let gate = &mut server.replication.gate;
        if gate.ripe.is_empty() && gate.fresh.is_empty() {
            gate.waker = Some(cx.waker().clone());
        } else {
            cx.waker().wake_by_ref();
        }
        Poll::<()>::Pending
    })
    .await;
}

impl Server {
    /// The end of a client's turn: its writes go to the replicas and to the append-only file, and its replies
    /// wait until they went.
    pub(crate) fn end_turn_of(&mut self, client: ClientId) {
        self.flush_stream();
        let turn = self.replication.gate.turn;
        let for_replicas = turn.has_sent;
        // What is no command of data may have written too: a key that expired meanwhile.
        let for_file = (turn.has_seen_data || turn.has_written) && self.has_unsettled_aof();
        let found = self.front.clients.get(client);
        // What goes to a replica is no reply.
        let has_replies = found.is_some_and(|c| c.is_open() && c.kind != ClientKind::Replica);
        if has_replies && (for_replicas || for_file) {
            let on = self.front.clients.hold_turn(client);
            self.hold_on(on, for_replicas, for_file);
        }
        self.hold_prompted();
    }

    /// Holds those who got something by what others did, or by what came with time: a reply that they were
    /// waiting for, a message. It may tell of a write that is not safe yet. Call it when the stream has been flushed.
    pub(crate) fn hold_prompted(&mut self) {
        let gate = &mut self.replication.gate;
        let turn = std::mem::take(&mut gate.turn);
        let mut told = std::mem::take(&mut gate.served);
        let has_replicas = !self.replication.replicas.is_empty();
        let is_unsettled = self.has_unsettled_aof();
        // With its first base still to come nothing is recorded, and yet nothing is safe.
        let is_held = has_replicas || self.aof.writer.is_recording() || is_unsettled;
        // A miss is told as well.
        let tells_of_data = turn.has_written || turn.has_seen_data;
        let may_be_early = turn.has_sent && turn.has_written || tells_of_data && is_unsettled;
        let prompted = self.front.clients.take_prompted(is_held);
        if is_held && may_be_early {
            told.extend(prompted);
        }
        for client in told {
            if self.front.clients.get(client).is_some_and(|c| c.is_open()) {
                let on = self.front.clients.hold(client);
                self.hold_on(on, has_replicas, true);
            }
        }
    }

    fn hold_on(&mut self, on: Option<WaitId>, for_replicas: bool, for_file: bool) {
        if let Some(on) = on {
            self.replication.gate.hold(Fresh {
                on,
                for_replicas,
                for_file,
            });
        }
    }

    /// Lets go what a client was held with, and holds what has come for it since.
    pub(crate) fn release(&mut self, on: WaitId) {
        let more = self.front.clients.release(on);
        self.hold_on(more, !self.replication.replicas.is_empty(), true);
    }

    /// Keeps back the reply of a client that another one's turn has served. What it was served with is in
    /// the stream, which goes to the replicas at the end of this turn.
    pub(crate) fn hold_behind_stream(&mut self, client: ClientId) {
        if !self.replication.replicas.is_empty() {
            self.replication.gate.served.push(client);
        }
    }

    /// Replicas that have acknowledged everything up to `offset`.
    pub(crate) fn replicas_at(&self, offset: ReplOffset) -> i64 {
        let feeds = self.feeds();
        let count = feeds
            .filter(|(_, feed)| feed.is_online() && feed.acked >= offset)
            .count();
        i64::try_from(count).expect("few replicas")
    }

    /// Lets a client wait until `replicas` have acknowledged `offset`, or until `until`.
    pub(crate) fn wait_for_replicas(
        &mut self,
        client: ClientId,
        offset: ReplOffset,
        replicas: i64,
        until: Mono,
    ) {
        let on = self.front.clients.wait(client, until, true);
        let timer = self.wake_at(until, on);
        self.replication.gate.waiters.push(Waiter {
            on,
            offset,
            replicas,
            _timer: timer,
        });
        self.replication.gate.is_to_ask = true;
        self.replication.gate.wake();
    }

    /// Has [`Server::end_wait`] called at this time, if ever.
    pub(crate) fn wake_at(&self, until: Mono, on: WaitId) -> Option<Timer> {
        (until != Mono::NEVER).then(|| {
            let server = self.handle();
            let wake = tokio::time::Instant::from_std(self.clock.instant(until));
            let task = tokio::task::spawn_local(async move {
                tokio::time::sleep_until(wake).await;
                server.borrow_mut().end_wait(on);
            });
            Timer(task.abort_handle())
        })
    }

    /// Forgets the `WAIT` of a client that goes.
    pub(crate) fn forget_waiter(&mut self, client: ClientId) {
        let clients = &self.front.clients;
        self.replication.gate.waiters.retain(|waiter| {
            let waiting = clients.waiting_for(waiter.on);
            waiting.is_some_and(|id| id != client)
        });
    }

    /// Ends one wait with what there is: its time is over.
    pub(crate) fn end_wait(&mut self, on: WaitId) {
        if let Some(waiter) = self.replication.gate.take_waiter(on) {
            let count = self.replicas_at(waiter.offset);
            self.answer_wait(on, |reply| reply.integer(count));
        } else {
            self.end_blocked(on);
        }
    }

    /// Ends one wait with an error.
    pub(crate) fn fail_wait(&mut self, on: WaitId, text: &'static str) {
        self.forget_blocked(on);
        self.replication.gate.take_waiter(on);
        if self.answer_wait(on, |reply| reply.error(text)) {
            self.count_error_to_another(text);
        }
    }

    /// Answers those in `WAIT` that have what they wait for.
    pub(crate) fn serve_waiters(&mut self) {
        if self.replication.gate.waiters.is_empty() {
            return;
        }
        let waiters = std::mem::take(&mut self.replication.gate.waiters);
        for waiter in waiters {
            let count = self.replicas_at(waiter.offset);
            if self.front.clients.waiting_for(waiter.on).is_none() {
                continue;
            }
            if count >= waiter.replicas {
                self.answer_wait(waiter.on, |reply| reply.integer(count));
            } else {
                self.replication.gate.waiters.push(waiter);
            }
        }
    }

    /// Ends every wait with an error: this server is no longer what they wait on.
    pub(crate) fn release_waiters(&mut self) {
        let waiters = std::mem::take(&mut self.replication.gate.waiters);
        self.release_blocked();
        for waiter in waiters {
            self.fail_and_close(waiter.on);
        }
    }
}

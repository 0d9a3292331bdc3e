//! The table of connected clients.

use hashbrown::HashMap;
use slab::Slab;

use super::acl::UserRef;
use super::client::{Blocked, Client, ClientId, ClientKind, Closing, Peer, ReplyMode, WaitId};
use super::client_memory::ClientMemory;
use super::output::Chunk;
use super::reply::Reply;
use crate::clock::Mono;
use crate::config::process::OutputLimits;
use crate::resp::Value;
use crate::room::GiveBack;

/// How many replies of one client may be still to come before its further commands wait. Many masters
/// share one connection of a peer, and each may ask for a vote.
const GAPS_MAX: usize = 1024;

/// All connected clients of a program.
pub struct Clients<S> {
    /// The clients, each in a place of its own for as long as it is connected.
    places: Slab<Client<S>>,
    by_id: HashMap<ClientId, usize>,
    /// Who was looked up last, and where it is: nearly always who is looked up next.
    hot: (ClientId, usize),
    waiting: HashMap<WaitId, ClientId>,
    last_id: u64,
    last_wait: u64,
    /// `client-output-buffer-limit`
    pub limits: OutputLimits,
    pub(super) memory: ClientMemory,
    prompted: Prompted,
}

/// Who has got something outside their own turn.
#[derive(Debug, Default)]
struct Prompted {
    /// It is noted.
    is_noted: bool,
    /// Each of them once, however much came for it: how much does come is up to others.
    clients: Vec<ClientId>,
}

impl Prompted {
    fn note<S>(&mut self, client: &mut Client<S>) {
        if self.is_noted && !client.is_prompted {
            client.is_prompted = true;
            self.clients.push(client.id);
        }
    }
}

impl<S: Default> Default for Clients<S> {
    fn default() -> Clients<S> {
        Clients {
            places: Slab::new(),
            by_id: HashMap::new(),
            // No client has this number.
            hot: (ClientId(0), 0),
            waiting: HashMap::new(),
            last_id: 0,
            last_wait: 0,
            limits: OutputLimits::default(),
            memory: ClientMemory::default(),
            prompted: Prompted::default(),
        }
    }
}

impl<S: Default> Clients<S> {
    /// Adds a client. Connections do so; a program does it for a link that it opened itself and wants
    /// to see in `CLIENT LIST`.
    pub fn add(&mut self, peer: Peer, user: UserRef, now: Mono) -> ClientId {
        self.last_id += 1;
        let id = ClientId(self.last_id);
        let place = self.places.insert(Client::new(id, peer, user, now));
        self.by_id.insert(id, place);
        self.memory.count(&mut self.places[place]);
        id
    }

    /// Forgets a client. Connections do so at their end; to end one, use [`Client::close`].
    pub fn remove(&mut self, id: ClientId) -> Option<Client<S>> {
        let client = self.places.remove(self.by_id.remove(&id)?);
        self.hot = (ClientId(0), 0);
        self.memory.forget(&client);
        if let Some(Blocked::Waiting { on, .. }) = client.blocked {
            self.waiting.remove(&on);
        }
        for on in client.held.into_iter().chain(client.output.gaps()) {
            self.waiting.remove(&on);
        }
        self.by_id.give_back();
        self.waiting.give_back();
        Some(client)
    }

    /// One client. `None` when it has gone.
    pub fn get(&self, id: ClientId) -> Option<&Client<S>> {
        self.places.get(self.place(id)?)
    }

    /// Where a client is.
    #[inline]
    fn place(&self, id: ClientId) -> Option<usize> {
        if self.hot.0 == id {
            return Some(self.hot.1);
        }
        self.by_id.get(&id).copied()
    }

    /// One client, to be changed.
    pub fn get_mut(&mut self, id: ClientId) -> Option<&mut Client<S>> {
        let place = self.place(id)?;
        self.places.get_mut(place)
    }

    /// The client whose command is being executed.
    ///
    /// # Panics
    /// When it is not in the table: a connection removes its client only after its last command.
    #[inline]
    pub fn current(&mut self, id: ClientId) -> &mut Client<S> {
        let place = self
            .place(id)
            .expect("a client stays in the table while its command runs");
        self.hot = (id, place);
        &mut self.places[place]
    }

    /// All that are not being closed, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Client<S>> {
        self.places
            .iter()
            .map(|(_, client)| client)
            .filter(|client| client.is_open())
    }

    /// All that are not being closed, in no order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Client<S>> {
        self.places
            .iter_mut()
            .map(|(_, client)| client)
            .filter(|client| client.is_open())
    }

    /// All of them, and the sum of what they take.
    pub(super) fn all_with_memory(
        &mut self,
    ) -> (impl Iterator<Item = &mut Client<S>>, &mut ClientMemory) {
        let clients = self.places.iter_mut().map(|(_, client)| client);
        (clients, &mut self.memory)
    }

    /// Counts one client anew.
    pub(super) fn recount(&mut self, id: ClientId) {
        let place = self.place(id);
        if let Some(client) = place.and_then(|place| self.places.get_mut(place)) {
            self.memory.count(client);
        }
    }

    /// Their ids in the order in which they connected.
    pub fn ids(&self) -> Vec<ClientId> {
        let mut ids: Vec<ClientId> = self.iter().map(|client| client.id).collect();
        ids.sort_unstable();
        ids
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// True when nobody is connected.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Queues a message for a client; closes the client when its queue outgrows the limit.
    /// False when the client has gone, is closed, or gets no more than its replies before it is.
    pub fn send(&mut self, id: ClientId, message: impl Into<Chunk>, now: Mono) -> bool {
        let limits = self.limits;
        let known = self.place(id).and_then(|place| self.places.get_mut(place));
        let Some(client) = known.filter(|client| client.closing == Closing::No) else {
            return false;
        };
        client.output.push_unasked(message.into());
        self.memory.count(client);
        if client.kind != ClientKind::Replica {
            self.prompted.note(client);
        }
        if client.is_over_output_limit(&limits, now) {
            tracing::warn!(
                client = %client.id, addr = %client.addr, bytes = client.output.len(),
                "client closed: its output has reached client-output-buffer-limit"
            );
            client.close(Closing::Now);
            return false;
        }
        client.wake();
        true
    }

    /// Takes the list of those who got something outside their own turn since it was last taken, for a program that may
    /// have to hold that back, and says whether it will be asked for again.
    pub fn take_prompted(&mut self, is_noted: bool) -> Vec<ClientId> {
        self.prompted.is_noted = is_noted;
        // Its room goes with it: nobody knows whether so many will be told of something again.
        let clients = std::mem::take(&mut self.prompted.clients);
        for id in &clients {
            if let Some(client) = self.get_mut(*id) {
                client.is_prompted = false;
            }
        }
        clients
    }

    /// Lets a client wait for something; its further commands stay queued. Without a reply until
    /// [`Clients::resolve`].
    pub fn wait(&mut self, id: ClientId, until: Mono, can_unblock: bool) -> WaitId {
        self.last_wait += 1;
        let on = WaitId(self.last_wait);
        self.current(id).blocked = Some(Blocked::Waiting {
            on,
            until,
            can_unblock,
        });
        self.waiting.insert(on, id);
        on
    }

    /// Puts a client's command off until [`Clients::resume_put_off`].
    pub(super) fn put_off(&mut self, id: ClientId) {
        self.last_wait += 1;
        self.current(id).blocked = Some(Blocked::Paused(WaitId(self.last_wait)));
    }

    /// Lets those go on whose commands were put off, in the order in which they were.
    pub(super) fn resume_put_off(&mut self) {
        let put_off = |client: &Client<S>| match client.blocked {
            Some(Blocked::Paused(turn)) => Some((turn, client.id)),
            Some(Blocked::Waiting { .. }) | None => None,
        };
        let mut turns: Vec<(WaitId, ClientId)> = self.iter().filter_map(put_off).collect();
        turns.sort_unstable();
        for (_, id) in turns {
            let client = self.current(id);
            client.blocked = None;
            client.wake();
        }
    }

    /// As [`Clients::wait`], but the client's further commands run meanwhile, and only their replies
    /// stay behind this one. They wait all the same when too many replies are still to come, or where
    /// replies are skipped.
    pub fn wait_in_order(&mut self, id: ClientId) -> WaitId {
        let client = self.current(id);
        if client.output.gap_count() >= GAPS_MAX || client.reply_mode != ReplyMode::On {
            return self.wait(id, Mono::NEVER, false);
        }
        self.last_wait += 1;
        let on = WaitId(self.last_wait);
        self.current(id).output.leave_gap(on);
        self.waiting.insert(on, id);
        on
    }

    /// Ends the wait of a client that goes without a reply.
    pub(super) fn stop_waiting(&mut self, id: ClientId) {
        if let Some(Blocked::Waiting { on, .. }) = self.current(id).blocked.take() {
            self.waiting.remove(&on);
        }
    }

    /// Keeps back what is queued for a client until [`Clients::release`], for a program that waits for a write to
    /// become durable. `None` if something is kept back already: what was queued since will be held then, so
    /// that a client to which something goes at any time gets it all the same.
    pub fn hold(&mut self, id: ClientId) -> Option<WaitId> {
        let client = self.current(id);
        if client.held.is_some() {
            return None;
        }
        client.output.hold();
        Some(self.hold_on(id))
    }

    /// As [`Clients::hold`], and keeps its further commands waiting until the next release. For
    /// [`super::Program::end_turn`], when the replies of the turn are what is kept back.
    pub fn hold_turn(&mut self, id: ClientId) -> Option<WaitId> {
        self.current(id).is_kept = true;
        self.hold(id)
    }

    fn hold_on(&mut self, id: ClientId) -> WaitId {
        self.last_wait += 1;
        let on = WaitId(self.last_wait);
        self.current(id).held = Some(on);
        self.waiting.insert(on, id);
        on
    }

    /// The client that waits for `on`, if it still does.
    pub fn waiting_for(&self, on: WaitId) -> Option<ClientId> {
        self.waiting.get(&on).copied()
    }

    /// Ends a wait with a reply. False when nobody waits for it any more.
    pub fn resolve(&mut self, on: WaitId, reply: &Value) -> bool {
        self.resolve_with(on, |out| out.value(reply))
    }

    /// Ends a wait with a reply that `write` writes.
    pub fn resolve_with(&mut self, on: WaitId, write: impl FnOnce(&mut Reply)) -> bool {
        let Some(id) = self.waiting.remove(&on) else {
            return false;
        };
        let place = self.place(id);
        let Some(client) = place.and_then(|place| self.places.get_mut(place)) else {
            return false;
        };
        self.prompted.note(client);
        let mut reply = Reply::new(client.protocol);
        write(&mut reply);
        let blocks = |blocked| matches!(blocked, Blocked::Waiting { on: it, .. } if it == on);
        if !client.blocked.is_some_and(blocks) {
            let is_filled = client.output.fill_gap(on, reply.into_bytes());
            self.memory.count(client);
            client.wake();
            return is_filled;
        }
        client.blocked = None;
        if !client.leaves_out_reply() {
            client.output.push(reply.into_bytes());
        }
        self.memory.count(client);
        client.wake();
        true
    }

    /// Begins the reply of a client that waits. As with one whose command runs, what is sent to it until
    /// [`Clients::resolve_begun`] or [`Clients::abandon_reply`] comes after that.
    pub(crate) fn begin_reply(&mut self, id: ClientId) -> Reply {
        let limits = self.limits;
        self.current(id).begin_reply(&limits)
    }

    /// Goes on waiting: nothing was written to the reply that [`Clients::begin_reply`] has begun.
    pub(crate) fn abandon_reply(&mut self, id: ClientId, reply: Reply) {
        self.current(id).end_reply(reply);
    }

    /// Ends a wait with the reply that [`Clients::begin_reply`] has begun.
    pub(crate) fn resolve_begun(&mut self, on: WaitId, id: ClientId, mut reply: Reply) {
        self.waiting.remove(&on);
        let place = self.place(id);
        let Some(client) = place.and_then(|place| self.places.get_mut(place)) else {
            return;
        };
        self.prompted.note(client);
        client.blocked = None;
        if client.leaves_out_reply() {
            reply.leave_out();
        }
        client.end_reply(reply);
        client.wake();
        self.recount(id);
    }

    /// Lets go what a hold keeps back. Another one begins, and is returned, for what was queued meanwhile.
    #[must_use]
    pub fn release(&mut self, on: WaitId) -> Option<WaitId> {
        let id = self.waiting.remove(&on)?;
        let client = self.get_mut(id)?;
        client.held = None;
        client.is_kept = false;
        client.wake();
        let is_more = client.is_open() && client.output.release();
        is_more.then(|| self.hold_on(id))
    }
}

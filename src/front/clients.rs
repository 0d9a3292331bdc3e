//! The table of connected clients.

use bytes::Bytes;
use hashbrown::HashMap;

use super::acl::UserRef;
use super::client::{Blocked, Client, ClientId, ClientKind, Closing, Peer, ReplyMode, WaitId};
use super::client_memory::ClientMemory;
use super::output::OutputLimits;
use super::reply::Reply;
use crate::clock::Mono;
use crate::resp::Value;

/// How many replies of one client may be still to come before its further commands wait. Many masters
/// share one connection of a peer, and each may ask for a vote.
const GAPS_MAX: usize = 1024;

/// All connected clients of a program.
pub struct Clients<S> {
    by_id: HashMap<ClientId, Client<S>>,
    waiting: HashMap<WaitId, ClientId>,
    last_id: u64,
    last_wait: u64,
    /// `client-output-buffer-limit`
    pub limits: OutputLimits,
    pub(super) memory: ClientMemory,
    /// `Some`: who gets something outside their own turn is noted here, for a program that may have to hold it
    /// back. It empties the list at the end of each turn.
    pub prompted: Option<Vec<ClientId>>,
}

impl<S: Default> Default for Clients<S> {
    fn default() -> Clients<S> {
        Clients {
            by_id: HashMap::new(),
            waiting: HashMap::new(),
            last_id: 0,
            last_wait: 0,
            limits: OutputLimits::default(),
            memory: ClientMemory::default(),
            prompted: None,
        }
    }
}

impl<S: Default> Clients<S> {
    /// Adds a client. Connections do so; a program does it for a link that it opened itself and wants
    /// to see in `CLIENT LIST`.
    pub fn add(&mut self, peer: Peer, user: UserRef, now: Mono) -> ClientId {
        self.last_id += 1;
        let id = ClientId(self.last_id);
        let client = self
            .by_id
            .entry(id)
            .insert(Client::new(id, peer, user, now));
        self.memory.count(client.into_mut());
        id
    }

    /// Forgets a client. Connections do so at their end; to end one, use [`Client::close`].
    pub fn remove(&mut self, id: ClientId) -> Option<Client<S>> {
        let client = self.by_id.remove(&id)?;
        self.memory.forget(&client);
        if let Some(Blocked::Waiting { on, .. }) = client.blocked {
            self.waiting.remove(&on);
        }
        for on in client.held.into_iter().chain(client.output.gaps()) {
            self.waiting.remove(&on);
        }
        Some(client)
    }

    /// One client. `None` when it has gone.
    pub fn get(&self, id: ClientId) -> Option<&Client<S>> {
        self.by_id.get(&id)
    }

    /// One client, to be changed.
    pub fn get_mut(&mut self, id: ClientId) -> Option<&mut Client<S>> {
        self.by_id.get_mut(&id)
    }

    /// The client whose command is being executed.
    ///
    /// # Panics
    /// When it is not in the table: a connection removes its client only after its last command.
    pub fn current(&mut self, id: ClientId) -> &mut Client<S> {
        self.by_id
            .get_mut(&id)
            .expect("a client stays in the table while its command runs")
    }

    /// All that are not being closed, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Client<S>> {
        self.by_id.values().filter(|client| client.is_open())
    }

    /// All that are not being closed, in no order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Client<S>> {
        self.by_id.values_mut().filter(|client| client.is_open())
    }

    /// All of them, and the sum of what they take.
    pub(super) fn all_with_memory(
        &mut self,
    ) -> (impl Iterator<Item = &mut Client<S>>, &mut ClientMemory) {
        (self.by_id.values_mut(), &mut self.memory)
    }

    /// Counts one client anew.
    pub(super) fn recount(&mut self, id: ClientId) {
        if let Some(client) = self.by_id.get_mut(&id) {
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
        self.by_id.len()
    }

    /// True when nobody is connected.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Queues a shared message for a client; closes the client when its queue outgrows the limit.
    /// False when the client has gone or is closed.
    pub fn send(&mut self, id: ClientId, bytes: Bytes, now: Mono) -> bool {
        let limits = self.limits;
        let Some(client) = self.by_id.get_mut(&id).filter(|client| client.is_open()) else {
            return false;
        };
        client.output.push(bytes);
        self.memory.count(client);
        if let Some(prompted) = &mut self.prompted
            && client.kind != ClientKind::Replica
        {
            prompted.push(id);
        }
        let limit = limits.of(client.output_class());
        if client.output.is_over(limit, now) {
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

    /// Keeps a client's replies back, and its further commands waiting, until [`Clients::release`]. For
    /// [`super::Program::end_turn`]: the replies of the turn wait for a write to become durable.
    pub fn hold(&mut self, id: ClientId) -> WaitId {
        self.last_wait += 1;
        let on = WaitId(self.last_wait);
        if let Some(earlier) = self.current(id).held.replace(on) {
            self.waiting.remove(&earlier);
        }
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
        let Some(client) = self.by_id.get_mut(&id) else {
            return false;
        };
        if let Some(prompted) = &mut self.prompted {
            prompted.push(id);
        }
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
        match client.reply_mode {
            ReplyMode::On => client.output.push(Bytes::from(reply.into_bytes())),
            ReplyMode::Skip => client.reply_mode = ReplyMode::On,
            ReplyMode::SkipNext | ReplyMode::Off => {}
        }
        self.memory.count(client);
        client.wake();
        true
    }

    /// Lets the replies of a held client go.
    pub fn release(&mut self, on: WaitId) {
        let Some(id) = self.waiting.remove(&on) else {
            return;
        };
        if let Some(client) = self.by_id.get_mut(&id) {
            client.held = None;
            client.wake();
        }
    }

    /// Closes every connection.
    pub fn close_all(&mut self) {
        for client in self.by_id.values_mut() {
            client.close(Closing::Now);
        }
    }
}

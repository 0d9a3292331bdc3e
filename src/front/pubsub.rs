//! Channels and patterns, and who listens to them.

use std::collections::BTreeSet;

use bytes::Bytes;
use hashbrown::HashMap;

use super::client::{Client, ClientId};
use super::clients::Clients;
use super::glob::glob_match;
use super::reply::Reply;
use super::spec::{Channels, CommandSpec, KeySpec, flag, key};
use super::{Call, Program};
use crate::clock::Mono;
use crate::resp::{Protocol, Word};
use crate::room::GiveBack;

/// The most channels and patterns that one client may be subscribed to.
const SUBSCRIPTIONS_PER_CLIENT_MAX: usize = 1024 * 1024;

/// Who listens, by the names of one kind.
type Listeners = HashMap<Bytes, BTreeSet<ClientId>>;

/// Who listens to what.
#[derive(Debug, Default)]
pub struct PubSub {
    channels: Listeners,
    patterns: Listeners,
    shard_channels: Listeners,
}

impl PubSub {
    /// How many clients listen to a channel, shard channel or pattern itself.
    pub fn listeners(&self, name: &[u8], kind: Kind) -> usize {
        self.all(kind).get(name).map_or(0, BTreeSet::len)
    }

    /// The channels, shard channels or patterns that somebody listens to, in no order.
    pub fn names(&self, kind: Kind) -> impl Iterator<Item = &Bytes> {
        self.all(kind).keys()
    }

    /// How many channels, shard channels or different patterns somebody listens to.
    pub fn name_count(&self, kind: Kind) -> usize {
        self.all(kind).len()
    }

    fn all(&self, kind: Kind) -> &Listeners {
        match kind {
            Kind::Channel => &self.channels,
            Kind::Pattern => &self.patterns,
            Kind::Shard => &self.shard_channels,
        }
    }

    /// What `client` listens to, and who listens: the sets of one kind.
    fn sets_of<'c, S>(
        &mut self,
        client: &'c mut Client<S>,
        kind: Kind,
    ) -> (&'c mut BTreeSet<Bytes>, &mut Listeners) {
        match kind {
            Kind::Channel => (&mut client.channels, &mut self.channels),
            Kind::Pattern => (&mut client.patterns, &mut self.patterns),
            Kind::Shard => (&mut client.shard_channels, &mut self.shard_channels),
        }
    }

    /// Sends a message to everyone who listens; returns how many times it was sent.
    pub fn publish<S: Default>(
        &self,
        clients: &mut Clients<S>,
        channel: &[u8],
        message: &[u8],
        now: Mono,
    ) -> usize {
        let mut sent = 0;
        if let Some(ids) = self.channels.get(channel) {
            sent += deliver(clients, ids, &[b"message", channel, message], now);
        }
        for (pattern, ids) in &self.patterns {
            if glob_match(pattern, channel) {
                sent += deliver(clients, ids, &[b"pmessage", pattern, channel, message], now);
            }
        }
        sent
    }

    /// Sends a message to everyone who listens to a shard channel; returns how many do.
    pub fn publish_to_shard<S: Default>(
        &self,
        clients: &mut Clients<S>,
        channel: &[u8],
        message: &[u8],
        now: Mono,
    ) -> usize {
        match self.shard_channels.get(channel) {
            Some(ids) => deliver(clients, ids, &[b"smessage", channel, message], now),
            None => 0,
        }
    }

    /// Subscribes a client; false when it was subscribed. Whoever calls it has asked whether there is room.
    pub fn subscribe<S: Default>(
        &mut self,
        clients: &mut Clients<S>,
        id: ClientId,
        name: &Word<'_>,
        kind: Kind,
    ) -> bool {
        let client = clients.current(id);
        let (own, all) = self.sets_of(client, kind);
        let name = name.to_bytes();
        if !own.insert(name.clone()) {
            return false;
        }
        client.note_subscription(&name, true);
        all.entry(name).or_default().insert(id)
    }

    /// Unsubscribes a client; false when it was not subscribed.
    pub fn unsubscribe<S: Default>(
        &mut self,
        clients: &mut Clients<S>,
        id: ClientId,
        name: &Bytes,
        kind: Kind,
    ) -> bool {
        let client = clients.current(id);
        let (own, all) = self.sets_of(client, kind);
        if !own.remove(name) {
            return false;
        }
        client.note_subscription(name, false);
        if let Some(ids) = all.get_mut(name) {
            ids.remove(&id);
            if ids.is_empty() {
                all.remove(name);
                all.give_back();
            }
        }
        true
    }

    /// Ends all subscriptions of a client without a word to it: it has gone, or `RESET`.
    pub fn forget<S: Default>(&mut self, clients: &mut Clients<S>, id: ClientId) {
        for kind in [Kind::Channel, Kind::Pattern, Kind::Shard] {
            for name in names_of(clients, id, kind) {
                self.unsubscribe(clients, id, &name, kind);
            }
        }
    }
}

/// What a subscription names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One channel.
    Channel,
    /// All channels that match.
    Pattern,
    /// One shard channel, in a name space of its own.
    Shard,
}

impl Kind {
    fn subscribe_word(self) -> &'static str {
        match self {
            Kind::Channel => "subscribe",
            Kind::Pattern => "psubscribe",
            Kind::Shard => "ssubscribe",
        }
    }

    fn unsubscribe_word(self) -> &'static str {
        match self {
            Kind::Channel => "unsubscribe",
            Kind::Pattern => "punsubscribe",
            Kind::Shard => "sunsubscribe",
        }
    }

    /// The subscriptions of this kind.
    fn of<S>(self, client: &Client<S>) -> &BTreeSet<Bytes> {
        match self {
            Kind::Channel => &client.channels,
            Kind::Pattern => &client.patterns,
            Kind::Shard => &client.shard_channels,
        }
    }

    /// The subscriptions that a confirmation counts: shard channels are counted apart.
    fn count<S>(self, client: &Client<S>) -> usize {
        match self {
            Kind::Channel | Kind::Pattern => client.channels.len() + client.patterns.len(),
            Kind::Shard => client.shard_channels.len(),
        }
    }
}

/// Whether a client may be subscribed to these too.
fn has_room<S>(client: &Client<S>, names: &[Word<'_>], kind: Kind) -> bool {
    let own = kind.of(client);
    let new = names.iter().filter(|name| !own.contains(&name[..])).count();
    client.subscription_count() + new <= SUBSCRIPTIONS_PER_CLIENT_MAX
}

fn names_of<S: Default>(clients: &mut Clients<S>, id: ClientId, kind: Kind) -> Vec<Bytes> {
    kind.of(clients.current(id)).iter().cloned().collect()
}

/// Encodes the message once per protocol and appends it to each client's queue.
fn deliver<S: Default>(
    clients: &mut Clients<S>,
    ids: &BTreeSet<ClientId>,
    parts: &[&[u8]],
    now: Mono,
) -> usize {
    let encode = |protocol| {
        let mut reply = Reply::new(protocol);
        reply.push(parts.len());
        for part in parts {
            reply.bulk(part);
        }
        Bytes::from(reply.into_bytes())
    };
    let (mut resp2, mut resp3) = (None, None);
    let mut sent = 0;
    for id in ids {
        let Some(client) = clients.get(*id) else {
            continue;
        };
        let bytes = match client.protocol {
            Protocol::Resp2 => resp2.get_or_insert_with(|| encode(Protocol::Resp2)),
            Protocol::Resp3 => resp3.get_or_insert_with(|| encode(Protocol::Resp3)),
        };
        sent += usize::from(clients.send(*id, bytes.clone(), now));
    }
    sent
}

/// `SUBSCRIBE`, `UNSUBSCRIBE`, `PSUBSCRIBE`, `PUNSUBSCRIBE`.
pub fn subscription_commands<P: Program>() -> [CommandSpec<P>; 4] {
    const FLAGS: u32 = flag::PUBSUB | flag::NOSCRIPT | flag::LOADING | flag::STALE;
    [
        CommandSpec::new("subscribe", -2, |p, call, reply| {
            subscribe(p, call, reply, Kind::Channel);
        })
        .flags(FLAGS)
        .channels(Channels::Subscribe)
        .doc(
            "2.0.0",
            "pubsub",
            "O(N) where N is the number of channels to subscribe to.",
            "Listen for messages published to the given channels",
        ),
        CommandSpec::new("unsubscribe", -1, |p, call, reply| {
            unsubscribe(p, call, reply, Kind::Channel);
        })
        .flags(FLAGS)
        .doc(
            "2.0.0",
            "pubsub",
            "O(N) where N is the number of clients already subscribed to a channel.",
            "Stop listening for messages posted to the given channels",
        ),
        CommandSpec::new("psubscribe", -2, |p, call, reply| {
            subscribe(p, call, reply, Kind::Pattern);
        })
        .flags(FLAGS)
        .channels(Channels::PSubscribe)
        .doc(
            "2.0.0",
            "pubsub",
            "O(N) where N is the number of patterns the client is already subscribed to.",
            "Listen for messages published to channels matching the given patterns",
        ),
        CommandSpec::new("punsubscribe", -1, |p, call, reply| {
            unsubscribe(p, call, reply, Kind::Pattern);
        })
        .flags(FLAGS)
        .doc(
            "2.0.0",
            "pubsub",
            "O(N+M) where N is the number of patterns the client is already subscribed and M is the \
             number of total patterns subscribed in the system (by any client).",
            "Stop listening for messages posted to channels matching the given patterns",
        ),
    ]
}

/// `SSUBSCRIBE`, `SUNSUBSCRIBE`, for a program with shard channels.
pub fn shard_subscription_commands<P: Program>() -> [CommandSpec<P>; 2] {
    const FLAGS: u32 = flag::PUBSUB | flag::NOSCRIPT | flag::LOADING | flag::STALE;
    const NAMES: KeySpec = KeySpec::range(1, -1, 1, key::NOT_KEY);
    [
        CommandSpec::new("ssubscribe", -2, |p, call, reply| {
            subscribe(p, call, reply, Kind::Shard);
        })
        .flags(FLAGS)
        .keys([NAMES])
        .channels(Channels::Subscribe)
        .doc(
            "7.0.0",
            "pubsub",
            "O(N) where N is the number of shard channels to subscribe to.",
            "Listen for messages published to the given shard channels",
        ),
        CommandSpec::new("sunsubscribe", -1, |p, call, reply| {
            unsubscribe(p, call, reply, Kind::Shard);
        })
        .flags(FLAGS)
        .keys([NAMES])
        .doc(
            "7.0.0",
            "pubsub",
            "O(N) where N is the number of clients already subscribed to a shard channel.",
            "Stop listening for messages posted to the given shard channels",
        ),
    ]
}

fn subscribe<P: Program>(program: &mut P, call: &Call<'_>, reply: &mut Reply, kind: Kind) {
    let front = program.front();
    let word = kind.subscribe_word();
    let client = front.clients.current(call.client);
    // What runs while a transaction is open is part of its `EXEC`, which subscribes to channels as it did before it was
    // known that it should not.
    if kind == Kind::Shard && client.multi.is_some() {
        return reply.error("ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client");
    }
    if !has_room(client, call.args(), kind) {
        return reply.error("ERR too many subscriptions");
    }
    for name in call.args() {
        front
            .pubsub
            .subscribe(&mut front.clients, call.client, name, kind);
        let count = kind.count(front.clients.current(call.client));
        confirm(reply, word, Some(name), count);
    }
}

fn unsubscribe<P: Program>(program: &mut P, call: &Call<'_>, reply: &mut Reply, kind: Kind) {
    let front = program.front();
    let word = kind.unsubscribe_word();
    let names = if call.args().is_empty() {
        names_of(&mut front.clients, call.client, kind)
    } else {
        call.args().iter().map(Word::to_bytes).collect()
    };
    for name in &names {
        front
            .pubsub
            .unsubscribe(&mut front.clients, call.client, name, kind);
        let count = kind.count(front.clients.current(call.client));
        confirm(reply, word, Some(name), count);
    }
    if names.is_empty() {
        let count = kind.count(front.clients.current(call.client));
        confirm(reply, word, None, count);
    }
}

fn confirm(reply: &mut Reply, word: &str, name: Option<&[u8]>, count: usize) {
    reply.aside(|reply| {
        reply.push(3);
        reply.bulk(word);
        match name {
            Some(name) => reply.bulk(name),
            None => reply.null(),
        }
        reply.count(count);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::front::toy::Toy;

    #[test]
    fn what_one_client_listened_to_takes_no_room_when_it_has_gone() {
        let mut toy = Toy::new();
        let id = toy.connect(1);
        for n in 0..10_000 {
            toy.ask(id, &format!("SUBSCRIBE c{n}"));
            toy.ask(id, &format!("PSUBSCRIBE p{n}"));
        }
        let front = &mut toy.front;
        assert!(front.pubsub.channels.capacity() >= 10_000);
        front.pubsub.forget(&mut front.clients, id);
        assert!(front.pubsub.channels.capacity() < 100);
        assert!(front.pubsub.patterns.capacity() < 100);
    }

    #[test]
    fn what_is_confirmed_is_subscribed() {
        let mut toy = Toy::new();
        let id = toy.connect(1);
        let names =
            (2..SUBSCRIPTIONS_PER_CLIENT_MAX).map(|n| Bytes::from(n.to_be_bytes().to_vec()));
        toy.front.clients.current(id).channels = names.collect();
        let refused = "-ERR too many subscriptions|";
        assert_eq!(toy.ask(id, "SUBSCRIBE a b c"), refused);
        assert_eq!(
            toy.ask(id, "SUBSCRIBE a b").matches("subscribe|").count(),
            2
        );
        for request in ["SUBSCRIBE c", "PSUBSCRIBE c"] {
            assert_eq!(toy.ask(id, request), refused);
        }
        assert!(toy.ask(id, "SUBSCRIBE a").contains("subscribe|"), "it is");
        toy.ask(id, "UNSUBSCRIBE a");
        assert!(toy.ask(id, "SUBSCRIBE c").contains("subscribe|"));
        let other = toy.connect(2);
        assert_eq!(toy.ask(other, "PUBLISH c m"), ":1|");
    }
}

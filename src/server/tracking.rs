//! Which clients have which keys in a cache of their own (`CLIENT TRACKING`), and telling them when those
//! change. Costs nothing while nobody tracks.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use bytes::Bytes;
use rand::Rng;

use super::Server;
use super::keyspace::{Key, Keyed, Table, steps};
use super::lazy_free::drop_elsewhere;
use crate::front::{Call, ClientId, Reply, Tracking, TrackingChoice, command_keys, flag};
use crate::resp::Protocol;

/// Where invalidations go for a client of RESP2 that another one is redirected to.
const CHANNEL: &[u8] = b"__redis__:invalidate";

/// Who must be told what.
#[derive(Debug, Default)]
pub(crate) struct TrackingTable {
    /// The clients that track.
    clients: BTreeSet<ClientId>,
    /// Keys that have been read.
    read: Table<Read>,
    /// Readers of all of them.
    items: usize,
    /// How often in a row some were given up and there were still too many.
    rounds_over: usize,
    /// `BCAST`: who listens to keys that begin so.
    prefixes: Prefixes,
    /// For each prefix the keys that have changed in this turn, and who changed each last.
    changed: BTreeMap<Bytes, BTreeMap<Bytes, Option<ClientId>>>,
}

type Prefixes = BTreeMap<Bytes, BTreeSet<ClientId>>;

/// A key that has been read, and by whom. A client may have gone since.
#[derive(Clone, Debug, Default)]
struct Read {
    key: Key,
    by: BTreeSet<ClientId>,
}

impl Keyed for Read {
    fn key(&self) -> &[u8] {
        &self.key
    }
}

/// How a client is told what is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// By a push of RESP3.
    Push,
    /// By a message to the channel.
    Message,
}

impl Form {
    /// The message that these keys are invalid, or all there are.
    fn message(self, keys: Option<&[&Bytes]>) -> Bytes {
        let mut message = match self {
            Form::Push => {
                let mut message = Reply::new(Protocol::Resp3);
                message.push(2);
                message.bulk("invalidate");
                message
            }
            Form::Message => {
                let mut message = Reply::new(Protocol::Resp2);
                message.array(3);
                message.bulk("message");
                message.bulk(CHANNEL);
                message
            }
        };
        match keys {
            None => message.null(),
            Some(keys) => {
                message.array(keys.len());
                for key in keys {
                    message.bulk(key);
                }
            }
        }
        message.into_bytes().into()
    }
}

impl TrackingTable {
    /// Whether anybody tracks.
    pub(crate) fn is_in_use(&self) -> bool {
        !self.clients.is_empty()
    }

    /// Whether there is nobody to be told and nothing to be forgotten.
    fn is_empty(&self) -> bool {
        self.clients.is_empty() && self.read.is_empty()
    }

    /// How many keys, readers of keys and prefixes are known.
    pub(crate) fn sizes(&self) -> (usize, usize, usize) {
        (self.read.len(), self.items, self.prefixes.len())
    }

    /// A client tracks no more; what it did before.
    fn forget(&mut self, id: ClientId, before: &Tracking) {
        self.clients.remove(&id);
        for prefix in &before.prefixes {
            let Some(clients) = self.prefixes.get_mut(prefix) else {
                continue;
            };
            clients.remove(&id);
            if clients.is_empty() {
                self.prefixes.remove(prefix);
                self.changed.remove(prefix);
            }
        }
    }
}

/// The prefixes of a key among these, longest first. Each step is one search, however many begin otherwise.
fn prefixes_of<'a>(prefixes: &'a Prefixes, key: &'a [u8]) -> impl Iterator<Item = &'a Bytes> {
    let mut within = Some(key);
    std::iter::from_fn(move || {
        loop {
            steps::count(1);
            let upper = within?;
            let range = (Bound::Unbounded, Bound::Included(upper));
            let (prefix, _) = prefixes.range::<[u8], _>(range).next_back()?;
            let common = prefix.iter().zip(upper).take_while(|(a, b)| a == b);
            let common = common.count();
            // In order, whatever is longer and begins as the key does would stand between this one and the key.
            if common < prefix.len() {
                within = Some(&key[..common]);
                continue;
            }
            within = common.checked_sub(1).map(|len| &key[..len]);
            return Some(prefix);
        }
    })
}

impl Server {
    /// A client has chosen what to track; what it did before.
    pub(super) fn tracking_of(&mut self, id: ClientId, before: Option<&Tracking>) {
        let client = self.front.clients.get(id);
        let Some(tracking) = client.and_then(|client| client.tracking.as_ref()) else {
            if let Some(before) = before {
                self.tracking.forget(id, before);
            }
            return;
        };
        // What it listens to can only have become more. What has changed in this turn stays to be told.
        self.tracking.clients.insert(id);
        for prefix in &tracking.prefixes {
            let clients = self.tracking.prefixes.entry(prefix.clone()).or_default();
            clients.insert(id);
        }
    }

    /// Ends the tracking of a client that goes or resets itself.
    pub(super) fn end_tracking(&mut self, id: ClientId) {
        let client = self.front.clients.get_mut(id);
        if let Some(before) = client.and_then(|client| client.tracking.take()) {
            self.tracking.forget(id, &before);
        }
    }

    /// Remembers the keys that a command has read, if its client tracks.
    pub(super) fn remember_read_keys(&mut self, call: &Call<'_>) {
        let client = self.front.clients.current(call.client);
        let Some(tracking) = &client.tracking else {
            return;
        };
        let wanted = match tracking.choice {
            TrackingChoice::All => true,
            TrackingChoice::OptIn => tracking.caching == Some(true),
            TrackingChoice::OptOut => tracking.caching != Some(false),
        };
        let reads = call.info.flags & flag::READONLY != 0 && call.info.flags & flag::PUBSUB == 0;
        if tracking.broadcast || !wanted || !reads {
            return;
        }
        let table = &mut self.tracking;
        for found in command_keys(call.info, call.words) {
            let key = &call.words[found.index];
            let items = &mut table.items;
            let add = |read: &mut Read| *items += usize::from(read.by.insert(call.client));
            let is_new = table.read.upsert(key, add, || Read {
                key: Key::from(&key[..]),
                by: BTreeSet::from([call.client]),
            });
            table.items += usize::from(is_new);
        }
    }

    /// Tells those who have read a key that it has changed. Called for every change.
    pub(super) fn invalidate(&mut self, key: &[u8]) {
        if self.tracking.is_empty() {
            return;
        }
        let by = self.current.client;
        for prefix in prefixes_of(&self.tracking.prefixes, key) {
            let changed = self.tracking.changed.entry(prefix.clone()).or_default();
            changed.insert(Bytes::copy_from_slice(key), by);
        }
        self.tell_readers(key);
    }

    /// Tells those who have read a key that their copy is not good any more, and forgets them.
    fn tell_readers(&mut self, key: &[u8]) {
        let Some(read) = self.tracking.read.remove(key) else {
            return;
        };
        let by = self.current.client;
        let key = Bytes::copy_from_slice(key);
        self.tracking.items -= read.by.len();
        for id in read.by {
            let client = self.front.clients.get(id);
            let tracking = client.and_then(|client| client.tracking.as_ref());
            let is_told = tracking.is_some_and(|tracking| {
                let is_own_doing = tracking.no_loop && by == Some(id);
                !tracking.broadcast && !is_own_doing
            });
            if is_told {
                self.send_invalidation(id, Some(&[&key]));
            }
        }
    }

    /// Tells everyone who tracks that all keys are gone.
    pub(crate) fn invalidate_all(&mut self) {
        drop_elsewhere(std::mem::take(&mut self.tracking.read));
        self.tracking.items = 0;
        for id in self.tracking.clients.clone() {
            self.send_invalidation(id, None);
        }
    }

    /// Sends what has changed in this turn to those who listen to prefixes.
    pub(super) fn broadcast_invalidations(&mut self) {
        if self.tracking.changed.is_empty() {
            return;
        }
        for (prefix, changed) in std::mem::take(&mut self.tracking.changed) {
            let listeners = self.tracking.prefixes.get(&prefix).into_iter().flatten();
            let listeners: Vec<ClientId> = listeners.copied().collect();
            let authors: BTreeSet<ClientId> = changed.values().copied().flatten().collect();
            // Nearly all of them get the same.
            let mut shared: [Option<Bytes>; 2] = [None, None];
            for id in listeners {
                let client = self.front.clients.get(id);
                let tracking = client.and_then(|client| client.tracking.as_ref());
                let no_loop = tracking.is_some_and(|tracking| tracking.no_loop);
                let keys_of_others = (no_loop && authors.contains(&id)).then(|| {
                    let others = changed.iter().filter(|(_, by)| **by != Some(id));
                    others.map(|(key, _)| key).collect::<Vec<&Bytes>>()
                });
                // Who hears of nothing does not hear that its redirection is broken either.
                if keys_of_others.as_ref().is_some_and(Vec::is_empty) {
                    continue;
                }
                let Some((to, form)) = self.target_of(id) else {
                    continue;
                };
                let message = match keys_of_others {
                    Some(keys) => form.message(Some(&keys)),
                    None => {
                        let encode = || form.message(Some(&changed.keys().collect::<Vec<_>>()));
                        shared[form as usize].get_or_insert_with(encode).clone()
                    }
                };
                let now = self.clock.mono();
                self.front.clients.send(to, message, now);
            }
        }
    }

    /// Forgets keys beyond `tracking-table-max-keys` at random, whose readers are told: the more at a time, the longer
    /// there are too many. Called before each command, so that no client fills the table faster.
    pub(super) fn limit_tracking(&mut self) {
        /// Keys given up in the first round.
        const PER_ROUND: usize = 100;
        let most = self.config.tuning.tracking_table_max_keys;
        let Ok(most) = usize::try_from(most) else {
            return;
        };
        let over = self.tracking.read.len().saturating_sub(most);
        if most == 0 || over == 0 || !self.tracking.is_in_use() {
            return;
        }
        let effort = PER_ROUND * (self.tracking.rounds_over + 1);
        self.tracking.rounds_over = if over > effort {
            self.tracking.rounds_over + 1
        } else {
            0
        };
        // It is nobody's doing, not of the client either that has just read too much.
        let caller = std::mem::take(&mut self.current);
        for _ in 0..over.min(effort) {
            let rng = &mut self.rng;
            let Some(read) = self.tracking.read.random(|| rng.next_u64()) else {
                break;
            };
            let key = read.key.clone();
            self.tell_readers(&key);
        }
        self.current = caller;
        self.read_at = None;
    }

    /// What was for a client that has gone is lost: who wanted it there is told so where its protocol can.
    fn redirect_is_broken(&mut self, id: ClientId, to: ClientId) {
        let now = self.clock.mono();
        let clients = &mut self.front.clients;
        let Some(client) = clients.get_mut(id) else {
            return;
        };
        if let Some(tracking) = &mut client.tracking {
            tracking.is_broken = true;
        }
        if client.protocol == Protocol::Resp3 {
            let mut message = Reply::new(Protocol::Resp3);
            message.push(2);
            message.bulk("tracking-redir-broken");
            message.integer(i64::try_from(to.0).unwrap_or(i64::MAX));
            clients.send(id, message.into_bytes(), now);
        }
    }

    /// Tells a client that keys are invalid, or all of them.
    fn send_invalidation(&mut self, id: ClientId, keys: Option<&[&Bytes]>) {
        let now = self.clock.mono();
        if let Some((to, form)) = self.target_of(id) {
            self.front.clients.send(to, form.message(keys), now);
        }
    }

    /// To whom invalidations go that are for a client, and in which form; nowhere when there is no way to tell it.
    fn target_of(&mut self, id: ClientId) -> Option<(ClientId, Form)> {
        let client = self.front.clients.get(id)?;
        let redirect = client.tracking.as_ref().and_then(|t| t.redirect);
        let to = redirect.unwrap_or(id);
        let target = self.front.clients.get(to);
        let Some(target) = target.filter(|target| redirect.is_none() || target.is_open()) else {
            self.redirect_is_broken(id, to);
            return None;
        };
        match target.protocol {
            Protocol::Resp3 => Some((to, Form::Push)),
            Protocol::Resp2 if redirect.is_some() && target.subscription_count() > 0 => {
                Some((to, Form::Message))
            }
            Protocol::Resp2 => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::testing::{connect, run, server, turn};
    use proptest::prelude::*;

    #[test]
    fn what_many_are_told_is_kept_once() {
        run(async {
            let server = server(&[]);
            let server = &mut *server.borrow_mut();
            let (writer, long) = (connect(server), "k".repeat(2000));
            let listeners = ["", " NOLOOP", ""].map(|more| {
                let id = connect(server);
                turn(
                    server,
                    id,
                    &["HELLO 3", &format!("CLIENT TRACKING ON BCAST{more}")],
                );
                server.front.clients.current(id).output.clear();
                id
            });
            turn(server, writer, &[&format!("MSET {long} 1 b 2")]);
            let told = listeners.map(|id| server.front.clients.current(id).output.front().as_ptr());
            assert_eq!(told, [told[0]; 3]);
            // One that does not want to hear of its own changes hears of the others'.
            server.front.clients.current(listeners[1]).output.clear();
            turn(server, listeners[1], &["SET b 3"]);
            let output = &server.front.clients.current(listeners[1]).output;
            assert_eq!(output.front(), b"+OK\r\n");
        });
    }

    #[test]
    fn prefixes_of_others_cost_nothing() {
        let name = |n: usize| Bytes::from(format!("{n}:"));
        let prefixes: Prefixes = (0..10_000).map(|n| (name(n), BTreeSet::new())).collect();
        let (taken, found) = steps::of(|| prefixes_of(&prefixes, b"4711:key").count());
        assert_eq!(found, 1);
        assert!(taken < 10, "{taken}");
    }

    proptest! {
        #[test]
        fn prefixes_are_found_by_neighbours(
            all in prop::collection::btree_set("[ab]{0,6}", 0..20),
            key in "[ab]{0,8}",
        ) {
            let prefixes: Prefixes = all
                .iter()
                .map(|prefix| (Bytes::from(prefix.clone()), BTreeSet::new()))
                .collect();
            let found: Vec<&Bytes> = prefixes_of(&prefixes, key.as_bytes()).collect();
            let mut wanted: Vec<&String> = all.iter().filter(|prefix| key.starts_with(*prefix)).collect();
            wanted.sort_by_key(|prefix| std::cmp::Reverse(prefix.len()));
            prop_assert_eq!(found, wanted);
        }
    }
}

//! Clients that wait for a key to hold something for them: `BLPOP` and its kin, of lists and of sorted sets.
//!
//! A command hands over a function that tries to serve it from one key. Where no key serves it at once, its
//! client waits at each of its keys. A key that gets a new value is noted ([`Server::key_ready`]); when the
//! command or transaction that did so is over, those who wait are served, in the order in which keys became
//! ready and clients came. Each of them is a unit of propagation of its own, behind that of the command:
//! replicas are told what was popped, and never that anybody waited.
//!
//! A client that waits holds its one request and nothing more: no further command of its runs meanwhile.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Bound;
use std::rc::Rc;

use bytes::Bytes;
use hashbrown::{HashMap, HashSet};

use super::command::Failure;
use super::command::long_double::LongDouble;
use super::keyspace::{Kind, Value};
use super::replication::wait::Timer;
use super::{Current, Server};
use crate::clock::{Mono, Now};
use crate::front::{Blocked, Call, ClientId, Closing, CommandId, CommandInfo, Reply, WaitId};
use crate::resp::Word;
use crate::room::GiveBack;

/// Tries to serve a call from one of its keys; false when nothing is there. An error is the reply.
pub(crate) type Serve = fn(&mut Server, &Call<'_>, &[u8], &mut Reply) -> Result<bool, Failure>;

/// What a role change tells those who wait.
const UNBLOCKED: &str =
    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)";

/// Who waits for what.
#[derive(Default)]
pub(crate) struct Blocking {
    /// For each database and key those who wait there, in the order in which they came.
    queues: HashMap<(usize, Bytes), BTreeSet<WaitId>>,
    waiters: HashMap<WaitId, Rc<Waiter>>,
    /// Keys that got a value while somebody waits for them, in that order, each once.
    ready: VecDeque<(usize, Bytes)>,
    is_ready: HashSet<(usize, Bytes)>,
}

/// A client that waits.
struct Waiter {
    client: ClientId,
    db: usize,
    words: Vec<Word<'static>>,
    command: CommandId,
    info: &'static CommandInfo,
    /// Which of the words are the keys.
    keys: std::ops::Range<usize>,
    is_kind: fn(&Value) -> bool,
    serve: Serve,
    _timer: Option<Timer>,
}

impl Blocking {
    fn add(&mut self, on: WaitId, waiter: Waiter) {
        for key in &waiter.words[waiter.keys.clone()] {
            let queue = self.queues.entry((waiter.db, key.clone().into_bytes()));
            let queue = queue.or_default();
            queue.insert(on);
        }
        self.waiters.insert(on, Rc::new(waiter));
    }

    fn remove(&mut self, on: WaitId) -> Option<Rc<Waiter>> {
        let waiter = self.waiters.remove(&on)?;
        self.waiters.give_back();
        for key in &waiter.words[waiter.keys.clone()] {
            let at = (waiter.db, key.clone().into_bytes());
            if let Some(queue) = self.queues.get_mut(&at) {
                queue.remove(&on);
                if queue.is_empty() {
                    self.queues.remove(&at);
                    self.queues.give_back();
                }
            }
        }
        Some(waiter)
    }

    fn note(&mut self, db: usize, key: &[u8]) {
        if self.queues.is_empty() {
            return;
        }
        let at = (db, Bytes::copy_from_slice(key));
        if self.queues.contains_key(&at) && self.is_ready.insert(at.clone()) {
            self.ready.push_back(at);
        }
    }

    /// Takes the next key that is ready.
    fn next_ready(&mut self) -> Option<(usize, Bytes)> {
        let at = self.ready.pop_front()?;
        self.ready.give_back();
        self.is_ready.remove(&at);
        self.is_ready.give_back();
        Some(at)
    }

    /// Who came next to a key, after one who was there.
    fn next_at(&self, at: &(usize, Bytes), after: Option<WaitId>) -> Option<(WaitId, Rc<Waiter>)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let on = *self
            .queues
            .get(at)?
            .range((from, Bound::Unbounded))
            .next()?;
        Some((on, Rc::clone(self.waiters.get(&on)?)))
    }
}

/// The end of a wait: what a client gave as its timeout, in seconds with a fraction; 0 is never.
pub(crate) fn parse_timeout(call: &Call<'_>, word: &[u8]) -> Result<Mono, Failure> {
    let seconds = LongDouble::parse(word).ok_or("ERR timeout is not a float or out of range")?;
    // As in redis-server, what has no room in 63 bits counts as negative.
    let millis = seconds.times_rounded_up(1000);
    let millis = millis
        .and_then(|millis| u64::try_from(millis).ok())
        .ok_or("ERR timeout is negative")?;
    Ok(match millis {
        0 => Mono::NEVER,
        millis => Mono(call.now.mono.0.saturating_add(millis)),
    })
}

impl Server {
    /// Serves a call from the first of its keys that can, or lets its client wait until one can, or until
    /// `until`. False when it may not wait, in a transaction or as our master: it then gets no reply from here.
    ///
    /// # Errors
    /// A key holds something else than a `K`, or `serve` says so.
    pub(crate) fn serve_or_wait<K: Kind>(
        &mut self,
        call: &Call<'_>,
        keys: std::ops::Range<usize>,
        until: Mono,
        serve: Serve,
        reply: &mut Reply,
    ) -> Result<bool, Failure> {
        for key in &call.words[keys.clone()] {
            if serve(self, call, key, reply)? {
                return Ok(true);
            }
        }
        if self.in_exec || self.current.is_from_master {
            return Ok(false);
        }
        let on = self.front.clients.wait(call.client, until, true);
        let waiter = Waiter {
            client: call.client,
            db: self.current.db,
            // They keep nothing else of what was received.
            words: call.words.iter().map(Word::keep).collect(),
            command: call.command,
            info: call.info,
            keys,
            is_kind: |value| K::of(value).is_some(),
            serve,
            _timer: self.wake_at(until, on),
        };
        self.blocking.add(on, waiter);
        Ok(true)
    }

    /// A key may have got what somebody waits for. To be called by whatever puts a whole value into the
    /// keyspace without [`Server::store`] or [`Server::modify`].
    pub(crate) fn key_ready(&mut self, db: usize, key: &[u8]) {
        self.blocking.note(db, key);
    }

    /// As [`Server::key_ready`] for every key of a database: it has been exchanged as a whole.
    pub(crate) fn database_ready(&mut self, db: usize) {
        let keys: Vec<Bytes> = self
            .blocking
            .queues
            .keys()
            .filter(|(of, key)| *of == db && self.keyspace.get(db, key).is_some())
            .map(|(_, key)| key.clone())
            .collect();
        for key in keys {
            self.blocking.note(db, &key);
        }
    }

    /// Serves those who wait for keys that have become ready. A client that is served may make another key
    /// ready, whose turn then comes.
    pub(crate) fn serve_blocked(&mut self) {
        if self.blocking.ready.is_empty() || self.in_exec {
            return;
        }
        self.end_unit();
        let running = self.current;
        // What made a key ready may have taken until it has expired.
        let now = self.clock.now();
        while let Some(at) = self.blocking.next_ready() {
            let mut last = None;
            while let Some((on, waiter)) = self.blocking.next_at(&at, last) {
                last = Some(on);
                // Nobody else can be served from a key that is not there.
                let Some(entry) = self.keyspace.get(at.0, &at.1) else {
                    break;
                };
                if entry.is_expired(now.unix.0) {
                    if self.replication.is_master() && self.front.paused(now.mono).is_none() {
                        self.remove_expired(at.0, &at.1);
                        self.end_unit();
                    }
                    break;
                }
                if (waiter.is_kind)(&entry.value) {
                    self.serve_waiter(on, &waiter, &at.1, now);
                    self.end_unit();
                }
            }
        }
        self.current = running;
    }

    fn serve_waiter(&mut self, on: WaitId, waiter: &Waiter, key: &[u8], now: Now) {
        let client = self.front.clients.get(waiter.client);
        let Some(client) = client.filter(|client| client.is_open()) else {
            self.blocking.remove(on);
            return;
        };
        let client = client.id;
        let mut reply = self.front.clients.begin_reply(client);
        self.current = Current {
            db: waiter.db,
            is_from_master: false,
            client: Some(client),
            has_run: false,
            has_waited: true,
        };
        let call = Call {
            client,
            words: &waiter.words,
            command: waiter.command,
            info: waiter.info,
            now,
        };
        let begun = self.clock.nanos();
        let served = (waiter.serve)(self, &call, key, &mut reply);
        let ended = self.clock.nanos();
        if matches!(served, Ok(false)) {
            self.front.clients.abandon_reply(client, reply);
            return;
        }
        if let Err(text) = &served {
            self.metrics.error(text.as_ref());
            self.front.stats.error_replies += 1;
            reply.error(text);
        }
        // The command that comes next has not taken this time.
        self.read_at = self.read_at.map(|_| ended);
        let nanos = ended.saturating_sub(begun);
        self.note_unblocked(client, nanos, served.is_err());
        self.blocking.remove(on);
        self.front.clients.resolve_begun(on, client, reply);
        self.hold_behind_stream(client);
    }

    /// Ends a wait with a reply that `write` writes, and forgets what has not been noted about its command by now.
    /// False when nobody waits for it any more.
    pub(crate) fn answer_wait(&mut self, on: WaitId, write: impl FnOnce(&mut Reply)) -> bool {
        let clients = &mut self.front.clients;
        let client = clients.waiting_for(on);
        if let Some(client) = client.and_then(|client| clients.get_mut(client)) {
            client.session.suspended = None;
        }
        clients.resolve_with(on, write)
    }

    /// Ends a wait without what it was for: its time is over.
    pub(crate) fn end_blocked(&mut self, on: WaitId) {
        if self.blocking.remove(on).is_some() {
            self.answer_wait(on, Reply::null_array);
        }
    }

    /// Forgets a wait that has ended otherwise.
    pub(crate) fn forget_blocked(&mut self, on: WaitId) {
        self.blocking.remove(on);
    }

    /// Forgets what a client that goes waits for.
    pub(crate) fn forget_blocked_client(&mut self, client: ClientId) {
        let blocked = self.front.clients.get(client).and_then(|c| c.blocked);
        if let Some(Blocked::Waiting { on, .. }) = blocked {
            self.blocking.remove(on);
        }
    }

    /// Ends every wait with an error and closes the connections: this server is no longer one to wait at.
    pub(crate) fn release_blocked(&mut self) {
        for (on, _) in std::mem::take(&mut self.blocking).waiters {
            self.fail_and_close(on);
        }
    }

    /// Ends one wait with an error and closes the connection.
    pub(crate) fn fail_and_close(&mut self, on: WaitId) {
        let client = self.front.clients.waiting_for(on);
        self.fail_wait(on, UNBLOCKED);
        if let Some(client) = client.and_then(|id| self.front.clients.get_mut(id)) {
            client.close(Closing::AfterReplies);
        }
    }
}

//! `MULTI`, `EXEC`, `DISCARD`, `WATCH`.

use bytes::Bytes;
use hashbrown::HashMap;

use crate::front::{
    Call, ClientId, Clients, CommandId, CommandInfo, CommandSpec, KeySpec, Reply, category, flag,
    key, run, words_bytes,
};
use crate::resp::Word;
use crate::room::GiveBack;
use crate::server::keyspace::{Entry, Keyspace};
use crate::server::{Server, Session};

type Spec = CommandSpec<Server>;

const FLAGS: u32 = flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::FAST | flag::ALLOW_BUSY;

/// The commands of this file.
pub(super) fn commands() -> Vec<Spec> {
    vec![
        Spec::new("multi", 1, multi)
            .flags(FLAGS)
            .acl(category::TRANSACTION)
            .doc(
                "1.2.0",
                "transactions",
                "O(1)",
                "Mark the start of a transaction block",
            ),
        Spec::new("exec", 1, exec)
            .flags(flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::SKIP_SLOWLOG)
            .acl(category::TRANSACTION)
            .doc(
                "1.2.0",
                "transactions",
                "Depends on commands in the transaction",
                "Execute all commands issued after MULTI",
            ),
        Spec::new("discard", 1, discard)
            .flags(FLAGS)
            .acl(category::TRANSACTION)
            .doc(
                "2.0.0",
                "transactions",
                "O(N), when N is the number of queued commands",
                "Discard all commands issued after MULTI",
            ),
        Spec::new("watch", -2, watch)
            .flags(FLAGS)
            .acl(category::TRANSACTION)
            .keys([KeySpec::range(1, -1, 1, key::RO)])
            .doc(
                "2.2.0",
                "transactions",
                "O(1) for every key.",
                "Watch the given keys to determine execution of the MULTI/EXEC block",
            ),
        Spec::new("unwatch", 1, |s, c, r| {
            s.unwatch(c.client);
            r.ok();
        })
        .flags(FLAGS)
        .acl(category::TRANSACTION)
        .doc(
            "2.2.0",
            "transactions",
            "O(1)",
            "Forget about all watched keys",
        ),
    ]
}

/// Commands of one client that wait for `EXEC`.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    queued: Vec<Queued>,
    /// The flags that any of the queued commands has.
    flags: u32,
    /// Those that one of them lacks.
    lacking: u32,
    /// A command could not be queued; `EXEC` will refuse.
    is_spoilt: bool,
    /// What the queued commands take. Bytes.
    bytes: usize,
}

#[derive(Debug)]
struct Queued {
    words: Vec<Word<'static>>,
    command: CommandId,
    info: &'static CommandInfo,
}

/// The most commands that one transaction may queue.
const QUEUED_MAX: usize = 1024 * 1024;

/// The most keys that one client may watch.
const WATCHED_MAX: usize = 1024 * 1024;

/// Commands that run at once in a transaction.
const NEVER_QUEUED: [&str; 6] = ["multi", "exec", "discard", "watch", "quit", "reset"];

/// Who is told when a key changes.
#[derive(Debug, Default)]
pub(crate) struct Watches(HashMap<(usize, Bytes), Vec<Watch>>);

/// A client's watch of a key.
#[derive(Debug)]
struct Watch {
    client: ClientId,
    /// The key had expired already when the watch began, and is still there. That it goes is no change.
    is_of_expired: bool,
}

/// A key that a client watches.
#[derive(Debug)]
pub(crate) struct Watched {
    db: usize,
    key: Bytes,
}

/// What there is under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    Nothing,
    /// What is only still there.
    Expired,
    Live,
}

impl Held {
    /// `now` is in Unix milliseconds.
    fn of(entry: Option<&Entry>, now: u64) -> Held {
        match entry {
            None => Held::Nothing,
            Some(entry) if entry.is_expired(now) => Held::Expired,
            Some(_) => Held::Live,
        }
    }
}

impl Watched {
    /// What it takes, here and in the table of all watches.
    fn bytes(&self) -> usize {
        size_of::<Watched>() + size_of::<Watch>() + self.key.len()
    }
}

fn multi(server: &mut Server, call: &Call<'_>, reply: &mut Reply) {
    let client = server.front.clients.current(call.client);
    if client.session.transaction.is_some() {
        reply.error("ERR MULTI calls can not be nested");
        return;
    }
    client.session.transaction = Some(Transaction::default());
    client.multi = Some(0);
    reply.ok();
}

fn discard(server: &mut Server, call: &Call<'_>, reply: &mut Reply) {
    if server.end_transaction(call.client).is_none() {
        reply.error("ERR DISCARD without MULTI");
        return;
    }
    server.unwatch(call.client);
    reply.ok();
}

fn exec(server: &mut Server, call: &Call<'_>, reply: &mut Reply) {
    let Some(transaction) = server.end_transaction(call.client) else {
        reply.error("ERR EXEC without MULTI");
        return;
    };
    let is_dirty = server.has_watched_key_changed(call);
    server.unwatch(call.client);
    if transaction.is_spoilt {
        reply.error("EXECABORT Transaction discarded because of previous errors.");
        return;
    }
    if is_dirty {
        // That a key was changed is data too, whatever was queued.
        server.replication.gate.turn.has_seen_data = true;
        reply.null_array();
        return;
    }
    server.in_exec = true;
    let was_master = server.replication.is_master();
    let count = transaction.queued.len();
    server.front.clients.current(call.client).multi = Some(count);
    reply.array(count);
    for queued in &transaction.queued {
        let queued = call.queued(&queued.words, queued.command, queued.info);
        match server.front.lost_right(&queued) {
            Some(text) => reply.error(text),
            None => {
                let before = server.saver.dirty;
                run(server, &queued, reply);
                if was_master {
                    server.note_stray_change(before);
                }
            }
        }
    }
    server.front.clients.current(call.client).multi = None;
    server.in_exec = false;
}

fn watch(server: &mut Server, call: &Call<'_>, reply: &mut Reply) {
    let client = server.front.clients.current(call.client);
    if client.session.transaction.is_some() {
        // As in redis-server, this does not spoil the transaction.
        reply.error("ERR WATCH inside MULTI is not allowed");
        return;
    }
    let db = server.db();
    for key in call.words[1..].iter().map(Word::to_bytes) {
        let client = server.front.clients.current(call.client);
        if client.session.watched.len() >= WATCHED_MAX {
            reply.error("ERR too many watched keys");
            return;
        }
        let watches = server.watches.0.entry((db, key.clone())).or_default();
        if watches.iter().any(|watch| watch.client == call.client) {
            continue;
        }
        let held = Held::of(server.keyspace.get(db, &key), call.now.unix.0);
        watches.push(Watch {
            client: call.client,
            is_of_expired: held == Held::Expired,
        });
        let watched = Watched { db, key };
        let client = server.front.clients.current(call.client);
        client.multi_bytes += watched.bytes();
        client.session.watched.push(watched);
    }
    reply.ok();
}

impl Server {
    /// Queues a call if its client is in a transaction and the command is not one that ends it. What `EXEC` will not run
    /// is not kept.
    pub(crate) fn enqueue_call(&mut self, call: &Call<'_>) -> bool {
        let client = self.front.clients.current(call.client);
        if client.session.transaction.is_none() || self.runs_at_once(call) {
            return false;
        }
        let client = self.front.clients.current(call.client);
        let Some(transaction) = &mut client.session.transaction else {
            return false;
        };
        if transaction.is_spoilt || client.lost_watch {
            return true;
        }
        let bytes = size_of::<Queued>() + words_bytes(call.words);
        transaction.flags |= call.info.flags;
        transaction.lacking |= !call.info.flags;
        transaction.bytes += bytes;
        client.multi_bytes += bytes;
        transaction.queued.push(Queued {
            words: call.words.iter().map(Word::keep).collect(),
            command: call.command,
            info: call.info,
        });
        client.multi = Some(transaction.queued.len());
        true
    }

    /// Why a call may not be part of the transaction that its client has opened.
    pub(crate) fn refuse_in_transaction(&self, call: &Call<'_>) -> Option<&'static str> {
        let client = self.front.clients.get(call.client)?;
        let transaction = client.session.transaction.as_ref()?;
        if call.info.flags & flag::NO_MULTI != 0 {
            return Some(super::args::NOT_IN_MULTI);
        }
        let is_full = transaction.queued.len() >= QUEUED_MAX;
        (is_full && !self.runs_at_once(call)).then_some("ERR too many commands in a transaction")
    }

    /// Whether a call is never queued. By its full name: `SLOWLOG RESET` is.
    fn runs_at_once(&self, call: &Call<'_>) -> bool {
        NEVER_QUEUED.contains(&self.front.full_name(call.command))
    }

    /// The flags of a call, and for `EXEC` those of what it will run.
    pub(crate) fn flags_of(&self, call: &Call<'_>) -> u32 {
        let queued = self.to_be_run(call);
        call.info.flags | queued.map_or(0, |transaction| transaction.flags)
    }

    /// The flags of a call; of an `EXEC` those that everything it will run has too.
    pub(crate) fn common_flags_of(&self, call: &Call<'_>) -> u32 {
        let queued = self.to_be_run(call);
        call.info.flags & !queued.map_or(0, |transaction| transaction.lacking)
    }

    /// What a call runs, if it is an `EXEC`.
    fn to_be_run(&self, call: &Call<'_>) -> Option<&Transaction> {
        if call.info.name != "exec" {
            return None;
        }
        let client = self.front.clients.get(call.client)?;
        client.session.transaction.as_ref()
    }

    /// A command of a transaction was refused before it could be queued.
    pub(crate) fn spoil_transaction(&mut self, client: ClientId) {
        let session = self.front.clients.get_mut(client).map(|c| &mut c.session);
        if let Some(transaction) = session.and_then(|s| s.transaction.as_mut()) {
            transaction.is_spoilt = true;
        }
    }

    /// A command has run of a transaction that began on a master; `before` is the count of changes until then. If the
    /// transaction itself has made a replica of us, a change is in no stream, and the offset that we would offer does
    /// not tell of it. Who was a replica before changes nothing that counts: `PFCOUNT` keeps its estimate there too.
    fn note_stray_change(&mut self, before: u64) {
        let is_stray = self.is_read_only_replica() && self.saver.dirty != before;
        self.replication.needs_all_data |= is_stray;
    }

    /// Takes the transaction of a client away.
    pub(crate) fn end_transaction(&mut self, client: ClientId) -> Option<Transaction> {
        let client = self.front.clients.get_mut(client)?;
        client.multi = None;
        let transaction = client.session.transaction.take()?;
        client.multi_bytes = client.multi_bytes.saturating_sub(transaction.bytes);
        Some(transaction)
    }

    /// Ends all watches of a client.
    pub(crate) fn unwatch(&mut self, client: ClientId) {
        let Some(found) = self.front.clients.get_mut(client) else {
            return;
        };
        found.lost_watch = false;
        let all = std::mem::take(&mut found.session.watched);
        let bytes: usize = all.iter().map(Watched::bytes).sum();
        found.multi_bytes = found.multi_bytes.saturating_sub(bytes);
        for watched in all {
            let at = (watched.db, watched.key);
            if let Some(watches) = self.watches.0.get_mut(&at) {
                watches.retain(|watch| watch.client != client);
                if watches.is_empty() {
                    self.watches.0.remove(&at);
                    self.watches.0.give_back();
                }
            }
        }
    }

    /// Tells whoever watches a key that it has changed.
    pub(crate) fn touch(&mut self, db: usize, key: &[u8]) {
        self.invalidate(key);
        if self.watches.0.is_empty() {
            return;
        }
        let at = (db, Bytes::copy_from_slice(key));
        let Some(watches) = self.watches.0.get_mut(&at) else {
            return;
        };
        let is_gone = self.keyspace.get(db, key).is_none();
        for watch in watches {
            if is_gone && watch.is_of_expired {
                watch.is_of_expired = false;
            } else if let Some(client) = self.front.clients.get_mut(watch.client) {
                client.lost_watch = true;
            }
        }
    }

    /// Tells whoever watches a key of this database that all are removed. Called before they are.
    pub(crate) fn touch_all(&mut self, db: usize) {
        let now = self.clock.now().unix.0;
        self.touch_replaced(now, |of, _| (of == db).then_some(None));
    }

    /// Tells whoever watches a key that all data give way to others. Called before they do.
    pub(crate) fn touch_all_for(&mut self, others: &Keyspace) {
        let now = self.clock.now().unix.0;
        self.touch_replaced(now, |db, key| Some(others.get(db, key)));
    }

    /// Tells whoever watches a key that `after` gives something to take the place of what is there; its own `None`
    /// is for a key that is none of those.
    fn touch_replaced<'a>(
        &mut self,
        now: u64,
        after: impl Fn(usize, &[u8]) -> Option<Option<&'a Entry>>,
    ) {
        for ((db, key), watches) in &mut self.watches.0 {
            let Some(after) = after(*db, key) else {
                continue;
            };
            let before = Held::of(self.keyspace.get(*db, key), now);
            mark(
                watches,
                &mut self.front.clients,
                before,
                Held::of(after, now),
            );
        }
    }

    /// Has two databases change places; whoever watches a key that changes by it is told.
    pub(crate) fn swap_databases(&mut self, one: usize, other: usize) {
        self.saver.dirty += 1;
        if one == other {
            return;
        }
        let now = self.clock.now().unix.0;
        for ((db, key), watches) in &mut self.watches.0 {
            let after = match *db {
                db if db == one => other,
                db if db == other => one,
                _ => continue,
            };
            let held = |db| Held::of(self.keyspace.get(db, key), now);
            mark(watches, &mut self.front.clients, held(*db), held(after));
        }
        self.keyspace.swap(one, other);
    }

    fn has_watched_key_changed(&self, call: &Call<'_>) -> bool {
        let Some(client) = self.front.clients.get(call.client) else {
            return false;
        };
        let has_expired = |watched: &Watched| {
            let entry = self.keyspace.get(watched.db, &watched.key);
            Held::of(entry, call.now.unix.0) == Held::Expired
                && !self.watches_expired(call, watched)
        };
        client.lost_watch || client.session.watched.iter().any(has_expired)
    }

    /// Whether a key that has expired had done so when the client of a call began to watch it.
    fn watches_expired(&self, call: &Call<'_>, watched: &Watched) -> bool {
        let watches = self.watches.0.get(&(watched.db, watched.key.clone()));
        let mut watches = watches.into_iter().flatten();
        let own = watches.find(|watch| watch.client == call.client);
        own.is_some_and(|watch| watch.is_of_expired)
    }
}

/// What takes the place of a key as a whole, for those who watch it. As in redis-server, a key that has expired
/// since the watch began is one that changes, and one that comes expired is not.
fn mark(watches: &mut [Watch], clients: &mut Clients<Session>, before: Held, after: Held) {
    if (before, after) == (Held::Nothing, Held::Nothing) {
        return;
    }
    for watch in watches {
        match after {
            Held::Nothing if watch.is_of_expired => watch.is_of_expired = false,
            Held::Expired if watch.is_of_expired => {}
            Held::Expired if before == Held::Nothing => watch.is_of_expired = true,
            Held::Nothing | Held::Expired | Held::Live => {
                if let Some(client) = clients.get_mut(watch.client) {
                    client.lost_watch = true;
                }
            }
        }
    }
}

//! `MULTI`, `EXEC`, `DISCARD`, `WATCH`.

use bytes::Bytes;
use hashbrown::HashMap;

use crate::front::{
    Call, ClientId, CommandId, CommandInfo, CommandSpec, KeySpec, Reply, category, flag, kept, key,
    run,
};
use crate::server::Server;

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
    words: Vec<Bytes>,
    command: CommandId,
    info: &'static CommandInfo,
}

/// The most commands that one transaction may queue.
const QUEUED_MAX: usize = 1024 * 1024;

/// What a word takes beside its bytes.
const WORD_BYTES: usize = size_of::<Bytes>();

/// Commands that run at once in a transaction.
const NEVER_QUEUED: [&str; 6] = ["multi", "exec", "discard", "watch", "quit", "reset"];

/// Who is told when a key changes.
#[derive(Debug, Default)]
pub(crate) struct Watches(HashMap<(usize, Bytes), Vec<ClientId>>);

/// A key that a client watches.
#[derive(Debug)]
pub(crate) struct Watched {
    db: usize,
    key: Bytes,
    /// It had expired already when the watch began.
    was_expired: bool,
}

impl Watched {
    /// What it takes, here and in the table of all watches.
    fn bytes(&self) -> usize {
        2 * size_of::<Watched>() + self.key.len()
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
        reply.null_array();
        return;
    }
    server.in_exec = true;
    let count = transaction.queued.len();
    server.front.clients.current(call.client).multi = Some(count);
    reply.array(count);
    for queued in &transaction.queued {
        let queued = call.queued(&queued.words, queued.command, queued.info);
        match server.front.lost_right(&queued) {
            Some(text) => reply.error(text),
            None => run(server, &queued, reply),
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
    for key in call.words[1..].iter().map(kept) {
        let clients = server.watches.0.entry((db, key.clone())).or_default();
        if clients.contains(&call.client) {
            continue;
        }
        clients.push(call.client);
        let entry = server.keyspace.get(db, &key);
        let was_expired = entry.is_some_and(|e| e.is_expired(call.now.unix.0));
        let watched = Watched {
            db,
            key,
            was_expired,
        };
        let client = server.front.clients.current(call.client);
        client.multi_bytes += watched.bytes();
        client.session.watched.push(watched);
    }
    reply.ok();
}

impl Server {
    /// Queues a call if its client is in a transaction and the command is not one that ends it.
    pub(crate) fn enqueue_call(&mut self, call: &Call<'_>) -> bool {
        let client = self.front.clients.current(call.client);
        let Some(transaction) = &mut client.session.transaction else {
            return false;
        };
        if NEVER_QUEUED.contains(&call.info.name) {
            return false;
        }
        let words: usize = call.words.iter().map(|word| WORD_BYTES + word.len()).sum();
        let bytes = size_of::<Queued>() + words;
        transaction.flags |= call.info.flags;
        transaction.lacking |= !call.info.flags;
        transaction.bytes += bytes;
        client.multi_bytes += bytes;
        transaction.queued.push(Queued {
            words: call.words.iter().map(kept).collect(),
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
        (is_full && !NEVER_QUEUED.contains(&call.info.name))
            .then_some("ERR too many commands in a transaction")
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
        found.session.is_dirty = false;
        let all = std::mem::take(&mut found.session.watched);
        let bytes: usize = all.iter().map(Watched::bytes).sum();
        found.multi_bytes = found.multi_bytes.saturating_sub(bytes);
        for watched in all {
            let at = (watched.db, watched.key);
            if let Some(clients) = self.watches.0.get_mut(&at) {
                clients.retain(|id| *id != client);
                if clients.is_empty() {
                    self.watches.0.remove(&at);
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
        for id in self.watches.0.get(&at).into_iter().flatten() {
            if let Some(client) = self.front.clients.get_mut(*id) {
                client.session.is_dirty = true;
            }
        }
    }

    /// Tells whoever watches a key of this database, or of any, that all were removed.
    pub(crate) fn touch_all(&mut self, db: Option<usize>) {
        for ((of, key), ids) in &self.watches.0 {
            let was_there = self.keyspace.get(*of, key).is_some();
            if db.is_some_and(|db| db != *of) || !was_there {
                continue;
            }
            for id in ids {
                if let Some(client) = self.front.clients.get_mut(*id) {
                    client.session.is_dirty = true;
                }
            }
        }
    }

    /// Has two databases change places; whoever watches a key that changes by it is told.
    pub(crate) fn swap_databases(&mut self, one: usize, other: usize) {
        if one == other {
            return;
        }
        let now = self.clock.now().unix.0;
        for ((db, key), ids) in &self.watches.0 {
            let after = match *db {
                db if db == one => other,
                db if db == other => one,
                _ => continue,
            };
            let is_live = |db| {
                let entry = self.keyspace.get(db, key);
                entry.is_some_and(|entry| !entry.is_expired(now))
            };
            if !is_live(*db) && !is_live(after) {
                continue;
            }
            for id in ids {
                if let Some(client) = self.front.clients.get_mut(*id) {
                    client.session.is_dirty = true;
                }
            }
        }
        self.keyspace.swap(one, other);
        self.saver.dirty += 1;
    }

    fn has_watched_key_changed(&self, call: &Call<'_>) -> bool {
        let Some(client) = self.front.clients.get(call.client) else {
            return false;
        };
        let has_expired = |watched: &Watched| {
            let entry = self.keyspace.get(watched.db, &watched.key);
            !watched.was_expired && entry.is_some_and(|e| e.is_expired(call.now.unix.0))
        };
        client.session.is_dirty || client.session.watched.iter().any(has_expired)
    }
}

//! Commands that carry whole keys elsewhere: to another name, another database.

use super::args::{Failure, NO_SUCH_DATABASE, SYNTAX, database, integer, option};
use super::strings::finish;
use crate::front::{Call, CommandSpec, KeySpec, Reply, category, flag, key};
use crate::server::{NotifyClasses, Server};

type Spec = CommandSpec<Server>;

const SAME: &str = "ERR source and destination objects are the same";

/// The commands of this file.
pub(super) fn commands() -> Vec<Spec> {
    vec![
        Spec::new("copy", -3, |s, c, r| finish(copy(s, c, r), r))
            .flags(flag::WRITE | flag::DENYOOM)
            .acl(category::KEYSPACE)
            .keys([
                KeySpec::one(1, key::RO | key::ACCESS),
                KeySpec::one(2, key::OW | key::UPDATE),
            ])
            .doc(
                "6.2.0",
                "generic",
                "O(N) worst case for collections, where N is the number of nested items. O(1) for string values.",
                "Copy a key",
            ),
        Spec::new("move", 3, |s, c, r| finish(move_key(s, c, r), r))
            .flags(flag::WRITE | flag::FAST)
            .acl(category::KEYSPACE)
            .keys([KeySpec::one(1, key::RW | key::ACCESS | key::UPDATE)])
            .doc("1.0.0", "generic", "O(1)", "Move a key to another database"),
        Spec::new("swapdb", 3, |s, c, r| finish(swap(s, c, r), r))
            .flags(flag::WRITE | flag::FAST)
            .acl(category::KEYSPACE | category::DANGEROUS)
            .doc(
                "4.0.0",
                "server",
                "O(N) where N is the count of clients watching or blocking on keys from both databases.",
                "Swaps two Redis databases",
            ),
    ]
}

fn copy(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let (from, to) = (&call.words[1], &call.words[2]);
    let (mut db, mut may_replace) = (server.db(), false);
    let mut options = call.words[3..].iter();
    while let Some(word) = options.next() {
        match option(word).as_slice() {
            b"replace" => may_replace = true,
            b"db" => {
                let word = options.next().ok_or(SYNTAX)?;
                db = database(word, server.keyspace.databases())?;
            }
            _ => return Err(SYNTAX.into()),
        }
    }
    if db == server.db() && from == to {
        return Err(SAME.into());
    }
    let Some(value) = server.read_any(call, from).cloned() else {
        reply.integer(0);
        return Ok(());
    };
    let expire_at = server.expiry(call, from);
    let is_done = server.in_db(db, |server| {
        if server.exists_and_is_used(call, to) && !may_replace {
            return false;
        }
        server.as_one_change(|server| {
            server.delete(call, to);
            server.store(call, to, value, expire_at);
        });
        server.notify_here(NotifyClasses::GENERIC, "copy_to", to);
        true
    });
    if is_done {
        server.propagate(call, call.words);
    }
    reply.integer(i64::from(is_done));
    Ok(())
}

fn move_key(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let key = &call.words[1];
    let db = database(&call.words[2], server.keyspace.databases())?;
    if db == server.db() {
        return Err(SAME.into());
    }
    let is_free = server.exists_and_is_used(call, key)
        && !server.in_db(db, |server| server.exists_and_is_used(call, key));
    if is_free {
        server.as_one_change(|server| {
            let entry = server.take(call, key).expect("it exists, as was looked up");
            server.in_db(db, |server| server.place(call, key, entry));
        });
        server.notify_here(NotifyClasses::GENERIC, "move_from", key);
        server.in_db(db, |server| {
            server.notify_here(NotifyClasses::GENERIC, "move_to", key);
        });
        server.propagate(call, call.words);
    }
    reply.integer(i64::from(is_free));
    Ok(())
}

fn swap(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let number = |word: &[u8], refusal: &'static str| {
        let number = integer(word).ok().and_then(|n| i32::try_from(n).ok());
        number.ok_or(Failure::from(refusal))
    };
    let one = number(&call.words[1], "ERR invalid first DB index")?;
    let other = number(&call.words[2], "ERR invalid second DB index")?;
    let place = |n: i32| {
        let n = usize::try_from(n).ok();
        n.filter(|db| *db < server.keyspace.databases())
            .ok_or(Failure::from(NO_SUCH_DATABASE))
    };
    let (one, other) = (place(one)?, place(other)?);
    server.swap_databases(one, other);
    server.database_ready(one);
    server.database_ready(other);
    server.propagate(call, call.words);
    reply.ok();
    Ok(())
}

//! `DUMP` and `RESTORE`: one value as bytes that another server takes.

use super::args::{Failure, SYNTAX, integer, number, option, word};
use super::strings::finish;
use crate::front::{Call, CommandSpec, KeySpec, Reply, category, flag, key};
use crate::resp::Word;
use crate::server::keyspace::Rating;
use crate::server::persist::dump::{read_payload, write_payload};
use crate::server::{NotifyClasses, Server};

type Spec = CommandSpec<Server>;

const RESTORE_COMPLEXITY: &str = "O(1) to create the new key and additional O(N*M) to reconstruct the serialized value, where N is the number of Redis objects composing the value and M their average size. For small string values the time complexity is thus O(1)+O(1*M) where M is small, so simply O(1). However for sorted set values the complexity is O(N*M*log(N)) because inserting values into sorted sets is O(log(N)).";

/// The commands of this file.
pub(super) fn commands() -> Vec<Spec> {
    let restoring = |name| {
        Spec::new(name, -4, |s, c, r| finish(restore(s, c, r), r))
            .acl(category::KEYSPACE | category::DANGEROUS)
            .keys([KeySpec::one(1, key::OW | key::UPDATE)])
    };
    vec![
        Spec::new("dump", 2, dump)
            .flags(flag::READONLY)
            .acl(category::KEYSPACE)
            .keys([KeySpec::one(1, key::RO | key::ACCESS)])
            .tips(&["nondeterministic_output"])
            .doc(
                "2.6.0",
                "generic",
                "O(1) to access the key and additional O(N*M) to serialize it, where N is the number of Redis objects composing the value and M their average size. For small string values the time complexity is thus O(1)+O(1*M) where M is small, so simply O(1).",
                "Return a serialized version of the value stored at the specified key.",
            ),
        restoring("restore").flags(flag::WRITE | flag::DENYOOM).doc(
            "2.6.0",
            "generic",
            RESTORE_COMPLEXITY,
            "Create a key using the provided serialized value, previously obtained using DUMP.",
        ),
        restoring("restore-asking")
            .flags(flag::WRITE | flag::DENYOOM | flag::ASKING)
            .doc(
                "3.0.0",
                "server",
                RESTORE_COMPLEXITY,
                "An internal command for migrating keys in a cluster",
            ),
    ]
}

fn dump(server: &mut Server, call: &Call<'_>, reply: &mut Reply) {
    let compress = server.config.rdbcompression;
    match server.read_any(call, &call.words[1]) {
        Some(value) => reply.bulk(write_payload(value, compress)),
        None => reply.null(),
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Options {
    may_replace: bool,
    is_absolute: bool,
    rating: Option<Rating>,
}

fn options(words: &[Word<'_>]) -> Result<Options, Failure> {
    let mut found = Options::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let name = option(word);
        match (name.as_slice(), found.rating) {
            (b"replace", _) => found.may_replace = true,
            (b"absttl", _) => found.is_absolute = true,
            (b"idletime", None | Some(Rating::Idle(_))) => {
                let seconds = integer(words.next().ok_or(SYNTAX)?)?;
                let seconds = u64::try_from(seconds)
                    .map_err(|_| "ERR Invalid IDLETIME value, must be >= 0")?;
                found.rating = Some(Rating::Idle(seconds));
            }
            (b"freq", None | Some(Rating::Frequency(_))) => {
                let count = integer(words.next().ok_or(SYNTAX)?)?;
                let count = u8::try_from(count)
                    .map_err(|_| "ERR Invalid FREQ value, must be >= 0 and <= 255")?;
                found.rating = Some(Rating::Frequency(count));
            }
            _ => return Err(SYNTAX.into()),
        }
    }
    Ok(found)
}

fn restore(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let key = &call.words[1];
    let options = options(&call.words[4..])?;
    if !options.may_replace && server.exists_and_is_used(call, key) {
        return Err("BUSYKEY Target key name already exists.".into());
    }
    let ttl = u64::try_from(integer(&call.words[2])?)
        .map_err(|_| "ERR Invalid TTL value, must be >= 0")?;
    let strings = server.string_bytes_max();
    let verify = !server.switches.skips_checksums;
    let value = read_payload(&call.words[3], &server.thresholds(), strings, verify)
        .map_err(|error| error.to_string())?;
    let origin = if options.is_absolute {
        0
    } else {
        call.now.unix.0
    };
    // A sum beyond what an expiry can be lies in the past, as in redis-server: no stream could carry it.
    let moment = |ttl: u64| {
        ttl.checked_add(origin)
            .filter(|at| i64::try_from(*at).is_ok())
    };
    let expire_at = (ttl > 0).then(|| moment(ttl).unwrap_or(0));
    if expire_at.is_some_and(|at| server.is_past(call, at)) {
        if options.may_replace && server.delete(call, key) {
            server.notify_here(NotifyClasses::GENERIC, "del", key);
            server.propagate(call, &[word("DEL"), key.clone()]);
        }
        reply.ok();
        return Ok(());
    }
    server.as_one_change(|server| {
        if options.may_replace {
            server.delete(call, key);
        }
        server.store(call, key, value, expire_at);
    });
    let usage = server.usage(call.now.unix);
    server.note_access(key, usage.rated(options.rating));
    server.notify_here(NotifyClasses::GENERIC, "restore", key);
    match expire_at {
        Some(at) if !options.is_absolute => {
            // What replicas repeat must not depend on when they do.
            let mut words = call.words.to_vec();
            words[2] = number(at);
            words.push(word("ABSTTL"));
            server.propagate(call, &words);
        }
        Some(_) | None => server.propagate(call, call.words),
    }
    reply.ok();
    Ok(())
}

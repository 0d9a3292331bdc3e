//! The `EXPIRE` and `TTL` families.

use super::args::{ExpiryUnit, Failure, integer, number, option, word};
use super::strings::finish;
use crate::front::{Call, CommandSpec, KeySpec, Reply, category, flag, key};
use crate::resp::Word;
use crate::server::keyspace::Entry;
use crate::server::{NotifyClasses, Server};

type Spec = CommandSpec<Server>;

const SET: u32 = flag::WRITE | flag::FAST;
const GET: u32 = flag::READONLY | flag::FAST;
const KEY_RW: &[KeySpec] = &[KeySpec::one(1, key::RW | key::UPDATE)];
const KEY_RO: &[KeySpec] = &[KeySpec::one(1, key::RO | key::ACCESS)];

/// The commands of this file.
pub(super) fn commands() -> Vec<Spec> {
    vec![
        Spec::new("expire", -3, |s, c, r| {
            finish(expire(s, c, r, ExpiryUnit::Seconds), r)
        })
        .flags(SET)
        .acl(category::KEYSPACE)
        .keys(KEY_RW)
        .doc(
            "1.0.0",
            "generic",
            "O(1)",
            "Set a key's time to live in seconds",
        ),
        Spec::new("pexpire", -3, |s, c, r| {
            finish(expire(s, c, r, ExpiryUnit::Millis), r)
        })
        .flags(SET)
        .acl(category::KEYSPACE)
        .keys(KEY_RW)
        .doc(
            "2.6.0",
            "generic",
            "O(1)",
            "Set a key's time to live in milliseconds",
        ),
        Spec::new("expireat", -3, |s, c, r| {
            finish(expire(s, c, r, ExpiryUnit::UnixSeconds), r)
        })
        .flags(SET)
        .acl(category::KEYSPACE)
        .keys(KEY_RW)
        .doc(
            "1.2.0",
            "generic",
            "O(1)",
            "Set the expiration for a key as a UNIX timestamp",
        ),
        Spec::new("pexpireat", -3, |s, c, r| {
            finish(expire(s, c, r, ExpiryUnit::UnixMillis), r)
        })
        .flags(SET)
        .acl(category::KEYSPACE)
        .keys(KEY_RW)
        .doc(
            "2.6.0",
            "generic",
            "O(1)",
            "Set the expiration for a key as a UNIX timestamp specified in milliseconds",
        ),
        Spec::new("persist", 2, persist)
            .flags(SET)
            .acl(category::KEYSPACE)
            .keys(KEY_RW)
            .doc(
                "2.2.0",
                "generic",
                "O(1)",
                "Remove the expiration from a key",
            ),
        Spec::new("ttl", 2, |s, c, r| {
            ttl(s, c, r, |at, now| (at.saturating_sub(now) + 500) / 1000)
        })
        .flags(GET)
        .acl(category::KEYSPACE)
        .keys(KEY_RO)
        .tips(&["nondeterministic_output"])
        .doc(
            "1.0.0",
            "generic",
            "O(1)",
            "Get the time to live for a key in seconds",
        ),
        Spec::new("pttl", 2, |s, c, r| ttl(s, c, r, u64::saturating_sub))
            .flags(GET)
            .acl(category::KEYSPACE)
            .keys(KEY_RO)
            .tips(&["nondeterministic_output"])
            .doc(
                "2.6.0",
                "generic",
                "O(1)",
                "Get the time to live for a key in milliseconds",
            ),
        Spec::new("expiretime", 2, |s, c, r| {
            ttl(s, c, r, |at, _| (at + 500) / 1000)
        })
        .flags(GET)
        .acl(category::KEYSPACE)
        .keys(KEY_RO)
        .doc(
            "7.0.0",
            "generic",
            "O(1)",
            "Get the expiration Unix timestamp for a key",
        ),
        Spec::new("pexpiretime", 2, |s, c, r| ttl(s, c, r, |at, _| at))
            .flags(GET)
            .acl(category::KEYSPACE)
            .keys(KEY_RO)
            .doc(
                "7.0.0",
                "generic",
                "O(1)",
                "Get the expiration Unix timestamp for a key in milliseconds",
            ),
    ]
}

/// When an expiry is set at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Condition {
    /// `NX`, `XX`: only without, only with an expiry.
    has_expiry: Option<bool>,
    /// `GT`, `LT`: only later, only sooner.
    later: Option<bool>,
}

impl Condition {
    fn parse(words: &[Word<'_>]) -> Result<Condition, Failure> {
        let (mut nx, mut xx, mut gt, mut lt) = (false, false, false, false);
        for word in words {
            match option(word).as_slice() {
                b"nx" => nx = true,
                b"xx" => xx = true,
                b"gt" => gt = true,
                b"lt" => lt = true,
                _ => {
                    return Err(Failure::from("ERR Unsupported option ").word(word));
                }
            }
        }
        if nx && (xx || gt || lt) {
            return Err(
                "ERR NX and XX, GT or LT options at the same time are not compatible".into(),
            );
        }
        if gt && lt {
            return Err("ERR GT and LT options at the same time are not compatible".into());
        }
        Ok(Condition {
            has_expiry: (nx || xx).then_some(xx),
            later: (gt || lt).then_some(gt),
        })
    }

    /// Whether the expiry may become `at`. No expiry counts as the latest.
    fn allows(self, current: Option<u64>, at: u64) -> bool {
        let has_right_state = self
            .has_expiry
            .is_none_or(|wanted| wanted == current.is_some());
        let has_right_order = match (self.later, current) {
            (None, _) => true,
            (Some(true), current) => current.is_some_and(|current| at > current),
            (Some(false), current) => current.is_none_or(|current| at < current),
        };
        has_right_state && has_right_order
    }
}

fn expire(
    server: &mut Server,
    call: &Call<'_>,
    reply: &mut Reply,
    unit: ExpiryUnit,
) -> Result<(), Failure> {
    let key = &call.words[1];
    let condition = Condition::parse(&call.words[3..])?;
    let n = integer(&call.words[2])?;
    let at = unit.moment(n, call.now.unix).ok_or_else(|| {
        Failure::from(format!(
            "ERR invalid expire time in '{}' command",
            call.info.name
        ))
    })?;
    let at = u64::try_from(at).unwrap_or(0);
    if !server.exists_and_is_used(call, key) || !condition.allows(server.expiry(call, key), at) {
        reply.integer(0);
        return Ok(());
    }
    if server.is_past(call, at) {
        server.delete(call, key);
        server.notify_here(NotifyClasses::GENERIC, "del", key);
        server.propagate(call, &[word("DEL"), key.clone()]);
    } else {
        server.expire(call, key, Some(at));
        server.notify_here(NotifyClasses::GENERIC, "expire", key);
        let name = match call.info.name {
            "pexpireat" => call.words[0].clone(),
            _ => word("PEXPIREAT"),
        };
        let mut words = vec![name, key.clone(), number(at)];
        words.extend_from_slice(&call.words[3..]);
        server.propagate(call, &words);
    }
    reply.integer(1);
    Ok(())
}

fn persist(server: &mut Server, call: &Call<'_>, reply: &mut Reply) {
    let key = &call.words[1];
    let had_expiry = server.exists_and_is_used(call, key) && server.expiry(call, key).is_some();
    if had_expiry {
        server.expire(call, key, None);
        server.notify_here(NotifyClasses::GENERIC, "persist", key);
        server.propagate(call, call.words);
    }
    reply.integer(i64::from(had_expiry));
}

fn ttl(server: &mut Server, call: &Call<'_>, reply: &mut Reply, show: fn(u64, u64) -> u64) {
    let key = &call.words[1];
    match server.peek(call, key).map(Entry::expire_at) {
        None => reply.integer(-2),
        Some(None) => reply.integer(-1),
        Some(Some(at)) => {
            let shown = show(at, call.now.unix.0);
            reply.integer(i64::try_from(shown).unwrap_or(i64::MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions() {
        let check = |words: &[&'static str], current, at, want| {
            let words: Vec<Word<'_>> = words.iter().map(|word| Word::from(*word)).collect();
            assert_eq!(
                Condition::parse(&words).unwrap().allows(current, at),
                want,
                "{words:?}"
            );
        };
        check(&[], None, 5, true);
        check(&["NX"], None, 5, true);
        check(&["nx"], Some(1), 5, false);
        check(&["XX"], None, 5, false);
        check(&["GT"], None, 5, false);
        check(&["GT"], Some(4), 5, true);
        check(&["GT"], Some(5), 5, false);
        check(&["LT"], None, 5, true);
        check(&["LT", "XX"], None, 5, false);
        check(&["LT"], Some(6), 5, true);
        assert!(Condition::parse(&["NX".into(), "GT".into()]).is_err());
    }
}

//! `MIGRATE`: keys go to another server, and leave this one when they have arrived.
//!
//! Why the whole server waits meanwhile: see [`crate::server::courier`].

use std::ops::Range;
use std::time::Duration;

use super::args::{Failure, SYNTAX, integer, word};
use super::strings::finish;
use crate::front::{
    Begin, Call, CommandSpec, Find, KeySpec, MIGRATE_OPTIONS, Reply, category, flag, key, options,
};
use crate::resp::{Word, encode_request};
use crate::server::courier::{Errand, Login, Target};
use crate::server::persist::dump::write_payload;
use crate::server::{NotifyClasses, Server};

type Spec = CommandSpec<Server>;

/// How long each step may take for who gives no time. Milliseconds.
const TIMEOUT_MS: i64 = 1000;
/// Where an errand ends when there are more keys: as many bytes may wait to be sent, beside one value.
const ERRAND_BYTES: usize = 1024 * 1024;
/// As many answers may wait to be read: a target need not keep more for us.
const ERRAND_KEYS: usize = 1024;

/// The answer when none of the keys is there.
const NOTHING: &str = "NOKEY";

/// The commands of this file.
pub(super) fn commands() -> Vec<Spec> {
    let flags = key::RW | key::ACCESS | key::DELETE;
    vec![
        Spec::new("migrate", -6, |s, c, r| finish(migrate(s, c, r), r))
            .flags(flag::WRITE | flag::MOVABLE_KEYS)
            .acl(category::KEYSPACE | category::DANGEROUS)
            .keys([
                KeySpec::one(3, flags),
                KeySpec {
                    begin: Begin::Keyword {
                        word: "KEYS",
                        from: -2,
                    },
                    find: Find::Range {
                        last: -1,
                        step: 1,
                        limit: 0,
                    },
                    flags: flags | key::INCOMPLETE,
                },
            ])
            .tips(&["nondeterministic_output"])
            .doc(
                "2.6.0",
                "generic",
                "This command actually executes a DUMP+DEL in the source instance, and a RESTORE in the target instance. See the pages of these commands for time complexity. Also an O(N) data transfer between the two instances is performed.",
                "Atomically transfer a key from a Redis instance to another one.",
            ),
    ]
}

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
struct Order {
    /// Which words are the keys.
    keys: Range<usize>,
    keeps: bool,
    may_replace: bool,
    login: Option<Login>,
    db: i64,
    patience: Duration,
}

impl Order {
    fn parse(words: &[Word<'_>]) -> Result<Order, Failure> {
        let mut order = Order {
            keys: 3..4,
            keeps: false,
            may_replace: false,
            login: None,
            db: 0,
            patience: Duration::ZERO,
        };
        for (at, form) in options(words, 6, MIGRATE_OPTIONS) {
            match (form, &words[at + 1..]) {
                (Some(("copy", _)), _) => order.keeps = true,
                (Some(("replace", _)), _) => order.may_replace = true,
                (Some(("auth", _)), [password, ..]) => {
                    order.login = Some(Login {
                        // The name, if there was one before it, stays.
                        user: order.login.and_then(|login| login.user),
                        password: password.to_bytes(),
                    });
                }
                (Some(("auth2", _)), [user, password, ..]) => {
                    order.login = Some(Login {
                        user: Some(user.to_bytes()),
                        password: password.to_bytes(),
                    });
                }
                (Some(("keys", _)), _) if words[3].is_empty() => order.keys = at + 1..words.len(),
                (Some(("keys", _)), _) => {
                    return Err(
                        "ERR When using MIGRATE KEYS option, the key argument must be set to the empty string"
                            .into(),
                    );
                }
                _ => return Err(SYNTAX.into()),
            }
        }
        let millis = match integer(&words[5])? {
            ..=0 => TIMEOUT_MS,
            millis => millis,
        };
        order.patience = Duration::from_millis(millis.unsigned_abs());
        order.db = integer(&words[4])?;
        Ok(order)
    }
}

fn migrate(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let order = Order::parse(call.words)?;
    let mut keys: Vec<&Word<'_>> = call.words[order.keys.clone()].iter().collect();
    keys.retain(|key| server.read_any(call, key).is_some());
    if keys.is_empty() {
        reply.simple(NOTHING);
        return Ok(());
    }
    let process = &server.config.process;
    let to = Target {
        host: call.words[1].to_bytes(),
        port: call.words[2].to_bytes(),
        login: order.login.clone(),
        tls: process.tls.cluster.then(|| Box::new(process.clone())),
    };
    let mut moved = vec![word("DEL")];
    let mut refusal = None;
    let mut failure = None;
    let mut rest = keys.as_slice();
    let mut is_any = false;
    while !rest.is_empty() && failure.is_none() {
        let (bytes, sent) = pack(server, call, &mut rest, order.may_replace);
        if sent.is_empty() {
            continue;
        }
        is_any = true;
        let outcome = server.carry(Errand {
            to: to.clone(),
            db: order.db,
            patience: order.patience,
            bytes,
            count: sent.len(),
        });
        for (key, answer) in sent.into_iter().zip(outcome.answers) {
            match answer {
                Err(text) => {
                    refusal.get_or_insert(text);
                }
                Ok(()) if order.keeps => {}
                Ok(()) => {
                    if server.delete(call, key) {
                        server.notify_here(NotifyClasses::GENERIC, "del", key);
                        moved.push(key.clone());
                    }
                }
            }
        }
        failure = outcome.failure;
    }
    if moved.len() > 1 {
        server.propagate(call, &moved);
    }
    match (refusal, failure) {
        (Some(text), _) => Err(format!("ERR Target instance replied with error: {text}").into()),
        (None, Some(failure)) => Err(failure.to_string().into()),
        (None, None) => {
            reply.simple(if is_any { "OK" } else { NOTHING });
            Ok(())
        }
    }
}

/// Takes the first of `keys`, as many as go with one errand, and writes what restores them. One that has expired
/// meanwhile is left out.
fn pack<'a>(
    server: &Server,
    call: &Call<'_>,
    keys: &mut &[&'a Word<'a>],
    may_replace: bool,
) -> (Vec<u8>, Vec<&'a Word<'a>>) {
    let now = server.clock.now().unix.0;
    let compress = server.config.rdbcompression;
    let (mut bytes, mut packed) = (Vec::new(), Vec::new());
    while let Some((&key, rest)) = keys.split_first() {
        if bytes.len() >= ERRAND_BYTES || packed.len() >= ERRAND_KEYS {
            break;
        }
        *keys = rest;
        let ttl = match server.expiry(call, key) {
            None => 0,
            Some(at) if at < now => continue,
            Some(at) => (at - now).max(1),
        };
        let Some(value) = server.stored_any(call, key) else {
            // It stood twice in the command and has gone already.
            continue;
        };
        let payload = write_payload(value, compress);
        let ttl = itoa::Buffer::new().format(ttl).to_owned();
        let mut words: Vec<&[u8]> = vec![b"RESTORE", key, ttl.as_bytes(), &payload];
        if may_replace {
            words.push(b"REPLACE");
        }
        encode_request(&words, &mut bytes);
        packed.push(key);
    }
    (bytes, packed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn check(line: &str, want: Result<(Range<usize>, Option<&str>, &str), &str>) {
        let line = format!("MIGRATE h p {line}");
        let words: Vec<Word<'_>> = line
            .split(' ')
            .map(|word| Word::from(word.trim_matches('"')))
            .collect();
        let found = Order::parse(&words).map(|order| {
            let login = order.login.unwrap_or(Login {
                user: None,
                password: Bytes::new(),
            });
            (order.keys, login.user, login.password)
        });
        let want = want.map(|(keys, user, password)| {
            let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
            (keys, user.map(bytes), bytes(password))
        });
        assert_eq!(found, want.map_err(|text| text.to_owned().into()), "{line}");
    }

    #[test]
    fn options_are_told_from_their_values() {
        check("k 0 1", Ok((3..4, None, "")));
        check("k 0 1 copy REPLACE Auth keys", Ok((3..4, None, "keys")));
        check("k 0 1 auth2 keys auth", Ok((3..4, Some("keys"), "auth")));
        check(r#""" 0 1 keys auth x"#, Ok((7..9, None, "")));
        check(r#""" 0 1 auth2 a b keys"#, Ok((10..10, Some("a"), "b")));
        check("k 0 1 auth", Err(SYNTAX));
        check("k 0 1 auth2 a", Err(SYNTAX));
    }

    #[test]
    fn no_time_is_a_second() {
        let patience = |timeout: &str| {
            let words = ["migrate", "h", "p", "k", "0", timeout];
            let words = words.map(Word::from);
            Order::parse(&words).map(|order| order.patience)
        };
        for (timeout, millis) in [("-5", 1000), ("0", 1000), ("1", 1), ("70000", 70_000)] {
            assert_eq!(patience(timeout), Ok(Duration::from_millis(millis)));
        }
    }
}

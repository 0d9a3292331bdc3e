//! `HELLO`, `AUTH`, `PING`: what a connection begins with.

use super::acl::Reason;
use super::error_text::ErrorText;
use super::options::{HELLO_OPTIONS, options};
use super::reply::Reply;
use super::spec::{CommandSpec, category, flag};
use super::{Call, Program, REDIS_VERSION, arity_error};
use crate::resp::{Protocol, canonical_integer};

/// `PING`, `HELLO`, `AUTH`.
pub fn connection_commands<P: Program>() -> [CommandSpec<P>; 3] {
    const FLAGS: u32 = flag::NOSCRIPT
        | flag::LOADING
        | flag::STALE
        | flag::FAST
        | flag::NO_AUTH
        | flag::ALLOW_BUSY;
    [
        CommandSpec::new("ping", -1, ping)
            .flags(flag::FAST)
            .acl(category::CONNECTION)
            .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
            .doc("1.0.0", "connection", "O(1)", "Ping the server"),
        CommandSpec::new("hello", -1, hello)
            .flags(FLAGS)
            .acl(category::CONNECTION)
            .doc("6.0.0", "connection", "O(1)", "Handshake with Redis"),
        CommandSpec::new("auth", -2, auth)
            .flags(FLAGS)
            .acl(category::CONNECTION)
            .doc(
                "1.0.0",
                "connection",
                "O(N) where N is the number of passwords defined for the user",
                "Authenticate to the server",
            ),
    ]
}

fn ping<P: Program>(program: &mut P, call: &Call<'_>, reply: &mut Reply) {
    if call.words.len() > 2 {
        reply.error(arity_error("ping"));
        return;
    }
    let client = program.front().clients.current(call.client);
    let message = call.words.get(1);
    if client.protocol == Protocol::Resp2 && client.subscription_count() > 0 {
        reply.array(2);
        reply.bulk("pong");
        reply.bulk(message.map_or(&[][..], |message| message));
        return;
    }
    match message {
        Some(message) => reply.bulk(message),
        None => reply.simple("PONG"),
    }
}

fn auth<P: Program>(program: &mut P, call: &Call<'_>, reply: &mut Reply) {
    let (name, password): (&[u8], _) = match call.args() {
        [password] => {
            if program.front().acl.default_user().borrow().is_nopass() {
                reply.error(
                    "ERR AUTH <password> called without any password configured for the default \
                     user. Are you sure your configuration is correct?",
                );
                return;
            }
            (b"default", password)
        }
        [name, password] => (name, password),
        _ => {
            reply.error("ERR syntax error");
            return;
        }
    };
    if authenticate(program, call, name, password, reply) {
        reply.ok();
    }
}

/// Gives the client the user's rights, or writes why not.
fn authenticate<P: Program>(
    program: &mut P,
    call: &Call<'_>,
    name: &[u8],
    password: &[u8],
    reply: &mut Reply,
) -> bool {
    let front = program.front();
    let Some(user) = front.acl.authenticate(name, password) else {
        let object = call.words[0].to_vec();
        front.log_refused(call, Reason::Auth, object, name.to_vec());
        reply.error("WRONGPASS invalid username-password pair or user is disabled.");
        return false;
    };
    let client = front.clients.current(call.client);
    client.user = user;
    client.authenticated = true;
    true
}

fn hello<P: Program>(program: &mut P, call: &Call<'_>, reply: &mut Reply) {
    let mut wanted = None;
    if let Some(version) = call.words.get(1) {
        wanted = match parse_version(version) {
            Ok(protocol) => Some(protocol),
            Err(text) => return reply.error(text),
        };
    }
    // One after the other: what comes before a mistake has been done, as in Redis.
    for (at, option) in options(call.words, 2, HELLO_OPTIONS) {
        match (option, &call.words[at + 1..]) {
            (Some(("auth", _)), [name, password, ..]) => {
                if !authenticate(program, call, name, password, reply) {
                    return;
                }
            }
            (Some(("setname", _)), [name, ..]) => {
                if !is_client_name(name) {
                    return reply.error(BAD_CLIENT_NAME);
                }
                let client = program.front().clients.current(call.client);
                client.name = name.to_bytes();
            }
            _ => {
                let text = ErrorText::from("ERR Syntax error in HELLO option '");
                return reply.error(text.word(&call.words[at]).text("'"));
            }
        }
    }
    if program.front().needs_auth(call.client) {
        return reply.error(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO \
             AUTH <user> <pass> option can be used to authenticate the client and select the \
             RESP protocol version at the same time",
        );
    }
    let role = program.role();
    let client = program.front().clients.current(call.client);
    if let Some(protocol) = wanted {
        client.protocol = protocol;
        reply.set_protocol(protocol);
    }
    let proto = match client.protocol {
        Protocol::Resp2 => 2,
        Protocol::Resp3 => 3,
    };
    reply.map(6 + usize::from(role.is_some()));
    reply.bulk("server");
    reply.bulk("redis");
    reply.bulk("version");
    reply.bulk(REDIS_VERSION);
    reply.bulk("proto");
    reply.integer(proto);
    reply.bulk("id");
    reply.integer(i64::try_from(call.client.0).unwrap_or(i64::MAX));
    reply.bulk("mode");
    reply.bulk(P::MODE);
    if let Some(role) = role {
        reply.bulk("role");
        reply.bulk(role);
    }
    reply.bulk("modules");
    reply.array(0);
}

fn parse_version(version: &[u8]) -> Result<Protocol, &'static str> {
    match canonical_integer(version) {
        Some(2) => Ok(Protocol::Resp2),
        Some(3) => Ok(Protocol::Resp3),
        Some(_) => Err("NOPROTO unsupported protocol version"),
        None => Err("ERR Protocol version is not an integer or out of range"),
    }
}

/// What `CLIENT SETNAME` answers to a bad name.
pub(super) const BAD_CLIENT_NAME: &str =
    "ERR Client names cannot contain spaces, newlines or special characters.";

/// Whether a connection may be called so: printable, without spaces; empty removes the name.
pub(super) fn is_client_name(name: &[u8]) -> bool {
    name.iter().all(|b| (b'!'..=b'~').contains(b))
}

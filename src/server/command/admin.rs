//! `INFO`, `TIME`, `ECHO`, and how a connection is ended or begun anew.

use bytes::Bytes;

use super::args::Failure;
use super::lolwut::lolwut;
use super::strings::finish;
use crate::config::process::Allow;
use crate::front::{Call, Closing, CommandSpec, InfoSections, Reply, ReplyMode, category, flag};
use crate::resp::Protocol;
use crate::server::Server;

type Spec = CommandSpec<Server>;

/// The commands of this file.
pub(super) fn commands() -> Vec<Spec> {
    vec![
        Spec::new("info", -1, |s, c, r| {
            let words = c.args().iter().map(|word| String::from_utf8_lossy(word));
            r.verbatim(s.info(&InfoSections::parse(words)));
        })
        .flags(flag::LOADING | flag::STALE)
        .acl(category::DANGEROUS)
        .tips(&[
            "nondeterministic_output",
            "request_policy:all_shards",
            "response_policy:special",
        ])
        .doc(
            "1.0.0",
            "server",
            "O(1)",
            "Get information and statistics about the server",
        ),
        Spec::new("time", 1, |s, _, r| {
            let micros = s.clock.unix_micros();
            r.array(2);
            r.bulk((micros / 1_000_000).to_string());
            r.bulk((micros % 1_000_000).to_string());
        })
        .flags(flag::LOADING | flag::STALE | flag::FAST)
        .tips(&["nondeterministic_output"])
        .doc("2.6.0", "server", "O(1)", "Return the current server time"),
        Spec::new("echo", 2, |_, c, r| r.bulk(&c.words[1]))
            .flags(flag::LOADING | flag::STALE | flag::FAST)
            .acl(category::CONNECTION)
            .doc("1.0.0", "connection", "O(1)", "Echo the given string"),
        Spec::new("quit", -1, |s, c, r| {
            s.front
                .clients
                .current(c.client)
                .close(Closing::AfterReplies);
            r.ok();
        })
        .flags(
            flag::NOSCRIPT
                | flag::LOADING
                | flag::STALE
                | flag::FAST
                | flag::NO_AUTH
                | flag::ALLOW_BUSY,
        )
        .acl(category::CONNECTION)
        .doc("1.0.0", "connection", "O(1)", "Close the connection"),
        Spec::new("reset", 1, reset)
            .flags(
                flag::NOSCRIPT
                    | flag::LOADING
                    | flag::STALE
                    | flag::FAST
                    | flag::NO_AUTH
                    | flag::ALLOW_BUSY,
            )
            .acl(category::CONNECTION)
            .doc("6.2.0", "connection", "O(1)", "Reset the connection"),
        Spec::new("lolwut", -1, |s, c, r| finish(lolwut(s, c, r), r))
            .flags(flag::READONLY | flag::FAST)
            .doc(
                "5.0.0",
                "server",
                "",
                "Display some computer art and the Redis version",
            ),
    ]
}

/// The lines of a `HELP` subcommand.
pub(super) fn help(reply: &mut Reply, lines: &[&str]) {
    reply.array(lines.len());
    for line in lines {
        reply.simple(line);
    }
}

/// The error of a subcommand with words that it does not take.
pub(super) fn unknown_subcommand(call: &Call<'_>, command: &str) -> Failure {
    Failure::wrong_subcommand(&call.words[1], command)
}

fn reset(server: &mut Server, call: &Call<'_>, reply: &mut Reply) {
    server.end_transaction(call.client);
    server.unwatch(call.client);
    let front = &mut server.front;
    front.pubsub.forget(&mut front.clients, call.client);
    let (user, is_open) = (front.acl.default_user(), front.acl.default_is_open());
    let client = front.clients.current(call.client);
    client.user = user;
    client.authenticated = is_open;
    client.name = Bytes::new();
    client.protocol = Protocol::Resp2;
    // A reply that is to be skipped is skipped, this one too.
    if client.reply_mode != ReplyMode::Skip {
        client.reply_mode = ReplyMode::On;
    }
    server.set_monitor(call.client, false);
    server.end_tracking(call.client);
    reply.set_protocol(Protocol::Resp2);
    server.select(call.client, 0);
    reply.simple("RESET");
}

impl Server {
    /// Whether this client is among those whom a setting allows.
    pub(crate) fn allows(&mut self, whom: Allow, call: &Call<'_>) -> bool {
        match whom {
            Allow::No => false,
            Allow::Yes => true,
            Allow::Local => self.front.clients.current(call.client).addr.is_local(),
        }
    }
}

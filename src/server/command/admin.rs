//! `INFO`, `TIME`, `ECHO`, `DEBUG`.

use std::time::Duration;

use bytes::Bytes;

use super::args::{Failure, SYNTAX, option};
use super::digest;
use super::strings::finish;
use crate::clock::Mono;
use crate::front::{Call, Closing, CommandSpec, InfoSections, Reply, ReplyMode, category, flag};
use crate::resp::Protocol;
use crate::server::Server;
use crate::server::persist::aof::{State, reload};

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
        Spec::new("time", 1, |_, c, r| {
            let (seconds, millis) = (c.now.unix.0 / 1000, c.now.unix.0 % 1000);
            r.array(2);
            r.bulk(seconds.to_string());
            r.bulk((millis * 1000).to_string());
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
        Spec::new("debug", -2, |s, c, r| finish(debug(s, c, r), r))
            .flags(flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE)
            .doc(
                "1.0.0",
                "server",
                "Depends on subcommand.",
                "A container for debugging commands",
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
    let sub = String::from_utf8_lossy(&call.words[1]);
    format!("ERR unknown subcommand or wrong number of arguments for '{sub}'. Try {command} HELP.")
        .into()
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
    client.reply_mode = ReplyMode::On;
    client.no_evict = false;
    server.set_monitor(call.client, false);
    server.end_tracking(call.client);
    reply.set_protocol(Protocol::Resp2);
    server.select(call.client, 0);
    reply.simple("RESET");
}

fn debug(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    if !server.may_debug(call) {
        return Err("ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a local connection, otherwise you need to set this option in the configuration file, and then restart the server.".into());
    }
    match (option(&call.words[1]).as_slice(), &call.words[2..]) {
        (b"sleep", [seconds]) => {
            let seconds: f64 = std::str::from_utf8(seconds)
                .ok()
                .and_then(|text| text.parse().ok())
                .ok_or(super::args::NOT_A_FLOAT)?;
            let pause = Duration::try_from_secs_f64(seconds).map_err(|_| SYNTAX)?;
            // To stop everything is what it is for.
            std::thread::sleep(pause);
            reply.ok();
        }
        (b"digest", []) => reply.simple(&digest::digest(&server.keyspace)),
        (b"loadaof", []) => {
            let can_load = server.aof.state == State::On && server.replication.is_master();
            if !can_load || server.in_exec {
                return Err("ERR DEBUG LOADAOF is for a master with appendonly yes".into());
            }
            let on = server.front.clients.wait(call.client, Mono::NEVER, false);
            let server = server.handle();
            tokio::task::spawn_local(async move {
                let loaded = reload(&server).await;
                if let Err(error) = loaded {
                    // As redis-server: what is here now is nobody's data.
                    tracing::error!("{error:#}");
                    std::process::exit(1);
                }
                let clients = &mut server.borrow_mut().front.clients;
                clients.resolve_with(on, Reply::ok);
            });
        }
        (b"change-repl-id", []) => {
            let id = server.new_repl_id();
            server.replication.history.rename(id);
            reply.ok();
        }
        _ => {
            return Err(
                "ERR unknown subcommand or wrong number of arguments. Try DEBUG HELP.".into(),
            );
        }
    }
    Ok(())
}

impl Server {
    /// Whether `enable-debug-command` lets this client debug.
    fn may_debug(&mut self, call: &Call<'_>) -> bool {
        use crate::config::process::Allow;
        match self.config.process.enable_debug_command {
            Allow::No => false,
            Allow::Yes => true,
            Allow::Local => self.front.clients.current(call.client).addr.is_local(),
        }
    }
}

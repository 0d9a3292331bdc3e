//! What clients, operators and peers can ask the sentinel daemon.
//!
//! The commands read the decision core directly and change it only through its inputs: whoever changes
//! something waits for the core's reply, which may come after a write to disk.

mod change;
mod explain;
mod info;
mod read;
mod settings;

use std::net::IpAddr;
use std::sync::Arc;

use super::core::refusal::NO_SUCH_MASTER;
use super::core::{HELLO_CHANNEL, Input, Operator, ReplyTo, Sentinel};
use super::scripts::PendingScript;
use crate::clock::Mono;
use crate::front::{
    Call, CommandSpec, ProcessInfo, Program, Reply, WaitId, acl_commands, category,
    client_commands, command_commands, connection_commands, flag, subscription_commands,
    tracking_subcommands,
};
use crate::net::LogLevel;

/// What is to be done with the result of a look-up: the first address of the name, if it has one.
pub type OnResolved<H> = Box<dyn FnOnce(&mut H, Option<IpAddr>)>;

/// What the commands need from the daemon that they run in.
pub trait Host: Program {
    /// The decision core.
    fn core(&self) -> &Sentinel;

    /// Gives the core an input and carries out what it answers. `Output::Reply { to, reply }` ends the
    /// wait of the client: see [`wait_of`].
    fn feed(&mut self, input: Input);

    /// Looks up a host name off the loop, then calls `then`.
    fn look_up(&mut self, host: Arc<str>, then: OnResolved<Self>);

    /// The script queue, oldest first.
    fn pending_scripts(&self) -> Vec<PendingScript>;

    /// Facts about this process.
    fn process_info(&self) -> ProcessInfo;

    /// `loglevel`
    fn log_level(&self) -> LogLevel;

    /// `loglevel`
    fn set_log_level(&mut self, level: LogLevel);

    /// Ends the daemon in an orderly way; called once.
    fn shut_down(&mut self);
}

/// The client's wait that a reply of the core ends; for [`crate::front::Clients::resolve`].
pub fn wait_of(to: ReplyTo) -> WaitId {
    WaitId(to.0)
}

/// All commands of the sentinel daemon, for [`crate::front::Front::new`].
pub fn commands<H: Host>() -> Vec<CommandSpec<H>> {
    let mut all = Vec::new();
    all.extend(connection_commands());
    all.extend(subscription_commands());
    all.extend(client_commands(tracking_subcommands()));
    all.extend(acl_commands());
    all.extend(command_commands());
    all.extend(own_commands());
    all
}

fn own_commands<H: Host>() -> [CommandSpec<H>; 5] {
    [
        CommandSpec::new("info", -1, info::info)
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
        CommandSpec::new("role", 1, role)
            .flags(flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::FAST)
            .acl(category::ADMIN | category::DANGEROUS)
            .doc(
                "2.8.12",
                "server",
                "O(1)",
                "Return the role of the instance in the context of replication",
            ),
        CommandSpec::new("publish", 3, publish)
            .flags(flag::PUBSUB | flag::LOADING | flag::STALE | flag::FAST)
            .channels(crate::front::Channels::Publish)
            .doc(
                "2.0.0",
                "pubsub",
                "O(N+M) where N is the number of clients subscribed to the receiving channel and M \
                 is the total number of subscribed patterns (by any client).",
                "Post a message to a channel",
            ),
        CommandSpec::new("shutdown", -1, shutdown)
            .flags(
                flag::ADMIN
                    | flag::NOSCRIPT
                    | flag::LOADING
                    | flag::STALE
                    | flag::NO_MULTI
                    | flag::ALLOW_BUSY,
            )
            .doc(
                "1.0.0",
                "server",
                "O(N) when saving, where N is the total number of keys in all databases when saving \
                 data, otherwise O(1)",
                "Synchronously save the dataset to disk and then shut down the server",
            ),
        CommandSpec::new("sentinel", -2, |_, _, _| {})
            .flags(flag::ADMIN)
            .doc(
                "2.8.4",
                "sentinel",
                "Depends on subcommand.",
                "A container for Sentinel commands",
            )
            .subcommands(
                read::subcommands()
                    .into_iter()
                    .chain(change::subcommands())
                    .chain(settings::subcommands())
                    .collect(),
            ),
    ]
}

/// One subcommand of `SENTINEL`, with the flags that nearly all of them have.
fn subcommand<H: Host>(
    name: &'static str,
    arity: i32,
    since: &'static str,
    complexity: &'static str,
    summary: &'static str,
    handler: crate::front::Handler<H>,
) -> CommandSpec<H> {
    CommandSpec::new(name, arity, handler)
        .flags(flag::ADMIN)
        .doc(since, "sentinel", complexity, summary)
}

/// Text of a client's word. Names and addresses are text; anything else simply matches nothing.
fn text(word: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(word)
}

/// Lets the client wait for the core's answer to `request`.
fn operate<H: Host>(host: &mut H, call: &Call<'_>, request: Operator) {
    let to = begin(host, call);
    host.feed(Input::Operator { to, request });
}

/// Makes the client wait; the reply is to be given to what is returned.
fn begin<H: Host>(host: &mut H, call: &Call<'_>) -> ReplyTo {
    let wait = host.front().clients.wait(call.client, Mono::NEVER, false);
    ReplyTo(wait.0)
}

/// The same, but the client's further commands run meanwhile.
fn begin_in_order<H: Host>(host: &mut H, call: &Call<'_>) -> ReplyTo {
    ReplyTo(host.front().clients.wait_in_order(call.client).0)
}

fn role<H: Host>(host: &mut H, _: &Call<'_>, reply: &mut Reply) {
    let names: Vec<_> = host.core().master_names().cloned().collect();
    reply.array(2);
    reply.bulk("sentinel");
    reply.array(names.len());
    for name in names {
        reply.bulk(name.as_str());
    }
}

/// Hellos only. They always get `:1`, as from a real sentinel, whatever becomes of them.
fn publish<H: Host>(host: &mut H, call: &Call<'_>, reply: &mut Reply) {
    let [_, channel, message] = call.words else {
        return reply.error(crate::front::arity_error("publish"));
    };
    if channel != HELLO_CHANNEL {
        return reply.error("ERR Only HELLO messages are accepted by Sentinel instances.");
    }
    reply.integer(1);
    host.feed(Input::HelloPublished {
        payload: message.to_bytes(),
    });
}

/// There is no data set, so `SAVE`, `NOW` and `FORCE` change nothing. The client sees the connection
/// close.
fn shutdown<H: Host>(host: &mut H, call: &Call<'_>, reply: &mut Reply) {
    let (mut save, mut nosave, mut abort) = (false, false, false);
    for word in call.args() {
        match word.to_ascii_lowercase().as_slice() {
            b"save" => save = true,
            b"nosave" => nosave = true,
            b"abort" => abort = true,
            b"now" | b"force" => {}
            _ => return reply.error("ERR syntax error"),
        }
    }
    if (save && nosave) || (abort && call.args().len() > 1) {
        return reply.error("ERR syntax error");
    }
    if abort {
        return reply.error("ERR No shutdown in progress.");
    }
    tracing::warn!("User requested shutdown...");
    host.front()
        .clients
        .current(call.client)
        .close(crate::front::Closing::Now);
    host.shut_down();
}

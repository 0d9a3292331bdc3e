//! What a client of either program meets: the sentinel daemon and the data server.
//!
//! A [`Program`] owns a [`Front`]: the table of its commands, its clients, its users and their rights,
//! its subscriptions. Everything runs on one thread. A connection ([`serve`]) reads, runs every complete
//! request by a direct call, tells the program that its turn is over, and then, when others that were ready have had theirs,
//! writes what has been queued. Whoever has something for a client, be it a reply, a published message or a replication feed,
//! appends it to that client's [`OutputQueue`] in the [`Clients`] table; the connection writes it.
//!
//! A reply that needs more than the call (a vote that must be durable, a `WAIT`) is given later:
//! [`Clients::wait`] keeps the client's further commands queued until [`Clients::resolve`]. Replies that
//! may not leave before a write is durable are kept back by [`Clients::hold_turn`].

mod acl;
mod admission;
mod client;
mod client_command;
mod client_line;
mod client_memory;
mod clients;
mod command_docs;
mod command_info;
mod configure;
mod connection;
mod dispatch;
mod error_text;
mod glob;
mod hello;
mod info;
mod keys;
mod options;
mod output;
mod pubsub;
mod rates;
mod reply;
mod requests;
mod spec;
mod table;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod toy;
mod tracking;
mod unread;

use std::borrow::Cow;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::clock::{Mono, Now};
use crate::resp::{Value, Word};

pub use acl::{
    Acl, AclError, AclLog, Denied, LogEntry, Reason, RuleError, SanitizePayload, Selector,
    USERS_MAX, User, UserRef, acl_commands, hash_password, implies_default_user,
};
pub use admission::Admission;
pub use client::{
    Blocked, Client, ClientAddr, ClientId, ClientKind, Closing, Peer, ReplyMode, Tracking,
    TrackingChoice, WaitId,
};
pub use client_command::client_commands;
pub use client_line::client_line;
pub use client_memory::words_bytes;
pub use clients::Clients;
pub use command_info::command_commands;
pub use connection::serve;
#[cfg(test)]
pub(crate) use dispatch::dispatch;
pub use dispatch::{arity_error, run};
pub use error_text::ErrorText;
pub use glob::{glob_match, glob_match_ignore_case};
pub use hello::connection_commands;
pub use info::{
    DEFAULT_HZ, DataStats, InfoSections, ProcessInfo, clients_section, cpu_section, server_section,
    stats_section,
};
pub use keys::{KeyRef, command_channels, command_keys};
pub use options::{HELLO_OPTIONS, MIGRATE_OPTIONS, OptionForm, options};
pub use output::{COPY_BYTES_MAX, Chunk, OutputQueue, Overrun};
pub use pubsub::{
    Kind as SubscriptionKind, PubSub, shard_subscription_commands, subscription_commands,
};
pub use reply::Reply;
pub use requests::Requests;
pub use spec::{
    Begin, Channels, CommandInfo, CommandSpec, Find, Handler, KeySpec, category, flag, key,
};
pub use table::{AbsentCommand, Catalog, CatalogEntry, CommandId, Lookup, RenameError, Table};
pub use tracking::tracking_subcommands;

/// The Redis version whose behaviour clients meet, and which `INFO` and `HELLO` report.
pub const REDIS_VERSION: &str = "7.0.15";

/// A program that clients connect to.
pub trait Program: Sized + 'static {
    /// What it keeps for each client.
    type Session: Default + 'static;

    /// `mode` of `HELLO`: `sentinel`, `standalone`.
    const MODE: &'static str;

    /// Commands of redis-server 7.0 that the program does not have. A configuration may rename, allow and deny them
    /// all the same.
    const ABSENT_COMMANDS: &'static [AbsentCommand] = &[];

    /// The most bytes of one request, whatever the configuration allows: for a program that never gets
    /// large ones.
    const REQUEST_BYTES_MAX: usize = usize::MAX;

    /// While more than this waits to be written to a client, none of its requests run: one who never
    /// reads must not fill the memory. Bytes.
    const OUTPUT_STALL_BYTES: usize = 256 * 1024 * 1024;

    /// Its clients, users and commands.
    fn front(&mut self) -> &mut Front<Self>;

    /// The clocks, now.
    fn now(&self) -> Now;

    /// The time of the next request in a turn whose last request had `last`: requests that take long are followed by
    /// later ones. Asked for each request, so it must not cost a look at a clock.
    fn now_after(&self, last: Now) -> Now {
        last
    }

    /// `role` of `HELLO`; `None`: there is no such field.
    fn role(&self) -> Option<&'static str> {
        None
    }

    /// Why the configuration forbids a command, whoever asks for it. Asked after the check on arity, before any on
    /// rights.
    fn forbid(&mut self, call: &Call<'_>) -> Option<Cow<'static, str>> {
        let _ = call;
        None
    }

    /// A reason of its own not to run a command now: `READONLY …`, `LOADING …`. Asked after the checks
    /// on arity and rights.
    fn refuse(&mut self, call: &Call<'_>) -> Option<Cow<'static, str>> {
        let _ = call;
        None
    }

    /// A request of this client was answered with an error before it ran; a transaction is spoilt.
    /// `call` is what it asked for, if there is such a command. Returns what is said in place of `text`.
    fn refused(
        &mut self,
        client: ClientId,
        call: Option<&Call<'_>>,
        text: &[u8],
    ) -> Option<Vec<u8>> {
        let _ = (client, call, text);
        None
    }

    /// These requests of a client will run now, unless something comes between. A program whose data is large
    /// can have all of it on its way from memory to the processor, before the first one has to wait for its
    /// own. Nothing may come of it that anybody could notice.
    fn foresee(&mut self, client: ClientId, requests: &Requests<'_>) {
        let _ = (client, requests);
    }

    /// A client has sent an empty line, which asks for nothing: it is still there.
    fn heard(&mut self, client: ClientId) {
        let _ = client;
    }

    /// Runs a command by its handler. What a program measures or notes about its commands goes around it.
    fn execute(&mut self, call: &Call<'_>, handler: Handler<Self>, reply: &mut Reply) {
        handler(self, call, reply);
    }

    /// `CLIENT TRACKING` of this client has changed; what it was before.
    fn tracking_changed(&mut self, client: ClientId, before: Option<&Tracking>) {
        let _ = (client, before);
    }

    /// Whether `call` counts as a write for `CLIENT PAUSE WRITE`. `EXEC` does when it holds one.
    fn is_write(&mut self, call: &Call<'_>) -> bool {
        call.info.flags & (flag::WRITE | flag::MAY_REPLICATE) != 0
    }

    /// Takes a call into an open transaction instead of having it run now; `+QUEUED` is then answered.
    fn enqueue(&mut self, call: &Call<'_>) -> bool {
        let _ = call;
        false
    }

    /// Ends a client's wait without what it waits for, as a timeout would or with this error: for
    /// `CLIENT UNBLOCK`.
    fn unblock(&mut self, client: ClientId, on: WaitId, error: Option<&'static str>) {
        let _ = client;
        let reply = error.map_or(Value::NullArray, Value::error);
        self.front().clients.resolve(on, &reply);
    }

    /// A client that waits goes before it has what it waits for: it must not be given that any more. It is still
    /// to hear the replies that are queued for it.
    fn gives_up(&mut self, client: ClientId) {
        let _ = client;
    }

    /// A client's batch has been executed and its replies are about to leave. What must go before them
    /// (the AOF, the replication feed) goes now; [`Clients::hold_turn`] keeps them back.
    fn end_turn(&mut self, client: ClientId) {
        let _ = client;
    }

    /// The output of a client with [`Client::notify_drained`] has been written to the last byte.
    fn drained(&mut self, client: ClientId) {
        let _ = client;
    }

    /// A connection has ended; the client is still in the table and is removed after this call.
    fn closed(&mut self, client: ClientId) {
        let _ = client;
    }
}

/// One request to be executed.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Who asks.
    pub client: ClientId,
    /// All words, the command's name first. What is to be kept of them beyond the command is [`Word::to_bytes`].
    pub words: &'a [Word<'a>],
    /// The command, or subcommand.
    pub command: CommandId,
    /// What it is.
    pub info: &'static CommandInfo,
    /// When this request began; in a transaction, when its `EXEC` did.
    pub now: Now,
}

impl Call<'_> {
    /// The words after the name and, for a subcommand, after its name too.
    pub fn args(&self) -> &[Word<'_>] {
        &self.words[1..]
    }
}

/// Settings that a configuration or `CONFIG SET` changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrontSettings {
    /// `maxclients`
    pub maxclients: usize,
    /// `timeout`: close a client that has been silent for so long; zero: never.
    pub idle_timeout: Duration,
    /// `protected-mode`: without a password only local clients are served.
    pub protected_mode: bool,
    /// `client-query-buffer-limit`: bytes of requests that may wait for one client.
    pub query_bytes_max: usize,
    /// `proto-max-bulk-len`: the longest word of a request, in bytes.
    pub bulk_bytes_max: usize,
}

impl Default for FrontSettings {
    fn default() -> FrontSettings {
        FrontSettings {
            maxclients: 10_000,
            idle_timeout: Duration::ZERO,
            protected_mode: false,
            query_bytes_max: 1024 * 1024 * 1024,
            bulk_bytes_max: 512 * 1024 * 1024,
        }
    }
}

/// Counters for `INFO`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrontStats {
    /// `total_connections_received`
    pub connections: u64,
    /// `rejected_connections`
    pub rejected_connections: u64,
    /// `total_commands_processed`
    pub commands: u64,
    /// `total_error_replies`
    pub error_replies: u64,
    /// `total_net_input_bytes`
    pub net_input_bytes: u64,
    /// `total_net_output_bytes`
    pub net_output_bytes: u64,
    /// `total_net_repl_input_bytes`: from our master.
    pub repl_input_bytes: u64,
    /// `total_net_repl_output_bytes`: to replicas.
    pub repl_output_bytes: u64,
    /// `total_reads_processed`
    pub reads: u64,
    /// `total_writes_processed`
    pub writes: u64,
    /// `evicted_clients`
    pub evicted_clients: u64,
}

/// What a pause has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PauseMode {
    /// Only what writes.
    Write,
    /// Everything that ordinary clients ask.
    All,
}

/// Who has stopped clients. Each ends only its own pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PauseReason {
    /// `CLIENT PAUSE`
    Command,
    /// A shutdown.
    Shutdown,
    /// A failover that this server has begun.
    Failover,
}

/// A pause that is in force until a moment, and why.
#[derive(Clone, Copy, Debug)]
struct Pause {
    reason: PauseReason,
    mode: PauseMode,
    until: Mono,
}

/// How long a client that is to go may take none of what is still queued for it. A kernel holds megabytes back for
/// it, and reports that it has taken some when that is a third of them.
const LINGER_MAX: Duration = Duration::from_secs(60);

/// The part of a program that its clients meet.
pub struct Front<P: Program> {
    /// The commands.
    pub table: Table<P>,
    /// The clients.
    pub clients: Clients<P::Session>,
    /// The users.
    pub acl: Acl,
    /// The subscriptions.
    pub pubsub: PubSub,
    /// Settings.
    pub settings: FrontSettings,
    /// Counters.
    pub stats: FrontStats,
    /// Connections that are to be clients when their TLS handshake is over.
    handshakes: Rc<Cell<usize>>,
    /// At most one for each reason.
    pauses: Vec<Pause>,
    rates: rates::Rates,
}

impl<P: Program> Front<P> {
    /// A command's name, for a subcommand with that of its command: `config|get`.
    pub fn full_name(&self, command: CommandId) -> &str {
        &self.table.catalog().entry(command).full_name
    }

    /// A front without clients that serves these commands.
    pub fn new(commands: impl IntoIterator<Item = CommandSpec<P>>) -> Front<P> {
        let table = Table::new(commands, P::ABSENT_COMMANDS);
        Front {
            acl: Acl::new(table.catalog()),
            table,
            clients: Clients::default(),
            pubsub: PubSub::default(),
            settings: FrontSettings::default(),
            stats: FrontStats::default(),
            handshakes: Rc::default(),
            pauses: Vec::new(),
            rates: rates::Rates::default(),
        }
    }

    /// Publishes to everyone subscribed; returns how many received it.
    pub fn publish(&mut self, channel: &[u8], message: &[u8], now: Mono) -> usize {
        self.pubsub
            .publish(&mut self.clients, channel, message, now)
    }

    /// Pauses ordinary clients until `until`. A running pause for the same reason is only ever extended, and
    /// only ever widened to [`PauseMode::All`].
    pub fn pause(&mut self, reason: PauseReason, mode: PauseMode, until: Mono) {
        match self.pauses.iter_mut().find(|pause| pause.reason == reason) {
            None => self.pauses.push(Pause {
                reason,
                mode,
                until,
            }),
            Some(pause) => {
                pause.until = pause.until.max(until);
                if mode == PauseMode::All {
                    pause.mode = mode;
                }
            }
        }
    }

    /// Ends the pause for this reason.
    pub fn unpause(&mut self, reason: PauseReason) {
        self.end_pauses(|pause| pause.reason == reason);
    }

    fn end_pauses(&mut self, is_over: impl Fn(&Pause) -> bool) {
        let before = self.pauses.len();
        self.pauses.retain(|pause| !is_over(pause));
        if self.pauses.len() == before {
            return;
        }
        // Whoever is still to wait waits again when the request is tried.
        self.clients.resume_put_off();
    }

    /// The pause that is in force, the widest if there are several.
    pub fn paused(&self, now: Mono) -> Option<PauseMode> {
        let in_force = self.pauses.iter().filter(|pause| pause.until > now);
        in_force.map(|pause| pause.mode).max()
    }

    /// What comes with time: the end of a pause, idle clients, soft output limits. To be called about
    /// ten times a second.
    pub fn tick(&mut self, now: Mono) {
        self.end_pauses(|pause| pause.until <= now);
        self.rates.sample(now, self.stats);
        let idle_timeout = self.settings.idle_timeout;
        let limits = self.clients.limits;
        for client in self.clients.iter_mut() {
            let is_idle = !idle_timeout.is_zero()
                && client.kind == ClientKind::Normal
                && client.subscription_count() == 0
                && !client.is_monitor
                && client.blocked.is_none()
                && now.since(client.last_interaction) > idle_timeout;
            // What is held back it cannot read.
            let is_to_go = client.closing == Closing::AfterReplies || client.sends_no_more;
            let does_not_read = is_to_go
                && client.held.is_none()
                && now.since(client.last_interaction) > LINGER_MAX;
            if is_idle || does_not_read || client.is_over_output_limit(&limits, now) {
                client.close(Closing::Now);
            }
        }
        self.evict_clients();
    }
}

//! One connected client, as the program's one thread sees it.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::task::Waker;

use bytes::Bytes;

use super::acl::UserRef;
use super::output::{OutputQueue, REDIS_BUFFER_BYTES};
use super::reply::Reply;
use super::table::CommandId;
use crate::clock::Mono;
use crate::config::process::{OutputLimit, OutputLimits};
use crate::resp::Protocol;

/// The number of a connection (`CLIENT ID`). Rises from 1 and is never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u64);

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of something that a client waits for. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaitId(pub u64);

/// One end of a client's connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAddr {
    /// TCP, TLS or not.
    Tcp(SocketAddr),
    /// A Unix socket: the path we listen on.
    Unix(Rc<str>),
}

impl ClientAddr {
    /// Whether it is local for protected mode, and for what a configuration allows to local clients: a Unix socket,
    /// 127.0.0.1 and ::1. As with redis-server, no other address of 127.0.0.0/8 is.
    pub fn is_local(&self) -> bool {
        const LOCAL: [IpAddr; 2] = [
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ];
        match self {
            ClientAddr::Tcp(addr) => LOCAL.contains(&addr.ip().to_canonical()),
            ClientAddr::Unix(_) => true,
        }
    }
}

impl fmt::Display for ClientAddr {
    /// As `CLIENT LIST` prints it: `1.2.3.4:5`, `[::1]:5`, `/path:0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientAddr::Tcp(addr) => SocketAddr::new(addr.ip().to_canonical(), addr.port()).fmt(f),
            ClientAddr::Unix(path) => write!(f, "{path}:0"),
        }
    }
}

/// Both ends of an accepted connection, and how it came.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The client's end.
    pub addr: ClientAddr,
    /// Our end.
    pub laddr: ClientAddr,
    /// The descriptor's number, for `CLIENT LIST`; −1 when unknown.
    pub fd: i32,
}

/// What a client is, for `CLIENT LIST`, `CLIENT KILL TYPE` and the output limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientKind {
    /// An ordinary client. One with subscriptions counts as a pub/sub client.
    #[default]
    Normal,
    /// A replica that we feed.
    Replica,
    /// The link to our own master.
    Master,
}

/// What `CLIENT REPLY` has chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplyMode {
    /// Replies are sent.
    #[default]
    On,
    /// None are.
    Off,
    /// The reply to the next command is not sent; becomes `Skip` after the present command.
    SkipNext,
    /// The present command's reply is not sent.
    Skip,
}

/// Why a client's further commands wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// For a reply that the program will give by [`super::Clients::resolve`].
    Waiting {
        /// Which.
        on: WaitId,
        /// When it gives up by itself; [`Mono::NEVER`] for never. The program watches it.
        until: Mono,
        /// Whether `CLIENT UNBLOCK` may end the wait.
        can_unblock: bool,
    },
    /// A command was put off by `CLIENT PAUSE` and is tried again when the pause ends. Whoever has the lower number
    /// goes first.
    Paused(WaitId),
}

/// How a connection is to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Closing {
    /// It is not.
    #[default]
    No,
    /// When what is queued has been written.
    AfterReplies,
    /// Now.
    Now,
}

/// Which keys `CLIENT TRACKING` tracks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TrackingChoice {
    /// All that are read.
    #[default]
    All,
    /// Those that are read right after `CLIENT CACHING YES`.
    OptIn,
    /// All but those that are read right after `CLIENT CACHING NO`.
    OptOut,
}

/// Settings of `CLIENT TRACKING`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tracking {
    /// Invalidations go to this client instead.
    pub redirect: Option<ClientId>,
    /// One could not go there: that client has gone.
    pub is_broken: bool,
    /// `BCAST`
    pub broadcast: bool,
    /// `OPTIN`, `OPTOUT`
    pub choice: TrackingChoice,
    /// `NOLOOP`
    pub no_loop: bool,
    /// `PREFIX`; the empty one is for all keys.
    pub prefixes: BTreeSet<Bytes>,
    /// What they take.
    pub(super) prefix_bytes: usize,
    /// `CLIENT CACHING`, for the next command.
    pub caching: Option<bool>,
}

/// A connected client. `S` is what the program itself keeps for each client.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own about a client"
)]
pub struct Client<S> {
    /// Its number.
    pub id: ClientId,
    /// Its address.
    pub addr: ClientAddr,
    /// Our end's address.
    pub laddr: ClientAddr,
    /// Its descriptor, for display.
    pub fd: i32,
    /// `CLIENT SETNAME`; empty: none.
    pub name: Bytes,
    /// `CLIENT SETINFO LIB-NAME`
    pub lib_name: Bytes,
    /// `CLIENT SETINFO LIB-VER`
    pub lib_ver: Bytes,
    /// `HELLO`
    pub protocol: Protocol,
    /// Whose rights it has.
    pub user: UserRef,
    /// Whether it has shown that it may have them.
    pub authenticated: bool,
    /// What it is.
    pub kind: ClientKind,
    /// When it connected.
    pub created: Mono,
    /// When it last sent something, or took some of what it is sent.
    pub last_interaction: Mono,
    /// Its selected database.
    pub db: usize,
    /// The last command it sent.
    pub last_command: Option<CommandId>,
    /// Its channel subscriptions.
    pub channels: BTreeSet<Bytes>,
    /// Its pattern subscriptions.
    pub patterns: BTreeSet<Bytes>,
    /// Its subscriptions to shard channels.
    pub shard_channels: BTreeSet<Bytes>,
    /// What waits to be written to it.
    pub output: OutputQueue,
    /// Bytes read from it that wait to be executed.
    pub query_bytes: usize,
    /// Bytes that are reserved for more of it.
    pub query_free_bytes: usize,
    /// Bytes that the program keeps for a transaction: commands that are queued, keys that are watched.
    pub multi_bytes: usize,
    /// Bytes that its subscriptions take.
    pub(super) subscription_bytes: usize,
    /// What it counts in the sum over all clients, when there is a limit for that.
    pub(super) counted_bytes: usize,
    /// What the words of the command took that last made it wait. They are kept while it does.
    pub(super) argv_bytes: usize,
    /// Why its commands wait, if they do.
    pub blocked: Option<Blocked>,
    /// Some of what is queued for it may not leave until [`super::Clients::release`]: what that tells of is not
    /// durable yet.
    pub held: Option<WaitId>,
    /// Nor do its commands run until then: there are replies of its own among that.
    pub(super) is_kept: bool,
    /// Its turn is over, and its replies have had no chance yet to leave.
    pub(super) is_to_write: bool,
    /// How it ends.
    pub closing: Closing,
    /// It has closed its sending side.
    pub(super) sends_no_more: bool,
    /// `CLIENT REPLY`
    pub reply_mode: ReplyMode,
    /// `CLIENT TRACKING`
    pub tracking: Option<Tracking>,
    /// `MONITOR`
    pub is_monitor: bool,
    /// `CLIENT NO-EVICT`
    pub no_evict: bool,
    /// It is noted that something was sent to it outside its own turn.
    pub(super) is_prompted: bool,
    /// The program wants [`super::Program::drained`] when the output queue has emptied.
    pub notify_drained: bool,
    /// The number of queued commands of a transaction, while they run too; `None` outside one.
    pub multi: Option<usize>,
    /// A key that it watches has changed.
    pub lost_watch: bool,
    /// What the program keeps.
    pub session: S,
    pub(super) waker: Option<Waker>,
}

impl<S: Default> Client<S> {
    pub(super) fn new(id: ClientId, peer: Peer, user: UserRef, now: Mono) -> Client<S> {
        Client {
            id,
            addr: peer.addr,
            laddr: peer.laddr,
            fd: peer.fd,
            name: Bytes::new(),
            lib_name: Bytes::new(),
            lib_ver: Bytes::new(),
            protocol: Protocol::Resp2,
            user,
            authenticated: false,
            kind: ClientKind::Normal,
            created: now,
            last_interaction: now,
            db: 0,
            last_command: None,
            channels: BTreeSet::new(),
            patterns: BTreeSet::new(),
            shard_channels: BTreeSet::new(),
            output: OutputQueue::default(),
            query_bytes: 0,
            query_free_bytes: 0,
            multi_bytes: 0,
            subscription_bytes: 0,
            counted_bytes: 0,
            argv_bytes: 0,
            blocked: None,
            held: None,
            is_kept: false,
            is_to_write: false,
            closing: Closing::No,
            sends_no_more: false,
            reply_mode: ReplyMode::On,
            tracking: None,
            is_monitor: false,
            no_evict: false,
            is_prompted: false,
            notify_drained: false,
            multi: None,
            lost_watch: false,
            session: S::default(),
            waker: None,
        }
    }
}

impl<S> Client<S> {
    /// How many channels and patterns it is subscribed to, shard channels included.
    pub fn subscription_count(&self) -> usize {
        self.channels.len() + self.patterns.len() + self.shard_channels.len()
    }

    /// Which of the limits applies to all that waits for it.
    fn output_limit(&self, limits: &OutputLimits) -> OutputLimit {
        match self.kind {
            ClientKind::Replica => limits.replica,
            ClientKind::Normal if self.subscription_count() > 0 => limits.pubsub,
            ClientKind::Normal | ClientKind::Master => limits.normal,
        }
    }

    /// Whether more waits for it than it may leave unread. What is pushed to an ordinary client counts as messages to a
    /// subscriber do: its replies have no limit unless one is configured, since it need only ask for less, but others
    /// decide how much is pushed.
    pub(super) fn is_over_output_limit(&mut self, limits: &OutputLimits, now: Mono) -> bool {
        let limit = self.output_limit(limits);
        self.output.is_over(limit, now)
            || (self.kind == ClientKind::Normal && self.output.is_pushed_over(limits.pubsub, now))
    }

    /// Begins a reply at the end of what waits for it. Its budget is what the hard limit leaves: the soft one is for what
    /// waits, which nothing does while a command runs.
    pub(super) fn begin_reply(&mut self, limits: &OutputLimits) -> Reply {
        let hard_bytes = self.output_limit(limits).hard_bytes;
        let tail = self.output.take_tail();
        let bytes_max = match usize::try_from(hard_bytes) {
            Ok(0) | Err(_) => usize::MAX,
            Ok(max) => max
                .saturating_add(REDIS_BUFFER_BYTES)
                .saturating_sub(self.output.len()),
        };
        // What stands behind a gap is one piece.
        let in_pieces = self.output.gap_count() == 0;
        Reply::onto(tail, self.protocol, bytes_max, in_pieces)
    }

    /// Queues the reply that [`Client::begin_reply`] has begun. A client for whom it is too long is closed.
    pub(super) fn end_reply(&mut self, reply: Reply) {
        let bytes = reply.len();
        let is_over = reply.is_over();
        let (pieces, tail) = reply.into_pieces();
        self.output.put_back(pieces, tail);
        if is_over {
            tracing::warn!(
                client = %self.id, addr = %self.addr, bytes,
                "client closed: a reply is over client-output-buffer-limit"
            );
            self.close(Closing::Now);
        }
    }

    /// Whether the reply that is complete now is left out, at once or late. Goes on to what `CLIENT REPLY` has chosen for
    /// the next one.
    pub(super) fn leaves_out_reply(&mut self) -> bool {
        let (is_left_out, next) = match self.reply_mode {
            ReplyMode::On => (false, ReplyMode::On),
            ReplyMode::Off => (true, ReplyMode::Off),
            ReplyMode::SkipNext => (true, ReplyMode::Skip),
            ReplyMode::Skip => (true, ReplyMode::On),
        };
        self.reply_mode = next;
        is_left_out
    }

    /// Ends the connection: at once, or when its replies are written. Never softens an earlier wish.
    pub fn close(&mut self, how: Closing) {
        if self.closing != Closing::Now {
            self.closing = how;
        }
        if how == Closing::Now {
            self.output.clear();
        }
        self.wake();
    }

    /// True while it takes part in anything.
    pub fn is_open(&self) -> bool {
        self.closing != Closing::Now
    }

    /// True when its next command may run.
    pub fn is_ready(&self) -> bool {
        self.blocked.is_none() && !self.is_kept && self.closing == Closing::No
    }

    /// Has the next [`Client::wake`] wake this.
    pub fn wakes(&mut self, waker: &Waker) {
        let known = self.waker.as_ref();
        if !known.is_some_and(|known| known.will_wake(waker)) {
            self.waker = Some(waker.clone());
        }
    }

    /// Makes its connection look at its state again.
    pub fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

//! What goes into the core and what comes out of it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{Addr, Event, Globals, Level, Record, Tuning};
use crate::ids::{Epoch, MasterName, SentinelId};
use crate::resp::{Value, encode_request};

/// One connection attempt and the connection that it becomes. Never reused, so that nothing that
/// arrives late can be taken for something of a newer connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// What a link is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkKind {
    /// Requests and replies.
    Cmd,
    /// The subscription to hellos.
    PubSub,
}

/// The place in the order of durable states. A later one includes all earlier ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

/// Where an answer goes; made up by the driver, opaque to the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyTo(pub u64);

/// Why a link is down, or did not come up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DownReason {
    /// The other side actively refused the connection (RST to a SYN).
    Refused,
    /// The other side closed an established connection.
    Closed,
    /// Anything else, in words: unreachable, reset, TLS, not RESP, too large.
    Failed(String),
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// The loop ran `late` behind its own plan. Comes before the input that had queued up meanwhile.
    Stalled {
        /// By how much.
        late: Duration,
    },
    /// A deadline of [`super::Sentinel::next_deadline`] may have passed. Comes after all queued input.
    Tick,
    /// A connection attempt succeeded (TLS included).
    LinkUp {
        /// Which.
        link: LinkId,
        /// Our own end's address, for hellos.
        local: IpAddr,
    },
    /// A connection broke or could not be made. The driver has forgotten the link.
    LinkDown {
        /// Which.
        link: LinkId,
        /// Why.
        reason: DownReason,
    },
    /// The next reply, or push message, on a link.
    Reply {
        /// Which.
        link: LinkId,
        /// What.
        reply: Value,
    },
    /// A client or peer has sent `PUBLISH __sentinel__:hello`. The caller answers `:1` by itself.
    HelloPublished {
        /// The message.
        payload: Bytes,
    },
    /// A look-up ended.
    Resolved {
        /// The name.
        host: Arc<str>,
        /// Its first address; `None`: it has none now.
        ip: Option<IpAddr>,
    },
    /// The state of this and all earlier numbers is on disk.
    Persisted(Seq),
    /// Writing the state failed; `error` is the operating system's text. The core asks again.
    PersistFailed {
        /// The newest state in the failed write.
        seq: Seq,
        /// Why.
        error: String,
    },
    /// `SENTINEL IS-MASTER-DOWN-BY-ADDR`. Answered by [`Output::Reply`], perhaps after a write.
    Asked {
        /// Where the answer goes.
        to: ReplyTo,
        /// Host part of the address asked about.
        host: String,
        /// Port part.
        port: u16,
        /// The asker's epoch.
        epoch: Epoch,
        /// The candidate that wants our vote; `None` for `*`.
        candidate: Option<SentinelId>,
    },
    /// `SENTINEL ORDERED-FAILOVER`: the request for a vote that follows on the same connection belongs to
    /// a failover that an operator ordered. The caller answers `+OK` by itself.
    Ordered {
        /// Host part of the address of the master.
        host: String,
        /// Port part.
        port: u16,
        /// The epoch of the candidacy.
        epoch: Epoch,
        /// Who stands.
        candidate: SentinelId,
    },
    /// An operator's command that changes something. Answered by [`Output::Reply`].
    Operator {
        /// Where the answer goes.
        to: ReplyTo,
        /// What to do.
        request: Operator,
    },
}

/// An operator's command that changes something, already checked for form.
#[derive(Clone, Debug)]
pub enum Operator {
    /// `SENTINEL MONITOR`, with the address resolved.
    Monitor {
        /// The new master's name.
        name: MasterName,
        /// Where it is.
        addr: Addr,
        /// Its quorum, at least 1.
        quorum: u32,
    },
    /// `SENTINEL REMOVE`.
    Remove(MasterName),
    /// `SENTINEL RESET` of the masters with these names; answers their number.
    Reset(Vec<MasterName>),
    /// `SENTINEL FAILOVER`.
    Failover(MasterName),
    /// `SENTINEL SET`: the options before a bad one are applied, then its error is answered.
    Set {
        /// Which master.
        name: MasterName,
        /// What to change, in order.
        options: Vec<SetOption>,
        /// The error of the first bad option, if any.
        error: Option<String>,
    },
    /// `SENTINEL CONFIG SET`: the new globals as a whole.
    ConfigSet(Globals),
    /// `SENTINEL FLUSHCONFIG`, and any other wish to have the state written now.
    Flush,
    /// `SENTINEL DEBUG`, as a whole. `error` as in [`Operator::Set`].
    Debug {
        /// The new values.
        tuning: Tuning,
        /// The error of the first bad pair, if any.
        error: Option<String>,
    },
    /// `SENTINEL PAUSE`: no automatic failovers. Answers what became of it at each sentinel.
    Pause {
        /// Of this master.
        name: MasterName,
        /// For so long, up to [`super::PAUSE_MAX`]; `None`: until `SENTINEL RESUME`.
        length: Option<Duration>,
        /// By the sentinel that got the order: not to be passed on, and answered with `+OK`.
        forwarded: bool,
    },
    /// `SENTINEL RESUME`.
    Resume {
        /// Which master.
        name: MasterName,
        /// As above.
        forwarded: bool,
    },
    /// `SENTINEL FORGET`: the replica or peer at this address.
    Forget {
        /// Of this master.
        name: MasterName,
        /// The address.
        addr: Addr,
    },
    /// `SENTINEL SIMULATE-FAILURE`: replaces the flags.
    SimulateFailure {
        /// Exit after `+elected-leader`.
        after_election: bool,
        /// Exit after `+promoted-slave`.
        after_promotion: bool,
    },
}

/// One option of `SENTINEL SET`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetOption {
    /// `down-after-milliseconds`
    DownAfter(Duration),
    /// `failover-timeout`
    FailoverTimeout(Duration),
    /// `parallel-syncs`
    ParallelSyncs(u32),
    /// `quorum`
    Quorum(u32),
    /// `notification-script`; `None` removes it
    NotificationScript(Option<Arc<str>>),
    /// `client-reconfig-script`; `None` removes it
    ClientReconfigScript(Option<Arc<str>>),
    /// `auth-pass`; `None` removes it
    AuthPass(Option<Arc<str>>),
    /// `auth-user`; `None` removes it
    AuthUser(Option<Arc<str>>),
    /// `rename-command old new`
    RenameCommand(String, String),
    /// `master-reboot-down-after-period`, under either spelling
    RebootDownAfter(Duration),
    /// `refused-after-milliseconds` (ours)
    RefusedAfter(Duration),
}

/// What must be done, in order.
#[derive(Clone, Debug)]
pub enum Output {
    /// The durable state has changed. Take [`super::Sentinel::durable`] now or later, write it, and say
    /// which number it had.
    Persist {
        /// The number of the state as it is now.
        seq: Seq,
        /// False for what may wait a little to be written together with more: discoveries.
        urgent: bool,
    },
    /// Open a connection.
    Connect {
        /// Under this name.
        link: LinkId,
        /// To here.
        to: SocketAddr,
        /// The host as it was given: the name that TLS asks for. As in redis-sentinel a certificate is
        /// held against the authority alone, not against this name.
        host: Arc<str>,
    },
    /// Close a connection, or give up opening it. Nothing more is heard of it.
    Close {
        /// Which.
        link: LinkId,
    },
    /// Send a request on an open link.
    Send {
        /// Which.
        link: LinkId,
        /// What.
        request: Request,
        /// The command names that this instance knows others by.
        renamed: Arc<BTreeMap<String, String>>,
    },
    /// Answer a client.
    Reply {
        /// Which.
        to: ReplyTo,
        /// What.
        reply: Value,
    },
    /// Log and publish.
    Event(Event),
    /// A line for the log alone.
    Log(Level, String),
    /// A decision as it is to be remembered across restarts; a later one of the same id replaces it. Nothing waits for
    /// it.
    Record(Arc<Record>),
    /// Look a host name up, off the loop; answered by [`Input::Resolved`].
    Resolve(Arc<str>),
    /// Run a script: its path and its arguments.
    Script {
        /// Of this master.
        master: MasterName,
        /// The program.
        path: Arc<str>,
        /// What follows it.
        args: Vec<String>,
    },
    /// Exit at once with this status: `SENTINEL SIMULATE-FAILURE`.
    Exit(i32),
}

/// What `AUTH` sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The user; `None` for the one-argument form.
    pub user: Option<Arc<str>>,
    /// The password.
    pub password: Arc<str>,
}

/// A request to an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// `AUTH [user] password`
    Auth(Credentials),
    /// `CLIENT SETNAME sentinel-<first 8 of our id>-<cmd|pubsub>`
    SetName(Arc<str>),
    /// `PING`
    Ping,
    /// `INFO`
    Info,
    /// `SUBSCRIBE __sentinel__:hello`
    Subscribe,
    /// `PUBLISH __sentinel__:hello <payload>`
    Publish(Arc<str>),
    /// `SENTINEL is-master-down-by-addr ip port epoch <candidate|*>`
    AskMasterDown {
        /// Address of the master, as announced.
        host: Arc<str>,
        /// Its port.
        port: u16,
        /// Our epoch, or that of the failover.
        epoch: Epoch,
        /// Whom to vote for; `None`: only the down state is asked.
        candidate: Option<SentinelId>,
    },
    /// `SENTINEL ordered-failover ip port epoch candidate`, to peers: the next request for a vote belongs to
    /// an ordered failover. Ours; a real redis-sentinel answers with an error.
    Ordered {
        /// Address of the master, as announced.
        host: Arc<str>,
        /// Its port.
        port: u16,
        /// The epoch of the candidacy.
        epoch: Epoch,
        /// Who stands.
        candidate: SentinelId,
    },
    /// `SENTINEL pause master milliseconds forwarded`, to peers; ours.
    Pause {
        /// Which master.
        master: MasterName,
        /// What is left of the pause; `None`: until it is resumed.
        length: Option<Duration>,
    },
    /// `SENTINEL resume master forwarded`, to peers; ours.
    Resume {
        /// Which master.
        master: MasterName,
    },
    /// The transaction that points an instance at a master, or promotes it: `MULTI`, `SLAVEOF`,
    /// `CONFIG REWRITE`, `CLIENT KILL TYPE normal`, `CLIENT KILL TYPE pubsub`, `EXEC`.
    SlaveOf(Option<(Arc<str>, u16)>),
    /// `SCRIPT KILL`
    ScriptKill,
}

/// The channel of hellos.
pub const HELLO_CHANNEL: &str = "__sentinel__:hello";

impl Request {
    /// How many replies it gets.
    pub fn reply_count(&self) -> usize {
        match self {
            Request::SlaveOf(_) => 6,
            Request::Auth(_)
            | Request::SetName(_)
            | Request::Ping
            | Request::Info
            | Request::Subscribe
            | Request::Publish(_)
            | Request::AskMasterDown { .. }
            | Request::Ordered { .. }
            | Request::Pause { .. }
            | Request::Resume { .. }
            | Request::ScriptKill => 1,
        }
    }

    /// Whether it leaves the other side as it is, beside what it knows of the connection itself: all that
    /// an observing sentinel may send.
    pub fn changes_nothing(&self) -> bool {
        match self {
            Request::Auth(_)
            | Request::SetName(_)
            | Request::Ping
            | Request::Info
            | Request::Subscribe
            | Request::AskMasterDown {
                candidate: None, ..
            } => true,
            Request::Publish(_)
            | Request::AskMasterDown {
                candidate: Some(_), ..
            }
            | Request::Ordered { .. }
            | Request::Pause { .. }
            | Request::Resume { .. }
            | Request::SlaveOf(_)
            | Request::ScriptKill => false,
        }
    }

    /// Appends the request as RESP; `renamed` maps upper-case command names.
    pub fn encode(&self, renamed: &BTreeMap<String, String>, out: &mut Vec<u8>) {
        let mut put = |words: &[&str]| {
            let mut words = words.to_vec();
            if let Some(name) = renamed.get(words[0]) {
                words[0] = name;
            }
            encode_request(&words, out);
        };
        match self {
            Request::Auth(Credentials {
                user: None,
                password,
            }) => put(&["AUTH", password]),
            Request::Auth(Credentials {
                user: Some(user),
                password,
            }) => {
                put(&["AUTH", user, password]);
            }
            Request::SetName(name) => put(&["CLIENT", "SETNAME", name]),
            Request::Ping => put(&["PING"]),
            Request::Info => put(&["INFO"]),
            Request::Subscribe => put(&["SUBSCRIBE", HELLO_CHANNEL]),
            Request::Publish(payload) => put(&["PUBLISH", HELLO_CHANNEL, payload]),
            Request::AskMasterDown {
                host,
                port,
                epoch,
                candidate,
            } => put(&[
                "SENTINEL",
                "is-master-down-by-addr",
                host,
                &port.to_string(),
                &epoch.to_string(),
                candidate.as_ref().map_or("*", SentinelId::as_str),
            ]),
            Request::Ordered {
                host,
                port,
                epoch,
                candidate,
            } => put(&[
                "SENTINEL",
                "ordered-failover",
                host,
                &port.to_string(),
                &epoch.to_string(),
                candidate.as_str(),
            ]),
            Request::Pause { master, length } => {
                let length = match length {
                    None => "0".to_owned(),
                    // Nothing would be a pause without end.
                    Some(length) => format!("{}ms", crate::clock::millis(*length).max(1)),
                };
                put(&["SENTINEL", "pause", master.as_str(), &length, "forwarded"]);
            }
            Request::Resume { master } => {
                put(&["SENTINEL", "resume", master.as_str(), "forwarded"]);
            }
            Request::SlaveOf(target) => {
                put(&["MULTI"]);
                match target {
                    None => put(&["SLAVEOF", "NO", "ONE"]),
                    Some((host, port)) => put(&["SLAVEOF", host, &port.to_string()]),
                }
                put(&["CONFIG", "REWRITE"]);
                put(&["CLIENT", "KILL", "TYPE", "normal"]);
                put(&["CLIENT", "KILL", "TYPE", "pubsub"]);
                put(&["EXEC"]);
            }
            Request::ScriptKill => put(&["SCRIPT", "KILL"]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renames_apply_to_the_command_name() {
        let renamed = BTreeMap::from([("CONFIG".to_owned(), "cfg".to_owned())]);
        let mut out = Vec::new();
        Request::SlaveOf(None).encode(&renamed, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text.matches('*').count(),
            Request::SlaveOf(None).reply_count()
        );
        assert!(text.contains("$3\r\ncfg\r\n$7\r\nREWRITE\r\n"));
        assert!(!text.contains("CONFIG"));
    }
}

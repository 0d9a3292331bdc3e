//! Pausing the automatic failovers of a master, on this sentinel and on its peers.
//!
//! A paused sentinel neither starts an automatic failover of that master, nor goes on with one that it
//! leads and that can still be called off, nor votes for one. All else goes on: it watches, says whether
//! the master is down, follows new configurations, and leads and votes for failovers that an operator
//! orders.
//!
//! **Why a paused quorum does not fail over.** A leader of ours needs the votes of a majority of all
//! sentinels that it knows, and of the quorum; a real redis-sentinel's automatic failover needs the same.
//! Who is paused gives no such vote, and does not repeat one that it gave before. So while fewer sentinels
//! than that are left, nobody is elected; the answer to `SENTINEL PAUSE` says whether that is so. What a
//! vote that was told *before* the pause has led to cannot be taken back: a leader that is not paused
//! itself may finish its failover.
//!
//! **How a voter knows that a failover was ordered.** `SENTINEL IS-MASTER-DOWN-BY-ADDR` has exactly four
//! arguments and no room to say so. A real redis-sentinel leads an ordered failover without any votes,
//! so that whatever it asks a vote for may be refused as automatic. Ours send
//! [`Request::Ordered`] right before each request for a vote that belongs to an ordered failover:
//!
//! * Both travel on one connection, whose requests are handled in order, so the announcement is never
//!   behind its request. A connection that breaks loses both or the request alone, and each repetition of
//!   the request is announced again.
//! * A real redis-sentinel answers the announcement with an error, which tells nothing, and votes.
//! * It names candidate and epoch, and covers that vote alone. A candidate uses an epoch for one failover
//!   only: it takes the next one for each, and its vote for itself is on disk before it asks. So no
//!   announcement can be taken for one of an automatic failover, however late or often it is heard.
//!
//! **Durability.** A pause counts from the moment of the order, is confirmed once it is on disk, and ends
//! by itself: by the monotonic clock while the process runs, by the wall clock across a restart. The time
//! that a process was stopped for counts, unlike elsewhere in the core: it is the operator's time.
//!
//! **Peers.** The sentinel that gets an order forwarded by nobody passes it on, once, with the time that
//! is left; each confirms for itself. Whom it cannot reach now is told when its link is back, and so is a
//! sentinel that is discovered while the pause lasts, unless the one that got the order was restarted or
//! another got a newer one.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::Sentinel;
use super::event::{EventKind, Level};
use super::io::{ReplyTo, Request, Seq};
use super::journal::AfterWrite;
use super::link::Awaited;
use super::master::MasterId;
use super::peer::PeerId;
use super::record::{FailoverKind, Reason};
use super::refusal;
use super::timers::Timer;
use crate::clock::{Mono, UnixMillis};
use crate::ids::{Epoch, MasterName, SentinelId};
use crate::resp::Value;

/// The longest pause that ends by itself: ten years.
pub const PAUSE_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// How long an operator's order waits for the answers of peers.
pub const PAUSE_ANSWER_WAIT: Duration = Duration::from_secs(2);
/// How many orders may wait for peers at a time.
const ROUNDS_MAX: usize = 64;
/// Of an unanswered link no more is asked than this.
const PENDING_MAX: usize = 400;
/// A pause that ends no further from the known one than this is the same pause, told again.
pub const PAUSE_SAME_END: Duration = Duration::from_secs(1);
/// As much of a peer's refusal is shown. Bytes.
const REFUSAL_BYTES_MAX: usize = 160;

/// When a pause ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PausedUntil {
    /// By `SENTINEL RESUME` alone.
    Resumed,
    /// At this moment of the wall clock, or sooner by `SENTINEL RESUME`.
    At(UnixMillis),
}

impl PausedUntil {
    /// From the number in `sentinel paused <master> <number>`.
    pub fn from_number(number: u64) -> PausedUntil {
        match number {
            0 => PausedUntil::Resumed,
            ms => PausedUntil::At(UnixMillis(ms)),
        }
    }

    /// The number in `sentinel paused <master> <number>`: milliseconds since the epoch, or 0.
    pub fn number(self) -> u64 {
        match self {
            PausedUntil::Resumed => 0,
            PausedUntil::At(at) => at.0,
        }
    }
}

impl fmt::Display for PausedUntil {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PausedUntil::Resumed => f.write_str("until SENTINEL RESUME"),
            PausedUntil::At(at) => {
                let seconds = i64::try_from(at.0 / 1000).unwrap_or(i64::MAX);
                let shown = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX);
                write!(f, "until {shown}")
            }
        }
    }
}

/// The pause of one master.
#[derive(Debug)]
pub(super) struct Pause {
    pub(super) until: PausedUntil,
    /// The same by the clock of the machine, not by the core's own, which stands still in a stall.
    expires: Mono,
}

/// What an operator orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// For so long; `None`: until resumed.
    Pause(Option<Duration>),
    Resume,
}

/// The last order for a master, where it was given to us, and the peers that have not answered it.
#[derive(Debug)]
pub(super) struct Untold {
    is_pause: bool,
    peers: Vec<PeerId>,
}

/// An operator who waits for what the peers say.
#[derive(Debug)]
struct Round {
    to: ReplyTo,
    name: MasterName,
    is_pause: bool,
    /// When the pause ends.
    until: PausedUntil,
    /// It is on our own disk.
    is_saved: bool,
    asked: Vec<(PeerId, Outcome)>,
    /// `<address> <id>` of each, as they were when the order was given.
    labels: Vec<String>,
    /// How many votes a failover needs.
    needed: usize,
    deadline: Mono,
}

/// What has become of an order at one peer.
#[derive(Debug)]
enum Outcome {
    Waiting,
    Done,
    Refused(String),
    Unreachable(&'static str),
}

/// The orders that wait for peers, by number.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    last: u64,
    open: BTreeMap<u64, Round>,
}

impl Sentinel {
    /// Whether, and until when, automatic failovers of a master are paused here.
    pub fn paused(&self, name: &str) -> Option<PausedUntil> {
        let m = self.names.get(name)?;
        self.master(*m).pause.as_ref().map(|pause| pause.until)
    }

    pub(super) fn is_paused(&self, m: MasterId) -> bool {
        self.master(m).pause.is_some()
    }

    /// How many masters are paused.
    pub(super) fn paused_count(&self) -> usize {
        let paused = |master: &&super::Master| master.pause.is_some();
        self.masters.values().filter(paused).count()
    }

    // The pause itself.

    /// A pause from before a restart goes on, unless its time is up.
    pub(super) fn restore_pause(&mut self, m: MasterId, until: PausedUntil) {
        let length = match until {
            PausedUntil::Resumed => None,
            PausedUntil::At(at) => match at.0.checked_sub(self.unix.0) {
                None | Some(0) => {
                    self.event_pause(m, EventKind::PauseEnd, "expired");
                    self.touch(false);
                    return;
                }
                Some(ms) => Some(Duration::from_millis(ms)),
            },
        };
        self.begin_pause(m, length);
        self.refresh_durable(m);
    }

    fn begin_pause(&mut self, m: MasterId, length: Option<Duration>) {
        let (until, expires) = match length {
            None => (PausedUntil::Resumed, Mono::NEVER),
            Some(length) => {
                let at = self.unix.0.saturating_add(crate::clock::millis(length));
                let until = PausedUntil::At(UnixMillis(at));
                (until, self.real_now + length)
            }
        };
        let master = self.master_mut(m);
        let same = PAUSE_SAME_END.as_millis();
        let is_news = master
            .pause
            .as_ref()
            .is_none_or(|known| u128::from(known.expires.0.abs_diff(expires.0)) > same);
        master.pause = Some(Pause { until, expires });
        master.start_at = None;
        master.is_withholding_told = false;
        if is_news {
            self.event_pause(m, EventKind::Pause, &until.to_string());
        }
        let is_to_end = self.master(m).failover.as_ref().is_some_and(|failover| {
            failover.kind == FailoverKind::Automatic && failover.is_revocable()
        });
        if is_to_end {
            self.abort(
                m,
                Reason::Paused,
                "automatic failovers of this master are paused",
            );
        }
        self.timers.arm(Timer::Master(m), self.now);
    }

    fn end_pause(&mut self, m: MasterId, why: &str) {
        let master = self.master_mut(m);
        master.is_withholding_told = false;
        if master.pause.take().is_some() {
            self.event_pause(m, EventKind::PauseEnd, why);
        }
        self.timers.arm(Timer::Master(m), self.now);
    }

    fn event_pause(&mut self, m: MasterId, kind: EventKind, what: &str) {
        let text = format!("{} #{what}", self.describe(self.master(m).instance));
        self.event_at(m, kind, text);
    }

    /// Ends a pause whose time is up.
    pub(super) fn expire_pause(&mut self, m: MasterId) {
        let pause = self.master(m).pause.as_ref();
        if pause.is_some_and(|pause| self.real_now >= pause.expires) {
            self.end_pause(m, "expired");
            self.master_mut(m).untold = None;
            self.touch_master(m, false);
        }
    }

    /// When a pause ends, in the core's own time.
    pub(super) fn pause_deadline(&self, m: MasterId) -> Option<Mono> {
        let pause = self.master(m).pause.as_ref()?;
        (pause.expires != Mono::NEVER).then(|| self.active(pause.expires))
    }

    // Votes.

    /// `SENTINEL ORDERED-FAILOVER`: the vote that `candidate` is about to ask for belongs to a failover
    /// that an operator ordered. Noted whether paused or not: the request may be repeated in a pause.
    pub(super) fn handle_ordered(
        &mut self,
        host: &str,
        port: u16,
        epoch: Epoch,
        candidate: &SentinelId,
    ) {
        let Some(&p) = self.peer_ids.get(candidate) else {
            return;
        };
        for m in self.masters_at(host, port) {
            if let Some(entry) = self.master_mut(m).entry_mut(p) {
                entry.ordered = epoch;
            }
        }
    }

    /// Whether the candidacy of a peer in this epoch was announced as ordered.
    pub(super) fn is_ordered(&self, m: MasterId, candidate: &SentinelId, epoch: Epoch) -> bool {
        let entry = self.peer_ids.get(candidate);
        entry
            .and_then(|p| self.master(m).entry(*p))
            .is_some_and(|entry| entry.ordered == epoch)
    }

    // Orders.

    /// `SENTINEL PAUSE` and `SENTINEL RESUME`. `forwarded`: by the sentinel that got the order.
    pub(super) fn order(&mut self, to: ReplyTo, name: &MasterName, order: Order, forwarded: bool) {
        let Some(m) = self.names.get(name).copied() else {
            self.reply(to, Value::error(refusal::NO_SUCH_MASTER));
            return;
        };
        if !forwarded && self.globals.observe_only {
            self.reply(to, Value::error(refusal::ONLY_OBSERVES));
            return;
        }
        if !forwarded && self.rounds.open.len() >= ROUNDS_MAX {
            self.reply(to, Value::error(refusal::TOO_MANY_ORDERS));
            return;
        }
        match order {
            Order::Pause(length) => self.begin_pause(m, length),
            Order::Resume => self.end_pause(m, "resumed"),
        }
        let seq = self.touch_master(m, true);
        if forwarded {
            self.master_mut(m).untold = None;
            let reply = Value::ok();
            self.after_write(seq, AfterWrite::Confirm { to, reply });
        } else {
            self.begin_round(to, m, order == Order::Resume, seq);
        }
    }

    fn begin_round(&mut self, to: ReplyTo, m: MasterId, is_resume: bool, seq: Seq) {
        let master = self.master(m);
        let peers: Vec<PeerId> = master.peer_ids().collect();
        let label = |p: &PeerId| {
            let peer = self.peer(*p);
            let name = peer.addr.instance_name(self.globals.announce_hostnames);
            format!("{name} {}", peer.id)
        };
        let round = Round {
            to,
            name: master.name.clone(),
            is_pause: !is_resume,
            until: (master.pause.as_ref()).map_or(PausedUntil::Resumed, |pause| pause.until),
            is_saved: false,
            asked: Vec::new(),
            labels: peers.iter().map(label).collect(),
            needed: master.majority().max(master.quorum()),
            deadline: self.now + PAUSE_ANSWER_WAIT,
        };
        self.master_mut(m).untold = Some(Untold {
            is_pause: !is_resume,
            peers: peers.clone(),
        });
        self.rounds.last += 1;
        let number = self.rounds.last;
        let mut asked = Vec::new();
        for p in peers {
            let outcome = match self.pass_on(m, p, Some(number)) {
                Ok(()) => Outcome::Waiting,
                Err(why) => Outcome::Unreachable(why),
            };
            asked.push((p, outcome));
        }
        self.timers.arm(Timer::Rounds, round.deadline);
        self.rounds.open.insert(number, Round { asked, ..round });
        self.after_write(seq, AfterWrite::Round { number });
    }

    /// Sends the last order for a master to a peer.
    fn pass_on(&mut self, m: MasterId, p: PeerId, round: Option<u64>) -> Result<(), &'static str> {
        if self.globals.observe_only {
            return Err("this sentinel only observes");
        }
        let Some(up) = self.peer(p).link.up() else {
            return Err("no connection");
        };
        if up.awaited.len() >= PENDING_MAX * self.peer(p).masters.len() {
            return Err("it does not answer");
        }
        let master = self.master(m);
        let name = master.name.clone();
        let request = match (&master.untold, &master.pause) {
            (Some(Untold { is_pause: true, .. }), Some(pause)) => Request::Pause {
                master: name,
                length: (pause.expires != Mono::NEVER).then(|| pause.expires.since(self.real_now)),
            },
            (Some(Untold { is_pause: true, .. }) | None, _) => return Ok(()),
            (
                Some(Untold {
                    is_pause: false, ..
                }),
                _,
            ) => Request::Resume { master: name },
        };
        self.send_peer(p, request, Awaited::Order { master: m, round });
        Ok(())
    }

    /// A peer's link is up: it is told what it has missed.
    pub(super) fn pass_on_missed(&mut self, m: MasterId, p: PeerId) {
        let untold = self.master(m).untold.as_ref();
        if untold.is_some_and(|untold| untold.peers.contains(&p)) {
            // Where it cannot be sent now, it will be when the link is up again.
            let _ = self.pass_on(m, p, None);
        }
    }

    /// A sentinel has been discovered: it is told of a pause that was ordered here.
    pub(super) fn pass_on_to_newcomer(&mut self, m: MasterId, p: PeerId) {
        if let Some(untold) = &mut self.master_mut(m).untold
            && untold.is_pause
            && !untold.peers.contains(&p)
        {
            untold.peers.push(p);
            let _ = self.pass_on(m, p, None);
        }
    }

    /// A peer is forgotten, and with it what it was to be told.
    pub(super) fn never_mind(&mut self, m: MasterId, p: PeerId) {
        if let Some(untold) = &mut self.master_mut(m).untold {
            untold.peers.retain(|peer| *peer != p);
        }
    }

    /// A peer has answered an order that was passed on.
    pub(super) fn order_answered(
        &mut self,
        p: PeerId,
        m: MasterId,
        round: Option<u64>,
        reply: &Value,
    ) {
        if let Some(untold) = self.masters.get_mut(&m).and_then(|m| m.untold.as_mut()) {
            untold.peers.retain(|peer| *peer != p);
        }
        let outcome = if let Value::Error(text) = reply {
            Outcome::Refused(in_words(text))
        } else {
            Outcome::Done
        };
        match round {
            Some(number) => self.note_outcome(number, p, outcome),
            None => {
                let told = match outcome {
                    Outcome::Refused(why) => format!("does not take it: {why}"),
                    Outcome::Done | Outcome::Waiting | Outcome::Unreachable(_) => {
                        "has taken it".to_owned()
                    }
                };
                if self.masters.contains_key(&m) && self.peers.contains_key(&p) {
                    let peer = self.describe_peer(m, p);
                    self.log(
                        Level::Notice,
                        format!("The order was passed on: {peer} {told}"),
                    );
                }
            }
        }
    }

    fn note_outcome(&mut self, number: u64, p: PeerId, outcome: Outcome) {
        let Some(round) = self.rounds.open.get_mut(&number) else {
            return;
        };
        for (peer, known) in &mut round.asked {
            if *peer == p && matches!(known, Outcome::Waiting) {
                *known = outcome;
                break;
            }
        }
        self.end_round_if_complete(number);
    }

    /// The link to a peer is gone, and with it what it has not answered yet.
    pub(super) fn orders_lost(&mut self, p: PeerId) {
        let waits = |round: &Round| {
            let mut asked = round.asked.iter();
            asked.any(|(peer, outcome)| *peer == p && matches!(outcome, Outcome::Waiting))
        };
        let open = self.rounds.open.iter();
        let lost: Vec<u64> = open
            .filter(|(_, round)| waits(round))
            .map(|(number, _)| *number)
            .collect();
        for number in lost {
            self.note_outcome(number, p, Outcome::Unreachable("the connection broke"));
        }
    }

    /// The order is on our own disk.
    pub(super) fn round_saved(&mut self, number: u64) {
        if let Some(round) = self.rounds.open.get_mut(&number) {
            round.is_saved = true;
            self.end_round_if_complete(number);
        }
    }

    /// The order could not be written here: it counts until a restart, and is not confirmed.
    pub(super) fn round_failed(&mut self, number: u64) {
        if let Some(round) = self.rounds.open.remove(&number) {
            self.reply(round.to, Value::error(refusal::NOT_SAVED));
        }
    }

    /// Time is up for peers that have not answered.
    pub(super) fn end_late_rounds(&mut self) {
        let now = self.now;
        let numbers: Vec<u64> = self.rounds.open.keys().copied().collect();
        for number in numbers {
            let Some(round) = self.rounds.open.get_mut(&number) else {
                continue;
            };
            if now < round.deadline {
                self.timers.arm(Timer::Rounds, round.deadline);
                continue;
            }
            for (_, outcome) in &mut round.asked {
                if matches!(outcome, Outcome::Waiting) {
                    *outcome = Outcome::Unreachable("no answer in time");
                }
            }
            self.end_round_if_complete(number);
        }
    }

    fn end_round_if_complete(&mut self, number: u64) {
        let is_complete = |round: &Round| {
            let mut asked = round.asked.iter();
            round.is_saved && !asked.any(|(_, outcome)| matches!(outcome, Outcome::Waiting))
        };
        if self.rounds.open.get(&number).is_some_and(is_complete)
            && let Some(round) = self.rounds.open.remove(&number)
        {
            let lines = round.lines(&self.own_label());
            let lines = lines.into_iter().map(Value::bulk).collect();
            self.reply(round.to, Value::Array(lines));
        }
    }

    /// Ourselves, as a line of an answer names us.
    fn own_label(&self) -> String {
        let globals = &self.globals;
        let port = match globals.announce_port {
            0 => globals.listening_port,
            port => port,
        };
        match &globals.announce_ip {
            Some(ip) => format!("{} {}", super::Addr::new(ip, port), self.id),
            None => format!("this sentinel {}", self.id),
        }
    }
}

impl Round {
    /// The answer to the operator: a summary, then one line per sentinel.
    fn lines(&self, own_label: &str) -> Vec<String> {
        let known = 1 + self.asked.len();
        let is_done = |(_, outcome): &&(PeerId, Outcome)| matches!(outcome, Outcome::Done);
        let done = 1 + self.asked.iter().filter(is_done).count();
        let (left, name) = (known - done, &self.name);
        let summary = if self.is_pause {
            let (others, themselves) = match left {
                1 => ("the other one".to_owned(), "itself"),
                left => (format!("the other {left}"), "themselves"),
            };
            let takes = format!("which takes {} votes", self.needed);
            let verdict = if left == 0 {
                String::new()
            } else if left < self.needed {
                format!("; {others} cannot fail over by {themselves}, {takes}")
            } else {
                format!("; WARNING: {others} can fail over all the same, {takes}")
            };
            format!(
                "{name}: automatic failovers are paused on {done} of {known} known sentinels, {}{verdict}",
                self.until
            )
        } else {
            format!("{name}: automatic failovers are resumed on {done} of {known} known sentinels")
        };
        let word = if self.is_pause { "paused" } else { "resumed" };
        let mut lines = vec![summary, format!("{own_label}: {word}")];
        for (label, (_, outcome)) in self.labels.iter().zip(&self.asked) {
            lines.push(match outcome {
                Outcome::Done => format!("{label}: {word}"),
                Outcome::Refused(why) => format!("{label}: {why}"),
                Outcome::Waiting => format!("{label}: unreachable: no answer yet"),
                Outcome::Unreachable(why) => {
                    format!("{label}: unreachable: {why}; it will be told when it is back")
                }
            });
        }
        lines
    }
}

/// A peer's refusal, for people. What a sentinel answers that knows no such subcommand, as every real
/// redis-sentinel, is put in the same words whatever its version.
fn in_words(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(&text[..text.len().min(REFUSAL_BYTES_MAX)]);
    let lower = text.to_ascii_lowercase();
    if lower.contains("unknown") && lower.contains("subcommand") {
        return "unknown subcommand: a redis-sentinel cannot be paused".to_owned();
    }
    text.strip_prefix("ERR ").unwrap_or(&text).to_owned()
}

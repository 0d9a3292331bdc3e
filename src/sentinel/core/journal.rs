//! Durable before said: which state is on disk, and what waits for it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::Sentinel;
use super::durable::{Durable, DurableMaster, DurablePeer};
use super::event::EventKind;
use super::io::{Output, ReplyTo, Seq};
use super::master::MasterId;
use super::refusal;
use super::timers::Timer;
use crate::ids::{Epoch, SentinelId};
use crate::resp::Value;

/// How soon a failed write is tried again.
const PERSIST_RETRY: Duration = Duration::from_secs(1);

/// What may only happen once a state is on disk.
#[derive(Debug)]
pub(super) enum AfterWrite {
    /// Answer a vote request; `refused` is the answer when the write fails.
    Vote {
        to: ReplyTo,
        granted: Value,
        refused: Value,
        vote: CastVote,
    },
    /// Ask for votes: our own candidacy in this epoch.
    Campaign { master: MasterId, epoch: Epoch },
    /// Tell everyone a new configuration.
    Announce { master: MasterId, seq: Seq },
    /// Confirm an operator's command; with an error where only a part of it was applied.
    Confirm { to: ReplyTo, reply: Value },
    /// Confirm an operator's order that peers are told of too.
    Round { number: u64 },
}

/// A vote that was asked for.
#[derive(Debug)]
pub(super) struct CastVote {
    /// The masters at the address that it is about.
    pub(super) masters: Vec<MasterId>,
    pub(super) candidate: SentinelId,
    pub(super) epoch: Epoch,
    /// Whom the answer names, and in which epoch.
    pub(super) leader: (Option<SentinelId>, Epoch),
    /// It was cast by this very request.
    pub(super) is_new: bool,
}

/// Numbers of states, and what waits for them.
#[derive(Debug, Default)]
pub(super) struct Journal {
    /// The state as it is now.
    pub(super) seq: Seq,
    /// The newest state on disk.
    durable: Seq,
    waiting: VecDeque<(Seq, AfterWrite)>,
    /// The operating system's words, while writing fails.
    pub(super) failure: Option<String>,
}

impl Sentinel {
    /// The durable state as it is now; its number is [`Sentinel::seq`].
    pub fn durable(&self) -> Durable {
        Durable {
            id: Some(self.id.clone()),
            current_epoch: self.current_epoch,
            globals: Arc::clone(&self.globals),
            masters: self
                .masters
                .values()
                .map(|master| Arc::clone(&master.durable))
                .collect(),
        }
    }

    /// The number of the state that [`Sentinel::durable`] returns now.
    pub fn seq(&self) -> Seq {
        self.journal.seq
    }

    /// Why the state cannot be written, while it cannot.
    pub fn save_failure(&self) -> Option<&str> {
        self.journal.failure.as_deref()
    }

    /// Something durable has changed.
    pub(super) fn touch(&mut self, urgent: bool) -> Seq {
        self.journal.seq = Seq(self.journal.seq.0 + 1);
        let seq = self.journal.seq;
        self.out.push(Output::Persist { seq, urgent });
        seq
    }

    /// Something durable of this master has changed.
    pub(super) fn touch_master(&mut self, m: MasterId, urgent: bool) -> Seq {
        self.refresh_durable(m);
        self.touch(urgent)
    }

    /// Rebuilds the durable form of a master from its present state.
    pub(super) fn refresh_durable(&mut self, m: MasterId) {
        let master = self.master(m);
        let addr = &self.instance(master.instance).addr;
        // A name that may not be resolved would keep the next start from loading the file.
        let names = self.globals.announce_hostnames && self.globals.resolve_hostnames;
        let place = |addr: &super::Addr| (addr.shown(names), addr.port());
        let (host, port) = place(addr);
        let durable = DurableMaster {
            name: master.name.clone(),
            host,
            port,
            settings: master.settings.clone(),
            config_epoch: master.config_epoch,
            leader_epoch: master.vote.epoch,
            replicas: master
                .replicas
                .iter()
                .map(|i| place(&self.instance(*i).addr))
                .collect(),
            peers: master
                .peers
                .iter()
                .map(|entry| {
                    let peer = self.peer(entry.peer);
                    let (host, port) = place(&peer.addr);
                    DurablePeer {
                        host,
                        port,
                        id: peer.id.clone(),
                    }
                })
                .collect(),
            paused: master.pause.as_ref().map(|pause| pause.until),
        };
        self.master_mut(m).durable = Arc::new(durable);
    }

    /// Does `then` once the state `seq` is on disk: at once if it is.
    pub(super) fn after_write(&mut self, seq: Seq, then: AfterWrite) {
        if seq <= self.journal.durable {
            self.perform(then);
        } else {
            self.journal.waiting.push_back((seq, then));
        }
    }

    pub(super) fn handle_persisted(&mut self, seq: Seq) {
        assert!(
            seq <= self.journal.seq,
            "a state was written that never was"
        );
        self.journal.durable = self.journal.durable.max(seq);
        if self.journal.failure.take().is_some() {
            self.timers.cancel(Timer::Persist);
            self.event_global(
                EventKind::SaveRecovered,
                "#state is being saved again".to_owned(),
            );
            let masters: Vec<MasterId> = self.masters.keys().copied().collect();
            for m in masters {
                self.timers.arm(Timer::Master(m), self.now);
            }
        }
        while let Some(then) = self.next_waiting(seq) {
            self.perform(then);
        }
    }

    /// The write failed: votes and candidacies that waited for it are off, what has happened anyway is
    /// told, and the next write is tried soon.
    pub(super) fn handle_persist_failed(&mut self, seq: Seq, error: String) {
        if self.journal.failure.is_none() {
            self.event_global(
                EventKind::SaveFailed,
                format!("#state cannot be saved: {error}; this sentinel neither votes nor leads"),
            );
        }
        self.log(
            super::Level::Warning,
            format!(
                "WARNING: Sentinel was not able to save the new configuration on disk!!!: {error}"
            ),
        );
        self.journal.failure = Some(error);
        self.timers.arm(Timer::Persist, self.now + PERSIST_RETRY);
        while let Some(then) = self.next_waiting(seq) {
            match then {
                AfterWrite::Vote {
                    to, refused, vote, ..
                } => {
                    self.reply(to, refused);
                    if let Some(m) = vote.masters.first().filter(|_| vote.is_new) {
                        self.vote_lost(*m, &vote.candidate, vote.epoch);
                    }
                }
                AfterWrite::Campaign { master, epoch } => self.candidacy_failed(master, epoch),
                AfterWrite::Announce { .. } => self.perform(then),
                AfterWrite::Confirm { to, .. } => self.reply(to, Value::error(refusal::NOT_SAVED)),
                AfterWrite::Round { number } => self.round_failed(number),
            }
        }
    }

    /// Whether the newest vote for a master is not on disk yet.
    pub(super) fn is_vote_pending(&self, m: MasterId) -> bool {
        self.master(m).vote.seq > self.journal.durable
    }

    pub(super) fn retry_persist(&mut self) {
        if self.journal.failure.is_some() {
            self.touch(true);
        }
    }

    pub(super) fn reply(&mut self, to: ReplyTo, reply: Value) {
        self.out.push(Output::Reply { to, reply });
    }

    fn next_waiting(&mut self, seq: Seq) -> Option<AfterWrite> {
        let (wanted, _) = self.journal.waiting.front()?;
        if *wanted > seq {
            return None;
        }
        self.journal.waiting.pop_front().map(|(_, then)| then)
    }

    fn perform(&mut self, then: AfterWrite) {
        match then {
            AfterWrite::Vote {
                to,
                granted,
                refused,
                vote,
            } => self.tell_written_vote(to, granted, refused, vote),
            AfterWrite::Campaign { master, epoch } => self.campaign(master, epoch),
            AfterWrite::Announce { master, seq } => self.announce(master, seq),
            AfterWrite::Confirm { to, reply } => self.reply(to, reply),
            AfterWrite::Round { number } => self.round_saved(number),
        }
    }
}

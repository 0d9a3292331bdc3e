//! Votes: giving them, asking for them, and when to stand as a candidate.

use std::time::Duration;

use super::Sentinel;
use super::ballot::{PeerVote, Tally, tally};
use super::event::{EventKind, Level};
use super::failover::Failover;
use super::io::{ReplyTo, Request};
use super::journal::{AfterWrite, CastVote};
use super::link::Awaited;
use super::master::{Chapter, Hold, MasterId};
use super::peer::{Opinion, PeerEntry, PeerId};
use super::record::{FailoverKind, Reason};
use super::timers::Timer;
use crate::clock::Mono;
use crate::ids::{Epoch, SentinelId};
use crate::resp::Value;

/// Each living sentinel with a smaller id gets this head start, so that votes seldom split.
const STAGGER: Duration = Duration::from_millis(20);
/// Random part of that, for all but the first.
const STAGGER_JITTER: Duration = Duration::from_millis(5);
/// The pause after the first denial of a peer that the master is down; doubles up to the ask period.
const REASK_MIN: Duration = Duration::from_millis(10);
/// A peer is asked again at once when it turns out to worry too, but not more often than this.
const REASK_PROMPTED: Duration = Duration::from_millis(5);

impl Sentinel {
    /// All that is due for a master as a whole.
    pub(super) fn tend_master(&mut self, m: MasterId) {
        if !self.masters.contains_key(&m) {
            return;
        }
        self.expire_pause(m);
        if self.tilt.is_none() {
            self.judge_odown(m);
            while self.step_failover(m) {}
            if self.maybe_start(m) {
                while self.step_failover(m) {}
            }
            self.ask_peers(m);
            self.tell_quorum(m);
            self.report_ghosts(m);
        }
        self.greet_peers(m, false);
        self.arm_master(m);
    }

    fn arm_master(&mut self, m: MasterId) {
        let mut next = Mono::NEVER;
        let mut sooner = |at: Mono| next = next.min(at);
        let master = self.master(m);
        // In TILT nobody is asked, and nothing expires.
        let judges = self.tilt.is_none();
        let is_asking = judges && self.is_asking(m);
        for entry in &master.peers {
            let link = &self.peer(entry.peer).link;
            if link.is_up() {
                let is_mute = self.globals.observe_only || master.announcement.is_some();
                if !entry.publish_pending && !is_mute {
                    sooner(entry.hello_next_at);
                }
                if is_asking && entry.questions == 0 {
                    sooner(self.ask_due(m, entry));
                }
            }
            if let Some(at) = entry
                .answered_at
                .filter(|_| entry.opinion.is_some() && judges)
            {
                sooner(at + self.tuning.ask_period * 5 + Duration::from_millis(1));
            }
        }
        if self.tilt.is_none() {
            if let Some(at) = self.next_failover_deadline(m) {
                sooner(at);
            }
            let starts = self.journal.failure.is_none() && self.withheld(m).is_none();
            if master.odown_since.is_some() && starts {
                sooner(match master.start_at {
                    Some(at) => at,
                    None => self.held_until(m).unwrap_or(Mono::NEVER),
                });
            }
            if let Some(at) = self.next_ghost_at(m) {
                sooner(at);
            }
            if let Some(at) = self.quorum_told_at(m) {
                sooner(at);
            }
        }
        if let Some(at) = self.pause_deadline(m) {
            sooner(at);
        }
        if next != Mono::NEVER {
            self.timers.arm(
                Timer::Master(m),
                next.max(self.now + Duration::from_millis(1)),
            );
        }
    }

    /// The master has just become SDOWN here: peers are asked, and fresh INFO of every replica is
    /// fetched, so that a selection has it in hand.
    pub(super) fn master_went_sdown(&mut self, m: MasterId) {
        for entry in &mut self.master_mut(m).peers {
            entry.asked_at = None;
            entry.denials = 0;
        }
        for i in self.master(m).replicas.clone() {
            self.send_info(i);
        }
        self.timers.arm(Timer::Master(m), self.now);
    }

    // Giving votes.

    /// `SENTINEL IS-MASTER-DOWN-BY-ADDR`. Masters that share the address share the answer and the
    /// vote.
    pub(super) fn handle_asked(
        &mut self,
        to: ReplyTo,
        host: &str,
        port: u16,
        epoch: Epoch,
        candidate: Option<SentinelId>,
    ) {
        let masters = self.masters_at(host, port);
        let is_sdown = |m: &MasterId| {
            self.instance(self.master(*m).instance)
                .sdown_since
                .is_some()
        };
        let down = self.tilt.is_none() && masters.iter().any(is_sdown);
        let answer = |leader: Option<&SentinelId>, epoch: Epoch| {
            Value::Array(vec![
                Value::Integer(i64::from(down)),
                Value::bulk(leader.map_or("*", SentinelId::as_str)),
                Value::Integer(i64::try_from(epoch.0).unwrap_or(i64::MAX)),
            ])
        };
        let (Some(candidate), Some(first)) = (candidate, masters.first().copied()) else {
            self.reply(to, answer(None, Epoch(0)));
            self.reask_prompted(&masters);
            return;
        };
        if let Err(why) = self.check_epoch(epoch) {
            self.reply(to, answer(None, Epoch(0)));
            self.tell_refusal(first, &candidate, epoch, Reason::AbsurdEpoch, &why);
            self.reject(format!("vote request of {candidate} refused: {why}"));
            return;
        }
        if let Some((m, why)) = self.vote_withheld(&masters, &candidate, epoch) {
            // One that was given before is not told again either: it might be the one that is missing.
            self.reply(to, answer(None, self.master(first).vote.epoch));
            self.withhold_vote(m, why, &candidate, epoch);
            return;
        }
        if let Some(error) = &self.journal.failure {
            let why = format!("the state cannot be written: {error}");
            self.reply(to, answer(None, self.master(first).vote.epoch));
            self.tell_refusal(first, &candidate, epoch, Reason::CannotSave, &why);
            return;
        }
        if epoch > self.current_epoch {
            self.adopt_epoch(epoch);
        }
        let free = masters.iter().all(|m| self.master(*m).vote.epoch < epoch);
        let cast = free && self.current_epoch <= epoch;
        if cast {
            self.vote_for(&masters, &candidate, epoch);
        } else if epoch < self.current_epoch {
            // The asker lags behind: our hello tells it the epoch to beat.
            self.hurry_hellos(first);
        }
        let vote = self.master(first).vote.clone();
        let is_repeated = vote.epoch == epoch && vote.candidate.as_ref() == Some(&candidate);
        if !cast && !is_repeated {
            self.tell_vote_kept(first, &candidate, epoch);
        }
        let granted = answer(vote.candidate.as_ref(), vote.epoch);
        let refused = answer(None, vote.epoch);
        let vote_cast = CastVote {
            masters,
            candidate,
            epoch,
            leader: (vote.candidate, vote.epoch),
            is_new: cast,
        };
        self.after_write(
            vote.seq,
            AfterWrite::Vote {
                to,
                granted,
                refused,
                vote: vote_cast,
            },
        );
    }

    /// The vote is on disk: it may be told, unless an operator has paused us while it was being written.
    pub(super) fn tell_written_vote(
        &mut self,
        to: ReplyTo,
        granted: Value,
        refused: Value,
        mut vote: CastVote,
    ) {
        vote.masters.retain(|m| self.masters.contains_key(m));
        let withheld = self.vote_withheld(&vote.masters, &vote.candidate, vote.epoch);
        if let Some((m, why)) = withheld {
            self.reply(to, refused);
            self.withhold_vote(m, why, &vote.candidate, vote.epoch);
            return;
        }
        // Who asks on an operator's order is not told either of a vote that a pause keeps back.
        if let (Some(leader), epoch) = &vote.leader
            && self.vote_withheld(&vote.masters, leader, *epoch).is_some()
        {
            self.reply(to, refused);
            return;
        }
        if let Some(m) = vote.masters.first().filter(|_| vote.is_new) {
            self.vote_given(*m, &vote.candidate, vote.epoch);
        }
        self.reply(to, granted);
    }

    /// Gives our vote in `epoch` to another candidate or to ourselves. It counts once it is on disk.
    fn vote_for(&mut self, masters: &[MasterId], candidate: &SentinelId, epoch: Epoch) {
        let now = self.now;
        let ourselves = *candidate == self.id;
        for m in masters {
            let vote = &mut self.master_mut(*m).vote;
            assert!(vote.epoch < epoch, "one vote per epoch");
            vote.candidate = Some(candidate.clone());
            vote.epoch = epoch;
            self.refresh_durable(*m);
        }
        let seq = self.touch(true);
        for m in masters {
            self.master_mut(*m).vote.seq = seq;
            if ourselves {
                continue;
            }
            let master = self.master_mut(*m);
            master.start_at = None;
            master.hold = Hold::VotedFor {
                candidate: candidate.clone(),
                at: now,
                logged: false,
            };
            // Two leaders in two epochs would promote two replicas: who votes for another steps back.
            if master.failover.as_ref().is_some_and(Failover::is_electing) {
                let other = self.sentinel_shown(candidate);
                let why = format!("{other} has our vote in epoch {epoch}, which is newer");
                self.abort(*m, Reason::VotedForAnother, &why);
                let hold = Hold::VotedFor {
                    candidate: candidate.clone(),
                    at: now,
                    logged: false,
                };
                self.master_mut(*m).hold = hold;
            }
            self.timers.arm(Timer::Master(*m), now);
        }
    }

    /// A peer asks about masters that are down here too: it has just come to the same view.
    fn reask_prompted(&mut self, masters: &[MasterId]) {
        let now = self.now;
        for m in masters {
            if !self.is_asking(*m) {
                continue;
            }
            for entry in &mut self.master_mut(*m).peers {
                if !entry.says_down()
                    && entry
                        .asked_at
                        .is_some_and(|at| now.since(at) >= REASK_PROMPTED)
                {
                    entry.asked_at = None;
                }
            }
            self.timers.arm(Timer::Master(*m), now);
        }
    }

    fn hurry_hellos(&mut self, m: MasterId) {
        let now = self.now;
        for entry in &mut self.master_mut(m).peers {
            entry.hello_next_at = entry.hello_next_at.min(now);
        }
        self.timers.arm(Timer::Master(m), now);
    }

    // Standing as a candidate.

    /// Starts a failover when the master is ODOWN and nothing holds us back. Returns whether it did.
    fn maybe_start(&mut self, m: MasterId) -> bool {
        let now = self.now;
        let master = self.master(m);
        if master.odown_since.is_none() {
            return false;
        }
        // A failover that only has replicas left to reconfigure yields: its master is dead.
        if master
            .failover
            .as_ref()
            .is_some_and(|failover| !failover.is_reconfiguring())
        {
            return false;
        }
        if let Some(why) = self.withheld(m) {
            self.withhold_failover(m, why);
            return false;
        }
        if let Some(error) = self.journal.failure.clone() {
            self.hold_back(m, Reason::CannotSave, Mono::NEVER, |_| {
                format!("the state cannot be written: {error}")
            });
            return false;
        }
        if let Some(until) = self.held_until(m).filter(|until| *until > now) {
            self.log_hold(m, until);
            return false;
        }
        let start_at = match master.start_at {
            Some(at) => at,
            None => {
                let at = now + self.stagger(m);
                self.master_mut(m).start_at = Some(at);
                at
            }
        };
        if now < start_at {
            return false;
        }
        if self.master(m).failover.is_some() {
            self.end_failover(m, "the new master is down too: another failover begins");
        }
        self.start_failover(m, FailoverKind::Automatic);
        true
    }

    /// Our place among the living sentinels of this master, as a delay.
    fn stagger(&mut self, m: MasterId) -> Duration {
        let rank = self
            .master(m)
            .peers
            .iter()
            .filter(|entry| {
                let peer = self.peer(entry.peer);
                entry.sdown_since.is_none() && peer.link.is_up() && peer.id < self.id
            })
            .count();
        match u32::try_from(rank).unwrap_or(u32::MAX) {
            0 => Duration::ZERO,
            rank => STAGGER * rank.min(16) + self.random(STAGGER_JITTER),
        }
    }

    /// Until when no failover may start; `None`: nothing holds it back.
    pub(super) fn held_until(&self, m: MasterId) -> Option<Mono> {
        let master = self.master(m);
        match &master.hold {
            Hold::Free => None,
            Hold::Pause { until } => Some(*until),
            Hold::VotedFor { candidate, at, .. } => {
                let timeout = master.settings.failover_timeout;
                let promoted = master.replicas.iter().any(|i| {
                    let instance = self.instance(*i);
                    instance.reported == super::Role::Master && instance.reported_since >= *at
                });
                let patience = if promoted {
                    timeout
                } else {
                    self.tuning.election_timeout.min(timeout)
                };
                let gone = self.peer_ids.get(candidate).is_some_and(|p| {
                    let link = &self.peer(*p).link;
                    let is_sdown = master.entry(*p).is_some_and(|e| e.sdown_since.is_some());
                    is_sdown || (!link.is_up() && link.attempts() > 0)
                });
                Some(if gone { self.now } else { *at + patience })
            }
        }
    }

    fn log_hold(&mut self, m: MasterId, until: Mono) {
        let wall = self.unix.0 + crate::clock::millis(until.since(self.now));
        let name = self.master(m).name.clone();
        if let Hold::VotedFor {
            logged, candidate, ..
        } = &mut self.master_mut(m).hold
            && !std::mem::replace(logged, true)
        {
            let candidate = candidate.clone();
            let text = format!(
                "Next failover delay: I will not start a failover before unix time {}.{:03}: {candidate} has my vote for {name}",
                wall / 1000,
                wall % 1000
            );
            self.log(Level::Warning, text);
            self.hold_back_for(m, &candidate, until);
        } else if matches!(self.master(m).hold, Hold::Pause { .. }) {
            self.hold_back_until(m, until);
        }
    }

    /// Takes the next epoch, votes for ourselves in it, and asks for votes once that is on disk.
    pub(super) fn start_failover(&mut self, m: MasterId, kind: FailoverKind) {
        assert!(
            self.journal.failure.is_none(),
            "who cannot remember a vote does not lead"
        );
        let epoch = self.current_epoch.next();
        self.current_epoch = epoch;
        let now = self.now;
        self.event_global(EventKind::NewEpoch, epoch.to_string());
        let draft = self.draft(m, kind, epoch);
        let master = self.master_mut(m);
        assert!(master.failover.is_none(), "one failover at a time");
        master.start_at = None;
        master.hold = Hold::Free;
        master.failover = Some(Failover::new(kind, epoch, now, draft));
        for entry in &mut master.peers {
            entry.answered_campaign = None;
        }
        let i = master.instance;
        self.event_instance(EventKind::TryFailover, i);
        let me = self.id.clone();
        self.vote_for(&[m], &me, epoch);
        let seq = self.master(m).vote.seq;
        self.after_write(seq, AfterWrite::Campaign { master: m, epoch });
        if kind == FailoverKind::Manual {
            // Nothing has asked the replicas yet.
            for i in self.master(m).replicas.clone() {
                self.send_info(i);
            }
        }
    }

    /// Our vote for ourselves is on disk: every peer is asked for its own.
    pub(super) fn campaign(&mut self, m: MasterId, epoch: Epoch) {
        let Some(master) = self.masters.get_mut(&m) else {
            return;
        };
        let Some(failover) = &mut master.failover else {
            return;
        };
        if failover.epoch != epoch || !failover.begin_campaign() {
            return;
        }
        let text = format!("{} {epoch}", self.id);
        self.event_at(m, EventKind::VoteForLeader, text);
        for p in self.master(m).peer_ids().collect::<Vec<_>>() {
            self.ask(m, p);
        }
        self.timers.arm(Timer::Master(m), self.now);
    }

    /// The vote for ourselves could not be written.
    pub(super) fn candidacy_failed(&mut self, m: MasterId, epoch: Epoch) {
        let Some(master) = self.masters.get(&m) else {
            return;
        };
        if master
            .failover
            .as_ref()
            .is_some_and(|f| f.epoch == epoch && f.is_electing())
        {
            let error = self.journal.failure.as_deref().unwrap_or_default();
            let why = format!("our own vote cannot be written: {error}");
            self.abort(m, Reason::CannotSave, &why);
            self.pause(m, super::failover::RETRY_PAUSE);
        }
    }

    /// After a stall: an election that was under way may have been decided without us.
    pub(super) fn expire_election(&mut self, m: MasterId) {
        if self
            .master(m)
            .failover
            .as_ref()
            .is_some_and(Failover::is_electing)
        {
            let why = "this process stood still: the election may have been decided without it";
            self.abort(m, Reason::Stalled, why);
            self.pause(m, super::failover::RETRY_PAUSE);
        }
    }

    /// How the votes for our candidacy stand.
    pub(super) fn tally_votes(&self, m: MasterId) -> Tally {
        let master = self.master(m);
        let Some(failover) = &master.failover else {
            return Tally::Pending;
        };
        let epoch = failover.epoch;
        let majority = master.majority();
        // An operator's order overrides neither: right after a RESET the majority of the sentinels that
        // are still known may be ourselves alone, and the quorum is what keeps epochs unique then.
        let needed = majority.max(master.quorum());
        let votes: Vec<PeerVote<'_>> = master
            .peers
            .iter()
            .map(|entry| PeerVote {
                voted: entry.voted.as_ref().map(|(who, epoch)| (who, *epoch)),
                answered: entry.answered_campaign == Some(epoch),
                connected: self.peer(entry.peer).link.is_up(),
            })
            .collect();
        tally(&self.id, epoch, needed, majority, &votes)
    }

    // Asking.

    /// Whether peers are being asked about this master.
    fn is_asking(&self, m: MasterId) -> bool {
        let master = self.master(m);
        self.instance(master.instance).sdown_since.is_some()
            || master
                .failover
                .as_ref()
                .is_some_and(Failover::is_campaigning)
    }

    /// Asks each connected peer that is due.
    fn ask_peers(&mut self, m: MasterId) {
        if !self.is_asking(m) {
            return;
        }
        let due: Vec<PeerId> = self
            .master(m)
            .peers
            .iter()
            .filter(|entry| entry.questions == 0 && self.now >= self.ask_due(m, entry))
            .map(|entry| entry.peer)
            .collect();
        for p in due {
            self.ask(m, p);
        }
    }

    fn ask_due(&self, m: MasterId, entry: &PeerEntry) -> Mono {
        let Some(asked_at) = entry.asked_at else {
            return self.now;
        };
        let period = self.tuning.ask_period;
        let campaigning = self
            .master(m)
            .failover
            .as_ref()
            .is_some_and(Failover::is_campaigning);
        if entry.says_down() || campaigning {
            return asked_at + period;
        }
        asked_at + (REASK_MIN * (1 << entry.denials.min(10))).min(period)
    }

    /// Asks one peer whether the master is down, and for its vote where we stand as a candidate.
    pub(super) fn ask(&mut self, m: MasterId, p: PeerId) {
        const QUESTIONS_MAX: usize = 400;
        let peer = self.peer(p);
        let Some(up) = peer.link.up() else { return };
        if up.awaited.len() >= QUESTIONS_MAX * peer.masters.len() {
            return;
        }
        let master = self.master(m);
        let (epoch, candidate, ordered) = match &master.failover {
            Some(failover) if failover.is_campaigning() => {
                let ordered = failover.kind == FailoverKind::Manual;
                (failover.epoch, Some(self.id.clone()), ordered)
            }
            Some(_) | None => (self.current_epoch, None, false),
        };
        let asked_in = master.chapter;
        let addr = &self.instance(master.instance).addr;
        let request = Request::AskMasterDown {
            host: self.shown(addr),
            port: addr.port(),
            epoch,
            candidate: candidate.clone(),
        };
        if ordered {
            // Right before the request itself: a peer that is paused votes for nobody else.
            let announcement = Request::Ordered {
                host: self.shown(addr),
                port: addr.port(),
                epoch,
                candidate: self.id.clone(),
            };
            self.send_peer(p, announcement, Awaited::Ignored);
        }
        let now = self.now;
        if let Some(entry) = self.master_mut(m).entry_mut(p) {
            entry.asked_at = Some(now);
            entry.questions += 1;
        }
        self.send_peer(
            p,
            request,
            Awaited::Ask {
                master: m,
                asked_in,
                epoch,
                candidate,
            },
        );
    }

    /// A peer's answer.
    pub(super) fn handle_answer(
        &mut self,
        p: PeerId,
        m: MasterId,
        asked_in: Chapter,
        epoch: Epoch,
        candidate: Option<&SentinelId>,
        reply: &Value,
    ) {
        let Some(master) = self.masters.get_mut(&m) else {
            return;
        };
        let is_outdated = master.chapter != asked_in;
        let Some(entry) = master.entry_mut(p) else {
            return;
        };
        entry.questions = entry.questions.saturating_sub(1);
        // What is said of the address before a switch says nothing of the new one, even where that is
        // the one before it once more; and what lay in the socket through a stall is no news.
        if is_outdated {
            return;
        }
        let Value::Array(parts) = reply else { return };
        let [
            Value::Integer(down),
            Value::Bulk(leader),
            Value::Integer(leader_epoch),
        ] = parts.as_slice()
        else {
            return;
        };
        let voted = parse_vote(leader, *leader_epoch)
            .filter(|(_, leader_epoch)| self.check_epoch(*leader_epoch).is_ok());
        let peer_id = self.peer(p).id.clone();
        self.note_opinion(m, p, *down == 1);
        let now = self.now;
        let Some(entry) = self
            .masters
            .get_mut(&m)
            .and_then(|master| master.entry_mut(p))
        else {
            return;
        };
        entry.answered_at = Some(now);
        entry.opinion = Some(Opinion {
            down: *down == 1,
            at: now,
        });
        entry.denials = if *down == 1 {
            0
        } else {
            entry.denials.saturating_add(1)
        };
        if candidate.is_some() {
            entry.answered_campaign = Some(epoch);
        }
        if let Some((leader, leader_epoch)) = voted {
            let is_news = entry.voted_epoch != leader_epoch;
            entry.voted_epoch = leader_epoch;
            entry.voted = Some((leader.clone(), leader_epoch));
            if is_news {
                let text = format!("{peer_id} voted for {leader} {leader_epoch}");
                self.log(Level::Warning, text);
                self.note_peer_vote(m, p, &leader, leader_epoch);
            }
        }
        self.changed(m);
        self.timers.arm(Timer::Master(m), now);
    }

    /// Our vote for another is on disk and now given.
    fn vote_given(&mut self, m: MasterId, candidate: &SentinelId, epoch: Epoch) {
        if self.masters.contains_key(&m) {
            self.event_at(m, EventKind::VoteForLeader, format!("{candidate} {epoch}"));
            self.tell_vote(m, candidate, epoch);
        }
    }
}

/// A leader and its epoch, as a peer reports them; `*` is none.
fn parse_vote(leader: &[u8], epoch: i64) -> Option<(SentinelId, Epoch)> {
    let leader = std::str::from_utf8(leader).ok()?;
    if leader == "*" || leader.len() > 64 || !super::info::is_token(leader) {
        return None;
    }
    Some((SentinelId::from(leader), Epoch(u64::try_from(epoch).ok()?)))
}

//! Who is down: SDOWN of instances and peers, ODOWN of masters, TILT of ourselves.

use std::time::Duration;

use super::Sentinel;
use super::event::EventKind;
use super::instance::{Closed, Gate, Instance, InstanceId, Role};
use super::io::Output;
use super::master::MasterId;
use super::peer::PeerId;
use super::timers::Timer;
use crate::clock::Mono;

/// A stall shorter than this is the ordinary jitter of a busy machine and changes nothing.
const STALL_MIN: Duration = Duration::from_millis(20);
/// A stall longer than this makes what peers told us before it too old to act on.
const STALL_FORGETS_ANSWERS: Duration = Duration::from_millis(500);
/// Opinions of peers count for this many ask periods.
const OPINION_ASK_PERIODS: u32 = 5;
/// A peer that has been down for longer is a ghost: it only raises the majority.
pub(super) const GHOST_AFTER: Duration = Duration::from_secs(300);

/// When PING was sent and answered, and since when there is silence.
#[derive(Debug)]
pub(super) struct PingClock {
    /// Silence counts from here: the last acceptable reply, the moment at which a proven connection
    /// broke, or the start.
    base: Mono,
    /// The oldest unanswered PING, or the moment since which none could be sent.
    pub(super) unanswered_since: Option<Mono>,
    /// When the next PING is due, on a connection that is up.
    pub(super) next_at: Mono,
    /// When the PING was sent that is on its way.
    sent_at: Option<Mono>,
    pub(super) ok_at: Mono,
    pub(super) any_at: Mono,
}

impl PingClock {
    pub(super) fn new(now: Mono) -> PingClock {
        PingClock {
            base: now,
            unanswered_since: Some(now),
            next_at: now,
            sent_at: None,
            ok_at: now,
            any_at: now,
        }
    }

    /// Judges afresh from `now` on.
    pub(super) fn restart(&mut self, now: Mono) {
        self.base = now;
        if self.unanswered_since.is_some() {
            self.unanswered_since = Some(now);
        }
    }

    /// Since when there is silence, where there is.
    pub(super) fn silent_since(&self) -> Mono {
        self.base
    }

    pub(super) fn sent(&mut self, now: Mono) {
        self.unanswered_since.get_or_insert(now);
        self.sent_at = Some(now);
    }

    /// How long the PING took that is answered now.
    pub(super) fn round_trip(&mut self, now: Mono) -> Option<Duration> {
        self.sent_at.take().map(|at| now.since(at))
    }

    pub(super) fn replied(&mut self, now: Mono, acceptable: bool) {
        self.any_at = now;
        if acceptable {
            self.base = now;
            self.ok_at = now;
            self.unanswered_since = None;
        }
    }

    /// The connection is gone. `proven`: a valid reply had come over it, so that its end is itself a
    /// sign of life.
    pub(super) fn broke(&mut self, now: Mono, proven: bool) {
        if proven {
            self.base = now;
        }
        self.unanswered_since.get_or_insert(now);
        self.sent_at = None;
    }

    /// The moment after which it has been silent for longer than `down_after`; `None` while nothing is
    /// unanswered. A PING gets its interval of grace, so that a silence in which we never asked does
    /// not count.
    pub(super) fn down_at(&self, down_after: Duration, interval: Duration) -> Option<Mono> {
        let since = self.unanswered_since?;
        Some(
            (self.base + down_after).max((since + down_after) - interval)
                + Duration::from_millis(1),
        )
    }

    pub(super) fn is_silent(&self, now: Mono, down_after: Duration, interval: Duration) -> bool {
        self.down_at(down_after, interval)
            .is_some_and(|at| now >= at)
    }
}

/// Not trusting ourselves for a while.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tilt {
    pub(super) since: Mono,
    pub(super) until: Mono,
}

impl Sentinel {
    /// The process did not run for `late`. The core's own time has not passed meanwhile: silence that
    /// we could not have heard does not count against anyone. What peers said before is old, and an
    /// election from before may have been decided without us.
    pub(super) fn handle_stall(&mut self, late: Duration) {
        if late < STALL_MIN {
            return;
        }
        // The present moment was reckoned before the stall was known.
        self.stalled += late;
        self.now = self.now - late;
        if late >= STALL_FORGETS_ANSWERS {
            let masters: Vec<MasterId> = self.masters.keys().copied().collect();
            for m in masters {
                self.expire_election(m);
                self.master_mut(m).begin_chapter();
                self.timers.arm(Timer::Master(m), self.now);
            }
        }
        if late > self.tuning.tilt_trigger {
            let until = self.now + self.tuning.tilt_period;
            self.tilt = Some(Tilt {
                since: self.now,
                until,
            });
            self.timers.cancel(Timer::Tilt);
            self.timers.arm(Timer::Tilt, until);
            self.event_global(
                EventKind::Tilt,
                format!(
                    "#tilt mode entered, stalled for {} ms",
                    crate::clock::millis(late)
                ),
            );
            for m in self.masters.keys().copied().collect::<Vec<_>>() {
                self.tell_tilt(m, late, until);
            }
        }
    }

    /// The end of TILT: everything is judged again.
    pub(super) fn handle_tilt_end(&mut self) {
        if self.tilt.take().is_none() {
            return;
        }
        self.event_global(EventKind::TiltEnd, "#tilt mode exited".to_owned());
        let masters: Vec<MasterId> = self.masters.keys().copied().collect();
        for m in masters {
            self.timers.arm(Timer::Master(m), self.now);
            for i in self.master(m).instances().collect::<Vec<_>>() {
                self.timers.arm(Timer::Instance(i), self.now);
            }
        }
        for p in self.peers.keys().copied().collect::<Vec<_>>() {
            self.timers.arm(Timer::Peer(p), self.now);
        }
    }

    /// Compares the SDOWN of an instance with what is known and reports a change. Returns whether it
    /// changed.
    pub(super) fn judge_instance(&mut self, i: InstanceId) -> bool {
        if self.tilt.is_some() {
            return false;
        }
        let instance = self.instance(i);
        let m = instance.master;
        let is_down = self.down_reason(i);
        match (is_down, instance.sdown_since) {
            (Some((why, silent_since)), None) => {
                let now = self.now;
                let instance = self.instance_mut(i);
                instance.sdown_since = Some(now);
                instance.last_sdown_at = Some(now);
                let name = self.describe(i);
                self.event_at(m, EventKind::Sdown, name.clone());
                self.log(super::Level::Verbose, format!("SDOWN of {name}: {why}"));
                if self.master(m).instance == i {
                    self.begin_story(m, why, silent_since);
                    self.master_went_sdown(m);
                }
                true
            }
            (None, Some(_)) => {
                let instance = self.instance_mut(i);
                instance.sdown_since = None;
                instance.script_kill_sent = false;
                if self.master(m).instance == i {
                    self.note_sdown_cleared(m);
                }
                self.event_instance(EventKind::SdownCleared, i);
                true
            }
            (Some(_), Some(_)) | (None, None) => false,
        }
    }

    /// Why an instance counts as down, and since when that was so; `None` when it does not.
    fn down_reason(&self, i: InstanceId) -> Option<(&'static str, Mono)> {
        let instance = self.instance(i);
        let silent_since = instance.ping.silent_since();
        let settings = &self.master(instance.master).settings;
        let interval = Instance::ping_interval(settings.down_after, self.tuning.ping_period);
        if instance
            .ping
            .is_silent(self.now, settings.down_after, interval)
        {
            return Some(("no valid reply for down-after-milliseconds", silent_since));
        }
        if settings.refused_after > Duration::ZERO
            && instance
                .refused_since
                .is_some_and(|since| self.now.since(since) >= settings.refused_after)
        {
            return Some((
                "connections refused for refused-after-milliseconds",
                silent_since,
            ));
        }
        if instance.closed == (Closed::Told { announced: true }) {
            return Some((
                "it announced its shutdown and refuses connections",
                silent_since,
            ));
        }
        if instance.configured == Role::Master {
            let wrong_role = settings.down_after + self.tuning.info_period * 2;
            if instance.reported == Role::Replica
                && self.now.since(instance.reported_since) > wrong_role
            {
                return Some(("it reports the role of a replica", instance.reported_since));
            }
            if let Some(since) = instance
                .rebooted_at
                .filter(|since| self.now.since(*since) > settings.reboot_down_after)
            {
                return Some(("it restarted and does not answer PING with PONG", since));
            }
        }
        None
    }

    /// The next moment at which [`Sentinel::judge_instance`] may change its mind by itself.
    pub(super) fn next_judgement(&self, i: InstanceId) -> Option<Mono> {
        let instance = self.instance(i);
        if instance.sdown_since.is_some() || self.tilt.is_some() {
            return None;
        }
        let settings = &self.master(instance.master).settings;
        let interval = Instance::ping_interval(settings.down_after, self.tuning.ping_period);
        let ms = Duration::from_millis(1);
        let mut next = instance.ping.down_at(settings.down_after, interval);
        let mut sooner = |at: Option<Mono>| {
            next = match (next, at) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        };
        if settings.refused_after > Duration::ZERO {
            sooner(
                instance
                    .refused_since
                    .map(|since| since + settings.refused_after),
            );
        }
        if instance.configured == Role::Master {
            if instance.reported == Role::Replica {
                let wait = settings.down_after + self.tuning.info_period * 2;
                sooner(Some(instance.reported_since + wait + ms));
            }
            sooner(
                instance
                    .rebooted_at
                    .map(|since| since + settings.reboot_down_after + ms),
            );
        }
        next
    }

    /// The same for a peer, for each master that it watches with us.
    pub(super) fn judge_peer(&mut self, p: PeerId) {
        if self.tilt.is_some() {
            return;
        }
        let interval = self.peer_ping_interval(p);
        let peer = self.peer(p);
        if !peer.any_sdown && !peer.ping.is_silent(self.now, peer.down_after_min, interval) {
            return;
        }
        let masters: Vec<MasterId> = peer.masters.iter().copied().collect();
        let mut any = false;
        for m in masters {
            let down_after = self.master(m).settings.down_after;
            let is_down = self.peer(p).ping.is_silent(self.now, down_after, interval);
            any |= is_down;
            let (now, unix) = (self.now, self.unix.0);
            let Some(entry) = self.master_mut(m).entry_mut(p) else {
                continue;
            };
            match (is_down, entry.sdown_since) {
                (true, None) => {
                    entry.sdown_since = Some(now);
                    entry.sdown_unix = unix;
                    let text = self.describe_peer(m, p);
                    self.event_at(m, EventKind::Sdown, text);
                    self.timers.arm(Timer::Master(m), now);
                }
                (false, Some(_)) => {
                    entry.sdown_since = None;
                    let text = self.describe_peer(m, p);
                    self.event_at(m, EventKind::SdownCleared, text);
                    self.master_mut(m).ghosts.retain(|ghost| *ghost != p);
                    self.timers.arm(Timer::Master(m), now);
                }
                (true, Some(_)) | (false, None) => {}
            }
        }
        self.peer_mut(p).any_sdown = any;
    }

    /// How often a peer is pinged: by the most impatient of its masters.
    pub(super) fn peer_ping_interval(&self, p: PeerId) -> Duration {
        Instance::ping_interval(self.peer(p).down_after_min, self.tuning.ping_period)
    }

    /// How many sentinels, ourselves included, say that the master is down, by answers no older than
    /// `fresh`.
    pub(super) fn down_count(&self, m: MasterId, fresh: Duration) -> usize {
        let master = self.master(m);
        let ourselves = usize::from(self.instance(master.instance).sdown_since.is_some());
        let peers = master.peers.iter().filter(|entry| {
            entry
                .opinion
                .is_some_and(|opinion| opinion.down && self.now.since(opinion.at) < fresh)
        });
        ourselves + peers.count()
    }

    /// Peers' opinions expire; ODOWN follows from SDOWN and the opinions that are left.
    pub(super) fn judge_odown(&mut self, m: MasterId) {
        if self.tilt.is_some() {
            return;
        }
        let expiry = self.tuning.ask_period * OPINION_ASK_PERIODS;
        let now = self.now;
        let mut expired = false;
        for entry in &mut self.master_mut(m).peers {
            if entry.answered_at.is_some_and(|at| now.since(at) > expiry) {
                expired |= entry.opinion.take().is_some() | entry.voted.take().is_some();
            }
        }
        if expired {
            self.changed(m);
        }
        let master = self.master(m);
        let is_sdown = self.instance(master.instance).sdown_since.is_some();
        let count = self.down_count(m, expiry + Duration::from_millis(1));
        let is_odown = is_sdown && count >= master.quorum();
        match (is_odown, master.odown_since) {
            (true, None) => {
                let quorum = master.quorum();
                let text = format!(
                    "{} #quorum {count}/{quorum}",
                    self.describe(master.instance)
                );
                self.master_mut(m).odown_since = Some(now);
                self.note_odown(m, count);
                self.event_at(m, EventKind::Odown, text);
            }
            (false, Some(_)) => {
                let master = self.master_mut(m);
                master.odown_since = None;
                master.start_at = None;
                master.attempts = 0;
                master.is_withholding_told = false;
                let i = master.instance;
                self.note_odown_cleared(m);
                self.event_instance(EventKind::OdownCleared, i);
            }
            (true, Some(_)) | (false, None) => {}
        }
    }

    /// Names peers that have been gone for so long that they only make a majority harder to reach.
    /// They still count, because other sentinels count them.
    pub(super) fn report_ghosts(&mut self, m: MasterId) {
        let now = self.now;
        let master = self.master(m);
        let is_ghost = |since: Option<Mono>| since.is_some_and(|at| now.since(at) >= GHOST_AFTER);
        let ghosts: Vec<PeerId> = master
            .peers
            .iter()
            .filter(|entry| is_ghost(entry.sdown_since))
            .map(|entry| entry.peer)
            .collect();
        if ghosts.iter().all(|ghost| master.ghosts.contains(ghost)) {
            return;
        }
        let text = format!(
            "{} #ghosts {} of {} known sentinels, majority {}, usable {}: {}; SENTINEL RESET {} forgets them",
            self.describe(master.instance),
            ghosts.len(),
            master.voters(),
            master.majority(),
            master.voters()
                - master
                    .peers
                    .iter()
                    .filter(|e| e.sdown_since.is_some())
                    .count(),
            self.ghost_list(m, &ghosts),
            master.name,
        );
        self.master_mut(m).ghosts = ghosts;
        self.event_at(m, EventKind::GhostSentinels, text);
    }

    /// `<id>@<addr> down since <unix seconds>` for each.
    pub(super) fn ghost_list(&self, m: MasterId, ghosts: &[PeerId]) -> String {
        let one = |p: &PeerId| {
            let peer = self.peer(*p);
            let since = self
                .master(m)
                .entry(*p)
                .map_or(0, |entry| entry.sdown_unix / 1000);
            let name = peer.addr.instance_name(self.globals.announce_hostnames);
            format!("{}@{name} down since {since}", peer.id)
        };
        ghosts.iter().map(one).collect::<Vec<_>>().join(", ")
    }

    /// When the next peer becomes a ghost.
    pub(super) fn next_ghost_at(&self, m: MasterId) -> Option<Mono> {
        let master = self.master(m);
        let pending = master
            .peers
            .iter()
            .filter(|entry| !master.ghosts.contains(&entry.peer));
        pending
            .filter_map(|entry| entry.sdown_since)
            .map(|since| since + GHOST_AFTER)
            .min()
    }

    /// A connection closed and now refused: it was stopped, and that is worth saying.
    pub(super) fn report_closed(&mut self, i: InstanceId) {
        let announced = match self.instance(i).closed {
            Closed::No | Closed::Told { .. } => return,
            Closed::ByPeer => false,
            Closed::Announced { .. } => true,
        };
        self.instance_mut(i).closed = Closed::Told { announced };
        let how = if announced {
            "shutdown announced"
        } else {
            "closed and refusing"
        };
        let text = format!("{} {how}", self.describe(i));
        let m = self.instance(i).master;
        self.event_at(m, EventKind::InstanceClosed, text);
    }

    /// Refused credentials are not death: the instance answers. They are reported once, and again when
    /// what was refused is granted.
    pub(super) fn auth_refused(&mut self, i: InstanceId, gate: Gate, error: &str) {
        let now = self.now;
        let instance = self.instance_mut(i);
        let m = instance.master;
        match &mut instance.auth_refused {
            // PING is the wider gate: who may not even ping may do nothing.
            Some((_, known)) => {
                if gate == Gate::Ping {
                    *known = gate;
                }
            }
            None => {
                instance.auth_refused = Some((now, gate));
                let text = format!("{} {error}", self.describe(i));
                self.event_at(m, EventKind::AuthRefused, text);
            }
        }
    }

    /// A request got an answer that shows rights.
    pub(super) fn auth_granted(&mut self, i: InstanceId, gate: Gate) {
        let refused = self.instance(i).auth_refused;
        if refused.is_some_and(|(_, known)| known == gate) {
            self.instance_mut(i).auth_refused = None;
            self.event_instance(EventKind::AuthAccepted, i);
        }
    }

    /// A message was refused: said in log and event, at most once a second.
    pub(super) fn reject(&mut self, why: String) {
        const REJECTED_PAUSE: Duration = Duration::from_secs(1);
        if self
            .rejected_at
            .is_some_and(|at| self.now.since(at) < REJECTED_PAUSE)
        {
            self.log(super::Level::Debug, format!("rejected: {why}"));
            return;
        }
        self.rejected_at = Some(self.now);
        self.event_global(EventKind::Rejected, why);
    }

    /// The exit that `SENTINEL SIMULATE-FAILURE` asked for, behind what was said before it.
    pub(super) fn simulate_crash(&mut self, m: MasterId) {
        const SIMULATED_CRASH_STATUS: i32 = 99;
        let text = "Sentinel CRASH because of SENTINEL simulate-failure".to_owned();
        self.say(m, Output::Log(super::Level::Warning, text));
        self.say(m, Output::Exit(SIMULATED_CRASH_STATUS));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DA: Duration = Duration::from_secs(1);
    const EVERY: Duration = Duration::from_millis(200);

    #[test]
    fn silence_counts_from_the_last_valid_reply() {
        let mut ping = PingClock::new(Mono(0));
        ping.sent(Mono(10));
        ping.replied(Mono(11), true);
        assert_eq!(ping.down_at(DA, EVERY), None, "nothing is unanswered");
        ping.sent(Mono(210));
        ping.replied(Mono(211), false);
        assert_eq!(ping.down_at(DA, EVERY), Some(Mono(1012)));
        assert!(!ping.is_silent(Mono(1011), DA, EVERY));
        assert!(ping.is_silent(Mono(1012), DA, EVERY));
    }

    #[test]
    fn a_break_of_a_proven_link_is_a_sign_of_life() {
        let mut ping = PingClock::new(Mono(0));
        ping.sent(Mono(10));
        ping.replied(Mono(11), true);
        ping.broke(Mono(500), true);
        assert_eq!(ping.down_at(DA, EVERY), Some(Mono(1501)));
        // A new connection to a hung process, which breaks in turn, proves nothing.
        ping.sent(Mono(900));
        ping.broke(Mono(1200), false);
        assert_eq!(ping.down_at(DA, EVERY), Some(Mono(1501)));
    }

    #[test]
    fn silence_in_which_we_never_asked_does_not_count() {
        let mut ping = PingClock::new(Mono(0));
        ping.replied(Mono(5), true);
        ping.sent(Mono(90_000));
        assert_eq!(ping.down_at(DA, EVERY), Some(Mono(90_801)));
    }
}

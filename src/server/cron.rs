//! What comes with time, ten times a second.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

use super::Server;
use crate::clock::Now;

/// Between two rounds.
const PERIOD: Duration = Duration::from_millis(100);
/// Rounds in a second.
const ROUNDS_PER_SECOND: u64 = 10;
/// Keys removed in one step, and segments looked at.
const EXPIRE_STEP: (usize, usize) = (64, 256);
/// How long clients wait for the removal of expired keys at a time.
const EXPIRE_SLICE: Duration = Duration::from_millis(2);

fn rounds() -> Interval {
    let mut rounds = interval(PERIOD);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    rounds
}

/// What of the rounds is for clients, for as long as the load of a start takes: a pause of theirs, say, ends in time.
pub(super) async fn mind_clients(server: &Rc<RefCell<Server>>) -> Infallible {
    let mut tick = rounds();
    loop {
        tick.tick().await;
        let server = &mut *server.borrow_mut();
        if !server.switches.is_cron_paused {
            server.front.tick(server.clock.mono());
        }
    }
}

/// Runs the rounds until the task is dropped. While there is more that has expired, its removal goes on between
/// them.
pub(super) async fn run(server: Rc<RefCell<Server>>) {
    let mut tick = rounds();
    let mut round = 0_u64;
    let mut is_behind = false;
    loop {
        let pause = expire_pause(server.borrow().config.tuning.active_expire_effort);
        tokio::select! {
            _ = tick.tick() => {
                is_behind = server.borrow_mut().round(round);
                round += 1;
            }
            () = tokio::time::sleep(pause), if is_behind => {
                let server = &mut *server.borrow_mut();
                is_behind = server.expire_keys();
                server.hand_on();
            }
        }
    }
}

/// Between two slices of removal: an effort of 1 takes a quarter of the time, each more 2 percent.
fn expire_pause(effort: i32) -> Duration {
    let percent = 25 + 2 * u32::try_from(effort.clamp(1, 10) - 1).unwrap_or(0);
    EXPIRE_SLICE * (100 - percent) / percent
}

impl Server {
    /// One round. True if there is more that has expired.
    pub(super) fn round(&mut self, round: u64) -> bool {
        let now = self.clock.mono();
        self.watchdog.feed(now);
        if self.switches.is_cron_paused {
            return false;
        }
        self.front.tick(now);
        self.advance_failover();
        self.ask_for_waiters();
        let is_behind = self.expire_keys();
        self.make_room();
        self.check_save_points();
        self.sample_memory();
        self.limit_tracking();
        self.check_aof_rewrite();
        if round.is_multiple_of(ROUNDS_PER_SECOND) {
            self.replication_tick(now);
        }
        self.hand_on();
        is_behind
    }

    /// Hands on what was caused outside of any client's turn.
    pub(super) fn hand_on(&mut self) {
        self.broadcast_invalidations();
        self.flush_stream();
        self.hold_prompted();
        self.advance_aof();
    }

    /// Removes keys that have expired, for a while. Each is a unit of its own. True if there may be more.
    fn expire_keys(&mut self) -> bool {
        let now = self.clock.now();
        let is_paused = self.front.paused(now.mono).is_some();
        if !self.switches.expires_actively || is_paused || self.is_loading() {
            return false;
        }
        let begun = self.clock.nanos();
        let is_behind = self.timed("expire-cycle", |server| {
            loop {
                let is_end = if server.replication.is_master() {
                    server.expire_some_keys(now)
                } else {
                    server.expire_own_keys(now)
                };
                if is_end {
                    return false;
                }
                if server.clock.mono().since(now.mono) > EXPIRE_SLICE {
                    return true;
                }
            }
        });
        self.stats.expire_nanos += self.clock.nanos().saturating_sub(begun);
        self.stats.expire_cut_short += u64::from(is_behind);
        is_behind
    }

    /// Removes some of the keys that have expired. True at the end of a walk over all.
    pub(super) fn expire_some_keys(&mut self, now: Now) -> bool {
        let (keys, segments) = EXPIRE_STEP;
        let step = self.keyspace.find_expired(now.unix.0, keys, segments);
        for (db, key) in step.keys {
            self.remove_expired(db, &key);
            self.end_unit();
        }
        step.is_end
    }
}

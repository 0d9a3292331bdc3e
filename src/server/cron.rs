//! What comes with time, ten times a second.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::Server;

/// Between two rounds.
const PERIOD: Duration = Duration::from_millis(100);
/// Rounds in a second.
const ROUNDS_PER_SECOND: u64 = 10;
/// Keys removed in one step, and segments looked at.
const EXPIRE_STEP: (usize, usize) = (64, 256);
/// Steps of one round: a bound on how long clients wait for it.
const EXPIRE_STEPS: usize = 64;

/// Runs the rounds until the task is dropped.
pub(super) async fn run(server: Rc<RefCell<Server>>) {
    let mut tick = tokio::time::interval(PERIOD);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for round in 0_u64.. {
        tick.tick().await;
        let server = &mut *server.borrow_mut();
        let now = server.clock.mono();
        server.front.tick(now);
        server.advance_failover();
        server.expire_keys();
        server.check_save_points();
        server.sample_memory();
        server.limit_tracking();
        server.broadcast_invalidations();
        server.check_aof_rewrite();
        if round % ROUNDS_PER_SECOND == 0 {
            server.replication_tick(now);
        }
        server.flush_stream();
        server.hold_prompted();
        server.advance_aof();
    }
}

impl Server {
    /// Removes keys that have expired, for a while. Each is a unit of its own.
    fn expire_keys(&mut self) {
        let now = self.clock.now();
        let is_paused = self.front.paused(now.mono).is_some();
        if !self.expires_actively
            || !self.replication.is_master()
            || is_paused
            || self.loading.is_some()
        {
            return;
        }
        for _ in 0..EXPIRE_STEPS {
            let (keys, segments) = EXPIRE_STEP;
            let step = self.keyspace.find_expired(now.unix.0, keys, segments);
            for (db, key) in step.keys {
                self.remove_expired(db, &key);
                self.end_unit();
            }
            if step.is_end {
                return;
            }
        }
    }
}

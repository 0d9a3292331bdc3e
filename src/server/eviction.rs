//! Which keys are given up when memory is short, and how their use is noted for that.

use super::Server;
use super::keyspace::{FrequencyRules, Usage};
use super::tuning::{EvictionPolicy, Tuning};
use crate::clock::UnixMillis;

impl Tuning {
    /// How the use of keys is counted at this moment.
    pub(super) fn usage(&self, now: UnixMillis) -> Usage {
        let frequency = self.maxmemory_policy.goes_by_frequency().then(|| {
            let natural = |n: i32| u32::try_from(n).unwrap_or(0);
            FrequencyRules {
                log_factor: natural(self.lfu_log_factor),
                decay_minutes: natural(self.lfu_decay_time),
            }
        });
        let seconds = now.0 / 1000 & u64::from(u32::MAX);
        Usage {
            now: u32::try_from(seconds).expect("32 bits"),
            frequency,
        }
    }
}

impl EvictionPolicy {
    /// Whether it goes by how often keys are used.
    pub fn goes_by_frequency(self) -> bool {
        matches!(
            self,
            EvictionPolicy::AllKeysLfu | EvictionPolicy::VolatileLfu
        )
    }

    /// Whether it goes by when keys were last used.
    pub fn goes_by_idleness(self) -> bool {
        matches!(
            self,
            EvictionPolicy::AllKeysLru | EvictionPolicy::VolatileLru
        )
    }
}

impl Server {
    /// How the use of keys is counted at this moment.
    pub(crate) fn usage(&self, now: UnixMillis) -> Usage {
        self.config.tuning.usage(now)
    }

    /// The same where files tell the use of keys, which only some policies make worth it.
    pub(crate) fn saved_usage(&self) -> Option<Usage> {
        let policy = self.config.tuning.maxmemory_policy;
        (policy.goes_by_frequency() || policy.goes_by_idleness())
            .then(|| self.usage(self.clock.now().unix))
    }
}

//! Which replica to promote.

use std::cmp::Reverse;

use super::Sentinel;
use super::instance::{Instance, InstanceId, Role};
use super::master::MasterId;
use crate::clock::{Mono, millis};
use crate::ids::RunId;

/// What two eligible replicas are compared by; the smaller is the better one.
///
/// The first three are ours: data comes before preference. The rest is the original's order.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    /// It was promoted already by a leader that did not live to tell.
    not_yet_promoted: bool,
    /// It was never in step with the history that the master had: offsets do not compare.
    other_history: bool,
    /// It is loading, or in the middle of a full synchronisation.
    incomplete: bool,
    priority: u32,
    repl_offset: Reverse<u64>,
    /// Unknown comes last.
    run_id: (bool, String),
}

impl Sentinel {
    /// The best replica, by what was last heard of each; `None` when none is eligible.
    pub(super) fn select_replica(&self, m: MasterId) -> Option<InstanceId> {
        let master = self.master(m);
        let eligible = master
            .replicas
            .iter()
            .copied()
            .filter(|i| self.is_eligible(m, *i, true));
        eligible.min_by_key(|i| self.rank(m, *i))
    }

    /// Whether an INFO that matters for the selection is still on its way.
    pub(super) fn awaits_fresh_info(&self, m: MasterId, fresh_since: Mono) -> bool {
        self.master(m).replicas.iter().any(|i| {
            let instance = self.instance(*i);
            self.is_eligible(m, *i, false)
                && instance.info.at.is_none_or(|at| at < fresh_since)
                && instance.cmd.awaits(&super::link::Awaited::Info)
        })
    }

    /// The original's filters, and that it is a replica of this master at all. `by_info`: what INFO
    /// says counts, its age included.
    fn is_eligible(&self, m: MasterId, i: InstanceId, by_info: bool) -> bool {
        let (now, tuning) = (self.now, &self.tuning);
        let instance = self.instance(i);
        let is_alive = instance.sdown_since.is_none()
            && instance.cmd.is_up()
            && instance.auth_refused.is_none()
            && now.since(instance.ping.ok_at) <= tuning.ping_period * 5;
        if !is_alive || !by_info {
            return is_alive;
        }
        let master = self.master(m);
        let sdown_since = self.instance(master.instance).sdown_since;
        let info_age_max = match sdown_since {
            Some(_) => tuning.ping_period * 5,
            None => tuning.info_period * 3,
        };
        let down_for = sdown_since.map_or(0, |since| millis(now.since(since)));
        let link_down_max = down_for.saturating_add(millis(master.settings.down_after * 10));
        let link_down_max = i64::try_from(link_down_max).unwrap_or(i64::MAX);
        instance
            .info
            .at
            .is_some_and(|at| now.since(at) <= info_age_max)
            && instance.replica.priority != 0
            && instance.replica.link_down_ms <= link_down_max
            && !self.is_stranger(m, instance)
    }

    /// It says that it follows somebody outside this group, and its history is not this master's
    /// either. Who follows another instance of the group was only not told yet of the newest switch.
    fn is_stranger(&self, m: MasterId, instance: &Instance) -> bool {
        let Some((host, port)) = &instance.replica.master else {
            return false;
        };
        let told = super::Addr::new(host, *port);
        let follows = self.master(m).instances().any(|i| {
            let known = &self.instance(i).addr;
            known.same_as(&told) || self.same_after_resolution(known, &told)
        });
        // Whose history we do not know, we cannot tell strangers from.
        let known = self.instance(self.master(m).instance).repl_id.is_some();
        let shares = self.shares_history(m, instance);
        instance.reported == Role::Replica && !follows && known && !shares
    }

    /// Whether its replication id is the one that the master last had.
    fn shares_history(&self, m: MasterId, instance: &Instance) -> bool {
        let master = self.instance(self.master(m).instance);
        master.repl_id.is_some() && master.repl_id == instance.repl_id
    }

    fn rank(&self, m: MasterId, i: InstanceId) -> Rank {
        let instance = self.instance(i);
        let master = self.instance(self.master(m).instance);
        let was_promoted = instance.reported == Role::Master
            && master
                .sdown_since
                .is_some_and(|since| instance.reported_since >= since);
        let run_id = instance.run_id.as_ref().map(RunId::as_str);
        Rank {
            not_yet_promoted: !was_promoted,
            other_history: !was_promoted
                && master.repl_id.is_some()
                && !self.shares_history(m, instance),
            incomplete: instance.replica.incomplete,
            priority: instance.replica.priority,
            repl_offset: Reverse(instance.replica.repl_offset),
            run_id: (
                run_id.is_none(),
                run_id.unwrap_or_default().to_ascii_lowercase(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rank() -> Rank {
        Rank {
            not_yet_promoted: true,
            other_history: false,
            incomplete: false,
            priority: 100,
            repl_offset: Reverse(10),
            run_id: (false, "b".to_owned()),
        }
    }

    #[test]
    fn the_order_of_preference() {
        let best_first = [
            Rank {
                not_yet_promoted: false,
                repl_offset: Reverse(1),
                ..rank()
            },
            Rank {
                priority: 1,
                repl_offset: Reverse(1),
                ..rank()
            },
            Rank {
                repl_offset: Reverse(11),
                run_id: (true, String::new()),
                ..rank()
            },
            Rank {
                run_id: (false, "a".to_owned()),
                ..rank()
            },
            rank(),
            Rank {
                run_id: (true, String::new()),
                ..rank()
            },
            Rank {
                incomplete: true,
                priority: 1,
                ..rank()
            },
            Rank {
                other_history: true,
                priority: 1,
                repl_offset: Reverse(99),
                ..rank()
            },
        ];
        assert!(best_first.windows(2).all(|pair| pair[0] < pair[1]));
    }
}

//! Which replica to promote.

use std::cmp::Reverse;

use std::time::Duration;

use super::Sentinel;
use super::instance::{Instance, InstanceId, Role};
use super::master::MasterId;
use super::record::{CANDIDATES_MAX, Candidate, Exclusion, Rule, Verdict, span};
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

impl Rank {
    /// The first rule by which the two differ; the run id where they do not.
    fn rule_against(&self, other: &Rank) -> Rule {
        let differs = [
            (
                self.not_yet_promoted != other.not_yet_promoted,
                Rule::PromotedAlready,
            ),
            (self.other_history != other.other_history, Rule::History),
            (self.incomplete != other.incomplete, Rule::Complete),
            (self.priority != other.priority, Rule::Priority),
            (self.repl_offset != other.repl_offset, Rule::Offset),
        ];
        let first = differs.iter().find(|(differs, _)| *differs);
        first.map_or(Rule::RunId, |(_, rule)| *rule)
    }

    /// What it has to show under a rule.
    fn shown(&self, rule: Rule) -> String {
        match rule {
            Rule::PromotedAlready if self.not_yet_promoted => "not promoted yet".to_owned(),
            Rule::PromotedAlready => "already says that it is a master".to_owned(),
            Rule::History if self.other_history => "another replication history".to_owned(),
            Rule::History => "the master's replication history".to_owned(),
            Rule::Complete if self.incomplete => "loading or in a full resync".to_owned(),
            Rule::Complete => "a complete data set".to_owned(),
            Rule::Priority => format!("priority {}", self.priority),
            Rule::Offset => format!("offset {}", self.repl_offset.0),
            Rule::RunId => match &self.run_id {
                (false, run_id) => format!("run id {run_id}"),
                (true, _) => "no run id".to_owned(),
            },
        }
    }
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

    /// Every replica with what spoke for or against it, the best first, and how many are left out.
    pub(super) fn candidates(
        &self,
        m: MasterId,
        chosen: Option<InstanceId>,
    ) -> (Vec<Candidate>, u32) {
        let replicas = self.master(m).replicas.iter().copied();
        let (mut eligible, excluded): (Vec<_>, Vec<_>) =
            replicas.partition(|i| self.is_eligible(m, *i, true) || Some(*i) == chosen);
        eligible.sort_by_cached_key(|i| (Some(*i) != chosen, self.rank(m, *i)));
        let best = chosen.map(|i| self.rank(m, i));
        let second = eligible.get(1).map(|i| self.rank(m, *i));
        let all = eligible.into_iter().chain(excluded);
        let shown = all.take(CANDIDATES_MAX).map(|i| {
            let exclusion = self.exclusion(m, i, true).filter(|_| Some(i) != chosen);
            let (verdict, why) = match (exclusion, &best) {
                (Some((exclusion, why)), _) => (Verdict::Excluded(exclusion), why),
                (None, None) => (Verdict::Eligible, String::new()),
                (None, Some(best)) if Some(i) == chosen => {
                    (Verdict::Chosen, why_chosen(best, second.as_ref()))
                }
                (None, Some(best)) => {
                    let rank = self.rank(m, i);
                    let rule = best.rule_against(&rank);
                    let why = format!(
                        "{}, the chosen one has {}",
                        rank.shown(rule),
                        best.shown(rule)
                    );
                    (Verdict::Lost(rule), why)
                }
            };
            self.candidate(i, verdict, why)
        });
        let shown: Vec<Candidate> = shown.collect();
        let left_out = self.master(m).replicas.len() - shown.len();
        (shown, u32::try_from(left_out).unwrap_or(u32::MAX))
    }

    fn candidate(&self, i: InstanceId, verdict: Verdict, why: String) -> Candidate {
        let instance = self.instance(i);
        let run_id = instance.run_id.as_ref().map_or("", RunId::as_str);
        Candidate {
            addr: self.place(i),
            verdict,
            why,
            priority: instance.replica.priority,
            repl_offset: instance.replica.repl_offset,
            run_id: run_id.to_owned(),
            info_age_ms: instance.info.at.map(|at| millis(self.now.since(at))),
        }
    }

    fn is_eligible(&self, m: MasterId, i: InstanceId, by_info: bool) -> bool {
        self.exclusion(m, i, by_info).is_none()
    }

    /// Why a replica cannot be chosen: the original's filters, and that it is a replica of this master at all.
    /// `by_info`: what INFO says counts, its age included.
    fn exclusion(&self, m: MasterId, i: InstanceId, by_info: bool) -> Option<(Exclusion, String)> {
        let (now, tuning) = (self.now, &self.tuning);
        let instance = self.instance(i);
        let because = |exclusion, why: String| Some((exclusion, why));
        if let Some(since) = instance.sdown_since {
            return because(
                Exclusion::Down,
                format!("SDOWN for {}", span(now.since(since))),
            );
        }
        if !instance.cmd.is_up() {
            return because(Exclusion::Disconnected, "no connection to it".to_owned());
        }
        if instance.auth_refused.is_some() {
            return because(
                Exclusion::AuthRefused,
                "it refuses our credentials".to_owned(),
            );
        }
        let silent = now.since(instance.ping.ok_at);
        if silent > tuning.ping_period * 5 {
            return because(
                Exclusion::NoPong,
                format!("no valid reply to PING for {}", span(silent)),
            );
        }
        if !by_info {
            return None;
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
        let info_age = instance.info.at.map(|at| now.since(at));
        if info_age.is_none_or(|age| age > info_age_max) {
            let age = info_age.map_or("it never answered".to_owned(), |age| {
                format!("{} old", span(age))
            });
            return because(Exclusion::StaleInfo, format!("no recent INFO: {age}"));
        }
        if instance.replica.priority == 0 {
            return because(
                Exclusion::PriorityZero,
                "its replica-priority is 0".to_owned(),
            );
        }
        let link_down = instance.replica.link_down_ms;
        if link_down > link_down_max {
            let [had, allowed] = [link_down, link_down_max]
                .map(|ms| span(Duration::from_millis(u64::try_from(ms).unwrap_or(0))));
            let why = format!("its link to the master is down for {had}, {allowed} are allowed");
            return because(Exclusion::LinkDown, why);
        }
        if self.is_stranger(m, instance) {
            let follows = instance.replica.master.as_ref();
            let follows = follows.map_or(String::new(), |(host, port)| format!("{host}:{port}"));
            let why = format!("it follows {follows}, outside this group, with another history");
            return because(Exclusion::Stranger, why);
        }
        None
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

/// What decided for the best one.
fn why_chosen(best: &Rank, second: Option<&Rank>) -> String {
    match second {
        None => "the only one that can be promoted".to_owned(),
        Some(second) => {
            let rule = best.rule_against(second);
            format!(
                "the best by {rule}: {}, the next has {}",
                best.shown(rule),
                second.shown(rule)
            )
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

//! What the operator configured and what the sentinel has learned since, brought together at start.
//!
//! Three versions are compared, value by value: the configuration as it is now, the configuration that the
//! state was based on, and the state. A value that the operator has changed since is the configuration's;
//! every other is the state's. It goes by values rather than by whole lines, so that raising a quorum does
//! not bring back the address of a master that has been failed over. Epochs only grow, and what is learned
//! from the net (replicas, peers) is kept unless the operator has removed it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use crate::ids::MasterName;
use crate::sentinel::core::{Durable, DurableMaster, DurablePeer, Globals, MasterSettings};

/// The configuration's value where the operator has changed it, else the state's.
fn pick<T: PartialEq>(configured: T, base: &T, state: T) -> T {
    if configured == *base {
        state
    } else {
        configured
    }
}

/// The state to start with.
pub(super) fn merge(configured: &Durable, base: &Durable, state: &Durable) -> Durable {
    let by_name = |durable: &Durable| -> HashMap<MasterName, Arc<DurableMaster>> {
        let named = |m: &Arc<DurableMaster>| (m.name.clone(), Arc::clone(m));
        durable.masters.iter().map(named).collect()
    };
    let (in_config, in_base, in_state) = (by_name(configured), by_name(base), by_name(state));
    let mut masters = Vec::new();
    for c in &configured.masters {
        match (in_base.get(&c.name), in_state.get(&c.name)) {
            (Some(b), Some(s)) => masters.push(Arc::new(merge_master(c, b, s))),
            // Removed at run time, and the operator has left the line as it was.
            (Some(_), None) => {}
            // New in the configuration, and monitored at run time already: all its values are new.
            (None, Some(s)) => masters.push(Arc::new(merge_master(c, &unlike(c), s))),
            (None, None) => masters.push(Arc::clone(c)),
        }
    }
    for s in &state.masters {
        // What was added at run time stays; what the operator has taken out goes.
        if !in_config.contains_key(&s.name) && !in_base.contains_key(&s.name) {
            masters.push(Arc::clone(s));
        }
    }
    Durable {
        id: match &configured.id {
            None => state.id.clone(),
            Some(id) => pick(Some(id.clone()), &base.id, state.id.clone()),
        },
        current_epoch: configured.current_epoch.max(state.current_epoch),
        globals: Arc::new(merge_globals(
            &configured.globals,
            &base.globals,
            &state.globals,
        )),
        masters,
    }
}

/// A base from which `master` differs in its address and its quorum, and in every setting that is not
/// the default.
fn unlike(master: &DurableMaster) -> DurableMaster {
    DurableMaster {
        host: Arc::from(""),
        settings: MasterSettings::new(0),
        ..master.clone()
    }
}

fn merge_globals(c: &Globals, b: &Globals, s: &Globals) -> Globals {
    macro_rules! merged {
        ($($field:ident)*) => {
            Globals {
                $($field: pick(c.$field.clone(), &b.$field, s.$field.clone()),)*
                // Not part of the state.
                requirepass: c.requirepass.clone(),
                listening_port: c.listening_port,
            }
        };
    }
    merged!(resolve_hostnames announce_hostnames deny_scripts_reconfig announce_ip announce_port
        sentinel_user sentinel_pass observe_only)
}

fn merge_settings(c: &MasterSettings, b: &MasterSettings, s: &MasterSettings) -> MasterSettings {
    macro_rules! merged {
        ($($field:ident)*) => {
            MasterSettings {
                $($field: pick(c.$field.clone(), &b.$field, s.$field.clone()),)*
            }
        };
    }
    merged!(quorum down_after failover_timeout parallel_syncs notification_script
        client_reconfig_script auth_user auth_pass reboot_down_after refused_after renamed_commands)
}

fn merge_master(c: &DurableMaster, b: &DurableMaster, s: &DurableMaster) -> DurableMaster {
    let address = |m: &DurableMaster| (Arc::clone(&m.host), m.port);
    let (host, port) = pick(address(c), &address(b), address(s));
    DurableMaster {
        name: c.name.clone(),
        host,
        port,
        settings: merge_settings(&c.settings, &b.settings, &s.settings),
        config_epoch: c.config_epoch.max(s.config_epoch),
        leader_epoch: c.leader_epoch.max(s.leader_epoch),
        replicas: merge_list(&c.replicas, &b.replicas, &s.replicas, Clone::clone),
        peers: merge_list(&c.peers, &b.peers, &s.peers, |peer: &DurablePeer| {
            peer.id.clone()
        }),
        paused: pick(c.paused, &b.paused, s.paused),
    }
}

/// The state's list, less what the operator has taken out, then what the operator has added.
fn merge_list<T: Clone, K: Hash + Eq>(c: &[T], b: &[T], s: &[T], key: impl Fn(&T) -> K) -> Vec<T> {
    let keys = |list: &[T]| -> HashMap<K, ()> { list.iter().map(|t| (key(t), ())).collect() };
    let (in_config, in_base, in_state) = (keys(c), keys(b), keys(s));
    let taken_out =
        |item: &T| in_base.contains_key(&key(item)) && !in_config.contains_key(&key(item));
    let added = |item: &T| !in_base.contains_key(&key(item)) && !in_state.contains_key(&key(item));
    let kept = s.iter().filter(|item| !taken_out(item));
    kept.chain(c.iter().filter(|item| added(item)))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Epoch;
    use crate::sentinel::state::text::parse_lines;

    fn check(configured: &str, base: &str, state: &str, merged: &str) {
        let parse = |text: &str| parse_lines(text).unwrap();
        let got = merge(&parse(configured), &parse(base), &parse(state));
        assert_eq!(got, parse(merged));
    }

    const M: &str = "sentinel monitor m 10.0.0.1 6379 2\n";
    const FAILED_OVER: &str = "sentinel monitor m 10.0.0.2 6379 2\nsentinel config-epoch m 7\n\
                               sentinel known-replica m 10.0.0.1 6379\n";

    #[test]
    fn the_state_wins_where_nothing_was_changed() {
        check(M, M, FAILED_OVER, FAILED_OVER);
    }

    #[test]
    fn a_new_quorum_does_not_bring_back_the_old_address() {
        let configured =
            "sentinel monitor m 10.0.0.1 6379 3\nsentinel down-after-milliseconds m 5\n";
        check(
            configured,
            M,
            FAILED_OVER,
            &format!(
                "{}sentinel down-after-milliseconds m 5\n",
                FAILED_OVER.replace("6379 2", "6379 3")
            ),
        );
    }

    #[test]
    fn a_new_address_wins() {
        let moved = "sentinel monitor m 10.0.0.9 6379 2\n";
        check(moved, M, FAILED_OVER, &FAILED_OVER.replace("0.2", "0.9"));
    }

    #[test]
    fn what_was_set_at_run_time_stays_until_the_line_changes() {
        let state = format!("{M}sentinel parallel-syncs m 9\nsentinel announce-port 7\n");
        check(M, M, &state, &state);
        let configured = format!("{M}sentinel parallel-syncs m 3\n");
        check(
            &configured,
            M,
            &state,
            &state.replace("syncs m 9", "syncs m 3"),
        );
        // Taking the line out is a change too.
        check(
            M,
            &configured,
            &state,
            &state.replace("syncs m 9", "syncs m 1"),
        );
    }

    #[test]
    fn masters_come_and_go_on_both_sides() {
        let other = "sentinel monitor other 10.1.0.1 1 1\n";
        check(M, M, &format!("{M}{other}"), &format!("{M}{other}"));
        check(&format!("{M}{other}"), &format!("{M}{other}"), M, M);
        check(M, &format!("{M}{other}"), &format!("{M}{other}"), M);
        check(&format!("{M}{other}"), M, M, &format!("{M}{other}"));
        // Both: the configuration's values, the state's knowledge.
        let learned = format!("{M}{other}sentinel known-replica other 10.1.0.2 1\n");
        let edited = format!("{M}sentinel monitor other 10.1.0.1 1 5\n");
        check(&edited, M, &learned, &learned.replace("0.1 1 1", "0.1 1 5"));
    }

    #[test]
    fn learned_lists_are_kept_unless_taken_out() {
        let a = "sentinel known-replica m 10.0.0.3 1\n";
        let b = "sentinel known-replica m 10.0.0.4 1\n";
        check(
            &format!("{M}{a}"),
            M,
            &format!("{M}{b}"),
            &format!("{M}{b}{a}"),
        );
        check(
            M,
            &format!("{M}{a}"),
            &format!("{M}{a}{b}"),
            &format!("{M}{b}"),
        );
    }

    #[test]
    fn epochs_and_ids_are_never_lost() {
        let id = "a".repeat(40);
        let state = format!("sentinel myid {id}\nsentinel current-epoch 9\n");
        check("", "", &state, &state);
        check("sentinel current-epoch 4\n", "", &state, &state);
        let merged = merge(
            &parse_lines("sentinel current-epoch 12\n").unwrap(),
            &Durable::default(),
            &parse_lines(&state).unwrap(),
        );
        assert_eq!(merged.current_epoch, Epoch(12));
        let other = format!("sentinel myid {}\n", "b".repeat(40));
        check(
            &other,
            "",
            &state,
            &format!("{other}sentinel current-epoch 9\n"),
        );
        check(&other, &other, &state, &state);
    }
}

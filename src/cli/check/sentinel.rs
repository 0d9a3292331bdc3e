//! Risky choices in the configuration of a sentinel.

use std::collections::BTreeMap;
use std::path::Path;

use super::{
    Findings, check_process, check_secrets, has_password, is_open, is_public, is_writable, resolved,
};
use crate::clock::millis;
use crate::config::{SentinelConfig, Source, load_sentinel};
use crate::http::token::Token;
use crate::sentinel::core::{DurableMaster, MasterSettings};
use crate::sentinel::run::check_access;
use crate::sentinel::state::with_state;
use crate::topology::is_loopback;

/// A shorter down-after takes an ordinary hiccup for a death. Milliseconds.
const DOWN_AFTER_SHORT: u64 = 500;

pub(super) fn check(source: &Source, state_file: Option<&Path>, findings: &mut Findings) {
    let arguments: Vec<String> = state_file.map_or_else(Vec::new, |path| {
        vec!["--state-file".to_owned(), path.display().to_string()]
    });
    let config = match load_sentinel(source, &arguments) {
        Ok(config) => config,
        Err(error) => return findings.not_loaded(&error),
    };
    if let Err(errors) = check_access(&config) {
        findings.mistakes(&errors);
    }
    // With the other sentinels and replicas, which may be known to the state file alone.
    let config = match with_state(&config) {
        Ok(config) => config,
        Err(error) => {
            findings.fail(&["state-file"], error.to_string().trim().to_owned());
            config
        }
    };
    check_process(&config.process, findings);
    check_token(&config, findings);
    check_state(&config, findings);
    check_globals(&config, findings);
    let masters = &config.durable.masters;
    if masters.is_empty() {
        let hint = "sentinel monitor NAME HOST PORT QUORUM";
        findings.warn(&[], "it watches no master", hint);
    }
    for master in masters {
        check_quorum(&config, master, findings);
        check_times(master, findings);
        check_credentials(master, findings);
        check_addresses(&config, master, findings);
    }
    check_shared_addresses(&config, findings);
    let of_masters = masters
        .iter()
        .any(|master| master.settings.auth_pass.is_some());
    let own = has_password(&config.process) || config.durable.globals.sentinel_pass.is_some();
    check_secrets(source, of_masters || own, findings);
}

fn check_token(config: &SentinelConfig, findings: &mut Findings) {
    let http = &config.process.http;
    if http.port == 0 {
        return;
    }
    if let Err(error) = Token::load(&resolved(&config.process)) {
        let at = if http.token_file.is_some() {
            "http-token-file"
        } else {
            "http-token"
        };
        findings.fail(&[at], format!("{error:#}"));
    }
}

fn check_state(config: &SentinelConfig, findings: &mut Findings) {
    let file = config.state_file.as_ref().or(config.path.as_ref());
    let folder = file.and_then(|file| file.parent());
    if let Some(folder) = folder.filter(|folder| !is_writable(folder)) {
        findings.warn(
            &["state-file"],
            format!(
                "the folder {} cannot be written: the state is then overwritten in place, not replaced",
                folder.display()
            ),
            "a folder that belongs to the user that runs the sentinel",
        );
    }
}

fn check_globals(config: &SentinelConfig, findings: &mut Findings) {
    let globals = &config.durable.globals;
    if !globals.deny_scripts_reconfig && is_open(&config.process) && is_public(&config.process) {
        findings.warn(
            &["sentinel", "deny-scripts-reconfig"],
            "everybody who can reach this port may make it run programs",
            "deny-scripts-reconfig yes, or a password",
        );
    }
    if globals.sentinel_user.is_some() && globals.sentinel_pass.is_none() {
        findings.warn(
            &["sentinel", "sentinel-user"],
            "sentinel-user has no effect without sentinel-pass: other sentinels that want credentials get none",
            "sentinel sentinel-pass PASSWORD",
        );
    }
    if globals.announce_hostnames && !globals.resolve_hostnames {
        findings.warn(
            &["sentinel", "announce-hostnames"],
            "names are announced, but the names that others announce are not accepted",
            "resolve-hostnames yes",
        );
    }
}

fn check_quorum(config: &SentinelConfig, master: &DurableMaster, findings: &mut Findings) {
    let name = master.name.as_str();
    let at = ["sentinel", "monitor", name];
    let quorum = usize::try_from(master.settings.quorum).unwrap_or(usize::MAX);
    // One that only observes is not counted by the others, nor by itself.
    let counts = !config.durable.globals.observe_only;
    let known = master.peers.len() + usize::from(counts);
    if master.peers.is_empty() {
        // A new one knows nobody yet.
        if quorum == 1 {
            findings.warn(
                &at,
                format!("{name}: with quorum 1 a single sentinel that has lost its network declares the master dead"),
                "quorum 2 with three sentinels, 3 with five",
            );
        }
        return;
    }
    let majority = known / 2 + 1;
    let sentinels = format!("{known} sentinels are known");
    if quorum > known {
        findings.warn(
            &at,
            format!("{name}: the quorum of {quorum} can never be reached: {sentinels}"),
            format!("quorum {majority}"),
        );
    } else if quorum > majority {
        findings.warn(
            &at,
            format!(
                "{name}: the quorum of {quorum} is more than a majority, which is {majority}: {sentinels}, and \
                 no failover starts with {} of them down",
                known - quorum + 1
            ),
            format!("quorum {majority}"),
        );
    } else if quorum < majority {
        findings.warn(
            &at,
            format!(
                "{name}: the quorum of {quorum} is less than a majority, which is {majority}: a few sentinels that have \
                 lost their network start failovers for which nobody votes"
            ),
            format!("quorum {majority}"),
        );
    }
    if known.is_multiple_of(2) {
        findings.warn(
            &at,
            format!(
                "{name}: {sentinels}, an even number, which tolerates no more failures than {}",
                known - 1
            ),
            "an odd number of sentinels, on machines that do not fail together",
        );
    }
}

fn check_times(master: &DurableMaster, findings: &mut Findings) {
    let name = master.name.as_str();
    let MasterSettings {
        down_after,
        failover_timeout,
        refused_after,
        reboot_down_after,
        parallel_syncs,
        ..
    } = &master.settings;
    let ms = |time: &std::time::Duration| format!("{} ms", millis(*time));
    if failover_timeout < down_after {
        findings.warn(
            &["sentinel", "failover-timeout", name],
            format!(
                "{name}: failover-timeout ({}) is shorter than down-after-milliseconds ({}): a promotion is given up \
                 before a hiccup of the replica would even count",
                ms(failover_timeout),
                ms(down_after)
            ),
            "several times down-after-milliseconds",
        );
    }
    if millis(*down_after) < DOWN_AFTER_SHORT {
        findings.warn(
            &["sentinel", "down-after-milliseconds", name],
            format!("{name}: after {} of silence the master is replaced: a slow command or a snapshot is enough", ms(down_after)),
            "1000 or more; refused-after-milliseconds for crashes",
        );
    }
    if !refused_after.is_zero() && refused_after >= down_after {
        findings.warn(
            &["sentinel", "refused-after-milliseconds", name],
            format!("{name}: refused-after-milliseconds ({}) has no effect: down-after-milliseconds ({}) comes first", ms(refused_after), ms(down_after)),
            "less than down-after-milliseconds",
        );
    }
    if !reboot_down_after.is_zero() && reboot_down_after < down_after {
        findings.warn(
            &["sentinel", "master-reboot-down-after-period", name],
            format!(
                "{name}: a master that restarts gets less time ({}) than one that is silent ({})",
                ms(reboot_down_after),
                ms(down_after)
            ),
            "more than down-after-milliseconds, or 0",
        );
    }
    let replicas = master.replicas.len();
    if replicas > 1 && usize::try_from(*parallel_syncs).unwrap_or(usize::MAX) >= replicas {
        findings.warn(
            &["sentinel", "parallel-syncs", name],
            format!("{name}: after a failover all {replicas} replicas may load the new master's data at the same time, and serve none meanwhile"),
            "parallel-syncs 1",
        );
    }
}

fn check_credentials(master: &DurableMaster, findings: &mut Findings) {
    let name = master.name.as_str();
    if master.settings.auth_user.is_some() && master.settings.auth_pass.is_none() {
        findings.warn(
            &["sentinel", "auth-user", name],
            format!("{name}: auth-user has no effect without auth-pass: no credentials are sent"),
            format!("sentinel auth-pass {name} PASSWORD"),
        );
    }
}

fn check_addresses(config: &SentinelConfig, master: &DurableMaster, findings: &mut Findings) {
    let name = master.name.as_str();
    let others = master.peers.iter().map(|peer| &peer.host);
    let others = others.chain(master.replicas.iter().map(|(host, _)| host));
    let is_remote = others.clone().any(|host| !is_loopback(host));
    if is_loopback(&master.host) && is_remote {
        findings.warn(
            &["sentinel", "monitor", name],
            format!(
                "{name}: the master is at {}, which on another machine is another one",
                master.host
            ),
            "the address under which all machines reach it",
        );
    }
    let process = &config.process;
    let announces = config.durable.globals.announce_ip.is_some();
    if !is_loopback(&master.host) && !is_public(process) && !announces {
        findings.warn(
            &["bind"],
            format!("{name}: the master is on another machine, but sentinels there cannot reach this one"),
            "bind to an address that they reach",
        );
    }
}

/// An address under two names: two groups would fight over it.
fn check_shared_addresses(config: &SentinelConfig, findings: &mut Findings) {
    let mut groups: BTreeMap<(&str, u16), Vec<&str>> = BTreeMap::new();
    for master in &config.durable.masters {
        let own = (&*master.host, master.port);
        let replicas = master.replicas.iter().map(|(host, port)| (&**host, *port));
        for address in std::iter::once(own).chain(replicas) {
            let names = groups.entry(address).or_default();
            if !names.contains(&master.name.as_str()) {
                names.push(master.name.as_str());
            }
        }
    }
    for ((host, port), names) in groups {
        let [.., _, last] = names.as_slice() else {
            continue;
        };
        findings.warn(
            &["sentinel", "monitor", last],
            format!(
                "{host}:{port} belongs to {}: each fails it over by itself",
                names.join(" and ")
            ),
            "one name for each group of master and replicas",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::super::tests::{check_warning, found};
    use std::path::Path;

    const FILE: &str = "sentinel.conf";

    /// A configuration without anything to say: one master of a group of three sentinels.
    fn conf(quorum: usize, peers: usize, lines: &str) -> String {
        let mut text = format!("requirepass x\nsentinel monitor m 10.0.0.1 6379 {quorum}\n");
        for peer in 0..peers {
            text.push_str(&format!(
                "sentinel known-sentinel m 10.0.1.{peer} 26379 {peer:040}\n"
            ));
        }
        text + lines
    }

    #[test]
    fn a_good_configuration_has_nothing_to_say() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        std::fs::write(&path, conf(2, 2, "")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let report =
            super::super::check(&crate::config::Source::File(path.clone()), false, None).unwrap();
        assert!(report.ok, "{:#?}", report.findings);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let report = super::super::check(&crate::config::Source::File(path), false, None).unwrap();
        assert!(
            report.findings[0].reason.contains("passwords"),
            "{:#?}",
            report.findings
        );
    }

    #[test]
    fn quorums_are_weighed() {
        let good = conf(2, 2, "");
        check_warning(
            FILE,
            &conf(4, 2, ""),
            Some(2),
            "can never be reached",
            &good,
        );
        check_warning(
            FILE,
            &conf(3, 2, ""),
            Some(2),
            "more than a majority",
            &good,
        );
        check_warning(
            FILE,
            &conf(1, 2, ""),
            Some(2),
            "less than a majority",
            &good,
        );
        check_warning(
            FILE,
            &conf(1, 0, ""),
            Some(2),
            "a single sentinel",
            &conf(2, 0, ""),
        );
        check_warning(
            FILE,
            &conf(3, 3, ""),
            Some(2),
            "an even number",
            &conf(3, 4, ""),
        );
    }

    #[test]
    fn times_must_go_together() {
        let with = |lines: &str| conf(2, 0, lines);
        let good = with("");
        let line = "sentinel failover-timeout m 5000\n";
        check_warning(
            FILE,
            &with(line),
            Some(3),
            "failover-timeout (5000 ms)",
            &good,
        );
        let line = "sentinel down-after-milliseconds m 100\n";
        check_warning(FILE, &with(line), Some(3), "after 100 ms of silence", &good);
        let line = "sentinel refused-after-milliseconds m 30000\n";
        check_warning(FILE, &with(line), Some(3), "has no effect", &good);
        let line = "sentinel master-reboot-down-after-period m 1000\n";
        check_warning(FILE, &with(line), Some(3), "that restarts", &good);
        let replicas = "sentinel known-replica m 10.0.0.2 1\nsentinel known-replica m 10.0.0.3 1\n";
        let line = format!("sentinel parallel-syncs m 2\n{replicas}");
        check_warning(
            FILE,
            &with(&line),
            Some(3),
            "all 2 replicas",
            &with(replicas),
        );
    }

    #[test]
    fn addresses_must_make_sense() {
        let shared = conf(2, 0, "sentinel monitor n 10.0.0.1 6379 2\n");
        let apart = conf(2, 0, "sentinel monitor n 10.0.0.1 6380 2\n");
        check_warning(FILE, &shared, Some(3), "belongs to m and n", &apart);
        let replica = conf(
            2,
            0,
            "sentinel monitor n 10.0.0.2 1 2\nsentinel known-replica m 10.0.0.2 1\n",
        );
        check_warning(
            FILE,
            &replica,
            Some(3),
            "10.0.0.2:1 belongs to m and n",
            &apart,
        );
        let bound = conf(2, 0, "bind 127.0.0.1\n");
        check_warning(
            FILE,
            &bound,
            Some(3),
            "cannot reach this one",
            &conf(2, 0, ""),
        );
        let local = conf(2, 2, "").replace("10.0.0.1", "127.0.0.1");
        check_warning(FILE, &local, Some(2), "is another one", &conf(2, 2, ""));
        let twice = found(FILE, &conf(2, 0, "sentinel monitor m 10.0.0.2 1 2\n"));
        assert_eq!((twice[0].0, twice[0].1), (Severity::Error, Some(3)));
    }

    #[test]
    fn strangers_must_not_run_programs() {
        let open = "sentinel monitor m 10.0.0.1 6379 2\nsentinel deny-scripts-reconfig no\n";
        check_warning(
            FILE,
            open,
            Some(2),
            "run programs",
            &format!("{open}requirepass x\n"),
        );
        let names = conf(2, 0, "sentinel announce-hostnames yes\n");
        let both = names.clone() + "sentinel resolve-hostnames yes\n";
        check_warning(FILE, &names, Some(3), "are not accepted", &both);
    }

    #[test]
    fn credentials_must_be_complete() {
        let user = conf(2, 0, "sentinel auth-user m sentinel\n");
        let both = user.clone() + "sentinel auth-pass m secret\n";
        check_warning(FILE, &user, Some(3), "m: auth-user has no effect", &both);
        let user = conf(2, 0, "sentinel sentinel-user sentinel\n");
        let both = user.clone() + "sentinel sentinel-pass secret\n";
        check_warning(FILE, &user, Some(3), "sentinel-user has no effect", &both);
    }

    #[test]
    fn http_must_be_safe_to_start() {
        let public = conf(2, 0, "http-port 8080\nhttp-token secret\n");
        let local = public.clone() + "http-bind 127.0.0.1\n";
        check_warning(FILE, &public, Some(3), "in the clear", &local);
        let check_error = |lines: &str, line: usize, part: &str| {
            let list = found(FILE, &conf(2, 0, lines));
            let is_it = |(severity, at, reason): &(Severity, Option<usize>, String)| {
                *severity == Severity::Error && *at == Some(line) && reason.contains(part)
            };
            assert!(list.iter().any(is_it), "{lines}: {list:#?}");
        };
        check_error("http-port 26379\n", 3, "26379 is taken");
        check_error("http-port 8080\nhttp-tls yes\n", 4, "tls-cert-file");
        check_error(
            "http-port 8080\nhttp-token-file /nonexistent\n",
            4,
            "/nonexistent",
        );
        check_error(
            "http-port 8080\nhttp-token a\nhttp-token-file b\n",
            5,
            "both",
        );
    }

    #[test]
    fn yaml_is_checked_by_the_same_rules() {
        let yaml = "requirepass: x\nmasters:\n  m:\n    host: 10.0.0.1\n    port: 1\n    quorum: 2\n    failover_timeout: 1s\n";
        check_warning(
            "s.yaml",
            yaml,
            Some(7),
            "failover-timeout",
            &yaml.replace("1s", "5m"),
        );
    }

    #[test]
    fn what_only_the_state_file_knows_is_weighed_too() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let conf = conf(2, 0, &format!("state-file {}\n", at("state").display()));
        std::fs::write(at(FILE), &conf).unwrap();
        let source = crate::config::Source::File(at(FILE));
        let mut learned = crate::config::load_sentinel(&source, &[]).unwrap();
        let master = std::sync::Arc::make_mut(&mut learned.durable.masters[0]);
        master.peers = vec![crate::sentinel::core::DurablePeer {
            host: "10.0.1.1".into(),
            port: 26379,
            id: crate::ids::SentinelId::from("a".repeat(40).as_str()),
        }];
        crate::sentinel::state::export(&learned, &at("state")).unwrap();
        let is_even = |state_file: Option<&Path>| {
            let findings = super::super::check(&source, false, state_file);
            let findings = findings.unwrap().findings;
            let is_it = |finding: &super::super::Finding| finding.reason.contains("an even number");
            findings.iter().any(is_it)
        };
        assert!(is_even(None));
        // As the units have it, the configuration does not name it.
        std::fs::write(at(FILE), conf.replace("state-file", "# state-file")).unwrap();
        assert!(!is_even(None));
        assert!(is_even(Some(&at("state"))));
        // One that only observes makes no even number of sentinels.
        std::fs::write(at(FILE), conf + "sentinel observe-only yes\n").unwrap();
        assert!(!is_even(None));
    }

    #[test]
    fn the_state_must_have_a_place() {
        let list = found(FILE, &conf(2, 0, "state-file /nonexistent/state\n"));
        assert_eq!(
            (list[0].0, list[0].1),
            (Severity::Error, Some(3)),
            "{list:#?}"
        );
        let list = found(FILE, "requirepass x\n");
        assert!(
            list.iter()
                .any(|(_, _, reason)| reason.contains("no master")),
            "{list:#?}"
        );
    }
}

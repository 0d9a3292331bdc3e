//! Risky choices in the configuration of a data server.

use std::slice;

use super::{Findings, check_process, check_secrets, has_password, is_writable};
use crate::config::Source;
use crate::server::{ServerConfig, check_access, load_server};

/// What sentinels need of their masters and replicas.
const USED_BY_SENTINELS: &[&str] = &[
    "client",
    "config",
    "exec",
    "info",
    "multi",
    "ping",
    "publish",
    "replicaof",
    "script",
    "slaveof",
    "subscribe",
];

pub(super) fn check(source: &Source, findings: &mut Findings) {
    let setup = match load_server(slice::from_ref(source), &[]) {
        Ok(setup) => setup,
        Err(error) => return findings.not_loaded(&error),
    };
    if let Err(errors) = check_access(&setup) {
        findings.mistakes(&errors);
    }
    let config = &setup.config;
    check_process(&config.process, findings);
    check_folder(config, findings);
    check_durability(config, findings);
    check_replication(config, findings);
    let has_secrets = has_password(&config.process) || config.masterauth.is_some();
    check_secrets(source, has_secrets, findings);
}

fn check_folder(config: &ServerConfig, findings: &mut Findings) {
    let writes = !config.save.is_empty() || config.aof.enabled;
    if writes && !is_writable(&config.process.dir) {
        findings.warn(
            &["dir"],
            format!(
                "the folder {} cannot be written: nothing can be saved",
                config.process.dir.display()
            ),
            "a folder that belongs to the user that runs the server",
        );
    }
}

fn check_durability(config: &ServerConfig, findings: &mut Findings) {
    if config.save.is_empty() && !config.aof.enabled {
        findings.warn(
            &["save"],
            "nothing is saved: a master that restarts before its failover comes back empty, and empties its replicas",
            "appendonly yes, or save points",
        );
    }
    if config.min_replicas_to_write > 0 && config.min_replicas_max_lag.is_zero() {
        findings.warn(
            &["min-replicas-max-lag"],
            "min-replicas-to-write has no effect while min-replicas-max-lag is 0",
            "min-replicas-max-lag 10",
        );
    }
}

fn check_replication(config: &ServerConfig, findings: &mut Findings) {
    if config.process.requirepass.is_some() && config.masterauth.is_none() {
        findings.warn(
            &["requirepass"],
            "without masterauth it cannot follow another master of the group, which has the same password, after a failover",
            "masterauth with that password",
        );
    }
    if config.repl_timeout <= config.ping_period {
        findings.warn(
            &["repl-timeout"],
            "repl-timeout is not longer than repl-ping-replica-period: the link of an idle master is cut again and again",
            "several times repl-ping-replica-period",
        );
    }
    for (command, new_name) in &config.process.rename_commands {
        if !USED_BY_SENTINELS.contains(&command.to_ascii_lowercase().as_str()) {
            continue;
        }
        let (reason, hint) = if new_name.is_empty() {
            (
                format!("sentinels need {command}, which is removed"),
                "an ACL instead".to_owned(),
            )
        } else {
            (
                format!("sentinels need {command} and must be told its new name"),
                format!(
                    "in their configuration: sentinel rename-command MASTER {command} {new_name}"
                ),
            )
        };
        findings.warn(&["rename-command", command], reason, hint);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::check_warning;

    #[test]
    fn risky_choices_of_a_data_server_are_told() {
        let check = |line: &str, part: &str, better: &str| {
            check_warning("redis.conf", line, Some(1), part, better);
        };
        check("save \"\"\n", "comes back empty", "appendonly yes\n");
        check(
            "requirepass x\n",
            "without masterauth",
            "requirepass x\nmasterauth x\n",
        );
        check("repl-timeout 5\n", "again and again", "repl-timeout 60\n");
        check(
            "rename-command CONFIG x\n",
            "must be told",
            "rename-command GET x\n",
        );
        check(
            "rename-command SLAVEOF \"\"\n",
            "is removed",
            "rename-command GET \"\"\n",
        );
        let lag = "min-replicas-max-lag 0\nmin-replicas-to-write 1\n";
        check(lag, "has no effect", "min-replicas-to-write 1\n");
    }
}

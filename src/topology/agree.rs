//! Waiting until a new topology is complete in the eyes of every sentinel.

use std::fmt;

use redis::RedisResult;

use super::access::{Access, Address};
use super::plan::Plan;
use super::survey::{Fields, field, flag_state, sentinel_command};

/// What a sentinel does not see yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Missing {
    port: u16,
    what: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sentinel {} {}", self.port, self.what)
    }
}

/// Asks every sentinel; `Ok` when all see the same healthy master, all replicas in sync with it, and
/// all peers.
pub(super) async fn agreed(access: &Access, plan: &Plan) -> Result<(), Missing> {
    let peers = plan.sentinels().count() - 1;
    let mut first_answer = None;
    for sentinel in plan.sentinels() {
        let port = sentinel.port;
        let missing = |what| Missing { port, what };
        let (master, replicas) = match view(access, port, &plan.name).await {
            Ok(view) => view,
            Err(error) if error.is_io_error() => return Err(missing("does not answer".to_owned())),
            Err(error) => return Err(missing(format!("says: {error}"))),
        };
        check_view(&master, &replicas, plan.replica_count(), peers).map_err(missing)?;
        let address = (
            field(&master, "ip").to_owned(),
            field(&master, "port").to_owned(),
        );
        if first_answer.get_or_insert_with(|| address.clone()) != &address {
            let (host, port) = address;
            return Err(missing(format!(
                "takes {host}:{port} for the master, others do not"
            )));
        }
    }
    Ok(())
}

async fn view(access: &Access, port: u16, name: &str) -> RedisResult<(Fields, Vec<Fields>)> {
    let address = Address {
        host: "127.0.0.1".to_owned(),
        port,
    };
    let mut sentinel = access.connect(&address).await?;
    let master = sentinel_command("MASTER", Some(name))
        .query_async(&mut sentinel)
        .await?;
    let replicas = sentinel_command("SLAVES", Some(name))
        .query_async(&mut sentinel)
        .await?;
    Ok((master, replicas))
}

fn check_view(
    master: &Fields,
    replicas: &[Fields],
    replica_count: usize,
    peers: usize,
) -> Result<(), String> {
    let number = |name| field(master, name).parse::<usize>().unwrap_or(0);
    if let Some(state) = flag_state(master) {
        return Err(format!("sees the master as {}", state.as_str()));
    }
    if field(master, "runid").is_empty() {
        return Err("has not heard from the master".to_owned());
    }
    if number("num-other-sentinels") < peers {
        return Err(format!(
            "sees {} of {peers} peers",
            number("num-other-sentinels")
        ));
    }
    if replicas.len() < replica_count {
        return Err(format!(
            "sees {} of {replica_count} replicas",
            replicas.len()
        ));
    }
    let is_in_sync = |fields: &&Fields| {
        flag_state(fields).is_none() && field(fields, "master-link-status") == "ok"
    };
    match replicas.iter().find(|replica| !is_in_sync(replica)) {
        Some(late) => Err(format!("sees replica {} not in sync", field(late, "name"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::survey::tests::fields;

    #[test]
    fn what_is_missing_is_told() {
        let mut master = fields(&[
            ("flags", "master"),
            ("runid", "x"),
            ("num-other-sentinels", "1"),
        ]);
        let mut replica = fields(&[
            ("flags", "slave"),
            ("master-link-status", "err"),
            ("name", "r"),
        ]);
        let check = |master: &Fields, replicas: &[Fields]| check_view(master, replicas, 1, 2);
        assert_eq!(check(&master, &[]).unwrap_err(), "sees 1 of 2 peers");
        master.insert("num-other-sentinels".to_owned(), "2".to_owned());
        assert_eq!(check(&master, &[]).unwrap_err(), "sees 0 of 1 replicas");
        let late = check(&master, std::slice::from_ref(&replica)).unwrap_err();
        assert_eq!(late, "sees replica r not in sync");
        replica.insert("master-link-status".to_owned(), "ok".to_owned());
        assert_eq!(check(&master, std::slice::from_ref(&replica)), Ok(()));
        master.insert("flags".to_owned(), "master,s_down".to_owned());
        let down = check(&master, &[replica.clone()]).unwrap_err();
        assert_eq!(down, "sees the master as down");
        master.insert("flags".to_owned(), "master,paused".to_owned());
        assert_eq!(
            check(&master, &[replica]),
            Ok(()),
            "it is as healthy as any"
        );
    }
}

//! `INFO replication` and `ROLE` in every state of a link, beside redis-server: the same fields in the same
//! order, and the same values wherever they do not name a port, an id or a moment.

use crate::data::{follow, promote, replica_of, wait_until_equal};
use crate::stream::begin;
use crate::support::{
    Answer, Client, Fake, Kind, ServerNode, expect_that, secs, start_server, text, wait_for,
};

/// Differs from run to run: shown by its length only.
const IDS: [&str; 2] = ["master_replid", "master_replid2"];
/// Counts bytes of a stream that has a `PING` more or less.
const POSITIONS: [&str; 3] = [
    "second_repl_offset",
    "repl_backlog_histlen",
    "master_repl_offset",
];
/// Counts seconds.
const TIMES: [&str; 3] = [
    "master_last_io_seconds_ago",
    "master_link_down_since_seconds",
    "master_sync_last_io_seconds_ago",
];

/// What a server says of its replication, without what no two runs share.
fn report(server: &ServerNode, others: &[u16]) -> Vec<String> {
    let mut client = server.client();
    let hide = |text: String| {
        let ports = others.iter().enumerate();
        ports.fold(text, |text, (at, port)| {
            text.replace(&port.to_string(), &format!("PORT{at}"))
        })
    };
    let info = text(&client.call(&["INFO", "replication"]));
    let field = |line: &str| {
        let Some((name, value)) = line.split_once(':') else {
            return line.to_owned();
        };
        let sign = if value.starts_with('-') {
            "negative"
        } else if value == "0" {
            "zero"
        } else {
            "some"
        };
        let shown = match name {
            name if IDS.contains(&name) => {
                format!("{} {}", value.len(), value.starts_with("000000"))
            }
            // Before any data redis-server says 1 here, and 0 as its own offset; and divides by -1.
            "slave_read_repl_offset" | "slave_repl_offset" => (sign == "negative").to_string(),
            "master_sync_perc" => value.trim_start_matches('-').to_owned(),
            name if POSITIONS.contains(&name) => sign.to_owned(),
            name if TIMES.contains(&name) => value.starts_with('-').to_string(),
            name if name
                .strip_prefix("slave")
                .is_some_and(|n| n.parse::<u8>().is_ok()) =>
            {
                let parts = value.split(',').map(|part| match part.split_once('=') {
                    Some((name @ ("offset" | "lag"), _)) => name.to_owned(),
                    Some(_) | None => part.to_owned(),
                });
                parts.collect::<Vec<_>>().join(",")
            }
            _ => value.to_owned(),
        };
        format!("{name}:{shown}")
    };
    let mut lines: Vec<String> = info.lines().map(|line| hide(field(line.trim()))).collect();
    let role = hide(text(&client.call(&["ROLE"])));
    // The last word of all forms but the empty one is a position.
    lines.push(
        role.rsplit_once(' ')
            .map_or_else(|| role.clone(), |(words, _)| words.to_owned()),
    );
    lines
}

fn set(client: &mut Client, name: &str, value: &str) {
    assert_eq!(text(&client.call(&["CONFIG", "SET", name, value])), "OK");
}

#[test]
fn in_every_state() {
    let reports = [Kind::Ours, Kind::Real].map(|kind| {
        let server = start_server(kind, "");
        let mut client = server.client();
        let mut reports = vec![report(&server, &[])];
        set(&mut client, "min-replicas-to-write", "1");
        reports.push(report(&server, &[]));
        let mut replica = start_server(Kind::Ours, &replica_of(&server));
        wait_until_equal(&server, &replica);
        // A replica that has all data counts only from its first acknowledgement.
        wait_for("it counts as good", secs(20), || {
            let good = server.info("min_slaves_good_slaves");
            expect_that(good.as_deref() == Some("1"), || format!("{good:?}"))
        });
        assert_eq!(text(&client.call(&["SET", "a", "1"])), "OK");
        wait_until_equal(&server, &replica);
        let ports = [replica.port(), server.port()];
        reports.push(report(&server, &ports));
        set(&mut replica.client(), "replica-announce-ip", "example.test");
        set(&mut replica.client(), "replica-announce-port", "7777");
        client.call(&["CLIENT", "KILL", "TYPE", "replica"]);
        wait_for("it is back", secs(20), || {
            let shown = server.info("slave0").unwrap_or_default();
            expect_that(
                shown.starts_with("ip=example.test,port=7777,state=online"),
                || shown.clone(),
            )
        });
        reports.push(report(&server, &ports));
        replica.kill();
        wait_for("it is gone", secs(10), || {
            let count = server.info("connected_slaves");
            expect_that(count.as_deref() == Some("0"), || format!("{count:?}"))
        });
        reports.push(report(&server, &ports));
        // The other side.
        let mut master = start_server(Kind::Ours, "");
        let ports = [master.port(), server.port()];
        follow(&server, &master);
        wait_until_equal(&master, &server);
        set(&mut client, "replica-priority", "7");
        set(&mut client, "replica-announced", "no");
        set(&mut client, "replica-read-only", "no");
        master.client().call(&["SET", "b", "1"]);
        wait_until_equal(&master, &server);
        reports.push(report(&server, &ports));
        master.kill();
        wait_for("the link is down", secs(10), || {
            let status = server.info("master_link_status");
            expect_that(status.as_deref() == Some("down"), || format!("{status:?}"))
        });
        let mut down = report(&server, &ports);
        // The state of ROLE is that of an attempt, and ours come faster.
        down.pop();
        reports.push(down);
        promote(&server);
        reports.push(report(&server, &ports));
        reports
    });
    for (ours, real) in reports[0].iter().zip(&reports[1]) {
        assert_eq!(ours, real);
    }
}

/// What a client has been told of, whoever wrote it, is what its `WAIT` waits for.
#[test]
fn a_client_waits_for_what_it_has_seen() {
    let [real, ours] = [Kind::Real, Kind::Ours].map(|kind| {
        let server = start_server(kind, "repl-ping-replica-period 3600\n");
        let mut replica = server.client();
        begin(&mut replica);
        let offset = || server.info("master_repl_offset").unwrap_or_default();
        let mut acknowledge = |offset: &str| {
            replica.send(&["REPLCONF", "ACK", offset]).unwrap();
            wait_for("it is heard", secs(5), || {
                let slave = server.info("slave0").unwrap_or_default();
                let wanted = format!("state=online,offset={offset},");
                expect_that(slave.contains(&wanted), || slave)
            });
        };
        acknowledge(&offset());
        let (mut writer, mut reader, mut idle) =
            (server.client(), server.client(), server.client());
        let wait = |client: &mut Client| text(&client.call(&["WAIT", "1", "50"]));
        let mut seen = vec![wait(&mut writer)];
        writer.call(&["SET", "k", "v"]);
        let written = offset();
        seen.push(wait(&mut reader));
        reader.call(&["GET", "k"]);
        seen.push(wait(&mut reader));
        for line in ["MULTI", "SET k w", "WAIT 1 0", "EXEC"] {
            let words: Vec<&str> = line.split(' ').collect();
            seen.push(text(&idle.call(&words)));
        }
        // What asks for an acknowledgement need not be in it.
        acknowledge(&written);
        seen.push(wait(&mut reader));
        seen.push(wait(&mut writer));
        seen.push(wait(&mut idle));
        seen
    });
    assert_eq!(real, ours);
}

#[test]
fn while_all_data_is_on_its_way() {
    const ID: &str = "0123456789abcdef0123456789abcdef01234567";
    for header in ["", "$1000\r\nREDIS0010", &format!("$EOF:{ID}\r\nREDIS0010")] {
        let reports = [Kind::Ours, Kind::Real].map(|kind| {
            let say = format!("+FULLRESYNC {ID} 5\r\n{header}");
            let master = Fake::start(move |words| match words[0].as_str() {
                "PING" => Answer::Say(b"+PONG\r\n".to_vec()),
                "PSYNC" => Answer::Say(say.clone().into_bytes()),
                _ => Answer::Say(b"+OK\r\n".to_vec()),
            });
            let server = start_server(kind, &format!("replicaof 127.0.0.1 {}\n", master.port()));
            let read = if header.is_empty() { "0" } else { "9" };
            wait_for("the transfer has begun", secs(20), || {
                let is = server.info("master_sync_read_bytes");
                expect_that(is.as_deref() == Some(read), || format!("{is:?}"))
            });
            report(&server, &[master.port(), server.port()])
        });
        assert_eq!(reports[0], reports[1], "{header:?}");
    }
}

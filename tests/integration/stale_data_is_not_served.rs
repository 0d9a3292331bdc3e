//! `replica-serve-stale-data no`: without its master a replica answers what needs no data, and says of the rest why it
//! does not.

use std::collections::BTreeSet;

use crate::both::{Both, elements, side_by_side};
use crate::data::{promote, replica_of, wait_for_info, wait_until_equal};
use crate::support::{Client, Kind, Port, secs, start_server, text};

const MASTERDOWN: &str =
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.";

/// What would end the server, the link or the connection, or answers for ever.
const LEFT_OUT: &[&str] = &[
    "shutdown",
    "replicaof",
    "slaveof",
    "monitor",
    "psync",
    "sync",
    "quit",
];

/// Every command and subcommand of a server, with as many words as it needs.
fn commands(client: &mut Client) -> BTreeSet<Vec<String>> {
    let mut found = BTreeSet::new();
    let all = client.call(&["COMMAND"]);
    for entry in elements(&all) {
        let entry = elements(entry);
        let subcommands = elements(&entry[9]).iter().map(elements);
        for entry in subcommands.chain([entry]) {
            let mut words: Vec<String> = text(&entry[0]).split('|').map(str::to_owned).collect();
            let count: i64 = text(&entry[1]).parse().unwrap();
            let count = usize::try_from(count.abs()).unwrap();
            words.resize(count.max(words.len()), "1".to_owned());
            found.insert(words);
        }
    }
    found.retain(|words| !LEFT_OUT.contains(&words[0].as_str()));
    found
}

/// The reply of a new client, alone or in a transaction, if it is an error.
fn refusal(port: u16, words: &[String], in_transaction: bool) -> Option<String> {
    let mut client = Client::to(port);
    if in_transaction {
        client.ask("MULTI");
    }
    let reply = crate::data::send(&mut client, words);
    let refusal = reply.is_error().then(|| text(&reply))?;
    let outcome = in_transaction.then(|| client.ask("EXEC"));
    Some(format!("{refusal} {outcome:?}"))
}

#[test]
fn which_commands_are_answered() {
    let mut both = Both::start();
    let nobody = Port::reserve();
    let [theirs, ours] = both.clients.each_mut().map(commands);
    let commands: Vec<_> = ours.intersection(&theirs).collect();
    assert!(commands.len() > 200, "{}", commands.len());
    both.check_lines(&format!(
        "CONFIG SET replica-serve-stale-data no\nREPLICAOF 127.0.0.1 {}",
        nobody.number()
    ));
    for is_read_only in ["yes", "no"] {
        both.check_lines(&format!("CONFIG SET replica-read-only {is_read_only}"));
        let [theirs, ours] = both.servers.each_ref().map(|server| {
            let port = server.port();
            let mut all = Vec::new();
            for words in &commands {
                for in_transaction in [false, true] {
                    let refusal = refusal(port, words, in_transaction);
                    all.push((words, in_transaction, refusal));
                }
            }
            all
        });
        for (theirs, ours) in theirs.iter().zip(&ours) {
            assert_eq!(theirs, ours, "replica-read-only {is_read_only}");
        }
        let expected = if is_read_only == "yes" { 150 } else { 250 };
        let refused = ours.iter().filter(|(.., refusal)| {
            let refusal = refusal.as_deref().unwrap_or_default();
            refusal.starts_with(MASTERDOWN)
        });
        let count = refused.count();
        assert!(count > expected, "{count} with {is_read_only}");
    }
}

#[test]
fn what_was_queued_while_the_master_was_there_is_not_run() {
    let seen = side_by_side(|kind| {
        let mut master = start_server(Kind::Real, "");
        master.client().call(&["SET", "k", "v"]);
        let server = start_server(kind, &replica_of(&master));
        wait_until_equal(&master, &server);
        let mut client = server.client();
        client.ask("CONFIG SET replica-serve-stale-data no");
        let mut seen = vec![client.ask("GET k")];
        let queues = [
            &["GET k"][..],
            &["PING"],
            &["PUBLISH a b"],
            &["WATCH k", "ECHO x"],
        ];
        let mut clients = queues.map(|lines| {
            let mut client = server.client();
            let (watched, queued): (Vec<&str>, Vec<&str>) =
                lines.iter().partition(|line| line.starts_with("WATCH"));
            for line in watched.into_iter().chain(["MULTI"]).chain(queued) {
                client.ask(line);
            }
            client
        });
        let mut waiting = server.client();
        waiting.send(&["WAIT", "1", "0"]).unwrap();
        let mut listener = server.client();
        listener.ask("SUBSCRIBE channel");
        master.kill();
        wait_for_info(&server, "master_link_status", "down");
        for client in &mut clients {
            seen.push(client.ask("EXEC"));
            seen.push(client.ask("EXEC"));
        }
        seen.push(text(&waiting.receive().unwrap()));
        seen.push(client.ask("PUBLISH channel message"));
        seen.push(text(&listener.receive().unwrap()));
        seen.push(client.ask("GET k"));
        seen.push(server.info("errorstat_MASTERDOWN").unwrap());
        seen.push(client.ask("CONFIG SET replica-serve-stale-data yes"));
        seen.push(client.ask("GET k"));
        client.ask("CONFIG SET replica-serve-stale-data no");
        seen.push(client.ask("GET k"));
        promote(&server);
        seen.push(client.ask("GET k"));
        seen
    });
    assert_eq!(seen[0], seen[1]);
    let discarded = format!("EXECABORT Transaction discarded because of: {MASTERDOWN}");
    assert_eq!(seen[1][1], discarded);
}

/// Who follows a replica has a master that is there.
#[test]
fn a_chain_is_as_good_as_its_next_link() {
    let seen = side_by_side(|kind| {
        let mut top = start_server(Kind::Real, "");
        top.client().call(&["SET", "k", "v"]);
        let middle = start_server(kind, &replica_of(&top));
        let last = start_server(kind, &replica_of(&middle));
        wait_until_equal(&top, &middle);
        wait_until_equal(&top, &last);
        for server in [&middle, &last] {
            let mut client = server.client();
            client.ask("CONFIG SET replica-serve-stale-data no");
        }
        top.kill();
        wait_for_info(&middle, "master_link_status", "down");
        let mut seen = [&middle, &last].map(|server| server.client().ask("GET k"));
        seen.reverse();
        // It cannot be followed anew meanwhile.
        let mut client = last.client();
        middle.client().ask("CLIENT KILL TYPE replica");
        wait_for_info(&last, "master_link_status", "down");
        let refused = client.ask("GET k");
        crate::support::holds_for("the last one stays alone", secs(1) / 4, || {
            let status = last.info("master_link_status").unwrap_or_default();
            crate::support::expect_that(status == "down", || status)
        });
        (seen, refused)
    });
    assert_eq!(seen[0], seen[1]);
}

//! `sentinel failover|pause|resume|forget|explain`: one `SENTINEL` command each, and what came of it.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use futures_util::StreamExt;
use redis::Value;
use redis::aio::{MultiplexedConnection, PubSubStream};
use tokio::signal::unix::{SignalKind, signal};

use super::args::{ExplainArgs, FailoverArgs, ForgetArgs, MasterArgs, PauseArgs};
use super::client::{ClientArgs, block_on};
use super::{exit, print};
use crate::sentinel::core::PAUSE_ANSWER_WAIT;
use crate::topology::progress::{self, DRAW_PERIOD, Progress};
use crate::topology::{
    Access, Address, Fields, Published, field, first_line, in_time, printable, sentinel_command,
};

/// Beyond the timeouts of the failover itself: how long an election may take, and some air.
const ELECTION_MAX: Duration = Duration::from_secs(15);

pub(super) fn pause(args: &PauseArgs) -> anyhow::Result<ExitCode> {
    let words: Vec<&str> = std::iter::once(args.master.as_str())
        .chain(args.duration.as_deref())
        .collect();
    let instead = "on a redis-sentinel nothing can suspend failovers but its end: ask one of ours with \
                   --sentinel, and stop the others if a majority must not act";
    act(&args.client, "PAUSE", &words, instead)
}

pub(super) fn resume(args: &MasterArgs) -> anyhow::Result<ExitCode> {
    let instead = "a redis-sentinel cannot be paused: ask one of ours with --sentinel";
    act(&args.client, "RESUME", &[&args.master], instead)
}

pub(super) fn forget(args: &ForgetArgs) -> anyhow::Result<ExitCode> {
    let port = args.address.port.to_string();
    let instead = "a redis-sentinel forgets all replicas and sentinels of a master at once: \
                   redis-cli -p PORT SENTINEL RESET MASTER, one sentinel after the other, 30 s apart";
    let words = [args.master.as_str(), &args.address.host, &port];
    act(&args.client, "FORGET", &words, instead)
}

pub(super) fn explain(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let count = args.count.map(|count| count.to_string());
    let mut words = vec![args.master.as_str()];
    words.extend(count.iter().flat_map(|count| ["COUNT", count]));
    let instead = "a redis-sentinel keeps no record of its decisions: read its log, or ask one of ours with \
                   --sentinel";
    act(&args.client, "EXPLAIN", &words, instead)
}

/// Sends `SENTINEL <subcommand> <words>` to the first sentinel that answers, and prints its reply.
/// `instead`: what to do where it is not known.
fn act(
    client: &ClientArgs,
    subcommand: &str,
    words: &[&str],
    instead: &str,
) -> anyhow::Result<ExitCode> {
    let access = client.access()?;
    let mut command = sentinel_command(subcommand, None);
    command.arg(words);
    let asks_peers = ["PAUSE", "RESUME"].contains(&subcommand);
    let peers_wait = if asks_peers {
        PAUSE_ANSWER_WAIT
    } else {
        Duration::ZERO
    };
    let limit = access.timeout.saturating_add(peers_wait);
    let reply = block_on(async {
        let (address, mut sentinel) = reach(client, &access, limit).await?;
        let work = in_time(limit, command.query_async::<Value>(&mut sentinel));
        let reply = progress::during(&format!("waiting for {address}"), work).await;
        reply.map_err(|error| refusal(client, &address, subcommand, instead, &first_line(&error)))
    })?;
    let mut text = String::new();
    lines(&reply, 0, &mut text);
    print(&text)?;
    Ok(ExitCode::from(exit::OK))
}

/// A connection to the first sentinel that answers, on which each answer may take so long.
async fn reach(
    client: &ClientArgs,
    access: &Access,
    answer: Duration,
) -> anyhow::Result<(Address, MultiplexedConnection)> {
    let mut reasons = Vec::new();
    for address in &client.sentinels {
        let connect = access.connect_for(address, answer);
        match progress::during(&format!("connecting to {address}"), connect).await {
            Ok(sentinel) => return Ok((address.clone(), sentinel)),
            Err(error) => reasons.push(format!("{address}: {}", first_line(&error))),
        }
    }
    let reasons = reasons.join("; ");
    let advice = client.advice(&reasons);
    Err(anyhow!("no sentinel answers: {reasons}\n{advice}"))
}

/// What a sentinel's error means, and what to do next.
fn refusal(
    client: &ClientArgs,
    address: &Address,
    subcommand: &str,
    instead: &str,
    reason: &str,
) -> anyhow::Error {
    let lower = reason.to_ascii_lowercase();
    let shown = printable(reason);
    // "unknown subcommand 'x'" since Redis 7.0, "Unknown sentinel subcommand 'x'" before.
    if lower.contains("unknown") && lower.contains("subcommand") {
        return anyhow!(
            "{address} does not know SENTINEL {subcommand}: it is a redis-sentinel, or an older version of ours\n{instead}"
        );
    }
    if lower.contains("unknown command") {
        return anyhow!(
            "{address} is no sentinel: {shown}\nname a sentinel with --sentinel HOST:PORT"
        );
    }
    if reason.starts_with("INPROG") {
        return anyhow!("{address}: {shown}\nwait for its end: `sentinel watch` shows it");
    }
    if reason.starts_with("NOGOODSLAVE") {
        return anyhow!(
            "{address}: {shown}\n`sentinel status` shows what is wrong with the replicas"
        );
    }
    if lower.contains("no replica or sentinel") {
        return anyhow!("{address}: {shown}\n`sentinel status` lists those that are known");
    }
    if lower.starts_with("no answer within") {
        let orders = ["PAUSE", "RESUME", "FORGET", "FAILOVER"];
        let fate = if orders.contains(&subcommand) {
            "it may still be done: `sentinel status` shows it; "
        } else {
            ""
        };
        return anyhow!("{address}: {shown}\n{fate}--timeout waits longer");
    }
    let is_about_us = ["no such master", "noauth", "wrongpass", "noperm"];
    if is_about_us.iter().any(|part| lower.contains(part)) {
        return anyhow!("{address}: {shown}\n{}", client.advice(reason));
    }
    anyhow!("{address}: {shown}")
}

/// A reply as lines, nested ones indented.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "RESP2, which is spoken here, has no other kinds"
)]
fn lines(reply: &Value, depth: usize, text: &mut String) {
    let mut line = |shown: &str| {
        text.push_str(&format!("{:1$}{2}\n", "", 2 * depth, printable(shown)));
    };
    match reply {
        Value::Nil => line("-"),
        Value::Okay => line("OK"),
        Value::Int(number) => line(&number.to_string()),
        Value::SimpleString(words) => line(words),
        Value::BulkString(bytes) => {
            let words = String::from_utf8_lossy(bytes);
            // A text of several lines stays one.
            words.lines().for_each(&mut line);
        }
        Value::Array(values) => {
            for value in values {
                let deeper = matches!(value, Value::Array(_));
                lines(value, depth + usize::from(deeper), text);
            }
        }
        other => line(&format!("{other:?}")),
    }
}

pub(super) fn failover(args: &FailoverArgs) -> anyhow::Result<ExitCode> {
    let access = args.client.access()?;
    let said = block_on(replace(&access, args))?;
    print(&said)?;
    Ok(ExitCode::from(exit::OK))
}

/// Orders the failover and waits for its end; what to say about it.
async fn replace(access: &Access, args: &FailoverArgs) -> anyhow::Result<String> {
    let name = args.master.as_str();
    let limit = access.timeout;
    let (address, mut sentinel) = reach(&args.client, access, limit).await?;
    let refused = |subcommand: &str, error: &redis::RedisError| {
        let instead = "name a sentinel with --sentinel HOST:PORT";
        let reason = first_line(error);
        refusal(&args.client, &address, subcommand, instead, &reason)
    };
    let master = sentinel_command("MASTER", Some(name));
    let master: Fields = in_time(limit, master.query_async(&mut sentinel))
        .await
        .map_err(|error| refused("MASTER", &error))?;
    // Before the order, so that nothing is missed.
    let mut subscription = access
        .subscriber(&address)
        .await
        .map_err(|error| refused("MASTER", &error))?;
    in_time(limit, subscription.psubscribe("*"))
        .await
        .map_err(|error| refused("MASTER", &error))?;
    let mut progress = Progress::begin();
    let order = sentinel_command("FAILOVER", Some(name));
    in_time(limit, order.query_async::<()>(&mut sentinel))
        .await
        .map_err(|error| refused("FAILOVER", &error))?;
    if args.no_wait {
        return Ok(format!(
            "{address} has accepted the failover of {name}; `sentinel watch {name}` shows it\n"
        ));
    }
    let timeout = field(&master, "failover-timeout").parse().unwrap_or(0);
    // It bounds the promotion, and again the reconfiguration of the replicas.
    let limit = 2 * Duration::from_millis(timeout) + ELECTION_MAX;
    let mut messages = subscription.into_on_message();
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        done = wait(name, &mut messages, &mut progress) => done,
        () = tokio::time::sleep(limit) => {
            let limit = humantime::format_duration(limit);
            bail!("the failover of {name} has not ended within {limit}\n`sentinel status {name}` shows where it stands");
        }
        _ = interrupt.recv() => {
            bail!("no longer waiting; the failover of {name} goes on\n`sentinel watch {name}` shows it");
        }
    }
    .with_context(|| format!("failover of {name}, ordered from {address}"))
}

/// Follows the events until the master is replaced, or the failover is given up.
async fn wait(
    name: &str,
    messages: &mut PubSubStream,
    progress: &mut Progress,
) -> anyhow::Result<String> {
    let mut phase = "ordered".to_owned();
    loop {
        let message = tokio::select! {
            message = messages.next() => message,
            () = tokio::time::sleep(DRAW_PERIOD) => {
                progress.tell(&format!("failover of {name}: {phase}"));
                continue;
            }
        };
        let Some(message) = message else {
            bail!(
                "the sentinel has closed the connection\n`sentinel status {name}` shows where it stands"
            );
        };
        let event = Published {
            by: "".into(),
            channel: message.get_channel_name().to_owned(),
            payload: message.get_payload().context("read an event")?,
        };
        match step(name, &event) {
            Step::Other => {}
            Step::Phase(next) => {
                phase = next;
                progress.tell(&format!("failover of {name}: {phase}"));
            }
            Step::Done(said) => {
                let ms = progress.elapsed().as_millis();
                return Ok(format!("{said}, after {ms} ms\n"));
            }
            Step::Aborted(why) => bail!("{why}"),
        }
    }
}

/// What an event means for a failover.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Other,
    /// It has come so far.
    Phase(String),
    /// The master is replaced.
    Done(String),
    /// It is given up.
    Aborted(String),
}

fn step(name: &str, event: &Published) -> Step {
    if crate::topology::master_of(event) != Some(name) {
        return Step::Other;
    }
    let payload = printable(&event.payload);
    let words: Vec<&str> = payload.split(' ').collect();
    let address = |at: usize| match (words.get(at), words.get(at + 1)) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (_, _) => payload.clone(),
    };
    let next =
        format!("`sentinel explain {name}` tells more; `sentinel status {name}` shows the set");
    match event.channel.as_str() {
        "+try-failover" => Step::Phase("asking for votes".to_owned()),
        "+elected-leader" => Step::Phase("elected".to_owned()),
        "+failover-state-select-slave" => Step::Phase("choosing a replica".to_owned()),
        "+selected-slave" => Step::Phase(format!("{} is chosen", address(2))),
        "+failover-state-send-slaveof-noone" | "+failover-state-wait-promotion" => {
            Step::Phase("waiting for the promotion".to_owned())
        }
        "+promoted-slave" => Step::Phase(format!("{} is promoted", address(2))),
        "+failover-state-reconf-slaves"
        | "+slave-reconf-sent"
        | "+slave-reconf-inprog"
        | "+slave-reconf-done" => Step::Phase("pointing the other replicas at it".to_owned()),
        "+switch-master" => Step::Done(format!(
            "{name} is now {}; it was {}",
            address(3),
            address(1)
        )),
        "-failover-abort-not-elected" => Step::Aborted(format!(
            "given up: the other sentinels did not vote for it; a majority of all known ones must be reachable\n{next}"
        )),
        "-failover-abort-no-good-slave" => {
            Step::Aborted(format!("given up: no replica can be promoted\n{next}"))
        }
        "-failover-abort-slave-timeout" => Step::Aborted(format!(
            "given up: the chosen replica did not become a master in time\n{next}"
        )),
        other if other.starts_with("-failover-abort") => {
            Step::Aborted(format!("given up: {}\n{next}", printable(other)))
        }
        _ => Step::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(channel: &str, payload: &str) -> Published {
        Published {
            by: "".into(),
            channel: channel.to_owned(),
            payload: payload.to_owned(),
        }
    }

    #[test]
    fn a_failover_is_followed_to_its_end() {
        let replica = "slave 127.0.0.1:2 127.0.0.1 2 @ m 127.0.0.1 1";
        let chosen = step("m", &event("+selected-slave", replica));
        assert_eq!(chosen, Step::Phase("127.0.0.1:2 is chosen".to_owned()));
        let switch = event("+switch-master", "m 127.0.0.1 1 127.0.0.1 2");
        let done = Step::Done("m is now 127.0.0.1:2; it was 127.0.0.1:1".to_owned());
        assert_eq!(step("m", &switch), done);
        assert_eq!(step("other", &switch), Step::Other);
        let aborted = event("-failover-abort-master-is-back", "master m 127.0.0.1 1");
        assert!(matches!(step("m", &aborted), Step::Aborted(_)));
        assert_eq!(
            step("m", &event("+sdown", "master m 127.0.0.1 1")),
            Step::Other
        );
    }

    #[test]
    fn replies_are_printed_line_by_line() {
        let bulk = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let reply = Value::Array(vec![
            bulk("paused"),
            Value::Array(vec![bulk("127.0.0.1:1\n127.0.0.1:2"), Value::Int(3)]),
            bulk("\x1b[2J"),
        ]);
        let mut text = String::new();
        lines(&reply, 0, &mut text);
        assert_eq!(
            text,
            "paused\n  127.0.0.1:1\n  127.0.0.1:2\n  3\n\\u{1b}[2J\n"
        );
    }
}

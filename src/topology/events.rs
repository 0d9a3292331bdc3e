//! What the sentinels publish, merged into one stream and put into words.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::mpsc;

use super::access::{Access, Address, first_line};
use super::paint::{Paint, Tone, printable};
use crate::clock::Mono;

/// The same event from another sentinel within this time is the same news.
pub(super) const SAME_NEWS: Duration = Duration::from_secs(3);
/// No more recent events than this are remembered.
pub(super) const REMEMBERED_MAX: usize = 1024;
/// Pause before a lost subscription is made again.
const RESUBSCRIBE_AFTER: Duration = Duration::from_millis(200);

/// An event as a sentinel published it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Which sentinel, as people are to read it: a port or an address.
    pub by: Arc<str>,
    /// The event's name, which is the channel.
    pub channel: String,
    /// Its payload.
    pub payload: String,
}

/// What comes from a sentinel that is followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The subscription stands.
    Connected {
        /// Which sentinel.
        by: Arc<str>,
    },
    /// There is none, and why. Said once until it stands again.
    Disconnected {
        /// Which sentinel.
        by: Arc<str>,
        /// Why.
        reason: String,
    },
    /// It published an event.
    Event(Published),
}

/// Subscribes to everything that a sentinel publishes, again and again, until nobody listens to `out`
/// any more. `by` is what it is called in there.
pub async fn follow(access: Access, address: Address, by: Arc<str>, out: mpsc::Sender<Heard>) {
    let mut is_told = false;
    loop {
        let reason = match follow_once(&access, &address, &by, &mut is_told, &out).await {
            Ok(()) => "it has closed the connection".to_owned(),
            Err(error) => first_line(&error),
        };
        if !std::mem::replace(&mut is_told, true) {
            let by = Arc::clone(&by);
            let _ = out.send(Heard::Disconnected { by, reason }).await;
        }
        if out.is_closed() {
            return;
        }
        tokio::time::sleep(RESUBSCRIBE_AFTER).await;
    }
}

async fn follow_once(
    access: &Access,
    address: &Address,
    by: &Arc<str>,
    is_told: &mut bool,
    out: &mpsc::Sender<Heard>,
) -> redis::RedisResult<()> {
    let mut subscription = access.subscriber(address).await?;
    subscription.psubscribe("*").await?;
    *is_told = false;
    let connected = Heard::Connected { by: Arc::clone(by) };
    if out.send(connected).await.is_err() {
        return Ok(());
    }
    let mut messages = subscription.into_on_message();
    while let Some(message) = messages.next().await {
        let event = Heard::Event(Published {
            by: Arc::clone(by),
            channel: message.get_channel_name().to_owned(),
            payload: message.get_payload()?,
        });
        if out.send(event).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Drops what another sentinel has just said.
#[derive(Debug, Default)]
pub struct Merge {
    recent: VecDeque<(Mono, Published)>,
}

impl Merge {
    /// True if this is news.
    pub fn is_news(&mut self, now: Mono, event: &Published) -> bool {
        while self
            .recent
            .front()
            .is_some_and(|(at, _)| now.since(*at) > SAME_NEWS)
        {
            self.recent.pop_front();
        }
        let is_same = |other: &Published| {
            other.by != event.by
                && other.channel == event.channel
                && subject(&other.payload) == subject(&event.payload)
        };
        if self.recent.iter().any(|(_, other)| is_same(other)) {
            return false;
        }
        if self.recent.len() == REMEMBERED_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back((now, event.clone()));
        true
    }
}

/// The payload without the counts, which differ from sentinel to sentinel.
fn subject(payload: &str) -> &str {
    payload.split(" #").next().unwrap_or(payload)
}

/// The port of the new master, if the event is a switch.
pub(super) fn switched_to(event: &Published) -> Option<u16> {
    let port = event.payload.rsplit(' ').next()?;
    (event.channel == "+switch-master").then(|| port.parse().ok())?
}

/// The name of the master that an event is about, if it is about one.
pub fn master_of(event: &Published) -> Option<&str> {
    let (subject, master) = match event.payload.split_once(" @ ") {
        Some((subject, master)) => (subject, master.split(' ').next()),
        None => (event.payload.as_str(), None),
    };
    let mut words = subject.split(' ');
    match (event.channel.as_str(), words.next()) {
        ("+switch-master", Some(name)) => Some(name),
        (_, Some("master")) if master.is_none() => words.next(),
        (_, Some(_)) | (_, None) => master,
    }
}

/// The event in words; `None` for those that only retell a step in between.
pub fn describe(event: &Published) -> Option<String> {
    let by = format!("sentinel {}", event.by);
    let words: Vec<&str> = event.payload.split(' ').collect();
    if let ("+switch-master", [name, old_host, old_port, host, port]) =
        (event.channel.as_str(), words.as_slice())
    {
        return Some(format!(
            "{name} is now {host}:{port}; it was {old_host}:{old_port}"
        ));
    }
    if let ("+would-vote", [candidate, epoch]) = (event.channel.as_str(), words.as_slice()) {
        return Some(format!("{by} would vote for {candidate} in epoch {epoch}"));
    }
    let who = Instance::parse(&words);
    let comment = event
        .payload
        .split_once(" #")
        .map_or("", |(_, comment)| comment);
    let text = match (event.channel.as_str(), who) {
        ("+sdown", Some(who)) => format!("{who} does not answer {by}"),
        ("-sdown", Some(who)) => format!("{who} answers {by} again"),
        ("+odown", Some(who)) => format!("{who} is down: the quorum agrees{}", who.rest),
        ("-odown", Some(who)) => format!("{who} is no longer held to be down"),
        ("+try-failover", Some(who)) => format!("{by} asks for votes to replace {who}"),
        ("+elected-leader", Some(_)) => format!("{by} is elected to lead the failover"),
        ("+selected-slave", Some(who)) => format!("{who} is chosen to be promoted"),
        ("+promoted-slave", Some(who)) => format!("{who} is promoted"),
        ("+slave-reconf-done", Some(who)) => format!("{who} follows the new master"),
        ("+failover-end", Some(_)) => "the failover is complete".to_owned(),
        ("+slave", Some(who)) => format!("{who} is known"),
        ("+sentinel", Some(who)) => format!("{who} is known"),
        ("+reboot", Some(who)) => format!("{who} was restarted"),
        ("+convert-to-slave", Some(who)) => {
            format!("{who} took itself for a master and is demoted")
        }
        ("+fix-slave-config", Some(who)) => {
            format!("{who} followed another master and is corrected")
        }
        ("+instance-closed", Some(who)) => {
            format!("{who} has closed its connections and refuses new ones")
        }
        ("-failover-abort-not-elected", Some(_)) => format!("{by} was not elected and steps back"),
        ("-failover-abort-no-good-slave", Some(who)) => format!("no replica can replace {who}"),
        ("-failover-abort-slave-timeout", Some(_)) => {
            "the chosen replica did not become a master in time".to_owned()
        }
        ("-failover-abort-master-is-back", Some(who)) => {
            format!("{who} answers again and keeps its place")
        }
        ("-failover-abort-paused", Some(who)) => {
            format!("automatic failovers were paused: {who} keeps its place")
        }
        ("+pause", Some(who)) => format!("automatic failovers of {who} are paused"),
        ("-pause", Some(who)) => format!("automatic failovers of {who} are no longer paused"),
        ("+forget", Some(who)) => format!("{by} has forgotten {who}"),
        ("+would-failover", Some(who)) => format!("{who} is down: {by} {comment}"),
        ("+would-reconf", Some(who)) => format!("{who} {comment}"),
        ("+tilt", _) => format!("{by} was held up and pauses its decisions"),
        ("-tilt", _) => format!("{by} decides again"),
        (
            "+new-epoch"
            | "+vote-for-leader"
            | "+config-update-from"
            | "+role-change"
            | "-role-change"
            | "+failover-state-select-slave"
            | "+failover-state-send-slaveof-noone"
            | "+failover-state-wait-promotion"
            | "+failover-state-reconf-slaves"
            | "+slave-reconf-sent"
            | "+slave-reconf-inprog"
            | "__sentinel__:hello",
            _,
        ) => return None,
        _ => format!("{} ({by})", event.payload),
    };
    Some(text)
}

/// An event's name in its tone, with spaces behind it up to `width` characters, and one more.
pub fn event_label(event: &str, width: usize, paint: Paint) -> String {
    let gap = width.saturating_sub(event.chars().count());
    let shown = paint.text(tone_of_event(event), &printable(event));
    format!("{shown}{:gap$} ", "")
}

fn tone_of_event(event: &str) -> Tone {
    match event {
        "died" | "not started" | "+sdown" | "+odown" | "+tilt" | "+save-failed"
        | "+auth-refused" | "disconnected" => Tone::Bad,
        "-sdown" | "-odown" | "-tilt" | "-save-failed" | "-auth-refused" | "connected"
        | "started" | "+switch-master" | "+failover-end" => Tone::Good,
        other if other.starts_with("-failover-abort") => Tone::Bad,
        other if other.starts_with("+failover") || other.ends_with("failover") => Tone::Warn,
        _ => Tone::Plain,
    }
}

/// `<type> <name> <host> <port>[ @ …][ rest]`, in which most payloads name an instance.
struct Instance<'a> {
    role: &'a str,
    host: &'a str,
    port: &'a str,
    /// The counts of `+odown`.
    rest: String,
}

impl<'a> Instance<'a> {
    fn parse(words: &[&'a str]) -> Option<Instance<'a>> {
        let [
            role @ ("master" | "slave" | "sentinel"),
            _name,
            host,
            port,
            rest @ ..,
        ] = words
        else {
            return None;
        };
        let rest = match rest {
            ["#quorum", count] => format!(" ({count})"),
            _ => String::new(),
        };
        Some(Instance {
            role: if *role == "slave" { "replica" } else { role },
            host,
            port,
            rest,
        })
    }
}

impl std::fmt::Display for Instance<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}:{}", self.role, self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(port: u16, channel: &str, payload: &str) -> Published {
        Published {
            by: Arc::from(port.to_string()),
            channel: channel.to_owned(),
            payload: payload.to_owned(),
        }
    }

    #[track_caller]
    fn check(channel: &str, payload: &str, expected: Option<&str>) {
        assert_eq!(
            describe(&event(26379, channel, payload)).as_deref(),
            expected
        );
    }

    #[test]
    fn events_are_put_into_words() {
        let master = "master m 127.0.0.1 6379";
        let replica = "slave 127.0.0.1:6380 127.0.0.1 6380 @ m 127.0.0.1 6379";
        check(
            "+sdown",
            master,
            Some("master 127.0.0.1:6379 does not answer sentinel 26379"),
        );
        let odown = "master 127.0.0.1:6379 is down: the quorum agrees (2/2)";
        check("+odown", &format!("{master} #quorum 2/2"), Some(odown));
        check(
            "+promoted-slave",
            replica,
            Some("replica 127.0.0.1:6380 is promoted"),
        );
        let switched = "m is now 127.0.0.1:6380; it was 127.0.0.1:6379";
        check(
            "+switch-master",
            "m 127.0.0.1 6379 127.0.0.1 6380",
            Some(switched),
        );
        check("+new-epoch", "7", None);
        check(
            "+would-failover",
            &format!("{master} #would ask 2 sentinels for votes"),
            Some("master 127.0.0.1:6379 is down: sentinel 26379 would ask 2 sentinels for votes"),
        );
        let vote = "sentinel 26379 would vote for abc in epoch 3";
        check("+would-vote", "abc 3", Some(vote));
        check(
            "+unheard-of",
            "some text",
            Some("some text (sentinel 26379)"),
        );
        check(
            "+switch-master",
            "garbage",
            Some("garbage (sentinel 26379)"),
        );
    }

    #[track_caller]
    fn check_master(channel: &str, payload: &str, expected: Option<&str>) {
        assert_eq!(master_of(&event(1, channel, payload)), expected);
    }

    #[test]
    fn the_master_of_an_event_is_found() {
        check_master("+sdown", "master m 127.0.0.1 6379", Some("m"));
        let replica = "slave 127.0.0.1:6380 127.0.0.1 6380 @ m 127.0.0.1 6379";
        check_master("+slave", replica, Some("m"));
        check_master(
            "+switch-master",
            "m 127.0.0.1 6379 127.0.0.1 6380",
            Some("m"),
        );
        check_master("+tilt", "#tilt mode entered", None);
        check_master("+new-epoch", "7", None);
    }

    #[test]
    fn every_event_of_ours_has_a_line_or_is_left_out_on_purpose() {
        use crate::sentinel::core::EventKind;
        for kind in EventKind::ALL {
            let line = describe(&event(1, kind.channel(), "master m 127.0.0.1 6379"));
            assert!(
                line.is_none_or(|line| !line.is_empty()),
                "{}",
                kind.channel()
            );
        }
    }

    #[test]
    fn the_same_news_from_another_sentinel_is_dropped() {
        let mut merge = Merge::default();
        let first = event(1, "+odown", "master m h 1 #quorum 2/2");
        let other = event(2, "+odown", "master m h 1 #quorum 3/2");
        assert!(merge.is_news(Mono(0), &first));
        assert!(!merge.is_news(Mono(100), &other));
        // The same sentinel says it again: it happened again.
        assert!(merge.is_news(Mono(200), &first));
        let later = Mono(200) + SAME_NEWS + Duration::from_millis(1);
        assert!(merge.is_news(later, &other));
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut merge = Merge::default();
        for count in 0..2 * REMEMBERED_MAX {
            assert!(merge.is_news(Mono(0), &event(1, "+set", &count.to_string())));
        }
        assert_eq!(merge.recent.len(), REMEMBERED_MAX);
    }
}

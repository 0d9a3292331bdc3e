//! `sentinel watch`: what the sentinels publish, one line each.

use std::collections::HashMap;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::args::WatchArgs;
use super::client::block_on;
use super::exit;
use crate::clock::{Clock, UnixMillis, unix_now};
use crate::topology::{
    Access, Address, Heard, Merge, Paint, Published, describe, event_label, follow, master_of,
    printable,
};

/// Events that wait to be printed.
pub(super) const HEARD_MAX: usize = 1024;

pub(super) fn run(args: &WatchArgs) -> anyhow::Result<ExitCode> {
    let access = args.client.access()?;
    block_on(watch(access, args))
}

/// Follows every sentinel; the channel holds what comes from all of them.
pub(super) fn follow_all(
    access: &Access,
    sentinels: &[Address],
) -> (JoinSet<()>, mpsc::Receiver<Heard>) {
    let (out, heard) = mpsc::channel(HEARD_MAX);
    let mut followers = JoinSet::new();
    for sentinel in sentinels {
        let by = Arc::from(sentinel.to_string());
        followers.spawn_local(follow(access.clone(), sentinel.clone(), by, out.clone()));
    }
    (followers, heard)
}

async fn watch(access: Access, args: &WatchArgs) -> anyhow::Result<ExitCode> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let (_followers, mut heard) = follow_all(&access, &args.client.sentinels);
    let mut news = News::new(args.master.clone(), args.all || args.json);
    let paint = args.client.color.paint();
    loop {
        let heard = tokio::select! {
            Some(heard) = heard.recv() => heard,
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            else => break,
        };
        let Some(line) = news.line(unix_now(), &heard) else {
            continue;
        };
        let text = if args.json {
            serde_json::to_string(&line)?
        } else {
            line.text(paint)
        };
        let mut out = io::stdout().lock();
        match writeln!(out, "{text}").and_then(|()| out.flush()) {
            Ok(()) => {}
            // `sentinel watch | head`: the reader has had enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(ExitCode::from(exit::OK))
}

/// What is told of what is heard.
struct News {
    master: Option<String>,
    tells_all: bool,
    merge: Merge,
    clock: Clock,
    /// Which sentinels are connected, of those that were heard of.
    connected: HashMap<Arc<str>, bool>,
}

/// A line, or an object of JSON.
#[derive(Debug, Serialize)]
struct Line<'a> {
    /// Seconds since 1970 in UTC, as RFC 3339.
    time: String,
    #[serde(skip)]
    at: UnixMillis,
    event: &'a str,
    sentinel: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    master: Option<&'a str>,
    payload: &'a str,
    /// In words.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

impl News {
    fn new(master: Option<String>, tells_all: bool) -> News {
        News {
            master,
            tells_all,
            merge: Merge::default(),
            clock: Clock::start(),
            connected: HashMap::new(),
        }
    }

    fn line<'a>(&mut self, at: UnixMillis, heard: &'a Heard) -> Option<Line<'a>> {
        let line = |event, sentinel, master, payload, text| Line {
            time: rfc3339(at),
            at,
            event,
            sentinel,
            master,
            payload,
            text,
        };
        match heard {
            Heard::Connected { by } => {
                let before = self.connected.insert(Arc::clone(by), true);
                let again = if before.is_some() { " again" } else { "" };
                let text = format!("sentinel {by} is heard{again}");
                Some(line("connected", by, None, "", Some(text)))
            }
            Heard::Disconnected { by, reason } => {
                self.connected.insert(Arc::clone(by), false);
                let text = format!("sentinel {by} cannot be heard: {reason}; trying again");
                Some(line("disconnected", by, None, reason, Some(text)))
            }
            Heard::Event(event) => {
                let master = master_of(event);
                let is_meant = match (&self.master, master) {
                    (Some(wanted), Some(master)) => wanted == master,
                    (Some(_), None) | (None, _) => true,
                };
                let text = describe(event);
                let Published {
                    by,
                    channel,
                    payload,
                } = event;
                let is_told = is_meant
                    && (text.is_some() || self.tells_all)
                    && self.merge.is_news(self.clock.mono(), event);
                is_told.then(|| line(channel, by, master, payload, text))
            }
        }
    }
}

impl Line<'_> {
    fn text(&self, paint: Paint) -> String {
        let said = self.text.as_deref().unwrap_or(self.payload);
        let about = match self.master {
            Some(master) => format!("{master}: "),
            None => String::new(),
        };
        format!(
            "{}  {}{}",
            crate::net::local_time(self.at),
            event_label(self.event, 24, paint),
            printable(&(about + said)),
        )
    }
}

fn rfc3339(at: UnixMillis) -> String {
    let millis = i64::try_from(at.0).unwrap_or(i64::MAX);
    let at = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX);
    at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(by: &str, channel: &str, payload: &str) -> Heard {
        Heard::Event(Published {
            by: Arc::from(by),
            channel: channel.to_owned(),
            payload: payload.to_owned(),
        })
    }

    fn told(news: &mut News, heard: &Heard) -> Option<String> {
        let line = news.line(UnixMillis(1_000), heard)?;
        let line = line.text(Paint::OFF);
        // The time is that of the machine's zone.
        Some(line.split("  ").skip(1).collect::<Vec<_>>().join("  "))
    }

    #[test]
    fn what_two_sentinels_say_is_said_once() {
        let mut news = News::new(None, false);
        let payload = "master m 127.0.0.1 6379";
        assert!(told(&mut news, &event("a:1", "+odown", payload)).is_some());
        assert!(told(&mut news, &event("b:1", "+odown", payload)).is_none());
    }

    #[test]
    fn only_the_master_that_was_named_is_told_of() {
        let mut news = News::new(Some("m".to_owned()), false);
        let about = |name: &str| event("a:1", "+sdown", &format!("master {name} 127.0.0.1 1"));
        let line = told(&mut news, &about("m")).unwrap();
        assert!(
            line.contains("m: master 127.0.0.1:1 does not answer sentinel a:1"),
            "{line}"
        );
        assert!(told(&mut news, &about("other")).is_none());
        assert!(told(&mut news, &event("a:1", "+tilt", "#tilt mode entered")).is_some());
    }

    #[test]
    fn steps_in_between_are_told_on_demand() {
        let step = event("a:1", "+new-epoch", "7");
        assert!(told(&mut News::new(None, false), &step).is_none());
        assert!(
            told(&mut News::new(None, true), &step)
                .unwrap()
                .ends_with(" 7")
        );
    }

    #[test]
    fn json_has_the_payload_and_the_words() {
        let mut news = News::new(None, true);
        let heard = event("a:1", "+switch-master", "m 127.0.0.1 1 127.0.0.1 2");
        let line = news.line(UnixMillis(1_500), &heard).unwrap();
        assert_eq!(
            serde_json::to_value(&line).unwrap(),
            serde_json::json!({
                "time": "1970-01-01T00:00:01.500Z",
                "event": "+switch-master",
                "sentinel": "a:1",
                "master": "m",
                "payload": "m 127.0.0.1 1 127.0.0.1 2",
                "text": "m is now 127.0.0.1:2; it was 127.0.0.1:1",
            })
        );
    }

    #[test]
    fn a_lost_sentinel_is_told_of_and_so_is_its_return() {
        let mut news = News::new(None, false);
        let by: Arc<str> = Arc::from("a:1");
        let up = Heard::Connected {
            by: Arc::clone(&by),
        };
        let down = Heard::Disconnected {
            by,
            reason: "x".to_owned(),
        };
        assert!(
            told(&mut news, &up)
                .unwrap()
                .ends_with("sentinel a:1 is heard")
        );
        assert!(
            told(&mut news, &down)
                .unwrap()
                .contains("cannot be heard: x")
        );
        assert!(told(&mut news, &up).unwrap().ends_with("is heard again"));
    }
}

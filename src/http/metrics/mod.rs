//! `/metrics` of both programs, for Prometheus.
//!
//! Metrics are plain data, [`Family`], until [`render`] writes them in the format that the scraper prefers. Two sets of
//! names are given: those that the well-known redis exporter has for the same facts ([`exporter`], so that dashboards
//! and alerts for it go on working), and our own, all of which begin with `sentinel_`, count in base units and have
//! labels whose values are bounded.

pub mod exporter;
pub mod render;
pub mod sentinel;
pub mod server;

use std::borrow::Cow;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::{Mutex, mpsc, oneshot};

use super::reply::{Problem, Refusal};
use super::room::{NO_ROOM, Room};
use crate::clock::{Clock, Mono};
use render::Format;

/// How long the loop may take to say what it has counted; then the scrape goes without.
const FACTS_TIME_MAX: Duration = Duration::from_secs(1);
/// Whoever scrapes within this time of another gets the same text. It bounds what scrapers cost the loop. How many
/// texts there are beside the last of each format, however slowly clients read theirs, is for the [`Room`] to bound.
const TEXT_AGE_MAX: Duration = Duration::from_millis(200);

/// What a family's values mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Grows until the process ends.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Observations in buckets.
    Histogram,
    /// Observations with quantiles.
    Summary,
}

/// All samples of one name.
#[derive(Clone, Debug, PartialEq)]
pub struct Family<'a> {
    /// The name, with `_total` where it has that.
    pub name: Cow<'a, str>,
    /// What the values mean.
    pub kind: Kind,
    /// What it is about, in one line.
    pub help: Cow<'a, str>,
    /// The samples, each with other labels.
    pub samples: Vec<Sample<'a>>,
}

/// One value, or distribution.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample<'a> {
    /// Names and values.
    pub labels: Vec<(&'static str, Cow<'a, str>)>,
    /// The value.
    pub value: Value,
}

/// What a sample says.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number.
    Number(f64),
    /// Of a histogram: upper bounds with how many were within each, those of the lower ones included, or of a summary:
    /// quantiles with their values.
    Distribution {
        /// Bounds, or quantiles, with what belongs to each.
        points: Vec<(f64, f64)>,
        /// How many there were.
        count: u64,
        /// All of them together.
        sum: f64,
    },
}

impl<'a> Family<'a> {
    fn new(name: impl Into<Cow<'a, str>>, kind: Kind, help: impl Into<Cow<'a, str>>) -> Self {
        Family {
            name: name.into(),
            kind,
            help: help.into(),
            samples: Vec::new(),
        }
    }

    /// One that goes up and down.
    pub fn gauge(name: &'static str, help: &'static str) -> Self {
        Family::new(name, Kind::Gauge, help)
    }

    /// One that only grows.
    pub fn counter(name: &'static str, help: &'static str) -> Self {
        Family::new(name, Kind::Counter, help)
    }

    /// One of distributions in buckets.
    pub fn histogram(name: &'static str, help: &'static str) -> Self {
        Family::new(name, Kind::Histogram, help)
    }

    /// Adds a number.
    pub fn add<const N: usize>(&mut self, labels: [(&'static str, &'a str); N], value: f64) {
        let labels = labels.map(|(name, text)| (name, Cow::Borrowed(text)));
        self.push(labels, Value::Number(value));
    }

    /// Adds anything.
    pub fn push<const N: usize>(
        &mut self,
        labels: [(&'static str, Cow<'a, str>); N],
        value: Value,
    ) {
        let labels = labels.into();
        self.samples.push(Sample { labels, value });
    }

    /// With one number and no labels.
    #[must_use]
    pub fn of(mut self, value: f64) -> Self {
        self.add([], value);
        self
    }
}

/// A count as a number; beyond 2^53 the last digits go.
#[expect(clippy::cast_precision_loss, reason = "samples are floating-point")]
pub fn number(n: u64) -> f64 {
    n as f64
}

/// A count as a number.
pub fn count(n: usize) -> f64 {
    number(n as u64)
}

/// 1 or 0.
pub fn flag(is: bool) -> f64 {
    f64::from(u8::from(is))
}

/// Milliseconds as seconds.
pub fn seconds(ms: u64) -> f64 {
    number(ms) / 1000.0
}

/// From where the metrics of a program come.
pub(super) trait Source: Debug + Send + Sync {
    /// All of them, as they are now.
    fn text(&self, format: Format) -> BoxFuture<'_, String>;
}

/// What a program tells of itself: where the picture of it is, and where to ask for what is counted.
#[derive(Debug)]
pub(super) struct Told<Latest, Facts> {
    pub(super) clock: Clock,
    pub(super) latest: Arc<Latest>,
    pub(super) facts: mpsc::Sender<oneshot::Sender<Facts>>,
}

/// The texts that were rendered last, and the room that each reader's takes.
#[derive(Debug)]
pub(super) struct Scrapes {
    source: Box<dyn Source>,
    clock: Clock,
    last: Mutex<[Option<(Mono, Bytes)>; 2]>,
    room: Room,
}

impl Scrapes {
    /// Those of `source`. Others may share `room`.
    pub(super) fn new(source: impl Source + 'static, clock: Clock, room: Room) -> Scrapes {
        Scrapes {
            source: Box::new(source),
            clock,
            last: Mutex::default(),
            room,
        }
    }

    /// The text in this format: the last one if it is young, else a new one. Others wait meanwhile, and get the same.
    ///
    /// # Errors
    /// There is no room for one more reader.
    async fn answer(&self, format: Format) -> Result<Response, Refusal> {
        let mut texts = self.last.lock().await;
        let slot = &mut texts[format as usize];
        let text = match slot {
            Some((at, text)) if self.clock.mono().since(*at) <= TEXT_AGE_MAX => text.clone(),
            _ => {
                let text = Bytes::from(self.source.text(format).await);
                *slot = Some((self.clock.mono(), text.clone()));
                text
            }
        };
        drop(texts);
        self.room.answer(format.content_type(), text)
    }
}

/// Metrics for Prometheus
///
/// Prometheus text 0.0.4, or OpenMetrics 1.0 for those who accept that. Names that begin with `redis_` are those of the
/// well-known redis exporter; our own begin with `sentinel_`.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "state",
    responses(
        (status = 200, description = "The metrics", content(
            (String = "text/plain"),
            (String = "application/openmetrics-text"),
        )),
        (status = 503, description = NO_ROOM, body = Problem),
    )
)]
pub(super) async fn metrics(
    State(scrapes): State<Arc<Scrapes>>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    scrapes.answer(Format::of(&headers)).await
}

/// What the loop has counted; `None`: it does not answer.
pub async fn facts_of<F>(asks: &mpsc::Sender<oneshot::Sender<F>>) -> Option<F> {
    let (reply, answer) = oneshot::channel();
    asks.try_send(reply).ok()?;
    tokio::time::timeout(FACTS_TIME_MAX, answer)
        .await
        .ok()?
        .ok()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::exporter::tests::complete_info;
    use super::render::render;
    use super::*;
    use crate::clock::Now;
    use crate::http::sentinel::tests::{group, picture};
    use crate::http::server::tests as of_server;
    use crate::sentinel::core::{FailoverStats, Histogram, PausedUntil, SentinelView};
    use crate::sentinel::surface as of_sentinel;
    use crate::server::surface::{self, CommandLatency, RoleView};

    fn with_master() -> SentinelView {
        let mut master = group(&[Some(0)]);
        master.instances[0].info_at = Some(Mono(0));
        master.paused_until = Some(PausedUntil::Resumed);
        let mut view = picture();
        view.observe_only = true;
        view.masters = Arc::from([Arc::new(master)]);
        view
    }

    /// A text of `/metrics` is an answer like any other: those who do not read it take the room of all.
    #[tokio::test]
    async fn readers_share_the_room_of_other_answers() {
        #[derive(Debug)]
        struct Long;
        impl Source for Long {
            fn text(&self, _format: Format) -> BoxFuture<'_, String> {
                Box::pin(async { "x".repeat(20 * 1024 * 1024) })
            }
        }
        let room = Room::default();
        let scrapes = Scrapes::new(Long, Clock::start(), room.clone());
        let scrape = || scrapes.answer(Format::Text);
        let unread = scrape().await.unwrap();
        assert_eq!(scrape().await.unwrap_err().status(), 503);
        assert!(room.json(&"x".repeat(16 * 1024 * 1024)).is_err());
        drop(unread);
        assert!(scrape().await.is_ok());
    }

    /// A name, its type, its labels and its meaning, for each family.
    fn table<'a>(families: impl IntoIterator<Item = &'a Family<'a>>) -> String {
        let mut table = "| name | type | labels | |\n| --- | --- | --- | --- |\n".to_owned();
        for family in families {
            let name = &family.name;
            let sample = family.samples.first();
            let sample = sample.unwrap_or_else(|| panic!("no sample of {name}"));
            let labels = sample.labels.iter().map(|(label, _)| format!("`{label}`"));
            let labels = labels.collect::<Vec<_>>().join(", ");
            let kind = render::kind_word(family.kind);
            table += &format!("| `{name}` | {kind} | {labels} | {} |\n", family.help);
        }
        table
    }

    #[test]
    fn the_readme_lists_every_metric() {
        let view = with_master();
        let facts = of_sentinel::Facts {
            info: complete_info(),
            scripts_running: 0,
            scripts_queued: 0,
            simulated_failures: 0,
            last_pings: vec![(view.masters[0].name.clone(), Duration::ZERO)],
            failovers: FailoverStats::default(),
            probes: Histogram::default(),
            counters: of_sentinel::Counters::default(),
        };
        let of_sentinel = sentinel::families(&view, Mono(0), Some(&facts), view.at);
        let view = of_server::picture(RoleView::Replica(of_server::link()));
        let facts = surface::Facts {
            info: complete_info(),
            databases: 1,
            slowlog_len: 0,
            slowlog_last: None,
            spikes: vec![("command", 0, 0)],
            latencies: vec![CommandLatency {
                command: "get".to_owned(),
                calls: 1,
                levels: vec![(1, 1)],
            }],
        };
        let of_server = server::families(&view, Some(&facts), view.at);
        let is_ours = |family: &&Family<'_>| family.name.starts_with("sentinel_");
        let all = of_sentinel.iter().chain(&of_server);
        let mut exported: Vec<_> = all.filter(|family| !is_ours(family)).collect();
        exported.sort_by(|a, b| a.name.cmp(&b.name));
        exported.dedup_by(|a, b| a.name == b.name);
        for (part, want) in [
            ("sentinel", table(of_sentinel.iter().filter(is_ours))),
            ("server", table(of_server.iter().filter(is_ours))),
            ("exporter", table(exported)),
        ] {
            crate::readme::check_part("deploy/prometheus/README.md", part, &want);
        }
        // The table of README puts several into one row; none of ours is without.
        let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
        let readme = std::fs::read_to_string(readme).unwrap();
        let told: Vec<&str> = readme.split('`').skip(1).step_by(2).collect();
        for family in of_sentinel.iter().chain(&of_server).filter(is_ours) {
            let is_it = |told: &&str| match told.strip_suffix('…') {
                Some(begin) => begin.len() > "sentinel_".len() && family.name.starts_with(begin),
                None => family.name == *told,
            };
            assert!(told.iter().any(is_it), "README lacks {}", family.name);
        }
    }

    /// What the picture knows is told although the loop does not answer.
    #[test]
    fn a_pause_is_told_while_the_loop_hangs() {
        let view = with_master();
        let families = sentinel::families(&view, Mono(0), None, Now::default());
        let text = render(&families, Format::Text);
        for line in [
            r#"sentinel_master_paused{master="mymaster"} 1"#,
            "sentinel_observe_only 1",
            "redis_up 0",
        ] {
            assert!(text.lines().any(|known| known == line), "{line}\n{text}");
        }
    }
}

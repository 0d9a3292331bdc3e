//! The metrics of a data server: the names that the exporter has for Redis, from the same facts, and how its loop is.

use futures_util::future::BoxFuture;

use super::exporter::Exported;
use super::render::{Format, render};
use super::{Family, Kind, Source, Told, Value, count, facts_of, flag, number, seconds};
use crate::clock::{Now, millis};
use crate::server::surface::{CommandLatency, Facts, Latest, RoleView, ServerView};

impl Source for Told<Latest, Facts> {
    fn text(&self, format: Format) -> BoxFuture<'_, String> {
        Box::pin(async move {
            let facts = facts_of(&self.facts).await;
            let view = self.latest.view();
            let families = families(&view, facts.as_ref(), self.clock.now());
            render(&families, format)
        })
    }
}

/// All families, as of `now`.
pub fn families<'a>(view: &ServerView, facts: Option<&'a Facts>, now: Now) -> Vec<Family<'a>> {
    let mut exported = match facts {
        Some(facts) => exported(facts, now),
        None => Exported::default(),
    };
    let help = "The loop answers";
    exported.add("up", Kind::Gauge, help, [], flag(facts.is_some()));
    let mut all: Vec<Family<'a>> = exported.into_families().collect();
    let mut identity = Family::gauge(
        "sentinel_server_build",
        "What answers; the value is always 1",
    );
    identity.add(
        [
            ("program", "sentinel server"),
            ("version", env!("CARGO_PKG_VERSION")),
        ],
        1.0,
    );
    let is_master = view.role == RoleView::Master;
    let mut role = Family::gauge(
        "sentinel_server_role",
        "What the server says it is: 1 for that, else 0",
    );
    role.add([("role", "master")], flag(is_master));
    role.add([("role", "replica")], flag(!is_master));
    all.extend([
        identity,
        role,
        Family::gauge(
            "sentinel_server_loop_age_seconds",
            "How long ago the loop last ran",
        )
        .of(seconds(millis(now.mono.since(view.at.mono)))),
        Family::gauge("sentinel_server_loading", "1: the data are being loaded")
            .of(flag(view.is_loading)),
        Family::gauge(
            "sentinel_server_save_failing",
            "1: the data cannot be saved, though they are to be",
        )
        .of(flag(view.save_error.is_some())),
        Family::gauge(
            "sentinel_server_offset_bytes",
            "How far it is in the replication stream",
        )
        .of(number(view.offset)),
    ]);
    if let RoleView::Replica(link) = &view.role {
        all.extend([
            Family::gauge(
                "sentinel_server_link_up",
                "1: the link of this replica to its master is up",
            )
            .of(flag(link.is_up)),
            Family::gauge(
                "sentinel_server_unapplied_bytes",
                "What has arrived from the master and is not applied yet",
            )
            .of(number(link.unapplied)),
        ]);
    }
    all
}

fn exported(facts: &Facts, now: Now) -> Exported<'_> {
    let gauge = Kind::Gauge;
    let mut all = Exported::of_info(&facts.info, now.unix);
    all.add_empty_databases(facts.databases);
    let (last_id, last_micros) = facts.slowlog_last.unwrap_or_default();
    for (name, help, value) in [
        ("slowlog_length", "SLOWLOG LEN", count(facts.slowlog_len)),
        (
            "slowlog_last_id",
            "Number of the newest entry of the slow log",
            number(last_id),
        ),
        (
            "last_slow_execution_duration_seconds",
            "How long the newest entry of the slow log took",
            number(last_micros) / 1e6,
        ),
    ] {
        all.add(name, gauge, help, [], value);
    }
    for (event, at, ms) in &facts.spikes {
        let label = [("event_name", *event)];
        let help = "When an event last took long, since the Unix epoch";
        all.add("latency_spike_last", gauge, help, label, number(*at));
        let help = "How long it took then";
        let name = "latency_spike_duration_seconds";
        all.add(name, gauge, help, label, seconds(*ms));
    }
    let micros = |command: &str| {
        let line = format!("cmdstat_{command}:calls=");
        let found = facts.info.lines().find_map(|l| l.strip_prefix(&line));
        let micros = found.and_then(|rest| rest.split(",usec=").nth(1)?.split(',').next());
        micros.and_then(|text| text.parse().ok()).unwrap_or(0.0)
    };
    for CommandLatency {
        command,
        calls,
        levels,
    } in &facts.latencies
    {
        let points = levels.iter().map(|(us, n)| (number(*us), number(*n)));
        let value = Value::Distribution {
            points: points.collect(),
            count: *calls,
            sum: micros(command),
        };
        all.push(
            "commands_latencies_usec",
            Kind::Histogram,
            "How long the calls of a command took",
            vec![("cmd", command.as_str().into())],
            value,
        );
    }
    all
}

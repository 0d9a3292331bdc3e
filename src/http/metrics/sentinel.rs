//! The metrics of a sentinel. The picture of it is read here, on the thread of HTTP, however many masters there are;
//! the loop is asked only for what it has counted.

use std::borrow::Cow;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::exporter::Exported;
use super::render::{Format, render};
use super::{Family, Kind, Source, Told, Value, count, facts_of, flag, number, seconds};
use crate::clock::{Mono, Now, millis};
use crate::http::view::{self, Status};
use crate::sentinel::core::{
    BUCKETS_MS, EventKind, FailoverKind, Histogram, InstanceView, MasterView, Outcome, PeerView,
    Phase, Reason, Sentinel, SentinelView,
};
use crate::sentinel::surface::{Facts, Latest};

impl Source for Told<Latest, Facts> {
    fn text(&self, format: Format) -> BoxFuture<'_, String> {
        Box::pin(async move {
            let facts = facts_of(&self.facts).await;
            let view = self.latest.view();
            let now = self.clock.now();
            let families = families(&view, self.latest.beat(), facts.as_ref(), now);
            render(&families, format)
        })
    }
}

/// All families, as of `now`; the loop last ran at `beat`.
pub fn families<'a>(
    view: &'a SentinelView,
    beat: Mono,
    facts: Option<&'a Facts>,
    now: Now,
) -> Vec<Family<'a>> {
    let mut all: Vec<Family<'a>> = exported(view, facts, now).into_families().collect();
    all.extend(process(view, beat, now));
    all.extend(facts.into_iter().flat_map(counted));
    all.extend(groups(view, now.mono));
    all
}

/// The names of the exporter.
fn exported<'a>(view: &'a SentinelView, facts: Option<&'a Facts>, now: Now) -> Exported<'a> {
    let gauge = Kind::Gauge;
    let mut all = match facts {
        Some(facts) => Exported::of_info(&facts.info, now.unix),
        None => Exported::default(),
    };
    let help = "The loop answers";
    all.add("up", gauge, help, [], flag(facts.is_some()));
    let masters = count(view.masters.len());
    for (name, help, value) in [
        ("sentinel_masters", "Monitored masters", masters),
        (
            "sentinel_tilt",
            "This sentinel does not trust itself",
            flag(view.tilt_since.is_some()),
        ),
    ] {
        all.add(name, gauge, help, [], value);
    }
    if let Some(facts) = facts {
        for (name, help, value) in [
            (
                "sentinel_running_scripts",
                "Scripts that run",
                count(facts.scripts_running),
            ),
            (
                "sentinel_scripts_queue_length",
                "Scripts that run or wait",
                count(facts.scripts_queued),
            ),
            (
                "sentinel_simulate_failure_flags",
                "SENTINEL SIMULATE-FAILURE",
                f64::from(facts.simulated_failures),
            ),
        ] {
            all.add(name, gauge, help, [], value);
        }
    }
    for master in view.masters.iter() {
        export_master(&mut all, master, facts);
    }
    all
}

fn export_master<'a>(all: &mut Exported<'a>, master: &'a MasterView, facts: Option<&'a Facts>) {
    let gauge = Kind::Gauge;
    let name = master.name.as_str();
    let address = format!("{}:{}", master.host, master.port);
    let labels = || {
        vec![
            ("master_name", Cow::Borrowed(name)),
            ("master_address", Cow::Owned(address.clone())),
        ]
    };
    let is_sdown = |instance: &InstanceView| instance.sdown_since.is_some();
    let status = match (master.odown_since, master.master()) {
        (Some(_), _) => "odown",
        (None, Some(instance)) if is_sdown(instance) => "sdown",
        (None, _) => "ok",
    };
    let mut with_status = labels();
    with_status.push(("master_status", status.into()));
    let value = Value::Number(flag(status == "ok"));
    let help = "1: the master is not down";
    all.push("sentinel_master_status", gauge, help, with_status, value);

    let quorum = usize::try_from(master.settings.quorum).unwrap_or(usize::MAX);
    let usable = master.usable();
    let checked = Sentinel::ckquorum_text(usable, usable >= quorum, usable >= master.majority());
    let value = Value::Number(flag(checked.is_ok()));
    let message = Cow::Owned(checked.unwrap_or_else(|message| message));
    let with_message = vec![("master_name", name.into()), ("message", message)];
    let help = "SENTINEL CKQUORUM";
    all.push(
        "sentinel_master_ckquorum_status",
        gauge,
        help,
        with_message,
        value,
    );

    let ok_slaves = master.replicas().iter().filter(|it| !is_sdown(it)).count();
    let settings = &master.settings;
    let ms = |time: Duration| number(millis(time));
    for (metric, help, value) in [
        (
            "sentinel_master_slaves",
            "Known replicas",
            count(master.replicas().len()),
        ),
        (
            "sentinel_master_ok_slaves",
            "Replicas that are not down",
            count(ok_slaves),
        ),
        (
            "sentinel_master_sentinels",
            "Known sentinels, this one too",
            count(master.voters()),
        ),
        (
            "sentinel_master_ok_sentinels",
            "Sentinels that are not down",
            count(usable),
        ),
        (
            "sentinel_master_setting_ckquorum",
            "quorum",
            f64::from(settings.quorum),
        ),
        (
            "sentinel_master_setting_failover_timeout",
            "failover-timeout, milliseconds",
            ms(settings.failover_timeout),
        ),
        (
            "sentinel_master_setting_parallel_syncs",
            "parallel-syncs",
            f64::from(settings.parallel_syncs),
        ),
        (
            "sentinel_master_setting_down_after_milliseconds",
            "down-after-milliseconds",
            ms(settings.down_after),
        ),
        (
            "sentinel_master_config_epoch",
            "The version of the address",
            number(master.config_epoch.0),
        ),
    ] {
        all.push(metric, gauge, help, labels(), Value::Number(value));
    }
    let last_ping = facts.and_then(|facts| {
        let found = (facts.last_pings).binary_search_by(|(known, _)| known.as_str().cmp(name));
        found.ok().map(|at| facts.last_pings[at].1)
    });
    if let Some(ago) = last_ping {
        let value = Value::Number(seconds(millis(ago)));
        let metric = "sentinel_master_last_ok_ping_reply_seconds";
        let help = "How long ago the master last answered PING as it should";
        all.push(metric, gauge, help, labels(), value);
    }
    for peer in &master.peers {
        let mut labels = labels();
        labels.extend([
            ("name", Cow::Borrowed(peer.id.as_str())),
            ("ip", Cow::Borrowed(&*peer.host)),
            ("port", Cow::Owned(peer.port.to_string())),
            ("runid", Cow::Borrowed(peer.id.as_str())),
            ("flags", Cow::Borrowed(peer_flags(peer))),
        ]);
        let (metric, help) = ("sentinel_peer_info", "Another sentinel");
        all.push(metric, gauge, help, labels, Value::Number(1.0));
    }
}

fn peer_flags(peer: &PeerView) -> &'static str {
    match (peer.sdown_since, peer.link_up) {
        (None, true) => "sentinel",
        (None, false) => "sentinel,disconnected",
        (Some(_), true) => "s_down,sentinel",
        (Some(_), false) => "s_down,sentinel,disconnected",
    }
}

/// The sentinel itself.
fn process<'a>(view: &'a SentinelView, beat: Mono, now: Now) -> Vec<Family<'a>> {
    let mut identity = Family::gauge("sentinel_build", "What answers; the value is always 1");
    identity.add(
        [
            ("program", "sentinel"),
            ("version", env!("CARGO_PKG_VERSION")),
            ("id", view.id.as_str()),
        ],
        1.0,
    );
    let mut masters = Family::gauge("sentinel_masters", "Monitored masters by how they are");
    for (word, status) in [
        ("ok", Status::Ok),
        ("sdown", Status::Sdown),
        ("odown", Status::Odown),
        ("failover", Status::Failover),
    ] {
        let is_it = |master: &&std::sync::Arc<MasterView>| Status::of(master) == status;
        let found = view.masters.iter().filter(is_it).count();
        masters.add([("status", word)], count(found));
    }
    vec![
        identity,
        masters,
        Family::gauge("sentinel_current_epoch", "The newest epoch seen")
            .of(number(view.current_epoch.0)),
        Family::gauge(
            "sentinel_time_seconds",
            "What this machine's clock says, since the Unix epoch",
        )
        .of(seconds(now.unix.0)),
        Family::gauge("sentinel_tilt", "1: it does not trust itself for a while")
            .of(flag(view.tilt_since.is_some())),
        Family::gauge(
            "sentinel_observe_only",
            "1: it only watches, and neither votes nor acts",
        )
        .of(flag(view.observe_only)),
        Family::gauge(
            "sentinel_save_failing",
            "1: the state cannot be saved, so that it neither votes nor leads",
        )
        .of(flag(view.save_error.is_some())),
        Family::gauge(
            "sentinel_loop_age_seconds",
            "How long ago the loop last ran",
        )
        .of(seconds(millis(now.mono.since(beat)))),
    ]
}

/// What the loop has counted.
fn counted(facts: &Facts) -> Vec<Family<'_>> {
    let mut failovers = Family::counter(
        "sentinel_failovers_total",
        "Failovers that were led here, or were to be, by how they ended",
    );
    for kind in FailoverKind::ALL {
        let ended = |outcome: Outcome, reason: Option<Reason>| {
            let mut totals = facts.failovers.totals();
            let wanted = (*kind, outcome, reason);
            let found =
                totals.find(|(kind, outcome, reason, _)| (*kind, *outcome, *reason) == wanted);
            number(found.map_or(0, |(.., n)| n))
        };
        // All of them from the start: what appears with its first event has no increase.
        let reasons = Reason::ALL
            .iter()
            .map(|reason| (Outcome::Aborted, Some(*reason)));
        for (outcome, reason) in std::iter::once((Outcome::Done, None)).chain(reasons) {
            let labels = [
                ("kind", kind.as_str()),
                ("result", outcome.as_str()),
                ("reason", reason.map_or("", Reason::as_str)),
            ];
            failovers.add(labels, ended(outcome, reason));
        }
    }
    let mut phases = Family::histogram(
        "sentinel_failover_phase_seconds",
        "How long each phase took of failovers that were carried out here",
    );
    for phase in Phase::ALL {
        let value = distribution(&facts.failovers.phase(*phase));
        phases.push([("phase", phase.as_str().into())], value);
    }
    let happened = |kind: EventKind| number(facts.counters.events.get(&kind).copied().unwrap_or(0));
    let mut elections = Family::counter(
        "sentinel_elections_total",
        "Elections in which this sentinel was a candidate, by how they ended",
    );
    for (result, kind) in [
        ("won", EventKind::ElectedLeader),
        ("lost", EventKind::AbortNotElected),
    ] {
        elections.add([("result", result)], happened(kind));
    }
    let mut events = Family::counter("sentinel_events_total", "Events by their name");
    for kind in EventKind::ALL {
        events.add([("event", kind.channel())], happened(*kind));
    }
    let mut probes = Family::histogram(
        "sentinel_probe_seconds",
        "How long data servers took to answer PING",
    );
    probes.push([], distribution(&facts.probes));
    let mut delays = Family::histogram(
        "sentinel_loop_delay_seconds",
        "How late the loop was, each time that it woke",
    );
    delays.push([], distribution(&facts.counters.delays));
    vec![
        failovers,
        phases,
        Family::counter(
            "sentinel_elections_begun_total",
            "Elections in which this sentinel became a candidate",
        )
        .of(happened(EventKind::TryFailover)),
        elections,
        Family::counter(
            "sentinel_votes_total",
            "Votes that were given, our own included",
        )
        .of(happened(EventKind::VoteForLeader)),
        events,
        probes,
        delays,
        Family::counter(
            "sentinel_save_errors_total",
            "How often the state could not be saved",
        )
        .of(number(facts.counters.save_errors)),
        Family::gauge("sentinel_scripts_running", "Scripts that run")
            .of(count(facts.scripts_running)),
        Family::gauge("sentinel_scripts_queued", "Scripts that run or wait")
            .of(count(facts.scripts_queued)),
    ]
}

fn distribution(histogram: &Histogram) -> Value {
    let mut seen = 0;
    let buckets = BUCKETS_MS.iter().zip(histogram.buckets);
    let points = buckets.map(|(ms, n)| {
        seen += n;
        (seconds(*ms), number(seen))
    });
    Value::Distribution {
        points: points.collect(),
        count: histogram.count,
        sum: seconds(histogram.sum_ms),
    }
}

/// How long ago a majority of the sentinels had confirmed where the master is; infinite: that never was.
fn confirmation_age(master: &MasterView, now: Mono) -> f64 {
    let needed = master.majority() - usize::from(master.counts_us);
    if needed == 0 {
        return 0.0;
    }
    let mut confirmed: Vec<Mono> = master
        .peers
        .iter()
        .filter_map(|peer| peer.confirmed_at)
        .collect();
    confirmed.sort_unstable_by(|a, b| b.cmp(a));
    let decisive = confirmed.get(needed - 1);
    decisive.map_or(f64::INFINITY, |at| seconds(millis(now.since(*at))))
}

/// Every master and what belongs to it.
fn groups<'a>(view: &'a SentinelView, now: Mono) -> Vec<Family<'a>> {
    let mut up = Family::gauge(
        "sentinel_master_up",
        "1: this sentinel does not find the master down",
    );
    let mut odown = Family::gauge(
        "sentinel_master_odown",
        "1: the quorum finds the master down",
    );
    let mut quorum = Family::gauge(
        "sentinel_master_quorum_available",
        "1: enough sentinels can be reached to find the master down and to fail over",
    );
    let mut needed = Family::gauge(
        "sentinel_master_sentinels_needed",
        "How many sentinels a failover takes",
    );
    let mut sentinels = Family::gauge(
        "sentinel_master_sentinels",
        "Known sentinels, this one too, by how they are",
    );
    let mut age = Family::gauge(
        "sentinel_master_confirmation_age_seconds",
        "How long ago a majority had confirmed where the master is",
    );
    let mut epoch = Family::gauge("sentinel_master_config_epoch", "The version of the address");
    let mut failing_over = Family::gauge(
        "sentinel_master_failover_in_progress",
        "1: this sentinel tries or leads a failover",
    );
    let mut paused = Family::gauge(
        "sentinel_master_paused",
        "1: automatic failovers are paused here by an operator",
    );
    let mut replicas = Family::gauge("sentinel_master_replicas", "Known replicas by how they are");
    let mut nodes = Nodes::new();
    for master in view.masters.iter() {
        let label = [("master", master.name.as_str())];
        let is_up = master.master().is_some_and(|it| it.sdown_since.is_none());
        up.add(label, flag(is_up));
        odown.add(label, flag(master.odown_since.is_some()));
        quorum.add(label, flag(view::has_quorum(master)));
        let wanted = usize::try_from(master.settings.quorum).unwrap_or(usize::MAX);
        needed.add(label, count(master.majority().max(wanted)));
        let [label] = label;
        let usable = master.usable();
        let ghosts = master.ghosts.len();
        for (state, n) in [
            ("usable", usable),
            ("down", (master.voters() - usable).saturating_sub(ghosts)),
            ("ghost", ghosts),
        ] {
            sentinels.add([label, ("state", state)], count(n));
        }
        age.add([label], confirmation_age(master, now));
        epoch.add([label], number(master.config_epoch.0));
        failing_over.add([label], flag(master.failover.is_some()));
        paused.add([label], flag(master.paused_until.is_some()));
        let healthy = master
            .replicas()
            .iter()
            .filter(|it| view::is_healthy(it))
            .count();
        for (state, n) in [
            ("healthy", healthy),
            ("unhealthy", master.replicas().len() - healthy),
        ] {
            replicas.add([label, ("state", state)], count(n));
        }
        for instance in &master.instances {
            nodes.add(master, instance, now);
        }
    }
    let mut all = vec![
        up,
        odown,
        quorum,
        needed,
        sentinels,
        age,
        epoch,
        failing_over,
        paused,
        replicas,
    ];
    all.extend(nodes.0);
    all
}

/// The families about data servers.
struct Nodes<'a>([Family<'a>; 6]);

impl<'a> Nodes<'a> {
    fn new() -> Nodes<'a> {
        Nodes([
            Family::gauge(
                "sentinel_node_role",
                "What a data server is to be; the value is always 1",
            ),
            Family::gauge(
                "sentinel_node_up",
                "1: this sentinel does not find the data server down",
            ),
            Family::gauge(
                "sentinel_node_link_up",
                "1: this sentinel is connected to it",
            ),
            Family::gauge(
                "sentinel_node_offset_bytes",
                "How far it is in the replication stream",
            ),
            Family::gauge(
                "sentinel_node_lag_bytes",
                "How far a replica is behind its master",
            ),
            Family::gauge("sentinel_node_info_age_seconds", "How old its last INFO is"),
        ])
    }

    fn add(&mut self, master: &'a MasterView, instance: &'a InstanceView, now: Mono) {
        let [role, up, link_up, offset, lag, info_age] = &mut self.0;
        let address = view::address(&instance.host, instance.port);
        let labels = || {
            [
                ("master", Cow::Borrowed(master.name.as_str())),
                ("node", Cow::Owned(address.clone())),
            ]
        };
        let [name, node] = labels();
        let word = if instance.is_master {
            "master"
        } else {
            "replica"
        };
        role.push([name, node, ("role", word.into())], Value::Number(1.0));
        let add = |family: &mut Family<'a>, value: f64| {
            family.push(labels(), Value::Number(value));
        };
        add(up, flag(instance.sdown_since.is_none()));
        add(link_up, flag(instance.link_up));
        if let Some(bytes) = instance.offset {
            add(offset, number(bytes));
        }
        if !instance.is_master
            && let Some(bytes) = view::lag(master, instance)
        {
            add(lag, number(bytes));
        }
        if let Some(at) = instance.info_at {
            add(info_age, seconds(millis(now.since(at))));
        }
    }
}

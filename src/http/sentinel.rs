//! The routes of a sentinel that only read.
//!
//! A sentinel vouches for a master only while a majority of its sentinels, itself included, has lately
//! confirmed the very address and version that it has: one that is cut off stops vouching by itself.

mod state;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{FromRef, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::acting;
use super::events::{self, Ring};
use super::metrics::{self, Scrapes};
use super::reply::{self, Health, Path, Problem, Query, Refusal};
use super::room::Room;
use super::token::Token;
use super::view;
use super::{Http, Stop, openapi, page};
use crate::clock::{Clock, Mono};
use crate::config::Process;
use crate::config::forms::parse_memory;
use crate::sentinel::core::{Addr, InstanceView, MasterView, SentinelView};
use crate::sentinel::surface::{Ask, Latest, Surface};

/// A loop that has not run for so long is not alive: it wakes ten times a second.
pub const LOOP_AGE_MAX: Duration = Duration::from_secs(2);
/// `max_age` when it is not given: more than two hellos.
const MAX_AGE: Duration = Duration::from_secs(5);
/// The largest `max_age`: an older confirmation is none.
const MAX_AGE_MAX: Duration = Duration::from_secs(60);

/// What the handlers share.
#[derive(Clone, Debug, FromRef)]
pub struct Shared {
    /// The clock of the pictures.
    clock: Clock,
    latest: Arc<Latest>,
    ring: Arc<Ring>,
    /// Where to ask for changes.
    pub(super) asks: mpsc::Sender<Ask>,
    scrapes: Arc<Scrapes>,
    room: Room,
    token: Token,
}

/// Serves a sentinel's HTTP port until the result is dropped. Must run inside a tokio runtime.
///
/// # Errors
/// The token cannot be had, or see [`Http::start`].
pub fn open(process: &Process, surface: Surface) -> anyhow::Result<Http> {
    let token = Token::load(process)?;
    let (stop, hears_stop) = Stop::new();
    let ring = Arc::new(Ring::new(&surface.run_id, hears_stop));
    let room = Room::default();
    let metrics = metrics::Told {
        clock: surface.clock,
        latest: Arc::clone(&surface.latest),
        facts: surface.facts,
    };
    let shared = Shared {
        clock: surface.clock,
        latest: surface.latest,
        ring: Arc::clone(&ring),
        asks: surface.asks,
        scrapes: Arc::new(Scrapes::new(metrics, surface.clock, room.clone())),
        room,
        token,
    };
    let fill = ring.fill(surface.events);
    Http::start(process, routes(shared), Box::pin(fill), stop)
}

/// All routes of a sentinel.
pub fn routes(shared: Shared) -> axum::Router {
    let (router, document) = described(shared.token).with_state(shared).split_for_parts();
    let pages = openapi::routes(&document).merge(page::index());
    reply::finish(router.merge(pages))
}

/// The routes with their description.
pub(super) fn described(token: Token) -> OpenApiRouter<Shared> {
    OpenApiRouter::with_openapi(openapi::sentinel())
        .routes(routes!(liveness))
        .routes(routes!(readiness))
        .routes(routes!(state::masters))
        .routes(routes!(state::master))
        .routes(routes!(state::history))
        .routes(routes!(primary))
        .routes(routes!(instance_primary))
        .routes(routes!(instance_replica))
        .routes(routes!(state::cluster))
        .routes(routes!(metrics::metrics))
        .routes(routes!(events::events))
        .merge(acting::routes(token))
}

impl Shared {
    /// The picture, when the loop last ran, and the time. The picture is no older than the loop's turn.
    fn look(&self) -> Look {
        let beat = self.latest.beat();
        Look {
            view: self.latest.view(),
            beat,
            now: self.clock.mono(),
        }
    }
}

/// One look at the sentinel.
struct Look {
    view: Arc<SentinelView>,
    beat: Mono,
    now: Mono,
}

impl Look {
    fn master(&self, name: &str) -> Result<&MasterView, Refusal> {
        let found = self.view.master(name);
        found.map(AsRef::as_ref).ok_or_else(|| no_such_master(name))
    }

    /// Whether the loop runs.
    fn check_loop(&self, age_max: Duration) -> Result<(), Refusal> {
        let age = self.now.since(self.beat);
        if age <= age_max {
            return Ok(());
        }
        Err(Refusal::unavailable(format!(
            "the sentinel's loop has not run for {}",
            shown(age)
        )))
    }

    fn check_tilt(&self) -> Result<(), Refusal> {
        match self.view.tilt_since {
            None => Ok(()),
            Some(since) => Err(Refusal::unavailable(format!(
                "the sentinel is in TILT since {}: it was stalled and does not trust itself",
                shown(self.now.since(since))
            ))),
        }
    }

    /// Whether a majority has confirmed where the master is.
    fn check_confirmed(&self, master: &MasterView, max_age: Duration) -> Result<(), Refusal> {
        self.check_loop(LOOP_AGE_MAX.min(max_age))?;
        self.check_tilt()?;
        let confirmed = master.confirmed_since(self.now - max_age);
        let majority = master.majority();
        if confirmed < majority {
            return Err(Refusal::unavailable(format!(
                "only {confirmed} of {} sentinels have confirmed the address of {} within {}: it takes {majority}",
                master.voters(),
                master.name,
                shown(max_age),
            ))
            .hint("this sentinel may be cut off from the others; ask another"));
        }
        if !master.is_announced {
            return Err(Refusal::unavailable(format!(
                "the new address of {} is being written to disk",
                master.name
            )));
        }
        Ok(())
    }

    /// The master's own entry, if it works.
    fn check_working<'a>(&self, master: &'a MasterView) -> Result<&'a InstanceView, Refusal> {
        let name = &master.name;
        let down = |who: &str, since: Mono| {
            let age = shown(self.now.since(since));
            Refusal::unavailable(format!("{who} finds {name} down since {age}"))
        };
        if let Some(since) = master.odown_since {
            return Err(down("the quorum", since));
        }
        let Some(instance) = master.master() else {
            return Err(no_such_master(name.as_str()));
        };
        match instance.sdown_since {
            Some(since) => Err(down("this sentinel", since)),
            None => Ok(instance),
        }
    }
}

/// 404 for a master.
fn no_such_master(name: &str) -> Refusal {
    Refusal::new(
        axum::http::StatusCode::NOT_FOUND,
        format!("no such master: {name}"),
    )
    .hint("GET /masters lists them")
}

/// A duration for people, without the digits that nobody reads.
pub(super) fn shown(duration: Duration) -> String {
    let millis = Duration::from_millis(crate::clock::millis(duration));
    humantime::format_duration(millis).to_string()
}

/// The sentinel's own loop runs
///
/// 503 when it has not run for 2 s: then the process should be started again.
#[utoipa::path(
    method(get, head, options),
    path = "/liveness",
    tag = "health",
    responses(
        (status = 200, description = "It runs", body = Health),
        (status = 503, description = "It does not", body = Problem),
    )
)]
async fn liveness(State(shared): State<Shared>) -> Result<Json<Health>, Refusal> {
    shared.look().check_loop(LOOP_AGE_MAX)?;
    Ok(Json(Health::OK))
}

/// The sentinel can answer correctly now
///
/// Its state is loaded and can be saved, every instance that it knows has been heard of or found down, and
/// it is not in TILT.
#[utoipa::path(
    method(get, head, options),
    path = "/readiness",
    tag = "health",
    responses(
        (status = 200, description = "It can", body = Health),
        (status = 503, description = "It cannot; says why", body = Problem),
    )
)]
async fn readiness(State(shared): State<Shared>) -> Result<Json<Health>, Refusal> {
    let look = shared.look();
    look.check_loop(LOOP_AGE_MAX)?;
    look.check_tilt()?;
    if let Some(error) = &look.view.save_error {
        return Err(Refusal::unavailable(format!(
            "the state cannot be saved: {error}"
        )));
    }
    let incomplete = (look.view.masters.iter()).find(|master| !master.is_complete);
    if let Some(master) = incomplete {
        return Err(Refusal::unavailable(format!(
            "the instances of {} have not all been heard of yet",
            master.name
        )));
    }
    Ok(Json(Health::OK))
}

/// How an address is wanted, and how sure it must be.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct PrimaryQuery {
    /// `json`, or `text` for nothing but `ip:port`.
    #[serde(default)]
    #[param(inline)]
    format: Format,
    /// A majority of the sentinels must have confirmed the address within this time, up to 1 min. Written
    /// as in `5s` or `500ms`; a bare number is seconds. Default 5 s.
    #[param(example = "5s")]
    max_age: Option<String>,
}

/// How an address is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    /// An object.
    #[default]
    Json,
    /// `ip:port`.
    Text,
}

/// How sure it must be.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct VouchQuery {
    /// A majority of the sentinels must have confirmed the master within this time, up to 1 min. Written as
    /// in `5s` or `500ms`; a bare number is seconds. Default 5 s.
    #[param(example = "5s")]
    max_age: Option<String>,
}

/// How far behind it may be, and how sure that must be.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ReplicaQuery {
    /// How many bytes it may be behind the master: `1048576`, `10MB`. Default: any number.
    #[param(example = "10MB")]
    lag: Option<String>,
    /// A majority of the sentinels must have confirmed the master within this time, up to 1 min. Written as
    /// in `5s` or `500ms`; a bare number is seconds. Default 5 s.
    #[param(example = "5s")]
    max_age: Option<String>,
}

/// Reads `max_age`.
fn parse_max_age(given: Option<&str>) -> Result<Duration, Refusal> {
    let Some(text) = given else {
        return Ok(MAX_AGE);
    };
    let seconds = text.parse().ok().map(Duration::from_secs);
    seconds
        .or_else(|| humantime::parse_duration(text).ok())
        .filter(|age| !age.is_zero() && *age <= MAX_AGE_MAX)
        .ok_or_else(|| {
            let most = shown(MAX_AGE_MAX);
            Refusal::bad(format!("max_age={text} is no time up to {most}"))
                .hint("such as 5s or 500ms; a bare number is seconds")
        })
}

/// Reads `lag`.
pub(super) fn parse_lag(given: Option<&str>) -> Result<Option<u64>, Refusal> {
    let Some(text) = given else {
        return Ok(None);
    };
    // In a configuration a missing number is 0; here it is a mistake.
    let has_number = text.starts_with(|first: char| first.is_ascii_digit());
    let bytes = parse_memory(text).filter(|_| has_number);
    bytes.map(Some).ok_or_else(|| {
        Refusal::bad(format!("lag={text} is no number of bytes")).hint("such as 1048576 or 10MB")
    })
}

/// Where a master is.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct Primary {
    /// The name of the master.
    #[schema(example = "mymaster")]
    name: String,
    /// Where it is.
    #[schema(example = "127.0.0.1:6379")]
    address: String,
    /// Its host.
    #[schema(example = "127.0.0.1")]
    host: String,
    /// Its port.
    #[schema(example = 6379)]
    port: u16,
    /// The version of that address.
    config_epoch: u64,
    /// How many of its sentinels have confirmed it within `max_age`.
    confirmed: usize,
}

/// Where the master is, as a majority of its sentinels has confirmed lately
///
/// 503 with the reason where that cannot be said for sure: too few have confirmed it, or it is down.
#[utoipa::path(
    method(get, head, options),
    path = "/masters/{name}/primary",
    tag = "health",
    params(("name" = String, Path, description = "The name of the master"), PrimaryQuery),
    responses(
        (status = 200, description = "It is there and works", content(
            (Primary = "application/json"),
            (String = "text/plain", example = "127.0.0.1:6379"),
        )),
        (status = 400, description = "A parameter makes no sense", body = Problem),
        (status = 404, description = "There is no such master", body = Problem),
        (status = 503, description = "This sentinel cannot vouch for a master; says why", body = Problem),
    )
)]
async fn primary(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    Query(query): Query<PrimaryQuery>,
) -> Result<Response, Refusal> {
    let max_age = parse_max_age(query.max_age.as_deref())?;
    let look = shared.look();
    let master = look.master(&name)?;
    look.check_confirmed(master, max_age)?;
    look.check_working(master)?;
    let address = view::address(&master.host, master.port);
    Ok(match query.format {
        Format::Text => {
            let plain = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
            (plain, address).into_response()
        }
        Format::Json => Json(Primary {
            name,
            address,
            host: master.host.to_string(),
            port: master.port,
            config_epoch: master.config_epoch.0,
            confirmed: master.confirmed_since(look.now - max_age),
        })
        .into_response(),
    })
}

/// Reads `host:port`, `[v6]:port`.
pub(super) fn parse_address(text: &str) -> Result<Addr, Refusal> {
    let parts = text.rsplit_once(':').and_then(|(host, port)| {
        let inner = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let host = inner.unwrap_or(host);
        let port: u16 = port.parse().ok()?;
        (!host.is_empty() && port != 0).then(|| Addr::new(host, port))
    });
    parts.ok_or_else(|| {
        Refusal::bad(format!("{text} is no address"))
            .hint("ip:port, such as 127.0.0.1:6379 or [::1]:6379")
    })
}

/// The instance of a group at an address; an unknown one is simply not what is asked for.
fn find_instance<'a>(master: &'a MasterView, address: &str) -> Result<&'a InstanceView, Refusal> {
    let wanted = parse_address(address)?;
    let is_it =
        |instance: &&InstanceView| Addr::new(&instance.host, instance.port).same_as(&wanted);
    master.instances.iter().find(is_it).ok_or_else(|| {
        let name = &master.name;
        Refusal::unavailable(format!("{address} is not in the group of {name}"))
            .hint(format!("GET /masters/{name} lists its instances"))
    })
}

/// This data server is the master, as a majority of the sentinels has confirmed lately
///
/// For load balancers that check a data server through a sentinel. It must also say itself that it is a
/// master, and work.
#[utoipa::path(
    method(get, head, options),
    path = "/masters/{name}/instances/{address}/primary",
    tag = "health",
    params(
        ("name" = String, Path, description = "The name of the master"),
        ("address" = String, Path, description = "ip:port of the data server", example = "127.0.0.1:6379"),
        VouchQuery,
    ),
    responses(
        (status = 200, description = "It is", body = Health),
        (status = 400, description = "The address or a parameter makes no sense", body = Problem),
        (status = 404, description = "There is no such master", body = Problem),
        (status = 503, description = "It is not, or this sentinel cannot vouch for it; says why", body = Problem),
    )
)]
async fn instance_primary(
    State(shared): State<Shared>,
    Path((name, address)): Path<(String, String)>,
    Query(query): Query<VouchQuery>,
) -> Result<Json<Health>, Refusal> {
    let max_age = parse_max_age(query.max_age.as_deref())?;
    let look = shared.look();
    let master = look.master(&name)?;
    let instance = find_instance(master, &address)?;
    if !instance.is_master {
        let now_at = view::address(&master.host, master.port);
        return Err(Refusal::unavailable(format!(
            "{address} is a replica: the master is {now_at}"
        )));
    }
    look.check_confirmed(master, max_age)?;
    look.check_working(master)?;
    if !instance.reports_master {
        return Err(Refusal::unavailable(format!(
            "{address} says that it is a replica"
        )));
    }
    Ok(Json(Health::OK))
}

/// This data server is a replica that works and is not too far behind
///
/// It must follow the master that a majority of the sentinels has confirmed lately, with its link up, and be
/// announced. `lag`
/// is reckoned from the last INFO of the master, which is asked for every 10 s, and every second while the
/// master is down or fails over.
#[utoipa::path(
    method(get, head, options),
    path = "/masters/{name}/instances/{address}/replica",
    tag = "health",
    params(
        ("name" = String, Path, description = "The name of the master"),
        ("address" = String, Path, description = "ip:port of the data server", example = "127.0.0.1:6380"),
        ReplicaQuery,
    ),
    responses(
        (status = 200, description = "It is", body = Health),
        (status = 400, description = "The address or a parameter makes no sense", body = Problem),
        (status = 404, description = "There is no such master", body = Problem),
        (status = 503, description = "It is not, or this sentinel cannot vouch for it; says why", body = Problem),
    )
)]
async fn instance_replica(
    State(shared): State<Shared>,
    Path((name, address)): Path<(String, String)>,
    Query(query): Query<ReplicaQuery>,
) -> Result<Json<Health>, Refusal> {
    let max_age = parse_max_age(query.max_age.as_deref())?;
    let lag_max = parse_lag(query.lag.as_deref())?;
    let look = shared.look();
    let master = look.master(&name)?;
    let instance = find_instance(master, &address)?;
    check_replica(master, instance, lag_max)
        .map_err(|why| Refusal::unavailable(format!("{address} {why}")))?;
    look.check_confirmed(master, max_age)?;
    Ok(Json(Health::OK))
}

/// Why it is not a replica to send readers to.
fn check_replica(
    master: &MasterView,
    instance: &InstanceView,
    lag_max: Option<u64>,
) -> Result<(), String> {
    let Some(replica) = &instance.replica else {
        return Err("is the master".to_owned());
    };
    let checks = [
        (instance.sdown_since.is_some(), "is down"),
        (!instance.link_up, "is not connected to this sentinel"),
        (instance.reports_master, "says that it is a master"),
        (!replica.follows_master, "does not follow the master"),
        (!replica.link_up, "has lost its link to the master"),
        (replica.is_syncing, "has not got all data yet"),
        (
            !replica.announced,
            "is not to be told to clients: replica-announced no",
        ),
    ];
    if let Some((_, why)) = checks.into_iter().find(|(fails, _)| *fails) {
        return Err(why.to_owned());
    }
    match (lag_max, view::lag(master, instance)) {
        (None, _) => Ok(()),
        (Some(most), Some(lag)) if lag <= most => Ok(()),
        (Some(most), Some(lag)) => Err(format!("is {lag} bytes behind, {most} are allowed")),
        (Some(_), None) => Err("is behind by an unknown number of bytes".to_owned()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::clock::{Now, UnixMillis};
    use crate::ids::{Epoch, MasterName, SentinelId};
    use crate::sentinel::core::{MasterSettings, PausedUntil, PeerView, ReplicaView};

    const NOW: Mono = Mono(100_000);

    fn instance(port: u16, is_master: bool) -> InstanceView {
        let replica = ReplicaView {
            follows: Some(("10.0.0.1".to_owned(), 6379)),
            follows_master: true,
            link_up: true,
            is_syncing: false,
            priority: 100,
            announced: true,
            lag: Some(1000),
            reconf: None,
        };
        InstanceView {
            host: "10.0.0.1".into(),
            port,
            is_master,
            reports_master: is_master,
            flags: String::new(),
            run_id: None,
            link_up: true,
            sdown_since: None,
            info_at: None,
            offset: Some(5000),
            replica: (!is_master).then_some(replica),
        }
    }

    fn peer(confirmed_ago: Option<u64>) -> PeerView {
        PeerView {
            id: SentinelId::from("x"),
            host: "10.0.0.9".into(),
            port: 26379,
            link_up: true,
            sdown_since: None,
            hello_at: NOW,
            confirmed_at: confirmed_ago.map(|ms| Mono(NOW.0 - ms)),
            says_down: false,
            voted: None,
        }
    }

    /// A master with a replica, and a peer for each time since it last confirmed the address.
    pub(in crate::http) fn group(confirmed_ago: &[Option<u64>]) -> MasterView {
        MasterView {
            name: MasterName::from("mymaster"),
            host: "10.0.0.1".into(),
            port: 6379,
            config_epoch: Epoch(1),
            is_announced: true,
            settings: MasterSettings::new(2),
            odown_since: None,
            failover: None,
            paused_until: None,
            counts_us: true,
            is_complete: true,
            instances: vec![instance(6379, true), instance(6380, false)],
            peers: confirmed_ago.iter().map(|ago| peer(*ago)).collect(),
            records: Arc::from([]),
            ghosts: Vec::new(),
        }
    }

    /// A sentinel without masters.
    pub(in crate::http) fn picture() -> SentinelView {
        let at = Now {
            mono: NOW,
            unix: UnixMillis(0),
        };
        SentinelView {
            at,
            id: SentinelId::from("y"),
            current_epoch: Epoch(1),
            observe_only: false,
            tilt_since: None,
            save_error: None,
            masters: Arc::from([]),
        }
    }

    fn look() -> Look {
        Look {
            view: Arc::new(picture()),
            beat: NOW,
            now: NOW,
        }
    }

    #[track_caller]
    fn check(look: &Look, group: &MasterView, refused: Option<&str>) {
        let checked = look
            .check_confirmed(group, MAX_AGE)
            .and_then(|()| look.check_working(group).map(|_| ()));
        match (checked, refused) {
            (Ok(()), None) => {}
            (Err(refusal), Some(part)) => {
                assert_eq!(refusal.status(), 503);
                assert!(refusal.reason().contains(part), "{}", refusal.reason());
            }
            (checked, refused) => panic!("{checked:?}, not {refused:?}"),
        }
    }

    #[test]
    fn a_majority_must_have_confirmed_lately() {
        check(&look(), &group(&[]), None);
        check(&look(), &group(&[Some(4900), None]), None);
        check(&look(), &group(&[Some(5100), None]), Some("only 1 of 3"));
        check(&look(), &group(&[None, None]), Some("it takes 2"));
        // Ghosts count among all that are known, and never confirm.
        let four = [Some(0), None, None];
        check(&look(), &group(&four), Some("only 2 of 4"));
        check(&look(), &group(&[Some(0), Some(0), None]), None);
        // Who only observes is none of them.
        let mut observed = group(&[Some(0), None, None]);
        observed.counts_us = false;
        check(&look(), &observed, Some("only 1 of 3"));
    }

    #[test]
    fn who_cannot_trust_itself_vouches_for_nobody() {
        let sure = group(&[Some(0), Some(0)]);
        let mut stuck = look();
        stuck.beat = NOW - Duration::from_millis(2500);
        check(&stuck, &sure, Some("loop has not run for 2s 500ms"));
        check(&stuck, &group(&[]), Some("loop has not run"));
        let mut tilted = look();
        let view = Arc::make_mut(&mut tilted.view);
        view.tilt_since = Some(NOW - Duration::from_secs(1));
        check(&tilted, &sure, Some("TILT since 1s"));
        let mut fresh = group(&[Some(0)]);
        fresh.is_announced = false;
        check(&look(), &fresh, Some("written to disk"));
    }

    #[test]
    fn a_master_that_is_down_is_not_vouched_for() {
        let mut group = group(&[Some(0)]);
        group.instances[0].sdown_since = Some(NOW - Duration::from_secs(3));
        check(
            &look(),
            &group,
            Some("this sentinel finds mymaster down since 3s"),
        );
        group.odown_since = Some(NOW - Duration::from_secs(2));
        check(
            &look(),
            &group,
            Some("the quorum finds mymaster down since 2s"),
        );
    }

    #[test]
    fn no_field_is_told_twice() {
        let mut paused = group(&[Some(0)]);
        paused.paused_until = Some(PausedUntil::Resumed);
        let shown = serde_json::to_string(&view::Master::new(&paused, NOW)).unwrap();
        assert_eq!(shown.matches("\"paused\":").count(), 1, "{shown}");
    }

    #[test]
    fn a_replica_is_healthy_or_the_reason_is_told() {
        let group = group(&[]);
        let check = |change: fn(&mut InstanceView), lag, refused: Option<&str>| {
            let mut replica = instance(6380, false);
            change(&mut replica);
            let checked = check_replica(&group, &replica, lag);
            assert_eq!(checked.err().as_deref(), refused);
        };
        check(|_| {}, None, None);
        check(|_| {}, Some(1000), None);
        check(
            |_| {},
            Some(999),
            Some("is 1000 bytes behind, 999 are allowed"),
        );
        check(|it| it.sdown_since = Some(NOW), None, Some("is down"));
        check(
            |it| it.link_up = false,
            None,
            Some("is not connected to this sentinel"),
        );
        check(
            |it| it.reports_master = true,
            None,
            Some("says that it is a master"),
        );
        check(|it| it.replica = None, None, Some("is the master"));
        let with = |change: fn(&mut ReplicaView), lag, refused: Option<&str>| {
            let mut it = instance(6380, false);
            change(it.replica.as_mut().unwrap());
            let checked = check_replica(&group, &it, lag);
            assert_eq!(checked.err().as_deref(), refused);
        };
        with(
            |r| r.follows_master = false,
            None,
            Some("does not follow the master"),
        );
        with(
            |r| r.link_up = false,
            None,
            Some("has lost its link to the master"),
        );
        with(
            |r| r.is_syncing = true,
            None,
            Some("has not got all data yet"),
        );
        with(
            |r| r.announced = false,
            None,
            Some("is not to be told to clients: replica-announced no"),
        );
        // The master does not list it: what both say of themselves is compared.
        with(|r| r.lag = None, Some(0), None);
    }

    #[test]
    fn parameters_are_read() {
        let ages = [
            (None, Some(5000)),
            (Some("500ms"), Some(500)),
            (Some("7"), Some(7000)),
            (Some("1m"), Some(60_000)),
            (Some("61s"), None),
            (Some("0"), None),
            (Some("soon"), None),
        ];
        for (text, wanted) in ages {
            let age = parse_max_age(text).ok();
            assert_eq!(age.map(crate::clock::millis), wanted, "{text:?}");
        }
        assert_eq!(parse_lag(Some("10MB")).unwrap(), Some(10 << 20));
        for bad in ["much", "", "MB"] {
            assert!(parse_lag(Some(bad)).is_err(), "{bad:?}");
        }
        let shown = |text: &str| parse_address(text).map(|addr| addr.to_string()).ok();
        assert_eq!(shown("10.0.0.1:6379").as_deref(), Some("10.0.0.1:6379"));
        assert_eq!(shown("[::1]:6379").as_deref(), Some("[::1]:6379"));
        for bad in ["10.0.0.1", ":6379", "10.0.0.1:0", "10.0.0.1:x", ""] {
            assert_eq!(shown(bad), None, "{bad}");
        }
    }
}

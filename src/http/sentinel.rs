//! The routes of a sentinel that only read.
//!
//! A sentinel vouches for a master only while a majority of its sentinels, itself included, has lately
//! confirmed the very address and version that it has: one that is cut off stops vouching by itself.

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
use super::reply::{self, Health, Path, Problem, Query, Refusal};
use super::token::Token;
use super::view::{self, Master, MasterLine};
use super::{Http, Stop, openapi, page};
use crate::clock::{Clock, Mono};
use crate::config::Process;
use crate::config::forms::parse_memory;
use crate::sentinel::core::{Addr, InstanceView, MasterView, SentinelView};
use crate::sentinel::surface::{Ask, Latest, Surface};

/// A loop that has not run for so long is not alive: it wakes ten times a second.
pub const LOOP_AGE_MAX: Duration = Duration::from_secs(2);
/// `max_age` when it is not given: more than two hellos.
pub const MAX_AGE: Duration = Duration::from_secs(5);
/// The largest `max_age`: an older confirmation is none.
pub const MAX_AGE_MAX: Duration = Duration::from_secs(60);
/// `per_page` when it is not given, and at most.
pub const PER_PAGE: u16 = 50;
/// The most masters on one page.
pub const PER_PAGE_MAX: u16 = 500;

/// What the handlers share.
#[derive(Clone, Debug, FromRef)]
pub struct Shared {
    /// The clock of the pictures.
    clock: Clock,
    latest: Arc<Latest>,
    ring: Arc<Ring>,
    /// Where to ask for changes.
    pub(super) asks: mpsc::Sender<Ask>,
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
    let shared = Shared {
        clock: surface.clock,
        latest: surface.latest,
        ring: Arc::clone(&ring),
        asks: surface.asks,
        token,
    };
    let fill = ring.fill(surface.events);
    Http::start(process, routes(shared), Box::pin(fill), stop)
}

/// All routes of a sentinel.
pub fn routes(shared: Shared) -> axum::Router {
    let reading = OpenApiRouter::with_openapi(openapi::sentinel())
        .routes(routes!(liveness))
        .routes(routes!(readiness))
        .routes(routes!(masters))
        .routes(routes!(master))
        .routes(routes!(primary))
        .routes(routes!(instance_primary))
        .routes(routes!(instance_replica))
        .routes(routes!(cluster))
        .routes(routes!(events::events));
    let all = reading.merge(acting::routes(shared.token));
    let (router, document) = all.with_state(shared).split_for_parts();
    reply::finish(
        router
            .merge(openapi::routes(&document))
            .merge(page::index()),
    )
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
        let confirmed = 1 + master.confirmed_since(self.now - max_age);
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
pub(super) fn no_such_master(name: &str) -> Refusal {
    Refusal::new(
        axum::http::StatusCode::NOT_FOUND,
        format!("no such master: {name}"),
    )
    .hint("GET /masters lists them")
}

/// A duration for people, without the digits that nobody reads.
fn shown(duration: Duration) -> String {
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

/// Which masters, and which page of them.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct PageQuery {
    /// Only the master of this name.
    master: Option<String>,
    /// Only masters with this in their name, or in an address of their group.
    search: Option<String>,
    /// Only these.
    #[serde(default)]
    #[param(inline)]
    filter: Filter,
    /// Which page, from 1.
    #[param(minimum = 1, default = 1)]
    page: Option<u32>,
    /// Masters on a page.
    #[param(minimum = 1, maximum = 500, default = 50)]
    per_page: Option<u16>,
}

/// Which masters by how they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Filter {
    /// All of them.
    #[default]
    All,
    /// Those with something amiss.
    Problems,
}

/// A page of a list.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct Page<T> {
    /// What is on it, by name.
    masters: Vec<T>,
    /// How many there are on all pages.
    found: usize,
    /// Which page this is, from 1.
    page: u32,
    /// How many there are on a page.
    per_page: u16,
    /// How many pages there are, at least 1.
    pages: usize,
}

impl PageQuery {
    fn page<T>(&self, look: &Look, show: impl Fn(&MasterView) -> T) -> Result<Page<T>, Refusal> {
        let per_page = self.per_page.unwrap_or(PER_PAGE);
        if !(1..=PER_PAGE_MAX).contains(&per_page) {
            return Err(Refusal::bad(format!(
                "per_page must be 1 to {PER_PAGE_MAX}"
            )));
        }
        let page = self.page.unwrap_or(1);
        let Some(before) = page.checked_sub(1) else {
            return Err(Refusal::bad("page must be at least 1"));
        };
        let view = &look.view;
        let found: Vec<&MasterView> = match &self.master {
            Some(name) => vec![view.master(name).ok_or_else(|| no_such_master(name))?],
            None => view.masters.iter().map(AsRef::as_ref).collect(),
        };
        let matches = |master: &&MasterView| {
            let wanted = self.search.as_deref().unwrap_or_default();
            wanted.is_empty() || is_match(master, &wanted.to_ascii_lowercase())
        };
        let passes = |master: &&MasterView| match self.filter {
            Filter::All => true,
            Filter::Problems => !view::problems(master, look.now).is_empty(),
        };
        let found = found.into_iter().filter(matches).filter(passes);
        let found: Vec<&MasterView> = found.collect();
        let size = usize::from(per_page);
        let skipped = usize::try_from(before)
            .unwrap_or(usize::MAX)
            .saturating_mul(size);
        let shown = found.iter().skip(skipped).take(size);
        Ok(Page {
            masters: shown.map(|master| show(master)).collect(),
            found: found.len(),
            page,
            per_page,
            pages: found.len().div_ceil(size).max(1),
        })
    }
}

/// Whether a master has the lower-case text `wanted` in its name or in an address of its group.
fn is_match(master: &MasterView, wanted: &str) -> bool {
    master.name.as_str().to_ascii_lowercase().contains(wanted)
        || (master.instances.iter())
            .map(|instance| view::address(&instance.host, instance.port))
            .any(|address| address.to_ascii_lowercase().contains(wanted))
}

/// The masters, one line each
#[utoipa::path(
    get,
    path = "/masters",
    tag = "state",
    params(PageQuery),
    responses(
        (status = 200, description = "A page of them", body = Page<MasterLine>),
        (status = 400, description = "A parameter makes no sense", body = Problem),
        (status = 404, description = "There is no such master", body = Problem),
    )
)]
async fn masters(
    State(shared): State<Shared>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<MasterLine>>, Refusal> {
    let look = shared.look();
    let page = query.page(&look, |master| MasterLine::new(master, look.now))?;
    Ok(Json(page))
}

/// Everything about one master and its group
#[utoipa::path(
    get,
    path = "/masters/{name}",
    tag = "state",
    params(("name" = String, Path, description = "The name of the master")),
    responses(
        (status = 200, description = "The group", body = Master),
        (status = 404, description = "There is no such master", body = Problem),
    )
)]
async fn master(
    State(shared): State<Shared>,
    Path(name): Path<String>,
) -> Result<Json<Master>, Refusal> {
    let look = shared.look();
    Ok(Json(Master::new(look.master(&name)?, look.now)))
}

/// The sentinel and what it monitors.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct Cluster {
    /// The sentinel that answers.
    sentinel: view::Sentinel,
    /// A page of what it monitors.
    #[serde(flatten)]
    page: Page<Master>,
}

/// The sentinel, and everything about a page of its masters
#[utoipa::path(
    get,
    path = "/cluster",
    tag = "state",
    params(PageQuery),
    responses(
        (status = 200, description = "The page", body = Cluster),
        (status = 400, description = "A parameter makes no sense", body = Problem),
        (status = 404, description = "There is no such master", body = Problem),
    )
)]
async fn cluster(
    State(shared): State<Shared>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Cluster>, Refusal> {
    let look = shared.look();
    let page = query.page(&look, |master| Master::new(master, look.now))?;
    let sentinel = view::Sentinel::new(&look.view, look.beat, look.now);
    Ok(Json(Cluster { sentinel, page }))
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
fn parse_lag(given: Option<&str>) -> Result<Option<u64>, Refusal> {
    let Some(text) = given else {
        return Ok(None);
    };
    let bytes = parse_memory(text);
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
    /// How many sentinels have confirmed it within `max_age`, this one too.
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
            confirmed: 1 + master.confirmed_since(look.now - max_age),
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
/// It must follow the master that a majority of the sentinels has confirmed lately, with its link up. `lag`
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

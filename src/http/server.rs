//! The routes of a data server: health with Patroni's meanings, and metrics.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{FromRef, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::metrics::{self, Scrapes};
use super::reply::{self, Health, Problem, Query, Refusal};
use super::room::Room;
use super::sentinel::{parse_lag, shown};
use super::{Http, Stop, openapi, view};
use crate::clock::{Clock, Mono, millis};
use crate::config::Process;
use crate::server::surface::{Latest, LinkView, RoleView, ServerView, Surface};

/// A loop that has not run for so long does not serve its clients: nobody is sent to it.
pub const LOOP_AGE_MAX: Duration = Duration::from_secs(5);
/// A loop that has not run for so long is not alive. `SAVE` and other long commands may hold it up for a while.
const LIFE_AGE_MAX: Duration = Duration::from_secs(30);

/// What the handlers share.
#[derive(Clone, Debug, FromRef)]
pub struct Shared {
    /// The clock of the pictures.
    clock: Clock,
    latest: Arc<Latest>,
    scrapes: Arc<Scrapes>,
}

/// Serves a data server's HTTP port until the result is dropped. Must run inside a tokio runtime.
///
/// # Errors
/// See [`Http::start`].
pub fn open(process: &Process, surface: Surface) -> anyhow::Result<Http> {
    let (stop, _) = Stop::new();
    let metrics = metrics::Told {
        clock: surface.clock,
        latest: Arc::clone(&surface.latest),
        facts: surface.facts,
    };
    let shared = Shared {
        clock: surface.clock,
        latest: surface.latest,
        scrapes: Arc::new(Scrapes::new(metrics, surface.clock, Room::default())),
    };
    Http::start(process, routes(shared), Box::pin(async {}), stop)
}

/// All routes of a data server.
pub fn routes(shared: Shared) -> axum::Router {
    let (router, document) = described().with_state(shared).split_for_parts();
    reply::finish(router.merge(openapi::routes(&document)))
}

/// The routes with their description.
pub(super) fn described() -> OpenApiRouter<Shared> {
    OpenApiRouter::with_openapi(openapi::server())
        .routes(routes!(primary))
        .routes(routes!(master))
        .routes(routes!(replica))
        .routes(routes!(read_only))
        .routes(routes!(health))
        .routes(routes!(liveness))
        .routes(routes!(readiness))
        .routes(routes!(metrics::metrics))
}

/// How the server is.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct Report {
    /// `master` or `replica`.
    #[schema(example = "master")]
    role: &'static str,
    /// Bytes of its replication history: as a master its end, as a replica how far it has come.
    offset: u64,
    /// How many replicas it has.
    replicas: usize,
    /// Why its data cannot be saved, where they are to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    save_error: Option<&'static str>,
    /// The link to its master, if it is a replica.
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<Link>,
}

/// The link to the master.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct Link {
    /// Where the master is.
    #[schema(example = "127.0.0.1:6379")]
    master: String,
    /// The stream is being applied.
    up: bool,
    /// All data are on their way.
    syncing: bool,
    /// Bytes that have arrived and are not applied.
    lag: u64,
    /// How long ago the master was last heard of.
    silent_ms: u64,
}

impl Report {
    fn new(view: &ServerView, now: Mono) -> Report {
        let link = match &view.role {
            RoleView::Master => None,
            RoleView::Replica(link) => Some(Link {
                master: view::address(&link.host, link.port),
                up: link.is_up,
                syncing: link.is_syncing,
                lag: link.unapplied,
                silent_ms: millis(now.since(link.heard_at)),
            }),
        };
        Report {
            role: if link.is_none() { "master" } else { "replica" },
            offset: view.offset,
            replicas: view.replicas,
            save_error: view.save_error,
            link,
        }
    }
}

/// One look at the server.
struct Look {
    view: Arc<ServerView>,
    now: Mono,
}

type Answer = Result<Json<Report>, Refusal>;

impl Shared {
    fn look(&self) -> Look {
        let view = self.latest.view();
        Look {
            view,
            now: self.clock.mono(),
        }
    }
}

impl Look {
    fn check_loop(&self, age_max: Duration) -> Result<(), Refusal> {
        let age = self.now.since(self.view.at.mono);
        if age <= age_max {
            return Ok(());
        }
        Err(Refusal::unavailable(format!(
            "the server's loop has not run for {}",
            shown(age)
        )))
    }

    /// It runs, has its data, and will go on.
    fn check_health(&self) -> Result<(), Refusal> {
        self.check_loop(LOOP_AGE_MAX)?;
        if self.view.is_loading {
            return Err(Refusal::unavailable("the data are being loaded"));
        }
        if self.view.is_shutting_down {
            return Err(Refusal::unavailable("the server is about to end"));
        }
        if let RoleView::Replica(link) = &self.view.role
            && !link.serves_stale_data
        {
            // Without its link it answers almost nothing: replica-serve-stale-data no.
            check_link(link)?;
        }
        Ok(())
    }

    fn check_primary(&self) -> Result<(), Refusal> {
        self.check_health()?;
        match &self.view.role {
            RoleView::Replica(link) => {
                let master = view::address(&link.host, link.port);
                Err(Refusal::unavailable(format!(
                    "this is a replica: it follows {master}"
                )))
            }
            RoleView::Master if self.view.is_handing_over => Err(Refusal::unavailable(
                "this master hands over to a replica, and takes no writes meanwhile",
            )),
            RoleView::Master => Ok(()),
        }
    }

    fn check_replica(&self, lag_max: Option<u64>) -> Result<(), Refusal> {
        self.check_health()?;
        let RoleView::Replica(link) = &self.view.role else {
            return Err(Refusal::unavailable("this is the master"));
        };
        check_link(link)?;
        if !link.is_announced {
            return Err(Refusal::unavailable(
                "this replica is not to be told to clients: replica-announced no",
            ));
        }
        match lag_max {
            Some(most) if link.unapplied > most => Err(Refusal::unavailable(format!(
                "this replica has {} bytes to apply, {most} are allowed",
                link.unapplied
            ))),
            _ => Ok(()),
        }
    }

    fn report(&self) -> Json<Report> {
        Json(Report::new(&self.view, self.now))
    }
}

fn check_link(link: &LinkView) -> Result<(), Refusal> {
    let master = || view::address(&link.host, link.port);
    if link.is_syncing {
        return Err(Refusal::unavailable(format!(
            "this replica has not got all data of {} yet",
            master()
        )));
    }
    if !link.is_up {
        return Err(Refusal::unavailable(format!(
            "this replica has lost its link to {}",
            master()
        )));
    }
    Ok(())
}

/// This server is the master
///
/// It has its data, is not about to end, and does not hand over to a replica. By its own word: a sentinel's
/// `/masters/{name}/instances/{address}/primary` says whether a majority of the sentinels agrees.
#[utoipa::path(
    method(get, head, options),
    path = "/primary",
    tag = "health",
    responses(
        (status = 200, description = "It is", body = Report),
        (status = 503, description = "It is not; says why", body = Problem),
    )
)]
async fn primary(State(shared): State<Shared>) -> Answer {
    let look = shared.look();
    look.check_primary()?;
    Ok(look.report())
}

/// This server is the master: another name of `/primary`
#[utoipa::path(
    method(get, head, options),
    path = "/master",
    tag = "health",
    responses(
        (status = 200, description = "It is", body = Report),
        (status = 503, description = "It is not; says why", body = Problem),
    )
)]
async fn master(shared: State<Shared>) -> Answer {
    primary(shared).await
}

/// How far behind a replica may be.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct LagQuery {
    /// How many bytes that have arrived it may not have applied yet: `1048576`, `10MB`. Default: any number.
    #[param(example = "10MB")]
    lag: Option<String>,
}

/// This server is a replica to send readers to
///
/// Its link to the master is up, it has all data, and it is announced. A replica cannot know what has not arrived: the
/// lag that the master sees is told by a sentinel's `/masters/{name}/instances/{address}/replica`.
#[utoipa::path(
    method(get, head, options),
    path = "/replica",
    tag = "health",
    params(LagQuery),
    responses(
        (status = 200, description = "It is", body = Report),
        (status = 400, description = "The parameter makes no sense", body = Problem),
        (status = 503, description = "It is not; says why", body = Problem),
    )
)]
async fn replica(State(shared): State<Shared>, Query(query): Query<LagQuery>) -> Answer {
    let lag_max = parse_lag(query.lag.as_deref())?;
    let look = shared.look();
    look.check_replica(lag_max)?;
    Ok(look.report())
}

/// This server can be read from: it is the master, or a replica as for `/replica`
#[utoipa::path(
    method(get, head, options),
    path = "/read-only",
    tag = "health",
    params(LagQuery),
    responses(
        (status = 200, description = "It can", body = Report),
        (status = 400, description = "The parameter makes no sense", body = Problem),
        (status = 503, description = "It cannot; says why", body = Problem),
    )
)]
async fn read_only(State(shared): State<Shared>, Query(query): Query<LagQuery>) -> Answer {
    let lag_max = parse_lag(query.lag.as_deref())?;
    let look = shared.look();
    match look.view.role {
        RoleView::Master => look.check_health()?,
        RoleView::Replica(_) => look.check_replica(lag_max)?,
    }
    Ok(look.report())
}

/// This server answers its clients
///
/// It has its data and is not about to end, whatever its role. A replica whose link is down does unless
/// `replica-serve-stale-data` is `no`.
#[utoipa::path(
    method(get, head, options),
    path = "/health",
    tag = "health",
    responses(
        (status = 200, description = "It does", body = Report),
        (status = 503, description = "It does not; says why", body = Problem),
    )
)]
async fn health(State(shared): State<Shared>) -> Answer {
    let look = shared.look();
    look.check_health()?;
    Ok(look.report())
}

/// The server's loop runs
///
/// 503 when it has not run for 30 s: then the process should be started again. Loading is no reason for that.
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
    shared.look().check_loop(LIFE_AGE_MAX)?;
    Ok(Json(Health::OK))
}

/// The server can be relied on: it is the master, or a replica that is in step
#[utoipa::path(
    method(get, head, options),
    path = "/readiness",
    tag = "health",
    responses(
        (status = 200, description = "It can", body = Report),
        (status = 503, description = "It cannot; says why", body = Problem),
    )
)]
async fn readiness(State(shared): State<Shared>) -> Answer {
    let look = shared.look();
    look.check_health()?;
    if let RoleView::Replica(link) = &look.view.role {
        check_link(link)?;
    }
    Ok(look.report())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::clock::Now;

    /// A server with which all is well.
    pub(in crate::http) fn picture(role: RoleView) -> ServerView {
        let at = Now {
            mono: Mono(10_000),
            ..Now::default()
        };
        ServerView {
            at,
            role,
            is_loading: false,
            is_shutting_down: false,
            is_handing_over: false,
            offset: 7,
            replicas: 0,
            save_error: None,
        }
    }

    fn look(role: RoleView) -> Look {
        let view = Arc::new(picture(role));
        Look {
            now: view.at.mono,
            view,
        }
    }

    /// A link that works.
    pub(in crate::http) fn link() -> LinkView {
        LinkView {
            host: "10.0.0.1".into(),
            port: 6379,
            is_up: true,
            is_syncing: false,
            unapplied: 100,
            heard_at: Mono(9_000),
            is_announced: true,
            serves_stale_data: true,
        }
    }

    fn why(result: Result<(), Refusal>) -> String {
        result.map_or_else(|refusal| refusal.reason().to_owned(), |()| "ok".to_owned())
    }

    #[test]
    fn a_master_is_one_until_it_ends_or_hands_over() {
        let mut master = look(RoleView::Master);
        assert_eq!(why(master.check_primary()), "ok");
        assert_eq!(why(master.check_replica(None)), "this is the master");
        let change = |look: &mut Look, with: fn(&mut ServerView)| {
            let mut view = (*look.view).clone();
            with(&mut view);
            look.view = Arc::new(view);
        };
        change(&mut master, |view| view.is_handing_over = true);
        assert!(why(master.check_primary()).contains("hands over"));
        change(&mut master, |view| view.is_shutting_down = true);
        assert!(why(master.check_health()).contains("about to end"));
        change(&mut master, |view| view.is_loading = true);
        assert!(why(master.check_primary()).contains("loaded"));
        master.now = Mono(15_001);
        assert!(why(master.check_health()).contains("has not run for 5s"));
        assert_eq!(why(master.check_loop(LIFE_AGE_MAX)), "ok");
    }

    #[test]
    fn a_replica_must_be_in_step() {
        let replica = |change: fn(&mut LinkView), lag| {
            let mut link = link();
            change(&mut link);
            why(look(RoleView::Replica(link)).check_replica(lag))
        };
        assert_eq!(replica(|_| {}, None), "ok");
        assert_eq!(replica(|_| {}, Some(100)), "ok");
        assert!(replica(|_| {}, Some(99)).contains("100 bytes to apply, 99"));
        assert!(replica(|link| link.is_up = false, None).contains("lost its link"));
        assert!(replica(|link| link.is_syncing = true, None).contains("all data"));
        assert!(replica(|link| link.is_announced = false, None).contains("replica-announced"));
        let as_primary = why(look(RoleView::Replica(link())).check_primary());
        assert!(as_primary.contains("follows 10.0.0.1:6379"), "{as_primary}");
    }
}

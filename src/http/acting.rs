//! The routes of a sentinel that change something, for those who show the token.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::middleware;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::reply::{Health, JsonBody, Path, Problem, Query, Refusal};
use super::sentinel::{Shared, parse_address};
use super::token::{self, Token};
use crate::ids::MasterName;
use crate::resp::Value;
use crate::sentinel::core::{Operator, PAUSE_MAX, SetOption, refusal};
use crate::sentinel::surface::Ask;

/// How long the loop may take to answer: longer than a healthy disk, shorter than a request.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);
/// The longest time that can be set.
const TIME_MS_MAX: u64 = 365 * 24 * 3600 * 1000;
/// The largest number that can be set.
const NUMBER_MAX: u32 = 1_000_000;

/// How the descriptions of the routes tell of a 503.
const NOT_NOW: &str = "The sentinel cannot do it now; says why";

/// All of them.
pub(super) fn routes(token: Token) -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(failover))
        .routes(routes!(set))
        .routes(routes!(pause))
        .routes(routes!(resume))
        .routes(routes!(forget))
        .route_layer(middleware::from_fn_with_state(token, token::required))
}

impl Shared {
    /// Has the core do something; its answer.
    async fn ask(&self, request: Operator) -> Result<Value, Refusal> {
        let busy = || Refusal::unavailable("the sentinel has too much to do").hint("try again");
        let (reply, answer) = oneshot::channel();
        let asked = self.asks.try_send(Ask { request, reply });
        asked.map_err(|_| busy())?;
        match tokio::time::timeout(ANSWER_TIME_MAX, answer).await {
            Ok(Ok(answer)) => understand(answer),
            Ok(Err(_)) => Err(busy()),
            Err(_) => Err(Refusal::unavailable(
                "the sentinel has not confirmed it yet: its disk may not answer",
            )
            .hint("it may still be done; look before you try again")),
        }
    }
}

/// An error of the core as a status.
fn understand(answer: Value) -> Result<Value, Refusal> {
    let Value::Error(text) = &answer else {
        return Ok(answer);
    };
    let text = String::from_utf8_lossy(text);
    let reason = text.split_once(' ').map_or(&*text, |(_, reason)| reason);
    let refuse = |status| Refusal::new(status, reason);
    Err(match &*text {
        refusal::IN_PROGRESS | refusal::NO_GOOD_REPLICA | refusal::IS_THE_MASTER => {
            refuse(StatusCode::CONFLICT)
        }
        refusal::ONLY_OBSERVES => {
            refuse(StatusCode::CONFLICT).hint("ask a sentinel that takes part")
        }
        refusal::NO_SUCH_MASTER => refuse(StatusCode::NOT_FOUND).hint("GET /masters lists them"),
        refusal::UNKNOWN_INSTANCE => {
            refuse(StatusCode::NOT_FOUND).hint("GET /masters/{name} lists the instances and peers")
        }
        refusal::NOT_SAVED => {
            Refusal::unavailable("the state cannot be saved").hint("the sentinel's log says why")
        }
        refusal::TOO_MANY_ORDERS => Refusal::unavailable(reason),
        _ => Refusal::bad(reason),
    })
}

/// Fail over although the master works
///
/// The other sentinels vote, but need not find it down. Answered when it has begun: `/events` and
/// `/masters/{name}` tell how it goes on.
#[utoipa::path(
    post,
    path = "/masters/{name}/failover",
    tag = "acting",
    security(("token" = [])),
    params(("name" = String, Path, description = "The name of the master")),
    responses(
        (status = 202, description = "It has begun", body = Health),
        (status = 401, description = "No token, or not the right one", body = Problem),
        (status = 403, description = "No token is configured", body = Problem),
        (status = 404, description = "There is no such master", body = Problem),
        (status = 409, description = "One is under way, no replica can be promoted, or this sentinel only observes", body = Problem),
        (status = 503, description = NOT_NOW, body = Problem),
    )
)]
async fn failover(
    State(shared): State<Shared>,
    Path(name): Path<String>,
) -> Result<(StatusCode, Json<Health>), Refusal> {
    shared
        .ask(Operator::Failover(MasterName::from(&*name)))
        .await?;
    Ok((StatusCode::ACCEPTED, Json(Health::OK)))
}

/// What an order that is passed on to the other sentinels has come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
struct Told {
    /// Always `ok`: it holds on this sentinel.
    #[schema(example = "ok")]
    status: &'static str,
    /// What has become of it at all of them, a sentence each; the first sums up.
    sentinels: Vec<String>,
}

impl From<Value> for Told {
    fn from(answer: Value) -> Told {
        let text = |line: Value| {
            let Value::Bulk(text) = line else {
                return None;
            };
            Some(String::from_utf8_lossy(&text).into_owned())
        };
        let Value::Array(lines) = answer else {
            return Told {
                status: "ok",
                sentinels: Vec::new(),
            };
        };
        Told {
            status: "ok",
            sentinels: lines.into_iter().filter_map(text).collect(),
        }
    }
}

/// For how long.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct PauseQuery {
    /// Written as in `90s`, `5m` or `1h 30m`, up to ten years; a bare number is seconds. Default: until it
    /// is resumed.
    #[param(example = "5m")]
    duration: Option<String>,
}

/// Reads `duration`.
fn parse_duration(text: &str) -> Result<Duration, Refusal> {
    let seconds = text.parse().ok().map(Duration::from_secs);
    seconds
        .or_else(|| humantime::parse_duration(text).ok())
        .filter(|length| *length >= Duration::from_millis(1) && *length <= PAUSE_MAX)
        .ok_or_else(|| {
            Refusal::bad(format!("duration={text} is no duration up to ten years"))
                .hint("such as 90s, 5m or 1h 30m; a bare number is seconds")
        })
}

/// Pause automatic failovers of a master
///
/// On this sentinel and, as far as they can be reached and know how, on the others; ordered failovers still
/// work. The answer says what has become of it where.
#[utoipa::path(
    post,
    path = "/masters/{name}/pause",
    tag = "acting",
    security(("token" = [])),
    params(("name" = String, Path, description = "The name of the master"), PauseQuery),
    responses(
        (status = 200, description = "They are paused", body = Told),
        (status = 400, description = "The duration makes no sense", body = Problem),
        (status = 401, description = "No token, or not the right one", body = Problem),
        (status = 403, description = "No token is configured", body = Problem),
        (status = 404, description = "There is no such master", body = Problem),
        (status = 409, description = "This sentinel only observes", body = Problem),
        (status = 503, description = NOT_NOW, body = Problem),
    )
)]
async fn pause(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    Query(query): Query<PauseQuery>,
) -> Result<Json<Told>, Refusal> {
    let request = Operator::Pause {
        name: MasterName::from(&*name),
        length: query.duration.as_deref().map(parse_duration).transpose()?,
        forwarded: false,
    };
    Ok(Json(Told::from(shared.ask(request).await?)))
}

/// Resume automatic failovers of a master
///
/// On this sentinel and, as far as they can be reached, on the others.
#[utoipa::path(
    post,
    path = "/masters/{name}/resume",
    tag = "acting",
    security(("token" = [])),
    params(("name" = String, Path, description = "The name of the master")),
    responses(
        (status = 200, description = "They are resumed", body = Told),
        (status = 401, description = "No token, or not the right one", body = Problem),
        (status = 403, description = "No token is configured", body = Problem),
        (status = 404, description = "There is no such master", body = Problem),
        (status = 409, description = "This sentinel only observes", body = Problem),
        (status = 503, description = NOT_NOW, body = Problem),
    )
)]
async fn resume(
    State(shared): State<Shared>,
    Path(name): Path<String>,
) -> Result<Json<Told>, Refusal> {
    let request = Operator::Resume {
        name: MasterName::from(&*name),
        forwarded: false,
    };
    Ok(Json(Told::from(shared.ask(request).await?)))
}

/// Forget a replica or another sentinel of a master
///
/// It comes back if it is heard of again. Answered when that is on disk.
#[utoipa::path(
    delete,
    path = "/masters/{name}/instances/{address}",
    tag = "acting",
    security(("token" = [])),
    params(
        ("name" = String, Path, description = "The name of the master"),
        ("address" = String, Path, description = "ip:port of what is to be forgotten", example = "127.0.0.1:6380"),
    ),
    responses(
        (status = 200, description = "It is forgotten", body = Health),
        (status = 400, description = "The address makes no sense", body = Problem),
        (status = 401, description = "No token, or not the right one", body = Problem),
        (status = 403, description = "No token is configured", body = Problem),
        (status = 404, description = "There is no such master, or nothing at that address", body = Problem),
        (status = 409, description = "It is the master itself", body = Problem),
        (status = 503, description = NOT_NOW, body = Problem),
    )
)]
async fn forget(
    State(shared): State<Shared>,
    Path((name, address)): Path<(String, String)>,
) -> Result<Json<Health>, Refusal> {
    let request = Operator::Forget {
        name: MasterName::from(&*name),
        addr: parse_address(&address)?,
    };
    shared.ask(request).await?;
    Ok(Json(Health::OK))
}

/// What to change of a master's settings; what is left out stays. Times are in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"down_after_ms": 5000, "quorum": 2}))]
struct Changes {
    /// How many sentinels must find the master down.
    #[schema(minimum = 1, maximum = 1_000_000)]
    quorum: Option<u32>,
    /// Silence after which an instance counts as down.
    #[schema(minimum = 1, maximum = 31_536_000_000_u64)]
    down_after_ms: Option<u64>,
    /// Bounds each phase of a failover.
    #[schema(minimum = 1, maximum = 31_536_000_000_u64)]
    failover_timeout_ms: Option<u64>,
    /// Replicas that are pointed at a new master at a time.
    #[schema(minimum = 1, maximum = 1_000_000)]
    parallel_syncs: Option<u32>,
    /// Grace of a master that has just restarted; 0: none.
    #[schema(minimum = 0, maximum = 31_536_000_000_u64)]
    reboot_down_after_ms: Option<u64>,
    /// Refused connections for so long count as down; 0: they do not.
    #[schema(minimum = 0, maximum = 31_536_000_000_u64)]
    refused_after_ms: Option<u64>,
}

impl Changes {
    fn options(&self) -> Result<Vec<SetOption>, Refusal> {
        let time = |name: &str, value: Option<u64>, least: u64| match value {
            Some(ms) if !(least..=TIME_MS_MAX).contains(&ms) => Err(Refusal::bad(format!(
                "{name} must be {least} to {TIME_MS_MAX}"
            ))),
            value => Ok(value.map(Duration::from_millis)),
        };
        let number = |name: &str, value: Option<u32>| match value {
            Some(n) if !(1..=NUMBER_MAX).contains(&n) => {
                Err(Refusal::bad(format!("{name} must be 1 to {NUMBER_MAX}")))
            }
            value => Ok(value),
        };
        let options = [
            number("quorum", self.quorum)?.map(SetOption::Quorum),
            time("down_after_ms", self.down_after_ms, 1)?.map(SetOption::DownAfter),
            time("failover_timeout_ms", self.failover_timeout_ms, 1)?
                .map(SetOption::FailoverTimeout),
            number("parallel_syncs", self.parallel_syncs)?.map(SetOption::ParallelSyncs),
            time("reboot_down_after_ms", self.reboot_down_after_ms, 0)?
                .map(SetOption::RebootDownAfter),
            time("refused_after_ms", self.refused_after_ms, 0)?.map(SetOption::RefusedAfter),
        ];
        let options: Vec<SetOption> = options.into_iter().flatten().collect();
        if options.is_empty() {
            return Err(Refusal::bad("nothing to change")
                .hint("an object with at least one setting, such as {\"quorum\": 2}"));
        }
        Ok(options)
    }
}

/// Change settings of a master
///
/// Only of this sentinel: the others keep theirs. Answered when the change is on disk.
#[utoipa::path(
    patch,
    path = "/masters/{name}",
    tag = "acting",
    security(("token" = [])),
    params(("name" = String, Path, description = "The name of the master")),
    request_body = Changes,
    responses(
        (status = 200, description = "They are changed", body = Health),
        (status = 400, description = "The body is no JSON or changes nothing", body = Problem),
        (status = 401, description = "No token, or not the right one", body = Problem),
        (status = 403, description = "No token is configured", body = Problem),
        (status = 404, description = "There is no such master", body = Problem),
        (status = 413, description = "The body is too large", body = Problem),
        (status = 415, description = "The body is not said to be JSON", body = Problem),
        (status = 422, description = "The body has a field that is unknown or of another type", body = Problem),
        (status = 503, description = NOT_NOW, body = Problem),
    )
)]
async fn set(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    JsonBody(changes): JsonBody<Changes>,
) -> Result<Json<Health>, Refusal> {
    let request = Operator::Set {
        name: MasterName::from(&*name),
        options: changes.options()?,
        error: None,
    };
    shared.ask(request).await?;
    Ok(Json(Health::OK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_checked() {
        let parse = |text: &str| serde_json::from_str::<Changes>(text).unwrap().options();
        assert_eq!(
            parse(r#"{"quorum": 3, "refused_after_ms": 0}"#).unwrap(),
            [
                SetOption::Quorum(3),
                SetOption::RefusedAfter(Duration::ZERO)
            ]
        );
        for bad in [
            "{}",
            r#"{"quorum": 0}"#,
            r#"{"down_after_ms": 0}"#,
            r#"{"failover_timeout_ms": 31536000001}"#,
            r#"{"parallel_syncs": 1000001}"#,
        ] {
            assert_eq!(parse(bad).unwrap_err().status(), 400, "{bad}");
        }
        assert!(serde_json::from_str::<Changes>(r#"{"quorom": 1}"#).is_err());
    }

    #[test]
    fn errors_of_the_core_have_their_status() {
        for (text, status) in [
            (refusal::NO_SUCH_MASTER, 404),
            (refusal::IN_PROGRESS, 409),
            (refusal::NO_GOOD_REPLICA, 409),
            (refusal::ONLY_OBSERVES, 409),
            (refusal::NOT_SAVED, 503),
            (refusal::TOO_MANY_ORDERS, 503),
            (refusal::UNKNOWN_INSTANCE, 404),
            (refusal::IS_THE_MASTER, 409),
            ("ERR something else", 400),
        ] {
            let refusal = understand(Value::error(text)).unwrap_err();
            assert_eq!(refusal.status(), status, "{text}");
        }
        assert!(understand(Value::ok()).is_ok());
    }
}

//! How answers look: JSON, errors that say what to do, and health with Patroni's meanings.

use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Request};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// How long a request may take from its head to its answer.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(10);
/// Bytes of the body of a request.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// Why a request was not answered with what it asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Problem {
    /// What is wrong.
    #[schema(example = "no such master: cache")]
    pub error: String,
    /// What would be right.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "GET /masters lists them")]
    pub hint: Option<String>,
}

/// An answer that is not what was asked for.
#[derive(Clone, Debug)]
pub struct Refusal {
    status: StatusCode,
    problem: Problem,
}

impl Refusal {
    /// With this status, for this reason.
    pub fn new(status: StatusCode, error: impl Into<String>) -> Refusal {
        Refusal {
            status,
            problem: Problem {
                error: error.into(),
                hint: None,
            },
        }
    }

    /// 503: not now, or not from here.
    pub fn unavailable(error: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error)
    }

    /// 404: nothing is served there.
    pub fn no_such_route() -> Refusal {
        Refusal::new(StatusCode::NOT_FOUND, "no such route").hint("/docs lists the routes")
    }

    /// 400: the request makes no sense.
    pub fn bad(error: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, error)
    }

    /// Says what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Refusal {
        self.problem.hint = Some(hint.into());
        self
    }

    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Why.
    pub fn reason(&self) -> &str {
        &self.problem.error
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.problem)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// That something is as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Health {
    /// Always `ok`: anything else is an error with its reason.
    #[schema(example = "ok")]
    pub status: &'static str,
}

impl Health {
    /// It is.
    pub const OK: Health = Health { status: "ok" };
}

/// The parts of a path.
#[derive(Clone, Copy, Debug, FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(Refusal))]
pub struct Path<T>(pub T);

/// What follows the question mark.
#[derive(Clone, Copy, Debug, FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(Refusal))]
pub struct Query<T>(pub T);

/// A JSON body.
#[derive(Clone, Copy, Debug, FromRequest)]
#[from_request(via(axum::Json), rejection(Refusal))]
pub struct JsonBody<T>(pub T);

impl From<PathRejection> for Refusal {
    fn from(rejection: PathRejection) -> Refusal {
        Refusal::new(rejection.status(), rejection.body_text())
    }
}

impl From<QueryRejection> for Refusal {
    fn from(rejection: QueryRejection) -> Refusal {
        Refusal::new(rejection.status(), rejection.body_text())
            .hint("the parameters are in /openapi.json")
    }
}

impl From<JsonRejection> for Refusal {
    fn from(rejection: JsonRejection) -> Refusal {
        Refusal::new(rejection.status(), rejection.body_text()).hint(
            "a JSON object with Content-Type: application/json; its fields are in /openapi.json",
        )
    }
}

/// What all routes share: limits, headers, errors as JSON, and no body where none may be.
pub fn finish(routes: Router) -> Router {
    routes
        .fallback(no_such_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn(in_time))
        .layer(middleware::from_fn(with_headers))
}

async fn no_such_route() -> Refusal {
    Refusal::no_such_route()
}

async fn wrong_method(method: Method) -> Refusal {
    Refusal::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("{method} means nothing here"),
    )
    .hint("the Allow header names what does")
}

async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_TIME_MAX, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            Refusal::new(StatusCode::REQUEST_TIMEOUT, "the request took too long").into_response()
        }
    }
}

/// Answers are of this moment and mean what their type says. No header of CORS is ever sent: pages of
/// other origins read nothing. `HEAD` gets the status and the headers alone.
async fn with_headers(request: Request, next: Next) -> Response {
    let is_bodiless = *request.method() == Method::HEAD;
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    if is_bodiless {
        headers.remove(header::CONTENT_LENGTH);
        *response.body_mut() = Body::empty();
    }
    response
}

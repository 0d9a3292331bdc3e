//! The description of all routes, generated from their handlers, and a page that shows it.

use std::sync::Arc;

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{Http as HttpSecurity, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi as _};

use super::page;

/// What is common to all routes of a sentinel.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "sentinel",
        description = "Health, state, events and actions of a sentinel. Errors are JSON objects with `error` and `hint`. \
                       Health routes answer GET, HEAD and OPTIONS with the same status."
    ),
    tags(
        (name = "health", description = "For load balancers and supervisors: 200 or 503"),
        (name = "state", description = "What the sentinel sees"),
        (name = "events", description = "What happens"),
        (name = "acting", description = "Changes; they need the token of the configuration"),
    ),
    modifiers(&TokenScheme),
)]
struct Sentinel;

struct TokenScheme;

impl Modify for TokenScheme {
    fn modify(&self, document: &mut OpenApi) {
        let mut bearer = HttpSecurity::new(HttpAuthScheme::Bearer);
        bearer.description = Some("http-token of the sentinel's configuration".to_owned());
        document
            .components
            .get_or_insert_default()
            .add_security_scheme("token", SecurityScheme::Http(bearer));
    }
}

/// The description of a sentinel, without its routes.
pub fn sentinel() -> OpenApi {
    Sentinel::openapi()
}

/// `/openapi.json`, and `/docs`, which shows it.
pub fn routes(document: &OpenApi) -> Router {
    // A description that cannot be written is a mistake in the handlers, and a test would see it empty.
    let json: Arc<str> = Arc::from(document.to_json().unwrap_or_default());
    let described = move || {
        let json = Arc::clone(&json);
        async move {
            let kind = [(header::CONTENT_TYPE, "application/json")];
            (kind, json.to_string()).into_response()
        }
    };
    Router::new()
        .route("/openapi.json", get(described))
        .merge(page::docs())
}

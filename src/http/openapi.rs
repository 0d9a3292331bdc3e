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

/// What is common to all routes of a data server.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "sentinel server",
        description = "Health, state and metrics of a data server. Errors are JSON objects with `error` and `hint`. \
                       Health routes answer GET, HEAD and OPTIONS with the same status."
    ),
    tags(
        (name = "health", description = "For load balancers and supervisors: 200 or 503"),
        (name = "state", description = "What the server counts"),
    ),
)]
struct Server;

/// The description of a data server, without its routes.
pub fn server() -> OpenApi {
    Server::openapi()
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

#[cfg(test)]
mod tests {
    use super::OpenApi;
    use crate::http::{sentinel, server, token::Token};
    use serde_json::Value;

    /// The descriptions of both programs.
    fn documents() -> [OpenApi; 2] {
        let of_sentinel = sentinel::described(Token::default()).to_openapi();
        [of_sentinel, server::described().to_openapi()]
    }

    /// A table of README: what each route is for, by the handlers' own words.
    fn table(document: &OpenApi) -> String {
        let document = serde_json::to_value(document).unwrap();
        let mut table = "| route | |\n| --- | --- |\n".to_owned();
        for (path, item) in document["paths"].as_object().unwrap() {
            let mut rows: Vec<(String, &Value)> = Vec::new();
            for (method, operation) in item.as_object().unwrap() {
                let method = method.to_ascii_uppercase();
                match rows
                    .iter()
                    .find(|(_, other)| other["summary"] == operation["summary"])
                {
                    // The same under another method: health.
                    Some(_) => {}
                    None => rows.push((method, operation)),
                }
            }
            for (method, operation) in rows {
                let summary = operation["summary"].as_str().unwrap();
                let token = operation
                    .get("security")
                    .map_or("", |_| "; needs the token");
                table += &format!("| `{method} {path}` | {summary}{token} |\n");
            }
        }
        table
    }

    #[test]
    fn the_readme_lists_every_route() {
        let [of_sentinel, of_server] = documents();
        crate::readme::check_part("README.md", "routes", &table(&of_sentinel));
        crate::readme::check_part("README.md", "server routes", &table(&of_server));
    }

    #[test]
    fn every_operation_is_described_in_words() {
        for document in documents() {
            let document = serde_json::to_value(document).unwrap();
            for (path, item) in document["paths"].as_object().unwrap() {
                for (method, operation) in item.as_object().unwrap() {
                    let has_words = operation["summary"]
                        .as_str()
                        .is_some_and(|words| words.len() > 10);
                    assert!(has_words, "{method} {path}");
                    assert!(operation["tags"][0].is_string(), "{method} {path}");
                }
            }
        }
    }
}

//! The page at `/` and the one at `/docs`: files in this binary, which the browser gets as they are.
//!
//! They run no script but their own, talk to nobody but this server, and cannot turn text into markup: the
//! policy below forbids it, and the tests watch that the pages never try.

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::reply::Refusal;

/// What the pages may do.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

const INDEX: File = File(HTML, include_str!("page/index.html"));
const DOCS: File = File(HTML, include_str!("page/docs.html"));

/// What the pages are made of, below `/page/`.
const PARTS: [(&str, File); 6] = [
    ("page.css", File(STYLE, include_str!("page/page.css"))),
    ("page.js", File(SCRIPT, include_str!("page/page.js"))),
    ("dom.js", File(SCRIPT, include_str!("page/dom.js"))),
    ("story.js", File(SCRIPT, include_str!("page/story.js"))),
    (
        "topology.js",
        File(SCRIPT, include_str!("page/topology.js")),
    ),
    ("docs.js", File(SCRIPT, include_str!("page/docs.js"))),
];

/// A file and its type.
#[derive(Clone, Copy, Debug)]
struct File(&'static str, &'static str);

impl IntoResponse for File {
    fn into_response(self) -> Response {
        let headers: [(HeaderName, &str); 3] = [
            (header::CONTENT_TYPE, self.0),
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::REFERRER_POLICY, "no-referrer"),
        ];
        (headers, self.1).into_response()
    }
}

/// `/`, which shows what a sentinel sees.
pub fn index() -> Router {
    Router::new().route("/", get(async || INDEX))
}

/// `/docs`, and the files that it and `/` are made of.
pub fn docs() -> Router {
    Router::new()
        .route("/docs", get(async || DOCS))
        .route("/page/{file}", get(part))
}

async fn part(Path(name): Path<String>) -> Result<File, Refusal> {
    let found = PARTS.iter().find(|(file, _)| *file == name);
    found
        .map(|(_, file)| *file)
        .ok_or_else(Refusal::no_such_route)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_comes_from_outside_and_nothing_becomes_markup() {
        let pages = [("index.html", INDEX), ("docs.html", DOCS)];
        for (name, File(_, text)) in pages.iter().chain(&PARTS) {
            let text = text.replace("http://www.w3.org/2000/svg", "");
            for word in [
                "http:",
                "https:",
                "//cdn",
                "@import",
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "new Function",
                "style=",
                "onclick=",
            ] {
                assert!(!text.contains(word), "{name}: {word}");
            }
        }
    }

    #[test]
    fn every_file_that_is_named_is_there() {
        let all: Vec<File> = ([INDEX, DOCS].into_iter())
            .chain(PARTS.map(|(_, file)| file))
            .collect();
        for (name, _) in PARTS {
            let named = all.iter().any(|File(_, text)| {
                text.contains(&format!("\"page/{name}\""))
                    || text.contains(&format!("\"./{name}\""))
            });
            assert!(named, "{name} is used by nobody");
        }
        for File(_, text) in all {
            let names = text
                .split("from \"./")
                .skip(1)
                .filter_map(|rest| rest.split('"').next());
            for name in names {
                assert!(
                    PARTS.iter().any(|(file, _)| *file == name),
                    "{name} is missing"
                );
            }
        }
    }
}

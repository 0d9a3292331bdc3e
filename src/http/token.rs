//! Who may change things: whoever shows the token of the configuration.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, ensure};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::reply::Refusal;
use crate::config::Process;

/// Bytes of a token file that are read.
const FILE_BYTES_MAX: u64 = 4096;

/// The token, or that there is none. It is kept as its digest, so that comparing takes the same time
/// whatever is shown, its length too, and nothing here could print it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Token(Option<[u8; 32]>);

impl Token {
    /// The token of a configuration. Relative paths start where the process is.
    ///
    /// # Errors
    /// It is given twice, or its file cannot be read or holds none.
    pub fn load(process: &Process) -> anyhow::Result<Token> {
        let http = &process.http;
        ensure!(
            http.token.is_none() || http.token_file.is_none(),
            "http-token and http-token-file are both given: either, not both"
        );
        let from_file = http.token_file.as_deref().map(read).transpose()?;
        let text = http.token.as_deref().or(from_file.as_deref());
        Ok(text.map_or_else(Token::default, Token::of))
    }

    fn of(text: &str) -> Token {
        Token(Some(Sha256::digest(text.as_bytes()).into()))
    }

    /// Whether there is one, so that something can be changed at all.
    pub fn is_set(self) -> bool {
        self.0.is_some()
    }

    /// Whether a request may change things.
    ///
    /// # Errors
    /// It may not; says why.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(token) = &self.0 else {
            return Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "nothing can be changed over HTTP here: no token is configured",
            )
            .hint("set http-token or http-token-file and start again"));
        };
        let shown = headers.get(header::AUTHORIZATION);
        let shown = shown.and_then(|value| bearer(value.as_bytes()));
        let digest: [u8; 32] = Sha256::digest(shown.unwrap_or_default()).into();
        if shown.is_some() & bool::from(digest.ct_eq(token)) {
            return Ok(());
        }
        Err(Refusal::new(
            StatusCode::UNAUTHORIZED,
            match shown {
                Some(_) => "this is not the token",
                None => "a token is needed",
            },
        )
        .hint("Authorization: Bearer TOKEN, with the http-token of this sentinel"))
    }
}

/// Lets only those pass who show the token.
pub async fn required(State(token): State<Token>, request: Request, next: Next) -> Response {
    match token.check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

/// What follows `Bearer`, in any case.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    let token = token.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"bearer ") && !token.is_empty()).then_some(token)
}

fn read(path: &Path) -> anyhow::Result<String> {
    let shown = path.display();
    let text = (|| {
        let mut text = String::new();
        let mut file = fs::File::open(path)?.take(FILE_BYTES_MAX);
        file.read_to_string(&mut text)?;
        Ok::<_, io::Error>(text)
    })();
    let text = text.with_context(|| format!("cannot read {shown} (http-token-file)"))?;
    let token = text.lines().next().unwrap_or_default().trim();
    ensure!(
        !token.is_empty(),
        "{shown} (http-token-file) has no token on its first line"
    );
    Ok(token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn check(token: Token, shown: Option<&str>) -> u16 {
        let mut headers = HeaderMap::new();
        if let Some(shown) = shown {
            headers.insert(header::AUTHORIZATION, shown.parse().unwrap());
        }
        let checked = token.check(&headers);
        checked.map_or_else(|refusal| refusal.status().as_u16(), |()| 200)
    }

    #[test]
    fn only_the_token_opens() {
        let token = Token::of("s3cret");
        assert_eq!(check(token, Some("Bearer s3cret")), 200);
        assert_eq!(check(token, Some("bearer  s3cret ")), 200);
        for wrong in [
            "Bearer",
            "Bearer ",
            "Bearer s3cre",
            "Bearer s3crett",
            "Basic s3cret",
            "s3cret",
        ] {
            assert_eq!(check(token, Some(wrong)), 401, "{wrong}");
        }
        assert_eq!(check(token, None), 401);
        assert_eq!(check(Token::default(), Some("Bearer ")), 403);
        assert!(!format!("{token:?}").contains("s3cret"));
    }

    #[test]
    fn a_token_may_be_in_a_file() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let mut process = Process::of_sentinel();
        process.http.token_file = Some(file.path().to_owned());
        let error = Token::load(&process).unwrap_err().to_string();
        assert!(error.contains("no token"), "{error}");
        file.write_all(b" s3cret \nmore\n").unwrap();
        let token = Token::load(&process).unwrap();
        assert_eq!(check(token, Some("Bearer s3cret")), 200);
        process.http.token = Some("other".into());
        let error = Token::load(&process).unwrap_err().to_string();
        assert!(error.contains("both"), "{error}");
        process.http.token_file = Some("/nonexistent".into());
        process.http.token = None;
        let error = format!("{:#}", Token::load(&process).unwrap_err());
        assert!(error.contains("/nonexistent"), "{error}");
    }
}

//! The answer to a request that failed: a problem as the path's clients expect it, wherever it was found.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

use super::dialect::Dialect;
use super::problem::{Kind, Problem};

/// Says that the same request would fail again, to clients that would send it again by themselves.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// Writes the problems of all that is inside: for `axum::middleware::from_fn`.
pub async fn write(request: Request, next: Next) -> Response {
    let dialect = Dialect::of(request.uri().path());
    let response = next.run(request).await;
    // It stays there, for who keeps the log.
    match response.extensions().get::<Problem>().cloned() {
        Some(problem) => written(dialect, &problem, response),
        None => response,
    }
}

/// The answer to clients of this path, for who answers outside of [`write`].
#[must_use]
pub fn answer(path: &str, problem: &Problem) -> Response {
    written(Dialect::of(path), problem, Response::default())
}

/// The problem instead of a response's body; headers that it has already stay.
fn written(dialect: Dialect, problem: &Problem, response: Response) -> Response {
    let mut response = response.map(|_| Body::from(dialect.body(problem).to_string()));
    *response.status_mut() = dialect.status(problem.kind);
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    match problem.kind {
        Kind::Busy { retry_after } => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(retry_after.as_secs().max(1)));
        }
        Kind::Unauthorized => {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"slm\""));
        }
        // What ended a model's process would end it again.
        Kind::Failed => {
            headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
        }
        _ => {}
    }
    response
}

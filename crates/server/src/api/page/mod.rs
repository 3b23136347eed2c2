//! The page for people at `/`: plain files in the binary. They ask the API like any client; [`status`] is for them alone.

mod status;

use std::sync::Arc;

use axum::Router;
use axum::http::header::{self, HeaderMap, HeaderName};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

use super::service::Service;

pub use status::{Document, STATUS};

const HTML: &str = include_str!("index.html");
const CSS: &str = include_str!("page.css");
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// Nothing but our own files and our own API, and in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The scripts, which the page's own one, the first, imports.
const SCRIPTS: [(&str, &str); 5] = [
    ("/page/page.js", include_str!("page.js")),
    ("/page/api.js", include_str!("api.js")),
    ("/page/form.js", include_str!("form.js")),
    ("/page/answer.js", include_str!("answer.js")),
    ("/page/server.js", include_str!("server.js")),
];

/// The files beside the page, and what they ask.
pub fn routes() -> Router<Arc<Service>> {
    let router = Router::new()
        .route(STATUS, get(status::status))
        .route("/page/page.css", get(|| async { file("text/css; charset=utf-8", CSS) }));
    SCRIPTS
        .into_iter()
        .fold(router, |router, (path, text)| router.route(path, get(move || async move { file(JAVASCRIPT, text) })))
}

/// The page for browsers, and for programs what Ollama says there, by which they find it.
#[utoipa::path(get, path = "/", tag = "ollama", responses((status = 200, body = String)))]
pub async fn root(headers: HeaderMap) -> Response {
    let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    if accepts.flat_map(|value| value.split(',')).any(|kind| kind.trim().starts_with("text/html")) {
        return file("text/html; charset=utf-8", HTML);
    }
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], "Ollama is running").into_response()
}

fn file(media_type: &'static str, text: &'static str) -> Response {
    const HEADERS: [(HeaderName, &str); 4] = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        // What is in the binary changes with the binary.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (HEADERS, [(header::CONTENT_TYPE, media_type), (header::VARY, "accept")], text).into_response()
}

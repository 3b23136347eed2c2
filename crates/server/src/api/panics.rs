//! The answer to a request whose handler panicked: that request fails, the server keeps running.

use std::panic::AssertUnwindSafe;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;

use super::problem::Problem;

/// Answers where the handler panics: for `axum::middleware::from_fn`. The panic itself has said where it was.
pub async fn answered(request: Request, next: Next) -> Response {
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    answer.unwrap_or_else(|_| Problem::panicked().into_response())
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::http::Request;
    use axum::middleware;
    use axum::routing::get;
    use tower::ServiceExt as _;

    #[test]
    fn a_panic_is_an_error_in_the_shape_of_its_path() {
        let panics = || async { if true { panic!("on purpose") } else { "" } };
        let router = Router::new().route("/v1/models", get(panics)).layer(middleware::from_fn(super::answered));
        let router = router.layer(middleware::from_fn(crate::api::refusal::write));
        let request = Request::get("/v1/models").body(Body::empty()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let body = runtime.block_on(async {
            let response = router.oneshot(request).await.unwrap();
            assert_eq!(response.status().as_u16(), 500);
            axum::body::to_bytes(response.into_body(), 1000).await.unwrap()
        });
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["error"]["message"], "slm failed to handle this request; see its log");
    }
}

//! Every kind of problem in every dialect.

mod leaks;
mod variants;

use std::time::Duration;

use axum::http::StatusCode;
use axum::routing::get;
use axum::{Router, middleware};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::{Kind, Problem};
use crate::api::dialect::Dialect;
use crate::api::refusal;

/// Every kind with its status, and what OpenAI's and Anthropic's clients are told; a kind that is missing here does not compile.
fn kinds() -> Vec<(Kind, u16, [&'static str; 3])> {
    const INVALID: &str = "invalid_request_error";
    macro_rules! table {
        ($($pattern:pat => $kind:expr, $status:expr, $words:expr;)*) => {{
            let _is_whole = |kind: Kind| match kind { $($pattern => {})* };
            vec![$(($kind, $status, $words)),*]
        }};
    }
    table! {
        Kind::Invalid => Kind::Invalid, 400, [INVALID, "invalid_value", INVALID];
        Kind::Unsupported => Kind::Unsupported, 400, [INVALID, "unsupported_parameter", INVALID];
        Kind::Unknown => Kind::Unknown, 400, [INVALID, "unknown_parameter", INVALID];
        Kind::TooLong => Kind::TooLong, 400, [INVALID, "context_length_exceeded", INVALID];
        Kind::Unauthorized => Kind::Unauthorized, 401, [INVALID, "invalid_api_key", "authentication_error"];
        Kind::Forbidden => Kind::Forbidden, 403, [INVALID, "forbidden", "permission_error"];
        Kind::NotFound => Kind::NotFound, 404, [INVALID, "not_found", "not_found_error"];
        Kind::NoSuchPath => Kind::NoSuchPath, 404, [INVALID, "unknown_url", "not_found_error"];
        Kind::WrongMethod => Kind::WrongMethod, 405, [INVALID, "method_not_supported", INVALID];
        Kind::TooLarge => Kind::TooLarge, 413, [INVALID, "request_too_large", "request_too_large"];
        Kind::Late => Kind::Late, 408, [INVALID, "request_timeout", INVALID];
        Kind::Encoding => Kind::Encoding, 415, [INVALID, "unsupported_content_type", INVALID];
        Kind::Busy { .. } => Kind::Busy { retry_after: Duration::from_secs(7) }, 503,
            ["service_unavailable_error", "server_is_overloaded", "overloaded_error"];
        Kind::TimedOut => Kind::TimedOut, 504, ["server_error", "timeout", "timeout_error"];
        Kind::Failed => Kind::Failed, 500, ["server_error", "server_error", "api_error"];
        Kind::Upstream => Kind::Upstream, 502, ["server_error", "server_error", "api_error"];
        Kind::Protocol(_) => Kind::Protocol(StatusCode::NOT_IMPLEMENTED), 501, [INVALID, "invalid_request", INVALID];
    }
}

/// What a handler's problem is answered with at this path, behind the layer that writes it.
fn answered(path: &str, problem: &Problem) -> (StatusCode, Value, Vec<(String, String)>) {
    let problem = problem.clone();
    let router = Router::new().fallback(get(move || async { Err::<(), _>(problem) }));
    let router = router.layer(middleware::from_fn(refusal::write));
    let request = axum::http::Request::get(path).body(axum::body::Body::empty()).unwrap();
    read(tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(router.oneshot(request)).unwrap())
}

fn read(response: axum::response::Response) -> (StatusCode, Value, Vec<(String, String)>) {
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, 10_000);
    let bytes = tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(bytes).unwrap();
    let headers = parts.headers.iter().filter(|(name, _)| *name != "content-length");
    let mut headers: Vec<_> = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().into())).collect();
    headers.sort();
    (parts.status, serde_json::from_slice(&bytes).unwrap(), headers)
}

#[test]
fn a_problem_has_one_answer_in_a_dialect_wherever_it_was_found() {
    for (kind, status, [r#type, code, anthropic]) in kinds() {
        let problem = Problem::new(kind, "no").of("x");
        let openai = json!({"error": {"message": "no", "type": r#type, "param": "x", "code": code}});
        let of_anthropic = if status == 503 { 529 } else { status };
        for (path, status, body) in [
            ("/api/chat", status, json!({"error": "no"})),
            ("/anything", status, json!({"error": "no"})),
            ("/v1/chat/completions", status, openai.clone()),
            ("/v1/completions", status, openai.clone()),
            ("/v1/responses", status, openai.clone()),
            ("/v1/decisions", status, openai),
            ("/v1/systemone", status, json!({"detail": "no", "error": "no"})),
            ("/v1/messages", of_anthropic, json!({"type": "error", "error": {"type": anthropic, "message": "no"}})),
        ] {
            let answer = answered(path, &problem);
            assert_eq!((answer.0.as_u16(), &answer.1), (status, &body), "{kind:?} at {path}");
            // Where nobody is behind the layer, and in the middle of a stream.
            assert_eq!(read(refusal::answer(path, &problem)), answer, "{kind:?} at {path}");
            assert_eq!(Dialect::of(path).body(&problem), body, "{kind:?} at {path}");
        }
    }
    let missing = Problem::new(Kind::NotFound, "no").of("model");
    assert_eq!(Dialect::OpenAi.body(&missing)["error"]["code"], "model_not_found");
}

#[test]
fn headers_say_what_a_client_does_next() {
    let headers = |kind: Kind| {
        let (_, _, headers) = answered("/v1/models", &Problem::new(kind, "no"));
        headers.into_iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>()
    };
    let json = "content-type: application/json";
    assert_eq!(headers(Kind::Invalid), [json]);
    assert_eq!(headers(Kind::Busy { retry_after: Duration::from_secs(7) }), [json, "retry-after: 7"]);
    assert_eq!(headers(Kind::Busy { retry_after: Duration::ZERO }), [json, "retry-after: 1"]);
    assert_eq!(headers(Kind::Unauthorized), [json, "www-authenticate: Bearer realm=\"slm\""]);
    assert_eq!(headers(Kind::Failed), [json, "x-should-retry: false"]);
}

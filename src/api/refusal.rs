//! The answer to a request that its dialect never sees: an error in the shape that the path's clients expect.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

/// The dialect whose clients call a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `{"error": text}`, also of everything that is nobody else's.
    Ollama,
    /// `{"error": {"message", "type", "param", "code"}}`.
    OpenAi,
    /// `{"type": "error", "error": {"type", "message"}}`.
    Anthropic,
    /// System One's client reads `detail`, and we say `error` too.
    SystemOne,
}

impl Dialect {
    #[must_use]
    pub fn of(path: &str) -> Dialect {
        let begins =
            |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        match path {
            _ if begins("/v1/messages") => Dialect::Anthropic,
            _ if begins("/v1/systemone") => Dialect::SystemOne,
            _ if begins("/v1") => Dialect::OpenAi,
            _ => Dialect::Ollama,
        }
    }

    /// An error's body. `field` is the one that is wrong, where that is known; OpenAI's shape alone has a place for it.
    #[must_use]
    pub fn error(self, status: StatusCode, message: &str, field: Option<&str>) -> Value {
        match self {
            Dialect::Ollama => json!({ "error": message }),
            Dialect::OpenAi => json!({
                "error": { "message": message, "type": openai_type(status), "param": field, "code": openai_code(status) }
            }),
            Dialect::Anthropic => {
                json!({ "type": "error", "error": { "type": anthropic_type(status), "message": message } })
            }
            Dialect::SystemOne => json!({ "detail": message, "error": message }),
        }
    }
}

/// An answer that is an error, in the shape of the path's dialect.
#[must_use]
pub fn refuse(path: &str, status: StatusCode, message: &str) -> Response {
    refuse_field(path, status, message, None)
}

/// [`refuse`], naming the field that is wrong.
#[must_use]
pub fn refuse_field(path: &str, status: StatusCode, message: &str, field: Option<&str>) -> Response {
    (status, Json(Dialect::of(path).error(status, message, field))).into_response()
}

/// OpenAI's SDK chooses its exception by the status; the type is for people.
fn openai_type(status: StatusCode) -> &'static str {
    if status.is_server_error() { "server_error" } else { "invalid_request_error" }
}

fn openai_code(status: StatusCode) -> Option<&'static str> {
    match status {
        StatusCode::UNAUTHORIZED => Some("invalid_api_key"),
        StatusCode::FORBIDDEN => Some("forbidden"),
        StatusCode::SERVICE_UNAVAILABLE => Some("busy"),
        _ => None,
    }
}

/// The names in Anthropic's table of errors.
fn anthropic_type(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 | 529 => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}

#[cfg(test)]
mod tests {
    use super::Dialect;
    use axum::http::StatusCode;

    #[test]
    fn the_path_chooses_the_shape() {
        let error = |path: &str, status: u16| {
            let status = StatusCode::from_u16(status).unwrap();
            Dialect::of(path).error(status, "no", Some("model")).to_string()
        };
        assert_eq!(error("/api/chat", 400), r#"{"error":"no"}"#);
        assert_eq!(error("/v1x", 400), r#"{"error":"no"}"#);
        assert_eq!(
            error("/v1/chat/completions", 400),
            r#"{"error":{"message":"no","type":"invalid_request_error","param":"model","code":null}}"#
        );
        assert_eq!(
            error("/v1/models/x", 401),
            r#"{"error":{"message":"no","type":"invalid_request_error","param":"model","code":"invalid_api_key"}}"#
        );
        let anthropic = r#"{"type":"error","error":{"type":"overloaded_error","message":"no"}}"#;
        assert_eq!(error("/v1/messages", 503), anthropic);
        assert_eq!(error("/v1/messages/count_tokens", 503), anthropic);
        assert_eq!(error("/v1/systemone", 400), r#"{"detail":"no","error":"no"}"#);
    }
}

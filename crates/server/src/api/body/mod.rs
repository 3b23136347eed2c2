//! The JSON body of a request: bounded, UTF-8, no key twice, and an error that names the field.

mod json;
mod mistake;

use super::logging::Prompts;
use super::problem::{Kind, Problem};
use axum::extract::{FromRequest, Request};
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName};
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::error::Error;
use std::time::Duration;
use tokio::time::timeout;
use tower_http::timeout::TimeoutError;

/// How long a body may be where nobody says: a conversation of millions of words.
pub const DEFAULT_MAX_BYTES: usize = 16 * 1024 * 1024;
/// From here on a body is parsed beside the threads that serve others.
const LARGE_BYTES: usize = 256 * 1024;

/// However it comes, byte by byte for example, a body must be whole within this time.
const WITHIN: Duration = Duration::from_secs(300);

/// The limit of bodies, in a request's extensions. Bodies that are streamed have their own.
#[derive(Debug, Clone, Copy)]
pub struct MaxBody(pub usize);

/// A request's body, parsed.
///
/// The media type is not looked at: curl says that it sends a form, and Ollama takes it. What a page of another origin could
/// send so is refused by its origin.
#[derive(Debug)]
pub struct Body<T>(pub T);

/// Why a body is not taken.
#[derive(Debug, thiserror::Error)]
enum BodyError {
    #[error("the body of the request is larger than {max} bytes; raise SLM_MAX_BODY on the server")]
    TooLarge { max: usize },
    #[error("the body of the request did not arrive in time")]
    Late,
    #[error("the body of the request ended early: {0}")]
    Broken(String),
    #[error("the request has no body: send a JSON object")]
    Empty,
    #[error("the body of the request is encoded as `{0}`: send it without encoding")]
    Encoded(String),
    #[error("the body of the request is in `{0}`: send UTF-8")]
    Charset(String),
    #[error("the body of the request is not UTF-8: its byte {at} (0x{byte:02x}) begins no character")]
    NotUtf8 { at: usize, byte: u8 },
    #[error("{0}")]
    Json(#[from] json::JsonError),
    #[error("slm failed while it read the body")]
    Panicked,
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Problem {
        let kind = match &error {
            BodyError::TooLarge { .. } => Kind::TooLarge,
            BodyError::Late => Kind::Late,
            BodyError::Encoded(_) | BodyError::Charset(_) => Kind::Encoding,
            BodyError::Panicked => return Problem::panicked(),
            BodyError::Broken(_) | BodyError::Empty | BodyError::NotUtf8 { .. } | BodyError::Json(_) => Kind::Invalid,
        };
        let field = if let BodyError::Json(error) = &error { error.field().map(str::to_owned) } else { None };
        Problem { field, ..Problem::new(kind, error.to_string()) }
    }
}

impl<S: Sync, T: DeserializeOwned + Send + 'static> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Body<T>, Problem> {
        let max = request.extensions().get().map_or(DEFAULT_MAX_BYTES, |&MaxBody(max)| max);
        let is_logged = request.extensions().get() == Some(&Prompts::Logged);
        let read = async {
            judge_headers(request.headers(), max)?;
            let bytes = collect(request.into_body(), max, WITHIN).await?;
            if is_logged {
                tracing::info!(body = %String::from_utf8_lossy(&bytes), "what was asked");
            }
            if bytes.len() < LARGE_BYTES {
                return parse(&bytes);
            }
            tokio::task::spawn_blocking(move || parse(&bytes)).await.map_err(|_| BodyError::Panicked)?
        };
        read.await.map(Body).map_err(|error: BodyError| Problem::from(error))
    }
}

/// A part of a body that was kept as it is; `at` is its place.
///
/// # Errors
/// It has another type; the problem names the place.
pub fn part<T: DeserializeOwned>(value: &Value, at: &str) -> Result<T, Problem> {
    json::parse_part(value, at).map_err(|error| Problem::from(BodyError::from(error)))
}

/// A text by itself that is to be a JSON object, a line of a file for example. What its problem says of a body is said of that text.
///
/// # Errors
/// It is no object, or has a key twice, or another type; the problem names the field.
pub fn object<T: DeserializeOwned>(text: &str) -> Result<T, Problem> {
    json::parse(text).map_err(|error| Problem::from(BodyError::from(error)))
}

/// What the headers say of the body, before it is read.
fn judge_headers(headers: &HeaderMap, max: usize) -> Result<(), BodyError> {
    let text = |name: &HeaderName| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let length = text(&CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
    if length.is_some_and(|length| length > max as u64) {
        return Err(BodyError::TooLarge { max });
    }
    if let Some(coding) = text(&CONTENT_ENCODING)
        && !coding.eq_ignore_ascii_case("identity")
    {
        return Err(BodyError::Encoded(coding.chars().take(60).collect()));
    }
    let parameters = text(&CONTENT_TYPE).into_iter().flat_map(|media_type| media_type.split(';').skip(1));
    for parameter in parameters {
        let (name, value) = parameter.split_once('=').unwrap_or_default();
        let value = value.trim().trim_matches('"');
        if name.trim().eq_ignore_ascii_case("charset")
            && !["utf-8", "utf8", "us-ascii"].iter().any(|known| value.eq_ignore_ascii_case(known))
        {
            return Err(BodyError::Charset(value.chars().take(60).collect()));
        }
    }
    Ok(())
}

async fn collect(body: axum::body::Body, max: usize, within: Duration) -> Result<Bytes, BodyError> {
    match timeout(within, Limited::new(body, max).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge { max }),
        Ok(Err(error)) => Err(broken(&*error)),
        Err(_) => Err(BodyError::Late),
    }
}

/// What the server's reader said, below what hyper and axum say around it.
fn broken(error: &(dyn Error + 'static)) -> BodyError {
    let (mut deepest, mut next) = (error, Some(error));
    while let Some(error) = next {
        if error.is::<TimeoutError>() {
            return BodyError::Late;
        }
        deepest = error;
        next = error.source();
    }
    BodyError::Broken(deepest.to_string())
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, BodyError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        BodyError::NotUtf8 { at, byte: bytes[at] }
    })?;
    // Some programs on Windows begin every text with the mark.
    let text = text.trim_start_matches('\u{feff}');
    if text.trim().is_empty() {
        return Err(BodyError::Empty);
    }
    Ok(json::parse(text)?)
}

#[cfg(test)]
mod tests {
    use super::{Body, BodyError, MaxBody, collect};
    use axum::Router;
    use axum::extract::Extension;
    use axum::http::{Request, header};
    use axum::routing::post;
    use bytes::Bytes;
    use serde::Deserialize;
    use serde_json::Value;
    use std::collections::BTreeMap;
    use std::time::Duration;
    use tower::ServiceExt as _;
    use tower_http::timeout::TimeoutBody;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Asked {
        model: String,
        options: Option<Options>,
        questions: Option<BTreeMap<String, Value>>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Options {
        temperature: f32,
        stop: Option<Vec<String>>,
    }

    fn sent(path: &str, fields: &[(&str, &str)], body: impl Into<axum::body::Body>) -> (u16, String) {
        let handler = |Body(asked): Body<Asked>| async move {
            let Asked { model, options, questions } = asked;
            let temperature = options.map(|options| (options.temperature, options.stop.map(|stop| stop.len())));
            format!("{model} {temperature:?} {:?}", questions.map(|questions| questions.len()))
        };
        let router = Router::new().fallback(post(handler)).layer(Extension(MaxBody(300_000)));
        let router = router.layer(axum::middleware::from_fn(crate::api::refusal::write));
        let mut request = Request::builder().method("POST").uri(path);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(body.into()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let response = router.oneshot(request).await.unwrap();
            let status = response.status().as_u16();
            let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
            (status, String::from_utf8(body.to_vec()).unwrap())
        })
    }

    fn error(body: impl Into<axum::body::Body>) -> String {
        let (status, body) = sent("/api/chat", &[], body);
        assert_eq!(status, 400, "{body}");
        serde_json::from_str::<BTreeMap<String, String>>(&body).unwrap().remove("error").unwrap()
    }

    #[test]
    fn bodies_are_taken_whatever_they_are_called() {
        let body =
            "\u{feff} {\"model\": \"m\", \"options\": {\"temperature\": 0, \"stop\": []}, \"questions\": {\"a\": 1}}";
        let taken = (200, "m Some((0.0, Some(0))) Some(1)".to_owned());
        for media_type in ["application/json", "application/x-www-form-urlencoded", "text/plain; charset=\"UTF-8\""] {
            assert_eq!(sent("/", &[("content-type", media_type)], body), taken, "{media_type}");
        }
        assert_eq!(sent("/", &[], body), taken);
        let long = format!("{{\"model\": \"m\"{}}}", " ".repeat(290_000));
        assert_eq!(sent("/", &[], long).0, 200);
    }

    #[test]
    fn an_error_names_what_is_wrong_and_where() {
        for (body, expected) in [
            ("", "the request has no body: send a JSON object"),
            (" \n", "the request has no body: send a JSON object"),
            ("{", "the body is not JSON: EOF while parsing an object at line 1 column 1"),
            ("{\"model\": 'x'}", "the body is not JSON: expected value at line 1 column 11"),
            ("{\"model\": \"x\"} {}", "the body is not JSON: trailing characters at line 1 column 16"),
            ("[]", "the body is not a JSON object"),
            ("\"model\"", "the body is not a JSON object"),
            ("{\"model\": 5}", "`model` is 5, a number; give a text"),
            ("{}", "`model` is missing"),
            ("{\"modell\": \"x\"}", "`modell` is not known here; remove it"),
            (
                "{\"model\": \"x\",\n \"options\": {\"temperature\": \"0.7\"}}",
                "`options.temperature` is \"0.7\", a text; give a number",
            ),
            ("{\"model\": \"x\", \"options\": {}}", "`options.temperature` is missing"),
            (
                "{\"model\": \"x\", \"options\": {\"temperature\": 0, \"stop\": [\"a\", null]}}",
                "`options.stop[1]` is null; give a text",
            ),
            ("{\"model\": \"x\", \"model\": \"y\"}", "the key `model` is given twice at line 1 column 22"),
            (
                "{\"model\": \"x\", \"questions\": {\"q\": {\"a\": 1, \"\\u0061\": 2}}}",
                "`questions.q`: the key `a` is given twice at line 1 column 51",
            ),
            ("{\"model\": \"\\ud800\"}", "the body is not JSON: unexpected end of hex escape at line 1 column 18"),
            ("{\"model\": 1e999}", "the body is not JSON: number out of range at line 1 column 15"),
        ] {
            assert_eq!(error(body), expected, "{body}");
        }
        assert_eq!(
            error(b"{\"model\": \"\xff\"}".to_vec()),
            "the body of the request is not UTF-8: its byte 11 (0xff) begins no character"
        );
        let long = error(format!("{{\"model\": \"x\", \"options\": \"{}\"}}", "y".repeat(5000)));
        assert!(long.starts_with("`options` is \"yyy") && long.ends_with("…, a text; give an object"), "{long}");
        assert!(long.len() < 500, "{long}");
        let (status, body) = sent("/v1/chat/completions", &[], "{\"model\": 5}");
        assert_eq!(status, 400);
        assert!(body.contains("\"type\":\"invalid_request_error\",\"param\":\"model\""), "{body}");
    }

    #[test]
    fn a_body_that_stops_or_drips_is_given_up() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let drips = || async {
                tokio::time::sleep(Duration::from_millis(5)).await;
                Some((Ok::<_, std::io::Error>(Bytes::from("x")), ()))
            };
            let dripping = axum::body::Body::from_stream(futures_util::stream::unfold((), move |()| drips()));
            let late = collect(dripping, 1000, Duration::from_millis(60)).await.unwrap_err();
            assert!(matches!(late, BodyError::Late), "{late:?}");
            let silent = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
            let silent = TimeoutBody::new(Duration::from_millis(10), axum::body::Body::from_stream(silent));
            let late = collect(axum::body::Body::new(silent), 1000, Duration::from_secs(60)).await.unwrap_err();
            assert!(matches!(late, BodyError::Late), "{late:?}");
        });
    }

    #[test]
    fn nesting_has_an_end() {
        let nested =
            |n: usize| format!("{{\"model\": \"x\", \"questions\": {{\"a\": {}{}}}}}", "[".repeat(n), "]".repeat(n));
        assert_eq!(sent("/", &[], nested(120)).0, 200);
        assert!(error(nested(130)).contains("nested more than 128 deep"), "{}", error(nested(130)));
        assert!(error("[".repeat(100_000)).contains("nested more than 128 deep"));
        assert!(error("{\"a\":".repeat(50_000)).contains("nested more than 128 deep"));
    }

    #[test]
    fn size_and_coding_are_judged_before_the_body_is_read() {
        let length = [(header::CONTENT_LENGTH.as_str(), "300001")];
        let (status, body) = sent("/api/chat", &length, "{");
        let expected = "the body of the request is larger than 300000 bytes; raise SLM_MAX_BODY on the server";
        assert_eq!((status, body), (413, format!("{{\"error\":\"{expected}\"}}")));
        // A length that is not said is found.
        assert_eq!(sent("/api/chat", &[], "x".repeat(300_001)).0, 413);
        assert_eq!(sent("/api/chat", &[("content-encoding", "gzip")], "{}").0, 415);
        assert_eq!(sent("/api/chat", &[("content-type", "application/json; charset=utf-16")], "{}").0, 415);
    }
}

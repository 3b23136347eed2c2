//! The server's log on standard error: text on a terminal, JSON otherwise. Texts of users are
//! not among it.

mod lines;

pub use lines::{Format, FormatError};

use super::dialect::Dialect;
use super::metrics::{InFlight, Metrics};
use super::problem::Problem;
use super::server::Peer;
use super::stage::{Listed, Reached, Stage, Stages};
use axum::body::{Body, Bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::HeaderName;
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use hyper::body::{Body as _, Frame, SizeHint};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};
use tracing::{Instrument as _, Level};

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// As clients of Anthropic's API look for it.
const ANTHROPICS_REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
const MAX_ID_CHARS: usize = 64;
/// As web servers write it down when a client leaves before its answer; nobody is sent it.
const GONE: u16 = 499;

/// Writes what is logged to standard error from here on. `timestamp` tells a time in UTC, to the second, as RFC 3339 has it.
pub fn begin(format: Format, level: Level, timestamp: fn(SystemTime) -> String) {
    use tracing_subscriber::layer::SubscriberExt as _;
    let lines = lines::Lines::new(format, level, timestamp);
    // Another log is there already only in a test that calls this twice.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(lines));
}

/// Whether texts of users are logged, in a request's extensions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Prompts {
    #[default]
    Kept,
    /// `SLM_LOG_PROMPTS`: bodies of requests are, as they came.
    Logged,
}

/// What a request turned out to be, noted by whoever answers it. Its clones are of the same request.
#[derive(Debug, Clone)]
pub struct Account {
    id: Arc<str>,
    began: Instant,
    reached: Reached,
    facts: Arc<Mutex<Facts>>,
}

impl Default for Account {
    fn default() -> Account {
        Account { id: "".into(), began: Instant::now(), reached: Reached::default(), facts: Arc::default() }
    }
}

#[derive(Debug, Clone, Default)]
struct Facts {
    model: Option<String>,
    tokens: Option<Tokens>,
    waited: Option<Duration>,
    problem: Option<String>,
}

/// Tokens of one request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Of its prompts, the reused ones included.
    pub prompt: usize,
    /// Those that had been evaluated before.
    pub reused: usize,
    pub decoded: usize,
}

tokio::task_local! {
    static ACCOUNT: Account;
}

impl Account {
    /// The account of the request that this task answers; nobody reads it where there is none. A body that is streamed is
    /// not of that task: take it before.
    #[must_use]
    pub fn current() -> Account {
        ACCOUNT.try_with(Clone::clone).unwrap_or_default()
    }

    fn note(&self, note: impl FnOnce(&mut Facts)) {
        note(&mut self.facts.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The model's full name.
    pub fn model(&self, name: impl Into<String>) {
        self.note(|facts| facts.model = Some(name.into()));
    }

    /// It has come so far.
    pub fn reached(&self, stage: Stage) {
        self.reached.set(stage);
    }

    /// Tokens of one more of its answers.
    pub fn add(&self, tokens: Tokens) {
        self.note(|facts| {
            let all = facts.tokens.get_or_insert_default();
            all.prompt += tokens.prompt;
            all.reused += tokens.reused;
            all.decoded += tokens.decoded;
        });
    }

    /// The request's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// When the request came.
    #[must_use]
    pub fn began(&self) -> Instant {
        self.began
    }

    /// How long it waited for its turn.
    pub fn waited(&self, waited: Duration) {
        self.note(|facts| facts.waited = Some(waited));
    }

    /// Why there is no answer, or not all of it, where that was not the request's fault: what is wrong with a request is told to
    /// its client alone, for it may be said in the words of a text.
    pub fn failed(&self, problem: &Problem) {
        if problem.is_of_server() {
            self.note(|facts| facts.problem = Some(problem.message.clone()));
        }
    }
}

/// Where requests are counted, and found while they are in flight.
#[derive(Debug, Clone)]
pub struct Observer {
    pub metrics: Metrics,
    pub stages: Stages,
}

/// Gives a request its id, logs its end and counts it: for `axum::middleware::from_fn_with_state`, around all else.
pub async fn observe(State(observer): State<Observer>, mut request: Request, next: Next) -> Response {
    let Observer { metrics, stages } = observer;
    let id = request_id(request.headers());
    let account = Account { id: id.as_str().into(), ..Account::default() };
    request.extensions_mut().insert(account.clone());
    let span = tracing::info_span!("request", id = %id);
    let record = Record {
        in_flight: (!is_of_page(request.uri().path())).then(|| metrics.request()),
        _listed: stages.list(&id, account.reached.clone()),
        metrics,
        account: account.clone(),
        span: span.clone(),
        method: request.method().clone(),
        route: request.extensions().get().map(|route: &MatchedPath| route.as_str().to_owned()),
        path: request.uri().path().chars().take(200).collect(),
        client: request.extensions().get::<Peer>().map_or_else(String::new, Peer::to_string),
        status: GONE,
    };
    let is_anthropics = Dialect::of(request.uri().path()) == Dialect::Anthropic;
    let mut record = Some(record);
    let mut response = ACCOUNT.scope(account, next.run(request)).instrument(span).await;
    if let Some(record) = &mut record {
        record.status = response.status().as_u16();
        if let Some(problem) = response.extensions().get() {
            record.account.failed(problem);
        }
    }
    // Made of visible ASCII.
    if let Ok(value) = HeaderValue::from_str(&id) {
        if is_anthropics {
            response.headers_mut().insert(ANTHROPICS_REQUEST_ID, value.clone());
        }
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response.map(|body| if body.is_end_stream() { body } else { Body::new(Recorded { body, record, is_whole: false }) })
}

/// Whether the page at `/` asks this for itself: it asks every few seconds as long as somebody has it open.
fn is_of_page(path: &str) -> bool {
    path.starts_with("/page/")
}

/// The id that the client gave, if a log can hold it, else one of our own.
fn request_id(headers: &HeaderMap) -> String {
    let is_sane = |id: &&str| {
        (1..=MAX_ID_CHARS).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
    };
    let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(is_sane);
    given.map_or_else(|| format!("{:016x}", fastrand::u64(..)), str::to_owned)
}

/// One request, logged when dropped: its answer is whole then, or its client is gone.
struct Record {
    in_flight: Option<InFlight>,
    _listed: Listed,
    metrics: Metrics,
    account: Account,
    span: tracing::Span,
    method: Method,
    route: Option<String>,
    path: String,
    client: String,
    status: u16,
}

impl Drop for Record {
    fn drop(&mut self) {
        self.in_flight.take();
        let took = self.account.began.elapsed();
        let route = self.route.as_deref().unwrap_or("other");
        // A page that is closed leaves in the middle of asking.
        let is_of_page = is_of_page(&self.path) && (self.status < 400 || self.status == GONE);
        if !is_of_page {
            self.metrics.answered(self.method.as_str(), route, self.status, took);
        }
        let facts = self.account.facts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Facts { model, tokens, waited, problem } = facts;
        let has_problem = problem.is_some();
        let (method, path, client, status) = (self.method.as_str(), &*self.path, &*self.client, self.status);
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let (duration_ms, waited_ms) = (ms(took), waited.map(ms));
        let [prompt, reused, decoded] = match tokens {
            Some(tokens) => [tokens.prompt, tokens.reused, tokens.decoded].map(Some),
            None => [None; 3],
        };
        let _entered = self.span.enter();
        macro_rules! line {
            ($level:expr) => {
                tracing::event!(
                    $level,
                    method,
                    path,
                    status,
                    duration_ms,
                    model,
                    prompt_tokens = prompt,
                    reused_tokens = reused,
                    decoded_tokens = decoded,
                    waited_ms,
                    client,
                    problem,
                    "request"
                )
            };
        }
        // These come every few seconds and say nothing new.
        let is_probe = is_of_page || matches!(path, "/health" | "/ready" | "/metrics") && status < 400;
        match status {
            _ if is_probe => line!(Level::DEBUG),
            500.. => line!(Level::WARN),
            _ if has_problem => line!(Level::WARN),
            _ => line!(Level::INFO),
        }
    }
}

/// An answer's body with its record: what it does not come to the end of, its client did not wait for.
struct Recorded {
    body: Body,
    record: Option<Record>,
    is_whole: bool,
}

impl hyper::body::Body for Recorded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &polled {
            Poll::Ready(None) => self.end(),
            Poll::Ready(Some(_)) if self.body.is_end_stream() => self.end(),
            _ => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Recorded {
    fn end(&mut self) {
        self.is_whole = true;
        self.record.take();
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        if let (false, Some(record)) = (self.is_whole, &mut self.record) {
            record.status = GONE;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Account, Format, Observer, Stages, Tokens, lines, observe};
    use crate::api::metrics::{Build, Metrics, Now};
    use axum::Router;
    use axum::body::{Body, Bytes};
    use axum::http::Request;
    use axum::routing::get;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;
    use tower::ServiceExt as _;
    use tracing::Level;
    use tracing_subscriber::layer::SubscriberExt as _;

    fn router(metrics: &Metrics) -> Router {
        let answer = || async {
            let account = Account::current();
            account.model("m:latest");
            tracing::warn!(at = "here", "in the middle");
            account.add(Tokens { prompt: 7, reused: 5, decoded: 2 });
            account.waited(Duration::from_millis(0));
            "answer"
        };
        let stream = || async {
            let account = Account::current();
            Body::from_stream(futures_util::stream::unfold((account, 0), |(account, n)| async move {
                account.model("s:latest");
                (n < 3).then(|| (Ok::<_, std::io::Error>(Bytes::from("x")), (account, n + 1)))
            }))
        };
        let observer = Observer { metrics: metrics.clone(), stages: Stages::default() };
        Router::new()
            .route("/answer/{name}", get(answer))
            .route("/stream", get(stream))
            .route("/health", get(|| async { "alive" }))
            .route("/page/status", get(|| async { "here" }))
            .layer(axum::middleware::from_fn_with_state(observer, observe))
    }

    /// What is logged while a router is asked, and the ids in its answers. Bodies are read to their ends, or not at all.
    fn logged(format: Format, asks: &[(&str, Option<&str>, bool)]) -> (Vec<String>, Vec<String>, Metrics) {
        let written = Arc::new(Mutex::new(Vec::new()));
        let lines = lines::Lines::to(format, Level::INFO, |_| "2026-11-21T20:00:00Z".to_owned(), Arc::clone(&written));
        let subscriber = tracing_subscriber::registry().with(lines);
        let metrics = Metrics::new(Build { version: "1", backend: "cpu" });
        let mut ids = Vec::new();
        tracing::subscriber::with_default(subscriber, || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                for (path, id, is_read) in asks {
                    let mut request = Request::get(*path);
                    if let Some(id) = id {
                        request = request.header("x-request-id", *id);
                    }
                    let request = request.body(Body::empty()).unwrap();
                    let response = router(&metrics).oneshot(request).await.unwrap();
                    ids.push(response.headers()["x-request-id"].to_str().unwrap().to_owned());
                    if *is_read {
                        axum::body::to_bytes(response.into_body(), 1000).await.unwrap();
                    }
                }
            });
        });
        let written = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        (written.lines().map(str::to_owned).collect(), ids, metrics)
    }

    #[test]
    fn a_request_is_one_line_with_its_id_and_what_it_took() {
        let (lines, ids, metrics) = logged(
            Format::Json,
            &[("/answer/a?secret=1", Some("abc-1"), true), ("/nowhere", None, true), ("/health", None, true)],
        );
        let mut records: Vec<serde_json::Value> =
            lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        for record in &mut records {
            assert!(record["time"].as_str().unwrap().starts_with("2026-11-21T20:00:00."), "{record}");
            record.as_object_mut().unwrap().remove("time");
            if let Some(ms) = record.as_object_mut().unwrap().remove("duration_ms") {
                assert!(ms.as_u64().unwrap() < 5000);
            }
        }
        let expected = [
            serde_json::json!({"level": "warn", "message": "in the middle", "request_id": "abc-1", "at": "here"}),
            serde_json::json!({
                "level": "info", "message": "request", "request_id": "abc-1", "method": "GET", "path": "/answer/a",
                "status": 200, "model": "m:latest", "prompt_tokens": 7, "reused_tokens": 5, "decoded_tokens": 2,
                "waited_ms": 0, "client": "",
            }),
            serde_json::json!({
                "level": "info", "message": "request", "request_id": ids[1], "method": "GET", "path": "/nowhere",
                "status": 404, "client": "",
            }),
        ];
        assert_eq!(records, expected);
        let (_, text) = metrics.render(&Now::default(), "");
        for line in [
            "slm_http_requests_total{method=\"GET\",route=\"/answer/{name}\",status=\"200\"} 1",
            "slm_http_requests_total{method=\"GET\",route=\"other\",status=\"404\"} 1",
            "slm_http_requests_in_flight 0",
        ] {
            assert!(text.lines().any(|own| own == line), "{text}");
        }
    }

    #[test]
    fn what_the_page_asks_for_itself_is_neither_logged_nor_counted() {
        let (lines, _, metrics) = logged(Format::Json, &[("/page/status", None, true), ("/page/none", None, true)]);
        assert!(matches!(&lines[..], [line] if line.contains("/page/none")), "{lines:?}");
        let (_, text) = metrics.render(&Now::default(), "");
        let counted: Vec<&str> = text.lines().filter(|line| line.starts_with("slm_http_requests_total{")).collect();
        assert_eq!(counted, ["slm_http_requests_total{method=\"GET\",route=\"other\",status=\"404\"} 1"]);
    }

    #[test]
    fn an_id_that_could_forge_a_line_is_not_taken_over() {
        let long = "a".repeat(65);
        let asks = ["ok_1.2:3-x", "two words", "", &long, "a\"b"].map(|id| ("/answer/a", Some(id), true));
        let (_, ids, _) = logged(Format::Text, &asks);
        assert_eq!(ids[0], "ok_1.2:3-x");
        for id in &ids[1..] {
            assert!(id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        }
    }

    #[test]
    fn a_client_that_does_not_wait_is_told_apart() {
        let (lines, _, metrics) =
            logged(Format::Text, &[("/stream", Some("whole"), true), ("/stream", Some("left"), false)]);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].contains(" status=200 ") && lines[0].contains(" model=s:latest "), "{}", lines[0]);
        assert!(lines[1].contains(" status=499 ") && lines[1].ends_with(" request_id=left"), "{}", lines[1]);
        assert!(metrics.render(&Now::default(), "").1.contains("route=\"/stream\",status=\"499\"} 1"));
    }
}

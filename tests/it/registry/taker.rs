//! A registry for the tests that takes models: it keeps them in memory, faultily where it is told to, remembers every
//! request and counts the bytes that came.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::StreamExt as _;

use crate::registry::package::digest;
use crate::registry::servers::{listen, runtime};

/// What goes wrong with one request.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    None,
    /// A status with a header and a body.
    Answer(u16, &'static str, &'static str, &'static str),
    /// The body is read no further, and the request never answered.
    Silence,
    /// Bytes are read this slowly.
    Slow {
        bytes_per_second: u64,
    },
    /// The upload is forgotten, and 404 says so.
    Forgotten,
    /// The body is taken, and then the connection ends without an answer.
    Unanswered,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// How many requests of the same method came before.
    pub index: usize,
    pub method: Method,
    /// With its query.
    pub path: String,
    pub authorization: Option<String>,
    pub n_bytes: u64,
    pub content_type: Option<String>,
}

type Choose = Box<dyn Fn(&Seen) -> Fault + Send + Sync>;

/// A running server, ended with all its connections when dropped.
pub struct Taker {
    shared: Arc<Shared>,
    address: SocketAddr,
    runtime: Option<tokio::runtime::Runtime>,
}

#[derive(Default)]
struct Shared {
    kept: Mutex<Kept>,
    choose: Mutex<Option<Choose>>,
    /// Where uploads go: another server's address.
    uploads_at: Mutex<String>,
    /// The least bytes of a part.
    least: Mutex<Option<u64>>,
    /// Basic authentication, as the header says it.
    wants: Mutex<Option<String>>,
}

/// What the registry has.
#[derive(Default)]
struct Kept {
    /// By repository and digest.
    blobs: BTreeMap<(String, String), Bytes>,
    /// By repository and tag.
    manifests: BTreeMap<(String, String), Bytes>,
    uploads: BTreeMap<String, Upload>,
    n_begun: usize,
    /// Bytes of blobs that came.
    n_came: u64,
    seen: Vec<Seen>,
}

#[derive(Default)]
struct Upload {
    bytes: Vec<u8>,
    /// The number of the request that writes; one that comes later takes its place.
    writer: usize,
}

impl Taker {
    pub fn serve() -> Taker {
        let shared = Arc::<Shared>::default();
        let runtime = runtime();
        let listener = runtime.block_on(async { listen() });
        let address = listener.local_addr().expect("a listening socket has an address");
        let router = axum::Router::new().fallback(answer).with_state(Arc::clone(&shared));
        runtime.spawn(async move { axum::serve(listener, router).await });
        Taker { shared, address, runtime: Some(runtime) }
    }

    /// What is to go wrong from now on, decided for each request.
    pub fn faults(&self, choose: impl Fn(&Seen) -> Fault + Send + Sync + 'static) {
        *self.shared.choose.lock().unwrap() = Some(Box::new(choose));
        self.forget();
    }

    /// Uploads are sent to another server.
    pub fn uploads_at(&self, address: &str) {
        address.clone_into(&mut self.shared.uploads_at.lock().unwrap());
    }

    /// Parts must have so many bytes.
    pub fn least(&self, n_bytes: u64) {
        *self.shared.least.lock().unwrap() = Some(n_bytes);
    }

    /// Only who sends this header is let in.
    pub fn wants(&self, authorization: &str) {
        *self.shared.wants.lock().unwrap() = Some(authorization.to_owned());
    }

    pub fn host(&self) -> String {
        self.address.to_string()
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.shared.kept.lock().unwrap().seen.clone()
    }

    /// The requests of a method.
    pub fn seen_of(&self, method: Method) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.method == method).collect()
    }

    /// Bytes of blobs that came.
    pub fn n_came(&self) -> u64 {
        self.shared.kept.lock().unwrap().n_came
    }

    /// Begins to count again.
    pub fn forget(&self) {
        let mut kept = self.shared.kept.lock().unwrap();
        (kept.n_came, kept.seen) = (0, Vec::new());
    }

    pub fn manifest(&self, repository: &str, tag: &str) -> Option<Bytes> {
        self.shared.kept.lock().unwrap().manifests.get(&(repository.to_owned(), tag.to_owned())).cloned()
    }

    pub fn blob(&self, repository: &str, digest: &str) -> Option<Bytes> {
        self.shared.kept.lock().unwrap().blobs.get(&(repository.to_owned(), digest.to_owned())).cloned()
    }
}

impl Drop for Taker {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let text = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let n_bytes = text("content-length").map_or(0, |n| n.parse().unwrap());
    let mut seen = Seen {
        index: 0,
        method: parts.method.clone(),
        path: parts.uri.to_string(),
        authorization: text("authorization"),
        n_bytes,
        content_type: text("content-type"),
    };
    {
        let mut kept = shared.kept.lock().unwrap();
        seen.index = kept.seen.iter().filter(|other| other.method == seen.method).count();
        kept.seen.push(seen.clone());
    }
    let wants = shared.wants.lock().unwrap().clone();
    if wants.is_some() && wants != seen.authorization {
        return (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Basic realm=tests")]).into_response();
    }
    let fault = shared.choose.lock().unwrap().as_ref().map_or(Fault::None, |choose| choose(&seen));
    match &fault {
        Fault::Answer(status, name, value, text) => {
            return (StatusCode::from_u16(*status).unwrap(), [(*name, *value)], *text).into_response();
        }
        Fault::Silence => std::future::pending().await,
        Fault::Forgotten => {
            shared.kept.lock().unwrap().uploads.clear();
            return StatusCode::NOT_FOUND.into_response();
        }
        _ => {}
    }
    let query = parts.uri.query().unwrap_or_default();
    let told = |name: &str| {
        let pairs = url::form_urlencoded::parse(query.as_bytes()).into_owned();
        pairs.into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
    };
    let rest = path.strip_prefix("/v2/").unwrap_or_default();
    if let Some((repository, which)) = rest.split_once("/manifests/") {
        return manifest(&shared, &parts.method, (repository.to_owned(), which.to_owned()), body).await;
    }
    let Some((repository, which)) = rest.split_once("/blobs/") else { return StatusCode::NOT_FOUND.into_response() };
    let Some(id) = which.strip_prefix("uploads/") else {
        let kept = shared.kept.lock().unwrap();
        return match kept.blobs.get(&(repository.to_owned(), which.to_owned())) {
            Some(blob) => blob.clone().into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        };
    };
    if parts.method == Method::POST {
        let mut kept = shared.kept.lock().unwrap();
        if let (Some(digest), Some(from)) = (told("mount"), told("from"))
            && let Some(blob) = kept.blobs.get(&(from, digest.clone())).cloned()
        {
            kept.blobs.insert((repository.to_owned(), digest), blob);
            return StatusCode::CREATED.into_response();
        }
        kept.n_begun += 1;
        let id = format!("{repository}-{}", kept.n_begun).replace('/', "-");
        kept.uploads.insert(id.clone(), Upload::default());
        drop(kept);
        return accepted(&shared, repository, &id, 0);
    }
    if !id.is_empty() && !shared.kept.lock().unwrap().uploads.contains_key(id) {
        // Another server may have begun it.
        if shared.kept.lock().unwrap().n_begun > 0 {
            return StatusCode::NOT_FOUND.into_response();
        }
        shared.kept.lock().unwrap().uploads.insert(id.to_owned(), Upload::default());
    }
    if !take(&shared, id, &parts.headers, body, &fault).await {
        return StatusCode::RANGE_NOT_SATISFIABLE.into_response();
    }
    if fault == Fault::Unanswered {
        // Ends the handler and with it the connection, without a word.
        std::panic::resume_unwind(Box::new("unanswered"));
    }
    let mut kept = shared.kept.lock().unwrap();
    let Some(n_bytes) = kept.uploads.get(id).map(|upload| upload.bytes.len()) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    if parts.method != Method::PUT {
        drop(kept);
        return accepted(&shared, repository, id, n_bytes);
    }
    let bytes = Bytes::from(kept.uploads.remove(id).unwrap().bytes);
    let expected = told("digest").unwrap();
    if digest(&bytes) != expected {
        let text = r#"{"errors":[{"code":"DIGEST_INVALID","message":"other bytes"}]}"#;
        return (StatusCode::BAD_REQUEST, text).into_response();
    }
    kept.blobs.insert((repository.to_owned(), expected), bytes);
    StatusCode::CREATED.into_response()
}

/// Takes the bytes of a request as they come, also where they end too early; `false` where they do not follow those that
/// are there.
async fn take(shared: &Shared, id: &str, headers: &HeaderMap, body: Body, fault: &Fault) -> bool {
    let first = headers.get(header::CONTENT_RANGE).map(|range| {
        let first = range.to_str().unwrap().split('-').next().unwrap();
        first.parse::<usize>().unwrap()
    });
    let own = {
        let mut kept = shared.kept.lock().unwrap();
        let Some(upload) = kept.uploads.get_mut(id) else { return false };
        if first.is_some_and(|first| first != upload.bytes.len()) {
            return false;
        }
        upload.writer += 1;
        upload.writer
    };
    let mut body = body.into_data_stream();
    while let Some(Ok(bytes)) = body.next().await {
        if let Fault::Slow { bytes_per_second } = fault {
            tokio::time::sleep(Duration::from_secs_f64(bytes.len() as f64 / *bytes_per_second as f64)).await;
        }
        let mut kept = shared.kept.lock().unwrap();
        let Some(upload) = kept.uploads.get_mut(id).filter(|upload| upload.writer == own) else { return false };
        upload.bytes.extend_from_slice(&bytes);
        kept.n_came += bytes.len() as u64;
    }
    true
}

fn accepted(shared: &Shared, repository: &str, id: &str, n_bytes: usize) -> Response {
    let place = format!("{}/v2/{repository}/blobs/uploads/{id}", shared.uploads_at.lock().unwrap());
    let range = format!("0-{}", n_bytes.saturating_sub(1));
    let mut response = (StatusCode::ACCEPTED, [(header::LOCATION, place), (header::RANGE, range)]).into_response();
    if let Some(least) = *shared.least.lock().unwrap() {
        response.headers_mut().insert("oci-chunk-min-length", least.into());
    }
    response
}

async fn manifest(shared: &Shared, method: &Method, key: (String, String), body: Body) -> Response {
    if method == Method::PUT {
        let bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        shared.kept.lock().unwrap().manifests.insert(key, bytes);
        return StatusCode::CREATED.into_response();
    }
    match shared.kept.lock().unwrap().manifests.get(&key) {
        Some(bytes) => bytes.clone().into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

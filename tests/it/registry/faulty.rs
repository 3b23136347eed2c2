//! A registry for the tests: it serves one model, faultily where it is told to, remembers every request and counts what it
//! sends of each blob. The same server is a content network (`/cdn/<ticket>/<digest>`), an issuer of tokens (`/token`) and a
//! host of plain files (`/files/<name>`).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use bytes::Bytes;

use crate::registry::body::{Ending, Peer, Sending};
use crate::registry::package::{MANIFEST, Package};
use crate::registry::servers::{listen, runtime};

/// What goes wrong in the answer to one request.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    None,
    /// The connection ends after some bytes of the body, which its length had promised in whole.
    Cut {
        after: u64,
    },
    /// The same, with a reset.
    Reset {
        after: u64,
    },
    /// Nothing comes any more after some bytes, and the connection stays.
    Stall {
        after: u64,
    },
    /// The request is never answered.
    Silence,
    Slow {
        bytes_per_second: u64,
    },
    /// One byte at a place of the blob is another, wherever the request begins.
    Flip {
        at: u64,
    },
    /// 206 with other bytes than asked for, and a `Content-Range` that says so.
    OtherRange {
        by: u64,
    },
    /// 206 with other bytes than asked for, and a `Content-Range` that denies it.
    OtherBytes {
        by: u64,
    },
    /// 206 that does not say which bytes they are.
    NoContentRange,
    /// 206 with more bytes than asked for.
    MoreBytes {
        by: u64,
    },
    /// 200 with everything, whatever was asked for.
    NoRanges,
    /// A body that never ends.
    Endless,
    /// A length that is not true.
    Length(u64),
    /// `Content-Encoding: gzip` on what is not compressed.
    Encoding,
    /// 200 with a page of HTML, as a hotel's network answers.
    Page,
    Status(u16),
    /// A status with `Retry-After`.
    Later {
        status: u16,
        retry_after: String,
    },
    /// 307 to an address.
    Redirect(String),
    /// 401 with a `WWW-Authenticate` of this wording, or without one.
    Challenge(Option<String>),
}

/// What a request was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Ping,
    Manifest,
    Blob,
    /// A blob, where a registry redirects to.
    Cdn,
    Token,
    File,
    Other,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// How many requests for the same came before.
    pub index: usize,
    pub what: What,
    pub method: Method,
    /// With its query.
    pub path: String,
    /// The digest of the blob it is about.
    pub digest: Option<String>,
    /// First and, where given, last byte asked for.
    pub range: Option<(u64, Option<u64>)>,
    pub authorization: Option<String>,
    /// The entity tag that the file must have.
    pub if_match: Option<String>,
}

/// Whom the registry lets in.
#[derive(Clone, Debug)]
pub enum Access {
    Everybody,
    /// Basic authentication, `user:password`.
    Basic(String),
    /// A bearer's token, of which the realm's address is told; `/token` issues it to `user:password`, or to everybody.
    Bearer {
        realm: String,
        user: Option<String>,
    },
}

type Choose = Box<dyn Fn(&Seen) -> Fault + Send + Sync>;

/// A running server, ended with all its connections when dropped.
pub struct Faulty {
    shared: Arc<Shared>,
    address: SocketAddr,
    runtime: Option<tokio::runtime::Runtime>,
}

struct Shared {
    package: Mutex<Package>,
    files: Mutex<BTreeMap<String, File>>,
    access: Mutex<Access>,
    choose: Mutex<Choose>,
    seen: Mutex<Vec<Seen>>,
    sent: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
}

/// A plain file, and its entity tag where the server tells one.
#[derive(Clone)]
struct File {
    bytes: Bytes,
    tag: Option<String>,
}

/// The token that `/token` issues.
pub const TOKEN: &str = "a-token-of-the-tests";

impl Faulty {
    /// A server without faults, open to everybody.
    pub fn serve(package: &Package) -> Faulty {
        let shared = Arc::new(Shared {
            package: Mutex::new(package.clone()),
            files: Mutex::default(),
            access: Mutex::new(Access::Everybody),
            choose: Mutex::new(Box::new(|_| Fault::None)),
            seen: Mutex::default(),
            sent: Mutex::default(),
        });
        let runtime = runtime();
        let listener = runtime.block_on(async { listen() });
        let address = listener.local_addr().expect("a listening socket has an address");
        let router = axum::Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let service = router.into_make_service_with_connect_info::<Peer>();
        runtime.spawn(async move { axum::serve(listener, service).await });
        Faulty { shared, address, runtime: Some(runtime) }
    }

    /// What is to go wrong from now on, decided for each request.
    pub fn faults(&self, choose: impl Fn(&Seen) -> Fault + Send + Sync + 'static) {
        *self.shared.choose.lock().unwrap() = Box::new(choose);
    }

    /// The same server with faults in the answers to blobs alone.
    pub fn with(self, choose: impl Fn(&Seen) -> Fault + Send + Sync + 'static) -> Faulty {
        self.faults(choose);
        self
    }

    pub fn access(&self, access: Access) {
        *self.shared.access.lock().unwrap() = access;
    }

    /// Puts a plain file there, in place of an earlier one of the name, with an entity tag or without; gives its address.
    pub fn file(&self, name: &str, bytes: impl Into<Bytes>, tag: Option<&str>) -> String {
        let file = File { bytes: bytes.into(), tag: tag.map(ToOwned::to_owned) };
        self.shared.files.lock().unwrap().insert(name.to_owned(), file);
        format!("http://{}/files/{name}", self.address)
    }

    pub fn offer(&self, package: &Package) {
        *self.shared.package.lock().unwrap() = package.clone();
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `127.0.0.1:<port>`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// The name of the one model, `127.0.0.1:<port>/library/m`.
    pub fn model(&self) -> String {
        format!("{}/library/m", self.address)
    }

    /// Where a store keeps the manifest of [`Faulty::model`].
    pub fn place(&self) -> String {
        format!("{}/library/m/latest", self.address)
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    pub fn n_seen(&self, what: What) -> usize {
        self.shared.seen.lock().unwrap().iter().filter(|seen| seen.what == what).count()
    }

    /// The bytes of blobs that were handed to the network since the last [`Faulty::forget`], of all bodies together.
    pub fn n_sent(&self) -> u64 {
        self.shared.sent.lock().unwrap().values().map(|sent| sent.load(Ordering::Relaxed)).sum()
    }

    /// Forgets the requests and the bytes so far.
    pub fn forget(&self) {
        self.shared.seen.lock().unwrap().clear();
        self.shared.sent.lock().unwrap().clear();
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn answer(State(shared): State<Arc<Shared>>, ConnectInfo(peer): ConnectInfo<Peer>, request: Request) -> Response {
    let seen = shared.see(&request);
    let fault = shared.choose.lock().unwrap()(&seen);
    match &fault {
        Fault::Silence => std::future::pending::<()>().await,
        Fault::Status(status) => return status_of(*status).into_response(),
        Fault::Later { status, retry_after } => {
            return (status_of(*status), [(header::RETRY_AFTER, retry_after.clone())]).into_response();
        }
        Fault::Redirect(to) => {
            return (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, to.clone())]).into_response();
        }
        Fault::Challenge(None) => return StatusCode::UNAUTHORIZED.into_response(),
        Fault::Challenge(Some(how)) => return challenge(how),
        Fault::Page => {
            let page = "<html><body>Please accept the terms of this network.</body></html>";
            return ([(header::CONTENT_TYPE, "text/html")], page).into_response();
        }
        _ => {}
    }
    if let Some(refusal) = shared.refusal(&seen) {
        return refusal;
    }
    let mut tag = None;
    let (kind, bytes) = match (seen.what, &seen.digest) {
        (What::Ping, _) => ("application/json", Bytes::from_static(b"{}")),
        (What::Token, _) => (
            "application/json",
            format!("{{\"token\":\"{TOKEN}\",\"access_token\":\"{TOKEN}\",\"expires_in\":300}}").into(),
        ),
        (What::Manifest, _) => {
            let package = shared.package.lock().unwrap();
            // A manifest of a list, by its digest.
            let listed = seen.path.rsplit('/').next().and_then(|reference| package.blobs.get(reference));
            (MANIFEST, listed.unwrap_or(&package.manifest).clone())
        }
        (What::Blob | What::Cdn, Some(digest)) => {
            let Some(blob) = shared.package.lock().unwrap().blobs.get(digest).cloned() else {
                return StatusCode::NOT_FOUND.into_response();
            };
            ("application/octet-stream", blob)
        }
        (What::File, _) => {
            let name = seen.path.trim_start_matches("/files/").to_owned();
            let Some(file) = shared.files.lock().unwrap().get(&name).cloned() else {
                return StatusCode::NOT_FOUND.into_response();
            };
            // A weak tag never matches (RFC 9110, section 13.1.1).
            let is_strong = |tag: &&str| !tag.starts_with("W/");
            if seen.if_match.is_some() && seen.if_match.as_deref() != file.tag.as_deref().filter(is_strong) {
                return StatusCode::PRECONDITION_FAILED.into_response();
            }
            tag = file.tag;
            ("application/octet-stream", file.bytes)
        }
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    let counted = matches!(seen.what, What::Blob | What::Cdn | What::File);
    let key = seen.digest.clone().unwrap_or_else(|| seen.path.clone());
    let sent = if counted { shared.counter(&key) } else { Arc::default() };
    let mut response = body(&seen, &fault, bytes, Sent { counter: sent, peer });
    response.headers_mut().insert(header::CONTENT_TYPE, kind.parse().expect("a media type"));
    if let Some(tag) = tag {
        response.headers_mut().insert(header::ETAG, tag.parse().expect("a tag"));
    }
    response
}

impl Shared {
    fn see(&self, request: &Request) -> Seen {
        let uri = request.uri();
        let path = uri.path_and_query().map_or_else(|| uri.path().to_owned(), ToString::to_string);
        let last = uri.path().rsplit('/').next().unwrap_or_default().to_owned();
        let what = match uri.path() {
            "/v2" | "/v2/" => What::Ping,
            "/token" => What::Token,
            path if path.starts_with("/files/") => What::File,
            path if path.starts_with("/cdn/") => What::Cdn,
            path if path.starts_with("/v2/") && path.contains("/manifests/") => What::Manifest,
            path if path.starts_with("/v2/") && path.contains("/blobs/") => What::Blob,
            _ => What::Other,
        };
        let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).map(ToOwned::to_owned);
        let mut all = self.seen.lock().unwrap();
        let seen = Seen {
            index: all.iter().filter(|seen| seen.what == what).count(),
            what,
            method: request.method().clone(),
            path,
            digest: matches!(what, What::Blob | What::Cdn).then_some(last),
            range: text(header::RANGE).and_then(|range| {
                let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
                Some((first.parse().ok()?, last.parse().ok()))
            }),
            authorization: text(header::AUTHORIZATION),
            if_match: text(header::IF_MATCH),
        };
        all.push(seen.clone());
        seen
    }

    /// The answer to who may not have this.
    fn refusal(&self, seen: &Seen) -> Option<Response> {
        let is_basic = |user: &str| {
            let expected = base64::engine::general_purpose::STANDARD.encode(user);
            seen.authorization.as_deref() == Some(&format!("Basic {expected}"))
        };
        match (&*self.access.lock().unwrap(), seen.what) {
            // Tickets and files are their own permission.
            (Access::Everybody, _) | (_, What::Cdn | What::File) => None,
            (Access::Basic(user), _) => (!is_basic(user)).then(|| challenge("Basic realm=\"tests\"")),
            (Access::Bearer { user: Some(user), .. }, What::Token) => {
                (!is_basic(user)).then(|| StatusCode::UNAUTHORIZED.into_response())
            }
            (Access::Bearer { user: None, .. }, What::Token) => None,
            (Access::Bearer { realm, .. }, _) => {
                let is_let_in = seen.authorization.as_deref() == Some(&format!("Bearer {TOKEN}"));
                let scope = "repository:library/m:pull";
                let how = format!("Bearer realm=\"{realm}\",service=\"tests\",scope=\"{scope}\"");
                (!is_let_in).then(|| challenge(&how))
            }
        }
    }

    fn counter(&self, key: &str) -> Arc<AtomicU64> {
        Arc::clone(self.sent.lock().unwrap().entry(key.to_owned()).or_default())
    }
}

struct Sent {
    counter: Arc<AtomicU64>,
    peer: Peer,
}

/// The answer with a body: whole, or the range that was asked for, as far as the fault lets it.
fn body(seen: &Seen, fault: &Fault, bytes: Bytes, sent: Sent) -> Response {
    let n = bytes.len() as u64;
    let asked = match (seen.range, fault) {
        (Some(range), fault) if *fault != Fault::NoRanges => Some(range),
        _ => None,
    };
    let (mut first, mut end) = match asked {
        Some((first, last)) => (first, last.map_or(n, |last| last.saturating_add(1)).min(n)),
        None => (0, n),
    };
    if first > end || asked.is_some() && first == n {
        return (StatusCode::RANGE_NOT_SATISFIABLE, [(header::CONTENT_RANGE, format!("bytes */{n}"))]).into_response();
    }
    let said = first..end;
    match fault {
        Fault::OtherRange { by } | Fault::OtherBytes { by } => {
            // Earlier bytes where later ones do not exist.
            let by = if end + by <= n { *by as i64 } else { -((*by).min(first) as i64) };
            first = first.saturating_add_signed(by);
            end = end.saturating_add_signed(by);
        }
        Fault::MoreBytes { by } => end = (end + by).min(n),
        _ => {}
    }
    let told = if matches!(fault, Fault::OtherRange { .. } | Fault::MoreBytes { .. }) { first..end } else { said };
    let mut headers = HeaderMap::new();
    let mut put = |name, value: String| headers.insert(name, value.parse().expect("a header of ours"));
    if asked.is_some() && *fault != Fault::NoContentRange {
        put(header::CONTENT_RANGE, format!("bytes {}-{}/{n}", told.start, told.end.saturating_sub(1)));
    }
    put(header::ACCEPT_RANGES, "bytes".to_owned());
    match fault {
        Fault::Endless => {}
        Fault::Length(length) => drop(put(header::CONTENT_LENGTH, length.to_string())),
        _ => drop(put(header::CONTENT_LENGTH, (end - first).to_string())),
    }
    if *fault == Fault::Encoding {
        put(header::CONTENT_ENCODING, "gzip".to_owned());
    }
    let ending = match *fault {
        Fault::Cut { after } => Ending::Cut { at: first + after },
        Fault::Reset { after } => Ending::Reset { at: first + after },
        Fault::Stall { after } => Ending::Stall { at: first + after },
        Fault::Length(_) => Ending::Cut { at: end },
        Fault::Endless => Ending::Never,
        _ => Ending::Whole,
    };
    let pace = if let Fault::Slow { bytes_per_second } = *fault { Some(bytes_per_second) } else { None };
    let flip = if let Fault::Flip { at } = *fault { Some(at) } else { None };
    let sending = Sending { bytes, at: first, end, ending, pace, flip, sent: sent.counter, peer: sent.peer };
    let status = if asked.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let body = if seen.method == Method::HEAD { Body::empty() } else { Body::from_stream(sending.stream()) };
    (status, headers, body).into_response()
}

fn challenge(how: &str) -> Response {
    (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, how.to_owned())]).into_response()
}

fn status_of(code: u16) -> StatusCode {
    StatusCode::from_u16(code).expect("a status")
}

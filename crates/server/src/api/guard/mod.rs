//! Which requests are allowed: checks of `Host`, `Origin`, the API key, and paths that are switched off.
//!
//! A browser on this machine reaches us for any page that it shows. So a request must call us by one of our names, which a
//! page that points its own name at us cannot; and a page of another origin must be one that was allowed.

mod host;
mod key;
mod origin;

pub use host::machine_name;

use super::page;
use super::problem::{Kind, Problem};
use super::server::{Local, Peer};
use axum::extract::{Request, State};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use host::Hosts;
use key::Keys;
use origin::Origins;
use std::net::SocketAddr;
use std::sync::Arc;

/// What was said about who may ask.
#[derive(Debug, Clone, Default)]
pub struct Said<'a> {
    /// Where the server listens.
    pub addresses: &'a [SocketAddr],
    /// Names that people know this server by: of the address to listen at, of the machine.
    pub names: &'a [String],
    /// `SLM_ALLOWED_HOSTS`: more names, separated by commas; `*` is every name.
    pub allowed_hosts: Option<&'a str>,
    /// `SLM_ORIGINS`: origins whose pages may ask, separated by commas, each with at most one `*`.
    pub origins: Option<&'a str>,
    /// `SLM_API_KEY`: keys, separated by commas.
    pub keys: Option<&'a str>,
    pub exposure: Exposure,
    pub management: Management,
}

/// Whether others may reach the server without a key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Exposure {
    #[default]
    WithKey,
    /// `--insecure-bind`.
    Insecure,
}

/// Whether models can be changed over the network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Management {
    #[default]
    On,
    /// `--inference-only`.
    Off,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RulesError {
    #[error(
        "`{address}` can be reached from other machines and no key is set: set SLM_API_KEY to a secret that clients send, \
         or use --insecure-bind to accept everyone"
    )]
    Exposed { address: SocketAddr },
    #[error("SLM_API_KEY contains no key: give one, or several separated by commas")]
    NoKey,
    #[error("`{0}` in SLM_API_KEY is not a key: a key consists of visible ASCII characters")]
    Key(String),
    #[error("`{0}` in SLM_ALLOWED_HOSTS is not a host name: give names as clients write them, or * for every name")]
    Host(String),
    #[error(
        "`{0}` in SLM_ORIGINS is not an origin: give scheme://host[:port], with at most one *, or * for every origin"
    )]
    Origin(String),
}

/// Who may ask, and what.
#[derive(Debug)]
pub struct Rules {
    hosts: Hosts,
    origins: Origins,
    keys: Keys,
    management: Management,
}

/// Who asks, as far as it is known: the key's mark and the machine. In each request's extensions.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Caller(pub String);

impl Caller {
    /// Whose files and batches it may see: the key's mark, the same from every machine; empty where no key is asked for.
    #[must_use]
    pub fn house(&self) -> &str {
        self.0.split_once('@').map_or("", |(mark, _)| mark)
    }
}

impl Rules {
    /// # Errors
    /// A list that cannot be read, or a server open to the network without a key.
    pub fn new(said: &Said<'_>) -> Result<Rules, RulesError> {
        let keys = said.keys.map(Keys::read).transpose()?.unwrap_or_default();
        let exposed = said.addresses.iter().find(|address| !address.ip().to_canonical().is_loopback());
        if let Some(&address) = exposed
            && keys.is_empty()
            && said.exposure == Exposure::WithKey
        {
            return Err(RulesError::Exposed { address });
        }
        Ok(Rules {
            hosts: Hosts::new(said.names, said.allowed_hosts.unwrap_or_default())?,
            origins: Origins::new(said.origins.unwrap_or_default())?,
            keys,
            management: said.management,
        })
    }
}

/// Lets a request through to its handler, or answers it: for `axum::middleware::from_fn_with_state`.
pub async fn guard(State(rules): State<Arc<Rules>>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let answered = match rules.judge(&mut request) {
        Ok(origin) => {
            let mut response = if is_preflight(&request) {
                preflight(request.headers())
            } else {
                match rules.admit(&mut request) {
                    Ok(()) => next.run(request).await,
                    Err(problem) => refused(problem, &path),
                }
            };
            if let Some(origin) = origin {
                let headers = response.headers_mut();
                headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
                headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
                headers.append(header::VARY, HeaderValue::from_static("origin"));
            }
            response
        }
        Err(problem) => refused(problem, &path),
    };
    let mut response = answered;
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Headers of ours that a page of another origin may read.
const EXPOSED: &str = "x-request-id, request-id, retry-after";
const PRIVATE_NETWORK_ASKED: HeaderName = HeaderName::from_static("access-control-request-private-network");
const PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");

/// The answer to a request that is not let through.
fn refused(problem: Problem, path: &str) -> Response {
    tracing::info!(path, "refused: {}", problem.message);
    problem.into_response()
}

impl Rules {
    /// Judges the names: ours, and that of the page that asks. Gives the origin to be named in the answer.
    fn judge(&self, request: &mut Request) -> Result<Option<HeaderValue>, Problem> {
        let local = request.extensions().get::<Local>().cloned().unwrap_or(Local::Unix);
        let (headers, uri) = (request.headers(), request.uri());
        let host = one(headers, &header::HOST)?;
        // A load balancer that asks whether we are alive calls us by what it knows: an address, or nothing.
        if !is_probe(uri.path()) {
            let named = uri.authority().map(axum::http::uri::Authority::as_str);
            self.hosts.judge(host, named, &local).map_err(|error| Problem::new(error.kind(), error.to_string()))?;
        }
        let Some(origin) = one(headers, &header::ORIGIN)? else { return Ok(None) };
        if self.origins.allow(origin, host) {
            // It was a header's value a moment ago.
            return Ok(HeaderValue::from_str(origin).ok());
        }
        let shown: String = origin.chars().take(100).collect();
        let message = format!("pages of `{shown}` may not use this server; to allow them, add it to SLM_ORIGINS");
        Err(Problem::new(Kind::Forbidden, message))
    }

    /// Judges the key and what is asked for, and notes who asks.
    fn admit(&self, request: &mut Request) -> Result<(), Problem> {
        let path = request.uri().path();
        let key = self.keys.of(request.headers());
        // Who may open that socket may also read the key.
        let is_own = request.extensions().get::<Local>() == Some(&Local::Own);
        if key.is_none() && !self.keys.is_empty() && !is_open(path) && !is_own {
            let message =
                "a key is needed: send `Authorization: Bearer KEY` (or `x-api-key: KEY`) with one of SLM_API_KEY";
            return Err(Problem::new(Kind::Unauthorized, message));
        }
        if self.management == Management::Off && is_management(path) {
            let message = format!("`{path}` changes the store, which this server refuses (--inference-only)");
            return Err(Problem::new(Kind::Forbidden, message));
        }
        let machine = match request.extensions().get::<Peer>() {
            Some(Peer::Tcp(address)) => address.ip().to_canonical().to_string(),
            Some(Peer::Unix) | None => "unix".to_owned(),
        };
        let caller = match key {
            Some(mark) => format!("{mark}@{machine}"),
            None => machine,
        };
        request.extensions_mut().insert(Caller(caller));
        Ok(())
    }
}

/// A header's value, if it is there once and is text.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let (first, second) = (values.next(), values.next());
    if second.is_some() {
        return Err(Problem::invalid(format!("the request has more than one `{name}`")));
    }
    let text = first.map(HeaderValue::to_str).transpose();
    text.map_err(|_| Problem::invalid(format!("the request's `{name}` is not ASCII")))
}

fn is_probe(path: &str) -> bool {
    matches!(path, "/health" | "/ready")
}

/// What says nothing of anybody: probes, and the files of the page, which asks for the key itself.
fn is_open(path: &str) -> bool {
    is_probe(path) || path == "/" || path.starts_with("/page/") && path != page::STATUS
}

fn is_management(path: &str) -> bool {
    matches!(path, "/api/pull" | "/api/push" | "/api/create" | "/api/copy" | "/api/delete")
        || path.starts_with("/api/blobs/")
}

fn is_preflight(request: &Request) -> bool {
    let headers = request.headers();
    request.method() == Method::OPTIONS
        && headers.contains_key(header::ORIGIN)
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// What a browser asks before a request that a form could not make. Its origin is allowed: so are its methods and headers.
fn preflight(asked: &HeaderMap) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    let methods = HeaderValue::from_static("GET, HEAD, POST, DELETE");
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    if let Some(names) = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
    if asked.contains_key(PRIVATE_NETWORK_ASKED) {
        headers.insert(PRIVATE_NETWORK, HeaderValue::from_static("true"));
    }
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    headers.append(header::VARY, HeaderValue::from_static("access-control-request-headers"));
    response
}

#[cfg(test)]
mod tests;

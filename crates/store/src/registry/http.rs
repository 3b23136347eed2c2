//! Requests, one hop at a time: each redirect is judged before it is followed, and credentials stay with the server that
//! they were meant for.

use super::address::{self, NamedHosts, is_loopback, is_same_origin};
use super::error::{Forbidden, RegistryError};
use super::payload::Payload;
use super::public::{NotPublic, PublicOnly};
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Client, Method, Response, StatusCode};
use slm_values::causes::innermost;
use std::error::Error;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};
use url::Url;

/// Hugging Face's headers of a file that it keeps elsewhere.
pub(super) const LINKED_SIZE: &str = "x-linked-size";
pub(super) const LINKED_ETAG: &str = "x-linked-etag";
const MAX_REDIRECTS: usize = 5;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_ERROR_BYTES: usize = 4096;
const ERROR_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a manifest or a token may take as a whole.
const WHOLE_TIMEOUT: Duration = Duration::from_secs(120);

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConnectionUse {
    /// Small talk, over HTTP/2 where the server has it.
    Talk,
    /// A blob's bytes, over connections of their own: ranges that share one line gain nothing by being several.
    Data,
    /// Bytes that go up. A server is silent while it takes them, so the silence is judged by who sends them.
    Upload,
}

/// One request.
#[derive(Debug, Clone)]
pub(super) struct HttpRequest<'a> {
    pub method: Method,
    pub url: Url,
    /// The server that a person named: it may be anywhere, what it leads to may not.
    pub home: &'a Url,
    pub lane: ConnectionUse,
    pub headers: HeaderMap,
    /// For the server of `url` alone.
    pub authorization: Option<HeaderValue>,
    pub body: Payload,
}

/// An answer, and where it came from in the end.
#[derive(Debug)]
pub(super) struct HttpResponse {
    pub response: Response,
    pub url: Url,
    /// What the server said on the way of the file that it led to: Hugging Face's size and digest.
    pub linked: HeaderMap,
}

/// The clients: for hosts that a person named, and for those that only a registry named.
#[derive(Debug)]
pub(super) struct Http {
    named: NamedHosts,
    user_agent: String,
    stall: Duration,
    now: fn() -> SystemTime,
    talk: Clients,
    data: Clients,
    upload: Clients,
}

/// Made when they are needed: each reads the system's certificates.
#[derive(Debug, Default)]
struct Clients {
    open: OnceLock<Client>,
    guarded: OnceLock<Client>,
}

/// Whether a person named a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HostTrust {
    Yes,
    /// Then it must be a public one.
    No,
}

impl<'a> HttpRequest<'a> {
    pub(super) fn get(url: Url, home: &'a Url, lane: ConnectionUse) -> HttpRequest<'a> {
        HttpRequest {
            method: Method::GET,
            url,
            home,
            lane,
            headers: HeaderMap::new(),
            authorization: None,
            body: Payload::default(),
        }
    }
}

impl Http {
    /// `stall` is how long a server may be silent.
    pub(super) fn new(named: NamedHosts, user_agent: String, stall: Duration, now: fn() -> SystemTime) -> Http {
        // A second call finds it installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let [talk, data, upload] = [Clients::default(), Clients::default(), Clients::default()];
        Http { named, user_agent, stall, now, talk, data, upload }
    }

    fn client(&self, lane: ConnectionUse, known: HostTrust) -> Result<&Client, RegistryError> {
        let clients = match lane {
            ConnectionUse::Talk => &self.talk,
            ConnectionUse::Data => &self.data,
            ConnectionUse::Upload => &self.upload,
        };
        let client = match known {
            HostTrust::Yes => &clients.open,
            HostTrust::No => &clients.guarded,
        };
        if let Some(made) = client.get() {
            return Ok(made);
        }
        let mut builder = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(&self.user_agent)
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true);
        if lane != ConnectionUse::Upload {
            builder = builder.read_timeout(self.stall);
        }
        if lane != ConnectionUse::Talk {
            builder = builder.http1_only();
        }
        if known == HostTrust::No {
            builder = builder.dns_resolver(PublicOnly { proxies: self.named.proxies.clone() });
        }
        let made = builder.build().map_err(|error| RegistryError::Setup(innermost(&error)))?;
        Ok(client.get_or_init(|| made))
    }

    /// How long a server may be silent.
    pub(super) fn stall(&self) -> Duration {
        self.stall
    }

    pub(super) fn named(&self) -> &NamedHosts {
        &self.named
    }

    /// Sends a request; a GET or HEAD follows redirects. Every status but a redirect is an answer.
    pub(super) async fn send(&self, ask: HttpRequest<'_>) -> Result<HttpResponse, RegistryError> {
        let origin = ask.url.clone();
        let follows = matches!(ask.method, Method::GET | Method::HEAD);
        let mut url = ask.url;
        let mut linked = HeaderMap::new();
        for _ in 0..=MAX_REDIRECTS {
            let client = self.client_for(&url, ask.home, ask.lane)?;
            let mut request = client.request(ask.method.clone(), url.clone()).headers(ask.headers.clone());
            if let Some(authorization) = ask.authorization.clone().filter(|_| is_same_origin(&origin, &url)) {
                request = request.header(AUTHORIZATION, authorization);
            }
            if !follows {
                // Of a stream the library knows no length.
                request = request.header(CONTENT_LENGTH, ask.body.n_bytes()).body(ask.body.body());
            }
            let response = request.send().await.map_err(|error| self.error(&error, &url, ask.home))?;
            if !follows || !response.status().is_redirection() || response.status() == StatusCode::NOT_MODIFIED {
                return Ok(HttpResponse { response, url, linked });
            }
            for name in [LINKED_SIZE, LINKED_ETAG] {
                // The first word is that of the server which a person named.
                if let Some(value) = response.headers().get(name).filter(|_| !linked.contains_key(name)) {
                    linked.insert(name, value.clone());
                }
            }
            url = target(&response, &url)?;
        }
        Err(RegistryError::Redirects { host: host(&origin), limit: MAX_REDIRECTS })
    }

    /// The client for an address, if that may be contacted at all.
    fn client_for(&self, url: &Url, home: &Url, lane: ConnectionUse) -> Result<&Client, RegistryError> {
        let is_home = url.host_str() == home.host_str();
        let to = if url.has_host() { address::authority(url) } else { clip(url.as_str()) };
        let forbidden = |why| RegistryError::Forbidden { from: host(home), to, why };
        match url.scheme() {
            "https" => {}
            "http" if self.named.may_be_plain(url) => {}
            "http" if is_home => return Err(RegistryError::Plain { host: host(url) }),
            "http" => return Err(forbidden(Forbidden::NoTls)),
            _ => return Err(forbidden(Forbidden::NotWeb)),
        }
        // A server on this machine may lead to another one on it.
        let is_known = is_home || self.named.names(url) || is_loopback(home) && is_loopback(url);
        let is_private = address::ip(url).map_or_else(|| is_loopback(url), |ip| !address::is_public(ip));
        if !is_known && is_private {
            return Err(forbidden(Forbidden::NotPublic));
        }
        self.client(lane, if is_known { HostTrust::Yes } else { HostTrust::No })
    }

    /// What a failed request means.
    pub(super) fn error(&self, error: &reqwest::Error, url: &Url, home: &Url) -> RegistryError {
        let mut cause: Option<&(dyn Error + 'static)> = Some(error);
        while let Some(one) = cause {
            if one.is::<NotPublic>() {
                return RegistryError::Forbidden {
                    from: host(home),
                    to: address::authority(url),
                    why: Forbidden::NotPublic,
                };
            }
            cause = one.source();
        }
        let (host, mut reason) = (host(url), innermost(error));
        if reason.contains("InvalidContentType") {
            "it does not support TLS on this port".clone_into(&mut reason);
        }
        if error.is_connect() {
            let is_timeout = error.is_timeout();
            let reason =
                if is_timeout { format!("no answer in {} seconds", CONNECT_TIMEOUT.as_secs()) } else { reason };
            RegistryError::Unreachable { host, reason }
        } else if error.is_timeout() {
            RegistryError::Stalled { host, seconds: self.stall.as_secs() }
        } else {
            RegistryError::Dropped { host, reason }
        }
    }

    /// The error of an answer with an error status, with what the server says about it.
    pub(super) async fn refusal(&self, answer: HttpResponse, what: &str) -> RegistryError {
        let HttpResponse { response, url, .. } = answer;
        let (host, status) = (host(&url), response.status());
        let after = retry_after(response.headers(), self.now);
        // What a server says beside its status is not waited for.
        let text = tokio::time::timeout(ERROR_TIMEOUT, read_some(response, MAX_ERROR_BYTES)).await.unwrap_or_default();
        let text = message_of(&text);
        let code = status.as_u16();
        match code {
            401 => RegistryError::Unauthorized { host, hint: text },
            404 => RegistryError::NotFound { host, what: what.to_owned() },
            429 => RegistryError::Busy { host, status: code, after },
            503 if after.is_some() => RegistryError::Busy { host, status: code, after },
            408 | 500..=599 => RegistryError::Failed { host, status: code, text },
            _ => RegistryError::Refused { host, status: code, text },
        }
    }
}

/// Where a redirect leads.
fn target(response: &Response, from: &Url) -> Result<Url, RegistryError> {
    let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
    let Some(location) = location else {
        return Err(RegistryError::Protocol { host: host(from), what: "a redirect without an address".to_owned() });
    };
    from.join(location).map_err(|_| RegistryError::Address(clip(location)))
}

/// The whole body of an answer, which may have at most `limit` bytes.
pub(super) async fn read_whole(
    http: &Http,
    mut answer: HttpResponse,
    home: &Url,
    limit: u64,
    what: &str,
) -> Result<Vec<u8>, RegistryError> {
    let too_large = || RegistryError::TooLarge { host: host(&answer.url), what: what.to_owned(), limit };
    if answer.response.content_length().is_some_and(|n_bytes| n_bytes > limit) {
        return Err(too_large());
    }
    let started = Instant::now();
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.response.chunk().await.map_err(|error| http.error(&error, &answer.url, home))? {
        if started.elapsed() > WHOLE_TIMEOUT {
            return Err(RegistryError::Stalled { host: host(&answer.url), seconds: WHOLE_TIMEOUT.as_secs() });
        }
        bytes.extend_from_slice(&chunk);
        if bytes.len() as u64 > limit {
            return Err(too_large());
        }
    }
    Ok(bytes)
}

/// As much of a body as comes without trouble.
async fn read_some(mut response: Response, limit: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < limit {
        match response.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            _ => break,
        }
    }
    bytes.truncate(limit);
    bytes
}

/// What a server says about an error: the distribution specification's `errors`, Ollama's and Hugging Face's `error`, or
/// text that is not a web page.
fn message_of(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let json: Option<serde_json::Value> = serde_json::from_str(&text).ok();
    let said = match &json {
        Some(json) => {
            let errors = &json["errors"][0];
            let found = [&errors["message"], &errors["code"], &json["error"], &json["message"], &json["details"]];
            found
                .into_iter()
                .find_map(|value| value.as_str().filter(|text| !text.is_empty()))
                .unwrap_or_default()
                .to_owned()
        }
        None if text.contains('<') => String::new(),
        None => text.into_owned(),
    };
    clip(said.split_whitespace().collect::<Vec<_>>().join(" ").as_str())
}

/// How long a server wants to be left alone: seconds or a date (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap, now: fn() -> SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now()).unwrap_or_default())
}

/// The host of an address, with its port where it is not the usual one, as people write it.
pub(super) fn host(url: &Url) -> String {
    let name = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"))
}

fn clip(text: &str) -> String {
    text.chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_the_server_said() {
        assert_eq!(message_of(br#"{"errors":[{"code":"DENIED","message":"not  yours"}]}"#), "not yours");
        assert_eq!(message_of(br#"{"error":"bad tag"}"#), "bad tag");
        assert_eq!(message_of(b"<html>no</html>"), "");
        assert_eq!(message_of(b"slow down\n"), "slow down");
    }

    #[test]
    fn waits_are_seconds_or_dates() {
        let after = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, value.parse().unwrap());
            retry_after(&headers, || SystemTime::UNIX_EPOCH + Duration::from_secs(1_445_412_470))
        };
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        assert_eq!(after("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::from_secs(10)));
        assert_eq!(after("Wed, 21 Oct 2015 07:27:00 GMT"), Some(Duration::ZERO));
        assert_eq!(after("soon"), None);
    }
}

//! One request and its answer: JSON out, JSON in, everything that can go wrong told apart. Redirects are not followed: a key goes
//! to its own server.

use std::time::{Duration, SystemTime};

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode};
use serde_json::Value;
use slm_values::causes::innermost;
use url::Url;

use crate::error::RemoteError;
use crate::key::Key;
use crate::remote::Remote;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// More than any answer has.
const MAX_BYTES: usize = 16 << 20;
/// Of what a remote says about an error.
const MAX_SAID: usize = 300;

/// A connection to one remote.
#[derive(Debug)]
pub(crate) struct Http {
    client: Client,
    url: Url,
    host: String,
    key: Option<Key>,
    timeout: Duration,
    /// The time of day, for servers that say when by the clock.
    now: fn() -> SystemTime,
}

impl Http {
    /// A connection to the path of the remote's dialect.
    ///
    /// # Errors
    /// [`RemoteError::Setup`].
    pub(crate) fn new(remote: &Remote, key: Option<Key>, now: fn() -> SystemTime) -> Result<Http, RemoteError> {
        // A second call finds it installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .user_agent(concat!("slm/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT.min(remote.timeout))
            .timeout(remote.timeout)
            .tcp_nodelay(true);
        if remote.is_local() {
            builder = builder.no_proxy();
        }
        let setup = |error: reqwest::Error| RemoteError::Setup { host: remote.host(), reason: innermost(&error) };
        let client = builder.build().map_err(setup)?;
        let (url, host, timeout) = (remote.url(remote.dialect.path()), remote.host(), remote.timeout);
        Ok(Http { client, url, host, key, timeout, now })
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Sends a body, and reads the answer's.
    ///
    /// # Errors
    /// As of one try.
    pub(crate) async fn post(&self, body: &[u8]) -> Result<Value, RemoteError> {
        let mut request = self.client.post(self.url.clone()).header(CONTENT_TYPE, "application/json");
        if let Some(key) = &self.key {
            request = request.header(AUTHORIZATION, key.header());
        }
        let mut response = request.body(body.to_vec()).send().await.map_err(|error| self.error(&error))?;
        let status = response.status();
        if !status.is_success() {
            return Err(self.refusal(response).await);
        }
        let bytes = self.whole(&mut response).await?;
        serde_json::from_slice(&bytes).map_err(|_| {
            let beginning: String = String::from_utf8_lossy(&bytes).chars().take(60).collect();
            RemoteError::NotJson { host: self.host.clone(), beginning: self.hidden(&beginning) }
        })
    }

    async fn whole(&self, response: &mut Response) -> Result<Vec<u8>, RemoteError> {
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.error(&error))? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > MAX_BYTES {
                return Err(RemoteError::TooLarge { host: self.host.clone(), limit: MAX_BYTES });
            }
        }
        Ok(bytes)
    }

    /// What an answer with another status than success means.
    async fn refusal(&self, mut response: Response) -> RemoteError {
        let (host, code, n_tries) = (self.host.clone(), response.status(), 1);
        let status = code.as_u16();
        if code.is_redirection() {
            let to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok());
            let to = to.and_then(|to| self.url.join(to).ok()).map_or_else(|| "nowhere".to_owned(), |to| place(&to));
            return RemoteError::Redirected { host, status, to };
        }
        let retry_after = retry_after(response.headers(), (self.now)());
        // What a remote says beside its status is not worth an error of its own.
        let bytes = self.whole(&mut response).await.unwrap_or_default();
        let said = self.hidden(&message(&bytes));
        match status {
            // An account without money is not a matter of time.
            429 if String::from_utf8_lossy(&bytes).contains("insufficient_quota") => {
                RemoteError::Refused { host, status, said }
            }
            429 | 529 => RemoteError::RateLimited { host, status, retry_after, said, n_tries },
            503 if retry_after.is_some() => RemoteError::RateLimited { host, status, retry_after, said, n_tries },
            408 | 409 | 425 | 500.. => RemoteError::Failed { host, status, said, n_tries },
            _ if code == StatusCode::NOT_FOUND && said.is_empty() => {
                let said =
                    format!("there is nothing at `{}`; is a part of `base_url` missing, such as `/v1`?", self.url);
                RemoteError::Refused { host, status, said }
            }
            _ => RemoteError::Refused { host, status, said },
        }
    }

    fn error(&self, error: &reqwest::Error) -> RemoteError {
        let (host, n_tries) = (self.host.clone(), 1);
        let reason = self.hidden(&innermost(error));
        if error.is_connect() {
            RemoteError::Unreachable { host, reason, n_tries }
        } else if error.is_timeout() {
            RemoteError::TimedOut { host, timeout: self.timeout, n_tries }
        } else {
            RemoteError::Cut { host, reason, n_tries }
        }
    }

    fn hidden(&self, said: &str) -> String {
        self.key.as_ref().map_or_else(|| said.to_owned(), |key| key.hidden_in(said))
    }
}

/// An address without what may be secret in it.
fn place(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.into()
}

/// What a remote says about an error: `error.message`, `error`, `detail`, `message`, or text that is not a web page.
fn message(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let json: Option<Value> = serde_json::from_str(&text).ok();
    let said = match &json {
        Some(json) => {
            let places = [&json["error"]["message"], &json["error"], &json["detail"], &json["message"]];
            places.into_iter().find_map(Value::as_str).unwrap_or_default().to_owned()
        }
        None if text.contains('<') => String::new(),
        None => text.into_owned(),
    };
    said.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(MAX_SAID).collect()
}

/// How long a remote wants to be left alone: seconds, which some give as a fraction, or a date (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_seconds_or_dates() {
        let after = |value: &str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]);
            retry_after(&headers, SystemTime::UNIX_EPOCH + Duration::from_secs(1_445_412_470))
        };
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        assert_eq!(after("0.25"), Some(Duration::from_millis(250)));
        assert_eq!(after("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::from_secs(10)));
        assert_eq!(after("Wed, 21 Oct 2015 07:27:00 GMT"), Some(Duration::ZERO));
        for wrong in ["soon", "-1", "nan", "1e300"] {
            assert_eq!(after(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn errors_say_what_the_remote_said() {
        assert_eq!(message(br#"{"error": {"message": "no  such\nmodel", "code": 1}}"#), "no such model");
        assert_eq!(message(br#"{"error": "busy"}"#), "busy");
        assert_eq!(message(br#"{"detail": "wrong"}"#), "wrong");
        assert_eq!(message(b"<html>gateway</html>"), "");
        assert_eq!(message(b"slow down\n"), "slow down");
        assert_eq!(message("x".repeat(1000).as_bytes()).len(), MAX_SAID);
    }

    #[test]
    fn an_address_is_shown_without_secrets() {
        assert_eq!(place(&Url::parse("https://a:b@c.example/d?key=x#y").unwrap()), "https://c.example/d");
    }
}

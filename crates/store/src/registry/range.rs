//! Downloads of byte ranges: exactly the requested bytes, or an error.

use super::address::is_same_origin;
use super::error::RegistryError;
use super::http::{ConnectionUse, HttpRequest, HttpResponse, host};
use super::{Access, Registry, Remote, RemoteKind, header};
use bytes::Bytes;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_RANGE, ETAG, HeaderValue, IF_MATCH, RANGE};
use std::ops::Range;
use std::time::{Duration, Instant};
use url::Url;

/// A server that brings less than this in [`SLOW_WINDOW`] stands still for us.
const SLOW_BYTES: u64 = 16 << 10;
const SLOW_WINDOW: Duration = Duration::from_secs(30);

/// The bytes of a range as they come.
#[derive(Debug)]
pub struct Body<'r> {
    registry: &'r Registry,
    answer: HttpResponse,
    home: Url,
    /// Bytes before the range that the server sends although nobody asked.
    skip: u64,
    /// Bytes of the range that are still to come.
    left: u64,
    window: (Instant, u64),
}

impl Registry {
    /// Begins to download a range of bytes. A server that knows no ranges sends everything, of which the rest is skipped.
    ///
    /// # Errors
    /// [`RegistryError`]; where an address that a registry led to no longer holds, the next call asks the registry again.
    pub async fn open<'r>(
        &'r self,
        remote: &Remote,
        range: Range<u64>,
        version: Option<&str>,
    ) -> Result<Body<'r>, RegistryError> {
        let home = remote.home();
        let resolved = remote.resolved();
        let url = resolved.clone().unwrap_or_else(|| home.clone());
        let mut ask = HttpRequest::get(url, &home, ConnectionUse::Data);
        let asked = format!("bytes={}-{}", range.start, range.end - 1);
        ask.headers.insert(RANGE, HeaderValue::from_str(&asked).expect("numbers are plain text"));
        if let Some(version) = version.and_then(|version| HeaderValue::from_str(version).ok()) {
            ask.headers.insert(IF_MATCH, version);
        }
        let answer = match self.ask_for(remote, resolved.is_some(), ask).await {
            Ok(answer) => answer,
            Err(error) => {
                remote.resolve_to(None);
                return Err(error);
            }
        };
        if !matches!(answer.response.status(), StatusCode::PARTIAL_CONTENT | StatusCode::OK) {
            if resolved.is_some() {
                remote.resolve_to(None);
            }
            return Err(self.no_range(answer, &home, &range, resolved.is_some(), version).await);
        }
        // Within the registry's own server every request needs its credentials.
        if !is_same_origin(&answer.url, &home) {
            remote.resolve_to(Some(answer.url.clone()));
        }
        let given = header(answer.response.headers(), ETAG.as_str());
        if version.zip(given).is_some_and(|(wanted, given)| wanted != given) {
            return Err(changed(&home));
        }
        let (skip, end) = given_range(&answer, &range, remote.n_bytes())?;
        Ok(Body { registry: self, answer, home, skip, left: end - range.start, window: (Instant::now(), 0) })
    }

    /// Sends a request to where the bytes are known to be, or to the server that a person named, with credentials.
    async fn ask_for(
        &self,
        remote: &Remote,
        is_resolved: bool,
        ask: HttpRequest<'_>,
    ) -> Result<HttpResponse, RegistryError> {
        match (is_resolved, &remote.kind) {
            (false, RemoteKind::Blob { repository, .. }) => {
                self.authorizer.send(&self.http, repository, Access::Pull, ask).await
            }
            (false, RemoteKind::File(url)) => {
                let is_hugging_face = self.is_hugging_face(url);
                let repository = super::Repository { base: url.clone(), path: String::new(), is_hugging_face };
                self.authorizer.send(&self.http, &repository, Access::Pull, ask).await
            }
            (true, _) => self.http.send(ask).await,
        }
    }

    /// The error of an answer without the bytes.
    async fn no_range(
        &self,
        answer: HttpResponse,
        home: &Url,
        range: &Range<u64>,
        is_resolved: bool,
        version: Option<&str>,
    ) -> RegistryError {
        let status = answer.response.status();
        if status == StatusCode::PRECONDITION_FAILED && version.is_some() {
            return changed(home);
        }
        if status == StatusCode::RANGE_NOT_SATISFIABLE {
            return wrong_range(&answer.url, range, "");
        }
        let refusal = self.http.refusal(answer, home.path()).await;
        // Signed addresses hold for minutes; what they say when they end differs from server to server.
        match is_resolved && status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS {
            true => RegistryError::Expired { host: host(home), source: Box::new(refusal) },
            false => refusal,
        }
    }
}

/// How many bytes of an answer to skip, and where the range ends that it gives.
fn given_range(answer: &HttpResponse, range: &Range<u64>, n_bytes: u64) -> Result<(u64, u64), RegistryError> {
    if answer.response.status() == StatusCode::PARTIAL_CONTENT {
        let given = header(answer.response.headers(), CONTENT_RANGE.as_str()).unwrap_or_default();
        let end = end_of(given, range, n_bytes).ok_or_else(|| wrong_range(&answer.url, range, given))?;
        return Ok((0, end));
    }
    match answer.response.content_length() {
        Some(given) if given != n_bytes => {
            Err(wrong_range(&answer.url, range, &format!("0-{}", given.saturating_sub(1))))
        }
        _ => Ok((range.start, range.end)),
    }
}

fn changed(home: &Url) -> RegistryError {
    RegistryError::Changed { host: host(home), what: home.path().to_owned() }
}

impl Body<'_> {
    /// Whether the server knows ranges: one that does not cannot be asked for several at once.
    #[must_use]
    pub fn is_range(&self) -> bool {
        self.answer.response.status() == StatusCode::PARTIAL_CONTENT
    }

    /// The error of a server that gave less than was asked for.
    #[must_use]
    pub fn too_short(&self) -> RegistryError {
        RegistryError::Dropped {
            host: host(&self.answer.url),
            reason: "it sends only a few bytes at a time".to_owned(),
        }
    }

    /// Reads on to the end of a longer range, where the server sends everything.
    pub fn extend_to(&mut self, range: Range<u64>) {
        self.left = range.end - range.start;
    }

    /// More bytes of the range; `None` at its end.
    ///
    /// # Errors
    /// [`RegistryError`], where the line broke or the server stands still before the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
        while self.left > 0 {
            let chunk = self.answer.response.chunk().await;
            let chunk = chunk.map_err(|error| self.registry.http.error(&error, &self.answer.url, &self.home))?;
            let Some(mut chunk) = chunk else {
                let reason = format!("it ended {} bytes too early", self.left);
                return Err(RegistryError::Dropped { host: host(&self.answer.url), reason });
            };
            self.watch(chunk.len() as u64)?;
            let skipped = usize::try_from(self.skip).map_or(chunk.len(), |skip| skip.min(chunk.len()));
            self.skip -= skipped as u64;
            let _ = chunk.split_to(skipped);
            chunk.truncate(usize::try_from(self.left).map_or(chunk.len(), |left| left.min(chunk.len())));
            if !chunk.is_empty() {
                self.left -= chunk.len() as u64;
                return Ok(Some(chunk));
            }
        }
        Ok(None)
    }

    /// Ends with a server that sends a byte now and then.
    fn watch(&mut self, n_bytes: u64) -> Result<(), RegistryError> {
        let (began, came) = &mut self.window;
        *came += n_bytes;
        if began.elapsed() < SLOW_WINDOW {
            return Ok(());
        }
        let is_slow = *came < SLOW_BYTES;
        self.window = (Instant::now(), 0);
        if is_slow {
            return Err(RegistryError::Stalled { host: host(&self.answer.url), seconds: SLOW_WINDOW.as_secs() });
        }
        Ok(())
    }
}

/// The end of `Content-Range: bytes first-last/total` where that is the range that was asked for, or its beginning: a
/// server may give less (RFC 9110, section 15.3.7).
fn end_of(given: &str, asked: &Range<u64>, n_bytes: u64) -> Option<u64> {
    let (range, total) = given.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    let is_total = total.trim() == "*" || total.trim().parse() == Ok(n_bytes);
    (first == asked.start && (first..asked.end).contains(&last) && is_total).then_some(last + 1)
}

fn wrong_range(url: &Url, asked: &Range<u64>, got: &str) -> RegistryError {
    let got = match got.trim_start_matches("bytes ").trim() {
        "" => "no bytes that it names".to_owned(),
        got => format!("the bytes {}", got.chars().take(100).collect::<String>()),
    };
    RegistryError::WrongRange { host: host(url), asked: format!("{}-{}", asked.start, asked.end - 1), got }
}

#[cfg(test)]
mod tests {
    use super::end_of;

    #[test]
    fn a_range_is_the_one_that_was_asked_for() {
        let end = |given| end_of(given, &(10..20), 100);
        assert_eq!(
            [end("bytes 10-19/100"), end("bytes 10-19/*"), end("bytes 10-12/100")],
            [Some(20), Some(20), Some(13)]
        );
        for given in [
            "",
            "bytes 0-9/100",
            "bytes 10-20/100",
            "bytes 11-19/100",
            "bytes 10-19/99",
            "10-19/100",
            "bytes 19-10/100",
            "bytes */100",
        ] {
            assert_eq!(end(given), None, "{given}");
        }
    }
}

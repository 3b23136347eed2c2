//! Blobs and manifests on their way to a registry: what is there already, what another repository has, and the rest in
//! parts, one after the other.
//!
//! The address of an upload is the registry's to choose. Credentials go there only if it is the registry's own server, or
//! one that a person named.

use super::address::is_same_origin;
use super::error::RegistryError;
use super::http::{ConnectionUse, HttpRequest, HttpResponse, host};
use super::payload::Payload;
use super::{Access, CONTENT_DIGEST, Registry, Repository, header};
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RANGE};
use reqwest::{Method, StatusCode};
use slm_values::digest::Digest;
use std::ops::Range;
use std::pin::pin;
use std::time::{Duration, Instant};
use url::Url;

/// How often whoever sends is told how far it is.
const TICK: Duration = Duration::from_millis(100);
/// How much longer than in the middle of a line a registry may be silent about bytes that it has: about a part, which it
/// writes down, and about a whole blob, which some hash then, or carry to another place.
const THOUGHT_ON_PART: u32 = 4;
const THOUGHT_ON_BLOB: u32 = 40;
/// A part that a registry wants to be larger than this cannot be one.
const MAX_PART_BYTES: u64 = 1 << 30;

/// An upload that a registry has begun for us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadSession {
    location: Url,
    /// The least bytes of a part that is not the last.
    min_part_bytes: u64,
}

/// What became of the wish to have a blob of another repository here too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mount {
    Done,
    /// It is to be uploaded after all; this is begun.
    Refused(UploadSession),
}

impl UploadSession {
    /// A session that was begun earlier, by its address.
    #[must_use]
    pub fn at(location: &str) -> Option<UploadSession> {
        Some(UploadSession { location: location.parse().ok()?, min_part_bytes: 0 })
    }

    #[must_use]
    pub fn location(&self) -> &str {
        self.location.as_str()
    }

    #[must_use]
    pub fn min_part_bytes(&self) -> u64 {
        self.min_part_bytes
    }

    /// What an answer says of the session: the latest address counts.
    fn follow(&mut self, from: &Url, repository: &Repository, headers: &HeaderMap) -> Result<(), RegistryError> {
        if let Some(location) = header(headers, LOCATION.as_str()) {
            let refused = || RegistryError::Address(location.chars().take(300).collect());
            let mut location = from.join(location).map_err(|_| refused())?;
            let is_its_own = location.host_str() == repository.base.host_str() && location.port().is_none();
            if is_its_own && location.scheme() == "http" && repository.base.scheme() == "https" {
                // A registry behind a proxy that ends TLS does not know how it is spoken to.
                location.set_scheme("https").map_err(|()| refused())?;
            }
            self.location = location;
        }
        if let Some(least) = header(headers, "oci-chunk-min-length").and_then(|least| least.parse().ok()) {
            self.min_part_bytes = least;
        }
        if self.min_part_bytes > MAX_PART_BYTES {
            let what = format!("a minimum part size of {} bytes", self.min_part_bytes);
            return Err(RegistryError::Protocol { host: host(from), what });
        }
        Ok(())
    }
}

impl Repository {
    /// Another repository of the same server.
    #[must_use]
    pub fn beside(&self, path: String) -> Repository {
        Repository { path, ..self.clone() }
    }

    /// `namespace/model`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    fn uploads(&self) -> Url {
        self.url("blobs/uploads", "")
    }
}

impl Registry {
    /// Whether a repository has a blob. `access` is what is to be done there next, so that one token serves for both.
    ///
    /// # Errors
    /// [`RegistryError`], where that cannot be told.
    pub async fn has_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        n_bytes: u64,
        access: Access,
    ) -> Result<bool, RegistryError> {
        let url = repository.url("blobs", &digest.to_string());
        let mut ask = HttpRequest::get(url, &repository.base, ConnectionUse::Talk);
        ask.method = Method::HEAD;
        let answer = self.authorizer.send(&self.http, repository, access, ask).await?;
        match answer.response.status() {
            StatusCode::OK => {
                let told = header(answer.response.headers(), CONTENT_LENGTH.as_str()).and_then(|n| n.parse().ok());
                Ok(told.is_none_or(|told: u64| told == n_bytes))
            }
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(self.push_refusal(repository, answer).await),
        }
    }

    /// Begins an upload.
    ///
    /// # Errors
    /// [`RegistryError`], where the registry takes none here.
    pub async fn begin_upload(&self, repository: &Repository) -> Result<UploadSession, RegistryError> {
        let answer = self.post(repository, repository.uploads()).await?;
        match answer.response.status() {
            StatusCode::ACCEPTED => session(repository, &answer),
            _ => Err(self.push_refusal(repository, answer).await),
        }
    }

    /// Asks for a blob that another repository of the server has.
    ///
    /// # Errors
    /// [`RegistryError`], where the registry does not answer as one should.
    pub async fn mount(
        &self,
        repository: &Repository,
        digest: &Digest,
        from: &Repository,
    ) -> Result<Mount, RegistryError> {
        let mut url = repository.uploads();
        url.query_pairs_mut().append_pair("mount", &digest.to_string()).append_pair("from", &from.path);
        let answer = self.post(repository, url).await?;
        match answer.response.status() {
            StatusCode::CREATED => Ok(Mount::Done),
            StatusCode::ACCEPTED => session(repository, &answer).map(Mount::Refused),
            _ => Err(self.push_refusal(repository, answer).await),
        }
    }

    /// How many bytes of an upload the registry has; 0 also where it says `0-0`, which some say of nothing.
    ///
    /// # Errors
    /// [`RegistryError::UploadLost`], where it no longer knows the upload.
    pub async fn uploaded_bytes(
        &self,
        repository: &Repository,
        upload: &mut UploadSession,
    ) -> Result<u64, RegistryError> {
        let ask = HttpRequest::get(upload.location.clone(), &repository.base, ConnectionUse::Talk);
        let answer = self.to_session(repository, ask).await?;
        match answer.response.status().as_u16() {
            200 | 202 | 204 => {
                upload.follow(&answer.url, repository, answer.response.headers())?;
                let end = header(answer.response.headers(), RANGE.as_str()).map_or(Some(0), end_of);
                let what = "a range of an upload".to_owned();
                end.ok_or(RegistryError::Protocol { host: host(&answer.url), what })
            }
            401 | 403 | 408 | 429 | 500.. => Err(self.push_refusal(repository, answer).await),
            _ => Err(RegistryError::UploadLost { host: repository.host() }),
        }
    }

    /// Sends the bytes of a range, which follows those that the registry has; gives the end of what it has then. `sent`
    /// is told how many bytes of the range the line has taken.
    ///
    /// # Errors
    /// [`RegistryError::NoParts`], where the registry does not take it; whether it takes none at all or only this one not
    /// is for the caller to know.
    pub async fn upload_part(
        &self,
        repository: &Repository,
        upload: &mut UploadSession,
        range: Range<u64>,
        bytes: Payload,
        sent: &dyn Fn(u64),
    ) -> Result<u64, RegistryError> {
        let mut ask = with_bytes(Method::PATCH, upload.location.clone(), repository, bytes);
        let said = format!("{}-{}", range.start, range.end - 1);
        ask.headers.insert(CONTENT_RANGE, HeaderValue::from_str(&said).expect("numbers are plain text"));
        let answer = self.send_bytes(repository, ask, THOUGHT_ON_PART, sent).await?;
        match answer.response.status().as_u16() {
            200..=204 => {
                upload.follow(&answer.url, repository, answer.response.headers())?;
                let end = header(answer.response.headers(), RANGE.as_str()).map_or(Some(range.end), end_of);
                let what = "a range of an upload that nobody sent".to_owned();
                end.filter(|end| *end <= range.end).ok_or(RegistryError::Protocol { host: host(&answer.url), what })
            }
            400 | 404 | 405 | 411 | 413 | 415 | 416 | 501 => {
                Err(RegistryError::NoParts { host: host(&answer.url), status: answer.response.status().as_u16() })
            }
            _ => Err(self.push_refusal(repository, answer).await),
        }
    }

    /// Ends an upload with its last bytes, if there are any left: from then on the repository has the blob.
    ///
    /// # Errors
    /// [`RegistryError::OtherBlob`] where the registry found other bytes than those of the digest,
    /// [`RegistryError::UploadLost`] where it no longer knows the upload.
    pub async fn finish_upload(
        &self,
        repository: &Repository,
        upload: &UploadSession,
        digest: &Digest,
        bytes: Payload,
        sent: &dyn Fn(u64),
    ) -> Result<(), RegistryError> {
        let mut url = upload.location.clone();
        url.query_pairs_mut().append_pair("digest", &digest.to_string());
        let ask = with_bytes(Method::PUT, url, repository, bytes);
        let answer = self.send_bytes(repository, ask, THOUGHT_ON_BLOB, sent).await?;
        match answer.response.status().as_u16() {
            200..=204 => Ok(()),
            404 | 416 => Err(RegistryError::UploadLost { host: repository.host() }),
            400 => {
                let text = match self.push_refusal(repository, answer).await {
                    RegistryError::Refused { text, .. } => text,
                    error => return Err(error),
                };
                Err(RegistryError::OtherBlob { host: repository.host(), digest: digest.short(), text })
            }
            _ => Err(self.push_refusal(repository, answer).await),
        }
    }

    /// Gives a tag, or its own digest, the manifest of these bytes, whose blobs the repository has.
    ///
    /// # Errors
    /// [`RegistryError`], where the registry refuses it or understands other bytes.
    pub async fn put_manifest(
        &self,
        repository: &Repository,
        tag_or_digest: &str,
        media_type: &str,
        json: &[u8],
    ) -> Result<(), RegistryError> {
        let mut ask =
            HttpRequest::get(repository.url("manifests", tag_or_digest), &repository.base, ConnectionUse::Talk);
        ask.method = Method::PUT;
        let wrong_type = |_| RegistryError::Address(media_type.chars().take(100).collect());
        ask.headers.insert(CONTENT_TYPE, HeaderValue::from_str(media_type).map_err(wrong_type)?);
        ask.body = json.to_vec().into();
        let answer = self.authorizer.send(&self.http, repository, Access::Push, ask).await?;
        if !answer.response.status().is_success() {
            return Err(self.push_refusal(repository, answer).await);
        }
        let told = header(answer.response.headers(), CONTENT_DIGEST).and_then(|told| told.parse::<Digest>().ok());
        let expected = Digest::of(json);
        match told.filter(|told| *told != expected) {
            Some(found) => Err(RegistryError::OtherManifest {
                host: repository.host(),
                expected: expected.to_string(),
                found: found.to_string(),
            }),
            None => Ok(()),
        }
    }

    async fn post(&self, repository: &Repository, url: Url) -> Result<HttpResponse, RegistryError> {
        let mut ask = HttpRequest::get(url, &repository.base, ConnectionUse::Talk);
        ask.method = Method::POST;
        self.authorizer.send(&self.http, repository, Access::Push, ask).await
    }

    /// Sends to the address of an upload, with credentials where these may go there.
    async fn to_session(&self, repository: &Repository, ask: HttpRequest<'_>) -> Result<HttpResponse, RegistryError> {
        if is_same_origin(&ask.url, &repository.base) || self.http.named().allows(&ask.url) {
            self.authorizer.send(&self.http, repository, Access::Push, ask).await
        } else {
            self.http.send(ask).await
        }
    }

    /// Sends many bytes, and looks every now and then whether they move.
    async fn send_bytes(
        &self,
        repository: &Repository,
        ask: HttpRequest<'_>,
        thought: u32,
        sent: &dyn Fn(u64),
    ) -> Result<HttpResponse, RegistryError> {
        let bytes = ask.body.clone();
        let to = host(&ask.url);
        let mut answer = pin!(self.to_session(repository, ask));
        let (mut since, mut before) = (Instant::now(), 0);
        loop {
            let outcome = tokio::time::timeout(TICK, &mut answer).await;
            let now = bytes.sent_bytes();
            if now != before {
                (since, before) = (Instant::now(), now);
                sent(now);
            }
            if let Ok(outcome) = outcome {
                return outcome;
            }
            let stall = self.http.stall();
            let patience = if now < bytes.n_bytes() { stall } else { stall * thought };
            if since.elapsed() > patience {
                return Err(RegistryError::Stalled { host: to, seconds: patience.as_secs() });
            }
        }
    }

    async fn push_refusal(&self, repository: &Repository, answer: HttpResponse) -> RegistryError {
        let path = repository.path.clone();
        match self.http.refusal(answer, &path).await {
            RegistryError::NotFound { host, .. } => {
                RegistryError::Denied { host, path, text: "it has no such place".to_owned() }
            }
            RegistryError::Refused { host, status: 403, text } => RegistryError::Denied { host, path, text },
            RegistryError::Unauthorized { host, hint } => RegistryError::Denied { host, path, text: hint },
            error => error,
        }
    }
}

fn session(repository: &Repository, answer: &HttpResponse) -> Result<UploadSession, RegistryError> {
    let headers = answer.response.headers();
    if header(headers, LOCATION.as_str()).is_none() {
        let what = "an upload without an address".to_owned();
        return Err(RegistryError::Protocol { host: host(&answer.url), what });
    }
    let mut session = UploadSession { location: answer.url.clone(), min_part_bytes: 0 };
    session.follow(&answer.url, repository, headers)?;
    Ok(session)
}

fn with_bytes(method: Method, url: Url, repository: &Repository, bytes: Payload) -> HttpRequest<'_> {
    let mut ask = HttpRequest::get(url, &repository.base, ConnectionUse::Upload);
    ask.method = method;
    ask.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    ask.body = bytes;
    ask
}

/// The bytes that `[bytes=]0-<last>` tells of. Registries say `0-0` of nothing too; that it may be one byte is no loss.
fn end_of(range: &str) -> Option<u64> {
    let range = range.trim().trim_start_matches("bytes").trim_start_matches(['=', ' ']);
    let (first, last) = range.split_once('-')?;
    let last: i128 = last.trim().parse().ok()?;
    match (first.trim(), last) {
        ("0", -1 | 0) => Some(0),
        ("0", last) => u64::try_from(last).ok()?.checked_add(1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_told_in_several_ways() {
        assert_eq!([end_of("0-999"), end_of("bytes=0-999"), end_of("bytes 0-999")], [Some(1000); 3]);
        assert_eq!([end_of("0-0"), end_of("0--1")], [Some(0); 2]);
        for wrong in ["", "0", "5-9", "0-x", "0-18446744073709551615", "-"] {
            assert_eq!(end_of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_session_follows_the_latest_address() {
        let base: Url = "https://registry.example.com/".parse().unwrap();
        let repository = Repository::new(base.clone(), "a/b".to_owned());
        assert_eq!(repository.uploads().as_str(), "https://registry.example.com/v2/a/b/blobs/uploads/");
        let mut session = UploadSession::at("https://registry.example.com/v2/a/b/blobs/uploads/1").unwrap();
        let mut follow = |location: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(LOCATION, location.parse().unwrap());
            let from = session.location.clone();
            session.follow(&from, &repository, &headers).map(|()| session.location().to_owned())
        };
        assert_eq!(follow("/v2/a/b/2?x=1").unwrap(), "https://registry.example.com/v2/a/b/2?x=1");
        assert_eq!(follow("http://registry.example.com/3").unwrap(), "https://registry.example.com/3");
        assert_eq!(follow("https://other.example.com/4").unwrap(), "https://other.example.com/4");
        assert!(follow("http://[").is_err());
    }
}

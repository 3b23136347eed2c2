//! Registries over the network, by the OCI distribution protocol as Docker's, Ollama's and Hugging Face's speak it, and
//! files on web servers. It knows no disk of ours and no model.
//!
//! Everything that comes is hostile: sizes are bounded before bytes are kept, ranges are those that were asked for,
//! redirects are judged hop by hop ([`address`]), and credentials stay with the server that they are for.
//!
//! Protocol: the distribution specification of the Open Container Initiative, version 1.1.

pub mod address;
mod auth;
mod challenge;
mod credentials;
mod error;
mod http;
mod payload;
mod public;
mod range;
mod upload;

pub use address::NamedHosts;
pub use credentials::{CredentialSources, Held, Secret};
pub use error::{Forbidden, RegistryError, Remedy};
pub use payload::{Payload, Pieces};
pub use range::Body;
pub use upload::{Mount, UploadSession};

use auth::Authorizer;
use http::{ConnectionUse, Http, HttpRequest, HttpResponse, LINKED_ETAG, LINKED_SIZE, host, read_whole};
use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, HeaderValue, LAST_MODIFIED, RANGE};
use reqwest::{Method, StatusCode};
use slm_values::digest::Digest;
use slm_values::manifest::{MAX_MANIFEST_BYTES, media_type};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use url::Url;

/// The most bytes of a list of a repository's files.
const MAX_LISTING_BYTES: u64 = 8 << 20;
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// A list of manifests, which some tools make of a single one too.
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The header in which a registry names the digest of a manifest.
const CONTENT_DIGEST: &str = "docker-content-digest";

/// How registries are spoken to.
#[derive(Debug, Clone)]
pub struct Settings {
    pub named: NamedHosts,
    pub keeping: CredentialSources,
    pub user_agent: String,
    /// How long a server may send nothing.
    pub stall: Duration,
    /// Hugging Face, or what stands for it: where its token may go.
    pub hugging_face: Url,
    /// The time of day, by which servers' dates are judged and requests are signed.
    pub now: fn() -> SystemTime,
}

/// A client of registries.
#[derive(Debug)]
pub struct Registry {
    http: Http,
    authorizer: Authorizer,
    hugging_face: Url,
}

/// A repository on a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// Scheme, host and port; no path.
    base: Url,
    /// `namespace/model`.
    path: String,
    is_hugging_face: bool,
}

/// What a request to a repository does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Pull,
    Push,
}

/// Something with bytes on a server.
#[derive(Debug)]
pub struct Remote {
    kind: RemoteKind,
    n_bytes: u64,
    /// Where the server led to last; asked again once that no longer holds.
    resolved: Mutex<Option<Url>>,
}

#[derive(Debug)]
enum RemoteKind {
    Blob { repository: Repository, digest: Digest },
    File(Url),
}

/// What a web server says of a file before it is downloaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileInfo {
    pub n_bytes: u64,
    /// The SHA-256 where the server tells it (Hugging Face's `X-Linked-Etag`).
    pub digest: Option<Digest>,
    /// What tells this version of the file from others, byte for byte: its strong entity tag.
    pub version: Option<String>,
    /// What tells it to people: any entity tag, or when it was changed.
    pub stamp: Option<String>,
}

impl Access {
    fn actions(self) -> &'static str {
        match self {
            Access::Pull => "pull",
            Access::Push => "pull,push",
        }
    }
}

impl Repository {
    /// The repository of `namespace/model` under a base address, `https://host[:port]`.
    #[must_use]
    pub fn new(base: Url, path: String) -> Repository {
        Repository { base, path, is_hugging_face: false }
    }

    /// A repository of Hugging Face's, whose token counts there.
    #[must_use]
    pub fn of_hugging_face(base: Url, path: String) -> Repository {
        Repository { base, path, is_hugging_face: true }
    }

    /// The host, with its port where it is not the usual one.
    #[must_use]
    pub fn host(&self) -> String {
        host(&self.base)
    }

    #[must_use]
    pub fn is_hugging_face(&self) -> bool {
        self.is_hugging_face
    }

    /// The address of a file on the main branch of a repository of Hugging Face's.
    #[must_use]
    pub fn hugging_face_file(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("/{}/resolve/main/{path}", self.path));
        url
    }

    fn is_ollama(&self) -> bool {
        self.base.host_str().is_some_and(|host| host == "registry.ollama.ai" || host == "ollama.com")
    }

    fn scope(&self, access: Access) -> String {
        format!("repository:{}:{}", self.path, access.actions())
    }

    /// `/v2/<path>/<what>/<which>`.
    fn url(&self, what: &str, which: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("/v2/{}/{what}/{which}", self.path));
        url
    }
}

impl Remote {
    #[must_use]
    pub fn blob(repository: Repository, digest: Digest, n_bytes: u64) -> Remote {
        Remote { kind: RemoteKind::Blob { repository, digest }, n_bytes, resolved: Mutex::default() }
    }

    #[must_use]
    pub fn file(url: Url, n_bytes: u64) -> Remote {
        Remote { kind: RemoteKind::File(url), n_bytes, resolved: Mutex::default() }
    }

    #[must_use]
    pub fn n_bytes(&self) -> u64 {
        self.n_bytes
    }

    /// The address that a person named.
    fn home(&self) -> Url {
        match &self.kind {
            RemoteKind::Blob { repository, digest } => repository.url("blobs", &digest.to_string()),
            RemoteKind::File(url) => url.clone(),
        }
    }

    fn resolved(&self) -> Option<Url> {
        self.resolved.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn resolve_to(&self, url: Option<Url>) {
        *self.resolved.lock().unwrap_or_else(PoisonError::into_inner) = url;
    }
}

impl Registry {
    /// Contacts nobody yet.
    #[must_use]
    pub fn new(settings: Settings) -> Registry {
        let Settings { named, keeping, user_agent, stall, hugging_face, now } = settings;
        let http = Http::new(named, user_agent, stall, now);
        Registry { http, authorizer: Authorizer::new(keeping, now), hugging_face }
    }

    /// The bytes of a manifest by its tag or digest, which they have where one is given.
    ///
    /// # Errors
    /// [`RegistryError`], where the registry has none, refuses, or sends other bytes.
    pub async fn manifest(
        &self,
        repository: &Repository,
        tag_or_digest: &str,
        pinned: Option<Digest>,
    ) -> Result<Vec<u8>, RegistryError> {
        let mut ask =
            HttpRequest::get(repository.url("manifests", tag_or_digest), &repository.base, ConnectionUse::Talk);
        // Hugging Face gives who asks for OCI's a manifest of another kind, Docker's for models.
        let accept = match repository.is_hugging_face {
            true => media_type::MANIFEST.to_owned(),
            false => format!("{}, {OCI_MANIFEST}, {OCI_INDEX}", media_type::MANIFEST),
        };
        ask.headers.insert(ACCEPT, HeaderValue::from_str(&accept).expect("media types are plain text"));
        let answer = self.authorizer.send(&self.http, repository, Access::Pull, ask).await?;
        let what = format!("{}:{tag_or_digest}", repository.path);
        let what = what.replace(":sha256:", "@sha256:");
        if answer.response.status() != StatusCode::OK {
            return Err(self.refused(repository, answer, &what).await);
        }
        let told = header(answer.response.headers(), CONTENT_DIGEST).and_then(|digest| digest.parse().ok());
        let bytes = read_whole(&self.http, answer, &repository.base, MAX_MANIFEST_BYTES, "the manifest").await?;
        if bytes.trim_ascii_start().starts_with(b"<") {
            // A hotel's network, or a proxy that wants a login.
            let what = "a web page instead of the manifest".to_owned();
            return Err(RegistryError::Protocol { host: repository.host(), what });
        }
        let found = Digest::of(&bytes);
        match pinned.or(told) {
            Some(expected) if expected != found => Err(RegistryError::OtherManifest {
                host: repository.host(),
                expected: expected.to_string(),
                found: found.to_string(),
            }),
            _ => Ok(bytes),
        }
    }

    /// The files of a repository of Hugging Face's, by their paths (its API, `GET /api/models/…/tree/main`).
    ///
    /// # Errors
    /// [`RegistryError`], where the repository does not exist or is not ours to read.
    pub async fn hugging_face_files(&self, repository: &Repository) -> Result<Vec<String>, RegistryError> {
        #[derive(serde::Deserialize)]
        struct Entry {
            #[serde(rename = "type")]
            kind: String,
            path: String,
        }
        let mut url = repository.base.clone();
        url.set_path(&format!("/api/models/{}/tree/main", repository.path));
        url.set_query(Some("recursive=true"));
        let ask = HttpRequest::get(url, &repository.base, ConnectionUse::Talk);
        let answer = self.authorizer.send(&self.http, repository, Access::Pull, ask).await?;
        if answer.response.status() != StatusCode::OK {
            return Err(self.refused(repository, answer, &repository.path).await);
        }
        let body = read_whole(&self.http, answer, &repository.base, MAX_LISTING_BYTES, "its list of files").await?;
        let entries: Vec<Entry> = serde_json::from_slice(&body)
            .map_err(|_| RegistryError::Protocol { host: repository.host(), what: "a list of files".to_owned() })?;
        Ok(entries.into_iter().filter(|entry| entry.kind == "file").map(|entry| entry.path).collect())
    }

    /// What a web server says of a file.
    ///
    /// # Errors
    /// [`RegistryError`], where the file does not exist or the server does not give its size.
    pub async fn file_info(&self, url: &Url) -> Result<FileInfo, RegistryError> {
        let repository =
            Repository { base: url.clone(), path: String::new(), is_hugging_face: self.is_hugging_face(url) };
        let mut ask = HttpRequest::get(url.clone(), &repository.base, ConnectionUse::Talk);
        let head = HttpRequest { method: Method::HEAD, ..ask.clone() };
        let mut answer = self.authorizer.send(&self.http, &repository, Access::Pull, head).await?;
        let status = answer.response.status();
        let knows_no_head = matches!(status.as_u16(), 400 | 403..=405 | 501);
        if knows_no_head || status == StatusCode::OK && size_of(&answer).is_none() {
            // Signed addresses are good for one method only, some servers know no other, and some count the bytes of a file
            // only when they send it.
            ask.headers.insert(RANGE, HeaderValue::from_static("bytes=0-0"));
            answer = self.authorizer.send(&self.http, &repository, Access::Pull, ask).await?;
        }
        if !matches!(answer.response.status(), StatusCode::OK | StatusCode::PARTIAL_CONTENT) {
            return Err(self.refused(&repository, answer, url.path()).await);
        }
        let (headers, linked) = (answer.response.headers(), &answer.linked);
        let told = |name| header(linked, name).or_else(|| header(headers, name));
        let digest = told(LINKED_ETAG).and_then(|etag| format!("sha256:{}", etag.trim_matches('"')).parse().ok());
        let n_bytes = size_of(&answer);
        let no_size = || RegistryError::NoSize { host: host(url), what: url.path().to_owned() };
        // A weak tag does not tell bytes apart (RFC 9110, section 8.8.1).
        let tag = header(headers, ETAG.as_str());
        let version = tag.filter(|etag| !etag.starts_with("W/")).map(str::to_owned);
        let stamp = tag.or_else(|| header(headers, LAST_MODIFIED.as_str())).map(str::to_owned);
        Ok(FileInfo { n_bytes: n_bytes.ok_or_else(no_size)?, digest, version, stamp })
    }

    /// Whether the server of an address is the one that Hugging Face's token is for.
    fn is_hugging_face(&self, url: &Url) -> bool {
        address::is_same_origin(&self.hugging_face, url)
    }

    /// An answer that is an error. A 401 that nothing could help against says what a person can do.
    async fn refused(&self, repository: &Repository, answer: HttpResponse, what: &str) -> RegistryError {
        let error = self.http.refusal(answer, what).await;
        match error {
            RegistryError::NotFound { host, what } if repository.is_hugging_face => RegistryError::Unauthorized {
                host,
                hint: format!("there is no `{what}` for everybody; check the name, or set HF_TOKEN if it is private"),
            },
            error => error,
        }
    }
}

/// The size of a file as the answer to a HEAD, or to a range of it, tells it; none where it is said to be empty.
fn size_of(answer: &HttpResponse) -> Option<u64> {
    let (headers, linked) = (answer.response.headers(), &answer.linked);
    let of_range = || header(headers, CONTENT_RANGE.as_str()).and_then(|range| range.rsplit('/').next());
    let told = header(linked, LINKED_SIZE).or_else(|| header(headers, LINKED_SIZE));
    // Of a HEAD the library knows no body's length, only the header.
    let size = told.or_else(of_range).or_else(|| header(headers, CONTENT_LENGTH.as_str()))?;
    size.parse().ok().filter(|&size: &u64| size > 0 && size <= i64::MAX as u64)
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

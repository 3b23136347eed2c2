//! Errors of registries, and what to do about them.

use slm_values::manifest::ManifestError;
use std::path::PathBuf;
use std::time::Duration;

/// What went wrong between here and a registry.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error("Docker's configuration `{}` cannot be read: {reason}; correct it, or write it again with `docker login`", .path.display())]
    DockerConfig { path: PathBuf, reason: String },
    #[error(
        "cannot reach `{host}`: {reason}; check the name, the connection and the proxy (HTTPS_PROXY), and try again"
    )]
    Unreachable { host: String, reason: String },
    #[error("the connection to `{host}` was lost: {reason}")]
    Dropped { host: String, reason: String },
    #[error("`{host}` sent almost nothing for {seconds} seconds")]
    Stalled { host: String, seconds: u64 },
    #[error("`{host}` has no `{what}`; check the spelling")]
    NotFound { host: String, what: String },
    #[error("`{host}` requires credentials: {hint}")]
    Unauthorized { host: String, hint: String },
    #[error("`{host}` refused this with status {status}{}; check the name and your credentials", detail(.text))]
    Refused { host: String, status: u16, text: String },
    #[error(
        "`{host}` does not allow you to push to `{path}`{}; check the name, and that the account in Docker's config.json may \
         write there",
        detail(.text)
    )]
    Denied { host: String, path: String, text: String },
    #[error("`{host}` asks to wait {} before the next try", wait(*.after))]
    Busy { host: String, status: u16, after: Option<Duration> },
    #[error("`{host}` failed with status {status}{}", detail(.text))]
    Failed { host: String, status: u16, text: String },
    #[error("`{host}` would be contacted without TLS")]
    Plain { host: String },
    #[error("`{from}` redirects to `{to}`, {why}")]
    Forbidden { from: String, to: String, why: Forbidden },
    #[error("`{host}` redirects more than {limit} times")]
    Redirects { host: String, limit: usize },
    #[error("the address that `{host}` redirected to has expired: {source}")]
    Expired { host: String, source: Box<RegistryError> },
    #[error("`{what}` at `{host}` has changed during the download; pull it again")]
    Changed { host: String, what: String },
    #[error("`{host}` no longer knows this upload")]
    UploadLost { host: String },
    #[error("`{host}` refused a part of the upload (status {status})")]
    NoParts { host: String, status: u16 },
    #[error(
        "`{host}` refused the upload of `{digest}`{}: it was damaged in transit, or the registry is wrong",
        detail(.text)
    )]
    OtherBlob { host: String, digest: String, text: String },
    #[error("`{host}` sent {got} instead of bytes {asked}")]
    WrongRange { host: String, asked: String, got: String },
    #[error("`{host}` does not say how large `{what}` is, or says that it is empty; use another URL")]
    NoSize { host: String, what: String },
    #[error("`{host}` sent more than {limit} bytes for {what}, which is too large to be real; ask its operator")]
    TooLarge { host: String, what: String, limit: u64 },
    #[error("`{host}` answered with {what}, which slm does not understand")]
    Protocol { host: String, what: String },
    #[error("the manifest from `{host}` is broken: {source}")]
    Manifest { host: String, source: ManifestError },
    #[error(
        "the manifest from `{host}` has the digest `{found}`, not `{expected}`: it was damaged in transit, or the registry is wrong"
    )]
    OtherManifest { host: String, expected: String, found: String },
    #[error("the credentials for `{host}` cannot be read: {reason}")]
    Credentials { host: String, reason: String },
    #[error("the address `{0}` cannot be used")]
    Address(String),
    #[error("the network cannot be used: {0}")]
    Setup(String),
}

/// Why an address is not contacted that only a registry named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forbidden {
    /// A private, link-local or loopback address.
    NotPublic,
    NoTls,
    /// Its scheme is neither `http` nor `https`.
    NotWeb,
    /// It wants to issue the tokens of another host.
    ForeignRealm,
}

impl std::fmt::Display for Forbidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Forbidden::NotPublic => "which is not a public address",
            Forbidden::NoTls => "without TLS",
            Forbidden::NotWeb => "which is not a web address",
            Forbidden::ForeignRealm => "a token server outside of that registry",
        })
    }
}

/// What a caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// The same again, later; at the earliest after this time where the server said so.
    Retry { after: Option<Duration> },
    /// The same again, but not often: what contradicts itself will hardly stop to.
    OnceMore,
    /// Nothing.
    None,
}

impl RegistryError {
    /// What may help.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            RegistryError::Busy { after, .. } => Remedy::Retry { after: *after },
            RegistryError::Expired { .. } | RegistryError::UploadLost { .. } | RegistryError::NoParts { .. } => {
                Remedy::Retry { after: Some(Duration::ZERO) }
            }
            RegistryError::Unreachable { .. }
            | RegistryError::Dropped { .. }
            | RegistryError::Stalled { .. }
            | RegistryError::Failed { .. }
            | RegistryError::OtherBlob { .. }
            | RegistryError::OtherManifest { .. } => Remedy::Retry { after: None },
            RegistryError::WrongRange { .. } => Remedy::OnceMore,
            _ => Remedy::None,
        }
    }
}

fn detail(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

fn wait(after: Option<Duration>) -> String {
    after.map_or_else(|| "a while".to_owned(), |after| format!("{} seconds", after.as_secs()))
}

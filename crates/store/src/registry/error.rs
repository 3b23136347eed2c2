//! Why a registry could not give what was asked, and what to do next.

use slm_values::manifest::ManifestError;
use std::path::PathBuf;
use std::time::Duration;

/// What went wrong between here and a registry.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error("Docker's configuration `{}` cannot be read: {reason}; correct it, or write it again with `docker login`", .path.display())]
    DockerConfig { path: PathBuf, reason: String },
    #[error("cannot reach `{host}`: {reason}; check the name, the line and the proxy (HTTPS_PROXY), and try again")]
    Unreachable { host: String, reason: String },
    #[error("the line to `{host}` broke: {reason}")]
    Dropped { host: String, reason: String },
    #[error("`{host}` sent nothing, or next to nothing, for {seconds} seconds")]
    Stalled { host: String, seconds: u64 },
    #[error("`{host}` has no `{what}`; check how it is spelt")]
    NotFound { host: String, what: String },
    #[error("`{host}` wants to know who asks: {hint}")]
    Unauthorized { host: String, hint: String },
    #[error("`{host}` refuses this with status {status}{}; check the name, and whether your credentials allow it", detail(.text))]
    Refused { host: String, status: u16, text: String },
    #[error(
        "`{host}` does not let you push to `{path}`{}; check the name, and that the account in Docker's config.json may write \
         there",
        detail(.text)
    )]
    Denied { host: String, path: String, text: String },
    #[error("`{host}` asks to wait {} before the next try", wait(*.after))]
    Busy { host: String, status: u16, after: Option<Duration> },
    #[error("`{host}` failed with status {status}{}", detail(.text))]
    Failed { host: String, status: u16, text: String },
    #[error("`{host}` would be spoken to without TLS")]
    Plain { host: String },
    #[error("`{from}` leads to `{to}`, {why}")]
    Forbidden { from: String, to: String, why: Forbidden },
    #[error("`{host}` leads on and on: more than {limit} redirects")]
    Redirects { host: String, limit: usize },
    #[error("the address that `{host}` led to no longer holds: {source}")]
    Expired { host: String, source: Box<RegistryError> },
    #[error("`{what}` at `{host}` is another file than a moment ago; pull it again")]
    Changed { host: String, what: String },
    #[error("`{host}` no longer knows the upload that it began")]
    UploadLost { host: String },
    #[error("`{host}` does not take a part of an upload (status {status})")]
    NoParts { host: String, status: u16 },
    #[error(
        "`{host}` refuses what it was sent of `{digest}`{}: it was damaged on the way, or the registry is wrong",
        detail(.text)
    )]
    OtherBlob { host: String, digest: String, text: String },
    #[error("`{host}` sent {got} where the bytes {asked} were asked for")]
    WrongRange { host: String, asked: String, got: String },
    #[error("`{host}` does not say how large `{what}` is, or says that it is empty; ask for it at another address")]
    NoSize { host: String, what: String },
    #[error("`{host}` sent more than {limit} bytes for {what}, which real ones never have; ask whoever runs it")]
    TooLarge { host: String, what: String, limit: u64 },
    #[error("`{host}` answered with {what}, which this program does not understand")]
    Protocol { host: String, what: String },
    #[error("the manifest from `{host}` is broken: {source}")]
    Manifest { host: String, source: ManifestError },
    #[error(
        "the manifest from `{host}` has the digest `{found}`, not `{expected}`: it was damaged on the way, or the registry is wrong"
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
            Forbidden::ForeignRealm => "which is to be asked for a token and is not part of that registry",
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

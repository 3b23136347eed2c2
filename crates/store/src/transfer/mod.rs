//! Models between registries and the store: what is missing is downloaded or uploaded, in parts that outlast everything,
//! and a name points at a model once all of it is there.

mod claims;
mod fetch;
mod file;
mod hashing;
mod hugging_face;
mod outgoing;
mod pace;
mod pull;
mod push;
mod retry;
mod route;
mod servers;
mod status;
mod upload;

pub use file::{PullFile, pull_file};
pub use pull::{Plan, Planned, Pull, Pulled, Sources};
pub use push::{Push, Pushed, push};
pub use route::PushError;
pub use servers::{ServerError, Servers};
pub use status::{StatusReporter, TransferStatus};

use crate::registry::{RegistryError, Remedy};
use crate::store::StoreError;
use slm_values::digest::Digest;
use slm_values::manifest::ManifestError;
use std::time::Duration;

/// Pulls a model by its name in a registry, Hugging Face's or another.
///
/// # Errors
/// [`TransferError`]; the name is then as it was before, and what has come is kept for the next time.
pub async fn pull(
    sources: Sources<'_>,
    wanted: &Pull,
    plan: Plan,
    listener: &dyn Listener,
) -> Result<Pulled, TransferError> {
    match wanted.repository.is_hugging_face() {
        true => hugging_face::pull_hugging_face(sources, wanted, plan, listener).await,
        false => pull::pull(sources, wanted, plan, listener).await,
    }
}

/// How many ranges are asked for at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Streams {
    /// As many as make it faster.
    Adaptive,
    Fixed(usize),
}

/// Which way models go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Direction {
    #[default]
    Pull,
    Push,
}

/// What happens while models come and go; `id` tells one blob from another.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// The manifest is asked for, or read.
    Manifest,
    /// A blob begins, of which `done` bytes are there already; its digest may only be known at the end.
    Blob {
        id: &'a Digest,
        digest: Option<&'a Digest>,
        media_type: &'a str,
        total: u64,
        done: u64,
    },
    /// More bytes of a blob.
    Bytes {
        id: &'a Digest,
        n_bytes: u64,
    },
    /// A blob is that far, which may be less than before.
    At {
        id: &'a Digest,
        done: u64,
    },
    /// The bytes of a blob were wrong and are thrown away.
    Discarded {
        id: &'a Digest,
    },
    /// Another process downloads this blob; we wait for it.
    Elsewhere {
        id: &'a Digest,
    },
    /// Something failed and is tried again.
    Retrying {
        reason: &'a RegistryError,
        wait: Duration,
    },
    /// A blob is there.
    Ready {
        id: &'a Digest,
    },
    /// All blobs are there with the bytes of their digests; the manifest is next.
    Verified,
    /// The manifest is written.
    Manifested,
    Success,
}

/// Is told what happens.
pub trait Listener {
    fn event(&self, event: Event<'_>);
}

/// Why a model could not be pulled.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    #[error("cannot pull `{name}`: {source}{}", later(.source))]
    Registry { name: String, source: RegistryError },
    #[error("cannot pull `{name}`: {source}; what was downloaded is kept, and the same command continues from there")]
    Broken { name: String, source: RegistryError },
    #[error("cannot pull `{name}`: the manifest is broken: {source}; it has to be pushed again")]
    Manifest { name: String, source: ManifestError },
    #[error("cannot pull `{name}`: {reason}")]
    NoModel { name: String, reason: String },
    #[error("cannot pull `{name}`: {source}")]
    Store { name: String, source: Box<StoreError> },
    #[error("`{url}` contains no valid model name")]
    NoName { url: String },
}

/// What to do about an error that may pass.
fn later(error: &RegistryError) -> &'static str {
    match error {
        // It says so itself.
        RegistryError::Unreachable { .. } | RegistryError::Busy { .. } => "",
        error if error.remedy() == Remedy::None => "",
        _ => "; try again later, or ask its operator",
    }
}

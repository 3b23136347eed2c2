//! Source and target of a push, and its errors.

use super::outgoing::Flaw;
use crate::registry::{Registry, RegistryError, Remedy, Repository};
use crate::store::{Store, StoreError};
use slm_values::digest::Digest;
use slm_values::source::Reference;

/// Why a model could not be pushed.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    #[error("cannot push `{name}`: {source}")]
    Registry { name: String, source: RegistryError },
    #[error("cannot push `{name}`: {source}; the same command continues from what the registry has")]
    Broken { name: String, source: RegistryError },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(
        "cannot push `{name}`: the content of its blob `{expected}` does not match its hash (it is `{found}`); check the \
         store with `slm verify`, and pull or create the model again"
    )]
    Damaged { name: String, expected: Digest, found: Digest },
    #[error("cannot push `{name}`: {source}; check the store with `slm verify`")]
    Unreadable { name: String, source: StoreError },
    #[error(
        "cannot push `{name}`: its manifest has the digest `{found}`, not `{expected}`; remove the digest to push it"
    )]
    Pinned { name: String, expected: Digest, found: Digest },
}

/// From where to where, for all blobs of a push.
#[derive(Debug, Clone, Copy)]
pub(super) struct Route<'a> {
    pub registry: &'a Registry,
    pub store: &'a Store,
    pub repository: &'a Repository,
    pub target: &'a Reference,
}

impl Route<'_> {
    /// The error before anything went up.
    pub(super) fn refused(&self, source: RegistryError) -> PushError {
        PushError::Registry { name: self.target.to_string(), source }
    }

    /// The error of an upload.
    pub(super) fn failed(&self, source: RegistryError) -> PushError {
        match source.remedy() {
            Remedy::None => self.refused(source),
            _ => PushError::Broken { name: self.target.to_string(), source },
        }
    }

    pub(super) fn flawed(&self, digest: &Digest, flaw: Flaw) -> PushError {
        let name = self.target.to_string();
        match flaw {
            Flaw::Other(found) => PushError::Damaged { name, expected: *digest, found },
            Flaw::Unreadable(source) => PushError::Unreadable { name, source },
        }
    }
}

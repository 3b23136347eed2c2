//! Why a manifest or a configuration is refused.

use crate::digest::Digest;

/// The most bytes that a manifest may have; real ones have about a thousand.
pub const MAX_MANIFEST_BYTES: u64 = 1 << 20;

/// A manifest or configuration that cannot be trusted.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("it has {n_bytes} bytes, more than {MAX_MANIFEST_BYTES}")]
    TooLarge { n_bytes: u64 },
    #[error("its JSON is invalid: {0}")]
    Json(#[from] serde_json::Error),
    #[error("its schema version is {0}, not 2")]
    SchemaVersion(u32),
    #[error("it names the layer `{digest}` of type `{media_type}` twice")]
    DuplicateLayer { media_type: String, digest: Digest },
    #[error("it gives the blob `{0}` two sizes")]
    TwoSizes(Digest),
    #[error("its layer of type `{media_type}` has an impossible size of {n_bytes} bytes")]
    LayerSize { media_type: String, n_bytes: u64 },
}

//! The models on disk, in Ollama's layout: `manifests/<host>/<namespace>/<model>/<tag>` and `blobs/sha256-<hex>` under
//! one root. It knows no network and no engine.
//!
//! Blobs are written first and a manifest last, each to a temporary file beside its place that is synced and renamed, so
//! a name always points at complete bytes. Who writes holds the store's lock together with other writers; who removes
//! blobs or leftovers holds it alone, so that nothing is swept away between a blob and its manifest. A pull, which takes
//! long, holds no lock but a lease on what it needs.

mod adapter;
mod blobs;
mod copy;
mod create;
mod damage;
mod disk;
mod download;
mod embedded;
mod embedder;
mod error;
mod examples;
mod fit;
mod incoming;
mod layers;
mod lease;
mod list;
mod making;
mod mlx;
mod model;
mod origins;
mod prune;
mod pulled;
mod pushed;
mod refit;
mod remove;
mod room;
mod shards;
mod spelling;
mod spending;
mod stamp;
mod verify;

pub use adapter::converted as converted_adapter;
pub use blobs::Imported;
pub use create::{Creation, with_schema};
pub use download::{Begun, Download, DownloadKey, PART_BYTES, Reader};
pub use embedder::{Embedder, StoredEmbedder};
pub use error::{StoreError, Unknown};
pub use examples::{NewExamples, StoredExamples};
pub use fit::{FitKept, StoredFit};
pub use incoming::Incoming;
pub use lease::Lease;
pub use list::{Broken, FitListed, Listed, Listing, Origin};
pub use making::{FoundWeights, Made, Making, NewWeights};
pub use model::{Elsewhere, Model, StoredAdapter, Weights};
pub use prune::{KeepReason, PruneAction, Pruned, PrunedFile, PrunedKind, Pruning, Young};
pub use pulled::Committed;
pub use pushed::{Content, Note, Shipment};
pub use refit::FitFiles;
pub use remove::{Recovery, Removed};
pub use shards::{ImportedWeights, sizes_at};
pub use stamp::ManifestStamp;
pub use verify::{BlobState, Inspected, InspectedBlob, Inspection};

use slm_values::digest::Digest;
use slm_values::embedded::EmbeddedModel;
use slm_values::model_ref::ModelRef;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// The models under one root folder, and the one inside the binary.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
    embedded: Option<EmbeddedModel>,
    /// The embedded model, once someone has asked for it: hashing it takes milliseconds, which every request would wait for.
    own: Arc<OnceLock<Model>>,
}

impl Store {
    /// The store under `root`, which need not exist yet: the first write makes it.
    #[must_use]
    pub fn open(root: PathBuf) -> Store {
        Store { root, embedded: None, own: Arc::default() }
    }

    /// The same store with a model of the binary's, found where no stored one has its name.
    #[must_use]
    pub fn with_embedded(self, embedded: EmbeddedModel) -> Store {
        Store { embedded: Some(embedded), own: Arc::default(), ..self }
    }

    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The binary's own model as a stored one.
    ///
    /// # Errors
    /// Its GGUF or its Modelfile is invalid.
    fn own_model(&self, embedded: &EmbeddedModel) -> Result<Model, StoreError> {
        if let Some(model) = self.own.get() {
            return Ok(model.clone());
        }
        let model = embedded::embedded_model(embedded)?;
        Ok(self.own.get_or_init(|| model).clone())
    }

    /// Where a blob lies, or would.
    #[must_use]
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.file_name())
    }

    fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    fn manifests(&self) -> PathBuf {
        self.root.join("manifests")
    }

    fn manifest_path(&self, name: &ModelRef) -> PathBuf {
        self.manifests().join(name.relative_path())
    }
}

#[cfg(test)]
mod tests;

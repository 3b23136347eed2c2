//! The list of stored models, from manifests and configurations only: it never opens weights.

use super::fit;
use super::model::{parse_manifest, weights_of};
use super::{Store, StoreError, disk};
use slm_values::digest::Digest;
use slm_values::manifest::{MAX_MANIFEST_BYTES, ModelConfig};
use slm_values::model_ref::ModelRef;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The models of a store, and what is where a model should.
#[derive(Debug, Default)]
pub struct Listing {
    /// In the order of their names.
    pub models: Vec<Listed>,
    pub broken: Vec<Broken>,
}

/// A model in a list.
#[derive(Debug, Clone)]
pub struct Listed {
    pub name: ModelRef,
    /// The manifest's.
    pub digest: Digest,
    /// All its blobs together.
    pub n_bytes: u64,
    /// When the manifest was written; `None` for the embedded model.
    pub modified: Option<SystemTime>,
    pub config: ModelConfig,
    pub origin: Origin,
    pub fit: FitListed,
}

/// Whether a model has a fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FitListed {
    Yes,
    No,
}

/// Where a model lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    Stored,
    Embedded,
}

/// A manifest that cannot be used.
#[derive(Debug)]
pub struct Broken {
    pub path: PathBuf,
    pub error: StoreError,
}

impl Store {
    /// Every model. What is broken is reported and hides nothing else.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the binary's own model is wrong.
    pub fn list(&self) -> Result<Listing, StoreError> {
        let mut listing = Listing::default();
        for (name, path) in self.manifest_files() {
            match self.listed(name, &path) {
                Ok(model) => listing.models.push(model),
                Err(error) => listing.broken.push(Broken { path, error }),
            }
        }
        if let Some(embedded) = self.embedded.filter(|embedded| !self.manifest_path(&embedded.name()).exists()) {
            let model = self.own_model(&embedded)?;
            listing.models.push(Listed {
                name: model.name,
                digest: model.digest,
                n_bytes: model.manifest.total_bytes(),
                modified: None,
                config: model.config,
                origin: Origin::Embedded,
                fit: FitListed::No,
            });
        }
        listing.models.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(listing)
    }

    /// The names of all models, broken ones included, in order.
    #[must_use]
    pub fn names(&self) -> Vec<ModelRef> {
        let stored = self.manifest_files().into_iter().map(|(name, _)| name);
        let mut names: Vec<ModelRef> = stored.chain(self.embedded.map(|embedded| embedded.name())).collect();
        names.sort();
        names.dedup();
        names
    }

    fn listed(&self, name: ModelRef, path: &Path) -> Result<Listed, StoreError> {
        let json = disk::read(path, MAX_MANIFEST_BYTES)?.unwrap_or_default();
        let manifest = parse_manifest(path, &json)?;
        for layer in weights_of(&manifest, path)? {
            self.present(layer)?;
        }
        Ok(Listed {
            name,
            digest: Digest::of(&json),
            n_bytes: manifest.total_bytes(),
            modified: fs::metadata(path).and_then(|manifest| manifest.modified()).ok(),
            config: self.config_of(&manifest)?,
            origin: Origin::Stored,
            fit: if manifest.layers.iter().any(fit::is_fit) { FitListed::Yes } else { FitListed::No },
        })
    }

    /// Every file that lies where a manifest does, with its name: `host/namespace/model/tag`. What has another depth, or
    /// a name that no model can have, is not ours.
    pub(super) fn manifest_files(&self) -> Vec<(ModelRef, PathBuf)> {
        let mut found = Vec::new();
        for (host, path) in entries(&self.manifests()) {
            for (namespace, path) in entries(&path) {
                for (model, path) in entries(&path) {
                    for (tag, path) in entries(&path) {
                        match ModelRef::from_parts(&host, &namespace, &model, &tag) {
                            Ok(name) if path.is_file() => found.push((name, path)),
                            _ => {}
                        }
                    }
                }
            }
        }
        found
    }
}

fn entries(folder: &Path) -> impl Iterator<Item = (String, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())))
}

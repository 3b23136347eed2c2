//! Removes a model, and the blobs that no other model needs.

use super::disk::{self, Removing, io_error};
use super::{Store, StoreError, origins};
use slm_values::digest::Digest;
use slm_values::manifest::{MAX_MANIFEST_BYTES, Manifest};
use slm_values::model_ref::ModelRef;
use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// How a model could be obtained again, once its name is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recovery {
    /// It is also in the binary.
    Embedded,
    /// It also has this name.
    OtherName(ModelRef),
    /// With `slm pull` from this source.
    Pull(String),
    /// Nobody knows: it was made here, or another program downloaded it.
    Unknown,
}

/// A model that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// The manifest's; `None` where it could not be read.
    pub digest: Option<Digest>,
    /// The bytes of the blobs that went with it.
    pub freed_bytes: u64,
}

impl Store {
    /// How the model of a name could be obtained again if the names of `going` (itself among them or not) were gone.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where nothing has the name, and [`StoreError::RemoveEmbedded`] where only the binary has.
    pub fn recovery(&self, name: &ModelRef, going: &[ModelRef]) -> Result<Recovery, StoreError> {
        let path = self.stored_manifest(name)?;
        let Some(digest) = manifest_digest(&path) else { return Ok(Recovery::Unknown) };
        if let Some(embedded) = &self.embedded
            && self.own_model(embedded)?.digest == digest
        {
            return Ok(Recovery::Embedded);
        }
        let stays = |other: &ModelRef| other != name && !going.contains(other);
        let same = self.manifest_files().into_iter().filter(|(other, _)| stays(other));
        if let Some((other, _)) = same.into_iter().find(|(_, path)| manifest_digest(path) == Some(digest)) {
            return Ok(Recovery::OtherName(other));
        }
        let source = self.origin(&digest).filter(|source| origins::is_there(source));
        Ok(source.map_or(Recovery::Unknown, Recovery::Pull))
    }

    /// Removes a model's name, then those of its blobs that no other manifest names. A broken manifest is removed too;
    /// a broken manifest beside it keeps every blob whose digest it still holds, and a pull those that it needs.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`] where nothing has the name; others where the disk refuses.
    pub fn remove(&self, name: &ModelRef) -> Result<Removed, StoreError> {
        let path = self.stored_manifest(name)?;
        let removing = self.begin_removing()?;
        let candidates = digests_in(&path).unwrap_or_default();
        let digest = manifest_digest(&path);
        match fs::remove_file(&path) {
            // Another process was faster; the blobs are its to sweep.
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(self.not_found(name)),
            removed => removed.map_err(io_error("remove", &path))?,
        }
        for folder in path.ancestors().skip(1).take(3) {
            // Only empty folders can be removed so.
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
        if let Some(digest) = &digest
            && !self.manifest_files().iter().any(|(_, other)| manifest_digest(other).as_ref() == Some(digest))
        {
            self.forget_origin(digest)?;
        }
        Ok(Removed { digest, freed_bytes: self.sweep(candidates, &removing)? })
    }

    /// Where the manifest of a stored model lies.
    pub(super) fn stored_manifest(&self, name: &ModelRef) -> Result<PathBuf, StoreError> {
        let path = self.manifest_path(name);
        if path.is_file() {
            return Ok(path);
        }
        let is_embedded = self.embedded.is_some_and(|embedded| embedded.name() == *name);
        Err(if is_embedded { StoreError::RemoveEmbedded(name.clone()) } else { self.not_found(name) })
    }

    /// Removes those blobs that nobody needs; gives their bytes.
    fn sweep(&self, mut candidates: HashSet<Digest>, _removing: &Removing) -> Result<u64, StoreError> {
        // What cannot be read may need anything.
        let Ok(leases) = self.leases() else { return Ok(0) };
        for stale in &leases.stale {
            disk::remove_leftover(stale);
        }
        candidates.retain(|digest| !leases.kept.contains(digest));
        for (_, manifest) in self.manifest_files() {
            match digests_in(&manifest) {
                Some(needed) => candidates.retain(|digest| !needed.contains(digest)),
                None => return Ok(0),
            }
        }
        let mut freed_bytes = 0;
        for digest in candidates {
            let blob = self.blob_path(&digest);
            let n_bytes = fs::symlink_metadata(&blob).map_or(0, |blob| blob.len());
            match fs::remove_file(&blob) {
                Ok(()) => freed_bytes += n_bytes,
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(io_error("remove", &blob)(error)),
                Err(_) => {}
            }
        }
        Ok(freed_bytes)
    }
}

/// The digest of a manifest's own bytes.
pub(super) fn manifest_digest(path: &Path) -> Option<Digest> {
    disk::read(path, MAX_MANIFEST_BYTES).ok()?.map(|bytes| Digest::of(&bytes))
}

/// The digests that a manifest names; of a broken one, all that its bytes hold. `None` where it cannot be read.
fn digests_in(path: &Path) -> Option<HashSet<Digest>> {
    let bytes = disk::read(path, MAX_MANIFEST_BYTES).ok()??;
    match Manifest::parse(&bytes) {
        Ok(manifest) => Some(manifest.digests().collect()),
        Err(_) => Some(digests_among(&bytes)),
    }
}

/// Every digest that stands somewhere in bytes.
pub(super) fn digests_among(bytes: &[u8]) -> HashSet<Digest> {
    let text = String::from_utf8_lossy(bytes);
    text.match_indices("sha256:").filter_map(|(at, _)| text.get(at..at + 71)?.parse().ok()).collect()
}

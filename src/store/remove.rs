//! Takes a model away, and the blobs that no other model needs.

use super::disk::{self, Removing, io_error};
use super::{Store, StoreError};
use crate::digest::Digest;
use crate::manifest::{MAX_MANIFEST_BYTES, Manifest};
use crate::model_ref::ModelRef;
use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

impl Store {
    /// Removes a model's name, then those of its blobs that no other manifest names. A broken manifest is removed too;
    /// a broken manifest beside it keeps every blob whose digest it still holds, and a pull those that it needs.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`] where nothing has the name; others where the disk refuses.
    pub fn remove(&self, name: &ModelRef) -> Result<(), StoreError> {
        let path = self.manifest_path(name);
        if !path.is_file() {
            let is_embedded = self.embedded.is_some_and(|embedded| embedded.name() == *name);
            return Err(if is_embedded { StoreError::RemoveEmbedded(name.clone()) } else { self.not_found(name) });
        }
        let removing = self.begin_removing()?;
        let candidates = digests_in(&path).unwrap_or_default();
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
        self.sweep(candidates, &removing)
    }

    fn sweep(&self, mut candidates: HashSet<Digest>, removing: &Removing) -> Result<(), StoreError> {
        // What cannot be read may keep anything.
        let Ok(leased) = self.leased(removing) else { return Ok(()) };
        candidates.retain(|digest| !leased.contains(digest));
        for (_, manifest) in self.manifest_files() {
            match digests_in(&manifest) {
                Some(needed) => candidates.retain(|digest| !needed.contains(digest)),
                // Nobody can say what it needs.
                None => return Ok(()),
            }
        }
        for digest in candidates {
            let blob = self.blob_path(&digest);
            match fs::remove_file(&blob) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(io_error("remove", &blob)(error)),
                _ => {}
            }
        }
        Ok(())
    }
}

/// The digests that a manifest names; of a broken one, all that its bytes hold. `None` where it cannot be read.
fn digests_in(path: &Path) -> Option<HashSet<Digest>> {
    let bytes = disk::read(path, MAX_MANIFEST_BYTES).ok()??;
    if let Ok(manifest) = Manifest::parse(&bytes) {
        return Some(manifest.digests().collect());
    }
    let text = String::from_utf8_lossy(&bytes);
    let digests = text.match_indices("sha256:").filter_map(|(at, _)| text.get(at..at + 71)?.parse().ok());
    Some(digests.collect())
}

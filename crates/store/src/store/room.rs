//! The state of the store's disk: how much is free, and whether it can be written to.

use super::{Store, StoreError, disk};
use std::fs;
use std::io::Write as _;
use std::path::Path;

/// Enough that a full disk has no block for it.
const PROBE_BYTES: usize = 64 << 10;

impl Store {
    /// Bytes that the disk of the store's folder has left, or that of the folder in which it would be made; `None` where the
    /// system does not say.
    #[must_use]
    pub fn free_bytes(&self) -> Option<u64> {
        disk::free_bytes(existing(&self.root)?)
    }

    /// Writes a file without a name into each folder that models are written to, so that permissions, read-only disks and full
    /// ones are found before a download. Where the store does not exist yet, the folder in which it would be made is tried.
    ///
    /// # Errors
    /// One of the folders takes no file.
    pub fn try_writing(&self) -> Result<(), StoreError> {
        for folder in [self.root.clone(), self.blobs(), self.manifests()] {
            let Some(place) = existing(&folder) else { continue };
            let written = tempfile::tempfile_in(place).and_then(|mut file| {
                file.write_all(&[0x5a; PROBE_BYTES])?;
                file.sync_all()
            });
            written.map_err(disk::io_error("write to", place))?;
        }
        Ok(())
    }

    /// Bytes of all blobs together, each counted once; what cannot be read counts nothing.
    #[must_use]
    pub fn blob_bytes(&self) -> u64 {
        let sizes = disk::regular_files(&self.blobs()).filter_map(|(_, path)| fs::metadata(path).ok());
        sizes.map(|blob| blob.len()).sum()
    }
}

/// A path, or the nearest folder above it that exists.
fn existing(path: &Path) -> Option<&Path> {
    let above = |path: &&Path| !path.as_os_str().is_empty() && fs::symlink_metadata(path).is_ok();
    path.ancestors().find(above).or_else(|| path.is_relative().then_some(Path::new(".")))
}

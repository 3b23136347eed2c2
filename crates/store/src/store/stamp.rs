//! Whether a manifest may have changed since it was read, told by its file without opening it.

use super::disk::{self, io_error};
use super::{Store, StoreError};
use slm_values::model_ref::ModelRef;
use std::fs::{self, Metadata};
use std::time::SystemTime;

/// The state of a manifest's file. Who renames another file into its place gives it another inode, and who writes into the
/// file itself another time of change, which nobody can set back. Two writes within one tick of the disk's clock may have the
/// same stamp: only a manifest that was read again some seconds after its stamp was first seen is known by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManifestStamp {
    /// No file has this name: where there is a model, it is the binary's own.
    Absent,
    File(FileState),
}

/// What the system says of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileState {
    n_bytes: u64,
    modified: Option<SystemTime>,
    /// Device, inode, and seconds and nanoseconds of the last change, where files have them.
    identity: (u64, u64, i64, i64),
}

impl Store {
    /// The present stamp of a name's manifest.
    ///
    /// # Errors
    /// [`StoreError`] where the disk does not say.
    pub fn manifest_stamp(&self, name: &ModelRef) -> Result<ManifestStamp, StoreError> {
        let path = self.manifest_path(name);
        match fs::metadata(&path) {
            Ok(file) => Ok(ManifestStamp::File(FileState::of(&file))),
            Err(error) if disk::is_absent(&error) => Ok(ManifestStamp::Absent),
            Err(error) => Err(io_error("read", &path)(error)),
        }
    }
}

impl FileState {
    fn of(file: &Metadata) -> FileState {
        FileState { n_bytes: file.len(), modified: file.modified().ok(), identity: identity(file) }
    }
}

#[cfg(unix)]
fn identity(file: &Metadata) -> (u64, u64, i64, i64) {
    use std::os::unix::fs::MetadataExt as _;
    (file.dev(), file.ino(), file.ctime(), file.ctime_nsec())
}

#[cfg(not(unix))]
fn identity(_file: &Metadata) -> (u64, u64, i64, i64) {
    (0, 0, 0, 0)
}

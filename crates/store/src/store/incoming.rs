//! A blob that someone hands over piece by piece, under the digest that it is said to have. Until all of it is there and has
//! that digest it is beside the blobs, under a name that means nothing.
//!
//! A sender may be slow or never end, so no lock of the store's is held meanwhile: the file itself is locked, and one that is
//! not belongs to a process that died.

use super::disk::{self, io_error};
use super::{Store, StoreError};
use slm_values::digest::{Digest, Hasher};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

const PREFIX: &str = "incoming-";
/// How many bytes come before the disk is asked again how much room it has.
const LOOK_EVERY: u64 = 64 << 20;
/// What a sender leaves free: a disk without any room harms everybody on it.
const LEAVE_FREE: u64 = 64 << 20;

/// A blob on its way; dropped before it is kept, it is gone.
#[derive(Debug)]
pub struct Incoming {
    expected: Digest,
    file: File,
    path: PathBuf,
    hasher: Hasher,
    n_bytes: u64,
}

impl Store {
    /// Whether a blob is there, and nobody has found other bytes in it; they are not looked at now.
    #[must_use]
    pub fn has_blob(&self, digest: &Digest) -> bool {
        fs::metadata(self.blob_path(digest)).is_ok_and(|blob| blob.is_file()) && !self.is_damaged(digest)
    }

    /// Begins a blob; `n_bytes` is its length, where the sender tells it.
    ///
    /// # Errors
    /// [`StoreError`] where the disk refuses, or has no room for it.
    pub fn receive(&self, expected: Digest, n_bytes: Option<u64>) -> Result<Incoming, StoreError> {
        // Sweeps what others have left; until ours is locked nobody may.
        let _writing = self.begin_writing()?;
        let folder = self.downloads();
        disk::create_folder(&folder, self.root())?;
        disk::has_room(&folder, n_bytes.unwrap_or(0).saturating_add(LEAVE_FREE))?;
        let (path, file) = create_in(&folder)?;
        let incoming = Incoming { expected, file, path, hasher: Hasher::new(), n_bytes: 0 };
        match incoming.file.lock() {
            // A disk without locks is used without.
            Err(error) if error.kind() != io::ErrorKind::Unsupported => Err(io_error("lock", &incoming.path)(error)),
            _ => Ok(incoming),
        }
    }

    /// Makes what has come a blob.
    ///
    /// # Errors
    /// [`StoreError::OtherBytes`] where its digest is another; others where the disk refuses. Then nothing is left of it.
    pub fn keep(&self, incoming: Incoming) -> Result<(), StoreError> {
        let found = incoming.hasher.clone().finish();
        if found != incoming.expected {
            return Err(StoreError::OtherBytes { expected: incoming.expected, found });
        }
        let writing = self.begin_writing()?;
        let place = self.blob_path(&found);
        incoming.file.sync_all().map_err(io_error("write", &place))?;
        fs::rename(&incoming.path, &place).map_err(io_error("write", &place))?;
        disk::sync_folder(place.parent().expect("a blob lies in a folder"))?;
        self.clear_mark(&found);
        drop(writing);
        Ok(())
    }

    /// What senders have left behind whose processes died, as one who holds the store's lock alone finds it.
    pub(super) fn stale_incoming(&self) -> Vec<PathBuf> {
        let files = disk::regular_files(&self.downloads()).filter(|(name, _)| name.starts_with(PREFIX));
        let is_stale = |path: &PathBuf| File::open(path).is_ok_and(|file| file.try_lock().is_ok());
        files.map(|(_, path)| path).filter(is_stale).collect()
    }
}

impl Incoming {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// The disk is full or broken.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let before = self.n_bytes;
        self.n_bytes += bytes.len() as u64;
        if before / LOOK_EVERY != self.n_bytes / LOOK_EVERY {
            disk::has_room(&self.path, LEAVE_FREE)?;
        }
        self.file.write_all(bytes).map_err(io_error("write", &self.path))?;
        self.hasher.update(bytes);
        Ok(())
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // A kept one has no file of this name any more.
        let _ = fs::remove_file(&self.path);
    }
}

pub(super) fn create_in(folder: &Path) -> Result<(PathBuf, File), StoreError> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("{PREFIX}{}-{n}", std::process::id()));
        match OpenOptions::new().read(true).write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((path, file)),
            // A dead process's, or one of the same number in another container on the same disk.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(io_error("create", &path)(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().join("models"));
        (folder, store)
    }

    fn incoming(store: &Store) -> usize {
        disk::regular_files(&store.downloads()).count()
    }

    #[test]
    fn what_has_its_digest_becomes_a_blob() {
        let (_folder, store) = store();
        let digest = Digest::of(b"hello");
        assert!(!store.has_blob(&digest));
        let mut coming = store.receive(digest, Some(5)).unwrap();
        coming.write(b"hel").unwrap();
        coming.write(b"lo").unwrap();
        assert!(!store.has_blob(&digest));
        store.keep(coming).unwrap();
        assert!(store.has_blob(&digest));
        assert_eq!((fs::read(store.blob_path(&digest)).unwrap(), incoming(&store)), (b"hello".to_vec(), 0));
    }

    #[test]
    fn other_bytes_and_half_of_them_leave_nothing() {
        let (_folder, store) = store();
        let digest = Digest::of(b"hello");
        let mut coming = store.receive(digest, None).unwrap();
        coming.write(b"hellO").unwrap();
        assert!(matches!(store.keep(coming), Err(StoreError::OtherBytes { expected, .. }) if expected == digest));
        let mut coming = store.receive(digest, None).unwrap();
        coming.write(b"hel").unwrap();
        assert_eq!(incoming(&store), 1);
        // Who sends now has nothing to fear from who begins meanwhile.
        assert_eq!(store.stale_incoming(), Vec::<PathBuf>::new());
        drop(coming);
        assert!(!store.has_blob(&digest));
        assert_eq!(incoming(&store), 0);
    }

    #[test]
    fn what_a_dead_process_left_is_swept() {
        let (_folder, store) = store();
        fs::create_dir_all(store.downloads()).unwrap();
        fs::write(store.downloads().join("incoming-1-0"), b"hel").unwrap();
        assert_eq!(store.stale_incoming().len(), 1);
        drop(store.receive(Digest::of(b"hello"), None).unwrap());
        assert_eq!(incoming(&store), 0);
    }

    #[test]
    fn what_cannot_have_room_is_refused_at_once() {
        let (_folder, store) = store();
        let error = store.receive(Digest::of(b"x"), Some(u64::MAX / 2)).unwrap_err();
        assert!(matches!(error, StoreError::DiskFull { needed_bytes: Some(_), free_bytes: Some(_), .. }), "{error}");
        assert_eq!(incoming(&store), 0);
    }
}

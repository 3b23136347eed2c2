//! Which blobs are known not to match their hash.
//!
//! Who finds a blob in full length does not hash it again. So whoever has hashed one and found it wrong leaves a
//! mark, `.slm-damaged/sha256-<hex>`, with the file's length, inode and time: it counts for that very file, and for none
//! that takes its place.

use super::{Store, StoreError, disk};
use slm_values::digest::Digest;
use std::fs::{self, Metadata};
use std::path::PathBuf;

const FOLDER: &str = ".slm-damaged";
const MAX_MARK_BYTES: u64 = 256;

impl Store {
    /// Whether the blob that lies there was hashed and had other bytes than its name says: then it must be obtained again.
    #[must_use]
    pub fn is_damaged(&self, digest: &Digest) -> bool {
        fs::metadata(self.blob_path(digest)).is_ok_and(|blob| self.is_marked(digest, &blob))
    }

    /// Remembers that the file of this [`identity`] has other bytes than the blob that it is named for.
    pub(super) fn mark_damaged(&self, digest: &Digest, file: &str) -> Result<(), StoreError> {
        let writing = self.begin_writing()?;
        disk::create_folder(&self.root.join(FOLDER), &self.root)?;
        disk::write(&self.mark(digest), file.as_bytes(), &writing)
    }

    /// Forgets the mark of a file whose place another one has taken.
    pub(super) fn clear_mark(&self, digest: &Digest) {
        disk::remove_leftover(&self.mark(digest));
    }

    /// Marks of files that are not there any more.
    pub(super) fn stale_marks(&self) -> Vec<PathBuf> {
        let is_stale = |name: &str| match Digest::from_file_name(name) {
            None => false,
            Some(digest) => !self.is_damaged(&digest),
        };
        disk::regular_files(&self.root.join(FOLDER))
            .filter_map(|(name, path)| is_stale(&name).then_some(path))
            .collect()
    }

    fn is_marked(&self, digest: &Digest, blob: &Metadata) -> bool {
        let mark = disk::read(&self.mark(digest), MAX_MARK_BYTES);
        matches!(mark, Ok(Some(mark)) if mark == identity(blob).as_bytes())
    }

    fn mark(&self, digest: &Digest) -> PathBuf {
        self.root.join(FOLDER).join(digest.file_name())
    }
}

/// What tells a file from the one that takes its place.
pub(super) fn identity(blob: &Metadata) -> String {
    let modified = blob.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    format!("{} {} {}\n", blob.len(), inode(blob), modified.unwrap_or_default().as_nanos())
}

#[cfg(unix)]
fn inode(blob: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(blob)
}

#[cfg(not(unix))]
fn inode(_blob: &Metadata) -> u64 {
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use slm_values::gguf::testing::tiny_llama;
    use slm_values::modelfile::Modelfile;
    use slm_values::progress::Silent;
    use std::num::NonZeroUsize;

    #[test]
    fn a_blob_that_was_found_damaged_must_be_had_again() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("tiny.gguf"), tiny_llama().bytes()).unwrap();
        let store = Store::open(folder.path().join("store"));
        let create = || {
            let modelfile = Modelfile::parse("FROM ./tiny.gguf").unwrap();
            store.create(&"a".parse().unwrap(), &modelfile, folder.path(), &Silent).unwrap().manifest
        };
        let weights = create().layers[0].clone();
        let is_damaged = || store.is_damaged(&weights.digest);
        let verify =
            || store.verify(None, NonZeroUsize::MIN, &Silent, &|| false).unwrap().unwrap().models[0].is_sound();
        assert!(verify() && !is_damaged());

        let blob = store.blob_path(&weights.digest);
        let mut bytes = fs::read(&blob).unwrap();
        bytes[5000] ^= 1;
        fs::write(&blob, bytes).unwrap();
        // Its length is right, and that is all that a look at it tells.
        assert!(!is_damaged());
        assert!(!verify() && is_damaged());
        assert_eq!(store.stale_marks(), Vec::<PathBuf>::new());
        create();
        assert!(!is_damaged() && verify());
        assert_eq!(store.stale_marks(), [store.mark(&weights.digest)]);
    }
}

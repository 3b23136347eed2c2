//! Where models were pulled from: a note beside the manifests, so that these stay byte for byte what the registry gave.
//!
//! A note is `.slm-origins/<hex>`, named for the manifest's digest, and holds the source as someone would write it for
//! `slm pull`. Without one, nobody knows whether a model could be obtained again.

use super::disk::{self, Writing, io_error};
use super::{Store, StoreError};
use slm_values::digest::Digest;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

const FOLDER: &str = ".slm-origins";
/// Longer than any address that servers take.
const MAX_SOURCE_BYTES: u64 = 16 << 10;

impl Store {
    /// Notes where the model with this manifest came from.
    pub(super) fn note_origin(&self, manifest: &Digest, source: &str, writing: &Writing) -> Result<(), StoreError> {
        disk::create_folder(&self.notes(), &self.root)?;
        disk::write(&self.note(manifest), source.as_bytes(), writing)
    }

    /// Notes where the model with this manifest came from. Before the manifest is there, a removal may forget it.
    ///
    /// # Errors
    /// [`StoreError`] where the disk refuses.
    pub fn record_origin(&self, manifest: &Digest, source: &str) -> Result<(), StoreError> {
        self.note_origin(manifest, source, &self.begin_writing()?)
    }

    /// What to say to `slm pull` to have the model with this manifest again; `None` where nobody noted it.
    #[must_use]
    pub fn origin(&self, manifest: &Digest) -> Option<String> {
        let bytes = disk::read(&self.note(manifest), MAX_SOURCE_BYTES).ok()??;
        let source = String::from_utf8(bytes).ok()?;
        let is_source = !source.trim().is_empty() && !source.contains(char::is_control);
        is_source.then_some(source)
    }

    /// Forgets where a model came from.
    pub(super) fn forget_origin(&self, manifest: &Digest) -> Result<(), StoreError> {
        let note = self.note(manifest);
        match fs::remove_file(&note) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(io_error("remove", &note)(error)),
            _ => Ok(()),
        }
    }

    /// Every note with the digest of its manifest.
    pub(super) fn all_notes(&self) -> Vec<(Digest, PathBuf)> {
        disk::regular_files(&self.notes())
            .filter_map(|(name, path)| Some((format!("sha256:{name}").parse().ok()?, path)))
            .collect()
    }

    pub(super) fn notes(&self) -> PathBuf {
        self.root.join(FOLDER)
    }

    fn note(&self, manifest: &Digest) -> PathBuf {
        self.notes().join(manifest.hex())
    }
}

/// Whether a source can still be obtained: one on this disk only while it is there.
pub(super) fn is_there(source: &str) -> bool {
    let path = Path::new(source);
    !path.is_absolute() || path.exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_kept_for_its_manifest_alone() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().join("store"));
        let [one, other] = [b"1", b"2"].map(|bytes| Digest::of(bytes));
        let writing = store.begin_writing().unwrap();
        store.note_origin(&one, "llama3.2:1b", &writing).unwrap();
        store.note_origin(&one, "hf.co/a/b:Q4_K_M", &writing).unwrap();
        assert_eq!(store.origin(&one).as_deref(), Some("hf.co/a/b:Q4_K_M"));
        assert_eq!(store.origin(&other), None);
        store.forget_origin(&one).unwrap();
        store.forget_origin(&one).unwrap();
        assert_eq!(store.origin(&one), None);
    }

    #[test]
    fn a_damaged_note_says_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().join("store"));
        let manifest = Digest::of(b"1");
        for wrong in [&b""[..], b" \n", b"\xff", b"a\x1b[31m", &[b'a'; 17_000]] {
            store.note_origin(&manifest, "x", &store.begin_writing().unwrap()).unwrap();
            fs::write(store.note(&manifest), wrong).unwrap();
            assert_eq!(store.origin(&manifest), None);
        }
    }
}

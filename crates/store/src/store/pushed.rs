//! What a push needs of the store: a model's manifest as it stands, its blobs to be read, and notes of uploads that were
//! begun.

use super::disk::{self, io_error};
use super::model::parse_manifest;
use super::{Store, StoreError, embedded};
use bytes::Bytes;
use slm_values::digest::Digest;
use slm_values::manifest::{MAX_MANIFEST_BYTES, Manifest};
use slm_values::model_ref::ModelRef;
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

const NOTE_PREFIX: &str = "upload-";
/// An address with what a registry hangs onto it.
const MAX_NOTE_BYTES: u64 = 64 << 10;

/// A model that is to leave: the bytes of its manifest, and all its blobs.
#[derive(Debug)]
pub struct Shipment {
    pub name: ModelRef,
    pub manifest: Manifest,
    /// The manifest's own bytes, which are its identity.
    pub json: Vec<u8>,
    contents: HashMap<Digest, Content>,
}

/// Where the bytes of a blob are. Nobody has looked whether they are those of its digest.
#[derive(Debug)]
pub enum Content {
    Blob(File, PathBuf),
    Embedded(Bytes),
}

/// Where an upload that outlasts its process is noted, locked against other processes.
#[derive(Debug)]
pub struct Note {
    path: PathBuf,
    file: File,
}

impl Shipment {
    /// Takes a blob of the manifest out.
    pub fn take(&mut self, digest: &Digest) -> Option<Content> {
        self.contents.remove(digest)
    }
}

impl Content {
    /// Reads bytes from a place on.
    ///
    /// # Errors
    /// There are fewer, or the disk cannot read them.
    pub fn read(&self, at: u64, n_bytes: usize) -> Result<Bytes, StoreError> {
        match self {
            Content::Blob(file, path) => {
                let mut bytes = vec![0; n_bytes];
                file.read_exact_at(&mut bytes, at).map_err(io_error("read", path))?;
                Ok(bytes.into())
            }
            Content::Embedded(bytes) => {
                let at = usize::try_from(at).expect("a place in memory");
                Ok(bytes.slice(at..at + n_bytes))
            }
        }
    }
}

impl Store {
    /// A model with everything that it is made of; the binary's own comes from memory.
    ///
    /// # Errors
    /// [`StoreError`] where there is no such model, or a blob of it is missing.
    pub fn shipment(&self, name: &ModelRef) -> Result<Shipment, StoreError> {
        let path = self.manifest_path(name);
        let name = name.clone();
        let mut contents = HashMap::new();
        if let Some(json) = disk::read(&path, MAX_MANIFEST_BYTES)? {
            let manifest = parse_manifest(&path, &json)?;
            for layer in manifest.blobs() {
                let path = self.present(layer)?;
                let file = File::open(&path).map_err(io_error("read", &path))?;
                contents.insert(layer.digest, Content::Blob(file, path));
            }
            return Ok(Shipment { name, manifest, json, contents });
        }
        let Some(embedded) = self.embedded.filter(|embedded| embedded.name() == name) else {
            return Err(self.not_found(&name));
        };
        let manifest = self.own_model(&embedded)?.manifest;
        for bytes in embedded::embedded_blobs(&embedded)? {
            contents.insert(Digest::of(&bytes), Content::Embedded(bytes));
        }
        Ok(Shipment { name, json: manifest.to_json(), manifest, contents })
    }

    /// The note of an upload that a digest stands for; `None` where another process has it, or the disk cannot keep one.
    #[must_use]
    pub fn upload_note(&self, upload: &Digest) -> Option<Note> {
        let folder = self.downloads();
        disk::create_folder(&folder, self.root()).ok()?;
        let path = folder.join(format!("{NOTE_PREFIX}{}", upload.hex()));
        disk::remove_link(&path).ok()?;
        // An address may hold what lets others write there.
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path).ok()?;
        file.try_lock().ok()?;
        // Its last owner may have removed it between our open and our lock.
        let is_there = fs::metadata(&path).is_ok_and(|found| {
            use std::os::unix::fs::MetadataExt as _;
            file.metadata().is_ok_and(|ours| (ours.dev(), ours.ino()) == (found.dev(), found.ino()))
        });
        is_there.then_some(Note { path, file })
    }
}

impl Note {
    /// What was written last, if that is text.
    #[must_use]
    pub fn read(&self) -> Option<String> {
        let n_bytes = self.file.metadata().ok()?.len().min(MAX_NOTE_BYTES);
        let mut bytes = vec![0; usize::try_from(n_bytes).ok()?];
        self.file.read_exact_at(&mut bytes, 0).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        // Without its end it was cut by a kill.
        Some(text.strip_suffix('\n')?.to_owned()).filter(|text| !text.is_empty() && !text.contains('\n'))
    }

    /// Writes a line; where that fails an upload starts again next time, and that is all.
    pub fn write(&self, line: &str) {
        let written = || -> io::Result<()> {
            self.file.set_len(0)?;
            self.file.write_all_at(format!("{line}\n").as_bytes(), 0)
        };
        if let Err(error) = written() {
            tracing::warn!("an upload cannot be noted in `{}`: {error}", self.path.display());
        }
    }

    /// Forgets the upload.
    pub fn remove(self) {
        // The lock holds until it is gone; one that stays is swept later.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slm_values::embedded::TRIAGE;

    #[test]
    fn the_embedded_model_has_all_its_blobs() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().join("store")).with_embedded(TRIAGE);
        let mut shipment = store.shipment(&TRIAGE.name()).unwrap();
        for layer in shipment.manifest.clone().blobs() {
            let content = shipment.take(&layer.digest).unwrap();
            let bytes = content.read(0, usize::try_from(layer.size).unwrap()).unwrap();
            assert_eq!(Digest::of(&bytes), layer.digest);
        }
        assert!(!store.root().exists(), "to look is not to write");
    }

    #[test]
    fn a_note_has_one_owner_and_no_half_lines() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().join("store"));
        let id = Digest::of(b"an upload");
        let note = store.upload_note(&id).unwrap();
        assert_eq!(note.read(), None);
        note.write("http://127.0.0.1/1?a=very-long-address");
        note.write("http://127.0.0.1/2");
        assert!(store.upload_note(&id).is_none(), "two owners");
        drop(note);
        let note = store.upload_note(&id).unwrap();
        assert_eq!(note.read().as_deref(), Some("http://127.0.0.1/2"));
        fs::write(&note.path, "http://127.0").unwrap();
        assert_eq!(note.read(), None);
        note.remove();
        assert_eq!(fs::read_dir(store.downloads()).unwrap().count(), 0);
    }
}

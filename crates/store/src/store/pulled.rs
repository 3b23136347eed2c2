//! What a pull needs from the store: which blobs exist here or in other stores, and writing the manifest at the end.

use super::blobs::{self, adapter_header};
use super::disk::{self, Partial, io_error};
use super::{Store, StoreError, layers, shards};
use slm_values::digest::{Digest, Hasher};
use slm_values::manifest::{Layer, MAX_MANIFEST_BYTES, Manifest, media_type};
use slm_values::model_ref::ModelRef;
use slm_values::progress::Progress;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// How a manifest was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Committed {
    Done,
    /// A blob that was there before has been removed meanwhile.
    Missing(Digest),
}

impl Store {
    /// Whether a blob is there in its full length, and nobody has found other bytes in it; they are not looked at now.
    #[must_use]
    pub fn holds(&self, digest: &Digest, n_bytes: u64) -> bool {
        let is_there = fs::metadata(self.blob_path(digest)).is_ok_and(|blob| blob.is_file() && blob.len() == n_bytes);
        is_there && !self.is_damaged(digest)
    }

    /// Whether a blob is there and has the bytes of its name.
    #[must_use]
    pub fn verified(&self, digest: &Digest, progress: &dyn Progress) -> bool {
        let path = self.blob_path(digest);
        let blob = File::open(&path).map_err(io_error("read", &path));
        blob.and_then(|mut blob| blobs::hash(&mut blob, &path, progress)).is_ok_and(|found| found == *digest)
    }

    /// Whether the disk has room for so many bytes more, as far as it says.
    ///
    /// # Errors
    /// [`StoreError::DiskFull`] with both numbers where it has not.
    pub fn has_room(&self, needed: u64) -> Result<(), StoreError> {
        disk::has_room(&self.root, needed)
    }

    /// The bytes of a name's manifest, if there is one.
    ///
    /// # Errors
    /// The disk cannot read it, or it is too large to be one.
    pub fn manifest_bytes(&self, name: &ModelRef) -> Result<Option<Vec<u8>>, StoreError> {
        disk::read(&self.manifest_path(name), MAX_MANIFEST_BYTES)
    }

    /// Takes a blob over from another store on this machine: blocks are shared where the disk can do so. Only bytes that
    /// have the digest become a blob here; `false` where the other store has none such.
    ///
    /// # Errors
    /// This store cannot be written.
    pub fn adopt(
        &self,
        other: &Path,
        digest: &Digest,
        n_bytes: u64,
        progress: &dyn Progress,
    ) -> Result<bool, StoreError> {
        let theirs = other.join("blobs").join(digest.file_name());
        if !fs::metadata(&theirs).is_ok_and(|blob| blob.is_file() && blob.len() == n_bytes) {
            return Ok(false);
        }
        // What cannot be read is downloaded.
        let Ok(mut source) = File::open(&theirs) else { return Ok(false) };
        let writing = self.begin_writing()?;
        let mut partial = Partial::in_folder(&self.blobs(), &writing)?;
        let found = if reflink_copy::reflink_file(&source, &partial.file).is_ok() {
            let path = partial.path().to_owned();
            blobs::hash(&mut partial.file, &path, progress)?
        } else {
            match copy_hashing(&mut source, &theirs, &mut partial, n_bytes, progress)? {
                Some(found) => found,
                None => return Ok(false),
            }
        };
        if found != *digest {
            return Ok(false);
        }
        partial.keep(&self.blob_path(digest))?;
        Ok(true)
    }

    /// Whether the weights and adapters of a pulled model are such, as far as can be told from their headers.
    ///
    /// # Errors
    /// [`StoreError`] where one is not a GGUF file that slm could load, or several are no shards of one model.
    pub fn check(&self, manifest: &Manifest) -> Result<(), StoreError> {
        let path_of = |layer: &Layer| self.blob_path(&layer.digest);
        let weights: Vec<PathBuf> = manifest.layers_of(media_type::MODEL).map(path_of).collect();
        shards::header_of(&weights)?;
        for adapter in manifest.layers_of(media_type::ADAPTER).map(path_of) {
            let mut file = File::open(&adapter).map_err(io_error("read", &adapter))?;
            adapter_header(&mut file, &adapter)?;
        }
        Ok(())
    }

    /// Gives a name the manifest of these bytes, once every blob that it names is there.
    ///
    /// # Errors
    /// The bytes are no manifest, or the disk refuses; then the name is as it was.
    pub fn commit(&self, name: &ModelRef, json: &[u8]) -> Result<Committed, StoreError> {
        let place = self.manifest_path(name);
        let manifest = super::model::parse_manifest(&place, json)?;
        let writing = self.begin_writing()?;
        let missing = manifest.blobs().into_iter().find(|layer| !self.holds(&layer.digest, layer.size));
        if let Some(layer) = missing {
            return Ok(Committed::Missing(layer.digest));
        }
        disk::create_folder(place.parent().expect("a manifest lies in four folders"), self.root())?;
        disk::write(&place, json, &writing)?;
        // All of them are held, so their marks are of files that are gone.
        manifest.blobs().iter().for_each(|layer| self.clear_mark(&layer.digest));
        Ok(Committed::Done)
    }

    /// The manifest of a model of weights that are blobs already, with its configuration written. `weights` are the shards in
    /// order.
    ///
    /// # Errors
    /// The weights are no model, or the disk refuses.
    pub fn manifest_of(&self, weights: Vec<Layer>) -> Result<Manifest, StoreError> {
        let paths: Vec<PathBuf> = weights.iter().map(|layer| self.blob_path(&layer.digest)).collect();
        let header = shards::header_of(&paths)?;
        let (config, bytes) = layers::config_with(layers::config_of(&header), &weights);
        let writing = self.begin_writing()?;
        self.put(&bytes, &writing)?;
        Ok(Manifest::new(config, weights))
    }
}

/// Copies and hashes in one pass; `None` where the source cannot be read to its end.
fn copy_hashing(
    source: &mut File,
    path: &Path,
    partial: &mut Partial,
    n_bytes: u64,
    progress: &dyn Progress,
) -> Result<Option<Digest>, StoreError> {
    use std::io::{Seek as _, Write as _};
    let place = partial.path().to_owned();
    let written = io_error("write", &place);
    partial.file.set_len(0).map_err(&written)?;
    partial.file.rewind().map_err(&written)?;
    disk::has_room(&place, n_bytes)?;
    let mut hasher = Hasher::new();
    let mut failure = None;
    progress.start("copying", n_bytes);
    let copied = blobs::each_chunk(source, path, |chunk| {
        progress.advance(chunk.len() as u64);
        hasher.update(chunk);
        partial.file.write_all(chunk).map_err(|error| {
            let error = io_error("write", &place)(error);
            failure = Some(());
            error
        })
    });
    progress.finish();
    match copied {
        Err(error) if failure.is_some() => Err(error),
        Err(_) => Ok(None),
        Ok(()) => Ok(Some(hasher.finish())),
    }
}

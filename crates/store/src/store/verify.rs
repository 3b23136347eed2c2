//! Checks every stored blob against its hash.

use super::damage::identity;
use super::disk;
use super::model::parse_manifest;
use super::{Broken, Store, StoreError};
use slm_values::digest::{Digest, Hasher};
use slm_values::manifest::{Layer, MAX_MANIFEST_BYTES};
use slm_values::model_ref::ModelRef;
use slm_values::progress::Progress;
use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

/// As much as a processor's nearest caches hold together.
const CHUNK_BYTES: usize = 256 << 10;
/// How often work looks whether it is to stop.
const PATIENCE: Duration = Duration::from_millis(50);

/// What is known of the models that were looked at.
#[derive(Debug, Default)]
pub struct Inspection {
    /// In the order of their names.
    pub models: Vec<Inspected>,
    /// Manifests that cannot be used.
    pub broken: Vec<Broken>,
}

/// A model whose blobs were hashed.
#[derive(Debug, Clone)]
pub struct Inspected {
    pub name: ModelRef,
    /// The manifest's.
    pub digest: Digest,
    /// The configuration first, then the layers in their order.
    pub blobs: Vec<InspectedBlob>,
}

/// A blob as a manifest wants it, and what there is.
#[derive(Debug, Clone)]
pub struct InspectedBlob {
    pub layer: Layer,
    pub state: BlobState,
}

/// What there is of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlobState {
    Sound,
    Missing,
    WrongSize {
        found: u64,
    },
    OtherBytes,
    /// The disk does not give it, for this reason.
    Unreadable(String),
}

/// A manifest on the disk.
struct ReadManifest {
    name: ModelRef,
    path: PathBuf,
    digest: Digest,
    layers: Vec<Layer>,
}

/// A blob's state, and what tells the very file that has other bytes from the one that takes its place.
struct HashedBlob {
    state: BlobState,
    damaged: Option<String>,
}

enum Event {
    Hashed(u64),
    Done(Digest, HashedBlob),
}

impl Inspected {
    /// Whether all of it is as it should be.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.blobs.iter().all(|blob| blob.state == BlobState::Sound)
    }
}

impl Store {
    /// Hashes the blobs of these models, or of all, each blob once, on several threads. A blob with other bytes than its
    /// name says is remembered as one that must be obtained again. `None` where `stop` became true.
    ///
    /// A model that is removed or replaced meanwhile is left out where something of it seems wrong.
    ///
    /// # Errors
    /// [`StoreError`] where no stored model has one of the names.
    pub fn verify(
        &self,
        names: Option<&[ModelRef]>,
        n_threads: NonZeroUsize,
        progress: &dyn Progress,
        stop: &dyn Fn() -> bool,
    ) -> Result<Option<Inspection>, StoreError> {
        let mut inspection = Inspection::default();
        let mut manifests = Vec::new();
        for (name, path) in self.wanted(names)? {
            match read_manifest(name, &path) {
                Ok(manifest) => manifests.extend(manifest),
                Err(error) => inspection.broken.push(Broken { path, error }),
            }
        }
        let Some(states) = self.hash_all(&manifests, n_threads, progress, stop) else { return Ok(None) };
        for manifest in manifests {
            let model = self.inspected(&manifest, &states);
            if model.is_sound() || super::remove::manifest_digest(&manifest.path) == Some(manifest.digest) {
                inspection.models.push(model);
            }
        }
        for (digest, found) in &states {
            // Into a store that cannot be written to, nothing can be pulled again either.
            if let Some(Err(error)) = found.damaged.as_ref().map(|file| self.mark_damaged(digest, file)) {
                tracing::warn!("the damage of `{digest}` cannot be noted: {error}");
            }
        }
        Ok(Some(inspection))
    }

    fn wanted(&self, names: Option<&[ModelRef]>) -> Result<Vec<(ModelRef, PathBuf)>, StoreError> {
        let mut wanted = match names {
            None => self.manifest_files(),
            Some(names) => {
                let stored = |name: &ModelRef| self.stored_manifest(name).map(|path| (name.clone(), path));
                names.iter().map(stored).collect::<Result<_, _>>()?
            }
        };
        wanted.sort();
        wanted.dedup();
        Ok(wanted)
    }

    /// What there is of each blob; its size is not compared with what the manifests say.
    fn hash_all(
        &self,
        manifests: &[ReadManifest],
        n_threads: NonZeroUsize,
        progress: &dyn Progress,
        stop: &dyn Fn() -> bool,
    ) -> Option<HashMap<Digest, HashedBlob>> {
        let mut sizes: HashMap<Digest, HashSet<u64>> = HashMap::new();
        for layer in manifests.iter().flat_map(|manifest| &manifest.layers) {
            sizes.entry(layer.digest).or_default().insert(layer.size);
        }
        let mut states = HashMap::new();
        let mut to_hash: Vec<(u64, Digest)> = Vec::new();
        for (digest, sizes) in sizes {
            match self.blob_len(&digest) {
                // No manifest believes in this size: its bytes need not be read.
                Ok(found) if !sizes.contains(&found) => {
                    states.insert(digest, BlobState::WrongSize { found }.into());
                }
                Ok(found) => to_hash.push((found, digest)),
                Err(state) => {
                    states.insert(digest, state.into());
                }
            }
        }
        // The longest first, so that the threads end together.
        to_hash.sort_by(|one, other| other.cmp(one));
        progress.start("hashing", to_hash.iter().map(|(n_bytes, _)| n_bytes).sum());
        let hashed = self.hash_side_by_side(&to_hash, n_threads, progress, stop);
        progress.finish();
        states.extend(hashed?);
        Some(states)
    }

    /// Hashes these blobs by several threads; `None` where that was stopped.
    fn hash_side_by_side(
        &self,
        to_hash: &[(u64, Digest)],
        n_threads: NonZeroUsize,
        progress: &dyn Progress,
        stop: &dyn Fn() -> bool,
    ) -> Option<HashMap<Digest, HashedBlob>> {
        let mut states = HashMap::new();
        let next = AtomicUsize::new(0);
        let stopped = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let (sender, events) = mpsc::channel();
            for _ in 0..n_threads.get().min(to_hash.len()) {
                let (sender, next, stopped) = (sender.clone(), &next, &stopped);
                scope.spawn(move || {
                    let mut chunk = vec![0; CHUNK_BYTES];
                    while let Some((_, digest)) = to_hash.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let path = self.blob_path(digest);
                        let said = |n_bytes| {
                            // The listener lives as long as the threads.
                            let _ = sender.send(Event::Hashed(n_bytes));
                            !stopped.load(Ordering::Relaxed)
                        };
                        let Some(found) = hashed(&path, digest, &mut chunk, said) else { return };
                        let _ = sender.send(Event::Done(*digest, found));
                    }
                });
            }
            drop(sender);
            loop {
                if stop() {
                    stopped.store(true, Ordering::Relaxed);
                }
                match events.recv_timeout(PATIENCE) {
                    Ok(Event::Hashed(n_bytes)) => progress.advance(n_bytes),
                    Ok(Event::Done(digest, found)) => {
                        states.insert(digest, found);
                    }
                    Err(mpsc::RecvTimeoutError::Timeout) => {}
                    Err(mpsc::RecvTimeoutError::Disconnected) => break,
                }
            }
        });
        (!stopped.into_inner()).then_some(states)
    }

    fn inspected(&self, manifest: &ReadManifest, states: &HashMap<Digest, HashedBlob>) -> Inspected {
        let state = |layer: &Layer| match states.get(&layer.digest).map(|found| &found.state) {
            Some(BlobState::Sound) => match self.blob_len(&layer.digest) {
                Ok(found) if found != layer.size => BlobState::WrongSize { found },
                Ok(_) => BlobState::Sound,
                Err(state) => state,
            },
            Some(state) => state.clone(),
            None => BlobState::Missing,
        };
        let blobs = manifest.layers.iter().map(|layer| InspectedBlob { layer: layer.clone(), state: state(layer) });
        Inspected { name: manifest.name.clone(), digest: manifest.digest, blobs: blobs.collect() }
    }

    fn blob_len(&self, digest: &Digest) -> Result<u64, BlobState> {
        match fs::metadata(self.blob_path(digest)) {
            Ok(blob) if blob.is_file() => Ok(blob.len()),
            Ok(_) => Err(BlobState::Unreadable("it is not a file".to_owned())),
            Err(error) => Err(unreadable(&error)),
        }
    }
}

/// A manifest; `None` where it is gone.
fn read_manifest(name: ModelRef, path: &Path) -> Result<Option<ReadManifest>, StoreError> {
    let Some(json) = disk::read(path, MAX_MANIFEST_BYTES)? else { return Ok(None) };
    let manifest = parse_manifest(path, &json)?;
    let mut layers = vec![manifest.config];
    layers.extend(manifest.layers);
    Ok(Some(ReadManifest { name, path: path.to_owned(), digest: Digest::of(&json), layers }))
}

/// What the bytes of a blob are; `None` where `said` wants no more.
fn hashed(path: &Path, digest: &Digest, chunk: &mut [u8], said: impl Fn(u64) -> bool) -> Option<HashedBlob> {
    let opened = File::open(path).and_then(|file| Ok((file.metadata()?, file)));
    let (blob, mut file) = match opened {
        Ok(opened) => opened,
        Err(error) => return Some(unreadable(&error).into()),
    };
    let mut hasher = Hasher::new();
    loop {
        match file.read(chunk) {
            Ok(0) => break,
            Ok(n) => {
                hasher.update(&chunk[..n]);
                if !said(n as u64) {
                    return None;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Some(unreadable(&error).into()),
        }
    }
    if hasher.finish() == *digest {
        return Some(BlobState::Sound.into());
    }
    Some(HashedBlob { state: BlobState::OtherBytes, damaged: Some(identity(&blob)) })
}

impl From<BlobState> for HashedBlob {
    fn from(state: BlobState) -> HashedBlob {
        HashedBlob { state, damaged: None }
    }
}

fn unreadable(error: &std::io::Error) -> BlobState {
    match disk::is_absent(error) {
        true => BlobState::Missing,
        false => BlobState::Unreadable(error.to_string()),
    }
}

//! Weights that another program writes for this store: a file beside the blobs that is nobody's model yet, and a model that has
//! them in place of its own. What is not kept is gone with its value, or with the next writer where its process died.

use super::blobs::{hash, model_header, open_regular, path_in};
use super::disk::{self, Writing, io_error};
use super::incoming;
use super::layers::config_with;
use super::{ImportedWeights, Model, Store, StoreError, Weights, shards};
use slm_values::digest::Digest;
use slm_values::gguf::Header;
use slm_values::manifest::{Layer, Manifest, media_type};
use slm_values::progress::Progress;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// What a writer leaves free on the disk.
const LEAVE_FREE: u64 = 64 << 20;

/// A file in the making. Dropped before it is kept, it is gone.
#[derive(Debug)]
pub struct Making {
    /// Locked, so that no other writer sweeps it away.
    file: File,
    path: PathBuf,
}

/// Weights that were made, with their file.
#[derive(Debug)]
pub struct Made {
    making: Making,
    pub weights: ImportedWeights,
}

/// What a new model's weights are.
#[derive(Debug, Clone, Copy)]
pub enum NewWeights<'a> {
    /// Those that the Modelfile names, imported where they are a file's.
    Named,
    /// Others that were made of them.
    Made(&'a Made),
    /// Others that were made of them with the adapters of the model in them, which it has no more.
    Merged(&'a Made),
    /// Those that the Modelfile names, where they lie: the model cannot get a name.
    InPlace(&'a ImportedWeights),
}

impl<'a> NewWeights<'a> {
    /// What takes the place of the weights that the Modelfile names.
    pub(super) fn others(self) -> Option<&'a ImportedWeights> {
        match self {
            NewWeights::Named => None,
            NewWeights::Made(made) | NewWeights::Merged(made) => Some(&made.weights),
            NewWeights::InPlace(weights) => Some(weights),
        }
    }
}

/// Weights that somebody named, where they lie.
#[derive(Debug)]
pub struct FoundWeights {
    /// One file, or the shards in their order.
    pub paths: Vec<PathBuf>,
    pub header: Header,
}

impl Store {
    /// An empty file that someone else is to fill with about `n_bytes`.
    ///
    /// # Errors
    /// The disk refuses, or has no room for it.
    pub fn make_file(&self, n_bytes: u64) -> Result<Making, StoreError> {
        // Sweeps what others have left; until ours is locked nobody may.
        let _writing = self.begin_writing()?;
        let folder = self.downloads();
        disk::create_folder(&folder, self.root())?;
        disk::has_room(&folder, n_bytes.saturating_add(LEAVE_FREE))?;
        let (path, file) = incoming::create_in(&folder)?;
        let making = Making { file, path };
        match making.file.lock() {
            // A disk without locks is used without.
            Err(error) if error.kind() != io::ErrorKind::Unsupported => Err(io_error("lock", &making.path)(error)),
            _ => Ok(making),
        }
    }

    /// Makes weights a blob.
    pub(super) fn keep_made(&self, made: &Made, _writing: &Writing) -> Result<(), StoreError> {
        for layer in &made.weights.layers {
            let place = self.blob_path(&layer.digest);
            made.making.file.sync_all().map_err(io_error("write", &place))?;
            fs::rename(&made.making.path, &place).map_err(io_error("write", &place))?;
            disk::sync_folder(place.parent().expect("a blob lies in a folder"))?;
            self.clear_mark(&layer.digest);
        }
        Ok(())
    }
}

impl Making {
    /// Where it is to be written.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads what was written: its header is checked, and its bytes are hashed.
    ///
    /// # Errors
    /// It is not a model, or cannot be read.
    pub fn finish(mut self, progress: &dyn Progress) -> Result<Made, StoreError> {
        let path = self.path.clone();
        let header = model_header(&mut self.file, &path)?;
        let n_bytes = self.file.metadata().map_err(io_error("read", &path))?.len();
        let digest = hash(&mut self.file, &path, progress)?;
        let weights = ImportedWeights { layers: vec![Layer::new(media_type::MODEL, digest, n_bytes)], header };
        Ok(Made { making: self, weights })
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        // A kept one has no file of this name any more.
        let _ = fs::remove_file(&self.path);
    }
}

impl Made {
    /// The file while it is not kept.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.making.path()
    }
}

impl FoundWeights {
    /// The files of the weights that someone named by any of them, as a Modelfile in `folder` names them.
    ///
    /// # Errors
    /// They are not a model, or one of the files is missing.
    pub fn at(path: &str, folder: &Path) -> Result<FoundWeights, StoreError> {
        let found = shards::files_at(&path_in(folder, path)?)?;
        Ok(FoundWeights { paths: found.paths, header: found.header })
    }

    /// Their digests, which takes reading all of them.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn identify(&self, progress: &dyn Progress) -> Result<ImportedWeights, StoreError> {
        let layer = |path: &PathBuf| {
            let mut file = open_regular(path)?;
            let n_bytes = file.metadata().map_err(io_error("read", path))?.len();
            Ok(Layer::new(media_type::MODEL, hash(&mut file, path, progress)?, n_bytes))
        };
        let layers = self.paths.iter().map(layer).collect::<Result<_, StoreError>>()?;
        Ok(ImportedWeights { layers, header: self.header.clone() })
    }
}

impl Model {
    /// The same model of other weights in these files, without its fit, which holds for its own alone.
    #[must_use]
    pub fn with_weights(mut self, weights: &ImportedWeights, paths: Vec<PathBuf>) -> Model {
        let mut layers = self.manifest.layers.clone();
        layers.retain(|layer| !layer.is(media_type::MODEL) && !super::fit::is_fit(layer));
        layers.splice(0..0, weights.layers.iter().cloned());
        self.config.file_type = weights.header.quantization().to_owned();
        let (config, _) = config_with(self.config.clone(), &layers);
        let manifest = Manifest { other: self.manifest.other.clone(), ..Manifest::new(config, layers) };
        Model {
            digest: Digest::of(&manifest.to_json()),
            weights_digest: shards::identity(weights.layers.iter()),
            weights: Weights::Blobs(paths),
            fit: None,
            manifest,
            ..self
        }
    }
}

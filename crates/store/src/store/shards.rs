//! Weights in files: one GGUF, or several that are shards of one model.

use super::blobs::{Imported, adapter_header, from_start, model_header, open_regular, path_in};
use super::disk::{Writing, io_error};
use super::{Store, StoreError};
use slm_values::digest::Digest;
use slm_values::gguf::{GgufError, Header, Shard};
use slm_values::manifest::{Layer, media_type};
use slm_values::progress::Progress;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Weights that have become blobs.
#[derive(Debug, Clone)]
pub struct ImportedWeights {
    /// A layer for each file, in the order of the shards.
    pub layers: Vec<Layer>,
    pub header: Header,
}

/// The files of the weights that someone named, by any of them, and what they are together.
pub(super) struct WeightFiles {
    pub paths: Vec<PathBuf>,
    pub header: Header,
}

impl Store {
    /// Copies a model's weights into the store as [`Store::import_gguf`] does one file's: with a shard of a split model come
    /// all the others, which are beside it.
    ///
    /// # Errors
    /// [`StoreError`] where the files are not a model, one of them is missing, or they cannot be copied.
    pub fn import_weights(&self, path: &Path, progress: &dyn Progress) -> Result<ImportedWeights, StoreError> {
        let writing = self.begin_writing()?;
        self.import_found(path, progress, &writing)
    }

    pub(super) fn import_found(
        &self,
        path: &Path,
        progress: &dyn Progress,
        writing: &Writing,
    ) -> Result<ImportedWeights, StoreError> {
        // Before anything is copied, so that a missing or wrong shard costs nothing.
        let paths = files_at(path)?.paths;
        let layer = |digest: Digest, n_bytes: u64| Layer::new(media_type::MODEL, digest, n_bytes);
        if let [path] = paths.as_slice() {
            let Imported { digest, n_bytes, header } = self.import(path, &model_header, progress, writing)?;
            return Ok(ImportedWeights { layers: vec![layer(digest, n_bytes)], header });
        }
        let mut layers = Vec::new();
        let mut shards = Vec::new();
        for path in &paths {
            let Imported { digest, n_bytes, header } = self.import(path, &shard_header, progress, writing)?;
            layers.push(layer(digest, n_bytes));
            shards.push(header);
        }
        Ok(ImportedWeights { layers, header: merged(shards, &paths[0])? })
    }
}

/// How many bytes the files have of the weights that someone named by any of them. Their headers are checked, and nothing
/// is copied.
///
/// # Errors
/// As [`Store::import_weights`], before it copies.
pub fn sizes_at(path: &str) -> Result<Vec<u64>, StoreError> {
    let found = files_at(&path_in(Path::new(""), path)?)?;
    let size = |path: &PathBuf| Ok(std::fs::metadata(path).map_err(io_error("read", path))?.len());
    found.paths.iter().map(size).collect()
}

/// Finds the weights of which someone named a file, and checks their headers.
pub(super) fn files_at(path: &Path) -> Result<WeightFiles, StoreError> {
    let mut file = open_regular(path)?;
    match model_header(&mut file, path) {
        Err(StoreError::Gguf { source: GgufError::Split(_), .. }) => {}
        header => return Ok(WeightFiles { paths: vec![path.to_owned()], header: header? }),
    }
    let shard = shard_header(&mut file, path)?;
    let paths = beside(path, &shard)?;
    if let Some(missing) = paths.iter().find(|path| !path.is_file()) {
        return Err(StoreError::MissingShard { path: missing.clone(), of: path.to_owned(), n_files: shard.count });
    }
    let header = header_of(&paths)?;
    Ok(WeightFiles { paths, header })
}

/// The header of weights in these files, in their order.
pub(super) fn header_of(paths: &[PathBuf]) -> Result<Header, StoreError> {
    let open = |path: &PathBuf| File::open(path).map_err(io_error("read", path));
    match paths {
        [path] => model_header(&mut open(path)?, path),
        paths => {
            let shards: Result<Vec<Shard>, StoreError> =
                paths.iter().map(|path| shard_header(&mut open(path)?, path)).collect();
            merged(shards?, paths.first().map_or(Path::new(""), PathBuf::as_path))
        }
    }
}

/// Whether a file can be the blob of a layer, as far as its beginning tells: a model or a part of one, an adapter; of other
/// media types, anything.
pub(super) fn check_file(path: &Path, layer: &Layer) -> Result<(), StoreError> {
    let open = || File::open(path).map_err(io_error("read", path));
    if layer.is(media_type::ADAPTER) {
        adapter_header(&mut open()?, path)?;
    } else if layer.is(media_type::MODEL) || layer.is(media_type::EXAMPLES_EMBEDDER) {
        let whole = model_header(&mut open()?, path);
        whole.map(|_| ()).or_else(|error| shard_header(&mut open()?, path).map(|_| ()).map_err(|_| error))?;
    }
    Ok(())
}

/// What stands for the bytes of weights: the digest of the file, or that of the shards' digests in their order.
pub(super) fn identity<'a>(layers: impl Iterator<Item = &'a Layer>) -> Digest {
    let digests: Vec<Digest> = layers.map(|layer| layer.digest).collect();
    match digests.as_slice() {
        [digest] => *digest,
        digests => Digest::of(digests.iter().map(|digest| format!("{digest}\n")).collect::<String>().as_bytes()),
    }
}

fn shard_header(file: &mut File, path: &Path) -> Result<Shard, StoreError> {
    from_start(file, path, Shard::read)?.map_err(|source| StoreError::Gguf { path: path.to_owned(), source })
}

fn merged(shards: Vec<Shard>, path: &Path) -> Result<Header, StoreError> {
    let header = Header::of_shards(shards);
    header.map_err(|source| StoreError::Gguf { path: path.to_owned(), source })
}

/// Where all shards are by the name of one: `model-00002-of-00003.gguf`.
fn beside(path: &Path, shard: &Shard) -> Result<Vec<PathBuf>, StoreError> {
    let ending = |number: u16| format!("-{:05}-of-{:05}.gguf", number + 1, shard.count);
    let name = path.file_name().and_then(|name| name.to_str());
    let Some(prefix) = name.and_then(|name| name.strip_suffix(&ending(shard.number))) else {
        let ending = ending(shard.number);
        return Err(StoreError::ShardName { path: path.to_owned(), ending });
    };
    Ok((0..shard.count).map(|number| path.with_file_name(format!("{prefix}{}", ending(number)))).collect())
}

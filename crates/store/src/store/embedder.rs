//! The embedding model that finds a model's examples: a stored one's weights, which become a layer of the model too, so that they go
//! where it goes, and its vectors of the examples. It embeds nothing.

use super::disk::{self, Writing, io_error};
use super::shards::header_of;
use super::{Store, StoreError};
use slm_values::digest::Digest;
use slm_values::gguf::{Header, Pooling};
use slm_values::manifest::{Layer, Manifest, media_type};
use slm_values::modelfile::FoundBy;
use std::path::PathBuf;

/// The most bytes of the vectors: 40,000 of 384 numbers.
const MAX_VECTORS_BYTES: u64 = 64 << 20;

/// The weights of an embedding model, a blob.
#[derive(Debug, Clone)]
pub struct Embedder {
    pub path: PathBuf,
    pub digest: Digest,
    pub n_bytes: u64,
}

/// The embedding model of stored examples, with its vectors of them, which are not read yet.
#[derive(Debug, Clone)]
pub struct StoredEmbedder {
    pub embedder: Embedder,
    path: PathBuf,
    digest: Digest,
}

impl Embedder {
    /// The header of its weights, checked.
    ///
    /// # Errors
    /// The blob cannot be read, or is no embedding model that gives a vector for a text.
    pub fn header(&self) -> Result<Header, StoreError> {
        let header = header_of(std::slice::from_ref(&self.path))?;
        match header.embeds() {
            Some(Pooling::Mean | Pooling::Cls | Pooling::Last) => Ok(header),
            Some(Pooling::None | Pooling::Rank) | None => Err(StoreError::NoEmbedder {
                name: self.digest.to_string(),
                reason: "it makes no vector of a text".to_owned(),
            }),
        }
    }
}

impl StoredEmbedder {
    /// The vectors of `n_rows` examples, one after the other.
    ///
    /// # Errors
    /// They cannot be read, or are not those of so many examples.
    pub fn vectors(&self, n_rows: usize) -> Result<Vec<f32>, StoreError> {
        let broken = |reason: &str| StoreError::Blob { path: self.path.clone(), reason: reason.to_owned() };
        let bytes = disk::read(&self.path, MAX_VECTORS_BYTES)?.ok_or_else(|| broken("is missing"))?;
        if Digest::of(&bytes) != self.digest {
            return Err(broken("does not match its hash"));
        }
        if bytes.is_empty() || !bytes.len().is_multiple_of(4 * n_rows.max(1)) {
            let n_bytes = bytes.len();
            return Err(broken(&format!("has {n_bytes} bytes, which are not the vectors of {n_rows} examples")));
        }
        Ok(bytes.chunks_exact(4).map(|x| f32::from_le_bytes([x[0], x[1], x[2], x[3]])).collect())
    }
}

impl Store {
    /// The embedding model that a Modelfile names for its examples.
    ///
    /// # Errors
    /// [`StoreError`] where no model has that name, or the model makes no vectors that can be used.
    pub(super) fn embedder(&self, by: &FoundBy) -> Result<Option<Embedder>, StoreError> {
        let embedder = match by {
            FoundBy::Words => return Ok(None),
            FoundBy::Weights(digest) => {
                let path = self.blob_path(digest);
                let n_bytes = std::fs::metadata(&path).map_err(io_error("read", &path))?.len();
                Embedder { path, digest: *digest, n_bytes }
            }
            FoundBy::Model(reference) => {
                let model = self.resolve(&reference.name)?;
                let refused = |reason: String| StoreError::NoEmbedder { name: model.name.to_string(), reason };
                if let Some(digest) = reference.digest.filter(|digest| *digest != model.digest) {
                    return Err(refused(format!("it is `{}` here, not `{digest}`", model.digest)));
                }
                if !model.adapters.is_empty() {
                    return Err(refused("it has adapters, which cannot be loaded beside another model".to_owned()));
                }
                let layers: Vec<&Layer> = model.manifest.layers_of(media_type::MODEL).collect();
                let [layer] = layers.as_slice() else {
                    let n = layers.len();
                    return Err(refused(format!("its weights are in {n} files, and they have to be in one")));
                };
                let path = self.present(layer).map_err(|_| refused("its weights are not in the store".to_owned()))?;
                let embedder = Embedder { path, digest: layer.digest, n_bytes: layer.size };
                embedder.header().map_err(|error| match error {
                    StoreError::NoEmbedder { reason, .. } => refused(reason),
                    other => other,
                })?;
                return Ok(Some(embedder));
            }
        };
        embedder.header()?;
        Ok(Some(embedder))
    }

    /// The embedding model of stored examples.
    pub(super) fn embedder_of(&self, manifest: &Manifest) -> Result<Option<StoredEmbedder>, StoreError> {
        let last = |kind| manifest.layers_of(kind).last();
        let (embedder, vectors) = (last(media_type::EXAMPLES_EMBEDDER), last(media_type::EXAMPLES_VECTORS));
        let (Some(layer), Some(vectors)) = (embedder, vectors) else { return Ok(None) };
        let embedder = Embedder { path: self.present(layer)?, digest: layer.digest, n_bytes: layer.size };
        Ok(Some(StoredEmbedder { embedder, path: self.present(vectors)?, digest: vectors.digest }))
    }

    /// The layer of an embedding model whose weights are still there.
    pub(super) fn embedder_layer(&self, embedder: &Embedder) -> Result<Layer, StoreError> {
        let layer = Layer::new(media_type::EXAMPLES_EMBEDDER, embedder.digest, embedder.n_bytes);
        self.present(&layer)?;
        Ok(layer)
    }

    /// The layer of vectors of so many rows, its blob written; or why they cannot be kept.
    pub(super) fn vectors_layer(
        &self,
        vectors: &[f32],
        n_rows: usize,
        writing: &Writing,
    ) -> Result<Result<Layer, String>, StoreError> {
        if vectors.is_empty() || !vectors.len().is_multiple_of(n_rows.max(1)) {
            return Ok(Err("its texts have no vectors yet; `slm create` computes them".to_owned()));
        }
        let bytes: Vec<u8> = vectors.iter().flat_map(|number| number.to_le_bytes()).collect();
        let n_bytes = bytes.len() as u64;
        if n_bytes > MAX_VECTORS_BYTES {
            let most = MAX_VECTORS_BYTES;
            return Ok(Err(format!(
                "the vectors of its {n_rows} texts have {n_bytes} bytes, and at most {most} are kept; use fewer texts"
            )));
        }
        Ok(Ok(Layer::new(media_type::EXAMPLES_VECTORS, self.put(&bytes, writing)?, n_bytes)))
    }
}

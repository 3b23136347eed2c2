//! The fit of a stored model: two layers, a card and its numbers. Their bytes are checked against their digests, not read.

use super::disk;
use super::{Store, StoreError};
use slm_values::digest::{Digest, Hasher};
use slm_values::manifest::{Layer, Manifest, ModelConfig, media_type, model_config};
use std::path::{Path, PathBuf};

/// The most bytes of a card, which is a page of JSON.
const MAX_CARD_BYTES: u64 = 16 << 20;
/// The most bytes of a fit's numbers: 255 labels by a quarter of a million weights of 4 bytes.
const MAX_NUMBERS_BYTES: u64 = 256 << 20;

/// The fit of a stored model; its bytes are not read yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFit {
    card: FitBlob,
    numbers: FitBlob,
}

/// One of its two blobs.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FitBlob {
    path: PathBuf,
    digest: Digest,
    n_bytes: u64,
}

impl StoredFit {
    /// What tells this fit from every other: the digest of its two digests.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut hash = Hasher::new();
        for blob in [&self.card, &self.numbers] {
            hash.update(blob.digest.to_string().as_bytes());
        }
        hash.finish()
    }

    /// The bytes of the card and of the numbers, which are those of their digests.
    ///
    /// # Errors
    /// A blob is too large, or has other bytes.
    pub fn read(&self) -> Result<[Vec<u8>; 2], StoreError> {
        Ok([self.card.read("card", MAX_CARD_BYTES)?, self.numbers.read("numbers", MAX_NUMBERS_BYTES)?])
    }

    /// The bytes of the card alone.
    ///
    /// # Errors
    /// As [`StoredFit::read`].
    pub fn read_card(&self) -> Result<Vec<u8>, StoreError> {
        self.card.read("card", MAX_CARD_BYTES)
    }
}

impl FitBlob {
    fn read(&self, what: &str, most: u64) -> Result<Vec<u8>, StoreError> {
        let refused = |reason: String| StoreError::Fit { path: self.path.clone(), reason };
        if self.n_bytes > most {
            let n = self.n_bytes;
            return Err(refused(format!("has {n} bytes, and the {what} of a fit has at most {most}")));
        }
        let bytes = disk::read(&self.path, most)?.ok_or_else(|| refused("is missing".to_owned()))?;
        if Digest::of(&bytes) != self.digest {
            return Err(refused("does not match its hash".to_owned()));
        }
        Ok(bytes)
    }
}

/// Whether a layer is one of a fit's.
pub(super) fn is_fit(layer: &Layer) -> bool {
    layer.is(media_type::FIT) || layer.is(media_type::FIT_NUMBERS)
}

/// What became of the fit of the model that another is built on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FitKept {
    /// It was kept, or there was none.
    Yes,
    /// It was left out: prompts or answers are made otherwise, and it would be wrong for them.
    No,
}

/// Leaves out the fit of a base where the layers and the configuration over it make prompts or answers otherwise.
pub(super) fn keep_or_drop(
    layers: &mut Vec<Layer>,
    config: &ModelConfig,
    (base, base_config): (&[Layer], &ModelConfig),
) -> FitKept {
    let parts = |layers: &[Layer]| {
        let no_part = [media_type::PARAMS, media_type::LICENSE, media_type::TUNING];
        let parts = layers.iter().filter(|layer| !is_fit(layer) && !no_part.iter().any(|kind| layer.is(kind)));
        // A layer that is said again moves to the end.
        let mut parts: Vec<String> =
            parts.map(|layer| format!("{} {} {:?}", layer.media_type, layer.digest, layer.other)).collect();
        parts.sort();
        parts
    };
    let renderer = |config: &ModelConfig| config.text(model_config::RENDERER);
    if parts(layers) == parts(base) && renderer(config) == renderer(base_config) {
        return FitKept::Yes;
    }
    let n_layers = layers.len();
    layers.retain(|layer| !is_fit(layer));
    // Most models have none.
    if layers.len() == n_layers { FitKept::Yes } else { FitKept::No }
}

impl Store {
    /// The fit that a manifest names.
    pub(super) fn fit_of(&self, manifest: &Manifest, path: &Path) -> Result<Option<StoredFit>, StoreError> {
        let blob =
            |layer: &Layer| Ok(FitBlob { path: self.present(layer)?, digest: layer.digest, n_bytes: layer.size });
        let blobs = |kind| manifest.layers_of(kind).map(blob).collect::<Result<Vec<FitBlob>, StoreError>>();
        let (cards, numbers) = (blobs(media_type::FIT)?, blobs(media_type::FIT_NUMBERS)?);
        match (&cards[..], &numbers[..]) {
            ([], []) => Ok(None),
            ([card], [numbers]) => Ok(Some(StoredFit { card: card.clone(), numbers: numbers.clone() })),
            (cards, numbers) => {
                Err(StoreError::FitLayers { path: path.to_owned(), n_cards: cards.len(), n_numbers: numbers.len() })
            }
        }
    }
}

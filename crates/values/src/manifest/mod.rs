//! What a model consists of, in the registry's and Ollama's own JSON; it knows no files and opens no layer.

mod config;
mod error;

use crate::digest::Digest;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};

pub use config::{ModelConfig, RootFs, model_config};
pub use error::{MAX_MANIFEST_BYTES, ManifestError};

/// The media types of manifests, configurations and layers. Those of `ollama` are Ollama's, those of `slm` ours.
pub mod media_type {
    pub const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    pub const CONFIG: &str = "application/vnd.docker.container.image.v1+json";
    /// A GGUF file.
    pub const MODEL: &str = "application/vnd.ollama.image.model";
    /// A LoRA adapter, a GGUF file.
    pub const ADAPTER: &str = "application/vnd.ollama.image.adapter";
    /// A vision encoder, a GGUF file.
    pub const PROJECTOR: &str = "application/vnd.ollama.image.projector";
    /// A chat template in Go's language or in Jinja, UTF-8.
    pub const TEMPLATE: &str = "application/vnd.ollama.image.template";
    /// A chat template too, under its first name.
    pub const PROMPT: &str = "application/vnd.ollama.image.prompt";
    /// A system prompt, UTF-8.
    pub const SYSTEM: &str = "application/vnd.ollama.image.system";
    /// Sampling and context parameters, a JSON object.
    pub const PARAMS: &str = "application/vnd.ollama.image.params";
    /// Example turns, a JSON list of `{role, content}`.
    pub const MESSAGES: &str = "application/vnd.ollama.image.messages";
    /// A licence, UTF-8; there may be several.
    pub const LICENSE: &str = "application/vnd.ollama.image.license";
    /// What an answer may be: a JSON Schema, or the JSON string `"json"`.
    pub const FORMAT: &str = "application/vnd.slm.image.format";
    /// Labelled texts, a JSON object with `text` and `label` on each line.
    pub const EXAMPLES: &str = "application/vnd.slm.image.examples";
    /// The embedding model that finds the nearest of them, a GGUF file.
    pub const EXAMPLES_EMBEDDER: &str = "application/vnd.slm.image.examples.embedder";
    /// Its vectors of them in their order, 32-bit floats, little-endian.
    pub const EXAMPLES_VECTORS: &str = "application/vnd.slm.image.examples.vectors";
    /// How the model's answers were fitted to labels, and what it holds for: a card, JSON.
    pub const FIT: &str = "application/vnd.slm.image.fit";
    /// The numbers of that fit, safetensors.
    pub const FIT_NUMBERS: &str = "application/vnd.slm.image.fit.numbers";
    /// How the model's adapter was trained, on which data, and what it gained: a card, JSON.
    pub const TUNING: &str = "application/vnd.slm.image.tuning";
    /// Which model on another server answers in the place of weights, a JSON object without a key.
    pub const REMOTE: &str = "application/vnd.slm.image.remote";
    /// Which models answer in the place of weights, and when each does: a JSON object.
    pub const CASCADE: &str = "application/vnd.slm.image.cascade";

    /// The types that a Modelfile has an instruction for.
    pub const WRITTEN: [&str; 12] = [
        MODEL,
        ADAPTER,
        TEMPLATE,
        PROMPT,
        SYSTEM,
        PARAMS,
        MESSAGES,
        LICENSE,
        FORMAT,
        EXAMPLES,
        EXAMPLES_EMBEDDER,
        EXAMPLES_VECTORS,
    ];
}

/// The last word of a media type, which says what a layer is.
#[must_use]
pub fn kind(media_type: &str) -> &str {
    match media_type.rsplit('.').next() {
        Some("v1+json") => "config",
        Some("numbers") => "fit numbers",
        Some("embedder") => "examples' embedder",
        Some("vectors") => "examples' vectors",
        Some(word) => word,
        None => media_type,
    }
}

/// What Docker calls a GGUF file and a licence in its own models (the `ai` namespace of its registry).
const DOCKER_GGUF: &str = "application/vnd.docker.ai.gguf.v3";
const DOCKER_LICENSE: &str = "application/vnd.docker.ai.license";

/// The annotation of an adapter's layer that says how strongly it applies; readers that do not know it take 1.
const ADAPTER_SCALE: &str = "vnd.slm.adapter.scale";

/// The annotation of a layer of examples that says how many of them come before a text.
const EXAMPLES_K: &str = "vnd.slm.examples.k";

/// A model's manifest. Layers of unknown media types, and unknown fields, are kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    pub schema_version: u32,
    #[serde(default = "manifest_media_type")]
    pub media_type: String,
    pub config: Layer,
    pub layers: Vec<Layer>,
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A blob that a manifest names, and what it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Layer {
    pub media_type: String,
    pub digest: Digest,
    /// The blob's size in bytes.
    pub size: u64,
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Layer {
    #[must_use]
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Layer {
        Layer { media_type: media_type.to_owned(), digest, size, other: Map::new() }
    }

    /// Whether the layer is of a media type, by Ollama's word or by Docker's for the same.
    #[must_use]
    pub fn is(&self, media_type: &str) -> bool {
        let word = match self.media_type.as_str() {
            DOCKER_GGUF => media_type::MODEL,
            DOCKER_LICENSE => media_type::LICENSE,
            word => word,
        };
        word == media_type
    }

    /// The layer of an adapter, with how strongly it applies.
    #[must_use]
    pub fn adapter(digest: Digest, size: u64, scale: f32) -> Layer {
        let layer = Layer::new(media_type::ADAPTER, digest, size);
        if scale == 1.0 { layer } else { layer.annotated(ADAPTER_SCALE, scale.to_string()) }
    }

    /// The layer of examples of which `k` come before a text.
    #[must_use]
    pub fn examples(digest: Digest, size: u64, k: u8) -> Layer {
        Layer::new(media_type::EXAMPLES, digest, size).annotated(EXAMPLES_K, k.to_string())
    }

    fn annotated(mut self, name: &str, text: String) -> Layer {
        let annotations = Map::from_iter([(name.to_owned(), Value::from(text))]);
        self.other.insert("annotations".to_owned(), Value::Object(annotations));
        self
    }

    fn annotation(&self, name: &str) -> Option<&Value> {
        self.other.get("annotations").and_then(|annotations| annotations.get(name))
    }

    /// How many of a layer's examples come before a text; `None` where it does not say a number from 1 on.
    #[must_use]
    pub fn examples_k(&self) -> Option<u8> {
        self.annotation(EXAMPLES_K)?.as_str()?.parse().ok().filter(|&k| k > 0)
    }

    /// The scale of an adapter's layer: 1 where it is not given, `None` where it is not a finite number.
    #[must_use]
    pub fn adapter_scale(&self) -> Option<f32> {
        match self.annotation(ADAPTER_SCALE) {
            None => Some(1.0),
            Some(scale) => scale.as_str()?.parse().ok().filter(|scale: &f32| scale.is_finite()),
        }
    }
}

impl Manifest {
    /// A manifest of our own making.
    #[must_use]
    pub fn new(config: Layer, layers: Vec<Layer>) -> Manifest {
        Manifest { schema_version: 2, media_type: manifest_media_type(), config, layers, other: Map::new() }
    }

    /// A manifest's JSON.
    ///
    /// # Errors
    ///
    /// [`ManifestError`] where it is too large, not the JSON of a manifest, of another schema version, or names a layer twice.
    pub fn parse(json: &[u8]) -> Result<Manifest, ManifestError> {
        if json.len() as u64 > MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooLarge { n_bytes: json.len() as u64 });
        }
        let manifest: Manifest = serde_json::from_slice(json)?;
        if manifest.schema_version != 2 {
            return Err(ManifestError::SchemaVersion(manifest.schema_version));
        }
        let mut seen = HashSet::new();
        let mut sizes = HashMap::from([(manifest.config.digest, manifest.config.size)]);
        let mut total = manifest.config.size;
        for layer in &manifest.layers {
            if !seen.insert((&layer.media_type, layer.digest)) {
                return Err(ManifestError::DuplicateLayer {
                    media_type: layer.media_type.clone(),
                    digest: layer.digest,
                });
            }
            if *sizes.entry(layer.digest).or_insert(layer.size) != layer.size {
                return Err(ManifestError::TwoSizes(layer.digest));
            }
            total = total.checked_add(layer.size).filter(|&size| size <= i64::MAX as u64).ok_or_else(|| {
                ManifestError::LayerSize { media_type: layer.media_type.clone(), n_bytes: layer.size }
            })?;
        }
        Ok(manifest)
    }

    /// The manifest as JSON, ending without a newline.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a manifest has only text keys, numbers and text")
    }

    /// The first layer of a media type.
    #[must_use]
    pub fn layer(&self, media_type: &str) -> Option<&Layer> {
        self.layers.iter().find(|layer| layer.is(media_type))
    }

    /// Every layer of a media type, in order.
    pub fn layers_of<'a>(&'a self, media_type: &'a str) -> impl Iterator<Item = &'a Layer> {
        self.layers.iter().filter(move |layer| layer.is(media_type))
    }

    /// The bytes of the configuration and of all layers together.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.layers.iter().fold(self.config.size, |total, layer| total.saturating_add(layer.size))
    }

    /// The configuration and the layers, each blob once.
    #[must_use]
    pub fn blobs(&self) -> Vec<&Layer> {
        let mut seen = HashSet::new();
        std::iter::once(&self.config).chain(&self.layers).filter(|layer| seen.insert(layer.digest)).collect()
    }

    /// Every blob that the manifest needs.
    pub fn digests(&self) -> impl Iterator<Item = Digest> + '_ {
        std::iter::once(self.config.digest).chain(self.layers.iter().map(|layer| layer.digest))
    }
}

/// The manifests that a list of them names (the image index of the Open Container Initiative, Docker's manifest list);
/// `None` where the JSON is something else.
#[must_use]
pub fn listed(json: &[u8]) -> Option<Vec<Digest>> {
    #[derive(Deserialize)]
    struct List {
        manifests: Vec<ListedManifest>,
    }
    #[derive(Deserialize)]
    struct ListedManifest {
        digest: Digest,
    }
    let list: List = serde_json::from_slice(json).ok()?;
    Some(list.manifests.into_iter().map(|entry| entry.digest).collect())
}

fn manifest_media_type() -> String {
    media_type::MANIFEST.to_owned()
}

#[cfg(test)]
mod tests;

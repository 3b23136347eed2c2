//! What a model consists of, in the registry's and Ollama's own JSON; it knows no files and opens no layer.

use crate::digest::Digest;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};

/// The most bytes that a manifest may have; real ones have about a thousand.
pub const MAX_MANIFEST_BYTES: u64 = 1 << 20;

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

    /// The types that a Modelfile has an instruction for.
    pub const WRITTEN: [&str; 9] = [MODEL, ADAPTER, TEMPLATE, PROMPT, SYSTEM, PARAMS, MESSAGES, LICENSE, FORMAT];
}

/// The last word of a media type, which says what a layer is.
#[must_use]
pub fn kind(media_type: &str) -> &str {
    match media_type.rsplit('.').next() {
        Some("v1+json") => "config",
        Some(word) => word,
        None => media_type,
    }
}

/// What Docker calls a GGUF file and a licence in its own models (the `ai` namespace of its registry).
const DOCKER_GGUF: &str = "application/vnd.docker.ai.gguf.v3";
const DOCKER_LICENSE: &str = "application/vnd.docker.ai.license";

/// The annotation of an adapter's layer that says how strongly it applies; readers that do not know it take 1.
const ADAPTER_SCALE: &str = "vnd.slm.adapter.scale";

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
        let mut layer = Layer::new(media_type::ADAPTER, digest, size);
        if scale != 1.0 {
            let annotations = Map::from_iter([(ADAPTER_SCALE.to_owned(), Value::from(scale.to_string()))]);
            layer.other.insert("annotations".to_owned(), Value::Object(annotations));
        }
        layer
    }

    /// The scale of an adapter's layer: 1 where it says nothing, `None` where it says nonsense.
    #[must_use]
    pub fn adapter_scale(&self) -> Option<f32> {
        match self.other.get("annotations").and_then(|annotations| annotations.get(ADAPTER_SCALE)) {
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
    /// [`ManifestError`] where it is too large, no JSON of a manifest, of another schema version, or names a layer twice.
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
        manifests: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        digest: Digest,
    }
    let list: List = serde_json::from_slice(json).ok()?;
    Some(list.manifests.into_iter().map(|entry| entry.digest).collect())
}

/// Names in a configuration that Modelfiles write there.
pub mod model_config {
    pub const REQUIRES: &str = "requires";
    pub const RENDERER: &str = "renderer";
    pub const PARSER: &str = "parser";
}

/// A model's configuration: what is told of it without opening its weights. The names are Ollama's.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelConfig {
    /// `gguf`.
    #[serde(default)]
    pub model_format: String,
    /// The architecture, as in `llama`.
    #[serde(default)]
    pub model_family: String,
    #[serde(default)]
    pub model_families: Option<Vec<String>>,
    /// The size, as in `1.2B`.
    #[serde(default)]
    pub model_type: String,
    /// The quantization, as in `Q4_K_M`.
    #[serde(default)]
    pub file_type: String,
    #[serde(default)]
    pub architecture: String,
    #[serde(default)]
    pub os: String,
    #[serde(default)]
    pub rootfs: Option<RootFs>,
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The list of layers that Docker's configuration carries.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RootFs {
    #[serde(rename = "type", default)]
    pub kind: String,
    #[serde(default)]
    pub diff_ids: Option<Vec<Digest>>,
}

impl ModelConfig {
    /// A configuration's JSON.
    ///
    /// # Errors
    ///
    /// [`ManifestError`] where it is too large or no JSON of a configuration.
    pub fn parse(json: &[u8]) -> Result<ModelConfig, ManifestError> {
        if json.len() as u64 > MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooLarge { n_bytes: json.len() as u64 });
        }
        Ok(serde_json::from_slice(json)?)
    }

    /// A further field that holds a text, none where it is empty.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        self.other.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
    }

    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a configuration has only text keys, numbers and text")
    }
}

/// A manifest or configuration that cannot be trusted.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("it has {n_bytes} bytes, more than {MAX_MANIFEST_BYTES}")]
    TooLarge { n_bytes: u64 },
    #[error("its JSON is wrong: {0}")]
    Json(#[from] serde_json::Error),
    #[error("its schema version is {0}, not 2")]
    SchemaVersion(u32),
    #[error("it names the layer `{digest}` of type `{media_type}` twice")]
    DuplicateLayer { media_type: String, digest: Digest },
    #[error("it gives the blob `{0}` two sizes")]
    TwoSizes(Digest),
    #[error("its layer of type `{media_type}` has an impossible size of {n_bytes} bytes")]
    LayerSize { media_type: String, n_bytes: u64 },
}

fn manifest_media_type() -> String {
    media_type::MANIFEST.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn layer(media_type: &str, bytes: &[u8]) -> Layer {
        Layer::new(media_type, Digest::of(bytes), bytes.len() as u64)
    }

    fn manifest() -> Manifest {
        Manifest::new(layer(media_type::CONFIG, b"c"), vec![layer(media_type::MODEL, b"m"), layer("x/unknown", b"")])
    }

    #[test]
    fn writes_ollamas_json() {
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let manifest = Manifest::new(layer(media_type::CONFIG, b""), vec![layer(media_type::MODEL, b"")]);
        let expected = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":"{}","digest":"sha256:{hex}","size":0}},"layers":[{{"mediaType":"{}","digest":"sha256:{hex}","size":0}}]}}"#,
            media_type::MANIFEST,
            media_type::CONFIG,
            media_type::MODEL,
        );
        assert_eq!(String::from_utf8(manifest.to_json()).unwrap(), expected);
    }

    #[test]
    fn a_list_names_manifests() {
        let digest = Digest::of(b"m");
        let list =
            serde_json::json!({"schemaVersion": 2, "manifests": [{"digest": digest, "size": 1, "platform": {}}]});
        assert_eq!(listed(list.to_string().as_bytes()), Some(vec![digest]));
        assert_eq!(listed(br#"{"manifests":[]}"#), Some(vec![]));
        for other in [manifest().to_json(), b"".to_vec(), br#"{"manifests":[{"digest":"sha256:../x"}]}"#.to_vec()] {
            assert_eq!(listed(&other), None);
        }
    }

    #[test]
    fn dockers_models_are_models() {
        let layers = vec![layer(DOCKER_GGUF, b"m"), layer(DOCKER_LICENSE, b"l")];
        let manifest = Manifest::new(layer("application/vnd.docker.ai.model.config.v0.1+json", b"c"), layers);
        assert_eq!(manifest.layer(media_type::MODEL), Some(&manifest.layers[0]));
        assert_eq!(manifest.layers_of(media_type::LICENSE).collect::<Vec<_>>(), [&manifest.layers[1]]);
        assert_eq!(manifest.layer(media_type::ADAPTER), None);
    }

    #[test]
    fn keeps_unknown_layers_and_fields() {
        let mut manifest = manifest();
        manifest.layers[0].other.insert("from".to_owned(), "/a/b".into());
        manifest.other.insert("annotations".to_owned(), serde_json::json!({"a": 1}));
        assert_eq!(Manifest::parse(&manifest.to_json()).unwrap(), manifest);
        assert_eq!(manifest.total_bytes(), 2);
        assert_eq!(manifest.digests().count(), 3);
    }

    #[track_caller]
    fn refused(edit: impl FnOnce(&mut Value), expected: &str) {
        let mut value = serde_json::to_value(manifest()).unwrap();
        edit(&mut value);
        let error = Manifest::parse(value.to_string().as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }

    #[test]
    fn refuses_what_cannot_be_right() {
        refused(|m| m["schemaVersion"] = 1.into(), "its schema version is 1, not 2");
        refused(|m| m["layers"] = Value::Null, "its JSON is wrong: invalid type: null, expected a sequence");
        refused(|m| m["layers"][1] = Value::Null, "its JSON is wrong: invalid type: null");
        refused(|m| m["layers"][0]["size"] = (-1).into(), "its JSON is wrong: invalid value: integer `-1`");
        refused(|m| m["layers"][0]["size"] = u64::MAX.into(), "its layer of type `application/vnd.ollama.image.model`");
        refused(|m| m["layers"][1] = m["layers"][0].clone(), "it names the layer `sha256:");
        refused(|m| m["layers"][1]["digest"] = m["config"]["digest"].clone(), "it gives the blob `sha256:");
        refused(
            |m| m["config"]["digest"] = "sha256:../../x".into(),
            "its JSON is wrong: `sha256:../../x` is no digest",
        );
        let error = Manifest::parse(&vec![b' '; 1_048_577]).unwrap_err();
        assert_eq!(error.to_string(), "it has 1048577 bytes, more than 1048576");
    }

    #[test]
    fn reads_a_configuration_that_ollama_wrote() {
        let json = br#"{"model_format":"gguf","model_family":"llama","model_families":null,"model_type":"1.2B",
            "file_type":"Q8_0","architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
        let config = ModelConfig::parse(json).unwrap();
        assert_eq!(config.model_type, "1.2B");
        assert_eq!(ModelConfig::parse(&config.to_json()).unwrap(), config);
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Manifest::parse(&bytes);
            let _ = ModelConfig::parse(&bytes);
        }

        #[test]
        fn manifests_round_trip(blobs in proptest::collection::hash_map(".{0,20}", 0u64..1 << 40, 0..6)) {
            let layers = blobs.iter().map(|(text, &size)| Layer::new(text, Digest::of(format!("layer {text}").as_bytes()), size));
            let manifest = Manifest::new(layer(media_type::CONFIG, b"c"), layers.collect());
            prop_assert_eq!(Manifest::parse(&manifest.to_json()).unwrap(), manifest);
        }
    }
}

//! A model's configuration, the blob beside its layers.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::error::{MAX_MANIFEST_BYTES, ManifestError};
use crate::digest::Digest;

/// Names in a configuration that Modelfiles write there.
pub mod model_config {
    pub const REQUIRES: &str = "requires";
    pub const RENDERER: &str = "renderer";
    pub const PARSER: &str = "parser";
}

/// A model's configuration: what is known of it without opening its weights. The names are Ollama's.
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
    /// [`ManifestError`] where it is too large or not the JSON of a configuration.
    pub fn parse(json: &[u8]) -> Result<ModelConfig, ManifestError> {
        if json.len() as u64 > MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooLarge { n_bytes: json.len() as u64 });
        }
        Ok(serde_json::from_slice(json)?)
    }

    /// A further field that holds a text; `None` where it is empty.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        self.other.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
    }

    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a configuration has only text keys, numbers and text")
    }
}

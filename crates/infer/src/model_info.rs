//! What `list` and `show` report about a stored model without loading it, under the names of Ollama's API. It knows neither
//! terminals nor HTTP.

use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::load_spec::{self, TemplateChoice};
use slm_store::store::{FitListed, Listed, Model, Origin, StoreError, StoredAdapter, StoredExamples, StoredFit};
use slm_values::gguf::{Arrays, Header, LoraPair, Pooling};
use slm_values::manifest::ModelConfig;
use slm_values::modelfile::Format;

/// What kind of model it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ModelDetails {
    /// Always empty: a manifest does not record what a model was made from.
    pub parent_model: String,
    pub format: String,
    pub family: String,
    pub families: Option<Vec<String>>,
    pub parameter_size: String,
    pub quantization_level: String,
}

/// A model in a list.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ModelSummary {
    pub name: String,
    pub model: String,
    /// RFC 3339; nothing for the model in the binary.
    pub modified_at: Option<String>,
    /// Total size of its files in bytes.
    pub size: u64,
    /// The SHA-256 of its manifest.
    pub digest: String,
    pub details: ModelDetails,
    /// Whether it is part of slm's binary.
    pub embedded: bool,
    /// Whether its answers are fitted to labels.
    pub fitted: bool,
}

/// The details of one model.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ModelDescription {
    pub modelfile: String,
    pub template: Option<String>,
    /// Which chat template is used, in words.
    pub template_source: String,
    pub system: Option<String>,
    #[schema(value_type = Vec<Object>)]
    pub messages: Value,
    /// The labelled texts of which the nearest come before each text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub examples: Option<ExamplesInfo>,
    /// The form that every answer has: a JSON schema, or `"json"`.
    pub format: Option<Value>,
    pub adapters: Vec<AdapterInfo>,
    /// How its answers were fitted to labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fit: Option<FitInfo>,
    /// The pooling of an embedding model.
    pub embeds: Option<String>,
    pub license: String,
    pub details: ModelDetails,
    /// The metadata in its GGUF file.
    #[schema(value_type = Object)]
    pub model_info: Map<String, Value>,
    pub size: u64,
}

/// The labelled texts of a model.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ExamplesInfo {
    pub digest: String,
    /// How many there are.
    pub n: usize,
    /// How many of them come before a text.
    pub k: u8,
    /// The digest of the embedding model's weights that finds them; left out where they are found by their words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// The fit of a model.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct FitInfo {
    /// What tells it from every other.
    pub digest: String,
    /// Its card: what it belongs to, methods and rows by field, figures before and after, thresholds, promise, date. Left out
    /// where it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub card: Option<Value>,
    /// Why it cannot be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// An adapter of a model.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AdapterInfo {
    pub digest: String,
    pub size: u64,
    pub scale: f32,
    pub alpha: f32,
    pub rank: Option<u64>,
    /// The names of the tensors that it changes.
    pub tensors: Vec<String>,
}

impl ModelDetails {
    #[must_use]
    pub fn of(config: &ModelConfig) -> ModelDetails {
        ModelDetails {
            parent_model: String::new(),
            format: config.model_format.clone(),
            family: config.model_family.clone(),
            families: config.model_families.clone(),
            parameter_size: config.model_type.clone(),
            quantization_level: config.file_type.clone(),
        }
    }
}

impl ModelSummary {
    #[must_use]
    pub fn of(model: &Listed, modified_at: Option<String>) -> ModelSummary {
        ModelSummary {
            name: model.name.to_string(),
            model: model.name.to_string(),
            modified_at,
            size: model.n_bytes,
            digest: model.digest.hex(),
            details: ModelDetails::of(&model.config),
            embedded: model.origin == Origin::Embedded,
            fitted: model.fit == FitListed::Yes,
        }
    }
}

impl ModelDescription {
    /// The description of a model whose weights have that header; `None` where it has none.
    ///
    /// # Errors
    /// An adapter cannot be read.
    pub fn of(model: &Model, header: Option<&Header>, arrays: Arrays) -> Result<ModelDescription, StoreError> {
        Ok(ModelDescription {
            modelfile: model.modelfile().to_string(),
            template: model.template.as_deref().or(header.and_then(Header::chat_template)).map(str::to_owned),
            template_source: header.map_or_else(
                || "whoever answers makes the prompt".to_owned(),
                |header| TemplateChoice::of(model, header).describe(),
            ),
            system: model.system.clone(),
            messages: json!(model.messages),
            examples: model.examples.as_ref().map(ExamplesInfo::of),
            format: model.format.as_ref().map(format_json),
            adapters: model.adapters.iter().map(AdapterInfo::of).collect::<Result<_, _>>()?,
            fit: model.fit.as_ref().map(|stored| FitInfo::of(model, stored)),
            embeds: header.and_then(Header::embeds).map(|pooling: Pooling| pooling.as_str().to_owned()),
            license: model.licenses.join("\n\n"),
            details: ModelDetails::of(&model.config),
            model_info: header.map(|header| header.model_info(arrays)).unwrap_or_default(),
            size: model.manifest.total_bytes(),
        })
    }
}

impl ExamplesInfo {
    fn of(examples: &StoredExamples) -> ExamplesInfo {
        ExamplesInfo {
            digest: examples.digest.to_string(),
            n: examples.rows.len(),
            k: examples.k,
            by: examples.by.as_ref().map(|by| by.embedder.digest.to_string()),
        }
    }
}

impl FitInfo {
    fn of(model: &Model, stored: &StoredFit) -> FitInfo {
        let digest = stored.digest().id();
        match load_spec::own_fit(model) {
            Ok(fit) => FitInfo { digest, card: fit.map(|fit| json!(fit.fit().card)), error: None },
            Err(error) => FitInfo { digest, card: None, error: Some(error.to_string()) },
        }
    }
}

impl AdapterInfo {
    /// # Errors
    /// The adapter's file cannot be read.
    pub fn of(adapter: &StoredAdapter) -> Result<AdapterInfo, StoreError> {
        let header = adapter.header()?;
        Ok(AdapterInfo {
            digest: adapter.digest.hex(),
            size: adapter.n_bytes,
            scale: adapter.scale,
            alpha: header.alpha,
            rank: header.pairs.iter().map(LoraPair::rank).max(),
            tensors: header.pairs.iter().map(|pair| pair.name.clone()).collect(),
        })
    }
}

/// A stored form as JSON.
#[must_use]
pub fn format_json(format: &Format) -> Value {
    match format {
        Format::Json => "json".into(),
        Format::Schema(schema) => schema.clone(),
        Format::File(path) => format!("@{path}").into(),
    }
}

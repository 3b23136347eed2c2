//! A model read from its manifest: everything but the weights in memory, every small layer's digest verified.

use super::disk::{self, io_error};
use super::error::Unknown;
use super::examples::StoredExamples;
use super::fit::{self, StoredFit};
use super::{Store, StoreError, blobs, shards};
use serde_json::{Map, Value};
use slm_values::chat::{Message, Role};
use slm_values::digest::Digest;
use slm_values::examples;
use slm_values::gguf::{AdapterHeader, Header};
use slm_values::manifest::{Layer, MAX_MANIFEST_BYTES, Manifest, ModelConfig, media_type, model_config};
use slm_values::model_ref::ModelRef;
use slm_values::modelfile::{AdapterSource, BaseSource, ExamplesSource, Format, FoundBy, Modelfile};
use slm_values::sampling::Parameters;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// The most bytes of a layer that is read into memory; licences are the longest.
const MAX_LAYER_BYTES: u64 = 4 << 20;

/// A model and all that a Modelfile said about it.
#[derive(Debug, Clone)]
pub struct Model {
    pub name: ModelRef,
    pub manifest: Manifest,
    /// The digest of the manifest's own bytes: the model's identity.
    pub digest: Digest,
    /// When the manifest was written; `None` for the embedded model.
    pub modified: Option<SystemTime>,
    pub config: ModelConfig,
    pub weights: Weights,
    /// The digest of the weights' bytes, as the manifest gives it; of shards, that of their digests.
    pub weights_digest: Digest,
    pub parameters: Parameters,
    pub system: Option<String>,
    /// A chat template in Go's language or in Jinja, in place of the GGUF's own.
    pub template: Option<String>,
    pub messages: Vec<Message>,
    pub examples: Option<StoredExamples>,
    pub licenses: Vec<String>,
    pub format: Option<Format>,
    pub adapters: Vec<StoredAdapter>,
    /// How its answers were fitted to labels.
    pub fit: Option<StoredFit>,
}

/// An adapter of a model.
#[derive(Debug, Clone)]
pub struct StoredAdapter {
    pub path: PathBuf,
    pub digest: Digest,
    pub n_bytes: u64,
    pub scale: f32,
}

impl StoredAdapter {
    /// Reads and checks the header.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the blob cannot be read or is not an adapter.
    pub fn header(&self) -> Result<AdapterHeader, StoreError> {
        let mut file = File::open(&self.path).map_err(io_error("read", &self.path))?;
        blobs::adapter_header(&mut file, &self.path)
    }
}

/// Where a model's GGUF is.
#[derive(Debug, Clone)]
pub enum Weights {
    /// A file, or the shards of a split one in their order.
    Blobs(Vec<PathBuf>),
    Embedded(&'static [u8]),
    /// There are none.
    Elsewhere(Elsewhere),
}

/// Who answers for a model without weights: the JSON of its layer, which this room does not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Elsewhere {
    /// A model on another server.
    Remote(Arc<str>),
    /// Other models, in tiers.
    Cascade(Arc<str>),
}

impl Elsewhere {
    /// What such a model is called.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Elsewhere::Remote(_) => "remote",
            Elsewhere::Cascade(_) => "cascade",
        }
    }

    pub(super) fn media_type(&self) -> &'static str {
        match self {
            Elsewhere::Remote(_) => media_type::REMOTE,
            Elsewhere::Cascade(_) => media_type::CASCADE,
        }
    }

    pub(super) fn json(&self) -> &str {
        match self {
            Elsewhere::Remote(json) | Elsewhere::Cascade(json) => json,
        }
    }
}

impl Weights {
    /// Reads and checks the header, as must be done before native code sees the weights.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the blob cannot be read or is not a model.
    pub fn header(&self) -> Result<Header, StoreError> {
        match self {
            Weights::Blobs(paths) => shards::header_of(paths),
            Weights::Embedded(bytes) => blobs::embedded_header(bytes),
            Weights::Elsewhere(who) => Err(StoreError::NoWeights(who.kind())),
        }
    }
}

impl Model {
    /// The model as a Modelfile that makes it again from its weights.
    #[must_use]
    pub fn modelfile(&self) -> Modelfile {
        let from = match &self.weights {
            Weights::Blobs(paths) => match paths.as_slice() {
                [path] => BaseSource::Path(path.display().to_string()),
                // A blob's name does not lead to the other shards.
                _ => BaseSource::Name(self.name.clone().into()),
            },
            Weights::Embedded(_) | Weights::Elsewhere(_) => BaseSource::Name(self.name.clone().into()),
        };
        Modelfile {
            parameters: self.parameters.clone(),
            system: self.system.clone(),
            template: self.template.clone(),
            messages: self.messages.iter().filter(|message| message.role != Role::Tool).cloned().collect(),
            examples: self.examples.as_ref().map(as_examples),
            licenses: self.licenses.clone(),
            format: self.format.clone(),
            adapters: self.adapters.iter().map(as_source).collect(),
            requires: self.config.text(model_config::REQUIRES),
            renderer: self.config.text(model_config::RENDERER),
            parser: self.config.text(model_config::PARSER),
            ..Modelfile::new(from)
        }
    }

    /// What [`Model::modelfile`] cannot say, in words; a model that is made of it is without that.
    #[must_use]
    pub fn unwritten(&self) -> Vec<String> {
        // `FROM` the model itself keeps who answers in the place of weights.
        let kept = || media_type::WRITTEN.into_iter().chain([media_type::REMOTE, media_type::CASCADE]);
        let lost = |layer: &&Layer| !fit::is_fit(layer) && !kept().any(|written| layer.is(written));
        let layer = |layer: &Layer| format!("the layer {} of type `{}`", layer.digest, layer.media_type);
        let parameters = self.parameters.to_map();
        let lost_parameter = |(name, value): (&String, &Value)| {
            let cannot = !Parameters::can_be_written(name, value);
            cannot.then(|| format!("the parameter `{name}` with the value {value}, which has no effect"))
        };
        let of_tools = self.messages.iter().filter(|message| message.role == Role::Tool);
        let layers = self.manifest.layers.iter().filter(lost).map(layer);
        let parameters = parameters.iter().filter_map(lost_parameter);
        let fit = self.fit.iter().map(|_| format!("its fit, which `FROM {}` and `slm cp` keep", self.name));
        let of_tools = of_tools.map(|_| "a message of the role `tool`".to_owned());
        layers.chain(parameters).chain(of_tools).chain(fit).collect()
    }
}

impl Store {
    /// The model of that name, in any case that is not ambiguous: the stored one, else the binary's own.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`] with what there is and what is near; others where the model is there and broken.
    pub fn resolve(&self, name: &ModelRef) -> Result<Model, StoreError> {
        let name = &self.spelled(name)?;
        let path = self.manifest_path(name);
        if let Some(json) = disk::read(&path, MAX_MANIFEST_BYTES)? {
            return self.stored(name, &path, &json);
        }
        match self.embedded.filter(|embedded| embedded.name() == *name) {
            Some(embedded) => self.own_model(&embedded),
            None => Err(self.not_found(name)),
        }
    }

    /// The error for a name that nothing has.
    pub(super) fn not_found(&self, name: &ModelRef) -> StoreError {
        let existing = self.names();
        let text = name.to_string();
        let mut by_distance: Vec<(usize, &ModelRef)> = existing
            .iter()
            .map(|known| {
                let whole = strsim::levenshtein(&known.to_string(), &text);
                // `llama3.2:1b` is near `llama3.2`, whatever the lengths of their tags.
                let model = strsim::levenshtein(known.model(), name.model());
                (if known.is_spelt_like(name) { 0 } else { whole.min(model) }, known)
            })
            .filter(|(distance, _)| *distance <= 2.max(name.model().len() / 4))
            .collect();
        by_distance.sort();
        let nearest = by_distance.into_iter().take(3).map(|(_, known)| known.clone()).collect();
        StoreError::NotFound(Box::new(Unknown { name: name.clone(), existing, nearest }))
    }

    fn stored(&self, name: &ModelRef, path: &Path, json: &[u8]) -> Result<Model, StoreError> {
        self.stored_of(name, path, json, None)
    }

    /// The model of a manifest, with weights in these files where they are not the store's.
    pub(super) fn stored_of(
        &self,
        name: &ModelRef,
        path: &Path,
        json: &[u8],
        elsewhere: Option<Vec<PathBuf>>,
    ) -> Result<Model, StoreError> {
        let manifest = parse_manifest(path, json)?;
        let weights = weights_of(&manifest, path)?;
        let weights_digest = shards::identity(weights.iter().copied());
        let weights = match weights.as_slice() {
            _ if elsewhere.is_some() => Weights::Blobs(elsewhere.unwrap_or_default()),
            [layer] if layer.is(media_type::REMOTE) => Weights::Elsewhere(Elsewhere::Remote(self.text(layer)?.into())),
            [layer] if layer.is(media_type::CASCADE) => {
                Weights::Elsewhere(Elsewhere::Cascade(self.text(layer)?.into()))
            }
            layers => Weights::Blobs(layers.iter().map(|layer| self.present(layer)).collect::<Result<_, _>>()?),
        };
        let text = |kinds: &[&str]| self.text_of(&manifest, kinds);
        let value = |kind: &'static str| self.json_of(&manifest, kind);
        let mut parameters = Map::new();
        // As in Ollama the values of a later layer take the place of an earlier one's.
        for layer in manifest.layers_of(media_type::PARAMS) {
            let (path, value) = self.json(layer)?;
            parameters.extend(value.as_object().cloned().ok_or_else(|| broken(&path, "is not a JSON object"))?);
        }
        let parameters = Parameters::from_layer(parameters);
        let messages = match value(media_type::MESSAGES)? {
            None => Vec::new(),
            Some((path, value)) => serde_json::from_value(value)
                .map_err(|error| broken(&path, &format!("is not a list of messages: {error}")))?,
        };
        let format = match value(media_type::FORMAT)? {
            None => None,
            Some((_, schema @ Value::Object(_))) => Some(Format::Schema(schema)),
            Some((_, Value::String(text))) if text == "json" => Some(Format::Json),
            Some((path, _)) => return Err(broken(&path, "is neither a JSON Schema nor `\"json\"`")),
        };
        let licenses =
            manifest.layers_of(media_type::LICENSE).map(|layer| self.text(layer)).collect::<Result<_, _>>()?;
        let last_examples = manifest.layers_of(media_type::EXAMPLES).last();
        let examples = last_examples.map(|layer| self.examples(layer, &manifest)).transpose()?;
        let adapters =
            manifest.layers_of(media_type::ADAPTER).map(|layer| self.adapter(layer)).collect::<Result<_, _>>()?;
        Ok(Model {
            name: name.clone(),
            digest: Digest::of(json),
            modified: std::fs::metadata(path).and_then(|manifest| manifest.modified()).ok(),
            config: self.config_of(&manifest)?,
            weights,
            weights_digest,
            parameters,
            system: text(&[media_type::SYSTEM])?,
            template: text(&[media_type::TEMPLATE, media_type::PROMPT])?,
            messages,
            examples,
            licenses,
            format,
            adapters,
            fit: self.fit_of(&manifest, path)?,
            manifest,
        })
    }

    fn adapter(&self, layer: &Layer) -> Result<StoredAdapter, StoreError> {
        let path = self.present(layer)?;
        let scale = layer.adapter_scale().ok_or_else(|| broken(&path, "is an adapter whose scale is not a number"))?;
        Ok(StoredAdapter { path, digest: layer.digest, n_bytes: layer.size, scale })
    }

    fn examples(&self, layer: &Layer, manifest: &Manifest) -> Result<StoredExamples, StoreError> {
        let path = self.present(layer)?;
        let rows = examples::read(&self.text(layer)?, "text", "label");
        let rows = rows.map_err(|error| broken(&path, &format!("has examples that cannot be used: {error}")))?;
        let k = layer.examples_k().ok_or_else(|| broken(&path, "has examples, but not how many come before a text"))?;
        Ok(StoredExamples { path, digest: layer.digest, rows, k, by: self.embedder_of(manifest)? })
    }

    pub(super) fn config_of(&self, manifest: &Manifest) -> Result<ModelConfig, StoreError> {
        let bytes = self.small_layer(&manifest.config)?;
        ModelConfig::parse(&bytes).map_err(|error| {
            broken(&self.blob_path(&manifest.config.digest), &format!("is not a configuration: {error}"))
        })
    }

    /// Where a layer's blob is, known to be there in full length.
    pub(super) fn present(&self, layer: &Layer) -> Result<PathBuf, StoreError> {
        let path = self.blob_path(&layer.digest);
        match std::fs::metadata(&path) {
            Ok(blob) if blob.len() == layer.size => Ok(path),
            Ok(blob) => {
                let reason = format!("has {} bytes, not {}", blob.len(), layer.size);
                Err(broken(&path, &reason))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Err(broken(&path, "is missing")),
            Err(error) => Err(io_error("read", &path)(error)),
        }
    }

    /// The text of the last layer of these types: it is the one that holds.
    fn text_of(&self, manifest: &Manifest, kinds: &[&str]) -> Result<Option<String>, StoreError> {
        let layer = manifest.layers.iter().rfind(|layer| kinds.contains(&layer.media_type.as_str()));
        layer.map(|layer| self.text(layer)).transpose()
    }

    fn text(&self, layer: &Layer) -> Result<String, StoreError> {
        let not_utf8 = |_| broken(&self.blob_path(&layer.digest), "is not UTF-8");
        String::from_utf8(self.small_layer(layer)?).map_err(not_utf8)
    }

    fn json_of(&self, manifest: &Manifest, kind: &str) -> Result<Option<(PathBuf, Value)>, StoreError> {
        let layer = manifest.layers.iter().rfind(|layer| layer.media_type == kind);
        layer.map(|layer| self.json(layer)).transpose()
    }

    fn json(&self, layer: &Layer) -> Result<(PathBuf, Value), StoreError> {
        let path = self.blob_path(&layer.digest);
        let value = serde_json::from_slice(&self.small_layer(layer)?)
            .map_err(|error| broken(&path, &format!("is not JSON: {error}")))?;
        Ok((path, value))
    }

    /// The bytes of a layer other than weights; they are those of its digest.
    pub(super) fn small_layer(&self, layer: &Layer) -> Result<Vec<u8>, StoreError> {
        let path = self.present(layer)?;
        let bytes = disk::read(&path, MAX_LAYER_BYTES)?.ok_or_else(|| broken(&path, "is missing"))?;
        if Digest::of(&bytes) != layer.digest {
            return Err(broken(&path, "does not match its hash"));
        }
        Ok(bytes)
    }
}

fn as_source(adapter: &StoredAdapter) -> AdapterSource {
    AdapterSource { path: adapter.path.display().to_string(), scale: adapter.scale }
}

fn as_examples(examples: &StoredExamples) -> ExamplesSource {
    let by = examples.by.as_ref().map_or(FoundBy::Words, |by| FoundBy::Weights(by.embedder.digest));
    ExamplesSource { k: examples.k, by, ..ExamplesSource::new(examples.path.display().to_string()) }
}

pub(super) fn parse_manifest(path: &Path, json: &[u8]) -> Result<Manifest, StoreError> {
    Manifest::parse(json).map_err(|source| StoreError::Manifest { path: path.to_owned(), source })
}

/// The layers of weights, at least one; several are shards of one model, as their headers must show. A model without weights has
/// one that says who answers.
pub(super) fn weights_of<'a>(manifest: &'a Manifest, path: &Path) -> Result<Vec<&'a Layer>, StoreError> {
    let layers: Vec<&Layer> = manifest.layers_of(media_type::MODEL).collect();
    let elsewhere = [media_type::REMOTE, media_type::CASCADE].into_iter().find_map(|kind| manifest.layer(kind));
    if let (Some(elsewhere), true) = (elsewhere, layers.is_empty()) {
        return Ok(vec![elsewhere]);
    }
    if layers.is_empty() {
        return Err(StoreError::Layers { path: path.to_owned(), reason: "names no weights file".to_owned() });
    }
    Ok(layers)
}

fn broken(path: &Path, reason: &str) -> StoreError {
    StoreError::Blob { path: path.to_owned(), reason: reason.to_owned() }
}

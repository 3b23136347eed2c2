//! Makes a model from a Modelfile: the weights and layers it builds on, and its own layers over them.

use super::disk::{self, Writing};
use super::{Model, Store, StoreError, Weights, adapter, shards};
use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};
use slm_values::digest::Digest;
use slm_values::embedded::Embedded;
use slm_values::gguf::Header;
use slm_values::manifest::{Layer, Manifest, ModelConfig, RootFs, media_type, model_config};
use slm_values::model_ref::ModelRef;
use slm_values::modelfile::{Format, Modelfile, Source};
use slm_values::progress::Progress;
use slm_values::sampling::Parameters;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The most bytes of a schema's file.
const MAX_SCHEMA_BYTES: u64 = 1 << 20;

/// What a model is built on.
struct Base {
    config: ModelConfig,
    layers: Vec<Layer>,
    parameters: Parameters,
}

/// A layer that is not yet a blob.
struct NewLayer {
    media_type: &'static str,
    bytes: Vec<u8>,
}

impl Store {
    /// Makes a model of that name, in place of one that has it. Paths in the Modelfile are relative to `folder`.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where something that the Modelfile names is missing or wrong; the name is then as it was before.
    pub fn create(
        &self,
        name: &ModelRef,
        modelfile: &Modelfile,
        folder: &Path,
        progress: &dyn Progress,
    ) -> Result<Model, StoreError> {
        // Before the weights are copied, so that a wrong schema costs nothing.
        let modelfile = with_schema(modelfile, folder)?;
        let adapters = match modelfile.adapters.as_slice() {
            [] => Vec::new(),
            adapters => adapter::checked(adapters, folder, &self.base_header(&modelfile.from, folder)?)?,
        };
        let writing = self.begin_writing()?;
        let base = match &modelfile.from {
            Source::Path(path) => self.base_of_file(&path_in(folder, path)?, progress, &writing)?,
            Source::Name(from) => self.base_of_model(&from.name, &writing)?,
        };
        let new = layers_over(&base.parameters, &modelfile);
        let adapters = self.adapter_layers(&adapters, progress, &writing)?;
        let mut layers = base.layers;
        // The base's adapters stay, each at its own scale, unless the Modelfile gives it another.
        layers.retain(|old| adapters.iter().all(|new| (new.digest, &new.media_type) != (old.digest, &old.media_type)));
        let is_weights = |layer: &Layer| layer.is(media_type::MODEL) || layer.is(media_type::ADAPTER);
        let behind = layers.iter().rposition(is_weights).map_or(0, |at| at + 1);
        layers.splice(behind..behind, adapters);
        // A layer takes the place of the base's of its kind; licences add up.
        let kind = |old: &Layer| match old.media_type.as_str() {
            media_type::PROMPT => media_type::TEMPLATE.to_owned(),
            other => other.to_owned(),
        };
        layers.retain(|old| old.is(media_type::LICENSE) || new.iter().all(|layer| layer.media_type != kind(old)));
        for layer in new {
            let digest = self.put(&layer.bytes, &writing)?;
            push_once(&mut layers, Layer::new(layer.media_type, digest, layer.bytes.len() as u64));
        }
        let (config, config_bytes) = config_with(config_over(base.config, &modelfile), &layers);
        self.put(&config_bytes, &writing)?;
        let manifest = Manifest::new(config, layers);
        let place = self.manifest_path(name);
        disk::create_folder(place.parent().expect("a manifest lies in four folders"), self.root())?;
        disk::write(&place, &manifest.to_json(), &writing)?;
        drop(writing);
        self.resolve(name)
    }

    fn base_header(&self, from: &Source, folder: &Path) -> Result<Header, StoreError> {
        match from {
            Source::Path(path) => Ok(shards::files_at(&path_in(folder, path)?)?.header),
            Source::Name(from) => self.resolve(&from.name)?.weights.header(),
        }
    }

    fn base_of_file(&self, path: &Path, progress: &dyn Progress, writing: &Writing) -> Result<Base, StoreError> {
        let imported = self.import_found(path, progress, writing)?;
        Ok(Base { config: config_of(&imported.header), layers: imported.layers, parameters: Parameters::default() })
    }

    fn base_of_model(&self, name: &ModelRef, writing: &Writing) -> Result<Base, StoreError> {
        let model = self.resolve(name)?;
        if let Weights::Embedded(bytes) = model.weights {
            self.put(bytes, writing)?;
            let own = self.embedded.expect("an embedded model was just resolved");
            for layer in layers_over(&Parameters::default(), &Modelfile::parse(own.modelfile)?) {
                self.put(&layer.bytes, writing)?;
            }
        }
        Ok(Base { config: model.config, layers: model.manifest.layers, parameters: model.parameters })
    }
}

/// The binary's own model, in the form that [`Store::create`] would give it.
pub(super) fn embedded_model(embedded: &Embedded) -> Result<Model, StoreError> {
    let modelfile = Modelfile::parse(embedded.modelfile)?;
    let weights = Layer::new(media_type::MODEL, Digest::of(embedded.gguf), embedded.gguf.len() as u64);
    let weights_digest = weights.digest;
    let mut layers = vec![weights];
    for layer in layers_over(&Parameters::default(), &modelfile) {
        push_once(&mut layers, Layer::new(layer.media_type, Digest::of(&layer.bytes), layer.bytes.len() as u64));
    }
    let (config_layer, config_bytes) =
        config_with(config_over(config_of(&embedded_header(embedded.gguf)?), &modelfile), &layers);
    let manifest = Manifest::new(config_layer, layers);
    let config = ModelConfig::parse(&config_bytes)
        .map_err(|source| StoreError::Manifest { path: PathBuf::from(embedded.name().to_string()), source })?;
    Ok(Model {
        name: embedded.name(),
        digest: Digest::of(&manifest.to_json()),
        modified: None,
        config,
        weights: Weights::Embedded(embedded.gguf),
        weights_digest,
        parameters: modelfile.parameters,
        system: modelfile.system,
        template: modelfile.template,
        messages: modelfile.messages,
        licenses: modelfile.licenses,
        format: modelfile.format,
        adapters: Vec::new(),
        manifest,
    })
}

/// The bytes of every blob of the binary's own model.
pub(super) fn embedded_blobs(embedded: &Embedded) -> Result<Vec<Bytes>, StoreError> {
    let new = layers_over(&Parameters::default(), &Modelfile::parse(embedded.modelfile)?);
    let layers = embedded_model(embedded)?.manifest.layers;
    let (_, config) = config_with(config_of(&embedded_header(embedded.gguf)?), &layers);
    let own = new.into_iter().map(|layer| Bytes::from(layer.bytes));
    Ok([Bytes::from_static(embedded.gguf), Bytes::from(config)].into_iter().chain(own).collect())
}

pub(super) fn embedded_header(bytes: &[u8]) -> Result<Header, StoreError> {
    Header::read(bytes, bytes.len() as u64)
        .map_err(|source| StoreError::Gguf { path: PathBuf::from("(embedded)"), source })
}

/// The Modelfile's own layers, its parameters over those of its base.
fn layers_over(base: &Parameters, modelfile: &Modelfile) -> Vec<NewLayer> {
    let text = |media_type, text: &Option<String>| {
        text.as_ref().map(|text| NewLayer { media_type, bytes: text.clone().into_bytes() })
    };
    let parameters = (!modelfile.parameters.is_empty()).then(|| NewLayer {
        media_type: media_type::PARAMS,
        bytes: go_json(&as_go_orders(modelfile.parameters.clone().over(base.clone()).to_map())),
    });
    let messages = (!modelfile.messages.is_empty())
        .then(|| NewLayer { media_type: media_type::MESSAGES, bytes: go_json(&modelfile.messages) });
    let format = modelfile.format.as_ref().map(|format| {
        let value = match format {
            Format::Json => Value::from("json"),
            Format::Schema(schema) => schema.clone(),
            Format::File(path) => unreachable!("the file `{path}` was read before"),
        };
        NewLayer { media_type: media_type::FORMAT, bytes: value.to_string().into_bytes() }
    });
    let optional = [
        text(media_type::TEMPLATE, &modelfile.template),
        text(media_type::SYSTEM, &modelfile.system),
        parameters,
        messages,
        format,
    ];
    let licenses = modelfile
        .licenses
        .iter()
        .map(|license| NewLayer { media_type: media_type::LICENSE, bytes: license.clone().into_bytes() });
    optional.into_iter().flatten().chain(licenses).collect()
}

/// What the configuration tells of weights.
pub(super) fn config_of(header: &Header) -> ModelConfig {
    let family = header.architecture().to_owned();
    ModelConfig {
        model_format: "gguf".to_owned(),
        model_families: Some(vec![family.clone()]),
        model_family: family,
        model_type: header.size_label(),
        file_type: header.quantization().to_owned(),
        // Ollama's constants: a model is the same on every machine.
        architecture: "amd64".to_owned(),
        os: "linux".to_owned(),
        rootfs: None,
        other: Map::new(),
    }
}

/// A base's configuration with what the Modelfile says there.
fn config_over(mut config: ModelConfig, modelfile: &Modelfile) -> ModelConfig {
    if modelfile.template.is_some() {
        // It would write the prompt in place of the template that somebody has just given.
        config.other.remove(model_config::RENDERER);
    }
    let said = [
        (model_config::RENDERER, &modelfile.renderer),
        (model_config::PARSER, &modelfile.parser),
        (model_config::REQUIRES, &modelfile.requires),
    ];
    for (name, text) in said {
        if let Some(text) = text {
            config.other.insert(name.to_owned(), text.clone().into());
        }
    }
    config
}

/// The configuration of a model of these layers, as a layer and as bytes.
pub(super) fn config_with(mut config: ModelConfig, layers: &[Layer]) -> (Layer, Vec<u8>) {
    let diff_ids = Some(layers.iter().map(|layer| layer.digest).collect());
    config.rootfs = Some(RootFs { kind: "layers".to_owned(), diff_ids });
    let bytes = go_json(&config);
    (Layer::new(media_type::CONFIG, Digest::of(&bytes), bytes.len() as u64), bytes)
}

fn push_once(layers: &mut Vec<Layer>, layer: Layer) {
    if !layers.iter().any(|old| old.media_type == layer.media_type && old.digest == layer.digest) {
        layers.push(layer);
    }
}

/// JSON as Go's encoder writes it, so that a layer that Ollama has too is the same blob.
fn go_json(value: &impl Serialize) -> Vec<u8> {
    let json = serde_json::to_string(value).expect("values of text keys, numbers and text");
    // These characters stand only inside strings.
    let mut json = json.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e");
    json = json.replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029");
    json.push('\n');
    json.into_bytes()
}

/// Parameters as Go's encoder writes a map: in the order of their names, whole numbers without a fraction.
fn as_go_orders(parameters: Map<String, Value>) -> BTreeMap<String, Value> {
    let whole = |value: Value| match value.as_f64() {
        // Exact: a whole number far below 2^53.
        Some(number) if value.is_f64() && number.fract() == 0.0 && number.abs() < 1e15 => Value::from(number as i64),
        _ => value,
    };
    parameters.into_iter().map(|(name, value)| (name, whole(value))).collect()
}

/// The Modelfile with the schema that its `FORMAT @file` names.
///
/// # Errors
///
/// [`StoreError`] where the file is missing or holds no JSON object; whether that is a schema is not checked.
pub fn with_schema(modelfile: &Modelfile, folder: &Path) -> Result<Modelfile, StoreError> {
    let mut modelfile = modelfile.clone();
    if let Some(Format::File(path)) = &modelfile.format {
        let path = path_in(folder, path)?;
        let refused = |reason: String| StoreError::Schema { path: path.clone(), reason };
        let bytes = disk::read(&path, MAX_SCHEMA_BYTES)?.ok_or_else(|| refused("does not exist".to_owned()))?;
        modelfile.format = match serde_json::from_slice(&bytes) {
            Ok(schema @ Value::Object(_)) => Some(Format::Schema(schema)),
            Ok(_) => return Err(refused("is no JSON object".to_owned())),
            Err(error) => return Err(refused(format!("is no JSON: {error}"))),
        };
    }
    Ok(modelfile)
}

pub(super) fn path_in(folder: &Path, path: &str) -> Result<PathBuf, StoreError> {
    if path.starts_with('~') {
        return Err(StoreError::HomePath(path.to_owned()));
    }
    Ok(folder.join(path))
}

//! What a Modelfile adds to its base, as layers and as a configuration, byte for byte as Ollama would write them.

use serde::Serialize;
use serde_json::{Map, Value};
use slm_values::digest::Digest;
use slm_values::gguf::Header;
use slm_values::manifest::{Layer, ModelConfig, RootFs, media_type, model_config};
use slm_values::modelfile::{Format, Modelfile};
use slm_values::sampling::Parameters;
use std::collections::BTreeMap;

/// A layer that is not yet a blob.
pub(super) struct NewLayer {
    pub media_type: &'static str,
    pub bytes: Vec<u8>,
}

/// The Modelfile's own layers, its parameters over those of its base.
pub(super) fn layers_over(base: &Parameters, modelfile: &Modelfile) -> Vec<NewLayer> {
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

/// What the configuration tells of a model without weights.
pub(super) fn config_elsewhere(kind: &str) -> ModelConfig {
    ModelConfig {
        model_format: kind.to_owned(),
        model_families: Some(vec![kind.to_owned()]),
        model_family: kind.to_owned(),
        model_type: String::new(),
        file_type: String::new(),
        architecture: "amd64".to_owned(),
        os: "linux".to_owned(),
        rootfs: None,
        other: Map::new(),
    }
}

/// A base's configuration with what the Modelfile says there.
pub(super) fn config_over(mut config: ModelConfig, modelfile: &Modelfile) -> ModelConfig {
    if modelfile.template.is_some() {
        // It would write the prompt in place of the template that someone has just given.
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

pub(super) fn push_once(layers: &mut Vec<Layer>, layer: Layer) {
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

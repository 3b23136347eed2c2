//! The model in the binary as a stored one: the manifest and the blobs that it would have on the disk.

use super::blobs::embedded_header;
use super::layers::{config_of, config_over, config_with, layers_over, push_once};
use super::{Model, StoreError, Weights};
use bytes::Bytes;
use slm_values::digest::Digest;
use slm_values::embedded::EmbeddedModel;
use slm_values::manifest::{Layer, Manifest, ModelConfig, media_type};
use slm_values::modelfile::Modelfile;
use slm_values::sampling::Parameters;
use std::path::PathBuf;

/// The binary's own model, in the form that [`Store::create`] would give it.
pub(super) fn embedded_model(embedded: &EmbeddedModel) -> Result<Model, StoreError> {
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
        examples: None,
        licenses: modelfile.licenses,
        format: modelfile.format,
        adapters: Vec::new(),
        fit: None,
        manifest,
    })
}

/// The bytes of every blob of the binary's own model.
pub(super) fn embedded_blobs(embedded: &EmbeddedModel) -> Result<Vec<Bytes>, StoreError> {
    let new = layers_over(&Parameters::default(), &Modelfile::parse(embedded.modelfile)?);
    let layers = embedded_model(embedded)?.manifest.layers;
    let (_, config) = config_with(config_of(&embedded_header(embedded.gguf)?), &layers);
    let own = new.into_iter().map(|layer| Bytes::from(layer.bytes));
    Ok([Bytes::from_static(embedded.gguf), Bytes::from(config)].into_iter().chain(own).collect())
}

//! Puts a fit, or the card of a tuning, beside a model's other layers, in place of an earlier one, or takes it away.

use super::disk::{self, Writing};
use super::fit::is_fit;
use super::layers::{config_with, push_once};
use super::model::parse_manifest;
use super::{Model, Store, StoreError};
use slm_values::digest::Digest;
use slm_values::manifest::{Layer, MAX_MANIFEST_BYTES, Manifest, ModelConfig, media_type};
use slm_values::model_ref::ModelRef;

/// The bytes of a fit.
#[derive(Debug, Clone, Copy)]
pub struct FitFiles<'a> {
    /// JSON.
    pub card: &'a [u8],
    /// Safetensors.
    pub numbers: &'a [u8],
}

impl Model {
    /// What tells the model from every other, with whatever fit: what it answers without one depends on nothing else.
    #[must_use]
    pub fn digest_without_fit(&self) -> Digest {
        if self.fit.is_none() {
            return self.digest;
        }
        let mut layers = self.manifest.layers.clone();
        layers.retain(|layer| !is_fit(layer));
        let (config, _) = config_with(self.config.clone(), &layers);
        Digest::of(&Manifest { other: self.manifest.other.clone(), ..Manifest::new(config, layers) }.to_json())
    }
}

impl Store {
    /// Makes `name` the model of `source` with this fit in place of any other, or without one. `name` points at what it did
    /// until the new manifest is whole.
    ///
    /// # Errors
    /// [`StoreError`] where there is no such model, or the disk refuses; `name` is then as it was.
    pub fn set_fit(
        &self,
        source: &ModelRef,
        name: &ModelRef,
        files: Option<FitFiles<'_>>,
    ) -> Result<Model, StoreError> {
        let new = match &files {
            Some(FitFiles { card, numbers }) => vec![(media_type::FIT, *card), (media_type::FIT_NUMBERS, *numbers)],
            None => Vec::new(),
        };
        self.with_layers(source, name, is_fit, &new)
    }

    /// Gives a model the card of its tuning, in place of any other.
    ///
    /// # Errors
    /// As [`Store::set_fit`].
    pub fn set_tuning(&self, name: &ModelRef, card: &[u8]) -> Result<Model, StoreError> {
        self.with_layers(name, name, |layer| layer.is(media_type::TUNING), &[(media_type::TUNING, card)])
    }

    /// The card of a model's tuning, JSON; `None` where it has none.
    ///
    /// # Errors
    /// Its blob is missing, or has other bytes.
    pub fn tuning(&self, model: &Model) -> Result<Option<Vec<u8>>, StoreError> {
        model.manifest.layers_of(media_type::TUNING).last().map(|layer| self.small_layer(layer)).transpose()
    }

    /// Makes `name` the model of `source` with new layers, each with its type, in place of those that are old.
    fn with_layers(
        &self,
        source: &ModelRef,
        name: &ModelRef,
        is_old: impl Fn(&Layer) -> bool,
        new: &[(&'static str, &[u8])],
    ) -> Result<Model, StoreError> {
        let source = self.spelled(source)?;
        let writing = self.begin_writing()?;
        let (config, Manifest { mut layers, other, .. }) = self.parts_of(&source, &writing)?;
        layers.retain(|layer| !is_old(layer));
        for (kind, bytes) in new {
            let digest = self.put(bytes, &writing)?;
            push_once(&mut layers, Layer::new(kind, digest, bytes.len() as u64));
        }
        let (config, bytes) = config_with(config, &layers);
        self.put(&bytes, &writing)?;
        let manifest = Manifest { other, ..Manifest::new(config, layers) };
        let place = self.manifest_path(name);
        disk::create_folder(place.parent().expect("a manifest lies in four folders"), self.root())?;
        disk::write(&place, &manifest.to_json(), &writing)?;
        drop(writing);
        self.resolve(name)
    }

    /// Configuration and manifest of a model, its fit readable or not. The blobs of the binary's own are written.
    fn parts_of(&self, name: &ModelRef, writing: &Writing) -> Result<(ModelConfig, Manifest), StoreError> {
        let path = self.manifest_path(name);
        match disk::read(&path, MAX_MANIFEST_BYTES)? {
            Some(json) => {
                let manifest = parse_manifest(&path, &json)?;
                Ok((self.config_of(&manifest)?, manifest))
            }
            None => {
                let base = self.base_of_model(name)?;
                let manifest = self.resolve(name)?.manifest;
                self.put_own(&base.own, &manifest.layers, writing)?;
                Ok((base.config, manifest))
            }
        }
    }
}

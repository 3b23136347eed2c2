//! Makes a model from a Modelfile: the weights and layers it builds on, and its own layers over them.

use super::blobs::path_in;
use super::disk::{self, Writing};
use super::examples::{NewExamples, StoredExamples};
use super::fit::{self, FitKept};
use super::layers::{config_elsewhere, config_of, config_over, config_with, layers_over, push_once};
use super::{Elsewhere, Model, Store, StoreError, Weights, adapter, examples, shards};
use serde_json::Value;
use slm_values::digest::Digest;
use slm_values::encoding;
use slm_values::gguf::Header;
use slm_values::manifest::{Layer, Manifest, ModelConfig, media_type};
use slm_values::model_ref::ModelRef;
use slm_values::modelfile::{BaseSource, Format, Modelfile};
use slm_values::progress::Progress;
use slm_values::sampling::Parameters;
use std::borrow::Cow;
use std::path::Path;

/// The most bytes of a schema's file.
const MAX_SCHEMA_BYTES: u64 = 1 << 20;

/// A model that has no name yet. While it is held, nothing is removed from the store.
pub struct Creation {
    manifest: Vec<u8>,
    fit: FitKept,
    writing: Writing,
}

impl Creation {
    /// The digest of its manifest.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.manifest)
    }

    /// What became of its base's fit.
    #[must_use]
    pub fn fit(&self) -> FitKept {
        self.fit
    }
}

/// What a model is built on.
#[derive(Default)]
pub(super) struct Base {
    pub config: ModelConfig,
    pub layers: Vec<Layer>,
    parameters: Parameters,
    format: Option<Format>,
    examples: Option<StoredExamples>,
    /// The bytes of the binary's own layers, which are in the store only once a model of a manifest needs them.
    pub own: Vec<Cow<'static, [u8]>>,
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
        let making = self.begin_creating(modelfile, folder, progress)?;
        self.finish_creating(name, making)
    }

    /// Makes everything of a model but its name: its blobs are in the store, and stay there while it is held.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where something that the Modelfile names is missing or wrong.
    pub fn begin_creating(
        &self,
        modelfile: &Modelfile,
        folder: &Path,
        progress: &dyn Progress,
    ) -> Result<Creation, StoreError> {
        let examples = match &modelfile.examples {
            Some(source) => {
                // Whoever answers elsewhere is given none.
                self.base_header(&modelfile.from, folder)?;
                Some(self.read_examples(source, folder)?)
            }
            None => None,
        };
        self.begin_creating_with(modelfile, folder, examples.as_ref(), progress)
    }

    /// As [`Store::begin_creating`], with these examples in place of those that the Modelfile names.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn begin_creating_with(
        &self,
        modelfile: &Modelfile,
        folder: &Path,
        examples: Option<&NewExamples>,
        progress: &dyn Progress,
    ) -> Result<Creation, StoreError> {
        // Before the weights are copied, so that a mistake costs nothing.
        let modelfile = with_schema(modelfile, folder)?;
        if let Some(asked) = modelfile.parameters.num_ctx
            && let Some(trained) = self.base_header(&modelfile.from, folder)?.footprint().context_below(asked)
        {
            return Err(StoreError::Context { asked, trained });
        }
        let adapters = match modelfile.adapters.as_slice() {
            [] => Vec::new(),
            adapters => adapter::checked(adapters, folder, &self.base_header(&modelfile.from, folder)?)?,
        };
        let writing = self.begin_writing()?;
        let base = match &modelfile.from {
            BaseSource::Path(path) => self.base_of_file(&path_in(folder, path)?, progress, &writing)?,
            BaseSource::Name(from) => self.base_of_model(&from.name)?,
        };
        let format = modelfile.format.as_ref().or(base.format.as_ref());
        match (examples, &base.examples) {
            (Some(new), _) => new.check(format)?,
            (None, Some(inherited)) => examples::check(&inherited.rows, format, &inherited.path)?,
            (None, None) => {}
        }
        let adapters = self.adapter_layers(&adapters, progress, &writing)?;
        self.built(base, adapters, examples, &modelfile, writing)
    }

    /// As [`Store::begin_creating`], of a model without weights: `who` takes the place of what the Modelfile's FROM names.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the schema of FORMAT is missing or wrong, or there are adapters or examples.
    pub fn begin_creating_elsewhere(
        &self,
        who: &Elsewhere,
        modelfile: &Modelfile,
        folder: &Path,
    ) -> Result<Creation, StoreError> {
        let modelfile = with_schema(modelfile, folder)?;
        if !modelfile.adapters.is_empty() || modelfile.examples.is_some() {
            return Err(StoreError::NoWeights(who.kind()));
        }
        let writing = self.begin_writing()?;
        let bytes = who.json().as_bytes();
        let layers = vec![Layer::new(who.media_type(), self.put(bytes, &writing)?, bytes.len() as u64)];
        let base = Base { config: config_elsewhere(who.kind()), layers, ..Base::default() };
        self.built(base, Vec::new(), None, &modelfile, writing)
    }

    /// The base's layers with the Modelfile's own over them.
    fn built(
        &self,
        base: Base,
        adapters: Vec<Layer>,
        examples: Option<&NewExamples>,
        modelfile: &Modelfile,
        writing: Writing,
    ) -> Result<Creation, StoreError> {
        let new = layers_over(&base.parameters, modelfile);
        let mut layers = base.layers.clone();
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
        // The largest first, so that a full disk leaves no small ones behind.
        self.put_own(&base.own, &layers, &writing)?;
        for layer in new {
            let digest = self.put(&layer.bytes, &writing)?;
            push_once(&mut layers, Layer::new(layer.media_type, digest, layer.bytes.len() as u64));
        }
        if let Some(new) = examples {
            layers.retain(|old| !examples::is_of_examples(old));
            layers.extend(self.examples_layers(new, &writing)?);
        }
        let config = config_over(base.config.clone(), modelfile);
        let fit = fit::keep_or_drop(&mut layers, &config, (&base.layers, &base.config));
        let (config, config_bytes) = config_with(config, &layers);
        self.put(&config_bytes, &writing)?;
        Ok(Creation { manifest: Manifest::new(config, layers).to_json(), fit, writing })
    }

    /// Gives what was made its name, in place of a model that has it.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the disk refuses; the name is then as it was before.
    pub fn finish_creating(&self, name: &ModelRef, creation: Creation) -> Result<Model, StoreError> {
        let place = self.manifest_path(name);
        disk::create_folder(place.parent().expect("a manifest lies in four folders"), self.root())?;
        disk::write(&place, &creation.manifest, &creation.writing)?;
        drop(creation);
        self.resolve(name)
    }

    fn base_header(&self, from: &BaseSource, folder: &Path) -> Result<Header, StoreError> {
        match from {
            BaseSource::Path(path) => Ok(shards::files_at(&path_in(folder, path)?)?.header),
            BaseSource::Name(from) => self.resolve(&from.name)?.weights.header(),
        }
    }

    fn base_of_file(&self, path: &Path, progress: &dyn Progress, writing: &Writing) -> Result<Base, StoreError> {
        let imported = self.import_found(path, progress, writing)?;
        Ok(Base { config: config_of(&imported.header), layers: imported.layers, ..Base::default() })
    }

    pub(super) fn base_of_model(&self, name: &ModelRef) -> Result<Base, StoreError> {
        let model = self.resolve(name)?;
        let mut own = Vec::new();
        if let Weights::Embedded(bytes) = model.weights {
            own.push(Cow::Borrowed(bytes));
            let embedded = self.embedded.expect("an embedded model was just resolved");
            let layers = layers_over(&Parameters::default(), &Modelfile::parse(embedded.modelfile)?);
            own.extend(layers.into_iter().map(|layer| Cow::Owned(layer.bytes)));
        }
        let Model { config, manifest, parameters, format, examples, .. } = model;
        Ok(Base { config, layers: manifest.layers, parameters, format, examples, own })
    }

    /// Writes those of the binary's own layers that a manifest with these has: the others would never be of use.
    pub(super) fn put_own(
        &self,
        own: &[Cow<'static, [u8]>],
        layers: &[Layer],
        writing: &Writing,
    ) -> Result<(), StoreError> {
        let is_kept = |bytes: &[u8]| {
            let digest = Digest::of(bytes);
            layers.iter().any(|layer| layer.digest == digest)
        };
        own.iter().filter(|bytes| is_kept(bytes)).try_for_each(|bytes| self.put(bytes, writing).map(|_| ()))
    }
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
        let text = encoding::decode(&bytes).map_err(|error| refused(format!("cannot be read: {error}")))?;
        modelfile.format = match serde_json::from_str(&text) {
            Ok(schema @ Value::Object(_)) => Some(Format::Schema(schema)),
            Ok(_) => return Err(refused("is not a JSON object".to_owned())),
            Err(error) => return Err(refused(format!("is not JSON: {error}"))),
        };
    }
    Ok(modelfile)
}

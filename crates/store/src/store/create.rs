//! Makes a model from a Modelfile: the weights and layers it builds on, and its own layers over them.

use super::blobs::path_in;
use super::disk::{self, Writing};
use super::examples::{NewExamples, StoredExamples};
use super::fit::{self, FitKept};
use super::layers::{config_elsewhere, config_of, config_over, config_with, layers_over, push_once};
use super::{Elsewhere, ImportedWeights, Model, NewWeights, Store, StoreError, Weights, adapter, examples, shards};
use serde_json::Value;
use slm_values::digest::Digest;
use slm_values::encoding;
use slm_values::gguf::Header;
use slm_values::manifest::{Layer, Manifest, ModelConfig, media_type};
use slm_values::model_ref::ModelRef;
use slm_values::modelfile::{BaseSource, Format, Modelfile};
use slm_values::progress::{Progress, Silent};
use slm_values::sampling::Parameters;
use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// The most bytes of a schema's file.
const MAX_SCHEMA_BYTES: u64 = 1 << 20;

/// A model that has no name yet. While it is held, nothing is removed from the store.
pub struct Creation {
    manifest: Vec<u8>,
    fit: FitKept,
    writing: Writing,
}

/// What a Modelfile names beside the weights.
struct Parts {
    modelfile: Modelfile,
    adapters: Vec<adapter::Checked>,
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
    /// Weights that take the place of those in `layers`.
    replaced: Option<Vec<Layer>>,
    /// Whether its adapters are in them.
    has_adapters_merged: bool,
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
        self.begin_creating_of(modelfile, folder, NewWeights::Named, progress)
    }

    /// As [`Store::begin_creating`], with other weights than those that the Modelfile's FROM names.
    ///
    /// # Errors
    ///
    /// As [`Store::begin_creating`].
    pub fn begin_creating_of(
        &self,
        modelfile: &Modelfile,
        folder: &Path,
        weights: NewWeights<'_>,
        progress: &dyn Progress,
    ) -> Result<Creation, StoreError> {
        let examples = self.named_examples(modelfile, folder)?;
        self.begin_creating_with(modelfile, folder, (weights, examples.as_ref()), progress)
    }

    /// As [`Store::begin_creating_of`], with these examples in place of those that the Modelfile names.
    ///
    /// # Errors
    ///
    /// As [`Store::begin_creating`].
    pub fn begin_creating_with(
        &self,
        modelfile: &Modelfile,
        folder: &Path,
        (weights, examples): (NewWeights<'_>, Option<&NewExamples>),
        progress: &dyn Progress,
    ) -> Result<Creation, StoreError> {
        // Before the weights are copied, so that a mistake costs nothing.
        let Parts { modelfile, adapters } = self.parts(modelfile, folder)?;
        if examples.is_some() {
            // Whoever answers elsewhere is given none.
            self.base_header(&modelfile.from, folder)?;
        }
        let writing = self.begin_writing()?;
        let mut base = match (&modelfile.from, weights.others()) {
            (BaseSource::Path(path), None) => self.base_of_file(&path_in(folder, path)?, progress, &writing)?,
            (BaseSource::Path(_), Some(others)) => Base { config: config_of(&others.header), ..Base::default() },
            (BaseSource::Name(from), _) => self.base_of_model(&from.name)?,
        };
        if let NewWeights::Made(made) | NewWeights::Merged(made) = weights {
            self.keep_made(made, &writing)?;
        }
        if let Some(others) = weights.others() {
            base.config.file_type = others.header.quantization().to_owned();
            base.replaced = Some(others.layers.clone());
            base.has_adapters_merged = matches!(weights, NewWeights::Merged(_));
        }
        let format = modelfile.format.as_ref().or(base.format.as_ref());
        match (examples, &base.examples) {
            (Some(new), _) => new.check(format)?,
            (None, Some(inherited)) => examples::check(&inherited.rows, format, &inherited.path)?,
            (None, None) => {}
        }
        let adapters = self.adapter_layers(&adapters, progress, &writing)?;
        self.built(base, adapters, examples, &modelfile, writing)
    }

    /// The model that a Modelfile in `folder` makes, of weights where they lie and without a name of its own: `name` is how it
    /// calls itself. Nothing but its small layers gets into the store.
    ///
    /// # Errors
    /// [`StoreError`] where something that the Modelfile names is missing or wrong.
    pub fn unnamed(
        &self,
        name: &ModelRef,
        (modelfile, folder): (&Modelfile, &Path),
        (weights, paths): (&ImportedWeights, Vec<PathBuf>),
    ) -> Result<Model, StoreError> {
        let creation = self.begin_creating_of(modelfile, folder, NewWeights::InPlace(weights), &Silent)?;
        self.stored_of(name, Path::new("(not named yet)"), &creation.manifest, Some(paths))
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
        if let Some(weights) = base.replaced {
            layers.retain(|layer| {
                !(layer.is(media_type::MODEL) || base.has_adapters_merged && layer.is(media_type::ADAPTER))
            });
            layers.splice(0..0, weights);
        }
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

    /// Checks everything of a Modelfile that can be checked before its weights are touched.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where something that the Modelfile names is missing or wrong.
    pub fn check_modelfile(&self, modelfile: &Modelfile, folder: &Path) -> Result<(), StoreError> {
        self.named_examples(modelfile, folder)?;
        self.parts(modelfile, folder).map(drop)
    }

    /// What a Modelfile names beside the weights, read and checked.
    fn parts(&self, modelfile: &Modelfile, folder: &Path) -> Result<Parts, StoreError> {
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
        Ok(Parts { modelfile, adapters })
    }

    /// The examples that a Modelfile names.
    fn named_examples(&self, modelfile: &Modelfile, folder: &Path) -> Result<Option<NewExamples>, StoreError> {
        modelfile.examples.as_ref().map(|source| self.read_examples(source, folder)).transpose()
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
        Ok(Base { config, layers: manifest.layers, parameters, format, examples, own, ..Base::default() })
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

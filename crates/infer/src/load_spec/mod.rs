//! The parts of a stored model that an engine needs: where its weights are, which template renders its prompts, what its Modelfile
//! says of every request. It loads nothing.

mod template;

use std::sync::Arc;

use crate::decide::ModelFit;
use crate::infer::{Defaults, Examples, FitUse, Purse, SharedShare, Vectors, WordsModel};
use slm_cascade::{Cascade, Exhausted, Spending, Tier, TierRemote, Whom};
use slm_engine::compute::{Compute, WeightsIn};
use slm_engine::{Adapter, AdapterSet, Load, Options, Weights};
use slm_fit::FitLayerError;
use slm_remote::Remote;
use slm_store::store::{self, Elsewhere, Model, Store, StoreError, StoredAdapter};
use slm_values::chat::Role;
use slm_values::contract::{ContractError, Form, Violation};
use slm_values::gguf::Header;
use slm_values::modelfile::{Format, Modelfile};
use slm_values::sampling::Parameters;
use slm_values::template::TemplateError;

pub use template::{TemplateChoice, checked};

/// A stored model, ready to be loaded.
#[derive(Debug, Clone)]
pub struct LoadSpec {
    pub options: Options,
    pub defaults: Defaults,
    /// The embedding model that finds its examples, to be loaded beside it.
    pub embedder: Option<Options>,
    /// What does not take effect, in words for people.
    pub notes: Vec<String>,
}

/// How a model is to be loaded.
#[derive(Debug, Clone)]
pub struct LoadRequest {
    pub load: Load,
    /// Positions of a context; `None` leaves it to the engine.
    pub n_ctx: Option<u32>,
    pub compute: Compute,
    pub adapters: AdapterSet,
    /// Whether the model's fit is read.
    pub fit: FitUse,
}

/// Why a stored model cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadSpecError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(
        "the TEMPLATE of `{name}` cannot be used: {error}; create a model with another: `FROM {name}` and TEMPLATE in a Modelfile"
    )]
    Template { name: String, error: TemplateError },
    #[error("the FORMAT of `{name}`: {error}")]
    Format { name: String, error: ContractError },
    #[error("the fit of `{name}` cannot be used: {error}; fit the model again, or remove its fit")]
    Fit { name: String, error: FitLayerError },
    #[error("the remote of `{name}` cannot be used: {error}; create it again from its file")]
    Remote { name: String, error: String },
    #[error("the cascade `{name}` cannot be used: {error}; create it again from its file")]
    Cascade { name: String, error: String },
    #[error("the FORMAT of `{name}` is in the file `{path}`, which is not stored")]
    FormatFile { name: String, path: String },
}

/// Why the model of a Modelfile could not be loaded, whatever it is built on.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    #[error("the format is not supported: {0}")]
    Format(ContractError),
    #[error("the template cannot be used: {0}; correct it or leave it out")]
    Template(TemplateError),
    /// The number counts all messages, from 0.
    #[error(
        "the message `{number}` is an example that breaks the format: {violation}; write it as the model is to answer"
    )]
    Message { number: usize, violation: Violation },
}

/// Checks what a Modelfile says of prompts and answers, before anything is made of it.
///
/// # Errors
/// See [`CheckError`].
pub fn check(modelfile: &Modelfile) -> Result<(), CheckError> {
    let form = match &modelfile.format {
        Some(Format::Schema(schema)) => Form::from_schema(schema.clone()).map_err(CheckError::Format)?,
        Some(Format::Json) => Form::json(),
        // Whoever reads the file checks it.
        Some(Format::File(_)) | None => Form::Free,
    };
    for (number, message) in
        modelfile.messages.iter().enumerate().filter(|(_, message)| message.role == Role::Assistant)
    {
        form.check_example(&message.content).map_err(|violation| CheckError::Message { number, violation })?;
    }
    // An empty one says nothing, as in Ollama.
    if let Some(text) = modelfile.template.as_deref().filter(|text| !text.trim().is_empty()) {
        checked(text).map_err(CheckError::Template)?;
    }
    Ok(())
}

/// Prepares a model with the header of its weights. That it was read means that it was checked, so that nothing unchecked
/// reaches native code: a store may be another program's, or a blob damaged since.
///
/// # Errors
/// The model has a TEMPLATE that cannot be parsed, and nothing in its place.
pub fn open(model: &Model, header: &Header, wanted: LoadRequest) -> Result<LoadSpec, LoadSpecError> {
    let mut notes = Vec::new();
    let template = TemplateChoice::of(model, header);
    if let TemplateChoice::OwnInstead(error) = &template {
        let name = &model.name;
        notes.push(format!("the TEMPLATE of `{name}` cannot be used, so the chat template in its GGUF is: {error}"));
    }
    if let Some(asked) = model.parameters.num_ctx
        && let Some(trained) = header.footprint().context_below(asked)
    {
        let name = &model.name;
        notes
            .push(format!("`{name}` asks for {asked} tokens of context, but was trained for {trained}, which it gets"));
    }
    for error in model.parameters.refused() {
        notes.push(format!("`{}` is used without one of its parameters: {error}", model.name));
    }
    let weights = match &model.weights {
        store::Weights::Elsewhere(who) => return Err(StoreError::NoWeights(who.kind()).into()),
        store::Weights::Blobs(paths) => match paths.as_slice() {
            [path] => Weights::File(path.clone()),
            shards => Weights::Shards(shards.to_vec()),
        },
        store::Weights::Embedded(bytes) => Weights::Bytes((*bytes).into()),
    };
    let LoadRequest { load, n_ctx, compute, adapters, fit } = wanted;
    let (weights_id, footprint) = (model.weights_digest.to_string(), header.footprint());
    let embedder = embedder(model, &compute)?;
    let options = Options { weights, weights_id: weights_id.clone(), load, n_ctx, compute, footprint };
    let fit = if fit == FitUse::Own { own_fit(model)?.map(Arc::new) } else { None };
    let (template, examples) = (template.given(model)?, examples(model)?);
    let defaults = Defaults { template, examples, adapters, weights_id, fit, ..said(model) };
    Ok(LoadSpec { options, defaults, embedder, notes })
}

/// A model's examples, with how they are found.
fn examples(model: &Model) -> Result<Option<Examples>, LoadSpecError> {
    let Some(stored) = &model.examples else { return Ok(None) };
    let (rows, k) = (stored.rows.clone(), stored.k);
    let Some(by) = &stored.by else { return Ok(Some(Examples::new(rows, k))) };
    let vectors = Vectors { numbers: by.vectors(rows.len())?, by: by.embedder.digest.to_string() };
    Ok(Some(Examples::by_vectors(rows, k, vectors)))
}

/// How the embedding model is loaded that finds a model's examples: on the processors and devices that compute the model itself.
fn embedder(model: &Model, compute: &Compute) -> Result<Option<Options>, LoadSpecError> {
    let by = model.examples.as_ref().and_then(|examples| examples.by.as_ref());
    Ok(by.map(|by| embedder_options(&by.embedder, compute)).transpose()?)
}

/// How an embedding model is loaded that is to find examples.
///
/// # Errors
/// Its weights cannot be read, or are those of no embedding model.
pub fn embedder_options(embedder: &store::Embedder, compute: &Compute) -> Result<Options, StoreError> {
    Ok(Options {
        weights: Weights::File(embedder.path.clone()),
        weights_id: embedder.digest.to_string(),
        load: Load::Everything,
        n_ctx: None,
        compute: compute.clone(),
        footprint: embedder.header()?.footprint(),
    })
}

/// What a model's Modelfile says of every request, whoever answers; its examples, which only an engine here is given, are not in it.
#[must_use]
pub fn said(model: &Model) -> Defaults {
    Defaults {
        system: model.system.clone(),
        messages: model.messages.clone(),
        parameters: model.parameters.clone(),
        ..Defaults::default()
    }
}

/// The remote of a model that is one, by the JSON of its layer.
///
/// # Errors
/// The layer does not hold one.
pub fn remote(model: &Model, json: &str) -> Result<Remote, LoadSpecError> {
    let refused = |error: String| LoadSpecError::Remote { name: model.name.to_string(), error };
    let value = serde_json::from_str(json).map_err(|error| refused(error.to_string()))?;
    Remote::from_value(value).map_err(|error| refused(error.to_string()))
}

/// A cascade, with the remotes of those tiers that are one.
#[derive(Debug, Clone)]
pub struct CascadeSpec {
    pub cascade: Cascade,
    /// By tier.
    pub remotes: Vec<Option<Remote>>,
}

/// The cascade of a model that is one, by the JSON of its layer.
///
/// # Errors
/// The layer does not hold one.
pub fn cascade(model: &Model, json: &str) -> Result<CascadeSpec, LoadSpecError> {
    let refused = |error: String| LoadSpecError::Cascade { name: model.name.to_string(), error };
    let cascade = Cascade::parse(json).map_err(|error| refused(error.to_string()))?;
    let remote = |tier: &Tier| match &tier.whom {
        Whom::Model { .. } | Whom::Words { .. } => Ok(None),
        Whom::Remote(TierRemote::Keys(keys)) => Remote::from_value(keys.clone().into())
            .map(Some)
            .map_err(|error| refused(format!("the tier `{}`: {error}", tier.name))),
        Whom::Remote(TierRemote::File(file)) => {
            Err(refused(format!("the tier `{}` is in the file `{}`, which is not stored", tier.name, file.display())))
        }
    };
    let remotes = cascade.tiers.iter().map(remote).collect::<Result<_, _>>()?;
    Ok(CascadeSpec { cascade, remotes })
}

/// What a cascade's days have cost, as the store has it for all processes.
#[must_use]
pub fn purse(model: &Model, store: Store) -> Purse {
    let of = model.weights_digest;
    Purse(Arc::new(move |day, amount| {
        if amount > 0.0 {
            store.spend(&of, day, amount).ok()?;
        }
        store.spent(&of, day).ok()
    }))
}

/// How many texts of a cascade may go on, as the store has it for all processes.
#[must_use]
pub fn share(model: &Model, store: Store) -> SharedShare {
    let of = model.weights_digest;
    SharedShare(Arc::new(move |added| store.change_allowance(&of, |allowance| Spending::taken(allowance, added)).ok()))
}

/// Whether a model is a cascade that leaves to a person what no tier could answer.
///
/// # Errors
/// It is a cascade, and its layer does not hold one.
pub fn reviews(model: &Model) -> Result<bool, LoadSpecError> {
    match &model.weights {
        store::Weights::Elsewhere(Elsewhere::Cascade(json)) => {
            Ok(cascade(model, json)?.cascade.on_exhausted == Exhausted::Review)
        }
        _ => Ok(false),
    }
}

/// How a model's answers were fitted to labels.
///
/// # Errors
/// Its layers cannot be read, or hold no fit that can be used.
pub fn own_fit(model: &Model) -> Result<Option<ModelFit>, LoadSpecError> {
    let Some(stored) = &model.fit else { return Ok(None) };
    let [card, numbers] = stored.read()?;
    let fit = ModelFit::read(&stored.digest().id(), &card, &numbers);
    fit.map(Some).map_err(|error| LoadSpecError::Fit { name: model.name.to_string(), error })
}

/// A model's fit as it answers from words alone; `None` where it has none that does.
///
/// # Errors
/// As [`own_fit`].
pub fn words(model: &Model) -> Result<Option<WordsModel>, LoadSpecError> {
    Ok(own_fit(model)?.and_then(|fit| WordsModel::new(Arc::new(fit), said(model))))
}

/// The adapters that a model's manifest names.
#[must_use]
pub fn own_adapters(model: &Model) -> AdapterSet {
    AdapterSet::new(model.adapters.iter().map(|adapter| stored_adapter(adapter, 1.0)))
}

/// A stored adapter as the engine takes it, `factor` times as strong as its model says.
#[must_use]
pub fn stored_adapter(adapter: &StoredAdapter, factor: f32) -> Adapter {
    Adapter { path: adapter.path.clone(), id: adapter.digest.to_string(), scale: adapter.scale * factor }
}

/// The form that the Modelfile gives every answer.
///
/// # Errors
/// The stored FORMAT is not supported.
pub fn own_form(model: &Model) -> Result<Form, LoadSpecError> {
    let name = || model.name.to_string();
    match &model.format {
        None => Ok(Form::Free),
        Some(Format::Schema(schema)) => {
            Form::from_schema(schema.clone()).map_err(|error| LoadSpecError::Format { name: name(), error })
        }
        Some(Format::Json) => Ok(Form::json()),
        Some(Format::File(path)) => Err(LoadSpecError::FormatFile { name: name(), path: path.clone() }),
    }
}

/// What a model can be used for, in the words of Ollama's API: by its template, and by its vocabulary where gaps are filled.
#[must_use]
pub fn capabilities(model: &Model, header: &Header) -> Vec<&'static str> {
    if header.embeds().is_some() {
        return vec!["embedding"];
    }
    let template = TemplateChoice::of(model, header).parsed(header);
    template.map_or_else(|| vec!["completion"], |template| template.capabilities(header.can_infill()))
}

/// How a model is computed where these parameters are said: `base` with what they change.
#[must_use]
pub fn compute(base: Compute, parameters: &Parameters) -> Compute {
    Compute {
        n_threads: parameters.num_thread.filter(|&n| n > 0).or(base.n_threads),
        n_gpu_layers: parameters.num_gpu.and_then(|n| u32::try_from(n).ok()).or(base.n_gpu_layers),
        main_gpu: parameters.main_gpu.or(base.main_gpu),
        n_batch: parameters.num_batch.or(base.n_batch),
        weights_in: if parameters.use_mmap == Some(false) { WeightsIn::Memory } else { base.weights_in },
        ..base
    }
}

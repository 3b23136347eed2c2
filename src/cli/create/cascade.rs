//! A cascade's file made a model of the store: everything that it names is looked for, and what it says is held against that.

use std::path::Path;

use serde_json::{Map, Value};

use super::elsewhere;
use crate::cascade::{self, Accept, Cascade, Labels, Threshold, Tier, TierRemote, Whom};
use crate::cli::environment::Environment;
use crate::cli::load;
use crate::contract::{Contract, Form};
use crate::decide::ModelFit;
use crate::failure::Failure;
use crate::load_spec;
use crate::model_ref::ModelRef;
use crate::modelfile::{BaseSource, Format, Modelfile};
use crate::store::{Elsewhere, Model, Store, Weights, with_schema};

/// A cascade's file, as it is read.
#[derive(Debug, Clone, Copy)]
pub struct CascadeFile<'a> {
    pub path: &'a Path,
    pub text: &'a str,
    /// What its paths are relative to.
    pub folder: &'a Path,
}

impl CascadeFile<'_> {
    fn fault(&self, line: u64, what: impl std::fmt::Display) -> Failure {
        Failure::failed(format!("`{}`: line {line}: {what}", self.path.display()))
    }

    /// The line of a key of the file itself.
    fn line_of(&self, key: &str) -> u64 {
        elsewhere::line_of(self.text, &format!("`{key}`")) as u64
    }
}

/// The layer of the cascade of this name, and what its Modelfile would say.
///
/// # Errors
/// It is no cascade, or something that it names is missing, has no key, or does not have what the cascade says of it.
pub fn of(
    file: CascadeFile<'_>,
    name: &ModelRef,
    environment: &Environment,
) -> Result<(Elsewhere, Modelfile), Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::failed(format!("`{}`: {error}", file.path.display()));
    let cascade = Cascade::parse(file.text).map_err(|error| failed(&error))?;
    let mut value = cascade::as_value(file.text).ok_or_else(|| failed(&"it is not a map"))?;
    let store = environment.store()?;
    let mut models = Vec::with_capacity(cascade.tiers.len());
    for tier in &cascade.tiers {
        models.push(model(file, tier, name, &store, environment)?);
    }
    let first = models.iter().flatten().next();
    let format = match value.remove("format") {
        Some(Value::String(path)) => Some(Format::File(path.trim_start_matches('@').to_owned())),
        Some(schema) => Some(Format::Schema(schema)),
        None => first.and_then(|model| model.format.clone()),
    };
    let modelfile = Modelfile { format, ..Modelfile::new(BaseSource::Name(name.clone().into())) };
    let modelfile = with_schema(&modelfile, file.folder)?;
    check(file, &cascade, &models, &form(file, &modelfile)?)?;
    let instructions = first.and_then(|model| model.system.clone());
    for (nth, (tier, model)) in cascade.tiers.iter().zip(&models).enumerate() {
        let stored = stored(file, tier, model.as_ref(), instructions.as_deref())?;
        let entry = value.get_mut("tiers").and_then(|tiers| tiers.get_mut(nth)).and_then(Value::as_object_mut);
        entry.expect("it was read a moment ago").extend(stored);
    }
    Ok((Elsewhere::Cascade(Value::Object(value).to_string().into()), modelfile))
}

/// The model of a tier; `None` of a remote.
fn model(
    file: CascadeFile<'_>,
    tier: &Tier,
    name: &ModelRef,
    store: &Store,
    environment: &Environment,
) -> Result<Option<Model>, Failure> {
    let (Whom::Model { name: of, .. } | Whom::Words { name: of, .. }) = &tier.whom else { return Ok(None) };
    if of.is_spelt_like(name) {
        return Err(file.fault(tier.line, format!("the cascade `{name}` names itself")));
    }
    let model = load::find(&of.to_string(), environment).map_err(|failure| file.fault(tier.line, failure.message))?;
    if leads_to(&model, name, store) {
        return Err(file.fault(tier.line, format!("the cascade `{name}` names itself through `{of}`")));
    }
    if load::header(&model)?.is_some_and(|header| header.embeds().is_some()) {
        return Err(file.fault(tier.line, format!("`{of}` is an embedding model, which gives no answers")));
    }
    if tier.is_words() && load_spec::words(&model)?.is_none() {
        return Err(file.fault(
            tier.line,
            format!(
                "`{of}` has no fit that answers from words alone; make one with `slm fit {of} DATA --words-only --as NAME` and \
                 write `words: NAME`"
            ),
        ));
    }
    Ok(Some(model))
}

/// Whether a model is a cascade that asks the model of this name, itself or through others.
fn leads_to(model: &Model, name: &ModelRef, store: &Store) -> bool {
    let Weights::Elsewhere(Elsewhere::Cascade(json)) = &model.weights else { return false };
    let Ok(spec) = load_spec::cascade(model, json) else { return false };
    spec.cascade.tiers.iter().any(|tier| match &tier.whom {
        Whom::Model { name: of, .. } => {
            of.is_spelt_like(name) || store.resolve(of).is_ok_and(|model| leads_to(&model, name, store))
        }
        // A fit of words asks nobody.
        Whom::Words { .. } | Whom::Remote(_) => false,
    })
}

fn form(file: CascadeFile<'_>, modelfile: &Modelfile) -> Result<Form, Failure> {
    match &modelfile.format {
        Some(Format::Schema(schema)) => Form::from_schema(schema.clone()).map_err(|error| {
            Failure::usage(format!("`{}`: line {}: {error}", file.path.display(), file.line_of("format")))
        }),
        Some(Format::Json) => Ok(Form::json()),
        Some(Format::File(_)) | None => Ok(Form::Free),
    }
}

/// Holds what the cascade says of answers against what answers there are.
fn check(file: CascadeFile<'_>, cascade: &Cascade, models: &[Option<Model>], form: &Form) -> Result<(), Failure> {
    let contract = match form {
        Form::Closed(contract) => Some(&**contract),
        Form::Open(_) | Form::Free => None,
    };
    for (tier, model) in cascade.tiers.iter().zip(models) {
        accepts(file, tier, model.as_ref(), contract)?;
    }
    for (key, labels) in [("always_on", &cascade.always_on), ("never", &cascade.privacy.never)] {
        has_labels(file, key, labels, contract)?;
    }
    Ok(())
}

/// Whether a tier can be held to what it accepts.
fn accepts(
    file: CascadeFile<'_>,
    tier: &Tier,
    model: Option<&Model>,
    contract: Option<&Contract>,
) -> Result<(), Failure> {
    let fault = |what: String| Err(file.fault(tier.line, what));
    if let (true, Some(model)) = (tier.is_words(), model) {
        let knows = |fit: &ModelFit| contract.is_some_and(|contract| fit.knows(contract));
        if !load_spec::own_fit(model)?.is_some_and(|fit| knows(&fit)) {
            return fault(format!(
                "the words of `{}` were learned for other answers than those of this cascade; fit them for its `format`",
                model.name
            ));
        }
    }
    if tier.drift.is_some() {
        let fit = model.map(load_spec::own_fit).transpose()?.flatten();
        let has_reference = |fit: &ModelFit| fit.fit().card.fields.iter().any(|field| field.reference.is_some());
        if !fit.is_some_and(|fit| has_reference(&fit)) {
            return fault(format!(
                "`drift` holds answers against those of a fit's rows, and the tier `{}` has no fit with labelled rows; make one with \
                 `slm fit`, or remove `drift`",
                tier.name
            ));
        }
    }
    let Some(contract) = contract else {
        return match tier.accept {
            Accept::Anything => Ok(()),
            Accept::Fitted | Accept::Above(_) => fault(format!(
                "the tier `{}` has a threshold, but answers that are written have no probability; write `accept: anything`, or \
                 give a `format` whose answers can be listed",
                tier.name
            )),
        };
    };
    match (&tier.accept, model) {
        (Accept::Above(Threshold { fields, .. }), _) => {
            let known = contract.fields().iter().filter_map(|field| field.name()).collect::<Vec<_>>();
            match fields.iter().find(|field| !known.contains(field)) {
                Some(field) => {
                    fault(format!("`accept.fields` has `{field}`, which is no field of the answer; {}", listed(&known)))
                }
                None => Ok(()),
            }
        }
        (Accept::Fitted, None) => {
            fault(format!("`accept: fitted` is of models, and the tier `{}` is a remote", tier.name))
        }
        (Accept::Fitted, Some(model)) => match load_spec::own_fit(model)? {
            Some(fit) if fit.knows(contract) && contract.fields().iter().any(|field| fit.can_withhold(field)) => Ok(()),
            Some(fit) if fit.knows(contract) => fault(format!(
                "`accept: fitted` needs thresholds, and the fit of `{}` has none; fit it with `--risk` or `--coverage`",
                model.name
            )),
            Some(_) => fault(format!(
                "`accept: fitted` needs a fit for this format, and that of `{}` is for another; `slm fit` makes one",
                model.name
            )),
            None => fault(format!(
                "`accept: fitted` needs a fit, and `{}` has none; make one with `slm fit`, or write \
                 `accept: {{probability: 0.9}}`",
                model.name
            )),
        },
        (Accept::Anything, _) => Ok(()),
    }
}

/// Whether answers can have these labels.
fn has_labels(file: CascadeFile<'_>, key: &str, labels: &Labels, contract: Option<&Contract>) -> Result<(), Failure> {
    let fault = |what: String| Err(file.fault(file.line_of(key), format!("`{key}` {what}")));
    for (name, of) in &labels.0 {
        let Some(contract) = contract else {
            return fault("names labels, but the answers are written and have none".to_owned());
        };
        let Some(field) = contract.fields().iter().find(|field| field.name() == *name) else {
            let known: Vec<String> = contract.fields().iter().filter_map(|field| field.name()).collect();
            let named = name.as_deref().unwrap_or("a list");
            return fault(format!("has `{named}`, which is no field of the answer; {}", listed(&known)));
        };
        let options: Vec<&Value> = field.options.iter().map(|option| &option.value).collect();
        if let Some(unknown) = of.iter().find(|label| !options.contains(label)) {
            let options: Vec<String> = options.iter().map(|option| option.to_string()).collect();
            return fault(format!("has the label {unknown}, which is no answer; there are {}", options.join(", ")));
        }
    }
    Ok(())
}

fn listed(names: &[String]) -> String {
    if names.is_empty() {
        return "the answer is one value and has no fields".to_owned();
    }
    format!("its fields are {}", names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "))
}

/// What the store keeps of a tier in the place of what the file names.
fn stored(
    file: CascadeFile<'_>,
    tier: &Tier,
    model: Option<&Model>,
    instructions: Option<&str>,
) -> Result<Map<String, Value>, Failure> {
    let mut entry = Map::new();
    match (&tier.whom, model) {
        (Whom::Model { .. } | Whom::Words { .. }, model) => {
            entry.extend(model.map(|model| ("digest".to_owned(), Value::from(model.digest.to_string()))));
        }
        (Whom::Remote(remote), _) => {
            let remote = match remote {
                TierRemote::File(path) => elsewhere::remote(path, file.folder)?,
                TierRemote::Keys(keys) => {
                    let mut keys = Value::Object(keys.clone());
                    elsewhere::absolute_key_file(&mut keys, file.folder);
                    elsewhere::checked(&keys).map_err(|said| file.fault(tier.line, said))?;
                    keys
                }
            };
            entry.insert("remote".to_owned(), remote);
            // A remote knows nothing of the task but what it is told.
            let system = tier.system.as_deref().or(instructions);
            entry.extend(system.map(|system| ("system".to_owned(), Value::from(system))));
        }
    }
    entry.insert("name".to_owned(), tier.name.as_str().into());
    Ok(entry)
}

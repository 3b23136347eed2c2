//! Models as requests need them, read from the store once: a request that finds its model loaded opens no file of weights.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Settings;
use crate::api::problem::Problem;
use crate::contract::Form;
use crate::digest::Digest;
use crate::engine::{Load, Options};
use crate::infer::Defaults;
use crate::model_ref::ModelRef;
use crate::opening::{self, Opening, Wanted};

/// Models that are remembered; more than anybody uses at a time.
const MAX_KNOWN: usize = 256;

/// What a request needs of a stored model.
#[derive(Debug)]
pub struct Known {
    pub name: ModelRef,
    /// Its manifest's.
    pub digest: Digest,
    pub defaults: Defaults,
    options: Options,
    form: Result<Form, Problem>,
}

/// The models that were asked for, by name and digest of the manifest.
#[derive(Debug, Default)]
pub struct Models(Mutex<HashMap<(ModelRef, Digest), Arc<Known>>>);

impl Known {
    /// How the model is loaded where a request says nothing of it.
    #[must_use]
    pub fn options(&self, settings: &Settings) -> Options {
        let mut options = self.options.clone();
        options.n_ctx = options.n_ctx.or(settings.n_ctx);
        options
    }

    /// The form that the Modelfile gives every answer.
    ///
    /// # Errors
    /// The stored FORMAT is none that can be kept.
    pub fn form(&self) -> Result<Form, Problem> {
        self.form.clone()
    }
}

impl Models {
    /// The model that a name means now.
    ///
    /// # Errors
    /// The name is none, no model has it, or the model cannot be opened.
    pub fn find(&self, settings: &Settings, name: &str) -> Result<Arc<Known>, Problem> {
        let name: ModelRef = name.parse().map_err(Problem::no_model)?;
        let model = settings.store.resolve(&name)?;
        let key = (model.name.clone(), model.digest);
        let models = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = models().get(&key) {
            return Ok(known.clone());
        }
        let compute = opening::compute(settings.compute.clone(), &model.parameters);
        let n_ctx = model.parameters.num_ctx;
        let wanted = Wanted { load: Load::Everything, n_ctx, compute, adapters: opening::own_adapters(&model) };
        let Opening { options, defaults, notes } = opening::open(&model, wanted)?;
        for note in notes {
            tracing::warn!(model = %model.name, "{note}");
        }
        let form = opening::own_form(&model).map_err(Problem::from);
        let known = Arc::new(Known { name: model.name, digest: model.digest, defaults, options, form });
        let mut models = models();
        if models.len() >= MAX_KNOWN {
            models.clear();
        }
        models.insert(key, known.clone());
        Ok(known)
    }
}

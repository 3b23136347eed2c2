//! `/save`: a model of the store made from a session.

use std::path::Path;

use super::dialogue::Dialogue;
use crate::cli::confirm::{self, Loss};
use crate::cli::create::FIT_LEFT_OUT;
use crate::cli::environment::Environment;
use crate::failure::Failure;
use crate::model_ref::ModelRef;
use crate::modelfile::Modelfile;
use crate::store::{FitKept, Model};
use crate::ui::output::say;
use crate::ui::progress::Bytes;

/// Creates the model and returns a message. A model of that name is replaced, if it can be downloaded again or a
/// person says yes.
///
/// # Errors
/// The name is invalid, a person says no, or the model cannot be made.
pub fn save(name: &str, dialogue: &Dialogue, model: &Model, environment: &Environment) -> Result<String, Failure> {
    let name: ModelRef = name.parse()?;
    let modelfile = modelfile(dialogue, model)?;
    let store = environment.store()?;
    if confirm::is_stored(&store, &name)? {
        confirm::loss(&store, &name, Loss::Replace)?;
    }
    let creation = store.begin_creating(&modelfile, Path::new(""), &Bytes::default())?;
    let fit = creation.fit();
    let saved = store.finish_creating(&name, creation)?;
    if fit == FitKept::No {
        say(FIT_LEFT_OUT);
    }
    Ok(format!("saved {name} ({}); use it with `slm run {name}` or `/load {name}`\n", saved.digest.short()))
}

/// The session as a Modelfile.
///
/// # Errors
/// A model cannot keep what holds in the session.
pub fn modelfile(dialogue: &Dialogue, model: &Model) -> Result<Modelfile, Failure> {
    dialogue.modelfile(model).map_err(|error| Failure::failed(error.to_string()))
}

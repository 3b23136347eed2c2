//! `slm cp`: a second name for a model, which shares its blobs.

use clap::Args;
use serde_json::json;

use super::complete;
use super::confirm::{self, Loss};
use super::environment::Environment;
use super::load;
use crate::failure::{Exit, Failure, Outcome};
use crate::model_ref::ModelRef;
use crate::ui::output::Output;

/// Copy a model to a second name, without copying its blobs
#[derive(Debug, Args)]
#[command(visible_alias = "copy")]
pub struct CpArgs {
    /// Name of the model
    #[arg(add = complete::models())]
    pub source: String,
    /// The second name
    pub destination: String,
    /// Do not ask before replacing a model that cannot be downloaded again
    #[arg(long, short)]
    pub yes: bool,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

/// Copies the model; a model that has the destination's name is replaced.
///
/// # Errors
/// There is no such model, it is broken, or the person does not want to lose the model that it would replace.
pub fn run(args: &CpArgs, environment: &Environment) -> Outcome {
    let store = environment.store()?;
    let destination: ModelRef = args.destination.parse()?;
    let model = load::find(&args.source, environment)?;
    let source = model.name;
    if source == destination {
        return Err(Failure::usage(format!("`{destination}` already has this name; give another destination")));
    }
    if !args.yes && confirm::replaces_another(&store, &destination, model.digest)? {
        confirm::loss(&store, &destination, Loss::Replace)?;
    }
    let copy = store.copy(&source, &destination)?;
    let mut output = Output::default();
    if args.json {
        output.json(&json!({
            "source": source.to_string(),
            "destination": destination.to_string(),
            "digest": copy.digest.hex(),
        }))?;
    } else {
        output.line(&format!("copied {source} to {destination} ({})", copy.digest.short()))?;
    }
    Ok(Exit::Done)
}

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

/// Give a model a second name; its blobs are shared
#[derive(Debug, Args)]
#[command(visible_alias = "copy")]
pub struct CpArgs {
    #[arg(add = complete::models())]
    pub source: String,
    pub destination: String,
    /// Replace a model that may be lost for ever without asking
    #[arg(long, short)]
    pub yes: bool,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

/// Copies the model; a model that has the destination's name is replaced.
///
/// # Errors
/// There is no such model, it is broken, or what it would replace is not to be lost.
pub fn run(args: &CpArgs, environment: &Environment) -> Outcome {
    let store = environment.store()?;
    let destination: ModelRef = args.destination.parse()?;
    let model = load::find(&args.source, environment)?;
    let source = model.name;
    if source == destination {
        return Err(Failure::usage(format!("`{destination}` has this name already; give another destination")));
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

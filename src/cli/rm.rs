//! `slm rm`: removes models, with the blobs that no other model needs.

use clap::Args;
use serde_json::json;

use super::complete;
use super::confirm::{self, Loss};
use super::environment::Environment;
use super::load;
use crate::failure::{Exit, Failure, Outcome};
use crate::model_ref::ModelRef;
use crate::ui::output::Output;
use crate::ui::table::size;

/// Remove models, and their blobs that no other model needs
///
/// Before it removes a model that was made here and cannot be downloaded again, slm asks; without a terminal it needs --yes.
#[derive(Debug, Args)]
#[command(visible_alias = "remove")]
pub struct RmArgs {
    /// Names of the models
    #[arg(required = true, value_name = "MODEL", add = complete::models())]
    pub models: Vec<String>,
    /// Do not ask
    #[arg(long, short, visible_alias = "force", visible_short_alias = 'f')]
    pub yes: bool,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

/// Removes the models except those that the person wants to keep; removes none if one of them does not exist.
///
/// # Errors
/// A name is invalid, or no stored model has it; or the disk refuses.
pub fn run(args: &RmArgs, environment: &Environment) -> Outcome {
    let store = environment.store()?;
    let mut names: Vec<ModelRef> = Vec::new();
    for name in &args.models {
        let name = load::stored_name(name, &store)?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    for name in &names {
        store.recovery(name, &names)?;
    }
    if !args.yes {
        names = confirm::losses(&store, &names, Loss::Remove)?;
    }
    let mut output = Output::default();
    let mut removed = Vec::new();
    let mut failure = None;
    for name in names {
        match store.remove(&name) {
            Ok(gone) => removed.push((name, gone)),
            Err(error) => {
                failure = Some(Failure::from(error));
                break;
            }
        }
    }
    if args.json {
        let freed: u64 = removed.iter().map(|(_, gone)| gone.freed_bytes).sum();
        let models = removed.iter().map(|(name, gone)| {
            let digest = gone.digest.map(|digest| digest.hex());
            json!({ "name": name.to_string(), "digest": digest, "freed": gone.freed_bytes })
        });
        output.json(&json!({ "removed": models.collect::<Vec<_>>(), "freed": freed }))?;
    } else {
        for (name, gone) in &removed {
            output.line(&format!("removed {name} ({} freed)", size(gone.freed_bytes)))?;
        }
    }
    failure.map_or(Ok(Exit::Done), Err)
}

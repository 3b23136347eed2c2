//! `slm adapter merge`: a model's adapters put into its weights, as a new model or a GGUF file.

mod merge;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use super::complete;
use super::confirm::{self, Loss};
use super::environment::Environment;
use super::quantize::source::Source;
use super::{adapters, load};
use crate::failure::{Exit, Failure, Outcome};
use crate::model_ref::ModelRef;
use crate::modelfile::{BaseSource, Modelfile};
use crate::store::{Model, NewWeights};
use crate::ui::output::Output;
use crate::ui::progress::Bytes;
use merge::Merging;

/// Work with LoRA adapters
#[derive(Debug, Args)]
pub struct AdapterArgs {
    #[command(subcommand)]
    command: AdapterCommand,
}

#[derive(Debug, Subcommand)]
enum AdapterCommand {
    Merge(MergeArgs),
}

/// Merge adapters into the weights of a model
#[derive(Debug, Args)]
struct MergeArgs {
    /// Name of the model
    #[arg(add = complete::models())]
    model: String,
    /// Adapters in place of its own: GGUF files, or models with adapters on the same base; each with an optional `=SCALE`
    adapters: Vec<String>,
    /// Name of the new model
    #[arg(long = "as", value_name = "NAME", required_unless_present = "output")]
    name: Option<ModelRef>,
    /// Write the merged weights to a GGUF file
    #[arg(short, long, value_name = "FILE", conflicts_with = "name")]
    output: Option<PathBuf>,
    /// Do not ask before replacing a model that cannot be downloaded again
    #[arg(long, short)]
    yes: bool,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

/// Runs a command of adapters.
///
/// # Errors
/// The model or an adapter cannot be used, or the merged weights cannot be written.
pub fn run(args: &AdapterArgs, environment: &Environment) -> Outcome {
    match &args.command {
        AdapterCommand::Merge(args) => merged(args, environment),
    }
}

fn merged(args: &MergeArgs, environment: &Environment) -> Outcome {
    let model = load::find(&args.model, environment)?;
    let chosen = adapters::chosen(&args.adapters, &model, environment)?;
    if chosen.is_empty() {
        return Err(Failure::usage(format!("`{}` has no adapters; name those to merge into it", model.name)));
    }
    let source = Source::of_model(&model)?;
    let merging = Merging::of(&source, chosen.as_slice())?;
    match (&args.name, &args.output) {
        (Some(name), _) => as_model(args, name, (&model, &merging), environment),
        (None, Some(path)) => as_file(args, path, &merging),
        (None, None) => unreachable!("clap asks for one of the two"),
    }
}

fn as_model(
    args: &MergeArgs,
    name: &ModelRef,
    (model, merging): (&Model, &Merging<'_>),
    environment: &Environment,
) -> Outcome {
    let store = environment.store()?;
    let making = store.make_file(merging.n_bytes())?;
    merging.write(making.path(), &Bytes::default())?;
    let made = making.finish(&Bytes::default())?;
    let modelfile = Modelfile::new(BaseSource::Name(model.name.clone().into()));
    let creation = store.begin_creating_of(&modelfile, Path::new(""), NewWeights::Merged(&made), &Bytes::default())?;
    if !args.yes && confirm::replaces_another(&store, name, creation.digest())? {
        confirm::loss(&store, name, Loss::Replace)?;
    }
    let new = store.finish_creating(name, creation)?;
    let mut output = Output::default();
    if args.json {
        output.json(
            &json!({ "name": new.name.to_string(), "digest": new.digest.hex(), "tensors": merging.n_tensors() }),
        )?;
    } else {
        output.line(&format!("created {} ({})", new.name, new.digest.short()))?;
    }
    Ok(Exit::Done)
}

fn as_file(args: &MergeArgs, path: &Path, merging: &Merging<'_>) -> Outcome {
    let failed = |error: &dyn std::fmt::Display| Failure::failed(format!("cannot write `{}`: {error}", path.display()));
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let made = tempfile::Builder::new().prefix(".slm-").tempfile_in(folder).map_err(|error| failed(&error))?;
    merging.write(made.path(), &Bytes::default())?;
    made.as_file().sync_all().map_err(|error| failed(&error))?;
    made.persist(path).map_err(|error| failed(&error.error))?;
    let mut output = Output::default();
    if args.json {
        output.json(&json!({ "file": path.display().to_string(), "tensors": merging.n_tensors() }))?;
    } else {
        output.line(&format!("wrote {} ({} tensors changed)", path.display(), merging.n_tensors()))?;
    }
    Ok(Exit::Done)
}

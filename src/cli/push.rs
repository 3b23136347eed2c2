//! `slm push`: a model of the store into a registry.

use super::complete;
use super::network::NetworkArgs;
use clap::Args;
use serde_json::json;

use super::environment::Environment;
use super::network;
use super::planned;
use crate::failure::{Exit, Failure, Outcome};
use crate::source::Reference;
use crate::transfer::{self, Direction, Plan, Planned, Push, Pushed, ServerError};
use crate::ui::lines::{Lines, Shown};
use crate::ui::output::Output;
use crate::ui::progress::Layers;
use crate::ui::table::{size, table};

/// Upload a model to a registry
///
/// What the registry already has is not uploaded again, and an interrupted upload continues as long as the registry keeps its
/// parts.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slm push registry.example.com/team/triage:v2
  slm push triage --as registry.example.com/team/triage:v2

Credentials are those of `docker login`.")]
pub struct PushArgs {
    /// Names of the models
    #[arg(required = true, value_name = "NAME", add = complete::models())]
    pub names: Vec<String>,
    /// Name in the registry, `[HOST/]NAMESPACE/MODEL[:TAG]`
    #[arg(long = "as", value_name = "NAME")]
    pub name: Option<String>,
    /// Show what would be uploaded and its size
    #[arg(long)]
    pub dry_run: bool,
    /// Write one JSON event per line, in Ollama's format
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub network: NetworkArgs,
}

/// Pushes every model, one after the other.
///
/// # Errors
/// One cannot be pushed; those before it are complete.
pub fn run(args: &PushArgs, environment: &Environment) -> Outcome {
    if args.name.is_some() && args.names.len() > 1 {
        return Err(Failure::usage("--as names one model, but there are several to push; push them one by one"));
    }
    let target: Option<Reference> = args.name.as_deref().map(str::parse).transpose()?;
    let sources: Vec<Reference> = args.names.iter().map(|name| name.parse()).collect::<Result<_, _>>()?;
    let outcome = sources.into_iter().try_for_each(|source| {
        let target = target.clone().unwrap_or_else(|| source.clone());
        one(source, target, args, environment)
    });
    match outcome {
        Ok(()) => Ok(Exit::Done),
        Err(failure) => {
            if args.json {
                Output::default().json(&json!({ "error": failure.message }))?;
            }
            Err(failure)
        }
    }
}

fn one(source: Reference, target: Reference, args: &PushArgs, environment: &Environment) -> Result<(), Failure> {
    let servers = network::servers(&args.network, environment)?;
    let repository = servers.target(&target).map_err(|error| match error {
        ServerError::Nowhere { name, model } => Failure::usage(format!(
            "`{name}` does not say where to push it; give a registry with --as, for example `--as registry.example.com/team/{model}`"
        )),
        error => error.into(),
    })?;
    let store = environment.store()?;
    let registry = servers.client()?;
    let how = format!("`slm push` with the same names continues from what `{}` has received", repository.host());
    let plan = if args.dry_run { Plan::Tell } else { Plan::Do };
    let shown = match (plan, args.json) {
        (Plan::Tell, _) => Shown::Nobody,
        (Plan::Do, true) => Shown::Lines(Lines::of(Direction::Push)),
        (Plan::Do, false) => Shown::Bars(Layers::of(Direction::Push)),
    };
    let push = Push { source, target, repository };
    let pushed = network::block_on(async { Ok(transfer::push(&registry, &store, &push, plan, &shown).await?) }, &how)?;
    drop(shown);
    match (plan, args.json) {
        (Plan::Tell, true) => tell_json(&pushed),
        (Plan::Tell, false) => tell(&pushed),
        (Plan::Do, true) => Ok(()),
        (Plan::Do, false) => {
            let (id, n_bytes) = (pushed.digest.short(), size(pushed.total_bytes()));
            Output::default().line(&format!("pushed {} ({id}, {n_bytes})", pushed.target)).map(|_| ())
        }
    }
}

/// What a push would upload.
fn tell(pushed: &Pushed) -> Result<(), Failure> {
    let row = |blob: &Planned| {
        let state = if blob.present == blob.n_bytes { "there" } else { "to upload" };
        planned::row(blob, state.to_owned())
    };
    let rows: Vec<Vec<String>> = pushed.blobs.iter().map(row).collect();
    let mut output = Output::default();
    output.text(&table(&planned::HEADER, &rows))?;
    let (missing, total) = (size(pushed.missing_bytes()), size(pushed.total_bytes()));
    output.line(&format!("{}: {missing} of {total} to upload", pushed.target))?;
    Ok(())
}

fn tell_json(pushed: &Pushed) -> Result<(), Failure> {
    let blobs: Vec<_> = pushed.blobs.iter().map(planned::json).collect();
    let line = json!({
        "name": pushed.target.to_string(),
        "layers": blobs,
        "total": pushed.total_bytes(),
        "upload": pushed.missing_bytes(),
    });
    Output::default().json(&line).map(|_| ())
}

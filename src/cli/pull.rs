//! `slm pull`: a model from a registry, an address or a file into the store.

use super::network::NetworkArgs;
use clap::Args;
use clap::builder::TypedValueParser as _;
use std::path::Path;

use serde_json::json;

use super::environment::Environment;
use super::network;
use super::planned;
use crate::digest::Digest;
use crate::failure::{Exit, Failure, Outcome};
use crate::manifest::media_type;
use crate::model_ref::ModelRef;
use crate::modelfile::{self, Modelfile};
use crate::registry::Registry;
use crate::source::{Reference, Source, name_of_file};
use crate::store::{self, Model, Store, StoreError, Unknown};
use crate::transfer::{self, Direction, Plan, Pull, PullFile, Pulled, Servers, Sources, Streams};
use crate::ui::lines::{Lines, Shown};
use crate::ui::output::{Output, say};
use crate::ui::progress::{Bytes, Layers};
use crate::ui::table::{size, table};

/// Download a model from a registry or URL, or import a file
///
/// Models that you already have are not downloaded again, and an interrupted download continues.
#[derive(Debug, Args)]
#[command(after_help = "Sources:
  llama3.2:1b                        Ollama's registry, or the one in SLM_REGISTRY
  hf.co/USER/REPOSITORY:Q4_K_M       Hugging Face; HF_TOKEN for private ones
  registry.example.com/team/model    any OCI registry; credentials as `docker login` leaves them
  model@sha256:DIGEST                pinned to a manifest
  https://example.com/model.gguf     a file, or the first of several shards
  ./model.gguf                       a file on this machine")]
pub struct PullArgs {
    /// Where to get the models from (see below)
    #[arg(required = true, value_name = "SOURCE")]
    pub sources: Vec<String>,
    /// Store it under another name
    #[arg(long = "as", value_name = "NAME")]
    pub name: Option<String>,
    /// Show what would be downloaded and its size
    #[arg(long)]
    pub dry_run: bool,
    /// Write one JSON event per line, in Ollama's format
    #[arg(long)]
    pub json: bool,
    /// Parallel connections [default: as many as make it faster]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64).map(usize::from))]
    pub streams: Option<usize>,
    #[command(flatten)]
    pub network: NetworkArgs,
}

/// Brings every source, one after the other.
///
/// # Errors
/// A source cannot be obtained; those before it are complete.
pub fn run(args: &PullArgs, environment: &Environment) -> Outcome {
    if args.name.is_some() && args.sources.len() > 1 {
        return Err(Failure::usage("--as names one model, but there are several sources; pull them one by one"));
    }
    let sources: Vec<Source> = args.sources.iter().map(|source| source.parse()).collect::<Result<_, _>>()?;
    let name: Option<ModelRef> = args.name.as_deref().map(str::parse).transpose()?;
    let outcome = sources.iter().try_for_each(|source| one(source, name.clone(), args, environment));
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

/// Pulls a model that the store does not have, with a message.
///
/// # Errors
/// It can be obtained neither here nor there.
pub fn missing(reference: &Reference, unknown: &Unknown, environment: &Environment) -> Result<Model, Failure> {
    let store = environment.store()?;
    let network = NetworkArgs::default();
    match unknown.nearest.first() {
        Some(near) => say(format_args!("`{reference}` is not here yet (did you mean `{near}`?): pulling it")),
        None => say(format_args!("`{reference}` is not here yet: pulling it")),
    }
    let servers = network::servers(&network, environment)?;
    let registry = servers.client()?;
    let pull = of_name(reference.clone(), None, &servers)?;
    let sources = of(&registry, &store, Streams::Adaptive, &servers);
    let how = format!("`slm pull {reference}` continues from here");
    let bars = Layers::default();
    let pulled = network::block_on(async { Ok(transfer::pull(sources, &pull, Plan::Do, &bars).await) }, &how)?;
    drop(bars);
    if let Err(error) = pulled {
        let failure = Failure::from(error);
        // Someone may have misspelt one that is here.
        let hint = StoreError::NotFound(Box::new(unknown.clone()));
        return Err(Failure { message: format!("{}; {hint}", failure.message), ..failure });
    }
    Ok(store.resolve(&reference.name)?)
}

fn one(source: &Source, name: Option<ModelRef>, args: &PullArgs, environment: &Environment) -> Result<(), Failure> {
    let store = environment.store()?;
    if let Source::Path(path) = source {
        return file(path, name, &store, args);
    }
    let servers = network::servers(&args.network, environment)?;
    let registry = servers.client()?;
    let streams = args.streams.map_or(Streams::Adaptive, Streams::Fixed);
    let sources = of(&registry, &store, streams, &servers);
    let plan = if args.dry_run { Plan::Tell } else { Plan::Do };
    let shown = match (plan, args.json) {
        (Plan::Tell, _) => Shown::Nobody,
        (Plan::Do, true) => Shown::Lines(Lines::of(Direction::Pull)),
        (Plan::Do, false) => Shown::Bars(Layers::default()),
    };
    let how = format!("`slm pull {source}` continues from here");
    let pulled = match source {
        Source::File(url) => {
            let pull = PullFile { url: url.clone(), name };
            network::block_on(async { Ok(transfer::pull_file(sources, &pull, plan, &shown).await?) }, &how)?
        }
        Source::Registry(reference) => {
            let pull = of_name(reference.clone(), name, &servers)?;
            network::block_on(async { Ok(transfer::pull(sources, &pull, plan, &shown).await?) }, &how)?
        }
        Source::Path(_) => unreachable!("a path was imported above"),
    };
    drop(shown);
    match (plan, args.json) {
        (Plan::Tell, _) => tell(&pulled, args),
        (Plan::Do, true) => Ok(()),
        (Plan::Do, false) => done(&pulled),
    }
}

fn of<'a>(registry: &'a Registry, store: &'a Store, streams: Streams, servers: &'a Servers) -> Sources<'a> {
    Sources { registry, store, neighbours: &servers.neighbours, streams }
}

fn of_name(reference: Reference, name: Option<ModelRef>, servers: &Servers) -> Result<Pull, Failure> {
    let repository = servers.repository(&reference)?;
    let name = name.unwrap_or_else(|| reference.name.clone());
    Ok(Pull { reference, repository, name })
}

/// Imports a GGUF file, as `slm create` does for `FROM`.
fn file(path: &str, name: Option<ModelRef>, store: &Store, args: &PullArgs) -> Result<(), Failure> {
    let file_name = Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let name = match name.or_else(|| name_of_file(file_name)) {
        Some(name) => name,
        None => {
            return Err(Failure::usage(format!("`{path}` contains no valid model name; choose one with --as NAME")));
        }
    };
    if args.dry_run {
        // All of it is here already: nothing would be downloaded.
        let here = |n_bytes| transfer::Planned {
            digest: None,
            media_type: media_type::MODEL.to_owned(),
            n_bytes,
            present: n_bytes,
        };
        let blobs = store::sizes_at(path)?.into_iter().map(here).collect();
        let planned = Pulled { name, digest: Digest::of(b""), blobs, was_complete: false };
        return match args.json {
            true => tell(&planned, args),
            false => {
                let line = format!("{}: {} to copy", planned.name, size(planned.total_bytes()));
                Output::default().line(&line).map(|_| ())
            }
        };
    }
    let modelfile = Modelfile::new(modelfile::BaseSource::Path(path.to_owned()));
    let model = store.create(&name, &modelfile, Path::new(""), &Bytes::default())?;
    if args.json {
        return Output::default().json(&json!({ "status": "success" })).map(|_| ());
    }
    let (id, n_bytes) = (model.digest.short(), size(model.manifest.total_bytes()));
    Output::default().line(&format!("pulled {name} ({id}, {n_bytes})")).map(|_| ())
}

fn done(pulled: &Pulled) -> Result<(), Failure> {
    let (name, id, n_bytes) = (&pulled.name, pulled.digest.short(), size(pulled.total_bytes()));
    let line = match pulled.was_complete {
        true => format!("{name} is complete ({id}, {n_bytes})"),
        false => format!("pulled {name} ({id}, {n_bytes})"),
    };
    Output::default().line(&line).map(|_| ())
}

/// What a pull would bring.
fn tell(pulled: &Pulled, args: &PullArgs) -> Result<(), Failure> {
    let mut output = Output::default();
    if args.json {
        let blobs: Vec<_> = pulled.blobs.iter().map(planned::json).collect();
        output.json(&json!({
            "name": pulled.name.to_string(),
            "layers": blobs,
            "total": pulled.total_bytes(),
            "download": pulled.missing_bytes(),
            "complete": pulled.was_complete,
        }))?;
        return Ok(());
    }
    let row = |blob: &transfer::Planned| {
        let state = match blob.present {
            0 if blob.n_bytes > 0 => "to download".to_owned(),
            present if present == blob.n_bytes => "here".to_owned(),
            present => format!("{} here", size(present)),
        };
        planned::row(blob, state)
    };
    let rows: Vec<Vec<String>> = pulled.blobs.iter().map(row).collect();
    output.text(&table(&planned::HEADER, &rows))?;
    let (missing, total) = (size(pulled.missing_bytes()), size(pulled.total_bytes()));
    output.line(&format!("{}: {missing} of {total} to download", pulled.name))?;
    Ok(())
}

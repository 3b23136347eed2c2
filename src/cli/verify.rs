//! `slm verify`: checks the stored models against their hashes.

use clap::Args;
use std::num::NonZeroUsize;

use serde_json::json;

use super::complete;
use super::environment::Environment;
use super::interrupt;
use super::load;
use crate::failure::{Exit, Failure, Outcome};
use crate::manifest::media_type;
use crate::model_ref::ModelRef;
use crate::store::{BlobState, Inspected, InspectedBlob, Inspection, Store, StoreError};
use crate::ui::output::{Output, say};
use crate::ui::progress::Bytes;
use crate::ui::table::{size, table};

/// Check the stored models against their hashes
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Names of the models [default: all]
    #[arg(value_name = "MODEL", add = complete::models())]
    pub models: Vec<String>,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

/// Hashes the models' blobs and reports those that do not match.
///
/// # Errors
/// There is no such model, or a blob does not match its hash.
pub fn run(args: &VerifyArgs, environment: &Environment) -> Outcome {
    let store = environment.store()?;
    let mut names: Vec<ModelRef> = Vec::new();
    for name in &args.models {
        let name = load::stored_name(name, &store)?;
        match store.recovery(&name, &[]) {
            Err(StoreError::RemoveEmbedded(_)) => {
                say(format_args!("`{name}` is part of slm: it has no files to verify"));
            }
            found => {
                found?;
                names.push(name);
            }
        }
    }
    let names = (!args.models.is_empty()).then_some(names.as_slice());
    let _listening = interrupt::listen(|| ());
    let n_threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let inspection = store.verify(names, n_threads, &Bytes::default(), &interrupt::happened)?;
    let Some(inspection) = inspection else { return Ok(Exit::Interrupted) };
    let mut output = Output::default();
    if args.json {
        output.json(&as_json(&inspection, &store))?;
    } else {
        let rows: Vec<Vec<String>> = inspection.models.iter().flat_map(rows).collect();
        if !rows.is_empty() {
            output.text(&table(&["MODEL", "LAYER", "BLOB", "SIZE", "STATE"], &rows))?;
        }
    }
    report(&inspection, &store)
}

/// Says which models are wrong and what repairs them.
fn report(inspection: &Inspection, store: &Store) -> Outcome {
    for broken in &inspection.broken {
        say(&broken.error);
    }
    for model in inspection.models.iter().filter(|model| !model.is_sound()) {
        let name = &model.name;
        match store.origin(&model.digest) {
            Some(source) => say(format_args!("`{name}` is damaged: `slm pull {source}` repairs it")),
            None => say(format_args!(
                "`{name}` is damaged: `slm pull {name}` repairs it if it came from a registry; otherwise create it again"
            )),
        }
    }
    let n_wrong = inspection.models.iter().filter(|model| !model.is_sound()).count() + inspection.broken.len();
    let n_all = inspection.models.len() + inspection.broken.len();
    match n_wrong {
        0 => Ok(Exit::Done),
        _ => Err(Failure::failed(format!("{n_wrong} of {n_all} models damaged"))),
    }
}

fn rows(model: &Inspected) -> Vec<Vec<String>> {
    let row = |InspectedBlob { layer, state }: &InspectedBlob| {
        let state = match state {
            BlobState::WrongSize { found } => format!("wrong size: {found} bytes, not {}", layer.size),
            BlobState::Unreadable(reason) => format!("unreadable: {reason}"),
            state => word(state).to_owned(),
        };
        vec![model.name.to_string(), kind(&layer.media_type).to_owned(), layer.digest.short(), size(layer.size), state]
    };
    model.blobs.iter().map(row).collect()
}

fn as_json(inspection: &Inspection, store: &Store) -> serde_json::Value {
    let blob = |InspectedBlob { layer, state }: &InspectedBlob| {
        let mut blob = json!({
            "digest": layer.digest.to_string(),
            "media_type": layer.media_type,
            "size": layer.size,
            "state": word(state),
        });
        match state {
            BlobState::WrongSize { found } => blob["found_size"] = (*found).into(),
            BlobState::Unreadable(reason) => blob["reason"] = reason.as_str().into(),
            _ => {}
        }
        blob
    };
    let model = |model: &Inspected| {
        json!({
            "name": model.name.to_string(),
            "digest": model.digest.hex(),
            "ok": model.is_sound(),
            "origin": store.origin(&model.digest),
            "blobs": model.blobs.iter().map(blob).collect::<Vec<_>>(),
        })
    };
    let broken = inspection
        .broken
        .iter()
        .map(|broken| json!({ "path": broken.path.display().to_string(), "error": broken.error.to_string() }));
    json!({
        "ok": inspection.broken.is_empty() && inspection.models.iter().all(Inspected::is_sound),
        "models": inspection.models.iter().map(model).collect::<Vec<_>>(),
        "broken": broken.collect::<Vec<_>>(),
    })
}

fn word(state: &BlobState) -> &'static str {
    match state {
        BlobState::Sound => "ok",
        BlobState::Missing => "missing",
        BlobState::WrongSize { .. } => "wrong size",
        BlobState::OtherBytes => "hash mismatch",
        BlobState::Unreadable(_) => "unreadable",
    }
}

/// A media type in a word, where it is Ollama's or ours.
fn kind(media_type: &str) -> &str {
    if media_type == media_type::CONFIG {
        return "config";
    }
    let ours = ["application/vnd.ollama.image.", "application/vnd.slm.image."];
    ours.into_iter().find_map(|prefix| media_type.strip_prefix(prefix)).unwrap_or(media_type)
}

//! `slm create`: a model from a Modelfile.

mod cascade;
mod elsewhere;
mod quantized;
pub mod vectors;

use clap::Args;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::confirm::{self, Loss};
use super::environment::Environment;
use super::load;
use super::quantize::args::QuantizeArgs;
use crate::encoding;
use crate::failure::{Exit, Failure, Outcome};
use crate::load_spec::{self, CheckError};
use crate::model_ref::ModelRef;
use crate::modelfile::{self, FoundBy, Modelfile};
use crate::store::{Creation, FitKept, NewExamples, NewWeights, Store, with_schema};
use crate::ui::output::{Output, say};
use crate::ui::progress::Bytes;
use cascade::CascadeFile;

/// Create a model from a Modelfile or a cascade's YAML
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Name of the new model
    pub name: String,
    /// The Modelfile (`-`: standard input), or the YAML of a cascade
    #[arg(short, long, value_name = "FILE", default_value = "Modelfile")]
    pub file: PathBuf,
    /// Do not ask before replacing a model that cannot be downloaded again
    #[arg(long, short)]
    pub yes: bool,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub quantizing: QuantizeArgs,
}

/// What is said where a new model is without the fit of the one that it is built on.
pub const FIT_LEFT_OUT: &str =
    "the fit of the model that it is built on is left out: it holds for other prompts; make one with `slm fit`";

/// Makes the model; its name points at the old one until everything is there.
///
/// # Errors
/// The Modelfile, or anything that it names, is missing or wrong; or what it would replace is not to be lost.
pub fn run(args: &CreateArgs, environment: &Environment) -> Outcome {
    let name: ModelRef = args.name.parse()?;
    let (text, folder) = read(&args.file)?;
    let order = args.quantizing.order();
    if slm_yaml::is_yaml(&args.file) {
        quantized::refuse(order.as_ref(), "cascade")?;
        let file = CascadeFile { path: &args.file, text: &text, folder: &folder };
        let (who, modelfile) = cascade::of(file, &name, environment)?;
        let store = environment.store()?;
        let creation = store.begin_creating_elsewhere(&who, &modelfile, &folder)?;
        return finish(args, &name, &store, creation);
    }
    let shown = args.file.display();
    let modelfile = Modelfile::parse(&text).map_err(|error| Failure::failed(format!("`{shown}`: {error}")))?;
    let mut modelfile = with_schema(&modelfile, &folder)?;
    load_spec::check(&modelfile).map_err(|error| match error {
        CheckError::Format(error) => Failure::usage(format!("FORMAT in `{shown}`: {error}")),
        CheckError::Template(error) => {
            Failure::failed(format!("TEMPLATE in `{shown}` cannot be used: {error}; correct it or leave it out"))
        }
        CheckError::Message { number, violation } => {
            // It was parsed a moment ago.
            let line = Modelfile::line_of_message(&text, number).unwrap_or_default();
            Failure::failed(format!(
                "`{shown}`: line {line}: this MESSAGE is an example that breaks the FORMAT: {violation}; write it as the model is to answer"
            ))
        }
    })?;
    if let modelfile::BaseSource::Name(from) = &mut modelfile.from {
        // A person may have meant one of another name.
        from.name = load::find_or_pull(&from.to_string(), environment)?.name;
    }
    let store = environment.store()?;
    if let Some(FoundBy::Model(by)) = modelfile.examples.as_mut().map(|examples| &mut examples.by) {
        by.name = load::find_or_pull(&by.to_string(), environment)?.name;
    }
    let creation = match (elsewhere::of(&modelfile, &folder)?, order) {
        (Some(who), order) => {
            quantized::refuse(order.as_ref(), who.kind())?;
            store.begin_creating_elsewhere(&who, &modelfile, &folder)?
        }
        (None, None) => {
            let examples = examples(&store, &modelfile, &folder, environment)?;
            let made = (NewWeights::Named, examples.as_ref());
            store.begin_creating_with(&modelfile, &folder, made, &Bytes::default())?
        }
        (None, Some(order)) => {
            let (modelfile, folder, store) = (&modelfile, folder.as_path(), &store);
            let examples = examples(store, modelfile, folder, environment)?;
            let making = quantized::Making { name: &name, modelfile, folder, args, store, environment };
            let Some(ready) = making.weights(order)? else { return Ok(Exit::Done) };
            let made = (NewWeights::Made(&ready.made), examples.as_ref());
            let creation = store.begin_creating_with(modelfile, folder, made, &Bytes::default())?;
            let outcome = finish(args, &name, store, creation)?;
            say_what_has_no_effect(modelfile);
            ready.check(args, store.resolve(&name)?, environment)?;
            return Ok(outcome);
        }
    };
    let outcome = finish(args, &name, &store, creation)?;
    say_what_has_no_effect(&modelfile);
    Ok(outcome)
}

/// The examples that the Modelfile names, with what finds them.
fn examples(
    store: &Store,
    modelfile: &Modelfile,
    folder: &Path,
    environment: &Environment,
) -> Result<Option<NewExamples>, Failure> {
    let Some(source) = &modelfile.examples else { return Ok(None) };
    // What is wrong with them is said before anything is computed.
    let examples = store.read_examples(source, folder)?;
    examples.check(modelfile.format.as_ref())?;
    vectors::with_vectors(examples, environment).map(Some)
}

/// Gives what was made its name, once nothing is lost that should not be.
fn finish(args: &CreateArgs, name: &ModelRef, store: &Store, creation: Creation) -> Outcome {
    if !args.yes && confirm::replaces_another(store, name, creation.digest())? {
        confirm::loss(store, name, Loss::Replace)?;
    }
    let fit = creation.fit();
    let model = store.finish_creating(name, creation)?;
    if fit == FitKept::No {
        say(FIT_LEFT_OUT);
    }
    let mut output = Output::default();
    if args.json {
        output.json(&json!({
            "name": model.name.to_string(),
            "digest": model.digest.hex(),
            "size": model.manifest.total_bytes(),
        }))?;
    } else {
        output.line(&format!("created {} ({})", model.name, model.digest.short()))?;
    }
    Ok(Exit::Done)
}

/// Says which instructions were taken and do nothing here.
fn say_what_has_no_effect(modelfile: &Modelfile) {
    let idle: Vec<&str> = modelfile.parameters.idle().keys().map(String::as_str).collect();
    if !idle.is_empty() {
        say(format_args!("these parameters are stored but have no effect: `{}`", idle.join("`, `")));
    }
    if let Some(draft) = &modelfile.draft {
        say(format_args!("DRAFT `{draft}` is not used: slm drafts from the prompt and needs no second model"));
    }
}

/// The Modelfile's text and the folder that its paths are relative to.
fn read(file: &Path) -> Result<(String, std::path::PathBuf), Failure> {
    let cannot = |error: &dyn std::fmt::Display| {
        Failure::failed(format!("cannot read the Modelfile `{}`: {error}; give another with -f", file.display()))
    };
    let (bytes, folder) = if file == Path::new("-") {
        (load::small_bytes(std::io::stdin()), std::path::PathBuf::new())
    } else {
        let bytes = std::fs::File::open(file).and_then(load::small_bytes);
        (bytes, file.parent().unwrap_or(Path::new("")).to_owned())
    };
    let bytes = bytes.map_err(|error| cannot(&error))?;
    let text = encoding::decode(&bytes);
    Ok((text.map_err(|error| Failure::failed(format!("`{}`: {error}", file.display())))?, folder))
}

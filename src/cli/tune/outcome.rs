//! What becomes of a trained adapter: converted, measured on held-out rows, and stored as a model with its card where it is better.

use serde_json::json;

use super::args::TuneArgs;
use super::evaluate::{Evaluated, evaluate, is_loss};
use super::plan;
use crate::cli::confirm::{self, Loss};
use crate::cli::create::FIT_LEFT_OUT;
use crate::cli::environment::{Environment, today};
use crate::failure::{Exit, Failure, Outcome};
use crate::model_ref::ModelRef;
use crate::modelfile::{AdapterSource, BaseSource, Format, Modelfile};
use crate::store::{FitKept, Model, converted_adapter};
use crate::tune::card::{Training, TuningCard};
use crate::tune::job::{JobFile, JobFolder};
use crate::ui::output::{Output, say};
use crate::ui::progress::Bytes;
use crate::ui::table::size;

const GGUF: &str = "adapter.gguf";

/// Measures what was trained, and stores it if it is better or is to be kept anyway.
///
/// # Errors
/// The adapter cannot be converted, the model is no longer what it was, or the store refuses.
pub fn keep(
    args: &TuneArgs,
    job: &JobFile,
    place: &JobFolder,
    training: Option<Training>,
    environment: &Environment,
) -> Outcome {
    let model = plan::model_of(job, environment)?;
    let n_bytes = convert(&model, place)?;
    let mut card = TuningCard { training, adapter_bytes: n_bytes, ..TuningCard::of(job, today().strftime("%Y-%m-%d")) };
    let evaluated = if job.rows.held_out == 0 {
        say("no rows are held out, so that nobody knows whether it is better");
        None
    } else {
        Some(evaluate(args, job, (place, &place.path().join(GGUF)), environment)?)
    };
    if let Some(Evaluated { figures, gains, is_better, not_better_than_fit, report }) = evaluated {
        if !args.json {
            Output::default().text(&report.to_text())?;
        }
        if let Some(gain) = not_better_than_fit {
            let so = if is_loss(&gain) { "worse" } else { "not better beyond chance" };
            say(format_args!(
                "it is {so} than `{}` with a fit of the same rows ({:+.3}, p = {:.3}), which `slm fit` makes in a fraction of the time",
                job.model, gain.difference, gain.p
            ));
        }
        (card.figures, card.comparisons, card.is_better) = (figures, gains, is_better);
    }
    if !card.is_better && !args.keep {
        told(args, &card, None)?;
        let over = card.comparisons.first().map_or(job.model.as_str(), |gain| gain.over.as_str());
        say(format_args!(
            "it is not better than `{over}` beyond chance and was not kept; `slm tune --import {} --keep` keeps it anyway",
            place.path().display()
        ));
        return Ok(Exit::NotMet);
    }
    let model = stored(args, job, place, &card, environment)?;
    told(args, &card, Some(&model))?;
    Ok(Exit::Done)
}

/// The trained adapter as a GGUF in the job's folder; gives its size.
fn convert(model: &Model, place: &JobFolder) -> Result<u64, Failure> {
    let folder = place.trained().unwrap_or_else(|| place.adapter());
    let gguf = converted_adapter(&folder, &model.weights.header()?)?;
    place.put_bytes(GGUF, &gguf)?;
    Ok(gguf.len() as u64)
}

/// The model with its adapter and card.
fn stored(
    args: &TuneArgs,
    job: &JobFile,
    place: &JobFolder,
    card: &TuningCard,
    environment: &Environment,
) -> Result<Model, Failure> {
    let name: ModelRef = job.name.parse()?;
    let base: ModelRef = job.model.parse()?;
    let adapter = AdapterSource { path: GGUF.to_owned(), scale: 1.0 };
    let format = job.schema.clone().map(Format::Schema);
    let modelfile = Modelfile { adapters: vec![adapter], format, ..Modelfile::new(BaseSource::Name(base.into())) };
    let store = environment.store()?;
    let creation = store.begin_creating(&modelfile, place.path(), &Bytes::default())?;
    if !args.yes && confirm::replaces_another(&store, &name, creation.digest())? {
        confirm::loss(&store, &name, Loss::Replace)?;
    }
    if creation.fit() == FitKept::No {
        say(FIT_LEFT_OUT);
    }
    store.finish_creating(&name, creation)?;
    let json = serde_json::to_vec(card).expect("a card is plain data");
    Ok(store.set_tuning(&name, &json)?)
}

fn told(args: &TuneArgs, card: &TuningCard, stored: Option<&Model>) -> Result<(), Failure> {
    let mut output = Output::default();
    if args.json {
        let name = stored.map(|model| model.name.to_string());
        return output.json(&json!({"name": name, "kept": stored.is_some(), "card": card})).map(drop);
    }
    if let Some(model) = stored {
        output.line(&format!(
            "created {} ({}), with an adapter of {}; `slm show {}` prints its card",
            model.name,
            model.digest.short(),
            size(card.adapter_bytes),
            model.name
        ))?;
    }
    Ok(())
}

//! `slm fit`: from labels to a model whose answers are right more often, with a probability that holds.

mod args;
mod check;
mod decisions;
mod learned;
mod report;
pub(super) mod rows;
mod unlabelled;

pub use args::FitArgs;

use slm_fit::card::{CARD_FORMAT, Card};
use slm_fit::{Fit, Pins};

use super::environment::{Environment, today};
use super::load;
use crate::failure::{Exit, Failure, Outcome};
use crate::infer::FitUse;
use crate::infer::Turn;
use crate::model_ref::ModelRef;
use crate::store::FitFiles;
use crate::ui::output::{Output, say};
use learned::FieldResult;
use rows::Gathered;

/// Learns a fit and stores it, checks the one that there is, or removes it.
///
/// # Errors
/// The data or the model cannot be used, or what is demanded cannot be promised.
pub fn run(args: &FitArgs, environment: &Environment) -> Outcome {
    if args.other.remove {
        return remove(args, environment);
    }
    if let Some(texts) = &args.other.unlabelled {
        return unlabelled::run(args, texts, environment);
    }
    let data = args.data.as_deref().expect("clap asks for data otherwise");
    if args.other.check {
        return check::run(args, data, environment);
    }
    if let Some(promise) = args.promise.promised()? {
        let (risk, confidence) = (promise.risk(), promise.confidence().share());
        let [none, one] = [0, 1].map(|errors| promise.rows_needed(errors));
        let said = format!(
            "a risk of {risk} at a confidence of {confidence} takes {none} accepted rows without an error to certify, {one} with one; \
             half of the rows certify"
        );
        tell(args, &said)?;
    }
    let gathered = rows::gather(args, data, environment)?;
    if gathered.n_failed > 0 {
        say(format_args!("{} of {} rows have no answer and are left out", gathered.n_failed, gathered.n_rows));
    }
    let results: Vec<FieldResult> =
        gathered.fields.iter().map(|field| learned::learn(args, field)).collect::<Result<_, _>>()?;
    report::tell(args, &gathered, &results)?;
    if results.iter().any(|result| result.broken.is_some()) {
        tell(args, "nothing was stored, because what was asked for cannot be promised")?;
        return Ok(Exit::NotMet);
    }
    if results.iter().all(FieldResult::does_nothing) {
        tell(args, &format!("nothing was stored: no method beats `{}` as it is", args.model))?;
        return Ok(Exit::Done);
    }
    let fit = fit_of(&gathered, results)?;
    store(args, &fit, environment)?;
    Ok(Exit::Done)
}

/// The fit that was learned, for the model as it was asked.
fn fit_of(gathered: &Gathered, results: Vec<FieldResult>) -> Result<Fit, Failure> {
    let (cards, fields): (Vec<_>, Vec<_>) = results.into_iter().map(|result| (result.card, result.fit)).unzip();
    let mut fit = Fit { card: card(pins(gathered)?), fields };
    fit.card.fields = cards;
    if fit.needs_state() {
        fit.card.pins.state = serde_json::to_value(crate::engine::StateAt::default()).ok();
    }
    Ok(fit)
}

fn card(pins: Pins) -> Card {
    Card {
        format: CARD_FORMAT,
        tool: env!("CARGO_PKG_VERSION").to_owned(),
        date: today().strftime("%Y-%m-%d"),
        pins,
        fields: Vec::new(),
    }
}

fn pins(gathered: &Gathered) -> Result<Pins, Failure> {
    let Gathered { subject, session, .. } = gathered;
    Ok(session.pins(Turn { fit: FitUse::None, ..subject.turn(&subject.form, "text") })?)
}

/// Puts the fit beside the model's other layers, under its name or another.
fn store(args: &FitArgs, fit: &Fit, environment: &Environment) -> Result<(), Failure> {
    let source = load::find(&args.model, environment)?.name;
    let name: ModelRef = match &args.name {
        Some(name) => name.parse()?,
        None => source.clone(),
    };
    let layers = fit.to_layers();
    let n_bytes = (layers.card.len() + layers.numbers.len()) as u64;
    let size = crate::ui::table::size(n_bytes);
    if args.asking.dry_run {
        return tell(args, &format!("`{name}` would get this fit ({size}); nothing was stored"));
    }
    let files = FitFiles { card: &layers.card, numbers: &layers.numbers };
    environment.store()?.set_fit(&source, &name, Some(files))?;
    tell(args, &format!("`{name}` has this fit now ({size}); `slm show {name}` prints its card"))
}

/// What came of it: on standard output, unless JSON is there.
fn tell(args: &FitArgs, line: &str) -> Result<(), Failure> {
    if args.asking.json {
        say(line);
        return Ok(());
    }
    Output::default().line(line).map(drop)
}

fn remove(args: &FitArgs, environment: &Environment) -> Outcome {
    let model = load::find(&args.model, environment)?;
    let name = match &args.name {
        Some(name) => name.parse()?,
        None => model.name.clone(),
    };
    if model.fit.is_none() {
        say(format_args!("`{}` has no fit", model.name));
        return Ok(Exit::Done);
    }
    if !args.asking.dry_run {
        environment.store()?.set_fit(&model.name, &name, None)?;
    }
    if args.asking.json {
        Output::default().json(&serde_json::json!({"model": name.to_string(), "removed": !args.asking.dry_run}))?;
    } else {
        say(format_args!("`{name}` {} its fit", if args.asking.dry_run { "would lose" } else { "has lost" }));
    }
    Ok(Exit::Done)
}

//! `slm fit`: from labels to a model whose answers are right more often, with a probability that holds.

mod args;
mod cascade;
mod check;
mod decisions;
mod depth;
mod examples;
mod field;
mod labelled_texts;
mod learned;
mod parts;
mod prepared;
mod report;
mod rows;
mod source;
pub(super) mod suite;
mod unlabelled;
mod with_examples;
mod words;

pub use args::FitArgs;

use std::path::Path;

use slm_fit::card::{CARD_FORMAT, CARD_FORMAT_OF_DEPTH, Card};
use slm_fit::{Depth, DepthCard, Early, Fit, Pins};

use super::environment::{Environment, today};
use super::load;
use crate::failure::{Exit, Failure, Outcome};
use crate::infer::FitUse;
use crate::infer::Turn;
use crate::model_ref::ModelRef;
use crate::store::{Elsewhere, FitFiles, Weights};
use crate::ui::output::{Output, say};
use learned::{FieldResult, Lesson, Taught, learn};
use rows::Gathered;
use source::Source;

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
    readable(data)?;
    if let Some(k) = args.examples.examples {
        return examples::run(args, k, data, environment);
    }
    let model = load::find_or_pull(&args.model, environment)?;
    if let Weights::Elsewhere(Elsewhere::Cascade(json)) = &model.weights {
        return cascade::run(args, data, (&model, json), environment);
    }
    if args.other.check {
        return check::run(args, data, environment);
    }
    if let Some(name) = &args.name {
        // Before hours of work, not after them.
        name.parse::<ModelRef>()?;
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
    if args.other.words_only {
        return words::run(args, data, environment);
    }
    let gathered = rows::gather(args, data, environment)?;
    if gathered.fields.iter().all(|field| !field.is_labelled) {
        return Err(Failure::failed(format!(
            "`{}` has texts and no labels, from which only means can be learned; label some, or centre with `slm fit {} --unlabelled {}`",
            data.display(),
            args.model,
            data.display()
        )));
    }
    args.promise.names_labels_of(&gathered.fields.iter().flat_map(field::FieldRows::labels).collect::<Vec<_>>())?;
    if gathered.n_failed > 0 {
        say(format_args!("{} of {} rows have no answer and are left out", gathered.n_failed, gathered.n_rows));
    }
    let (depth, results) = results(args, &gathered, environment)?;
    report::tell(args, &report::Counts::from(&gathered), depth, &results)?;
    if results.iter().any(|result| result.broken.is_some()) {
        tell(args, "nothing was stored, because what was asked for cannot be promised")?;
        return Ok(Exit::NotMet);
    }
    if results.iter().all(FieldResult::does_nothing) {
        tell(args, &format!("nothing was stored: no method beats `{}` as it is", args.model))?;
        return Ok(Exit::Done);
    }
    let fit = fit_of(&gathered, depth, results)?;
    store(args, &fit, environment)?;
    Ok(Exit::Done)
}

/// The fit that these rows teach, which nobody stores; `None` where no method beats the model as it is.
///
/// # Errors
/// The data or the model cannot be used, or nothing can be learned from them.
pub(super) fn learned_from(args: &FitArgs, data: &Path, environment: &Environment) -> Result<Option<Fit>, Failure> {
    let gathered = rows::gather(args, data, environment)?;
    let (depth, results) = results(args, &gathered, environment)?;
    if results.iter().all(FieldResult::does_nothing) {
        return Ok(None);
    }
    fit_of(&gathered, depth, results).map(Some)
}

/// Holds that a path is a file with something in it.
fn readable(data: &Path) -> Result<(), Failure> {
    let shown = data.display();
    let found = std::fs::metadata(data).map_err(|error| Failure::failed(format!("cannot read `{shown}`: {error}")))?;
    if found.is_dir() {
        return Err(Failure::usage(format!(
            "`{shown}` is a folder; name the file with the rows, or a suite that names several"
        )));
    }
    if found.is_file() && found.len() == 0 {
        return Err(Failure::failed(format!("`{shown}` is empty; it needs a row for each text, with a label")));
    }
    Ok(())
}

/// What the rows teach of every field, and the part of the layers that answers, where one does.
fn results(
    args: &FitArgs,
    gathered: &Gathered,
    environment: &Environment,
) -> Result<(Option<Depth>, Vec<FieldResult>), Failure> {
    let lessons = gathered.fields.iter().map(|field| Lesson::of(args, field));
    let lessons: Vec<Option<Lesson<'_>>> = lessons.collect::<Result<_, _>>()?;
    let whole = lessons.iter().map(|lesson| lesson.as_ref().map(Lesson::teach).transpose());
    let whole: Vec<Option<Taught>> = whole.collect::<Result<_, _>>()?;
    let early = depth::find(args, gathered, &lessons, &whole, environment)?;
    let (depth, early) = early.map_or((None, Vec::new()), |early| (Some(early.depth), early.fields));
    let mut early = early.into_iter();
    let fields = gathered.fields.iter().zip(lessons).zip(whole);
    let results = fields.map(|((field, lesson), whole)| match (lesson, whole) {
        (Some(lesson), Some(whole)) => learn(args, lesson, whole, early.next()),
        _ => Ok(FieldResult::untouched(field)),
    });
    Ok((depth, results.collect::<Result<_, _>>()?))
}

/// The fit that was learned, for the model as it was asked.
fn fit_of(gathered: &Gathered, depth: Option<Depth>, results: Vec<FieldResult>) -> Result<Fit, Failure> {
    let mut fit = Fit { card: card(pins(gathered)?), fields: Vec::new(), early: None };
    let (mut early, mut early_cards) = (Vec::new(), Vec::new());
    for result in results {
        fit.fields.push(result.fit);
        fit.card.fields.push(result.card);
        if let Some(one) = result.early {
            early.push(one.fit);
            early_cards.push(one.card);
        }
    }
    if let Some(depth) = depth {
        fit.card.format = CARD_FORMAT_OF_DEPTH;
        fit.card.depth = Some(DepthCard { depth, fields: early_cards });
        fit.early = Some(Early { depth, fields: early });
    }
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
        depth: None,
    }
}

fn pins(gathered: &Gathered) -> Result<Pins, Failure> {
    let Source { prepared, session, .. } = &gathered.source;
    let subject = &prepared.subject;
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

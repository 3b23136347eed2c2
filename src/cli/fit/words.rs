//! `slm fit MODEL DATA --words-only`: a fit that answers from the words of a text, for which no model is asked, now or later.

use std::path::Path;

use slm_fit::{Fit, Pins};

use super::args::FitArgs;
use super::field::FieldRows;
use super::learned::{FieldResult, Lesson, learn};
use super::prepared::{self, Prepared};
use super::{card, report, store, tell};
use crate::cli::environment::Environment;
use crate::failure::{Exit, Failure, Outcome};

/// Learns from the texts and their labels, and stores what was learned.
///
/// # Errors
/// The data cannot be used, a field of the answer has no labels, or what is demanded cannot be promised.
pub fn run(args: &FitArgs, data: &Path, environment: &Environment) -> Outcome {
    if args.name.is_none() {
        return Err(Failure::usage(
            "--words-only makes a fit without the model's own probabilities, which would replace the model's; store it under another \
             name with --as NAME",
        ));
    }
    let model = prepared::with_weights(&args.model, environment)?;
    let fields = Prepared::new(args, data, &model, environment)?.texts();
    if let Some(field) = fields.iter().find(|field| !field.is_labelled) {
        return Err(Failure::usage(format!(
            "words alone have to answer every field, and the data has no labels for `{}`; give its column with --label {}=COLUMN, \
             or ask for one field alone with `format` in a suite",
            field.shown(),
            field.shown()
        )));
    }
    let results: Vec<FieldResult> = fields.iter().map(|field| learned(args, field)).collect::<Result<_, _>>()?;
    let counts = report::Counts { rows: n_rows(&fields), failed: 0, has_states: false };
    report::tell(args, &counts, None, &results)?;
    if results.iter().any(|result| result.broken.is_some()) {
        tell(args, "nothing was stored, because what was asked for cannot be promised")?;
        return Ok(Exit::NotMet);
    }
    if let Some(poor) = results.iter().find(|result| result.fit.method.needs_model()) {
        let name = poor.fit.name.as_deref().unwrap_or("answer");
        tell(args, &format!("nothing was stored: the words of these texts say too little of `{name}`"))?;
        return Ok(Exit::Done);
    }
    let (cards, fields): (Vec<_>, Vec<_>) = results.into_iter().map(|result| (result.card, result.fit)).unzip();
    // Words are the same whatever the model, its prompt and the machine.
    let mut fit = Fit { card: card(Pins::default()), early: None, fields };
    fit.card.fields = cards;
    store(args, &fit, environment)?;
    Ok(Exit::Done)
}

fn learned(args: &FitArgs, field: &FieldRows) -> Result<FieldResult, Failure> {
    let Some(lesson) = Lesson::of(args, field)? else { return Ok(FieldResult::untouched(field)) };
    let taught = lesson.teach()?;
    learn(args, lesson, taught, None)
}

fn n_rows(fields: &[FieldRows]) -> usize {
    fields.first().map_or(0, |field| field.rows.len())
}

//! A tuned model against the model that it was made of, as it is and with a fit, on rows that neither training nor fit has seen.

use std::path::Path;

use serde_json::{Value, json};

use super::args::TuneArgs;
use super::task;
use crate::cli::environment::Environment;
use crate::cli::eval::course::Asking;
use crate::cli::eval::local;
use crate::cli::eval::parquet;
use crate::cli::eval::subject::{self, Subject};
use crate::cli::fit::{FitArgs, learned_from};
use crate::cli::interrupt;
use crate::contract::Form;
use crate::decide::ModelFit;
use crate::eval::compare::{Comparison, LEVEL};
use crate::eval::data::{Data, Selection};
use crate::eval::record::Records;
use crate::eval::report::Wanted;
use crate::eval::suite::Suite;
use crate::eval::{Detail, Report};
use crate::failure::Failure;
use crate::tune::card::{Accuracy, Gain};
use crate::tune::job::{JobFile, JobFolder};
use crate::ui::output::say;

/// How the tuned model is called in the report.
const TUNED: &str = "tuned";

/// What the evaluation found.
pub struct Evaluated {
    pub report: Report,
    pub figures: Vec<Accuracy>,
    /// The tuned model against each other one: the model as it answers today comes first.
    pub gains: Vec<Gain>,
    /// Whether more rows are right than with the model as it answers today, beyond chance.
    pub is_better: bool,
    /// Where the tuned model is not better than the model with a fit of the same rows: the tuned one against it.
    pub not_better_than_fit: Option<Gain>,
}

/// Asks the model and the tuned one about the held-out rows. A model without a fit is also asked with one that the job's rows teach.
///
/// # Errors
/// The model cannot be asked, or Ctrl-C was pressed.
pub fn evaluate(
    args: &TuneArgs,
    job: &JobFile,
    (place, adapter): (&JobFolder, &Path),
    environment: &Environment,
) -> Result<Evaluated, Failure> {
    let adapters = [absolute(adapter)];
    let models = json!([{"model": job.model}, {"model": job.model, "name": TUNED, "adapters": adapters}]);
    let suite = suite(job, &models, &place.held_out())?;
    let eval = task::eval_args(args, &job.model, Path::new("the held-out rows"));
    let folder = Path::new(".");
    let data = Data::load(folder, &suite, &Selection::default(), &parquet::read_apart)?;
    let find = |nth| Subject::find((nth, job.model.as_str()), &suite, &eval, folder, environment);
    let (mut base, mut tuned) = (find(0)?, find(1)?);
    let fitted = format!("{}, fitted", job.model);
    let today = if base.fit.is_some() { &fitted } else { &job.model };
    if base.fit.is_none() && matches!(base.form, Form::Closed(_)) {
        base.fit = fit(args, job, place, environment)?;
    }
    // A fit is of the model without the adapter.
    tuned.fit = None;
    let fields = subject::fields(&suite, &[&base.form]);
    let mut records = Records::new("the held-out rows".to_owned(), &data, fields);
    let asking = Asking { suite: &suite, data: &data, args: &eval, environment };
    local::ask(&base, &mut records, asking)?;
    interrupt::finished()?;
    // The answers as they are come after those of a fit.
    if let (Some(_), Some((raw, of_fit))) = (&base.fit, records.subjects.split_last_mut()) {
        raw.name.clone_from(&job.model);
        of_fit.iter_mut().for_each(|subject| subject.name.clone_from(&fitted));
    }
    local::ask(&tuned, &mut records, asking)?;
    interrupt::finished()?;
    let total = records.keep_common();
    let report = Report::of(&records, total, Wanted::default(), Detail::Summary);
    let figures = report.subjects.iter().filter_map(|subject| {
        let rate = &subject.accuracy;
        Some(Accuracy { subject: subject.name.clone(), accuracy: rate.value?, low: rate.low?, high: rate.high? })
    });
    let mut gains: Vec<Gain> = report.comparisons.iter().filter(|one| one.second == TUNED).filter_map(gain).collect();
    gains.sort_by_key(|gain| gain.over != *today);
    let is_better = gains.first().is_some_and(is_gain);
    let of_fit = gains.iter().find(|gain| gain.over == fitted && *today != fitted);
    let not_better_than_fit = of_fit.filter(|gain| !is_gain(gain)).cloned();
    Ok(Evaluated { figures: figures.collect(), gains, is_better, not_better_than_fit, report })
}

/// More rows are right, beyond chance.
fn is_gain(gain: &Gain) -> bool {
    gain.difference > 0.0 && gain.p < LEVEL
}

/// Fewer rows are right, beyond chance.
#[must_use]
pub fn is_loss(gain: &Gain) -> bool {
    gain.difference < 0.0 && gain.p < LEVEL
}

/// What the rows that teach and those that say when to stop teach a fit; `None` where that gains nothing or cannot be done, which is said.
fn fit(
    args: &TuneArgs,
    job: &JobFile,
    place: &JobFolder,
    environment: &Environment,
) -> Result<Option<ModelFit>, Failure> {
    // Jobs of older versions have no such file.
    if !place.labelled().exists() {
        return Ok(None);
    }
    let models = json!([{"model": job.model}]);
    place.put("labelled.yaml", &suite_text(job, &models, &place.labelled()))?;
    let how = FitArgs { limit: None, ..task::fit_args(args, &job.model) };
    match learned_from(&how, &place.path().join("labelled.yaml"), environment) {
        Ok(fit) => Ok(fit.map(|fit| ModelFit::new("of the job's rows", fit))),
        Err(failure) if interrupt::happened() => Err(failure),
        Err(failure) => {
            say(format_args!("there is no fit to compare with: {}", failure.message));
            Ok(None)
        }
    }
}

/// The suite that asks these models about rows of the job.
fn suite(job: &JobFile, models: &Value, rows: &Path) -> Result<Suite, Failure> {
    Ok(Suite::parse(&suite_text(job, models, rows))?)
}

fn suite_text(job: &JobFile, models: &Value, rows: &Path) -> String {
    let mut suite =
        json!({"models": models, "data": absolute(rows), "input": "text", "expect": job.expect, "baselines": []});
    if let Some(schema) = &job.schema {
        suite["format"] = schema.clone();
    }
    suite.to_string()
}

fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

fn gain(one: &Comparison) -> Option<Gain> {
    let (difference, low, high) = (one.difference?, one.low?, one.high?);
    Some(Gain { over: one.first.clone(), difference, low, high, p: one.p_corrected })
}

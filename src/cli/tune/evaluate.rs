//! A tuned model against the model that it was made of, with its fit where it has one, on rows that no training has seen.

use std::path::Path;

use serde_json::json;

use super::args::TuneArgs;
use super::task;
use crate::cli::environment::Environment;
use crate::cli::eval::course::Asking;
use crate::cli::eval::local;
use crate::cli::eval::parquet;
use crate::cli::eval::subject::{self, Subject};
use crate::cli::interrupt;
use crate::eval::compare::{Comparison, LEVEL};
use crate::eval::data::{Data, Selection};
use crate::eval::record::{Field, Records};
use crate::eval::report::Wanted;
use crate::eval::suite::{Judge, Suite};
use crate::eval::{Detail, Report};
use crate::failure::Failure;
use crate::tune::card::{Accuracy, Gain};
use crate::tune::job::JobFile;

/// How the tuned model is called in the report.
const TUNED: &str = "tuned";

/// What the evaluation found.
pub struct Evaluated {
    pub report: Report,
    pub figures: Vec<Accuracy>,
    pub gains: Vec<Gain>,
    /// Whether more rows are right than with the model as it answers today, beyond chance.
    pub is_better: bool,
}

/// Asks the model and the tuned one about the held-out rows.
///
/// # Errors
/// The model cannot be asked, or Ctrl-C was pressed.
pub fn evaluate(
    args: &TuneArgs,
    job: &JobFile,
    (held_out, adapter): (&Path, &Path),
    environment: &Environment,
) -> Result<Evaluated, Failure> {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string();
    let mut suite = json!({
        "models": [{"model": job.model}, {"model": job.model, "name": TUNED, "adapters": [absolute(adapter)]}],
        "data": absolute(held_out), "input": "text", "expect": job.expect, "baselines": [],
    });
    if let Some(schema) = &job.schema {
        suite["format"] = schema.clone();
    }
    let suite = Suite::parse(&suite.to_string())?;
    let eval = task::eval_args(args, &job.model, Path::new("the held-out rows"));
    let folder = Path::new(".");
    let data = Data::load(folder, &suite, &Selection::default(), &parquet::read_apart)?;
    let find = |nth| Subject::find((nth, job.model.as_str()), &suite, &eval, folder, environment);
    let (base, mut tuned) = (find(0)?, find(1)?);
    // A fit is of the model without the adapter.
    tuned.fit = None;
    let field = |expected: &crate::eval::suite::ExpectedField| Field {
        name: expected.field.clone(),
        judge: Judge::Label,
        candidates: subject::candidates(&base.form, &expected.field),
        limits: None,
    };
    let mut records = Records::new("the held-out rows".to_owned(), &data, suite.expect.iter().map(field).collect());
    let asking = Asking { suite: &suite, data: &data, args: &eval, environment };
    for subject in [&base, &tuned] {
        local::ask(subject, &mut records, asking)?;
        interrupt::finished()?;
    }
    let total = records.keep_common();
    let report = Report::of(&records, total, Wanted::default(), Detail::Summary);
    let figures = report.subjects.iter().filter_map(|subject| {
        let rate = &subject.accuracy;
        Some(Accuracy { subject: subject.name.clone(), accuracy: rate.value?, low: rate.low?, high: rate.high? })
    });
    let gains: Vec<Gain> = report.comparisons.iter().filter(|one| one.second == TUNED).filter_map(gain).collect();
    // The model as it answers today comes first: with its fit, where it has one.
    let is_better = gains.first().is_some_and(|gain| gain.difference > 0.0 && gain.p < LEVEL);
    Ok(Evaluated { figures: figures.collect(), gains, is_better, report })
}

fn gain(one: &Comparison) -> Option<Gain> {
    let (difference, low, high) = (one.difference?, one.low?, one.high?);
    Some(Gain { over: one.first.clone(), difference, low, high, p: one.p_corrected })
}

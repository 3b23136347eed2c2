//! `slm tune --check`: what labelled rows are good for, before anything is trained.

use std::path::Path;

use serde_json::{Value, json};

use super::args::TuneArgs;
use super::task::{self, Task, TaughtRows};
use crate::cli::environment::Environment;
use crate::cli::eval::parquet;
use crate::cli::fit::learned_from;
use crate::cli::interrupt;
use crate::eval::init;
use crate::eval::label::show;
use crate::failure::{Exit, Failure, Outcome};
use crate::load_spec;
use crate::store::Model;
use crate::tune::near;
use crate::tune::rows::{FieldCounts, LeftOut, TaskRow, Why, cleaned, tallied};
use crate::tune::settings::{ENOUGH_ROWS, Settings};
use crate::ui::output::{Output, say};

/// The most examples of a finding that are shown.
const SHOWN: usize = 3;
/// A label with fewer rows can hardly be learned and measured.
const FEW: u64 = 10;
/// The most characters of a text that are shown.
const MAX_SHOWN_CHARS: usize = 60;

/// What the rows are.
struct Checked {
    n_rows: usize,
    n_usable: usize,
    labels: Vec<FieldCounts>,
    left: Vec<LeftOut>,
    /// Groups of nearly the same texts, by the places of their rows.
    near: Vec<Vec<String>>,
    /// Tokens of the longest row and of the one in the middle; `None` without a model.
    tokens: Option<(usize, usize)>,
    fit: Option<Fitted>,
}

/// Looks at the rows and says what it found. Exit code 3 where they are not enough to tune with.
///
/// # Errors
/// The rows or the model cannot be read.
pub fn run(args: &TuneArgs, environment: &Environment) -> Outcome {
    // Without a model the one word is the data.
    let (model, data) = match (&args.model, &args.data) {
        (Some(model), Some(data)) => (Some(model.as_str()), data.clone()),
        (Some(data), None) => (None, data.into()),
        _ => return Err(Failure::usage("name the data to check: slm tune [MODEL] DATA --check")),
    };
    let checked = match model {
        Some(model) => with_model(args, model, &data, environment)?,
        None => without_model(args, &data)?,
    };
    tell(args, model, &checked)?;
    Ok(if checked.n_usable < ENOUGH_ROWS / 10 { Exit::NotMet } else { Exit::Done })
}

fn with_model(args: &TuneArgs, name: &str, data: &Path, environment: &Environment) -> Result<Checked, Failure> {
    let mut task = Task::read(args, name, data, environment)?;
    let session = task.session(args, environment)?;
    let n_rows = task.rows.len() + task.left.len();
    let mut left = std::mem::take(&mut task.left);
    let (rows, out) = cleaned(std::mem::take(&mut task.rows));
    left.extend(out);
    let most = args.settings.max_tokens.unwrap_or(Settings::for_rows(rows.len()).max_tokens);
    let weights = task.weights(&rows, crate::tune::settings::ClassWeights::None);
    let TaughtRows { kept: rows, teachings: taught, left: out } =
        task.taught(&session, rows, (weights.as_slice(), most))?;
    left.extend(out);
    let mut lengths: Vec<usize> = taught.iter().map(|one| one.tokens.len()).collect();
    lengths.sort_unstable();
    let tokens = lengths.last().map(|longest| (*longest, lengths[lengths.len() / 2]));
    let is_written = task.written.is_some();
    let fit = if is_written { None } else { fitted(args, (&task.model, data), rows.len(), environment)? };
    Ok(Checked {
        n_rows,
        n_usable: rows.len(),
        labels: task::labels(&task, &rows),
        near: near_groups(&rows),
        left,
        tokens,
        fit,
    })
}

/// The labels of the first column that looks like labels.
fn without_model(args: &TuneArgs, data: &Path) -> Result<Checked, Failure> {
    let (text, labels) = init::text_and_labels(data, &parquet::read_apart)?;
    let (Some(text), Some(label)) =
        (args.input.clone().or(text), args.label.first().cloned().or(labels.into_iter().next()))
    else {
        return Err(Failure::failed(format!(
            "`{}` has no columns that look like a text and labels; name them with --input COLUMN and --label COLUMN",
            data.display()
        )));
    };
    let options = init::values(data, &label, &parquet::read_apart)?;
    let suite = json!({"model": "any", "data": data.display().to_string(), "input": text, "expect": label});
    let suite = crate::eval::suite::Suite::parse(&suite.to_string())?;
    let selection = crate::eval::data::Selection { filter: Vec::new(), shard: None, limit: args.limit };
    let loaded = crate::eval::data::Data::load(Path::new("."), &suite, &selection, &parquet::read_apart)?;
    let fields = [task::TaskField::only(options)];
    let (rows, mut left) = task::task_rows(&loaded, &fields);
    let n_rows = rows.len() + left.len();
    let (rows, out) = cleaned(rows);
    left.extend(out);
    let counts = crate::tune::rows::counts(&rows, 0, fields[0].options.len());
    let labels =
        vec![FieldCounts { field: Some(label), labels: fields[0].options.iter().cloned().zip(counts).collect() }];
    Ok(Checked { n_rows, n_usable: rows.len(), labels, near: near_groups(&rows), left, tokens: None, fit: None })
}

fn near_groups(rows: &[TaskRow]) -> Vec<Vec<String>> {
    let texts: Vec<&str> = rows.iter().map(|row| row.text.as_str()).collect();
    let mut groups: std::collections::BTreeMap<usize, Vec<String>> = std::collections::BTreeMap::new();
    for (row, group) in rows.iter().zip(near::groups(&texts)) {
        groups.entry(group).or_default().push(row.at.clone());
    }
    groups.into_values().filter(|group| group.len() > 1).collect()
}

/// A fit as the first thing to try.
struct Fitted {
    /// Whether the model has it already; otherwise it was learned for this figure alone.
    is_stored: bool,
    /// `None` where no method beats the model as it is.
    figure: Option<FitFigure>,
}

/// The share of right answers before and after, each row answered by a fit that it did not teach.
struct FitFigure {
    before: f64,
    after: f64,
    rows: u64,
}

impl std::fmt::Display for FitFigure {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let FitFigure { before, after, rows } = self;
        write!(to, "accuracy {before:.3} -> {after:.3} on {rows} rows")
    }
}

impl FitFigure {
    fn of(fit: &slm_fit::Fit) -> Option<FitFigure> {
        let of = |field: &slm_fit::FieldCard| {
            let (before, after) = (field.before?, field.after?);
            Some(FitFigure { before: before.accuracy, after: after.accuracy, rows: after.rows })
        };
        fit.card.fields.iter().find_map(of)
    }
}

/// What a fit gains: the model's own one, or, where there are too few rows to tune, one that they teach.
fn fitted(
    args: &TuneArgs,
    (model, data): (&Model, &Path),
    n_usable: usize,
    environment: &Environment,
) -> Result<Option<Fitted>, Failure> {
    if let Some(fit) = load_spec::own_fit(model)? {
        return Ok(Some(Fitted { is_stored: true, figure: FitFigure::of(fit.fit()) }));
    }
    if n_usable >= ENOUGH_ROWS {
        return Ok(None);
    }
    let how = task::fit_args(args, &model.name.to_string());
    match learned_from(&how, data, environment) {
        Ok(fit) => Ok(Some(Fitted { is_stored: false, figure: fit.as_ref().and_then(FitFigure::of) })),
        Err(failure) if interrupt::happened() => Err(failure),
        // Too few rows, say: what they are is told all the same.
        Err(failure) => {
            say(format_args!("no fit was tried: {}", failure.message));
            Ok(None)
        }
    }
}

fn tell(args: &TuneArgs, model: Option<&str>, checked: &Checked) -> Result<(), Failure> {
    let mut output = Output::default();
    if args.json {
        let left: Vec<Value> = tallied(&checked.left).iter().map(|(why, n)| json!({"why": why, "rows": n})).collect();
        return output
            .json(&json!({
                "rows": checked.n_rows, "usable": checked.n_usable, "enough": checked.n_usable >= ENOUGH_ROWS,
                "labels": checked.labels, "left_out": left, "left_out_rows": checked.left, "near": checked.near,
                "longest_tokens": checked.tokens.map(|tokens| tokens.0), "median_tokens": checked.tokens.map(|tokens| tokens.1),
                "fit": checked.fit.as_ref().map(|Fitted { is_stored, figure }| json!({
                    "is_stored": is_stored,
                    "accuracy_before": figure.as_ref().map(|figure| figure.before),
                    "accuracy_after": figure.as_ref().map(|figure| figure.after),
                    "rows": figure.as_ref().map(|figure| figure.rows),
                })),
            }))
            .map(drop);
    }
    let mut page = format!("{} rows, {} of them can teach\n", checked.n_rows, checked.n_usable);
    for field in &checked.labels {
        let name = field.field.as_deref().unwrap_or("answer");
        page += &format!("\n{name}\n");
        for (label, n) in &field.labels {
            let few = if *n < FEW { "  few" } else { "" };
            page += &format!("{n:>8}  {}{few}\n", show(label));
        }
    }
    page += "\n";
    for (why, n) in tallied(&checked.left) {
        page += &format!("{n} rows {}: {}\n", why.describe(), examples(&checked.left, why));
    }
    let n_near: usize = checked.near.iter().map(Vec::len).sum();
    if n_near > 0 {
        let shown: Vec<String> = checked.near.iter().take(SHOWN).map(|group| group.join(" and ")).collect();
        page += &format!(
            "{n_near} rows are nearly the same as another, in {} groups ({}); a group is never both taught and held out\n",
            checked.near.len(),
            shown.join("; ")
        );
    }
    if let Some((longest, middle)) = checked.tokens {
        page += &format!("prompt and answer: {middle} tokens in the middle, {longest} at most\n");
    }
    page += &verdict(model, checked);
    output.text(&page).map(drop)
}

/// The places of a few rows, with their texts.
fn examples(left: &[LeftOut], why: Why) -> String {
    let all: Vec<&LeftOut> = left.iter().filter(|one| one.why == why).collect();
    let shown = all.iter().take(SHOWN).map(|one| {
        let text: String = crate::eval::label::harmless(&one.text).chars().take(MAX_SHOWN_CHARS).collect();
        format!("{} ({text})", one.at)
    });
    let shown = shown.collect::<Vec<_>>().join(", ");
    if all.len() > SHOWN { format!("{shown} and {} more", all.len() - SHOWN) } else { shown }
}

fn verdict(model: Option<&str>, checked: &Checked) -> String {
    let name = model.unwrap_or("MODEL");
    if checked.n_usable >= ENOUGH_ROWS {
        return format!("enough to tune: slm tune {name} DATA\n");
    }
    let so = match &checked.fit {
        Some(Fitted { is_stored: true, figure }) => {
            let shown = figure.as_ref().map(|figure| format!(" ({figure})")).unwrap_or_default();
            format!("`{name}` has a fit already{shown}; see whether that is enough")
        }
        Some(Fitted { is_stored: false, figure: Some(figure) }) => {
            format!("try `slm fit {name} DATA` first: {figure}")
        }
        Some(Fitted { is_stored: false, figure: None }) => {
            format!("`slm fit {name} DATA` gains nothing on them; label more")
        }
        // Written answers have no labels.
        None if checked.labels.is_empty() => format!("try `slm fit {name} DATA --examples` first"),
        None => format!("try `slm fit {name} DATA` first, which takes seconds"),
    };
    format!("fewer than {ENOUGH_ROWS} rows: {so}\n")
}

//! `slm fit MODEL --unlabelled TEXTS`: each label's mean log-probability over texts is subtracted, which needs no labels.

use std::path::Path;

use serde_json::json;
use slm_fit::evidence::best;
use slm_fit::learn::centring;
use slm_fit::{FieldFit, Gate};

use super::args::{self, FitArgs};
use super::field::{FieldRow, FieldRows};
use super::rows::{self, Gathered};
use super::{card, pins, store};
use crate::cli::environment::Environment;
use crate::eval::label::show;
use crate::failure::{Exit, Failure, Outcome};
use crate::ui::output::{Output, say};

/// Fewer texts give means that differ much from others.
const FEW: usize = 50;
/// A label with so small a share of the centred answers, of an even one, is rare.
const RARE: f64 = 0.25;

/// Centres and stores.
///
/// # Errors
/// The texts or the model cannot be used, or the shares are none.
pub fn run(args: &FitArgs, texts: &Path, environment: &Environment) -> Outcome {
    let gathered = rows::gather(args, texts, environment)?;
    let mut fit = slm_fit::Fit { card: card(pins(&gathered)?), fields: Vec::new(), early: None };
    let mut told = Vec::new();
    for field in &gathered.fields {
        let shares = shares(args, field)?;
        let logprobs: Vec<&[f64]> = field.rows.iter().map(|row| row.logprobs.as_slice()).collect();
        let method = centring(&logprobs, shares.as_deref());
        let one = FieldFit { name: field.name.clone(), options: field.options.clone(), method, gate: Gate::default() };
        let after = answered(field, |row| one.probabilities(&row.evidence()));
        let before = answered(field, |row| row.logprobs.iter().map(|logprob| logprob.exp()).collect());
        say_assumptions(field, shares.as_deref(), &after);
        told.push(json!({
            "name": field.name, "rows": field.rows.len(),
            "labels": field.labels(), "before": before, "after": after,
        }));
        fit.card.fields.push(card_of(field, &one));
        fit.fields.push(one);
    }
    let mut output = Output::default();
    if args.asking.json {
        output.json(&json!({"model": args.model, "fields": told}))?;
    } else {
        output.text(&page(&gathered, &told))?;
    }
    store(args, &fit, environment)?;
    Ok(Exit::Done)
}

/// The share of answers with each label.
fn answered(field: &FieldRows, probabilities: impl Fn(&FieldRow) -> Vec<f64>) -> Vec<f64> {
    let mut counts = vec![0.0; field.options.len()];
    for row in &field.rows {
        counts[best(&probabilities(row))] += 1.0 / field.rows.len() as f64;
    }
    counts
}

fn card_of(field: &FieldRows, fit: &FieldFit) -> slm_fit::FieldCard {
    let note = format!("learned from {} texts without labels", field.rows.len());
    slm_fit::FieldCard::untaught(field.name.clone(), fit.method.name(), field.options.len(), note)
}

fn say_assumptions(field: &FieldRows, shares: Option<&[f64]>, after: &[f64]) {
    let (name, n) = (field.shown(), field.rows.len());
    if n < FEW {
        say(format_args!("`{name}`: {n} texts are few for means; {FEW} or more are better"));
    }
    if shares.is_none() {
        say(format_args!(
            "`{name}`: all labels are taken to be about as frequent in what will be asked; where they are not, say --share \
             LABEL=SHARE for each, or give labelled rows"
        ));
        let even = 1.0 / field.options.len().max(1) as f64;
        let rare: Vec<String> = (0..after.len())
            .filter(|&at| after[at] < RARE * even)
            .map(|at| format!("`{}` ({:.3})", show(&field.options[at]), after[at]))
            .collect();
        if !rare.is_empty() {
            say(format_args!(
                "`{name}`: even so these labels are rarely answered: {}; if they are rare, centring gives them too much",
                rare.join(", ")
            ));
        }
    }
}

fn shares(args: &FitArgs, field: &FieldRows) -> Result<Option<Vec<f64>>, Failure> {
    if args.other.share.is_empty() {
        return Ok(None);
    }
    let labels = field.labels();
    let mut shares = vec![None; labels.len()];
    for text in &args.other.share {
        let Some((label, share)) = text.rsplit_once('=') else {
            return Err(Failure::usage(format!("--share `{text}` has no `=`; write LABEL=SHARE")));
        };
        let share = args::share("--share", share)?;
        if let Some(at) = labels.iter().position(|known| known == label) {
            shares[at] = Some(share);
        }
    }
    if shares.iter().all(Option::is_none) {
        return Ok(None);
    }
    let missing = shares.iter().position(Option::is_none);
    if let Some(at) = missing {
        return Err(Failure::usage(format!("--share says nothing of `{}`; give the share of every label", labels[at])));
    }
    let shares: Vec<f64> = shares.into_iter().flatten().collect();
    let sum: f64 = shares.iter().sum();
    if (sum - 1.0).abs() > 0.02 {
        return Err(Failure::usage(format!("the shares sum to {sum:.3}, not to 1")));
    }
    Ok(Some(shares))
}

fn page(gathered: &Gathered, told: &[serde_json::Value]) -> String {
    let mut text = String::new();
    for (field, told) in gathered.fields.iter().zip(told) {
        text += &format!("{}: {} texts\n", field.shown(), field.rows.len());
        let share = |of: &str, at: usize| format!("{:.3}", told[of][at].as_f64().unwrap_or_default());
        let labels = field.labels();
        let lines: Vec<Vec<String>> =
            (0..labels.len()).map(|at| vec![labels[at].clone(), share("before", at), share("after", at)]).collect();
        text += &crate::ui::table::table(&["label", "answered before", "after"], &lines);
    }
    text
}

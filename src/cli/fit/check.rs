//! `slm fit MODEL DATA --check`: whether a model's fit still holds, on labelled rows or on rows without labels.

use std::path::Path;

use serde_json::{Value, json};
use slm_fit::drift::{LEVEL, p_of_kept};
use slm_fit::{Decision, FieldCard, FieldFit, Figures, Fit};
use slm_stats::{Confidence, Proportion};

use super::args::FitArgs;
use super::decisions::{self, Decided, People};
use super::field::{FieldRow, FieldRows};
use super::prepared::Prepared;
use super::rows;
use super::{pins, store};
use crate::cli::environment::Environment;
use crate::cli::load;
use crate::decide::ModelFit;
use crate::failure::{Exit, Failure, Outcome};
use crate::load_spec;
use crate::ui::output::Output;

/// What was found of one field.
pub struct Checked {
    pub told: Value,
    pub text: String,
    pub holds: bool,
}

/// Checks; where everything holds and only the way of computing differs, that is noted in the fit.
///
/// # Errors
/// The model has no fit, or the data cannot be used.
pub fn run(args: &FitArgs, data: &Path, environment: &Environment) -> Outcome {
    let model = load::find(&args.model, environment)?;
    let Some(own) = load_spec::own_fit(&model)? else {
        return Err(Failure::failed(format!(
            "`{}` has no fit to check; learn one with slm fit MODEL DATA",
            args.model
        )));
    };
    let fit = own.fit();
    if decisions::is_log(data) {
        return of_log(args, data, &own);
    }
    if !fit.needs_model() {
        let fields = Prepared::new(args, data, &model, environment)?.texts();
        let n_rows = fields.first().map_or(0, |field| field.rows.len());
        return told(args, n_rows, &fields.iter().filter_map(|field| checked(fit, field, None)).collect::<Vec<_>>());
    }
    let gathered = rows::gather(args, data, environment)?;
    let here = pins(&gathered)?;
    let made = &fit.card.pins;
    if (&made.weights, &made.adapters, &made.prompt) != (&here.weights, &here.adapters, &here.prompt) {
        return Err(Failure::failed(format!(
            "the fit of `{}` was made for other weights, adapters or another prompt than this data is asked with, so that nothing \
             can be checked; fit again",
            args.model
        )));
    }
    let early = match &fit.early {
        Some(early) => gathered.source.after_layers(early.depth.layers, &gathered.fields, environment)?,
        None => Vec::new(),
    };
    let field = |(nth, field): (usize, &FieldRows)| checked(fit, field, early.get(nth));
    let checked: Vec<Checked> = gathered.fields.iter().enumerate().filter_map(field).collect();
    if told(args, gathered.n_rows, &checked)? == Exit::NotMet {
        return Ok(Exit::NotMet);
    }
    let is_labelled = gathered.fields.iter().any(|field| !field.places().is_empty());
    if !made.holds_for(&here.evaluation_id) && is_labelled {
        let mut fit = fit.clone();
        fit.card.pins.checked.push(here.evaluation_id);
        super::tell(
            args,
            "probabilities are computed otherwise here than where the fit was made; it holds, which is noted in it",
        )?;
        store(args, &fit, environment)?;
    }
    Ok(Exit::Done)
}

/// Shows what was found, and says what to do where the fit does not hold.
fn told(args: &FitArgs, n_rows: usize, checked: &[Checked]) -> Outcome {
    tell(args, n_rows, checked)?;
    if checked.iter().all(|one| one.holds) {
        return Ok(Exit::Done);
    }
    super::tell(args, "the fit does not hold any more; label some of these rows and fit again")?;
    Ok(Exit::NotMet)
}

/// Checks with decisions that a server wrote down.
fn of_log(args: &FitArgs, data: &Path, own: &ModelFit) -> Outcome {
    let log = decisions::read(data, own.id())?;
    if log.n_lines == 0 {
        return Err(Failure::failed(format!(
            "none of the {} lines of `{}` is a decision of this fit (`{}`)",
            log.n_others,
            data.display(),
            own.id()
        )));
    }
    let of = |decided: &Decided| {
        own.fit().field(decided.name.as_deref(), &decided.options)?;
        let card = own.fit().card.fields.iter().find(|card| card.name == decided.name)?;
        let name = decided.name.as_deref().unwrap_or("answer");
        let mut checked = changed(card, name, &decided.probabilities, &decided.lengths);
        if let Some(people) = corrected(card, decided.people) {
            checked.text += &people.text;
            checked.holds &= people.holds;
            checked.told["corrections"] = people.told;
            checked.told["holds"] = checked.holds.into();
        }
        Some(checked)
    };
    let checked: Vec<Checked> = log.fields.iter().filter_map(of).collect();
    told(args, log.n_lines, &checked)
}

/// What corrections say of a promise. They are of answers that people chose, so that they count as errors found among all accepted
/// answers: too many of them break the promise whatever the others are, and few of them do not show that it is kept.
fn corrected(card: &FieldCard, people: People) -> Option<Checked> {
    let People { accepted, wrong, right, guesses_wrong, guesses_right } = people;
    let n = wrong + right + guesses_wrong + guesses_right;
    if n == 0 {
        return None;
    }
    let share = wrong as f64 / accepted.max(1) as f64;
    let mut text = format!(
        "  corrections by people: {wrong} of {accepted} accepted answers are wrong (a share of {share:.3} or more), {right} were confirmed; \
         of the answers left to a person {guesses_right} of {} guesses were right\n",
        guesses_right + guesses_wrong
    );
    let mut told = json!({"accepted": accepted, "wrong": wrong, "right": right,
        "guesses_wrong": guesses_wrong, "guesses_right": guesses_right});
    let risk = card.promise.as_ref().and_then(|promise| promise.risk);
    let p = risk.map(|risk| p_of_kept(risk, accepted, wrong));
    let holds = p.is_none_or(|p| p >= LEVEL);
    if let (Some(risk), Some(p)) = (risk, p) {
        told["p_value"] = p.into();
        text += &if holds {
            format!(
                "  they do not break the promise of {risk} (p = {p:.3}); people chose which answers to look at, so that they do not \
                 show that it is kept either: that takes rows drawn at random\n"
            )
        } else {
            format!("  the promise of {risk} is broken even if all other answers are right (p = {p:.3})\n")
        };
    }
    told["holds"] = holds.into();
    Some(Checked { told, text, holds })
}

/// How answers have changed since the fit was made.
#[must_use]
pub fn changed(card: &FieldCard, name: &str, probabilities: &[Vec<f64>], lengths: &[usize]) -> Checked {
    let mut text = format!("{name}: {} rows\n", probabilities.len());
    let mut holds = true;
    let reference = card.reference.as_ref();
    let changes = reference.map_or_else(Vec::new, |reference| reference.changes(probabilities, lengths));
    for change in &changes {
        let says = if change.counts() { "changed" } else { "as before" };
        text += &format!(
            "  {}: {says} (stability index {:.3}, p = {:.3})\n",
            change.aspect, change.stability_index, change.p_value
        );
        holds &= !change.counts();
    }
    let changes = serde_json::to_value(&changes).unwrap_or_default();
    let told = json!({"name": card.name, "rows": probabilities.len(), "changes": changes, "holds": holds});
    Checked { told, text, holds }
}

/// What a row is answered with, and what becomes of it.
type Answered = (Vec<f64>, Decision);

/// Rows as they are answered: by the part of the layers where it is sure of them, else by all; `early` are the rows as that part sees them.
fn answered(fit: &Fit, field: &FieldRows, early: Option<&FieldRows>) -> Option<Vec<Answered>> {
    let (name, options) = (field.name.as_deref(), &field.options);
    let own = fit.field(name, options)?;
    let by = |own: &FieldFit, row: &FieldRow| {
        let p = own.probabilities(&row.evidence());
        let decision = own.decision(&p);
        (p, decision)
    };
    let part = fit.early.as_ref().and_then(|early| early.field(name, options)).zip(early);
    let row = |(nth, row): (usize, &FieldRow)| {
        let early = part.map(|(own, rows)| by(own, &rows.rows[nth]));
        early.filter(|(_, decision)| decision.abstention.is_none()).unwrap_or_else(|| by(own, row))
    };
    Some(field.rows.iter().enumerate().map(row).collect())
}

fn checked(fit: &Fit, field: &FieldRows, early: Option<&FieldRows>) -> Option<Checked> {
    let answered = answered(fit, field, early)?;
    let card = fit.card.fields.iter().find(|card| card.name == field.name)?;
    let given = fit.card.depth.iter().flat_map(|card| &card.fields).find(|card| card.name == field.name);
    let after = given.map(|card| card.given).or(card.after);
    let (probabilities, decisions): (Vec<Vec<f64>>, Vec<Decision>) = answered.into_iter().unzip();
    let lengths: Vec<usize> = field.rows.iter().map(|row| row.text.chars().count()).collect();
    let Checked { mut told, mut text, mut holds } = changed(card, field.shown(), &probabilities, &lengths);
    // Labels say more than spreads: where there are some, these are told but decide nothing.
    if let Some(labelled) = labelled(card, after, field, &decisions) {
        holds = labelled.holds;
        text += &labelled.text;
        told["labelled"] = labelled.told;
    }
    told["holds"] = holds.into();
    Some(Checked { told, text, holds })
}

/// What labelled rows say of the accepted answers.
fn labelled(card: &FieldCard, after: Option<Figures>, field: &FieldRows, decisions: &[Decision]) -> Option<Checked> {
    let (mut n, mut right, mut accepted, mut errors) = (0_u64, 0_u64, 0_u64, 0_u64);
    for (row, decision) in field.rows.iter().zip(decisions) {
        let Some(truth) = row.truth else { continue };
        n += 1;
        right += u64::from(decision.best == truth);
        if decision.abstention.is_none() {
            accepted += 1;
            errors += u64::from(decision.best != truth);
        }
    }
    if n == 0 {
        return None;
    }
    let accuracy = right as f64 / n as f64;
    let before = after.map(|after| after.accuracy);
    let mut text = format!("  accuracy {accuracy:.3} on {n} labelled rows");
    text += &before.map_or("\n".to_owned(), |before| format!(", {before:.3} when it was learned\n"));
    let mut told = json!({"rows": n, "accuracy": accuracy, "accepted": accepted, "errors": errors});
    let mut holds = true;
    let risk = card.promise.as_ref().and_then(|promise| promise.risk);
    if let Some(after) = after.filter(|_| risk.is_none()) {
        // The accuracy of then is known from a few hundred rows itself: its lowest likely value is what now is held against.
        let hits = (after.accuracy * after.rows as f64).round() as u64;
        let lowest = Proportion { hits, n: after.rows }.wilson(Confidence::USUAL).map_or(0.0, |interval| interval.low);
        let p = p_of_kept(1.0 - lowest, n, n - right);
        holds = p >= LEVEL;
        told["p_value"] = p.into();
        text += if holds { "" } else { "  that is fewer than could be chance\n" };
    }
    if let Some(risk) = risk {
        let p = p_of_kept(risk, accepted, errors);
        holds = p >= LEVEL;
        told["p_value"] = p.into();
        let says = if holds { "may well be kept" } else { "is broken" };
        text += &format!(
            "  the promise of {risk} {says}: {errors} of {accepted} accepted answers are wrong (p = {p:.3})\n"
        );
    }
    Some(Checked { told, text, holds })
}

fn tell(args: &FitArgs, n_rows: usize, checked: &[Checked]) -> Result<(), Failure> {
    let holds = checked.iter().all(|one| one.holds);
    let mut output = Output::default();
    if args.asking.json {
        let fields: Vec<&Value> = checked.iter().map(|one| &one.told).collect();
        let value = json!({"model": args.model, "rows": n_rows, "holds": holds, "fields": fields});
        return output.json(&value).map(drop);
    }
    let text: String = checked.iter().map(|one| one.text.as_str()).collect();
    output.text(&text).map(drop)
}

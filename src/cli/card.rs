//! The card of a model's fit as people read it: what it was learned from, what it gained, from which probability answers are
//! accepted, what was promised.

use serde_json::Value;
use slm_fit::card::PromiseCard;
use slm_fit::{Depth, EarlyCard, FieldCard, FieldFit, Figures};

use crate::decide::ModelFit;

/// The whole card.
#[must_use]
pub fn page(fit: &ModelFit) -> String {
    let card = &fit.fit().card;
    let mut lines = vec![format!("{}, made on {} with slm {}", fit.id(), card.date, card.tool)];
    for own in &fit.fit().fields {
        if let Some(card) = card.fields.iter().find(|card| card.name == own.name) {
            lines.extend(field(card, own));
        }
    }
    if let Some(depth) = &card.depth {
        lines.extend(depth.fields.iter().map(|card| early(card, depth.depth)));
    }
    lines.join("\n")
}

/// One line of it, for a page of other things.
#[must_use]
pub fn summary(fit: &ModelFit) -> String {
    let fields = fit.fit().fields.iter().map(|field| named(field.name.as_deref(), &field.method.name().to_string()));
    let depth = fit.fit().early.as_ref().map(|early| format!("; answers after {}", early.depth)).unwrap_or_default();
    format!("{} ({}{depth})", fit.id(), fields.collect::<Vec<_>>().join(", "))
}

/// A label as bare text.
fn label(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn named(name: Option<&str>, what: &str) -> String {
    name.map_or_else(|| what.to_owned(), |name| format!("{name}: {what}"))
}

fn field(card: &FieldCard, own: &FieldFit) -> Vec<String> {
    let rows: u64 = card.rows_by_option.iter().sum();
    let by_option = own.options.iter().zip(&card.rows_by_option).map(|(option, n)| format!("{} {n}", label(option)));
    let by_option: Vec<String> = by_option.collect();
    let learned = match rows {
        0 => "no labels".to_owned(),
        rows => format!("{rows} rows ({})", by_option.join(", ")),
    };
    let mut lines = vec![named(card.name.as_deref(), &format!("{}, learned from {learned}", card.method))];
    if let (Some(before), Some(after)) = (&card.before, &card.after) {
        lines.push(format!("  {}", gain(before, after)));
    }
    lines.extend(accepted(card, own).map(|line| format!("  {line}")));
    lines.extend(card.promise.iter().map(|promise| format!("  {}", self::promise(promise))));
    lines.extend(card.notes.iter().map(|note| format!("  {note}")));
    lines
}

/// What a part of the layers answers.
fn early(card: &EarlyCard, depth: Depth) -> String {
    let EarlyCard { name, method, figures, thresholds, answered, .. } = card;
    let which = match (thresholds.is_empty(), answered) {
        (true, _) => "answers every row".to_owned(),
        (false, Some(answered)) => {
            format!("answers what it is sure of ({answered} of the rows that certify), all layers the rest")
        }
        (false, None) => "answers what it is sure of, all layers the rest".to_owned(),
    };
    let text = format!(
        "{method} after {depth} {which}; alone accuracy {:.3}, negative log-likelihood {:.3}, calibration error {:.3} (on {} held-out \
         rows)",
        figures.accuracy, figures.nll, figures.ece, figures.rows
    );
    named(name.as_deref(), &text)
}

fn gain(before: &Figures, after: &Figures) -> String {
    let change = |name: &str, of: fn(&Figures) -> f64| format!("{name} {:.3} -> {:.3}", of(before), of(after));
    let figures = [
        change("accuracy", |figures| figures.accuracy),
        change("negative log-likelihood", |figures| figures.nll),
        change("calibration error", |figures| figures.ece),
    ];
    format!("{} (on {} held-out rows)", figures.join(", "), after.rows)
}

/// From which probability answers are accepted; `None` where all of them are.
fn accepted(card: &FieldCard, own: &FieldFit) -> Option<String> {
    if own.gate.is_open() {
        return None;
    }
    let is_left = |option: &Value| card.person.contains(option);
    let threshold = |(option, threshold): (&Value, &f64)| match *threshold {
        never if never > 1.0 => format!("{} never", label(option)),
        threshold => format!("{} from {threshold:.3}", label(option)),
    };
    let thresholds = own.options.iter().zip(&own.gate.thresholds).filter(|(option, _)| !is_left(option));
    let left = card.person.iter().map(|option| format!("{} always goes to a person", label(option)));
    let parts: Vec<String> = thresholds.map(threshold).chain(left).collect();
    Some(format!("accepted: {}", parts.join(", ")))
}

fn promise(promise: &PromiseCard) -> String {
    let PromiseCard { risk, confidence, rows, accepted, errors, risk_at_most, .. } = promise;
    let found =
        format!("{accepted} of {rows} rows accepted, {errors} of them wrong, so the risk is at most {risk_at_most:.4}");
    match risk {
        Some(risk) => format!(
            "promised: at most {:.2} % of accepted answers are wrong, with a confidence of {:.0} % ({found})",
            risk * 100.0,
            confidence * 100.0
        ),
        None => format!("with a confidence of {:.0} %: {found}", confidence * 100.0),
    }
}

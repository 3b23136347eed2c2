//! What `slm fit` shows of what it tried, chose and promises: for people, or as JSON.

use serde_json::{Value, json};
use slm_fit::Depth;
use slm_fit::card::{FieldCard, Tried};
use slm_fit::learn::Compared;

use super::args::FitArgs;
use super::learned::{EarlyResult, FieldResult, TriedDepth};
use super::rows::Gathered;
use crate::eval::label::show;
use crate::failure::Failure;
use crate::ui::output::Output;
use crate::ui::table::table;

/// How many rows there are, and what is known of them.
#[derive(Debug, Clone, Copy)]
pub struct Counts {
    pub rows: usize,
    pub failed: usize,
    pub has_states: bool,
}

impl From<&Gathered> for Counts {
    fn from(gathered: &Gathered) -> Counts {
        Counts { rows: gathered.n_rows, failed: gathered.n_failed, has_states: gathered.has_states }
    }
}

/// Shows the results of all fields.
///
/// # Errors
/// Standard output cannot be written.
pub fn tell(args: &FitArgs, counts: &Counts, depth: Option<Depth>, results: &[FieldResult]) -> Result<(), Failure> {
    let mut output = Output::default();
    if args.asking.json {
        let fields: Vec<Value> = results.iter().map(as_json).collect();
        let mut value = json!({
            "model": args.model,
            "rows": counts.rows,
            "failed": counts.failed,
            "states": counts.has_states,
            "fields": fields,
        });
        if let Some(depth) = depth {
            value["depth"] = json!(depth);
        }
        return output.json(&value).map(drop);
    }
    let mut text = String::new();
    for result in results.iter().filter(|result| result.learned.is_some()) {
        text += &page(result);
        if let (Some(early), Some(depth)) = (&result.early, depth) {
            text += &early_page(result, early, depth);
        }
        text.push('\n');
    }
    if let Some(name) = bottleneck(results) {
        text +=
            &format!("The fewest answers are accepted for `{name}`: more rows or a better prompt help there first.\n");
    }
    output.text(&text).map(drop)
}

fn as_json(result: &FieldResult) -> Value {
    let mut value = serde_json::to_value(&result.card).unwrap_or_default();
    if let Some(learned) = &result.learned {
        value["words_alone"] = serde_json::to_value(learned.words_alone).unwrap_or_default();
    }
    value["frontier"] = serde_json::to_value(&result.frontier).unwrap_or_default();
    value["learn_ms"] = result.learn_ms.into();
    value["row_ms"] = result.row_ms.into();
    if let Some(early) = &result.early {
        let one = |tried: &TriedDepth| {
            let Compared { figures, p_as_right, p_as_likely } = tried.compared;
            json!({"depth": tried.depth, "method": tried.method, "figures": figures, "p_as_right": p_as_right, "p_as_likely": p_as_likely})
        };
        value["early"] = serde_json::to_value(&early.card).unwrap_or_default();
        value["early"]["tried"] = early.tried.iter().map(one).collect();
        value["early"]["row_ms"] = early.row_ms.into();
    }
    if let Some(broken) = &result.broken {
        value["refused"] = broken.to_string().into();
    }
    // A page of histograms says nothing to a reader of results.
    if let Some(object) = value.as_object_mut() {
        object.remove("reference");
    }
    value
}

fn page(result: &FieldResult) -> String {
    let FieldCard { name, method, notes, promise, .. } = &result.card;
    let n_rows: u64 = result.card.rows_by_option.iter().sum();
    let mut text = format!(
        "{}: {n_rows} rows teach, {} labels; figures are of rows that a method had not seen\n",
        name.as_deref().unwrap_or("answer"),
        result.fit.options.len()
    );
    let rows: Vec<Vec<String>> = result.card.tried.iter().map(|tried| line(tried, tried.method == *method)).collect();
    text += &table(&["", "method", "accuracy", "", "nll", "ece", "p"], &rows);
    if let Some(words) = result.learned.as_ref().and_then(|learned| learned.words_alone) {
        text += &format!("   a bag of words alone: accuracy {:.3}, nll {:.3}\n", words.accuracy, words.nll);
    }
    for note in notes {
        text += &format!("{note}\n");
    }
    text += &format!("learned in {:.1} s; {:.3} ms a row\n", result.learn_ms / 1e3, result.row_ms);
    if let Some(broken) = &result.broken {
        text += &format!("{broken}\n");
    }
    if let Some(promise) = promise {
        let coverage = promise.accepted as f64 / promise.rows.max(1) as f64;
        let promised =
            promise.risk.map_or(String::new(), |risk| format!("promised: at most {risk} of accepted answers wrong; "));
        text += &format!(
            "{promised}on {} rows that had no part in it {} were accepted ({coverage:.2}), {} of them wrong; risk at most {:.4} at a \
             confidence of {}\n",
            promise.rows, promise.accepted, promise.errors, promise.risk_at_most, promise.confidence
        );
        if promise.risk.is_some() {
            text += &format!("no method with these answers could accept more than {:.2}\n", promise.coverage_bound);
        }
        text += &thresholds(result);
    }
    if !result.frontier.is_empty() {
        let point = |point: &slm_fit::promise::FrontierPoint| {
            vec![format!("{:.2}", point.coverage), format!("{:.4}", point.risk), format!("{:.4}", point.risk_at_most)]
        };
        text += &table(&["coverage", "risk", "at most"], &result.frontier.iter().map(point).collect::<Vec<_>>());
    }
    text
}

/// The parts of the layers that were tried, against all of them.
fn early_page(result: &FieldResult, early: &EarlyResult, depth: Depth) -> String {
    let figures = |figures: &slm_fit::Figures| [figures.accuracy, figures.nll, figures.ece].map(|x| format!("{x:.3}"));
    let mut rows: Vec<Vec<String>> = Vec::new();
    for tried in &early.tried {
        let sign = if tried.depth == depth { "*" } else { "" };
        let mut row = vec![sign.to_owned(), tried.depth.to_string(), tried.method.to_string()];
        row.extend(figures(&tried.compared.figures));
        row.extend([tried.compared.p_as_right, tried.compared.p_as_likely].map(|p| format!("{p:.3}")));
        rows.push(row);
    }
    if let Some(after) = &result.card.after {
        let mut row = vec![String::new(), format!("all {} layers", depth.of), result.card.method.to_string()];
        row.extend(figures(after));
        rows.push(row);
    }
    let mut text = table(&["", "depth", "method", "accuracy", "nll", "ece", "p as right", "p as likely"], &rows);
    match (early.card.answered, &result.card.promise) {
        (Some(answered), Some(promise)) => {
            let share = answered as f64 / promise.rows.max(1) as f64;
            text += &format!(
                "{answered} of {} certifying rows ({share:.2}) are answered by {depth}; the others by all, and what is promised \
                 holds for both together\n",
                promise.rows
            );
        }
        _ if early.fit.gate.is_open() => text += &format!("every row is answered by {depth}; no label is read\n"),
        _ => text += &format!("rows are answered by {depth}, and by all where a label always goes to a person\n"),
    }
    text
}

fn line(tried: &Tried, is_chosen: bool) -> Vec<String> {
    let [low, high] = tried.accuracy_interval;
    vec![
        if is_chosen { "*" } else { "" }.to_owned(),
        tried.method.to_string(),
        format!("{:.3}", tried.figures.accuracy),
        format!("{low:.3}..{high:.3}"),
        format!("{:.3}", tried.figures.nll),
        format!("{:.3}", tried.figures.ece),
        tried.p_value.map_or(String::new(), |p| format!("{p:.3}")),
    ]
}

/// The lowest and the highest threshold; labels that are never accepted are counted.
fn thresholds(result: &FieldResult) -> String {
    let person = &result.fit.gate.person;
    let accepted = || {
        let all = result.fit.gate.thresholds.iter().enumerate();
        all.filter(|(at, threshold)| **threshold <= 1.0 && !person.contains(at))
    };
    let lowest = accepted().min_by(|one, other| one.1.total_cmp(other.1));
    let highest = accepted().max_by(|one, other| one.1.total_cmp(other.1));
    let (Some((low, from)), Some((high, to))) = (lowest, highest) else {
        return "no label is ever accepted\n".to_owned();
    };
    let label = |at: usize| show(&result.fit.options[at]);
    let mut text = format!("thresholds from {from:.3} (`{}`) to {to:.3} (`{}`)\n", label(low), label(high));
    if !person.is_empty() {
        let labels: Vec<String> = person.iter().map(|&at| format!("`{}`", label(at))).collect();
        text += &format!("always to a person: {}\n", labels.join(", "));
    }
    text
}

/// Of several fields with thresholds, the one of which the fewest answers are accepted.
fn bottleneck(results: &[FieldResult]) -> Option<String> {
    let gated: Vec<(f64, &FieldResult)> = results
        .iter()
        .filter_map(|result| {
            let promise = result.card.promise.as_ref()?;
            Some((promise.accepted as f64 / promise.rows.max(1) as f64, result))
        })
        .collect();
    if gated.len() < 2 {
        return None;
    }
    let least = gated.into_iter().min_by(|one, other| one.0.total_cmp(&other.0))?;
    least.1.card.name.clone()
}

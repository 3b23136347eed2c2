//! What differs, in sentences: between subjects, against the baseline file, against the gate.

use super::layout::{cut, line, wrap};
use crate::eval::baseline::Change;
use crate::eval::compare::{Comparison, F1Difference, NonInferiority, Within};
use crate::eval::label::{harmless, show};
use crate::eval::report::Report;

/// The most changed rows that are listed.
const LISTED: usize = 20;
const VALUE: usize = 32;

/// Writes what there is to say.
pub fn write(out: &mut String, report: &Report) {
    if !report.comparisons.is_empty() {
        line(out, "\nwhat differs (McNemar's exact test, corrected by Holm)".to_owned());
        for comparison in &report.comparisons {
            wrap(out, "  ", &sentence(comparison));
            if let Some(f1) = f1_sentence(comparison) {
                wrap(out, "    ", &f1);
            }
        }
    }
    if !report.non_inferiority.is_empty() {
        line(out, String::new());
        report.non_inferiority.iter().for_each(|one| wrap(out, "", &within(one)));
    }
    for change in &report.changes {
        changed(out, change);
    }
    if let Some(gate) = &report.gate {
        line(out, format!("\ngate: {}", if gate.passed { "passed" } else { "not passed" }));
        for check in &gate.checks {
            let mark = if check.passed { "ok" } else { "NOT MET" };
            wrap(out, "  ", &format!("{mark}  {}: {}", harmless(&check.subject), harmless(&check.message)));
        }
    }
}

/// A comparison in words.
#[must_use]
pub fn sentence(comparison: &Comparison) -> String {
    let Comparison { first, second, only_first, only_second, .. } = comparison;
    let (first, second) = (harmless(first), harmless(second));
    let (Some(difference), Some(low), Some(high)) = (comparison.difference, comparison.low, comparison.high) else {
        return format!("{second} and {first}: no rows to compare");
    };
    // The better one first.
    let (better, worse, difference, low, high) = if difference >= 0.0 {
        (&second, &first, difference, low, high)
    } else {
        (&first, &second, -difference, -high, -low)
    };
    let counts = format!("{} to {} rows of one alone", only_first.max(only_second), only_first.min(only_second));
    let p = p_value(comparison.p_corrected);
    if comparison.differs {
        return format!("{better} is better than {worse}: {difference:+.3} ({low:+.3} to {high:+.3}), {p}; {counts}");
    }
    let could = match comparison.smallest {
        Some(smallest) => format!("these rows would have shown {smallest:.3}"),
        None => "these rows could not have shown any".to_owned(),
    };
    format!(
        "no difference shown between {better} and {worse}: {difference:+.3} ({low:+.3} to {high:+.3}), {p}; {could}"
    )
}

/// How two models differ in macro-F1, in words; `None` where that was not compared.
fn f1_sentence(comparison: &Comparison) -> Option<String> {
    let field = |one: &F1Difference| {
        let F1Difference { difference, low, high, p, .. } = one;
        format!("{} {difference:+.3} ({low:+.3} to {high:+.3}), {}", harmless(&one.field), p_value(*p))
    };
    let fields: Vec<String> = comparison.macro_f1.iter().map(field).collect();
    let (first, second) = (harmless(&comparison.first), harmless(&comparison.second));
    (!fields.is_empty()).then(|| format!("macro-F1, {second} less {first} (paired bootstrap): {}", fields.join("; ")))
}

/// A p-value as people write it.
fn p_value(p: f64) -> String {
    if p < 0.001 { "p < 0.001".to_owned() } else { format!("p = {p:.3}") }
}

/// An answer to `--non-inferior` in words.
#[must_use]
pub fn within(one: &NonInferiority) -> String {
    let (subject, reference) = (harmless(&one.subject), harmless(&one.reference));
    let (low, high) = (one.low, one.high);
    // Rounded to a thousandth of a point, so that 0.07 is 7 and not 7.000000000000001.
    let points = (one.margin * 1e5).round() / 1e3;
    let question = format!("is {subject} at most {points} points worse than {reference}?");
    let interval = format!("90 % interval of the difference {low:+.3} to {high:+.3}");
    match one.answer {
        Within::Yes => format!("{question} yes ({interval})"),
        Within::No => format!("{question} no, it is worse by more ({interval})"),
        Within::TooFewRows => {
            let rows = match (one.rows_if_equal, one.rows_as_seen) {
                (Some(equal), Some(seen)) => {
                    format!("about {equal} rows would do if both are equally good, {seen} if the difference is as seen")
                }
                (Some(equal), None) => format!("about {equal} rows would do if both are equally good"),
                _ => "how many would do cannot be said".to_owned(),
            };
            format!("{question} not enough rows to say ({interval}); {rows}")
        }
    }
}

fn changed(out: &mut String, change: &Change) {
    line(out, String::new());
    let Change { rows, broken, fixed, .. } = change;
    let subject = harmless(&change.subject);
    let difference = match (change.difference, change.low, change.high) {
        (Some(difference), Some(low), Some(high)) => format!("{difference:+.3} ({low:+.3} to {high:+.3})"),
        _ => "no common rows".to_owned(),
    };
    let p = p_value(change.p_worse);
    wrap(
        out,
        "",
        &format!(
            "{subject} against the baseline: {difference} on {rows} rows, {broken} broke, {fixed} got right; worse: {p}"
        ),
    );
    if let Some(smallest) = change.smallest.filter(|_| !change.is_worse) {
        wrap(out, "  ", &format!("a drop of {smallest:.3} would have been found 4 times in 5"));
    }
    if change.new_rows + change.gone_rows > 0 {
        wrap(out, "  ", &format!("{} rows are new, {} are gone", change.new_rows, change.gone_rows));
    }
    for row in change.changed.iter().take(LISTED) {
        let values = |values: &Option<Vec<serde_json::Value>>| match values {
            Some(values) => values.iter().map(|value| cut(&show(value), VALUE)).collect::<Vec<_>>().join(", "),
            None => "no answer".to_owned(),
        };
        let what = if row.is_right_now { "got right" } else { "broke" };
        let (before, now) = (values(&row.before), values(&row.now));
        wrap(out, "  ", &format!("{what}  {} ({}): {before}, now {now}", harmless(&row.id), harmless(&row.at)));
    }
    if change.changed.len() > LISTED {
        line(out, format!("  and {} more", change.changed.len() - LISTED));
    }
}

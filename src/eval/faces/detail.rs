//! One model in full: each field's probabilities, labels and confusions, as text.

use super::layout::{WIDTH, bytes, column, cut, line, pad, three, wrap};
use super::values;
use crate::eval::figures::closed::{ClassFigures, ConfusionFigures};
use crate::eval::figures::probabilities::ProbabilityFigures;
use crate::eval::figures::{FieldFigures, SubjectFigures};
use crate::eval::label::{harmless, show};

/// The most columns that a label takes in a table.
const LABEL: usize = 32;
/// The most confusions of labels where there is no room for a matrix, and the most labels of open text.
const LISTED: usize = 20;
const MAX_CLASSES: usize = 255;

/// Writes a model's fields.
pub fn write(out: &mut String, subject: &SubjectFigures) {
    for field in &subject.fields {
        self::field(out, &subject.name, field);
    }
    if let Some(speed) = &subject.speed {
        let ms = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1} ms"));
        let mut parts = vec![format!(
            "latency p50 {}, p95 {}, p99 {}",
            ms(speed.latency_p50_ms),
            ms(speed.latency_p95_ms),
            ms(speed.latency_p99_ms)
        )];
        if speed.first_token_p50_ms.is_some() {
            let (p50, p95) = (ms(speed.first_token_p50_ms), ms(speed.first_token_p95_ms));
            parts.push(format!("first token p50 {p50}, p95 {p95}"));
        }
        if let Some(rate) = speed.rows_per_second {
            parts.push(format!("{rate:.1} rows/s"));
        }
        parts.push(format!(
            "{} tokens read, {} reused, {} written",
            speed.prompt_tokens, speed.reused_tokens, speed.written_tokens
        ));
        parts.extend(speed.peak_memory_bytes.map(|peak| format!("peak memory {}", bytes(peak))));
        line(out, String::new());
        wrap(out, "", &parts.join("  "));
    }
}

fn field(out: &mut String, subject: &str, field: &FieldFigures) {
    line(out, String::new());
    wrap(
        out,
        "",
        &format!(
            "{} of {}: {} of {} right",
            harmless(&field.name),
            harmless(subject),
            field.accuracy.hits,
            field.accuracy.rows
        ),
    );
    if let Some(labels) = &field.labels {
        let figures = [
            ("balanced accuracy", labels.balanced_accuracy.value),
            ("micro-F1", labels.micro_f1.value),
            ("weighted F1", labels.weighted_f1.value),
            ("Matthews", labels.matthews.value),
        ];
        let figures = figures.iter().map(|(name, value)| format!("{name} {}", three(*value).trim()));
        let tops = labels.top_k.iter().map(|top| format!("top {} {}", top.k, three(top.rate.value).trim()));
        wrap(out, "  ", &figures.chain(tops).collect::<Vec<_>>().join("  "));
    }
    if let Some(p) = &field.probabilities {
        probabilities(out, p);
    }
    if let Some(labels) = &field.labels {
        classes(out, "label", &labels.classes, labels.macro_f1.value);
        if let Some(confusion) = &labels.confusion {
            self::confusion(out, confusion);
        }
    }
    if let Some(lists) = &field.lists {
        values::lists(out, lists);
    }
    if let Some(limits) = &field.limits {
        values::limits(out, limits);
    }
    if let Some(tags) = &field.tags {
        classes(out, "tag", &tags.tags, tags.macro_f1.value);
    }
}

fn probabilities(out: &mut String, p: &ProbabilityFigures) {
    let three = |value: Option<f64>| three(value).trim().to_owned();
    let sure = three(p.mean_probability);
    // Remotes do not tell it.
    let mass = p.mean_label_mass.map_or_else(String::new, |mass| format!("  mean label mass {mass:.3}"));
    wrap(out, "  ", &format!("mean probability {sure}{mass}  over {} rows", p.rows));
    let at = p.accuracy_at_coverage.iter().filter(|at| at.coverage < 0.95);
    let at = at.map(|at| format!("{:.0} %: {}", at.coverage * 100.0, three(at.accuracy)));
    let aurc = three(p.aurc);
    wrap(
        out,
        "  ",
        &format!("right among the surest {}  area under risk-coverage {aurc}", at.collect::<Vec<_>>().join(", ")),
    );
    if p.not_a_candidate > 0 {
        let n = p.not_a_candidate;
        wrap(out, "  ", &format!("rows whose expected label is no possible answer: {n} (taken as probability 0)"));
    }
}

fn classes(out: &mut String, what: &str, classes: &[ClassFigures], macro_f1: Option<f64>) {
    if classes.is_empty() || classes.len() > MAX_CLASSES {
        return;
    }
    let labels: Vec<String> = classes.iter().map(|class| cut(&show(&class.label), LABEL)).collect();
    let width = column(labels.iter().map(String::as_str).chain(["macro-F1"]));
    line(out, format!("\n  {:width$}  precision  recall     F1    rows", what));
    for (label, class) in labels.iter().zip(classes) {
        let (precision, recall) = (class.precision.value.unwrap_or(0.0), class.recall.value.unwrap_or(0.0));
        let figures = format!("{precision:9.3}  {recall:6.3}  {:5.3}  {:6}", class.f1, class.support);
        line(out, format!("  {}  {figures}", pad(label, width)));
    }
    if let Some(macro_f1) = macro_f1 {
        line(out, format!("  {:width$}  {:>9}  {:>6}  {macro_f1:5.3}", "macro-F1", "", ""));
    }
}

/// The matrix with its columns numbered as its rows, so that long labels fit; without room, the most frequent confusions.
fn confusion(out: &mut String, c: &ConfusionFigures) {
    if c.labels.is_empty() {
        return;
    }
    let labels: Vec<String> =
        (1..).zip(&c.labels).map(|(n, label)| format!("{n:>2} {}", cut(&show(label), LABEL))).collect();
    let unreadable = "   (not read)";
    let width = column(labels.iter().map(String::as_str).chain([unreadable]));
    let largest = c.counts.iter().flatten().chain(&c.failed).copied().max().unwrap_or(0).max(c.unreadable);
    let cell = largest.to_string().len().max(2);
    let last = cell.max("failed".len());
    if 2 + width + (cell + 1) * c.labels.len() + 2 + last > WIDTH {
        return confusions(out, c);
    }
    let heads: String = (1..=c.labels.len()).map(|n| format!(" {n:>cell$}")).collect();
    line(out, format!("\n  {:width$}{heads}  {:>last$}", "expected \\ answered", "failed"));
    for (nth, label) in labels.iter().enumerate() {
        let cells: String = c.counts[nth].iter().map(|n| format!(" {:>cell$}", dot(*n))).collect();
        line(out, format!("  {}{cells}  {:>last$}", pad(label, width), dot(c.failed[nth])));
    }
    if c.unreadable > 0 {
        let cells: String = c.labels.iter().map(|_| format!(" {:>cell$}", dot(0))).collect();
        line(out, format!("  {unreadable:width$}{cells}  {:>last$}", c.unreadable));
    }
}

fn confusions(out: &mut String, c: &ConfusionFigures) {
    let label = |nth: usize| cut(&show(&c.labels[nth]), LABEL);
    let cells = c.counts.iter().enumerate().flat_map(|(t, row)| row.iter().enumerate().map(move |(a, n)| (*n, t, a)));
    let mut wrong: Vec<(u64, usize, usize)> = cells.filter(|&(n, t, a)| n > 0 && t != a).collect();
    wrong.sort_by_key(|&(n, t, a)| (std::cmp::Reverse(n), t, a));
    if wrong.is_empty() {
        return;
    }
    line(out, "\n   rows  expected, answered".to_owned());
    for &(n, truth, answer) in wrong.iter().take(LISTED) {
        line(out, format!("  {n:>5}  {}, {}", label(truth), label(answer)));
    }
    if wrong.len() > LISTED {
        line(out, format!("         and {} more pairs", wrong.len() - LISTED));
    }
}

fn dot(n: u64) -> String {
    if n == 0 { ".".to_owned() } else { n.to_string() }
}

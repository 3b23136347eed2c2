//! A report as one HTML page that needs no network: what `--output` writes. It is whole without its script, which only filters rows.

mod plots;
mod rows;
mod values;

use std::fmt::Write as _;

use super::differences::{sentence, within};
use super::layout::{bytes, cost, interval, three};
use crate::eval::figures::closed::{ClassFigures, ConfusionFigures};
use crate::eval::figures::rate::Figure;
use crate::eval::figures::{FieldFigures, SubjectFigures, SubjectKind};
use crate::eval::label::{harmless, show};
use crate::eval::report::Report;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");
/// A larger matrix is a list of its largest cells.
const MAX_MATRIX: usize = 30;
const LISTED: usize = 40;

impl Report {
    /// The page; the report must have its rows.
    #[must_use]
    pub fn to_html(&self) -> String {
        let title = escaped(&format!("{} on {}", self.suite, self.data));
        let mut out = format!(
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\
             <title>{title}</title><style>{STYLE}</style></head><body><main><h1>{title}</h1>"
        );
        head(&mut out, self);
        summary(&mut out, self);
        differences(&mut out, self);
        for model in self.models() {
            self::model(&mut out, self, model);
        }
        out.push_str(&rows::table(self));
        let _ = writeln!(out, "</main><script>{SCRIPT}</script></body></html>");
        out
    }
}

/// Text that HTML leaves as it is.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() => out.push_str(&harmless(&c.to_string())),
            c => out.push(c),
        }
    }
    out
}

fn head(out: &mut String, report: &Report) {
    let counts = report.counts;
    let mut rows = format!("{} rows", counts.rows);
    if counts.rows < counts.total {
        rows = format!("Interrupted after {} of {} rows", counts.rows, counts.total);
    }
    if counts.unreadable > 0 {
        let _ = write!(rows, ", {} of them cannot be read and count as wrong", counts.unreadable);
    }
    let _ = write!(
        out,
        "<p class=\"dim\">{}. Intervals are 95 %: Wilson's for rates, bootstrap for F1.</p>",
        escaped(&rows)
    );
    if let Some(gate) = &report.gate {
        let (class, word) = if gate.passed { ("good", "passed") } else { ("bad", "not passed") };
        let _ = write!(out, "<h2>Gate: <span class=\"{class}\">{word}</span></h2><ul>");
        for check in &gate.checks {
            let (class, mark) = if check.passed { ("good", "met") } else { ("bad", "not met") };
            let (subject, message) = (escaped(&check.subject), escaped(&check.message));
            let _ = write!(out, "<li><span class=\"{class}\">{mark}</span> {subject}: {message}</li>");
        }
        out.push_str("</ul>");
    }
}

fn summary(out: &mut String, report: &Report) {
    let fields: Vec<&str> = report
        .subjects
        .first()
        .map_or_else(Vec::new, |subject| subject.fields.iter().map(|field| field.name.as_str()).collect());
    out.push_str("<h2>Summary</h2>");
    let rates: Vec<_> = report.subjects.iter().map(|subject| (subject.name.as_str(), subject.accuracy)).collect();
    out.push_str(&plots::intervals(&rates));
    out.push_str(
        "<div class=\"scroll\"><table><caption>Rows with every field right, and each field</caption><thead><tr>\
         <th scope=\"col\">subject</th><th scope=\"col\">rows right</th>",
    );
    for field in &fields {
        let field = escaped(field);
        let _ = write!(out, "<th scope=\"col\">{field} right</th><th scope=\"col\">{field} F1</th>");
    }
    out.push_str("<th scope=\"col\">failed</th><th scope=\"col\">p50 ms</th><th scope=\"col\">p95 ms</th><th scope=\"col\">rows/s</th>");
    let speeds = || report.subjects.iter().filter_map(|subject| subject.speed);
    let has_first = speeds().any(|speed| speed.first_token_p50_ms.is_some());
    let has_peak = speeds().any(|speed| speed.peak_memory_bytes.is_some());
    out.push_str(if has_first { "<th scope=\"col\">first token p50 ms</th>" } else { "" });
    out.push_str(if has_peak { "<th scope=\"col\">peak memory</th>" } else { "" });
    let has_costs = report.subjects.iter().any(|subject| subject.cost.is_some());
    out.push_str(if has_costs { "<th scope=\"col\">cost of 1,000 rows</th>" } else { "" });
    out.push_str("</tr></thead><tbody>");
    for subject in &report.subjects {
        let name = escaped(&subject.name);
        let name = if subject.kind == SubjectKind::Baseline { format!("{name} (baseline)") } else { name };
        let _ = write!(out, "<tr><th scope=\"row\">{name}</th><td>{}</td>", figure(subject.accuracy.figure()));
        for field in &subject.fields {
            let f1 = field.labels.as_ref().map(|labels| labels.macro_f1);
            let f1 = f1.or(field.tags.as_ref().map(|tags| tags.sample_f1)).map_or_else(String::new, figure);
            let _ = write!(out, "<td>{}</td><td>{f1}</td>", figure(field.accuracy.figure()));
        }
        let speed = subject.speed;
        let one = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.1}"));
        let _ = write!(
            out,
            "<td>{}</td><td>{}</td><td>{}</td><td>{}</td>",
            subject.failed.hits,
            one(speed.and_then(|speed| speed.latency_p50_ms)),
            one(speed.and_then(|speed| speed.latency_p95_ms)),
            one(speed.and_then(|speed| speed.rows_per_second))
        );
        if has_first {
            let _ = write!(out, "<td>{}</td>", one(speed.and_then(|speed| speed.first_token_p50_ms)));
        }
        if has_peak {
            let peak = speed.and_then(|speed| speed.peak_memory_bytes).map_or_else(String::new, bytes);
            let _ = write!(out, "<td>{peak}</td>");
        }
        let cost = if has_costs { format!("<td>{}</td>", cost(subject.cost.as_ref())) } else { String::new() };
        let _ = write!(out, "{cost}</tr>");
    }
    out.push_str("</tbody></table></div>");
}

/// A figure with its interval.
fn figure(figure: Figure) -> String {
    let value = three(figure.value);
    match figure.low {
        Some(_) => format!("{}<br><span class=\"dim\">{}</span>", value.trim(), interval(figure)),
        None => value.trim().to_owned(),
    }
}

fn differences(out: &mut String, report: &Report) {
    if report.comparisons.is_empty() && report.changes.is_empty() {
        return;
    }
    out.push_str(
        "<h2>What differs</h2><p class=\"dim\">McNemar's exact test on the same rows, corrected by Holm.</p><ul>",
    );
    for comparison in &report.comparisons {
        let _ = write!(out, "<li>{}</li>", escaped(&sentence(comparison)));
    }
    for one in &report.non_inferiority {
        let _ = write!(out, "<li>{}</li>", escaped(&within(one)));
    }
    out.push_str("</ul>");
    for change in &report.changes {
        let (subject, rows) = (escaped(&change.subject), change.rows);
        let _ = write!(
            out,
            "<h3>{subject} against the baseline</h3><p>{} of {rows} rows broke, {} got right, p = {:.4} for worse.</p>",
            change.broken, change.fixed, change.p_worse
        );
        if change.changed.is_empty() {
            continue;
        }
        out.push_str("<div class=\"scroll\"><table><thead><tr><th scope=\"col\">row</th><th></th><th scope=\"col\">expected</th><th scope=\"col\">before</th><th scope=\"col\">now</th></tr></thead><tbody>");
        for row in change.changed.iter().take(LISTED) {
            let values =
                |values: &[serde_json::Value]| escaped(&values.iter().map(show).collect::<Vec<_>>().join(", "));
            let of = |given: &Option<Vec<serde_json::Value>>| given.as_deref().map_or("no answer".to_owned(), values);
            let (class, what) = if row.is_right_now { ("good", "got right") } else { ("bad", "broke") };
            let _ = write!(
                out,
                "<tr><td class=\"text\">{} {}</td><td class=\"{class}\">{what}</td><td class=\"text\">{}</td><td class=\"text\">{}</td><td class=\"text\">{}</td></tr>",
                escaped(&row.at),
                escaped(&row.id),
                values(&row.expected),
                of(&row.before),
                of(&row.now)
            );
        }
        out.push_str("</tbody></table></div>");
    }
}

fn model(out: &mut String, report: &Report, subject: &SubjectFigures) {
    let _ = write!(out, "<h2>{}</h2>", escaped(&subject.name));
    for field in &subject.fields {
        self::field(out, field);
    }
    let answers = report.rows.iter().flatten().flat_map(|row| &row.answers);
    let own = answers.filter(|answer| answer.subject == subject.name && answer.error.is_none());
    let ms: Vec<f64> = own.filter_map(|answer| answer.latency_ms).collect();
    if !ms.is_empty() {
        let _ = write!(out, "<div class=\"plots\">{}</div>", plots::latencies(&ms));
    }
}

fn field(out: &mut String, field: &FieldFigures) {
    let accuracy = field.accuracy;
    let _ = write!(out, "<h3>{}: {} of {} right</h3>", escaped(&field.name), accuracy.hits, accuracy.rows);
    if let Some(p) = &field.probabilities {
        let _ = write!(
            out,
            "<p>Negative log-likelihood {}, Brier {}, mean probability {}, mean label mass {}.</p><div class=\"plots\">{}{}</div>",
            three(p.negative_log_likelihood.value).trim(),
            three(p.brier.value).trim(),
            three(p.mean_probability).trim(),
            three(p.mean_label_mass).trim(),
            plots::reliability(p),
            plots::risk_coverage(p)
        );
    }
    if let Some(extraction) = &field.extraction {
        values::extraction(out, extraction);
    }
    if let Some(lists) = &field.lists {
        values::lists(out, lists);
    }
    if let Some(limits) = &field.limits {
        values::limits(out, limits);
    }
    if let Some(labels) = &field.labels {
        classes(out, &labels.classes);
        if let Some(confusion) = &labels.confusion {
            self::confusion(out, confusion);
        }
    }
    if let Some(tags) = &field.tags {
        classes(out, &tags.tags);
    }
}

fn classes(out: &mut String, classes: &[ClassFigures]) {
    out.push_str(
        "<details open><summary>Labels</summary><div class=\"scroll\"><table><thead><tr><th scope=\"col\">label</th>\
         <th scope=\"col\">precision</th><th scope=\"col\">recall</th><th scope=\"col\">F1</th><th scope=\"col\">rows</th></tr></thead><tbody>",
    );
    for class in classes {
        let _ = write!(
            out,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{:.3}</td><td>{}</td></tr>",
            escaped(&show(&class.label)),
            three(class.precision.value).trim(),
            three(class.recall.value).trim(),
            class.f1,
            class.support
        );
    }
    out.push_str("</tbody></table></div></details>");
}

/// The matrix, its cells shaded by their share of the row; of a large one the most frequent confusions.
fn confusion(out: &mut String, c: &ConfusionFigures) {
    if c.labels.len() > MAX_MATRIX {
        return confusions(out, c);
    }
    out.push_str("<details open><summary>Confusion matrix</summary><div class=\"scroll\"><table class=\"matrix\"><caption>rows: expected; columns: answered</caption><thead><tr><th></th>");
    for label in &c.labels {
        let _ = write!(out, "<th scope=\"col\">{}</th>", escaped(&show(label)));
    }
    out.push_str("<th scope=\"col\">failed</th></tr></thead><tbody>");
    for (nth, label) in c.labels.iter().enumerate() {
        let sum = (c.counts[nth].iter().sum::<u64>() + c.failed[nth]).max(1) as f64;
        let _ = write!(out, "<tr><th scope=\"row\">{}</th>", escaped(&show(label)));
        for count in c.counts[nth].iter().chain([&c.failed[nth]]) {
            let share = *count as f64 / sum;
            let text = if *count == 0 { String::new() } else { count.to_string() };
            let _ = write!(out, "<td style=\"background:rgb(var(--cell) / {:.2})\">{text}</td>", share * 0.6);
        }
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table></div></details>");
}

fn confusions(out: &mut String, c: &ConfusionFigures) {
    let cells = c.counts.iter().enumerate().flat_map(|(t, row)| row.iter().enumerate().map(move |(a, n)| (*n, t, a)));
    let mut wrong: Vec<(u64, usize, usize)> = cells.filter(|&(n, t, a)| n > 0 && t != a).collect();
    wrong.sort_by_key(|&(n, t, a)| (std::cmp::Reverse(n), t, a));
    out.push_str("<details open><summary>Most frequent confusions</summary><table><thead><tr><th scope=\"col\">expected</th><th scope=\"col\" class=\"text\">answered</th><th scope=\"col\">rows</th></tr></thead><tbody>");
    for &(n, truth, answer) in wrong.iter().take(LISTED) {
        let (truth, answer) = (escaped(&show(&c.labels[truth])), escaped(&show(&c.labels[answer])));
        let _ = write!(out, "<tr><th scope=\"row\">{truth}</th><td class=\"text\">{answer}</td><td>{n}</td></tr>");
    }
    out.push_str("</tbody></table></details>");
}

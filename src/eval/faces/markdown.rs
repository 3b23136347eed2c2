//! A report as Markdown, for the description of a pull request: the table of subjects, what differs, the gate, changed rows.

use std::fmt::Write as _;

use super::differences::{sentence, within};
use super::layout::{bytes, cost, three};
use crate::eval::figures::rate::Figure;
use crate::eval::figures::{SubjectFigures, SubjectKind};
use crate::eval::label::{harmless, show};
use crate::eval::report::Report;

/// The most changed rows that are listed.
const LISTED: usize = 30;

impl Report {
    /// The report in GitHub's Markdown.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let mut out = format!("### {} on {}\n\n", escaped(&self.suite), escaped(&self.data));
        if let Some(gate) = &self.gate {
            let _ = writeln!(out, "**Gate {}.**\n", if gate.passed { "passed" } else { "not passed" });
            for check in gate.checks.iter().filter(|check| !check.passed) {
                let _ = writeln!(out, "- {}: {}", escaped(&check.subject), escaped(&check.message));
            }
            out.push('\n');
        }
        let _ = writeln!(out, "{} rows. Intervals are 95 %.\n", self.counts.rows);
        subjects(&mut out, self);
        for comparison in &self.comparisons {
            let _ = writeln!(out, "- {}", escaped(&sentence(comparison)));
        }
        for one in &self.non_inferiority {
            let _ = writeln!(out, "- {}", escaped(&within(one)));
        }
        changes(&mut out, self);
        out
    }
}

fn subjects(out: &mut String, report: &Report) {
    let fields: Vec<&str> = report
        .subjects
        .first()
        .map_or_else(Vec::new, |subject| subject.fields.iter().map(|field| field.name.as_str()).collect());
    out.push_str("| | rows right |");
    for field in &fields {
        let _ = write!(out, " {} right | {} F1 |", escaped(field), escaped(field));
    }
    let has_costs = report.subjects.iter().any(|subject| subject.cost.is_some());
    let has_peak = report.subjects.iter().any(|subject| peak(subject).is_some());
    out.push_str(" failed | p50 ms |");
    out.push_str(if has_peak { " peak memory |" } else { "" });
    out.push_str(if has_costs { " cost of 1,000 rows |\n" } else { "\n" });
    out.push_str("|---|---|");
    out.push_str(&"---|".repeat(2 * fields.len() + 2 + usize::from(has_peak) + usize::from(has_costs)));
    out.push('\n');
    for subject in &report.subjects {
        out.push_str(&row(subject));
        if has_peak {
            let _ = write!(out, " {} |", peak(subject).map_or_else(String::new, bytes));
        }
        let cost = if has_costs { format!(" {} |", cost(subject.cost.as_ref())) } else { String::new() };
        let _ = writeln!(out, "{cost}");
    }
    out.push('\n');
}

fn row(subject: &SubjectFigures) -> String {
    let name = escaped(&subject.name);
    let name = if subject.kind == SubjectKind::Baseline { format!("*{name}*") } else { name };
    let mut row = format!("| {name} | {} |", with_interval(subject.accuracy.figure()));
    for field in &subject.fields {
        let f1 = field.labels.as_ref().map(|labels| labels.macro_f1).or(field.tags.as_ref().map(|tags| tags.sample_f1));
        let f1 = f1.map_or_else(String::new, with_interval);
        let _ = write!(row, " {} | {f1} |", with_interval(field.accuracy.figure()));
    }
    let p50 = subject.speed.and_then(|speed| speed.latency_p50_ms).map_or_else(String::new, |ms| format!("{ms:.1}"));
    let _ = write!(row, " {} | {p50} |", subject.failed.hits);
    row
}

fn peak(subject: &SubjectFigures) -> Option<u64> {
    subject.speed?.peak_memory_bytes
}

fn with_interval(figure: Figure) -> String {
    match (figure.low, figure.high) {
        (Some(low), Some(high)) => format!("{} ({low:.3}–{high:.3})", three(figure.value).trim()),
        _ => three(figure.value).trim().to_owned(),
    }
}

fn changes(out: &mut String, report: &Report) {
    for change in report.changes.iter().filter(|change| !change.changed.is_empty()) {
        let Some(gate) = &report.gate else { continue };
        let check = gate.checks.iter().find(|check| check.name == "baseline" && check.subject == change.subject);
        let message = check.map_or("", |check| check.message.as_str());
        let subject = escaped(&change.subject);
        let _ = writeln!(out, "\n<details><summary>{subject}: {}</summary>\n", escaped(message));
        out.push_str("| row | | expected | before | now |\n|---|---|---|---|---|\n");
        for row in change.changed.iter().take(LISTED) {
            let values = |values: &[serde_json::Value]| values.iter().map(show).collect::<Vec<_>>().join(", ");
            let of = |given: &Option<Vec<serde_json::Value>>| given.as_deref().map_or("no answer".to_owned(), values);
            let what = if row.is_right_now { "got right" } else { "broke" };
            let cells = [row.id.clone(), what.to_owned(), values(&row.expected), of(&row.before), of(&row.now)];
            let _ = writeln!(out, "| {} |", cells.map(|cell| escaped(&cell)).join(" | "));
        }
        if change.changed.len() > LISTED {
            let _ = writeln!(out, "\n{} more rows changed.", change.changed.len() - LISTED);
        }
        out.push_str("\n</details>\n");
    }
}

/// Text that Markdown and HTML leave as it is, on one line.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in harmless(text).chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '|' | '*' | '_' | '`' | '[' | ']' | '\\' | '#' | '~' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

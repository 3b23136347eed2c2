//! A report as plain text of at most 80 columns: what a person needs to decide whether a model is good enough.

use std::fmt::Write as _;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::label::{harmless, show};
use super::report::{Accuracy, ConfusionReport, FieldReport, ProbabilityReport, Report};

const WIDTH: usize = 80;
/// The most columns that a label takes in a table.
const LABEL: usize = 32;
/// The most failed rows, and the most confusions of labels where there is no room for a matrix.
const LISTED: usize = 20;

impl Report {
    /// The report for a person: plain text of at most 80 columns, without colours or anything else that a terminal obeys.
    /// Where a label or a reason is long it is cut or wrapped; the first 20 failed rows are listed, then a count.
    #[must_use]
    pub fn to_text(&self) -> String {
        render(self)
    }
}

fn render(report: &Report) -> String {
    let mut out = String::new();
    let counts = report.counts;
    let head = format!("{} on {}", harmless(&report.model), harmless(&report.data));
    wrap(&mut out, "", &head);
    let mut rows = format!("{} rows, {} answered, {} failed", counts.rows, counts.answered, counts.failed);
    if counts.failed > 0 {
        rows.push_str(" (counted as wrong)");
    }
    if counts.rows < counts.total {
        rows = format!("interrupted after {} of {} rows; {rows}", counts.rows, counts.total);
    }
    wrap(&mut out, "", &rows);
    if let [_, _, ..] = report.fields.as_slice() {
        out.push('\n');
        wrap(&mut out, "", &format!("all fields right  {}", accuracy(&report.accuracy)));
    }
    for field in &report.fields {
        self::field(&mut out, field);
    }
    speed(&mut out, report);
    failures(&mut out, report);
    out
}

fn field(out: &mut String, field: &FieldReport) {
    out.push('\n');
    wrap(out, "", &format!("{}  {}", harmless(&field.name), accuracy(&field.accuracy)));
    if let Some(majority) = &field.majority {
        wrap(out, "  ", &format!("always `{}` would be {:.3}", cut(&show(&majority.label), LABEL), majority.accuracy));
    }
    if let Some(p) = &field.probabilities {
        probabilities(out, p);
    }
    if !field.classes.is_empty() {
        classes(out, field);
    }
    if let Some(confusion) = &field.confusion {
        self::confusion(out, confusion);
    }
}

fn accuracy(a: &Accuracy) -> String {
    match (a.accuracy, a.low, a.high) {
        (Some(value), Some(low), Some(high)) => {
            format!("accuracy {value:.3}  (95 % interval {low:.3} to {high:.3})  {} of {}", a.correct, a.rows)
        }
        _ => "accuracy of no rows".to_owned(),
    }
}

fn probabilities(out: &mut String, p: &ProbabilityReport) {
    let nll = p.negative_log_likelihood;
    wrap(out, "  ", &format!("negative log-likelihood {nll:.3}  Brier score {:.3} (0 to 2)", p.brier));
    let (ece, n_bins) = (p.expected_calibration_error, p.bins.len());
    let confidence = p.mean_confidence;
    wrap(out, "  ", &format!("expected calibration error {ece:.3} ({n_bins} bins)  mean confidence {confidence:.3}"));
    wrap(out, "  ", &format!("mean label mass {:.3}  over {} rows with probabilities", p.mean_label_mass, p.rows));
    if p.not_a_candidate > 0 {
        let n = p.not_a_candidate;
        wrap(out, "  ", &format!("rows whose expected label is no possible answer: {n} (taken as probability 0)"));
    }
}

fn classes(out: &mut String, field: &FieldReport) {
    let labels: Vec<String> = field.classes.iter().map(|c| cut(&show(&c.label), LABEL)).collect();
    let width = column(labels.iter().map(String::as_str).chain(["macro-F1"]));
    line(out, format!("\n  {:width$}  precision  recall     F1    rows", "label"));
    for (label, class) in labels.iter().zip(&field.classes) {
        let figures = format!("{:9.3}  {:6.3}  {:5.3}  {:6}", class.precision, class.recall, class.f1, class.support);
        line(out, format!("  {}  {figures}", pad(label, width)));
    }
    if let Some(macro_f1) = field.macro_f1 {
        line(out, format!("  {:width$}  {:>9}  {:>6}  {macro_f1:5.3}", "macro-F1", "", ""));
    }
}

/// The matrix with its columns numbered as its rows, so that long labels fit; without room, the most frequent confusions.
fn confusion(out: &mut String, c: &ConfusionReport) {
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

fn confusions(out: &mut String, c: &ConfusionReport) {
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

fn speed(out: &mut String, report: &Report) {
    let speed = report.speed;
    let mut parts = Vec::new();
    if let (Some(p50), Some(p95)) = (speed.latency_p50_ms, speed.latency_p95_ms) {
        parts.push(format!("latency p50 {p50:.1} ms, p95 {p95:.1} ms"));
    }
    if let Some(rate) = speed.rows_per_second {
        parts.push(format!("{rate:.1} rows/s"));
    }
    parts.push(format!("{:.1} s in all", speed.elapsed_s));
    out.push('\n');
    wrap(out, "", &parts.join("  "));
}

fn failures(out: &mut String, report: &Report) {
    if report.failures.is_empty() {
        return;
    }
    line(out, "\nfailed rows".to_owned());
    for failure in report.failures.iter().take(LISTED) {
        wrap(out, "  ", &format!("line {}  {}", failure.line, cut(&harmless(&failure.reason), 4 * WIDTH)));
    }
    if report.failures.len() > LISTED {
        line(out, format!("  and {} more", report.failures.len() - LISTED));
    }
}

fn dot(n: u64) -> String {
    if n == 0 { ".".to_owned() } else { n.to_string() }
}

/// The width of a column of these cells and of the heading of a table of labels.
fn column<'a>(cells: impl Iterator<Item = &'a str>) -> usize {
    cells.map(|c| c.width()).max().unwrap_or(0).max("expected \\ answered".len())
}

/// `text` and spaces up to `width` columns; a format's own width counts characters, and some take two columns.
fn pad(text: &str, width: usize) -> String {
    text.to_owned() + &" ".repeat(width.saturating_sub(text.width()))
}

/// `text` in at most `most` columns.
fn cut(text: &str, most: usize) -> String {
    if text.width() <= most {
        return text.to_owned();
    }
    let n_bytes = fitting(text, most - 1);
    format!("{}…", &text[..n_bytes])
}

/// The bytes of the longest beginning of `text` that fits `room` columns.
fn fitting(text: &str, room: usize) -> usize {
    let mut used = 0;
    let too_far = |&(_, c): &(usize, char)| {
        // The emoji selector widens the character before it; other sequences are never wider than their parts.
        used += if c == '\u{fe0f}' { 1 } else { c.width().unwrap_or(0) };
        used > room
    };
    text.char_indices().find(too_far).map_or(text.len(), |(at, _)| at)
}

fn line(out: &mut String, text: String) {
    let _ = writeln!(out, "{}", text.trim_end());
}

/// `text` in lines of at most [`WIDTH`] columns, broken between words where that is possible; later lines go two deeper.
fn wrap(out: &mut String, indent: &str, text: &str) {
    let deeper = format!("{indent}  ");
    let mut current = indent.to_owned();
    let mut is_empty = true;
    // Split after each space, so that the spaces between two figures are kept.
    for mut word in text.split_inclusive(' ') {
        while current.width() + word.trim_end_matches(' ').width() > WIDTH {
            if is_empty {
                // No character is wider than two columns, so that each line takes at least one.
                let (now, later) = word.split_at(fitting(word, WIDTH - current.width()));
                current.push_str(now);
                word = later;
            }
            line(out, std::mem::replace(&mut current, deeper.clone()));
            is_empty = true;
        }
        current.push_str(word);
        is_empty &= word.is_empty();
    }
    line(out, current);
}

#[cfg(test)]
mod tests {
    use super::{WIDTH, wrap};
    use crate::eval::report::{
        Accuracy, ClassReport, ConfusionReport, Counts, Failure, FieldReport, Majority, Report, Speed,
    };
    use proptest::prelude::*;
    use serde_json::json;
    use unicode_width::UnicodeWidthStr as _;

    fn report(labels: &[String], reasons: &[String], count: u64) -> Report {
        let accuracy = Accuracy { correct: count, rows: count, accuracy: Some(1.0), low: Some(0.5), high: Some(1.0) };
        let class = |label: &String| ClassReport {
            label: json!(label),
            precision: 1.0,
            recall: 1.0,
            f1: 1.0,
            support: count,
            answered: count,
        };
        let n = labels.len();
        let field = FieldReport {
            name: labels.concat(),
            accuracy,
            majority: labels.first().map(|label| Majority { label: json!(label), accuracy: 1.0 }),
            macro_f1: Some(1.0),
            classes: labels.iter().map(class).collect(),
            confusion: Some(ConfusionReport {
                labels: labels.iter().map(|label| json!(label)).collect(),
                counts: vec![vec![count; n]; n],
                failed: vec![count; n],
                unreadable: count,
            }),
            probabilities: None,
        };
        Report {
            model: reasons.concat(),
            data: "d.csv".to_owned(),
            evaluation_id: None,
            counts: Counts { total: count, rows: count, answered: count, failed: count, unreadable: count },
            accuracy,
            fields: vec![field],
            speed: Speed {
                latency_p50_ms: Some(1.0),
                latency_p95_ms: Some(1.0),
                rows_per_second: Some(1.0),
                elapsed_s: 1.0,
            },
            failures: reasons.iter().map(|reason| Failure { line: count, reason: reason.clone() }).collect(),
            rows: None,
        }
    }

    /// Text of characters that change each other's width.
    const WIDE: &str = "[a \u{263a}\u{fe0f}\u{fe0e}\u{200d}\u{1f469}\u{1f680}\u{8acb}\u{644}\u{627}\u{338}<]{0,200}";

    #[test]
    fn long_text_goes_on_two_columns_deeper() {
        let check = |text: &str, expect: &str| {
            let mut out = String::new();
            wrap(&mut out, "  ", text);
            assert_eq!(out, expect);
        };
        check("short  and  spaced", "  short  and  spaced\n");
        check(&"word ".repeat(20), &format!("  {}\n    {}\n", "word ".repeat(14) + "word", "word word word word word"));
        check(&"x".repeat(90), &format!("  {}\n    {}\n", "x".repeat(78), "x".repeat(12)));
        check(&format!("a {}", "x".repeat(80)), &format!("  a\n    {}\n    xxxx\n", "x".repeat(76)));
    }

    #[test]
    fn without_room_for_a_matrix_the_confusions_are_listed() {
        let labels: Vec<String> = (0..30).map(|i| format!("label {i}")).collect();
        let text = report(&labels, &[], 7).to_text();
        assert!(!text.contains("expected \\ answered"), "{text}");
        assert!(text.contains("\n   rows  expected, answered\n      7  label 0, label 1\n"), "{text}");
        assert!(text.contains("\n      7  label 0, label 20\n         and 850 more pairs\n"), "{text}");
    }

    #[test]
    fn the_first_20_failed_rows_are_listed_then_a_count() {
        let reasons = vec!["why".to_owned(); 23];
        let text = report(&["a".to_owned()], &reasons, 5).to_text();
        assert!(text.ends_with(&format!("\nfailed rows\n{}  and 3 more\n", "  line 5  why\n".repeat(20))), "{text}");
    }

    #[test]
    fn columns_hold_where_characters_take_two() {
        let labels = ["請求書".to_owned(), "a".to_owned()];
        let text = report(&labels, &[], 7).to_text();
        assert!(
            text.contains("\n   1 請求書            7  7       7\n   2 a                 7  7       7\n"),
            "{text}"
        );
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_a_terminal_or_holds_what_it_obeys(
            labels in prop::collection::vec(prop_oneof![any::<String>(), WIDE], 0..20),
            reasons in prop::collection::vec(prop_oneof![any::<String>(), WIDE], 0..4),
            count in 0_u64..10_000_000,
        ) {
            for line in report(&labels, &reasons, count).to_text().lines() {
                prop_assert!(line.width() <= WIDTH, "{}", line);
                prop_assert!(!line.chars().any(char::is_control), "{}", line);
            }
        }
    }
}

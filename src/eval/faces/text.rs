//! A report as plain text of at most 80 columns: what a person needs to decide which model is good enough.

use super::detail;
use super::differences;
use super::layout::{WIDTH, bytes, cost, cut, interval, line, pad, three, wrap};
use crate::eval::figures::rate::{Figure, Rate};
use crate::eval::figures::{Abstaining, FieldFigures, SubjectFigures, SubjectKind};
use crate::eval::label::harmless;
use crate::eval::report::Report;

/// The most columns that a subject's name takes.
const NAME: usize = 26;
/// The same where a column with costs stands beside it.
const NAME_WITH_COST: usize = 22;
/// The most failed rows that are listed.
const LISTED: usize = 20;

impl Report {
    /// The report for a person: plain text of at most 80 columns, without colours or anything else that a terminal obeys.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        head(&mut out, self);
        subjects(&mut out, self);
        for nth in 0..self.subjects.first().map_or(0, |subject| subject.fields.len()) {
            field(&mut out, self, nth);
        }
        differences::write(&mut out, self);
        let mut models = self.models();
        if let (Some(only), None) = (models.next(), models.next()) {
            detail::write(&mut out, only);
        } else {
            line(&mut out, String::new());
            wrap(&mut out, "", "--model NAME shows one model's labels and confusions; --json has those of all");
        }
        self.models().for_each(|subject| failures(&mut out, subject));
        out
    }
}

fn head(out: &mut String, report: &Report) {
    wrap(out, "", &format!("{} on {}", harmless(&report.suite), harmless(&report.data)));
    let counts = report.counts;
    let mut rows = format!("{} rows", counts.rows);
    if counts.rows < counts.total {
        rows = format!("interrupted after {} of {} rows", counts.rows, counts.total);
    }
    if counts.unreadable > 0 {
        rows += &format!(", {} of them cannot be read and count as wrong", counts.unreadable);
    }
    wrap(out, "", &rows);
}

fn name(subject: &SubjectFigures) -> String {
    let name = harmless(&subject.name);
    match subject.kind {
        SubjectKind::Model | SubjectKind::Remote => cut(&name, NAME),
        SubjectKind::Baseline => cut(&format!("{name} (baseline)"), NAME),
    }
}

fn width(report: &Report, heading: &str) -> usize {
    let names = report.subjects.iter().map(|subject| unicode_width::UnicodeWidthStr::width(name(subject).as_str()));
    names.max().unwrap_or(0).max(unicode_width::UnicodeWidthStr::width(heading))
}

fn subjects(out: &mut String, report: &Report) {
    let heading = match report.subjects.first() {
        Some(subject) if subject.fields.len() > 1 => "all fields right",
        _ => "rows right",
    };
    let has_costs = report.subjects.iter().any(|subject| subject.cost.is_some());
    let (most, title) = if has_costs { (NAME_WITH_COST, "  cost/1k") } else { (NAME, "") };
    let width = width(report, heading).min(most);
    line(out, format!("\n{}  right  95 % interval   failed    p50 ms  rows/s{title}", pad(heading, width)));
    for subject in &report.subjects {
        let speed = subject.speed.as_ref();
        let p50 = speed.and_then(|s| s.latency_p50_ms).map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1}"));
        let rate = speed.and_then(|s| s.rows_per_second).map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1}"));
        let (right, interval) = (three(subject.accuracy.value), interval(subject.accuracy.figure()));
        let failed = subject.failed.hits;
        let cost = if has_costs { format!("  {:>7}", cost(subject.cost.as_ref())) } else { String::new() };
        let name = pad(&cut(&name(subject), width), width);
        line(out, format!("{name}  {right}  {interval}  {failed:>6}  {p50:>8}  {rate:>6}{cost}"));
    }
    for subject in report.models() {
        if let Some(Abstaining { coverage, accuracy }) = &subject.abstaining {
            let (of, share, rows) = (harmless(&subject.name), three(coverage.value), coverage.hits);
            let right = match rows {
                0 => String::new(),
                _ => format!(", {} of them right ({})", three(accuracy.value), interval(accuracy.figure())),
            };
            let line =
                format!("{of}: answers {share} of the rows by itself ({rows}){right}; the rest is left to a person");
            wrap(out, "", &line);
        }
    }
    for subject in report.models() {
        if let Some(cost) = &subject.cost {
            let of = if cost.counted_rows < subject.accuracy.rows {
                format!(", of {} rows whose tokens were counted", cost.counted_rows)
            } else {
                String::new()
            };
            let name = harmless(&subject.name);
            let date = &cost.price_date;
            wrap(out, "", &format!("{name}: cost of 1,000 rows at the prices of {date}{of}"));
        }
    }
    // Of one model its details tell it.
    if report.models().count() > 1 {
        report.models().for_each(|subject| needs(out, subject));
    }
    for subject in report.models() {
        if let Some(speed) = subject.speed.as_ref().filter(|speed| speed.cached_rows > 0) {
            let name = harmless(&subject.name);
            wrap(out, "", &format!("{name}: {} answers are kept from before, with their latencies", speed.cached_rows));
        }
    }
}

/// What a model of several took beside time.
fn needs(out: &mut String, subject: &SubjectFigures) {
    let Some(speed) = &subject.speed else { return };
    let first = speed.first_token_p50_ms.map(|ms| format!("first token after {ms:.1} ms (p50)"));
    let peak = speed.peak_memory_bytes.map(|peak| format!("peak memory {}", bytes(peak)));
    let needs: Vec<String> = first.into_iter().chain(peak).collect();
    if !needs.is_empty() {
        wrap(out, "", &format!("{}: {}", harmless(&subject.name), needs.join(", ")));
    }
}

/// The table of one field.
fn field(out: &mut String, report: &Report, nth: usize) {
    let Some(first) = report.subjects.first().and_then(|subject| subject.fields.get(nth)) else { return };
    let columns = Columns::of(report, nth);
    let heading = cut(&harmless(&first.name), NAME);
    let width = width(report, &heading);
    let mut titles = format!("\n{}  right  {}", pad(&heading, width), columns.titles());
    titles.truncate(WIDTH + 1);
    line(out, titles);
    for subject in &report.subjects {
        let field = &subject.fields[nth];
        let right = three(field.accuracy.value);
        line(out, format!("{}  {right}  {}", pad(&name(subject), width), columns.cells(field)));
    }
}

/// What a field's table has.
enum Columns {
    Labels { has_flips: bool },
    Tags,
    Values { has_overlap: bool, has_items: bool, has_limits: bool },
}

impl Columns {
    fn of(report: &Report, nth: usize) -> Columns {
        let fields = || report.subjects.iter().map(|subject| &subject.fields[nth]);
        if fields().any(|field| field.tags.is_some()) {
            Columns::Tags
        } else if fields().any(|field| field.extraction.is_some() || field.limits.is_some()) {
            Columns::Values {
                has_overlap: fields().any(|field| field.extraction.as_ref().is_some_and(|e| e.rouge_l.is_some())),
                has_items: fields().any(|field| field.lists.is_some()),
                has_limits: fields().any(|field| field.limits.is_some()),
            }
        } else {
            Columns::Labels { has_flips: fields().any(|field| field.flip_rate.is_some()) }
        }
    }

    fn titles(&self) -> String {
        match self {
            Columns::Labels { has_flips } => {
                let flips = if *has_flips { "  flips" } else { "" };
                format!("macro-F1  95 % interval     NLL  Brier    ECE{flips}")
            }
            Columns::Tags => "micro-F1  macro-F1  row F1  95 % interval".to_owned(),
            Columns::Values { has_overlap, has_items, has_limits } => {
                let overlap = if *has_overlap { "  ROUGE-L" } else { "" };
                let items = if *has_items { "  item F1" } else { "" };
                let limits = if *has_limits { "  limits" } else { "" };
                format!(" wrong  missed  invented{overlap}{items}{limits}")
            }
        }
    }

    fn cells(&self, field: &FieldFigures) -> String {
        match self {
            Columns::Labels { has_flips } => {
                let f1 = field.labels.as_ref().map_or(Figure::bare(None), |labels| labels.macro_f1);
                let p = field.probabilities.as_ref();
                let nll = three(p.and_then(|p| p.negative_log_likelihood.value));
                let brier = three(p.and_then(|p| p.brier.value));
                let ece = three(p.and_then(|p| p.expected_calibration_error));
                let flips = if *has_flips {
                    format!("  {}", three(field.flip_rate.and_then(|rate| rate.value)))
                } else {
                    String::new()
                };
                format!("   {}  {}  {nll:>6}  {brier}  {ece}{flips}", three(f1.value), interval(f1))
            }
            Columns::Tags => {
                let of = |get: fn(&crate::eval::figures::extraction::TagFigures) -> Figure| {
                    field.tags.as_ref().map_or(Figure::bare(None), get)
                };
                let (micro, macro_f1, sample) = (of(|t| t.micro_f1), of(|t| t.macro_f1), of(|t| t.sample_f1));
                let values = [three(micro.value), three(macro_f1.value), three(sample.value)];
                format!("   {}     {}   {}  {}", values[0], values[1], values[2], interval(sample))
            }
            Columns::Values { has_overlap, has_items, has_limits } => {
                let rouge = field.extraction.as_ref().and_then(|e| e.rouge_l).and_then(|figure| figure.value);
                let overlap = if *has_overlap { format!("    {}", three(rouge)) } else { String::new() };
                let item_f1 = field.lists.as_ref().and_then(|lists| lists.item_f1.value);
                let items = if *has_items { format!("    {}", three(item_f1)) } else { String::new() };
                let kept = field.limits.and_then(|limits| limits.kept.value);
                let limits = if *has_limits { format!("   {}", three(kept)) } else { String::new() };
                let of = |get: fn(&crate::eval::figures::extraction::ExtractionFigures) -> Rate| {
                    three(field.extraction.as_ref().and_then(|e| get(e).value))
                };
                let values = format!(" {}   {}     {}", of(|e| e.wrong), of(|e| e.missed), of(|e| e.invented));
                format!("{values}{overlap}{items}{limits}")
            }
        }
    }
}

fn failures(out: &mut String, subject: &SubjectFigures) {
    if subject.failures.is_empty() {
        return;
    }
    let by = subject.failed_by.iter().map(|by| format!("{} {}", by.rows, by.why.describe()));
    let by = by.collect::<Vec<_>>().join(", ");
    line(out, String::new());
    wrap(out, "", &format!("failed rows of {}: {by}", harmless(&subject.name)));
    for failure in subject.failures.iter().take(LISTED) {
        wrap(out, "  ", &format!("{}  {}", harmless(&failure.at), cut(&harmless(&failure.reason), 4 * WIDTH)));
    }
    if subject.failures.len() > LISTED {
        line(out, format!("  and {} more", subject.failures.len() - LISTED));
    }
}

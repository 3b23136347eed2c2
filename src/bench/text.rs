//! A report as lines of figures, each with its unit and what it is held against. It formats and does not measure.

use super::compare::Change;
use super::report::{Report, Rows, Spread};

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub figure: String,
    pub value: String,
    pub unit: &'static str,
    /// The value of the machine's ceiling and the share of it that was reached.
    pub ceiling: String,
}

/// The figures of a report, in order.
#[must_use]
pub fn lines(report: &Report) -> Vec<Line> {
    let mut lines = Vec::new();
    for prefill in &report.prefill {
        let bound = report.prefill_bound();
        lines.push(line(
            format!("prefill of {} tokens", prefill.n_tokens),
            &prefill.tokens_per_second,
            "tokens/s",
            share(prefill.tokens_per_second.mean, bound),
        ));
    }
    for decode in &report.decode {
        let figure = match decode.n_sequences {
            1 => format!("decode of {} tokens", decode.n_steps),
            n => format!("decode of {} tokens, {n} at once", decode.n_steps),
        };
        let bound = report.decode_bound(decode);
        lines.push(line(figure, &decode.tokens_per_second, "tokens/s", share(decode.tokens_per_second.mean, bound)));
    }
    if let Some(rows) = &report.scored {
        lines.push(of_rows("scored rows", rows));
    }
    if let Some(rows) = &report.extracted {
        lines.push(of_rows("extracted records", rows));
    }
    lines
}

fn line(figure: String, spread: &Spread, unit: &'static str, ceiling: String) -> Line {
    Line { figure, value: format!("{} ± {}", number(spread.mean), number(spread.deviation)), unit, ceiling }
}

fn share(value: f64, bound: Option<f64>) -> String {
    bound.map_or(String::new(), |bound| format!("{:.0} % of {}", value / bound * 100.0, number(bound)))
}

fn of_rows(name: &str, rows: &Rows) -> Line {
    let Rows { n_parallel, prompt_tokens, reused_tokens, answer_tokens, .. } = rows;
    let figure = format!(
        "{name}, {n_parallel} in flight: {prompt_tokens:.0} tokens, {reused_tokens:.0} of them reused, {answer_tokens:.0} \
         for the answer"
    );
    line(figure, &rows.rows_per_second, "rows/s", String::new())
}

/// Three digits, or all before the point.
fn number(n: f64) -> String {
    match n.abs() {
        100.0.. => format!("{n:.0}"),
        10.0.. => format!("{n:.1}"),
        _ => format!("{n:.2}"),
    }
}

/// What the ceilings are, in sentences; nothing where none was measured.
#[must_use]
pub fn ceilings(report: &Report) -> String {
    let Some(ceiling) = &report.ceiling else { return String::new() };
    let mut text = String::new();
    if let (Some(speed), Some(over)) = (ceiling.read_bytes_per_second, ceiling.read_over_bytes) {
        text += &format!(
            "reading: {} GB/s, streamed over {:.0} MB by {} threads; a decoded token reads {:.0} MB of weights\n",
            number(speed / 1e9),
            over as f64 / 1e6,
            report.setting.n_threads,
            report.model.read_bytes as f64 / 1e6,
        );
    }
    if let (Some(flops), Some(of)) = (ceiling.product_flops, &ceiling.product_of) {
        text += &format!(
            "products: {} GFLOP/s, a matrix {of} with {} rows alone; a token takes {} GFLOP in the blocks, without \
             attention and output\n",
            number(flops / 1e9),
            report.setting.n_ubatch,
            number(report.token_flop() / 1e9),
        );
    }
    text
}

/// What memory was taken.
#[must_use]
pub fn memory(report: &Report) -> String {
    let size = |n: u64| format!("{:.0} MB", n as f64 / 1e6);
    let memory = &report.memory;
    let peak = memory.peak_resident_bytes.map_or(String::new(), |peak| format!("{} at most, with ", size(peak)));
    format!(
        "memory: {peak}{} of weights and, in a full context of {} tokens, {} of keys and values\n",
        size(report.model.weights_bytes),
        memory.n_ctx,
        size(memory.kv_bytes)
    )
}

/// What two reports say of the same figure, and their ratio.
#[must_use]
pub fn changes(changes: &[Change]) -> Vec<Vec<String>> {
    let cells = |change: &Change| {
        let Change { figure, before, now, unit } = change;
        vec![figure.clone(), number(*before), number(*now), (*unit).to_owned(), format!("{:.3}", now / before)]
    };
    changes.iter().map(cells).collect()
}

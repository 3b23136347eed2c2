//! What quantizing did, as a table for people.

use std::fmt::Write as _;

use crate::eval::drift::{Drift, DriftReport, Quantized};
use crate::ui::table::{counted, size, table};

/// A table with a line for each type, and what it comes to.
#[must_use]
pub fn page(report: &DriftReport) -> String {
    let header =
        ["TYPE", "BITS", "SIZE", "RIGHT", "DIFFERENCE", "P", "FLIPS", "KL MEAN", "KL WORST", "ROWS/S", "MEMORY"];
    let rows: Vec<Vec<String>> = std::iter::once(&report.original).chain(&report.quantized).map(row).collect();
    let mut text = format!("{} of {}\n\n{}\n", counted(report.rows as u64, "row"), report.data, table(&header, &rows));
    for sentence in std::iter::once(verdict(report)).chain(report.quantized.iter().filter_map(farthest)) {
        text += &sentence;
        text.push('\n');
    }
    text
}

/// Where the cliff is.
fn verdict(report: &DriftReport) -> String {
    let original = &report.original.name;
    let Some(cliff) = &report.cliff else {
        let widest = report.quantized.iter().filter_map(|one| one.drift.as_ref()?.low).min_by(f64::total_cmp);
        let least = widest.map(|low| format!("; the true difference may still be as low as {low:+.3}"));
        return format!(
            "no type is worse than `{original}` beyond chance on these {}{}",
            counted(report.rows as u64, "row"),
            least.unwrap_or_default()
        );
    };
    let of = |name: &str| report.quantized.iter().find(|one| one.name == name)?.drift.as_ref();
    let how = of(cliff).map(|drift| format!(" ({})", paired(drift))).unwrap_or_default();
    let before = report.smallest_not_worse.as_ref();
    let before = before.map(|name| format!("; `{name}` is the smallest before it that is not")).unwrap_or_default();
    format!("the cliff: `{cliff}` is the first type that is worse than `{original}` beyond chance{how}{before}")
}

/// The row at which a type is farthest from the original.
fn farthest(one: &Quantized) -> Option<String> {
    let row = one.drift.as_ref()?.worst_row.as_ref()?;
    Some(format!("`{}` is farthest from the original at {row}", one.name))
}

fn paired(drift: &Drift) -> String {
    let mut text = format!("difference {:+.3}", drift.difference.unwrap_or_default());
    if let (Some(low), Some(high)) = (drift.low, drift.high) {
        let _ = write!(text, ", {low:+.3} to {high:+.3}");
    }
    let _ = write!(text, ", corrected p {:.2}", Small(drift.p_corrected));
    text
}

fn row(one: &Quantized) -> Vec<String> {
    let three = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"));
    let drift = |of: &dyn Fn(&Drift) -> String| one.drift.as_ref().map(of).unwrap_or_default();
    vec![
        one.name.clone(),
        format!("{:.2}", one.size.bits_per_weight),
        size(one.size.n_bytes),
        three(one.accuracy.value),
        drift(&|drift| drift.difference.map(|difference| format!("{difference:+.3}")).unwrap_or_default()),
        drift(&|drift| format!("{:.3}{}", Small(drift.p_corrected), if drift.is_worse { " worse" } else { "" })),
        drift(&|drift| format!("{} ({:.1} %)", drift.flips.hits, 100.0 * drift.flips.value.unwrap_or_default())),
        drift(&|drift| drift.mean_divergence.map_or_else(|| "-".to_owned(), |mean| format!("{mean:.4}"))),
        drift(&|drift| drift.worst_divergence.map_or_else(|| "-".to_owned(), |worst| format!("{worst:.3}"))),
        one.rows_per_second.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.2}")),
        one.peak_memory_bytes.map_or_else(|| "-".to_owned(), size),
    ]
}

/// A p-value, which is never shown as zero.
struct Small(f64);

impl std::fmt::Display for Small {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let decimals = f.precision().unwrap_or(3);
        let least = 0.1_f64.powi(i32::try_from(decimals).unwrap_or(3));
        if self.0 < least { write!(f, "<{least:.decimals$}") } else { write!(f, "{:.decimals$}", self.0) }
    }
}

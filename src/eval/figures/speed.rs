//! How long rows took, and what they took.

use serde::{Deserialize, Serialize};

use crate::eval::record::Records;

/// Of a subject that asks a model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Speed {
    /// Of the answered rows, in milliseconds, interpolated linearly: from a row's turn to its answer.
    pub latency_p50_ms: Option<f64>,
    pub latency_p95_ms: Option<f64>,
    pub latency_p99_ms: Option<f64>,
    /// From a row's turn to the first token of its answer; null where answers are scored, or nobody tells when it came.
    pub first_token_p50_ms: Option<f64>,
    pub first_token_p95_ms: Option<f64>,
    /// The most memory that the process which computes had at once, in bytes; null where nothing was asked in this run, or it is
    /// not known.
    pub peak_memory_bytes: Option<u64>,
    /// Of the rows that were asked in this run; null where all were known from before.
    pub rows_per_second: Option<f64>,
    /// From the first question to the last answer.
    pub elapsed_s: f64,
    /// Rows whose answers were kept from an earlier run.
    pub cached_rows: u64,
    /// Tokens of all prompts, of these those that were taken over from earlier evaluations, and written ones.
    pub prompt_tokens: u64,
    pub reused_tokens: u64,
    pub written_tokens: u64,
}

/// The speed of a subject; `None` where it asks no model.
#[must_use]
pub fn speed(records: &Records, subject: usize) -> Option<Speed> {
    let known = &records.subjects[subject];
    let answers = || records.rows.iter().filter_map(|row| row.answers[subject].as_ref());
    let answered = || answers().filter(|answer| answer.fields.is_ok()).filter_map(|answer| answer.cost);
    if !known.is_model() {
        return None;
    }
    let latencies: Vec<f64> = answered().map(|cost| cost.latency_ms).collect();
    let first: Vec<f64> = answered().filter_map(|cost| cost.first_token_ms).collect();
    let n_asked = (answers().filter(|answer| answer.cost.is_some()).count() as u64).saturating_sub(known.n_cached);
    Some(Speed {
        latency_p50_ms: percentile(&latencies, 0.50),
        latency_p95_ms: percentile(&latencies, 0.95),
        latency_p99_ms: percentile(&latencies, 0.99),
        first_token_p50_ms: percentile(&first, 0.50),
        first_token_p95_ms: percentile(&first, 0.95),
        peak_memory_bytes: known.peak_memory_bytes.filter(|_| n_asked > 0),
        rows_per_second: (known.elapsed_s > 0.0 && n_asked > 0).then(|| n_asked as f64 / known.elapsed_s),
        elapsed_s: known.elapsed_s,
        cached_rows: known.n_cached,
        prompt_tokens: answered().map(|cost| cost.n_prompt).sum(),
        reused_tokens: answered().map(|cost| cost.n_reused).sum(),
        written_tokens: answered().map(|cost| cost.n_written).sum(),
    })
}

/// The value below which the part `q` (0..=1) of `values` lies, interpolated linearly between its neighbours (NumPy's
/// default method, type 7 of Hyndman and Fan 1996). `None` for no values.
#[must_use]
pub fn percentile(values: &[f64], q: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    let rank = q.clamp(0.0, 1.0) * last as f64;
    let below = rank.floor() as usize;
    let above = (below + 1).min(last);
    Some(sorted[below] + (sorted[above] - sorted[below]) * rank.fract())
}

#[cfg(test)]
mod tests {
    use super::percentile;

    /// Values of `numpy.percentile(values, [50, 95])`.
    #[test]
    fn percentiles_agree_with_numpy() {
        let cases: [(&[f64], f64, f64); 4] = [
            (&[7.5], 7.5, 7.5),
            (&[1.0, 2.0], 1.5, 1.95),
            (&[3.0, 1.0, 2.0], 2.0, 2.9),
            (&[0.5, 10.0, 3.25, 7.0, 2.0, 2.0, 9.5], 3.25, 9.85),
        ];
        for (values, p50, p95) in cases {
            for (q, expected) in [(0.5, p50), (0.95, p95)] {
                let found = percentile(values, q).expect("there are values");
                assert!((found - expected).abs() < 1e-12, "{values:?} {found}");
            }
        }
        assert_eq!(percentile(&[], 0.5), None);
    }
}

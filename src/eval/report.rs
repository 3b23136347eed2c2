//! A report: the figures of a run under stable names, as `--json` writes them; it computes none of them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Whether a report tells of every row, or of the failed ones only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    Summary,
    Rows,
}

/// The figures of one run. The names are stable. A figure that is undefined, as an accuracy of no rows, is null.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub model: String,
    /// The data file, as the suite names it.
    pub data: String,
    /// Equal for two runs whose probabilities are equal to the last bit where model and rows are; null where the caller of
    /// the evaluation did not say.
    pub evaluation_id: Option<String>,
    pub counts: Counts,
    /// Rows with every expected field right.
    pub accuracy: Accuracy,
    /// In the suite's order.
    pub fields: Vec<FieldReport>,
    pub speed: Speed,
    /// Every failed row, in order.
    pub failures: Vec<Failure>,
    /// Every row, in order; absent unless asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<Vec<RowReport>>,
}

/// Numbers of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// In the data, after the suite's limit.
    pub total: u64,
    /// Tried: the figures are over these. Fewer than `total` where the run was interrupted.
    pub rows: u64,
    pub answered: u64,
    /// Tried, without an answer: counted as wrong.
    pub failed: u64,
    /// Of the failed ones, those that could not be read.
    pub unreadable: u64,
}

/// A part of the rows, with the interval in which it lies with 95 % confidence (Wilson 1927).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Accuracy {
    pub correct: u64,
    /// All rows tried; failed ones are wrong.
    pub rows: u64,
    pub accuracy: Option<f64>,
    pub low: Option<f64>,
    pub high: Option<f64>,
}

/// The figures of one field of the answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FieldReport {
    pub name: String,
    pub accuracy: Accuracy,
    /// The most frequent expected label and the accuracy of always answering it.
    pub majority: Option<Majority>,
    /// Over the labels in `classes`.
    pub macro_f1: Option<f64>,
    /// The labels that occur in the truth or the answers: in the contract's order, then those that it does not have.
    pub classes: Vec<ClassReport>,
    /// Null where there are more than 255 labels.
    pub confusion: Option<ConfusionReport>,
    /// Null where no answer had probabilities.
    pub probabilities: Option<ProbabilityReport>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Majority {
    pub label: Value,
    pub accuracy: f64,
}

/// One label; 0 where a figure is undefined, as in scikit-learn with `zero_division=0`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassReport {
    pub label: Value,
    pub precision: f64,
    /// A failed row is a miss of the label that it expects.
    pub recall: f64,
    pub f1: f64,
    /// Rows that expect the label.
    pub support: u64,
    /// Rows that were answered with it.
    pub answered: u64,
}

/// The labels in the order of `classes`; all counts sum to `counts.rows`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConfusionReport {
    pub labels: Vec<Value>,
    /// `counts[expected][answered]`.
    pub counts: Vec<Vec<u64>>,
    /// Failed rows by expected label.
    pub failed: Vec<u64>,
    /// Rows that could not be read.
    pub unreadable: u64,
}

/// Whether the probabilities can be trusted; over the answered rows only, because a failed row has none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbabilityReport {
    /// Rows with probabilities.
    pub rows: u64,
    /// Of these, rows that expect a label which no answer can be: its probability is taken as 0.
    pub not_a_candidate: u64,
    /// Mean `-ln p(expected)`, with p clipped to 2.2e-16 as in scikit-learn.
    pub negative_log_likelihood: f64,
    /// Mean of the sum over labels of `(p - y)^2`, 0 to 2 for any number of labels.
    pub brier: f64,
    /// Over `bins`, by the probability of the answer.
    pub expected_calibration_error: f64,
    /// The mean probability of the answers: beside the accuracy it says whether the model is too sure or not sure enough.
    pub mean_confidence: f64,
    /// The mean raw probability that the model's answer is one of the candidates: low, where it wants to say something else.
    pub mean_label_mass: f64,
    /// Of equal width, each without its lower border, the first with 0.
    pub bins: Vec<BinReport>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BinReport {
    pub low: f64,
    pub high: f64,
    pub rows: u64,
    /// The mean probability of the answers in the bin, and the part of them that is right; null in an empty bin.
    pub confidence: Option<f64>,
    pub accuracy: Option<f64>,
}

/// Latencies are over the answered rows, in milliseconds, interpolated linearly.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Speed {
    pub latency_p50_ms: Option<f64>,
    pub latency_p95_ms: Option<f64>,
    /// All rows tried over `elapsed_s`; null where no time passed.
    pub rows_per_second: Option<f64>,
    /// From the first row to the last.
    pub elapsed_s: f64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// In the data file, from 1.
    pub line: u64,
    pub reason: String,
}

/// One row: its fields where it was answered, else why not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RowReport {
    pub line: u64,
    /// Whether every expected field is right.
    pub correct: bool,
    pub latency_ms: Option<f64>,
    pub fields: Vec<RowField>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RowField {
    pub name: String,
    pub expected: Value,
    pub answer: Value,
    pub correct: bool,
    /// Of the answer.
    pub probability: f64,
    pub label_mass: f64,
    pub probabilities: Vec<LabelProbability>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabelProbability {
    pub value: Value,
    pub probability: f64,
}

//! What rows said of a cascade's thresholds, as it is stored beside them.

/// What is promised of answers before the last tier, and what rows said that had no part in finding the thresholds.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// `None` where nothing was promised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk: Option<f64>,
    pub confidence: f64,
    /// Rows that certify, those of them that end before the last tier, and wrong ones of these.
    pub rows: u64,
    pub handled: u64,
    pub errors: u64,
    /// The exact upper bound of the risk.
    pub risk_at_most: f64,
    /// Right answers of all rows.
    pub accuracy: f64,
}

//! The golden file of the metrics' tests, as `tests/golden/metrics.py` writes it.

use super::metrics::Observation;
use super::reliability::Scored;
use serde::Deserialize;

#[derive(Deserialize)]
pub struct Golden {
    pub bins: usize,
    pub metrics: Vec<Case>,
    pub percentiles: Vec<Percentiles>,
}

#[derive(Deserialize)]
pub struct Case {
    pub name: String,
    truth: Vec<usize>,
    answer: Vec<Option<usize>>,
    probabilities: Vec<Option<Vec<f64>>>,
    pub accuracy: f64,
    pub interval: [f64; 2],
    pub present: Vec<usize>,
    pub precision: Vec<f64>,
    pub recall: Vec<f64>,
    pub f1: Vec<f64>,
    pub support: Vec<u64>,
    pub macro_f1: f64,
    pub confusion: Vec<Vec<u64>>,
    pub confusion_failed: Vec<u64>,
    pub log_loss: Option<f64>,
    pub brier: Option<f64>,
    pub ece: Option<f64>,
    pub bin_counts: Option<Vec<u64>>,
}

#[derive(Deserialize)]
pub struct Percentiles {
    pub values: Vec<f64>,
    pub p50: f64,
    pub p95: f64,
}

impl Golden {
    pub fn load() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/metrics.json");
        let text = std::fs::read_to_string(path).expect("the golden file is committed");
        serde_json::from_str(&text).expect("the golden file has the script's shape")
    }
}

impl Case {
    pub fn n_labels(&self) -> usize {
        self.confusion.len()
    }

    pub fn observations(&self) -> Vec<Observation> {
        let observation = |(&truth, &answer): (&usize, &Option<usize>)| match answer {
            Some(answer) => Observation::Answered { truth, answer },
            None => Observation::Failed { truth },
        };
        self.truth.iter().zip(&self.answer).map(observation).collect()
    }

    /// The rows that did not fail.
    pub fn scored(&self) -> Vec<Scored> {
        let rows = self.truth.iter().zip(&self.answer).zip(&self.probabilities);
        rows.filter_map(|((&truth, &answer), p)| {
            Some(Scored { probabilities: p.clone()?, answer: answer?, truth: Some(truth) })
        })
        .collect()
    }
}

/// The two agree to 1e-9.
pub fn close(case: &str, metric: &str, found: Option<f64>, expected: f64) {
    let found = found.unwrap_or(f64::NAN);
    assert!((found - expected).abs() < 1e-9, "{case}: the {metric} is {found}, scikit-learn's is {expected}");
}

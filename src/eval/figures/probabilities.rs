//! Whether a field's probabilities can be trusted, and what a threshold on them would buy.

use serde::{Deserialize, Serialize};
use slm_stats::probabilistic::{Bins, GUO_BINS, Graded, RiskCoverage, Scored, brier, log_loss};

use super::labels::Labels;
use super::rate::{Figure, mean};
use crate::eval::record::Records;

/// The most points of the risk-coverage curve that are told.
const MAX_POINTS: usize = 200;
const COVERAGES: [f64; 4] = [0.5, 0.8, 0.9, 0.95];

/// The scores are over the answered rows, because a failed row has no probabilities; in risk and coverage a failed row is a
/// wrong one that is accepted last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbabilityFigures {
    /// Rows with probabilities.
    pub rows: u64,
    /// Of these, rows that expect a label which no answer can be: its probability is taken as 0.
    pub not_a_candidate: u64,
    /// Mean `-ln p(expected)`, with p clipped to 2.2e-16 as in scikit-learn.
    pub negative_log_likelihood: Figure,
    /// Mean of the sum over labels of `(p - y)^2`, 0 to 2 for any number of labels.
    pub brier: Figure,
    /// Over `bins`, by the probability of the answer.
    pub expected_calibration_error: Option<f64>,
    /// The same over as many bins with about as many rows each.
    pub expected_calibration_error_equal_mass: Option<f64>,
    /// The mean probability of the answers: beside the accuracy it says whether the model is too sure or not sure enough.
    pub mean_probability: Option<f64>,
    /// The mean raw probability that the model's answer is one of the candidates: low, where it wants to say something else.
    pub mean_label_mass: Option<f64>,
    /// 15 of equal width, each without its lower border, the first with 0.
    pub bins: Vec<BinFigures>,
    /// The area under the curve of risk against coverage, 0 the best, and how much of it is not owed to the errors themselves.
    pub aurc: Option<f64>,
    pub excess_aurc: Option<f64>,
    /// The accuracy of the surest rows that make up a part of all.
    pub accuracy_at_coverage: Vec<AtCoverage>,
    /// Points of the curve, from the surest rows to all.
    pub risk_coverage: Vec<Point>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BinFigures {
    pub low: f64,
    pub high: f64,
    pub rows: u64,
    /// The mean probability of the answers in the bin, and the part of them that is right; null in an empty bin.
    pub probability: Option<f64>,
    pub accuracy: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AtCoverage {
    pub coverage: f64,
    pub accuracy: Option<f64>,
}

/// Rows with at least this probability: their part of all, and the part of them that is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    pub threshold: f64,
    pub coverage: f64,
    pub risk: f64,
}

/// The figures of a subject's answers to a field; `None` where no answer has probabilities.
#[must_use]
pub fn figures_of(records: &Records, subject: usize, nth: usize, labels: &Labels) -> Option<ProbabilityFigures> {
    let (mut graded, mut all, mut masses, mut not_a_candidate) = (Vec::new(), Vec::new(), Vec::new(), 0);
    let (mut nll, mut briers) = (Vec::new(), Vec::new());
    for row in &records.rows {
        let fields = row.answers[subject].as_ref().and_then(|answer| answer.fields.as_ref().ok());
        let field = fields.map(|fields| &fields[nth]).filter(|field| !field.probabilities.is_empty());
        let (Some(field), Some(truth)) = (field, labels.truth(row)) else {
            all.push(Graded::FAILED);
            continue;
        };
        let answer = labels.number(&field.value);
        let truth_candidate = Some(truth).filter(|&truth| truth < labels.n_candidates);
        let scored = Scored { probabilities: &field.probabilities, truth: truth_candidate };
        not_a_candidate += u64::from(truth_candidate.is_none());
        nll.extend(log_loss([scored]));
        briers.extend(brier([scored]));
        masses.extend(field.label_mass);
        let probability = field.probabilities.get(answer).copied().unwrap_or(0.0);
        let one = Graded { confidence: probability, is_right: answer == truth };
        graded.push(one);
        all.push(one);
    }
    if graded.is_empty() {
        return None;
    }
    let average = |values: &[f64]| (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64);
    let bins = Bins::equal_width(&graded, GUO_BINS);
    let curve = RiskCoverage::new(all);
    let confidences: Vec<f64> = graded.iter().map(|one| one.confidence).collect();
    let at = |coverage| AtCoverage { coverage, accuracy: curve.accuracy_at_coverage(coverage) };
    Some(ProbabilityFigures {
        rows: graded.len() as u64,
        not_a_candidate,
        negative_log_likelihood: mean(&nll),
        brier: mean(&briers),
        expected_calibration_error: bins.expected_error(),
        expected_calibration_error_equal_mass: Bins::equal_mass(&graded, GUO_BINS).expected_error(),
        mean_probability: average(&confidences),
        mean_label_mass: average(&masses),
        bins: bins.bins.iter().map(BinFigures::of).collect(),
        aurc: curve.area(),
        excess_aurc: curve.excess_area(),
        accuracy_at_coverage: COVERAGES.into_iter().map(at).collect(),
        risk_coverage: points(&curve),
    })
}

impl BinFigures {
    fn of(bin: &slm_stats::probabilistic::Bin) -> BinFigures {
        let (probability, accuracy) = (bin.confidence(), bin.accuracy());
        BinFigures { low: bin.low, high: bin.high, rows: bin.n, probability, accuracy }
    }
}

/// The curve in as many points as a person can see; the last is always there.
fn points(curve: &RiskCoverage) -> Vec<Point> {
    let n = curve.points.len();
    let step = n.div_ceil(MAX_POINTS).max(1);
    let is_told = |at: &usize| (at + 1).is_multiple_of(step) || at + 1 == n;
    let told = (0..n).filter(is_told).map(|at| curve.points[at]);
    told.map(|point| Point { threshold: point.threshold, coverage: point.coverage(), risk: point.risk() }).collect()
}

//! Metrics: one label a row, probabilities, several labels a row.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use slm_stats::classification::{Classes, Confusion, Observation};
use slm_stats::multilabel::{Multilabel, Tagged};
use slm_stats::probabilistic::{Bins, Graded, RiskCoverage, Scored, brier, log_loss, top_k};

use super::{close, room};

#[derive(Deserialize)]
struct Classification {
    name: String,
    n_labels: usize,
    truth: Vec<usize>,
    answer: Vec<Option<usize>>,
    accuracy: f64,
    balanced_accuracy: f64,
    macro_precision: f64,
    macro_recall: f64,
    macro_f1: f64,
    weighted_f1: f64,
    micro_precision: Option<f64>,
    micro_recall: f64,
    micro_f1: f64,
    matthews: f64,
    precision: Vec<f64>,
    recall: Vec<f64>,
    f1: Vec<f64>,
    support: Vec<u64>,
    confusion: Vec<Vec<u64>>,
}

#[test]
fn one_label_a_row() {
    for case in room::<Classification>("classification") {
        let rows = case.truth.iter().zip(&case.answer).map(|(&truth, &answer)| Observation::new(Some(truth), answer));
        let found = Classes::count(case.n_labels, rows.clone());
        let figures = [
            ("accuracy", found.accuracy().value(), Some(case.accuracy)),
            ("balanced accuracy", found.balanced_accuracy(), Some(case.balanced_accuracy)),
            ("macro precision", found.macro_precision(), Some(case.macro_precision)),
            ("macro recall", found.macro_recall(), Some(case.macro_recall)),
            ("macro F1", found.macro_f1(), Some(case.macro_f1)),
            ("weighted F1", found.weighted_f1(), Some(case.weighted_f1)),
            ("micro precision", found.micro_precision(), case.micro_precision),
            ("micro recall", found.micro_recall(), Some(case.micro_recall)),
            ("micro F1", found.micro_f1(), Some(case.micro_f1)),
            ("Matthews", found.matthews(), Some(case.matthews)),
        ];
        for (figure, found, expected) in figures {
            close(&case.name, figure, found, expected);
        }
        for (label, class) in found.classes.iter().enumerate() {
            close(&case.name, "precision", class.precision(), case.precision[label]);
            close(&case.name, "recall", class.recall(), case.recall[label]);
            close(&case.name, "F1", class.f1(), case.f1[label]);
            assert_eq!(class.support, case.support[label], "{}", case.name);
        }
        assert_eq!(Confusion::count(case.n_labels, rows).counts, case.confusion, "{}", case.name);
    }
}

#[derive(Deserialize)]
struct Probabilistic {
    name: String,
    truth: Vec<usize>,
    probabilities: Vec<Vec<f64>>,
    log_loss: f64,
    brier: f64,
    top_k: Vec<u64>,
    ece: BTreeMap<usize, f64>,
    equal_mass: BTreeMap<usize, EqualMass>,
    aurc: f64,
    excess_aurc: f64,
    accuracy_at_coverage: BTreeMap<String, f64>,
    coverage_at_risk: BTreeMap<String, f64>,
}

#[derive(Deserialize)]
struct EqualMass {
    accuracy: Vec<f64>,
    confidence: Vec<f64>,
    counts: Vec<u64>,
    ece: f64,
    mce: f64,
}

/// The first of the most probable, and whether it is the truth.
fn graded((&truth, probabilities): (&usize, &Vec<f64>)) -> Graded {
    let confidence = probabilities.iter().copied().fold(0.0, f64::max);
    let answer = probabilities.iter().position(|&p| p >= confidence);
    Graded { confidence, is_right: answer == Some(truth) }
}

#[test]
fn probabilities() {
    for case in room::<Probabilistic>("probabilistic") {
        let name = &case.name;
        let scored = || {
            let rows = case.truth.iter().zip(&case.probabilities);
            rows.map(|(&truth, probabilities)| Scored { probabilities, truth: Some(truth) })
        };
        close(name, "log loss", log_loss(scored()), case.log_loss);
        close(name, "Brier score", brier(scored()), case.brier);
        for (k, &hits) in case.top_k.iter().enumerate() {
            assert_eq!(top_k(scored().map(Some), k).hits, hits, "{name}: top {k}");
        }
        let graded: Vec<Graded> = case.truth.iter().zip(&case.probabilities).map(graded).collect();
        for (&n_bins, &expected) in &case.ece {
            close(name, "calibration error", Bins::equal_width(&graded, n_bins).expected_error(), expected);
        }
        for (&n_bins, expected) in &case.equal_mass {
            let found = Bins::equal_mass(&graded, n_bins);
            close(name, "calibration error of equal bins", found.expected_error(), expected.ece);
            close(name, "largest gap", found.maximum_error(), expected.mce);
            let filled: Vec<_> = found.bins.iter().filter(|bin| bin.n > 0).collect();
            assert_eq!(filled.iter().map(|bin| bin.n).collect::<Vec<_>>(), expected.counts, "{name}");
            for (nth, bin) in filled.iter().enumerate() {
                close(name, "bin's accuracy", bin.accuracy(), expected.accuracy[nth]);
                close(name, "bin's confidence", bin.confidence(), expected.confidence[nth]);
            }
        }
        let curve = RiskCoverage::new(graded);
        close(name, "area", curve.area(), case.aurc);
        close(name, "excess area", curve.excess_area(), case.excess_aurc);
        for (coverage, &expected) in &case.accuracy_at_coverage {
            let coverage = coverage.parse().expect("a number");
            close(name, "accuracy at coverage", curve.accuracy_at_coverage(coverage), expected);
        }
        for (risk, &expected) in &case.coverage_at_risk {
            close(name, "coverage at risk", curve.coverage_at_risk(risk.parse().expect("a number")), expected);
        }
    }
}

#[derive(Deserialize)]
struct Tags {
    name: String,
    n_tags: usize,
    truth: Vec<BTreeSet<usize>>,
    answer: Vec<BTreeSet<usize>>,
    subset_accuracy: f64,
    hamming_loss: f64,
    sample_f1: f64,
    sample_precision: f64,
    sample_recall: f64,
    macro_f1: Option<f64>,
    micro_f1: Option<f64>,
    weighted_f1: Option<f64>,
    f1: Vec<f64>,
}

#[test]
fn several_labels_a_row() {
    for case in room::<Tags>("multilabel") {
        let rows = case.truth.iter().zip(&case.answer).map(|(truth, answer)| Tagged { truth, answer: Some(answer) });
        let found = Multilabel::new(case.n_tags, &rows.collect::<Vec<_>>());
        let figures = [
            ("subset accuracy", found.subset_accuracy.value(), Some(case.subset_accuracy)),
            ("Hamming loss", found.hamming_loss, Some(case.hamming_loss)),
            ("sample F1", found.sample_f1, Some(case.sample_f1)),
            ("sample precision", found.sample_precision, Some(case.sample_precision)),
            ("sample recall", found.sample_recall, Some(case.sample_recall)),
            ("macro F1", found.macro_f1(), case.macro_f1),
            ("micro F1", found.micro_f1(), case.micro_f1),
            ("weighted F1", found.weighted_f1(), case.weighted_f1),
        ];
        for (figure, found, expected) in figures {
            close(&case.name, figure, found, expected);
        }
        for (tag, &expected) in case.f1.iter().enumerate() {
            close(&case.name, "tag's F1", found.tags[tag].f1(), expected);
        }
    }
}

//! How sure: intervals of rates and of resamples, paired tests, corrections.

use std::collections::BTreeMap;

use serde::Deserialize;
use slm_stats::intervals::{bca_interval, percentile_interval};
use slm_stats::paired::{Alternative, Pairs, Plan, exact_power, holm};
use slm_stats::{Confidence, Interval, Proportion, quantile};

use super::{close, room};

fn confidence(share: f64) -> Confidence {
    Confidence::new(share).expect("the script's are shares")
}

#[track_caller]
fn close_ends(case: &str, figure: &str, found: Option<Interval>, [low, high]: [f64; 2]) {
    close(case, figure, found.map(|found| found.low), low);
    close(case, figure, found.map(|found| found.high), high);
}

#[derive(Deserialize)]
struct Rate {
    hits: u64,
    n: u64,
    confidence: f64,
    wilson: [f64; 2],
    exact: [f64; 2],
    at_most: f64,
    at_least: f64,
}

#[test]
fn rates() {
    for case in room::<Rate>("proportions") {
        let (rate, level) = (Proportion { hits: case.hits, n: case.n }, confidence(case.confidence));
        let name = format!("{rate:?} at {}", case.confidence);
        close_ends(&name, "Wilson interval", rate.wilson(level), case.wilson);
        close_ends(&name, "exact interval", rate.clopper_pearson(level), case.exact);
        close(&name, "upper bound", rate.at_most(level), case.at_most);
        close(&name, "lower bound", rate.at_least(level), case.at_least);
    }
}

#[derive(Deserialize)]
struct Resampled {
    confidence: f64,
    value: f64,
    resampled: Vec<f64>,
    jackknife: Vec<f64>,
    percentile: [f64; 2],
    bca: Option<[f64; 2]>,
}

#[test]
fn resamples() {
    for (nth, case) in room::<Resampled>("bootstraps").into_iter().enumerate() {
        let (name, level) = (format!("case {nth}"), confidence(case.confidence));
        close_ends(&name, "percentile interval", percentile_interval(case.resampled.clone(), level), case.percentile);
        let bca = bca_interval(case.value, case.resampled, &case.jackknife, level);
        // Where SciPy has no value, ours is the percentile interval.
        close_ends(&name, "BCa interval", bca, case.bca.unwrap_or(case.percentile));
    }
}

#[derive(Deserialize)]
struct Compared {
    pairs: [u64; 4],
    differs: f64,
    second_is_worse: f64,
    second_is_better: f64,
    mid_p: f64,
    tango: BTreeMap<String, [f64; 2]>,
}

#[test]
fn pairs() {
    for case in room::<Compared>("pairs") {
        let [both, only_first, only_second, neither] = case.pairs;
        let pairs = Pairs { both, only_first, only_second, neither };
        let name = format!("{pairs:?}");
        close(&name, "exact p", pairs.mcnemar(Alternative::Differs), case.differs);
        close(&name, "p of worse", pairs.mcnemar(Alternative::SecondIsWorse), case.second_is_worse);
        close(&name, "p of better", pairs.mcnemar(Alternative::SecondIsBetter), case.second_is_better);
        close(&name, "mid-p", pairs.mcnemar_mid_p(Alternative::Differs), case.mid_p);
        for (level, &[low, high]) in &case.tango {
            let level = confidence(level.parse().expect("a number"));
            let found = pairs.difference_interval(level).expect("there are rows");
            // The reference's optimiser has about 8 digits.
            assert!(
                (found.low - low).abs() < 1e-7 && (found.high - high).abs() < 1e-7,
                "{name}: {found:?}, {low}..{high}"
            );
        }
    }
}

#[derive(Deserialize)]
struct Many {
    p: Vec<f64>,
    corrected: Vec<f64>,
}

#[test]
fn corrections() {
    for case in room::<Many>("holm") {
        for (found, expected) in holm(&case.p).into_iter().zip(case.corrected) {
            close(&format!("{:?}", case.p), "corrected p", found, expected);
        }
    }
}

#[derive(Deserialize)]
struct Quantiles {
    values: Vec<f64>,
    levels: Vec<f64>,
    quantiles: Vec<f64>,
}

#[test]
fn quantiles() {
    for case in room::<Quantiles>("quantiles") {
        for (&level, expected) in case.levels.iter().zip(case.quantiles) {
            close(&format!("{:?}", case.values), "quantile", quantile(&case.values, level), expected);
        }
    }
}

#[derive(Deserialize)]
struct Power {
    n: u64,
    drop: f64,
    disagreement: f64,
    sides: u8,
    power: f64,
}

#[test]
fn powers() {
    for case in room::<Power>("powers") {
        let plan = if case.sides == 1 { Plan::GATE } else { Plan::COMPARISON };
        let name = format!("{} rows, {} of {}", case.n, case.drop, case.disagreement);
        close(&name, "power", exact_power(plan, case.n, case.drop, case.disagreement), case.power);
    }
}

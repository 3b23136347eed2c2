//! Drift of answers that are written by hand, with figures from numpy and scipy.

use super::*;
use crate::digest::Digest;
use crate::eval::answer::FieldAnswer;
use crate::eval::data::Place;
use crate::eval::record::{Field, Kind, Subject};
use crate::eval::suite::Judge;
use serde_json::{Value, json};

/// Records of rows of which each subject gave these probabilities of `a` and `b`; `a` is right.
fn records(names: &[&str], rows: &[&[f64]]) -> Records {
    let candidates = vec![json!("a"), json!("b")];
    let field = Field { name: "label".to_owned(), judge: Judge::Label, candidates, limits: None };
    let answer = |p: f64| {
        let value: Value = if p >= 0.5 { json!("a") } else { json!("b") };
        let field = FieldAnswer { value, probabilities: vec![p, 1.0 - p], label_mass: None, is_withheld: false };
        Some(RowAnswer { fields: Ok(vec![field]), cost: None })
    };
    let row = |(nth, probabilities): (usize, &&[f64])| Record {
        id: nth.to_string(),
        place: Place { source: 0, line: nth as u64 + 1 },
        at: format!("line {}", nth + 1),
        input: String::new(),
        digest: Digest::of(b""),
        expected: Ok(vec![json!("a")]),
        answers: probabilities.iter().copied().map(answer).collect(),
    };
    let subject = |name: &&str| Subject {
        name: (*name).to_owned(),
        kind: Kind::Model { model: (*name).to_owned(), evaluation_id: None },
        elapsed_s: 2.0,
        n_cached: 0,
        peak_memory_bytes: None,
    };
    Records {
        suite: "s.yaml".to_owned(),
        data: "d.jsonl".to_owned(),
        fields: vec![field],
        subjects: names.iter().map(subject).collect(),
        rows: rows.iter().enumerate().map(row).collect(),
    }
}

fn sizes(n: usize) -> Vec<WeightSize> {
    (0..n as u64).map(|nth| WeightSize { n_bytes: 100 - nth, bits_per_weight: 8.0 }).collect()
}

#[test]
fn flips_and_divergences_are_those_of_the_rows() {
    let report = DriftReport::of(&records(&["f16", "q8_0"], &[&[0.9, 0.8], &[0.6, 0.3], &[0.2, 0.2]]), &sizes(2));
    let drift = report.quantized[0].drift.as_ref().unwrap();
    assert_eq!((drift.flips.hits, drift.flips.rows), (1, 3));
    // scipy.stats.entropy([.9,.1],[.8,.2]), ([.6,.4],[.3,.7]), 0
    let (mean, worst) = (drift.mean_divergence.unwrap(), drift.worst_divergence.unwrap());
    assert!((worst - 0.192_041_993_2).abs() < 1e-9, "{worst}");
    assert!((mean - (0.036_690_014_0 + 0.192_041_993_2) / 3.0).abs() < 1e-9, "{mean}");
    assert_eq!(drift.worst_row.as_deref(), Some("line 2"));
    assert_eq!((drift.only_original, drift.only_quantized, drift.is_worse), (1, 0, false));
    assert_eq!((report.cliff, report.smallest_not_worse.as_deref()), (None, Some("q8_0")));
}

#[test]
fn the_cliff_is_the_first_type_that_is_worse_beyond_chance() {
    // 12 rows: `q4` flips one, `q2` ten of them: an exact two-sided p of 2/1024, doubled by Holm.
    let rows: Vec<[f64; 3]> =
        (0..12).map(|n| [0.9, if n == 0 { 0.4 } else { 0.9 }, if n < 10 { 0.1 } else { 0.9 }]).collect();
    let rows: Vec<&[f64]> = rows.iter().map(|row| &row[..]).collect();
    let report = DriftReport::of(&records(&["f16", "q4", "q2"], &rows), &sizes(3));
    let worse: Vec<bool> = report.quantized.iter().map(|one| one.drift.as_ref().unwrap().is_worse).collect();
    assert_eq!(worse, [false, true]);
    let p = report.quantized[1].drift.as_ref().unwrap().p_corrected;
    assert!((p - 2.0 * 2.0 / 1024.0).abs() < 1e-12, "{p}");
    assert_eq!((report.cliff.as_deref(), report.smallest_not_worse.as_deref()), (Some("q2"), Some("q4")));
}

#[test]
fn an_answer_that_is_ruled_out_is_far_but_not_infinitely() {
    let report = DriftReport::of(&records(&["f16", "q1"], &[&[1.0, 0.0]]), &sizes(2));
    let worst = report.quantized[0].drift.as_ref().unwrap().worst_divergence.unwrap();
    assert!((20.0..21.0).contains(&worst), "{worst}");
}

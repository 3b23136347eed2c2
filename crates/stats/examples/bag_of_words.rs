//! Accuracy and seconds of the bag of words on labelled texts: `bag_of_words DATA LABEL PER_LABEL...`, where DATA is a JSONL
//! file with `text`. Rows with an odd FNV hash of their text are reported on (at most 2,000), the others learned from.
//!
//! `tests/golden/bag_of_words.py` measures scikit-learn's pipeline on the same rows, which it takes from `--rows`: this program
//! then writes them instead (`split`, `text` and `label` as JSONL).

use std::collections::BTreeMap;
use std::time::Instant;

use slm_stats::classification::{Classes, Observation};
use slm_stats::probabilistic::{Scored, log_loss};
use slm_stats::words::Baseline;

const REPORTED: usize = 2000;

struct Rows {
    texts: Vec<String>,
    labels: Vec<usize>,
}

impl Rows {
    fn texts(&self) -> Vec<&str> {
        self.texts.iter().map(String::as_str).collect()
    }

    /// Adds a row unless there are `most` already.
    fn add(&mut self, text: &str, label: usize, most: usize) {
        if self.texts.len() < most {
            self.texts.push(text.to_owned());
            self.labels.push(label);
        }
    }
}

/// The texts' order and part: FNV-1a of 64 bits.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The names of the labels, and all rows in the order of their hashes.
fn read(file: &str, field: &str) -> (Vec<String>, Vec<(String, usize)>) {
    let text = std::fs::read_to_string(file).expect("DATA is a file");
    let row = |line: &str| {
        let row: serde_json::Value = serde_json::from_str(line).expect("each line is JSON");
        let of = |field: &str| row[field].as_str().expect("the field is a text").to_owned();
        (of("text"), of(field))
    };
    let mut rows: Vec<(String, String)> = text.lines().map(row).collect();
    rows.sort_by_key(|(text, _)| hash(text));
    rows.dedup();
    let mut names: Vec<String> = rows.iter().map(|(_, label)| label.clone()).collect();
    names.sort_unstable();
    names.dedup();
    let index: BTreeMap<&str, usize> = names.iter().enumerate().map(|(nth, name)| (name.as_str(), nth)).collect();
    let rows = rows.into_iter().map(|(text, label)| (text, index[label.as_str()])).collect();
    (names, rows)
}

/// The rows to report on, and `per_label` rows of each label to learn from.
fn parts(all: &[(String, usize)], n_classes: usize, per_label: usize) -> (Rows, Rows) {
    let (mut reported, mut learned) = (Rows { texts: vec![], labels: vec![] }, Rows { texts: vec![], labels: vec![] });
    let mut counts = vec![0; n_classes];
    for (text, label) in all {
        if hash(text) % 2 == 1 {
            reported.add(text, *label, REPORTED);
        } else if counts[*label] < per_label {
            counts[*label] += 1;
            learned.add(text, *label, usize::MAX);
        }
    }
    (reported, learned)
}

fn main() {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let writes_rows = arguments.first().is_some_and(|first| first == "--rows");
    arguments.drain(..usize::from(writes_rows));
    let [file, field, sizes @ ..] = arguments.as_slice() else {
        panic!("bag_of_words [--rows] DATA LABEL PER_LABEL...")
    };
    let (names, all) = read(file, field);
    for size in sizes {
        let per_label = size.parse().expect("PER_LABEL is a number");
        let (reported, learned) = parts(&all, names.len(), per_label);
        if writes_rows {
            for (split, rows) in [("reported", &reported), ("learned", &learned)] {
                for (text, label) in rows.texts.iter().zip(&rows.labels) {
                    println!(
                        "{}",
                        serde_json::json!({"size": per_label, "split": split, "text": text, "label": label})
                    );
                }
            }
            continue;
        }
        measure(per_label, &reported, &learned, names.len());
    }
}

fn measure(per_label: usize, reported: &Rows, learned: &Rows, n_classes: usize) {
    let baseline = Baseline::default();
    let started = Instant::now();
    let model = baseline.fit(&learned.texts(), &learned.labels, n_classes).expect("it fits");
    let fitted_s = started.elapsed().as_secs_f64();
    let probabilities: Vec<Vec<f64>> = reported.texts.iter().map(|text| model.probabilities(text)).collect();
    let (accuracy, loss) = judged(&probabilities, &reported.labels, n_classes);
    let started = Instant::now();
    let out_of_fold = baseline.out_of_fold(&learned.texts(), &learned.labels, n_classes).expect("it fits");
    let folds_s = started.elapsed().as_secs_f64();
    let (own, own_loss) = judged(&out_of_fold, &learned.labels, n_classes);
    println!(
        "{per_label} a label ({} rows): on {} others accuracy {accuracy:.4}, log loss {loss:.4}, fit {fitted_s:.2} s; \
         in {} folds accuracy {own:.4}, log loss {own_loss:.4}, {folds_s:.2} s",
        learned.texts.len(),
        reported.texts.len(),
        baseline.n_folds,
    );
}

fn judged(probabilities: &[Vec<f64>], labels: &[usize], n_classes: usize) -> (f64, f64) {
    let answer = |p: &[f64]| (0..p.len()).fold(0, |best, label| if p[label] > p[best] { label } else { best });
    let rows = probabilities.iter().zip(labels);
    let observations = rows.clone().map(|(p, &truth)| Observation::new(Some(truth), Some(answer(p))));
    let accuracy = Classes::count(n_classes, observations).accuracy().value().expect("there are rows");
    let scored = rows.map(|(probabilities, &truth)| Scored { probabilities, truth: Some(truth) });
    (accuracy, log_loss(scored).expect("there are rows"))
}

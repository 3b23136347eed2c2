//! Answers without a model: what has to be beaten before a model is of use.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use slm_stats::words;

use super::answer::{Cost, FieldAnswer, Given, Said, Scores};
use super::cache::{Cache, Question};
use super::figures::labels::Labels;
use super::label::{key, show};
use super::record::{Kind, Records, RowAnswer, Subject};
use super::suite::Baseline;
use crate::digest::Digest;

/// Another number for another bag of words, so that kept answers of the old one are not taken for its own.
const WORDS_VERSION: u32 = 1;

/// Why a baseline is not among the subjects.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeftOut {
    #[error("there is no baseline `{baseline}`: no row can be read")]
    NoRow { baseline: &'static str },
    #[error(
        "there is no baseline `words`: every row that can be read expects `{label}` for `{field}`, so there is nothing to tell \
         apart"
    )]
    OneLabel { field: String, label: String },
    #[error(
        "there is no baseline `words`: it is learned from four fifths of the rows at a time, and for `{field}` some of these expect \
         one label only; rows of another label are needed"
    )]
    TooFewRows { field: String },
}

/// Adds the baselines that the records allow: those of labels, where every field has some. What the bag of words answers is kept
/// in `folder`, for learning takes time. Gives the baselines that cannot be made, with the reasons.
#[must_use]
pub fn add(records: &mut Records, baselines: &[Baseline], folder: Option<&Path>) -> Vec<LeftOut> {
    let mut left_out = Vec::new();
    if !records.fields.iter().all(|field| field.judge.is_label()) {
        return left_out;
    }
    for &baseline in baselines {
        let answers = |nth| match baseline {
            Baseline::Majority => majority(records, nth),
            Baseline::Words => words(records, nth, folder),
        };
        let fields = match (0..records.fields.len()).map(answers).collect::<Result<Vec<_>, _>>() {
            Ok(fields) => fields,
            Err(reason) => {
                left_out.push(reason);
                continue;
            }
        };
        let subject = Subject {
            name: baseline.name().to_owned(),
            kind: Kind::Baseline,
            elapsed_s: 0.0,
            n_cached: 0,
            peak_memory_bytes: None,
        };
        let answer = |at: usize| match &records.rows[at].expected {
            Ok(_) => RowAnswer { fields: Ok(fields.iter().map(|rows| rows[at].clone()).collect()), cost: None },
            Err(reason) => RowAnswer::unreadable(reason),
        };
        let answers = (0..records.rows.len()).map(|at| Some(answer(at))).collect();
        records.add(subject, answers);
    }
    left_out
}

/// The most frequent label for every row; of equals the first in the contract's order.
fn majority(records: &Records, nth: usize) -> Result<Vec<FieldAnswer>, LeftOut> {
    let field = &records.fields[nth];
    let place = |label: &Value| field.candidates.iter().position(|one| one == label).unwrap_or(usize::MAX);
    let mut counts: BTreeMap<String, (usize, &Value)> = BTreeMap::new();
    for label in truths(records, nth).flatten() {
        counts.entry(key(label)).or_insert((0, label)).0 += 1;
    }
    let most = counts.values().max_by_key(|(n, label)| (*n, std::cmp::Reverse(place(label))));
    let (_, label) = most.ok_or(LeftOut::NoRow { baseline: Baseline::Majority.name() })?;
    let answer =
        FieldAnswer { value: (*label).clone(), probabilities: Vec::new(), label_mass: None, is_withheld: false };
    Ok(vec![answer; records.rows.len()])
}

/// What every row expects of a field; `None` where it cannot be read.
fn truths(records: &Records, nth: usize) -> impl Iterator<Item = Option<&Value>> {
    records.rows.iter().map(move |row| row.expected.as_ref().ok().map(|expected| &expected[nth]))
}

/// What a bag of words answers that was learned from the other parts of the rows.
fn words(records: &Records, nth: usize, folder: Option<&Path>) -> Result<Vec<FieldAnswer>, LeftOut> {
    let labels = Labels::of(records, nth);
    let readable: Vec<usize> = (0..records.rows.len()).filter(|&at| records.rows[at].expected.is_ok()).collect();
    let texts: Vec<&str> = readable.iter().map(|&at| records.rows[at].input.as_str()).collect();
    let truths: Vec<usize> = readable.iter().filter_map(|&at| labels.truth(&records.rows[at])).collect();
    let n_labels = labels.labels.len();
    let first = *truths.first().ok_or(LeftOut::NoRow { baseline: Baseline::Words.name() })?;
    let field = || records.fields[nth].name.clone();
    if truths.iter().all(|&truth| truth == first) {
        return Err(LeftOut::OneLabel { field: field(), label: show(&labels.labels[first]) });
    }
    let probabilities =
        out_of_fold(&texts, &truths, n_labels, folder).ok_or_else(|| LeftOut::TooFewRows { field: field() })?;
    let mut answers =
        vec![
            FieldAnswer { value: Value::Null, probabilities: Vec::new(), label_mass: None, is_withheld: false };
            records.rows.len()
        ];
    for (at, probabilities) in readable.into_iter().zip(probabilities) {
        // The first of the best, as a contract's order decides.
        let best = (0..n_labels).rev().max_by(|&one, &other| probabilities[one].total_cmp(&probabilities[other]));
        let best = best.expect("a row that can be read has a label");
        answers[at].value = labels.labels[best].clone();
        answers[at].probabilities = probabilities[..labels.n_candidates].to_vec();
    }
    Ok(answers)
}

fn out_of_fold(texts: &[&str], truths: &[usize], n_labels: usize, folder: Option<&Path>) -> Option<Vec<Vec<f64>>> {
    let learner = words::Baseline::default();
    let asked = (WORDS_VERSION, format!("{learner:?}"), texts, truths, n_labels);
    let rows = serde_json::to_vec(&asked).expect("plain data");
    // Without kept answers it is learned anew.
    let mut cache = folder.and_then(|folder| Cache::open(folder, Digest::of(&rows)).ok()).unwrap_or_else(Cache::none);
    let question = |at: usize| Question { by: "words".to_owned(), input: at.to_string() };
    let kept = |at: usize| match cache.get(&question(at)) {
        Some(Given { said: Said::Closed(scores), .. }) => Some(scores.first()?.probabilities.clone()),
        _ => None,
    };
    if let Some(known) = (0..texts.len()).map(kept).collect::<Option<Vec<_>>>() {
        return Some(known);
    }
    let learned = learner.out_of_fold(texts, truths, n_labels).ok()?;
    for (at, probabilities) in learned.iter().enumerate() {
        let scores =
            Scores { best: 0, probabilities: probabilities.clone(), label_mass: Some(1.0), is_withheld: false };
        let given = Given { said: Said::Closed(vec![scores]), cost: Cost::default(), state: None };
        if cache.put(&question(at), &given).is_err() {
            break;
        }
    }
    Some(learned)
}

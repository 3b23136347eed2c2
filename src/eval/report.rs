//! A report: everything that is told of a run, as `--json` writes it and every other face shows it.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use slm_stats::paired::Margin;

use super::baseline::Change;
use super::compare::{Comparison, NonInferiority, comparisons, non_inferiority};
use super::figures::labels::Labels;
use super::figures::{SubjectFigures, SubjectKind};
use super::gate::{self, GateReport};
use super::judge::verdict;
use super::record::Records;
use super::suite::Gate;

/// Whether a report tells of every row, or of the failed ones only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    Summary,
    Rows,
}

/// What of a run is told. The names are stable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The suite's file.
    pub suite: String,
    /// The data files, as the suite names them.
    pub data: String,
    pub counts: Counts,
    /// Models in the suite's order, then baselines.
    pub subjects: Vec<SubjectFigures>,
    /// Every model against every subject before it.
    pub comparisons: Vec<Comparison>,
    /// With `--non-inferior`: every model but the best against the best.
    pub non_inferiority: Vec<NonInferiority>,
    /// With `--baseline`: every model against its own earlier answers.
    pub changes: Vec<Change>,
    /// Null where nothing is demanded.
    pub gate: Option<GateReport>,
    /// Every row, in order; absent unless asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<Vec<RowReport>>,
}

/// Numbers of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// In the data, after filter, part and limit.
    pub total: u64,
    /// Asked of every subject: the figures are over these. Fewer than `total` where the run was interrupted.
    pub rows: u64,
    /// Of these, those that could not be read: they count as wrong.
    pub unreadable: u64,
}

/// One row with every subject's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RowReport {
    pub id: String,
    /// Where it stands, in words.
    pub at: String,
    pub input: String,
    /// By field, in the suite's order; empty where the row cannot be read.
    pub expected: Vec<Value>,
    pub answers: Vec<RowAnswerReport>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RowAnswerReport {
    pub subject: String,
    /// Whether every field is right.
    pub correct: bool,
    pub latency_ms: Option<f64>,
    /// In the suite's order; empty where there is no answer.
    pub fields: Vec<RowField>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RowField {
    pub name: String,
    pub answer: Value,
    /// `right`, `wrong`, `missed` or `invented`.
    pub verdict: String,
    /// The answer's own probability; null where there are none.
    pub probability: Option<f64>,
    pub label_mass: Option<f64>,
    pub probabilities: Vec<LabelProbability>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabelProbability {
    pub value: Value,
    pub probability: f64,
}

/// What is told beside the figures.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    pub margin: Option<Margin>,
    pub changes: Vec<Change>,
    pub gate: Gate,
}

impl Report {
    /// The report of a run over `total` rows.
    #[must_use]
    pub fn of(records: &Records, total: usize, wanted: Wanted, detail: Detail) -> Report {
        let of_labels = |nth: usize| records.fields[nth].judge.is_label().then(|| Labels::of(records, nth));
        let labels: Vec<Option<Labels>> = (0..records.fields.len()).map(of_labels).collect();
        let listed: Vec<usize> = (0..records.subjects.len()).filter(|&at| records.subjects[at].is_listed()).collect();
        let subjects: Vec<SubjectFigures> = listed.iter().map(|&at| SubjectFigures::of(records, at, &labels)).collect();
        let gate = gate::gate(&wanted.gate, &subjects, &wanted.changes);
        Report {
            suite: records.suite.clone(),
            data: records.data.clone(),
            counts: Counts {
                total: total as u64,
                rows: records.rows.len() as u64,
                unreadable: records.rows.iter().filter(|row| row.expected.is_err()).count() as u64,
            },
            subjects,
            comparisons: comparisons(records, &labels),
            non_inferiority: wanted.margin.map(|margin| non_inferiority(records, margin)).unwrap_or_default(),
            changes: wanted.changes,
            gate: Some(gate).filter(|gate| !gate.checks.is_empty()),
            rows: match detail {
                Detail::Summary => None,
                Detail::Rows => Some((0..records.rows.len()).map(|nth| row(records, &listed, nth)).collect()),
            },
        }
    }

    /// The models, without the baselines.
    pub fn models(&self) -> impl Iterator<Item = &SubjectFigures> {
        self.subjects.iter().filter(|subject| subject.kind != SubjectKind::Baseline)
    }
}

/// A row with the listed subjects' answers.
fn row(records: &Records, listed: &[usize], nth: usize) -> RowReport {
    let row = &records.rows[nth];
    let answer = |&subject: &usize| {
        let known = &records.subjects[subject];
        let answer = row.answers[subject].as_ref();
        let verdict_of = |nth: usize| verdict(row, answer, &records.fields, nth);
        let given = answer.map(|answer| &answer.fields);
        let field = |(nth, given): (usize, &super::answer::FieldAnswer)| {
            let of = &records.fields[nth];
            let at = of.candidates.iter().position(|candidate| *candidate == given.value);
            let pairs = of.candidates.iter().zip(&given.probabilities);
            RowField {
                name: of.name.clone(),
                answer: given.value.clone(),
                verdict: verdict_of(nth).name().to_owned(),
                probability: at.and_then(|at| given.probabilities.get(at)).copied(),
                label_mass: given.label_mass,
                probabilities: pairs
                    .map(|(value, p)| LabelProbability { value: value.clone(), probability: *p })
                    .collect(),
            }
        };
        RowAnswerReport {
            subject: known.name.clone(),
            correct: (0..records.fields.len()).all(|nth| verdict_of(nth).is_right()),
            latency_ms: answer.and_then(|answer| answer.cost).map(|cost| cost.latency_ms),
            fields: given.and_then(|given| given.as_ref().ok()).into_iter().flatten().enumerate().map(field).collect(),
            error: given.and_then(|given| given.as_ref().err()).map(|failed| failed.reason.clone()),
        }
    };
    RowReport {
        id: row.id.clone(),
        at: row.at.clone(),
        input: row.input.clone(),
        expected: row.expected.clone().unwrap_or_default(),
        answers: listed.iter().map(answer).collect(),
    }
}

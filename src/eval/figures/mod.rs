//! From records to the figures of each subject, under the names that `--json` writes; it formats nothing.

pub mod closed;
pub mod cost;
pub mod extraction;
pub mod labels;
pub mod limits;
pub mod lists;
pub mod probabilities;
pub mod rate;
pub mod speed;

use serde::{Deserialize, Serialize};
use slm_stats::classification::Observation;

use super::answer::Why;
use super::judge::{is_right, verdict};
use super::record::{Kind, Records};
use super::suite::{Judge, Metric};
use closed::ClosedFigures;
use cost::Cost;
use extraction::{ExtractionFigures, TagFigures};
use labels::Labels;
use limits::LimitFigures;
use lists::ListFigures;
use probabilities::ProbabilityFigures;
use rate::{Figure, Rate};
use speed::Speed;

/// The figures of one subject. A figure that is undefined, as an accuracy of no rows, is null.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubjectFigures {
    pub name: String,
    pub kind: SubjectKind,
    /// The model's name; null for a baseline.
    pub model: Option<String>,
    /// A remote's server; null for others.
    pub host: Option<String>,
    /// Equal for two runs whose probabilities are equal to the last bit where model and rows are; null where nothing promises
    /// that.
    pub evaluation_id: Option<String>,
    /// Rows with every expected field right.
    pub accuracy: Rate,
    /// Null where no answer is left to a person.
    pub abstaining: Option<Abstaining>,
    /// Rows without an answer that could be right: counted as wrong.
    pub failed: Rate,
    /// By kind; those that did not occur are left out.
    pub failed_by: Vec<FailedBy>,
    /// In the suite's order.
    pub fields: Vec<FieldFigures>,
    pub speed: Option<Speed>,
    /// Null where there is no price, or no tokens were counted.
    pub cost: Option<Cost>,
    /// Every failed row, in order.
    pub failures: Vec<Failure>,
}

/// Of a subject that leaves answers to a person. Its other figures are those of its best guesses.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Abstaining {
    /// Rows whose every field was answered.
    pub coverage: Rate,
    /// Of these, the ones with every expected field right.
    pub accuracy: Rate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubjectKind {
    Model,
    Remote,
    Baseline,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedBy {
    pub why: Why,
    pub rows: u64,
}

/// A row without an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub id: String,
    /// Where the row stands, in words.
    pub at: String,
    pub why: Why,
    pub reason: String,
}

/// The figures of one field of the answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FieldFigures {
    pub name: String,
    /// How answers are held against the data: `exact`, `text`, `tags` …
    #[serde(rename = "as")]
    pub judged: String,
    pub accuracy: Rate,
    /// Null where answers are no labels.
    pub labels: Option<ClosedFigures>,
    /// Null where no answer has probabilities.
    pub probabilities: Option<ProbabilityFigures>,
    /// Null where answers are no tags.
    pub tags: Option<TagFigures>,
    /// Null for labels, tags, and where nothing is expected but limits.
    pub extraction: Option<ExtractionFigures>,
    /// Null where answers are no lists.
    pub lists: Option<ListFigures>,
    /// Null where the suite sets no limits.
    pub limits: Option<LimitFigures>,
    /// The rows whose answer changes when the labels are turned round; null without `--permute`.
    pub flip_rate: Option<Rate>,
}

impl SubjectFigures {
    /// The figures of the subject at this place.
    #[must_use]
    pub fn of(records: &Records, subject: usize, labels: &[Option<Labels>]) -> SubjectFigures {
        let known = &records.subjects[subject];
        let (kind, model, host, evaluation_id) = match &known.kind {
            Kind::Model { model, evaluation_id } => {
                (SubjectKind::Model, Some(model.clone()), None, evaluation_id.clone())
            }
            Kind::Remote { model, host, .. } => (SubjectKind::Remote, Some(model.clone()), Some(host.clone()), None),
            Kind::Baseline | Kind::TurnedRound { .. } => (SubjectKind::Baseline, None, None, None),
        };
        let failures = failures(records, subject);
        let by = |why: Why| FailedBy { why, rows: failures.iter().filter(|one| one.why == why).count() as u64 };
        let right = |row: &super::record::Record| is_right(row, row.answers[subject].as_ref(), &records.fields);
        SubjectFigures {
            name: known.name.clone(),
            kind,
            model,
            host,
            evaluation_id,
            accuracy: Rate::of(records.rows.iter().map(right)),
            abstaining: abstaining(records, subject),
            failed: slm_stats::Proportion { hits: failures.len() as u64, n: records.rows.len() as u64 }.into(),
            failed_by: Why::ALL.into_iter().map(by).filter(|by| by.rows > 0).collect(),
            fields: (0..records.fields.len())
                .map(|nth| FieldFigures::of(records, subject, nth, labels[nth].as_ref()))
                .collect(),
            speed: speed::speed(records, subject),
            cost: cost::cost(records, subject),
            failures,
        }
    }

    /// A figure with its interval; `None` where the subject has none of this kind.
    #[must_use]
    pub fn metric(&self, field: Option<&str>, metric: Metric) -> Option<Figure> {
        let of_speed = |get: fn(&Speed) -> Option<f64>| Some(Figure::bare(get(self.speed.as_ref()?)));
        let by = |why: Why| self.failed_by.iter().find(|by| by.why == why).map_or(0, |by| by.rows);
        match metric {
            Metric::Failed => return Some(self.failed.figure()),
            Metric::FormatBroken => {
                let n = self.failed.rows;
                return Some(Rate::from(slm_stats::Proportion { hits: by(Why::Format), n }).figure());
            }
            Metric::LatencyP50 => return of_speed(|speed| speed.latency_p50_ms),
            Metric::LatencyP95 => return of_speed(|speed| speed.latency_p95_ms),
            Metric::LatencyP99 => return of_speed(|speed| speed.latency_p99_ms),
            Metric::FirstTokenP50 => return of_speed(|speed| speed.first_token_p50_ms),
            Metric::FirstTokenP95 => return of_speed(|speed| speed.first_token_p95_ms),
            Metric::PeakMemory => return of_speed(|speed| speed.peak_memory_bytes.map(|bytes| bytes as f64)),
            Metric::CostPerThousand => {
                return self.cost.as_ref().map(|cost| Figure::bare(Some(cost.per_thousand_rows)));
            }
            Metric::Accuracy if field.is_none() => return Some(self.accuracy.figure()),
            _ => {}
        }
        // A suite of one field needs no field's name.
        let of = match (field, self.fields.as_slice()) {
            (None, [only]) => Some(only),
            (Some(name), fields) => fields.iter().find(|field| field.name == name),
            _ => None,
        };
        of?.metric(metric)
    }
}

impl FieldFigures {
    fn of(records: &Records, subject: usize, nth: usize, labels: Option<&Labels>) -> FieldFigures {
        let field = &records.fields[nth];
        let right =
            |row: &super::record::Record| verdict(row, row.answers[subject].as_ref(), &records.fields, nth).is_right();
        let is_extraction = !matches!(field.judge, Judge::Label | Judge::Tags | Judge::Limits);
        let list_key = match &field.judge {
            Judge::List { key } => Some(key.as_deref()),
            _ => None,
        };
        FieldFigures {
            name: field.name.clone(),
            judged: field.judge.name().to_owned(),
            accuracy: Rate::of(records.rows.iter().map(right)),
            labels: labels.map(|labels| closed::figures_of(records, subject, nth, labels)),
            probabilities: labels.and_then(|labels| probabilities::figures_of(records, subject, nth, labels)),
            tags: (field.judge == Judge::Tags).then(|| extraction::tag_figures(records, subject, nth)),
            extraction: is_extraction.then(|| extraction::extraction_figures(records, subject, nth)),
            lists: list_key.map(|key| lists::figures_of(records, subject, nth, key)),
            limits: field.limits.as_ref().map(|limits| limits::figures_of(records, subject, nth, limits)),
            flip_rate: labels.and_then(|labels| flip_rate(records, subject, labels)),
        }
    }

    /// A figure with its interval; `None` where the field has none of this kind.
    #[must_use]
    pub fn metric(&self, metric: Metric) -> Option<Figure> {
        let (labels, probabilities) = (self.labels.as_ref(), self.probabilities.as_ref());
        let (tags, extraction) = (self.tags.as_ref(), self.extraction.as_ref());
        let (lists, limits) = (self.lists.as_ref(), self.limits.as_ref());
        match metric {
            Metric::Accuracy => Some(self.accuracy.figure()),
            Metric::BalancedAccuracy => labels.map(|labels| labels.balanced_accuracy),
            Metric::MacroF1 => labels.map(|labels| labels.macro_f1).or_else(|| tags.map(|tags| tags.macro_f1)),
            Metric::MicroF1 => labels.map(|labels| labels.micro_f1).or_else(|| tags.map(|tags| tags.micro_f1)),
            Metric::WeightedF1 => labels.map(|labels| labels.weighted_f1),
            Metric::Matthews => labels.map(|labels| labels.matthews),
            Metric::SampleF1 => tags.map(|tags| tags.sample_f1),
            Metric::NegativeLogLikelihood => probabilities.map(|p| p.negative_log_likelihood),
            Metric::Brier => probabilities.map(|p| p.brier),
            Metric::CalibrationError => probabilities.map(|p| Figure::bare(p.expected_calibration_error)),
            Metric::AreaUnderRiskCoverage => probabilities.map(|p| Figure::bare(p.aurc)),
            Metric::FlipRate => self.flip_rate.map(Rate::figure),
            Metric::Wrong => extraction.map(|e| e.wrong.figure()),
            Metric::Missed => extraction.map(|e| e.missed.figure()),
            Metric::Invented => extraction.map(|e| e.invented.figure()),
            Metric::RougeL => extraction.and_then(|e| e.rouge_l),
            Metric::ItemF1 => lists.map(|lists| lists.item_f1),
            Metric::ItemPrecision => lists.map(|lists| lists.item_precision),
            Metric::ItemRecall => lists.map(|lists| lists.item_recall),
            Metric::LimitsKept => limits.map(|limits| limits.kept.figure()),
            Metric::WordsKept => limits.and_then(|limits| limits.words).map(Rate::figure),
            Metric::SentencesKept => limits.and_then(|limits| limits.sentences).map(Rate::figure),
            Metric::CharactersKept => limits.and_then(|limits| limits.characters).map(Rate::figure),
            Metric::PatternKept => limits.and_then(|limits| limits.pattern).map(Rate::figure),
            // Of whole rows.
            Metric::Failed
            | Metric::FormatBroken
            | Metric::LatencyP50
            | Metric::LatencyP95
            | Metric::LatencyP99
            | Metric::FirstTokenP50
            | Metric::FirstTokenP95
            | Metric::PeakMemory
            | Metric::CostPerThousand => None,
        }
    }
}

fn abstaining(records: &Records, subject: usize) -> Option<Abstaining> {
    let is_withheld = |row: &super::record::Record| {
        let fields = row.answers[subject].as_ref().map(|answer| &answer.fields);
        matches!(fields, Some(Ok(fields)) if fields.iter().any(|field| field.is_withheld))
    };
    let has_failed =
        |row: &super::record::Record| !matches!(&row.answers[subject], Some(answer) if answer.fields.is_ok());
    let accepted = records.rows.iter().filter(|row| !is_withheld(row) && !has_failed(row));
    let right = |row: &super::record::Record| is_right(row, row.answers[subject].as_ref(), &records.fields);
    records.rows.iter().any(is_withheld).then(|| Abstaining {
        coverage: Rate::of(records.rows.iter().map(|row| !is_withheld(row) && !has_failed(row))),
        accuracy: Rate::of(accepted.map(right)),
    })
}

fn failures(records: &Records, subject: usize) -> Vec<Failure> {
    let failure = |row: &super::record::Record| {
        let failed = row.answers[subject].as_ref()?.fields.as_ref().err()?;
        let (id, at) = (row.id.clone(), row.at.clone());
        Some(Failure { id, at, why: failed.why, reason: failed.reason.clone() })
    };
    records.rows.iter().filter_map(failure).collect()
}

/// The rows that the subject and its twin with the labels turned round answered differently, of those that both answered.
fn flip_rate(records: &Records, subject: usize, labels: &Labels) -> Option<Rate> {
    let twin = records.subjects.iter().position(|other| other.kind == Kind::TurnedRound { of: subject })?;
    let answer = |row: &super::record::Record, of: usize| match labels.observation(row, row.answers[of].as_ref()) {
        Observation::Answered { answer, .. } => Some(answer),
        Observation::Failed { .. } | Observation::Unreadable => None,
    };
    let differs = |row: &super::record::Record| Some(answer(row, subject)? != answer(row, twin)?);
    Some(Rate::of(records.rows.iter().filter_map(differs)))
}

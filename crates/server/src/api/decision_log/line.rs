//! One decision as a line of JSON: what was decided about, by what, and how sure.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{DecisionLog, Texts};
use crate::api::extra::ExtraField;
use slm_cascade::{Cascade, Measure, Reason, Step};
use slm_engine::Counts;
use slm_infer::decide::FieldAnswer;
use slm_infer::infer::{End, Finding, Responder};
use slm_values::contract::{Contract, Field};
use slm_values::digest::{Digest, Hasher};

/// Why a field of a written decision is withheld where a cascade leaves it to a person.
const REVIEW: &str = "no tier's answer was taken";

/// A decision. Later versions may have more keys.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DecisionLine {
    /// RFC 3339, in UTC.
    pub time: String,
    /// The request's, as the answer's `x-request-id` has it; a request for several answers has several lines.
    pub id: String,
    pub model: String,
    /// The digest of the model's manifest, its fit included.
    pub manifest: String,
    /// The digest of what answers: one of the three, weights, the file of a cascade, or that of a remote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cascade: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// The digests of the adapters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub adapters: Vec<String>,
    /// Identifies what is decided: the fields of the answer and the answers that each may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// Everything that the model was given but the text, as `prompt_digest` in an answer.
    pub prompt: String,
    /// Where the probabilities are promised to the last bit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluation_id: Option<String>,
    /// What tells the fit from every other; left out where the probabilities are the model's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fit: Option<String>,
    pub input: Input,
    /// As `slm.fields` in an answer; empty where another server told no probabilities.
    pub fields: Vec<ExtraField>,
    /// The answer as it was given: `null` where it was withheld, and in an object each field that was.
    #[serde(default)]
    pub answer: Value,
    /// The tiers of a cascade that the text went through; left out if the model is not a cascade.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub path: Vec<LineStep>,
    /// Whether the answer was withheld because no tier's was taken.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub review: bool,
    pub tokens: LineTokens,
    /// From the request's turn to its answer.
    pub ms: f64,
    /// What the answer cost on other servers, in the currency of their prices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
    /// What each tier accepts, by its name: written with the tier's step.
    #[serde(skip)]
    pub accepts: Vec<(String, String)>,
}

/// What was decided about.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// The SHA-256 of the text.
    pub digest: String,
    pub chars: usize,
    /// Where texts are written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// A tier as in `slm.path` of an answer, without its sentence: a remote's words may repeat the text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LineStep {
    pub tier: String,
    pub outcome: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What is asked of its answers, in the words of `slm show`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept: Option<String>,
    /// Where the reason is `below`: what was too low.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<Below>,
    /// What it answered, which is the draft of the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Value>,
    pub ms: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
}

/// A threshold that a tier's answer did not reach.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Below {
    /// `null` where the whole answer is one value.
    pub field: Option<String>,
    /// `probability` or `margin`.
    pub measure: String,
    pub found: f64,
    pub threshold: f64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineTokens {
    pub prompt: usize,
    /// Of these, those that had been evaluated before.
    pub reused: usize,
    /// Of allowed answers, that were evaluated.
    pub branch: usize,
    /// Generated.
    #[serde(default)]
    pub generated: usize,
}

impl DecisionLine {
    /// What all answers of a model have in common: `layer` is the digest of its weights, or of the file that says who answers.
    #[must_use]
    pub fn head(id: String, responder: &Responder, layer: &Digest) -> DecisionLine {
        let layer = Some(layer.to_string());
        let head = DecisionLine { id, ..DecisionLine::default() };
        match responder {
            Responder::Engine(session) => {
                let adapters = session.defaults().adapters.as_slice().iter();
                DecisionLine { weights: layer, adapters: adapters.map(|one| one.id.clone()).collect(), ..head }
            }
            Responder::Remote(_) => DecisionLine { remote: layer, ..head },
            // The fit, which stands in the line, is all that answers.
            Responder::Words(_) => head,
            Responder::Cascade(door) => DecisionLine { cascade: layer, accepts: accepts(&door.model.cascade), ..head },
        }
    }

    /// Whether an answer to a closed question is one that can be written down: it may be a remote's without probabilities.
    #[must_use]
    pub fn is_of(end: &End) -> bool {
        matches!(end.finding, Finding::Closed(_) | Finding::Open(Ok(_))) || !end.path.is_empty()
    }

    /// The line of an answer, after the head that all of them have.
    #[must_use]
    pub fn answered(self, end: &End, time: String) -> DecisionLine {
        let mut fields: Vec<ExtraField> = end.closed_fields().iter().map(ExtraField::from).collect();
        if end.review.is_some() {
            // The path says why, without words that may repeat the text.
            fields.iter_mut().for_each(|field| field.abstained = Some(REVIEW.to_owned()));
        }
        let options = |field: &FieldAnswer| (field.name.clone(), values(field));
        let task = task(end.closed_fields().iter().map(options));
        let step = |step: &Step| {
            let accept = self.accepts.iter().find(|(tier, _)| *tier == step.tier).map(|(_, accept)| accept.clone());
            LineStep { accept, ..LineStep::from(step) }
        };
        DecisionLine {
            time,
            prompt: end.prompt_digest.clone(),
            evaluation_id: end.evaluation_id.clone(),
            fit: fields.iter().find_map(|field| field.fit.as_ref()).map(|fit| fit.digest.clone()),
            answer: given(end),
            path: end.path.iter().map(step).collect(),
            review: end.review.is_some(),
            tokens: end.counts.into(),
            ms: end.elapsed.as_secs_f64() * 1e3,
            cost: end.cost,
            task: task.or(self.task),
            fields,
            accepts: Vec::new(),
            ..self
        }
    }

    /// Identifies what a contract decides, as [`DecisionLine::task`] has it.
    #[must_use]
    pub fn task_of(contract: &Contract) -> Option<String> {
        task(contract.fields().iter().map(|field| (field.name(), Field::values(field))))
    }
}

fn accepts(cascade: &Cascade) -> Vec<(String, String)> {
    cascade.tiers.iter().map(|tier| (tier.name.clone(), tier.accept.to_string())).collect()
}

fn values(field: &FieldAnswer) -> Vec<Value> {
    field.probabilities.iter().map(|(value, _)| value.clone()).collect()
}

fn task(fields: impl Iterator<Item = (Option<String>, Vec<Value>)>) -> Option<String> {
    let fields: Vec<Value> = fields.map(|(name, options)| json!([name, options])).collect();
    let mut hash = Hasher::new();
    hash.update(Value::from(fields.clone()).to_string().as_bytes());
    (!fields.is_empty()).then(|| hash.finish().id())
}

/// The answer as it was given.
fn given(end: &End) -> Value {
    match &end.finding {
        Finding::Closed(answer) => match answer.fields.as_slice() {
            [field @ FieldAnswer { name: None, .. }] => field.given().cloned().unwrap_or_default(),
            _ => answer.json.clone(),
        },
        Finding::Open(Ok(value)) => value.clone(),
        Finding::Open(Err(_)) | Finding::Free | Finding::Vectors(_) => Value::Null,
    }
}

impl Input {
    /// As much of a text as the log writes.
    #[must_use]
    pub fn of(text: &str, log: &DecisionLog) -> Input {
        Input {
            digest: Digest::of(text.as_bytes()).to_string(),
            chars: text.chars().count(),
            text: (log.texts() == Texts::Written).then(|| text.to_owned()),
        }
    }
}

impl From<&Step> for LineStep {
    fn from(step: &Step) -> LineStep {
        let below = match step.outcome.reason() {
            Some(Reason::Below { field, measure, found, threshold }) => Some(Below {
                field: field.clone(),
                measure: Measure::to_string(measure),
                found: *found,
                threshold: *threshold,
            }),
            _ => None,
        };
        LineStep {
            tier: step.tier.clone(),
            outcome: step.outcome.as_str().to_owned(),
            reason: step.outcome.reason().map(Reason::as_str).map(str::to_owned),
            accept: None,
            below,
            answer: step.answer.clone(),
            ms: step.elapsed.as_secs_f64() * 1e3,
            cost: step.cost,
        }
    }
}

impl From<Counts> for LineTokens {
    fn from(counts: Counts) -> LineTokens {
        let Counts { prompt, reused, branch, generated, .. } = counts;
        LineTokens { prompt, reused, branch, generated }
    }
}

//! What is known of an answer beyond what other servers say: probabilities, and what they depend on.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use slm_cascade::{Reason, Step};
use slm_infer::decide::{FieldAnswer, Fitted};
use slm_infer::infer::End;

/// slm's own fields of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Extra {
    /// A closed answer's fields, in the schema's order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<ExtraField>,
    /// The same request under the same id has the same probabilities, to the last bit. Left out where that is not
    /// guaranteed: for generated text, and for closed answers with the header `x-slm-lane: throughput`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluation_id: Option<String>,
    /// Identifies the prompt without the user's text: template, instructions, schema and their wording.
    pub prompt_digest: String,
    /// What the answer cost on other servers, in the currency of their prices. Left out where none with a price was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
    /// Through which tiers of a cascade the text went, in their order. Left out of a model that is no cascade.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub path: Vec<ExtraStep>,
    /// Why a person is to look at the text, whose answer is withheld: no tier's answer was taken. Left out otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub review: Option<String>,
}

/// A tier of a cascade that was asked or passed over.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ExtraStep {
    pub tier: String,
    /// `accepted` of the tier whose answer this is, `went on` where it was not taken, `passed over` where it was not asked.
    pub outcome: &'static str,
    /// Why it did not have the last word, in a word: `below`, `withheld`, `always_on`, `no_probabilities`, `broken`, `truncated`,
    /// `refused`, `too_long`, `failed`, `breaker_open`, `private`, `money`, `share` or `time`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// The same as a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What it answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Value>,
    pub ms: f64,
    /// In the currency of the remote's price.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
}

/// A closed field's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ExtraField {
    /// `null` where the whole answer is one value; a nested field's has dots.
    #[schema(required)]
    pub name: Option<String>,
    /// The answer: the most probable of the allowed ones; `null` where the model's fit leaves it to a person.
    pub value: Value,
    /// The most probable answer where `value` is left to a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guess: Option<Value>,
    /// Why `value` is left to a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abstained: Option<String>,
    /// The probability of `value` or of `guess`, under the condition that the answer is an allowed one.
    #[schema(minimum = 0.0, maximum = 1.0)]
    pub probability: f64,
    /// The probability of `value` less that of the second most probable answer: 0 is a tie, 1 leaves nothing to another answer.
    #[schema(minimum = 0.0, maximum = 1.0)]
    pub margin: f64,
    /// Every allowed answer with its probability, in the schema's order; they sum to 1. Fitted, where the model has a fit.
    pub probabilities: Vec<ExtraProbability>,
    /// The model's own probabilities, where `probabilities` are fitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<Vec<ExtraProbability>>,
    /// How `probabilities` were fitted; left out where they are the model's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fit: Option<ExtraFit>,
    /// The model's own probability, before normalisation, that it says one of the allowed answers. Where it is low the model
    /// wanted to say something else, and `probability` says little. `null` where another server computed it and does not tell.
    #[schema(required)]
    pub label_mass: Option<f64>,
}

/// How a field's probabilities were fitted to labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ExtraFit {
    /// What tells the fit from every other.
    pub digest: String,
    /// As the fit's card calls it.
    pub method: String,
    /// From which probability an answer with this label is accepted; `null` where every one is.
    #[schema(required)]
    pub threshold: Option<f64>,
}

/// An allowed answer with its probability.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ExtraProbability {
    pub value: Value,
    /// Of this answer, under the condition that the answer is an allowed one.
    #[schema(minimum = 0.0, maximum = 1.0)]
    pub probability: f64,
}

impl From<&End> for Extra {
    fn from(end: &End) -> Extra {
        Extra {
            fields: end.closed_fields().iter().map(ExtraField::from).collect(),
            evaluation_id: end.evaluation_id.clone(),
            prompt_digest: end.prompt_digest.clone(),
            cost: end.cost,
            path: end.path.iter().map(ExtraStep::from).collect(),
            review: end.review.clone(),
        }
    }
}

impl From<&Step> for ExtraStep {
    fn from(step: &Step) -> ExtraStep {
        let reason = step.outcome.reason();
        ExtraStep {
            tier: step.tier.clone(),
            outcome: step.outcome.as_str(),
            reason: reason.map(Reason::as_str),
            why: reason.map(ToString::to_string),
            answer: step.answer.clone(),
            ms: (step.elapsed.as_secs_f64() * 1e6).round() / 1e3,
            cost: step.cost,
        }
    }
}

impl From<&FieldAnswer> for ExtraField {
    fn from(field: &FieldAnswer) -> ExtraField {
        let one = |(value, p): (&Value, f64)| ExtraProbability { value: value.clone(), probability: p };
        let values = || field.probabilities.iter().map(|(value, _)| value);
        let raw = |fitted: &Fitted| values().zip(fitted.raw.iter().copied()).map(one).collect();
        let abstention = field.abstention();
        ExtraField {
            name: field.name.clone(),
            value: field.given().cloned().unwrap_or_default(),
            guess: abstention.is_some().then(|| field.value.clone()),
            abstained: abstention.map(|reason| reason.to_string()),
            probability: field.probability(),
            margin: field.margin(),
            probabilities: field.probabilities.iter().map(|(value, p)| one((value, *p))).collect(),
            raw: field.fitted.as_ref().filter(|fitted| !fitted.raw.is_empty()).map(raw),
            fit: field.fitted.as_ref().map(ExtraFit::from),
            label_mass: field.label_mass,
        }
    }
}

impl From<&Fitted> for ExtraFit {
    fn from(fitted: &Fitted) -> ExtraFit {
        let (digest, method) = (fitted.fit.to_string(), fitted.method_name());
        ExtraFit { digest, method, threshold: fitted.threshold }
    }
}

//! One decision as a line of JSON: what was decided about, by what, and how sure.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{DecisionLog, Texts};
use crate::api::extra::ExtraField;
use slm_cascade::{Reason, Step};
use slm_engine::Counts;
use slm_values::digest::Digest;

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
    /// The tiers of a cascade that the text went through; left out if the model is not a cascade.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub path: Vec<LineStep>,
    /// Whether the answer was withheld because no tier's was taken.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub review: bool,
    pub tokens: LineTokens,
    /// From the request's turn to its answer.
    pub ms: f64,
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Value>,
    pub ms: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineTokens {
    pub prompt: usize,
    /// Of these, those that had been evaluated before.
    pub reused: usize,
    /// Of allowed answers, that were evaluated.
    pub branch: usize,
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
        LineStep {
            tier: step.tier.clone(),
            outcome: step.outcome.as_str().to_owned(),
            reason: step.outcome.reason().map(Reason::as_str).map(str::to_owned),
            answer: step.answer.clone(),
            ms: step.elapsed.as_secs_f64() * 1e3,
            cost: step.cost,
        }
    }
}

impl From<Counts> for LineTokens {
    fn from(counts: Counts) -> LineTokens {
        LineTokens { prompt: counts.prompt, reused: counts.reused, branch: counts.branch }
    }
}

//! What a fit tells of itself: what it belongs to, what it was learned from, what it gains, what it promises. It holds no texts of
//! the user's rows.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::method::MethodName;

/// The format of cards; one with a higher number was written by a later version.
pub const CARD_FORMAT: u32 = 1;
/// The format of cards of fits that answer from a part of the layers, which an earlier version would apply without that part.
pub const CARD_FORMAT_OF_DEPTH: u32 = 2;

/// What a fit tells of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Card {
    pub format: u32,
    /// Which version of slm made it.
    pub tool: String,
    /// The day, as `2026-11-30`.
    pub date: String,
    pub pins: Pins,
    pub fields: Vec<FieldCard>,
    /// Of a fit that answers from a part of the layers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depth: Option<DepthCard>,
}

/// What is told of answers from a part of the layers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DepthCard {
    pub depth: Depth,
    /// In the order of the fields.
    pub fields: Vec<EarlyCard>,
}

/// A part of a model's layers: the first ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Depth {
    pub layers: u32,
    pub of: u32,
}

impl std::fmt::Display for Depth {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} of {} layers", self.layers, self.of)
    }
}

/// What is told of one field's answers from a part of the layers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EarlyCard {
    pub name: Option<String>,
    pub method: MethodName,
    /// On the rows on which the whole model's figures are, each with what had not seen it.
    pub figures: Figures,
    /// Of the answers that are given: where this is not sure, those of all layers.
    pub given: Figures,
    /// One-sided, against the whole model's best method on the same rows: how likely they would have so many fewer rows right, or so
    /// much worse a likelihood, if they were as good.
    pub p_as_right: f64,
    pub p_as_likely: f64,
    /// By option; empty where every answer is accepted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub thresholds: Vec<f64>,
    /// Certifying rows that need no more layers, with thresholds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered: Option<u64>,
}

/// What a fit belongs to: with anything else of these it says nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Pins {
    /// The digest of the weights, of several layers of all of them.
    pub weights: String,
    /// The id of the set of adapters.
    pub adapters: String,
    /// The digest of the prompt without its text: template, system message, examples, contract, wording and form.
    pub prompt: String,
    pub evaluation_id: String,
    /// Other evaluation ids (another processor, for example) for which a check found that the fit holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checked: Vec<String>,
    /// Which hidden state is read; none where the fit reads no state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<Value>,
}

impl Pins {
    /// Whether the fit holds for probabilities of this evaluation id.
    #[must_use]
    pub fn holds_for(&self, evaluation_id: &str) -> bool {
        self.evaluation_id == evaluation_id || self.checked.iter().any(|checked| checked == evaluation_id)
    }
}

/// What is told of one field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FieldCard {
    pub name: Option<String>,
    pub method: MethodName,
    /// Rows that taught, by option, in the contract's order.
    pub rows_by_option: Vec<u64>,
    /// Why nothing is done, or what to know of the method.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// On the same rows, each with what had not seen it: as the model is, and with the method. `None` without labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Figures>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Figures>,
    /// Every method that was tried, with its figures.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tried: Vec<Tried>,
    /// By option; empty where every answer is accepted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub thresholds: Vec<f64>,
    /// Options that always go to a person.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub person: Vec<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promise: Option<PromiseCard>,
    /// How labels, confidences and lengths were spread, to tell later whether they still are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Reference>,
}

impl FieldCard {
    /// Of a field that no labelled row taught, with why.
    #[must_use]
    pub fn untaught(name: Option<String>, method: MethodName, n_options: usize, note: String) -> FieldCard {
        FieldCard {
            name,
            method,
            rows_by_option: vec![0; n_options],
            notes: vec![note],
            before: None,
            after: None,
            tried: Vec::new(),
            thresholds: Vec::new(),
            person: Vec::new(),
            promise: None,
            reference: None,
        }
    }
}

/// How good probabilities are on rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    pub rows: u64,
    pub accuracy: f64,
    /// Negative log-likelihood, in nats.
    pub nll: f64,
    /// Expected calibration error, in 15 bins of equal width.
    pub ece: f64,
}

/// A method and its figures on held-out folds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tried {
    pub method: MethodName,
    pub figures: Figures,
    /// 95 % intervals of accuracy, likelihood and calibration error.
    pub accuracy_interval: [f64; 2],
    pub nll_interval: [f64; 2],
    pub ece_interval: [f64; 2],
    /// One-sided, of the likelihood against doing nothing; `None` for nothing itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p_value: Option<f64>,
}

/// What was promised of accepted answers, and what rows said of it that had no part in finding the thresholds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PromiseCard {
    /// At most this part of the accepted answers is wrong; `None` where only a coverage or costs were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk: Option<f64>,
    pub confidence: f64,
    /// Rows that certify, accepted ones of them, and wrong ones among these.
    pub rows: u64,
    pub accepted: u64,
    pub errors: u64,
    /// The exact upper bound of the risk at the confidence.
    pub risk_at_most: f64,
    /// The coverage that no method with these answers can beat.
    pub coverage_bound: f64,
}

/// How labels, confidences and lengths were spread over the rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    /// Answers by option.
    pub answers: Vec<u64>,
    pub confidences: Histogram,
    /// Characters of the texts.
    pub lengths: Histogram,
}

/// Counts between edges.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// Ascending; the first bin is all below the first edge, the last all from the last edge on.
    pub edges: Vec<f64>,
    /// One more than edges.
    pub counts: Vec<u64>,
}

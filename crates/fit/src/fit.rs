//! A fit: what is done to each closed field's probabilities, and when an answer is accepted.

use serde_json::Value;

use crate::card::{Card, Depth};
use crate::decision::{Decision, Gate};
use crate::evidence::{Evidence, normalised, softmax};
use crate::method::Method;

/// What was learned for a model's closed fields.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    pub card: Card,
    /// In the contract's order; a field whose method is [`Method::Nothing`] stays raw.
    pub fields: Vec<FieldFit>,
    /// How rows are answered from a part of the layers, as far as that is reliable enough; `None` where all layers always are evaluated.
    pub early: Option<Early>,
}

/// What was learned of a part of the layers, without any log-probabilities.
#[derive(Debug, Clone, PartialEq)]
pub struct Early {
    pub depth: Depth,
    /// The same fields. An answer that its gate does not accept is given by all layers, and their gate decides.
    pub fields: Vec<FieldFit>,
}

impl Early {
    /// Whether a row ever needs the other layers.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.fields.iter().all(|field| field.gate.is_open())
    }

    /// As [`Fit::field`].
    #[must_use]
    pub fn field(&self, name: Option<&str>, options: &[Value]) -> Option<&FieldFit> {
        field_of(&self.fields, name, options)
    }
}

fn field_of<'f>(fields: &'f [FieldFit], name: Option<&str>, options: &[Value]) -> Option<&'f FieldFit> {
    fields.iter().find(|field| field.name.as_deref() == name && field.options == options)
}

/// What was learned for one closed field.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldFit {
    /// A nested one's with dots; `None` where the whole contract is one closed value.
    pub name: Option<String>,
    /// In the contract's order.
    pub options: Vec<Value>,
    pub method: Method,
    pub gate: Gate,
}

impl Fit {
    /// Whether a model is asked for any of its fields; without one, a text alone has an answer.
    #[must_use]
    pub fn needs_model(&self) -> bool {
        self.fields.is_empty() || self.fields.iter().any(|field| field.method.needs_model())
    }

    /// Whether any of its fields reads hidden states.
    #[must_use]
    pub fn needs_state(&self) -> bool {
        self.fields.iter().any(|field| field.method.needs_state())
    }

    /// The field of this name with just these options; `None` where this fit knows no such field.
    #[must_use]
    pub fn field(&self, name: Option<&str>, options: &[Value]) -> Option<&FieldFit> {
        field_of(&self.fields, name, options)
    }
}

impl FieldFit {
    /// Final probabilities in the contract's order; they sum to 1. Where a state that the method needs is missing or of another
    /// length, or there are not as many log-probabilities as options, they are the model's own.
    #[must_use]
    pub fn probabilities(&self, evidence: &Evidence<'_>) -> Vec<f64> {
        let n_state = self.n_state();
        let is_usable = |state: &[f32]| Some(state.len()) == n_state && state.iter().all(|value| value.is_finite());
        let has_state = n_state.is_none() || evidence.state.is_some_and(is_usable);
        if evidence.logprobs.len() != self.options.len() || !has_state {
            return softmax(&normalised(evidence.logprobs));
        }
        self.method.probabilities(evidence)
    }

    /// Whether an answer with these probabilities is accepted.
    #[must_use]
    pub fn decision(&self, probabilities: &[f64]) -> Decision {
        self.gate.decision(probabilities)
    }

    /// Numbers of the hidden state that the method reads; `None` where it reads none.
    #[must_use]
    pub fn n_state(&self) -> Option<usize> {
        let Method::Pool(pool) = &self.method else { return None };
        let mut blocks = pool.experts.iter().flat_map(|(_, expert)| &expert.blocks);
        blocks.find(|block| block.is_state()).map(crate::expert::Block::n_columns)
    }
}

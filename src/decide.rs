//! Typed questions to answers with probabilities.

use serde_json::Value;

/// The answer to one closed field.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldAnswer {
    /// The field's name; `None` where the whole contract is one closed value.
    pub name: Option<String>,
    /// The most probable candidate.
    pub value: Value,
    /// Every candidate with its probability, in the contract's order; they sum to 1.
    pub probabilities: Vec<(Value, f64)>,
    /// `(p_max - 1/k) / (1 - 1/k)`: 0 is a guess among the k candidates, 1 is certainty.
    pub confidence: f64,
    /// The model's raw probability, before normalisation, that its answer is one of the candidates.
    pub label_mass: f64,
}

/// The answer to a closed contract: one value, or the fields of an object in the contract's order.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub fields: Vec<FieldAnswer>,
}

impl Answer {
    /// The answer as the contract's own JSON: the bare value, or an object of the fields.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self.fields.as_slice() {
            [FieldAnswer { name: None, value, .. }] => value.clone(),
            fields => {
                Value::Object(fields.iter().map(|f| (f.name.clone().unwrap_or_default(), f.value.clone())).collect())
            }
        }
    }
}

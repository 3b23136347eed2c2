//! What is known of an answer beyond what other servers say: probabilities, and what they depend on.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use slm_infer::decide::FieldAnswer;
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
}

/// A closed field's answer.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ExtraField {
    /// `null` where the whole answer is one value; a nested field's has dots.
    #[schema(required)]
    pub name: Option<String>,
    /// The answer: the most probable of the allowed ones.
    pub value: Value,
    /// The probability of `value`, under the condition that the answer is an allowed one.
    #[schema(minimum = 0.0, maximum = 1.0)]
    pub probability: f64,
    /// The probability of `value` less that of the second most probable answer: 0 is a tie, 1 leaves nothing to another answer.
    #[schema(minimum = 0.0, maximum = 1.0)]
    pub margin: f64,
    /// Every allowed answer with its probability, in the schema's order; they sum to 1.
    pub probabilities: Vec<ExtraProbability>,
    /// The model's own probability, before normalisation, that it says one of the allowed answers. Where it is low the model
    /// wanted to say something else, and `probability` says little.
    pub label_mass: f64,
}

/// An allowed answer with its probability.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
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
        }
    }
}

impl From<&FieldAnswer> for ExtraField {
    fn from(field: &FieldAnswer) -> ExtraField {
        let probability = |(value, p): &(Value, f64)| ExtraProbability { value: value.clone(), probability: *p };
        ExtraField {
            name: field.name.clone(),
            value: field.value.clone(),
            probability: field.probability(),
            margin: field.margin(),
            probabilities: field.probabilities.iter().map(probability).collect(),
            label_mass: field.label_mass,
        }
    }
}

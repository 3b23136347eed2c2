//! Typed questions to prompts, and scores to answers with probabilities.
//!
//! It knows contracts and log-probabilities; it does not know how either came to be.

pub mod question;
mod wording;

use std::fmt::Write as _;

use serde_json::Value;

use slm_engine::Group;
use slm_values::contract::{Contract, Field, FieldKind};

pub use question::{Question, QuestionError, expected_level};
pub use wording::describe_open;

/// The version of the wording below. A change of the words is another version, and other probabilities.
pub const WORDING: u32 = 1;

/// The answer to a closed contract: one value, or the fields of an object in the contract's order.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub fields: Vec<FieldAnswer>,
    /// The answer as the contract's own JSON: the bare value, or the object.
    pub json: Value,
}

/// The answer to one closed field.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldAnswer {
    /// The field's name, a nested one's with dots; `None` where the whole contract is one closed value.
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

/// The contract in words, for the stable part of a prompt.
#[must_use]
pub fn describe(contract: &Contract) -> String {
    let mut text = String::new();
    if let [field] = contract.fields()
        && contract.is_bare()
    {
        if let Some(description) = &field.description {
            let _ = writeln!(text, "{description}");
        }
        let _ = writeln!(text, "Answer with exactly one of the following, and nothing else:");
        options(field, "", &mut text);
        return text.trim_end().to_owned();
    }
    let _ = writeln!(text, "Read the message and decide these fields:");
    for field in contract.fields() {
        let name = field.name().unwrap_or_default();
        let description = field.description.as_deref().map(|d| format!(" ({d})")).unwrap_or_default();
        match (field.kind, field.options.as_slice()) {
            (FieldKind::Boolean, _) => {
                let _ = writeln!(text, "- {name}{description}: true or false");
            }
            (FieldKind::Integer, [first, .., last]) => {
                let _ = writeln!(text, "- {name}{description}: a whole number from {} to {}", first.label, last.label);
            }
            _ => {
                let _ = writeln!(text, "- {name}{description}, one of:");
                options(field, "  ", &mut text);
            }
        }
    }
    text += "Answer with one line of the form `field: value`, and nothing else.";
    text
}

fn options(field: &Field, indent: &str, text: &mut String) {
    for option in &field.options {
        let description = option.description.as_deref().map(|d| format!(" ({d})")).unwrap_or_default();
        let _ = writeln!(text, "{indent}- {}{description}", option.label);
    }
}

/// What is scored: for every field how its answer begins and the ways in which it may go on.
#[must_use]
pub fn groups(contract: &Contract) -> Vec<Group> {
    let group = |field: &Field| match field.name() {
        None => Group { prefix: String::new(), candidates: field.options.iter().map(|o| o.label.clone()).collect() },
        Some(name) => Group {
            prefix: format!("{name}:"),
            candidates: field.options.iter().map(|o| format!(" {}", o.label)).collect(),
        },
    };
    contract.fields().iter().map(group).collect()
}

/// The answer that the candidates' log-probabilities give, one list for each of [`groups`].
#[must_use]
pub fn answer(contract: &Contract, logprobs: &[Vec<f64>]) -> Answer {
    let fields: Vec<FieldAnswer> =
        contract.fields().iter().zip(logprobs).map(|(field, logprobs)| field_answer(field, logprobs)).collect();
    let json = contract.assemble(fields.iter().map(|field| field.value.clone()));
    Answer { fields, json }
}

fn field_answer(field: &Field, logprobs: &[f64]) -> FieldAnswer {
    let values: Vec<Value> = field.options.iter().map(|option| option.value.clone()).collect();
    chosen(field.name(), &values, logprobs)
}

/// The answer to a field of these options, given the log-probability of each.
#[must_use]
pub fn chosen(name: Option<String>, options: &[Value], logprobs: &[f64]) -> FieldAnswer {
    let max = logprobs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let k = options.len() as f64;
    // Where the model gives no candidate any probability at all, nothing is known: every one is as likely.
    let weight = |logprob: f64| if max == f64::NEG_INFINITY { 1.0 } else { (logprob - max).exp() };
    let total: f64 = logprobs.iter().map(|&logprob| weight(logprob)).sum();
    let p: Vec<f64> = logprobs.iter().map(|&logprob| weight(logprob) / total).collect();
    // The first of equals wins, so that the answer does not depend on the order of a sort.
    let best = (0..p.len()).fold(0, |best, i| if p[i] > p[best] { i } else { best });
    let confidence = if p.len() < 2 { 1.0 } else { ((p[best] - 1.0 / k) / (1.0 - 1.0 / k)).clamp(0.0, 1.0) };
    FieldAnswer {
        name,
        value: options[best].clone(),
        probabilities: options.iter().cloned().zip(p).collect(),
        confidence,
        label_mass: logprobs.iter().map(|logprob| logprob.exp()).sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn contract() -> Contract {
        Contract::from_schema(json!({"type": "object", "properties": {
            "queue": {"description": "who handles it", "oneOf": [
                {"const": "billing", "description": "money"}, {"const": "other"},
            ]},
            "urgency": {"type": "integer", "minimum": 1, "maximum": 3},
            "refund": {"type": "boolean"},
        }}))
        .unwrap()
    }

    #[test]
    fn an_object_is_described_field_by_field() {
        let expected = "Read the message and decide these fields:\n\
            - queue (who handles it), one of:\n  - billing (money)\n  - other\n\
            - urgency: a whole number from 1 to 3\n\
            - refund: true or false\n\
            Answer with one line of the form `field: value`, and nothing else.";
        assert_eq!(describe(&contract()), expected);
    }

    #[test]
    fn a_bare_value_is_described_by_its_options() {
        let contract = Contract::choices("yes,no idea").unwrap();
        let expected = "Answer with exactly one of the following, and nothing else:\n- yes\n- no idea";
        assert_eq!(describe(&contract), expected);
        assert_eq!(
            groups(&contract),
            [Group { prefix: String::new(), candidates: vec!["yes".into(), "no idea".into()] }]
        );
    }

    #[test]
    fn fields_are_scored_as_lines() {
        let groups = groups(&contract());
        assert_eq!(
            groups[1],
            Group { prefix: "urgency:".into(), candidates: vec![" 1".into(), " 2".into(), " 3".into()] }
        );
    }

    #[test]
    fn probabilities_are_normalised_within_a_field() {
        let ln = f64::ln;
        let answer = answer(&contract(), &[vec![ln(0.6), ln(0.2)], vec![ln(0.1); 3], vec![f64::NEG_INFINITY; 2]]);
        assert_eq!(answer.json, json!({"queue": "billing", "urgency": 1, "refund": true}));
        let queue = &answer.fields[0];
        assert!((queue.probabilities[0].1 - 0.75).abs() < 1e-12);
        assert!((queue.confidence - 0.5).abs() < 1e-12);
        assert!((queue.label_mass - 0.8).abs() < 1e-12);
        assert_eq!(answer.fields[1].confidence, 0.0);
        assert_eq!((answer.fields[2].probabilities[0].1, answer.fields[2].label_mass), (0.5, 0.0));
    }
}

//! Typed questions to prompts, and scores to answers with probabilities.
//!
//! It knows contracts and log-probabilities; it does not know how either came to be.

mod fitted;
mod open;
pub mod question;
mod wording;

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use slm_engine::GroupScores;
use slm_fit::Abstention;
use slm_values::contract::{Contract, Field};

pub use fitted::{EarlyAnswer, Fitted, ModelFit, Row, fitted_answer};
pub use open::describe_open;
pub use question::{Question, QuestionError, expected_level};
pub use wording::{Place, WORDING, Wording, Written};

/// The answer to a closed contract: one value, or the fields of an object in the contract's order.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub fields: Vec<FieldAnswer>,
    /// The answer as the contract's own JSON: the bare value, or the object; null in the place of a value that is withheld.
    pub json: Value,
}

/// The answer to one closed field.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldAnswer {
    /// The field's name, a nested one's with dots; `None` where the whole contract is one closed value.
    pub name: Option<String>,
    /// The most probable candidate, also where it is withheld.
    pub value: Value,
    /// Every candidate with its final probability, in the contract's order; they sum to 1.
    pub probabilities: Vec<(Value, f64)>,
    /// The model's raw probability, before normalisation, that its answer is one of the candidates; `None` where whoever
    /// computed it does not tell.
    pub label_mass: Option<f64>,
    /// What the model's fit made of it; `None` where the probabilities are the model's own.
    pub fitted: Option<Fitted>,
    /// Why a cascade leaves it to a person.
    pub review: Option<Arc<str>>,
}

/// Why an answer is withheld: a person is to decide.
#[derive(Debug, Clone, PartialEq)]
pub enum Withheld {
    ByFit(Abstention),
    /// No tier of a cascade gave an answer that was taken, for these reasons.
    ForReview(Arc<str>),
}

/// A sentence.
impl fmt::Display for Withheld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Withheld::ByFit(abstention) => abstention.fmt(f),
            Withheld::ForReview(why) => f.write_str(why),
        }
    }
}

impl Answer {
    /// The answer of these fields, which are the contract's.
    #[must_use]
    pub fn of(contract: &Contract, fields: Vec<FieldAnswer>) -> Answer {
        let json = contract.assemble(fields.iter().map(|field| field.given().cloned().unwrap_or_default()));
        Answer { fields, json }
    }

    /// The most probable answer, withheld or not.
    #[must_use]
    pub fn guess(&self, contract: &Contract) -> Value {
        contract.assemble(self.fields.iter().map(|field| field.value.clone()))
    }
}

impl FieldAnswer {
    /// The answer that is given; `None` where it is withheld.
    #[must_use]
    pub fn given(&self) -> Option<&Value> {
        self.abstention().is_none().then_some(&self.value)
    }

    /// Why the answer is withheld.
    #[must_use]
    pub fn abstention(&self) -> Option<Withheld> {
        let by_fit = || self.fitted.as_ref().and_then(|fitted| fitted.abstention).map(Withheld::ByFit);
        self.review.clone().map(Withheld::ForReview).or_else(by_fit)
    }

    /// The natural logarithms of the candidates' probabilities: of a raw answer, what a fit learns from and is applied to.
    #[must_use]
    pub fn logprobs(&self) -> Vec<f64> {
        self.probabilities.iter().map(|(_, p)| p.ln()).collect()
    }

    /// The probability of the answer.
    #[must_use]
    pub fn probability(&self) -> f64 {
        self.probabilities.iter().find(|(value, _)| *value == self.value).map_or(0.0, |(_, p)| *p)
    }

    /// The probability of the most probable candidate less that of the second; that of a single one is its own.
    #[must_use]
    pub fn margin(&self) -> f64 {
        let best_two = |(best, second): (f64, f64), p: f64| if p > best { (p, best) } else { (best, second.max(p)) };
        let (best, second) = self.probabilities.iter().map(|(_, p)| *p).fold((0.0, 0.0), best_two);
        best - second
    }
}

/// The model's own answer, which the candidates' scores give, one for each of [`Wording::groups`].
#[must_use]
pub fn answer(contract: &Contract, scores: &[GroupScores]) -> Answer {
    let fields = contract.fields().iter().zip(scores).map(|(field, scores)| field_answer(field, scores));
    Answer::of(contract, fields.collect())
}

fn field_answer(field: &Field, scores: &GroupScores) -> FieldAnswer {
    chosen(field.name(), &field.values(), scores)
}

/// The answer to a field of these options, given the scores of each.
#[must_use]
pub fn chosen(name: Option<String>, options: &[Value], scores: &GroupScores) -> FieldAnswer {
    let logprobs = &scores.logprobs;
    let max = logprobs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    // Where the model gives no candidate any probability at all, nothing is known: every one is as likely.
    let weight = |logprob: f64| if max == f64::NEG_INFINITY { 1.0 } else { (logprob - max).exp() };
    let total: f64 = logprobs.iter().map(|&logprob| weight(logprob)).sum();
    let p: Vec<f64> = logprobs.iter().map(|&logprob| weight(logprob) / total).collect();
    // The first of equals wins, so that the answer does not depend on the order of a sort.
    let best = (0..p.len()).fold(0, |best, i| if p[i] > p[best] { i } else { best });
    FieldAnswer {
        name,
        value: options[best].clone(),
        probabilities: options.iter().cloned().zip(p).collect(),
        label_mass: Some(scores.mass),
        fitted: None,
        review: None,
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
    fn probabilities_are_normalised_within_a_field() {
        let ln = f64::ln;
        let scores = [vec![ln(0.6), ln(0.2)], vec![ln(0.1); 3], vec![f64::NEG_INFINITY; 2]];
        let answer = answer(&contract(), &scores.map(GroupScores::likelihood));
        assert_eq!(answer.json, json!({"queue": "billing", "urgency": 1, "refund": true}));
        let queue = &answer.fields[0];
        assert!((queue.probabilities[0].1 - 0.75).abs() < 1e-12);
        assert!((queue.probability() - 0.75).abs() < 1e-12 && (queue.margin() - 0.5).abs() < 1e-12);
        assert!((queue.label_mass.unwrap() - 0.8).abs() < 1e-12);
        assert!((answer.fields[1].probability() - 1.0 / 3.0).abs() < 1e-12 && answer.fields[1].margin() == 0.0);
        assert_eq!((answer.fields[2].probabilities[0].1, answer.fields[2].label_mass), (0.5, Some(0.0)));
    }
}

//! Kept answers as a model's fit makes them final: no model is asked again.

use super::answer::{Failed, Given, Said, Scores, Why};
use crate::contract::Contract;
use crate::decide::{Answer, FieldAnswer, ModelFit, Row, fitted_answer};

/// What was given to a text, with the probabilities of the fit, which knows the contract. A failure stays one.
#[must_use]
pub fn fitted(given: &Given, contract: &Contract, fit: &ModelFit, text: &str) -> Given {
    let Said::Closed(scores) = &given.said else { return given.clone() };
    let state = given.state.as_deref();
    if fit.fit().needs_state() && state.is_none() {
        let reason = "the fit reads hidden states, and none was kept; run with --fresh".to_owned();
        return Given { said: Said::Failed(Failed { why: Why::NoAnswer, reason }), ..given.clone() };
    }
    let answer = fitted_answer(contract, raw(scores, contract), fit, Row { text, state });
    Given { said: Said::Closed(Scores::of(&answer)), ..given.clone() }
}

/// Kept scores as the model's own answer.
fn raw(scores: &[Scores], contract: &Contract) -> Answer {
    let field = |(scores, field): (&Scores, &crate::contract::Field)| {
        let probabilities: Vec<_> = field.values().into_iter().zip(scores.probabilities.iter().copied()).collect();
        FieldAnswer {
            name: field.name(),
            value: probabilities.get(scores.best).map(|(value, _)| value.clone()).unwrap_or_default(),
            probabilities,
            label_mass: scores.label_mass,
            fitted: None,
            review: None,
        }
    };
    Answer::of(contract, scores.iter().zip(contract.fields()).map(field).collect())
}

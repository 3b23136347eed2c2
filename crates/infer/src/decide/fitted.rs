//! The one place where a fit makes the probabilities of a closed answer final, and where an answer may be withheld.

use std::sync::Arc;

use super::{Answer, FieldAnswer};
use slm_fit::{Abstention, Depth, Evidence, Fit, FitLayerError, MethodName, unread};
use slm_values::contract::{Contract, Field};

/// The fit of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelFit {
    fit: Fit,
    id: Arc<str>,
}

/// What a fit made of a field's answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// What tells the fit from every other.
    pub fit: Arc<str>,
    pub method: MethodName,
    /// The part of the layers that gave the answer; `None` where all of them did.
    pub depth: Option<Depth>,
    /// The model's own probabilities, in the contract's order; `None` where no label was read.
    pub raw: Option<Vec<f64>>,
    /// From which probability an answer with this label is accepted; `None` where every one is.
    pub threshold: Option<f64>,
    /// Why the answer is withheld: a person is to decide.
    pub abstention: Option<Abstention>,
}

/// A row, beside its scores.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// What is asked about.
    pub text: &'a str,
    /// The hidden state, where the fit reads one.
    pub state: Option<&'a [f32]>,
}

impl Fitted {
    /// The method as cards and replies call it.
    #[must_use]
    pub fn method_name(&self) -> String {
        let name = serde_json::to_value(self.method).unwrap_or_default();
        name.as_str().unwrap_or_default().to_owned()
    }
}

impl ModelFit {
    /// The fit in two layers, with what tells it from every other.
    ///
    /// # Errors
    /// The layers hold no fit that can be used.
    pub fn read(id: &str, card: &[u8], numbers: &[u8]) -> Result<ModelFit, FitLayerError> {
        Ok(ModelFit { fit: Fit::from_layers(card, numbers)?, id: id.into() })
    }

    /// A fit that was just made.
    #[must_use]
    pub fn new(id: &str, fit: Fit) -> ModelFit {
        ModelFit { fit, id: id.into() }
    }

    #[must_use]
    pub fn fit(&self) -> &Fit {
        &self.fit
    }

    /// What tells the fit from every other.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The answer to a text without any model; `None` where the fit needs one, or was made for another contract.
    #[must_use]
    pub fn of_text(&self, contract: &Contract, text: &str) -> Option<Answer> {
        if self.fit.needs_model() || !self.knows(contract) {
            return None;
        }
        let unknown = |field: &Field| {
            let options = field.values();
            let even = 1.0 / options.len() as f64;
            let value = options.first().cloned().unwrap_or_default();
            let probabilities = options.into_iter().map(|option| (option, even)).collect();
            FieldAnswer { name: field.name(), value, probabilities, label_mass: None, fitted: None, review: None }
        };
        let raw = contract.fields().iter().map(unknown).collect();
        Some(fitted_answer(contract, Answer::of(contract, raw), self, Row { text, state: None }))
    }

    /// Whether it was made for answers in this contract: the same fields with the same options.
    #[must_use]
    pub fn knows(&self, contract: &Contract) -> bool {
        let fields = contract.fields();
        let known = |field: &Field| self.fit.field(field.name().as_deref(), &field.values()).is_some();
        fields.len() == self.fit.fields.len() && fields.iter().all(known)
    }

    /// Whether an answer to a field can be withheld.
    #[must_use]
    pub fn can_withhold(&self, field: &Field) -> bool {
        self.fit.field(field.name().as_deref(), &field.values()).is_some_and(|own| !own.gate.is_open())
    }

    fn field(&self, field: &Field, raw: FieldAnswer, row: Row<'_>) -> FieldAnswer {
        let options = field.values();
        let Some(own) = self.fit.field(raw.name.as_deref(), &options) else { return raw };
        if own.method.name() == MethodName::Nothing && own.gate.is_open() {
            return raw;
        }
        let logprobs = raw.logprobs();
        let probabilities = own.probabilities(&Evidence { text: row.text, logprobs: &logprobs, state: row.state });
        let decision = own.decision(&probabilities);
        let fitted = Fitted {
            fit: self.id.clone(),
            method: own.method.name(),
            depth: None,
            raw: own.method.needs_model().then(|| raw.probabilities.iter().map(|(_, p)| *p).collect()),
            threshold: own.gate.thresholds.get(decision.best).copied(),
            abstention: decision.abstention,
        };
        FieldAnswer {
            value: options[decision.best].clone(),
            probabilities: options.into_iter().zip(probabilities).collect(),
            fitted: Some(fitted),
            ..raw
        }
    }

    /// What a part of the layers says of a field, where the fit has such a part and that is reliable enough.
    fn early_field(&self, field: &Field, row: Row<'_>) -> Option<FieldAnswer> {
        let early = self.fit.early.as_ref()?;
        let (name, options) = (field.name(), field.values());
        let own = early.field(name.as_deref(), &options)?;
        let logprobs = unread(options.len());
        let probabilities = own.probabilities(&Evidence { text: row.text, logprobs: &logprobs, state: row.state });
        let decision = own.decision(&probabilities);
        if decision.abstention.is_some() {
            return None;
        }
        let fitted = Fitted {
            fit: self.id.clone(),
            method: own.method.name(),
            depth: Some(early.depth),
            raw: None,
            threshold: own.gate.thresholds.get(decision.best).copied(),
            abstention: None,
        };
        Some(FieldAnswer {
            name,
            value: options[decision.best].clone(),
            probabilities: options.into_iter().zip(probabilities).collect(),
            label_mass: None,
            fitted: Some(fitted),
            review: None,
        })
    }
}

/// What a part of the layers answers: the fields of which it is reliable enough. The others are asked of all layers.
#[derive(Debug, Clone, PartialEq)]
pub struct EarlyAnswer(Vec<Option<FieldAnswer>>);

impl EarlyAnswer {
    /// Of a row's state after those layers; nothing is answered where the fit has no such part.
    #[must_use]
    pub fn of(contract: &Contract, fit: &ModelFit, row: Row<'_>) -> EarlyAnswer {
        EarlyAnswer(contract.fields().iter().map(|field| fit.early_field(field, row)).collect())
    }

    /// The answer, where every field has one.
    #[must_use]
    pub fn whole(&self, contract: &Contract) -> Option<Answer> {
        let fields: Option<Vec<FieldAnswer>> = self.0.iter().cloned().collect();
        fields.map(|fields| Answer::of(contract, fields))
    }

    /// The answer of all layers for the fields that have none here.
    #[must_use]
    pub fn over(self, contract: &Contract, all: Answer) -> Answer {
        let fields = self.0.into_iter().zip(all.fields).map(|(early, whole)| early.unwrap_or(whole));
        Answer::of(contract, fields.collect())
    }
}

/// The final answer, of the model's own.
#[must_use]
pub fn fitted_answer(contract: &Contract, raw: Answer, fit: &ModelFit, row: Row<'_>) -> Answer {
    let fields = contract.fields().iter().zip(raw.fields);
    Answer::of(contract, fields.map(|(field, raw)| fit.field(field, raw, row)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide;
    use proptest::prelude::*;
    use serde_json::json;
    use slm_engine::GroupScores;
    use slm_fit::{FieldFit, Gate, Method, Pool};

    fn contract() -> Contract {
        let schema = json!({"type": "object", "properties": {
            "queue": {"enum": ["a", "b", "c"]}, "refund": {"type": "boolean"}}});
        Contract::from_schema(schema).unwrap()
    }

    /// Twice the log-probabilities of `queue`, and answers of probabilities from 0.7 on; `refund` stays as it is.
    fn fit(contract: &Contract) -> ModelFit {
        let seen = vec![true; 3];
        let pool =
            Pool { name: MethodName::Temperature, seen, raw_weight: 2.0, experts: Vec::new(), biases: vec![0.0; 3] };
        let methods = [Method::Pool(Box::new(pool)), Method::Nothing];
        let gates = [Gate { thresholds: vec![0.7; 3], person: vec![2] }, Gate::default()];
        let fields = contract.fields().iter().zip(methods).zip(gates).map(|((field, method), gate)| FieldFit {
            name: field.name(),
            options: field.values(),
            method,
            gate,
        });
        let card = json!({"format": 1, "tool": "t", "date": "d", "fields": [],
            "pins": {"weights": "w", "adapters": "a", "prompt": "p", "evaluation_id": "e"}});
        ModelFit::new("id", Fit { card: serde_json::from_value(card).unwrap(), fields: fields.collect(), early: None })
    }

    fn scores(p: &[f64]) -> GroupScores {
        GroupScores::likelihood(p.iter().map(|p| p.ln()).collect())
    }

    const ROW: Row<'static> = Row { text: "t", state: None };

    #[test]
    fn a_fit_changes_its_fields_and_withholds_what_is_below_the_threshold() {
        let contract = contract();
        let fit = fit(&contract);
        let of = |queue: &[f64]| {
            fitted_answer(&contract, decide::answer(&contract, &[scores(queue), scores(&[0.4, 0.6])]), &fit, ROW)
        };
        let sure = of(&[0.6, 0.3, 0.1]);
        assert_eq!(sure.json, json!({"queue": "a", "refund": false}));
        let queue = &sure.fields[0];
        assert!((queue.probability() - 0.36 / 0.46).abs() < 1e-12);
        let fitted = queue.fitted.as_ref().unwrap();
        assert_eq!((fitted.threshold, fitted.abstention, fitted.method), (Some(0.7), None, MethodName::Temperature));
        let raw = fitted.raw.as_ref().unwrap();
        assert!(raw.iter().zip([0.6, 0.3, 0.1]).all(|(raw, p)| (raw - p).abs() < 1e-12), "{raw:?}");
        assert_eq!(sure.fields[1].fitted, None);
        let unsure = of(&[0.5, 0.4, 0.1]);
        assert_eq!((&unsure.json, &unsure.fields[0].value), (&json!({"queue": null, "refund": false}), &json!("a")));
        assert_eq!(unsure.guess(&contract), json!({"queue": "a", "refund": false}));
        let abstention = unsure.fields[0].fitted.as_ref().unwrap().abstention.unwrap();
        assert_eq!(abstention.to_string(), "probability 0.595 is below the threshold 0.700");
        let person = of(&[0.0, 0.1, 0.9]);
        assert_eq!(person.fields[0].abstention(), Some(decide::Withheld::ByFit(Abstention::AlwaysAPerson)));
    }

    #[test]
    fn a_fit_knows_its_contract_by_fields_and_options() {
        let fit = fit(&contract());
        assert!(fit.knows(&contract()));
        let withholds: Vec<bool> = contract().fields().iter().map(|field| fit.can_withhold(field)).collect();
        assert_eq!(withholds, [true, false]);
        for other in [
            json!({"enum": ["a", "b", "c"]}),
            json!({"type": "object", "properties": {"queue": {"enum": ["a", "b", "c"]}}}),
            json!({"type": "object", "properties": {"queue": {"enum": ["b", "a", "c"]}, "refund": {"type": "boolean"}}}),
        ] {
            assert!(!fit.knows(&Contract::from_schema(other.clone()).unwrap()), "{other}");
        }
    }

    proptest! {
        /// Whatever the model says, also nothing at all, final probabilities sum to 1 and the answer is the first best.
        #[test]
        fn final_probabilities_sum_to_one(queue in prop::collection::vec(prop_oneof![Just(0.0), 1e-300..1.0f64], 3)) {
            let contract = contract();
            let raw = decide::answer(&contract, &[scores(&queue), scores(&[0.5, 0.5])]);
            let answer = fitted_answer(&contract, raw.clone(), &fit(&contract), ROW);
            for field in &answer.fields {
                let sum: f64 = field.probabilities.iter().map(|(_, p)| p).sum();
                prop_assert!((sum - 1.0).abs() < 1e-9, "{sum}");
                prop_assert!(field.probabilities.iter().all(|(_, p)| *p <= field.probability()));
            }
            let own: Vec<f64> = raw.fields[0].probabilities.iter().map(|(_, p)| *p).collect();
            prop_assert_eq!(answer.fields[0].fitted.as_ref().unwrap().raw.as_ref(), Some(&own));
        }
    }
}

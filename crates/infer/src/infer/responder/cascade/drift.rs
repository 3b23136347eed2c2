//! Whether the answers that a tier gives lately are spread as those of the rows that taught its fit.

use std::collections::VecDeque;

use crate::decide::Answer;
use slm_fit::Fit;

/// The last answers of a tier.
#[derive(Debug, Default)]
pub struct Recent {
    /// Each with the probabilities of its fields, and the characters of its text.
    answers: VecDeque<(Vec<Vec<f64>>, usize)>,
    /// Since it was looked last.
    n_new: usize,
    /// What was found then.
    found: Option<String>,
}

impl Recent {
    /// Adds an answer, and says how the last `n` are spread otherwise than the rows of the fit. It is looked after each tenth of them.
    pub fn note(&mut self, n: usize, fit: &Fit, answer: &Answer, n_characters: usize) -> Option<String> {
        let probabilities = answer.fields.iter().map(|field| field.probabilities.iter().map(|(_, p)| *p).collect());
        self.answers.push_back((probabilities.collect(), n_characters));
        self.n_new += 1;
        if self.answers.len() > n {
            self.answers.pop_front();
        }
        if self.answers.len() == n && self.n_new >= n.div_ceil(10) {
            self.n_new = 0;
            self.found = self.changed(n, fit, answer);
        }
        self.found.clone()
    }

    fn changed(&self, n: usize, fit: &Fit, answer: &Answer) -> Option<String> {
        let lengths: Vec<usize> = self.answers.iter().map(|(_, length)| *length).collect();
        let mut said = Vec::new();
        for (nth, field) in answer.fields.iter().enumerate() {
            let card = fit.card.fields.iter().find(|card| card.name == field.name);
            let Some(reference) = card.and_then(|card| card.reference.as_ref()) else { continue };
            let probabilities: Vec<Vec<f64>> =
                self.answers.iter().filter_map(|(fields, _)| fields.get(nth).cloned()).collect();
            let changes = reference.changes(&probabilities, &lengths);
            for change in changes.into_iter().filter(slm_fit::drift::Change::counts) {
                let name = field.name.as_ref().map_or_else(String::new, |name| format!("`{name}`: "));
                said.push(format!("{name}{} (stability index {:.2})", change.aspect, change.stability_index));
            }
        }
        let what = said.join(", ");
        (!said.is_empty()).then(|| {
            format!("the last {n} texts are spread otherwise than those that the tier learned from ({what}), so that all go on")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::FieldAnswer;
    use serde_json::json;
    use slm_fit::card::Reference;

    /// A fit that was learned from answers of which two in three were `a`.
    fn fit() -> Fit {
        let probabilities: Vec<Vec<f64>> = (0..300).map(|n| p(n % 3 != 0)).collect();
        let reference = Reference::of(&probabilities, &vec![10; 300]);
        let field = json!({"name": "queue", "method": "nothing", "rows_by_option": [200, 100], "reference": reference});
        let card = json!({"format": 1, "tool": "t", "date": "d", "fields": [field],
            "pins": {"weights": "w", "adapters": "a", "prompt": "p", "evaluation_id": "e"}});
        Fit { card: serde_json::from_value(card).unwrap(), early: None, fields: Vec::new() }
    }

    fn p(is_first: bool) -> Vec<f64> {
        if is_first { vec![0.8, 0.2] } else { vec![0.2, 0.8] }
    }

    fn answer(is_first: bool) -> Answer {
        let probabilities = [json!("a"), json!("b")].into_iter().zip(p(is_first)).collect();
        let value = json!(if is_first { "a" } else { "b" });
        let name = Some("queue".to_owned());
        let field = FieldAnswer { name, value, probabilities, label_mass: None, fitted: None, review: None };
        Answer { fields: vec![field], json: json!({}) }
    }

    #[test]
    fn other_shares_of_labels_are_told_once_there_are_enough_and_forgotten_when_they_pass() {
        let (fit, mut recent) = (fit(), Recent::default());
        let mut note = |is_first: bool| recent.note(100, &fit, &answer(is_first), 10);
        for n in 0..200 {
            assert_eq!(note(n % 3 != 0), None, "{n}");
        }
        let told: Vec<bool> = (0..100).map(|_| note(false).is_some()).collect();
        assert!(!told[9] && told[99], "{told:?}");
        let why = note(false).unwrap();
        assert!(
            why.starts_with("the last 100 texts are spread otherwise") && why.contains("`queue`: shares of labels"),
            "{why}"
        );
        assert_eq!((0..200).map(|n| note(n % 3 != 0)).last(), Some(None));
    }
}

//! Closed answers by label, how sure they are, and how many are left to a person.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::{Model, Seconds, Times, kept, times};
use slm_infer::decide::FieldAnswer;

/// Labels that one server counts apart: anybody can make up contracts, and each label would be remembered forever.
const MAX_LABELS: usize = 2000;
/// Under which the rest is counted.
const REST: &str = "(other)";
/// The characters of a label that are told.
const MAX_CHARS: usize = 80;
const SHARES: Seconds = Seconds(&[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0]);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    model: String,
    field: String,
    label: String,
}

#[derive(Debug)]
pub(super) struct Answers {
    given: Family<Answered, Counter>,
    abstained: Family<Model, Counter>,
    probabilities: Times<Model>,
    known: Mutex<HashSet<Answered>>,
}

impl Answers {
    pub fn new(to: &mut Registry) -> Answers {
        let given = "Closed answers by field and label; those left to a person count under their best guess";
        let abstained = "Closed answers that a fit left to a person";
        let probabilities = "Probabilities of closed answers, fitted where the model has a fit";
        Answers {
            given: kept(to, "answers", given, Family::default()),
            abstained: kept(to, "answers_abstained", abstained, Family::default()),
            probabilities: kept(to, "answer_probability", probabilities, times(SHARES)),
            known: Mutex::default(),
        }
    }

    /// One more answer to a field of a model's.
    pub fn count(&self, model: &str, field: &FieldAnswer) {
        let label = field.value.as_str().map_or_else(|| field.value.to_string(), str::to_owned);
        let own = |text: &str| text.chars().take(MAX_CHARS).collect::<String>();
        let answered = Answered {
            model: model.to_owned(),
            field: own(field.name.as_deref().unwrap_or_default()),
            label: own(&label),
        };
        self.given.get_or_create(&self.bounded(answered)).inc();
        self.probabilities.get_or_create(&Model::of(model)).observe(field.probability());
        let abstained = self.abstained.get_or_create(&Model::of(model));
        if field.abstention().is_some() {
            abstained.inc();
        }
    }

    fn bounded(&self, answered: Answered) -> Answered {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(&answered) {
            return answered;
        }
        if known.len() >= MAX_LABELS {
            return Answered { field: REST.to_owned(), label: REST.to_owned(), ..answered };
        }
        known.insert(answered.clone());
        answered
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Build, Metrics, Now};
    use super::{MAX_LABELS, REST};
    use serde_json::json;
    use slm_engine::GroupScores;
    use slm_infer::decide::chosen;

    #[test]
    fn labels_are_counted_apart_until_there_are_too_many() {
        let metrics = Metrics::new(Build { version: "1", backend: "cpu" });
        let scores = GroupScores::likelihood(vec![0.75_f64.ln(), 0.25_f64.ln()]);
        let count =
            |label: &str| metrics.decided("m", &chosen(Some("f".to_owned()), &[json!(label), json!("b")], &scores));
        (0..MAX_LABELS + 3).for_each(|n| count(&n.to_string()));
        count("0");
        let (_, text) = metrics.render(&Now::default(), "");
        let rest = format!("slm_answers_total{{model=\"m\",field=\"{REST}\",label=\"{REST}\"}} 3");
        for line in [
            "slm_answers_total{model=\"m\",field=\"f\",label=\"0\"} 2",
            "slm_answers_total{model=\"m\",field=\"f\",label=\"1\"} 1",
            "slm_answers_abstained_total{model=\"m\"} 0",
            "slm_answer_probability_bucket{le=\"0.7\",model=\"m\"} 0",
            &rest,
        ] {
            assert!(text.lines().any(|own| own == line), "{line} is not in {text}");
        }
    }
}

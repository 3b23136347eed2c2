//! Whether an answer is accepted: thresholds by label, and labels that always go to a person.

use std::fmt;

use crate::evidence::best;

/// What must hold for an answer to be accepted.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Gate {
    /// By option, the probability from which an answer with it is accepted; empty where all are.
    pub thresholds: Vec<f64>,
    /// The options that always go to a person, ascending.
    pub person: Vec<usize>,
}

/// The best option, and whether it is accepted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decision {
    pub best: usize,
    /// Why it is not.
    pub abstention: Option<Abstention>,
}

/// Why an answer is not accepted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Abstention {
    /// Its probability is below its threshold; a threshold above 1 accepts nothing.
    Below { probability: f64, threshold: f64 },
    /// Answers with this label always go to a person.
    AlwaysAPerson,
}

impl fmt::Display for Abstention {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Abstention::Below { probability, threshold } if *threshold > 1.0 => {
                write!(
                    out,
                    "no answer with this label was reliable enough to be accepted (probability {probability:.3})"
                )
            }
            Abstention::Below { probability, threshold } => {
                write!(out, "probability {probability:.3} is below the threshold {threshold:.3}")
            }
            Abstention::AlwaysAPerson => write!(out, "answers with this label always go to a person"),
        }
    }
}

impl Gate {
    /// Whether it lets everything through.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.thresholds.is_empty() && self.person.is_empty()
    }

    /// What becomes of an answer with these probabilities.
    #[must_use]
    pub fn decision(&self, probabilities: &[f64]) -> Decision {
        let best = best(probabilities);
        if self.person.binary_search(&best).is_ok() {
            return Decision { best, abstention: Some(Abstention::AlwaysAPerson) };
        }
        let probability = probabilities.get(best).copied().unwrap_or_default();
        let threshold = self.thresholds.get(best).copied().unwrap_or_default();
        let is_below = probability < threshold;
        Decision { best, abstention: is_below.then_some(Abstention::Below { probability, threshold }) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Abstention, Gate};

    #[test]
    fn an_answer_is_accepted_from_its_own_threshold_on() {
        let gate = Gate { thresholds: vec![0.5, 0.9, 1.5], person: vec![2] };
        assert_eq!(gate.decision(&[0.5, 0.4, 0.1]).abstention, None);
        let below = gate.decision(&[0.1, 0.8, 0.1]);
        assert_eq!((below.best, below.abstention), (1, Some(Abstention::Below { probability: 0.8, threshold: 0.9 })));
        assert_eq!(
            below.abstention.map(|why| why.to_string()).as_deref(),
            Some("probability 0.800 is below the threshold 0.900")
        );
        assert_eq!(gate.decision(&[0.1, 0.2, 0.7]).abstention, Some(Abstention::AlwaysAPerson));
        assert!(Gate::default().is_open() && Gate::default().decision(&[0.3, 0.3, 0.4]).abstention.is_none());
    }
}

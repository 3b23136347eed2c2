//! The ways from what is known of a row to its final probabilities.
//!
//! A pool is a product of experts (Hinton, Products of experts, ICANN 1999): the log-probabilities of the model and of regressions
//! on other evidence, each times its weight, and a bias for each label. With the model alone and one bias it is an affine map,
//! without biases a temperature. It is learned of rows that its experts had not seen (Wolpert, Stacked generalization, Neural
//! Networks 5, 1992).

use std::fmt;

use crate::evidence::{Evidence, normalised, softmax};
use crate::expert::Expert;

/// The names of methods, by what they read and learn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MethodName {
    /// The model's own probabilities.
    Nothing,
    /// Each label's mean log-probability over texts is subtracted.
    Centring,
    /// All log-probabilities times one number.
    Temperature,
    /// A temperature and a bias for each label.
    Affine,
    /// A regression on all log-probabilities, beside them.
    Logprobs,
    /// The same, and a regression on words.
    Words,
    /// The same, and a regression on the hidden state.
    State,
    /// One regression on log-probabilities, words and, where there are any, hidden states together.
    Joint,
    /// A regression on words without any model.
    WordsAlone,
}

impl fmt::Display for MethodName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            MethodName::Nothing => "nothing",
            MethodName::Centring => "centring",
            MethodName::Temperature => "temperature",
            MethodName::Affine => "affine",
            MethodName::Logprobs => "log-probabilities",
            MethodName::Words => "words",
            MethodName::State => "state",
            MethodName::Joint => "joint",
            MethodName::WordsAlone => "words alone",
        })
    }
}

/// How a field's probabilities come about.
#[derive(Debug, Clone, PartialEq)]
pub enum Method {
    /// As the model has them.
    Nothing,
    /// Log-probabilities less a number for each option.
    Centring {
        shift: Vec<f64>,
    },
    Pool(Box<Pool>),
}

/// Log-probabilities from several sides, weighed and shifted.
#[derive(Debug, Clone, PartialEq)]
pub struct Pool {
    pub name: MethodName,
    /// By option, whether there were rows of it to learn from; one without keeps the model's own probability.
    pub seen: Vec<bool>,
    /// The weight of the model's own log-probabilities.
    pub raw_weight: f64,
    /// Each with its weight.
    pub experts: Vec<(f64, Expert)>,
    /// By seen label.
    pub biases: Vec<f64>,
}

impl Method {
    #[must_use]
    pub fn name(&self) -> MethodName {
        match self {
            Method::Nothing => MethodName::Nothing,
            Method::Centring { .. } => MethodName::Centring,
            Method::Pool(pool) => pool.name,
        }
    }

    /// Whether it reads what a model says; without that, no model is asked.
    #[must_use]
    pub fn needs_model(&self) -> bool {
        self.name() != MethodName::WordsAlone
    }

    /// Whether it reads hidden states.
    #[must_use]
    pub fn needs_state(&self) -> bool {
        let Method::Pool(pool) = self else { return false };
        pool.experts.iter().any(|(_, expert)| expert.blocks.iter().any(crate::expert::Block::is_state))
    }

    /// Final probabilities in the contract's order; they sum to 1.
    #[must_use]
    pub fn probabilities(&self, evidence: &Evidence<'_>) -> Vec<f64> {
        let raw = normalised(evidence.logprobs);
        match self {
            Method::Nothing => softmax(&raw),
            Method::Centring { shift } => {
                softmax(&raw.iter().zip(shift).map(|(raw, shift)| raw - shift).collect::<Vec<_>>())
            }
            Method::Pool(pool) => pool.probabilities(evidence, &raw),
        }
    }
}

impl Pool {
    fn probabilities(&self, evidence: &Evidence<'_>, raw: &[f64]) -> Vec<f64> {
        let mut scores: Vec<f64> = seen_only(raw, &self.seen);
        scores.iter_mut().zip(&self.biases).for_each(|(score, bias)| *score = self.raw_weight * *score + bias);
        for (weight, expert) in &self.experts {
            let own = expert.log_probabilities(evidence, raw);
            scores.iter_mut().zip(own).for_each(|(score, own)| *score += weight * own);
        }
        match self.name {
            // Of labels without rows nothing is known here.
            MethodName::WordsAlone => among_all(&softmax(&scores), &self.seen),
            _ => with_unseen(&softmax(&scores), raw, &self.seen),
        }
    }
}

/// Probabilities of seen labels as those of all, with 0 for the others.
pub(crate) fn among_all(p: &[f64], seen: &[bool]) -> Vec<f64> {
    let mut p = p.iter();
    seen.iter().map(|&seen| if seen { p.next().copied().unwrap_or_default() } else { 0.0 }).collect()
}

/// The log-probabilities of seen labels among each other.
pub(crate) fn seen_only(raw: &[f64], seen: &[bool]) -> Vec<f64> {
    let mut out: Vec<f64> = raw.iter().zip(seen).filter(|(_, seen)| **seen).map(|(raw, _)| *raw).collect();
    crate::evidence::log_softmax(&mut out);
    out
}

/// Labels without rows keep the model's own probabilities; the seen ones share what is left as `fitted` says.
pub(crate) fn with_unseen(fitted: &[f64], raw: &[f64], seen: &[bool]) -> Vec<f64> {
    if seen.iter().all(|seen| *seen) {
        return fitted.to_vec();
    }
    let own = softmax(raw);
    let unseen: f64 = own.iter().zip(seen).filter(|(_, seen)| !**seen).map(|(p, _)| *p).sum();
    let mut fitted = fitted.iter();
    let part = |(p, seen): (&f64, &bool)| match seen {
        true => fitted.next().copied().unwrap_or_default() * (1.0 - unseen),
        false => *p,
    };
    own.iter().zip(seen).map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::{Method, MethodName, Pool};
    use crate::evidence::Evidence;

    #[test]
    fn without_a_model_a_label_without_rows_has_no_probability() {
        let pool = Pool {
            name: MethodName::WordsAlone,
            seen: vec![true, false, true],
            raw_weight: 0.0,
            experts: vec![],
            biases: vec![1.0, -1.0],
        };
        let method = Method::Pool(Box::new(pool));
        let of = |logprobs: &[f64]| method.probabilities(&Evidence { text: "", logprobs, state: None });
        let p = of(&[-1.0, -0.1, -3.0]);
        assert!(p[1] == 0.0 && p[0] > p[2] && (p.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{p:?}");
        assert_eq!((p, method.needs_model()), (of(&[-5.0, -9.0, -0.1]), false));
    }

    #[test]
    fn a_label_without_rows_keeps_its_probability() {
        let pool = Pool {
            name: MethodName::Affine,
            seen: vec![true, false, true],
            raw_weight: 2.0,
            experts: vec![],
            biases: vec![1.0, -1.0],
        };
        let logprobs = [0.2_f64, 0.5, 0.3].map(f64::ln);
        let evidence = Evidence { text: "", logprobs: &logprobs, state: None };
        let p = Method::Pool(Box::new(pool)).probabilities(&evidence);
        assert!((p[1] - 0.5).abs() < 1e-12 && (p.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{p:?}");
        assert!(p[0] > p[2], "{p:?}");
    }
}

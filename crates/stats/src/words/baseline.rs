//! What needs no language model: the bag of words, cross-validated on the rows that a model is judged by, and the majority.

use super::folds::folds;
use super::terms::Terms;
use super::vectorizer::Vectorizer;
use crate::linear::{FitError, Linear, Settings};
use crate::number::Count;

/// A bag of words as a subject of an evaluation.
#[derive(Debug, Clone, PartialEq)]
pub struct Baseline {
    pub terms: Vec<Terms>,
    pub settings: Settings,
    pub n_folds: usize,
    /// The same seed parts the rows in the same way.
    pub seed: u64,
}

impl Default for Baseline {
    /// Words, pieces of 2 to 4 characters and `c = 30`, chosen on Banking77 (5 and 10 rows a label) and SST-2 (100 and 200): on
    /// intents words alone lose four points of accuracy or more, on film reviews pieces alone one or two; pairs of words gain nothing on
    /// intents. The search ends where scikit-learn's does by default.
    fn default() -> Self {
        Baseline {
            terms: vec![Terms::Words { longest: 1 }, Terms::Pieces { shortest: 2, longest: 4 }],
            settings: Settings { c: 30.0, tolerance: 1e-4, ..Settings::default() },
            n_folds: 5,
            seed: 0,
        }
    }
}

/// Texts' terms and what they say of labels.
#[derive(Debug, Clone, PartialEq)]
pub struct BagOfWords {
    vectorizer: Vectorizer,
    model: Linear,
}

impl BagOfWords {
    /// The probabilities of a text's labels.
    #[must_use]
    pub fn probabilities(&self, text: &str) -> Vec<f64> {
        self.model.probabilities(self.vectorizer.row(text))
    }
}

impl Baseline {
    /// Learns from all rows.
    ///
    /// # Errors
    ///
    /// [`FitError`], see [`Linear::fit`].
    pub fn fit(&self, texts: &[&str], labels: &[usize], n_classes: usize) -> Result<BagOfWords, FitError> {
        let vectorizer = Vectorizer::learn(&self.terms, texts);
        let model = Linear::fit(&vectorizer.rows(texts), labels, n_classes, &self.settings)?;
        Ok(BagOfWords { vectorizer, model })
    }

    /// For each row the probabilities of its labels by a model of the other parts' rows. A label that has no row there has
    /// probability 0. With fewer rows than parts there are as many parts as rows.
    ///
    /// # Errors
    ///
    /// [`FitError`], as where the rows outside a part have one label only.
    pub fn out_of_fold(&self, texts: &[&str], labels: &[usize], n_classes: usize) -> Result<Vec<Vec<f64>>, FitError> {
        if texts.len() != labels.len() {
            return Err(FitError::Lengths { rows: texts.len(), labels: labels.len() });
        }
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        let n_folds = self.n_folds.max(2).min(texts.len());
        let fold_of = folds(labels, n_folds, self.seed);
        let mut probabilities = vec![Vec::new(); texts.len()];
        for fold in 0..n_folds {
            let others = || (0..texts.len()).filter(|&row| fold_of[row] != fold);
            let other_texts: Vec<&str> = others().map(|row| texts[row]).collect();
            let other_labels: Vec<usize> = others().map(|row| labels[row]).collect();
            let model = self.fit(&other_texts, &other_labels, n_classes)?;
            for row in (0..texts.len()).filter(|&row| fold_of[row] == fold) {
                probabilities[row] = model.probabilities(texts[row]);
            }
        }
        Ok(probabilities)
    }
}

/// The shares of the labels, which are the probabilities that know nothing of a row; the highest is the majority's accuracy on
/// these very rows. Empty for no classes; all 0 for no rows.
///
/// # Panics
///
/// If a label is not below `n_classes`.
#[must_use]
pub fn majority(labels: &[usize], n_classes: usize) -> Vec<f64> {
    let mut counts = vec![0_usize; n_classes];
    labels.iter().for_each(|&label| counts[label] += 1);
    counts.into_iter().map(|count| count.float() / labels.len().max(1).float()).collect()
}

#[cfg(test)]
mod tests {
    use super::{Baseline, majority};
    use crate::linear::FitError;

    const TEXTS: [&str; 8] = [
        "my card was stolen",
        "someone took my card",
        "the card got lost",
        "i lost the card",
        "the top up failed",
        "top up was declined",
        "why did my top up fail",
        "a failed top up",
    ];
    const LABELS: [usize; 8] = [0, 0, 0, 0, 1, 1, 1, 1];

    #[test]
    fn words_tell_labels_apart_in_rows_that_were_not_seen() {
        let found = Baseline::default().out_of_fold(&TEXTS, &LABELS, 3).expect("it fits");
        for (probabilities, label) in found.iter().zip(LABELS) {
            assert!(probabilities[label] > 0.5 && probabilities[2] == 0.0, "{found:?}");
            assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }
        assert_eq!(Baseline::default().out_of_fold(&TEXTS, &LABELS, 3), Ok(found));
    }

    #[test]
    fn a_label_of_one_row_is_never_learned_for_it() {
        let mut labels = LABELS;
        labels[0] = 2;
        let found = Baseline::default().out_of_fold(&TEXTS, &labels, 3).expect("it fits");
        assert!(found[0][2] == 0.0 && found.iter().any(|p| p[2] > 0.0), "{found:?}");
    }

    #[test]
    fn what_cannot_be_learned_is_an_error() {
        let fit = |labels: &[usize]| Baseline::default().out_of_fold(&TEXTS, labels, 2);
        assert_eq!(fit(&[0; 8]), Err(FitError::TooFewClasses { found: 1 }));
        assert_eq!(fit(&[0; 7]), Err(FitError::Lengths { rows: 8, labels: 7 }));
        assert_eq!(Baseline::default().out_of_fold(&["a"], &[0], 2), Err(FitError::TooFewClasses { found: 0 }));
        assert_eq!(Baseline::default().out_of_fold(&[], &[], 2), Ok(vec![]));
    }

    #[test]
    fn the_majority_knows_the_shares() {
        assert_eq!(majority(&[0, 2, 2, 2], 3), [0.25, 0.0, 0.75]);
        assert_eq!(majority(&[], 2), [0.0, 0.0]);
    }
}

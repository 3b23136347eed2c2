//! Rows with several labels or none (tags): precision, recall and F1 by tag and by row, whole sets right, Hamming loss.
//!
//! A failed row misses all its tags and has no set right; it stays in every denominator.

use std::collections::BTreeSet;

use crate::classification::Class;
use crate::intervals::Proportion;
use crate::number::{Count, mean, ratio};

/// One row: the tags that were expected and those that were answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tagged<'a> {
    pub truth: &'a BTreeSet<usize>,
    /// `None` where the row failed.
    pub answer: Option<&'a BTreeSet<usize>>,
}

impl Tagged<'_> {
    /// Whether the answer is just the expected set.
    #[must_use]
    pub fn is_right(&self) -> bool {
        self.answer == Some(self.truth)
    }

    fn n_common(&self) -> u64 {
        self.answer.map_or(0, |answer| answer.intersection(self.truth).count() as u64)
    }

    /// A part of the row, where it is 1 if there is nothing to find and nothing was: scikit-learn's `zero_division=1`, with
    /// which a row without tags that was answered with none is right.
    fn share(&self, part: u64, whole: usize) -> f64 {
        match self.answer {
            None => 0.0,
            Some(_) => ratio(part, whole as u64).unwrap_or(1.0),
        }
    }

    /// The F1 of the row's own tags: `2 common / (expected + answered)`; 1 where both are empty, 0 where the row failed.
    #[must_use]
    pub fn f1(&self) -> f64 {
        self.share(2 * self.n_common(), self.truth.len() + self.n_answered())
    }

    /// The part of the row's answered tags that was expected; 1 for none.
    #[must_use]
    pub fn precision(&self) -> f64 {
        self.share(self.n_common(), self.n_answered())
    }

    /// The part of the row's expected tags that was answered; 1 for none.
    #[must_use]
    pub fn recall(&self) -> f64 {
        self.share(self.n_common(), self.truth.len())
    }

    fn n_answered(&self) -> usize {
        self.answer.map_or(0, BTreeSet::len)
    }

    /// Tags that are wrong in it, of all: those missed and those too many; all where the row failed.
    fn n_wrong(&self, n_tags: usize) -> u64 {
        self.answer.map_or(n_tags as u64, |answer| answer.symmetric_difference(self.truth).count() as u64)
    }
}

/// All figures of rows over `n_tags` tags. Means over tags are of those that occur in the truth or in the answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Multilabel {
    /// By tag; [`Class::precision`] and its like are each tag's.
    pub tags: Vec<Class>,
    /// Rows whose set is just the expected one, of all: scikit-learn's `accuracy_score` of sets.
    pub subset_accuracy: Proportion,
    /// The mean over rows of [`Tagged::f1`]: `f1_score(average="samples", zero_division=1)`. `None` for no rows.
    pub sample_f1: Option<f64>,
    /// The mean over rows of [`Tagged::precision`].
    pub sample_precision: Option<f64>,
    /// The mean over rows of [`Tagged::recall`].
    pub sample_recall: Option<f64>,
    /// The part of all tags of all rows that is wrong, 0 the best (`hamming_loss`); every tag of a failed row is. `None` for no
    /// rows or no tags.
    pub hamming_loss: Option<f64>,
}

impl Multilabel {
    /// # Panics
    ///
    /// If a tag is not below `n_tags`.
    #[must_use]
    pub fn new(n_tags: usize, rows: &[Tagged<'_>]) -> Self {
        let mut tags = vec![Class::default(); n_tags];
        let mut n_wrong = 0;
        for row in rows {
            for &tag in row.truth {
                tags[tag].support += 1;
                tags[tag].true_positives += u64::from(row.answer.is_some_and(|answer| answer.contains(&tag)));
            }
            for &tag in row.answer.into_iter().flatten() {
                tags[tag].answered += 1;
            }
            n_wrong += row.n_wrong(n_tags);
        }
        Multilabel {
            tags,
            subset_accuracy: Proportion::of(rows.iter().map(Tagged::is_right)),
            sample_f1: mean(rows.iter().map(Tagged::f1)),
            sample_precision: mean(rows.iter().map(Tagged::precision)),
            sample_recall: mean(rows.iter().map(Tagged::recall)),
            hamming_loss: ratio(n_wrong, (rows.len() * n_tags) as u64),
        }
    }

    /// The mean F1 of the tags that occur. `None` where none does.
    #[must_use]
    pub fn macro_f1(&self) -> Option<f64> {
        mean(self.tags.iter().filter(|tag| tag.is_present()).map(|tag| tag.f1()))
    }

    /// The F1 of all tags of all rows together: `2 tp / (expected + answered)`. `None` where no tag occurs.
    #[must_use]
    pub fn micro_f1(&self) -> Option<f64> {
        let all = self.all();
        ratio(2 * all.true_positives, all.answered + all.support)
    }

    /// The mean F1 of the tags, weighted by the rows that expect each. `None` where no row expects a tag.
    #[must_use]
    pub fn weighted_f1(&self) -> Option<f64> {
        let n = self.all().support;
        let sum: f64 = self.tags.iter().map(|tag| tag.support.float() * tag.f1()).sum();
        (n > 0).then(|| sum / n.float())
    }

    /// The counts of all tags together: its precision and recall are the micro ones.
    #[must_use]
    pub fn all(&self) -> Class {
        self.tags.iter().fold(Class::default(), |sum, tag| Class {
            true_positives: sum.true_positives + tag.true_positives,
            answered: sum.answered + tag.answered,
            support: sum.support + tag.support,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Multilabel, Tagged};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_failed_row_is_wrong_even_where_nothing_was_expected() {
        let (none, one) = (BTreeSet::new(), BTreeSet::from([1]));
        let rows = [
            Tagged { truth: &none, answer: None },
            Tagged { truth: &none, answer: Some(&none) },
            Tagged { truth: &one, answer: Some(&one) },
            Tagged { truth: &one, answer: None },
        ];
        let found = Multilabel::new(2, &rows);
        assert_eq!((found.subset_accuracy.value(), found.sample_f1), (Some(0.5), Some(0.5)));
        assert_eq!(found.hamming_loss, Some(0.5));
        assert_eq!((found.tags[1].recall(), found.tags[1].precision()), (0.5, 1.0));
        assert_eq!(Multilabel::new(2, &[]).hamming_loss, None);
    }

    proptest! {
        #[test]
        fn rates_are_rates(rows in prop::collection::vec(
            (prop::collection::btree_set(0..5_usize, 0..4), prop::option::of(prop::collection::btree_set(0..5_usize, 0..4))), 1..30,
        )) {
            let tagged: Vec<Tagged> = rows.iter().map(|(truth, answer)| Tagged { truth, answer: answer.as_ref() }).collect();
            let found = Multilabel::new(5, &tagged);
            let rates = [found.macro_f1(), found.micro_f1(), found.weighted_f1(), found.sample_f1, found.hamming_loss];
            prop_assert!(rates.iter().all(|rate| rate.is_none_or(|rate| (0.0..=1.0 + 1e-12).contains(&rate))), "{:?}", rates);
            prop_assert!(found.sample_f1 >= found.subset_accuracy.value());
        }
    }
}

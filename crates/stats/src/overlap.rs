//! How much of a reference's words a text has: ROUGE, as the `rouge-score` package computes it without its stemmer.

use std::collections::HashMap;
use std::hash::Hash;

use crate::number::ratio;

/// What a word is. Words are in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Words {
    /// Runs of `a-z` and `0-9`, as `rouge-score`: comparable with published figures of English texts, and wrong for others,
    /// because `über` becomes `ber` and Greek nothing.
    #[default]
    Rouge,
    /// Runs of letters and digits of any script.
    Unicode,
}

impl Words {
    fn of(self, text: &str) -> Vec<String> {
        let text = text.to_lowercase();
        let is_part = |c: char| match self {
            Words::Rouge => c.is_ascii_lowercase() || c.is_ascii_digit(),
            Words::Unicode => c.is_alphanumeric(),
        };
        text.split(|c| !is_part(c)).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }
}

/// The overlap of a text with a reference; all 0 where either has no words.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Overlap {
    /// The part of the text that is in the reference.
    pub precision: f64,
    /// The part of the reference that is in the text.
    pub recall: f64,
    /// Their harmonic mean.
    pub f1: f64,
}

impl Overlap {
    fn new(n_common: usize, n_reference: usize, n_text: usize) -> Self {
        let part = |whole: usize| ratio(n_common as u64, whole as u64).unwrap_or(0.0);
        let (precision, recall) = (part(n_text), part(n_reference));
        let sum = precision + recall;
        Overlap { precision, recall, f1: if sum > 0.0 { 2.0 * precision * recall / sum } else { 0.0 } }
    }
}

/// ROUGE-L: the longest run of words that both have in this order, with gaps. Lin, ROUGE: a package for automatic evaluation of
/// summaries (2004), section 3.1, with the plain harmonic mean. A summary of several sentences is one run.
#[must_use]
pub fn rouge_l(reference: &str, text: &str, words: Words) -> Overlap {
    let (reference, text) = (words.of(reference), words.of(text));
    Overlap::new(n_common_in_order(&reference, &text), reference.len(), text.len())
}

/// ROUGE-N: runs of `n` words that both have, each as often as the one with fewer has it (the same, section 2).
#[must_use]
pub fn rouge_n(reference: &str, text: &str, n: usize, words: Words) -> Overlap {
    let (reference, text) = (words.of(reference), words.of(text));
    let (reference, text): (Vec<_>, Vec<_>) = (reference.windows(n.max(1)).collect(), text.windows(n.max(1)).collect());
    let (of_reference, of_text) = (counts(&reference), counts(&text));
    let n_common = of_reference.iter().map(|(run, n)| of_text.get(run).map_or(0, |m| *n.min(m))).sum();
    Overlap::new(n_common, reference.len(), text.len())
}

/// Of several references the overlap with the highest F1, the first of equals (`score_multi`). No overlap for no references.
pub fn best(overlaps: impl IntoIterator<Item = Overlap>) -> Overlap {
    overlaps.into_iter().fold(Overlap::default(), |best, one| if one.f1 > best.f1 { one } else { best })
}

fn counts<T: Hash + Eq>(items: &[T]) -> HashMap<&T, usize> {
    let mut counts = HashMap::new();
    items.iter().for_each(|item| *counts.entry(item).or_default() += 1);
    counts
}

/// The length of the longest common subsequence.
fn n_common_in_order(a: &[String], b: &[String]) -> usize {
    // lengths[j] is that of the words of `a` so far with the first j of `b`.
    let mut lengths = vec![0; b.len() + 1];
    for word in a {
        let mut diagonal = 0;
        for (j, other) in b.iter().enumerate() {
            let above = lengths[j + 1];
            lengths[j + 1] = if word == other { diagonal + 1 } else { above.max(lengths[j]) };
            diagonal = above;
        }
    }
    lengths[b.len()]
}

#[cfg(test)]
mod tests {
    use super::{Overlap, Words, best, rouge_l, rouge_n};
    use proptest::prelude::*;

    #[test]
    fn letters_of_any_script_are_letters_where_one_says_so() {
        let (reference, text) = ("Über Ελλάδα", "ÜBER ελλάδα");
        assert!(rouge_l(reference, text, Words::Unicode).f1 == 1.0);
        assert!(rouge_l("Ελλάδα", "Ελλάδα", Words::Rouge) == Overlap::default());
    }

    #[test]
    fn the_best_reference_counts() {
        let one = |reference| rouge_n(reference, "a b c", 2, Words::Rouge);
        assert!(best(["x y", "a b", "a b c"].map(one)).f1 == 1.0);
        assert_eq!(best([]), Overlap::default());
    }

    proptest! {
        #[test]
        fn turning_round_swaps_precision_and_recall(a in "[abc ]{0,20}", b in "[abc ]{0,20}") {
            let (one, other) = (rouge_l(&a, &b, Words::Rouge), rouge_l(&b, &a, Words::Rouge));
            prop_assert_eq!((one.precision, one.recall), (other.recall, other.precision));
            prop_assert!((0.0..=1.0).contains(&one.f1));
            // Words in order are words in any order.
            prop_assert!(one.recall <= rouge_n(&a, &b, 1, Words::Rouge).recall);
        }
    }
}

//! Which of some texts are nearest to another: those that share the rarest terms with it.

use std::collections::HashMap;

use super::Terms;
use super::vectorizer::Vectorizer;

/// Texts that are searched, each as a row of features of length 1; how near two are is the product of their rows.
#[derive(Debug, Clone)]
pub struct Nearest {
    vectorizer: Vectorizer,
    /// For every feature the texts that have it, with its weight there.
    texts_with: HashMap<u32, Vec<(usize, f64)>>,
    n_texts: usize,
}

impl Nearest {
    /// Learns the terms of the texts and puts them in order.
    #[must_use]
    pub fn of(terms: &[Terms], texts: &[&str]) -> Self {
        let vectorizer = Vectorizer::learn(terms, texts);
        let mut texts_with: HashMap<u32, Vec<(usize, f64)>> = HashMap::new();
        for (number, text) in texts.iter().enumerate() {
            for (column, weight) in vectorizer.row(text) {
                texts_with.entry(column).or_default().push((number, weight));
            }
        }
        Nearest { vectorizer, texts_with, n_texts: texts.len() }
    }

    /// The numbers of the `k` texts nearest to this one, the nearest first, and of equally near ones the first. Those that
    /// `counts` refuses are passed over.
    #[must_use]
    pub fn to(&self, text: &str, k: usize, counts: impl Fn(usize) -> bool) -> Vec<usize> {
        let mut products = vec![0.0_f64; self.n_texts];
        for (column, weight) in self.vectorizer.row(text) {
            for (number, other) in self.texts_with.get(&column).map_or(&[][..], Vec::as_slice) {
                products[*number] += weight * other;
            }
        }
        let mut numbers: Vec<usize> = (0..self.n_texts).filter(|&number| counts(number)).collect();
        numbers.sort_by(|&one, &other| products[other].total_cmp(&products[one]).then(one.cmp(&other)));
        numbers.truncate(k);
        numbers
    }
}

#[cfg(test)]
mod tests {
    use super::Nearest;
    use crate::words::Terms;

    const TEXTS: [&str; 4] = ["my card was stolen", "the top up failed", "someone stole my card", "the top up failed"];

    #[test]
    fn the_texts_with_the_same_terms_come_first() {
        let nearest = Nearest::of(&[Terms::Words { longest: 1 }, Terms::Pieces { shortest: 2, longest: 4 }], &TEXTS);
        assert_eq!(nearest.to("a card was stolen", 2, |_| true), [0, 2]);
        assert_eq!(nearest.to("why did my top up fail", 9, |_| true), [1, 3, 0, 2]);
        assert_eq!(nearest.to("the top up failed", 1, |number| TEXTS[number] != "the top up failed"), [2]);
        // Nothing in common: the first ones.
        assert_eq!(nearest.to("", 3, |_| true), [0, 1, 2]);
        assert!(nearest.to("card", 0, |_| true).is_empty());
        assert!(Nearest::of(&[], &[]).to("card", 2, |_| true).is_empty());
    }
}

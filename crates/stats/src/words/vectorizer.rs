//! Texts as rows of features: how often each term of a vocabulary occurs in it, and how rare the term is (TF-IDF).

use std::collections::HashMap;

use super::terms::Terms;
use crate::linear::Matrix;
use crate::number::Count;

/// A vocabulary of terms with their weights. For each kind of terms a text's row has `(1 + ln n) * idf` for a term that occurs n
/// times, `idf = 1 + ln((1 + texts) / (1 + texts with the term))`, scaled to length 1 (scikit-learn's
/// `TfidfVectorizer(sublinear_tf=True)`); the whole row is scaled to length 1 again.
#[derive(Debug, Clone, PartialEq)]
pub struct Vectorizer {
    kinds: Vec<Kind>,
}

/// One kind of terms.
#[derive(Debug, Clone, PartialEq)]
struct Kind {
    terms: Terms,
    /// The column of its first term.
    begin: u32,
    /// Terms by their number, in the order in which they occur first.
    columns: HashMap<u64, u32>,
    idf: Vec<f64>,
}

impl Vectorizer {
    /// Learns the vocabulary of texts.
    ///
    /// # Panics
    ///
    /// If there are more than 2^32 different terms.
    #[must_use]
    pub fn learn(kinds: &[Terms], texts: &[&str]) -> Self {
        let mut begin = 0;
        let learn = |&terms: &Terms| {
            let kind = Kind::learn(terms, texts, begin);
            begin += u32::try_from(kind.idf.len()).expect("a vocabulary has fewer than 2^32 terms");
            kind
        };
        Vectorizer { kinds: kinds.iter().map(learn).collect() }
    }

    /// The number of features.
    #[must_use]
    pub fn n_columns(&self) -> usize {
        self.kinds.iter().map(|kind| kind.idf.len()).sum()
    }

    /// The features of a text, in ascending columns; terms that are not in the vocabulary do not count.
    #[must_use]
    pub fn row(&self, text: &str) -> Vec<(u32, f64)> {
        let mut row = Vec::new();
        for kind in &self.kinds {
            let begin = row.len();
            kind.add_to(&mut row, text);
            scale_to_one(&mut row[begin..]);
        }
        scale_to_one(&mut row);
        row
    }

    /// The features of texts.
    #[must_use]
    pub fn rows(&self, texts: &[&str]) -> Matrix {
        let mut rows = Matrix::new(self.n_columns());
        texts.iter().for_each(|text| rows.push_sparse(&self.row(text)));
        rows
    }
}

impl Kind {
    fn learn(terms: Terms, texts: &[&str], begin: u32) -> Self {
        let mut columns = HashMap::new();
        let mut n_texts_with: Vec<(usize, usize)> = Vec::new();
        for (nth, text) in texts.iter().enumerate() {
            terms.of(text, |term| {
                let next = u32::try_from(columns.len()).expect("a vocabulary has fewer than 2^32 terms");
                let column = *columns.entry(term).or_insert(next);
                if column == next {
                    n_texts_with.push((1, nth));
                } else if let Some((n, last)) = n_texts_with.get_mut(column as usize)
                    && *last != nth
                {
                    (*n, *last) = (*n + 1, nth);
                }
            });
        }
        let idf = |(n, _): (usize, usize)| 1.0 + libm::log((1 + texts.len()).float() / (1 + n).float());
        Kind { terms, begin, columns, idf: n_texts_with.into_iter().map(idf).collect() }
    }

    fn add_to(&self, row: &mut Vec<(u32, f64)>, text: &str) {
        let mut found: Vec<u32> = Vec::new();
        self.terms.of(text, |term| found.extend(self.columns.get(&term)));
        found.sort_unstable();
        for run in found.chunk_by(|a, b| a == b) {
            let weight = (1.0 + libm::log(run.len().float())) * self.idf[run[0] as usize];
            row.push((self.begin + run[0], weight));
        }
    }
}

pub(super) fn scale_to_one(entries: &mut [(u32, f64)]) {
    let square: f64 = entries.iter().map(|(_, value)| value * value).sum();
    if square > 0.0 {
        let length = square.sqrt();
        entries.iter_mut().for_each(|(_, value)| *value /= length);
    }
}

#[cfg(test)]
mod tests {
    use super::{Terms, Vectorizer};

    #[test]
    fn a_row_has_length_one_and_knows_only_what_was_learned() {
        let kinds = [Terms::Words { longest: 1 }, Terms::Pieces { shortest: 2, longest: 4 }];
        let texts = ["the card is lost", "the card was stolen", "top up failed"];
        let vectorizer = Vectorizer::learn(&kinds, &texts);
        assert_eq!(vectorizer, Vectorizer::learn(&kinds, &texts));
        for text in texts {
            let row = vectorizer.row(text);
            assert!((row.iter().map(|(_, value)| value * value).sum::<f64>() - 1.0).abs() < 1e-12);
            assert!(row.is_sorted_by(|a, b| a.0 < b.0));
        }
        assert_eq!(vectorizer.row("zzz 999"), []);
        assert_eq!(vectorizer.rows(&texts).n_columns(), vectorizer.n_columns());
    }
}

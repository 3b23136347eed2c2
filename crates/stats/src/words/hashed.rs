//! Texts as rows of features without a vocabulary: terms are numbers of a fixed range, so that what is kept names no word.

use super::terms::Terms;
use super::vectorizer::scale_to_one;
use crate::linear::Matrix;
use crate::number::Count;

/// Terms by their hash alone, weighed as [`super::Vectorizer`] weighs them. Two terms may share a column, by a chance of the number
/// of terms in `2^bits`; of each column only the number and how rare it is are kept.
#[derive(Debug, Clone, PartialEq)]
pub struct HashedTerms {
    kinds: Vec<Terms>,
    bits: u32,
    /// The columns that count, ascending: the kind's number above the term's bits.
    columns: Vec<u32>,
    idf: Vec<f32>,
}

/// Why columns cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum HashedTermsError {
    #[error("there are {columns} columns and {weights} weights; each column has one weight")]
    Lengths { columns: usize, weights: usize },
    #[error("the columns do not ascend; they are sorted, and each is there once")]
    Order,
    #[error("the weight {0} of a column is not a number above 0")]
    Weight(f32),
    #[error("{0} bits of a hash are not between 8 and 28")]
    Bits(u32),
}

impl HashedTerms {
    /// Learns which columns occur in texts, and how rare each is.
    ///
    /// # Panics
    ///
    /// If `bits` is not between 8 and 28, or there are more than 8 kinds.
    #[must_use]
    pub fn learn(kinds: &[Terms], bits: u32, texts: &[&str]) -> Self {
        assert!((8..=28).contains(&bits) && kinds.len() <= 8, "columns are numbers of 32 bits");
        let empty = HashedTerms { kinds: kinds.to_vec(), bits, columns: Vec::new(), idf: Vec::new() };
        let mut all: Vec<u32> = texts.iter().flat_map(|text| empty.counted(text).into_iter().map(|(c, _)| c)).collect();
        all.sort_unstable();
        let (mut columns, mut idf) = (Vec::new(), Vec::new());
        for run in all.chunk_by(|a, b| a == b) {
            columns.push(run[0]);
            let rarity = 1.0 + libm::log((1 + texts.len()).float() / (1 + run.len()).float());
            #[allow(clippy::cast_possible_truncation)] // what is kept of it
            idf.push(rarity as f32);
        }
        HashedTerms { columns, idf, ..empty }
    }

    /// Makes terms of what was kept of them.
    ///
    /// # Errors
    ///
    /// [`HashedTermsError`] where the parts do not belong together.
    pub fn from_parts(kinds: &[Terms], bits: u32, columns: Vec<u32>, idf: Vec<f32>) -> Result<Self, HashedTermsError> {
        if !(8..=28).contains(&bits) {
            return Err(HashedTermsError::Bits(bits));
        }
        if columns.len() != idf.len() {
            return Err(HashedTermsError::Lengths { columns: columns.len(), weights: idf.len() });
        }
        if !columns.is_sorted_by(|a, b| a < b) {
            return Err(HashedTermsError::Order);
        }
        if let Some(&weight) = idf.iter().find(|weight| !(weight.is_finite() && **weight > 0.0)) {
            return Err(HashedTermsError::Weight(weight));
        }
        Ok(HashedTerms { kinds: kinds.to_vec(), bits, columns, idf })
    }

    #[must_use]
    pub fn bits(&self) -> u32 {
        self.bits
    }

    /// The columns that count, ascending.
    #[must_use]
    pub fn columns(&self) -> &[u32] {
        &self.columns
    }

    /// How rare each of them is.
    #[must_use]
    pub fn idf(&self) -> &[f32] {
        &self.idf
    }

    /// The features of a text, in ascending places among [`HashedTerms::columns`].
    #[must_use]
    pub fn row(&self, text: &str) -> Vec<(u32, f64)> {
        let mut row: Vec<(u32, f64)> = Vec::new();
        let (mut kind, mut begin) = (0, 0);
        for (column, n) in self.counted(text) {
            if column >> self.bits != kind {
                scale_to_one(&mut row[begin..]);
                (kind, begin) = (column >> self.bits, row.len());
            }
            if let Ok(at) = self.columns.binary_search(&column) {
                let place = u32::try_from(at).expect("there are fewer columns than numbers of 32 bits");
                row.push((place, (1.0 + libm::log(n.float())) * f64::from(self.idf[at])));
            }
        }
        scale_to_one(&mut row[begin..]);
        scale_to_one(&mut row);
        row
    }

    /// The features of texts.
    #[must_use]
    pub fn rows(&self, texts: &[&str]) -> Matrix {
        let mut rows = Matrix::new(self.columns.len());
        texts.iter().for_each(|text| rows.push_sparse(&self.row(text)));
        rows
    }

    /// Each column of a text, ascending, with how often it occurs.
    fn counted(&self, text: &str) -> Vec<(u32, usize)> {
        let mut found: Vec<u32> = Vec::new();
        for (kind, terms) in (0_u32..).zip(&self.kinds) {
            terms.of(text, |term| {
                // The upper half of FNV's bits depends little on the last characters: a multiplication spreads them.
                let mixed = (term ^ (term >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - self.bits);
                found.push((kind << self.bits) | u32::try_from(mixed).expect("it has at most 28 bits"));
            });
        }
        found.sort_unstable();
        found.chunk_by(|a, b| a == b).map(|run| (run[0], run.len())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{HashedTerms, HashedTermsError};
    use crate::words::{Terms, Vectorizer};

    const KINDS: [Terms; 2] = [Terms::Words { longest: 1 }, Terms::Pieces { shortest: 2, longest: 4 }];
    const TEXTS: [&str; 4] = ["the card is lost", "the card was stolen", "top up failed", "a top up, a card"];

    #[test]
    fn with_enough_columns_rows_have_the_products_of_a_vocabulary() {
        let (hashed, words) = (HashedTerms::learn(&KINDS, 24, &TEXTS), Vectorizer::learn(&KINDS, &TEXTS));
        assert_eq!(hashed.columns().len(), words.n_columns());
        let product = |a: &[(u32, f64)], b: &[(u32, f64)]| -> f64 {
            let of = |column| b.iter().find(|entry| entry.0 == column).map_or(0.0, |entry| entry.1);
            a.iter().map(|&(column, value)| value * of(column)).sum()
        };
        for one in TEXTS.into_iter().chain(["lost top", "zzz"]) {
            for other in TEXTS {
                let (found, wanted) =
                    (product(&hashed.row(one), &hashed.row(other)), product(&words.row(one), &words.row(other)));
                // The rarity is kept in single precision.
                assert!((found - wanted).abs() < 1e-6, "{one} {other}: {found} {wanted}");
            }
        }
    }

    #[test]
    fn parts_that_do_not_belong_together_are_refused() {
        let learned = HashedTerms::learn(&KINDS, 18, &TEXTS);
        let parts = |columns: &[u32], idf: &[f32]| HashedTerms::from_parts(&KINDS, 18, columns.to_vec(), idf.to_vec());
        assert_eq!(parts(learned.columns(), learned.idf()), Ok(learned));
        assert_eq!(parts(&[1, 2], &[1.0]), Err(HashedTermsError::Lengths { columns: 2, weights: 1 }));
        assert_eq!(parts(&[2, 1], &[1.0, 1.0]), Err(HashedTermsError::Order));
        assert_eq!(parts(&[1, 2], &[1.0, -1.0]), Err(HashedTermsError::Weight(-1.0)));
        assert_eq!(HashedTerms::from_parts(&KINDS, 40, vec![], vec![]), Err(HashedTermsError::Bits(40)));
    }
}

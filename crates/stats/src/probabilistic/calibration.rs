//! Whether 0.8 is right 8 times in 10: answers in bins by confidence, and the calibration error.

use super::Graded;
use crate::number::{Count, quantile_of_sorted, ratio};

/// The number of bins of Guo et al. 2017, the most usual one.
pub const GUO_BINS: usize = 15;

/// The rows whose confidence falls into one bin.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bin {
    /// The confidence above which the bin begins; it holds what lies on its upper end.
    pub low: f64,
    pub high: f64,
    pub n: u64,
    pub hits: u64,
    /// The sum of the rows' confidences.
    sum: f64,
}

impl Bin {
    /// The mean confidence; `None` for an empty bin.
    #[must_use]
    pub fn confidence(&self) -> Option<f64> {
        (self.n > 0).then(|| self.sum / self.n.float())
    }

    /// The part of the answers that is right; `None` for an empty bin.
    #[must_use]
    pub fn accuracy(&self) -> Option<f64> {
        ratio(self.hits, self.n)
    }
}

/// All rows in bins: a reliability diagram.
#[derive(Debug, Clone, PartialEq)]
pub struct Bins {
    pub bins: Vec<Bin>,
}

impl Bins {
    /// `n_bins` bins of equal width. Bin b holds `b/n < confidence <= (b+1)/n`; the first also 0.
    ///
    /// # Panics
    ///
    /// If `n_bins` is 0.
    #[must_use]
    pub fn equal_width(rows: &[Graded], n_bins: usize) -> Self {
        let edges: Vec<f64> = (0..=n_bins).map(|b| b.float() / n_bins.float()).collect();
        Bins::between(rows, &edges)
    }

    /// `n_bins` bins with about as many rows each: their edges are quantiles of the confidences, and equal confidences share a
    /// bin, so that some may be empty (scikit-learn's `calibration_curve(strategy="quantile")`). Where most confidences are near
    /// 1, equal width puts nearly all rows into one bin, and this tells more.
    ///
    /// # Panics
    ///
    /// If `n_bins` is 0.
    #[must_use]
    pub fn equal_mass(rows: &[Graded], n_bins: usize) -> Self {
        let mut sorted: Vec<f64> = rows.iter().map(|row| row.confidence).collect();
        sorted.sort_by(f64::total_cmp);
        if sorted.is_empty() {
            return Bins::equal_width(rows, n_bins);
        }
        let edges: Vec<f64> = (0..=n_bins).map(|b| quantile_of_sorted(&sorted, b.float() / n_bins.float())).collect();
        Bins::between(rows, &edges)
    }

    /// Bins between ascending edges, of which the first and the last bound nothing: what lies outside is in the outer bins.
    fn between(rows: &[Graded], edges: &[f64]) -> Self {
        let empty = |ends: &[f64]| Bin { low: ends[0], high: ends[1], n: 0, hits: 0, sum: 0.0 };
        let mut bins: Vec<Bin> = edges.windows(2).map(empty).collect();
        assert!(!bins.is_empty(), "there is a bin at least");
        let inner = &edges[1..edges.len() - 1];
        for row in rows {
            let bin = &mut bins[inner.partition_point(|edge| *edge < row.confidence)];
            bin.n += 1;
            bin.hits += u64::from(row.is_right);
            bin.sum += row.confidence;
        }
        Bins { bins }
    }

    /// The expected calibration error: the mean over rows of `|accuracy - confidence|` of the row's bin, 0 (a probability of
    /// 0.8 is right 8 times in 10) to 1. Guo et al., On calibration of modern neural networks, ICML 2017, equation 3, of the
    /// answer's own probability. It depends on the bins: say how many and which. `None` for no rows.
    #[must_use]
    pub fn expected_error(&self) -> Option<f64> {
        let n: u64 = self.bins.iter().map(|bin| bin.n).sum();
        (n > 0).then(|| self.bins.iter().map(|bin| (bin.hits.float() - bin.sum).abs()).sum::<f64>() / n.float())
    }

    /// The largest gap between accuracy and confidence of a bin that has rows (the same, equation 5). `None` for no rows.
    #[must_use]
    pub fn maximum_error(&self) -> Option<f64> {
        let gap = |bin: &Bin| Some((bin.accuracy()? - bin.confidence()?).abs());
        self.bins.iter().filter_map(gap).max_by(f64::total_cmp)
    }
}

#[cfg(test)]
mod tests {
    use super::{Bins, GUO_BINS, Graded};
    use proptest::prelude::*;

    #[test]
    fn a_border_belongs_to_the_bin_that_it_ends() {
        let rows = [0.0, 0.2, 0.2 + 1e-12, 1.0].map(|confidence| Graded { confidence, is_right: true });
        let bins = Bins::equal_width(&rows, 5);
        assert_eq!(bins.bins.iter().map(|bin| bin.n).collect::<Vec<_>>(), [2, 1, 0, 0, 1]);
        assert_eq!(Bins::equal_width(&[], GUO_BINS).expected_error(), None);
        assert_eq!(Bins::equal_mass(&[], GUO_BINS).maximum_error(), None);
    }

    #[test]
    fn equal_confidences_share_a_bin() {
        let rows = [Graded { confidence: 0.9, is_right: true }; 6];
        let bins = Bins::equal_mass(&rows, 3);
        assert_eq!(bins.bins.iter().map(|bin| bin.n).collect::<Vec<_>>(), [6, 0, 0]);
    }

    proptest! {
        #[test]
        fn every_row_is_in_one_bin_and_the_order_does_not_matter(
            (rows, shuffled) in prop::collection::vec((0.0_f64..=1.0, any::<bool>()), 1..80)
                .prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle())),
        ) {
            let graded = |rows: Vec<(f64, bool)>| -> Vec<Graded> {
                rows.into_iter().map(|(confidence, is_right)| Graded { confidence, is_right }).collect()
            };
            let (rows, shuffled) = (graded(rows), graded(shuffled));
            for make in [Bins::equal_width, Bins::equal_mass] {
                let (one, other) = (make(&rows, 7), make(&shuffled, 7));
                prop_assert_eq!(one.bins.iter().map(|bin| bin.n).sum::<u64>(), rows.len() as u64);
                let (error, worst) = (one.expected_error().expect("there are rows"), one.maximum_error().expect("as said"));
                prop_assert!(0.0 <= error && error <= worst + 1e-12 && worst <= 1.0);
                prop_assert!((error - other.expected_error().expect("there are rows")).abs() < 1e-12);
            }
        }
    }
}

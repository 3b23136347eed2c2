//! What a threshold buys: how many rows stay (coverage) and how many of these are wrong (risk), for every threshold.
//!
//! Rows of equal confidence stand or fall together with any threshold; where a figure needs a part of them it takes the mean
//! over their orders, so that no figure depends on the order of rows.

use super::Graded;
use crate::number::{Count, ratio};

/// What is accepted with one threshold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Accepted {
    /// Rows with this confidence or more are accepted.
    pub threshold: f64,
    pub n: u64,
    pub errors: u64,
    /// All rows, accepted or not.
    pub n_rows: u64,
}

impl Accepted {
    /// The part of the rows that is accepted.
    #[must_use]
    pub fn coverage(&self) -> f64 {
        ratio(self.n, self.n_rows).unwrap_or(0.0)
    }

    /// The part of the accepted rows that is wrong.
    #[must_use]
    pub fn risk(&self) -> f64 {
        ratio(self.errors, self.n).unwrap_or(0.0)
    }
}

/// The curve of risk against coverage (El-Yaniv and Wiener, On the foundations of noise-free selective classification, JMLR 11,
/// 2010): a point for every confidence that occurs, from the highest to the lowest.
#[derive(Debug, Clone, PartialEq)]
pub struct RiskCoverage {
    pub points: Vec<Accepted>,
}

impl RiskCoverage {
    /// The curve of all rows, failed ones ([`Graded::FAILED`]) among them.
    #[must_use]
    pub fn new(rows: impl IntoIterator<Item = Graded>) -> Self {
        let mut rows: Vec<Graded> = rows.into_iter().collect();
        rows.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
        let mut points: Vec<Accepted> = Vec::new();
        let n_rows = rows.len() as u64;
        for (i, row) in rows.iter().enumerate() {
            let errors = points.last().map_or(0, |point| point.errors) + u64::from(!row.is_right);
            let point = Accepted { threshold: row.confidence, n: i as u64 + 1, errors, n_rows };
            match points.last_mut() {
                Some(last) if last.threshold == row.confidence => *last = point,
                _ => points.push(point),
            }
        }
        RiskCoverage { points }
    }

    /// The area under the curve (AURC): the mean over i of the risk among the i surest rows, 0 the best. Geifman, Uziel and
    /// El-Yaniv, Bias-reduced uncertainty estimation for deep neural classifiers, ICLR 2019, equation 3. Lower is better, and
    /// a subject with more errors has a larger one even if it knows them: see [`RiskCoverage::excess_area`]. `None` for no rows.
    #[must_use]
    pub fn area(&self) -> Option<f64> {
        let n = self.points.last()?.n;
        Some((1..=n).map(|i| self.errors_among(i) / i.float()).sum::<f64>() / n.float())
    }

    /// The area less that of a subject with the same errors that is surer of every right answer than of any wrong one (E-AURC
    /// of the same paper, exact instead of its approximation): 0 where it knows all its errors. `None` for no rows.
    #[must_use]
    pub fn excess_area(&self) -> Option<f64> {
        let last = self.points.last()?;
        let n_right = last.n - last.errors;
        let best: f64 = (n_right + 1..=last.n).map(|i| (i - n_right).float() / i.float()).sum();
        Some((self.area()? - best / last.n.float()).max(0.0))
    }

    /// The accuracy of the surest rows that make up `coverage` (0..=1) of all, their number rounded up. `None` for no rows or
    /// no coverage.
    #[must_use]
    pub fn accuracy_at_coverage(&self, coverage: f64) -> Option<f64> {
        let n = self.points.last()?.n;
        // A hair less, so that 0.7 of 10 rows is 7 and not 8.
        let wanted = (coverage.clamp(0.0, 1.0) * n.float() - 1e-9).ceil().max(0.0);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 0..=n
        let wanted = wanted as u64;
        (wanted > 0).then(|| 1.0 - self.errors_among(wanted) / wanted.float())
    }

    /// The threshold that accepts the most rows with a risk of at most `risk` on these very rows; `None` where none does. This is
    /// what was seen, not a promise for other rows.
    #[must_use]
    pub fn at_risk(&self, risk: f64) -> Option<Accepted> {
        self.points.iter().rev().find(|point| point.risk() <= risk).copied()
    }

    /// The largest coverage with a risk of at most `risk`; 0 where no threshold keeps it.
    #[must_use]
    pub fn coverage_at_risk(&self, risk: f64) -> f64 {
        self.at_risk(risk).map_or(0.0, |point| point.coverage())
    }

    /// The errors among the `n` surest rows; of rows with equal confidence the mean over their orders.
    fn errors_among(&self, n: u64) -> f64 {
        let at = self.points.partition_point(|point| point.n < n);
        let (before_n, before_errors) =
            if at == 0 { (0, 0) } else { (self.points[at - 1].n, self.points[at - 1].errors) };
        let group = self.points[at];
        let share = (n - before_n).float() / (group.n - before_n).float();
        before_errors.float() + (group.errors - before_errors).float() * share
    }
}

#[cfg(test)]
mod tests {
    use super::{Graded, RiskCoverage};
    use proptest::prelude::*;

    fn rows(rows: &[(f64, bool)]) -> Vec<Graded> {
        rows.iter().map(|&(confidence, is_right)| Graded { confidence, is_right }).collect()
    }

    #[test]
    fn a_curve_by_hand() {
        let curve = RiskCoverage::new(rows(&[(0.9, true), (0.8, false), (0.7, true), (0.6, true)]));
        let risks: Vec<f64> = curve.points.iter().map(super::Accepted::risk).collect();
        assert_eq!(risks, [0.0, 0.5, 1.0 / 3.0, 0.25]);
        assert!((curve.area().expect("there are rows") - (0.0 + 0.5 + 1.0 / 3.0 + 0.25) / 4.0).abs() < 1e-15);
        assert_eq!(curve.accuracy_at_coverage(0.25), Some(1.0));
        assert_eq!(curve.accuracy_at_coverage(0.5), Some(0.5));
        assert_eq!((curve.coverage_at_risk(0.25), curve.coverage_at_risk(0.0)), (1.0, 0.25));
        assert_eq!(curve.at_risk(0.0).map(|point| point.threshold), Some(0.9));
    }

    #[test]
    fn nothing_is_claimed_of_no_rows_and_failed_ones_are_wrong() {
        let none = RiskCoverage::new([]);
        assert_eq!((none.area(), none.excess_area(), none.accuracy_at_coverage(0.5)), (None, None, None));
        assert_eq!(none.at_risk(1.0), None);
        let failed = RiskCoverage::new([Graded::FAILED, Graded { confidence: 0.5, is_right: true }]);
        assert_eq!((failed.coverage_at_risk(0.0), failed.accuracy_at_coverage(1.0)), (0.5, Some(0.5)));
    }

    proptest! {
        #[test]
        fn the_order_of_rows_does_not_matter(
            (given, shuffled) in prop::collection::vec((0_u32..6, any::<bool>()), 1..40)
                .prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle())),
            coverage in 0.01_f64..=1.0,
        ) {
            let curve = |rows: &[(u32, bool)]| RiskCoverage::new(
                rows.iter().map(|&(tenths, is_right)| Graded { confidence: f64::from(tenths) / 10.0, is_right }),
            );
            let (one, other) = (curve(&given), curve(&shuffled));
            prop_assert_eq!(&one, &other);
            let (area, excess) = (one.area().expect("there are rows"), one.excess_area().expect("there are rows"));
            prop_assert!(0.0 <= excess && excess <= area + 1e-12 && area <= 1.0);
            let right = given.iter().filter(|row| row.1).count() as f64 / given.len() as f64;
            prop_assert!((one.accuracy_at_coverage(1.0).expect("all rows") - right).abs() < 1e-12);
            prop_assert!(one.accuracy_at_coverage(coverage).is_some_and(|a| (-1e-12..=1.0).contains(&a)));
        }
    }
}

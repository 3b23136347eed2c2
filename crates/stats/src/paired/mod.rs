//! Whether two subjects differ, judged on the same rows: exact tests, intervals of the difference, corrections, numbers of rows.

mod difference;
mod non_inferior;
mod power;

pub use difference::{BootstrapDifference, bootstrap_difference};
pub use non_inferior::{Margin, NonInferior, NotAMargin};
pub use power::{Plan, exact_power, rows_needed, smallest_difference};

use crate::number::Count;
use statrs::distribution::{Binomial, Discrete, DiscreteCDF};

/// What a test asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alternative {
    /// Whether the two differ, in either direction.
    Differs,
    /// Whether the second is worse than the first: what a gate asks.
    SecondIsWorse,
    /// Whether the second is better than the first.
    SecondIsBetter,
}

/// Rows by which of two subjects had them right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pairs {
    pub both: u64,
    pub only_first: u64,
    pub only_second: u64,
    pub neither: u64,
}

impl Pairs {
    /// Counts rows as (first is right, second is right).
    #[must_use]
    pub fn count(rows: impl IntoIterator<Item = (bool, bool)>) -> Self {
        let mut out = Pairs::default();
        for row in rows {
            match row {
                (true, true) => out.both += 1,
                (true, false) => out.only_first += 1,
                (false, true) => out.only_second += 1,
                (false, false) => out.neither += 1,
            }
        }
        out
    }

    #[must_use]
    pub fn n(self) -> u64 {
        self.both + self.only_first + self.only_second + self.neither
    }

    /// The share of rows that just one of the two had right; `None` for no rows.
    #[must_use]
    pub fn disagreement(self) -> Option<f64> {
        (self.n() > 0).then(|| (self.only_first + self.only_second).float() / self.n().float())
    }

    /// The second's rate less the first's: below 0 where the second is worse. `None` for no rows.
    #[must_use]
    pub fn difference(self) -> Option<f64> {
        (self.n() > 0).then(|| (self.only_second.float() - self.only_first.float()) / self.n().float())
    }

    /// The exact p-value: only rows with one of the two right say anything, and if the two were equally good each of these would
    /// be a toss of a coin. McNemar, Note on the sampling error of the difference between correlated proportions, Psychometrika
    /// 12 (1947), with binomial tails; two-sided twice the smaller tail, at most 1 (statsmodels' `mcnemar(exact=True)`).
    #[must_use]
    pub fn mcnemar(self, alternative: Alternative) -> f64 {
        let tail = |successes: u64| self.coin().map_or(1.0, |coin| coin.cdf(successes));
        match alternative {
            Alternative::Differs => (2.0 * tail(self.only_first.min(self.only_second))).min(1.0),
            Alternative::SecondIsWorse => tail(self.only_second),
            Alternative::SecondIsBetter => tail(self.only_first),
        }
    }

    /// The mid-p value: half of the probability of just what was seen is left out, so that the test is not as conservative as the
    /// exact one and seldom above its level. Fagerland, Lydersen and Laake, The McNemar test for binary matched-pairs data, BMC
    /// Medical Research Methodology 13 (2013).
    #[must_use]
    pub fn mcnemar_mid_p(self, alternative: Alternative) -> f64 {
        let mid = |successes: u64| self.coin().map_or(0.5, |coin| coin.cdf(successes) - coin.pmf(successes) / 2.0);
        match alternative {
            Alternative::Differs => (2.0 * mid(self.only_first.min(self.only_second))).min(1.0),
            Alternative::SecondIsWorse => mid(self.only_second),
            Alternative::SecondIsBetter => mid(self.only_first),
        }
    }

    /// The tosses of a fair coin that the disagreements would be; `None` where there are none.
    fn coin(self) -> Option<Binomial> {
        let n = self.only_first + self.only_second;
        (n > 0).then(|| Binomial::new(0.5, n).expect("a half is a probability"))
    }
}

/// p-values corrected for their number, in their order: what is below the level stays below it with that chance of one false
/// alarm or more among all. Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6
/// (1979), as statsmodels' `multipletests(method="holm")`.
#[must_use]
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let mut corrected = vec![0.0; p_values.len()];
    let mut highest: f64 = 0.0;
    for (rank, &at) in order.iter().enumerate() {
        highest = highest.max((p_values.len() - rank).float() * p_values[at]).min(1.0);
        corrected[at] = highest;
    }
    corrected
}

#[cfg(test)]
mod tests {
    use super::{Alternative, Pairs, holm};
    use proptest::prelude::*;

    #[test]
    fn rows_are_counted_by_who_was_right() {
        let rows = [(true, true), (true, false), (true, false), (false, true), (false, false)];
        let pairs = Pairs::count(rows);
        assert_eq!(pairs, Pairs { both: 1, only_first: 2, only_second: 1, neither: 1 });
        assert_eq!((pairs.difference(), pairs.disagreement()), (Some(-0.2), Some(0.6)));
    }

    #[test]
    fn two_that_never_disagree_do_not_differ() {
        for pairs in [Pairs::default(), Pairs { both: 10, neither: 3, ..Pairs::default() }] {
            assert!(pairs.mcnemar(Alternative::Differs) == 1.0 && pairs.mcnemar_mid_p(Alternative::Differs) == 1.0);
        }
    }

    proptest! {
        #[test]
        fn who_is_first_only_turns_the_question_round(only_first in 0_u64..300, only_second in 0_u64..300) {
            let pairs = Pairs { both: 50, only_first, only_second, neither: 7 };
            let turned = Pairs { only_first: only_second, only_second: only_first, ..pairs };
            prop_assert_eq!(pairs.mcnemar(Alternative::Differs), turned.mcnemar(Alternative::Differs));
            prop_assert_eq!(pairs.mcnemar(Alternative::SecondIsWorse), turned.mcnemar(Alternative::SecondIsBetter));
            prop_assert!(pairs.mcnemar_mid_p(Alternative::Differs) <= pairs.mcnemar(Alternative::Differs));
            prop_assert!((0.0..=1.0).contains(&pairs.mcnemar(Alternative::Differs)));
        }

        #[test]
        fn a_correction_keeps_the_order_and_lowers_nothing(p in prop::collection::vec(0.0_f64..=1.0, 0..20)) {
            let corrected = holm(&p);
            for (i, one) in corrected.iter().enumerate() {
                prop_assert!(*one >= p[i] && *one <= 1.0);
                for (j, other) in corrected.iter().enumerate() {
                    prop_assert!(p[i] > p[j] || one <= other);
                }
            }
        }
    }
}

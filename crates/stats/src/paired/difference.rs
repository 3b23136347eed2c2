//! How large a difference is: the score interval for rates, the paired bootstrap for anything else.

use super::Pairs;
use crate::intervals::{Bootstrap, Confidence, Interval, percentile_interval};
use crate::number::Count;

impl Pairs {
    /// The interval of [`Pairs::difference`]; `None` for no rows. Tango, Equivalence test and confidence interval for the
    /// difference in proportions for the paired-sample design, Statistics in Medicine 17 (1998): all differences that a score
    /// test would not reject. It keeps close to its confidence with few rows and few disagreements, where Wald's has no width.
    #[must_use]
    pub fn difference_interval(self, confidence: Confidence) -> Option<Interval> {
        let seen = self.difference()?;
        let z = confidence.z();
        let low = end(seen, -1.0, |difference| self.score(difference) <= z);
        let high = end(seen, 1.0, |difference| self.score(difference) >= -z);
        Some(Interval { low, high })
    }

    /// Tango's statistic: how many standard errors the seen difference lies above `difference`, the error being estimated with
    /// the rates that are likeliest if `difference` is the truth. It falls as `difference` grows.
    fn score(self, difference: f64) -> f64 {
        let (n, gained, lost) = (self.n().float(), self.only_second.float(), self.only_first.float());
        // The likeliest rate of rows that only the first has right: the larger root of 2n q^2 + b q + c.
        let b = (2.0 * n - gained + lost) * difference - gained - lost;
        let c = -lost * difference * (1.0 - difference);
        let rate = ((b * b - 8.0 * n * c).max(0.0).sqrt() - b) / (4.0 * n);
        let variance = n * (2.0 * rate + difference * (1.0 - difference));
        let seen = gained - lost - n * difference;
        if seen == 0.0 { 0.0 } else { seen / variance.max(0.0).sqrt() }
    }
}

/// The last value between `inside` and `outside` that `holds`, by bisection until no number lies between.
fn end(inside: f64, outside: f64, holds: impl Fn(f64) -> bool) -> f64 {
    let (mut inside, mut outside) = (inside, outside);
    loop {
        let middle = inside + (outside - inside) / 2.0;
        if middle == inside || middle == outside {
            return inside;
        }
        if holds(middle) { inside = middle } else { outside = middle }
    }
}

/// How two subjects differ in any figure of rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BootstrapDifference {
    /// The second's figure less the first's, on all rows.
    pub difference: f64,
    /// Its percentile interval.
    pub interval: Interval,
    /// Two-sided: twice the share of resamples on the other side of 0, one more counted on each side so that it is never 0
    /// (Davison and Hinkley, Bootstrap methods and their application, 1997, section 4.2), and at most 1.
    pub p_value: f64,
}

/// The paired bootstrap: both figures are computed on the same resampled rows, so that what makes a row hard for both does not
/// blur the difference. `first` and `second` get the indices of rows, some several times (a mean of a row's figure, or one of
/// the whole set such as macro F1). `None` where the figures have no value.
pub fn bootstrap_difference(
    bootstrap: &Bootstrap,
    n_rows: usize,
    mut first: impl FnMut(&[usize]) -> Option<f64>,
    mut second: impl FnMut(&[usize]) -> Option<f64>,
) -> Option<BootstrapDifference> {
    let mut statistic = |rows: &[usize]| Some(second(rows)? - first(rows)?);
    let all: Vec<usize> = (0..n_rows).collect();
    let difference = statistic(&all)?;
    let resampled = bootstrap.resamples(n_rows, statistic);
    let share = |is_there: fn(&f64) -> bool| {
        (resampled.iter().filter(|r| is_there(r)).count() + 1).float() / (resampled.len() + 1).float()
    };
    let p_value = (2.0 * share(|r| *r <= 0.0).min(share(|r| *r >= 0.0))).min(1.0);
    let interval = percentile_interval(resampled, bootstrap.confidence)?;
    Some(BootstrapDifference { difference, interval, p_value })
}

#[cfg(test)]
mod tests {
    use super::bootstrap_difference;
    use crate::intervals::{Bootstrap, Confidence, Proportion};
    use crate::paired::Pairs;
    use proptest::prelude::*;

    #[test]
    fn two_that_never_disagree_still_may_differ_a_little() {
        // With no disagreement the end is z^2 / (n + z^2).
        let pairs = Pairs { both: 90, neither: 10, ..Pairs::default() };
        let interval = pairs.difference_interval(Confidence::USUAL).expect("there are rows");
        let z = Confidence::USUAL.z();
        let expected = z * z / (100.0 + z * z);
        assert!((interval.high - expected).abs() < 1e-12 && (interval.low + expected).abs() < 1e-12, "{interval:?}");
        assert_eq!(Pairs::default().difference_interval(Confidence::USUAL), None);
    }

    #[test]
    fn a_subject_does_not_differ_from_itself() {
        let right: Vec<bool> = (0..50).map(|row| row % 3 == 0).collect();
        let rate = |rows: &[usize]| Proportion::of(rows.iter().map(|&row| right[row])).value();
        let found = bootstrap_difference(&Bootstrap::default(), 50, rate, rate).expect("there are rows");
        assert!(found.difference == 0.0 && found.p_value == 1.0 && found.interval.width() == 0.0, "{found:?}");
        assert_eq!(bootstrap_difference(&Bootstrap::default(), 0, rate, rate), None);
    }

    proptest! {
        #[test]
        fn an_interval_holds_the_difference_and_mirrors(
            both in 0_u64..200, only_first in 0_u64..60, only_second in 0_u64..60, neither in 1_u64..60,
        ) {
            let pairs = Pairs { both, only_first, only_second, neither };
            let turned = Pairs { only_first: only_second, only_second: only_first, ..pairs };
            let one = pairs.difference_interval(Confidence::USUAL).expect("there are rows");
            let other = turned.difference_interval(Confidence::USUAL).expect("there are rows");
            prop_assert!(one.contains(pairs.difference().expect("there are rows")) && one.low >= -1.0 && one.high <= 1.0);
            prop_assert!((one.low + other.high).abs() < 1e-9 && (one.high + other.low).abs() < 1e-9, "{:?} {:?}", one, other);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn the_bootstrap_agrees_with_the_formula(only_first in 5_u64..40, only_second in 5_u64..40) {
            let rows: Vec<(bool, bool)> = (0..300_u64).map(|row| {
                if row < only_first { (true, false) } else if row < only_first + only_second { (false, true) } else { (true, true) }
            }).collect();
            let rate = |of: fn(&(bool, bool)) -> bool| {
                let rows = &rows;
                move |drawn: &[usize]| Proportion::of(drawn.iter().map(|&row| of(&rows[row]))).value()
            };
            let found = bootstrap_difference(&Bootstrap::default(), 300, rate(|r| r.0), rate(|r| r.1)).expect("there are rows");
            let formula = Pairs::count(rows.iter().copied()).difference_interval(Confidence::USUAL).expect("there are rows");
            prop_assert!((found.interval.low - formula.low).abs() < 0.015 && (found.interval.high - formula.high).abs() < 0.015);
        }
    }
}

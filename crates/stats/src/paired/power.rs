//! How many rows show a difference, and which difference so many rows can show.

use super::Alternative;
use crate::intervals::normal_quantile;
use crate::number::Count;
use statrs::distribution::{Binomial, Discrete, DiscreteCDF};

/// How a comparison is to be made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// One-sided for a gate (is it worse?), two-sided for a comparison of equals.
    pub alternative: Alternative,
    /// How often equals may be called different: 0.05.
    pub level: f64,
    /// How often a difference is to be found where there is one: 0.8.
    pub power: f64,
}

impl Plan {
    /// Is the second worse? At a level of 5 %, found 4 times in 5.
    pub const GATE: Plan = Plan { alternative: Alternative::SecondIsWorse, level: 0.05, power: 0.8 };
    /// Do they differ? At a level of 5 %, found 4 times in 5.
    pub const COMPARISON: Plan = Plan { alternative: Alternative::Differs, ..Plan::GATE };

    /// The normal quantiles of the level and of the power.
    fn quantiles(self) -> (f64, f64) {
        let tail = match self.alternative {
            Alternative::Differs => self.level / 2.0,
            Alternative::SecondIsWorse | Alternative::SecondIsBetter => self.level,
        };
        (normal_quantile(1.0 - tail), normal_quantile(self.power))
    }
}

/// The rows that `McNemar`'s test needs to find a difference of rates (0.05 for five points, either sign) where the two
/// disagree on `disagreement` of the rows: `(z_a sqrt(psi) + z_b sqrt(psi - d^2))^2 / d^2`, rounded up. Miettinen, The matched
/// pairs design in the case of all-or-none responses, Biometrics 24 (1968), in the form of Connor, Biometrics 43 (1987). `None`
/// where no number will do: there is no difference, or it is larger than the disagreement.
#[must_use]
pub fn rows_needed(plan: Plan, difference: f64, disagreement: f64) -> Option<u64> {
    let d = difference.abs();
    if !(d > 0.0 && d <= disagreement && disagreement <= 1.0) {
        return None;
    }
    let (z_level, z_power) = plan.quantiles();
    let n = ((z_level * disagreement.sqrt() + z_power * (disagreement - d * d).sqrt()) / d).powi(2);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // positive; past u64 it is the largest
    Some(n.ceil() as u64)
}

/// The smallest difference of rates that `n` rows show with the plan's power where the two disagree on `disagreement` of them:
/// [`rows_needed`] solved for the difference. `None` where even disagreements that all go one way would not be enough.
#[must_use]
pub fn smallest_difference(plan: Plan, n: u64, disagreement: f64) -> Option<f64> {
    let (a, b) = plan.quantiles();
    let (n, psi) = (n.float(), disagreement);
    // (d sqrt(n) - a sqrt(psi))^2 = b^2 (psi - d^2), its larger root.
    let middle = a * (n * psi).sqrt();
    let root = middle * middle - (n + b * b) * (a * a - b * b) * psi;
    let d = (middle + root.max(0.0).sqrt()) / (n + b * b);
    (psi > 0.0 && root >= 0.0 && d <= psi).then_some(d)
}

/// How often the exact test of `n` rows finds that the second is worse by `drop` (of rates, 0 or more) where the two disagree on
/// `disagreement` of the rows: the sum over all numbers of disagreements of how likely they are and how often the test rejects
/// with them. [`rows_needed`] is an approximation, and the exact test a little weaker than it says: this is the check. With no
/// drop it is how often equals are called different. `None` where the drop is larger than the disagreement.
#[must_use]
pub fn exact_power(plan: Plan, n: u64, drop: f64, disagreement: f64) -> Option<f64> {
    if !(drop >= 0.0 && drop <= disagreement && disagreement > 0.0 && disagreement <= 1.0) {
        return None;
    }
    let is_probability = "shares of the rows are probabilities";
    let disagreements = Binomial::new(disagreement, n).expect(is_probability);
    let gained = (disagreement - drop) / (2.0 * disagreement);
    let mut power = 0.0;
    // The most rows that only one of the two may have right for the test to speak against it, which grows with disagreements.
    let mut bound: Option<u64> = None;
    for m in 1..=n {
        let (coin, gains) =
            (Binomial::new(0.5, m).expect(is_probability), Binomial::new(gained, m).expect(is_probability));
        let rejects = |k: u64| match plan.alternative {
            Alternative::Differs => 2.0 * coin.cdf(k) <= plan.level,
            Alternative::SecondIsWorse | Alternative::SecondIsBetter => coin.cdf(k) <= plan.level,
        };
        let next = bound.map_or(0, |bound| bound + 1);
        if rejects(next) {
            bound = Some(next);
        }
        let Some(bound) = bound else { continue };
        let is_worse = || gains.cdf(bound);
        let is_better = || gains.sf(m - bound - 1);
        power += disagreements.pmf(m)
            * match plan.alternative {
                Alternative::Differs => is_worse() + is_better(),
                Alternative::SecondIsWorse => is_worse(),
                Alternative::SecondIsBetter => is_better(),
            };
    }
    Some(power)
}

#[cfg(test)]
mod tests {
    use super::{Plan, exact_power, rows_needed, smallest_difference};
    use proptest::prelude::*;

    #[test]
    fn a_drop_of_five_points_needs_hundreds_of_rows() {
        assert_eq!(rows_needed(Plan::GATE, -0.05, 0.10), Some(246));
        assert_eq!(rows_needed(Plan::GATE, 0.05, 0.20), Some(493));
        // A test for either direction needs a quarter more.
        assert_eq!(rows_needed(Plan::COMPARISON, 0.05, 0.10), Some(312));
        assert_eq!(rows_needed(Plan::COMPARISON, 0.05, 0.20), Some(626));
    }

    #[test]
    fn what_cannot_be_shown_has_no_number() {
        assert_eq!(rows_needed(Plan::GATE, 0.0, 0.2), None);
        assert_eq!(rows_needed(Plan::GATE, 0.3, 0.2), None);
        assert_eq!(smallest_difference(Plan::GATE, 10, 0.1), None);
        assert_eq!(smallest_difference(Plan::GATE, 0, 0.1), None);
        assert_eq!(smallest_difference(Plan::GATE, 100, 0.0), None);
    }

    #[test]
    fn the_exact_test_has_about_the_power_that_was_planned_and_no_more_false_alarms_than_its_level() {
        for plan in [Plan::GATE, Plan::COMPARISON] {
            for (drop, disagreement) in [(0.05, 0.1), (0.05, 0.2), (0.1, 0.3), (0.02, 0.05)] {
                let n = rows_needed(plan, drop, disagreement).expect("it can be shown");
                let power = exact_power(plan, n, drop, disagreement).expect("the drop is possible");
                assert!((0.72..0.82).contains(&power), "{drop} {disagreement}: {power}");
                let false_alarms = exact_power(plan, n, 0.0, disagreement).expect("no drop is possible");
                assert!((0.02..=0.05).contains(&false_alarms), "{drop} {disagreement}: {false_alarms}");
            }
        }
        assert_eq!(exact_power(Plan::GATE, 100, 0.3, 0.2), None);
    }

    proptest! {
        #[test]
        fn rows_and_difference_are_each_others_inverse(n in 100_u64..20_000, disagreement in 0.05_f64..0.6) {
            for plan in [Plan::GATE, Plan::COMPARISON] {
                let Some(d) = smallest_difference(plan, n, disagreement) else { continue };
                prop_assert!(rows_needed(plan, d, disagreement).expect("it can be shown").abs_diff(n) <= 1);
            }
        }
    }
}

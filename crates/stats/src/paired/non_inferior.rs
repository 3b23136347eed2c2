//! Whether the second subject is at most a margin worse than the first: yes, no, or too few rows to say.

use super::Pairs;
use crate::intervals::{Confidence, Interval, normal_quantile};

/// By how much the second may be worse, as a difference of rates above 0 and below 1: 0.05 for five points.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Margin(f64);

/// Not a difference of rates.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("`{0}` is not a margin; it is a number above 0 and below 1, such as 0.05 for five points")]
pub struct NotAMargin(pub f64);

impl Margin {
    /// # Errors
    ///
    /// [`NotAMargin`] for what is not above 0 and below 1.
    pub fn new(difference: f64) -> Result<Self, NotAMargin> {
        if difference > 0.0 && difference < 1.0 { Ok(Margin(difference)) } else { Err(NotAMargin(difference)) }
    }

    #[must_use]
    pub fn difference(self) -> f64 {
        self.0
    }
}

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum NonInferior {
    /// The whole interval lies above the margin.
    Yes { interval: Interval },
    /// The whole interval lies below the margin: it is worse by more.
    No { interval: Interval },
    /// The margin is inside the interval.
    TooFewRows {
        interval: Interval,
        /// Rows that say yes 4 times in 5 if the two are equally good; `None` where they never disagreed, so that nothing can be
        /// said of how often they will.
        rows_if_equal: Option<u64>,
        /// Rows that would say yes 4 times in 5 if the seen difference is the true one; `None` where that is not within the
        /// margin, so that no number would do.
        rows_as_seen: Option<u64>,
    },
}

impl Pairs {
    /// Whether the second is within the margin, at the confidence: each end of Tango's interval has it alone (0.95 takes the
    /// interval of 0.90), as non-inferiority is asked in trials. `None` for no rows.
    #[must_use]
    pub fn non_inferior(self, margin: Margin, confidence: Confidence) -> Option<NonInferior> {
        let interval = self.difference_interval(confidence.of_both_ends())?;
        let (seen, disagreement) = (self.difference()?, self.disagreement()?);
        Some(if interval.low > -margin.0 {
            NonInferior::Yes { interval }
        } else if interval.high < -margin.0 {
            NonInferior::No { interval }
        } else {
            let rows = |difference| rows_needed(margin, confidence, difference, disagreement);
            NonInferior::TooFewRows { interval, rows_if_equal: rows(0.0), rows_as_seen: rows(seen) }
        })
    }
}

/// Rows that find the second within the margin with power 0.8 where its true difference is `difference`:
/// `(z_a + z_b)^2 (psi - d^2) / (d + margin)^2`. Lu and Bean, On the sample size for one-sided equivalence of sensitivities based
/// upon McNemar's test, Statistics in Medicine 14 (1995), in its simplest form, with the variance of the difference as it is.
fn rows_needed(margin: Margin, confidence: Confidence, difference: f64, disagreement: f64) -> Option<u64> {
    const POWER: f64 = 0.8;
    let room = difference + margin.0;
    let variance = disagreement - difference * difference;
    let z = normal_quantile(confidence.share()) + normal_quantile(POWER);
    let n = (z / room).powi(2) * variance;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // positive; past u64 it is the largest
    (room > 0.0 && variance > 0.0).then(|| n.ceil() as u64)
}

#[cfg(test)]
mod tests {
    use super::{Margin, NonInferior};
    use crate::intervals::Confidence;
    use crate::paired::Pairs;

    fn ask(pairs: Pairs) -> NonInferior {
        let margin = Margin::new(0.05).expect("it is a margin");
        pairs.non_inferior(margin, Confidence::USUAL).expect("there are rows")
    }

    #[test]
    fn enough_rows_say_yes_or_no_and_few_say_how_many() {
        let equal = Pairs { both: 900, only_first: 30, only_second: 30, neither: 40 };
        assert!(matches!(ask(equal), NonInferior::Yes { .. }), "{:?}", ask(equal));
        let worse = Pairs { both: 700, only_first: 200, only_second: 30, neither: 70 };
        assert!(matches!(ask(worse), NonInferior::No { .. }), "{:?}", ask(worse));
        let few = Pairs { both: 40, only_first: 3, only_second: 3, neither: 4 };
        let NonInferior::TooFewRows { rows_if_equal, rows_as_seen, .. } = ask(few) else { panic!("{:?}", ask(few)) };
        // (1.645 + 0.842)^2 * 0.12 / 0.05^2
        assert_eq!((rows_if_equal, rows_as_seen), (Some(297), Some(297)));
        let few_and_worse = Pairs { both: 40, only_first: 4, only_second: 0, neither: 6 };
        let NonInferior::TooFewRows { rows_as_seen, .. } = ask(few_and_worse) else {
            panic!("{:?}", ask(few_and_worse))
        };
        assert_eq!(rows_as_seen, None);
        assert_eq!(Pairs::default().non_inferior(Margin(0.05), Confidence::USUAL), None);
    }

    #[test]
    fn a_margin_is_a_difference_of_rates() {
        let message = Margin::new(5.0).expect_err("five points are 0.05").to_string();
        assert_eq!(message, "`5` is not a margin; it is a number above 0 and below 1, such as 0.05 for five points");
    }
}

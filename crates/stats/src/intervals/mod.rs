//! How sure a figure is: the interval of a proportion by formula, of anything else by resampling its rows.

mod bootstrap;

pub use bootstrap::{Bootstrap, bca_interval, percentile_interval};

use crate::number::{Count, ratio};
use statrs::distribution::{Beta, ContinuousCDF, Normal};

/// How often an interval is to hold the true value, between 0 and 1, neither included.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Confidence(f64);

/// Not a share between 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("`{0}` is not a confidence; it is a number above 0 and below 1, such as 0.95")]
pub struct NotAConfidence(pub f64);

impl Confidence {
    /// 0.95, the custom of the field.
    pub const USUAL: Confidence = Confidence(0.95);

    /// # Errors
    ///
    /// [`NotAConfidence`] for what is not above 0 and below 1.
    pub fn new(share: f64) -> Result<Self, NotAConfidence> {
        if share > 0.0 && share < 1.0 { Ok(Confidence(share)) } else { Err(NotAConfidence(share)) }
    }

    #[must_use]
    pub fn share(self) -> f64 {
        self.0
    }

    /// What it leaves: the error allowed, 0.05 for 0.95.
    #[must_use]
    pub fn error(self) -> f64 {
        1.0 - self.0
    }

    /// The confidence of an interval with two ends, each of which alone has this confidence: 0.9 for 0.95. An end that is to hold
    /// half the time or less needs no width.
    #[must_use]
    pub fn of_both_ends(self) -> Self {
        Confidence((2.0 * self.0 - 1.0).max(f64::MIN_POSITIVE))
    }

    /// The normal quantile of both ends of an interval: 1.96 for 0.95.
    #[must_use]
    pub fn z(self) -> f64 {
        normal_quantile(0.5 + self.0 / 2.0)
    }
}

/// The standard normal distribution's quantile of `p`, between 0 and 1.
pub(crate) fn normal_quantile(p: f64) -> f64 {
    let guess = Normal::standard().inverse_cdf(p);
    // A step of Newton's on the distribution function takes out the last rounding of the quantile's rational approximation.
    let density = (-guess * guess / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    if density > 0.0 { guess - (Normal::standard().cdf(guess) - p) / density } else { guess }
}

/// The values that are plausible, both ends included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    pub low: f64,
    pub high: f64,
}

impl Interval {
    #[must_use]
    pub fn contains(self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }

    #[must_use]
    pub fn width(self) -> f64 {
        self.high - self.low
    }
}

/// `hits` of `n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Proportion {
    pub hits: u64,
    pub n: u64,
}

impl Proportion {
    /// Counts those that are true.
    #[must_use]
    pub fn of(rows: impl IntoIterator<Item = bool>) -> Self {
        rows.into_iter()
            .fold(Proportion::default(), |sum, hit| Proportion { hits: sum.hits + u64::from(hit), n: sum.n + 1 })
    }

    /// `hits / n`; `None` for no rows.
    #[must_use]
    pub fn value(self) -> Option<f64> {
        ratio(self.hits, self.n)
    }

    /// The score interval; `None` for no rows. Wilson, Probable inference, the law of succession, and statistical inference,
    /// JASA 22 (1927): with z, the normal quantile, `(p + z^2/2n ± z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)`. It stays inside
    /// 0..=1, and its coverage is close to the stated one even for few rows: the choice for reports.
    #[must_use]
    pub fn wilson(self, confidence: Confidence) -> Option<Interval> {
        let z = confidence.z();
        let p = self.value()?;
        let n = self.n.float();
        let scale = 1.0 + z * z / n;
        let centre = (p + z * z / (2.0 * n)) / scale;
        let half = z / scale * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
        // At 0 and n the formula gives exactly 0 and 1, which rounding would miss.
        let low = if self.hits == 0 { 0.0 } else { (centre - half).max(0.0) };
        let high = if self.hits == self.n { 1.0 } else { (centre + half).min(1.0) };
        Some(Interval { low, high })
    }

    /// The exact interval, from the binomial distribution's tails; `None` for no rows. Clopper and Pearson, The use of confidence
    /// or fiducial limits, Biometrika 26 (1934): quantiles of Beta(hits, n-hits+1) and Beta(hits+1, n-hits). Its coverage is
    /// never below the stated one: the choice for guarantees.
    #[must_use]
    pub fn clopper_pearson(self, confidence: Confidence) -> Option<Interval> {
        let tail = confidence.error() / 2.0;
        (self.n > 0).then(|| Interval { low: self.exact_low(tail), high: self.exact_high(tail) })
    }

    /// The exact one-sided bound: the proportion is at most this, with the confidence; 1 for no rows.
    #[must_use]
    pub fn at_most(self, confidence: Confidence) -> f64 {
        self.exact_high(confidence.error())
    }

    /// The exact one-sided bound: the proportion is at least this, with the confidence; 0 for no rows.
    #[must_use]
    pub fn at_least(self, confidence: Confidence) -> f64 {
        self.exact_low(confidence.error())
    }

    fn exact_low(self, tail: f64) -> f64 {
        if self.hits == 0 {
            return 0.0;
        }
        beta_quantile(self.hits.float(), (self.n - self.hits).float() + 1.0, tail)
    }

    fn exact_high(self, tail: f64) -> f64 {
        if self.hits >= self.n {
            return 1.0;
        }
        // By the mirrored distribution, so that a high quantile keeps its digits.
        1.0 - beta_quantile((self.n - self.hits).float(), self.hits.float() + 1.0, tail)
    }
}

/// The quantile `p` of Beta(a, b): bisection on its distribution function until no number lies between the ends.
fn beta_quantile(a: f64, b: f64, p: f64) -> f64 {
    let beta = Beta::new(a, b).expect("both shapes are positive");
    let (mut low, mut high) = (0.0, 1.0);
    loop {
        let middle = low + (high - low) / 2.0;
        if middle <= low || middle >= high {
            return middle;
        }
        if beta.cdf(middle) < p { low = middle } else { high = middle }
    }
}

#[cfg(test)]
mod tests {
    use super::{Confidence, Proportion};
    use proptest::prelude::*;

    #[test]
    fn a_confidence_is_a_share() {
        for wrong in [0.0, 1.0, 95.0, -0.1, f64::NAN] {
            let message = Confidence::new(wrong).expect_err("it is not a share").to_string();
            assert_eq!(
                message,
                format!("`{wrong}` is not a confidence; it is a number above 0 and below 1, such as 0.95")
            );
        }
        assert!((Confidence::new(0.95).expect("it is a share").of_both_ends().share() - 0.9).abs() < 1e-15);
    }

    #[test]
    fn nothing_is_claimed_of_no_rows() {
        let none = Proportion::default();
        assert_eq!(
            (none.value(), none.wilson(Confidence::USUAL), none.clopper_pearson(Confidence::USUAL)),
            (None, None, None)
        );
        assert_eq!((none.at_least(Confidence::USUAL), none.at_most(Confidence::USUAL)), (0.0, 1.0));
    }

    proptest! {
        #[test]
        fn intervals_hold_the_rate_and_narrow_with_more_rows(hits in 0_u64..200, misses in 1_u64..200) {
            let rate = Proportion { hits, n: hits + misses };
            let value = rate.value().expect("there are rows");
            let wilson = rate.wilson(Confidence::USUAL).expect("there are rows");
            let exact = rate.clopper_pearson(Confidence::USUAL).expect("there are rows");
            prop_assert!(wilson.contains(value) && exact.contains(value), "{:?} {:?}", wilson, exact);
            prop_assert!(0.0 <= wilson.low && wilson.high <= 1.0 && 0.0 <= exact.low && exact.high <= 1.0);
            let four_times = Proportion { hits: hits * 4, n: rate.n * 4 };
            prop_assert!(four_times.wilson(Confidence::USUAL).expect("there are rows").width() < wilson.width());
        }
    }
}

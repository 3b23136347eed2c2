//! Thresholds with a promise: of the accepted rows at most so many are wrong, said with a confidence that holds for any model.
//!
//! Thresholds are found on one part of the rows and certified on another, by fixed-sequence testing with exact binomial tails:
//! Angelopoulos, Bates, Candès, Jordan and Lei, Learn then test (2021), section 2. The promise holds for rows drawn as the
//! certifying ones were; it says nothing of texts of another kind.

use crate::intervals::Confidence;
use crate::number::Count;
use crate::probabilistic::{Accepted, Graded, RiskCoverage};
use statrs::distribution::{Binomial, DiscreteCDF};

/// At most this part of the accepted rows is wrong, with this confidence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Promise {
    risk: f64,
    confidence: Confidence,
}

/// Not a share that can be promised.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("`{0}` is not a risk; it is a number above 0 and below 1, such as 0.02 for two wrong in a hundred")]
pub struct NotARisk(pub f64);

impl Promise {
    /// # Errors
    ///
    /// [`NotARisk`] for what is not above 0 and below 1.
    pub fn new(risk: f64, confidence: Confidence) -> Result<Self, NotARisk> {
        if risk > 0.0 && risk < 1.0 { Ok(Promise { risk, confidence }) } else { Err(NotARisk(risk)) }
    }

    #[must_use]
    pub fn risk(self) -> f64 {
        self.risk
    }

    #[must_use]
    pub fn confidence(self) -> Confidence {
        self.confidence
    }

    /// How likely as few errors as these would be if the true risk were just the promised one; 1 for no rows. The promise is kept
    /// where it is at most the confidence's error.
    #[must_use]
    pub fn p_value(self, n_accepted: u64, n_errors: u64) -> f64 {
        if n_accepted == 0 {
            return 1.0;
        }
        Binomial::new(self.risk, n_accepted).expect("a risk is a probability").cdf(n_errors)
    }

    /// Whether so many accepted rows with so many errors certify the promise.
    #[must_use]
    pub fn is_kept_by(self, n_accepted: u64, n_errors: u64) -> bool {
        self.p_value(n_accepted, n_errors) <= self.confidence.error()
    }

    /// The accepted rows that certify the promise if `n_errors` of them are wrong: with a risk of 0.02 at 0.95, 149 without an
    /// error and 236 with one. Fewer rows than for none cannot have the promise whatever the model.
    #[must_use]
    pub fn rows_needed(self, n_errors: u64) -> u64 {
        // It is kept by all numbers from the answer on; twice as many again and again until it is, then bisection.
        let (mut too_few, mut enough) = (n_errors, n_errors.max(1));
        while !self.is_kept_by(enough, n_errors) {
            (too_few, enough) = (enough, enough.saturating_mul(2));
        }
        while enough - too_few > 1 {
            let middle = too_few + (enough - too_few) / 2;
            if self.is_kept_by(middle, n_errors) { enough = middle } else { too_few = middle }
        }
        enough
    }

    /// The thresholds to certify, in the order in which they are to be tried, from rows that certify nothing: first the one whose
    /// rows here are the best evidence for the promise, then each lower one, which accepts more.
    #[must_use]
    pub fn candidates(self, rows: &[Graded]) -> Vec<f64> {
        let points = RiskCoverage::new(rows.iter().copied()).points;
        let p_value = |point: &Accepted| self.p_value(point.n, point.errors);
        let first = (0..points.len()).min_by(|&a, &b| p_value(&points[a]).total_cmp(&p_value(&points[b])));
        points.iter().skip(first.unwrap_or(0)).map(|point| point.threshold).collect()
    }

    /// The lowest threshold that is certified: they are tried in the given order on rows that had no part in finding them, and
    /// the first that is not certified ends it, so that with the stated confidence none is wrongly certified however many there
    /// are. `None` where the first is not.
    #[must_use]
    pub fn certified(self, candidates: &[f64], rows: &[Graded]) -> Option<Accepted> {
        let accepted = |&threshold: &f64| {
            let (mut n, mut errors) = (0, 0);
            for row in rows.iter().filter(|row| row.confidence >= threshold) {
                n += 1;
                errors += u64::from(!row.is_right);
            }
            Accepted { threshold, n, errors, n_rows: rows.len() as u64 }
        };
        candidates.iter().map(accepted).take_while(|point| self.is_kept_by(point.n, point.errors)).last()
    }

    /// The largest coverage that a subject with these rows could have if it knew which of its answers are wrong: all right ones
    /// and as many wrong ones as the risk allows. No way to compute confidences beats it.
    #[must_use]
    pub fn coverage_bound(self, rows: &[Graded]) -> f64 {
        let n_right = rows.iter().filter(|row| row.is_right).count().float();
        let bound = n_right / (1.0 - self.risk) / rows.len().max(1).float();
        bound.min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Promise;
    use crate::intervals::Confidence;
    use crate::probabilistic::Graded;
    use crate::random::Random;
    use proptest::prelude::*;

    fn promise(risk: f64) -> Promise {
        Promise::new(risk, Confidence::USUAL).expect("it is a risk")
    }

    #[test]
    fn a_promise_has_its_price_in_rows() {
        assert_eq!([0, 1, 2].map(|n_errors| promise(0.02).rows_needed(n_errors)), [149, 236, 313]);
        assert_eq!(promise(0.5).rows_needed(0), 5);
        assert_eq!(promise(0.99).rows_needed(3), 4);
        let message = Promise::new(2.0, Confidence::USUAL).expect_err("it is not a risk").to_string();
        assert_eq!(
            message,
            "`2` is not a risk; it is a number above 0 and below 1, such as 0.02 for two wrong in a hundred"
        );
    }

    #[test]
    fn without_rows_nothing_is_promised() {
        assert_eq!(promise(0.1).candidates(&[]), []);
        assert_eq!(promise(0.1).certified(&[0.5], &[]), None);
        assert!(promise(0.1).coverage_bound(&[]) == 0.0);
    }

    /// Rows whose confidence is how often they are right, 0.5 to 1, with 1 in 1,000 as step.
    fn drawn(random: &mut Random, n: usize) -> Vec<Graded> {
        let mut row = || {
            let thousandths = 500 + random.below(501);
            #[allow(clippy::cast_precision_loss)] // at most 1000
            Graded { confidence: thousandths as f64 / 1000.0, is_right: random.below(1000) < thousandths }
        };
        (0..n).map(|_| row()).collect()
    }

    #[test]
    fn a_promise_is_kept_as_often_as_it_says() {
        let mut random = Random::seeded(3);
        let (mut broken, mut given) = (0, 0);
        for _ in 0..400 {
            let (found, certifying) = (drawn(&mut random, 400), drawn(&mut random, 400));
            let promise = promise(0.15);
            let Some(accepted) = promise.certified(&promise.candidates(&found), &certifying) else { continue };
            given += 1;
            // Above a threshold t confidences are spread evenly, so that the true risk is half of 1 - t.
            broken += u32::from((1.0 - accepted.threshold) / 2.0 > 0.15);
            assert!(accepted.coverage() <= promise.coverage_bound(&certifying) + 0.05);
        }
        // Five in a hundred of 400 are 20, with a standard deviation of 4.4.
        assert!(given > 300 && broken <= 33, "{broken} broken of {given}");
    }

    proptest! {
        #[test]
        fn rows_needed_are_just_enough(risk in 0.005_f64..0.9, n_errors in 0_u64..20) {
            let n = promise(risk).rows_needed(n_errors);
            prop_assert!(promise(risk).is_kept_by(n, n_errors) && !promise(risk).is_kept_by(n - 1, n_errors));
        }
    }
}

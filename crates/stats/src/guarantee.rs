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

    /// Fixed-sequence testing: of candidates in the order in which they are to be tried, the last before the first that `counted`,
    /// the accepted rows and the wrong ones of them, does not certify.
    ///
    /// # Errors
    ///
    /// The counts of the first candidate, which is not certified; those of no rows where there is no candidate.
    pub fn last_kept<T>(
        self,
        candidates: impl IntoIterator<Item = T>,
        counted: impl Fn(&T) -> (u64, u64),
    ) -> Result<T, (u64, u64)> {
        let (mut kept, mut first) = (None, None);
        for candidate in candidates {
            let (accepted, errors) = counted(&candidate);
            first.get_or_insert((accepted, errors));
            if !self.is_kept_by(accepted, errors) {
                break;
            }
            kept = Some(candidate);
        }
        kept.ok_or(first.unwrap_or_default())
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

    /// The thresholds to certify, in the order in which they are to be tried, from rows that certify nothing: first the one that
    /// `n_certifying` other rows are likeliest to certify, then each lower one, which accepts more.
    ///
    /// How likely that is comes from the errors here, of which lower confidences have no fewer (isotonic regression): a few lucky
    /// rows among the surest do not pass for a threshold that will hold. Against beginning where the rows here are the best evidence,
    /// this certifies more promises and accepts more rows; against beginning at the surest rows, far more, because a few of these can
    /// certify nothing. Splitting the confidence between several beginnings loses more than it gains: the tests of nested sets of
    /// rows fail together. On drawn rows of five kinds, by 100 to 400 rows a part and risks of 0.02 to 0.2 (30 cases, 150 draws each):
    ///
    /// | begins | certified | accepted of all | broken, mean and most |
    /// |---|--:|--:|--:|
    /// | at the best evidence | 0.600 | 0.443 | 0.016, 0.053 |
    /// | here | 0.619 | 0.450 | 0.016, 0.047 |
    /// | at the best evidence, and at 0.7 of its rows with a tenth of the error | 0.596 | 0.439 | 0.014, 0.047 |
    /// | the same with a fifth | 0.591 | 0.434 | 0.014, 0.047 |
    ///
    /// Where rows are barely enough, which `more_is_certified_where_it_begins_at_the_likeliest` has, it certifies half as many again.
    #[must_use]
    pub fn candidates(self, rows: &[Graded], n_certifying: usize) -> Vec<f64> {
        let points = RiskCoverage::new(rows.iter().copied()).points;
        let likely = self.likely(&points, n_certifying);
        let first = (0..points.len()).rev().max_by(|&a, &b| likely[a].total_cmp(&likely[b]));
        points.iter().skip(first.unwrap_or(0)).map(|point| point.threshold).collect()
    }

    /// How likely as many rows as certify are to certify each threshold.
    fn likely(self, points: &[Accepted], n_certifying: usize) -> Vec<f64> {
        let n_rows = points.last().map_or(0, |point| point.n).float();
        let mut n_errors = None;
        let risks = rising_risks(points);
        let power = |(point, risk): (&Accepted, f64)| {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a part of the rows
            let n = (point.n.float() / n_rows * n_certifying.float()).round() as u64;
            // More rows may have more errors.
            while self.is_kept_by(n, n_errors.map_or(0, |most| most + 1)) {
                n_errors = Some(n_errors.map_or(0, |most: u64| most + 1));
            }
            match n_errors {
                Some(most) if n > 0 => Binomial::new(risk, n).expect("a risk is a probability").cdf(most),
                _ => 0.0,
            }
        };
        points.iter().zip(risks).map(power).collect()
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

/// The risk of each threshold if lower confidences have no fewer errors: isotonic regression by pooling adjacent violators (Barlow,
/// Bartholomew, Bremner and Brunk, Statistical inference under order restrictions, 1972), with half an error and half a right row more,
/// so that no risk is 0.
fn rising_risks(points: &[Accepted]) -> Vec<f64> {
    let mut pools: Vec<(f64, f64, usize)> = Vec::new();
    let (mut n_before, mut errors_before) = (0, 0);
    for point in points {
        let mut pool = ((point.errors - errors_before).float(), (point.n - n_before).float(), 1);
        (n_before, errors_before) = (point.n, point.errors);
        while let Some(last) = pools.pop() {
            if last.0 * pool.1 < pool.0 * last.1 {
                pools.push(last);
                break;
            }
            pool = (last.0 + pool.0, last.1 + pool.1, last.2 + pool.2);
        }
        pools.push(pool);
    }
    let rates = pools.into_iter().flat_map(|(errors, n, n_points)| std::iter::repeat_n(errors / n, n_points));
    let (mut errors, mut n_before) = (0.0, 0);
    let risk = |(point, rate): (&Accepted, f64)| {
        errors += rate * (point.n - n_before).float();
        n_before = point.n;
        (errors + 0.5) / (point.n.float() + 1.0)
    };
    points.iter().zip(rates).map(risk).collect()
}

#[cfg(test)]
mod tests {
    use super::{Promise, rising_risks};
    use crate::intervals::Confidence;
    use crate::probabilistic::{Graded, RiskCoverage};
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
        assert_eq!(promise(0.1).candidates(&[], 100), []);
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
            let Some(accepted) = promise.certified(&promise.candidates(&found, certifying.len()), &certifying) else {
                continue;
            };
            given += 1;
            // Above a threshold t confidences are spread evenly, so that the true risk is half of 1 - t.
            broken += u32::from((1.0 - accepted.threshold) / 2.0 > 0.15);
            assert!(accepted.coverage() <= promise.coverage_bound(&certifying) + 0.05);
        }
        // Five in a hundred of 400 are 20, with a standard deviation of 4.4.
        assert!(given > 300 && broken <= 33, "{broken} broken of {given}");
    }

    /// As sequences began before: at the threshold whose rows are the best evidence.
    fn from_the_best_evidence(promise: Promise, rows: &[Graded]) -> Vec<f64> {
        let points = RiskCoverage::new(rows.iter().copied()).points;
        let p = |at: &usize| promise.p_value(points[*at].n, points[*at].errors);
        let first = (0..points.len()).min_by(|a, b| p(a).total_cmp(&p(b))).unwrap_or(0);
        points.iter().skip(first).map(|point| point.threshold).collect()
    }

    #[test]
    fn more_is_certified_where_it_begins_at_the_likeliest() {
        const DRAWS: u32 = 1500;
        let mut random = Random::seeded(17);
        let promise = promise(0.1);
        let (mut given, mut covered, mut broken) = ([0_u32; 2], [0.0; 2], 0);
        for _ in 0..DRAWS {
            let (found, certifying) = (drawn(&mut random, 150), drawn(&mut random, 150));
            let ways = [from_the_best_evidence(promise, &found), promise.candidates(&found, certifying.len())];
            for (nth, way) in ways.iter().enumerate() {
                let Some(accepted) = promise.certified(way, &certifying) else { continue };
                given[nth] += 1;
                // Confidences are spread evenly over 0.5 to 1, and above a threshold t the true risk is half of 1 - t.
                covered[nth] += (1.0 - accepted.threshold) / 0.5;
                broken += u32::from(nth == 1 && (1.0 - accepted.threshold) / 2.0 > 0.1);
            }
        }
        println!("given {given:?}, covered {covered:?} of {DRAWS}, broken {broken}");
        assert!(given[1] > given[0] && covered[1] > covered[0], "{given:?} {covered:?}");
        // Five in a hundred of 1,500 are 75, with a standard deviation of 8.4.
        assert!(broken <= 92, "{broken} broken of {DRAWS}");
    }

    proptest! {
        #[test]
        fn risks_never_fall_and_end_where_they_are(n_errors in proptest::collection::vec(0_u32..2, 1..60)) {
            let step = |(nth, wrong): (usize, &u32)| {
                #[allow(clippy::cast_precision_loss)] // at most 60
                Graded { confidence: 1.0 - nth as f64 / 100.0, is_right: *wrong == 0 }
            };
            let rows: Vec<Graded> = n_errors.iter().enumerate().map(step).collect();
            let points = RiskCoverage::new(rows.iter().copied()).points;
            let risks = rising_risks(&points);
            let last = points.last().expect("there are rows");
            #[allow(clippy::cast_precision_loss)] // at most 60
            let whole = (last.errors as f64 + 0.5) / (last.n as f64 + 1.0);
            prop_assert!((risks.last().expect("there are rows") - whole).abs() < 1e-9);
            let errors: Vec<f64> = risks.iter().zip(&points).map(|(risk, point)| risk * (point.n as f64 + 1.0)).collect();
            prop_assert!(errors.windows(2).all(|pair| pair[1] >= pair[0] - 1e-9));
        }

        #[test]
        fn rows_needed_are_just_enough(risk in 0.005_f64..0.9, n_errors in 0_u64..20) {
            let n = promise(risk).rows_needed(n_errors);
            prop_assert!(promise(risk).is_kept_by(n, n_errors) && !promise(risk).is_kept_by(n - 1, n_errors));
        }
    }

    #[test]
    fn a_sequence_ends_at_the_first_that_does_not_hold() {
        let promise = Promise::new(0.1, Confidence::USUAL).expect("a risk");
        let counted = |&(n, errors): &(u64, u64)| (n, errors);
        // The fourth would hold again, and is not looked at.
        let tried = [(40, 0), (60, 1), (80, 40), (900, 0)];
        assert_eq!(promise.last_kept(tried, counted), Ok((60, 1)));
        assert_eq!(promise.last_kept([(5, 0), (900, 0)], counted), Err((5, 0)));
        assert_eq!(promise.last_kept([], counted), Err((0, 0)));
    }
}

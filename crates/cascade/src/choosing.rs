//! Thresholds of a cascade's tiers: found on rows, certified on others, and whether routing is worth it at all.
//!
//! All tiers but the last are held to one level of reliability, since a wrong answer is as wrong wherever it comes from: how often an
//! answer of a tier is right, as its probability says after a line over the logit. Lower levels take more answers. They are tried from
//! the one that is the best evidence for the promise downwards, on rows that had no part in anything, until one does not hold
//! (fixed-sequence testing, see [`slm_stats::guarantee`]), so that the promise holds however many are tried.

use slm_stats::guarantee::Promise;
use slm_stats::linear::{Linear, Matrix, Settings};
use slm_stats::paired::Alternative;
use slm_stats::probabilistic::logit;
use slm_stats::{Confidence, Interval, Proportion};

use crate::certificate::Certificate;
use crate::routing::{Figures, NEVER, Routed, Rule, TierRow, float};

/// Tests of one tier against the cascade have this level.
pub const LEVEL: f64 = 0.05;
/// Thresholds are whole numbers of this.
const STEP: f64 = 1e6;

/// How often answers of each tier but the last are right by their probability.
#[derive(Debug, Clone, PartialEq)]
pub struct Levels {
    /// By tier, a slope and an intercept over the logit.
    lines: Vec<(f64, f64)>,
    /// Those of the rows that taught, from the highest.
    levels: Vec<f64>,
}

/// What is asked of the thresholds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Demand {
    /// At most this part of the answers before the last tier is wrong.
    Risk(Promise),
    /// This share of the rows ends before the last tier.
    Handled(f64),
}

/// Thresholds that were chosen, and what certifying rows say of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Chosen {
    /// By tier but the last.
    pub thresholds: Vec<f64>,
    pub certificate: Certificate,
}

/// Why there are no thresholds.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ChoosingError {
    #[error(
        "a risk of {risk} at a confidence of {confidence} needs {needed} answers before the last tier without an error, and {rows} \
         rows are there to certify it; add labelled rows, or ask for a higher risk"
    )]
    TooFewRows { risk: f64, confidence: f64, needed: u64, rows: usize },
    #[error(
        "no thresholds keep a risk of {risk} at a confidence of {confidence}: of the {rows} certifying rows the surest {handled} \
         before the last tier have {errors} wrong, and {needed} would have to be handled with so many; better first tiers, more \
         labelled rows or a higher risk may help"
    )]
    NotKept { risk: f64, confidence: f64, rows: usize, handled: u64, errors: u64, needed: u64 },
}

/// Whether routing is worth it.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// No tier alone that costs less, in money and in time, is as good.
    WorthIt,
    /// This tier alone is as good, as far as these rows can tell, and costs no more.
    Alone(Rival),
}

/// A tier alone, held against the cascade on the same rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Rival {
    pub tier: usize,
    /// Its accuracy less the cascade's, with the interval of 95 %.
    pub difference: f64,
    pub interval: Interval,
    /// That it is worse by chance alone; mid-p of McNemar's test.
    pub p_value: f64,
}

impl Levels {
    /// Learned from rows with labels.
    #[must_use]
    pub fn learn(rows: &Routed) -> Levels {
        let n = rows.n_tiers().saturating_sub(1);
        let lines: Vec<(f64, f64)> = (0..n).map(|tier| line(rows, tier)).collect();
        let of_row = |tiers: &Vec<TierRow>| {
            let of = tiers.iter().zip(&lines).filter_map(|(row, line)| Some(reliability(*line, row.confidence?)));
            of.collect::<Vec<f64>>()
        };
        let mut levels: Vec<f64> = rows.rows.iter().flat_map(of_row).collect();
        levels.sort_by(|one, other| other.total_cmp(one));
        levels.dedup();
        Levels { lines, levels }
    }

    /// The thresholds of a level.
    #[must_use]
    pub fn thresholds(&self, level: f64) -> Vec<f64> {
        let of = |&(slope, intercept): &(f64, f64)| {
            let p = 1.0 / (1.0 + libm::exp(-(logit(level) - intercept) / slope));
            // Down to a step, so that the row that gave the level stays in.
            ((p * STEP).floor() / STEP).clamp(1.0 / STEP, 1.0)
        };
        self.lines.iter().map(of).collect()
    }

    /// Thresholds that handle about each tenth of these rows, from none to all that can be.
    #[must_use]
    pub fn frontier(&self, rows: &Routed) -> Vec<Vec<f64>> {
        let mut points = vec![vec![NEVER; self.lines.len()]];
        let mut next = 1_usize;
        for level in self.spread() {
            let thresholds = self.thresholds(level);
            let handled = rows.figures(Rule::From(&thresholds)).handled;
            if handled >= float(next) / 10.0 - 1e-9 {
                next = (1..=10).find(|tenths| float(*tenths) / 10.0 > handled + 1e-9).unwrap_or(11);
                points.push(thresholds);
            }
        }
        if let Some(last) = self.levels.last() {
            points.push(self.thresholds(*last));
        }
        points.dedup();
        points
    }

    /// Two hundred of the levels at most, which is more than rows can tell apart.
    fn spread(&self) -> impl Iterator<Item = f64> + '_ {
        self.levels.iter().copied().step_by(self.levels.len().div_ceil(200).max(1))
    }

    /// The thresholds with the most right answers, of equals those that handle more.
    #[must_use]
    pub fn most_right(&self, rows: &Routed) -> Vec<f64> {
        let right = |thresholds: &[f64]| {
            let Figures { accuracy, handled, .. } = rows.figures(Rule::From(thresholds));
            (accuracy, handled)
        };
        let all = self.spread().map(|level| self.thresholds(level)).map(|one| (right(&one), one));
        let best = all.max_by(|(one, _), (other, _)| one.0.total_cmp(&other.0).then(one.1.total_cmp(&other.1)));
        best.map_or_else(|| vec![NEVER; self.lines.len()], |best| best.1)
    }
}

/// Finds thresholds on rows that taught the levels, and certifies them on others.
///
/// # Errors
///
/// [`ChoosingError`]: these rows cannot certify such a promise.
pub fn choose(
    demand: Demand,
    levels: &Levels,
    (found, certifying): (&Routed, &Routed),
    confidence: Confidence,
) -> Result<Chosen, ChoosingError> {
    match demand {
        Demand::Handled(share) => {
            let at = |level: &f64| found.figures(Rule::From(&levels.thresholds(*level))).handled >= share - 1e-9;
            let level = levels.levels.iter().copied().find(at).or(levels.levels.last().copied()).unwrap_or(1.0);
            Ok(certified(levels.thresholds(level), certifying, None, confidence))
        }
        Demand::Risk(promise) => {
            let (risk, share, rows) = (promise.risk(), confidence.share(), certifying.rows.len());
            let needed = promise.rows_needed(0);
            if (rows as u64) < needed {
                return Err(ChoosingError::TooFewRows { risk, confidence: share, needed, rows });
            }
            let p_value = |level: &f64| {
                let (handled, errors) = found.handled(Rule::From(&levels.thresholds(*level)));
                promise.p_value(handled, errors)
            };
            let p_values: Vec<f64> = levels.levels.iter().map(p_value).collect();
            let first = (0..p_values.len()).min_by(|&one, &other| p_values[one].total_cmp(&p_values[other]));
            let tried = levels.levels[first.unwrap_or(0)..].iter().map(|&level| levels.thresholds(level));
            let kept = promise.last_kept(tried, |thresholds: &Vec<f64>| certifying.handled(Rule::From(thresholds)));
            let thresholds = kept.map_err(|(handled, errors)| {
                let needed = promise.rows_needed(errors);
                ChoosingError::NotKept { risk, confidence: share, rows, handled, errors, needed }
            })?;
            Ok(certified(thresholds, certifying, Some(risk), confidence))
        }
    }
}

fn certified(thresholds: Vec<f64>, rows: &Routed, risk: Option<f64>, confidence: Confidence) -> Chosen {
    let (handled, errors) = rows.handled(Rule::From(&thresholds));
    let certificate = Certificate {
        risk,
        confidence: confidence.share(),
        rows: rows.rows.len() as u64,
        handled,
        errors,
        risk_at_most: Proportion { hits: errors, n: handled }.at_most(confidence),
        accuracy: rows.figures(Rule::From(&thresholds)).accuracy,
    };
    Chosen { thresholds, certificate }
}

/// Each tier alone against the cascade with a rule.
#[must_use]
pub fn rivals(rows: &Routed, rule: Rule<'_>) -> Vec<Rival> {
    let rival = |tier: usize| {
        let pairs = rows.pairs(rule, tier);
        let interval = pairs.difference_interval(Confidence::USUAL).unwrap_or(Interval { low: -1.0, high: 1.0 });
        let p_value = pairs.mcnemar_mid_p(Alternative::SecondIsWorse);
        Rival { tier, difference: pairs.difference().unwrap_or_default(), interval, p_value }
    };
    (0..rows.n_tiers()).map(rival).collect()
}

/// Whether the cascade with a rule is worth it on these rows: not where one tier alone, which costs no more money and no more time, is
/// not found to be worse.
#[must_use]
pub fn verdict(rows: &Routed, rule: Rule<'_>) -> Verdict {
    let cascade = rows.figures(rule);
    let is_as_good = |rival: &Rival| {
        let alone = rows.figures_alone(rival.tier);
        rival.p_value > LEVEL && alone.cost <= cascade.cost + 1e-12 && alone.ms <= cascade.ms
    };
    rivals(rows, rule).into_iter().find(is_as_good).map_or(Verdict::WorthIt, Verdict::Alone)
}

/// A line over the logit of a tier's probability; the probability itself where its answers are all right, all wrong, or say that sure
/// answers are worse.
fn line(rows: &Routed, tier: usize) -> (f64, f64) {
    const PLAIN: (f64, f64) = (1.0, 0.0);
    let (mut features, mut labels) = (Matrix::new(1), Vec::new());
    for row in rows.rows.iter().map(|tiers| tiers[tier]) {
        let (Some(confidence), Some(is_right)) = (row.confidence, row.is_right) else { continue };
        let x = logit(confidence);
        features.push_sparse(&if x == 0.0 { Vec::new() } else { vec![(0, x)] });
        labels.push(usize::from(is_right));
    }
    let Ok(linear) = Linear::fit(&features, &labels, 2, &Settings::default()) else { return PLAIN };
    let Some((weights, intercept)) = linear.coefficients(1) else { return PLAIN };
    if weights[0] <= 0.05 { PLAIN } else { (weights[0], intercept) }
}

fn reliability((slope, intercept): (f64, f64), p: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-(slope * logit(p) + intercept)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cascade::Exhausted;

    /// Rows whose first tier is right as often as its probability says, and whose second has so many in ten right.
    fn rows(seed: u64, n: usize, tenths: u64) -> Routed {
        let mut state = seed;
        let mut next = |most: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % most
        };
        let row = |_| {
            let thousandths = 400 + next(600);
            let tier = |is_right, confidence, ms, cost| TierRow {
                is_right: Some(is_right),
                confidence: Some(confidence),
                is_taken: true,
                ms,
                cost,
            };
            #[allow(clippy::cast_precision_loss)] // at most 1000
            let first = tier(next(1000) < thousandths, thousandths as f64 / 1000.0, 1.0, 0.0);
            vec![first, tier(next(10) < tenths, 0.9, 50.0, 1.0)]
        };
        Routed { rows: (0..n).map(row).collect(), on_exhausted: Exhausted::Review }
    }

    #[test]
    fn a_promise_is_kept_as_often_as_it_says() {
        let promise = Promise::new(0.15, Confidence::USUAL).unwrap();
        let (mut given, mut broken) = (0, 0);
        for seed in 0..200 {
            let (found, certifying) = (rows(seed, 300, 9), rows(seed + 1000, 300, 9));
            let levels = Levels::learn(&found);
            let demand = Demand::Risk(promise);
            let Ok(chosen) = choose(demand, &levels, (&found, &certifying), Confidence::USUAL) else { continue };
            given += 1;
            // Above a threshold t probabilities are spread evenly, so that the true risk is half of 1 - t.
            broken += u32::from((1.0 - chosen.thresholds[0].max(0.4)) / 2.0 > 0.15);
            assert!(promise.is_kept_by(chosen.certificate.handled, chosen.certificate.errors));
        }
        // Five in a hundred of 200 are 10, with a standard deviation of 3.
        assert!(given > 100 && broken <= 19, "{broken} broken of {given}");
    }

    #[test]
    fn too_few_rows_are_told_with_numbers() {
        let promise = Promise::new(0.01, Confidence::USUAL).unwrap();
        let rows = rows(1, 100, 9);
        let error =
            choose(Demand::Risk(promise), &Levels::learn(&rows), (&rows, &rows), Confidence::USUAL).unwrap_err();
        assert_eq!(error, ChoosingError::TooFewRows { risk: 0.01, confidence: 0.95, needed: 299, rows: 100 });
    }

    #[test]
    fn a_share_is_handled_and_a_frontier_goes_from_none_to_all() {
        let rows = rows(2, 400, 9);
        let levels = Levels::learn(&rows);
        let chosen = choose(Demand::Handled(0.5), &levels, (&rows, &rows), Confidence::USUAL).unwrap();
        let handled = rows.figures(Rule::From(&chosen.thresholds)).handled;
        assert!((0.5..0.53).contains(&handled), "{handled}");
        let points = levels.frontier(&rows);
        let handled: Vec<f64> = points.iter().map(|point| rows.figures(Rule::From(point)).handled).collect();
        assert!(handled.is_sorted() && handled[0] == 0.0 && handled.last() == Some(&1.0), "{handled:?}");
        assert!((11..=12).contains(&points.len()), "{}", points.len());
    }

    #[test]
    fn routing_is_not_worth_it_where_one_tier_is_as_good() {
        // A second tier that is no better than the first on the rows that it gets.
        let poor = rows(3, 400, 4);
        let Verdict::Alone(rival) = verdict(&poor, Rule::From(&[0.8])) else { panic!("it is not") };
        assert_eq!(rival.tier, 0);
        assert_eq!(verdict(&rows(3, 400, 10), Rule::From(&[0.8])), Verdict::WorthIt);
        // Nothing is saved where all goes on.
        let Verdict::Alone(rival) = verdict(&rows(3, 400, 10), Rule::From(&[NEVER])) else { panic!("it is not") };
        assert_eq!((rival.tier, rival.difference), (1, 0.0));
    }
}

//! Thresholds: found on rows that the method has not seen, and certified on others that had no part in anything.
//!
//! How reliable an answer is, is estimated from its probability and its label; a level of this reliability is a threshold for each
//! label. Levels are tried from the one that is likeliest to be certified downwards, each on the certifying rows, until one
//! does not hold (fixed-sequence testing, see [`slm_stats::guarantee`]), so that the promise holds however many are tried.
//!
//! Where a row is answered in stages (from a part of the layers, then from all of them), one level gives thresholds for every stage, the
//! first stage that is as reliable gives the answer, and what is counted, found and certified is the answers of all stages together.

use slm_stats::guarantee::Promise;
use slm_stats::linear::{Linear, Matrix, Settings};
use slm_stats::probabilistic::{Graded, RiskCoverage, logit};
use slm_stats::{Confidence, Proportion};

use crate::card::PromiseCard;
use crate::decision::Gate;
use crate::evidence::best;

/// No probability reaches it.
const NEVER: f64 = 2.0;
/// How much a label's own rows weigh against the pull to all labels alike.
const STRENGTH: f64 = 1.0;

/// What is asked of accepted answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Demand {
    /// At most this part of them is wrong, with this confidence.
    Risk(Promise),
    /// This part of the answers is accepted, 0 to 1.
    Coverage { share: f64, confidence: Confidence },
    /// What a wrong answer costs by its label, and what handing a row over costs: the cheaper of the two is done.
    Costs { of_errors: Vec<f64>, of_handing_over: f64, confidence: Confidence },
}

/// Answers with their labels: the probabilities of one method, or of one stage.
#[derive(Debug, Clone, Copy)]
pub struct Answers<'a> {
    pub probabilities: &'a [Vec<f64>],
    pub truths: &'a [usize],
}

/// Thresholds, and what the certifying rows say of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Thresholds {
    /// By stage.
    pub gates: Vec<Gate>,
    pub card: PromiseCard,
}

/// Why there are no thresholds.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PromiseError {
    #[error(
        "a risk of {risk} at a confidence of {confidence} needs {needed} accepted rows without an error, and {rows} rows are there to \
         certify it; add labelled rows, or ask for a higher risk"
    )]
    TooFewRows { risk: f64, confidence: f64, needed: u64, rows: usize },
    #[error(
        "no threshold keeps a risk of {risk} at a confidence of {confidence}: of the {rows} certifying rows the surest {accepted} have \
         {errors} wrong, and {needed} would have to be accepted with so many; {hint}"
    )]
    NotKept { risk: f64, confidence: f64, rows: usize, accepted: u64, errors: u64, needed: u64, hint: String },
}

impl Answers<'_> {
    fn n(&self) -> usize {
        self.truths.len()
    }

    /// Each answer with its probability, and whether it is right.
    fn each(&self) -> impl Iterator<Item = (usize, f64, bool)> + '_ {
        self.probabilities.iter().zip(self.truths).map(|(p, &truth)| {
            let answer = best(p);
            (answer, p[answer], answer == truth)
        })
    }

    /// As [`slm_stats`] wants them; answers that always go to a person count as failed.
    fn graded(&self, reliability: &Reliability, person: &[usize]) -> Vec<Graded> {
        let row = |(answer, p, is_right): (usize, f64, bool)| match person.contains(&answer) {
            true => Graded::FAILED,
            false => Graded { confidence: reliability.of(answer, p), is_right },
        };
        self.each().map(row).collect()
    }
}

/// How reliable each stage's answers are.
struct Stages(Vec<Reliability>);

impl Stages {
    fn learn(found: &[Answers<'_>], n_options: usize) -> Stages {
        Stages(found.iter().map(|stage| Reliability::learn(stage, n_options)).collect())
    }

    /// Rows by the stage that is the most reliable: the one that answers at the level from which on the row is accepted.
    fn graded(&self, rows: &[Answers<'_>], person: &[usize]) -> Vec<Graded> {
        let mut stages = rows.iter().zip(&self.0).map(|(stage, reliability)| stage.graded(reliability, person));
        let first = stages.next().unwrap_or_default();
        stages.fold(first, |mut best, stage| {
            for (best, own) in best.iter_mut().zip(stage) {
                *best = if own.confidence > best.confidence { own } else { *best };
            }
            best
        })
    }

    /// By stage, thresholds from which on the reliability is at least `level`.
    fn gates(&self, level: f64, person: &[usize]) -> Vec<Gate> {
        let gate = |stage: &Reliability| Gate { thresholds: stage.thresholds(level, person), person: person.to_vec() };
        self.0.iter().map(gate).collect()
    }
}

/// How often an answer with a probability and a label is right: a line over the probability's logit, with a step for each label.
#[derive(Debug, Clone, PartialEq)]
struct Reliability {
    slope: f64,
    /// By option.
    steps: Vec<f64>,
}

impl Reliability {
    /// Learned from answers; the probability itself where they are all right, all wrong, or say that sure answers are worse.
    fn learn(found: &Answers<'_>, n_options: usize) -> Self {
        let plain = Reliability { slope: 1.0, steps: vec![0.0; n_options] };
        let mut rows = Matrix::new(1 + n_options);
        let mut labels = Vec::with_capacity(found.n());
        for (answer, p, is_right) in found.each() {
            let column = 1 + u32::try_from(answer).expect("options are a thousand at most");
            let x = logit(p);
            rows.push_sparse(&if x == 0.0 { vec![(column, 1.0)] } else { vec![(0, x), (column, 1.0)] });
            labels.push(usize::from(is_right));
        }
        let settings = Settings { c: STRENGTH, ..Settings::default() };
        let Ok(linear) = Linear::fit(&rows, &labels, 2, &settings) else { return plain };
        let Some((weights, intercept)) = linear.coefficients(1) else { return plain };
        if weights[0] <= 0.05 {
            return plain;
        }
        Reliability { slope: weights[0], steps: weights[1..].iter().map(|step| step + intercept).collect() }
    }

    fn of(&self, answer: usize, p: f64) -> f64 {
        let x = self.slope * logit(p) + self.steps[answer];
        1.0 / (1.0 + libm::exp(-x))
    }

    /// By option, the probability from which on the reliability is at least `level`.
    fn thresholds(&self, level: f64, person: &[usize]) -> Vec<f64> {
        let of = |(option, step): (usize, &f64)| {
            if person.contains(&option) {
                return NEVER;
            }
            let x = (logit(level) - step) / self.slope;
            // A hair below, so that the row that gave the level stays in.
            1.0 / (1.0 + libm::exp(-x)) - 1e-9
        };
        self.steps.iter().enumerate().map(of).collect()
    }
}

/// Finds thresholds that meet a demand and certifies them. `found` are answers to rows that taught the method, each by what had not
/// seen it; `certifying` are answers of the method to rows that had no part in it. Both are by stage, of the same rows. `person` are
/// options that always go to a person.
///
/// # Errors
///
/// [`PromiseError`]: these rows cannot certify such a promise.
pub fn thresholds(
    demand: &Demand,
    found: &[Answers<'_>],
    certifying: &[Answers<'_>],
    person: &[usize],
) -> Result<Thresholds, PromiseError> {
    let stages = Stages::learn(found, n_options(found, certifying));
    let graded = stages.graded(found, person);
    match demand {
        Demand::Risk(promise) => kept(*promise, &stages, &graded, certifying, person),
        Demand::Coverage { share, confidence } => {
            let mut levels: Vec<f64> = graded.iter().map(|row| row.confidence).collect();
            levels.sort_by(|one, other| other.total_cmp(one));
            let wanted = (share.clamp(0.0, 1.0) * crate::learn::float(levels.len()) - 1e-9).ceil().max(1.0);
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // at most the number of rows
            let level = levels.get(wanted as usize - 1).copied().unwrap_or_default();
            Ok(certified(stages.gates(level, person), certifying, None, *confidence))
        }
        Demand::Costs { of_errors, of_handing_over, confidence } => {
            let threshold = |stage: &Reliability, option: usize, cost: f64| match person.contains(&option) {
                true => NEVER,
                false if cost <= *of_handing_over => 0.0,
                false => {
                    let level = 1.0 - of_handing_over / cost;
                    stage.thresholds(level, person)[option]
                }
            };
            let gate = |stage: &Reliability| {
                let thresholds = of_errors.iter().enumerate().map(|(option, &cost)| threshold(stage, option, cost));
                Gate { thresholds: thresholds.collect(), person: person.to_vec() }
            };
            Ok(certified(stages.0.iter().map(gate).collect(), certifying, None, *confidence))
        }
    }
}

fn n_options(found: &[Answers<'_>], rows: &[Answers<'_>]) -> usize {
    found.iter().chain(rows).find_map(|stage| stage.probabilities.first()).map_or(0, Vec::len)
}

/// The lowest level that keeps a promise.
fn kept(
    promise: Promise,
    stages: &Stages,
    graded: &[Graded],
    certifying: &[Answers<'_>],
    person: &[usize],
) -> Result<Thresholds, PromiseError> {
    let needed = promise.rows_needed(0);
    let (risk, confidence) = (promise.risk(), promise.confidence().share());
    let rows = certifying.first().map_or(0, Answers::n);
    if rows < usize::try_from(needed).unwrap_or(usize::MAX) {
        return Err(PromiseError::TooFewRows { risk, confidence, needed, rows });
    }
    let tried = promise.candidates(graded, rows).into_iter().map(|level| stages.gates(level, person));
    let kept = promise.last_kept(tried, |gates: &Vec<Gate>| counted(gates, certifying));
    let gates = kept.map_err(|(accepted, errors)| {
        let needed = promise.rows_needed(errors);
        let hint = hint(&stages.graded(certifying, person), promise);
        PromiseError::NotKept { risk, confidence, rows, accepted, errors, needed, hint }
    })?;
    Ok(certified(gates, certifying, Some(promise), promise.confidence()))
}

/// Accepted rows, and wrong ones of them: the first stage that accepts a row gives its answer.
fn counted(gates: &[Gate], rows: &[Answers<'_>]) -> (u64, u64) {
    let (mut accepted, mut errors) = (0, 0);
    for row in 0..rows.first().map_or(0, Answers::n) {
        let mut stages = gates.iter().zip(rows).map(|(gate, stage)| (gate.decision(&stage.probabilities[row]), stage));
        if let Some((decision, stage)) = stages.find(|(decision, _)| decision.abstention.is_none()) {
            accepted += 1;
            errors += u64::from(decision.best != stage.truths[row]);
        }
    }
    (accepted, errors)
}

fn certified(gates: Vec<Gate>, stages: &[Answers<'_>], promise: Option<Promise>, confidence: Confidence) -> Thresholds {
    let (accepted, errors) = counted(&gates, stages);
    let n = stages.first().map_or(0, Answers::n);
    let is_right = |row: &usize| stages.iter().any(|stage| best(&stage.probabilities[*row]) == stage.truths[*row]);
    let n_right = (0..n).filter(is_right).count();
    let share = crate::learn::float(n_right) / crate::learn::float(n.max(1));
    let risk = promise.map(Promise::risk);
    let card = PromiseCard {
        risk,
        confidence: confidence.share(),
        rows: n as u64,
        accepted,
        errors,
        risk_at_most: Proportion { hits: errors, n: accepted }.at_most(confidence),
        coverage_bound: risk.map_or(1.0, |risk| (share / (1.0 - risk)).min(1.0)),
    };
    Thresholds { gates, card }
}

/// The lowest of some usual risks above the promised one that the surest rows would certify, as what to ask for instead.
fn hint(graded: &[Graded], promise: Promise) -> String {
    let points = RiskCoverage::new(graded.iter().copied()).points;
    let usual = [0.02, 0.03, 0.05, 0.08, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5].into_iter();
    let lowest = usual.filter(|&risk| risk > promise.risk()).find(|&risk| {
        let promise = Promise::new(risk, promise.confidence()).expect("they are risks");
        points.iter().any(|point| promise.is_kept_by(point.n, point.errors))
    });
    match lowest {
        Some(risk) => format!("a risk of {risk} may be possible, as may be more with more labelled rows"),
        None => "no usual risk is possible with these answers; a better model, prompt or more rows may help".to_owned(),
    }
}

/// One point of what a threshold buys.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct FrontierPoint {
    pub coverage: f64,
    /// The part of the accepted rows that is wrong, and its exact upper bound at the confidence, for this point alone.
    pub risk: f64,
    pub risk_at_most: f64,
}

/// Risk by coverage on rows, in steps of a tenth: of these very rows, which is no promise. Both are by stage.
#[must_use]
pub fn frontier(
    found: &[Answers<'_>],
    rows: &[Answers<'_>],
    person: &[usize],
    confidence: Confidence,
) -> Vec<FrontierPoint> {
    let stages = Stages::learn(found, n_options(found, rows));
    let mut graded = stages.graded(rows, person);
    graded.sort_by(|one, other| other.confidence.total_cmp(&one.confidence));
    let point = |tenths: usize| {
        let n = graded.len() * tenths / 10;
        let errors = graded[..n].iter().filter(|row| !row.is_right).count();
        let rate = Proportion { hits: errors as u64, n: n as u64 };
        let coverage = crate::learn::float(n) / crate::learn::float(graded.len().max(1));
        (n > 0).then(|| FrontierPoint {
            coverage,
            risk: rate.value().unwrap_or_default(),
            risk_at_most: rate.at_most(confidence),
        })
    };
    (1..=10).filter_map(point).collect()
}

#[cfg(test)]
#[path = "promise/tests.rs"]
mod tests;

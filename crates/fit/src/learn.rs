//! Learning from labelled rows: every method is tried on rows that it has not seen, and what does not beat doing nothing is refused.
//!
//! Regressions are asked about each fold after learning from the others; pools are then learned from these answers, again fold by
//! fold. The method with the lowest negative log-likelihood wins among those that have no fewer rows right than the best beyond
//! chance; then it learns from all rows.

mod choice;
mod experts;
mod parallel;
mod pool;
mod rows;
pub(crate) mod trial;
mod words;

use crate::card::{Figures, Tried};
use crate::evidence::{Evidence, normalised, softmax};
use crate::method::{Method, MethodName, Pool, among_all, seen_only, with_unseen};
pub use choice::{Compared, Refusal, compared};
use choice::{chosen, refusal, table_of, with_p_values};
use experts::{Spec, Trained};
use pool::{Biases, Sides};
use rows::Rows;
pub(crate) use rows::same_text;
use trial::Judged;

/// Fewer rows teach a temperature at most.
pub const FEWEST_ROWS: usize = 30;
/// How far biases may stray: the spreads that are tried.
const SPREADS: [f64; 3] = [0.3, 1.0, 3.0];

/// One row with its label.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Labelled<'a> {
    pub evidence: Evidence<'a>,
    /// The option that is right.
    pub truth: usize,
}

/// What to learn from.
#[derive(Debug, Clone, Copy)]
pub struct LearnRequest<'a> {
    /// Of one closed field.
    pub rows: &'a [Labelled<'a>],
    /// The options' texts, in the contract's order.
    pub options: &'a [String],
    pub basis: Basis,
    /// The same seed parts the rows in the same way.
    pub seed: u64,
    /// The numbers that are learned do not depend on it.
    pub n_threads: usize,
}

/// What the model says of rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Basis {
    /// Log-probabilities, with or without a hidden state.
    #[default]
    Scores,
    /// A hidden state alone: no label was read ([`unread`](crate::unread)). What reads no state is not tried, for it needs no model.
    State,
    /// Nothing: texts and their labels alone teach, and no model is asked, now or later.
    Words,
}

/// What was learned for one field.
#[derive(Debug, Clone, PartialEq)]
pub struct Learned {
    pub method: Method,
    /// The given rows that taught: each text once for each label.
    pub places: Vec<usize>,
    pub rows_by_option: Vec<u64>,
    /// Of those rows, by the chosen method without having seen them.
    pub out_of_fold: Vec<Vec<f64>>,
    /// Every method, nothing first.
    pub tried: Vec<Tried>,
    /// The bag of words alone, without any model.
    pub words_alone: Option<Figures>,
    /// Why nothing is done, where nothing is.
    pub refusal: Option<Refusal>,
}

/// Why nothing can be learned.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LearnError {
    #[error(
        "the {rows} rows have {found} of the field's labels; at least 2 different labels are needed to learn anything, so add rows \
         of the others"
    )]
    TooFewClasses { found: usize, rows: usize },
    #[error("row {row} is not of a field with {n_options} options")]
    NotOfTheField { row: usize, n_options: usize },
    #[error("row {row} has another hidden state than the first row, or none; ask all rows of one model in one way")]
    States { row: usize },
}

/// A method with what it says of rows that it has not seen.
struct Candidate {
    plan: Plan,
    probabilities: Vec<Vec<f64>>,
}

/// How a method is learned.
#[derive(Clone)]
enum Plan {
    Nothing,
    Centring,
    Pool { name: MethodName, experts: Vec<usize>, biases: Biases },
}

impl Plan {
    fn name(&self) -> MethodName {
        match self {
            Plan::Nothing => MethodName::Nothing,
            Plan::Centring => MethodName::Centring,
            Plan::Pool { name, .. } => *name,
        }
    }
}

/// How good probabilities of rows are, which have these options as labels.
#[must_use]
pub fn trial_figures(probabilities: &[Vec<f64>], truths: &[usize]) -> Figures {
    Judged { probabilities, truths }.figures()
}

/// Learns what helps, if anything does.
///
/// # Errors
///
/// [`LearnError`]: the rows are not of one field, or have fewer than two labels.
pub fn learn(request: &LearnRequest<'_>) -> Result<Learned, LearnError> {
    let rows = Rows::new(request.rows, request.options, request.seed)?;
    if request.basis == Basis::Words {
        return Ok(words::learn(request, &rows));
    }
    let trained = trained(&rows, request.basis, request.n_threads);
    let plans = plans(&rows, request.basis, &trained);
    let candidates = parallel::map(plans.len(), request.n_threads, |at| tried(&rows, &trained, &plans[at]));
    let truths = rows.truths();
    let judged: Vec<Judged<'_>> =
        candidates.iter().map(|one| Judged { probabilities: &one.probabilities, truths: &truths }).collect();
    let tried = parallel::map(judged.len(), request.n_threads, |at| table_of(candidates[at].plan.name(), judged[at]));
    let tried = with_p_values(tried, &judged);
    let best = chosen(&tried, &judged);
    let refusal = refusal(&tried, &judged, best);
    let best = if refusal.is_some() { 0 } else { best };
    let words_alone = trained.iter().find(|one| one.spec == experts::WORDS).map(|words| {
        let fitted = words.out_of_fold.iter().map(|scores| softmax(scores));
        let whole: Vec<Vec<f64>> = fitted.map(|p| among_all(&p, &rows.seen)).collect();
        Judged { probabilities: &whole, truths: &truths }.figures()
    });
    Ok(Learned {
        method: learned(&rows, &trained, &candidates[best].plan),
        places: rows.places.clone(),
        rows_by_option: rows.by_option(),
        out_of_fold: candidates.into_iter().nth(best).expect("it is one of them").probabilities,
        tried,
        words_alone,
        refusal,
    })
}

/// Subtracts each label's mean log-probability over texts, which needs no labels; `shares` are those that the classes are known to
/// have, without them all are taken to be as frequent.
#[must_use]
pub fn centring(logprobs: &[&[f64]], shares: Option<&[f64]>) -> Method {
    let rows: Vec<Vec<f64>> = logprobs.iter().map(|row| normalised(row)).collect();
    let mut shift = means(rows.iter().map(Vec::as_slice));
    if let Some(shares) = shares {
        shift.iter_mut().zip(shares).for_each(|(shift, share)| *shift -= libm::log(share.max(1e-6)));
    }
    Method::Centring { shift }
}

fn means<'r>(rows: impl Iterator<Item = &'r [f64]>) -> Vec<f64> {
    let (mut sums, mut n) = (Vec::new(), 0);
    for row in rows {
        sums.resize(row.len(), 0.0);
        sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        n += 1;
    }
    sums.iter().map(|sum| sum / float(n.max(1))).collect()
}

/// The regressions that pools are made of.
fn trained(rows: &Rows<'_>, basis: Basis, n_threads: usize) -> Vec<Trained> {
    if rows.n() < FEWEST_ROWS {
        return Vec::new();
    }
    let specs: &[Spec] = match (basis, rows.has_states()) {
        (Basis::Scores, true) => &[experts::LOGPROBS, experts::WORDS, experts::STATE, experts::JOINT],
        (Basis::Scores, false) => &[experts::LOGPROBS, experts::WORDS, experts::JOINT_WITHOUT_STATE],
        (Basis::Words, _) => &[experts::WORDS],
        (Basis::State, _) => &[experts::WORDS, experts::STATE, experts::JOINT_WITHOUT_SCORES],
    };
    specs.iter().map(|&spec| experts::train(rows, spec, n_threads)).collect()
}

fn plans(rows: &Rows<'_>, basis: Basis, trained: &[Trained]) -> Vec<Plan> {
    let at = |spec: Spec| trained.iter().position(|one| one.spec == spec);
    if basis == Basis::State {
        let pools = [
            (MethodName::State, vec![at(experts::WORDS), at(experts::STATE)]),
            (MethodName::Joint, vec![at(experts::JOINT_WITHOUT_SCORES)]),
        ];
        return [Plan::Nothing].into_iter().chain(pooled_plans(pools)).collect();
    }
    let temperature = Plan::Pool { name: MethodName::Temperature, experts: vec![], biases: Biases::None };
    let mut plans = vec![Plan::Nothing, Plan::Centring, temperature];
    if rows.n() < FEWEST_ROWS {
        return plans;
    }
    let pools = [
        (MethodName::Affine, vec![]),
        (MethodName::Logprobs, vec![at(experts::LOGPROBS)]),
        (MethodName::Words, vec![at(experts::LOGPROBS), at(experts::WORDS)]),
        (MethodName::State, vec![at(experts::LOGPROBS), at(experts::WORDS), at(experts::STATE)]),
        (MethodName::Joint, vec![at(experts::JOINT).or(at(experts::JOINT_WITHOUT_STATE))]),
    ];
    plans.extend(pooled_plans(pools));
    plans
}

/// Pools of those regressions that there are.
fn pooled_plans<const N: usize>(pools: [(MethodName, Vec<Option<usize>>); N]) -> impl Iterator<Item = Plan> {
    pools.into_iter().filter_map(|(name, experts)| {
        let experts = experts.into_iter().collect::<Option<Vec<usize>>>()?;
        Some(Plan::Pool { name, experts, biases: Biases::Spread(SPREADS[0]) })
    })
}

/// What a method says of each row after learning from the other folds.
fn tried(rows: &Rows<'_>, trained: &[Trained], plan: &Plan) -> Candidate {
    match plan {
        Plan::Nothing => {
            Candidate { plan: plan.clone(), probabilities: rows.raw.iter().map(|raw| softmax(raw)).collect() }
        }
        Plan::Centring => {
            let probabilities = rows.cross_fitted(|outside| {
                let shift = means(outside.iter().map(|&row| rows.raw[row].as_slice()));
                move |row: usize| {
                    let scores = rows.raw[row].iter().zip(&shift).map(|(raw, shift)| raw - shift);
                    softmax(&scores.collect::<Vec<f64>>())
                }
            });
            Candidate { plan: plan.clone(), probabilities }
        }
        Plan::Pool { name, experts, biases } => {
            let sides = sides(rows, trained, experts);
            let spreads: Vec<Biases> = match biases {
                Biases::None => vec![Biases::None],
                Biases::Spread(_) => SPREADS.into_iter().map(Biases::Spread).collect(),
            };
            let whole = |p: &[f64], row: usize| with_unseen(p, &rows.raw[row], &rows.seen);
            let (biases, probabilities) = best_pool(rows, &sides, &spreads, whole);
            Candidate { plan: Plan::Pool { name: *name, experts: experts.clone(), biases }, probabilities }
        }
    }
}

/// The model and the regressions side by side, over the seen labels.
fn sides(rows: &Rows<'_>, trained: &[Trained], experts: &[usize]) -> Sides {
    let mut values = Vec::with_capacity(rows.n() * (1 + experts.len()) * rows.n_seen());
    for row in 0..rows.n() {
        values.extend(seen_only(&rows.raw[row], &rows.seen));
        experts.iter().for_each(|&expert| values.extend(&trained[expert].out_of_fold[row]));
    }
    Sides { n_sides: 1 + experts.len(), n_labels: rows.n_seen(), values }
}

/// Of these spreads of biases the one whose pool is the likeliest, and what that pool says of each row after learning from the other
/// folds. `whole` makes probabilities of all options from those of the seen labels of a row.
fn best_pool(
    rows: &Rows<'_>,
    sides: &Sides,
    spreads: &[Biases],
    whole: impl Fn(&[f64], usize) -> Vec<f64>,
) -> (Biases, Vec<Vec<f64>>) {
    let truths = rows.truths();
    let whole = &whole;
    let pooled = |&biases: &Biases| {
        let probabilities = rows.cross_fitted(|outside| {
            let labels: Vec<usize> = outside.iter().map(|&row| rows.labels[row]).collect();
            let weights = pool::fit(sides, outside, &labels, biases);
            move |row: usize| whole(&sides.probabilities(row, &weights), row)
        });
        let loss: f64 = Judged { probabilities: &probabilities, truths: &truths }.losses().iter().sum();
        (loss, biases, probabilities)
    };
    let best = spreads.iter().map(pooled).min_by(|one, other| one.0.total_cmp(&other.0));
    let (_, biases, probabilities) = best.expect("one at least is tried");
    (biases, probabilities)
}

/// The method that all rows teach.
fn learned(rows: &Rows<'_>, trained: &[Trained], plan: &Plan) -> Method {
    match plan {
        Plan::Nothing => Method::Nothing,
        Plan::Centring => Method::Centring { shift: means(rows.raw.iter().map(Vec::as_slice)) },
        Plan::Pool { name, experts, biases } => {
            let sides = sides(rows, trained, experts);
            let all: Vec<usize> = (0..rows.n()).collect();
            let weights = pool::fit(&sides, &all, &rows.labels, *biases);
            let expert = |(nth, &at): (usize, &usize)| {
                let one = &trained[at];
                let expert = experts::learn(rows, one.spec, one.pull).expect("there are two labels");
                (weights.sides[1 + nth], expert)
            };
            Method::Pool(Box::new(Pool {
                name: *name,
                seen: rows.seen.clone(),
                raw_weight: weights.sides[0],
                experts: experts.iter().enumerate().map(expert).collect(),
                biases: weights.biases.clone(),
            }))
        }
    }
}

#[allow(clippy::cast_precision_loss)] // counts of rows, far below 2^53
pub(crate) fn float(n: usize) -> f64 {
    n as f64
}

#[cfg(test)]
#[path = "learn/tests.rs"]
mod tests;

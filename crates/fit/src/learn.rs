//! Learning from labelled rows: every method is tried on rows that it has not seen, and what does not beat doing nothing is refused.
//!
//! Regressions are asked about each fold after learning from the others; pools are then learned from these answers, again fold by
//! fold. The method with the lowest negative log-likelihood wins among those that have no fewer rows right than the best beyond
//! chance; then it learns from all rows.

mod experts;
mod parallel;
mod pool;
mod rows;
pub(crate) mod trial;
mod words;

use crate::card::{Figures, Tried};
use crate::evidence::{Evidence, normalised, softmax};
use crate::method::{Method, MethodName, Pool, among_all, seen_only, with_unseen};
use experts::{Spec, Trained};
use pool::{Biases, Sides};
use rows::Rows;
pub(crate) use rows::same_text;
use trial::{Judged, p_of_better, p_of_less_right};

/// Fewer rows teach a temperature at most.
pub const FEWEST_ROWS: usize = 30;
/// The level of the tests.
const LEVEL: f64 = 0.05;
/// What learns more has to be better with this much of a doubt at most.
const DOUBT: f64 = 0.2;
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

/// Why no method is used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Refusal {
    /// The best does not beat doing nothing beyond chance.
    NotBetter { best: MethodName, before: f64, after: f64, p_value: f64, rows: usize },
    /// It has fewer rows right than the model alone.
    FewerRight { best: MethodName, before: f64, after: f64 },
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refusal::NotBetter { best, before, after, p_value, rows } => write!(
                out,
                "the best method, {best}, has a negative log-likelihood of {after:.3} against {before:.3} without on {rows} held-out \
                 rows (p = {p_value:.2}), which may be chance; the model stays as it is; more labelled rows may show a difference"
            ),
            Refusal::FewerRight { best, before, after } => write!(
                out,
                "the best method, {best}, has fewer rows right than the model alone ({after:.3} against {before:.3}); the model \
                 stays as it is"
            ),
        }
    }
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
    let truths: Vec<usize> = rows.rows.iter().map(|row| row.truth).collect();
    let judged: Vec<Judged<'_>> =
        candidates.iter().map(|one| Judged { probabilities: &one.probabilities, truths: &truths }).collect();
    let tried = parallel::map(judged.len(), request.n_threads, |at| table_of(candidates[at].plan.name(), judged[at]));
    let tried = with_p_values(tried, &judged);
    let best = chosen(&tried, &judged);
    let refusal = refusal(&tried, &judged, best);
    let best = if refusal.is_some() { 0 } else { best };
    let mut rows_by_option = vec![0; request.options.len()];
    truths.iter().for_each(|&truth| rows_by_option[truth] += 1);
    let words_alone = trained.iter().find(|one| one.spec == experts::WORDS).map(|words| {
        let fitted = words.out_of_fold.iter().map(|scores| softmax(scores));
        let whole: Vec<Vec<f64>> = fitted.map(|p| among_all(&p, &rows.seen)).collect();
        Judged { probabilities: &whole, truths: &truths }.figures()
    });
    Ok(Learned {
        method: learned(&rows, &trained, &candidates[best].plan),
        places: rows.places.clone(),
        rows_by_option,
        out_of_fold: candidates.into_iter().nth(best).expect("it is one of them").probabilities,
        tried,
        words_alone,
        refusal,
    })
}

/// How good answers from a part of the layers are, against answers of the whole model to the same rows.
#[must_use]
pub fn compared(early: &[Vec<f64>], whole: &[Vec<f64>], truths: &[usize]) -> Compared {
    let [early, whole] = [early, whole].map(|probabilities| Judged { probabilities, truths });
    Compared {
        figures: early.figures(),
        p_as_right: p_of_less_right(&whole.graded(), &early.graded()),
        p_as_likely: p_of_better(&early.losses(), &whole.losses()),
    }
}

/// Answers from a part of the layers, against those of the whole model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Compared {
    pub figures: Figures,
    /// One-sided: how likely they would have so many fewer rows right, or so much worse a likelihood, if they were as good.
    pub p_as_right: f64,
    pub p_as_likely: f64,
}

impl Compared {
    /// Whether they are not clearly worse, as methods of the whole model are held against each other.
    #[must_use]
    pub fn is_as_good(&self) -> bool {
        self.p_as_right > LEVEL && self.p_as_likely > DOUBT
    }
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
            let mut probabilities = vec![Vec::new(); rows.n()];
            for fold in 0..rows.n_folds {
                let shift = means(rows.outside(fold).iter().map(|&row| rows.raw[row].as_slice()));
                for row in rows.inside(fold) {
                    let scores: Vec<f64> = rows.raw[row].iter().zip(&shift).map(|(raw, shift)| raw - shift).collect();
                    probabilities[row] = softmax(&scores);
                }
            }
            Candidate { plan: plan.clone(), probabilities }
        }
        Plan::Pool { name, experts, biases } => {
            let sides = sides(rows, trained, experts);
            let spreads: Vec<Biases> = match biases {
                Biases::None => vec![Biases::None],
                Biases::Spread(_) => SPREADS.into_iter().map(Biases::Spread).collect(),
            };
            let of = |biases: Biases| {
                let probabilities = pooled(rows, &sides, biases);
                let loss: f64 = probabilities
                    .iter()
                    .zip(&rows.rows)
                    .map(|(p, row)| -libm::log(p[row.truth].max(f64::EPSILON)))
                    .sum();
                (loss, biases, probabilities)
            };
            let best = spreads.into_iter().map(of).min_by(|one, other| one.0.total_cmp(&other.0));
            let (_, biases, probabilities) = best.expect("one at least is tried");
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

/// What a pool says of each row after learning from the other folds.
fn pooled(rows: &Rows<'_>, sides: &Sides, biases: Biases) -> Vec<Vec<f64>> {
    let mut probabilities = vec![Vec::new(); rows.n()];
    for fold in 0..rows.n_folds {
        let outside = rows.outside(fold);
        let labels: Vec<usize> = outside.iter().map(|&row| rows.labels[row]).collect();
        let weights = pool::fit(sides, &outside, &labels, biases);
        for row in rows.inside(fold) {
            probabilities[row] = with_unseen(&sides.probabilities(row, &weights), &rows.raw[row], &rows.seen);
        }
    }
    probabilities
}

fn table_of(method: MethodName, judged: Judged<'_>) -> Tried {
    let [accuracy_interval, nll_interval, ece_interval] = judged.intervals();
    let figures = judged.figures();
    Tried { method, figures, accuracy_interval, nll_interval, ece_interval, p_value: None }
}

/// Against nothing, which is the first. They are not corrected for their number: methods that learn much the same stand or fall together,
/// and on rows of a calibrated model (`learn/tests`) hardly more are wrongly chosen than the level says.
fn with_p_values(mut tried: Vec<Tried>, judged: &[Judged<'_>]) -> Vec<Tried> {
    let nothing = judged[0].losses();
    let p_values: Vec<f64> = judged[1..].iter().map(|one| p_of_better(&nothing, &one.losses())).collect();
    tried[1..].iter_mut().zip(p_values).for_each(|(tried, p)| tried.p_value = Some(p));
    tried
}

/// Of the methods that have no fewer rows right than the one with the most, beyond chance, the first that is not clearly worse in
/// likelihood than the best of them: they stand in the order of what they learn and cost.
fn chosen(tried: &[Tried], judged: &[Judged<'_>]) -> usize {
    let accuracy = |at: usize| tried[at].figures.accuracy;
    let most = (0..tried.len()).fold(0, |most, at| if accuracy(at) > accuracy(most) { at } else { most });
    let graded = judged[most].graded();
    let is_good = |at: &usize| *at == most || p_of_less_right(&graded, &judged[*at].graded()) > LEVEL;
    let good: Vec<usize> = (0..tried.len()).filter(is_good).collect();
    let nll = |at: usize| tried[at].figures.nll;
    let best = good.iter().copied().fold(most, |best, at| if nll(at) < nll(best) { at } else { best });
    let losses = judged[best].losses();
    let is_close = |at: &usize| *at == best || p_of_better(&judged[*at].losses(), &losses) > DOUBT;
    good.into_iter().find(is_close).unwrap_or(best)
}

fn refusal(tried: &[Tried], judged: &[Judged<'_>], best: usize) -> Option<Refusal> {
    if best == 0 {
        // Nothing is the best itself: told by its closest rival.
        let rival = tried[1..].iter().min_by(|one, other| one.figures.nll.total_cmp(&other.figures.nll))?;
        return Some(not_better(tried, rival));
    }
    let (method, p) = (&tried[best], tried[best].p_value.unwrap_or(1.0));
    if p > LEVEL {
        return Some(not_better(tried, method));
    }
    if p_of_less_right(&judged[0].graded(), &judged[best].graded()) <= LEVEL {
        let (before, after) = (tried[0].figures.accuracy, method.figures.accuracy);
        return Some(Refusal::FewerRight { best: method.method, before, after });
    }
    None
}

fn not_better(tried: &[Tried], best: &Tried) -> Refusal {
    Refusal::NotBetter {
        best: best.method,
        before: tried[0].figures.nll,
        after: best.figures.nll,
        p_value: best.p_value.unwrap_or(1.0),
        rows: usize::try_from(best.figures.rows).unwrap_or(usize::MAX),
    }
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

//! Which of the methods that were tried is used: the paired tests, and why none is.

use std::fmt;

use super::trial::{Judged, p_of_better, p_of_less_right};
use crate::card::{Figures, Tried};
use crate::method::MethodName;

/// The level of the tests.
pub(super) const LEVEL: f64 = 0.05;
/// What learns more has to be better with this much of a doubt at most.
const DOUBT: f64 = 0.2;

/// Why no method is used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Refusal {
    /// The best does not beat doing nothing beyond chance.
    NotBetter { best: MethodName, before: f64, after: f64, p_value: f64, rows: usize },
    /// It has fewer rows right than the model alone.
    FewerRight { best: MethodName, before: f64, after: f64 },
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
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

pub(super) fn table_of(method: MethodName, judged: Judged<'_>) -> Tried {
    let [accuracy_interval, nll_interval, ece_interval] = judged.intervals();
    let figures = judged.figures();
    Tried { method, figures, accuracy_interval, nll_interval, ece_interval, p_value: None }
}

/// Against nothing, which is the first. They are not corrected for their number: methods that learn much the same stand or fall together,
/// and on rows of a calibrated model (`learn/tests`) hardly more are wrongly chosen than the level says.
pub(super) fn with_p_values(mut tried: Vec<Tried>, judged: &[Judged<'_>]) -> Vec<Tried> {
    let nothing = judged[0].losses();
    let p_values: Vec<f64> = judged[1..].iter().map(|one| p_of_better(&nothing, &one.losses())).collect();
    tried[1..].iter_mut().zip(p_values).for_each(|(tried, p)| tried.p_value = Some(p));
    tried
}

/// Of the methods that have no fewer rows right than the one with the most, beyond chance, the first that is not clearly worse in
/// likelihood than the best of them: they stand in the order of what they learn and cost.
pub(super) fn chosen(tried: &[Tried], judged: &[Judged<'_>]) -> usize {
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

pub(super) fn refusal(tried: &[Tried], judged: &[Judged<'_>], best: usize) -> Option<Refusal> {
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

pub(super) fn not_better(tried: &[Tried], best: &Tried) -> Refusal {
    Refusal::NotBetter {
        best: best.method,
        before: tried[0].figures.nll,
        after: best.figures.nll,
        p_value: best.p_value.unwrap_or(1.0),
        rows: usize::try_from(best.figures.rows).unwrap_or(usize::MAX),
    }
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

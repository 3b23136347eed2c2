//! What a cascade would have done with rows that all of its tiers have answered: where each row ends with some thresholds, how right
//! that is, what it costs and how long it takes. It asks nobody.

use slm_stats::paired::Pairs;

use crate::cascade::Exhausted;

/// No probability reaches it.
pub const NEVER: f64 = 2.0;

/// What a tier said of a row.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct TierRow {
    /// Whether its answer is right, taken or not; `None` where it was not asked or gave none.
    pub is_right: Option<bool>,
    /// What is held against a threshold; `None` where the answer goes on whatever the threshold.
    pub confidence: Option<f64>,
    /// Whether the cascade takes the answer as it is now.
    pub is_taken: bool,
    pub ms: f64,
    pub cost: f64,
}

/// Rows with what every tier said of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Routed {
    /// By row, then by tier.
    pub rows: Vec<Vec<TierRow>>,
    pub on_exhausted: Exhausted,
}

/// Which answers of the tiers but the last are taken; the last takes what it takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule<'a> {
    /// As the cascade is now.
    AsItIs,
    /// From these on, one for each tier but the last.
    From(&'a [f64]),
}

/// Where a row ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RowEnd {
    /// `None` where it is left to a person, or nobody answered.
    pub tier: Option<usize>,
    pub is_right: bool,
    pub ms: f64,
    pub cost: f64,
}

/// Figures of rows.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Figures {
    /// The share of rows that end at each tier.
    pub shares: Vec<f64>,
    /// The share of rows that end before the last tier, and the part of these that is wrong.
    pub handled: f64,
    pub risk: f64,
    /// The share that no tier answers.
    pub left_over: f64,
    /// Right ones of all rows; what is left over is not right.
    pub accuracy: f64,
    /// Of a row, on average.
    pub ms: f64,
    pub cost: f64,
}

impl Routed {
    #[must_use]
    pub fn n_tiers(&self) -> usize {
        self.rows.first().map_or(0, Vec::len)
    }

    /// The rows at these places.
    #[must_use]
    pub fn part(&self, places: &[usize]) -> Routed {
        Routed { rows: places.iter().map(|&at| self.rows[at].clone()).collect(), on_exhausted: self.on_exhausted }
    }

    /// Where each row ends.
    pub fn ends<'a>(&'a self, rule: Rule<'a>) -> impl Iterator<Item = RowEnd> + 'a {
        self.rows.iter().map(move |tiers| self.end(tiers, rule))
    }

    fn end(&self, tiers: &[TierRow], rule: Rule<'_>) -> RowEnd {
        let (mut ms, mut cost, mut last) = (0.0, 0.0, None);
        for (nth, row) in tiers.iter().enumerate() {
            ms += row.ms;
            cost += row.cost;
            let is_taken = match rule {
                Rule::From(thresholds) if nth + 1 < tiers.len() => {
                    row.confidence.is_some_and(|confidence| confidence >= thresholds[nth])
                }
                _ => row.is_taken,
            };
            let Some(is_right) = row.is_right else { continue };
            if is_taken {
                return RowEnd { tier: Some(nth), is_right, ms, cost };
            }
            last = Some((nth, is_right));
        }
        let best = last.filter(|_| self.on_exhausted == Exhausted::Best);
        RowEnd { tier: best.map(|best| best.0), is_right: best.is_some_and(|best| best.1), ms, cost }
    }

    /// The figures with a rule.
    #[must_use]
    pub fn figures(&self, rule: Rule<'_>) -> Figures {
        figures(self.ends(rule), self.n_tiers())
    }

    /// Each row as one tier alone answers it.
    pub fn alone(&self, tier: usize) -> impl Iterator<Item = RowEnd> + '_ {
        self.rows.iter().map(move |tiers| {
            let TierRow { is_right, ms, cost, .. } = tiers[tier];
            RowEnd { tier: is_right.map(|_| tier), is_right: is_right == Some(true), ms, cost }
        })
    }

    /// The figures of one tier alone.
    #[must_use]
    pub fn figures_alone(&self, tier: usize) -> Figures {
        figures(self.alone(tier), self.n_tiers())
    }

    /// Who knew for each row which tiers are right would ask the first of these, and the first of all where none is.
    #[must_use]
    pub fn oracle(&self) -> Figures {
        let best = |tiers: &Vec<TierRow>| {
            let tier = tiers.iter().position(|row| row.is_right == Some(true)).unwrap_or(0);
            let TierRow { is_right, ms, cost, .. } = tiers[tier];
            RowEnd { tier: is_right.map(|_| tier), is_right: is_right == Some(true), ms, cost }
        };
        figures(self.rows.iter().map(best), self.n_tiers())
    }

    /// Rows by whether the cascade with a rule and a tier alone have them right.
    #[must_use]
    pub fn pairs(&self, rule: Rule<'_>, tier: usize) -> Pairs {
        Pairs::count(self.ends(rule).zip(self.alone(tier)).map(|(cascade, alone)| (cascade.is_right, alone.is_right)))
    }

    /// Answers of the tiers but the last that are taken, and wrong ones of these.
    #[must_use]
    pub fn handled(&self, rule: Rule<'_>) -> (u64, u64) {
        let last = self.n_tiers().saturating_sub(1);
        let handled = self.ends(rule).filter(|end| end.tier.is_some_and(|tier| tier < last));
        handled.fold((0, 0), |(n, errors), end| (n + 1, errors + u64::from(!end.is_right)))
    }
}

fn figures(ends: impl Iterator<Item = RowEnd>, n_tiers: usize) -> Figures {
    let mut counts = vec![0_usize; n_tiers];
    let (mut n, mut right, mut handled_wrong, mut ms, mut cost) = (0_usize, 0_usize, 0_usize, 0.0, 0.0);
    for end in ends {
        n += 1;
        right += usize::from(end.is_right);
        ms += end.ms;
        cost += end.cost;
        if let Some(tier) = end.tier {
            counts[tier] += 1;
            handled_wrong += usize::from(tier + 1 < n_tiers && !end.is_right);
        }
    }
    let share = |of: usize| float(of) / float(n.max(1));
    let handled: usize = counts.iter().take(n_tiers.saturating_sub(1)).sum();
    Figures {
        handled: share(handled),
        risk: float(handled_wrong) / float(handled.max(1)),
        left_over: share(n - counts.iter().sum::<usize>()),
        shares: counts.into_iter().map(share).collect(),
        accuracy: share(right),
        ms: ms / float(n.max(1)),
        cost: cost / float(n.max(1)),
    }
}

#[allow(clippy::cast_precision_loss)] // counts of rows, far below 2^53
pub(crate) fn float(n: usize) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row(confidence: f64, is_right: bool) -> TierRow {
        TierRow { is_right: Some(is_right), confidence: Some(confidence), is_taken: true, ms: 1.0, cost: 0.5 }
    }

    fn routed(rows: Vec<Vec<TierRow>>) -> Routed {
        Routed { rows, on_exhausted: Exhausted::Review }
    }

    #[test]
    fn a_row_ends_where_it_is_sure_enough_and_pays_for_all_before() {
        let silent = TierRow { is_right: None, confidence: None, is_taken: false, ms: 2.0, cost: 0.0 };
        let routed = routed(vec![
            vec![row(0.9, true), row(0.9, false)],
            vec![row(0.6, false), row(0.9, true)],
            vec![row(0.6, true), silent],
        ]);
        let figures = routed.figures(Rule::From(&[0.8]));
        assert_eq!(
            (figures.handled, figures.risk, figures.shares.clone()),
            (1.0 / 3.0, 0.0, vec![1.0 / 3.0, 1.0 / 3.0])
        );
        assert_eq!((figures.accuracy, figures.left_over), (2.0 / 3.0, 1.0 / 3.0));
        assert!((figures.ms - 2.0).abs() < 1e-12 && (figures.cost - 2.0 / 3.0).abs() < 1e-12, "{figures:?}");
        let best = Routed { on_exhausted: Exhausted::Best, ..routed.clone() };
        assert_eq!(best.figures(Rule::From(&[0.8])).accuracy, 1.0);
        assert_eq!((routed.oracle().accuracy, routed.figures_alone(1).accuracy), (1.0, 1.0 / 3.0));
        assert_eq!(routed.handled(Rule::AsItIs), (3, 1));
        let pairs = routed.pairs(Rule::From(&[0.8]), 0);
        assert_eq!((pairs.both, pairs.only_first, pairs.only_second, pairs.neither), (1, 1, 1, 0));
    }

    proptest! {
        /// A perfect choice is never beaten, and lower thresholds never handle less.
        #[test]
        fn the_oracle_is_a_ceiling(
            rows in prop::collection::vec(prop::collection::vec((0.0f64..1.0, any::<bool>()), 3), 1..40),
            high in 0.0f64..1.0, less in 0.0f64..1.0,
        ) {
            let rows = rows.into_iter().map(|tiers| tiers.into_iter().map(|(p, is_right)| row(p, is_right)).collect());
            let routed = routed(rows.collect());
            let at = |threshold: f64| routed.figures(Rule::From(&[threshold, threshold]));
            let (strict, lax) = (at(high), at(high - less));
            prop_assert!(strict.accuracy <= routed.oracle().accuracy + 1e-12);
            prop_assert!(lax.handled >= strict.handled && lax.cost <= strict.cost + 1e-12);
            prop_assert!((strict.shares.iter().sum::<f64>() + strict.left_over - 1.0).abs() < 1e-9);
        }
    }
}

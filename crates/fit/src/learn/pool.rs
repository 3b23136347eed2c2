//! The weights of a pool and its biases: the likeliest with a pull towards doing nothing, by Newton's method.
//!
//! It is the conditional logit of McFadden (Conditional logit analysis of qualitative choice behavior, 1974) with normal priors: the
//! model's own log-probabilities have weight 1, everything else 0, until rows say otherwise. It is convex with one minimum.

use crate::evidence::softmax;

/// How far a weight may stray: the standard deviation of its prior.
const WEIGHT_SPREAD: f64 = 1.0;
const MAX_STEPS: usize = 60;
/// The largest entry of the gradient, of a row's mean, that ends the search.
const TOLERANCE: f64 = 1e-9;

/// What each side says of each row: log-probabilities by row, side and label. The first side is the model itself.
#[derive(Debug, Clone)]
pub(super) struct Sides {
    pub n_sides: usize,
    pub n_labels: usize,
    pub values: Vec<f64>,
}

impl Sides {
    /// All sides of a row, one after the other.
    pub fn row(&self, row: usize) -> &[f64] {
        let n = self.n_sides * self.n_labels;
        &self.values[row * n..][..n]
    }

    /// Probabilities of a row's labels.
    pub fn probabilities(&self, row: usize, weights: &Weights) -> Vec<f64> {
        softmax(&scores(self.row(row), weights))
    }
}

/// Whether labels have biases, and how far these may stray.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Biases {
    None,
    Spread(f64),
}

/// The pool's numbers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Weights {
    pub sides: Vec<f64>,
    pub biases: Vec<f64>,
}

fn scores(row: &[f64], weights: &Weights) -> Vec<f64> {
    let mut scores = weights.biases.clone();
    for (side, weight) in row.chunks_exact(scores.len()).zip(&weights.sides) {
        scores.iter_mut().zip(side).for_each(|(score, value)| *score += weight * value);
    }
    scores
}

/// The minimum over `rows`, each with its label.
pub(super) fn fit(sides: &Sides, rows: &[usize], labels: &[usize], biases: Biases) -> Weights {
    let (n_sides, n_labels) = (sides.n_sides, sides.n_labels);
    let n_biases = if biases == Biases::None { 0 } else { n_labels };
    let problem = Problem { sides, rows, labels, biases, n_biases };
    let mut point = vec![0.0; n_sides + n_biases];
    point[0] = 1.0;
    let mut value = problem.value(&point);
    for _ in 0..MAX_STEPS {
        let (gradient, hessian) = problem.derivatives(&point);
        let flat = TOLERANCE * float(rows.len().max(1));
        if gradient.iter().all(|entry| entry.abs() <= flat) {
            break;
        }
        let step = solved(hessian, &gradient);
        let mut length = 1.0;
        let moved = loop {
            let next: Vec<f64> = point.iter().zip(&step).map(|(at, step)| at - length * step).collect();
            let next_value = problem.value(&next);
            if next_value < value {
                break Some((next, next_value));
            }
            length /= 2.0;
            if length < 1e-6 {
                break None;
            }
        };
        // Where no step goes down any more, only digits are left that differ.
        let Some((next, next_value)) = moved else { break };
        (point, value) = (next, next_value);
    }
    problem.weights(&point)
}

struct Problem<'a> {
    sides: &'a Sides,
    rows: &'a [usize],
    labels: &'a [usize],
    biases: Biases,
    n_biases: usize,
}

impl Problem<'_> {
    fn weights(&self, point: &[f64]) -> Weights {
        let (sides, biases) = point.split_at(self.sides.n_sides);
        let biases = if biases.is_empty() { vec![0.0; self.sides.n_labels] } else { biases.to_vec() };
        Weights { sides: sides.to_vec(), biases }
    }

    /// The precision of each parameter's prior, and its mean.
    fn prior(&self, at: usize) -> (f64, f64) {
        match (self.biases, at) {
            (Biases::Spread(spread), at) if at >= self.sides.n_sides => (1.0 / (spread * spread), 0.0),
            (_, at) => (1.0 / (WEIGHT_SPREAD * WEIGHT_SPREAD), if at == 0 { 1.0 } else { 0.0 }),
        }
    }

    fn value(&self, point: &[f64]) -> f64 {
        let weights = self.weights(point);
        let mut sum = 0.0;
        for (&row, &label) in self.rows.iter().zip(self.labels) {
            let mut scores = scores(self.sides.row(row), &weights);
            crate::evidence::log_softmax(&mut scores);
            sum -= scores[label];
        }
        for (at, value) in point.iter().enumerate() {
            let (precision, mean) = self.prior(at);
            sum += precision * (value - mean) * (value - mean) / 2.0;
        }
        sum
    }

    /// The gradient and, by rows, the matrix of second derivatives.
    fn derivatives(&self, point: &[f64]) -> (Vec<f64>, Vec<Vec<f64>>) {
        let (n_sides, n_labels) = (self.sides.n_sides, self.sides.n_labels);
        let n = point.len();
        let weights = self.weights(point);
        let (mut gradient, mut hessian) = (vec![0.0; n], vec![vec![0.0; n]; n]);
        let mut means = vec![0.0; n_sides];
        for (&row, &label) in self.rows.iter().zip(self.labels) {
            let row = self.sides.row(row);
            let p = softmax(&scores(row, &weights));
            let side = |side: usize| &row[side * n_labels..][..n_labels];
            for one in 0..n_sides {
                means[one] = dot(&p, side(one));
                gradient[one] += means[one] - side(one)[label];
            }
            for one in 0..n_sides {
                for other in 0..=one {
                    let both: f64 = p.iter().zip(side(one)).zip(side(other)).map(|((p, a), b)| p * a * b).sum();
                    hessian[one][other] += both - means[one] * means[other];
                }
            }
            if self.n_biases == 0 {
                continue;
            }
            gradient[n_sides + label] -= 1.0;
            for k in 0..n_labels {
                gradient[n_sides + k] += p[k];
                let lower = &mut hessian[n_sides + k];
                for one in 0..n_sides {
                    lower[one] += p[k] * (side(one)[k] - means[one]);
                }
                lower[n_sides..=n_sides + k].iter_mut().zip(&p).for_each(|(entry, other)| *entry -= p[k] * other);
                lower[n_sides + k] += p[k];
            }
        }
        for at in 0..n {
            let (precision, mean) = self.prior(at);
            gradient[at] += precision * (point[at] - mean);
            hessian[at][at] += precision;
        }
        (gradient, hessian)
    }
}

/// The solution of `hessian * x = gradient`, the lower half of a positive definite matrix, by Cholesky's factor.
fn solved(mut lower: Vec<Vec<f64>>, gradient: &[f64]) -> Vec<f64> {
    let n = gradient.len();
    for row in 0..n {
        let (before, rest) = lower.split_at_mut(row);
        let own = &mut rest[0];
        for (column, other) in before.iter().enumerate() {
            own[column] = (own[column] - dot(&own[..column], &other[..column])) / other[column];
        }
        let left = own[row] - dot(&own[..row], &own[..row]);
        own[row] = left.max(1e-12).sqrt();
    }
    let mut x = gradient.to_vec();
    for row in 0..n {
        x[row] = (x[row] - dot(&x[..row], &lower[row][..row])) / lower[row][row];
    }
    for row in (0..n).rev() {
        x[row] /= lower[row][row];
        let (value, before) = (x[row], &mut x[..row]);
        before.iter_mut().zip(&lower[row]).for_each(|(x, entry)| *x -= value * entry);
    }
    x
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[allow(clippy::cast_precision_loss)] // counts of rows, far below 2^53
fn float(n: usize) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use super::{Biases, Problem, Sides, fit};
    use slm_stats::Random;

    fn drawn(n: usize, n_sides: usize, n_labels: usize) -> (Sides, Vec<usize>, Vec<usize>) {
        let mut random = Random::seeded(7);
        let mut values = Vec::new();
        for _ in 0..n * n_sides {
            let mut side: Vec<f64> = (0..n_labels).map(|_| random.below(1000) as f64 / 250.0).collect();
            crate::evidence::log_softmax(&mut side);
            values.extend(side);
        }
        let labels = (0..n).map(|_| random.below(n_labels)).collect();
        (Sides { n_sides, n_labels, values }, (0..n).collect(), labels)
    }

    #[test]
    fn the_search_ends_where_no_direction_leads_down() {
        for (n, n_sides, n_labels, biases) in
            [(30, 1, 2, Biases::None), (60, 2, 3, Biases::Spread(0.5)), (200, 3, 12, Biases::Spread(3.0))]
        {
            let (sides, rows, labels) = drawn(n, n_sides, n_labels);
            let found = fit(&sides, &rows, &labels, biases);
            let n_biases = if biases == Biases::None { 0 } else { n_labels };
            let problem = Problem { sides: &sides, rows: &rows, labels: &labels, biases, n_biases };
            let point: Vec<f64> = found.sides.iter().chain(found.biases.iter().take(n_biases)).copied().collect();
            let lowest = problem.value(&point);
            for at in 0..point.len() {
                for change in [-1e-4, 1e-4] {
                    let mut other = point.clone();
                    other[at] += change;
                    assert!(problem.value(&other) >= lowest, "{n} {at} {change}");
                }
            }
            assert_eq!(found, fit(&sides, &rows, &labels, biases));
        }
    }

    #[test]
    fn a_side_that_knows_nothing_gets_no_weight_and_one_that_knows_all_gets_some() {
        let (mut sides, rows, labels) = drawn(300, 2, 3);
        for (row, &truth) in labels.iter().enumerate() {
            for label in 0..3 {
                sides.values[(row * 2 + 1) * 3 + label] = if truth == label { -0.4 } else { -1.8 };
            }
        }
        let found = fit(&sides, &rows, &labels, Biases::Spread(1.0));
        assert!(found.sides[0].abs() < 0.2 && found.sides[1] > 1.0, "{found:?}");
    }

    #[test]
    fn weights_are_those_that_scipy_finds() {
        // scipy.optimize.minimize of the same objective (BFGS, then Nelder-Mead) on numbers that both sides can write down.
        let (n, n_sides, n_labels) = (40_i32, 2_i32, 3_i32);
        let mut values = Vec::new();
        for row in 0..n {
            for side in 0..n_sides {
                let of = |label: i32| 2.0 * libm::sin(f64::from(1 + 3 * row + 5 * side + 7 * label));
                let mut side: Vec<f64> = (0..n_labels).map(of).collect();
                crate::evidence::log_softmax(&mut side);
                values.extend(side);
            }
        }
        let labels: Vec<usize> = (0..40).map(|row: usize| (row * row + row / 3) % 3).collect();
        let sides = Sides { n_sides: 2, n_labels: 3, values };
        let found = fit(&sides, &(0..40).collect::<Vec<_>>(), &labels, Biases::Spread(0.7));
        let expected = [0.106_968_28, -0.053_601_01, -0.019_719_4, 0.108_765_31, -0.089_045_89];
        for (found, expected) in found.sides.iter().chain(&found.biases).zip(expected) {
            assert!((found - expected).abs() < 1e-7, "{found} {expected}");
        }
    }
}

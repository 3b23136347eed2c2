//! The minimum of the objective by L-BFGS, with a line search that costs no product with the rows.
//!
//! Scores are linear in the weights, so along a direction only the softmax is computed again; and the objective is convex, so
//! that a step is where its slope is 0, found without comparing sums that differ in their last digits only.

use super::matrix::Matrix;

/// Steps whose changes shape the next direction.
const MEMORY: usize = 10;
/// How flat the objective must be at the end of a step, of its slope at the beginning.
const FLATNESS: f64 = 0.1;

/// What is to be minimised: with W the weights by column and output, and S the sum of the rows' weights, the mean over rows of
/// `weight * -ln p(target)` plus `|W|^2 / (2 c S)`.
pub(super) struct Problem<'a> {
    pub rows: &'a Matrix,
    /// By row, counted from 0; with one output, 1 is its.
    pub targets: &'a [usize],
    pub row_weights: &'a [f64],
    pub n_outputs: usize,
    pub c: f64,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Stop {
    pub tolerance: f64,
    pub max_iterations: usize,
}

pub(super) struct Solution {
    pub weights: Vec<f64>,
    pub intercepts: Vec<f64>,
    pub n_iterations: usize,
    pub gradient: f64,
}

/// Where the search is: a point (weights, then intercepts), its scores by row and output, and its gradient.
struct State {
    point: Vec<f64>,
    scores: Vec<f64>,
    gradient: Vec<f64>,
}

/// A past step: by how much the point and the gradient changed, and the inverse of their product.
struct Step {
    point: Vec<f64>,
    gradient: Vec<f64>,
    inverse_curvature: f64,
}

impl Problem<'_> {
    pub(super) fn solve(&self, stop: Stop) -> Solution {
        let turned = self.rows.transposed();
        let (n_weights, n_rows) = (self.rows.n_columns() * self.n_outputs, self.rows.n_rows());
        let n_point = n_weights + self.n_outputs;
        let mut state = State {
            point: vec![0.0; n_point],
            scores: vec![0.0; n_rows * self.n_outputs],
            gradient: vec![0.0; n_point],
        };
        self.set_gradient(&turned, &mut state);
        let mut steps: Vec<Step> = Vec::with_capacity(MEMORY);
        let mut n_iterations = 0;
        let mut slope_scores = vec![0.0; state.scores.len()];
        while largest(&state.gradient) > stop.tolerance && n_iterations < stop.max_iterations {
            let direction = direction(&state.gradient, &steps);
            self.set_scores(&direction, &mut slope_scores);
            let length = self.step_length(&state, &direction, &slope_scores);
            let before = state.gradient.clone();
            add(&mut state.point, length, &direction);
            add(&mut state.scores, length, &slope_scores);
            self.set_gradient(&turned, &mut state);
            n_iterations += 1;
            let change: Vec<f64> = state.gradient.iter().zip(&before).map(|(after, before)| after - before).collect();
            let moved: Vec<f64> = direction.iter().map(|d| length * d).collect();
            let curvature = dot(&moved, &change);
            if curvature <= f64::MIN_POSITIVE {
                break;
            }
            if steps.len() == MEMORY {
                steps.remove(0);
            }
            steps.push(Step { point: moved, gradient: change, inverse_curvature: 1.0 / curvature });
        }
        let gradient = largest(&state.gradient);
        let intercepts = state.point.split_off(n_weights);
        Solution { weights: state.point, intercepts, n_iterations, gradient }
    }

    fn penalty(&self) -> f64 {
        1.0 / (self.c * self.row_weights.iter().sum::<f64>())
    }

    /// The scores of all rows with the weights and intercepts of `point`.
    fn set_scores(&self, point: &[f64], scores: &mut [f64]) {
        let (weights, intercepts) = point.split_at(point.len() - self.n_outputs);
        scores.chunks_exact_mut(self.n_outputs).for_each(|scores| scores.copy_from_slice(intercepts));
        self.rows.add_product(weights, self.n_outputs, scores);
    }

    /// The gradient at the point, from its scores.
    fn set_gradient(&self, turned: &Matrix, state: &mut State) {
        let scale = 1.0 / self.row_weights.iter().sum::<f64>();
        let mut residuals = state.scores.clone();
        for (row, scores) in residuals.chunks_exact_mut(self.n_outputs).enumerate() {
            self.to_residuals(row, scores);
            scores.iter_mut().for_each(|residual| *residual *= self.row_weights[row] * scale);
        }
        let n_weights = state.point.len() - self.n_outputs;
        let penalty = self.penalty();
        state.gradient[..n_weights].iter_mut().zip(&state.point).for_each(|(g, weight)| *g = penalty * weight);
        turned.add_product(&residuals, self.n_outputs, &mut state.gradient[..n_weights]);
        let intercepts = &mut state.gradient[n_weights..];
        intercepts.fill(0.0);
        residuals.chunks_exact(self.n_outputs).for_each(|residuals| add(intercepts, 1.0, residuals));
    }

    /// Makes of a row's scores its probabilities less the target's 1: the derivative of `-ln p(target)`.
    fn to_residuals(&self, row: usize, scores: &mut [f64]) {
        let target = self.targets[row];
        if let [score] = scores {
            let truth = if target == 1 { 1.0 } else { 0.0 };
            *score = logistic(*score) - truth;
        } else {
            softmax(scores);
            scores[target] -= 1.0;
        }
    }

    /// The slope of the objective after a step of `length`.
    fn slope(&self, state: &State, direction: &[f64], slope_scores: &[f64], length: f64) -> f64 {
        let n = self.n_outputs;
        let (mut sum, mut all) = (0.0, 0.0);
        let mut scores = vec![0.0; n];
        for (row, &weight) in self.row_weights.iter().enumerate() {
            scores.copy_from_slice(&state.scores[row * n..][..n]);
            let along = &slope_scores[row * n..][..n];
            add(&mut scores, length, along);
            self.to_residuals(row, &mut scores);
            sum += weight * dot(&scores, along);
            all += weight;
        }
        let n_weights = direction.len() - n;
        let (point, direction) = (&state.point[..n_weights], &direction[..n_weights]);
        sum / all + self.penalty() * (dot(point, direction) + length * dot(direction, direction))
    }

    /// A length at which the objective is nearly flat, by false position between a falling and a rising end.
    fn step_length(&self, state: &State, direction: &[f64], slope_scores: &[f64]) -> f64 {
        let slope = |length| self.slope(state, direction, slope_scores, length);
        let (mut low, mut low_slope) = (0.0, dot(&state.gradient, direction));
        let flat = -FLATNESS * low_slope;
        let (mut high, mut high_slope) = (1.0, slope(1.0));
        // The slope rises along the direction: too short a step is made longer until it does not fall any more.
        for _ in 0..60 {
            if high_slope >= -flat {
                break;
            }
            (low, low_slope) = (high, high_slope);
            high *= 2.0;
            high_slope = slope(high);
        }
        for _ in 0..40 {
            if high_slope <= flat {
                return high;
            }
            let part = (-low_slope / (high_slope - low_slope)).clamp(0.05, 0.95);
            let between = low + (high - low) * part;
            let between_slope = slope(between);
            if between_slope.abs() <= flat {
                return between;
            }
            if between_slope < 0.0 {
                (low, low_slope) = (between, between_slope);
            } else {
                (high, high_slope) = (between, between_slope);
            }
        }
        high
    }
}

/// The way down: the gradient turned by what past steps say of the curvature (Nocedal and Wright, Numerical optimization, 2006,
/// algorithm 7.4).
fn direction(gradient: &[f64], steps: &[Step]) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let Some(last) = steps.last() else {
        let length = dot(gradient, gradient).sqrt();
        direction.iter_mut().for_each(|d| *d /= length);
        return direction;
    };
    let mut shares = vec![0.0; steps.len()];
    for (share, step) in shares.iter_mut().zip(steps).rev() {
        *share = step.inverse_curvature * dot(&step.point, &direction);
        add(&mut direction, -*share, &step.gradient);
    }
    let scale = 1.0 / (last.inverse_curvature * dot(&last.gradient, &last.gradient));
    direction.iter_mut().for_each(|d| *d *= scale);
    for (share, step) in shares.iter().zip(steps) {
        let back = step.inverse_curvature * dot(&step.gradient, &direction);
        add(&mut direction, share - back, &step.point);
    }
    direction
}

/// Makes probabilities of scores.
pub(super) fn softmax(scores: &mut [f64]) {
    let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        *score = libm::exp(*score - highest);
        sum += *score;
    }
    scores.iter_mut().for_each(|score| *score /= sum);
}

fn logistic(score: f64) -> f64 {
    if score >= 0.0 {
        1.0 / (1.0 + libm::exp(-score))
    } else {
        let e = libm::exp(score);
        e / (1.0 + e)
    }
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |largest, value| largest.max(value.abs()))
}

fn add(to: &mut [f64], scale: f64, values: &[f64]) {
    to.iter_mut().zip(values).for_each(|(to, value)| *to += scale * value);
}

/// The sum of products, in eight sums of every eighth that are added at last: a fixed order, and one that processors like.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (a_by_eight, b_by_eight) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest = a_by_eight.remainder().iter().zip(b_by_eight.remainder());
    let rest: f64 = rest.map(|(a, b)| a * b).sum();
    for (a, b) in a_by_eight.zip(b_by_eight) {
        for i in 0..8 {
            sums[i] += a[i] * b[i];
        }
    }
    ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7])) + rest
}

#[cfg(test)]
mod tests {
    use super::{dot, logistic, softmax};

    #[test]
    fn extreme_scores_stay_probabilities() {
        for scores in [[1e4, -1e4], [-1e4, -1e4], [0.0, 800.0]] {
            let mut p = scores;
            softmax(&mut p);
            assert!((p[0] + p[1] - 1.0).abs() < 1e-15 && p.iter().all(|p| p.is_finite()), "{scores:?} {p:?}");
        }
        assert!(logistic(-1e4) == 0.0 && logistic(1e4) == 1.0 && logistic(0.0) == 0.5);
    }

    #[test]
    fn a_sum_of_products_has_all_of_them() {
        let a: Vec<f64> = (0..21).map(f64::from).collect();
        assert!((dot(&a, &a) - 2870.0).abs() < 1e-12);
    }
}

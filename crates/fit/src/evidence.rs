//! What is known of one row and one closed field before the fit.

/// The lowest natural log-probability that counts: what a model gives no probability at all is as unlikely as this.
const FLOOR: f64 = -50.0;

/// What is known of one row and one closed field before the fit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evidence<'a> {
    /// The text that the answer is about, as its caller gave it (the user's last message).
    pub text: &'a str,
    /// Natural log-probabilities of the field's options in the contract's order; normalised.
    pub logprobs: &'a [f64],
    /// The model's hidden state at the answer's position.
    pub state: Option<&'a [f32]>,
}

/// Log-probabilities of labels that were not read: all are as likely.
#[must_use]
pub fn unread(n_options: usize) -> Vec<f64> {
    normalised(&vec![0.0; n_options])
}

/// Log-probabilities that are finite and sum to 1 as probabilities; where no option has any probability, all are equal.
#[must_use]
pub(crate) fn normalised(logprobs: &[f64]) -> Vec<f64> {
    let highest = logprobs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if !highest.is_finite() {
        let uniform = -libm::log(f64::from(u32::try_from(logprobs.len().max(1)).unwrap_or(u32::MAX)));
        return vec![uniform; logprobs.len()];
    }
    let mut out: Vec<f64> = logprobs.iter().map(|logprob| (logprob - highest).max(FLOOR)).collect();
    log_softmax(&mut out);
    out
}

/// Makes log-probabilities of scores.
pub(crate) fn log_softmax(scores: &mut [f64]) {
    let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = scores.iter().map(|score| libm::exp(score - highest)).sum();
    let whole = highest + libm::log(sum);
    scores.iter_mut().for_each(|score| *score -= whole);
}

/// Makes probabilities of scores.
pub(crate) fn softmax(scores: &[f64]) -> Vec<f64> {
    let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut out: Vec<f64> = scores.iter().map(|score| libm::exp(score - highest)).collect();
    let sum: f64 = out.iter().sum();
    out.iter_mut().for_each(|p| *p /= sum);
    out
}

/// The place of the highest; of equals the first.
#[must_use]
pub fn best(values: &[f64]) -> usize {
    (0..values.len()).fold(0, |best, at| if values[at] > values[best] { at } else { best })
}

#[cfg(test)]
mod tests {
    use super::{best, normalised, softmax};

    #[test]
    fn scores_of_nothing_are_all_the_same() {
        let p = softmax(&normalised(&[f64::NEG_INFINITY; 4]));
        assert!(p.iter().all(|p| (p - 0.25).abs() < 1e-15), "{p:?}");
        let p = softmax(&normalised(&[0.0, f64::NEG_INFINITY]));
        assert!(p[1] > 0.0 && p[1] < 1e-20 && p[0] == 1.0, "{p:?}");
        assert_eq!(best(&[0.2, 0.4, 0.4]), 1);
    }
}

//! Learning from words alone, without any model: a regression on the words of texts, calibrated on rows that it has not seen, and held
//! against the shares of the labels.

use super::experts;
use super::pool::{self, Biases, Sides};
use super::rows::Rows;
use super::trial::Judged;
use super::{LearnError, LearnRequest, Learned, SPREADS, float, not_better, table_of, with_p_values};
use crate::evidence::softmax;
use crate::method::{Method, MethodName, Pool, among_all};

/// Learns to answer from words alone; log-probabilities and states of the rows are not looked at. `nothing` is here the share of
/// each label, whatever the text.
///
/// # Errors
///
/// [`LearnError`]: the rows are not of one field, or have fewer than two labels.
pub fn learn_words(request: &LearnRequest<'_>) -> Result<Learned, LearnError> {
    let rows = Rows::new(request.rows, request.n_options, request.seed)?;
    let words = experts::train(&rows, experts::WORDS, request.n_threads);
    let sides =
        Sides { n_sides: 1, n_labels: rows.n_seen(), values: words.out_of_fold.iter().flatten().copied().collect() };
    let truths: Vec<usize> = rows.rows.iter().map(|row| row.truth).collect();
    let tried = SPREADS.map(|spread| {
        let probabilities = calibrated(&rows, &sides, Biases::Spread(spread));
        (Judged { probabilities: &probabilities, truths: &truths }.figures().nll, spread, probabilities)
    });
    let best = tried.into_iter().min_by(|one, other| one.0.total_cmp(&other.0));
    let (_, spread, probabilities) = best.expect("one at least is tried");
    let shares = shares(&rows);
    let judged = [&shares, &probabilities].map(|probabilities| Judged { probabilities, truths: &truths });
    let names = [MethodName::Nothing, MethodName::WordsAlone];
    let tried = names.into_iter().zip(judged).map(|(name, judged)| table_of(name, judged)).collect();
    let tried = with_p_values(tried, &judged);
    let refusal = tried[1].p_value.filter(|p| *p > super::LEVEL).map(|_| not_better(&tried, &tried[1]));
    let all: Vec<usize> = (0..rows.n()).collect();
    let (method, out_of_fold) = if refusal.is_some() {
        (Method::Nothing, shares)
    } else {
        let weights = pool::fit(&sides, &all, &rows.labels, Biases::Spread(spread));
        let expert = experts::learn(&rows, words.spec, words.strength).expect("there are two labels");
        let pool = Pool {
            name: MethodName::WordsAlone,
            seen: rows.seen.clone(),
            raw_weight: 0.0,
            experts: vec![(weights.sides[0], expert)],
            biases: weights.biases,
        };
        (Method::Pool(Box::new(pool)), probabilities)
    };
    let mut rows_by_option = vec![0; request.n_options];
    truths.iter().for_each(|&truth| rows_by_option[truth] += 1);
    let places = rows.places.clone();
    Ok(Learned { method, places, rows_by_option, out_of_fold, tried, words_alone: None, refusal })
}

/// What the regression says of each row with a temperature and biases that the other folds teach.
fn calibrated(rows: &Rows<'_>, sides: &Sides, biases: Biases) -> Vec<Vec<f64>> {
    let mut probabilities = vec![Vec::new(); rows.n()];
    for fold in 0..rows.n_folds {
        let outside = rows.outside(fold);
        let labels: Vec<usize> = outside.iter().map(|&row| rows.labels[row]).collect();
        let weights = pool::fit(sides, &outside, &labels, biases);
        for row in rows.inside(fold) {
            probabilities[row] = among_all(&sides.probabilities(row, &weights), &rows.seen);
        }
    }
    probabilities
}

/// The shares of the labels in the other folds, each label counted once more than it is there.
fn shares(rows: &Rows<'_>) -> Vec<Vec<f64>> {
    let mut probabilities = vec![Vec::new(); rows.n()];
    for fold in 0..rows.n_folds {
        let mut counts = vec![1_usize; rows.n_seen()];
        rows.outside(fold).iter().for_each(|&row| counts[rows.labels[row]] += 1);
        let logarithms: Vec<f64> = counts.into_iter().map(|count| libm::log(float(count))).collect();
        let shares = among_all(&softmax(&logarithms), &rows.seen);
        rows.inside(fold).into_iter().for_each(|row| probabilities[row].clone_from(&shares));
    }
    probabilities
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::Evidence;
    use crate::learn::Labelled;

    /// 40 texts of each of two subjects, and of a third that has the words of neither.
    fn texts() -> Vec<(String, usize)> {
        let about = [["parcel", "van", "street"], ["invoice", "money", "bank"], ["green", "blue", "red"]];
        (0..120)
            .map(|n| (format!("my {} and the {} number {n}", about[n % 3][n % 2], about[n % 3][2]), n % 3))
            .collect()
    }

    fn learned(texts: &[(String, usize)]) -> Learned {
        let nothing = [0.0; 4];
        let rows = texts.iter().map(|(text, truth)| Labelled {
            evidence: Evidence { text, logprobs: &nothing, state: None },
            truth: *truth,
        });
        let rows: Vec<Labelled<'_>> = rows.collect();
        learn_words(&LearnRequest { rows: &rows, n_options: 4, seed: 0, n_threads: 2 }).unwrap()
    }

    #[test]
    fn words_that_say_something_are_learned_and_need_no_model() {
        let learned = learned(&texts());
        assert_eq!((learned.method.name(), learned.refusal), (MethodName::WordsAlone, None));
        assert!(learned.tried[1].figures.accuracy > 0.95 && learned.tried[1].figures.nll < 0.3, "{:?}", learned.tried);
        let of = |logprobs: &[f64]| {
            learned.method.probabilities(&Evidence { text: "where is the van with my parcel", logprobs, state: None })
        };
        let p = of(&[0.0; 4]);
        assert!(p[0] > 0.6 && p[3] == 0.0 && (p.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{p:?}");
        assert_eq!(p, of(&[-9.0, -1.0, -2.0, -0.1]));
    }

    #[test]
    fn words_that_say_nothing_are_refused() {
        let texts: Vec<(String, usize)> = (0..90).map(|n| (format!("number {}", n * 7 % 90), n % 3)).collect();
        let learned = learned(&texts);
        assert_eq!(learned.method, Method::Nothing);
        assert!(learned.refusal.is_some(), "{:?}", learned.tried);
    }
}

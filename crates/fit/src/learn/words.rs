//! Learning from words alone, without any model: a regression on the words of texts, calibrated on rows that it has not seen, and held
//! against the shares of the labels.

use super::choice::{LEVEL, not_better, table_of, with_p_values};
use super::experts;
use super::pool::{self, Biases, Sides};
use super::rows::Rows;
use super::trial::Judged;
use super::{LearnRequest, Learned, SPREADS, best_pool, float};
use crate::evidence::softmax;
use crate::method::{Method, MethodName, Pool, among_all};

/// Learns to answer from words alone; log-probabilities and states of the rows are not looked at. `nothing` is here the share of
/// each label, whatever the text.
pub(super) fn learn(request: &LearnRequest<'_>, rows: &Rows<'_>) -> Learned {
    let words = experts::train(rows, experts::WORDS, request.n_threads);
    let sides =
        Sides { n_sides: 1, n_labels: rows.n_seen(), values: words.out_of_fold.iter().flatten().copied().collect() };
    let spreads = SPREADS.map(Biases::Spread);
    let (biases, probabilities) = best_pool(rows, &sides, &spreads, |p, _| among_all(p, &rows.seen));
    let truths = rows.truths();
    let shares = shares(rows);
    let judged = [&shares, &probabilities].map(|probabilities| Judged { probabilities, truths: &truths });
    let names = [MethodName::Nothing, MethodName::WordsAlone];
    let tried = names.into_iter().zip(judged).map(|(name, judged)| table_of(name, judged)).collect();
    let tried = with_p_values(tried, &judged);
    let refusal = tried[1].p_value.filter(|p| *p > LEVEL).map(|_| not_better(&tried, &tried[1]));
    let all: Vec<usize> = (0..rows.n()).collect();
    let (method, out_of_fold) = if refusal.is_some() {
        (Method::Nothing, shares)
    } else {
        let weights = pool::fit(&sides, &all, &rows.labels, biases);
        let expert = experts::learn(rows, words.spec, words.pull).expect("there are two labels");
        let pool = Pool {
            name: MethodName::WordsAlone,
            seen: rows.seen.clone(),
            raw_weight: 0.0,
            experts: vec![(weights.sides[0], expert)],
            biases: weights.biases,
        };
        (Method::Pool(Box::new(pool)), probabilities)
    };
    let (places, rows_by_option) = (rows.places.clone(), rows.by_option());
    Learned { method, places, rows_by_option, out_of_fold, tried, words_alone: None, refusal }
}

/// The shares of the labels in the other folds, each label counted once more than it is there.
fn shares(rows: &Rows<'_>) -> Vec<Vec<f64>> {
    rows.cross_fitted(|outside| {
        let mut counts = vec![1_usize; rows.n_seen()];
        outside.iter().for_each(|&row| counts[rows.labels[row]] += 1);
        let logarithms: Vec<f64> = counts.into_iter().map(|count| libm::log(float(count))).collect();
        let shares = among_all(&softmax(&logarithms), &rows.seen);
        move |_| shares.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::Evidence;
    use crate::learn::Basis;
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
        let evidence = |text| Evidence { text, logprobs: &nothing, state: None };
        let rows: Vec<Labelled<'_>> =
            texts.iter().map(|(text, truth)| Labelled { evidence: evidence(text), truth: *truth }).collect();
        let options: Vec<String> = (0..4).map(|n| n.to_string()).collect();
        crate::learn(&LearnRequest { rows: &rows, options: &options, basis: Basis::Words, seed: 0, n_threads: 2 })
            .unwrap()
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

//! Learning on rows whose truth is known to the test.

use super::{Basis, Labelled, LearnError, LearnRequest, Refusal, centring, compared, learn};
use crate::evidence::{Evidence, softmax};
use crate::method::MethodName;
use slm_stats::Random;

struct Made {
    texts: Vec<String>,
    logprobs: Vec<Vec<f64>>,
    states: Vec<Vec<f32>>,
    truths: Vec<usize>,
}

/// What the made rows' evidence tells.
#[derive(Clone, Copy, PartialEq)]
enum Tells {
    /// Log-probabilities that are calibrated.
    Calibrated,
    /// Log-probabilities with a bias towards the first label.
    Biased,
    /// A word of the text, and log-probabilities nothing.
    Word,
    /// The state's first number.
    State,
}

fn made(n: usize, n_labels: usize, tells: Tells, seed: u64) -> Made {
    let mut random = Random::seeded(seed);
    let mut unit = move || random.below(1_000_000) as f64 / 1e6;
    let mut made = Made { texts: vec![], logprobs: vec![], states: vec![], truths: vec![] };
    for row in 0..n {
        let mut scores: Vec<f64> = (0..n_labels).map(|_| 3.0 * (unit() + unit() - 1.0)).collect();
        let p = softmax(&scores);
        let mut left = unit();
        let truth = p
            .iter()
            .position(|p| {
                left -= p;
                left < 0.0
            })
            .unwrap_or(n_labels - 1);
        match tells {
            Tells::Biased => scores[0] += 3.0,
            Tells::Word | Tells::State => scores.fill(0.0),
            Tells::Calibrated => {}
        }
        let word = if tells == Tells::Word { format!("sign{truth}") } else { "same".to_owned() };
        made.texts.push(format!("row {row} says {word} x{}", (unit() * 50.0) as u32));
        let sign = if tells == Tells::State { truth as f32 } else { 0.0 };
        made.states.push((0..6).map(|at| if at == 0 { sign + unit() as f32 } else { unit() as f32 }).collect());
        crate::evidence::log_softmax(&mut scores);
        made.logprobs.push(scores);
        made.truths.push(truth);
    }
    made
}

impl Made {
    fn rows(&self, with_states: bool) -> Vec<Labelled<'_>> {
        let row = |at: usize| Labelled {
            evidence: Evidence {
                text: &self.texts[at],
                logprobs: &self.logprobs[at],
                state: with_states.then_some(self.states[at].as_slice()),
            },
            truth: self.truths[at],
        };
        (0..self.texts.len()).map(row).collect()
    }
}

/// Options without words, as many as there may be.
fn names(n_options: usize) -> &'static [String] {
    static NAMES: std::sync::OnceLock<Vec<String>> = std::sync::OnceLock::new();
    &NAMES.get_or_init(|| (0..100).map(|nth| nth.to_string()).collect())[..n_options]
}

fn request<'a>(rows: &'a [Labelled<'a>], n_options: usize) -> LearnRequest<'a> {
    LearnRequest { rows, options: names(n_options), basis: Basis::Scores, seed: 0, n_threads: 2 }
}

#[test]
fn a_model_that_needs_nothing_is_left_alone_and_the_refusal_says_so() {
    let made = made(200, 3, Tells::Calibrated, 1);
    let learned = learn(&request(&made.rows(false), 3)).expect("it learns");
    assert_eq!(learned.method.name(), MethodName::Nothing);
    assert!(matches!(learned.refusal, Some(Refusal::NotBetter { rows: 200, .. })), "{:?}", learned.refusal);
    assert!(learned.refusal.expect("as said").to_string().contains("which may be chance"));
}

#[test]
fn a_bias_words_and_states_are_each_found_where_they_are() {
    for (tells, with_states, wanted) in [
        (Tells::Biased, false, &[MethodName::Affine, MethodName::Centring, MethodName::Logprobs][..]),
        (Tells::Word, false, &[MethodName::Words, MethodName::Joint][..]),
        (Tells::State, true, &[MethodName::State, MethodName::Joint][..]),
    ] {
        let made = made(300, 3, tells, 2);
        let learned = learn(&request(&made.rows(with_states), 3)).expect("it learns");
        let (before, after) =
            (learned.tried[0].figures, learned.tried.iter().find(|one| one.method == learned.method.name()));
        let after = after.expect("it was tried").figures;
        assert!(wanted.contains(&learned.method.name()), "{:?}: {:?}", learned.method.name(), learned.tried);
        assert!(after.nll < before.nll - 0.1 && after.accuracy > before.accuracy, "{before:?} {after:?}");
        // What was learned says of rows that it has not seen what it was chosen for.
        let others = self::made(300, 3, tells, 99);
        let right = others
            .rows(with_states)
            .iter()
            .filter(|row| crate::evidence::best(&learned.method.probabilities(&row.evidence)) == row.truth)
            .count();
        assert!(right as f64 / 300.0 > after.accuracy - 0.08, "{right} of 300, {after:?}");
    }
}

#[test]
fn the_same_rows_give_the_same_bits_on_any_number_of_threads() {
    let made = made(160, 4, Tells::Word, 3);
    let rows = made.rows(true);
    let one = learn(&LearnRequest { n_threads: 1, ..request(&rows, 4) }).expect("it learns");
    for n_threads in [1, 2, 5] {
        assert_eq!(learn(&LearnRequest { n_threads, ..request(&rows, 4) }).as_ref(), Ok(&one));
    }
}

#[test]
fn labels_without_rows_stay_as_the_model_has_them() {
    let mut made = made(150, 4, Tells::Biased, 4);
    made.truths.iter_mut().for_each(|truth| *truth = (*truth).min(2));
    let rows = made.rows(false);
    let learned = learn(&request(&rows, 4)).expect("it learns");
    assert_ne!(learned.method.name(), MethodName::Nothing);
    if learned.method.name() != MethodName::Centring {
        for row in &rows {
            let (raw, p) = (softmax(row.evidence.logprobs), learned.method.probabilities(&row.evidence));
            assert!((raw[3] - p[3]).abs() < 1e-12, "{raw:?} {p:?}");
        }
    }
    assert_eq!(learned.rows_by_option[3], 0);
}

#[test]
fn the_same_text_is_never_in_two_folds_and_counts_once() {
    let mut made = made(60, 2, Tells::Calibrated, 5);
    for at in 0..30 {
        made.texts[at] = "The  same TEXT".to_owned();
    }
    let given = made.rows(false);
    let rows = super::rows::Rows::new(&given, names(2), 0).expect("there are two labels");
    assert!(rows.n() <= 32, "{}", rows.n());
    let same: Vec<usize> = (0..rows.n()).filter(|&row| rows.rows[row].evidence.text.contains("TEXT")).collect();
    assert!(same.iter().all(|&row| rows.fold_of[row] == rows.fold_of[same[0]]));
}

#[test]
fn what_cannot_teach_is_refused_with_numbers() {
    let made = made(40, 2, Tells::Calibrated, 6);
    let mut rows = made.rows(false);
    rows.iter_mut().for_each(|row| row.truth = 1);
    assert_eq!(learn(&request(&rows, 2)), Err(LearnError::TooFewClasses { found: 1, rows: 40 }));
    rows[3].truth = 9;
    assert_eq!(learn(&request(&rows, 2)), Err(LearnError::NotOfTheField { row: 3, n_options: 2 }));
    let mut rows = made.rows(true);
    rows[7].evidence.state = None;
    assert_eq!(learn(&request(&rows, 2)), Err(LearnError::States { row: 7 }));
}

#[test]
fn a_state_alone_is_learned_from_without_log_probabilities_and_held_against_the_whole() {
    let made = made(200, 3, Tells::State, 12);
    let unread = crate::unread(3);
    let mut rows = made.rows(true);
    rows.iter_mut().for_each(|row| row.evidence.logprobs = &unread);
    let early = learn(&LearnRequest { basis: Basis::State, ..request(&rows, 3) }).expect("it learns");
    let names: Vec<MethodName> = early.tried.iter().map(|one| one.method).collect();
    assert_eq!(names, [MethodName::Nothing, MethodName::State, MethodName::Joint]);
    assert!(early.method.needs_state() && early.tried[1].figures.accuracy > 0.9, "{:?}", early.tried);
    let whole = learn(&request(&made.rows(true), 3)).expect("it learns");
    assert_eq!(early.places, whole.places);
    let truths: Vec<usize> = whole.places.iter().map(|&at| rows[at].truth).collect();
    assert!(compared(&early.out_of_fold, &whole.out_of_fold, &truths).is_as_good());
    let guess = vec![vec![1.0 / 3.0; 3]; truths.len()];
    assert!(!compared(&guess, &whole.out_of_fold, &truths).is_as_good());
    // A state that says nothing is not learned from.
    let mut blank = rows.clone();
    let same = [0.5_f32; 6];
    blank.iter_mut().for_each(|row| row.evidence.state = Some(&same));
    let learned = learn(&LearnRequest { basis: Basis::State, ..request(&blank, 3) }).expect("it learns");
    assert!(learned.refusal.is_some(), "{:?}", learned.tried);
    let few = learn(&LearnRequest { basis: Basis::State, ..request(&rows[..20], 3) }).expect("it learns");
    assert_eq!(few.method.name(), MethodName::Nothing);
}

#[test]
fn few_rows_teach_a_temperature_at_most() {
    let made = made(24, 2, Tells::Biased, 7);
    let learned = learn(&request(&made.rows(true), 2)).expect("it learns");
    assert_eq!(
        learned.tried.iter().map(|one| one.method).collect::<Vec<_>>(),
        [MethodName::Nothing, MethodName::Centring, MethodName::Temperature]
    );
}

#[test]
fn centring_takes_a_bias_away_without_labels_and_heeds_known_shares() {
    let made = made(400, 3, Tells::Biased, 8);
    let logprobs: Vec<&[f64]> = made.logprobs.iter().map(Vec::as_slice).collect();
    let mean = |method: &crate::method::Method| {
        let of = |logprobs: &&[f64]| method.probabilities(&Evidence { text: "", logprobs, state: None })[0];
        logprobs.iter().map(of).sum::<f64>() / 400.0
    };
    let (equal, known) = (centring(&logprobs, None), centring(&logprobs, Some(&[0.8, 0.1, 0.1])));
    assert!((mean(&equal) - 1.0 / 3.0).abs() < 0.05 && mean(&known) > 0.6, "{} {}", mean(&equal), mean(&known));
}

#[test]
fn a_calibrated_model_is_seldom_changed() {
    let mut changed = Vec::new();
    for seed in 0..60 {
        let made = made(100, 3, Tells::Calibrated, 100 + seed);
        let learned = learn(&request(&made.rows(true), 3)).expect("it learns");
        if learned.refusal.is_none() {
            changed.push(learned.method.name());
        }
    }
    assert!(changed.len() <= 6, "{changed:?}");
}

//! Promises on rows whose true risk is known, and the refusals.

use super::{Answers, Demand, PromiseError, frontier, thresholds};
use slm_stats::guarantee::Promise;
use slm_stats::{Confidence, Random};

/// Answers of three labels. The probability p of the best is spread evenly over 0.5 to 1; the first label is right that often, the
/// second less, the third more.
fn drawn(random: &mut Random, n: usize) -> (Vec<Vec<f64>>, Vec<usize>) {
    let mut unit = || random.below(1_000_000) as f64 / 1e6;
    let mut rows = (Vec::new(), Vec::new());
    for _ in 0..n {
        let p = 0.5 + unit() / 2.0;
        let answer = (unit() * 3.0) as usize;
        let truth = if unit() < right(answer, p) { answer } else { (answer + 1) % 3 };
        let mut probabilities = vec![(1.0 - p) / 2.0; 3];
        probabilities[answer] = p;
        rows.0.push(probabilities);
        rows.1.push(truth);
    }
    rows
}

fn right(answer: usize, p: f64) -> f64 {
    [p, p - 0.2, 1.0 - (1.0 - p) / 4.0][answer]
}

/// The true risk of accepting from these thresholds on.
fn true_risk(thresholds: &[f64]) -> f64 {
    let (mut accepted, mut errors) = (0.0, 0.0);
    for step in 0..2000 {
        let p = 0.5 + (f64::from(step) + 0.5) / 4000.0;
        for answer in (0..3).filter(|&answer| p >= thresholds[answer]) {
            accepted += 1.0;
            errors += 1.0 - right(answer, p);
        }
    }
    if accepted == 0.0 { 0.0 } else { errors / accepted }
}

fn answers(rows: &(Vec<Vec<f64>>, Vec<usize>)) -> Answers<'_> {
    Answers { probabilities: &rows.0, truths: &rows.1 }
}

fn risk(risk: f64) -> Demand {
    Demand::Risk(Promise::new(risk, Confidence::USUAL).expect("it is a risk"))
}

#[test]
fn a_promise_is_kept_as_often_as_it_says_and_labels_have_their_own_thresholds() {
    let mut random = Random::seeded(11);
    let (mut given, mut broken, mut apart) = (0, 0, 0);
    for _ in 0..400 {
        let (found, certifying) = (drawn(&mut random, 300), drawn(&mut random, 300));
        let Ok(one) = thresholds(&risk(0.15), &[answers(&found)], &[answers(&certifying)], &[]) else { continue };
        given += 1;
        broken += u32::from(true_risk(&one.gates[0].thresholds) > 0.15);
        apart += u32::from(
            one.gates[0].thresholds[1] > one.gates[0].thresholds[0]
                && one.gates[0].thresholds[0] > one.gates[0].thresholds[2],
        );
        assert!(one.card.risk_at_most <= 0.15 + 1e-9 && one.card.accepted >= 19, "{:?}", one.card);
    }
    // Five in a hundred of 400 are 20, with a standard deviation of 4.4.
    assert!(given > 300 && broken <= 33 && apart > 300, "{broken} broken of {given}, {apart} apart");
}

#[test]
fn what_cannot_be_had_is_refused_with_numbers() {
    let mut random = Random::seeded(2);
    let (found, few) = (drawn(&mut random, 200), drawn(&mut random, 100));
    let error = thresholds(&risk(0.02), &[answers(&found)], &[answers(&few)], &[]).expect_err("149 are needed");
    assert_eq!(
        error.to_string(),
        "a risk of 0.02 at a confidence of 0.95 needs 149 accepted rows without an error, and 100 rows are there to certify it; \
         add labelled rows, or ask for a higher risk"
    );
    let certifying = drawn(&mut random, 200);
    let error = thresholds(&risk(0.01), &[answers(&found)], &[answers(&certifying)], &[]);
    assert!(matches!(error, Err(PromiseError::TooFewRows { needed: 299, rows: 200, .. })), "{error:?}");
    let many = drawn(&mut random, 400);
    let error = thresholds(&risk(0.015), &[answers(&found)], &[answers(&many)], &[]);
    assert!(matches!(error, Err(PromiseError::NotKept { rows: 400, .. })), "{error:?}");
}

#[test]
fn a_coverage_is_met_on_other_rows_and_labels_can_always_go_to_a_person() {
    let mut random = Random::seeded(3);
    let (found, certifying) = (drawn(&mut random, 2000), drawn(&mut random, 2000));
    let demand = Demand::Coverage { share: 0.5, confidence: Confidence::USUAL };
    let one = thresholds(&demand, &[answers(&found)], &[answers(&certifying)], &[]).expect("there are rows");
    assert!(one.card.accepted.abs_diff(1000) < 80, "{:?}", one.card);
    let one = thresholds(&demand, &[answers(&found)], &[answers(&certifying)], &[2]).expect("there are rows");
    assert!(one.gates[0].thresholds[2] > 1.0 && one.card.accepted.abs_diff(1000) < 80, "{:?}", one.card);
    assert!(
        certifying
            .0
            .iter()
            .all(|p| one.gates[0].decision(p).best != 2 || one.gates[0].decision(p).abstention.is_some())
    );
}

#[test]
fn costly_errors_are_handed_over_sooner() {
    let mut random = Random::seeded(4);
    let (found, certifying) = (drawn(&mut random, 3000), drawn(&mut random, 3000));
    let demand = Demand::Costs { of_errors: vec![5.0, 5.0, 0.5], of_handing_over: 1.0, confidence: Confidence::USUAL };
    let one = thresholds(&demand, &[answers(&found)], &[answers(&certifying)], &[]).expect("there are rows");
    let of = &one.gates[0].thresholds;
    // An error of 5 against 1 for a person: accepted from a reliability of 0.8 on, which the second label has at 1.0 only.
    assert!((of[0] - 0.8).abs() < 0.06 && of[1] > 0.9 && of[2] == 0.0, "{of:?}");
}

#[test]
fn the_frontier_rises_with_coverage() {
    let mut random = Random::seeded(5);
    let (found, rows) = (drawn(&mut random, 1000), drawn(&mut random, 1000));
    let points = frontier(&[answers(&found)], &[answers(&rows)], &[], Confidence::USUAL);
    assert_eq!(points.len(), 10);
    assert!(points[9].risk > points[2].risk && points.iter().all(|point| point.risk_at_most > point.risk));
}

/// What an early stage says of rows, and what the whole says of them with their truths.
type Staged = (Vec<Vec<f64>>, (Vec<Vec<f64>>, Vec<usize>));

fn stages((early, whole): &Staged) -> [Answers<'_>; 2] {
    [Answers { probabilities: early, truths: &whole.1 }, answers(whole)]
}

#[test]
fn a_promise_of_two_stages_is_kept_by_both_together() {
    let mut random = Random::seeded(6);
    // The first stage sees less: half of its answers are drawn anew, and its probabilities do not tell which.
    let staged = |random: &mut Random| {
        let whole = drawn(random, 300);
        let blurred = |p: &Vec<f64>| if random.below(2) == 0 { p.clone() } else { vec![p[1], p[2], p[0]] };
        let early: Vec<Vec<f64>> = whole.0.iter().map(blurred).collect();
        (early, whole)
    };
    let (mut given, mut broken, mut early) = (0, 0, 0);
    for _ in 0..200 {
        let (found, certifying, fresh) = (staged(&mut random), staged(&mut random), staged(&mut random));
        let Ok(one) = thresholds(&risk(0.2), &stages(&found), &stages(&certifying), &[]) else { continue };
        given += 1;
        let (accepted, errors) = super::counted(&one.gates, &stages(&fresh));
        // Of new rows, which tell the true risk only about: two standard deviations beyond it.
        let share = errors as f64 / accepted.max(1) as f64;
        broken += u32::from(share > 0.2 + 2.0 * (0.16 / accepted.max(1) as f64).sqrt());
        early += super::counted(&one.gates[..1], &stages(&certifying)[..1]).0;
        assert!(one.card.risk_at_most <= 0.2 + 1e-9, "{:?}", one.card);
    }
    assert!(given > 150 && broken <= 10, "{broken} broken of {given}");
    assert!(early > 0, "the first stage never answers");
}

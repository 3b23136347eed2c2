//! How often a gate's test calls a model worse that is not, and how often it finds a drop that was planted, beside what the formula
//! says: `gate_alarms [FILE]`. FILE has for each row the probability with which the model answers it right, a number a line; then
//! the model is also compared with itself, both answers of a row drawn by that probability.

use std::io::{BufRead as _, BufReader};

use slm_stats::Random;
use slm_stats::paired::{Alternative, Pairs, Plan, exact_power, rows_needed};

const N_COMPARISONS: usize = 400;
const LEVEL: f64 = 0.05;
const DROP: f64 = 0.05;

fn main() -> std::io::Result<()> {
    let mut random = Random::seeded(15);
    println!("{N_COMPARISONS} comparisons each, one-sided exact test at {LEVEL}");
    println!("rows  disagreement  drop   called worse       the test's exact rate");
    for (n_rows, disagreement, drop) in plans() {
        let n_worse = (0..N_COMPARISONS).filter(|_| is_worse(planted(&mut random, n_rows, disagreement, drop))).count();
        let exact = exact_power(Plan::GATE, n_rows, drop, disagreement).expect("the drop is within the disagreement");
        println!(
            "{n_rows:>4}  {disagreement:>12.2}  {drop:>4.2}   {:>4} ({:.3})       {exact:.3}",
            n_worse,
            share(n_worse)
        );
    }
    let Some(file) = std::env::args().nth(1) else { return Ok(()) };
    let mut right = Vec::new();
    for line in BufReader::new(std::fs::File::open(file)?).lines() {
        let number = line?.trim().parse::<f64>();
        right.push(number.map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error))?);
    }
    let (mut n_worse, mut n_disagreeing) = (0, 0);
    for _ in 0..N_COMPARISONS {
        let pairs = Pairs::count(right.iter().map(|&p| (draw(&mut random) < p, draw(&mut random) < p)));
        n_worse += usize::from(is_worse(pairs));
        n_disagreeing += pairs.only_first + pairs.only_second;
    }
    let disagreement = n_disagreeing as f64 / (N_COMPARISONS * right.len()) as f64;
    let exact = exact_power(Plan::GATE, right.len() as u64, 0.0, disagreement).expect("no drop is within it");
    println!(
        "a model of {} rows with itself: disagreement {disagreement:.3}, called worse {n_worse} ({:.3}), the test's exact rate {exact:.3}",
        right.len(),
        share(n_worse)
    );
    Ok(())
}

/// Rows, disagreement and drop: equals of several sizes, then drops with as many rows as the formula asks for.
fn plans() -> Vec<(u64, f64, f64)> {
    let disagreements = [0.1, 0.2];
    let equals = [100, 200, 500].into_iter().flat_map(|n| disagreements.map(|disagreement| (n, disagreement, 0.0)));
    let planted = disagreements.map(|disagreement| {
        let n = rows_needed(Plan::GATE, DROP, disagreement).expect("the drop is within the disagreement");
        (n, disagreement, DROP)
    });
    equals.chain(planted).collect()
}

fn planted(random: &mut Random, n_rows: u64, disagreement: f64, drop: f64) -> Pairs {
    let lost = (disagreement + drop) / 2.0;
    Pairs::count((0..n_rows).map(|_| match draw(random) {
        share if share < lost => (true, false),
        share if share < disagreement => (false, true),
        _ => (true, true),
    }))
}

fn is_worse(pairs: Pairs) -> bool {
    pairs.mcnemar(Alternative::SecondIsWorse) <= LEVEL
}

fn draw(random: &mut Random) -> f64 {
    random.below(1 << 30) as f64 / f64::from(1 << 30)
}

fn share(n: usize) -> f64 {
    n as f64 / N_COMPARISONS as f64
}

//! What a fit gains on labelled rows, by number of labels: `table ROWS.jsonl STATES.npy N_TEST SIZE...`, with the files that
//! slm-infer's example `states` writes (rows in the order of a hash of their texts).
//!
//! The last `N_TEST` rows are reported on; of the others as many as SIZE says teach, `10x` meaning ten of each label. `-` for the
//! states leaves them out. With `--guarantee RISK` it also draws 500 times which rows teach a threshold and which certify it, and
//! tells how often the risk of all rows kept its bound.

use std::collections::BTreeSet;
use std::time::Instant;

use slm_fit::learn::{Basis, trial_figures};
use slm_fit::promise::{Answers, Demand, thresholds};
use slm_fit::{Evidence, Figures, Labelled, LearnRequest, learn};
use slm_stats::guarantee::Promise;
use slm_stats::words::Baseline;
use slm_stats::{Confidence, Random};

struct Row {
    text: String,
    label: usize,
    logprobs: Vec<f64>,
    state: Option<Vec<f32>>,
}

impl Row {
    fn labelled(&self) -> Labelled<'_> {
        let evidence = Evidence { text: &self.text, logprobs: &self.logprobs, state: self.state.as_deref() };
        Labelled { evidence, truth: self.label }
    }
}

fn main() {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let risk = args.iter().position(|arg| arg == "--guarantee").map(|at| {
        let risk = args[at + 1].parse().expect("RISK is a number");
        args.drain(at..at + 2);
        risk
    });
    let [rows, states, n_test, sizes @ ..] = args.as_slice() else {
        eprintln!("usage: table ROWS.jsonl STATES.npy|- N_TEST SIZE... [--guarantee RISK]");
        std::process::exit(2);
    };
    let (rows, labels) = read(rows, states);
    let n_test: usize = n_test.parse().expect("N_TEST is a number");
    let (others, test) = rows.split_at(rows.len() - n_test);
    for size in sizes {
        let taught = taught(others, size, labels.len());
        measure(size, &taught, test, &labels);
    }
    if let Some(risk) = risk {
        guarantee(&rows, &labels, risk);
    }
}

fn read(path: &str, states: &str) -> (Vec<Row>, Vec<String>) {
    let text = std::fs::read_to_string(path).expect("ROWS.jsonl is there");
    let values: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let label = |value: &serde_json::Value| value["label"].as_str().expect("a label").to_owned();
    let labels: Vec<String> = values.iter().map(label).collect::<BTreeSet<_>>().into_iter().collect();
    let states = if states == "-" { None } else { Some(npy(states)) };
    let n_options = values[0]["logprobs"].as_array().expect("log-probabilities").len();
    assert!(labels.len() == n_options, "every label has a row: {} of {n_options}", labels.len());
    let row = |(nth, value): (usize, &serde_json::Value)| Row {
        text: value["text"].as_str().expect("a text").to_owned(),
        label: labels.binary_search(&label(value)).expect("it is one of them"),
        logprobs: value["logprobs"]
            .as_array()
            .expect("log-probabilities")
            .iter()
            .map(|logprob| logprob.as_f64().unwrap_or(f64::NEG_INFINITY))
            .collect(),
        state: states.as_ref().map(|states| states[nth].clone()),
    };
    (values.iter().enumerate().map(row).collect(), labels)
}

/// A matrix of 32-bit floats in numpy's format 1.0.
fn npy(path: &str) -> Vec<Vec<f32>> {
    let bytes = std::fs::read(path).expect("STATES.npy is there");
    let begin = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = String::from_utf8_lossy(&bytes[10..begin]).into_owned();
    let shape = header.split("'shape': (").nth(1).and_then(|rest| rest.split(')').next()).expect("a shape");
    let n_columns: usize = shape.split(',').nth(1).expect("two dimensions").trim().parse().expect("a number");
    let numbers: Vec<f32> =
        bytes[begin..].chunks_exact(4).map(|x| f32::from_le_bytes([x[0], x[1], x[2], x[3]])).collect();
    numbers.chunks_exact(n_columns).map(<[f32]>::to_vec).collect()
}

fn taught<'r>(others: &'r [Row], size: &str, n_labels: usize) -> Vec<&'r Row> {
    match size.strip_suffix('x') {
        None => others.iter().take(size.parse().expect("SIZE is a number")).collect(),
        Some(per_label) => {
            let most: usize = per_label.parse().expect("SIZE is a number");
            let mut counts = vec![0; n_labels];
            let is_taken = |row: &&Row| {
                counts[row.label] += 1;
                counts[row.label] <= most
            };
            others.iter().filter(is_taken).collect()
        }
    }
}

fn told(name: &str, figures: Figures) {
    let Figures { accuracy, nll, ece, .. } = figures;
    println!("    {name:<18} accuracy {accuracy:.3}  nll {nll:.3}  ece {ece:.3}");
}

fn measure(size: &str, taught: &[&Row], test: &[Row], names: &[String]) {
    let rows: Vec<Labelled<'_>> = taught.iter().map(|row| row.labelled()).collect();
    let truths: Vec<usize> = test.iter().map(|row| row.label).collect();
    let started = Instant::now();
    let request = LearnRequest { rows: &rows, options: names, basis: Basis::Scores, seed: 0, n_threads: 2 };
    let learned = learn(&request).expect("the rows have two labels");
    let learn_s = started.elapsed().as_secs_f64();
    let started = Instant::now();
    let fitted: Vec<Vec<f64>> = test.iter().map(|row| learned.method.probabilities(&row.labelled().evidence)).collect();
    let row_ms = started.elapsed().as_secs_f64() * 1e3 / test.len() as f64;
    let raw: Vec<Vec<f64>> =
        test.iter().map(|row| slm_fit::Method::Nothing.probabilities(&row.labelled().evidence)).collect();
    let texts: Vec<&str> = taught.iter().map(|row| row.text.as_str()).collect();
    let labels: Vec<usize> = taught.iter().map(|row| row.label).collect();
    let words = Baseline::default().fit(&texts, &labels, names.len()).expect("the rows have two labels");
    let words: Vec<Vec<f64>> = test.iter().map(|row| words.probabilities(&row.text)).collect();
    println!(
        "{size} ({} rows teach, {} reported): {} in {learn_s:.1} s, {row_ms:.3} ms a row",
        rows.len(),
        test.len(),
        learned.method.name()
    );
    told("model alone", trial_figures(&raw, &truths));
    told("words alone", trial_figures(&words, &truths));
    told("fitted", trial_figures(&fitted, &truths));
    println!("  on the rows that taught, cross-validated:");
    for tried in &learned.tried {
        let name = if tried.method == learned.method.name() {
            format!("{} *", tried.method)
        } else {
            tried.method.to_string()
        };
        told(&name, tried.figures);
    }
    if let slm_fit::Method::Pool(pool) = &learned.method {
        let weights: Vec<f64> = pool.experts.iter().map(|(weight, _)| *weight).collect();
        println!("  weights: model {:.2}, regressions {weights:.2?}", pool.raw_weight);
    }
}

/// How often a certified threshold keeps its risk: the rows are the whole population, of which those that find a threshold and those that
/// certify it are drawn, and the risk of all of them is the true one.
fn guarantee(rows: &[Row], labels: &[String], risk: f64) {
    const RESAMPLES: u32 = 500;
    let all: Vec<Labelled<'_>> = rows.iter().map(Row::labelled).collect();
    let request = LearnRequest { rows: &all, options: labels, basis: Basis::Scores, seed: 0, n_threads: 2 };
    let learned = learn(&request).expect("the rows have two labels");
    let probabilities = &learned.out_of_fold;
    let truths: Vec<usize> = learned.places.iter().map(|&at| all[at].truth).collect();
    let promise = Promise::new(risk, Confidence::USUAL).expect("RISK is a share");
    let mut random = Random::seeded(1);
    let (mut given, mut broken, mut coverage) = (0_u32, 0_u32, 0.0);
    for _ in 0..RESAMPLES {
        let mut part = || -> (Vec<Vec<f64>>, Vec<usize>) {
            let mut drawn = vec![0; truths.len()];
            random.resample(&mut drawn);
            drawn.into_iter().map(|row| (probabilities[row].clone(), truths[row])).unzip()
        };
        let (found, certifying) = (part(), part());
        let found = Answers { probabilities: &found.0, truths: &found.1 };
        let certifying = Answers { probabilities: &certifying.0, truths: &certifying.1 };
        let Ok(one) = thresholds(&Demand::Risk(promise), &[found], &[certifying], &[]) else { continue };
        given += 1;
        let decisions = probabilities.iter().zip(&truths).map(|(p, truth)| (one.gates[0].decision(p), truth));
        let accepted: Vec<bool> = decisions
            .filter(|one| one.0.abstention.is_none())
            .map(|(decision, truth)| decision.best != *truth)
            .collect();
        let n = accepted.len().max(1) as f64;
        coverage += accepted.len() as f64 / truths.len() as f64;
        broken += u32::from(accepted.iter().filter(|is_wrong| **is_wrong).count() as f64 / n > risk);
    }
    println!(
        "guarantee: risk {risk}, method {}: certified in {given} of {RESAMPLES} draws, broken in {broken}, kept in {:.3} of all; coverage \
         where certified {:.3}",
        learned.method.name(),
        1.0 - f64::from(broken) / f64::from(RESAMPLES),
        coverage / f64::from(given.max(1)),
    );
}

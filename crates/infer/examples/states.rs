//! Writes what a model says of labelled texts: the log-probability of every label, and its hidden states, for
//! whoever compares ways of learning from them.
//!
//! `cargo run --release -p slm-infer --example states -- MODEL.gguf ROWS.jsonl KEY INSTRUCTION N OUT [nowhere] [layers=N...] [FILE,K]` reads the first
//! N rows by a hash of their text. It writes `OUT.jsonl` (text, label, log-probabilities in the labels' order, milliseconds)
//! and `OUT.npy` (a row of 32-bit floats for each line:
//! the state of the answer's choice, then that of the row). `nowhere` leaves the labels out of the prompt. With `layers=10` every row is
//! asked once more for its state after 10 layers alone, which `OUT.10.npy` has; the milliseconds of both are printed.
//! With FILE,K every row is asked twice, without and with the K nearest labelled texts of the file before it (a Modelfile's `EXAMPLES`),
//! and what is written is of the second; accuracy and milliseconds are printed of both.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};

use slm_engine::{Compute, Load, Options, ScoreRequest, Scores, Search, StateAt, Weights};
use slm_infer::decide::{Place, Wording, Written};
use slm_infer::infer::{Defaults, Examples, Scoring, Session, Turn};
use slm_values::contract::{Contract, Form};
use slm_values::gguf::Footprint;

/// A labelled text.
struct Row {
    text: String,
    label: String,
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, rows, key, instruction, n, out, more @ ..] = args.as_slice() else {
        eprintln!("usage: states MODEL.gguf ROWS.jsonl KEY INSTRUCTION N OUT [nowhere] [FILE,K]");
        std::process::exit(2);
    };
    let is_nowhere = more.iter().any(|word| word == "nowhere");
    let wording = if is_nowhere {
        Wording { written: Written::Plain, place: Place::Nowhere }
    } else {
        Scoring::default().wording
    };
    let mut parts: Vec<Part> = more.iter().filter_map(|word| Part::of(word.strip_prefix("layers=")?)).collect();
    let rows = read(Path::new(rows), key);
    let labels: BTreeSet<&str> = rows.iter().map(|row| row.label.as_str()).collect();
    let contract = Arc::new(Contract::from_schema(json!({"enum": labels})).expect("a closed contract"));
    let without = open(Path::new(model));
    let examples = more.iter().find_map(|word| word.split_once(',')).map(|(file, k)| labelled(Path::new(file), k));
    let with = examples.map(|examples| {
        let defaults = Defaults { examples: Some(examples), ..Defaults::default() };
        Session::over(without.engine().clone(), defaults).expect("the same model")
    });
    let mut told = [Told::default(), Told::default()];
    let mut lines = std::fs::File::create(format!("{out}.jsonl")).expect("OUT can be written");
    let mut states: Vec<Vec<f32>> = Vec::new();
    for row in rows.iter().take(n.parse().expect("N is a number")) {
        let mut last = None;
        for (session, told) in [Some(&without), with.as_ref()].into_iter().flatten().zip(&mut told) {
            let started = Instant::now();
            let scores = ask(session, &contract, instruction, &row.text, wording);
            told.ms.push(started.elapsed().as_secs_f64() * 1e3);
            let logprobs = &scores.groups[0].logprobs;
            let best = (0..logprobs.len()).max_by(|&i, &j| logprobs[i].total_cmp(&logprobs[j]));
            told.n_right +=
                usize::from(labels.iter().nth(best.expect("there are labels")) == Some(&row.label.as_str()));
            last = Some(scores);
        }
        for part in &mut parts {
            let request = request(&without, &contract, instruction, &row.text, wording).only_layers(part.n_layers);
            let started = Instant::now();
            part.states.extend(without.engine().score(request).expect("a state").state);
            part.ms.push(started.elapsed().as_secs_f64() * 1e3);
        }
        let Scores { groups, state, .. } = last.expect("a session asked");
        let (logprobs, ms) = (&groups[0].logprobs, told.iter().rev().find_map(|told| told.ms.last()));
        let line = json!({"text": row.text, "label": row.label, "logprobs": logprobs, "ms": ms});
        writeln!(lines, "{line}").expect("OUT can be written");
        states.push(state.expect("there are several labels"));
    }
    std::fs::write(format!("{out}.npy"), npy(&states)).expect("OUT can be written");
    for part in &mut parts {
        part.ms.sort_by(f64::total_cmp);
        println!("{} layers alone: median {:.2} ms a row", part.n_layers, part.ms[part.ms.len() / 2]);
        std::fs::write(format!("{out}.{}.npy", part.n_layers), npy(&part.states)).expect("OUT can be written");
    }
    for (name, told) in ["without", "with"].into_iter().zip(&mut told).filter(|(_, told)| !told.ms.is_empty()) {
        let n = told.ms.len();
        told.ms.sort_by(f64::total_cmp);
        println!(
            "{name} examples: {n} rows, accuracy {:.3}, median {:.1} ms a row",
            told.n_right as f64 / n as f64,
            told.ms[n / 2]
        );
    }
}

/// What a part of the layers made of all rows.
struct Part {
    n_layers: u32,
    states: Vec<Vec<f32>>,
    ms: Vec<f64>,
}

impl Part {
    fn of(n_layers: &str) -> Option<Part> {
        Some(Part { n_layers: n_layers.parse().ok()?, states: Vec::new(), ms: Vec::new() })
    }
}

/// What a session said of all rows.
#[derive(Default)]
struct Told {
    n_right: usize,
    ms: Vec<f64>,
}

/// The labelled texts of a file, `k` of which come before a row.
fn labelled(file: &Path, k: &str) -> Examples {
    let lines = std::fs::read_to_string(file).expect("FILE is there");
    let rows = slm_values::examples::read(&lines, "text", "label").expect("FILE has labelled texts");
    Examples::new(rows, k.parse().expect("K is a number"))
}

fn open(path: &Path) -> Session {
    let options = Options {
        weights: Weights::File(path.to_path_buf()),
        weights_id: path.display().to_string(),
        load: Load::Everything,
        n_ctx: Some(4096),
        compute: Compute::default(),
        footprint: Footprint::default(),
    };
    Session::open(options, Defaults::default()).expect("the model can be loaded")
}

fn ask(session: &Session, contract: &Arc<Contract>, instruction: &str, text: &str, wording: Wording) -> Scores {
    session.engine().score(request(session, contract, instruction, text, wording)).expect("scores")
}

fn request(
    session: &Session,
    contract: &Arc<Contract>,
    instruction: &str,
    text: &str,
    wording: Wording,
) -> ScoreRequest {
    let form = Form::Closed(Arc::clone(contract));
    let scoring = Scoring { wording, ..Scoring::default() };
    let turn = Turn { form, scoring, ..Turn::to_text(Some(instruction), text) };
    let prompt = session.ready(turn).expect("a prompt").prompt().clone();
    let lead = if session.has_template() { "" } else { " " };
    ScoreRequest {
        reading: scoring.reading,
        search: Search::BestFirst,
        state: Some(StateAt::ChoiceAndRow),
        ..ScoreRequest::new(prompt, wording.groups(contract, lead))
    }
}

/// The rows in the order of a hash of their texts.
fn read(path: &Path, key: &str) -> Vec<Row> {
    let text = std::fs::read_to_string(path).expect("ROWS.jsonl is there");
    let row = |line: &str| {
        let row: Value = serde_json::from_str(line).expect("a line of JSON");
        let text_of = |key: &str| row[key].as_str().expect("a text").to_owned();
        Row { text: text_of("text"), label: text_of(key) }
    };
    let mut rows: Vec<Row> = text.lines().map(row).collect();
    rows.sort_by_cached_key(|row| {
        let mut hasher = DefaultHasher::new();
        row.text.hash(&mut hasher);
        hasher.finish()
    });
    rows
}

/// A matrix in numpy's format, version 1.0: a line of Python in front of the numbers, padded to a multiple of 64 bytes.
fn npy(rows: &[Vec<f32>]) -> Vec<u8> {
    let n_columns = rows.first().map_or(0, Vec::len);
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {n_columns}), }}", rows.len());
    let length = (10 + header.len() + 1).next_multiple_of(64);
    header += &" ".repeat(length - 10 - header.len() - 1);
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(header.len()).expect("a short line").to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(rows.iter().flatten().flat_map(|x| x.to_le_bytes()));
    bytes
}

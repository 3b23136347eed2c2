//! Chooses how closed contracts are put to models: every way of asking, on labelled texts, with accuracy, negative
//! log-likelihood and calibration error.
//!
//! `cargo run --release -p slm-infer --example sweep -- MODEL.gguf DATA ROWS [FILTER]` prints a table; DATA is a folder with
//! `sst2.jsonl`, `ag_news.jsonl`, `clinc150.jsonl`, `banking77.jsonl` and `nlupp_banking.jsonl`, FILTER a part of the lines'
//! names. Half of the rows, by a hash of their text, is to choose by (`choose`), the other half to report on (`report`).

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};

use slm_engine::{Compute, Load, Options, Reading, Search, Weights};
use slm_infer::decide::{FieldAnswer, Place, Question, Wording, Written};
use slm_infer::infer::{Ask, Cancel, Defaults, Finding, Scoring, Session, Turn, wait};
use slm_values::chat::{Message, Role};
use slm_values::contract::{Contract, Form};
use slm_values::gguf::Footprint;

/// A labelled text: the label of each field.
struct Row {
    text: String,
    labels: Vec<Value>,
    is_report: bool,
}

/// A task: what is asked, and the fields with their labels.
struct Task {
    name: &'static str,
    instruction: &'static str,
    fields: Vec<(&'static str, Vec<Value>)>,
    rows: Vec<Row>,
}

/// Who says what is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// `--choices` or a Modelfile's FORMAT, and nothing else.
    Format,
    /// The same with a system message that says what to do.
    FormatAndSystem,
    /// A request whose system message asks for JSON and lists the labels.
    Request,
    /// A request with a schema, and no word about it.
    SchemaAlone,
    Question,
    /// As [`Use::Request`] for an object of several fields, each asked after the best answers of the fields before it, as a
    /// model writes JSON.
    InOrder,
}

const USES: [Use; 6] = [Use::Format, Use::FormatAndSystem, Use::Request, Use::SchemaAlone, Use::Question, Use::InOrder];

impl Use {
    fn wordings(self) -> Vec<Wording> {
        use Place::{After, Before, Nowhere, System};
        use Written::{AnyJson, CompactJson, Json, JsonObject, Number, Plain};
        let of =
            |pairs: &[(Written, Place)]| pairs.iter().map(|&(written, place)| Wording { written, place }).collect();
        match self {
            Use::Format | Use::FormatAndSystem => of(&[
                (Plain, System),
                (JsonObject, System),
                (Plain, Before),
                (Plain, After),
                (Json, System),
                (Json, Before),
                (Json, After),
                (Number, System),
                (Number, After),
                (Plain, Nowhere),
                (Json, Nowhere),
            ]),
            Use::Request => of(&[
                (Json, Nowhere),
                (AnyJson, Nowhere),
                (CompactJson, Nowhere),
                (Json, System),
                (AnyJson, System),
                (Json, After),
                (Plain, Nowhere),
                (Plain, System),
            ]),
            Use::SchemaAlone => of(&[
                (Json, Nowhere),
                (AnyJson, Nowhere),
                (Json, System),
                (AnyJson, System),
                (AnyJson, Before),
                (AnyJson, After),
                (Plain, System),
            ]),
            Use::Question => of(&[(Plain, System)]),
            Use::InOrder => of(&[(Json, Nowhere)]),
        }
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, data, n_rows, filter @ ..] = args.as_slice() else {
        eprintln!("usage: sweep MODEL.gguf DATA ROWS [FILTER]…");
        std::process::exit(2);
    };
    let n_rows = n_rows.parse().expect("ROWS is a number");
    let session = open(Path::new(model));
    println!(
        "| task, use, wording, reading | rows | choose: accuracy, NLL, ECE | report: accuracy, NLL, ECE | label mass | tokens a row | ms a row |"
    );
    println!("|---|---|---|---|---|---|---|");
    for task in tasks(Path::new(data), n_rows) {
        for used in USES {
            for wording in used.wordings() {
                for reading in [Reading::Choices, Reading::Likelihood] {
                    for is_reversed in [false, true] {
                        let order = if is_reversed { " reversed" } else { "" };
                        let name = format!(
                            "{} {used:?} {:?}/{:?} {reading:?}{order}",
                            task.name, wording.written, wording.place
                        );
                        if filter.iter().all(|part| {
                            part.split(',').any(|part| match part.strip_prefix('!') {
                                Some(part) => !name.contains(part),
                                None => name.contains(part),
                            })
                        }) {
                            let scoring = Scoring { wording, reading, search: Search::BestFirst, ..Scoring::default() };
                            run(&session, &task, used, scoring, is_reversed, &name);
                        }
                    }
                }
            }
        }
    }
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

/// Asks every row, and prints the line of the table.
fn run(session: &Session, task: &Task, used: Use, scoring: Scoring, is_reversed: bool, name: &str) {
    let mut halves = [Figures::default(), Figures::default()];
    let (mut mass, mut tokens) = (0.0, 0);
    let started = Instant::now();
    for row in &task.rows {
        let mut add = |ask: Ask, labels: &[Value]| {
            let end = wait(async { session.ask(ask)?.whole().await }, &Cancel::default()).expect("an answer").end;
            tokens += end.counts.prompt - end.counts.reused + end.counts.branch;
            let Finding::Closed(answer) = end.finding else { panic!("a closed answer") };
            for (field, label) in answer.fields.iter().zip(labels) {
                halves[usize::from(row.is_report)].add(field, label);
                mass += field.label_mass.unwrap_or_default() / task.fields.len() as f64;
            }
            answer.fields[0].value.clone()
        };
        if used == Use::InOrder {
            let mut written = String::new();
            for (number, label) in row.labels.iter().enumerate() {
                let begun = task.begun(number, &mut written);
                // The answer with the space before it, which a tokenizer may join to it.
                let spaced = Value::from(format!(" {label}"));
                let best = add(task.ask_next(row, number, begun, scoring, is_reversed), &[spaced]);
                written += best.as_str().expect("the labels are written out");
            }
            continue;
        }
        for (ask, labels) in task.asks(row, used, scoring, is_reversed) {
            add(ask, labels);
        }
    }
    let n = task.rows.len() as f64;
    let [choose, report] = halves.map(|half| half.to_string());
    let ms = started.elapsed().as_secs_f64() * 1e3 / n;
    println!("| {name} | {n} | {choose} | {report} | {:.2} | {:.0} | {ms:.0} |", mass / n, tokens as f64 / n);
}

impl Task {
    /// The JSON up to the colon of a field, behind what is written of the fields before it.
    fn begun(&self, number: usize, written: &mut String) -> String {
        *written += if number == 0 { "{" } else { ", " };
        *written += &format!("\"{}\":", self.fields[number].0);
        written.clone()
    }

    /// One field of a row, behind the JSON that is begun; its labels are written out, each behind a space.
    fn ask_next(&self, row: &Row, number: usize, begun: String, scoring: Scoring, is_reversed: bool) -> Ask {
        let labels = ordered(&self.fields[number].1, is_reversed);
        let labels: Vec<String> = labels.iter().map(|label| format!(" {label}")).collect();
        let form = Form::Closed(Arc::new(Contract::from_schema(json!({"enum": labels})).expect("a closed contract")));
        let wording = Wording { written: Written::Plain, place: Place::Nowhere };
        let scoring = Scoring { wording, ..scoring };
        let mut turn = Turn { form, scoring, ..Turn::to_text(Some(&self.request(is_reversed)), &row.text) };
        let chat = turn.chat_mut().expect("a text begins a conversation");
        chat.messages.push(Message::new(Role::Assistant, begun));
        turn.into()
    }

    /// A system message that says what to do, and asks for JSON.
    fn request(&self, is_reversed: bool) -> String {
        let listed =
            |labels: &[Value]| ordered(labels, is_reversed).iter().map(Value::to_string).collect::<Vec<_>>().join(", ");
        let wanted: Vec<String> =
            self.fields.iter().map(|(name, labels)| format!("\"{name}\": one of {}", listed(labels))).collect();
        format!("{} Answer with JSON: {{{}}}", self.instruction, wanted.join("; "))
    }

    /// The questions about a row, each with the right answers of its fields.
    fn asks<'r>(&self, row: &'r Row, used: Use, scoring: Scoring, is_reversed: bool) -> Vec<(Ask, &'r [Value])> {
        let ordered = |labels: &[Value]| ordered(labels, is_reversed);
        if used == Use::Question {
            let of = |(number, (name, labels)): (usize, &(&str, Vec<Value>))| {
                let instruction = if self.fields.len() > 1 {
                    format!("{} {name}?", self.instruction)
                } else {
                    self.instruction.to_owned()
                };
                let options = ordered(labels).into_iter().map(|label| (label, None));
                let question = Arc::new(Question::choice(instruction, options).expect("a choice"));
                let ask = Ask::Question { system: None, state: row.text.clone(), question, scoring };
                (ask, &row.labels[number..=number])
            };
            return self.fields.iter().enumerate().map(of).collect();
        }
        let is_bare = self.fields.len() == 1 && matches!(used, Use::Format | Use::FormatAndSystem);
        let properties: serde_json::Map<String, Value> =
            self.fields.iter().map(|(name, labels)| ((*name).to_owned(), json!({"enum": ordered(labels)}))).collect();
        let schema = if is_bare {
            json!({"enum": ordered(&self.fields[0].1)})
        } else {
            json!({"type": "object", "required": properties.keys().collect::<Vec<_>>(), "properties": properties})
        };
        let contract = Contract::from_schema(schema).expect("a closed contract");
        let system = match used {
            Use::FormatAndSystem => Some(self.instruction.to_owned()),
            Use::Request => Some(self.request(is_reversed)),
            Use::Format | Use::SchemaAlone | Use::Question | Use::InOrder => None,
        };
        let form = Form::Closed(Arc::new(contract));
        let turn = Turn { form, scoring, ..Turn::to_text(system.as_deref(), &row.text) };
        vec![(turn.into(), &row.labels)]
    }
}

/// The labels as they are listed, or the last one first.
fn ordered(labels: &[Value], is_reversed: bool) -> Vec<Value> {
    let mut labels = labels.to_vec();
    if is_reversed {
        labels.reverse();
    }
    labels
}

/// What some rows say of a way of asking.
#[derive(Default)]
struct Figures {
    n: f64,
    n_right: f64,
    nll: f64,
    /// For ten bins of the winner's probability: answers, right ones, sum of probabilities.
    bins: [(f64, f64, f64); 10],
}

impl Figures {
    fn add(&mut self, answer: &FieldAnswer, label: &Value) {
        let p_of =
            |value: &Value| answer.probabilities.iter().find(|(known, _)| known == value).map_or(0.0, |(_, p)| *p);
        let (p, is_right) = (p_of(&answer.value), f64::from(u8::from(answer.value == *label)));
        self.n += 1.0;
        self.n_right += is_right;
        self.nll -= p_of(label).max(1e-6).ln();
        let bin = &mut self.bins[((p * 10.0) as usize).min(9)];
        *bin = (bin.0 + 1.0, bin.1 + is_right, bin.2 + p);
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ece: f64 = self.bins.iter().map(|(_, right, p)| (right - p).abs()).sum::<f64>() / self.n;
        write!(f, "{:.3}, {:.2}, {ece:.2}", self.n_right / self.n, self.nll / self.n)
    }
}

fn tasks(data: &Path, n_rows: usize) -> Vec<Task> {
    let one = |name, instruction, file: &str, key: &'static str, field| {
        let rows = read(&data.join(file), n_rows, |row| vec![row[key].clone()]);
        let mut labels: BTreeMap<String, ()> = BTreeMap::new();
        for row in read(&data.join(file), usize::MAX, |row| vec![row[key].clone()]) {
            labels.insert(row.labels[0].as_str().unwrap_or_default().to_owned(), ());
        }
        let labels = labels.into_keys().map(Value::from).collect();
        Task { name, instruction, fields: vec![(field, labels)], rows }
    };
    const TAGS: [&str; 4] = ["card", "account", "transfer_payment_deposit", "request_info"];
    let tags = |row: &Value| {
        let has = |tag: &&str| row["intents"].as_array().is_some_and(|tags| tags.iter().any(|found| found == tag));
        TAGS.iter().map(|tag| has(tag).into()).collect()
    };
    let of_clinc = |name, instruction, keys: [&'static str; 2]| {
        let labels = |row: &Value| keys.iter().map(|key| row[*key].clone()).collect::<Vec<_>>();
        let mut known = [const { BTreeSet::new() }; 2];
        for row in read(&data.join("clinc150.jsonl"), usize::MAX, labels) {
            for (known, label) in known.iter_mut().zip(row.labels) {
                known.insert(label.as_str().unwrap_or_default().to_owned());
            }
        }
        let fields =
            keys.into_iter().zip(known).map(|(key, known)| (key, known.into_iter().map(Value::from).collect()));
        Task { name, instruction, fields: fields.collect(), rows: read(&data.join("clinc150.jsonl"), n_rows, labels) }
    };
    let yes_no = || vec![Value::Bool(true), Value::Bool(false)];
    vec![
        one("reviews", "Classify the sentiment of the film review.", "sst2.jsonl", "label", "label"),
        one("news", "Classify the topic of the news.", "ag_news.jsonl", "label", "label"),
        one(
            "domains",
            "Classify the domain of the user's request to an assistant.",
            "clinc150.jsonl",
            "domain",
            "domain",
        ),
        one("bank", "Classify the intent of the bank customer's message.", "banking77.jsonl", "label", "intent"),
        Task {
            name: "tags",
            instruction: "Decide for each topic whether the bank customer's message is about it.",
            fields: TAGS.iter().map(|tag| (*tag, yes_no())).collect(),
            rows: read(&data.join("nlupp_banking.jsonl"), n_rows, tags),
        },
        of_clinc("domain+intent", "Classify the user's request to an assistant.", ["domain", "intent"]),
        of_clinc("intent+domain", "Classify the user's request to an assistant.", ["intent", "domain"]),
    ]
}

/// Rows of a file in the order of a hash of their texts.
fn read(path: &PathBuf, n_rows: usize, labels: impl Fn(&Value) -> Vec<Value>) -> Vec<Row> {
    let text = std::fs::read_to_string(path).expect("DATA has the file");
    let mut rows: Vec<(u64, Row)> = Vec::new();
    for line in text.lines() {
        let row: Value = serde_json::from_str(line).expect("a line of JSON");
        let text = row["text"].as_str().unwrap_or_default().to_owned();
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let hash = hasher.finish();
        rows.push((hash, Row { labels: labels(&row), text, is_report: hash % 2 == 1 }));
    }
    rows.sort_by_key(|(hash, _)| *hash);
    rows.into_iter().take(n_rows).map(|(_, row)| row).collect()
}

//! `slm fit --depth`: answers from a part of the layers, the rows that are left to all of them, and what is refused.

use serde_json::{Value, json};

use crate::fit::{field, home};
use crate::serve::Server;
use crate::slm::Home;

const LABELS: [&str; 6] = ["--label", "queue", "--label", "urgency", "--label", "refund"];
const NAMES: [&str; 3] = ["queue", "urgency", "refund"];

/// Fits the turned queues under the name `early`.
fn fit(home: &Home, more: &[&str]) -> Value {
    let args = ["fit", "triage", "mine.jsonl", "--as", "early", "--json"].iter().chain(&LABELS).chain(more);
    let said = home.slm(args).ends(0);
    serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", said.stdout, said.stderr))
}

fn texts(home: &Home) -> Vec<String> {
    let rows = std::fs::read_to_string(home.path().join("later.jsonl")).expect("it was written");
    let text =
        |line: &str| serde_json::from_str::<Value>(line).expect("JSON")["text"].as_str().expect("a text").to_owned();
    rows.lines().take(40).map(text).collect()
}

/// Whole answers to texts, one after the other in one process.
fn answers(home: &Home, model: &str) -> Vec<Value> {
    let rows: String = texts(home).iter().map(|text| format!("{}\n", json!({"text": text}))).collect();
    let said = home.slm(["run", model, "--jsonl", "text", "--json=full"]).stdin(rows).ends(0);
    let row = |line: &str| serde_json::from_str::<Value>(line).expect("JSON")["answer"].clone();
    said.stdout.lines().map(row).collect()
}

fn sum(list: &Value) -> f64 {
    list.as_array().expect("a list").iter().filter_map(|one| one["probability"].as_f64()).sum()
}

#[test]
fn a_part_of_the_layers_answers_without_reading_a_label() {
    let home = home();
    let told = fit(&home, &["--depth", "3"]);
    assert_eq!(told["depth"], json!({"layers": 3, "of": 4}));
    let queue = field(&told, "queue");
    // The labels are turned: without learning, hardly any is right.
    assert!(queue["early"]["figures"]["accuracy"].as_f64() > Some(0.6), "{}", queue["early"]);
    assert_eq!(queue["early"]["given"], queue["early"]["figures"]);
    for answer in answers(&home, "early") {
        for name in NAMES {
            let field = &answer["fields"][name];
            assert_eq!(field["depth"], json!({"layers": 3, "of": 4}), "{answer}");
            assert_eq!((&field["raw"], &field["label_mass"]), (&Value::Null, &Value::Null));
            assert!((sum(&field["probabilities"]) - 1.0).abs() < 1e-9 && field.get("abstained").is_none());
        }
        assert_eq!(answer["tokens"]["branch"], 0);
    }
    let text = "I was charged twice for order 1182";
    let one: Value = home.slm(["run", "early", "--json", text]).json();
    assert_eq!(one["value"]["queue"], "shipping");
    let raw = home.slm(["run", "early", "--no-fit", "--json", text]).json();
    assert!(raw["value"]["queue"] == "billing" && raw["fields"]["queue"].get("depth").is_none(), "{raw}");
    // The card, the check and the evaluation know of it.
    let card = home.slm(["show", "early"]).succeeds();
    assert!(card.contains("after 3 of 4 layers answers every row; alone accuracy 0."), "{card}");
    let args = ["fit", "early", "later.jsonl", "--check", "--json"].iter().chain(&LABELS);
    let checked: Value = serde_json::from_str(&home.slm(args).ends(0).stdout).expect("JSON");
    assert_eq!(checked["holds"], true, "{checked}");
    home.file(
        "suite.yaml",
        "model: early\ndata: later.jsonl\ninput: text\nexpect: queue\nlimit: 60\nbaselines: none\n",
    );
    let report: Value = serde_json::from_str(&home.slm(["eval", "suite.yaml", "--json"]).ends(0).stdout).expect("JSON");
    let names: Vec<&Value> = report["subjects"].as_array().expect("subjects").iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["early", "early (raw)"]);
}

#[test]
fn the_same_text_has_the_same_bits_alone_in_a_batch_and_served() {
    let home = home();
    fit(&home, &["--depth", "1/2"]);
    let batch = answers(&home, "early");
    let server = Server::of(&home);
    for (text, answer) in texts(&home).iter().zip(&batch).take(6) {
        let alone = home.slm(["run", "early", "--local", "--json", text]).json();
        assert_eq!(alone["fields"], answer["fields"], "{text}");
        let chat = json!({"model": "early", "messages": [{"role": "user", "content": text}], "stream": false});
        let served = server.post("/api/chat", chat).ok();
        for (served, name) in served["slm"]["fields"].as_array().expect("fields").iter().zip(NAMES) {
            let alone = &alone["fields"][name];
            assert_eq!(
                (&served["probabilities"], &served["depth"]),
                (&alone["probabilities"], &alone["depth"]),
                "{text}"
            );
            assert!(served.get("raw").is_none(), "{served}");
        }
    }
}

#[test]
fn with_thresholds_all_layers_answer_what_the_part_is_not_sure_of_and_they_alone_abstain() {
    let home = home();
    let told = fit(&home, &["--depth", "2", "--coverage", "70%"]);
    let queue = field(&told, "queue");
    let (answered, promise) = (queue["early"]["answered"].as_u64().expect("counted"), &queue["promise"]);
    assert!(answered > 0 && answered <= promise["accepted"].as_u64().expect("counted"), "{queue}");
    let fields: Vec<Value> =
        answers(&home, "early").iter().flat_map(|answer| NAMES.map(|name| answer["fields"][name].clone())).collect();
    let (early, whole): (Vec<&Value>, Vec<&Value>) = fields.iter().partition(|field| field.get("depth").is_some());
    assert!(!early.is_empty() && !whole.is_empty());
    assert!(early.iter().all(|field| field["raw"].is_null() && field.get("abstained").is_none()));
    assert!(whole.iter().all(|field| (sum(&field["raw"]) - 1.0).abs() < 1e-9));
    assert!(whole.iter().any(|field| field["abstained"].is_string()), "nothing is left to a person");
    assert!(early.iter().all(|field| field["probability"].as_f64() >= field["fit"]["threshold"].as_f64()));
    // What all layers say of a text is what they say without the part before them.
    let args = ["fit", "triage", "mine.jsonl", "--as", "whole", "--coverage", "70%"].iter().chain(&LABELS);
    home.slm(args).ends(0);
    let alone = answers(&home, "whole");
    for (pair, alone) in answers(&home, "early").iter().zip(alone) {
        for name in NAMES.iter().filter(|name| pair["fields"][**name].get("depth").is_none()) {
            let of = |answer: &Value| {
                [&answer["fields"][*name]["raw"], &answer["fields"][*name]["probabilities"]].map(Value::clone)
            };
            assert_eq!(of(pair), of(&alone), "{name}");
        }
    }
}

#[test]
fn what_cannot_be_a_part_is_refused_in_a_sentence() {
    let home = home();
    let call = |more: &[&str]| {
        let said = home.slm(["fit", "triage", "mine.jsonl", "--as", "early"].iter().chain(more)).run();
        (said.code, said.stderr)
    };
    let all = |depth| [&LABELS[..], &["--depth", depth]].concat();
    let (code, said) = call(&all("4"));
    assert!(code == Some(2) && said.contains("--depth 4 is not a part of the model's 4 layers; give 1 to 3"), "{said}");
    let (code, said) = call(&all("4/3"));
    assert!(code == Some(2) && said.contains("`4/3` is not a part of the layers; write `1/3`"), "{said}");
    let (code, said) = call(&["--label", "queue", "--depth", "2"]);
    assert!(code == Some(2) && said.contains("--depth needs labels for every field"), "{said}");
    let (code, said) = call(&[&all("2")[..], &["--limit", "60"]].concat());
    assert!(code == Some(3) && said.contains("2 of 4 layers have fewer rows right"), "{said}");
    let (code, _) = call(&[&all("2")[..], &["--no-state"]].concat());
    assert_eq!(code, Some(2));
}

#[test]
fn auto_takes_the_smallest_part_that_is_as_good_or_all_layers() {
    let home = home();
    let told = fit(&home, &["--depth", "auto", "--dry-run"]);
    let is_as_good = |name: &str, nth: usize| {
        let one = &field(&told, name)["early"]["tried"][nth];
        one["p_as_right"].as_f64() > Some(0.05) && one["p_as_likely"].as_f64() > Some(0.2)
    };
    match told["depth"]["layers"].as_u64() {
        Some(layers) => {
            let nth = layers as usize - 1;
            assert!(NAMES.iter().all(|name| is_as_good(name, nth)), "{told}");
            assert!((0..nth).all(|nth| !NAMES.iter().all(|name| is_as_good(name, nth))), "{told}");
        }
        None => assert!(field(&told, "queue").get("early").is_none(), "{told}"),
    }
}

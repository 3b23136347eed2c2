//! lm-evaluation-harness, the real one, on data of our own: its log-likelihoods are those that the engine gives candidates.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use slm::engine::{Compute, Ending, Engine, Group, Load, Options, ScoreRequest, Spelling, Weights};
use slm::gguf::Footprint;
use slm::prompt::{Prompt, Run};

use super::scripts::output_within;
use super::{Server, environments};
use crate::slm::Home;

/// As long as both tasks may take.
const PATIENCE: Duration = Duration::from_secs(300);

const QUESTIONS: [(&str, [&str; 3]); 6] = [
    ("I was charged twice. This is about", ["billing", "shipping", "my account"]),
    ("My parcel never came. This is about", ["shipping", "billing", "a legal claim"]),
    ("I cannot log in. This is about", ["account access", "billing", "shipping"]),
    ("The app crashes. This is about", ["something technical", "billing", "shipping"]),
    ("My lawyer will write to you. This is about", ["a legal claim", "shipping", "billing"]),
    ("Where is my refund? This is about", ["billing", "shipping", "something technical"]),
];

const CHOICES: &str = "task: own_choices\ndataset_path: json\ndataset_kwargs: {data_files: {test: choices.jsonl}}\n\
    test_split: test\noutput_type: multiple_choice\ndoc_to_text: '{{question}}'\ndoc_to_choice: '{{choices}}'\n\
    doc_to_target: 0\nmetric_list: [{metric: acc}, {metric: acc_norm}]\n";
const TEXTS: &str = "task: own_texts\ndataset_path: json\ndataset_kwargs: {data_files: {test: texts.jsonl}}\n\
    test_split: test\noutput_type: loglikelihood_rolling\ndoc_to_text: ''\ndoc_to_target: '{{text}}'\n\
    metric_list: [{metric: bits_per_byte}]\n";

fn engine() -> Engine {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("Modelfiles/triage/triage.gguf");
    Engine::load(Options {
        weights: Weights::File(path),
        weights_id: "triage".to_owned(),
        load: Load::Everything,
        n_ctx: Some(1024),
        compute: Compute::default(),
        footprint: Footprint::default(),
    })
    .unwrap()
}

/// `log P(continuation | before)`, from the engine's own candidates.
fn likelihood(engine: &Engine, before: Run, continuation: &str) -> f64 {
    let spellings = vec![Spelling::default()];
    let group = Group { spellings, candidates: vec![continuation.to_owned()], ending: Ending::Text };
    engine.score(ScoreRequest::new(Prompt::of(before), vec![group])).unwrap().groups[0].logprobs[0]
}

/// Every line of the only file below a folder whose name begins so.
fn samples(folder: &Path, beginning: &str) -> Vec<Value> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().unwrap().to_string_lossy().starts_with(beginning) {
                let text = std::fs::read_to_string(path).unwrap();
                return text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            }
        }
    }
    Vec::new()
}

/// The number that lm-eval writes as a text.
fn number(value: &Value) -> f64 {
    value.as_f64().or_else(|| value.as_str()?.parse().ok()).unwrap_or_else(|| panic!("no number: {value}"))
}

#[test]
fn its_log_likelihoods_are_those_of_candidates() {
    let Some(python) = environments::lm_eval() else { return };
    let home = Home::new();
    let server = Server::of(&home);
    let lines = |lines: Vec<Value>| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    let choices = QUESTIONS.iter().map(|(question, choices)| json!({"question": question, "choices": choices}));
    home.file("choices.jsonl", lines(choices.collect()));
    let text = "I was charged twice for my order, and nobody answers. ".repeat(12);
    home.file("texts.jsonl", lines(vec![json!({ "text": text })]));
    home.file("choices.yaml", CHOICES);
    home.file("texts.yaml", TEXTS);
    for requests in ["tokenized_requests=True", "tokenized_requests=False"] {
        let mut command = Command::new(&python);
        let model = format!(
            "base_url={},model=triage,tokenizer_backend=remote,max_length=512,{requests}",
            server.url("/v1/completions")
        );
        command.args(["-m", "lm_eval", "run", "--model", "local-completions", "--model_args", &model]);
        command.args(["--include_path", ".", "--tasks", "own_choices,own_texts", "--log_samples"]);
        command.args(["--output_path", requests]).current_dir(home.path());
        command.env("HF_HUB_OFFLINE", "1").env("HF_HOME", home.path().join("hf")).env("NO_PROXY", "*");
        let said = output_within(command, PATIENCE);

        let engine = engine();
        let folder = home.path().join(requests);
        let found = samples(&folder, "samples_own_choices");
        assert_eq!(found.len(), QUESTIONS.len(), "{said}");
        for sample in &found {
            let (text, choices) = (sample["doc"]["question"].as_str().unwrap(), &sample["doc"]["choices"]);
            let before = || Run::Text { text: text.to_owned(), persons: vec![] };
            let choices = choices.as_array().unwrap().iter().map(|choice| format!(" {}", choice.as_str().unwrap()));
            let own: Vec<f64> = choices.map(|choice| likelihood(&engine, before(), &choice)).collect();
            let theirs: Vec<f64> = (0..3).map(|i| number(&sample["filtered_resps"][i][0])).collect();
            for (own, theirs) in own.iter().zip(&theirs) {
                assert!((own - theirs).abs() < 0.05, "{text}: {own} {theirs}");
            }
            let best = (0..3).max_by(|&i, &j| own[i].total_cmp(&own[j])).unwrap();
            assert_eq!(number(&sample["acc"]), f64::from(u8::from(best == 0)), "{text}");
        }

        // lm-eval puts the token that ends texts before one, where the vocabulary has none that begins them.
        let texts = samples(&folder, "samples_own_texts");
        assert_eq!(texts.len(), 1, "{said}");
        let theirs = number(&texts[0]["filtered_resps"][0]);
        let own = likelihood(&engine, Run::Control(engine.info().specials.eos.clone()), &text);
        assert!((own - theirs).abs() < 1e-3 * own.abs(), "{own} {theirs}");
    }
}

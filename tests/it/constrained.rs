//! Generated text under a grammar, at the engine's door: models of every kind keep it, token by token.

use serde_json::Value;

use slm::engine::{Engine, EngineError, Event, Finish, GenerateRequest, Grammar, Load, Options, Request, Weights};
use slm::prompt::{Prompt, Run};
use slm::sampling::{AnswerShape, Parameters, Sampling};

use crate::tiny::KINDS;
use slm_testing::shared;

fn engine(path: &std::path::Path) -> Engine {
    let options = Options {
        weights: Weights::File(path.to_owned()),
        weights_id: String::new(),
        load: Load::Everything,
        n_ctx: Some(600),
        compute: slm::engine::Compute { n_threads: Some(1), ..slm::engine::Compute::default() },
        footprint: slm::gguf::Footprint::default(),
    };
    Engine::load(options).unwrap()
}

/// Engines over a random model of each kind, and over a trained one where its file is there.
fn engines() -> Vec<(String, Engine, tempfile::TempDir)> {
    let mut engines = Vec::new();
    for kind in KINDS {
        let folder = tempfile::tempdir().unwrap();
        kind.write(folder.path());
        let name = format!("{kind:?}");
        let engine = engine(&folder.path().join(format!("{name}.gguf")));
        engines.push((name, engine, folder));
    }
    if let Some(path) = shared("models/stories260K.gguf") {
        engines.push(("stories".to_owned(), engine(&path), tempfile::tempdir().unwrap()));
    }
    engines
}

fn generate(engine: &Engine, grammar: &str, said: Parameters) -> Result<(String, Finish, usize), EngineError> {
    let sampling: Sampling = said.resolve(AnswerShape::Formatted);
    let runs = vec![Run::Text { text: "Once upon a time".to_owned(), persons: vec![] }];
    let prompt = Prompt { runs, row_start: None, row: None };
    let grammar = Some(Grammar(grammar.into()));
    let request = GenerateRequest { grammar, ..GenerateRequest::new(prompt, sampling) };
    let mut events = engine.send(Request::Generate(request));
    let mut text = String::new();
    loop {
        match events.blocking_recv() {
            Some(Event::Text(piece)) => text += &piece.text,
            Some(Event::Generated(generation)) => return Ok((text, generation.finish, generation.counts.generated)),
            Some(Event::Failed(error)) => return Err(error),
            other => panic!("{other:?}"),
        }
    }
}

fn limit(n: i32) -> Parameters {
    Parameters { num_predict: Some(n), ..Parameters::default() }
}

const OBJECT: &str = r#"start: %json {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "kind": {"enum": ["a little dog", "a big tree", "日本 🦙"]},
        "ages": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 120}, "minItems": 1, "maxItems": 3}
    },
    "required": ["name", "kind", "ages"], "additionalProperties": false,
    "x-guidance": {"whitespace_flexible": false, "item_separator": ", ", "key_separator": ": "}
}"#;

#[test]
fn every_kind_of_model_writes_the_object() {
    for (name, engine, _folder) in engines() {
        for said in [limit(300), Parameters { temperature: Some(1.5), seed: Some(7), ..limit(300) }] {
            let (text, finish, _) = generate(&engine, OBJECT, said).unwrap();
            assert_eq!(finish, Finish::Stop, "{name}: {text}");
            let value: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}: {text}"));
            let keys: Vec<&String> = value.as_object().unwrap().keys().collect();
            assert_eq!(keys, ["name", "kind", "ages"], "{name}");
            assert!(value["name"].as_str().unwrap().chars().count() <= 12, "{name}: {text}");
            assert!(["a little dog", "a big tree", "日本 🦙"].contains(&value["kind"].as_str().unwrap()), "{name}");
            assert!(value["ages"].as_array().unwrap().iter().all(|age| age.as_u64().unwrap() <= 120), "{name}");
            assert!(text.starts_with(r#"{"name": ""#) && text.contains(r#"", "kind": ""#), "{name}: {text}");
        }
    }
}

#[test]
fn a_fixed_text_needs_no_choice() {
    for (name, engine, _folder) in engines() {
        let fixed = "The answer is forty-two, and nothing else: 日本 🦙.";
        let (text, finish, _) = generate(&engine, &format!("start: {}", Value::from(fixed)), limit(200)).unwrap();
        assert_eq!((text.as_str(), finish), (fixed, Finish::Stop), "{name}");
    }
}

#[test]
fn what_does_not_fit_ends_by_length() {
    for (name, engine, _folder) in engines() {
        for n in 1..8 {
            let (text, finish, generated) = generate(&engine, r#"start: "abc" /[0-9]{40}/"#, limit(n)).unwrap();
            assert_eq!((finish, generated), (Finish::Length, n as usize), "{name}: {text}");
        }
        // Of a text without an end only the context's end is one.
        let (_, finish, generated) = generate(&engine, "start: /[a-z]*/ \"!\"", limit(1000)).unwrap();
        assert!(finish == Finish::Stop || generated < 600, "{name}: {generated}");
    }
}

#[test]
fn a_grammar_that_cannot_be_kept_is_refused_before_the_first_token() {
    let (_, engine, _folder) = engines().remove(0);
    for grammar in ["start: \"a\" start", "start: /(/", "", "start: <|im_end|>"] {
        let error = generate(&engine, grammar, limit(5)).unwrap_err();
        assert!(matches!(error, EngineError::Grammar { .. }), "{grammar}: {error}");
    }
    // The engine continues.
    assert_eq!(generate(&engine, "start: \"a\"", limit(5)).unwrap().0, "a");
}

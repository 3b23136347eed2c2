//! Which answers promise that the same request gives the same bits: those with an evaluation id, in every dialect.

use serde_json::{Value, json};

use super::{Server, forms};
use crate::slm::Home;

/// Every path to a model's answer, with a request for one.
const PATHS: [(&str, &str); 6] = [
    ("/api/generate", r#"{"prompt": "I was charged twice"}"#),
    ("/api/chat", r#"{"messages": [{"role": "user", "content": "I was charged twice"}]}"#),
    ("/v1/chat/completions", r#"{"messages": [{"role": "user", "content": "I was charged twice"}]}"#),
    ("/v1/completions", r#"{"prompt": "I was charged twice"}"#),
    ("/v1/responses", r#"{"input": "I was charged twice"}"#),
    ("/v1/messages", r#"{"messages": [{"role": "user", "content": "I was charged twice"}], "max_tokens": 100}"#),
];
const THROUGHPUT: (&str, &str) = ("x-slm-lane", "throughput");
const CANONICAL: (&str, &str) = ("x-slm-lane", "canonical");

/// A server with `triage`, whose answers are closed, `fox`, which writes free text, and `formed`, which writes in a format.
fn server(home: &Home) -> Server {
    forms::server(home, "")
}

/// Every value under these names, wherever it is in an answer, whole or in parts.
fn found(text: &str, names: &[&str]) -> Vec<Value> {
    fn walk(value: &Value, names: &[&str], found: &mut Vec<Value>) {
        match value {
            Value::Object(object) => {
                for (name, value) in object {
                    if names.contains(&name.as_str()) {
                        found.push(value.clone());
                    }
                    walk(value, names, found);
                }
            }
            Value::Array(list) => list.iter().for_each(|value| walk(value, names, found)),
            _ => {}
        }
    }
    let mut all = Vec::new();
    let parts = text.lines().filter_map(|line| line.strip_prefix("data: ").or(line.starts_with('{').then_some(line)));
    for part in parts.filter(|part| *part != "[DONE]") {
        walk(&serde_json::from_str(part).unwrap(), names, &mut all);
    }
    all
}

#[test]
fn closed_answers_have_an_id_and_others_have_none() {
    let home = Home::new();
    let server = server(&home);
    let id = home.slm(["run", "triage", "--local", "--json", "x"]).json()["evaluation_id"].clone();
    assert!(id.is_string());
    for (path, request) in PATHS {
        let ask = |model: &str, header, is_streamed: bool| {
            let mut body: Value = serde_json::from_str(request).unwrap();
            body["model"] = model.into();
            body["stream"] = is_streamed.into();
            let answer = server.post_with(header, path, body);
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            assert_eq!(found(answer.text(), &["prompt_digest"]).len(), 1, "{path}: {}", answer.text());
            (found(answer.text(), &["evaluation_id"]), found(answer.text(), &["system_fingerprint"]))
        };
        for is_streamed in [false, true] {
            let (ids, fingerprints) = ask("triage", CANONICAL, is_streamed);
            assert_eq!(ids, std::slice::from_ref(&id), "{path}");
            let has_fingerprint = path.ends_with("/completions");
            assert!(fingerprints.iter().all(|one| *one == id) && fingerprints.is_empty() != has_fingerprint, "{path}");
            for (model, header) in [("triage", THROUGHPUT), ("fox", CANONICAL), ("formed", CANONICAL)] {
                assert_eq!(ask(model, header, is_streamed), (Vec::new(), Vec::new()), "{path} {model} {header:?}");
            }
        }
    }
}

#[test]
fn typed_questions_have_an_id_where_they_are_asked_alone() {
    let home = Home::new();
    let server = Server::of(&home);
    let noul = json!({"refund": {"type": "noul", "instructions": "Is money wanted back?"}});
    let predicate = json!([{"type": "predicate", "instructions": "Is money wanted back?"}]);
    for (path, body) in [
        ("/v1/systemone", json!({"model": "triage", "state": "charged twice", "questions": noul})),
        ("/v1/decisions", json!({"model": "triage", "input": "charged twice", "questions": predicate})),
    ] {
        let ids = |header| {
            let answer = server.post_with(header, path, body.clone());
            assert_eq!(answer.status, 200, "{}", answer.text());
            found(answer.text(), &["evaluation_id"])
        };
        let id = home.slm(["run", "triage", "--local", "--json", "x"]).json()["evaluation_id"].clone();
        assert_eq!((ids(CANONICAL), ids(THROUGHPUT)), (vec![id], Vec::new()), "{path}");
    }
}

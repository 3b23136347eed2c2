//! The label of a model whose FORMAT is a bare list: without quotes for a client that asked for no JSON, as JSON for one that did,
//! on every path; and what a scored answer took.

use serde_json::{Value, json};

use super::Server;
use super::forms::{PATHS, parts};
use crate::slm::Home;

const LABELS: [&str; 3] = ["billing and refunds", "billing and invoices", "shipping"];

/// A server with `sorter`, whose answers are labels, `rater`, whose answers are numbers, and `triage`, whose answers are objects.
fn server(home: &Home) -> Server {
    for (name, format) in [("sorter", json!({ "enum": LABELS })), ("rater", json!({"enum": [1, 2, 3]}))] {
        home.file("Modelfile", format!("FROM triage\nFORMAT \"\"\"{format}\"\"\"\n"));
        home.slm(["create", name]).succeeds();
    }
    Server::of(home)
}

/// What an answer says, whole or in the parts of a stream.
pub fn said(path: &str, answer: &str) -> String {
    let place = match path {
        "/api/generate" => "/response",
        "/api/chat" => "/message/content",
        "/v1/completions" => "/choices/0/text",
        "/v1/chat/completions" => "/choices/0/message/content",
        "/v1/responses" => "/output/0/content/0/text",
        _ => "/content/0/text",
    };
    let delta = match path {
        "/v1/chat/completions" => "/choices/0/delta/content",
        "/v1/responses" => "/delta",
        "/v1/messages" => "/delta/text",
        _ => place,
    };
    let text = |part: &Value, place: &str| part.pointer(place).and_then(Value::as_str).map(str::to_owned);
    match serde_json::from_str::<Value>(answer) {
        // Nothing is said in no block at all.
        Ok(whole) if whole["content"] == json!([]) => String::new(),
        Ok(whole) => text(&whole, place).unwrap_or_else(|| panic!("{path}: {answer}")),
        Err(_) => parts(answer).iter().filter_map(|part| text(part, delta)).collect(),
    }
}

fn asked(server: &Server, path: &str, request: &str, model: &str, more: &Value) -> [String; 2] {
    [false, true].map(|is_streamed| {
        let mut body: Value = serde_json::from_str(request).unwrap();
        body["model"] = model.into();
        body["stream"] = is_streamed.into();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = server.post(path, body);
        assert_eq!(answer.status, 200, "{path} {more}: {}", answer.text());
        said(path, answer.text())
    })
}

/// What asks for JSON on a path: any JSON, and JSON of this schema.
fn asks_for_json(path: &str, schema: &Value) -> Vec<Value> {
    match path {
        "/api/generate" | "/api/chat" => vec![json!({"format": "json"}), json!({ "format": schema })],
        "/v1/chat/completions" => vec![
            json!({"response_format": {"type": "json_object"}}),
            json!({"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}}),
        ],
        "/v1/responses" => vec![
            json!({"text": {"format": {"type": "json_object"}}}),
            json!({"text": {"format": {"type": "json_schema", "name": "a", "schema": schema}}}),
        ],
        "/v1/messages" => vec![json!({"output_config": {"format": {"type": "json_schema", "schema": schema}}})],
        _ => Vec::new(),
    }
}

#[test]
fn a_label_is_bare_unless_json_was_asked_for() {
    let home = Home::new();
    let server = server(&home);
    for (path, request) in PATHS {
        let [whole, streamed] = asked(&server, path, request, "sorter", &json!({}));
        assert!(LABELS.contains(&whole.as_str()) && whole == streamed, "{path}: {whole:?} {streamed:?}");
        // Numbers and objects have one spelling.
        for text in asked(&server, path, request, "rater", &json!({})) {
            assert!(["1", "2", "3"].contains(&text.as_str()), "{path}: {text:?}");
        }
        for text in asked(&server, path, request, "triage", &json!({})) {
            let object: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(object.as_object().unwrap().keys().collect::<Vec<_>>(), ["queue", "urgency", "refund"]);
        }
        for more in asks_for_json(path, &json!({ "enum": LABELS })) {
            for text in asked(&server, path, request, "sorter", &more) {
                let label: String = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{path} {more}: {text:?}"));
                assert!(LABELS.contains(&label.as_str()), "{path} {more}: {label:?}");
            }
        }
    }
    // A request for text is no request for JSON.
    let as_text = json!({"response_format": {"type": "text"}});
    let [text, _] = asked(&server, PATHS[2].0, PATHS[2].1, "sorter", &as_text);
    assert!(LABELS.contains(&text.as_str()), "{text:?}");
    // A model with its own form keeps it where any JSON will do.
    let [object, _] = asked(&server, PATHS[1].0, PATHS[1].1, "triage", &json!({"format": "json"}));
    let [own, _] = asked(&server, PATHS[1].0, PATHS[1].1, "triage", &json!({}));
    assert_eq!(object, own);
}

#[test]
fn tokens_of_a_bare_label_join_to_it() {
    let home = Home::new();
    let server = server(&home);
    let body = json!({"model": "sorter", "messages": [{"role": "user", "content": "charged twice"}], "logprobs": true, "top_logprobs": 3});
    let choice = server.post("/v1/chat/completions", body).ok()["choices"][0].clone();
    let tokens = choice["logprobs"]["content"].as_array().unwrap();
    let joined: String = tokens.iter().map(|token| token["token"].as_str().unwrap()).collect();
    assert_eq!(choice["message"]["content"], joined);
    let mut likely: Vec<&str> =
        tokens[0]["top_logprobs"].as_array().unwrap().iter().map(|one| one["token"].as_str().unwrap()).collect();
    likely.sort_unstable();
    let mut labels = LABELS;
    labels.sort_unstable();
    assert_eq!(likely, labels);
    let field = &choice["slm"]["fields"][0];
    assert_eq!(field["value"], joined);
    let p = tokens[0]["logprob"].as_f64().unwrap().exp();
    assert!((field["probability"].as_f64().unwrap() - p).abs() < 1e-9, "{choice}");
}

/// Ollama's clients divide counts by durations.
#[test]
fn what_was_counted_took_time() {
    let home = Home::new();
    let server = server(&home);
    let mut counts = Vec::new();
    for (model, lane) in
        [("sorter", "canonical"), ("rater", "canonical"), ("triage", "canonical"), ("sorter", "throughput")]
    {
        // The second prompt is kept from the first, as far as it can be.
        for _ in 0..2 {
            let body = json!({"model": model, "prompt": "I was charged twice", "stream": false});
            let end = server.post_with(("x-slm-lane", lane), "/api/generate", body).ok();
            let n = |name: &str| end[name].as_u64().unwrap_or_else(|| panic!("{name}: {end}"));
            assert!(n("prompt_eval_count") > 0 && n("prompt_eval_duration") > 0, "{end}");
            assert_eq!(n("eval_count") > 0, n("eval_duration") > 0, "{model}: {end}");
            assert!(n("total_duration") >= n("prompt_eval_duration") + n("eval_duration"), "{end}");
            counts.push(n("eval_count"));
        }
    }
    assert!(counts[0] > 0 && counts[6] > 0, "labels that begin alike have choices after their first token: {counts:?}");
}

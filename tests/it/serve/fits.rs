//! A fitted model behind every dialect: what its answers say, how one is left to a person, and how a request goes without the fit.

use serde_json::{Value, json};

use super::forms::{PATHS, parts};
use super::labels::said;
use super::{Server, written};
use crate::fits::{TEXT, all_squared, all_to_a_person, fit, is_squared, sorter};
use crate::slm::Home;

/// Paths on which the model's own prompt is asked; on the sixth the request writes the prompt.
fn of_conversations() -> impl Iterator<Item = (&'static str, Value)> {
    let with_text = |(path, request): &(&'static str, &str)| {
        (*path, serde_json::from_str(&request.replace("hello", TEXT)).unwrap())
    };
    PATHS.iter().filter(|(path, _)| *path != "/v1/completions").map(with_text)
}

/// slm's own fields of an answer, whole or in a stream's last parts.
fn slm(path: &str, answer: &str) -> Value {
    let all: Vec<Value> = match serde_json::from_str(answer) {
        Ok(whole) => vec![whole],
        Err(_) => parts(answer),
    };
    let place = match path {
        "/v1/chat/completions" => "/choices/0/slm",
        "/v1/responses" => "/response/slm",
        _ => "/slm",
    };
    let found = all.iter().rev().find_map(|part| part.pointer(place).or_else(|| part.pointer("/slm")));
    found.unwrap_or_else(|| panic!("{path}: {answer}")).clone()
}

fn asked(server: &Server, path: &str, request: &Value, more: Value) -> Vec<(String, Value)> {
    let ask = |is_streamed: bool| {
        let mut body = request.clone();
        body["model"] = "sorter".into();
        body["stream"] = is_streamed.into();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = server.post(path, body);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        (said(path, answer.text()), slm(path, answer.text()))
    };
    [false, true].map(ask).into()
}

/// What asks for the model's own labels as JSON on a path.
fn as_json(path: &str) -> Value {
    let schema = json!({"enum": ["billing", "shipping", "other"]});
    match path {
        "/api/generate" | "/api/chat" => json!({ "format": schema }),
        "/v1/chat/completions" => {
            json!({"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}})
        }
        "/v1/responses" => json!({"text": {"format": {"type": "json_schema", "name": "a", "schema": schema}}}),
        _ => json!({"output_config": {"format": {"type": "json_schema", "schema": schema}}}),
    }
}

#[test]
fn every_dialect_has_fitted_probabilities_with_the_raw_ones_beside_them() {
    let home = Home::new();
    sorter(&home);
    fit(&home, "sorter", &all_squared);
    let alone = home.slm(["run", "sorter", "--json", TEXT]).json();
    let server = Server::of(&home);
    for (path, request) in of_conversations() {
        // Who asks for the same labels as JSON gets the same numbers.
        for more in [json!({}), json!({"fit": true}), as_json(path)] {
            for (_, slm) in asked(&server, path, &request, more) {
                let field = &slm["fields"][0];
                is_squared(field);
                assert_eq!(
                    (&field["probabilities"], &field["raw"]),
                    (&alone["probabilities"], &alone["raw"]),
                    "{path}"
                );
                assert_eq!(field["fit"], alone["fit"], "{path}");
            }
        }
        for (_, slm) in asked(&server, path, &request, json!({"fit": false})) {
            let field = &slm["fields"][0];
            assert_eq!(
                (&field["probabilities"], field.get("raw"), field.get("fit")),
                (&alone["raw"], None, None),
                "{path}"
            );
        }
        let mut body = request.clone();
        body["model"] = "sorter".into();
        body["stream"] = false.into();
        let answer = server.post_with(("x-slm-fit", "off"), path, body);
        assert_eq!(slm(path, answer.text())["fields"][0]["probabilities"], alone["raw"], "{path}");
    }
    // Log-probabilities are those of the fitted ones.
    let request = json!({"model": "sorter", "messages": [{"role": "user", "content": TEXT}], "logprobs": true, "top_logprobs": 3});
    let answer = server.post("/v1/chat/completions", request).ok();
    let token = &answer["choices"][0]["logprobs"]["content"][0];
    let best = alone["probability"].as_f64().unwrap();
    assert!((token["logprob"].as_f64().unwrap().exp() - best).abs() < 1e-9, "{token}");
    let likely = token["top_logprobs"].as_array().unwrap().iter().map(|one| one["logprob"].as_f64().unwrap().exp());
    assert!((likely.sum::<f64>() - 1.0).abs() < 1e-9, "{token}");
}

#[test]
fn an_answer_that_is_left_to_a_person_says_so_in_every_dialect() {
    let home = Home::new();
    sorter(&home);
    let guess = home.slm(["run", "sorter", TEXT]).succeeds();
    fit(&home, "sorter", &all_to_a_person);
    let server = Server::of(&home);
    for (path, request) in of_conversations() {
        for (more, text) in [(json!({}), ""), (json!({"abstain": "person"}), "person"), (as_json(path), "null")] {
            for (said, slm) in asked(&server, path, &request, more) {
                let field = &slm["fields"][0];
                assert_eq!((said.as_str(), &field["value"]), (text, &Value::Null), "{path}");
                assert_eq!(
                    (&field["guess"], &field["fit"]["threshold"]),
                    (&json!(guess.trim()), &json!(1.5)),
                    "{path}"
                );
                assert!(field["abstained"].as_str().unwrap().contains("was reliable enough"), "{path}: {field}");
            }
        }
    }
    let metrics = server.get("/metrics");
    let label = format!("slm_answers_total{{model=\"sorter:latest\",field=\"\",label=\"{}\"}} 30", guess.trim());
    for line in [label.as_str(), "slm_answers_abstained_total{model=\"sorter:latest\"} 30"] {
        assert!(metrics.text().lines().any(|own| own == line), "{line} is not in {}", metrics.text());
    }
}

#[test]
fn a_stale_fit_is_refused_in_the_words_of_the_dialect() {
    let home = Home::new();
    sorter(&home);
    fit(&home, "sorter", &all_squared);
    let server = Server::of(&home);
    let messages = json!([{"role": "system", "content": "Other."}, {"role": "user", "content": TEXT}]);
    let why = "it was made with other instructions (another system message, or none)";
    let message = format!(
        "the fit of this model does not hold for this request: {why}; use the model's own probabilities with `fit: false`"
    );
    for path in ["/api/chat", "/v1/chat/completions"] {
        let body = |more: Value| {
            let mut body = json!({"model": "sorter", "messages": messages, "stream": false});
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            server.post(path, body)
        };
        let refused = body(json!({}));
        let error = refused.json();
        let told = error.pointer("/error/message").unwrap_or(&error["error"]);
        assert_eq!((refused.status, told.as_str()), (400, Some(message.as_str())), "{path}");
        body(json!({"fit": false})).ok();
    }
    let earlier = json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "billing"}, {"role": "user", "content": TEXT}]);
    let refused = server.post("/api/chat", json!({"model": "sorter", "messages": earlier, "stream": false}));
    assert!(refused.text().contains("it was made for a text alone"), "{}", refused.text());
    let refused = server.post("/v1/completions", json!({"model": "sorter", "prompt": TEXT}));
    assert!(
        refused.status == 400 && refused.text().contains("here the request writes the prompt"),
        "{}",
        refused.text()
    );
    // Typed questions and other labels have contracts of their own.
    let questions = json!({"q": {"type": "choice", "instructions": "?", "criteria": {"billing": null, "shipping": null, "other": null}}});
    server.post("/v1/systemone", json!({"model": "sorter", "state": TEXT, "questions": questions})).ok();
    server
        .post(
            "/api/generate",
            json!({"model": "sorter", "prompt": TEXT, "stream": false, "format": {"enum": ["a", "b"]}}),
        )
        .ok();
}

#[test]
fn every_decision_is_a_line_with_what_made_it() {
    let home = Home::new();
    sorter(&home);
    fit(&home, "sorter", &all_to_a_person);
    let path = home.path().join("decisions.jsonl");
    let alone = home.slm(["run", "sorter", "--json", TEXT]).json();
    let file = path.display().to_string();
    let server = Server::with_args(&home, &["--decisions", &file]);
    let answer = server.post("/api/generate", json!({"model": "sorter", "prompt": TEXT, "stream": false}));
    let id = answer.headers["x-request-id"].to_str().unwrap().to_owned();
    // A prompt that its writer made is decided about as a whole.
    server
        .post(
            "/api/generate",
            json!({"model": "sorter", "prompt": "a", "raw": true, "format": "", "fit": false, "stream": false}),
        )
        .ok();
    let questions = json!({"q": {"type": "noul", "instructions": "Refund?"}});
    server.post("/v1/systemone", json!({"model": "sorter", "state": TEXT, "questions": questions})).ok();
    let lines = written(&path, 3);
    drop(server);
    let first = &lines[0];
    assert_eq!((&first["id"], &first["model"]), (&json!(id), &json!("sorter:latest")));
    assert_eq!(first["fields"][0]["probabilities"], alone["probabilities"]);
    assert_eq!((&first["fit"], &first["prompt"]), (&alone["fit"]["digest"], &alone["prompt_digest"]));
    assert_eq!(first["evaluation_id"], alone["evaluation_id"]);
    assert_eq!((&first["input"]["chars"], first["input"].get("text")), (&json!(TEXT.chars().count()), None));
    assert!(first["ms"].as_f64().unwrap() > 0.0 && first["tokens"]["prompt"].as_u64().unwrap() > 0);
    assert_eq!((lines[2]["fields"][0]["probabilities"].as_array().unwrap().len(), lines[2].get("fit")), (2, None));
    let server = Server::with_args(&home, &["--decisions", &file, "--decisions-text"]);
    server.post("/api/generate", json!({"model": "sorter", "prompt": TEXT, "stream": false})).ok();
    let metrics = server.get("/metrics");
    assert!(metrics.text().contains("slm_decisions_dropped_total 0\n"), "{}", metrics.text());
    assert_eq!(written(&path, 4)[3]["input"]["text"], TEXT);
    drop(server);
    let refused = home.slm(["serve", "--decisions", &home.path().display().to_string()]).run();
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
}

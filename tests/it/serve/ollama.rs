//! Ollama's API, as its clients use it.

use reqwest::Method;
use serde_json::{Value, json};

use super::Server;
use crate::slm::Home;
use crate::speaker::{self, Then};

#[track_caller]
fn refused(answer: &super::Answer, status: u16, error: &str) {
    assert_eq!((answer.status, answer.json()), (status, json!({ "error": error })));
    assert_eq!(answer.headers["content-type"], "application/json");
}

#[test]
fn programs_find_the_server() {
    let home = Home::new();
    let server = Server::of(&home);
    let root = server.get("/");
    assert_eq!((root.status, root.text()), (200, "Ollama is running"));
    assert!(root.headers["content-type"].to_str().unwrap().starts_with("text/plain"));
    let head = server.send(Method::HEAD, "/", None);
    assert_eq!((head.status, head.text()), (200, ""));
    assert_eq!(server.get("/api/version").ok(), json!({ "version": env!("CARGO_PKG_VERSION") }));
    refused(&server.get("/api/nothing"), 404, "there is nothing at `/api/nothing`; /openapi.json lists what there is");
    refused(&server.get("/api/chat"), 405, "`/api/chat` does not take GET");
    assert_eq!(server.get("/api/chat").headers["allow"], "POST");
}

#[test]
fn models_are_listed_shown_copied_and_deleted() {
    let home = Home::new();
    home.file("Modelfile", "FROM triage\nSYSTEM x\nPARAMETER temperature 0.5\nPARAMETER stop a\nMESSAGE user hi");
    home.slm(["create", "mine"]).succeeds();
    let server = Server::of(&home);

    let tags = server.get("/api/tags").ok();
    let names: Vec<&Value> = tags["models"].as_array().unwrap().iter().map(|model| &model["name"]).collect();
    assert_eq!(names, ["mine:latest", "triage:latest"]);
    let listed = home.slm(["list", "--json"]).json();
    assert_eq!(tags["models"][0], listed["models"][0]);
    assert_eq!(tags["models"][1]["modified_at"], "0001-01-01T00:00:00Z");

    let show = server.post("/api/show", json!({"model": "mine"})).ok();
    let said = home.slm(["show", "mine", "--json"]).json();
    for same in ["modelfile", "template", "system", "messages", "license", "details", "model_info", "modified_at"] {
        assert_eq!(show[same], said[same], "{same}");
    }
    let lines = [("num_ctx", "1024"), ("stop", "\"a\""), ("temperature", "0.5")];
    let lines = lines.map(|(name, value)| format!("{name:<30} {value}"));
    assert_eq!(show["parameters"], lines.join("\n"));
    assert_eq!(show["capabilities"][0], "completion");
    assert_eq!((&show["model_info"]["tokenizer.ggml.tokens"], show.get("tensors")), (&Value::Null, None));
    let verbose = server.post("/api/show", json!({"name": "mine", "verbose": true})).ok();
    assert!(verbose["model_info"]["tokenizer.ggml.tokens"].as_array().unwrap().len() > 16);
    assert!(verbose["tensors"].as_array().unwrap().iter().any(|tensor| tensor["name"] == "token_embd.weight"));

    assert_eq!(server.post("/api/copy", json!({"source": "mine", "destination": "me/other:1"})).status, 200);
    assert_eq!(server.post("/api/show", json!({"model": "me/other:1"})).ok()["system"], "x");
    let delete = |body: Value| server.send(Method::DELETE, "/api/delete", Some(body.to_string().into_bytes()));
    assert_eq!(delete(json!({"model": "me/other:1"})).status, 200);
    assert_eq!(delete(json!({"name": "mine"})).status, 200);
    refused(&delete(json!({"name": "mine"})), 404, "model 'mine:latest' not found");
    refused(
        &delete(json!({"model": "triage"})),
        403,
        "the embedded model `triage:latest` is part of slm and cannot be removed",
    );
    refused(&server.post("/api/show", json!({"model": "mine"})), 404, "model 'mine:latest' not found");
    let copy = server.post("/api/copy", json!({"source": "mine", "destination": "b"}));
    refused(&copy, 404, "model 'mine:latest' not found");
    refused(&server.post("/api/show", json!({})), 400, "there is no `model`; give a model's name");
    let system = server.post("/api/show", json!({"model": "triage", "system": "y"}));
    refused(&system, 400, "`system` is not supported: a model is shown as it is stored; leave it out");
    assert_eq!(home.slm(["list", "--json"]).json()["models"].as_array().unwrap().len(), 1);
}

/// A home with the model `fox`, which says `The quick fox` whatever it is asked.
fn foxes() -> Home {
    let home = Home::new();
    speaker::write(home.path(), "fox", &["The", " quick", " fox"], Then::End, 512);
    home.file("Modelfile", "FROM ./fox.gguf");
    home.slm(["create", "fox"]).succeeds();
    home
}

#[test]
fn a_chat_comes_piece_by_piece_and_ends_with_its_figures() {
    let home = foxes();
    let server = Server::of(&home);
    let body = json!({"model": "fox", "messages": [{"role": "user", "content": "hello"}]});
    let stream = server.post("/api/chat", body.clone());
    assert_eq!((stream.status, &stream.headers["content-type"]), (200, &"application/x-ndjson".parse().unwrap()));
    let lines = stream.lines();
    let said: Vec<&str> = lines.iter().map(|line| line["message"]["content"].as_str().unwrap()).collect();
    assert_eq!(said, ["The", " quick", " fox", ""]);
    assert!(lines.iter().all(|line| line["message"]["role"] == "assistant" && line["model"] == "fox"));
    let done: Vec<bool> = lines.iter().map(|line| line["done"].as_bool().unwrap()).collect();
    assert_eq!(done, [false, false, false, true]);
    let end = lines.last().unwrap();
    assert_eq!((&end["done_reason"], &end["eval_count"]), (&"stop".into(), &3.into()));
    assert!(end["prompt_eval_count"].as_u64().unwrap() > 5);
    for figure in ["total_duration", "load_duration", "prompt_eval_duration", "eval_duration"] {
        assert!(end[figure].is_u64(), "{figure}: {end}");
    }
    let mut whole = body;
    whole["stream"] = false.into();
    let whole = server.post("/api/chat", whole).ok();
    assert_eq!((&whole["message"]["content"], &whole["done"]), (&"The quick fox".into(), &true.into()));
    let generated = server.post("/api/generate", json!({"model": "fox", "prompt": "x", "stream": false})).ok();
    assert_eq!(generated["response"], "The quick fox");
}

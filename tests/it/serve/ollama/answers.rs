//! Answers: texts, conversations, vectors, and models that come into memory and go.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{foxes, refused};
use crate::serve::Server;
use crate::slm::Home;

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

#[test]
fn what_a_request_says_of_the_answer_holds() {
    let home = foxes();
    let server = Server::of(&home);
    let generate = |more: Value| {
        let mut body = json!({"model": "fox", "prompt": "hello", "stream": false, "options": {"temperature": 0}});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        server.post("/api/generate", body)
    };
    let limited = generate(json!({"options": {"num_predict": 2.0}})).ok();
    assert_eq!((&limited["response"], &limited["done_reason"]), (&"The quick".into(), &"length".into()));
    let stopped = generate(json!({"options": {"stop": [" fox"]}})).ok();
    assert_eq!((&stopped["response"], &stopped["done_reason"]), (&"The quick".into(), &"stop".into()));
    let count = |more: Value| generate(more).ok()["prompt_eval_count"].as_u64().unwrap();
    assert!(count(json!({"system": "Be brief."})) > count(json!({"system": ""})));
    // What says nothing, in every way in which clients say it.
    let nothing = json!({
        "format": "", "images": [], "options": {"mirostat": null, "top_k": null}, "think": null, "keep_alive": null,
        "logprobs": false, "top_logprobs": 0, "shift": true, "truncate": false, "steps": null
    });
    assert_eq!(generate(nothing).ok()["response"], "The quick fox");
    assert_eq!(generate(json!({"keep_alive": -1.0, "think": false})).ok()["response"], "The quick fox");

    for (more, error) in [
        (json!({"images": ["aGk="]}), "`images` is not supported: models here read and write text"),
        (json!({"steps": 4}), "`steps` is not supported: models here write text, not pictures"),
        (json!({"tempreature": 0}), "`tempreature` is not known here; remove it"),
        (json!({"options": {"tempreature": 0}}), "there is no parameter `tempreature`; did you mean `temperature`?"),
        (
            json!({"options": {"mirostat": 1}}),
            "`options.mirostat` is not supported: `1` would have no effect; leave it out",
        ),
        (json!({"logprobs": true, "top_logprobs": 21}), "`top_logprobs` cannot be `21`: it is from 0 to 20"),
        (json!({"top_logprobs": 2}), "`top_logprobs` needs `logprobs: true`"),
        (json!({"format": "yaml"}), "`format` cannot be \"yaml\": give \"json\" or a JSON schema"),
        (json!({"think": "much"}), "`think` cannot be \"much\": give true, false, \"low\", \"medium\" or \"high\""),
    ] {
        refused(&generate(more), 400, error);
    }
    // A stream is refused with a status too.
    refused(
        &server.post("/api/chat", json!({"model": "no", "messages": [{"role": "user"}]})),
        404,
        "model 'no:latest' not found",
    );
    let call = json!({"role": "user", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]});
    let misplaced = server.post("/api/chat", json!({"model": "fox", "messages": [call]}));
    refused(&misplaced, 400, "`messages[0].tool_calls` is only for messages of the role `assistant`");
    let long =
        server.post("/api/chat", json!({"model": "fox", "messages": [{"role": "user", "content": "x".repeat(2000)}]}));
    assert_eq!(long.status, 400);
    assert!(long.json()["error"].as_str().unwrap().contains("the context has 512"), "{}", long.text());
}

#[test]
fn a_closed_answer_has_its_probabilities() {
    let home = Home::new();
    let server = Server::of(&home);
    let form = json!({"enum": ["billing", "shipping"]});
    let body = json!({"model": "triage", "prompt": "I was charged twice", "format": form, "logprobs": true, "top_logprobs": 2});
    let lines = server.post("/api/generate", body).lines();
    let said: Vec<&str> = lines.iter().map(|line| line["response"].as_str().unwrap()).collect();
    assert_eq!(said, ["\"billing\"", ""]);
    let end = &lines[1];
    assert_eq!((&end["done_reason"], end.get("logprobs")), (&"stop".into(), None));
    let field = &end["slm"]["fields"][0];
    assert_eq!((&field["name"], &field["value"]), (&Value::Null, &"billing".into()));
    let p: Vec<f64> =
        field["probabilities"].as_array().unwrap().iter().map(|one| one["probability"].as_f64().unwrap()).collect();
    assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-9 && p[0] > 0.5, "{p:?}");
    assert_eq!(field["probability"], p[0]);
    assert!((field["margin"].as_f64().unwrap() - (p[0] - p[1])).abs() < 1e-12, "{field}");
    assert!(field["label_mass"].as_f64().unwrap() > 0.0 && field.get("confidence").is_none(), "{field}");
    assert!(end["slm"]["evaluation_id"].is_string() && end["slm"]["prompt_digest"].is_string());
    assert_eq!(end["slm"]["reused_tokens"], 0);
    // One token with the other answers beside it.
    let token = &lines[0]["logprobs"][0];
    assert_eq!((&token["token"], token["top_logprobs"].as_array().unwrap().len()), (&"\"billing\"".into(), 2));
    assert!((token["logprob"].as_f64().unwrap() - p[0].ln()).abs() < 1e-9);
    let again = server
        .post("/api/generate", json!({"model": "triage", "prompt": "Where is it?", "format": form, "stream": false}))
        .ok();
    assert!(again["slm"]["reused_tokens"].as_u64().unwrap() > 0, "{again}");
    assert!(again["prompt_eval_count"].as_u64() > again["slm"]["reused_tokens"].as_u64());
}

#[test]
fn tokens_are_told_beside_what_they_wrote() {
    let home = foxes();
    let server = Server::of(&home);
    let body =
        json!({"model": "fox", "prompt": "x", "options": {"temperature": 0}, "logprobs": true, "top_logprobs": 2});
    let lines = server.post("/api/generate", body.clone()).lines();
    for line in &lines[..lines.len() - 1] {
        let token = &line["logprobs"][0];
        assert_eq!(token["token"], line["response"]);
        assert_eq!(token["bytes"].as_array().unwrap().len(), line["response"].as_str().unwrap().len());
        assert_eq!(token["top_logprobs"][0]["token"], token["token"]);
        assert!(token["logprob"].as_f64().unwrap() <= 0.0);
    }
    assert_eq!(lines.last().unwrap().get("logprobs"), None);
    let mut whole = body;
    whole["stream"] = false.into();
    assert_eq!(server.post("/api/generate", whole).ok()["logprobs"].as_array().unwrap().len(), 3);
}

#[test]
fn models_are_loaded_for_as_long_as_is_said() {
    let home = foxes();
    let server = Server::of(&home);
    assert_eq!(server.get("/api/ps").ok(), json!({"models": []}));
    let load = server.post("/api/generate", json!({"model": "fox", "keep_alive": -1})).ok();
    assert_eq!((&load["response"], &load["done"], &load["done_reason"]), (&"".into(), &true.into(), &"load".into()));
    let loaded = server.get("/api/ps").ok()["models"][0].clone();
    assert_eq!((&loaded["name"], &loaded["model"]), (&"fox:latest".into(), &"fox:latest".into()));
    assert_eq!((&loaded["details"]["family"], &loaded["context_length"]), (&"llama".into(), &512.into()));
    assert!(loaded["size"].as_u64().unwrap() > 0 && loaded["expires_at"].as_str().unwrap() > "2200", "{loaded}");
    let digest = server.get("/api/tags").ok()["models"][0]["digest"].clone();
    assert_eq!(loaded["digest"], digest);
    server.post("/api/chat", json!({"model": "fox", "messages": [], "keep_alive": "5m"})).ok();
    let expires = server.get("/api/ps").ok()["models"][0]["expires_at"].clone();
    assert!(expires.as_str().unwrap() < "2200", "{expires}");
    let unload = server.post("/api/chat", json!({"model": "fox", "messages": [], "keep_alive": 0})).ok();
    assert_eq!(
        (&unload["message"], &unload["done_reason"]),
        (&json!({"role": "assistant", "content": ""}), &"unload".into())
    );
    let deadline = Instant::now() + Duration::from_secs(30);
    while server.get("/api/ps").ok() != json!({"models": []}) {
        assert!(Instant::now() < deadline, "the model goes");
        std::thread::sleep(Duration::from_millis(20));
    }
    refused(&server.post("/api/generate", json!({"model": "no", "keep_alive": 0})), 404, "model 'no:latest' not found");
    refused(&server.post("/api/generate", json!({"model": "no"})), 404, "model 'no:latest' not found");
}

#[test]
fn texts_become_vectors() {
    let home = Home::new();
    let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/embeddings/bert.gguf");
    home.file("Modelfile", format!("FROM {}", golden.display()));
    home.slm(["create", "bert"]).succeeds();
    let server = Server::of(&home);
    let both = server.post("/api/embed", json!({"model": "bert", "input": ["the cat", "a dog"]})).ok();
    let rows = both["embeddings"].as_array().unwrap();
    assert_eq!((rows.len(), &both["model"]), (2, &"bert".into()));
    assert!(both["prompt_eval_count"].as_u64().unwrap() > 4 && both["total_duration"].as_u64().unwrap() > 0);
    let one = server.post("/api/embed", json!({"model": "bert", "input": "the cat"})).ok();
    // The last digits depend on the company.
    let same = |one: &Value, other: &Value| {
        let near = |(a, b): (&Value, &Value)| (a.as_f64().unwrap() - b.as_f64().unwrap()).abs() < 1e-5;
        one.as_array().unwrap().iter().zip(other.as_array().unwrap()).all(near)
    };
    assert!(same(&one["embeddings"][0], &rows[0]), "{one} {both}");
    let older = server.post("/api/embeddings", json!({"model": "bert", "prompt": "the cat"})).ok();
    assert!(same(&older["embedding"], &rows[0]), "{older}");

    let short = server.post("/api/embed", json!({"model": "bert", "input": "the cat", "dimensions": 4})).ok();
    let short: Vec<f64> = short["embeddings"][0].as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).collect();
    let length: f64 = short.iter().map(|n| n * n).sum();
    assert!(short.len() == 4 && (length - 1.0).abs() < 1e-5, "{short:?}");
    let whole = |at: usize| rows[0][at].as_f64().unwrap();
    assert!((short[0] / short[1] - whole(0) / whole(1)).abs() < 1e-3);

    let long = "the cat ".repeat(500);
    let cut = server.post("/api/embed", json!({"model": "bert", "input": long})).ok();
    assert!(cut["truncated_tokens"].as_u64().unwrap() > 0);
    let refused_long = server.post("/api/embed", json!({"model": "bert", "input": long, "truncate": false}));
    assert_eq!(refused_long.status, 400, "{}", refused_long.text());
    assert_eq!(server.post("/api/embed", json!({"model": "bert", "input": []})).ok()["embeddings"], json!([]));
    let nulls = json!({"model": "bert", "input": "a", "options": {"tfs_z": null, "num_ctx": null}, "truncate": null});
    server.post("/api/embed", nulls).ok();
    refused(&server.post("/api/embed", json!({"model": "no", "input": "a"})), 404, "model 'no:latest' not found");
    let chat = server.post("/api/chat", json!({"model": "bert", "messages": [{"role": "user", "content": "x"}]}));
    assert_eq!(chat.status, 400, "{}", chat.text());
}

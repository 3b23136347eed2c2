//! A remote as a model of the store: `FROM remote.yaml`, then `run`, `serve` in every dialect and `eval` use it by its name.

use serde_json::{Value, json};

use crate::faulty::{Manner, Remote, holders};
use crate::serve::Server;
use crate::slm::{Home, probability};

const TEXT: &str = "I was charged twice for order 1182";
const KEY: &str = "sk-very-secret-0815";
const FORMAT: &str = r#"FORMAT {"enum": ["billing", "shipping", "legal"]}"#;

/// A model `big` that is the `triage` of a second server.
fn big(home: &Home, far: &Server, more: &str) {
    home.file("remote.yaml", format!("base_url: {}\nmodel: triage\n{more}", far.url("/v1")));
    home.file("Big", format!("FROM remote.yaml\n{FORMAT}\n"));
    home.slm(["create", "big", "-f", "Big"]).succeeds();
}

#[test]
fn a_remote_answers_by_its_name_as_the_model_there() {
    let (home, far) = (Home::new(), Home::new());
    let server = Server::of(&far);
    big(&home, &server, "price: {input: 1, output: 2, per: 1M, date: 2026-11-30}\n");
    assert_eq!(home.slm(["run", "big", TEXT]).succeeds(), "billing\n");
    let answer = home.slm(["run", "big", TEXT, "--json"]).json();
    let schema: Value = json!({"enum": ["billing", "shipping", "legal"]});
    let body = json!({"model": "triage", "messages": [{"role": "user", "content": TEXT}], "response_format":
        {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object", "properties": {"answer": schema},
        "required": ["answer"], "additionalProperties": false}}}});
    let there = server.post("/v1/chat/completions", body).ok();
    let field = &there["choices"][0]["slm"]["fields"][0];
    assert_eq!(probability(&answer, "billing"), probability(field, "billing"));
    assert_eq!((&answer["value"], &answer["label_mass"]), (&json!("billing"), &json!(null)));
    assert!(answer["cost"].as_f64().is_some_and(|cost| cost > 0.0), "{answer}");
    assert!(answer.get("evaluation_id").is_none() && answer["tokens"]["prompt"].as_u64().unwrap() > 10, "{answer}");
    // A table has the same values.
    let csv = home.slm(["run", "big", "--csv", "text"]).stdin(format!("text\n{TEXT}\n")).succeeds();
    assert!(csv.starts_with("text,label,probability,label_mass,error\n") && csv.contains(",billing,0."), "{csv}");
    // So has an evaluation.
    home.file("rows.jsonl", json!({"text": TEXT, "label": "billing"}).to_string());
    home.file("suite.yaml", "model: big\ndata: rows.jsonl\ninput: text\nexpect: label\nbaselines: none\n");
    let report = home.slm(["eval", "suite.yaml", "--json"]).json();
    assert_eq!(report["subjects"][0]["accuracy"]["hits"], json!(1));
    let show = home.slm(["show", "big"]).succeeds();
    assert!(show.contains(&format!("remote           {}\n", server.url("/v1"))), "{show}");
    assert!(show.contains("model there      triage\n") && show.contains("key              none\n"), "{show}");
    assert!(home.slm(["list"]).succeeds().contains("big:latest"));
    // It can be built on, and copied.
    home.file("Brief", "FROM big\nSYSTEM Sort it.\n");
    home.slm(["create", "brief", "-f", "Brief"]).succeeds();
    home.slm(["cp", "brief", "again"]).succeeds();
    assert_eq!(home.slm(["run", "again", TEXT]).succeeds(), "billing\n");
}

#[test]
fn every_dialect_serves_a_remote_by_its_name() {
    let (home, far) = (Home::new(), Home::new());
    let server = Server::of(&far);
    big(&home, &server, "");
    let here = Server::of(&home);
    let messages = json!([{"role": "user", "content": TEXT}]);
    let chat = here.post("/v1/chat/completions", json!({"model": "big", "messages": messages})).ok();
    let field = &chat["choices"][0]["slm"]["fields"][0];
    assert_eq!((&chat["choices"][0]["message"]["content"], &field["value"]), (&json!("billing"), &json!("billing")));
    let same = |other: &Value| assert_eq!(probability(other, "billing"), probability(field, "billing"), "{other}");
    let ollama = here.post("/api/chat", json!({"model": "big", "messages": messages, "stream": false})).ok();
    assert_eq!(ollama["message"]["content"], "billing");
    same(&ollama["slm"]["fields"][0]);
    let anthropic = here.post("/v1/messages", json!({"model": "big", "max_tokens": 9, "messages": messages})).ok();
    assert_eq!(anthropic["content"][0]["text"], "billing");
    same(&anthropic["slm"]["fields"][0]);
    let responses = here.post("/v1/responses", json!({"model": "big", "input": TEXT})).ok();
    assert!(responses.to_string().contains("billing"), "{responses}");
    let stream = here.post("/v1/chat/completions", json!({"model": "big", "messages": messages, "stream": true}));
    assert!(stream.text().contains("billing") && stream.text().ends_with("data: [DONE]\n\n"), "{}", stream.text());
    let questions =
        json!({"q": {"type": "choice", "instructions": "Which team?", "criteria": {"billing": null, "legal": null}}});
    let systemone = here.post("/v1/systemone", json!({"model": "big", "state": TEXT, "questions": questions})).ok();
    assert_eq!(systemone["answers"]["q"]["choice"], "billing");
    let questions = json!([{"type": "predicate", "instructions": "Is money wanted back?"}]);
    let decisions = here.post("/v1/decisions", json!({"model": "big", "input": TEXT, "questions": questions})).ok();
    assert!(decisions["answers"][0]["probability"].as_f64().is_some_and(|p| (0.0..=1.0).contains(&p)), "{decisions}");
    // What only an engine here can do is said.
    for (path, body, said) in [
        ("/v1/embeddings", json!({"model": "big", "input": "x"}), "has no engine here"),
        ("/v1/completions", json!({"model": "big", "prompt": "x"}), "answers messages and continues no prompt"),
        ("/tokenize", json!({"model": "big", "prompt": "x"}), "has no engine here"),
        ("/v1/messages/count_tokens", json!({"model": "big", "messages": messages}), "on another server"),
    ] {
        let answer = here.post(path, body);
        assert!(answer.status == 400 && answer.text().contains(said), "{path}: {} {}", answer.status, answer.text());
    }
    assert_eq!(here.post("/api/show", json!({"model": "big"})).ok()["details"]["format"], "remote");
    drop(server);
    let gone = here.post("/v1/chat/completions", json!({"model": "big", "messages": messages}));
    assert!(gone.status >= 500 && gone.text().contains("cannot be reached"), "{} {}", gone.status, gone.text());
}

#[test]
fn an_answer_without_probabilities_says_so() {
    let (home, remote) = (Home::new(), Remote::new(Manner::Says(r#"{"answer": "legal"}"#.to_owned())));
    home.file("remote.yaml", format!("base_url: http://{}/v1\nmodel: m\napi_key_env: BIG_KEY\n", remote.address));
    home.file(
        "Big",
        format!(
            "FROM ./remote.yaml\nSYSTEM Sort it.\nMESSAGE user lost parcel\nMESSAGE assistant shipping\n{FORMAT}\n"
        ),
    );
    home.slm(["create", "big", "-f", "Big"]).env("BIG_KEY", KEY).succeeds();
    let run = |args: &[&str]| home.slm(args).env("BIG_KEY", KEY);
    assert_eq!(run(&["run", "big", TEXT]).succeeds(), "legal\n");
    let answer = run(&["run", "big", TEXT, "--json"]).json();
    assert_eq!((&answer["value"], answer.get("probability")), (&json!("legal"), None), "{answer}");
    let flat = run(&["run", "big", TEXT, "--json=flat"]).json();
    assert_eq!(flat, json!({"label": "legal", "probability": null, "label_mass": null}));
    let (head, body) = remote.asked().remove(0);
    assert!(head.contains(&format!("authorization: Bearer {KEY}")), "{head}");
    let roles: Vec<&str> =
        body["messages"].as_array().unwrap().iter().map(|one| one["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["system", "user", "assistant", "user"]);
    // The store has the variable's name, and the key nowhere.
    assert_eq!(holders(home.path(), KEY), Vec::<std::path::PathBuf>::new());
    let missing = home.slm(["run", "big", TEXT]).ends(1);
    let said = "slm: the remote of `big:latest`: the environment variable `BIG_KEY` is not set: it holds the remote's key; set it, \
                or change `api_key_env`\n";
    assert_eq!(missing.stderr, said);
    assert!(run(&["run", "big", TEXT, "--truncate", "5"]).ends(1).stderr.contains("has no engine here"));
    home.file("rows.jsonl", "{\"text\": \"lost parcel\", \"label\": \"shipping\"}\n");
    home.file("Bigger", "FROM big\nEXAMPLES rows.jsonl k=1\n");
    assert!(run(&["create", "bigger", "-f", "Bigger"]).ends(1).stderr.contains("has no weights of its own"));
    let fit = run(&["fit", "big", "rows.jsonl"]).ends(2);
    let said = "slm: `big` is a remote, and a fit is of a model with weights of its own; fit one that has, such as a tier of a \
                cascade\n";
    assert_eq!(fit.stderr, said);
}

#[test]
fn what_is_wrong_with_a_remotes_file_is_told_with_its_line() {
    let home = Home::new();
    for (yaml, said) in [
        ("base_url: https://a.example/v1\nmodel: m\napi_key: sk-1\n", "`remote.yaml`: line 3: `api_key`"),
        (
            "base_url: https://a.example/v1\nmodel: m\ntimeout: soon\n",
            "`remote.yaml`: line 3: `timeout` cannot be `soon`",
        ),
        (
            "base_url: http://a.example/v1\nmodel: m\n",
            "`remote.yaml`: line 1: `base_url` `http://a.example/v1` has no TLS",
        ),
        (
            "base_url: https://a.example/v1\nmodel: m\napi_key_env: BIG_KEY\n",
            "`remote.yaml`: line 3: the environment variable `BIG_KEY`",
        ),
        ("base_url: [\n", "`remote.yaml`: line "),
    ] {
        home.file("remote.yaml", yaml);
        home.file("Big", "FROM remote.yaml\n");
        let stderr = home.slm(["create", "big", "-f", "Big"]).ends(1).stderr;
        assert!(stderr.contains(said) && !stderr.contains("sk-1"), "{yaml}: {stderr}");
    }
    home.file("remote.yaml", "base_url: https://a.example/v1\nmodel: m\n");
    for (keyword, value) in [("TEMPLATE", "{{ .Prompt }}"), ("EXAMPLES", "rows.jsonl k=2")] {
        home.file("Big", format!("FROM remote.yaml\n{keyword} {value}\n"));
        let said =
            format!("slm: {keyword} is for weights on this machine, and `remote.yaml` is a remote; remove {keyword}\n");
        home.slm(["create", "big", "-f", "Big"]).fails(1, &said);
    }
    assert!(!home.models().exists(), "nothing half done");
}

//! Listing, showing, copying and deleting stored models.

use reqwest::Method;
use serde_json::{Value, json};

use super::refused;
use crate::serve::Server;
use crate::serve::scripts::stock;
use crate::slm::Home;

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

/// Editors and agents offer a model for tools only where it is said to call them.
#[test]
fn a_model_tells_what_it_can_do() {
    let home = Home::new();
    stock(&home);
    let template = "TEMPLATE \"{{ .Prompt }}{{ if .Suffix }}{{ .Suffix }}{{ end }}\"";
    home.file("Modelfile", format!("FROM fox\n{template}"));
    home.slm(["create", "gaps"]).succeeds();
    let server = Server::of(&home);
    for (name, expected) in [
        ("caller", json!(["completion", "tools"])),
        ("gaps", json!(["completion", "insert"])),
        ("bert", json!(["embedding"])),
    ] {
        assert_eq!(server.post("/api/show", json!({ "model": name })).ok()["capabilities"], expected, "{name}");
    }
}

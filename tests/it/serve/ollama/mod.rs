//! Ollama's API, as its clients use it.

mod answers;
mod models;

use serde_json::json;

use super::{Answer, Server};
use crate::slm::Home;
use crate::speaker::{self, Then};

/// That a request got no answer, with exactly these words.
#[track_caller]
fn refused(answer: &Answer, status: u16, error: &str) {
    assert_eq!((answer.status, answer.json()), (status, json!({ "error": error })));
    assert_eq!(answer.headers["content-type"], "application/json");
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
fn programs_find_the_server() {
    let home = Home::new();
    let server = Server::of(&home);
    let root = server.get("/");
    assert_eq!((root.status, root.text()), (200, "Ollama is running"));
    assert!(root.headers["content-type"].to_str().unwrap().starts_with("text/plain"));
    let head = server.send(reqwest::Method::HEAD, "/", None);
    assert_eq!((head.status, head.text()), (200, ""));
    assert_eq!(server.get("/api/version").ok(), json!({ "version": env!("CARGO_PKG_VERSION") }));
    refused(
        &server.get("/api/nothing"),
        404,
        "there is nothing at `/api/nothing`; see /openapi.json for what there is",
    );
    refused(&server.get("/api/chat"), 405, "`/api/chat` does not take GET");
    assert_eq!(server.get("/api/chat").headers["allow"], "POST");
}

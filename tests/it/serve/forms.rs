//! Answers that end outside of their format: a finished one that breaks it is an error in every dialect, one that came to its
//! limit of tokens says so.

use serde_json::{Value, json};

use super::Server;
use super::scripts::stock;
use crate::slm::Home;

/// Every path to a generated answer, with a request for one.
pub const PATHS: [(&str, &str); 6] = [
    ("/api/generate", r#"{"prompt": "hello"}"#),
    ("/api/chat", r#"{"messages": [{"role": "user", "content": "hello"}]}"#),
    ("/v1/chat/completions", r#"{"messages": [{"role": "user", "content": "hello"}]}"#),
    ("/v1/completions", r#"{"prompt": "hello"}"#),
    ("/v1/responses", r#"{"input": "hello"}"#),
    ("/v1/messages", r#"{"messages": [{"role": "user", "content": "hello"}], "max_tokens": 100}"#),
];

/// A server whose model `fox` writes an object with a name, as far as these lines of its Modelfile let it.
pub fn server(home: &Home, lines: &str) -> Server {
    stock(home);
    let format =
        r#"{"type": "object", "properties": {"name": {"type": "string", "maxLength": 8}}, "required": ["name"]}"#;
    home.file("Modelfile", format!("FROM fox\nFORMAT \"\"\"{format}\"\"\"\n{lines}"));
    home.slm(["create", "formed"]).succeeds();
    Server::of(home)
}

fn asked(request: &str, is_streamed: bool) -> Value {
    let mut body: Value = serde_json::from_str(request).unwrap();
    body["model"] = "formed".into();
    body["stream"] = is_streamed.into();
    body
}

/// The JSON of a stream's lines or events.
pub fn parts(text: &str) -> Vec<Value> {
    let data = text.lines().filter_map(|line| line.strip_prefix("data: ").or(line.starts_with('{').then_some(line)));
    data.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap()).collect()
}

#[test]
fn a_finished_answer_that_breaks_its_format_is_an_error() {
    let home = Home::new();
    let server = server(&home, "PARAMETER stop :");
    let said = "the answer is not JSON: EOF while parsing an object at line 1 column 7; the stop string \":\" ended it";
    let openai = json!({"message": said, "type": "server_error", "param": null, "code": "server_error"});
    let expected = [
        json!({ "error": said }),
        json!({ "error": said }),
        json!({ "error": openai }),
        json!({ "error": openai }),
        json!({ "error": openai }),
        json!({"type": "error", "error": {"type": "api_error", "message": said}}),
    ];
    for ((path, request), expected) in PATHS.iter().zip(expected) {
        let whole = server.post(path, asked(request, false));
        assert_eq!((whole.status, whole.json()), (500, expected.clone()), "{path}");

        let streamed = server.post(path, asked(request, true));
        let mut parts = parts(streamed.text());
        let last = parts.pop().unwrap();
        if *path == "/v1/responses" {
            assert_eq!((&last["type"], &last["response"]["status"]), (&json!("response.failed"), &json!("failed")));
            assert_eq!(last["response"]["error"], json!({"code": "server_error", "message": said}));
        } else {
            assert_eq!(last, expected, "{path}");
        }
        // What was written is there, and nothing says that it is an answer.
        assert!(streamed.status == 200 && parts.len() > "{\"name\"".len() / 2, "{path}: {}", streamed.text());
        let ends = [
            ":\"stop\"",
            ":\"end_turn\"",
            ":\"stop_sequence\"",
            "\"done\":true",
            "message_stop",
            "completed\",",
            "[DONE]",
        ];
        assert!(!ends.iter().any(|end| streamed.text().contains(end)), "{path}: {}", streamed.text());
    }
}

#[test]
fn an_answer_at_its_limit_of_tokens_says_so() {
    let home = Home::new();
    let server = server(&home, "PARAMETER num_predict 4");
    for (path, request) in PATHS {
        let request = request.replace("100", "4");
        for is_streamed in [false, true] {
            let answer = server.post(path, asked(&request, is_streamed));
            let last = parts(answer.text()).pop().unwrap_or_else(|| answer.json());
            let why = match path {
                "/api/generate" | "/api/chat" => &last["done_reason"],
                "/v1/chat/completions" | "/v1/completions" => &last["choices"][0]["finish_reason"],
                "/v1/responses" if is_streamed => &last["response"]["incomplete_details"]["reason"],
                "/v1/responses" => &last["incomplete_details"]["reason"],
                _ if is_streamed => &parts(answer.text()).iter().rev().nth(1).unwrap()["delta"]["stop_reason"].clone(),
                _ => &last["stop_reason"],
            };
            let expected = match path {
                "/v1/responses" => "max_output_tokens",
                "/v1/messages" => "max_tokens",
                _ => "length",
            };
            assert_eq!((answer.status, why.as_str()), (200, Some(expected)), "{path}: {}", answer.text());
        }
    }
}

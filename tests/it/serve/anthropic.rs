//! Anthropic's messages without a client of theirs: what ended an answer, and the use of tools.

use serde_json::{Value, json};

use super::Server;
use super::scripts::stock;
use crate::slm::Home;

fn asked(model: &str, more: &Value) -> Value {
    let mut body = json!({"model": model, "max_tokens": 100, "messages": [{"role": "user", "content": "Hello."}]});
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    body
}

/// The data of a stream's events of a type.
fn events(text: &str, kind: &str) -> Vec<Value> {
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let data = data.map(|data| serde_json::from_str::<Value>(data).unwrap_or_else(|error| panic!("{error}: {data}")));
    data.filter(|data| data["type"] == kind).collect()
}

#[test]
fn an_answer_says_which_of_the_requests_stop_sequences_ended_it() {
    let home = Home::new();
    stock(&home);
    home.file("Modelfile", "FROM fox\nPARAMETER stop \" brown\"");
    home.slm(["create", "short"]).succeeds();
    let server = Server::of(&home);
    let stops = json!({"stop_sequences": ["zebra", " fox"]});
    // What the Modelfile says to stop at is none of the request's.
    for (model, more, expected) in [
        ("fox", &stops, json!(["The quick brown", "stop_sequence", " fox"])),
        ("fox", &json!({}), json!(["The quick brown fox\njumps over the lazy dog.", "end_turn", null])),
        ("fox", &json!({"max_tokens": 2}), json!(["The quick", "max_tokens", null])),
        ("short", &json!({}), json!(["The quick", "end_turn", null])),
    ] {
        let body = asked(model, more);
        let whole = server.post("/v1/messages", body.clone()).ok();
        let said = json!([whole["content"][0]["text"], whole["stop_reason"], whole["stop_sequence"]]);
        assert_eq!(said, expected, "{model} {more}");
        let streamed = server.post("/v1/messages", asked(model, &with(more, "stream", json!(true))));
        let ended = events(streamed.text(), "message_delta").remove(0);
        assert_eq!(
            json!([ended["delta"]["stop_reason"], ended["delta"]["stop_sequence"]]),
            json!([expected[1], expected[2]])
        );
    }
}

/// Their client shows it with every error.
#[test]
fn an_answer_has_its_id_under_anthropics_name() {
    let server = Server::of(&Home::new());
    for (path, body) in [("/v1/messages", json!({})), ("/v1/messages/count_tokens", json!({"model": "none"}))] {
        let refused = server.post(path, body);
        assert_eq!((refused.status, &refused.headers["request-id"]), (400, &refused.headers["x-request-id"]), "{path}");
    }
    assert!(!server.post("/v1/chat/completions", json!({})).headers.contains_key("request-id"));
}

#[test]
fn a_tool_is_used() {
    let home = Home::new();
    stock(&home);
    let server = Server::of(&home);
    let weather = json!({"name": "get_weather", "description": "the weather", "input_schema": {
        "type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}, "required": ["city"],
    }});
    let more = json!({ "tools": [weather] });
    let whole = server.post("/v1/messages", asked("caller", &more)).ok();
    assert_eq!(whole["stop_reason"], "tool_use");
    let used = &whole["content"][0];
    assert_eq!(
        json!([used["type"], used["name"], used["input"]]),
        json!(["tool_use", "get_weather", {"city": "Paris", "days": 2}])
    );
    let streamed = server.post("/v1/messages", asked("caller", &with(&more, "stream", json!(true))));
    assert_eq!(events(streamed.text(), "content_block_start")[0]["content_block"]["name"], "get_weather");
    assert_eq!(events(streamed.text(), "message_delta")[0]["delta"]["stop_reason"], "tool_use");
    // The result goes back by the call's id.
    let result = json!({"type": "tool_result", "tool_use_id": used["id"], "content": "rain"});
    let talk = json!([
        {"role": "user", "content": "Hello."},
        {"role": "assistant", "content": whole["content"]},
        {"role": "user", "content": [result]},
    ]);
    assert_eq!(server.post("/v1/messages", asked("caller", &with(&more, "messages", talk))).ok()["role"], "assistant");
}

fn with(more: &Value, name: &str, value: Value) -> Value {
    let mut more = more.clone();
    more[name] = value;
    more
}

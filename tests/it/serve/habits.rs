//! Requests as clients and coding tools send them: answers that go back as they came, fields for what is not here, and values of
//! another type than a field has.

use serde_json::{Value, json};

use super::scripts::stock;
use super::{Answer, Server};
use crate::slm::Home;

const FOX: &str = "The quick brown fox\njumps over the lazy dog.";

fn served() -> (Home, Server) {
    let home = Home::new();
    stock(&home);
    let server = Server::of(&home);
    (home, server)
}

fn with(mut body: Value, more: &Value) -> Value {
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    body
}

/// The smallest request to a path that is answered.
fn asked(path: &str, model: &str) -> Value {
    let messages = json!([{"role": "user", "content": "hello"}]);
    match path {
        "/api/chat" => json!({"model": model, "messages": messages, "stream": false}),
        "/api/generate" => json!({"model": model, "prompt": "hello", "stream": false}),
        "/v1/chat/completions" => json!({"model": model, "messages": messages}),
        "/v1/completions" => json!({"model": model, "prompt": "hello"}),
        "/v1/responses" => json!({"model": model, "input": "hello"}),
        "/v1/messages" => json!({"model": model, "messages": messages, "max_tokens": 100}),
        "/v1/embeddings" => json!({"model": model, "input": "hello"}),
        other => panic!("no request to {other}"),
    }
}

fn error(answer: &Answer) -> String {
    let body = answer.json();
    let text = body["error"].as_str().or(body["error"]["message"].as_str());
    text.unwrap_or_else(|| panic!("no error: {body}")).to_owned()
}

/// What coding tools send with every request, with the places that the answer's header names.
fn habits() -> Vec<(&'static str, Value, Vec<&'static str>)> {
    let cached = json!({"type": "ephemeral"});
    let claude_code = json!({
        "system": [{"type": "text", "text": "be brief", "cache_control": cached}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hello", "cache_control": cached}]}],
        "tools": [
            {"name": "add", "input_schema": {"type": "object", "properties": {}}, "cache_control": cached},
            {"type": "web_search_20250305", "name": "web_search", "max_uses": 8},
        ],
        "metadata": {"user_id": "u"}, "thinking": {"type": "enabled", "budget_tokens": 1024}, "service_tier": "auto",
        "context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}, "betas": ["claude-code-20250219"],
        "output_config": {"effort": "high"}, "container": null, "mcp_servers": [],
    });
    let codex = json!({
        "instructions": "be brief", "store": false, "include": ["reasoning.encrypted_content"], "prompt_cache_key": "k",
        "prompt_cache_retention": "24h", "safety_identifier": "s", "service_tier": "priority", "truncation": "auto",
        "reasoning": {"effort": "medium", "summary": "auto"}, "text": {"verbosity": "low"}, "client_metadata": {"a": "b"},
        "tools": [{"type": "web_search"}, {"type": "local_shell"}, {"type": "custom", "name": "apply_patch"}],
        "tool_choice": "auto", "parallel_tool_calls": false, "background": false, "previous_response_id": null,
    });
    let chat = json!({
        "chat_template_kwargs": {"enable_thinking": false}, "top_k": 40, "min_p": 0.05, "repetition_penalty": 1.1,
        "parallel_tool_calls": true, "prediction": {"type": "content", "content": "x"}, "modalities": ["text"],
        "verbosity": "low", "web_search_options": {}, "metadata": {"a": "b"}, "store": true, "user": "u", "temperature": 0,
        "stream_options": null, "reasoning_effort": null,
    });
    vec![
        (
            "/v1/messages",
            claude_code,
            vec![
                "betas (",
                "context_management (",
                "messages[].content[].cache_control (",
                "metadata (",
                "output_config.effort (",
                "system[].cache_control (",
                "thinking (",
                "thinking.budget_tokens (",
                "tools[] web_search (",
                "tools[].cache_control (",
            ],
        ),
        (
            "/v1/responses",
            codex,
            vec![
                "client_metadata (",
                "prompt_cache_retention (",
                "reasoning.effort (",
                "service_tier (",
                "text.verbosity (",
                "tools[] custom (",
                "tools[] local_shell (",
                "tools[] web_search (",
                "truncation (",
            ],
        ),
        (
            "/v1/chat/completions",
            chat,
            vec!["metadata (", "prediction (", "store (", "user (", "verbosity (", "web_search_options ("],
        ),
        ("/v1/completions", json!({"user": "u", "top_k": -1, "min_p": 0.1}), vec!["user ("]),
        ("/api/chat", json!({"truncate": true, "shift": true}), vec!["truncate ("]),
        ("/api/generate", json!({"truncate": true}), vec!["truncate ("]),
    ]
}

#[test]
fn fields_for_what_is_not_here_are_taken_and_told() {
    let (_home, server) = served();
    for (path, more, told) in habits() {
        let plain = server.post(path, asked(path, "fox"));
        assert_eq!((plain.status, plain.headers.get("warning")), (200, None), "{path}: {}", plain.text());
        let answer = server.post(path, with(asked(path, "fox"), &more));
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let warning = answer.headers["warning"].to_str().unwrap();
        let fields = warning.strip_prefix("299 slm \"no effect here: ").and_then(|rest| rest.strip_suffix(")\""));
        let fields: Vec<&str> = fields.unwrap_or_else(|| panic!("{path}: {warning}")).split("); ").collect();
        let is_told = |field: &&str| told.iter().any(|told| field.starts_with(told));
        assert!(fields.iter().all(is_told) && fields.len() == told.len(), "{path}: {warning}");
        // A stream says it before it begins.
        let streamed = server.post(path, with(with(asked(path, "fox"), &more), &json!({"stream": true})));
        assert_eq!((streamed.status, &streamed.headers["warning"]), (200, &answer.headers["warning"]), "{path}");
    }
}

/// The kinds of schemas that tools of coding tools have.
#[test]
fn the_tools_of_coding_tools_can_be_offered() {
    let (_home, server) = served();
    let draft = "https://json-schema.org/draft/2020-12/schema";
    let schemas = [
        json!({"$schema": draft, "type": "object", "additionalProperties": false, "required": ["command"], "properties": {
            "command": {"description": "The command", "type": "string"}, "timeout": {"type": "number"},
            "run_in_background": {"type": "boolean"}}}),
        json!({"$schema": draft, "type": "object", "additionalProperties": false, "required": ["file_path"], "properties": {
            "file_path": {"type": "string"}, "offset": {"type": "integer", "minimum": 0, "maximum": 9_007_199_254_740_991_u64},
            "limit": {"type": "integer", "exclusiveMinimum": 0, "maximum": 9_007_199_254_740_991_u64}}}),
        json!({"type": "object", "required": ["url"], "properties": {"url": {"type": "string", "format": "uri"}}}),
        json!({"type": "object", "required": ["query"], "properties": {"query": {"type": "string", "minLength": 2},
            "allowed_domains": {"type": "array", "items": {"type": "string"}}}}),
        json!({"type": "object", "required": ["todos"], "properties": {"todos": {"type": "array", "minItems": 1, "items": {
            "type": "object", "required": ["content", "status"], "additionalProperties": false, "properties": {
            "content": {"type": "string", "minLength": 1}, "status": {"type": "string", "enum": ["pending", "completed"]}}}}}}),
        json!({"type": "object", "properties": {"answers": {"type": "object", "propertyNames": {"type": "string"},
            "additionalProperties": {"type": "string"}}, "all": {"default": false, "type": "boolean"}}}),
        json!({"type": "object", "properties": {"a": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": null},
            "b": {"oneOf": [{"type": "string"}, {"type": "number"}]}, "c": {}}}),
    ];
    for schema in schemas {
        let nested = json!({"type": "function", "function": {"name": "tool", "parameters": schema}});
        for (path, tool) in [
            ("/v1/messages", json!({"name": "tool", "input_schema": schema})),
            ("/v1/responses", json!({"type": "function", "name": "tool", "strict": false, "parameters": schema})),
            ("/v1/chat/completions", nested.clone()),
            ("/api/chat", nested),
        ] {
            let answer = server.post(path, with(asked(path, "fox"), &json!({ "tools": [tool] })));
            assert_eq!(answer.status, 200, "{path} {schema}: {}", answer.text());
        }
    }
}

#[test]
fn what_would_change_the_answer_is_refused() {
    let (_home, server) = served();
    let search = json!([{"type": "web_search_20250305", "name": "web_search"}]);
    for (path, more, field) in [
        ("/v1/responses", json!({"background": true}), "background"),
        ("/v1/responses", json!({"previous_response_id": "resp_1"}), "previous_response_id"),
        ("/v1/responses", json!({"tools": [{"type": "web_search"}], "tool_choice": "required"}), "tool_choice"),
        (
            "/v1/responses",
            json!({"tools": [{"type": "web_search"}], "tool_choice": {"type": "web_search"}}),
            "tool_choice",
        ),
        ("/v1/messages", json!({"container": "c"}), "container"),
        ("/v1/messages", json!({"mcp_servers": [{"type": "url"}]}), "mcp_servers"),
        (
            "/v1/messages",
            json!({"tools": search, "tool_choice": {"type": "tool", "name": "web_search"}}),
            "tool_choice",
        ),
        ("/v1/messages", json!({"tools": search, "tool_choice": {"type": "any"}}), "tool_choice"),
        ("/v1/chat/completions", json!({"modalities": ["text", "audio"]}), "modalities"),
        ("/v1/chat/completions", json!({"chat_template_kwargs": {"bos_token": "x"}}), "chat_template_kwargs.bos_token"),
        ("/v1/chat/completions", json!({"n": 129}), "n"),
    ] {
        let answer = server.post(path, with(asked(path, "fox"), &more));
        let error = error(&answer);
        assert!(answer.status == 400 && error.starts_with(&format!("`{field}` ")), "{path} {more}: {error}");
    }
}

#[test]
fn a_value_of_another_type_is_refused_by_its_field_and_its_value() {
    let (_home, server) = served();
    for (path, more, message) in [
        ("/v1/chat/completions", json!({"temperature": "0.7"}), "`temperature` is \"0.7\", a text; give a number"),
        ("/v1/chat/completions", json!({"stream": "yes"}), "`stream` is \"yes\", a text; give true or false"),
        ("/v1/chat/completions", json!({"max_tokens": 1.5}), "`max_tokens` is 1.5; give a whole number"),
        ("/v1/chat/completions", json!({"messages": "hi"}), "`messages` is \"hi\", a text; give a list"),
        ("/v1/chat/completions", json!({"messages": [{"role": 5}]}), "`messages[0].role` is 5, a number; give a text"),
        (
            "/v1/chat/completions",
            json!({"messages": [{"role": "boss", "content": "x"}]}),
            "`messages[0].role` cannot be \"boss\"; give `system`, `developer`, `user`, `assistant` or `tool`",
        ),
        ("/v1/chat/completions", json!({"messages": [{"content": "x"}]}), "`messages[0].role` is missing"),
        ("/v1/completions", json!({"top_p": "0.7"}), "`top_p` is \"0.7\", a text; give a number"),
        ("/v1/responses", json!({"temperature": []}), "`temperature` is a list; give a number"),
        ("/v1/responses", json!({"reasoning": "high"}), "`reasoning` is \"high\", a text; give an object"),
        ("/v1/messages", json!({"max_tokens": "100"}), "`max_tokens` is \"100\", a text; give a whole number"),
        ("/v1/messages", json!({"stop_sequences": "x"}), "`stop_sequences` is \"x\", a text; give a list"),
        ("/v1/embeddings", json!({"input": 5}), "`input` is 5, a number; give a text or a list"),
        ("/api/chat", json!({"options": []}), "`options` is a list; give an object"),
        (
            "/api/chat",
            json!({"options": {"temperature": "0.7"}}),
            "`options.temperature` cannot be `\"0.7\"`: it must be a number from 0 to 100",
        ),
        (
            "/api/generate",
            json!({"options": {"num_ctx": "4096"}}),
            "`options.num_ctx` cannot be `\"4096\"`: it must be a whole number of at least 1",
        ),
    ] {
        let answer = server.post(path, with(asked(path, "fox"), &more));
        assert_eq!((answer.status, error(&answer).as_str()), (400, message), "{path} {more}");
    }
    let made = json!({"model": "warm", "from": "fox", "parameters": {"temperature": "0.7"}, "stream": false});
    let answer = server.post("/api/create", made);
    let message = "`parameters.temperature` cannot be `\"0.7\"`: it must be a number from 0 to 100";
    assert_eq!((answer.status, error(&answer).as_str()), (400, message));
}

/// Ollama's clients send one `num_ctx` to every model; who makes a model says what that model has.
#[test]
fn a_context_above_the_models_is_its_own_in_a_request_and_refused_where_a_model_is_made() {
    let (_home, server) = served();
    let options = |n_ctx: u32| json!({"options": {"num_ctx": n_ctx}});
    for path in ["/api/chat", "/api/generate"] {
        let fits = server.post(path, with(asked(path, "triage"), &options(1024)));
        assert_eq!((fits.status, fits.headers.get("warning")), (200, None), "{path}: {}", fits.text());
        let above = server.post(path, with(asked(path, "triage"), &options(131_072)));
        let warning =
            "299 slm \"no effect here: options.num_ctx (the model has a smaller context, which it uses whole)\"";
        assert_eq!((above.status, above.headers["warning"].to_str().unwrap()), (200, warning), "{path}");
    }
    let loaded = server.get("/api/ps").ok();
    assert_eq!(loaded["models"][0]["context_length"], 1024);
    let made = |more: Value| server.post("/api/create", with(json!({"model": "new", "stream": false}), &more));
    let answer = made(json!({"from": "triage", "parameters": {"num_ctx": 1025}}));
    let message =
        "the Modelfile asks for a context of 1025 tokens, but the model was trained for 1024; give at most 1024";
    assert_eq!((answer.status, error(&answer).as_str()), (400, message));
}

/// Whatever is in whatever field that a request may have: where it is refused, it is refused in our words.
#[test]
fn no_refusal_speaks_of_rust_or_of_columns() {
    let (_home, server) = served();
    let document = server.get("/openapi.json").ok();
    let long = "y".repeat(3000);
    let values = [
        json!("x"),
        json!(long),
        json!(-5),
        json!(1.5),
        json!(true),
        json!([5]),
        json!([{}]),
        json!({"a": [1]}),
        json!([null]),
    ];
    let foreign = [
        "invalid type",
        "invalid value",
        "expected",
        "variant",
        "struct ",
        "f64",
        "u32",
        "i64",
        "column",
        "a sequence",
        "untagged",
    ];
    let mut n_refused = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        let schema = &operations["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"];
        // No test asks another machine for a model.
        let Some(name) = schema
            .as_str()
            .and_then(|name| name.rsplit('/').next())
            .filter(|_| path != "/api/pull" && path != "/api/push")
        else {
            continue;
        };
        for field in document["components"]["schemas"][name]["properties"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, _)| name)
        {
            for value in &values {
                let whole = json!({"model": "triage", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 2,
                    "input": "hello", "prompt": "hello", "state": "hello", "stream": false});
                let known = &document["components"]["schemas"][name]["properties"];
                let mut body: Value = whole
                    .as_object()
                    .unwrap()
                    .clone()
                    .into_iter()
                    .filter(|(name, _)| known.get(name).is_some())
                    .collect();
                body[field] = value.clone();
                let answer = server.post(path, body);
                if answer.status == 200 {
                    continue;
                }
                n_refused += 1;
                let message = error(&answer);
                let is_foreign = foreign.iter().any(|word| message.contains(word));
                assert!(!is_foreign && message.len() < 2500, "{path} {field} {value}: {message}");
            }
        }
    }
    assert!(n_refused > 500, "{n_refused}");
}

/// A thought that is sent back is shown to the model's template again, where that shows any; nothing else of it may be refused.
#[test]
fn an_answer_goes_back_as_it_came() {
    let (_home, server) = served();
    let chat = server.post("/v1/chat/completions", asked("/v1/chat/completions", "thinker")).ok();
    let mut said = chat["choices"][0]["message"].clone();
    assert_eq!(said["reasoning_content"], "Two and two.");
    // As SDKs write their objects.
    for name in ["annotations", "audio", "function_call", "tool_calls", "parsed"] {
        said[name] = Value::Null;
    }
    for name in ["reasoning_content", "reasoning", "thinking"] {
        let mut said = said.clone();
        let thought = said.as_object_mut().unwrap().remove("reasoning_content").unwrap();
        said[name] = thought;
        let talk = json!([{"role": "user", "content": "hi"}, said, {"role": "user", "content": "and?"}]);
        let body = with(asked("/v1/chat/completions", "thinker"), &json!({ "messages": talk }));
        assert_eq!(server.post("/v1/chat/completions", body).ok()["choices"][0]["message"]["content"], "Four.");
    }
    let message = server.post("/v1/messages", asked("/v1/messages", "thinker")).ok();
    let mut blocks = message["content"].clone();
    blocks.as_array_mut().unwrap().insert(0, json!({"type": "redacted_thinking", "data": "x"}));
    let talk = json!([
        {"role": "user", "content": "hi"}, {"role": message["role"], "content": blocks}, {"role": "user", "content": "and?"},
    ]);
    let body = with(asked("/v1/messages", "thinker"), &json!({ "messages": talk }));
    assert_eq!(server.post("/v1/messages", body).ok()["content"][1]["text"], "Four.");
    let response = server.post("/v1/responses", asked("/v1/responses", "thinker")).ok();
    let mut items = vec![json!({"role": "user", "content": "hi"})];
    items.extend(response["output"].as_array().unwrap().clone());
    items.push(json!({"role": "user", "content": "and?"}));
    let again = server.post("/v1/responses", with(asked("/v1/responses", "thinker"), &json!({ "input": items }))).ok();
    assert_eq!(again["output"][1]["content"][0]["text"], "Four.");
    let chat = server.post("/api/chat", asked("/api/chat", "thinker")).ok();
    let talk = json!([{"role": "user", "content": "hi"}, chat["message"], {"role": "user", "content": "and?"}]);
    let again = server.post("/api/chat", with(asked("/api/chat", "thinker"), &json!({ "messages": talk }))).ok();
    assert_eq!(again["message"]["content"], "Four.");
}

#[test]
fn a_tools_answer_names_its_tool_as_clients_do() {
    let (_home, server) = served();
    let mut counts = Vec::new();
    for answer in [
        json!({"role": "tool", "name": "get_weather", "content": "rain"}),
        json!({"role": "tool", "tool_name": "get_weather", "content": "rain"}),
        json!({"role": "tool", "tool_name": "get_weather", "name": "get_weather", "tool_call_id": "call_1", "content": "rain"}),
    ] {
        let call = json!({"id": "call_1", "function": {"name": "get_weather", "arguments": {"city": "Paris"}}});
        let talk = json!([
            {"role": "user", "content": "hi"}, {"role": "assistant", "content": "", "tool_calls": [call]}, answer,
        ]);
        let body = with(asked("/api/chat", "fox"), &json!({ "messages": talk }));
        let reply = server.post("/api/chat", body).ok();
        assert_eq!(reply["message"]["content"], FOX);
        counts.push(reply["prompt_eval_count"].as_u64());
    }
    counts.dedup();
    assert_eq!(counts.len(), 1, "{counts:?}");
}

#[test]
fn a_seed_of_64_bits_is_one_seed() {
    let (_home, server) = served();
    let text = |path: &str, seed: &Value| {
        let hot = json!({"temperature": 100, "top_p": 1, "top_k": 0, "num_predict": 12, "seed": seed});
        let body = match path {
            "/api/generate" => json!({ "options": hot }),
            _ => json!({"temperature": 100, "top_p": 1, "top_k": 0, "max_tokens": 12, "seed": seed}),
        };
        let answer = server.post(path, with(asked(path, "fox"), &body)).ok();
        let found = [&answer["response"], &answer["choices"][0]["text"], &answer["choices"][0]["message"]["content"]];
        found.into_iter().find_map(|text| text.as_str().map(str::to_owned)).unwrap()
    };
    let large = json!(1_764_464_820_123_456_789_u64);
    for path in ["/api/generate", "/v1/completions", "/v1/chat/completions"] {
        let first = text(path, &large);
        assert_eq!(text(path, &large), first, "{path}");
        // What the bits above the lower 32 are matters too.
        assert_ne!(text(path, &json!(1_764_464_820_123_456_789_u64 ^ (1 << 40))), first, "{path}");
        assert_eq!(text(path, &json!(-7)), text(path, &json!(-7)), "{path}");
        assert_eq!(text(path, &json!(u64::MAX)), text(path, &json!(0)), "{path}");
    }
}

#[test]
fn a_models_name_is_found_in_any_case() {
    let (home, server) = served();
    for (path, model) in [("/api/chat", "FOX"), ("/v1/chat/completions", "Fox:Latest"), ("/v1/messages", "fOX")] {
        assert_eq!(server.post(path, asked(path, model)).status, 200, "{path}");
    }
    assert_eq!(server.post("/api/show", json!({"model": "FOX"})).status, 200);
    assert_eq!(server.get("/v1/models/FOX").ok()["id"], server.get("/v1/models/fox").ok()["id"]);
    // It is one model in memory, and goes by either name.
    let loaded = |server: &Server| server.get("/api/ps").ok()["models"].as_array().unwrap().len();
    assert_eq!(loaded(&server), 1);
    assert_eq!(server.post("/api/generate", json!({"model": "FOX", "keep_alive": 0})).status, 200);
    assert_eq!(loaded(&server), 0);
    // Nothing is lost by a guess.
    let gone =
        server.send(reqwest::Method::DELETE, "/api/delete", Some(json!({"model": "FOX"}).to_string().into_bytes()));
    assert_eq!((gone.status, error(&gone).as_str()), (404, "model 'FOX:latest' not found"));
    let kept = home.slm(["rm", "FOX", "--yes"]).ends(1);
    assert!(kept.stderr.contains("there is no model `FOX:latest`; did you mean `fox:latest`"), "{}", kept.stderr);
    home.slm(["show", "Fox"]).succeeds();
    // Where two differ in case alone, the exact one is meant.
    assert_eq!(server.post("/api/copy", json!({"source": "FOX", "destination": "Fox"})).status, 200);
    for (model, status) in [("fox", 200), ("Fox", 200), ("FOX", 400)] {
        assert_eq!(server.post("/api/show", json!({ "model": model })).status, status, "{model}");
    }
    let both = "`FOX:latest` could be `Fox:latest` or `fox:latest`, which differ only in upper and lower case; write the exact name";
    assert_eq!(error(&server.post("/api/chat", asked("/api/chat", "FOX"))), both);
    let said = home.slm(["run", "FOX", "hello"]).ends(1);
    assert!(said.stderr.contains(both), "{}", said.stderr);
}

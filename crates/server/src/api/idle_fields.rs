//! Fields that clients send and that have no effect here: taken, and named in the answer's `warning` header. They are one table,
//! by which the OpenAPI document is written and `docs/serve.md` is checked.

use std::cell::RefCell;
use std::collections::BTreeMap;

use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use serde_json::{Map, Value, json};

/// The objects of requests that have such fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Object {
    Chat,
    ChatMessage,
    ChatPart,
    ChatTool,
    Completion,
    Embedding,
    Response,
    ResponseItem,
    ResponsePart,
    ResponseTool,
    ResponseText,
    ResponseReasoning,
    Messages,
    Block,
    Thinking,
    OutputConfig,
    MessagesTool,
    Generate,
    OllamaChat,
}

/// A field without an effect.
#[derive(Debug)]
pub struct IdleField {
    pub object: Object,
    pub name: &'static str,
    /// Words that ask for no more than what happens anyway: they are not told.
    nothing: &'static [&'static str],
    why: &'static str,
}

const CACHED: &str = "prompt beginnings are always cached";
const NO_RECORD: &str = "nothing is recorded";
const NO_STORE: &str = "nothing is stored";
const ONE_TIER: &str = "there is one tier";
const LENGTH: &str = "the model decides how much it writes";
const AS_THEY_ARE: &str = "thinking is returned as it is";
const NO_WEB: &str = "models here run on this machine only";
const DRAFTS: &str = "drafts come from the prompt";
const WHOLE: &str = "the whole conversation is read";
const NEVER_CUT: &str = "a prompt that does not fit is refused, never cut";
const ALL_TOOLS: &str = "every tool is shown to the model";
const NO_BETAS: &str = "the path has one version";

const fn idle(object: Object, name: &'static str, why: &'static str) -> IdleField {
    IdleField { object, name, nothing: &[], why }
}

const fn unless(object: Object, name: &'static str, nothing: &'static [&'static str], why: &'static str) -> IdleField {
    IdleField { object, name, nothing, why }
}

/// Tiers of service by which nothing else happens.
const DEFAULT_TIER: &[&str] = &["auto", "default", "standard", "standard_only"];

/// All of them.
pub const IDLE_FIELDS: [IdleField; 59] = [
    idle(Object::Chat, "metadata", NO_RECORD),
    idle(Object::Chat, "prediction", DRAFTS),
    idle(Object::Chat, "prompt_cache_key", CACHED),
    idle(Object::Chat, "prompt_cache_options", CACHED),
    idle(Object::Chat, "prompt_cache_retention", CACHED),
    idle(Object::Chat, "safety_identifier", NO_RECORD),
    unless(Object::Chat, "service_tier", DEFAULT_TIER, ONE_TIER),
    idle(Object::Chat, "store", NO_STORE),
    idle(Object::Chat, "user", NO_RECORD),
    unless(Object::Chat, "verbosity", &["medium"], LENGTH),
    idle(Object::Chat, "web_search_options", NO_WEB),
    idle(Object::ChatMessage, "annotations", "models here read plain text"),
    idle(Object::ChatMessage, "cache_control", CACHED),
    idle(Object::ChatMessage, "reasoning_details", "the text of `reasoning` is read"),
    idle(Object::ChatPart, "cache_control", CACHED),
    idle(Object::ChatPart, "prompt_cache_breakpoint", CACHED),
    idle(Object::ChatTool, "cache_control", CACHED),
    idle(Object::Completion, "metadata", NO_RECORD),
    idle(Object::Completion, "prompt_cache_key", CACHED),
    unless(Object::Completion, "service_tier", DEFAULT_TIER, ONE_TIER),
    idle(Object::Completion, "store", NO_STORE),
    idle(Object::Completion, "user", NO_RECORD),
    idle(Object::Embedding, "user", NO_RECORD),
    idle(Object::Response, "client_metadata", NO_RECORD),
    idle(Object::Response, "context_management", WHOLE),
    idle(Object::Response, "prompt_cache_options", CACHED),
    idle(Object::Response, "prompt_cache_retention", CACHED),
    unless(Object::Response, "service_tier", DEFAULT_TIER, ONE_TIER),
    idle(Object::Response, "store", NO_STORE),
    unless(Object::Response, "truncation", &["disabled"], NEVER_CUT),
    idle(Object::ResponsePart, "cache_control", CACHED),
    idle(Object::ResponsePart, "prompt_cache_breakpoint", CACHED),
    idle(Object::ResponseTool, "defer_loading", ALL_TOOLS),
    idle(Object::ResponseTool, "output_schema", "the client handles a tool's output"),
    unless(Object::ResponseText, "verbosity", &["medium"], LENGTH),
    unless(Object::ResponseReasoning, "generate_summary", &["auto"], AS_THEY_ARE),
    unless(Object::ResponseReasoning, "summary", &["auto"], AS_THEY_ARE),
    idle(Object::Messages, "anthropic_beta", NO_BETAS),
    idle(Object::Messages, "anthropic_version", NO_BETAS),
    idle(Object::Messages, "betas", NO_BETAS),
    idle(Object::Messages, "cache_control", CACHED),
    idle(Object::Messages, "context_management", WHOLE),
    idle(Object::Messages, "diagnostics", "`usage` says what was evaluated before"),
    idle(Object::Messages, "metadata", NO_RECORD),
    unless(Object::Messages, "service_tier", DEFAULT_TIER, ONE_TIER),
    unless(Object::Messages, "speed", &["standard"], "there is one speed"),
    idle(Object::Messages, "user_profile_id", NO_RECORD),
    idle(Object::Messages, "workspace_id", NO_RECORD),
    idle(Object::Block, "cache_control", CACHED),
    idle(Object::Block, "citations", "models here read plain text"),
    idle(Object::Thinking, "budget_tokens", "`max_tokens` limits thinking and answer together"),
    unless(Object::Thinking, "display", &["summarized"], AS_THEY_ARE),
    idle(Object::OutputConfig, "effort", "a model thinks or does not"),
    idle(Object::OutputConfig, "task_budget", "`max_tokens` limits thinking and answer together"),
    idle(Object::MessagesTool, "cache_control", CACHED),
    idle(Object::MessagesTool, "defer_loading", ALL_TOOLS),
    idle(Object::MessagesTool, "eager_input_streaming", "a call is sent whole"),
    idle(Object::Generate, "truncate", NEVER_CUT),
    idle(Object::OllamaChat, "truncate", NEVER_CUT),
];

/// What SDKs put into an answer and hand back with it: it repeats what is beside it.
const COPIES: [(Object, &str); 4] = [
    (Object::ChatMessage, "parsed"),
    (Object::ResponseItem, "parsed_arguments"),
    (Object::ResponsePart, "parsed"),
    (Object::Block, "parsed_output"),
];

tokio::task_local! {
    /// By their places in the request, with the reasons.
    static NOTED: RefCell<BTreeMap<String, &'static str>>;
}

/// Whether a field of an object has no effect. Where it asks for something, that is noted for the request's answer.
#[must_use]
pub fn is_idle(object: Object, name: &str, place: &str, value: &Value) -> bool {
    if COPIES.contains(&(object, name)) {
        return true;
    }
    let Some(field) = IDLE_FIELDS.iter().find(|field| field.object == object && field.name == name) else {
        return false;
    };
    if field.asks(value) {
        note(place, field.why);
    }
    true
}

/// As [`is_idle`], for a field that is read because the answer repeats it.
pub fn repeated(object: Object, name: &str, place: &str, text: Option<&str>) {
    let is_known = is_idle(object, name, place, &text.map_or(Value::Null, Value::from));
    debug_assert!(is_known, "{place} is in the table");
}

/// Notes that a part of the request that this task answers has no effect; `place` is nothing that a client chose.
pub fn note(place: &str, why: &'static str) {
    // A number for each of a hundred messages would help nobody.
    let place: String = place.chars().filter(|c| !c.is_ascii_digit()).collect();
    // Outside of a request nobody asks.
    let _ = NOTED.try_with(|noted| noted.borrow_mut().insert(place, why));
}

/// Tells what had no effect in the answer's headers: for `axum::middleware::from_fn`.
pub async fn told(request: Request, next: Next) -> Response {
    let answer = async {
        let mut response = next.run(request).await;
        if let Some(warning) = NOTED.with(|noted| warning(&noted.borrow())) {
            response.headers_mut().insert(header::WARNING, warning);
        }
        response
    };
    NOTED.scope(RefCell::default(), answer).await
}

/// The header's value; 299 is the code of warnings of any other kind.
fn warning(noted: &BTreeMap<String, &'static str>) -> Option<HeaderValue> {
    let each: Vec<String> = noted.iter().map(|(place, why)| format!("{place} ({why})")).collect();
    let text = format!("299 slm \"no effect here: {}\"", each.join("; "));
    (!each.is_empty()).then(|| HeaderValue::from_str(&text).ok()).flatten()
}

impl IdleField {
    /// Whether a value asks for something that would not happen without it.
    fn asks(&self, value: &Value) -> bool {
        match value {
            Value::Null | Value::Bool(false) => false,
            Value::String(text) => !text.is_empty() && !self.nothing.contains(&text.as_str()),
            Value::Array(list) => !list.is_empty(),
            _ => true,
        }
    }
}

impl Object {
    /// The type that describes it in the OpenAPI document.
    fn schema(self) -> &'static str {
        match self {
            Object::Chat => "openai.ChatRequest",
            Object::ChatMessage => "openai.ChatMessage",
            Object::ChatPart => "openai.ContentPart",
            Object::ChatTool => "openai.ChatTool",
            Object::Completion => "openai.CompletionRequest",
            Object::Embedding => "openai.EmbeddingRequest",
            Object::Response => "openai.ResponseRequest",
            Object::ResponseItem => "openai.InputItem",
            Object::ResponsePart => "openai.InputPart",
            Object::ResponseTool => "openai.FunctionTool",
            Object::ResponseText => "openai.TextConfig",
            Object::ResponseReasoning => "openai.Reasoning",
            Object::Messages => "anthropic.MessagesRequest",
            Object::Block => "anthropic.Block",
            Object::Thinking => "anthropic.Thinking",
            Object::OutputConfig => "anthropic.OutputConfig",
            Object::MessagesTool => "anthropic.WireTool",
            Object::Generate => "ollama.GenerateRequest",
            Object::OllamaChat => "ollama.ChatRequest",
        }
    }

    /// Its path, and what its fields are called in the documentation.
    #[cfg(test)]
    fn documented(self) -> (&'static str, &'static str) {
        match self {
            Object::Chat => ("/v1/chat/completions", ""),
            Object::ChatMessage => ("/v1/chat/completions", "messages[]."),
            Object::ChatPart => ("/v1/chat/completions", "content[]."),
            Object::ChatTool => ("/v1/chat/completions", "tools[]."),
            Object::Completion => ("/v1/completions", ""),
            Object::Embedding => ("/v1/embeddings", ""),
            Object::Response => ("/v1/responses", ""),
            Object::ResponseItem => ("/v1/responses", "input[]."),
            Object::ResponsePart => ("/v1/responses", "content[]."),
            Object::ResponseTool => ("/v1/responses", "tools[]."),
            Object::ResponseText => ("/v1/responses", "text."),
            Object::ResponseReasoning => ("/v1/responses", "reasoning."),
            Object::Messages => ("/v1/messages", ""),
            Object::Block => ("/v1/messages", "content[]."),
            Object::Thinking => ("/v1/messages", "thinking."),
            Object::OutputConfig => ("/v1/messages", "output_config."),
            Object::MessagesTool => ("/v1/messages", "tools[]."),
            Object::Generate => ("/api/generate", ""),
            Object::OllamaChat => ("/api/chat", ""),
        }
    }
}

/// Adds the fields to the types that have them in an OpenAPI document, where they are not read. Any value is taken.
pub fn describe(schemas: &mut Value) {
    for IdleField { object, name, why, .. } in &IDLE_FIELDS {
        for properties in properties(schemas, object.schema()) {
            let any = json!({ "description": format!("Has no effect: {why}.") });
            properties.entry(*name).or_insert(any);
        }
    }
}

/// The properties of a type: where it is described by itself, and where a list takes a text's place, in its items.
fn properties<'s>(schemas: &'s mut Value, name: &str) -> Vec<&'s mut Map<String, Value>> {
    let in_lists = format!("TextOr_{name}");
    let mut types = Vec::new();
    for (key, schema) in schemas.as_object_mut().into_iter().flatten() {
        if key == name {
            types.push(schema);
        } else if *key == in_lists {
            let either = schema.get_mut("oneOf").and_then(Value::as_array_mut).into_iter().flatten();
            types.extend(either.filter_map(|one| one.get_mut("items")));
        }
    }
    types.into_iter().filter_map(|schema| schema.get_mut("properties")?.as_object_mut()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    #[test]
    fn every_type_with_such_fields_is_described() {
        let mut schemas = crate::api::openapi::document()["components"]["schemas"].take();
        for IdleField { object, name, .. } in &IDLE_FIELDS {
            let places = properties(&mut schemas, object.schema());
            assert!(!places.is_empty(), "{object:?}");
            for place in places {
                let text = place[*name]["description"].as_str().unwrap_or_default();
                assert!(text.starts_with("Has no effect: "), "{object:?} {name}: {place:?}");
            }
        }
    }

    /// `docs/serve.md` has this table; where they differ, it goes there.
    #[test]
    fn the_documentation_lists_them_all() {
        let mut rows: Vec<(&str, Vec<String>)> = Vec::new();
        for IdleField { object, name, .. } in &IDLE_FIELDS {
            let (path, within) = object.documented();
            let field = format!("`{within}{name}`");
            match rows.iter_mut().find(|(known, _)| *known == path) {
                Some((_, fields)) => fields.push(field),
                None => rows.push((path, vec![field])),
            }
        }
        let mut table = "| path | fields without an effect |\n| --- | --- |\n".to_owned();
        for (path, fields) in rows {
            writeln!(table, "| `{path}` | {} |", fields.join(", ")).unwrap();
        }
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/serve.md");
        let page = std::fs::read_to_string(page).unwrap();
        assert!(page.contains(&table), "{table}");
    }

    #[test]
    fn a_warning_is_a_header_whatever_is_in_the_table() {
        let all = IDLE_FIELDS.iter().map(|field| (format!("{:?}.{}", field.object, field.name), field.why)).collect();
        let text = warning(&all).expect("all of it can be a header");
        let text = text.to_str().expect("it is ASCII");
        assert_eq!(text.matches('"').count(), 2, "{text}");
        assert!(!text.contains('\\') && text.len() < 6000, "{}", text.len());
        assert_eq!(warning(&BTreeMap::new()), None);
    }

    #[test]
    fn what_asks_for_nothing_is_not_told() {
        let noted = |name: &str, value: Value| {
            NOTED.sync_scope(RefCell::default(), || {
                assert!(is_idle(Object::Chat, name, name, &value));
                NOTED.with(|noted| !noted.borrow().is_empty())
            })
        };
        for (name, value, is_told) in [
            ("service_tier", json!("auto"), false),
            ("service_tier", json!("flex"), true),
            ("store", json!(false), false),
            ("store", json!(true), true),
            ("metadata", Value::Null, false),
            ("metadata", json!({"a": "b"}), true),
            ("web_search_options", json!({}), true),
            ("verbosity", json!("medium"), false),
            ("user", json!(""), false),
            ("prediction", json!({"type": "content", "content": "x"}), true),
        ] {
            assert_eq!(noted(name, value.clone()), is_told, "{name} {value}");
        }
        assert!(!is_idle(Object::Chat, "colour", "colour", &json!(1)));
    }

    #[test]
    fn places_have_no_numbers() {
        NOTED.sync_scope(RefCell::default(), || {
            note("messages[0].content[12].cache_control", CACHED);
            note("messages[7].content[3].cache_control", CACHED);
            let text = NOTED.with(|noted| warning(&noted.borrow())).unwrap();
            let expected =
                "299 slm \"no effect here: messages[].content[].cache_control (prompt beginnings are always cached)\"";
            assert_eq!(text, expected);
        });
    }
}

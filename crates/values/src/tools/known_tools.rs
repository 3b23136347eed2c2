//! Whole calls as models write them, read as calls of a request's tools; what is not such a call stays text.

use serde_json::{Map, Value as Json};
use std::collections::HashMap;

use super::call::ToolCall;
use super::tool::Tool;
use super::{gemma, python, tags};

/// What the object of a call may begin with.
pub(super) const CALL_KEYS: &[&str] =
    &["name", "arguments", "parameters", "function", "type", "id", "index", "tool_name", "tool_call_id"];

/// The tools of a request by name, with the schemas of their arguments.
#[derive(Debug, Clone)]
pub(super) struct KnownTools(HashMap<String, Option<Json>>);

impl KnownTools {
    pub(super) fn new(tools: &[Tool]) -> Self {
        KnownTools(tools.iter().map(|tool| (tool.name().to_owned(), tool.parameters().cloned())).collect())
    }

    fn call(&self, name: &str, arguments: Map<String, Json>) -> Option<ToolCall> {
        self.0.contains_key(name).then(|| ToolCall::new(name, arguments))
    }

    /// The calls of an object or of a list of objects. Without a mark before it, a call has arguments: an answer in JSON
    /// may have a name, too.
    pub(super) fn json(&self, text: &str, is_marked: bool) -> Option<Vec<ToolCall>> {
        let one = |json: &Json| self.object(json, is_marked);
        match parse(text)? {
            Json::Array(items) if !items.is_empty() => items.iter().map(one).collect(),
            json => Some(vec![one(&json)?]),
        }
    }

    fn object(&self, json: &Json, is_marked: bool) -> Option<ToolCall> {
        let call = json.as_object()?;
        // OpenAI's form, and Command's.
        let call = call.get("function").and_then(Json::as_object).unwrap_or(call);
        let name = ["name", "tool_name", "function"].iter().find_map(|key| call.get(*key))?.as_str()?;
        let arguments = match ["arguments", "parameters"].iter().find_map(|key| call.get(*key)) {
            Some(Json::Object(fields)) => fields.clone(),
            Some(Json::String(text)) => parse(text)?.as_object()?.clone(),
            Some(Json::Null) | None if is_marked => Map::new(),
            _ => return None,
        };
        self.call(name, arguments)
    }

    /// A call whose name came before its arguments.
    pub(super) fn named(&self, name: &str, arguments: &str) -> Option<Vec<ToolCall>> {
        Some(vec![self.call(name, parse(arguments)?.as_object()?.clone())?])
    }

    pub(super) fn python(&self, text: &str) -> Option<Vec<ToolCall>> {
        let calls = python::parse(text)?;
        calls.into_iter().map(|(name, arguments)| self.call(&name, arguments)).collect()
    }

    pub(super) fn gemma(&self, text: &str) -> Option<Vec<ToolCall>> {
        let (name, arguments) = gemma::parse(text)?;
        Some(vec![self.call(&name, arguments)?])
    }

    /// A call in tags. An argument is text where its schema allows that, else JSON.
    pub(super) fn tags(&self, text: &str) -> Option<Vec<ToolCall>> {
        let (name, body) = tags::split(text)?;
        if body.trim_start().starts_with('{') {
            return self.named(name, body.trim());
        }
        let schema = self.0.get(name)?.as_ref();
        let value = |(key, text): (&str, &str)| {
            let property = schema.and_then(|schema| schema.get("properties")?.get(key));
            let json = parse(text).filter(|json| !takes_text(property, json));
            (key.to_owned(), json.unwrap_or_else(|| Json::from(text)))
        };
        let arguments = tags::arguments(body)?.into_iter().map(value).collect();
        Some(vec![self.call(name, arguments)?])
    }
}

/// Whether an argument that could be read as this JSON is meant as the text that it is.
fn takes_text(property: Option<&Json>, json: &Json) -> bool {
    let Some(property) = property else { return json.is_string() };
    let is_text = |kind: &Json| kind == "string";
    match (property.get("type"), property.get("enum").or_else(|| property.get("const"))) {
        (Some(Json::Array(kinds)), _) => {
            kinds.iter().any(is_text) && !(json.is_null() && kinds.iter().any(|k| k == "null"))
        }
        (Some(kind), _) => is_text(kind),
        (None, Some(Json::Array(options))) => options.iter().all(Json::is_string),
        (None, Some(option)) => option.is_string(),
        (None, None) => json.is_string(),
    }
}

/// JSON, in whose strings line feeds and tabs may be unescaped.
fn parse(text: &str) -> Option<Json> {
    serde_json::from_str(text).ok().or_else(|| serde_json::from_str(&escaped(text)?).ok())
}

/// JSON with the control characters within its strings escaped; `None` where there are none.
fn escaped(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let (mut is_text, mut is_escape, mut n_escaped) = (false, false, 0usize);
    for c in text.chars() {
        if is_text && c < ' ' {
            let quoted = Json::from(c.to_string()).to_string();
            out.push_str(quoted.trim_matches('"'));
            n_escaped += 1;
        } else {
            out.push(c);
        }
        match c {
            '"' if !is_escape => is_text = !is_text,
            _ => {}
        }
        is_escape = is_text && c == '\\' && !is_escape;
    }
    (n_escaped > 0).then_some(out)
}

//! Tools, calls and messages as Ollama hands them to a Go template: fields by Go's names.

use gotmpl::Value;
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::renderer::Originals;
use super::printed::{ARGUMENT_TYPES, JSON, json, list, text};
use crate::chat::Message;
use crate::tools::ToolCall;

/// The fields of a struct by their names in Go and in its JSON.
struct Struct<'e> {
    fields: BTreeMap<Arc<str>, Value>,
    json: String,
    twins: &'e Originals,
}

impl<'e> Struct<'e> {
    fn new(twins: &'e Originals) -> Self {
        Struct { fields: BTreeMap::new(), json: "{".to_owned(), twins }
    }

    /// A field that is in the JSON too.
    fn field(&mut self, name: &str, key: &str, value: Value) {
        self.extra(key, &json(&value, self.twins));
        self.fields.insert(name.into(), value);
    }

    /// A field that is in the JSON only where it has something to say.
    fn optional(&mut self, name: &str, key: &str, value: Option<Value>, otherwise: Value) {
        match value {
            Some(value) => self.field(name, key, value),
            None => drop(self.fields.insert(name.into(), otherwise)),
        }
    }

    /// What is in the JSON alone.
    fn extra(&mut self, key: &str, written: &str) {
        if self.json.len() > 1 {
            self.json.push(',');
        }
        self.json.push_str(&json(&text(key), self.twins));
        self.json.push(':');
        self.json.push_str(written);
    }

    /// The keys of an object that have no field in Go: Ollama drops them, and a model can use them.
    fn rest(&mut self, object: &Map<String, Json>, known: &[&str]) {
        for (key, value) in object.iter().filter(|(key, value)| !known.contains(&key.as_str()) && !value.is_null()) {
            let written = json(&data(value), self.twins);
            self.extra(key, &written);
        }
    }

    fn finish(mut self) -> Value {
        let json = text(&(self.json + "}"));
        let printed = Value::Function(Arc::new(move |_: &[Value]| Ok(json.clone())));
        self.fields.insert(JSON.into(), printed);
        Value::Map(Arc::new(self.fields))
    }
}

/// An argument's type: one word or several. A word that is not a type of JSON Schema stays a text.
fn kind(given: &Json, twins: &Originals) -> Value {
    let only = || given.as_array().filter(|words| words.len() == 1).and_then(|words| words[0].as_str());
    let Some(word) = given.as_str().or_else(only) else { return data(given) };
    let original: String = word.chars().map(|c| twins.get(&c).copied().unwrap_or(c)).collect();
    let known = ARGUMENT_TYPES.iter().find(|(word, _)| *word == original);
    known.map_or_else(|| data(given), |(_, kind)| Value::List(Arc::clone(kind)))
}

/// JSON as Go's maps and slices.
pub(super) fn data(json: &Json) -> Value {
    match json {
        Json::Null => Value::Nil,
        Json::Bool(flag) => Value::Bool(*flag),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(n), _) => Value::Int(n),
            (None, Some(n)) => Value::Uint(n),
            (None, None) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(words) => text(words),
        Json::Array(items) => list(items.iter().map(data).collect()),
        Json::Object(fields) => object(fields),
    }
}

fn object(fields: &Map<String, Json>) -> Value {
    Value::Map(Arc::new(fields.iter().map(|(name, field)| (Arc::from(name.as_str()), data(field))).collect()))
}

/// A tool, from its wire form.
pub(super) fn tool(tool: &Json, twins: &Originals) -> Value {
    let given = Map::new();
    let function = tool.get("function").and_then(Json::as_object).unwrap_or(&given);
    let words = |key: &str| text(function.get(key).and_then(Json::as_str).unwrap_or_default());
    let mut of_function = Struct::new(twins);
    of_function.field("Name", "name", words("name"));
    of_function.field("Description", "description", words("description"));
    let parameters = function.get("parameters").and_then(Json::as_object).unwrap_or(&given);
    of_function.field("Parameters", "parameters", schema(parameters, twins));
    let mut whole = Struct::new(twins);
    whole.field("Type", "type", text("function"));
    whole.field("Function", "function", of_function.finish());
    whole.finish()
}

/// The schema of a tool's arguments.
fn schema(given: &Map<String, Json>, twins: &Originals) -> Value {
    let mut schema = Struct::new(twins);
    schema.field("Type", "type", text("object"));
    for (name, key) in [("Defs", "$defs"), ("Items", "items"), ("Required", "required")] {
        let value = given.get(key).filter(|value| !value.is_null() && **value != Json::Array(Vec::new()));
        schema.optional(name, key, value.map(data), Value::Nil);
    }
    let none = Map::new();
    schema.field("Properties", "properties", properties(given, &none, twins));
    schema.rest(given, &["type", "$defs", "items", "required", "properties"]);
    schema.finish()
}

fn properties(given: &Map<String, Json>, none: &Map<String, Json>, twins: &Originals) -> Value {
    let properties = given.get("properties").and_then(Json::as_object).unwrap_or(none);
    let one = |(name, given): (&String, &Json)| (Arc::from(name.as_str()), property(given, twins));
    Value::Map(Arc::new(properties.iter().map(one).collect()))
}

/// One argument's schema; what is not an object stays as it is. Ollama leaves empty fields out of the JSON.
fn property(given: &Json, twins: &Originals) -> Value {
    let Some(given) = given.as_object() else { return data(given) };
    let is_empty = |value: &Json| match value {
        Json::String(text) => text.is_empty(),
        Json::Array(items) => items.is_empty(),
        other => other.is_null(),
    };
    let get = |key: &str| given.get(key).filter(|value| !is_empty(value));
    let mut property = Struct::new(twins);
    let parts = get("anyOf").and_then(Json::as_array);
    let parts = parts.map(|parts| list(parts.iter().map(|part| self::property(part, twins)).collect()));
    let [none, nothing] = [list(Vec::new()), text("")];
    property.optional("AnyOf", "anyOf", parts, none.clone());
    let untyped = kind(&Json::from(""), twins);
    property.optional("Type", "type", get("type").map(|given| kind(given, twins)), untyped);
    property.optional("Items", "items", get("items").map(data), Value::Nil);
    property.optional("Description", "description", get("description").map(data), nothing);
    property.optional("Enum", "enum", get("enum").map(data), none);
    let inner = get("properties").map(|_| properties(given, &Map::new(), twins));
    property.optional("Properties", "properties", inner, Value::Map(Arc::default()));
    property.rest(given, &["anyOf", "type", "items", "description", "enum", "properties"]);
    property.finish()
}

/// The type of an argument in TypeScript's words.
pub(super) fn typescript(property: &Value) -> String {
    let Value::Map(fields) = property else { return "any".to_owned() };
    let or = |names: Vec<String>| if names.is_empty() { "any".to_owned() } else { names.join(" | ") };
    match (fields.get("AnyOf"), fields.get("Type")) {
        (Some(Value::List(parts)), _) if !parts.is_empty() => or(parts.iter().map(typescript).collect()),
        (_, Some(Value::String(kind))) => typescript_of(kind).to_owned(),
        (_, Some(Value::List(kinds))) => {
            or(kinds.iter().map(|kind| typescript_of(&kind.to_string()).to_owned()).collect())
        }
        _ => "any".to_owned(),
    }
}

fn typescript_of(kind: &str) -> &'static str {
    match kind {
        "string" => "string",
        "number" | "integer" => "number",
        "boolean" => "boolean",
        "array" => "any[]",
        "object" => "Record<string, any>",
        "null" => "null",
        _ => "any",
    }
}

pub(super) fn message(message: &Message, twins: &Originals) -> Value {
    let words = |words: &Option<String>| text(words.as_deref().unwrap_or_default());
    let call = |(number, of): (usize, &ToolCall)| call(number, of, twins);
    let fields = [
        ("Role", text(message.role.as_str())),
        ("Content", text(&message.content)),
        ("Thinking", words(&message.thinking)),
        ("Images", list(Vec::new())),
        ("ToolCalls", list(message.tool_calls.iter().enumerate().map(call).collect())),
        ("ToolName", words(&message.tool_name)),
        ("ToolCallID", words(&message.tool_call_id)),
    ];
    Value::Map(Arc::new(fields.into_iter().map(|(name, value)| (name.into(), value)).collect()))
}

/// A call. Its JSON has Go's names where Ollama gives the fields none.
fn call(number: usize, call: &ToolCall, twins: &Originals) -> Value {
    let mut function = Struct::new(twins);
    function.field("Index", "Index", Value::Int(i64::try_from(number).unwrap_or(0)));
    function.field("Name", "Name", text(&call.name));
    function.field("Arguments", "Arguments", object(&call.arguments));
    let mut whole = Struct::new(twins);
    whole.field("ID", "ID", text(call.id.as_deref().unwrap_or_default()));
    whole.field("Function", "Function", function.finish());
    whole.finish()
}

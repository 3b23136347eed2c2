//! How Go prints values and writes them as JSON: texts of their own for Ollama's tools, arguments and types.
//!
//! Ollama's tools and arguments print themselves as JSON. gotmpl's values cannot, so a value that stands for one of Go's
//! structs carries its JSON under a name that no template can write, and what a template prints goes through [`shown`].

use gotmpl::Value;
use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};

use super::super::renderer::Originals;

/// Where a struct's JSON is kept: as a function, which no JSON of a person's becomes.
pub(super) const JSON: &str = "#json";

/// The types that an argument can have, each as Ollama keeps it: a list of one word, or of none, which prints itself, and is
/// JSON, as that word alone. Such a list is known by where it lies.
pub(super) static ARGUMENT_TYPES: LazyLock<[ArgumentType; 8]> = LazyLock::new(|| {
    let words = ["", "string", "number", "integer", "boolean", "array", "object", "null"];
    words.map(|word| (word, Some(word).filter(|word| !word.is_empty()).map(text).into_iter().collect()))
});

/// A type's word, and the list that stands for it.
pub(super) type ArgumentType = (&'static str, Arc<[Value]>);

pub(super) fn text(text: &str) -> Value {
    Value::String(Arc::from(text))
}

pub(super) fn list(values: Vec<Value>) -> Value {
    Value::List(Arc::from(values))
}

/// The JSON that a value has for itself, where it stands for a struct or a type.
pub(super) fn own_json(value: &Value) -> Option<String> {
    if let Some(word) = type_word(value) {
        return Some(if word.is_empty() { "null".to_owned() } else { format!("\"{word}\"") });
    }
    let Value::Map(fields) = value else { return None };
    match fields.get(JSON)? {
        Value::Function(printed) => match printed(&[]) {
            Ok(Value::String(json)) => Some(json.to_string()),
            _ => None,
        },
        _ => None,
    }
}

/// A value as a template prints it: what is JSON to Ollama as its JSON, anything else as it is.
pub(super) fn shown(value: &Value, twins: &Originals) -> Value {
    let is_struct = |value: &Value| own_json(value).is_some();
    if let Some(word) = type_word(value) {
        return text(word);
    }
    match value {
        Value::Map(_) => text(&json(value, twins)),
        Value::List(items) if items.iter().any(is_struct) => text(&json(value, twins)),
        other => other.clone(),
    }
}

/// The word of a type that is one of [`ARGUMENT_TYPES`].
fn type_word(value: &Value) -> Option<&'static str> {
    let Value::List(items) = value else { return None };
    ARGUMENT_TYPES.iter().find(|(_, kind)| Arc::ptr_eq(kind, items)).map(|(word, _)| *word)
}

/// A value as Go's `json.Marshal` writes it. A twin is escaped as the character that it stands for would be.
pub(super) fn json(value: &Value, twins: &Originals) -> String {
    if let Some(own) = own_json(value) {
        return own;
    }
    match value {
        Value::Nil | Value::Function(_) => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Uint(number) => number.to_string(),
        Value::Float(number) => serde_json::Value::from(*number).to_string(),
        Value::String(text) => quoted(text, twins),
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(|item| json(item, twins)).collect();
            format!("[{}]", items.join(","))
        }
        Value::Map(fields) => {
            let field = |(name, field): (&Arc<str>, &Value)| format!("{}:{}", quoted(name, twins), json(field, twins));
            format!("{{{}}}", fields.iter().map(field).collect::<Vec<_>>().join(","))
        }
    }
}

fn quoted(text: &str, twins: &Originals) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        let original = twins.get(&c).copied().unwrap_or(c);
        match original {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(original));
            }
            '"' | '\\' => out.extend(['\\', c]),
            '\0'..' ' => {
                let quoted = serde_json::Value::from(original.to_string()).to_string();
                out.push_str(quoted.trim_matches('"'));
            }
            _ => out.push(c),
        }
    }
    out.push('"');
    out
}

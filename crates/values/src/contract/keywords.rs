//! The keywords of JSON Schema: which constrain which type of value, which only describe, and which are misspelt.

use serde_json::{Map, Value};

use super::error::{ContractError, Pointer};

pub(super) const TYPES: [&str; 7] = ["null", "boolean", "integer", "number", "string", "array", "object"];

const OBJECT: [&str; 11] = [
    "properties",
    "required",
    "additionalProperties",
    "patternProperties",
    "minProperties",
    "maxProperties",
    "propertyNames",
    "dependentRequired",
    "dependentSchemas",
    "dependencies",
    "unevaluatedProperties",
];
const ARRAY: [&str; 10] = [
    "items",
    "prefixItems",
    "additionalItems",
    "minItems",
    "maxItems",
    "uniqueItems",
    "contains",
    "minContains",
    "maxContains",
    "unevaluatedItems",
];
const STRING: [&str; 5] = ["minLength", "maxLength", "pattern", "format", "contentEncoding"];
const NUMBER: [&str; 6] = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "format"];
/// Those that constrain values of every type.
const ANY_TYPE: [&str; 13] = [
    "type",
    "nullable",
    "enum",
    "const",
    "$ref",
    "$dynamicRef",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
];

/// Keywords that say nothing about which answers are allowed.
const ANNOTATIONS: [&str; 20] = [
    "$schema",
    "$defs",
    "definitions",
    "$anchor",
    "$dynamicAnchor",
    "$comment",
    "title",
    "description",
    "default",
    "example",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
    "enumDescriptions",
    "discriminator",
    "propertyOrdering",
    "contentMediaType",
    "contentSchema",
    "strict",
];

/// Keywords that change what references mean, or that this version cannot read: never passed over.
const UNREAD: [&str; 2] = ["$recursiveRef", "$recursiveAnchor"];

/// What people write for a keyword that has another name.
const MISTAKEN: [(&str, &str); 8] = [
    ("min", "minimum"),
    ("max", "maximum"),
    ("choices", "enum"),
    ("options", "enum"),
    ("values", "enum"),
    ("regex", "pattern"),
    ("types", "type"),
    ("additional", "additionalProperties"),
];

/// The types of values that keywords speak of; `null` and `boolean` have no keywords of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Number,
    Text,
    List,
    Object,
}

impl Kind {
    fn keywords(self) -> &'static [&'static str] {
        match self {
            Kind::Number => &NUMBER,
            Kind::Text => &STRING,
            Kind::List => &ARRAY,
            Kind::Object => &OBJECT,
        }
    }

    /// The kind of a value that has one.
    pub fn of(value: &Value) -> Option<Kind> {
        match value {
            Value::Null | Value::Bool(_) => None,
            Value::Number(_) => Some(Kind::Number),
            Value::String(_) => Some(Kind::Text),
            Value::Array(_) => Some(Kind::List),
            Value::Object(_) => Some(Kind::Object),
        }
    }
}

/// Whether a schema says something about values of this kind beside their type.
pub(super) fn constrains(map: &Map<String, Value>, kind: Kind) -> bool {
    kind.keywords().iter().any(|keyword| map.contains_key(*keyword)) || general(map).is_some()
}

/// Whether a schema allows everything. One with a keyword that [`check`] refuses does not.
pub(super) fn is_trivial(map: &Map<String, Value>) -> bool {
    let families = [&OBJECT[..], &ARRAY, &STRING, &NUMBER, &ANY_TYPE, &UNREAD, &["$id"]];
    !map.keys().any(|key| families.iter().any(|keywords| keywords.contains(&key.as_str())) || misspelt(key).is_some())
}

/// Whether a schema is a list of values with their type, and nothing else.
pub(super) fn is_plain_list(map: &Map<String, Value>) -> bool {
    (map.contains_key("enum") || map.contains_key("const"))
        && map.keys().all(|key| ["enum", "const", "type"].contains(&key.as_str()) || is_annotation(key))
}

/// A keyword that constrains values of every type, and that only listed values can be held to.
pub(super) fn general(map: &Map<String, Value>) -> Option<&'static str> {
    if map.contains_key("not") {
        return Some("not");
    }
    (map.contains_key("if") && (map.contains_key("then") || map.contains_key("else"))).then_some("if")
}

/// A keyword about objects or lists that cannot be held while text is written.
pub(super) fn unheld(map: &Map<String, Value>, kind: Kind) -> Option<&'static str> {
    let candidates: &[&str] = match kind {
        Kind::Object => &["dependentRequired", "dependentSchemas", "dependencies"],
        Kind::List => &["contains"],
        Kind::Number | Kind::Text => &[],
    };
    let is_empty = |keyword: &str| map[keyword].as_object().is_some_and(Map::is_empty) && kind == Kind::Object;
    candidates.iter().copied().find(|keyword| map.contains_key(*keyword) && !is_empty(keyword))
}

/// The refusal of a keyword that cannot be held.
pub(super) fn refused(keyword: &str, at: &Pointer) -> ContractError {
    let hint = match keyword {
        "not" | "if" | "then" | "else" => "; say what is allowed with `anyOf`",
        "uniqueItems" => "; give the items an `enum` and few `maxItems`, or remove it and check the answers yourself",
        "contains" => "; remove it and check the answers yourself",
        "dependentRequired" | "dependentSchemas" | "dependencies" => "; write the cases as `anyOf`",
        "$recursiveRef" => "; write `$ref`",
        _ => "; remove it",
    };
    at.below(keyword).refused(format!("`{keyword}` cannot be enforced{hint}"))
}

/// Refuses keywords that are misspelt or that cannot be read. Unknown ones say nothing, as JSON Schema has it.
pub(super) fn check(map: &Map<String, Value>, at: &Pointer) -> Result<(), ContractError> {
    for key in map.keys() {
        if UNREAD.contains(&key.as_str()) || (key == "$id" && !at.is_root()) {
            return Err(refused(key, at));
        }
        if let Some(meant) = misspelt(key) {
            return Err(at.below(key).refused(format!("`{key}` is not a keyword; did you mean `{meant}`?")));
        }
    }
    Ok(())
}

fn is_annotation(key: &str) -> bool {
    ANNOTATIONS.contains(&key) || key.starts_with("x-") || key == "$id"
}

/// The keyword that someone meant by an unknown one.
fn misspelt(key: &str) -> Option<&'static str> {
    let known: Vec<&'static str> = [&OBJECT[..], &ARRAY, &STRING, &NUMBER, &ANY_TYPE].concat();
    if known.contains(&key) || is_annotation(key) {
        return None;
    }
    let plain = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let bare = plain(key);
    if let Some((_, meant)) = MISTAKEN.iter().find(|(mistaken, _)| *mistaken == bare) {
        return Some(meant);
    }
    let is_near = |keyword: &&str| {
        let keyword = plain(keyword);
        keyword == bare || (bare.len() > 5 && strsim::osa_distance(&keyword, &bare) == 1)
    };
    known.into_iter().find(is_near)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn misspelt_keywords_are_refused_and_strange_ones_say_nothing() {
        let say = |key: &str| check(json!({ key: 1 }).as_object().unwrap(), &Pointer::root());
        for (key, meant) in [
            ("minlength", "minLength"),
            ("max_items", "maxItems"),
            ("requried", "required"),
            ("oneof", "oneOf"),
            ("min", "minimum"),
        ] {
            let said = say(key).unwrap_err().to_string();
            let expected = format!("`/{key}` is not supported: `{key}` is not a keyword; did you mean `{meant}`?");
            assert_eq!(said, format!("the schema at {expected}"));
        }
        for key in ["units", "x-order", "title", "$comment", "widget", "format", "tags"] {
            assert!(say(key).is_ok(), "{key}");
        }
        assert!(say("$recursiveRef").is_err());
        // Alone in a schema they are found too.
        for key in ["$dynamicRef", "$recursiveRef", "minlength", "items"] {
            assert!(!is_trivial(json!({ key: 1 }).as_object().unwrap()), "{key}");
        }
        assert!(is_trivial(json!({"title": "x", "units": "m"}).as_object().unwrap()));
    }
}

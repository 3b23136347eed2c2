//! The keywords of JSON Schema that an open contract supports, and those that only describe.

use serde_json::{Map, Value};

use super::error::{ContractError, Pointer};

pub(super) const TYPES: [&str; 7] = ["null", "boolean", "integer", "number", "string", "array", "object"];
pub(super) const OBJECT: [&str; 6] =
    ["properties", "required", "additionalProperties", "patternProperties", "minProperties", "maxProperties"];
pub(super) const ARRAY: [&str; 4] = ["items", "prefixItems", "minItems", "maxItems"];
pub(super) const STRING: [&str; 4] = ["minLength", "maxLength", "pattern", "format"];
pub(super) const NUMBER: [&str; 5] = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"];
pub(super) const IN_PLACE: [&str; 6] = ["enum", "const", "$ref", "allOf", "anyOf", "oneOf"];

/// Keywords that say nothing about which answers are allowed.
pub(super) const ANNOTATIONS: [&str; 13] = [
    "$schema",
    "$defs",
    "definitions",
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
];

/// The types that a value may have; those that the keywords speak of where none are named.
pub(super) fn types(map: &Map<String, Value>, at: &Pointer) -> Result<Vec<String>, ContractError> {
    let place = at.below("type");
    let known = |name: &Value| match name.as_str() {
        Some(name) if TYPES.contains(&name) => Ok(name.to_owned()),
        _ => Err(place.refused(format!("{name} is not a type of JSON Schema"))),
    };
    match map.get("type") {
        Some(Value::Array(names)) if !names.is_empty() => names.iter().map(known).collect(),
        Some(name) => Ok(vec![known(name)?]),
        None if IN_PLACE.iter().any(|keyword| map.contains_key(*keyword)) => Ok(Vec::new()),
        None => {
            let families: [(&str, &[&str]); 4] =
                [("object", &OBJECT), ("array", &ARRAY), ("string", &STRING), ("number", &NUMBER)];
            let said = families.iter().filter(|(_, keywords)| keywords.iter().any(|k| map.contains_key(*k)));
            Ok(said.map(|(name, _)| (*name).to_owned()).collect())
        }
    }
}

pub(super) fn has(types: Option<&Value>, kind: &str) -> bool {
    match types {
        Some(Value::String(name)) => name == kind,
        Some(Value::Array(names)) => names.iter().any(|name| name == kind),
        _ => false,
    }
}

pub(super) fn check_keywords(map: &Map<String, Value>, at: &Pointer) -> Result<(), ContractError> {
    let families = [&OBJECT[..], &ARRAY, &STRING, &NUMBER, &IN_PLACE, &["type"]];
    let is_kept = |key: &str| families.iter().any(|keywords| keywords.contains(&key));
    let is_said = |key: &str| ANNOTATIONS.contains(&key) || key.starts_with("x-");
    // A name for the whole schema changes nothing in it; one further in changes what references mean.
    let is_name = |key: &str| key == "$id" && at.is_root();
    let Some(keyword) = map.keys().map(String::as_str).find(|key| !is_kept(key) && !is_said(key) && !is_name(key))
    else {
        return Ok(());
    };
    let hint = match keyword {
        "not" | "if" | "then" | "else" => "; say what is allowed with `anyOf`",
        "unevaluatedProperties" => "; write `additionalProperties`",
        "unevaluatedItems" | "additionalItems" => "; write `prefixItems` and `items`",
        "nullable" => "; write `\"type\": [\"string\", \"null\"]`",
        "uniqueItems" | "contains" | "minContains" | "maxContains" => "; leave it away and check the answers yourself",
        _ => "",
    };
    Err(at.below(keyword).refused(format!("`{keyword}` cannot be held while text is written{hint}")))
}

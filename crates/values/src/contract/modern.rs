//! Older spellings of JSON Schema as draft 2020-12 spells them, for the validator of finished answers.
//!
//! Rewritten are a list of schemas under `items` (drafts 4 to 2019-09), `additionalItems` beside it, `nullable` and `true` under
//! `exclusiveMinimum` and `exclusiveMaximum` (OpenAPI 3.0); names given twice, and `$schema` and `$id` of the whole are left out. The tree of
//! schemas stays as it is, so that a place in the one is a place in the other ([`pointer`]).

use serde_json::{Map, Value};

use super::error::Pointer;

/// Keywords whose value is a schema, a list of schemas, or an object of schemas.
const ONE: [&str; 12] = [
    "items",
    "additionalItems",
    "additionalProperties",
    "propertyNames",
    "contains",
    "not",
    "if",
    "then",
    "else",
    "unevaluatedItems",
    "unevaluatedProperties",
    "contentSchema",
];
const MANY: [&str; 5] = ["allOf", "anyOf", "oneOf", "prefixItems", "items"];
const NAMED: [&str; 6] =
    ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"];

/// A schema in the spelling of draft 2020-12.
pub(super) fn modern(schema: &Value) -> Value {
    let own = schema.get("$id").and_then(Value::as_str).unwrap_or_default().trim_end_matches('#');
    let mut schema = rewritten(schema, &Whole { schema, own });
    if let Value::Object(map) = &mut schema {
        map.remove("$schema");
        map.remove("$id");
    }
    schema
}

/// A reference without the name of the schema that it is in.
pub(super) fn local<'r>(reference: &'r str, own: &str) -> &'r str {
    match reference.strip_prefix(own).filter(|_| !own.is_empty()) {
        Some("") => "#",
        Some(rest) if rest.starts_with('#') => rest,
        _ => reference,
    }
}

/// The schemas of a draft-07 tuple, where `items` is a list.
pub(super) fn is_tuple(map: &Map<String, Value>) -> bool {
    map.get("items").is_some_and(Value::is_array)
}

/// The schema that a part is in, and its name.
struct Whole<'s> {
    schema: &'s Value,
    own: &'s str,
}

impl Whole<'_> {
    /// A reference to where its target is in the modern form.
    fn reference(&self, reference: &str) -> String {
        let reference = local(reference, self.own);
        match reference.strip_prefix('#').filter(|at| at.starts_with('/')) {
            Some(at) => format!("#{}", pointer(self.schema, at).as_str()),
            None => reference.to_owned(),
        }
    }
}

fn rewritten(schema: &Value, whole: &Whole<'_>) -> Value {
    let Value::Object(map) = schema else { return schema.clone() };
    let mut new = Map::new();
    for (key, value) in map {
        let value = match value {
            Value::Array(parts) if MANY.contains(&key.as_str()) => {
                Value::Array(parts.iter().map(|part| rewritten(part, whole)).collect())
            }
            Value::Object(parts) if NAMED.contains(&key.as_str()) => {
                Value::Object(parts.iter().map(|(name, part)| (name.clone(), rewritten(part, whole))).collect())
            }
            Value::Array(names) if ["required", "type"].contains(&key.as_str()) => {
                let is_first = |number: usize| !names[..number].contains(&names[number]);
                Value::Array((0..names.len()).filter(|&n| is_first(n)).map(|n| names[n].clone()).collect())
            }
            part if ONE.contains(&key.as_str()) => rewritten(part, whole),
            Value::String(reference) if ["$ref", "$dynamicRef"].contains(&key.as_str()) => {
                Value::from(whole.reference(reference))
            }
            other => other.clone(),
        };
        if let Some(key) = renamed(map, key) {
            new.insert(key.to_owned(), value);
        }
    }
    for (key, over) in [("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")] {
        match new.get(over) {
            Some(Value::Bool(true)) => {
                let bound = new.remove(key);
                new.remove(over);
                new.extend(bound.map(|bound| (over.to_owned(), bound)));
            }
            Some(Value::Bool(false)) => drop(new.remove(over)),
            _ => {}
        }
    }
    if new.remove("nullable") == Some(Value::Bool(true))
        && let Some(name @ Value::String(_)) = new.get("type")
    {
        let types = vec![name.clone(), Value::from("null")];
        new.insert("type".to_owned(), Value::Array(types));
    }
    Value::Object(new)
}

/// A keyword under its name of today; `None` for one that says nothing any more.
fn renamed<'k>(map: &Map<String, Value>, key: &'k str) -> Option<&'k str> {
    match key {
        "items" if is_tuple(map) => Some("prefixItems"),
        "additionalItems" => is_tuple(map).then_some("items"),
        _ => Some(key),
    }
}

/// Where what is at a place of the given schema is in its modern form.
pub(super) fn pointer(schema: &Value, at: &str) -> Pointer {
    let mut here = Some(schema);
    let mut new = Pointer::root();
    for segment in at.split('/').skip(1) {
        let name = segment.replace("~1", "/").replace("~0", "~");
        let renamed = match here {
            Some(Value::Object(map)) => renamed(map, &name).unwrap_or(&name),
            _ => &name,
        };
        new = new.below(renamed);
        here = match here {
            Some(Value::Object(map)) => map.get(&name),
            Some(Value::Array(list)) => name.parse::<usize>().ok().and_then(|number| list.get(number)),
            _ => None,
        };
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn older_spellings_become_those_of_today_and_values_stay_as_they_are() {
        let given = json!({
            "$schema": "http://json-schema.org/draft-07/schema#",
            "properties": {
                "items": {"type": "array", "items": [{"type": "string"}], "additionalItems": {"minimum": 1, "exclusiveMinimum": true}},
                "n": {"type": "integer", "nullable": true, "maximum": 3, "exclusiveMaximum": false},
                "c": {"const": {"items": [1], "nullable": true}, "nullable": false},
                "r": {"$ref": "#/properties/items/items/0"},
            },
        });
        let expected = json!({
            "properties": {
                "items": {"type": "array", "prefixItems": [{"type": "string"}], "items": {"exclusiveMinimum": 1}},
                "n": {"type": ["integer", "null"], "maximum": 3},
                "c": {"const": {"items": [1], "nullable": true}},
                "r": {"$ref": "#/properties/items/prefixItems/0"},
            },
        });
        assert_eq!(modern(&given), expected);
        for (at, expected) in [
            ("/properties/items/items/0", "/properties/items/prefixItems/0"),
            ("/properties/items/additionalItems", "/properties/items/items"),
            ("/properties/n", "/properties/n"),
        ] {
            assert_eq!(pointer(&given, at).as_str(), expected);
        }
    }
}

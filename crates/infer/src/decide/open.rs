//! Open contracts in words, for the stable part of a prompt.
//!
//! Small models follow a list of fields better than a schema: fields go by name with what is said of them. What has no
//! short description (references that go round, choices between objects) is told by its schema.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use slm_values::contract::Open;

/// Lists of fields inside each other, before a schema says it shorter.
const MAX_DEPTH: usize = 4;
/// Options of a list that are told.
const MAX_OPTIONS: usize = 100;
/// Schemas that are put in words.
const MAX_WORDED: usize = 1000;

/// The contract in words; nothing where its grammar is Lark, about which its author speaks.
#[must_use]
pub fn describe_open(open: &Open) -> Option<String> {
    let Some(schema) = open.schema() else {
        return open.regex_text().map(|regex| {
            format!("Answer with one text that matches the regular expression `{regex}`, and nothing else.")
        });
    };
    Some(in_words(schema).unwrap_or_else(|| {
        format!("Read the message and answer with one line of JSON that satisfies this JSON Schema, and nothing else:\n{schema}")
    }))
}

fn in_words(schema: &Value) -> Option<String> {
    let words = Words { root: schema, n_left: std::cell::Cell::new(MAX_WORDED) };
    let map = words.resolved(schema)?;
    let mut text = String::new();
    if let Some(description) = map.get("description").and_then(Value::as_str) {
        let _ = writeln!(text, "{description}");
    }
    let Some(properties) = map.get("properties").and_then(Value::as_object) else {
        let kind = words.kind(map)?;
        let _ = write!(text, "Answer with JSON, and nothing else: {kind}.");
        return Some(text);
    };
    is_plain_object(map)?;
    let _ = writeln!(
        text,
        "Read the message and answer with one line of JSON, an object of these fields, and nothing else:"
    );
    words.fields(map, properties, 0, &mut text)?;
    Some(text.trim_end().to_owned())
}

struct Words<'s> {
    root: &'s Value,
    /// Schemas that may still be put in words: references can make a small schema grow beyond any size.
    n_left: std::cell::Cell<usize>,
}

impl<'s> Words<'s> {
    fn fields(
        &self,
        object: &'s Map<String, Value>,
        properties: &'s Map<String, Value>,
        depth: usize,
        text: &mut String,
    ) -> Option<()> {
        if depth == MAX_DEPTH {
            return None;
        }
        let required: Vec<&str> =
            object.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        for (name, property) in properties {
            let map = self.resolved(property)?;
            let indent = "  ".repeat(depth);
            let said = property.get("description").or_else(|| map.get("description")).and_then(Value::as_str);
            let said = said.map(|said| format!(" ({said})")).unwrap_or_default();
            let missing =
                if required.contains(&name.as_str()) { "" } else { "; left out where the message does not say it" };
            let inner = map.get("items").and_then(|items| self.resolved(items));
            if let Some(inner_fields) = map.get("properties").and_then(Value::as_object) {
                is_plain_object(map)?;
                let _ = writeln!(text, "{indent}- {name}{said}: an object{missing}, with");
                self.fields(map, inner_fields, depth + 1, text)?;
            } else if let Some((item, fields)) =
                inner.and_then(|item| Some((item, item.get("properties")?.as_object()?)))
            {
                is_plain_object(item)?;
                let number = number_of(map, "minItems", "maxItems", "");
                let _ = writeln!(text, "{indent}- {name}{said}: a list of objects{number}{missing}, each with");
                self.fields(item, fields, depth + 1, text)?;
            } else {
                let _ = writeln!(text, "{indent}- {name}{said}: {}{missing}", self.kind(map)?);
            }
        }
        Some(())
    }

    /// A value in a few words; nothing where it takes more.
    fn kind(&self, map: &'s Map<String, Value>) -> Option<String> {
        if let Some(values) = map.get("enum").and_then(Value::as_array) {
            if values.len() > MAX_OPTIONS {
                return None;
            }
            let values: Vec<String> = values.iter().map(Value::to_string).collect();
            return Some(format!("one of {}", values.join(", ")));
        }
        if let Some(value) = map.get("const") {
            return Some(format!("always {value}"));
        }
        if ["anyOf", "oneOf", "allOf", "not", "patternProperties", "prefixItems"]
            .iter()
            .any(|key| map.contains_key(*key))
        {
            return None;
        }
        match map.get("type") {
            Some(Value::String(name)) => self.typed(name, map),
            Some(Value::Array(names)) => {
                let kinds: Option<Vec<String>> = names.iter().map(|name| self.typed(name.as_str()?, map)).collect();
                Some(kinds?.join(", or "))
            }
            _ => None,
        }
    }

    fn typed(&self, name: &str, map: &'s Map<String, Value>) -> Option<String> {
        Some(match name {
            "string" => match (map.get("format").and_then(Value::as_str), map.get("pattern").and_then(Value::as_str)) {
                (Some("date"), _) => "a date (YYYY-MM-DD)".to_owned(),
                (Some("time"), _) => "a time (HH:MM:SSZ)".to_owned(),
                (Some("date-time"), _) => "a date and time (YYYY-MM-DDTHH:MM:SSZ)".to_owned(),
                (Some("email"), _) => "an e-mail address".to_owned(),
                (Some(format), _) => format!("a text ({format})"),
                (None, Some(pattern)) => format!("a text that matches `{pattern}`"),
                (None, None) => format!("a text{}", number_of(map, "minLength", "maxLength", " characters")),
            },
            "integer" => format!("a whole number{}", range(map)),
            "number" => format!("a number{}", range(map)),
            "boolean" => "true or false".to_owned(),
            "null" => "null".to_owned(),
            "array" => {
                let number = number_of(map, "minItems", "maxItems", "");
                match map.get("items") {
                    None | Some(Value::Bool(true)) => format!("a list{number}"),
                    Some(items) => format!("a list{number}, each {}", self.kind(self.resolved(items)?)?),
                }
            }
            "object" if map.contains_key("properties") => return None,
            "object" => "an object".to_owned(),
            _ => return None,
        })
    }

    /// What a schema's references lead to.
    fn resolved(&self, schema: &'s Value) -> Option<&'s Map<String, Value>> {
        self.n_left.set(self.n_left.get().checked_sub(1)?);
        let mut map = schema.as_object()?;
        for _ in 0..8 {
            let Some(reference) = map.get("$ref") else { return Some(map) };
            map = self.root.pointer(reference.as_str()?.strip_prefix('#')?)?.as_object()?;
        }
        None
    }
}

/// Whether a list of its fields says all of an object.
fn is_plain_object(map: &Map<String, Value>) -> Option<()> {
    let more = ["anyOf", "oneOf", "allOf", "patternProperties", "minProperties", "maxProperties"];
    let is_shut = matches!(map.get("additionalProperties"), None | Some(Value::Bool(false)));
    (is_shut && !more.iter().any(|key| map.contains_key(*key))).then_some(())
}

fn range(map: &Map<String, Value>) -> String {
    let bound = |keys: [&str; 2]| keys.into_iter().find_map(|key| map.get(key)).map(Value::to_string);
    let text = match (bound(["minimum", "exclusiveMinimum"]), bound(["maximum", "exclusiveMaximum"])) {
        (Some(least), Some(most)) => format!(" from {least} to {most}"),
        (Some(least), None) => format!(" from {least} up"),
        (None, Some(most)) => format!(" up to {most}"),
        (None, None) => String::new(),
    };
    let step = map.get("multipleOf").map(|step| format!(", a multiple of {step}")).unwrap_or_default();
    text + &step
}

fn number_of(map: &Map<String, Value>, least: &str, most: &str, unit: &str) -> String {
    let bound = |key: &str| map.get(key).and_then(Value::as_u64);
    match (bound(least).filter(|&n| n > 0), bound(most)) {
        (Some(least), Some(most)) if least == most => format!(" of {least}{unit}"),
        (Some(least), Some(most)) => format!(" of {least} to {most}{unit}"),
        (Some(least), None) => format!(" of at least {least}{unit}"),
        (None, Some(most)) => format!(" of at most {most}{unit}"),
        (None, None) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn words(schema: Value) -> String {
        describe_open(&Open::from_schema(schema).unwrap()).unwrap()
    }

    #[test]
    fn fields_are_listed_with_what_is_said_of_them() {
        let schema = json!({
            "description": "An order.",
            "$defs": {"item": {"type": "object", "properties": {
                "sku": {"type": "string", "pattern": "^[A-Z]{2}$"}, "n": {"type": "integer", "minimum": 1},
            }, "required": ["sku", "n"]}},
            "type": "object",
            "properties": {
                "name": {"type": "string", "description": "who ordered", "maxLength": 40},
                "day": {"type": "string", "format": "date"},
                "items": {"type": "array", "items": {"$ref": "#/$defs/item"}, "minItems": 1, "maxItems": 9},
                "tags": {"type": "array", "items": {"type": "string"}},
                "ship": {"type": "object", "properties": {"fast": {"type": "boolean"}}, "required": ["fast"]},
                "via": {"enum": ["mail", "web"]},
                "total": {"type": ["number", "null"], "minimum": 0, "maximum": 9.5},
            },
            "required": ["name", "items", "tags", "ship", "via", "total"],
        });
        assert_eq!(
            words(schema),
            "An order.\n\
             Read the message and answer with one line of JSON, an object of these fields, and nothing else:\n\
             - name (who ordered): a text of at most 40 characters\n\
             - day: a date (YYYY-MM-DD); left out where the message does not say it\n\
             - items: a list of objects of 1 to 9, each with\n  \
               - sku: a text that matches `^[A-Z]{2}$`\n  \
               - n: a whole number from 1 up\n\
             - tags: a list, each a text\n\
             - ship: an object, with\n  \
               - fast: true or false\n\
             - via: one of \"mail\", \"web\"\n\
             - total: a number from 0 to 9.5, or null"
        );
    }

    #[test]
    fn what_is_no_list_of_fields_is_told_shortly_or_by_its_schema() {
        assert_eq!(words(json!({"type": "object"})), "Answer with JSON, and nothing else: an object.");
        assert_eq!(
            words(json!({"type": "string", "minLength": 2, "maxLength": 2})),
            "Answer with JSON, and nothing else: a text of 2 characters."
        );
        let tree = json!({"$defs": {"t": {"type": "array", "items": {"$ref": "#/$defs/t"}}}, "$ref": "#/$defs/t"});
        assert_eq!(
            words(tree.clone()),
            format!(
                "Read the message and answer with one line of JSON that satisfies this JSON Schema, and nothing else:\n{tree}"
            )
        );
        let regex = Open::regex("[a-z]+").unwrap();
        assert_eq!(
            describe_open(&regex).unwrap(),
            "Answer with one text that matches the regular expression `[a-z]+`, and nothing else."
        );
        assert_eq!(describe_open(&Open::lark("start: \"a\"").unwrap()), None);
    }
}

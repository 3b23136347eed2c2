//! What is wrong with a value of a request's body, in words that name the field and show the value. serde's own words are
//! read and never shown: they speak of Rust's types and of columns.

use serde_json::Value;

/// Texts of others are shown to this length.
const MAX_SHOWN: usize = 60;

/// What serde_json says where a word of an enum is due and something else comes.
pub(super) const NO_WORD: &str = "expected value";

/// What serde said of a value, taken apart.
#[derive(Debug, PartialEq, Eq)]
enum Mistake<'w> {
    /// It is of another type; what was found, and the type that it must have, in serde's words.
    Type {
        found: &'w str,
        expected: &'w str,
    },
    /// It is of the right type, and still not one that can be.
    Value {
        found: &'w str,
        expected: &'w str,
    },
    /// A word that is not one of those that serde lists.
    Word {
        found: &'w str,
        known: &'w str,
    },
    /// A field that must be there is not.
    Missing(&'w str),
    Unknown(&'w str),
    /// Words of this house.
    Own(&'w str),
}

impl Mistake<'_> {
    fn of(words: &str) -> Mistake<'_> {
        let words = without_place(words);
        let first_quoted = |rest: &'_ str| rest.find('`').unwrap_or(rest.len());
        if let Some(rest) = words.strip_prefix("missing field `") {
            return Mistake::Missing(&rest[..first_quoted(rest)]);
        }
        if let Some(rest) = words.strip_prefix("unknown field `") {
            return Mistake::Unknown(&rest[..first_quoted(rest)]);
        }
        let both = |prefix: &str| words.strip_prefix(prefix)?.rsplit_once(", expected ");
        if let Some((found, known)) = both("unknown variant ") {
            return Mistake::Word {
                found: found.trim_matches('`'),
                known: known.strip_prefix("one of ").unwrap_or(known),
            };
        }
        if let Some((found, expected)) = both("invalid type: ") {
            return Mistake::Type { found, expected };
        }
        match both("invalid value: ").or_else(|| both("invalid length ")) {
            Some((found, expected)) => Mistake::Value { found, expected },
            None => Mistake::Own(words),
        }
    }
}

/// The mistake that serde found in the object or value at `place` (`None` is the whole body), and the place of the field at
/// fault. Where an object's type is told by one of its fields, serde has lost the places within it.
pub(super) fn describe(words: &str, place: Option<&str>, value: &Value) -> (String, Option<String>) {
    let here = place.map(str::to_owned);
    let called = place.map_or_else(|| "the body".to_owned(), |place| format!("`{place}`"));
    let below = |name: &str| match place {
        Some(place) if place == name || place.ends_with(&format!(".{name}")) => place.to_owned(),
        Some(place) => format!("{place}.{name}"),
        None => name.to_owned(),
    };
    let message = match Mistake::of(words) {
        _ if without_place(words) == NO_WORD => format!("{called} is {}; give a text", shown(value)),
        Mistake::Missing(name) if value.get(name).is_some() => format!("`{name}` is missing within {called}"),
        Mistake::Missing(name) => {
            let field = place.map_or_else(|| name.to_owned(), |place| format!("{place}.{name}"));
            return (format!("`{field}` is missing"), Some(field));
        }
        Mistake::Unknown(name) => {
            let field = below(name);
            return (format!("`{field}` is not known here; remove it"), Some(field));
        }
        Mistake::Type { found, expected } if is_found(found, value) => {
            format!("{called} is {}; give {}", shown(value), ours(expected))
        }
        Mistake::Type { found, expected } => {
            format!("a value within {called} is {}; give {}", of_words(found), ours(expected))
        }
        Mistake::Word { known, .. } if value.is_string() => {
            format!("{called} cannot be {}; give {}", quoted(value), choice(known))
        }
        Mistake::Word { found, known } => {
            format!("a value within {called} cannot be {}; give {}", quoted(&found.into()), choice(known))
        }
        Mistake::Value { expected, .. } if !value.is_object() => {
            format!("{called} is {}; give {}", quoted(value), ours(expected))
        }
        Mistake::Value { found, expected } => {
            format!("a value within {called} is {}; give {}", of_words(found), ours(expected))
        }
        Mistake::Own(words) if place.is_some() => format!("{called}: {words}"),
        Mistake::Own(words) => words.to_owned(),
    };
    (message, here)
}

/// Whether what serde found can be this value, and not one within it.
fn is_found(found: &str, value: &Value) -> bool {
    match value {
        Value::Null => found == "null" || found.starts_with("unit"),
        Value::Bool(_) => found.starts_with("boolean"),
        Value::Number(_) => found.starts_with("integer") || found.starts_with("floating point") || found == "number",
        Value::String(_) => found.starts_with("string"),
        Value::Array(_) => found == "sequence",
        Value::Object(_) => found == "map",
    }
}

/// What serde found, in our words.
fn of_words(found: &str) -> String {
    match found.split_once(' ') {
        _ if found == "sequence" => "a list".to_owned(),
        _ if found == "map" => "an object".to_owned(),
        _ if found.starts_with("unit") => "null".to_owned(),
        Some(("boolean", value)) => value.trim_matches('`').to_owned(),
        Some(("integer", value)) => format!("{}, a number", value.trim_matches('`')),
        Some(("floating", value)) => format!("{}, a number", value.trim_start_matches("point ").trim_matches('`')),
        Some(("string", value)) => format!("{}, a text", quoted(&value.trim_matches('"').into())),
        _ => found.to_owned(),
    }
}

/// The words without the line and column after them.
fn without_place(words: &str) -> &str {
    match words.rfind(" at line ") {
        Some(at) if words[at..].contains(" column ") => &words[..at],
        _ => words,
    }
}

/// What serde expected, in our words.
fn ours(expected: &str) -> &str {
    match expected {
        "f64" | "f32" | "a JSON number" => "a number",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number of at least 0",
        "a boolean" => "true or false",
        "a string" | "string or map" => "a text",
        "a string or a list" => "a text or a list",
        "a sequence" => "a list",
        "a map" => "an object",
        expected if expected.starts_with("struct ") => "an object",
        "variant identifier" => "a text that says what it is",
        expected if expected.starts_with("internally tagged enum") => "an object",
        expected => expected,
    }
}

/// Words that serde lists, to choose from.
fn choice(known: &str) -> String {
    match known.rsplit_once(", ") {
        Some((first, last)) => format!("{first} or {last}"),
        None => known.to_owned(),
    }
}

/// A value with its kind, where it does not show that by itself.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => value.to_string(),
        Value::Number(number) => format!("{number}, a number"),
        Value::String(_) => format!("{}, a text", quoted(value)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// A value as JSON writes it, at most as long as a reader wants.
fn quoted(value: &Value) -> String {
    let json = value.to_string();
    match json.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &json[..end]),
        None => json,
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::{Map, Value, json};

    use crate::api::body::json::parse;
    use crate::api::fields::{TextOr, Whole};
    use slm_values::keep_alive::KeepAlive;

    #[derive(Debug, Deserialize)]
    #[allow(dead_code)]
    struct Wire {
        #[serde(default)]
        within: Vec<Types>,
        #[serde(flatten)]
        rest: Map<String, Value>,
    }

    /// A field of every type that requests have.
    #[derive(Debug, Deserialize)]
    #[allow(dead_code)]
    struct Types {
        text: Option<String>,
        real: Option<f64>,
        whole: Option<Whole>,
        count: Option<u32>,
        flag: Option<bool>,
        number: Option<serde_json::Number>,
        list: Option<Vec<String>>,
        either: Option<TextOr<String>>,
        object: Option<Map<String, Value>>,
        word: Option<Word>,
        one: Option<Only>,
        inner: Option<Inner>,
        tagged: Option<Tagged>,
        keep_alive: Option<KeepAlive>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Word {
        Low,
        Medium,
        High,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Only {
        Auto,
    }

    #[derive(Debug, Deserialize)]
    #[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
    #[allow(dead_code)]
    enum Tagged {
        Choice { name: String, levels: Option<Vec<Inner>> },
    }

    #[derive(Debug, Deserialize)]
    #[allow(dead_code)]
    struct Inner {
        name: String,
    }

    fn refused(name: &str, value: &Value) -> Option<(String, Option<String>)> {
        let error = parse::<Wire>(&json!({"within": [{}, {name: value}]}).to_string()).err()?;
        Some((error.to_string(), error.field().map(str::to_owned)))
    }

    const NAMES: [&str; 14] = [
        "text",
        "real",
        "whole",
        "count",
        "flag",
        "number",
        "list",
        "either",
        "object",
        "word",
        "one",
        "inner",
        "tagged",
        "keep_alive",
    ];

    #[test]
    fn a_value_of_another_type_is_shown_with_the_type_that_it_must_have() {
        for (name, value, message) in [
            ("text", json!(5), "is 5, a number; give a text"),
            ("text", json!(true), "is true; give a text"),
            ("text", json!([]), "is a list; give a text"),
            ("real", json!("0.7"), "is \"0.7\", a text; give a number"),
            ("real", json!({}), "is an object; give a number"),
            ("whole", json!("7"), "is \"7\", a text; give a whole number"),
            ("whole", json!(7.5), "is 7.5; give a whole number"),
            ("count", json!(-1), "is -1; give a whole number of at least 0"),
            ("flag", json!("true"), "is \"true\", a text; give true or false"),
            ("flag", json!(1), "is 1, a number; give true or false"),
            ("number", json!("7"), "is \"7\", a text; give a number"),
            ("list", json!("a"), "is \"a\", a text; give a list"),
            ("either", json!(1), "is 1, a number; give a text or a list"),
            ("object", json!([1]), "is a list; give an object"),
            ("word", json!("much"), "cannot be \"much\"; give `low`, `medium` or `high`"),
            ("word", json!(5), "is 5, a number; give a text"),
            ("word", json!({"low": 1, "b": 2}), "is an object; give a text"),
            ("one", json!("none"), "cannot be \"none\"; give `auto`"),
            ("inner", json!("a"), "is \"a\", a text; give an object"),
        ] {
            let field = format!("within[1].{name}");
            assert_eq!(refused(name, &value), Some((format!("`{field}` {message}"), Some(field))), "{value}");
        }
        let missing = "within[1].inner.name";
        assert_eq!(refused("inner", &json!({})), Some((format!("`{missing}` is missing"), Some(missing.to_owned()))));
        let item = "within[1].list[1]";
        let expected = format!("`{item}` is null; give a text");
        assert_eq!(refused("list", &json!(["a", null])), Some((expected, Some(item.to_owned()))));
    }

    #[test]
    fn a_value_is_named_as_well_as_it_can_be_where_its_place_is_lost() {
        let at = "within[1].tagged";
        for (value, message, field) in [
            (json!("x"), format!("`{at}` is \"x\", a text; give an object"), at.to_owned()),
            (json!([1]), format!("`{at}[0]` is 1, a number; give a text that says what it is"), format!("{at}[0]")),
            (json!({}), format!("`{at}.type` is missing"), format!("{at}.type")),
            (json!({"type": "choice"}), format!("`{at}.name` is missing"), format!("{at}.name")),
            (
                json!({"type": 5}),
                format!("`{at}.type` is 5, a number; give a text that says what it is"),
                format!("{at}.type"),
            ),
            (json!({"type": "x"}), format!("`{at}.type` cannot be \"x\"; give `choice`"), format!("{at}.type")),
            (
                json!({"type": "choice", "name": [1]}),
                format!("a value within `{at}` is a list; give a text"),
                at.to_owned(),
            ),
            (
                json!({"type": "choice", "name": 1.5}),
                format!("a value within `{at}` is 1.5, a number; give a text"),
                at.to_owned(),
            ),
            (
                json!({"type": "choice", "name": "a", "levels": [{}]}),
                format!("`name` is missing within `{at}`"),
                at.to_owned(),
            ),
            (
                json!({"type": "choice", "name": "a", "colour": 1}),
                format!("`{at}.colour` is not known here; remove it"),
                format!("{at}.colour"),
            ),
        ] {
            assert_eq!(refused("tagged", &value), Some((message, Some(field))), "{value}");
        }
    }

    #[test]
    fn no_message_speaks_of_rust_or_of_columns() {
        let long = "y".repeat(5000);
        let values =
            [json!("x"), json!(long), json!(-5), json!(1.5), json!(true), json!([{}]), json!({"a": "b"}), json!(1e300)];
        let mut n_refused = 0;
        for name in NAMES {
            for value in &values {
                let Some((message, field)) = refused(name, value) else { continue };
                n_refused += 1;
                assert!(
                    field.is_some_and(|field| message.contains(&format!("`{field}`"))),
                    "{name} {value}: {message}"
                );
                let foreign =
                    ["invalid", "expected", "variant", "struct", "f64", "u32", "i64", "column", "sequence", "map"];
                assert!(!foreign.iter().any(|word| message.contains(word)), "{name}: {message}");
                assert!(message.len() < 300, "{name}: {message}");
            }
        }
        assert!(n_refused > 60, "{n_refused}");
    }
}

//! Labels: when two JSON values are the same label, what a CSV cell stands for, how a label is shown; it counts nothing.

use serde_json::Value;

/// What a row expects of one field.
#[derive(Debug, Clone, PartialEq)]
pub enum Expected {
    /// A typed value, as JSONL has it.
    Json(Value),
    /// A cell of a CSV file: text, whose type is the one of the answers that it is compared with.
    Text(String),
}

impl Expected {
    /// The label that is meant, where the field's answers are among `candidates`.
    ///
    /// A typed value is itself. Text is the string candidate of exactly that text, else the candidate that it reads as:
    /// a number by its value (`2`, `2.0`), `true` and `false` in any case, `null` also as an empty cell. Text that reads
    /// as no candidate is a number where there are numbers among them, else a string.
    #[must_use]
    pub fn resolve(&self, candidates: &[Value]) -> Value {
        let text = match self {
            Expected::Json(value) => return value.clone(),
            Expected::Text(text) => text,
        };
        let exact = candidates.iter().find(|c| c.as_str() == Some(text));
        if let Some(value) = exact.or_else(|| candidates.iter().find(|c| reads_as(text.trim(), c))) {
            return value.clone();
        }
        match text.trim().parse::<serde_json::Number>() {
            Ok(number) if candidates.iter().any(Value::is_number) => Value::Number(number),
            _ => Value::String(text.clone()),
        }
    }

    /// The index of the candidate that equals the label; `None` if there is none.
    #[must_use]
    pub fn among(&self, candidates: &[Value]) -> Option<usize> {
        let label = key(&self.resolve(candidates));
        candidates.iter().position(|candidate| key(candidate) == label)
    }
}

/// A text that is equal for two values exactly when they are the same label: numbers by value, all else as JSON.
#[must_use]
pub fn key(value: &Value) -> String {
    match value.as_f64() {
        // Below 2^53 whole numbers are exact in both forms, so that 2 and 2.0 meet; adding 0 takes the sign off -0.
        Some(x) if x.fract() == 0.0 && x.abs() < 9_007_199_254_740_992.0 => format!("{:.0}", x + 0.0),
        _ => value.to_string(),
    }
}

/// The label for a person: a string bare, or in quotes where it would look like another type; control characters and
/// changes of writing direction are spelled out, because labels come from files.
#[must_use]
pub fn show(value: &Value) -> String {
    match value {
        Value::String(text) if !text.is_empty() && serde_json::from_str::<Value>(text).is_err() => harmless(text),
        other => harmless(&other.to_string()),
    }
}

/// `text` on one line, with nothing in it that a terminal obeys.
#[must_use]
pub fn harmless(text: &str) -> String {
    let obeyed = |c: char| {
        c.is_control() || matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().flat_map(|c| if obeyed(c) { c.escape_default().collect() } else { vec![c] }).collect()
}

fn reads_as(text: &str, candidate: &Value) -> bool {
    match candidate {
        Value::Null => text.is_empty() || text.eq_ignore_ascii_case("null"),
        Value::Bool(b) => text.eq_ignore_ascii_case(if *b { "true" } else { "false" }),
        Value::Number(_) => text.parse::<serde_json::Number>().is_ok_and(|n| key(&Value::Number(n)) == key(candidate)),
        Value::String(_) | Value::Array(_) | Value::Object(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{Expected, key, show};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    #[test]
    fn a_cell_takes_the_type_of_the_answers() {
        let check = |text: &str, candidates: Value, expect: Value| {
            let candidates = candidates.as_array().expect("the test passes a list").clone();
            assert_eq!(Expected::Text(text.to_owned()).resolve(&candidates), expect, "{text:?} among {candidates:?}");
        };
        check("2", json!([1, 2, 3]), json!(2));
        check(" 2.0 ", json!([1, 2, 3]), json!(2));
        check("2", json!(["1", "2"]), json!("2"));
        check("4", json!([1, 2, 3]), json!(4));
        check("high", json!([1, 2, 3]), json!("high"));
        check("true", json!([true, false]), json!(true));
        check("False", json!([true, false]), json!(false));
        check("true", json!(["true", true]), json!("true"));
        check("yes", json!([true, false]), json!("yes"));
        check("", json!(["a", null]), json!(null));
        check("", json!(["", null]), json!(""));
        check("null", json!(["a", null]), json!(null));
        check(" a", json!(["a"]), json!(" a"));
        check("2", json!([]), json!("2"));
    }

    #[test]
    fn a_typed_value_keeps_its_type() {
        assert_eq!(Expected::Json(json!("2")).resolve(&[json!(2)]), json!("2"));
        assert_ne!(key(&json!("2")), key(&json!(2)));
        assert_ne!(key(&json!("true")), key(&json!(true)));
        assert_ne!(key(&json!(null)), key(&json!("null")));
        assert_eq!(key(&json!(2)), key(&json!(2.0)));
        assert_eq!(key(&json!(-0.0)), key(&json!(0)));
        assert_ne!(key(&json!(10)), key(&json!(-10)));
        assert_ne!(key(&json!(9_007_199_254_740_993_u64)), key(&json!(9_007_199_254_740_992_u64)));
    }

    #[test]
    fn a_label_is_shown_bare_unless_it_looks_like_another_type() {
        assert_eq!(show(&json!("billing")), "billing");
        assert_eq!(show(&json!("2")), "\"2\"");
        assert_eq!(show(&json!(2)), "2");
        assert_eq!(show(&json!("null")), "\"null\"");
        assert_eq!(show(&json!("")), "\"\"");
        assert_eq!(show(&json!("a\u{1b}[31m\nb\u{202e}")), "a\\u{1b}[31m\\nb\\u{202e}");
    }

    proptest! {
        #[test]
        fn numbers_are_the_same_label_by_value(a in -1_000_000_i64..1_000_000, b in -1_000_000_i64..1_000_000) {
            #[allow(clippy::cast_precision_loss)]
            let float = json!(b as f64);
            prop_assert_eq!(key(&json!(a)) == key(&float), a == b);
            prop_assert_eq!(Expected::Text(a.to_string()).resolve(&[float.clone(), json!(a)]) == json!(a), a != b);
        }

        #[test]
        fn what_is_shown_has_no_control_character(text in any::<String>()) {
            prop_assert!(!show(&json!(text)).chars().any(char::is_control));
        }
    }
}

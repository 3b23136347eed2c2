//! Labelled texts, a JSON object on each line: what `EXAMPLES` of a Modelfile names, and what the store keeps of it. It knows no
//! model and no format of answers.

use serde_json::{Value, json};

/// A text with the answer that it should get.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelledText {
    pub text: String,
    /// Any JSON but `null`.
    pub label: Value,
}

/// Why lines are not labelled texts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExamplesError {
    #[error("line {line} is not a JSON object: {reason}")]
    NotObject { line: usize, reason: String },
    #[error("line {line} has no `{key}`; name the key of its {part} with `{part}=KEY`")]
    Missing { line: usize, key: String, part: &'static str },
    #[error("line {line}: `{key}` is not a text")]
    NotText { line: usize, key: String },
    #[error("there are no examples in it")]
    Empty,
}

impl LabelledText {
    /// The answer as a person writes it: a text without quotes, anything else as JSON.
    #[must_use]
    pub fn answer(&self) -> String {
        self.label.as_str().map_or_else(|| self.label.to_string(), str::to_owned)
    }
}

/// The labelled texts of a file, in its order; empty lines do not count.
///
/// # Errors
/// [`ExamplesError`] with the line, counted from 1.
pub fn read(lines: &str, text_key: &str, label_key: &str) -> Result<Vec<LabelledText>, ExamplesError> {
    let mut rows = Vec::new();
    for (line, row) in (1..).zip(lines.lines()).filter(|(_, row)| !row.trim().is_empty()) {
        let not_object = |reason: String| ExamplesError::NotObject { line, reason };
        let mut row = match serde_json::from_str(row) {
            Ok(Value::Object(row)) => row,
            Ok(other) => return Err(not_object(format!("it is `{}`", short(&other)))),
            Err(error) => return Err(not_object(error.to_string())),
        };
        let missing = |key: &str, part| ExamplesError::Missing { line, key: key.to_owned(), part };
        let text = match row.get(text_key) {
            Some(Value::String(text)) => text.clone(),
            Some(_) => return Err(ExamplesError::NotText { line, key: text_key.to_owned() }),
            None => return Err(missing(text_key, "text")),
        };
        let label = row.remove(label_key).filter(|label| !label.is_null());
        rows.push(LabelledText { text, label: label.ok_or_else(|| missing(label_key, "label"))? });
    }
    if rows.is_empty() { Err(ExamplesError::Empty) } else { Ok(rows) }
}

/// The lines that [`read`] reads back with the keys `text` and `label`.
#[must_use]
pub fn written(rows: &[LabelledText]) -> String {
    rows.iter().map(|row| format!("{}\n", json!({"text": row.text, "label": row.label}))).collect()
}

fn short(value: &Value) -> String {
    value.to_string().chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_are_read_under_their_keys() {
        let rows = read(
            "{\"message\": \"a\", \"intent\": \"b\", \"x\": 1}\n\n{\"message\": \"c\", \"intent\": {\"d\": 1}}\n",
            "message",
            "intent",
        );
        let rows = rows.unwrap();
        assert_eq!(rows.iter().map(LabelledText::answer).collect::<Vec<_>>(), ["b", "{\"d\":1}"]);
        assert_eq!(read(&written(&rows), "text", "label").unwrap(), rows);
        for (lines, said) in [
            ("", "there are no examples in it"),
            ("[1]", "line 1 is not a JSON object: it is `[1]`"),
            ("\n{", "line 2 is not a JSON object: EOF while parsing an object at line 1 column 1"),
            ("{\"text\": \"a\"}", "line 1 has no `label`; name the key of its label with `label=KEY`"),
            ("{\"text\": \"a\", \"label\": null}", "line 1 has no `label`; name the key of its label with `label=KEY`"),
            ("{\"label\": 1}", "line 1 has no `text`; name the key of its text with `text=KEY`"),
            ("{\"text\": 1, \"label\": 1}", "line 1: `text` is not a text"),
        ] {
            assert_eq!(read(lines, "text", "label").unwrap_err().to_string(), said);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(texts in prop::collection::vec(any::<String>(), 1..9), n in any::<i64>()) {
            let labels = [json!(n), json!("a"), json!({"b": [n]})];
            let row = |(i, text): (usize, &String)| LabelledText { text: text.clone(), label: labels[i % 3].clone() };
            let rows: Vec<LabelledText> = texts.iter().enumerate().map(row).collect();
            prop_assert_eq!(read(&written(&rows), "text", "label"), Ok(rows));
        }

        #[test]
        fn any_text_is_read_or_refused(lines in any::<String>()) {
            let _ = read(&lines, "text", "label");
        }
    }
}

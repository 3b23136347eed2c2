//! A record's text, out of a plain line, a JSON object or a table's row, and what is written in its place.

use serde_json::{Map, Value, json};

use super::boundary::Boundary;
use super::records::Record;
use super::table::Table;

/// What the records of an input are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// Texts.
    Lines,
    /// JSON objects with the text in this field: its name, or a JSON pointer (RFC 6901).
    Objects { field: String },
    /// Rows of a table, the first of which is its header.
    Table(Box<Table>),
}

/// A record with its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The record's line, from 1.
    pub line: u64,
    /// The JSON object or the table's row that the text came from, as it was written.
    pub source: Option<String>,
    pub text: String,
}

/// A record without a text that could be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRow {
    pub line: u64,
    /// The JSON object, where the record is one, or the table's row.
    pub source: Option<String>,
    pub reason: String,
}

impl Form {
    /// How records of this form are told apart.
    #[must_use]
    pub fn boundary(&self) -> Boundary {
        match self {
            Form::Lines | Form::Objects { .. } => Boundary::Lines,
            Form::Table(table) => Boundary::of_table(table.delimiter),
        }
    }

    /// The text of a record.
    ///
    /// # Errors
    /// What is wrong with the record, and what of it can be written back.
    pub fn row(&self, record: Record) -> Result<Row, BadRow> {
        let line = record.line;
        let bad = |source, reason| BadRow { line, source, reason };
        let text = record.text.map_err(|reason| bad(None, reason))?;
        let field = match self {
            Form::Lines if text.trim().is_empty() => return Err(bad(None, "the line is empty".to_owned())),
            Form::Lines => return Ok(Row { line, source: None, text }),
            Form::Table(table) => {
                return match table.text(&text) {
                    Ok(found) => Ok(Row { line, text: found, source: Some(text) }),
                    Err(reason) => Err(bad(Some(text), reason)),
                };
            }
            Form::Objects { field } => field,
        };
        let object: Map<String, Value> = match serde_json::from_str(&text) {
            Ok(Value::Object(object)) => object,
            Ok(_) => return Err(bad(None, "this line is JSON but not an object".to_owned())),
            Err(error) => return Err(bad(None, format!("the line is not JSON: {}", in_line(&error)))),
        };
        match text_of(&object, field) {
            Ok(found) => Ok(Row { line, text: found.to_owned(), source: Some(text) }),
            Err(reason) => Err(bad(Some(text), reason)),
        }
    }
}

/// The text of a record that can be answered.
fn text_of<'o>(object: &'o Map<String, Value>, field: &str) -> Result<&'o str, String> {
    let text = match field_of(object, field) {
        Some(Value::String(text)) if !text.trim().is_empty() => text,
        Some(Value::String(_)) => return Err(format!("`{field}` is empty")),
        Some(value) => return Err(format!("`{field}` is {}, not a string", described(value))),
        None if object.is_empty() => return Err(format!("there is no field `{field}`; the record is empty")),
        None => {
            let names: Vec<String> = object.keys().take(20).map(|name| format!("`{name}`")).collect();
            return Err(format!("there is no field `{field}`; the record has {}", names.join(", ")));
        }
    };
    if object.contains_key("answer") { Err("the record has a field `answer` already".to_owned()) } else { Ok(text) }
}

fn described(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// serde_json places an error in a text of one line, and our line number is another.
fn in_line(error: &serde_json::Error) -> String {
    error.to_string().replace(" at line 1 column", " at column")
}

/// A field by its name, or by a JSON pointer (RFC 6901).
fn field_of<'o>(object: &'o Map<String, Value>, field: &str) -> Option<&'o Value> {
    if let Some(value) = object.get(field) {
        return Some(value);
    }
    let path = field.strip_prefix('/')?;
    let first = path.split('/').next().unwrap_or_default();
    let value = object.get(&first.replace("~1", "/").replace("~0", "~"))?;
    value.pointer(&path[first.len()..])
}

/// A record's object with one more field at its end. The rest stays as it was written: parsed and printed again, a long
/// number would lose digits.
#[must_use]
pub fn extended(object: &str, name: &str, value: &Value) -> String {
    let open = open(object);
    let comma = if open.ends_with('{') { "" } else { "," };
    format!("{open}{comma}{}:{value}}}", Value::from(name))
}

/// An object as it was written, up to behind its last field.
fn open(object: &str) -> &str {
    let object = object.trim();
    object.strip_suffix('}').unwrap_or(object).trim_end()
}

/// The object that stands in a bad record's place: the record with `error`, or its line's number with it.
#[must_use]
pub fn error_object(line: u64, object: Option<&str>, reason: &str) -> String {
    // A record that has an `error` of its own keeps it elsewhere: in the input, at this line.
    let has_error = |text: &&str| serde_json::from_str(text).is_ok_and(|o: Map<String, Value>| o.contains_key("error"));
    match object.filter(|text| !has_error(text)) {
        Some(object) => extended(object, "error", &reason.into()),
        None => json!({"line": line, "error": reason}).to_string(),
    }
}

/// Whether a written line can be the one that stands in a record's place; a text's answer does not show whose it is.
#[must_use]
pub fn stands_for(written: &str, form: &Form, record: Record) -> bool {
    let row = form.row(record);
    let is_bad = row.is_err();
    let (Ok(Row { line, source, .. }) | Err(BadRow { line, source, .. })) = row;
    match form {
        Form::Lines => true,
        // A row with too few or too many cells is written without them.
        Form::Table(_) => source.is_some_and(|row| is_bad || written.starts_with(&row)),
        // Behind the record comes at least one more field; an object without fields has none to tell.
        Form::Objects { .. } => {
            source.is_some_and(|object| written.starts_with(open(&object)))
                || written.starts_with(&format!("{{\"line\":{line},"))
        }
    }
}

/// A text on one line: one record is one line, whatever its answer holds.
#[must_use]
pub fn one_line(text: &str) -> String {
    text.replace('\n', "\\n").replace('\r', "\\r")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_keeps_its_own_writing() {
        let with = |record: &str| extended(record, "answer", &json!("a"));
        assert_eq!(
            with(r#" {"id": 12345678901234567890123, "x": 1.10} "#),
            r#"{"id": 12345678901234567890123, "x": 1.10,"answer":"a"}"#
        );
        assert_eq!([with("{}"), with("{ }")], [r#"{"answer":"a"}"#, r#"{"answer":"a"}"#]);
        assert_eq!(with(r#"{"a":{}}"#), r#"{"a":{},"answer":"a"}"#);
        assert_eq!(with(r#"{"a":"{" }"#), r#"{"a":"{","answer":"a"}"#);
    }

    #[test]
    fn fields_are_found_by_name_first_and_then_by_pointer() {
        let record = json!({"a": {"b/c": [7, {"~": 8}], "": 9}, "/a": 1, "": {"x": 2}});
        let found = |field: &str| field_of(record.as_object().unwrap(), field).cloned();
        assert_eq!(found("/a"), Some(json!(1)));
        assert_eq!([found("/a/b~1c/0"), found("/a/b~1c/1/~0")], [Some(json!(7)), Some(json!(8))]);
        assert_eq!([found("/a/"), found("//x"), found("")], [Some(json!(9)), Some(json!(2)), Some(json!({"x": 2}))]);
        assert_eq!([found("/b"), found("b"), found("/a/b/c")], [None, None, None]);
    }
}

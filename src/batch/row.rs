//! A record's text, out of a plain line, a JSON object or text, or a table's row, and what is written in its place.

use serde_json::{Map, Value, json};

use super::boundary::Boundary;
use super::records::{Record, RecordPlace};
use super::table::Table;

/// What the records of an input are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// Texts.
    Lines,
    /// JSON objects with the text in this field: its name, or a JSON pointer (RFC 6901). A text alone stands for an object that
    /// has only this field.
    Objects { field: String, added: AddedNames },
    /// Rows of a table, the first of which is its header.
    Table(Box<Table>),
}

/// What is added to a JSON object that is written back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddedNames {
    /// The parts of its answer; a record that has one of these already is refused.
    pub answer: Vec<String>,
    /// What keeps it from its answer.
    pub error: String,
}

/// A record with its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub place: RecordPlace,
    /// The JSON object or the table's row that the text came from, as it was written.
    pub source: Option<String>,
    pub text: String,
}

/// A record without a text that could be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRow {
    pub place: RecordPlace,
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
        let place = record.place;
        let bad = |source, reason| BadRow { place, source, reason };
        let text = record.text.map_err(|reason| bad(None, reason))?;
        let (field, added) = match self {
            Form::Lines if text.trim().is_empty() => return Err(bad(None, "the line is empty".to_owned())),
            Form::Lines => return Ok(Row { place, source: None, text }),
            Form::Table(table) => {
                return match table.text(&text) {
                    Ok(found) => Ok(Row { place, text: found, source: Some(text) }),
                    Err(reason) => Err(bad(Some(text), reason)),
                };
            }
            Form::Objects { field, added } => (field, added),
        };
        let (object, source) = object_of(text, field, place).map_err(|reason| bad(None, reason))?;
        match text_of(&object, field, added) {
            Ok(found) => Ok(Row { place, text: found.to_owned(), source: Some(source) }),
            Err(reason) => Err(bad(Some(source), reason)),
        }
    }
}

/// The object of a record, and how it is written back: on one line.
fn object_of(text: String, field: &str, place: RecordPlace) -> Result<(Map<String, Value>, String), String> {
    let what = if place.element.is_some() { "element" } else { "line" };
    match serde_json::from_str(&text) {
        Ok(Value::Object(object)) => Ok((object, joined(text))),
        Ok(Value::String(text)) => {
            let object = Map::from_iter([(field.to_owned(), Value::from(text))]);
            let written = Value::from(object.clone()).to_string();
            Ok((object, written))
        }
        Ok(_) => Err(format!("this {what} is JSON but not an object")),
        Err(error) => Err(format!("the {what} is not JSON: {}", placed(&error, place))),
    }
}

/// A JSON text without line ends, which stand between its parts only: in a string they would be escaped.
fn joined(text: String) -> String {
    if !text.contains(['\n', '\r']) {
        return text;
    }
    text.split(['\n', '\r'])
        .map(|line| line.trim_matches([' ', '\t']))
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// The text of a record that can be answered.
fn text_of<'o>(object: &'o Map<String, Value>, field: &str, added: &AddedNames) -> Result<&'o str, String> {
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
    match added.answer.iter().find(|name| object.contains_key(*name)) {
        Some(name) => Err(format!("the record has a field `{name}` already")),
        None => Ok(text),
    }
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

/// What serde_json says of a record's text, placed in the whole input: its own lines begin with the record.
fn placed(error: &serde_json::Error, place: RecordPlace) -> String {
    let (line, column) = (error.line(), error.column());
    let said = error.to_string();
    let what = said.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&said);
    match (place.element, line) {
        (None, _) => format!("{what} at column {column}"),
        (Some(_), 0 | 1) => format!("{what} at column {column} of the element"),
        (Some(_), _) => format!("{what} at line {} column {column}", place.line + line as u64 - 1),
    }
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

/// A record's object with more fields at its end. The rest stays as it was written: parsed and printed again, a long number would
/// lose digits.
#[must_use]
pub fn extended(object: &str, more: &Map<String, Value>) -> String {
    let mut written = open(object).to_owned();
    for (name, value) in more {
        let comma = if written.ends_with('{') { "" } else { "," };
        written += &format!("{comma}{}:{value}", Value::from(name.as_str()));
    }
    written + "}"
}

/// An object as it was written, up to behind its last field.
fn open(object: &str) -> &str {
    let object = object.trim();
    object.strip_suffix('}').unwrap_or(object).trim_end()
}

/// The object that stands in a bad record's place: the record with the reason under `error` and `more`, or where it is with these.
#[must_use]
pub fn error_object(row: &BadRow, error: &str, more: Map<String, Value>) -> String {
    let mut added = Map::from_iter([(error.to_owned(), row.reason.as_str().into())]);
    added.extend(more);
    // A record that has one of these itself keeps it elsewhere: in the input, at this place.
    let has_one = |text: &&str| {
        serde_json::from_str(text).is_ok_and(|own: Map<String, Value>| added.keys().any(|name| own.contains_key(name)))
    };
    match row.source.as_deref().filter(|text| !has_one(text)) {
        Some(object) => extended(object, &added),
        None => extended(&place_object(row.place), &added),
    }
}

/// An object that says where a record is.
fn place_object(place: RecordPlace) -> String {
    match place.element {
        Some(element) => json!({"element": element, "line": place.line}).to_string(),
        None => json!({"line": place.line}).to_string(),
    }
}

/// Whether a written line can be the one that stands in a record's place; a text's answer does not show whose it is.
#[must_use]
pub fn stands_for(written: &str, form: &Form, record: Record) -> bool {
    let row = form.row(record);
    let is_bad = row.is_err();
    let (Ok(Row { place, source, .. }) | Err(BadRow { place, source, .. })) = row;
    match form {
        Form::Lines => true,
        // A row with too few or too many cells is written without them.
        Form::Table(_) => source.is_some_and(|row| is_bad || written.starts_with(&row)),
        // Behind the record comes at least one more field; an object without fields has none to tell.
        Form::Objects { .. } => {
            source.is_some_and(|object| written.starts_with(open(&object)))
                || written.starts_with(&format!("{},", open(&place_object(place))))
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
        let with = |record: &str| extended(record, &Map::from_iter([("answer".to_owned(), json!("a"))]));
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

    #[test]
    fn elements_of_an_array_are_objects_and_texts() {
        let added = AddedNames { answer: vec!["answer".to_owned()], error: "error".to_owned() };
        let form = Form::Objects { field: "body".to_owned(), added };
        let place = RecordPlace { line: 5, element: Some(3) };
        let row = |text: &str| {
            let digest = crate::digest::Digest::of(b"");
            form.row(Record { place, end: 0, digest, text: Ok(text.to_owned()) })
        };
        let read = row("{\n  \"id\": 1.10,\r\n\t\"body\": \"a\\n b\"\n}").unwrap();
        assert_eq!(read.text, "a\n b");
        assert_eq!(read.source.as_deref(), Some("{ \"id\": 1.10, \"body\": \"a\\n b\" }"));
        assert_eq!(row("\"a\"").unwrap().source.as_deref(), Some("{\"body\":\"a\"}"));
        let reason = |text: &str| row(text).unwrap_err().reason;
        assert_eq!(reason("[1]"), "this element is JSON but not an object");
        assert_eq!(reason("{\"a\" 1}"), "the element is not JSON: expected `:` at column 6 of the element");
        assert_eq!(reason("{\n\"a\" 1}"), "the element is not JSON: expected `:` at line 6 column 5");
        assert_eq!(
            error_object(&row("7").unwrap_err(), "error", Map::new()),
            "{\"element\":3,\"line\":5,\"error\":\"this element is JSON but not an object\"}"
        );
    }
}

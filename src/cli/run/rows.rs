//! `--lines` and `--jsonl`: one record after the other through one loaded model, answers in order as they come.

use std::ops::ControlFlow;

use serde_json::{Map, Value, json};

use super::records::{Record, Records};
use super::{Run, answer, interrupt};
use crate::failure::{Exit, Failure, Outcome};
use crate::ui::output::{Output, Reader, say};
use crate::ui::progress::Rows;

/// One input row.
struct Row {
    line: u64,
    /// The JSON object that the text came from as it was written, with `--jsonl`.
    object: Option<String>,
    text: String,
}

/// A reply, in each of the forms that it may be written in.
struct Reply {
    /// Bare, for a pipe.
    text: String,
    /// As the contract's JSON, for `--jsonl`.
    value: Value,
    /// With everything known, for `--json`.
    details: Value,
}

/// Reads standard input to its end; a bad row is reported in its place.
///
/// # Errors
/// Input or output cannot be read or written, or a row failed and the rest was not wanted.
pub fn run(run: &Run<'_>) -> Outcome {
    let stdin = std::io::stdin().lock();
    // A file's length is known: the bar then goes by bytes read.
    let length = std::fs::metadata("/dev/stdin").ok().filter(std::fs::Metadata::is_file).map(|file| file.len());
    let bar = Rows::new(length);
    let mut output = Output::default();
    let (mut n_rows, mut n_failed) = (0u64, 0u64);
    let mut records = Records::new(stdin);
    while let Some(record) = interrupt::while_waiting(|| records.next()) {
        let record = record.map_err(|error| Failure::failed(format!("cannot read standard input: {error}")))?;
        let (line, end) = (record.line, record.end);
        let written = match read(run, record) {
            Ok(row) => match reply(run, &row.text) {
                Ok(Some(reply)) => Ok(success(run, row, reply)),
                Ok(None) => break,
                Err(failure) => Err((line, row.object, failure.message)),
            },
            Err((object, reason)) => Err((line, object, reason)),
        };
        n_rows += 1;
        let line = match written {
            Ok(line) => line,
            Err((number, object, reason)) => {
                n_failed += 1;
                bar.aside(|| say(format_args!("line {number}: {reason}")));
                if !run.args.keep_going {
                    return Err(Failure::failed(format!(
                        "stopped at line {number}; {} rows were answered",
                        n_rows - 1
                    )));
                }
                failed(run, number, object, &reason)
            }
        };
        if bar.aside(|| output.line(&line))? == Reader::Gone {
            return Ok(Exit::Done);
        }
        bar.at(if length.is_some() { end } else { n_rows }, n_rows);
        if interrupt::happened() {
            break;
        }
    }
    drop(bar);
    if n_failed > 0 {
        return Err(Failure::failed(format!("{n_failed} of {n_rows} rows failed")));
    }
    Ok(Exit::Done)
}

/// The row of a record; or its object, where it has one, and what is wrong.
fn read(run: &Run<'_>, record: Record) -> Result<Row, (Option<String>, String)> {
    let text = record.text.map_err(|reason| (None, reason))?;
    let Some(field) = &run.args.jsonl else {
        if text.trim().is_empty() {
            return Err((None, "the line is empty".to_owned()));
        }
        return Ok(Row { line: record.line, object: None, text });
    };
    let object: Map<String, Value> = match serde_json::from_str(&text) {
        Ok(Value::Object(object)) => object,
        Ok(_) => return Err((None, "the line is JSON but no object".to_owned())),
        Err(error) => return Err((None, format!("the line is not JSON: {}", in_line(&error)))),
    };
    match text_of(&object, field) {
        Ok(found) => Ok(Row { line: record.line, text: found.to_owned(), object: Some(text) }),
        Err(reason) => Err((Some(text), reason)),
    }
}

/// The text of a record that can be answered.
fn text_of<'o>(object: &'o Map<String, Value>, field: &str) -> Result<&'o str, String> {
    let text = match field_of(object, field) {
        Some(Value::String(text)) if !text.trim().is_empty() => text,
        Some(Value::String(_)) => return Err(format!("`{field}` is empty")),
        Some(_) => return Err(format!("`{field}` is no string")),
        None if object.is_empty() => return Err(format!("there is no field `{field}`; the record is empty")),
        None => {
            let names: Vec<String> = object.keys().take(20).map(|name| format!("`{name}`")).collect();
            return Err(format!("there is no field `{field}`; the record has {}", names.join(", ")));
        }
    };
    if object.contains_key("answer") { Err("the record has a field `answer` already".to_owned()) } else { Ok(text) }
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

/// A record with one more field at its end. The rest stays as it was written: parsed and printed again, a long number
/// would lose digits.
fn extended(record: &str, name: &str, value: &Value) -> String {
    let record = record.trim();
    let open = record.strip_suffix('}').unwrap_or(record).trim_end();
    let comma = if open.ends_with('{') { "" } else { "," };
    format!("{open}{comma}{}:{value}}}", Value::from(name))
}

/// The reply to one text; `None` where Ctrl-C ended it in the middle.
fn reply(run: &Run<'_>, text: &str) -> Result<Option<Reply>, Failure> {
    if let Some(contract) = &run.contract {
        let decided = run.session.decide(&run.task, contract, text)?;
        let details = answer::json(&decided, run);
        return Ok(Some(Reply { text: answer::bare(&decided.answer), value: decided.answer.json, details }));
    }
    let mut whole = String::new();
    let generated = run.session.generate(&run.task, text, |piece| {
        whole += piece;
        if interrupt::happened() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    let Some(generated) = generated else { return Ok(None) };
    let details = run.generated_json(&whole, &generated);
    // One row is one line: line breaks inside an answer are written as \n; --json has the text as it is.
    let text = whole.trim().replace('\n', "\\n").replace('\r', "\\r");
    Ok(Some(Reply { text, value: whole.into(), details }))
}

/// The line that a reply is written as.
fn success(run: &Run<'_>, row: Row, reply: Reply) -> String {
    match (row.object, run.args.json) {
        (Some(object), with_details) => {
            extended(&object, "answer", if with_details { &reply.details } else { &reply.value })
        }
        (None, true) => {
            let mut details = reply.details;
            if let Some(object) = details.as_object_mut() {
                object.insert("line".to_owned(), row.line.into());
            }
            details.to_string()
        }
        (None, false) => reply.text,
    }
}

/// What stands in a bad row's place: an error object where JSON is written, else an empty line.
fn failed(run: &Run<'_>, line: u64, object: Option<String>, reason: &str) -> String {
    // A record that has an `error` of its own keeps it elsewhere: in the input, at this line.
    let has_error =
        |text: &String| serde_json::from_str(text).is_ok_and(|o: Map<String, Value>| o.contains_key("error"));
    match (object.filter(|text| !has_error(text)), &run.args.jsonl) {
        (Some(object), _) => extended(&object, "error", &reason.into()),
        (None, jsonl) if run.args.json || jsonl.is_some() => json!({"line": line, "error": reason}).to_string(),
        (None, _) => String::new(),
    }
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

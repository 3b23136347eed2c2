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
    /// The JSON object that the text came from, with `--jsonl`.
    object: Option<Map<String, Value>>,
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

/// The row of a record, or its object (where it has one) and what is wrong.
fn read(run: &Run<'_>, record: Record) -> Result<Row, (Option<Map<String, Value>>, String)> {
    let text = record.text.map_err(|reason| (None, reason))?;
    let Some(field) = &run.args.jsonl else {
        if text.trim().is_empty() {
            return Err((None, "the line is empty".to_owned()));
        }
        return Ok(Row { line: record.line, object: None, text });
    };
    let object = match serde_json::from_str(&text) {
        Ok(Value::Object(object)) => object,
        Ok(_) => return Err((None, "the line is JSON but no object".to_owned())),
        Err(error) => return Err((None, format!("the line is not JSON: {error}"))),
    };
    let found = field_of(&object, field);
    let text = match found {
        Some(Value::String(text)) if !text.trim().is_empty() => text.clone(),
        Some(Value::String(_)) => return Err((Some(object), format!("`{field}` is empty"))),
        Some(_) => return Err((Some(object), format!("`{field}` is no string"))),
        None => {
            let names: Vec<String> = object.keys().take(20).map(|name| format!("`{name}`")).collect();
            return Err((Some(object), format!("there is no field `{field}`; the record has {}", names.join(", "))));
        }
    };
    if object.contains_key("answer") {
        return Err((Some(object), "the record has a field `answer` already".to_owned()));
    }
    Ok(Row { line: record.line, object: Some(object), text })
}

/// A field by its name, or by a JSON pointer (RFC 6901).
fn field_of<'o>(object: &'o Map<String, Value>, field: &str) -> Option<&'o Value> {
    if let Some(value) = object.get(field) {
        return Some(value);
    }
    let (first, rest) = field.strip_prefix('/')?.split_once('/').unwrap_or((field.strip_prefix('/')?, ""));
    let value = object.get(&first.replace("~1", "/").replace("~0", "~"))?;
    if rest.is_empty() { Some(value) } else { value.pointer(&format!("/{rest}")) }
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
        (Some(mut object), with_details) => {
            object.insert("answer".to_owned(), if with_details { reply.details } else { reply.value });
            Value::Object(object).to_string()
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
fn failed(run: &Run<'_>, line: u64, object: Option<Map<String, Value>>, reason: &str) -> String {
    match (object, &run.args.jsonl) {
        (Some(mut object), _) => {
            object.insert("error".to_owned(), reason.into());
            Value::Object(object).to_string()
        }
        (None, jsonl) if run.args.json || jsonl.is_some() => json!({"line": line, "error": reason}).to_string(),
        (None, _) => String::new(),
    }
}

//! `--lines` and `--jsonl`: standard input as records through one loaded model, answers in order as they come.

use std::io::BufReader;
use std::ops::ControlFlow;

use serde_json::Value;

use super::{Run, answer};
use crate::batch::records::{Record, Records};
use crate::batch::row::{BadRow, Form, Row, error_object, extended, one_line};
use crate::batch::{Batch, End, Work};
use crate::cli::environment::Environment;
use crate::cli::interrupt;
use crate::failure::{Exit, Failure, Outcome};
use crate::infer::{Cancel, Deciding, Generating};
use crate::ui::output::{Output, Reader, say};
use crate::ui::progress::Rows;

/// Generated answers in flight: as many as an engine takes at once.
const N_GENERATED: usize = 32;
/// Closed answers in flight: they are scored one after the other, and the next one's prompt is made meanwhile.
const N_CLOSED: usize = 2;
/// More in flight only wait in the engine's queue.
const MAX_PARALLEL: usize = 1024;

/// A row whose answer has begun.
struct Begun<'r> {
    row: Row,
    /// Bytes of input up to and with the row.
    end: u64,
    asked: Asked<'r>,
}

enum Asked<'r> {
    Closed(Deciding<'r>),
    Open(Generating),
}

/// A row that is over: the line to write, or why there is none.
struct Done {
    end: u64,
    written: Result<String, BadRow>,
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

/// Why no more answers are wanted.
enum Enough {
    ReaderGone,
    Failed(Failure),
}

/// How many rows are to be in flight, where somebody said so.
///
/// # Errors
/// What was said is no number that can be.
pub fn parallel(said: Option<&str>, environment: &Environment) -> Result<Option<usize>, Failure> {
    let (name, value) = match (said, environment.num_parallel()) {
        (Some(value), _) => ("--parallel", value),
        // Ollama's 0 leaves the number to the program.
        (None, Some("0") | None) => return Ok(None),
        (None, Some(value)) => ("SLM_NUM_PARALLEL", value),
    };
    let number = value.trim().parse().ok().filter(|number| (1..=MAX_PARALLEL).contains(number));
    number.map(Some).ok_or_else(|| {
        Failure::usage(format!("{name}: `{value}` is no number of rows in flight; give one from 1 to {MAX_PARALLEL}"))
    })
}

/// Reads standard input to its end; a bad row is reported in its place.
///
/// # Errors
/// Input or output cannot be read or written, or a row failed and the rest was not wanted.
pub fn run(run: &Run<'_>, n_parallel: Option<usize>) -> Outcome {
    let form = match &run.args.jsonl {
        Some(field) => Form::Objects { field: field.clone() },
        None => Form::Lines,
    };
    // A file's length is known: the bar then goes by bytes read.
    let length = std::fs::metadata("/dev/stdin").ok().filter(std::fs::Metadata::is_file).map(|file| file.len());
    let bar = Rows::new(length);
    let mut output = Output::default();
    let (mut n_rows, mut n_failed) = (0u64, 0u64);
    let records = Records::new(BufReader::new(std::io::stdin()));
    let batch = Batch::default();
    let stop = batch.stop();
    interrupt::listen(move || stop.stop());
    let deliver = |Done { end, written }| {
        n_rows += 1;
        let line = match written {
            Ok(line) => line,
            Err(bad) => {
                n_failed += 1;
                bar.aside(|| say(format_args!("line {}: {}", bad.line, bad.reason)));
                if !run.args.keep_going {
                    return ControlFlow::Break(Enough::Failed(Failure::failed(format!(
                        "stopped at line {}; {} rows were answered",
                        bad.line,
                        n_rows - 1
                    ))));
                }
                failed(run, &bad)
            }
        };
        match bar.aside(|| output.line(&line)) {
            Ok(Reader::Listens) => {}
            Ok(Reader::Gone) => return ControlFlow::Break(Enough::ReaderGone),
            Err(failure) => return ControlFlow::Break(Enough::Failed(failure)),
        }
        bar.at(if length.is_some() { end } else { n_rows }, n_rows);
        ControlFlow::Continue(())
    };
    let work = Work {
        start: |record: Record| {
            let end = record.end;
            start(run, form.row(record), end)
        },
        finish: |begun: Result<Begun<'_>, Done>, cancel: &Cancel| match begun {
            Ok(begun) => finish(run, begun, cancel),
            Err(done) => done,
        },
        deliver,
    };
    let n_default = if run.contract.is_some() { N_CLOSED } else { N_GENERATED };
    let end = batch.run(records, n_parallel.unwrap_or(n_default), work);
    drop(bar);
    match end {
        End::Broken(Enough::ReaderGone) => return Ok(Exit::Done),
        End::Broken(Enough::Failed(failure)) => return Err(failure),
        End::Unreadable(error) => return Err(Failure::failed(format!("cannot read standard input: {error}"))),
        End::Whole | End::Stopped => {}
    }
    if n_failed > 0 {
        return Err(Failure::failed(format!("{n_failed} of {n_rows} rows failed")));
    }
    Ok(Exit::Done)
}

/// Sends a row to the engine.
fn start<'r>(run: &'r Run<'_>, row: Result<Row, BadRow>, end: u64) -> Result<Begun<'r>, Done> {
    let row = row.map_err(|bad| Done { end, written: Err(bad) })?;
    let asked = match &run.contract {
        Some(contract) => run.session.start_deciding(&run.task, contract, &row.text).map(Asked::Closed),
        None => run.session.start_generating(&run.task, &row.text).map(Asked::Open),
    };
    match asked {
        Ok(asked) => Ok(Begun { row, end, asked }),
        Err(error) => Err(Done { end, written: Err(bad(row, Failure::from(error))) }),
    }
}

/// Waits for a row's reply.
fn finish(run: &Run<'_>, begun: Begun<'_>, cancel: &Cancel) -> Done {
    let Begun { row, end, asked } = begun;
    let written = match reply(run, asked, cancel) {
        Ok(reply) => Ok(success(run, row, reply)),
        Err(failure) => Err(bad(row, failure)),
    };
    Done { end, written }
}

fn bad(row: Row, failure: Failure) -> BadRow {
    BadRow { line: row.line, object: row.object, reason: failure.message }
}

fn reply(run: &Run<'_>, asked: Asked<'_>, cancel: &Cancel) -> Result<Reply, Failure> {
    match asked {
        Asked::Closed(deciding) => {
            let decided = deciding.finish(cancel)?;
            let details = answer::json(&decided, run);
            Ok(Reply { text: one_line(&answer::bare(&decided.answer)), value: decided.answer.json, details })
        }
        Asked::Open(generating) => {
            let (text, generated) = generating.whole(cancel)?;
            let details = run.generated_json(&text, &generated);
            Ok(Reply { text: one_line(text.trim()), value: text.into(), details })
        }
    }
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
fn failed(run: &Run<'_>, bad: &BadRow) -> String {
    if run.args.json || run.args.jsonl.is_some() {
        error_object(bad.line, bad.object.as_deref(), &bad.reason)
    } else {
        String::new()
    }
}

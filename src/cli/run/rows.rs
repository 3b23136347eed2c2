//! `--lines`, `--jsonl` and `--csv`: standard input as records through one loaded model, answers in order as they come.

use std::io::{BufReader, Stdin};
use std::ops::ControlFlow;

use serde_json::Value;

use super::args::RunArgs;
use super::output::{self, Sink};
use super::tally::{Share, Tally};
use super::{Run, answer, columns, limited};
use crate::batch::journal::JournalFile;
use crate::batch::records::{Record, Records, Skipped};
use crate::batch::row::{BadRow, Form, Row, error_object, extended, one_line};
use crate::batch::table::Table;
use crate::batch::{Batch, End, Work};
use crate::cli::environment::Environment;
use crate::cli::interrupt;
use crate::contract;
use crate::digest::Digest;
use crate::engine::EngineError;
use crate::failure::{Exit, Failure, Outcome};
use crate::infer::{Cancel, Finding, Finished, InferError, LimitedReply, wait};
use crate::ui::output::{Reader, say, say_skipped, tell};
use crate::ui::progress::Rows;
use crate::ui::table::counted;

/// Answers in flight that share their batches: as many as an engine takes at once.
const N_BATCHED: usize = 32;
/// Closed answers in flight otherwise: they are scored one after the other, and the next ones' prompts are made meanwhile.
const N_CLOSED: usize = 4;
/// More in flight only wait in the engine's queue.
const MAX_PARALLEL: usize = 1024;

/// Where in the input a row is.
#[derive(Clone, Copy)]
struct RowPosition {
    /// Bytes of input up to and with the row.
    end: u64,
    /// The record's.
    digest: Digest,
}

/// A row whose answer has begun.
struct Begun<'r> {
    row: Row,
    place: RowPosition,
    reply: LimitedReply<'r>,
    n_tokens_cut: usize,
}

/// A row that is over: the line to write, or why there is none.
struct Done {
    place: RowPosition,
    /// What it adds to the totals.
    share: Share,
    written: Result<Written, Unwritten>,
}

/// A line to write.
enum Written {
    Answer(String),
    /// A table's header, which is not a row.
    Header(String),
}

enum Unwritten {
    /// It is reported in its place.
    Bad(Box<Refused>),
    /// No row can be answered any more, so that none is marked as done.
    Lost(Failure),
}

/// A row without an answer that may be written.
struct Refused {
    row: BadRow,
    /// How a run ends that has such rows alone.
    exit: Exit,
    /// The answer that did not meet its contract, with everything known.
    details: Option<Value>,
}

/// Why no more answers are wanted.
enum Enough {
    ReaderGone,
    Failed(Failure),
}

/// Standard input, where its answers go, and how it is worked on.
pub struct Input {
    records: Records<BufReader<Stdin>>,
    /// Blank lines among the records.
    skipped: Skipped,
    form: Form,
    file: Option<JournalFile>,
    n_parallel: usize,
}

impl Input {
    /// Opens input and output.
    ///
    /// # Errors
    /// The flags say nothing that can be done, or the output has answers that are not to be touched.
    pub fn open(args: &RunArgs, asked: &contract::Form, environment: &Environment) -> Result<Input, Failure> {
        let n_parallel = parallel(args.parallel.as_deref(), environment)?;
        let is_alone = matches!(asked, contract::Form::Closed(_)) && !args.throughput;
        let n_parallel = n_parallel.unwrap_or(if is_alone { N_CLOSED } else { N_BATCHED });
        let file = output::open(args)?;
        let (reader, skipped) = (BufReader::new(std::io::stdin()), Skipped::default());
        let (records, form) = match (&args.jsonl, args.table()?) {
            (Some(field), _) => {
                (Records::without_blank_lines(reader, skipped.clone()), Form::Objects { field: field.clone() })
            }
            (None, Some((column, delimiter))) => {
                let mut records = Records::of_table(reader, delimiter, skipped.clone());
                let table = table(&mut records, delimiter, column)?.with_columns(&columns::names(asked));
                (records, Form::Table(Box::new(table)))
            }
            (None, None) => (Records::new(reader), Form::Lines),
        };
        Ok(Input { records, skipped, form, file, n_parallel })
    }
}

/// The table that standard input begins.
fn table(records: &mut Records<BufReader<Stdin>>, delimiter: u8, column: &str) -> Result<Table, Failure> {
    let header = records.peek().map_err(|error| Failure::failed(format!("cannot read standard input: {error}")))?;
    let Some(header) = header else { return Err(Failure::usage("there is no table on standard input")) };
    let header = header.text.as_deref().map_err(|reason| Failure::failed(format!("line 1: {reason}")))?;
    Table::new(header, delimiter, column).map_err(|error| Failure::usage(error.to_string()))
}

/// The number of rows in flight, if it was given.
fn parallel(said: Option<&str>, environment: &Environment) -> Result<Option<usize>, Failure> {
    let (name, value) = match (said, environment.num_parallel()) {
        (Some(value), _) => ("--parallel", value),
        // Ollama's 0 leaves the number to the program.
        (None, Some("0") | None) => return Ok(None),
        (None, Some(value)) => ("SLM_NUM_PARALLEL", value),
    };
    let number = value.trim().parse().ok().filter(|number| (1..=MAX_PARALLEL).contains(number));
    number.map(Some).ok_or_else(|| {
        Failure::usage(format!(
            "{name}: `{value}` is not a number of rows in flight; give one from 1 to {MAX_PARALLEL}"
        ))
    })
}

/// Answers standard input to its end; a bad row is reported in its place.
///
/// # Errors
/// Input or output cannot be read or written, or a row failed and the rest was not wanted.
pub fn run(run: &Run<'_>, input: Input) -> Outcome {
    let Input { mut records, skipped, form, file, n_parallel } = input;
    // Rows that an earlier run answered are read here.
    let sink = Sink::begin(file, || run.identity(), &mut records, &form)?;
    if run.args.verbose && sink.n_resumed() > 0 {
        tell(&format!("continues after {}\n", counted(sink.n_resumed(), "row")));
    }
    let batch = Batch::default();
    let stop = batch.stop();
    let _listening = interrupt::listen(move || stop.stop());
    let mut delivery = Delivery::begin(run, &form, sink, skipped, records.end());
    let mut suspicion = Suspicion::default();
    let mut header = match &form {
        Form::Table(table) if delivery.sink.n_resumed() == 0 => Some(table.header_line()),
        Form::Table(_) | Form::Lines | Form::Objects { .. } => None,
    };
    let work = Work {
        start: |record: Record| {
            let place = RowPosition { end: record.end, digest: record.digest };
            if let (Form::Lines, Ok(text)) = (&form, &record.text)
                && let Some(warning) = suspicion.of(text)
            {
                say(warning);
            }
            match header.take() {
                Some(line) => {
                    Err(Box::new(Done { place, share: Share::default(), written: Ok(Written::Header(line)) }))
                }
                None => start(run, form.row(record), place),
            }
        },
        finish: |begun: Result<Begun<'_>, Box<Done>>, cancel: &Cancel| match begun {
            Ok(begun) => finish(run, &form, begun, cancel),
            Err(done) => *done,
        },
        deliver: |done| match delivery.take(done) {
            Ok(()) => ControlFlow::Continue(()),
            Err(enough) => ControlFlow::Break(enough),
        },
    };
    let end = batch.run(records, n_parallel, work);
    delivery.end(end)
}

/// Whether lines look like the rows of a table; the warning is shown once.
#[derive(Debug, Default)]
struct Suspicion {
    n_lines: usize,
    is_told: bool,
}

impl Suspicion {
    /// What is to be said of the next line.
    fn of(&mut self, line: &str) -> Option<String> {
        self.n_lines += 1;
        let is_header = self.n_lines == 1 && looks_like_a_header(line);
        let is_cut = line.contains([',', ';', '\t']) && line.matches('"').count() % 2 == 1;
        if self.is_told || !(is_header || is_cut) {
            return None;
        }
        self.is_told = true;
        let n = self.n_lines;
        let what = if is_header { "looks like the header of a table" } else { "looks like a part of a quoted cell" };
        Some(format!("line {n} {what}, and --lines takes every line for a text; --csv COLUMN reads tables"))
    }
}

/// Whether a line is several names with delimiters between them.
fn looks_like_a_header(line: &str) -> bool {
    let is_name = |cell: &str| {
        let cell = cell.trim().trim_matches('"');
        (1..=40).contains(&cell.len()) && cell.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'))
    };
    let is_header = |delimiter: char| line.contains(delimiter) && line.split(delimiter).all(is_name);
    [',', ';', '\t'].into_iter().any(is_header)
}

/// The answers on their way out: to the sink, to the totals, and to the bar.
struct Delivery<'r> {
    run: &'r Run<'r>,
    form: &'r Form,
    sink: Sink,
    tally: Tally,
    skipped: Skipped,
    bar: Rows,
    /// Whether the input's length is known: then the bar shows bytes read.
    has_length: bool,
}

impl<'r> Delivery<'r> {
    /// `at` are the bytes of the input that are done already.
    fn begin(run: &'r Run<'_>, form: &'r Form, sink: Sink, skipped: Skipped, at: u64) -> Delivery<'r> {
        let length = std::fs::metadata("/dev/stdin").ok().filter(std::fs::Metadata::is_file).map(|file| file.len());
        let bar = Rows::new(length);
        if length.is_some() {
            bar.begin_at(at);
        }
        Delivery { run, form, sink, tally: Tally::start(), skipped, bar, has_length: length.is_some() }
    }

    /// Takes what came of the next row.
    fn take(&mut self, done: Done) -> Result<(), Enough> {
        let Done { place, share, written } = done;
        let line = match written {
            Ok(Written::Header(line)) => line,
            Ok(Written::Answer(line)) => {
                self.tally.add(share, Exit::Done);
                line
            }
            Err(Unwritten::Lost(failure)) => return Err(Enough::Failed(failure)),
            Err(Unwritten::Bad(refused)) => {
                let BadRow { line, reason, .. } = &refused.row;
                self.bar.aside(|| say(format_args!("line {line}: {reason}")));
                if !self.run.args.keep_going {
                    let message = format!("stopped at line {line}; {} rows were answered", self.tally.rows());
                    return Err(Enough::Failed(Failure { message, exit: refused.exit }));
                }
                self.tally.add(share, refused.exit);
                failed(self.run, self.form, &refused)
            }
        };
        let (sink, tally) = (&mut self.sink, &self.tally);
        match self.bar.aside(|| sink.line(place.digest, &line)) {
            Ok(Reader::Listens) => {}
            Ok(Reader::Gone) => return Err(Enough::ReaderGone),
            Err(failure) => return Err(Enough::Failed(failure)),
        }
        self.bar.at(if self.has_length { place.end } else { tally.rows() }, tally.rows(), || tally.compact());
        Ok(())
    }

    /// How the run ends.
    fn end(self, end: End<Enough>) -> Outcome {
        let Delivery { run, mut sink, tally, skipped, bar, .. } = self;
        drop(bar);
        let saved = sink.end();
        if run.args.verbose {
            tell(&tally.summary());
            say_skipped(skipped.count());
        }
        tally.doubt().filter(|_| run.says_doubts()).into_iter().for_each(say);
        match end {
            End::Broken(Enough::ReaderGone) => return Ok(Exit::Done),
            End::Broken(Enough::Failed(failure)) => return Err(failure),
            End::Unreadable(error) => return Err(Failure::failed(format!("cannot read standard input: {error}"))),
            End::Whole => saved?,
            End::Stopped => {
                saved?;
                sink.stopped(run.args, tally.rows()).iter().for_each(say);
            }
        }
        tally.outcome()
    }
}

/// Sends a row to the engine.
fn start<'r>(run: &'r Run<'_>, row: Result<Row, BadRow>, place: RowPosition) -> Result<Begun<'r>, Box<Done>> {
    let row = row.map_err(|bad| over(place, refused(bad)))?;
    match ask(run, &row.text) {
        Ok((reply, n_tokens_cut)) => Ok(Begun { row, place, reply, n_tokens_cut }),
        Err(error) => Err(over(place, unwritten(row, error))),
    }
}

fn ask<'r>(run: &'r Run<'_>, text: &str) -> Result<(LimitedReply<'r>, usize), InferError> {
    let (text, n_tokens_cut) = run.cut(text)?;
    let reply = LimitedReply::ask(&run.session, run.ask_of(&text), &run.limits, run.retry)?;
    Ok((reply, n_tokens_cut))
}

/// A row that never reached the engine.
fn over(place: RowPosition, why: Unwritten) -> Box<Done> {
    Box::new(Done { place, share: Share::default(), written: Err(why) })
}

/// Waits for a row's reply.
fn finish(run: &Run<'_>, form: &Form, begun: Begun<'_>, cancel: &Cancel) -> Done {
    let Begun { row, place, reply, n_tokens_cut } = begun;
    let limited = match wait(reply.whole(), cancel) {
        Ok(limited) => limited,
        Err(error) => return Done { place, share: Share::default(), written: Err(unwritten(row, error)) },
    };
    if run.args.verbose
        && let Some(why) = limited::asked_again(&limited)
    {
        say(format_args!("line {}: {why}", row.line));
    }
    let share = Share::of(&limited.finished.end);
    let details = if run.args.json { answer::details(run, &limited, n_tokens_cut) } else { Value::Null };
    let written = match limited::refusal(&limited) {
        None => Ok(Written::Answer(line(run, form, &row, &limited.finished, details))),
        Some(reason) => {
            let row = BadRow { line: row.line, source: row.source, reason };
            Err(Unwritten::Bad(Box::new(Refused { row, exit: Exit::NotMet, details: Some(details) })))
        }
    };
    Done { place, share, written }
}

fn unwritten(row: Row, error: InferError) -> Unwritten {
    let is_lost = matches!(error, InferError::Engine(EngineError::Stopped | EngineError::Cancelled));
    let failure = Failure::from(error);
    if is_lost {
        return Unwritten::Lost(failure);
    }
    refused(BadRow { line: row.line, source: row.source, reason: failure.message })
}

fn refused(row: BadRow) -> Unwritten {
    Unwritten::Bad(Box::new(Refused { row, exit: Exit::Failed, details: None }))
}

/// The line that an answer is written as.
fn line(run: &Run<'_>, form: &Form, row: &Row, finished: &Finished, mut details: Value) -> String {
    if let (Form::Table(table), Some(source)) = (form, &row.source) {
        return table.extended(source, &columns::cells(&run.turn.form, finished));
    }
    match (&row.source, run.args.json) {
        (Some(object), true) => extended(object, "answer", &details),
        (Some(object), false) => extended(object, "answer", &answer::value(finished)),
        (None, true) => {
            if let Some(object) = details.as_object_mut() {
                object.insert("line".to_owned(), row.line.into());
            }
            details.to_string()
        }
        (None, false) => match &finished.end.finding {
            Finding::Free | Finding::Open(_) => one_line(finished.text.trim()),
            Finding::Closed(_) | Finding::Vectors(_) => one_line(&answer::bare(finished)),
        },
    }
}

/// What is in a bad row's place: an error object where JSON is written, else an empty line.
fn failed(run: &Run<'_>, form: &Form, refused: &Refused) -> String {
    let BadRow { line, source, reason } = &refused.row;
    if let Form::Table(table) = form {
        return table.failed(source.as_deref(), reason);
    }
    if !run.args.json && run.args.jsonl.is_none() {
        return String::new();
    }
    let error = error_object(*line, source.as_deref(), reason);
    match &refused.details {
        Some(details) if run.args.json => extended(&error, "refused", details),
        _ => error,
    }
}

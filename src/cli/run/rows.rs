//! `--lines`, `--jsonl` and `--csv`: standard input as records through one loaded model, answers in order as they come.

use std::ops::ControlFlow;

use serde_json::{Map, Value};

use super::input::{Input, Suspicion};
use super::output::Sink;
use super::row_lines::RowLines;
use super::tally::{Share, Tally};
use super::{Run, limited};
use crate::batch::records::{Record, Skipped};
use crate::batch::row::{BadRow, Form, Row};
use crate::batch::{Batch, End, Work};
use crate::cli::interrupt;
use crate::digest::Digest;
use crate::engine::EngineError;
use crate::failure::{Exit, Failure, Outcome};
use crate::infer::{Cancel, InferError, LimitedReply, wait};
use crate::ui::output::{Reader, say, say_skipped, tell};
use crate::ui::progress::Rows;
use crate::ui::table::counted;

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

/// A row that is over: the line to write, or why it failed.
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
    /// What is told of an answer that did not meet its contract.
    more: Map<String, Value>,
}

/// Why no more answers are wanted.
enum Enough {
    ReaderGone,
    Failed(Failure),
}

/// Answers standard input to its end; a bad row is reported in its place.
///
/// # Errors
/// Input or output cannot be read or written, or a row failed and the rest was not wanted.
pub fn run(run: &Run<'_>, input: Input) -> Outcome {
    let Input { mut records, skipped, lines, file, n_parallel } = input;
    // Rows that an earlier run answered are read here.
    let sink = Sink::begin(file, || run.identity(), &mut records, &lines.form)?;
    if run.args.verbose && sink.n_resumed() > 0 {
        tell(&format!("continues after {}\n", counted(sink.n_resumed(), "row")));
    }
    let batch = Batch::default();
    let stop = batch.stop();
    let _listening = interrupt::listen(move || stop.stop());
    let mut delivery = Delivery::begin(run, &lines, sink, skipped, records.end());
    let mut suspicion = Suspicion::default();
    let mut header = match &lines.form {
        Form::Table(table) if delivery.sink.n_resumed() == 0 => Some(table.header_line()),
        Form::Table(_) | Form::Lines | Form::Objects { .. } => None,
    };
    let work = Work {
        start: |record: Record| {
            let place = RowPosition { end: record.end, digest: record.digest };
            if let (Form::Lines, Ok(text)) = (&lines.form, &record.text)
                && let Some(warning) = suspicion.of(text)
            {
                say(warning);
            }
            match header.take() {
                Some(line) => {
                    Err(Box::new(Done { place, share: Share::default(), written: Ok(Written::Header(line)) }))
                }
                None => start(run, lines.form.row(record), place),
            }
        },
        finish: |begun: Result<Begun<'_>, Box<Done>>, cancel: &Cancel| match begun {
            Ok(begun) => finish(run, &lines, begun, cancel),
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

/// The answers on their way out: to the sink, to the totals, and to the bar.
struct Delivery<'r> {
    run: &'r Run<'r>,
    lines: &'r RowLines,
    sink: Sink,
    tally: Tally,
    skipped: Skipped,
    bar: Rows,
    /// Whether the input's length is known: then the bar shows bytes read.
    has_length: bool,
}

impl<'r> Delivery<'r> {
    /// `at` are the bytes of the input that are done already.
    fn begin(run: &'r Run<'_>, lines: &'r RowLines, sink: Sink, skipped: Skipped, at: u64) -> Delivery<'r> {
        let length = std::fs::metadata("/dev/stdin").ok().filter(std::fs::Metadata::is_file).map(|file| file.len());
        let bar = Rows::new(length);
        if length.is_some() {
            bar.begin_at(at);
        }
        Delivery { run, lines, sink, tally: Tally::start(), skipped, bar, has_length: length.is_some() }
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
                let Refused { row, exit, more } = *refused;
                let place = row.place;
                self.bar.aside(|| say(format_args!("{place}: {}", row.reason)));
                if !self.run.args.keep_going {
                    let message = format!("stopped at {place}; {} rows were answered", self.tally.rows());
                    return Err(Enough::Failed(Failure { message, exit }));
                }
                self.tally.add(share, exit);
                self.lines.failed(&row, more)
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
    let reply = LimitedReply::ask(&run.responder, run.ask_of(&text), &run.limits, run.retry)?;
    Ok((reply, n_tokens_cut))
}

/// A row that never reached the engine.
fn over(place: RowPosition, why: Unwritten) -> Box<Done> {
    Box::new(Done { place, share: Share::default(), written: Err(why) })
}

/// Waits for a row's reply.
fn finish(run: &Run<'_>, lines: &RowLines, begun: Begun<'_>, cancel: &Cancel) -> Done {
    let Begun { row, place, reply, n_tokens_cut } = begun;
    let limited = match wait(reply.whole(), cancel) {
        Ok(limited) => limited,
        Err(error) => return Done { place, share: Share::default(), written: Err(unwritten(row, error)) },
    };
    if run.args.verbose
        && let Some(why) = limited::asked_again(&limited)
    {
        say(format_args!("{}: {why}", row.place));
    }
    if let Some(decisions) = &run.decisions {
        decisions.take(&row.text, &limited.finished.end);
    }
    let share = Share::of(&limited.finished.end);
    let written = match limited::refusal(&limited) {
        None => Ok(Written::Answer(lines.answered(run, &row, &limited, n_tokens_cut))),
        Some(reason) => {
            let row = BadRow { place: row.place, source: row.source, reason };
            let more = lines.withheld(run, &limited, n_tokens_cut);
            Err(Unwritten::Bad(Box::new(Refused { row, exit: Exit::NotMet, more })))
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
    refused(BadRow { place: row.place, source: row.source, reason: failure.message })
}

fn refused(row: BadRow) -> Unwritten {
    Unwritten::Bad(Box::new(Refused { row, exit: Exit::Failed, more: Map::new() }))
}

//! Standard input as the records of a run: lines, JSON or a table, and what is known of them before the first is answered.

use std::io::{BufReader, Stdin};

use super::args::{JsonShape, RunArgs};
use super::columns::Columns;
use super::output;
use super::row_lines::RowLines;
use crate::batch::journal::JournalFile;
use crate::batch::records::{Records, Skipped};
use crate::batch::row::{AddedNames, Form};
use crate::batch::table::Table;
use crate::batch::{N_BATCHED, N_CLOSED};
use crate::cli::environment::Environment;
use crate::cli::parallel;
use crate::contract;
use crate::failure::Failure;

/// Standard input, where its answers go, and how it is worked on.
pub struct Input {
    pub records: Records<BufReader<Stdin>>,
    /// Blank lines among the records.
    pub skipped: Skipped,
    pub lines: RowLines,
    pub file: Option<JournalFile>,
    pub n_parallel: usize,
}

impl Input {
    /// Opens input and output.
    ///
    /// # Errors
    /// The flags say nothing that can be done, or the output has answers that are not to be touched.
    pub fn open(
        args: &RunArgs,
        asked: &contract::Form,
        columns: Columns,
        environment: &Environment,
    ) -> Result<Input, Failure> {
        let n_parallel = parallel::asked(args.parallel.as_deref(), environment)?;
        let is_alone = matches!(asked, contract::Form::Closed(_)) && !args.throughput;
        let n_parallel = n_parallel.unwrap_or(if is_alone { N_CLOSED } else { N_BATCHED });
        let file = output::open(args)?;
        let (reader, skipped) = (BufReader::new(std::io::stdin()), Skipped::default());
        let json = args.json();
        let (records, lines) = match (&args.jsonl, args.table()?) {
            (Some(field), _) => {
                let mut records = Records::of_json(reader, skipped.clone());
                let columns = if json == Some(JsonShape::Flat) { beside(&mut records, columns)? } else { columns };
                let added = match json {
                    Some(JsonShape::Flat) => columns.added(),
                    Some(JsonShape::Full) | None => {
                        AddedNames { answer: vec!["answer".to_owned()], error: "error".to_owned() }
                    }
                };
                (records, RowLines { form: Form::Objects { field: field.clone(), added }, columns, json })
            }
            (None, Some((column, delimiter))) => {
                let mut records = Records::of_table(reader, delimiter, skipped.clone());
                let table = table(&mut records, delimiter, column)?.with_columns(&columns.of_table());
                (records, RowLines { form: Form::Table(Box::new(table)), columns, json })
            }
            (None, None) => (Records::new(reader), RowLines { form: Form::Lines, columns, json }),
        };
        Ok(Input { records, skipped, lines, file, n_parallel })
    }
}

/// The names of an answer beside the first record: where it has one of them already, so have the others, most likely, and every row
/// is to have the same names.
fn beside(records: &mut Records<BufReader<Stdin>>, columns: Columns) -> Result<Columns, Failure> {
    let first = records.peek().map_err(unreadable)?.and_then(|record| record.text.as_deref().ok());
    let object = first.and_then(|text| serde_json::from_str(text).ok());
    Ok(object.map_or(columns.clone(), |object| columns.beside(&object)))
}

/// The table that standard input begins.
fn table(records: &mut Records<BufReader<Stdin>>, delimiter: u8, column: &str) -> Result<Table, Failure> {
    let Some(header) = records.peek().map_err(unreadable)? else {
        return Err(Failure::usage("there is no table on standard input"));
    };
    let header = header.text.as_deref().map_err(|reason| Failure::failed(format!("line 1: {reason}")))?;
    Table::new(header, delimiter, column).map_err(|error| Failure::usage(error.to_string()))
}

fn unreadable(error: std::io::Error) -> Failure {
    Failure::failed(format!("cannot read standard input: {error}"))
}

/// Whether lines look like the rows of a table, of which one is told once.
#[derive(Debug, Default)]
pub struct Suspicion {
    n_lines: usize,
    is_told: bool,
}

impl Suspicion {
    /// What is to be said of the next line.
    pub fn of(&mut self, line: &str) -> Option<String> {
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

//! The rows of a suite, from JSONL or CSV in any encoding that a person's text has: each readable row, or why it is not; it
//! asks no model.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::label::Expected;
use super::suite::{ExpectedField, Suite, list};
use crate::encoding::{self, NotText};

/// The most bytes that a data file may have: it is held in memory.
pub const MAX_BYTES: u64 = 1 << 30;

/// The rows in the file's order; a row that could not be read keeps its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Data {
    pub rows: Vec<Result<Row, BadRow>>,
    /// Lines of nothing but white space among a JSONL file's rows; they are no rows.
    pub n_blank_lines: u64,
}

/// One readable row.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The line that it starts on, from 1 (a CSV's header is line 1).
    pub line: u64,
    pub input: String,
    /// One for each of the suite's expected fields, in their order.
    pub expected: Vec<Expected>,
}

/// A row that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRow {
    pub line: u64,
    pub reason: String,
}

/// Why data cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    #[error("cannot read the data `{}`: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("the data `{}` has more than {MAX_BYTES} bytes; split it, or take a sample", path.display())]
    TooLarge { path: PathBuf },
    #[error("the data `{}` is neither `.jsonl` nor `.csv`; convert it, or rename it to what it is", path.display())]
    UnknownKind { path: PathBuf },
    #[error("the data `{}` has no rows", path.display())]
    Empty { path: PathBuf },
    #[error("the data `{}` has no column `{column}`, which the suite reads; its columns are {columns}", path.display())]
    MissingColumn { path: PathBuf, column: String, columns: String },
    #[error("the data `{}` has the column `{column}` twice; rename one", path.display())]
    RepeatedColumn { path: PathBuf, column: String },
    #[error("no row of the data `{}` can be read; line {line}: {reason}", path.display())]
    Unreadable { path: PathBuf, line: u64, reason: String },
}

impl Data {
    /// Reads the rows that `suite` asks for from the file at `path`, which ends in `.jsonl` or `.csv`.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is of another kind, has no rows, lacks a column, or has no row that can be read.
    pub fn load(path: &Path, suite: &Suite) -> Result<Self, DataError> {
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
        let parse = match extension.as_str() {
            "jsonl" | "ndjson" => jsonl,
            "csv" => csv_rows,
            _ => return Err(DataError::UnknownKind { path: path.to_owned() }),
        };
        let data = parse(&encoding::utf8(&read(path)?), &RowReader { path, suite })?;
        let rows = &data.rows;
        match rows.first() {
            None => Err(DataError::Empty { path: path.to_owned() }),
            Some(Err(BadRow { line, reason })) if rows.iter().all(Result::is_err) => {
                Err(DataError::Unreadable { path: path.to_owned(), line: *line, reason: reason.clone() })
            }
            Some(_) => Ok(data),
        }
    }
}

/// What is read of each row, and where the file is, for messages.
struct RowReader<'a> {
    path: &'a Path,
    suite: &'a Suite,
}

impl RowReader<'_> {
    fn limit(&self) -> usize {
        self.suite.limit.unwrap_or(usize::MAX)
    }

    fn columns(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.suite.input).chain(self.suite.expect.iter().map(|e| &e.column))
    }

    fn missing<'n>(&self, column: &str, columns: impl IntoIterator<Item = &'n String>) -> DataError {
        const MOST: usize = 20;
        let mut columns = columns.into_iter();
        let mut shown = list(columns.by_ref().take(MOST));
        let more = columns.count();
        if more > 0 {
            shown = format!("{shown} and {more} more");
        }
        DataError::MissingColumn { path: self.path.to_owned(), column: column.to_owned(), columns: shown }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, DataError> {
    let failed = |source| DataError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    std::fs::File::open(path).map_err(failed)?.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES { Err(DataError::TooLarge { path: path.to_owned() }) } else { Ok(bytes) }
}

/// A line's object, or what it is instead.
type Record = Result<Map<String, Value>, String>;

fn jsonl(bytes: &[u8], wanted: &RowReader) -> Result<Data, DataError> {
    let (mut records, mut n_blank_lines): (Vec<(u64, Record)>, u64) = (Vec::new(), 0);
    for (number, line) in (1..).zip(bytes.split_inclusive(|&b| b == b'\n')) {
        if records.len() == wanted.limit() {
            break;
        }
        if encoding::is_blank(line) {
            n_blank_lines += 1;
        } else {
            records.push((number, object(line.trim_ascii_end())));
        }
    }

    // A name that no record has is a mistake in the suite, not in every row.
    let objects = || records.iter().filter_map(|(_, record)| record.as_ref().ok());
    let absent = |column: &&String| !objects().any(|record| record.contains_key(*column));
    if let (Some(_), Some(column)) = (objects().next(), wanted.columns().find(absent)) {
        let names: BTreeSet<&String> = objects().flat_map(Map::keys).collect();
        return Err(wanted.missing(column, names));
    }
    let row = |(line, record): (u64, Record)| {
        let row = record.and_then(|record| json_row(line, record, wanted.suite));
        row.map_err(|reason| BadRow { line, reason })
    };
    Ok(Data { rows: records.into_iter().map(row).collect(), n_blank_lines })
}

fn object(line: &[u8]) -> Record {
    let text = encoding::checked(line.to_vec()).map_err(|error| error.in_row())?;
    match serde_json::from_str(&text) {
        Ok(Value::Object(record)) => Ok(record),
        Ok(other) => Err(format!("the row is {}, not an object", kind(&other))),
        // serde_json places the error in a text of one line, and our line number is another.
        Err(error) => {
            Err(format!("the row is not JSON: {}", error.to_string().replace(" at line 1 column", " at column")))
        }
    }
}

fn json_row(line: u64, mut record: Map<String, Value>, suite: &Suite) -> Result<Row, String> {
    let input = match record.get(&suite.input) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => return Err(format!("`{}` is {}, not a text", suite.input, kind(other))),
        None => return Err(format!("the row has no `{}`", suite.input)),
    };
    let mut expected = Vec::with_capacity(suite.expect.len());
    for ExpectedField { column, .. } in &suite.expect {
        expected.push(match record.get_mut(column) {
            Some(value @ (Value::Array(_) | Value::Object(_))) => {
                return Err(format!("`{column}` is {}, not a label", kind(value)));
            }
            Some(value) => Expected::Json(value.clone()),
            None => return Err(format!("the row has no `{column}`")),
        });
    }
    Ok(Row { line, input, expected })
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn csv_rows(bytes: &[u8], wanted: &RowReader) -> Result<Data, DataError> {
    // Flexible, so that a record of another length is a bad row of ours and not the reader's error.
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(bytes);
    let failed = |error: csv::Error| DataError::Read { path: wanted.path.to_owned(), source: error.into() };
    let header = reader.byte_headers().map_err(failed)?.clone();
    let names: Vec<String> = header.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    if names.is_empty() {
        return Err(DataError::Empty { path: wanted.path.to_owned() });
    }
    for column in wanted.columns() {
        match names.iter().filter(|name| *name == column).count() {
            0 => return Err(wanted.missing(column, &names)),
            1 => {}
            _ => return Err(DataError::RepeatedColumn { path: wanted.path.to_owned(), column: column.clone() }),
        }
    }
    let mut rows = Vec::new();
    for record in reader.byte_records().take(wanted.limit()) {
        let record = record.map_err(failed)?;
        let line = first_line(bytes, record.position());
        rows.push(csv_row(line, &record, &names, wanted.suite).map_err(|reason| BadRow { line, reason }));
    }
    Ok(Data { rows, n_blank_lines: 0 })
}

/// The reader's position may be before blank lines that it then skips.
fn first_line(bytes: &[u8], position: Option<&csv::Position>) -> u64 {
    let Some(position) = position else { return 1 };
    let rest = usize::try_from(position.byte()).ok().and_then(|start| bytes.get(start..)).unwrap_or_default();
    let blank = rest.iter().take_while(|b| matches!(b, b'\r' | b'\n'));
    position.line() + blank.filter(|&&b| b == b'\n').count() as u64
}

fn csv_row(line: u64, record: &csv::ByteRecord, names: &[String], suite: &Suite) -> Result<Row, String> {
    if record.len() != names.len() {
        return Err(format!("cells in the row: {}; in the header: {}", record.len(), names.len()));
    }
    let cell = |column: &String| {
        let index = names.iter().position(|name| name == column).expect("every column was found in the header");
        encoding::checked(record[index].to_vec()).map_err(|_| format!("`{column}`: {NotText}"))
    };
    let expected = suite.expect.iter().map(|e| cell(&e.column).map(Expected::Text)).collect::<Result<_, _>>()?;
    Ok(Row { line, input: cell(&suite.input)?, expected })
}

#[cfg(test)]
mod tests {
    use super::{BadRow, Data, Row};
    use crate::encoding::NotText;
    use crate::eval::label::Expected;
    use crate::eval::suite::Suite;
    use proptest::prelude::*;
    use serde_json::json;
    use std::path::PathBuf;

    fn suite(more: &str) -> Suite {
        Suite::parse(&format!("model: m\ndata: d\ninput: text\nexpect: [queue, urgency]\n{more}"))
            .expect("a good suite")
    }

    /// The data of a file of this name and content; its path is written `DATA` in messages.
    fn load(name: &str, content: &[u8], suite: &Suite) -> Result<Data, String> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path: PathBuf = folder.path().join(name);
        std::fs::write(&path, content).expect("written");
        Data::load(&path, suite).map_err(|e| e.to_string().replace(&path.display().to_string(), "DATA"))
    }

    fn bad(line: u64, reason: &str) -> Result<Row, BadRow> {
        Err(BadRow { line, reason: reason.to_owned() })
    }

    #[test]
    fn jsonl_keeps_types_and_lines_and_bad_rows_their_places() {
        let content = "\u{feff}{\"text\": \"a\", \"queue\": \"x\", \"urgency\": 2}\r
\n  \n{\"text\": \"b\", \"queue\": null}
not json
[1]
{\"text\": 7, \"queue\": \"x\", \"urgency\": 1}
{\"text\": \"c\", \"queue\": [\"x\"], \"urgency\": 1}
{\"text\": \"d\", \"queue\": null, \"urgency\": true, \"more\": {}}";
        let rows = load("d.jsonl", content.as_bytes(), &suite("")).expect("two good rows").rows;
        let row = |line, input: &str, queue, urgency| {
            Ok(Row { line, input: input.into(), expected: vec![Expected::Json(queue), Expected::Json(urgency)] })
        };
        assert_eq!(
            rows,
            [
                row(1, "a", json!("x"), json!(2)),
                bad(4, "the row has no `urgency`"),
                bad(5, "the row is not JSON: expected ident at column 2"),
                bad(6, "the row is a list, not an object"),
                bad(7, "`text` is a number, not a text"),
                bad(8, "`queue` is a list, not a label"),
                row(9, "d", json!(null), json!(true)),
            ]
        );
    }

    #[test]
    fn csv_keeps_cells_and_lines_and_bad_rows_their_places() {
        let content = b"\xef\xbb\xbfqueue,text,urgency,note\r\nx,\"two\r\nlines, quoted\",2,\r\n\r\n\r\nx,short,1\r\ny,,3,n\r\n\xff,a,1,n\r\nx,\xff,1,n\r\nx,a,1,\xff\r\n";
        let rows = load("d.CSV", content, &suite("")).expect("three good rows").rows;
        let row = |line, input: &str, queue: &str, urgency: &str| {
            let expected = vec![Expected::Text(queue.into()), Expected::Text(urgency.into())];
            Ok(Row { line, input: input.into(), expected })
        };
        assert_eq!(
            rows,
            [
                row(2, "two\r\nlines, quoted", "x", "2"),
                bad(6, "cells in the row: 3; in the header: 4"),
                row(7, "", "y", "3"),
                bad(8, &format!("`queue`: {NotText}")),
                bad(9, &format!("`text`: {NotText}")),
                row(10, "a", "x", "1"),
            ]
        );
    }

    #[test]
    fn data_that_cannot_be_used_is_refused_with_what_is_there() {
        let check = |name: &str, content: &str, expect: &str| {
            assert_eq!(load(name, content.as_bytes(), &suite("")).expect_err(content), expect, "{content}");
        };
        check("d.txt", "", "the data `DATA` is neither `.jsonl` nor `.csv`; convert it, or rename it to what it is");
        for (name, content) in
            [("d.jsonl", ""), ("d.jsonl", "\n \r\n"), ("d.csv", ""), ("d.csv", "text,queue,urgency\n")]
        {
            check(name, content, "the data `DATA` has no rows");
        }
        let missing = "the data `DATA` has no column `urgency`, which the suite reads; its columns are `text`, `queue`";
        check("d.csv", "text,queue\na,x\n", missing);
        check(
            "d.jsonl",
            "{\"text\": 1}\n{\"queue\": \"x\"}\nnonsense\n",
            &missing.replace("`text`, `queue`", "`queue`, `text`"),
        );
        check("d.csv", "text,queue,urgency,text\na,x,1,b\n", "the data `DATA` has the column `text` twice; rename one");
        check(
            "d.jsonl",
            "{\"text\nnonsense\n",
            "no row of the data `DATA` can be read; line 1: the row is not JSON: EOF while parsing a string at column 6",
        );
        let many: String = (0..30).map(|i| format!("c{i},")).collect();
        let message = load("d.csv", format!("{many}\n{many}\n").as_bytes(), &suite("")).expect_err("no column");
        assert!(message.ends_with("`c18`, `c19` and 11 more"), "{message}");
        let message = Data::load(&PathBuf::from("no/such.csv"), &suite("")).expect_err("no file").to_string();
        assert!(message.starts_with("cannot read the data `no/such.csv`: "), "{message}");
    }

    #[test]
    fn a_limit_takes_the_first_rows() {
        let jsonl = "{\"text\": \"a\", \"queue\": 1, \"urgency\": 1}\nbad\n".repeat(5);
        assert_eq!(load("d.jsonl", jsonl.as_bytes(), &suite("limit: 3")).expect("good").rows.len(), 3);
        let csv = format!("text,queue,urgency\n{}", "a,1,1\n".repeat(10));
        assert_eq!(load("d.csv", csv.as_bytes(), &suite("limit: 3")).expect("good").rows.len(), 3);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), json in "[\\[\\]{}\":,a\n0]{0,80}") {
            let good = b"text,queue,urgency\n";
            let _ = load("d.csv", &[good.as_slice(), &bytes].concat(), &suite(""));
            let _ = load("d.jsonl", &bytes, &suite(""));
            let _ = load("d.jsonl", json.as_bytes(), &suite(""));
        }

        #[test]
        fn a_csv_row_is_on_the_line_where_it_starts(blank in prop::collection::vec(0_usize..3, 1..8), crlf in any::<bool>()) {
            let end = if crlf { "\r\n" } else { "\n" };
            let (mut content, mut line, mut lines) = (format!("text,queue,urgency{end}"), 2, Vec::new());
            for n in blank {
                content += &end.repeat(n);
                content += &format!("\"a{end}b\",x,1{end}");
                lines.push(line + n as u64);
                line += n as u64 + 2;
            }
            let rows = load("d.csv", content.as_bytes(), &suite("")).expect("good rows").rows;
            let found: Vec<u64> = rows.into_iter().map(|r| r.expect("a good row").line).collect();
            prop_assert_eq!(found, lines);
        }
    }
}

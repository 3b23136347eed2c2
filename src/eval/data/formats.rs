//! Records out of files: JSONL, a JSON array, CSV and TSV, in any encoding that a person's text has, and Parquet.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::cells::{Cells, RawRow, kind};
use super::error::{DataError, MAX_BYTES};
use super::parquet;
use crate::encoding;

/// What a file holds.
#[derive(Debug, Default)]
pub struct Table {
    pub rows: Vec<RawRow>,
    /// Those that a header names, or that any record has, in order.
    pub columns: Vec<String>,
    /// Lines of nothing but white space among a JSONL file's records; they are no records.
    pub n_blank_lines: u64,
}

/// What is asked of a file.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// None is all.
    pub columns: Option<&'a [&'a str]>,
    /// The most records.
    pub limit: usize,
}

/// Reads records of the file at `path`, whose name says what it is; of Parquet with `parquet`.
///
/// # Errors
///
/// The file cannot be read or is of another kind, or a header has a name twice that is wanted.
pub fn read(path: &Path, wanted: Wanted<'_>, parquet: parquet::Reader<'_>) -> Result<Table, DataError> {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
    let Wanted { columns, limit } = wanted;
    let named = columns.unwrap_or_default();
    let bytes = || Ok::<_, DataError>(encoding::utf8(&bytes_of(path)?).into_owned());
    match extension.as_str() {
        "jsonl" | "ndjson" => Ok(jsonl(&bytes()?, limit)),
        "json" => array(&bytes()?, path, limit),
        "csv" => table(&bytes()?, b',', path, named, limit),
        "tsv" | "tab" => table(&bytes()?, b'\t', path, named, limit),
        "parquet" => parquet_rows(path, wanted, parquet),
        _ => Err(DataError::UnknownKind { path: path.to_owned() }),
    }
}

fn parquet_rows(path: &Path, wanted: Wanted<'_>, parquet: parquet::Reader<'_>) -> Result<Table, DataError> {
    let refused = |reason: String| DataError::Parquet { path: path.to_owned(), reason };
    let columns = wanted.columns.map(|columns| columns.iter().map(|&column| column.to_owned()).collect());
    let bytes = parquet(&parquet::Request { path: path.to_owned(), columns, limit: wanted.limit }).map_err(refused)?;
    let (columns, objects) = parquet::read_lines(&bytes).map_err(|error| refused(error.to_string()))?;
    Ok(Table { columns, ..of_objects(objects) })
}

/// Rows that stand in a suite.
#[must_use]
pub fn of_objects(objects: impl IntoIterator<Item = Map<String, Value>>) -> Table {
    let rows = (1..).zip(objects).map(|(line, object)| RawRow { line, cells: Ok(Cells::Object(object)) });
    with_columns(rows.collect(), 0)
}

fn bytes_of(path: &Path) -> Result<Vec<u8>, DataError> {
    let failed = |source| DataError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    std::fs::File::open(path).map_err(failed)?.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES { Err(DataError::TooLarge { path: path.to_owned() }) } else { Ok(bytes) }
}

fn jsonl(bytes: &[u8], limit: usize) -> Table {
    let (mut rows, mut n_blank_lines) = (Vec::new(), 0);
    for (line, text) in (1..).zip(bytes.split_inclusive(|&b| b == b'\n')) {
        if rows.len() == limit {
            break;
        }
        if encoding::is_blank(text) {
            n_blank_lines += 1;
        } else {
            rows.push(RawRow { line, cells: object(text.trim_ascii_end()) });
        }
    }
    with_columns(rows, n_blank_lines)
}

fn object(line: &[u8]) -> Result<Cells, String> {
    let text = encoding::checked(line.to_vec()).map_err(|error| error.in_row())?;
    match serde_json::from_str(&text) {
        Ok(Value::Object(record)) => Ok(Cells::Object(record)),
        Ok(other) => Err(format!("the row is {}, not an object", kind(&other))),
        // serde_json places the error in a text of one line, and our line number is another.
        Err(error) => {
            Err(format!("the row is not JSON: {}", error.to_string().replace(" at line 1 column", " at column")))
        }
    }
}

fn array(bytes: &[u8], path: &Path, limit: usize) -> Result<Table, DataError> {
    let refused = |reason: String| DataError::NotAnArray { path: path.to_owned(), reason };
    let text = encoding::checked(bytes.to_vec()).map_err(|error| refused(error.to_string()))?;
    let values = match serde_json::from_str(&text) {
        Ok(Value::Array(values)) => values,
        Ok(other) => return Err(refused(format!("it is {}", kind(&other)))),
        Err(error) => return Err(refused(error.to_string())),
    };
    let row = |(line, value)| {
        let cells = match value {
            Value::Object(object) => Ok(Cells::Object(object)),
            other => Err(format!("the row is {}, not an object", kind(&other))),
        };
        RawRow { line, cells }
    };
    Ok(with_columns((1..).zip(values).take(limit).map(row).collect(), 0))
}

fn with_columns(rows: Vec<RawRow>, n_blank_lines: u64) -> Table {
    let mut columns = BTreeSet::new();
    for row in &rows {
        if let Ok(Cells::Object(object)) = &row.cells {
            columns.extend(object.keys().cloned());
        }
    }
    Table { rows, columns: columns.into_iter().collect(), n_blank_lines }
}

fn table(bytes: &[u8], delimiter: u8, path: &Path, wanted: &[&str], limit: usize) -> Result<Table, DataError> {
    // Flexible, so that a record of another length is a bad row of ours and not the reader's error.
    let mut reader = csv::ReaderBuilder::new().flexible(true).delimiter(delimiter).from_reader(bytes);
    let failed = |error: csv::Error| DataError::Read { path: path.to_owned(), source: error.into() };
    let header = reader.byte_headers().map_err(failed)?.clone();
    let names: Arc<[String]> = header.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    let repeated = |column: &&&str| names.iter().filter(|name| name == *column).count() > 1;
    if let Some(column) = wanted.iter().find(repeated) {
        return Err(DataError::RepeatedColumn { path: path.to_owned(), column: (*column).to_owned() });
    }
    let mut rows = Vec::new();
    for record in reader.byte_records().take(limit) {
        let record = record.map_err(failed)?;
        let line = first_line(bytes, record.position());
        let cells = if record.len() == names.len() {
            Ok(Cells::Record { names: Arc::clone(&names), record })
        } else {
            Err(format!("cells in the row: {}; in the header: {}", record.len(), names.len()))
        };
        rows.push(RawRow { line, cells });
    }
    Ok(Table { rows, columns: names.to_vec(), n_blank_lines: 0 })
}

/// The reader's position may be before blank lines that it then skips.
fn first_line(bytes: &[u8], position: Option<&csv::Position>) -> u64 {
    let Some(position) = position else { return 1 };
    let rest = usize::try_from(position.byte()).ok().and_then(|start| bytes.get(start..)).unwrap_or_default();
    let blank = rest.iter().take_while(|b| matches!(b, b'\r' | b'\n'));
    position.line() + blank.filter(|&&b| b == b'\n').count() as u64
}

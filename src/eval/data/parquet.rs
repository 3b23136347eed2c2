//! Rows of a Parquet file as lines of JSON: the names of its columns, then an object for each row.
//!
//! A file can ask any reader for all memory or end it (pages that grow a thousandfold, schemas that nest a million deep), so that
//! a process of its own reads it, which `cli` starts and bounds; here are the two ends of what is said between them.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row};
use parquet::schema::types::Type;
use serde_json::{Map, Value};

/// What is read of a file.
#[derive(Debug, Clone)]
pub struct Request {
    pub path: PathBuf,
    /// None is all.
    pub columns: Option<Vec<String>>,
    /// The most rows.
    pub limit: usize,
}

/// Gives what [`write_rows`] writes, whoever calls it, or why it cannot.
pub type Reader<'a> = &'a dyn Fn(&Request) -> Result<Vec<u8>, String>;

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RowsError {
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Without the crate's own `Parquet error: `, which whoever tells it says already.
    #[error("{}", .0.to_string().trim_start_matches("Parquet error: "))]
    Parquet(#[from] ParquetError),
    #[error("its column `{column}` is compressed with {codec}, which is not supported; write it with snappy or zstd")]
    Compression { column: String, codec: String },
}

/// Writes the names of all columns as a line, and the wanted columns of each row as one.
///
/// # Errors
/// The file cannot be read, is not Parquet or is damaged; `out` cannot be written.
pub fn write_rows(request: &Request, out: &mut impl Write) -> Result<(), RowsError> {
    let reader = SerializedFileReader::new(File::open(&request.path)?)?;
    let schema = reader.metadata().file_metadata().schema_descr().root_schema();
    let names: Vec<&str> = schema.get_fields().iter().map(|field| field.name()).collect();
    write_line(out, &names)?;
    let is_wanted = |field: &&Arc<Type>| {
        request.columns.as_ref().is_none_or(|wanted| wanted.iter().any(|column| column == field.name()))
    };
    let wanted: Vec<Arc<Type>> = schema.get_fields().iter().filter(is_wanted).cloned().collect();
    if wanted.is_empty() {
        return Ok(());
    }
    check_compression(&reader, &wanted)?;
    let projection = Type::group_type_builder(schema.name()).with_fields(wanted).build()?;
    for row in RowIter::from_file(Some(projection), &reader)?.take(request.limit) {
        write_line(out, &object(row?))?;
    }
    out.flush()?;
    Ok(())
}

/// Whether the wanted columns can be uncompressed.
fn check_compression(reader: &SerializedFileReader<File>, wanted: &[Arc<Type>]) -> Result<(), RowsError> {
    for chunk in reader.metadata().row_groups().iter().flat_map(|group| group.columns()) {
        let column = chunk.column_path().parts().first().map_or("", String::as_str);
        let is_known =
            matches!(chunk.compression(), Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::ZSTD(_));
        if !is_known && wanted.iter().any(|field| field.name() == column) {
            let codec = chunk.compression().to_string();
            let codec = codec.split('(').next().unwrap_or_default().to_lowercase();
            return Err(RowsError::Compression { column: column.to_owned(), codec });
        }
    }
    Ok(())
}

/// The names of all columns, and a row's object for each row.
pub type Lines = (Vec<String>, Vec<Map<String, Value>>);

/// What was written.
///
/// # Errors
/// It is something else.
pub fn read_lines(bytes: &[u8]) -> Result<Lines, serde_json::Error> {
    let mut lines = bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let columns = serde_json::from_slice(lines.next().unwrap_or_default())?;
    Ok((columns, lines.map(serde_json::from_slice).collect::<Result<_, _>>()?))
}

/// Reads a file in this very process: for data that is our own.
///
/// # Errors
/// As [`write_rows`].
pub fn read_here(request: &Request) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    write_rows(request, &mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// Whether a file's name says that it is Parquet.
#[must_use]
pub fn is_parquet(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("parquet"))
}

fn write_line(out: &mut impl Write, value: &impl serde::Serialize) -> Result<(), RowsError> {
    serde_json::to_writer(&mut *out, value).map_err(io::Error::from)?;
    Ok(out.write_all(b"\n")?)
}

fn object(row: Row) -> Map<String, Value> {
    row.into_columns().into_iter().map(|(name, field)| (name, value(field))).collect()
}

/// A value as JSON has it: times and days as text, bytes as text where they are, numbers that are none as null.
fn value(field: Field) -> Value {
    match field {
        Field::Null => Value::Null,
        Field::Bool(is) => is.into(),
        Field::Byte(n) => n.into(),
        Field::Short(n) => n.into(),
        Field::Int(n) => n.into(),
        Field::Long(n) => n.into(),
        Field::UByte(n) => n.into(),
        Field::UShort(n) => n.into(),
        Field::UInt(n) => n.into(),
        Field::ULong(n) => n.into(),
        // By its shortest text, so that 0.1 stays 0.1.
        Field::Float16(n) => n.to_string().parse::<f64>().map_or(Value::Null, Value::from),
        Field::Float(n) => n.to_string().parse::<f64>().map_or(Value::Null, Value::from),
        Field::Double(n) => n.into(),
        decimal @ Field::Decimal(_) => {
            let text = decimal.to_string();
            text.parse::<f64>().map_or_else(|_| text.clone().into(), Value::from)
        }
        Field::Str(text) => text.into(),
        Field::Bytes(bytes) => std::str::from_utf8(bytes.data()).map_or(Value::Null, Value::from),
        time @ (Field::Date(_)
        | Field::TimeMillis(_)
        | Field::TimeMicros(_)
        | Field::TimestampMillis(_)
        | Field::TimestampMicros(_)) => time.to_string().into(),
        Field::Group(row) => Value::Object(object(row)),
        Field::ListInternal(list) => list.elements().iter().cloned().map(value).collect(),
        Field::MapInternal(map) => {
            let key = |key: &Field| match value(key.clone()) {
                Value::String(text) => text,
                other => other.to_string(),
            };
            map.entries().iter().map(|(name, of)| (key(name), value(of.clone()))).collect::<Map<_, _>>().into()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(name: &str, columns: Option<&[&str]>, limit: usize) -> Result<Lines, String> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/parquet").join(name);
        let columns = columns.map(|columns| columns.iter().map(|&column| column.to_owned()).collect());
        let bytes = read_here(&Request { path, columns, limit })?;
        Ok(read_lines(&bytes).expect("lines of JSON"))
    }

    /// What `tests/golden/parquet.py` writes.
    #[test]
    fn files_of_others_are_read_with_their_types() {
        let row = |row: Value| row.as_object().expect("an object").clone();
        for name in ["pyarrow.parquet", "zstd.parquet"] {
            let (columns, rows) = read(name, None, 10).expect(name);
            assert_eq!(columns, ["text", "queue", "n", "x", "ok", "tags", "who", "lines"]);
            assert_eq!(rows.len(), 6);
            let expected = json!({"text": "text 2 äß", "queue": "billing", "n": -1, "x": null, "ok": false, "tags": ["a", "a"],
                "who": {"name": "n2", "age": 2}, "lines": [{"item": "nut", "q": 0}, {"item": "nut", "q": 1}]});
            assert_eq!(rows[2], row(expected), "{name}");
            assert_eq!((&rows[4]["tags"], &rows[3]["tags"]), (&json!(null), &json!([])), "{name}");
        }
        let (_, rows) = read("pandas.parquet", Some(&["f", "day", "when", "n", "queue"]), 2).expect("pandas");
        let expected = json!({"queue": "shipping", "day": "2024-01-02", "when": "2024-01-01 11:00:00.000000 +00:00", "n": null, "f": 0.1});
        assert_eq!((rows.len(), &rows[1]), (2, &row(expected)));
        let (_, rows) = read("duckdb.parquet", Some(&["price", "tags", "who", "m", "raw"]), 1).expect("DuckDB");
        assert_eq!(rows, [row(json!({"price": 1.25, "tags": ["a", "b"], "who": {"a": 1}, "m": {"k": 1}, "raw": "x"}))]);
    }

    #[test]
    fn a_file_that_cannot_be_read_says_why() {
        let refused = |name: &str| read(name, None, 1).expect_err(name);
        assert_eq!(
            refused("gzip.parquet"),
            "its column `text` is compressed with gzip, which is not supported; write it with snappy or zstd"
        );
        assert_eq!(refused("../parquet.py"), "Invalid Parquet file. Corrupt footer");
        let (columns, rows) = read("pyarrow.parquet", Some(&["body"]), 1).expect("readable");
        assert_eq!((columns.len(), rows.len()), (8, 0));
    }
}

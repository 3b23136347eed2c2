//! What each column of a file holds, for who has to guess what it is for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use super::cells::Cell;
use super::error::DataError;
use super::formats::{self, Wanted};
use super::parquet;

/// Enough rows to see what a column is.
const MAX_ROWS: usize = 20_000;

/// A column in numbers.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Column {
    pub name: String,
    pub n_rows: usize,
    /// Rows with a text, and their characters.
    pub n_texts: usize,
    n_characters: usize,
    pub n_lists: usize,
    /// Each different value as JSON, with its number of rows; cells of tables are texts.
    pub values: BTreeMap<String, usize>,
    /// The different parts of lists.
    pub tags: BTreeSet<String>,
}

impl Column {
    /// Of its texts, in characters.
    #[must_use]
    pub fn mean_length(&self) -> f64 {
        self.n_characters as f64 / self.n_texts.max(1) as f64
    }

    fn take(&mut self, value: &Value) {
        match value {
            Value::String(text) => {
                self.n_texts += 1;
                self.n_characters += text.chars().count();
            }
            Value::Array(parts) => {
                self.n_lists += 1;
                self.tags.extend(parts.iter().filter_map(Value::as_str).map(str::to_owned));
            }
            _ => {}
        }
        if !value.is_array() && !value.is_object() {
            *self.values.entry(value.to_string()).or_default() += 1;
        }
    }
}

/// The columns of the file at `path`, in the file's order where it has one.
///
/// # Errors
///
/// The file cannot be read, or has no rows.
pub fn columns(path: &Path, parquet: parquet::Reader<'_>) -> Result<Vec<Column>, DataError> {
    let table = formats::read(path, Wanted { columns: None, limit: MAX_ROWS }, parquet)?;
    let rows: Vec<_> = table.rows.iter().filter_map(|row| row.cells.as_ref().ok()).collect();
    if rows.is_empty() {
        let name = path.display().to_string();
        return Err(match table.rows.iter().find_map(|row| Some((row.line, row.cells.as_ref().err()?))) {
            Some((line, reason)) => {
                DataError::Unreadable { name, place: format!("line {line}"), reason: reason.clone() }
            }
            None => DataError::Empty { name },
        });
    }
    let column = |name: &String| {
        let mut column = Column { name: name.clone(), n_rows: rows.len(), ..Column::default() };
        for cells in &rows {
            match cells.get(name) {
                Ok(Some(Cell::Json(value))) => column.take(&value),
                Ok(Some(Cell::Text(text))) => column.take(&Value::String(text)),
                Ok(None) | Err(_) => {}
            }
        }
        column
    };
    Ok(table.columns.iter().map(column).collect())
}
